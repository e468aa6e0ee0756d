"""What happened at the bridge, counted and told: the same complaint at most once a minute."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from instruments.intake import BridgeEvent
from instruments.quiet import Quiet

if TYPE_CHECKING:
    from collections.abc import Callable

LOG = logging.getLogger("instruments.bridge")

HEARD = "heard"
"""The event that a device said anything at all: told once a minute, and worth no line of the log."""


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

    def once(self, kind: str, device: str | None, detail: str, key: bytes, about: bytes = b"") -> bool:
        """Count every one, report the same about the same key at most once a minute; whether it was now."""
        self.count(kind)
        news = self._quiet.is_news((kind, key + about), time.monotonic())
        if news:
            self.event(kind, device, detail, key)
        return news
