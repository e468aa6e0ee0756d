"""The API of the administrator about things: devices, sites, settings, copies of the data."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field
from sqlalchemy import Connection
from starlette.responses import Response

from lis import auth, config, laboratory, queries
from lis.db import Database, Unit
from lis.errors import LisError
from lis.services import admin, backups, devices, sites
from lis.web.commands import Asked, Caller, reply
from lis.web.enrolling import address_of, issue
from lis.web.payloads import Code, Payload, Words

router = APIRouter(prefix="/api/v1", tags=["administration"])

Hours = Annotated[float, Field(gt=0, le=744)]


class DeviceIn(Payload):
    """A device to add; the answer holds the one-time code its PC enrols with."""

    name: Words
    kind: Code = "cycler"
    serial: Code = ""
    hours: Hours = 24.0
    address: Code = ""


class CodeIn(Payload):
    """A device that gets a new code."""

    name: Words
    hours: Hours = 24.0
    address: Code = ""


class NamedIn(Payload):
    """A device by its name."""

    name: Words


class ExpiryIn(Payload):
    """In how many days a key ends; none = it does not end by itself."""

    name: Words
    days: Annotated[float, Field(gt=0, le=3650)] | None = None


class SiteIn(Payload):
    """A collection site."""

    code: Code
    name_zh: Words = ""
    name_en: Words = ""
    contact: Words = ""


class SiteChange(Payload):
    """What changes about a site; ``active`` no: it takes no more tubes."""

    name_zh: Words = ""
    name_en: Words = ""
    contact: Words = ""
    active: bool = True


class CopyIn(Payload):
    """A copy by its name."""

    name: Code


# -- devices --------------------------------------------------------------------------------------


@router.get("/devices")
def list_devices(asked: Asked) -> Response:
    """All devices with their keys, versions and open codes."""
    return asked.read("devices", lambda conn: {"devices": devices_document(asked, conn)})


def devices_document(asked: Caller, conn: Connection) -> list[dict[str, Any]]:
    """All devices; ``code_until`` is when an open code ends."""
    codes = {
        row["device"]: row["expires_at"] for row in queries.open_codes(conn, asked.lab.database.clock.now())
    }
    return [{**row, "code_until": codes.get(row["name"])} for row in queries.devices(conn)]


@router.post("/devices", status_code=201)
def add_device(order: DeviceIn, asked: Asked) -> Response:
    """Add a device; its one-time code is in the answer and nowhere else."""

    def act(unit: Unit) -> str:
        devices.add_device(unit, order.name, order.kind, order.serial)
        return order.name

    return _code(asked, order.address, order.hours, act, 201)


@router.post("/devices/rotate")
def rotate_device(order: CodeIn, asked: Asked) -> Response:
    """A new code for a device; its key works until the code is used."""
    return _code(asked, order.address, order.hours, lambda _: order.name)


def _code(asked: Caller, address: str, hours: float, act: Any, status: int = 200) -> Response:
    asked.must("devices")
    bridge = address_of(asked.lab, address)
    name, code, until = issue(asked.lab, bridge, hours, asked.identity.name, act)
    return reply({"device": name, "code": code, "expires_at": until, "bridge": bridge}, status)


@router.post("/devices/cancel")
def cancel_codes(order: NamedIn, asked: Asked) -> Response:
    """Make the open code of a device worthless."""
    return asked.write("devices", lambda unit: {"cancelled": devices.cancel_codes(unit, order.name)})


@router.post("/devices/revoke")
def revoke_device(order: NamedIn, asked: Asked) -> Response:
    """Stop taking anything from a device."""

    def act(unit: Unit) -> dict[str, str]:
        devices.revoke_device(unit, order.name)
        return {"device": order.name}

    return asked.write("devices", act)


@router.post("/devices/expire")
def expire_device(order: ExpiryIn, asked: Asked) -> Response:
    """End the key of a device in some days, or let it work on."""

    def act(unit: Unit) -> dict[str, Any]:
        until = unit.now + timedelta(days=order.days) if order.days is not None else None
        devices.set_expiry(unit, order.name, until)
        return {"device": order.name, "key_until": until}

    return asked.write("devices", act)


# -- sites and settings ---------------------------------------------------------------------------


@router.get("/sites")
def list_sites(asked: Asked) -> Response:
    """The collection sites that work; of those who work at one, that one."""

    def ask(conn: Connection) -> dict[str, Any]:
        own = asked.identity.site
        return {"sites": [row for row in queries.sites(conn, active=True) if own in ("", row["code"])]}

    return asked.read("register", ask)


@router.post("/sites", status_code=201)
def add_site(order: SiteIn, asked: Asked) -> Response:
    """Register a collection site."""

    def act(unit: Unit) -> dict[str, str]:
        sites.add_site(unit, sites.Site(order.code.strip(), order.name_zh, order.name_en, order.contact))
        return {"code": order.code.strip()}

    return asked.write("sites", act, 201)


@router.post("/sites/{code}")
def change_site(code: str, order: SiteChange, asked: Asked) -> Response:
    """Give a site another name or contact, close it or open it again."""

    def act(unit: Unit) -> dict[str, str]:
        sites.change_site(unit, sites.Site(code, order.name_zh, order.name_en, order.contact, order.active))
        return {"code": code}

    return asked.write("sites", act)


@router.get("/settings")
def list_settings(asked: Asked) -> Response:
    """Every setting in force, and where its value comes from."""
    asked.identity.must("administration")
    return reply({"settings": settings_document(asked)})


def settings_document(asked: Caller) -> list[dict[str, Any]]:
    """Every setting: value, source (default, file, environment, command) and meaning."""
    settings = asked.lab.settings
    sources = config.sources(settings)
    values = settings.model_dump(mode="json")
    if values["database"]:
        values["database"] = laboratory.masked_url(values["database"])
    return [
        {
            "name": name,
            "value": values[name],
            "source": sources[name],
            "environment": f"LIS_{name.upper()}",
            "meaning": field.description,
        }
        for name, field in type(settings).model_fields.items()
    ]


# -- copies of the data ---------------------------------------------------------------------------


@router.get("/backup")
def backup_state(asked: Asked) -> Response:
    """When the last copy was made, where and how large it is, and the copies made on screen."""
    asked.identity.must("administration")
    return reply(backup_document(asked))


def backup_document(asked: Caller) -> dict[str, Any]:
    """The state of the copies; ``same_disk``: they would be lost with the data."""
    settings = asked.lab.settings
    last = backups.last(settings)
    with asked.lab.database.read() as conn:
        checks = queries.admin_acts(conn, "backup")
    verified: dict[str, Any] = {}
    for row in reversed(checks):
        if row["act"] in {"verified", "damaged"}:
            verified[row["subject"]] = row
    folder = backups.folder_of(settings)
    return {
        "embedded": asked.lab.database.dialect == "sqlite",
        "last": last,
        "age_hours": (asked.lab.database.clock.now() - last["at"]).total_seconds() / 3600 if last else None,
        "folder": str(folder),
        "same_disk": backups.same_disk(settings),
        "copies": [
            {"name": one.name, "at": one.at, "bytes": one.bytes, "check": verified.get(one.name)}
            for one in backups.copies(settings)
        ],
    }


@router.post("/backup", status_code=201)
def make_backup(asked: Asked) -> Response:
    """Make a copy of the data and keys now, while the laboratory works."""
    asked.must("backup")
    settings = asked.lab.settings
    name = backups.new_name(asked.lab.database.clock.now())
    size = backups.make(asked.lab.database, settings, backups.folder_of(settings) / name)
    with asked.lab.database.write(asked.identity.name) as unit:
        auth.note(unit, "backup", name, "made", f"{size} bytes")
    return reply({"name": name, "bytes": size}, 201)


@router.post("/backup/verify")
def verify_backup(order: CopyIn, asked: Asked) -> Response:
    """Open a copy and fold its whole log, as after a restore; what was found is written down."""
    asked.must("backup")
    path = backups.path_of(asked.lab.settings, order.name) / backups.DATABASE
    found = _verified(path)
    with asked.lab.database.write(asked.identity.name) as unit:
        detail = f"{found['events']} events, {found['tubes']} tubes" if found["ok"] else str(found["problem"])
        auth.note(unit, "backup", order.name, "verified" if found["ok"] else "damaged", detail)
    return reply(found)


def _verified(path: Any) -> dict[str, Any]:
    copy = Database(f"sqlite:///{path}")
    try:
        with copy.read() as conn:
            return admin.verify_log(conn).as_json()
    except LisError as error:
        return {"events": 0, "tubes": 0, "ok": False, "problem": error.sentence}
    finally:
        copy.close()
