"""What the turnaround wall asks: tubes that wait, by state and tier, and what the log has added since."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import Connection, bindparam, case, func, select

from lis.clock import from_text
from lis.db import Prepared, among
from lis.events import TubeKind
from lis.queries.common import parts
from lis.queries.tubes import UNREPORTED
from lis.schema import chain, event, tube

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

WAITING: Final = (*(state.value for state in UNREPORTED), "awaiting_recollection")
"""States of the river: every tube of a person that has no report, and those whose persons are called back."""

HAPPENED: Final = ("Released", "Called", "RetestOrdered", "RecollectionOrdered")
"""Events that the statistics of the last day follow from."""


class OpenTally(NamedTuple):
    """Tubes of persons that stand in one state and tier; lab pools are not counted beside their members.

    Attributes:
        late: how many are past their promise.
        soon: how many will be before the moment asked for, besides the late ones.
        first: the earliest promise among them.
    """

    state: str
    tier: str
    tubes: int
    late: int
    soon: int
    first: datetime | None


_TALLIES: Final = Prepared(
    select(
        tube.c.tier,
        func.count(),
        func.sum(case((tube.c.promised_at < bindparam("moment"), 1), else_=0)),
        func.sum(case((tube.c.promised_at < bindparam("limit"), 1), else_=0)),
        func.min(tube.c.promised_at),
    )
    .where(tube.c.state == bindparam("standing"), tube.c.kind != TubeKind.POOL.value)
    .group_by(tube.c.tier)
)


def open_tallies(conn: Connection, now: datetime, limit: datetime) -> list[OpenTally]:
    """Tubes that wait, by state and tier; answered from one index, whatever the laboratory has stored.

    One question a state: grouped by both at once, SQLite sorts all that waits and takes twice as long.
    """
    found = []
    for state in WAITING:
        for tier, tubes, late, soon, first in _TALLIES.rows(conn, standing=state, moment=now, limit=limit):
            earliest = from_text(first) if first else None
            found.append(OpenTally(state, tier, tubes, int(late), int(soon) - int(late), earliest))
    return found


class Happened(NamedTuple):
    """One event of the log that the statistics follow from; ``persons`` and ``result`` are of reports."""

    event_id: int
    tube_id: str
    kind: str
    at: datetime
    result: str
    persons: int


_HAPPENED: Final = Prepared(
    select(event.c.event_id, event.c.tube_id, event.c.kind, event.c.at, event.c.result, event.c["count"])
    .where(
        event.c.event_id > bindparam("after"),
        event.c.event_id <= bindparam("upto"),
        among(event.c.kind, "kinds"),
    )
    .order_by(event.c.event_id)
)


def happened(conn: Connection, after: int, upto: int) -> list[Happened]:
    """What follows in the log after one event up to another, as far as statistics follow from it."""
    rows = _HAPPENED.rows(conn, after=after, upto=upto, kinds=list(HAPPENED))
    return [
        Happened(number, code, kind, from_text(at), result or "", count or 0)
        for number, code, kind, at, result, count in rows
    ]


_LAST: Final = Prepared(select(chain.c.event_id))
_AT: Final = Prepared(select(event.c.at).where(event.c.event_id == bindparam("which")))


def last_event(conn: Connection) -> int:
    """Number of the last event of the log; 0 if it is empty."""
    rows = _LAST.rows(conn)
    return int(rows[0][0]) if rows else 0


def event_before(conn: Connection, moment: datetime) -> int:
    """Number of the last event before a moment; events are numbered without gaps in order of time."""
    low, high = 0, last_event(conn)
    while low < high:
        middle = (low + high + 1) // 2
        rows = _AT.rows(conn, which=middle)
        if rows and from_text(rows[0][0]) < moment:
            low = middle
        else:
            high = middle - 1
    return low


class Way(NamedTuple):
    """The moments of one tube's way to its report; None where a step is not known.

    ``plated`` and ``started`` are of its lab pool where it was tested in one.
    """

    tier: str
    sampled: datetime | None
    received: datetime | None
    promised: datetime | None
    plated: datetime | None
    started: datetime | None
    concluded: datetime | None


_TUBES: Final = Prepared(
    select(tube.c.tube_id, tube.c.tier, tube.c.sampled_at, tube.c.received_at, tube.c.promised_at).where(
        among(tube.c.tube_id, "codes")
    )
)
_STEPS: Final = Prepared(
    select(event.c.tube_id, event.c.kind, event.c.at, event.c.pool_id)
    .where(
        among(event.c.tube_id, "codes"),
        among(event.c.kind, "kinds"),
    )
    .order_by(event.c.tube_id, event.c.seq)
)


def ways(conn: Connection, tube_ids: Iterable[str]) -> dict[str, Way]:
    """The way of each tube so far: first plate and run, last conclusion."""
    found: dict[str, Way] = {}
    for part in parts(tube_ids):
        steps, pools = _steps(conn, part)
        shared, _ = _steps(conn, sorted(set(pools.values())))
        for code, tier, *moments in _TUBES.rows(conn, codes=part):
            sampled, received, promised = (from_text(one) if one else None for one in moments)
            own, pooled = steps.get(code, {}), shared.get(pools.get(code, ""), {})
            plated = pooled.get("Plated") or own.get("Plated")
            started = pooled.get("RunStarted") or own.get("RunStarted")
            found[code] = Way(tier, sampled, received, promised, plated, started, own.get("Concluded"))
    return found


def _steps(conn: Connection, codes: list[str]) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Tube -> kind -> moment (the first plate and run, the last conclusion), and the pool it was in."""
    found: dict[str, dict[str, Any]] = {}
    pools: dict[str, str] = {}
    if not codes:
        return found, pools
    kinds = ["Plated", "RunStarted", "Concluded", "JoinedPool"]
    for code, kind, at, pool in _STEPS.rows(conn, codes=codes, kinds=kinds):
        if kind == "JoinedPool":
            pools[code] = pool
            continue
        own = found.setdefault(code, {})
        if kind == "Concluded" or kind not in own:
            own[kind] = from_text(at)
    return found, pools
