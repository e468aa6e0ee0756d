"""kill -9 of PostgreSQL's processes at each of their flushes and writes, while plates stream.

Whoever kills one of its processes makes the postmaster end all others and recover; that is what is wanted here.
strace counts in each process for itself, so the postmaster is never followed: every process of the recovery would
reach the same number and be killed in its turn, and the recovery would begin anew until strace let go (an earlier
form of this soak found the database "busy" for that reason alone). Where the recovery itself is to be killed,
strace is taken away after the first kill.

Started by hand: ``pytest -m soak -n 0 -s tests/soak/test_database_sync_soak.py``. Needs strace and the right to trace.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from flushes import arrived, checkpoint, flawless, killing, nudge, processes
from streaming import PLATES, Postgres, Sheet, Stream, postgres, traced

from lis.errors import LisError

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]
CALLS = {
    "client backend": ("fdatasync", "fsync", "pwrite64", "pwritev"),
    "walwriter": ("fdatasync", "fsync", "pwrite64"),
    "checkpointer": ("fdatasync", "fsync", "pwrite64"),
}
"""Which of PostgreSQL's processes flush and write, and with what."""

MISSES = 2
"""So many numbers in a row that nobody reached end a series: what a checkpoint has to write differs a little."""

BOUND_S, FACTOR = 5.0, 4.0
"""Kill to acknowledgement, recovery and all: what is demanded of a quiet machine, what a loaded one is granted."""

RECOVERY = (*range(1, 13), 16, 22, 30, 42, 60, 85, 120, 170, 250, 350, 500, 700, 1000, 1400, 2000, 2800)
"""A recovery syncs every file of the cluster before it begins; these of its calls are tried."""

JUNK = 20_000


@dataclass
class Series:
    """One stream of plates, and what was killed meanwhile.

    Attributes:
        used: sheets that were sent.
        junk: name and SHA-256 of the files that were sent when the sheets were used up.
        times: seconds from each kill to the acknowledgement of the file that was under way.
    """

    stream: Stream
    database: Postgres
    used: int = 0
    junk: dict[str, str] = field(default_factory=dict)
    times: list[float] = field(default_factory=list)

    def send(self) -> Sheet | str:
        """The next plate's file, or one that no format knows."""
        if self.used < PLATES:
            sheet = self.stream.sheets[self.used]
            self.used += 1
            self.stream.write(sheet)
            return sheet
        made = self.stream.junk(f"junk-{len(self.junk)}.txt", JUNK, len(self.junk) % len(self.stream.agents))
        self.junk |= made
        return next(iter(made))

    def through(self, sent: Sheet | str) -> bool:
        """Whether a file is acknowledged and read; while the database recovers nobody knows."""
        with contextlib.suppress(LisError):
            if isinstance(sent, Sheet):
                return arrived(self.stream, sent)
            return sent in self.stream.acked() and sent in self.stream.kept()
        return False

    def wait(self, sent: Sheet | str, since: float) -> None:
        """Until a file is through after a kill; nothing that was acknowledged is missing then."""
        self.stream.until(lambda: self.through(sent), f"{sent} after a kill", restart=False)
        self.times.append(time.monotonic() - since)
        assert not self.stream.lost()

    def end(self, what: str, points: dict[str, int]) -> None:
        """The rest of the plates, then the figures."""
        ordered = sorted(self.times)
        print(
            f"\npostgresql, {what}: killed at {points}; to the acknowledgement of the file under way: "
            f"n={len(ordered)} median {ordered[len(ordered) // 2]:.2f} s, worst {ordered[-1]:.2f} s"
        )
        flawless(self.stream, self.used)
        kept = self.stream.kept()
        assert {name: kept.get(name) for name in self.junk} == self.junk
        assert ordered[-1] < BOUND_S * FACTOR


@pytest.fixture
def series(tmp_path: Path) -> Iterator[Series]:
    """Twenty plates, a server without its web and its agents on a database server of their own."""
    with postgres() as database:
        home = tmp_path / "home"
        stream = Stream(home, home / "data", database.url, home, 0, database, light=True)
        try:
            stream.start_server()
            stream.threads()
            for agent in stream.agents:
                agent.start()
            yield Series(stream, database)
        finally:
            stream.close()


def struck(series: Series, kind: str, call: str, number: int) -> bool:
    """Send a file while the processes of one kind are killed at one of their calls; whether one was."""
    stream, database = series.stream, series.database
    log = stream.folder / "trace"
    fired = lambda: "killed by SIGKILL" in log.read_text("utf-8", "replace")  # noqa: E731
    master = database.part.process
    begin = time.monotonic()
    with traced(processes(stream, kind), log, *killing(call, number)):
        sent = series.send()
        if kind == "checkpointer":
            checkpoint(database)
        if kind == "walwriter":
            nudge(database)
        stream.until(lambda: fired() or series.through(sent), f"{kind} at {call} {number}", restart=False)
    if not fired():
        return False
    series.wait(sent, begin)
    assert database.part.process is master  # it came back by itself
    assert database.part.alive
    return True


@pytest.mark.parametrize("kind", list(CALLS))
def test_postgresql_dies_at_each_flush_and_write(series: Series, kind: str):
    """Of its sessions, of the writer of its log, of its checkpoints: it recovers, and nothing is lost or doubled."""
    points: dict[str, int] = {}
    for call in CALLS[kind]:
        missed = 0
        for number in itertools.count(1):
            if struck(series, kind, call, number):
                points[call] = number
                missed = 0
            elif (missed := missed + 1) > MISSES:
                break
    assert points["fdatasync"] >= 1
    assert points["pwrite64"] >= 1
    series.end(kind, points)


def test_the_recovery_of_postgresql_dies_at_its_flushes(series: Series):
    """Killed, and killed again while it recovers: the next start is whole. Here somebody has to start it."""
    points: dict[str, int] = {}
    part = series.database.part
    log = series.database.data.parent / "trace"
    for call in ("fsync", "fdatasync", "pwrite64"):
        for number in RECOVERY:
            sent = series.send()
            time.sleep(0.15)
            part.kill()
            log.write_text("")
            log.chmod(0o666)
            part.before = ["strace", "-f", "-o", str(log), *killing(call, number)]
            hit = again(series, log)
            part.kill()
            part.before = []
            begin = time.monotonic()
            series.database.start()
            series.wait(sent, begin)
            if not hit:
                break
            points[call] = points.get(call, 0) + 1
    assert points["fsync"] >= 12
    series.end("its recovery (number of points)", points)


def again(series: Series, log: Path) -> bool:
    """Start it under strace until something of it is killed (True), or it answers."""
    end = time.monotonic() + 90
    while time.monotonic() < end:
        if "killed by SIGKILL" in log.read_text("utf-8", "replace"):
            return True
        if not series.database.part.alive:  # what the dead one left behind may refuse it for a moment
            series.database.part.start()
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(series.database.uri):
            return False
        time.sleep(0.05)
    raise AssertionError(series.database.part.said()[-2000:])
