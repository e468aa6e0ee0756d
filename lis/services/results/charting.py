"""The control charts at the moment a run is read: its points, and what Westgard's rules say of them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from instruments.westgard import LONGEST, judge
from lis import queries
from lis.queries import Series

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lis.db import Unit
    from lis.matching import Measured
    from lis.services.results.shapes import Plate

INTERNAL: Final = "IC"
"""Level of the internal control: the median over the specimens of a run."""

UNJUDGED: Final = frozenset({"NTC"})
"""Controls that should measure nothing: their rare values make no series."""


@dataclass(frozen=True, slots=True)
class Charted:
    """The points of a run as rows, and the charts that reject it, in words (empty: none does)."""

    rows: tuple[dict[str, Any], ...]
    rejected: str


def chart(
    unit: Unit, plate: Plate, device: str, measured: Mapping[str, tuple[Measured, ...]], *, valid: bool
) -> Charted:
    """Judge the controls of a run by the values that a person set; without such values they are only kept.

    Points before the values were set do not count: they were judged by others, or made these.
    """
    instrument = plate.instrument or device
    expected = queries.targets_of(unit.conn, instrument, plate.assay.id, plate.lot)
    rows, rejected = [], []
    for (level, target), value in sorted(_medians(plate, measured).items()):
        series = Series(instrument, plate.assay.id, plate.lot, level, target)
        broken: list[str] = []
        if value is not None and series in expected and level not in UNJUDGED:
            wanted = expected[series]
            past = queries.values_since(unit.conn, series, wanted.set_at, LONGEST - 1)
            violations = [one for one in judge([*past, value], wanted.mean, wanted.sd) if one.at == len(past)]
            broken = [one.rule for one in violations]
            rejecting = [one.rule for one in violations if one.rejects]
            rejected += [f"{level} {target}: {', '.join(rejecting)}"] if rejecting else []
        row = {**series._asdict(), "at": unit.now, "value": value, "valid": valid}
        rows.append(row | {"broken": ",".join(broken)})
    return Charted(tuple(rows), "; ".join(rejected))


def _medians(
    plate: Plate, measured: Mapping[str, tuple[Measured, ...]]
) -> dict[tuple[str, str], float | None]:
    """(Level, target) -> median Cq of its wells; None where none of them came up."""
    internal = {target.name for target in plate.assay.targets if target.is_control}
    found: dict[tuple[str, str], list[float | None]] = defaultdict(list)
    for well in plate.wells:
        for one in measured[well.well]:
            if one.omitted:
                continue
            if well.control:
                found[well.control, one.target].append(one.cq)
            elif one.target in internal:
                found[INTERNAL, one.target].append(one.cq)
    return {key: _median(values) for key, values in found.items()}


def _median(values: list[float | None]) -> float | None:
    seen = [value for value in values if value is not None]
    return median(seen) if seen else None
