"""The API of the registers that quality keeps: reagent lots, corrective actions, what was taken out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from pydantic import Field
from starlette.responses import Response

from lis import queries
from lis.services import actions, lots
from lis.web.commands import Asked
from lis.web.payloads import Code, Payload, Words

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from sqlalchemy import Connection

    from lis.db import Unit

router = APIRouter(prefix="/api/v1", tags=["quality"])


class LotIn(Payload):
    """A lot as the box says; it may be used through the whole day of its expiry."""

    kind: Code
    number: Code
    assay: Code = ""
    expires: date
    detail: Words = ""


class LotActIn(Payload):
    """What was done with a lot, and why."""

    kind: Code
    number: Code
    detail: Words = ""


def end_of(day: date, zone: ZoneInfo) -> datetime:
    """The first moment after a day of the laboratory."""
    return datetime.combine(day + timedelta(days=1), time(), zone)


@router.get("/lots")
def list_lots(asked: Asked) -> Response:
    """Every registered lot, those in use first, the one that expires first at the head."""

    def ask(conn: Connection) -> dict[str, Any]:
        now = asked.lab.database.clock.now()
        return {"lots": [asdict(one) for one in lots.register_of(conn, now)]}

    return asked.read("look", ask)


@router.get("/lots/{kind}/{number}/acts")
def list_lot_acts(kind: str, number: str, asked: Asked) -> Response:
    """Everything that was done with a lot, oldest first."""
    return asked.read("look", lambda conn: {"acts": queries.lot_acts(conn, kind, number)})


@router.post("/lots", status_code=201)
def receive_lot(order: LotIn, asked: Asked) -> Response:
    """Put a lot that arrived on the register."""

    def act(unit: Unit) -> dict[str, Any]:
        end = end_of(order.expires, asked.lab.zone)
        lots.receive(unit, order.kind, order.number, order.assay, end, order.detail)
        return {"kind": order.kind, "number": order.number, "expires_at": end.astimezone(UTC)}

    return asked.write("lots", act, 201)


@router.post("/lots/open")
def open_lot(order: LotActIn, asked: Asked) -> Response:
    """Note that a lot was opened."""

    def act(unit: Unit) -> dict[str, Any]:
        lots.open_lot(unit, order.kind, order.number, order.detail)
        return {"kind": order.kind, "number": order.number, "opened_by": unit.actor}

    return asked.write("lots", act)


@router.post("/lots/finish")
def finish_lot(order: LotActIn, asked: Asked) -> Response:
    """Note that a lot is used up or thrown away."""

    def act(unit: Unit) -> dict[str, Any]:
        lots.finish(unit, order.kind, order.number, order.detail)
        return {"kind": order.kind, "number": order.number, "finished_by": unit.actor}

    return asked.write("lots", act)


# -- corrective actions ---------------------------------------------------------------------------


class ActionIn(Payload):
    """What a corrective action is about, and what was found and done."""

    about: Code
    subject: Code
    detail: str = Field(max_length=actions.LONGEST)


class NoteIn(Payload):
    """What else was done, what it led to, or why it is closed."""

    detail: str = Field(max_length=actions.LONGEST)


@router.get("/actions")
def list_actions(asked: Asked) -> Response:
    """Corrective actions, open ones first, each with its notes."""
    return asked.read("look", lambda conn: {"actions": [action_json(one) for one in actions.actions(conn)]})


def action_json(one: actions.Action) -> dict[str, Any]:
    """One corrective action."""
    names = ("seq", "at", "actor", "act", "detail")
    return {
        "action": one.action_id,
        "about": one.about,
        "subject": one.subject,
        "opened_at": one.opened_at,
        "open": one.open,
        "effect": one.effect,
        "notes": [_named(note, names) for note in one.notes],
    }


def _named(row: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: row[name] for name in names}


@router.post("/actions", status_code=201)
def open_action(order: ActionIn, asked: Asked) -> Response:
    """Begin a corrective action about a chart point, run, plate, alarm or lot."""

    def act(unit: Unit) -> dict[str, Any]:
        number = actions.open_action(unit, order.about, order.subject, order.detail)
        return action_json(actions.known(unit.conn, number))

    return asked.write("correct", act, 201)


@router.post("/actions/{action_id}/notes", status_code=201)
def note_action(action_id: int, order: NoteIn, asked: Asked) -> Response:
    """Write what else was done."""
    return asked.write("correct", lambda unit: action_json(actions.note(unit, action_id, order.detail)), 201)


@router.post("/actions/{action_id}/effect", status_code=201)
def effect_of_action(action_id: int, order: NoteIn, asked: Asked) -> Response:
    """Write what it led to."""

    def act(unit: Unit) -> dict[str, Any]:
        return action_json(actions.note(unit, action_id, order.detail, effect=True))

    return asked.write("correct", act, 201)


@router.post("/actions/{action_id}/close")
def close_action(action_id: int, order: NoteIn, asked: Asked) -> Response:
    """Agree that it helped: the second signature."""
    return asked.write("quality", lambda unit: action_json(actions.close(unit, action_id, order.detail)))


@router.post("/actions/{action_id}/reopen")
def reopen_action(action_id: int, order: NoteIn, asked: Asked) -> Response:
    """Take a closed action up again."""
    return asked.write("correct", lambda unit: action_json(actions.reopen(unit, action_id, order.detail)))
