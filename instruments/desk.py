"""Where the bridge's loop lays work down and other threads pick it up: jobs in turn, news without waiting."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from instruments import wire

LOG = logging.getLogger("instruments.bridge")
T = TypeVar("T")
_QUEUE_BYTES = 16 * 1024 * 1024


class Job(NamedTuple):
    """One part of a run file from an enrolled device, and where its answer goes.

    ``key`` and ``address`` are told of a request to enrol alone.
    """

    routing_id: bytes
    device: str
    message: wire.Message
    key: bytes = b""
    address: str = ""


class Outlet(Generic[T]):
    """Hands items to a callback in a thread of its own; when it lags, the oldest are dropped and counted."""

    def __init__(self, name: str, callback: Callable[[T], None], room: int) -> None:
        """Start the thread ``name``; at most ``room`` items wait."""
        self.dropped = 0
        self._callback = callback
        self._waiting: deque[T] = deque()
        self._room = room
        self._ready = threading.Condition()
        self._open = True
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: T) -> None:
        """Hand over one item; never waits."""
        with self._ready:
            if len(self._waiting) >= self._room:
                self._waiting.popleft()
                self.dropped += 1
            self._waiting.append(item)
            self._ready.notify()

    def close(self, seconds: float) -> None:
        """Deliver what waits, for at most so many seconds."""
        with self._ready:
            self._open = False
            self._ready.notify()
        self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self._waiting or not self._open)
                if not self._waiting:
                    return
                item = self._waiting.popleft()
            try:
                self._callback(item)
            except Exception:
                LOG.exception("the receiver of %s failed", type(item).__name__)


class Desk:
    """The jobs of all devices: in order for one device, side by side for different ones."""

    def __init__(self, room: int) -> None:
        """At most ``room`` jobs of one device wait, and at most 16 MiB."""
        self._room = room
        self._ready = threading.Condition()
        self._queues: dict[str, deque[Job]] = {}
        self._turns: deque[str] = deque()
        self._known: dict[str, set[bytes]] = {}
        self._open = True

    def put(self, job: Job) -> str:
        """``taken``; ``known`` when this very message is being worked on; ``full``."""
        with self._ready:
            known = self._known.setdefault(job.device, set())
            queue = self._queues.setdefault(job.device, deque())
            if job.message.message_id in known:
                return "known"
            waiting = sum(len(other.message.body) for other in queue)
            if len(queue) >= self._room or waiting + len(job.message.body) > _QUEUE_BYTES:
                return "full"
            if not known:
                self._turns.append(job.device)
            known.add(job.message.message_id)
            queue.append(job)
            self._ready.notify()
            return "taken"

    def take(self) -> Job | None:
        """The next job of a device nobody works for; None when the desk is closed."""
        with self._ready:
            self._ready.wait_for(lambda: self._turns or not self._open)
            if not self._open:
                return None
            return self._queues[self._turns.popleft()].popleft()

    def done(self, job: Job) -> None:
        """This job is answered; the device may have its next turn."""
        with self._ready:
            self._known[job.device].discard(job.message.message_id)
            if self._queues[job.device]:
                self._turns.append(job.device)
                self._ready.notify()

    def close(self) -> None:
        """No more jobs are given out; what waits is not acknowledged and will be sent again."""
        with self._ready:
            self._open = False
            self._ready.notify_all()
