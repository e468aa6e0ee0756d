"""Who is on, and what is out of order, as far as is known; what is not known is drawn.

A station of a forecast has a capacity that changes at known minutes: with the shifts, rests and absences of
its people, and with the machines that are out of service. Work in hand is finished when a shift ends.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sim.servers import NEVER
from sim.service import Service

Floats = NDArray[np.float64]
Window = tuple[float, float]

DAY = 1440.0
AHEAD_DAYS = 7
"""Days ahead for which people are laid out; from then on somebody is taken to be there always."""

BEHIND_DAYS = 2
"""Days back, for what waits since then."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One shift of one person on one day.

    Attributes:
        begins: minute; until then nobody knows whether the person comes.
        windows: when the person is there, rests taken off.
    """

    begins: float
    windows: tuple[Window, ...]


@dataclass(frozen=True)
class Duty:
    """The people of one station.

    Attributes:
        turns: shifts as planned, known absences taken off.
        absence: chance that somebody does not come to a shift that has not begun.
        until: up to this minute the turns say everything; beyond it somebody is always there.
        more: added wherever anybody is (a trial of "one more person").
    """

    turns: tuple[Turn, ...]
    absence: float = 0.0
    until: float = NEVER
    more: int = 0

    @cached_property
    def _edges(self) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64], Floats]:
        """(minutes ascending, +1 or -1, number of the turn) of everybody who comes or goes; begins."""
        rows = [
            (minute, sign, number)
            for number, turn in enumerate(self.turns)
            for window in turn.windows
            for minute, sign in zip(window, (1, -1), strict=True)
        ]
        rows.sort()
        table = np.array(rows, dtype=np.float64).reshape(-1, 3)
        begins = np.array([turn.begins for turn in self.turns], dtype=np.float64)
        return table[:, 0], table[:, 1].astype(np.int64), table[:, 2].astype(np.int64), begins

    def people(self, now: float = NEVER, rng: np.random.Generator | None = None) -> "Level":
        """How many are there from minute to minute; who has not begun at `now` may not come.

        Without `rng` everybody comes.
        """
        minutes, signs, turns, begins = self._edges
        if rng is not None and self.absence:
            comes = (rng.random(begins.size) >= self.absence) | (begins <= now)
            signs = signs * comes[turns]
        count = np.cumsum(signs)
        if self.until < NEVER:
            inside = minutes < self.until
            minutes, count = minutes[inside], count[inside]
            last = max(int(count.max(initial=0)), 1)
            minutes, count = np.append(minutes, self.until), np.append(count, last)
        return Level(minutes, count + self.more * (count > 0), 0)

    @cached_property
    def most(self) -> int:
        """The most who are planned at once."""
        return int(np.cumsum(self._edges[1]).max(initial=0))

    def coming(self, now: float) -> "Duty":
        """What still matters at a minute: two days back, for what waits since then."""
        since = now - BEHIND_DAYS * DAY
        kept = [turn for turn in self.turns if turn.windows and turn.windows[-1][1] > since]
        return Duty(tuple(kept), self.absence, self.until, self.more)


def of_hours(hours: Sequence[bool], first: float, days: int) -> Duty:
    """People of whom only is known in which hours of the day somebody works.

    Args:
        hours: 24 of the day.
        first: number of the first day to lay out, from the midnight at 0; may be negative.
        days: to lay out.
    """
    turns = [
        Turn(-NEVER, ((start, start + 60.0),))
        for day in range(days)
        for hour, on in enumerate(hours)
        for start in ((first + day) * DAY + 60.0 * hour,)
        if on
    ]
    return Duty(tuple(turns), until=(first + days) * DAY)


class Level:
    """A number that changes at some minutes, ascending; `before` the first."""

    __slots__ = ("_counts", "_minutes", "_worked")

    def __init__(self, minutes: Floats, counts: NDArray[np.int64], before: int = 0) -> None:
        # of several changes at one minute the last one holds
        kept = np.append(minutes[1:] > minutes[:-1], np.ones(min(minutes.size, 1), dtype=np.bool_))
        self._minutes: list[float] = [-NEVER, *minutes[kept].tolist()]
        self._counts: list[int] = [before, *counts[kept].tolist()]
        self._worked: list[float] | None = None

    def at(self, minute: float) -> int:
        """The number at a minute."""
        return self._counts[bisect_right(self._minutes, minute) - 1]

    def above(self, count: int, minute: float) -> float:
        """The first minute after `minute` at which it is more than `count`."""
        for place in range(bisect_right(self._minutes, minute), len(self._minutes)):
            if self._counts[place] > count:
                return self._minutes[place]
        return NEVER

    def scaled(self, each: float, most: int) -> "Level":
        """Plates at once: `each` a person, at least one where there is anybody, and never above `most`."""
        made = Level(np.empty(0), np.empty(0, dtype=np.int64))
        made._minutes = self._minutes
        made._counts = [min(max(int(each * n + 1e-9), 1), most) if n > 0 else 0 for n in self._counts]
        return made

    def least(self, other: "Level") -> "Level":
        """The smaller of two numbers from minute to minute."""
        made = Level(np.empty(0), np.empty(0, dtype=np.int64))
        made._minutes = sorted({*self._minutes, *other._minutes})  # noqa: SLF001 - a level like this one
        made._counts = [min(self.at(minute), other.at(minute)) for minute in made._minutes]
        return made

    def opens(self, minute: float) -> float:
        """The first minute from `minute` on at which it is above 0."""
        return minute if self.at(minute) > 0 else self.above(0, minute)

    def _on(self) -> list[float]:
        """Minutes with somebody there, up to each change."""
        if self._worked is None:
            done, self._worked = 0.0, [0.0, 0.0]
            for place in range(1, len(self._minutes) - 1):
                if self._counts[place] > 0:
                    done += self._minutes[place + 1] - self._minutes[place]
                self._worked.append(done)
        return self._worked

    def worked(self, start: float, end: float) -> float:
        """Minutes between two minutes at which somebody is there."""
        return self._until(end) - self._until(start)

    def _until(self, minute: float) -> float:
        place = bisect_right(self._minutes, minute) - 1
        if place < 1:
            return 0.0
        return self._on()[place] + (minute - self._minutes[place] if self._counts[place] > 0 else 0.0)

    def after(self, start: float, minutes: float) -> float:
        """When so many minutes with somebody there have passed; no work ends where nobody is."""
        if len(self._minutes) == 1:
            return start + minutes if self._counts[0] else NEVER
        wanted = self._until(start) + minutes
        on = self._on()
        place = max(bisect_right(self._minutes, start) - 1, 1)
        while place < len(self._minutes):
            last = place == len(self._minutes) - 1
            if self._counts[place] > 0 and (last or on[place + 1] >= wanted):
                return max(self._minutes[place] + wanted - on[place], start)
            place += 1
        return NEVER


class Capacity:
    """Servers whose number changes; what they have in hand when it falls is finished (see `Always`)."""

    __slots__ = ("_busy", "_most", "level")

    def __init__(self, level: Level, most: int) -> None:
        self.level, self._most, self._busy = level, most, 0

    @property
    def free(self) -> int:
        """Servers without work, on duty or off."""
        return self._most - self._busy

    def take(self, now: float, minutes: float) -> tuple[int, float] | None:
        """See `Always`."""
        if self._busy >= self.level.at(now):
            return None
        self._busy += 1
        return 0, now + minutes

    def give(self, server: int) -> None:
        """See `Always`."""
        del server
        self._busy -= 1

    def next_on(self, now: float) -> float:
        """See `Always`; whoever gets free asks again by itself."""
        return self.level.above(self._busy, now)

    def until(self, times: Floats) -> Floats:
        """See `Always`."""
        found: Floats = np.array([self.level.worked(0.0, at) for at in times.tolist()])
        return found


# -- machines -------------------------------------------------------------------------------------

A_DAY_OUT = Service("uniform", low=240.0, high=1440.0)


@dataclass(frozen=True, slots=True)
class Wear:
    """What is out of service among the machines of a station, and what may become so.

    Attributes:
        out: of each that is out, or will be for maintenance, since when and until when it is expected back
            (None: nobody knows; it is out already).
        chance: that a machine goes out of service on a day.
        repair: minutes until it is back.
    """

    out: tuple[tuple[float, float | None], ...] = ()
    chance: float = 0.0
    repair: Service = field(default_factory=lambda: A_DAY_OUT)

    def __bool__(self) -> bool:
        """Whether anything is or may go out."""
        return bool(self.out) or self.chance > 0

    def level(self, machines: int, now: float, horizon: float, rng: np.random.Generator) -> Level:
        """Machines in service from minute to minute."""
        begins, ends = [], []
        for since, until in self.out:
            left = float(self.repair.draw(1, rng)[0])
            begin = max(since, now)
            back = max(since + left, now + 0.1 * left) if until is None else max(until, begin)
            begins.append(begin)
            ends.append(back)
        more = int(rng.poisson(self.chance * machines * horizon / DAY))
        starts = now + horizon * rng.random(more)
        begins += starts.tolist()
        ends += (starts + self.repair.draw(more, rng)).tolist()
        minutes = np.array([*begins, *ends], dtype=np.float64)
        signs = np.array([-1] * len(begins) + [1] * len(ends), dtype=np.int64)
        order = np.argsort(minutes, kind="stable")
        counts = np.clip(machines + np.cumsum(signs[order]), 0, machines)
        return Level(minutes[order], counts, machines)


@dataclass(frozen=True, slots=True)
class Machines:
    """Machines of one kind without which a step that has people or places of its own cannot work.

    Attributes:
        kind: a key of `MACHINE_KINDS`.
        count: of them in the laboratory.
        wear: what is out of service among them, and what may become so.
    """

    kind: str
    count: int
    wear: Wear = field(default_factory=Wear)

    def level(self, places: int, now: float, horizon: float, rng: np.random.Generator) -> Level:
        """Places that can be used from minute to minute: all, or as many as the share of machines in service.

        Half of the machines serve half of the places, and a last one serves one.
        """
        return self.wear.level(self.count, now, horizon, rng).scaled(places / self.count, places)


MACHINE_KINDS: Mapping[str, tuple[str, float]] = {"cabinet": ("prepare", 0.0), "extractor": ("prepare", 0.04)}
"""Kind of machine that a duty plan may name -> the step that needs it, and the chance that one goes out of
service on a day: the UK planning model for extractors; of cabinets it says none. Cyclers are enrolled."""
