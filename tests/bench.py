"""A laboratory to test in: people, tubes, plates and cycler files, all made up, through the real services.

Files are written as a table that the laboratory itself describes (exact Cq values), or drawn by the
virtual cycler (curves). Nothing here is a mock; nothing here was measured on anybody.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from stdnum.cn import ric

from instruments.virtual import VirtualRun, VirtualWell, write_quantstudio
from lis import barcodes, config, laboratory, ledger, queries
from lis.clock import FixedClock
from lis.events import TubeKind
from lis.laboratory import Handled, Laboratory
from lis.services import admin, plates, receiving
from lis.services.inbox import Delivery
from lis.services.plates import PlateOrder, WellOrder
from lis.services.receiving import PersonData, Scan, TubeData
from lis.tube import Tube, TubeState
from retest import AssayRules

TABLE = """\
name = "bench"
instrument = "synthetic cycler"
contains = ["SYNTHETIC"]
delimiter = ","
block = {block}
decimal = "."
no_cq = ["-"]
end_mark = "END"

[columns]
well = "well"
sample = "sample"
task = "task"
target = "target"
cq = "cq"

[tasks]
"ntc" = "ntc"
"pc" = "positive_control"
"ec" = "negative_control"
"unknown" = "unknown"

[keys]
plate = "plate"
serial = "serial"
run_started = "started"
run_ended = "ended"
"""

Signals = Mapping[str, float | None]
"""Target -> Cq; ``None`` is no amplification."""

TASKS = {"NTC": "ntc", "PC": "pc", "EC": "ec"}
VIRTUAL_TASKS = {"NTC": "ntc", "PC": "positive_control", "EC": "negative_control"}


def resident(number: int) -> str:
    """A made-up resident id with a right check digit."""
    base = (
        f"44070019900101{number % 1000:03d}" if number < 1000 else f"4407001991{number % 10000000:07d}"[:17]
    )
    return base + ric.calc_check_digit(base + "0")


def person(number: int, name: str = "") -> PersonData:
    """A made-up person; the same number is the same person."""
    return PersonData(name or f"张{number}", "passport", f"SYN{number:06d}", "13800000000")


@dataclass
class Bench:
    """A laboratory with a clock that the test moves."""

    lab: Laboratory
    clock: FixedClock
    numbers: Iterable[int] = field(default_factory=lambda: itertools.count(1))

    # -- making things -----------------------------------------------------------------------------

    def code(self) -> str:
        """The next unused tube code."""
        return barcodes.mint(barcodes.TUBE, 44070000000 + next(self.numbers))

    def new_person(self) -> PersonData:
        """A person nobody has met."""
        return person(next(self.numbers))

    def order(self, persons: Sequence[PersonData] = (), **values: object) -> TubeData:
        """A sealed single tube, unless said otherwise."""
        given = {"barcode": self.code(), "sealed": True, "persons": tuple(persons or (self.new_person(),))}
        return TubeData(**{**given, **values})

    def mixed_order(self, places: int = 5, **values: object) -> TubeData:
        """A sealed mixed tube, full unless persons are given."""
        people = tuple(self.new_person() for _ in range(places))
        return self.order(**{"kind": TubeKind.MIXED, "places": places, "persons": people, **values})

    def register(self, *orders: TubeData, actor: str = "site") -> list[str]:
        """Register tubes; their codes."""
        with self.lab.database.write(actor) as unit:
            receiving.register(unit, self.lab.vault, self.lab.rules, orders)
        return [order.barcode for order in orders]

    def scan(self, *scans: Scan, actor: str = "anna") -> list[receiving.ScanResult]:
        """Scan tubes at reception."""
        with self.lab.database.write(actor) as unit:
            return receiving.receive(unit, self.lab.rules, scans)

    def received(self, *orders: TubeData, rack: str = "") -> list[str]:
        """Register tubes and take them in, each at its own place."""
        codes = self.register(*orders)
        found = self.scan(*(Scan(code, rack or f"R{code}", "A1" if not rack else code) for code in codes))
        assert {one.outcome for one in found} == {"received"}
        return codes

    def singles(self, count: int = 1, **values: object) -> list[str]:
        """Received single tubes."""
        return self.received(*(self.order(**values) for _ in range(count)))

    def mixed(self, places: int = 5, **values: object) -> str:
        """A received mixed tube."""
        return self.received(self.mixed_order(places, **values))[0]

    # -- looking -----------------------------------------------------------------------------------

    def tube(self, code: str) -> Tube:
        """A tube as it stands."""
        with self.lab.database.read() as conn:
            return ledger.tubes(conn, [code])[code]

    def states(self, codes: Iterable[str]) -> list[TubeState]:
        """States of tubes, in the order asked."""
        codes = list(codes)
        with self.lab.database.read() as conn:
            found = ledger.tubes(conn, codes)
        return [found[code].state for code in codes]

    def count(self, table: str = "event") -> int:
        """Rows of a table."""
        with self.lab.database.read() as conn:
            return queries.count_of(conn, table)

    def reports(self, code: str) -> list[dict]:
        """Reports of a tube."""
        with self.lab.database.read() as conn:
            return queries.reports_of_tube(conn, code)

    def history(self, code: str) -> list[str]:
        """Kinds of events of a tube, in order."""
        with self.lab.database.read() as conn:
            return [type(entry.fact).__name__ for entry in ledger.history(conn, code)]

    def check(self) -> admin.Check:
        """Whether the log and all evidence verify."""
        with self.lab.database.read() as conn:
            return admin.verify_log(conn)

    # -- plates and runs ---------------------------------------------------------------------------

    def plate(self, codes: Sequence[str], *, assay: str = "", template: str = "", load: bool = True) -> str:
        """A plate made by hand with the template's controls, tubes in the first free wells; loaded."""
        layout = self.lab.rules.template(template)
        free = layout.sample_wells("column")
        wells = [WellOrder(well, tube=code) for well, code in zip(free, codes, strict=False)]
        wells += [WellOrder(well, control=kind) for kind, well in layout.controls]
        return self.make(PlateOrder(template=template, assay=assay, wells=tuple(wells)), load=load)

    def make(self, order: PlateOrder, *, load: bool = True) -> str:
        """Make a plate, and load it."""
        with self.lab.database.write("anna") as unit:
            plate_id = plates.create(unit, self.lab.rules, order)
            if load:
                plates.load(unit, plate_id, plate_id, "synthetic cycler")
        return plate_id

    def assay_of(self, plate_id: str) -> AssayRules:
        """The rules of a plate."""
        with self.lab.database.read() as conn:
            row = queries.plate_row(conn, plate_id)
        assert row is not None
        return self.lab.rules.assay(row["assay"])

    def contents(
        self, plate_id: str, signals: Mapping[str, Signals]
    ) -> list[tuple[str, str, str, str, float | None]]:
        """(well, sample, control, target, Cq) of a whole plate.

        ``signals`` names tubes, wells or kinds of control; everything else behaves as it should.
        """
        assay = self.assay_of(plate_id)
        with self.lab.database.read() as conn:
            wells = queries.wells(conn, plate_id)
        rows = []
        for well in sorted(wells, key=lambda one: (one["well"][0], int(one["well"][1:]))):
            tube, control = well["tube_id"] or "", well["control"] or ""
            given = {**signals.get(control, {}), **signals.get(tube, {}), **signals.get(well["well"], {})}
            tested = [t for t in assay.targets if not well["targets"] or t.name in well["targets"].split(",")]
            for target in tested:
                usual = 27.0 if target.is_control and control != "NTC" else 25.0 if control == "PC" else None
                rows.append(
                    (well["well"], tube or control, control, target.name, given.get(target.name, usual))
                )
        return rows

    def table(
        self,
        plate_id: str,
        signals: Mapping[str, Signals] | None = None,
        *,
        rows: Sequence[tuple] | None = None,
        **head: str,
    ) -> bytes:
        """A finished run as the laboratory's own kind of table, with exact Cq values."""
        started, ended = self.clock.now() - timedelta(hours=2), self.clock.now()
        top = {
            "plate": plate_id,
            "started": f"{started:%Y-%m-%dT%H:%M:%SZ}",
            "ended": f"{ended:%Y-%m-%dT%H:%M:%SZ}",
            **head,
        }
        lines = ["SYNTHETIC,not measured on anybody,,,", *(f"{key},{value},,," for key, value in top.items())]
        lines.append("well,sample,task,target,cq")
        for well, sample, control, target, cq in (
            rows if rows is not None else self.contents(plate_id, signals or {})
        ):
            lines.append(
                f"{well},{sample},{TASKS.get(control, 'unknown')},{target},{'-' if cq is None else cq}"
            )
        return "\n".join([*lines, "END,,,,", ""]).encode()

    def drawn(
        self, plate_id: str, signals: Mapping[str, Signals] | None = None, *, block: int = 96, seed: int = 1
    ) -> bytes:
        """A finished run drawn by the virtual cycler, with curves, as QuantStudio text."""
        assay = self.assay_of(plate_id)
        dyes = {target.name: target.dye or f"DYE{n}" for n, target in enumerate(assay.targets)}
        wells: dict[str, VirtualWell] = {}
        for well, sample, control, target, cq in self.contents(plate_id, signals or {}):
            before = wells[well].targets if well in wells else {}
            task = VIRTUAL_TASKS.get(control, "unknown")
            wells[well] = VirtualWell(well, sample, task, {**before, target: (dyes[target], cq)})
        now = self.clock.now()
        run = VirtualRun(
            plate_id,
            "synthetic cycler",
            "SYN1",
            "QuantStudio 5",
            now - timedelta(hours=2),
            now,
            block,
            tuple(wells.values()),
        )
        return write_quantstudio(run, np.random.default_rng(seed))

    def deliver(
        self, data: bytes, *, run: str = "", name: str = "run.csv", plate: str = "", device: str = "cycler-1"
    ) -> Handled:
        """Hand a file over as an instrument would, and let the laboratory read it."""
        key = run or f"run-{next(self.numbers)}"
        return laboratory.handle(self.lab, Delivery(device, key, name, data, plate))

    def cycle(
        self, codes: Sequence[str], signals: Mapping[str, Signals] | None = None, **plate: object
    ) -> Handled:
        """Plate tubes, run them for two hours and read the result."""
        plate_id = self.plate(codes, **plate)
        self.clock.advance(timedelta(hours=2))
        return self.deliver(self.table(plate_id, signals), plate=plate_id)


def open_bench(folder: Path, url: str, clock: FixedClock, *, block: int = 96, **values: object) -> Bench:
    """A laboratory in ``folder`` on the database ``url``."""
    tables = folder / "rules" / "tables"
    tables.mkdir(parents=True, exist_ok=True)
    (tables / "bench.toml").write_text(TABLE.format(block=block), encoding="utf-8")
    settings = config.load(folder, database=url, laboratory="Bench", laboratory_zh="试验台", **values)
    return Bench(laboratory.open_laboratory(settings, clock), clock)


@pytest.fixture(name="bench")
def bench_fixture(database_url: str, tmp_path: Path, clock: FixedClock):
    """A laboratory on a fresh database of each kind."""
    made = open_bench(tmp_path / "data", database_url, clock)
    yield made
    made.lab.close()


@pytest.fixture(name="make_bench")
def make_bench_fixture(database_url: str, tmp_path: Path, clock: FixedClock):
    """A laboratory with other settings, on a fresh database of each kind."""
    opened: list[Bench] = []

    def make(**values: object) -> Bench:
        opened.append(open_bench(tmp_path / "data", database_url, clock, **values))
        return opened[-1]

    yield make
    for one in opened:
        one.lab.close()


@pytest.fixture(name="embedded")
def embedded_fixture(sqlite_template: Path, tmp_path: Path, clock: FixedClock):
    """A laboratory on the embedded database alone, for what does not depend on the database."""
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copy(sqlite_template, folder / "lis.db")
    made = open_bench(folder, "", clock)
    yield made
    made.lab.close()
