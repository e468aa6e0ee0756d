"""The hold tray, and tubes that are refused."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from lis import events as e
from lis import ledger, queries
from lis.errors import Invalid
from lis.tube import Tube, TubeState

if TYPE_CHECKING:
    from lis.db import Unit
    from lis.ledger import Recorded
    from lis.rulebook import Rulebook


def hold(unit: Unit, barcode: str, reason: str) -> Tube:
    """Put a damaged or doubtful tube on hold."""
    tube = ledger.known(unit.conn, barcode)
    return ledger.append(unit, [(tube.tube_id, e.HeldDamaged(_needed(reason)))])[tube.tube_id]


def clear_hold(unit: Unit, barcode: str, reason: str) -> Tube:
    """Let a held tube be tested after all."""
    tube = ledger.known(unit.conn, barcode)
    return ledger.append(unit, [(tube.tube_id, e.HoldCleared(_needed(reason)))])[tube.tube_id]


def reject(unit: Unit, rules: Rulebook, barcode: str, reason: str) -> Tube:
    """Refuse to test a tube; its persons, if known, are called back for a new specimen.

    The members of a rejected pool are retained: they are tested singly.
    """
    # gather
    tube = ledger.known(unit.conn, barcode)
    persons = queries.persons_in(unit.conn, tube.tube_id)
    members = ledger.tubes(unit.conn, queries.pool_members(unit.conn, [tube.tube_id])[tube.tube_id])
    # decide
    facts: list[Recorded] = [(tube.tube_id, e.Rejected(_needed(reason)))]
    if persons:
        facts += ledger.recalls(tube.tube_id, persons, reason, unit.now + timedelta(hours=rules.recall_hours))
    facts += [
        (
            code,
            e.RetestOrdered(
                "singly", f"pool-rejected: {reason}", rules.void_priority(one), one.due_at or unit.now
            ),
        )
        for code, one in members.items()
        if one.state in {TubeState.POOLED, TubeState.RESULTED}  # waits for its pool, or for its second test
    ]
    # apply
    return ledger.append(unit, facts)[tube.tube_id]


def _needed(reason: str) -> str:
    if not reason.strip():
        raise Invalid("REASON", "Say why; the reason is kept with the tube.")
    return reason.strip()
