"""Accounts, sign-ins, stored replies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, select

from lis.db import among
from lis.queries.common import Row, all_rows, one_row, parts
from lis.schema import account, idempotency, ticket

if TYPE_CHECKING:
    from collections.abc import Iterable


def account_row(conn: Connection, name: str) -> Row | None:
    """An account, or None."""
    return one_row(conn, select(account).where(account.c.name == name))


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
    found = select(ticket, account.c.role, account.c.full_name, account.c.active).join(
        account, account.c.name == ticket.c.account
    )
    return one_row(conn, found.where(ticket.c.digest == digest))


def stored_reply(conn: Connection, key: str, name: str) -> Row | None:
    """The reply stored under an idempotency key."""
    found = select(idempotency).where(idempotency.c.key == key, idempotency.c.account == name)
    return one_row(conn, found)
