"""SQL compiled once for all the databases of a process.

SQLAlchemy keeps what it compiled per engine, and almost every test opens a database of its own: the same
few hundred statements would be compiled thousands of times. Here engines of one kind share them, through
the option that SQLAlchemy has for it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, event


class Statements(dict[Any, Any]):
    """A cache of compiled statements, found by the kind of the database instead of by its engine."""

    def get(self, key: Any, default: Any = None) -> Any:
        """What was compiled for ``key``."""
        return super().get(_of_kind(key), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(_of_kind(key), value)


def _of_kind(key: Any) -> Any:
    dialect, *rest = key
    return (dialect.name, dialect.driver, dialect.dbapi.__name__, dialect.server_version_info, *rest)


COMPILED = Statements()


def share() -> None:
    """Let every connection that is opened from now on use what was compiled for others of its kind."""

    @event.listens_for(Engine, "engine_connect")
    def _use(conn: Connection) -> None:
        conn.execution_options(compiled_cache=COMPILED)
