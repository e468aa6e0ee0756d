"""What becomes of a tube after a test: the policy is asked, and the floor does what it says."""

from typing import TYPE_CHECKING, assert_never

from retest import Call, Conclude, Decision, Material, Recollect, Retest, TestSingly
from retest.void import priority_of_void, repeat_of_void
from sim.faults import phrase
from sim.filling import Plate
from sim.recall import recall
from sim.refusal import refused
from sim.service import stream
from sim.tube import Tube

if TYPE_CHECKING:
    from sim.lab import Floor

MOST_TESTS = 60


def judge(floor: "Floor", tube: Tube, review: list[Tube]) -> None:
    """Add the finding, ask the policy, do what it says."""
    tube.past = (*tube.past, (tube.specimen, tube.code, tube.test))
    if len(tube.past) > MOST_TESTS:
        raise refused("NEVER_ENDS", phrase("tested-without-end", tube=tube.tid))
    waited = int((floor.env.now - tube.received) // 60)
    decision = floor.verdicts.decide(tube.material, tube.past, tube.persons, tube.tier, tube.earlier, waited)
    if floor.record is not None:
        floor.record.append((floor.env.now, tube.tid, tube.test, tube.code, type(decision).__name__))
    if tube.material is Material.pool:
        _resolve(floor, tube, decision, review)
        return
    match decision:
        case Conclude():
            if tube.past == ((tube.specimen, tube.code, "first"),) and _leaves(floor, tube):
                floor.finish(tube, reported=True)
            else:
                review.append(tube)
        case Retest():
            _again(floor, tube, decision.kind, decision.reason, decision.priority, decision.hours)
        case TestSingly():
            _again(floor, tube, "re-extract", decision.reason, decision.priority, decision.hours)
        case Recollect():
            recall(floor, tube)
        case _:
            assert_never(decision)


def _leaves(floor: "Floor", tube: Tube) -> bool:
    return floor.lab.auto_release and floor.verdicts.outcomes[tube.code].call is Call.negative


def _again(floor: "Floor", tube: Tube, test: str, reason: str, priority: int, hours: float) -> None:
    """Queue a tube for another test; what that will say is keyed by tube and number of the test."""
    floor.retests[reason] += 1
    tier = floor.lab.tiers.tier(tube.tier).priority
    tube.priority = max(priority, tier)
    tube.due = min(tube.due, floor.env.now + 60 * hours) if hours > 0 else tube.due
    tube.test = test
    rng = stream(floor.seed, floor.replication, "retest", *tube.path, len(tube.past))
    if test != "re-amplify":
        tube.shift = float(rng.normal(0, floor.scenario.chemistry.extraction_noise))
    read = floor.reader.read_one(tube.viral, tube.control, tube.shift, rng)
    tube.code = floor.verdicts.classify_one(read)
    floor.queue(tube)


def void(floor: "Floor", plate: Plate) -> None:
    """The run does not count: everything on it is tested again, ahead of others."""
    policy = floor.lab.rules.policy
    for tube in [*(floor.special_tube(tid) for tid in plate.first.tolist()), *plate.again]:
        if tube.code < 0:
            tube.code = int(floor.codes[tube.tid])
        tube.test = repeat_of_void("run", tube.test)
        owed = priority_of_void(policy, tube.persons, tube.tier)
        tube.priority = max(tube.priority, owed, floor.tier_priority(tube))
        floor.retests["run-failed"] += 1
        floor.queue(tube)
    if floor.counts["failed_plates"] + floor.counts["lost_runs"] > MOST_TESTS * (floor.size + 1):
        raise refused("NEVER_ENDS", phrase("plates-fail"))


def _resolve(floor: "Floor", pool: Tube, decision: Decision, review: list[Tube]) -> None:
    """A decided pool hands its members on: negative ones are concluded, all others tested singly."""
    negative = isinstance(decision, Conclude) and decision.result == "negative"
    pool.done = floor.env.now
    for tid in pool.members:
        tube = floor.special_tube(tid)
        if negative:
            if floor.lab.auto_release:
                floor.finish(tube, reported=True)
            else:
                tube.past = ((tube.specimen, pool.code, "first"),)
                review.append(tube)
        elif isinstance(decision, (TestSingly, Retest)):
            _again(floor, tube, "singly", decision.reason, decision.priority, decision.hours)
        else:
            _again(floor, tube, "singly", decision.reason, tube.priority, 0.0)
