"""The log read back: every tube, and all that follows from the log, from it alone."""

from __future__ import annotations

import contextlib
import gc
import json
import sys
from collections import namedtuple
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection

from lis import events as e
from lis.clock import from_text
from lis.events import FIELDS, KINDS, TIMES, Event, TubeKind
from lis.ledger.amending import Proposal, follow
from lis.ledger.rows import LINKED, SHAPE, as_stored, as_stored_tube
from lis.tube import READS, Tube, TubeState, move

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


_Row = Sequence[Any]
_Slice = list[tuple[Any, ...]]

SLICE: Final = 5_000
"""Rows of the log read at once: few enough to stay in the processor's cache."""

AT_ONCE: Final = 20_000
"""Rows of the log in one text of JSON."""


def rows(conn: Connection, *, size: int = SLICE) -> Iterator[tuple[Any, ...]]:
    """The whole log in order as raw tuples of :data:`SHAPE` and the hash, ``size`` numbers at a time.

    Goes to the driver directly: a million rows through column types would take longer than the fold.
    """
    wanted = f"{', '.join(SHAPE)}, hash"
    for found in _slices(conn, wanted, size, order="ORDER BY event_id", ahead=conn.dialect.name != "sqlite"):
        yield from found


def _slices(
    conn: Connection, wanted: str, size: int, *, order: str = "", ahead: bool = True
) -> Iterator[_Slice]:
    """What the log says of each ``size`` numbers, in order.

    Asked by ranges of numbers and not by LIMIT, for which PostgreSQL may sort all that is left each time.
    """
    cursor = cursor_of(conn)
    try:
        cursor.execute("SELECT MIN(event_id), MAX(event_id) FROM event")
        first, last = cursor.fetchone()
        starts = range(first, last + 1, size) if last is not None else range(0)

        def read(start: int) -> _Slice:
            where = f"event_id >= {start} AND event_id < {start + size} {order}"
            cursor.execute(f"SELECT {wanted} FROM event WHERE {where}")  # noqa: S608 - our own words
            found: _Slice = cursor.fetchall()
            return found

        yield from _read_ahead(read, starts) if ahead else map(read, starts)
    finally:
        cursor.close()


def _read_ahead(read: Callable[[int], _Slice], starts: Sequence[int]) -> Iterator[_Slice]:
    """The slices in order, each asked for while the one before it is folded: the database works meanwhile."""
    with ThreadPoolExecutor(1) as beside:
        waiting = [beside.submit(read, start) for start in starts[:1]]
        for start in (*starts[1:], None):
            if not waiting:
                return
            found = waiting.pop().result()
            if start is not None:
                waiting.append(beside.submit(read, start))
            yield found


def cursor_of(conn: Connection) -> Any:
    """A cursor of the driver itself, in the transaction of ``conn``."""
    return conn.connection.cursor()


_NAMED: Final = ("event_id", "tube_id", "kind", "at")
"""What a fold reads of every event."""

FOLDED: Final = {
    name: (*_NAMED, "actor", *FIELDS[name]) if name in LINKED else (*_NAMED, *READS.get(kind, ()))
    for name, kind in KINDS.items()
}
"""Kind of event -> what a fold reads of it."""

_IN_SHAPE: Final = {name: place for place, name in enumerate(SHAPE)}


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
    """How a row of the packed log becomes something with the fields of its event that a fold needs.

    A plain tuple with names is made in a tenth of the time of an event, and keeps moments as text.
    """
    if name in LINKED:
        return _maker(name, {field: place for place, field in enumerate(FOLDED[name])})
    shape: Any = namedtuple(name, FOLDED[name])  # type: ignore[misc]  # noqa: PYI024 - known at run time only
    make: Callable[[_Row], Any] = shape._make
    return make


_READERS: Final = {name: (KINDS[name], _reader(name), name in LINKED) for name in KINDS}


def _arrays(dialect: str) -> str:
    """A row of the log as an array of JSON: of each kind of event the fields it has, and no others."""
    array = "json_array" if dialect == "sqlite" else "json_build_array"
    kinds = " ".join(f"WHEN '{name}' THEN {array}({', '.join(names)})" for name, names in FOLDED.items())
    return f"CASE kind {kinds} ELSE {array}({', '.join(_NAMED)}) END"


_GATHERED: Final = {
    "sqlite": f"json_group_array({_arrays('sqlite')})",
    "postgresql": f"json_agg({_arrays('postgresql')})::text",
}
"""Thousands of rows of the log as one text.

Making Python values of it takes half the time of making them column by column, empty ones included, and
the database writes the next text meanwhile.
"""


def _packed(conn: Connection) -> Iterator[_Row]:
    """The log in order, a row in the shape that :data:`FOLDED` gives for its kind."""
    for ((text,),) in _slices(conn, _GATHERED[conn.dialect.name], AT_ONCE):
        found: list[_Row] = json.loads(text or "[]")
        found.sort(key=itemgetter(0))  # they come so, but nothing promises it
        yield from found


class Folding:
    """A tube while the log is read: it has the fields of a :class:`~lis.tube.Tube` and changes in place."""

    state: TubeState
    seq: int
    updated_at: str

    def __init__(self, tube_id: str) -> None:
        vars(self).update(_AT_FIRST)
        self.tube_id = tube_id


_AT_FIRST: Final = Tube("")._asdict()


def fold(conn: Connection) -> dict[str, Tube]:
    """All tubes, rebuilt from the log alone.

    Raises:
        IllegalMove: the log itself holds a move that cannot be.
    """
    with undisturbed():
        return {code: as_stored_tube(as_row_of(one)) for code, one in folded(conn)[0].items()}


def as_row_of(one: Folding) -> tuple[Any, ...]:
    """A folded tube as a row of its table."""
    return as_stored(Tube._make(vars(one).values()))


def folded(conn: Connection) -> tuple[dict[str, Folding], Links]:
    """All tubes (their moments are text) and the rows beside them, in one pass over the log."""
    state: dict[str, Folding] = {}
    links = Links()
    for row in _packed(conn):
        tube_id, at = row[1], row[3]
        kind, read, linked = _READERS[row[2]]
        fact = read(row)
        one = state.get(tube_id)
        if one is None:
            one = state[tube_id] = Folding(tube_id)
        one.state, changes = move(one, kind, fact, at)
        vars(one).update(changes)
        one.seq += 1
        one.updated_at = at
        if linked:
            links.add(tube_id, fact, at, row[4])
    return state, links


SWITCH_S: Final = 0.0002
"""How long the reader beside a fold waits for the interpreter; 5 ms, the default, would be its whole time."""


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Python would look for cycles again and again while millions of objects are made; there are none."""
    collecting, interval = gc.isenabled(), sys.getswitchinterval()
    gc.disable()
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        if collecting:
            gc.enable()


class Links:
    """The rows beside the tubes that follow from events, collected while the log is read."""

    def __init__(self) -> None:
        self.persons: dict[tuple[str, int], str] = {}
        self.members: dict[tuple[str, int], str] = {}
        self.recalls: dict[tuple[str, str], tuple[Any, ...]] = {}
        self.amendments: dict[tuple[str, str], Proposal] = {}

    def add(self, tube_id: str, fact: Event, at: str, actor: str) -> None:
        """Follow one event."""
        match fact:
            case e.PersonBound():
                self.persons[tube_id, fact.place] = fact.person_id
            case e.PersonUnbound():
                self.persons.pop((tube_id, fact.place), None)
            case e.JoinedPool():
                self.members[fact.pool_id, fact.place] = tube_id
            case e.PersonRecalled():
                opening = fact.reason, from_text(at), fact.due_at
                self.recalls[tube_id, fact.person_id] = (*opening, None, "", "")
            case e.PersonRecollected():
                opened = self.recalls[tube_id, fact.person_id]
                closed = (from_text(at), fact.other_tube, fact.result)
                self.recalls[tube_id, fact.person_id] = (*opened[:3], *closed)
            case e.AmendmentProposed() | e.AmendmentWithdrawn() | e.Amended():
                key = tube_id, fact.amends
                found = follow(self.amendments.get(key), fact, from_text(at), actor)
                if found is not None:
                    self.amendments[key] = found
            case _:
                pass


def is_linked(row: Sequence[Any]) -> bool:
    """Whether a row beside the tube follows from this row of the log."""
    return row[3] in LINKED
