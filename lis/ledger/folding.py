"""The log read back: every tube, and all that follows from the log, rebuilt from it alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Table, delete

from lis import events as e
from lis.clock import from_text
from lis.db import insert_many
from lis.events import FIELDS, KINDS, TIMES, Event, TubeKind
from lis.ledger.rows import CHUNK, SHAPE
from lis.schema import pool_member, recall, tube, tube_person
from lis.tube import Tube, evolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lis.db import Unit


def rows(conn: Connection, size: int = 20_000) -> Iterator[tuple[Any, ...]]:
    """The log in order, ``size`` rows at a time, as raw tuples in the order of :data:`SHAPE`, then the hash.

    Goes to the driver directly: a million rows through column types would take longer than the fold.
    """
    names = ", ".join(SHAPE)
    last = 0
    while True:
        found = conn.exec_driver_sql(
            f"SELECT {names}, hash FROM event WHERE event_id > {last} ORDER BY event_id LIMIT {size}"  # noqa: S608 - own column names and numbers
        ).fetchall()
        yield from (tuple(row) for row in found)
        if len(found) < size:
            return
        last = found[-1][0]


_PLANS: Final = {
    name: (
        KINDS[name],
        tuple((SHAPE.index(field), field in TIMES, field == "tube_kind") for field in FIELDS[name]),
    )
    for name in KINDS
}


def fact_of(row: Sequence[Any]) -> Event:
    """The event of a raw row of the log."""
    kind, plan = _PLANS[row[3]]
    fact: Event = kind(
        *[
            from_text(row[i]) if is_time else TubeKind(row[i]) if is_kind else row[i]
            for i, is_time, is_kind in plan
        ]
    )
    return fact


def fold(conn: Connection) -> dict[str, Tube]:
    """All tubes, rebuilt from the log alone.

    Raises:
        IllegalMove: the log itself holds a move that cannot be.
    """
    state: dict[str, Tube] = {}
    for row in rows(conn):
        tube_id = row[1]
        state[tube_id] = evolve(state.get(tube_id) or Tube(tube_id), fact_of(row), from_text(row[4]))
    return state


class Links:
    """The rows beside the tubes that follow from events, collected while the log is read."""

    def __init__(self) -> None:
        self.persons: dict[tuple[str, int], str] = {}
        self.members: dict[tuple[str, int], str] = {}
        self.recalls: dict[tuple[str, str], tuple[Any, ...]] = {}

    def add(self, row: Sequence[Any], fact: Event) -> None:
        """Follow one event."""
        tube_id = row[1]
        match fact:
            case e.PersonBound():
                self.persons[tube_id, fact.place] = fact.person_id
            case e.JoinedPool():
                self.members[fact.pool_id, fact.place] = tube_id
            case e.PersonRecalled():
                at = from_text(row[4])
                self.recalls[tube_id, fact.person_id] = (fact.reason, at, fact.due_at, None, "", "")
            case e.PersonRecollected():
                opened = self.recalls[tube_id, fact.person_id]
                closed = (from_text(row[4]), fact.other_tube, fact.result)
                self.recalls[tube_id, fact.person_id] = (*opened[:3], *closed)
            case _:
                pass


def is_linked(row: Sequence[Any]) -> bool:
    """Whether a row beside the tube follows from this row of the log."""
    return row[3] in {"PersonBound", "JoinedPool", "PersonRecalled", "PersonRecollected"}


def rebuild(unit: Unit) -> int:
    """Write the tube table, and all that follows from the log, anew; returns the number of tubes."""
    folded = list(fold(unit.conn).values())
    links = Links()
    for row in rows(unit.conn):
        if is_linked(row):
            links.add(row, fact_of(row))
    for table in (tube_person, pool_member, recall, tube):
        unit.conn.execute(delete(table))
    _insert_all(unit.conn, tube, [one._asdict() for one in folded])
    _insert_all(unit.conn, tube_person, [_named(PERSONS, (*k, v)) for k, v in links.persons.items()])
    _insert_all(unit.conn, pool_member, [_named(MEMBERS, (*k, v)) for k, v in links.members.items()])
    _insert_all(unit.conn, recall, [_named(RECALLS, (*k, *v)) for k, v in links.recalls.items()])
    return len(folded)


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


def _named(names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(names, values, strict=True))


def _insert_all(conn: Connection, table: Table, values: Sequence[dict[str, Any]]) -> None:
    for start in range(0, len(values), CHUNK):
        insert_many(conn, table, values[start : start + CHUNK])
