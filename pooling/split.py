"""A day's tubes cut into pools: by number, by each person's own risk, and how many tests the day takes."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np

from pooling.hierarchy import Array, Tree, best_parts, cheapest_cut, persons, pmf_of_tests
from pooling.size import PERFECT, PoolDesignError, Stages, check_prevalence, check_size, per_stage, two_stage


@dataclass(frozen=True, slots=True)
class Split:
    """A number of tubes cut into pools: sizes, largest first, and the tests expected for all of them."""

    sizes: tuple[int, ...]
    expected_tests: float


def split_tubes(tubes: int, prevalence: float, max_size: int, accuracy: Stages = PERFECT) -> Split:
    """The cheapest set of two-stage pools for exactly this many tubes, none larger than `max_size`.

    94 tubes at 1 %: 4 x 11 + 5 x 10 = 18.386 tests, where nine tens and a four would cost 18.763.
    """
    check_prevalence(prevalence)
    check_size(max_size)
    if tubes < 0:
        raise PoolDesignError("BAD_SIZE", f"The number of tubes cannot be {tubes}.")
    reach = range(1, min(max_size, max(tubes, 1)) + 1)
    costs = [two_stage(prevalence, size, accuracy).tests for size in reach]
    return Split(*cheapest_cut(tubes, costs))


def pools_of_day(
    tubes: int, size: int, prevalence: float, accuracy: Stages = PERFECT, stages: int = 2
) -> tuple[Tree, ...]:
    """The pools that a day of so many tubes is tested in, for `day_tests`.

    Two stages: the cheapest pools up to `size`. Three: full pools of `size`, each split in its cheapest way,
    and one smaller pool for the remainder.

    Raises:
        PoolDesignError: `BAD_STAGES`, `BAD_SIZE`, `BAD_PREVALENCE`.
    """
    if stages not in (1, 2, 3):
        raise PoolDesignError("BAD_STAGES", f"Stages are 1, 2 or 3, not {stages}.")
    if stages == 1 or size == 1:
        return (1,) * tubes
    if stages == 2:
        return split_tubes(tubes, prevalence, size, accuracy).sizes
    full, left = divmod(tubes, size)
    rest = (_cheapest_tree(left, prevalence, accuracy),) if left else ()
    return (_cheapest_tree(size, prevalence, accuracy),) * full + rest


def _cheapest_tree(size: int, prevalence: float, accuracy: Stages) -> Tree:
    if size == 1:
        return 1
    parts = best_parts(prevalence, size, accuracy)
    return size if max(parts) == 1 else parts


@dataclass(frozen=True, slots=True)
class RiskSplit:
    """Persons cut into pools by their own risk.

    Attributes:
        pools: places in the given list of risks, lowest risk first; a pool of one is tested singly.
        expected_tests: for all pools.
    """

    pools: tuple[tuple[int, ...], ...]
    expected_tests: float


def split_risks(risks: Sequence[float], max_size: int, accuracy: Stages = PERFECT) -> RiskSplit:
    """The cheapest two-stage pools for persons with different risks: no other partition costs less.

    Persons are sorted by risk and the sorted line is cut by dynamic programming. That an optimal partition
    is ordered was proved by Hwang (1975) for perfect tests. It holds here too: for two pools of given sizes
    the tests are a constant minus w_a Q_a + w_b Q_b with w >= 0, Q_a the chance that nobody in a is infected
    and Q_a Q_b fixed, a convex function of log Q_a, so its best is at an end: one pool takes the lowest
    risks. (Se + Sp >= 1 is needed for w >= 0.) Ten persons of the reference: 7 + 3, 2.856 tests.

    Args:
        risks: probability of infection of each person, each in (0, 1).
        max_size: largest pool.
        accuracy: one, or one per stage.

    Raises:
        PoolDesignError: `BAD_PREVALENCE`, `BAD_SIZE`, or `BAD_ACCURACY` when Se + Sp < 1.
    """
    check_size(max_size)
    for risk in risks:
        check_prevalence(risk)
    first, _ = per_stage(accuracy, 2)
    se = np.array([first.pool_sensitivity(size) for size in range(1, min(max_size, len(risks)) + 1)])
    weight = se + first.specificity - 1
    if (weight < 0).any():
        raise PoolDesignError("BAD_ACCURACY", "A test with Se + Sp below 1 is worse than chance.")
    order = sorted(range(len(risks)), key=lambda place: (risks[place], place))
    log_clean = np.concatenate(([0.0], np.cumsum(np.log1p([-risks[place] for place in order]))))
    least, first_of = np.zeros(len(risks) + 1), np.zeros(len(risks) + 1, dtype=int)
    for end in range(1, len(risks) + 1):
        sizes = np.arange(1, min(se.size, end) + 1)
        clean = np.exp(log_clean[end] - log_clean[end - sizes])
        costs = 1 + sizes * (se[sizes - 1] - weight[sizes - 1] * clean)
        costs[0] = 1.0
        sums = costs + least[end - sizes]
        first_of[end] = end - sizes[int(np.argmin(sums))]
        least[end] = sums.min()
    return RiskSplit(_walk_back(order, first_of), float(least[-1]))


def _walk_back(order: Sequence[int], first_of: np.ndarray) -> tuple[tuple[int, ...], ...]:
    pools, end = [], len(order)
    while end:
        start = int(first_of[end])
        pools.append(tuple(order[start:end]))
        end = start
    return tuple(reversed(pools))


@dataclass(frozen=True, slots=True)
class DayTests:
    """How many tests a day's pools take.

    Attributes:
        persons: persons in all pools.
        pmf: probability of each number of tests, shape (most tests + 1,).
    """

    persons: int
    pmf: Array

    @property
    def mean(self) -> float:
        """Expected number of tests."""
        return float(np.arange(self.pmf.size) @ self.pmf)

    @property
    def sd(self) -> float:
        """Standard deviation of the number of tests."""
        away = np.arange(self.pmf.size) - self.mean
        return sqrt(max(float((away * away) @ self.pmf), 0.0))

    def quantile(self, share: float) -> int:
        """The smallest number of tests that is enough on this share of days.

        Raises:
            PoolDesignError: `BAD_SHARE` unless 0 < share < 1.
        """
        if not 0 < share < 1:
            raise PoolDesignError("BAD_SHARE", f"A share of days lies between 0 and 1, not {share}.")
        return min(int(np.searchsorted(np.cumsum(self.pmf), share - 1e-12)), self.pmf.size - 1)

    def more_than(self, tests: int) -> float:
        """Probability that more tests than this are needed."""
        return float(self.pmf[max(tests + 1, 0) :].sum())


def day_tests(pools: Iterable[Tree], prevalence: float, accuracy: Stages = PERFECT) -> DayTests:
    """Exact distribution of the tests for many independent pools, equal or not (a remainder is one more).

    The distribution of each kind of pool is multiplied with itself in the frequency domain, so a day of
    thousands of pools takes milliseconds. Rounding stays below 1e-12 of probability, far below any quantile
    a laboratory plans with.

    Args:
        pools: one entry per pool, such as `[10] * 200 + [4]`; see `Tree` for more stages.
        prevalence: share of infected persons.
        accuracy: of every test, or one per stage of the pool with the most stages.
    """
    counts = Counter(pools)
    kinds = [(pmf_of_tests(prevalence, tree, accuracy), times) for tree, times in counts.items()]
    sure = sum(counts.values())  # every pool takes its first test; leaving it out keeps certainties exact
    kinds = [(pmf[1:], times) for pmf, times in kinds]
    length = 1 + sum((pmf.size - 1) * times for pmf, times in kinds)
    size = 1 << (length - 1).bit_length()
    together = np.ones(size // 2 + 1, dtype=complex)
    for pmf, times in kinds:
        together *= np.fft.rfft(pmf, size) ** times
    found = np.clip(np.fft.irfft(together, size)[:length], 0.0, None)
    everybody = sum(persons(tree) * times for tree, times in counts.items())
    return DayTests(everybody, np.concatenate((np.zeros(sure), found / found.sum())))
