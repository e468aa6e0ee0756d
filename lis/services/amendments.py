"""Corrections of issued reports: as many different people as the results themselves need.

The first person's request is a proposal in the log; the last one that is needed issues the corrected
report. The original stays, and says which one corrects it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from lis import events as e
from lis import ledger, queries
from lis.errors import Forbidden, Invalid, NotFound, Refused
from retest import Material, signatures_needed

if TYPE_CHECKING:
    from lis.db import Unit
    from lis.queries import Row
    from lis.rulebook import Rulebook

RESULTS: Final = ("negative", "positive", "inconclusive", "invalid")


@dataclass(frozen=True, slots=True)
class Amendment:
    """What an act made of a correction.

    Attributes:
        amends: the report that is, or would be, corrected.
        report_id: the corrected report; empty while the correction is only proposed.
        signers: accounts that asked for it so far, in order.
        needed: how many different people must ask for it.
    """

    amends: str
    result: str
    report_id: str
    signers: tuple[str, ...]
    needed: int

    @property
    def status(self) -> str:
        """``proposed`` or ``amended``."""
        return "amended" if self.report_id else "proposed"


def people_needed(rules: Rulebook, material: str, old: str, new: str) -> int:
    """How many different people must ask that ``old`` be corrected to ``new``: what either result needs."""
    return max(signatures_needed(result, Material(material), rules.release) for result in (old, new))


def amend(unit: Unit, rules: Rulebook, report_id: str, result: str, reason: str = "") -> Amendment:
    """Ask that an issued report be corrected; the last person needed issues the correction.

    Args:
        unit: the transaction.
        rules: say how many people each result needs.
        report_id: the report in force.
        result: what it should say.
        reason: printed on the new report; who agrees to a proposal need not repeat it.

    Raises:
        NotFound: no such report. Invalid: no such result, no reason.
        Refused: the report was corrected already, nothing would change, or another correction is open.
        Forbidden: ``SAME_PERSON``: this person has asked for it already.
    """
    # gather
    old = _in_force(unit, report_id)
    tube = ledger.known(unit.conn, old["tube_id"])
    proposal = queries.open_amendment(unit.conn, report_id)
    # decide
    _must_be_possible(old, result)
    needed = people_needed(rules, tube.kind.value, old["result"], result)
    before = () if proposal is None else _agreed(unit, proposal, result)
    said = _needed(reason) if proposal is None else _joined(proposal["reason"], reason)
    signers = (*before, unit.actor)
    # apply
    if len(signers) < needed:
        ledger.append(unit, [(tube.tube_id, e.AmendmentProposed(report_id, result, said))])
        return Amendment(report_id, result, "", signers, needed)
    number = _issue(unit, old, result, said, signers)
    return Amendment(report_id, result, number, signers, needed)


def withdraw(unit: Unit, report_id: str, reason: str) -> None:
    """Give up the open proposal to correct a report; the report stands.

    Raises:
        Refused: ``AMENDMENT_CLOSED``: none is open. Invalid: no reason.
    """
    proposal = queries.open_amendment(unit.conn, report_id)
    if proposal is None:
        raise Refused(
            "AMENDMENT_CLOSED",
            f"No correction of report {report_id} is proposed (any more).",
            report=report_id,
        )
    ledger.append(unit, [(proposal["tube_id"], e.AmendmentWithdrawn(report_id, _needed(reason)))])


def _in_force(unit: Unit, report_id: str) -> Row:
    row = queries.report_row(unit.conn, report_id)
    if row is None:
        raise NotFound("REPORT_UNKNOWN", f"Report {report_id} does not exist. Check the number.")
    if later := queries.amended_by(unit.conn, report_id):
        raise Refused("REPORT_SUPERSEDED", f"Report {report_id} was corrected by {later}. Amend that one.")
    return row


def _must_be_possible(old: Row, result: str) -> None:
    if result not in RESULTS:
        raise Invalid("RESULT", f"A result is one of {', '.join(RESULTS)}.")
    if old["mode"] == "mixed" and result != "negative":
        raise Refused(
            "MIXED_NOT_NEGATIVE", "A mixed tube cannot yield an individual result. Call its persons back."
        )
    if old["mode"] == "pool" and result == "positive":
        raise Refused(
            "POOLED_NOT_POSITIVE",
            f"Report {old['report_id']} rests on a pool, so nobody is positive by it. "
            "Take a new specimen and test it singly.",
            tube=old["tube_id"],
        )
    if result == old["result"]:
        raise Refused("NOTHING_CHANGED", f"Report {old['report_id']} says {result} already.")


def _agreed(unit: Unit, proposal: Row, result: str) -> tuple[str, ...]:
    """Who asked for exactly this before; refuses another result, and the same person twice."""
    report, signers = proposal["amends"], tuple(proposal["signers"].split(", "))
    if result != proposal["result"]:
        raise Refused(
            "AMENDMENT_OPEN",
            f"{', '.join(signers)} proposed at {proposal['opened_at']:%Y-%m-%d %H:%M} UTC to correct report "
            f"{report} to {proposal['result']}: {proposal['reason']}. Agree to that, or withdraw it first.",
            report=report,
            result=proposal["result"],
            who=", ".join(signers),
        )
    if unit.actor in signers:
        raise Forbidden(
            "SAME_PERSON",
            f"{unit.actor} has proposed this correction of report {report} already. "
            "A second person must agree.",
            tube=proposal["tube_id"],
        )
    return signers


def _joined(first: str, more: str) -> str:
    """The reason that was proposed, and what a further person added to it."""
    return first if more.strip() in {"", first} else f"{first}; {more.strip()}"


def _issue(unit: Unit, old: Row, result: str, reason: str, signers: tuple[str, ...]) -> str:
    number = f"R{unit.now:%y%m%d}-{queries.next_number(unit.conn, 'report'):07d}"
    row = dict(old) | {
        "report_id": number,
        "version": old["version"] + 1,
        "amends": old["report_id"],
        "result": result,
        "issued_at": unit.now,
        "signed_by": ", ".join(signers),
        "signed_names": "\n".join(queries.full_names(unit.conn, signers).values()),
        "reason": reason,
    }
    row["seal"] = ledger.report_seal(row)
    queries.insert_rows(unit.conn, "report", [row])
    fact = e.Amended(number, old["report_id"], result, reason, row["seal"])
    ledger.append(unit, [(old["tube_id"], fact)])
    return number


def _needed(reason: str) -> str:
    if not reason.strip():
        raise Invalid("REASON", "Say why; the reason is kept.")
    return reason.strip()
