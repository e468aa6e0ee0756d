"""What replications of one scenario, or of several, come to: means, how sure they are, paired differences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.faults import phrase
from sim.refusal import refused
from sim.report import BIN_HOURS, BINS, SHARES
from sim.scenario import Scenario
from sim.statistics import interval


@dataclass(frozen=True)
class Study:
    """Replications of one scenario.

    Attributes:
        runs: `Report.summary` of every replication, by its number.
        wall: seconds it took.
        stopped: whether it was interrupted; what is there is complete for the replications it has.
    """

    scenario: Scenario
    seed: int
    runs: tuple[Mapping[str, Any], ...]
    wall: float
    stopped: bool = False

    def values(self, *path: str) -> list[float]:
        """One number per replication."""
        found = []
        for run in self.runs:
            value: Any = run
            for key in path:
                value = value[key]
            found.append(float(value))
        return found

    def mean(self, *path: str) -> float:
        """Mean over the replications."""
        return float(np.mean(self.values(*path)))

    def share_ci(self, *path: str) -> list[float] | None:
        """The same for a share: cut off at 0 and 1."""
        found = self.ci(*path)
        return None if found is None else [max(found[0], 0.0), min(found[1], 1.0)]

    def ci(self, *path: str, level: float = 0.95) -> list[float] | None:
        """t-interval over the replications; None when there is only one."""
        _, low, high = interval(self.values(*path), level)
        return None if len(self.runs) < 2 else [low, high]


def document(study: Study) -> dict[str, Any]:
    """What `lis simulate --json` prints."""
    first = study.runs[0]
    found = {
        "scenario": study.scenario.name,
        "seed": study.seed,
        "replications": len(study.runs),
        "wall_s": round(study.wall, 3),
        "warm_up_days": study.scenario.warm_up_days,
        "warm_up_tubes": round(study.mean("warm_up")),
        "tubes": round(study.mean("tubes")),
        "reports": round(study.mean("reports")),
        "on_time_share": {"mean": study.mean("on_time_share"), "ci95": study.share_ci("on_time_share")},
        "tat_hours": _tat(study),
        "stations": {name: _station(study, name) for name in first["stations"]},
        "retest_share": study.mean("retest_share"),
        "recollections": study.mean("recollections"),
        "tests_per_person": study.mean("tests_per_person"),
        "no_shows": study.mean("no_shows"),
        "plates": study.mean("plates"),
        "failed_plates": study.mean("failed_plates"),
        "wells_empty": study.mean("wells_empty"),
        "retests": _reasons(study),
        "groups": _groups(study),
        "days": _days(study),
        "stopped_early": study.stopped,
    }
    target = _target(study)
    return found if target is None else found | {"target": target}


def _tat(study: Study) -> dict[str, Any]:
    histogram = np.sum([run["histogram"] for run in study.runs], axis=0)
    reached = np.cumsum(histogram) / max(histogram.sum(), 1)
    pooled = (int(np.searchsorted(reached, 0.95)) + 1) * BIN_HOURS if histogram.sum() else 0.0
    return {
        "mean": study.mean("tat", "mean"),
        **{name: study.mean("tat", name) for name in SHARES},
        "max": max(study.values("tat", "max")),
        "ci95_p95": study.ci("tat", "p95"),
        "p95_pooled": min(pooled, BINS * BIN_HOURS),
        "meaning": "p50..p99: mean over replications of their own quantiles; p95_pooled: over all tubes",
    }


def _station(study: Study, name: str) -> dict[str, Any]:
    keys = ("utilisation", "wait_h_mean", "wait_h_p95", "work_h_mean", "queue_mean", "served")
    held = [run["stations"][name] for run in study.runs if name in run["stations"]]
    means = {key: float(np.mean([one[key] for one in held])) for key in keys}
    return {"unit": held[0]["unit"], **means, "queue_max": max(one["queue_max"] for one in held)}


def _reasons(study: Study) -> dict[str, float]:
    reasons = sorted({reason for run in study.runs for reason in run["retests"]})
    return {r: sum(run["retests"].get(r, 0) for run in study.runs) / len(study.runs) for r in reasons}


def _groups(study: Study) -> dict[str, dict[str, float]]:
    """Tier and mode: means over the replications that had any."""
    found = {}
    for name in sorted({name for run in study.runs for name in run["groups"]}):
        held = [run["groups"][name] for run in study.runs if name in run["groups"]]
        found[name] = {key: float(np.mean([one[key] for one in held])) for key in held[0]}
    return found


def _days(study: Study) -> list[dict[str, Any]]:
    longest = max(len(run["days"]) for run in study.runs)
    found = []
    for day in range(longest):
        held = [run["days"][day] for run in study.runs if day < len(run["days"])]
        shares = [one["on_time_share"] for one in held]
        mean, low, high = interval(shares)
        found.append(
            {
                "day": int(held[0]["day"]) + 1,
                "tubes": float(np.mean([one["tubes"] for one in held])),
                "on_time_share": mean,
                "ci95": [low, high] if len(held) > 1 else None,
                "p95": float(np.mean([one["p95"] for one in held])),
            }
        )
    return found


def _target(study: Study) -> dict[str, Any] | None:
    lab = study.scenario.laboratory
    if lab is None:
        return None
    days = [day for run in study.runs for day in run["days"]]
    good = [day["p95"] <= lab.target_hours for day in days]
    return {
        "hours": lab.target_hours,
        "share": lab.target_share,
        "days_with_p95_in_target": float(np.mean(good)),
        "runs_with_share_on_time": float(
            np.mean([s >= lab.target_share for s in study.values("on_time_share")])
        ),
    }


def compare(a: Study, b: Study, *path: str, level: float = 0.95) -> tuple[float, float, float]:
    """Paired difference b - a of one number under common random numbers: (mean, low, high)."""
    count = min(len(a.runs), len(b.runs))
    if a.seed != b.seed:
        raise refused("BAD_STUDY", phrase("study-seeds"))
    return interval(np.array(b.values(*path)[:count]) - np.array(a.values(*path)[:count]), level)


def compared(studies: Sequence[Study]) -> list[dict[str, Any]]:
    """Every further study: its document, and its paired differences to the first."""
    paths = {
        "on_time_share": ("on_time_share",),
        "late": ("late",),
        "p50": ("tat", "p50"),
        "p95": ("tat", "p95"),
        "tests_per_person": ("tests_per_person",),
    }
    found = []
    for study in studies[1:]:
        many = min(len(studies[0].runs), len(study.runs)) > 1
        differences = {}
        for name, path in paths.items():
            mean, low, high = compare(studies[0], study, *path)
            differences[name] = {"mean": mean, "ci95": [low, high] if many else None}
        found.append(document(study) | {"differences": differences})
    return found
