"""The map of a plate: letter, shape and colour for every well, drawn as one SVG that stands alone.

The colours are those of Okabe and Ito, which men with any of the common colour blindnesses tell apart;
letter and shape say the same again. Colours are attributes of the drawing, so that an exported map
looks as it does on screen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lis.web.words import label, say

SHAPES: Final = {96: (8, 12), 384: (16, 24)}

SIGNS: Final = {
    "positive": ("P", "diamond"),
    "negative": ("N", "circle"),
    "borderline": ("B", "triangle"),
    "invalid": ("X", "cross"),
    "inconclusive": ("?", "triangle"),
}
"""Outcome -> letter and shape; colour alone tells nothing to one man in twelve."""

COLOURS: Final = {
    "positive": ("#d55e00", "#000"),
    "negative": ("#009e73", "#000"),
    "borderline": ("#e69f00", "#000"),
    "inconclusive": ("#e69f00", "#000"),
    "invalid": ("#cc79a7", "#000"),
    "filled": ("#0072b2", "#fff"),
    "pool": ("#56b4e9", "#000"),
    "mixed": ("#f0e442", "#000"),
    "control": ("#3d4a52", "#fff"),
    "empty": ("#fff", "#5a6b75"),
}
"""Tone of a well -> its colour, and that of the letter on it."""


@dataclass(frozen=True, slots=True)
class WellView:
    """One well as drawn; ``path`` is its outline, ``ink`` the colour of its letter."""

    well: str
    x: int
    y: int
    letter: str
    path: str
    tone: str
    fill: str
    ink: str
    lower: int
    title: str
    tube: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class PlateDrawing:
    """A plate as drawn; coordinates in units of the drawing."""

    size: int
    pitch: int
    width: int
    height: int
    rows: tuple[tuple[str, int], ...]
    columns: tuple[tuple[str, int], ...]
    wells: tuple[WellView, ...]
    entry: str


def draw_plate(
    size: int,
    wells: Iterable[Mapping[str, Any]],
    outcomes: Mapping[str, str],
    language: str,
    chosen: Iterable[str] = (),
) -> PlateDrawing:
    """The map of a plate.

    Args:
        size: 96 or 384.
        wells: ``well``, ``tube``, ``control`` of those that hold something; ``kind`` of the tube if known.
        outcomes: tube -> call of this plate, where there is one.
        language: of the titles.
        chosen: wells that are marked.
    """
    rows, columns = SHAPES[size]
    pitch = 44 if size == 96 else 24
    held = {well["well"]: well for well in wells}
    marked = set(chosen)
    drawn = []
    for row in range(rows):
        for column in range(columns):
            name = f"{chr(65 + row)}{column + 1}"
            place = (33 + column * pitch, 29 + row * pitch)
            drawn.append(_well(name, place, pitch - 6, held.get(name), outcomes, language, name in marked))
    entry = min(marked & set(held) or held or {"A1"}, key=_order)
    return PlateDrawing(
        size,
        pitch,
        34 + columns * pitch,
        30 + rows * pitch,
        tuple((chr(65 + row), 26 + row * pitch + pitch // 2) for row in range(rows)),
        tuple((str(column + 1), 30 + column * pitch + pitch // 2) for column in range(columns)),
        tuple(drawn),
        entry,
    )


def _order(well: str) -> tuple[int, str]:
    """Down the columns, as plates are filled."""
    return int(well[1:]), well[0]


def _well(
    name: str,
    place: tuple[int, int],
    side: int,
    well: Mapping[str, Any] | None,
    outcomes: Mapping[str, str],
    language: str,
    chosen: bool,
) -> WellView:
    letter, shape, tone, title, tube = _said(name, well, outcomes, language)
    fill, ink = COLOURS[tone]
    lower = side // 2 + (side // 9 if shape != "triangle" else side // 4)
    return WellView(name, *place, letter, outline(shape, side), tone, fill, ink, lower, title, tube, chosen)


def _said(
    name: str, well: Mapping[str, Any] | None, outcomes: Mapping[str, str], language: str
) -> tuple[str, str, str, str, str]:
    """Letter, shape, tone, title and tube of a well."""
    if well is None:
        return "", "circle", "empty", f"{name}: {say('plate.empty', language)}", ""
    if well["control"]:
        text = label("control", well["control"], language)
        return well["control"], "square", "control", f"{name}: {text}", ""
    tube = well["tube"]
    kind = well.get("kind") or ("pool" if tube.startswith("L") else "single")
    outcome = outcomes.get(tube, "")
    said = f" — {label('outcome', outcome, language)}" if outcome else ""
    plain = {"pool": ("L", "square", "pool"), "mixed": ("M", "square", "mixed")}
    letter, shape, tone = plain.get(kind, ("S", "circle", "filled"))
    if outcome:
        (letter, shape), tone = SIGNS.get(outcome, ("•", "circle")), outcome
    title = f"{name}: {tube} {label('kind', kind, language)}{said}"
    return letter, shape, tone if tone in COLOURS else "filled", title, tube


def outline(shape: str, side: int) -> str:
    """A shape in a square of ``side`` units, as the data of an SVG path."""
    half, quarter = side // 2, side // 4
    far = side - quarter
    if shape == "diamond":
        return f"M{half}-1L{side + 1} {half} {half} {side + 1}-1 {half}z"
    if shape == "triangle":
        return f"M{half}-1L{side + 1} {side}H-1z"
    if shape == "cross":
        return f"M{quarter} 0H{far}L{side} {quarter}V{far}L{far} {side}H{quarter}L0 {far}V{quarter}z"
    if shape == "square":
        return f"M2 0H{side - 2}L{side} 2V{side - 2}L{side - 2} {side}H2L0 {side - 2}V2z"
    return f"M0 {half}a{half} {half} 0 1 1 {2 * half} 0a{half} {half} 0 1 1-{2 * half} 0z"


def drawn_kinds(size: int) -> dict[str, dict[str, Any]]:
    """Kind of content -> how a script draws it on a map of this size: letter, outline and colours."""
    side = 38 if size == 96 else 18
    kinds = {"single": ("S", "circle", "filled"), "mixed": ("M", "square", "mixed")}
    kinds |= {"pool": ("L", "square", "pool"), "control": ("", "square", "control")}
    kinds |= {"empty": ("", "circle", "empty")}
    return {
        kind: {
            "letter": letter,
            "path": outline(shape, side),
            "fill": COLOURS[tone][0],
            "ink": COLOURS[tone][1],
            "lower": side // 2 + side // 9,
        }
        for kind, (letter, shape, tone) in kinds.items()
    }
