"""Time enters the laboratory here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Protocol

TIMESPEC = "microseconds"


class Clock(Protocol):
    """Anything that knows what time it is."""

    def now(self) -> datetime:
        """The present moment, timezone-aware, in UTC."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        """The present moment, timezone-aware, in UTC."""
        return datetime.now(UTC)


@dataclass
class FixedClock:
    """A clock that moves only when told to: for tests, replays and the demo day.

    Attributes:
        moment: what :meth:`now` answers; timezone-aware.
    """

    moment: datetime

    def now(self) -> datetime:
        """The moment that was set."""
        return self.moment

    def advance(self, step: timedelta) -> None:
        """Move the clock on by ``step`` (or back, if it is negative)."""
        self.moment += step


@lru_cache(maxsize=4096)
def to_text(moment: datetime) -> str:
    """UTC as fixed-width ISO 8601, ``2022-12-21T08:00:00.000000Z``: sorting the text sorts the time.

    Raises:
        ValueError: if ``moment`` carries no time zone; a local time without a zone is a guess.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} carries no time zone; use timezone-aware times")
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=TIMESPEC) + "Z"


@lru_cache(maxsize=4096)
def from_text(text: str) -> datetime:
    """The moment that :func:`to_text` wrote."""
    return datetime.fromisoformat(text)
