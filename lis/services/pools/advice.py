"""How positive each stream of tubes was in the last days, and how many persons a tube should hold."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from lis import queries
from lis.errors import Invalid
from lis.events import TubeKind
from pooling import Advice, AdviceRules, Mode, Tally, advise

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from lis.queries import FirstCalls
    from lis.rulebook import Rulebook
    from pooling import ModeCost

STREAMS: Final = ("tier", "site", "site-tier")
"""What may make a stream: the service tier, the collection site, or both."""


@dataclass(frozen=True, slots=True)
class StreamAdvice:
    """The advice for one stream.

    Attributes:
        site, tier: of the stream; None where streams are not told apart by it; "" = tubes of several sites.
        how: persons are put together in tubes at collection (``mixed``) or in the laboratory (``pool``).
        current: persons per tube on the last day with readings.
        limited: the positivity is above what the jurisdiction allows for pooling.
    """

    site: str | None
    tier: str | None
    how: Mode
    current: int
    limited: bool
    advice: Advice


def advice(conn: Connection, rules: Rulebook, now: datetime, by: str = "tier") -> list[StreamAdvice]:
    """Advice for every stream with readings in the window of the bench's rules, largest first.

    Raises:
        Invalid: ``STREAM``.
    """
    if by not in STREAMS:
        raise Invalid("STREAM", f"Streams are told apart by {', '.join(STREAMS)}, not by {by[:20]}.")
    # gather
    since = now - timedelta(days=rules.pool.window_days)
    streams: dict[tuple[str | None, str | None], list[FirstCalls]] = defaultdict(list)
    for one in queries.first_calls(conn, since):
        site, tier = one.site if "site" in by else None, one.tier if "tier" in by else None
        streams[site, tier].append(one)
    # decide
    found = [_advised(site, tier, calls, rules) for (site, tier), calls in streams.items()]
    return sorted(found, key=lambda one: (-one.advice.positivity.tested, one.site or "", one.tier or ""))


def _advised(
    site: str | None, tier: str | None, calls: Sequence[FirstCalls], rules: Rulebook
) -> StreamAdvice:
    how = _how(calls)
    own = rules.pool.advice[how]
    current = _current(calls, own)
    own = replace(own, modes=tuple(sorted({*own.modes, current}, reverse=True)))
    tallies = [Tally(one.at, one.places, one.tested, one.positive) for one in calls]
    found = advise(tallies, current, own)
    limit = rules.pool_policy.max_prevalence
    limited = limit is not None and found.positivity.estimate > limit
    if limited and found.mode != 1 and found.reason != "too-few":
        share = f"{found.positivity.estimate:.2%}"
        found = replace(
            found,
            mode=1,
            changed=current != 1,
            reason="limit",
            sentence=f"Positivity {share} is above {limit:.0%}: policy {rules.pool_policy.id} stops pooling.",
            sentence_zh=f"阳性率 {share} 超过 {limit:.0%},按规则 {rules.pool_policy.id} 停止混检。",
        )
    return StreamAdvice(site, tier, how, current, limited, found)


def _how(calls: Sequence[FirstCalls]) -> Mode:
    """How persons are put together in this stream; laboratory pools where it has single tubes only."""
    persons = dict.fromkeys(TubeKind, 0)
    for one in calls:
        persons[TubeKind(one.kind)] += one.places * one.tested
    return Mode.MIXED if persons[TubeKind.MIXED] > persons[TubeKind.POOL] else Mode.POOL


def _current(calls: Sequence[FirstCalls], rules: AdviceRules) -> int:
    """The mode by which most persons of the last day were tested."""
    last = max(one.at for one in calls).date()
    persons: dict[int, int] = defaultdict(int)
    for one in calls:
        if one.at.date() == last:
            persons[_mode(one, rules)] += one.places * one.tested
    return max(persons, key=lambda mode: (persons[mode], mode))


def _mode(one: FirstCalls, rules: AdviceRules) -> int:
    """Persons per tube as planned: what a mixed tube was made for; the mode a pool was filled up to."""
    if one.kind != TubeKind.POOL:
        return one.made_for
    return min((mode for mode in rules.modes if mode >= one.places), default=max(rules.modes))


def stream_json(one: StreamAdvice) -> dict[str, Any]:
    """One stream for programs, with every choice there was."""
    found = one.advice
    return {
        "site": one.site,
        "tier": one.tier,
        "how": one.how.value,
        "current": one.current,
        "advised": found.mode,
        "changed": found.changed,
        "reason": found.reason,
        "limited": one.limited,
        "sentence": found.sentence,
        "sentence_zh": found.sentence_zh,
        "positivity": asdict(found.positivity),
        "choices": [_cost_json(cost) for cost in found.costs],
    }


def _cost_json(cost: ModeCost) -> dict[str, Any]:
    english, chinese = cost.words()
    return {**asdict(cost), "sentence": english, "sentence_zh": chinese}
