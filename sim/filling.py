"""What waits for a plate, and the next plate: `scheduler.judge` decides when, urgency decides who.

Tubes that wait for their first test have keys that never change, so they are ranked once and wait as marks
on their ranks. Retests, pools and re-collected tubes wait beside them with their keys. A test holds this
queue against `scheduler.fill_plate` on the same jobs.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scheduler import FillRules, Line, judge
from sim.ranks import Firsts, Ranked, Ranks, index_of
from sim.servers import NEVER

LOOK = 5.0
"""Minutes after which somebody who waits for a plate to fill looks again."""

SOON = 1e-6
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


class Filling:
    """A `sim.engine.Queue` that closes plates by the rules of the laboratory."""

    def __init__(self, firsts: Firsts | Ranked, rules: FillRules) -> None:
        self._rules, self._closing = rules, rules.closing
        self._room = len(rules.template.sample_wells(rules.order))
        self._tubes = firsts if isinstance(firsts, Ranked) else firsts.ranked(rules.policy)
        self._times = self._tubes.times
        self._seen = 0
        self._first = Ranks(self._times.size)
        self._again: list[tuple[tuple[float, ...], Any, float]] = []
        # earliest due and first received of all that wait, while known: kept up as jobs come, lost as they go
        self._pressing: tuple[float, float] | None = None
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
        if self._pressing is not None:
            due, came = self._pressing
            self._pressing = min(due, job.due), min(came, job.received)

    def __len__(self) -> int:
        return self._times.size - self._seen + len(self._first) + len(self._again)

    def head(self) -> tuple[float, ...] | None:
        """Key of the most urgent job that waits; None when nothing does."""
        keys = [self._tubes.key(rank) for rank in self._first.least(1).tolist()]
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
        self._pressing = None
        if later:
            self._again = [*others, *later]
            heapify(self._again)
        return [plate], entered

    def _fill(self, others: list[tuple[tuple[float, ...], Any, float]]) -> tuple[Plate, Floats]:
        room = min(self._room, len(self._first) + len(others))
        ranks = self._first.least(room)
        again, entered = self._urgent(others, ranks.tolist(), room) if others else ([], [])
        own = ranks[: room - len(again)]
        span = index_of(own)
        self._first.drop(own, span)
        keys = [(-job.priority, job.due) for job in again]
        if own.size:
            keys.append(self._tubes.urgency(own, span))
        plate = Plate(self.made, self._tubes.ids[span], again, min(keys), self._code or "end")
        self.made += 1
        came = self._tubes.came[span]
        return plate, np.concatenate([came, entered]) if entered else came

    def _urgent(
        self, others: list[tuple[tuple[float, ...], Any, float]], ranks: list[int], room: int
    ) -> tuple[list[Any], list[float]]:
        """The other jobs that come onto a plate beside first tests, and when each came."""
        again: list[Any] = []
        entered: list[float] = []
        taken, asked = 0, -1
        following: tuple[float, ...] = ()
        while others and taken + len(again) < room:
            key = others[0][0]
            if taken < len(ranks) and asked != taken:
                asked, following = taken, self._tubes.key(ranks[taken])
            if taken == len(ranks) or key <= following:
                _, job, at = heappop(others)
                again.append(job)
                entered.append(at)
            else:
                # all first tests that go before this job
                last = min(room - len(again), len(ranks))
                taken = bisect_left(ranks, key, taken + 1, last, key=self._tubes.key)
        return again, entered

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
        came = self._tubes.entry[self._seen : last]
        self._first.add(came)
        if self._pressing is not None:
            due, first = self._pressing
            self._pressing = (
                min(due, float(self._tubes.due[came].min())),
                min(first, float(self._times[self._seen])),
            )
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
        if count == self._room and self._rules.policy != "waves":
            return Line(count, count, 0.0, 0.0, now % DAY, None, tuple)
        due, came = self._most_pressing()

        def each() -> Sequence[tuple[float, float]]:
            waiting = self._first.least(len(self._first))
            firsts = zip(
                (self._tubes.due[waiting] - now).tolist(), self._tubes.persons[waiting].tolist(), strict=True
            )
            again = ((job.due - now, job.persons * (1 + (job.test != "first"))) for _, job, _ in self._again)
            return [*firsts, *again]

        weighs = self._rules.policy == "cost"
        queued = self.queued() if weighs else 0
        rate = self._rate(now) if weighs else None
        return Line(count, self._room, due - now, now - came, now % DAY, rate, each, queued)

    def _most_pressing(self) -> tuple[float, float]:
        """The earliest due time, and when the first was received, of all that wait."""
        if self._pressing is None:
            waiting, others = self._first.least(len(self._first)), self._again
            due = min((job.due for _, job, _ in others), default=NEVER)
            came = min((job.received for _, job, _ in others), default=NEVER)
            self._pressing = (
                min(float(self._tubes.due[waiting].min(initial=NEVER)), due),
                min(float(self._tubes.came[waiting].min(initial=NEVER)), came),
            )
        return self._pressing

    def _rate(self, now: float) -> float | None:
        """Tubes that came a minute in the last hour, unless the rules state a rate."""
        if self._rules.per_minute is not None:
            return self._rules.per_minute
        first, last = np.searchsorted(self._times, [now - 60, now], side="right")
        return float(last - first) / 60
