"""What a pool's reading, and the single tests after it, lead to: `pooling.decode` asked about real tubes.

A pool that is not clearly negative stays open until its members are cleared up: explained by a positive
member, or kept as an unexplained positive after its second aliquot was tested.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from lis import events as e
from lis import ledger, queries
from lis.events import TubeKind
from lis.services.pools.facts import Marks, marks
from lis.tube import Tube, TubeState
from pooling import (
    UNEXPLAINED,
    Action,
    Decision,
    Decoded,
    Finding,
    Individual,
    LabPool,
    Member,
    Mode,
    PoolReading,
    Status,
    decode,
)
from retest import TestSingly

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy import Connection

    from lis.db import Unit
    from lis.ledger import Recorded
    from lis.queries import CallRow
    from lis.rulebook import Rulebook
    from pooling import Duties
    from retest import Decision as CaseDecision

NEGATIVE_REASON: Final = "pool-negative"


@dataclass(frozen=True, slots=True)
class Case:
    """A pool with all that is known about it, and what the policy makes of that."""

    pool: Tube
    members: tuple[Tube, ...]
    marks: Mapping[str, Marks]
    decoded: Decoded
    reading: PoolReading


def settle_pools(
    unit: Unit,
    rules: Rulebook,
    tube_ids: Collection[str],
    decisions: Mapping[str, CaseDecision] | None = None,
) -> list[Case]:
    """Decide every pool that is among these tubes, or that one of them is a member of.

    Args:
        unit: the transaction.
        rules: the rules in force.
        tube_ids: tubes that were read, lost, withdrawn or measured.
        decisions: what the case rules said of pools and members that were read just now and that wait for
            this decision.

    Returns:
        The pools as they were decided.
    """
    # gather
    concerned = _concerned(unit.conn, tube_ids)
    if not concerned:
        return []
    cases = gather(unit.conn, rules, concerned)
    # decide
    facts: list[Recorded] = []
    alarms: list[dict[str, object]] = []
    for case in cases:
        asked = _Asked(unit.now, rules, decisions or {})
        facts += _facts(unit, case, asked)
        alarms += _alarms(unit, case, facts, rules)
    # apply
    if facts:
        queries.keep_rules(unit.conn, rules.pool_files(), unit.now)
        ledger.append(unit, facts)
    if alarms:
        queries.insert_rows(unit.conn, "alarm", alarms)
    return cases


def _concerned(conn: Connection, tube_ids: Collection[str]) -> list[str]:
    """Pools that were read and are not cleared up: these tubes, or those they are members of."""
    if not tube_ids:
        return []
    found = ledger.tubes(conn, {*tube_ids, *queries.pools_of(conn, tube_ids).values()})
    return sorted(
        code
        for code, tube in found.items()
        if tube.kind is TubeKind.POOL and tube.state is TubeState.RESULTED
    )


def gather(conn: Connection, rules: Rulebook, pool_ids: Collection[str]) -> list[Case]:
    """These pools with their members, readings, marks, and what the policy makes of them now."""
    pools = ledger.tubes(conn, pool_ids)
    members = queries.pool_members(conn, pool_ids)
    codes = [code for many in members.values() for code in many]
    tubes = ledger.tubes(conn, codes)
    known = marks(conn, rules, codes)
    calls = queries.calls(conn, pool_ids)
    return [
        _case(pools[code], [tubes[one] for one in members[code]], known, calls.get(code, ()), rules)
        for code in pool_ids
    ]


def _case(
    pool: Tube, tubes: Sequence[Tube], known: Mapping[str, Marks], calls: Sequence[CallRow], rules: Rulebook
) -> Case:
    made = LabPool(pool.tube_id, tuple(Individual(tube.tube_id) for tube in tubes))
    reading = _reading(pool, calls, rules)
    facts = [_member(tube, known[tube.tube_id]) for tube in tubes]
    decoded = decode(made, reading, facts, rules.pool.decode)
    return Case(pool, tuple(tubes), known, decoded, reading)


def _reading(pool: Tube, calls: Sequence[CallRow], rules: Rulebook) -> PoolReading:
    """What the pool read first and, of its further aliquots, last."""
    if not calls:
        return PoolReading(None)
    second = Finding(calls[-1].outcome) if len(calls) > 1 else None
    left = len(calls) <= rules.pool.second_aliquots and pool.state is not TubeState.REJECTED
    return PoolReading(Finding(calls[0].outcome), second, left)


def _member(tube: Tube, mark: Marks) -> Member:
    """A member as the policy sees it.

    A case that ended without an answer, or that only a new specimen can answer, leaves its tube untested as
    far as the pool is concerned.
    """
    known = Member(tube.tube_id, None, tube.tests, mark.lost, mark.withdrawn, mark.volume_ul)
    if mark.withdrawn:  # a test that was read before still speaks about the pool
        return replace(known, finding=_TOLD.get(tube.outcome) if tube.tests else None)
    if not tube.tests:
        return replace(known, missing=mark.lost or tube.state in _GONE)
    if tube.state in _GONE or tube.result in {"inconclusive", "invalid"}:
        return replace(known, missing=True)
    if tube.result:
        return replace(known, finding=Finding(tube.result))
    if tube.state is TubeState.RESULTED:  # negative, and waiting for this very decision
        return replace(known, finding=Finding(tube.outcome))
    return replace(known, finding=Finding.BORDERLINE)


_TOLD: Final = {"negative": Finding.NEGATIVE, "positive": Finding.POSITIVE}

_GONE: Final = frozenset({TubeState.AWAITING_RECOLLECTION, TubeState.REJECTED, TubeState.RESOLVED})
"""States in which nothing more can be learnt from a tube."""


# -- what follows --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Asked:
    """When, under which rules, and with which case decisions a pool is decided."""

    now: datetime
    rules: Rulebook
    decisions: Mapping[str, CaseDecision] = field(default_factory=dict)


def _facts(unit: Unit, case: Case, asked: _Asked) -> list[Recorded]:
    """The events of a pool and of those members that wait for its decision."""
    tubes = {tube.tube_id: tube for tube in case.members}
    facts: list[Recorded] = []
    waits = False
    for one in case.decoded.decisions:
        tube = tubes[one.who]
        if tube.state in {TubeState.POOLED, TubeState.RESULTED}:
            new = _member_facts(unit, case, tube, one, asked)
            waits = waits or one.action in {Action.TEST_SINGLY, Action.WAIT}
            facts += new
    return [*_pool_facts(case, asked, waits=waits), *facts]


def _member_facts(unit: Unit, case: Case, tube: Tube, one: Decision, asked: _Asked) -> list[Recorded]:
    code = tube.tube_id
    match one.action:
        case Action.REPORT_NEGATIVE:
            return [(code, e.Concluded("negative", _reason_of_negative(tube, one, case, asked)))]
        case Action.TEST_SINGLY:
            priority, hours, reason = _singly(case, one, asked)
            due = _due(tube, asked.now, hours)
            return [(code, e.RetestOrdered("singly", reason, max(priority, tube.priority), due))]
        case Action.RECOLLECT:
            persons = queries.persons_in(unit.conn, code)
            due = asked.now + timedelta(hours=asked.rules.recall_hours)
            return ledger.recalls(code, persons, one.reason, due)
        case Action.WAIT if tube.state is TubeState.RESULTED and tube.reason != one.reason:
            return [(code, e.HeldForPool(case.pool.tube_id, one.reason))]
        case _:  # nothing is due: waiting already, withdrawn, or the own case goes on
            return []


def _reason_of_negative(tube: Tube, one: Decision, case: Case, asked: _Asked) -> str:
    """Negative by its pool, by its own test as the case rules say it, or after the pool was cleared up."""
    if tube.state is TubeState.POOLED:
        return NEGATIVE_REASON
    said = asked.decisions.get(tube.tube_id)
    if case.decoded.reason in UNEXPLAINED:
        return case.decoded.reason
    return said.reason if said is not None else one.reason


def _singly(case: Case, one: Decision, asked: _Asked) -> tuple[int, float, str]:
    """Priority, hours and reason of a single test: as the case rules say of the pool's reading."""
    said = asked.decisions.get(case.pool.tube_id)
    policy = asked.rules.policy
    reason = one.reason if one.reason == "TEST_AGAIN" else said.reason if said is not None else one.reason
    if isinstance(said, TestSingly):
        return said.priority, said.hours, reason
    return policy.priority["singly"], policy.hours["singly"], reason


def _due(tube: Tube, now: datetime, hours: float) -> datetime:
    due = tube.due_at or now
    return due if hours <= 0 else min(due, now + timedelta(hours=hours))


def _pool_facts(case: Case, asked: _Asked, *, waits: bool) -> list[Recorded]:
    """What becomes of the pool tube itself; nothing while its members are open."""
    code, reason = case.pool.tube_id, case.decoded.reason
    match case.decoded.status:
        case Status.CLEARED if case.reading.finding is Finding.NEGATIVE:
            return [(code, e.Resolved(NEGATIVE_REASON))]
        case Status.RERUN:
            due = case.pool.due_at or asked.now
            priority = asked.rules.void_priority(case.pool)
            return [(code, e.RetestOrdered("re-extract", reason, priority, due))]
        case Status.CLEARED | Status.EXPLAINED | Status.UNEXPLAINED if not waits:
            return [(code, e.Resolved(reason))]
        case _:
            return []


# -- who must hear of it -------------------------------------------------------------------------


def _alarms(unit: Unit, case: Case, facts: Sequence[Recorded], rules: Rulebook) -> list[dict[str, object]]:
    """An unexplained pool; and a pool that is not clearly negative where the health authority must know."""
    code, found = case.pool.tube_id, []
    ended = {type(fact) for tube, fact in facts if tube == code}
    if case.decoded.reason in UNEXPLAINED and e.Resolved in ended:
        found.append(("POOL_UNEXPLAINED", case.decoded.sentence))
    first = case.decoded.status is Status.OPEN and any(
        tube.state is TubeState.POOLED for tube in case.members
    )
    duties = interim(rules)
    if first and duties is not None and duties["notify"]:
        found.append(("POOL_NOTIFY", f"Pool {code} is not clearly negative: tell the health authority now."))
    return [{"at": unit.now, "code": name, "subject": code, "sentence": sentence} for name, sentence in found]


def interim_of(conn: Connection, rules: Rulebook, tube: Tube) -> dict[str, object] | None:
    """What is said of the persons of a tube while they wait for results of their own; None if they do not.

    A member of a laboratory pool waits while its pool was not clearly negative and its own test is not
    decided; the persons of a tube mixed at collection wait for their new specimens.
    """
    if tube.kind is TubeKind.MIXED and tube.state is TubeState.AWAITING_RECOLLECTION:
        duties = rules.pool_policy.modes.get(Mode.MIXED)
        return None if duties is None else _said(duties, rules.policy.report_while_waiting, rules)
    if tube.kind is not TubeKind.SINGLE or tube.result or tube.state in _GONE or tube.test == "first":
        return None
    pool = queries.pools_of(conn, [tube.tube_id]).get(tube.tube_id)
    calls = queries.calls(conn, [pool])[pool] if pool else []
    return interim(rules) if calls and calls[0].outcome != "negative" else None


def interim(rules: Rulebook) -> dict[str, object] | None:
    """What the jurisdiction says of the persons of a non-negative pool until their own result.

    None where it has no rule for laboratory pools.
    """
    duties = rules.pool_policy.modes.get(Mode.POOL)
    return None if duties is None else _said(duties, duties.report, rules)


def _said(duties: Duties, report: str | None, rules: Rulebook) -> dict[str, object]:
    return {
        "report": report,
        "notify": duties.notify,
        "isolate": duties.isolate,
        "with_confirmed": duties.with_confirmed,
        "sentence": duties.sentence,
        "sentence_zh": duties.sentence_zh,
        "policy": rules.pool_policy.id,
        "policy_version": rules.pool_policy.version,
    }
