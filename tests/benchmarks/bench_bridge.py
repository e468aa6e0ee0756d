"""Throughput of the bridge with CURVE and durable commits: acknowledgements, plates, and how long the slow ones wait.

Server and senders are processes of their own. Beside every figure stands the same traffic over plain pyzmq with
CURVE into one SQLite table (FULL) without any laboratory, measured in the same run.

Run: ``python tests/benchmarks/bench_bridge.py [seconds] [sqlite|postgresql]``
"""

from __future__ import annotations

import multiprocessing
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import zmq
from bench_setting import DATABASES, Line, database_urls, fill, note, plate_file, show

from instruments import wire
from instruments.bridge import Bridge, KeyPair, Receipt, new_keypair
from lis import config, laboratory
from lis.clock import SystemClock
from lis.reception import Reception
from lis.services import devices, plates
from lis.services.plates import PlateOrder

DEVICES = 50
SPAWN = multiprocessing.get_context("spawn")
FLOODS = 3
CITY = 35.0
"""One-well messages a second: ten times a city of 300,000 tubes a day."""


# -- the two servers -------------------------------------------------------------------------------


def raw_server(line: Any, folder: str, keys: list[KeyPair]) -> None:
    """The yardstick: the same socket, one SQLite insert and commit a message, nothing else."""
    db = sqlite3.connect(Path(folder) / "raw.db", isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE file (sha256 TEXT PRIMARY KEY, data BLOB)")
    known = {pair.public: f"bench-{number}" for number, pair in enumerate(keys)}
    now = SystemClock().now()

    def keep(shipment: Any) -> Receipt:
        db.execute("INSERT OR IGNORE INTO file VALUES (?, ?)", (shipment.sha256, shipment.data))
        return Receipt("stored", now)

    with Bridge("tcp://127.0.0.1:*", new_keypair(), known.get, keep) as bridge:
        line.send((bridge.endpoint, bridge._keys.public))
        line.recv()
    db.close()


def laboratory_server(line: Any, folder: str, url: str, *, reading: bool) -> None:
    """The laboratory; without ``reading`` files are kept and acknowledged, and read after the measurement."""
    with laboratory.open_laboratory(config.load(folder, database=url)) as lab:
        link = Reception(lab, "tcp://127.0.0.1:*")
        if reading:
            with link:
                line.send((link.endpoint, link.public_key))
                line.recv()
            return
        link.bridge.start()
        line.send((link.endpoint, link.public_key))
        line.recv()
        link.bridge.stop()


@dataclass
class Served:
    """A server process and where it is reached."""

    process: Any
    line: Any
    endpoint: str
    key: bytes

    def stop(self) -> None:
        """End it."""
        self.line.send("stop")
        self.process.join(60)


def serve(target: Callable[..., None], *arguments: Any, **named: Any) -> Served:
    """Start a server process."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=target, args=(theirs, *arguments), kwargs=named)
    process.start()
    endpoint, key = ours.recv()
    return Served(process, ours, endpoint, key)


# -- the senders -----------------------------------------------------------------------------------


class Fleet:
    """Many devices in one process, each with its own key and connection and one message in flight."""

    def __init__(self, served: Served, keys: list[KeyPair]) -> None:
        self.context = zmq.Context()
        self.poller = zmq.Poller()
        self.sockets = []
        for pair in keys:
            socket = self.context.socket(zmq.DEALER)
            socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = served.key, *pair
            socket.linger = 0
            socket.connect(served.endpoint)
            self.poller.register(socket, zmq.POLLIN)
            self.sockets.append(socket)
        self.number = {socket: place for place, socket in enumerate(self.sockets)}

    def run(self, file_of: Callable[[int, int], tuple[str, bytes] | None], pace: float = 0.0) -> list[float]:
        """Send until there is nothing more; seconds from sending to acknowledgement of each message.

        Args:
            file_of: (device, how many it has sent) -> run and content, or None when it has no more.
            pace: messages a second over all devices; 0 = as fast as they are answered.
        """
        waits: list[float] = []
        sent: dict[Any, tuple[float, int]] = {}
        counts = [0] * len(self.sockets)
        idle = list(self.sockets)
        begun, total, open_ = time.perf_counter(), 0, len(self.sockets)
        while open_ or sent:
            while idle and (not pace or total < (time.perf_counter() - begun) * pace):
                socket = idle.pop(0)
                device = self.number[socket]
                file = file_of(device, counts[device])
                if file is None:
                    open_ -= 1
                    continue
                run, data = file
                (message,) = wire.split_file(
                    data,
                    instrument=f"bench-{device}",
                    run=run,
                    name=f"{run}.csv",
                    plate=run,
                    part_bytes=wire.MAX_PART_BYTES,
                )
                socket.send_multipart(wire.encode(message))
                sent[socket] = (time.perf_counter(), counts[device])
                counts[device] += 1
                total += 1
            for socket, _ in self.poller.poll(2 if pace else 1000):
                answer = wire.decode(socket.recv_multipart())
                if answer.type != wire.ACK or not answer.header["complete"]:
                    raise SystemExit(f"not acknowledged: {answer}")
                waits.append(time.perf_counter() - sent.pop(socket)[0])
                idle.append(socket)
        return waits

    def close(self) -> None:
        """Hang up."""
        self.context.destroy(linger=0)


def one_well(seconds: float) -> Callable[[int, int], tuple[str, bytes] | None]:
    """Messages of one well each, until the time is over."""
    end = time.perf_counter() + seconds

    def make(device: int, number: int) -> tuple[str, bytes] | None:
        if time.perf_counter() > end:
            return None
        run = f"W{device:03d}-{number:06d}"
        return run, f"SYNTHETIC one well\nA1,{run},FAM,24.31\n".encode()

    return make


def rate(waits: list[float], seconds: float) -> float:
    """Messages a second."""
    return len(waits) / seconds


def burst(served: Served, keys: list[KeyPair], seconds: float) -> tuple[float, list[float]]:
    """As many one-well messages as are answered."""
    fleet = Fleet(served, keys)
    begun = time.perf_counter()
    waits = fleet.run(one_well(seconds))
    spent = time.perf_counter() - begun
    fleet.close()
    return rate(waits, spent), waits


def percentile(waits: list[float], share: float) -> float:
    """Milliseconds."""
    return 1000 * sorted(waits)[min(len(waits) - 1, int(share * len(waits)))]


def flood(line: Any, endpoint: str, server: bytes, pair: KeyPair) -> None:
    """A hostile device with a key of its own: garbage, pings and large parts as fast as the socket takes them."""
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.curve_serverkey, socket.curve_publickey, socket.curve_secretkey = server, *pair
    socket.linger = 0
    socket.connect(endpoint)
    (part, *_) = wire.split_file(
        bytes(4 * wire.PART_BYTES), instrument="hostile", run="flood", name="flood.csv"
    )
    kinds = [[b"NAT1", b"?" * 20], [b"x"] * 5, wire.encode(wire.ping()), wire.encode(part)]
    line.send("flooding")
    sent = 0
    while not line.poll(0):
        try:
            socket.send_multipart(kinds[sent % len(kinds)], zmq.NOBLOCK)
            sent += 1
        except zmq.Again:
            socket.poll(5, zmq.POLLOUT)
        while socket.poll(0):
            socket.recv_multipart()
    line.send(sent)
    context.destroy(linger=0)


def spin(line: Any) -> None:
    """A neighbour that only burns the processor: what the flood costs by being a program at all."""
    line.send("spinning")
    while not line.poll(0):
        sum(range(10_000))
    line.send("stopped")


def beside(
    fleet: Fleet, seconds: float, neighbour: Callable[..., None], *arguments: Any
) -> tuple[list[float], Any]:
    """The waits at ten times a city's load beside another process, and what that one says when it is told to stop."""
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=neighbour, args=(theirs, *arguments))
    process.start()
    ours.recv()
    waits = fleet.run(one_well(seconds), pace=CITY)
    ours.send("stop")
    said = ours.recv()
    process.join(30)
    return waits, said


def siege(
    served: Served, fleet: Fleet, seconds: float, enemies: list[KeyPair]
) -> tuple[list[float], list[float], int]:
    """Waits beside a neighbour that only computes, and beside each of some hostile devices, in turn.

    Each flood is measured from its first message, so that what it costs before it is cut off counts.
    """
    crowded: list[float] = []
    besieged: list[float] = []
    sent = 0
    for enemy in enemies:
        crowded += beside(fleet, seconds, spin)[0]
        waits, count = beside(fleet, seconds, flood, served.endpoint, served.key, enemy)
        besieged += waits
        sent += count
    return crowded, besieged, sent


# -- plates ----------------------------------------------------------------------------------------


def prepared(url: str, folder: str, keys: list[KeyPair], count: int) -> list[tuple[str, bytes]]:
    """A laboratory with enrolled devices and ``count`` loaded 384-well plates, and their files."""
    with laboratory.open_laboratory(config.load(folder, database=url), _Clock()) as lab:
        with lab.database.write("bench") as unit:
            for number, pair in enumerate(keys):
                devices.enrol_device(unit, f"bench-{number}", "cycler", pair.public.decode())
        fill(lab, 372 * count)
        made = []
        for number in range(count):
            with lab.database.write("anna") as unit:
                plate = plates.create(unit, lab.rules, PlateOrder(template="384-quadrants"))
                plates.load(unit, plate, plate, f"bench-{number % len(keys)}")
            serial = f"SN{number % len(keys)}"
            made.append((plate, plate_file(lab, plate, number, block=384, serial=serial)))
        return made


class _Clock(SystemClock):
    """The system clock, two hours behind: what is prepared here was loaded two hours ago."""

    def now(self) -> Any:
        """Two hours ago."""
        return super().now() - timedelta(hours=2)


def measure(url: str, seconds: float, raw: float) -> list[Line]:
    """Acks a second, plates a second, and the waits at ten times a city's load."""
    name = url.split(":", maxsplit=1)[0].split("+", maxsplit=1)[0]
    keys = [new_keypair() for _ in range(DEVICES)]
    with tempfile.TemporaryDirectory(prefix="nat-lis-bench-") as folder:
        enemies = [new_keypair() for _ in range(FLOODS)]
        made = prepared(url, folder, [*keys, *enemies], 8)
        served = serve(laboratory_server, folder, url, reading=False)
        acks, waits = burst(served, keys, seconds)
        fleet = Fleet(served, keys)
        calm = fleet.run(one_well(seconds), pace=CITY)
        crowded, besieged, sent = siege(served, fleet, seconds, enemies)
        fleet.close()
        served.stop()
        served = serve(laboratory_server, folder, url, reading=False)
        fleet = Fleet(served, keys)
        blob = made[0][1]
        begun = time.perf_counter()
        copies = fleet.run(lambda d, n: (f"C{d}-{n}", blob + f"{d}-{n}\n".encode()) if n < 4 else None)
        plates_s = len(copies) / (time.perf_counter() - begun)
        fleet.close()
        served.stop()
    ratio = f"{acks / raw:.2f} of raw pyzmq + SQLite FULL"
    return [
        Line(f"{name}: acknowledged one-well messages", acks, 500, "/s", ratio, at_least=True),
        note(f"{name}: of these p50", percentile(waits, 0.5), "ms"),
        note(f"{name}: of these p99", percentile(waits, 0.99), "ms"),
        Line(
            f"{name}: ack p99 at {CITY:g} wells a second",
            percentile(calm, 0.99),
            50,
            "ms",
            f"p50 {percentile(calm, 0.5):.1f} ms",
        ),
        Line(
            f"{name}: the same while a hostile device floods, ratio of p99",
            percentile(besieged, 0.99) / percentile(crowded, 0.99),
            2,
            "x",
            f"{FLOODS} devices, {sent:,} messages until cut off; p99 {percentile(besieged, 0.99):.1f} ms, beside a neighbour that only computes "
            f"{percentile(crowded, 0.99):.1f} ms",
        ),
        Line(
            f"{name}: files of 384 wells kept and acknowledged",
            plates_s,
            10,
            "/s",
            f"{len(blob) // 1024} KiB each",
            at_least=True,
        ),
    ]


def main() -> None:
    """Measure each database against the yardstick."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    wanted = sys.argv[2:] or list(DATABASES)
    keys = [new_keypair() for _ in range(DEVICES)]
    with tempfile.TemporaryDirectory(prefix="nat-lis-raw-") as folder:
        served = serve(raw_server, folder, keys)
        raw, waits = burst(served, keys, seconds)
        served.stop()
    show(
        "the yardstick",
        [note("raw pyzmq with CURVE + SQLite FULL", raw, "/s"), note("p99", percentile(waits, 0.99), "ms")],
    )
    with database_urls(wanted) as urls:
        for url in urls.values():
            show(f"{DEVICES} devices, {seconds:g} s each", measure(url, seconds, raw))


if __name__ == "__main__":
    main()
