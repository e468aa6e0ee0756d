"""What goes into which well, and what may not stand in one."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lis import barcodes
from lis.errors import Invalid, Refused
from retest.controls import missing_controls
from scheduler.fill import Plan
from scheduler.jobs import ScheduleError
from scheduler.plates import CONTROLS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lis.queries import Row
    from retest import AssayRules
    from scheduler.plates import PlateTemplate


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


def by_plan(plate_id: str, plan: Plan) -> list[Row]:
    """The wells of a plate as the scheduler filled it."""
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


def by_hand(
    plate_id: str, template: PlateTemplate, assay: AssayRules, wells: Sequence[WellOrder]
) -> list[Row]:
    """The wells of a plate as a person filled it.

    Raises:
        Refused: a well is used twice, a tube is twice on the plate, or stands where a control must.
        Invalid: a well, target or control is unknown or missing.
    """
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


def check_controls(plate_id: str, assay: AssayRules, rows: Sequence[Row]) -> None:
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
