"""A whole rack at once: what a rack scanner wrote, position by position, and what is to be said of each.

A rack scanner cannot tell a rack from a smaller one: the size is chosen before, and a position that the rack
does not have refuses the whole file, for otherwise tubes would be left out without a word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from lis import barcodes
from lis.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SHAPES: Final[Mapping[int, tuple[int, int]]] = {24: (4, 6), 48: (6, 8), 96: (8, 12)}
"""Places of a rack -> its rows and columns."""

NOTHING: Final = frozenset({"", "-", "EMPTY", "NOTUBE", "NOTUBES", "NULL", "NONE"})
"""What rack scanners write for a place without a tube."""
UNREAD: Final = frozenset({"NOREAD", "NOCODE", "ERROR", "UNREADABLE", "?", "ERR", "FAIL", "UNDECODED"})
"""What rack scanners write for a tube whose code they could not read."""

_POSITION: Final = re.compile(r"([A-P])0*([1-9][0-9]?)")
_ANY_PLACE: Final = re.compile(r"[A-Z]0*[1-9][0-9]?")


class CellState(StrEnum):
    """What is to be said of one position of a rack."""

    GOOD = "good"
    REPEAT = "repeat"
    UNKNOWN = "unknown"
    WRONG = "wrong"
    EMPTY = "empty"
    UNREADABLE = "unreadable"
    DOUBLE = "double"


@dataclass(frozen=True, slots=True)
class Cell:
    """One position of a rack and the code read there: empty for no tube, ``?`` for a code not read."""

    position: str
    code: str = ""


@dataclass(frozen=True, slots=True)
class Rack:
    """What a rack scanner wrote: every position once, row by row; ``name`` if it named the rack."""

    cells: tuple[Cell, ...]
    name: str = ""


def positions(size: int) -> list[str]:
    """The positions of a rack, row by row.

    Raises:
        Invalid: ``RACK_SIZE``.
    """
    if size not in SHAPES:
        raise Invalid("RACK_SIZE", f"A rack has {', '.join(map(str, SHAPES))} places, not {size}.")
    rows, columns = SHAPES[size]
    return [f"{chr(65 + row)}{column + 1}" for row in range(rows) for column in range(columns)]


def read(text: str, size: int) -> Rack:
    """What a rack scanner wrote: lines of position and code, or of codes alone in order of positions.

    Fields may be parted by comma, semicolon or tab; a field before the position names the rack; a heading is
    passed over. Positions that are not named are empty.

    Raises:
        Invalid: ``RACK_FILE`` if there is no code in it, ``RACK_POSITION`` for a place the rack does not
            have, ``RACK_POSITION_TWICE``, ``RACK_TOO_MANY``.
    """
    lines = [_fields(line) for line in text.splitlines() if line.strip(" ,;\t\ufeff")]
    if any(_place_in(fields) is not None for fields in lines):
        read_at, names = _by_position(lines)
    else:
        read_at, names = _in_order(lines, positions(size)), set[str]()
    if not any(code for _, code in read_at):
        raise Invalid("RACK_FILE", "No code was found in it. Scan the rack again, or choose another file.")
    return Rack(laid_out(read_at, size).cells, names.pop() if len(names) == 1 else "")


def laid_out(read_at: Iterable[tuple[str, str]], size: int) -> Rack:
    """Codes read at positions as a rack of this size; positions that are not named are empty.

    Raises:
        Invalid: ``RACK_POSITION`` for a place the rack does not have, ``RACK_POSITION_TWICE``.
    """
    places = positions(size)
    found: dict[str, str] = {}
    for position, code in read_at:
        parts = _POSITION.fullmatch(position.strip().upper())
        place = f"{parts[1]}{parts[2]}" if parts else position.strip().upper()[:8]
        if place not in places:
            raise Invalid(
                "RACK_POSITION",
                f"A rack of {size} places has no position {place}. Choose the right size of rack and read "
                "it again; nothing was recorded.",
                position=place,
                size=str(size),
            )
        if place in found:
            raise Invalid(
                "RACK_POSITION_TWICE",
                f"Position {place} was read twice. Scan the rack again; nothing was recorded.",
                position=place,
            )
        found[place] = _meaning(barcodes.clean(code))
    return Rack(tuple(Cell(place, found.get(place, "")) for place in places))


def _fields(line: str) -> list[str]:
    return [barcodes.clean(field).strip("\"'").lstrip("\ufeff") for field in re.split(r"[,;\t]", line)]


def _place_in(fields: Sequence[str]) -> int | None:
    """Which field of a line is a position: the last that looks like one (racks may be named so too)."""
    found = [i for i, field in enumerate(fields[:-1]) if _ANY_PLACE.fullmatch(field.upper())]
    return found[-1] if found else None


def _by_position(lines: Sequence[Sequence[str]]) -> tuple[list[tuple[str, str]], set[str]]:
    found: list[tuple[str, str]] = []
    names: set[str] = set()
    for number, fields in enumerate(lines, 1):
        i = _place_in(fields)
        if i is not None:
            found.append((fields[i], _meaning(fields[i + 1])))
            names |= {field for field in fields[:i] if field}
        elif number > 1 or any(_is_code(field) for field in fields):  # else a heading
            raise Invalid(
                "RACK_LINE",
                f"Line {number} has no position and code. Nothing was recorded.",
                line=str(number),
            )
    return found, names


def _in_order(lines: Sequence[Sequence[str]], places: Sequence[str]) -> list[tuple[str, str]]:
    codes = [_meaning(field) for fields in lines for field in fields]
    if len(codes) > len(places):
        raise Invalid(
            "RACK_TOO_MANY",
            f"{len(codes)} codes do not fit a rack of {len(places)} places. Nothing was recorded.",
            size=str(len(places)),
        )
    return list(zip(places, codes, strict=False))


def _meaning(field: str) -> str:
    word = re.sub(r"[\s_.-]", "", field).upper()
    if word in NOTHING:
        return ""
    return "?" if word in UNREAD else field


def _is_code(field: str) -> bool:
    return any(pattern.regex.fullmatch(field) for pattern in barcodes.PATTERNS)


def doubles(cells: Iterable[Cell]) -> dict[str, tuple[str, ...]]:
    """Code -> the positions it was read at, of codes that were read at more than one."""
    where: dict[str, list[str]] = {}
    for cell in cells:
        code = barcodes.clean(cell.code)
        if code and code != "?":
            where.setdefault(code, []).append(cell.position)
    return {code: tuple(places) for code, places in where.items() if len(places) > 1}


def plain_state(cell: Cell, twice: Mapping[str, Sequence[str]]) -> CellState | None:
    """What can be said of a position without asking where its tube stands; None if that must be asked."""
    code = barcodes.clean(cell.code)
    if not code:
        return CellState.EMPTY
    if code in twice:
        return CellState.DOUBLE
    try:
        barcodes.parse(code, barcodes.TUBE, barcodes.POOL)
    except Invalid:
        return CellState.UNREADABLE
    return None


def state_of(outcome: str, code: str) -> CellState:
    """What the answer to a scan (its outcome and its code) says of the position."""
    if code in {"TUBE_UNKNOWN", "ALREADY_HELD"}:
        return CellState.UNKNOWN
    if code.startswith("BARCODE_"):
        return CellState.UNREADABLE
    if outcome in {"received", "stored"}:
        return CellState.GOOD
    return CellState.REPEAT if outcome == "repeat" else CellState.WRONG
