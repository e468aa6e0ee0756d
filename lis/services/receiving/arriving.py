"""At the rack: every tube scanned in, and every scan answered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from lis import barcodes, ledger, queries
from lis import events as e
from lis.barcodes import Scan
from lis.errors import Invalid, LisError
from lis.tube import NEXT_STEP, Tube, TubeState, evolve

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lis.db import Unit
    from lis.ledger import Recorded
    from lis.rulebook import Rulebook


class ScanOutcome(StrEnum):
    """What became of one scan."""

    RECEIVED = "received"
    REPEAT = "repeat"
    HELD = "held"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class ScanResult:
    """What became of a scan, and the sentence for the technician.

    Attributes:
        who: who received the tube before, or which tube lies in its place, if that stops the scan.
    """

    barcode: str
    outcome: ScanOutcome
    code: str
    sentence: str
    rack: str = ""
    position: str = ""
    tube: Tube | None = None
    who: str = ""


def receive(unit: Unit, rules: Rulebook, scans: Sequence[Scan]) -> list[ScanResult]:
    """Take tubes in, one scan or a whole rack; every scan gets its own answer and none is lost.

    The same tube again at the same place is a harmless repeat; elsewhere it stops the technician with
    who, when and where. A code nobody registered goes to the hold tray under a number. A malformed code
    is refused. Good scans of a rack are recorded even if others are refused.
    """
    results, facts = _judge(unit, rules, scans, lambda: queries.next_number(unit.conn, "hold"))
    after = ledger.append(unit, facts)
    return [_with_tube(result, after) for result in results]


def foresee(unit: Unit, rules: Rulebook, scans: Sequence[Scan]) -> list[ScanResult]:
    """What :func:`receive` would answer; nothing is recorded, and an unknown tube gets no number yet."""
    return _judge(unit, rules, scans, lambda: 0)[0]


def _judge(
    unit: Unit, rules: Rulebook, scans: Sequence[Scan], number: Callable[[], int]
) -> tuple[list[ScanResult], list[Recorded]]:
    """The answer to every scan, and what happened; ``number`` gives the next place of the hold tray."""
    # gather
    codes = [_code_or_error(scan.barcode) for scan in scans]
    known = ledger.tubes(unit.conn, [code for code in codes if isinstance(code, str)])
    places = queries.occupied(unit.conn, {scan.rack for scan in scans if scan.rack})
    # decide
    results: list[ScanResult] = []
    facts: list[Recorded] = []
    for scan, code in zip(scans, codes, strict=True):
        if isinstance(code, LisError):
            results.append(_refused(scan, code))
            continue
        result, events = _receive_one(unit, rules, scan, known[code], places, number)
        results.append(result)
        facts += [(code, event) for event in events]
        for event in events:  # a code twice in one rack meets its own first scan
            known[code] = evolve(known[code], event, unit.now)
        if events and scan.rack:
            places[scan.rack, scan.position] = code
    return results, facts


def _code_or_error(raw: str) -> str | LisError:
    try:
        return barcodes.parse(raw, barcodes.TUBE)
    except Invalid as error:
        return error


def _refused(scan: Scan, error: LisError) -> ScanResult:
    shown = barcodes.clean(scan.barcode)[:80]
    return ScanResult(shown, ScanOutcome.REFUSED, error.code, error.sentence, scan.rack, scan.position)


def _receive_one(
    unit: Unit,
    rules: Rulebook,
    scan: Scan,
    tube: Tube,
    places: dict[tuple[str, str], str],
    number: Callable[[], int],
) -> tuple[ScanResult, list[e.Event]]:
    def answer(outcome: ScanOutcome, code: str, sentence: str) -> ScanResult:
        return ScanResult(tube.tube_id, outcome, code, sentence, scan.rack, scan.position, tube)

    there = places.get((scan.rack, scan.position)) if scan.rack and scan.position else None
    if there is not None and there != tube.tube_id:
        stop = answer(
            ScanOutcome.REFUSED,
            "PLACE_TAKEN",
            f"Rack {scan.rack} position {scan.position} already holds tube {there}. "
            f"Put tube {tube.tube_id} elsewhere and scan again.",
        )
        return replace(stop, who=there), []
    if tube.state is TubeState.ABSENT:
        given = number()
        sentence = f"Tube {tube.tube_id} is not registered. Put it into the hold tray as number {given}."
        return answer(ScanOutcome.HELD, "TUBE_UNKNOWN", sentence), [
            e.HeldUnknown(given, scan.rack, scan.position)
        ]
    if tube.state is TubeState.ON_HOLD_UNKNOWN:
        sentence = (
            f"Tube {tube.tube_id} lies in the hold tray as {tube.hold_number} and waits for registration."
        )
        return answer(ScanOutcome.REPEAT, "ALREADY_HELD", sentence), []
    if tube.state in {TubeState.SEALED, TubeState.REGISTERED} and tube.persons:
        return answer(ScanOutcome.RECEIVED, "RECEIVED", f"Tube {tube.tube_id} received."), _receipt(
            unit, rules, scan, tube
        )
    if tube.state is TubeState.RECEIVED and (tube.rack, tube.position) == (scan.rack, scan.position):
        return answer(
            ScanOutcome.REPEAT, "ALREADY_RECEIVED", f"Tube {tube.tube_id} was received {_at(tube)}."
        ), []
    who = queries.actor_of(unit.conn, tube.tube_id, "Received") if tube.received_at else ""
    return replace(answer(ScanOutcome.REFUSED, *_stop(tube, who)), who=who), []


def _receipt(unit: Unit, rules: Rulebook, scan: Scan, tube: Tube) -> list[e.Event]:
    sampled = tube.sampled_at or unit.now
    received = e.Received(scan.rack, scan.position, rules.due_at(tube.tier, sampled, unit.now))
    if tube.state is TubeState.SEALED:
        return [received]
    return [e.Sealed(tube.persons, "sealed at reception: the site had not sealed it"), received]


def _stop(tube: Tube, who: str) -> tuple[str, str]:
    """Why a scan stops the technician: code and sentence with who, when and where."""
    if tube.state is TubeState.REGISTERED:
        return (
            "TUBE_EMPTY",
            f"Tube {tube.tube_id} has no person bound to it. Send it back to the collection site.",
        )
    if tube.received_at is None:
        return "NOT_RECEIVABLE", f"Tube {tube.tube_id} is {_state(tube)}. {NEXT_STEP[tube.state]}"
    return (
        "RECEIVED_ELSEWHERE",
        (
            f"Stop: tube {tube.tube_id} was received {_at(tube)} by {who} and is {_state(tube)}. "
            "Two tubes may carry the same code: put this one aside and call the supervisor."
        ),
    )


def _with_tube(result: ScanResult, after: dict[str, Tube]) -> ScanResult:
    return replace(result, tube=after.get(result.barcode, result.tube))


def _state(tube: Tube) -> str:
    return tube.state.replace("_", " ")


def _at(tube: Tube) -> str:
    place = f" in rack {tube.rack}" if tube.rack else ""
    place += f" position {tube.position}" if place and tube.position else ""
    return f"at {tube.received_at:%Y-%m-%d %H:%M:%S} UTC{place}"
