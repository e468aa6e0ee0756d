"""The API of capacity: forecasts, how good they were, whether more tubes may come in."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime
from starlette.responses import Response

from lis.laboratory import admission, foretold
from lis.services import capacity
from lis.web.commands import Asked, reply

router = APIRouter(prefix="/api/v1", tags=["capacity"])


@router.get("/forecast")
def get_forecast(asked: Asked) -> Response:
    """When every waiting tube will be reported, the risk of each, what would help.

    A forecast made in the last minutes is shown again; else a new one is made and stored.
    """
    asked.identity.must("look")
    with asked.lab.database.read() as conn:
        number = capacity.fresh(conn, asked.lab.database.clock.now())
    if number is None:
        number = foretold(asked.lab, capacity.Order(), asked.identity.name)
    return asked.read("look", lambda conn: capacity.document(conn, number))


@router.get("/forecast/score")
def score_forecasts(asked: Asked, since: AwareDatetime | None = None) -> Response:
    """Every stored forecast against what happened then: errors, and how often the bands held."""
    return asked.read("look", lambda conn: capacity.scores(conn, since))


@router.get("/forecast/fit")
def get_fit(asked: Asked) -> Response:
    """What the laboratory's own past says of its times and shares, and how well."""
    now = asked.lab.database.clock.now()

    def ask(conn: Any) -> dict[str, Any]:
        learned = capacity.learned(conn, asked.lab.rules, now, asked.lab.zone)
        return {"parameters": [capacity.fit_json(fit) for fit in learned.fits]}

    return asked.read("look", ask)


@router.get("/admission")
def ask_admission(
    asked: Asked,
    tubes: Annotated[int, Query(ge=1, le=100_000)],
    mode: Annotated[str, Query(max_length=20)],
    by: AwareDatetime,
    tier: Annotated[str, Query(max_length=40)] = "voluntary",
) -> Response:
    """Whether the laboratory can take ``tubes`` more by a time, and whom they would make late."""
    asked.identity.must("look")
    return reply(admission(asked.lab, capacity.Wish(tubes, mode, by, tier)))
