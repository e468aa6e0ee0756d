"""Sign-ins and access tokens: opaque secrets whose digest is stored, revocable at once.

A sign-in ends after an idle time and at latest after a fixed time. Its secret is renewed with every change
of person. While it is locked it opens nothing but the way back in.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from lis import queries
from lis.auth.acts import note
from lis.auth.passwords import digest
from lis.auth.roles import Identity, Role
from lis.errors import NotSignedIn

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from lis.db import Unit


WALL: Final = "wall"
"""Purpose of a key that opens the wall and nothing else."""

WALL_DAYS: Final = 365


@dataclass(frozen=True, slots=True)
class SignIn:
    """A fresh sign-in; the secret is shown once and never stored."""

    secret: str
    identity: Identity


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a sign-in came from, and how.

    Attributes:
        method: ``password`` or ``badge``.
        station: digest of the station, empty if none is known.
        address: network address.
    """

    method: str = "password"
    station: str = ""
    address: str = ""


def open_session(unit: Unit, name: str, *, minutes: float, origin: Origin | None = None) -> SignIn:
    """A sign-in for an account whose password, or badge and PIN, has been verified."""
    return _ticket(unit, name, "session", timedelta(minutes=minutes), origin or Origin())


def open_token(unit: Unit, name: str, *, days: int) -> SignIn:
    """An access token for a program or an instrument."""
    signed = _ticket(unit, name, "token", timedelta(days=days), Origin("token"))
    note(unit, "account", name, "token", f"{days} days")
    return signed


def open_wall(unit: Unit, name: str) -> tuple[SignIn, datetime]:
    """A key with which a monitor shows the wall, and when it ends. It opens nothing else.

    Raises:
        NotSignedIn: no such account. Forbidden: its role may not open walls.
    """
    row = queries.account_row(unit.conn, name)
    if row is not None:
        Identity(name, row["full_name"], Role(row["role"])).must("wall")
    signed = _ticket(unit, name, WALL, timedelta(days=WALL_DAYS), Origin(WALL))
    return signed, unit.now + timedelta(days=WALL_DAYS)


def close_walls(unit: Unit) -> int:
    """End the keys of all monitors; how many there were."""
    return queries.delete_rows(unit.conn, "ticket", {"purpose": WALL})


def _ticket(unit: Unit, name: str, purpose: str, life: timedelta, origin: Origin) -> SignIn:
    row = queries.account_row(unit.conn, name)
    if row is None or not row["active"]:
        raise NotSignedIn("SIGN_IN", "Name or password is wrong. Try again.")
    secret = secrets.token_urlsafe(32)
    ticket = {
        "digest": digest(secret),
        "account": name,
        "purpose": purpose,
        "csrf": secrets.token_urlsafe(16),
        "created_at": unit.now,
        "expires_at": unit.now + life,
        "method": origin.method,
        "proved_at": unit.now,
        "locked_at": None,
        "station": origin.station,
        "address": origin.address[:64],
    }
    queries.forget_tickets(unit.conn, unit.now - timedelta(days=1))
    queries.insert_rows(unit.conn, "ticket", [ticket])
    return SignIn(secret, _identity({**row, **ticket}))


def _identity(row: queries.Row) -> Identity:
    return Identity(
        name=row["account"],
        full_name=row["full_name"],
        role=Role(row["role"]),
        csrf=row["csrf"],
        purpose=row["purpose"],
        site=row["site"],
        proved_at=row["proved_at"],
        must_change=row["must_change"] and row["purpose"] == "session",
        locked=row["locked_at"] is not None,
        station=row["station"],
    )


def identify(conn: Connection, secret: str, now: datetime) -> Identity:
    """Who holds this secret; the sign-in may be locked.

    Raises:
        NotSignedIn: unknown, expired or revoked, or the account was closed.
    """
    found = _holder(conn, secret, now)
    if found.purpose == WALL:
        raise _stranger()
    return found


def identify_wall(conn: Connection, secret: str, now: datetime) -> Identity:
    """The monitor that holds this key.

    Raises:
        NotSignedIn: as :func:`identify`, or the secret is no monitor's.
    """
    found = _holder(conn, secret, now)
    if found.purpose != WALL:
        raise _stranger()
    return found


def _stranger() -> NotSignedIn:
    return NotSignedIn("SIGN_IN", "You are not signed in, or too long ago. Sign in again; nothing was lost.")


def _holder(conn: Connection, secret: str, now: datetime) -> Identity:
    row = queries.ticket_row(conn, digest(secret)) if secret else None
    if row is None or not row["active"] or row["expires_at"] <= now:
        raise _stranger()
    return _identity(row)


def close_session(unit: Unit, secret: str) -> None:
    """Sign out: the secret is worth nothing from now on."""
    queries.delete_rows(unit.conn, "ticket", {"digest": digest(secret)})


def lock_session(unit: Unit, secret: str) -> None:
    """Cover the screen: the secret opens nothing until its person gives password or PIN."""
    queries.update_row(unit.conn, "ticket", {"digest": digest(secret)}, locked_at=unit.now)


def prove_session(unit: Unit, secret: str) -> None:
    """Its person has just given password or PIN: the screen is open, and signing is possible for a while."""
    queries.update_row(unit.conn, "ticket", {"digest": digest(secret)}, locked_at=None, proved_at=unit.now)
