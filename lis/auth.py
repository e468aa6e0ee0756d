"""Who may do what: accounts, sign-ins, access tokens, one table of permissions.

Sign-ins are opaque secrets whose digest is stored; they end after an idle time and at latest after a
fixed time, and can be revoked at once. Passwords follow OWASP ASVS 5.0 section 6.2: at least eight
characters, none of the common ones, no rules of composition, no forced change.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from lis import queries
from lis.errors import Forbidden, Invalid, NotSignedIn, Refused

if TYPE_CHECKING:
    from pwdlib import PasswordHash
    from sqlalchemy import Connection

    from lis.db import Unit


class Role(StrEnum):
    """What kind of work an account does."""

    TECHNICIAN = "technician"
    REVIEWER = "reviewer"
    MANAGER = "manager"
    ADMINISTRATOR = "administrator"
    INSTRUMENT = "instrument"


_BENCH = frozenset({Role.TECHNICIAN, Role.REVIEWER, Role.MANAGER})

PERMISSIONS: Final[dict[str, frozenset[Role]]] = {
    "look": _BENCH | {Role.ADMINISTRATOR},
    "register": _BENCH,
    "receive": _BENCH,
    "pool": _BENCH,
    "plate": _BENCH,
    "upload": _BENCH | {Role.INSTRUMENT},
    "hold": _BENCH,
    "person": frozenset({Role.REVIEWER, Role.MANAGER}),
    "quarantine": frozenset({Role.REVIEWER, Role.MANAGER}),
    "review": frozenset({Role.REVIEWER, Role.MANAGER}),
    "release": frozenset({Role.REVIEWER, Role.MANAGER}),
    "amend": frozenset({Role.REVIEWER, Role.MANAGER}),
    "discard": frozenset({Role.REVIEWER, Role.MANAGER}),
    "quality": frozenset({Role.REVIEWER, Role.MANAGER}),
    "duty": frozenset({Role.MANAGER, Role.ADMINISTRATOR}),
    "attend": _BENCH,
    "simulate": frozenset({Role.MANAGER}),
    "export": frozenset({Role.MANAGER, Role.ADMINISTRATOR}),
    "lots": _BENCH,
    "override-lot": frozenset({Role.MANAGER}),
    "correct": _BENCH,
    "wall": frozenset({Role.MANAGER, Role.ADMINISTRATOR}),
    "accounts": frozenset({Role.ADMINISTRATOR}),
    "devices": frozenset({Role.ADMINISTRATOR}),
}
"""Action -> roles that may do it."""

WALL: Final = "wall"
"""Purpose of a key that opens the wall and nothing else."""

WALL_DAYS: Final = 365

COMMON: Final = frozenset(
    [
        "password",
        "passw0rd",
        "password1",
        "12345678",
        "123456789",
        "1234567890",
        "11111111",
        "00000000",
        "qwertyui",
        "qwerty123",
        "iloveyou",
        "admin123",
        "administrator",
        "letmein1",
        "welcome1",
        "abc12345",
        "a1234567",
        "88888888",
        "66666666",
        "asdfghjk",
        "1q2w3e4r",
        "technician",
        "reviewer",
        "laboratory",
    ]
)
MIN_LENGTH: Final = 8
MAX_LENGTH: Final = 128


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is asking. ``csrf`` must come back with every change made from a browser."""

    name: str
    full_name: str
    role: Role
    csrf: str = ""
    purpose: str = "session"

    def may(self, action: str) -> bool:
        """Whether this role may do ``action``."""
        return self.role in PERMISSIONS[action]

    def must(self, action: str) -> None:
        """Raise ``Forbidden`` unless this role may do ``action``."""
        if not self.may(action):
            who = ", ".join(sorted(PERMISSIONS[action]))
            raise Forbidden("ROLE", f"{self.name} is a {self.role} and may not do this. It needs: {who}.")


@dataclass(frozen=True, slots=True)
class SignIn:
    """A fresh sign-in; the secret is shown once and never stored."""

    secret: str
    identity: Identity


@lru_cache(maxsize=1)
def _hasher() -> PasswordHash:
    from pwdlib import PasswordHash

    return PasswordHash.recommended()


def digest(secret: str) -> str:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def create_account(unit: Unit, name: str, full_name: str, role: str, password: str) -> None:
    """Add an account.

    Raises:
        Invalid: the name, role or password is not acceptable. Refused: the name is taken.
    """
    if not name.isidentifier() and not name.replace("-", "").replace(".", "").isalnum():
        raise Invalid("ACCOUNT_NAME", "An account name has letters, digits, dots and hyphens.")
    if role not in set(Role):
        raise Invalid("ROLE", f"A role is one of {', '.join(Role)}.")
    check_password(password)
    if queries.account_row(unit.conn, name) is not None:
        raise Refused("ACCOUNT_TAKEN", f"An account {name} exists already. Choose another name.")
    row = {
        "name": name,
        "full_name": full_name or name,
        "role": role,
        "password": hash_password(password),
        "active": True,
        "created_at": unit.now,
    }
    queries.insert_rows(unit.conn, "account", [row])


def check_password(password: str) -> None:
    """Refuse a password that is too short, too long or common."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise Invalid(
            "PASSWORD", f"A password has {MIN_LENGTH} to {MAX_LENGTH} characters; any characters will do."
        )
    if password.lower() in COMMON:
        raise Invalid("PASSWORD", "This password is among the first that anybody tries. Choose another one.")


def hash_password(password: str) -> str:
    """What is stored of a password (argon2id)."""
    return _hasher().hash(password)


def verify(row_password: str, password: str) -> bool:
    """Whether the password is right. Slow on purpose: call it outside a write transaction."""
    return _hasher().verify(password, row_password)


def open_session(unit: Unit, name: str, *, minutes: int) -> SignIn:
    """A sign-in for an account whose password has been verified."""
    return _ticket(unit, name, "session", timedelta(minutes=minutes))


def open_token(unit: Unit, name: str, *, days: int) -> SignIn:
    """An access token for a program or an instrument."""
    return _ticket(unit, name, "token", timedelta(days=days))


def open_wall(unit: Unit, name: str) -> tuple[SignIn, datetime]:
    """A key with which a monitor shows the wall, and when it ends. It opens nothing else.

    Raises:
        NotSignedIn: no such account.
    """
    return _ticket(unit, name, WALL, timedelta(days=WALL_DAYS)), unit.now + timedelta(days=WALL_DAYS)


def close_walls(unit: Unit) -> int:
    """End the keys of all monitors; how many there were."""
    return queries.delete_rows(unit.conn, "ticket", {"purpose": WALL})


def _ticket(unit: Unit, name: str, purpose: str, life: timedelta) -> SignIn:
    row = queries.account_row(unit.conn, name)
    if row is None or not row["active"]:
        raise NotSignedIn("SIGN_IN", "Name or password is wrong. Try again.")
    secret, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(16)
    ticket = {
        "digest": digest(secret),
        "account": name,
        "purpose": purpose,
        "csrf": csrf,
        "created_at": unit.now,
        "expires_at": unit.now + life,
    }
    queries.insert_rows(unit.conn, "ticket", [ticket])
    return SignIn(secret, Identity(name, row["full_name"], Role(row["role"]), csrf, purpose))


def identify(conn: Connection, secret: str, now: datetime) -> Identity:
    """Who holds this secret.

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
    return Identity(row["account"], row["full_name"], Role(row["role"]), row["csrf"], row["purpose"])


def close_session(unit: Unit, secret: str) -> None:
    """Sign out: the secret is worth nothing from now on."""
    queries.delete_rows(unit.conn, "ticket", {"digest": digest(secret)})
