"""What a manager may conclude from replications: intervals, warm-up, how many runs are enough."""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Continued fraction of the incomplete beta function (modified Lentz)."""
    tiny = 1e-300
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1)
    d = 1 / (d if abs(d) > tiny else tiny)
    found = d
    for m in range(1, 400):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 + term * d
            d = 1 / (d if abs(d) > tiny else tiny)
            c = 1 + term / c
            c = c if abs(c) > tiny else tiny
            found *= d * c
        if abs(d * c - 1) < 1e-15:
            break
    return found


def t_share(t: float, df: float) -> float:
    """Distribution function of Student's t, through the incomplete beta function."""
    x = df / (df + t * t)
    a, b = df / 2, 0.5
    front = (
        math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
        if 0 < x < 1
        else 0.0
    )
    if x < (a + 1) / (a + b + 2):
        tail = front * _beta_fraction(a, b, x) / a
    else:
        tail = 1 - front * _beta_fraction(b, a, 1 - x) / b
    return 1 - tail / 2 if t > 0 else tail / 2


@lru_cache(maxsize=1024)
def t_quantile(share: float, df: int) -> float:
    """Quantile of Student's t above the median, by bisection on `t_share`."""
    low, high = 0.0, 1.0
    while t_share(high, df) < share:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if t_share(middle, df) < share else (low, middle)
    return (low + high) / 2


def interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float, float]:
    """Mean and t-interval of independent values; with fewer than two values the interval is unbounded.

    Returns:
        (mean, low, high).
    """
    found = np.asarray(values, dtype=np.float64)
    found = found[~np.isnan(found)]
    if not found.size:
        return math.nan, math.nan, math.nan
    mean = float(found.mean())
    if found.size < 2:
        return mean, -math.inf, math.inf
    half = t_quantile((1 + level) / 2, found.size - 1) * float(found.std(ddof=1)) / math.sqrt(found.size)
    return mean, mean - half, mean + half


def batch_interval(
    values: NDArray[np.float64], batches: int = 30, level: float = 0.99
) -> tuple[float, float, float]:
    """Mean and interval of one long correlated series by batch means; returns (mean, low, high)."""
    size = values.size // batches
    means = values[: size * batches].reshape(batches, size).mean(axis=1)
    return interval(means, level)


def mser5(values: NDArray[np.float64]) -> int:
    """Observations to leave out as warm-up: MSER-5 (White 1997; kept by Hoad, Robinson and Davies 2010).

    The cut minimises the squared standard error of what is left, over means of five; never more than half.
    """
    means = values[: values.size // 5 * 5].reshape(-1, 5).mean(axis=1)
    if means.size < 4:
        return 0
    return 5 * int(np.argmin(_errors(means)[: means.size // 2]))


def _errors(means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared standard error of the mean of what is left after every cut."""
    left = np.arange(means.size, 0, -1)
    sums = np.cumsum(means[::-1])[::-1]
    squares = np.cumsum((means**2)[::-1])[::-1]
    found: NDArray[np.float64] = (squares - sums**2 / left) / left.astype(float) ** 2
    return found


def settling(means: NDArray[np.float64], least: int = 20) -> int | None:
    """Batches (here: days) to leave out as warm-up by the rule of MSER; None when there are too few to tell.

    Too few are less than `least`, or so many that the error is least after a cut of half of them or more
    (White 1997). Of cuts equal to rounding the first counts, and a quarter must be left, because a few
    batches at the end are alike by chance too often.
    """
    if means.size < least:
        return None
    error = _errors(means - means.mean())[: means.size - means.size // 4 + 1]
    cut = int(np.flatnonzero(error <= error.min() + 1e-9 * error.max())[0])
    return None if 2 * cut >= means.size else cut


def enough(values: Sequence[float], half_width: float, level: float = 0.95, least: int = 5) -> bool:
    """Whether the interval of the values is narrower than a stated half-width."""
    if len(values) < least:
        return False
    _, low, high = interval(values, level)
    return (high - low) / 2 <= half_width
