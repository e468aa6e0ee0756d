"""The last act of a station taken back: never a deletion, always one more event that says so.

What was taken back counts no more: the act before it can be taken back next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lis import events as e
from lis import ledger, queries
from lis.errors import Refused
from lis.tube import TubeState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lis.db import Unit
    from lis.events import Event
    from lis.ledger import Entry
    from lis.rulebook import Rulebook
    from lis.tube import Tube


TAKES_BACK: Final = (
    *(e.ReceiptWithdrawn, e.PersonUnbound, e.AliquotWithdrawn, e.WellWithdrawn),
    *(e.RegistrationWithdrawn, e.SealWithdrawn),
)
"""Events that are nothing but another one taken back."""

UNDONE: Final = e.Fetched("undone")
"""A tube put away by mistake."""

OF_SITES: Final = frozenset({"Registered", "PersonBound", "Sealed"})
"""What a collection site does, and may take back until the laboratory has the tube."""

AT_SITES: Final = frozenset({TubeState.REGISTERED, TubeState.SEALED})
"""Where a tube stands before the laboratory has it; a site is told no more about it after that."""


@dataclass(frozen=True, slots=True)
class Undone:
    """A tube after its last event was taken back, and the kinds of both events."""

    tube: Tube
    was: str
    by: str


def undo(
    unit: Unit, rules: Rulebook, barcode: str, kind: str, *, anybody: bool, at_site: bool = False
) -> Undone:
    """Take back the last thing that happened to a tube, if it is of this kind and nothing followed.

    Args:
        unit: the transaction.
        rules: for the deadline of a tube whose receipt is taken back.
        barcode: the tube, or the pool whose aliquot was confirmed.
        kind: the event that the asker wants to take back, as the log names it.
        anybody: whether the asker may take back what somebody else did.
        at_site: the asker works at a collection site, and takes back only what is done there.

    Raises:
        Refused: ``UNDO_FOLLOWED`` if something else happened last, ``UNDO_OTHER`` if somebody else did it,
            ``UNDO_NOT`` if such an act cannot be taken back, ``UNDO_SITE`` if the laboratory has the tube,
            ``PLACE_TAKEN`` if another tube lies there now.
        IllegalMove: ``TUBE_HOLDS_PERSONS``, ``TUBE_WAS_HELD``: this registration stands.
    """
    # gather
    tube = ledger.known(unit.conn, barcode)
    past = ledger.history(unit.conn, tube.tube_id)
    # decide
    if at_site and (kind not in OF_SITES or tube.state not in AT_SITES):
        raise Refused(
            "UNDO_SITE",
            f"The laboratory has tube {tube.tube_id}; a collection site can take nothing back any more. "
            "Call the laboratory.",
            tube=tube.tube_id,
        )
    standing = _standing(past)
    last = past[-1] if type(past[-1].fact).__name__ == kind else standing[-1]
    _check(tube, last, kind, unit.actor, anybody=anybody)
    event = _reverse(unit, rules, tube, last, standing)
    # apply
    after = ledger.append(unit, [(tube.tube_id, event)])[tube.tube_id]
    return Undone(after, kind, type(event).__name__)


def _standing(past: Sequence[Entry]) -> list[Entry]:
    """What happened to a tube without what was taken back."""
    found: list[Entry] = []
    for entry in past:
        if isinstance(entry.fact, e.RegistrationWithdrawn):
            found.clear()
        elif isinstance(entry.fact, TAKES_BACK) or entry.fact == UNDONE:
            found.pop()
        else:
            found.append(entry)
    return found


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


def _reverse(unit: Unit, rules: Rulebook, tube: Tube, last: Entry, standing: Sequence[Entry]) -> Event:
    """The event that takes back the last one."""
    match last.fact:
        case e.Registered():
            return e.RegistrationWithdrawn()
        case e.Sealed():
            return e.SealWithdrawn()
        case e.Received():
            return e.ReceiptWithdrawn(rules.due_at(tube.tier, tube.sampled_at or unit.now, None))
        case e.PersonBound(person_id, place):
            return e.PersonUnbound(person_id, place)
        case e.AliquotConfirmed(other_tube, place, well):
            return e.AliquotWithdrawn(other_tube, place, well)
        case e.WellConfirmed(plate_id, well):
            return e.WellWithdrawn(plate_id, well)
        case e.Stored():
            return UNDONE
        case e.Fetched():
            return _put_back(unit, tube, standing)
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
