"""Issued reports, their signatures, and how long they took."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, func, or_, select, tuple_

from lis.db import Prepared, among
from lis.queries.common import PAGE, Row, all_rows, one_row, parts
from lis.schema import amendment, event, person, report, tube

if TYPE_CHECKING:
    from collections.abc import Iterable


def report_row(conn: Connection, report_id: str) -> Row | None:
    """A report, or None."""
    return one_row(conn, select(report).where(report.c.report_id == report_id))


def reports_of_tube(conn: Connection, tube_id: str) -> list[Row]:
    """All reports issued for a tube, oldest first."""
    found = select(report).where(report.c.tube_id == tube_id).order_by(report.c.issued_at, report.c.report_id)
    return all_rows(conn, found)


def latest_reports(conn: Connection, limit: int = PAGE, after: int = 0) -> list[Row]:
    """The reports issued last, newest first."""
    found = select(report).order_by(report.c.issued_at.desc(), report.c.report_id.desc())
    return all_rows(conn, found.limit(limit).offset(after))


def amended_by(conn: Connection, report_id: str) -> str:
    """The report that corrects this one; empty if none does."""
    return (
        conn.execute(select(report.c.report_id).where(report.c.amends == report_id)).scalar_one_or_none()
        or ""
    )


def open_amendment(conn: Connection, report_id: str) -> Row | None:
    """The open proposal to correct a report, or None."""
    return one_row(
        conn, select(amendment).where(amendment.c.amends == report_id, amendment.c.closed_at.is_(None))
    )


def open_amendments(conn: Connection, tube_id: str = "", limit: int = PAGE) -> list[Row]:
    """Proposals to correct reports that wait for another person, oldest first; of one tube if named."""
    found = (
        select(amendment, report.c.result.label("says"), report.c.person_id, tube.c.kind)
        .join(report, report.c.report_id == amendment.c.amends)
        .join(tube, tube.c.tube_id == amendment.c.tube_id)
        .where(amendment.c.closed_at.is_(None))
    )
    if tube_id:
        found = found.where(amendment.c.tube_id == tube_id)
    return all_rows(conn, found.order_by(amendment.c.opened_at, amendment.c.amends).limit(limit))


_SIGNED: Final = Prepared(
    select(event.c.tube_id, event.c.kind, event.c.actor)
    .where(among(event.c.tube_id, "codes"), or_(event.c.kind == "Concluded", event.c.kind == "Reviewed"))
    .order_by(event.c.tube_id, event.c.seq)
)


def signers(conn: Connection, tube_ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Who signed the present result of each tube, in order."""
    found: dict[str, tuple[str, ...]] = {}
    for part in parts(tube_ids):
        for code, kind, actor in _SIGNED.rows(conn, codes=part):
            found[code] = () if kind == "Concluded" else (*found.get(code, ()), actor)
    return found


def reported_tubes(conn: Connection) -> int:
    """How many tubes have a report."""
    count: int = conn.execute(select(func.count(report.c.tube_id.distinct()))).scalar_one()
    return count


@dataclass(frozen=True, slots=True)
class Turnaround:
    """One reported tube: hours from the start of its clock to its first report, and whether as promised."""

    tube_id: str
    tier: str
    hours: float
    on_time: bool


def turnarounds(conn: Connection, start: str = "sampling") -> list[Turnaround]:
    """Turnaround of every tube with a report; ``start`` is ``sampling`` or ``receipt``. Never negative."""
    first = (
        select(report.c.tube_id, func.min(report.c.issued_at).label("issued"))
        .group_by(report.c.tube_id)
        .subquery()
    )
    began = tube.c.received_at if start == "receipt" else tube.c.sampled_at
    rows = conn.execute(
        select(tube.c.tube_id, tube.c.tier, began.label("began"), tube.c.promised_at, first.c.issued).join(
            first, first.c.tube_id == tube.c.tube_id
        )
    )
    found = []
    for row in rows:
        issued = datetime.fromisoformat(row.issued) if isinstance(row.issued, str) else row.issued
        hours = max((issued - row.began).total_seconds() / 3600, 0.0) if row.began else 0.0
        on_time = row.promised_at is None or issued <= row.promised_at
        found.append(Turnaround(row.tube_id, row.tier, hours, on_time))
    return found


UNANSWERED: Final = ("inconclusive", "invalid")
"""Results that end the laboratory's part without an answer."""

REFER_DAYS: Final = 30
"""So long a person without an answer stands on the list for the clinician, unless a later report answers."""


def referrals(conn: Connection, now: datetime, limit: int = PAGE) -> list[Row]:
    """Persons whose own specimens are used up without an answer, the one reported first at the head."""
    later = report.alias("later")
    answered = (
        select(later.c.report_id)
        .where(
            later.c.person_id == report.c.person_id,
            later.c.issued_at >= report.c.issued_at,
            later.c.result.not_in(UNANSWERED),
        )
        .exists()
    )
    newer = (
        select(later.c.report_id)
        .where(
            later.c.person_id == report.c.person_id,
            tuple_(later.c.issued_at, later.c.report_id) > tuple_(report.c.issued_at, report.c.report_id),
        )
        .exists()
    )
    found = (
        select(report, person.c.name, person.c.phone_masked, person.c.document_masked)
        .join(person, person.c.person_id == report.c.person_id)
        .where(
            report.c.issued_at >= now - timedelta(days=REFER_DAYS),
            report.c.result.in_(UNANSWERED),
            report.c.mode == "single",
            ~answered,
            ~newer,
        )
        .order_by(report.c.issued_at, report.c.report_id)
        .limit(limit)
    )
    return all_rows(conn, found)
