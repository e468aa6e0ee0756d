"""What the exports of Applied Biosystems software share: a header of keys, sections, a results table.

7500, ViiA 7, QuantStudio (legacy text and workbooks) and Design & Analysis write the same things
under slightly different names. The readers bring a file to an :class:`Export`; :func:`assemble`
turns it into a :class:`~instruments.model.RunFile`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from instruments.errors import InstrumentError
from instruments.formats import cells
from instruments.formats.curves import curves_of
from instruments.formats.extent import check_table
from instruments.formats.places import contradictions
from instruments.model import Curve, FlagScope, Reading, RunFile, canonical_well

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from instruments.formats.grid import Grid
    from instruments.formats.source import Cell, Source

# Roles of columns and their names, folded (cells.fold), best first.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "well": ("well position", "well"),
    "sample": ("sample name", "sample"),
    "target": ("target name", "target"),
    "task": ("task",),
    "dye": ("reporter",),
    "cq": ("cq", "ct", "crt"),
    "omit": ("omit",),
    "call": ("call",),
    "threshold": ("ct threshold", "cq threshold", "threshold"),
    "start": ("baseline start",),
    "end": ("baseline end",),
    "status": ("amp status",),
    "quality": ("result quality issues", "quality issue(s)"),
    "curve": ("curve quality",),
}
_UNSAID = frozenset({"", "NA", "N/A"})
_RUN_END = (
    "Experiment Run End Time",
    "Experiment Run Stop Time",
    "Run End Data/Time",  # sic: Design & Analysis 2.7 and Diomni
    "Run End Date/Time",
)
_RUN_START = ("Experiment Run Start Time", "Run Start Date/Time", "Run Start Data/Time")
_KEYS = {
    "instrument": ("Instrument Type",),
    "device": ("Instrument Name",),
    "serial": ("Instrument Serial Number",),
    "operator": ("Operator", "User Name", "Experiment User Name"),
    "plate": ("Barcode", "Experiment Barcode"),
    "experiment": ("Experiment Name", "Experiment File Name", "File Name"),
}
_OTHER_KEYS = {
    "Block Type",
    "Quantification Cycle Method",
    "Software Name and Version",
    "Software name",
    "Software version",
}
_UNPROVEN = (
    "nothing in the file proves that the results table was not cut after a whole line "
    "(no complete Sample Setup): its wells must equal the loaded plate"
)
_WELL = re.compile(r"[A-Pa-p]?[0-9]+(\.0+)?")
_BLOCK = re.compile(r"384|96")


@dataclass(frozen=True)
class Section:
    """A table: column names, rows of cells, the line of its first row, and how it ended.

    ``closed`` is true when something follows the table in the file (another section, a footer):
    then no cut can have taken rows off its end. ``grid`` stands in the place of rows where a long
    table of text has as many cells in each.
    """

    header: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    first_line: int
    closed: bool
    footer: tuple[str, ...] = ()
    grid: Grid | None = None

    def find(self, names: Iterable[str]) -> int | None:
        """Index of the first column among ``names`` (folded) that the table has."""
        return next((self._folded[name] for name in names if name in self._folded), None)

    @cached_property
    def _folded(self) -> dict[str, int]:
        """Folded column name -> its first place."""
        return {cells.fold(name): place for place, name in reversed(list(enumerate(self.header)))}

    @cached_property
    def flags(self) -> tuple[tuple[int, str, bool], ...]:
        """The software's quality flags: columns named in capitals that hold only Y, N or nothing.

        Each with its place, its name, and whether any row is flagged.
        """
        named = [(i, name.strip()) for i, name in enumerate(self.header) if name.strip().isupper()]
        found = []
        for index, name in named:
            values = {cells.text(cell) for cell in {row[index] for row in self.rows if len(row) > index}}
            if values and values <= {"Y", "N", ""}:
                found.append((index, name, "Y" in values))
        return tuple(found)


@dataclass(frozen=True)
class Export:
    """A file taken apart. ``proven`` is false for plain text, where a cut must be excluded by content."""

    format: str
    keys: Mapping[str, Cell]
    results: Section
    setup: Section | None = None
    amplification: Section | None = None
    calls: Section | None = None
    others: tuple[str, ...] = ()
    proven: bool = True
    faults: tuple[str, ...] = ()
    flags_scope: FlagScope = "target"

    @property
    def tables(self) -> tuple[tuple[str, Section], ...]:
        """The tables that the file has, by name."""
        named = (
            ("Results", self.results),
            ("Sample Setup", self.setup),
            ("Amplification Data", self.amplification),
            ("Target Call", self.calls),
        )
        return tuple((name, table) for name, table in named if table is not None)


def is_footer(row: Sequence[Cell]) -> bool:
    """Whether a row ends a table: blank, or a remark such as ``Endogenous Control | 18S``.

    Comparative Ct exports write such remarks under the last well, with or without a blank row
    between. A row for an unused well also has few cells, but it begins with a well.
    """
    filled = [cell for cell in row if cell != ""]
    return not filled or (
        len(filled) <= 2 and row[0] == filled[0] and not _WELL.fullmatch(cells.text(row[0]))
    )


def key_text(keys: Mapping[str, Cell], names: Iterable[str]) -> str:
    """First of the named header values that says anything; "NA" says nothing."""
    found = (cells.text(keys[name]) for name in names if name in keys)
    return next((value for value in found if value not in _UNSAID), "")


def block_of(keys: Mapping[str, Cell]) -> int:
    """Block size from ``Block Type`` ("384-Well Block", "96alum"), 0 when it is not said."""
    found = _BLOCK.search(cells.text(keys.get("Block Type", "")))
    return int(found[0]) if found else 0


def assemble(source: Source, export: Export) -> RunFile:
    """Build the run of an export.

    Raises:
        InstrumentError: MISSING_COLUMN without well and Cq columns, BAD_WELL for an impossible well.
    """
    block = block_of(export.keys)
    faults = [
        *export.faults,
        *(said for what, table in export.tables for said in contradictions(table, block, what)),
    ]
    readings = _readings(source, export, block, faults)
    assumptions = _doubts(export, readings, block, faults)
    started = cells.instant(key_text(export.keys, _RUN_START), source.zone)
    ended = cells.instant(key_text(export.keys, _RUN_END), source.zone)
    if any(key in export.keys for key in _RUN_END) and not key_text(export.keys, _RUN_END):
        faults.append("the header has no run end time: the run was exported before it ended, or was stopped")
    curves = _curves(source, export, block, readings)
    reasons = (*faults, *assumptions)
    return RunFile(
        name=source.name,
        sha256=source.sha256,
        format=export.format,
        **{role: key_text(export.keys, names) for role, names in _KEYS.items()},
        software=_software(export.keys),
        run_started=started,
        run_ended=ended,
        block=block,
        complete=not reasons,
        reasons=reasons,
        readings=readings,
        curves=curves,
        unread=_unread(export, {"run_started": started, "run_ended": ended}),
        thresholds=thresholds_of(readings),
        assumptions=assumptions,
        method=_method(export),
        flags_scope=export.flags_scope,
    )


def _software(keys: Mapping[str, Cell]) -> str:
    joined = f"{key_text(keys, ['Software name'])} {key_text(keys, ['Software version'])}"
    return key_text(keys, ["Software Name and Version"]) or joined.strip()


def _method(export: Export) -> str:
    said = cells.fold(export.keys.get("Quantification Cycle Method", ""))
    column = export.results.find(COLUMNS["cq"])
    written = cells.fold(export.results.header[column]) if column is not None else ""
    return "crt" if "crt" in (said, written) else "ct"


def _readings(source: Source, export: Export, block: int, faults: list[str]) -> tuple[Reading, ...]:
    table = export.results
    check_table(source, len(table.rows), len(table.header))
    columns = {role: table.find(names) for role, names in COLUMNS.items()}
    for role, what in (("well", "Well Position"), ("cq", "CT or Cq")):
        if columns[role] is None:
            raise InstrumentError(
                "MISSING_COLUMN",
                f"The results table has no {what} column. Export the results again with this column ticked.",
                file=source.name,
                line=table.first_line - 1,
            )
    if _method(export) == "crt":
        columns["threshold"] = None  # always 0.2, a placeholder: Crt has one threshold per curve
    raised = [(i, name) for i, name, any_row in table.flags if any_row]
    needed = max([i for i in columns.values() if i is not None] + [i for i, *_ in table.flags])
    calls = _target_calls(source, export, block)
    rows = _filled(table, needed, faults)
    try:
        readings = _by_columns(rows, columns, raised, block)
    except InstrumentError:
        _blame_row(source, table, rows, columns["well"], block)
        raise
    for line, reading in enumerate(readings, table.first_line):
        if cells.UNREAD_CQ in reading.flags:
            faults.append(f"line {line}: '{reading.raw_cq}' is neither a Cq nor a known spelling of none")
    faults += _twins(readings)
    if not readings:
        faults.append("the results table has no rows")
    return tuple(_with_call(reading, calls) for reading in readings) if calls else tuple(readings)


def _filled(table: Section, needed: int, faults: list[str]) -> list[Sequence[Cell]]:
    """The rows, each as wide as the last column that is needed; ``faults`` says which were not."""
    rows = list(table.rows)
    for at, row in enumerate(rows):
        if len(row) <= needed:
            faults.append(f"line {table.first_line + at} stops before column '{table.header[len(row)]}'")
            rows[at] = [*row, *[""] * (needed + 1 - len(row))]
    return rows


def _blame_row(
    source: Source, table: Section, rows: Sequence[Sequence[Cell]], well: int | None, block: int
) -> None:
    """Raise for the first row that names no well of the block."""
    for line, row in enumerate(rows, table.first_line):
        try:
            canonical_well(cells.text(row[well or 0]), block)
        except InstrumentError as exc:
            raise exc.at(source.name, line) from exc


def _by_columns(
    rows: Sequence[Sequence[Cell]],
    columns: Mapping[str, int | None],
    raised: list[tuple[int, str]],
    block: int,
) -> list[Reading]:
    """A reading of each row. A column says the same few things again and again: each is read once."""
    nothing = [""] * len(rows)

    def said(role: str) -> list[Cell]:
        index = columns[role]
        return nothing if index is None else [row[index] for row in rows]

    cqs = _each(cells.cq, said("cq"))
    marks = [[row[index] for row in rows] for index, _ in raised]
    about = (said(role) for role in ("omit", "status", "quality", "curve"))
    names = [name for _, name in raised]
    told = list(zip((doubt for _, doubt in cqs), *about, *marks, strict=True))
    wells = _each(lambda cell: canonical_well(cells.text(cell), block), said("well"))
    fields = (
        wells,
        _each(cells.text, said("sample")),
        _each(cells.task, said("task")),
        _each(cells.text, said("target")),
        _each(cells.text, said("dye")),
        (value for value, _ in cqs),
        _each(lambda cell: str(cell).strip(), said("cq")),
        _each(cells.text, said("call")),
        _each(lambda row: _flags(names, *row), told),
        _each(cells.number, said("threshold")),
        _each(lambda row: _baseline(*row), list(zip(said("start"), said("end"), strict=True))),
    )
    return list(map(Reading, *fields))


_In = TypeVar("_In")
_Out = TypeVar("_Out")


def _each(step: Callable[[_In], _Out], values: Sequence[_In]) -> list[_Out]:
    """``step`` of each value, done once for all that are equal and of one type (1 and True are equal too)."""
    keys: Sequence[Any] = values if _texts(values) else [_typed(value) for value in values]
    known = dict(zip(keys, values, strict=True))
    done = {key: step(value) for key, value in known.items()}
    return [done[key] for key in keys]


def _texts(values: Sequence[Any]) -> bool:
    """Whether these are texts, or tuples of texts."""
    inner = chain.from_iterable(values) if values and isinstance(values[0], tuple) else values
    return set(map(type, inner)) <= {str}


def _typed(value: object) -> object:
    return tuple(map(_typed, value)) if isinstance(value, tuple) else (type(value), value)


def _flags(
    names: Sequence[str], doubt: str, omit: Cell, status: Cell, quality: Cell, curve: Cell, *marks: Cell
) -> tuple[str, ...]:
    """Every flag of a reading, once."""
    flags = [name for name, cell in zip(names, marks, strict=True) if cells.text(cell) == "Y"]
    flags += [doubt] if doubt else []
    flags += ["OMIT"] if cells.text(omit).lower() == "true" else []
    said = cells.text(status).upper().replace(" ", "_")
    flags += [said] if said not in ("", "AMP") else []
    flags += _listed(quality) + _listed(curve)
    return tuple(dict.fromkeys(flags))


def _baseline(start: Cell, end: Cell) -> tuple[int, int] | None:
    """Baseline cycles; a start of 1 is the placeholder that 7 Flex and Crt exports write."""
    first, last = cells.number(start), cells.number(end)
    if first is None or last is None or first <= 1:
        return None
    return int(first), int(last)


def _listed(cell: Cell) -> list[str]:
    return [] if cell == "" else [part.strip() for part in cells.text(cell).split(",") if part.strip()]


def _target_calls(source: Source, export: Export, block: int) -> dict[tuple[str, str], tuple[str, list[str]]]:
    """Call and quality issues per (well, target) from the ``Target Call`` sheet."""
    table = export.calls
    if table is None:
        return {}
    well, target, call = (table.find(COLUMNS[role]) for role in ("well", "target", "call"))
    if well is None or target is None or call is None:
        return {}
    quality = table.find(COLUMNS["quality"])
    calls = {}
    for line, row in enumerate(table.rows, table.first_line):
        try:
            place = canonical_well(cells.text(row[well]), block)
        except InstrumentError as exc:
            raise exc.at(source.name, line) from exc
        issues = [] if quality is None else _listed(row[quality])
        calls[place, cells.text(row[target])] = (cells.text(row[call]), issues)
    return calls


def _with_call(reading: Reading, calls: Mapping[tuple[str, str], tuple[str, list[str]]]) -> Reading:
    if not (found := calls.get((reading.well, reading.target))):
        return reading
    values = reading.__dict__ | {
        "call": reading.call or found[0],
        "flags": tuple(dict.fromkeys((*reading.flags, *found[1]))),
    }
    return Reading(**values)


def _twins(readings: Iterable[Reading]) -> list[str]:
    """Say which (well, target, dye) has two rows: which of them counts cannot be known."""
    seen: set[tuple[str, str, str]] = set()
    twice = []
    for reading in readings:
        if reading.key in seen:
            twice.append(f"{reading.well} {reading.target or reading.dye}")
        seen.add(reading.key)
    return [f"two result rows for {cells.some(twice)}"] if twice else []


def _doubts(export: Export, readings: Sequence[Reading], block: int, faults: list[str]) -> tuple[str, ...]:
    """Compare Sample Setup with the results; add to ``faults``, return what stays unproven.

    The setup comes first in the file. If it names every reaction, a results table cut at any line
    end lacks one of them. It can be trusted to be whole when it lists no empty wells, or all wells
    of the block, and names every well that has a result.
    """
    declared = _declared(export, block)
    whole, pairs = False, set[tuple[str, str]]()
    if declared is not None:
        listed, pairs = declared
        stray = {r.well for r in readings} - listed
        whole = not stray and (
            len({w for w, _ in pairs}) == len(listed) or (block > 0 and len(listed) == block)
        )
    missing = sorted(pairs - {(r.well, r.target) for r in readings})
    if missing:
        shown = cells.some(f"{well} {target}" for well, target in missing)
        faults.append(f"Sample Setup declares {len(missing)} reactions that have no result row: {shown}")
    if export.proven or export.results.closed or whole:
        return ()
    return (_UNPROVEN,)


def _declared(export: Export, block: int) -> tuple[set[str], set[tuple[str, str]]] | None:
    """Wells listed in Sample Setup, and the (well, target) among them that are in use."""
    table = export.setup
    if table is None:
        return None
    well, target = table.find(COLUMNS["well"]), table.find(COLUMNS["target"])
    if well is None or target is None:
        return None
    listed, pairs = set(), set()
    for row in table.rows:
        if len(row) <= well:
            continue
        place = canonical_well(cells.text(row[well]), block)
        listed.add(place)
        if len(row) > target and cells.text(row[target]):
            pairs.add((place, cells.text(row[target])))
    return listed, pairs


def thresholds_of(readings: Iterable[Reading]) -> Mapping[str, float]:
    """The threshold of each target whose wells share one."""
    values: dict[str, set[float]] = {}
    for reading in readings:
        if reading.threshold is not None:
            values.setdefault(reading.target, set()).add(reading.threshold)
    return MappingProxyType(
        {target: next(iter(found)) for target, found in values.items() if len(found) == 1}
    )


def _curves(source: Source, export: Export, block: int, readings: Iterable[Reading]) -> tuple[Curve, ...]:
    if export.amplification is None:
        return ()
    dyes = {(r.well, r.target): r.dye for r in readings}
    try:
        return curves_of(export.amplification, block, dyes)
    except InstrumentError as exc:
        raise exc.at(source.name) from exc


def _unread(export: Export, times: Mapping[str, datetime | None]) -> tuple[str, ...]:
    known_keys = {name for names in _KEYS.values() for name in names} | _OTHER_KEYS
    known_columns = {name for names in COLUMNS.values() for name in names} | {"well"}
    flags = {name for _, name, _ in export.results.flags}
    columns = [
        f"column {name.strip()}"
        for name in export.results.header
        if name.strip() and cells.fold(name) not in known_columns and name.strip() not in flags
    ]
    read_times = [(_RUN_START, times["run_started"]), (_RUN_END, times["run_ended"])]
    known_keys |= {key for names, at in read_times if at is not None for key in names}
    keys = [f"key {key.strip()}" for key in export.keys if key not in known_keys]
    return (*columns, *keys, *(f"footer {name}" for name in export.results.footer), *export.others)
