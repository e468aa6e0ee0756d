"""Where on the Cq axis a target is detected, grey or not detected.

Three intervals must cover every Cq above 0 exactly once. Published tables often do not: Ct 38.00 in
no band, Ct 40 in two. Such a table is refused with the value. No Cq at all is its own value: no band
holds it and it is never written as 0 or as the last cycle.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

from retest.checked import RulesError, Section
from retest.words import DETECTED, GREY, NOT_DETECTED


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of the Cq axis (cycles), each end explicitly in or out."""

    low: float
    low_in: bool
    high: float
    high_in: bool

    def holds(self, cq: float) -> bool:
        """Whether a Cq (cycles) lies inside."""
        above = cq > self.low or (self.low_in and cq == self.low)
        return above and (cq < self.high or (self.high_in and cq == self.high))


@dataclass(frozen=True, slots=True)
class Bands:
    """The reading of one target on one instrument in one laboratory."""

    detected: Interval
    grey: Interval | None

    def state(self, cq: float) -> str:
        """`detected`, `grey` or `not-detected` for a Cq above 0 (cycles)."""
        if self.detected.holds(cq):
            return DETECTED
        if self.grey is not None and self.grey.holds(cq):
            return GREY
        return NOT_DETECTED


def read_bands(section: Section, target: str) -> Bands:
    """Read `detected`, `grey` and `negative` of a target and prove that they fit together."""
    detected = _detected(section.table("detected") if section.has("detected") else section.raw("detected"))
    written = section.table("grey")
    grey = _grey(written) if section.has("grey") else None
    named = [(DETECTED, detected)] + ([(GREY, grey)] if grey is not None else [])
    if section.has("negative"):
        named.append((NOT_DETECTED, _negative(section.table("negative"))))
    _cover(named, target, section.where)
    return Bands(detected, grey)


def _detected(section: Section) -> Interval:
    op = section.choice("op", ("<", "<=", "any"))
    ct = math.inf if op == "any" else section.number("ct")
    section.close()
    return Interval(0.0, low_in=False, high=ct, high_in=op == "<=")


def _grey(section: Section) -> Interval:
    low, high = section.number("low"), section.number("high")
    if high < low:
        raise section.refuse(
            "high", "band-empty", f"the grey band ends at {high:g} before it begins at {low:g}."
        )
    grey = Interval(low, section.flag("low_inclusive"), high, section.flag("high_inclusive"))
    section.close()
    return grey


def _negative(section: Section) -> Interval:
    op = section.choice("op", (">", ">="))
    low = section.number("ct")
    section.close()
    return Interval(low, op == ">=", math.inf, high_in=False)


def _cover(named: list[tuple[str, Interval]], target: str, where: str) -> None:
    """Refuse the first gap or overlap, naming target and Cq."""
    for (first, a), (second, b) in pairwise(named):
        if a.high == b.low and a.high_in != b.low_in:
            continue
        gap = a.high < b.low or (a.high == b.low and not a.high_in)
        place = (
            f"Ct exactly {a.high:g}"
            if a.high == b.low
            else f"Ct from {min(a.high, b.low):g} to {max(a.high, b.low):g}"
        )
        if gap:
            raise RulesError(
                "band-gap",
                where,
                f"target {target}: {place} is in no band (between {first} and {second}). "
                "Say which band it belongs to; the safe choice is the one nearer to positive.",
            )
        raise RulesError(
            "band-overlap",
            where,
            f"target {target}: {place} is in two bands ({first} and {second}). Make one end exclusive.",
        )
