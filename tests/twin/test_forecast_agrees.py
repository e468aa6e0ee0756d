"""A forecast of an empty laboratory whose tubes are all announced is a simulation of its day."""

from dataclasses import replace

import numpy as np
import pytest

from scheduler import FillRules
from sim import load, simulate
from sim.courses import model_of
from sim.forecast import forecast
from sim.now import COMING, State
from sim.service import Service
from sim.stations import Bench

REPLICATIONS = 12
SEED = 5


def a_laboratory(policy):
    """Two streams of two tiers through four stations that are always on; nobody who is called back comes."""
    base = load("fever-clinic")
    fever, voluntary = base.streams
    streams = (
        replace(fever, tubes=120, start=480, end=1080, prevalence_start=0.08, prevalence_end=0.08),
        replace(voluntary, name="mixed", tubes=480, mode="mixed", places=10, lab_pool=0, start=480, end=1080),
    )
    stations = (
        Bench("reception", Service("fixed", mean=0.0), unit="tube", servers=50),
        Bench("preparation", Service("triangular", low=40, mode=55, high=80), servers=2),
        Bench("pcr", Service("uniform", low=85, high=95), servers=2, reads=True),
        Bench("review", Service("lognormal", mean=12, sd=5), servers=1, per_positive=1.0),
    )
    lab = replace(
        base.laboratory,
        days=1,
        volume_spread=0.0,
        control_failure=0.02,
        fill=FillRules(base.laboratory.fill.template, policy=policy),
        recall=replace(base.laboratory.recall, show_up=0.0),
        stations=stations,
    )
    return replace(base, streams=streams, laboratory=lab)


def announced(scenario, report):
    """Every tube of the day, known at midnight to come at its minute."""
    tiers = [scenario.laboratory.tiers.tier(tier) for tier, _ in report.groups]
    group = report.group
    return State.of(
        0.0,
        tuple(f"T{n}" for n in range(report.arrived.size)),
        where=COMING,
        came=report.arrived,
        due=report.due,
        priority=np.array([tier.priority if tier else 0 for tier in tiers])[group],
        kind=np.array([int(mode == "mixed") for _, mode in report.groups])[group],
        persons=report.persons,
    )


@pytest.mark.parametrize("policy", ["urgency", "cost"])
def test_an_announced_day_is_forecast_as_it_is_simulated(policy):
    """Mean turnaround agrees within 3 %, its quantiles within 5 %, the number of late tubes within 2 % of all."""
    scenario = a_laboratory(policy)
    first = simulate(scenario, SEED)
    runs = [
        simulate(scenario, SEED, {"arrivals": np.sort(first.arrived)}, replication=n)
        for n in range(REPLICATIONS)
    ]
    state = announced(scenario, runs[0])
    played = forecast(model_of(scenario, SEED), state, REPLICATIONS, SEED)
    simulated = np.concatenate([run.turnaround for run in runs])
    found = played.done - state.came[:, None]
    assert found.mean() == pytest.approx(simulated.mean(), rel=0.03)
    for share in (0.1, 0.5, 0.9):
        assert np.quantile(found, share) == pytest.approx(np.quantile(simulated, share), rel=0.05)
    late = np.mean([(run.turnaround > run.due - run.arrived).sum() for run in runs])
    assert played.expected_breaches == pytest.approx(late, abs=0.02 * len(state.names))
