"""A streamed laboratory day on a server that is killed at random moments, and everything that must still be true.

The driver is the outside world: collection sites, technicians, a cycler that writes files into a watched
folder, its agent, and whoever starts the server again. It writes down every answer it got. After every kill,
before the next start, it opens the database itself and demands what was acknowledged.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from nursery import Nursery, Server, quiet_port

from instruments.agent import Agent, AgentConfig
from instruments.bridge import new_keypair
from instruments.virtual import VirtualRun, VirtualWell, write_quantstudio
from lis import barcodes, config, laboratory
from lis.reception import bridge_keys
from lis.services import admin, devices

CONTROLS = {"A12": "NTC", "D12": "EC", "H12": "PC"}
PLACES = [f"{row}{col}" for col in range(1, 12) for row in "ABCDEFGH"]
TASKS = {"NTC": "ntc", "EC": "negative_control", "PC": "positive_control"}
BATCH_SINGLES, BATCH_MIXED, POOLED = 10, 2, 4
PATIENCE_S = 120.0


def truth(number: int) -> str:
    """What is truly in tube ``number``: most are negative."""
    return {3: "positive", 5: "one target", 8: "invalid"}.get(number % 12, "negative")


def single_code(number: int) -> str:
    """Code of single tube ``number``."""
    return barcodes.mint(barcodes.TUBE, 55_000_000_000 + number)


def mixed_code(number: int) -> str:
    """Code of mixed tube ``number``."""
    return barcodes.mint(barcodes.TUBE, 56_000_000_000 + number)


@dataclass
class Acked:
    """What the outside world was told is safe."""

    heads: list[tuple[int, str]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)


class Cycler:
    """The agent beside the cycler, in a thread; ``acked`` are the files it was told are stored."""

    def __init__(self, folder: Path, outbox: Path, endpoint: str, keys: Any, server: bytes) -> None:
        self.folder = folder
        self.acked: dict[str, str] = {}
        self.failed: list[BaseException] = []
        self.status: dict[str, Any] = {}
        self._config = AgentConfig(
            folder, outbox, endpoint, "qs5", server, keys.public, keys.secret, ("*.txt",),
            settle_s=0.02, poll_s=0.05, answer_s=1.0, retry_first_s=0.05, retry_max_s=0.3, ping_s=0.5,
        )  # fmt: skip
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            agent = Agent(self._config, random.Random(1))
            while not self._stop.is_set():
                self.status = agent.step()
                rows = agent._outbox._db.execute("SELECT name, sha256 FROM file WHERE state = 'acked'")
                self.acked.update(rows.fetchall())
                agent._link.wait(0.03)
            agent.close()
        except BaseException as error:
            self.failed.append(error)
            raise

    def write(self, name: str, data: bytes) -> None:
        """Export a run: complete under another name first, as exports appear."""
        draft = self.folder / f"{name}.part"
        draft.write_bytes(data)
        draft.rename(self.folder / name)

    def close(self) -> None:
        """Stop the agent."""
        self._stop.set()
        self._thread.join(10)


def _kill(pid: int) -> None:
    """Kill a server, unless it died by itself a moment ago."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


class World:
    """The outside world around one server process.

    Args:
        folder: where everything of this day lies.
        url: the database; empty for the embedded one in ``folder``.
        kills: how often the server is killed.
        seed: of the moments of the kills.
    """

    def __init__(self, folder: Path, url: str, kills: int, seed: int) -> None:
        self.data = folder / "data"
        self.url = url or f"sqlite:///{self.data / 'lis.db'}"
        self.left = kills
        self.killed = 0
        self.verified = 0
        self.acked = Acked()
        self.sampled = datetime.now(UTC) - timedelta(hours=2)
        self._chance = random.Random(seed)
        self._nursery = Nursery()
        self._server: Server | None = None
        self._timer: threading.Timer | None = None
        self._log = folder / "server.log"
        self.endpoint = f"tcp://127.0.0.1:{quiet_port()}"
        keys = new_keypair()
        (folder / "exports").mkdir(parents=True)
        with laboratory.open_laboratory(config.load(self.data, database=self.url)) as lab:
            with lab.database.write("administrator") as unit:
                devices.enrol_device(unit, "qs5", "cycler", keys.public.decode())
            self.assay = lab.rules.assay(lab.rules.default_assay)
        server = bridge_keys(self.data).public
        self.cycler = Cycler(folder / "exports", folder / "outbox.db", self.endpoint, keys, server)
        self.batch = 0
        self.arrived = 0
        self.numbers: dict[str, int] = {}
        self.members: dict[str, list[str]] = {}
        self.running: set[str] = set()

    # -- the server process ------------------------------------------------------------------------

    def _start(self) -> None:
        self._server = self._nursery.start(self._log, str(self.data), self.url, self.endpoint)
        if self.left and self._chance.random() < 0.3:  # while it starts: settings, migration, catching up
            self._arm(self._chance.uniform(0.0, 0.4))
        line = self._server.answers.readline()
        if line and self.left and self._timer is None:
            self._arm(self._chance.uniform(0.0, 0.45))

    def _arm(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, _kill, (self._server.pid,))
        self._timer.daemon = True
        self._timer.start()

    def _died(self) -> None:
        """Bury the server; before it lives again, look at what it left."""
        status = os.waitstatus_to_exitcode(self._nursery.bury(self._server))
        self._server = None
        assert (status, self._timer is not None) == (-signal.SIGKILL, True), (
            f"the server died by itself (exit {status}); it said:\n{self._log.read_text('utf-8')[-4000:]}"
        )
        self._timer = None
        self.left -= 1
        self.killed += 1
        self.check()

    def act(self, act: str, **what: Any) -> dict[str, Any]:
        """Have the server do something; asked again after a restart until it is answered."""
        while True:
            if self._server is None:
                self._start()
            try:
                self._server.asks.write(json.dumps({"act": act, **what}) + "\n")
                self._server.asks.flush()
                line = self._server.answers.readline()
            except OSError:
                line = ""
            if line.endswith("\n"):
                answer = json.loads(line)
                self.acked.heads.append(tuple(answer["head"]))
                return answer
            self._died()

    def close(self) -> None:
        """End the day: the agent, then the server, then the nursery."""
        self.cycler.close()
        if self._timer is not None:
            self._timer.cancel()
        if self._server is not None:
            self._nursery.bury(self._server)
            self._server = None
        self._nursery.close()

    # -- what must be true after every kill -----------------------------------------------------------

    def check(self) -> None:
        """Everything acknowledged is there and unchanged, nothing is there twice, the log verifies."""
        acked = dict(self.cycler.acked)
        assert not self.cycler.failed, self.cycler.failed
        settings = config.load(self.data, database=self.url)
        with laboratory.open_laboratory(settings) as lab, lab.database.read() as conn:
            found = admin.verify_log(conn)
            assert found.ok, found.problem
            ask = conn.exec_driver_sql
            hashes = dict(map(tuple, ask("SELECT event_id, hash FROM event")))
            files = dict(map(tuple, ask("SELECT name, sha256 FROM file")))
            twice = [
                ask("SELECT plate_id FROM run GROUP BY plate_id HAVING count(*) > 1").fetchall(),
                ask("SELECT name FROM file GROUP BY name HAVING count(*) > 1").fetchall(),
                ask("SELECT tube_id FROM event WHERE kind = 'Called' "
                    "GROUP BY tube_id, run_id HAVING count(*) > 1").fetchall(),
                ask("SELECT tube_id FROM report WHERE version = 1 "
                    "GROUP BY tube_id, person_id HAVING count(*) > 1").fetchall(),
                ask("SELECT tube_id FROM event WHERE kind IN ('Registered', 'Received') "
                    "GROUP BY tube_id, kind HAVING count(*) > 1").fetchall(),
            ]  # fmt: skip
        lost = [
            (number, value) for number, value in self.acked.heads if number and hashes.get(number) != value
        ]
        assert not lost, f"acknowledged rows of the log are missing or changed: {lost[:3]}"
        missing = {name: value for name, value in acked.items() if files.get(name) != value}
        assert not missing, f"acknowledged files are missing or changed: {missing}"
        assert not any(twice), twice
        self.acked.files = acked
        self.verified += 1

    # -- the day ------------------------------------------------------------------------------------------

    def work(self, batches: int) -> None:
        """Bring batches of tubes in and test them; results of one batch come back while the next arrives."""
        for _ in range(batches):
            fresh = self._arrive()
            self._drain()
            again = self._retests()
            self._plate([*fresh, *again])
            self.batch += 1

    def _arrive(self) -> list[str]:
        """Register and receive one batch, pool some of it; what now waits for a well."""
        singles = [self.batch * BATCH_SINGLES + n for n in range(BATCH_SINGLES)]
        mixed = [self.batch * BATCH_MIXED + n for n in range(BATCH_MIXED)]
        tubes = [(single_code(n), n, "single", 1) for n in singles]
        tubes += [(mixed_code(n), 7 * n, "mixed", 5) for n in mixed]
        for code, number, kind, places in tubes:
            self.numbers[code] = number
            people = [[f"Person {code} {k}", f"P{code[2:]}{k}"] for k in range(places)]
            order = {"code": code, "kind": kind, "places": places, "persons": people}
            self.act("register", tube={**order, "sampled_at": self.sampled.isoformat()})
        for place, (code, *_) in enumerate(tubes):
            position = str(self.batch * len(tubes) + place)
            self.act("receive", code=code, position=position)
        codes = [code for code, *_ in tubes]
        pool = barcodes.mint(barcodes.POOL, 900_000 + self.batch)
        self.members[pool] = codes[:POOLED]
        self.act("pool", code=pool, members=codes[:POOLED])
        return [*codes[POOLED:], pool]

    def _known(self) -> list[str]:
        return [*self.numbers, *self.members]

    def _look(self) -> dict[str, Any]:
        return self.act("look", codes=self._known())

    def _drain(self) -> None:
        """Wait until every plate that is in a cycler has been read."""
        end = time.monotonic() + PATIENCE_S
        while self.running:
            seen = self._look()
            if not any(one[1] == "running" for one in seen["tubes"].values()) and not seen["unread"]:
                self.running.clear()
            elif time.monotonic() > end:
                raise AssertionError(f"{sorted(self.running)} not read within {PATIENCE_S} s: {self._why()}")
            else:
                time.sleep(0.05)

    def _why(self) -> dict[str, Any]:
        """What agent and laboratory know of the last exports, for the message of a failure."""
        names = [f"{plate}.txt" for plate in sorted(self.running)]
        return {
            "written": [name for name in names if (self.cycler.folder / name).exists()],
            "acked": [name for name in names if name in self.cycler.acked],
            "agent": self.cycler.status,
            "files": self.act("files", names=names)["files"],
        }

    def _retests(self) -> list[str]:
        seen = self._look()["tubes"]
        return sorted(code for code, one in seen.items() if one[1] == "awaiting_retest")

    def _plate(self, codes: list[str]) -> None:
        """Plate tubes, put the plate into the cycler, let the cycler export its file."""
        for start in range(0, len(codes), len(PLACES)):
            part = codes[start : start + len(PLACES)]
            number = 5000 + 10 * self.batch + start // len(PLACES)
            plate = barcodes.mint(barcodes.PLATE, number)
            held = dict(zip(PLACES, part, strict=False))
            wells = [{"well": well, "tube": code} for well, code in held.items()]
            wells += [{"well": well, "control": kind} for well, kind in CONTROLS.items()]
            self.act("plate", code=plate, wells=wells)
            self.act("load", code=plate)
            self.running.add(plate)
            tests = {code: one[3] for code, one in self._look()["tubes"].items()}
            spoiled = self.batch == 1 and start == 0
            self.cycler.write(f"{plate}.txt", self._export(plate, held, tests, number, spoiled=spoiled))

    def _export(
        self, plate: str, held: dict[str, str], tests: dict[str, int], seed: int, *, spoiled: bool
    ) -> bytes:
        wells = [self._well(well, code, tests[code]) for well, code in held.items()]
        for well, kind in CONTROLS.items():
            viral = 25.0 if kind == "PC" or (kind == "NTC" and spoiled) else None
            control = None if kind == "NTC" else 27.0
            wells.append(VirtualWell(well, kind, TASKS[kind], self._targets(viral, control)))
        now = datetime.now(UTC).replace(microsecond=0)
        run = VirtualRun(plate, "qs5", "SN1", "QuantStudio 5", now, now, 96, wells, 45, seed)
        return write_quantstudio(run, np.random.default_rng(seed))

    def _well(self, well: str, code: str, tested: int) -> VirtualWell:
        viral, control = self._signal(code, tested)
        drawn = self._targets(viral, control)
        if code in self.numbers and truth(self.numbers[code]) == "one target" and not tested:
            first = next(target.name for target in self.assay.targets if not target.is_control)
            drawn[first] = (drawn[first][0], 33.0)
        return VirtualWell(well, code, "unknown", drawn)

    def _signal(self, code: str, tested: int) -> tuple[float | None, float | None]:
        """Cq of the viral targets and of the internal control at this test of the tube."""
        if code in self.members:
            infected = any(truth(self.numbers[one]) == "positive" for one in self.members[code])
            return (27.0 if infected else None), 27.0
        state = truth(self.numbers[code])
        if state == "positive":
            return 25.0 + self.numbers[code] % 5, 27.0
        if state == "invalid" and not tested:
            return None, None
        return None, 27.0

    def _targets(self, viral: float | None, control: float | None) -> dict[str, tuple[str, float | None]]:
        return {
            target.name: (target.dye or "FAM", control if target.is_control else viral)
            for target in self.assay.targets
        }

    def finish(self) -> None:
        """Repeat until nothing is to be repeated; two people sign what is left; reports go out."""
        for _ in range(12):
            self._drain()
            again = self._retests()
            if not again:
                break
            self._plate(again)
            self.batch += 1
        else:
            raise AssertionError("the retests never end")
        for code, one in self._look()["tubes"].items():
            if one[1] == "in_review":
                for by in ("rita", "otto"):
                    self.act("sign", code=code, by=by)
                self.act("release", code=code)

    def ending(self) -> dict[str, Any]:
        """How every tube ended: where it stands, its result, what happened to it in order, its reports."""
        settings = config.load(self.data, database=self.url)
        with laboratory.open_laboratory(settings) as lab, lab.database.read() as conn:
            ask = conn.exec_driver_sql
            tubes = ask("SELECT tube_id, kind, state, result, outcome, rule, tests, signatures FROM tube")
            ends = {row[0]: [tuple(row[1:]), [], 0] for row in tubes}
            for tube_id, kind in ask("SELECT tube_id, kind FROM event ORDER BY tube_id, seq"):
                ends[tube_id][1].append(kind)
            for tube_id, count in ask("SELECT tube_id, count(*) FROM report GROUP BY tube_id"):
                ends[tube_id][2] = count
        return ends


def day(folder: Path, url: str, *, kills: int, seed: int, batches: int) -> tuple[World, dict[str, Any]]:
    """Run a day; more batches follow until the server was killed often enough.

    Returns:
        The world as it was left, closed and checked, and how every tube ended.
    """
    folder.mkdir(parents=True)
    world = World(folder, url, kills, seed)
    try:
        world.work(batches)
        while world.left:
            world.work(1)
        world.arrived = world.batch
        world.finish()
    finally:
        world.close()
    world.check()
    return world, world.ending()


def kinds(ending: dict[str, Any]) -> Counter[str]:
    """How many tubes ended in each state."""
    return Counter(one[0][1] for one in ending.values())
