"""A run's own curves against the run's own Cq: verdicts per reaction, and Cq called again.

Curves of one file are stacked and called at once. Where a file holds Rn and ΔRn of a reaction, Rn
is used, since ΔRn already rests on the instrument's baseline.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from instruments.calling import METHODS, CurveCalls, Method, Upright, call_curves, upright

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from instruments.model import Curve, Reading, RunFile

    Floats = NDArray[np.float64]

Key = tuple[str, str, str]
_RANK = {"rn": 0, "rfu": 1, "drn": 2}
_SHORTEST = 10  # cycles below which a curve says nothing: a run still going, or a pre-read


@dataclass(frozen=True, eq=False)
class Stack:
    """Curves of equal cycles.

    Attributes:
        curves: as the file has them.
        values: curves x cycles.
        cycles: their numbers.
    """

    curves: list[Curve]
    values: Floats
    cycles: NDArray[np.int64]

    @cached_property
    def keys(self) -> list[Key]:
        """(well, target, dye) of each curve."""
        return [(curve.well, curve.target, curve.dye) for curve in self.curves]

    @cached_property
    def upright(self) -> Upright:
        """The curves on their own baselines, with the verdicts on their shapes."""
        return upright(self.values)


def stacks(run: RunFile) -> list[Stack]:
    """The curves of a run in groups of equal cycles; of several of one reaction the least processed."""
    best: dict[Key, Curve] = {}
    for curve in run.curves:
        key = (curve.well, curve.target, curve.dye)
        if key not in best or _RANK[curve.kind] < _RANK[best[key].kind]:
            best[key] = curve
    groups: dict[tuple[str, int, int], list[Curve]] = defaultdict(list)
    for curve in best.values():
        if len(curve.values) >= _SHORTEST:
            groups[curve.kind, int(curve.cycles[0]), len(curve.values)].append(curve)
    found = []
    for many in groups.values():
        values = _piled([c.values for c in many])
        cycles = _piled([c.cycles for c in many])
        whole = np.isfinite(values).all(axis=1) & (np.diff(cycles, axis=1) == 1).all(axis=1)
        if whole.all():
            found.append(Stack(many, values, many[0].cycles))
        elif whole.any():
            kept = [curve for curve, good in zip(many, whole, strict=True) if good]
            found.append(Stack(kept, values[whole], kept[0].cycles))
    return found


_Number = TypeVar("_Number", np.float64, np.int64)


def _piled(arrays: Sequence[NDArray[_Number]]) -> NDArray[_Number]:
    """Arrays of one length as the rows of one; many are put end to end faster than stacked."""
    return np.concatenate(arrays).reshape(len(arrays), -1)


def verdicts(run: RunFile) -> dict[Key, str]:
    """(well, target, dye) -> ``sigmoid``, ``flat`` or ``atypical`` for every reaction with a whole curve.

    Under the curve's own names, and under those of its reading where they differ.
    """
    return verdicts_of(stacks(run), paired(run))


def verdicts_of(piles: Iterable[Stack], matched: Mapping[Key, Reading]) -> dict[Key, str]:
    """The same for curves that were stacked and paired already."""
    found: dict[Key, str] = {}
    for stack in piles:
        for key, verdict in zip(stack.keys, stack.upright.verdict.tolist(), strict=True):
            found[key] = verdict
            if key in matched:
                found[matched[key].key] = verdict
    return found


def paired(run: RunFile) -> dict[Key, Reading]:
    """(well, target, dye) of a curve -> its reading.

    By the full key, else by well and dye, else by the well alone where it has one reading and one
    curve: some exports name a target otherwise on the results sheet than with the curves.
    """
    exact = {reading.key: reading for reading in run.readings}
    shown = dict.fromkeys((curve.well, curve.target, curve.dye) for curve in run.curves)
    if shown.keys() <= exact.keys():  # as a rule the names agree
        return {key: exact[key] for key in shown}
    by_dye = {(r.well, r.dye): r for r in run.readings if r.dye}
    readings: dict[str, set[Key]] = defaultdict(set)
    curves: dict[str, set[Key]] = defaultdict(set)
    for reading in run.readings:
        readings[reading.well].add(reading.key)
    for curve in run.curves:
        curves[curve.well].add((curve.well, curve.target, curve.dye))
    found = {}
    for well, keys in curves.items():
        for key in keys:
            reading_ = exact.get(key) or by_dye.get((well, key[2]))
            if reading_ is None and len(keys) == 1 and len(readings[well]) == 1:
                reading_ = exact[next(iter(readings[well]))]
            if reading_ is not None:
                found[key] = reading_
    return found


def call_run(run: RunFile, method: Method | None = None) -> dict[str, Any]:
    """Cq called from the curves of a run beside the instrument's: the document of ``lis call``.

    Given thresholds and baselines of the file are used where it has them; ``method`` defaults to the
    one of the instrument that drew the curves.
    """
    matched = paired(run)
    wells: list[dict[str, Any]] = []
    used: set[str] = set()
    thresholds: dict[str, float] = {}
    for stack in stacks(run):
        chosen: Method = method or ("cfx" if stack.curves[0].kind == "rfu" else "abi")
        used.add(chosen)
        found = [matched.get(key) for key in stack.keys]
        calls = _call(stack.values, stack.cycles, chosen, found, [c.target or c.dye for c in stack.curves])
        for i, (curve, reading) in enumerate(zip(stack.curves, found, strict=True)):
            thresholds.setdefault(curve.target or curve.dye, float(calls.threshold[i]))
            wells.append(_well(curve, reading, calls, i))
    return {
        "method": "+".join(name for name in METHODS if name in used),
        "threshold": thresholds,
        "wells": wells,
    }


def _call(
    values: Any, cycles: Any, method: Method, found: list[Reading | None], targets: list[str]
) -> CurveCalls:
    automatic = call_curves(values, cycles, method, targets=targets)
    limits = [
        r.threshold if r and r.threshold is not None else float(t)
        for r, t in zip(found, automatic.threshold, strict=True)
    ]
    if method != "abi":  # the other methods have their own baseline
        return call_curves(values, cycles, method, threshold=limits, targets=targets)
    windows = [
        r.baseline if r and r.baseline else tuple(w) for r, w in zip(found, automatic.baseline, strict=True)
    ]
    return call_curves(values, cycles, method, threshold=limits, baseline=windows)


def _well(curve: Curve, reading: Reading | None, calls: CurveCalls, i: int) -> dict[str, Any]:
    cq = _number(calls.cq[i])
    instrument = reading.cq if reading else None
    flags = list(reading.flags) if reading else []
    if reading and (cq is None) != (instrument is None):
        flags.append("CQ_WITHOUT_CURVE" if cq is None else "CURVE_WITHOUT_CQ")
    return {
        "well": curve.well,
        "target": curve.target,
        "dye": curve.dye,
        "cq": cq,
        "instrument_cq": instrument,
        "curve": str(calls.verdict[i]),
        "shape": str(calls.reason[i]),
        "efficiency": _number(calls.efficiency[i]),
        "flags": flags,
    }


def _number(value: Any) -> float | None:
    return None if np.isnan(value) else float(value)
