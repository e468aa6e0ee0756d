"""What the plate and the reagent lot say against a finding: a strong neighbour, a crowded lot."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from lis import queries
from lis.services.results.splashing import FLAGS
from retest.evidence import BESIDE_STRONG, Evidence, LotCount, beside_strong, lot_clusters

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lis.db import Unit
    from lis.matching import Measured
    from lis.rulebook import Rulebook
    from lis.services.results.shapes import Plate
    from retest import AssayRules, Outcome

LOT_DAYS: Final = 60
"""Runs of the last days in which lots are compared: a lot is used up within weeks."""

CARRIED: Final = frozenset({FLAGS["source-plate"], FLAGS["extraction-order"]})

SIGNALS: Final = frozenset({"detected", "partial", "grey"})


@dataclass(frozen=True, slots=True)
class Doubts:
    """Evidence of one plate.

    Attributes:
        neighbours: well -> its strong neighbour.
        lot: target -> why the lot of this plate is suspected of giving it alone.
    """

    neighbours: Mapping[str, Evidence] = field(default_factory=dict)
    lot: Mapping[str, Evidence] = field(default_factory=dict)

    def about(self, wells: Iterable[str], alone: str) -> tuple[Evidence, ...]:
        """What speaks against a finding in these wells; ``alone`` is the target that came alone."""
        beside = [self.neighbours[well] for well in wells if well in self.neighbours]
        crowded = [self.lot[alone]] if alone in self.lot else []
        return (*beside, *crowded)


def lone_target(outcome: Outcome, assay: AssayRules) -> str:
    """The virus target that gave a signal alone in a single-target finding; empty for any other finding."""
    if assay.kind(outcome.rule, outcome.call) != "single-target":
        return ""
    controls = {target.name for target in assay.targets if target.is_control}
    shown = [name for name, state in outcome.targets if state in SIGNALS and name not in controls]
    return shown[0] if len(shown) == 1 else ""


def doubts_about(
    unit: Unit,
    rules: Rulebook,
    plate: Plate,
    measured: Mapping[str, tuple[Measured, ...]],
    alone: Sequence[str],
) -> Doubts:
    """What the plate and its lot say against its findings; ``alone`` has an entry for every tube read."""
    evidence = rules.policy.evidence
    neighbours: dict[str, Evidence] = {}
    if evidence.beside_strong:
        strongest = _strongest(plate.assay, measured)
        neighbours = {**_carried_over(measured, strongest), **beside_strong(strongest, evidence)}
    crowded: dict[str, Evidence] = {}
    if evidence.lot_cluster and plate.lot and any(alone):
        found = lot_clusters(_counts(unit, plate, alone), evidence)
        crowded = {target: why for (lot, target), why in found.items() if lot == plate.lot}
    return Doubts(neighbours, crowded)


def _carried_over(
    measured: Mapping[str, tuple[Measured, ...]], strongest: Mapping[str, float]
) -> dict[str, Evidence]:
    """Well -> the strong well that stood beside it on the source plate, or was extracted right before it."""
    return {
        well: Evidence(BESIDE_STRONG, source, strongest[source])
        for well, many in measured.items()
        for one in many
        for flag, _, source in (name.partition(":") for name in one.flags)
        if flag in CARRIED and source in strongest
    }


def _strongest(assay: AssayRules, measured: Mapping[str, tuple[Measured, ...]]) -> dict[str, float]:
    """Well -> the smallest Cq of its virus targets; wells without a signal are left out."""
    controls = {target.name for target in assay.targets if target.is_control}
    found = {}
    for well, many in measured.items():
        cqs = [
            one.cq for one in many if one.cq is not None and not one.omitted and one.target not in controls
        ]
        if cqs:
            found[well] = min(cqs)
    return found


def _counts(unit: Unit, plate: Plate, alone: Sequence[str]) -> list[LotCount]:
    """How often each lot of this assay gave each target alone, this plate included."""
    tested: Counter[str] = Counter({plate.lot: len(alone)})
    single = Counter((plate.lot, target) for target in alone if target)
    for tally in queries.lot_tallies(unit.conn, plate.assay.id, unit.now - timedelta(days=LOT_DAYS)):
        tested[tally.lot] += tally.tested
        for target, count in tally.alone.items():
            single[tally.lot, target] += count
    targets = [target.name for target in plate.assay.targets if not target.is_control]
    return [LotCount(lot, target, tested[lot], single[lot, target]) for lot in tested for target in targets]
