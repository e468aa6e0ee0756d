"""The font: Noto Sans SC (SIL OFL 1.1), opened once per process and cut down to the characters of a document.

Parsing and cutting the whole font of 30,000 characters costs half a second per document. So every
outline is taken out of it once, kept as a TrueType glyph, and each document gets a small font built from
the glyphs it needs.
"""

from __future__ import annotations

import logging
from dataclasses import fields, is_dataclass
from functools import cache
from importlib.resources import as_file, files
from io import BytesIO
from threading import Lock
from typing import Any, NamedTuple

from fontTools.fontBuilder import FontBuilder
from fontTools.pens.cu2quPen import Cu2QuPen
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib import TTFont
from fpdf import FPDF
from fpdf.fonts import TTFFont

from lis import text

FAMILY = "notosanssc"
REPLACEMENT = "〓"  # the printer's mark for a sort that is not in the case
_CURVE_ERROR = 1.0  # font units; the em is 1,000
_ASCII = "".join(map(chr, range(0x20, 0x7F)))
_MARKS = "−＋×？、－"
_LOG = logging.getLogger(__name__)
_reading = Lock()


class Outline(NamedTuple):
    """One character: its TrueType glyph and its width in font units."""

    glyph: Any
    width: int


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
    lost = unprintable(view)
    if lost:
        _LOG.warning("a printed document shows %s in place of %s", REPLACEMENT, ", ".join(lost))
    wanted = _ASCII + _MARKS + REPLACEMENT + text.alphabet() + "".join(texts(view))
    pdf.fonts[FAMILY] = TTFFont(pdf, BytesIO(_small_font(printable(wanted))), FAMILY, "")
    pdf.set_font(FAMILY, size=10)


def _small_font(characters: str) -> bytes:
    """A TrueType font file with the given characters and nothing else."""
    source = _source()
    outlines = {f"u{ord(ch):05X}": _outline(ch) for ch in sorted(set(characters))}
    order = [".notdef", *outlines]
    builder = FontBuilder(source["head"].unitsPerEm, isTTF=True)
    builder.setupGlyphOrder(order)
    builder.setupCharacterMap({int(name[1:], 16): name for name in outlines})
    glyphs = {".notdef": _outline(REPLACEMENT), **outlines}
    builder.setupGlyf({name: outline.glyph for name, outline in glyphs.items()})
    sides = builder.font["glyf"]
    builder.setupHorizontalMetrics({name: (glyphs[name].width, getattr(sides[name], "xMin", 0)) for name in order})
    builder.setupHorizontalHeader(ascent=source["hhea"].ascent, descent=source["hhea"].descent)
    builder.setupOS2(sCapHeight=source["OS/2"].sCapHeight)
    builder.setupNameTable({"fullName": "NotoSansSC-Regular", "psName": "NotoSansSC-Regular"})
    builder.setupPost(keepGlyphNames=True)
    builder.updateHead(created=source["head"].created, modified=source["head"].modified)
    builder.font.recalcTimestamp = False
    written = BytesIO()
    builder.save(written)
    return written.getvalue()


@cache
def _source() -> TTFont:
    """The whole font, in memory: no file stays open."""
    with as_file(files("pylopdf_fonts_zh_cn") / "NotoSansSC-Regular.otf") as path:
        return TTFont(BytesIO(path.read_bytes()), recalcTimestamp=False, lazy=True)


@cache
def _names() -> dict[int, str]:
    """Character code -> name of its glyph in the whole font."""
    with _reading:
        return dict(_source().getBestCmap())


@cache
def _outline(character: str) -> Outline:
    source = _source()
    with _reading:  # the font is decoded lazily, which two threads must not do at once
        name = _names()[ord(character)]
        width = source["hmtx"].metrics[name][0]
        pen = TTGlyphPen(None)
        source.getGlyphSet()[name].draw(Cu2QuPen(pen, _CURVE_ERROR, reverse_direction=True))
        return Outline(pen.glyph(), width)
