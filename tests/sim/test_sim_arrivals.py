"""Arrival times follow their shape."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim import Arrival, ScenarioError, arrival_minutes

shapes = st.one_of(
    st.just(Arrival()),
    st.builds(
        lambda weights: Arrival("curve", (*weights, 1.0)), st.lists(st.floats(0, 9), min_size=1, max_size=6)
    ),
    st.builds(
        lambda minutes: Arrival("waves", (1.0,) * len(minutes), tuple(minutes), 15.0),
        st.lists(st.floats(0, 1440), min_size=1, max_size=4),
    ),
)


@settings(deadline=None)
@given(arrival=shapes, count=st.integers(0, 300), start=st.floats(0, 700), length=st.floats(1, 700))
def test_every_tube_arrives_in_its_time(arrival, count, start, length):
    """Exactly the number asked for, ascending, within start and end, whatever the shape."""
    minutes = arrival_minutes(arrival, count, start, start + length, np.random.default_rng(1))
    assert minutes.shape == (count,)
    assert np.all(np.diff(minutes) >= 0)
    assert np.all((minutes >= start) & (minutes <= start + length))


def test_a_curve_follows_its_integral():
    """Intensity rising from nothing to its top: a quarter of the tubes come in the first half."""
    minutes = arrival_minutes(Arrival("curve", (0, 5)), 200_000, 0, 100, np.random.default_rng(2))
    assert np.mean(minutes < 50) == pytest.approx(0.25, abs=0.005)
    assert np.mean(minutes) == pytest.approx(200 / 3, abs=0.3)


def test_a_curve_with_a_gap_leaves_it_empty():
    """Nobody arrives while the intensity is zero."""
    minutes = arrival_minutes(Arrival("curve", (1, 0, 0, 1)), 5000, 0, 300, np.random.default_rng(3))
    assert not np.any((minutes > 100.001) & (minutes < 199.999))


def test_waves_come_with_their_couriers():
    """Every tube comes within the hand-in time of a courier, in the shares given."""
    arrival = Arrival("waves", (3, 1), (500, 700), 10)
    minutes = arrival_minutes(arrival, 40_000, 0, 1000, np.random.default_rng(4))
    first = (minutes >= 500) & (minutes <= 510)
    second = (minutes >= 700) & (minutes <= 710)
    assert np.all(first | second)
    assert np.mean(first) == pytest.approx(0.75, abs=0.01)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Arrival("tide"),
        lambda: Arrival("curve", (1.0,)),
        lambda: Arrival("curve", (0.0, 0.0)),
        lambda: Arrival("curve", (-1.0, 2.0)),
        lambda: Arrival("waves", (1.0, 1.0), (500.0,)),
        lambda: Arrival("waves", (1.0,), (500.0,), -1.0),
    ],
    ids=["shape", "one-weight", "no-weight", "negative", "pairs", "spread"],
)
def test_senseless_shapes_are_refused(make):
    """A shape nobody could arrive by is refused when it is made."""
    with pytest.raises(ScenarioError) as caught:
        make()
    assert caught.value.code == "BAD_ARRIVAL"
