"""The API around the bench: alarms, look-up of persons, health, metrics, verification."""

from __future__ import annotations

import logging
import shutil
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from sqlalchemy import Connection
from starlette.responses import JSONResponse, Response

from lis import db, laboratory, ledger, queries
from lis.clock import to_text
from lis.db import Unit
from lis.errors import LisError, NotFound
from lis.laboratory import Laboratory
from lis.privacy import document_number
from lis.services import disclosure, inbox
from lis.web.commands import Asked, Caller, reply
from lis.web.payloads import DocumentIn, WhyIn, person_json, tube_json

log = logging.getLogger(__name__)

router = APIRouter(prefix="/api/v1")
open_router = APIRouter()
"""Routes that anybody may ask: health, metrics, verification of a report."""

LITTLE_SPACE = 256 * 1024 * 1024
"""Free bytes below which the server is not ready."""


# -- alarms and persons --------------------------------------------------------------------------


@router.get("/alarms", tags=["worklists"])
def list_alarms(asked: Asked) -> Response:
    """Alarms nobody has cleared, newest first."""
    return asked.read(
        "look", lambda conn: {"alarms": [alarm_json(row) for row in laboratory.alarms(asked.lab, conn)]}
    )


def alarm_json(row: Any) -> dict[str, Any]:
    """One open alarm."""
    return {name: row[name] for name in ("alarm_id", "at", "code", "subject", "sentence")}


@router.post("/alarms/{alarm_id}/clear", tags=["worklists"])
def clear_alarm(alarm_id: int, asked: Asked) -> Response:
    """Somebody has seen to an alarm."""

    def act(unit: Unit) -> dict[str, Any]:
        inbox.clear_alarm(unit, alarm_id)
        return {"alarm_id": alarm_id, "cleared_by": unit.actor}

    return asked.write("hold", act)


@router.post("/persons/search", tags=["persons"])
def find_person(order: DocumentIn, asked: Asked, request: Request) -> Response:
    """The tubes of the person with this document; who looked is logged and counted."""
    asked.identity.must("person")
    number = document_number(order.document_type, order.document_number)
    fingerprint = asked.lab.vault.fingerprint(f"{order.document_type}:{number}")
    with asked.lab.database.read() as conn:
        row = queries.person_by_fingerprint(conn, fingerprint)
        tubes = queries.tubes_of_person(conn, row["person_id"]) if row else []
    _disclose(request, asked, "search", "document", order.reason, [row["person_id"]] if row else [])
    if row is None:
        raise NotFound("PERSON_UNKNOWN", "Nobody with this document was registered here. Check the number.")
    return reply({"person": person_json(row, full=True), "tubes": [tube_json(tube) for tube in tubes]})


@router.post("/persons/{person_id}/contact", tags=["persons"])
def open_contact(person_id: str, order: WhyIn, asked: Asked, request: Request) -> Response:
    """Name, document and phone of a person in clear, to call them back; written down.

    Who works at a collection site calls the persons of that site, as long as a new swab is awaited.
    """
    asked.identity.must("call")
    with asked.lab.database.read() as conn:
        row = queries.people(conn, [person_id]).get(person_id)
        if asked.identity.site and not queries.waiting_at(conn, asked.identity.site, person_id):
            row = None
    if row is None:
        raise NotFound("PERSON_UNKNOWN", "No such person was registered here.")
    _disclose(request, asked, "contact", "call-back", order.reason, [person_id])
    return reply(in_clear(asked.lab, row))


@router.post("/tubes/{barcode}/unmask", tags=["persons"])
def unmask_tube(barcode: str, order: WhyIn, asked: Asked, request: Request) -> Response:
    """The persons of a tube in clear, for a reason; who, when and why are written down first."""
    asked.identity.must("unmask")
    with asked.lab.database.read() as conn:
        tube = ledger.known(conn, barcode)
        ids = queries.persons_in(conn, tube.tube_id)
        rows = queries.people(conn, ids)
    _disclose(request, asked, "unmask", tube.tube_id, order.reason, ids)
    return reply({"tube": tube.tube_id, "people": [in_clear(asked.lab, rows[one]) for one in ids]})


def in_clear(lab: Laboratory, row: queries.Row) -> dict[str, Any]:
    """A person with nothing masked."""
    return {
        "person_id": row["person_id"],
        "name": row["name"],
        "document_type": row["document_type"],
        "document": lab.vault.open(row["document_sealed"]),
        "phone": lab.vault.open(row["phone_sealed"]),
    }


def _disclose(
    request: Request, asked: Caller, act: disclosure.Act, subject: str, reason: str, ids: list[str]
) -> None:
    """Written down and committed before anything is shown."""
    with asked.lab.database.write(asked.identity.name) as unit:
        disclosure.disclose(unit, act, subject, reason, ids)
    request.app.state.metrics.lookups.labels(act).inc()
    log.info("personal data shown: %s of %s by %s", act, ", ".join(ids) or "nobody", asked.identity.name)


@router.get("/calls", tags=["persons"])
def list_calls(asked: Asked) -> Response:
    """Persons to call back, most urgent first, names masked; of the own site for those who work at one."""
    return asked.read("call", lambda conn: {"calls": calls_document(asked, conn)})


def calls_document(asked: Caller, conn: Connection) -> list[dict[str, Any]]:
    """Who is to be called back. Why is no business of a collection site: it would tell a result."""
    sees = asked.identity.may("look")
    found = []
    for row in queries.recalls_of_site(conn, asked.identity.site):
        masked = person_json({**row, "document_type": ""}, full=False)
        one = {name: masked[name] for name in ("person_id", "name", "document", "phone")}
        one |= {
            "tube": row["tube_id"],
            "site": row["site"],
            "due": row["due_at"],
            "opened_at": row["opened_at"],
        }
        found.append(one | ({"reason": row["reason"]} if sees else {}))
    return found


@router.get("/disclosures", tags=["persons"])
def list_disclosures(
    asked: Asked,
    actor: Annotated[str, Query(max_length=80)] = "",
    person: Annotated[str, Query(max_length=40)] = "",
    after: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    """Who saw personal data in clear, or took data out: newest first, of one account or about one person."""
    return asked.read(
        "disclosures",
        lambda conn: {"disclosures": queries.disclosures(conn, actor=actor, person_id=person, after=after)},
    )


# -- open to anybody -----------------------------------------------------------------------------


@open_router.get("/healthz", tags=["server"])
def healthz(request: Request) -> Response:
    """200 when the server can work: database reachable, at its newest schema, taking writes; space left."""
    lab: Laboratory = request.app.state.lab
    checks = {
        "database": _database(lab, request.app.state.revision),
        "disk": _disk(lab),
        "writes": _writes(lab),
    }
    ready = all(found["ok"] for found in checks.values())
    return JSONResponse({"live": True, "ready": ready, "checks": checks}, 200 if ready else 503)


def _database(lab: Laboratory, newest: str) -> dict[str, Any]:
    try:
        with lab.database.read() as conn:
            at = db.revision(conn)
    except LisError as error:
        return {"ok": False, "code": error.code}
    return {"ok": at == newest, "schema": at, "newest": newest, "kind": lab.database.dialect}


def _disk(lab: Laboratory) -> dict[str, Any]:
    try:
        free = shutil.disk_usage(lab.settings.data).free
    except OSError:
        return {"ok": False, "free_bytes": 0}
    return {"ok": free >= LITTLE_SPACE, "free_bytes": free}


def _writes(lab: Laboratory) -> dict[str, Any]:
    trouble = lab.database.trouble
    if trouble is None:
        return {"ok": True}
    return {"ok": False, "code": trouble.code, "since": to_text(trouble.since), "sentence": trouble.sentence}


@open_router.get("/metrics", tags=["server"])
def metrics(request: Request) -> Response:
    """Counters and gauges for Prometheus."""
    body, media = request.app.state.metrics.text()
    return Response(body, media_type=media)


@open_router.get("/api/v1/verify/{report_id}", tags=["reports"])
def verify_json(
    report_id: str, request: Request, seal: Annotated[str, Query(max_length=64)] = ""
) -> Response:
    """Whether this laboratory issued such a report; nothing about the person."""
    return reply(verified(request.app.state.lab, report_id, seal))


def verified(lab: Laboratory, report_id: str, seal: str) -> dict[str, Any]:
    """What a stranger with the printed report may know: genuine or not, result, whether corrected."""
    with lab.database.read() as conn:
        row = queries.report_row(conn, report_id)
        later = queries.amended_by(conn, report_id) if row else ""
    if row is None or len(seal) < SEAL_CHARACTERS or not row["seal"].startswith(seal.lower()):
        return {"genuine": False, "report_id": report_id[:40]}
    return {
        "genuine": True,
        "report_id": report_id,
        "result": row["result"],
        "mode": row["mode"],
        "issued_at": row["issued_at"],
        "sampled_at": row["sampled_at"],
        "corrected": bool(later),
        "corrects": row["amends"],
        "laboratory": lab.settings.laboratory,
        "laboratory_zh": lab.settings.laboratory_zh,
    }


SEAL_CHARACTERS = 16
"""Digits of the seal that the QR code carries."""
