"""Where a curve crosses a threshold: the last upward crossing, read off by a line or by a cubic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_WINDOW = 3  # half width of the cubic fit
_OFFSETS = np.arange(-_WINDOW, _WINDOW + 1)
_CUBIC = np.linalg.pinv(np.vander(_OFFSETS.astype(np.float64), 4))  # seven points -> cubic, highest first
_STEPS = 8  # of Newton, which doubles the digits each time
_SETTLED = 1e-14  # cycles; a step as small as this changes nothing any more


def crossings(corrected: Floats, limits: Floats) -> Ints:
    """Column of the last cycle below the threshold before the last upward crossing, −1 for none."""
    below = corrected < limits[:, None]
    up = below[:, :-1] > below[:, 1:]
    last = up.shape[1] - 1 - np.argmax(up[:, ::-1], axis=1)
    return np.where(up[np.arange(len(up)), last], last, -1)


def linear(corrected: Floats, limits: Floats, centre: Ints) -> Floats:
    """Linear interpolation of the crossing, in columns; NaN where there is none."""
    cq = np.full(len(corrected), np.nan)
    rows = np.flatnonzero(centre >= 0)
    c = centre[rows]
    low, high = corrected[rows, c], corrected[rows, c + 1]
    cq[rows] = c + (limits[rows] - low) / (high - low)
    return cq


def cubic(corrected: Floats, limits: Floats, centre: Ints) -> Floats:
    """Root of the seven-point cubic at the crossing, in columns; linear where no root is near."""
    width = corrected.shape[1]
    rows = np.flatnonzero(centre >= 0)
    if not len(rows) or width < 2 * _WINDOW + 1:
        return linear(corrected, limits, centre)
    # At the ends of the run the window slides inside instead of shrinking.
    middle = np.clip(centre[rows], _WINDOW, width - 1 - _WINDOW)
    points = np.ravel(corrected).take((rows * width + middle)[:, None] + _OFFSETS)
    polynomial = _CUBIC @ points.T
    polynomial[3] -= limits[rows]
    root = _root(polynomial, (centre[rows] - middle).astype(np.float64))
    cq = np.full(len(corrected), np.nan)
    cq[rows] = middle + root
    missed = rows[np.isnan(root)]
    cq[missed] = linear(corrected[missed], limits[missed], centre[missed])
    return cq


def _root(polynomial: Floats, shift: Floats) -> Floats:
    """Root nearest to shift + 0.5 within [shift − 0.5, shift + 1.5], NaN where there is none.

    A cubic that rises all through the interval has one root at most. Any other is cut into 16 pieces,
    and the piece with a sign change nearest to the middle is searched.
    """
    low, high = shift - 0.5, shift + 1.5
    a, b, _, _ = polynomial
    least = np.minimum(_slope(polynomial, low), _slope(polynomial, high))
    turn = np.clip(np.where(a == 0.0, low, -b / np.where(a == 0.0, 1.0, 3.0 * a)), low, high)
    rising = np.minimum(least, _slope(polynomial, turn)) > 0
    found = rising & (_at(polynomial, low) <= 0) & (_at(polynomial, high) > 0)
    for row in np.flatnonzero(~rising):
        grid = np.linspace(low[row], high[row], 17)
        above = _at(polynomial[:, row], grid) > 0
        change = np.flatnonzero(above[1:] != above[:-1])
        if len(change):
            piece = change[np.argmin(np.abs(change - 7.5))]
            found[row], low[row], high[row] = True, grid[piece], grid[piece + 1]
    return np.where(found, _closed_in(polynomial, low, high), np.nan)


def _closed_in(polynomial: Floats, low: Floats, high: Floats) -> Floats:
    """The root in each bracket: Newton steps, each replaced by a halving where it would leave it."""
    ascending = _at(polynomial, high) > 0
    root = 0.5 * (low + high)
    for _ in range(_STEPS):
        value = _at(polynomial, root)
        beyond = (value > 0) == ascending
        low, high = np.where(beyond, low, root), np.where(beyond, root, high)
        slope = _slope(polynomial, root)
        step = root - value / np.where(slope == 0.0, np.inf, slope)
        step = np.where((step >= low) & (step <= high), step, 0.5 * (low + high))
        still = bool((np.abs(step - root) > _SETTLED).any())
        root = step
        if not still:
            break
    return root


def _slope(polynomial: Floats, x: Floats) -> Floats:
    a, b, c, _ = polynomial
    slope: Floats = (3.0 * a * x + 2.0 * b) * x + c
    return slope


def _at(polynomial: Floats, x: Floats) -> Floats:
    a, b, c, d = polynomial
    value: Floats = ((a * x + b) * x + c) * x + d
    return value
