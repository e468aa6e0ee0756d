"""Stations on SimPy: queues, servers, rosters. A plate or a batch is one event, whatever it holds.

A station asks its queue when the next batch may start and its servers who is free; SimPy keeps the time.
No process waits anywhere: every event carries a callback, six list operations a batch in all.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Protocol

import numpy as np
import simpy
from numpy.typing import NDArray
from simpy.events import NORMAL

from sim.servers import NEVER, Servers
from sim.service import Times


class Due:
    """Something that happens later, with one callback: all that a station needs of a SimPy event."""

    __slots__ = ("_ok", "callbacks", "value")

    def __init__(self, env: simpy.Environment, delay: float, value: Any, call: Callable[[Any], None]) -> None:
        self.callbacks = [call]
        self.value = value
        self._ok = True
        env.schedule(self, NORMAL, delay)  # type: ignore[arg-type]  # SimPy asks for no more than this


class Queue(Protocol):
    """What waits before a station."""

    def ready(self, now: float) -> float:
        """When the next batch may start: at or before `now`, later, or `NEVER` as far as is known."""
        ...

    def take(self, now: float) -> tuple[Any, Sequence[float] | NDArray[np.float64]]:
        """The next batch, and when each of its parts entered the queue."""
        ...

    def flush(self) -> None:
        """Nothing more will come: let what is left start in a short batch."""
        ...

    def __len__(self) -> int:
        """Parts that wait."""
        ...


class Lots:
    """Whole lots, first come first served within a priority; several may share one run.

    A lot is any value. With `most` above 1 a run takes up to `most` lots and starts with `least`, or when
    the first has waited `patience` minutes.
    """

    __slots__ = ("_flushed", "_least", "_line", "_most", "_number", "_patience")

    def __init__(self, least: int = 1, most: int = 1, patience: float = NEVER) -> None:
        self._line: list[tuple[Any, int, float, Any]] = []
        self._least, self._most, self._patience = least, most, patience
        self._number = 0
        self._flushed = False

    def put(self, lot: Any, now: float, key: Any = 0) -> None:
        """Add a lot; a smaller key goes first."""
        self._number += 1
        heappush(self._line, (key, self._number, now, lot))

    def ready(self, now: float) -> float:
        """See `Queue`."""
        line = self._line
        if not line:
            return NEVER
        if len(line) >= self._least or self._flushed:
            return now
        return min(entry[2] for entry in line) + self._patience

    def take(self, now: float) -> tuple[list[Any], list[float]]:
        """See `Queue`."""
        del now
        line = self._line
        if self._most == 1:
            _, _, at, lot = heappop(line)
            return [lot], [at]
        taken = [heappop(line) for _ in range(min(self._most, len(line)))]
        return [entry[3] for entry in taken], [entry[2] for entry in taken]

    def flush(self) -> None:
        """See `Queue`."""
        self._flushed = True

    def __len__(self) -> int:
        return len(self._line)


class Items:
    """Single items in order of arrival, taken `least` to `most` at a time; a known future costs no event."""

    __slots__ = ("_flushed", "_least", "_line", "_most", "_times", "_used", "_waiting", "ids")

    def __init__(self, least: int, most: int) -> None:
        self._least, self._most = least, most
        self.ids: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._times: NDArray[np.float64] = np.empty(0)
        self._used = 0
        self._line: deque[tuple[NDArray[np.int64], float]] = deque()
        self._waiting = 0
        self._flushed = False

    def foresee(self, ids: NDArray[np.int64], times: NDArray[np.float64]) -> None:
        """Items that will come from outside at known, ascending times; only for a queue nobody else feeds."""
        self.ids, self._times = ids, times

    def put(self, items: NDArray[np.int64], now: float) -> None:
        """Add items that come now."""
        self._line.append((items, now))
        self._waiting += items.size

    def ready(self, now: float) -> float:
        """See `Queue`."""
        if self.ids.size:
            return self._ready_foreseen()
        if self._waiting >= self._least or (self._flushed and self._waiting):
            return now
        return NEVER

    def _ready_foreseen(self) -> float:
        left = self.ids.size - self._used
        if not left:
            return NEVER
        # the last few items are no whole batch: they start when the last of them is there
        return float(self._times[self._used + min(self._least, left) - 1])

    def take(self, now: float) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """See `Queue`."""
        if self.ids.size:
            there = int(np.searchsorted(self._times, now, side="right"))
            start, self._used = self._used, min(self._used + self._most, there)
            return self.ids[start : self._used], self._times[start : self._used]
        items, times, room = [], [], self._most
        while room and self._line:
            found, at = self._line.popleft()
            if found.size > room:
                self._line.appendleft((found[room:], at))
                found = found[:room]
            items.append(found)
            times.append(np.full(found.size, at))
            room -= found.size
        self._waiting -= self._most - room
        return np.concatenate(items), np.concatenate(times)

    def flush(self) -> None:
        """See `Queue`."""
        self._flushed = True

    def __len__(self) -> int:
        return self.ids.size - self._used + self._waiting


@dataclass
class Log:
    """What a station saw: for every part that started, when it came, when it started; when a batch ended."""

    entered: list[Any] = field(default_factory=list)
    started: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    busy: float = 0.0


class Station:
    """Servers and a queue. `done(batch, minutes)` is called when a batch is finished.

    Args:
        env: the SimPy environment.
        name: for reports.
        queue: what waits.
        servers: who works.
        times: service times in order of start.
        done: called with the batch when its service ends.
        added: minutes added to the service of a batch, such as for every positive well to be read.

    Attributes:
        logged: whether `log` is kept; set before anything starts.
    """

    __slots__ = ("_alarm", "added", "done", "env", "log", "logged", "name", "queue", "servers", "times")

    def __init__(
        self,
        env: simpy.Environment,
        name: str,
        queue: Queue,
        servers: Servers,
        times: Times,
        done: Callable[[Any], None],
        added: Callable[[Any], float] | None = None,
    ) -> None:
        self.env, self.name, self.queue, self.servers = env, name, queue, servers
        self.times, self.done, self.added = times, done, added
        self.log, self.logged = Log(), True
        self._alarm = NEVER

    def poke(self) -> None:
        """Start whatever can start; set an alarm for what can start later by itself."""
        # whoever gets free pokes again, so a queue is asked only when somebody could take its batch
        if not self.servers.free:
            return
        now = self.env.now
        while self.servers.free:
            ready = self.queue.ready(now)
            if ready > now:
                self._wake_at(ready, now)
                return
            # what a batch adds is known only when it is taken: rostered servers are asked with the plain time
            found = self.servers.take(now, self.times.peek())
            if found is None:
                self._wake_at(self.servers.next_on(now), now)
                return
            self._start(found[0], found[1], now)

    def _start(self, server: int, finish: float, now: float) -> None:
        minutes = self.times.take()
        batch, entered = self.queue.take(now)
        if self.added is not None:
            more = self.added(batch)
            minutes, finish = minutes + more, finish + more
        if self.logged:
            self._write(entered, now, max(finish, now), minutes)
        Due(self.env, max(finish - now, 0.0), (batch, server), self._finished)

    def _write(self, entered: Any, now: float, finish: float, minutes: float) -> None:
        log = self.log
        log.entered.append(entered)
        log.started.append(now)
        log.ended.append(finish)
        log.sizes.append(len(entered))
        log.busy += minutes

    def resume(self, batch: Any, minutes: float) -> None:
        """A batch is in work already and has so many minutes left; its server is taken, if there is one."""
        found = self.servers.take(self.env.now, minutes)
        server, finish = found or (None, self.env.now + minutes)
        Due(self.env, max(finish - self.env.now, 0.0), (batch, server), self._finished)

    def _finished(self, event: Any) -> None:
        batch, server = event.value
        if server is not None:
            self.servers.give(server)
        self.done(batch)
        self.poke()

    def _wake_at(self, at: float, now: float) -> None:
        if at == NEVER or (now < self._alarm <= at):
            return
        self._alarm = at
        Due(self.env, at - now, at, self._woken)

    def _woken(self, event: Any) -> None:
        # told by its value: now + (at - now) may fall short of `at` by the last digit of a float
        if event.value == self._alarm:
            self._alarm = NEVER
        self.poke()


def at_times(env: simpy.Environment, times: Sequence[float], arrive: Callable[[int], None]) -> None:
    """Call `arrive(n)` at the n-th of ascending times, with one pending event at a time."""
    if not len(times):
        return

    def next_one(event: Any) -> None:
        number = event.value
        arrive(number)
        if number + 1 < len(times):
            Due(env, max(times[number + 1] - env.now, 0.0), number + 1, next_one)

    Due(env, max(times[0] - env.now, 0.0), 0, next_one)


def run_dry(env: simpy.Environment, stations: Sequence[Station]) -> list[str]:
    """Run until nothing happens, then let short batches go; returns stations that still hold work."""
    env.run()
    for _ in range(len(stations) + 1):
        left = [station for station in stations if len(station.queue)]
        if not left:
            break
        for station in left:
            station.queue.flush()
            station.poke()
        env.run()
    return [station.name for station in stations if len(station.queue)]
