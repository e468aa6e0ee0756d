"""Lines of tubes that wait for a plate, one for each assay."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sim.filling import Filling, Plate
from sim.now import Floats
from sim.servers import NEVER


@dataclass(slots=True)
class Again:
    """A job that is no first test, as `sim.filling` wants it."""

    tid: int
    priority: int
    due: float
    received: float
    persons: int
    test: str = "re-extract"


class Lines:
    """A line for each assay; the plate of the most urgent job that may close goes first."""

    __slots__ = ("_lanes", "_next")

    def __init__(self, lanes: Sequence[Filling]) -> None:
        self._lanes, self._next = lanes, lanes[0]

    def ready(self, now: float) -> float:
        """See `sim.engine.Queue`."""
        if len(self._lanes) == 1:
            return self._next.ready(now)
        soonest = NEVER
        asked = [(lane.ready(now), lane) for lane in self._lanes if len(lane)]
        for at, lane in sorted(asked, key=lambda pair: pair[1].head() or (NEVER,)):
            if at <= now:
                self._next = lane
                return now
            soonest = min(soonest, at)
        return soonest

    def take(self, now: float) -> tuple[list[Plate], Floats]:
        """See `sim.engine.Queue`."""
        return self._next.take(now)

    def flush(self) -> None:
        """See `sim.engine.Queue`."""
        for lane in self._lanes:
            lane.flush()

    def put(self, lane: int, job: Again, now: float) -> None:
        """Let a job wait."""
        self._lanes[lane].put(job, now)

    def behind(self, queued: Callable[[], int]) -> None:
        """Tell every line how to count the plates that wait for a machine."""
        for lane in self._lanes:
            lane.queued = queued

    def __len__(self) -> int:
        return sum(len(lane) for lane in self._lanes)
