"""The API of the duty plan: who is on, who is absent, which machines are out of service."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import AwareDatetime, Field
from sqlalchemy import Connection
from starlette.responses import Response

from lis.db import Unit
from lis.services import capacity, duty
from lis.web.commands import Asked
from lis.web.payloads import Payload

router = APIRouter(prefix="/api/v1/duty", tags=["duty"])

LEARN_DAYS = 14

Name = Annotated[str, Field(max_length=80)]
Why = Annotated[str, Field(max_length=duty.MOST_REASON)]


class PlanIn(Payload):
    """A duty plan as text (TOML)."""

    text: Annotated[str, Field(min_length=1, max_length=duty.MOST_TEXT)]


class AbsenceIn(Payload):
    """People of a station who are not there; ``since`` is now if left out."""

    role: Name
    people: int
    until: AwareDatetime
    since: AwareDatetime | None = None
    shift: Name = ""
    reason: Why = ""


class OutageIn(Payload):
    """A cycler, or a machine of the plan, that is out of service.

    ``since`` is now if left out; it may lie ahead (maintenance) where ``expected`` says when it ends.
    """

    instrument: Name
    since: AwareDatetime | None = None
    expected: AwareDatetime | None = None
    reason: Why = ""


class InstrumentIn(Payload):
    """An instrument that is back."""

    instrument: Name


@router.get("")
def get_duty(asked: Asked) -> Response:
    """The plan in force, who is absent, what is out of service, who was seen at work by hour of the day."""
    now, zone = asked.lab.database.clock.now(), asked.lab.zone

    def ask(conn: Connection) -> dict[str, Any]:
        seen = capacity.by_hour(conn, zone, now - timedelta(days=LEARN_DAYS), now)
        return duty.document(conn, now, zone) | {"learned": seen}

    return asked.read("look", ask)


@router.post("/plan", status_code=201)
def post_plan(asked: Asked, body: PlanIn) -> Response:
    """Put a plan in force from its first day on; a wrong one is refused with the key and the reason."""
    plan = duty.read_plan(body.text)
    return asked.write(
        "duty", lambda unit: {"act": duty.set_plan(unit, plan), "from": plan.since.isoformat()}, 201
    )


@router.post("/absences", status_code=201)
def post_absence(asked: Asked, body: AbsenceIn) -> Response:
    """People are not there between two times."""

    def act(unit: Unit) -> dict[str, Any]:
        between = (body.since or unit.now, body.until)
        return {"absence": duty.absent(unit, body.role, body.people, between, body.reason, body.shift)}

    return asked.write("attend", act, 201)


@router.post("/absences/{number}/back")
def post_back(asked: Asked, number: int) -> Response:
    """The people of an absence are back."""

    def act(unit: Unit) -> dict[str, Any]:
        duty.back(unit, number)
        return {"absence": number, "ended_at": unit.now}

    return asked.write("attend", act)


@router.post("/outages", status_code=201)
def post_outage(asked: Asked, body: OutageIn) -> Response:
    """A cycler, or a machine of the plan, is out of service, or will be for maintenance."""

    def act(unit: Unit) -> dict[str, Any]:
        number = duty.out_of_service(unit, body.instrument, body.since, body.expected, body.reason)
        return {"act": number, "instrument": body.instrument}

    return asked.write("attend", act, 201)


@router.post("/outages/back")
def post_in_service(asked: Asked, body: InstrumentIn) -> Response:
    """A machine is back in service, or its maintenance is called off."""

    def act(unit: Unit) -> dict[str, Any]:
        duty.back_in_service(unit, body.instrument)
        return {"instrument": body.instrument, "back_at": unit.now}

    return asked.write("attend", act)
