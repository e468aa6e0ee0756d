"""How a database is opened: SQLite with full durability, PostgreSQL with time limits."""

from __future__ import annotations

import logging
import os
import sqlite3
import warnings
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.pool import QueuePool

from lis.errors import LisError

WAL_RESET_BUG = ((3, 7, 0), (3, 51, 3))
"""SQLite versions from the first to before the second can corrupt a WAL database that two
connections write and checkpoint at the same moment (fixed in 3.51.3, 2026-03-13)."""


@cache
def sqlite_module() -> ModuleType:
    """The SQLite to use: the wheel that carries a current library, else Python's own with a warning."""
    try:
        from pysqlite3 import dbapi2
    except ImportError:
        version = sqlite3.sqlite_version_info
        if WAL_RESET_BUG[0] <= version < WAL_RESET_BUG[1]:
            warnings.warn(
                f"SQLite {sqlite3.sqlite_version} is between 3.7.0 and 3.51.2, which can corrupt a database "
                "that is written and checkpointed at the same moment. Install the pysqlite3 wheel, or a "
                "Python with SQLite 3.51.3 or later.",
                stacklevel=2,
            )
        return sqlite3
    module: ModuleType = dbapi2
    # Without a way of its own for None the wheel searches one at every empty field, raises two
    # AttributeErrors inside and drops them: 30 times what a text costs, 6,000 times a plate.
    module.register_adapter(type(None), _as_it_is)
    return module


def _as_it_is(value: None) -> None:
    return value


def open_sqlite(url: str, busy_seconds: float, *, writing: bool = False) -> Engine:
    """The embedded database: WAL, every commit synced, writers begin IMMEDIATE.

    Args:
        url: of the database.
        busy_seconds: how long a writer waits for its turn.
        writing: for transactions that write: they take turns on one connection, for what a connection
            remembers of the file is lost with whatever another one writes.

    Raises:
        LisError: ``NO_DATABASE_FILE`` if the URL names none.
    """
    path = make_url(url).database
    if not path:
        raise LisError("NO_DATABASE_FILE", "The embedded database needs a file; memory forgets.")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        module=sqlite_module(),
        poolclass=QueuePool,
        pool_size=1 if writing else 8,
        max_overflow=4 if writing else 56,
        connect_args={"timeout": busy_seconds, "check_same_thread": False, "isolation_level": None},
        execution_options={"lis_write": writing},
    )

    @event.listens_for(engine, "connect")
    def _settings(dbapi: Any, record: Any) -> None:
        del record
        cursor = dbapi.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "wal_autocheckpoint=0",
            "mmap_size=0",
            "cache_size=-16000",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(conn: Connection) -> None:
        write = conn.get_execution_options().get("lis_write", False)
        driver: Any = (
            conn.connection.driver_connection
        )  # a statement of SQLAlchemy's costs as much as a small act
        driver.execute("BEGIN IMMEDIATE" if write else "BEGIN").close()

    return engine


FIND_BY_KEY: Final = "-c enable_seqscan=off"
"""Plans are kept with a connection, and those made while a table was empty read all of it for ever after."""


WRITER: Final = "nat-lis writer"
RECEIVER: Final = "nat-lis receiver"
READER: Final = "nat-lis reader"
"""What PostgreSQL's list of sessions (``pg_stat_activity``) calls ours."""


def open_postgresql(url: str, busy_seconds: float, name: str = READER) -> Engine:
    """PostgreSQL with durable commits; whoever waits longer than ``busy_seconds`` for a lock gives up.

    Args:
        url: of the database.
        busy_seconds: how long a statement waits for a lock.
        name: of its sessions. Of those that write (all but `READER`) there is one at a time in a process,
            and all it looks for it finds by an index.
    """
    millis = int(busy_seconds * 1000)
    options = (
        f"-c lock_timeout={millis} -c statement_timeout={4 * millis} -c synchronous_commit=on "
        "-c idle_in_transaction_session_timeout=60000"
    )
    # It warns of what it could not tidy up after an error that is raised anyway, and is told in our words.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    writing = name != READER
    if writing:
        options = f"{options} {FIND_BY_KEY}"
    return create_engine(
        url,
        pool_size=1 if writing else 8,
        max_overflow=4 if writing else 24,
        pool_pre_ping=not writing,  # whoever writes notices with the first statement
        connect_args={"options": options, "fallback_application_name": name},
    )


def default_url(folder: Path) -> str:
    """The URL of the embedded database in ``folder``."""
    return f"sqlite:///{os.fspath(folder / 'lis.db')}"
