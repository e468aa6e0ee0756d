"""What a running plate looks like so far: for planning retests, never for reporting.

The answer is a :class:`Forecast`, which has no Cq, no call and no tube, and which no service takes: a
result cannot be made of it. It lets the scheduler keep room for retests up to an hour before the run
has ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from instruments.calling import SIGMOID, call_curves
from instruments.errors import InstrumentError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

FIRST_CYCLE = 25
"""Before it most positives have not risen, and a forecast would be a guess."""

RISING, QUIET, OPEN = "rising", "quiet", "open"


@dataclass(frozen=True, eq=False)
class Forecast:
    """One word per curve after ``cycle`` cycles: planning only.

    Attributes:
        outlook: ``rising``: an amplification is seen already; ``quiet``: the last cycles do not leave
            the baseline; ``open``: neither.
    """

    cycle: int
    outlook: NDArray[np.str_]


def forecast(fluorescence: ArrayLike) -> Forecast:
    """Look at the curves of a running plate.

    ``rising`` needs the full verdict ``sigmoid`` on the cycles there are. ``quiet`` is a flat curve
    whose last three cycles stay within 4 SD of its baseline on the mean: a late positive may still
    come, and at cycle 25 it often does.

    Args:
        fluorescence: curves x cycles so far.

    Raises:
        InstrumentError: TOO_EARLY before cycle 25, BAD_CURVES for arrays that are no curves.
    """
    values = np.atleast_2d(np.asarray(fluorescence, dtype=np.float64))
    if values.shape[1] < FIRST_CYCLE:
        raise InstrumentError(
            "TOO_EARLY",
            f"After {values.shape[1]} cycles nothing can be foreseen; ask from cycle {FIRST_CYCLE} on.",
        )
    calls = call_curves(values)
    lifted = calls.corrected[:, -3:].mean(axis=1)
    quiet = (calls.reason == "flat") & (lifted < 4.0 * np.maximum(calls.noise, 1e-12))
    outlook = np.where(calls.verdict == SIGMOID, RISING, np.where(quiet, QUIET, OPEN))
    return Forecast(values.shape[1], outlook)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How forecasts at one cycle compared with the finished curves.

    Attributes:
        recall: share of the final positives that were ``rising``; ``precision``: share of ``rising``
            that ended positive; ``quiet_right``: share of ``quiet`` that ended negative. NaN where
            there were none.
    """

    cycle: int
    positives: int
    negatives: int
    recall: float
    precision: float
    quiet_right: float


def outlooks(fluorescence: ArrayLike, positive: ArrayLike, cycle: int) -> tuple[Forecast, NDArray[np.bool_]]:
    """Forecast at a cycle of curves that are finished, with what became of them."""
    values = np.asarray(fluorescence, dtype=np.float64)
    return forecast(values[:, :cycle]), np.asarray(positive, dtype=np.bool_)


def score(cycle: int, pool: Iterable[tuple[Forecast, NDArray[np.bool_]]]) -> Accuracy:
    """Recall and precision at a cycle over several plates."""
    seen = list(pool)
    outlook = np.concatenate([one.outlook for one, _ in seen])
    truth = np.concatenate([mark for _, mark in seen])
    rising, quiet = outlook == RISING, outlook == QUIET
    return Accuracy(
        cycle,
        int(truth.sum()),
        int((~truth).sum()),
        recall=_share(rising & truth, truth),
        precision=_share(rising & truth, rising),
        quiet_right=_share(quiet & ~truth, quiet),
    )


def _share(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> float:
    return float(part.sum() / whole.sum()) if whole.any() else float("nan")
