"""The wall: one picture of the laboratory for every monitor, worked out once and pushed to all of them."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import Field
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from lis import auth, queries
from lis.auth import Identity
from lis.clock import to_text
from lis.db import Unit
from lis.errors import LisError, NotSignedIn
from lis.laboratory import Laboratory
from lis.services import wall as walls
from lis.web.catalogues import LANGUAGES
from lis.web.commands import Asked, Caller, encode, identify, reply
from lis.web.live import News
from lis.web.payloads import Payload
from lis.web.views import language_of, page
from lis.web.words import wordings

log = logging.getLogger(__name__)

router = APIRouter(tags=["wall"])

WALL_COOKIE: Final = "lis_wall"
PACE_SECONDS: Final = 2.0
"""At most this often the wall is worked out, however many watch."""

FRESH_SECONDS: Final = 10.0
"""At least this often while somebody watches: tubes become late without anything happening to them."""


class Wall:
    """The picture that all monitors share.

    Attributes:
        news: what the monitors listen to; one message serves all of them.
        made: how often the picture was worked out.
    """

    def __init__(self, lab: Laboratory, pace: float = PACE_SECONDS) -> None:
        self.news = News()
        self.made = 0
        self._lab = lab
        self._pace = pace
        self._turn = threading.Lock()
        self._day = walls.Day()
        self._picture: dict[str, Any] = {}
        self._event = -1
        self._at = 0.0
        self._ticking: asyncio.Task[None] | None = None

    def picture(self) -> dict[str, Any]:
        """The picture as of now or a moment ago."""
        with self._turn:
            if not self._picture or time.monotonic() - self._at >= self._pace:
                self._look()
            return self._picture

    def _look(self) -> bool:
        """Work the picture out if anything happened or time has passed; whether it looks different."""
        database, moment = self._lab.database, time.monotonic()
        with database.read() as conn:
            last = queries.last_event(conn)
            whole = self._picture.get("whole", False)
            if last == self._event and whole and moment - self._at < FRESH_SECONDS:
                return False
            now = database.clock.now()
            whole = self._day.read_on(conn, now)
            silent = timedelta(minutes=self._lab.settings.silent_minutes)
            made = walls.message(conn, self._lab.rules, self._day, now, midnight_of(now, self._lab), silent)
        self.made += 1
        changed = {**self._picture, "at": ""} != {**made, "whole": whole, "at": ""}
        self._picture, self._event, self._at = {**made, "whole": whole, "at": now}, last, moment
        return changed

    def _step(self) -> str:
        """The picture as text if it changed, else nothing."""
        with self._turn:
            return encode(self._picture).decode() if self._look() else ""

    async def watch(self) -> AsyncIterator[str]:
        """The picture as it is and then every change of it, as lines of an event stream."""
        told = self.news.listen()
        async for line in told:  # the first line comes when the listener is known: no change is missed
            yield line
            break
        yield f"event: wall\ndata: {encode(await run_in_threadpool(self.picture)).decode()}\n\n"
        if self._ticking is None or self._ticking.done():
            self._ticking = asyncio.create_task(self._tick())
        async for line in told:
            yield line

    async def _tick(self) -> None:
        """As long as anybody watches, tell all of them at once what changed."""
        while self.news.listeners:
            try:
                text = await run_in_threadpool(self._step)
            except LisError:
                log.exception("the wall could not be worked out; it is tried again")
                text = ""
            if text:
                self.news.tell_text("wall", text)
            await asyncio.sleep(self._pace)

    def close(self) -> None:
        """Let go of every monitor, so that a server that stops need not wait for them."""
        self.news.close()


async def watching(request: Request) -> Identity:
    """Who looks at the wall: a monitor with its own key, or somebody signed in.

    Raises:
        NotSignedIn: neither.
    """
    key = request.cookies.get(WALL_COOKIE, "")
    if key:
        lab: Laboratory = request.app.state.lab
        found = await run_in_threadpool(_monitor, lab, key)
        if found is not None:
            return found
    identity = await identify(request)
    identity.must("look")
    return identity


def _monitor(lab: Laboratory, key: str) -> Identity | None:
    with lab.database.read() as conn:
        try:
            return auth.identify_wall(conn, key, lab.database.clock.now())
        except NotSignedIn:
            return None


Watcher = Annotated[Identity, Depends(watching)]


@router.get("/wall", include_in_schema=False, response_class=HTMLResponse)
async def wall_page(
    request: Request,
    key: Annotated[str, Query(max_length=80)] = "",
    language: Annotated[str, Query(max_length=2)] = "",
) -> Response:
    """The wall, full screen. A monitor opens it once with its key, which then is a cookie of that browser."""
    if key:
        answer: Response = RedirectResponse("/wall" + (f"?language={language}" if language else ""), 303)
        secure = request.app.state.lab.settings.secure_cookies
        answer.set_cookie(
            WALL_COOKIE, key, max_age=auth.WALL_DAYS * 86_400, httponly=True, samesite="strict", path="/",
            secure=secure,
        )  # fmt: skip
        return answer
    who = await watching(request)
    wall: Wall = request.app.state.wall
    picture = await run_in_threadpool(wall.picture)
    chosen = language if language in LANGUAGES else language_of(request)
    named = {**wordings(chosen)["wall"]}
    named |= {f"tier.{name}": word for name, word in wordings(chosen)["tier"].items()}
    settings = request.app.state.lab.settings
    named_zh = settings.laboratory_zh or settings.laboratory
    may = who.purpose != auth.WALL and who.may("wall")
    return page(
        request, "wall.html", who if who.purpose != auth.WALL else None, picture=encode(picture).decode(),
        named=named, may_open=may, language=chosen,
        laboratory=named_zh if chosen == "zh" else settings.laboratory,
    )  # fmt: skip


@router.get("/api/v1/wall")
def wall_json(request: Request, who: Watcher) -> Response:
    """The picture of the wall: clocks, on-time share, stages, backlog, instruments. No person data."""
    del who
    wall: Wall = request.app.state.wall
    return reply(wall.picture())


@router.get("/api/v1/wall/live")
async def wall_live(request: Request, who: Watcher) -> Response:
    """Server-sent events: ``wall`` carries the whole picture, now and whenever it changes."""
    del who
    wall: Wall = request.app.state.wall
    return StreamingResponse(
        wall.watch(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )


class MonitorIn(Payload):
    """A monitor to open the wall on."""

    name: str = Field("", max_length=40)


@router.post("/api/v1/wall/monitors", status_code=201)
def open_monitor(order: MonitorIn, asked: Asked) -> Response:
    """An address that opens the wall on a monitor without signing in. It is shown once and never stored."""

    def act(unit: Unit) -> dict[str, Any]:
        return monitor(unit, asked.lab, order.name)

    return Caller(asked.lab, asked.identity).write("wall", act, 201)  # a secret is no reply to store


@router.post("/api/v1/wall/monitors/end")
def end_monitors(asked: Asked) -> Response:
    """Every address that opens the wall without signing in ends now."""
    return asked.write("wall", lambda unit: {"ended": end_all(unit)})


def monitor(unit: Unit, lab: Laboratory, name: str, account: str = "") -> dict[str, Any]:
    """A new key for a monitor, as an address."""
    signed, until = auth.open_wall(unit, account or unit.actor)
    _told(unit, "wall-opened", name, 1)
    address = f"{lab.settings.public_url}/wall?key={signed.secret}"
    return {"address": address, "path": f"/wall?key={signed.secret}", "until": to_text(until)}


def end_all(unit: Unit) -> int:
    """End the keys of all monitors; how many there were."""
    ended = auth.close_walls(unit)
    _told(unit, "wall-ended", "", ended)
    return ended


def _told(unit: Unit, act: str, what: str, count: int) -> None:
    row = {"at": unit.now, "actor": unit.actor, "act": act, "what": what, "form": "", "filters": ""}
    queries.add_export(unit.conn, row | {"row_count": count, "persons": False})


def midnight_of(now: datetime, lab: Laboratory) -> datetime:
    """When today began at the laboratory."""
    return now.astimezone(lab.zone).replace(hour=0, minute=0, second=0, microsecond=0)
