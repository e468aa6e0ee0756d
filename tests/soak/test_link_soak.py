"""Fifty cyclers through resets, a black hole and a server that is away; a million mutated frames.

Started by hand: ``pytest -m soak -n 0 -s tests/soak/test_link_soak.py``. ``SOAK_DOWN`` (seconds the server is
away, 600), ``SOAK_HOLE`` (seconds of the black hole, 30) and ``SOAK_FRAMES`` (1,000,000) shorten it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import random
import socket
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "instruments"))

from flotilla import Process, agents_process, laboratory_process
from test_link import Proxy

from instruments import wire
from instruments.bridge import Receipt, new_keypair
from instruments.intake import Intake
from lis import config, laboratory
from lis.clock import SystemClock
from lis.packing import unpacked
from lis.services import devices

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]
CYCLERS = 50
DOWN = float(os.environ.get("SOAK_DOWN", "600"))
HOLE = float(os.environ.get("SOAK_HOLE", "30"))
FRAMES = int(os.environ.get("SOAK_FRAMES", "1000000"))
DRAIN_S, GROWTH_MB = 60.0, 50.0


class Harbour(Proxy):
    """A proxy that outlives the server behind it: who knocks while that is away is hung up on."""

    def _accept(self) -> None:
        while True:
            try:
                near = self._listener.accept()[0]
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                near.close()
                continue
            with self._lock:
                self._pairs.append((near, far))
            for source, sink in ((near, far), (far, near)):
                self._go(self._pump, (near, far), source, sink, self.deaf)


class Sea:
    """The laboratory, the proxy in front of it, the agents, and what their cyclers wrote."""

    def __init__(self, folder: Path, url: str) -> None:
        self.data, self.url = folder / "data", url
        self.folders = [folder / f"cycler-{number}" for number in range(CYCLERS)]
        for one in self.folders:
            one.mkdir()
        self.keys = [new_keypair() for _ in range(CYCLERS)]
        with (
            laboratory.open_laboratory(config.load(self.data, database=url)) as lab,
            lab.database.write("soak") as unit,
        ):
            for number, pair in enumerate(self.keys):
                devices.enrol_device(unit, f"bench-{number}", "cycler", pair.public.decode())
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.endpoint = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self.written: dict[tuple[str, str], str] = {}
        self.chance = random.Random(1)
        self.laboratory = self.start()
        self.proxy = Harbour(self.endpoint)
        server = self.laboratory.hello[1]
        names = [str(one) for one in self.folders]
        self.agents = Process(agents_process, names, self.proxy.endpoint, server, self.keys)

    def start(self) -> Process:
        """Start the laboratory's server."""
        return Process(laboratory_process, str(self.data), self.url, self.endpoint)

    def write(self, name: str, size: int = 30_000) -> None:
        """Every cycler writes one synthetic file of that name, in one move."""
        for number, folder in enumerate(self.folders):
            data = f"SYNTHETIC {number} {name}\n".encode() + self.chance.randbytes(size).hex().encode()
            draft = folder / f"{name}.part"
            draft.write_bytes(data)
            draft.rename(folder / f"{name}.csv")
            self.written[f"bench-{number}", f"{name}.csv"] = hashlib.sha256(data).hexdigest()

    def drained(self, patience: float = 1200.0) -> float:
        """Seconds until every written file is acknowledged."""
        begun = time.monotonic()
        while self.agents.ask("status")[0]["acked"] < len(self.written):
            assert time.monotonic() - begun < patience, self.agents.ask("status")
            time.sleep(0.2)
        return time.monotonic() - begun

    def lost(self) -> int:
        """Files that are not in the database byte for byte, or there twice."""
        with (
            laboratory.open_laboratory(config.load(self.data, database=self.url)) as lab,
            lab.database.read() as conn,
        ):
            rows = conn.exec_driver_sql("SELECT device, name, sha256, size, content FROM file").fetchall()
        kept: dict[tuple[str, str], list[str]] = {}
        for device, name, sha256, size, content in rows:
            assert hashlib.sha256(unpacked(bytes(content), size)).hexdigest() == sha256
            kept.setdefault((device, name), []).append(sha256)
        return sum(kept.get(key) != [sha256] for key, sha256 in self.written.items())

    def close(self) -> None:
        """End everything that still runs."""
        for one in (self.agents, self.laboratory):
            with contextlib.suppress(OSError, EOFError, BrokenPipeError):
                one.kill()
        self.proxy.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_fifty_cyclers_lose_nothing(kind: str, tmp_path: Path, request: pytest.FixtureRequest):
    """Resets, a black hole, ten minutes without a server: nothing lost, nothing twice, drained within a minute."""
    url = "" if kind == "sqlite" else request.getfixturevalue("postgresql")()
    sea = Sea(tmp_path, url)
    try:
        sea.write("warm")
        print(f"\n{kind}: {CYCLERS} cyclers, first files after {sea.drained():.1f} s")
        before = sea.agents.ask("status")[1], sea.laboratory.ask("memory")
        sea.proxy.every, sea.proxy.resets_left = 150_000, 50
        for number in range(6):
            sea.write(f"reset-{number}", 60_000)
            time.sleep(1)
        spent = sea.drained()
        print(f"{kind}: {sea.proxy.resets} resets, then {spent:.1f} s until all was acknowledged")
        sea.proxy.deaf = True
        sea.write("hole")
        time.sleep(HOLE)
        sea.proxy.deaf = False
        print(f"{kind}: {HOLE:.0f} s black hole, drained after {sea.drained():.1f} s")
        peak = sea.laboratory.ask("memory")
        sea.laboratory.stop()
        begun, number = time.monotonic(), 0
        while time.monotonic() - begun < DOWN:
            sea.write(f"down-{number:03d}")
            number += 1
            time.sleep(min(60.0, max(0.5, DOWN / 10)))
        peak_agents = sea.agents.ask("status")[1]
        sea.laboratory = sea.start()
        spent = sea.drained()
        print(
            f"{kind}: server away {DOWN:.0f} s, {number * CYCLERS} files drained in {spent:.1f} s (limit {DRAIN_S:.0f})"
        )
        after = sea.agents.ask("status")[1], sea.laboratory.ask("memory")
        growth = max(after[0], peak_agents) - before[0], max(after[1], peak) - before[1]
        print(
            f"{kind}: memory agents {before[0]:.0f} -> {after[0]:.0f} MB, server {before[1]:.0f} -> {after[1]:.0f} MB, "
            f"most grown by {growth[0]:.0f} and {growth[1]:.0f} MB (limit {GROWTH_MB:.0f})"
        )
        sea.laboratory.stop()
        lost = sea.lost()
        print(f"{kind}: {len(sea.written)} files written, {lost} lost or twice")
        assert lost == 0
        assert spent <= DRAIN_S
        assert max(growth) <= GROWTH_MB
    finally:
        sea.close()


def mutated(chance: random.Random, frames: list[bytes]) -> list[bytes]:
    """Frames with something wrong: bytes, frames, lengths, json."""
    made = [bytearray(frame) for frame in frames]
    for _ in range(chance.randint(1, 4)):
        frame = made[chance.randrange(len(made))] if made else bytearray()
        match chance.randrange(7):
            case 0 if frame:
                frame[chance.randrange(len(frame))] ^= 1 << chance.randrange(8)
            case 1 if frame:
                del frame[chance.randrange(len(frame)) :]
            case 2:
                frame[chance.randint(0, len(frame)) : 0] = chance.randbytes(chance.randint(1, 40))
            case 3 if made:
                made.pop(chance.randrange(len(made)))
            case 4 if made:
                made.insert(chance.randrange(len(made)), bytearray(chance.choice(made)))
            case 5 if made:
                words = (b'"parts": 1', b'"part": 1', b'"size": ', b'"sha256": "', b"NAT1", b"RUN_FILE")
                new = (b'"parts": 1e999', b'"part": -1', b'"size": 9', b'"sha256": [', b"NAT99", b"READS")
                place = chance.randrange(len(words))
                made = [bytearray(bytes(one).replace(words[place], new[place])) for one in made]
            case _:
                chance.shuffle(made)
    return [bytes(one) for one in made]


def test_a_million_mutated_frames(capsys):
    """No mutated message raises anything but a named refusal, none takes a second, none is taken for another file."""
    logging.disable(logging.CRITICAL)
    chance, now = random.Random(5), SystemClock().now()
    stored: set[str] = set()
    genuine = {}

    def keep(shipment):
        assert hashlib.sha256(shipment.data).hexdigest() == shipment.sha256
        stored.add(shipment.sha256)
        return Receipt("stored", now)

    class Memory:
        def __init__(self):
            self.stores = {}

        def open(self, device, key):
            """Parts of one file; a few files at most."""
            if len(self.stores) > 50:
                self.stores.clear()
            return self.stores.setdefault((device, key), wire.PartsInMemory())

        def drop(self, device, key):
            """Forget one."""
            self.stores.pop((device, key), None)

    intake = Intake(keep, Memory(), lambda _event: None)
    seeds = [wire.encode(one) for one in (wire.hello("1", "qs5-1", ["RUN_FILE"]), wire.ping())]
    seeds.append(wire.encode(wire.reads("qs5-1", "r", 3, "FAM", [1.0] * 96)))
    for number in range(6):
        data = chance.randbytes(200 * number + 1)
        genuine[hashlib.sha256(data).hexdigest()] = data
        parts = wire.split_file(data, instrument="qs5-1", run=f"r{number}", name="r.csv", part_bytes=300)
        seeds += [wire.encode(one) for one in parts]
    counts = {"read": 0, "refused": 0, "answered": 0}
    slowest, begun = 0.0, time.monotonic()
    for _ in range(FRAMES):
        frames = mutated(chance, chance.choice(seeds))
        start = time.process_time()
        try:
            message = wire.decode(frames)
            counts["read"] += 1
        except wire.WireError:
            counts["refused"] += 1
            continue
        if message.type == wire.RUN_FILE:
            wire.encode(intake.take("qs5-1", message))
            counts["answered"] += 1
        slowest = max(slowest, time.process_time() - start)
    logging.disable(logging.NOTSET)
    with capsys.disabled():
        print(
            f"\n{FRAMES:,} mutated messages: {counts}, slowest {1000 * slowest:.1f} ms, {time.monotonic() - begun:.0f} s"
        )
    assert slowest < 1.0
