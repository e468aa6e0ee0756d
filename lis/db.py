"""The database: SQLite by default, PostgreSQL where many stations share one. One code path for both.

Writers take turns: SQLite begins IMMEDIATE (a plain BEGIN loses scans when a read turns into a
write), PostgreSQL locks the head of the log first. Every commit is durable before it is acknowledged
(WAL with synchronous=FULL; synchronous_commit on).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Engine,
    Table,
    Text,
    create_engine,
    event,
    insert,
    literal,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.pool import QueuePool
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

from lis import schema
from lis.clock import Clock, SystemClock, to_text
from lis.errors import Busy, Conflict, LisError, StorageFull

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from alembic.config import Config
    from sqlalchemy import Dialect

log = logging.getLogger(__name__)

WAL_RESET_BUG = ((3, 7, 0), (3, 51, 3))
"""SQLite versions from the first to before the second can corrupt a WAL database that two
connections write and checkpoint at the same moment (fixed in 3.51.3, 2026-03-13)."""

PAGES_BETWEEN_CHECKPOINTS = 256
"""Commits between our own checkpoints; SQLite's automatic ones hide their errors."""

FIRST_WRITER = 20221221
"""PostgreSQL advisory lock of whoever writes the first event of the log."""

CLOCK_TOLERANCE = timedelta(seconds=1)


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
    return module


@dataclass(frozen=True, slots=True)
class Unit:
    """One transaction of one actor: all of it is committed, or none.

    Attributes:
        conn: the open transaction.
        now: the moment of the transaction; never before the last recorded event.
        actor: account or device on whose behalf it is done.
    """

    conn: Connection
    now: datetime
    actor: str


class Database:
    """An open database.

    Args:
        url: SQLAlchemy URL, ``sqlite:////path/lis.db`` or ``postgresql+psycopg://...``.
        clock: what time it is.
        busy_seconds: how long a writer waits for its turn before :class:`~lis.errors.Busy`.
    """

    def __init__(self, url: str, clock: Clock | None = None, *, busy_seconds: float = 15.0) -> None:
        self.url = url
        self.clock: Clock = clock or SystemClock()
        self.dialect = make_url(url).get_backend_name()
        self._commits = 0
        self._turn = threading.Lock()
        self._writer = threading.Lock()
        self._busy_seconds = busy_seconds
        self.engine = (
            _sqlite(url, busy_seconds) if self.dialect == "sqlite" else _postgresql(url, busy_seconds)
        )
        # SQLite reads one snapshot anyway; PostgreSQL would see a new one with every statement
        snapshot = {} if self.dialect == "sqlite" else {"isolation_level": "REPEATABLE READ"}
        self._reader = self.engine.execution_options(**snapshot)

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads, on one consistent snapshot.

        Raises:
            Busy: the database could not be reached in time.
        """
        with _translated(), self._reader.connect() as conn, conn.begin():
            yield conn

    @contextlib.contextmanager
    def write(self, actor: str) -> Iterator[Unit]:
        """A transaction that writes; it is committed and durable when the block ends without error.

        Raises:
            Busy: another writer held the database too long; nothing was written.
            StorageFull: no space left; nothing was written.
            Conflict: a row with the same identity exists; nothing was written.
        """
        with _translated():
            with self._queued(), self.engine.connect() as raw:
                conn = raw.execution_options(lis_write=True)
                with conn.begin():
                    yield Unit(conn, self._now(conn), actor)
            self._after_commit()

    @contextlib.contextmanager
    def _queued(self) -> Iterator[None]:
        """Writers of this process wait in line here: SQLite makes them poll, and some of them starve."""
        if not self._writer.acquire(timeout=self._busy_seconds):
            raise _busy()
        try:
            yield
        finally:
            self._writer.release()

    def _now(self, conn: Connection) -> datetime:
        """The clock's time, but never before the last event; on PostgreSQL this also takes the turn."""
        head = select(schema.chain.c.at).where(schema.chain.c.id == 1)
        if self.dialect != "sqlite":
            head = head.with_for_update()
        last: datetime | None = conn.execute(head).scalar_one_or_none()
        if last is None and self.dialect != "sqlite":
            # The log is empty: there is no head to lock yet, so the first writers queue here instead.
            conn.exec_driver_sql(f"SELECT pg_advisory_xact_lock({FIRST_WRITER})")
            last = conn.execute(head).scalar_one_or_none()
        now = self.clock.now()
        if last is None or now >= last:
            return now
        if last - now > CLOCK_TOLERANCE:
            log.warning("the clock went back by %s; events keep the order in which they happened", last - now)
        return last

    def _after_commit(self) -> None:
        if self.dialect != "sqlite":
            return
        with self._turn:
            self._commits += 1
            due = self._commits % PAGES_BETWEEN_CHECKPOINTS == 0
        if due:
            self.checkpoint("PASSIVE")

    def checkpoint(self, mode: str) -> tuple[int, int, int]:
        """Move committed pages from the WAL into the database file; (busy, log pages, moved pages)."""
        raw = self.engine.raw_connection()
        try:
            busy, pages, moved = raw.cursor().execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        finally:
            raw.close()
        return int(busy), int(pages), int(moved)

    def copy_to(self, path: Path) -> None:
        """Write a consistent copy of the embedded database while it is in use.

        Raises:
            LisError: ``COPY_DAMAGED`` if the copy does not pass SQLite's own check.
        """
        raw = self.engine.raw_connection()
        target = sqlite_module().connect(os.fspath(path))
        try:
            raw.driver_connection.backup(target)  # type: ignore[union-attr]
            verdict = target.execute("PRAGMA quick_check").fetchone()[0]
        finally:
            target.close()
            raw.close()
        if verdict != "ok":
            raise LisError("COPY_DAMAGED", f"The copy is damaged ({verdict}). Check the disk and try again.")

    def close(self) -> None:
        """Release all connections, after a last checkpoint on SQLite."""
        if self.dialect == "sqlite":
            with contextlib.suppress(DBAPIError, sqlite3.Error, sqlite_module().Error):
                self.checkpoint("TRUNCATE")
        self.engine.dispose()


# -- many rows at once ---------------------------------------------------------------------------


class _Texts(TypeDecorator[list[str]]):
    """A list of texts as one parameter: an array on PostgreSQL, JSON on SQLite."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """What carries it."""
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else ARRAY(Text))

    def process_bind_param(self, value: list[str] | None, dialect: Dialect) -> Any:
        """Python to database."""
        return json.dumps(value) if dialect.name == "sqlite" else value


class _Among(FunctionElement[bool]):
    """See :func:`among`."""

    type = Boolean()
    name = "among"
    inherit_cache = True

    def self_group(self, against: Any = None) -> Any:
        """A condition already: SQLite would be told ``... = 1``, which keeps it from using an index."""
        del against
        return self


def among(column: Column[Any], values: Iterable[str]) -> _Among:
    """``column IN (values)`` as one parameter, so that the statement is the same for any number of them.

    An IN list is spelt out, compiled and planned anew for every length: 4 ms for 94 tubes.
    """
    return _Among(column, literal(sorted(set(values)), _Texts()))


@compiles(_Among, "sqlite")
def _among_sqlite(element: _Among, compiler: Any, **options: Any) -> str:
    column, values = (compiler.process(part, **options) for part in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"  # noqa: S608 - compiled by SQLAlchemy


@compiles(_Among)
def _among_postgresql(element: _Among, compiler: Any, **options: Any) -> str:
    column, values = (compiler.process(part, **options) for part in element.clauses)
    return f"{column} = ANY ({values})"


MANY = 8
"""From this many rows on the driver is asked directly: it saves most of the time of a bulk insert."""


def insert_many(conn: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows that all have the same columns, in as few steps as the database can."""
    if len(rows) < MANY:
        if rows:
            conn.execute(insert(table), list(rows))
        return
    rest = {
        column.name: column.default.arg  # type: ignore[attr-defined]
        for column in table.c
        if column.name not in rows[0] and column.default is not None
    }
    names = (*rows[0], *rest)
    values = _stored(table, rows, tuple(rest.values()))
    listed = f"{table.name} ({', '.join(names)})"
    if conn.dialect.name == "sqlite":
        marks = ", ".join("?" * len(names))
        conn.exec_driver_sql(f"INSERT INTO {listed} VALUES ({marks})", values)  # noqa: S608 - our own names
    else:
        _copy(conn, f"COPY {listed} FROM STDIN", values)


def _stored(table: Table, rows: Sequence[Mapping[str, Any]], rest: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """The rows as the database keeps them: moments as text, and the defaults of the columns left out."""
    moments = [name for name in rows[0] if isinstance(table.c[name].type, schema.Moment)]
    if not moments:
        return [(*row.values(), *rest) for row in rows]
    return [(*{**row, **{name: _as_text(row[name]) for name in moments}}.values(), *rest) for row in rows]


def _as_text(moment: datetime | str | None) -> str | None:
    return to_text(moment) if isinstance(moment, datetime) else moment


def _copy(conn: Connection, sql: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """PostgreSQL's COPY: five times as fast as INSERT, and refused by the same constraints."""
    dbapi: Any = conn.dialect.dbapi
    cursor: Any = conn.connection.cursor()
    try:
        with cursor.copy(sql) as copy:
            for row in rows:
                copy.write_row(row)
    except dbapi.IntegrityError as error:
        raise IntegrityError(sql, None, error) from error
    except dbapi.Error as error:
        raise OperationalError(sql, None, error) from error


# -- engines -------------------------------------------------------------------------------------


def _sqlite(url: str, busy_seconds: float) -> Engine:
    path = make_url(url).database
    if not path:
        raise LisError("NO_DATABASE_FILE", "The embedded database needs a file; memory forgets.")
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        module=sqlite_module(),
        poolclass=QueuePool,
        pool_size=8,
        max_overflow=56,
        connect_args={"timeout": busy_seconds, "check_same_thread": False, "isolation_level": None},
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
        conn.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _postgresql(url: str, busy_seconds: float) -> Engine:
    millis = int(busy_seconds * 1000)
    return create_engine(
        url,
        pool_size=8,
        max_overflow=24,
        pool_pre_ping=True,
        connect_args={
            "options": f"-c lock_timeout={millis} -c statement_timeout={4 * millis} -c synchronous_commit=on "
            "-c idle_in_transaction_session_timeout=60000"
        },
    )


FULL_WORDS = ("database or disk is full", "no space left", "disk i/o error", "could not extend file")
BUSY_WORDS = (
    "locked",
    "busy",
    "lock timeout",
    "timeout",
    "connection",
    "deadlock",
    "terminating",
    "server closed",
)


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Database errors in the words of the laboratory."""
    try:
        yield
    except IntegrityError as error:
        raise Conflict(
            "ALREADY_RECORDED",
            f"This has been recorded before ({_first_line(error)}). Nothing was written; look it up first.",
        ) from error
    except (OperationalError, DBAPIError) as error:
        raise _as_lis_error(error) from error
    except (sqlite3.Error, sqlite_module().Error) as error:  # where SQLAlchemy does not stand between
        raise _as_lis_error(error) from error


def _busy() -> Busy:
    return Busy(
        "DATABASE_BUSY", "The database is busy. Nothing was written; the same scan may be sent again."
    )


def _as_lis_error(error: Exception) -> LisError:
    text = str(error).lower()
    if any(words in text for words in FULL_WORDS):
        return StorageFull(
            "STORAGE_FULL",
            "The disk of the server is full or failing. Nothing was written; "
            "keep the tubes and call the administrator.",
        )
    if any(words in text for words in BUSY_WORDS):
        return _busy()
    return LisError("DATABASE_ERROR", f"The database refused: {_first_line(error)}. Nothing was written.")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:200]


def default_url(folder: Path) -> str:
    """The URL of the embedded database in ``folder``."""
    return f"sqlite:///{os.fspath(folder / 'lis.db')}"


def revision(conn: Connection) -> str:
    """The schema version this database is at."""
    return str(conn.exec_driver_sql("SELECT version_num FROM alembic_version").scalar_one())


def newest_revision() -> str:
    """The schema version this program needs."""
    from alembic.script import ScriptDirectory

    return str(ScriptDirectory.from_config(_alembic()).get_current_head())


def _alembic() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "lis:migrations")
    return config


def migrate(database: Database) -> None:
    """Bring the database to the newest schema (Alembic, one history for both databases)."""
    from alembic import command

    config = _alembic()
    with _translated(), database.engine.connect() as conn:
        config.attributes["connection"] = conn
        with conn.begin():
            command.upgrade(config, "head")
