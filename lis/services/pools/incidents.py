"""What befalls a tube that was pooled: it is lost, found, measured, or its person withdraws."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from lis import events as e
from lis import ledger, queries
from lis.errors import Invalid, Refused
from lis.services.pools.decoding import settle_pools
from lis.services.pools.facts import marks
from lis.tube import TRANSITIONS, Tube, TubeState, illegal_sentence

if TYPE_CHECKING:
    from lis.db import Unit
    from lis.ledger import Recorded
    from lis.rulebook import Rulebook

MOST_UL = 100_000


def lose(unit: Unit, rules: Rulebook, barcode: str, reason: str) -> Tube:
    """A tube cannot be found. If it waits for its own test, its person is called back.

    A member of a pool stays one: a negative pool still answers for it.
    """
    tube = ledger.known(unit.conn, barcode)
    facts: list[Recorded] = [(tube.tube_id, e.Lost(_needed(reason)))]
    if tube.state is TubeState.AWAITING_RETEST:
        facts += _call_back(unit, rules, tube, "MISSING")
    return _recorded(unit, rules, tube, facts)


def find(unit: Unit, rules: Rulebook, barcode: str, reason: str) -> Tube:
    """A lost tube was found before its pool was read.

    Raises:
        Refused: ``NOT_LOST``.
    """
    tube = ledger.known(unit.conn, barcode)
    if not marks(unit.conn, rules, [tube.tube_id])[tube.tube_id].lost:
        raise Refused(
            "NOT_LOST", f"Tube {tube.tube_id} was not reported lost. Nothing was done.", tube=tube.tube_id
        )
    return _recorded(unit, rules, tube, [(tube.tube_id, e.Found(_needed(reason)))])


def withdraw(unit: Unit, rules: Rulebook, barcode: str, reason: str) -> Tube:
    """The person of a single tube withdraws: nothing more is tested or reported; the tube stays in store.

    Its aliquot stays in a pool that is formed already: the true number of members does not change.
    """
    tube = ledger.known(unit.conn, barcode)
    return _recorded(unit, rules, tube, [(tube.tube_id, e.Withdrawn(_needed(reason)))])


def measure(unit: Unit, rules: Rulebook, barcode: str, volume_ul: int) -> Tube:
    """The liquid left in a tube, in microlitres. Too little for its own test: its person is called back.

    Raises:
        Invalid: ``VOLUME``.
    """
    tube = ledger.known(unit.conn, barcode)
    if not 0 <= volume_ul <= MOST_UL:
        raise Invalid("VOLUME", f"A tube holds 0 to {MOST_UL} microlitres, not {volume_ul}. Measure again.")
    facts: list[Recorded] = [(tube.tube_id, e.VolumeMeasured(volume_ul))]
    short = volume_ul < rules.pool.decode.reflex_ul
    if tube.state is TubeState.AWAITING_RETEST and tube.test != "re-amplify" and short:
        facts += _call_back(unit, rules, tube, "LOW_VOLUME")
    return _recorded(unit, rules, tube, facts)


def _call_back(unit: Unit, rules: Rulebook, tube: Tube, reason: str) -> list[Recorded]:
    due = unit.now + timedelta(hours=rules.recall_hours)
    return ledger.recalls(tube.tube_id, queries.persons_in(unit.conn, tube.tube_id), reason, due)


def _recorded(unit: Unit, rules: Rulebook, tube: Tube, facts: list[Recorded]) -> Tube:
    """Record it, decide the pool of the tube anew, and return the tube as it stands then."""
    kind = type(facts[0][1])
    if (tube.state, kind) not in TRANSITIONS:
        raise Refused("ILLEGAL_MOVE", illegal_sentence(tube, kind), tube=tube.tube_id, state=tube.state)
    ledger.append(unit, facts)
    settle_pools(unit, rules, [tube.tube_id])
    return ledger.tubes(unit.conn, [tube.tube_id])[tube.tube_id]


def _needed(reason: str) -> str:
    if not reason.strip():
        raise Invalid("REASON", "Say why; the reason is kept with the tube.")
    return reason.strip()
