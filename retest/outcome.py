"""Reading one specimen: Cq values and curve verdicts in, one call and its rule out.

Nothing here is silently negative. A target nobody measured, a number on a flat curve, a curve without a
number and replicates that disagree each have their own rule id (`missing-target`, `curve-flat`,
`curve-atypical`, `curve-without-cq`, `replicates-discordant`) and never end in a negative. A row that is
switched off leaves its specimens borderline (`rule-off`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from retest.bands import Bands
from retest.rules import AssayRules, Target, fold
from retest.words import (
    ABSENT,
    CURVE_ATYPICAL,
    CURVE_FLAT,
    CURVE_WITHOUT_CQ,
    CURVES,
    DETECTED,
    GREY,
    MISSING,
    NOT_DETECTED,
    PARTIAL,
    REPLICATES,
    Call,
    Next,
)

_RULE_OF_STATE = {
    CURVE_FLAT: CURVE_FLAT,
    CURVE_ATYPICAL: CURVE_ATYPICAL,
    CURVE_WITHOUT_CQ: CURVE_WITHOUT_CQ,
    PARTIAL: REPLICATES,
}


class ReadingError(ValueError):
    """A reading that cannot be one.

    Attributes:
        code: ``cq-refused``, ``curve-refused`` or ``unknown-target``.
        where: the target.
        sentence: what is wrong and what to do next.
    """

    def __init__(self, code: str, where: str, sentence: str) -> None:
        super().__init__(f"{where}: {sentence}")
        self.code = code
        self.where = where
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Reading:
    """What one well said about one target.

    Attributes:
        target: name or alias of a target of the assay.
        cq: quantification cycle (cycles, above 0); None when undetermined.
        curve: ``sigmoid``, ``flat``, ``atypical``, or None when no curve was judged.

    Raises:
        ReadingError: the Cq is NaN, infinite, 0 or negative, or the curve word is unknown.
    """

    target: str
    cq: float | None
    curve: str | None = None

    def __post_init__(self) -> None:
        if self.cq is not None and not (math.isfinite(self.cq) and self.cq > 0):
            sentence = (
                f"Cq {self.cq!r} is no cycle. Undetermined is written as an empty value; check the file."
            )
            raise ReadingError("cq-refused", self.target, sentence)
        if self.curve is not None and self.curve not in CURVES:
            sentence = f"curve verdict {self.curve!r} is not one of {', '.join(CURVES)}."
            raise ReadingError("curve-refused", self.target, sentence)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The call for one tube in one run, with the rule that made it.

    Attributes:
        call: positive, negative, borderline or invalid.
        rule: id of the decision row, or of the built-in rule.
        next: what the bench does next with a tube of one person.
        assay: id of the assay rules.
        version: their version.
        digest: their SHA-256 (hex).
        targets: (name, state) in the order of the assay file.
    """

    call: Call
    rule: str
    next: Next
    assay: str
    version: str
    digest: str
    targets: tuple[tuple[str, str], ...]


def interpret(
    readings: Sequence[Reading], rules: AssayRules, *, instrument: str = "", laboratory: str = ""
) -> Outcome:
    """Read one specimen of one run.

    The order of the readings does not matter. Several readings of one target are replicates: all must
    agree, else the target counts as partly detected (as grey where the assay knows grey or
    replicates, else `replicates-discordant`). With fewer wells than the assay's `replicates` the
    target is missing. An internal control counts only if every one of its wells worked.

    Args:
        readings: one per well and target.
        rules: the assay.
        instrument: model name, for cutoffs that depend on it.
        laboratory: laboratory name, for its own cutoffs.

    Raises:
        ReadingError: ``unknown-target``, a reading of a target the assay does not have.
    """
    grouped = _grouped(readings, rules)
    bands = rules.bands(instrument, laboratory)
    states: dict[str, str] = {}
    for target in rules.targets:
        wells = grouped.get(target.name, ())
        if len(wells) < rules.replicates:
            states[target.name] = MISSING
        else:
            states[target.name] = _target_state(target, wells, bands[target.name])
    call, rule = _call(states, rules)
    return Outcome(
        call, rule, rules.nexts[rule], rules.id, rules.version, rules.digest, tuple(states.items())
    )


def _grouped(readings: Sequence[Reading], rules: AssayRules) -> Mapping[str, list[Reading]]:
    grouped: dict[str, list[Reading]] = {}
    for reading in readings:
        grouped.setdefault(canonical(reading.target, rules), []).append(reading)
    return grouped


def canonical(target: str, rules: AssayRules) -> str:
    """The assay's own name of a target or alias; raises `ReadingError` when it has none."""
    name = rules.spelling.get(target) or rules.spelling.get(fold(target))
    if name is None:
        known = ", ".join(t.name for t in rules.targets)
        sentence = (
            f"assay {rules.id} has no target of this name, only {known}. "
            "Choose the right assay or add an alias."
        )
        raise ReadingError("unknown-target", target, sentence)
    return name


def _target_state(target: Target, wells: Sequence[Reading], bands: Bands) -> str:
    if target.is_control:
        good = all(reading_state(target, well, bands) == DETECTED for well in wells)
        return DETECTED if good else NOT_DETECTED
    states = [reading_state(target, well, bands) for well in wells]
    first = states[0]
    if len(states) == 1 or all(state == first for state in states):
        return first
    unclear = next((state for state in _RULE_OF_STATE if state in states), None)  # not in the wells' order
    return unclear or PARTIAL


def reading_state(target: Target, reading: Reading, bands: Bands) -> str:
    """The state of one well: a band, or the contradiction between number and curve."""
    cq, curve = reading.cq, reading.curve
    if cq is None:
        return CURVE_WITHOUT_CQ if curve == "sigmoid" else NOT_DETECTED
    state = bands.state(cq)
    if state == NOT_DETECTED:
        return state
    if curve == "flat":
        return CURVE_FLAT
    if curve == "atypical" and target.curve == "sigmoid":
        return CURVE_ATYPICAL
    return state


def _call(states: Mapping[str, str], rules: AssayRules) -> tuple[Call, str]:
    """The call and the rule id for the state of every target."""
    if MISSING in states.values() and rules.missing == "refuse":
        return Call.invalid, MISSING
    unclear = ""
    tabled: list[str] = []
    for name, three in rules.greys.items():
        state = states[name]
        if state == PARTIAL and three:
            state = GREY
        if state in _RULE_OF_STATE:
            unclear = unclear or _RULE_OF_STATE[state]
        tabled.append(state if state in (DETECTED, GREY) else NOT_DETECTED)
    row = rules.table[tuple(tabled), _control_state(states, rules)]
    if row.call is Call.positive:  # holds on the clean targets alone
        return row.call, row.id
    if unclear:
        return Call.borderline, unclear
    if MISSING in states.values() and row.call is Call.negative:
        return Call.invalid, MISSING
    return row.call, row.id


def _control_state(states: Mapping[str, str], rules: AssayRules) -> str:
    controls = [states[target.name] for target in rules.targets if target.is_control]
    if not controls:
        return ABSENT
    return DETECTED if all(state == DETECTED for state in controls) else NOT_DETECTED
