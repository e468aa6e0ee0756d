"""At the swab: tubes registered, persons bound, tubes sealed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from lis import barcodes, ledger, queries
from lis import events as e
from lis.errors import Conflict, Invalid, Refused
from lis.events import TubeKind
from lis.privacy import Vault, document_number, mask
from lis.tube import Tube, TubeState, illegal_sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def _state(tube: Tube) -> str:
    return tube.state.replace("_", " ")


def _when(tube: Tube) -> str:
    return f"{tube.updated_at:%Y-%m-%d %H:%M} UTC" if tube.updated_at else "an unknown time"
