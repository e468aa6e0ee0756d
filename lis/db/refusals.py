"""What a database refuses, in the words of the laboratory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Final

from sqlalchemy.exc import DBAPIError, IntegrityError

from lis.errors import Busy, Conflict, LisError, StorageFull

SQLITE_FULL: Final = "database or disk is full"
"""Told of a COMMIT, it is known that nothing was kept: the mark that ends a transaction in the log is written
last, and there was no room for it. Of a failed write or sync nobody can say that."""

FULL_WORDS: Final = (
    SQLITE_FULL,
    "no space left",
    "disk i/o error",
    "could not extend file",
    "input/output error",
)
DISK_STATES: Final = frozenset({"53100", "58030"})
"""PostgreSQL's codes for a full and for a failing disk; its words depend on its language."""

DISK_TROUBLE: Final = "The disk of the server is full or failing. Keep the tubes and call the administrator."

LOST_WORDS: Final = ("server closed", "terminating connection", "connection is lost")
BUSY_WORDS: Final = (
    "locked",
    "busy",
    "lock timeout",
    "timeout",
    "connection",
    "deadlock",
    "terminating",
    "server closed",
)


@contextlib.contextmanager
def translated(dbapi: ModuleType, committing: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Errors of SQLAlchemy and of the driver ``dbapi`` become errors of the laboratory.

    Args:
        dbapi: the driver's module.
        committing: asked after an error: whether everything but COMMIT had succeeded.

    Raises:
        Conflict: ``ALREADY_RECORDED``: a row with the same identity exists.
        Busy: the database could not be reached in time. StorageFull: no space left, or ``COMMIT_FAILED``.
        LisError: ``DATABASE_ERROR``: anything else.
    """
    try:
        yield
    except (IntegrityError, dbapi.IntegrityError) as error:
        raise Conflict(
            "ALREADY_RECORDED",
            f"This has been recorded before ({_first_line(error)}). Nothing was written; look it up first.",
        ) from error
    except (DBAPIError, dbapi.Error) as error:
        raise _as_lis_error(error, committing=committing()) from error


def busy() -> Busy:
    """Another writer held the database too long."""
    return Busy(
        "DATABASE_BUSY", "The database is busy. Nothing was written; the same scan may be sent again."
    )


def _outcome_unknown() -> Busy:
    return Busy(
        "OUTCOME_UNKNOWN",
        "The database went away before it confirmed. It is not known whether this was recorded: look it up, "
        "and repeat it if it is missing.",
    )


def _commit_failed() -> StorageFull:
    return StorageFull(
        "COMMIT_FAILED",
        "The disk of the server failed while this was being kept, and it is not known whether it was. "
        "Send the same request again: nothing is recorded twice, and its answer tells. "
        "Keep the tubes and call the administrator.",
    )


def _as_lis_error(error: Exception, *, committing: bool) -> LisError:
    text = str(error).lower()
    state = getattr(getattr(error, "orig", error), "sqlstate", None)
    if state in DISK_STATES or any(words in text for words in FULL_WORDS):
        if committing and SQLITE_FULL not in text:
            return _commit_failed()
        return StorageFull(
            "STORAGE_FULL",
            "The disk of the server is full or failing. Nothing was written; "
            "keep the tubes and call the administrator.",
        )
    if committing and any(words in text for words in LOST_WORDS):
        return _outcome_unknown()
    if any(words in text for words in BUSY_WORDS):
        return busy()
    return LisError("DATABASE_ERROR", f"The database refused: {_first_line(error)}. Nothing was written.")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
