"""What a running plate foretells, and that it can never be taken for a result."""

import numpy as np
import pytest

from instruments import early
from instruments.early import OPEN, QUIET, RISING, Forecast, forecast, outlooks, score
from instruments.errors import InstrumentError

CYCLES = np.arange(1, 46)


def curves(halves, seed=1):
    """Amplifications with their middle at each of ``halves``; None stays flat."""
    rng = np.random.default_rng(seed)
    clean = [np.zeros(45) if h is None else 2.5 / (1 + np.exp(-0.66 * (CYCLES - h))) for h in halves]
    return np.array(clean) + 0.6 + rng.normal(0, 0.003, (len(halves), 45))


def test_clear_positives_rise_and_clear_negatives_are_quiet_so_far():
    """At cycle 28 a Cq near 15 has risen, one near 37 and a negative have not."""
    seen = forecast(curves([20, 20, 42, None])[:, :28])
    assert seen.cycle == 28
    assert list(seen.outlook) == [RISING, RISING, QUIET, QUIET]


def test_a_curve_just_lifting_off_is_left_open_or_rising_but_never_quiet():
    """In the cycles in which a curve leaves its baseline nobody is told that it is negative."""
    for half in np.arange(28.0, 34.0, 0.25):
        (outlook,) = forecast(curves([half], seed=int(half * 4))[:, :28]).outlook
        lifted = 2.5 / (1 + np.exp(-0.66 * (26 - half)))
        assert outlook in {RISING, OPEN} or lifted < 0.03


def test_before_cycle_25_nothing_is_foretold():
    """An early question is refused by name."""
    with pytest.raises(InstrumentError) as caught:
        forecast(curves([20])[:, : early.FIRST_CYCLE - 1])
    assert caught.value.code == "TOO_EARLY"


def test_a_forecast_has_nothing_that_a_result_has():
    """No Cq, no verdict, no call and no flags; its words are not the words of results."""
    assert set(Forecast.__dataclass_fields__) == {"cycle", "outlook"}
    assert not {RISING, QUIET, OPEN} & {"positive", "negative", "sigmoid", "flat", "atypical", "detected"}


def test_accuracy_counts_what_became_of_the_forecasts():
    """Recall grows with the cycles; precision is the share of rising curves that ended positive."""
    values = curves([18, 22, 26, 30, 34, None, None, None])
    positive = np.array([True] * 5 + [False] * 3)
    early_on, late = (score(cycle, [outlooks(values, positive, cycle)]) for cycle in (25, 45))
    assert (early_on.positives, early_on.negatives) == (5, 3)
    assert 0.2 <= early_on.recall <= 0.6
    assert (late.recall, late.precision, late.quiet_right) == (1.0, 1.0, 1.0)
    nothing = score(30, [outlooks(values[5:], positive[5:], 30)])
    assert np.isnan(nothing.recall)
    assert np.isnan(nothing.precision)
