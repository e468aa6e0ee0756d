"""Who is asking: sign-in with throttling, the cookie of a browser, the token of a program."""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from math import ceil
from typing import Final

from fastapi import Request
from starlette.responses import Response

from lis import auth, queries
from lis.auth import Identity, SignIn
from lis.clock import Clock
from lis.errors import Forbidden, NotSignedIn, TooManyTries
from lis.laboratory import Laboratory

FREE_TRIES: Final = 5
"""Wrong passwords before waiting begins."""
LONGEST_WAIT: Final = 300.0
"""Seconds a name waits at most after yet another wrong password."""
REMEMBERED: Final = 10_000
"""Names or sign-ins kept in memory at most."""
CACHE_SECONDS: Final = 2.0
"""A revoked sign-in is refused at latest after this time."""


@dataclass
class Throttle:
    """Wrong passwords per name. Nothing sleeps: a name that must wait is told for how long."""

    clock: Clock
    _failed: OrderedDict[str, tuple[int, datetime]] = field(default_factory=OrderedDict)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def check(self, name: str) -> None:
        """Raise ``TooManyTries`` while ``name`` must wait."""
        with self._turn:
            count, until = self._failed.get(name, (0, self.clock.now()))
        left = (until - self.clock.now()).total_seconds()
        if count >= FREE_TRIES and left > 0:
            wait = str(ceil(left))
            raise TooManyTries(
                "WAIT", f"Too many wrong passwords. Try again in {wait} seconds.", seconds=wait
            )

    def failed(self, name: str) -> None:
        """Count one more wrong password; from the fifth on the wait doubles each time."""
        with self._turn:
            count = self._failed.pop(name, (0, None))[0] + 1
            wait = min(2.0 ** (count - FREE_TRIES), LONGEST_WAIT) if count >= FREE_TRIES else 0.0
            self._failed[name] = (count, self.clock.now() + timedelta(seconds=wait))
            while len(self._failed) > REMEMBERED:
                self._failed.popitem(last=False)

    def passed(self, name: str) -> None:
        """Forget the wrong passwords of ``name``."""
        with self._turn:
            self._failed.pop(name, None)


@dataclass(frozen=True, slots=True)
class _Seen:
    """A sign-in that was looked up not long ago, and when its holder last asked for anything."""

    identity: Identity
    looked_up: float
    asked: datetime


@dataclass
class Sessions:
    """Sign-ins of one application."""

    lab: Laboratory
    throttle: Throttle
    _seen: OrderedDict[str, _Seen] = field(default_factory=OrderedDict)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def sign_in(self, name: str, password: str) -> SignIn:
        """Check name and password, slowly also for a name that does not exist.

        Raises:
            NotSignedIn: ``SIGN_IN`` for either being wrong, without saying which.
            TooManyTries: this name must wait.
        """
        self.throttle.check(name)
        with self.lab.database.read() as conn:
            row = queries.account_row(conn, name)
        right = auth.verify(row["password"] if row else _nobody(), password)
        if not right or row is None or not row["active"]:
            self.throttle.failed(name)
            raise NotSignedIn("SIGN_IN_WRONG", "Name or password is wrong. Try again.")
        self.throttle.passed(name)
        with self.lab.database.write(name) as unit:
            return auth.open_session(unit, name, minutes=self.lab.settings.session_minutes)

    def sign_out(self, secret: str, name: str) -> None:
        """End a sign-in at once."""
        with self.lab.database.write(name) as unit:
            auth.close_session(unit, secret)
        with self._turn:
            self._seen.pop(auth.digest(secret), None)

    def identify(self, secret: str) -> Identity:
        """Who holds this secret; the database is asked at most every two seconds.

        Raises:
            NotSignedIn: unknown, expired, revoked, or idle for too long.
        """
        key = auth.digest(secret)
        now = self.lab.database.clock.now()
        with self._turn:
            seen = self._seen.get(key)
        idle = timedelta(minutes=self.lab.settings.idle_minutes)
        if seen is not None and seen.identity.purpose == "session" and now - seen.asked > idle:
            self.sign_out(secret, seen.identity.name)
            raise NotSignedIn("SIGN_IN", "You were away for too long. Sign in again; nothing was lost.")
        moment = time.monotonic()
        if seen is None or moment - seen.looked_up > CACHE_SECONDS:
            with self.lab.database.read() as conn:
                identity = auth.identify(conn, secret, now)
            looked_up = moment
        else:
            identity, looked_up = seen.identity, seen.looked_up
        with self._turn:
            self._seen[key] = _Seen(identity, looked_up, now)
            self._seen.move_to_end(key)
            while len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        return identity

    def known(self, secret: str) -> bool:
        """Whether :meth:`identify` will answer from memory."""
        seen = self._seen.get(auth.digest(secret))
        return seen is not None and time.monotonic() - seen.looked_up <= CACHE_SECONDS

    @property
    def cookie(self) -> str:
        """Name of the cookie; the prefix makes browsers insist on HTTPS and this host."""
        return "__Host-lis" if self.lab.settings.secure_cookies else "lis"

    def set_cookie(self, response: Response, secret: str) -> None:
        """Hand the secret to the browser, out of reach of scripts and other sites."""
        response.set_cookie(
            self.cookie,
            secret,
            httponly=True,
            samesite="strict",
            secure=self.lab.settings.secure_cookies,
            path="/",
            max_age=self.lab.settings.session_minutes * 60,
        )

    def secret_of(self, request: Request) -> tuple[str, bool]:
        """The secret of a request, and whether it came from a cookie (then a change needs the CSRF token)."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return token.strip(), False
        return request.cookies.get(self.cookie, ""), True


def check_csrf(identity: Identity, given: str) -> None:
    """Refuse a change that does not carry the token of this sign-in.

    Raises:
        Forbidden: ``CSRF``: the request may come from another site.
    """
    if not given or not hmac.compare_digest(identity.csrf.encode(), given.encode()):
        raise Forbidden("CSRF", "This page is out of date. Load it again and repeat; nothing was recorded.")


@lru_cache(maxsize=1)
def _nobody() -> str:
    """A hash that no password fits, so that an unknown name takes as long as a wrong password."""
    return auth.hash_password(secrets.token_urlsafe(24))
