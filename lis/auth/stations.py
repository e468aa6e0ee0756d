"""Shared stations: the browsers at which a badge and a PIN are enough.

A badge can be copied and a PIN is short. Both together open something only at a browser where somebody
signed in with a password within the shift, or that the administrator enrolled for good.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import TYPE_CHECKING

from lis import queries
from lis.auth.acts import note
from lis.auth.passwords import digest
from lis.errors import Forbidden, Invalid, NotFound

if TYPE_CHECKING:
    from datetime import datetime

    from lis.db import Unit
    from lis.queries import Row

NAME_LENGTH = 80


def sign_in_at(unit: Unit, secret: str, who: str) -> str:
    """Remember that somebody signed in with a password at this browser; its secret, a new one if need be.

    A revoked browser begins anew under another secret.
    """
    row = queries.station_row(unit.conn, digest(secret)) if secret else None
    if row is not None and row["revoked_at"] is None:
        queries.update_row(unit.conn, "station", {"digest": row["digest"]}, opened_at=unit.now, opened_by=who)
        return secret
    fresh = secrets.token_urlsafe(32)
    new = {"digest": digest(fresh), "created_at": unit.now, "opened_at": unit.now, "opened_by": who}
    queries.insert_rows(unit.conn, "station", [new])
    return fresh


def allows(row: Row | None, now: datetime, shift: timedelta) -> bool:
    """Whether badges and PINs are taken at this browser now."""
    if row is None or row["revoked_at"] is not None:
        return False
    return row["enrolled_at"] is not None or (
        row["opened_at"] is not None and now - row["opened_at"] <= shift
    )


def check(row: Row | None, now: datetime, shift: timedelta) -> None:
    """Refuse a badge or a PIN where it opens nothing.

    Raises:
        Forbidden: ``STATION``.
    """
    if not allows(row, now, shift):
        raise Forbidden(
            "STATION",
            "A badge or PIN is taken only where somebody signed in with a password in this shift. "
            "Sign in with name and password.",
        )


def enrol(unit: Unit, key: str, name: str) -> None:
    """Take badges at this browser whoever signed in there.

    Args:
        unit: the transaction.
        key: digest of the browser's secret.
        name: where it stands.

    Raises:
        NotFound: ``STATION_UNKNOWN``. Invalid: ``STATION_NAME``.
    """
    _known(unit, key)
    text = " ".join(name.split())
    if not 0 < len(text) <= NAME_LENGTH:
        raise Invalid("STATION_NAME", f"Say where the station stands, in at most {NAME_LENGTH} characters.")
    queries.update_row(
        unit.conn, "station", {"digest": key}, name=text, enrolled_at=unit.now, enrolled_by=unit.actor
    )
    note(unit, "station", text, "enrolled")


def revoke(unit: Unit, key: str) -> None:
    """Take no badge at this browser any more, until somebody signs in there with a password.

    Raises:
        NotFound: ``STATION_UNKNOWN``.
    """
    row = _known(unit, key)
    queries.update_row(unit.conn, "station", {"digest": key}, revoked_at=unit.now)
    note(unit, "station", row["name"] or key[:12], "revoked")


def _known(unit: Unit, key: str) -> Row:
    row = queries.station_row(unit.conn, key)
    if row is None or row["revoked_at"] is not None:
        raise NotFound("STATION_UNKNOWN", "This station is not known, or was revoked. Load the list again.")
    return row
