"""Rates of inconclusive and invalid results per lot, target and instrument, with control limits.

A bad lot of one primer shows as single-target signals long before anybody remarks on a single well: in
one study a lot made 82 % of all single-target results of its weeks.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import exp, factorial, sqrt
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Dimension = Literal["lot", "target", "instrument"]
_FALSE_ALARM = 0.00135  # the tail of a three-sigma limit
_FEW = 5.0  # expected events below which three sigma is not three sigma


@dataclass(frozen=True, slots=True)
class Counted:
    """One result: where it was made, and whether it was inconclusive or invalid (or single-target)."""

    lot: str
    target: str
    instrument: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Rate:
    """The failures of one lot, target or instrument against those of all the others.

    Attributes:
        name: of the lot, target or instrument; ``failed`` of ``tested`` results failed.
        expected: rate of all others together.
        limit: upper control limit of the rate; above it is not chance.
        share: part of all failures that this one made.
        high: whether the rate is above its limit.
    """

    dimension: Dimension
    name: str
    failed: int
    tested: int
    expected: float
    limit: float
    share: float
    high: bool

    @property
    def rate(self) -> float:
        """Failures over results."""
        return self.failed / self.tested


def rates(results: Iterable[Counted], dimension: Dimension) -> tuple[Rate, ...]:
    """Rates with p-chart limits, the worst first.

    Each is compared with the rate of all the others: one that makes most failures would lift a common
    limit above itself. Limit: p + 3 sqrt(p (1 − p) / n); with fewer than five failures expected the
    smallest count whose Poisson tail is below 0.00135, since three sigma of so few is no three sigma.
    """
    tested: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for result in results:
        name = getattr(result, dimension)
        tested[name] += 1
        failed[name] += result.failed
    return compared(dimension, tested, failed)


def compared(dimension: Dimension, tested: Counter[str], failed: Counter[str]) -> tuple[Rate, ...]:
    """The same from counts: name -> results, and name -> those of them that failed."""
    made = [_rate(dimension, name, failed, tested) for name in tested]
    return tuple(sorted(made, key=lambda rate: (not rate.high, -rate.rate, rate.name)))


def _rate(dimension: Dimension, name: str, failed: Counter[str], tested: Counter[str]) -> Rate:
    others, bad = tested.total() - tested[name], failed.total() - failed[name]
    # With half a failure added a clean past does not make the first failure a scandal.
    expected = (bad + 0.5) / (others + 1.0) if others else failed[name] / tested[name]
    limit = upper_limit(expected, tested[name])
    share = failed[name] / failed.total() if failed.total() else 0.0
    rate = failed[name] / tested[name]
    return Rate(dimension, name, failed[name], tested[name], expected, limit, share, rate > limit)


def upper_limit(expected: float, tested: int) -> float:
    """Highest rate among ``tested`` results that chance explains where ``expected`` is usual."""
    events = expected * tested
    if events >= _FEW:
        return min(expected + 3.0 * sqrt(expected * (1.0 - expected) / tested), 1.0)
    count, tail = 0, 1.0 - exp(-events)
    while tail > _FALSE_ALARM and count < tested:  # P(more than count)
        count += 1
        tail -= exp(-events) * events**count / factorial(count)
    return count / tested
