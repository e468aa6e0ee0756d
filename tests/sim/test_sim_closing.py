"""The usual rule for closing plates, held against full plates first come."""

from dataclasses import replace

import numpy as np
import pytest

from scheduler import Closing
from sim import load, simulate
from sim.run import scaled
from sim.statistics import interval

LOADS = (0.1, 0.3, 0.6, 0.9, 1.1)
RUNS = 4


def short_of_cyclers(factor, policy):
    """A clinic with a 6-hour tier on one day with two cyclers: too few from a load of 0.6 on."""
    base = load("fever-clinic")
    fever, voluntary = base.streams
    streams = (replace(fever, tubes=400), replace(voluntary, tubes=3000, lab_pool=0))
    stations = tuple(replace(b, servers=2) if b.reads else b for b in base.laboratory.stations)
    lab = replace(
        base.laboratory,
        fill=replace(base.laboratory.fill, policy=policy),
        days=1,
        volume_spread=0.0,
        stations=stations,
    )
    return scaled(replace(base, streams=streams, laboratory=lab), factor)


def late(factor, policy):
    """Tubes late in each run."""
    plan = short_of_cyclers(factor, policy)
    return np.array([float(simulate(plan, 1, replication=n).late.sum()) for n in range(RUNS)])


@pytest.mark.parametrize("factor", LOADS)
def test_the_usual_rule_is_never_worse_than_full_plates(factor):
    """On the same luck it makes no more tubes late than full plates in order of receipt, but for noise."""
    full, found = late(factor, "fifo-full"), late(factor, Closing().policy)
    _, low, _ = interval(found - full)
    assert low <= 0
    assert found.mean() <= 1.1 * full.mean()
