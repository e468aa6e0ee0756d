"""The API around the bench: sign-in, alarms, look-up of persons, health, metrics, verification."""

from __future__ import annotations

import logging
import shutil
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from lis import db, laboratory, queries
from lis.clock import to_text
from lis.db import Unit
from lis.errors import LisError, NotFound
from lis.laboratory import Laboratory
from lis.privacy import document_number
from lis.services import inbox
from lis.web.commands import Asked, identify, reply
from lis.web.payloads import DocumentIn, SignInIn, person_json, tube_json
from lis.web.sessions import Sessions

log = logging.getLogger(__name__)

router = APIRouter(prefix="/api/v1")
open_router = APIRouter()
"""Routes that anybody may ask: health, metrics, verification of a report."""

LITTLE_SPACE = 256 * 1024 * 1024
"""Free bytes below which the server is not ready."""


@router.post("/sign-in", tags=["account"])
def sign_in(order: SignInIn, request: Request) -> Response:
    """A sign-in: the secret for ``Authorization: Bearer``, also set as cookie, and the CSRF token."""
    sessions: Sessions = request.app.state.sessions
    signed = sessions.sign_in(order.name, order.password)
    who = signed.identity
    answer = reply(
        {
            "token": signed.secret,
            "csrf": who.csrf,
            "name": who.name,
            "full_name": who.full_name,
            "role": who.role.value,
        }
    )
    sessions.set_cookie(answer, signed.secret)
    return answer


@router.post("/sign-out", tags=["account"])
async def sign_out(request: Request) -> Response:
    """End this sign-in at once."""
    identity = await identify(request)
    sessions: Sessions = request.app.state.sessions
    secret, _ = sessions.secret_of(request)
    await run_in_threadpool(sessions.sign_out, secret, identity.name)
    answer = reply({"signed_out": True})
    answer.delete_cookie(sessions.cookie, path="/", secure=request.app.state.lab.settings.secure_cookies)
    return answer


@router.get("/me", tags=["account"])
def who_am_i(asked: Asked) -> Response:
    """Name and role of the caller."""
    who = asked.identity
    return reply(
        {"name": who.name, "full_name": who.full_name, "role": who.role.value, "purpose": who.purpose}
    )


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
    _looked(request, asked.identity.name, "search", row["person_id"] if row else "nobody")
    if row is None:
        raise NotFound("PERSON_UNKNOWN", "Nobody with this document was registered here. Check the number.")
    return reply({"person": person_json(row, full=True), "tubes": [tube_json(tube) for tube in tubes]})


@router.post("/persons/{person_id}/contact", tags=["persons"])
def open_contact(person_id: str, asked: Asked, request: Request) -> Response:
    """Name, document and phone of a person in clear, to call them back; logged and counted."""
    asked.identity.must("person")
    with asked.lab.database.read() as conn:
        row = queries.people(conn, [person_id]).get(person_id)
    _looked(request, asked.identity.name, "contact", person_id[:40])
    if row is None:
        raise NotFound("PERSON_UNKNOWN", "No such person was registered here.")
    vault = asked.lab.vault
    return reply(
        {
            "person_id": person_id,
            "name": row["name"],
            "document_type": row["document_type"],
            "document": vault.open(row["document_sealed"]),
            "phone": vault.open(row["phone_sealed"]),
        }
    )


def _looked(request: Request, actor: str, how: str, person_id: str) -> None:
    request.app.state.metrics.lookups.labels(how).inc()
    log.info("personal data looked up: %s by %s (%s)", person_id, actor, how)


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
