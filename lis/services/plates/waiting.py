"""What waits for a plate, and whether it may stand on one now."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from lis import barcodes, ledger, queries
from lis import events as e
from lis.errors import Invalid, Refused
from lis.tube import Tube, TubeState, illegal_sentence
from scheduler.jobs import Job

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lis.db import Unit
    from lis.rulebook import Rulebook
    from retest import AssayRules

FILLABLE = (TubeState.RECEIVED, TubeState.AWAITING_RETEST)
SECOND_KIT = "second-kit"
SHIFT: Final = timedelta(hours=8)
JOBS_CONSIDERED = 4000
"""The most urgent jobs that are considered for one plate; ten times what a plate can hold."""


def jobs(unit: Unit, rules: Rulebook) -> list[Job]:
    """Everything that waits for a well, as the scheduler sees it; no pool that waits for its aliquots."""
    waiting = [tube for tube in queries.tubes_in_state(unit.conn, *FILLABLE) if not tube.open_aliquots]
    waiting = waiting[:JOBS_CONSIDERED]
    kits = second_kits(unit, rules, waiting)
    return [_job(tube, rules, kits.get(tube.tube_id, ())) for tube in waiting]


def jobs_of(unit: Unit, rules: Rulebook, tubes: Iterable[str]) -> dict[str, Job]:
    """Tube -> its job as the scheduler sees it: why it waits, until when, with which assay."""
    found = ledger.tubes(unit.conn, tubes)
    kits = second_kits(unit, rules, found.values())
    return {code: _job(tube, rules, kits.get(code, ())) for code, tube in found.items()}


def candidate(unit: Unit, rules: Rulebook, scanned: str, assay_id: str) -> Job:
    """The job of a tube that somebody wants on the next plate.

    Raises:
        Invalid: the code has not the shape of a tube or pool. NotFound: nobody knows it.
        Refused: it cannot be plated now, or not with this assay.
    """
    tube = ledger.known(unit.conn, barcodes.parse(scanned, barcodes.TUBE, barcodes.POOL))
    assay = rules.assay(assay_id or rules.default_assay)
    check_waiting(tube, assay)
    kits = second_kits(unit, rules, [tube])
    check_kits(kits, assay)
    return _job(tube, rules, kits.get(tube.tube_id, ()))


def second_kits(unit: Unit, rules: Rulebook, tubes: Iterable[Tube]) -> dict[str, tuple[str, ...]]:
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


def plates_queued(unit: Unit) -> int:
    """Plates that must wait for a cycler: more are on the way than cyclers have been in use in a shift.

    A plate made longer ago was put aside and keeps nobody from closing another; a laboratory that has not
    loaded any says nothing about its cyclers.
    """
    planned, cyclers = queries.plates_under_way(unit.conn, unit.now - SHIFT)
    return max(planned - cyclers, 0) if cyclers else 0


def check_waiting(tube: Tube, assay: AssayRules) -> None:
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


def check_kits(kits: Mapping[str, tuple[str, ...]], assay: AssayRules) -> None:
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
