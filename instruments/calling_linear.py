"""Window of linearity: the straight part of log fluorescence, and the efficiency that it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

WINDOW, _SHORTEST = 9, 4
_HALVINGS = 50
_SLOWEST = 1.2  # gain per cycle below which a straight log line is no amplification


def log_linear(
    corrected: Floats, noise: Floats, takeoff: Floats, limits: Floats, sets: tuple[Ints, Bools]
) -> tuple[Floats, Floats]:
    """Cq (in columns) and efficiency (1.0 = doubling) after LinRegPCR, version 2 (RDML-Tools).

    The window of linearity holds up to nine cycles that rise clear of the noise and ends half a cycle
    before ``takeoff``, the zero of the third derivative (TD0), where growth begins to slow. A constant
    is taken off by bisection until the lower and the upper half of the window have one slope in log
    fluorescence: too high a baseline bends the line down at its foot, too low a one flattens it. The
    slope of the window is the curve's efficiency (Ruijter et al. 2009, NAR 37:e45; Untergasser et
    al. 2021, BMC Bioinformatics 22:398).

    Version 1 read a threshold off each curve's own line, so the height of a curve moved its Cq, and so
    did the error of its baseline. Version 2 counts copies from TD0 and the mean efficiency E of the
    target, as E^-TD0: only the place counts. Cq here is that, carried to the threshold T of the target
    by what its amplifications have in common: TD0 + log(T / F) / log(E), with the medians F of their
    fluorescence at TD0 and E of their efficiencies. Amounts are E^-Cq up to one factor for a target.

    Args:
        corrected: curves x cycles, baseline taken off.
        noise: SD of each baseline.
        takeoff: TD0 of each curve, in columns.
        limits: threshold of each curve.
        sets: the target of each curve as a number, and whether it is a clear amplification.

    Returns:
        Cq, NaN for a curve that does not rise in each of the four cycles before TD0, or of a target
        without a clear amplification; efficiency, NaN with fewer than four cycles in the window or a
        gain below 1.2 a cycle.
    """
    index, used, first = _window(corrected, noise, takeoff)
    rows = np.arange(len(corrected))
    points = corrected[rows[:, None], index]
    length = used.sum(axis=1)
    half = (length + 1) // 2
    place = np.arange(WINDOW) - first[:, None]
    lower = used & (place < half[:, None])
    upper = used & (place >= (length - half)[:, None])
    shift = _baseline_shift(points, used, lower, upper)
    logs = np.log(np.where(used, points - shift[:, None], 1.0))
    slope, _, _ = _regression(logs, index.astype(np.float64), used)
    good = (length >= _SHORTEST) & (np.exp(slope) > _SLOWEST)
    low = np.clip(takeoff.astype(np.int64), 0, corrected.shape[1] - 2)
    height = corrected[rows, low] + (takeoff - low) * (corrected[rows, low + 1] - corrected[rows, low])
    rises = (np.diff(points[:, -_SHORTEST:], axis=1) > 0).all(axis=1)
    ahead = _to_threshold(height - shift, slope, good & sets[1], limits, sets[0])
    return np.where(rises, takeoff + ahead, np.nan), np.where(good, np.exp(slope) - 1.0, np.nan)


def _to_threshold(height: Floats, slope: Floats, speaks: Bools, limits: Floats, groups: Ints) -> Floats:
    """Cycles from TD0 to the threshold, by the medians of the curves of a target that speak for it."""
    ahead = np.full(len(height), np.nan)
    speaks = speaks & (height > 0)
    for group in np.unique(groups[speaks]):
        rows = np.flatnonzero((groups == group) & np.isfinite(limits))
        chosen = speaks & (groups == group)
        common, steep = np.median(np.log(height[chosen])), np.median(slope[chosen])
        ahead[rows] = (np.log(limits[rows]) - common) / steep
    return ahead


def _window(corrected: Floats, noise: Floats, takeoff: Floats) -> tuple[Ints, Bools, Ints]:
    """Columns of the nine cycles up to half before TD0, which count, and the place of the first."""
    end = np.clip(np.floor(takeoff - 0.5).astype(np.int64), WINDOW - 1, corrected.shape[1] - 1)
    index = end[:, None] + np.arange(1 - WINDOW, 1)
    points = corrected[np.arange(len(corrected))[:, None], index]
    clear = points > np.maximum(noise, 1e-300)[:, None]
    rising = np.ones_like(clear)
    rising[:, :-1] = points[:, 1:] > points[:, :-1]
    # Back from the end while clear and rising without a gap.
    used = np.logical_and.accumulate((clear & rising)[:, ::-1], axis=1)[:, ::-1]
    return index, used, np.argmax(used, axis=1)


def _baseline_shift(points: Floats, used: Bools, lower: Bools, upper: Bools) -> Floats:
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


def _regression(y: Floats, x: Floats, used: Bools) -> tuple[Floats, Floats, Floats]:
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
