"""The next plate: what the scheduler or a person puts on it, checked, then made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from lis import barcodes, ledger, queries
from lis import events as e
from lis.errors import Refused
from lis.services.plates.waiting import check_kits, check_waiting, jobs, plates_queued, second_kits
from lis.services.plates.wells import WellOrder, by_hand, by_plan, check_controls
from lis.tube import Tube
from scheduler.fill import Plan, Wait, fill_plate
from scheduler.jobs import Expected

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from lis.db import Unit
    from lis.ledger import Recorded
    from lis.queries import Row
    from lis.rulebook import Rulebook
    from retest import AssayRules
    from scheduler.plates import PlateTemplate


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


def propose(unit: Unit, rules: Rulebook, order: PlateOrder, expected: Sequence[Expected] = ()) -> Plan | Wait:
    """What the scheduler would put on the next plate, or until when it would wait.

    ``expected`` are the jobs foreseen from plates that are still running.
    """
    template = rules.template(order.template)
    waiting = jobs(unit, rules)
    if order.assay:
        waiting = [job for job in waiting if job.assay == order.assay]
    fill = replace(rules.fill(template, impatient=order.now_whatever), queued=plates_queued(unit))
    return fill_plate(waiting, fill, unit.now, expected)


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
    rows = by_plan(plate_id, plan) if plan else by_hand(plate_id, template, assay, order.wells)
    tubes = ledger.tubes(unit.conn, [row["tube_id"] for row in rows if row["tube_id"]])
    _set_tests(rows, tubes, {well.well for well in order.wells if well.rna})
    facts: dict[str, Recorded] = {}
    for row in rows:
        code = row["tube_id"]
        if code and code not in facts:
            check_waiting(tubes[code], assay)
            facts[code] = (code, e.Plated(plate_id, str(row["well"]), assay.id, tubes[code].test))
    check_controls(plate_id, assay, rows)
    check_kits(second_kits(unit, rules, tubes.values()), assay)
    return _Draft(plate_id, template, assay, rows, list(facts.values()))


def _set_tests(rows: Iterable[Row], tubes: Mapping[str, Tube], rna: Collection[str]) -> None:
    """Which test each well is for; RNA of an earlier plate is of no extraction batch of this one."""
    for row in rows:
        tube = tubes.get(row["tube_id"] or "")
        row["test"] = tube.test if tube else ""
        if row["well"] in rna:
            row["batch"] = ""


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


def _next_code(unit: Unit) -> str:
    while True:
        code = barcodes.mint(barcodes.PLATE, queries.next_number(unit.conn, "plate"))
        if queries.plate_row(unit.conn, code) is None:
            return code
