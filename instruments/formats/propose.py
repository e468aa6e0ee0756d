"""A first table mapping for a file that no reader knows, for the laboratory to correct.

The row of column names is the one where most cells are words for well, sample, target, dye, Cq, task or
call, in English or Chinese. Several Cq columns become ``[[targets]]``, one each. Nothing is decided that
the file does not show: what is guessed is marked with a comment to check.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from instruments.errors import InstrumentError
from instruments.formats import cells
from instruments.formats.listing import decimal_of
from instruments.formats.source import Source
from instruments.model import canonical_well

if TYPE_CHECKING:
    from collections.abc import Sequence

    from instruments.formats.source import Cell, Rows

_WORDS: dict[str, tuple[str, ...]] = {
    "well": ("well", "well position", "position", "pos", "反应孔", "孔位", "孔号", "孔"),
    "sample": ("sample", "sample name", "sample id", "name", "specimen", "样本", "样品", "标本", "编号"),
    "target": ("target", "target name", "gene", "detector", "assay", "目标", "靶标", "基因", "项目"),
    "dye": ("dye", "fluor", "reporter", "channel", "通道", "荧光", "染料"),
    "cq": ("cq", "ct", "cp", "crt", "ct值", "cq值"),
    "task": ("task", "type", "content", "sample type", "类型", "性质"),
    "call": ("call", "result", "conclusion", "结果", "结论", "判定"),
}
_CQ_IN_NAME = re.compile(r"\b(cq|ct|cp)\b|(?<![a-z])(cq|ct)(?=值)", re.IGNORECASE)
_STATISTIC = re.compile(r"mean|sd\b|std|avg|delta|Δ|threshold|平均|标准差|阈值", re.IGNORECASE)
_NONE = cells.NO_CQ | {"noct", "no ct", "no cp", "undet", "undet.", "neg", "nd"}
_SEARCH = 60


def propose(name: str, data: bytes) -> str:
    """A mapping as TOML text, to be checked, completed and saved in ``rules/tables``.

    Raises:
        InstrumentError: UNKNOWN_FORMAT when no row looks like column names.
    """
    source = Source(name, data)
    for delimiter, sheet, rows in _tables(source):
        best = max(range(min(len(rows), _SEARCH)), key=lambda i: _score(rows[i]), default=None)
        if best is not None and _score(rows[best]) >= 2 and _roles(rows[best]).get("well") is not None:
            return _toml(name, rows, best, delimiter, sheet)
    raise InstrumentError(
        "UNKNOWN_FORMAT",
        "No row names columns such as Well and Ct (反应孔, Ct). Export a table of results as workbook or "
        "csv; the mapping can also be written by hand, see docs/formats.md.",
        file=name,
    )


def _tables(source: Source) -> list[tuple[str, str, Rows]]:
    """Every way to see the file as a table: (delimiter, sheet, rows)."""
    if source.kind == "text":
        lines = [*source.text.lines, *([source.text.tail] if source.text.tail else [])]
        delimiter = max(",;\t", key=lambda mark: sum(line.count(mark) for line in lines[:_SEARCH]))
        return [(delimiter, "", [[cell.strip('"') for cell in line.split(delimiter)] for line in lines])]
    return [("", sheet, source.rows(sheet)) for sheet in source.sheet_names]


def _role(cell: Cell) -> str:
    folded = cells.fold(cell)
    for role, words in _WORDS.items():
        if folded in words or any(not word.isascii() and word in folded for word in words):
            return role
    return "cq" if _CQ_IN_NAME.search(folded) and not _STATISTIC.search(folded) else ""


def _roles(row: Sequence[Cell]) -> dict[str, str]:
    """Role -> column name, the first of each; Cq is left out when there are several."""
    found: dict[str, str] = {}
    for cell in row:
        role = _role(cell) if isinstance(cell, str) else ""
        if role:
            found.setdefault(role, cells.text(cell))
    return found


def _score(row: Sequence[Cell]) -> int:
    return len(_roles(row))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in escaped) + '"'


def _toml(name: str, rows: Rows, top: int, delimiter: str, sheet: str) -> str:
    header = rows[top]
    roles = _roles(header)
    cq = [i for i, cell in enumerate(header) if isinstance(cell, str) and _role(cell) == "cq"]
    body = [row for row in rows[top + 1 :] if len(row) > max(cq, default=0)]
    cqs = [cells.text(row[i]) for row in body for i in cq]
    decimal = decimal_of(cqs)
    words = sorted({text for text in cqs if text and cells.number(text, decimal=decimal) is None})
    none = [word for word in words if word.lower() in _NONE]
    doubtful = [word for word in words if word.lower() not in _NONE]
    stem = re.sub(r"[^a-z0-9-]+", "-", name.rpartition(".")[0].lower()).strip("-")[:40] or "table"
    title = next((cells.text(cell) for row in rows[:top] for cell in row if cells.text(cell)), "")
    lines = [
        "# Proposed from a file. Check every line, then save it as rules/tables/NAME.toml of the data folder",
        f"name = {_quoted(stem)}",
        'instrument = ""  # the model, as your reports should name it',
        f"contains = [{_quoted(title)}]  # words that only this instrument's files have above the table"
        if title
        else "contains = []  # words that only this instrument's files have above the table",
        f"header_row = {top + 1}",
        *([f"delimiter = {_quoted(delimiter)}"] if delimiter else [f"sheet = {_quoted(sheet)}"]),
        f"block = {_block(rows, top, roles['well'])}",
        f"decimal = {_quoted(decimal)}",
        f"no_cq = [{', '.join(map(_quoted, none))}]  # every one of these must mean: not detected",
        *(f"# add {_quoted(word)} to no_cq if it means: not detected" for word in doubtful[:20]),
        *(
            ['# end_mark = ""  # first cell of the row that ends the table, if it has one']
            if delimiter
            else []
        ),
        "",
        "[columns]",
        *(f"{role} = {_quoted(column)}" for role, column in roles.items() if role != "cq" or len(cq) == 1),
        *_targets(header, cq, roles),
        "",
        "[tasks]  # this file's words for controls = ntc, positive_control, negative_control, unknown ...",
        *(f"# {_quoted(word)} = {_quoted('?')}" for word in _tasks(header, body, roles)),
    ]
    return "\n".join(lines) + "\n"


def _targets(header: Sequence[Cell], cq: Sequence[int], roles: dict[str, str]) -> list[str]:
    """Targets of a table with a column each, and what is still missing."""
    if not cq:
        return ['# cq = "?"  # no column looks like a Cq: name it']
    if len(cq) == 1:
        lost = not {"target", "dye"} & set(roles)
        return ['# target = "?"  # a column that tells targets or dyes apart is needed'] if lost else []
    lines = []
    for i in cq:
        column = cells.text(header[i])
        target = _CQ_IN_NAME.sub("", column).strip(" -_()值") or column
        lines += ["", "[[targets]]", f"name = {_quoted(target)}", f"cq = {_quoted(column)}"]
    return lines


def _block(rows: Rows, top: int, column: str) -> int:
    """96 unless a well lies beyond it."""
    at = [cells.text(cell) for cell in rows[top]].index(column)
    for row in rows[top + 1 :]:
        try:
            canonical_well(cells.text(row[at]) if len(row) > at else "A1", 96)
        except InstrumentError:
            if re.fullmatch(r"[A-Pa-p][0-9]{1,2}", cells.text(row[at])):
                return 384
    return 96


def _tasks(header: Sequence[Cell], body: Rows, roles: dict[str, str]) -> list[str]:
    """Words of the task column that are not known."""
    if "task" not in roles:
        return []
    at = [cells.text(cell) for cell in header].index(roles["task"])
    words = {cells.text(row[at]) for row in body if len(row) > at}
    return sorted(word for word in words if word and cells.task(word) == word)[:20]
