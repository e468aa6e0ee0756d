"""What templates need: words in the language of the screen, local times, plate maps, time left."""

from __future__ import annotations

import gzip
import re
from collections.abc import Mapping, Sequence
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
from lis.queries import Counted
from lis.tube import TubeState
from lis.web.catalogues import LANGUAGES
from lis.web.maps import COLOURS, SIGNS
from lis.web.words import error_zh, for_scripts, label, reason_text, say

LANGUAGE_COOKIE: Final = "lis_language"

PACKED_FROM: Final = 500
"""Bytes from which on pages, scripts and styles are packed.

A page may be packed although it holds a secret, the token against forged requests: to guess it from sizes, a
stranger's page must make this browser ask for ours with text of its choice, and cookies that are strictly of
this site are not sent then.
"""

QUICK: Final = 4
"""Level of packing: a map of 384 wells shrinks to a tenth in two milliseconds."""


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
        "flag": _flag,
        "refusal": _refusal,
        "when": _when,
        "day": _day,
        "left": _left,
        "since": _since,
        "last_day": _last_day,
        "counted": _counted,
        "signs": SIGNS,
        "colours": COLOURS,
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
def _flag(context: Context, flag: str) -> str:
    """A flag in words, with the well or the cycles that it names; the flag itself if it has none."""
    head = re.split("[: ]", flag, maxsplit=1)[0]
    said = label("flag", head, context["language"])
    return said + flag[len(head) :].replace(":", " ")


@pass_context
def _refusal(context: Context, error: LisError) -> str:
    """Why something was refused, in the language of the screen."""
    return error_zh(error.code, error.details) if context["language"] == "zh" else error.sentence


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
def _counted(context: Context, counted: Counted) -> str:
    """How many there are, or more than how many."""
    if counted.more:
        return say("lists.more_than", context["language"], n=f"{counted.number:,}")
    return str(counted.number)


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
    """A rendered page in the language of the person who asked, packed where the browser can unpack it."""
    body = written(request, name, identity, **values).encode()
    headers = {"Cache-Control": "no-store", "Vary": "Accept-Encoding"}
    if len(body) >= PACKED_FROM and "gzip" in request.headers.get("accept-encoding", ""):
        body = gzip.compress(body, QUICK, mtime=0)
        headers["Content-Encoding"] = "gzip"
    return HTMLResponse(body, status, headers)


def written(request: Request, name: str, identity: Identity | None, /, **values: Any) -> str:
    """The text of a template in the language of the person who asked."""
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
        "lock_minutes": settings.lock_minutes,
        "script_words": for_scripts(language),
        **values,
    }
    return environment().get_template(name).render(context)


def error_values(error: LisError, language: str, sentence_zh: str) -> dict[str, Any]:
    """What the error page shows."""
    return {"error": error, "sentence": sentence_zh if language == "zh" else error.sentence}


def stepwise(counts: Mapping[str, int], states: Sequence[TubeState]) -> int:
    """Tubes in any of ``states``."""
    return sum(counts.get(state, 0) for state in states)
