"""One request: who asks, what was sent, and one transaction in which it is done and answered.

The reply to a request with an ``Idempotency-Key`` is stored in the transaction of its effect, so a
crash keeps both or neither. Writers take turns in the database: of two requests with one key the
second finds the reply of the first. Refusals are not stored; a refused request has no effect.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import Connection
from starlette.responses import Response

from lis import queries
from lis.auth import Identity
from lis.clock import to_text
from lis.db import GENESIS, Head, Unit
from lis.errors import Conflict, Forbidden, Invalid, NotSignedIn
from lis.laboratory import Laboratory
from lis.web import permits
from lis.web.sessions import Sessions, check_csrf

log = logging.getLogger(__name__)

KEY_LENGTH = 120
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Answer:
    """What an act answers where the status depends on what it did."""

    value: Any
    status: int


@dataclass(frozen=True, slots=True)
class Caller:
    """One authenticated request.

    Attributes:
        key: its idempotency key, empty if it has none.
        digest: SHA-256 of method, address and body.
        browser: it came with the cookie of a browser, so a person can be asked for the password again.
    """

    lab: Laboratory
    identity: Identity
    key: str = ""
    digest: str = ""
    browser: bool = False

    def must(self, action: str) -> None:
        """Refuse unless this role may do ``action`` and, at a browser, its person is sure to be there.

        Raises:
            Forbidden: ``ROLE`` or ``REAUTH``.
        """
        self.identity.must(action)
        if self.browser:
            self.identity.must_have_proved(action, self.lab.database.clock.now())

    def read(self, action: str, ask: Callable[[Connection], Any]) -> Response:
        """Answer ``ask`` from one snapshot, if this role may do ``action``."""
        self.identity.must(action)
        with self.lab.database.read() as conn:
            found = ask(conn)
        return reply(found)

    def looking(self, conn: Connection) -> Unit:
        """A unit for services that only look (proposals, reasons)."""
        return Unit(conn, self.lab.database.clock.now(), self.identity.name, Head(0, GENESIS))

    def write(self, action: str, act: Callable[[Unit], Any], status: int = 200) -> Response:
        """Do ``act`` and store its reply in one transaction, once per idempotency key.

        Raises:
            Forbidden: ``ROLE``, or ``REAUTH``: the person must give password or PIN again.
            Conflict: ``IDEMPOTENCY_CONFLICT``: the key was used for another request.
        """
        self.must(action)
        with self.lab.database.write(self.identity.name) as unit:
            stored = self.stored(unit.conn)
            if stored is not None:
                return stored
            done = act(unit)
            value, status = (done.value, done.status) if isinstance(done, Answer) else (done, status)
            body = encode(value)
            if self.key:
                row = {
                    "key": self.key,
                    "account": self.identity.name,
                    "request": self.digest,
                    "status": status,
                    "reply": body.decode(),
                    "at": unit.now,
                }
                queries.insert_rows(unit.conn, "idempotency", [row])
        return _json(body, status)

    def stored(self, conn: Connection) -> Response | None:
        """The stored reply of an earlier request with this key, or None.

        Raises:
            Conflict: ``IDEMPOTENCY_CONFLICT``.
        """
        found = queries.stored_reply(conn, self.key, self.identity.name) if self.key else None
        if found is None:
            return None
        if found["request"] != self.digest:
            raise Conflict(
                "IDEMPOTENCY_CONFLICT",
                "This Idempotency-Key was used for another request. Nothing was done; send a new key.",
            )
        return _json(found["reply"].encode(), found["status"], {"Idempotent-Replay": "true"})


def encode(value: Any) -> bytes:
    """``value`` as JSON; moments as UTC text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_plain).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return to_text(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


def reply(value: Any, status: int = 200) -> Response:
    """``value`` as a JSON response; a ready response as it is."""
    return value if isinstance(value, Response) else _json(encode(value), status)


def _json(body: bytes, status: int, extra: dict[str, str] | None = None) -> Response:
    return Response(body, status, {"Cache-Control": "no-store", **(extra or {})}, "application/json")


async def caller(request: Request) -> Caller:
    """The authenticated request; raises before the body is looked at.

    Raises:
        NotSignedIn: no or expired credentials. Forbidden: ``CSRF``.
        Invalid: ``IDEMPOTENCY_KEY`` is too long.
    """
    identity = await identify(request)
    lab: Laboratory = request.app.state.lab
    if request.method in SAFE:
        return Caller(lab, identity)
    key = request.headers.get("idempotency-key", "").strip()
    if len(key) > KEY_LENGTH:
        raise Invalid("IDEMPOTENCY_KEY", f"An Idempotency-Key has at most {KEY_LENGTH} characters.")
    digest = ""
    if key and not request.headers.get("content-type", "").startswith("multipart/"):
        digest = digest_of(request, await request.body())
    sessions: Sessions = request.app.state.sessions
    return Caller(lab, identity, key, digest, browser=sessions.secret_of(request)[1])


async def identify(request: Request) -> Identity:
    """Who asks; a browser's change must carry its CSRF token, and the role must fit the address.

    Raises:
        NotSignedIn: no or expired credentials, or ``LOCKED``: the screen is covered.
        Forbidden: ``CSRF``, ``ROLE``, or ``PASSWORD_CHANGE``: one's own password must be chosen first.
    """
    sessions: Sessions = request.app.state.sessions
    secret, from_cookie = sessions.secret_of(request)
    if sessions.known(secret):
        identity = sessions.identify(secret)
    else:
        identity = await run_in_threadpool(sessions.identify, secret)
    if from_cookie and request.method not in SAFE:
        check_csrf(identity, request.headers.get("x-csrf", ""))
    request.state.identity = identity
    _admit(request, identity)
    return identity


def _admit(request: Request, identity: Identity) -> None:
    """Hold a request against the table of permits."""
    door = f"{request.method} {getattr(request.scope.get('route'), 'path', '')}"
    if identity.locked and door not in permits.WHILE_LOCKED:
        raise NotSignedIn(
            "LOCKED", "This screen is locked. Unlock it with your PIN or password; nothing was lost."
        )
    if identity.must_change and door not in permits.WHILE_CHANGING:
        raise Forbidden(
            "PASSWORD_CHANGE",
            "Somebody else set your password. Choose your own first, on the page of your account.",
        )
    if action := permits.PERMITS.get(door):
        identity.must(action)


def digest_of(request: Request, *parts: bytes) -> str:
    """SHA-256 of method, address and content of a request."""
    found = hashlib.sha256(f"{request.method} {request.url.path}?{request.url.query}\n".encode())
    for part in parts:
        found.update(hashlib.sha256(part).digest())
    return found.hexdigest()


Asked = Annotated[Caller, Depends(caller)]
"""Parameter of every endpoint that needs a signed-in caller."""
