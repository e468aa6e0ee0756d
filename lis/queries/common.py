"""What the queries share: how long lists are cut, how many rows a screen shows, rows as plain dicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection
    from sqlalchemy.sql import Select

CHUNK: Final = 500


PAGE: Final = 200
"""Rows a worklist shows at once."""


def parts(values: Iterable[str]) -> Iterable[list[str]]:
    """``values`` once each, sorted, in lists that fit one statement."""
    wanted = sorted(set(values))
    for start in range(0, len(wanted), CHUNK):
        yield wanted[start : start + CHUNK]


Row = dict[str, Any]
"""A row of a table, or of several, by column name."""


def one_row(conn: Connection, found: Select[Any]) -> Row | None:
    """The one row found, or None."""
    row = conn.execute(found).mappings().one_or_none()
    return None if row is None else dict(row)


def all_rows(conn: Connection, found: Select[Any]) -> list[Row]:
    """The rows found, in their order."""
    return [dict(row) for row in conn.execute(found).mappings()]


def counted(text: str) -> dict[str, int]:
    """``target:count`` pairs, comma-separated, as they are kept of a run."""
    return {name: int(n) for name, _, n in (one.rpartition(":") for one in text.split(",") if one)}
