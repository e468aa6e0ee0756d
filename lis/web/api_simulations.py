"""The API of the twin: order a simulation or a plan, look how far it is, take its page, cancel it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from lis.errors import Invalid, NotFound
from lis.web.commands import Asked, reply
from lis.web.payloads import Payload
from lis.web.played import Order
from lis.web.playing import Simulations
from lis.web.words import error_zh
from sim import Scenario, ScenarioError, load, shipped_scenarios
from sim.faults import listed, phrase
from sim.places import line_of
from sim.refusal import refused

router = APIRouter(prefix="/api/v1/simulations", tags=["simulations"])
scenarios = APIRouter(prefix="/api/v1/scenarios", tags=["simulations"])

MOST_TEXT = 200_000
MOST_TUBES = 20_000_000
"""Tubes in all replications together; a city's day of 1.2 million fits sixteen times."""

Text = Annotated[str, Field(min_length=1, max_length=MOST_TEXT)]


class SimulationOrder(Payload):
    """What to play. A scenario is the name of a shipped one, or the text of a TOML file."""

    kind: Literal["simulate", "plan", "rota"] = "simulate"
    scenario: Text
    against: Annotated[tuple[Text, ...], Field(max_length=3)] = ()
    replications: Annotated[int, Field(ge=1, le=1000)] = 20
    seed: Annotated[int, Field(ge=0, le=2**31)] = 1
    target_hours: Annotated[float, Field(gt=0, le=1000)] = 24.0
    percentile: Annotated[float, Field(gt=0, lt=100)] = 95.0
    ways: bool = False

    def order(self) -> Order:
        """As the worker takes it.

        Raises:
            Invalid: ``BAD_SCENARIO`` with the key and the reason, or ``SCENARIO_LARGE``.
        """
        scenarios = tuple(_scenario(text) for text in (self.scenario, *self.against))
        tubes = self.replications * sum(_tubes(one) for one in scenarios)
        if tubes > MOST_TUBES:
            raise Invalid(
                "SCENARIO_LARGE",
                f"This would play {tubes:,.0f} tubes; a server plays {MOST_TUBES:,} at most. "
                "Take fewer replications, or use `lis simulate` on another machine.",
                tubes=f"{tubes:,.0f}",
                most=f"{MOST_TUBES:,}",
            )
        return Order(
            self.kind,
            scenarios,
            self.replications,
            self.seed,
            self.target_hours,
            self.percentile,
            self.ways,
        )


def _tubes(scenario: Scenario) -> float:
    if scenario.engine is not None:
        return scenario.engine.items
    days = scenario.laboratory.days if scenario.laboratory is not None else 1
    return sum(s.tubes * max([1.0, *s.tubes_by_day]) for s in scenario.streams) * days


def _scenario(text: str) -> Scenario:
    try:
        return _read(text)
    except ScenarioError as error:
        line = line_of(text, error.key, error.reason)
        raise Invalid(
            "BAD_SCENARIO",
            f"The scenario cannot be played. {error}",
            key=error.key,
            reason=error.reason,
            reason_zh=error.zh or error_zh(error.code, {}),
            why=error.code,
            line=str(line or ""),
        ) from error


def _read(text: str) -> Scenario:
    """By name or from its text; never from a path of this machine."""
    if "=" in text or "\n" in text:
        found = Scenario.from_toml(text)
    elif text in shipped_scenarios():
        found = load(text)
    else:
        what = phrase("no-scenario-named", known=listed(shipped_scenarios()))
        raise refused("UNKNOWN_SCENARIO", what, "scenario")
    if found.engine is None and found.laboratory is None:
        raise refused("NO_LABORATORY", phrase("no-stations"), "station")
    return found


def _all(request: Request) -> Simulations:
    found: Simulations = request.app.state.simulations
    return found


@router.post("", status_code=202)
def order_simulation(order: SimulationOrder, asked: Asked, request: Request) -> Response:
    """Order a simulation, a plan or a rota, played in the background; ask again by the answer's ``id``."""
    asked.identity.must("simulate")
    wanted = order.order()
    return asked.write("simulate", lambda _: _all(request).order(wanted, asked.identity.name).shown(), 202)


@router.post("/check")
def check_scenario(order: SimulationOrder, asked: Asked) -> Response:
    """Whether an order could be played, and how much it would play; nothing is queued.

    A refusal names the key and, where the text holds it, the line.
    """
    asked.identity.must("simulate")
    wanted = order.order()
    lines = [
        {
            "name": one.name,
            "tubes": round(_tubes(one)),
            "days": one.laboratory.days if one.laboratory is not None else 1,
            "stations": [bench.name for bench in one.laboratory.stations] if one.laboratory else [],
            "staff": list(one.laboratory.staff) if one.laboratory else [],
        }
        for one in wanted.scenarios
    ]
    return reply({"ok": True, "kind": wanted.kind, "scenarios": lines})


@router.get("")
def list_simulations(asked: Asked, request: Request) -> Response:
    """The simulations that are kept, newest first, without their documents."""
    asked.identity.must("simulate")
    jobs: list[dict[str, Any]] = [job.shown() | {"document": None} for job in _all(request).jobs()]
    return reply({"simulations": jobs})


@router.get("/{simulation}")
def get_simulation(simulation: str, asked: Asked, request: Request) -> Response:
    """State, progress, seconds left; the document when it is done, code, key and reason when it failed."""
    asked.identity.must("simulate")
    return reply(_all(request).job(simulation).shown())


@router.post("/{simulation}/cancel")
def cancel_simulation(simulation: str, asked: Asked, request: Request) -> Response:
    """End a simulation that waits or runs."""
    return asked.write("simulate", lambda _: _all(request).cancel(simulation).shown())


@router.delete("/{simulation}")
def remove_simulation(simulation: str, asked: Asked, request: Request) -> Response:
    """End a simulation that waits or runs; throw a finished one away."""
    return asked.write("simulate", lambda _: _all(request).remove(simulation).shown())


@router.get("/{simulation}/html")
def simulation_page(
    simulation: str,
    asked: Asked,
    request: Request,
    language: Annotated[Literal["zh", "en"], Query()] = "zh",
) -> Response:
    """The page for managers, to save and to open anywhere."""
    asked.identity.must("simulate")
    body = _all(request).page(simulation, language)
    # a page that is opened anywhere, not a page of this server: it is only handed out to be saved
    name = f'attachment; filename="simulation-{simulation}.html"'
    return Response(
        body, 200, {"Content-Disposition": name, "Cache-Control": "no-store"}, "text/html; charset=utf-8"
    )


@scenarios.get("")
def list_scenarios(asked: Asked) -> Response:
    """The shipped scenarios: name and what each is about."""
    asked.identity.must("simulate")
    return reply({"scenarios": [{"name": name, "note": load(name).note} for name in shipped_scenarios()]})


@scenarios.get("/{name}")
def get_scenario(name: str, asked: Asked) -> Response:
    """The file of a shipped scenario, to begin one's own with."""
    asked.identity.must("simulate")
    if name not in shipped_scenarios():
        known = ", ".join(shipped_scenarios())
        raise NotFound(
            "SCENARIO_UNKNOWN", f"There is no scenario {name[:40]}. There are: {known}.", known=known
        )
    return reply({"name": name, "text": load(name).text})
