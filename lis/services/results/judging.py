"""Controls first, then every tube: what was read, what is known from before, what the rules make of it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

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
    decide,
    interpret,
    judge_plate,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from instruments import RunFile
    from lis.db import Unit
    from lis.matching import LoadedWell, Measured
    from lis.queries import CallRow
    from lis.rulebook import Rulebook
    from lis.tube import Tube


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
    read: list[_Read] = []
    voided: list[tuple[Tube, LoadedWell]] = []
    for code, wells in sorted(by_tube.items()):
        tube = plate.tubes[code]
        if not verdict.batch_valid(wells[0].batch):
            voided.append((tube, wells[0]))
            continue
        readings = tuple(reading for well in wells for reading in _readings(measured[well.well]))
        outcome = interpret(readings, plate.assay, instrument=instrument, laboratory=rules.laboratory)
        alone = lone_target(outcome, plate.assay)
        read.append(_Read(tube, tuple(wells), outcome, _deciding_curve(outcome, readings), alone))
    doubts = doubts_about(unit, rules, plate, measured, [one.alone for one in read])
    past = _past(unit, plate)
    return [_decided(unit, rules, plate, one, past, doubts) for one in read], voided


@dataclass(frozen=True, slots=True)
class _Read:
    """A tube of the plate and what its wells say; ``alone`` names the target that came alone, if one did."""

    tube: Tube
    wells: tuple[LoadedWell, ...]
    outcome: Outcome
    curve: str
    alone: str


def _decided(unit: Unit, rules: Rulebook, plate: Plate, one: _Read, past: _Past, doubts: Doubts) -> Judged:
    tube, outcome = one.tube, one.outcome
    now = _finding(tube, "(now)", outcome.call, outcome.rule, tube.test, one.curve)
    waited = unit.now - tube.received_at if tube.received_at else timedelta(0)
    case = Case(
        material=MATERIAL[tube.kind],
        findings=(*past.own.get(tube.tube_id, ()), now),
        persons=tube.persons,
        tier=tube.tier,
        earlier=tuple(past.others.get(tube.tube_id, ())),
        evidence=doubts.about([well.well for well in one.wells], one.alone),
        waited_hours=max(waited.total_seconds() / 3600, 0.0),
    )
    decision = decide(case, rules.case(plate.assay))
    return Judged(tube, one.wells[0], outcome, one.curve, decision, one.alone)


@dataclass(frozen=True, slots=True)
class _Past:
    """Earlier findings of the tubes, and of the other specimens of their persons."""

    own: Mapping[str, list[Finding]]
    others: Mapping[str, list[Finding]]


def _past(unit: Unit, plate: Plate) -> _Past:
    singles = [code for code, tube in plate.tubes.items() if tube.kind is TubeKind.SINGLE]
    other = queries.other_singles(unit.conn, singles)
    calls = queries.calls(unit.conn, {*plate.tubes, *(code for codes in other.values() for code in codes)})
    own = {
        code: [_as_finding(row, plate.tubes[code].kind) for row in calls[code]]
        for code in plate.tubes
        if code in calls
    }
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


def _deciding_curve(outcome: Outcome, readings: Sequence[Reading]) -> str:
    """The curve verdict that a grey result rests on: the best curve among the targets that gave a signal."""
    signals = {name for name, state in outcome.targets if state in {"grey", "detected", "partial"}}
    seen = {reading.curve for reading in readings if reading.target in signals and reading.curve}
    return next((verdict for verdict in ("sigmoid", "atypical", "flat") if verdict in seen), "")
