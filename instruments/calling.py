"""Cq from raw fluorescence, the way the instruments do it, for whole plates at once.

Six methods, all on arrays ``curves x cycles``:

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
    Own automatic baseline (cycle 3 to six cycles before the second-derivative maximum), one
    threshold per target, linear interpolation: the textbook method, for other cyclers.
``sdm``
    Second-derivative maximum; no threshold. :func:`instruments.calling_logistic.sdm_columns`.
``5pl``
    Five-parameter logistic, cpD2; no threshold. :func:`instruments.calling_logistic.logistic_columns`.
``linregpcr``
    LinRegPCR, version 2: the third-derivative zero of each curve, carried to the threshold by the
    efficiency of its target; each curve's own efficiency from its window of linearity.
    :func:`instruments.calling_linear.log_linear`.

A curve that never stands at or above the threshold at its end of rise has no Cq (NaN); with ``sdm``,
``5pl`` and ``linregpcr``, which find a place on any curve, a flat one has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from instruments import calling_crossing as crossing
from instruments.calling_baseline import (
    BEFORE_SDM,
    automatic,
    given_windows,
    lines,
    second_derivative_maximum,
    subtract,
)
from instruments.calling_linear import WINDOW, local_efficiency, log_linear
from instruments.calling_logistic import logistic_columns, sdm_columns
from instruments.calling_shape import ATYPICAL, FLAT, SIGMOID, shapes, verdicts
from instruments.errors import InstrumentError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

__all__ = [
    "ATYPICAL",
    "FLAT",
    "METHODS",
    "SIGMOID",
    "CurveCalls",
    "Method",
    "Upright",
    "call_curves",
    "upright",
]

Method = Literal["abi", "cfx", "threshold", "sdm", "5pl", "linregpcr"]
METHODS: tuple[Method, ...] = ("abi", "cfx", "threshold", "sdm", "5pl", "linregpcr")

_ANYWHERE = frozenset({"sdm", "5pl", "linregpcr"})  # methods that find a place on any curve
_LOW = 0.05  # of the median rise: low thresholds scatter least
_ABOVE_NOISE = 10.0
_BLOCK = 1024  # curves worked on together: their arrays stay in the processor's cache


@dataclass(frozen=True, eq=False)
class CurveCalls:
    """One value per curve, in the order given.

    Attributes:
        method: one of :data:`METHODS`.
        cq: cycles, NaN when the curve does not cross its threshold.
        efficiency: gain per cycle in the exponential phase, 1.0 = doubling; NaN where none is seen.
        verdict: ``sigmoid``, ``flat`` or ``atypical`` (rises, but not as an amplification does).
        reason: what speaks against an amplification, "" for a sigmoid: ``flat``, ``spike``,
            ``hook``, ``drift``, ``creep``, ``ramp`` or ``weak``
            (:func:`instruments.calling_shape.shapes`).
        threshold: the threshold used, in units of the corrected curve (``sdm`` and ``5pl`` do not
            read it).
        baseline: curves x 2, first and last baseline cycle (0, 0 for ``cfx``).
        corrected: curves x cycles, baseline-corrected fluorescence.
        amplitude: rise over the baseline; ``noise``: SD of the baseline around its line.
    """

    method: Method
    cq: Floats
    efficiency: Floats
    verdict: NDArray[np.str_]
    reason: NDArray[np.str_]
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
    targets: Sequence[str] | None = None,
) -> CurveCalls:
    """Call Cq, efficiency and a verdict for each curve.

    Args:
        fluorescence: curves x cycles (or one curve); Rn or raw units, for ``cfx`` corrected RFU.
        cycles: cycle numbers, evenly spaced by 1; 1..n when not given.
        method: one of :data:`METHODS`.
        threshold: one number or one per curve. Without it one threshold for each target: 5 % of the
            median rise of those that amplify (low thresholds scatter least), but no less than ten
            baseline SD.
        baseline: (first, last) cycle, or curves x 2. Without it from cycle 3 to six cycles before
            the second-derivative maximum, to the last but one for curves that do not amplify.
        targets: target of each curve, for the automatic threshold; one target when not given.

    Raises:
        InstrumentError: BAD_CURVES for arrays of another shape, NaN, or fewer than 4 cycles.
    """
    values, first = _curves(fluorescence, cycles)
    if method not in METHODS:
        raise InstrumentError("BAD_CURVES", f"'{method}' is not a method; choose {', '.join(METHODS)}.")
    groups = _groups(targets, len(values))
    given = (
        None
        if baseline is None or method == "cfx"
        else given_windows(baseline, len(values), values.shape[1], first)
    )
    stood = _blockwise(values, given, subtracted=method == "cfx")
    limits = _limits(threshold, groups, stood)
    cq, efficiency = _cq(method, values, stood, limits, groups)
    flat = stood.reason == "flat"
    return CurveCalls(
        method=method,
        cq=np.where(flat & (method in _ANYWHERE), np.nan, cq) + first,
        efficiency=np.where(flat, np.nan, efficiency),
        verdict=verdicts(stood.reason),
        reason=stood.reason,
        threshold=limits,
        baseline=np.zeros_like(stood.window) if method == "cfx" else stood.window + first,
        corrected=stood.corrected,
        amplitude=stood.amplitude,
        noise=stood.noise,
    )


@dataclass(frozen=True, eq=False)
class Upright:
    """Curves on their own automatic baselines, and what their shapes say; no Cq is called.

    Attributes:
        corrected: curves x cycles, baseline-corrected fluorescence.
        verdict: as :attr:`CurveCalls.verdict`.
    """

    corrected: Floats
    verdict: NDArray[np.str_]


def upright(fluorescence: ArrayLike) -> Upright:
    """Take the automatic baseline off each curve and judge its shape, as :func:`call_curves` does.

    Args:
        fluorescence: curves x cycles (or one curve); Rn or raw units.

    Raises:
        InstrumentError: BAD_CURVES as :func:`call_curves`.
    """
    values, _ = _curves(fluorescence, None)
    stood = _blockwise(values, None, subtracted=False)
    return Upright(stood.corrected, verdicts(stood.reason))


def _curves(fluorescence: ArrayLike, cycles: ArrayLike | None) -> tuple[Floats, int]:
    values = np.atleast_2d(np.asarray(fluorescence, dtype=np.float64))
    if values.ndim != 2 or values.shape[1] < 4:
        raise InstrumentError(
            "BAD_CURVES", f"Curves x cycles with at least 4 cycles are needed, not {values.shape}."
        )
    # One value that is not finite makes the sum so; a sum alone may overflow.
    if not np.isfinite(values.sum()) and not np.isfinite(values).all():
        raise InstrumentError(
            "BAD_CURVES", "A fluorescence value is missing: call curves with gaps one by one."
        )
    if cycles is None:
        return values, 1
    counted = np.asarray(cycles)
    if counted.shape != (values.shape[1],) or (np.diff(counted) != 1).any():
        raise InstrumentError("BAD_CURVES", "Cycles must be one number per column, rising by 1 without gaps.")
    return values, int(counted[0])


def _groups(targets: Sequence[str] | None, count: int) -> Ints:
    if targets is None:
        return np.zeros(count, dtype=np.int64)
    if len(targets) != count:
        raise InstrumentError("BAD_CURVES", f"{len(targets)} targets were named for {count} curves.")
    _, groups = np.unique(np.asarray(targets), return_inverse=True)
    return groups


@dataclass(frozen=True, eq=False)
class _Stood:
    """Curves upright on their baselines: columns, not cycles."""

    peak: Ints
    window: Ints
    corrected: Floats
    noise: Floats
    amplitude: Floats
    reason: NDArray[np.str_]


def _blockwise(values: Floats, given: Ints | None, *, subtracted: bool) -> _Stood:
    """Prepare the curves in blocks, whose arrays stay in the processor's cache."""
    blocks = [
        _stand(
            values[i : i + _BLOCK], None if given is None else given[i : i + _BLOCK], subtracted=subtracted
        )
        for i in range(0, max(len(values), 1), _BLOCK)
    ]
    if len(blocks) == 1:
        return blocks[0]
    names = _Stood.__dataclass_fields__
    return _Stood(**{name: np.concatenate([getattr(block, name) for block in blocks]) for name in names})


def _stand(values: Floats, given: Ints | None, *, subtracted: bool) -> _Stood:
    peak = second_derivative_maximum(values)
    if subtracted:
        # The foot is looked at for its noise only; nothing is taken off.
        window, corrected, background = _feet(peak, values.shape[1]), values, np.zeros(len(values))
        noise = lines(values, window).noise
    else:
        window, fitted = automatic(values, peak) if given is None else (given, lines(values, given))
        corrected, noise = subtract(values, fitted), fitted.noise
        background = fitted.at((window[:, 0] + window[:, 1]) / 2.0)
    top = np.sort(corrected, axis=1)  # of rows this short faster than a partition
    amplitude = (top[:, -3] + top[:, -2] + top[:, -1]) / 3.0
    return _Stood(peak, window, corrected, noise, amplitude, shapes(corrected, noise, amplitude, background))


def _feet(peak: Ints, width: int) -> Ints:
    end = np.clip(peak - BEFORE_SDM, min(6, width - 2), width - 2)
    return np.stack([np.full(len(peak), min(2, width - 3)), end], axis=1)


def _limits(threshold: ArrayLike | None, groups: Ints, stood: _Stood) -> Floats:
    count = len(stood.amplitude)
    if threshold is not None:
        given = np.asarray(threshold, dtype=np.float64)
        if given.ndim > 1 or (given.ndim == 1 and len(given) != count) or not (given > 0).all():
            raise InstrumentError(
                "BAD_CURVES", "The threshold must be one positive number, or one per curve."
            )
        return np.array(np.broadcast_to(given, (count,)))
    # Without an amplification nothing places a threshold: above everything, so that nothing is called.
    limits = np.full(count, np.inf)
    amplified = stood.reason == ""
    for group in np.unique(groups):
        rows = groups == group
        chosen = rows & amplified
        if chosen.any():
            rise, noise = np.median(stood.amplitude[chosen]), np.median(stood.noise[chosen])
            limits[rows] = max(_LOW * float(rise), _ABOVE_NOISE * float(noise))
    return limits


def _cq(method: Method, values: Floats, stood: _Stood, limits: Floats, groups: Ints) -> tuple[Floats, Floats]:
    """Cq in columns and efficiency, by the method asked for."""
    if method == "linregpcr" and values.shape[1] >= WINDOW:
        takeoff = sdm_columns(values, stood.peak)
        return log_linear(stood.corrected, stood.noise, takeoff, limits, (groups, stood.reason == ""))
    efficiency = local_efficiency(stood.corrected, stood.peak)
    if method == "sdm":
        return sdm_columns(values, stood.peak), efficiency
    if method == "5pl":
        cq, rows = np.full(len(values), np.nan), np.flatnonzero(stood.reason != "flat")
        cq[rows] = logistic_columns(stood.corrected[rows], stood.peak[rows], stood.amplitude[rows])
        return cq, efficiency
    if method == "linregpcr":
        return np.full(len(values), np.nan), efficiency
    centre = crossing.crossings(stood.corrected, limits)
    read = crossing.cubic if method == "abi" else crossing.linear
    return read(stood.corrected, limits, centre), efficiency
