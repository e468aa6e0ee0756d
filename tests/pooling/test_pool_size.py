"""Closed forms against published tables and against exact enumeration."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pooling as pools
from pooling.size import Accuracy, PoolDesignError

# Expected tests per person, perfect assay: prevalence -> (best n, at best n, n=5, n=10, n=20).
PERFECT_TABLE = {
    0.0001: (101, 0.01995, 0.2005, 0.1010, 0.0520),
    0.001: (32, 0.06276, 0.2050, 0.1100, 0.0698),
    0.005: (15, 0.13910, 0.2248, 0.1489, 0.1454),
    0.01: (11, 0.19557, 0.2490, 0.1956, 0.2321),
    0.02: (8, 0.27424, 0.2961, 0.2829, 0.3824),
    0.03: (6, 0.33369, 0.3413, 0.3626, 0.5062),
    0.05: (5, 0.42622, 0.4262, 0.5013, 0.6915),
    0.1: (4, 0.59390, 0.6095, 0.7513, 0.9284),
    0.2: (3, 0.82133, 0.8723, 0.9926, 1.0385),
    0.3: (3, 0.99033, 1.0319, 1.0718, 1.0492),
}


def read_positive(has_positive, sensitivity, specificity):
    """Chance that one test reads positive."""
    return sensitivity if has_positive else 1 - specificity


def chance(truth, prevalence):
    """Probability of one pattern of infected persons."""
    return float(np.prod([prevalence if infected else 1 - prevalence for infected in truth]))


def enumerate_hierarchy(prevalence, parts, accuracy):
    """(tests, sensitivity, specificity) of a three-stage pool over every pattern of infection."""
    persons = sum(parts)
    starts = np.cumsum([0, *parts])
    tests, found, called = 1.0, 0.0, 0.0
    for truth in product((0, 1), repeat=persons):
        weight = chance(truth, prevalence)
        opened = weight * read_positive(any(truth), accuracy.sensitivity, accuracy.specificity)
        for start, part in zip(starts, parts, strict=False):
            members = truth[start : start + part]
            tests += opened
            reached = opened
            if part > 1:
                reached *= read_positive(any(members), accuracy.sensitivity, accuracy.specificity)
                tests += reached * part
            for infected in members:
                positive = reached * read_positive(infected, accuracy.sensitivity, accuracy.specificity)
                found += positive * infected
                called += positive * (1 - infected)
    return tests, found / (persons * prevalence), 1 - called / (persons * (1 - prevalence))


def enumerate_array(prevalence, rows, columns, accuracy):
    """(tests, sensitivity, specificity) of an array over every infection and every reading of its lines."""
    tests, found, called = float(rows + columns), 0.0, 0.0
    for cells in product((0, 1), repeat=rows * columns):
        truth = np.array(cells).reshape(rows, columns)
        lines = [*truth.any(axis=1), *truth.any(axis=0)]
        for reading in product((0, 1), repeat=rows + columns):
            weight = chance(cells, prevalence)
            for has, read in zip(lines, reading, strict=True):
                positive = read_positive(has, accuracy.sensitivity, accuracy.specificity)
                weight *= positive if read else 1 - positive
            row, column = np.array(reading[:rows], bool), np.array(reading[rows:], bool)
            alone = not (row.any() and column.any())
            asked = row[:, None] | column[None, :] if alone else np.outer(row, column)
            tests += weight * asked.sum()
            found += weight * (asked & (truth == 1)).sum() * accuracy.sensitivity
            called += weight * (asked & (truth == 0)).sum() * (1 - accuracy.specificity)
    persons = rows * columns
    return tests, found / (persons * prevalence), 1 - called / (persons * (1 - prevalence))


@pytest.mark.parametrize(("prevalence", "row"), PERFECT_TABLE.items())
def test_dorfman_costs_agree_with_the_reference_table(prevalence, row):
    """Fifty published-grade figures of tests per person come out to their last digit."""
    best, at_best, *fixed = row
    costs = {size: pools.two_stage(prevalence, size).tests_per_person for size in range(1, 200)}
    assert best == min(costs, key=costs.get)
    assert at_best == pytest.approx(costs[best], abs=5.1e-6)
    assert fixed == pytest.approx([costs[size] for size in (5, 10, 20)], abs=5.1e-5)


def test_break_even_prevalences():
    """10:1 stops saving at 20.57 %, 5:1 at 27.52 %, 20:1 at 13.91 %, and nothing helps above 30.66 %."""
    expected = {5: 0.2752, 10: 0.2057, 20: 0.1391, 3: 0.3066}
    assert expected == {size: round(pools.break_even(size), 4) for size in expected}
    assert max(pools.break_even(size) for size in range(2, 300)) == pools.NOTHING_HELPS_ABOVE
    for size in (3, 5, 10, 20):
        assert pools.two_stage(pools.break_even(size), size).tests_per_person == pytest.approx(1)


def test_imperfect_assay_at_one_percent():
    """Se .99 / Sp .99 and Se .90 / Sp .99 in pools of ten give the reference figures."""
    good = pools.two_stage(0.01, 10, Accuracy(0.99, 0.99))
    ppv, npv = pools.predictive_values(0.01, good.sensitivity, good.specificity)
    assert (round(good.tests_per_person, 5), round(good.sensitivity, 4)) == (0.20371, 0.9801)
    assert (round(good.specificity, 5), round(ppv, 4), round(npv, 5)) == (0.99905, 0.9127, 0.99980)
    weak = pools.two_stage(0.01, 10, Accuracy(0.90, 0.99))
    ppv, _ = pools.predictive_values(0.01, weak.sensitivity, weak.specificity)
    assert (
        round(weak.tests_per_person, 5),
        round(weak.sensitivity, 4),
        round(ppv, 4),
    ) == (0.19510, 0.81, 0.9039)


def test_published_efficiencies_and_the_cdc_erratum():
    """CDC's 3.46 (n=4) and FDA's 4.02 (n=5) at 1 % hold; CDC's printed 191 tests (n=2, 8 %) must be 196."""
    assert round(1 / pools.two_stage(0.01, 4).tests_per_person, 3) == 3.455
    assert round(1 / pools.two_stage(0.01, 5).tests_per_person, 3) == 4.016
    assert round(300 * pools.two_stage(0.08, 2).tests_per_person) == 196
    assert round(300 * pools.two_stage(0.07, 2).tests_per_person) == 191


@pytest.mark.parametrize(
    ("rows", "columns", "prevalence", "expected"),
    [
        (8, 12, 0.01, 0.22537),
        (8, 12, 0.05, 0.38191),
        (12, 12, 0.01, 0.18751),
        (25, 25, 0.01, 0.13547),
        (9, 9, 0.05, 0.37984),
    ],
)
def test_array_costs_agree_with_the_reference(rows, columns, prevalence, expected):
    """Arrays without a master pool cost what the reference says, rectangles included."""
    assert expected == round(pools.array(prevalence, rows, columns).tests_per_person, 5)


def test_array_with_an_imperfect_assay():
    """8 x 12 with Se .95 / Sp .99 at 1 % needs .23629 tests and finds .8938 of the infected."""
    found = pools.array(0.01, 8, 12, Accuracy(0.95, 0.99))
    assert (round(found.tests_per_person, 5), round(found.sensitivity, 4)) == (0.23629, 0.8938)


@pytest.mark.parametrize("parts", [(2, 2), (3, 1), (3, 2, 1), (1, 1, 1, 1), (4, 4)])
@pytest.mark.parametrize("accuracy", [Accuracy(), Accuracy(0.93, 0.97)])
def test_hierarchies_equal_enumeration(parts, accuracy):
    """Every pattern of infection walked through by hand gives the closed form, to twelve digits."""
    found = pools.three_stage(0.13, parts, accuracy)
    expected = enumerate_hierarchy(0.13, parts, accuracy)
    assert expected == pytest.approx((found.tests, found.sensitivity, found.specificity), abs=1e-12)
    if set(parts) == {1}:
        flat = pools.two_stage(0.13, len(parts), accuracy)
        assert expected == pytest.approx((flat.tests, flat.sensitivity, flat.specificity), abs=1e-12)


@pytest.mark.parametrize("shape", [(2, 2), (2, 3), (3, 2)])
@pytest.mark.parametrize("accuracy", [Accuracy(), Accuracy(0.9, 0.95)])
def test_arrays_equal_enumeration(shape, accuracy):
    """Every infection and every reading of every line gives the closed form, to twelve digits."""
    found = pools.array(0.2, *shape, accuracy)
    expected = enumerate_array(0.2, *shape, accuracy)
    assert expected == pytest.approx((found.tests, found.sensitivity, found.specificity), abs=1e-12)


def partitions(total, largest):
    """Every way to write a number as a sum of parts, larger parts first."""
    if total == 0:
        yield ()
    for part in range(min(total, largest), 0, -1):
        for rest in partitions(total - part, part):
            yield (part, *rest)


@pytest.mark.parametrize("size", [2, 5, 9, 12])
def test_best_parts_beat_every_partition(size):
    """The split found is the cheapest of all partitions, not just of the equal ones."""
    accuracy = Accuracy(0.95, 0.98)
    best = pools.three_stage(0.06, pools.best_parts(0.06, size, accuracy), accuracy).tests
    every = [p for p in partitions(size, size) if len(p) > 1]
    assert best == pytest.approx(min(pools.three_stage(0.06, p, accuracy).tests for p in every), abs=1e-12)


def test_remainders_are_split_evenly():
    """94 tubes at 1 %: 4 x 11 + 5 x 10 = 18.386 tests; nine tens and a four cost 18.763."""
    split = pools.split_tubes(94, 0.01, 20)
    assert split.sizes == (11, 11, 11, 11, 10, 10, 10, 10, 10)
    assert round(split.expected_tests, 3) == 18.386
    assert round(9 * pools.two_stage(0.01, 10).tests + pools.two_stage(0.01, 4).tests, 3) == 18.763


@settings(deadline=None)
@given(tubes=st.integers(0, 14), prevalence=st.floats(0.001, 0.4), largest=st.integers(1, 14))
def test_split_is_the_cheapest_partition(tubes, prevalence, largest):
    """No other cutting of the same tubes is cheaper; no tube is lost; no pool is too large."""
    split = pools.split_tubes(tubes, prevalence, largest)
    cost = {n: pools.two_stage(prevalence, n).tests for n in range(1, 15)}
    assert sum(split.sizes) == tubes
    assert all(size <= largest for size in split.sizes)
    assert split.expected_tests == pytest.approx(
        min(sum(cost[n] for n in p) for p in partitions(tubes, largest))
    )


@settings(deadline=None)
@given(
    prevalence=st.floats(1e-4, 0.9),
    size=st.integers(1, 60),
    se=st.floats(0.5, 1.0),
    sp=st.floats(0.5, 1.0),
)
def test_pool_figures_stay_within_their_laws(prevalence, size, se, sp):
    """Pooling never raises sensitivity, never lowers specificity, and costs between 1/n and 1 + 1/n."""
    found = pools.two_stage(prevalence, size, Accuracy(se, sp))
    assert found.sensitivity <= se
    assert found.specificity >= sp
    assert 1 / size - 1e-12 <= found.tests_per_person <= 1 + 1 / size + 1e-12


def test_dilution_loses_what_lies_within_log2_n_of_the_cutoff():
    """A pool of four loses the specimens of the last two cycles, and nothing else."""
    cqs = np.array([20.0, 30.0, 35.9, 36.0, 36.1, 37.9, 38.0, 39.0, np.nan])
    assert pools.detection_by_size(cqs, 38.0, (2, 4)) == {2: 5 / 7, 4: 4 / 7}
    with pytest.raises(PoolDesignError) as caught:
        pools.detection_by_size(cqs, 15.0, (2,))
    assert caught.value.code == "NO_POSITIVES"


def test_detection_lowers_pool_sensitivity_between_the_sizes_measured():
    """A measured size keeps its share, a size between lies between, a size beyond is refused."""
    diluted = Accuracy(0.9, 1.0, {5: 0.8, 10: 0.7})
    assert diluted.pool_sensitivity(1) == 0.9
    assert diluted.pool_sensitivity(5) == pytest.approx(0.72)
    assert 0.63 < diluted.pool_sensitivity(7) < 0.72
    assert pools.two_stage(0.01, 10, diluted).sensitivity == pytest.approx(0.9 * 0.7 * 0.9)
    with pytest.raises(PoolDesignError) as caught:
        diluted.pool_sensitivity(11)
    assert caught.value.code == "NO_DETECTION"


@pytest.mark.parametrize(
    ("call", "code"),
    [
        pytest.param(lambda: pools.two_stage(0.0, 5), "BAD_PREVALENCE", id="bad_prevalence-1"),
        pytest.param(lambda: pools.two_stage(1.0, 5), "BAD_PREVALENCE", id="bad_prevalence-2"),
        pytest.param(lambda: pools.two_stage(0.1, 0), "BAD_SIZE", id="bad_size-3"),
        pytest.param(lambda: pools.break_even(1), "BAD_SIZE", id="bad_size-4"),
        pytest.param(lambda: pools.best_parts(0.1, 1), "BAD_SIZE", id="bad_size-5"),
        pytest.param(lambda: pools.split_tubes(-1, 0.1, 5), "BAD_SIZE", id="bad_size-6"),
        pytest.param(lambda: pools.three_stage(0.1, (4,)), "BAD_LAYOUT", id="bad_layout-7"),
        pytest.param(lambda: pools.three_stage(0.1, (4, 0)), "BAD_LAYOUT", id="bad_layout-8"),
        pytest.param(lambda: pools.array(0.1, 1, 8), "BAD_SIZE", id="bad_size-9"),
        pytest.param(lambda: Accuracy(0.0, 1.0), "BAD_ACCURACY", id="bad_accuracy-10"),
        pytest.param(lambda: Accuracy(1.0, 1.1), "BAD_ACCURACY", id="bad_accuracy-11"),
        pytest.param(lambda: Accuracy(1.0, 1.0, {1: 0.9}), "BAD_DETECTION", id="bad_detection-12"),
        pytest.param(lambda: Accuracy(1.0, 1.0, {5: 0.0}), "BAD_DETECTION", id="bad_detection-13"),
    ],
)
def test_impossible_questions_are_refused(call, code):
    """A question without an answer raises a sentence with a code, never a number."""
    with pytest.raises(PoolDesignError) as caught:
        call()
    assert caught.value.code == code
    assert str(caught.value).endswith(".")


def test_detection_is_interpolated_over_the_cycles_of_dilution():
    """Half way in log2(size) is half way in the loss: below the smallest size measured, and between two."""
    accuracy = Accuracy(0.9, 1.0, {4: 0.9, 16: 0.7, 32: 0.7})
    shares = [accuracy.pool_sensitivity(size) / 0.9 for size in (1, 2, 4, 8, 16, 20, 32)]
    assert shares == pytest.approx([1.0, 0.95, 0.9, 0.8, 0.7, 0.7, 0.7])
    assert Accuracy(detection={2: 1.0}).pool_sensitivity(2) == 1.0


def test_predictive_values_of_an_imperfect_assay():
    """At 10 %, Se 80 % and Sp 90 %: 80 of 170 positives and 810 of 830 negatives of 1,000 persons are right."""
    assert pools.predictive_values(0.1, 0.8, 0.9) == pytest.approx((80 / 170, 810 / 830))


def test_single_testing_is_a_pool_of_one():
    """One person, one test, the accuracy of the test, and one member to test: whichever way it is asked."""
    alone = pools.Performance(1, 1.0, 0.9, 0.9, 0.8, (1,))
    assert pools.singly(Accuracy(0.9, 0.8)) == pools.two_stage(0.1, 1, Accuracy(0.9, 0.8)) == alone
