"""Whether the log tells the truth: every link, every move, every table that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Table, select

from lis.clock import from_text
from lis.db import GENESIS
from lis.errors import Conflict, IllegalMove
from lis.ledger.amending import AMENDMENTS
from lis.ledger.folding import Links, fact_of, is_linked, rows
from lis.ledger.rebuilding import MEMBERS, PERSONS, RECALLS
from lis.ledger.rows import SHAPE, TUBE_COLUMNS, as_tube, head_of, link
from lis.schema import amendment, pool_member, recall, tube, tube_person
from lis.tube import Tube, evolve

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Verdict:
    """What :func:`verify` found. ``problem`` is empty if the log and the tube table agree."""

    events: int
    tubes: int
    ok: bool
    problem: str = ""
    event_id: int = 0
    tube_id: str = ""


def verify(conn: Connection) -> Verdict:
    """Fold the log, check every link, compare with the tables that follow from it.

    The verdict names the first row of the log, or the first tube, that does not fit.
    """
    state: dict[str, Tube] = {}
    links = Links()
    digest, count = GENESIS, 0
    for row in rows(conn):
        count += 1
        problem = _row_problem(row, count, digest, state, links)
        if problem:
            return Verdict(count, len(state), ok=False, problem=problem, event_id=count, tube_id=row[1])
        digest = row[-1]
    head_id, head_hash = head_of(conn)
    if (head_id, head_hash) != (count, digest):
        return Verdict(
            count,
            len(state),
            ok=False,
            event_id=count + 1,
            problem=f"the log ends at row {count}, but its head says {head_id}: "
            "rows at the end are missing or changed",
        )
    found = _compare(conn, state, count)
    return found if not found.ok else _compare_links(conn, links, found)


def _compare_links(conn: Connection, links: Links, found: Verdict) -> Verdict:
    tables: tuple[tuple[str, Table, tuple[str, ...], dict[Any, tuple[Any, ...]]], ...] = (
        ("place", tube_person, PERSONS, {key: (value,) for key, value in links.persons.items()}),
        ("pool place", pool_member, MEMBERS, {key: (value,) for key, value in links.members.items()}),
        ("recall", recall, RECALLS, links.recalls),
        ("amendment", amendment, AMENDMENTS, {key: tuple(value) for key, value in links.amendments.items()}),
    )
    for what, table, names, expected in tables:
        stored = {
            tuple(row[:2]): tuple(row[2:]) for row in conn.execute(select(*(table.c[name] for name in names)))
        }
        if stored != expected:
            key = min(k for k in stored.keys() | expected.keys() if stored.get(k) != expected.get(k))
            want, have = expected.get(key), stored.get(key)
            return Verdict(
                found.events,
                found.tubes,
                ok=False,
                tube_id=str(key[0]),
                problem=f"{what} {key[1]} of {key[0]}: the log says {want}, "
                f"the table {table.name} says {have}",
            )
    return found


def _row_problem(row: Sequence[Any], number: int, digest: str, state: dict[str, Tube], links: Links) -> str:
    if row[0] != number:
        return f"row {number} is missing"
    named = dict(zip(SHAPE, row, strict=False))
    if link(digest, named) != row[-1]:
        return f"row {number} was changed: its hash does not fit its content and the row before it"
    tube_id = row[1]
    try:
        fact = fact_of(row)
        moved = evolve(state.get(tube_id) or Tube(tube_id), fact, from_text(row[4]))
        if is_linked(row):
            links.add(tube_id, fact, row[4], row[5])
    except (IllegalMove, Conflict, KeyError, TypeError, ValueError) as error:
        return f"row {number} cannot follow what came before: {error}"
    if moved.seq != row[2]:
        return f"row {number} says it is event {row[2]} of tube {tube_id}, but it is number {moved.seq}"
    state[tube_id] = moved
    return ""


def _compare(conn: Connection, state: dict[str, Tube], count: int) -> Verdict:
    seen = 0
    for row in conn.execute(select(*TUBE_COLUMNS).order_by(tube.c.tube_id)):
        seen += 1
        expected = state.get(row.tube_id)
        actual = as_tube(row)
        if expected != actual:
            return Verdict(
                count,
                len(state),
                ok=False,
                tube_id=row.tube_id,
                problem=_difference(row.tube_id, expected, actual),
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
    fields = zip(Tube._fields, expected, actual, strict=True)
    name, want, have = next(field for field in fields if field[1] != field[2])
    return f"tube {tube_id}: the log says {name} is {want!s}, the tube table says {have!s}"
