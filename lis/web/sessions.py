"""Who is asking: sign-in with throttling, the cookie of a browser, the token of a program."""

from __future__ import annotations

import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final

from fastapi import Request
from sqlalchemy import Connection
from starlette.responses import Response

from lis import auth, barcodes, queries
from lis.auth import Identity, SignIn, stations, throttle
from lis.db import Unit
from lis.errors import Forbidden, Invalid, NotSignedIn
from lis.laboratory import Laboratory

REMEMBERED: Final = 10_000
"""Sign-ins kept in memory at most."""
STATION_SECONDS: Final = 400 * 24 * 3600
"""How long a browser remembers which station it is; the longest that browsers allow."""
CACHE_SECONDS: Final = 2.0
"""A revoked sign-in is refused at latest after this time."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody tries to sign in: the secret of the browser's station cookie, and the address."""

    station: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """A fresh sign-in and the secret of the station at which it was made."""

    signed: SignIn
    station: str


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
    _seen: OrderedDict[str, _Seen] = field(default_factory=OrderedDict)
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def sign_in(self, name: str, password: str, place: Place) -> Opened:
        """Check name and password, slowly also for a name that does not exist.

        Raises:
            NotSignedIn: ``SIGN_IN_WRONG`` for either being wrong, without saying which.
            TooManyTries: this name, or this address, must wait.
        """
        row = self._try(throttle.NAME, name, place, lambda conn: queries.account_row(conn, name))
        right = auth.verify(row["password"] if row else _nobody(), password)
        if not right or row is None or not row["active"]:
            raise NotSignedIn("SIGN_IN_WRONG", "Name or password is wrong. Try again.")
        with self.lab.database.write(name) as unit:
            self._right(unit, throttle.NAME, name, place)
            throttle.forgive(unit, throttle.PIN, name)
            station = stations.sign_in_at(unit, place.station, name)
            origin = auth.Origin("password", auth.digest(station), place.address)
            return Opened(auth.open_session(unit, name, minutes=self._minutes, origin=origin), station)

    def switch(self, badge: str, pin: str, place: Place) -> Opened:
        """Let the holder of a badge and its PIN in, at a station where that is enough.

        Raises:
            Invalid: ``BADGE_TUBE``: the code of a tube was scanned into the field.
            Forbidden: ``STATION``. NotSignedIn: ``BADGE_WRONG``, without saying which of the two.
            TooManyTries: too many wrong PINs.
        """
        text = barcodes.clean(badge)
        if auth.is_of_the_bench(text):
            raise Invalid(
                "BADGE_TUBE",
                "That was a tube or plate, not a badge; it was not recorded. Unlock first, then scan again.",
                barcode=text,
            )
        now = self.lab.database.clock.now()
        with self.lab.database.read() as conn:
            station = queries.station_row(conn, auth.digest(place.station)) if place.station else None
            row = queries.account_of_badge(conn, self.badge_hash(text))
        stations.check(station, now, self._shift)
        subject = row["name"] if row else f"badge at {auth.digest(place.station)}"
        self._try(throttle.PIN, subject, place, lambda _: None)
        right = auth.verify(row["pin"] if row and row["pin"] else _nobody(), pin)
        if not right or row is None or not row["active"] or row["role"] in auth.PASSWORD_ONLY:
            raise NotSignedIn(
                "BADGE_WRONG", "Badge or PIN is wrong. Try again, or sign in with your password."
            )
        with self.lab.database.write(row["name"]) as unit:
            self._right(unit, throttle.PIN, subject, place)
            origin = auth.Origin("badge", auth.digest(place.station), place.address)
            return Opened(
                auth.open_session(unit, row["name"], minutes=self._minutes, origin=origin), place.station
            )

    def prove(self, secret: str, who: Identity, *, password: str, pin: str, place: Place) -> None:
        """The person of a sign-in shows once more who it is; a covered screen is open again.

        Raises:
            NotSignedIn: ``PROOF_WRONG``. Forbidden: ``STATION``: a PIN where it is not taken.
            TooManyTries: too many wrong ones.
        """
        limit = throttle.NAME if password else throttle.PIN
        if not password:
            with self.lab.database.read() as conn:
                station = queries.station_row(conn, auth.digest(place.station)) if place.station else None
            stations.check(station, self.lab.database.clock.now(), self._shift)
        row = self._try(limit, who.name, place, lambda conn: queries.account_row(conn, who.name))
        hashed = row["password" if password else "pin"] if row else ""
        if not auth.verify(hashed or _nobody(), password or pin) or not hashed:
            raise Forbidden("PROOF_WRONG", "Password or PIN is wrong. Try again; nothing was recorded.")
        with self.lab.database.write(who.name) as unit:
            self._right(unit, limit, who.name, place)
            auth.prove_session(unit, secret)
        self.forget(secret)

    def lock(self, secret: str, name: str) -> None:
        """Cover the screen: this sign-in opens nothing until its person shows who it is."""
        with self.lab.database.write(name) as unit:
            auth.lock_session(unit, secret)
        self.forget(secret)

    def _try(
        self, limit: throttle.Limit, subject: str, place: Place, ask: Callable[[Connection], Any]
    ) -> Any:
        """Count a try before it is checked, and look up what it is checked against."""
        with self.lab.database.write(subject[:80]) as unit:
            throttle.begin(unit, throttle.ADDRESS, place.address)
            throttle.begin(unit, limit, subject)
            return ask(unit.conn)

    def _right(self, unit: Unit, limit: throttle.Limit, subject: str, place: Place) -> None:
        throttle.forgive(unit, limit, subject)
        throttle.take_back(unit, throttle.ADDRESS, place.address)

    def badge_hash(self, text: str) -> str:
        """What is stored of a badge: a hash under the laboratory's key, for badge numbers are short."""
        return self.lab.vault.fingerprint(f"badge:{text}")

    @property
    def _minutes(self) -> int:
        return self.lab.settings.session_minutes

    @property
    def _shift(self) -> timedelta:
        return timedelta(hours=self.lab.settings.shift_hours)

    def takes_badges(self, request: Request) -> bool:
        """Whether badge and PIN are enough at this browser now."""
        secret = request.cookies.get(self.station_cookie, "")
        if not secret:
            return False
        with self.lab.database.read() as conn:
            row = queries.station_row(conn, auth.digest(secret))
        return stations.allows(row, self.lab.database.clock.now(), self._shift)

    def forget(self, secret: str) -> None:
        """Ask the database again who holds this secret."""
        with self._turn:
            self._seen.pop(auth.digest(secret), None)

    def forget_all(self) -> None:
        """Ask the database again about everybody: accounts were changed."""
        with self._turn:
            self._seen.clear()

    def sign_out(self, secret: str, name: str) -> None:
        """End a sign-in at once."""
        with self.lab.database.write(name) as unit:
            auth.close_session(unit, secret)
        self.forget(secret)

    def leave(self, request: Request) -> None:
        """End the sign-in that a browser had before another one was made at it."""
        secret, from_cookie = self.secret_of(request)
        if not secret or not from_cookie:
            return
        with self.lab.database.write("sign-in") as unit:
            auth.close_session(unit, secret)
        self.forget(secret)

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

    @property
    def station_cookie(self) -> str:
        """Name of the cookie by which a shared station is known."""
        return f"{self.cookie}-station"

    def let_in(self, response: Response, opened: Opened) -> None:
        """Hand sign-in and station to the browser."""
        self.set_cookie(response, opened.signed.secret)
        response.set_cookie(
            self.station_cookie,
            opened.station,
            httponly=True,
            samesite="strict",
            secure=self.lab.settings.secure_cookies,
            path="/",
            max_age=STATION_SECONDS,
        )

    def place_of(self, request: Request) -> Place:
        """Where a request comes from."""
        address = request.client.host if request.client else ""
        return Place(request.cookies.get(self.station_cookie, ""), address)

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


def check_origin(request: Request) -> None:
    """Refuse a sign-in that a page of another site sends: it would make somebody work under another name.

    Raises:
        Forbidden: ``CSRF``.
    """
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise Forbidden("CSRF", "This page is out of date. Load it again and repeat; nothing was recorded.")


@lru_cache(maxsize=1)
def _nobody() -> str:
    """A hash that no password fits, so that an unknown name takes as long as a wrong password."""
    return auth.hash_password(secrets.token_urlsafe(24))
