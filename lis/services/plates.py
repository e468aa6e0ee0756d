"""Plates: what goes into which well, loading confirmed by scan, voiding before a run."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from lis import barcodes, ledger, queries
from lis import events as e
from lis.errors import Conflict, Invalid, NotFound, Refused
from lis.tube import Tube, TubeState, illegal_sentence
from retest.controls import missing_controls
from scheduler.fill import Plan, Wait, fill_plate
from scheduler.jobs import Expected, Job, ScheduleError
from scheduler.plates import CONTROLS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from lis.db import Unit
    from lis.ledger import Recorded
    from lis.queries import Row
    from lis.rulebook import Rulebook
    from retest import AssayRules
    from scheduler.plates import PlateTemplate

FILLABLE = (TubeState.RECEIVED, TubeState.AWAITING_RETEST)
SECOND_KIT = "second-kit"
SHIFT: Final = timedelta(hours=8)
JOBS_CONSIDERED = 4000
"""The most urgent jobs that are considered for one plate; ten times what a plate can hold."""


@dataclass(frozen=True, slots=True)
class WellOrder:
    """What was pipetted into one well by hand: a tube or a control, for some or all targets.

    ``rna`` says that it is eluate of an earlier plate, which no extraction batch of this plate can spoil.
    """

    well: str
    tube: str = ""
    control: str = ""
    targets: tuple[str, ...] = ()
    batch: str = ""
    rna: bool = False


@dataclass(frozen=True, slots=True)
class PlateOrder:
    """A plate to make. Without wells the scheduler fills it.

    Attributes:
        now_whatever: plate what waits even if the policy would rather wait for a fuller plate.
        lot: lot of the PCR reagents, if it was read; lots are compared by what they give.
    """

    barcode: str = ""
    template: str = ""
    assay: str = ""
    wells: tuple[WellOrder, ...] = ()
    now_whatever: bool = True
    lot: str = ""


def jobs(unit: Unit, rules: Rulebook) -> list[Job]:
    """Everything that waits for a well, as the scheduler sees it; no pool that waits for its aliquots."""
    waiting = [tube for tube in queries.tubes_in_state(unit.conn, *FILLABLE) if not tube.open_aliquots]
    waiting = waiting[:JOBS_CONSIDERED]
    kits = _second_kits(unit, rules, waiting)
    return [_job(tube, rules, kits.get(tube.tube_id, ())) for tube in waiting]


def _second_kits(unit: Unit, rules: Rulebook, tubes: Iterable[Tube]) -> dict[str, tuple[str, ...]]:
    """Tube whose second kit is due -> the assays it may be; none of them has read the tube before."""
    due = {tube.tube_id: tube for tube in tubes if tube.test == SECOND_KIT}
    calls = queries.calls(unit.conn, due) if due else {}
    return {
        code: rules.second_kits(tube, {call.assay for call in calls.get(code, ())})
        for code, tube in due.items()
    }


def _job(tube: Tube, rules: Rulebook, kits: Sequence[str] = ()) -> Job:
    moment = tube.received_at or tube.updated_at
    due = tube.due_at or moment
    if moment is None or due is None:
        raise Invalid("NOT_RECEIVED", f"Tube {tube.tube_id} waits for a well but was never received.")
    return Job(
        tube=tube.tube_id,
        assay=kits[0] if kits else tube.assay or rules.default_assay,
        due=due,
        received=moment,
        priority=max(tube.priority, rules.tiers.tier(tube.tier).priority),
        reason=tube.reason if tube.state is TubeState.AWAITING_RETEST else "first",
        step="re-amplify" if tube.test == "re-amplify" else "extract",
        persons=tube.persons,
        tier=tube.tier,
    )


def propose(unit: Unit, rules: Rulebook, order: PlateOrder, expected: Sequence[Expected] = ()) -> Plan | Wait:
    """What the scheduler would put on the next plate, or until when it would wait.

    ``expected`` are the jobs foreseen from plates that are still running.
    """
    template = rules.template(order.template)
    waiting = jobs(unit, rules)
    if order.assay:
        waiting = [job for job in waiting if job.assay == order.assay]
    fill = replace(rules.fill(template, impatient=order.now_whatever), queued=_queued(unit))
    return fill_plate(waiting, fill, unit.now, expected)


def _queued(unit: Unit) -> int:
    """Plates that must wait for a cycler: more are on the way than cyclers have been in use in a shift.

    A plate made longer ago was put aside and keeps nobody from closing another; a laboratory that has not
    loaded any says nothing about its cyclers.
    """
    planned, cyclers = queries.plates_under_way(unit.conn, unit.now - SHIFT)
    return max(planned - cyclers, 0) if cyclers else 0


def create(unit: Unit, rules: Rulebook, order: PlateOrder, expected: Sequence[Expected] = ()) -> str:
    """Make a plate; returns its code.

    ``expected`` are the jobs foreseen from plates that are still running.

    Raises:
        Refused: nothing waits, the plate exists, a tube is twice on it or cannot be plated, a control
            would be overwritten or is missing.
        Invalid: a code, a well or a template is malformed.
    """
    made = _draft(unit, rules, order, expected)
    # apply
    queries.keep_rules(unit.conn, [rules.assay_file(made.assay)], unit.now)
    row = _plate_row(unit, made.plate_id, made.template, made.assay, order.lot)
    queries.insert_rows(unit.conn, "plate", [row])
    queries.insert_rows(unit.conn, "plate_well", made.rows)
    ledger.append(unit, made.facts)
    return made.plate_id


UNNAMED: Final = "(new plate)"
"""What a plate is called in sentences before it has a code."""


def check(unit: Unit, rules: Rulebook, order: PlateOrder) -> None:
    """Refuse what :func:`create` would refuse, and make nothing.

    Raises:
        Refused, Invalid: as :func:`create`.
    """
    _draft(unit, rules, replace(order, barcode=""), (), UNNAMED)


@dataclass(frozen=True, slots=True)
class _Draft:
    """A plate that may be made: its wells, and what happens to its tubes."""

    plate_id: str
    template: PlateTemplate
    assay: AssayRules
    rows: list[Row]
    facts: list[Recorded]


def _draft(
    unit: Unit, rules: Rulebook, order: PlateOrder, expected: Sequence[Expected], name: str = ""
) -> _Draft:
    # gather
    template = rules.template(order.template)
    plan = None if order.wells else propose(unit, rules, order, expected)
    if isinstance(plan, Wait):
        raise Refused(
            "NOTHING_TO_PLATE", f"No plate now ({plan.reason}); ask again at {plan.until:%H:%M} UTC."
        )
    plate_id = name or (barcodes.parse(order.barcode, barcodes.PLATE) if order.barcode else _next_code(unit))
    if queries.plate_row(unit.conn, plate_id) is not None:
        raise Refused(
            "PLATE_EXISTS",
            f"Plate {plate_id} is in use already. Take a plate with a new code.",
            plate=plate_id,
        )
    # decide
    assay = rules.assay(plan.assay if plan else order.assay or rules.default_assay)
    rows = _by_plan(plate_id, plan) if plan else _by_hand(plate_id, template, assay, order.wells)
    tubes = ledger.tubes(unit.conn, [row["tube_id"] for row in rows if row["tube_id"]])
    _set_tests(rows, tubes, {well.well for well in order.wells if well.rna})
    facts: dict[str, Recorded] = {}
    for row in rows:
        code = row["tube_id"]
        if code and code not in facts:
            _check_tube_of(tubes[code], assay)
            facts[code] = (code, e.Plated(plate_id, str(row["well"]), assay.id, tubes[code].test))
    _check_controls(plate_id, assay, rows)
    _check_kits(_second_kits(unit, rules, tubes.values()), assay)
    return _Draft(plate_id, template, assay, rows, list(facts.values()))


def _set_tests(rows: Iterable[Row], tubes: Mapping[str, Tube], rna: Collection[str]) -> None:
    """Which test each well is for; RNA of an earlier plate is of no extraction batch of this one."""
    for row in rows:
        tube = tubes.get(row["tube_id"] or "")
        row["test"] = tube.test if tube else ""
        if row["well"] in rna:
            row["batch"] = ""


def _check_tube_of(tube: Tube, assay: AssayRules) -> None:
    """Whether a tube may stand on a plate of this assay now."""
    if tube.state not in FILLABLE:
        raise Refused("NOT_PLATABLE", illegal_sentence(tube, e.Plated), tube=tube.tube_id, state=tube.state)
    if tube.open_aliquots:
        raise Refused(
            "ALIQUOTS_OPEN",
            f"Pool {tube.tube_id} still waits for {tube.open_aliquots} aliquots to be confirmed by scan. "
            "Finish its worklist first.",
            tube=tube.tube_id,
        )
    if tube.tests and tube.test != SECOND_KIT and tube.assay and tube.assay != assay.id:
        raise Refused(
            "OTHER_ASSAY",
            f"Tube {tube.tube_id} is retested with {tube.assay}; this plate is of {assay.id}. "
            "Put it on a plate of its own assay.",
            tube=tube.tube_id,
            assay=tube.assay,
        )


def jobs_of(unit: Unit, rules: Rulebook, tubes: Iterable[str]) -> dict[str, Job]:
    """Tube -> its job as the scheduler sees it: why it waits, until when, with which assay."""
    found = ledger.tubes(unit.conn, tubes)
    kits = _second_kits(unit, rules, found.values())
    return {code: _job(tube, rules, kits.get(code, ())) for code, tube in found.items()}


def candidate(unit: Unit, rules: Rulebook, scanned: str, assay_id: str) -> Job:
    """The job of a tube that somebody wants on the next plate.

    Raises:
        Invalid: the code has not the shape of a tube or pool. NotFound: nobody knows it.
        Refused: it cannot be plated now, or not with this assay.
    """
    tube = ledger.known(unit.conn, barcodes.parse(scanned, barcodes.TUBE, barcodes.POOL))
    assay = rules.assay(assay_id or rules.default_assay)
    _check_tube_of(tube, assay)
    kits = _second_kits(unit, rules, [tube])
    _check_kits(kits, assay)
    return _job(tube, rules, kits.get(tube.tube_id, ()))


def _plate_row(
    unit: Unit, plate_id: str, template: PlateTemplate, assay: AssayRules, lot: str
) -> dict[str, object]:
    return {
        "plate_id": plate_id,
        "size": template.size,
        "template": template.id,
        "assay": assay.id,
        "assay_version": assay.version,
        "lot": lot.strip(),
        "state": "planned",
        "created_at": unit.now,
        "created_by": unit.actor,
    }


def _by_plan(plate_id: str, plan: Plan) -> list[Row]:
    return [
        {
            "plate_id": plate_id,
            "well": well.well,
            "tube_id": well.tube,
            "control": well.control,
            "batch": f"{plate_id}/{well.batch}" if well.batch else "",
            "targets": "",
        }
        for well in plan.wells
        if well.tube or well.control
    ]


def _by_hand(
    plate_id: str, template: PlateTemplate, assay: AssayRules, wells: Sequence[WellOrder]
) -> list[Row]:
    used: set[str] = set()
    rows = []
    for order in wells:
        if order.well in used:
            raise Refused("WELL_TAKEN", f"Well {order.well} holds something already. Choose another well.")
        used.add(order.well)
        rows.append(_well_row(plate_id, template, assay, order))
    tubes: dict[str, list[Row]] = defaultdict(list)
    controls: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["tube_id"]:
            tubes[row["tube_id"]].append(row)
        elif row["targets"]:  # control wells with one target each are one control of their batch
            controls[f"{row['control']} of {row['batch']}"].append(row)
    for code, own in tubes.items():
        _check_tube(plate_id, code, own)
        _check_targets(f"Tube {code}", assay, own)
    for name, own in controls.items():
        _check_targets(f"Control {name}", assay, own)
    return rows


def _well_row(plate_id: str, template: PlateTemplate, assay: AssayRules, order: WellOrder) -> Row:
    kept = template.control_at
    try:
        batch = template.batch(order.well)
    except ScheduleError as error:
        raise Invalid("WELL_UNKNOWN", str(error)) from error
    if bool(order.tube) == bool(order.control):
        raise Invalid("WELL_CONTENT", f"Well {order.well} needs either a tube or a control.")
    if order.tube and order.well in kept:
        raise Refused(
            "CONTROL_WELL",
            f"Well {order.well} is kept for control {kept[order.well]}; a tube must not go there. "
            "Choose another well.",
            well=order.well,
        )
    known = {*CONTROLS, *(name for rule in assay.controls for name in (rule.kind, *rule.aliases))}
    if order.control and order.control not in known:
        raise Invalid(
            "CONTROL_UNKNOWN",
            f"Well {order.well}: {order.control} is no control of assay {assay.id}. "
            f"Use one of {', '.join(sorted(known))}.",
        )
    return {
        "plate_id": plate_id,
        "well": order.well,
        "tube_id": barcodes.parse(order.tube, barcodes.TUBE, barcodes.POOL) if order.tube else None,
        "control": order.control or None,
        "batch": f"{plate_id}/{order.batch or batch}",
        "targets": ",".join(order.targets),
    }


def _check_tube(plate_id: str, code: str, wells: Sequence[Row]) -> None:
    """A tube has one well, or several wells of one extraction that test different targets."""
    tested = [target for well in wells for target in well["targets"].split(",")]
    whole = any(not well["targets"] for well in wells)
    if len(set(tested)) < len(tested) or (whole and len(wells) > 1):
        raise Refused("TUBE_TWICE", f"Tube {code} is on plate {plate_id} twice. Remove one.", tube=code)
    if len({well["batch"] for well in wells}) > 1:
        raise Refused(
            "TUBE_BATCHES",
            f"The wells of tube {code} lie in different extraction batches, of which one may fail alone. "
            "Keep all wells of a tube in one batch.",
            tube=code,
        )


def _check_targets(what: str, assay: AssayRules, wells: Sequence[Row]) -> None:
    """Wells that test single targets must test all those of the assay, and no others."""
    tested = {target for well in wells for target in well["targets"].split(",") if target}
    names = [target.name for target in assay.targets]
    if strange := tested - set(names):
        raise Invalid(
            "TARGET_UNKNOWN",
            f"{what}: assay {assay.id} has no target {', '.join(sorted(strange))}, only {', '.join(names)}.",
        )
    missing = [name for name in names if name not in tested]
    if tested and missing:
        raise Invalid(
            "TARGET_MISSING",
            f"{what} has no well for target {', '.join(missing)} of assay {assay.id}. Add the well.",
        )


def _check_kits(kits: Mapping[str, tuple[str, ...]], assay: AssayRules) -> None:
    """What one kit has found is checked with another one, as the policy lists them."""
    for code, possible in kits.items():
        if possible and assay.id not in possible:
            named = ", ".join(possible)
            raise Refused(
                "SECOND_KIT",
                f"Tube {code} waits for a second kit; {assay.id} is none for it. Possible: {named}. "
                "Put it on a plate of one of these.",
                tube=code,
                kits=named,
                assay=assay.id,
            )


def _check_controls(plate_id: str, assay: AssayRules, rows: Sequence[Row]) -> None:
    """A plate whose run could never be valid is refused before anybody pipettes it."""
    whole = [(row["control"], row["batch"]) for row in rows if row["control"] and not row["targets"]]
    split = {(row["control"], row["batch"]) for row in rows if row["control"] and row["targets"]}
    batches = {row["batch"] for row in rows if row["tube_id"] and row["batch"]}
    missing = missing_controls([*whole, *sorted(split)], assay, batches)
    if missing:
        kinds = ", ".join(dict.fromkeys(one.rule.kind for one in missing))
        raise Refused(
            "CONTROL_MISSING",
            f"Plate {plate_id}, assay {assay.id}: {' '.join(one.sentence for one in missing)} "
            f"Add control {kinds}, or choose a template that has it.",
            plate=plate_id,
            controls=kinds,
        )


def load(unit: Unit, plate_id: str, scanned: str, instrument: str) -> str:
    """Confirm by scan that this plate is in this cycler; its tubes are running from now on.

    Raises:
        Conflict: the scanned code is another plate's.
        Refused: the plate is not waiting to be loaded.
    """
    # gather
    row = _known(unit, plate_id)
    code = barcodes.parse(scanned, barcodes.PLATE)
    # decide
    if code != plate_id:
        raise Conflict(
            "OTHER_PLATE", f"The plate in your hand is {code}, not {plate_id}. Nothing was started."
        )
    if row["state"] != "planned":
        raise Refused("PLATE_STATE", f"Plate {plate_id} is {row['state']}; it cannot be loaded again.")
    if not instrument.strip():
        raise Invalid("INSTRUMENT", "Say which cycler the plate goes into.")
    tubes = {well["tube_id"] for well in queries.wells(unit.conn, plate_id) if well["tube_id"]}
    # apply
    queries.update_row(
        unit.conn,
        "plate",
        {"plate_id": plate_id},
        state="running",
        instrument=instrument.strip(),
        started_at=unit.now,
    )
    ledger.append(unit, [(tube, e.RunStarted(plate_id, instrument.strip())) for tube in sorted(tubes)])
    return plate_id


def correct_loading(unit: Unit, plate_id: str, instrument: str, reason: str) -> str:
    """Say that a running plate is in another cycler than was confirmed when it was loaded.

    Raises:
        Refused: the plate is not running, or is in that cycler already.
        Invalid: no cycler, or no reason.
    """
    # gather
    row = _known(unit, plate_id)
    tubes = {well["tube_id"] for well in queries.wells(unit.conn, plate_id) if well["tube_id"]}
    # decide
    named, said = instrument.strip(), reason.strip()
    if row["state"] != "running":
        raise Refused(
            "PLATE_STATE", f"Plate {plate_id} is {row['state']}; only a running plate is in a cycler."
        )
    if not named:
        raise Invalid("INSTRUMENT", "Say which cycler the plate is in.")
    if not said:
        raise Invalid("REASON", "Say why the loading is corrected; the reason is kept.")
    if named == row["instrument"]:
        raise Refused("NOTHING_CHANGED", f"Plate {plate_id} was loaded into {named} already.")
    # apply
    queries.update_row(unit.conn, "plate", {"plate_id": plate_id}, instrument=named)
    ledger.append(unit, [(tube, e.LoadingCorrected(plate_id, named, said)) for tube in sorted(tubes)])
    return plate_id


def void(unit: Unit, plate_id: str, reason: str) -> int:
    """Give a plate up before it was read; its tubes queue again. Returns how many.

    Raises:
        Refused: the plate was read already.
    """
    row = _known(unit, plate_id)
    if row["state"] not in {"planned", "running"}:
        raise Refused("PLATE_STATE", f"Plate {plate_id} is {row['state']}; it cannot be voided.")
    if not reason.strip():
        raise Invalid("REASON", "Say why the plate is given up; the reason is kept.")
    wells = {well["tube_id"]: well for well in queries.wells(unit.conn, plate_id) if well["tube_id"]}
    tubes = ledger.tubes(unit.conn, wells)
    queries.update_row(
        unit.conn, "plate", {"plate_id": plate_id}, state="void", reason=reason, closed_at=unit.now
    )
    ledger.append(
        unit,
        [
            (code, e.Voided("", plate_id, tube.well, "plate", reason.strip(), tube.test, tube.priority))
            for code, tube in tubes.items()
        ],
    )
    return len(tubes)


def _known(unit: Unit, plate_id: str) -> dict[str, object]:
    row = queries.plate_row(unit.conn, plate_id)
    if row is None:
        raise NotFound("PLATE_UNKNOWN", f"Plate {plate_id} is not known here. Check the code.")
    return dict(row)


def _next_code(unit: Unit) -> str:
    while True:
        code = barcodes.mint(barcodes.PLATE, queries.next_number(unit.conn, "plate"))
        if queries.plate_row(unit.conn, code) is None:
            return code
