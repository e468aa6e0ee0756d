"""What a row of the log is: its columns, its hash, the tube it leads to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from msgspec.json import Encoder
from sqlalchemy import Connection, select

from lis import barcodes
from lis import events as e
from lis.clock import from_text, to_text
from lis.db import GENESIS, Prepared, among
from lis.errors import NotFound
from lis.events import COLUMNS, FIELDS, KINDS, TIMES, Event, TubeKind
from lis.schema import Moment, chain, event, tube
from lis.tube import NEXT_STEP, Tube, TubeState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

CHUNK: Final = 500
"""Tubes read or written per statement; below the parameter limits of both databases."""


HEAD: Final = ("event_id", "tube_id", "seq", "kind", "at", "actor")


SHAPE: Final = (*HEAD, *COLUMNS)
"""The order of columns in the log, without the hash."""


Recorded = tuple[str, Event]
"""A tube and what happened to it."""


def as_row(event_id: int, moved: Tube, fact: Event, at: datetime, actor: str) -> dict[str, Any]:
    """The row of an event, times as text, without its hash and the columns of other events."""
    kind = type(fact).__name__
    row: dict[str, Any] = {
        "event_id": event_id,
        "tube_id": moved.tube_id,
        "seq": moved.seq,
        "kind": kind,
        "at": to_text(at),
        "actor": actor,
    }
    for name in FIELDS[kind]:
        value = getattr(fact, name)
        row[name] = to_text(value) if name in TIMES else value
    return row


as_json: Final = Encoder(order="sorted").encode
"""Canonical JSON (UTF-8, no blanks, keys in order), written by the same code for every row that is sealed."""


def canonical(row: Mapping[str, Any]) -> bytes:
    """JSON of every field of a row of the log that is not empty, by name."""
    return as_json({name: value for name, value in row.items() if value is not None})


def link(previous: str, row: Mapping[str, Any]) -> str:
    """The hash of ``row`` after a row whose hash was ``previous``.

    Empty fields are left out, so a column added later does not change the hash of old rows.
    """
    return hashlib.sha256(previous.encode() + canonical(row)).hexdigest()


def head_of(conn: Connection) -> tuple[int, str]:
    """Number and hash of the last row of the log."""
    row = conn.execute(select(chain.c.event_id, chain.c.hash)).one_or_none()
    return (row.event_id, row.hash) if row else (0, GENESIS)


AMENDING: Final = frozenset({"AmendmentProposed", "AmendmentWithdrawn", "Amended"})
"""Events that a proposal to correct a report follows from."""

LINKED: Final = frozenset(
    {"PersonBound", "PersonUnbound", "JoinedPool", "PersonRecalled", "PersonRecollected", *AMENDING}
)
"""Events from which a row beside the tube follows."""


def link_row(tube_id: str, fact: Event, at: datetime) -> dict[str, Any]:
    """The row beside the tube that an event implies; empty for most events."""
    match fact:
        case e.PersonBound():
            return {"tube_id": tube_id, "place": fact.place, "person_id": fact.person_id}
        case e.JoinedPool():
            return {"pool_id": fact.pool_id, "place": fact.place, "tube_id": tube_id}
        case e.PersonRecalled():
            return {
                "tube_id": tube_id,
                "person_id": fact.person_id,
                "reason": fact.reason,
                "opened_at": at,
                "due_at": fact.due_at,
            }
        case e.PersonRecollected():
            return {
                "tube_id": tube_id,
                "person_id": fact.person_id,
                "other_tube": fact.other_tube,
                "result": fact.result,
            }
        case _:
            return {}


def known(conn: Connection, barcode: str) -> Tube:
    """The tube with this code.

    Raises:
        NotFound: ``TUBE_UNKNOWN`` if nobody registered it.
        Invalid: the code is malformed.
    """
    code = barcodes.parse(barcode, barcodes.TUBE, barcodes.POOL)
    found = tubes(conn, [code])[code]
    if found.state is TubeState.ABSENT:
        raise NotFound(
            "TUBE_UNKNOWN", f"Tube {code} is not known here. {NEXT_STEP[TubeState.ABSENT]}", tube=code
        )
    return found


def recalls(tube_id: str, persons: Iterable[str], reason: str, due: datetime) -> list[Recorded]:
    """The events that call back every person of a tube."""
    people = list(persons)
    order: Recorded = (tube_id, e.RecollectionOrdered(reason, len(people)))
    return [order, *((tube_id, e.PersonRecalled(person_id, reason, due)) for person_id in people)]


TUBE_COLUMNS = tuple(tube.c[name] for name in Tube._fields)


_TUBES: Final = Prepared(select(*TUBE_COLUMNS).where(among(tube.c.tube_id, "codes")))


def tubes(conn: Connection, tube_ids: Iterable[str]) -> dict[str, Tube]:
    """The tubes named, in order of their codes; those nobody has heard of come back as absent."""
    wanted = sorted(set(tube_ids))
    found: dict[str, Tube] = {}
    for start in range(0, len(wanted), CHUNK):
        for row in _TUBES.rows(conn, codes=wanted[start : start + CHUNK]):
            found[row[0]] = as_stored_tube(row)
    return {tube_id: found.get(tube_id) or Tube(tube_id) for tube_id in wanted}


_MOMENTS: Final = tuple(i for i, name in enumerate(Tube._fields) if isinstance(tube.c[name].type, Moment))
_KINDS: Final = {kind.value: kind for kind in TubeKind}
_STATES: Final = {state.value: state for state in TubeState}


def as_stored_tube(row: Sequence[Any]) -> Tube:
    """A row of the tube table as the driver has it (moments are text) as a value."""
    values = list(row)
    values[1], values[2] = _KINDS[values[1]], _STATES[values[2]]
    for i in _MOMENTS:
        if values[i] is not None:
            values[i] = from_text(values[i])
    return Tube._make(values)


def as_stored(one: Tube) -> tuple[Any, ...]:
    """A tube as a row of its table; drivers are slow with members of enumerations."""
    return (one.tube_id, str(one.kind), str(one.state), *one[3:])


def as_tube(row: Sequence[Any]) -> Tube:
    """A row of the tube table as a value."""
    values = list(row)
    values[1], values[2] = _KINDS[values[1]], _STATES[values[2]]
    return Tube._make(values)


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the log."""

    event_id: int
    tube_id: str
    seq: int
    at: datetime
    actor: str
    fact: Event


def as_fact(kind: str, row: dict[str, Any]) -> Event:
    """The event of a row.

    Raises:
        KeyError: if the kind is not known to this version.
    """
    values = {name: row[name] for name in FIELDS[kind]}
    if "tube_kind" in values:
        values["tube_kind"] = TubeKind(values["tube_kind"])
    fact: Event = KINDS[kind](**values)
    return fact


def history(conn: Connection, tube_id: str) -> list[Entry]:
    """Everything that happened to a tube, in order."""
    found = conn.execute(select(event).where(event.c.tube_id == tube_id).order_by(event.c.seq)).mappings()
    return [
        Entry(row["event_id"], tube_id, row["seq"], row["at"], row["actor"], as_fact(row["kind"], dict(row)))
        for row in found
    ]
