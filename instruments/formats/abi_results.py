"""The results table of Applied Biosystems software, read column by column."""

from __future__ import annotations

from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from instruments.errors import InstrumentError
from instruments.formats import cells
from instruments.formats.abi_sections import COLUMNS, Export, Section
from instruments.formats.extent import check_table
from instruments.model import Reading, canonical_well

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from instruments.formats.source import Cell, Source


def method_of(export: Export) -> str:
    """What the software called its quantification cycle: ``crt`` (relative threshold) or ``ct``."""
    said = cells.fold(export.keys.get("Quantification Cycle Method", ""))
    column = export.results.find(COLUMNS["cq"])
    written = cells.fold(export.results.header[column]) if column is not None else ""
    return "crt" if "crt" in (said, written) else "ct"


def readings_of(source: Source, export: Export, block: int, faults: list[str]) -> tuple[Reading, ...]:
    """A reading of each row of the results; ``faults`` grows by what speaks against their being whole.

    Raises:
        InstrumentError: ``MISSING_COLUMN`` without well and Cq columns, ``BAD_WELL`` for an impossible well.
    """
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
    if method_of(export) == "crt":
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


def thresholds_of(readings: Iterable[Reading]) -> Mapping[str, float]:
    """The threshold of each target whose wells share one."""
    values: dict[str, set[float]] = {}
    for reading in readings:
        if reading.threshold is not None:
            values.setdefault(reading.target, set()).add(reading.threshold)
    return MappingProxyType(
        {target: next(iter(found)) for target, found in values.items() if len(found) == 1}
    )
