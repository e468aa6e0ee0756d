"""What is sent and what is answered: checked at the border, plain values inside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from lis.events import FIELDS, TubeKind
from lis.ledger import Entry
from lis.privacy import last_digits
from lis.services.plates import PlateOrder, WellOrder
from lis.services.receiving import PersonData, Scan, ScanResult, TubeData
from lis.services.storage import Handled
from lis.tube import NEXT_STEP, Tube
from lis.web.words import outcome_zh

Code = Annotated[str, Field(max_length=200)]
Words = Annotated[str, Field(max_length=500)]
MOST_TUBES = 1000
MOST_SCANS = 400


class Payload(BaseModel):
    """Unknown names are refused: a misspelt field would be a lost one."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PersonIn(Payload):
    """A person as read from a document."""

    name: Words
    document_type: Code = "resident_id"
    document_number: Code
    phone: Code = ""

    def data(self) -> PersonData:
        """As the service takes it."""
        return PersonData(self.name, self.document_type, self.document_number, self.phone)


class TubeOrder(Payload):
    """A tube to put into use, with its persons if they are known already."""

    barcode: Code
    kind: TubeKind = TubeKind.SINGLE
    places: int = Field(1, ge=1, le=20)
    tier: Code = "voluntary"
    site: Words = ""
    sampled_at: AwareDatetime | None = None
    persons: tuple[PersonIn, ...] = Field((), max_length=20)
    sealed: bool = False
    reason: Words = ""

    def data(self) -> TubeData:
        """As the service takes it."""
        return TubeData(
            self.barcode,
            self.kind,
            self.places,
            self.tier,
            self.site,
            self.sampled_at,
            tuple(person.data() for person in self.persons),
            self.sealed,
            self.reason,
        )


class SealOrder(Payload):
    """Close a tube; a part-filled one needs a reason."""

    reason: Words = ""


class ScanIn(Payload):
    """One code read at one place."""

    barcode: Code
    rack: Code = ""
    position: Code = ""

    def data(self) -> Scan:
        """As the service takes it."""
        return Scan(self.barcode, self.rack.strip(), self.position.strip())


class WellIn(Payload):
    """What was pipetted into one well by hand."""

    well: Code
    tube: Code = ""
    control: Code = ""
    targets: tuple[Code, ...] = ()
    batch: Code = ""
    rna: bool = False


class PlateIn(Payload):
    """A plate to make; without wells the scheduler fills it."""

    barcode: Code = ""
    template: Code = ""
    assay: Code = ""
    wells: tuple[WellIn, ...] = Field((), max_length=4 * 384)
    now_whatever: bool = True
    lot: Code = ""
    extraction_lot: Code = ""
    control_lot: Code = ""
    lot_reason: Words = ""

    def lots(self) -> dict[str, str]:
        """The lots that go onto it, by kind."""
        return {"kit": self.lot, "extraction": self.extraction_lot, "control": self.control_lot}

    def data(self) -> PlateOrder:
        """As the service takes it."""
        wells = tuple(WellOrder(w.well, w.tube, w.control, w.targets, w.batch, w.rna) for w in self.wells)
        return PlateOrder(self.barcode, self.template, self.assay, wells, self.now_whatever, self.lot)


class LoadIn(Payload):
    """The plate code as scanned at the cycler, and which cycler it is."""

    barcode: Code
    instrument: Words


class CorrectLoadIn(Payload):
    """The cycler that the plate is really in, and why the loading is corrected."""

    instrument: Words
    reason: Words


class ReasonIn(Payload):
    """Why; the reason is kept."""

    reason: Words


class PlaceIn(Payload):
    """Where a tube is put away."""

    rack: Code
    position: Code = ""


class ReviewIn(Payload):
    """A reviewer's verdict: accept, retest, re-amplify, re-extract, second-kit, recollect or comment."""

    tube: Code
    verdict: Code
    reason: Words = ""


class ReleaseIn(Payload):
    """Tubes whose signed results leave now; none named = all that have every signature."""

    tubes: tuple[Code, ...] = Field((), max_length=MOST_TUBES)


class BatchIn(Payload):
    """Negatives to sign and release together, as they were listed."""

    tubes: tuple[Code, ...] = Field(min_length=1, max_length=MOST_TUBES)


class AmendIn(Payload):
    """The right result of a report, and why it is corrected; who agrees need not repeat the reason."""

    result: Code
    reason: Words = ""


class RetryIn(Payload):
    """Read a quarantined file again, for the plate it had or for another."""

    plate: Code = ""


class LabelsIn(Payload):
    """Labels to print, on a printer of the laboratory or by the browser; why, if one was printed before."""

    codes: tuple[Code, ...] = Field(min_length=1, max_length=400)
    printer: Code = "browser"
    copies: int = 1
    reason: Words = ""


class SignInIn(Payload):
    """Name and password."""

    name: Code
    password: Words


class DocumentIn(Payload):
    """An identity document by which a person is looked up; why is kept."""

    document_type: Code = "resident_id"
    document_number: Code
    reason: Words = ""


class WhyIn(Payload):
    """Why somebody must see or call a person; it is kept."""

    reason: Words = ""


Tubes = TubeOrder | Annotated[list[TubeOrder], Field(min_length=1, max_length=MOST_TUBES)]
Scans = ScanIn | Annotated[list[ScanIn], Field(min_length=1, max_length=MOST_SCANS)]
Reviews = ReviewIn | Annotated[list[ReviewIn], Field(min_length=1, max_length=MOST_TUBES)]
Persons = PersonIn | Annotated[list[PersonIn], Field(min_length=1, max_length=20)]


# -- answers -------------------------------------------------------------------------------------


def tube_json(tube: Tube) -> dict[str, Any]:
    """Where a tube stands."""
    return {
        "barcode": tube.tube_id,
        "kind": tube.kind.value,
        "state": tube.state.value,
        "next": NEXT_STEP[tube.state],
        "persons": tube.persons,
        "places": tube.capacity,
        "tier": tube.tier,
        "site": tube.site,
        "sampled_at": tube.sampled_at,
        "received_at": tube.received_at,
        "due": tube.due_at,
        "promised": tube.promised_at,
        "rack": tube.rack,
        "position": tube.position,
        "hold_number": tube.hold_number,
        "pool": tube.pool_id,
        "plate": tube.plate_id,
        "well": tube.well,
        "assay": tube.assay,
        "test": tube.test,
        "priority": tube.priority,
        "reason": tube.reason,
        "outcome": tube.outcome,
        "rule": tube.rule,
        "result": tube.result,
        "tests": tube.tests,
        "signatures": tube.signatures,
        "open_recalls": tube.open_recalls,
        "open_aliquots": tube.open_aliquots,
        "stored_at": tube.stored_at,
        "updated_at": tube.updated_at,
    }


def answered_json(result: ScanResult | Handled, sentence_zh: str) -> dict[str, Any]:
    """What became of one scan, at whichever station it was made."""
    tube = result.tube
    return {
        "barcode": result.barcode,
        "outcome": result.outcome.value,
        "code": result.code,
        "sentence": result.sentence,
        "sentence_zh": sentence_zh,
        "rack": result.rack,
        "position": result.position,
        "state": tube.state.value if tube else "",
        "kind": tube.kind.value if tube else "",
    }


def scan_json(result: ScanResult) -> dict[str, Any]:
    """What became of one scan at reception."""
    tube = result.tube
    return answered_json(result, outcome_zh(result)) | {
        "hold_number": tube.hold_number if tube else 0,
        "persons": tube.persons if tube else 0,
        "places": tube.capacity if tube else 0,
    }


def entry_json(entry: Entry) -> dict[str, Any]:
    """One row of a tube's history."""
    kind = type(entry.fact).__name__
    facts = {name: getattr(entry.fact, name) for name in FIELDS[kind]}
    return {
        "event_id": entry.event_id,
        "seq": entry.seq,
        "kind": kind,
        "at": entry.at,
        "actor": entry.actor,
        **facts,
    }


def reading_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a cycler said of one target of one well."""
    names = (
        "run_id",
        "plate_id",
        "well",
        "target",
        "dye",
        "cq",
        "raw_cq",
        "curve",
        "call",
        "read_at",
        "valid",
    )
    return {name: row[name] for name in names} | {"flags": [flag for flag in row["flags"].split(",") if flag]}


def report_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """A report in a list, without its person."""
    names = ("report_id", "version", "amends", "tube_id", "result", "mode", "issued_at", "signed_by")
    return {name: row[name] for name in names} | {"signed_names": row["signed_names"].split("\n")}


def person_json(row: Mapping[str, Any], *, full: bool) -> dict[str, Any]:
    """A person as screens show one: masked numbers and, if ``full``, the name; else what can be compared."""
    return {
        "person_id": row["person_id"],
        "name": row["name"] if full else masked_name(row["name"]),
        "document_type": row["document_type"],
        "document": row["document_masked"] if full else last_digits(row["document_masked"]),
        "phone": row["phone_masked"] if full else last_digits(row["phone_masked"]),
    }


def masked_name(name: str) -> str:
    """``王小明`` as ``王**``: enough to compare with the label, too little to spread."""
    return name[:1] + "*" * max(len(name) - 1, 1)


def file_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """A received file without its content."""
    names = (
        "file_id",
        "device",
        "run",
        "plate_id",
        "name",
        "size",
        "received_at",
        "state",
        "code",
        "reason",
        "run_id",
    )
    return {name: row[name] for name in names}


def plate_json(row: Mapping[str, Any], wells: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """A plate with its map."""
    about = (
        "plate_id",
        "size",
        "template",
        "assay",
        "assay_version",
        "lot",
        "state",
        "instrument",
        "created_at",
    )
    names = (*about, "created_by", "started_at", "closed_at", "reason")
    return {name: row[name] for name in names} | {
        "wells": [well_json(well) for well in sorted(wells, key=well_place)]
    }


def well_json(well: Mapping[str, Any]) -> dict[str, Any]:
    """One well that holds something."""
    return {
        "well": well["well"],
        "tube": well["tube_id"],
        "control": well["control"],
        "batch": well["batch"],
        "test": well["test"],
        "targets": [name for name in well["targets"].split(",") if name],
    }


def well_place(well: Mapping[str, Any]) -> tuple[str, int]:
    """Row letter and column number, so that A2 comes before A10."""
    return well["well"][0], int(well["well"][1:])


def listed(value: Sequence[Any] | Any) -> list[Any]:
    """One order, or a list of them, as a list."""
    return list(value) if isinstance(value, list | tuple) else [value]
