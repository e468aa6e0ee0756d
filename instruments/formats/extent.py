"""How large the sheets of a workbook are, known before they are laid out in memory.

A spreadsheet reader lays a sheet out as a full rectangle: one cell far from the others, which a few
bytes can claim, costs more memory than any machine has, and ends the program rather than the reading.
So the places of the cells are read first, and a sheet that no run can fill is refused.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING
from xml.parsers import expat

from instruments.errors import InstrumentError
from instruments.formats import markup
from instruments.formats.container import ole_streams

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from instruments.formats.source import Source

# 384 wells, six dyes, 60 cycles, a row each, of 40 columns: 5.5 million cells.
CELL_LIMIT = 6_000_000
ROW_LIMIT = 400_000
_CELL = re.compile(rb'<c r="([A-Z]{1,3})[0-9]')
_LONG = {n: re.compile(rb'<c r="[A-Z]{1,3}[0-9]{%d}' % (n + 1)) for n in (4, 5)}
_TWICE = re.compile(rb'<c [^<>]*\br="[^<>]*\br="')
_PREFIXED = re.compile(rb"<[^<>\s/:]+:c[\s/>]")
_PLACE = re.compile(r"([A-Za-z]*)([0-9]+)")


def _too_large(source: Source, what: str) -> InstrumentError:
    return InstrumentError(
        "TOO_LARGE",
        f"{what} claims more cells than any run has; the file is not opened. Export the results again.",
        file=source.name,
    )


def check_table(source: Source, rows: int, columns: int) -> None:
    """Refuse a table whose rows, filled up to the width of its column names, would fill the memory.

    Raises:
        InstrumentError: TOO_LARGE.
    """
    if rows * columns > CELL_LIMIT:
        raise _too_large(source, "A table")


# -- xlsx ------------------------------------------------------------------------------------------


def check_sheet(source: Source, sheet: str) -> None:
    """Refuse a sheet of an ``.xlsx`` whose cells lie too far from each other.

    Raises:
        InstrumentError: TOO_LARGE, or DAMAGED_FILE for a sheet whose XML is not well-formed.
    """
    for part in _parts(source, sheet):
        rows, columns = _shape(source, source.member(part))
        if rows > ROW_LIMIT or rows * columns > CELL_LIMIT:
            raise _too_large(source, f"The sheet '{sheet}'")


def _parts(source: Source, sheet: str) -> Sequence[str]:
    """The member that holds a sheet; all that could, where the workbook does not say which."""
    try:
        book = markup.document(source.name, source.member("xl/workbook.xml"))
        links = markup.document(source.name, source.member("xl/_rels/workbook.xml.rels"))
    except InstrumentError:
        return source.members
    listed = [one for one in book.iter() if markup.tag(one) == "sheet" and one.get("name") == sheet]
    keys = {value for one in listed for name, value in one.items() if name.endswith("}id")}
    targets = [one.get("Target", "") for one in links if one.get("Id") in keys]
    places = [
        target.removeprefix("/") if target.startswith(("/", "xl/")) else f"xl/{target}" for target in targets
    ]
    return places if len(places) == 1 and places[0] in source.members else source.members


def _shape(source: Source, xml: bytes) -> tuple[int, int]:
    """Last row and last column of a sheet, or a little more, from the places its cells give."""
    begin, end = xml.find(b"<sheetData"), xml.rfind(b"</sheetData>")
    plain = 0 <= begin < end and xml.count(b"sheetData") == 2
    body = xml[begin + len(b"<sheetData") : end] if plain else xml
    columns = _CELL.findall(body)
    odd = len(columns) != body.count(b"<c") or (b":c" in body and _PREFIXED.search(body))
    if not plain or odd or _TWICE.search(body):  # of two places of one cell a lenient reader takes the last
        return _walked(source, xml)
    # So many digits and no more: the last row itself needs a list of all rows, which takes longer.
    digits = next((n for n in (4, 5) if not _LONG[n].search(body)), 9)
    last = max((_column(letters.decode()) for letters in set(columns)), default=0)
    return (10**digits - 1, last) if 10**digits * last < CELL_LIMIT else _walked(source, xml)


def _walked(source: Source, xml: bytes) -> tuple[int, int]:
    """The same for a sheet that names its cells another way, or not at all: place follows place."""
    if xml.count(b"<") > 4 * CELL_LIMIT or b"<!DOCTYPE" in xml:
        raise _too_large(source, "A sheet")
    here, most = [0, 0], [0, 0]

    def begin(name: str, attributes: dict[str, str]) -> None:
        kind = name.rpartition(":")[2]
        place = _PLACE.fullmatch(attributes.get("r", ""))
        if kind == "row":
            here[:] = [int(place[2][:9]) if place else here[0] + 1, 0]
        elif kind == "c":
            here[:] = [int(place[2][:9]), _column(place[1])] if place else [here[0], here[1] + 1]
            most[:] = [max(pair) for pair in zip(most, here, strict=True)]

    parser = expat.ParserCreate()
    parser.StartElementHandler = begin
    try:
        parser.Parse(xml, True)
    except expat.ExpatError as exc:
        raise InstrumentError(
            "DAMAGED_FILE",
            f"A sheet of the workbook is not well-formed ({exc}). Export it again.",
            file=source.name,
        ) from exc
    return most[0], most[1]


def _column(letters: str) -> int:
    """Column number from 1: A is 1, AA is 27."""
    number = 0
    for letter in letters[:7].upper():
        number = number * 26 + ord(letter) - 64
    return number


# -- xls -------------------------------------------------------------------------------------------

_STRINGS, _DIMENSIONS, _BEGIN = 0x00FC, 0x0200, 0x0809
# Records of one cell begin with its row and column ([MS-XLS] 2.5.13 Cell); those of several end with
# the last column.
_ONE = frozenset({0x0006, 0x0201, 0x0203, 0x0204, 0x0205, 0x027E, 0x00FD, 0x00D6})
_WIDEST = 256  # columns of a sheet of this format
_SEVERAL = frozenset({0x00BD, 0x00BE})
_MATTER = _ONE | _SEVERAL | {_STRINGS, _DIMENSIONS, _BEGIN}


def check_book(source: Source) -> None:
    """Refuse an ``.xls`` whose tables claim more than any run has: sheets, or the list of its texts.

    Source: [MS-XLS] 2.3 (records), 2.4.90 (Dimensions), 2.4.265 (SST).

    Raises:
        InstrumentError: TOO_LARGE, or DAMAGED_FILE for a stream that is no chain of records.
    """
    for stream in ole_streams(source.name, source.data, ("workbook", "book")):
        total, rows, columns = 0, 0, 0
        for kind, at, size in _records(source, stream):
            if kind == _BEGIN:
                total, rows, columns = total + rows * columns, 0, 0
            elif kind == _STRINGS and size >= 8:
                if struct.unpack_from("<I", stream, at + 4)[0] * 3 > len(stream):  # a text has three bytes
                    raise _too_large(source, "The list of texts of the workbook")
            elif (last := _last(kind, stream, at, size)) is not None:
                rows, columns = max(rows, last[0]), max(columns, last[1])
                if columns > _WIDEST or total + rows * columns > CELL_LIMIT:
                    raise _too_large(source, "A sheet")


def _last(kind: int, stream: bytes, at: int, size: int) -> tuple[int, int] | None:
    """Rows and columns that a record needs, None for one of no cell."""
    if kind in _ONE and size >= 4:
        row, column = struct.unpack_from("<HH", stream, at)
        return row + 1, column + 1
    if kind in _SEVERAL and size >= 6:
        row, first = struct.unpack_from("<HH", stream, at)
        return row + 1, max(first, struct.unpack_from("<H", stream, at + size - 2)[0]) + 1
    if kind == _DIMENSIONS and size >= 10:
        first, last, left, right = struct.unpack_from("<IIHH" if size >= 12 else "<HHHH", stream, at)
        backwards = first > last or left > right  # a reader that counts last less first gets billions
        return (CELL_LIMIT + 1, 1) if backwards else (last, right)
    return None


def _records(source: Source, stream: bytes) -> Iterator[tuple[int, int, int]]:
    """Kind, place and size of the records that matter here; the sizes of all must fit the stream."""
    at, end, unpack = 0, len(stream) - 3, struct.Struct("<HH").unpack_from
    while at < end:
        kind, size = unpack(stream, at)
        if kind in _MATTER and at + 4 + size <= len(stream):
            yield kind, at + 4, size
        at += 4 + size
    if at > len(stream):
        raise InstrumentError(
            "DAMAGED_FILE", "The workbook's records do not fit its length. Copy it again.", file=source.name
        )
