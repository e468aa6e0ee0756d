"""When tubes arrive at the laboratory."""

import csv
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sim.faults import listed, phrase
from sim.refusal import refused

SHAPES = ("uniform", "curve", "waves", "past")


@dataclass(frozen=True, slots=True)
class Arrival:
    """How arrivals are spread over a stretch of the day.

    Attributes:
        shape: `uniform`, `curve`, `waves` or `past`.
        weights: for `curve`, intensity at evenly spaced moments from start to end; for `waves`, share of
            each wave.
        minutes: for `waves`, minute of the day at which each courier arrives; for `past`, the minutes of the
            day at which tubes came on past days.
        spread: for `waves`, minutes over which the tubes of one courier are handed in; for `past`, minutes
            over which a drawn past arrival is blurred.
    """

    shape: str = "uniform"
    weights: tuple[float, ...] = ()
    minutes: tuple[float, ...] = ()
    spread: float = 0.0

    def __post_init__(self) -> None:
        needs = {"curve": 2, "waves": 1}.get(self.shape, 0)
        short = len(self.weights) < needs or (needs > 0 and sum(self.weights) == 0)
        past = self.shape == "past"
        for wrong, key, what in (
            (self.shape not in SHAPES, "shape", phrase("choice", value=self.shape, known=listed(SHAPES))),
            (min(self.weights, default=0) < 0, "weights", phrase("weights-negative")),
            (self.spread < 0, "spread", phrase("minutes-negative")),
            (past and not self.minutes, "minutes", phrase("past-missing")),
            (
                past and not all(0 <= minute < 1440 for minute in self.minutes),
                "minutes",
                phrase("past-minutes"),
            ),
            (
                short,
                "weights",
                phrase("weights-few", shape=self.shape, needs=needs),
            ),
            (
                self.shape == "waves" and len(self.minutes) != len(self.weights),
                "minutes",
                phrase("waves-uneven"),
            ),
        ):
            if wrong:
                raise refused("BAD_ARRIVAL", what, key)


def arrival_minutes(
    arrival: Arrival, count: int, start: float, end: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw `count` arrival times in minutes of the day, ascending, all within start..end.

    A curve is a piecewise linear intensity, drawn by inverting its integral; a wave is a courier whose
    tubes come together; past arrivals are drawn again with replacement.
    """
    if arrival.shape == "uniform":
        minutes = rng.uniform(start, end, count)
    elif arrival.shape == "curve":
        minutes = _by_curve(np.asarray(arrival.weights), rng.uniform(0, 1, count), start, end)
    elif arrival.shape == "past":
        blur = rng.uniform(0, arrival.spread, count)
        minutes = rng.choice(np.asarray(arrival.minutes), count) + blur
    else:
        shares = np.asarray(arrival.weights) / np.sum(arrival.weights)
        wave = rng.choice(np.asarray(arrival.minutes), size=count, p=shares)
        minutes = wave + rng.uniform(0, 1, count) * arrival.spread
    return np.sort(np.clip(minutes, start, end))


def _by_curve(
    weights: NDArray[np.float64], shares: NDArray[np.float64], start: float, end: float
) -> NDArray[np.float64]:
    """Minutes at which the integral of the intensity reaches the shares (the quadratic is solved exactly)."""
    step = (end - start) / (weights.size - 1)
    areas = (weights[1:] + weights[:-1]) / 2
    reached = np.concatenate([[0.0], np.cumsum(areas)]) / areas.sum()
    piece = np.clip(np.searchsorted(reached, shares, side="right") - 1, 0, areas.size - 1)
    left, slope = weights[piece], weights[piece + 1] - weights[piece]
    wanted = (shares - reached[piece]) * areas.sum()
    # left*x + slope*x^2/2 = wanted, in the form that also holds for slope 0.
    root = np.sqrt(np.maximum(left**2 + 2 * slope * wanted, 0))
    below = left + root
    within = np.divide(2 * wanted, below, out=np.zeros_like(wanted), where=below > 0)
    minutes: NDArray[np.float64] = start + step * (piece + within)
    return minutes


def past_minutes(name: str, folder: Path | None) -> list[float]:
    """Minutes of the day from the column `minute` of a CSV file, or from the times of its column `at`."""
    path = (folder or Path()) / name
    if folder is None or not path.is_file():
        raise refused("NO_FILE", phrase("no-arrival-file", name=name))
    found = []
    with path.open(encoding="utf-8", newline="") as text:
        for number, row in enumerate(csv.DictReader(text), start=2):
            try:
                if "minute" in row:
                    found.append(float(row["minute"]))
                else:
                    clock = datetime.fromisoformat(row["at"])
                    found.append(clock.hour * 60 + clock.minute + clock.second / 60)
            except (KeyError, ValueError, TypeError):
                raise refused("BAD_ARRIVAL", phrase("arrival-line", name=name, number=number)) from None
    return found
