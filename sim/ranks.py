"""Tubes that wait for their first test: ranked once, and from then on marks on their ranks.

Their keys never change, so that nothing is sorted or moved as they come and go. Where the next tubes are
neighbours, as they are unless others come between them, a plate is a slice.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
NOBODY: Ints = np.empty(0, dtype=np.int64)
FIFO = "fifo-full"
"""The one policy that takes tubes in order of coming; all others take them by priority, then due time."""


@dataclass(frozen=True, slots=True, eq=False)
class Firsts:
    """Tubes that wait for their first test, each array of shape (tubes,).

    Attributes:
        ids: of the tubes.
        came: minute from which each waits, `due` when its report is due.
        priority: of its tier.
        persons: who wait for it.
        order: places in order of urgency, and `by_came` in order of coming, where they are known already.
    """

    ids: Ints
    came: Floats
    due: Floats
    priority: Ints
    persons: Ints
    order: Ints | None = None
    by_came: Ints | None = None

    def places(self, policy: str) -> Ints:
        """Places in the order in which a policy takes the tubes."""
        if self.order is not None:
            return self.order
        urgent = (self.ids, self.came, self.due, -self.priority)
        received = (self.ids, self.due, -self.priority, self.came)
        return np.lexsort(received if policy == FIFO else urgent)

    def ranked(self, policy: str) -> "Ranked":
        """The same in order of urgency."""
        order = self.places(policy)
        came = self.came[order]
        if self.by_came is None:
            entry = np.argsort(came, kind="stable")
        else:
            rank = np.empty_like(order)
            rank[order] = np.arange(order.size)
            entry = rank[self.by_came]
        return Ranked(
            self.ids[order],
            came,
            self.due[order],
            self.priority[order],
            self.persons[order],
            entry,
            came[entry],
            policy,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """Tubes in the order in which a policy takes them; nothing here changes, so that replications share it.

    Attributes:
        ids, came, due, priority, persons: see `Firsts`.
        entry: ranks in order of coming, and `times` when each of those comes.
        policy: whose order it is.
    """

    ids: Ints
    came: Floats
    due: Floats
    priority: Ints
    persons: Ints
    entry: Ints
    times: Floats
    policy: str

    def key(self, rank: int) -> tuple[float, ...]:
        """What tells whether a tube goes before another one; a smaller key goes first."""
        urgent = (-int(self.priority[rank]), float(self.due[rank]))
        came, tid = float(self.came[rank]), int(self.ids[rank])
        return (came, *urgent, tid) if self.policy == FIFO else (*urgent, came, tid)

    def urgency(self, own: Ints, span: "Ints | slice") -> tuple[float, float]:
        """Key of a plate: the highest priority and the earliest due time of its tubes.

        Args:
            own: ranks, ascending, at least one.
            span: the same as an index.
        """
        first, last = own[0], own[-1]
        if self.policy != FIFO and self.priority[first] == self.priority[last]:
            return -float(self.priority[first]), float(self.due[first])
        return -float(self.priority[span].max()), float(self.due[span].min())


def index_of(ranks: Ints) -> Ints | slice:
    """Ascending ranks as an index into arrays: a slice where they are neighbours."""
    if ranks.size and ranks[-1] - ranks[0] == ranks.size - 1:
        return slice(int(ranks[0]), int(ranks[-1]) + 1)
    return ranks


class Ranks:
    """Which of the numbers 0, 1, ... wait: a mark for each, so that nothing is ever sorted or moved."""

    __slots__ = ("_all", "_count", "_high", "_low", "_there")

    def __init__(self, size: int) -> None:
        self._all = np.arange(size)
        self._there = np.zeros(size, dtype=np.bool_)
        self._count = 0
        # nothing below the one waits, nothing from the other on
        self._low, self._high = size, 0

    def add(self, came: Ints) -> None:
        """Let numbers wait that do not yet."""
        low, high = int(came.min()), int(came.max()) + 1
        self._there[slice(low, high) if high - low == came.size else came] = True
        self._count += came.size
        self._low = min(self._low, low)
        self._high = max(self._high, high)

    def least(self, count: int) -> Ints:
        """The smallest `count` numbers, ascending; fewer when there are fewer."""
        wanted = min(count, self._count)
        if not wanted:
            return NOBODY
        if self._high - self._low == self._count:
            return self._all[self._low : self._low + wanted]
        self._low += int(self._there[self._low : self._high].argmax())
        width = 2 * wanted
        while True:
            found = self._there[self._low : min(self._low + width, self._high)].nonzero()[0]
            if found.size >= wanted:
                return found[:wanted] + self._low
            width *= 4

    def drop(self, taken: Ints, span: Ints | slice) -> None:
        """Remove numbers that are the smallest; `span` are the same as an index."""
        if taken.size:
            self._there[span] = False
            self._count -= taken.size
            self._low = int(taken[-1]) + 1

    def __len__(self) -> int:
        return self._count
