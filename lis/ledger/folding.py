"""The log read back: every tube, and all that follows from the log, rebuilt from it alone."""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Table, delete

from lis import events as e
from lis.clock import from_text
from lis.db import insert_tuples
from lis.events import FIELDS, KINDS, TIMES, Event, TubeKind
from lis.ledger.amending import AMENDMENTS, Proposal, follow
from lis.ledger.rows import LINKED, SHAPE, as_stored
from lis.schema import amendment, pool_member, recall, tube, tube_person
from lis.tube import Tube, evolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lis.db import Unit


SLICE: Final = 5_000
"""Rows of the log read at once: few enough to stay in the processor's cache."""


def rows(
    conn: Connection, names: Sequence[str] = (*SHAPE, "hash"), *, size: int = SLICE
) -> Iterator[tuple[Any, ...]]:
    """The log in order as raw tuples of ``names`` (first the event's number), ``size`` at a time.

    Goes to the driver directly: a million rows through column types would take longer than the fold.
    """
    last = 0
    cursor = _cursor(conn)
    try:
        while True:
            where = f"event_id > {last} ORDER BY event_id LIMIT {size}"
            cursor.execute(f"SELECT {', '.join(names)} FROM event WHERE {where}")  # noqa: S608 - own words
            found = cursor.fetchall()
            yield from found
            if len(found) < size:
                return
            last = found[-1][0]
    finally:
        cursor.close()


def _cursor(conn: Connection) -> Any:
    """A cursor of the driver itself, in the transaction of ``conn``."""
    return conn.connection.cursor()


def _plan(name: str) -> tuple[type, tuple[int, ...], tuple[tuple[int, Callable[[Any], Any]], ...]]:
    """Of an event: its class, where its fields stand in a row, which of them are no plain text or number."""
    places = tuple(SHAPE.index(field) for field in FIELDS[name])
    special = tuple(
        (i, from_text if field in TIMES else TubeKind)
        for i, field in enumerate(FIELDS[name])
        if field in TIMES or field == "tube_kind"
    )
    return KINDS[name], places, special


_PLANS: Final = {name: _plan(name) for name in KINDS}


def fact_of(row: Sequence[Any]) -> Event:
    """The event of a raw row of the log."""
    kind, places, special = _PLANS[row[3]]
    values = [row[i] for i in places]
    for i, as_value in special:
        values[i] = as_value(values[i])
    fact: Event = kind(*values)
    return fact


def fold(conn: Connection) -> dict[str, Tube]:
    """All tubes, rebuilt from the log alone.

    Raises:
        IllegalMove: the log itself holds a move that cannot be.
    """
    return _folded(conn)[0]


def _folded(conn: Connection) -> tuple[dict[str, Tube], Links]:
    """All tubes and the rows beside them, in one pass over the log."""
    state: dict[str, Tube] = {}
    links = Links()
    with _without_collection():
        for row in rows(conn, SHAPE):
            tube_id = row[1]
            fact = fact_of(row)
            state[tube_id] = evolve(state.get(tube_id) or Tube(tube_id), fact, from_text(row[4]))
            if row[3] in LINKED:
                links.add(row, fact)
    return state, links


@contextlib.contextmanager
def _without_collection() -> Iterator[None]:
    """Python would look for cycles again and again while millions of objects are made; there are none."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class Links:
    """The rows beside the tubes that follow from events, collected while the log is read."""

    def __init__(self) -> None:
        self.persons: dict[tuple[str, int], str] = {}
        self.members: dict[tuple[str, int], str] = {}
        self.recalls: dict[tuple[str, str], tuple[Any, ...]] = {}
        self.amendments: dict[tuple[str, str], Proposal] = {}

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
            case e.AmendmentProposed() | e.AmendmentWithdrawn() | e.Amended():
                key = tube_id, fact.amends
                found = follow(self.amendments.get(key), fact, from_text(row[4]), row[5])
                if found is not None:
                    self.amendments[key] = found
            case _:
                pass


def is_linked(row: Sequence[Any]) -> bool:
    """Whether a row beside the tube follows from this row of the log."""
    return row[3] in LINKED


def rebuild(unit: Unit) -> int:
    """Write the tube table, and all that follows from the log, anew; returns the number of tubes."""
    state, links = _folded(unit.conn)
    for table in (tube_person, pool_member, recall, amendment, tube):
        unit.conn.execute(delete(table))
    _insert_all(unit.conn, tube, Tube._fields, [as_stored(one) for one in state.values()])
    _insert_all(unit.conn, tube_person, PERSONS, [(*key, who) for key, who in links.persons.items()])
    _insert_all(unit.conn, pool_member, MEMBERS, [(*key, code) for key, code in links.members.items()])
    _insert_all(unit.conn, recall, RECALLS, [(*key, *rest) for key, rest in links.recalls.items()])
    _insert_all(unit.conn, amendment, AMENDMENTS, [(*key, *one) for key, one in links.amendments.items()])
    return len(state)


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


def _insert_all(
    conn: Connection, table: Table, names: tuple[str, ...], values: Sequence[tuple[Any, ...]]
) -> None:
    for start in range(0, len(values), SLICE):
        insert_tuples(conn, table, names, values[start : start + SLICE])
