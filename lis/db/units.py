"""The open database and its transactions. Writers take turns; every commit is durable before it is told."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Final

from sqlalchemy import BigInteger, Connection, Engine, RootTransaction, bindparam, func, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from lis import schema
from lis.clock import Clock, SystemClock, from_text
from lis.db.engines import RECEIVER, WRITER, open_postgresql, open_sqlite, sqlite_module
from lis.db.refusals import DISK_TROUBLE, busy, translated
from lis.db.statements import Prepared, under_way
from lis.errors import LisError, StorageFull

log = logging.getLogger(__name__)

PAGES_BETWEEN_CHECKPOINTS = 4096
"""Pages (16 MB) that wait in SQLite's write-ahead log before our own checkpoint moves them into the database;
its automatic ones hide their errors."""

COMMITS_BETWEEN_LOOKS = 16
"""Commits after which the log is looked at, which takes 12 microseconds."""

LOOKING_SINCE = (3, 51, 0)
"""SQLite that can tell the length of its log without moving anything (``wal_checkpoint(NOOP)``)."""

COMMITS_UNSEEN = 256
"""Commits between checkpoints where it cannot."""

FIRST_WRITER = 20221221
"""PostgreSQL advisory lock of whoever writes the first event of the log."""

RECEIVING = 20221207
"""PostgreSQL advisory lock of whoever puts files into the inbox."""

CLOCK_TOLERANCE = timedelta(seconds=1)

GENESIS: Final = "0" * 64
"""The hash before the first row of the log."""


_HEAD: Final = Prepared(select(schema.chain.c.event_id, schema.chain.c.hash, schema.chain.c.at))
_LOCKED_HEAD: Final = Prepared(
    select(schema.chain.c.event_id, schema.chain.c.hash, schema.chain.c.at).with_for_update()
)
_LOCK: Final = Prepared(select(func.pg_advisory_xact_lock(bindparam("number", type_=BigInteger))))

_OWN_CHANGES: Final = (
    "SELECT COALESCE(SUM(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_xact_user_tables"
)
"""Rows that this transaction of PostgreSQL has written; its log also grows by what others write meanwhile."""

_HeadRow = tuple[int, str, str]
"""Number, hash and moment of the last row of the log."""


@dataclass(slots=True)
class Head:
    """The last row of the log as a transaction has it; the ledger moves it on."""

    event_id: int
    hash: str


@dataclass(frozen=True, slots=True)
class Unit:
    """One transaction of one actor: all of it is committed, or none.

    Attributes:
        conn: the open transaction.
        now: the moment of the transaction; never before the last recorded event.
        actor: account or device on whose behalf it is done.
        head: the end of the log, read when the transaction took its turn.
        logs: whether it has a turn at the log; one that only receives must not write there.
    """

    conn: Connection
    now: datetime
    actor: str
    head: Head
    logs: bool = True


@dataclass(frozen=True, slots=True)
class Trouble:
    """The disk refused a write, and none has succeeded since. It cannot be recorded, only told."""

    since: datetime
    code: str
    sentence: str


class Database:
    """An open database.

    Attributes:
        trouble: why nothing can be written at present, as far as somebody tried; None when all is well.

    Args:
        url: SQLAlchemy URL, ``sqlite:////path/lis.db`` or ``postgresql+psycopg://...``.
        clock: what time it is.
        busy_seconds: how long a writer waits for its turn before :class:`~lis.errors.Busy`.
    """

    def __init__(self, url: str, clock: Clock | None = None, *, busy_seconds: float = 15.0) -> None:
        self.url = url
        self.clock: Clock = clock or SystemClock()
        self.dialect = make_url(url).get_backend_name()
        self.trouble: Trouble | None = None
        self._commits = 0
        self._overdue = False
        self._turn = threading.Lock()
        self._busy_seconds = busy_seconds
        if self.dialect == "sqlite":
            self.engine = open_sqlite(url, busy_seconds)
            self._writing: Engine = open_sqlite(url, busy_seconds, writing=True)
            self._receiving = self._writing
        else:
            self.engine = open_postgresql(url, busy_seconds)
            self._writing = open_postgresql(url, busy_seconds, WRITER)
            self._receiving = open_postgresql(url, busy_seconds, RECEIVER)
        self._lines = {engine: threading.Lock() for engine in (self._writing, self._receiving)}
        # SQLite reads one snapshot anyway; PostgreSQL would see a new one with every statement
        snapshot = {} if self.dialect == "sqlite" else {"isolation_level": "REPEATABLE READ"}
        self._reader = self.engine.execution_options(**snapshot)

    @property
    def dbapi(self) -> ModuleType:
        """The driver's module: its errors are translated."""
        module: ModuleType = self.engine.dialect.dbapi  # type: ignore[assignment]
        return module

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads, on one consistent snapshot.

        Raises:
            Busy: the database could not be reached in time.
        """
        with translated(self.dbapi), self._reader.connect() as conn, conn.begin():
            yield conn

    @contextlib.contextmanager
    def write(self, actor: str) -> Iterator[Unit]:
        """A transaction that writes; it is committed and durable when the block ends without error.

        Raises:
            Busy: another writer held the database too long; nothing was written.
            StorageFull: no space left; nothing was written. ``COMMIT_FAILED``: the disk failed while it was
                being kept, and nobody knows whether it was.
            Conflict: a row with the same identity exists; nothing was written.
        """
        with self._transaction(self._writing, actor) as unit:
            yield unit

    @contextlib.contextmanager
    def receive(self, actor: str) -> Iterator[Unit]:
        """A transaction that puts files into the inbox and nothing into the log; else as `write`.

        Those who receive have a line of their own where the database has room for two writers: on
        PostgreSQL a cycler's file is kept and acknowledged while a plate is decided.

        Raises:
            Busy, StorageFull, Conflict: as `write`.
        """
        with self._transaction(self._receiving, actor, logs=False) as unit:
            yield unit

    @contextlib.contextmanager
    def _transaction(self, engine: Engine, actor: str, *, logs: bool = True) -> Iterator[Unit]:
        troubled, done = self.trouble is not None, False
        told = translated(self.dbapi, lambda: done)
        try:
            with told, self._queued(self._lines[engine]), engine.connect() as conn:
                transaction, head = self._begun(conn, logs=logs)
                with transaction:
                    before = self._changes(conn) if troubled else 0
                    yield self._unit(conn, actor, head, logs=logs)
                    wrote = not troubled or self._changes(conn) > before
                    done = True
        except StorageFull:
            self._refused()
            raise
        if wrote:
            self.trouble = None
        self._after_commit()

    def _refused(self) -> None:
        since = self.trouble.since if self.trouble else self.clock.now()
        self.trouble = Trouble(since, "STORAGE_FULL", DISK_TROUBLE)

    def _changes(self, conn: Connection) -> int:
        """Grows when something was really written: a commit of nothing needs no disk and proves nothing."""
        if self.dialect == "sqlite":
            return int(conn.exec_driver_sql("SELECT total_changes()").scalar_one())
        return int(conn.exec_driver_sql(_OWN_CHANGES).scalar_one())

    @contextlib.contextmanager
    def _queued(self, line: threading.Lock) -> Iterator[None]:
        """Writers of this process wait in line here: SQLite makes them poll, and some of them starve."""
        if not line.acquire(timeout=self._busy_seconds):
            raise busy()
        try:
            yield
        finally:
            line.release()

    def _begun(self, conn: Connection, *, logs: bool) -> tuple[RootTransaction, _HeadRow | None]:
        """The writer's turn, and the end of the log.

        The first statement also finds out whether PostgreSQL was restarted since the last one: it has done
        nothing yet, so it is sent again on a new connection.
        """
        transaction = conn.begin()
        try:
            return transaction, self._end_of_log(conn, logs=logs)
        except self.dbapi.OperationalError:
            if self.dialect == "sqlite" or not conn.connection.driver_connection.closed:  # type: ignore[union-attr]
                raise
        conn.invalidate()
        transaction.rollback()
        return conn.begin(), self._end_of_log(conn, logs=logs)

    def _end_of_log(self, conn: Connection, *, logs: bool) -> _HeadRow | None:
        """The last row of the log, if there is one.

        On PostgreSQL reading it is also what makes writers of other processes wait; those who only receive
        wait for each other.
        """
        if self.dialect == "sqlite":
            found = _HEAD.rows(conn)
        elif logs:
            with under_way(conn):  # with its BEGIN
                asked = _LOCKED_HEAD.ask(conn)
            found = asked.rows()
            if not found:
                # There is no head to lock yet, so the first writers queue here instead.
                _LOCK.rows(conn, number=FIRST_WRITER)
                found = _LOCKED_HEAD.rows(conn)
        else:
            with under_way(conn):
                _LOCK.ask(conn, number=RECEIVING)
                asked = _HEAD.ask(conn)
            found = asked.rows()
        return found[0] if found else None

    def _unit(self, conn: Connection, actor: str, head: _HeadRow | None, *, logs: bool) -> Unit:
        """A transaction at the clock's time, but never before the last event."""
        now = self.clock.now()
        if head is None:
            return Unit(conn, now, actor, Head(0, GENESIS), logs)
        event_id, digest, at = head
        last = from_text(at)
        if last - now > CLOCK_TOLERANCE:
            log.warning("the clock went back by %s; events keep the order in which they happened", last - now)
        return Unit(conn, max(now, last), actor, Head(event_id, digest), logs)

    def _after_commit(self) -> None:
        if self.dialect != "sqlite":
            return
        looks = sqlite_module().sqlite_version_info >= LOOKING_SINCE
        with self._turn:
            self._commits += 1
            due = self._overdue or self._commits % (COMMITS_BETWEEN_LOOKS if looks else COMMITS_UNSEEN) == 0
        if due:
            self._checkpoint_later(always=self._overdue or not looks)

    def _checkpoint_later(self, *, always: bool) -> None:
        """A checkpoint between commits, if one is due or the log is long.

        What was committed stays committed if the disk refuses this one.
        """
        try:
            with translated(self.dbapi):
                if not always:
                    _, pages, moved = self.checkpoint("NOOP")
                    if pages - moved < PAGES_BETWEEN_CHECKPOINTS:
                        return
                self.checkpoint("PASSIVE")
            self._overdue = False
        except LisError as error:
            log.exception(
                "the write-ahead log could not be moved into the database; the next commit tries again"
            )
            if isinstance(error, StorageFull):
                self._refused()
            self._overdue = True

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
        for engine in (self.engine, *self._lines):
            engine.dispose()
