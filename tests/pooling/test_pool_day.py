"""A day's tubes: the distribution of its tests, remainders, and pools by each person's own risk."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pooling
from pooling import Accuracy, PoolDesignError

REAL = Accuracy(0.95, 0.98)

# Ten risks for which the reference's three figures hold: one pool of ten 3.064, 6 + 4 2.917, 7 + 3 2.856.
TEN = (0.10, 0.002, 0.05, 0.002, 0.02, 0.005, 0.02, 0.005, 0.01, 0.01)


def test_identical_pools_are_a_binomial():
    """D pools of n with a perfect assay: tests = D + n x Binomial(D, 1 - q^n), term by term."""
    day = pooling.day_tests([10] * 40, 0.02)
    opened = 1 - 0.98**10
    expected = np.zeros(40 + 400 + 1)
    for count in range(41):
        expected[40 + 10 * count] = math.comb(40, count) * opened**count * (1 - opened) ** (40 - count)
    assert day.pmf == pytest.approx(expected, abs=1e-13)
    assert day.persons == 400


@settings(max_examples=40)
@given(
    pools=st.lists(st.sampled_from([1, 2, 3, 5, (2, 2), (3, 1)]), min_size=1, max_size=8),
    p=st.floats(0.001, 0.5),
)
def test_the_day_is_the_convolution_of_its_pools(pools, p):
    """The frequency domain gives what convolution gives, and the order of pools is irrelevant."""
    direct = np.ones(1)
    for pool in pools:
        direct = np.convolve(direct, pooling.pmf_of_tests(p, pool, REAL))
    day = pooling.day_tests(pools, p, REAL)
    assert day.pmf == pytest.approx(direct, abs=1e-13)
    assert pooling.day_tests(pools[::-1], p, REAL).pmf == pytest.approx(day.pmf, abs=1e-14)
    assert day.mean == pytest.approx(sum(pooling.tree_performance(p, pool, REAL).tests for pool in pools))


def test_a_large_day():
    """2,000 pools of ten and a remainder of four: mean and spread are those of the parts."""
    day = pooling.day_tests([10] * 2000 + [4], 0.01, REAL)
    parts = [(pooling.pmf_of_tests(0.01, size, REAL), times) for size, times in ((10, 2000), (4, 1))]
    means = [float(np.arange(pmf.size) @ pmf) for pmf, _ in parts]
    squares = [float(np.arange(pmf.size) ** 2 @ pmf) for pmf, _ in parts]
    mean = means[0] * 2000 + means[1]
    variance = (squares[0] - means[0] ** 2) * 2000 + squares[1] - means[1] ** 2
    assert day.mean == pytest.approx(mean, rel=1e-10)
    assert day.sd == pytest.approx(math.sqrt(variance), rel=1e-8)
    assert day.pmf.sum() == pytest.approx(1, abs=1e-12)
    assert (day.pmf >= 0).all()
    assert day.persons == 20_004
    assert day.quantile(0.5) == pytest.approx(mean, abs=20)
    assert day.quantile(0.95) == pytest.approx(mean + 1.645 * day.sd, abs=15)


def test_quantiles_are_the_smallest_number_that_is_enough():
    """One pool of two at 50 %: 1 test with 1/4, 3 tests with 3/4."""
    day = pooling.day_tests([2], 0.5)
    assert day.pmf == pytest.approx([0, 0.25, 0, 0.75])
    assert [day.quantile(share) for share in (0.01, 0.25, 0.26, 0.99)] == [1, 1, 3, 3]
    assert [day.more_than(tests) for tests in (-5, 0, 1, 2, 3)] == pytest.approx([1, 1, 0.75, 0.75, 0])
    assert day.mean == 2.5
    assert day.sd == pytest.approx(math.sqrt(0.75))
    sure = pooling.day_tests([1, 1, 1], 0.1)
    assert (sure.mean, sure.sd, sure.quantile(0.999)) == (pytest.approx(3), pytest.approx(0, abs=1e-6), 3)
    assert pooling.day_tests([], 0.1).quantile(0.5) == 0


def test_pools_of_a_day():
    """Two stages cut the remainder well, three stages fill full pools, one stage pools nothing."""
    assert pooling.pools_of_day(94, 20, 0.01) == (11,) * 4 + (10,) * 5
    assert pooling.pools_of_day(37, 16, 0.01, stages=3) == ((4, 4, 4, 4), (4, 4, 4, 4), (2, 2, 1))
    assert pooling.pools_of_day(19, 16, 0.01, stages=3)[1] == 3
    assert pooling.pools_of_day(33, 16, 0.01, stages=3)[2] == 1
    assert pooling.pools_of_day(32, 16, 0.01, stages=3) == ((4, 4, 4, 4),) * 2
    assert pooling.pools_of_day(3, 10, 0.01, stages=1) == (1, 1, 1)
    assert pooling.pools_of_day(3, 1, 0.01) == (1, 1, 1)
    stages = (Accuracy(0.9), Accuracy(0.95), Accuracy(0.99))
    day = pooling.day_tests(pooling.pools_of_day(37, 16, 0.01, stages, 3), 0.01, stages)
    expected = (
        2 * pooling.three_stage(0.01, (4, 4, 4, 4), stages).tests
        + pooling.three_stage(0.01, pooling.best_parts(0.01, 5, stages), stages).tests
    )
    assert day.mean == pytest.approx(expected)


def cost_of(risks, groups, accuracy=pooling.PERFECT):
    """Expected tests of given groups of persons."""
    total = 0.0
    for group in groups:
        clean = math.prod(1 - risks[place] for place in group)
        se, sp = accuracy.pool_sensitivity(len(group)), accuracy.specificity
        total += 1 if len(group) == 1 else 1 + len(group) * (se * (1 - clean) + (1 - sp) * clean)
    return total


def set_partitions(places):
    """Every way to put persons into groups."""
    if not places:
        yield []
        return
    first, *rest = places
    for mask in product((0, 1), repeat=len(rest)):
        group = [first, *(place for place, taken in zip(rest, mask, strict=True) if taken)]
        left = [place for place, taken in zip(rest, mask, strict=True) if not taken]
        for others in set_partitions(left):
            yield [group, *others]


def test_ten_persons_of_the_reference():
    """Ten risks from .002 to .10: one pool 3.064, 6 + 4 2.917, and the optimum 7 + 3 2.856."""
    order = sorted(range(10), key=lambda place: TEN[place])
    assert cost_of(TEN, [order]) == pytest.approx(3.064, abs=5e-4)
    assert cost_of(TEN, [order[:6], order[6:]]) == pytest.approx(2.917, abs=5e-4)
    found = pooling.split_risks(TEN, 10)
    assert [len(pool) for pool in found.pools] == [7, 3]
    assert found.expected_tests == pytest.approx(2.856, abs=6e-4)
    assert set(found.pools[1]) == {0, 2, 4} or set(found.pools[1]) == {0, 2, 6}
    assert max(TEN[place] for place in found.pools[0]) <= min(TEN[place] for place in found.pools[1])


@settings(max_examples=25)
@given(
    risks=st.lists(st.floats(0.001, 0.6), min_size=1, max_size=6),
    cap=st.integers(1, 6),
    se=st.floats(0.6, 1),
    sp=st.floats(0.6, 1),
    dilution=st.booleans(),
)
def test_no_partition_at_all_is_cheaper(risks, cap, se, sp, dilution):
    """Against every partition of up to six persons, ordered or not, dilution or not: none costs less."""
    accuracy = Accuracy(se, sp, {2: 0.95, 6: 0.8} if dilution else None)
    if accuracy.pool_sensitivity(6) + sp < 1:
        return
    found = pooling.split_risks(risks, cap, accuracy)
    best = min(
        cost_of(risks, groups, accuracy)
        for groups in set_partitions(list(range(len(risks))))
        if max(map(len, groups)) <= cap
    )
    assert found.expected_tests == pytest.approx(best, abs=1e-9)
    assert cost_of(risks, found.pools, accuracy) == pytest.approx(best, abs=1e-9)
    assert sorted(place for pool in found.pools for place in pool) == list(range(len(risks)))
    assert max(map(len, found.pools)) <= cap


@settings(max_examples=25)
@given(risks=st.lists(st.floats(0.001, 0.6), min_size=1, max_size=12), seed=st.randoms())
def test_the_order_of_persons_is_irrelevant(risks, seed):
    """Shuffled persons cost the same."""
    shuffled = list(risks)
    seed.shuffle(shuffled)
    assert pooling.split_risks(shuffled, 8).expected_tests == pytest.approx(
        pooling.split_risks(risks, 8).expected_tests
    )


def test_equal_risks_give_the_pools_of_equal_tubes():
    """With one risk for all the informative split costs what the plain one does."""
    assert pooling.split_risks([0.01] * 94, 20).expected_tests == pytest.approx(
        pooling.split_tubes(94, 0.01, 20).expected_tests
    )
    assert pooling.split_risks([], 5) == pooling.RiskSplit((), 0.0)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        pytest.param(lambda: pooling.split_risks([0.0], 5), "BAD_PREVALENCE", id="risk-0"),
        pytest.param(lambda: pooling.split_risks([0.1], 0), "BAD_SIZE", id="no-pool"),
        pytest.param(
            lambda: pooling.split_risks([0.1, 0.2], 2, Accuracy(0.5, 0.4)),
            "BAD_ACCURACY",
            id="worse-than-chance",
        ),
        pytest.param(lambda: pooling.day_tests([2], 0.1).quantile(1.0), "BAD_SHARE", id="share-1"),
        pytest.param(lambda: pooling.day_tests([2], 0.1).quantile(0.0), "BAD_SHARE", id="share-0"),
        pytest.param(lambda: pooling.pools_of_day(10, 5, 0.1, stages=4), "BAD_STAGES", id="four-stages"),
        pytest.param(lambda: pooling.day_tests([0], 0.1), "BAD_LAYOUT", id="empty-pool"),
        pytest.param(lambda: pooling.split_tubes(5, 0.1, 0), "BAD_SIZE", id="no-size"),
        pytest.param(lambda: pooling.split_tubes(5, 1.0, 4), "BAD_PREVALENCE", id="all-infected"),
    ],
)
def test_impossible_days_are_refused(call, code):
    """A question about a day without an answer gets a code."""
    with pytest.raises(PoolDesignError) as caught:
        call()
    assert caught.value.code == code


def test_the_accuracy_of_the_assay_cuts_the_day():
    """Pools of a day follow the accuracy given, also in pools of two."""
    weak = Accuracy(0.9, 0.8)
    assert pooling.pools_of_day(30, 20, 0.01, weak) == pooling.split_tubes(30, 0.01, 20, weak).sizes
    assert pooling.pools_of_day(30, 20, 0.01, weak) != pooling.pools_of_day(30, 20, 0.01)
    assert pooling.pools_of_day(4, 2, 0.01) == (2, 2)


def test_a_test_as_good_as_chance_is_counted():
    """Se + Sp of exactly 1 says nothing and is no error: a coin opens the pool of three, 1 + 3/2 tests."""
    found = pooling.split_risks([0.1, 0.2, 0.3], 3, Accuracy(0.5, 0.5))
    assert (found.pools, found.expected_tests) == (((0, 1, 2),), pytest.approx(2.5))


def test_a_day_without_tubes_takes_no_test():
    """Nothing to test: no test is certain, none is too many."""
    day = pooling.day_tests([], 0.1)
    assert (day.persons, day.mean, day.quantile(0.9)) == (0, 0.0, 0)
    assert (day.more_than(-1), day.more_than(0)) == (1.0, 0.0)
