"""The tables that follow from the log, put right from it alone."""

from __future__ import annotations

import contextlib
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import Connection, Table
from sqlalchemy.schema import AddConstraint, DropConstraint

from lis.clock import to_text
from lis.db import insert_tuples
from lis.ledger.amending import AMENDMENTS
from lis.ledger.folding import as_row_of, cursor_of, folded, undisturbed
from lis.schema import amendment, pool_member, recall, tube, tube_person
from lis.tube import Tube

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from lis.db import Unit

PERSONS: Final = ("tube_id", "place", "person_id")
MEMBERS: Final = ("pool_id", "place", "tube_id")
RECALLS: Final = (
    "tube_id",
    "person_id",
    "reason",
    "opened_at",
    "due_at",
    "closed_at",
    "other_tube",
    "result",
)

AT_ONCE: Final = 5_000
"""Rows read or written in one step."""


class Rebuilt(NamedTuple):
    """What :func:`rebuild` found: ``tubes`` in the log, and rows of all tables that it put right."""

    tubes: int
    corrected: int


def rebuild(unit: Unit) -> Rebuilt:
    """Make the tube table, and all that follows from the log, say what the log says.

    Rows that are right already stay as they are, so that a laboratory at work is not locked out of its
    tubes while one of them is put right; rows that nothing in the log led to are taken out.

    Raises:
        IllegalMove: the log itself holds a move that cannot be.
    """
    with undisturbed():  # what was read is let go before the collector looks again
        return _rebuilt(unit.conn)


def _rebuilt(conn: Connection) -> Rebuilt:
    state, links = folded(conn)
    wanted: tuple[tuple[Table, Sequence[str], Iterable[tuple[Any, ...]]], ...] = (
        (tube, Tube._fields, (as_row_of(one) for one in state.values())),
        (tube_person, PERSONS, ((*key, who) for key, who in links.persons.items())),
        (pool_member, MEMBERS, ((*key, code) for key, code in links.members.items())),
        (recall, RECALLS, (_plain((*key, *rest)) for key, rest in links.recalls.items())),
        (amendment, AMENDMENTS, (_plain((*key, *one)) for key, one in links.amendments.items())),
    )
    corrected = sum(_put_right(conn, table, names, rows) for table, names, rows in wanted)
    return Rebuilt(len(state), corrected)


def _put_right(conn: Connection, table: Table, names: Sequence[str], rows: Iterable[tuple[Any, ...]]) -> int:
    """Make ``table`` hold ``rows`` and no others; returns how many rows were wrong, missing or too many."""
    width = len(table.primary_key)
    missing = {row[:width]: row for row in rows}
    right, wrong = 0, []
    for row in _stored_rows(conn, table, names):
        key = row[:width]
        if missing.get(key) == row:
            del missing[key]
            right += 1
        else:
            wrong.append(key)
    _delete(conn, table, names[:width], wrong)
    new = list(missing.values())
    with _indexed_afterwards(conn, table) if len(new) > right else contextlib.nullcontext():
        for start in range(0, len(new), AT_ONCE):
            insert_tuples(conn, table, tuple(names), new[start : start + AT_ONCE], plain=True)
    return len(missing) + len(set(wrong) - missing.keys())


def _plain(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A row as the table keeps it: moments as text."""
    return tuple(to_text(value) if isinstance(value, datetime) else value for value in row)


def _stored_rows(conn: Connection, table: Table, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """What the table holds, as its driver has it."""
    server = conn.dialect.name != "sqlite"  # its driver would hold the whole table in memory
    cursor = conn.connection.cursor("rebuild") if server else cursor_of(conn)
    try:
        cursor.execute(f"SELECT {', '.join(names)} FROM {table.name}")  # noqa: S608 - our own names
        while found := cursor.fetchmany(AT_ONCE):
            yield from found
    finally:
        cursor.close()


def _delete(conn: Connection, table: Table, key: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
    mark = "?" if conn.dialect.name == "sqlite" else "%s"
    where = " AND ".join(f"{name} = {mark}" for name in key)
    cursor = cursor_of(conn)
    try:
        cursor.executemany(f"DELETE FROM {table.name} WHERE {where}", rows)  # noqa: S608 - our own names
    finally:
        cursor.close()


@contextlib.contextmanager
def _indexed_afterwards(conn: Connection, table: Table) -> Iterator[None]:
    """Indexes and references made of rows that are there cost a fraction of following every row.

    The embedded database cannot take a reference off a table, and looks it up cheaply row by row.
    """
    indexes = list(table.indexes)
    references = list(table.foreign_key_constraints) if conn.dialect.name != "sqlite" else []
    for index in indexes:
        index.drop(conn)
    for reference in references:
        conn.execute(DropConstraint(reference))
    yield
    for reference in references:
        conn.execute(AddConstraint(reference))
    for index in indexes:
        index.create(conn)
