"""The smallest laboratory that keeps a promise, and the proof by simulation.

1. What the work alone needs (busy minutes of every station over the time there is): a bound, for free.
2. If wished, other ways to work are tried first: when partial plates close, how large pools are.
3. By pilots of few replications: more where the waiting is, until the target is met; then less, the
   dearest first, by bisection. Common random numbers make neighbours comparable.
4. By all replications: the set found must meet the target, and every set with one less of anything must
   miss it, else the search goes on from there. One that misses by far is left after fewer replications.
5. Fresh replications of another seed are the proof. A proof that fails sends the search on with twice the
   replications, a few times. What is claimed holds with a stated probability: one minus the sum of the
   one-sided doubts (t-tests, Bonferroni, also over the looks) that the set meets and each smaller one
   misses. Smaller sets whose own doubt is above 5 % are named as too close to tell and not claimed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sim.faults import phrase
from sim.levers import (
    Custom,
    Levels,
    Lever,
    custom_of,
    customs,
    laboratory_of,
    levers,
    with_custom,
)
from sim.refusal import refused
from sim.run import scaled
from sim.scenario import Scenario
from sim.search import Say, Search, Verdict
from sim.warmup import halved

PROOF_SEED = 1_000_003
PROOFS = 3
"""Proofs that may be tried, each with luck of its own and twice the replications of the last."""


@dataclass(frozen=True)
class Plan:
    """The outcome of a search: the document of `lis plan`.

    Attributes:
        replications: of a set and of a worse world, as asked for; a failed proof doubles those of the sets.
        bound: what the work alone needs.
        best: the set found, by the replications of the search; None when the target cannot be met.
        proof: the same set in replications that were not used for the search.
        probability: at least so sure are all claims together (best meets, smaller ones miss); None without.
        neighbours: every set with one less of one lever.
        pareto: tried sets that no other one beats in both cost and turnaround.
        sensitivity: the same set in worse worlds, on the luck of the proof.
        ways: other ways to work at the present levels, the present one first.
        custom: the way to work that was planned for; `try_ways` whether others were tried.
        evaluated: sets tried; `played` replications in all.
        stopped: interrupted; what is there is true, what is missing was not reached.
    """

    scenario: Scenario
    target_hours: float
    percentile: float
    levers: tuple[Lever, ...]
    custom: Custom
    try_ways: bool = False
    replications: int = 10
    bound: Levels = field(default_factory=dict)
    best: Verdict | None = None
    proof: Verdict | None = None
    proof_seed: int = PROOF_SEED
    probability: float | None = None
    neighbours: Mapping[str, Verdict] = field(default_factory=dict)
    pareto: tuple[Verdict, ...] = ()
    sensitivity: Mapping[str, Verdict] = field(default_factory=dict)
    ways: Mapping[Custom, Verdict] = field(default_factory=dict)
    evaluated: int = 0
    played: int = 0
    stopped: bool = False

    @property
    def limits(self) -> dict[str, dict[str, Any]]:
        """Why no lever can be one lower."""
        found: dict[str, dict[str, Any]] = {}
        for lever in self.levers if self.best is not None else ():
            level = self.best.levels[lever.name] if self.best else 0
            less = self.neighbours.get(lever.name)
            found[lever.name] = {"level": level, "limited_by": _reason(less, self.target_hours)}
            if less is not None:
                found[lever.name] |= {
                    "hours_with_one_less": finite(less.mean),
                    "on_time_with_one_less": less.on_time,
                    "decided": less.misses(self.target_hours),
                }
        return found


def finite(hours: float) -> float | None:
    """Hours for a document; None for work that was never done."""
    return hours if math.isfinite(hours) else None


def _reason(less: Verdict | None, target: float) -> str:
    if less is None:
        return "the work alone needs it"
    if not math.isfinite(less.mean):
        return "with one less the work is never done"
    if less.misses(target):
        return f"with one less the percentile is {less.mean:.2f} h"
    return f"with one less it is {less.mean:.2f} h, too close to tell: more replications would"


def plan(  # noqa: PLR0913 - the options of one search, by keyword
    scenario: Scenario,
    target_hours: float = 24.0,
    percentile: float = 95.0,
    *,
    replications: int = 10,
    seed: int = 1,
    say: Say = lambda _: None,
    workers: int = 1,
    try_ways: bool = False,
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
        say: told every set that was tried, with the time spent.
        workers: processes; the numbers do not depend on it.
        try_ways: also choose when partial plates close and how large pools are.

    Returns:
        The plan. Interrupted (Ctrl-C) once something is known, it is what is known, marked `stopped`.

    Raises:
        ScenarioError: the scenario has no laboratory, or the target makes no sense.
    """
    if target_hours <= 0 or not 0 < percentile < 100 or replications < 2:
        raise refused("BAD_TARGET", phrase("target"))
    scenario = halved(scenario)
    found = levers(laboratory_of(scenario))
    search = Search(scenario, target_hours, percentile, replications, seed, say, found, workers)
    custom = custom_of(scenario)
    made = Plan(scenario, target_hours, percentile, found, custom, try_ways, replications)
    with search.open():
        for step in (_bounded, _way_chosen, *(_searched, _proved) * PROOFS, _tested):
            try:
                made = step(search, made)
            except KeyboardInterrupt:
                if not search.seen:
                    raise
                return _summed_up(search, replace(made, best=made.best or _so_far(search), stopped=True))
    return _summed_up(search, made)


def _summed_up(search: Search, made: Plan) -> Plan:
    return replace(made, pareto=_pareto(search), evaluated=len(search.seen), played=search.played)


def _so_far(search: Search) -> Verdict | None:
    """The cheapest set that met the target by what is known of it."""
    good = [one for one in search.seen.values() if one.meets]
    return min(good, key=lambda one: one.cost, default=None)


def _bounded(search: Search, made: Plan) -> Plan:
    """What the work alone needs, in the time between the first arrival and the last report in time."""
    lab = laboratory_of(made.scenario)
    found = search.ask({lever.name: lever.now for lever in search.levers}, 1)
    minutes = lab.days * 1440 + search.target * 60
    need: dict[str, float] = {}
    for bench in lab.stations:
        name = bench.staff or bench.name
        need[name] = need.get(name, 0.0) + found.busy.get(bench.name, 0.0) / minutes
    bound = {lever.name: max(1, math.ceil(need.get(lever.name, 0.0) - 1e-9)) for lever in search.levers}
    return replace(made, bound=bound)


def _from(search: Search, bound: Levels) -> dict[str, int]:
    """Where the search begins: what there is, and at least what the work needs, if the room allows it."""
    return {lever.name: min(max(lever.now, bound[lever.name]), lever.most) for lever in search.levers}


def _way_chosen(search: Search, made: Plan) -> Plan:
    """The way to work with the lowest turnaround at the present levels; ties keep the present one."""
    if not made.try_ways:
        return made
    levels, present = _from(search, made.bound), search.scenario
    found: dict[Custom, Verdict] = {}
    for custom in customs(present):
        found[custom] = search.fresh(with_custom(present, custom), levels, search.seed)
        search.say(f"closing {custom.closing}, pools of {custom.pool}: {found[custom].mean:.2f} h")
    best = min(found, key=lambda custom: (round(found[custom].mean, 2), -found[custom].on_time))
    search.turn_to(with_custom(present, best))
    return replace(made, ways=found, custom=best)


def _searched(search: Search, made: Plan) -> Plan:
    """The smallest set by pilots, then confirmed by all replications, its smaller neighbours too."""
    if made.proof is not None:
        if made.proof.meets or made.best is None:
            return made
        search.replications *= 2
        search.say(f"the proof missed the target; on with {search.replications} replications")
        made = replace(made, best=None, proof=None, probability=None, neighbours={})
    levels = search.more(_from(search, made.bound))
    if levels is not None:
        levels = search.less(levels, made.bound)
    while True:
        levels = (levels and search.more(levels, surely=True)) or search.cheaper()
        if levels is None:
            return made
        around = dict(_named(search, levels, made.bound))
        best = search.ask(levels, search.replications)
        levels = next((dict(one.levels) for one in around.values() if one.meets), None)
        levels = levels or search.cheaper(best.cost)
        if levels is None:
            return replace(made, best=best, neighbours=around)


def _named(search: Search, levels: Levels, bound: Levels) -> list[tuple[str, Verdict]]:
    found = []
    for lever, verdict in search.neighbours(levels, bound):
        found.append((lever.name, verdict))
        if verdict.meets:
            break
    return found


def _proved(search: Search, made: Plan) -> Plan:
    """Fresh replications, and how sure all that is claimed is."""
    if made.best is None or made.proof is not None:
        return made
    seed = search.seed + PROOF_SEED + search.replications
    proof = search.fresh(search.scenario, made.best.levels, seed)
    missing = [one for one in made.neighbours.values() if one.misses(search.target)]
    doubt = proof.doubt(search.target, meets=True)
    doubt += math.fsum(one.doubt(search.target, meets=False) for one in missing)
    return replace(made, proof=proof, proof_seed=seed, probability=max(0.0, 1 - doubt))


def _tested(search: Search, made: Plan) -> Plan:
    """The same set when the world is worse, on the luck of the proof."""
    if made.best is None:
        return made
    found: dict[str, Verdict] = {}
    for name, world in worlds(search.scenario).items():
        found[name] = search.fresh(world, made.best.levels, made.proof_seed, made.replications)
        search.say(f"{name}: {found[name].mean:.2f} h")
    return replace(made, sensitivity=found)


def worlds(scenario: Scenario) -> dict[str, Scenario]:
    """The same laboratory with more tubes, more infected persons, fewer staff."""
    lab = laboratory_of(scenario)
    more_ill = tuple(
        replace(
            s,
            prevalence_start=min(2 * s.prevalence_start, 1.0),
            prevalence_end=min(2 * s.prevalence_end, 1.0),
            prevalence_by_day=tuple(min(2 * p, 1.0) for p in s.prevalence_by_day),
        )
        for s in scenario.streams
    )
    absent = {name: replace(one, absence=min(one.absence + 0.1, 0.9)) for name, one in lab.staff.items()}
    found = {
        "volume +20 %": scaled(scenario, 1.2),
        "prevalence x 2": replace(scenario, streams=more_ill),
    }
    if absent:
        found["absence +10 points"] = replace(scenario, laboratory=replace(lab, staff=absent))
    return found


def _pareto(search: Search) -> tuple[Verdict, ...]:
    """Tried sets that no other one beats in both cost and turnaround, cheapest first."""
    kept: list[Verdict] = []
    for found in sorted(search.seen.values(), key=lambda one: (one.cost, one.mean)):
        if not kept or found.mean < kept[-1].mean - 1e-9:
            kept.append(found)
    return tuple(kept)
