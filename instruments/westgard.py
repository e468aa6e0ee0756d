"""Control charts: Westgard rules and Levey-Jennings series of control Cq, rates of invalid results.

The rules are those of Westgard, Barry, Hunt and Groth 1981 (Clin Chem 27:493) with mean and SD that
were set beforehand, never computed from the points judged. Limits are exceeded when a point lies
beyond them; a point on a limit is within.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite
from typing import TYPE_CHECKING, Final

from instruments.errors import InstrumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

REJECT: Final = ("1-3s", "2-2s", "R-4s", "4-1s", "10-x")
WARN: Final = ("1-2s", "3-1s", "7-T")


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that a series breaks.

    Attributes:
        rule: its name; ``rejects``: whether results are held, or people only warned.
        points: positions in the series, from 0, that break it; the last is where it was noticed.
    """

    rule: str
    rejects: bool
    points: tuple[int, ...]

    @property
    def at(self) -> int:
        """Position at which the rule was first broken by these points."""
        return self.points[-1]


def judge(values: Sequence[float], mean: float, sd: float) -> tuple[Violation, ...]:
    """Every violation in a series of control values in order of time, by point and then by rule.

    ``1-2s`` one point beyond 2 SD (warning). ``1-3s`` one beyond 3 SD. ``2-2s`` two in a row beyond
    2 SD on one side. ``R-4s`` of two in a row one beyond +2 SD and the other beyond −2 SD. ``4-1s``
    four in a row beyond 1 SD on one side. ``10-x`` ten in a row on one side of the mean. ``3-1s``
    three in a row beyond 1 SD on one side (warning). ``7-T`` seven in a row each higher, or each
    lower, than the one before (warning). A longer run is reported at each of its points.

    Raises:
        InstrumentError: BAD_CONTROL when the SD is not positive or a value is no number.
    """
    if not (sd > 0 and isfinite(sd) and isfinite(mean)) or not all(isfinite(value) for value in values):
        raise InstrumentError(
            "BAD_CONTROL",
            "Control values, mean and SD must be numbers, the SD positive. Check the target values.",
        )
    z = [(value - mean) / sd for value in values]
    found = []
    for at in range(len(z)):
        for rule, (length, broken) in _RULES.items():
            window = z[at - length + 1 : at + 1] if at + 1 >= length else []
            if window and broken(window):
                found.append(Violation(rule, rule in REJECT, tuple(range(at - length + 1, at + 1))))
    return tuple(found)


def _beyond(limit: float) -> Callable[[Sequence[float]], bool]:
    return lambda z: all(one > limit for one in z) or all(one < -limit for one in z)


def _range(z: Sequence[float]) -> bool:
    return max(z) > 2.0 and min(z) < -2.0


def _trend(z: Sequence[float]) -> bool:
    steps = [after - before for before, after in pairwise(z)]
    return all(step > 0 for step in steps) or all(step < 0 for step in steps)


_RULES: Final[dict[str, tuple[int, Callable[[Sequence[float]], bool]]]] = {
    "1-2s": (1, _beyond(2.0)),
    "1-3s": (1, _beyond(3.0)),
    "2-2s": (2, _beyond(2.0)),
    "R-4s": (2, _range),
    "3-1s": (3, _beyond(1.0)),
    "4-1s": (4, _beyond(1.0)),
    "7-T": (7, _trend),
    "10-x": (10, _beyond(0.0)),
}


LONGEST: Final = max(length for length, _ in _RULES.values())
"""Points that the longest rule looks at."""


# -- series ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ControlPoint:
    """One control value as it was measured.

    Attributes:
        at: aware time of the run; ``run``: its id.
        level: which control, ``PC`` or ``IC`` for example.
        value: Cq; None where the control gave none (an NTC should, a PC should not).
        covers: ids of the results that rest on this control.
    """

    at: datetime
    run: str
    instrument: str
    lot: str
    target: str
    level: str
    value: float | None
    covers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """Mean and SD that a control should have, set from at least 20 accepted runs."""

    mean: float
    sd: float


@dataclass(frozen=True, slots=True)
class Chart:
    """A Levey-Jennings chart: one control of one instrument, reagent lot and target, in order of time.

    Attributes:
        points: those with a value; ``missing``: those without, which no SD can judge.
        violations: by position in ``points``.
        held: results that a rejection covers.
    """

    instrument: str
    lot: str
    target: str
    level: str
    expected: Target
    points: tuple[ControlPoint, ...]
    missing: tuple[ControlPoint, ...]
    violations: tuple[Violation, ...]
    held: tuple[str, ...]

    @property
    def lines(self) -> dict[int, float]:
        """Height of the lines of the chart, from −3 to +3 SD."""
        return {k: self.expected.mean + k * self.expected.sd for k in range(-3, 4)}


def charts(
    points: Iterable[ControlPoint], expected: Callable[[ControlPoint], Target | None]
) -> tuple[Chart, ...]:
    """Levey-Jennings charts of control points, one per (instrument, lot, target, level), sorted.

    Args:
        points: in any order.
        expected: the target values for a point; None leaves its chart out, for a new lot has none
            until it was set. Asked once a chart, with its first point.
    """
    series: dict[tuple[str, str, str, str], list[ControlPoint]] = defaultdict(list)
    for point in points:
        series[point.instrument, point.lot, point.target, point.level].append(point)
    drawn = []
    for key, many in sorted(series.items()):
        ordered = sorted(many, key=lambda point: (point.at, point.run))
        target = expected(ordered[0])
        if target is not None:
            drawn.append(_chart(key, ordered, target))
    return tuple(drawn)


def _chart(key: tuple[str, str, str, str], ordered: Sequence[ControlPoint], target: Target) -> Chart:
    points = tuple(point for point in ordered if point.value is not None)
    violations = judge([point.value for point in points if point.value is not None], target.mean, target.sd)
    # The run at which a rule breaks is held; those before were judged and left when their day came.
    rejected = {violation.at for violation in violations if violation.rejects}
    held = dict.fromkeys(result for at in sorted(rejected) for result in points[at].covers)
    missing = tuple(point for point in ordered if point.value is None)
    return Chart(*key, target, points, missing, violations, tuple(held))
