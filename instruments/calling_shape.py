"""What a curve looks like: sigmoid, flat, or rising in a way that no amplification does.

Every rule has a reason in the reaction or the optics, and its limit is far from what amplifications
do; none is fitted to rated curves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from instruments.calling_baseline import NOISE_FACTOR

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]

SIGMOID, FLAT, ATYPICAL = "sigmoid", "flat", "atypical"
_SHORTEST = 8  # cycles below which a curve has no shape
_REASONS = np.array(("flat", "spike", "hook", "drift", "creep", "ramp", "weak", ""))
_RISE = 1.2  # ratio of successive cycles in exponential growth, at least twice in a row
_JUMP = 0.3  # of the rise, beyond a doubling within one cycle
_HOOK = 0.3  # of the rise, lost again by the end
_WIDE = 16.0  # cycles from 15 % to 85 % of the rise
_STRAIGHT = 1.75  # (t32 - t16) / (t16 - t8): 1 exponential, 1.15 logistic, 2 straight
_FOOT = 100.0  # rise over noise from which the foot of the rise can be timed
_STEADY = 0.02  # of the background: what lamp, dye and evaporation move by themselves
_WEAK = 0.1  # of the background
_DONE = 0.7  # of the greatest slope: below it the growth has passed its middle


def shapes(corrected: Floats, noise: Floats, amplitude: Floats, background: Floats) -> NDArray[np.str_]:
    """Name what speaks against an amplification in each curve; "" where nothing does.

    In the order in which they are asked:

    ``flat``: fewer than eight cycles, or the rise is below 20 SD of the baseline, or below 2 % of the
    background: lamp, passive dye and evaporation alone move it by that much.
    ``spike``: within one cycle the signal gains 30 % of its rise more than a doubling. No PCR more
    than doubles a cycle; a bubble, a bumped block or a drop that falls back does.
    ``hook``: 30 % of the rise is lost again by the end.
    ``drift``: nowhere two successive cycles grow by 20 % each while clear of the noise.
    ``creep``: from 15 to 85 % of the rise takes more than 16 cycles; the steepest logistic part of an
    amplification takes 4 to 6, with a probe that goes on rising up to 14.
    ``ramp``: the rise is straight from its start. The times from 8 to 16 % and from 16 to 32 % of the
    rise stand 1 : 1 in exponential and 1 : 1.15 in logistic growth, 1 : 2 on a straight line. Asked
    where the rise is above 100 SD, for lower feet drown in noise.
    ``weak``: the growth has passed its middle and yet ends below 10 % of the background. Such a
    reaction has used its reagents up without product (primer dimers, a probe that decays); one that
    is still gaining speed at the last cycle is a late positive and stays one. Asked only where a
    background is there, not of baseline-subtracted curves.
    """
    codes = np.zeros(len(corrected), dtype=np.int64)
    least = np.maximum(np.maximum(NOISE_FACTOR * noise, _STEADY * background), 1e-12)
    rows = np.flatnonzero(amplitude > least) if corrected.shape[1] >= _SHORTEST else codes[:0]
    if len(rows):
        top = np.argmax(corrected, axis=1)[rows]
        # Cycles x curves from here on: what is asked of all cycles is then asked of many curves at once.
        y = corrected.T.take(rows, axis=1)
        codes[rows] = _doubts(y, top, amplitude[rows], noise[rows], background[rows])
    named: NDArray[np.str_] = _REASONS[codes]
    return named


def _doubts(y: Floats, top: Ints, height: Floats, sd: Floats, background: Floats) -> Ints:
    """Place of the first reason that holds, in ``_REASONS``; curves are cycles x curves."""
    t8, t15, t16, t32, t85 = _times(y, top, np.array([[0.08], [0.15], [0.16], [0.32], [0.85]]) * height)
    doubts = (
        _jumps(y, height),
        _hooks(y, top, height),
        ~_grows(y, sd, height),
        t85 - t15 > _WIDE,
        (height > _FOOT * sd) & (t32 - t16 > _STRAIGHT * (t16 - t8)),
        _weak(y, height, background),
        np.ones(len(height), dtype=np.bool_),
    )
    first: Ints = np.argmax(np.stack(doubts), axis=0) + 1
    return first


def verdicts(reasons: NDArray[np.str_]) -> NDArray[np.str_]:
    """``sigmoid`` without a reason against it, ``flat``, or ``atypical`` for every other reason."""
    codes = (reasons != "") + (reasons == "flat").astype(np.int64)
    words: NDArray[np.str_] = np.array((SIGMOID, ATYPICAL, FLAT))[codes]
    return words


def _jumps(y: Floats, height: Floats) -> Bools:
    step = y[3:] - y[2:-1]
    jumps: Bools = step.max(axis=0) > _JUMP * height
    # Above zero the excess over a doubling is less than the step: only those that step so far are asked.
    rows = np.flatnonzero(jumps)
    excess = y[3:, rows] - 2.0 * np.maximum(y[2:-1, rows], 0.0)
    jumps[rows] = excess.max(axis=0) > _JUMP * height[rows]
    return jumps


def _hooks(y: Floats, top: Ints, height: Floats) -> Bools:
    last = (y[-3] + y[-2] + y[-1]) / 3.0
    hooks: Bools = y[top, np.arange(len(top))] - last > (_HOOK - 1e-9) * height
    rows = np.flatnonzero(hooks)  # no mean of three is higher than the top
    smooth = (y[:-2, rows] + y[1:-1, rows] + y[2:, rows]) / 3.0
    hooks[rows] = smooth.max(axis=0) - smooth[-1] > _HOOK * height[rows]
    return hooks


def _grows(y: Floats, noise: Floats, height: Floats) -> Bools:
    low = y[:-1]
    grows = y[1:] >= _RISE * low
    grows &= low > np.maximum(3.0 * noise, 0.01 * height)
    twice: Bools = np.asarray((grows[1:] & grows[:-1]).any(axis=0))
    return twice


def _times(y: Floats, top: Ints, levels: Floats) -> Floats:
    """Column at which each curve last rises through each of its levels, linearly interpolated.

    Levels and result are levels x curves. What comes after the top is no late rise. The last column
    for a curve that is never below the level before its top.
    """
    width, count = y.shape
    kind = np.uint8 if width < 256 else np.int64
    columns = np.arange(width, dtype=kind)[:, None]
    # Each cycle's number, 0 after the top: the last cycle below a level has the greatest.
    number = np.multiply(columns <= top.astype(kind), columns + 1, dtype=kind)
    last = [((y < level).view(np.uint8) * number).max(axis=0) for level in levels]
    below = np.stack(last).astype(np.int64) - 1
    place = below * count + np.arange(count)
    low = y.ravel().take(place, mode="wrap")
    gain = y.ravel().take(place + count, mode="wrap") - low
    part = np.where(gain > 0, (levels - low) / np.where(gain > 0, gain, 1.0), 0.0)
    times: Floats = np.where(below < 0, width - 1.0, below + np.clip(part, 0.0, 1.0))
    return times


def _weak(y: Floats, height: Floats, background: Floats) -> Bools:
    weak: Bools = height < _WEAK * background
    rows = np.flatnonzero(weak)
    slope = y[2:, rows] - y[:-2, rows]
    weak[rows] = slope[-3:].mean(axis=0) < _DONE * slope[2:].max(axis=0)
    return weak
