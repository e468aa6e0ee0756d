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
    if not len(rows):
        return np.full(len(corrected), "flat", dtype=_REASONS.dtype)
    y, height, sd = corrected[rows], amplitude[rows], noise[rows]
    held = _rising_part(y)
    doubts = (
        _jumps(y, height),
        _hooks(y, height),
        ~_grows(y, sd, height),
        _time(held, 0.85 * height) - _time(held, 0.15 * height) > _WIDE,
        (height > _FOOT * sd) & _straight(held, height),
        _weak(y, height, background[rows]),
        np.ones(len(rows), dtype=np.bool_),
    )
    codes[rows] = np.argmax(np.stack(doubts), axis=0) + 1
    named: NDArray[np.str_] = _REASONS[codes]
    return named


def verdicts(reasons: NDArray[np.str_]) -> NDArray[np.str_]:
    """``sigmoid`` without a reason against it, ``flat``, or ``atypical`` for every other reason."""
    codes = (reasons != "") + (reasons == "flat").astype(np.int64)
    words: NDArray[np.str_] = np.array((SIGMOID, ATYPICAL, FLAT))[codes]
    return words


def _jumps(y: Floats, height: Floats) -> Bools:
    excess = y[:, 3:] - 2.0 * np.maximum(y[:, 2:-1], 0.0)
    jumps: Bools = excess.max(axis=1) > _JUMP * height
    return jumps


def _hooks(y: Floats, height: Floats) -> Bools:
    smooth = (y[:, :-2] + y[:, 1:-1] + y[:, 2:]) / 3.0
    hooks: Bools = smooth.max(axis=1) - smooth[:, -1] > _HOOK * height
    return hooks


def _grows(y: Floats, noise: Floats, height: Floats) -> Bools:
    low = y[:, :-1]
    clear = low > np.maximum(3.0 * noise, 0.01 * height)[:, None]
    grows = clear & (y[:, 1:] >= _RISE * low)
    twice = grows[:, 1:] & grows[:, :-1]
    return np.asarray(twice.any(axis=1))


def _rising_part(y: Floats) -> Floats:
    """Curves held at their top after it, so that a falling tail is no late rise; last cycle first."""
    after = np.arange(y.shape[1]) > np.argmax(y, axis=1)[:, None]
    held: Floats = np.where(after, y.max(axis=1)[:, None], y)
    return np.ascontiguousarray(held[:, ::-1])


def _time(held: Floats, level: Floats) -> Floats:
    """Column at which each curve last rises through a level, linearly interpolated; 0 if always above."""
    width = held.shape[1]
    place = np.argmax(held < level[:, None], axis=1)  # of the last cycle below, counted from the end
    rows = np.arange(len(held))
    low = held[rows, place]
    gain = held[rows, np.maximum(place - 1, 0)] - low
    part = np.where(gain > 0, (level - low) / np.where(gain > 0, gain, 1.0), 0.0)
    time: Floats = width - 1 - place + np.clip(part, 0.0, 1.0)
    return time


def _straight(held: Floats, height: Floats) -> Bools:
    t8, t16, t32 = (_time(held, part * height) for part in (0.08, 0.16, 0.32))
    straight: Bools = (t32 - t16) > _STRAIGHT * (t16 - t8)
    return straight


def _weak(y: Floats, height: Floats, background: Floats) -> Bools:
    slope = y[:, 2:] - y[:, :-2]
    done = slope[:, -3:].mean(axis=1) < _DONE * slope[:, 2:].max(axis=1)
    weak: Bools = done & (height < _WEAK * background)
    return weak
