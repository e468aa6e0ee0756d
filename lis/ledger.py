"""The one writer of tube state. Events and the state they lead to are written in one transaction.

The log is hash-linked: ``hash(n) = SHA-256(hash(n-1) || canonical row n)``, where the canonical row
is JSON of every field that is not empty. ``chain`` holds the head, so a deleted last row is found
too. :func:`verify` folds the whole log, compares the result with the tube table and names the first
row that does not fit.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Table, bindparam, delete, insert, select, update

from lis import barcodes
from lis import events as e
from lis.clock import from_text, to_text
from lis.db import Unit, insert_many
from lis.errors import Conflict, IllegalMove, NotFound
from lis.events import COLUMNS, FIELDS, KINDS, TIMES, Event, TubeKind
from lis.schema import chain, event, pool_member, recall, tube, tube_person
from lis.tube import NEXT_STEP, Tube, TubeState, evolve

GENESIS: Final = "0" * 64
"""The hash before the first row."""

CHUNK: Final = 500
"""Tubes read or written per statement; below the parameter limits of both databases."""

HEAD: Final = ("event_id", "tube_id", "seq", "kind", "at", "actor")
SHAPE: Final = (*HEAD, *COLUMNS)
"""The order of columns in the log, without the hash."""

Recorded = tuple[str, Event]
"""A tube and what happened to it."""


def append(unit: Unit, facts: Iterable[Recorded], known: Mapping[str, Tube] | None = None) -> dict[str, Tube]:
    """Record ``facts`` in order and move their tubes; the only way to change a tube.

    Args:
        unit: the transaction; its ``now`` and ``actor`` are recorded with every event.
        facts: (tube, event) pairs; later events of one tube see the effect of earlier ones.
        known: tubes as read in this transaction, to save reading them again; a stale one is refused.

    Returns:
        Every tube touched, as it stands afterwards.

    Raises:
        IllegalMove: a tube's state, kind or count does not allow its event; nothing is written.
    """
    facts = list(facts)
    if not facts:
        return {}
    touched = {tube_id for tube_id, _ in facts}
    given = known or {}
    before = {code: given[code] for code in touched if code in given} | tubes(unit.conn, touched - given.keys())
    after = dict(before)
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    head_id, head_hash = _head(unit.conn)
    for tube_id, fact in facts:
        moved = evolve(after[tube_id], fact, unit.now)
        after[tube_id] = moved
        head_id += 1
        row = as_row(head_id, moved, fact, unit.now, unit.actor)
        row["hash"] = head_hash = link(head_hash, row)
        rows[row["kind"]].append(row)
    for many in rows.values():
        insert_many(unit.conn, event, many)
    _write_head(unit, head_id, head_hash)
    _write_tubes(unit.conn, before, after)
    _write_links(unit, facts)
    return after


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


_CANONICAL: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def link(previous: str, row: dict[str, Any]) -> str:
    """The hash of ``row`` after a row whose hash was ``previous``.

    Empty fields are left out, so a column added later does not change the hash of old rows.
    """
    canonical = _CANONICAL.encode({name: value for name, value in row.items() if value is not None})
    return hashlib.sha256(f"{previous}{canonical}".encode()).hexdigest()


def _head(conn: Connection) -> tuple[int, str]:
    row = conn.execute(select(chain.c.event_id, chain.c.hash)).one_or_none()
    return (row.event_id, row.hash) if row else (0, GENESIS)


def _write_head(unit: Unit, event_id: int, digest: str) -> None:
    values = {"event_id": event_id, "hash": digest, "at": unit.now}
    if not unit.conn.execute(update(chain).where(chain.c.id == 1).values(**values)).rowcount:
        unit.conn.execute(insert(chain).values(id=1, **values))


def _write_tubes(conn: Connection, before: dict[str, Tube], after: dict[str, Tube]) -> None:
    new = [new._asdict() for tube_id, new in after.items() if before[tube_id].state is TubeState.ABSENT]
    if new:
        insert_many(conn, tube, new)
    moves: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for tube_id, now in after.items():
        old = before[tube_id]
        if old.state is not TubeState.ABSENT:
            changed = [
                (name, value) for name, value, was in zip(Tube._fields, now, old, strict=True) if value != was
            ]
            moves[old.seq, *changed].append(tube_id)
    _write_moves(conn, moves)


TOGETHER: Final = 4
"""Tubes that move alike: from this many on, one statement moves them all."""


def _write_moves(conn: Connection, moves: dict[tuple[Any, ...], list[str]]) -> None:
    """Change only the columns that changed (an index costs only if its column moves), each tube once."""
    single: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    found = 0
    for (seq, *changed), tube_ids in moves.items():
        values = dict(changed)
        if len(tube_ids) < TOGETHER:
            single[tuple(values)] += [{**values, "was_id": tube_id, "was_seq": seq} for tube_id in tube_ids]
            continue
        for start in range(0, len(tube_ids), CHUNK):
            part = tube_ids[start : start + CHUNK]
            statement = update(tube).where(tube.c.tube_id.in_(part), tube.c.seq == seq)
            found += conn.execute(statement.values(values)).rowcount
    for names, rows in single.items():
        statement = update(tube).where(tube.c.tube_id == bindparam("was_id"), tube.c.seq == bindparam("was_seq"))
        found += conn.execute(statement.values({name: bindparam(name) for name in names}), rows).rowcount
    if found != sum(map(len, moves.values())):
        raise Conflict("TUBE_MOVED", "A tube was moved by someone else meanwhile. Nothing was written; scan again.")


def _write_links(unit: Unit, facts: Sequence[Recorded]) -> None:
    """The rows that follow from events: who is in which tube, which tubes are in which pool, who is recalled."""
    rows: dict[type, list[dict[str, Any]]] = defaultdict(list)
    for tube_id, fact in facts:
        rows[type(fact)].append(link_row(tube_id, fact, unit.now))
    if rows[e.PersonBound]:
        insert_many(unit.conn, tube_person, rows[e.PersonBound])
    if rows[e.JoinedPool]:
        unit.conn.execute(insert(pool_member), rows[e.JoinedPool])
    if rows[e.PersonRecalled]:
        unit.conn.execute(insert(recall), rows[e.PersonRecalled])
    for row in rows[e.PersonRecollected]:
        unit.conn.execute(
            update(recall)
            .where(recall.c.tube_id == row["tube_id"], recall.c.person_id == row["person_id"])
            .values(closed_at=unit.now, other_tube=row["other_tube"], result=row["result"])
        )


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
        raise NotFound("TUBE_UNKNOWN", f"Tube {code} is not known here. {NEXT_STEP[TubeState.ABSENT]}", tube=code)
    return found


def recalls(tube_id: str, persons: Iterable[str], reason: str, due: datetime) -> list[Recorded]:
    """The events that call back every person of a tube."""
    people = list(persons)
    order: Recorded = (tube_id, e.RecollectionOrdered(reason, len(people)))
    return [order, *((tube_id, e.PersonRecalled(person_id, reason, due)) for person_id in people)]


_COLUMNS = tuple(tube.c[name] for name in Tube._fields)


def tubes(conn: Connection, tube_ids: Iterable[str]) -> dict[str, Tube]:
    """The tubes named; those nobody has heard of come back as absent."""
    wanted = sorted(set(tube_ids))
    found: dict[str, Tube] = {}
    for start in range(0, len(wanted), CHUNK):
        part = wanted[start : start + CHUNK]
        for row in conn.execute(select(*_COLUMNS).where(tube.c.tube_id.in_(part))):
            found[row.tube_id] = as_tube(row)
    return {tube_id: found.get(tube_id) or Tube(tube_id) for tube_id in wanted}


def as_tube(row: Sequence[Any]) -> Tube:
    """A row of the tube table as a value."""
    values = list(row)
    values[1], values[2] = TubeKind(values[1]), TubeState(values[2])
    return Tube(*values)


# -- reading the log back ------------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True)
class Verdict:
    """What :func:`verify` found. ``problem`` is empty if the log and the tube table agree."""

    events: int
    tubes: int
    ok: bool
    problem: str = ""
    event_id: int = 0
    tube_id: str = ""


def rows(conn: Connection) -> Iterator[tuple[Any, ...]]:
    """The log in order, as raw tuples in the order of :data:`SHAPE` and then the hash.

    Goes to the driver directly: a million rows through column types would take longer than the fold.
    """
    names = ", ".join(SHAPE)
    last, size = 0, 20_000
    while True:
        found = conn.exec_driver_sql(
            f"SELECT {names}, hash FROM event WHERE event_id > {last} ORDER BY event_id LIMIT {size}"  # noqa: S608
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


def _fact_of(row: Sequence[Any]) -> Event:
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
        state[tube_id] = evolve(state.get(tube_id) or Tube(tube_id), _fact_of(row), from_text(row[4]))
    return state


class _Links:
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


def _linked(row: Sequence[Any]) -> bool:
    return row[3] in {"PersonBound", "JoinedPool", "PersonRecalled", "PersonRecollected"}


def rebuild(unit: Unit) -> int:
    """Write the tube table, and all that follows from the log, anew; returns the number of tubes."""
    folded = list(fold(unit.conn).values())
    links = _Links()
    for row in rows(unit.conn):
        if _linked(row):
            links.add(row, _fact_of(row))
    for table in (tube_person, pool_member, recall, tube):
        unit.conn.execute(delete(table))
    _insert_all(unit.conn, tube, [one._asdict() for one in folded])
    _insert_all(unit.conn, tube_person, [_named(_PERSONS, (*k, v)) for k, v in links.persons.items()])
    _insert_all(unit.conn, pool_member, [_named(_MEMBERS, (*k, v)) for k, v in links.members.items()])
    _insert_all(unit.conn, recall, [_named(_RECALLS, (*k, *v)) for k, v in links.recalls.items()])
    return len(folded)


_PERSONS: Final = ("tube_id", "place", "person_id")
_MEMBERS: Final = ("pool_id", "place", "tube_id")
_RECALLS: Final = ("tube_id", "person_id", "reason", "opened_at", "due_at", "closed_at", "other_tube", "result")


def _named(names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(names, values, strict=True))


def _insert_all(conn: Connection, table: Table, values: Sequence[dict[str, Any]]) -> None:
    for start in range(0, len(values), CHUNK):
        insert_many(conn, table, values[start : start + CHUNK])


def verify(conn: Connection) -> Verdict:
    """Fold the log, check every link, compare with the tables that follow from it.

    The verdict names the first row of the log, or the first tube, that does not fit.
    """
    state: dict[str, Tube] = {}
    links = _Links()
    digest, count = GENESIS, 0
    for row in rows(conn):
        count += 1
        problem = _row_problem(row, count, digest, state, links)
        if problem:
            return Verdict(count, len(state), ok=False, problem=problem, event_id=count, tube_id=row[1])
        digest = row[-1]
    head_id, head_hash = _head(conn)
    if (head_id, head_hash) != (count, digest):
        return Verdict(
            count,
            len(state),
            ok=False,
            event_id=count + 1,
            problem=f"the log ends at row {count}, but its head says {head_id}: rows at the end are missing or changed",
        )
    found = _compare(conn, state, count)
    return found if not found.ok else _compare_links(conn, links, found)


def _compare_links(conn: Connection, links: _Links, found: Verdict) -> Verdict:
    for what, table, names, expected in (
        ("place", tube_person, _PERSONS, {key: (value,) for key, value in links.persons.items()}),
        ("pool place", pool_member, _MEMBERS, {key: (value,) for key, value in links.members.items()}),
        ("recall", recall, _RECALLS, links.recalls),
    ):
        stored = {tuple(row[:2]): tuple(row[2:]) for row in conn.execute(select(*(table.c[name] for name in names)))}
        if stored != expected:
            key = min(k for k in stored.keys() | expected.keys() if stored.get(k) != expected.get(k))
            want, have = expected.get(key), stored.get(key)
            return Verdict(
                found.events,
                found.tubes,
                ok=False,
                tube_id=str(key[0]),
                problem=f"{what} {key[1]} of {key[0]}: the log says {want}, the table {table.name} says {have}",
            )
    return found


def _row_problem(row: Sequence[Any], number: int, digest: str, state: dict[str, Tube], links: _Links) -> str:
    if row[0] != number:
        return f"row {number} is missing"
    named = dict(zip(SHAPE, row, strict=False))
    if link(digest, named) != row[-1]:
        return f"row {number} was changed: its hash does not fit its content and the row before it"
    tube_id = row[1]
    try:
        fact = _fact_of(row)
        moved = evolve(state.get(tube_id) or Tube(tube_id), fact, from_text(row[4]))
        if _linked(row):
            links.add(row, fact)
    except (IllegalMove, KeyError, TypeError, ValueError) as error:
        return f"row {number} cannot follow what came before: {error}"
    if moved.seq != row[2]:
        return f"row {number} says it is event {row[2]} of tube {tube_id}, but it is number {moved.seq}"
    state[tube_id] = moved
    return ""


def _compare(conn: Connection, state: dict[str, Tube], count: int) -> Verdict:
    seen = 0
    for row in conn.execute(select(*_COLUMNS).order_by(tube.c.tube_id)):
        seen += 1
        expected = state.get(row.tube_id)
        actual = as_tube(row)
        if expected != actual:
            return Verdict(
                count, len(state), ok=False, tube_id=row.tube_id, problem=_difference(row.tube_id, expected, actual)
            )
    if seen != len(state):
        stored = set(conn.execute(select(tube.c.tube_id)).scalars())
        missing = min(set(state) - stored)
        return Verdict(
            count,
            len(state),
            ok=False,
            tube_id=missing,
            problem=f"tube {missing} is in the log but not in the tube table",
        )
    return Verdict(count, len(state), ok=True)


def _difference(tube_id: str, expected: Tube | None, actual: Tube) -> str:
    if expected is None:
        return f"tube {tube_id} is in the tube table but not in the log"
    for name, want, have in zip(Tube._fields, expected, actual, strict=True):
        if want != have:
            return f"tube {tube_id}: the log says {name} is {want!s}, the tube table says {have!s}"
    return f"tube {tube_id} differs"
