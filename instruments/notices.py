"""What happened at the bridge, counted and told: the same complaint at most once a minute."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

from instruments.intake import BridgeEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

LOG = logging.getLogger("instruments.bridge")
Same = TypeVar("Same", bound="Hashable")

QUIET_AUDIT_S = 60.0
HEARD = "heard"
"""The event that a device said anything at all: told once a minute, and worth no line of the log."""


class Quiet(Generic[Same]):
    """Whether something is news: a flood of the same complaint must not drown the audit."""

    def __init__(self, seconds: float = QUIET_AUDIT_S, room: int = 1024) -> None:
        """The same is news again after so many seconds; at most ``room`` complaints are remembered."""
        self._seconds = seconds
        self._room = room
        self._guard = threading.Lock()
        self._told: OrderedDict[Same, float] = OrderedDict()

    def is_news(self, same: Same, now: float) -> bool:
        """Whether ``same`` was not told for a while; it counts as told then."""
        with self._guard:
            before = self._told.get(same)
            if before is not None and now - before < self._seconds:
                return False
            self._told[same] = now
            self._told.move_to_end(same)
            if len(self._told) > self._room:
                self._told.popitem(last=False)
        return True


class Notices:
    """Counters of a bridge, and the events that it reports. Any thread may call."""

    def __init__(self, tell: Callable[[BridgeEvent], None]) -> None:
        """``tell`` takes every event and must not wait."""
        self._tell = tell
        self._counts: Counter[str] = Counter()
        self._guard = threading.Lock()
        self._quiet: Quiet[tuple[str, bytes]] = Quiet()

    def count(self, name: str) -> None:
        """One more of these."""
        with self._guard:
            self._counts[name] += 1

    def figures(self) -> dict[str, int]:
        """All counters by name; what never happened is absent."""
        with self._guard:
            return dict(self._counts)

    def report(self, event: BridgeEvent) -> None:
        """Log, count and tell an event."""
        level = logging.DEBUG if event.kind == HEARD else logging.INFO
        LOG.log(level, "%s %s: %s", event.kind, event.device or "", event.detail)
        self.count(f"event_{event.kind}")
        self._tell(event)

    def event(self, kind: str, device: str | None, detail: str, key: bytes = b"") -> None:
        """Report an event by its parts."""
        self.report(BridgeEvent(kind, device, detail, key))

    def once(self, kind: str, device: str | None, detail: str, key: bytes, about: bytes = b"") -> None:
        """Count every one, report the same about the same key at most once a minute."""
        self.count(kind)
        if self._quiet.is_news((kind, key + about), time.monotonic()):
            self.event(kind, device, detail, key)
