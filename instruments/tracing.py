"""A run's curves as they are drawn: baseline taken off, with the threshold and both Cq of every reaction."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from instruments import integrity
from instruments.calling import call_curves
from instruments.checking import paired, stacks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from instruments.integrity import Checked
    from instruments.model import Curve, Reading, RunFile


@dataclass(frozen=True, eq=False)
class Trace:
    """One reaction as it is drawn.

    Attributes:
        well, target, dye: as the reading names them; as the curve does where it has no reading.
        first: cycle of the first value.
        values: fluorescence above the baseline, in the file's units, one value a cycle.
        threshold: where the curve is read, in the same units; None where the file gives none and no curve
            of the target amplifies.
        cq: called again from the curve; ``instrument_cq``: from the file. Cycles.
        verdict: of :class:`instruments.integrity.Checked`.
        shape: ``sigmoid``, ``flat`` or ``atypical``.
    """

    well: str
    target: str
    dye: str
    first: int
    values: NDArray[np.float64]
    threshold: float | None
    cq: float | None
    instrument_cq: float | None
    verdict: str
    shape: str


def traces(run: RunFile) -> tuple[Trace, ...]:
    """Every whole curve of a run, ready to be drawn.

    Exported corrected curves are drawn as they are; otherwise the baseline is the file's where it gives
    one for every curve of a target, else this package's own. The Cq called again is that of the integrity
    check, so screen and release rule speak of the same number.
    """
    matched = paired(run)
    corrected = {(c.well, c.target, c.dye): c for c in run.curves if c.kind == "drn"}
    checked = {one.key: one for one in integrity.check(run)}
    found: list[Trace] = []
    for stack in stacks(run):
        curves = stack.curves
        groups: dict[str, list[int]] = defaultdict(list)
        for i, curve in enumerate(curves):
            groups[curve.target or curve.dye].append(i)
        for rows in groups.values():
            own = [curves[i] for i in rows]
            readings = [matched.get((c.well, c.target, c.dye)) for c in own]
            given = [corrected.get((c.well, c.target, c.dye)) for c in own]
            found += _drawn(_Group(own, readings, given, stack.values[rows], stack.cycles), checked)
    return tuple(found)


@dataclass(frozen=True, eq=False)
class _Group:
    """The curves of one target, beside them their readings and exported corrected curves."""

    curves: Sequence[Curve]
    readings: Sequence[Reading | None]
    corrected: Sequence[Curve | None]
    values: NDArray[np.float64]
    cycles: NDArray[np.int64]


def _drawn(group: _Group, checked: dict[tuple[str, str, str], Checked]) -> Iterator[Trace]:
    limit = _given_threshold(group.readings)
    options: dict[str, Any] = {} if limit is None else {"threshold": limit}
    windows = [reading.baseline if reading else None for reading in group.readings]
    first, last = int(group.cycles[0]), int(group.cycles[-1])
    if all(w is not None and first <= w[0] < w[1] <= last for w in windows):
        options["baseline"] = windows
    method = "cfx" if group.curves[0].kind == "rfu" else "abi"
    calls = call_curves(group.values, group.cycles, method, **options)  # type: ignore[arg-type]
    exported = [c.values for c in group.corrected if c is not None and len(c.values) == len(group.cycles)]
    shown = np.array(exported) if len(exported) == len(group.curves) else calls.corrected
    for i, (curve, reading) in enumerate(zip(group.curves, group.readings, strict=True)):
        one = checked.get(reading.key) if reading else None
        level = limit if limit is not None else float(calls.threshold[i])
        yield Trace(
            well=reading.well if reading else curve.well,
            target=reading.target if reading else curve.target,
            dye=(reading.dye if reading else "") or curve.dye,
            first=first,
            values=shown[i],
            threshold=level if np.isfinite(level) else None,
            cq=one.cq if one else None,
            instrument_cq=reading.cq if reading else None,
            verdict=one.verdict if one else "unchecked",
            shape=str(calls.verdict[i]),
        )


def _given_threshold(readings: Sequence[Reading | None]) -> float | None:
    """The file's own threshold of a target, the middle one where its wells differ."""
    given = [one.threshold for one in readings if one is not None and one.threshold is not None]
    return float(np.median(given)) if given else None
