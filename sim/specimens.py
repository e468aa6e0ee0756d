"""The tubes of many days at once: who is in them, what they hold, what their first test reads.

The same model as `sim.truth` (loads add up, mixing and pooling dilute, Poisson copies, noise per target),
over arrays: only tubes with an infected person carry viral values, so that millions of tubes are cheap.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.arrivals import arrival_minutes
from sim.scenario import DAY, Chemistry, Scenario, Stream
from sim.service import stream
from sim.spec import Laboratory

Floats = NDArray[np.float64]
FEW_COPIES = 1000
"""From so many copies on their number no longer shows in the Cq."""


@dataclass(frozen=True, slots=True, eq=False)
class Specimens:
    """Tubes in order of arrival.

    Attributes:
        arrival: minutes from the first midnight, shape (tubes,).
        stream: index into the scenario's streams, shape (tubes,).
        persons, infected: how many are in the tube, shape (tubes,).
        first: place of the tube's first infected person in `cq`, shape (tubes,).
        cq: viral Cq of every infected person, tube after tube.
        readings: Cq of every target in the first test, NaN for none, shape (targets, tubes).
        control: true Cq of the internal control, shape (tubes,).
        viral: true Cq of the tube's content, NaN when nobody in it is infected, shape (tubes,).
        shift: of the first extraction in cycles, NaN when that failed, shape (tubes,).
    """

    arrival: Floats
    stream: NDArray[np.int64]
    persons: NDArray[np.int64]
    infected: NDArray[np.int64]
    first: NDArray[np.int64]
    cq: Floats
    readings: Floats
    control: Floats
    viral: Floats
    shift: Floats

    def own(self, tube: int) -> Floats:
        """Cq of the infected persons of a tube."""
        return self.cq[self.first[tube] : self.first[tube] + self.infected[tube]]


@dataclass(frozen=True)
class Reader:
    """What a cycler reads from true values.

    Attributes:
        control: for every target whether it is an internal control.
        offset: cycles added per target.
    """

    chemistry: Chemistry
    control: NDArray[np.bool_]
    offset: Floats

    @classmethod
    def of(cls, laboratory: Laboratory, chemistry: Chemistry) -> "Reader":
        """For the targets of the laboratory's assay."""
        targets = laboratory.assay.targets
        control = np.array([target.is_control for target in targets])
        offset = np.array([0.0 if t.is_control else chemistry.offsets.get(t.name, 0.0) for t in targets])
        return cls(chemistry, control, offset)

    def read(self, viral: Floats, control: Floats, shift: Floats, rng: np.random.Generator) -> Floats:
        """Cq of every target, NaN where nothing amplifies; shape (targets, tubes).

        Args:
            viral: true Cq of the tube's content before noise; NaN when nobody in it is infected.
            control: true Cq of the internal control.
            shift: of this extraction, in cycles; NaN when it failed: then nothing amplifies.
            rng: for copies and noise.
        """
        found = np.full((self.control.size, viral.size), np.nan)
        for row, (own, offset) in enumerate(zip(self.control, self.offset, strict=True)):
            truth = control if own else viral
            there = np.flatnonzero(~np.isnan(truth + shift))
            found[row, there] = self._amplify(truth[there] + shift[there] + offset, rng)
        return found

    def read_one(self, viral: float, control: float, shift: float, rng: np.random.Generator) -> list[float]:
        """The same for one tube: the numbers that `read` gives, without the cost of arrays."""
        top, found = self.chemistry.single_copy, []
        for own, offset in zip(self.control.tolist(), self.offset.tolist(), strict=True):
            truth = (control if own else viral) + shift
            if truth != truth:  # noqa: PLR0124 - nothing amplifies
                found.append(np.nan)
                continue
            # ufuncs of NumPy as in `_amplify`: the functions of `math` may differ in the last digit
            copies = float(np.exp2(top - (truth + offset)))
            copies = copies if copies >= FEW_COPIES else float(rng.poisson(copies))
            cq = top - float(np.log2(max(copies, 1.0))) + rng.normal(0, self.chemistry.noise)
            found.append(np.nan if copies < 1 or cq >= self.chemistry.cycles else cq)
        return found

    def _amplify(self, expected: Floats, rng: np.random.Generator) -> Floats:
        top = self.chemistry.single_copy
        copies = np.exp2(top - expected)
        few = copies < FEW_COPIES
        copies[few] = rng.poisson(copies[few])
        cq = top - np.log2(np.maximum(copies, 1)) + rng.normal(0, self.chemistry.noise, expected.size)
        cq[(copies < 1) | (cq >= self.chemistry.cycles)] = np.nan
        amplified: Floats = cq
        return amplified


def by_day(values: tuple[float, ...], day: int, default: float) -> float:
    """The value of a day; the last one holds on."""
    return values[min(day, len(values) - 1)] if values else default


def draw_specimens(
    scenario: Scenario, laboratory: Laboratory, seed: int, replication: int, given: Floats | None = None
) -> Specimens:
    """Draw all tubes of all days; the chance of a stream on a day is keyed by its name and the day.

    Args:
        scenario: streams, viral Cq, chemistry.
        laboratory: days, spread of the volume, assay.
        seed: of the run.
        replication: of the run.
        given: arrival times to use instead; the tubes keep the streams they are drawn with, in order.
    """
    parts = []
    for day in range(laboratory.days):
        swing = stream(seed, replication, "volume", day).uniform(-1, 1) * laboratory.volume_spread
        for number, source in enumerate(scenario.streams):
            rng = stream(seed, replication, f"stream {source.name}", day)
            count = round(source.tubes * by_day(source.tubes_by_day, day, 1.0) * (1 + swing))
            parts.append(_tubes(source, number, day, count, rng))
    arrival, index, persons, infected = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(arrival, kind="stable")
    arrival, index, persons, infected = arrival[order], index[order], persons[order], infected[order]
    if given is not None:
        arrival = np.sort(np.asarray(given, dtype=np.float64))
        index, persons, infected = (np.resize(column, arrival.size) for column in (index, persons, infected))
    return _content(scenario, laboratory, (arrival, index, persons, infected), seed, replication)


def _tubes(
    source: Stream, number: int, day: int, count: int, rng: np.random.Generator
) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    minutes = arrival_minutes(source.arrival, count, source.start, source.end, rng)
    persons = np.ones(count, dtype=np.int64)
    if source.places > 1:
        persons += rng.binomial(source.places - 1, source.fill, count)
    passed = (minutes - source.start) / (source.end - source.start)
    share = source.prevalence_start + (source.prevalence_end - source.prevalence_start) * passed
    if source.prevalence_by_day:
        share = np.full(count, by_day(source.prevalence_by_day, day, 0.0))
    return minutes + day * DAY, np.full(count, number), persons, rng.binomial(persons, share)


def _content(
    scenario: Scenario,
    laboratory: Laboratory,
    tubes: tuple[Floats, NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]],
    seed: int,
    replication: int,
) -> Specimens:
    arrival, index, persons, infected = tubes
    chemistry, rng = scenario.chemistry, stream(seed, replication, "content")
    cq = scenario.viral.draw(int(infected.sum()), rng)
    first = np.cumsum(infected) - infected
    viral = np.full(arrival.size, np.nan)
    carrying = np.flatnonzero(infected)
    if carrying.size:
        mixing = np.array([chemistry.mixing[source.places] for source in scenario.streams])
        load = np.add.reduceat(np.exp2(-cq), first[carrying])
        viral[carrying] = -np.log2(load) + mixing[index[carrying]]
    control = chemistry.draw_controls(arrival.size, rng)
    shift = rng.normal(0, chemistry.extraction_noise, arrival.size)
    failed = rng.uniform(size=arrival.size) < laboratory.invalid
    shift[failed] = np.nan
    readings = Reader.of(laboratory, chemistry).read(viral, control, shift, rng)
    return Specimens(arrival, index, persons, infected, first, cq, readings, control, viral, shift)
