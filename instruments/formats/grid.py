"""A long table of plain text as one array of bytes: numbers and repeated names without a string a cell.

The amplification table of a 384-well plate has a quarter of a million cells. Here they stay bytes; a
column becomes numbers, or is compared row by row, in a few passes over an array. What is not plainly
written is left to the readers of single cells, so that nothing is understood here that they would not
understand the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]
    Words = NDArray[np.uint64]
    Cells = list[Words]
    """A column of cells standing at the right: eight bytes of each row, then the eight left of them, and so
    on. The last letter of a word is its highest byte."""

_TAB, _FEED, _MINUS, _DOT = b"\t\n-."
_WORD: Final = 8
_WIDEST: Final = 64
"""Bytes of a cell that is looked at here; a wider one is left to others."""

_WIDEST_NUMBER: Final = 16
_EXACT: Final = 2.0**53
"""Whole numbers below this are doubles, and so are powers of ten up to the widest number: the quotient of two
is rounded once, and is the very number that ``float`` reads."""


def _all(byte: int) -> np.uint64:
    return np.uint64(int.from_bytes(bytes([byte] * _WORD), "little"))


_ZEROS, _HIGHEST, _BEYOND_NINE = _all(0x30), _all(0x80), _all(0x80 - 10)
_BYTE, _PAIR, _TOP = np.uint64(8), np.uint64(16), np.uint64(56)
_PAIRS: Final = np.uint64(0x000000FF_000000FF)
_FIRST, _SECOND = np.uint64(100 + (1_000_000 << 32)), np.uint64(1 + (10_000 << 32))
_MASKS: Final = np.array([(1 << 64) - (1 << 8 * (_WORD - n)) for n in range(_WORD + 1)], dtype=np.uint64)
"""The last ``n`` letters of a word, by ``n``."""


class Grid:
    """Rows of equally many cells.

    Attributes:
        height: how many rows.
        width: cells in each.
    """

    def __init__(self, data: bytes, width: int, ends: Ints) -> None:
        self.width = width
        self.height = len(ends) // width
        self._data = data
        # Room before the first cell, so that a window of the widest cell that ends there begins somewhere.
        padded = bytes(_WIDEST) + data
        self._bytes = np.frombuffer(padded, dtype=np.uint8)
        # Eight bytes from any place: the word that ends before a place begins _WIDEST - 8 bytes on.
        self._windows: Words = np.ndarray(len(data) + _WIDEST - _WORD + 1, "<u8", padded, strides=(1,))
        self._edges = np.empty(len(ends) + 1, dtype=np.int64)
        self._edges[0], self._edges[1:] = -1, ends

    def column(self, column: int, rows: Ints | None = None) -> list[str]:
        """The cells of a column, in all rows or in these."""
        starts, ends = self._span(column)
        if rows is not None:
            starts, ends = starts[rows], ends[rows]
        return [self._data[a:b].decode() for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]

    def changes(self, columns: Sequence[int]) -> Ints | None:
        """Rows in which any of these columns is not what it was in the row above, the first row among them.

        None where a cell is too wide.
        """
        changed = np.zeros(self.height, dtype=np.bool_)
        changed[0] = True
        for column in columns:
            starts, ends = self._span(column)
            lengths = ends - starts
            if lengths.max() > _WIDEST:
                return None
            # A cell holds no zero byte, so words filled up with zeros are equal where cells are.
            for word, mask in self._words(ends, lengths):
                letters = word & mask
                changed[1:] |= letters[1:] != letters[:-1]
        return np.flatnonzero(changed)

    def numbers(self, column: int) -> Floats | None:
        """A column of plain numbers (``-12.345``), each as ``float`` reads it; None for any other column."""
        starts, ends = self._span(column)
        minus = self._bytes[starts + _WIDEST] == _MINUS
        lengths = ends - starts - minus
        if not 0 < lengths.min() <= lengths.max() <= _WIDEST_NUMBER:
            return None
        cells = [word & mask | _ZEROS & ~mask for word, mask in self._words(ends, lengths)]
        values = np.empty(self.height)
        for place, rows in _by_dot(cells):
            found = _plain([word[rows] for word in cells], place, int(lengths[rows].min()))
            if found is None:
                return None
            values[rows] = found
        return np.negative(values, out=values, where=minus)

    def _span(self, column: int) -> tuple[Ints, Ints]:
        """Where the cells of a column start, and where they end."""
        return self._edges[column :: self.width][: self.height] + 1, self._edges[column + 1 :: self.width]

    def _words(self, ends: Ints, lengths: Ints) -> Iterator[tuple[Words, Words]]:
        """From the end of each cell, eight bytes at a time, with the mask of those that belong to it."""
        for done in range(0, int(lengths.max()), _WORD):
            word: Words = self._windows[ends + (_WIDEST - _WORD - done)]
            yield word, _MASKS.take(lengths - done, mode="clip")


def _by_dot(cells: Cells) -> Iterator[tuple[int, slice | Ints]]:
    """Digits behind the dot (-1 without one), and the rows written so: as a rule all of a column.

    Of several dots in a cell the last counts; the others are no digits.
    """
    first = b"".join(int(word[0]).to_bytes(_WORD, "little") for word in reversed(cells))
    usual = len(first) - 1 - first.rfind(b".") if b"." in first else -1
    if usual >= 0:
        whole = bool(_dots(cells, usual).all())
    else:
        whole = not any((word.view(np.uint8) == _DOT).any() for word in cells)
    if whole:
        yield usual, slice(None)
        return
    left = np.ones(len(cells[0]), dtype=np.bool_)
    for place in range(len(cells) * _WORD):
        dots = _dots(cells, place) & left
        if dots.any():
            yield place, np.flatnonzero(dots)
            left &= ~dots
    if left.any():
        yield -1, np.flatnonzero(left)


def _dots(cells: Cells, place: int) -> Bools:
    """The rows with a dot that has ``place`` letters behind it."""
    found: Bools = cells[place // _WORD] >> np.uint64(56 - 8 * (place % _WORD)) & np.uint64(0xFF) == _DOT
    return found


def _plain(cells: Cells, place: int, shortest: int) -> Floats | None:
    """Numbers whose dots have ``place`` digits behind them, -1 for none at all; None if one is no number.

    Args:
        cells: digits and the dot, zeros before them.
        place: digits behind the dot.
        shortest: bytes of the shortest number: there is a digit on either side of the dot.
    """
    if not place or shortest < place + 2:
        return None
    whole = np.zeros(len(cells[0]))
    for word, scale in zip(_closed_up(cells, place) if place > 0 else cells, (1.0, 1e8), strict=False):
        found = _eight_digits(word)
        if found is None:
            return None
        whole += found * scale
    if whole.max() >= _EXACT:
        return None
    return whole / 10.0**place if place > 0 else whole


def _closed_up(cells: Cells, place: int) -> Cells:
    """The cells without the dot that is ``place`` letters before their end, all before it moved up."""
    moved, dotted, shift = list(cells), place // _WORD, 56 - 8 * (place % _WORD)
    word, before = cells[dotted], np.uint64((1 << shift) - 1)
    behind = np.uint64((1 << 64) - (1 << shift + 8))
    moved[dotted] = word & behind | (word & before) << _BYTE
    for at in range(dotted, len(cells)):
        if at > dotted:
            moved[at] = cells[at] << _BYTE
        moved[at] |= cells[at + 1] >> _TOP if at + 1 < len(cells) else np.uint64(0x30)
    return moved


def _eight_digits(word: Words) -> Floats | None:
    """The numbers that words of eight digits are; None where one has anything else in it.

    Neighbours are put together: digits to numbers of two, those to four, those to eight.
    """
    digits = word ^ _ZEROS
    # A byte of more than nine reaches the highest bit when 128 - 10 is added, or has it already.
    if np.bitwise_or.reduce(digits | digits + _BEYOND_NINE) & _HIGHEST:
        return None
    pairs = digits * np.uint64(10) + (digits >> _BYTE)
    eight = (pairs & _PAIRS) * _FIRST + (pairs >> _PAIR & _PAIRS) * _SECOND >> np.uint64(32)
    return eight.astype(np.float64)


def grid_of(text: str, newline: str, width: int) -> Grid | None:
    """A table of tab-separated cells whose every row has ``width`` of them, None for any other text.

    Args:
        text: the rows, each with its line end.
        newline: the line end of the file.
        width: how many cells a row has.
    """
    if newline != "\n" or "\r" in text:
        ends = text.count(newline)
        if any(text.count(one) != ends * newline.count(one) for one in "\r\n"):  # another line end in a cell
            return None
        text = text.replace(newline, "\n")
    try:
        data = text.encode()
    except UnicodeEncodeError:  # half a character: text that was no Unicode
        return None
    raw = np.frombuffer(data, dtype=np.uint8)
    places = np.flatnonzero(raw <= _FEED)
    if not len(places) or len(places) % width:
        return None
    edges = raw[places]
    feeds = np.count_nonzero(edges == _FEED)
    tabs = np.count_nonzero(edges == _TAB)
    if feeds * width != len(places) or feeds + tabs != len(places):
        return None
    if (edges[width - 1 :: width] != _FEED).any():
        return None
    return Grid(data, width, places)
