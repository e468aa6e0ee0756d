"""Whole tables for export, serial numbers, and the small writes that are not tube state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, insert, select, update

from lis.db import insert_many
from lis.schema import (
    account,
    alarm,
    amendment,
    counter,
    device,
    event,
    file,
    file_status,
    idempotency,
    person,
    plate,
    plate_well,
    pool_member,
    reading,
    recall,
    report,
    rulebook,
    run,
    ticket,
    tube,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


def dump(conn: Connection, what: str) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """Column names and rows of an exportable table, in the order they were written."""
    table, order = {
        "tubes": (tube, tube.c.tube_id),
        "events": (event, event.c.event_id),
        "reports": (report, report.c.report_id),
        "plates": (plate, plate.c.created_at),
        "runs": (run, run.c.read_at),
    }[what]
    found = conn.execute(select(table).order_by(order).execution_options(yield_per=1000))
    return list(found.keys()), (tuple(row) for row in found)


def count_of(conn: Connection, table: str) -> int:
    """Number of rows of a table."""
    return conn.execute(select(func.count()).select_from(_TABLES[table])).scalar_one()


_TABLES = {
    "pool_member": pool_member,
    "event": event,
    "tube": tube,
    "person": person,
    "plate": plate,
    "plate_well": plate_well,
    "run": run,
    "reading": reading,
    "report": report,
    "recall": recall,
    "file": file,
    "alarm": alarm,
    "amendment": amendment,
}


def next_number(conn: Connection, name: str) -> int:
    """The next serial number of a series; the writer's turn makes it unique."""
    return next_numbers(conn, name, 1)[0]


def next_numbers(conn: Connection, name: str, count: int) -> range:
    """The next ``count`` serial numbers of a series, taken in one go."""
    step = update(counter).where(counter.c.name == name).values(value=counter.c.value + count)
    if not conn.execute(step).rowcount:
        conn.execute(insert(counter).values(name=name, value=count))
    last: int = conn.execute(select(counter.c.value).where(counter.c.name == name)).scalar_one()
    return range(last - count + 1, last + 1)


def insert_rows(conn: Connection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows to a table that is not tube state."""
    insert_many(conn, _WRITABLE[table], rows)


def update_row(conn: Connection, table: str, key: Mapping[str, Any], **values: Any) -> int:
    """Change the rows of a table (not tube state, not evidence) that match ``key``; how many did."""
    target = _WRITABLE[table]
    statement = update(target).where(*(target.c[name] == value for name, value in key.items()))
    return conn.execute(statement.values(**values)).rowcount


def delete_rows(conn: Connection, table: str, key: Mapping[str, Any]) -> int:
    """Remove rows of a table of credentials; how many."""
    target = {"ticket": ticket}[table]
    return conn.execute(
        target.delete().where(*(target.c[name] == value for name, value in key.items()))
    ).rowcount


_WRITABLE = {
    "account": account,
    "alarm": alarm,
    "device": device,
    "file": file,
    "file_status": file_status,
    "idempotency": idempotency,
    "plate": plate,
    "plate_well": plate_well,
    "reading": reading,
    "report": report,
    "rulebook": rulebook,
    "run": run,
    "ticket": ticket,
}
