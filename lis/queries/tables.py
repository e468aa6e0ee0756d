"""Whole tables for export, serial numbers, and the small writes that are not tube state."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, bindparam, func, select, update

from lis.db import Asked, Prepared, insert_many
from lis.schema import (
    account,
    alarm,
    amendment,
    attempt,
    collection_site,
    counter,
    device,
    duty_act,
    duty_break,
    duty_exception,
    duty_machine,
    duty_shift,
    enrolment,
    event,
    file,
    file_status,
    forecast,
    forecast_advice,
    forecast_score,
    forecast_tube,
    idempotency,
    label_act,
    person,
    plate,
    plate_well,
    pool_member,
    print_job,
    quality_point,
    quality_target,
    reading,
    recall,
    report,
    rule_draft,
    rulebook,
    run,
    station,
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
    "quality_point": quality_point,
    "quality_target": quality_target,
    "reading": reading,
    "report": report,
    "recall": recall,
    "file": file,
    "forecast": forecast,
    "forecast_tube": forecast_tube,
    "alarm": alarm,
    "amendment": amendment,
}


def next_number(conn: Connection, name: str) -> int:
    """The next serial number of a series; the writer's turn makes it unique."""
    return next_numbers(conn, name, 1)[0]


_STEP: Final = Prepared(
    update(counter)
    .where(counter.c.name == bindparam("series"))
    .values(value=counter.c.value + bindparam("count"))
)
_LAST: Final = Prepared(select(counter.c.value).where(counter.c.name == bindparam("series")))


def next_numbers(conn: Connection, name: str, count: int) -> range:
    """The next ``count`` serial numbers of a series, taken in one go."""
    if not _STEP.run(conn, series=name, count=count):
        insert_many(conn, counter, [{"name": name, "value": count}])
    ((last,),) = _LAST.rows(conn, series=name)
    return range(last - count + 1, last + 1)


def insert_rows(conn: Connection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows to a table that is not tube state."""
    insert_many(conn, _WRITABLE[table], rows)


def update_row(conn: Connection, table: str, key: Mapping[str, Any], **values: Any) -> int:
    """Change the rows of a table (not tube state, not evidence) that match ``key``; how many did."""
    return _change(conn, table, key, values).touched()


def set_row(conn: Connection, table: str, key: Mapping[str, Any], **values: Any) -> None:
    """The same for a row that is known to be there; may be :func:`lis.db.under_way`."""
    _change(conn, table, key, values)


def _change(conn: Connection, table: str, key: Mapping[str, Any], values: Mapping[str, Any]) -> Asked:
    given = {f"key_{name}": value for name, value in key.items()}
    given |= {f"new_{name}": value for name, value in values.items()}
    return _changing(table, tuple(key), tuple(values)).ask(conn, **given)


@lru_cache(maxsize=64)
def _changing(table: str, key: tuple[str, ...], names: tuple[str, ...]) -> Prepared:
    target = _WRITABLE[table]
    matching = update(target).where(*(target.c[name] == bindparam(f"key_{name}") for name in key))
    return Prepared(matching.values({name: bindparam(f"new_{name}") for name in names}))


def delete_rows(conn: Connection, table: str, key: Mapping[str, Any]) -> int:
    """Remove rows of a table of credentials; how many."""
    target = {"ticket": ticket, "attempt": attempt}[table]
    return conn.execute(
        target.delete().where(*(target.c[name] == value for name, value in key.items()))
    ).rowcount


_WRITABLE = {
    "account": account,
    "alarm": alarm,
    "attempt": attempt,
    "collection_site": collection_site,
    "device": device,
    "duty_act": duty_act,
    "duty_break": duty_break,
    "duty_exception": duty_exception,
    "duty_machine": duty_machine,
    "duty_shift": duty_shift,
    "enrolment": enrolment,
    "file": file,
    "file_status": file_status,
    "forecast": forecast,
    "forecast_advice": forecast_advice,
    "forecast_score": forecast_score,
    "forecast_tube": forecast_tube,
    "idempotency": idempotency,
    "label_act": label_act,
    "plate": plate,
    "plate_well": plate_well,
    "print_job": print_job,
    "quality_point": quality_point,
    "quality_target": quality_target,
    "reading": reading,
    "report": report,
    "rule_draft": rule_draft,
    "rulebook": rulebook,
    "run": run,
    "station": station,
    "ticket": ticket,
}
