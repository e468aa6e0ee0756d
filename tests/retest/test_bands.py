"""Where a Cq lies on the axis of a target."""

from itertools import product

import pytest

from retest import AssayRules
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


def test_bands_are_those_of_the_file(content):
    """Each end of each band is the one that is written; every Cq above 0 and below the cutoff is detected."""
    content["target"][1]["detected"] = {"op": "any"}
    content["override"].clear()
    a, b, ic = (target.bands for target in AssayRules.from_mapping(content).targets)
    assert a == Bands(Interval(0.0, False, 37.0, False), Interval(37.0, True, 40.0, False))
    assert b == Bands(Interval(0.0, False, float("inf"), False), None)
    assert ic == Bands(Interval(0.0, False, 35.0, True), None)


def test_a_grey_band_may_be_a_single_ct(content):
    """A table that leaves exactly Ct 38.0 open can be written as it is."""
    content["target"][0] |= {
        "detected": {"op": "<", "ct": 38.0},
        "grey": {"low": 38.0, "low_inclusive": True, "high": 38.0, "high_inclusive": True},
        "negative": {"op": ">", "ct": 38.0},
    }
    bands = AssayRules.from_mapping(content).targets[0].bands
    assert [bands.state(cq) for cq in (37.99, 38.0, 38.01)] == ["detected", "grey", "not-detected"]
