"""A long table of plain text as one array of bytes: numbers and repeated names without a string a cell.

The amplification table of a 384-well plate has a quarter of a million cells. Here they stay bytes; a
column becomes numbers, or is compared row by row, in a few passes over an array. What is not plainly
written is left to the readers of single cells, so that nothing is understood here that they would not
understand the same way.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Bools = NDArray[np.bool_]
    Floats = NDArray[np.float64]

_TAB, _FEED, _MINUS, _DOT, _ZERO = b"\t\n-.0"
_WORD: Final = 8
_WIDEST: Final = 64
"""Bytes of a cell that is looked at here; a wider one is left to others."""

_DIGITS: Final = 15
"""So many digits are a whole number that a double holds, and its quotient by a power of ten is rounded
once: the very number that ``float`` reads."""


class Grid:
    """Rows of equally many cells.

    Attributes:
        height: how many rows.
        width: cells in each.
    """

    def __init__(self, data: bytes, width: int, ends: NDArray[np.int64]) -> None:
        self.width = width
        self.height = len(ends) // width
        self._data = data
        # Zeros before the first cell, so that a window of the widest cell that ends there begins somewhere.
        self._bytes = np.frombuffer(bytes(_WIDEST) + data, dtype=np.uint8)
        self._ends = ends.reshape(self.height, width)
        starts = np.empty_like(ends)
        starts[0], starts[1:] = 0, ends[:-1] + 1
        self._starts = starts.reshape(self.height, width)

    def column(self, column: int, rows: NDArray[np.int64] | None = None) -> list[str]:
        """The cells of a column, in all rows or in these."""
        places = slice(None) if rows is None else rows
        starts, ends = self._starts[places, column].tolist(), self._ends[places, column].tolist()
        return [self._data[a:b].decode() for a, b in zip(starts, ends, strict=True)]

    def changes(self, columns: Sequence[int]) -> NDArray[np.int64] | None:
        """Rows in which any of these columns is not what it was in the row above, the first row among them.

        None where a cell is too wide.
        """
        changed = np.zeros(self.height, dtype=np.bool_)
        changed[0] = True
        for column in columns:
            cells = self._cells(column)
            if cells is None:
                return None
            for word in cells.view(np.uint64).T:
                changed[1:] |= word[1:] != word[:-1]
        return np.flatnonzero(changed)

    def numbers(self, column: int) -> Floats | None:
        """A column of plain numbers (``-12.345``), each as ``float`` reads it; None for any other column."""
        cells = self._cells(column, fill=_ZERO)
        if cells is None:
            return None
        starts = self._starts[:, column]
        lengths = self._ends[:, column] - starts
        minus = self._bytes[starts + _WIDEST] == _MINUS
        dashes = cells == _MINUS
        if np.count_nonzero(dashes) != np.count_nonzero(minus):
            return None
        cells[dashes] = _ZERO
        cells, lengths = cells[:, _unused(lengths) :], lengths - minus
        values = np.empty(self.height)
        for place, rows in _by_dot(cells):
            found = _plain(cells[rows], place, int(lengths[rows].min()))
            if found is None:
                return None
            values[rows] = found
        return np.where(minus, -values, values)

    def _cells(self, column: int, fill: int = 0) -> Bytes | None:
        """The cells of a column, each at the right end of its row behind ``fill``; None if one is too wide.

        A cell holds no zero byte, so rows filled with zeros are equal where cells are. Rows are whole words.
        """
        ends = self._ends[:, column]
        lengths = ends - self._starts[:, column]
        widest = int(lengths.max())
        if widest > _WIDEST:
            return None
        room = -(-max(widest, 1) // _WORD) * _WORD
        windows = np.lib.stride_tricks.sliding_window_view(self._bytes, room)
        found: Bytes = windows[ends + _WIDEST - room]
        inside = np.tri(room + 1, room, -1, dtype=np.bool_)[:, ::-1]
        words: NDArray[np.uint64] = found.view(np.uint64)
        words &= _words(np.where(inside, 0xFF, 0)).take(lengths, axis=0)
        if fill:
            words |= _words(np.where(inside, 0, fill)).take(lengths, axis=0)
        return found


def _unused(lengths: NDArray[np.int64]) -> int:
    """Leading bytes of the words that no cell of these lengths reaches."""
    return -max(int(lengths.max()), 1) % _WORD


def _by_dot(cells: Bytes) -> Iterator[tuple[int, slice | Bools]]:
    """Digits behind the dot (-1 without one), and the rows written so: as a rule all of a column."""
    dots = cells == _DOT
    count, place = np.count_nonzero(dots), int(dots[0, ::-1].argmax())
    if not count or (count == len(cells) and dots[:, -1 - place].all()):
        yield place if count else -1, slice(None)
        return
    places = np.where(dots.any(axis=1), dots[:, ::-1].argmax(axis=1), -1)
    for one in set(places.tolist()):
        yield one, places == one


def _words(table: NDArray[np.int64]) -> NDArray[np.uint64]:
    return np.ascontiguousarray(table, dtype=np.uint8).view(np.uint64)


def _plain(cells: Bytes, place: int, shortest: int) -> Floats | None:
    """Numbers whose dots have ``place`` digits behind them, -1 for none at all; None if one is no number.

    Args:
        cells: digits and the dot, zeros before them.
        place: digits behind the dot.
        shortest: bytes of the shortest number: there is a digit on either side of the dot.
    """
    digits = cells - np.uint8(_ZERO)
    dot = cells.shape[1] - 1 - place
    found: Floats
    if place < 0:
        found = digits @ _powers(dot)
        return found if shortest > 0 and digits.max() <= 9 and dot <= _DIGITS else None
    whole, part = digits[:, :dot], digits[:, dot + 1 :]
    if not place or shortest < place + 2 or dot + place > _DIGITS or max(whole.max(), part.max()) > 9:
        return None
    scale = 10.0**place
    found = (whole @ _powers(dot) * scale + part @ _powers(place)) / scale
    return found


@lru_cache(maxsize=2 * _DIGITS)
def _powers(digits: int) -> Floats:
    return np.array([10.0**power for power in range(digits - 1, -1, -1)])


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
    shape = raw[places].reshape(-1, width)
    if not (shape[:, -1] == _FEED).all() or not (shape[:, :-1] == _TAB).all():
        return None
    return Grid(data, width, places)
