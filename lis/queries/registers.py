"""Reagent lots, corrective notes and the acts of taking lists out: small tables that people keep."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select, update

from lis.db import insert_many
from lis.queries.common import PAGE, Row, all_rows, one_row
from lis.schema import corrective_note, export_act, lot, lot_act

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


# -- what was taken out ---------------------------------------------------------------------------


def add_export(conn: Connection, row: Mapping[str, Any]) -> None:
    """Write down that a list was taken out, a person looked for, or a wall opened."""
    insert_many(conn, export_act, [row])


def export_acts(conn: Connection, limit: int = PAGE) -> list[Row]:
    """Who took what out, newest first."""
    return all_rows(conn, select(export_act).order_by(export_act.c.act_id.desc()).limit(limit))


# -- reagent lots ---------------------------------------------------------------------------------


def lots(conn: Connection) -> list[Row]:
    """Every registered lot; those in use first, the one that expires first at the head."""
    order = (lot.c.finished_at.is_not(None), lot.c.expires_at, lot.c.kind, lot.c.number)
    return all_rows(conn, select(lot).order_by(*order))


def lot_row(conn: Connection, kind: str, number: str) -> Row | None:
    """A lot, or None."""
    return one_row(conn, select(lot).where(lot.c.kind == kind, lot.c.number == number))


def add_lot(conn: Connection, row: Mapping[str, Any]) -> None:
    """Put a lot on the register."""
    insert_many(conn, lot, [row])


def change_lot(conn: Connection, kind: str, number: str, **values: Any) -> None:
    """Note that a lot was opened or finished."""
    conn.execute(update(lot).where(lot.c.kind == kind, lot.c.number == number).values(**values))


def add_lot_acts(conn: Connection, rows: list[Row]) -> None:
    """Write down what was done with lots."""
    insert_many(conn, lot_act, rows)


def lot_acts(conn: Connection, kind: str, number: str) -> list[Row]:
    """Everything that was done with a lot, oldest first."""
    mine = (lot_act.c.kind == kind, lot_act.c.number == number)
    return all_rows(conn, select(lot_act).where(*mine).order_by(lot_act.c.act_id))


def lots_of_plate(conn: Connection, plate_id: str) -> list[Row]:
    """The lots that were used for a plate, and on whose word an unfit one was."""
    return all_rows(conn, select(lot_act).where(lot_act.c.plate_id == plate_id).order_by(lot_act.c.act_id))


def lot_plates(conn: Connection) -> dict[tuple[str, str], int]:
    """(kind, number) -> on how many plates a lot was used."""
    found = (
        select(lot_act.c.kind, lot_act.c.number, func.count(lot_act.c.plate_id.distinct()))
        .where(lot_act.c.act == "used")
        .group_by(lot_act.c.kind, lot_act.c.number)
    )
    return {(kind, number): count for kind, number, count in conn.execute(found)}


def lots_near_end(conn: Connection, before: datetime) -> int:
    """How many lots in use expire before a moment."""
    found = select(func.count()).where(lot.c.finished_at.is_(None), lot.c.expires_at < before)
    return int(conn.execute(found).scalar_one())


# -- corrective notes -----------------------------------------------------------------------------


def add_note(conn: Connection, row: Mapping[str, Any]) -> None:
    """Write one note of a corrective action."""
    insert_many(conn, corrective_note, [row])


def notes_of(conn: Connection, action_id: int) -> list[Row]:
    """The notes of one corrective action, oldest first."""
    found = select(corrective_note).where(corrective_note.c.action_id == action_id)
    return all_rows(conn, found.order_by(corrective_note.c.seq))


def notes_by_action(conn: Connection, limit: int = PAGE) -> dict[int, list[Row]]:
    """The newest corrective actions, each with all its notes, oldest note first."""
    newest = (
        select(corrective_note.c.action_id)
        .distinct()
        .order_by(corrective_note.c.action_id.desc())
        .limit(limit)
        .subquery()
    )
    found = (
        select(corrective_note)
        .join(newest, newest.c.action_id == corrective_note.c.action_id)
        .order_by(corrective_note.c.action_id.desc(), corrective_note.c.seq)
    )
    notes: dict[int, list[Row]] = defaultdict(list)
    for row in all_rows(conn, found):
        notes[row["action_id"]].append(row)
    return notes


def open_actions(conn: Connection) -> int:
    """How many corrective actions nobody has closed."""
    last = (
        select(corrective_note.c.action_id, func.max(corrective_note.c.seq).label("seq"))
        .group_by(corrective_note.c.action_id)
        .subquery()
    )
    same = (last.c.action_id == corrective_note.c.action_id) & (last.c.seq == corrective_note.c.seq)
    found = select(func.count()).select_from(corrective_note).join(last, same)
    return int(conn.execute(found.where(corrective_note.c.act != "closed")).scalar_one())
