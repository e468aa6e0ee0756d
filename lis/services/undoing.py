"""The last act of a station taken back: never a deletion, always one more event that says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lis import events as e
from lis import ledger, queries
from lis.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lis.db import Unit
    from lis.events import Event
    from lis.ledger import Entry
    from lis.rulebook import Rulebook
    from lis.tube import Tube


@dataclass(frozen=True, slots=True)
class Undone:
    """A tube after its last event was taken back, and the kinds of both events."""

    tube: Tube
    was: str
    by: str


def undo(unit: Unit, rules: Rulebook, barcode: str, kind: str, *, anybody: bool) -> Undone:
    """Take back the last thing that happened to a tube, if it is of this kind and nothing followed.

    Args:
        unit: the transaction.
        rules: for the deadline of a tube whose receipt is taken back.
        barcode: the tube, or the pool whose aliquot was confirmed.
        kind: the event that the asker wants to take back, as the log names it.
        anybody: whether the asker may take back what somebody else did.

    Raises:
        Refused: ``UNDO_FOLLOWED`` if something else happened last, ``UNDO_OTHER`` if somebody else did it,
            ``UNDO_NOT`` if such an act cannot be taken back, ``PLACE_TAKEN`` if another tube lies there now.
    """
    # gather
    tube = ledger.known(unit.conn, barcode)
    past = ledger.history(unit.conn, tube.tube_id)
    last = past[-1]
    # decide
    _check(tube, last, kind, unit.actor, anybody=anybody)
    event = _reverse(unit, rules, tube, past)
    # apply
    after = ledger.append(unit, [(tube.tube_id, event)])[tube.tube_id]
    return Undone(after, kind, type(event).__name__)


def _check(tube: Tube, last: Entry, kind: str, actor: str, *, anybody: bool) -> None:
    found = type(last.fact).__name__
    if found != kind:
        raise Refused(
            "UNDO_FOLLOWED",
            f"Something happened to tube {tube.tube_id} since ({found}, by {last.actor}). "
            "It cannot be taken back any more; look at the tube.",
            tube=tube.tube_id,
            who=last.actor,
            event=found,
        )
    if last.actor != actor and not anybody:
        raise Refused(
            "UNDO_OTHER",
            f"{last.actor} did this to tube {tube.tube_id}. Ask {last.actor} or a reviewer to take it back.",
            tube=tube.tube_id,
            who=last.actor,
        )


def _reverse(unit: Unit, rules: Rulebook, tube: Tube, past: Sequence[Entry]) -> Event:
    """The event that takes back the last one."""
    match past[-1].fact:
        case e.Received():
            return e.ReceiptWithdrawn(rules.due_at(tube.tier, tube.sampled_at or unit.now, None))
        case e.PersonBound(person_id, place):
            return e.PersonUnbound(person_id, place)
        case e.AliquotConfirmed(other_tube, place, well):
            return e.AliquotWithdrawn(other_tube, place, well)
        case e.WellConfirmed(plate_id, well):
            return e.WellWithdrawn(plate_id, well)
        case e.Stored():
            return e.Fetched("undone")
        case e.Fetched():
            return _put_back(unit, tube, past)
        case other:
            name = type(other).__name__
            raise Refused(
                "UNDO_NOT",
                f"{name} of tube {tube.tube_id} cannot be taken back. Look at the tube for what can be done.",
                tube=tube.tube_id,
                event=name,
            )


def _put_back(unit: Unit, tube: Tube, past: Sequence[Entry]) -> e.Stored:
    """The place that a tube was taken out of, if it is still free."""
    stored = next(entry.fact for entry in reversed(past) if isinstance(entry.fact, e.Stored))
    there = queries.occupied(unit.conn, {stored.rack}).get((stored.rack, stored.position), "")
    if there and stored.position:
        raise Refused(
            "PLACE_TAKEN",
            f"Rack {stored.rack} position {stored.position} holds tube {there} by now. "
            f"Put tube {tube.tube_id} elsewhere and scan it there.",
            tube=tube.tube_id,
            rack=stored.rack,
            position=stored.position,
            who=there,
        )
    return stored
