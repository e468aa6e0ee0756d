"""The facts of the laboratory: everything that can happen to a tube, each as one frozen value.

An event says what happened; when, by whom and in which order are added when it is recorded
(:mod:`lis.ledger`). The fields of all events together are the typed columns of the event table;
there is no free-form payload. The union is listed by hand: ``__subclasses__`` keeps ghosts of
classes that were rebuilt with slots.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Final, get_args

if TYPE_CHECKING:
    from datetime import datetime
    from types import UnionType


class TubeKind(StrEnum):
    """What a tube holds."""

    SINGLE = "single"
    """One person's specimen (单管)."""
    MIXED = "mixed"
    """Several persons mixed at collection (混采): no individual tube exists."""
    POOL = "pool"
    """Aliquots of single tubes mixed in the laboratory (混检); the single tubes are retained."""
    UNKNOWN = "unknown"
    """A tube in the hold tray whose registration is not known yet."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A tube was put into use at a collection site. ``due_at`` is provisional until receipt."""

    tube_kind: TubeKind
    capacity: int
    tier: str
    site: str
    sampled_at: datetime
    due_at: datetime


@dataclass(frozen=True, slots=True)
class PersonBound:
    """A person's specimen went into place ``place`` (1-based) of the tube."""

    person_id: str
    place: int


@dataclass(frozen=True, slots=True)
class Sealed:
    """The tube was closed with ``count`` persons in it; ``reason`` says why if places stayed empty."""

    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class Received:
    """The laboratory scanned the tube in, at ``position`` of ``rack``."""

    rack: str
    position: str
    due_at: datetime


@dataclass(frozen=True, slots=True)
class HeldUnknown:
    """A barcode nobody registered was scanned; the tube lies in the hold tray under ``hold_number``."""

    hold_number: int
    rack: str
    position: str


@dataclass(frozen=True, slots=True)
class HeldDamaged:
    """The tube leaked, is empty, is mislabelled: someone must decide."""

    reason: str


@dataclass(frozen=True, slots=True)
class HoldCleared:
    """A held tube may be tested after all."""

    reason: str


@dataclass(frozen=True, slots=True)
class Rejected:
    """The tube will not be tested."""

    reason: str


@dataclass(frozen=True, slots=True)
class PoolFormed:
    """A lab pool of ``capacity`` aliquots was formed; it is a tube of its own from now on.

    It is number ``place`` of its pipetting ``worklist`` and stands in ``well`` of that list's pool plate.
    ``to_confirm`` aliquots must be confirmed by scan before it is plated. The versions of the assay, of the
    bench's rules and of the jurisdiction's policy are those that allowed it.
    """

    capacity: int
    tier: str
    due_at: datetime
    worklist: str = ""
    place: int = 0
    well: str = ""
    to_confirm: int = 0
    assay: str = ""
    assay_version: str = ""
    pool_rules: str = ""
    pool_rules_version: str = ""
    pool_policy: str = ""
    pool_policy_version: str = ""


@dataclass(frozen=True, slots=True)
class JoinedPool:
    """An aliquot of this single tube went into ``pool_id`` as number ``place``; the tube is retained."""

    pool_id: str
    place: int


@dataclass(frozen=True, slots=True)
class AliquotConfirmed:
    """The aliquot of ``other_tube``, number ``place`` of this pool, was seen to go into ``well``."""

    other_tube: str
    place: int
    well: str


@dataclass(frozen=True, slots=True)
class VolumeMeasured:
    """``volume_ul`` microlitres are left in the tube."""

    volume_ul: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The tube cannot be found; its aliquot, if it gave one, still counts."""

    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """The tube was found again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The person withdrew: nothing more is tested or reported of this tube; it stays in store."""

    reason: str


@dataclass(frozen=True, slots=True)
class HeldForPool:
    """The tube read negative, its pool ``pool_id`` did not: it waits until the pool is cleared up."""

    pool_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Plated:
    """Pipetted into ``well`` of ``plate_id`` for the ``test`` that was due."""

    plate_id: str
    well: str
    assay: str
    test: str


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The plate with this tube was loaded into a cycler."""

    plate_id: str
    instrument: str


@dataclass(frozen=True, slots=True)
class LoadingCorrected:
    """The plate with this tube is in another cycler than was confirmed when it was loaded."""

    plate_id: str
    instrument: str
    reason: str


@dataclass(frozen=True, slots=True)
class Called:
    """A valid run was read and interpreted by ``rule`` of ``assay`` ``assay_version``.

    ``curve`` is the verdict on the curve of the target that decided; empty if none was judged.
    """

    run_id: str
    plate_id: str
    well: str
    outcome: str
    rule: str
    assay: str
    assay_version: str
    test: str
    curve: str


@dataclass(frozen=True, slots=True)
class Voided:
    """The well is void: the PCR run or its extraction batch failed. The tube is queued again."""

    run_id: str
    plate_id: str
    well: str
    scope: str
    reason: str
    test: str
    priority: int


@dataclass(frozen=True, slots=True)
class RetestOrdered:
    """The rules, or a reviewer, want another test of this tube."""

    test: str
    reason: str
    priority: int
    due_at: datetime


@dataclass(frozen=True, slots=True)
class RecollectionOrdered:
    """Only a new specimen can answer; the ``count`` persons of the tube are called back."""

    reason: str
    count: int


@dataclass(frozen=True, slots=True)
class PersonRecalled:
    """This person is held, and is asked for a new specimen by ``due_at``."""

    person_id: str
    reason: str
    due_at: datetime


@dataclass(frozen=True, slots=True)
class ContactTried:
    """Somebody tried to reach a person who is called back: how it went, and a note as ``reason``."""

    person_id: str
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True)
class PersonRecollected:
    """This person's new specimen ``other_tube`` has been reported; the person's task is closed."""

    person_id: str
    other_tube: str
    result: str


@dataclass(frozen=True, slots=True)
class Concluded:
    """The rules have a result for this tube; ``run_id`` and ``pool_id`` say what it rests on."""

    result: str
    reason: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """The tube has done its work without a report of its own (a decoded pool, a recalled mixed tube)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A person, or the written auto-verification rules, signed the result."""

    verdict: str
    reason: str


@dataclass(frozen=True, slots=True)
class Commented:
    """A reviewer said something about the result, for whoever looks at it next; it signs nothing."""

    reason: str


@dataclass(frozen=True, slots=True)
class Released:
    """``count`` reports with ``result`` were issued for this tube; ``seal`` covers their contents."""

    result: str
    count: int
    seal: str


@dataclass(frozen=True, slots=True)
class AmendmentProposed:
    """One more person asks that report ``amends`` be corrected to ``result``; others must agree."""

    amends: str
    result: str
    reason: str


@dataclass(frozen=True, slots=True)
class AmendmentWithdrawn:
    """The open proposal to correct report ``amends`` is given up; the report stands."""

    amends: str
    reason: str


@dataclass(frozen=True, slots=True)
class Amended:
    """``report_id`` corrects the report ``amends``, which is kept; ``seal`` covers its content."""

    report_id: str
    amends: str
    result: str
    reason: str
    seal: str


@dataclass(frozen=True, slots=True)
class Stored:
    """The tube was put away."""

    rack: str
    position: str


@dataclass(frozen=True, slots=True)
class Discarded:
    """The tube was destroyed."""

    reason: str


@dataclass(frozen=True, slots=True)
class ReceiptWithdrawn:
    """The receipt was a mistake and is taken back; ``due_at`` is provisional again."""

    due_at: datetime


@dataclass(frozen=True, slots=True)
class PersonUnbound:
    """The person bound last was the wrong one: place ``place`` is free again."""

    person_id: str
    place: int


@dataclass(frozen=True, slots=True)
class AliquotWithdrawn:
    """The confirmation of the aliquot of ``other_tube`` is taken back; it is awaited again."""

    other_tube: str
    place: int
    well: str


@dataclass(frozen=True, slots=True)
class WellConfirmed:
    """The tube was scanned and seen to go into ``well`` of ``plate_id``."""

    plate_id: str
    well: str


@dataclass(frozen=True, slots=True)
class WellWithdrawn:
    """The confirmation that the tube went into ``well`` of ``plate_id`` is taken back."""

    plate_id: str
    well: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """The tube was taken out of the place where it had been put away."""

    reason: str


@dataclass(frozen=True, slots=True)
class RegistrationWithdrawn:
    """A tube that was put into use by mistake, with nobody in it, is a new tube again."""


@dataclass(frozen=True, slots=True)
class SealWithdrawn:
    """The tube was closed by mistake and is open again, with the persons that it holds."""


Event = (
    Registered
    | PersonBound
    | Sealed
    | Received
    | HeldUnknown
    | HeldDamaged
    | HoldCleared
    | Rejected
    | PoolFormed
    | JoinedPool
    | AliquotConfirmed
    | VolumeMeasured
    | Lost
    | Found
    | Withdrawn
    | HeldForPool
    | Plated
    | RunStarted
    | LoadingCorrected
    | Called
    | Voided
    | RetestOrdered
    | RecollectionOrdered
    | PersonRecalled
    | ContactTried
    | PersonRecollected
    | Concluded
    | Resolved
    | Reviewed
    | Commented
    | Released
    | AmendmentProposed
    | AmendmentWithdrawn
    | Amended
    | Stored
    | Discarded
    | ReceiptWithdrawn
    | PersonUnbound
    | AliquotWithdrawn
    | WellConfirmed
    | WellWithdrawn
    | Fetched
    | RegistrationWithdrawn
    | SealWithdrawn
)


def _kinds(union: UnionType) -> dict[str, type]:
    return {cls.__name__: cls for cls in get_args(union)}


KINDS: Final[dict[str, type]] = _kinds(Event)
"""Event kind as stored -> class."""

FIELDS: Final[dict[str, tuple[str, ...]]] = {
    name: tuple(field.name for field in fields(cls)) for name, cls in KINDS.items()
}
"""Event kind -> its field names, in order."""

TIMES: Final = frozenset({"sampled_at", "due_at"})
"""Fields that hold a moment."""

NUMBERS: Final = frozenset(
    {"capacity", "place", "count", "hold_number", "priority", "to_confirm", "volume_ul"}
)
"""Fields that hold a whole number; all others hold text."""

COLUMNS: Final[tuple[str, ...]] = tuple(dict.fromkeys(name for names in FIELDS.values() for name in names))
"""Every field of every event, once, in order of first appearance: the typed columns of the log."""
