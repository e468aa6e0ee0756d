"""Reading many specimens at once: arrays in, arrays out, for replays and studies.

The same rules as `retest.interpret` and `retest.decide`, element by element; a property test holds the
two together. Nothing here is a second set of rules: bands, decision table and policy are those of the files.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from retest.bands import Bands, Interval
from retest.decide import Case, CaseRules, Decision, Finding, decide
from retest.outcome import Outcome, ReadingError
from retest.rules import AssayRules
from retest.words import (
    ABSENT,
    CURVE_ATYPICAL,
    CURVE_FLAT,
    CURVE_WITHOUT_CQ,
    CURVES,
    DETECTED,
    GREY,
    KIND_OF_BUILT_IN,
    MISSING,
    NOT_DETECTED,
    PARTIAL,
    REPLICATES,
    Call,
    Material,
)

Number = TypeVar("Number", bound=np.generic)
Codes = NDArray[np.int16]
Flags = NDArray[np.bool_]

CALLS: Final = tuple(Call)
"""Call of each code in `Batch.calls`."""

STATES: Final = (NOT_DETECTED, DETECTED, GREY, CURVE_FLAT, CURVE_ATYPICAL, CURVE_WITHOUT_CQ, PARTIAL, MISSING)
"""State of each code in `Batch.states`."""

_ND, _DET, _GREY, _FLAT, _ATYPICAL, _NO_CQ, _PARTIAL, _MISSING = range(len(STATES))
_TABLED: Final = np.array([0, 1, 2, 0, 0, 0, 0, 0])  # state -> its digit in the decision table
_UNCLEAR_RULE: Final = {
    _FLAT: CURVE_FLAT, _ATYPICAL: CURVE_ATYPICAL, _NO_CQ: CURVE_WITHOUT_CQ, _PARTIAL: REPLICATES
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Batch:
    """The calls of many specimens.

    Attributes:
        calls: one code a specimen, an index of `CALLS`.
        rules: one code a specimen, an index of `rule_ids`.
        rule_ids: every rule id of the assay, rows first.
        states: specimens x targets, codes of `STATES`.
    """

    calls: Codes
    rules: Codes
    rule_ids: tuple[str, ...]
    states: Codes


def interpret_many(
    cqs: ArrayLike,
    rules: AssayRules,
    *,
    curves: ArrayLike | None = None,
    measured: ArrayLike | None = None,
    instrument: str = "",
    laboratory: str = "",
) -> Batch:
    """Read many specimens of one assay on one instrument.

    Args:
        cqs: specimens x targets, or specimens x targets x wells, targets in the order of the assay
            file; cycles above 0, NaN = undetermined.
        rules: the assay.
        curves: same shape; 0 = not judged, else 1 + the index in `retest.words.CURVES`.
        measured: same shape; False = no such well. All, when not given.
        instrument: model name, for cutoffs that depend on it.
        laboratory: laboratory name, for its own cutoffs.

    Raises:
        ReadingError: ``cq-refused`` for a Cq that is no cycle, ``curve-refused`` for an unknown code.
        ValueError: a shape that does not fit the assay.
    """
    values = _shaped(np.asarray(cqs, dtype=float), rules)
    judged = _like(values, curves, np.int16, 0)
    there = _like(values, measured, np.bool_, True)
    _refuse_impossible(values, judged, there, rules)
    bands = rules.bands(instrument, laboratory)
    states = np.empty(values.shape[:2], dtype=np.int16)
    for at, target in enumerate(rules.targets):
        wells = _well_states(
            values[:, at], judged[:, at], bands[target.name], sigmoid=target.curve == "sigmoid"
        )
        joined = _control(wells, there[:, at]) if target.is_control else _replicates(wells, there[:, at])
        states[:, at] = np.where(there[:, at].sum(axis=1) < rules.replicates, _MISSING, joined)
    return _called(states, rules)


def outcomes_of(batch: Batch, rules: AssayRules) -> list[Outcome]:
    """The outcome of each specimen, as `retest.interpret` makes it; those that are alike are one object."""
    names = [target.name for target in rules.targets]
    made: dict[tuple[int, ...], Outcome] = {}
    found = []
    read = zip(batch.calls.tolist(), batch.rules.tolist(), batch.states.tolist(), strict=True)
    for call, ruled, states in read:
        key = (call, ruled, *states)
        if key not in made:
            rule = batch.rule_ids[ruled]
            shown = tuple((name, STATES[state]) for name, state in zip(names, states, strict=True))
            made[key] = Outcome(
                CALLS[call], rule, rules.nexts[rule], rules.id, rules.version, rules.digest, shown
            )
        found.append(made[key])
    return found


def _shaped(values: NDArray[np.float64], rules: AssayRules) -> NDArray[np.float64]:
    if values.ndim == 2:
        values = values[:, :, None]
    if values.ndim != 3 or values.shape[1] != len(rules.targets):
        names = ", ".join(target.name for target in rules.targets)
        raise ValueError(f"shape {values.shape} is not specimens x targets (x wells) of {rules.id}: {names}.")
    return values


def _like(
    values: NDArray[np.float64], given: ArrayLike | None, kind: type[Number], default: int
) -> NDArray[Number]:
    if given is None:
        return np.full(values.shape, default, dtype=kind)
    array: NDArray[Number] = np.asarray(given, dtype=kind)
    return np.broadcast_to(array[:, :, None] if array.ndim == 2 else array, values.shape)


def _refuse_impossible(
    values: NDArray[np.float64], judged: NDArray[np.int16], there: Flags, rules: AssayRules
) -> None:
    wrong = there & ~np.isnan(values) & ~(np.isfinite(values) & (values > 0))
    if wrong.any():
        row, target, well = np.argwhere(wrong)[0]
        sentence = f"Cq {values[row, target, well]} of row {row} is no cycle. NaN means undetermined."
        raise ReadingError("cq-refused", rules.targets[target].name, sentence)
    unknown = (judged < 0) | (judged > len(CURVES))
    if unknown.any():
        row, target, well = np.argwhere(unknown)[0]
        sentence = f"curve code {judged[row, target, well]} of row {row} is not one of 0 to {len(CURVES)}."
        raise ReadingError("curve-refused", rules.targets[target].name, sentence)


def _holds(interval: Interval, cq: NDArray[np.float64]) -> Flags:
    above = cq >= interval.low if interval.low_in else cq > interval.low
    below = cq <= interval.high if interval.high_in else cq < interval.high
    return above & below


def _well_states(cq: NDArray[np.float64], curve: NDArray[np.int16], bands: Bands, *, sigmoid: bool) -> Codes:
    """`retest.outcome.reading_state` for an array; NaN fails every comparison and so has no signal."""
    detected = _holds(bands.detected, cq)
    grey = _holds(bands.grey, cq) & ~detected if bands.grey is not None else np.zeros_like(detected)
    states = np.where(detected, _DET, np.where(grey, _GREY, _ND)).astype(np.int16)
    signal = detected | grey
    states[signal & (curve == 1 + CURVES.index("flat"))] = _FLAT
    if sigmoid:
        states[signal & (curve == 1 + CURVES.index("atypical"))] = _ATYPICAL
    states[np.isnan(cq) & (curve == 1 + CURVES.index("sigmoid"))] = _NO_CQ
    return states


def _control(wells: Codes, there: Flags) -> Codes:
    return np.where(((wells == _DET) | ~there).all(axis=1), _DET, _ND).astype(np.int16)


def _replicates(wells: Codes, there: Flags) -> Codes:
    """All wells alike, else the first contradiction there is, else partly detected."""
    if wells.shape[1] == 1:
        return wells[:, 0]
    least = np.where(there, wells, np.int16(_MISSING)).min(axis=1)
    most = np.where(there, wells, np.int16(-1)).max(axis=1)
    joined = np.where(least == most, least, np.int16(_PARTIAL))
    unlike = least != most
    for code in (_NO_CQ, _ATYPICAL, _FLAT):  # the last one written wins: flat before atypical before no Cq
        joined[unlike & ((wells == code) & there).any(axis=1)] = code
    return joined.astype(np.int16)


def _called(states: Codes, rules: AssayRules) -> Batch:
    """The call and the rule for the states of every target, as `retest.outcome` makes them."""
    ids = tuple(dict.fromkeys([*(row.id for row in rules.decision), *KIND_OF_BUILT_IN]))
    rule_of_key, call_of_key = _lookup(rules, ids)
    index = np.zeros(len(states), dtype=np.intp)
    unclear = np.full(len(states), -1, dtype=np.int16)
    good_control = np.ones(len(states), dtype=np.bool_)
    for at, target in enumerate(rules.targets):
        column = states[:, at]
        if target.is_control:
            good_control &= column == _DET
            continue
        if rules.greys[target.name]:
            column = np.where(column == _PARTIAL, _GREY, column)
        for code, rule in _UNCLEAR_RULE.items():
            unclear[(unclear < 0) & (column == code)] = ids.index(rule)
        index = index * 3 + _TABLED[column]
    index = index * 2 + good_control
    called, ruled = call_of_key[index], rule_of_key[index]
    missing = (states == _MISSING).any(axis=1)
    positive, negative, borderline, invalid = (
        CALLS.index(c) for c in (Call.positive, Call.negative, Call.borderline, Call.invalid)
    )
    doubted = (called != positive) & (unclear >= 0)
    silent = missing & (called == negative) & ~doubted
    if rules.missing == "refuse":
        silent, doubted = missing, doubted & ~missing
    calls = np.select([silent, doubted], [invalid, borderline], called)
    found = np.select([silent, doubted], [ids.index(MISSING), unclear], ruled)
    return Batch(calls.astype(np.int16), found.astype(np.int16), ids, states)


def _lookup(rules: AssayRules, ids: Sequence[str]) -> tuple[Codes, Codes]:
    """Rule and call for every number whose digits are target states (base 3) and the control (base 2)."""
    has_control = any(target.is_control for target in rules.targets)
    words = (NOT_DETECTED, DETECTED, GREY)
    ruled, called = [], []
    for states in product(words, repeat=len(rules.greys)):
        for control in (NOT_DETECTED, DETECTED) if has_control else (ABSENT, ABSENT):
            row = rules.table.get((states, control))  # none: grey where the assay knows no grey, never met
            ruled.append(ids.index(row.id) if row else -1)
            called.append(CALLS.index(row.call) if row else -1)
    return np.array(ruled, dtype=np.int16), np.array(called, dtype=np.int16)


# -- decisions -------------------------------------------------------------------------------------


def decide_many(
    batch: Batch,
    rules: CaseRules,
    *,
    materials: ArrayLike | None = None,
    persons: ArrayLike | None = None,
    tiers: Sequence[str] = ("",),
    tier_codes: ArrayLike | None = None,
) -> tuple[NDArray[np.intp], tuple[Decision, ...]]:
    """What happens next with each specimen of a batch that is read for the first time.

    `decide` is asked once for every different case, and its answer is given to all that are alike.

    Args:
        batch: the calls.
        rules: the kit and the jurisdiction.
        materials: one code a specimen, an index of `tuple(Material)`; all single when not given.
        persons: persons who wait for each specimen; 1 when not given.
        tiers: the urgency tiers that `tier_codes` speaks of.
        tier_codes: one code a specimen, an index of `tiers`.

    Returns:
        One index a specimen, and the decisions that they are indices of.
    """
    n = len(batch.calls)
    given = ((batch.calls, 0), (batch.rules, 0), (materials, 0), (persons, 1), (tier_codes, 0))
    columns = [_column(codes, n, default) for codes, default in given]
    number = np.zeros(n, dtype=np.int64)
    for column in columns:
        number = number * (int(column.max(initial=0)) + 1) + column
    _, first, inverse = np.unique(number, return_index=True, return_inverse=True)
    decisions = tuple(
        _first_decision(batch, rules, tiers, [int(column[at]) for column in columns]) for at in first
    )
    return inverse, decisions


def decide_each(cases: Iterable[Case], rules: CaseRules) -> list[Decision]:
    """What happens next with each case, as `retest.decide` says; it is asked once for all that are alike.

    Two first findings are alike if they differ in nothing but the names of specimen and run, and the
    minutes that they have waited.
    """
    asked: dict[object, Decision] = {}
    found = []
    for case in cases:
        if len(case.findings) != 1 or case.earlier:
            found.append(decide(case, rules))
            continue
        (one,) = case.findings
        about = (one.call, one.rule, one.test, one.curve, one.kit, one.material)
        key = (*about, case.material, case.persons, case.tier, case.residual, case.evidence)
        whole = (*key, int(case.waited_hours))
        if whole not in asked:
            asked[whole] = decide(case, rules)
        found.append(asked[whole])
    return found


def _column(given: ArrayLike | None, n: int, default: int) -> NDArray[np.int64]:
    return np.full(n, default) if given is None else np.asarray(given, dtype=np.int64)


def _first_decision(batch: Batch, rules: CaseRules, tiers: Sequence[str], codes: Sequence[int]) -> Decision:
    call, rule, material, persons, tier = codes
    held = tuple(Material)[material]
    finding = Finding("-", "-", CALLS[call], batch.rule_ids[rule], "first", material=held)
    return decide(Case(held, (finding,), persons=persons, tier=tiers[tier]), rules)
