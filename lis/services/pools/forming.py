"""Lab pools: aliquots of retained single tubes. A mixed tube, or a pool, is never pooled again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from lis import barcodes, ledger, queries
from lis import events as e
from lis.errors import Invalid, Refused
from lis.events import TubeKind
from lis.services.pools.facts import Marks, marks, recalled
from lis.tube import Tube, TubeState, illegal_sentence
from pooling import Individual, LabPool, Waiting, check_members, form_pools, refuse_tube
from pooling.worklist import WELLS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from lis.db import Unit
    from lis.rulebook import Rulebook
    from pooling import PoolRules
    from retest import AssayRules


@dataclass(frozen=True, slots=True)
class PoolProposal:
    """Tubes that the policy would pool together, why, until when, and from which sites."""

    members: tuple[str, ...]
    reason: str
    due: datetime
    sites: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """A tube that stays out of the pools, and why; ``singly`` if it must be tested by itself."""

    tube: str
    reason: str
    singly: bool
    sentence: str
    sentence_zh: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """What to pool now, what not, and under which limits.

    Attributes:
        refused: why nothing may be pooled at all; None if pools are allowed.
    """

    pools: tuple[PoolProposal, ...]
    kept: tuple[Kept, ...]
    size: int
    max_n: int
    refused: Refused | None = None


@dataclass(frozen=True, slots=True)
class PoolOrder:
    """A pool to form: its members in the order of pipetting; without a code it gets the next number."""

    members: tuple[str, ...]
    barcode: str = ""


@dataclass(frozen=True, slots=True)
class Formed:
    """Pools that were formed together, and the worklist by which they are pipetted."""

    worklist: str
    pools: tuple[Tube, ...]


# -- what to pool --------------------------------------------------------------------------------


def propose(unit: Unit, rules: Rulebook, assay: str = "", limit: int = 2000) -> Proposal:
    """Which waiting single tubes the policy would pool now; every other with the reason why not."""
    # gather
    waiting = queries.tubes_in_state(unit.conn, TubeState.RECEIVED)[:limit]
    waiting = [tube for tube in waiting if tube.kind is not TubeKind.POOL]
    known = marks(unit.conn, rules, [tube.tube_id for tube in waiting])
    held = recalled(unit.conn, waiting)
    # decide
    try:
        allowed = rules.pooling(rules.assay(assay or rules.default_assay))
    except Refused as refused:
        kept = tuple(Kept(one.tube_id, refused.code, True, *_SINGLY[refused.code]) for one in waiting)
        return Proposal((), kept, 1, 1, refused)
    apart = {tube.tube_id: code for tube in waiting if (code := _apart(tube, held))}
    free = [waiting_tube(tube, rules, known[tube.tube_id]) for tube in waiting if tube.tube_id not in apart]
    forming = form_pools(free, allowed, unit.now)
    sites = {tube.tube_id: tube.site for tube in waiting}
    proposals = [
        PoolProposal(plan.members, plan.reason, plan.due, tuple(sorted({sites[m] for m in plan.members})))
        for plan in forming.pools
    ]
    alone = [Kept(code, reason, True, *_SINGLY[reason]) for code, reason in apart.items()]
    others = [_kept(tube, reason, allowed) for tube, reason in forming.kept]
    pools = tuple(sorted(proposals, key=lambda one: (one.due, one.members)))
    return Proposal(pools, (*alone, *others), allowed.size, allowed.max_n)


_SINGLY: Final[Mapping[str, tuple[str, str]]] = {
    "POOLING_NOT_VALIDATED": (
        "The assay is not validated for laboratory pools. Test the tube singly.",
        "该试剂未经混检验证,须单检。",
    ),
    "POOLING_NOT_ALLOWED": (
        "The jurisdiction has no rule for laboratory pools. Test the tube singly.",
        "当地规则不允许实验室混检,须单检。",
    ),
    "TESTED_ALREADY": (
        "The tube has a finding or a test of its own to come. Test it singly.",
        "该管已有结果或另有待做检测,须单检。",
    ),
    "PERSON_HELD": (
        "The tube is the new specimen of a person who is held. Test it singly.",
        "该管是召回人员的新样本,须单检。",
    ),
    "waiting": ("The tube waits for its pool to fill.", "该管等待凑满混检池。"),
    "test singly": (
        "The tube's time is up and too few are left for a pool. Test it singly.",
        "时限已到且余管不足一池,该管单检。",
    ),
}
"""Why a tube stays out of the pools, where the policy has no sentence about the tube itself."""


def _kept(tube: Waiting, reason: str, rules: PoolRules) -> Kept:
    refusal = refuse_tube(tube, rules)
    words = (refusal.sentence, refusal.sentence_zh) if refusal else _SINGLY[reason]
    return Kept(tube.tube, reason, reason != "waiting", *words)


def _apart(tube: Tube, held: Collection[str]) -> str:
    """Why a received single tube is tested singly whatever the policy pools; empty if it may be pooled."""
    if tube.tests or tube.test != "first":
        return "TESTED_ALREADY"
    return "PERSON_HELD" if tube.tube_id in held else ""


def waiting_tube(tube: Tube, rules: Rulebook, known: Marks) -> Waiting:
    """The tube as the policy sees it; tubes of one site that are due in one hour stand together.

    Raises:
        Invalid: ``NOT_POOLABLE``: the tube was never received.
    """
    moment = tube.received_at or tube.updated_at
    due = tube.due_at or moment
    if moment is None or due is None:
        raise Invalid("NOT_POOLABLE", f"Tube {tube.tube_id} has not been received.")
    exclusions = rules.pool.exclusions
    return Waiting(
        tube.tube_id,
        tube.kind.value,
        due,
        moment,
        tube.tier,
        tube.site,
        household=f"{due:%Y%m%d%H}" if tube.site else "",
        symptomatic=tube.tier in exclusions.symptomatic,
        contact=tube.tier in exclusions.contact,
        volume_ul=known.volume_ul,
    )


# -- forming -------------------------------------------------------------------------------------


def form(unit: Unit, rules: Rulebook, members: Sequence[str], barcode: str = "") -> Tube:
    """Record that aliquots of ``members`` were pipetted into one pool tube, in that order.

    Raises:
        Refused: see `form_many`.
    """
    return form_many(unit, rules, [PoolOrder(tuple(members), barcode)]).pools[0]


def form_many(
    unit: Unit,
    rules: Rulebook,
    orders: Sequence[PoolOrder],
    *,
    assay: str = "",
    confirm: bool | None = None,
) -> Formed:
    """Form pools on one worklist; all of them or none.

    Args:
        unit: the transaction.
        rules: the pooling policy in force.
        orders: codes of received single tubes, pool by pool in the order of pipetting.
        assay: kit they will be tested with; empty = the laboratory's default.
        confirm: every aliquot is confirmed by scan before a pool is plated; None = as the bench's rules say.

    Raises:
        Refused: a member is mixed, a pool, in another pool, not received, twice, too many; pools are not
            allowed or not validated; more pools than a plate has wells.
        Invalid: a code is malformed, or a pool is empty.
    """
    # gather
    kit = rules.assay(assay or rules.default_assay)
    allowed = rules.pooling(kit)
    wells = [well for well in WELLS if well not in rules.pool.reserved]
    plans = [(_pool_code(unit, order.barcode), _member_codes(order)) for order in orders]
    known = ledger.tubes(unit.conn, [code for pool, codes in plans for code in (pool, *codes)])
    held = recalled(unit.conn, known.values())
    found = marks(unit.conn, rules, known)
    # decide
    if not 0 < len(plans) <= len(wells):
        raise Refused(
            "POOLS_COUNT",
            f"{len(plans)} pools do not fit one pool plate: form 1 to {len(wells)} at once.",
            most=str(len(wells)),
        )
    _check_apart(plans)
    for pool, codes in plans:
        _check(pool, codes, known, held)
        waiting = [waiting_tube(known[code], rules, found[code]) for code in codes]
        if refusals := check_members(waiting, allowed):
            worst = refusals[0]
            raise Refused(worst.code, worst.sentence, tube=worst.tube)
    # apply
    queries.keep_rules(unit.conn, (*rules.pool_files(), rules.assay_file(kit)), unit.now)
    listed = f"PW{queries.next_number(unit.conn, 'worklist'):06d}"
    scan = rules.pool.confirm if confirm is None else confirm
    facts: list[ledger.Recorded] = []
    for place, (pool, codes) in enumerate(plans, start=1):
        made = LabPool(pool, tuple(Individual(code) for code in codes))
        facts += _forming(made, known, rules, kit, _Place(listed, place, wells[place - 1], scan))
    after = ledger.append(unit, facts)
    return Formed(listed, tuple(after[pool] for pool, _ in plans))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a pool stands on its worklist, and whether its aliquots are confirmed by scan."""

    worklist: str
    place: int
    well: str
    scan: bool


def _forming(
    pool: LabPool, known: Mapping[str, Tube], rules: Rulebook, kit: AssayRules, at: _Place
) -> list[ledger.Recorded]:
    """The events of one pool; its members are tubes of one person each, by their type."""
    tubes = [known[one.tube] for one in pool.members]
    due = min(tube.due_at for tube in tubes if tube.due_at is not None)
    urgent = min(tubes, key=lambda tube: (tube.due_at or due, tube.tube_id))
    formed = e.PoolFormed(
        capacity=len(tubes),
        tier=urgent.tier,
        due_at=due,
        worklist=at.worklist,
        place=at.place,
        well=at.well,
        to_confirm=len(tubes) if at.scan else 0,
        assay=kit.id,
        assay_version=kit.version,
        pool_rules=rules.pool.id,
        pool_rules_version=rules.pool.version,
        pool_policy=rules.pool_policy.id,
        pool_policy_version=rules.pool_policy.version,
    )
    joined: list[ledger.Recorded] = [
        (one.tube, e.JoinedPool(pool.tube, place)) for place, one in enumerate(pool.members, start=1)
    ]
    return [(pool.tube, formed), *joined]


def _pool_code(unit: Unit, barcode: str) -> str:
    if barcode:
        return barcodes.parse(barcode, barcodes.POOL)
    while True:
        code = barcodes.mint(barcodes.POOL, queries.next_number(unit.conn, "pool"))
        if ledger.tubes(unit.conn, [code])[code].state is TubeState.ABSENT:
            return code


def _member_codes(order: PoolOrder) -> list[str]:
    if not order.members:
        raise Invalid("POOL_EMPTY", "A pool needs at least one tube. Scan the tubes first.")
    return [barcodes.parse(code, barcodes.TUBE, barcodes.POOL) for code in order.members]


def _check_apart(plans: Sequence[tuple[str, Sequence[str]]]) -> None:
    """No pool code twice, no tube in two of these pools."""
    home: dict[str, str] = {}
    for number, (pool, codes) in enumerate(plans):
        if pool in {other for other, _ in plans[:number]}:
            raise Refused("POOL_IN_USE", f"Pool {pool} exists already. Take a new pool tube.", tube=pool)
        for code in codes:
            if home.setdefault(code, pool) != pool:
                raise Refused(
                    "IN_TWO_POOLS",
                    f"Tube {code} is to go into pools {home[code]} and {pool}. A tube can be in one open "
                    "pool only: leave it out of one.",
                    tube=code,
                    pool=home[code],
                )


def _check(pool: str, codes: Sequence[str], known: Mapping[str, Tube], held: Collection[str]) -> None:
    if known[pool].state is not TubeState.ABSENT:
        raise Refused("POOL_IN_USE", f"Pool {pool} exists already. Take a new pool tube.", tube=pool)
    for code in codes:
        _check_member(known[code], held)


APART = {
    "TESTED_ALREADY": "has a finding or a test of its own to come",
    "PERSON_HELD": "is the new specimen of a person who is held",
}


def _check_member(tube: Tube, held: Collection[str]) -> None:
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
    if code := _apart(tube, held):
        raise Refused(
            code,
            f"Tube {tube.tube_id} {APART[code]}; it must be tested singly. Leave it out of the pool.",
            tube=tube.tube_id,
        )
