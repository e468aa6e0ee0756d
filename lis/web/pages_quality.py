"""The page of quality control: Levey-Jennings charts and failure rates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from lis.web.api_quality import quality_json
from lis.web.pages import Seen
from lis.web.views import page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

POINTS_SHOWN: Final = 60
CHARTS_SHOWN: Final = 48
WIDTH, HEIGHT, LEFT, TOP = 520.0, 150.0, 44.0, 10.0
SPREAD: Final = 4.0
"""Standard deviations from the mean to the edge of a chart; farther points lie on the edge."""


@router.get("/quality")
def quality_page(request: Request, caller: Seen) -> Response:
    """Charts, a rejected one first; then lots, cyclers and targets that fail too often."""
    with caller.lab.database.read() as conn:
        found = quality_json(caller, conn)
    seen = [one for one in found["charts"] if any(point["value"] is not None for point in one["points"])]
    silent = [one for one in found["charts"] if one not in seen]
    drawn = [Drawn.of(one) for one in seen[:CHARTS_SHOWN]]
    return page(
        request, "quality.html", caller.identity, charts=drawn, silent=silent, rates=found["rates"],
        days=found["days"], enough=found["enough"], more=len(seen) - len(drawn),
        may=caller.identity.may("quality"),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Dot:
    """One point on the screen; ``mark`` is good, warn, bad or void."""

    x: float
    y: float
    mark: str
    point: Mapping[str, Any]


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
            Dot(round(LEFT + i * width, 1), height(point["value"]), _mark(point), point)
            for i, point in enumerate(valued)
        )
        ends = ((-3, 3), (-2, 2), (-1, 1), (0, 0)) if chart["expected"] else ((-3, 1), (3, 1))
        lines = tuple(
            (f"{middle + k * step:.2f}", height(middle + k * step), f"sd{style}")
            for k, style in (*ends, *((-k, style) for k, style in ends if chart["expected"] and k))
        )
        return cls(chart, lines, dots, len(points) - len(valued), points[-1])


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
