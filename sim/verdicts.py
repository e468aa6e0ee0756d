"""The policies of production, asked once for every kind of question.

`retest.interpret` is asked once for every combination of bands that occurs, with real readings of it;
`retest.decide` once for every course a case takes; `retest.judge_plate` once for every state of the
controls. Nothing here knows what a positive is.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from retest import (
    Case,
    CaseRules,
    ControlReading,
    Decision,
    Finding,
    Material,
    Outcome,
    PlateVerdict,
    Reading,
    decide,
    interpret,
    judge_plate,
)
from scheduler import PlateTemplate

Past = tuple[tuple[int, int, str], ...]
"""Findings so far: (number of the specimen, outcome, test), oldest first."""

SIGNALS = ("grey", "detected", "partial")
FEW = 16
"""So many tubes are classified one by one."""


@dataclass
class Verdicts:
    """Answers of the policies under one set of rules.

    Attributes:
        rules: assay and jurisdiction.
        outcomes: every outcome met so far; a number elsewhere is a place in this list.
        examples: for every outcome the Cq values that gave it first, NaN for none.
    """

    rules: CaseRules
    outcomes: list[Outcome] = field(default_factory=list)
    examples: list[tuple[float, ...]] = field(default_factory=list)
    _edges: list[list[float]] = field(init=False)
    _codes: dict[int, int] = field(default_factory=dict)
    _curves: list[str | None] = field(default_factory=list)
    _numbers: dict[tuple[str, str, str | None], int] = field(default_factory=dict)
    _decided: dict[tuple[object, ...], Decision] = field(default_factory=dict)

    def __post_init__(self) -> None:
        bands = self.rules.assay.bands("", "")
        self._edges = []
        for target in self.rules.assay.targets:
            band = bands[target.name]
            parts = [band.detected] + ([band.grey] if band.grey else [])
            self._edges.append(sorted({edge for part in parts for edge in (part.low, part.high)}))

    def classify(self, readings: NDArray[np.float64]) -> NDArray[np.int64]:
        """Outcome of every tube from its Cq values; shape (targets, tubes) in, (tubes,) out.

        Two tubes whose Cq values lie in the same stretches between the edges of the assay's bands (an edge
        itself being a stretch of its own) are the same to the policy.
        """
        if readings.shape[1] <= FEW:
            return self._classify_few(readings)
        key = np.zeros(readings.shape[1], dtype=np.int64)
        for edges, cq in zip(self._edges, readings, strict=True):
            place = np.searchsorted(edges, cq, side="left") + np.searchsorted(edges, cq, side="right")
            key = key * (2 * len(edges) + 2) + np.where(np.isnan(cq), 2 * len(edges) + 1, place)
        kinds, example, inverse = np.unique(key, return_index=True, return_inverse=True)
        codes = [self._code(int(kind), readings[:, at]) for kind, at in zip(kinds, example, strict=True)]
        found: NDArray[np.int64] = np.array(codes, dtype=np.int64)[inverse] if codes else inverse
        return found

    def _classify_few(self, readings: NDArray[np.float64]) -> NDArray[np.int64]:
        """The same without the cost of arrays; new outcomes are numbered in the same order."""
        tubes = readings.T.tolist()
        keys = [self._kind(tube) for tube in tubes]
        for kind in sorted(set(keys)):
            self._code(kind, tubes[keys.index(kind)])
        return np.array([self._codes[kind] for kind in keys], dtype=np.int64)

    def classify_one(self, cqs: Sequence[float]) -> int:
        """Outcome of one tube from its Cq values, in the order of the assay's targets."""
        return self._code(self._kind(cqs), cqs)

    def _kind(self, cqs: Sequence[float]) -> int:
        kind = 0
        for edges, cq in zip(self._edges, cqs, strict=True):
            nothing = cq != cq  # noqa: PLR0124 - NaN
            place = 2 * len(edges) + 1 if nothing else bisect_left(edges, cq) + bisect_right(edges, cq)
            kind = kind * (2 * len(edges) + 2) + place
        return kind

    def _code(self, kind: int, cqs: Iterable[float]) -> int:
        if kind not in self._codes:
            self._codes[kind] = self.ask(cqs)
        return self._codes[kind]

    def ask(self, values: Iterable[float]) -> int:
        """The outcome of one tube; a target that amplified did so along a sigmoid curve."""
        cqs = tuple(float(value) for value in values)
        pairs = zip(self.rules.assay.targets, cqs, strict=True)
        readings = [
            Reading(target.name, None) if np.isnan(cq) else Reading(target.name, cq, "sigmoid")
            for target, cq in pairs
        ]
        outcome = interpret(readings, self.rules.assay)
        signals = {name for name, state in outcome.targets if state in SIGNALS}
        curve = "sigmoid" if any(r.target in signals and r.curve for r in readings) else None
        name = (outcome.call.value, outcome.rule, curve)
        if name not in self._numbers:
            self._numbers[name] = len(self.outcomes)
            self.outcomes.append(outcome)
            self.examples.append(cqs)
            self._curves.append(curve)
        return self._numbers[name]

    def decide(
        self, material: Material, past: Past, persons: int, tier: str, earlier: Past = (), waited: int = 0
    ) -> Decision:
        """What happens next with a case; ``waited`` is in whole hours since receipt."""
        key = (material, past, persons, tier, earlier, waited)
        found = self._decided.get(key)
        if found is None:
            case = Case(
                material=material,
                findings=self._findings(past, material),
                persons=persons,
                tier=tier,
                earlier=self._findings(earlier, Material.single),
                waited_hours=waited,
            )
            found = self._decided[key] = decide(case, self.rules)
        return found

    def _findings(self, past: Past, material: Material) -> tuple[Finding, ...]:
        return tuple(
            Finding(
                specimen=str(specimen),
                run=str(number),
                call=self.outcomes[code].call,
                rule=self.outcomes[code].rule,
                test=test,
                curve=self._curves[code],
                material=material,
            )
            for number, (specimen, code, test) in enumerate(past)
        )

    def plate(self, template: PlateTemplate, *, contaminated: bool) -> PlateVerdict:
        """The verdict on a plate with good controls, or with a signal in the negative control."""
        controls = []
        for kind, well in template.controls:
            rule = next((r for r in self.rules.assay.controls if kind in (r.kind, *r.aliases)), None)
            if rule is None:
                continue
            readings = []
            for target in self.rules.assay.targets:
                expected = rule.expect[target.name]
                shown = expected.state == "detected" or (
                    contaminated and kind == "NTC" and not target.is_control
                )
                cq = (
                    (max(expected.least, 0.0) + min(expected.most, 40.0)) / 2 if expected.most < 1e9 else 26.0
                )
                readings.append(Reading(target.name, cq if shown else None, "sigmoid" if shown else None))
            batch = str(template.batch(well)) if rule.scope == "extraction" else ""
            controls.append(ControlReading(kind, well, batch, tuple(readings)))
        batches = {str(batch) for batch in template.batches}
        return judge_plate(controls, self.rules.assay, batches=batches)
