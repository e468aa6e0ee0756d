"""The report of a run of a laboratory."""

from typing import TYPE_CHECKING

import numpy as np

from sim.report import Report, StationLog
from sim.tube import Tube

if TYPE_CHECKING:
    from sim.lab import Floor


def report(floor: "Floor") -> Report:
    """Every tube, scheduled and re-collected, in order of arrival, and what the stations saw."""
    scenario, tubes, more = floor.scenario, floor.tubes, floor.more
    groups = {(s.tier, s.mode): None for s in scenario.streams} | {
        (floor.lab.recall.tier, "re-collected"): None
    }
    names = tuple(groups)
    place = np.array([names.index((source.tier, source.mode)) for source in scenario.streams])
    arrived = np.concatenate([tubes.arrival, [tube.arrived for tube in more]])
    order = np.argsort(arrived, kind="stable")
    last = np.full(len(more), names.index((floor.lab.recall.tier, "re-collected")), dtype=np.int64)
    again_reported = np.array([tube.reported for tube in more], dtype=np.bool_)
    # one column after the other, so that only one is held twice
    turnaround = np.concatenate([floor.done, [tube.done for tube in more]])
    turnaround -= arrived
    turnaround = turnaround[order]
    arrived = arrived[order]
    due = np.concatenate([floor.due, [_own_due(floor, tube) for tube in more]])[order]
    group = np.concatenate([place[tubes.stream], last])[order]
    reported = np.concatenate([floor.reported, again_reported])[order]
    persons = np.concatenate([tubes.persons, np.ones(len(more), dtype=np.int64)])[order]
    logs = [
        *floor.logs,
        *(StationLog.of(s, "tube" if s is floor.stations[0] else "plate") for s in floor.stations),
    ]
    if more:
        logs.append(StationLog.of(floor.desk, "tube"))
    again = sum(1 for tube in floor.special.values() if len(tube.past) > 1)
    counts = {
        **floor.counts,
        "retests": dict(sorted(floor.retests.items())),
        "retested": again,
        "scheduled": floor.size,
        "first_persons": int(tubes.persons.sum()),
    }
    verdicts = floor.verdicts
    outcomes = tuple(
        (outcome.call.value, outcome.rule, example)
        for outcome, example in zip(verdicts.outcomes, verdicts.examples, strict=True)
    )
    return Report(
        scenario=scenario.name,
        seed=floor.seed,
        arrived=arrived,
        turnaround=turnaround,
        due=due,
        group=group,
        reported=reported,
        persons=persons,
        groups=names,
        stations={log.name: log for log in logs},
        counts=counts,
        decisions=tuple(floor.record or ()),
        outcomes=outcomes if floor.record is not None else (),
        plates=tuple(floor.plates),
    )


def _own_due(floor: "Floor", tube: Tube) -> float:
    """When a re-collected tube was due by its tier; a retest's shorter hours are the laboratory's own aim."""
    tier = floor.lab.tiers.tier(tube.tier)
    start = tube.received if tier.clock == "receipt" else tube.arrived - floor.lab.recall.travel
    return start + 60 * tier.hours
