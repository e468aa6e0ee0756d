"""The simulator's queue of tubes fills the plates that `scheduler.fill_plate` fills."""

from dataclasses import dataclass, replace
from datetime import timedelta
from importlib.resources import files

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler import POLICIES, FillRules, Job, Plan, fill_plate, templates_from_toml
from sim.filling import Filling
from sim.pools import EPOCH
from sim.ranks import Firsts

TEMPLATE = templates_from_toml(files("scheduler").joinpath("plates.toml").read_text("utf-8"))["96-standard"]
RULES = FillRules(TEMPLATE, min_fill=10, max_wait_minutes=45, per_minute=0.5)
PRIORITIES = (0, 20, 30)


@dataclass
class Again:
    """A job of the simulator that is no first test."""

    tid: int
    priority: int
    due: float
    received: float
    persons: int
    test: str = "re-extract"


def at(minute):
    """A moment of the simulated calendar."""
    return EPOCH + timedelta(minutes=minute)


def as_job(number, priority, due, received, persons, reason="first"):
    """The same job as the bench sees it; barcodes sort as the numbers do."""
    return Job(f"{number:06}", "cov", at(due), at(received), priority, reason, persons=persons, tier="t")


tubes = st.lists(
    st.tuples(st.sampled_from(PRIORITIES), st.integers(0, 1500), st.integers(0, 400), st.integers(1, 10)),
    max_size=130,
)
again = st.lists(
    st.tuples(st.sampled_from((0, 40, 60)), st.integers(0, 1500), st.integers(0, 300), st.integers(1, 10)),
    max_size=20,
)


@settings(max_examples=150)
@given(tubes, again, st.sampled_from(POLICIES), st.integers(0, 900))
def test_the_same_plate_at_the_same_time(tubes, again, policy, now):
    """For any waiting tubes, under every policy: the same tubes in the same order, or both wait."""
    waves = (100.0, 300.0, 420.0) if policy == "waves" else ()
    rules = replace(RULES, policy=policy, waves=waves)
    columns = [np.array([tube[n] for tube in tubes], dtype=np.int64) for n in range(4)]
    firsts = Firsts(
        np.arange(len(tubes)), columns[2].astype(float), columns[1].astype(float), columns[0], columns[3]
    )
    queue = Filling(firsts, rules)
    jobs = [
        as_job(n, p, due, came, persons) for n, (p, due, came, persons) in enumerate(tubes) if came <= now
    ]
    for number, (priority, due, received, persons) in enumerate(again, start=len(tubes)):
        received_by_now = min(received, now)
        queue.put(Again(number, priority, float(due), float(received_by_now), persons), float(now))
        jobs.append(as_job(number, priority, due, received_by_now, persons, "single-target"))
    ready = queue.ready(float(now)) <= now
    found = fill_plate(jobs, rules, at(now))
    assert ready == isinstance(found, Plan)
    if isinstance(found, Plan):
        plates, _ = queue.take(float(now))
        held = {int(n) for n in plates[0].first} | {job.tid for job in plates[0].again}
        assert held == {int(code) for code in found.tubes}
        assert plates[0].closed_by == found.closed_by
