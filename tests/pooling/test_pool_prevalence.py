"""Positivity and the advice to pool: exact intervals, no turning round twice a day."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import comb, pi, sin

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pooling
from pooling import prevalence
from pooling.prevalence import AdviceRules, Tally, advise, beta_cdf, beta_quantile, positivity, rolling
from pooling.size import Accuracy, PoolDesignError

NOW = datetime(2022, 12, 14, 8, 0, tzinfo=UTC)


def tally(places, tested, positive, days_ago=0.0):
    """Tubes read some days ago."""
    return Tally(NOW - timedelta(days=days_ago), places, tested, positive)


@settings(deadline=None)
@given(x=st.floats(0.001, 0.999), a=st.integers(1, 40), b=st.integers(1, 40))
def test_beta_cdf_equals_the_binomial_tail(x, a, b):
    """I_x(a, b) is P(Bin(a+b-1, x) >= a), summed term by term."""
    n = a + b - 1
    tail = sum(comb(n, k) * x**k * (1 - x) ** (n - k) for k in range(a, n + 1))
    assert tail == pytest.approx(beta_cdf(x, a, b), abs=1e-11)


def test_beta_cdf_ends():
    """Nothing lies below 0 and everything below 1."""
    assert (beta_cdf(0.0, 2, 3), beta_cdf(1.0, 2, 3)) == (0.0, 1.0)


@pytest.mark.parametrize("share", [0.025, 0.3, 0.5, 0.975])
def test_beta_quantiles_with_closed_forms(share):
    """Beta(1/2,1/2) is the arcsine law, Beta(1,b) and Beta(a,1) are powers: quantiles known exactly."""
    assert sin(pi * share / 2) ** 2 == pytest.approx(beta_quantile(share, 0.5, 0.5), rel=1e-10)
    assert 1 - (1 - share) ** (1 / 7) == pytest.approx(beta_quantile(share, 1, 7), rel=1e-10)
    assert share ** (1 / 900) == pytest.approx(beta_quantile(share, 900, 1), rel=1e-10)


@settings(deadline=None)
@given(share=st.floats(0.001, 0.999), positive=st.integers(0, 400), negative=st.integers(0, 5000))
def test_quantile_inverts_the_distribution(share, positive, negative):
    """The distribution at the quantile is the share asked for, small and large counts alike."""
    a, b = positive + 0.5, negative + 0.5
    assert share == pytest.approx(beta_cdf(beta_quantile(share, a, b), a, b), abs=1e-7)


def test_positivity_of_single_tubes():
    """20 of 100 single tubes: 2.5 % of the Jeffreys posterior, integrated once more, lie on either side."""
    seen = positivity([tally(1, 60, 12), tally(1, 40, 8)])
    assert (seen.tested, seen.positive, seen.method) == (100, 20, "beta")
    grid = np.linspace(0, 1, 100_001)
    density = grid**19.5 * (1 - grid) ** 79.5
    mass = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    ends = [seen.low, seen.estimate, seen.high]
    assert np.interp(ends, grid, mass / mass[-1]) == pytest.approx([0.025, 0.5, 0.975], abs=1e-6)


def test_positivity_of_mixed_tubes_is_per_person():
    """A tenth of 10:1 tubes positive means about 1 % of the persons, not 10 %."""
    seen = positivity([tally(10, 1000, 96)])
    assert seen.estimate == pytest.approx(0.01004, abs=1e-4)
    assert seen.low < 0.01 < seen.high


def test_tubes_of_several_sizes_are_read_together():
    """Evidence from 10:1 and single tubes adds up: the joint interval is narrower than either alone."""
    mixed, single = tally(10, 1000, 96), tally(1, 4000, 40)
    joint = positivity([mixed, single])
    assert (joint.method, joint.tested, joint.positive) == ("grid", 5000, 136)
    assert joint.estimate == pytest.approx(0.0101, abs=2e-4)
    for alone in (positivity([mixed]), positivity([single])):
        assert joint.high - joint.low < alone.high - alone.low


@pytest.mark.parametrize(("tested", "positive"), [(200, 3), (5000, 900), (300_000, 30_000), (3, 0), (3, 3)])
def test_the_grid_agrees_with_the_exact_interval(tested, positive):
    """Where the exact answer is known the grid gives it: for few tubes and very many, for none and all positive."""
    exact = positivity([tally(1, tested, positive)])
    low, middle, high = prevalence._grid_quantiles([tally(1, tested, positive)], (0.025, 0.5, 0.975))
    assert (low, middle, high) == pytest.approx((exact.low, exact.estimate, exact.high), rel=2e-3, abs=2e-4)


def test_very_many_tubes_use_wilson():
    """At a million tubes the quick interval is the exact one to six digits."""
    few = positivity([tally(1, 999_999, 100_000)])
    many = positivity([tally(1, 1_000_000, 100_000)])
    assert (few.method, many.method) == ("beta", "wilson")
    assert (few.low, few.high) == pytest.approx((many.low, many.high), abs=1e-6)
    assert many.estimate == pytest.approx(few.estimate, abs=1e-6)
    assert positivity([tally(10, 1_000_000, 0)]).low == 0


def test_a_share_of_very_many_tubes_stays_a_share():
    """All positive or none of a million: rounding moves no end of the interval beyond the estimate, 0 or 1."""
    for tested in range(1_000_000, 1_000_040):
        for positive in (0, tested):
            seen = positivity([tally(10, tested, positive)])
            assert 0.0 <= seen.low <= seen.estimate <= seen.high <= 1.0
        assert (prevalence.wilson(tested, 0, 0.95)[0], prevalence.wilson(tested, tested, 0.95)[1]) == (
            0.0,
            1.0,
        )


def test_wilson_known_value():
    """Wilson (1927) for 20 of 100 is .1334 to .2888."""
    assert tuple(round(end, 4) for end in prevalence.wilson(100, 20, 0.95)) == (0.1334, 0.2888)


def test_the_window_rolls():
    """Only tallies of the last days count; the future does not."""
    tallies = [tally(1, 10, 1, days_ago=days) for days in (8.0, 6.9, 0.0, -1.0)]
    assert tuple(tallies[1:3]) == rolling(tallies, NOW, 7)


@pytest.mark.parametrize(
    ("current", "places", "tested", "positive", "mode", "reason"),
    [
        (10, 10, 2000, 190, 10, "best"),  # 1 %: stay at 10:1
        (10, 10, 2000, 800, 5, "cheaper"),  # 5 %: 5:1 is cheaper
        (10, 1, 4000, 800, 5, "cheaper"),  # 20 %: 5:1 before single
        (5, 1, 4000, 1400, 1, "cheaper"),  # 35 %: nothing helps
        (10, 1, 4000, 1400, 1, "cheaper"),
        (1, 1, 4000, 40, 10, "cheaper"),  # the wave is over
        (10, 10, 150, 60, 10, "too-few"),
        (10, 10, 2000, 440, 10, "not-sure"),  # 2.5 %: nearly equal
        (5, 5, 2000, 215, 5, "not-sure"),  # 2.2 %: 10:1 is cheaper by less than the margin
    ],
)
def test_advice(current, places, tested, positive, mode, reason):
    """The mode follows positivity, with a sentence in two languages and the costs of every mode."""
    found = advise([tally(places, tested, positive)], current, AdviceRules())
    assert (mode, reason, mode != current) == (found.mode, found.reason, found.changed)
    assert [cost.mode for cost in found.costs] == [10, 5, 1]
    assert f"{current}:1" in found.sentence
    assert f"{current}:1" in found.sentence_zh


def test_just_enough_tubes_are_enough():
    """The smallest number of tubes that an advice may rest on is enough for one; one tube less is not."""
    reasons = [advise([tally(1, tested, 0)], 10, AdviceRules(min_tested=200)).reason for tested in (199, 200)]
    assert reasons == ["too-few", "best"]


def test_ten_to_one_stops_saving_at_its_break_even():
    """With 10:1 and single as the only modes, the change comes just above 20.57 % and not below."""
    rules = AdviceRules(modes=(10, 1), margin=0.001, min_tested=1)
    below = advise([tally(1, 900_000, 184_000)], 10, rules)  # 20.44 %
    above = advise([tally(1, 900_000, 189_000)], 10, rules)  # 21.00 %
    assert (below.mode, above.mode) == (10, 1)
    assert "20.57%" in above.sentence


@settings(deadline=None, max_examples=40)
@given(
    current=st.sampled_from([10, 5, 1]),
    places=st.sampled_from([1, 5, 10]),
    tested=st.integers(200, 20_000),
    share=st.floats(0, 1),
)
def test_advice_never_turns_back_on_the_same_evidence(current, places, tested, share):
    """Asked again with the same window after following it, the advice is to stay."""
    window = [tally(places, tested, int(tested * share))]
    followed = advise(window, current, AdviceRules())
    again = advise(window, followed.mode, AdviceRules())
    assert not again.changed


@pytest.mark.parametrize(
    ("call", "code"),
    [
        pytest.param(lambda: positivity([]), "NO_TUBES", id="no_tubes-1"),
        pytest.param(lambda: advise([tally(1, 300, 3)], 20, AdviceRules()), "BAD_MODE", id="bad_mode-2"),
        pytest.param(lambda: AdviceRules(modes=(10, 5)), "BAD_RULES", id="bad_rules-3"),
        pytest.param(lambda: AdviceRules(margin=0), "BAD_RULES", id="bad_rules-4"),
        pytest.param(lambda: tally(1, 10, 11), "BAD_TALLY", id="bad_tally-5"),
        pytest.param(lambda: Tally(datetime(2022, 12, 14), 1, 1, 1), "NAIVE_TIME", id="naive_time-6"),  # noqa: DTZ001  that is the point
    ],
)
def test_senseless_evidence_is_refused(call, code):
    """Impossible counts, unknown modes and empty windows are refused with a code."""
    with pytest.raises(PoolDesignError) as caught:
        call()
    assert caught.value.code == code


def seen_at(share):
    """Positivity known exactly."""
    return pooling.Positivity(1000, 0, share, share, share, "beta")


# Reference, section 5: prevalence -> (share called back, tubes per person) for 10-in-1 tubes.
TEN_IN_ONE = {
    0.01: (0.098, 0.198),
    0.05: (0.404, 0.504),
    0.1: (0.653, 0.753),
    0.2: (0.894, 0.994),
    0.3: (0.973, 1.073),
    0.5: (1.0, 1.101),
}


@pytest.mark.parametrize(("prevalence", "row"), TEN_IN_ONE.items())
def test_the_retest_load_of_ten_in_one(prevalence, row):
    """Reference section 5, this column: called back and tubes per person, to .002 and .003."""
    rules = AdviceRules(grey=0.00102, invalid=0.00326)  # the rates of the reference
    ten, _, single = pooling.mode_costs(seen_at(prevalence), rules)
    assert ten.mode == 10
    assert ten.called_back == pytest.approx(row[0], abs=0.002)
    assert ten.tubes_per_person == pytest.approx(row[1], abs=0.003)
    assert (single.mode, single.tests_per_person, single.tubes_per_person, single.called_back) == (1, 1, 1, 0)


def test_grey_and_invalid_tubes_come_back_without_anybody_infected():
    """Of tubes without an infected person come back: 10 % invalid, and of the rest 1 - .9 x .8 wrong or grey."""
    rules = AdviceRules(accuracy=Accuracy(0.8, 0.9), grey=0.2, invalid=0.1)
    ten = pooling.mode_costs(seen_at(0.0), rules)[0]
    assert ten.called_back == pytest.approx(0.1 + 0.9 * (1 - 0.9 * 0.8))
    everybody = pooling.mode_costs(seen_at(1.0), rules)[0]
    assert everybody.called_back == pytest.approx(0.1 + 0.9 * 0.8)


def test_hours_tubes_and_missed_positives_of_each_mode():
    """What a switch costs is shown whole: tests, tubes, hours, persons called back, persons missed."""
    accuracy = Accuracy(0.95, 0.99, {5: 0.95, 10: 0.9})
    rules = AdviceRules(accuracy=accuracy, round_hours=5.0, again_hours=20.0)
    ten, five, single = pooling.mode_costs(seen_at(0.02), rules)
    dorfman = pooling.two_stage(0.02, 10, accuracy)
    assert ten.tests_per_person == pytest.approx(dorfman.tests_per_person)
    assert ten.tubes_per_person == pytest.approx(dorfman.tests_per_person)
    assert ten.hours == pytest.approx(5 + 20 * ten.called_back)
    assert ten.missed_per_100k == pytest.approx(2000 * (1 - dorfman.sensitivity))
    assert single.missed_per_100k == pytest.approx(2000 * 0.05)
    assert single.hours == 5
    assert ten.missed_per_100k > five.missed_per_100k > single.missed_per_100k
    assert pooling.mode_costs(seen_at(0.02), AdviceRules(recollected=False))[0].tubes_per_person == 1.0
    english, chinese = ten.words()
    for text in (english, chinese):
        for figure in (
            f"{ten.tests_per_person:.3f}",
            f"{ten.tubes_per_person:.3f}",
            f"{ten.hours:.1f}",
            f"{ten.called_back:.1%}",
            f"{ten.missed_per_100k:.1f}",
        ):
            assert figure in text
        assert text.startswith("10:1")


def test_costs_at_both_ends_of_the_interval():
    """The cost at each end of the interval is the cost of that prevalence, dearer at the higher end."""
    window = [tally(10, 5000, 500)]
    advice = advise(window, 10, AdviceRules())
    for cost in advice.costs[:2]:
        for share, known in ((advice.positivity.low, cost.at_low), (advice.positivity.high, cost.at_high)):
            assert known == pytest.approx(pooling.two_stage(share, cost.mode).tests_per_person)
        assert cost.at_low < cost.tests_per_person < cost.at_high
    assert advise(window, 10, AdviceRules(confidence=0.5)).positivity == positivity(window, 0.5)
    everybody = pooling.mode_costs(seen_at(1.0), AdviceRules())
    assert [cost.tests_per_person for cost in everybody] == pytest.approx([1.1, 1.2, 1.0])


@pytest.mark.parametrize(
    "change",
    [
        {"grey": -0.1},
        {"grey": 1.0},
        {"invalid": 1.0},
        {"invalid": -0.1},
        {"round_hours": -1.0},
        {"again_hours": -1.0},
        {"confidence": 0.0},
        {"confidence": 1.0},
        {"min_tested": 0},
        {"modes": (10, 1, 0)},
    ],
)
def test_impossible_advice_rules_are_refused(change):
    """Shares outside 0 to 1 and negative hours are refused when the rules are made."""
    with pytest.raises(PoolDesignError) as caught:
        AdviceRules(**change)
    assert caught.value.code == "BAD_RULES"


def test_the_window_ends_are_kept_exactly():
    """A tally exactly `days` old has left the window; one of this moment is in it."""
    old, now, young = tally(1, 10, 1, days_ago=7), tally(1, 10, 1), tally(1, 10, 1, days_ago=6.999)
    assert rolling([old, now, young], NOW, 7) == (now, young)


def test_advice_rules_just_at_their_limits_are_accepted():
    """No hour of delay, no grey and no invalid tube, a single tube of evidence: unusual, but possible."""
    for hours in (0.0, 0.5):
        rules = AdviceRules(
            round_hours=hours, again_hours=hours, grey=0.0, invalid=0.0, min_tested=1, modes=(1,)
        )
        assert rules.round_hours == hours


@pytest.mark.parametrize("short", [None, "tests_per_person", "at_low", "at_high"])
def test_a_change_saves_the_margin_at_the_estimate_and_at_both_ends(short):
    """A quarter of a test saved everywhere is enough for a margin of a quarter; less at one place is not."""
    costs = {"tests_per_person": 0.5, "at_low": 0.5, "at_high": 0.5}
    now = pooling.ModeCost(10, **costs, tubes_per_person=1.0, called_back=0.0, hours=6.0, missed_per_100k=0.0)
    cheaper = {name: 0.25 + (name == short) * 0.125 for name in costs}
    best = replace(now, mode=5, **cheaper)
    found = prevalence._reason(seen_at(0.1), best, now, AdviceRules(margin=0.25))
    assert found == ("not-sure" if short else "cheaper")
