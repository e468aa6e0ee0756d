# ruff: noqa: B023 - what is waited for is waited for within its turn of the loop
"""Full and failing disks at both ends: no acknowledgement without commit, a person is told, nobody need help.

Started by hand: ``pytest -m soak -n 0 -s tests/soak/test_disk_soak.py``. Needs strace, and the right to mount.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from disks import fill
from spoiling import BOUND_S, FACTOR, POINTS, Failing, agent_signs, alarms, refusing, signs, tmpfs
from streaming import Stream

__all__ = ["tmpfs"]

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[Stream]:
    """Twenty plates and everything running."""
    made = Stream(tmp_path, tmp_path / "data", "", tmp_path, 0)
    made.start()
    made.until(lambda: made.health()[0], "the web")
    yield made
    made.close()


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
            found.point(
                stream, [stream.server.process.pid], inject, name, lambda: signs(stream, before, said)
            )
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
                stream, [stream.agents[0].process.pid], inject, name, lambda: agent_signs(stream, 0, said)
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
