"""The pipetting sheet of a pool plate: which tubes go into which pool, to tick off by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lis.printing import page
from lis.printing.page import GREY, INK, RULE, Style, write
from lis.printing.views import PoolBlock, PoolSheetView, local_text
from lis.text import Language, check_language, parts, say

if TYPE_CHECKING:
    from fpdf import FPDF

LEFT, WIDTH, GAP = 14.0, 182.0, 8.0
COLUMN = (WIDTH - GAP) / 2
_TOP, _NEXT_TOP, _BOTTOM = 52.0, 22.0, 268.0
_HEAD, _ROW, _AFTER = 9.0, 6.0, 4.0
_QR = 24.0
_BOX = 3.6


def as_pool_sheet(view: PoolSheetView, language: Language = "both") -> bytes:
    """The worklist on A4; the same view and language give the same bytes.

    Raises:
        Invalid: ``LANGUAGE``.
    """
    check_language(language)
    pdf = page.open_pdf(view, "portrait", view.worklist, view.made_at)
    pdf.add_page()
    _head(pdf, view, language)
    column, y = 0, _TOP
    for block in view.pools:
        high = _HEAD + _ROW * len(block.members)
        if y + high > _BOTTOM:
            column, y = column + 1, _NEXT_TOP if pdf.page > 1 else _TOP
            if column > 1:
                pdf.add_page()
                column, y = 0, _NEXT_TOP
        _block(pdf, view, block, (LEFT + column * (COLUMN + GAP), y), language)
        y += high + _AFTER
    _feet(pdf, view, language)
    return bytes(pdf.output())


def _head(pdf: FPDF, view: PoolSheetView, language: Language) -> None:
    write(pdf, LEFT, 10, WIDTH - _QR, view.laboratory, Style(9.5, GREY))
    for number, title in enumerate(parts("pool_sheet", language)):
        style = Style(10, GREY) if number else Style(16, bold=True)
        write(pdf, LEFT, 15 + 8 * number, 64, title, style)
    facts = [
        (say("worklist", language), view.worklist),
        (say("pools", language), str(len(view.pools))),
        (say("aliquot", language), say("microlitres", "en", volume=f"{view.volume_ul:g}")),
        (say("created", language), local_text(view.made_at, view.timezone)),
    ]
    for number, (label, value) in enumerate(facts):
        y = 14 + 5.5 * number
        write(pdf, LEFT + 66, y, 46, label, Style(8, GREY))
        write(pdf, LEFT + 112, y, 46, value, Style(8.5, bold=number == 0))
    page.draw_qr(pdf, view.worklist, LEFT + WIDTH - _QR, 9, _QR)
    y = 37.0
    for text in parts("pool_rule", language):
        y = write(pdf, LEFT, y, WIDTH, text, Style(8.5, GREY))


def _block(
    pdf: FPDF, view: PoolSheetView, block: PoolBlock, at: tuple[float, float], language: Language
) -> None:
    """A pool: its well in large letters, its code, and a box to tick for each tube."""
    x, y = at
    page.rule(pdf, x, y, COLUMN, 0.5, INK)
    write(pdf, x, y + 0.8, 16, block.well, Style(17, bold=True))
    write(pdf, x + 17, y + 0.8, COLUMN - 17, block.pool, Style(10.5, bold=True))
    volume = f"{len(block.members) * view.volume_ul:g}"
    count = say("pool_line", language, gap=" / ", count=len(block.members), volume=volume)
    write(pdf, x + 17, y + 5.0, COLUMN - 17, count, Style(7.5, GREY))
    for number, (tube, stands) in enumerate(block.members, start=1):
        top = y + _HEAD + _ROW * (number - 1)
        pdf.set_draw_color(*INK)
        pdf.set_line_width(0.25)
        pdf.rect(x + 1, top + 1, _BOX, _BOX)
        write(pdf, x + 6.5, top + 0.8, 6, str(number), Style(8, GREY))
        write(pdf, x + 12, top + 0.4, 44, tube, Style(10))
        write(pdf, x + 50, top + 0.8, COLUMN - 50, stands, Style(8.5, GREY, align="R"))
        page.rule(pdf, x, top + _ROW, COLUMN, 0.1, RULE)


def _feet(pdf: FPDF, view: PoolSheetView, language: Language) -> None:
    pages = len(pdf.pages)
    for number in range(1, pages + 1):
        pdf.page = number
        if number > 1:
            write(pdf, LEFT, 11, WIDTH, view.worklist, Style(10.5, bold=True))
        for place, key in enumerate(("by", "checked", "when")):
            left = LEFT + place * 61
            write(pdf, left, 276, 28, say(key, language), Style(8.5, GREY))
            page.rule(pdf, left + 27, 281, 31, 0.3, INK)
        said = say("page", language, page=number, pages=pages)
        write(pdf, LEFT, 286, WIDTH, said, Style(8, GREY, align="R"))
