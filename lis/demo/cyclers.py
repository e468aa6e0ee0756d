"""Virtual cyclers and the agents beside them: real files in real folders, shipped over the real bridge."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from instruments.agent import new_key_file
from instruments.virtual import VirtualRun, VirtualWell, live_lines, write_cfx, write_quantstudio
from lis.db import Database
from lis.reception import Reception
from lis.services import devices
from retest import AssayRules

DYES = ("FAM", "VIC", "ROX", "CY5")
SETTLE_SECONDS = 0.3
POLL_SECONDS = 0.15
TASKS = {"NTC": "ntc", "PC": "positive_control", "EC": "negative_control"}


@dataclass(frozen=True, slots=True)
class Cycler:
    """One machine: where it writes its files, and in which layout."""

    name: str
    model: str
    serial: str
    layout: str
    folder: Path


CYCLERS = (("qs5-1", "QuantStudio 5", "272510001", "quantstudio"), ("cfx96-1", "CFX96", "785BR20001", "cfx"))


def install(database: Database, data: Path) -> list[Cycler]:
    """Make folders and keys of the two cyclers, and enrol their agents."""
    cyclers = [Cycler(*row, data / "instruments" / row[0]) for row in CYCLERS]
    for cycler in cyclers:
        cycler.folder.mkdir(parents=True, exist_ok=True)
        enrol(database, data, cycler.name)
    return cyclers


def enrol(database: Database, data: Path, name: str) -> Path:
    """A key file for the device ``name``, enrolled if it is new; returns the file."""
    path = data / f"{name}.key_secret"
    if not path.exists():
        public = new_key_file(path)
        with database.write("demo") as unit:
            devices.enrol_device(unit, name, "cycler", public)
    return path


def start_agent(
    reception: Reception, data: Path, name: str, folder: Path, patterns: Sequence[str]
) -> subprocess.Popen[bytes]:
    """An agent process of its own, watching ``folder``; its log stands beside the database."""
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "instruments.agent",
        "--folder",
        folder,
        "--endpoint",
        reception.endpoint,
    ]
    command += ["--instrument", name, "--server-key", reception.public_key.decode()]
    command += ["--key-file", data / f"{name}.key_secret", "--outbox", data / f"{name}.outbox.db"]
    command += ["--plate-regex", "P[0-9]{8}", "--settle", str(SETTLE_SECONDS), "--poll", str(POLL_SECONDS)]
    for pattern in patterns:
        command += ["--pattern", pattern]
    with (data / f"{name}.log").open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - our own program
            [os.fspath(part) for part in command], stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )


Truth = Mapping[str, tuple[str, Mapping[str, float | None]]]
"""Well -> (sample name, true Cq per target)."""


def run_of(
    cycler: Cycler,
    plate: str,
    assay: AssayRules,
    truth: Truth,
    controls: Mapping[str, str],
    times: tuple[datetime, datetime],
    seed: int,
) -> VirtualRun:
    """A run to be drawn.

    Args:
        cycler: in which it is.
        plate: code of the plate.
        assay: whose targets are measured.
        truth: what is really in each well.
        controls: well -> kind, for control wells.
        times: start and end of the run.
        seed: of the curves.
    """
    dyes = {target.name: target.dye or DYES[i % len(DYES)] for i, target in enumerate(assay.targets)}
    wells = [
        VirtualWell(
            well,
            sample,
            TASKS.get(controls.get(well, ""), "unknown"),
            {name: (dyes[name], cq) for name, cq in targets.items()},
        )
        for well, (sample, targets) in truth.items()
    ]
    return VirtualRun(
        plate=plate,
        instrument=cycler.name,
        serial=cycler.serial,
        model=cycler.model,
        started=times[0],
        ended=times[1],
        block=96,
        wells=wells,
        cycles=assay.cycles or 45,
        seed=seed,
    )


def write_live(cycler: Cycler, run: VirtualRun) -> Iterator[None]:
    """Write what the cycler reads of a run, one cycle at every step, into a growing file in its folder."""
    with (cycler.folder / f"{run.plate}.reads").open("w", encoding="utf-8", newline="\n") as grows:
        for lines in live_lines(run):
            grows.writelines(lines)
            grows.flush()
            yield


def write_run(cycler: Cycler, run: VirtualRun) -> Path:
    """Draw the curves of a run and put the export into the cycler's folder, in one move."""
    rng = np.random.default_rng(run.seed)
    if cycler.layout == "quantstudio":
        return _deliver(cycler.folder / f"{run.plate}.txt", write_quantstudio(run, rng))
    files = write_cfx(run, rng)
    name = next(name for name in files if "Cq" in name)
    return _deliver(cycler.folder / name, files[name])


def _deliver(path: Path, data: bytes) -> Path:
    draft = path.with_name(f".{path.name}.part")
    draft.write_bytes(data)
    draft.replace(path)
    return path
