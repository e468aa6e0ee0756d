"""What the soaks of flushes share: who dies at which call, and whether a file came through."""

from __future__ import annotations

import contextlib
import hashlib
import time

import psycopg
from streaming import Part, Postgres, Sheet, Stream

from lis.db.engines import RECEIVER, WRITER
from lis.errors import LisError

SYNCS = ("fdatasync", "fsync")


def killing(call: str, number: int) -> tuple[str, str, str, str]:
    """What strace is told: the call at whose entry a traced process dies; each process counts for itself."""
    return "-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}"


def died(part: Part) -> bool:
    """Whether it was killed."""
    return part.process is not None and part.process.poll() is not None


def arrived(stream: Stream, sheet: Sheet) -> bool:
    """Whether a sheet is acknowledged, kept byte for byte, and read."""
    if not stream.told(sheet):
        return False
    assert stream.kept().get(sheet.name) == hashlib.sha256(sheet.data).hexdigest()
    read = stream.rows(f"SELECT 1 FROM run WHERE plate_id = '{sheet.code}'")
    return bool(read)


def flawless(stream: Stream, used: int) -> None:
    """The end of the series: what was not used is sent too, and the figures are all 0."""
    for sheet in stream.sheets[used:]:
        stream.write(sheet)
    stream.until(lambda: all(arrived(stream, sheet) for sheet in stream.sheets), "all plates read")
    assert stream.verdict() == dict.fromkeys(stream.verdict(), 0)


def processes(stream: Stream, kind: str) -> list[int]:
    """Numbers of the processes of one kind, as PostgreSQL tells them; our own writers are among its sessions."""
    query = (
        "SELECT pid, application_name FROM pg_stat_activity "
        f"WHERE backend_type = '{kind}' AND pid <> pg_backend_pid()"
    )
    found: dict[int, str] = {}
    if kind == "client backend":  # the session that receives is opened by the first file after a restart
        name = f"wake-{time.monotonic_ns()}.txt"
        stream.junk(name, 64)
        stream.until(lambda: name in stream.acked(), f"{name} stored", restart=False)

    def complete() -> bool:
        found.clear()
        with contextlib.suppress(LisError):
            found.update(dict(stream.rows(query)))
        return {WRITER, RECEIVER} <= set(found.values()) if kind == "client backend" else bool(found)

    stream.until(complete, f"a {kind}", restart=False)
    return list(found)


def checkpoint(database: Postgres) -> None:
    """Ask for one; its process may die of it."""
    with contextlib.suppress(psycopg.Error), psycopg.connect(database.uri, autocommit=True) as conn:
        conn.execute("CHECKPOINT")


def nudge(database: Postgres, times: int = 6) -> None:
    """Commit without waiting for the disk, so that the writer of the log has something to flush.

    It sleeps for five seconds otherwise when nobody but waiting commits needs it.
    """
    with contextlib.suppress(psycopg.Error), psycopg.connect(database.uri, autocommit=True) as conn:
        conn.execute("SET synchronous_commit = off")
        for _ in range(times):
            conn.execute("SELECT pg_logical_emit_message(true, 'soak', repeat('x', 20000))")
            time.sleep(0.25)
