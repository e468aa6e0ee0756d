"""Whether the liquid in a tube is enough for pool, second aliquot, reflex test and repeats."""

from collections.abc import Sequence
from dataclasses import dataclass

from pooling.size import PoolDesignError


@dataclass(frozen=True, slots=True)
class Volume:
    """Volumes in microlitres. A pool test always needs `pool_ul`; each of n members gives an n-th of it.

    Attributes:
        tube_ul: in each single tube at reception.
        pool_ul: input of one pool test.
        single_ul: input of one single test.
        pool_repeats: further pool tests from the same aliquots (the second aliquot of an unexplained pool).
        single_repeats: further single tests that must stay possible after the first reflex test.
        dead_ul: left in the tube because it cannot be drawn.
        smallest_ul: smallest volume that is pipetted reliably.
    """

    tube_ul: float
    pool_ul: float = 200.0
    single_ul: float = 200.0
    pool_repeats: int = 1
    single_repeats: int = 1
    dead_ul: float = 100.0
    smallest_ul: float = 10.0

    def __post_init__(self) -> None:
        amounts = (self.tube_ul, self.pool_ul, self.single_ul, self.smallest_ul)
        if min(amounts) <= 0 or min(self.dead_ul, self.pool_repeats, self.single_repeats) < 0:
            raise PoolDesignError("BAD_VOLUME", f"Volumes are above 0 and repeats not below 0: {self}.")

    def aliquot_ul(self, size: int) -> float:
        """Volume one member gives to a pool of `size`, for the test and its repeats."""
        return self.pool_ul * (1 + self.pool_repeats) / size

    def needed_ul(self, pools: Sequence[int]) -> float:
        """Volume one tube needs when it enters pools of these sizes: aliquots, reflex test, repeats, dead."""
        given = sum(map(self.aliquot_ul, pools))
        return given + self.single_ul * (1 + self.single_repeats) + self.dead_ul

    def objection(self, pools: Sequence[int]) -> tuple[str, str] | None:
        """Code and words against pools of these sizes (the pools one tube enters), or None."""
        smallest = self.aliquot_ul(max(pools))
        if smallest < self.smallest_ul:
            return (
                "SMALL_ALIQUOT",
                f"each member gives {smallest:.1f} µl, below the {self.smallest_ul:g} µl pipetted reliably",
            )
        needed = self.needed_ul(pools)
        if needed > self.tube_ul:
            return (
                "SHORT_VOLUME",
                f"needs {needed:.0f} µl of each tube for pool, reflex and repeats; it holds {self.tube_ul:g}",
            )
        return None
