"""What can go wrong, as one tree. Every error names who, the state, what cannot be and what to do next.

::

    LisError                        code, HTTP status, sentence
    ├── NotFound            404     no such tube, plate, person, report
    ├── Refused             409     the request contradicts what is already recorded
    │   ├── IllegalMove     409     the tube's state does not allow this event
    │   └── Conflict        409     the same identity with another content
    ├── Invalid             422     the request itself is malformed (barcode, id number, count)
    │   └── TooLarge        413     more bytes than are taken
    ├── TooManyTries        429     wait before trying to sign in again
    ├── Forbidden           403     this role may not do that
    │   └── NotSignedIn     401     no or expired credentials
    ├── Busy                503     the database is locked or away: nothing was written, try again
    │   └── StorageFull     507     the disk is full: nothing was written; or it failed at COMMIT: not known
    └── Damaged             500     the log does not verify, or a kept file is not what was kept

A sentence is written for a technician at the bench: "Tube T-17 is released; a retest is not possible
now. Order a new specimen."
"""

from __future__ import annotations


class LisError(Exception):
    """An error that a person can act on.

    Attributes:
        code: stable upper-case machine name, such as ``TUBE_SEALED``.
        sentence: what happened and what to do next, in English.
        details: typed extras for screens (who, when, where), values are strings.
    """

    status = 500

    def __init__(self, code: str, sentence: str, **details: str) -> None:
        super().__init__(code, sentence)  # both in args: the error survives pickling and being raised anew
        self.code = code
        self.sentence = sentence
        self.details = details

    def __str__(self) -> str:
        """Code and sentence."""
        return f"{self.code}: {self.sentence}"


class NotFound(LisError):
    """No such tube, plate, person, run or report."""

    status = 404


class Refused(LisError):
    """The request contradicts what is already recorded."""

    status = 409


class IllegalMove(Refused):
    """The tube's state does not allow this event; nothing was changed."""


class Conflict(Refused):
    """The same identity arrived with another content; nothing was changed."""


class Invalid(LisError):
    """The request itself is malformed."""

    status = 422


class TooLarge(Invalid):
    """More bytes than are taken; none of them was kept."""

    status = 413


class TooManyTries(LisError):
    """Too many wrong passwords for one name. ``details["seconds"]`` says how long to wait."""

    status = 429


class Forbidden(LisError):
    """This role may not do that."""

    status = 403


class NotSignedIn(Forbidden):
    """No credentials, or credentials that have expired or were revoked."""

    status = 401


class Busy(LisError):
    """The database is locked or away. Nothing was written; the same request may be sent again.

    ``OUTCOME_UNKNOWN``: it went away before it confirmed; the same request sent again is done once at most.
    """

    status = 503


class StorageFull(Busy):
    """The disk is full. Nothing was written.

    ``COMMIT_FAILED``: it failed at COMMIT. It is not known whether this was kept; the same request sent again
    under the same key tells.
    """

    status = 507


class Damaged(LisError):
    """The log does not verify, or a kept file is not what was kept."""

    status = 500
