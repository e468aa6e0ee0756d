"""What a pool's reading means for each member, and for the pool itself.

Pure: the same facts give the same answer, in the order of the pool, whatever order they arrive in. Rules
with a source are cited at their reason; where the sources are silent the safer reading was taken and is
said so.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pooling.modes import DualSwab, LabPool, MixedTube, Pooled
from pooling.size import PoolDesignError
from pooling.words import words


class Finding(StrEnum):
    """What a tube read."""

    NEGATIVE = "negative"
    POSITIVE = "positive"
    BORDERLINE = "borderline"
    INVALID = "invalid"


class Action(StrEnum):
    """What is done next about one member."""

    WAIT = "wait"
    REPORT_NEGATIVE = "report-negative"
    REPORT_POSITIVE = "report-positive"
    TEST_SINGLY = "test-singly"
    RE_EXTRACT = "re-extract"
    RECOLLECT = "recollect"
    FOLLOW_CASE = "follow-case"
    NOTHING = "nothing"


class Status(StrEnum):
    """Where a pool stands."""

    OPEN = "open"
    CLEARED = "cleared"
    EXPLAINED = "explained"
    RERUN = "rerun"
    UNEXPLAINED = "unexplained-positive"
    RECOLLECT = "recollect"


UNEXPLAINED = frozenset({"UNTESTED_MEMBER", "SECOND_NEGATIVE", "SECOND_NOT_NEGATIVE"})
"""Reasons of `Status.UNEXPLAINED`: the pool was positive and no member was found positive."""


@dataclass(frozen=True, slots=True)
class Member:
    """What is known of one member of a laboratory pool, or of one retained tube.

    Attributes:
        tube: barcode.
        finding: of the newest single test, or None.
        tests: single tests read so far; at least one when there is a finding.
        missing: the tube cannot be found.
        withdrawn: the person withdrew; nothing is reported of this tube any more.
        volume_ul: left in the tube, or None when not measured.
    """

    tube: str
    finding: Finding | None = None
    tests: int = 0
    missing: bool = False
    withdrawn: bool = False
    volume_ul: float | None = None


@dataclass(frozen=True, slots=True)
class PoolReading:
    """What the pool itself read.

    Attributes:
        finding: of the pool test, or None while it is not read.
        second: of the second aliquot (of the second extraction for an invalid tube mixed at collection), or
            None while it is not read.
        second_left: a second aliquot exists.
    """

    finding: Finding | None
    second: Finding | None = None
    second_left: bool = True


@dataclass(frozen=True, slots=True)
class DecodeRules:
    """Laboratory settings.

    Attributes:
        reflex_ul: volume one single test needs, with what cannot be drawn.
        mixed_invalid: first step for an invalid tube mixed at collection, `recollect` or `re-extract` (the
            jurisdiction's case policy says which).
        hold_for_rerun: keep the negatives of an unexplained pool until its second aliquot is read.
    """

    reflex_ul: float = 200.0
    mixed_invalid: Action = Action.RECOLLECT
    hold_for_rerun: bool = True

    def __post_init__(self) -> None:
        if self.mixed_invalid not in {Action.RECOLLECT, Action.RE_EXTRACT}:
            raise PoolDesignError(
                "BAD_RULES",
                f"An invalid mixed tube is re-collected or re-extracted, not {self.mixed_invalid}.",
            )


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows for one member: `who` is a tube, or a person of a tube mixed at collection.

    `reason` is a code of `words.MEMBER_WORDS`.
    """

    who: str
    action: Action
    reason: str
    sentence: str
    sentence_zh: str


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a pool's reading leads to; `reason` of the pool is a code of `words.POOL_WORDS`."""

    tube: str
    status: Status
    reason: str
    sentence: str
    sentence_zh: str
    decisions: tuple[Decision, ...]


@dataclass(frozen=True, slots=True)
class Overlap:
    """A tube that was put into more than one pool."""

    tube: str
    pools: tuple[str, ...]
    sentence: str
    sentence_zh: str


DEFAULT_RULES = DecodeRules()


def overlaps(pools: Iterable[LabPool]) -> tuple[Overlap, ...]:
    """Tubes that are in several pools; Dorfman pools do not overlap (FDA molecular template, 2021-10-06).

    A pool given twice is one pool.
    """
    homes: dict[str, list[str]] = {}
    for pool in dict.fromkeys(pools):
        for member in pool.members:
            homes.setdefault(member.tube, []).append(pool.tube)
    return tuple(
        Overlap(tube, tuple(found), *words("overlap", "SHARED_TUBE", tube=tube, pools=", ".join(found)))
        for tube, found in homes.items()
        if len(found) > 1
    )


def decode(
    pool: Pooled,
    reading: PoolReading,
    members: Sequence[Member] = (),
    rules: DecodeRules = DEFAULT_RULES,
    shared: Iterable[str] = (),
) -> Decoded:
    """What the readings of a pool and of its members lead to.

    Args:
        pool: a laboratory pool, a shared tube of two swabs, or a tube mixed at collection.
        reading: what the pool read.
        members: one entry per member tube, in any order; none for a tube mixed at collection.
        rules: laboratory settings.
        shared: tubes that are in a second pool as well (`overlaps`): no pool clears them.

    Raises:
        PoolDesignError: `MEMBERS_DIFFER` when an entry is absent, unknown or given twice (a lost tube is
            said with `missing`, never left out); `NO_INDIVIDUAL_RESULT` for members of a mixed tube.
    """
    if isinstance(pool, MixedTube):
        return _mixed(pool, reading, members, rules)
    known = _matched(pool, members)
    apart = frozenset(shared)
    if reading.finding is None:
        decisions = tuple(_unread(member, apart) for member in known)
    elif reading.finding is Finding.NEGATIVE:
        decisions = tuple(_of_negative(member, rules, apart) for member in known)
    else:
        decisions = tuple(_of_reflex(member, rules) for member in known)
        status, reason = _status(reading, decisions, known)
        if reason in _HELD:
            decisions = tuple(
                _held(one, reason, member, rules) for one, member in zip(decisions, known, strict=True)
            )
        return _decoded(pool.tube, status, reason, decisions)
    status, reason = (
        (Status.OPEN, "POOL_NOT_READ") if reading.finding is None else (Status.CLEARED, "POOL_NEGATIVE")
    )
    return _decoded(pool.tube, status, reason, decisions)


def _decoded(tube: str, status: Status, reason: str, decisions: tuple[Decision, ...]) -> Decoded:
    return Decoded(tube, status, reason, *words("pool", reason, tube=tube), decisions)


def _decide(who: str, action: Action, reason: str) -> Decision:
    return Decision(who, action, reason, *words("member", reason, tube=who))


def _mixed(pool: MixedTube, reading: PoolReading, members: Sequence[Member], rules: DecodeRules) -> Decoded:
    """No individual tube exists: negative for all, or everybody is held and called again.

    Triggers: positive, grey, single target (10-in-1 specification); invalid as the case policy says.
    """
    if members:
        raise PoolDesignError(
            "NO_INDIVIDUAL_RESULT",
            f"Tube {pool.tube} was mixed at collection; none of its persons has a tube or a result "
            "of their own. Decode the re-collected tubes as specimens of their persons.",
        )
    match reading.finding:
        case None:
            status, action, reason = Status.OPEN, Action.WAIT, "POOL_NOT_READ"
        case Finding.NEGATIVE:
            status, action, reason = Status.CLEARED, Action.REPORT_NEGATIVE, "POOL_NEGATIVE"
        case Finding.INVALID if rules.mixed_invalid is Action.RE_EXTRACT and reading.second is None:
            status, action, reason = Status.OPEN, Action.RE_EXTRACT, "MIXED_RE_EXTRACT"
        case Finding.INVALID if (
            rules.mixed_invalid is Action.RE_EXTRACT and reading.second is Finding.NEGATIVE
        ):
            status, action, reason = Status.CLEARED, Action.REPORT_NEGATIVE, "POOL_NEGATIVE"
        case _:
            status, action, reason = Status.RECOLLECT, Action.RECOLLECT, "MIXED_RECOLLECT"
    decisions = tuple(_decide(person, action, reason) for person in pool.persons)
    return _decoded(pool.tube, status, reason, decisions)


def _matched(pool: DualSwab | LabPool, members: Sequence[Member]) -> tuple[Member, ...]:
    """The members in the order of the pool."""
    wanted = [one.tube for one in (pool.members if isinstance(pool, LabPool) else pool.retained)]
    given = {member.tube: member for member in members}
    if Counter(wanted) != Counter(member.tube for member in members):
        differ = sorted(set(wanted) ^ set(given)) or sorted({one.tube for one in members})
        raise PoolDesignError(
            "MEMBERS_DIFFER",
            f"The members of {pool.tube} differ from those given: {', '.join(differ)}. Name every member "
            "once; a lost tube is marked missing.",
        )
    for member in members:
        if member.finding is not None and member.tests < 1:
            raise PoolDesignError("BAD_MEMBER", f"Tube {member.tube} has a finding but no test was counted.")
    return tuple(given[tube] for tube in wanted)


def _own_result(member: Member) -> Decision | None:
    """What the member's own single test decides, or None."""
    match member.finding:
        case Finding.POSITIVE:
            return _decide(member.tube, Action.REPORT_POSITIVE, "SINGLE_POSITIVE")
        case Finding.BORDERLINE | Finding.INVALID:
            return _decide(member.tube, Action.FOLLOW_CASE, "SINGLE_UNCLEAR")
        case Finding.NEGATIVE:
            return _decide(member.tube, Action.REPORT_NEGATIVE, "SINGLE_NEGATIVE")
        case _:
            return None


def _unread(member: Member, shared: frozenset[str]) -> Decision:
    if member.withdrawn:
        return _decide(member.tube, Action.NOTHING, "WITHDRAWN")
    return _decide(member.tube, Action.WAIT, "SHARED_TUBE" if member.tube in shared else "POOL_NOT_READ")


def _of_negative(member: Member, rules: DecodeRules, shared: frozenset[str]) -> Decision:
    """A negative pool clears its members, but never over a single test, nor a tube that is in two pools."""
    if member.withdrawn:
        return _decide(member.tube, Action.NOTHING, "WITHDRAWN")
    if own := _own_result(member):
        return own
    if member.tube in shared:
        need = _need_single(member, rules)
        return (
            _decide(member.tube, Action.TEST_SINGLY, "SHARED_TUBE")
            if need.action is Action.TEST_SINGLY
            else need
        )
    return _decide(member.tube, Action.REPORT_NEGATIVE, "POOL_NEGATIVE")


def _of_reflex(member: Member, rules: DecodeRules) -> Decision:
    """A pool not clearly negative: nobody is reported by it, each is tested from the own tube."""
    if member.withdrawn:
        return _decide(member.tube, Action.NOTHING, "WITHDRAWN")
    return _own_result(member) or _need_single(member, rules)


def _need_single(member: Member, rules: DecodeRules) -> Decision:
    if member.missing:
        return _decide(member.tube, Action.RECOLLECT, "MISSING")
    if member.volume_ul is not None and member.volume_ul < rules.reflex_ul:
        return _decide(member.tube, Action.RECOLLECT, "LOW_VOLUME")
    return _decide(member.tube, Action.TEST_SINGLY, "REFLEX")


def _status(
    reading: PoolReading, decisions: Sequence[Decision], members: Sequence[Member]
) -> tuple[Status, str]:
    """Where a pool that is not clearly negative stands.

    Who withdrew after an own negative or positive test was tested all the same: the test speaks about the
    pool, though nothing is reported of the person.
    """
    tested = {Finding.NEGATIVE, Finding.POSITIVE}
    reasons = {
        one.reason
        for one, member in zip(decisions, members, strict=True)
        if one.reason != "WITHDRAWN" or member.finding not in tested
    }
    if any(member.finding is Finding.POSITIVE for member in members):
        waiting = reasons & {"REFLEX", "SINGLE_UNCLEAR"}
        return (Status.OPEN, "EXPLAINED_OPEN") if waiting else (Status.EXPLAINED, "EXPLAINED")
    if reasons & {"REFLEX", "SINGLE_UNCLEAR"}:
        return Status.OPEN, "REFLEX_OPEN"
    if reading.finding is Finding.INVALID:
        return Status.CLEARED, "INVALID_RESOLVED"
    if reasons & {"MISSING", "LOW_VOLUME", "WITHDRAWN"}:
        return Status.UNEXPLAINED, "UNTESTED_MEMBER"
    if reading.second is None and reading.second_left:
        return Status.RERUN, "RERUN_SECOND"
    if reading.second is Finding.NEGATIVE:
        return Status.UNEXPLAINED, "SECOND_NEGATIVE"
    return Status.UNEXPLAINED, "SECOND_NOT_NEGATIVE"


_HELD = {"RERUN_SECOND", "SECOND_NOT_NEGATIVE"}


def _held(decision: Decision, reason: str, member: Member, rules: DecodeRules) -> Decision:
    """All members read negative and the pool did not: what becomes of these negatives.

    The sources report them and re-run the second aliquot as a check. Here they wait for that check (a
    setting); when it is not negative either, each is tested once more before it is believed.
    """
    if member.withdrawn:
        return decision
    if reason == "RERUN_SECOND":
        held = rules.hold_for_rerun
        return _decide(decision.who, Action.WAIT, "HELD_FOR_RERUN") if held else decision
    if member.tests >= 2:
        return decision
    again = _need_single(member, rules)
    if again.action is Action.TEST_SINGLY:
        return _decide(decision.who, Action.TEST_SINGLY, "TEST_AGAIN")
    return again
