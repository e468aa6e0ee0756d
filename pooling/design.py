"""The best pool under a sensitivity floor and a cap, and why the others were refused."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, sqrt

from pooling.arrays import array as array_performance
from pooling.hierarchy import best_parts, three_stage
from pooling.size import (
    Accuracy,
    Performance,
    PoolDesignError,
    check_prevalence,
    check_size,
    predictive_values,
    singly,
    two_stage,
)
from pooling.volume import Volume

DEFAULT_CAP = 32
LARGEST_CAP = 1000
ROUNDING = 1e-12  # .9 * .9 must pass a floor of .81
FLOOR_SHARE = 0.85
"""Without a floor of its own a pool must keep 85 % of single sensitivity: FDA's agreement limit for pools."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Sizes `size` to `last` not taken, with the reason a person can check (figures are those of `size`).

    `code` is one of ABOVE_CAP, NOT_VALIDATED, SMALL_ALIQUOT, SHORT_VOLUME, BELOW_FLOOR, NO_SAVING,
    MISSED_POOLS.
    """

    size: int
    last: int
    code: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Design:
    """A way of testing and what to expect of it.

    Attributes:
        size: persons per first pool (rows x columns for an array; 1 = every specimen singly).
        stages: stages really used, 1 to 3.
        tests_per_person: expected tests per person.
        sensitivity, specificity: of the whole procedure, mean over persons.
        ppv, npv: predictive values at the given prevalence.
        expected_tests: expected tests for one pool (or array) of `size`.
        saving: 1 - tests_per_person; negative when pooling costs more than single tests.
        refused: sizes not taken; for a size that was asked for, what speaks against it.
        layout: sub-pool sizes of the second stage.
        array: rows and columns, or None.
        master: the array has a master pool.
    """

    size: int
    stages: int
    tests_per_person: float
    sensitivity: float
    specificity: float
    ppv: float
    npv: float
    expected_tests: float
    saving: float
    refused: tuple[Refused, ...]
    layout: tuple[int, ...]
    array: tuple[int, int] | None
    master: bool = False


@dataclass(frozen=True, slots=True)
class _Question:
    prevalence: float
    accuracy: tuple[Accuracy, ...]
    stages: int
    cap: int
    validated: int
    floor: float
    volume: Volume | None


def design(  # noqa: PLR0913  one question with many optional sides; all but the first are named
    prevalence: float,
    *,
    size: int | None = None,
    sensitivity: float | Sequence[float] = 1.0,
    specificity: float | Sequence[float] = 1.0,
    stages: int = 2,
    array: tuple[int, int] | None = None,
    master: bool = False,
    max_size: int = DEFAULT_CAP,
    validated: int | None = None,
    min_sensitivity: float | None = None,
    detection: Mapping[int, float] | None = None,
    volume: Volume | None = None,
) -> Design:
    """Expected cost and accuracy of a pool, or of the best pool under a floor and a cap.

    Without `size` and `array` every size up to `max_size` is weighed; the cheapest that keeps the floor
    and saves tests wins. A size that only "saves" because positive pools are missed is refused: fewer
    tests through more missed persons is no saving. With `size` or `array` that one is computed, and
    `refused` says what is against it.

    Args:
        prevalence: share of infected persons, 0 < p < 1.
        size: pool size to compute instead of searching.
        sensitivity: of one test of one specimen; or one value per stage, first pool first.
        specificity: of one test of one specimen; or one value per stage.
        stages: 1 (singly), 2 (Dorfman) or 3 (the cheapest sub-pools are found for each size).
        array: rows and columns instead of a hierarchy.
        master: test one pool of the whole array first.
        max_size: the largest pool the laboratory wants to make.
        validated: the largest pool the assay was validated for; without it `max_size` alone counts.
        min_sensitivity: lowest acceptable sensitivity of the procedure for any person; without it 85 % of
            the sensitivity of a single test.
        detection: see `Accuracy.detection` (dilution); the search ends at the largest size measured.
        volume: of liquid in a tube and needed by the tests; sizes it does not suffice for are refused.

    Raises:
        PoolDesignError: when the question makes no sense; `code` and sentence say why.
    """
    check_prevalence(prevalence)
    used = stages if array is None else 2 + master
    accuracy = _accuracies(sensitivity, specificity, used, detection)
    cap = min(max_size, max(detection)) if detection else max_size
    floor = FLOOR_SHARE * accuracy[-1].sensitivity if min_sensitivity is None else min_sensitivity
    asked = _Question(prevalence, accuracy, stages, cap, validated or LARGEST_CAP, floor, volume)
    _check(asked, size, validated)
    if array is not None:
        if size is not None:
            raise PoolDesignError("SIZE_AND_ARRAY", "Give a pool size or an array, not both.")
        return _of_array(asked, array, master=master)
    if master:
        raise PoolDesignError("MASTER_ALONE", "A master pool belongs to an array. Give rows and columns.")
    return _best(asked) if size is None else _of_size(asked, size)


def _accuracies(
    sensitivity: float | Sequence[float],
    specificity: float | Sequence[float],
    stages: int,
    detection: Mapping[int, float] | None,
) -> tuple[Accuracy, ...]:
    """One accuracy per stage, whichever of the two was given per stage."""
    if isinstance(sensitivity, (int, float)) and isinstance(specificity, (int, float)):
        return (Accuracy(sensitivity, specificity, detection),) * stages
    per_stage = []
    for name, given in (("sensitivity", sensitivity), ("specificity", specificity)):
        values = [given] * stages if isinstance(given, (int, float)) else list(given)
        if len(values) != stages:
            raise PoolDesignError(
                "BAD_STAGES",
                f"{len(values)} values of {name} for {stages} stages. Give one, or one per stage.",
            )
        per_stage.append(values)
    return tuple(Accuracy(se, sp, detection) for se, sp in zip(*per_stage, strict=True))


def _check(asked: _Question, size: int | None, validated: int | None) -> None:
    if asked.stages not in (1, 2, 3):
        raise PoolDesignError("BAD_STAGES", f"Stages are 1, 2 or 3, not {asked.stages}.")
    if not 1 <= asked.cap <= LARGEST_CAP:
        raise PoolDesignError("BAD_CAP", f"The cap must lie between 1 and {LARGEST_CAP}, not {asked.cap}.")
    if validated is not None and validated < 1:
        raise PoolDesignError("BAD_CAP", f"The validated pool size is 1 or more, not {validated}.")
    if not 0 <= asked.floor <= 1:
        raise PoolDesignError(
            "BAD_FLOOR", f"The sensitivity floor must lie between 0 and 1, not {asked.floor}."
        )
    if size is None:
        return
    check_size(size)
    if size > LARGEST_CAP or (asked.stages == 1 and size > 1):
        raise PoolDesignError("BAD_SIZE", f"A pool of {size} is not possible with {asked.stages} stage(s).")


def _hierarchy(asked: _Question, size: int) -> Performance:
    if asked.stages == 1 or size == 1:
        return singly(asked.accuracy[-1])
    if asked.stages == 2:
        return two_stage(asked.prevalence, size, asked.accuracy)
    parts = best_parts(asked.prevalence, size, asked.accuracy, asked.floor - ROUNDING)
    return three_stage(asked.prevalence, parts, asked.accuracy)


@dataclass(frozen=True, slots=True)
class _Shape:
    """An array; `pools` are the sizes of the pools one tube enters."""

    rows: int
    columns: int
    master: bool

    @property
    def pools(self) -> tuple[int, ...]:
        lines = (self.rows, self.columns)
        return (self.rows * self.columns, *lines) if self.master else lines


def _pools(found: Performance, shape: _Shape | None) -> tuple[int, ...]:
    """Sizes of the pools that the tube which gives most enters."""
    if shape is not None:
        return shape.pools
    parts = [part for part in found.layout if part > 1]
    return (found.persons, min(parts)) if parts else (found.persons,)


def _if_none_were_missed(asked: _Question, found: Performance, shape: _Shape | None) -> float:
    """Tests per person of the same layout if every positive pool were recognised.

    In a hierarchy every term of the tests grows at most by the sensitivities it was multiplied with, and
    their product is never below the lowest sensitivity of the procedure. When that bound is below 1 it is
    enough, and saves the second calculation.
    """
    bound = (1 + (found.tests - 1) / found.lowest_sensitivity) / found.persons
    if shape is None and bound < 1:
        return bound
    certain = tuple(Accuracy(1.0, one.specificity) for one in asked.accuracy)
    if shape is not None:
        sure = array_performance(asked.prevalence, shape.rows, shape.columns, certain, master=shape.master)
        return sure.tests_per_person
    if asked.stages == 2:
        return two_stage(asked.prevalence, found.persons, certain).tests_per_person
    return three_stage(asked.prevalence, found.layout, certain).tests_per_person


@dataclass(frozen=True, slots=True)
class _Objection:
    size: int
    code: str
    why: str


def _objections(asked: _Question, found: Performance, shape: _Shape | None = None) -> tuple[_Objection, ...]:
    """What speaks against this way of testing; nothing speaks against testing singly."""
    if found.persons == 1:
        return ()
    pools = _pools(found, shape)
    against = [*_against_pools(asked, pools)]
    if found.lowest_sensitivity < asked.floor - ROUNDING:
        against.append(
            (
                "BELOW_FLOOR",
                f"finds {found.lowest_sensitivity:.2%} of the infected, the floor is {asked.floor:.2%}",
            )
        )
    if found.tests_per_person >= 1:
        against.append(
            ("NO_SAVING", f"{found.tests_per_person:.4f} tests per person where single testing needs 1")
        )
    elif (honest := _if_none_were_missed(asked, found, shape)) >= 1:
        against.append(
            (
                "MISSED_POOLS",
                f"saves only by missing positive pools; if none was missed: {honest:.4f} tests per person",
            )
        )
    return tuple(_Objection(found.persons, code, why) for code, why in against)


def _against_pools(asked: _Question, pools: Sequence[int]) -> Iterable[tuple[str, str]]:
    """What the cap, the validation of the assay and the liquid say against pools of these sizes."""
    largest = max(pools)
    if largest > asked.cap:
        yield "ABOVE_CAP", f"a pool of {largest} is above the cap of {asked.cap}"
    if largest > asked.validated:
        yield (
            "NOT_VALIDATED",
            f"a pool of {largest} was not validated; the assay is validated up to {asked.validated}",
        )
    if asked.volume is not None and (short := asked.volume.objection(pools)):
        yield short


def _unlimited(asked: _Question) -> tuple[_Objection, ...]:
    """The size cheapest without the cap (perfect assay, two stages), when the cap forbids it."""
    reach = min(LARGEST_CAP, ceil(2 / sqrt(asked.prevalence)) + 2)
    best = min(range(1, reach + 1), key=lambda size: two_stage(asked.prevalence, size).tests_per_person)
    if best <= asked.cap:
        return ()
    why = f"cheapest of all with a perfect assay, but above the cap of {asked.cap}"
    return (_Objection(best, "ABOVE_CAP", why),)


def _said(objections: Iterable[_Objection]) -> tuple[Refused, ...]:
    """Objections in words; neighbouring sizes with the same objection become one entry."""
    runs: list[tuple[_Objection, int]] = []
    for one in sorted(objections, key=lambda objection: (objection.code, objection.size)):
        if runs and (runs[-1][0].code, runs[-1][1] + 1) == (one.code, one.size):
            runs[-1] = (runs[-1][0], one.size)
        else:
            runs.append((one, one.size))
    runs.sort(key=lambda run: (run[0].size, run[0].code))
    return tuple(Refused(first.size, last, first.code, _sentence(first, last)) for first, last in runs)


def _sentence(first: _Objection, last: int) -> str:
    if last == first.size:
        return f"Size {first.size}: {first.why}."
    return f"Sizes {first.size} to {last}: at {first.size}, {first.why}."


def _best(asked: _Question) -> Design:
    best = singly(asked.accuracy[-1])
    refused: list[_Objection] = []
    for size in range(2, asked.cap + 1 if asked.stages > 1 else 2):
        found = _hierarchy(asked, size)
        against = _objections(asked, found)
        refused.extend(against)
        if not against and found.tests_per_person < best.tests_per_person:
            best = found
    beyond = _unlimited(asked) if asked.stages > 1 else ()
    return _design(asked, best, _said((*refused, *beyond)))


def _of_size(asked: _Question, size: int) -> Design:
    found = _hierarchy(asked, size)
    return _design(asked, found, _said(_objections(asked, found)))


def _of_array(asked: _Question, lines: tuple[int, int], *, master: bool) -> Design:
    shape = _Shape(*lines, master)
    found = array_performance(asked.prevalence, *lines, asked.accuracy, master=master)
    return _design(asked, found, _said(_objections(asked, found, shape)), shape)


def _stages_used(found: Performance, shape: _Shape | None) -> int:
    if shape is not None:
        return 2 + shape.master
    if found.persons == 1:
        return 1
    return 3 if any(part > 1 for part in found.layout) else 2


def _design(
    asked: _Question,
    found: Performance,
    refused: tuple[Refused, ...],
    shape: _Shape | None = None,
) -> Design:
    ppv, npv = predictive_values(asked.prevalence, found.sensitivity, found.specificity)
    return Design(
        size=found.persons,
        stages=_stages_used(found, shape),
        tests_per_person=found.tests_per_person,
        sensitivity=found.sensitivity,
        specificity=found.specificity,
        ppv=ppv,
        npv=npv,
        expected_tests=found.tests,
        saving=1 - found.tests_per_person,
        refused=refused,
        layout=found.layout,
        array=(shape.rows, shape.columns) if shape else None,
        master=bool(shape and shape.master),
    )
