"""The database: SQLite by default, PostgreSQL where many stations share one. One code path for both.

Writers take turns: SQLite begins IMMEDIATE (a plain BEGIN loses scans when a read turns into a
write), PostgreSQL locks the head of the log first. Who only receives files, and writes nothing into the
log, waits on PostgreSQL for others who receive, and for nobody else. Every commit is durable before it is
acknowledged (WAL with synchronous=FULL; synchronous_commit on).
"""

from lis.db.engines import WAL_RESET_BUG, default_url, sqlite_module
from lis.db.migrating import migrate, newest_revision, revision
from lis.db.refusals import translated
from lis.db.statements import FEW, Asked, Prepared, among, insert_many, insert_tuples, under_way
from lis.db.units import GENESIS, Database, Head, Trouble, Unit

__all__ = [
    "FEW",
    "GENESIS",
    "WAL_RESET_BUG",
    "Asked",
    "Database",
    "Head",
    "Prepared",
    "Trouble",
    "Unit",
    "among",
    "default_url",
    "insert_many",
    "insert_tuples",
    "migrate",
    "newest_revision",
    "revision",
    "sqlite_module",
    "translated",
    "under_way",
]
