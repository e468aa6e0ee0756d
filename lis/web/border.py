"""What every request passes: size limit, security headers, counting, and the last catch of all faults."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lis.services.inbox import MAX_BYTES
from lis.web.metrics import Metrics
from lis.web.problems import internal, respond

log = logging.getLogger(__name__)

MAX_BODY: Final = 4 * 1024 * 1024
"""Bytes of a JSON request; a thousand tubes with ten persons each are below this."""
MAX_UPLOAD: Final = MAX_BYTES + 64 * 1024
"""Bytes of an uploaded run file with its form."""

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
DOCS_POLICY: Final = POLICY.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")
"""Swagger UI sets styles from its script; it runs no inline script."""

HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass(frozen=True)
class Border:
    """ASGI middleware around the whole application."""

    app: ASGIApp
    metrics: Metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 0

        async def outward(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _protect(MutableHeaders(scope=message), scope["path"])
            await send(message)

        try:
            await self.app(scope, _limited(scope, receive), outward)
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            self.metrics.errors.labels("INTERNAL").inc()
            if status:
                raise
            await respond(internal())(scope, receive, outward)
        finally:
            route = _route(scope)
            self.metrics.requests.labels(scope["method"], route, str(status or 500)).inc()
            self.metrics.seconds.labels(route).observe(time.perf_counter() - began)


def _protect(headers: MutableHeaders, path: str) -> None:
    for name, value in HEADERS.items():
        headers[name] = value
    headers["Content-Security-Policy"] = DOCS_POLICY if path == "/api/v1/docs" else POLICY
    if "cache-control" not in headers:
        headers["Cache-Control"] = "public, max-age=3600" if path.startswith("/docs-static/") else "no-cache"


def _route(scope: Scope) -> str:
    """The template of the route, so that barcodes never become labels."""
    path = getattr(scope.get("route"), "path", "")
    return str(path) or ("/static" if "static" in scope["path"].split("/")[1] else "(none)")


def _limited(scope: Scope, receive: Receive) -> Receive:
    """``receive`` that refuses more bytes than the address takes, before they fill the memory."""
    most = MAX_UPLOAD if scope["path"] == "/api/v1/runs" else MAX_BODY
    announced = Headers(scope=scope).get("content-length", "")
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        if announced.isdigit() and int(announced) > most:
            raise HTTPException(413, _too_large(most))
        message = await receive()
        if message["type"] == "http.request":
            taken += len(message.get("body", b""))
            if taken > most:
                raise HTTPException(413, _too_large(most))
        return message

    return counted


def _too_large(most: int) -> str:
    return f"This is larger than {most // 1024:,} KiB, the most that is taken here. Nothing was recorded."
