"""A plan as a document."""

import math
from typing import Any

import numpy as np

from sim.levers import Custom, laboratory_of, machines_of, people_of
from sim.plan import Plan, finite
from sim.search import Verdict
from sim.statistics import interval


def plan_document(found: Plan) -> dict[str, Any]:
    """What `lis plan --json` prints; `days_counted` are the first and the last day that count, from 1."""
    days = laboratory_of(found.scenario).days
    return {
        "scenario": found.scenario.name,
        "target_hours": found.target_hours,
        "percentile": found.percentile,
        "days": days,
        "warm_up_days": found.scenario.warm_up_days,
        "days_counted": [(found.scenario.warm_up_days or 0) + 1, days],
        "feasible": found.best is not None,
        "now": {lever.name: lever.now for lever in found.levers},
        "least_by_work": dict(found.bound),
        "plan": found.best and shown(found, found.best),
        "proof": found.proof and shown(found, found.proof),
        "proven": found.proof is not None and found.proof.meets,
        "probability_of_correct_selection": found.probability,
        "limits": found.limits,
        "undecided": [name for name, why in found.limits.items() if why.get("decided") is False],
        "pareto": [shown(found, one) for one in found.pareto],
        "sensitivity_hours": {name: finite(one.mean) for name, one in found.sensitivity.items()},
        "sensitivity": {name: _against(found, one) for name, one in found.sensitivity.items()},
        "way": _way(found.custom),
        "ways": [_way(custom) | shown(found, one) for custom, one in found.ways.items()],
        "evaluated": found.evaluated,
        "runs_played": found.played,
        "stopped_early": found.stopped,
    }


def shown(found: Plan, verdict: Verdict) -> dict[str, Any]:
    """One set of machines and people."""
    return {
        "levels": dict(verdict.levels),
        "cost_per_day": verdict.cost,
        "machines": machines_of(found.scenario, verdict.levels),
        "people": people_of(found.scenario, verdict.levels),
        "percentile_hours": _hours(verdict.hours),
        "on_time_share": verdict.on_time,
        "tests_per_person": verdict.tests_per_person,
        "replications": len(verdict.hours),
        "share_of_runs_in_target": float(np.mean([h <= found.target_hours for h in verdict.hours])),
        "meets": verdict.meets,
        "limited_by": longest_wait(found, verdict),
    }


def _hours(hours: tuple[float, ...]) -> dict[str, Any]:
    if not all(map(math.isfinite, hours)):
        return {"mean": None, "ci95": None}
    mean, low, high = interval(hours)
    return {"mean": mean, "ci95": [low, high] if len(hours) > 1 else None}


def _against(found: Plan, verdict: Verdict) -> dict[str, Any]:
    """A worse world beside the proof: paired, because the luck is the same."""
    base = found.proof.hours if found.proof else ()
    both = [(a, b) for a, b in zip(base, verdict.hours, strict=False) if math.isfinite(a + b)]
    differences = tuple(b - a for a, b in both)
    return shown(found, verdict) | {"hours_more": _hours(differences) if differences else None}


def _way(custom: Custom) -> dict[str, Any]:
    return {"closing": custom.closing, "pool": custom.pool}


def longest_wait(found: Plan, verdict: Verdict) -> str:
    """The machines or people before which tubes wait longest, all together."""
    owner = {bench.name: bench.staff or bench.name for bench in laboratory_of(found.scenario).stations}
    waits: dict[str, float] = {}
    for name, wait in verdict.waits.items():
        if name in owner:
            waits[owner[name]] = waits.get(owner[name], 0.0) + wait
    return max(waits, key=lambda name: waits[name], default="")
