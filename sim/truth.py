"""What is true about a day: who is infected, what every tube holds, and what a cycler would read from it.

The laboratory never sees these values; it sees the readings. Identities of persons are made elsewhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.arrivals import arrival_minutes
from sim.scenario import Scenario, Stream

PLAIN, BORDERLINE, INVALID = 0, 1, 2
TESTS = ("first", "re-amplify", "re-extract")
LATE = 38.8
"""True Cq of a borderline specimen: about one copy in the reaction."""

Reading = dict[str, float | None]


@dataclass(frozen=True, slots=True, eq=False)
class Day:
    """One drawn day; tubes in order of arrival, persons in order of their tubes.

    Attributes:
        scenario: what was drawn from.
        arrival: minute of the day each tube reaches the laboratory, shape (tubes,).
        stream: index into `scenario.streams`, shape (tubes,).
        places: room for persons, shape (tubes,).
        persons: persons present, shape (tubes,).
        first_person: index of the tube's first person, shape (tubes,).
        infected: shape (persons,).
        cq: viral Cq a single tube of the person would give; NaN when not infected, shape (persons,).
        control: Cq of the internal control, shape (tubes,).
        extraction: shift of the tube's first extraction in cycles, shape (tubes,).
        event: PLAIN, BORDERLINE or INVALID, shape (tubes,).
        failed_plates: plates, counted from 0 in order of their runs, whose control fails.
    """

    scenario: Scenario
    arrival: NDArray[np.float64]
    stream: NDArray[np.int64]
    places: NDArray[np.int64]
    persons: NDArray[np.int64]
    first_person: NDArray[np.int64]
    infected: NDArray[np.bool_]
    cq: NDArray[np.float64]
    control: NDArray[np.float64]
    extraction: NDArray[np.float64]
    event: NDArray[np.int8]
    failed_plates: tuple[int, ...]

    @property
    def tubes(self) -> int:
        """Number of tubes."""
        return int(self.arrival.size)

    def people(self, tube: int) -> range:
        """Indexes of the persons in a tube."""
        first = int(self.first_person[tube])
        return range(first, first + int(self.persons[tube]))

    def source(self, tube: int) -> Stream:
        """The stream a tube came with."""
        return self.scenario.streams[int(self.stream[tube])]


def draw_day(scenario: Scenario, rng: np.random.Generator) -> Day:
    """Draw everything that is true about a day; the same generator state gives the same day."""
    times = [arrival_minutes(s.arrival, s.tubes, s.start, s.end, rng) for s in scenario.streams]
    arrival = np.concatenate(times)
    order = np.argsort(arrival, kind="stable")
    arrival = arrival[order]
    stream = np.repeat(np.arange(len(times)), [time.size for time in times])[order]
    places = np.array([s.places for s in scenario.streams])[stream]
    fill = np.array([s.fill for s in scenario.streams])[stream]
    persons = 1 + rng.binomial(places - 1, fill)
    first_person = np.cumsum(persons) - persons
    tube_of = np.repeat(np.arange(arrival.size), persons)
    infected = rng.uniform(size=tube_of.size) < _prevalence(scenario, arrival, stream)[tube_of]
    event = _events(scenario, stream, infected[first_person], rng)
    infected[first_person[event == BORDERLINE]] = True
    cq = np.where(infected, scenario.viral.draw(tube_of.size, rng), np.nan)
    cq[first_person[event == BORDERLINE]] = LATE
    chemistry, count = scenario.chemistry, scenario.injections.failed_control_plates
    expected = max(1, arrival.size // 96)
    return Day(
        scenario=scenario,
        arrival=arrival,
        stream=stream,
        places=places,
        persons=persons,
        first_person=first_person,
        infected=infected,
        cq=cq,
        control=chemistry.draw_controls(arrival.size, rng),
        extraction=rng.normal(0, chemistry.extraction_noise, arrival.size),
        event=event,
        failed_plates=tuple(sorted(int(n) for n in rng.choice(expected, count, replace=False))),
    )


def _prevalence(
    scenario: Scenario, arrival: NDArray[np.float64], stream: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Share of infected persons at the arrival of each tube."""
    start, end, first, last = np.array(
        [(s.start, s.end, s.prevalence_start, s.prevalence_end) for s in scenario.streams]
    ).T
    passed = (arrival - start[stream]) / (end - start)[stream]
    share: NDArray[np.float64] = first[stream] + (last - first)[stream] * passed
    return share


def _events(
    scenario: Scenario,
    stream: NDArray[np.int64],
    first_infected: NDArray[np.bool_],
    rng: np.random.Generator,
) -> NDArray[np.int8]:
    """Exactly the injected events, on singly tested tubes; on uninfected persons as long as there are any."""
    alone = np.array([s.mode == "single" and not s.lab_pool for s in scenario.streams])[stream]
    candidates = np.flatnonzero(alone)
    shuffled = rng.permutation(candidates)
    ranked = shuffled[np.argsort(first_infected[shuffled], kind="stable")]
    event = np.zeros(stream.size, dtype=np.int8)
    borderline, invalid = scenario.injections.borderline, scenario.injections.invalid
    event[ranked[:borderline]] = BORDERLINE
    event[ranked[borderline : borderline + invalid]] = INVALID
    return event


def reading_rng(seed: int, *place: int) -> np.random.Generator:
    """A generator for one reading, the same in whatever order readings are asked for.

    Args:
        seed: of the day.
        place: numbers that name the reading, for example (tube, test number) or (plate, well).
    """
    return np.random.default_rng([seed, *place])


def specimen_cq(day: Day, tube: int) -> float | None:
    """True viral Cq of the tube's content, before noise; None when nobody in it is infected.

    Quantities of the infected add up; the larger volume of a mixed tube adds its shift.
    """
    people = day.people(tube)
    own = day.cq[people.start : people.stop]
    load = float(np.sum(np.exp2(-own[~np.isnan(own)])))
    if load == 0:
        return None
    return float(-np.log2(load) + day.scenario.chemistry.mixing[int(day.places[tube])])


def tube_cq(
    day: Day, tube: int, targets: Sequence[str], rng: np.random.Generator, *, test: str = "first"
) -> Reading:
    """What a run reads from a tube: Cq per target, None where nothing amplifies.

    Args:
        day: the drawn day.
        tube: index of the tube.
        targets: target names of the assay; internal controls are known by name.
        rng: for the noise of this reading.
        test: `first`, `re-amplify` (same RNA: same extraction) or `re-extract` (a new extraction).
    """
    _known(test)
    event = int(day.event[tube])
    if event == INVALID and test != "re-extract":
        return dict.fromkeys(targets)
    if event == BORDERLINE and test == "first":
        return _grey(day, tube, targets, rng)
    shift = _extraction(day, tube, test, rng)
    return _read(day, specimen_cq(day, tube), float(day.control[tube]), shift, targets, rng)


def pool_cq(
    day: Day, tubes: Sequence[int], targets: Sequence[str], rng: np.random.Generator, *, test: str = "first"
) -> Reading:
    """What a run reads from a laboratory pool of equal aliquots: each member diluted by log2(n) cycles.

    Raises:
        ValueError: when a member is a mixed tube, appears twice, or there is none.
    """
    _known(test)
    if not tubes or len(set(tubes)) < len(tubes):
        raise ValueError("A pool has one or more members, each once.")
    if any(day.places[tube] > 1 for tube in tubes):
        raise ValueError("A mixed tube is never pooled again.")
    dilution = float(np.log2(len(tubes)))
    loads = [2.0**-cq for tube in tubes if (cq := specimen_cq(day, tube)) is not None]
    truth = float(-np.log2(sum(loads))) + dilution if loads else None
    control = float(-np.log2(np.mean(np.exp2(-day.control[list(tubes)]))))
    shift = rng.normal(0, day.scenario.chemistry.extraction_noise)
    return _read(day, truth, control, float(shift), targets, rng)


def person_cq(day: Day, person: int, targets: Sequence[str], rng: np.random.Generator) -> Reading:
    """What a run reads from a new single tube of one person, collected after a mixed tube came back."""
    chemistry = day.scenario.chemistry
    truth = float(day.cq[person]) if day.infected[person] else None
    control = float(chemistry.draw_controls(1, rng)[0])
    shift = float(rng.normal(0, chemistry.extraction_noise))
    return _read(day, truth, control, shift, targets, rng)


def control_cq(day: Day, kind: str, plate: int, targets: Sequence[str], rng: np.random.Generator) -> Reading:
    """What a run reads from a control well.

    Args:
        day: the drawn day.
        kind: `NTC`, `PC` or `EC`.
        plate: number of the plate, counted from 0 in order of the runs; `day.failed_plates` fail.
        targets: target names of the assay.
        rng: for the noise of this reading.

    Raises:
        ValueError: when the kind is unknown.
    """
    chemistry, fails = day.scenario.chemistry, plate in day.failed_plates
    failure = day.scenario.injections.failure
    if kind == "NTC":
        contaminated = chemistry.positive_control + 8 if fails and failure == "NTC" else None
        return _read(day, contaminated, None, 0.0, targets, rng)
    if kind == "PC":
        if fails and failure == "PC":
            return dict.fromkeys(targets)
        return _read(day, chemistry.positive_control, chemistry.control_mean, 0.0, targets, rng)
    if kind == "EC":
        return _read(day, None, chemistry.control_mean, 0.0, targets, rng)
    raise ValueError(f"A control is NTC, PC or EC, not {kind!r}.")


def _known(test: str) -> None:
    if test not in TESTS:
        raise ValueError(f"A test is one of {', '.join(TESTS)}, not {test!r}.")


def _extraction(day: Day, tube: int, test: str, rng: np.random.Generator) -> float:
    if test == "re-extract":
        return float(rng.normal(0, day.scenario.chemistry.extraction_noise))
    return float(day.extraction[tube])


def _grey(day: Day, tube: int, targets: Sequence[str], rng: np.random.Generator) -> Reading:
    """The first reading of a borderline tube: every viral target inside the grey band."""
    low, high = day.scenario.injections.grey
    reading = _read(day, None, float(day.control[tube]), 0.0, targets, rng)
    controls = day.scenario.chemistry.control_targets
    return {
        target: cq if target in controls else float(rng.uniform(low, high)) for target, cq in reading.items()
    }


def _read(
    day: Day,
    viral: float | None,
    control: float | None,
    shift: float,
    targets: Sequence[str],
    rng: np.random.Generator,
) -> Reading:
    """One well: every target draws its own copies (Poisson) and its own noise."""
    chemistry = day.scenario.chemistry
    reading: Reading = {}
    for target in targets:
        own = target in chemistry.control_targets
        truth = control if own else viral
        if truth is None:
            reading[target] = None
            continue
        expected = truth + shift + (0.0 if own else chemistry.offsets.get(target, 0.0))
        copies = int(rng.poisson(2.0 ** (chemistry.single_copy - expected)))
        cq = chemistry.single_copy - np.log2(max(copies, 1)) + rng.normal(0, chemistry.noise)
        reading[target] = float(cq) if copies and cq < chemistry.cycles else None
    return reading
