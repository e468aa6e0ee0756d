"""Negatives that leave together: counted and listed first, then all of them or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lis import events as e
from lis import ledger, queries
from lis.errors import Invalid, Refused
from lis.services.reports.evidence import Evidence, evidence_of
from lis.services.reports.releasing import Issued, issue, missing_signatures
from lis.tube import Tube, TubeState, illegal_sentence
from retest import auto_verify

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lis.db import Unit
    from lis.rulebook import Rulebook


def routine_negatives(unit: Unit, rules: Rulebook, limit: int) -> list[Tube]:
    """Negatives in review that no written rule holds and that one signature of this person would complete."""
    waiting = queries.tubes_in_state(unit.conn, TubeState.IN_REVIEW)
    tubes = [tube for tube in waiting if tube.result == "negative"][:limit]
    held = _why_not_routine(unit, rules, tubes, evidence_of(unit, rules, tubes))
    return [tube for tube in tubes if tube.tube_id not in held]


def _why_not_routine(
    unit: Unit, rules: Rulebook, tubes: Sequence[Tube], evidence: Mapping[str, Evidence]
) -> dict[str, str]:
    """Tube -> why it must be looked at by itself."""
    signers = queries.signers(unit.conn, [tube.tube_id for tube in tubes])
    found = {}
    for tube in tubes:
        blocked = auto_verify(evidence[tube.tube_id].facts, rules.release)
        missing = missing_signatures(tube, rules)
        if blocked:
            found[tube.tube_id] = blocked[0].sentence_en
        elif missing > 1 or (missing and unit.actor in signers.get(tube.tube_id, ())):
            found[tube.tube_id] = "It needs the signature of another person."
    return found


def release_negatives(unit: Unit, rules: Rulebook, barcodes: Sequence[str]) -> Issued:
    """Sign and release negatives together: all of those named, or none.

    Raises:
        Refused: ``NOT_ROUTINE``: one of them is no negative, or a rule holds it; ``NOT_IN_REVIEW``.
        Invalid: ``NONE_NAMED``.
    """
    # gather
    tubes = [ledger.known(unit.conn, code) for code in dict.fromkeys(barcodes)]
    evidence = evidence_of(unit, rules, tubes)
    # decide
    if not tubes:
        raise Invalid("NONE_NAMED", "No tube was named. Open the list of negatives again.")
    held = _why_not_routine(unit, rules, tubes, evidence)
    for tube in tubes:
        if tube.state is not TubeState.IN_REVIEW:
            raise Refused("NOT_IN_REVIEW", illegal_sentence(tube, e.Released), tube=tube.tube_id)
        if tube.result != "negative" or tube.tube_id in held:
            why = held.get(tube.tube_id, f"It is {tube.result}.")
            raise Refused(
                "NOT_ROUTINE",
                f"Tube {tube.tube_id} cannot leave together with others: {why} Nothing was released; "
                "review this tube by itself.",
                tube=tube.tube_id,
            )
    # apply
    open_: list[Tube] = []
    signed: list[Tube] = []
    for tube in tubes:
        (open_ if missing_signatures(tube, rules) else signed).append(tube)
    by_me = issue(unit, rules, open_, evidence, signing=(unit.actor,))
    before = issue(unit, rules, signed, evidence)
    return Issued({**by_me.reports, **before.reports})
