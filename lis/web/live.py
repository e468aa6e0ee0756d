"""What is happening now: one stream of news for every open screen, and the curves of running plates.

News tell a screen that something changed and what to ask for again; they carry no results. A screen that
was away asks for everything when it comes back, so news that found nobody are not kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from lis.errors import NotFound
from lis.services import results
from lis.web.commands import Asked

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sqlalchemy import Connection

    from lis.services.results import Foresight, Ingested
    from lis.web.commands import Caller

BEAT_SECONDS: Final = 15.0
"""A line of comment this often keeps the connection open through proxies and shows when it broke."""

STREAM_SECONDS: Final = 600.0
"""After this the browser asks anew, so that a session that ended meanwhile hears nothing more."""

WAITING: Final = 100

EARLY: Final = 10
"""Cycles in which nothing but the strongest specimens rises yet."""

BACKGROUND_SHARE: Final = 0.25
NOISES: Final = 100
"""Of the background, and of the SD of a reading: how high the scale of live curves is at least."""

router = APIRouter(prefix="/api/v1", tags=["live"])


class News:
    """Hands short messages to every screen that listens; may be told from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: set[tuple[asyncio.AbstractEventLoop, asyncio.Queue[str | None]]] = set()
        self._open = True

    @property
    def listeners(self) -> int:
        """How many screens listen."""
        with self._lock:
            return len(self._listeners)

    def tell(self, kind: str, **data: Any) -> None:
        """Tell everybody; a screen too slow to take it hears instead that it should ask for everything."""
        self.tell_text(kind, json.dumps(data, ensure_ascii=False))

    def tell_text(self, kind: str, line: str) -> None:
        """Tell everybody one line of JSON; it is made once, however many listen."""
        text = f"event: {kind}\ndata: {line}\n\n"
        with self._lock:
            for loop, waiting in self._listeners:
                with contextlib.suppress(RuntimeError):  # its loop has ended with its server
                    loop.call_soon_threadsafe(_put, waiting, text)

    def of_reads(self, plate: str, cycle: int) -> None:
        """A running plate was read."""
        self.tell("reads", plate=plate, cycle=cycle)

    def of_file(self, done: Ingested) -> None:
        """A file was read, or set aside."""
        self.tell("file", plate=done.plate_id, state=done.state)

    def close(self) -> None:
        """End every stream, so that a server that stops need not wait for screens."""
        with self._lock:
            self._open = False
            for loop, waiting in self._listeners:
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(_put, waiting, None)

    async def listen(self, beat: float = BEAT_SECONDS, most: float = STREAM_SECONDS) -> AsyncIterator[str]:
        """News as lines of an event stream, until the server stops or ``most`` seconds have passed."""
        loop = asyncio.get_running_loop()
        own: tuple[asyncio.AbstractEventLoop, asyncio.Queue[str | None]] = (loop, asyncio.Queue())
        with self._lock:
            if not self._open:
                return
            self._listeners.add(own)
        end = loop.time() + most
        try:
            yield "retry: 2000\n\n"
            while (left := end - loop.time()) > 0:
                try:
                    text = await asyncio.wait_for(own[1].get(), min(beat, left))
                except TimeoutError:
                    text = ": still here\n\n"
                if text is None:
                    return
                yield text
        finally:
            with self._lock:
                self._listeners.discard(own)


def _put(waiting: asyncio.Queue[str | None], text: str | None) -> None:
    """In the loop of the listener: at most so many wait, then one that asks for everything."""
    if text is not None and waiting.qsize() >= WAITING:
        while not waiting.empty():
            waiting.get_nowait()
        text = "event: everything\ndata: {}\n\n"
    waiting.put_nowait(text)


@router.get("/live")
async def live_news(request: Request, asked: Asked) -> Response:
    """Server-sent events: ``reads`` (a running plate was read), ``file`` (a file was read or set aside).

    Every event carries the plate code, so that a screen can ask for what it shows.
    """
    asked.identity.must("look")
    news: News = request.app.state.news
    return StreamingResponse(
        news.listen(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )


@router.get("/plates/{plate_id}/live")
def live_plate(plate_id: str, asked: Asked) -> Response:
    """The curves of a running plate so far and what they make likely. For planning; never a result."""
    return asked.read("look", lambda conn: live_json(asked, conn, plate_id))


def live_json(asked: Caller, conn: Connection, plate_id: str) -> dict[str, Any]:
    """Live curves, baseline taken off, and the foresight that rests on them.

    Raises:
        NotFound: ``NOT_LIVE``: no live readings of this plate have come.
    """
    unit = asked.looking(conn)
    live = results.live_curves(unit, plate_id)
    if live is None:
        raise NotFound("NOT_LIVE", f"No live readings of plate {plate_id[:40]} have come.", plate=plate_id)
    foreseen = results.foresee(unit, asked.lab.rules, plate_id, live)
    return {
        "plate": plate_id,
        "device": live.device,
        "run": live.run,
        "size": live.size,
        "cycle": live.cycle,
        "seen_at": live.seen_at,
        "curves": {dye: _drawn(stack) for dye, stack in live.curves.items()},
        "spans": {dye: span_of(stack) for dye, stack in live.curves.items()},
        "planning_only": True,
        **(foresight_json(foreseen) if foreseen else {}),
    }


def foresight_json(foreseen: Foresight) -> dict[str, Any]:
    """What a running plate makes likely, as the API tells it."""
    return {
        "targets": {dye: {"name": name, "control": own} for dye, (name, own) in foreseen.targets.items()},
        "cycle": foreseen.cycle,
        "cycles": foreseen.cycles,
        "ends_at": foreseen.ends_at,
        "outlook": foreseen.outlook,
        "nexts": foreseen.nexts,
        "open": foreseen.open,
        "failing": foreseen.failing,
        "expected_wells": sum(one.count for one in foreseen.expected),
    }


def span_of(stack: NDArray[np.float64]) -> float:
    """The least height of a dye's scale, in units of its signal: noise alone never fills the screen.

    A scale that fits the values makes mountains of noise while nothing has risen yet. A probe that works
    lifts its signal to a multiple of its background, so a quarter of the background is little for a rise and
    much for noise. Cyclers that take the background off themselves leave none to go by; there the noise is
    measured between neighbouring cycles before anything rises: a hundred of it is ten times the lowest
    threshold that the calling of curves would ever set.

    Args:
        stack: wells x cycles as measured; NaN where a value did not come.
    """
    early = stack[:, :EARLY]
    values, steps = (part[np.isfinite(part)] for part in (early, np.diff(early, axis=1)))
    level = abs(float(np.median(values))) if values.size else 0.0
    # of normal noise half of all differences are below 0.954 of its SD
    noise = float(np.median(np.abs(steps))) / 0.954 if steps.size else 0.0
    return float(f"{max(BACKGROUND_SHARE * level, NOISES * noise):.3g}")


def _drawn(stack: NDArray[np.float64]) -> list[list[float | None] | None]:
    """Curves for the eye: above the mean of their first cycles, four digits; None for wells never read."""
    return [_curve(row) for row in stack]


def _curve(row: NDArray[np.float64]) -> list[float | None] | None:
    values = row.tolist()
    present = [one for one in values if one == one]  # noqa: PLR0124 - False for NaN
    if not present:
        return None
    foot = present[2:8] or present[:1]
    base = sum(foot) / len(foot)
    return [float(f"{one - base:.4g}") if one == one else None for one in values]  # noqa: PLR0124
