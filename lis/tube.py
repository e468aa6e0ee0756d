"""The law of the tube. Everything that decides where a tube may go next lives in this file.

``TRANSITIONS`` is the one table for every kind of tube; ``KIND_RULES`` says which events belong to
which kind; :func:`evolve` applies one event. An illegal move raises and changes nothing. The diagram
in ``docs/states.md`` is generated from the table (``lis docs states``).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from lis import events as e
from lis.errors import IllegalMove
from lis.events import Event, TubeKind

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime


class TubeState(StrEnum):
    """Where a tube stands."""

    ABSENT = "absent"
    REGISTERED = "registered"
    SEALED = "sealed"
    RECEIVED = "received"
    ON_HOLD_UNKNOWN = "on_hold_unknown"
    ON_HOLD_DAMAGED = "on_hold_damaged"
    REJECTED = "rejected"
    POOLED = "pooled"
    PLATED = "plated"
    RUNNING = "running"
    RESULTED = "resulted"
    AWAITING_RETEST = "awaiting_retest"
    AWAITING_RECOLLECTION = "awaiting_recollection"
    IN_REVIEW = "in_review"
    RELEASED = "released"
    RESOLVED = "resolved"
    STORED = "stored"
    DISCARDED = "discarded"


S = TubeState

TRANSITIONS: Final[dict[tuple[TubeState, type], TubeState]] = {
    (S.ABSENT, e.Registered): S.REGISTERED,
    (S.ABSENT, e.HeldUnknown): S.ON_HOLD_UNKNOWN,
    (S.ABSENT, e.PoolFormed): S.RECEIVED,
    (S.ON_HOLD_UNKNOWN, e.Registered): S.REGISTERED,
    (S.ON_HOLD_UNKNOWN, e.Rejected): S.REJECTED,
    (S.REGISTERED, e.Registered): S.REGISTERED,
    (S.REGISTERED, e.PersonBound): S.REGISTERED,
    (S.REGISTERED, e.PersonUnbound): S.REGISTERED,
    (S.REGISTERED, e.RegistrationWithdrawn): S.ABSENT,
    (S.REGISTERED, e.Sealed): S.SEALED,
    (S.SEALED, e.SealWithdrawn): S.REGISTERED,
    (S.SEALED, e.Received): S.RECEIVED,
    (S.RECEIVED, e.ReceiptWithdrawn): S.SEALED,
    (S.SEALED, e.HeldDamaged): S.ON_HOLD_DAMAGED,
    (S.RECEIVED, e.HeldDamaged): S.ON_HOLD_DAMAGED,
    (S.AWAITING_RETEST, e.HeldDamaged): S.ON_HOLD_DAMAGED,
    (S.ON_HOLD_DAMAGED, e.HoldCleared): S.RECEIVED,
    (S.ON_HOLD_DAMAGED, e.Rejected): S.REJECTED,
    (S.SEALED, e.Rejected): S.REJECTED,
    (S.RECEIVED, e.Rejected): S.REJECTED,
    (S.REJECTED, e.RecollectionOrdered): S.AWAITING_RECOLLECTION,
    (S.RECEIVED, e.JoinedPool): S.POOLED,
    (S.RECEIVED, e.AliquotConfirmed): S.RECEIVED,
    (S.RECEIVED, e.AliquotWithdrawn): S.RECEIVED,
    (S.RECEIVED, e.VolumeMeasured): S.RECEIVED,
    (S.POOLED, e.VolumeMeasured): S.POOLED,
    (S.AWAITING_RETEST, e.VolumeMeasured): S.AWAITING_RETEST,
    (S.POOLED, e.Lost): S.POOLED,
    (S.POOLED, e.Found): S.POOLED,
    (S.AWAITING_RETEST, e.Lost): S.AWAITING_RETEST,
    (S.RESULTED, e.Lost): S.RESULTED,
    (S.RESULTED, e.Found): S.RESULTED,
    (S.SEALED, e.Withdrawn): S.RESOLVED,
    (S.RECEIVED, e.Withdrawn): S.RESOLVED,
    (S.ON_HOLD_DAMAGED, e.Withdrawn): S.RESOLVED,
    (S.POOLED, e.Withdrawn): S.RESOLVED,
    (S.RESULTED, e.Withdrawn): S.RESOLVED,
    (S.AWAITING_RETEST, e.Withdrawn): S.RESOLVED,
    (S.IN_REVIEW, e.Withdrawn): S.RESOLVED,
    (S.RESULTED, e.HeldForPool): S.RESULTED,
    (S.RECEIVED, e.Plated): S.PLATED,
    (S.AWAITING_RETEST, e.Plated): S.PLATED,
    (S.PLATED, e.WellConfirmed): S.PLATED,
    (S.PLATED, e.WellWithdrawn): S.PLATED,
    (S.PLATED, e.RunStarted): S.RUNNING,
    (S.RUNNING, e.LoadingCorrected): S.RUNNING,
    (S.PLATED, e.Called): S.RESULTED,
    (S.RUNNING, e.Called): S.RESULTED,
    (S.PLATED, e.Voided): S.AWAITING_RETEST,
    (S.RUNNING, e.Voided): S.AWAITING_RETEST,
    (S.RESULTED, e.RetestOrdered): S.AWAITING_RETEST,
    (S.POOLED, e.RetestOrdered): S.AWAITING_RETEST,
    (S.POOLED, e.RecollectionOrdered): S.AWAITING_RECOLLECTION,
    (S.IN_REVIEW, e.RetestOrdered): S.AWAITING_RETEST,
    (S.RESULTED, e.RecollectionOrdered): S.AWAITING_RECOLLECTION,
    (S.IN_REVIEW, e.RecollectionOrdered): S.AWAITING_RECOLLECTION,
    (S.AWAITING_RETEST, e.RecollectionOrdered): S.AWAITING_RECOLLECTION,
    (S.AWAITING_RECOLLECTION, e.PersonRecalled): S.AWAITING_RECOLLECTION,
    (S.AWAITING_RECOLLECTION, e.ContactTried): S.AWAITING_RECOLLECTION,
    (S.AWAITING_RECOLLECTION, e.PersonRecollected): S.AWAITING_RECOLLECTION,
    (S.AWAITING_RECOLLECTION, e.Resolved): S.RESOLVED,
    (S.RESULTED, e.Concluded): S.IN_REVIEW,
    (S.POOLED, e.Concluded): S.IN_REVIEW,
    (S.RESULTED, e.Resolved): S.RESOLVED,
    (S.IN_REVIEW, e.Reviewed): S.IN_REVIEW,
    (S.IN_REVIEW, e.Commented): S.IN_REVIEW,
    (S.IN_REVIEW, e.Released): S.RELEASED,
    (S.RELEASED, e.AmendmentProposed): S.RELEASED,
    (S.RELEASED, e.AmendmentWithdrawn): S.RELEASED,
    (S.RELEASED, e.Amended): S.RELEASED,
    (S.RELEASED, e.Stored): S.STORED,
    (S.RESOLVED, e.Stored): S.STORED,
    (S.REJECTED, e.Stored): S.STORED,
    (S.RECEIVED, e.Stored): S.RECEIVED,
    (S.RECEIVED, e.Fetched): S.RECEIVED,
    (S.POOLED, e.Stored): S.POOLED,
    (S.POOLED, e.Fetched): S.POOLED,
    (S.PLATED, e.Stored): S.PLATED,
    (S.PLATED, e.Fetched): S.PLATED,
    (S.RUNNING, e.Stored): S.RUNNING,
    (S.RUNNING, e.Fetched): S.RUNNING,
    (S.RESULTED, e.Stored): S.RESULTED,
    (S.RESULTED, e.Fetched): S.RESULTED,
    (S.AWAITING_RETEST, e.Stored): S.AWAITING_RETEST,
    (S.AWAITING_RETEST, e.Fetched): S.AWAITING_RETEST,
    (S.AWAITING_RECOLLECTION, e.Stored): S.AWAITING_RECOLLECTION,
    (S.AWAITING_RECOLLECTION, e.Fetched): S.AWAITING_RECOLLECTION,
    (S.IN_REVIEW, e.Stored): S.IN_REVIEW,
    (S.IN_REVIEW, e.Fetched): S.IN_REVIEW,
    (S.STORED, e.Stored): S.STORED,
    (S.STORED, e.Fetched): S.STORED,
    (S.STORED, e.AmendmentProposed): S.STORED,
    (S.STORED, e.AmendmentWithdrawn): S.STORED,
    (S.STORED, e.Amended): S.STORED,
    (S.STORED, e.Discarded): S.DISCARDED,
    (S.REJECTED, e.Discarded): S.DISCARDED,
}
"""(state, event) -> next state. What is not here cannot happen."""

PEOPLE: Final = frozenset({TubeKind.SINGLE, TubeKind.MIXED})
ONE: Final = frozenset({TubeKind.SINGLE})
KIND_RULES: Final[dict[type, frozenset[TubeKind]]] = {
    e.PersonBound: PEOPLE,
    e.PersonUnbound: PEOPLE,
    e.Sealed: PEOPLE,
    e.SealWithdrawn: PEOPLE,
    e.RegistrationWithdrawn: PEOPLE,
    e.ReceiptWithdrawn: PEOPLE,
    e.JoinedPool: ONE,  # a mixed tube, or a pool, is never pooled again
    e.AliquotConfirmed: frozenset({TubeKind.POOL}),
    e.AliquotWithdrawn: frozenset({TubeKind.POOL}),
    e.VolumeMeasured: ONE,
    e.Lost: ONE,
    e.Found: ONE,
    e.Withdrawn: ONE,  # the swab of one person cannot be taken out of a mixed tube
    e.HeldForPool: ONE,
    e.RecollectionOrdered: PEOPLE,
    e.PersonRecalled: PEOPLE,
    e.ContactTried: PEOPLE,
    e.PersonRecollected: PEOPLE,
    e.Concluded: PEOPLE,  # a pool has no result of its own: its members do
    e.Reviewed: PEOPLE,
    e.Commented: PEOPLE,
    e.Released: PEOPLE,
    e.AmendmentProposed: PEOPLE,
    e.AmendmentWithdrawn: PEOPLE,
    e.Amended: PEOPLE,
}
"""Events that only some kinds of tube can undergo."""

NEXT_STEP: Final[dict[TubeState, str]] = {
    S.ABSENT: "Check the code, or put the tube into the hold tray.",
    S.REGISTERED: "Seal the tube at the collection site first.",
    S.SEALED: "Scan it in at reception first.",
    S.RECEIVED: "It waits to be pooled or plated.",
    S.ON_HOLD_UNKNOWN: "Register it, or reject it.",
    S.ON_HOLD_DAMAGED: "Clear the hold, or reject the tube.",
    S.REJECTED: "Order a new specimen.",
    S.POOLED: "Wait for the result of its pool.",
    S.PLATED: "Run its plate, or void the plate.",
    S.RUNNING: "Wait until the run has ended.",
    S.RESULTED: "Wait until the rules have decided, or its pool is cleared up.",
    S.AWAITING_RETEST: "It waits for its retest.",
    S.AWAITING_RECOLLECTION: "Its persons are called back; take new specimens.",
    S.IN_REVIEW: "It waits for a reviewer.",
    S.RELEASED: "Amend the report, or order a new specimen.",
    S.RESOLVED: "Its work is done.",
    S.STORED: "Amend the report, or order a new specimen.",
    S.DISCARDED: "Order a new specimen.",
}
"""State -> what a technician can do about a tube that stands there."""


class Tube(NamedTuple):
    """What is known about one tube: the fold of its events.

    Attributes:
        tube_id: its barcode.
        seq: number of events folded so far.
        persons: places taken (members, for a pool).
        test: the test that is due or under way: first, singly, re-amplify, re-extract, second-kit.
        priority: of the waiting test; larger is more urgent.
        outcome: last call (positive, negative, borderline, invalid) and ``rule`` that made it.
        result: what the case came to, once concluded.
        tests: number of valid calls so far.
        promised_at: when its report was promised; only registration, receipt and pooling set it.
        due_at: deadline of the next step of work, never later than the promise.
        open_recalls: persons of this tube whose new specimen is still awaited.
        open_aliquots: aliquots of this pool that are still to be confirmed by scan.
        stored_at: since when it lies put away in ``rack`` at ``position``; None if it is not in store.
    """

    tube_id: str
    kind: TubeKind = TubeKind.UNKNOWN
    state: TubeState = TubeState.ABSENT
    seq: int = 0
    capacity: int = 0
    persons: int = 0
    tier: str = ""
    site: str = ""
    sampled_at: datetime | None = None
    received_at: datetime | None = None
    promised_at: datetime | None = None
    due_at: datetime | None = None
    rack: str = ""
    position: str = ""
    hold_number: int = 0
    pool_id: str = ""
    plate_id: str = ""
    well: str = ""
    assay: str = ""
    test: str = "first"
    priority: int = 0
    reason: str = ""
    outcome: str = ""
    rule: str = ""
    result: str = ""
    tests: int = 0
    signatures: int = 0
    open_recalls: int = 0
    open_aliquots: int = 0
    stored_at: datetime | None = None
    updated_at: datetime | None = None


_PLACE: Final = {name: place for place, name in enumerate(Tube._fields)}
_STATE, _SEQ, _UPDATED = _PLACE["state"], _PLACE["seq"], _PLACE["updated_at"]


def evolve(tube: Tube, event: Event, at: datetime) -> Tube:
    """``tube`` after ``event`` at ``at``.

    Raises:
        IllegalMove: ``ILLEGAL_MOVE`` if the table has no such move, ``WRONG_KIND`` if the event is
            not for this kind of tube, ``TUBE_FULL``, ``COUNT_MISMATCH``, ``ALIQUOTS_OPEN`` or
            ``RECALLS_OPEN`` if its numbers do not add up. The tube passed in is never changed.
    """
    state, changes = move(tube, type(event), event, at)
    values = list(tube)
    for name, value in changes.items():
        values[_PLACE[name]] = value
    values[_STATE], values[_SEQ], values[_UPDATED] = state, tube.seq + 1, at
    return Tube._make(values)


def move(tube: Any, kind: type, event: Any, at: Any) -> tuple[TubeState, dict[str, Any]]:
    """What an event makes of a tube: its next state, and the fields that change with it.

    The decision of :func:`evolve`, for whoever reads back a million rows: ``tube`` and ``event`` may be
    anything that has the fields of a tube and of an event of this ``kind``, and moments, which are only
    ever passed on, may be text.

    Raises:
        IllegalMove: as :func:`evolve`.
    """
    found = _MOVES.get((tube.state, kind))
    if found is None:
        raise IllegalMove("ILLEGAL_MOVE", illegal_sentence(tube, kind), tube=tube.tube_id, state=tube.state)
    state, allowed, changes = found
    if allowed is not None and tube.kind not in allowed:
        raise IllegalMove("WRONG_KIND", _kind_sentence(tube, kind), tube=tube.tube_id, kind=tube.kind)
    return state, changes(tube, event, at)


def illegal_sentence(tube: Tube, kind: type) -> str:
    """Who, state, what cannot be, what to do next."""
    name = "".join(f" {ch.lower()}" if ch.isupper() else ch for ch in kind.__name__).strip()
    where = "is not known here" if tube.state is S.ABSENT else f"is {tube.state.replace('_', ' ')}"
    return f"Tube {tube.tube_id} {where}; '{name}' is not possible now. {NEXT_STEP[tube.state]}"


def _kind_sentence(tube: Tube, kind: type) -> str:
    if kind is e.JoinedPool:
        return (
            f"Tube {tube.tube_id} is {'mixed at collection' if tube.kind is TubeKind.MIXED else 'a pool'}; "
            "it must never be pooled again. Plate it as it is."
        )
    return f"Tube {tube.tube_id} is of kind {tube.kind}; {kind.__name__} is not for it."


def _registered(tube: Tube, event: e.Registered, at: datetime) -> dict[str, object]:
    del at
    if tube.persons:  # a tube that was begun as the wrong kind is begun anew, but only while it is empty
        raise IllegalMove(
            "TUBE_IN_USE",
            f"Tube {tube.tube_id} holds {tube.persons} of {tube.capacity} persons already. Take a new tube.",
            tube=tube.tube_id,
            state=tube.state,
        )
    return {
        "kind": event.tube_kind,
        "capacity": event.capacity,
        "tier": event.tier,
        "site": event.site,
        "sampled_at": event.sampled_at,
        "promised_at": event.due_at,
        "due_at": event.due_at,
    }


def _registration_withdrawn(tube: Tube, event: e.RegistrationWithdrawn, at: datetime) -> dict[str, object]:
    del event, at
    if tube.persons:
        raise IllegalMove(
            "TUBE_HOLDS_PERSONS",
            f"Tube {tube.tube_id} holds {tube.persons} persons; its registration cannot be taken back. "
            "Take the persons back first, the last one first.",
            tube=tube.tube_id,
            count=str(tube.persons),
        )
    if tube.hold_number:
        raise IllegalMove(
            "TUBE_WAS_HELD",
            f"Tube {tube.tube_id} lies in the laboratory's hold tray as {tube.hold_number}; its registration "
            "cannot be taken back. Call the laboratory.",
            tube=tube.tube_id,
            number=str(tube.hold_number),
        )
    fresh = Tube(tube.tube_id)
    names = ("kind", "capacity", "tier", "site", "sampled_at", "promised_at", "due_at", "reason")
    return {name: getattr(fresh, name) for name in names}


def _bound(tube: Tube, event: e.PersonBound, at: datetime) -> dict[str, object]:
    del at
    if tube.persons >= tube.capacity:
        raise IllegalMove(
            "TUBE_FULL",
            f"Tube {tube.tube_id} already holds {tube.persons} of {tube.capacity} persons. "
            "Seal it and take a new tube.",
            tube=tube.tube_id,
        )
    if event.place != tube.persons + 1:
        raise IllegalMove(
            "COUNT_MISMATCH",
            f"Place {event.place} of tube {tube.tube_id} cannot be next; "
            f"{tube.persons} places are taken. Read the tube again.",
            tube=tube.tube_id,
        )
    return {"persons": tube.persons + 1}


def _unbound(tube: Tube, event: e.PersonUnbound, at: datetime) -> dict[str, object]:
    del at
    if event.place != tube.persons:
        raise IllegalMove(
            "COUNT_MISMATCH",
            f"Place {event.place} of tube {tube.tube_id} cannot be freed; the last one taken is "
            f"{tube.persons}. Read the tube again.",
            tube=tube.tube_id,
        )
    return {"persons": tube.persons - 1}


def _sealed(tube: Tube, event: e.Sealed, at: datetime) -> dict[str, object]:
    del at
    if event.count != tube.persons or not event.count:
        raise IllegalMove(
            "COUNT_MISMATCH",
            f"Tube {tube.tube_id} holds {tube.persons} persons, not {event.count}. "
            "Count again before sealing; an empty tube cannot be sealed.",
            tube=tube.tube_id,
        )
    return {"reason": event.reason}


def _unsealed(tube: Tube, event: e.SealWithdrawn, at: datetime) -> dict[str, object]:
    del tube, event, at
    return {"reason": ""}


def _received(tube: Tube, event: e.Received, at: datetime) -> dict[str, object]:
    del tube
    return {
        "received_at": at,
        "rack": event.rack,
        "position": event.position,
        "promised_at": event.due_at,
        "due_at": event.due_at,
    }


def _receipt_withdrawn(tube: Tube, event: e.ReceiptWithdrawn, at: datetime) -> dict[str, object]:
    del tube, at
    gone = {"received_at": None, "rack": "", "position": ""}
    return {**gone, "promised_at": event.due_at, "due_at": event.due_at}


def _held_unknown(tube: Tube, event: e.HeldUnknown, at: datetime) -> dict[str, object]:
    del tube, at
    return {"hold_number": event.hold_number, "rack": event.rack, "position": event.position}


def _pool_formed(tube: Tube, event: e.PoolFormed, at: datetime) -> dict[str, object]:
    del tube
    return {
        "kind": TubeKind.POOL,
        "capacity": event.capacity,
        "persons": event.capacity,
        "tier": event.tier,
        "promised_at": event.due_at,
        "due_at": event.due_at,
        "received_at": at,
        "open_aliquots": event.to_confirm,
    }


def _confirmed(tube: Tube, event: e.AliquotConfirmed, at: datetime) -> dict[str, object]:
    del at
    if not tube.open_aliquots:
        raise IllegalMove(
            "COUNT_MISMATCH",
            f"Pool {tube.tube_id} waits for no more aliquots; tube {event.other_tube} is one too many. "
            "Read the worklist again.",
            tube=tube.tube_id,
        )
    return {"open_aliquots": tube.open_aliquots - 1}


def _aliquot_withdrawn(tube: Tube, event: e.AliquotWithdrawn, at: datetime) -> dict[str, object]:
    del event, at
    return {"open_aliquots": tube.open_aliquots + 1}


def _joined(tube: Tube, event: e.JoinedPool, at: datetime) -> dict[str, object]:
    del at
    if tube.tests or tube.test != "first":
        raise IllegalMove(
            "TESTED_ALREADY",
            f"Tube {tube.tube_id} has a finding or a test of its own to come; it must be tested singly. "
            "Leave it out of the pool.",
            tube=tube.tube_id,
        )
    return {"pool_id": event.pool_id}


def _plated(tube: Tube, event: e.Plated, at: datetime) -> dict[str, object]:
    del at
    if tube.open_aliquots:
        raise IllegalMove(
            "ALIQUOTS_OPEN",
            f"Pool {tube.tube_id} still waits for {tube.open_aliquots} of {tube.capacity} aliquots to be "
            "confirmed by scan; it cannot be plated. Finish its worklist, or reject the pool.",
            tube=tube.tube_id,
        )
    return {
        "plate_id": event.plate_id,
        "well": event.well,
        "assay": event.assay,
        "test": event.test,
        "pool_id": "",
    }


def _called(tube: Tube, event: e.Called, at: datetime) -> dict[str, object]:
    del at
    return {"outcome": event.outcome, "rule": event.rule, "tests": tube.tests + 1}


def _voided(tube: Tube, event: e.Voided, at: datetime) -> dict[str, object]:
    del at
    return {
        "test": event.test,
        "reason": event.reason,
        "priority": max(event.priority, tube.priority),
        "plate_id": "",
        "well": "",
    }


def _retest(tube: Tube, event: e.RetestOrdered, at: datetime) -> dict[str, object]:
    del tube, at
    return {
        "test": event.test,
        "reason": event.reason,
        "priority": event.priority,
        "due_at": event.due_at,
        "plate_id": "",
        "well": "",
        "pool_id": "",
        "result": "",
        "signatures": 0,
    }


def _recollection(tube: Tube, event: e.RecollectionOrdered, at: datetime) -> dict[str, object]:
    del at
    if event.count != tube.persons:
        raise IllegalMove(
            "COUNT_MISMATCH",
            f"Tube {tube.tube_id} holds {tube.persons} persons; all of them must be called back, "
            f"not {event.count}.",
            tube=tube.tube_id,
        )
    return {
        "reason": event.reason,
        "result": "",
        "signatures": 0,
        "plate_id": "",
        "well": "",
        "pool_id": "",
    }


def _recalled(tube: Tube, event: e.PersonRecalled, at: datetime) -> dict[str, object]:
    del event, at
    return {"open_recalls": tube.open_recalls + 1}


def _recollected(tube: Tube, event: e.PersonRecollected, at: datetime) -> dict[str, object]:
    del event, at
    return {"open_recalls": max(tube.open_recalls - 1, 0)}


def _concluded(tube: Tube, event: e.Concluded, at: datetime) -> dict[str, object]:
    del tube, at
    return {"result": event.result, "reason": event.reason, "pool_id": "", "signatures": 0}


def _resolved(tube: Tube, event: e.Resolved, at: datetime) -> dict[str, object]:
    del at
    if tube.open_recalls:
        raise IllegalMove(
            "RECALLS_OPEN",
            f"Tube {tube.tube_id} still waits for the new specimens of {tube.open_recalls} persons.",
            tube=tube.tube_id,
        )
    return {"reason": event.reason}


def _reviewed(tube: Tube, event: e.Reviewed, at: datetime) -> dict[str, object]:
    del event, at
    return {"signatures": tube.signatures + 1}


def _result(tube: Tube, event: e.Released | e.Amended, at: datetime) -> dict[str, object]:
    del tube, at
    return {"result": event.result}


def _stored(tube: Tube, event: e.Stored, at: datetime) -> dict[str, object]:
    del tube
    return {"rack": event.rack, "position": event.position, "stored_at": at}


NOWHERE: Final = {"rack": "", "position": "", "stored_at": None}


def _fetched(tube: Tube, event: e.Fetched, at: datetime) -> dict[str, object]:
    del event, at
    if tube.stored_at is None:
        raise IllegalMove(
            "NOT_STORED",
            f"Tube {tube.tube_id} is not in store; it cannot be taken out. Look where it was seen last.",
            tube=tube.tube_id,
        )
    return dict(NOWHERE)


def _discarded(tube: Tube, event: e.Discarded, at: datetime) -> dict[str, object]:
    del at
    if "positive" in {tube.result, tube.outcome}:
        raise IllegalMove(
            "KEEP_POSITIVE", f"Tube {tube.tube_id} is positive and must be kept.", tube=tube.tube_id
        )
    return {"reason": event.reason, **NOWHERE}


def _reason(tube: Tube, event: e.Rejected | e.HeldDamaged, at: datetime) -> dict[str, object]:
    del tube, at
    return {"reason": event.reason}


def _withdrawn(tube: Tube, event: e.Withdrawn, at: datetime) -> dict[str, object]:
    del tube, at
    return {"reason": event.reason, "pool_id": "", "result": "", "signatures": 0}


def _nothing(tube: Tube, event: Event, at: datetime) -> dict[str, object]:
    del tube, event, at
    return {}


_CHANGES: Final[dict[type, Callable[..., dict[str, Any]]]] = {
    e.Registered: _registered,
    e.PersonBound: _bound,
    e.Sealed: _sealed,
    e.Received: _received,
    e.HeldUnknown: _held_unknown,
    e.HeldDamaged: _reason,
    e.HoldCleared: _reason,
    e.Rejected: _reason,
    e.PoolFormed: _pool_formed,
    e.JoinedPool: _joined,
    e.AliquotConfirmed: _confirmed,
    e.VolumeMeasured: _nothing,
    e.Lost: _nothing,
    e.Found: _nothing,
    e.Withdrawn: _withdrawn,
    e.HeldForPool: _reason,
    e.Plated: _plated,
    e.RunStarted: _nothing,
    e.LoadingCorrected: _nothing,
    e.Called: _called,
    e.Voided: _voided,
    e.RetestOrdered: _retest,
    e.RecollectionOrdered: _recollection,
    e.PersonRecalled: _recalled,
    e.ContactTried: _nothing,
    e.PersonRecollected: _recollected,
    e.Concluded: _concluded,
    e.Resolved: _resolved,
    e.Reviewed: _reviewed,
    e.Commented: _nothing,
    e.Released: _result,
    e.AmendmentProposed: _nothing,
    e.AmendmentWithdrawn: _nothing,
    e.Amended: _result,
    e.Stored: _stored,
    e.Discarded: _discarded,
    e.ReceiptWithdrawn: _receipt_withdrawn,
    e.PersonUnbound: _unbound,
    e.AliquotWithdrawn: _aliquot_withdrawn,
    e.WellConfirmed: _nothing,
    e.WellWithdrawn: _nothing,
    e.Fetched: _fetched,
    e.RegistrationWithdrawn: _registration_withdrawn,
    e.SealWithdrawn: _unsealed,
}
"""Event -> what it changes besides the state."""

READS: Final[dict[type, tuple[str, ...]]] = {
    e.Registered: ("tube_kind", "capacity", "tier", "site", "sampled_at", "due_at"),
    e.PersonBound: ("place",),
    e.Sealed: ("count", "reason"),
    e.Received: ("rack", "position", "due_at"),
    e.HeldUnknown: ("hold_number", "rack", "position"),
    e.HeldDamaged: ("reason",),
    e.HoldCleared: ("reason",),
    e.Rejected: ("reason",),
    e.PoolFormed: ("capacity", "tier", "due_at", "to_confirm"),
    e.JoinedPool: ("pool_id",),
    e.AliquotConfirmed: ("other_tube",),
    e.Withdrawn: ("reason",),
    e.HeldForPool: ("reason",),
    e.Plated: ("plate_id", "well", "assay", "test"),
    e.Called: ("outcome", "rule"),
    e.Voided: ("test", "reason", "priority"),
    e.RetestOrdered: ("test", "reason", "priority", "due_at"),
    e.RecollectionOrdered: ("reason", "count"),
    e.Concluded: ("result", "reason"),
    e.Resolved: ("reason",),
    e.Released: ("result",),
    e.Amended: ("result",),
    e.Stored: ("rack", "position"),
    e.Discarded: ("reason",),
    e.ReceiptWithdrawn: ("due_at",),
    e.PersonUnbound: ("place",),
}
"""Event -> its fields that a move reads; of events not listed, none. Whoever reads a million rows back
need not ask for the others, and asking for one that is not here fails at once."""

_MOVES: Final = {
    (state, kind): (target, KIND_RULES.get(kind), _CHANGES[kind])
    for (state, kind), target in TRANSITIONS.items()
}
"""The tables above side by side: one look-up for each of a million events."""


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2"]
    merged: dict[tuple[TubeState, TubeState], list[str]] = {}
    for (state, event), target in TRANSITIONS.items():
        merged.setdefault((state, target), []).append(event.__name__)
    for (state, target), names in merged.items():
        source, goal = ("[*]" if one is S.ABSENT else one.value for one in (state, target))
        lines.append(f"    {source} --> {goal}: {', '.join(sorted(names))}")
    lines.append(f"    {S.DISCARDED.value} --> [*]")
    return "\n".join(lines)
