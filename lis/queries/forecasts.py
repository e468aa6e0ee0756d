"""What a forecast is made from, what was foreseen, and what happened then."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, bindparam, func, or_, select

from lis import events as e
from lis.clock import from_text, to_text
from lis.db import Prepared, among
from lis.ledger import as_fact, as_tube
from lis.queries.common import Row, all_rows, one_row, parts
from lis.queries.tubes import UNREPORTED
from lis.schema import (
    device,
    event,
    forecast,
    forecast_advice,
    forecast_score,
    forecast_tube,
    plate,
    report,
    run,
    tube,
)
from lis.tube import Tube, evolve

MOST_EVENTS: Final = 100_000
"""The newest so many events are what a laboratory learns from."""

STEPS: Final = (
    e.Sealed,
    e.Received,
    e.Plated,
    e.Called,
    e.Concluded,
    e.RetestOrdered,
    e.RecollectionOrdered,
    e.Resolved,
    e.Released,
)
"""Events between which a forecast measures times."""

OPEN: Final = ("planned", "loaded", "running")
LONGEST: Final = timedelta(days=7)
"""No plate is under way for longer, unless it is open now."""

_PLATE = tuple(plate.c[name] for name in ("plate_id", "created_at", "started_at", "instrument"))
_TUBE = tuple(tube.c[name] for name in Tube._fields)


def unreported(conn: Connection, at: datetime | None = None) -> list[Tube]:
    """Every tube somebody waits for, now or as the log had it at ``at``; pools among them."""
    if at is None:
        found = select(*_TUBE).where(tube.c.state.in_(UNREPORTED)).order_by(tube.c.tube_id)
        return [as_tube(row) for row in conn.execute(found)]
    touched = or_(tube.c.updated_at > at, tube.c.state.in_(UNREPORTED))
    rows = conn.execute(
        select(event)
        .join(tube, tube.c.tube_id == event.c.tube_id)
        .where(touched, event.c.at <= at)
        .order_by(event.c.tube_id, event.c.seq)
    ).mappings()
    folded: dict[str, Tube] = {}
    for row in rows:
        code = row["tube_id"]
        folded[code] = evolve(folded.get(code, Tube(code)), as_fact(row["kind"], dict(row)), row["at"])
    return [one for one in folded.values() if one.state in UNREPORTED]


def open_plates(conn: Connection, at: datetime) -> list[Row]:
    """Plates that were made by ``at`` and neither read nor given up by then, oldest first."""
    found = (
        select(*_PLATE)
        .where(plate.c.created_at <= at, or_(plate.c.closed_at.is_(None), plate.c.closed_at > at))
        .where(or_(plate.c.state.in_(OPEN), plate.c.created_at >= at - LONGEST))
        .order_by(plate.c.created_at, plate.c.plate_id)
    )
    rows = _with_reading(conn, all_rows(conn, found), at)
    return [row for row in rows if row["read_at"] is None]


def past_plates(conn: Connection, since: datetime, until: datetime) -> list[Row]:
    """Plates that were made in a time, with their first reading (``read_at``, ``valid``), oldest first."""
    found = (
        select(*_PLATE)
        .where(plate.c.created_at >= since, plate.c.created_at <= until)
        .order_by(plate.c.created_at, plate.c.plate_id)
    )
    return _with_reading(conn, all_rows(conn, found), until)


def _with_reading(conn: Connection, plates: list[Row], at: datetime) -> list[Row]:
    """Plates as they were known at a moment."""
    first: dict[str, Row] = {}
    for part in parts(row["plate_id"] for row in plates):
        found = select(run.c.plate_id, run.c.read_at, run.c.valid).where(
            run.c.plate_id.in_(part), run.c.read_at <= at
        )
        for row in all_rows(conn, found.order_by(run.c.read_at)):
            first.setdefault(row["plate_id"], row)
    for row in plates:
        started, read = row["started_at"], first.get(row["plate_id"])
        row["started_at"] = started if started is not None and started <= at else None
        row["read_at"], row["valid"] = (read["read_at"], read["valid"]) if read else (None, True)
    return plates


class Fact(NamedTuple):
    """One event of the past and the tube it happened to."""

    tube_id: str
    kind: str
    at: datetime
    tube_kind: str
    tier: str
    persons: int
    test: str
    reason: str
    outcome: str
    priority: int
    due_at: datetime | None
    actor: str = ""


_FACTS: Final = Prepared(
    select(
        *(event.c[name] for name in ("tube_id", "kind", "at")),
        *(tube.c[name] for name in ("kind", "tier", "persons")),
        *(event.c[name] for name in ("test", "reason", "outcome", "priority", "due_at", "actor")),
    )
    .join(tube, tube.c.tube_id == event.c.tube_id)
    .where(
        event.c.event_id > bindparam("after"),
        event.c.at >= bindparam("since"),
        event.c.at <= bindparam("until"),
        among(event.c.kind, "steps"),
    )
    .order_by(event.c.event_id)
)


def past_facts(conn: Connection, since: datetime, until: datetime) -> list[Fact]:
    """The newest steps of tubes between two moments, in order of the log."""
    last = _last_event(conn, until)
    rows = _FACTS.rows(
        conn,
        after=last - MOST_EVENTS,
        since=to_text(since),
        until=to_text(until),
        steps=[kind.__name__ for kind in STEPS],
    )
    return [_fact(row) for row in rows]


def _last_event(conn: Connection, until: datetime) -> int:
    """Number of the last event at or before a moment; an earlier one is looked for in the whole log."""
    newest = conn.execute(
        select(event.c.event_id, event.c.at).order_by(event.c.event_id.desc()).limit(1)
    ).first()
    if newest is None or newest.at <= until:
        return 0 if newest is None else int(newest.event_id)
    found = select(func.max(event.c.event_id)).where(event.c.at <= until)
    return conn.execute(found).scalar_one_or_none() or 0


def _fact(row: tuple[Any, ...]) -> Fact:
    code, kind, at, tube_kind, tier, persons, test, reason, outcome, priority, due, actor = row
    said = (test or "", reason or "", outcome or "", priority or 0)
    until = from_text(due) if due else None
    return Fact(code, kind, from_text(at), tube_kind, tier, persons, *said, until, actor)


def cyclers_used(conn: Connection, since: datetime) -> set[str]:
    """Cyclers into which plates were put since a moment; enrolled ones when there were none."""
    used = select(plate.c.instrument).where(plate.c.started_at >= since, plate.c.instrument != "").distinct()
    found = set(conn.execute(used).scalars())
    return found or set(conn.execute(select(device.c.name).where(device.c.revoked_at.is_(None))).scalars())


# -- what was foreseen ----------------------------------------------------------------------------


def forecast_row(conn: Connection, forecast_id: int | None = None) -> Row | None:
    """One forecast, else the newest one."""
    found = select(forecast)
    if forecast_id is not None:
        return one_row(conn, found.where(forecast.c.forecast_id == forecast_id))
    return one_row(conn, found.order_by(forecast.c.made_at.desc(), forecast.c.forecast_id.desc()).limit(1))


def forecast_tubes(conn: Connection, forecast_id: int) -> list[Row]:
    """What was foreseen of each tube, the one most at risk first."""
    found = select(forecast_tube).where(forecast_tube.c.forecast_id == forecast_id)
    order = (forecast_tube.c.risk.desc(), forecast_tube.c.p50, forecast_tube.c.tube_id)
    return all_rows(conn, found.order_by(*order))


def forecast_advice_of(conn: Connection, forecast_id: int) -> list[Row]:
    """What would have helped, the most helpful first."""
    found = select(forecast_advice).where(forecast_advice.c.forecast_id == forecast_id)
    return all_rows(conn, found.order_by(forecast_advice.c.place))


def forecast_of(conn: Connection, tube_id: str) -> Row | None:
    """The newest forecast of a tube, with the moment it speaks of (``at``) and that it was made."""
    found = (
        select(forecast_tube, forecast.c.at, forecast.c.made_at)
        .join(forecast, forecast.c.forecast_id == forecast_tube.c.forecast_id)
        .where(forecast_tube.c.tube_id == tube_id)
        .order_by(forecast.c.made_at.desc(), forecast.c.forecast_id.desc())
        .limit(1)
    )
    return one_row(conn, found)


def forecasts(conn: Connection, since: datetime | None = None) -> list[Row]:
    """All forecasts of moments from ``since`` on, oldest first."""
    found = select(forecast).order_by(forecast.c.at, forecast.c.forecast_id)
    return all_rows(conn, found if since is None else found.where(forecast.c.at >= since))


def anybody_waits(conn: Connection) -> bool:
    """Whether a tube is without its report."""
    found = select(tube.c.tube_id).where(tube.c.state.in_(UNREPORTED)).limit(1)
    return conn.execute(found).first() is not None


def kept_scores(conn: Connection, since: datetime | None = None) -> list[Row]:
    """Scores of forecasts that were deleted, of moments from ``since`` on, oldest first."""
    found = select(forecast_score).order_by(forecast_score.c.at, forecast_score.c.forecast_id)
    return all_rows(conn, found if since is None else found.where(forecast_score.c.at >= since))


def delete_forecasts(conn: Connection, numbers: list[int]) -> None:
    """Delete forecasts with everything that was foreseen in them."""
    for table in (forecast_tube, forecast_advice, forecast):
        conn.execute(table.delete().where(table.c.forecast_id.in_(numbers)))


def outcomes_of(conn: Connection, forecast_id: int) -> list[Row]:
    """Every tube of a forecast with its reception and, as far as it was reported, its first report."""
    first = (
        select(report.c.tube_id, func.min(report.c.issued_at).label("reported_at"))
        .where(report.c.amends == "")
        .group_by(report.c.tube_id)
        .subquery()
    )
    names: tuple[Any, ...] = tuple(column for column in forecast_tube.c if column.name != "forecast_id")
    found = (
        select(*names, tube.c.received_at, tube.c.state, first.c.reported_at)
        .join(tube, tube.c.tube_id == forecast_tube.c.tube_id)
        .outerjoin(first, first.c.tube_id == forecast_tube.c.tube_id)
        .where(forecast_tube.c.forecast_id == forecast_id)
        .order_by(forecast_tube.c.tube_id)
    )
    rows = all_rows(conn, found)
    for row in rows:
        if isinstance(row["reported_at"], str):
            row["reported_at"] = from_text(row["reported_at"])
    return rows
