"""Lab pools: aliquots of retained single tubes. A mixed tube, or a pool, is never pooled again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lis import barcodes, ledger, queries
from lis import events as e
from lis.errors import Invalid, Refused
from lis.events import TubeKind
from lis.tube import Tube, TubeState, illegal_sentence
from pooling import Waiting, check_members, form_pools

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from lis.db import Unit
    from lis.rulebook import Rulebook


@dataclass(frozen=True, slots=True)
class PoolProposal:
    """Tubes that the policy would pool together, and why."""

    members: tuple[str, ...]
    reason: str


def propose(
    unit: Unit, rules: Rulebook, limit: int = 2000
) -> tuple[list[PoolProposal], list[tuple[str, str]]]:
    """Which waiting single tubes the policy would pool now; the rest with the reason why not."""
    # gather
    waiting = queries.tubes_in_state(unit.conn, TubeState.RECEIVED)[:limit]
    recalled = _recalled(unit, waiting)
    # decide
    apart = {tube.tube_id: code for tube in waiting if (code := _apart(tube, recalled))}
    free = [_waiting(tube) for tube in waiting if tube.tube_id not in apart]
    forming = form_pools(free, rules.pool, unit.now)
    proposals = [PoolProposal(tuple(plan.members), plan.reason) for plan in forming.pools]
    return proposals, [*apart.items(), *((kept.tube, reason) for kept, reason in forming.kept)]


def form(unit: Unit, rules: Rulebook, members: Sequence[str], barcode: str = "") -> Tube:
    """Record that aliquots of ``members`` were pipetted into one pool tube, in that order.

    Args:
        unit: the transaction.
        rules: the pooling policy in force.
        members: codes of received single tubes.
        barcode: code on the pool tube; empty = the next number of the laboratory.

    Raises:
        Refused: a member is mixed, a pool, in another pool, not received, twice, or too many.
    """
    # gather
    codes = [barcodes.parse(code, barcodes.TUBE, barcodes.POOL) for code in members]
    pool_id = barcodes.parse(barcode, barcodes.POOL) if barcode else _next_code(unit)
    known = ledger.tubes(unit.conn, [*codes, pool_id])
    if not codes:
        raise Invalid("POOL_EMPTY", "A pool needs at least one tube. Scan the tubes first.")
    # decide
    if known[pool_id].state is not TubeState.ABSENT:
        raise Refused("POOL_IN_USE", f"Pool {pool_id} exists already. Take a new pool tube.", tube=pool_id)
    recalled = _recalled(unit, known.values())
    for code in codes:
        _check_member(known[code], recalled)
    refusals = check_members([_waiting(known[code]) for code in codes], rules.pool)
    if refusals:
        worst = refusals[0]
        raise Refused(worst.code, worst.sentence, tube=worst.tube)
    tubes = [known[code] for code in codes]
    due = min(tube.due_at for tube in tubes if tube.due_at is not None)
    urgent = min(tubes, key=lambda tube: (tube.due_at or due, tube.tube_id))
    # apply
    facts: list[ledger.Recorded] = [(pool_id, e.PoolFormed(len(codes), urgent.tier, due))]
    facts += [(code, e.JoinedPool(pool_id, place)) for place, code in enumerate(codes, start=1)]
    return ledger.append(unit, facts)[pool_id]


def _recalled(unit: Unit, tubes: Iterable[Tube]) -> set[str]:
    """Tubes of persons who are held for this very specimen."""
    people = queries.people_of(unit.conn, [tube.tube_id for tube in tubes if tube.kind is TubeKind.SINGLE])
    held = queries.recalls_of(unit.conn, [person for many in people.values() for person in many])
    return {code for code, many in people.items() if any(person in held for person in many)}


def _apart(tube: Tube, recalled: Collection[str]) -> str:
    """Why a received single tube is tested singly whatever the policy pools; empty if it may be pooled."""
    if tube.tests or tube.test != "first":
        return "TESTED_ALREADY"
    return "PERSON_HELD" if tube.tube_id in recalled else ""


APART = {
    "TESTED_ALREADY": "has a finding or a test of its own to come",
    "PERSON_HELD": "is the new specimen of a person who is held",
}


def _check_member(tube: Tube, recalled: Collection[str]) -> None:
    if tube.kind in {TubeKind.MIXED, TubeKind.POOL}:
        what = "mixed at collection" if tube.kind is TubeKind.MIXED else "a pool itself"
        raise Refused(
            "NESTED_POOL",
            f"Tube {tube.tube_id} is {what}; it must never be pooled again. Plate it as it is.",
            tube=tube.tube_id,
        )
    if tube.state is TubeState.POOLED:
        raise Refused(
            "IN_TWO_POOLS",
            f"Tube {tube.tube_id} is in pool {tube.pool_id}, which is not decided yet. "
            "A tube can be in one open pool only: leave it out.",
            tube=tube.tube_id,
            pool=tube.pool_id,
        )
    if tube.state is not TubeState.RECEIVED:
        raise Refused(
            "NOT_POOLABLE", illegal_sentence(tube, e.JoinedPool), tube=tube.tube_id, state=tube.state
        )
    if code := _apart(tube, recalled):
        raise Refused(
            code,
            f"Tube {tube.tube_id} {APART[code]}; it must be tested singly. Leave it out of the pool.",
            tube=tube.tube_id,
        )


def _waiting(tube: Tube) -> Waiting:
    moment = tube.received_at or tube.updated_at
    due = tube.due_at or moment
    if moment is None or due is None:
        raise Invalid("NOT_POOLABLE", f"Tube {tube.tube_id} has not been received.")
    return Waiting(tube.tube_id, tube.kind.value, due, moment, tube.tier, tube.site)


def _next_code(unit: Unit) -> str:
    return barcodes.mint(barcodes.POOL, queries.next_number(unit.conn, "pool"))
