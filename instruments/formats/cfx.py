"""Bio-Rad CFX csv exports: Cq results, and amplification (baseline-subtracted RFU per fluor).

Cq results: ``,Well,Fluor,Target,Content,Sample,...,Cq,...`` with an empty first column, CRLF, wells
``A01``; no Cq is ``NaN``, ``N/A``, blank, or 0 (older exports). The key is (well, fluor): Target is
empty in some duplex runs. Controls have an empty Sample and must be kept. Amplification:
``,Cycle,A1,A2,...``, one row per cycle; it holds curves and no Cq, and names no target.
Maestro may put a header of ``File Name,...`` lines on top. Comma files use a decimal point;
semicolon files, as written under a European Windows, a decimal comma.

Complete: the last line has its line end and all rows are as wide as the column names. A csv has no
end mark, so a file cut after a whole line is looked for by content: Cq Mean and SD of a replicate
group must be those of the rows present, and the last well (or fluor) must not lack a fluor (or
well) that the ones before it have. A full block of 96 or 384 wells is complete; a partial plate
cannot be proved and is not complete until its wells are compared with the loaded plate. What no
content can prove stays in ``assumptions`` even then: whole fluors may have been cut off.
An amplification file is complete when its cycles run 1, 2, 3, ...; their number is an assumption.

Not read: starting quantities, set point, melt and end-point files, plate view and summary files. The Cq
file and the amplification files of one run are joined by ``lis read`` when given together.
"""

from __future__ import annotations

import csv
import re
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from instruments.errors import InstrumentError
from instruments.formats import cells
from instruments.formats.source import OPEN_END
from instruments.model import Curve, Reading, RunFile, canonical_well

if TYPE_CHECKING:
    from collections.abc import Sequence

    from instruments.formats.source import Source

CQ_FORMAT = "cfx-cq"
CURVE_FORMAT = "cfx-amplification"
_HEADER_SEARCH = 40
_KNOWN = ("Well", "Fluor", "Target", "Content", "Sample", "Cq", "Well Note")
_KEYS_READ = (
    "Base Serial Number",
    "CFX Maestro Version",
    "Created By User",
    "File Name",
    "Fluor",
    "ID",
    "Instrument",
    "Instrument Name",
    "Run Ended",
    "Run Started",
)
_EVIDENCE = ("Cq Mean", "Cq Std. Dev")
_CONFIRM = (
    "the csv has no end mark: every loaded well must have a result for each of its dyes "
    "(compare with the loaded plate)"
)
_CYCLES = "the csv has no end mark: the number of cycles must equal the protocol's"
# Fluors of the CFX calibration set; a file split by target ends with the target's name instead.
_DYE = re.compile(
    r"[_-](SYBR|EvaGreen|FAM|HEX|VIC|JOE|TET|TAMRA|ROX|Texas Red|Cy3|Cy5|Cy5\.5|Quasar (?:670|705)|FRET"
    r"|Cal (?:Gold 540|Orange 560|Red 610))\.csv$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class _Table:
    """Rows under the column names, with the keys above and the line of the first row."""

    keys: dict[str, str]
    header: list[str]
    rows: list[list[str]]
    first_line: int
    decimal: str
    faults: tuple[str, ...]


def _separator(line: str) -> str:
    return max(",;\t", key=line.count)


def _header_line(source: Source, wanted: set[str]) -> int | None:
    for index, line in enumerate(source.text.lines[:_HEADER_SEARCH]):
        names = {part.strip().strip('"') for part in line.split(_separator(line))}
        if wanted <= names:
            return index
    return None


def matches_cq(source: Source) -> bool:
    """Whether a line names the columns Well, Fluor, Content and Cq."""
    return _header_line(source, {"Well", "Fluor", "Content", "Cq"}) is not None


def matches_curves(source: Source) -> bool:
    """Whether a line names the columns Cycle and wells."""
    at = _header_line(source, {"Cycle"})
    if at is None:
        return False
    line = source.text.lines[at]
    names = [part.strip().strip('"') for part in line.split(_separator(line))]
    after = names[names.index("Cycle") + 1 :]
    return bool(after) and re.fullmatch(r"[A-P]0?[1-9][0-9]?", after[0]) is not None


def _table(source: Source, wanted: set[str]) -> _Table:
    lines = source.text.lines
    top = _header_line(source, wanted) or 0
    separator = _separator(lines[top])
    try:
        header, *rows = csv.reader(lines[top:], delimiter=separator, strict=True)
        above = list(csv.reader(lines[:top], delimiter=separator, strict=True))
    except csv.Error as exc:
        raise InstrumentError(
            "BAD_ROW",
            "The quotation marks of the csv do not match: it is cut off or was edited. Export it again.",
            file=source.name,
        ) from exc
    while rows and not any(cell.strip() for cell in rows[-1]):
        rows.pop()
    uneven = [i for i, row in enumerate(rows, top + 2) if len(row) != len(header)]
    faults = [] if source.text.ended else [OPEN_END]
    faults += (
        [f"rows of another width than the column names at line {cells.some(map(str, uneven))}"]
        if uneven
        else []
    )
    faults += [] if rows else ["the table has no rows"]
    keys = {row[0].strip(): row[1].strip() for row in above if len(row) > 1 and row[0].strip()}
    decimal = "," if separator == ";" else "."
    return _Table(keys, [name.strip() for name in header], rows, top + 2, decimal, tuple(faults))


def read_cq(source: Source) -> RunFile:
    """Read Cq results."""
    table = _table(source, {"Well", "Fluor", "Content", "Cq"})
    faults = list(table.faults)
    column = {name: table.header.index(name) for name in _KNOWN if name in table.header}
    numbered = [
        (i, row) for i, row in enumerate(table.rows, table.first_line) if len(row) > max(column.values())
    ]
    readings: list[Reading] = []
    for line, row in numbered:
        try:
            readings.append(_reading(row, column, table.decimal))
        except InstrumentError as exc:
            raise exc.at(source.name, line) from exc
        if cells.UNREAD_CQ in readings[-1].flags:
            faults.append(
                f"line {line}: '{readings[-1].raw_cq}' is neither a Cq nor a known spelling of none"
            )
    faults += _twins(readings) + _replicates(table, [row for _, row in numbered], readings)
    block = _full_block(readings)
    doubts = tuple(_shortfall(readings)) + (() if block else (_CONFIRM,))
    assumptions = tuple(dict.fromkeys((*doubts, _CONFIRM)))
    return _run(
        source, CQ_FORMAT, table, (*faults, *doubts), assumptions, readings=tuple(readings), block=block
    )


def _reading(row: Sequence[str], column: dict[str, int], decimal: str) -> Reading:
    def said(name: str) -> str:
        return row[column[name]].strip() if name in column else ""

    value, doubt = cells.cq(said("Cq"), decimal=decimal, zero_is_none=True)
    return Reading(
        well=canonical_well(said("Well"), 0),
        sample=said("Sample"),
        task=cells.task(said("Content")),
        target=said("Target"),
        dye=said("Fluor"),
        cq=value,
        raw_cq=said("Cq"),
        call="",
        flags=(doubt,) if doubt else (),
    )


def _twins(readings: Sequence[Reading]) -> list[str]:
    seen: set[tuple[str, str, str]] = set()
    twice = []
    for reading in readings:
        if reading.key in seen:
            twice.append(f"{reading.well} {reading.dye}")
        seen.add(reading.key)
    return [f"two result rows for {cells.some(twice)}"] if twice else []


def _shortfall(readings: Sequence[Reading]) -> list[str]:
    """A cut through a plate of several fluors leaves the last well, or the last fluor, short."""
    dyes = list(dict.fromkeys(r.dye for r in readings))
    if len(dyes) < 2:
        return []
    by_dye: dict[str, list[str]] = {dye: [] for dye in dyes}
    for r in readings:
        by_dye[r.dye].append(r.well)
    last, before = readings[-1].dye, dyes[:-1]
    if all(r.dye == last for r in readings[-len(by_dye[last]) :]):
        have = set(by_dye[last])
        short = [well for dye in before for well in by_dye[dye] if well not in have]
        return (
            [f"the last fluor {last} lacks wells that other fluors have: {cells.some(short)}"]
            if short
            else []
        )
    end = readings[-1].well
    there = {r.dye for r in readings if r.well == end}
    usual = {r.dye for r in readings if r.well == readings[0].well}
    return [f"the last well {end} lacks a fluor that the first well has"] if usual - there else []


def _replicates(table: _Table, rows: Sequence[Sequence[str]], readings: Sequence[Reading]) -> list[str]:
    """Replicate groups whose written mean and SD are not those of the rows present lost a row."""
    if any(name not in table.header for name in _EVIDENCE):
        return []
    mean_at, sd_at = (table.header.index(name) for name in _EVIDENCE)
    groups: dict[tuple[str, ...], list[int]] = {}
    content = table.header.index("Content")
    for i, (row, reading) in enumerate(zip(rows, readings, strict=True)):
        if reading.cq is not None:
            groups.setdefault((reading.dye, reading.target, reading.sample, row[content].strip()), []).append(
                i
            )
    short = []
    for members in groups.values():
        written = {(rows[i][mean_at], rows[i][sd_at]) for i in members}
        if len(written) == 1 and not _agrees(
            next(iter(written)), [readings[i] for i in members], table.decimal
        ):
            short.append(readings[members[0]].well)
    return (
        [f"replicates are missing: the written Cq Mean of the group of {cells.some(short)} is another"]
        if short
        else []
    )


def _agrees(written: tuple[str, str], group: Sequence[Reading], decimal: str) -> bool:
    mean, sd = (cells.number(cell, decimal=decimal) for cell in written)
    if mean is None:
        return True
    values = [r.cq for r in group if r.cq is not None]
    # Half a unit of the last written digit, of the mean and of the Cq it was made from.
    step = max(
        10.0 ** -_decimals(written[0], decimal), 10.0 ** -max(_decimals(r.raw_cq, decimal) for r in group)
    )
    if abs(statistics.fmean(values) - mean) > 1.01 * step:
        return False
    if sd is None or len(values) > 1:
        return True
    # One value alone has no spread: a written SD beyond rounding speaks of another replicate.
    return abs(sd) <= 2 * step


def _decimals(written: str, decimal: str) -> int:
    return min(9, len(written.strip().partition(decimal)[2]))


def _full_block(readings: Sequence[Reading]) -> int:
    """96 or 384 when every fluor has all wells of the block, else 0."""
    wells = {r.well for r in readings}
    dyes = {r.dye for r in readings}
    size = len(wells)
    if size not in (96, 384) or len(readings) != size * len(dyes):
        return 0
    inside = size == 384 or all(w[0] <= "H" and int(w[1:]) <= 12 for w in wells)
    return size if inside else 0


def read_curves(source: Source) -> RunFile:
    """Read amplification curves; the dye is taken from the header or the end of the file name."""
    table = _table(source, {"Cycle"})
    at = table.header.index("Cycle")
    wells = [(i, name) for i, name in enumerate(table.header) if i > at and name]
    whole = [row for row in table.rows if len(row) == len(table.header)]
    cycles = [cells.number(row[at], decimal=table.decimal) for row in whole]
    faults = list(table.faults)
    if cycles != list(range(1, len(whole) + 1)):
        faults.append("the cycles do not run 1, 2, 3, ...")
    values = np.array([[_rfu(row[i], table.decimal) for i, _ in wells] for row in whole], dtype=np.float64)
    values = values.reshape(len(whole), len(wells))  # a table without whole rows has its columns too
    if np.isnan(values).any():
        faults.append("some fluorescence values are not numbers")
    counted = np.arange(1, len(whole) + 1, dtype=np.int64)
    counted.flags.writeable = False
    values.flags.writeable = False
    named = _DYE.search(source.name)
    dye = table.keys.get("Fluor", "") or (named[1] if named else "")
    curves = tuple(
        Curve(canonical_well(name, 0), "", dye, "rfu", counted, values[:, k])
        for k, (_, name) in enumerate(wells)
    )
    return _run(source, CURVE_FORMAT, table, tuple(faults), (_CYCLES,), curves=curves)


def _rfu(cell: str, decimal: str) -> float:
    value = cells.number(cell, decimal=decimal)
    return float("nan") if value is None else value


def _run(  # noqa: PLR0913 - the two kinds of csv differ in just these
    source: Source,
    form: str,
    table: _Table,
    reasons: tuple[str, ...],
    assumptions: tuple[str, ...],
    *,
    readings: tuple[Reading, ...] = (),
    curves: tuple[Curve, ...] = (),
    block: int = 0,
) -> RunFile:
    keys = table.keys
    columns = (
        []
        if curves
        else [f"column {name}" for name in table.header if name and name not in (*_KNOWN, *_EVIDENCE)]
    )
    return RunFile(
        name=source.name,
        sha256=source.sha256,
        format=form,
        instrument=keys.get("Instrument", "CFX"),
        device=keys.get("Instrument Name", ""),
        serial=keys.get("Base Serial Number", ""),
        software=f"CFX Maestro {keys['CFX Maestro Version']}" if "CFX Maestro Version" in keys else "",
        operator=keys.get("Created By User", ""),
        plate=keys.get("ID", ""),
        experiment=keys.get("File Name", ""),
        run_started=cells.instant(keys.get("Run Started", ""), source.zone),
        run_ended=cells.instant(keys.get("Run Ended", ""), source.zone),
        block=block,
        complete=not reasons,
        reasons=reasons,
        readings=readings,
        curves=curves,
        unread=(*columns, *(f"key {key}" for key in keys if key not in _KEYS_READ)),
        assumptions=assumptions,
        method="ct" if readings else "",
    )
