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


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_every_write_of_the_server_may_fail(stream: Stream, error: str):
    """One refused write, then another, at growing distance: told at once, never acknowledged, mended by itself."""
    junk: dict[str, str] = {}
    fired, told, times = 0, [], []
    for call in ("pwrite64", "fsync"):
        for number in POINTS if call == "pwrite64" else POINTS[:6]:
            log = stream.folder / f"trace-{call}-{number}"
            before, said = alarms(stream), len(stream.server.said())
            assert stream.server.process is not None
            paths = [part for name in ("lis.db", "lis.db-wal") for part in ("-P", str(stream.data / name))]
            inject = [*paths, "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={number}"]
            found: list[str] = []
            begin = time.monotonic()
            with traced([stream.server.process.pid], log, *inject, follow=True):
                own = stream.junk(f"{error}-{call}-{number}.txt", JUNK, number % 4)
                junk |= own

                def seen() -> bool:
                    if not found and "INJECTED" in log.read_text("utf-8", "replace"):
                        found.extend(signs(stream, before, said))
                        if found:
                            times.append(time.monotonic() - begin)
                    query = f"SELECT 1 FROM file_status s JOIN file f ON f.file_id = s.file_id WHERE f.name = '{next(iter(own))}' AND s.state = 'quarantined'"
                    return set(own) <= set(stream.acked()) and bool(stream.rows(query))

                stream.until(seen, f"{call} {number}", restart=False)
            injected = "INJECTED" in log.read_text("utf-8", "replace")
            if injected:
                fired += 1
                if not found:
                    stream.until(lambda: signs(stream, before, said), "a sign", BOUND_S * FACTOR)
                    found.extend(signs(stream, before, said))
                    times.append(time.monotonic() - begin)
                told.append(found)
    for sheet in stream.sheets:
        stream.write(sheet)
    stream.settle()
    kept = stream.kept()
    figures = stream.verdict()
    print(
        f"\nserver, {error}: {fired} writes refused of {len(POINTS) + 6} tried, told in {counted(told)}, at the latest "
        f"{max(times):.1f} s after the cycler's file; {figures}; the server was never restarted"
    )
    assert fired >= 10
    assert {name: kept.get(name) for name in junk} == junk
    assert figures == dict.fromkeys(figures, 0)
    assert max(times) < BOUND_S * FACTOR


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_every_write_of_an_agent_may_fail(stream: Stream, error: str):
    """The outbox refuses one write, then another: the file is told of, spooled later, sent, and marked."""
    junk: dict[str, str] = {}
    fired, told, times = 0, [], []
    for call in ("pwrite64", "fdatasync"):
        for number in POINTS if call == "pwrite64" else POINTS[:4]:
            log = stream.folder / f"trace-{call}-{number}"
            said = len(stream.agents[0].said())
            assert stream.agents[0].process is not None
            box = stream.outbox(0)
            inject = ["-P", str(box), "-P", f"{box}-wal", "-e", f"trace={call}"]
            inject += ["-e", f"inject={call}:error={error}:when={number}"]
            found: list[str] = []
            begin = time.monotonic()
            with traced([stream.agents[0].process.pid], log, *inject, follow=True):
                own = stream.junk(f"{error}-{call}-{number}.txt", JUNK, 0)
                junk |= own

                def seen() -> bool:
                    if not found and "INJECTED" in log.read_text("utf-8", "replace"):
                        found.extend(agent_signs(stream, 0, said))
                        if found:
                            times.append(time.monotonic() - begin)
                    return set(own) <= set(stream.acked(0))

                stream.until(seen, f"{call} {number}", restart=False)
            if "INJECTED" in log.read_text("utf-8", "replace"):
                fired += 1
                if not found:
                    stream.until(lambda: agent_signs(stream, 0, said), "a sign", BOUND_S * FACTOR)
                    found.extend(agent_signs(stream, 0, said))
                    times.append(time.monotonic() - begin)
                told.append(found)
    for sheet in stream.sheets:
        stream.write(sheet)
    stream.settle()
    kept = stream.kept()
    figures = stream.verdict()
    print(
        f"\nagent, {error}: {fired} writes refused of {len(POINTS) + 4} tried, told in {counted(told)}, at the latest "
        f"{max(times):.1f} s after the cycler's file; {figures}; the agent was never restarted"
    )
    assert fired >= 4
    assert {name: kept.get(name) for name in junk} == junk
    assert figures == dict.fromkeys(figures, 0)
    assert max(times) < BOUND_S * FACTOR


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
