"""What a database refuses, in the words of the laboratory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import ModuleType
from typing import Final

from sqlalchemy.exc import DBAPIError, IntegrityError

from lis.errors import Busy, Conflict, LisError, StorageFull

FULL_WORDS: Final = ("database or disk is full", "no space left", "disk i/o error", "could not extend file")
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
def translated(dbapi: ModuleType) -> Iterator[None]:
    """Errors of SQLAlchemy and of the driver ``dbapi`` become errors of the laboratory.

    Raises:
        Conflict: ``ALREADY_RECORDED``: a row with the same identity exists.
        Busy: the database could not be reached in time. StorageFull: no space left.
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
        raise _as_lis_error(error) from error


def busy() -> Busy:
    """Another writer held the database too long."""
    return Busy(
        "DATABASE_BUSY", "The database is busy. Nothing was written; the same scan may be sent again."
    )


def _as_lis_error(error: Exception) -> LisError:
    text = str(error).lower()
    if any(words in text for words in FULL_WORDS):
        return StorageFull(
            "STORAGE_FULL",
            "The disk of the server is full or failing. Nothing was written; "
            "keep the tubes and call the administrator.",
        )
    if any(words in text for words in BUSY_WORDS):
        return busy()
    return LisError("DATABASE_ERROR", f"The database refused: {_first_line(error)}. Nothing was written.")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
