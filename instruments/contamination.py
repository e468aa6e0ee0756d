"""Positives that may have come from another well: beside a very strong one, or crowded together.

A splash or an aerosol carries all targets of its source in one proportion: 1 : 10,000 is 13.3 cycles
later. It reaches the wells beside, on the reaction plate or on the 96-well plate that a 384-well plate
was stamped from, or what was pipetted next. Chance puts positives side by side too; what is flagged is
tested again before it is released, and is no verdict.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

from instruments.model import BLOCKS, well_index

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Reason = Literal["beside", "source-plate", "extraction-order", "cluster"]

STRONG: Final = 22.0
"""Cq up to which a well can make its neighbours positive: 1 : 10,000 of it is still 35."""

_LATER = 8.0  # cycles, 1 : 250; less is not a splash but another specimen
_APART = 3.0  # by which the distances of several targets may differ: few copies scatter
_NEXT = 1  # places in the order of extraction that carry-over reaches
_CHANCE = 0.001  # of so many neighbouring pairs by accident
_CROWD = 3


class Signal(Struct, frozen=True):
    """One well: its viral targets with a Cq, and its place in the order of extraction if known."""

    well: str
    cq: Mapping[str, float]
    order: int | None = None


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Wells to test again, and why.

    Attributes:
        wells: the wells in doubt; ``source``: the strong well, "" for a cluster.
        later: cycles between source and the well, the least of its targets; None for a cluster.
    """

    reason: Reason
    wells: tuple[str, ...]
    source: str
    later: float | None


def suspicions(signals: Sequence[Signal], block: int, *, stamped: bool = False) -> tuple[Suspicion, ...]:
    """Every suspicion on a plate: first those with a source, then crowds.

    Args:
        signals: every tested well, those without a signal too: they say how rare positives are.
        block: 96 or 384.
        stamped: whether a 384-well plate was stamped from four 96-well plates, each on every second
            well of every second row.

    Raises:
        InstrumentError: BAD_WELL for a well the block does not have.
    """
    places = {signal.well: _place(signal.well, block) for signal in signals}
    positive = [signal for signal in signals if signal.cq]
    strong = [signal for signal in positive if min(signal.cq.values()) <= STRONG]
    found: list[Suspicion] = []
    for one in positive:
        candidates = []
        for source in strong:
            near = _near(one, source, places, stamped=stamped and block == 384)
            later = _later(one, source)
            if near is not None and later is not None:
                candidates.append(Suspicion(near, (one.well,), source.well, later))
        # One reason a well: its strongest neighbour is the likeliest source.
        found += sorted(candidates, key=lambda c: -(c.later or 0.0))[:1]
    return (*found, *_crowds(positive, len(signals), places))


def _place(well: str, block: int) -> tuple[int, int]:
    return divmod(well_index(well, block), BLOCKS[block][1])


def _near(
    one: Signal, source: Signal, places: Mapping[str, tuple[int, int]], *, stamped: bool
) -> Reason | None:
    if one.well == source.well:
        return None
    rows = places[one.well][0] - places[source.well][0]
    columns = places[one.well][1] - places[source.well][1]
    if max(abs(rows), abs(columns)) == 1:
        return "beside"
    if stamped and rows % 2 == 0 and columns % 2 == 0 and max(abs(rows), abs(columns)) == 2:
        return "source-plate"
    if one.order is not None and source.order is not None and 0 < one.order - source.order <= _NEXT:
        return "extraction-order"
    return None


def _later(one: Signal, source: Signal) -> float | None:
    """Cycles by which a well lags behind its source, None if the source cannot have made it."""
    if not one.cq.keys() <= source.cq.keys():
        return None  # a target that the source does not have came from elsewhere
    lags = [cq - source.cq[target] for target, cq in one.cq.items()]
    if min(lags) < _LATER or max(lags) - min(lags) > _APART:
        return None
    return min(lags)


def _crowds(
    positive: Sequence[Signal], tested: int, places: Mapping[str, tuple[int, int]]
) -> list[Suspicion]:
    """Groups of touching positives, where so many touching pairs are no accident.

    With k positives on n tested wells a pair of neighbours is positive with k (k − 1) / (n (n − 1));
    the number of such pairs is close to Poisson while positives are few.
    """
    k = len(positive)
    if tested < 2 or k < _CROWD:
        return []
    pairs = _touching(places)
    wells = {signal.well for signal in positive}
    joined = [(a, b) for a, b in pairs if a in wells and b in wells]
    expected = len(pairs) * k * (k - 1) / (tested * (tested - 1))
    if _poisson_tail(len(joined), expected) >= _CHANCE:
        return []
    groups = [group for group in _groups(joined) if len(group) >= _CROWD]
    return [
        Suspicion("cluster", tuple(sorted(group, key=lambda well: places[well])), "", None)
        for group in sorted(groups, key=lambda group: min(places[well] for well in group))
    ]


def _touching(places: Mapping[str, tuple[int, int]]) -> list[tuple[str, str]]:
    at = {place: well for well, place in places.items()}
    ahead = ((0, 1), (1, -1), (1, 0), (1, 1))
    return [
        (well, at[row + down, column + right])
        for (row, column), well in at.items()
        for down, right in ahead
        if (row + down, column + right) in at
    ]


def _poisson_tail(count: int, expected: float) -> float:
    """P(at least ``count``) of a Poisson number."""
    term, below = exp(-expected), 0.0
    for i in range(count):
        below += term
        term *= expected / (i + 1)
    return max(1.0 - below, 0.0)


def _groups(joined: Iterable[tuple[str, str]]) -> list[set[str]]:
    """Connected groups of a graph given by its edges."""
    beside: dict[str, set[str]] = defaultdict(set)
    for a, b in joined:
        beside[a].add(b)
        beside[b].add(a)
    groups: list[set[str]] = []
    seen: set[str] = set()
    for start in beside:
        if start in seen:
            continue
        group, open_ = set(), [start]
        while open_:
            well = open_.pop()
            if well not in group:
                group.add(well)
                open_ += beside[well] - group
        seen |= group
        groups.append(group)
    return groups
