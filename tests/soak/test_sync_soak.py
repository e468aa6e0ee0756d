"""kill -9 at every sync of the disk: agent, server at its first start, server at work.

The flushes of PostgreSQL's own processes are enumerated in ``test_database_sync_soak.py``.

Started by hand: ``pytest -m soak -n 0 -s tests/soak/test_sync_soak.py``. Needs strace and the right to trace.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from flushes import SYNCS, arrived, died, flawless, killing
from streaming import PLATES, Stream, traced

pytestmark = [
    pytest.mark.soak,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed"),
]
BIG = 1_200_000
"""Bytes of a file that travels in three parts, each synced on the server before it is answered."""


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[Stream]:
    """Twenty plates and a server without its web, nothing started."""
    made = Stream(tmp_path, tmp_path / "data", "", tmp_path, 0, light=True)
    yield made
    made.close()


def test_the_agent_dies_at_each_of_its_syncs(stream: Stream):
    """With an outbox that is new each time, so that its making is cut short as well."""
    stream.start_server()
    stream.threads()
    points: dict[str, int] = {}
    used = 0
    for call in SYNCS:
        for number in range(1, PLATES):
            sheet = stream.sheets[used]
            used += 1
            agent = stream.agents[sheet.agent]
            for path in stream.outboxes.glob(f"outbox-{sheet.agent}.*"):
                path.unlink()
            for path in stream.exports(sheet.agent).glob("*.txt"):
                path.unlink()  # long stored; a new outbox would send it again
            agent.before = ["strace", "-f", "-o", str(stream.folder / "trace"), *killing(call, number)]
            stream.write(sheet)
            agent.start()
            end_without = lambda: died(agent) or stream.told(sheet)  # noqa: B023, E731 - of this turn
            stream.until(end_without, f"agent at {call} {number}", restart=False)
            killed = died(agent)
            agent.kill()
            agent.before = []
            agent.start()
            stream.until(lambda: arrived(stream, sheet), f"{sheet.name} read")  # noqa: B023 - of this turn
            agent.kill()
            assert not stream.lost()
            if not killed:
                points[call] = number - 1
                break
        else:
            raise AssertionError(f"no end of {call}")
    print(f"\nagent: killed at every {points}")
    assert points["fdatasync"] >= 3
    for agent in stream.agents:
        agent.start()
    flawless(stream, used)


def test_the_server_dies_at_each_sync_of_its_first_start(tmp_path: Path):
    """Keys and schema: whatever is cut short, the next start is whole and keeps the keys that were told."""
    points: dict[str, int] = {}
    home = tmp_path / "home"
    stream = Stream(home, home / "data", "", home, 0, light=True)
    try:
        for call in SYNCS:
            for number in range(1, 200):
                shutil.rmtree(stream.data)
                stream.start_server("strace", "-f", "-o", str(home / "trace"), *killing(call, number))
                stream.until(
                    lambda: died(stream.server) or "READY" in stream.server.said()[stream._heard :],
                    "first start", restart=False,
                )  # fmt: skip
                killed = died(stream.server)
                keys = {name: (stream.data / name) for name in ("secret.key", "bridge.key")}
                before = {name: path.read_bytes() for name, path in keys.items() if path.exists()}
                stream.server.kill()
                stream.start_server()
                stream.threads()
                stream.server.kill()
                assert {name: keys[name].read_bytes() for name in before} == before
                if not killed:
                    points[call] = number - 1
                    break
        print(f"\nserver, first start: killed at every {points}")
        assert points["fsync"] >= 4
    finally:
        stream.close()


@pytest.mark.parametrize("crew", ["bridge-worker", "reception"])
def test_the_server_dies_at_each_sync_of_its_work(stream: Stream, crew: str):
    """Receiving (a plate, and a large file in parts) and reading."""
    for agent in stream.agents:
        agent.start()
    points: dict[str, int] = {}
    used = 0
    junk: dict[str, str] = {}
    for call in SYNCS:
        for number in range(1, PLATES):
            if used == PLATES:
                break
            sheet = stream.sheets[used]
            used += 1
            stream.start_server()
            crews = [thread for name, thread in stream.threads().items() if name.startswith(crew)]
            with traced(crews, stream.folder / "trace", *killing(call, number)):
                stream.write(sheet)
                big = stream.junk(f"big-{call}-{number}.txt", BIG, sheet.agent) if crew != "reception" else {}
                junk |= big
                arrival = lambda: arrived(stream, sheet) and set(big) <= set(stream.acked())  # noqa: B023, E731 - of this turn
                done = lambda: died(stream.server) or arrival()  # noqa: B023, E731
                stream.until(done, f"{crew} at {call} {number}", restart=False)
                killed = died(stream.server)
            if not killed:
                stream.server.kill()
                points[call] = number - 1
                break
            stream.start_server()
            stream.until(lambda: arrived(stream, sheet), f"{sheet.name} read")  # noqa: B023 - of this turn
            stream.until(lambda: set(junk) <= set(stream.acked()), "large files")  # noqa: B023
            assert not stream.lost()
            stream.server.kill()
    print(f"\nserver, {crew}: killed at every {points}")
    stream.start_server()
    flawless(stream, used)
    kept = stream.kept()
    assert {name: kept.get(name) for name in junk} == junk
