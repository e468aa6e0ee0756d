"""How long things take: distributions of service times, and the numbers drawn from them in order of start."""

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sim.faults import listed, phrase
from sim.refusal import ScenarioError, check_keys, check_types, refused, shown

NEEDS: Mapping[str, tuple[str, ...]] = {
    "fixed": ("mean",),
    "exponential": ("mean",),
    "uniform": ("low", "high"),
    "triangular": ("low", "mode", "high"),
    "lognormal": ("mean", "sd"),
    "erlang": ("mean", "phases"),
    "observed": ("values",),
    "smoothed": ("values",),
}
CHUNK = 512


@dataclass(frozen=True, slots=True)
class Service:
    """A distribution of service times in minutes.

    Attributes:
        kind: a key of `NEEDS`; the other attributes are read as that kind needs them.
        values: measured times. `observed` draws them with replacement; `smoothed` what they foretell, see
            `smooth`.
    """

    kind: str = "fixed"
    mean: float = 0.0
    sd: float = 0.0
    low: float = 0.0
    mode: float = 0.0
    high: float = 0.0
    phases: int = 1
    values: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in NEEDS:
            raise refused("BAD_SERVICE", phrase("choice", value=self.kind, known=listed(NEEDS)), "kind")
        for key in ("mean", "sd", "low", "mode", "high", "values"):
            value = getattr(self, key)
            numbers = value if isinstance(value, tuple) else (value,)
            if min(numbers, default=0) < 0 or not np.all(np.isfinite(numbers)):
                raise refused("BAD_SERVICE", phrase("minutes-finite"), key)
        wrong = {
            "uniform": (not self.low <= self.high, "high", phrase("low-high")),
            "triangular": (
                not self.low <= self.mode <= self.high or self.low == self.high,
                "mode",
                phrase("low-mode-high"),
            ),
            "lognormal": (self.mean == 0, "mean", phrase("lognormal-mean")),
            "erlang": (self.phases < 1, "phases", phrase("one-or-more")),
            "observed": (not self.values, "values", phrase("no-values")),
            "smoothed": (not self.values, "values", phrase("no-values")),
        }
        bad, key, what = wrong.get(self.kind, (False, "", phrase("no-values")))
        if bad:
            raise refused("BAD_SERVICE", what, key)

    @classmethod
    def read(cls, facts: Any) -> "Service":
        """From a number of minutes, or from a table with `kind` and what that kind needs."""
        if isinstance(facts, (int, float)) and not isinstance(facts, bool):
            if not facts >= 0:
                raise refused("BAD_SERVICE", phrase("minutes", value=facts))
            return cls("fixed", mean=float(facts))
        if not isinstance(facts, Mapping):
            raise refused("BAD_SERVICE", phrase("service-wanted", value=shown(facts)))
        kind = facts.get("kind", "fixed")
        if kind not in NEEDS:
            raise refused(
                "BAD_SERVICE", phrase("choice-shown", value=shown(kind), known=listed(NEEDS)), "kind"
            )
        check_keys(facts, NEEDS[kind], {"kind"})
        check_types(facts, cls)
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()
        }
        return cls(**{**values, "kind": kind})

    @property
    def average(self) -> float:
        """The mean in minutes."""
        return {
            "uniform": (self.low + self.high) / 2,
            "triangular": (self.low + self.mode + self.high) / 3,
            "observed": float(np.mean(self.values)) if self.values else 0.0,
            "smoothed": float(np.mean(self.values)) if self.values else 0.0,
        }.get(self.kind, self.mean)

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw `count` times; drawing in two parts gives the same numbers as drawing at once."""
        if self.kind == "fixed":
            return np.full(count, self.mean)
        if self.kind == "exponential":
            return rng.exponential(self.mean, count)
        if self.kind == "uniform":
            return rng.uniform(self.low, self.high, count)
        if self.kind == "triangular":
            return rng.triangular(self.low, self.mode, self.high, count)
        if self.kind == "erlang":
            drawn: NDArray[np.float64] = rng.exponential(self.mean / self.phases, (count, self.phases)).sum(
                axis=1
            )
            return drawn
        if self.kind == "observed":
            return rng.choice(np.asarray(self.values), count)
        if self.kind == "smoothed":
            return smooth(np.sort(self.values), rng.random(count))
        spread = np.log1p((self.sd / self.mean) ** 2)
        return rng.lognormal(np.log(self.mean) - spread / 2, np.sqrt(spread), count)


def smooth(
    seen: NDArray[np.float64],
    uniform: NDArray[np.float64],
    first: NDArray[np.int64] | int = 0,
    above: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """The next time, foretold from times that were measured, at the given probabilities.

    One time more of the same kind falls into each of the n + 1 gaps that n times leave with the same
    probability; measured times alone never draw a time beyond the longest, so that bands made of them are
    too narrow. Straight within a gap; above the longest exponential, with the mean excess of the longest
    times (Bratley, Fox & Schrage, A Guide to Simulation, 1987, 5.2.4: that many of n are a root of n here).

    Args:
        seen: measured times, ascending.
        uniform: a probability for each time to draw.
        first: how many of the measured times it has outlasted already, in all or for each.
        above: and the time it has lasted, where it has.
    """
    size = seen.size
    outer = min(math.isqrt(size), size - 1)
    top = float(seen[size - outer :].mean() - seen[size - outer - 1]) if outer else 0.1 * float(seen[0])
    bottom = float(seen[outer] - seen[:outer].mean()) if outer else 0.1 * float(seen[0])
    edges = np.concatenate([[max(float(seen[0]) - bottom, 0.0)], seen])
    place = uniform * (size - np.asarray(first) + 1)
    gap = place.astype(np.int64)
    part, at = place - gap, first + gap
    low = edges[at]
    if above is not None:
        low = np.where((gap == 0) & (above > 0), above, low)
    high = seen[np.minimum(at, size - 1)]
    drawn: NDArray[np.float64] = np.where(at == size, low - top * np.log1p(-part), low + part * (high - low))
    return drawn


def stream(seed: int, replication: int, name: str, *place: int) -> np.random.Generator:
    """The generator of one station, or of another named source of chance, in one replication.

    Streams are keyed by name: a station more, or a machine more at a station, changes no other number.
    """
    key = (replication, zlib.crc32(name.encode()), *place)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


class Times:
    """The service times of one station, taken one by one in order of start."""

    __slots__ = ("_given", "_left", "_name", "_rng", "_service")

    def __init__(
        self, name: str, service: Service, rng: np.random.Generator, given: ArrayLike | None = None
    ) -> None:
        self._name, self._service, self._rng = name, service, rng
        self._given = given is not None
        self._left: list[float] = []
        if given is not None:
            values = np.asarray(given, dtype=np.float64).ravel()
            if values.size and not (np.all(np.isfinite(values)) and values.min() >= 0):
                raise ScenarioError(
                    "BAD_DRAWS", f"Station {name!r}: given service times are finite, not below 0."
                )
            self._left = values[::-1].tolist()

    def peek(self) -> float:
        """The time the next start will take."""
        if not self._left:
            if self._given:
                raise ScenarioError(
                    "DRAWS_SHORT", f"Station {self._name!r}: fewer service times than starts."
                )
            self._left = self._service.draw(CHUNK, self._rng)[::-1].tolist()
        return self._left[-1]

    def take(self) -> float:
        """The time of this start."""
        self.peek()
        return self._left.pop()

    def many(self, count: int) -> NDArray[np.float64]:
        """The times of the next `count` starts."""
        if self._given:
            if len(self._left) < count:
                raise ScenarioError(
                    "DRAWS_SHORT", f"Station {self._name!r}: fewer service times than starts."
                )
            taken = np.array(self._left[len(self._left) - count :][::-1])
            del self._left[len(self._left) - count :]
            return taken
        kept = self._left[::-1][:count]
        self._left = self._left[: len(self._left) - len(kept)]
        drawn = self._service.draw(count - len(kept), self._rng)
        return np.concatenate([kept, drawn]) if kept else drawn
