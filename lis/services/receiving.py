"""From the swab to the rack: register, bind persons, seal, receive, hold, reject."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from lis import barcodes, ledger, queries
from lis import events as e
from lis.errors import Conflict, Invalid, LisError, Refused
from lis.events import TubeKind
from lis.privacy import Vault, document_number, mask
from lis.tube import NEXT_STEP, Tube, TubeState, evolve, illegal_sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lis.db import Unit
    from lis.ledger import Recorded
    from lis.rulebook import Rulebook

PLACES = {TubeKind.SINGLE: (1,), TubeKind.MIXED: (5, 10, 20)}
"""How many persons a tube of each kind may be made for."""


@dataclass(frozen=True, slots=True)
class PersonData:
    """A person as read from a document at the collection site."""

    name: str
    document_type: str
    document_number: str
    phone: str = ""


@dataclass(frozen=True, slots=True)
class TubeData:
    """A tube to put into use.

    Attributes:
        places: persons the tube is made for: 1, or 5, 10, 20 for a mixed tube.
        sampled_at: when the swab was taken; ``None`` means now.
        persons: bound at once, in the order of their places.
        sealed: close the tube in the same act; ``reason`` is needed if places stay empty.
    """

    barcode: str
    kind: TubeKind = TubeKind.SINGLE
    places: int = 1
    tier: str = "voluntary"
    site: str = ""
    sampled_at: datetime | None = None
    persons: tuple[PersonData, ...] = field(default=())
    sealed: bool = False
    reason: str = ""


def register(unit: Unit, vault: Vault, rules: Rulebook, orders: Sequence[TubeData]) -> dict[str, Tube]:
    """Put tubes into use, with their persons if given; all of them or none.

    Raises:
        Invalid: a barcode, tier, count or document number is malformed.
        Refused: a tube is in use already, a person is twice in one tube, or the jurisdiction knows no tubes
            mixed at collection for so many.
    """
    # gather
    codes = [barcodes.parse(order.barcode, barcodes.TUBE) for order in orders]
    if len(set(codes)) != len(codes):
        twice = next(code for code in codes if codes.count(code) > 1)
        raise Refused(
            "TUBE_TWICE", f"Tube {twice} is in the request twice. Nothing was registered.", tube=twice
        )
    known = ledger.tubes(unit.conn, codes)
    # decide
    facts: list[Recorded] = []
    people: dict[str, dict[str, object]] = {}
    for code, order in zip(codes, orders, strict=True):
        facts += _register_one(unit, vault, rules, known[code], order, people)
    # apply
    _save_people(unit, people)
    return ledger.append(unit, facts, known)


def _register_one(
    unit: Unit,
    vault: Vault,
    rules: Rulebook,
    tube: Tube,
    order: TubeData,
    people: dict[str, dict[str, object]],
) -> list[Recorded]:
    code = tube.tube_id
    if tube.state not in {TubeState.ABSENT, TubeState.ON_HOLD_UNKNOWN} and not _begun_wrongly(tube, order):
        raise Refused(
            "TUBE_IN_USE",
            f"Tube {code} has been in use since {_when(tube)} and is {_state(tube)}. Take a new tube.",
            tube=code,
            state=tube.state,
        )
    if order.places not in PLACES.get(order.kind, ()):
        raise Invalid(
            "PLACES", f"A {order.kind} tube for {order.places} persons does not exist; use 1, or 5, 10, 20."
        )
    if order.kind == TubeKind.MIXED:
        rules.mixing(order.places)
    sampled = order.sampled_at or unit.now
    due = rules.due_at(order.tier, sampled, None)
    facts: list[Recorded] = [
        (code, e.Registered(order.kind, order.places, order.tier, order.site.strip(), sampled, due))
    ]
    facts += _bind(unit, vault, tube._replace(capacity=order.places), order.persons, set(), people)
    if order.sealed:
        facts.append((code, _sealing(tube._replace(capacity=order.places), len(order.persons), order.reason)))
    return facts


def _begun_wrongly(tube: Tube, order: TubeData) -> bool:
    """Whether an empty tube was put into use as another kind than it is: it may be begun anew."""
    made_for = tube.kind, tube.capacity
    return tube.state is TubeState.REGISTERED and not tube.persons and made_for != (order.kind, order.places)


def bind(unit: Unit, vault: Vault, barcode: str, persons: Sequence[PersonData]) -> Tube:
    """Bind persons to the next free places of a registered tube.

    Raises:
        Refused: the tube is full, sealed, received or unknown, or the person is in it already.
    """
    # gather
    tube = ledger.known(unit.conn, barcode)
    inside = queries.persons_in(unit.conn, tube.tube_id)
    # decide
    if tube.state is not TubeState.REGISTERED:
        raise Refused(
            "TUBE_CLOSED", illegal_sentence(tube, e.PersonBound), tube=tube.tube_id, state=tube.state
        )
    people: dict[str, dict[str, object]] = {}
    facts = _bind(unit, vault, tube, persons, set(inside), people)
    # apply
    _save_people(unit, people)
    return ledger.append(unit, facts, {tube.tube_id: tube})[tube.tube_id]


def _bind(
    unit: Unit,
    vault: Vault,
    tube: Tube,
    persons: Sequence[PersonData],
    inside: set[str],
    people: dict[str, dict[str, object]],
) -> list[Recorded]:
    facts: list[Recorded] = []
    for place, data in enumerate(persons, start=tube.persons + 1):
        row = _person_row(unit, vault, data)
        person_id = str(row["person_id"])
        if person_id in inside:
            raise Refused(
                "PERSON_TWICE",
                f"{data.name} ({row['document_masked']}) is already in tube {tube.tube_id}. "
                "One person, one place: call the next person.",
                tube=tube.tube_id,
            )
        inside.add(person_id)
        _one_name(people.setdefault(person_id, row), str(row["name"]))
        facts.append((tube.tube_id, e.PersonBound(person_id, place)))
    return facts


def seal(unit: Unit, barcode: str, reason: str = "") -> Tube:
    """Close a tube at the collection site; a part-filled one needs a reason.

    Raises:
        Refused: the tube is empty, not registered, or part-filled without a reason.
    """
    tube = ledger.known(unit.conn, barcode)
    if tube.state is not TubeState.REGISTERED:
        raise Refused("TUBE_CLOSED", illegal_sentence(tube, e.Sealed), tube=tube.tube_id, state=tube.state)
    return ledger.append(unit, [(tube.tube_id, _sealing(tube, tube.persons, reason))], {tube.tube_id: tube})[
        tube.tube_id
    ]


def _sealing(tube: Tube, count: int, reason: str) -> e.Sealed:
    if count == 0:
        raise Refused(
            "TUBE_EMPTY",
            f"Tube {tube.tube_id} holds nobody. Bind a person before sealing.",
            tube=tube.tube_id,
        )
    if count < tube.capacity and not reason.strip():
        raise Refused(
            "SEAL_REASON",
            f"Tube {tube.tube_id} holds {count} of {tube.capacity} persons. Say why it is sealed early.",
            tube=tube.tube_id,
        )
    return e.Sealed(count, reason.strip())


# -- persons -------------------------------------------------------------------------------------


def _person_row(unit: Unit, vault: Vault, data: PersonData) -> dict[str, object]:
    if not data.name.strip():
        raise Invalid("PERSON_NAME", "A person needs a name. Read the document again.")
    number = document_number(data.document_type, data.document_number)
    found = vault.fingerprint(f"{data.document_type}:{number}")
    return {
        "person_id": found[:24],
        "name": data.name.strip(),
        "document_type": data.document_type,
        "document_sealed": vault.seal(number),
        "document_masked": mask(number),
        "document_hash": found,
        "phone_sealed": vault.seal(data.phone.strip()),
        "phone_masked": mask(data.phone.strip()),
        "created_at": unit.now,
    }


def _one_name(row: dict[str, object], name: str) -> None:
    if row["name"] != name:
        raise Conflict(
            "PERSON_DIFFERS",
            f"Document {row['document_masked']} belongs to {name} and to {row['name']}? "
            "One document has one name: read it again. Nothing was registered.",
        )


def _save_people(unit: Unit, people: dict[str, dict[str, object]]) -> None:
    known = queries.person_names(unit.conn, people)
    for person_id, name in known.items():
        _one_name(people[person_id], name)
    queries.insert_people(unit.conn, [row for person_id, row in people.items() if person_id not in known])


# -- reception -----------------------------------------------------------------------------------


class ScanOutcome(StrEnum):
    """What became of one scan."""

    RECEIVED = "received"
    REPEAT = "repeat"
    HELD = "held"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Scan:
    """One code read at one place."""

    barcode: str
    rack: str = ""
    position: str = ""


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


# -- the hold tray, rejection -----------------------------------------------------------


def hold(unit: Unit, barcode: str, reason: str) -> Tube:
    """Put a damaged or doubtful tube on hold."""
    tube = ledger.known(unit.conn, barcode)
    return ledger.append(unit, [(tube.tube_id, e.HeldDamaged(_needed(reason)))])[tube.tube_id]


def clear_hold(unit: Unit, barcode: str, reason: str) -> Tube:
    """Let a held tube be tested after all."""
    tube = ledger.known(unit.conn, barcode)
    return ledger.append(unit, [(tube.tube_id, e.HoldCleared(_needed(reason)))])[tube.tube_id]


def reject(unit: Unit, rules: Rulebook, barcode: str, reason: str) -> Tube:
    """Refuse to test a tube; its persons, if known, are called back for a new specimen.

    The members of a rejected pool are retained: they are tested singly.
    """
    # gather
    tube = ledger.known(unit.conn, barcode)
    persons = queries.persons_in(unit.conn, tube.tube_id)
    members = ledger.tubes(unit.conn, queries.pool_members(unit.conn, [tube.tube_id])[tube.tube_id])
    # decide
    facts: list[Recorded] = [(tube.tube_id, e.Rejected(_needed(reason)))]
    if persons:
        facts += ledger.recalls(tube.tube_id, persons, reason, unit.now + timedelta(hours=rules.recall_hours))
    facts += [
        (
            code,
            e.RetestOrdered(
                "singly", f"pool-rejected: {reason}", rules.void_priority(one), one.due_at or unit.now
            ),
        )
        for code, one in members.items()
        if one.state in {TubeState.POOLED, TubeState.RESULTED}  # waits for its pool, or for its second test
    ]
    # apply
    return ledger.append(unit, facts)[tube.tube_id]


def _needed(reason: str) -> str:
    if not reason.strip():
        raise Invalid("REASON", "Say why; the reason is kept with the tube.")
    return reason.strip()


def _state(tube: Tube) -> str:
    return tube.state.replace("_", " ")


def _when(tube: Tube) -> str:
    return f"{tube.updated_at:%Y-%m-%d %H:%M} UTC" if tube.updated_at else "an unknown time"


def _at(tube: Tube) -> str:
    place = f" in rack {tube.rack}" if tube.rack else ""
    place += f" position {tube.position}" if place and tube.position else ""
    return f"at {tube.received_at:%Y-%m-%d %H:%M:%S} UTC{place}"
