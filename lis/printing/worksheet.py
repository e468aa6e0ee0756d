"""The work sheet of one plate: the grid as it lies on the bench."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from lis.printing import page
from lis.printing.page import GREY, INK, RULE, WHITE, Style, write
from lis.printing.typeface import printable
from lis.printing.views import SHAPES, PlateView, local_text, place_of
from lis.text import Language, check_language, parts, say

if TYPE_CHECKING:
    from fpdf import FPDF

LEFT, WIDTH = 12.0, 273.0
_TOP, _GRID_HIGH, _ROW_LABEL = 44.0, 132.0, 7.0
_QR = 24.0
_LETTERS = {"tube": "", "pool": "L", "mixed": "M", "control": "C"}
_CONTROL_TINT = (222, 226, 232)


class Cell(NamedTuple):
    """One filled well, placed on the paper."""

    x: float
    y: float
    wide: float
    high: float
    text: str
    tail: str
    kind: str
    batch: str


def as_worksheet(view: PlateView, language: Language = "both") -> bytes:
    """The plate on A4 landscape; the same view and language give the same bytes.

    Raises:
        Invalid: ``LANGUAGE``.
    """
    check_language(language)
    pdf = page.open_pdf(view, "landscape", view.plate_id, view.created_at)
    pdf.add_page()
    _head(pdf, view, language)
    _grid(pdf, view)
    for cell in _cells(view):
        _draw(pdf, cell)
    _foot(pdf, view, language)
    return bytes(pdf.output())


def tails(codes: list[str]) -> dict[str, str]:
    """The end of each code that a person reads aloud: four characters, or as many as tell codes apart."""
    shown: dict[str, str] = {}
    longest = max(map(len, codes), default=4)
    left = set(codes)
    for size in range(4, longest + 1):
        shared = Counter(code[-size:] for code in set(codes))
        alone = {code for code in left if shared[code[-size:]] == 1 or size == longest}
        shown |= {code: code[-size:] for code in alone}
        left -= alone
    return shown


def _head(pdf: FPDF, view: PlateView, language: Language) -> None:
    for number, title in enumerate(parts("sheet", language)):
        style = Style(10, GREY) if number else Style(16, bold=True)
        write(pdf, LEFT, 10 + 8 * number, 62, title, style)
    write(pdf, LEFT + 62, 10, 40, say("plate", language), Style(8.5, GREY))
    size = _fitting(pdf, view.plate_id, 60, 18)
    write(pdf, LEFT + 62, 14, 62, view.plate_id, Style(size, bold=True))
    facts = [
        (say("assay", language), view.assay),
        (say("template", language), f"{view.template}  ({view.size})"),
        (say("created", language), local_text(view.created_at, view.timezone)),
    ]
    inner = WIDTH - 160 - _QR - 8
    for number, (label, value) in enumerate(facts):
        y = 10 + 5.5 * number
        write(pdf, LEFT + 126, y, 34, label, Style(8.5, GREY))
        write(pdf, LEFT + 160, y, inner, value, Style(_fitting(pdf, value, inner, 9.5)))
    page.draw_qr(pdf, view.plate_id, LEFT + WIDTH - _QR, 9, _QR)


def _pitch(size: int) -> tuple[float, float]:
    rows, columns = SHAPES[size]
    return (WIDTH - _ROW_LABEL) / columns, _GRID_HIGH / rows


def _grid(pdf: FPDF, view: PlateView) -> None:
    rows, columns = SHAPES[view.size]
    wide, high = _pitch(view.size)
    style = Style(9, GREY, align="C")
    for column in range(columns):
        write(pdf, LEFT + _ROW_LABEL + column * wide, _TOP - 5.5, wide, str(column + 1), style)
    for row in range(rows):
        y = _TOP + row * high
        write(pdf, LEFT, y + high / 2 - page.height(1, 9) / 2, _ROW_LABEL, chr(ord("A") + row), style)
        for column in range(columns):
            pdf.set_draw_color(*RULE)
            pdf.set_line_width(0.15)
            pdf.rect(LEFT + _ROW_LABEL + column * wide, y, wide, high)


def _cells(view: PlateView) -> list[Cell]:
    wide, high = _pitch(view.size)
    short = tails([text for _, text, kind in view.wells if kind != "control"])
    batches = {
        place_of(well, view.size): str(number)
        for number, (_, wells) in enumerate(view.extraction_batches, start=1)
        for well in wells
    }
    cells = []
    for well, text, kind in view.wells:
        place = place_of(well, view.size)
        x, y = LEFT + _ROW_LABEL + place[1] * wide, _TOP + place[0] * high
        tail = text if kind == "control" else short[text]
        cells.append(Cell(x, y, wide, high, text, tail, kind, batches.get(place, "")))
    return cells


def _draw(pdf: FPDF, cell: Cell) -> None:
    """Big end of the code in the middle, the full code under it, kind at the left, batch at the right."""
    if cell.kind == "control":
        pdf.set_fill_color(*_CONTROL_TINT)
        pdf.set_draw_color(*INK)
        pdf.set_line_width(0.4)
        pdf.rect(cell.x + 0.3, cell.y + 0.3, cell.wide - 0.6, cell.high - 0.6, style="DF")
    mark = cell.high * 0.23
    _mark(pdf, cell.kind, cell.x + 0.7, cell.y + 0.7, mark)
    small = Style(mark * 1.7, GREY, align="R")
    write(pdf, cell.x, cell.y + 0.2, cell.wide - 0.7, cell.batch, small)
    size = _fitting(pdf, cell.tail, cell.wide - 1.2, cell.high * 0.82)
    middle = cell.y + cell.high * (0.6 if cell.kind == "control" else 0.52)
    style = Style(size, INK, bold=True, align="C")
    write(pdf, cell.x, middle - page.height(1, size) / 2, cell.wide, cell.tail, style)
    if cell.kind != "control":
        size = _fitting(pdf, cell.text, cell.wide - 1.0, cell.high * 0.42)
        y = cell.y + cell.high - page.height(1, size) - 0.2
        write(pdf, cell.x, y, cell.wide, cell.text, Style(size, GREY, align="C"))


def _fitting(pdf: FPDF, text: str, width: float, most: float) -> float:
    """The largest type size up to ``most`` at which ``text`` stays on one line of ``width``."""
    wide = page.width_of(pdf, printable(text), most)
    return most if wide <= width else most * width / wide * 0.999


def _mark(pdf: FPDF, kind: str, x: float, y: float, side: float) -> None:
    """Kind of a well as a shape with a letter: square L, ring M, diamond C; a single tube has none."""
    pdf.set_fill_color(*INK)
    half = side / 2
    if kind == "pool":
        pdf.rect(x, y, side, side, style="F")
    elif kind == "mixed":
        pdf.ellipse(x, y, side, side, style="F")
    elif kind == "control":
        pdf.polygon([(x + half, y), (x + side, y + half), (x + half, y + side), (x, y + half)], style="F")
    size = side * (1.3 if kind == "control" else 1.9)
    style = Style(size, WHITE, bold=True, align="C")
    write(pdf, x, y + half - page.height(1, size) / 2, side, _LETTERS[kind], style)


def _foot(pdf: FPDF, view: PlateView, language: Language) -> None:
    counts: Counter[str] = Counter(kind for _, _, kind in view.wells)
    counts["empty"] = view.size - len(view.wells)
    x, y = LEFT + _ROW_LABEL, _TOP + _GRID_HIGH + 2.5
    for kind in ("tube", "pool", "mixed", "control", "empty"):
        if kind in _LETTERS:
            _mark(pdf, kind, x, y + 0.3, 4)
        label = say(f"kind.{kind}", language, count=counts[kind])
        write(pdf, x + (5 if kind not in ("tube", "empty") else 0), y, 52, label, Style(8.5))
        x += 53
    batches = [
        say("batch", language, number=number, name=name, count=len(wells))
        for number, (name, wells) in enumerate(view.extraction_batches, start=1)
    ]
    _batches(pdf, y + 6, "    ".join(batches))
    for number, key in enumerate(("by", "checked", "when")):
        left = LEFT + _ROW_LABEL + number * 89
        write(pdf, left, 198, 36, say(key, language), Style(8.5, GREY))
        page.rule(pdf, left + 32, 203, 52, 0.3, INK)


def _batches(pdf: FPDF, y: float, listed: str) -> None:
    """The extraction batches, in type small enough to stay above the line for names."""
    inner, size = WIDTH - _ROW_LABEL, 8.0
    while page.height(len(page.fold(pdf, listed, inner, size)), size) > 197 - y:
        size *= 0.9
    write(pdf, LEFT + _ROW_LABEL, y, inner, listed, Style(size, GREY))
