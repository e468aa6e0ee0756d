"""The register of reagent lots: kits, extraction reagents, controls; what may go onto a plate, what did."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from lis import queries
from lis.errors import Forbidden, Invalid, NotFound, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection

    from lis.db import Unit
    from lis.queries import Row

KINDS: Final = ("kit", "extraction", "control")
NEAR: Final = timedelta(days=14)
"""A lot that expires within this time is told of, so that the next one can be ordered and validated."""
LONGEST: Final = 80


@dataclass(frozen=True, slots=True)
class Lot:
    """One registered lot as it stands at a moment.

    Attributes:
        state: ``expired``, ``near`` (expires soon), ``good`` or ``finished``.
        plates: on how many plates it was used.
    """

    kind: str
    number: str
    assay: str
    received_at: datetime
    expires_at: datetime
    opened_at: datetime | None
    opened_by: str
    finished_at: datetime | None
    state: str
    plates: int


def register_of(conn: Connection, now: datetime) -> list[Lot]:
    """Every lot, those in use first, the one that expires first at the head."""
    used = queries.lot_plates(conn)
    return [_lot(row, now, used.get((row["kind"], row["number"]), 0)) for row in queries.lots(conn)]


def _lot(row: Row, now: datetime, plates: int) -> Lot:
    return Lot(**row, state=state_of(row, now), plates=plates)


@dataclass(frozen=True, slots=True)
class Used:
    """One lot that went onto a plate.

    Attributes:
        state: how it stood when the plate was made: ``good``, ``near``, ``expired``; ``unknown``: nobody
            registered it.
        override: who let an unfit lot pass, and why; empty for a fit one.
    """

    kind: str
    number: str
    state: str
    expires_at: datetime | None
    override: str


def of_plate(conn: Connection, plate_id: str) -> list[Used]:
    """The lots on a plate, in the order in which they were named."""
    acts = queries.lots_of_plate(conn, plate_id)
    passed = {
        (act["kind"], act["number"]): f"{act['actor']}: {act['detail'].partition(': ')[2]}"
        for act in acts
        if act["act"] == "overridden"
    }
    found = []
    for act in acts:
        if act["act"] != "used":
            continue
        key = act["kind"], act["number"]
        row = queries.lot_row(conn, *key)
        state = state_of({**row, "finished_at": None}, act["at"]) if row else "unknown"
        found.append(Used(*key, state, row["expires_at"] if row else None, passed.get(key, "")))
    return found


def state_of(row: Mapping[str, Any], now: datetime) -> str:
    """How a lot stands: ``finished``, ``expired``, ``near`` or ``good``."""
    if row["finished_at"] is not None:
        return "finished"
    if row["expires_at"] <= now:
        return "expired"
    return "near" if row["expires_at"] <= now + NEAR else "good"


def receive(unit: Unit, kind: str, number: str, assay: str, expires_at: datetime, detail: str = "") -> None:
    """Put a lot that arrived on the register.

    Raises:
        Invalid: ``LOT_KIND``, ``LOT_NUMBER``. Refused: ``LOT_KNOWN``; ``LOT_EXPIRED``: it is no use any more.
    """
    number = _number(kind, number)
    if queries.lot_row(unit.conn, kind, number) is not None:
        raise Refused("LOT_KNOWN", f"Lot {number} ({kind}) is on the register already.", lot=number)
    if expires_at <= unit.now:
        raise Refused(
            "LOT_EXPIRED", f"Lot {number} expired before it was registered. Send it back.", lot=number
        )
    row = {"kind": kind, "number": number, "assay": assay.strip(), "expires_at": expires_at}
    queries.add_lot(unit.conn, row | {"received_at": unit.now})
    _acts(unit, [(kind, number, "received", "", detail)])


def open_lot(unit: Unit, kind: str, number: str, detail: str = "") -> None:
    """Note that a lot was opened.

    Raises:
        NotFound: ``LOT_UNKNOWN``. Refused: ``LOT_OPEN``, ``LOT_FINISHED``.
    """
    row = _known(unit, kind, number)
    if row["finished_at"] is not None:
        raise Refused(
            "LOT_FINISHED", f"Lot {row['number']} was used up. Take another one.", lot=row["number"]
        )
    if row["opened_at"] is not None:
        raise Refused("LOT_OPEN", f"Lot {row['number']} was opened already.", lot=row["number"])
    queries.change_lot(unit.conn, kind, row["number"], opened_at=unit.now, opened_by=unit.actor)
    _acts(unit, [(kind, row["number"], "opened", "", detail)])


def finish(unit: Unit, kind: str, number: str, detail: str) -> None:
    """Note that a lot is used up or thrown away.

    Raises:
        NotFound: ``LOT_UNKNOWN``. Refused: ``LOT_FINISHED``.
    """
    row = _known(unit, kind, number)
    if row["finished_at"] is not None:
        raise Refused("LOT_FINISHED", f"Lot {row['number']} was finished already.", lot=row["number"])
    queries.change_lot(unit.conn, kind, row["number"], finished_at=unit.now)
    _acts(unit, [(kind, row["number"], "finished", "", detail)])


def use(unit: Unit, plate_id: str, named: Mapping[str, str], *, reason: str = "", may: bool = False) -> None:
    """Say which lots go onto a plate that was just made; belongs into the transaction that made it.

    A lot nobody registered is written down and refused nothing. An unfit one needs a reason and somebody who
    ``may`` override; that they did is an act of its own.

    Raises:
        Refused: ``LOT_EXPIRED``, ``LOT_FINISHED`` or ``LOT_OTHER_ASSAY``.
        Forbidden: ``LOT_OVERRIDE``: a reason was given by somebody who may not decide this.
    """
    plate = queries.plate_row(unit.conn, plate_id) or {}
    acts: list[tuple[str, str, str, str, str]] = []
    for kind, number in named.items():
        if not number.strip():
            continue
        code = _number(kind, number)
        row = queries.lot_row(unit.conn, kind, code)
        doubt = _doubt(unit, row, plate) if row else None
        if doubt is not None:
            _overridden(unit, doubt, reason, may=may)
            acts.append((kind, code, "overridden", plate_id, f"{doubt.code}: {reason.strip()}"))
        if row and row["opened_at"] is None:
            queries.change_lot(unit.conn, kind, code, opened_at=unit.now, opened_by=unit.actor)
            acts.append((kind, code, "opened", plate_id, ""))
        acts.append((kind, code, "used", plate_id, ""))
    _acts(unit, acts)


def _doubt(unit: Unit, row: Row, plate: Mapping[str, Any]) -> Refused | None:
    """Why a lot must not go onto this plate, or None."""
    number, state = row["number"], state_of(row, unit.now)
    if state == "expired":
        told = f"Lot {number} expired on {row['expires_at']:%Y-%m-%d %H:%M} UTC."
        return Refused("LOT_EXPIRED", f"{told} Take another lot, or ask the manager.", lot=number)
    if state == "finished":
        return Refused("LOT_FINISHED", f"Lot {number} was used up. Check the number on the box.", lot=number)
    if row["assay"] and row["assay"] != plate.get("assay"):
        told = f"Lot {number} is of assay {row['assay']}, the plate of {plate.get('assay')}."
        return Refused("LOT_OTHER_ASSAY", f"{told} Take the right box.", lot=number, assay=row["assay"])
    return None


def _overridden(unit: Unit, doubt: Refused, reason: str, *, may: bool) -> None:
    if not reason.strip():
        raise doubt
    if not may:
        raise Forbidden(
            "LOT_OVERRIDE", f"{unit.actor} may not use an unfit lot. Ask a manager, or take another lot."
        )


def _known(unit: Unit, kind: str, number: str) -> Row:
    code = _number(kind, number)
    row = queries.lot_row(unit.conn, kind, code)
    if row is None:
        raise NotFound("LOT_UNKNOWN", f"Lot {code} ({kind}) is not on the register. Register it.", lot=code)
    return row


def _number(kind: str, number: str) -> str:
    if kind not in KINDS:
        raise Invalid("LOT_KIND", f"A lot is of kind {', '.join(KINDS)}.")
    code = " ".join(number.split())
    if not code or len(code) > LONGEST or not code.isprintable():
        raise Invalid("LOT_NUMBER", f"A lot number has 1 to {LONGEST} characters, as printed on the box.")
    return code


def _acts(unit: Unit, acts: list[tuple[str, str, str, str, str]]) -> None:
    names = ("kind", "number", "act", "plate_id", "detail")
    told = {"at": unit.now, "actor": unit.actor}
    queries.add_lot_acts(unit.conn, [told | dict(zip(names, one, strict=True)) for one in acts])
