"""Where a curve turns upward, and the straight line it stood on before.

All arrays are ``curves x cycles``; columns count from 0. A pass over a plate costs most where its loop
runs along single curves, so sums are matrix products under a mask, lines are products too, and
differences are taken along the flattened array: where two curves meet they mean nothing, and those
columns are cut off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from instruments.errors import InstrumentError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

NOISE_FACTOR = 20.0  # rise over baseline SD that noise and drift do not reach
_START = 3  # first baseline cycle: the block settles during the first two
BEFORE_SDM = 6  # cycles the automatic baseline keeps away from the second-derivative maximum
_SHORTEST = 5
_MEDIAN = 0.6745 * np.sqrt(6.0)  # of |second difference| over the SD of a point


@dataclass(frozen=True, eq=False)
class Lines:
    """Least-squares line of each curve over its window: ``level`` at column 0, ``slope``, residual ``noise``.

    ``noise`` is the SD around the line, two degrees of freedom spent on it.
    """

    level: Floats
    slope: Floats
    noise: Floats

    def at(self, column: float | Floats) -> Floats:
        """Height of the lines at a column, or each at its own."""
        height: Floats = self.level + self.slope * column
        return height


def lines(values: Floats, window: Ints) -> Lines:
    """Fit a line to each curve over its columns ``window[:, 0]..[:, 1]``, both inclusive."""
    start, end = window[:, 0], window[:, 1]
    width = values.shape[1]
    # Sums of squares of 1e6 +- 1 would cancel; around one point of the window they do not.
    origin = values[np.arange(len(values)), start]
    z = values - origin.repeat(width).reshape(values.shape)
    z *= _inside(start, end, width)
    points = (end - start + 1).astype(np.float64)
    middle = (start + end) / 2.0
    sum_z, sum_xz = (z @ _powers(width).T).T
    sxx = points * (points**2 - 1.0) / 12.0
    sxz = sum_xz - middle * sum_z
    slope = sxz / sxx
    left = np.maximum(np.einsum("ij,ij->i", z, z) - sum_z**2 / points - slope * sxz, 0.0)
    return Lines(
        level=origin + sum_z / points - slope * middle,
        slope=slope,
        noise=np.sqrt(left / np.maximum(points - 2.0, 1.0)),
    )


def _powers(width: int) -> Floats:
    """1 and x at every column x, one row each."""
    return np.stack([np.ones(width), np.arange(width, dtype=np.float64)])


def _inside(start: Ints, end: Ints, width: int) -> Floats:
    """1.0 in the columns of each window, 0.0 elsewhere."""
    upto = np.tri(width)
    if len(start) and (start == start[0]).all():
        upto[:, : start[0]] = 0.0
        return upto.take(end, axis=0)
    inside: Floats = upto.take(end, axis=0) - np.tri(width, k=-1).take(start, axis=0)
    return inside


def subtract(values: Floats, fitted: Lines) -> Floats:
    """Curves minus their lines."""
    corrected: Floats = values - np.stack([fitted.level, fitted.slope], axis=1) @ _powers(values.shape[1])
    return corrected


def subtract_baseline(values: Floats, window: Ints) -> Floats:
    """Subtract from each curve the least-squares line through its columns ``window[:, 0]..[:, 1]``."""
    return subtract(values, lines(values, window))


def second_derivative(values: Floats) -> Floats:
    """Second difference of the mean over three cycles; column i of the result stands for column i + 2.

    Written out, the mean of three and the difference of three cancel in the middle:
    (y[i-2] - y[i-1] - y[i+1] + y[i+2]) / 3.
    """
    flat = np.ravel(values)
    second = np.zeros_like(flat)
    inner = second[: len(flat) - 4]
    np.subtract(flat[:-4], flat[1:-3], out=inner)
    inner -= flat[3:-1]
    inner += flat[4:]
    inner /= 3.0
    return second.reshape(values.shape)[:, :-4]


def second_derivative_maximum(values: Floats) -> Ints:
    """Column of the greatest second difference of each curve after smoothing over three cycles.

    The first cycles are left out, for they often jump while the block settles.
    """
    width = values.shape[1]
    if width < 7:  # a run that has just begun: nothing to smooth over
        second = values[:, 2:] - 2.0 * values[:, 1:-1] + values[:, :-2]
        early: Ints = np.argmax(second, axis=1) + 1
        return early
    peak: Ints = np.argmax(second_derivative(values)[:, 2:], axis=1) + 4
    return peak


def given_windows(baseline: ArrayLike, count: int, width: int, first: int) -> Ints:
    """Baseline windows given as cycles, one for all curves or one each, as columns.

    Raises:
        InstrumentError: BAD_CURVES when a window is not two rising cycles of the run.
    """
    window = np.array(np.broadcast_to(np.asarray(baseline, dtype=np.int64), (count, 2))) - first
    if (window[:, 0] >= window[:, 1]).any() or window.min() < 0 or window.max() >= width:
        raise InstrumentError("BAD_CURVES", "A baseline must be two rising cycle numbers within the run.")
    return window


def automatic(values: Floats, peak: Ints) -> tuple[Ints, Lines]:
    """Columns 3 .. SDM − 6 for curves that rise, up to the last cycle but one for all others; their lines.

    A curve rises if it leaves the line of its candidate baseline by more than noise can carry that
    line. A line through few points swings far at the end of the run: its prediction error there grows
    as sqrt(1 + 1/n + (x − x̄)²/Sxx). Six of those, and 20 SD, are a rise. The noise is the larger of
    the spread around the line and of the scatter of second differences along the whole curve, for
    five points may lie on a line by luck.
    """
    count, width = values.shape
    start = min(_START - 1, width - 3)
    shortest = min(start + _SHORTEST - 1, width - 2)
    end = np.clip(peak - BEFORE_SDM, max(shortest, start + 1), width - 2)
    window = np.stack([np.full(count, start), end], axis=1)
    fitted = lines(values, window)
    points = (end - start + 1).astype(np.float64)
    reach = width - 2 - (start + end) / 2.0
    swing = np.sqrt(1.0 + 1.0 / points + 12.0 * reach**2 / (points * (points**2 - 1.0)))
    factor = np.maximum(NOISE_FACTOR, 6.0 * swing)
    height = (values[:, -3] + values[:, -2] + values[:, -1]) / 3.0 - fitted.at(width - 2)
    rises = height > factor * fitted.noise
    rows = np.flatnonzero(rises & (height <= factor * _most_scatter(values)))
    rises[rows] = height[rows] > factor[rows] * scatter(values[rows])
    flat = np.flatnonzero(~rises)
    window[flat, 1] = max(width - 2, start + 1)
    again = lines(values[flat], window[flat])
    fitted.level[flat], fitted.slope[flat], fitted.noise[flat] = again.level, again.slope, again.noise
    return window, fitted


def scatter(values: Floats) -> Floats:
    """Noise from second differences: the median of |second difference| is 0.6745 · sqrt(6) · SD."""
    second = np.abs(values[:, 2:] - 2.0 * values[:, 1:-1] + values[:, :-2])
    middle = second.shape[1] // 2
    noise: Floats = np.partition(second, middle, axis=1)[:, middle] / _MEDIAN
    return noise


def _most_scatter(values: Floats) -> Floats:
    """What :func:`scatter` cannot exceed, at a fraction of its cost.

    Half of the second differences are as large as their median or larger, so it is at most twice
    their mean, which is at most their root mean square.
    """
    step = np.diff(np.ravel(values))
    second = np.zeros(values.shape)
    np.subtract(step[1:], step[:-1], out=second.ravel()[: max(values.size - 2, 0)])
    inner = second[:, :-2]
    count = inner.shape[1]
    total = np.sqrt(count * np.einsum("ij,ij->i", inner, inner))
    most: Floats = total / (count - count // 2) * (1.0 + 1e-9) / _MEDIAN
    return most
