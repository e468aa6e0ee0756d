"""Who works at a station: always, or in windows."""

from bisect import bisect_right
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

NEVER: Final = float("inf")


class Servers(Protocol):
    """Who works at a station."""

    @property
    def free(self) -> int:
        """Servers without work, on duty or off."""
        ...

    def take(self, now: float, minutes: float) -> tuple[int, float] | None:
        """(server, when it is done), or None when nobody is free."""
        ...

    def give(self, server: int) -> None:
        """A server is free again."""
        ...

    def next_on(self, now: float) -> float:
        """When somebody who is off now comes on."""
        ...

    def until(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Server-minutes on duty from 0 up to each time."""
        ...


class Always:
    """Servers that are always on."""

    __slots__ = ("count", "free")

    def __init__(self, count: int) -> None:
        self.count = self.free = count

    def take(self, now: float, minutes: float) -> tuple[int, float] | None:
        """(server, when it is done), or None when nobody is free."""
        if not self.free:
            return None
        self.free -= 1
        return 0, now + minutes

    def give(self, server: int) -> None:
        """A server is free again."""
        del server
        self.free += 1

    def next_on(self, now: float) -> float:
        """When somebody who is off now comes on."""
        del now
        return NEVER

    def until(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Server-minutes on duty from 0 up to each time."""
        return self.count * times


class Rostered:
    """Servers that are on in windows; `ending` says what happens to work when a window ends."""

    __slots__ = ("_begins", "_idle", "_resting", "ending", "windows")

    def __init__(self, windows: Sequence[Sequence[tuple[float, float]]], ending: str = "overrun") -> None:
        self.windows = [tuple(own) for own in windows]
        self._begins = [[begin for begin, _ in own] for own in windows]
        self._idle = list(range(len(self.windows)))
        # idle servers that were found off duty wait here by the begin of their next window
        self._resting: list[tuple[float, int]] = []
        self.ending = ending

    def take(self, now: float, minutes: float) -> tuple[int, float] | None:
        """See `Always`. The first idle server on duty takes the work."""
        while self._resting and self._resting[0][0] <= now:
            heappush(self._idle, heappop(self._resting)[1])
        passed: list[int] = []
        found = None
        while self._idle and found is None:
            server = heappop(self._idle)
            begins = self._begins[server]
            place = bisect_right(begins, now) - 1
            if place >= 0 and now < self.windows[server][place][1]:
                finish = self._finish(server, place, now, minutes)
                if finish is None:
                    passed.append(server)
                else:
                    found = (server, finish)
            else:
                following = begins[place + 1] if place + 1 < len(begins) else NEVER
                heappush(self._resting, (following, server))
        for server in passed:
            heappush(self._idle, server)
        return found

    def _finish(self, server: int, place: int, now: float, minutes: float) -> float | None:
        end = self.windows[server][place][1]
        if now + minutes <= end or self.ending == "overrun":
            return now + minutes
        if self.ending == "fits":
            return None
        left = minutes - (end - now)
        for begin, finish in self.windows[server][place + 1 :]:
            if left <= finish - begin:
                return begin + left
            left -= finish - begin
        return None

    @property
    def free(self) -> int:
        """Servers without work, on duty or off."""
        return len(self._idle) + len(self._resting)

    def give(self, server: int) -> None:
        """See `Always`."""
        heappush(self._idle, server)

    def next_on(self, now: float) -> float:
        """See `Always`."""
        soonest = self._resting[0][0] if self._resting else NEVER
        for server in self._idle:
            begins = self._begins[server]
            place = bisect_right(begins, now)
            if place < len(begins):
                soonest = min(soonest, begins[place])
        return soonest

    def until(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """See `Always`."""
        pairs = [window for own in self.windows for window in own]
        begins, ends = (np.array([pair[side] for pair in pairs]) for side in (0, 1))
        return spent(times, np.maximum(begins, 0.0), np.maximum(ends, 0.0))


def spent(
    times: NDArray[np.float64], begins: NDArray[np.float64], ends: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Minutes of all stretches together that lie before each time; the order of the stretches is free."""
    total = np.zeros(times.size)
    for sign, edges in ((1, np.sort(begins)), (-1, np.sort(ends))):
        sums = np.concatenate([[0.0], np.cumsum(edges)])
        passed = np.searchsorted(edges, times, side="right")
        total += sign * (times * passed - sums[passed])
    return total
