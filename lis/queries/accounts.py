"""Accounts, sign-ins, stored replies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, bindparam, func, select

from lis.db import Prepared, among
from lis.queries.common import PAGE, Row, all_rows, one_row, parts
from lis.schema import account, attempt, idempotency, station, ticket

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


def account_row(conn: Connection, name: str) -> Row | None:
    """An account, or None."""
    return one_row(conn, select(account).where(account.c.name == name))


def account_of_badge(conn: Connection, badge: str) -> Row | None:
    """The account whose badge has this keyed hash, or None."""
    return one_row(conn, select(account).where(account.c.badge == badge))


def accounts(conn: Connection) -> list[Row]:
    """All accounts by name."""
    return all_rows(conn, select(account).order_by(account.c.name))


def full_names(conn: Connection, names: Iterable[str]) -> dict[str, str]:
    """Account -> the name of its person; an account nobody opened (the written rules) stands for itself."""
    wanted = list(names)
    found: dict[str, str] = {}
    for part in parts(wanted):
        rows = conn.execute(select(account.c.name, account.c.full_name).where(among(account.c.name, part)))
        found.update((row.name, " ".join(row.full_name.split())) for row in rows)
    return {name: found.get(name) or name for name in wanted}


def ticket_row(conn: Connection, digest: str) -> Row | None:
    """A sign-in or token with its account, or None."""
    whose = (account.c.role, account.c.full_name, account.c.active, account.c.site, account.c.must_change)
    found = select(ticket, *whose).join(account, account.c.name == ticket.c.account)
    return one_row(conn, found.where(ticket.c.digest == digest))


def tickets_of(conn: Connection, name: str, now: datetime) -> list[Row]:
    """The sign-ins and tokens of an account that have not ended, newest first."""
    found = select(ticket).where(ticket.c.account == name, ticket.c.expires_at > now)
    return all_rows(conn, found.order_by(ticket.c.created_at.desc(), ticket.c.digest))


def tickets_standing(conn: Connection, now: datetime) -> dict[str, int]:
    """Account -> how many sign-ins and tokens of it have not ended."""
    found = select(ticket.c.account, func.count()).where(ticket.c.expires_at > now)
    return {row[0]: row[1] for row in conn.execute(found.group_by(ticket.c.account))}


def forget_tickets(conn: Connection, before: datetime) -> int:
    """Remove sign-ins and tokens that ended before a moment; how many."""
    return conn.execute(ticket.delete().where(ticket.c.expires_at < before)).rowcount


def administrators(conn: Connection) -> list[str]:
    """Names of the administrators that are not closed."""
    found = select(account.c.name).where(account.c.role == "administrator", account.c.active.is_(True))
    return list(conn.execute(found.order_by(account.c.name)).scalars())


# -- stations and attempts ------------------------------------------------------------------------


def station_row(conn: Connection, digest: str) -> Row | None:
    """A browser that is known, or None."""
    return one_row(conn, select(station).where(station.c.digest == digest))


def stations(conn: Connection, limit: int = PAGE) -> list[Row]:
    """Enrolled stations by name, then the browsers at which somebody signed in last."""
    kept = station.c.enrolled_at.is_(None)
    order = (kept, station.c.name, station.c.opened_at.desc())
    return all_rows(conn, select(station).order_by(*order).limit(limit))


def attempt_row(conn: Connection, what: str, subject: str) -> Row | None:
    """Wrong tries that are remembered of a name or an address, or None."""
    found = select(attempt).where(attempt.c.what == what, attempt.c.subject == subject)
    return one_row(conn, found)


def attempts_waiting(conn: Connection, what: str, now: datetime) -> dict[str, datetime]:
    """Names (or addresses) that must wait -> until when."""
    found = select(attempt.c.subject, attempt.c.until).where(attempt.c.what == what, attempt.c.until > now)
    return {row.subject: row.until for row in conn.execute(found)}


def forget_attempts(conn: Connection, before: datetime) -> int:
    """Remove the wrong tries that lie before a moment; how many."""
    return conn.execute(attempt.delete().where(attempt.c.last_at < before, attempt.c.until < before)).rowcount


_REPLY: Final = Prepared(
    select(idempotency).where(
        idempotency.c.key == bindparam("key"), idempotency.c.account == bindparam("account")
    )
)


def stored_reply(conn: Connection, key: str, name: str) -> Row | None:
    """The reply stored under an idempotency key."""
    return _REPLY.record(conn, key=key, account=name)
