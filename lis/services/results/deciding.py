"""Decisions as events."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, assert_never

from lis import events as e
from lis import ledger, queries
from lis.events import TubeKind
from lis.services.results.shapes import Judged, Plate
from lis.tube import Tube, TubeState
from retest import Conclude, PlateVerdict, Recollect, Retest, TestSingly
from retest.void import repeat_of_void

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from lis.db import Unit
    from lis.ledger import Recorded
    from lis.matching import LoadedWell
    from lis.rulebook import Rulebook


def open_pools(unit: Unit, plate: Plate) -> dict[str, str]:
    """Single tube of this plate -> its pool, where that pool was read and is not cleared up."""
    again = [
        code for code, tube in plate.tubes.items() if tube.kind is TubeKind.SINGLE and tube.test != "first"
    ]
    homes = queries.pools_of(unit.conn, again) if again else {}
    pools = ledger.tubes(unit.conn, homes.values()) if homes else {}
    return {code: pool for code, pool in homes.items() if pools[pool].state is TubeState.RESULTED}


def pool_of(tube: Tube, pools: Mapping[str, str]) -> str:
    """The pool that a tube is, or of which it is a member that was read again; empty for none."""
    return tube.tube_id if tube.kind is TubeKind.POOL else pools.get(tube.tube_id, "")


def is_left(one: Judged, pools: Mapping[str, str]) -> bool:
    """Whether the decoding of pools decides: about a pool, and about a negative member of an open one."""
    if one.tube.kind is TubeKind.POOL:
        return True
    negative = isinstance(one.decision, Conclude) and one.decision.result == "negative"
    return negative and one.tube.tube_id in pools


def facts_of(
    unit: Unit,
    rules: Rulebook,
    plate: Plate,
    run_id: str,
    one: Judged,
    undecided: Collection[str],
) -> list[Recorded]:
    """What the log says of one judged tube: its call, and what happens to it next."""
    code = one.tube.tube_id
    called = e.Called(
        run_id=run_id,
        plate_id=plate.plate_id,
        well=one.well.well,
        outcome=one.outcome.call.value,
        rule=one.outcome.rule,
        assay=one.outcome.assay,
        assay_version=one.outcome.version,
        test=one.tube.test,
        curve=one.curve,
    )
    return [(code, called)] if code in undecided else [(code, called), *_tube_facts(unit, rules, one)]


def _tube_facts(unit: Unit, rules: Rulebook, one: Judged) -> list[Recorded]:
    code, decision = one.tube.tube_id, one.decision
    match decision:
        case Conclude():
            return [(code, e.Concluded(decision.result, decision.reason))]
        case Retest():
            due = _next_due(unit, one.tube, decision.hours)
            return [(code, e.RetestOrdered(decision.kind, decision.reason, decision.priority, due))]
        case TestSingly():
            due = _next_due(unit, one.tube, decision.hours)
            return [(code, e.RetestOrdered("re-extract", decision.reason, decision.priority, due))]
        case Recollect():
            persons = queries.persons_in(unit.conn, code)
            return ledger.recalls(
                code, persons, decision.reason, unit.now + timedelta(hours=rules.recall_hours)
            )
        case _:
            assert_never(decision)


def _next_due(unit: Unit, tube: Tube, hours: float) -> datetime:
    return _soon(unit, tube) if hours <= 0 else min(_soon(unit, tube), unit.now + timedelta(hours=hours))


def _soon(unit: Unit, tube: Tube) -> datetime:
    return tube.due_at or unit.now


def void(
    rules: Rulebook, plate: Plate, run_id: str, well: LoadedWell, verdict: PlateVerdict, tube: Tube
) -> e.Voided:
    """A well whose run or batch failed: its tube is tested again."""
    scope = "extraction" if verdict.run_valid else "run"
    reasons = [failure.reason for failure in verdict.failures if failure.scope == scope]
    test = repeat_of_void(scope, tube.test)
    return e.Voided(
        run_id=run_id,
        plate_id=plate.plate_id,
        well=well.well,
        scope=scope,
        reason=f"{scope}-failed: {', '.join(sorted(set(reasons)))}",
        test=test,
        priority=rules.void_priority(tube),
    )


def tally(judged: Sequence[Judged], voided: Sequence[object]) -> dict[str, int]:
    """How many tubes of a file go which way."""
    counts: dict[str, int] = defaultdict(int)
    for one in judged:
        counts[type(one.decision).__name__.lower()] += 1
    if voided:
        counts["void"] = len(voided)
    return dict(counts)
