"""What a pool costs and what it finds: exact closed forms, imperfect assays included.

Source: Dorfman (1943). Hierarchies of more stages are in `hierarchy`, arrays in `arrays`. Persons are
independent with the same prevalence; an assay is right or wrong independently at every test. Nothing here
is simulated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log2


class PoolDesignError(ValueError):
    """A question about pools that has no answer.

    Attributes:
        code: machine code of the error.
        zh: the sentence in Chinese, of rules that people write in a scenario; else empty.
    """

    def __init__(self, code: str, sentence: str, zh: str = "") -> None:
        super().__init__(sentence)
        self.code, self.zh = code, zh


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
        if not self.detection:
            return
        for size, value in self.detection.items():
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
        known = self.detection.get(size)
        return self.sensitivity * (self._between(size) if known is None else known)

    def _between(self, size: int) -> float:
        """Detection at a size that was not measured itself, over log2(size)."""
        shares = {1: 1.0, **(self.detection or {})}
        above = min((known for known in shares if known > size), default=0)
        if not above:
            raise PoolDesignError(
                "NO_DETECTION",
                f"Detection was measured up to pools of {max(shares)}, not of {size}. Measure it first.",
            )
        below = max(known for known in shares if known < size)
        way = log2(size / below) / log2(above / below)
        return shares[below] + way * (shares[above] - shares[below])


PERFECT = Accuracy()

Stages = Accuracy | Sequence[Accuracy]
"""One accuracy for every test, or one per stage: the first pool first, the single test of a specimen last.

A single test always has the accuracy of the last stage, also when a design reaches it early (a sub-pool of
one): what is in the tube decides, not how many tests came before it. Pools have that of their stage.
"""


def per_stage(accuracy: Stages, stages: int) -> tuple[Accuracy, ...]:
    """The accuracy of each of so many stages.

    Raises:
        PoolDesignError: `BAD_STAGES` when another number of accuracies is given.
    """
    if isinstance(accuracy, Accuracy):
        return (accuracy,) * stages
    if len(accuracy) != stages:
        raise PoolDesignError(
            "BAD_STAGES",
            f"{len(accuracy)} accuracies were given for {stages} stages. Give one, or one per stage.",
        )
    return tuple(accuracy)


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


def positive(clean: float, sensitivity: float, specificity: float) -> float:
    """Probability that a test reads positive when its content is all negative with probability `clean`."""
    return sensitivity * (1 - clean) + (1 - specificity) * clean


def two_stage(prevalence: float, size: int, accuracy: Stages = PERFECT) -> Performance:
    """Dorfman: one pool test; when it reads positive every member is tested singly.

    Tests = 1 + n [Se_n (1 - q^n) + (1 - Sp) q^n]; a positive must be read twice.
    """
    check_prevalence(prevalence)
    check_size(size)
    first, last = per_stage(accuracy, 2)
    if size == 1:
        return singly(last)
    q, sp = 1 - prevalence, first.specificity
    pool_se = first.pool_sensitivity(size)
    found = pool_se * last.sensitivity
    return Performance(
        persons=size,
        tests=1 + size * positive(q**size, pool_se, sp),
        sensitivity=found,
        lowest_sensitivity=found,
        specificity=1 - (1 - last.specificity) * positive(q ** (size - 1), pool_se, sp),
        layout=(1,) * size,
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
