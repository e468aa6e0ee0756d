"""The API of the scan stations: wells confirmed by scan, the store, whole racks, the last act taken back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from lis.barcodes import Scan
from lis.db import Unit
from lis.errors import Refused
from lis.services import plating, racks, receiving, storage, undoing
from lis.services.racks import Cell, CellState
from lis.services.receiving import ScanResult
from lis.services.storage import Handled
from lis.web.commands import Asked, Caller
from lis.web.payloads import (
    MOST_SCANS,
    Code,
    Payload,
    Words,
    answered_json,
    listed,
    scan_json,
    tube_json,
)
from lis.web.words import error_zh

router = APIRouter(prefix="/api/v1")


class UndoIn(Payload):
    """The event to take back, as the history of the tube names it."""

    kind: Code


class WellScanIn(Payload):
    """A tube as scanned, and the well it is about to go into if one was named."""

    tube: Code
    well: Code = ""


class StoreScanIn(Payload):
    """A tube as scanned, and where it is put away."""

    barcode: Code
    rack: Code = ""
    position: Code = ""


StoreScans = StoreScanIn | Annotated[list[StoreScanIn], Field(min_length=1, max_length=MOST_SCANS)]
WellScans = WellScanIn | Annotated[list[WellScanIn], Field(min_length=1, max_length=MOST_SCANS)]


class StorageIn(Payload):
    """What is done with tubes at the store: store, fetch or discard; a reason where they are destroyed."""

    act: storage.Act
    scans: StoreScans
    reason: Words = ""


class CellIn(Payload):
    """One position of a rack and the code read there."""

    position: Code
    code: Code = ""


class RackIn(Payload):
    """A whole rack: what its scanner wrote, or its positions one by one.

    ``act`` is receive or store; ``text`` is read only where no cells are given.
    """

    act: Annotated[str, Field(pattern="^(receive|store)$")] = "receive"
    rack: Code
    size: int = 96
    text: Annotated[str, Field(max_length=40_000)] = ""
    cells: tuple[CellIn, ...] = Field((), max_length=max(racks.SHAPES))


# -- the last act taken back ---------------------------------------------------------------------


@router.post("/tubes/{barcode}/undo", tags=["stations"])
def undo(barcode: str, order: UndoIn, asked: Asked) -> Response:
    """Take back the last thing that happened to a tube, if nothing followed; it stays in the history."""

    def act(unit: Unit) -> dict[str, Any]:
        anybody = asked.identity.may("review")
        done = undoing.undo(unit, asked.lab.rules, barcode, order.kind, anybody=anybody)
        return tube_json(done.tube) | {"undone": done.was, "by": done.by}

    return asked.write("receive", act)


# -- plates --------------------------------------------------------------------------------------


@router.post("/plates/{plate_id}/confirmations", tags=["stations"])
def confirm_wells(plate_id: str, scans: WellScans, asked: Asked) -> Response:
    """Confirm by scan that tubes go into their wells; the first wrong tube stops."""
    data = [plating.WellScan(scan.tube, scan.well) for scan in listed(scans)]

    def act(unit: Unit) -> dict[str, Any]:
        results = plating.confirm(unit, plate_id, data)
        return {
            "scans": [well_scan_json(one) for one in results],
            "not_looked_at": len(data) - len(results),
        }

    return asked.write("plate", act)


def well_scan_json(result: plating.WellResult) -> dict[str, Any]:
    """What became of the scan of one tube at a plate."""
    return {
        "barcode": result.tube,
        "well": result.well,
        "outcome": result.outcome.value,
        "code": result.code,
        "sentence": result.sentence,
        "sentence_zh": error_zh(result.code, result.details),
        "left": result.left,
    }


# -- the store -----------------------------------------------------------------------------------


@router.post("/storage/scans", tags=["stations"])
def handle_stored(order: StorageIn, asked: Asked) -> Response:
    """Put away, take out or destroy tubes by scan: every scan gets its own answer."""
    data = [Scan(one.barcode, one.rack.strip(), one.position.strip()) for one in listed(order.scans)]
    keep = asked.lab.settings.retention_negative_hours

    def act(unit: Unit) -> dict[str, Any]:
        results = storage.handle(unit, order.act, data, reason=order.reason, keep_hours=keep)
        return {"scans": [handled_json(one) for one in results]}

    return asked.write("discard" if order.act is storage.Act.DISCARD else "receive", act)


def handled_json(result: Handled) -> dict[str, Any]:
    """What became of one scan at the store."""
    return answered_json(result, error_zh(result.code, result.details))


# -- a whole rack --------------------------------------------------------------------------------


@router.post("/racks/check", tags=["stations"])
def check_rack(order: RackIn, asked: Asked) -> Response:
    """What recording a whole rack would do, position by position; nothing is recorded."""
    asked.identity.must("receive")
    rack, cells = _cells(order)
    with asked.lab.database.read() as conn:
        found = _answers(asked.looking(conn), asked, order.act, rack, cells, record=False)
    return asked.read("receive", lambda _conn: rack_json(rack, cells, found))


@router.post("/racks", tags=["stations"])
def record_rack(order: RackIn, asked: Asked) -> Response:
    """Record every good position of a rack in one act; the others are answered, and left as they are."""
    rack, cells = _cells(order)

    def act(unit: Unit) -> dict[str, Any]:
        good = _good(cells, _answers(unit, asked, order.act, rack, cells, record=False))
        done = _answers(unit, asked, order.act, rack, good, record=True)
        return rack_json(rack, cells, _answers(unit, asked, order.act, rack, cells, record=False) | done)

    return asked.write("receive", act)


Answers = Mapping[str, Mapping[str, Any]]
"""Position -> the answer to its scan."""


def _cells(order: RackIn) -> tuple[str, Sequence[Cell]]:
    """The name of the rack, and every position of it."""
    name = order.rack.strip()
    if order.cells:
        found = racks.laid_out([(one.position, one.code) for one in order.cells], order.size)
    else:
        found = racks.read(order.text, order.size)
    if not name or (found.name and found.name != name):
        said = found.name or "(no name)"
        raise Refused(
            "RACK_OTHER",
            f"The rack scanner read rack {said[:40]}, the screen says {name[:40] or '(no name)'}. "
            "Name the right rack; nothing was recorded.",
            rack=name[:40] or "—",
            other=found.name[:40] or "—",
        )
    return name, found.cells


def _answers(
    unit: Unit, asked: Caller, act: str, rack: str, cells: Sequence[Cell], *, record: bool
) -> dict[str, dict[str, Any]]:
    """The answer to each position that holds a code, from the station that works there."""
    twice = racks.doubles(cells)
    asked_for = [cell for cell in cells if racks.plain_state(cell, twice) is None]
    if not asked_for:
        return {}
    if act == "receive":
        results: list[ScanResult] = _receive(unit, asked, rack, asked_for, record=record)
        return {one.position: scan_json(one) for one in results}
    scans = [Scan(cell.code, rack, cell.position) for cell in asked_for]
    keep = asked.lab.settings.retention_negative_hours
    handled = (
        storage.handle(unit, storage.Act.STORE, scans, keep_hours=keep)
        if record
        else storage.foresee(unit, scans)
    )
    return {one.position: handled_json(one) for one in _placed(handled, scans)}


def _receive(
    unit: Unit, asked: Caller, rack: str, cells: Sequence[Cell], *, record: bool
) -> list[ScanResult]:
    scans = [Scan(cell.code, rack, cell.position) for cell in cells]
    station = receiving.receive if record else receiving.foresee
    return station(unit, asked.lab.rules, scans)


def _placed(handled: Sequence[Handled], scans: Sequence[Scan]) -> list[Handled]:
    """The answers with the positions that were asked about."""
    return [replace(one, position=scan.position) for one, scan in zip(handled, scans, strict=True)]


def _good(cells: Sequence[Cell], answers: Answers) -> list[Cell]:
    return [
        cell
        for cell in cells
        if cell.position in answers and _state(answers[cell.position]) is CellState.GOOD
    ]


def _state(answer: Mapping[str, Any]) -> CellState:
    return racks.state_of(answer["outcome"], answer["code"])


def rack_json(rack: str, cells: Sequence[Cell], answers: Answers) -> dict[str, Any]:
    """A rack with the state of every position, and how many there are of each."""
    twice = racks.doubles(cells)
    shown = [_cell_json(cell, answers.get(cell.position), twice) for cell in cells]
    counts = {state.value: sum(one["state"] == state.value for one in shown) for state in CellState}
    return {"rack": rack, "size": len(cells), "cells": shown, "counts": counts}


def _cell_json(
    cell: Cell, answer: Mapping[str, Any] | None, twice: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    state = racks.plain_state(cell, twice)
    if state is None and answer is not None:
        state = _state(answer)
    sentence = {name: answer[name] if answer else "" for name in ("sentence", "sentence_zh")}
    if state is CellState.DOUBLE:
        places = ", ".join(twice[cell.code])
        sentence = {
            "sentence": f"Tube {cell.code} was read at {places}. Look which of them is right.",
            "sentence_zh": error_zh("RACK_DOUBLE", {"tube": cell.code, "position": places}),
        }
    if state is CellState.UNKNOWN:
        sentence = {
            "sentence": f"Tube {cell.code} is not registered. Take it out and scan it by itself: "
            "it gets a number in the hold tray.",
            "sentence_zh": error_zh("RACK_UNKNOWN", {"tube": cell.code}),
        }
    return {
        "position": cell.position,
        "code": cell.code,
        "state": (state or CellState.UNREADABLE).value,
        **sentence,
    }
