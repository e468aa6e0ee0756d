"""What waits for a plate, and the next plate: `scheduler.judge` decides when, urgency decides who.

Tubes that wait for their first test have keys that never change, so they are ranked once and wait as plain
numbers in a heap. Retests, pools and re-collected tubes wait beside them with their keys. A test holds
this queue against `scheduler.fill_plate` on the same jobs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scheduler import FillRules, Line, judge
from sim.engine import NEVER

LOOK = 5.0
"""Minutes after which somebody who waits for a plate to fill looks again."""

SOON = 1e-6
DAY = 1440.0
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
        formed: minute at which it was closed.
        positives: tubes that a reviewer has to look at, once it is read.
        review: tubes that wait for the reviewer.
    """

    number: int
    first: NDArray[np.int64]
    again: list[Any]
    key: tuple[float, float]
    closed_by: str
    formed: float = 0.0
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
    """

    ids: NDArray[np.int64]
    came: Floats
    due: Floats
    priority: NDArray[np.int64]
    persons: NDArray[np.int64]


class Filling:
    """A `sim.engine.Queue` that closes plates by the rules of the laboratory."""

    def __init__(self, firsts: Firsts, rules: FillRules) -> None:
        self._rules, self._closing = rules, rules.closing
        self._room = len(rules.template.sample_wells(rules.order))
        urgent = (firsts.ids, firsts.came, firsts.due, -firsts.priority)
        received = (firsts.ids, firsts.due, -firsts.priority, firsts.came)
        order = np.lexsort(received if rules.policy == "fifo-full" else urgent)
        self._ids, self._due = firsts.ids[order], firsts.due[order]
        self._came, self._priority = firsts.came[order], firsts.priority[order]
        self._persons = firsts.persons[order]
        self._entry = np.argsort(self._came, kind="stable").tolist()
        self._times = np.sort(self._came)
        self._seen = 0
        self._heap: list[int] = []
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
        return len(self._entry) - self._seen + len(self._heap) + len(self._again)

    def flush(self) -> None:
        """Let what is left start."""
        self._flushed = True

    def ready(self, now: float) -> float:
        """When the next plate may be started, as far as is known."""
        opened = self._last_wave(now)
        self._advance(opened)
        count = len(self._heap) + len(self._again)
        if not count:
            # a wave that is due now but for the last digit of a float must not start an empty plate
            return max(self._next_arrival(now), now + SOON)
        if self._rules.policy == "waves" and not self._heap and not self._flushed:
            count = sum(job.received <= opened for _, job, _ in self._again)
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
        heap = self._heap
        room = min(self._room, len(heap) + len(others))
        again: list[Any] = []
        entered: list[float] = []
        ranks: list[int] = []
        while others and len(ranks) + len(again) < room:
            if heap and self._key(heap[0]) < others[0][0]:
                ranks.append(heappop(heap))
            else:
                _, job, at = heappop(others)
                again.append(job)
                entered.append(at)
        ranks += [heappop(heap) for _ in range(room - len(ranks) - len(again))]
        place = np.array(ranks, dtype=np.int64)
        keys = [(-job.priority, job.due) for job in again]
        if ranks:
            keys.append((-float(self._priority[place].max()), float(self._due[place].min())))
        plate = Plate(self.made, self._ids[place], again, min(keys), self._code or "end")
        self.made += 1
        return plate, np.concatenate([self._came[place], entered])

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
        times, entry, heap = self._times, self._entry, self._heap
        last = int(np.searchsorted(times, until, side="right"))
        for place in range(self._seen, last):
            heappush(heap, entry[place])
        self._seen = max(self._seen, last)

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
        if count == self._room and self._rules.policy != "waves":
            return Line(count, count, 0.0, 0.0, now % DAY, None, tuple)
        heap = np.array(self._heap, dtype=np.int64)
        others = self._again
        due = min(
            float(self._due[heap].min(initial=NEVER)), min((j.due for _, j, _ in others), default=NEVER)
        )
        came = min(
            float(self._came[heap].min(initial=NEVER)), min((j.received for _, j, _ in others), default=NEVER)
        )

        def each() -> Sequence[tuple[float, float]]:
            firsts = zip((self._due[heap] - now).tolist(), self._persons[heap].tolist(), strict=True)
            return [
                *firsts,
                *((job.due - now, job.persons * (1 + (job.test != "first"))) for _, job, _ in others),
            ]

        queued = self.queued() if self._rules.policy == "cost" else 0
        return Line(count, self._room, due - now, now - came, now % DAY, self._rate(now), each, queued)

    def _rate(self, now: float) -> float | None:
        """Tubes that came a minute in the last hour, unless the rules state a rate."""
        if self._rules.per_minute is not None:
            return self._rules.per_minute
        first, last = np.searchsorted(self._times, [now - 60, now], side="right")
        return float(last - first) / 60
