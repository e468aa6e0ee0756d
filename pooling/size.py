"""What a pool costs and what it finds: exact closed forms, imperfect assays included.

Sources: Dorfman (1943) for two stages; Kim et al. (Biometrics 2007) for hierarchies and for square arrays
    without
a master pool, extended here to rectangles. Persons are independent with the same prevalence; an assay is
right or wrong independently at every test. Nothing here is simulated.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log2, prod

import numpy as np
from numpy.typing import NDArray


class PoolDesignError(ValueError):
    """A question about pools that has no answer.

    Attributes:
        code: machine code of the error.
    """

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How often one test is right.

    Attributes:
        sensitivity: share of positive single specimens found, 0 < value <= 1.
        specificity: share of negative specimens read negative, 0 < value <= 1.
        detection: pool size -> share of positive specimens still found when alone in a pool of that size
            (dilution). Between two given sizes it is interpolated over log2(size); a pool of one loses
            nothing. A pool with several positives is counted as if it had one: the loss is never understated.
    """

    sensitivity: float = 1.0
    specificity: float = 1.0
    detection: Mapping[int, float] | None = None

    def __post_init__(self) -> None:
        for name, value in (("sensitivity", self.sensitivity), ("specificity", self.specificity)):
            if not 0 < value <= 1:
                raise PoolDesignError("BAD_ACCURACY", f"The {name} must lie in (0, 1], not {value}.")
        for size, value in (self.detection or {}).items():
            if size < 2 or not 0 < value <= 1:
                raise PoolDesignError(
                    "BAD_DETECTION",
                    f"Detection needs pool sizes from 2 and shares in (0, 1], not {size}: {value}.",
                )

    def pool_sensitivity(self, size: int) -> float:
        """Sensitivity of one test on a pool of `size` persons that holds a positive one.

        Raises:
            PoolDesignError: `NO_DETECTION` when the size is larger than any size measured.
        """
        if size == 1 or not self.detection:
            return self.sensitivity
        sizes = [1, *sorted(self.detection)]
        if size > sizes[-1]:
            raise PoolDesignError(
                "NO_DETECTION",
                f"Detection was measured up to pools of {sizes[-1]}, not of {size}. Measure it first.",
            )
        shares = [1.0, *(self.detection[known] for known in sizes[1:])]
        return self.sensitivity * float(np.interp(log2(size), np.log2(sizes), shares))


PERFECT = Accuracy()


@dataclass(frozen=True, slots=True)
class Performance:
    """One way of testing, in expectation.

    Attributes:
        persons: persons tested together (pool size, or rows x columns).
        tests: expected number of tests for all of them.
        sensitivity: mean over persons; `lowest_sensitivity` is that of the worst placed person.
        specificity: mean over persons.
        layout: sizes of the sub-pools of the second stage; all 1 when members are tested singly at once.
    """

    persons: int
    tests: float
    sensitivity: float
    lowest_sensitivity: float
    specificity: float
    layout: tuple[int, ...] = ()

    @property
    def tests_per_person(self) -> float:
        """Expected tests per person."""
        return self.tests / self.persons


def check_prevalence(prevalence: float) -> None:
    """Raise `PoolDesignError` (`BAD_PREVALENCE`) unless 0 < prevalence < 1."""
    if not 0 < prevalence < 1:
        raise PoolDesignError(
            "BAD_PREVALENCE", f"The prevalence must lie between 0 and 1 (both excluded), not {prevalence}."
        )


def check_size(size: int) -> None:
    """Raise `PoolDesignError` (`BAD_SIZE`) when a pool has no member."""
    if size < 1:
        raise PoolDesignError("BAD_SIZE", f"A pool needs at least one member, not {size}.")


def break_even(size: int) -> float:
    """Prevalence above which two-stage pools of `size` cost more than single tests (perfect assay).

    1 - (1/n)^(1/n): 27.52 % for 5, 20.57 % for 10, 13.91 % for 20; the highest is 30.66 % for 3.
    """
    if size < 2:
        raise PoolDesignError("BAD_SIZE", f"Break-even is defined for pools of two or more, not {size}.")
    return float(1 - (1 / size) ** (1 / size))


NOTHING_HELPS_ABOVE = break_even(3)
"""No pool size saves tests above this prevalence (30.66 %)."""


def singly(accuracy: Accuracy = PERFECT) -> Performance:
    """Every specimen on its own: one test per person."""
    return Performance(1, 1.0, accuracy.sensitivity, accuracy.sensitivity, accuracy.specificity, (1,))


def _positive(clean: float, sensitivity: float, specificity: float) -> float:
    """Probability that a test reads positive when its content is all negative with probability `clean`."""
    return sensitivity * (1 - clean) + (1 - specificity) * clean


def two_stage(prevalence: float, size: int, accuracy: Accuracy = PERFECT) -> Performance:
    """Dorfman: one pool test; when it reads positive every member is tested singly.

    Tests = 1 + n [Se_n (1 - q^n) + (1 - Sp) q^n]; a positive must be read twice.
    """
    check_prevalence(prevalence)
    check_size(size)
    if size == 1:
        return singly(accuracy)
    q, sp = 1 - prevalence, accuracy.specificity
    pool_se = accuracy.pool_sensitivity(size)
    found = pool_se * accuracy.sensitivity
    return Performance(
        persons=size,
        tests=1 + size * _positive(q**size, pool_se, sp),
        sensitivity=found,
        lowest_sensitivity=found,
        specificity=1 - (1 - sp) * _positive(q ** (size - 1), pool_se, sp),
        layout=(1,) * size,
    )


def _both_positive(q: float, size: int, part: int, accuracy: Accuracy, *, member_negative: bool) -> float:
    """P(pool and sub-pool both read positive), given one member known negative when asked."""
    known = int(member_negative)
    sp, pool_se = accuracy.specificity, accuracy.pool_sensitivity(size)
    part_clean, rest_clean = q ** (part - known), q ** (size - part)
    return (
        (1 - part_clean) * pool_se * accuracy.pool_sensitivity(part)
        + part_clean * (1 - rest_clean) * pool_se * (1 - sp)
        + part_clean * rest_clean * (1 - sp) ** 2
    )


def _part_tests(q: float, size: int, part: int, accuracy: Accuracy) -> float:
    """Expected tests spent on one sub-pool of `part` after the first pool."""
    opened = _positive(q**size, accuracy.pool_sensitivity(size), accuracy.specificity)
    if part == 1:
        return opened
    return opened + part * _both_positive(q, size, part, accuracy, member_negative=False)


def three_stage(prevalence: float, parts: tuple[int, ...], accuracy: Accuracy = PERFECT) -> Performance:
    """A pool that is split into sub-pools of these sizes when positive; positive ones are tested singly.

    A part of one is tested singly at the second stage. All parts one is the two-stage design.

    Raises:
        PoolDesignError: `BAD_LAYOUT` with fewer than two parts or an empty part.
    """
    check_prevalence(prevalence)
    if len(parts) < 2 or min(parts) < 1:
        raise PoolDesignError(
            "BAD_LAYOUT", f"Three stages need two or more sub-pools of one or more: {parts}."
        )
    q, size, sp = 1 - prevalence, sum(parts), accuracy.specificity
    pool_se = accuracy.pool_sensitivity(size)
    found, cleared = [], []
    for part in parts:
        split = part > 1
        stages = (pool_se, accuracy.pool_sensitivity(part), accuracy.sensitivity)
        found.append(prod(stages) if split else pool_se * accuracy.sensitivity)
        reached = (
            _both_positive(q, size, part, accuracy, member_negative=True)
            if split
            else _positive(q ** (size - 1), pool_se, sp)
        )
        cleared.append(1 - (1 - sp) * reached)
    return Performance(
        persons=size,
        tests=1 + sum(_part_tests(q, size, part, accuracy) for part in parts),
        sensitivity=float(np.average(found, weights=parts)),
        lowest_sensitivity=min(found),
        specificity=float(np.average(cleared, weights=parts)),
        layout=parts,
    )


def best_parts(prevalence: float, size: int, accuracy: Accuracy = PERFECT) -> tuple[int, ...]:
    """The cheapest sub-pools of a positive pool of `size`, over all partitions (exact, by rod cutting)."""
    check_prevalence(prevalence)
    if size < 2:
        raise PoolDesignError("BAD_SIZE", f"A pool of {size} cannot be split.")
    q = 1 - prevalence
    return _cheapest_cut(size, lambda part: _part_tests(q, size, part, accuracy), size - 1)[0]


def _cheapest_cut(total: int, cost_of: Callable[[int], float], largest: int) -> tuple[tuple[int, ...], float]:
    """Cut `total` into parts of 1..largest at the least summed cost; larger parts first."""
    largest = min(largest, total)
    costs = np.array([cost_of(part) for part in range(1, largest + 1)])
    least, first = np.zeros(total + 1), np.zeros(total + 1, dtype=int)
    for length in range(1, total + 1):
        reach = min(largest, length)
        sums = costs[:reach] + least[length - reach : length][::-1]
        first[length] = int(np.argmin(sums)) + 1
        least[length] = sums[first[length] - 1]
    parts, left = [], total
    while left:
        parts.append(int(first[left]))
        left -= parts[-1]
    return tuple(sorted(parts, reverse=True)), float(least[total])


@dataclass(frozen=True, slots=True)
class Split:
    """A number of tubes cut into pools: sizes, largest first, and the tests expected for all of them."""

    sizes: tuple[int, ...]
    expected_tests: float


def split_tubes(tubes: int, prevalence: float, max_size: int, accuracy: Accuracy = PERFECT) -> Split:
    """The cheapest set of two-stage pools for exactly this many tubes, none larger than `max_size`.

    94 tubes at 1 %: 4 x 11 + 5 x 10 = 18.386 tests, where nine tens and a four would cost 18.763.
    """
    check_prevalence(prevalence)
    check_size(max_size)
    if tubes < 0:
        raise PoolDesignError("BAD_SIZE", f"The number of tubes cannot be {tubes}.")
    sizes, tests = _cheapest_cut(tubes, lambda size: two_stage(prevalence, size, accuracy).tests, max_size)
    return Split(sizes, tests)


def _line_alone(q: float, line: int, other: int, accuracy: Accuracy, cell: float | None) -> float:
    """P(a line reads positive while every crossing line reads negative), per state of the asked cell.

    Args:
        q: 1 - prevalence.
        line: members of the line, which is also the number of crossing lines.
        other: members of each crossing line.
        accuracy: of one test.
        cell: 0.0 when the asked person is negative, 1.0 when positive.
    """
    sp, line_se, cross_se = (
        accuracy.specificity,
        accuracy.pool_sensitivity(line),
        accuracy.pool_sensitivity(other),
    )
    silent = q ** (other - 1) * sp + (1 - q ** (other - 1)) * (1 - cross_se)
    any_silent = q * silent + (1 - q) * (1 - cross_se)
    if cell:
        return line_se * (1 - cross_se) * any_silent ** (line - 1)
    all_clean = (q * silent) ** (line - 1)
    return silent * ((1 - sp) * all_clean + line_se * (any_silent ** (line - 1) - all_clean))


def array(prevalence: float, rows: int, columns: int, accuracy: Accuracy = PERFECT) -> Performance:
    """Rows and columns pooled, no master pool; crossings of positive lines are tested singly.

    When lines of one direction read positive and none of the other does, all members of those lines are
    tested.
    """
    check_prevalence(prevalence)
    if min(rows, columns) < 2:
        raise PoolDesignError("BAD_SIZE", f"An array needs two rows and two columns, not {rows} x {columns}.")
    q, sp = 1 - prevalence, accuracy.specificity
    row_se, column_se = accuracy.pool_sensitivity(columns), accuracy.pool_sensitivity(rows)
    crossing = _positive(q ** (columns - 1), row_se, sp) * _positive(q ** (rows - 1), column_se, sp)
    asked = {
        cell: both
        + _line_alone(q, columns, rows, accuracy, cell)
        + _line_alone(q, rows, columns, accuracy, cell)
        for cell, both in ((0.0, crossing), (1.0, row_se * column_se))
    }
    persons = rows * columns
    found = accuracy.sensitivity * asked[1.0]
    return Performance(
        persons=persons,
        tests=rows + columns + persons * (q * asked[0.0] + prevalence * asked[1.0]),
        sensitivity=found,
        lowest_sensitivity=found,
        specificity=1 - (1 - sp) * asked[0.0],
    )


def predictive_values(prevalence: float, sensitivity: float, specificity: float) -> tuple[float, float]:
    """(PPV, NPV) of a procedure at this prevalence, by Bayes."""
    check_prevalence(prevalence)
    true_positive, false_positive = prevalence * sensitivity, (1 - prevalence) * (1 - specificity)
    true_negative, false_negative = (1 - prevalence) * specificity, prevalence * (1 - sensitivity)
    return (
        true_positive / (true_positive + false_positive),
        true_negative / (true_negative + false_negative),
    )


def detection_by_size(cqs: NDArray[np.float64], cutoff: float, sizes: tuple[int, ...]) -> dict[int, float]:
    """Share of singly positive specimens (Cq <= cutoff) still at or below the cutoff after a log2(n) shift.

    Args:
        cqs: Cq of single specimens, shape (specimens,); NaN and later than the cutoff are no positives.
        cutoff: last positive Cq.
        sizes: pool sizes of two or more.
    """
    positive = np.sort(cqs[cqs <= cutoff])
    if positive.size == 0:
        raise PoolDesignError("NO_POSITIVES", f"No specimen is at or below the cutoff {cutoff}.")
    return {
        size: float(np.searchsorted(positive, cutoff - log2(size), side="right") / positive.size)
        for size in sizes
    }
