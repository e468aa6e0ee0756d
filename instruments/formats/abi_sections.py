"""An export of Applied Biosystems software taken apart: header keys, tables, and how each table ended."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from instruments.formats import cells
from instruments.model import FlagScope

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from instruments.formats.grid import Grid
    from instruments.formats.source import Cell


# Roles of columns and their names, folded (cells.fold), best first.
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "well": ("well position", "well"),
    "sample": ("sample name", "sample"),
    "target": ("target name", "target"),
    "task": ("task",),
    "dye": ("reporter",),
    "cq": ("cq", "ct", "crt"),
    "omit": ("omit",),
    "call": ("call",),
    "threshold": ("ct threshold", "cq threshold", "threshold"),
    "start": ("baseline start",),
    "end": ("baseline end",),
    "status": ("amp status",),
    "quality": ("result quality issues", "quality issue(s)"),
    "curve": ("curve quality",),
}
_UNSAID = frozenset({"", "NA", "N/A"})
_WELL = re.compile(r"[A-Pa-p]?[0-9]+(\.0+)?")
_BLOCK = re.compile(r"384|96")


@dataclass(frozen=True)
class Section:
    """A table: column names, rows of cells, the line of its first row, and how it ended.

    ``closed`` is true when something follows the table in the file (another section, a footer):
    then no cut can have taken rows off its end. ``grid`` stands in the place of rows where a long
    table of text has as many cells in each.
    """

    header: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    first_line: int
    closed: bool
    footer: tuple[str, ...] = ()
    grid: Grid | None = None

    def find(self, names: Iterable[str]) -> int | None:
        """Index of the first column among ``names`` (folded) that the table has."""
        return next((self._folded[name] for name in names if name in self._folded), None)

    @cached_property
    def _folded(self) -> dict[str, int]:
        """Folded column name -> its first place."""
        return {cells.fold(name): place for place, name in reversed(list(enumerate(self.header)))}

    @cached_property
    def flags(self) -> tuple[tuple[int, str, bool], ...]:
        """The software's quality flags: columns named in capitals that hold only Y, N or nothing.

        Each with its place, its name, and whether any row is flagged.
        """
        named = [(i, name.strip()) for i, name in enumerate(self.header) if name.strip().isupper()]
        found = []
        for index, name in named:
            values = {cells.text(cell) for cell in {row[index] for row in self.rows if len(row) > index}}
            if values and values <= {"Y", "N", ""}:
                found.append((index, name, "Y" in values))
        return tuple(found)


@dataclass(frozen=True)
class Export:
    """A file taken apart. ``proven`` is false for plain text, where a cut must be excluded by content."""

    format: str
    keys: Mapping[str, Cell]
    results: Section
    setup: Section | None = None
    amplification: Section | None = None
    calls: Section | None = None
    others: tuple[str, ...] = ()
    proven: bool = True
    faults: tuple[str, ...] = ()
    flags_scope: FlagScope = "target"

    @property
    def tables(self) -> tuple[tuple[str, Section], ...]:
        """The tables that the file has, by name."""
        named = (
            ("Results", self.results),
            ("Sample Setup", self.setup),
            ("Amplification Data", self.amplification),
            ("Target Call", self.calls),
        )
        return tuple((name, table) for name, table in named if table is not None)


def is_footer(row: Sequence[Cell]) -> bool:
    """Whether a row ends a table: blank, or a remark such as ``Endogenous Control | 18S``.

    Comparative Ct exports write such remarks under the last well, with or without a blank row
    between. A row for an unused well also has few cells, but it begins with a well.
    """
    filled = [cell for cell in row if cell != ""]
    return not filled or (
        len(filled) <= 2 and row[0] == filled[0] and not _WELL.fullmatch(cells.text(row[0]))
    )


def key_text(keys: Mapping[str, Cell], names: Iterable[str]) -> str:
    """First of the named header values that says anything; "NA" says nothing."""
    found = (cells.text(keys[name]) for name in names if name in keys)
    return next((value for value in found if value not in _UNSAID), "")


def block_of(keys: Mapping[str, Cell]) -> int:
    """Block size from ``Block Type`` ("384-Well Block", "96alum"), 0 when it is not said."""
    found = _BLOCK.search(cells.text(keys.get("Block Type", "")))
    return int(found[0]) if found else 0
