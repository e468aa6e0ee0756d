"""Filling policies on five loads, on the same luck; started by hand (`-m soak`)."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from sim import load, simulate
from sim.run import scaled
from sim.statistics import interval

pytestmark = pytest.mark.soak
LOADS = (0.1, 0.3, 0.6, 0.9, 1.1)
RUNS = 5


def laboratory(factor, policy, cyclers=4):
    """A clinic with a 6-hour tier and single tubes, at a share of full load, under one policy."""
    base = load("fever-clinic")
    fever, voluntary = base.streams
    streams = (replace(fever, tubes=400), replace(voluntary, tubes=3000, lab_pool=0))
    waves = (480.0, 660.0, 840.0, 1020.0, 1200.0, 1380.0) if policy == "waves" else ()
    fill = replace(base.laboratory.fill, policy=policy, waves=waves)
    stations = tuple(replace(b, servers=cyclers) if b.reads else b for b in base.laboratory.stations)
    lab = replace(base.laboratory, fill=fill, days=2, volume_spread=0.0, stations=stations)
    return scaled(replace(base, streams=streams, laboratory=lab), factor)


def late(factor, policy, cyclers):
    """Tubes late in each run."""
    plan = laboratory(factor, policy, cyclers)
    return np.array([float(simulate(plan, 1, replication=n).late.sum()) for n in range(RUNS)])


@pytest.mark.parametrize("cyclers", [4, 2])
@pytest.mark.parametrize("factor", LOADS)
def test_never_worse_than_full_plates_first_come(factor, cyclers):
    """`urgency` and `cost` make no more tubes late than full plates in order of receipt, but for noise.

    With two cyclers the machine downstream is short from a load of 0.6 on.
    """
    full = late(factor, "fifo-full", cyclers)
    for policy in ("urgency", "cost", "waves"):
        found = late(factor, policy, cyclers)
        mean, low, high = interval(found - full)
        sys.stdout.write(
            f"\n{cyclers} cyclers, load {factor}: {policy} {found.mean():.1f} late, full plates {full.mean():.1f}, "
            f"difference {mean:.1f} ({low:.1f} to {high:.1f})"
        )
        if policy != "waves":
            assert low <= 0
