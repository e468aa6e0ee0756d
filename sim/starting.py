"""What all replications of a forecast begin with."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from sim.duty import AHEAD_DAYS, BEHIND_DAYS, DAY, Duty, of_hours
from sim.now import (
    COMING,
    FORESEEN,
    IN_REVIEW,
    KINDS,
    ON_PLATE,
    POOLED,
    WAITING,
    Course,
    Floats,
    Ints,
    Model,
    State,
    Step,
    seen_of,
)
from sim.service import stream

LONGEST = 2880.0
"""Minutes for which unannounced tubes are foreseen at most."""


@dataclass(frozen=True)
class Start:
    """What all replications begin with; built once."""

    model: Model
    state: State
    seed: int
    static: Ints
    coming: Ints
    again: Ints
    by_came: Ints
    bounds: Mapping[str, list[float]]
    members: Mapping[int, Ints]
    horizon: float
    lanes: int
    seen: list[Floats]
    travels: Floats
    on: list[Ints]
    reviewed: Ints
    priority: list[int]
    due: list[float]
    came: list[float]
    persons: list[int]
    lane: list[int]
    kind: list[int]
    retested: list[bool]
    duties: tuple[Duty | None, ...]
    told: tuple[tuple[int, Ints, Floats], ...]
    courses: tuple[tuple[tuple[Course, ...], tuple[Course, ...], list[float]], ...]

    @classmethod
    def of(cls, model: Model, state: State, seed: int) -> "Start":
        """Rank what waits, and look up once what every replication asks for."""
        waits, on_plate = state.where == WAITING, state.where == ON_PLATE
        first = np.flatnonzero(waits & ~state.again)
        key = (first, state.came[first], state.due[first], -state.priority[first])
        received = (first, state.due[first], -state.priority[first], state.came[first])
        static = first[np.lexsort(received if model.fill.policy == "fifo-full" else key)]
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
            coming=np.flatnonzero(state.where == COMING),
            again=np.flatnonzero(waits & state.again),
            by_came=np.argsort(state.came[static], kind="stable"),
            bounds=bounds,
            members=members,
            horizon=horizon(model, state),
            lanes=int(state.lane.max(initial=0)) + 1,
            seen=[seen_of(step.service, stream(seed, 0, f"seen {step.name}")) for step in model.steps],
            travels=seen_of(model.travel, stream(seed, 0, "seen travel")),
            on=[np.flatnonzero(on_plate & (state.plate == n)) for n in range(len(state.plates))],
            reviewed=np.flatnonzero(state.where == IN_REVIEW),
            priority=state.priority.tolist(),
            due=state.due.tolist(),
            came=state.came.tolist(),
            persons=state.persons.tolist(),
            lane=state.lane.tolist(),
            kind=state.kind.tolist(),
            retested=state.again.tolist(),
            told=tuple(foreseen(model, state)),
            duties=tuple(on_duty(step, state.now) for step in model.steps),
            courses=tuple(
                (model.courses[f"{kind} first"], model.courses[f"{kind} again"], bounds[f"{kind} again"])
                for kind in KINDS
            ),
        )


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
    night = DAY if any(on_duty(step, state.now) is not None for step in model.steps) else 0.0
    return min(night + max(1.5 * (plates * max(limits, default=0.0) + straight + last), 240.0), LONGEST)
