"""How much work retests make: closed forms, the same numbers that a simulated day must meet.

One person's tube, per tube and as a sum of what is expected: the first well; for an invalid one, a second
well after extraction; for a grey one, its repeats; for a positive one, its confirmations; all of it
divided by the share of plates that count::

    wells = (1 + iv + (1 - iv) * (grey * repeats + positive * confirmations)) / (1 - failed)
    grey = (1 - p) * g0 + p * g1,     positive = p * (1 - g1)

A tube of n persons mixed at collection (or a laboratory pool of n) is sent back when it is not negative, or
invalid again after extraction::

    flagged = 1 - (1 - p)^n * (1 - g0)
    back = (1 - iv) * flagged + iv * (again + (1 - again) * flagged)

Each tube that is sent back becomes n single tubes, whose prevalence is p / back. Such a tube that is
invalid twice is collected once more, so that each person sent back gives 1 + iv * again tubes.

A positive person is found in any tube here, early or late: dilution is the matter of `pooling`.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rates:
    """What happens to tubes besides being positive or negative. All are shares from 0 to below 1.

    The defaults are those of the published model: US nursing homes with the CDC panel for grey and
    invalid, an assumed 1 % of failed plates, and half of the invalid tubes invalid again.

    Attributes:
        grey_negative: of negative tubes, read grey, single-target or inconclusive (g0).
        grey_positive: of positive tubes, likewise (g1).
        invalid: of all tubes, invalid at first (iv).
        invalid_again: of these, invalid again after extraction.
        plate_failed: of plates, repeated as a whole.
        grey_repeats: further wells for a grey tube.
        confirmations: further wells for a positive tube.
    """

    grey_negative: float = 0.00102
    grey_positive: float = 0.0405
    invalid: float = 0.00326
    invalid_again: float = 0.5
    plate_failed: float = 0.01
    grey_repeats: float = 2.0
    confirmations: float = 1.0

    def __post_init__(self) -> None:
        for name in ("grey_negative", "grey_positive", "invalid", "invalid_again", "plate_failed"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise ValueError(f"{name} is a share from 0 to below 1, not {value!r}.")
        for name in ("grey_repeats", "confirmations"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is a number of wells from 0 on, not {getattr(self, name)!r}.")


PUBLISHED: Final = Rates()


@dataclass(frozen=True, slots=True)
class Load:
    """Expected work. Every field has the shape that prevalence and size have together.

    Attributes:
        wells_per_person: wells until every person has an answer.
        extra_wells_per_1000: wells beyond the first one of each tube, per 1,000 first tubes.
        sent_back: share of first tubes that are sent back (0 for single tubes).
        back_prevalence: prevalence among the persons sent back; p itself for single tubes.
        recollected_per_person: single tubes that follow a first tube of several persons, per person.
        tubes_per_person: first tubes and single tubes together, per person.
        flagged: share of first tubes whose first reading is no plain negative.
    """

    wells_per_person: Numbers
    extra_wells_per_1000: Numbers
    sent_back: Numbers
    back_prevalence: Numbers
    recollected_per_person: Numbers
    tubes_per_person: Numbers
    flagged: Numbers


def expected_load(prevalence: ArrayLike, size: ArrayLike = 1, rates: Rates = PUBLISHED) -> Load:
    """The expected retest load.

    Args:
        prevalence: share of positive persons, from 0 to 1; a number or an array.
        size: persons per first tube; 1 = single tubes. Broadcast against `prevalence`.
        rates: of the assay and the laboratory.

    Raises:
        ValueError: a prevalence outside 0..1, or a size below 1.
    """
    p, n = np.broadcast_arrays(np.asarray(prevalence, dtype=float), np.asarray(size, dtype=float))
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError("a prevalence is a share from 0 to 1.")
    if not ((n >= 1) & (n == np.floor(n))).all():
        raise ValueError("a tube holds a whole number of persons, at least 1.")
    pooled = n > 1
    flagged = np.where(
        pooled, 1 - (1 - p) ** n * (1 - rates.grey_negative), _positive(p, rates) + _grey(p, rates)
    )
    iv, again = rates.invalid, rates.invalid_again
    back = np.where(pooled, (1 - iv) * flagged + iv * (again + (1 - again) * flagged), 0.0)
    back_p = np.where(pooled, np.divide(p, back, out=np.zeros_like(p), where=back > 0), p)
    single = _single_wells(np.clip(back_p, 0, 1), rates)
    recollected = back * (1 + iv * again)
    wells = np.where(pooled, (1 + iv) / n / (1 - rates.plate_failed) + recollected * single, single)
    return Load(
        wells_per_person=wells,
        extra_wells_per_1000=1000 * (wells * n - 1),
        sent_back=back,
        back_prevalence=back_p,
        recollected_per_person=recollected,
        tubes_per_person=1 / n + recollected,
        flagged=(1 - iv) * flagged + iv,
    )


def _grey(p: Numbers, rates: Rates) -> Numbers:
    return (1 - p) * rates.grey_negative + p * rates.grey_positive


def _positive(p: Numbers, rates: Rates) -> Numbers:
    return p * (1 - rates.grey_positive)


def _single_wells(p: Numbers, rates: Rates) -> Numbers:
    """Wells per single tube at prevalence p, repeated plates included."""
    repeats = _grey(p, rates) * rates.grey_repeats + _positive(p, rates) * rates.confirmations
    return np.asarray((1 + rates.invalid + (1 - rates.invalid) * repeats) / (1 - rates.plate_failed))
