"""What the rest of the plate and the rest of the day say about one finding.

A positive well beside a very strong one may be its splash: of 288 positives of people without symptoms,
repeated because of such a neighbour or by rule, 20 (6.9 %) were negative on repeat (PMC8336987). Single
targets that crowd into one reagent lot may be the lot: 81.8 % of the false inconclusive results of one
laboratory came from 2 of its 8 lots (ACM_20-005). Either orders a test before a conclusion; neither
ever turns a result into another one.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from retest.checked import Section

BESIDE_STRONG: Final = "beside-strong"
LOT_CLUSTER: Final = "lot-cluster"
_STEPS: Final = ("re-amplify", "re-extract", "second-kit", "")
_WELL: Final = re.compile(r"([A-Z])0*(\d+)")


@dataclass(frozen=True, slots=True)
class Evidence:
    """Something outside a specimen that casts doubt on its newest finding.

    Attributes:
        kind: ``beside-strong`` or ``lot-cluster``.
        about: the strong neighbour's well, or ``<lot>/<target>``.
        figure: the neighbour's Cq (cycles), or the probability that chance alone makes the cluster.
    """

    kind: str
    about: str
    figure: float


@dataclass(frozen=True, slots=True)
class EvidenceRules:
    """How much of it counts, and what is done then. A step of "" switches the rule off.

    Attributes:
        beside_strong: step before a positive beside a strong one is concluded.
        strong_cq: a neighbour at or before this Cq (cycles) is strong.
        later_by: only a well at least this many cycles later than the neighbour is suspected of splash.
        lot_cluster: step before a single target of a crowded lot is concluded.
        lot_rate: share of single-target readings that a good lot gives.
        lot_alpha: a lot is crowded when chance makes such a count more rarely than this, over all lots.
        lot_least: a lot with fewer single-target readings than this is never called crowded.
    """

    beside_strong: str = ""
    strong_cq: float = 18.0
    later_by: float = 0.0
    lot_cluster: str = ""
    lot_rate: float = 0.001
    lot_alpha: float = 0.001
    lot_least: int = 5

    def step(self, kind: str) -> str:
        """The step that this kind of evidence orders; "" for none."""
        return {BESIDE_STRONG: self.beside_strong, LOT_CLUSTER: self.lot_cluster}[kind]


def read_evidence(section: Section) -> EvidenceRules:
    """Read the ``[evidence]`` of a policy file; without one nothing outside a specimen counts."""
    if not section.names():
        return EvidenceRules()
    rules = EvidenceRules(
        beside_strong=section.choice("beside_strong", _STEPS, ""),
        strong_cq=section.number("strong_cq"),
        later_by=section.number("later_by") if section.has("later_by") else 0.0,
        lot_cluster=section.choice("lot_cluster", _STEPS, ""),
        lot_rate=_share(section, "lot_rate"),
        lot_alpha=_share(section, "lot_alpha"),
        lot_least=section.whole("lot_least", 1),
    )
    section.close()
    return rules


def _share(section: Section, key: str) -> float:
    value = section.number(key)
    if value >= 1:
        raise section.refuse(key, "number-range", f"{value!r} must be below 1: it is a share, not percent.")
    return value


# -- wells side by side ----------------------------------------------------------------------------


def beside_strong(strongest: Mapping[str, float], rules: EvidenceRules) -> Mapping[str, Evidence]:
    """The wells of one plate that lie beside a strong one and gave a signal themselves.

    Beside means the eight wells around; a diagonal is as near to a drop as a side.

    Args:
        strongest: well (``A1`` or ``A01``) -> smallest Cq (cycles) of its virus targets, controls
            included; wells without a signal are left out.
        rules: what counts as strong.

    Returns:
        Well as given -> the strongest of its strong neighbours.
    """
    placed = {_place(well): (well, cq) for well, cq in strongest.items()}
    found: dict[str, Evidence] = {}
    for (row, column), (well, cq) in placed.items():
        around = [
            placed[row + down, column + across]
            for down in (-1, 0, 1)
            for across in (-1, 0, 1)
            if (down or across) and (row + down, column + across) in placed
        ]
        latest = min(rules.strong_cq, cq - rules.later_by)
        strong = [(near, name) for name, near in around if near <= latest]
        if strong:
            near, name = min(strong)
            found[well] = Evidence(BESIDE_STRONG, name, near)
    return found


def _place(well: str) -> tuple[int, int]:
    match = _WELL.fullmatch(well)
    if match is None:
        raise ValueError(f"{well!r} is no well. Write a row letter and a column number, such as A1.")
    return ord(match[1]), int(match[2])


# -- one lot against the others --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LotCount:
    """How often one lot gave one target alone.

    Attributes:
        lot: the reagent lot.
        target: the target that was alone.
        tested: specimens tested with the lot.
        single: how many of them gave only this target.
    """

    lot: str
    target: str
    tested: int
    single: int


def lot_clusters(counts: Sequence[LotCount], rules: EvidenceRules) -> Mapping[tuple[str, str], Evidence]:
    """The lots that give a target alone more often than chance allows, by (lot, target).

    A lot is measured against the greater of the rate of a good lot and the rate of all other lots with
    the same target: when late infections raise single targets everywhere, no lot is to blame. The
    probability is the exact upper tail of the binomial, times the number of lots looked at (Bonferroni).
    """
    found: dict[tuple[str, str], Evidence] = {}
    for one in counts:
        others = [other for other in counts if other.target == one.target and other is not one]
        tested = sum(other.tested for other in others)
        elsewhere = sum(other.single for other in others) / tested if tested else 0.0
        chance = len(counts) * binomial_tail(one.single, one.tested, max(rules.lot_rate, elsewhere))
        if one.single >= rules.lot_least and chance < rules.lot_alpha:
            found[one.lot, one.target] = Evidence(LOT_CLUSTER, f"{one.lot}/{one.target}", chance)
    return found


def binomial_tail(k: int, n: int, p: float) -> float:
    """P(X >= k) for X ~ Binomial(n, p), summed from its largest term so that small tails stay exact.

    Raises:
        ValueError: k or n below 0, or p outside 0..1.
    """
    if k < 0 or n < 0 or not 0 <= p <= 1:
        raise ValueError(f"no binomial tail for k={k}, n={n}, p={p}")
    if k == 0:
        return 1.0
    if k > n or p == 0:
        return 0.0
    if p == 1:
        return 1.0
    if k <= n * p:  # the tail is the larger part: sum the smaller one
        return 1.0 - _terms(n - k + 1, n, 1 - p)
    return min(1.0, _terms(k, n, p))


def _terms(k: int, n: int, p: float) -> float:
    """The sum of the terms k..n of Binomial(n, p), all at or beyond the mode."""
    log_first = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    term = math.exp(log_first + k * math.log(p) + (n - k) * math.log1p(-p))
    total, odds = 0.0, p / (1 - p)
    while term > total * 1e-17:
        total += term
        term *= (n - k) / (k + 1) * odds
        k += 1
    return total
