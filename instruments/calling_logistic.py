"""Cq without a threshold: the second-derivative maximum, of the points or of a fitted logistic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from instruments.calling_baseline import second_derivative

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

_STEPS = 40  # Levenberg-Marquardt steps; most curves need 8 to 15
_CLOSE = 1e-9  # relative gain below which a fit has settled
_GRID = 0.05  # cycles between the points at which the second derivative is looked at
_AROUND = 8.0  # cycles searched on either side of the measured maximum


def sdm_columns(values: Floats, peak: Ints) -> Floats:
    """Second-derivative maximum to a part of a cycle: vertex of the parabola through three points.

    Definition: Graham et al. 2021 (figshare 13707614), a parabola through the peak of the second
    derivative; here of the mean over three cycles. ``peak`` is the column of that peak.
    """
    second = second_derivative(np.pad(values, ((0, 0), (2, 2)), mode="edge"))
    rows = np.arange(len(values))
    inside = np.clip(peak, 1, values.shape[1] - 2)
    return inside + _vertex(*(second[rows, inside + step] for step in (-1, 0, 1)))


def _vertex(left: Floats, top: Floats, right: Floats) -> Floats:
    bend = left - 2.0 * top + right
    part = np.where(bend < 0, 0.5 * (left - right) / np.where(bend < 0, bend, 1.0), 0.0)
    vertex: Floats = np.clip(part, -0.5, 0.5)
    return vertex


def logistic_columns(corrected: Floats, peak: Ints, amplitude: Floats) -> Floats:
    """cpD2 of a five-parameter logistic, in columns.

    F = c + (d − c) / (1 + exp(b (ln x − ln e)))^f, fitted by least squares; cpD2 is the maximum of
    its second derivative (Spiess, Feig & Ritz 2008, BMC Bioinformatics 9:221; qpcR model ``l5``).
    NaN where the fit did not settle on a rising curve with its maximum inside the run.
    """
    x = np.arange(1.0, corrected.shape[1] + 1.0)
    y = corrected / np.maximum(amplitude, 1e-300)[:, None]
    fitted = _fit(np.log(x), y, _first_guess(x, y))
    start = np.clip(peak + 1.0 - _AROUND, 1.0, None)
    at = start[:, None] + np.arange(0.0, 2.0 * _AROUND, _GRID)
    slope = _slope(at, fitted)
    second = slope[:, 2:] - slope[:, :-2]
    top = np.argmax(second, axis=1)
    rows = np.arange(len(y))
    inside = np.clip(top, 1, second.shape[1] - 2)
    part = _vertex(*(second[rows, inside + step] for step in (-1, 0, 1)))
    cq = start + (inside + 1 + part) * _GRID - 1.0
    settled = (fitted[:, 2] < 0) & (fitted[:, 1] > fitted[:, 0]) & (top == inside) & (cq <= len(x) - 1)
    return np.where(settled, cq, np.nan)


def _first_guess(x: Floats, y: Floats) -> Floats:
    """c, d, b, ln e, ln f of a symmetric logistic with the height and the steepest slope of each curve."""
    slope = (y[:, 2:] - y[:, :-2]) / 2.0
    steepest = np.argmax(slope, axis=1)
    middle = x[steepest + 1]
    rate = np.maximum(slope[np.arange(len(y)), steepest], 0.02)
    zero = np.zeros(len(y))
    return np.stack([zero, zero + 1.0, -4.0 * rate * middle, np.log(middle), zero], axis=1)


def _model(logs: Floats, theta: Floats) -> tuple[Floats, Floats, Floats]:
    """The curve with two of its parts: (F, g^-f, e^u / g)."""
    c, d, b, centre, shape = (theta[:, i : i + 1] for i in range(5))
    grown = np.exp(np.clip(b * (logs - centre), -60.0, 60.0))
    part = (1.0 + grown) ** -np.exp(shape)
    return c + (d - c) * part, part, grown / (1.0 + grown)


def _jacobian(logs: Floats, theta: Floats) -> tuple[Floats, Floats]:
    """The curve and its derivatives by c, d, b, ln e, ln f: curves x cycles x 5."""
    c, d, b, centre, shape = (theta[:, i : i + 1] for i in range(5))
    model, part, share = _model(logs, theta)
    inner = -(d - c) * np.exp(shape) * part * share
    by_shape = (d - c) * part * np.log(np.maximum(part, 1e-300))
    return model, np.stack([1.0 - part, part, inner * (logs - centre), -inner * b, by_shape], axis=2)


def _fit(logs: Floats, y: Floats, theta: Floats) -> Floats:
    """Levenberg-Marquardt on all curves at once; those that have settled drop out."""
    damping = np.full(len(y), 1e-2)
    model, _, _ = _model(logs, theta)
    cost = ((y - model) ** 2).sum(axis=1)
    active = np.arange(len(y))
    for _ in range(_STEPS):
        if not len(active):
            break
        model, slopes = _jacobian(logs, theta[active])
        normal = np.swapaxes(slopes, 1, 2) @ slopes
        scale = np.einsum("nii->ni", normal)  # a view: writing to it damps the diagonal
        scale += damping[active, None] * scale + 1e-12
        pull = np.einsum("ntp,nt->np", slopes, y[active] - model)
        step = np.clip(np.linalg.solve(normal, pull[:, :, None])[:, :, 0], -20.0, 20.0)
        trial = theta[active] + step
        tried = ((y[active] - _model(logs, trial)[0]) ** 2).sum(axis=1)
        better = tried <= cost[active]
        gain = cost[active] - tried
        settled = better & (gain <= _CLOSE * cost[active]) | (damping[active] > 1e10)
        won = active[better]
        theta[won], cost[won] = trial[better], tried[better]
        damping[active] *= np.where(better, 0.2, 5.0)
        active = active[~settled]
    return theta


def _slope(x: Floats, theta: Floats) -> Floats:
    """First derivative of the fitted curves, each at its own points."""
    c, d, b, _, shape = (theta[:, i : i + 1] for i in range(5))
    _, part, share = _model(np.log(x), theta)
    slope: Floats = -(d - c) * np.exp(shape) * part * share * b / x
    return slope
