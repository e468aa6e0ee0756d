"""From a file to decided tubes: controls first, then interpretation, then what happens next.

One transaction a file. Either every tube of the plate moves, or the file is quarantined and none does.
Earlier runs are never touched: a result is a new row that points at its run.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, assert_never

from lis import events as e
from lis import ledger, queries
from lis.barcodes import PLATE
from lis.events import TubeKind
from lis.matching import (
    OTHER_SERIAL,
    LoadedWell,
    Measured,
    Mismatch,
    Sender,
    match,
    same_instrument,
    serial_in,
)
from lis.tube import NEXT_STEP, Tube, TubeState
from retest import (
    AssayRules,
    Call,
    Case,
    Conclude,
    ControlReading,
    Decision,
    Finding,
    Material,
    Outcome,
    PlateVerdict,
    Reading,
    ReadingError,
    Recollect,
    Retest,
    TestSingly,
    decide,
    interpret,
    judge_plate,
)
from retest.void import repeat_of_void

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from instruments import InstrumentError, RunFile
    from lis.db import Unit
    from lis.ledger import Recorded
    from lis.queries import CallRow
    from lis.rulebook import Rulebook

MATERIAL = {TubeKind.SINGLE: Material.single, TubeKind.MIXED: Material.mixed, TubeKind.POOL: Material.pool}


@dataclass(frozen=True, slots=True)
class Parsed:
    """A file after its reader: a run, or why there is none.

    Attributes:
        curves: (well, target, dye) -> curve verdict; empty where the file holds no curves.
    """

    run: RunFile | None
    code: str = ""
    sentence: str = ""
    curves: Mapping[tuple[str, str, str], str] = field(default_factory=dict)

    @classmethod
    def failed(cls, error: InstrumentError) -> Parsed:
        """A file that no reader could use."""
        return cls(None, error.code, str(error))


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of a file. ``decisions`` counts tubes by what happens to them next.

    Attributes:
        pools: pools that were read, or of which a member was, and that are not cleared up.
        undecided: what the case rules say of these pools, and of members that read negative; the decoding
            of the pools decides about them.
    """

    file_id: str
    state: str
    code: str = ""
    sentence: str = ""
    plate_id: str = ""
    run_id: str = ""
    tubes: tuple[str, ...] = ()
    decisions: Mapping[str, int] = field(default_factory=dict)
    pools: frozenset[str] = frozenset()
    undecided: Mapping[str, Decision] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Plate:
    """A plate with everything that is asked about it."""

    plate_id: str
    assay: AssayRules
    wells: tuple[LoadedWell, ...]
    tubes: Mapping[str, Tube]
    instrument: str


@dataclass(frozen=True, slots=True)
class _Judged:
    """A tube of the plate with its reading and what the rules make of it."""

    tube: Tube
    well: LoadedWell
    outcome: Outcome
    curve: str
    decision: Decision


def ingest(unit: Unit, rules: Rulebook, file_id: str, parsed: Parsed) -> Ingested:
    """Take a received file over into the laboratory, or quarantine it with the reason.

    Asking again about a file that was read answers what was done then.
    """
    # gather
    status = queries.status_of_file(unit.conn, file_id)
    row = queries.file_head(unit.conn, file_id)
    if status is None or row is None:
        raise LookupError(file_id)
    if status["state"] != "waiting":
        return Ingested(
            file_id, status["state"], status["code"], status["reason"], status["plate_id"], status["run_id"]
        )
    # decide
    try:
        run = _usable(parsed)
        plate = _plate_for(unit, rules, run, status["plate_id"] or row["plate_id"] or _plate_in(row["name"]))
        doubt = _other_cycler(unit, run, plate, row["device"])
        measured = match(run, plate.plate_id, plate.wells, plate.assay, parsed.curves)
        if doubt:  # a person's file: taken over, and held by the release rules until somebody looked
            measured = {well: _flagged(many, OTHER_SERIAL) for well, many in measured.items()}
        verdict = _judge(rules, plate, run, measured)
        judged, voided = _read_wells(unit, rules, plate, run, measured, verdict)
    except Mismatch as error:
        return _quarantine(unit, file_id, error)
    except ReadingError as error:  # a value no cycler can mean, such as a Cq of 0
        code = error.code.upper().replace("-", "_")
        return _quarantine(unit, file_id, Mismatch(code, f"{parsed_name(parsed)}: {error}"))
    run_id = _run_id(file_id, plate.plate_id, measured)
    pools = _open_pools(unit, plate)
    undecided = {one.tube.tube_id: one.decision for one in judged if _is_left(one, pools)}
    facts = [fact for one in judged for fact in _facts(unit, rules, plate, run_id, one, undecided)]
    facts += [(tube.tube_id, _void(rules, plate, run_id, well, verdict, tube)) for tube, well in voided]
    # apply
    _save_run(unit, plate, _Read(run_id, file_id, row["device"], run, verdict), measured)
    ledger.append(unit, facts, plate.tubes)
    decisions = _tally(judged, voided)
    tubes = tuple(sorted(plate.tubes))
    touched = frozenset(code for one in judged if (code := _pool_of(one.tube, pools)))
    done = Ingested(file_id, "read", "", "", plate.plate_id, run_id, tubes, decisions, touched, undecided)
    queries.update_row(
        unit.conn,
        "file_status",
        {"file_id": file_id},
        state="read",
        code="",
        reason="",
        plate_id=plate.plate_id,
        run_id=run_id,
        decided_at=unit.now,
        decided_by=unit.actor,
    )
    if not verdict.run_valid or verdict.failed_batches:
        _alarm(unit, "CONTROL_FAILED", plate.plate_id, _verdict_text(verdict) or "a control failed")
    if doubt:
        _alarm(unit, OTHER_SERIAL, plate.plate_id, doubt)
    return done


def parsed_name(parsed: Parsed) -> str:
    """Name of the file, for sentences."""
    return parsed.run.name if parsed.run else "the file"


# -- is the file usable, and for which plate -----------------------------------------------------


def _usable(parsed: Parsed) -> RunFile:
    if parsed.run is None:
        raise Mismatch(parsed.code, parsed.sentence)
    run = parsed.run
    if not run.complete and set(run.reasons) - set(run.assumptions):
        raise Mismatch(
            "INCOMPLETE_FILE",
            f"{run.name} is not whole: {'; '.join(run.reasons)}. Export it again from the cycler.",
        )
    if not run.readings:
        raise Mismatch("NO_RESULTS", f"{run.name} holds no results. Export the results table of the run.")
    return run


def _other_cycler(unit: Unit, run: RunFile, plate: _Plate, sender: str) -> str:
    """The doubt whether the file is from the cycler of the loading; a first serial is remembered.

    Raises:
        Mismatch: ``OTHER_INSTRUMENT``.
    """
    known = [Sender(*one) for one in queries.cyclers(unit.conn)]
    doubt = same_instrument(run, plate.plate_id, plate.instrument, sender, known)
    if plate.instrument and (serial := serial_in(run.serial)):
        queries.update_row(unit.conn, "device", {"name": sender, "serial": ""}, serial=serial)
    return doubt


def _flagged(many: tuple[Measured, ...], flag: str) -> tuple[Measured, ...]:
    return tuple(replace(one, flags=(*one.flags, flag)) for one in many)


def _plate_in(name: str) -> str:
    found = PLATE.regex.search(name)
    return found.group() if found else ""


def _plate_for(unit: Unit, rules: Rulebook, run: RunFile, named: str) -> _Plate:
    plate_id = named or run.plate
    row = queries.plate_row(unit.conn, plate_id) if plate_id else None
    if row is None:
        raise Mismatch(
            "UNKNOWN_PLATE",
            f"{run.name} is for plate {plate_id or '(not named)'}, which is not known here. "
            "Name the right plate, or dismiss the file.",
        )
    if row["state"] not in {"planned", "running"}:
        raise Mismatch(
            "PLATE_DONE",
            f"Plate {plate_id} is {row['state']} already; a second result for it is not taken over by "
            "itself. Compare both files and decide.",
        )
    wells = tuple(_loaded(well) for well in queries.wells(unit.conn, plate_id))
    tubes = ledger.tubes(unit.conn, {well.tube for well in wells if well.tube})
    for tube in tubes.values():
        if tube.plate_id != plate_id or tube.state not in {TubeState.PLATED, TubeState.RUNNING}:
            raise Mismatch(
                "TUBE_MOVED_ON",
                f"Tube {tube.tube_id} of plate {plate_id} is {tube.state.replace('_', ' ')}; a result for "
                f"it is not possible now. {NEXT_STEP[tube.state]}",
            )
    assay = rules.assay(row["assay"], row["assay_version"])
    return _Plate(plate_id, assay, wells, tubes, row["instrument"])


def _loaded(row: Mapping[str, str | None]) -> LoadedWell:
    targets = row["targets"] or ""
    return LoadedWell(
        well=row["well"] or "",
        tube=row["tube_id"] or "",
        control=row["control"] or "",
        batch=row["batch"] or "",
        test=row["test"] or "",
        targets=tuple(name for name in targets.split(",") if name),
    )


def _quarantine(unit: Unit, file_id: str, error: Mismatch) -> Ingested:
    queries.update_row(
        unit.conn,
        "file_status",
        {"file_id": file_id},
        state="quarantined",
        code=error.code,
        reason=error.sentence,
        decided_at=unit.now,
        decided_by=unit.actor,
    )
    return Ingested(file_id, "quarantined", error.code, error.sentence)


def _alarm(unit: Unit, code: str, subject: str, sentence: str) -> None:
    queries.insert_rows(
        unit.conn, "alarm", [{"at": unit.now, "code": code, "subject": subject, "sentence": sentence}]
    )


# -- controls, wells, cases ----------------------------------------------------------------------


def _judge(
    rules: Rulebook, plate: _Plate, run: RunFile, measured: Mapping[str, tuple[Measured, ...]]
) -> PlateVerdict:
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


def _read_wells(
    unit: Unit,
    rules: Rulebook,
    plate: _Plate,
    run: RunFile,
    measured: Mapping[str, tuple[Measured, ...]],
    verdict: PlateVerdict,
) -> tuple[list[_Judged], list[tuple[Tube, LoadedWell]]]:
    """Interpret and decide every tube whose batch is valid; the rest is void."""
    by_tube: dict[str, list[LoadedWell]] = defaultdict(list)
    for well in plate.wells:
        if well.tube:
            by_tube[well.tube].append(well)
    past = _past(unit, plate)
    judged: list[_Judged] = []
    voided: list[tuple[Tube, LoadedWell]] = []
    for code, wells in sorted(by_tube.items()):
        tube = plate.tubes[code]
        if not verdict.batch_valid(wells[0].batch):
            voided.append((tube, wells[0]))
            continue
        readings = tuple(reading for well in wells for reading in _readings(measured[well.well]))
        outcome = interpret(readings, plate.assay, instrument=run.instrument, laboratory=rules.laboratory)
        curve = _deciding_curve(outcome, readings)
        now = _finding(tube, "(now)", outcome.call, outcome.rule, tube.test, curve)
        case = Case(
            material=MATERIAL[tube.kind],
            findings=(*past.own.get(code, ()), now),
            persons=tube.persons,
            tier=tube.tier,
            earlier=tuple(past.others.get(code, ())),
        )
        judged.append(_Judged(tube, wells[0], outcome, curve, decide(case, rules.case(plate.assay))))
    return judged, voided


@dataclass(frozen=True, slots=True)
class _Past:
    """Earlier findings of the tubes, and of the other specimens of their persons."""

    own: Mapping[str, list[Finding]]
    others: Mapping[str, list[Finding]]


def _past(unit: Unit, plate: _Plate) -> _Past:
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


# -- decisions as events -------------------------------------------------------------------------


def _open_pools(unit: Unit, plate: _Plate) -> dict[str, str]:
    """Single tube of this plate -> its pool, where that pool was read and is not cleared up."""
    again = [
        code for code, tube in plate.tubes.items() if tube.kind is TubeKind.SINGLE and tube.test != "first"
    ]
    homes = queries.pools_of(unit.conn, again) if again else {}
    pools = ledger.tubes(unit.conn, homes.values()) if homes else {}
    return {code: pool for code, pool in homes.items() if pools[pool].state is TubeState.RESULTED}


def _pool_of(tube: Tube, pools: Mapping[str, str]) -> str:
    return tube.tube_id if tube.kind is TubeKind.POOL else pools.get(tube.tube_id, "")


def _is_left(one: _Judged, pools: Mapping[str, str]) -> bool:
    """Whether the decoding of pools decides: about a pool, and about a negative member of an open one."""
    if one.tube.kind is TubeKind.POOL:
        return True
    negative = isinstance(one.decision, Conclude) and one.decision.result == "negative"
    return negative and one.tube.tube_id in pools


def _facts(
    unit: Unit,
    rules: Rulebook,
    plate: _Plate,
    run_id: str,
    one: _Judged,
    undecided: Collection[str],
) -> list[Recorded]:
    code = one.tube.tube_id
    called = e.Called(
        run_id=run_id,
        plate_id=plate.plate_id,
        well=one.well.well,
        outcome=one.outcome.call.value,
        rule=one.outcome.rule,
        assay=one.outcome.assay,
        assay_version=one.outcome.version,
        test=one.tube.test,
        curve=one.curve,
    )
    return [(code, called)] if code in undecided else [(code, called), *_tube_facts(unit, rules, one)]


def _tube_facts(unit: Unit, rules: Rulebook, one: _Judged) -> list[Recorded]:
    code, decision = one.tube.tube_id, one.decision
    match decision:
        case Conclude():
            return [(code, e.Concluded(decision.result, decision.reason))]
        case Retest():
            due = _next_due(unit, one.tube, decision.hours)
            return [(code, e.RetestOrdered(decision.kind, decision.reason, decision.priority, due))]
        case TestSingly():
            due = _next_due(unit, one.tube, decision.hours)
            return [(code, e.RetestOrdered("re-extract", decision.reason, decision.priority, due))]
        case Recollect():
            persons = queries.persons_in(unit.conn, code)
            return ledger.recalls(
                code, persons, decision.reason, unit.now + timedelta(hours=rules.recall_hours)
            )
        case _:
            assert_never(decision)


def _next_due(unit: Unit, tube: Tube, hours: float) -> datetime:
    return _soon(unit, tube) if hours <= 0 else min(_soon(unit, tube), unit.now + timedelta(hours=hours))


def _soon(unit: Unit, tube: Tube) -> datetime:
    return tube.due_at or unit.now


def _void(
    rules: Rulebook, plate: _Plate, run_id: str, well: LoadedWell, verdict: PlateVerdict, tube: Tube
) -> e.Voided:
    scope = "extraction" if verdict.run_valid else "run"
    reasons = [failure.reason for failure in verdict.failures if failure.scope == scope]
    test = repeat_of_void(scope, tube.test)
    return e.Voided(
        run_id=run_id,
        plate_id=plate.plate_id,
        well=well.well,
        scope=scope,
        reason=f"{scope}-failed: {', '.join(sorted(set(reasons)))}",
        test=test,
        priority=rules.void_priority(tube),
    )


def _tally(judged: Sequence[_Judged], voided: Sequence[object]) -> dict[str, int]:
    counts: dict[str, int] = defaultdict(int)
    for one in judged:
        counts[type(one.decision).__name__.lower()] += 1
    if voided:
        counts["void"] = len(voided)
    return dict(counts)


# -- what is kept of a run -----------------------------------------------------------------------


def _run_id(file_id: str, plate_id: str, measured: Mapping[str, tuple[Measured, ...]]) -> str:
    values = [(m.well, m.target, m.dye, m.cq, m.curve) for many in measured.values() for m in many]
    return ledger.run_seal(file_id, plate_id, values)


@dataclass(frozen=True, slots=True)
class _Read:
    """A file that was taken over: which run it is, of which plate, and what its controls said."""

    run_id: str
    file_id: str
    device: str
    run: RunFile
    verdict: PlateVerdict


def _save_run(unit: Unit, plate: _Plate, done: _Read, measured: Mapping[str, tuple[Measured, ...]]) -> None:
    text = _verdict_text(done.verdict)
    row = {
        "run_id": done.run_id,
        "plate_id": plate.plate_id,
        "file_id": done.file_id,
        "device": done.device,
        "format": done.run.format,
        "instrument": done.run.instrument,
        "serial": done.run.serial,
        "started_at": done.run.run_started,
        "ended_at": done.run.run_ended,
        "read_at": unit.now,
        "valid": done.verdict.run_valid,
        "failed_batches": ",".join(sorted(done.verdict.failed_batches)),
        "verdict": text,
    }
    queries.insert_rows(unit.conn, "run", [row])
    plan = {well.well: well for well in plate.wells}
    readings = [_reading_row(done.run_id, plan[one.well], one) for many in measured.values() for one in many]
    queries.insert_rows(unit.conn, "reading", readings)
    state = "read" if done.verdict.run_valid else "failed"
    queries.update_row(
        unit.conn, "plate", {"plate_id": plate.plate_id}, state=state, reason=text, closed_at=unit.now
    )


def _reading_row(run_id: str, plan: LoadedWell, one: Measured) -> dict[str, object]:
    return {
        "run_id": run_id,
        "well": one.well,
        "target": one.target,
        "dye": one.dye,
        "tube_id": plan.tube or None,
        "control": plan.control or None,
        "sample": one.sample,
        "cq": one.cq,
        "raw_cq": one.raw_cq,
        "curve": one.curve,
        "call": one.call,
        "flags": ",".join(one.flags),
    }


def _verdict_text(verdict: PlateVerdict) -> str:
    return "; ".join(
        f"{failure.kind} {failure.well} {failure.target}: {failure.en}".replace("  ", " ")
        for failure in verdict.failures
    )
