"""What all replications of a forecast begin with."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sim.duty import AHEAD_DAYS, BEHIND_DAYS, DAY, Duty, of_hours
from sim.lines import Again
from sim.now import (
    COMING,
    FORESEEN,
    IN_REVIEW,
    KINDS,
    ON_PLATE,
    POOL,
    POOLED,
    WAITING,
    Course,
    Floats,
    Ints,
    Model,
    Seen,
    State,
    Step,
)
from sim.ranks import FIFO, Firsts, Ranked
from sim.servers import NEVER
from sim.service import stream

LONGEST = 2880.0
"""Minutes for which unannounced tubes are foreseen at most."""


ENDS = ("report", "recollect")
"""Courses with which the laboratory is done with a tube as soon as it is read."""


@dataclass(frozen=True, slots=True, eq=False)
class Fate:
    """What the next test of some tubes may lead to.

    Attributes:
        places: of the tubes.
        bounds: between the courses, as shares summed up.
        courses: between these bounds.
        stays: of each course, whether the laboratory is not done with the tube as soon as it is read.
    """

    places: Ints | slice
    bounds: tuple[float, ...]
    courses: tuple[Course, ...]
    stays: NDArray[np.bool_]

    def choice(self, uniform: Floats) -> Ints:
        """Number of the course for each number between 0 and 1."""
        # a few comparisons of whole arrays are ten times as fast as a search for each number
        found = np.zeros(uniform.size, dtype=np.int64)
        for bound in self.bounds:
            found += uniform >= bound
        return found

    def staying(self, choice: Ints) -> dict[int, Course]:
        """Tube -> course, of tubes that stay."""
        found: dict[int, Course] = {}
        for number in self.stays.nonzero()[0].tolist():
            own = (choice == number).nonzero()[0]
            own = own + (self.places.start or 0) if isinstance(self.places, slice) else self.places[own]
            found |= dict.fromkeys(own.tolist(), self.courses[number])
        return found


@dataclass(frozen=True, slots=True, eq=False)
class OnPlate:
    """What a plate holds that is on its way already: first tests, other jobs, and how urgent it is."""

    first: Ints
    again: list[Again]
    key: tuple[float, float]


@dataclass(frozen=True)
class Start:
    """What all replications begin with; built once.

    Attributes:
        static, coming, again: places of tubes that wait for a first test, are on their way, wait for
            a retest.
        by_came: `static` in order of coming; `ranked` in order of urgency, where nobody else is on the way.
        fates: what the next test of every tube may lead to; `fate_of_others`, of tubes nobody has announced.
        members: of each pool; `owed`: tubes that are owed a report.
        horizon: minutes for which unannounced tubes are foreseen.
        lanes: assays.
        seen, travels: what stands for the minutes of each step, and of the way here.
        on: places of the tubes on each plate; `plates` as the stations want them.
        reviewed: places of tubes that were read and wait for their report.
        told: what the curves of running plates let the rules do.
    """

    model: Model
    state: State
    seed: int
    static: Ints
    coming: Ints
    again: Ints
    by_came: Ints
    ranked: Ranked | None
    fates: tuple[Fate, ...]
    fate_of_others: Fate
    members: Mapping[int, Ints]
    owed: int
    horizon: float
    lanes: int
    seen: list[Seen]
    travels: Seen
    on: list[Ints]
    plates: list[OnPlate]
    reviewed: Ints
    priority: list[int]
    due: list[float]
    came: list[float]
    persons: list[int]
    lane: list[int]
    kind: list[int]
    retested: list[bool]
    duties: tuple[Duty | None, ...]
    reception: Duty | None
    told: tuple[tuple[int, Ints, Floats], ...]
    courses: tuple[tuple[tuple[Course, ...], tuple[Course, ...], list[float]], ...]

    @classmethod
    def of(cls, model: Model, state: State, seed: int) -> "Start":
        """Rank what waits, and look up once what every replication asks for."""
        waits, on_plate = state.where == WAITING, state.where == ON_PLATE
        first = np.flatnonzero(waits & ~state.again)
        key = (first, state.came[first], state.due[first], -state.priority[first])
        received = (first, state.due[first], -state.priority[first], state.came[first])
        static = first[np.lexsort(received if model.fill.policy == FIFO else key)]
        by_came = np.argsort(state.came[static], kind="stable")
        coming, lanes = np.flatnonzero(state.where == COMING), int(state.lane.max(initial=0)) + 1
        on = [np.flatnonzero(on_plate & (state.plate == n)) for n in range(len(state.plates))]
        pooled = np.flatnonzero(state.where == POOLED)
        members = {int(pool): pooled[state.pool[pooled] == pool] for pool in np.unique(state.pool[pooled])}
        bounds = {
            name: np.cumsum([c.share for c in many])[:-1].tolist() for name, many in model.courses.items()
        }
        return cls(
            model=model,
            state=state,
            seed=seed,
            static=static,
            coming=coming,
            again=np.flatnonzero(waits & state.again),
            by_came=by_came,
            ranked=None if coming.size or lanes > 1 else _ranked(state, static, by_came, model.fill.policy),
            fates=tuple(_fates(model, state)),
            fate_of_others=_fate(model, 0, "first", slice(0)),
            members=members,
            owed=int((state.kind != POOL).sum()),
            horizon=horizon(model, state),
            lanes=lanes,
            seen=[Seen.of(step.service, stream(seed, 0, f"seen {step.name}")) for step in model.steps],
            travels=Seen.of(model.travel, stream(seed, 0, "seen travel")),
            on=on,
            plates=[_on_plate(state, tubes) for tubes in on],
            reviewed=np.flatnonzero(state.where == IN_REVIEW),
            priority=state.priority.tolist(),
            due=state.due.tolist(),
            came=state.came.tolist(),
            persons=state.persons.tolist(),
            lane=state.lane.tolist(),
            kind=state.kind.tolist(),
            retested=state.again.tolist(),
            told=tuple(foreseen(model, state)),
            reception=None if model.reception is None else model.reception.coming(state.now),
            duties=tuple(on_duty(step, state.now) for step in model.steps),
            courses=tuple(
                (model.courses[f"{kind} first"], model.courses[f"{kind} again"], bounds[f"{kind} again"])
                for kind in KINDS
            ),
        )


def _fate(model: Model, kind: int, test: str, places: Ints | slice) -> Fate:
    courses = model.courses[f"{KINDS[kind]} {test}"]
    bounds = np.cumsum([course.share for course in courses])[:-1].tolist()
    # a pool is never done with when it is read: its members follow it
    stays = [kind == POOL or course.next not in ENDS for course in courses]
    return Fate(places, tuple(bounds), courses, np.array(stays))


def _fates(model: Model, state: State) -> Iterator[Fate]:
    """What the next test of every tube may lead to, by kind of tube and whether it is a retest."""
    for kind in range(len(KINDS)):
        for later, test in ((False, "first"), (True, "again")):
            places = np.flatnonzero((state.kind == kind) & (state.again == later))
            if places.size == len(state.names):
                yield _fate(model, kind, test, slice(0, places.size))
            elif places.size:
                yield _fate(model, kind, test, places)


def _ranked(state: State, static: Ints, by_came: Ints, policy: str) -> Ranked:
    """What waits for its first test, where nothing else will come."""
    return Firsts(
        static,
        state.came[static],
        state.due[static],
        state.priority[static],
        state.persons[static],
        np.arange(static.size),
        by_came,
    ).ranked(policy)


def _on_plate(state: State, tubes: Ints) -> OnPlate:
    jobs = [
        Again(t, int(state.priority[t]), float(state.due[t]), float(state.came[t]), int(state.persons[t]))
        for t in tubes[state.again[tubes]].tolist()
    ]
    key = (-float(state.priority[tubes].max(initial=0)), float(state.due[tubes].min(initial=NEVER)))
    return OnPlate(tubes[~state.again[tubes]], jobs, key)


def foreseen(model: Model, state: State) -> Iterator[tuple[int, Ints, Floats]]:
    """Of tubes whose curves tell: the place, the courses that are meant, and their shares, summed up."""
    for place, word in state.told.items():
        name = f"{KINDS[int(state.kind[place])]} {'again' if state.again[place] else 'first'}"
        many = model.courses[name]
        meant = [number for number, course in enumerate(many) if course.next in FORESEEN[word]]
        shares = np.array([many[number].share for number in meant])
        if shares.sum() > 0:
            yield place, np.array(meant, dtype=np.int64), np.cumsum(shares) / shares.sum()


def on_duty(step: Step, now: float) -> Duty | None:
    """Who works at a step from now on: as planned, else in the hours in which anybody was seen."""
    if step.duty is not None:
        return step.duty.coming(now)
    if not step.hours or all(step.hours):
        return None
    return of_hours(step.hours, np.floor(now / DAY) - BEHIND_DAYS, BEHIND_DAYS + AHEAD_DAYS)


def horizon(model: Model, state: State) -> float:
    """Minutes for which unannounced tubes can matter: half as long again as the work in hand will take."""
    room = len(model.fill.template.sample_wells(model.fill.order))
    plates = len(state.names) / room + len(state.plates) + 1
    limits = [step.service.average / step.servers for step in model.steps if step.servers]
    straight = sum(step.service.average for step in model.steps)
    last = float(np.max(state.came, initial=state.now)) - state.now
    planned = any(on_duty(step, state.now) is not None for step in model.steps)
    night = DAY if planned or model.reception is not None else 0.0
    return min(night + max(1.5 * (plates * max(limits, default=0.0) + straight + last), 240.0), LONGEST)
