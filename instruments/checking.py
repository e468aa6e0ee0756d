"""A run's own curves against the run's own Cq: verdicts per reaction, and Cq called again.

Curves of one file are stacked and called at once. Where a file holds Rn and ΔRn of a reaction, Rn
is used, since ΔRn already rests on the instrument's baseline.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from instruments.calling import METHODS, CurveCalls, Method, call_curves

if TYPE_CHECKING:
    from instruments.model import Curve, Reading, RunFile

Key = tuple[str, str, str]
_RANK = {"rn": 0, "rfu": 1, "drn": 2}
_SHORTEST = 10  # cycles below which a curve says nothing: a run still going, or a pre-read


def stacks(run: RunFile) -> list[tuple[list[Curve], Any, Any]]:
    """The curves of a run in groups of equal cycles: (curves, values array, cycle numbers)."""
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
        values, cycles = np.stack([c.values for c in many]), np.stack([c.cycles for c in many])
        whole = np.isfinite(values).all(axis=1) & (np.diff(cycles, axis=1) == 1).all(axis=1)
        if whole.any():
            kept = [curve for curve, good in zip(many, whole, strict=True) if good]
            found.append((kept, values[whole], kept[0].cycles))
    return found


def verdicts(run: RunFile) -> dict[Key, str]:
    """(well, target, dye) -> ``sigmoid``, ``flat`` or ``atypical`` for every reaction with a whole curve.

    Under the curve's own names, and under those of its reading where they differ.
    """
    found: dict[Key, str] = {}
    matched = paired(run)
    for curves, values, cycles in stacks(run):
        calls = call_curves(values, cycles, "threshold")
        for curve, verdict in zip(curves, calls.verdict, strict=True):
            key = (curve.well, curve.target, curve.dye)
            found[key] = str(verdict)
            if key in matched:
                found[matched[key].key] = str(verdict)
    return found


def paired(run: RunFile) -> dict[Key, Reading]:
    """(well, target, dye) of a curve -> its reading.

    By the full key, else by well and dye, else by the well alone where it has one reading and one
    curve: some exports name a target otherwise on the results sheet than with the curves.
    """
    exact = {reading.key: reading for reading in run.readings}
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
    for curves, values, cycles in stacks(run):
        chosen: Method = method or ("cfx" if curves[0].kind == "rfu" else "abi")
        used.add(chosen)
        found = [matched.get((c.well, c.target, c.dye)) for c in curves]
        calls = _call(values, cycles, chosen, found, [c.target or c.dye for c in curves])
        for i, (curve, reading) in enumerate(zip(curves, found, strict=True)):
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
