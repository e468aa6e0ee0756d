# ruff: noqa: B023 - what is waited for is waited for within its turn of the loop
"""Full and failing disks at both ends: no acknowledgement without commit, a person is told, nobody need help.

Started by hand: ``pytest -m soak -n 0 -s tests/soak/test_disk_soak.py``. Needs strace, and the right to mount.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from disks import fill
from streaming import Stream, traced

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]
BOUND_S, FACTOR = 10.0, 3.0
"""A person is told within this time; what a loaded machine is granted."""

POINTS = (*range(1, 13), 15, 20, 26, 34, 44, 57, 74, 96)
"""Which write of its kind fails, counted in each thread from the moment a file is written by its cycler."""

JUNK = 20_000


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[Stream]:
    """Twenty plates and everything running."""
    made = Stream(tmp_path, tmp_path / "data", "", tmp_path, 0)
    made.start()
    made.until(lambda: made.health()[0], "the web")
    yield made
    made.close()


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Callable[[str, int], Path]]:
    """Makes small disks; all are unmounted at the end."""
    made: list[Path] = []

    def make(name: str, megabytes: int) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "nat-lis-soak", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"a full disk cannot be made here: {done.stderr.strip()}")
        made.append(folder)
        return folder

    yield make
    for folder in made:
        subprocess.run(["umount", "-l", folder], check=True)


def alarms(stream: Stream) -> int:
    """Alarms about the disk, recorded in the database."""
    query = "SELECT count(*) FROM alarm WHERE code IN ('HANDLER-FAILED', 'STORAGE_FULL')"
    return int(stream.rows(query)[0][0])


def signs(stream: Stream, before: int, said: int) -> list[str]:
    """Where a person is told by now that the server's disk refuses: health, the list of alarms, the log."""
    _, health = stream.health()
    found = ["healthz"] if not health.get("checks", {}).get("writes", {"ok": True})["ok"] else []
    found += ["alarm"] if alarms(stream) > before else []
    words = ("could not be stored", "waits: ", "could not be moved")
    return found + (["log"] if any(word in stream.server.said()[said:] for word in words) else [])


def agent_signs(stream: Stream, agent: int, said: int) -> list[str]:
    """Where a person is told by now that the disk of an agent refuses: its health file, its log."""
    try:
        health = json.loads(stream.outbox(agent).with_suffix(".health.json").read_text("utf-8"))
    except (OSError, ValueError):
        health = {}
    found = ["health file"] if health.get("problems") else []
    log = stream.agents[agent].said()[said:]
    return found + (["log"] if "the pass failed" in log or "took no copy" in log else [])


def counted(rows: list[list[str]]) -> dict[str, int]:
    """How often each sign was the first or among the first."""
    found: dict[str, int] = {}
    for row in rows:
        for one in row:
            found[one] = found.get(one, 0) + 1
    return found


@dataclass
class Failing:
    """What happened while writes were refused one by one."""

    fired: int = 0
    told: list[list[str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    junk: dict[str, str] = field(default_factory=dict)

    def point(
        self, stream: Stream, pid: int, inject: list[str], name: str, told: Callable[[], list[str]]
    ) -> None:
        """Refuse one write of a process while a file comes in; what tells a person, and when."""
        log = stream.folder / f"trace-{name}"
        fired = lambda: "INJECTED" in log.read_text("utf-8", "replace")  # noqa: E731
        begin = time.monotonic()
        agent = 0
        with traced([pid], log, *inject, follow=True):
            own = stream.junk(f"{name}.txt", JUNK, agent)
            self.junk |= own
            stream.until(
                lambda: fired() or (set(own) <= set(stream.acked(agent)) and settled(stream)),
                name,
                restart=False,
            )
        if fired():
            self.fired += 1
            stream.until(told, f"a sign of {name}", restart=False)
            self.told.append(told())
            self.times.append(time.monotonic() - begin)
        stream.until(lambda: set(own) <= set(stream.acked(agent)) and settled(stream), name, restart=False)

    def end(self, stream: Stream, who: str) -> None:
        """Twenty plates besides, then the figures."""
        part = stream.server.process
        for sheet in stream.sheets:
            stream.write(sheet)
        stream.settle()
        assert part is stream.server.process
        kept = stream.kept()
        figures = stream.verdict()
        print(
            f"\n{who}: {self.fired} writes refused, told in {counted(self.told)}, at the latest {max(self.times):.1f} s "
            f"after the cycler's file; {figures}; nobody was restarted"
        )
        assert {name: kept.get(name) for name in self.junk} == self.junk
        assert figures == dict.fromkeys(figures, 0)
        assert max(self.times) < BOUND_S * FACTOR


def settled(stream: Stream) -> bool:
    """Whether nothing waits to be read."""
    return stream.rows("SELECT count(*) FROM file_status WHERE state = 'waiting'") == [(0,)]


def refusing(call: str, error: str, number: int, paths: list[Path]) -> list[str]:
    """What strace is told: which call fails, on which files."""
    only = [part for path in paths for part in ("-P", str(path))]
    return [*only, "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={number}"]


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_every_write_of_the_server_may_fail(stream: Stream, error: str):
    """One refused write, then another, at growing distance: told at once, never acknowledged, mended by itself."""
    found = Failing()
    paths = [stream.data / "lis.db", stream.data / "lis.db-wal"]
    for call, points in (("pwrite64", POINTS), ("fsync", POINTS[:3])):
        for number in points:
            assert stream.server.process is not None
            before, said = alarms(stream), len(stream.server.said())
            inject = refusing(call, error, number, paths)
            name = f"{error}-{call}-{number}"
            found.point(stream, stream.server.process.pid, inject, name, lambda: signs(stream, before, said))
    assert found.fired >= 10
    found.end(stream, f"server, {error}")


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_every_write_of_an_agent_may_fail(stream: Stream, error: str):
    """The outbox refuses one write, then another: the file is told of, spooled later, sent, and marked."""
    found = Failing()
    paths = [stream.outbox(0), stream.outbox(0).with_name("outbox-0.db-wal")]
    for call, points in (("pwrite64", POINTS), ("fdatasync", POINTS[:4])):
        for number in points:
            assert stream.agents[0].process is not None
            said = len(stream.agents[0].said())
            inject = refusing(call, error, number, paths)
            name = f"{error}-{call}-{number}"
            found.point(
                stream, stream.agents[0].process.pid, inject, name, lambda: agent_signs(stream, 0, said)
            )
    assert found.fired >= 10
    found.end(stream, f"agent, {error}")


def test_disks_that_are_really_full_at_both_ends(tmp_path: Path, tmpfs: Callable[[str, int], Path]):
    """The server's disk, then the agents': told within seconds, nothing acknowledged, all delivered when there is room."""
    server, pc = tmpfs("server", 48), tmpfs("pc", 12)
    stream = Stream(tmp_path / "home", server / "data", "", pc, 0)
    try:
        stream.start()
        stream.until(lambda: stream.health()[0], "the web")
        pids = [part.process.pid for part in (stream.server, *stream.agents) if part.process is not None]
        for sheet in stream.sheets[:4]:
            stream.write(sheet)
        stream.until(lambda: all(stream.told(sheet) for sheet in stream.sheets[:4]), "four plates")

        ballast = fill(server)
        before, said = alarms(stream), len(stream.server.said())
        waiting = stream.sheets[4:12]
        for sheet in waiting:
            stream.write(sheet)
        first = stream.until(lambda: signs(stream, before, said), "a sign of the server")
        stream.until(lambda: "healthz" in signs(stream, before, said), "health of the server")
        held = time.monotonic()
        while time.monotonic() < held + 20.0:  # the disk stays full: whatever is acknowledged must be there
            assert not stream.lost()
            time.sleep(0.5)
        acked = len({sheet.name for sheet in waiting} & set(stream.acked()))
        where = signs(stream, before, said)
        ballast.unlink()
        drained = stream.until(lambda: all(stream.told(sheet) for sheet in waiting), "eight plates")
        stream.until(lambda: stream.health()[1]["checks"]["writes"]["ok"], "health again")
        stream.until(lambda: alarms(stream) > before, "the alarm is recorded")
        print(
            f"\nserver, full disk: told after {first:.1f} s in {where}, {acked} of 8 files acknowledged meanwhile (and kept), "
            f"all delivered {drained:.1f} s after there was room, alarms recorded: {alarms(stream) - before}"
        )

        ballast = fill(pc)
        spoken = [len(agent.said()) for agent in stream.agents]
        rest = stream.sheets[12:]
        for sheet in rest:
            stream.write(sheet)
        latest: dict[int, Any] = {}

        def every() -> bool:
            for one in range(len(stream.agents)):
                if one not in latest and "health file" in agent_signs(stream, one, spoken[one]):
                    latest[one] = agent_signs(stream, one, spoken[one])
            return len(latest) == len(stream.agents)

        told = stream.until(every, "signs of the agents")
        assert not stream.lost()
        ballast.unlink()
        drained = stream.until(lambda: all(stream.told(sheet) for sheet in rest), "the rest")
        stream.settle()
        alive = [part.process.pid for part in (stream.server, *stream.agents) if part.process is not None]
        figures = stream.verdict()
        print(
            f"agents, full disk: told after {told:.1f} s in {latest[0]}, all delivered {drained:.1f} s after there was room; "
            f"{figures}; nobody was restarted: {alive == pids}"
        )
        assert alive == pids
        assert figures == dict.fromkeys(figures, 0)
        assert max(first, told) < BOUND_S * FACTOR
    finally:
        stream.close()
