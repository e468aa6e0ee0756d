"""Live fluorescence of running plates, cycle by cycle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, delete, func, select

from lis.db import insert_many
from lis.queries.common import Row, all_rows
from lis.schema import live_read, plate, reading, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime


def keep_live(conn: Connection, row: Row) -> bool:
    """Keep one cycle of one dye; False when it is there already, which happens when a sender starts anew."""
    same = (live_read.c[name] == row[name] for name in ("device", "run", "dye", "cycle"))
    if conn.execute(select(live_read.c.cycle).where(*same)).first() is not None:
        return False
    insert_many(conn, live_read, [row])
    return True


def live_frames(conn: Connection, plate_id: str) -> list[Row]:
    """Every cycle of every dye of the newest run of a plate that is read live, by dye and cycle."""
    newest = (
        select(live_read.c.device, live_read.c.run)
        .where(live_read.c.plate_id == plate_id)
        .order_by(live_read.c.received_at.desc(), live_read.c.cycle.desc())
        .limit(1)
    )
    found = conn.execute(newest).first()
    if found is None:
        return []
    frames = (
        select(live_read)
        .where(
            live_read.c.plate_id == plate_id, live_read.c.device == found.device, live_read.c.run == found.run
        )
        .order_by(live_read.c.dye, live_read.c.cycle)
    )
    return all_rows(conn, frames)


def live_plates(conn: Connection) -> list[str]:
    """Running plates of which live readings have come."""
    found = (
        select(plate.c.plate_id)
        .join(live_read, live_read.c.plate_id == plate.c.plate_id)
        .where(plate.c.state == "running")
        .distinct()
        .order_by(plate.c.plate_id)
    )
    return list(conn.execute(found).scalars())


def running_in(conn: Connection, device: str) -> list[str]:
    """Plates that were loaded into a cycler and are not read yet."""
    found = select(plate.c.plate_id).where(plate.c.state == "running", plate.c.instrument == device)
    return list(conn.execute(found).scalars())


def forget_live(conn: Connection, before: datetime) -> int:
    """Delete live readings that came before a moment; how many."""
    return conn.execute(delete(live_read).where(live_read.c.received_at < before)).rowcount


def dyes_seen(conn: Connection, assay: str) -> Sequence[tuple[str, str]]:
    """(target, dye) as the newest run of an assay named them."""
    newest = (
        select(run.c.run_id)
        .join(plate, plate.c.plate_id == run.c.plate_id)
        .where(plate.c.assay == assay)
        .order_by(run.c.read_at.desc())
        .limit(1)
        .scalar_subquery()
    )
    found = (
        select(reading.c.target, reading.c.dye, func.count())
        .where(reading.c.run_id == newest, reading.c.dye != "")
        .group_by(reading.c.target, reading.c.dye)
        .order_by(reading.c.target, reading.c.dye)
    )
    return [(target, dye) for target, dye, _ in conn.execute(found)]


def model_of(conn: Connection, device: str) -> str:
    """What the newest file of a cycler calls its model; empty before its first."""
    found = select(run.c.instrument).where(run.c.device == device).order_by(run.c.read_at.desc()).limit(1)
    return conn.execute(found).scalar() or ""
