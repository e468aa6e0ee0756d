"""Which tube goes into which well: the scans that confirm it, and the wrong tube that stops."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from lis import barcodes, ledger, queries
from lis import events as e
from lis.errors import Conflict, Invalid, NotFound, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from lis.db import Unit
    from lis.ledger import Recorded
    from lis.tube import Tube


class WellOutcome(StrEnum):
    """What became of the scan of one tube at a plate."""

    CONFIRMED = "confirmed"
    REPEAT = "repeat"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class WellScan:
    """A tube as scanned, and the well it is about to go into if one was named."""

    tube: str
    well: str = ""


@dataclass(frozen=True, slots=True)
class WellResult:
    """What became of a scan, and the sentence for the technician.

    Attributes:
        left: wells with tubes that nobody has confirmed yet.
        details: what the sentence names, for its Chinese wording.
    """

    tube: str
    well: str
    outcome: WellOutcome
    code: str
    sentence: str
    left: int = 0
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Plate:
    """A plate with its tubes and what was confirmed so far."""

    plate_id: str
    now: datetime
    actor: str
    wells: Mapping[str, Sequence[str]]
    confirmed: dict[tuple[str, str], Any]

    @property
    def left(self) -> int:
        return sum(map(len, self.wells.values())) - len(self.confirmed)


def confirmed_wells(conn: Connection, plate_id: str, tubes: Sequence[str]) -> dict[tuple[str, str], Any]:
    """(tube, well) -> the scan that confirmed it, of those that were not taken back."""
    found: dict[tuple[str, str], Any] = {}
    for tube, rows in queries.facts_of(conn, tubes, "WellConfirmed", "WellWithdrawn").items():
        for row in rows:
            if row["plate_id"] == plate_id and row["kind"] == "WellConfirmed":
                found[tube, row["well"]] = row
            elif row["plate_id"] == plate_id:
                found.pop((tube, row["well"]), None)
    return found


def confirm(unit: Unit, plate_id: str, scans: Sequence[WellScan]) -> list[WellResult]:
    """Confirm by scan that tubes go into their wells; the first wrong scan stops.

    Good scans before a wrong one are recorded; scans after it are not looked at, because whoever pipettes
    must stop there. A tube that has several wells confirms one with each scan, in order.

    Raises:
        NotFound: ``PLATE_UNKNOWN``.
        Refused: ``PLATE_STATE``: the plate is loaded, read or given up.
        Invalid: ``WELL_SCAN_EMPTY``.
    """
    if not scans:
        raise Invalid("WELL_SCAN_EMPTY", "Scan the tube that goes into the plate.")
    # gather
    plate = _plate(unit, plate_id)
    codes = [_code(scan.tube) for scan in scans]
    known = ledger.tubes(unit.conn, [code for code in codes if code])
    # decide
    results: list[WellResult] = []
    facts: list[Recorded] = []
    for scan, code in zip(scans, codes, strict=True):
        result = _judge(scan, code, known.get(code), plate)
        results.append(result)
        if result.outcome is WellOutcome.REFUSED:
            break
        if result.outcome is WellOutcome.CONFIRMED:
            facts.append((code, e.WellConfirmed(plate_id, result.well)))
    # apply
    ledger.append(unit, facts)
    return results


def _plate(unit: Unit, plate_id: str) -> _Plate:
    row = queries.plate_row(unit.conn, plate_id)
    if row is None:
        raise NotFound("PLATE_UNKNOWN", f"Plate {plate_id[:40]} is not known here. Check the code.")
    if row["state"] != "planned":
        raise Refused(
            "PLATE_STATE", f"Plate {plate_id} is {row['state']}; no tube can be pipetted into it any more."
        )
    wells: dict[str, list[str]] = {}
    for well in sorted(queries.wells(unit.conn, plate_id), key=lambda one: _order(one["well"])):
        if well["tube_id"]:
            wells.setdefault(well["tube_id"], []).append(well["well"])
    return _Plate(plate_id, unit.now, unit.actor, wells, confirmed_wells(unit.conn, plate_id, list(wells)))


def _order(well: str) -> tuple[int, str]:
    """Column by column, as a plate is pipetted."""
    return int(well[1:]), well[0]


def _code(raw: str) -> str:
    try:
        return barcodes.parse(raw, barcodes.TUBE, barcodes.POOL)
    except Invalid:
        return ""


def _judge(scan: WellScan, code: str, tube: Tube | None, plate: _Plate) -> WellResult:
    shown = code or barcodes.clean(scan.tube)[:40]
    named = {"tube": shown, "plate": plate.plate_id}

    def stop(reason: str, sentence: str, **details: str) -> WellResult:
        return WellResult(shown, "", WellOutcome.REFUSED, reason, sentence, plate.left, {**named, **details})

    if not code:
        return stop("NOT_A_TUBE", f"Stop: {shown or '(nothing)'} is no tube code. Scan the tube again.")
    own = plate.wells.get(code)
    if tube is None or own is None:
        return stop(*_elsewhere(code, tube, plate), **_where(tube))
    wanted = scan.well.strip().upper()
    if wanted and wanted not in own:
        wells = ", ".join(own)
        sentence = (
            f"Stop: tube {code} goes into {wells}, not into {wanted[:4]}. Take the tube of {wanted[:4]}."
        )
        return stop("WELL_OTHER", sentence, well=wells, other=wanted[:4])
    open_wells = [well for well in own if (code, well) not in plate.confirmed and wanted in {"", well}]
    if not open_wells:
        return _repeated(code, wanted or own[-1], own, plate)
    well = open_wells[0]
    plate.confirmed[code, well] = {"at": plate.now, "actor": plate.actor}
    rest = f"{plate.left} to go." if plate.left else "Every well is confirmed; the plate may be loaded."
    reason = "WELL_CONFIRMED" if plate.left else "WELLS_COMPLETE"
    details = {**named, "well": well, "left": str(plate.left)}
    sentence = f"Tube {code} goes into well {well}. {rest}"
    return WellResult(code, well, WellOutcome.CONFIRMED, reason, sentence, plate.left, details)


def _repeated(code: str, well: str, own: Sequence[str], plate: _Plate) -> WellResult:
    seen = plate.confirmed[code, well]
    at, wells = f"{seen['at']:%Y-%m-%d %H:%M:%S} UTC", ", ".join(own)
    sentence = f"Tube {code} was confirmed for {wells} {at} by {seen['actor']}."
    details = {"tube": code, "plate": plate.plate_id, "well": wells, "at": at, "who": seen["actor"]}
    return WellResult(code, well, WellOutcome.REPEAT, "WELL_REPEATED", sentence, plate.left, details)


def _elsewhere(code: str, tube: Tube | None, plate: _Plate) -> tuple[str, str]:
    start = f"Stop: tube {code} is not on plate {plate.plate_id}."
    if tube is not None and tube.plate_id:
        return "WELL_NOT_HERE", f"{start} It goes into {tube.well} of plate {tube.plate_id}. Put it aside."
    where = "is not known here" if tube is None or not tube.seq else f"is {tube.state.replace('_', ' ')}"
    return "WELL_NO_PLATE", f"{start} It {where}. Put it aside."


def _where(tube: Tube | None) -> dict[str, str]:
    if tube is None:
        return {}
    return {"state": tube.state.value, "other": tube.plate_id, "well": tube.well}


def check_confirmed(conn: Connection, plate_id: str) -> None:
    """Raise unless every well of the plate was confirmed by scan, or none was.

    A plate that was begun by scan is finished by scan; one filled by a liquid handler is not scanned.

    Raises:
        Conflict: ``WELLS_OPEN``.
    """
    wells = [row for row in queries.wells(conn, plate_id) if row["tube_id"]]
    seen = confirmed_wells(conn, plate_id, [row["tube_id"] for row in wells])
    missing = sorted((row["well"] for row in wells if (row["tube_id"], row["well"]) not in seen), key=_order)
    if seen and missing:
        named = ", ".join(missing[:6]) + (" …" if len(missing) > 6 else "")
        raise Conflict(
            "WELLS_OPEN",
            f"{len(missing)} wells of plate {plate_id} were not confirmed by scan: {named}. "
            "Scan their tubes, or give the plate up.",
            plate=plate_id,
            wells=named,
        )
