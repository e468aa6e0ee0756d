"""The page of quality control: Levey-Jennings charts and failure rates."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse, Response

from instruments.westgard import REJECT
from lis import queries
from lis.services import actions, lots
from lis.web.api_quality import quality_json
from lis.web.pages import Seen
from lis.web.views import page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

POINTS_SHOWN: Final = 60
CHARTS_SHOWN: Final = 48
WIDTH, HEIGHT, LEFT, TOP = 520.0, 150.0, 44.0, 10.0
LEVELS: Final = ("bad", "warn", "good", "void")
SPREAD: Final = 4.0
"""Standard deviations from the mean to the edge of a chart; farther points lie on the edge."""


@router.get("/quality")
def quality_page(
    request: Request, caller: Seen, instrument: Annotated[str, Query(max_length=80)] = ""
) -> Response:
    """Charts, a rejected one first; then lots, cyclers and targets that fail too often."""
    with caller.lab.database.read() as conn:
        found = quality_json(caller, conn)
    seen = [one for one in found["charts"] if any(point["value"] is not None for point in one["points"])]
    silent = [one for one in found["charts"] if one not in seen]
    mine = [one for one in seen if one["instrument"] == instrument] if instrument else seen
    drawn = [Drawn.of(one) for one in mine[:CHARTS_SHOWN]]
    return page(
        request, "quality.html", caller.identity, charts=drawn, silent=silent, rates=found["rates"],
        cards=cards(found["charts"]), instrument=instrument, begin=caller.identity.may("correct"),
        days=found["days"], enough=found["enough"], more=len(mine) - len(drawn),
        may=caller.identity.may("quality"),
    )  # fmt: skip


@router.get("/lots")
def lots_page(request: Request, caller: Seen) -> Response:
    """The reagent register: what is in use, what expires soon, what arrived."""
    now = caller.lab.database.clock.now()
    with caller.lab.database.read() as conn:
        found = lots.register_of(conn, now)
    today: date = now.astimezone(caller.lab.zone).date()
    return page(
        request, "lots.html", caller.identity, lots=found, kinds=lots.KINDS, today=today.isoformat(),
        assays=sorted(caller.lab.rules.assays), may=caller.identity.may("lots"),
    )  # fmt: skip


@router.get("/actions")
def actions_page(
    request: Request, caller: Seen, about: Annotated[str, Query(max_length=16)] = "",
    subject: Annotated[str, Query(max_length=200)] = "", named: Annotated[str, Query(max_length=200)] = "",
) -> Response:  # fmt: skip
    """Corrective actions, open ones first; with ``about`` and ``subject`` a new one can be begun."""
    with caller.lab.database.read() as conn:
        found = actions.actions(conn)
        subjects = {one.action_id: _subject(conn, one) for one in found}
    return page(
        request, "actions.html", caller.identity, actions=found,
        about=about if about in actions.ABOUT else "",
        subject=subject, named=named or subject, subjects=subjects, may=caller.identity.may("correct"),
        may_close=caller.identity.may("quality"),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Subject:
    """What an action is about, for people: the plate it lies on, if it does, and what of it."""

    plate: str
    text: str


def _subject(conn: Connection, one: actions.Action) -> Subject:
    """The subject of an action: a run and its points by their plate, an alarm by what it was about."""
    if one.about in {"run", "point"}:
        run_id, _, rest = one.subject.partition("/")
        run = queries.run_row(conn, run_id)
        return Subject(run["plate_id"], rest.replace("/", " ")) if run else Subject("", one.subject)
    if one.about == "plate":
        return Subject(one.subject, "")
    if one.about == "alarm" and one.subject.isdecimal():
        alarm = queries.alarm_row(conn, int(one.subject))
        return Subject("", f"{alarm['code']} {alarm['subject']}" if alarm else one.subject)
    return Subject("", one.subject)


@dataclass(frozen=True, slots=True)
class Dot:
    """One point on the screen; ``mark`` is good, warn, bad or void."""

    x: float
    y: float
    mark: str
    point: Mapping[str, Any]
    z: float | None

    @property
    def rule(self) -> str:
        """The gravest rule that this point broke: a rejection before a warning; empty for none."""
        broken = self.point["broken"]
        return next((rule for rule in broken if rule in REJECT), broken[0] if broken else "")


@dataclass(frozen=True, slots=True)
class Drawn:
    """A chart in the units of its picture.

    Attributes:
        lines: (label, y, class) of the mean and of 1 to 3 SD; of smallest and largest where none is set.
        silent: how many of the points shown have no value.
        last: the newest point.
    """

    chart: Mapping[str, Any]
    lines: tuple[tuple[str, float, str], ...]
    dots: tuple[Dot, ...]
    silent: int
    last: Mapping[str, Any]

    @classmethod
    def of(cls, chart: Mapping[str, Any]) -> Drawn:
        """Lay a chart out."""
        points = chart["points"][-POINTS_SHOWN:]
        valued = [point for point in points if point["value"] is not None]
        middle, step = _scale(chart["expected"], [point["value"] for point in valued])

        def height(value: float) -> float:
            share = max(-SPREAD, min(SPREAD, (value - middle) / step)) / SPREAD
            return round(TOP + (1 - share) / 2 * (HEIGHT - 2 * TOP), 1)

        width = (WIDTH - LEFT - TOP) / max(len(valued) - 1, 1)
        dots = tuple(
            Dot(round(LEFT + i * width, 1), height(point["value"]), _mark(point), point, _z(chart, point))
            for i, point in enumerate(valued)
        )
        ends = ((-3, 3), (-2, 2), (-1, 1), (0, 0)) if chart["expected"] else ((-3, 1), (3, 1))
        lines = tuple(
            (f"{middle + k * step:.2f}", height(middle + k * step), f"sd{style}")
            for k, style in (*ends, *((-k, style) for k, style in ends if chart["expected"] and k))
        )
        return cls(chart, lines, dots, len(points) - len(valued), points[-1])


def _z(chart: Mapping[str, Any], point: Mapping[str, Any]) -> float | None:
    """Standard deviations from the mean that is in force now; None where none is set."""
    expected = chart["expected"]
    return (point["value"] - expected["mean"]) / expected["sd"] if expected else None


@dataclass(frozen=True, slots=True)
class Card:
    """How one cycler stands after its last run.

    Attributes:
        level: ``bad``: a chart rejects the run; ``warn``: one warns; ``good``; ``void``: not judged yet.
    """

    instrument: str
    level: str
    charts: int
    last: datetime
    rules: tuple[str, ...]


def cards(charts: Sequence[Mapping[str, Any]]) -> list[Card]:
    """One card for each cycler, the worst first."""
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for one in charts:
        found[one["instrument"]].append(one)
    made = [_card(name, own) for name, own in found.items()]
    return sorted(made, key=lambda one: (LEVELS.index(one.level), one.instrument))


def _card(name: str, own: Sequence[Mapping[str, Any]]) -> Card:
    newest = max(one["points"][-1]["at"] for one in own)
    now = [one["points"][-1] for one in own if one["points"][-1]["at"] == newest]
    broken = tuple(sorted({rule for point in now for rule in point["broken"]}))
    judged = any(one["expected"] for one in own)
    level = "bad" if any(point["rejects"] for point in now) else "warn" if broken else "good"
    return Card(name, level if judged or broken else "void", len(own), newest, broken)


def _scale(expected: Mapping[str, float] | None, values: Sequence[float]) -> tuple[float, float]:
    """The middle of a chart, and what a third of its half height is worth, in cycles."""
    if expected:
        return expected["mean"], expected["sd"]
    low, high = (min(values), max(values)) if values else (0.0, 0.0)
    return (low + high) / 2, max((high - low) / 6, 0.1)


def _mark(point: Mapping[str, Any]) -> str:
    if not point["valid"]:
        return "void"
    if point["rejects"]:
        return "bad"
    return "warn" if point["broken"] else "good"
