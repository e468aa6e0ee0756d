"""What templates need: words in the language of the screen, local times, plate maps, time left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from fastapi import Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from starlette.responses import HTMLResponse

from lis import barcodes
from lis.auth import Identity
from lis.errors import LisError
from lis.laboratory import Laboratory
from lis.tube import TubeState
from lis.web.words import LANGUAGES, label, reason_text, say, table

LANGUAGE_COOKIE: Final = "lis_language"
SHAPES: Final = {96: (8, 12), 384: (16, 24)}

SIGNS: Final = {
    "positive": ("P", "diamond"),
    "negative": ("N", "circle"),
    "borderline": ("B", "triangle"),
    "invalid": ("X", "cross"),
    "inconclusive": ("?", "triangle"),
}
"""Outcome -> letter and shape; colour alone tells nothing to one man in twelve."""


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The templates; every undefined name is an error, everything is escaped."""
    env = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.globals |= {
        "t": _t,
        "word": _word,
        "reason": _reason,
        "device": _device,
        "when": _when,
        "day": _day,
        "left": _left,
        "since": _since,
        "last_day": _last_day,
        "signs": SIGNS,
        "code_patterns": [
            {"name": one.name, "regex": one.regex.pattern, "luhn": one.luhn} for one in barcodes.PATTERNS
        ],
    }
    return env


@pass_context
def _t(context: Context, key: str, **values: object) -> str:
    return say(key, context["language"], **values)


@pass_context
def _word(context: Context, section: str, value: str) -> str:
    return label(section, value, context["language"])


@pass_context
def _reason(context: Context, reason: str) -> str:
    return reason_text(reason, context["language"])


@pass_context
def _device(context: Context, name: str) -> str:
    """A cycler by its name, or who uploaded the file."""
    who = name.removeprefix("upload:")
    return name if who == name else say("files.uploaded_by", context["language"], name=who)


@pass_context
def _when(context: Context, moment: datetime | None) -> str:
    """Local time to the minute: ``12-21 16:05``."""
    return "" if moment is None else f"{moment.astimezone(context['zone']):%m-%d %H:%M}"


@pass_context
def _day(context: Context, moment: datetime | None) -> str:
    """Local date and time to the second."""
    return "" if moment is None else f"{moment.astimezone(context['zone']):%Y-%m-%d %H:%M:%S}"


@dataclass(frozen=True, slots=True)
class Left:
    """Time left until a tube is due: text and how bad it is (good, soon, late)."""

    text: str
    level: str


@pass_context
def _left(context: Context, due: datetime | None) -> Left:
    if due is None:
        return Left("", "good")
    minutes = int((due - context["now"]).total_seconds() // 60)
    level = "late" if minutes < 0 else "soon" if minutes < 120 else "good"
    sign = "−" if minutes < 0 else ""
    hours, rest = divmod(abs(minutes), 60)
    return Left(f"{sign}{hours}:{rest:02d}", level)


@pass_context
def _since(context: Context, moment: datetime | None) -> str:
    """Hours and minutes since a moment: ``26:05``."""
    if moment is None:
        return ""
    minutes = max(int((context["now"] - moment).total_seconds() // 60), 0)
    return f"{minutes // 60}:{minutes % 60:02d}"


@pass_context
def _last_day(context: Context, end: datetime) -> str:
    """The last day before a moment, as printed on a box: ``2023-06-30``."""
    return f"{(end - timedelta(seconds=1)).astimezone(context['zone']):%Y-%m-%d}"


def language_of(request: Request) -> str:
    """The language a person chose, else that of the laboratory."""
    chosen = request.cookies.get(LANGUAGE_COOKIE, "")
    lab: Laboratory = request.app.state.lab
    return chosen if chosen in LANGUAGES else lab.settings.language


def page(
    request: Request, name: str, identity: Identity | None = None, /, *, status: int = 200, **values: Any
) -> HTMLResponse:
    """A rendered page in the language of the person who asked."""
    lab: Laboratory = request.app.state.lab
    language = language_of(request)
    settings = lab.settings
    laboratory = (settings.laboratory_zh or settings.laboratory) if language == "zh" else settings.laboratory
    context = {
        "language": language,
        "other": "en" if language == "zh" else "zh",
        "path": request.url.path,
        "here": f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path,
        "zone": ZoneInfo(settings.timezone),
        "zone_name": settings.timezone,
        "now": lab.database.clock.now(),
        "laboratory": laboratory,
        "me": identity,
        "script_words": dict(table()["script"].items()),
        **values,
    }
    body = environment().get_template(name).render(context)
    return HTMLResponse(body, status, {"Cache-Control": "no-store"})


def error_values(error: LisError, language: str, sentence_zh: str) -> dict[str, Any]:
    """What the error page shows."""
    return {"error": error, "sentence": sentence_zh if language == "zh" else error.sentence}


# -- plate maps ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WellView:
    """One well as drawn."""

    well: str
    x: int
    y: int
    letter: str
    shape: str
    tone: str
    title: str
    tube: str


@dataclass(frozen=True, slots=True)
class PlateDrawing:
    """A plate as drawn; coordinates in units of the drawing."""

    size: int
    pitch: int
    width: int
    height: int
    rows: tuple[tuple[str, int], ...]
    columns: tuple[tuple[str, int], ...]
    wells: tuple[WellView, ...]


def draw_plate(
    size: int, wells: Iterable[Mapping[str, Any]], outcomes: Mapping[str, str], language: str
) -> PlateDrawing:
    """The map of a plate: letter, shape and colour for every well.

    Args:
        size: 96 or 384.
        wells: ``well``, ``tube``, ``control`` of those that hold something.
        outcomes: tube -> call of this plate, where there is one.
        language: of the titles.
    """
    rows, columns = SHAPES[size]
    pitch = 44 if size == 96 else 24
    held = {well["well"]: well for well in wells}
    drawn = []
    for row in range(rows):
        for column in range(columns):
            name = f"{chr(65 + row)}{column + 1}"
            place = (30 + column * pitch, 26 + row * pitch)
            drawn.append(_well(name, place, held.get(name), outcomes, language))
    return PlateDrawing(
        size,
        pitch,
        34 + columns * pitch,
        30 + rows * pitch,
        tuple((chr(65 + row), 26 + row * pitch + pitch // 2) for row in range(rows)),
        tuple((str(column + 1), 30 + column * pitch + pitch // 2) for column in range(columns)),
        tuple(drawn),
    )


def _well(
    name: str,
    place: tuple[int, int],
    well: Mapping[str, Any] | None,
    outcomes: Mapping[str, str],
    language: str,
) -> WellView:
    if well is None:
        return WellView(name, *place, "", "empty", "empty", f"{name}: {say('plate.empty', language)}", "")
    if well["control"]:
        text = label("control", well["control"], language)
        return WellView(name, *place, well["control"], "square", "control", f"{name}: {text}", "")
    tube = well["tube"]
    outcome = outcomes.get(tube, "")
    letter, shape = SIGNS.get(outcome, ("L" if tube.startswith("L") else "•", "circle"))
    said = f" — {label('outcome', outcome, language)}" if outcome else ""
    return WellView(name, *place, letter, shape, outcome or "filled", f"{name}: {tube}{said}", tube)


def stepwise(counts: Mapping[str, int], states: Sequence[TubeState]) -> int:
    """Tubes in any of ``states``."""
    return sum(counts.get(state, 0) for state in states)
