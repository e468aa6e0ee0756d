"""Labels of tubes, pools and plates: as SVG for a browser, as ZPL II for a label printer.

The code stands on a label twice where there is room: as Code 128 for wedge scanners, and as Data Matrix
for cameras and small caps. Beside it a person reads the code, and the few characters that go on the lid.
Data Matrix and Code 128 are encoded by zxing-cpp; the ZPL is our own, with every field escaped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal
from xml.sax.saxutils import escape

from lis.errors import Invalid

Kind = Literal["tube", "pool", "plate"]
Symbol = Literal["code128", "datamatrix", "both"]

QUIET: Final = 10
"""Modules of white that Code 128 needs at both ends (ISO/IEC 15417)."""

CODE: Final = re.compile(r"[A-Z0-9]{1,24}")
LID: Final = 5
"""Characters on the lid: the serial number just before the check digit, which differs among neighbours."""


@dataclass(frozen=True, slots=True)
class Label:
    """What one label says.

    Attributes:
        code: of the tube, pool or plate; letters and digits.
        lines: at most two short lines for people. Never a person's name: labels are thrown away.
    """

    code: str
    kind: Kind
    lines: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what no scanner of this laboratory could read back.

        Raises:
            Invalid: ``LABEL_CODE``.
        """
        if not CODE.fullmatch(self.code):
            raise Invalid(
                "LABEL_CODE", f"{self.code[:40]!r} cannot be a label: codes are capital letters and digits."
            )

    @property
    def lid(self) -> str:
        """The characters for the lid."""
        return self.code[-LID - 1 : -1] or self.code


@dataclass(frozen=True, slots=True)
class Stock:
    """A label of the roll: its size in millimetres, and which symbols it carries."""

    width_mm: float
    height_mm: float
    symbol: Symbol = "both"


@lru_cache(maxsize=512)
def modules(code: str, symbol: Literal["code128", "datamatrix"]) -> tuple[str, ...]:
    """The rows of a symbol, ``1`` for a dark module; one row for Code 128. Without quiet zone."""
    import numpy as np
    import zxingcpp

    form = zxingcpp.BarcodeFormat.Code128 if symbol == "code128" else zxingcpp.BarcodeFormat.DataMatrix
    drawn = np.asarray(zxingcpp.create_barcode(code, form).to_image(scale=1, add_quiet_zones=False))
    rows = drawn[:1] if symbol == "code128" else drawn
    return tuple("".join("0" if value else "1" for value in row) for row in rows)


# -- SVG -----------------------------------------------------------------------------------------


def as_svg(label: Label, stock: Stock) -> str:
    """The label as an SVG of its real size, black on white."""
    wide, high = stock.width_mm, stock.height_mm
    side = _matrix_side(stock)
    parts = [f'<rect width="{wide:g}" height="{high:g}" fill="#fff"/>']
    left = wide - (side + 2 if side else 1)
    text = 1 + high * (0.5 if stock.symbol != "datamatrix" else 0.05)
    if stock.symbol != "datamatrix":
        parts.append(_bars(label.code, 1.0, 1.0, left - 1, high * 0.5 - 1))
    size = min(high * 0.17, (left - 1) / (0.62 * len(label.code)))
    parts.append(_text(1.4, text + size, size, label.code, bold=True))
    for number, line in enumerate(label.lines[:2], 1):
        small = min(size * 0.85, (left - 1) / (0.62 * max(len(line), 1)))
        parts.append(_text(1.4, text + size * (1 + 1.15 * number), small, line))
    if side:
        parts.append(_matrix(label.code, wide - side - 1, 1.0, side))
        lid = min(high * 0.2, (side + 0.8) / (0.62 * len(label.lid)))
        parts.append(_text(wide - side - 1, 1 + side + lid * 1.15, lid, label.lid, bold=True))
    body = "".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide:g}mm" height="{high:g}mm" '
        f'viewBox="0 0 {wide:g} {high:g}" role="img" aria-label="{escape(label.code)}">{body}</svg>'
    )


def _matrix_side(stock: Stock) -> float:
    """Side of the Data Matrix in millimetres; 0 without one."""
    if stock.symbol == "code128":
        return 0.0
    return min(stock.height_mm * 0.62, stock.width_mm * (0.3 if stock.symbol == "both" else 0.45))


def _bars(code: str, x: float, y: float, wide: float, high: float) -> str:
    row = modules(code, "code128")[0]
    one = wide / (len(row) + 2 * QUIET)
    start = x + QUIET * one
    bars = ((start + bar.start() * one, len(bar.group()) * one) for bar in re.finditer("1+", row))
    path = "".join(f"M{at:.3f} {y:g}h{thick:.3f}v{high:g}h-{thick:.3f}z" for at, thick in bars)
    return f'<path d="{path}" shape-rendering="crispEdges"/>'


def _matrix(code: str, x: float, y: float, side: float) -> str:
    rows = modules(code, "datamatrix")
    one = side / (len(rows) + 2)  # its quiet zone is one module
    path = "".join(
        f"M{x + (1 + run.start()) * one:.3f} {y + (1 + number) * one:.3f}"
        f"h{len(run.group()) * one:.3f}v{one:.3f}h-{len(run.group()) * one:.3f}z"
        for number, row in enumerate(rows)
        for run in re.finditer("1+", row)
    )
    return f'<path d="{path}" shape-rendering="crispEdges"/>'


def _text(x: float, y: float, size: float, text: str, *, bold: bool = False) -> str:
    weight = ' font-weight="700"' if bold else ""
    return (
        f'<text x="{x:.2f}" y="{y:.2f}" font-size="{size:.2f}" '
        f'font-family="monospace"{weight}>{escape(text)}</text>'
    )


# -- ZPL II --------------------------------------------------------------------------------------

_PLAIN: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 -./,()")


def zpl_field(text: str) -> str:
    """``text`` as the data of a field after ``^FH``: everything that could be a command as UTF-8 in hex."""
    return "".join(chr(byte) if byte in _PLAIN else f"_{byte:02X}" for byte in text.encode())


def as_zpl(label: Label, stock: Stock, *, dpi: int, copies: int = 1, font: str = "") -> str:
    """The label as ZPL II.

    Args:
        label: what it says.
        stock: size of the label in the printer.
        dpi: dots per inch of the print head.
        copies: how many.
        font: a font file in the printer that has Chinese characters, such as ``E:SIMSUN.TTF``; without
            one, lines that need it are left out rather than printed as boxes.
    """
    dots = dpi / 25.4
    wide, high = round(stock.width_mm * dots), round(stock.height_mm * dots)
    margin, side = round(dots), round(_matrix_side(stock) * dots)
    left = wide - (side + 2 * margin if side else margin)
    lines = ["^XA", "^CI28", f"^PW{wide}", f"^LL{high}", "^LH0,0"]
    data = zpl_field(label.code)
    top = margin + (round(high * 0.5) if stock.symbol != "datamatrix" else 0)
    if stock.symbol != "datamatrix":
        row = modules(label.code, "code128")[0]
        one = max((left - margin) // (len(row) + 2 * QUIET), 1)
        place = margin + QUIET * one
        lines.append(f"^FO{place},{margin}^BY{one}^BCN,{round(high * 0.5) - margin},N,N,N,A^FH_^FD{data}^FS")
    size = min(round(high * 0.17), round((left - margin) / (0.62 * len(label.code))))
    lines.append(f"^FO{margin},{top}^A0N,{size},{size}^FH_^FD{data}^FS")
    for number, line in enumerate(label.lines[:2], 1):
        if line.isascii() or font:
            face = "^A0N" if line.isascii() else f"^A@N,{size},{size},{zpl_field(font).replace('_3A', ':')}"
            shown = f"{face},{size},{size}" if line.isascii() else face
            lines.append(f"^FO{margin},{top + round(size * 1.15 * number)}{shown}^FH_^FD{zpl_field(line)}^FS")
    if side:
        one = max(side // (len(modules(label.code, "datamatrix")) + 2), 1)
        lines.append(f"^FO{wide - side - margin + one},{margin + one}^BXN,{one},200^FH_^FD{data}^FS")
        lid = min(round(high * 0.2), round(side / (0.62 * len(label.lid))))
        lines.append(
            f"^FO{wide - side - margin},{margin + side}^A0N,{lid},{lid}^FH_^FD{zpl_field(label.lid)}^FS"
        )
    return "\n".join([*lines, f"^PQ{copies}", "^XZ", ""])
