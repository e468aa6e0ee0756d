"""Devices, the codes they enrol with, and who did what to them."""

from __future__ import annotations

from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, bindparam, func, select

from lis.db import Prepared, under_way
from lis.queries.common import PAGE, Row, all_rows, one_row
from lis.schema import account, chain, device, device_act, enrolment, file


def devices(conn: Connection) -> list[Row]:
    """All devices by name; one without a key waits for its agent to enrol."""
    return all_rows(conn, select(device).order_by(device.c.name))


def device_row(conn: Connection, name: str) -> Row | None:
    """A device, or None."""
    return one_row(conn, select(device).where(device.c.name == name))


_ENROLLED: Final = Prepared(select(device.c.name, device.c.serial, device.c.revoked_at))
_INSTRUMENTS: Final = Prepared(select(account.c.name).where(account.c.role == "instrument"))


def cyclers(conn: Connection) -> list[tuple[str, str]]:
    """(name, serial) of everything that sends files by itself: devices, and accounts of instruments.

    A revoked device is still known by its name; its serial may belong to its successor.
    """
    with under_way(conn):
        enrolled, instruments = _ENROLLED.ask(conn), _INSTRUMENTS.ask(conn)
    found = [(name, "" if revoked_at else serial) for name, serial, revoked_at in enrolled.rows()]
    return [*found, *((name, "") for (name,) in instruments.rows())]


_OF_KEY: Final = Prepared(
    select(device.c.name).where(
        device.c.public_key == bindparam("key"),
        device.c.revoked_at.is_(None),
        device.c.key_until.is_(None) | (device.c.key_until > bindparam("now")),
    )
)
"""The bridge asks it about every device that speaks, every two seconds."""


def device_of_key(conn: Connection, public_key: str, now: datetime) -> str | None:
    """The device enrolled under a public key, unless it was revoked or the key has ended."""
    found = _OF_KEY.record(conn, key=public_key, now=now)
    return found["name"] if found else None


def key_was_enrolled(conn: Connection, public_key: str) -> bool:
    """Whether a key was ever enrolled, under whichever name."""
    found = select(device_act.c.act_id).where(device_act.c.public_key == public_key)
    return conn.execute(found.limit(1)).first() is not None


def enrolment_row(conn: Connection, digest: str) -> Row | None:
    """A code by its digest, or None."""
    return one_row(conn, select(enrolment).where(enrolment.c.digest == digest))


def open_codes(conn: Connection, now: datetime, name: str = "") -> list[Row]:
    """Codes that can still be used, of one device or of all, the oldest first."""
    found = select(enrolment).where(
        enrolment.c.used_at.is_(None), enrolment.c.cancelled_at.is_(None), enrolment.c.expires_at > now
    )
    if name:
        found = found.where(enrolment.c.device == name)
    return all_rows(conn, found.order_by(enrolment.c.issued_at, enrolment.c.digest))


def device_acts(conn: Connection, name: str = "", limit: int = PAGE) -> list[Row]:
    """What was done to a device, or to all, newest first."""
    found = select(device_act).order_by(device_act.c.act_id.desc()).limit(limit)
    return all_rows(conn, found.where(device_act.c.device == name) if name else found)


class Clocks(NamedTuple):
    """When a file was written by the clock of an instrument's PC (ISO text), and when it arrived."""

    device: str
    produced_at: str
    received_at: datetime


def last_clocks(conn: Connection, limit: int = 200) -> list[Clocks]:
    """The two times of the files that came last, newest first."""
    found = select(file.c.device, file.c.produced_at, file.c.received_at).where(file.c.produced_at != "")
    newest = found.order_by(file.c.received_at.desc()).limit(limit)
    return [Clocks(*row) for row in conn.execute(newest)]


def last_event_at(conn: Connection) -> datetime | None:
    """The latest time in the log, of a file, or of an act on a device."""
    latest = (func.max(column) for column in (chain.c.at, file.c.received_at, device_act.c.at))
    times = [conn.execute(select(one)).scalar_one() for one in latest]
    return max((at for at in times if at is not None), default=None)
