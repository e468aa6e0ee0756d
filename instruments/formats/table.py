"""A table of any cycler, described by the laboratory in a TOML file.

::

    name = "slan-96p"              # format becomes "table:slan-96p"
    instrument = "SLAN-96P"
    contains = ["SLAN-96P"]        # words that must stand above or in the first rows
    sheet = "Data"                 # workbook sheet; without it the first one
    delimiter = ","                # given for text files only; a workbook has none
    header_row = 14                # optional; without it the row that has the columns is looked for
    block = 96
    decimal = "."                  # how the file writes numbers: both always stated
    thousands = ""
    no_cq = ["-", "NoCt"]          # spellings of "no Cq"; a blank cell is always one
    zero_is_none = false
    wells = ["A1:H12"]             # wells every file must have; optional
    end_mark = "END"               # first cell of the row that ends the table; optional

    [columns]                      # one row per well and target ...
    well = "反应孔"
    sample = "样本"
    target = "目标"
    dye = "通道"
    cq = "Ct"

    [[targets]]                    # ... or one row per well and a column per target
    name = "ORF1ab"
    dye = "FAM"
    cq = "FAM Ct"

    [tasks]                        # the file's words for controls
    "阴性质控" = "negative_control"

    [keys]                         # cells above the table: the value stands right of the label
    plate = "Barcode"

Complete: a workbook is proved by its container. A text must end its last line and have rows of one
width, and shows that no whole line is missing by its ``end_mark`` or by holding all declared
``wells`` with the same targets; otherwise its wells must be compared with the loaded plate.
"""

from __future__ import annotations

import csv
import tomllib
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from instruments.errors import InstrumentError
from instruments.formats import cells
from instruments.formats.extent import check_table
from instruments.formats.source import OPEN_END, Source
from instruments.model import BLOCKS, Reading, RunFile, canonical_well, well_index, well_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from instruments.formats.source import Cell, Rows

_HEADER_SEARCH = 60
_ROLES = ("well", "sample", "task", "target", "dye", "cq", "call")
_KEYS = ("serial", "operator", "plate", "experiment", "device", "software", "run_started", "run_ended")


def _bad(name: str, sentence: str) -> InstrumentError:
    return InstrumentError("BAD_MAPPING", f"Table mapping '{name}': {sentence}")


@dataclass(frozen=True)
class TargetColumns:
    """Columns of one target in a table with one row per well."""

    name: str
    cq: str
    dye: str = ""
    call: str = ""


@dataclass(frozen=True)
class TableMapping:
    """How a laboratory's table is laid out; the keys are those of the module docstring."""

    name: str
    columns: Mapping[str, str]
    targets: tuple[TargetColumns, ...] = ()
    instrument: str = ""
    contains: tuple[str, ...] = ()
    sheet: str = ""
    delimiter: str = ""
    header_row: int = 0
    block: int = 96
    decimal: str = "."
    thousands: str = ""
    no_cq: tuple[str, ...] = ()
    zero_is_none: bool = False
    wells: tuple[str, ...] = ()
    end_mark: str = ""
    tasks: Mapping[str, str] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def from_toml(text: str, name: str) -> TableMapping:
        """Build a mapping from the text of a TOML file; ``name`` is the file's, for messages.

        Raises:
            InstrumentError: BAD_MAPPING for text that is no TOML, and as :meth:`from_mapping`.
        """
        try:
            described = tomllib.loads(text)
        except tomllib.TOMLDecodeError as exc:
            raise InstrumentError("BAD_MAPPING", f"The mapping is no TOML: {exc}.", file=name) from exc
        try:
            return TableMapping.from_mapping({"name": name.removesuffix(".toml"), **described})
        except InstrumentError as exc:
            raise exc.at(name) from exc

    @staticmethod
    def from_mapping(described: Mapping[str, Any]) -> TableMapping:
        """Build a mapping from parsed TOML.

        Raises:
            InstrumentError: BAD_MAPPING for unknown or missing keys and contradictions.
        """
        name = str(described.get("name", "")) or "?"
        unknown = set(described) - {f.name for f in fields(TableMapping)}
        if unknown:
            raise _bad(name, f"unknown keys {', '.join(sorted(unknown))}.")
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in described.items()}
        try:
            values["targets"] = tuple(TargetColumns(**target) for target in described.get("targets", ()))
            mapping = TableMapping(**values)
            _check(mapping)
            wells = tuple(w for part in mapping.wells for w in _range(part, mapping.block))
        except (TypeError, AttributeError) as exc:
            raise _bad(name, f"a key is missing or holds the wrong kind of value ({exc}).") from exc
        except InstrumentError as exc:
            raise exc if exc.code == "BAD_MAPPING" else _bad(name, exc.sentence) from exc
        return replace(mapping, wells=wells)


def _range(part: str, block: int) -> list[str]:
    """Wells of ``A1:H12``, the rectangle between two corners, or of a single name."""
    first, _, last = part.partition(":")
    columns = BLOCKS[block][1]
    low, high = well_index(first, block), well_index(last or first, block)
    rows, across = range(low // columns, high // columns + 1), range(low % columns, high % columns + 1)
    return [well_name(row * columns + column, block) for row in rows for column in across]


def _check(mapping: TableMapping) -> None:
    name = mapping.name
    if mapping.block not in (96, 384):
        raise _bad(name, "block must be 96 or 384.")
    if unknown := set(mapping.columns) - set(_ROLES):
        raise _bad(name, f"columns knows no {', '.join(sorted(unknown))}; it knows {', '.join(_ROLES)}.")
    if "well" not in mapping.columns:
        raise _bad(name, "columns needs 'well'.")
    if bool(mapping.targets) == ("cq" in mapping.columns):
        raise _bad(
            name, "give either columns.cq (a row per well and target) or [[targets]] (a row per well)."
        )
    if not mapping.targets and not {"target", "dye"} & set(mapping.columns):
        raise _bad(name, "columns needs 'target' or 'dye', or results of one well cannot be told apart.")
    if (
        mapping.decimal not in (".", ",")
        or mapping.thousands not in ("", ".", ",")
        or mapping.decimal == mapping.thousands
    ):
        raise _bad(name, "decimal is '.' or ',', thousands '', '.' or ',', and they differ.")
    if unknown := set(mapping.keys) - set(_KEYS):
        raise _bad(name, f"keys knows no {', '.join(sorted(unknown))}; it knows {', '.join(_KEYS)}.")


def _wanted(mapping: TableMapping) -> set[str]:
    inner = {column for target in mapping.targets for column in (target.cq, target.call) if column}
    return {cells.fold(name) for name in {*mapping.columns.values(), *inner}}


def _rows(source: Source, mapping: TableMapping) -> Rows | None:
    if mapping.delimiter:
        if source.kind != "text":
            return None
        try:
            return [list(row) for row in csv.reader(source.text.lines, delimiter=mapping.delimiter)]
        except csv.Error:  # a cell of more than 128 kB: a text, and no table
            return None
    names = source.sheet_names
    sheet = mapping.sheet or (names[0] if names else "")
    return source.rows(sheet) if sheet in names else None


def _header(rows: Rows, mapping: TableMapping) -> int | None:
    wanted = _wanted(mapping)
    places = [mapping.header_row - 1] if mapping.header_row else range(min(len(rows), _HEADER_SEARCH))
    return next(
        (i for i in places if i < len(rows) and wanted <= {cells.fold(cell) for cell in rows[i]}), None
    )


def fits(source: Source, mapping: TableMapping) -> bool:
    """Whether the file has the mapping's columns and all words of ``contains``."""
    rows = _rows(source, mapping)
    if rows is None or _header(rows, mapping) is None:
        return False
    top = [cells.text(cell) for row in rows[:_HEADER_SEARCH] for cell in row]
    return all(any(word in cell for cell in top) for word in mapping.contains)


def read_table(name: str, data: bytes, mapping: TableMapping) -> RunFile:
    """Read a file with one given mapping.

    Raises:
        InstrumentError: UNKNOWN_FORMAT when the file does not have the mapping's columns.
    """
    source = Source(name, data)
    if not fits(source, mapping):
        raise InstrumentError(
            "UNKNOWN_FORMAT",
            f"The file does not look as the mapping '{mapping.name}' describes: its columns are not there. "
            "Correct the mapping or choose another.",
            file=name,
        )
    return read_source(source, mapping)


def read_source(source: Source, mapping: TableMapping) -> RunFile:
    """Read an opened file that fits the mapping."""
    rows = _rows(source, mapping) or []
    top = _header(rows, mapping) or 0
    body, ended = _body(rows[top + 1 :], mapping)
    check_table(source, len(body), len(rows[top]))
    faults = _faults(source, len(rows[top]), body)
    if mapping.end_mark and not ended:
        faults.append(f"the end mark '{mapping.end_mark}' is missing: the file is cut off")
    header = [cells.fold(cell) for cell in rows[top]]
    at = {role: header.index(cells.fold(column)) for role, column in mapping.columns.items()}
    readings: list[Reading] = []
    for line, row in enumerate(body, top + 2):
        filled = [*row, *[""] * (len(header) - len(row))]
        try:
            found = _readings(filled, header, at, mapping)
        except InstrumentError as exc:
            raise exc.at(source.name, line) from exc
        faults += [f"line {line}: '{r.raw_cq}' is no Cq" for r in found if cells.UNREAD_CQ in r.flags]
        readings += found
    faults += _absent(readings, mapping)
    proven = source.kind != "text" or ended or bool(mapping.wells)
    assumptions = () if proven else ("the table has no end mark: its wells must equal the loaded plate",)
    reasons = (*faults, *assumptions)
    known = {*_wanted(mapping)}
    keys = _keys(rows[:top], mapping)
    return RunFile(
        name=source.name,
        sha256=source.sha256,
        format=f"table:{mapping.name}",
        instrument=mapping.instrument,
        block=mapping.block,
        complete=not reasons,
        reasons=reasons,
        readings=tuple(readings),
        unread=tuple(
            f"column {cells.text(c)}" for c in rows[top] if cells.text(c) and cells.fold(c) not in known
        ),
        assumptions=assumptions,
        method="ct",
        run_started=cells.instant(keys.pop("run_started", ""), source.zone),
        run_ended=cells.instant(keys.pop("run_ended", ""), source.zone),
        **keys,
    )


def _body(rows: Rows, mapping: TableMapping) -> tuple[Rows, bool]:
    """Rows of the table, and whether its end mark was seen."""
    body: Rows = []
    for row in rows:
        if mapping.end_mark and row and cells.text(row[0]) == mapping.end_mark:
            return body, True
        if any(cells.text(cell) for cell in row):
            body.append(row)
    return body, False


def _faults(source: Source, width: int, body: Rows) -> list[str]:
    faults = []
    if source.kind == "text" and not source.text.ended:
        faults.append(OPEN_END)
    if uneven := sum(len(row) != width for row in body):
        faults.append(f"{uneven} rows are not as wide as the column names")
    if not body:
        faults.append("the table has no rows")
    return faults


def _readings(
    row: Sequence[Cell], header: Sequence[str], at: Mapping[str, int], mapping: TableMapping
) -> list[Reading]:
    def said(role: str) -> str:
        return cells.text(row[at[role]]) if role in at else ""

    well = canonical_well(said("well"), mapping.block)
    task = mapping.tasks.get(said("task")) or cells.task(said("task"))
    if not mapping.targets:
        single = TargetColumns(said("target"), mapping.columns["cq"], said("dye"))
        return [_read_target(row, header, mapping, single, (well, said("sample"), task, said("call")))]
    return [
        _read_target(row, header, mapping, target, (well, said("sample"), task, said("call")))
        for target in mapping.targets
    ]


def _read_target(
    row: Sequence[Cell],
    header: Sequence[str],
    mapping: TableMapping,
    target: TargetColumns,
    shared: tuple[str, str, str, str],
) -> Reading:
    raw = row[header.index(cells.fold(target.cq))]
    plain = raw.replace(mapping.thousands, "") if mapping.thousands and isinstance(raw, str) else raw
    none = frozenset({"", *(word.lower() for word in mapping.no_cq)})
    value, doubt = cells.cq(plain, decimal=mapping.decimal, none=none, zero_is_none=mapping.zero_is_none)
    well, sample, task, call = shared
    own = cells.text(row[header.index(cells.fold(target.call))]) if target.call else ""
    return Reading(
        well=well,
        sample=sample,
        task=task,
        target=target.name,
        dye=target.dye,
        cq=value,
        raw_cq=cells.text(raw),
        call=own or call,
        flags=(doubt,) if doubt else (),
    )


def _absent(readings: Sequence[Reading], mapping: TableMapping) -> list[str]:
    """Say which declared wells are missing or lack a target that others have, and which rows are double."""
    names = list(dict.fromkeys((r.target, r.dye) for r in readings))
    have = {r.key for r in readings}
    lost = [f"{w} {t or d}" for w in mapping.wells for t, d in names if (w, t, d) not in have]
    faults = [f"declared wells have no result: {cells.some(lost)}"] if lost else []
    return faults + (["some wells have two rows for one target"] if len(have) < len(readings) else [])


def _keys(above: Rows, mapping: TableMapping) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, label in mapping.keys.items():
        for row in above:
            words = [cells.text(cell) for cell in row]
            if label in words:
                rest = [word for word in words[words.index(label) + 1 :] if word]
                found[key] = rest[0] if rest else ""
    return found
