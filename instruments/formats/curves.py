"""Amplification tables in long form (one row per well, target and cycle) to curves."""

from __future__ import annotations

from operator import ne, or_
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from instruments.errors import InstrumentError
from instruments.formats import cells
from instruments.model import Curve, CurveKind, canonical_well

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from instruments.formats.abi import Section
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


def _cycles(column: Sequence[Cell]) -> NDArray[np.int64]:
    """A column of cycles, which are numbers or the curves cannot be put together.

    Raises:
        InstrumentError: BAD_CELL.
    """
    values = floats(column)
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
    columns = _filled(table, [well, cycle, target], [column for _, column in kinds])
    if not columns:
        return ()
    cycles = _frozen(_cycles(columns[cycle]))
    falls = np.append(np.diff(cycles) <= 0, False)
    values = {kind: _frozen(floats(columns[column])) for kind, column in kinds}
    curves: dict[CurveKind, list[Curve]] = {kind: [] for kind, _ in kinds}
    for (place, name), where in _groups(columns[well], columns[target], falls).items():
        at = canonical_well(cells.text(place), block)
        label = cells.text(name)
        dye = dyes.get((at, label), "")
        rows = _rows(cycles, falls, where)
        for kind, found in curves.items():
            found.append(Curve(at, label, dye, kind, _frozen(cycles[rows]), _frozen(values[kind][rows])))
    return tuple(curve for found in curves.values() for curve in found)


def _filled(table: Section, names: list[int], values: list[int]) -> dict[int, Sequence[Cell]]:
    """Columns of the rows that hold any value; {} when there are none."""
    if not values or not table.rows:
        return {}
    needed = sorted({*names, *values})
    width = needed[-1] + 1
    if table.columns is not None:
        columns: Sequence[Sequence[Cell]] = table.columns
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


def _groups(
    wells: Sequence[Cell], targets: Sequence[Cell], falls: NDArray[np.bool_]
) -> dict[tuple[Cell, Cell], list[slice]]:
    """Where the rows of each (well, target) stand, as runs of rows."""
    groups: dict[tuple[Cell, Cell], list[slice]] = {}
    for start, end in _runs(wells, targets, falls):
        groups.setdefault((wells[start], targets[start]), []).append(slice(start, end))
    return groups


def _runs(wells: Sequence[Cell], targets: Sequence[Cell], falls: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Stretches of rows of one well and target; as a rule one ends where the cycles begin anew."""
    likely = [*(np.flatnonzero(falls[:-1]) + 1).tolist(), len(wells)]
    runs = list(zip([0, *likely[:-1]], likely, strict=True))
    if all(
        wells[start:end].count(wells[start]) == targets[start:end].count(targets[start]) == end - start
        for start, end in runs
    ):
        return runs
    changes = map(or_, map(ne, wells[1:], wells), map(ne, targets[1:], targets))
    ends = [*(i for i, changed in enumerate(changes, 1) if changed), len(wells)]
    return list(zip([0, *ends[:-1]], ends, strict=True))


def _rows(
    cycles: NDArray[np.int64], falls: NDArray[np.bool_], where: list[slice]
) -> slice | NDArray[np.int64]:
    """Rows of one curve in order of cycle; a slice when they already stand so."""
    if len(where) == 1 and not falls[where[0].start : where[0].stop - 1].any():
        return where[0]
    rows = np.concatenate([np.arange(part.start, part.stop) for part in where])
    ordered: NDArray[np.int64] = rows[np.argsort(cycles[rows], kind="stable")]
    return ordered
