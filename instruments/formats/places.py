"""Well number and well position of one row: exports of Applied Biosystems write the same place twice."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from instruments.formats import cells
from instruments.remembering import remembered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from instruments.formats.abi_sections import Section
    from instruments.formats.source import Cell

_NUMBER = re.compile(r"([0-9]{1,4})(?:\.0+)?")
_POSITION = re.compile(r"([A-Pa-p])([0-9]{1,2})")
_WIDTHS = {96: (12,), 384: (24,)}
_ANY_WIDTH = (8, 12, 24)
"""Columns of blocks of 48, 96 and 384 wells, where the file does not say which it is."""


def contradictions(table: Section, block: int, what: str) -> list[str]:
    """The rows in which the number of the well is not its position, as one sentence; [] when there are none.

    Which of the two is the tube cannot be known, and a guess would be a swapped well: a file with such a
    row is not complete, and no confirmation makes it so. Numbers count from 1, row by row; a row that
    gives only one of the two contradicts nothing.

    Args:
        table: with the columns ``Well`` and ``Well Position``, or it is not looked at.
        block: wells of the block, 0 when the file does not say.
        what: name of the table.
    """
    number, position = table.find(("well",)), table.find(("well position",))
    if number is None or position is None:
        return []
    widths = _WIDTHS.get(block, _ANY_WIDTH)
    wrong = {pair for pair in _different(table, number, position) if _contradict(*pair, widths)}
    if not wrong:
        return []
    rows = [
        f"line {line}: well number {cells.text(pair[0])} is not position {cells.text(pair[1])}"
        for line, pair in enumerate(_pairs(table, number, position), table.first_line)
        if pair in wrong
    ]
    return [f"{what} names two wells in one row, so it was changed after its export ({cells.some(rows)})"]


def _pairs(table: Section, number: int, position: int) -> Iterator[tuple[Cell, Cell]]:
    """Number and position of every row; a row too short for both says nothing."""
    if table.grid is not None:
        return zip(table.grid.column(number), table.grid.column(position), strict=True)
    width = max(number, position) + 1
    return ((row[number], row[position]) if len(row) >= width else ("", "") for row in table.rows)


def _different(table: Section, number: int, position: int) -> set[tuple[Cell, Cell]]:
    """The pairs without their repetitions; in a long table the rows of a well stand together."""
    changes = None if table.grid is None else table.grid.changes([number, position])
    if table.grid is None or changes is None:
        return set(_pairs(table, number, position))
    return set(zip(table.grid.column(number, changes), table.grid.column(position, changes), strict=True))


@remembered(4096)
def _contradict(number: Cell, position: Cell, widths: tuple[int, ...]) -> bool:
    counted = _NUMBER.fullmatch(cells.text(number))
    named = _POSITION.fullmatch(cells.text(position))
    if not counted or not named:
        return False
    row, column = ord(named[1].upper()) - ord("A"), int(named[2])
    numbers = {row * width + column for width in widths if column <= width}
    return bool(numbers) and int(counted[1]) not in numbers  # none: no such well, which the readers refuse
