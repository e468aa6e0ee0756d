"""Forecasts of held-back synthetic days, learned from other days, scored against what happened."""

from dataclasses import replace

import numpy as np
import pytest
from days import a_laboratory, days, past_of

from sim.calibrate import calibrate, reference
from sim.forecast import forecast
from sim.score import score, together
from sim.service import Service

REPLICATIONS = 50
CYCLERS = 4


@pytest.fixture(scope="module")
def learned():
    """Four days of a laboratory, and what a forecast learned from them."""
    scenario = a_laboratory(1200)
    base = replace(reference(scenario.laboratory.fill), travel=Service("fixed", mean=0.0))
    return scenario, calibrate(past_of(days(scenario, range(4)), CYCLERS), base)


def test_held_back_days_are_foretold(learned):
    """Half-way through days it has not seen, turnaround is off by at most 7.4 % and the 95 % band holds 90-98 %."""
    scenario, calibration = learned
    scores = []
    for day in days(scenario, range(100, 106)):
        now = day.half_done()
        state = day.state(now)
        found = forecast(calibration.model, state, REPLICATIONS)
        tubes = [int(name) for name in state.names]
        foreseen = found.quantiles(0.025, 0.1, 0.5, 0.9, 0.975)
        ends = float(np.median(found.half)), float(np.median(found.cleared))
        scores.append(score(now, foreseen, day.report.arrived[tubes], day.done[tubes], ends))
    overall = together(scores)
    assert overall.tubes == overall.reported > 900
    assert overall.mape <= 0.074
    assert 0.9 <= overall.cover95 <= 0.98
    assert 0.65 <= overall.cover80 <= 0.92
    assert overall.half_error < 0.12


def test_what_is_learned_is_what_was_drawn(learned):
    """The cycler's minutes come out as they went in, and the report says what rests on events and what does not."""
    _, calibration = learned
    fits = {fit.name: fit for fit in calibration.fits}
    assert (fits["cycler"].source, fits["cycler"].fits) == ("events", True)
    assert fits["cycler"].p10 == pytest.approx(86, abs=1.5)
    assert fits["cycler"].p90 == pytest.approx(94, abs=1.5)
    assert 59 <= fits["prepare"].p50 <= 72
    assert fits["arrivals a day"].p50 == pytest.approx(1200, rel=0.1)
    assert fits["again after mixed first"].n > 1000
    assert {name for name, fit in fits.items() if fit.source == "reference"} == {
        "travel",
        "absence",
        "breakdowns a day",
        "again after pool first",
        "again after pool again",
    } | ({"again after single again"} if fits["again after single again"].n < 30 else set())
