"""Chinese cyclers with a known workbook layout: SLAN-96P/96S (Hongshi) and MA-6000 (Molarray).

SLAN: the words SLAN-96P or SLAN-96S stand in the first cells, the column names near row 14: a column
whose name holds 反应孔 is the well, 目标 the target, 项目 or 样本 the sample, 通道 the dye, Ct the Cq. ``-``
or a blank is none. MA-6000: a sheet ``Data&Graph`` with Well, Item, Reporter and Ct in row 1; Item is the
target, Sample (or 样本) the sample where there is one. Numbers have a decimal point.

Complete: the workbook is proved whole by its container, every well is on the block, none has two rows
for a target, and every target has the wells that the others have.

Not read: curves, the software's own conclusions. No real file of either was at hand: the column names
are those of the open converter huzhijin/MolePCRConvert4WPF, the tests use synthetic workbooks. If a file
of yours is refused, describe it in a table mapping (``lis formats new``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from instruments.errors import InstrumentError
from instruments.formats import cells
from instruments.formats.listing import run_of
from instruments.model import Reading, RunFile, canonical_well

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from instruments.formats.source import Cell, Rows, Source

SLAN_FORMAT = "slan-96"
MA_FORMAT = "ma-6000"
_MODELS = ("SLAN-96P", "SLAN-96S")
_MA_SHEET = "Data&Graph"
_SLAN = {
    "well": ("反应孔",),
    "target": ("目标",),
    "sample": ("样本", "项目"),
    "dye": ("通道", "荧光"),
    "task": ("类型",),
    "cq": ("ct",),
}
_MA = {
    "well": ("well",),
    "target": ("item",),
    "dye": ("reporter",),
    "sample": ("sample", "样本"),
    "cq": ("ct",),
}
_TASKS = {
    "阴性对照": "ntc",
    "阴性质控": "negative_control",
    "阳性对照": "positive_control",
    "阳性质控": "positive_control",
    "标准品": "standard",
    "待测样本": "unknown",
    "样本": "unknown",
    "空白对照": "ntc",
}


def _sheet(source: Source) -> tuple[str, str]:
    """Sheet and model of a SLAN workbook; two empty words for another file."""
    for sheet in source.sheet_names:
        for row in source.rows(sheet)[:11]:
            for cell in row[:11]:
                model = next((model for model in _MODELS if model in cells.text(cell)), "")
                if model:
                    return sheet, model
    return "", ""


def _header(rows: Rows, names: Mapping[str, tuple[str, ...]], most: int) -> tuple[int, dict[str, int]] | None:
    """Row of the column names and the column of each role; a name need only hold the word."""
    for index, row in enumerate(rows[:most]):
        folded = [cells.fold(cell) for cell in row]
        at = {role: i for role, words in names.items() if (i := _find(folded, words)) is not None}
        if {"well", "target", "cq"} <= set(at):
            return index, at
    return None


def _find(folded: Sequence[str], words: Iterable[str]) -> int | None:
    """Column whose name is the first word that any has, else that holds it (Chinese words only)."""
    for word in words:
        if word in folded:
            return folded.index(word)
        if not word.isascii():
            held = [i for i, name in enumerate(folded) if word in name]
            if held:
                return held[0]
    return None


def matches_slan(source: Source) -> bool:
    """Whether the first cells of a sheet name a SLAN-96."""
    return bool(_sheet(source)[0])


def matches_ma(source: Source) -> bool:
    """Whether the workbook has the sheet of an MA-6000 with its columns."""
    return _MA_SHEET in source.sheet_names and _header(source.rows(_MA_SHEET), _MA, 1) is not None


def read_slan(source: Source) -> RunFile:
    """Read a SLAN workbook.

    Raises:
        InstrumentError: MISSING_COLUMN when no row names 反应孔, 目标 and Ct.
    """
    sheet, model = _sheet(source)
    return _read(source, SLAN_FORMAT, sheet, _header(source.rows(sheet), _SLAN, 40), model)


def read_ma(source: Source) -> RunFile:
    """Read an MA-6000 workbook."""
    return _read(source, MA_FORMAT, _MA_SHEET, _header(source.rows(_MA_SHEET), _MA, 1), "MA-6000")


def _read(
    source: Source, form: str, sheet: str, header: tuple[int, dict[str, int]] | None, model: str
) -> RunFile:
    if header is None:
        raise InstrumentError(
            "MISSING_COLUMN",
            f"The sheet '{sheet}' of this {model} has no row with the columns 反应孔, 目标 and Ct. Export "
            "the results again, or describe the table in a mapping (lis formats new).",
            file=source.name,
        )
    top, at = header
    rows = source.rows(sheet)
    readings = []
    for line, row in enumerate(rows[top + 1 :], top + 2):
        if not any(cells.text(cell) for cell in row):
            break
        try:
            readings.append(_reading(row, at))
        except InstrumentError as exc:
            raise exc.at(source.name, line) from exc
    named = [cells.text(cell) for i, cell in enumerate(rows[top]) if i not in at.values()]
    return run_of(
        source,
        form,
        readings,
        _lost(readings),
        [],
        instrument=model,
        block=96,
        unread=tuple(f"column {name}" for name in named if name)
        + tuple(f"sheet {name}" for name in source.sheet_names if name != sheet),
    )


def _reading(row: Sequence[Cell], at: Mapping[str, int]) -> Reading:
    def said(role: str) -> str:
        return cells.text(row[at[role]]) if role in at and len(row) > at[role] else ""

    raw = row[at["cq"]] if len(row) > at["cq"] else ""
    value, doubt = cells.cq(raw)
    task = said("task")
    return Reading(
        well=canonical_well(said("well"), 96),
        sample=said("sample"),
        task=_TASKS.get(task) or cells.task(task),
        target=said("target"),
        dye=said("dye"),
        cq=value,
        raw_cq=cells.text(raw),
        call="",
        flags=(doubt,) if doubt else (),
    )


def _lost(readings: Sequence[Reading]) -> list[str]:
    """Say which wells lack a target that the others have."""
    names = dict.fromkeys((r.target, r.dye) for r in readings)
    have = {r.key for r in readings}
    wells = dict.fromkeys(r.well for r in readings)
    lost = [
        f"{well} {target or dye}"
        for well in wells
        for target, dye in names
        if (well, target, dye) not in have
    ]
    return [f"some wells lack a target that others have: {cells.some(lost)}"] if lost else []
