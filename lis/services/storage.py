"""The store: put a tube away, take it out for its retest, destroy it when its time has come."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from lis import barcodes, ledger, queries
from lis import events as e
from lis.barcodes import Scan
from lis.errors import Invalid, LisError, Refused
from lis.events import TubeKind
from lis.tube import NEXT_STEP, TRANSITIONS, Tube, TubeState, evolve, illegal_sentence
from pooling import UNEXPLAINED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lis.db import Unit
    from lis.ledger import Recorded


class Act(StrEnum):
    """What the storage station does with a tube."""

    STORE = "store"
    FETCH = "fetch"
    DISCARD = "discard"


class Handling(StrEnum):
    """What became of one scan."""

    STORED = "stored"
    FETCHED = "fetched"
    DISCARDED = "discarded"
    REPEAT = "repeat"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Handled:
    """What became of a scan, and the sentence for the technician.

    Attributes:
        details: what the sentence names, for its Chinese wording.
    """

    barcode: str
    outcome: Handling
    code: str
    sentence: str
    rack: str = ""
    position: str = ""
    tube: Tube | None = None
    details: Mapping[str, str] = field(default_factory=dict)


Decided = tuple[Handled, e.Stored | e.Fetched | e.Discarded | None]
"""The answer to a scan, and what happened to the tube if anything did."""


def handle(
    unit: Unit, act: Act, scans: Sequence[Scan], *, reason: str = "", keep_hours: int
) -> list[Handled]:
    """Put away, take out or destroy tubes by scan; every scan gets its own answer.

    Good scans of a rack are recorded even if others are refused.

    Args:
        unit: the transaction.
        act: what is done with all of them.
        scans: the codes as read, with their places if they are put away.
        reason: why they are destroyed.
        keep_hours: hours a tube is kept at least after the last thing that was found out about it.

    Raises:
        Invalid: no rack is named for tubes that are put away, no reason for tubes that are destroyed.
    """
    results, facts = _judge(unit, act, scans, reason, keep_hours)
    ledger.append(unit, facts)
    return results


def foresee(unit: Unit, scans: Sequence[Scan]) -> list[Handled]:
    """What :func:`handle` would answer to tubes that are put away; nothing is recorded."""
    return _judge(unit, Act.STORE, scans, "", 0)[0]


def _judge(
    unit: Unit, act: Act, scans: Sequence[Scan], reason: str, keep_hours: int
) -> tuple[list[Handled], list[Recorded]]:
    # gather
    if act is Act.DISCARD:
        _needed(reason)
    codes = [_code(scan.barcode) for scan in scans]
    known = ledger.tubes(unit.conn, [code for code in codes if isinstance(code, str)])
    places = queries.occupied(unit.conn, {scan.rack for scan in scans if scan.rack})
    # decide
    results: list[Handled] = []
    facts: list[Recorded] = []
    for scan, code in zip(scans, codes, strict=True):
        if isinstance(code, LisError):
            results.append(_refused(barcodes.clean(scan.barcode)[:80], scan, code))
            continue
        tube = known[code]
        if tube.state is TubeState.ABSENT:
            results.append(_refused(code, scan, _unknown(tube)))
            continue
        result, event = _one(unit, act, scan, tube, places, reason, keep_hours)
        if event is not None:
            facts.append((code, event))
            known[code] = evolve(tube, event, unit.now)  # a code twice in one rack meets its own first scan
            places.pop((tube.rack, tube.position), None)
            places[scan.rack, scan.position] = code
        results.append(result)
    return results, facts


def _one(
    unit: Unit,
    act: Act,
    scan: Scan,
    tube: Tube,
    places: Mapping[tuple[str, str], str],
    reason: str,
    keep_hours: int,
) -> Decided:
    try:
        match act:
            case Act.STORE:
                return _store_one(unit, scan, tube, places)
            case Act.FETCH:
                return _fetch_one(unit, tube)
            case Act.DISCARD:
                return _discard_one(unit, tube, reason, keep_hours)
    except LisError as error:
        return _refused(tube.tube_id, scan, error, tube), None


def _store_one(unit: Unit, scan: Scan, tube: Tube, places: Mapping[tuple[str, str], str]) -> Decided:
    place = f"rack {scan.rack} position {scan.position}" if scan.position else f"rack {scan.rack}"
    if not scan.rack:
        raise Invalid("RACK", f"Say into which rack tube {tube.tube_id} goes.", tube=tube.tube_id)
    there = places.get((scan.rack, scan.position), tube.tube_id) if scan.position else tube.tube_id
    if there != tube.tube_id:
        raise Refused(
            "PLACE_TAKEN",
            f"Rack {scan.rack} position {scan.position} already holds tube {there}. "
            f"Put tube {tube.tube_id} elsewhere, or look which of the two really lies there.",
            tube=tube.tube_id,
            rack=scan.rack,
            position=scan.position,
            who=there,
        )
    if tube.stored_at is not None and (tube.rack, tube.position) == (scan.rack, scan.position):
        who = queries.actor_of(unit.conn, tube.tube_id, "Stored") or unit.actor  # or twice in this very rack
        at = f"{tube.stored_at:%Y-%m-%d %H:%M:%S} UTC"
        sentence = f"Tube {tube.tube_id} was put there {at} by {who}."
        return _answer(tube, Handling.REPEAT, "ALREADY_STORED", sentence, at=at, who=who), None
    _allowed(tube, e.Stored)
    sentence = f"Tube {tube.tube_id} lies in {place}."
    event = e.Stored(scan.rack, scan.position)
    moved = evolve(tube, event, unit.now)
    return _answer(moved, Handling.STORED, "STORED", sentence), event


def _fetch_one(unit: Unit, tube: Tube) -> Decided:
    if tube.stored_at is None:
        last = ledger.history(unit.conn, tube.tube_id)[-1]
        just_now = tube.seq > last.seq  # by an earlier scan of this very act
        if not just_now and not isinstance(last.fact, e.Fetched):
            raise Refused(
                "NOT_STORED",
                f"Tube {tube.tube_id} is not in store. {NEXT_STEP[tube.state]}",
                tube=tube.tube_id,
                state=tube.state,
            )
        when, who = (unit.now, unit.actor) if just_now else (last.at, last.actor)
        at = f"{when:%Y-%m-%d %H:%M:%S} UTC"
        sentence = f"Tube {tube.tube_id} was taken out {at} by {who}."
        return _answer(tube, Handling.REPEAT, "ALREADY_FETCHED", sentence, at=at, who=who), None
    _allowed(tube, e.Fetched)
    place = f"{tube.rack} {tube.position}".strip()
    due = tube.state is TubeState.AWAITING_RETEST
    sentence = f"Tube {tube.tube_id} is out of {place}. {NEXT_STEP[tube.state]}"
    code = "FETCHED_RETEST" if due else "FETCHED"
    event = e.Fetched("retest" if due else "")
    moved = evolve(tube, event, unit.now)
    return _answer(moved, Handling.FETCHED, code, sentence, was=place), event


def _discard_one(unit: Unit, tube: Tube, reason: str, keep_hours: int) -> Decided:
    if tube.state is TubeState.DISCARDED:
        who = queries.actor_of(unit.conn, tube.tube_id, "Discarded") or unit.actor
        at = f"{tube.updated_at:%Y-%m-%d %H:%M:%S} UTC"
        sentence = f"Tube {tube.tube_id} was destroyed {at} by {who}."
        return _answer(tube, Handling.REPEAT, "ALREADY_DISCARDED", sentence, at=at, who=who), None
    _allowed(tube, e.Discarded)
    _may_go(unit, tube, keep_hours)
    event = e.Discarded(reason.strip())
    moved = evolve(tube, event, unit.now)
    return _answer(moved, Handling.DISCARDED, "DISCARDED", f"Tube {tube.tube_id} is destroyed."), event


def _allowed(tube: Tube, kind: type) -> None:
    if (tube.state, kind) not in TRANSITIONS:
        raise Refused("ILLEGAL_MOVE", illegal_sentence(tube, kind), tube=tube.tube_id, state=tube.state)


def _may_go(unit: Unit, tube: Tube, keep_hours: int) -> None:
    """Raise unless a tube may be destroyed now."""
    if "positive" in {tube.result, tube.outcome}:
        raise Refused(
            "KEEP_POSITIVE", f"Tube {tube.tube_id} is positive and must be kept.", tube=tube.tube_id
        )
    if tube.kind is TubeKind.POOL and tube.reason in UNEXPLAINED:
        raise Refused(
            "KEEP_UNEXPLAINED",
            f"Pool {tube.tube_id} is an unexplained positive and must be kept.",
            tube=tube.tube_id,
        )
    if queries.open_amendments(unit.conn, tube.tube_id, limit=1):
        raise Refused(
            "AMENDMENT_OPEN_TUBE",
            f"A correction of a report of tube {tube.tube_id} is proposed. Agree to it or withdraw it first.",
            tube=tube.tube_id,
        )
    found = queries.last_finding_at(unit.conn, tube.tube_id) or unit.now
    until = found + timedelta(hours=keep_hours)
    if unit.now < until:
        raise Refused(
            "KEEP_LONGER",
            f"Tube {tube.tube_id} must be kept until {until:%Y-%m-%d %H:%M} UTC.",
            tube=tube.tube_id,
            until=f"{until:%Y-%m-%d %H:%M} UTC",
        )


# -- one tube from its page ----------------------------------------------------------------------


def store(unit: Unit, barcode: str, rack: str, position: str) -> Tube:
    """Put one tube away.

    Raises:
        Refused: ``PLACE_TAKEN``: another tube lies there.
        Invalid: no rack is named.
    """
    tube = ledger.known(unit.conn, barcode)
    rack, position = rack.strip(), position.strip()
    places = queries.occupied(unit.conn, {rack})
    event = _store_one(unit, Scan(tube.tube_id, rack, position), tube, places)[1]
    return _applied(unit, tube, event)


def discard(unit: Unit, barcode: str, reason: str, *, keep_hours: int) -> Tube:
    """Destroy a tube; positives never, negatives not before ``keep_hours`` after the last finding.

    Raises:
        Refused: ``KEEP_POSITIVE``, ``KEEP_UNEXPLAINED``, ``AMENDMENT_OPEN_TUBE`` or ``KEEP_LONGER``.
        Invalid: no reason is given.
    """
    tube = ledger.known(unit.conn, barcode)
    event = _discard_one(unit, tube, _needed(reason), keep_hours)[1]
    return _applied(unit, tube, event)


def _applied(unit: Unit, tube: Tube, event: e.Event | None) -> Tube:
    return tube if event is None else ledger.append(unit, [(tube.tube_id, event)])[tube.tube_id]


# -- answers -------------------------------------------------------------------------------------


def _answer(tube: Tube, outcome: Handling, code: str, sentence: str, **details: str) -> Handled:
    place = f"{tube.rack} {tube.position}".strip()
    named = {"tube": tube.tube_id, "place": place, "state": tube.state.value, **details}
    return Handled(tube.tube_id, outcome, code, sentence, tube.rack, tube.position, tube, named)


def _refused(code: str, scan: Scan, error: LisError, tube: Tube | None = None) -> Handled:
    details = {"tube": code, "barcode": code, **error.details}
    return Handled(
        code, Handling.REFUSED, error.code, error.sentence, scan.rack, scan.position, tube, details
    )


def _code(raw: str) -> str | LisError:
    try:
        return barcodes.parse(raw, barcodes.TUBE, barcodes.POOL)
    except Invalid as error:
        return error


def _unknown(tube: Tube) -> LisError:
    return Refused(
        "TUBE_UNKNOWN",
        f"Tube {tube.tube_id} is not known here. {NEXT_STEP[TubeState.ABSENT]}",
        tube=tube.tube_id,
    )


def _needed(reason: str) -> str:
    if not reason.strip():
        raise Invalid("REASON", "Say why; the reason is kept with the tube.")
    return reason.strip()
