"""When a report is due, and how much time is left.

Hours are those of the State Council mechanism of 2020-07-02 and of city notices; whether the clock starts at
sampling or at receipt is not said in any public copy, so it is a setting of each tier.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from scheduler.jobs import ScheduleError, check_aware

CLOCKS = ("sampling", "receipt")


@dataclass(frozen=True, slots=True)
class Tier:
    """A class of specimens with one deadline.

    Attributes:
        id: `fever`, `patient`, `yellow`, `voluntary`, `region` in the shipped rules.
        hours: from the start of the clock to the report.
        clock: `sampling` or `receipt`.
        priority: of the tier's jobs; higher goes first.
        name_en, name_zh: for labels; sentence_en, sentence_zh: for people.
    """

    id: str
    hours: float
    clock: str
    priority: int
    name_en: str
    name_zh: str
    sentence_en: str
    sentence_zh: str

    def __post_init__(self) -> None:
        if self.hours <= 0:
            raise ScheduleError("BAD_TIER", f"Tier {self.id}: hours must be above 0, not {self.hours}.")
        if self.clock not in CLOCKS:
            raise ScheduleError(
                "BAD_TIER", f"Tier {self.id}: clock is one of {', '.join(CLOCKS)}, not {self.clock!r}."
            )


@dataclass(frozen=True, slots=True)
class TierRules:
    """All tiers of a laboratory, in the order they are shown."""

    version: str
    tiers: tuple[Tier, ...]

    def __post_init__(self) -> None:
        ids = [tier.id for tier in self.tiers]
        if not ids or len(set(ids)) < len(ids):
            raise ScheduleError("BAD_TIER", f"Tiers need ids of their own, at least one: {ids}.")

    @classmethod
    def from_mapping(cls, facts: Mapping[str, Any]) -> "TierRules":
        """Rules from `{"version": ..., "tier": [{...}, ...]}`.

        Raises:
            ScheduleError: `BAD_TIER` names the tier and the key that is missing, unknown or senseless.
        """
        unknown = sorted(set(facts) - {"version", "tier"})
        if unknown or "version" not in facts:
            raise ScheduleError(
                "BAD_TIER", f"Tier rules hold `version` and `tier` entries; look at: {', '.join(unknown)}."
            )
        return cls(str(facts["version"]), tuple(_tier(entry) for entry in facts.get("tier", ())))

    @classmethod
    def from_toml(cls, text: str) -> "TierRules":
        """Rules from the text of a TOML file, for example the shipped `scheduler/tiers.toml`."""
        try:
            facts = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ScheduleError("BAD_TOML", f"The tier rules are not valid TOML: {error}.") from error
        return cls.from_mapping(facts)

    def tier(self, tier: str) -> Tier:
        """The tier of this id.

        Raises:
            ScheduleError: `UNKNOWN_TIER`, naming the ids there are.
        """
        for entry in self.tiers:
            if entry.id == tier:
                return entry
        known = ", ".join(entry.id for entry in self.tiers)
        raise ScheduleError(
            "UNKNOWN_TIER",
            f"Tier {tier!r} is not in the rules. Use one of: {known}.",
            f"没有时效等级 {tier!r}，可用：{known.replace(', ', '、')}。",
        )


def _tier(entry: Mapping[str, Any]) -> Tier:
    expected = set(Tier.__dataclass_fields__)
    wrong = sorted(expected ^ set(entry))
    if wrong:
        raise ScheduleError(
            "BAD_TIER", f"Tier {entry.get('id', '?')}: keys missing or unknown: {', '.join(wrong)}."
        )
    return Tier(**entry)


def clock_start(tier: str, sampled_at: datetime, received_at: datetime | None, rules: TierRules) -> datetime:
    """When the clock of this tube starts.

    Before receipt a receipt clock runs provisionally from sampling (or registration). When receipt lies
    before sampling one of two clocks is wrong and nobody knows which: the earlier time counts, so that a
    wrong clock can make a tube more urgent and never less, and no report precedes its own start.
    """
    check_aware("The sampling time", sampled_at)
    entry = rules.tier(tier)
    if received_at is None:
        return sampled_at
    check_aware("The receipt time", received_at)
    return received_at if entry.clock == "receipt" else min(sampled_at, received_at)


def due_at(tier: str, sampled_at: datetime, received_at: datetime | None, rules: TierRules) -> datetime:
    """When the report is due; provisional while `received_at` is None under a receipt clock."""
    return clock_start(tier, sampled_at, received_at, rules) + timedelta(hours=rules.tier(tier).hours)


def turnaround(start: datetime, end: datetime) -> timedelta:
    """Time from start to end, never negative: a clock set back in between counts as no time."""
    return max(end - start, timedelta(0))


def slack(now: datetime, due: datetime, remaining: timedelta) -> timedelta:
    """Time that can still be wasted: negative when `remaining` work no longer fits before `due`."""
    return due - now - remaining


def at_risk(now: datetime, due: datetime, remaining: timedelta, margin: timedelta = timedelta(0)) -> bool:
    """Whether less than `margin` of slack is left."""
    return slack(now, due, remaining) < margin
