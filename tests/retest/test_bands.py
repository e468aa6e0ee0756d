"""Where a Cq lies on the axis of a target."""

from itertools import product

import pytest

from retest.bands import Bands, Interval


@pytest.mark.parametrize(("low_in", "high_in"), list(product((True, False), repeat=2)))
def test_each_end_of_an_interval_is_in_or_out_as_written(low_in, high_in):
    """Just inside is in, just outside is out, and the end itself is what the file says."""
    band = Interval(35.0, low_in, 38.0, high_in)
    inside = {34.99: False, 35.0: low_in, 35.01: True, 37.99: True, 38.0: high_in, 38.01: False}
    assert {cq: band.holds(cq) for cq in inside} == inside


def test_a_cq_is_detected_then_grey_then_nothing():
    """The bands meet without a seam; a kit without a grey band has none."""
    detected = Interval(0.0, low_in=False, high=37.0, high_in=False)
    bands = Bands(detected, Interval(37.0, low_in=True, high=40.0, high_in=True))
    said = [bands.state(cq) for cq in (1.0, 36.99, 37.0, 40.0, 40.01)]
    assert said == ["detected", "detected", "grey", "grey", "not-detected"]
    assert Bands(detected, None).state(37.0) == "not-detected"
