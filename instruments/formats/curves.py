"""Amplification tables in long form (one row per well, target and cycle) to curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from instruments.formats import cells
from instruments.model import Curve, CurveKind, canonical_well

if TYPE_CHECKING:
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
_KINDS: tuple[CurveKind, ...] = ("rn", "drn")


def floats(column: Sequence[Cell]) -> NDArray[np.float64]:
    """A column as numbers; thousands separators are removed, anything else that is none is NaN."""
    try:
        return np.array(list(map(float, column)), dtype=np.float64)
    except ValueError:
        values = (cells.number(cell, grouped=True) for cell in column)
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


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
    width = max(well, cycle, target, *(column for _, column in kinds)) + 1 if kinds else 0
    rows = [row for row in table.rows if len(row) >= width and any(row[column] != "" for _, column in kinds)]
    if not rows or not kinds:
        return ()
    columns = list(zip(*(row[:width] for row in rows), strict=True))
    cycles = floats(columns[cycle]).astype(np.int64)
    cycles.flags.writeable = False
    curves: dict[CurveKind, list[Curve]] = {kind: [] for kind, _ in kinds}
    values = {kind: _frozen(floats(columns[column])) for kind, column in kinds}
    for (place, name), where in _groups(columns[well], columns[target]).items():
        at = canonical_well(cells.text(place), block)
        label = cells.text(name)
        for kind, found in curves.items():
            picked = _picked(cycles, values[kind], where)
            found.append(Curve(at, label, dyes.get((at, label), ""), kind, *picked))
    return tuple(curve for found in curves.values() for curve in found)


def _frozen(values: NDArray[np.float64]) -> NDArray[np.float64]:
    values.flags.writeable = False
    return values


def _groups(wells: Sequence[Cell], targets: Sequence[Cell]) -> dict[tuple[Cell, Cell], list[slice]]:
    """Where the rows of each (well, target) stand, as runs of rows."""
    groups: dict[tuple[Cell, Cell], list[slice]] = {}
    start = 0
    pairs = list(zip(wells, targets, strict=True))
    ends = [i for i in range(1, len(pairs)) if pairs[i] != pairs[i - 1]]
    for end in [*ends, len(pairs)]:
        groups.setdefault(pairs[start], []).append(slice(start, end))
        start = end
    return groups


def _picked(
    cycles: NDArray[np.int64], values: NDArray[np.float64], where: list[slice]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    if len(where) == 1 and not (np.diff(cycles[where[0]]) <= 0).any():
        return cycles[where[0]], values[where[0]]
    order = np.concatenate([np.arange(part.start, part.stop) for part in where])
    order = order[np.argsort(cycles[order], kind="stable")]
    return cycles[order], _frozen(values[order])
