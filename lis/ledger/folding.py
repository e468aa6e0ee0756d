"""The log read back: every tube, and all that follows from the log, rebuilt from it alone."""

from __future__ import annotations

import contextlib
import gc
import json
from collections import namedtuple
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Table, delete

from lis import events as e
from lis.clock import from_text
from lis.db import insert_tuples
from lis.events import COLUMNS, FIELDS, KINDS, NUMBERS, TIMES, Event, TubeKind
from lis.ledger.amending import AMENDMENTS, Proposal, follow
from lis.ledger.rows import HEAD, LINKED, SHAPE, as_stored, as_stored_tube
from lis.schema import amendment, pool_member, recall, tube, tube_person
from lis.tube import Tube, TubeState, move

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from lis.db import Unit


_Row = Sequence[Any]

SLICE: Final = 5_000
"""Rows of the log read at once: few enough to stay in the processor's cache."""

AT_ONCE: Final = 1_000
"""Rows of the log in one text of JSON."""


def rows(
    conn: Connection, names: Sequence[str] = (*SHAPE, "hash"), *, size: int = SLICE
) -> Iterator[tuple[Any, ...]]:
    """The log in order as raw tuples of ``names`` (first the event's number), ``size`` numbers at a time.

    Goes to the driver directly: a million rows through column types would take longer than the fold.
    Asked by ranges of numbers and not by LIMIT, for which PostgreSQL may sort all that is left each time.
    """
    cursor = _cursor(conn)
    try:
        cursor.execute("SELECT MIN(event_id), MAX(event_id) FROM event")
        first, last = cursor.fetchone()
        starts = range(first, last + 1, size) if last is not None else range(0)

        def read(start: int) -> list[tuple[Any, ...]]:
            where = f"event_id >= {start} AND event_id < {start + size} ORDER BY event_id"
            cursor.execute(f"SELECT {', '.join(names)} FROM event WHERE {where}")  # noqa: S608 - own words
            found: list[tuple[Any, ...]] = cursor.fetchall()
            return found

        ahead = conn.dialect.name != "sqlite"
        for found in _read_ahead(read, starts) if ahead else map(read, starts):
            yield from found
    finally:
        cursor.close()


def _read_ahead(
    read: Callable[[int], list[tuple[Any, ...]]], starts: Sequence[int]
) -> Iterator[list[tuple[Any, ...]]]:
    """The slices in order, each asked for while the one before it is folded: a server works meanwhile."""
    with ThreadPoolExecutor(1) as beside:
        waiting = [beside.submit(read, start) for start in starts[:1]]
        for start in (*starts[1:], None):
            if not waiting:
                return
            found = waiting.pop().result()
            if start is not None:
                waiting.append(beside.submit(read, start))
            yield found


def _cursor(conn: Connection) -> Any:
    """A cursor of the driver itself, in the transaction of ``conn``."""
    return conn.connection.cursor()


BESIDE: Final = frozenset({"instrument", "run_id", "assay_version", "curve", "scope", "verdict"})
"""Fields that say something about a run and never change a tube; a fold leaves them out."""


def _slots() -> list[list[str]]:
    """The fields that a fold reads, packed: those that no event has together share a column.

    A driver makes a Python value of every column of every row, empty or not; a dozen instead of forty
    halve the time of reading a million rows.
    """
    slots: list[list[str]] = []
    for field in (name for name in COLUMNS if name not in BESIDE):
        beside = {other for names in FIELDS.values() if field in names for other in names}
        fitting = (
            slot for slot in slots if (slot[0] in NUMBERS) is (field in NUMBERS) and beside.isdisjoint(slot)
        )
        home = next(fitting, None)
        if home is None:
            slots.append([field])
        else:
            home.append(field)
    return slots


_SLOTS: Final = _slots()

FOLDED: Final = (
    *HEAD,
    *(f"COALESCE({', '.join(slot)})" if len(slot) > 1 else slot[0] for slot in _SLOTS),
)
"""What a fold reads of the log."""

_IN_SHAPE: Final = {name: place for place, name in enumerate(SHAPE)}
_IN_FOLDED: Final = {name: place for place, slot in enumerate(_SLOTS, len(HEAD)) for name in slot}
"""Field -> where its value stands in a row."""


def _maker(name: str, place_of: Mapping[str, int]) -> Callable[[Sequence[Any]], Event]:
    """How a row becomes the event of this name."""
    kind = KINDS[name]
    places = tuple(place_of[field] for field in FIELDS[name])
    special = tuple(
        (i, from_text if field in TIMES else TubeKind)
        for i, field in enumerate(FIELDS[name])
        if field in TIMES or field == "tube_kind"
    )

    def make(row: Sequence[Any]) -> Event:
        values = [row[place] for place in places]
        for i, as_value in special:
            values[i] = as_value(values[i])
        fact: Event = kind(*values)
        return fact

    return make


_MAKERS: Final = {name: _maker(name, _IN_SHAPE) for name in KINDS}


def fact_of(row: Sequence[Any]) -> Event:
    """The event of a raw row of the log."""
    return _MAKERS[row[3]](row)


def _reader(name: str) -> Callable[[_Row], Any]:
    """How a row of :data:`FOLDED` becomes something with the fields of its event that a fold needs.

    A plain tuple with names is made in a tenth of the time of an event, and keeps moments as text.
    """
    if name in LINKED:
        return _maker(name, _IN_FOLDED)
    fields = [field for field in FIELDS[name] if field not in BESIDE]
    places = [_IN_FOLDED[field] for field in fields]
    shape: Any = namedtuple(name, fields)  # type: ignore[misc]  # noqa: PYI024 - known at run time only
    make: Callable[[Sequence[Any]], Any] = shape._make
    if len(places) < 2:
        return lambda row: make([row[place] for place in places])
    pick = itemgetter(*places)
    return lambda row: make(pick(row))


_READERS: Final = {name: (KINDS[name], _reader(name), name in LINKED) for name in KINDS}


def _packed(conn: Connection) -> Iterator[Sequence[Any]]:
    """The packed log in order.

    The embedded database hands a thousand rows over as one text of JSON: making Python values of it takes
    two thirds of the time of making them column by column.
    """
    if conn.dialect.name != "sqlite":
        yield from rows(conn, FOLDED)
        return
    every = f"json_group_array(json_array({', '.join(FOLDED)}))"
    cursor = _cursor(conn)
    try:
        cursor.execute("SELECT MIN(event_id), MAX(event_id) FROM event")
        first, last = cursor.fetchone()
        for start in range(first, last + 1, AT_ONCE) if last is not None else ():
            where = f"event_id >= {start} AND event_id < {start + AT_ONCE}"
            cursor.execute(f"SELECT {every} FROM event WHERE {where}")  # noqa: S608 - our own words
            found: list[list[Any]] = json.loads(cursor.fetchone()[0])
            found.sort(key=itemgetter(0))  # they come so, but nothing promises it
            yield from found
    finally:
        cursor.close()


class _Folding:
    """A tube while the log is read: it has the fields of a :class:`~lis.tube.Tube` and changes in place."""

    __slots__ = Tube._fields

    state: TubeState
    seq: int
    updated_at: str

    def __init__(self, tube_id: str) -> None:
        for name, value in _AT_FIRST:
            setattr(self, name, value)
        self.tube_id = tube_id


_AT_FIRST: Final = tuple(Tube("")._asdict().items())
_VALUES: Final = attrgetter(*Tube._fields)


def fold(conn: Connection) -> dict[str, Tube]:
    """All tubes, rebuilt from the log alone.

    Raises:
        IllegalMove: the log itself holds a move that cannot be.
    """
    with _without_collection():
        return {code: as_stored_tube(_stored(one)) for code, one in _folded(conn)[0].items()}


def _stored(one: _Folding) -> tuple[Any, ...]:
    """A folded tube as a row of its table."""
    return as_stored(Tube._make(_VALUES(one)))


def _folded(conn: Connection) -> tuple[dict[str, _Folding], Links]:
    """All tubes (their moments are text) and the rows beside them, in one pass over the log."""
    state: dict[str, _Folding] = {}
    links = Links()
    for row in _packed(conn):
        tube_id = row[1]
        kind, read, linked = _READERS[row[3]]
        fact = read(row)
        one = state.get(tube_id)
        if one is None:
            one = state[tube_id] = _Folding(tube_id)
        one.state, changes = move(one, kind, fact, row[4])
        for name, value in changes.items():
            setattr(one, name, value)
        one.seq += 1
        one.updated_at = row[4]
        if linked:
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
    with _without_collection():
        return _rebuilt(unit.conn)


def _rebuilt(conn: Connection) -> int:
    state, links = _folded(conn)
    for table in (tube_person, pool_member, recall, amendment, tube):
        conn.execute(delete(table))
    with _indexed_afterwards(conn, tube, tube_person):
        _insert_all(conn, tube, Tube._fields, [_stored(one) for one in state.values()])
        _insert_all(conn, tube_person, PERSONS, [(*key, who) for key, who in links.persons.items()])
    _insert_all(conn, pool_member, MEMBERS, [(*key, code) for key, code in links.members.items()])
    _insert_all(conn, recall, RECALLS, [(*key, *rest) for key, rest in links.recalls.items()])
    _insert_all(conn, amendment, AMENDMENTS, [(*key, *one) for key, one in links.amendments.items()])
    return len(state)


@contextlib.contextmanager
def _indexed_afterwards(conn: Connection, *tables: Table) -> Iterator[None]:
    """Indexes made of rows that are there cost a fraction of indexes that follow every row."""
    indexes = [index for table in tables for index in table.indexes]
    for index in indexes:
        index.drop(conn)
    yield
    for index in indexes:
        index.create(conn)


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
