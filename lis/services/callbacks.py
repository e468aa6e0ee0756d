"""Calling people back: every try to reach a person is written down, with how it went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from lis import events as e
from lis import ledger, queries
from lis.errors import Conflict, Invalid

if TYPE_CHECKING:
    from lis.db import Unit

OUTCOMES: Final = ("comes", "message", "no-answer", "wrong-number", "declines")
"""How a try went: they come; a message was left; nobody answered; not their number; they decline."""

LONGEST_NOTE: Final = 300


def try_contact(unit: Unit, tube: str, person_id: str, outcome: str, note: str = "") -> None:
    """Write down that somebody tried to reach a person who is called back.

    Raises:
        NotFound: no such tube.
        Invalid: ``CONTACT_OUTCOME``.
        Conflict: ``RECALL_CLOSED``: this person is not awaited (any more).
    """
    if outcome not in OUTCOMES:
        raise Invalid("CONTACT_OUTCOME", f"A call ends as one of {', '.join(OUTCOMES)}. Choose one.")
    found = ledger.known(unit.conn, tube)
    if not queries.recall_is_open(unit.conn, found.tube_id, person_id):
        raise Conflict(
            "RECALL_CLOSED",
            f"Tube {found.tube_id} does not wait for a new specimen of this person (any more). "
            "Nothing was written.",
            tube=found.tube_id,
        )
    ledger.append(unit, [(found.tube_id, e.ContactTried(person_id, outcome, note.strip()[:LONGEST_NOTE]))])
