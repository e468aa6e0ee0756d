"""Window of linearity: the straight part of log fluorescence, and the efficiency that it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

WINDOW, _SHORTEST = 9, 4
_HALVINGS = 50
_SLOWEST = 1.2  # gain per cycle below which a straight log line is no amplification


def log_linear(corrected: Floats, noise: Floats, peak: Ints, limits: Floats) -> tuple[Floats, Floats]:
    """Cq (in columns) and efficiency (1.0 = doubling) from each curve's window of linearity.

    After LinRegPCR (Ruijter et al. 2009, NAR 37:e45; Untergasser et al. 2021, BMC Bioinformatics
    22:398). The window ends at the second-derivative maximum, where growth begins to slow, and goes
    back over at most nine cycles that stand clear of the noise. A constant is taken off by bisection
    until the lower and the upper half of the window have one slope in log fluorescence: too high a
    baseline bends the line down at its foot, too low a one flattens it. Cq is where the regression
    line through the window meets the threshold. At the maximum growth has slowed already, so the
    efficiency reads low, by about 0.1 against rdmlpython, which ends its window
    earlier. NaN with fewer than four cycles in the window or a gain below 1.2 a cycle.
    """
    index, used, first = _window(corrected, noise, peak)
    points = corrected[np.arange(len(corrected))[:, None], index]
    length = used.sum(axis=1)
    half = (length + 1) // 2
    place = np.arange(WINDOW) - first[:, None]
    lower = used & (place < half[:, None])
    upper = used & (place >= (length - half)[:, None])
    shift = _baseline_shift(points, used, lower, upper)
    logs = np.log(np.where(used, points - shift[:, None], 1.0))
    slope, mean, middle = _regression(logs, index.astype(np.float64), used)
    good = (length >= _SHORTEST) & (np.exp(slope) > _SLOWEST)
    crossed = good & np.isfinite(limits)
    level = np.log(np.where(crossed, limits, 1.0))
    cq = np.where(crossed, middle + (level - mean) / np.where(good, slope, 1.0), np.nan)
    return cq, np.where(good, np.exp(slope) - 1.0, np.nan)


def _window(corrected: Floats, noise: Floats, peak: Ints) -> tuple[Ints, NDArray[np.bool_], Ints]:
    """Columns of the nine cycles up to the maximum, which of them count, and the place of the first."""
    width = corrected.shape[1]
    end = np.clip(peak, WINDOW - 1, width - 1)
    index = end[:, None] + np.arange(1 - WINDOW, 1)
    points = corrected[np.arange(len(corrected))[:, None], index]
    clear = points > np.maximum(3.0 * noise, 1e-300)[:, None]
    rising = np.ones_like(clear)
    rising[:, :-1] = points[:, 1:] > points[:, :-1]
    # Back from the end while clear and rising without a gap.
    used = np.logical_and.accumulate((clear & rising)[:, ::-1], axis=1)[:, ::-1]
    return index, used, np.argmax(used, axis=1)


def _baseline_shift(
    points: Floats, used: NDArray[np.bool_], lower: NDArray[np.bool_], upper: NDArray[np.bool_]
) -> Floats:
    """The constant that makes both halves of the window equally steep."""
    lowest = np.where(used, points, np.inf).min(axis=1)
    lowest = np.where(np.isfinite(lowest), lowest, 1.0)
    high, low = lowest * (1.0 - 1e-9), -2.0 * lowest
    x = np.broadcast_to(np.arange(points.shape[1], dtype=np.float64), points.shape)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        logs = np.log(np.where(used, points - middle[:, None], 1.0))
        steeper_below = _regression(logs, x, lower)[0] > _regression(logs, x, upper)[0]
        high, low = np.where(steeper_below, middle, high), np.where(steeper_below, low, middle)
    return 0.5 * (low + high)


def _regression(y: Floats, x: Floats, used: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
    """Slope, mean of y and mean of x over the used points of each row."""
    points = np.maximum(used.sum(axis=1), 1)
    middle = np.where(used, x, 0.0).sum(axis=1) / points
    mean = np.where(used, y, 0.0).sum(axis=1) / points
    dx = np.where(used, x - middle[:, None], 0.0)
    spread = (dx * dx).sum(axis=1)
    slope: Floats = (dx * y).sum(axis=1) / np.where(spread > 0, spread, 1.0)
    return slope, mean, middle


def local_efficiency(corrected: Floats, peak: Ints) -> Floats:
    """Gain per cycle from the log-linear slope of the four cycles that end just before the SDM.

    The quick estimate beside methods that do not need an efficiency. NaN where the four points are
    not all positive.
    """
    width = corrected.shape[1]
    end = np.arange(len(corrected)) * width + np.clip(peak - 1, 3, width - 1)
    points = np.ravel(corrected).take(end + np.arange(-3, 1)[:, None])
    positive = points.min(axis=0) > 0
    slope = np.array([-0.3, -0.1, 0.1, 0.3]) @ np.log(np.where(positive, points, 1.0))
    return np.where(positive, np.exp(slope) - 1.0, np.nan)
