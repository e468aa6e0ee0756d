"""Where tubes stand, what was called, who did it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from sqlalchemy import Connection, and_, bindparam, func, literal, or_, select

from lis.clock import from_text
from lis.db import Prepared, among
from lis.events import TubeKind
from lis.ledger import as_tube, tubes
from lis.queries.common import PAGE, parts
from lis.schema import event, plate_well, pool_member, tube, tube_person
from lis.tube import Tube, TubeState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from sqlalchemy.sql import Select

    from lis.queries.lists import Sieve

IN_RACK: Final = (
    TubeState.RECEIVED,
    TubeState.POOLED,
    TubeState.PLATED,
    TubeState.RUNNING,
    TubeState.RESULTED,
    TubeState.AWAITING_RETEST,
    TubeState.STORED,
)
"""States in which a tube lies, or still needs, where its rack and position say."""


CLOSED: Final = (TubeState.RELEASED, TubeState.RESOLVED, TubeState.STORED, TubeState.DISCARDED)
"""States of a tube whose case has come to its end."""

UNREPORTED: Final = (
    TubeState.SEALED,
    TubeState.RECEIVED,
    TubeState.POOLED,
    TubeState.PLATED,
    TubeState.RUNNING,
    TubeState.RESULTED,
    TubeState.AWAITING_RETEST,
    TubeState.IN_REVIEW,
)
"""States in which somebody waits for the report of this very tube."""

WORKLISTS: Final[Mapping[str, tuple[TubeState, ...]]] = {
    "receive": (TubeState.SEALED,),
    "plate": (TubeState.RECEIVED,),
    "retest": (TubeState.AWAITING_RETEST,),
    "recollect": (TubeState.AWAITING_RECOLLECTION,),
    "review": (TubeState.IN_REVIEW,),
    "release": (TubeState.IN_REVIEW,),
    "hold": (TubeState.ON_HOLD_UNKNOWN, TubeState.ON_HOLD_DAMAGED),
}
"""Worklist -> the states it shows; ``quarantine`` lists files instead."""


_TUBE = tuple(tube.c[name] for name in Tube._fields)


def tubes_of_person(conn: Connection, person_id: str) -> list[Tube]:
    """All tubes a person is in, newest first."""
    found = (
        select(*_TUBE)
        .join(tube_person, tube_person.c.tube_id == tube.c.tube_id)
        .where(tube_person.c.person_id == person_id)
        .order_by(tube.c.sampled_at.desc(), tube.c.tube_id)
    )
    return [as_tube(row) for row in conn.execute(found)]


@dataclass(frozen=True, slots=True)
class Specimen:
    """One tube in which a person is, as the person's history shows it."""

    person_id: str
    tube_id: str
    kind: str
    state: str
    sampled_at: datetime | None
    outcome: str
    result: str


def specimens_of(conn: Connection, person_ids: Iterable[str]) -> dict[str, list[Specimen]]:
    """Person -> every tube in which the person is, newest first."""
    names = ("tube_id", "kind", "state", "sampled_at", "outcome", "result")
    specimens: dict[str, list[Specimen]] = defaultdict(list)
    for part in parts(person_ids):
        found = (
            select(tube_person.c.person_id, *(tube.c[name] for name in names))
            .join(tube, tube.c.tube_id == tube_person.c.tube_id)
            .where(among(tube_person.c.person_id, part))
            .order_by(tube_person.c.person_id, tube.c.sampled_at.desc(), tube.c.tube_id)
        )
        for row in conn.execute(found):
            specimens[row.person_id].append(Specimen(*row))
    return specimens


_PLACES: Final = Prepared(
    select(tube.c.rack, tube.c.position, tube.c.tube_id).where(
        among(tube.c.rack, "racks"),
        tube.c.position != "",
        or_(among(tube.c.state, "states"), tube.c.stored_at.is_not(None)),
    )
)


def occupied(conn: Connection, racks: Collection[str]) -> dict[tuple[str, str], str]:
    """(rack, position) -> tube, for the places of ``racks`` that still hold one."""
    states = [state.value for state in IN_RACK]
    return {
        (rack, position): code
        for part in parts(racks)
        for rack, position, code in _PLACES.rows(conn, racks=part, states=states)
    }


def actor_of(conn: Connection, tube_id: str, kind: str) -> str:
    """Who last recorded an event of ``kind`` on a tube; empty if nobody."""
    found = (
        select(event.c.actor)
        .where(event.c.tube_id == tube_id, event.c.kind == kind)
        .order_by(event.c.seq.desc())
        .limit(1)
    )
    return conn.execute(found).scalar_one_or_none() or ""


def last_finding_at(conn: Connection, tube_id: str) -> datetime | None:
    """When anything last happened to a tube besides being put away or taken out: retention counts from it."""
    found = select(func.max(event.c.at)).where(
        event.c.tube_id == tube_id, event.c.kind.not_in(("Stored", "Fetched"))
    )
    return conn.execute(found).scalar_one_or_none()


def in_store(conn: Connection, *states: TubeState, limit: int = PAGE) -> list[Tube]:
    """Tubes that lie put away, of these states if any are named, by rack and position."""
    found = select(*_TUBE).where(tube.c.stored_at.is_not(None))
    if states:
        found = found.where(tube.c.state.in_(states))
    return [as_tube(row) for row in conn.execute(found.order_by(tube.c.rack, tube.c.position).limit(limit))]


def first_heard(conn: Connection, tube_ids: Iterable[str]) -> dict[str, datetime]:
    """When our own clock first saw each tube: registered, or scanned unknown into the hold tray."""
    moments: dict[str, datetime] = {}
    for part in parts(tube_ids):
        found = select(event.c.tube_id, event.c.at).where(among(event.c.tube_id, part), event.c.seq == 1)
        moments.update((row.tube_id, row.at) for row in conn.execute(found))
    return moments


def actors_since(conn: Connection, tube_id: str, kind: str, since: str) -> list[str]:
    """Who recorded events of ``kind`` on a tube after its last event of kind ``since``."""
    last = select(func.coalesce(func.max(event.c.seq), literal(0))).where(
        event.c.tube_id == tube_id, event.c.kind == since
    )
    found = select(event.c.actor).where(
        event.c.tube_id == tube_id, event.c.kind == kind, event.c.seq > last.scalar_subquery()
    )
    return list(conn.execute(found.order_by(event.c.seq)).scalars())


def find_tubes(conn: Connection, text: str, limit: int = PAGE) -> list[Tube]:
    """Tubes whose code starts with ``text``, or that are on the plate or in the rack of that name."""
    begins = and_(tube.c.tube_id >= text, tube.c.tube_id < text + "\uffff")
    # By the maps: an index of the tubes themselves would be written with every move of every tube.
    plated = select(plate_well.c.tube_id).where(plate_well.c.plate_id == text)
    pooled = select(pool_member.c.tube_id).where(pool_member.c.pool_id == text)
    # One question an index: asked all at once, PostgreSQL walks through every tube in order of code.
    asked = (
        select(*_TUBE).where(begins).order_by(tube.c.tube_id),
        select(*_TUBE).where(tube.c.rack == text).order_by(tube.c.rack, tube.c.position),
        select(*_TUBE).where(tube.c.tube_id.in_(plated), tube.c.plate_id == text),
        select(*_TUBE).where(tube.c.tube_id.in_(pooled), tube.c.pool_id == text),
    )
    found: dict[str, Tube] = {}
    for one in asked if text else asked[:1]:
        found.update((row.tube_id, as_tube(row)) for row in conn.execute(one.limit(limit)))
    return [found[code] for code in sorted(found)[:limit]]


def worklist(
    conn: Connection, name: str, *, limit: int = PAGE, after: int = 0, sieve: Sieve | None = None
) -> list[Tube]:
    """The tubes of a worklist, most urgent first: priority, then time left; a review by time left alone.

    ``sieve`` lets through only those that are wanted.

    Raises:
        KeyError: if there is no such worklist.
    """
    states = WORKLISTS[name]
    found: Select[Any] = select(*_TUBE).where(tube.c.state.in_(states))
    if name == "plate":
        found = found.where(tube.c.kind != "unknown")
    if sieve is not None:
        found = found.where(*sieve.conditions())
    # a retest is pressing at the bench; once it waits for a signature only the promise counts
    urgent = () if name in {"review", "release"} else (tube.c.priority.desc(),)
    ordered = found.order_by(*urgent, tube.c.due_at, tube.c.tube_id)
    return [as_tube(row) for row in conn.execute(ordered.limit(limit).offset(after))]


def state_counts(conn: Connection, kinds: Collection[str] = ()) -> dict[str, int]:
    """How many tubes (of ``kinds``, if given) stand in each state."""
    found = select(tube.c.state, func.count()).group_by(tube.c.state).order_by(tube.c.state)
    if kinds:
        found = found.where(tube.c.kind.in_(kinds))
    return {row.state: row[1] for row in conn.execute(found)}


def count_in_states(conn: Connection, *states: TubeState) -> dict[str, int]:
    """How many tubes stand in each of these states; reads only their part of the index."""
    found = select(tube.c.state, func.count()).where(tube.c.state.in_(states)).group_by(tube.c.state)
    return {row.state: row[1] for row in conn.execute(found)}


def count_results(conn: Connection, state: TubeState, result: str) -> int:
    """How many tubes of a state have come to this result."""
    found = select(func.count()).select_from(tube).where(tube.c.state == state, tube.c.result == result)
    return int(conn.execute(found).scalar_one())


def oldest_unreported(conn: Connection) -> datetime | None:
    """When the tube that has waited longest for its report was sampled; None if none waits."""
    first = [
        conn.execute(select(func.min(tube.c.sampled_at)).where(tube.c.state == state)).scalar_one_or_none()
        for state in UNREPORTED
    ]
    return min((moment for moment in first if moment is not None), default=None)


_DUE: Final = Prepared(
    select(tube.c.due_at, tube.c.tube_id)
    .where(tube.c.state == bindparam("where"), tube.c.due_at.is_not(None))
    .order_by(tube.c.due_at)
    .limit(bindparam("most"))
)


def due_first(conn: Connection, limit: int) -> list[Tube]:
    """The tubes in the laboratory whose reports are due first."""
    waiting = sorted(row for state in UNREPORTED for row in _DUE.rows(conn, where=state.value, most=limit))
    codes = [code for _, code in waiting[:limit]]
    found = tubes(conn, codes)
    return [found[code] for code in codes]


def tubes_in_state(conn: Connection, *states: TubeState) -> list[Tube]:
    """All tubes in these states, most urgent first."""
    found = select(*_TUBE).where(tube.c.state.in_(states))
    return [
        as_tube(row)
        for row in conn.execute(found.order_by(tube.c.priority.desc(), tube.c.due_at, tube.c.tube_id))
    ]


def households(conn: Connection, tube_ids: Iterable[str]) -> dict[str, str]:
    """Site of each tube, the only cluster known at reception."""
    sites: dict[str, str] = {}
    for part in parts(tube_ids):
        sites.update(
            (row.tube_id, row.site)
            for row in conn.execute(select(tube.c.tube_id, tube.c.site).where(among(tube.c.tube_id, part)))
        )
    return sites


class CallRow(Struct, frozen=True):
    """One valid call of one tube, as the log has it."""

    tube_id: str
    run_id: str
    outcome: str
    rule: str
    test: str
    assay: str
    curve: str
    at: datetime


_CALLS: Final = Prepared(
    select(
        *(event.c[name] for name in ("tube_id", "run_id", "outcome", "rule", "test", "assay", "curve", "at"))
    )
    .where(among(event.c.tube_id, "codes"), event.c.kind == "Called")
    .order_by(event.c.tube_id, event.c.seq)
)


def calls(conn: Connection, tube_ids: Iterable[str]) -> dict[str, list[CallRow]]:
    """All valid calls of each tube, oldest first. Nothing is de-duplicated by value."""
    found: dict[str, list[CallRow]] = defaultdict(list)
    for part in parts(tube_ids):
        for code, run_id, outcome, rule, test, assay, curve, at in _CALLS.rows(conn, codes=part):
            found[code].append(CallRow(code, run_id, outcome, rule, test, assay, curve, from_text(at)))
    return found


_PERSONS: Final = Prepared(
    select(tube_person.c.tube_id, tube_person.c.person_id).where(among(tube_person.c.tube_id, "codes"))
)
_TUBES_OF: Final = Prepared(
    select(tube_person.c.person_id, tube_person.c.tube_id).where(among(tube_person.c.person_id, "persons"))
)


def other_singles(conn: Connection, tube_ids: Iterable[str]) -> dict[str, list[str]]:
    """Single tube -> the other single tubes of the same person whose cases are still open.

    A case that was closed with a report is not evidence in the next one. Asked in three steps, each
    by a key: PostgreSQL would rather join all tubes of the house.
    """
    other: dict[str, list[str]] = defaultdict(list)
    for part in parts(tube_ids):
        mine = [(person_id, code) for code, person_id in _PERSONS.rows(conn, codes=part)]
        shared: dict[str, list[str]] = defaultdict(list)
        for person_id, code in _TUBES_OF.rows(conn, persons=sorted({who for who, _ in mine})):
            shared[person_id].append(code)
        found = tubes(conn, {code for many in shared.values() if len(many) > 1 for code in many})
        open_ = {c for c, one in found.items() if one.kind is TubeKind.SINGLE and one.state not in CLOSED}
        for person_id, code in mine:
            others = [c for c in shared[person_id] if c != code and c in open_]
            if others:
                other[code] = sorted({*other[code], *others})
    return other


def event_counts(conn: Connection, kind: str, by: str) -> dict[str, int]:
    """How many events of ``kind`` there are for each value of the column ``by``."""
    column = event.c[by]
    found = select(column, func.count()).where(event.c.kind == kind).group_by(column).order_by(column)
    return {str(value): count for value, count in conn.execute(found)}
