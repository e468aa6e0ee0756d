"""The API of quality control: control charts, what controls should measure, failure rates."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.responses import Response

from lis.queries import Series
from lis.services import quality
from lis.web.commands import Asked, Caller
from lis.web.payloads import Code, Payload

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from instruments.rates import Rate
    from lis.db import Unit

router = APIRouter(prefix="/api/v1/quality", tags=["quality"])

Days = Annotated[float, Query(gt=0, le=3660)]


class TargetIn(Payload):
    """What a control should measure.

    ``mean`` and ``sd`` are cycles and need a reason; without both, the accepted runs of the control say it.
    """

    instrument: Code
    assay: Code
    lot: Code = ""
    level: Code
    target: Code
    mean: float | None = None
    sd: float | None = None
    reason: str = Field("", max_length=300)


@router.get("")
def control_charts(asked: Asked, days: Days = quality.DAYS) -> Response:
    """Control charts of the last days with every point and the rules it broke, and failure rates."""
    return asked.read("look", lambda conn: quality_json(asked, conn, days))


def quality_json(asked: Caller, conn: Connection, days: float = quality.DAYS) -> dict[str, Any]:
    """Charts, a rejected one first, and rates, the worst first."""
    now = asked.lab.database.clock.now()
    rates = quality.failure_rates(conn, asked.lab.rules, now, days)
    return {
        "days": days,
        "enough": quality.ENOUGH,
        "charts": [chart_json(one) for one in quality.charts(conn, now, days)],
        "rates": {name: [rate_json(one) for one in found] for name, found in rates.items()},
    }


def chart_json(chart: quality.ControlChart) -> dict[str, Any]:
    """One control chart."""
    return {
        **chart.series._asdict(),
        "expected": asdict(chart.expected) if chart.expected else None,
        "accepted": chart.accepted,
        "points": [
            {
                "run": point.run_id,
                "plate": point.plate_id,
                "at": point.at,
                "value": point.value,
                "valid": point.valid,
                "broken": list(point.broken),
                "rejects": point.rejects,
            }
            for point in chart.points
        ],
    }


def rate_json(rate: Rate) -> dict[str, Any]:
    """How often one lot, cycler or target failed, beside all the others."""
    return {**asdict(rate), "rate": rate.rate}


@router.post("/targets", status_code=201)
def set_target(order: TargetIn, asked: Asked) -> Response:
    """Say what a control should measure from now on; who said it, when and why is kept."""

    def act(unit: Unit) -> dict[str, Any]:
        series = Series(order.instrument, order.assay, order.lot, order.level, order.target)
        made = quality.set_target(unit, series, order.mean, order.sd, order.reason)
        return {**series._asdict(), **asdict(made)}

    return asked.write("quality", act, 201)
