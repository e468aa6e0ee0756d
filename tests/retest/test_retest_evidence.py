import math
from dataclasses import replace
from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retest import Evidence, EvidenceRules, LotCount, beside_strong, lot_clusters
from retest.evidence import binomial_tail

RULES = EvidenceRules("re-extract", 18.0, 0.0, "second-kit", 0.001, 0.001, 5)


def wells(found):
    """Suspected well -> (strong neighbour, its Cq)."""
    return {well: (evidence.about, evidence.figure) for well, evidence in found.items()}


def test_every_well_around_a_strong_one_is_suspected():
    """All eight neighbours of a well at Cq 15 are named with it, and nothing two wells away is."""
    plate = {f"{row}{column}": 30.0 for row, column in product("ABCDE", range(1, 6))} | {"C3": 15.0}
    expected = {f"{row}{column}" for row, column in product("BCD", (2, 3, 4))} - {"C3"}
    assert wells(beside_strong(plate, RULES)) == dict.fromkeys(expected, ("C3", 15.0))


def test_the_limit_of_strong_is_inclusive():
    """Cq 18.00 is strong, 18.01 is not; both spellings of a well are the same place."""
    found = beside_strong({"A01": 18.0, "A2": 30.0}, RULES)
    assert found == {"A2": Evidence("beside-strong", "A01", 18.0)}
    assert beside_strong({"A01": 18.01, "A2": 30.0}, RULES) == {}
    assert beside_strong({"A9": 15.0, "B10": 30.0}, RULES).keys() == {"B10"}
    assert beside_strong({"A1": 15.0, "A3": 30.0}, RULES) == {}


def test_only_wells_late_enough_are_suspected():
    """A splash is later than its source, by as much as the laboratory says; the limit itself counts."""
    late = replace(RULES, later_by=3.0)
    assert wells(beside_strong({"A1": 15.0, "A2": 18.0}, late)) == {"A2": ("A1", 15.0)}
    assert beside_strong({"A1": 15.0, "A2": 17.99}, late) == {}
    assert wells(beside_strong({"A1": 15.0, "A2": 15.0}, RULES)) == {"A1": ("A2", 15.0), "A2": ("A1", 15.0)}


def test_the_strongest_neighbour_is_named():
    """Between two strong wells the stronger one is given as the reason."""
    found = beside_strong({"A1": 17.0, "B2": 12.0, "A2": 33.0}, RULES)
    assert wells(found)["A2"] == ("B2", 12.0)


@pytest.mark.parametrize("well", ["1A", "", "A", "AA1", "A-1", "a1"])
def test_a_place_that_is_no_well_is_refused(well):
    """A typing error in a well is an error, not a well without neighbours."""
    with pytest.raises(ValueError, match="no well"):
        beside_strong({well: 20.0}, RULES)


def test_two_of_eight_lots_are_found():
    """44 false inconclusive results in 43,268, 36 of them (81.8 %) in 2 of 8 lots: those two are named."""
    single = {"L1": 18, "L2": 18, "L3": 2, "L4": 2, "L5": 1, "L6": 1, "L7": 1, "L8": 1}
    assert sum(single.values()) == 44
    counts = [LotCount(lot, "N", 43268 // 8, n) for lot, n in single.items()]
    found = lot_clusters(counts, RULES)
    assert set(found) == {("L1", "N"), ("L2", "N")}
    assert found["L1", "N"].kind == "lot-cluster"
    assert found["L1", "N"].about == "L1/N"
    assert found["L1", "N"].figure == pytest.approx(8 * binomial_tail(18, 5408, 0.001))


def test_a_wave_of_late_infections_blames_no_lot():
    """When every lot gives many single targets, the rate of the others is the measure."""
    assert lot_clusters([LotCount(f"L{i}", "N", 1000, 20 + i) for i in range(8)], RULES) == {}


def test_targets_are_measured_apart():
    """The single N of one lot is not measured against the single ORF1ab of another."""
    counts = [LotCount("L1", "N", 1000, 20), LotCount("L2", "ORF1ab", 1000, 25), LotCount("L2", "N", 1000, 1)]
    found = lot_clusters(counts, RULES)
    assert set(found) == {("L1", "N"), ("L2", "ORF1ab")}
    assert found["L2", "ORF1ab"].figure == pytest.approx(3 * binomial_tail(25, 1000, 0.001))


def test_a_small_count_is_never_a_cluster():
    """Four of ten are rare, but fewer than the least number; five are named."""
    assert lot_clusters([LotCount("L1", "N", 10, 4)], RULES) == {}
    assert set(lot_clusters([LotCount("L1", "N", 10, 5)], RULES)) == {("L1", "N")}
    assert lot_clusters([LotCount("L1", "N", 0, 0)], RULES) == {}


def test_a_lot_at_the_very_limit_of_chance_is_not_blamed():
    """A lot is crowded when chance makes such a count more rarely than the limit, not as rarely."""
    one = [LotCount("L1", "N", 1000, 8)]
    chance = lot_clusters(one, RULES)["L1", "N"].figure
    assert lot_clusters(one, replace(RULES, lot_alpha=chance)) == {}
    assert lot_clusters(one, replace(RULES, lot_alpha=math.nextafter(chance, 1)))


def test_looking_at_many_lots_needs_stronger_evidence():
    """The same count that names one lot alone is chance among a hundred."""
    one = LotCount("L0", "N", 1000, 8)
    quiet = [LotCount(f"L{i}", "N", 1000, 1) for i in range(1, 200)]
    assert lot_clusters([one], RULES)
    assert lot_clusters([one, *quiet], RULES) == {}


def exact_tail(k, n, p):
    """The upper tail in whole numbers, rounded once at the end."""
    share = Fraction(p).limit_denominator(10_000)
    return float(sum(math.comb(n, i) * share**i * (1 - share) ** (n - i) for i in range(k, n + 1)))


@given(st.integers(0, 25), st.integers(0, 25), st.integers(0, 64).map(lambda i: i / 64))
def test_the_binomial_tail_equals_its_definition(k, n, p):
    """The tail agrees with the sum of exact terms, on either side of the mode."""
    assert binomial_tail(k, n, p) == pytest.approx(exact_tail(k, n, p), rel=1e-9, abs=1e-12)


def test_small_tails_are_exact_in_relation():
    """A probability of 1e-30 is not rounded to 0."""
    for k, n, p in ((12, 200, 0.0005), (40, 150, 0.01)):
        assert binomial_tail(k, n, p) == pytest.approx(exact_tail(k, n, p), rel=1e-9, abs=0)


def test_the_ends_of_the_tail():
    """Certain and impossible cases are exact."""
    assert binomial_tail(0, 10, 0.2) == 1.0
    assert binomial_tail(11, 10, 0.2) == 0.0
    assert binomial_tail(1, 10, 0.0) == 0.0
    assert binomial_tail(900, 1000, 1e-5) == 0.0  # smaller than any number there is
    assert binomial_tail(10, 10, 1.0) == 1.0
    assert binomial_tail(10, 10, 0.5) == pytest.approx(0.5**10)


@pytest.mark.parametrize("case", [(-1, 5, 0.5), (1, -1, 0.5), (1, 5, -0.1), (1, 5, 1.1), (1, 5, math.nan)])
def test_an_impossible_binomial_is_refused(case):
    """Counts below 0 and shares outside 0 to 1 are errors."""
    with pytest.raises(ValueError, match="no binomial tail"):
        binomial_tail(*case)


def test_a_rule_without_a_step_is_off():
    """Without rules nothing is ordered, and each kind has its own step."""
    assert EvidenceRules().step("beside-strong") == ""
    assert EvidenceRules().step("lot-cluster") == ""
    assert (RULES.step("beside-strong"), RULES.step("lot-cluster")) == ("re-extract", "second-kit")
