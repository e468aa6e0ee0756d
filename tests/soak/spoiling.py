"""What the soaks of full and failing disks share: small disks, refused writes, and where a person is told."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from disks import mount_small
from streaming import Stream, traced

from lis.errors import LisError

BOUND_S, FACTOR = 10.0, 3.0
"""A person is told within this time; what a loaded machine is granted."""

POINTS = (*range(1, 13), 15, 20, 26, 34, 44, 57, 74, 96)
"""Which write of its kind fails, counted in each thread from the moment a file is written by its cycler."""

JUNK = 20_000


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Makes small disks, in the test's folder or another; all are unmounted at the end."""
    made: list[Path] = []

    def make(name: str, megabytes: int, home: Path = tmp_path) -> Path:
        folder = home / name
        mount_small(folder, megabytes * 2**20)
        made.append(folder)
        return folder

    yield make
    for folder in made:
        subprocess.run(["umount", "-l", folder], check=True)


def alarms(stream: Stream) -> int:
    """Alarms about the disk, recorded in the database; 0 while it cannot be asked."""
    query = (
        "SELECT count(*) FROM alarm WHERE code IN ('HANDLER-FAILED', 'STORAGE_FULL', 'ENROLMENT-UNREADABLE')"
    )
    with contextlib.suppress(LisError):
        return int(stream.rows(query)[0][0])
    return 0


def signs(stream: Stream, before: int, said: int) -> list[str]:
    """Where a person is told by now that the server's disk refuses: health, the list of alarms, the log."""
    _, health = stream.health()
    checks = health.get("checks", {})
    found = (
        ["healthz"] if not all(checks.get(one, {"ok": True})["ok"] for one in ("database", "writes")) else []
    )
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
        self,
        stream: Stream,
        pids: list[int],
        inject: list[str],
        name: str,
        told: Callable[[], list[str]],
        during: Callable[[], None] = lambda: None,
    ) -> bool:
        """Refuse one write of a process while a file comes in; what tells a person, and when."""
        log = stream.folder / f"trace-{name}"
        fired = lambda: "INJECTED" in log.read_text("utf-8", "replace")  # noqa: E731
        begin = time.monotonic()
        agent = 0
        with traced(pids, log, *inject, follow=True):
            own = stream.junk(f"{name}.txt", JUNK, agent)
            self.junk |= own
            during()
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
        return fired()

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
    """Whether nothing waits to be read; while the database cannot be asked nobody knows."""
    with contextlib.suppress(LisError):
        return stream.rows("SELECT count(*) FROM file_status WHERE state = 'waiting'") == [(0,)]
    return False


def refusing(call: str, error: str, number: int, paths: list[Path]) -> list[str]:
    """What strace is told: which call fails, on which files."""
    only = [part for path in paths for part in ("-P", str(path))]
    return [*only, "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={number}"]
