"""Wrong passwords and PINs are counted in the database, so that a restart forgives nothing.

A try is counted before the slow check and forgiven after it: whoever sends a hundred at once gets five.
Nothing sleeps: who must wait is told for how long.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from typing import TYPE_CHECKING, Final

from lis import queries
from lis.errors import TooManyTries

if TYPE_CHECKING:
    from lis.db import Unit

REMEMBERED: Final = timedelta(hours=24)
"""Wrong tries are forgotten after this time without another."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How often one may be wrong.

    Attributes:
        what: what is counted.
        free: tries before waiting begins.
        longest: the wait doubles up to this.
        locked_after: from this try on the wait is ``lock`` (0 = never).
        forget: after this time without a try counting begins anew.
    """

    what: str
    free: int
    longest: timedelta
    locked_after: int = 0
    lock: timedelta = timedelta(hours=1)
    forget: timedelta = REMEMBERED


NAME: Final = Limit("name", 5, timedelta(minutes=5), 20)
ADDRESS: Final = Limit("address", 30, timedelta(minutes=5), forget=timedelta(minutes=15))
PIN: Final = Limit("pin", 5, timedelta(minutes=5), 6, timedelta(hours=24))
"""A PIN is short: the sixth wrong one ends its use until its person signs in with the password."""


def begin(unit: Unit, limit: Limit, subject: str) -> int:
    """Count a try; how many there were, with this one.

    Raises:
        TooManyTries: ``WAIT``, or ``LOCKED_OUT`` where a person must help; this try was not counted.
    """
    key = {"what": limit.what, "subject": subject[:128]}
    row = queries.attempt_row(unit.conn, **key)
    if row is not None and row["until"] > unit.now:
        raise _wait(limit, row["count"], ceil((row["until"] - unit.now).total_seconds()))
    fresh = row is None or unit.now - row["last_at"] > limit.forget
    count = 1 if row is None or fresh else row["count"] + 1
    values = {"count": count, "last_at": unit.now, "until": unit.now + _pause(limit, count)}
    if row is None:
        queries.forget_attempts(unit.conn, unit.now - REMEMBERED)
        queries.insert_rows(unit.conn, "attempt", [key | values])
    else:
        queries.update_row(unit.conn, "attempt", key, **values)
    if count == limit.locked_after:
        _alarm(unit, limit, subject)
    return count


def _pause(limit: Limit, count: int) -> timedelta:
    if limit.locked_after and count >= limit.locked_after:
        return limit.lock
    if count < limit.free:
        return timedelta()
    return min(timedelta(seconds=2.0 ** min(count - limit.free, 20)), limit.longest)


def _wait(limit: Limit, count: int, seconds: int) -> TooManyTries:
    wait = str(seconds)
    if limit.locked_after and count >= limit.locked_after:
        if limit is PIN:
            sentence = "This PIN was wrong too often. Sign in with name and password."
        else:
            sentence = (
                f"Too many wrong passwords: locked for {ceil(seconds / 60)} minutes. "
                "The administrator can unlock it."
            )
        return TooManyTries("LOCKED_OUT", sentence, seconds=wait, minutes=str(ceil(seconds / 60)))
    return TooManyTries("WAIT", f"Too many wrong passwords. Try again in {wait} seconds.", seconds=wait)


def _alarm(unit: Unit, limit: Limit, subject: str) -> None:
    row = {
        "at": unit.now,
        "code": "SIGN_IN_LOCKED",
        "subject": subject[:80],
        "sentence": f"{limit.locked_after} wrong tries ({limit.what}) for {subject[:80]}: locked.",
    }
    queries.insert_rows(unit.conn, "alarm", [row])


def forgive(unit: Unit, limit: Limit, subject: str) -> None:
    """Forget the wrong tries of a subject."""
    queries.delete_rows(unit.conn, "attempt", {"what": limit.what, "subject": subject[:128]})


def take_back(unit: Unit, limit: Limit, subject: str) -> None:
    """A try that was counted was right: take that one back, and leave the wrong ones before it.

    An address is shared: somebody's right password does not make up for the wrong ones of others.
    """
    key = {"what": limit.what, "subject": subject[:128]}
    row = queries.attempt_row(unit.conn, **key)
    if row is not None:
        queries.update_row(unit.conn, "attempt", key, count=max(row["count"] - 1, 0), until=unit.now)
