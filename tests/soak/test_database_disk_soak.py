# ruff: noqa: B023 - what is waited for is waited for within its turn of the loop
"""Full and failing disks under PostgreSQL: no acknowledgement without commit, a person is told, nobody need help.

PostgreSQL ends itself when its log cannot be written: the postmaster starts its processes anew, and when the
recovery fails too it ends as well. Somebody has to start it again then; here the test plays systemd with
``Restart=always``.

Started by hand: ``pytest -m soak -n 0 -s tests/soak/test_database_disk_soak.py``. Needs strace, and the right to mount.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from disks import fill
from flushes import checkpoint, nudge, processes
from spoiling import BOUND_S, FACTOR, Failing, alarms, refusing, signs, tmpfs
from streaming import Postgres, Stream, postgres

from lis.errors import LisError

__all__ = ["tmpfs"]

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]
CALLS = {
    "client backend": {"fdatasync": (1, 2, 3), "pwrite64": (*range(1, 9), 10, 13)},
    "walwriter": {"fdatasync": (1, 2), "pwrite64": (1, 2)},
    "checkpointer": {"fsync": (1, 2, 5, 12, 25), "pwrite64": (1, 2, 5, 12, 25), "fdatasync": (1,)},
}
"""Which call of which process fails, counted from the moment a file is written by its cycler."""

HELD_S = 20.0
"""For so long the disk stays full."""

RESTART_S = 1.0
"""systemd waits between two starts."""


@contextlib.contextmanager
def running(home: Path, database: Postgres) -> Iterator[Stream]:
    """Twenty plates and everything running."""
    stream = Stream(home, home / "data", database.url, home, 0, database)
    try:
        stream.start()
        stream.until(lambda: stream.health()[0], "the web")
        yield stream
    finally:
        stream.close()


def panics(database: Postgres) -> int:
    """How often PostgreSQL said that it could not write, in its own log."""
    said = database.part.said()
    return said.count("PANIC:  ") + said.count("ERROR:  could not ")


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_every_write_of_postgresql_may_fail(tmp_path: Path, error: str):
    """One refused write or sync, then another, in each of its processes: told at once, mended by itself."""
    with postgres() as database, running(tmp_path / "home", database) as stream:
        found = Failing()
        fired: dict[str, int] = {}
        master = database.part.process
        for kind, calls in CALLS.items():
            for call, points in calls.items():
                for number in points:
                    before, said, own = alarms(stream), len(stream.server.said()), panics(database)

                    def told() -> list[str]:
                        return signs(stream, before, said) + ["its log"] * (panics(database) > own)

                    during = {"checkpointer": checkpoint, "walwriter": nudge}.get(kind, lambda _: None)
                    inject = refusing(call, error, number, [])
                    name = f"{error}-{kind.split()[-1]}-{call}-{number}"
                    pids = processes(stream, kind)
                    if not found.point(stream, pids, inject, name, told, lambda: during(database)):
                        break
                    fired[f"{kind} {call}"] = fired.get(f"{kind} {call}", 0) + 1
        assert database.part.process is master
        assert database.part.alive
        assert found.fired >= 15
        print(f"\npostgresql, {error}: {fired}, PANIC {database.part.said().count('PANIC:  ')} times")
        found.end(stream, f"postgresql, {error}")


class Systemd:
    """Starts the database server again whenever it has ended."""

    def __init__(self, database: Postgres) -> None:
        self._part = database.part
        self._next = 0.0
        self.starts = 0

    def look(self) -> bool:
        """Start it if it is due; True, to stand before a condition."""
        now = time.monotonic()
        if not self._part.alive and now >= self._next:
            self._part.start()
            self._next, self.starts = now + RESTART_S, self.starts + 1
        return True


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that PostgreSQL's own user can reach."""
    with tempfile.TemporaryDirectory(prefix="nat-lis-soak-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def on_small_disk(home: Path, tmpfs: Callable[..., Path], what: str) -> tuple[Postgres, Path]:
    """A running server whose whole folder, or whose log alone, lies on a small disk."""
    disk = tmpfs("small", 200 if what == "cluster" else 40, home)
    database = Postgres(disk if what == "cluster" else home)
    database.part.log = home / "postgres.log"
    log = database.data / "pg_wal"
    if what == "log":
        subprocess.run(["mv", log, disk / "pg_wal"], check=True)
        log.symlink_to(disk / "pg_wal")
    with (database.data / "postgresql.conf").open("a") as settings:
        settings.write("\nmin_wal_size = '32MB'\nmax_wal_size = '48MB'\n")
    database.start()
    return database, disk


def use_up(database: Postgres) -> None:
    """Write the log to the end of what was made of it beforehand, until it is refused."""
    with contextlib.suppress(psycopg.Error), psycopg.connect(database.uri, autocommit=True) as conn:
        for _ in range(20):
            conn.execute("SELECT pg_logical_emit_message(true, 'soak', 'one more')")
            conn.execute("SELECT pg_switch_wal()")
        raise AssertionError("the log was never full")


@pytest.mark.parametrize("what", ["cluster", "log"])
def test_a_disk_that_is_really_full_under_postgresql(
    tmp_path: Path, home: Path, tmpfs: Callable[..., Path], what: str
):
    """The folder of the cluster, or that of its log alone: all is delivered when there is room, by nobody's hand."""
    database, disk = on_small_disk(home, tmpfs, what)
    systemd = Systemd(database)
    try:
        with running(tmp_path / "home", database) as stream:
            pids = [part.process.pid for part in (stream.server, *stream.agents) if part.process is not None]
            for sheet in stream.sheets[:4]:
                stream.write(sheet)
            stream.until(lambda: all(stream.told(sheet) for sheet in stream.sheets[:4]), "four plates")
            stream.settle()

            ballast = fill(disk)
            before, said = alarms(stream), len(stream.server.said())
            if what == "log":
                use_up(database)
            waiting = stream.sheets[4:]
            for sheet in waiting:
                stream.write(sheet)
            look = systemd.look
            first = stream.until(lambda: look() and signs(stream, before, said), "a sign", restart=False)
            health = stream.until(
                lambda: look() and "healthz" in signs(stream, before, said), "health", restart=False
            )
            held, asked = time.monotonic(), 0
            while time.monotonic() < held + HELD_S:  # whatever is acknowledged must be there
                look()
                with contextlib.suppress(LisError):
                    assert not stream.lost()
                    asked += 1
                time.sleep(0.2)
            acked = {sheet.name for sheet in waiting} & set(stream.acked())
            where, starts = signs(stream, before, said), systemd.starts
            assert len(acked) < len(waiting)
            ballast.unlink()
            drained = stream.until(
                lambda: look() and all(stream.told(sheet) for sheet in waiting), "the plates", restart=False
            )
            stream.until(lambda: stream.health()[1].get("ready"), "health again", restart=False)
            stream.until(lambda: alarms(stream) > before, "the alarm is recorded", restart=False)
            stream.settle()
            alive = [part.process.pid for part in (stream.server, *stream.agents) if part.process is not None]
            figures: dict[str, Any] = stream.verdict()
            print(
                f"\npostgresql, {what} on a full disk: told after {first:.1f} s, by /healthz after {first + health:.1f} s, "
                f"later in {where}; {len(acked)} of {len(waiting)} files acknowledged meanwhile (looked for {asked} times); "
                f"PostgreSQL ended {systemd.starts} times ({starts} while it was full), PANIC "
                f"{database.part.said().count('PANIC:  ')} times; all delivered {drained:.1f} s after there was room; "
                f"{figures}; server and agents restarted: {alive != pids}"
            )
            assert alive == pids
            assert figures == dict.fromkeys(figures, 0)
            assert first + health < BOUND_S * FACTOR
    finally:
        database.part.kill()
