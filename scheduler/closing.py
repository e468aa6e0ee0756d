"""When a plate closes: one judgement, in minutes from now, for the bench and for the simulator alike.

Policies:

- ``urgency``: full at once; partial when the slack of its most pressing tube is used up, or when a tube
  has waited `max_wait_minutes` and `min_fill` is reached.
- ``cost``: full at once; partial when its slack is used up, or when waiting for more tubes costs more
  than the wells that stay empty; never while any plate waits for a machine already, because then the
  plate would only wait elsewhere and take a run from others. The usual policy: whatever the load, and
  however short a machine is, it makes no more tubes late than `fifo-full` (`docs/scenarios.md`).
- ``fifo-full``: only full plates, in order of receipt; a tube that is due closes its plate so that
  none is stranded.
- ``waves``: what was received before the last wave closes at once, the rest waits for the next one.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from scheduler.jobs import ScheduleError

POLICIES: Final = ("urgency", "cost", "fifo-full", "waves")
FOREVER: Final = 60.0 * 24 * 365
ASK_AGAIN: Final = 5.0
"""Minutes after which the cost of waiting is weighed anew; it changes with what arrives."""

DAY: Final = 1440.0


@dataclass(frozen=True, slots=True)
class Closing:
    """When a partial plate closes.

    Attributes:
        policy: one of `POLICIES`.
        min_fill: tubes a plate must hold before waiting alone closes it (`urgency`).
        max_wait_minutes: longest wait of a tube before a plate of `min_fill` closes (`urgency`).
        minutes_to_report: from closing a plate to its reports; subtracted from every due time.
        empty_well_minutes: an empty well is worth this many tube-minutes of waiting (`cost`).
        late_weight: a minute of lateness weighs as much as so many minutes of waiting (`cost`).
        waves: minutes of the day, ascending (`waves`).
    """

    policy: str = "cost"
    min_fill: int = 24
    max_wait_minutes: float = 60.0
    minutes_to_report: float = 180.0
    empty_well_minutes: float = 30.0
    late_weight: float = 20.0
    waves: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ScheduleError(
                "BAD_RULES",
                f"A policy is one of {', '.join(POLICIES)}, not {self.policy!r}.",
                f"关板策略现为 {self.policy!r}，须为以下之一：{'、'.join(POLICIES)}。",
            )
        if self.min_fill < 1 or self.max_wait_minutes < 0 or self.minutes_to_report < 0:
            raise ScheduleError(
                "BAD_RULES",
                "Minimum fill starts at 1; waiting and working times are not negative.",
                "min_fill 须不小于 1；等待和操作的分钟数不能为负。",
            )
        if self.empty_well_minutes <= 0 or self.late_weight < 0:
            raise ScheduleError(
                "BAD_RULES",
                "An empty well costs more than nothing, lateness not less.",
                "empty_well_minutes 须大于 0，late_weight 不能为负。",
            )
        rising = all(a < b for a, b in pairwise((-1e-9, *self.waves, DAY)))
        if (self.policy == "waves") != bool(self.waves) or not rising:
            raise ScheduleError(
                "BAD_RULES",
                "Waves are rising minutes of the day, given for the policy waves alone.",
                "waves 须为当日递增的分钟，且只用于策略 waves。",
            )


@dataclass(frozen=True, slots=True)
class Line:
    """The candidates of one plate; every time is in minutes from now.

    Attributes:
        count: candidates, at most `room`.
        room: wells for tubes.
        due: the earliest due time.
        waited: the longest wait.
        minute: minute of the day it is now.
        per_minute: how fast candidates come; None: as fast as these came.
        queued: plates that wait for a machine.
        coming: (minutes, count) of candidates foreseen, soonest first (`cost`).
        each: (due, weight) of every candidate, asked for only when needed.
    """

    count: int
    room: int
    due: float
    waited: float
    minute: float
    per_minute: float | None
    each: Callable[[], Sequence[tuple[float, float]]]
    queued: int = 0
    coming: tuple[tuple[float, int], ...] = ()


def judge(line: Line, rules: Closing) -> tuple[str, float]:
    """Why a plate closes now (`full`, `slack`, `waited`, `cost`, `wave`) or "", and when to ask again.

    Returns:
        (code, minutes from now); the minutes are 0 when the plate closes now.
    """
    if rules.policy == "waves":
        return _wave(line, rules)
    if line.count == line.room:
        return "full", 0.0
    if rules.policy == "fifo-full":
        return ("slack", 0.0) if line.due <= 0 else ("", line.due)
    if rules.policy == "cost" and line.queued:
        return "", ASK_AGAIN
    slack = line.due - rules.minutes_to_report
    if slack <= 0:
        return "slack", 0.0
    if rules.policy == "cost":
        return ("cost", 0.0) if waiting_costs_more(line, rules) else ("", min(slack, ASK_AGAIN))
    if line.count < rules.min_fill:
        return "", slack
    left = rules.max_wait_minutes - line.waited
    return ("waited", 0.0) if left <= 0 else ("", min(slack, left))


def waiting_costs_more(line: Line, rules: Closing) -> bool:
    """Whether waiting until the plate would be full costs more than the wells that stay empty now.

    Waiting costs every candidate, by its weight, the minutes until the plate is full and, `late_weight`
    times, the minutes of lateness those add.
    """
    rate = line.per_minute if line.per_minute is not None else line.count / max(line.waited, 1e-9)
    empty = line.room - line.count
    until_full = _until_full(empty, rate, line.coming)
    if until_full == math.inf:
        return True
    slack = [(due - rules.minutes_to_report, weight) for due, weight in line.each()]
    waiting = sum(
        weight * (until_full + rules.late_weight * (max(until_full - left, 0.0) - max(-left, 0.0)))
        for left, weight in slack
    )
    return waiting >= empty * rules.empty_well_minutes


def _until_full(empty: int, rate: float, coming: Sequence[tuple[float, int]]) -> float:
    """Minutes until so many more candidates have come, steadily and in foreseen groups; infinite if never."""
    left = float(empty)
    for minutes, count in coming:
        if left <= rate * minutes:
            break
        left -= count
        if left <= rate * minutes:
            return minutes
    return left / rate if rate > 0 else math.inf


def _wave(line: Line, rules: Closing) -> tuple[str, float]:
    last = max((wave for wave in rules.waves if wave <= line.minute), default=rules.waves[-1] - DAY)
    if line.waited >= line.minute - last:
        return "wave", 0.0
    following = min((wave for wave in rules.waves if wave > line.minute), default=rules.waves[0] + DAY)
    return "", following - line.minute
