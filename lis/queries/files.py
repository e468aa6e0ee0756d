"""What instruments sent, what became of it, and alarms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, bindparam, func, select

from lis.db import Prepared, under_way
from lis.errors import Damaged
from lis.packing import NotPacked, unpacked
from lis.queries.common import PAGE, Row, all_rows, one_row
from lis.schema import alarm, amendment, file, file_status, plate, recall

_FILE: Final = Prepared(select(file).where(file.c.file_id == bindparam("which")), binary=True)
_HEAD: Final = Prepared(
    select(*(column for column in file.c if column.name != "content")).where(
        file.c.file_id == bindparam("which")
    )
)
_STATUS: Final = Prepared(select(file_status).where(file_status.c.file_id == bindparam("which")))
_SAME_RUN: Final = Prepared(
    select(file.c.file_id, file.c.sha256, file.c.received_at)
    .where(file.c.device == bindparam("from_device"), file.c.run == bindparam("of_run"))
    .order_by(file.c.received_at)
)


def file_row(conn: Connection, file_id: str) -> Row | None:
    """A received file with its content as it came, or None.

    Raises:
        Damaged: ``FILE_CHANGED``: what is kept is not what was packed.
    """
    row = _FILE.record(conn, which=file_id)
    if row is not None:
        try:
            row["content"] = unpacked(row["content"], row["size"])
        except NotPacked as error:
            raise Damaged(
                "FILE_CHANGED",
                f"File {file_id[:12]} ({row['name']}) is not in the database as it was received ({error}). "
                "Have the instrument send it again under another run, or take it from a copy, and run "
                "`lis verify-log` to see what else was changed.",
            ) from error
    return row


def file_to_read(conn: Connection, file_id: str) -> tuple[Row | None, Row | None]:
    """A received file without its content, and what became of it."""
    with under_way(conn):
        head, status = _HEAD.ask(conn, which=file_id), _STATUS.ask(conn, which=file_id)
    return head.record(), status.record()


def status_of_file(conn: Connection, file_id: str) -> Row | None:
    """What became of a file, or None."""
    return _STATUS.record(conn, which=file_id)


def files(conn: Connection, *states: str, limit: int = PAGE) -> list[Row]:
    """Received files (without content) in these states, newest first; ``loaded``: their plate's cycler."""
    columns = [column for column in file.c if column.name not in {"content", "plate_id"}]
    known = func.coalesce(func.nullif(file_status.c.plate_id, ""), file.c.plate_id).label("plate_id")
    about = (file_status.c.state, file_status.c.code, file_status.c.reason, file_status.c.run_id)
    found = (
        select(*columns, known, *about, func.coalesce(plate.c.instrument, "").label("loaded"))
        .join(file_status, file_status.c.file_id == file.c.file_id)
        .outerjoin(plate, plate.c.plate_id == known)
    )
    if states:
        found = found.where(file_status.c.state.in_(states))
    return all_rows(conn, found.order_by(file.c.received_at.desc(), file.c.file_id).limit(limit))


def files_beginning(conn: Connection, begins: str) -> list[str]:
    """Ids of received files that begin so, two at most: an id is 64 hexadecimal digits."""
    found = select(file.c.file_id).where(file.c.file_id.startswith(begins, autoescape=True))
    return list(conn.execute(found.order_by(file.c.file_id).limit(2)).scalars())


def waiting_files(conn: Connection) -> list[str]:
    """Files received but not yet read (after a crash), oldest first."""
    found = (
        select(file.c.file_id)
        .join(file_status, file_status.c.file_id == file.c.file_id)
        .where(file_status.c.state == "waiting")
        .order_by(file.c.received_at, file.c.file_id)
    )
    return list(conn.execute(found).scalars())


def waiting_since(conn: Connection) -> datetime | None:
    """When the oldest file arrived that was not read yet."""
    found = select(func.min(file.c.received_at)).join(file_status, file_status.c.file_id == file.c.file_id)
    oldest: datetime | None = conn.execute(found.where(file_status.c.state == "waiting")).scalar_one()
    return oldest


def states_of_runs(
    conn: Connection, device_names: Collection[str], since: datetime
) -> Counter[tuple[str, str]]:
    """(state, code) -> how many files of these devices arrived since then."""
    about = (file_status.c.state, file_status.c.code)
    found = select(*about, func.count()).join(file_status, file_status.c.file_id == file.c.file_id)
    mine = file.c.device.in_(list(device_names)) & (file.c.received_at >= since)
    return Counter({(row[0], row[1]): row[2] for row in conn.execute(found.where(mine).group_by(*about))})


def same_run(conn: Connection, device_name: str, run_name: str) -> list[Row]:
    """Files of one run of one device, without content."""
    return _SAME_RUN.records(conn, from_device=device_name, of_run=run_name)


def queue_depths(conn: Connection) -> dict[str, int]:
    """What waits for a person besides tubes: recalls, alarms, proposed corrections, files."""
    proposed = select(func.count()).select_from(amendment).where(amendment.c.closed_at.is_(None))
    recalls = select(func.count()).select_from(recall).where(recall.c.closed_at.is_(None))
    alarms = select(func.count()).select_from(alarm).where(alarm.c.cleared_at.is_(None))
    states = select(file_status.c.state, func.count()).where(
        file_status.c.state.in_(("waiting", "quarantined"))
    )
    counted = {row.state: row[1] for row in conn.execute(states.group_by(file_status.c.state))}
    return {
        "recalls": conn.execute(recalls).scalar_one(),
        "alarms": conn.execute(alarms).scalar_one(),
        "amendments": conn.execute(proposed).scalar_one(),
        "quarantined": counted.get("quarantined", 0),
        "waiting": counted.get("waiting", 0),
    }


def open_alarms(conn: Connection, limit: int = PAGE) -> list[Row]:
    """Alarms nobody has cleared, newest first."""
    found = (
        select(alarm).where(alarm.c.cleared_at.is_(None)).order_by(alarm.c.at.desc(), alarm.c.alarm_id.desc())
    )
    return all_rows(conn, found.limit(limit))


def alarm_row(conn: Connection, alarm_id: int) -> Row | None:
    """An alarm, cleared or not, or None."""
    return one_row(conn, select(alarm).where(alarm.c.alarm_id == alarm_id))


def all_file_ids(conn: Connection) -> list[str]:
    """Every file ever received."""
    return list(conn.execute(select(file.c.file_id).order_by(file.c.received_at, file.c.file_id)).scalars())
