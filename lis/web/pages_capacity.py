"""Pages for managers: what is foreseen, may we take more, simulations, plans and rotas."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse, Response

from lis import queries
from lis.errors import NotFound
from lis.services import capacity, duty
from lis.web.pages import Seen
from lis.web.views import language_of, page
from sim import load, shipped_scenarios
from sim.html import plotly
from sim.page_words import Language, Words

if TYPE_CHECKING:
    from lis.web.playing import Job, Simulations

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

RISKY: Final = 15
"""Tubes shown that are likely to be late."""
FAR: Final = 0.05
"""Chance of being late from which a tube is shown."""
ABSENT_HOURS: Final = (4, 8, 12, 24, 72, 168)
KINDS: Final = ("simulate", "plan", "rota")
MONTH: Final = "public, max-age=2592000, immutable"


def _all(request: Request) -> Simulations:
    found: Simulations = request.app.state.simulations
    return found


@router.get("/capacity")
def capacity_page(request: Request, caller: Seen) -> Response:
    """The newest forecast, the question whether more may come in, and the simulations."""
    with caller.lab.database.read() as conn:
        row = queries.forecast_row(conn)
        found = capacity.document(conn, row["forecast_id"]) if row else None
        now = caller.lab.database.clock.now()
        on_duty = duty.document(conn, now, caller.lab.zone)
        machines = duty.named(conn, now)
    risky = sorted((one for one in found["tubes"] if one["risk"] >= FAR), key=_risk) if found else []
    plays = caller.identity.may("simulate")
    return page(
        request, "capacity.html", caller.identity, forecast=found, risky=risky[:RISKY],
        more=max(len(risky) - RISKY, 0), plays=plays, jobs=_all(request).jobs() if plays else [],
        tiers=caller.lab.rules.tiers.tiers, modes=capacity.MODES, duty=on_duty, machines=machines,
        ends=[(hours, (now + timedelta(hours=hours)).isoformat()) for hours in ABSENT_HOURS],
        attends=caller.identity.may("attend"),
    )  # fmt: skip


def _risk(tube: dict[str, Any]) -> tuple[float, str]:
    return -tube["risk"], tube["tube"]


@router.get("/capacity/new")
def new_simulation(
    request: Request,
    caller: Seen,
    kind: Literal["simulate", "plan", "rota"] = "simulate",
    scenario: Annotated[str, Query(max_length=80)] = "",
    again: Annotated[str, Query(max_length=80)] = "",
) -> Response:
    """The scenario editor: begins with a shipped scenario, or with those of an earlier order."""
    caller.identity.must("simulate")
    names = shipped_scenarios()
    name = scenario if scenario in names else names[0]
    texts = _all(request).job(again).texts if again else (load(name).text,)
    return page(
        request, "simulation_new.html", caller.identity, kind=kind, kinds=KINDS, names=names, name=name,
        texts=texts,
    )  # fmt: skip


@router.get("/capacity/simulations/{simulation}")
def simulation_page(request: Request, caller: Seen, simulation: str) -> Response:
    """How far an order is; when it is done, what came of it."""
    caller.identity.must("simulate")
    job = _all(request).job(simulation)
    shows = job.kind == "simulate" and job.state == "done"
    language: Language = "zh" if language_of(request) == "zh" else "en"
    content = _all(request).content(simulation, language) if shows else ""
    return page(
        request, "simulation.html", caller.identity, job=job, content=content,
        ordered=datetime.fromisoformat(job.ordered_at), week=_week(job) if job.kind == "rota" else (),
        name=Words(language).name,
    )  # fmt: skip


def _week(job: Job) -> list[tuple[str, list[int]]]:
    """Shift -> people on duty on each of the seven days of a rota."""
    week: dict[str, list[int]] = {}
    for one in (job.document or {}).get("positions", ()):
        week.setdefault(one["shift"], [0] * 7)[one["day"] % 7] = one["people"]
    return list(week.items())


@router.get("/twin/{name}")
def program(name: str) -> Response:
    """What makes the charts live: plotly from the installed package, and the few lines that use it."""
    text = _program(name)
    return Response(text, 200, {"Cache-Control": MONTH}, "text/javascript; charset=utf-8")


@lru_cache(maxsize=2)
def _program(name: str) -> str:
    from sim.html import LIVE

    if name == "plotly.min.js":
        return plotly()
    if name == "charts.js":
        return LIVE
    raise NotFound("NOT_FOUND", "There is no such program. Check the address.")
