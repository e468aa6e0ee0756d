"""Controls first, then every tube: what was read, what is known from before, what the rules make of it."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from lis import queries
from lis.events import TubeKind
from lis.services.results.doubting import Doubts, doubts_about, lone_target
from lis.services.results.shapes import MATERIAL, Judged, Plate
from retest import (
    Call,
    Case,
    ControlReading,
    Finding,
    Outcome,
    PlateVerdict,
    Reading,
    interpret,
    judge_plate,
)
from retest.batch import decide_each, interpret_many, outcomes_of
from retest.words import CURVES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from instruments import RunFile
    from lis.db import Unit
    from lis.matching import LoadedWell, Measured
    from lis.queries import CallRow
    from lis.rulebook import Rulebook
    from lis.tube import Tube
    from retest import AssayRules


def judge(
    rules: Rulebook, plate: Plate, run: RunFile, measured: Mapping[str, tuple[Measured, ...]]
) -> PlateVerdict:
    """Whether the controls of the run, and of each extraction batch, hold."""
    controls = [
        ControlReading(
            kind=well.control,
            well=well.well,
            batch=well.batch,
            readings=_readings(measured[well.well]),
        )
        for well in plate.wells
        if well.control and not well.targets
    ]
    split: dict[tuple[str, str], list[LoadedWell]] = defaultdict(list)
    for well in plate.wells:
        if well.control and well.targets:  # wells with one target each are one control together
            split[well.control, well.batch].append(well)
    controls += [
        ControlReading(
            kind=kind,
            well=", ".join(well.well for well in wells),
            batch=batch,
            readings=tuple(reading for well in wells for reading in _readings(measured[well.well])),
        )
        for (kind, batch), wells in split.items()
    ]
    batches = {well.batch for well in plate.wells if well.tube and well.batch}
    return judge_plate(
        controls, plate.assay, batches=batches, instrument=run.instrument, laboratory=rules.laboratory
    )


def _readings(measured: Iterable[Measured]) -> tuple[Reading, ...]:
    return tuple(Reading(one.target, one.cq, one.curve or None) for one in measured if not one.omitted)


def read_wells(
    unit: Unit,
    rules: Rulebook,
    plate: Plate,
    instrument: str,
    measured: Mapping[str, tuple[Measured, ...]],
    verdict: PlateVerdict,
) -> tuple[list[Judged], list[tuple[Tube, LoadedWell]]]:
    """Interpret and decide every tube whose batch is valid; the rest is void.

    ``instrument`` is the cycler's model as its files name it; some cutoffs depend on it.
    """
    by_tube: dict[str, list[LoadedWell]] = defaultdict(list)
    for well in plate.wells:
        if well.tube:
            by_tube[well.tube].append(well)
    valid: list[tuple[Tube, list[LoadedWell]]] = []
    voided: list[tuple[Tube, LoadedWell]] = []
    for code, wells in sorted(by_tube.items()):
        tube = plate.tubes[code]
        if verdict.batch_valid(wells[0].batch):
            valid.append((tube, wells))
        else:
            voided.append((tube, wells[0]))
    bench = Bench(plate.assay, instrument, rules.laboratory)
    outcomes = interpreted(bench, [wells for _, wells in valid], measured)
    read = [
        _Read(tube, wells, said, _deciding_curve(said, wells, measured), lone_target(said, plate.assay))
        for (tube, wells), said in zip(valid, outcomes, strict=True)
    ]
    doubts = doubts_about(unit, rules, plate, measured, [one.alone for one in read])
    past = _past(unit, plate)
    decisions = decide_each((_case(unit, one, past, doubts) for one in read), rules.case(plate.assay))
    judged = [
        Judged(one.tube, one.wells[0], one.outcome, one.curve, decision, one.alone)
        for one, decision in zip(read, decisions, strict=True)
    ]
    return judged, voided


@dataclass(frozen=True, slots=True)
class Bench:
    """What every specimen of a run is read with: the assay, the cycler's model, the laboratory."""

    assay: AssayRules
    instrument: str
    laboratory: str


def interpreted(
    bench: Bench, tubes: Sequence[Sequence[LoadedWell]], measured: Mapping[str, tuple[Measured, ...]]
) -> list[Outcome]:
    """What the wells of each tube say.

    All tubes that lie in one well with all their targets are read at once.

    Raises:
        ReadingError: a value that no cycler can mean.
    """
    names = tuple(target.name for target in bench.assay.targets)
    whole = {
        at: measured[wells[0].well]
        for at, wells in enumerate(tubes)
        if len(wells) == 1 and _is_whole(measured[wells[0].well], names)
    }
    found = dict(zip(whole, _at_once(bench, list(whole.values())), strict=True))
    for at, wells in enumerate(tubes):
        if at not in found:
            readings = tuple(reading for well in wells for reading in _readings(measured[well.well]))
            found[at] = interpret(
                readings, bench.assay, instrument=bench.instrument, laboratory=bench.laboratory
            )
    return [found[at] for at in range(len(tubes))]


def _is_whole(many: Sequence[Measured], names: tuple[str, ...]) -> bool:
    """Whether a well has each target of the assay once, in its order, with values that can be read."""
    return tuple(one.target for one in many) == names and all(
        not one.omitted and one.curve in CURVE_CODES and (one.cq is None or 0 < one.cq < math.inf)
        for one in many
    )


CURVE_CODES: Final = {"": 0} | {word: code for code, word in enumerate(CURVES, 1)}
"""Curve verdict -> its code in arrays."""


def _at_once(bench: Bench, wells: Sequence[Sequence[Measured]]) -> list[Outcome]:
    if not wells:
        return []
    cqs = [[math.nan if one.cq is None else one.cq for one in many] for many in wells]
    curves = [[CURVE_CODES[one.curve] for one in many] for many in wells]
    batch = interpret_many(
        cqs, bench.assay, curves=curves, instrument=bench.instrument, laboratory=bench.laboratory
    )
    return outcomes_of(batch, bench.assay)


class _Read(Struct, frozen=True):
    """A tube of the plate and what its wells say; ``alone`` names the target that came alone, if one did."""

    tube: Tube
    wells: Sequence[LoadedWell]
    outcome: Outcome
    curve: str
    alone: str


def _case(unit: Unit, one: _Read, past: _Past, doubts: Doubts) -> Case:
    tube, outcome = one.tube, one.outcome
    now = _finding(tube, "(now)", outcome.call, outcome.rule, tube.test, one.curve)
    waited = unit.now - tube.received_at if tube.received_at else timedelta(0)
    return Case(
        material=MATERIAL[tube.kind],
        findings=(*past.own.get(tube.tube_id, ()), now),
        persons=tube.persons,
        tier=tube.tier,
        earlier=tuple(past.others.get(tube.tube_id, ())),
        evidence=doubts.about([well.well for well in one.wells], one.alone),
        waited_hours=max(waited.total_seconds() / 3600, 0.0),
    )


@dataclass(frozen=True, slots=True)
class _Past:
    """Earlier findings of the tubes, and of the other specimens of their persons."""

    own: Mapping[str, list[Finding]]
    others: Mapping[str, list[Finding]]


def _past(unit: Unit, plate: Plate) -> _Past:
    singles = [code for code, tube in plate.tubes.items() if tube.kind is TubeKind.SINGLE]
    other = queries.other_singles(unit.conn, singles)
    called = {code for code, tube in plate.tubes.items() if tube.tests}
    calls = queries.calls(unit.conn, called.union(*other.values()))
    own = {code: [_as_finding(row, plate.tubes[code].kind) for row in calls[code]] for code in called}
    others = {
        code: [_as_finding(row, TubeKind.SINGLE) for one in codes for row in calls.get(one, ())]
        for code, codes in other.items()
    }
    return _Past(own, others)


def _as_finding(row: CallRow, kind: TubeKind) -> Finding:
    return Finding(
        specimen=row.tube_id,
        run=row.run_id,
        call=Call(row.outcome),
        rule=row.rule,
        test=row.test,
        curve=row.curve or None,
        kit=row.assay,
        material=MATERIAL[kind],
    )


def _finding(tube: Tube, run: str, call: Call, rule: str, test: str, curve: str) -> Finding:
    return Finding(tube.tube_id, run, call, rule, test, curve or None, material=MATERIAL[tube.kind])


SIGNALS: Final = frozenset({"grey", "detected", "partial"})


def _deciding_curve(
    outcome: Outcome, wells: Sequence[LoadedWell], measured: Mapping[str, tuple[Measured, ...]]
) -> str:
    """The curve verdict that a grey result rests on: the best curve among the targets that gave a signal."""
    signals = {name for name, state in outcome.targets if state in SIGNALS}
    if not signals:
        return ""
    readings = (one for well in wells for one in measured[well.well] if not one.omitted)
    seen = {one.curve for one in readings if one.target in signals and one.curve}
    return next((verdict for verdict in ("sigmoid", "atypical", "flat") if verdict in seen), "")
