"""A fleet of virtual cyclers to train and test with: real files, agents and bridge, faults on demand.

Each cycler has a folder, an outbox and a key of its own and enrols with a one-time code, as a PC beside a
cycler does. Its plates are made up and every file says so.
"""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import zmq.auth
from zmq.utils import z85

from instruments import agent, wire
from instruments.virtual import VirtualRun, VirtualWell, cut, junk, write_cfx, write_quantstudio

FAULTS: Final = ("duplicate", "cut", "rewrite", "drop", "late", "garbage")
"""The same export twice; a file cut off; a file written again with other content; a connection lost in the
middle of a file; a plate that comes last with a date of hours ago; bytes that are no file."""

MODELS: Final = (("quantstudio", "QuantStudio 5"), ("cfx", "CFX96"))
TARGETS: Final = (("ORF1ab", "FAM"), ("N", "VIC"), ("IC", "CY5"))
PART_BYTES: Final = 32 * 1024
DROPS: Final = 3
PATIENCE_S: Final = 120.0
LATE: Final = timedelta(hours=6)
RUN: Final = timedelta(minutes=80)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the fleet does.

    Attributes:
        plates: runs of each cycler.
        faults: which of :data:`FAULTS` happen; about every second plate has one.
        seed: of curves and of who has which fault.
        samples: filled wells of a plate, beside the two controls.
        stamp: distinguishes the plates of this fleet from those of another.
    """

    plates: int = 1
    faults: tuple[str, ...] = ()
    seed: int = 1
    samples: int = 94
    stamp: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """One plate of one cycler, with the fault it meets."""

    plate: str
    fault: str = ""


def deal(plan: Plan, cyclers: int) -> list[list[Job]]:
    """The plates of each cycler in order; half of all (enough for every fault, if so many) meet one."""
    chance = random.Random(plan.seed)  # noqa: S311 - repeatable on purpose
    total = cyclers * plan.plates
    count = min(total, max(len(plan.faults), total // 2)) if plan.faults else 0
    dealt = [*itertools.islice(itertools.cycle(plan.faults), count)] if count else []
    faults = dealt + [""] * (total - count)
    chance.shuffle(faults)
    jobs = []
    for number in range(cyclers):
        own = faults[number * plan.plates : (number + 1) * plan.plates]
        mine = [Job(f"SIM{plan.stamp}-{number + 1:02}-{at + 1:02}", fault) for at, fault in enumerate(own)]
        jobs.append(sorted(mine, key=lambda job: job.fault == "late"))
    return jobs


@dataclass
class Tally:
    """What happened so far, from all threads."""

    written: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    waiting: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    troubles: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def line(self) -> str:
        """One line for a person."""
        with self.lock:
            stored, twice = self.answers["stored"], self.answers["duplicate"]
            refused = sum(self.answers.values()) - stored - twice
            said = f"{self.written} files written, {stored + twice} acknowledged"
            return f"{said} ({twice} known before), {refused} refused"


# -- one cycler -----------------------------------------------------------------------------------


def enrol(code_words: str, home: Path) -> agent.AgentConfig:
    """Make keys in ``home``, enrol them with a code, and configure the agent beside the virtual cycler.

    Raises:
        wire.WireError: the code is mistyped. agent.EnrolError: the laboratory refused.
    """
    code = wire.read_code(code_words)
    (home / "export").mkdir(parents=True)
    public = agent.new_key_file(home / "agent.key_secret")
    device = agent.enrol(code, public)
    own, secret = zmq.auth.load_certificate(home / "agent.key_secret")
    return agent.AgentConfig(
        folder=home / "export",
        outbox=home / "outbox.db",
        endpoint=code.endpoint,
        instrument=device,
        server_public=z85.encode(code.server_key),
        public_key=own,
        secret_key=secret or b"",
        patterns=("*", "again/*"),
        plate_pattern=r"SIM\d*-\d+-\d+",
        settle_s=0.0,
        part_bytes=PART_BYTES,
        retry_first_s=0.2,
        retry_max_s=5.0,
    )


def export(job: Job, number: int, plan: Plan, seed: int) -> tuple[str, bytes]:
    """Name and content of the file a cycler writes for a plate; ``seed`` draws its curves."""
    layout, model = MODELS[number % len(MODELS)]
    rng = np.random.default_rng([plan.seed, number, seed])
    ended = datetime.now(UTC).replace(microsecond=0)
    wells = [_well(at, rng) for at in range(plan.samples)]
    wells += [_control("G12", "NTC", "ntc", None), _control("H12", "PC", "positive_control", 27.0)]
    run = VirtualRun(
        plate=job.plate,
        instrument=f"virtual cycler {number + 1}",
        serial=f"SIM{number + 1:05}",
        model=model,
        started=ended - RUN,
        ended=ended,
        block=96,
        wells=wells,
    )
    if layout == "quantstudio":
        return f"{job.plate}.txt", write_quantstudio(run, rng)
    files = write_cfx(run, rng)
    return next((name, data) for name, data in files.items() if "Cq" in name)


def _well(at: int, rng: np.random.Generator) -> VirtualWell:
    positive = rng.random() < 0.05
    cq = float(rng.uniform(18, 36))
    truth = {
        "ORF1ab": cq if positive else None,
        "N": cq - 0.5 if positive else None,
        "IC": float(rng.normal(27, 0.5)),
    }
    name = f"{'ABCDEFGH'[at % 8]}{at // 8 + 1}"
    return VirtualWell(name, f"SIM-T{at + 1:03}", "unknown", {t: (dye, truth[t]) for t, dye in TARGETS})


def _control(well: str, name: str, task: str, cq: float | None) -> VirtualWell:
    return VirtualWell(well, name, task, {target: (dye, cq) for target, dye in TARGETS})


def work(config: agent.AgentConfig, number: int, jobs: Sequence[Job], plan: Plan, tally: Tally) -> None:
    """One cycler from its first plate to its last, with its agent; runs in a thread of its own."""
    chance = random.Random(plan.seed * 1000 + number)  # noqa: S311 - repeatable on purpose
    one = agent.Agent(config, chance)
    seen: Counter[str] = Counter()
    try:
        for job in jobs:
            for _ in play(config.folder, job, number, plan):
                with tally.lock:
                    tally.written += 1
                arrived = _drop_and_ship(one) if job.fault == "drop" else one.ship(PATIENCE_S)
                answers = Counter(one.status()["answers"])
                with tally.lock:
                    tally.answers += answers - seen
                    seen = answers
                if not arrived:
                    return
            with tally.lock:
                tally.faults[job.fault or "none"] += 1
    finally:
        with tally.lock:
            tally.waiting += one.status()["pending"]
        one.close()


def play(folder: Path, job: Job, number: int, plan: Plan) -> Iterator[Path]:
    """Write the files of one plate as its fault has it, each to be shipped before the next."""
    rng = np.random.default_rng([plan.seed, number, len(job.plate)])
    name, data = export(job, number, plan, 1)
    if job.fault == "cut":
        data = cut(data, float(rng.uniform(0.2, 0.9)))
    elif job.fault == "garbage":
        data = junk(20_000, rng)
    path = _deliver(folder / name, data, LATE if job.fault == "late" else timedelta(0))
    yield path
    if job.fault == "duplicate":
        (folder / "again").mkdir(exist_ok=True)
        yield _deliver(folder / "again" / name, data)
    elif job.fault == "rewrite":
        yield _deliver(path, export(job, number, plan, 2)[1])


def _deliver(path: Path, data: bytes, age: timedelta = timedelta(0)) -> Path:
    draft = path.parent.parent / f".{path.name}.part"
    draft.write_bytes(data)
    if age:
        then = time.time() - age.total_seconds()
        os.utime(draft, (then, then))
    draft.replace(path)
    return path


def _drop_and_ship(one: agent.Agent) -> bool:
    """Lose the connection while parts are on their way, a few times; then let them arrive."""
    for _ in range(DROPS):
        one.ship(0.02)
        one.reconnect()
    return one.ship(PATIENCE_S)


# -- the fleet ------------------------------------------------------------------------------------


def run(codes: Sequence[str], home: Path, plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    """Enrol a cycler with each code and let all of them work at once.

    Args:
        codes: one-time codes, one a cycler.
        home: a folder for their files, keys and outboxes.
        plan: what they do.
        say: told every half second how far they are.

    Returns:
        What was sent, acknowledged, acknowledged as known, refused (by code), and left waiting.
    """
    began = time.monotonic()
    _many_files()
    tally = Tally()
    jobs = deal(plan, len(codes))
    with ThreadPoolExecutor(max_workers=len(codes), thread_name_prefix="cycler") as pool:
        threads = [
            pool.submit(_cycler, code, home / str(number + 1), number, jobs[number], plan, tally)
            for number, code in enumerate(codes)
        ]
        while wait(threads, timeout=0.5).not_done:
            say(tally.line())
    say(tally.line())
    devices = sorted(thread.result() for thread in threads)
    stored, twice = tally.answers.pop("stored", 0), tally.answers.pop("duplicate", 0)
    return {
        "cyclers": len(codes),
        "devices": devices,
        "sent": tally.written,
        "acknowledged": stored + twice,
        "duplicates": twice,
        "refused": dict(sorted(tally.answers.items())),
        "waiting": tally.waiting,
        "faults": dict(sorted(tally.faults.items())),
        "seconds": round(time.monotonic() - began, 2),
    }


def _cycler(code: str, home: Path, number: int, jobs: Sequence[Job], plan: Plan, tally: Tally) -> str:
    config = enrol(code, home)
    work(config, number, jobs, plan, tally)
    return config.instrument


def _many_files() -> None:
    """Fifty agents hold some fourteen files each: take what the system allows."""
    try:
        import resource
    except ImportError:  # Windows: no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(hard, 4096)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
