"""Corrective actions: what was done about a chart point, run, plate, alarm or lot, and whether it helped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lis import queries
from lis.errors import Invalid, NotFound, Refused

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from lis.db import Unit
    from lis.queries import Row

ABOUT: Final = ("point", "run", "plate", "alarm", "lot")
SERIES: Final = "corrective-action"
LONGEST: Final = 1000


@dataclass(frozen=True, slots=True)
class Action:
    """One corrective action, the fold of its notes.

    Attributes:
        what: what was found and done first; ``effect`` is the last word on whether it helped.
        writers: everybody who wrote since it was last opened; none of them may close it.
    """

    action_id: int
    about: str
    subject: str
    opened_at: datetime
    what: str
    effect: str
    open: bool
    writers: frozenset[str]
    notes: tuple[Row, ...]


def fold(notes: list[Row]) -> Action:
    """The action that these notes, oldest first, come to."""
    first = notes[0]
    effect, is_open = "", True
    writers: set[str] = set()
    for note in notes:
        if note["act"] == "closed":
            is_open = False
            continue
        if note["act"] == "reopened":
            is_open, effect = True, ""
            writers.clear()
        elif note["act"] == "effect":
            effect = note["detail"]
        writers.add(note["actor"])
    head = (first["action_id"], first["about"], first["subject"], first["at"], first["detail"])
    return Action(*head, effect, is_open, frozenset(writers), tuple(notes))


def actions(conn: Connection, limit: int = queries.PAGE) -> list[Action]:
    """The newest actions, open ones first."""
    found = [fold(notes) for notes in queries.notes_by_action(conn, limit).values()]
    return sorted(found, key=lambda one: (not one.open, -one.action_id))


def open_action(unit: Unit, about: str, subject: str, what: str) -> int:
    """Begin a corrective action; its number.

    Raises:
        Invalid: ``ACTION_ABOUT``, ``ACTION_TEXT``.
    """
    if about not in ABOUT or not subject.strip() or len(subject) > queries.PAGE:
        raise Invalid("ACTION_ABOUT", f"An action is about one {', '.join(ABOUT)}. Name which one.")
    number = queries.next_number(unit.conn, SERIES)
    _write(unit, number, 1, "opened", about, subject.strip(), what)
    return number


def note(unit: Unit, action_id: int, detail: str, *, effect: bool = False) -> Action:
    """Write what else was done, or (``effect``) what it led to.

    Raises:
        NotFound: ``ACTION_UNKNOWN``. Refused: ``ACTION_CLOSED``. Invalid: ``ACTION_TEXT``.
    """
    found = _open(unit, action_id)
    return _add(unit, found, "effect" if effect else "noted", detail)


def close(unit: Unit, action_id: int, detail: str) -> Action:
    """Agree that it helped: the second signature.

    Raises:
        NotFound: ``ACTION_UNKNOWN``.
        Refused: ``ACTION_CLOSED``; ``ACTION_EFFECT``: nobody said what it led to; ``ACTION_SAME_PERSON``: who
            wrote in it cannot be the one who agrees.
        Invalid: ``ACTION_TEXT``.
    """
    found = _open(unit, action_id)
    if not found.effect:
        raise Refused(
            "ACTION_EFFECT",
            f"Action {action_id} says nothing of its effect. Write it first.",
            action=str(action_id),
        )
    if unit.actor in found.writers:
        raise Refused(
            "ACTION_SAME_PERSON",
            f"{unit.actor} wrote in action {action_id}. Another person must look at it and close it.",
            action=str(action_id),
        )
    return _add(unit, found, "closed", detail)


def reopen(unit: Unit, action_id: int, detail: str) -> Action:
    """Take a closed action up again, because it did not help.

    Raises:
        NotFound: ``ACTION_UNKNOWN``. Refused: ``ACTION_NOT_CLOSED``. Invalid: ``ACTION_TEXT``.
    """
    found = known(unit.conn, action_id)
    if found.open:
        raise Refused(
            "ACTION_NOT_CLOSED", f"Action {action_id} is open. Write a note.", action=str(action_id)
        )
    return _add(unit, found, "reopened", detail)


def known(conn: Connection, action_id: int) -> Action:
    """An action by its number.

    Raises:
        NotFound: ``ACTION_UNKNOWN``.
    """
    notes = queries.notes_of(conn, action_id)
    if not notes:
        raise NotFound("ACTION_UNKNOWN", f"There is no corrective action {action_id}.", action=str(action_id))
    return fold(notes)


def _open(unit: Unit, action_id: int) -> Action:
    found = known(unit.conn, action_id)
    if not found.open:
        raise Refused(
            "ACTION_CLOSED", f"Action {action_id} was closed. Take it up again first.", action=str(action_id)
        )
    return found


def _add(unit: Unit, found: Action, act: str, detail: str) -> Action:
    _write(unit, found.action_id, len(found.notes) + 1, act, found.about, found.subject, detail)
    return known(unit.conn, found.action_id)


def _write(unit: Unit, action_id: int, seq: int, act: str, about: str, subject: str, detail: str) -> None:
    text = detail.strip()
    if not text or len(text) > LONGEST:
        raise Invalid("ACTION_TEXT", f"Write what was found or done, in 1 to {LONGEST} characters.")
    row = {"action_id": action_id, "seq": seq, "at": unit.now, "actor": unit.actor}
    queries.add_note(unit.conn, row | {"act": act, "about": about, "subject": subject, "detail": text})
