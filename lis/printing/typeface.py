"""The font: Noto Sans SC (SIL OFL 1.1), opened once per process and cut down to the characters of a document.

Parsing and cutting the whole font of 30,000 characters costs half a second per document. So every
outline is taken out of it once, kept as a TrueType glyph, and each document gets a small font built from
the glyphs it needs. The packages that do it are read at the first document: they are a quarter of a
second of every command that opens a laboratory, and few print.
"""

from __future__ import annotations

import logging
from dataclasses import fields, is_dataclass
from functools import cache
from importlib.resources import as_file, files
from io import BytesIO
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

from lis import text

if TYPE_CHECKING:
    from fontTools.fontBuilder import FontBuilder  # type: ignore[import-untyped]
    from fontTools.ttLib import TTFont  # type: ignore[import-untyped]
    from fpdf import FPDF

FAMILY = "notosanssc"
REPLACEMENT = "〓"  # the printer's mark for a sort that is not in the case
_CURVE_ERROR = 1.0  # font units; the em is 1,000
_ASCII = "".join(map(chr, range(0x20, 0x7F)))
_MARKS = "−＋×、－"
_LOG = logging.getLogger(__name__)
_reading = Lock()


class Outline(NamedTuple):
    """One character of the font, compiled: what a glyph table and the limits of a font file need to know.

    Attributes:
        data: the TrueType glyph as it stands in the file.
        width: how far it advances, font units.
        box: xMin, yMin, xMax, yMax, font units.
        points: number of points.
        contours: number of contours.
    """

    data: bytes
    width: int
    box: tuple[int, int, int, int]
    points: int
    contours: int


def texts(value: object) -> list[str]:
    """All strings inside a view, however deep."""
    if isinstance(value, str):
        return [value]
    if is_dataclass(value):
        return [found for field in fields(value) for found in texts(getattr(value, field.name))]
    if isinstance(value, tuple):
        return [found for item in value for found in texts(item)]
    return []


def unprintable(view: object) -> tuple[str, ...]:
    """The characters of ``view`` that the font does not have, as ``U+20BB7``, sorted, each once."""
    known = _names()
    characters = {ord(ch) for found in texts(view) for ch in found if not ch.isspace()}
    return tuple(f"U+{code:04X}" for code in sorted(characters) if code not in known)


def printable(raw: str) -> str:
    """``raw`` with a visible mark for every character that the font lacks; any white space is a blank."""
    known = _names()
    return "".join(" " if ch.isspace() else ch if ord(ch) in known else REPLACEMENT for ch in raw)


def set_typeface(pdf: FPDF, view: object) -> None:
    """Give ``pdf`` a font with every character of ``view`` and of the wording table; log what is missing."""
    from fpdf.fonts import TTFFont

    lost = unprintable(view)
    if lost:
        _LOG.warning("a printed document shows %s in place of %s", REPLACEMENT, ", ".join(lost))
    wanted = text.alphabet().union(_ASCII, _MARKS, REPLACEMENT, *texts(view))
    file: Any = BytesIO(_small_font(set(printable("".join(wanted)))))  # fpdf2 opens a path or a file alike
    font = TTFFont(pdf, file, FAMILY, "")
    font.ttfont.recalcBBoxes = False  # they are right already; unpacking every glyph costs most of the time
    pdf.fonts[FAMILY] = font
    pdf.set_font(FAMILY, size=10)


def _small_font(characters: set[str]) -> bytes:
    """A TrueType font file with the given characters and nothing else."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.ttLib.tables._g_l_y_f import Glyph  # type: ignore[import-untyped]

    source = _source()
    outlines = {".notdef": _outline(REPLACEMENT)} | {
        f"u{ord(ch):05X}": _outline(ch) for ch in sorted(characters)
    }
    builder = FontBuilder(source["head"].unitsPerEm, isTTF=True)
    builder.font.recalcBBoxes = builder.font.recalcTimestamp = False
    builder.setupGlyphOrder(list(outlines))
    builder.setupCharacterMap({int(name[1:], 16): name for name in outlines if name != ".notdef"})
    builder.setupGlyf({}, calcGlyphBounds=False)
    builder.font["glyf"].glyphs = {name: Glyph(outline.data) for name, outline in outlines.items()}
    builder.setupHorizontalMetrics(
        {name: (outline.width, outline.box[0]) for name, outline in outlines.items()}
    )
    builder.setupHorizontalHeader(
        ascent=source["hhea"].ascent,
        descent=source["hhea"].descent,
        advanceWidthMax=max(outline.width for outline in outlines.values()),
    )
    builder.setupOS2(sCapHeight=source["OS/2"].sCapHeight)
    builder.setupNameTable({"fullName": "NotoSansSC-Regular", "psName": "NotoSansSC-Regular"})
    builder.setupPost(keepGlyphNames=False)
    _set_limits(builder, list(outlines.values()))
    written = BytesIO()
    builder.save(written)
    return written.getvalue()


def _set_limits(builder: FontBuilder, outlines: list[Outline]) -> None:
    """Write the bounding box and the largest glyph into the tables that announce them to a reader."""
    head, sides = builder.font["head"], list(zip(*(outline.box for outline in outlines), strict=True))
    head.created, head.modified = _source()["head"].created, _source()["head"].modified
    head.xMin, head.yMin, head.xMax, head.yMax = min(sides[0]), min(sides[1]), max(sides[2]), max(sides[3])
    builder.font["maxp"].maxPoints = max(outline.points for outline in outlines)
    builder.font["maxp"].maxContours = max(outline.contours for outline in outlines)


@cache
def _source() -> TTFont:
    """The whole font, in memory: no file stays open."""
    from fontTools.ttLib import TTFont

    with as_file(files("pylopdf_fonts_zh_cn") / "NotoSansSC-Regular.otf") as path:
        font = TTFont(BytesIO(path.read_bytes()), recalcTimestamp=False, lazy=True)
    for table in ("head", "hhea", "OS/2", "hmtx", "cmap"):
        font[table]  # read now, in one thread
    return font


@cache
def _names() -> dict[int, str]:
    """Character code -> name of its glyph in the whole font."""
    with _reading:
        return dict(_source().getBestCmap())


@cache
def _glyphs() -> Any:
    """The drawable glyphs of the whole font, by name."""
    return _source().getGlyphSet()


@cache
def _outline(character: str) -> Outline:
    from fontTools.pens.cu2quPen import Cu2QuPen  # type: ignore[import-untyped]
    from fontTools.pens.ttGlyphPen import TTGlyphPen  # type: ignore[import-untyped]
    from fontTools.ttLib import newTable

    source, name = _source(), _names()[ord(character)]
    with _reading:  # the outlines are decoded lazily, which two threads must not do at once
        pen = TTGlyphPen(None)
        _glyphs()[name].draw(Cu2QuPen(pen, _CURVE_ERROR, reverse_direction=True))
        width = source["hmtx"].metrics[name][0]
    glyph = pen.glyph()
    table = newTable("glyf")
    glyph.recalcBounds(table)
    box = (glyph.xMin, glyph.yMin, glyph.xMax, glyph.yMax)
    points = len(glyph.coordinates) if glyph.numberOfContours else 0
    return Outline(glyph.compile(table, recalcBBoxes=False), width, box, points, glyph.numberOfContours)
