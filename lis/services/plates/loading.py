"""A plate and its cycler: loading confirmed by scan, corrected, given up before a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lis import barcodes, ledger, queries
from lis import events as e
from lis.errors import Conflict, Invalid, NotFound, Refused

if TYPE_CHECKING:
    from lis.db import Unit


def load(unit: Unit, plate_id: str, scanned: str, instrument: str) -> str:
    """Confirm by scan that this plate is in this cycler; its tubes are running from now on.

    Raises:
        Conflict: the scanned code is another plate's.
        Refused: the plate is not waiting to be loaded.
    """
    # gather
    row = _known(unit, plate_id)
    code = barcodes.parse(scanned, barcodes.PLATE)
    # decide
    if code != plate_id:
        raise Conflict(
            "OTHER_PLATE", f"The plate in your hand is {code}, not {plate_id}. Nothing was started."
        )
    if row["state"] != "planned":
        raise Refused("PLATE_STATE", f"Plate {plate_id} is {row['state']}; it cannot be loaded again.")
    if not instrument.strip():
        raise Invalid("INSTRUMENT", "Say which cycler the plate goes into.")
    tubes = {well["tube_id"] for well in queries.wells(unit.conn, plate_id) if well["tube_id"]}
    # apply
    queries.update_row(
        unit.conn,
        "plate",
        {"plate_id": plate_id},
        state="running",
        instrument=instrument.strip(),
        started_at=unit.now,
    )
    ledger.append(unit, [(tube, e.RunStarted(plate_id, instrument.strip())) for tube in sorted(tubes)])
    return plate_id


def correct_loading(unit: Unit, plate_id: str, instrument: str, reason: str) -> str:
    """Say that a running plate is in another cycler than was confirmed when it was loaded.

    Raises:
        Refused: the plate is not running, or is in that cycler already.
        Invalid: no cycler, or no reason.
    """
    # gather
    row = _known(unit, plate_id)
    tubes = {well["tube_id"] for well in queries.wells(unit.conn, plate_id) if well["tube_id"]}
    # decide
    named, said = instrument.strip(), reason.strip()
    if row["state"] != "running":
        raise Refused(
            "PLATE_STATE", f"Plate {plate_id} is {row['state']}; only a running plate is in a cycler."
        )
    if not named:
        raise Invalid("INSTRUMENT", "Say which cycler the plate is in.")
    if not said:
        raise Invalid("REASON", "Say why the loading is corrected; the reason is kept.")
    if named == row["instrument"]:
        raise Refused("NOTHING_CHANGED", f"Plate {plate_id} was loaded into {named} already.")
    # apply
    queries.update_row(unit.conn, "plate", {"plate_id": plate_id}, instrument=named)
    ledger.append(unit, [(tube, e.LoadingCorrected(plate_id, named, said)) for tube in sorted(tubes)])
    return plate_id


def void(unit: Unit, plate_id: str, reason: str) -> int:
    """Give a plate up before it was read; its tubes queue again. Returns how many.

    Raises:
        Refused: the plate was read already.
    """
    row = _known(unit, plate_id)
    if row["state"] not in {"planned", "running"}:
        raise Refused("PLATE_STATE", f"Plate {plate_id} is {row['state']}; it cannot be voided.")
    if not reason.strip():
        raise Invalid("REASON", "Say why the plate is given up; the reason is kept.")
    wells = {well["tube_id"]: well for well in queries.wells(unit.conn, plate_id) if well["tube_id"]}
    tubes = ledger.tubes(unit.conn, wells)
    queries.update_row(
        unit.conn, "plate", {"plate_id": plate_id}, state="void", reason=reason, closed_at=unit.now
    )
    ledger.append(
        unit,
        [
            (code, e.Voided("", plate_id, tube.well, "plate", reason.strip(), tube.test, tube.priority))
            for code, tube in tubes.items()
        ],
    )
    return len(tubes)


def _known(unit: Unit, plate_id: str) -> dict[str, object]:
    row = queries.plate_row(unit.conn, plate_id)
    if row is None:
        raise NotFound("PLATE_UNKNOWN", f"Plate {plate_id} is not known here. Check the code.")
    return dict(row)
