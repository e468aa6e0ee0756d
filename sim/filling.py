"""What waits for a plate, and the next plate: `scheduler.judge` decides when, urgency decides who.

Tubes that wait for their first test have keys that never change, so they are ranked once and wait as plain
numbers in a sorted list. Retests, pools and re-collected tubes wait beside them with their keys. A test holds
this queue against `scheduler.fill_plate` on the same jobs.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scheduler import FillRules, Line, judge
from sim.servers import NEVER

LOOK = 5.0
"""Minutes after which somebody who waits for a plate to fill looks again."""

SOON = 1e-6
FEW = 500
"""So many tubes are put into the line one by one; more are sorted in together."""

DAY = 1440.0
FULL = "full"
Floats = NDArray[np.float64]


@dataclass(slots=True)
class Plate:
    """A plate on its way.

    Attributes:
        number: plates are counted from 0.
        first: tubes tested for the first time.
        again: jobs of every other kind.
        key: priority and due time of its most urgent tube; a smaller key goes first at every station.
        closed_by: why it was closed.
        formed: minute at which it was closed; `started` when it was put into the cycler.
        positives: tubes that a reviewer has to look at, once it is read.
        review: tubes that wait for the reviewer.
    """

    number: int
    first: NDArray[np.int64]
    again: list[Any]
    key: tuple[float, float]
    closed_by: str
    formed: float = 0.0
    started: float = float("nan")
    positives: int = 0
    review: Any = None

    @property
    def size(self) -> int:
        """Tubes on it."""
        return int(self.first.size) + len(self.again)


@dataclass(frozen=True, slots=True)
class Firsts:
    """Tubes that wait for their first test, each array of shape (tubes,).

    Attributes:
        ids: of the tubes.
        came: minute from which each waits, `due` when its report is due.
        priority: of its tier.
        persons: who wait for it.
        order: places in order of urgency, and `by_came` in order of coming, where they are known already.
    """

    ids: NDArray[np.int64]
    came: Floats
    due: Floats
    priority: NDArray[np.int64]
    persons: NDArray[np.int64]
    order: NDArray[np.int64] | None = None
    by_came: NDArray[np.int64] | None = None

    def ranked(self, policy: str) -> NDArray[np.int64]:
        """Places in the order in which a policy takes the tubes."""
        if self.order is not None:
            return self.order
        urgent = (self.ids, self.came, self.due, -self.priority)
        received = (self.ids, self.due, -self.priority, self.came)
        return np.lexsort(received if policy == "fifo-full" else urgent)


NONE: NDArray[np.int64] = np.empty(0, dtype=np.int64)


class Ranks:
    """Ascending numbers: a long sorted array that is used up from its head, and the few that came later."""

    __slots__ = ("_at", "_new", "_old")

    def __init__(self) -> None:
        self._old = NONE
        self._at = 0
        self._new: list[int] = []

    def add(self, came: NDArray[np.int64]) -> None:
        """Put numbers where they belong."""
        if came.size + len(self._new) > FEW:
            self._old = np.sort(np.concatenate([self._old[self._at :], self._new, came]).astype(np.int64))
            self._at, self._new = 0, []
            return
        for rank in came.tolist():
            insort(self._new, rank)

    def least(self, count: int) -> NDArray[np.int64]:
        """The smallest `count` numbers, ascending; fewer when there are fewer."""
        found = self._old[self._at : self._at + count]
        if not self._new:
            return found
        return np.sort(np.concatenate([found, np.array(self._new[:count], dtype=np.int64)]))[:count]

    def drop(self, taken: NDArray[np.int64]) -> None:
        """Remove what `least` has given."""
        if not taken.size:
            return
        if not self._new:
            self._at += taken.size
            return
        new = bisect_right(self._new, taken[-1])
        del self._new[:new]
        self._at += taken.size - new

    def __len__(self) -> int:
        return self._old.size - self._at + len(self._new)


class Filling:
    """A `sim.engine.Queue` that closes plates by the rules of the laboratory."""

    def __init__(self, firsts: Firsts, rules: FillRules) -> None:
        self._rules, self._closing = rules, rules.closing
        self._room = len(rules.template.sample_wells(rules.order))
        order = firsts.ranked(rules.policy)
        self._ids, self._due = firsts.ids[order], firsts.due[order]
        self._came, self._priority = firsts.came[order], firsts.priority[order]
        self._persons = firsts.persons[order]
        self._entry = np.argsort(self._came, kind="stable")
        if firsts.by_came is not None:
            rank = np.empty_like(order)
            rank[order] = np.arange(order.size)
            self._entry = rank[firsts.by_came]
        self._times = self._came[self._entry]
        self._seen = 0
        self._first = Ranks()
        self._again: list[tuple[tuple[float, ...], Any, float]] = []
        self._flushed = False
        self._code = ""
        self.made = 0
        self.queued: Callable[[], int] = lambda: 0

    def put(self, job: Any, now: float) -> None:
        """Add a job with `priority`, `due`, `received`, `persons`, `tid` and `test`."""
        key = (-job.priority, job.due, job.received, job.tid)
        if self._rules.policy == "fifo-full":
            key = (job.received, -job.priority, job.due, job.tid)
        heappush(self._again, (key, job, now))

    def __len__(self) -> int:
        return self._times.size - self._seen + len(self._first) + len(self._again)

    def head(self) -> tuple[float, ...] | None:
        """Key of the most urgent job that waits; None when nothing does."""
        keys = [self._key(rank) for rank in self._first.least(1).tolist()]
        return min([*keys, *(entry[0] for entry in self._again[:1])], default=None)

    def flush(self) -> None:
        """Let what is left start."""
        self._flushed = True

    def ready(self, now: float) -> float:
        """When the next plate may be started, as far as is known."""
        opened = self._last_wave(now)
        self._advance(opened)
        count = len(self._first) + len(self._again)
        if not count:
            # a wave that is due now but for the last digit of a float must not start an empty plate
            return max(self._next_arrival(now), now + SOON)
        if self._rules.policy == "waves" and not self._first and not self._flushed:
            count = sum(job.received <= opened for _, job, _ in self._again)
        if count >= self._room and not self._rules.waves:
            self._code = FULL  # as `judge` says of every full plate that waits for no wave
            return now
        self._code, minutes = judge(self._line(min(count, self._room), now), self._closing)
        if self._code or self._flushed:
            return now
        missing = self._seen + self._room - count - 1
        filling = not self._rules.waves and self._seen < self._times.size
        full = float(self._times[missing]) if filling and missing < self._times.size else NEVER
        look = now + LOOK if filling else NEVER
        return max(min(now + minutes, full, look), now + SOON)

    def take(self, now: float) -> tuple[list[Plate], Floats]:
        """The most urgent tubes, as many as a plate holds; under waves those that came in time."""
        opened = self._last_wave(now)
        others = [entry for entry in self._again if entry[1].received <= opened]
        if len(others) == len(self._again):
            later, others = [], self._again
        else:
            later = [entry for entry in self._again if entry[1].received > opened]
            heapify(others)
        plate, entered = self._fill(others)
        plate.formed = now
        if later:
            self._again = [*others, *later]
            heapify(self._again)
        return [plate], entered

    def _fill(self, others: list[tuple[tuple[float, ...], Any, float]]) -> tuple[Plate, Floats]:
        room = min(self._room, len(self._first) + len(others))
        own = self._first.least(room)
        again, entered = self._urgent(others, own, room) if others else ([], [])
        if again:
            own = own[: room - len(again)]
        self._first.drop(own)
        key = min([(-job.priority, job.due) for job in again], default=(NEVER, NEVER))
        if own.size:
            key = min(key, (-float(self._priority[own].max()), float(self._due[own].min())))
        plate = Plate(self.made, self._ids[own], again, key, self._code or "end")
        self.made += 1
        came = self._came[own]
        return plate, np.concatenate([came, entered]) if entered else came

    def _urgent(
        self, others: list[tuple[tuple[float, ...], Any, float]], ranks: NDArray[np.int64], room: int
    ) -> tuple[list[Any], list[float]]:
        """The other jobs that come onto a plate beside first tests, and when each came."""
        again: list[Any] = []
        entered: list[float] = []
        taken, asked, size = 0, -1, ranks.size
        following: tuple[float, ...] = ()
        while others and taken + len(again) < room:
            key = others[0][0]
            if taken < size and asked != taken:
                asked, following = taken, self._key(int(ranks[taken]))
            if taken == size or key <= following:
                _, job, at = heappop(others)
                again.append(job)
                entered.append(at)
            else:
                # all first tests that go before this job
                last = min(room - len(again), size)
                taken = bisect_left(ranks, key, taken + 1, last, key=self._key)
        return again, entered

    def _key(self, rank: int) -> tuple[float, ...]:
        urgent = (-int(self._priority[rank]), float(self._due[rank]))
        came, tid = float(self._came[rank]), int(self._ids[rank])
        return (came, *urgent, tid) if self._rules.policy == "fifo-full" else (*urgent, came, tid)

    def _last_wave(self, now: float) -> float:
        """Up to when tubes must have come to be considered: now, or the last wave."""
        waves = self._rules.waves
        if not waves or self._flushed:
            return now
        minute = now % DAY
        last = max((wave for wave in waves if wave <= minute), default=waves[-1] - DAY)
        return now - minute + last

    def _advance(self, until: float) -> None:
        if self._seen >= self._times.size or self._times[self._seen] > until:
            return
        last = int(np.searchsorted(self._times, until, side="right"))
        self._first.add(self._entry[self._seen : last])
        self._seen = last

    def _next_arrival(self, now: float) -> float:
        if self._seen >= self._times.size:
            return NEVER
        waves = self._rules.waves
        following = float(self._times[self._seen])
        if not waves:
            return following
        at = max(following, now)
        minute = at % DAY
        return at - minute + min((wave for wave in waves if wave >= minute), default=waves[0] + DAY)

    def _line(self, count: int, now: float) -> Line:
        waiting = self._first.least(len(self._first))
        others = self._again
        due = min(
            float(self._due[waiting].min(initial=NEVER)), min((j.due for _, j, _ in others), default=NEVER)
        )
        came = min(
            float(self._came[waiting].min(initial=NEVER)),
            min((j.received for _, j, _ in others), default=NEVER),
        )

        def each() -> Sequence[tuple[float, float]]:
            firsts = zip((self._due[waiting] - now).tolist(), self._persons[waiting].tolist(), strict=True)
            return [
                *firsts,
                *((job.due - now, job.persons * (1 + (job.test != "first"))) for _, job, _ in others),
            ]

        weighs = self._rules.policy == "cost"
        queued = self.queued() if weighs else 0
        rate = self._rate(now) if weighs else None
        return Line(count, self._room, due - now, now - came, now % DAY, rate, each, queued)

    def _rate(self, now: float) -> float | None:
        """Tubes that came a minute in the last hour, unless the rules state a rate."""
        if self._rules.per_minute is not None:
            return self._rules.per_minute
        first, last = np.searchsorted(self._times, [now - 60, now], side="right")
        return float(last - first) / 60
