"""Laboratory pools: the bench asks `pooling.form_pools` every so often."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
from simpy.events import Timeout

from pooling import Waiting, form_pools
from retest import Material
from sim.tube import Tube

if TYPE_CHECKING:
    from sim.lab import Floor

EPOCH = datetime(2022, 1, 3, tzinfo=UTC)
"""Minute 0 for policies that want a date."""


def form(floor: "Floor") -> None:
    """Every so often the pooling bench asks which waiting tubes form pools."""
    now, rules = floor.env.now, floor.lab.pool
    there = floor.pooled[floor.came[floor.pooled] <= now]
    later = floor.pooled[there.size :]
    forming = form_pools(
        [_waiting(floor, tid) for tid in there.tolist()], rules, EPOCH + timedelta(minutes=now)
    )
    kept = []
    for waiting, reason in forming.kept:
        tid = int(waiting.tube)
        if reason == "waiting":
            kept.append(tid)
        else:
            tube = floor.special_tube(tid)
            tube.code, tube.priority = int(floor.codes[tid]), floor.tier_priority(tube)
            floor.queue(tube)
    _make_pools(floor, [tuple(int(name) for name in plan.members) for plan in forming.pools])
    kept.sort(key=lambda tid: floor.came[tid])
    floor.pooled = np.concatenate([np.array(kept, dtype=np.int64), later])
    if floor.pooled.size:
        wait = floor.lab.pool_every
        if not kept:
            wait = max(wait, float(floor.came[floor.pooled[0]]) - now)
        Timeout(floor.env, wait).callbacks.append(lambda _: form(floor))
    floor.stations[0].poke()


def _waiting(floor: "Floor", tid: int) -> Waiting:
    source = floor.scenario.streams[int(floor.tubes.stream[tid])]
    due, came = (EPOCH + timedelta(minutes=float(at)) for at in (floor.due[tid], floor.came[tid]))
    return Waiting(f"{tid:09d}", "single", due, came, source.tier, source.site)


def _make_pools(floor: "Floor", groups: list[tuple[int, ...]]) -> None:
    if not groups:
        return
    tubes, now = floor.tubes, floor.env.now
    cqs = [tubes.viral[list(group)] for group in groups]
    load = np.array([np.where(np.isnan(cq), 0.0, np.exp2(-cq)).sum() for cq in cqs])
    sizes = np.array([len(group) for group in groups])
    with np.errstate(divide="ignore"):
        viral = np.where(load > 0, np.log2(sizes) - np.log2(load), np.nan)
    control = np.array([-np.log2(np.mean(np.exp2(-tubes.control[list(group)]))) for group in groups])
    shift = floor.pool_rng.normal(0, floor.scenario.chemistry.extraction_noise, len(groups))
    codes = floor.verdicts.classify(floor.reader.read(viral, control, shift, floor.pool_rng))
    for number, group in enumerate(groups):
        urgent = min(group, key=lambda tid: (floor.due[tid], tid))
        tier = floor.tier[int(tubes.stream[urgent])]
        floor.counts["pools"] += 1
        pool = Tube(
            tid=-floor.counts["pools"],
            path=(),
            material=Material.pool,
            persons=len(group),
            tier=tier,
            due=float(floor.due[urgent]),
            received=now,
            viral=float(viral[number]),
            control=float(control[number]),
            shift=float(shift[number]),
            priority=floor.lab.tiers.tier(tier).priority,
            code=int(codes[number]),
            members=group,
        )
        floor.queue(pool)
