"""The smallest laboratory that keeps a promise, and the proof by simulation.

1. What the work alone needs (busy minutes of every station over the time there is): a bound, for free.
2. If the laboratory as it stands misses the target: more where the waiting is, until it is met.
3. Then less, the dearest first: for every lever the smallest level by bisection, the others held. Common
   random numbers make neighbouring laboratories comparable: luck does not choose between them.
4. The survivors get fresh replications: what is printed as proof was not used for the search.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from scheduler import Rota
from sim.refusal import ScenarioError
from sim.report import BIN_HOURS
from sim.run import scaled, simulate
from sim.scenario import Scenario
from sim.spec import Laboratory
from sim.statistics import interval

Levels = Mapping[str, int]
Say = Callable[[str], None]
PROOF_SEED = 1_000_003
IDLE = 6
"""Raises in a row that may bring less than 1 % before the search for more gives up."""


@dataclass(frozen=True, slots=True)
class Lever:
    """Something of which there can be more or less.

    Attributes:
        name: of the station or the staff.
        kind: `machines` or `people` (in the largest shift; the others keep their proportion).
        now: level in the scenario; `most` the largest allowed.
        cost: of one more for one day.
    """

    name: str
    kind: str
    now: int
    most: int
    cost: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What replications say about one set of levels.

    Attributes:
        hours: the percentile of turnaround, one value a replication.
        meets: whether the whole 95 % interval of the mean lies at or below the target.
        waits: mean wait of every station, in hours of a part times parts: where time is lost.
        busy: server-minutes of work at every station.
    """

    levels: Levels
    cost: float
    hours: tuple[float, ...]
    on_time: float
    meets: bool
    waits: Mapping[str, float]
    busy: Mapping[str, float]

    @property
    def mean(self) -> float:
        """Mean of the percentile over replications, in hours."""
        return float(np.mean(self.hours))


@dataclass(frozen=True)
class Plan:
    """The outcome of a search: the document of `lis plan`."""

    scenario: str
    target_hours: float
    percentile: float
    levers: tuple[Lever, ...]
    bound: Levels
    best: Verdict | None
    proof: Verdict | None
    limits: Mapping[str, Mapping[str, Any]]
    pareto: tuple[Verdict, ...]
    sensitivity: Mapping[str, float]
    evaluated: int


def levers(lab: Laboratory) -> tuple[Lever, ...]:
    """Everything that can be changed, with what one more costs a day."""
    found = [
        Lever(bench.name, "machines", bench.servers, bench.most, bench.cost)
        for bench in lab.stations
        if not bench.staff
    ]
    for staff in lab.staff.values():
        hours = sum((shift.end - shift.start) / 60 for shift in staff.rota.shifts)
        share = sum(s.people * (s.end - s.start) / 60 for s in staff.rota.shifts) / (
            staff.rota.positions * hours
        )
        found.append(Lever(staff.name, "people", staff.rota.positions, 200, staff.cost * hours * share))
    return tuple(found)


def with_levels(scenario: Scenario, levels: Levels) -> Scenario:
    """The scenario with other numbers of machines and people."""
    lab = _laboratory(scenario)
    stations = tuple(
        replace(b, servers=levels.get(b.name, b.servers)) if not b.staff else b for b in lab.stations
    )
    staff = {
        name: replace(one, rota=_sized(one.rota, levels.get(name, one.rota.positions)))
        for name, one in lab.staff.items()
    }
    return replace(scenario, laboratory=replace(lab, stations=stations, staff=staff))


def _laboratory(scenario: Scenario) -> Laboratory:
    if scenario.laboratory is None:
        raise ScenarioError("NO_LABORATORY", f"{scenario.name} has no stations; nothing can be planned.")
    return scenario.laboratory


def _sized(rota: Rota, positions: int) -> Rota:
    """The rota with another largest shift; the others keep their proportion, and at least one person."""
    factor = positions / rota.positions
    shifts = tuple(replace(s, people=max(round(s.people * factor), min(s.people, 1))) for s in rota.shifts)
    return replace(rota, shifts=shifts)


@dataclass
class _Search:
    scenario: Scenario
    target: float
    percentile: float
    replications: int
    seed: int
    say: Say
    levers: tuple[Lever, ...]
    seen: dict[tuple[int, ...], Verdict] = field(default_factory=dict)

    def cost(self, levels: Levels) -> float:
        return sum(lever.cost * levels[lever.name] for lever in self.levers)

    def ask(self, levels: Levels) -> Verdict:
        """Replications until the interval is on one side of the target, or there are enough."""
        key = tuple(levels[lever.name] for lever in self.levers)
        if key not in self.seen:
            self.seen[key] = self.evaluate(self.scenario, levels, self.seed, sequential=True)
            found = self.seen[key]
            told = ", ".join(f"{name} {level}" for name, level in levels.items())
            self.say(f"{told}: {found.mean:.2f} h, {'meets' if found.meets else 'misses'} the target")
        return self.seen[key]

    def evaluate(self, scenario: Scenario, levels: Levels, seed: int, *, sequential: bool) -> Verdict:
        changed = with_levels(scenario, levels)
        hours: list[float] = []
        runs: list[Mapping[str, Any]] = []
        for number in range(self.replications):
            report = simulate(changed, seed, replication=number)
            runs.append(report.summary())
            hours.append(percentile_of(runs[-1], self.percentile))
            _, low, high = interval(hours, 0.99)
            if sequential and number >= 2 and (low > self.target or high <= self.target):
                break
        _, _, high = interval(hours)
        meets = (high if len(hours) > 1 else hours[0]) <= self.target
        stations = runs[0]["stations"]
        return Verdict(
            levels=dict(levels),
            cost=self.cost(levels),
            hours=tuple(hours),
            on_time=float(np.mean([run["on_time_share"] for run in runs])),
            meets=meets,
            waits={
                name: float(
                    np.mean([r["stations"][name]["queue_mean"] for r in runs if name in r["stations"]])
                )
                * (1 if one["unit"] == "tube" else _room(changed))
                for name, one in stations.items()
            },
            busy={name: float(np.mean([r["busy"].get(name, 0.0) for r in runs])) for name in stations},
        )

    def more(self, start: Levels) -> Levels | None:
        """Add where tubes wait longest until the target is met.

        None when everything is at its most, or when more of anything has stopped to help.
        """
        levels, best, idle = dict(start), math.inf, 0
        while idle < IDLE:
            found = self.ask(levels)
            if found.meets:
                return levels
            idle = 0 if found.mean < 0.99 * best else idle + 1
            best = min(best, found.mean)
            lever = self._worst(found, levels)
            if lever is None:
                return None
            levels[lever.name] = min(
                max(levels[lever.name] + 1, math.ceil(levels[lever.name] * 1.25)), lever.most
            )
        return None

    def _worst(self, found: Verdict, levels: Levels) -> Lever | None:
        lab = _laboratory(self.scenario)
        owner = {bench.name: bench.staff or bench.name for bench in lab.stations}
        waits: dict[str, float] = {}
        for name, wait in found.waits.items():
            if name in owner:
                waits[owner[name]] = waits.get(owner[name], 0.0) + wait
        room = [lever for lever in self.levers if levels[lever.name] < lever.most]
        return max(room, key=lambda lever: waits.get(lever.name, 0.0), default=None)

    def less(self, start: Levels, bound: Levels) -> Levels:
        """For every lever, the dearest first, the smallest level that still meets the target."""
        levels = dict(start)
        for lever in sorted(self.levers, key=lambda one: -one.cost):
            low, high = min(bound[lever.name], levels[lever.name]) - 1, levels[lever.name]
            while high - low > 1:
                middle = (low + high) // 2
                if self.ask({**levels, lever.name: middle}).meets:
                    high = middle
                else:
                    low = middle
            levels[lever.name] = high
        return levels


def _room(scenario: Scenario) -> int:
    return len(_laboratory(scenario).fill.template.sample_wells("column"))


def percentile_of(run: Mapping[str, Any], percentile: float) -> float:
    """A percentile of turnaround (hours) of one run; others than p50, p90, p95, p99 are rounded up."""
    name = f"p{percentile:g}"
    if name in run["tat"]:
        return float(run["tat"][name])
    reached = np.cumsum(run["histogram"]) / max(int(np.sum(run["histogram"])), 1)
    return (int(np.searchsorted(reached, percentile / 100)) + 1) * BIN_HOURS


def plan(
    scenario: Scenario,
    target_hours: float = 24.0,
    percentile: float = 95.0,
    *,
    replications: int = 10,
    seed: int = 1,
    say: Say = lambda _: None,
) -> Plan:
    """Find the cheapest set of machines and people under which the percentile of turnaround meets the target.

    Cheapest means: no lever can be one lower, the others held. A set meets the target when the whole 95 %
    interval of the mean percentile over replications does.

    Args:
        scenario: with a laboratory.
        target_hours: turnaround from arrival at the laboratory, in hours.
        percentile: of tubes, 0 to 100.
        replications: most per set while searching, and for the proof.
        seed: of the search; the proof uses another one.
        say: told every set that was tried.

    Raises:
        ScenarioError: the scenario has no laboratory, or the target makes no sense.
    """
    if target_hours <= 0 or not 0 < percentile < 100 or replications < 2:
        raise ScenarioError(
            "BAD_TARGET",
            "A target is hours above 0, a percentile between 0 and 100, and 2 or more replications.",
        )
    lab = _laboratory(scenario)
    search = _Search(scenario, target_hours, percentile, replications, seed, say, levers(lab))
    start = {lever.name: lever.now for lever in search.levers}
    bound = _bound(search, search.ask(start), lab)
    reached = search.more({name: max(level, bound[name]) for name, level in start.items()})
    if reached is None:
        return Plan(
            scenario.name,
            target_hours,
            percentile,
            search.levers,
            bound,
            None,
            None,
            {},
            _pareto(search),
            {},
            len(search.seen),
        )
    best = search.less(reached, bound)
    return Plan(
        scenario=scenario.name,
        target_hours=target_hours,
        percentile=percentile,
        levers=search.levers,
        bound=bound,
        best=search.ask(best),
        proof=search.evaluate(scenario, best, seed + PROOF_SEED, sequential=False),
        limits=_limits(search, best, bound),
        pareto=_pareto(search),
        sensitivity=_sensitivity(search, best),
        evaluated=len(search.seen),
    )


def _bound(search: _Search, found: Verdict, lab: Laboratory) -> dict[str, int]:
    """What the work alone needs, in the time between the first arrival and the last report in time."""
    minutes = lab.days * 1440 + search.target * 60
    need: dict[str, float] = {}
    for bench in lab.stations:
        name = bench.staff or bench.name
        need[name] = need.get(name, 0.0) + found.busy.get(bench.name, 0.0) / minutes
    return {lever.name: max(1, math.ceil(need.get(lever.name, 0.0) - 1e-9)) for lever in search.levers}


def _limits(search: _Search, best: Levels, bound: Levels) -> dict[str, dict[str, Any]]:
    """Why no lever can be one lower."""
    found: dict[str, dict[str, Any]] = {}
    for lever in search.levers:
        level = best[lever.name]
        if level <= bound[lever.name]:
            found[lever.name] = {"level": level, "limited_by": "the work alone needs it"}
            continue
        less = search.ask({**best, lever.name: level - 1})
        found[lever.name] = {
            "level": level,
            "limited_by": f"with one less the percentile is {less.mean:.2f} h"
            + ("" if not less.meets else ", which would do: another lever was lowered instead"),
            "hours_with_one_less": less.mean,
        }
    return found


def _pareto(search: _Search) -> tuple[Verdict, ...]:
    """Tried sets that no other one beats in both cost and turnaround, cheapest first."""
    kept: list[Verdict] = []
    for found in sorted(search.seen.values(), key=lambda one: (one.cost, one.mean)):
        if not kept or found.mean < kept[-1].mean - 1e-9:
            kept.append(found)
    return tuple(kept)


def _sensitivity(search: _Search, best: Levels) -> dict[str, float]:
    """The percentile under the same levels when the world is worse (hours)."""
    lab = _laboratory(search.scenario)
    more_ill = tuple(
        replace(
            s,
            prevalence_start=min(2 * s.prevalence_start, 1.0),
            prevalence_end=min(2 * s.prevalence_end, 1.0),
            prevalence_by_day=tuple(min(2 * p, 1.0) for p in s.prevalence_by_day),
        )
        for s in search.scenario.streams
    )
    absent = {name: replace(one, absence=min(one.absence + 0.1, 0.9)) for name, one in lab.staff.items()}
    worlds = {
        "volume +20 %": scaled(search.scenario, 1.2),
        "prevalence x 2": replace(search.scenario, streams=more_ill),
    }
    if absent:
        worlds["absence +10 points"] = replace(search.scenario, laboratory=replace(lab, staff=absent))
    return {
        name: search.evaluate(world, best, search.seed, sequential=False).mean
        for name, world in worlds.items()
    }


def plan_document(found: Plan) -> dict[str, Any]:
    """What `lis plan --json` prints."""

    def shown(verdict: Verdict | None) -> dict[str, Any] | None:
        if verdict is None:
            return None
        mean, low, high = interval(verdict.hours)
        return {
            "levels": dict(verdict.levels),
            "cost_per_day": verdict.cost,
            "percentile_hours": {"mean": mean, "ci95": [low, high] if len(verdict.hours) > 1 else None},
            "on_time_share": verdict.on_time,
            "replications": len(verdict.hours),
            "share_of_runs_in_target": float(np.mean([h <= found.target_hours for h in verdict.hours])),
            "meets": verdict.meets,
        }

    return {
        "scenario": found.scenario,
        "target_hours": found.target_hours,
        "percentile": found.percentile,
        "feasible": found.best is not None,
        "now": {lever.name: lever.now for lever in found.levers},
        "least_by_work": dict(found.bound),
        "plan": shown(found.best),
        "proof": shown(found.proof),
        "limits": dict(found.limits),
        "pareto": _shown_all(found.pareto, shown),
        "sensitivity_hours": dict(found.sensitivity),
        "evaluated": found.evaluated,
    }


def _shown_all(many: Iterable[Verdict], shown: Callable[[Verdict], Any]) -> list[Any]:
    return [shown(one) for one in many]
