"""Amplification tables in long form (one row per well, target and cycle) to curves."""

from __future__ import annotations

from bisect import bisect, bisect_left
from collections.abc import Sequence
from itertools import pairwise
from operator import ne, or_
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from instruments.errors import InstrumentError
from instruments.formats import cells
from instruments.model import Curve, CurveKind, canonical_well

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from instruments.formats.abi_sections import Section
    from instruments.formats.source import Cell

_NAMES: Mapping[str, tuple[str, ...]] = {
    "well": ("well position", "well"),
    "cycle": ("cycle number", "cycle"),
    "target": ("target name", "target"),
    "rn": ("rn",),
    "drn": ("delta rn", "drn"),
}
_MOST_CYCLES = 1000
_KINDS: tuple[CurveKind, ...] = ("rn", "drn")


def floats(column: Sequence[Cell]) -> NDArray[np.float64]:
    """A column as numbers; thousands separators are removed, anything else that is none is NaN."""
    try:
        return np.fromiter(map(float, column), np.float64, len(column))
    except ValueError:
        values = (cells.number(cell, grouped=True) for cell in column)
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _cycles(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """A column of cycles, which are numbers or the curves cannot be put together.

    Raises:
        InstrumentError: BAD_CELL.
    """
    if not (np.abs(values) < _MOST_CYCLES).all():  # false for NaN too
        raise InstrumentError(
            "BAD_CELL", "The amplification table has a cycle that is no number. Export the results again."
        )
    return values.astype(np.int64)


def curves_of(table: Section, block: int, dyes: Mapping[tuple[str, str], str]) -> tuple[Curve, ...]:
    """Curves of an amplification table, in its own order; empty wells have none.

    Rows of a well and target may stand together or apart; cycles are sorted. ``dyes`` gives the
    dye per (well, target) from the results, the table itself names none.
    """
    index = {role: table.find(names) for role, names in _NAMES.items()}
    well, cycle, target = index["well"], index["cycle"], index["target"]
    if well is None or cycle is None or target is None:
        return ()
    kinds = [(kind, column) for kind in _KINDS if (column := index[kind]) is not None]
    taken = _from_grid(table, well, cycle, target, kinds) or _from_rows(table, well, cycle, target, kinds)
    if taken is None:
        return ()
    cycles, values, groups = taken
    order = _Order(cycles, groups.values())
    curves: dict[CurveKind, list[Curve]] = {kind: [] for kind, _ in kinds}
    for (place, name), where in groups.items():
        at = canonical_well(cells.text(place), block)
        label = cells.text(name)
        dye = dyes.get((at, label), "")
        rows = order.rows(where)
        shared = _rows(cycles, rows)
        for kind, found in curves.items():
            found.append(Curve(at, label, dye, kind, shared, _rows(values[kind], rows)))
    return tuple(curve for found in curves.values() for curve in found)


_Named = Sequence[tuple[CurveKind, int]]
_Taken = tuple[
    "NDArray[np.int64]", dict[CurveKind, "NDArray[np.float64]"], dict[tuple["Cell", "Cell"], list[slice]]
]
"""Cycles, values of each kind, and where the rows of each (well, target) stand."""


def _from_grid(table: Section, well: int, cycle: int, target: int, kinds: _Named) -> _Taken | None:
    """The table where its numbers are plainly written in every row, None where any is not."""
    grid = table.grid
    if grid is None or not kinds:
        return None
    counted, starts = grid.numbers(cycle), grid.changes([well, target])
    found = {kind: grid.numbers(column) for kind, column in kinds}
    values = {kind: _frozen(one) for kind, one in found.items() if one is not None}
    if counted is None or starts is None or len(values) < len(kinds):
        return None
    groups: dict[tuple[Cell, Cell], list[slice]] = {}
    named = zip(grid.column(well, starts), grid.column(target, starts), strict=True)
    for name, (start, end) in zip(named, pairwise([*starts.tolist(), grid.height]), strict=True):
        groups.setdefault(name, []).append(slice(start, end))
    return _frozen(_cycles(counted)), values, groups


def _from_rows(table: Section, well: int, cycle: int, target: int, kinds: _Named) -> _Taken | None:
    """The table cell by cell, None where it has no value."""
    columns = _filled(table, [well, cycle, target], [column for _, column in kinds])
    if not columns:
        return None
    cycles = _frozen(_cycles(floats(columns[cycle])))
    values = {kind: _frozen(floats(columns[column])) for kind, column in kinds}
    return cycles, values, _groups(columns[well], columns[target])


def _filled(table: Section, names: list[int], values: list[int]) -> dict[int, Sequence[Cell]]:
    """Columns of the rows that hold any value; {} when there are none."""
    if not values:
        return {}
    needed = sorted({*names, *values})
    width = needed[-1] + 1
    if table.grid is not None:
        columns: Sequence[Sequence[Cell]] = [table.grid.column(i) for i in range(table.grid.width)]
    else:
        columns = list(zip(*(row[:width] for row in table.rows if len(row) >= width), strict=True))
    if not columns:
        return {}
    if all("" not in columns[value] for value in values):
        return {i: columns[i] for i in needed}
    kept = [i for i in range(len(columns[0])) if any(columns[value][i] != "" for value in values)]
    return {c: [columns[c][i] for i in kept] for c in needed} if kept else {}


_Array = TypeVar("_Array", bound="NDArray[np.generic]")


def _frozen(values: _Array) -> _Array:
    values.flags.writeable = False
    return values


def _rows(column: _Array, rows: slice | NDArray[np.int64]) -> _Array:
    """Rows of a frozen column; a stretch of it is frozen as it is."""
    found: Any = column[rows]
    return found if isinstance(rows, slice) else _frozen(found)  # type: ignore[no-any-return]


def _groups(wells: Sequence[Cell], targets: Sequence[Cell]) -> dict[tuple[Cell, Cell], list[slice]]:
    """Where the rows of each (well, target) stand, as stretches of rows."""
    changes = map(or_, map(ne, wells[1:], wells), map(ne, targets[1:], targets))
    starts = [0, *(i for i, changed in enumerate(changes, 1) if changed), len(wells)]
    groups: dict[tuple[Cell, Cell], list[slice]] = {}
    for start, end in pairwise(starts):
        groups.setdefault((wells[start], targets[start]), []).append(slice(start, end))
    return groups


class _Order:
    """Rows of the curves by cycle."""

    def __init__(self, cycles: NDArray[np.int64], groups: Iterable[list[slice]]) -> None:
        self._cycles = cycles
        falling = np.flatnonzero(np.diff(cycles) <= 0) + 1
        # As a rule the cycles fall only where the next curve begins.
        starts = {part.start for where in groups for part in where}
        self._inside = [row for row in falling.tolist() if row not in starts]

    def rows(self, where: list[slice]) -> slice | NDArray[np.int64]:
        """Rows of one curve in order of cycle; a slice when they already stand so."""
        start, stop = where[0].start, where[0].stop
        if len(where) == 1 and bisect(self._inside, start) == bisect_left(self._inside, stop):
            return where[0]
        rows = np.concatenate([np.arange(part.start, part.stop) for part in where])
        ordered: NDArray[np.int64] = rows[np.argsort(self._cycles[rows], kind="stable")]
        return ordered
