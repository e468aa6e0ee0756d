"""Ink on paper: lines that break in mixed script, shapes that mean something without colour, QR codes.

All lengths are millimetres from the top left corner, all type sizes points.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import segno

from lis.errors import Invalid
from lis.printing.typeface import FAMILY, printable, set_typeface

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fpdf import FPDF

Colour = tuple[int, int, int]
INK: Colour = (26, 32, 40)
GREY: Colour = (92, 102, 114)
RULE: Colour = (196, 202, 210)
WHITE: Colour = (255, 255, 255)
RESULT_INK: dict[str, Colour] = {
    "negative": (0, 98, 66),
    "positive": (168, 0, 36),
    "inconclusive": (140, 82, 0),
    "invalid": (70, 74, 84),
}
RESULT_TINT: dict[str, Colour] = {
    "negative": (236, 246, 241),
    "positive": (252, 237, 240),
    "inconclusive": (253, 245, 230),
    "invalid": (240, 241, 243),
}
MM_PER_POINT = 25.4 / 72
LEADING = 1.42
_ASCENT = (
    1.02  # of the type size: from the top of a line to its base line, so that the two scripts sit centred
)

# A line must not begin with closing punctuation nor end with an opening bracket. Everything from the CJK
# radicals on may be broken anywhere else; Latin words stay whole.
_UNIT = re.compile(r"\s+|[（《「“]*(?:[⺀-￯]|[^\s⺀-￯]+)[，。、；：？！）》」”〕／…]*")


class Style(NamedTuple):
    """How a text looks."""

    size: float = 10
    colour: Colour = INK
    bold: bool = False
    align: str = "L"


def open_pdf(view: object, orientation: str, title: str, created: datetime) -> FPDF:
    """An A4 document with the font for ``view`` and no page yet; ``created`` is its date."""
    from fpdf import FPDF  # here: see typeface

    pdf = FPDF(orientation=orientation, unit="mm", format="A4")
    pdf.set_auto_page_break(auto=False)
    pdf.set_creation_date(created.astimezone(UTC))
    pdf.set_title(printable(title))
    pdf.set_creator("nat-lis")
    pdf.set_lang("zh-CN")
    set_typeface(pdf, view)
    return pdf


def wrap(text: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """``text`` in lines no wider than ``width``, as ``measure`` measures; at least one line.

    ``measure`` must be additive: the font is set without kerning.
    """
    lines, line, used = [], "", 0.0
    for unit in _units(text, width, measure):
        wide = measure(unit)
        if line and used + wide > width and not unit.isspace():
            lines.append(line.rstrip())
            line, used = "", 0.0
        line, used = line + unit, used + wide
    return [*lines, line.rstrip()]


def _units(text: str, width: float, measure: Callable[[str], float]) -> Iterator[str]:
    for unit in _UNIT.findall(text.strip()):
        if measure(unit) <= width:
            yield unit
        else:
            yield from unit  # one word longer than the line breaks anywhere


def width_of(pdf: FPDF, text: str, size: float) -> float:
    """How wide printable ``text`` stands at ``size``."""
    widths: Any = pdf.fonts[FAMILY].cw  # in thousandths of the em, by character code
    return float(sum([widths[ord(ch)] for ch in text]) * size * MM_PER_POINT / 1000)


def fold(pdf: FPDF, text: str, width: float, size: float) -> list[str]:
    """The printable lines of ``text`` at ``size``."""
    shown = printable(text).strip()
    if width_of(pdf, shown, size) <= width:
        return [shown]
    return wrap(shown, width, lambda part: width_of(pdf, part, size))


def height(lines: int, size: float) -> float:
    """How high so many lines stand."""
    return lines * size * LEADING * MM_PER_POINT


def write(pdf: FPDF, x: float, y: float, width: float, text: str, style: Style) -> float:
    """Set ``text`` with its top at ``y`` between ``x`` and ``x + width``; return where it ends."""
    lines = fold(pdf, text, width, style.size)
    pdf.set_font(FAMILY, size=style.size)
    pdf.set_text_color(*style.colour)
    for number, line in enumerate(lines):
        slack = width - width_of(pdf, line, style.size)
        left = x + slack * {"L": 0.0, "C": 0.5, "R": 1.0}[style.align]
        base = y + height(number, style.size) + style.size * _ASCENT * MM_PER_POINT
        _ink(pdf, left, base, line, style)
    return y + height(len(lines), style.size)


def _ink(pdf: FPDF, x: float, base: float, line: str, style: Style) -> None:
    if not line:
        return
    if not style.bold:
        pdf.text(x, base, line)
        return
    from fpdf.enums import TextMode

    # The font has one weight; a hair line around the letters makes the other.
    with pdf.local_context(
        text_mode=TextMode.FILL_STROKE,
        line_width=style.size * 0.009,
        draw_color=style.colour,
        text_color=style.colour,
    ):
        pdf.text(x, base, line)


def rule(pdf: FPDF, x: float, y: float, width: float, weight: float = 0.2, colour: Colour = RULE) -> None:
    """A horizontal line."""
    pdf.set_draw_color(*colour)
    pdf.set_line_width(weight)
    pdf.line(x, y, x + width, y)


def result_mark(pdf: FPDF, result: str, x: float, y: float, side: float) -> None:
    """The sign of a result: its shape and its character tell it apart in black and white."""
    pdf.set_fill_color(*RESULT_INK[result])
    middle, bottom = x + side / 2, y + side
    if result == "negative":
        pdf.ellipse(x, y, side, side, style="F")
    elif result == "positive":
        pdf.polygon([(middle, y), (x + side, y + side / 2), (middle, bottom), (x, y + side / 2)], style="F")
    elif result == "inconclusive":
        pdf.polygon([(middle, y), (x + side, bottom), (x, bottom)], style="F")
    else:
        pdf.rect(x, y, side, side, style="F")
    sign = {"negative": "−", "positive": "＋", "inconclusive": "?", "invalid": "×"}[result]
    triangle = result == "inconclusive"  # it is wide only at its foot
    size, centre = (side * 1.3, y + side * 0.62) if triangle else (side * 1.7, y + side / 2)
    write(pdf, x, centre - height(1, size) / 2, side, sign, Style(size, WHITE, bold=True, align="C"))


def qr_runs(content: str) -> tuple[int, list[tuple[int, int, int]]]:
    """The QR code of ``content``: its side in modules, and its dark runs as (row, first column, length).

    Raises:
        Invalid: ``QR_TOO_LONG``.
    """
    try:
        matrix = segno.make(content, error="m", micro=False).matrix
    except segno.DataOverflowError as error:
        raise Invalid(
            "QR_TOO_LONG", f"{len(content)} characters do not fit a QR code. Shorten them."
        ) from error
    runs = [
        (number, found.start(), found.end() - found.start())
        for number, row in enumerate(matrix)
        for found in re.finditer("1+", "".join("1" if module else "0" for module in row))
    ]
    return len(matrix), runs


def draw_qr(pdf: FPDF, content: str, x: float, y: float, side: float) -> None:
    """The QR code of ``content`` in a square of ``side``, its quiet zone left to the paper around."""
    modules, runs = qr_runs(content)
    pdf.set_fill_color(0, 0, 0)
    unit = side / modules
    for row, column, length in runs:
        pdf.rect(x + column * unit, y + row * unit, length * unit, unit, style="F")
