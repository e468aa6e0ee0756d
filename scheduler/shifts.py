"""Who is on, when: shifts, breaks, spells in protective clothing, absences, and what happens at the end.

Everything is in minutes from the first midnight. A position (a cabinet, a reading desk, a machine) is
on in windows; people change, the position stays, so that work handed over at a shift change goes on.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from scheduler.jobs import ScheduleError

DAY: Final = 1440.0
ENDINGS: Final = ("overrun", "fits", "resume")

Window = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Shift:
    """One shift, every day or on some days of the week.

    Attributes:
        name: for people.
        start: minute of the day.
        end: minute of the day; after midnight it is above 1440.
        people: how many positions are staffed.
        breaks: (start, end) in minutes after the start of the shift.
        days: days of the week, 0 for the first day of the rota; empty for every day.
    """

    name: str
    start: float
    end: float
    people: int
    breaks: tuple[Window, ...] = ()
    days: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.start < DAY or not self.start < self.end <= self.start + DAY:
            raise ScheduleError(
                "BAD_SHIFT",
                f"Shift {self.name!r}: it starts between 0 and 1440 and ends within a day after that.",
                f"班次 {self.name!r}：开始须不小于 0 且小于 1440，结束须晚于开始且不超过一天。",
            )
        if self.people < 0 or not set(self.days) <= set(range(7)):
            raise ScheduleError(
                "BAD_SHIFT",
                f"Shift {self.name!r}: people are not negative, days are 0 to 6.",
                f"班次 {self.name!r}：人数不能为负，星期为 0 到 6。",
            )
        reached = 0.0
        for begin, finish in self.breaks:
            if not reached <= begin < finish <= self.end - self.start:
                raise ScheduleError(
                    "BAD_SHIFT",
                    f"Shift {self.name!r}: breaks follow each other inside the shift, not {self.breaks}.",
                    f"班次 {self.name!r}：休息须按先后写、互不重叠且在班次之内，现为 {self.breaks}。",
                )
            reached = finish


@dataclass(frozen=True, slots=True)
class Rota:
    """The shifts of one kind of staff.

    Attributes:
        shifts: they may not overlap on one position; two shifts at one time are one shift of more people.
        spell: longest stretch in protective clothing, in minutes; 0 for no limit.
        rest: minutes between two spells.
        ending: what happens to work in hand when a window ends: `overrun` (it is finished), `fits`
            (nothing is started that would not be finished), `resume` (it is left and taken up again).
    """

    shifts: tuple[Shift, ...]
    spell: float = 0.0
    rest: float = 30.0
    ending: str = "overrun"

    def __post_init__(self) -> None:
        if self.ending not in ENDINGS:
            raise ScheduleError(
                "BAD_ROTA",
                f"The ending is one of {', '.join(ENDINGS)}, not {self.ending!r}.",
                f"ending 现为 {self.ending!r}，须为以下之一：{'、'.join(ENDINGS)}。",
            )
        if not self.shifts or self.spell < 0 or self.rest <= 0:
            raise ScheduleError(
                "BAD_ROTA",
                "A rota has a shift; spells are not negative, rests above 0.",
                "至少须有一个班次；spell 不能为负，rest 须大于 0。",
            )
        names = [shift.name for shift in self.shifts]
        if len(set(names)) < len(names):
            raise ScheduleError(
                "BAD_ROTA",
                f"Every shift has a name of its own: {', '.join(names)}.",
                f"班次名称须各不相同，现有：{'、'.join(names)}。",
            )
        week = sorted(
            (day * DAY + shift.start, day * DAY + shift.end, shift.name)
            for shift in self.shifts
            for day in (shift.days or range(7))
        )
        around = [*week, (week[0][0] + 7 * DAY, week[0][1] + 7 * DAY, week[0][2])]
        for (_, end, first), (start, _, second) in pairwise(around):
            if start < end:
                raise ScheduleError(
                    "SHIFT_OVERLAP",
                    f"Shifts {first!r} and {second!r} overlap. End the first before the second starts, "
                    "or write one shift of more people.",
                    f"班次 {first!r} 与 {second!r} 重叠。请让前一班在后一班开始前结束，"
                    "或写成一个人数更多的班次。",
                )

    @property
    def positions(self) -> int:
        """Positions staffed in the largest shift."""
        return max(shift.people for shift in self.shifts)


def windows(
    rota: Rota, days: int, absent: Collection[tuple[int, str, int]] = frozenset()
) -> tuple[tuple[Window, ...], ...]:
    """For every position the windows in which it is on, ascending, touching ones joined.

    Args:
        rota: the shifts.
        days: days to lay out, from day 0. A shift of the day before, running past midnight, is laid out too.
        absent: (day, shift, position) that nobody fills.
    """
    duties: list[list[Window]] = [[] for _ in range(rota.positions)]
    for day in range(-1, days):
        for shift in rota.shifts:
            if shift.days and day % 7 not in shift.days:
                continue
            on = [(day * DAY + a, day * DAY + b) for a, b in pieces(shift, rota)]
            for position in range(shift.people):
                if (day, shift.name, position) not in absent:
                    duties[position] += on
    return tuple(_joined(sorted((max(a, 0.0), b) for a, b in own if b > 0)) for own in duties)


def pieces(shift: Shift, rota: Rota) -> list[Window]:
    """A shift without its breaks, cut into spells with rests between them; minutes of the day."""
    edges = [0.0, *(edge for pair in shift.breaks for edge in pair), shift.end - shift.start]
    stretches = [
        (shift.start + a, shift.start + b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b > a
    ]
    if not rota.spell:
        return stretches
    cut = []
    for begin, finish in stretches:
        at = begin
        while at < finish:
            cut.append((at, min(at + rota.spell, finish)))
            at += rota.spell + rota.rest
    return cut


def _joined(pieces: Iterable[Window]) -> tuple[Window, ...]:
    joined: list[Window] = []
    for begin, finish in pieces:
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], finish))
        else:
            joined.append((begin, finish))
    return tuple(joined)


def without(own: Sequence[Window], down: Sequence[Window]) -> tuple[Window, ...]:
    """Windows minus the stretches in which a machine is down; both ascending."""
    left: list[Window] = []
    for begin, finish in own:
        at = begin
        for start, end in down:
            if end <= at or start >= finish:
                continue
            if start > at:
                left.append((at, start))
            at = max(at, end)
        if at < finish:
            left.append((at, finish))
    return tuple(left)


def on_duty(own: Sequence[Sequence[Window]], at: float) -> int:
    """How many positions are on at a minute."""
    return sum(any(begin <= at < finish for begin, finish in one) for one in own)


def minutes_on(own: Iterable[Window], start: float, end: float) -> float:
    """Minutes a position is on between start and end."""
    return sum(max(0.0, min(finish, end) - max(begin, start)) for begin, finish in own)
