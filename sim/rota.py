"""The smallest staffing of a week that keeps a promise: proposed by an integer program, proved by simulation.

1. One run with more people than could ever be needed tells when work comes to the staffed stations.
2. An integer program (HiGHS, through `scipy.optimize.milp`) finds the fewest people, each on the same shift
   on days in a row, so that between any two ends of shifts no more work is left over than a budget allows.
3. The rota is simulated. The budget is the only knob: a larger one saves people and costs turnaround, so the
   largest one with which the simulation keeps the promise is found by bisection.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scheduler import Rota, Shift
from scheduler.shifts import DAY, minutes_on, windows
from sim.faults import listed, phrase
from sim.refusal import refused
from sim.run import replicate, simulate
from sim.scenario import Scenario
from sim.spec import Laboratory, Staff
from sim.specimens import by_day
from sim.study import Study
from sim.warmup import halved

BUDGETS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
"""Hours of work that may be left over at the end of a shift, tried from the middle."""

AMPLE = 4
"""Times the people of the scenario: enough that nobody ever waits for them."""

BUSY = 0.9
"""Share of the time on duty that can be spent on work; the rest goes between two plates."""

WEEK = 7
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Pattern:
    """People who work the same shift on the same days of the week (0 is the first day of the scenario)."""

    shift: str
    days: tuple[int, ...]
    people: int


@dataclass(frozen=True, slots=True)
class Slot:
    """One shift on one day of the horizon.

    Attributes:
        work: minutes of work that come to the staffed stations from its start to that of the next.
        each: minutes one position can work in it, absences and breaks taken off.
    """

    day: int
    shift: str
    work: float
    each: float


@dataclass(frozen=True)
class Proposal:
    """A rota and how well it does.

    Attributes:
        people: employees; `positions` (shift, day of the week) -> people on duty.
        study: the replications of the rota, its proof; None when there is no rota at all.
        budget_hours: work that may be left over at the end of a shift.
        tried: (budget, people, on-time share) of every rota that was simulated.
    """

    staff: str
    people: int
    patterns: tuple[Pattern, ...]
    positions: Mapping[tuple[str, int], int]
    target_share: float
    scenario: Scenario
    study: Study | None
    budget_hours: float | None = None
    tried: tuple[tuple[float, int, float], ...] = ()

    @property
    def on_time(self) -> float:
        """Mean share of tubes on time over the replications."""
        return 0.0 if self.study is None else self.study.mean("on_time_share")

    @property
    def kept(self) -> bool:
        """Whether the promise is kept."""
        return self.study is not None and self.on_time >= self.target_share


@dataclass(frozen=True, slots=True)
class Search:
    """How a rota is looked for.

    Attributes:
        replications: of the simulation that checks each rota; those of the last are its proof.
        seed: the same for every rota, so that luck does not choose between them.
        workers: processes.
        most: employees there can be.
        workdays: days in a row that a person works in a week.
    """

    replications: int = 8
    seed: int = 1
    workers: int = 0
    most: int = 500
    workdays: int = 5

    def __post_init__(self) -> None:
        if not 1 <= self.workdays <= WEEK or self.replications < 1 or self.most < 1:
            raise refused("BAD_ROTA", phrase("rota"))


def propose(
    scenario: Scenario, staff: str = "", search: Search | None = None, *, say: Say = lambda _: None
) -> Proposal:
    """Find the fewest people with whom the scenario keeps its target share of tubes on time.

    Args:
        scenario: of a laboratory with staff.
        staff: whose rota; the first of the scenario if not said.
        search: how to look for it.
        say: told what is tried.

    Raises:
        ScenarioError: `NO_STAFF`, `UNKNOWN_STAFF` or `BAD_ROTA`.
    """
    search, scenario = search or Search(), halved(scenario)
    lab = _laboratory(scenario)
    if staff not in {"", *lab.staff}:
        raise refused("UNKNOWN_STAFF", phrase("rota-staff", name=staff, known=listed(lab.staff)))
    own = lab.staff[staff or next(iter(lab.staff))]
    slots = _slots(scenario, lab, own, search.seed)
    tried: dict[int, Proposal] = {}
    low, high = -1, len(BUDGETS)
    while high - low > 1:
        middle = (low + high) // 2
        found = _attempt(scenario, lab, own, _fewest(own, slots, BUDGETS[middle], search), search)
        say(_told(found, BUDGETS[middle], search))
        if found is not None:
            tried[middle] = found
        if found is not None and found.kept:
            low = middle
        else:
            high = middle
    account = tuple((BUDGETS[place], one.people, one.on_time) for place, one in sorted(tried.items()))
    if not tried:
        return Proposal(own.name, 0, (), {}, lab.target_share, scenario, None, None, account)
    best = low if low >= 0 else min(tried)
    return replace(tried[best], budget_hours=BUDGETS[best], tried=account)


def _attempt(
    scenario: Scenario, lab: Laboratory, own: Staff, patterns: tuple[Pattern, ...], search: Search
) -> Proposal | None:
    """A rota with its simulation; None where there is no rota."""
    if not patterns:
        return None
    positions = _positions(patterns)
    changed = _with_rota(scenario, lab, own, positions)
    study = replicate(changed, search.replications, search.seed, workers=search.workers)
    people = sum(one.people for one in patterns)
    return Proposal(own.name, people, patterns, positions, lab.target_share, changed, study)


def _told(found: Proposal | None, budget: float, search: Search) -> str:
    if found is None:
        return f"{budget:g} h may be left over: more than {search.most} people would be needed"
    return f"{budget:g} h may be left over: {found.people} people, {found.on_time:.1%} on time"


def _laboratory(scenario: Scenario) -> Laboratory:
    if scenario.laboratory is None or not scenario.laboratory.staff:
        raise refused("NO_STAFF", phrase("rota-no-staff", name=scenario.name))
    return scenario.laboratory


# -- when work comes -------------------------------------------------------------------------------


def _slots(scenario: Scenario, lab: Laboratory, own: Staff, seed: int) -> list[Slot]:
    """The shifts of the horizon with the work that comes in each, were there always enough people.

    A scenario of fewer than seven days is taken to go on as it went, so that the rota covers a week.
    """
    many = AMPLE * max(own.rota.positions, 1)
    ample = {(shift.name, day): many for shift in own.rota.shifts for day in range(WEEK)}
    found = simulate(_with_rota(scenario, lab, own, ample), seed)
    logs = [found.stations[bench.name] for bench in lab.stations if bench.staff == own.name]
    entered = np.concatenate([log.entered for log in logs])
    minutes = np.concatenate([np.full(log.entered.size, log.busy / max(log.entered.size, 1)) for log in logs])
    starts = sorted((day * DAY + one.start, day, one) for day in range(lab.days) for one in own.rota.shifts)
    edges = np.array([begin for begin, _, _ in starts] + [np.inf])
    edges[0] = -np.inf  # what waits before the first shift comes with it, what comes after the last with that
    work, _ = np.histogram(entered, edges, weights=minutes)
    rounds = -(-WEEK // lab.days)
    return [
        Slot(day + turn * lab.days, shift.name, float(work[place]), _each(own, shift, day))
        for turn in range(rounds)
        for place, (_, day, shift) in enumerate(starts)
    ]


def _each(own: Staff, shift: Shift, day: int) -> float:
    """Minutes of work one position is good for on one shift of one day."""
    alone = replace(own.rota, shifts=(replace(shift, people=1, days=()),))
    (on,) = windows(alone, 2)
    worked = minutes_on(on, shift.start, shift.end)
    return worked * BUSY * (1 - own.absence) * by_day(own.present, day, 1.0)


# -- the integer program -----------------------------------------------------------------------------


def _fewest(own: Staff, slots: Sequence[Slot], budget: float, search: Search) -> tuple[Pattern, ...]:
    """The fewest people with whom no more than the budget (hours) is left over; empty if even the most fail.

    Work that came between the starts of any two slots, less the budget, must be doable in them: this is the
    backlog of a fluid queue, written without its maximum.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    long = {shift.name: (shift.end - shift.start) / 60 for shift in own.rota.shifts}
    kinds = [(shift, start) for shift in long for start in range(WEEK)]
    works = [frozenset((start + step) % WEEK for step in range(search.workdays)) for _, start in kinds]
    able = np.array(
        [
            [
                slot.each * (shift == slot.shift and slot.day % WEEK in days)
                for (shift, _), days in zip(kinds, works, strict=True)
            ]
            for slot in slots
        ]
    )
    capacity = np.vstack([np.zeros(len(kinds)), np.cumsum(able, axis=0)])
    come = np.concatenate([[0.0], np.cumsum([slot.work for slot in slots])])
    rows, least = _stretches(capacity, come, 60 * budget)
    if not len(rows):
        return (Pattern(kinds[0][0], tuple(sorted(works[0])), 1),)
    solved = milp(
        np.array([1 + 1e-4 * long[shift] for shift, _ in kinds]),  # fewest people; of those the fewest hours
        constraints=LinearConstraint(csr_array(rows), least, np.inf),
        bounds=Bounds(0, search.most),
        integrality=np.ones(len(kinds)),
        options={"time_limit": 20.0, "mip_rel_gap": 0.005},
    )
    if solved.x is None or np.rint(solved.x).sum() > search.most:
        return ()
    return tuple(
        Pattern(shift, tuple(sorted(days)), int(count))
        for (shift, _), days, count in zip(kinds, works, np.rint(solved.x).tolist(), strict=True)
        if count
    )


def _stretches(
    capacity: NDArray[np.float64], come: NDArray[np.float64], budget: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One row for every stretch of slots in which more work comes than may be left over."""
    rows, least = [], []
    for first in range(len(come) - 1):
        for last in range(first + 1, len(come)):
            needed = come[last] - come[first] - budget
            if needed > 0:
                rows.append(capacity[last] - capacity[first])
                least.append(needed)
    return np.array(rows), np.array(least)


# -- the rota ----------------------------------------------------------------------------------------


def _positions(patterns: Sequence[Pattern]) -> dict[tuple[str, int], int]:
    found: dict[tuple[str, int], int] = {}
    for one in patterns:
        for day in one.days:
            found[one.shift, day] = found.get((one.shift, day), 0) + one.people
    return found


def _with_rota(
    scenario: Scenario, lab: Laboratory, own: Staff, positions: Mapping[tuple[str, int], int]
) -> Scenario:
    """The scenario with so many people on each shift of each day of the week."""
    shifts = tuple(
        replace(shift, name=f"{shift.name} {day}", people=positions.get((shift.name, day), 0), days=(day,))
        for shift in own.rota.shifts
        for day in range(WEEK)
    )
    staff = {
        **lab.staff,
        own.name: replace(own, rota=Rota(shifts, own.rota.spell, own.rota.rest, own.rota.ending)),
    }
    return replace(scenario, laboratory=replace(lab, staff=staff))


def rota_document(found: Proposal) -> dict[str, Any]:
    """The document of `lis rota`."""
    study = found.study
    by_day = sorted((day, shift, count) for (shift, day), count in found.positions.items())
    share = None if study is None else {"mean": found.on_time, "ci95": study.share_ci("on_time_share")}
    return {
        "scenario": found.scenario.name,
        "staff": found.staff,
        "kept": found.kept,
        "people": found.people,
        "target_share": found.target_share,
        "on_time_share": share,
        "left_over_hours": found.budget_hours,
        "patterns": [
            {"shift": one.shift, "days": list(one.days), "people": one.people} for one in found.patterns
        ],
        "positions": [{"shift": shift, "day": day, "people": count} for day, shift, count in by_day],
        "tried": [{"left_over_hours": a, "people": b, "on_time_share": c} for a, b, c in found.tried],
    }
