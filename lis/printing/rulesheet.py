"""The boundary sheet of an assay on paper, for the director's signature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lis.printing import page
from lis.printing.page import GREY, INK, RESULT_INK, Style, write
from retest.sheet import PARTS, boundary_sheet, cells, header

if TYPE_CHECKING:
    from datetime import datetime

    from fpdf import FPDF

    from retest import AssayRules

LEFT, WIDTH, TOP, BOTTOM = 12.0, 273.0, 36.0, 190.0
_SIZE = 8.0
_CALL_INK = RESULT_INK | {"borderline": RESULT_INK["inconclusive"]}
_SIDES = {"below": "below 低于", "at": "at 等于", "above": "above 高于", "": ""}
_TITLES = {
    "line": "No.",
    "part": "Part 部分",
    "tested": "Tested 检验项",
    "side": "Side 位置",
    "place": "Place 仪器/实验室",
    "call": "Call 判定",
    "rule": "Rule 规则",
    "next": "Next 下一步",
}
_WIDE = {"line": 8.0, "part": 29.0, "tested": 38.0, "side": 19.0, "call": 28.0, "rule": 38.0, "next": 34.0}
_SIGNING = (
    "I have compared every line with the instructions in force; these rules may be used.",
    "本人已逐行核对现行说明书，同意使用本规则。",
)


@dataclass(frozen=True, slots=True)
class _View:
    """Every text on the sheet, so that the font holds its characters."""

    title: str
    facts: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: tuple[str, ...]


def as_rulesheet(rules: AssayRules, created: datetime) -> bytes:
    """The sheet on A4 landscape in both languages; the same rules and time give the same bytes."""
    view = _view(rules)
    pdf = page.open_pdf(view, "landscape", f"{rules.id} {rules.version}", created)
    widths = _widths(view.columns)
    y = _new_page(pdf, view, widths)
    for number, row in enumerate(view.rows):
        high = _high(pdf, row, widths)
        if y + high > BOTTOM:
            y = _new_page(pdf, view, widths)
        y = _draw(pdf, y, row, widths, view.columns)
        if number + 1 < len(view.rows) and view.rows[number + 1][1:3] != row[1:3]:
            page.rule(pdf, LEFT, y, WIDTH)
    if y + 26 > BOTTOM:
        y = _new_page(pdf, view, widths)
    _sign(pdf, y + 6)
    _number_pages(pdf, rules)
    return bytes(pdf.output())


def _view(rules: AssayRules) -> _View:
    names = header(rules)
    keep = [i for i, name in enumerate(names) if name not in ("结果", "下一步")]
    rows = []
    for number, line in enumerate(boundary_sheet(rules), 1):
        row = dict(zip(names, cells(rules, number, line), strict=True))
        row["part"] = f"{row['part']} {PARTS[row['part']]}"
        row["side"] = _SIDES[row["side"]]
        row["call"] = f"{row['call']} {row['结果']}"
        row["next"] = f"{row['next']} {row['下一步']}"
        rows.append(tuple(row[names[i]] for i in keep))
    columns = tuple(names[i] for i in keep)
    if all(not row[4] for row in rows):  # one set of cutoffs for all places: no column for them
        columns = columns[:4] + columns[5:]
        rows = [row[:4] + row[5:] for row in rows]
    off = tuple(f"Switched off 已停用: {rule}: {reason}" for rule, reason in rules.off.items())
    facts = (f"{rules.id}  ·  version 版本 {rules.version}  ·  SHA-256 {rules.digest}", *off)
    words = (*_TITLES.values(), *_SIGNING, "Name 姓名 Signature 签名 Date 日期 Page 页")
    return _View(f"Boundary sheet 界值核对表: {rules.name}", facts, columns, tuple(rows), words)


def _widths(columns: tuple[str, ...]) -> tuple[float, ...]:
    """Fixed widths for words, the rest shared by the columns of readings."""
    free = [name for name in columns if name not in _WIDE]
    shared = (WIDTH - sum(_WIDE[name] for name in columns if name in _WIDE)) / len(free)
    return tuple(_WIDE.get(name, shared) for name in columns)


def _new_page(pdf: FPDF, view: _View, widths: tuple[float, ...]) -> float:
    pdf.add_page()
    y = write(pdf, LEFT, 10, WIDTH, view.title, Style(14, bold=True))
    for fact in view.facts:
        y = write(pdf, LEFT, y + 0.5, WIDTH, fact, Style(_SIZE, GREY))
    y += 3
    titles = tuple(_TITLES.get(name, name) for name in view.columns)
    high = _high(pdf, titles, widths)
    x = LEFT
    for title, wide in zip(titles, widths, strict=True):
        write(pdf, x, y, wide - 1, title, Style(_SIZE, GREY, bold=True))
        x += wide
    page.rule(pdf, LEFT, y + high, WIDTH, 0.4, INK)
    return y + high + 1


def _high(pdf: FPDF, row: tuple[str, ...], widths: tuple[float, ...]) -> float:
    lines = max(len(page.fold(pdf, cell, wide - 1, _SIZE)) for cell, wide in zip(row, widths, strict=True))
    return page.height(lines, _SIZE) + 0.8


def _draw(
    pdf: FPDF, y: float, row: tuple[str, ...], widths: tuple[float, ...], columns: tuple[str, ...]
) -> float:
    x = LEFT
    for name, cell, wide in zip(columns, row, widths, strict=True):
        style = Style(_SIZE, _CALL_INK[cell.split()[0]], bold=True) if name == "call" else Style(_SIZE)
        write(pdf, x, y + 0.4, wide - 1, cell, style)
        x += wide
    return y + _high(pdf, row, widths)


def _sign(pdf: FPDF, y: float) -> None:
    for number, sentence in enumerate(_SIGNING):
        write(pdf, LEFT, y + 5 * number, WIDTH, sentence, Style(9.5))
    for number, label in enumerate(("Name 姓名", "Signature 签名", "Date 日期")):
        left = LEFT + number * 92
        write(pdf, left, y + 14, 30, label, Style(8.5, GREY))
        page.rule(pdf, left + 28, y + 19, 56, 0.3, INK)


def _number_pages(pdf: FPDF, rules: AssayRules) -> None:
    total = pdf.page
    for number in range(1, total + 1):
        pdf.page = number
        said = f"{rules.id} {rules.version}    Page {number}/{total} 页"
        write(pdf, LEFT, 198, WIDTH, said, Style(_SIZE, GREY, align="R"))
    pdf.page = total
