"""Cq from raw fluorescence, the way the instruments do it, for whole plates at once.

Three methods, all on arrays ``curves x cycles``:

``abi``
    Applied Biosystems baseline-threshold. Baseline: least-squares line through Rn over the cycles
    [start, end]; ΔRn = Rn − line over all cycles. Cq: the root of a cubic least-squares polynomial
    through the seven ΔRn points centred on c, the last cycle below the threshold (the last upward
    crossing), nearest to c + 0.5 within [c − 0.5, c + 1.5]. Recomputes the Ct of eight QuantStudio
    models from their exported Rn, baseline and threshold. Near the last cycle the window is cut;
    what the vendor does there is not known, and any sensible choice stays within 0.1 cycle.
``cfx``
    Bio-Rad CFX, single threshold. The curves are taken as exported, baseline already subtracted;
    Cq is the linear interpolation of the last upward crossing of the threshold. Recomputes the Cq
    of CFX Maestro to machine precision.
``threshold``
    Baseline as in ``abi``, then linear interpolation: the textbook method, for other cyclers.

A curve that never stands at or above the threshold at its end of rise has no Cq (NaN).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from instruments.errors import InstrumentError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

Method = Literal["abi", "cfx", "threshold"]
METHODS: tuple[Method, ...] = ("abi", "cfx", "threshold")
SIGMOID, FLAT, ATYPICAL = "sigmoid", "flat", "atypical"

_BASELINE_START = 3
_BEFORE_SDM = 6  # cycles the automatic baseline keeps away from the second-derivative maximum
_SHORTEST_BASELINE = 5
_NOISE_FACTOR = 20.0  # amplitude over baseline SD that noise and drift do not reach
_RISE = 1.2  # ratio of successive cycles in exponential growth, at least twice in a row
_WINDOW = 3  # half width of the cubic fit


@dataclass(frozen=True, eq=False)
class CurveCalls:
    """One value per curve, in the order given.

    Attributes:
        method: ``abi``, ``cfx`` or ``threshold``.
        cq: cycles, NaN when the curve does not cross its threshold.
        efficiency: gain per cycle in the exponential phase, 1.0 = doubling; NaN where none is seen.
        verdict: ``sigmoid``, ``flat`` or ``atypical`` (rises, but not as an amplification does).
        threshold: the threshold used, in units of the corrected curve.
        baseline: curves x 2, first and last baseline cycle (0, 0 for ``cfx``).
        corrected: curves x cycles, baseline-corrected fluorescence.
        amplitude: rise over the baseline; ``noise``: SD of the baseline around its line.
    """

    method: Method
    cq: Floats
    efficiency: Floats
    verdict: NDArray[np.str_]
    threshold: Floats
    baseline: Ints
    corrected: Floats
    amplitude: Floats
    noise: Floats


def call_curves(
    fluorescence: ArrayLike,
    cycles: ArrayLike | None = None,
    method: Method = "abi",
    *,
    threshold: ArrayLike | None = None,
    baseline: ArrayLike | None = None,
) -> CurveCalls:
    """Call Cq, efficiency and a verdict for each curve.

    Args:
        fluorescence: curves x cycles (or one curve); Rn or raw units, for ``cfx`` corrected RFU.
        cycles: cycle numbers, evenly spaced by 1; 1..n when not given.
        method: one of :data:`METHODS`.
        threshold: one number or one per curve. Without it one threshold for all curves: 5 % of the
            median rise of those that amplify (low thresholds scatter least), but no less than ten
            baseline SD.
        baseline: (first, last) cycle, or curves x 2. Without it from cycle 3 to six cycles before
            the second-derivative maximum, to the last but one for curves that do not amplify.

    Raises:
        InstrumentError: BAD_CURVES for arrays of another shape, NaN, or fewer than 4 cycles.
    """
    values, first = _curves(fluorescence, cycles)
    if method not in METHODS:
        raise InstrumentError("BAD_CURVES", f"'{method}' is not a method; choose {', '.join(METHODS)}.")
    count = len(values)
    peak = second_derivative_maximum(values)
    window = np.zeros((count, 2), dtype=np.int64)
    corrected = values
    if method != "cfx":
        window = _windows(values, peak, first, baseline)
        corrected = subtract_baseline(values, window - first)
    noise, amplitude = _noise_and_amplitude(corrected, window - first if method != "cfx" else None, peak)
    verdict = _verdicts(corrected, noise, amplitude)
    limits = _limits(threshold, count, amplitude, noise, verdict)
    centre = _crossings(corrected, limits)
    cq = _cubic(corrected, limits, centre) if method == "abi" else _linear(corrected, limits, centre)
    return CurveCalls(
        method=method,
        cq=cq + first,
        efficiency=np.where(verdict == FLAT, np.nan, _efficiency(corrected, peak)),
        verdict=verdict,
        threshold=limits,
        baseline=window,
        corrected=corrected,
        amplitude=amplitude,
        noise=noise,
    )


def _curves(fluorescence: ArrayLike, cycles: ArrayLike | None) -> tuple[Floats, int]:
    values = np.atleast_2d(np.asarray(fluorescence, dtype=np.float64))
    if values.ndim != 2 or values.shape[1] < 4:
        raise InstrumentError(
            "BAD_CURVES", f"Curves x cycles with at least 4 cycles are needed, not {values.shape}."
        )
    if not np.isfinite(values).all():
        raise InstrumentError(
            "BAD_CURVES", "A fluorescence value is missing: call curves with gaps one by one."
        )
    if cycles is None:
        return values, 1
    counted = np.asarray(cycles)
    if counted.shape != (values.shape[1],) or (np.diff(counted) != 1).any():
        raise InstrumentError("BAD_CURVES", "Cycles must be one number per column, rising by 1 without gaps.")
    return values, int(counted[0])


def second_derivative_maximum(values: Floats) -> Ints:
    """Column of the greatest second difference of each curve after smoothing over three cycles."""
    padded = np.pad(values, ((0, 0), (1, 1)), mode="edge")
    smooth = (padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]) / 3.0
    second = smooth[:, 2:] - 2.0 * smooth[:, 1:-1] + smooth[:, :-2]
    # The first cycles often jump (the block is still settling), the padded ends bend by construction.
    second[:, : min(3, second.shape[1] - 1)] = -np.inf
    second[:, -1:] = -np.inf if second.shape[1] > 4 else second[:, -1:]
    peak: Ints = np.argmax(second, axis=1) + 1
    return peak


def _windows(values: Floats, peak: Ints, first: int, baseline: ArrayLike | None) -> Ints:
    """Baseline windows as cycle numbers, one row per curve."""
    count, width = values.shape
    if baseline is not None:
        given = np.asarray(baseline, dtype=np.int64)
        window = np.array(np.broadcast_to(given, (count, 2)))
        if (window[:, 0] >= window[:, 1]).any() or window.min() < first or window.max() > first + width - 1:
            raise InstrumentError("BAD_CURVES", "A baseline must be two rising cycle numbers within the run.")
        return window
    start = min(_BASELINE_START - 1, width - 2)
    shortest = min(start + _SHORTEST_BASELINE - 1, width - 2)
    end = np.clip(peak - _BEFORE_SDM, max(shortest, start + 1), width - 2)
    flat = ~_rises(values, start, end)
    end = np.where(flat, max(width - 2, start + 1), end)
    return np.stack([np.full(count, start), end], axis=1) + first


def _rises(values: Floats, start: int, end: Ints) -> NDArray[np.bool_]:
    """Whether a curve leaves the line of its candidate baseline by more than noise can carry that line.

    A line through few points swings far at the end of the run: its prediction error there grows as
    sqrt(1 + 1/n + (x − x̄)²/Sxx). Six of those, and 20 SD, are a rise. The noise is the larger of
    the spread around the line and of the scatter of second differences along the whole curve, for
    five points may lie on a line by luck.
    """
    window = np.stack([np.full(len(values), start), end], axis=1)
    corrected = subtract_baseline(values, window)
    second = np.abs(np.diff(values, n=2, axis=1))
    # Median |second difference| of white noise of SD s is 0.6745 · sqrt(6) · s.
    noise = np.maximum(_spread(corrected, window), np.median(second, axis=1) / (0.6745 * np.sqrt(6.0)))
    points = (end - start + 1).astype(np.float64)
    reach = values.shape[1] - 2 - (start + end) / 2.0
    swing = np.sqrt(1.0 + 1.0 / points + 12.0 * reach**2 / (points * (points**2 - 1.0)))
    rises: NDArray[np.bool_] = corrected[:, -3:].mean(axis=1) > np.maximum(_NOISE_FACTOR, 6.0 * swing) * noise
    return rises


def _mask(window: Ints, width: int) -> NDArray[np.bool_]:
    columns = np.arange(width)
    return (columns >= window[:, :1]) & (columns <= window[:, 1:])


def subtract_baseline(values: Floats, window: Ints) -> Floats:
    """Subtract from each curve the least-squares line through its columns ``window[:, 0]..[:, 1]``."""
    count, width = values.shape
    mask = _mask(window, width)
    x = np.arange(width, dtype=np.float64)
    points = mask.sum(axis=1)
    x_mean = (mask * x).sum(axis=1) / points
    y_mean = np.where(mask, values, 0.0).sum(axis=1) / points
    dx = np.where(mask, x - x_mean[:, None], 0.0)
    slope = (dx * (values - y_mean[:, None])).sum(axis=1) / (dx**2).sum(axis=1)
    corrected: Floats = values - (y_mean[:, None] + slope[:, None] * (x - x_mean[:, None]))
    return corrected.reshape(count, width)


def _spread(corrected: Floats, window: Ints) -> Floats:
    """SD of the corrected baseline, two degrees of freedom spent on the line."""
    mask = _mask(window, corrected.shape[1])
    squares = np.where(mask, corrected**2, 0.0).sum(axis=1)
    spread: Floats = np.sqrt(squares / np.maximum(mask.sum(axis=1) - 2, 1))
    return spread


def _noise_and_amplitude(corrected: Floats, window: Ints | None, peak: Ints) -> tuple[Floats, Floats]:
    """Noise of the baseline and height of the rise (mean of the three last of the highest cycles)."""
    width = corrected.shape[1]
    if window is None:
        end = np.clip(peak - _BEFORE_SDM, min(6, width - 2), width - 2)
        window = np.stack([np.full(len(corrected), min(2, width - 3)), end], axis=1)
    noise = _spread(corrected, window)
    top = np.sort(corrected, axis=1)[:, -3:].mean(axis=1)
    return noise, top


def _verdicts(corrected: Floats, noise: Floats, amplitude: Floats) -> NDArray[np.str_]:
    """Judge the shape of each curve.

    ``flat``: the rise is below 20 SD of the baseline. ``sigmoid``: it is above, and two successive
    cycles both grow by a factor of at least 1.2 while they stand clear of the noise; a drifting
    baseline, the usual false positive of an amplitude rule, grows by a few percent only.
    ``atypical``: a rise without such growth. Against human raters: of RAS002 (PCRedux, drifting
    negatives) 41 of 41 positives are sigmoid and 143 of 151 negatives are not; of the 375 curves of
    dil4reps94 (qpcR), all rated positive, all are sigmoid.
    """
    tall = amplitude > np.maximum(_NOISE_FACTOR * noise, 1e-12)
    clear = corrected[:, :-1] > np.maximum(3.0 * noise, 0.01 * amplitude)[:, None]
    floor = np.where(clear, corrected[:, :-1], np.inf)
    grows = corrected[:, 1:] / floor >= _RISE
    twice = (grows[:, 1:] & grows[:, :-1]).any(axis=1)
    return np.where(~tall, FLAT, np.where(twice, SIGMOID, ATYPICAL))


def _limits(
    threshold: ArrayLike | None, count: int, amplitude: Floats, noise: Floats, verdict: NDArray[np.str_]
) -> Floats:
    if threshold is not None:
        given = np.asarray(threshold, dtype=np.float64)
        if given.ndim > 1 or (given.ndim == 1 and len(given) != count) or not (given > 0).all():
            raise InstrumentError(
                "BAD_CURVES", "The threshold must be one positive number, or one per curve."
            )
        return np.array(np.broadcast_to(given, (count,)))
    amplified = verdict == SIGMOID
    if not amplified.any():
        # Nothing to place a threshold by: above everything, so that nothing is called.
        return np.full(count, np.inf)
    chosen = max(0.05 * float(np.median(amplitude[amplified])), 10.0 * float(np.median(noise[amplified])))
    return np.full(count, chosen)


def _crossings(corrected: Floats, limits: Floats) -> Ints:
    """Column of the last cycle below the threshold before the last upward crossing, −1 for none."""
    below = corrected < limits[:, None]
    up = below[:, :-1] & ~below[:, 1:]
    width = up.shape[1]
    last = width - 1 - np.argmax(up[:, ::-1], axis=1)
    return np.where(up.any(axis=1), last, -1)


def _linear(corrected: Floats, limits: Floats, centre: Ints) -> Floats:
    """Linear interpolation of the crossing, in columns."""
    cq = np.full(len(corrected), np.nan)
    rows = np.flatnonzero(centre >= 0)
    c = centre[rows]
    low, high = corrected[rows, c], corrected[rows, c + 1]
    cq[rows] = c + (limits[rows] - low) / (high - low)
    return cq


def _cubic(corrected: Floats, limits: Floats, centre: Ints) -> Floats:
    """Root of the seven-point cubic at the crossing, in columns; linear where no root is near."""
    cq = _linear(corrected, limits, centre)
    width = corrected.shape[1]
    rows = np.flatnonzero(centre >= 0)
    if not len(rows) or width < 2 * _WINDOW + 1:
        return cq
    # At the ends of the run the window slides inside instead of shrinking.
    middle = np.clip(centre[rows], _WINDOW, width - 1 - _WINDOW)
    offset = np.arange(-_WINDOW, _WINDOW + 1)
    points = corrected[rows[:, None], middle[:, None] + offset]
    fit = np.linalg.pinv(np.vander(offset.astype(np.float64), 4))
    polynomial = points @ fit.T
    polynomial[:, 3] -= limits[rows]
    shift = (centre[rows] - middle).astype(np.float64)
    root = _root(polynomial, shift)
    cq[rows] = np.where(np.isnan(root), cq[rows], middle + root)
    return cq


def _root(polynomial: Floats, shift: Floats) -> Floats:
    """Root nearest to shift + 0.5 within [shift − 0.5, shift + 1.5], NaN where there is none.

    The interval is cut into 16 pieces; the piece with a sign change nearest to the middle is closed
    by bisection and polished by Newton: all rows together, about 3e-16 from the exact root.
    """
    grid = shift[:, None] + np.linspace(-0.5, 1.5, 17)
    values = _at(polynomial, grid)
    change = (values[:, :-1] <= 0) != (values[:, 1:] <= 0)
    distance = np.where(change, np.abs(grid[:, :-1] + 1 / 16 - shift[:, None] - 0.5), np.inf)
    piece = np.argmin(distance, axis=1)
    rows = np.arange(len(grid))
    low, high = grid[rows, piece], grid[rows, piece + 1]
    rising = values[rows, piece + 1] > values[rows, piece]
    for _ in range(50):
        middle = 0.5 * (low + high)
        above = (_at(polynomial, middle[:, None])[:, 0] > 0) == rising
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.where(change.any(axis=1), 0.5 * (low + high), np.nan)


def _at(polynomial: Floats, x: Floats) -> Floats:
    a, b, c, d = (polynomial[:, i : i + 1] for i in range(4))
    value: Floats = ((a * x + b) * x + c) * x + d
    return value


def _efficiency(corrected: Floats, peak: Ints) -> Floats:
    """Gain per cycle from the log-linear slope of the four cycles that end just before the SDM.

    The window of linearity ends before the second-derivative maximum, where growth begins to slow
    (Ruijter et al. 2009, NAR 37:e45). NaN where the window is not all positive.
    """
    end = np.clip(peak - 1, 3, corrected.shape[1] - 1)
    window = end[:, None] + np.arange(-3, 1)
    points = corrected[np.arange(len(corrected))[:, None], window]
    positive = (points > 0).all(axis=1)
    logs = np.log(np.where(points > 0, points, 1.0))
    slope = logs @ np.array([-0.3, -0.1, 0.1, 0.3])
    return np.where(positive, np.exp(slope) - 1.0, np.nan)
