"""Pools in the log: what befell their tubes, where their aliquots went, which are not cleared up."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, case, func, or_, select

from lis.db import among
from lis.ledger import as_tube
from lis.queries.common import PAGE, Row, all_rows, parts
from lis.schema import event, pool_member, recall, tube, tube_person
from lis.tube import Tube, TubeState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from datetime import datetime

_FACTS: Final = (
    "tube_id",
    "seq",
    "kind",
    "at",
    "actor",
    "volume_ul",
    "other_tube",
    "place",
    "plate_id",
    "well",
)


def facts_of(conn: Connection, tube_ids: Iterable[str], *kinds: str) -> dict[str, list[Row]]:
    """The events of these kinds of each tube, oldest first."""
    found: dict[str, list[Row]] = defaultdict(list)
    for part in parts(tube_ids):
        asked = select(*(event.c[name] for name in _FACTS)).where(
            among(event.c.tube_id, part), event.c.kind.in_(kinds)
        )
        for row in all_rows(conn, asked.order_by(event.c.tube_id, event.c.seq)):
            found[row["tube_id"]].append(row)
    return found


_FORMED: Final = ("tube_id", "at", "actor", "capacity", "worklist", "place", "well", "to_confirm", "due_at")


def formed_of(conn: Connection, pool_ids: Iterable[str]) -> dict[str, Row]:
    """How each pool was formed: when, by whom, on which worklist, in which well."""
    found: dict[str, Row] = {}
    for part in parts(pool_ids):
        asked = select(*(event.c[name] for name in _FORMED)).where(
            among(event.c.tube_id, part), event.c.kind == "PoolFormed"
        )
        found.update((row["tube_id"], row) for row in all_rows(conn, asked))
    return found


def formed_on(conn: Connection, worklist: str) -> list[Row]:
    """The pools of a worklist, in the order in which they are pipetted."""
    asked = select(*(event.c[name] for name in _FORMED)).where(event.c.worklist == worklist)
    return all_rows(conn, asked.order_by(event.c.place))


def pools_in(conn: Connection, states: Collection[TubeState], *, read: bool, limit: int = PAGE) -> list[Tube]:
    """Pools in these states that have been read, or that have not, latest first."""
    asked = select(*(tube.c[name] for name in Tube._fields))
    asked = asked.where(tube.c.state.in_(states), tube.c.kind == "pool")
    asked = asked.where(tube.c.tests > 0 if read else tube.c.tests == 0)
    return [as_tube(row) for row in conn.execute(asked.order_by(tube.c.updated_at.desc()).limit(limit))]


def pools_ended(conn: Connection, reasons: Collection[str], since: datetime, limit: int = PAGE) -> list[Tube]:
    """Pools that have done their work with one of these reasons since a moment, latest first."""
    ended = (TubeState.RESOLVED, TubeState.STORED, TubeState.DISCARDED)
    asked = select(*(tube.c[name] for name in Tube._fields)).where(
        tube.c.state.in_(ended),
        tube.c.kind == "pool",
        tube.c.reason.in_(reasons),
        tube.c.updated_at >= since,
    )
    return [as_tube(row) for row in conn.execute(asked.order_by(tube.c.updated_at.desc()).limit(limit))]


# -- readings for the rolling positivity ----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FirstCalls:
    """First readings of tubes of one kind and size, of one site and tier, on one UTC day.

    Attributes:
        at: last of them.
        places: persons in each tube (aliquots, for a pool).
        made_for: places the tube was made for.
        positive: read positive or borderline; invalid ones are not in ``tested``.
    """

    site: str
    tier: str
    kind: str
    places: int
    made_for: int
    at: datetime
    tested: int
    positive: int


def first_calls(conn: Connection, since: datetime) -> Iterator[FirstCalls]:
    """First readings since a moment, of specimens that stand for their stream.

    A member of a pool is tested again because of its pool, and a re-collected specimen because of an earlier
    finding: neither is a random sample, both are left out.
    """
    earlier, day = event.alias("earlier"), func.substr(event.c.at, 1, 10)
    repeated = select(earlier.c.seq).where(
        earlier.c.tube_id == event.c.tube_id, earlier.c.kind == "Called", earlier.c.seq < event.c.seq
    )
    member = select(pool_member.c.place).where(pool_member.c.tube_id == event.c.tube_id)
    called_back = (
        select(recall.c.tube_id)
        .join(tube_person, tube_person.c.person_id == recall.c.person_id)
        .where(tube_person.c.tube_id == event.c.tube_id, recall.c.opened_at <= tube.c.sampled_at)
    )
    sample = (
        event.c.event_id > _last_before(conn, since),
        event.c.kind == "Called",
        event.c.at >= since,
        event.c.outcome != "invalid",
        or_(tube.c.tests == 1, ~repeated.exists()),
        ~member.exists(),
        ~called_back.exists(),
    )
    alike = (tube.c.tier, tube.c.kind, tube.c.persons, tube.c.capacity, day)
    found = event.join(tube, tube.c.tube_id == event.c.tube_id)
    counted = (
        func.max(event.c.at, type_=event.c.at.type),
        func.count(),
        func.sum(case((event.c.outcome != "negative", 1), else_=0)),
    )
    tubes = select(tube.c.site, *alike, *counted).select_from(found).where(*sample, tube.c.kind != "pool")
    for site, tier, kind, persons, places, _, at, tested, positive in conn.execute(
        tubes.group_by(tube.c.site, *alike)
    ):
        yield FirstCalls(site, tier, kind, persons, places, at, tested, positive)
    pools = select(tube.c.tube_id, *alike, *counted).select_from(found).where(*sample, tube.c.kind == "pool")
    sites = _pool_sites(conn, since)
    for pool, tier, kind, persons, places, _, at, tested, positive in conn.execute(
        pools.group_by(tube.c.tube_id, *alike)
    ):
        yield FirstCalls(sites.get(pool, ""), tier, kind, persons, places, at, tested, positive)


def _pool_sites(conn: Connection, since: datetime) -> dict[str, str]:
    """Pool -> the site of its tubes, empty where they came from several; pools touched since a moment."""
    pooled, own = tube.alias("pooled"), tube.alias("own")
    asked = (
        select(pool_member.c.pool_id, func.min(own.c.site), func.max(own.c.site))
        .join(pooled, pooled.c.tube_id == pool_member.c.pool_id)
        .join(own, own.c.tube_id == pool_member.c.tube_id)
        .where(pooled.c.updated_at >= since)
        .group_by(pool_member.c.pool_id)
    )
    return {pool: first if first == last else "" for pool, first, last in conn.execute(asked)}


def _last_before(conn: Connection, since: datetime) -> int:
    """Number of the last event before a moment: the log is in order of time, and has no index over it."""
    low, high = 0, conn.execute(select(func.max(event.c.event_id))).scalar_one_or_none() or 0
    while low < high:
        middle = (low + high + 1) // 2
        at = conn.execute(select(event.c.at).where(event.c.event_id == middle)).scalar_one_or_none()
        if at is not None and at < since:
            low = middle
        else:
            high = middle - 1
    return low
