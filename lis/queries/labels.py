"""Labels that were printed, and the jobs of printers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, select

from lis.db import among
from lis.queries.common import Row, all_rows, one_row, parts
from lis.schema import label_act, print_job

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


def labels_printed(conn: Connection, codes: Iterable[str]) -> dict[str, Row]:
    """Code -> when its label was printed last, by whom and where, for those that were."""
    found: dict[str, Row] = {}
    for part in parts(codes):
        rows = all_rows(
            conn, select(label_act).where(among(label_act.c.code, part)).order_by(label_act.c.act_id)
        )
        found.update((row["code"], row) for row in rows)
    return found


def label_acts(conn: Connection, code: str) -> list[Row]:
    """Every time the label of a code was printed, oldest first."""
    return all_rows(conn, select(label_act).where(label_act.c.code == code).order_by(label_act.c.act_id))


def print_jobs(conn: Connection, limit: int) -> list[Row]:
    """Print jobs: those that wait for their printer first, then the newest."""
    found = select(print_job).order_by(print_job.c.state.desc(), print_job.c.job_id.desc()).limit(limit)
    return all_rows(conn, found)


def print_job_rows(conn: Connection, numbers: Collection[int]) -> list[Row]:
    """The print jobs of these numbers, by number."""
    asked = select(print_job).where(print_job.c.job_id.in_(numbers)).order_by(print_job.c.job_id)
    return all_rows(conn, asked)


def print_job_row(conn: Connection, job_id: int) -> Row | None:
    """A print job, or None."""
    return one_row(conn, select(print_job).where(print_job.c.job_id == job_id))
