"""The same complaint, once in a while: a flood of it must drown neither the audit nor the disk of the log."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable

Same = TypeVar("Same", bound="Hashable")

QUIET_AUDIT_S = 60.0


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
