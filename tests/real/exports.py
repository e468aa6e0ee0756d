"""A laboratory around a real export: its plate map taken from the file, its tubes registered and received."""

from __future__ import annotations

import csv
import functools
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from instruments import InstrumentError, RunFile, read
from lis import barcodes, config, laboratory
from lis.clock import FixedClock
from lis.laboratory import Laboratory
from lis.services import plates, receiving
from lis.services.plates import PlateOrder, WellOrder
from lis.services.receiving import PersonData, Scan, TubeData

FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "instruments"
HERE = FOLDER.is_dir()
SUFFIXES = {".xls", ".xlsx", ".txt", ".csv"}
CONTROL_TASKS = {"ntc", "nac", "nrt", "positive_control", "negative_control", "standard"}


def relative(pattern: str = "*") -> list[str]:
    """Names of the exports under the folder whose extension the readers claim; empty without the folder."""
    found = (path for path in FOLDER.rglob(pattern) if path.suffix.lower() in SUFFIXES) if HERE else ()
    return sorted(str(path.relative_to(FOLDER)) for path in found)


@functools.cache
def expected() -> dict[str, dict[str, str]]:
    """Rows of the truth by file name."""
    with (FOLDER / "EXPECTED.tsv").open(encoding="utf-8") as lines:
        return {row["file"]: row for row in csv.DictReader(lines, delimiter="\t")}


def readable() -> list[str]:
    """The exports of formats this version reads, with results in them."""
    formats = ("abi_da_xlsx/", "abi_legacy/", "biorad_cfx/", "covid/")
    return [name for name in relative() if name.startswith(formats) and name in expected()]


OTHER_CYCLERS = {
    "other/htqpcr_fluidigm_BioMark_sample.csv",
    "other/htqpcr_tlda_headerless_CRonly.txt",
    "other/sanger_crawler_lighthouse_channels_BOM.csv",
    "rotorgene/irregular_multi_assay.csv",
    "roche_lc480/htqpcr_LightCycler_sample_CRonly.txt",
}
"""Exports with readers of their own, held to the truth beside those readers."""


def refused() -> list[str]:
    """Files of other layouts: they must be refused by name, never half read."""
    names = set(relative()) - set(readable()) - OTHER_CYCLERS
    return sorted(name for name in names if "Amplification" not in name)


@functools.cache
def run_of(name: str) -> RunFile:
    """A real export, read once."""
    try:
        return read(Path(name).name, (FOLDER / name).read_bytes())
    except InstrumentError as error:
        raise AssertionError(f"{name}: {error}") from error


@dataclass(frozen=True)
class Plan:
    """What was pipetted: well -> tube number (from 0) or control, with the targets of the well."""

    wells: tuple[tuple[str, int | str, tuple[str, ...]], ...]
    size: int = 96


class Bench:
    """One laboratory with its own rules, and the plates that were put together in it."""

    def __init__(self, folder: Path, url: str = "", **settings: object) -> None:
        self.folder = folder
        self.settings = settings
        self.url = url
        self.clock = FixedClock(datetime.now(UTC))  # the command line goes by the clock of the machine
        self.lab: Laboratory | None = None

    def rule(self, kind: str, name: str, text: str) -> None:
        """Give the laboratory a rule file of its own."""
        home = self.folder / "rules" / kind
        home.mkdir(parents=True, exist_ok=True)
        (home / f"{name}.toml").write_text(text, encoding="utf-8")

    def open(self) -> Laboratory:
        """Open the laboratory at this moment."""
        self.clock.moment = datetime.now(UTC)
        settings = config.load(self.folder, database=self.url, **self.settings)
        self.lab = laboratory.open_laboratory(settings, self.clock)
        return self.lab

    def close(self) -> None:
        """Close it, if it is open."""
        if self.lab is not None:
            self.lab.close()

    def plate(self, plan: Plan, assay: str, template: str) -> tuple[str, dict[int, str]]:
        """Register, receive and plate the tubes of a plan; the plate's code and the tubes by number."""
        lab = self.lab or self.open()
        numbers = sorted({what for _, what, _ in plan.wells if isinstance(what, int)})
        orders = {n: _order(n) for n in numbers}
        codes = {n: orders[n].barcode for n in numbers}
        with lab.database.write("site") as unit:
            receiving.register(unit, lab.vault, lab.rules, list(orders.values()))
        with lab.database.write("anna") as unit:
            received = receiving.receive(unit, lab.rules, [Scan(code) for code in codes.values()])
            assert {one.outcome for one in received} <= {"received"}
        wells = tuple(
            WellOrder(
                well,
                targets=targets,
                **({"tube": codes[what]} if isinstance(what, int) else {"control": what}),
            )
            for well, what, targets in plan.wells
        )
        with lab.database.write("anna") as unit:
            code = plates.create(unit, lab.rules, PlateOrder(template=template, assay=assay, wells=wells))
            plates.load(unit, code, code, "the cycler")
        return code, codes


def _order(number: int) -> TubeData:
    """A sealed single tube of a made-up person."""
    person = PersonData(f"Person {number}", "passport", f"E{number:08d}")
    code = barcodes.mint(barcodes.TUBE, 33_000_000_000 + number)
    return TubeData(code, persons=(person,), sealed=True)


def template_of(name: str, size: int, controls: dict[str, list[str]]) -> str:
    """A plate template with its controls in these wells."""
    listed = ", ".join(f"{kind} = {json.dumps(wells)}" for kind, wells in controls.items())
    return f'[[template]]\nid = "{name}"\nsize = {size}\ncontrols = {{ {listed} }}\n'
