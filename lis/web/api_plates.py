"""The API of plates, cyclers and files."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Query, Request, UploadFile
from sqlalchemy import Connection
from starlette.responses import Response

from lis import ledger, queries
from lis.auth import Role
from lis.db import Unit
from lis.errors import Invalid, NotFound
from lis.laboratory import foreseen, keep, parse, run_key, settle
from lis.services import inbox, lots, plates, plating
from lis.services.inbox import MAX_BYTES, Delivery, Stored
from lis.services.plates import PlateOrder
from lis.services.reports import Held, Issued
from lis.services.results import Ingested
from lis.web.commands import Asked, Caller, digest_of
from lis.web.live import foresight_json
from lis.web.payloads import CorrectLoadIn, LoadIn, PlateIn, ReasonIn, RetryIn, file_json, plate_json
from scheduler.fill import Wait
from scheduler.jobs import Job, Stage

UPLOAD = "upload:"
"""Prefix of the sender of a file that a person handed over without naming a cycler."""

router = APIRouter(prefix="/api/v1")


# -- plates --------------------------------------------------------------------------------------


@router.get("/plates/proposal", tags=["plates"])
def propose_plate(
    asked: Asked, template: str = "", assay: str = "", *, now_whatever: bool = True
) -> Response:
    """What the scheduler would put on the next plate, or why it would rather wait."""
    order = PlateOrder(template=template, assay=assay, now_whatever=now_whatever)
    return asked.read("plate", lambda conn: plate_proposal(asked, conn, order))


def plate_proposal(asked: Caller, conn: Connection, order: PlateOrder) -> dict[str, Any]:
    """The next plate as the scheduler would fill it."""
    unit = asked.looking(conn)
    running = foreseen(unit, asked.lab.rules)
    plan = plates.propose(unit, asked.lab.rules, order, [job for one in running for job in one.expected])
    coming = [
        {"plate": one.plate_id, "assay": one.assay, **foresight_json(one)} for one in running if one.outlook
    ]
    template = asked.lab.rules.template(order.template)
    about = {"size": template.size, "template": template.id, "coming": coming}
    about["controls"] = [
        {"well": well, "kind": kind, "batch": template.batch(well)} for kind, well in template.controls
    ]
    if isinstance(plan, Wait):
        return about | {"wait": plan.reason, "until": plan.until, "wells": [], "jobs": {}}
    jobs = plates.jobs_of(unit, asked.lab.rules, plan.tubes)
    kinds = {code: tube.kind.value for code, tube in ledger.tubes(conn, plan.tubes).items()}
    wells = [
        {
            "well": well.well,
            "tube": well.tube,
            "control": well.control,
            "batch": well.batch,
            "rna": well.tube is not None and well.batch is None,
            "kind": kinds.get(well.tube or "", ""),
        }
        for well in plan.wells
        if well.tube or well.control
    ]
    made = {"wait": "", "assay": plan.assay, "wells": wells, "reasons": plan.reasons}
    told = {code: job_json(job, unit.now) for code, job in jobs.items()}
    return about | made | {"closed_by": plan.closed_by, "jobs": told}


def job_json(job: Job, now: datetime) -> dict[str, Any]:
    """Why a tube wants a well, and until when; ``due_hours`` is negative when it is late."""
    return {
        "tube": job.tube,
        "assay": job.assay,
        "reason": job.reason,
        "due": job.due,
        "due_hours": round((job.due - now).total_seconds() / 3600, 1),
        "priority": job.priority,
        "persons": job.persons,
        "tier": job.tier,
        "rna": job.step == Stage.RE_AMPLIFY,
    }


@router.get("/plates/candidate", tags=["plates"])
def plate_candidate(
    asked: Asked, tube: Annotated[str, Query(max_length=80)], assay: Annotated[str, Query(max_length=80)] = ""
) -> Response:
    """Whether a scanned tube may go onto the next plate of an assay, and why it waits; else the refusal."""

    def ask(conn: Connection) -> dict[str, Any]:
        unit = asked.looking(conn)
        job = plates.candidate(unit, asked.lab.rules, tube, assay)
        return job_json(job, unit.now) | {"kind": ledger.known(conn, job.tube).kind.value}

    return asked.read("plate", ask)


@router.post("/plates/check", tags=["plates"])
def check_plate(order: PlateIn, asked: Asked) -> Response:
    """Refuse what making this plate would refuse; makes nothing."""
    data = order.data()

    def ask(conn: Connection) -> dict[str, Any]:
        plates.check(asked.looking(conn), asked.lab.rules, data)
        return {"ok": True, "tubes": len({well.tube for well in data.wells if well.tube})}

    return asked.read("plate", ask)


@router.post("/plates", status_code=201, tags=["plates"])
def create_plate(order: PlateIn, asked: Asked) -> Response:
    """Make a plate: by hand if wells are given, else filled by the scheduler."""
    data = order.data()

    def act(unit: Unit) -> dict[str, Any]:
        rules = asked.lab.rules
        expected = [job for one in foreseen(unit, rules) for job in one.expected]
        plate_id = plates.create(unit, rules, data, expected)
        may = asked.identity.may("override-lot")
        lots.use(unit, plate_id, order.lots(), reason=order.lot_reason, may=may)
        return plate_document(unit.conn, plate_id)

    return asked.write("plate", act, 201)


@router.get("/plates/{plate_id}", tags=["plates"])
def get_plate(plate_id: str, asked: Asked) -> Response:
    """A plate with its map and its runs."""
    return asked.read("look", lambda conn: plate_document(conn, plate_id))


def plate_document(conn: Connection, plate_id: str) -> dict[str, Any]:
    """A plate with its map and its runs.

    Raises:
        NotFound: no such plate.
    """
    row = queries.plate_row(conn, plate_id)
    if row is None:
        raise NotFound(
            "PLATE_UNKNOWN", f"Plate {plate_id[:40]} is not known here. Check the code.", plate=plate_id
        )
    names = ("run_id", "device", "format", "instrument", "read_at", "valid", "verdict")
    runs = [{name: run[name] for name in names} for run in queries.runs_of_plate(conn, plate_id)]
    used = [
        {
            "kind": one.kind,
            "number": one.number,
            "state": one.state,
            "expires_at": one.expires_at,
            "override": one.override,
        }
        for one in lots.of_plate(conn, plate_id)
    ]
    about = {"runs": runs, "lots": used, "loaded_by": queries.loaded_by(conn, plate_id)}
    return plate_json(row, queries.wells(conn, plate_id)) | about


@router.get("/plates", tags=["plates"])
def list_plates(
    asked: Asked, state: str = "", limit: Annotated[int, Query(ge=1, le=queries.PAGE)] = queries.PAGE
) -> Response:
    """Plates, newest first; of one state if named."""
    states = (state,) if state else ()
    names = ("plate_id", "size", "assay", "state", "instrument", "created_at", "reason")
    return asked.read(
        "look",
        lambda conn: {
            "plates": [{n: row[n] for n in names} for row in queries.plates(conn, *states, limit=limit)]
        },
    )


@router.post("/plates/{plate_id}/load", tags=["plates"])
def load_plate(plate_id: str, order: LoadIn, asked: Asked) -> Response:
    """Confirm by scan that this plate is in this cycler."""

    def act(unit: Unit) -> dict[str, Any]:
        plating.check_confirmed(unit.conn, plate_id)
        plates.load(unit, plate_id, order.barcode, order.instrument)
        return plate_document(unit.conn, plate_id)

    return asked.write("plate", act)


@router.post("/plates/{plate_id}/load/correct", tags=["plates"])
def correct_loading(plate_id: str, order: CorrectLoadIn, asked: Asked) -> Response:
    """Say that a running plate is in another cycler than was confirmed; its files may then be read."""

    def act(unit: Unit) -> dict[str, Any]:
        plates.correct_loading(unit, plate_id, order.instrument, order.reason)
        return plate_document(unit.conn, plate_id)

    return asked.write("quarantine", act)


@router.post("/plates/{plate_id}/void", tags=["plates"])
def void_plate(plate_id: str, order: ReasonIn, asked: Asked) -> Response:
    """Give a plate up before it was read; its tubes queue again."""
    return asked.write(
        "plate", lambda unit: {"plate_id": plate_id, "requeued": plates.void(unit, plate_id, order.reason)}
    )


# -- files ---------------------------------------------------------------------------------------


@router.post("/runs", tags=["files"])
def upload_run(
    request: Request,
    asked: Asked,
    file: Annotated[UploadFile, File()],
    plate: Annotated[str, Form()] = "",
    run: Annotated[str, Form()] = "",
    device: Annotated[str, Form()] = "",
) -> Response:
    """Hand over a cycler's export: kept first, then read, decided, and its negatives released.

    A file that cannot be used is quarantined with the reason (``state`` says so); that is an answer,
    not an error.
    """
    asked.identity.must("upload")
    data = file.file.read(MAX_BYTES + 1)
    name = (file.filename or "upload")[-200:]
    fields = f"{name}\0{plate}\0{run}\0{device}".encode()
    asked = Caller(asked.lab, asked.identity, asked.key, digest_of(request, fields, data))
    with asked.lab.database.read() as conn:
        stored = asked.stored(conn)
    if stored is not None:
        return stored
    if len(data) <= MAX_BYTES:
        parsed = parse(asked.lab, name, data)
        key = run or run_key(name, data, parsed)
    else:
        parsed, key = None, run or name
    delivery = Delivery(_device(asked, device), key, name, data, plate.strip())
    kept = keep(asked.lab, delivery)
    if parsed is None:  # not reached: accept() refuses such a file
        raise Invalid("FILE_TOO_LARGE", "The file is too large.")

    def act(unit: Unit) -> dict[str, Any]:
        return handled_json(kept, *settle(unit, asked.lab.rules, kept.file_id, parsed))

    return asked.write("upload", act)


def _device(asked: Caller, named: str) -> str:
    """An instrument speaks for itself only; a person says which instrument the file is from."""
    if asked.identity.role is Role.INSTRUMENT:
        return asked.identity.name
    return named.strip()[:80] or f"{UPLOAD}{asked.identity.name}"


def handled_json(kept: Stored, ingested: Ingested, issued: Issued, held: tuple[Held, ...]) -> dict[str, Any]:
    """What became of a delivery, up to the reports it led to."""
    return {
        "file_id": kept.file_id,
        "status": kept.status,
        "first_stored_at": kept.first_stored_at,
        "conflict": kept.conflict,
        "state": ingested.state,
        "code": ingested.code,
        "sentence": ingested.sentence,
        "plate": ingested.plate_id,
        "run_id": ingested.run_id,
        "decisions": dict(ingested.decisions),
        "reports": {tube: list(numbers) for tube, numbers in issued.reports.items()},
        "held": {one.tube: [blocked.rule for blocked in one.blocked] for one in held},
    }


@router.get("/files", tags=["files"])
def list_files(
    asked: Asked, state: str = "", limit: Annotated[int, Query(ge=1, le=queries.PAGE)] = queries.PAGE
) -> Response:
    """Received files, newest first; of one state if named."""
    states = (state,) if state else ()
    return asked.read(
        "look", lambda conn: {"files": [file_json(row) for row in queries.files(conn, *states, limit=limit)]}
    )


@router.post("/files/{file_id}/retry", tags=["files"])
def retry_file(file_id: str, order: RetryIn, asked: Asked) -> Response:
    """Read a quarantined file again, for the plate it had or for another one."""
    asked.identity.must("quarantine")
    with asked.lab.database.read() as conn:
        row = queries.file_row(conn, file_id)
    if row is None:
        raise NotFound("FILE_UNKNOWN", "No such file was received.")
    parsed = parse(asked.lab, row["name"], row["content"])

    def act(unit: Unit) -> dict[str, Any]:
        inbox.retry(unit, file_id, order.plate.strip())
        kept = Stored(file_id, "stored", row["received_at"])
        return handled_json(kept, *settle(unit, asked.lab.rules, file_id, parsed))

    return asked.write("quarantine", act)


@router.post("/files/{file_id}/dismiss", tags=["files"])
def dismiss_file(file_id: str, order: ReasonIn, asked: Asked) -> Response:
    """A quarantined file is not needed; its bytes stay, with the reason."""

    def act(unit: Unit) -> dict[str, str]:
        inbox.dismiss(unit, file_id, order.reason)
        return {"file_id": file_id, "state": "dismissed"}

    return asked.write("quarantine", act)
