"""Roche LightCycler 480 text exports: Cp tables, and raw fluorescence (one row per reading).

Cp tables: a line ``Experiment: ... Selected Filter: ... (483-533)``, then Include, Color, Pos, Name, Cp,
Concentration, Standard, Status. A blank Cp is none, Include False is OMIT, the Status text is a flag.
They name no target; the filter stands in ``dye``. A decimal comma is known by a Cp column that has
commas and no points. Raw data: SamplePos, SampleName, Prog#, Seg#, Cycle#, Time, Temp and a column per
filter; the program and segment with the most cycles is the amplification, the others (melting) are
named unread. Tabs; CRLF, LF or, from old Macs, CR alone; the last line may lack its end.

Complete, for Cp tables: all wells of a 96 or 384 block stand there once, each with a Cp cell that a
separator follows. Part of a block cannot be proved and waits for the loaded plate. Complete, for raw
data: all wells of a block, each with as many rows as the others. Raw data hold no Cq.

Not read: Concentration, Standard, melting curves, colours. The Cp is given as the software called it,
by Fit Points or by second derivative, which the file does not say.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from instruments.formats import cells
from instruments.formats.experiment import curve
from instruments.formats.listing import (
    UNPROVEN,
    decimal_of,
    full_block,
    header_line,
    run_of,
    split,
    unread_columns,
)
from instruments.formats.source import OPEN_END
from instruments.model import Curve, Reading, RunFile, canonical_well

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from instruments.formats.source import Source

CP_FORMAT = "lightcycler-cp"
RAW_FORMAT = "lightcycler-raw"
_CP = {"include", "pos", "name", "cp"}
_RAW = {"samplepos", "samplename", "prog#", "seg#", "cycle#"}
_FILTER = re.compile(r"[0-9]{3}-[0-9]{3}")
_SELECTED = re.compile(r"\sSelected Filter:")
_RUN_ON = re.compile(r"\s\(Run on ")


def matches_cp(source: Source) -> bool:
    """Whether one of the first lines names the columns of a Cp table."""
    return header_line(source, _CP, "\t", 5) is not None


def matches_raw(source: Source) -> bool:
    """Whether one of the first lines names the columns of raw data."""
    return header_line(source, _RAW, "\t", 5) is not None


def read_cp(source: Source) -> RunFile:
    """Read a Cp table."""
    top = header_line(source, _CP, "\t", 5) or 0
    header = [cells.fold(name) for name in source.text.lines[top].split("\t")]
    at: dict[str, int] = {name: header.index(name) for name in (*sorted(_CP), "status") if name in header}
    needed = max(at[name] for name in ("include", "pos", "name", "cp"))
    rows, faults = split(source, top + 1, "\t", needed)
    rows = [row for row in rows if any(cell.strip() for cell in row)]
    if short := sum(len(row) <= needed for row in rows):
        faults.append(f"{short} rows stop before their Cp")
    rows = [row for row in rows if len(row) > needed]
    experiment, selected = _title(source.text.lines[:top], "Experiment:", _SELECTED)
    found = _FILTER.search(selected)
    dye = found[0] if found else selected
    decimal = decimal_of(row[at["cp"]] for row in rows)
    readings = [_reading(row, at, dye, decimal) for row in rows]
    block = full_block(reading.well for reading in readings)
    return run_of(
        source,
        CP_FORMAT,
        readings,
        faults,
        [] if block else [UNPROVEN],
        instrument="LightCycler 480",
        experiment=experiment,
        block=block,
        unread=unread_columns(source.text.lines[top].split("\t"), ("include", "pos", "name", "cp", "status")),
    )


def _title(lines: Sequence[str], opening: str, between: re.Pattern[str]) -> tuple[str, str]:
    """What stands behind ``opening`` in the lines above the table, before and after ``between``."""
    rest = " ".join(lines).partition(opening)[2]
    found = between.search(rest)
    return (rest[: found.start()].strip(), rest[found.end() :].strip()) if found else ("", "")


def _reading(row: Sequence[str], at: Mapping[str, int], dye: str, decimal: str) -> Reading:
    def said(name: str) -> str:
        return row[at[name]].strip() if name in at and len(row) > at[name] else ""

    value, doubt = cells.cq(said("cp"), decimal=decimal)
    flags = ["OMIT"] if said("include").lower() == "false" else []
    flags += [one for one in (doubt, said("status")) if one]
    return Reading(
        well=canonical_well(said("pos"), 0),
        sample=said("name"),
        task="",
        target="",
        dye=dye,
        cq=value,
        raw_cq=said("cp"),
        call="",
        flags=tuple(flags),
    )


def read_raw(source: Source) -> RunFile:
    """Read raw fluorescence; the run has curves and no readings."""
    lines = source.text.lines
    top = header_line(source, _RAW, "\t", 5) or 0
    header = [name.strip() for name in lines[top].split("\t")]
    folded = [cells.fold(name) for name in header]
    at = [folded.index(name) for name in ("samplepos", "prog#", "seg#", "cycle#")]
    filters = [(i, name) for i, name in enumerate(header) if _FILTER.fullmatch(name)]
    faults = [] if source.text.ended else [OPEN_END]
    faults += [] if filters else ["no column of a filter was found"]
    width = max([*at, *(i for i, _ in filters)]) + 1
    rows = [line.split("\t", width) for line in lines[top + 1 :] if line]
    if short := sum(len(row) < width for row in rows):
        faults.append(f"{short} rows stop before their last filter")
    rows = [row for row in rows if len(row) >= width]
    wells: dict[str, list[list[str]]] = {}
    for row in rows:
        wells.setdefault(row[at[0]], []).append(row)
    if len({len(found) for found in wells.values()}) > 1:
        faults.append("some wells have fewer rows than others")
    program = _amplification(rows, at)
    curves = tuple(_curves(wells, at, filters, program))
    if any(np.isnan(one.values).any() for one in curves):
        faults.append("some fluorescence values are not numbers")
    block = full_block(one.well for one in curves)
    doubts = () if block else (UNPROVEN,)
    experiment, software = _title(lines[:top], "Experiment - ", _RUN_ON)
    others = {(row[at[1]], row[at[2]]) for row in rows} - {program}
    return RunFile(
        name=source.name,
        sha256=source.sha256,
        format=RAW_FORMAT,
        instrument="LightCycler 480",
        software=software.partition(")")[0],
        experiment=experiment,
        block=block,
        complete=not faults and not doubts,
        reasons=(*faults, *doubts),
        curves=curves,
        unread=tuple(f"program {prog} segment {seg}" for prog, seg in sorted(others)),
        assumptions=doubts,
    )


def _amplification(rows: Sequence[Sequence[str]], at: Sequence[int]) -> tuple[str, str]:
    """Program and segment with the most cycles; ("", "") when none has two."""
    cycles: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        cycles.setdefault((row[at[1]], row[at[2]]), set()).add(row[at[3]])
    best = max(cycles, key=lambda key: len(cycles[key]), default=("", ""))
    return best if len(cycles.get(best, ())) > 1 else ("", "")


def _curves(
    wells: Mapping[str, Sequence[Sequence[str]]],
    at: Sequence[int],
    filters: Sequence[tuple[int, str]],
    program: tuple[str, str],
) -> list[Curve]:
    curves = []
    for name, rows in wells.items():
        kept = [row for row in rows if (row[at[1]], row[at[2]]) == program]
        if not kept:
            continue
        well = canonical_well(name, 0)
        cycles = [int(cells.number(row[at[3]]) or 0) for row in kept]
        for column, dye in filters:
            values = [_height(row[column]) for row in kept]
            curves.append(curve(well, "", dye, "rfu", values, cycles))
    return curves


def _height(cell: str) -> float:
    value = cells.number(cell)
    return float("nan") if value is None else value
