"""What stands beside the log, in an order in which it can be compared with the log."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Select, and_, or_, select

from lis.queries.common import Row
from lis.schema import event, plate_well, reading, report, run


def _stream(conn: Connection, found: Select[Any]) -> Iterator[Row]:
    """Rows one after the other; whoever stops early lets go of the cursor."""
    with conn.execute(found.execution_options(yield_per=2000)) as rows:
        for row in rows.mappings():
            yield dict(row)


def all_reports(conn: Connection) -> Iterator[Row]:
    """Every report, by tube, oldest first."""
    return _stream(conn, select(report).order_by(report.c.tube_id, report.c.version, report.c.report_id))


def seals_in_log(conn: Connection) -> Iterator[Row]:
    """Every release and everything about amendments: who, which report, count, seal; by tube, in order."""
    names = ("event_id", "tube_id", "kind", "actor", "report_id", "amends", "count", "seal")
    kinds = ("Released", "AmendmentProposed", "AmendmentWithdrawn", "Amended")
    found = select(*(event.c[name] for name in names)).where(event.c.kind.in_(kinds))
    return _stream(conn, found.order_by(event.c.tube_id, event.c.seq))


def runs_with_readings(conn: Connection) -> Iterator[tuple[Row, list[Row]]]:
    """Every run with what was read in it."""
    joined = run.outerjoin(reading, reading.c.run_id == run.c.run_id)
    found = (
        select(
            run.c.run_id,
            run.c.file_id,
            run.c.plate_id,
            reading.c.well,
            reading.c.target,
            reading.c.dye,
            reading.c.cq,
            reading.c.curve,
        )
        .select_from(joined)
        .order_by(run.c.run_id)
    )
    for _, rows in groupby(_stream(conn, found), key=lambda row: row["run_id"]):
        many = list(rows)
        yield many[0], [row for row in many if row["well"] is not None]


def unknown_runs(conn: Connection) -> Iterator[Row]:
    """Events that rest on a run which is not stored."""
    found = (
        select(event.c.event_id, event.c.tube_id, event.c.run_id)
        .outerjoin(run, run.c.run_id == event.c.run_id)
        .where(event.c.kind.in_(("Called", "Voided")), event.c.run_id != "", run.c.run_id.is_(None))
    )
    return _stream(conn, found.order_by(event.c.event_id))


def misplaced_readings(conn: Connection) -> Iterator[Row]:
    """Readings of another tube or control than the plate map has in their well."""
    well = plate_well
    found = (
        select(reading.c.run_id, reading.c.well, reading.c.tube_id)
        .join(run, run.c.run_id == reading.c.run_id)
        .outerjoin(well, and_(well.c.plate_id == run.c.plate_id, well.c.well == reading.c.well))
        .where(
            or_(
                well.c.plate_id.is_(None),
                reading.c.tube_id.is_distinct_from(well.c.tube_id),
                reading.c.control.is_distinct_from(well.c.control),
            )
        )
    )
    return _stream(conn, found.order_by(reading.c.run_id, reading.c.well))


def misplaced_tubes(conn: Connection) -> Iterator[Row]:
    """Tubes that the log and the plate map have in different wells, or that only one of them has."""
    plated = select(event).where(event.c.kind == "Plated").subquery()
    in_log = (
        select(plated.c.event_id, plated.c.tube_id, plated.c.plate_id, plated.c.well)
        .outerjoin(
            plate_well,
            and_(
                plate_well.c.plate_id == plated.c.plate_id,
                plate_well.c.well == plated.c.well,
                plate_well.c.tube_id == plated.c.tube_id,
                plate_well.c.test == plated.c.test,
            ),
        )
        .where(plate_well.c.plate_id.is_(None))
    )
    yield from _stream(conn, in_log.order_by(plated.c.event_id))
    on_map = (
        select(plate_well.c.tube_id, plate_well.c.plate_id, plate_well.c.well)
        .outerjoin(
            plated, and_(plated.c.plate_id == plate_well.c.plate_id, plated.c.tube_id == plate_well.c.tube_id)
        )
        .where(plate_well.c.tube_id.is_not(None), plated.c.event_id.is_(None))
    )
    for row in _stream(conn, on_map.order_by(plate_well.c.plate_id, plate_well.c.well)):
        yield {**row, "event_id": 0}
