"""Westgard rules at their edges, Levey-Jennings series, and rates that betray a bad lot."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instruments.errors import InstrumentError
from instruments.rates import Counted, rates, upper_limit
from instruments.westgard import REJECT, WARN, ControlPoint, Target, charts, judge

DAY = datetime(2024, 5, 1, 8, tzinfo=UTC)


def rules(z, mean=28.0, sd=0.25):
    """Names of the rules that the last point of a series, given in SD, breaks."""
    values = [mean + sd * one for one in z]
    return {v.rule for v in judge(values, mean, sd) if v.at == len(z) - 1}


# In binary fractions, so that a point on a limit lies exactly on it.
EDGES = [
    ("1-2s", [2.0], [2.0625]),
    ("1-2s", [-2.0], [-2.0625]),
    ("1-3s", [3.0], [3.0625]),
    ("1-3s", [-3.0], [-3.0625]),
    ("2-2s", [2.5, 2.0], [2.5, 2.0625]),
    ("2-2s", [2.5, -2.5], [-2.5, -2.0625]),
    ("2-2s", [2.5, 0.0, 2.5], [0.0, 2.5, 2.5]),
    ("R-4s", [2.0625, -2.0], [2.0625, -2.0625]),
    ("R-4s", [3.5, -0.75], [-2.5, 2.5]),
    ("R-4s", [2.5, 0.0, -2.5], [0.0, 2.5, -2.5]),
    ("3-1s", [1.5, 1.5, 1.0], [1.5, 1.5, 1.0625]),
    ("3-1s", [1.5, -1.5, 1.5], [-1.5, -1.5, -1.5]),
    ("4-1s", [1.5, 1.5, 1.5, 1.0], [1.5, 1.5, 1.5, 1.0625]),
    ("4-1s", [1.5, 1.5, 1.5], [-1.5, -1.0625, -1.5, -1.5]),
    ("4-1s", [1.5, 1.5, -1.5, 1.5], [1.0, 1.5, 1.5, 1.5, 1.5]),
    ("7-T", [0.0, 0.25, 0.5, 0.75, 1.0, 1.25], [-0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 0.875]),
    ("7-T", [0.0, 0.25, 0.5, 0.5, 0.75, 1.0, 1.25], [0.5, 0.25, 0.0, -0.25, -0.5, -0.625, -0.75]),
    ("10-x", [0.5] * 9, [0.5] * 10),
    ("10-x", [0.5] * 9 + [0.0], [-0.0625] * 10),
    ("10-x", [0.5] * 5 + [-0.5] * 5, [-0.5] + [0.5] * 10),
]


@pytest.mark.parametrize(("rule", "within", "beyond"), EDGES)
def test_each_rule_breaks_beyond_its_edge_and_not_on_it(rule, within, beyond):
    """A point on the limit, a run one too short or on two sides keeps the rule; one step more breaks it."""
    assert rule not in rules(within)
    assert rule in rules(beyond)


def test_only_the_rejecting_rules_reject():
    """1-2s, 3-1s and 7-T warn; the six others hold results."""
    seen = {v.rule: v.rejects for _, _, z in EDGES for v in judge(z, 0.0, 1.0)}
    assert {rule for rule, rejects in seen.items() if rejects} == set(REJECT)
    assert {rule for rule, rejects in seen.items() if not rejects} == set(WARN)


@given(st.lists(st.floats(-4, 4).map(lambda z: round(z * 64) / 64), max_size=30))
def test_sides_do_not_matter_and_the_past_is_not_rewritten(z):
    """Mirrored values break the same rules; later values never change what was found before."""
    found = judge(z, 0.0, 1.0)
    assert judge([-one for one in z], 0.0, 1.0) == found
    half = len(z) // 2
    assert judge(z[:half], 0.0, 1.0) == tuple(v for v in found if v.at < half)


@given(st.lists(st.floats(-0.99, 0.99), max_size=9))
def test_values_near_the_mean_never_reject(z):
    """Nine values within one SD break no rejecting rule."""
    assert not [v for v in judge(z, 0.0, 1.0) if v.rejects]


@pytest.mark.parametrize(("values", "sd"), [([1.0], 0.0), ([1.0], -1.0), ([float("nan")], 1.0)])
def test_a_chart_without_a_scale_is_refused(values, sd):
    """No SD, or a value that is no number, is an error and not a pass."""
    with pytest.raises(InstrumentError) as caught:
        judge(values, 0.0, sd)
    assert caught.value.code == "BAD_CONTROL"


def point(day, value, *, lot="L1", instrument="QS5-1", target="N", level="PC"):
    """A control value of one day."""
    covers = (f"tube-{lot}-{day}-a", f"tube-{lot}-{day}-b")
    return ControlPoint(DAY + timedelta(days=day), f"run{day}", instrument, lot, target, level, value, covers)


def test_a_chart_holds_one_control_of_one_lot_in_order_of_time():
    """Points come sorted, lots and instruments are not mixed, a control without a Cq stands apart."""
    points = [point(day, 28.0 + 0.1 * (day % 2)) for day in (4, 1, 3, 2)]
    points += [
        point(5, None),
        point(1, 31.0, lot="L2"),
        point(1, 30.0, instrument="CFX-1"),
        point(9, 1.0, lot="new"),
    ]
    drawn = charts(points, lambda p: None if p.lot == "new" else Target(28.0, 0.25))
    assert [(c.instrument, c.lot, len(c.points)) for c in drawn] == [
        ("CFX-1", "L1", 1),
        ("QS5-1", "L1", 4),
        ("QS5-1", "L2", 1),
    ]
    chart = drawn[1]
    assert [p.at.day for p in chart.points] == [2, 3, 4, 5]
    assert [p.value for p in chart.missing] == [None]
    assert chart.lines[3] == 28.75
    assert chart.held == ()


def test_a_rejection_names_the_results_it_covers():
    """The run beyond 3 SD holds its own results, those before and after stay free; a warning holds none."""
    values = [28.0, 28.1, 28.55, 28.9, 28.0]
    (chart,) = charts([point(day, value) for day, value in enumerate(values)], lambda _: Target(28.0, 0.25))
    assert {v.rule for v in chart.violations if v.at == 3} == {"1-2s", "1-3s", "2-2s"}
    assert chart.held == ("tube-L1-3-a", "tube-L1-3-b")


def made(lot, failed, count):
    """``count`` results of which ``failed`` failed."""
    return [Counted(lot, "N", "QS5-1", i < failed) for i in range(count)]


def test_a_lot_that_makes_four_fifths_of_the_failures_stands_out():
    """82 of 100 single-target signals from one lot of five: that lot is above its limit, no other is."""
    results = made("bad", 82, 2000) + [
        one for n, f in enumerate((5, 4, 5, 4)) for one in made(f"L{n}", f, 2000)
    ]
    worst, *others = rates(results, "lot")
    assert (worst.name, worst.high, worst.share) == ("bad", True, 0.82)
    assert worst.rate == pytest.approx(0.041)
    assert worst.expected < 0.003
    assert not any(rate.high for rate in others)
    assert [rate.high for rate in rates(results, "instrument")] == [False]


@pytest.mark.parametrize(("usual", "count"), [(0.002, 400), (0.01, 400), (0.05, 1000)])
def test_chance_alone_seldom_crosses_the_limit(usual, count):
    """Of 20,000 lots like all others at most 0.5 % are above the limit, few events or many."""
    rng = np.random.default_rng(1)
    limit = upper_limit(usual, count)
    share = (rng.binomial(count, usual, 20_000) / count > limit).mean()
    assert share <= 0.005
    assert limit > usual
