"""Can the Cq of a file have come from the curves of the same file?

Applied Biosystems and Bio-Rad Cq are reproduced exactly from the exported curves, so a Cq that is not
was typed by a hand, copied from another well, or belongs to another curve. Where an instrument cannot
be reproduced exactly, a coarse comparison remains, with this package's own baseline.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from msgspec import Struct, structs

from instruments import calling_crossing as crossing
from instruments.calling import FLAT, SIGMOID, Upright
from instruments.calling_baseline import subtract_baseline
from instruments.checking import Key, Stack, paired, stacks, verdicts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from instruments.model import Curve, Reading, RunFile

    Floats = NDArray[np.float64]
    Read = Callable[[Floats, Floats, NDArray[np.int64]], Floats]

Verdict = Literal["agrees", "differs", "cq-on-flat", "curve-without-cq", "edited", "unchecked"]

FLAG = "INTEGRITY_"

_EXACT = 5e-5  # cycles; rounded exports reproduce to 5e-6, raw ones to 3e-9
_SLACK = 0.02  # for a well of an exactly reproduced target
_AT_THE_END = 0.1  # in the last cycles the vendor's cut window is unknown (0.074 seen)
_COARSE = 0.6  # own baseline, instrument's threshold: 0.32 at most over 3,425 curves
_BLIND = 2.0  # own baseline, and a threshold that only the claims themselves imply
_EVIDENCE, _SHARE = 3, 0.2  # so close a hit is no chance: so many of them make a method certain


class Checked(Struct, frozen=True):
    """What the curve says about one Cq.

    Attributes:
        key: (well, target, dye) of the reading.
        verdict: ``agrees``; ``differs`` by ``difference``; ``cq-on-flat``; ``curve-without-cq``;
            ``edited``: the file's other Cq of this target follow from its curves exactly, this one
            does not; ``unchecked``: no curve, left out by the operator, or Crt.
        cq: from the curve, by the way that comes nearest where several may; ``instrument_cq``: from
            the file.
        exact: whether the instrument's method was reproduced on this target.
    """

    key: Key
    verdict: Verdict
    cq: float | None
    instrument_cq: float | None
    exact: bool

    @property
    def difference(self) -> float | None:
        """Instrument minus curve, in cycles."""
        if self.cq is None or self.instrument_cq is None:
            return None
        return self.instrument_cq - self.cq

    @property
    def flag(self) -> str:
        """The flag that keeps the well from automatic release, "" if nothing speaks against it."""
        if self.verdict in {"agrees", "unchecked"}:
            return ""
        by = "" if self.difference is None else f" {self.difference:+.1f}"
        return f"{FLAG}{self.verdict.replace('-', '_').upper()}{by}"


def check(run: RunFile) -> tuple[Checked, ...]:
    """Compare every reading of a run with its curve, in the order of the readings.

    A way of calling that reproduces one target of the run exactly is the way of its instrument, and
    holds for the other targets too where the file gives their thresholds.
    """
    return _checked(run, stacks(run), paired(run))


def _checked(run: RunFile, piles: Sequence[Stack], matched: Mapping[Key, Reading]) -> tuple[Checked, ...]:
    found: dict[Key, Checked] = {}
    if run.method != "crt":  # a relative threshold is not in the file: nothing to compare with
        groups = list(_groups(run, piles, matched))
        # As a rule the first way or the second reproduces every claim, and no other can do better.
        tried = [_attempts(group, whole=False) for group in groups]
        if not all(attempts[-1].exact(_proven(tried)) for attempts in tried):
            tried = [_attempts(group, whole=True) for group in groups]
        proven = _proven(tried)
        for group, attempts in zip(groups, tried, strict=True):
            found |= {one.key: one for one in _check_group(group, attempts, proven)}
    return tuple(
        found.get(r.key) or Checked(r.key, "unchecked", None, r.cq, exact=False) for r in run.readings
    )


def flags(run: RunFile) -> dict[Key, str]:
    """(well, target, dye) -> flag, for the readings that their curve contradicts."""
    return {one.key: one.flag for one in check(run) if one.flag}


def flagged(run: RunFile) -> RunFile:
    """The run with an integrity flag on every reading that its curve contradicts."""
    return _with_flags(run, flags(run))


def judged(run: RunFile) -> tuple[RunFile, dict[Key, str]]:
    """:func:`flagged` and :func:`instruments.checking.verdicts`, for which the curves are looked at once."""
    piles, matched = stacks(run), paired(run)
    found = {one.key: one.flag for one in _checked(run, piles, matched) if one.flag}
    return _with_flags(run, found), verdicts_of(piles, matched)


def _with_flags(run: RunFile, found: Mapping[Key, str]) -> RunFile:
    if not found:
        return run
    readings = [
        structs.replace(r, flags=(*r.flags, found[r.key])) if r.key in found else r for r in run.readings
    ]
    return replace(run, readings=tuple(readings))


@dataclass(frozen=True, eq=False)
class _Group:
    """The curves of one target with their readings and, where exported, their corrected curves."""

    kind: str
    readings: Sequence[Reading]
    corrected: Sequence[Curve | None]
    values: Floats
    first: int
    calls: Upright

    @cached_property
    def claimed(self) -> Floats:
        """Instrument Cq in columns, NaN where there is none."""
        return np.array([np.nan if r.cq is None else r.cq for r in self.readings]) - self.first


@dataclass(frozen=True, eq=False)
class _Attempt:
    """One way of calling.

    Attributes:
        cq: in columns; ``hits``: how many claims it reproduces; ``certain``: so many that it is proof.
        blind: the threshold is the one that the claims imply.
    """

    name: str
    cq: Floats
    hits: int
    certain: bool
    blind: bool

    def exact(self, proven: Collection[str]) -> bool:
        """Whether this is the way of the instrument, shown by this target or by another of the run."""
        return self.certain or (self.name in proven and not self.blind)


def _groups(run: RunFile, piles: Iterable[Stack], matched: Mapping[Key, Reading]) -> Iterator[_Group]:
    """The curves of a run by target, those that have a reading which counts."""
    corrected = {(c.well, c.target, c.dye): c for c in run.curves if c.kind == "drn"}
    for stack in piles:
        members: dict[str, list[int]] = defaultdict(list)
        for i, key in enumerate(stack.keys):
            if key in matched and "OMIT" not in matched[key].flags:
                members[key[1] or key[2]].append(i)
        for rows in members.values():
            calls = Upright(stack.upright.corrected[rows], stack.upright.verdict[rows])
            yield _Group(
                stack.curves[rows[0]].kind,
                [matched[stack.keys[i]] for i in rows],
                [corrected.get(stack.keys[i]) for i in rows],
                stack.values[rows],
                int(stack.cycles[0]),
                calls,
            )


def _check_group(group: _Group, attempts: Sequence[_Attempt], proven: set[str]) -> list[Checked]:
    best = max(attempts, key=lambda a: (a.exact(proven), a.hits))
    exact = best.exact(proven)
    used = best if exact else attempts[-1]
    # Where nothing is proven, a claim that any way of reading the file's own threshold supports may stand.
    ways = [used] if exact or used.blind else [a for a in attempts if not a.blind]
    called = np.stack([a.cq for a in ways])
    gaps = np.nan_to_num(np.abs(called - group.claimed), nan=np.inf)
    gap, nearest = gaps.min(axis=0), called[gaps.argmin(axis=0), np.arange(called.shape[1])]
    coarse = None if exact else _BLIND if used.blind else _COARSE
    limit = _limits(used.cq, group.values.shape[1], coarse=coarse)
    shown = np.where(gap <= limit, nearest, used.cq) + group.first
    own = [None if cq != cq else cq for cq in shown.tolist()]  # noqa: PLR0124 - NaN
    told = zip(group.readings, own, group.calls.verdict.tolist(), (gap <= limit).tolist(), strict=True)
    return [
        Checked(reading.key, _judge(cq, reading.cq, shape, near=near, exact=exact), cq, reading.cq, exact)
        for reading, cq, shape, near in told
    ]


def _attempts(group: _Group, *, whole: bool) -> list[_Attempt]:
    """Every way of calling the group, the last of them this package's own.

    Where not the ``whole`` is asked, up to the first that reproduces every claim.
    """
    usable = ~np.isnan(group.claimed) & (group.calls.verdict != FLAT)
    tried: list[_Attempt] = []
    for name, y, read in _ways(group):
        tried.append(_attempt(name, y, read, group, usable))
        if not whole and tried[-1].hits == np.count_nonzero(usable):
            break
    return tried


def _proven(tried: Iterable[Sequence[_Attempt]]) -> set[str]:
    """The ways that reproduce a target of the run at its own threshold."""
    return {a.name for attempts in tried for a in attempts if a.certain and not a.blind}


def _ways(group: _Group) -> Iterator[tuple[str, Floats, Read]]:
    """Corrected curves with the reading of a crossing, most certain first; own baseline last."""
    width = group.values.shape[1]
    delta = [d.values for d in group.corrected if d is not None and len(d.values) == width]
    if len(delta) == len(group.readings):
        yield "exported difference", np.array(delta), crossing.cubic
    windows = [r.baseline for r in group.readings]
    inside = all(w is not None and group.first <= w[0] < w[1] < group.first + width for w in windows)
    if group.kind == "rn" and inside:
        window = np.array(windows) - group.first
        yield "exported baseline", subtract_baseline(group.values, window), crossing.cubic
    yield "straight line", group.values, crossing.linear
    yield "own baseline", group.calls.corrected, crossing.cubic


def _attempt(name: str, y: Floats, read: Read, group: _Group, usable: NDArray[np.bool_]) -> _Attempt:
    claimed = group.claimed
    given = np.array([np.nan if r.threshold is None else r.threshold for r in group.readings])
    blind = bool(np.isnan(given).all())
    usual = _level(y, read, claimed, usable) if blind else float(np.nanmedian(given))
    limits = np.where(np.isnan(given), usual, given)
    cq = np.full(len(y), np.nan)
    if np.isfinite(limits).all():
        cq = read(y, limits, crossing.crossings(y, limits))
    hits = int((np.abs(cq - claimed) <= _EXACT)[usable].sum())
    certain = hits >= _EVIDENCE and hits >= _SHARE * int(usable.sum())
    return _Attempt(name, cq, hits, certain, blind)


def _level(y: Floats, read: Read, claimed: Floats, usable: NDArray[np.bool_]) -> float:
    """The threshold that the claims imply: the height of each curve at its claimed Cq, in the median.

    Only curves that rise speak; a Cq on a flat curve would put the threshold into the noise. The median
    of the linear heights is refined until reading at the threshold returns the median claim.
    """
    rows = np.flatnonzero(usable & (claimed > 0) & (claimed < y.shape[1] - 1))
    if not len(rows):
        return float("nan")
    c = claimed[rows].astype(np.int64)
    heights = y[rows, c] + (claimed[rows] - c) * (y[rows, c + 1] - y[rows, c])
    level = float(np.median(heights))
    if level <= 0 or read is crossing.linear:
        return level if level > 0 else float("nan")
    for _ in range(8):
        limits = np.full(len(rows), level)
        off = claimed[rows] - read(y[rows], limits, crossing.crossings(y[rows], limits))
        steep = y[rows, c + 1] - y[rows, c]
        level += float(np.nanmedian(off * steep)) if np.isfinite(off).any() else 0.0
        if level <= 0:
            return float("nan")
    return level


def _limits(cq: Floats, width: int, *, coarse: float | None) -> Floats:
    """How far apart claim and curve may lie, per well; ``coarse`` where nothing is reproduced exactly."""
    if coarse is not None:
        return np.full(len(cq), coarse)
    # In the first and last cycles the seven-point window is cut; the vendor's way is unknown.
    inside = (np.nan_to_num(cq) > 3) & (np.nan_to_num(cq) < width - 4)
    return np.where(inside, _SLACK, _AT_THE_END)


def _judge(own: float | None, claimed: float | None, shape: str, *, near: bool, exact: bool) -> Verdict:
    if claimed is None:
        return "curve-without-cq" if own is not None and shape == SIGMOID else "agrees"
    if near:
        return "agrees"
    if shape == FLAT:
        return "cq-on-flat"
    return "edited" if exact else "differs"
