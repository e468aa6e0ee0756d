"""Agent and bridge together: real sockets, real processes, real kills."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from instruments import agent, wire
from instruments.bridge import Bridge, Receipt, Refused, new_keypair

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 3, 1, tzinfo=UTC)
SERVER, DEVICE = new_keypair(), new_keypair()
PATIENCE_S = 60.0  # an upper bound, never waited for when all is well


class Laboratory:
    """The handler of these tests: stores each (instrument, run, sha256) once and counts what it saw."""

    def __init__(self):
        self.files = {}
        self.duplicates = 0
        self.calls = 0
        self.before = lambda _call: None
        self.after = lambda _call: None
        self.enrolled = {DEVICE.public: "qs5-1"}

    def __call__(self, shipment):
        """Store once; ``before`` and ``after`` may break in."""
        self.calls += 1
        self.before(self.calls)
        key = (shipment.instrument, shipment.run, shipment.sha256)
        known = key in self.files
        self.files.setdefault(key, (shipment.name, shipment.data))
        self.duplicates += known
        self.after(self.calls)
        return Receipt("duplicate" if known else "stored", NOW)

    @property
    def contents(self):
        """Name and bytes of every file, sorted."""
        return sorted(self.files.values())


@pytest.fixture
def laboratory():
    """An empty laboratory."""
    return Laboratory()


@pytest.fixture
def bridge(laboratory, tmp_path):
    """A running bridge in front of the laboratory."""
    with Bridge("tcp://127.0.0.1:*", SERVER, laboratory.enrolled.get, laboratory) as one:
        yield one


@pytest.fixture
def folder(tmp_path):
    """The folder of an instrument."""
    root = tmp_path / "export"
    root.mkdir()
    return root


@pytest.fixture
def start(tmp_path, folder):
    """Start agents on an endpoint, and close them."""
    with contextlib.ExitStack() as stack:

        def begin(endpoint, **changes):
            config = agent.AgentConfig(
                folder=folder, outbox=tmp_path / "outbox.db", endpoint=endpoint, instrument="qs5-1",
                server_public=SERVER.public, public_key=DEVICE.public, secret_key=DEVICE.secret,
                settle_s=0.0, retry_first_s=0.05, retry_max_s=0.5, part_bytes=64 * 1024,
            )  # fmt: skip
            one = agent.Agent(agent.replace(config, **changes))
            stack.callback(one.close)
            return one

        yield begin


def fill(folder, count, chance, largest=30_000):
    """Synthetic files: random bytes under run names."""
    for number in range(count):
        (folder / f"run-{number:03}.eds").write_bytes(chance.randbytes(chance.randint(1, largest)))
    return contents(folder)


def contents(folder):
    """Name and bytes of every file, sorted."""
    return sorted((path.name, path.read_bytes()) for path in folder.iterdir())


def drive(one, done, seconds=PATIENCE_S):
    """Let the agent work until ``done`` holds."""
    end = time.monotonic() + seconds
    one.step()
    while not done():
        assert time.monotonic() < end, one.status()
        one._link.wait(0.02)
        one.exchange()


# ---------------------------------------------------------------------------- the good day
def test_files_of_every_size_arrive_once_and_exactly(start, bridge, laboratory, folder):
    """Small files and one of 5 MB, over CURVE on loopback, are stored exactly, and the agent knows it."""
    chance = random.Random(1)
    (folder / "big.eds").write_bytes(chance.randbytes(5_000_000))
    expected = fill(folder, 30, chance)
    one = start(bridge.endpoint)
    drive(one, lambda: one.idle)
    assert laboratory.contents == sorted([*expected])
    assert laboratory.duplicates == 0
    status = one.step()
    assert (status["acked"], status["pending"], status["refused"]) == (31, 0, 0)
    assert (status["link"], one.bridge_device) == ("connected", "qs5-1")
    assert status["last_ack_at"] is not None


def test_a_half_file_and_its_completion_are_two_versions(start, bridge, laboratory, folder):
    """A writer that paused too long ships twice, as two contents of one name; neither replaces the other."""
    path = folder / "run-1.csv"
    path.write_bytes(b"A1,23.4\n")
    one = start(bridge.endpoint)
    drive(one, lambda: one.idle)
    path.write_bytes(b"A1,23.4\nA2,31.0\n")
    one.step()
    drive(one, lambda: one.idle)
    assert laboratory.contents == [("run-1.csv", b"A1,23.4\n"), ("run-1.csv", b"A1,23.4\nA2,31.0\n")]
    assert one.status()["new_versions"] == 1


def test_a_file_being_written_is_not_sent_before_it_settles(start, bridge, laboratory, folder):
    """As long as the file grows within the settling time the laboratory sees nothing of it."""
    path = folder / "run-1.csv"
    one = start(bridge.endpoint, settle_s=0.5)
    with path.open("ab") as stream:
        for number in range(8):
            stream.write(b"A%d,23.4\n" % number)
            stream.flush()
            one.step()
            one._link.wait(0.05)
            assert laboratory.calls == 0
    end = time.monotonic() + PATIENCE_S
    while not laboratory.files and time.monotonic() < end:
        one.step()
        one._link.wait(0.02)
    assert laboratory.contents == contents(folder)


def test_live_readings_pass_through_the_agent(start, laboratory, folder):
    """send_reads delivers one cycle to the bridge's receiver."""
    seen, arrived = [], threading.Event()

    def show(reads):
        seen.append(reads)
        arrived.set()

    with Bridge("tcp://127.0.0.1:*", SERVER, laboratory.enrolled.get, laboratory, on_reads=show) as bridge:
        one = start(bridge.endpoint)
        drive(one, lambda: one.bridge_device == "qs5-1")
        assert one.send_reads("run-1", 7, "FAM", [float(well) for well in range(96)])
        assert arrived.wait(10)
        assert (seen[0].device, seen[0].cycle, seen[0].values[95]) == ("qs5-1", 7, 95.0)


def test_growing_files_of_live_readings_are_followed(start, laboratory, folder):
    """Whole lines are sent as they come, a half one when it is whole, none as a file; a bad line is named."""
    seen = []
    with Bridge(
        "tcp://127.0.0.1:*", SERVER, laboratory.enrolled.get, laboratory, on_reads=seen.append
    ) as bridge:
        live = folder / "P00000018.reads"
        row = ",".join(["0.5"] * 95)
        live.write_text(f"1,FAM,{row},\n1,HEX,{row},0.25\n2,FAM,0.1", encoding="utf-8")
        one = start(bridge.endpoint, plate_pattern="P[0-9]{8}")
        drive(one, lambda: len(seen) == 2)
        with live.open("a", encoding="utf-8") as grows:
            grows.write(f"{row[3:]},0.5\nnonsense\n3,FAM,1,2,3\n4,FAM,{row},1\n")
        drive(one, lambda: len(seen) == 4)
        assert [(r.run, r.plate, r.cycle, r.dye) for r in seen] == [
            ("P00000018", "P00000018", cycle, dye)
            for cycle, dye in ((1, "FAM"), (1, "HEX"), (2, "FAM"), (4, "FAM"))
        ]
        assert seen[0].values[95] != seen[0].values[95]  # an empty value is no number
        assert seen[2].values[0] == 0.1
        assert "P00000018.reads" in one.status()["problems"]
        live.write_text(f"1,FAM,{row},9\n", encoding="utf-8")  # a new run under the old name
        drive(one, lambda: len(seen) == 5)
        assert seen[4].values[95] == 9.0
        assert laboratory.calls == 0


def test_old_files_of_live_readings_are_left_alone(start, laboratory, folder):
    """What was measured hours before the agent started is not shown as live."""
    seen = []
    with Bridge(
        "tcp://127.0.0.1:*", SERVER, laboratory.enrolled.get, laboratory, on_reads=seen.append
    ) as bridge:
        row = ",".join(["0.5"] * 96)
        old, new = folder / "old.reads", folder / "new.reads"
        old.write_text(f"1,FAM,{row}\n", encoding="utf-8")
        os.utime(old, (time.time() - 7200,) * 2)
        one = start(bridge.endpoint)
        drive(one, lambda: one.bridge_device == "qs5-1")
        new.write_text(f"1,FAM,{row}\n", encoding="utf-8")
        drive(one, lambda: bool(seen))
        assert [r.run for r in seen] == ["new"]


# ---------------------------------------------------------------------------- people and keys
def test_a_device_is_enrolled_revoked_and_enrolled_again(start, bridge, laboratory, folder):
    """Files wait, unharmed, while the key is not enrolled, and go through without a restart of the agent."""
    laboratory.enrolled.clear()
    (folder / "run-1.csv").write_bytes(b"A1")
    one = start(bridge.endpoint, ping_s=0.2)
    drive(one, lambda: one.status()["link"] == "refused")
    assert laboratory.calls == 0
    laboratory.enrolled[DEVICE.public] = "qs5-1"
    drive(one, lambda: one.idle)
    laboratory.enrolled.clear()
    (folder / "run-2.csv").write_bytes(b"A2")
    drive(one, lambda: "not-enrolled" in one.status()["last_error"])
    assert one.status()["pending"] == 1
    laboratory.enrolled[DEVICE.public] = "qs5-1"
    drive(one, lambda: one.idle)
    assert laboratory.contents == contents(folder)


def test_a_misnamed_instrument_is_corrected_without_loss(start, bridge, laboratory, folder):
    """A wrong instrument name refuses the files; after correction they are sent again and stored."""
    expected = fill(folder, 3, random.Random(2))
    wrong = start(bridge.endpoint, instrument="qs5-2")
    drive(wrong, lambda: wrong.status()["refused"] == 3)
    assert "wrong-instrument" in wrong.status()["refusals"]["run-000.eds"]
    wrong.close()
    right = start(bridge.endpoint)
    assert right.retry_refused() == 3
    drive(right, lambda: right.idle)
    assert laboratory.contents == expected


def test_trouble_in_the_handler_delays_and_loses_nothing(start, bridge, laboratory, folder):
    """Every third call fails before, every third after the commit; all is stored once all the same."""
    expected = fill(folder, 20, random.Random(3), largest=200_000)

    def fail(remainder):
        def check(call):
            if call < 40 and call % 3 == remainder:
                raise OSError("database is locked")

        return check

    laboratory.before, laboratory.after = fail(0), fail(1)
    one = start(bridge.endpoint)
    drive(one, lambda: one.idle)
    assert laboratory.contents == expected
    assert laboratory.duplicates > 0


def test_a_refused_file_stays_known_and_is_not_sent_again(start, bridge, laboratory, folder):
    """A handler's Refused reaches the agent with its sentence and ends the attempts."""

    def refuse(_call):
        raise Refused("no-format", "No format knows this file.")

    laboratory.before = refuse
    (folder / "run-1.csv").write_bytes(b"?")
    one = start(bridge.endpoint)
    drive(one, lambda: one.idle)
    assert one.step()["refusals"] == {"run-1.csv": "no-format: No format knows this file."}
    assert laboratory.calls == 1


# ---------------------------------------------------------------------------- broken links
class Proxy:
    """A TCP proxy that can cut every connection with a reset, by hand or after so many bytes, or go deaf."""

    def __init__(self, endpoint):
        self._target = int(endpoint.rsplit(":", 1)[1])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._pairs = []
        self._threads = []
        self._lock = threading.Lock()
        self.resets_left = self.every = self.resets = self._passed = 0
        self.deaf = False
        self._go(self._accept)

    def _go(self, work, *args):
        self._threads.append(threading.Thread(target=work, args=args, daemon=True))
        self._threads[-1].start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._target))
                with self._lock:
                    self._pairs.append((near, far))
                deaf = self.deaf
                for source, sink in ((near, far), (far, near)):
                    self._go(self._pump, (near, far), source, sink, deaf)

    def _pump(self, pair, source, sink, deaf):
        with contextlib.suppress(OSError):
            while data := source.recv(16384):
                if not (deaf or self.deaf):
                    sink.sendall(data)
                self._weigh(len(data))
        with self._lock:
            cut = pair not in self._pairs
        if not cut:  # one side hung up in good order; a goodbye now would spoil a reset
            for end in pair:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _weigh(self, length):
        with self._lock:
            self._passed += length
            due = self.resets_left > 0 and self._passed >= self.every
            if due:
                self._passed = 0
                self.resets_left -= 1
        if due:
            self.reset()

    def reset(self):
        """Cut every connection with a TCP reset."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
            self.resets += 1
        for end in (end for pair in pairs for end in pair):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RD)  # wakes the thread that reads it
            end.close()  # with that linger: a reset, not a goodbye

    def close(self):
        """Cut everything and end."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.reset()
        for thread in self._threads:
            thread.join(5)


@pytest.fixture
def proxy(bridge):
    """A proxy in front of the bridge."""
    one = Proxy(bridge.endpoint)
    yield one
    one.close()


def test_ten_tcp_resets_lose_nothing(start, proxy, laboratory, folder):
    """The connection is reset ten times in the middle of the stream: every file arrives, visible once."""
    chance = random.Random(4)
    (folder / "big.eds").write_bytes(chance.randbytes(1_500_000))
    expected = fill(folder, 80, chance, largest=60_000)
    proxy.every, proxy.resets_left = 250_000, 10
    one = start(proxy.endpoint)
    drive(one, lambda: one.idle)
    assert proxy.resets == 10
    assert laboratory.contents == expected


def test_a_deaf_link_is_noticed_and_built_anew(start, proxy, laboratory, folder):
    """A connection that stays open but carries nothing is given up by the agent itself."""
    one = start(proxy.endpoint, ping_s=0.2)
    drive(one, lambda: one.bridge_device == "qs5-1")
    proxy.deaf = True
    (folder / "run-1.csv").write_bytes(b"A1")
    one.step()
    built = []
    real, one._link.open = one._link.open, lambda: (built.append(1), real())
    drive(one, lambda: built)
    assert laboratory.calls == 0
    proxy.deaf = False
    drive(one, lambda: one.idle)
    assert laboratory.contents == contents(folder)


# ---------------------------------------------------------------------------- kill -9
def command(tmp_path, folder, endpoint):
    """The command line of an agent process."""
    key = tmp_path / "agent.key"
    if not key.exists():
        pair = f'    public-key = "{DEVICE.public.decode()}"\n    secret-key = "{DEVICE.secret.decode()}"\n'
        key.write_text(f"metadata\ncurve\n{pair}")
    return [
        "-m", "instruments.agent", "--folder", folder, "--endpoint", endpoint,
        "--instrument", "qs5-1", "--server-key", SERVER.public.decode(), "--key-file", key,
        "--outbox", tmp_path / "outbox.db", "--settle", "0.05", "--poll", "0.1",
    ]  # fmt: skip


@pytest.fixture
def launch(tmp_path):
    """Start processes of this test and leave none behind."""
    started = []

    def begin(*arguments):
        with (tmp_path / "process.log").open("ab") as log:
            started.append(
                subprocess.Popen(
                    [sys.executable, *map(os.fsdecode, arguments)],
                    cwd=ROOT,
                    env={**os.environ, "PYTHONPATH": str(ROOT)},
                    stderr=log,
                )
            )
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait(30)


def test_an_agent_killed_again_and_again_loses_nothing(tmp_path, bridge, laboratory, folder, launch):
    """SIGKILL of the real process before and after the laboratory's commit, ten times: nothing is lost."""
    expected = fill(folder, 120, random.Random(5))
    arguments = command(tmp_path, folder, bridge.endpoint)
    deadly, killed, process, base = 0, threading.Event(), None, 0

    def kill(moment):
        def maybe(call):
            if deadly % 2 == moment and call - base >= deadly and not killed.is_set():
                process.kill()
                killed.set()

        return maybe

    laboratory.before, laboratory.after = kill(0), kill(1)
    acked = []
    for deadly in (  # noqa: B007 - the handler's hooks look at it
        3,
        20,
        1,
        13,
        10,
        2,
        17,
        8,
        11,
        14,
    ):  # even: before the commit, odd: after it
        base = laboratory.calls
        killed.clear()
        process = launch(*arguments)
        assert killed.wait(30)
        assert process.wait(30) == -signal.SIGKILL
        box = agent.Outbox(tmp_path / "outbox.db", "qs5-1")
        names = {name for (name,) in box._db.execute("SELECT name FROM file WHERE state = 'acked'")}
        box.close()
        assert names <= {name for name, _data in laboratory.contents}
        acked.append(len(names))
    assert acked == sorted(acked)
    assert 0 < acked[-1] < 120
    process = launch(*arguments)
    wait_until(lambda: len(laboratory.files) == 120)
    process.terminate()
    assert process.wait(30) == 0
    assert laboratory.contents == expected


OTHER_MAJOR = """
import sys
from instruments import wire
wire.SUPPORTED, wire.MAGIC = (1, {speaks}), b"NAT{speaks}"
from instruments.agent import main
sys.exit(main(sys.argv[1:]))
"""


def test_an_agent_of_the_version_before_is_served_by_a_newer_bridge(
    tmp_path, bridge, laboratory, folder, launch, monkeypatch
):
    """A bridge that speaks majors 1 and 2 takes the files of an agent that knows 1 alone."""
    monkeypatch.setattr(wire, "SUPPORTED", (1, 2))
    expected = fill(folder, 3, random.Random(8))
    process = launch(*command(tmp_path, folder, bridge.endpoint))
    wait_until(lambda: len(laboratory.files) == 3)
    process.terminate()
    assert process.wait(30) == 0
    assert laboratory.contents == expected


def test_a_newer_agent_waits_for_its_bridge_to_be_updated(
    tmp_path, bridge, laboratory, folder, launch, monkeypatch
):
    """An agent that speaks major 2 is told the range, keeps its files, and delivers them once the bridge speaks 2."""
    expected = fill(folder, 3, random.Random(9))
    arguments = command(tmp_path, folder, bridge.endpoint)[2:]
    launch("-c", OTHER_MAJOR.format(speaks=2), *arguments)
    wait_until(lambda: bridge.snapshot().get("unknown-protocol", 0) >= 2)
    assert laboratory.files == {}
    monkeypatch.setattr(wire, "SUPPORTED", (1, 2))
    wait_until(lambda: len(laboratory.files) == 3)
    assert laboratory.contents == expected


def wait_until(done, seconds=PATIENCE_S):
    """Wait for another process."""
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


BRIDGE_PROCESS = '''
"""A bridge whose handler commits to SQLite and kills the whole process at a given call."""
import hashlib, os, signal, sqlite3, sys, threading
from datetime import UTC, datetime
from pathlib import Path
from instruments.bridge import Bridge, KeyPair, Limits, Receipt

endpoint, public, secret, device, folder, kill_at, moment = sys.argv[1:]
db = sqlite3.connect(Path(folder) / "lab.db", isolation_level=None, check_same_thread=False)
db.execute("PRAGMA journal_mode=WAL"), db.execute("PRAGMA synchronous=FULL")
db.execute("CREATE TABLE IF NOT EXISTS file (run, sha256, name, data, UNIQUE (run, sha256))")
calls = 0

def handler(shipment):
    global calls
    calls += 1
    if calls == int(kill_at) and moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    row = (shipment.run, shipment.sha256, shipment.name, shipment.data)
    new = db.execute("INSERT OR IGNORE INTO file VALUES (?, ?, ?, ?)", row).rowcount
    if calls == int(kill_at) and moment == "after":
        os.kill(os.getpid(), signal.SIGKILL)
    return Receipt("stored" if new else "duplicate", datetime.now(UTC))

keys = KeyPair(public.encode(), secret.encode())
limits = Limits(spool=Path(folder) / "parts")
with Bridge(endpoint, keys, {device.encode(): "qs5-1"}.get, handler, limits=limits):
    threading.Event().wait()
'''


def test_a_bridge_killed_again_and_again_loses_nothing(tmp_path, start, folder, launch):
    """SIGKILL of the bridge before and after its commit, eight times: what is acknowledged is stored."""
    chance = random.Random(6)
    (folder / "big.eds").write_bytes(chance.randbytes(1_000_000))
    expected = fill(folder, 40, chance)
    with socket.create_server(("127.0.0.1", 0)) as free:
        endpoint = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    one = start(endpoint)
    store = tmp_path / "lab.db"

    def rows():
        with contextlib.closing(sqlite3.connect(store)) as db:
            return sorted((name, data) for name, data in db.execute("SELECT name, data FROM file"))

    points = [
        (1, "after"),
        (1, "before"),
        (3, "after"),
        (5, "before"),
        (4, "after"),
        (7, "after"),
        (2, "before"),
    ]
    for kill_at, moment in [*points, (10**9, "never")]:
        arguments = [endpoint, SERVER.public, SERVER.secret, DEVICE.public, tmp_path, str(kill_at), moment]
        process = launch("-c", BRIDGE_PROCESS, *arguments)
        drive(one, lambda process=process: process.poll() is not None or one.idle)
        process.kill()
        process.wait(30)
        acked = {name for (name,) in one._outbox._db.execute("SELECT name FROM file WHERE state = 'acked'")}
        assert acked <= {name for name, _data in rows()}
    assert rows() == expected
    assert one.status()["acked"] == 41
