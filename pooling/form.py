"""Which waiting tubes go into which laboratory pool, and which never may.

Only single tubes are pooled: a tube mixed at collection and a pool are refused by kind, because mixing
them again ("30-in-1") was never validated and loses positives (NHC clinical laboratory centre,
2022-06-09). Pools do not overlap, may be smaller than the validated size and never larger (FDA molecular
template, 2021-10-06).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from pooling.size import PoolDesignError, check_prevalence
from pooling.split import split_tubes

KINDS = ("single", "mixed", "pool", "dual", "retained")
"""`dual` is the shared tube of two swabs, `retained` a person's own second swab; see `modes`."""

KIND_ZH = {"mixed": "混采管", "pool": "混检管", "dual": "双拭子混采管", "retained": "双拭子留样管"}


def _aware(name: str, moment: datetime) -> None:
    if moment.tzinfo is None:
        raise PoolDesignError("NAIVE_TIME", f"{name} has no time zone: {moment.isoformat()}.")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A tube at the bench that waits for its first test.

    Attributes:
        tube: barcode.
        kind: `single`, `mixed` (at collection), `pool` (in the laboratory), `dual` (shared tube of two swabs)
            or `retained` (second swab, kept for the single test). Only `single` is ever pooled.
        due: when its report must be out.
        received: when the laboratory got it.
        tier: turnaround tier.
        site: collection site.
        household: persons who live together go into the same pool when they can; empty when unknown.
        symptomatic: the person has symptoms.
        contact: the person is a close contact.
        volume_ul: volume left in microlitres; None when the laboratory does not measure it.
    """

    tube: str
    kind: str
    due: datetime
    received: datetime
    tier: str
    site: str
    household: str = ""
    symptomatic: bool = False
    contact: bool = False
    volume_ul: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise PoolDesignError(
                "BAD_KIND", f"Tube {self.tube}: kind is one of {', '.join(KINDS)}, not {self.kind!r}."
            )
        _aware(f"Tube {self.tube}: due", self.due)
        _aware(f"Tube {self.tube}: received", self.received)


@dataclass(frozen=True, slots=True)
class PoolRules:
    """How a laboratory pools.

    Attributes:
        size: members of a full pool.
        max_n: validated maximum; a pool is never larger.
        min_n: the smallest short pool worth a well; fewer left-over tubes are tested singly.
        aliquot_ul: volume taken from each tube for the pool, in microlitres.
        reserve_ul: volume that must remain for the single test after a positive pool, in microlitres.
        max_wait: longest time a tube may wait for its pool to fill.
        lead: time from closing a pool to its report, with the single tests after a positive pool; a pool
            closes when this much is left before the first due time.
        excluded_tiers: tiers always tested singly.
        prevalence: when given, tubes that must go now are cut into the cheapest pools at this prevalence.
    """

    size: int = 5
    max_n: int = 10
    min_n: int = 3
    aliquot_ul: float = 100.0
    reserve_ul: float = 200.0
    max_wait: timedelta = timedelta(minutes=45)
    lead: timedelta = timedelta(hours=8)
    excluded_tiers: frozenset[str] = frozenset({"fever", "patient", "yellow"})
    prevalence: float | None = None

    def __post_init__(self) -> None:
        if not 2 <= self.min_n <= self.size <= self.max_n:
            raise PoolDesignError(
                "BAD_RULES",
                f"Pools need 2 <= min_n <= size <= max_n, not {self.min_n}, {self.size}, {self.max_n}.",
                f"混检须 2 <= min_n <= size <= max_n，现为 {self.min_n}、{self.size}、{self.max_n}。",
            )
        if self.aliquot_ul <= 0 or self.reserve_ul < 0:
            raise PoolDesignError(
                "BAD_RULES",
                "The aliquot must be above 0 microlitres and the reserve not below 0.",
                "分取体积须大于 0 微升，留样体积不能小于 0。",
            )
        if self.max_wait < timedelta(0) or self.lead < timedelta(0):
            raise PoolDesignError(
                "BAD_RULES", "Waiting time and lead time cannot be negative.", "max_wait 与 lead 不能为负。"
            )
        if self.prevalence is not None:
            check_prevalence(self.prevalence)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a tube may not be pooled; `tube` is empty when the pool as a whole is refused.

    `code` is one of NESTED_POOL, DUPLICATE_TUBE, EXCLUDED_TIER, SYMPTOMATIC, CLOSE_CONTACT, SHORT_VOLUME,
    TOO_MANY_MEMBERS, TOO_FEW_MEMBERS.
    """

    tube: str
    code: str
    sentence: str
    sentence_zh: str


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """One pool to pipette: members in order, why it closes (`full`, `due`, `waited`), its due time."""

    members: tuple[str, ...]
    reason: str
    due: datetime


@dataclass(frozen=True, slots=True)
class Forming:
    """Pools to make now, and every other tube with its reason.

    Reasons of `kept`: `waiting` (for its pool to fill), `test singly` (its time is up and too few are left
    for a pool), or the code of a `Refusal` (test singly, never pool).
    """

    pools: tuple[PoolPlan, ...]
    kept: tuple[tuple[Waiting, str], ...]


def refuse_tube(tube: Waiting, rules: PoolRules) -> Refusal | None:
    """The first reason why this tube may never enter a laboratory pool, or None."""
    name, need = tube.tube, rules.aliquot_ul + rules.reserve_ul
    if tube.kind != "single":
        return Refusal(
            name,
            "NESTED_POOL",
            f"Tube {name} is a {tube.kind} tube and is never pooled again. Test it as it is.",
            f"试管 {name} 为{KIND_ZH[tube.kind]},不得再次混合。请直接检测。",
        )
    if tube.tier in rules.excluded_tiers:
        return Refusal(
            name,
            "EXCLUDED_TIER",
            f"Tube {name} belongs to tier {tube.tier}, which is tested singly.",
            f"试管 {name} 属于 {tube.tier} 类,须单检。",
        )
    if tube.symptomatic:
        return Refusal(
            name,
            "SYMPTOMATIC",
            f"Tube {name}: the person has symptoms. Test it singly.",
            f"试管 {name}:受检者有症状,须单检。",
        )
    if tube.contact:
        return Refusal(
            name,
            "CLOSE_CONTACT",
            f"Tube {name}: the person is a close contact. Test it singly.",
            f"试管 {name}:受检者为密切接触者,须单检。",
        )
    if tube.volume_ul is not None and tube.volume_ul < need:
        return Refusal(
            name,
            "SHORT_VOLUME",
            f"Tube {name} holds {tube.volume_ul:g} µl, pool and single test need {need:g}. Test it singly.",
            f"试管 {name} 仅余 {tube.volume_ul:g} µl,混检加单检复核需 {need:g} µl,须单检。",
        )
    return None


def check_members(tubes: Sequence[Waiting], rules: PoolRules) -> tuple[Refusal, ...]:
    """Every reason why these tubes may not make one pool, in the order of the tubes; empty when they may."""
    refusals = [refusal for tube in tubes if (refusal := refuse_tube(tube, rules))]
    refusals += [
        Refusal(
            name,
            "DUPLICATE_TUBE",
            f"Tube {name} was scanned {times} times. A tube enters a pool once.",
            f"试管 {name} 被扫描 {times} 次,同一试管只能加入一次。",
        )
        for name, times in Counter(tube.tube for tube in tubes).items()
        if times > 1
    ]
    if len(tubes) > rules.max_n:
        refusals.append(
            Refusal(
                "",
                "TOO_MANY_MEMBERS",
                f"The pool has {len(tubes)} members; {rules.max_n} is the validated maximum. Take some out.",
                f"该混检管有 {len(tubes)} 份样本,超过已验证上限 {rules.max_n}。请减少样本。",
            )
        )
    if len(tubes) < 2:
        refusals.append(
            Refusal(
                "",
                "TOO_FEW_MEMBERS",
                "A pool needs at least two members. Test a tube on its own singly.",
                "混检至少需要两份样本,单份样本请单检。",
            )
        )
    return tuple(refusals)


def form_pools(tubes: Iterable[Waiting], rules: PoolRules, now: datetime) -> Forming:
    """Lay waiting tubes into non-overlapping pools; earliest due first, households together.

    Full pools are made at once. What is left waits, until the first of it is `lead` away from its due time
    or has waited `max_wait`: then all of it goes, in short pools, or singly when fewer than `min_n` are
    left. A tube given twice is pooled once at most; the second appearance is kept with `DUPLICATE_TUBE`.
    """
    _aware("now", now)
    eligible: dict[str, Waiting] = {}
    kept: list[tuple[Waiting, str]] = []
    for tube in tubes:
        if tube.tube in eligible or any(tube.tube == other.tube for other, _ in kept):
            kept.append((tube, "DUPLICATE_TUBE"))
        elif refusal := refuse_tube(tube, rules):
            kept.append((tube, refusal.code))
        else:
            eligible[tube.tube] = tube
    line = _in_order(eligible.values())
    full = len(line) - len(line) % rules.size
    pools = [_pool(line[start : start + rules.size], "full") for start in range(0, full, rules.size)]
    rest = line[full:]
    urgent = _must_go(rest, rules, now)
    if urgent is None:
        return Forming(tuple(pools), (*kept, *((tube, "waiting") for tube in rest)))
    short, singly = _cut(rest, rules)
    pools += [_pool(members, urgent) for members in short]
    return Forming(tuple(pools), (*kept, *((tube, "test singly") for tube in singly)))


def _in_order(tubes: Iterable[Waiting]) -> list[Waiting]:
    """Earliest due first; a household stands together at the place of its earliest member."""

    def home(tube: Waiting) -> tuple[str, str]:
        return (tube.site, tube.household) if tube.household else ("", "\0" + tube.tube)

    def own(tube: Waiting) -> tuple[datetime, datetime, str]:
        return (tube.due, tube.received, tube.tube)

    groups = [sorted(group, key=own) for _, group in groupby(sorted(tubes, key=home), key=home)]
    return [tube for group in sorted(groups, key=lambda group: own(group[0])) for tube in group]


def _must_go(rest: Sequence[Waiting], rules: PoolRules, now: datetime) -> str | None:
    """Why the left-over tubes cannot wait any longer, or None."""
    if any(tube.due - now <= rules.lead for tube in rest):
        return "due"
    if any(now - tube.received >= rules.max_wait for tube in rest):
        return "waited"
    return None


def _cut(rest: Sequence[Waiting], rules: PoolRules) -> tuple[list[Sequence[Waiting]], Sequence[Waiting]]:
    """Left-over tubes as short pools of `min_n` to `size`, and those that go singly."""
    sizes: tuple[int, ...] = (len(rest),)
    if rules.prevalence is not None:
        sizes = split_tubes(len(rest), rules.prevalence, rules.size).sizes
    pools, start = [], 0
    for size in sizes:
        if size < rules.min_n:
            break
        pools.append(rest[start : start + size])
        start += size
    return pools, rest[start:]


def _pool(members: Sequence[Waiting], reason: str) -> PoolPlan:
    return PoolPlan(tuple(tube.tube for tube in members), reason, min(tube.due for tube in members))
