"""Which aliquot goes where: the worklist of a pool plate, and the scans that confirm it."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from lis import barcodes, ledger, queries
from lis import events as e
from lis.errors import Invalid, NotFound
from lis.events import TubeKind
from lis.tube import Tube, TubeState, evolve
from pooling import PoolToMake, Transfer, worklist
from pooling.worklist import HEADER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from lis.db import Unit
    from lis.queries import Row
    from lis.rulebook import Rulebook

STANDS: Final = ("stands_in_rack", "stands_at")
"""Columns after those of the policy's worklist: where reception put the source tube."""


@dataclass(frozen=True, slots=True)
class Step:
    """One aliquot of a worklist.

    Attributes:
        rack, position: where reception put the source tube.
        confirmed_at, confirmed_by: when and by whose scan the aliquot was confirmed, if it was.
    """

    transfer: Transfer
    rack: str
    position: str
    confirmed_at: datetime | None
    confirmed_by: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """A worklist: its pools in the order of their wells, aliquot by aliquot.

    Attributes:
        to_confirm: aliquots that must be confirmed by scan; 0 where the pools were recorded as pipetted.
    """

    worklist: str
    made_at: datetime
    made_by: str
    to_confirm: int
    steps: tuple[Step, ...]

    @property
    def open(self) -> int:
        """Aliquots still to be confirmed."""
        return self.to_confirm - sum(step.confirmed_at is not None for step in self.steps)


def sheet(conn: Connection, rules: Rulebook, number: str) -> Sheet:
    """The worklist with this number.

    Raises:
        NotFound: ``POOL_WORKLIST_UNKNOWN``.
    """
    pools = queries.formed_on(conn, number) if number else []
    if not pools:
        raise NotFound(
            "POOL_WORKLIST_UNKNOWN",
            f"There is no pipetting worklist {number[:20] or '(no number)'}. Check the number on the sheet.",
        )
    members = queries.pool_members(conn, [row["tube_id"] for row in pools])
    confirmed = _confirmed(conn, members)
    tubes = ledger.tubes(conn, [code for many in members.values() for code in many])
    to_make = [PoolToMake(row["tube_id"], tuple(members[row["tube_id"]])) for row in pools]
    transfers = worklist(to_make, rules.pool.pool.aliquot_ul)
    wells = {row["tube_id"]: row["well"] for row in pools}  # as they were when the pools were formed
    steps = [_step(one, wells, tubes, confirmed) for one in transfers]
    first = pools[0]
    to_confirm = sum(row["to_confirm"] for row in pools)
    return Sheet(number, first["at"], first["actor"], to_confirm, tuple(steps))


def _confirmed(conn: Connection, pools: Mapping[str, Sequence[str]]) -> dict[tuple[str, str], Row]:
    """(pool, tube) -> the scan that confirmed the aliquot, of those that were not taken back."""
    found: dict[tuple[str, str], Row] = {}
    for pool, rows in queries.facts_of(conn, pools, "AliquotConfirmed", "AliquotWithdrawn").items():
        for row in rows:
            if row["kind"] == "AliquotConfirmed":
                found[pool, row["other_tube"]] = row
            else:
                found.pop((pool, row["other_tube"]), None)
    return found


def _step(
    one: Transfer, wells: Mapping[str, str], tubes: Mapping[str, Tube], seen: Mapping[tuple[str, str], Row]
) -> Step:
    tube, scan = tubes[one.source_tube], seen.get((one.pool, one.source_tube))
    values = {name: getattr(one, name) for name in HEADER} | {"destination_well": wells[one.pool]}
    when, who = (scan["at"], scan["actor"]) if scan else (None, "")
    return Step(Transfer(**values), tube.rack, tube.position, when, who)


def as_csv(made: Sheet) -> str:
    """The worklist for a liquid handler: header, one line per aliquot, CRLF, comma, full stop."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([*HEADER, *STANDS])
    for step in made.steps:
        values = [getattr(step.transfer, name) for name in HEADER]
        plain = [f"{value:g}" if isinstance(value, float) else value for value in values]
        writer.writerow([*plain, step.rack, step.position])
    return text.getvalue()


# -- confirming by scan --------------------------------------------------------------------------


class AliquotOutcome(StrEnum):
    """What became of the scan of one aliquot."""

    CONFIRMED = "confirmed"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class AliquotScan:
    """A pool tube, or its well, and the tube whose aliquot goes into it."""

    pool: str
    tube: str
    well: str = ""


@dataclass(frozen=True, slots=True)
class AliquotResult:
    """What became of a scan, and the sentence for the technician.

    Attributes:
        left: aliquots of the pool still to be confirmed.
        details: what the sentence names, for its Chinese wording.
    """

    pool: str
    tube: str
    outcome: AliquotOutcome
    code: str
    sentence: str
    left: int = 0
    details: Mapping[str, str] = field(default_factory=dict)


def confirm(unit: Unit, scans: Sequence[AliquotScan]) -> list[AliquotResult]:
    """Confirm by scan that each aliquot goes where the worklist says; the first wrong scan stops.

    Good scans before a wrong one are recorded; scans after it are not looked at, because whoever pipettes
    must stop there. Nothing is recorded of a wrong scan.

    Raises:
        Invalid: ``SCAN_EMPTY``.
    """
    if not scans:
        raise Invalid("SCAN_EMPTY", "Scan the pool tube, then the tube whose aliquot goes into it.")
    # gather
    codes = [(_code(scan.pool, barcodes.POOL), _code(scan.tube, barcodes.TUBE)) for scan in scans]
    known = ledger.tubes(unit.conn, {code for pair in codes for code in pair if code})
    pools = {pool for pool, _ in codes if pool} | {tube.pool_id for tube in known.values() if tube.pool_id}
    plan = _Plan(
        queries.formed_of(unit.conn, pools),
        queries.pool_members(unit.conn, pools),
        _confirmed(unit.conn, dict.fromkeys(pools, ())),
    )
    # decide
    results: list[AliquotResult] = []
    facts: list[ledger.Recorded] = []
    for scan, (pool, tube) in zip(scans, codes, strict=True):
        wrong = _wrong(scan, known.get(pool), known.get(tube), plan)
        if wrong is not None:
            results.append(wrong)
            break
        place = plan.members[pool].index(tube) + 1
        fact = e.AliquotConfirmed(tube, place, plan.formed[pool]["well"])
        known[pool] = evolve(known[pool], fact, unit.now)
        plan.confirmed[pool, tube] = {"at": unit.now, "actor": unit.actor}
        facts.append((pool, fact))
        results.append(_good(known[pool], tube, fact))
    # apply
    ledger.append(unit, facts)
    return results


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the worklists say, and what was confirmed so far."""

    formed: Mapping[str, Row]
    members: Mapping[str, Sequence[str]]
    confirmed: dict[tuple[str, str], Any]


def _code(raw: str, pattern: barcodes.Pattern) -> str:
    try:
        return barcodes.parse(raw, pattern)
    except Invalid:
        return ""


def _good(pool: Tube, tube: str, fact: e.AliquotConfirmed) -> AliquotResult:
    left = pool.open_aliquots
    rest = f"{left} to go." if left else "The pool is complete and may be plated."
    sentence = f"Tube {tube} goes into pool {pool.tube_id}, well {fact.well}. {rest}"
    details = {"tube": tube, "pool": pool.tube_id, "well": fact.well, "left": str(left)}
    code = "ALIQUOT_CONFIRMED" if left else "POOL_COMPLETE"
    return AliquotResult(pool.tube_id, tube, AliquotOutcome.CONFIRMED, code, sentence, left, details)


def _wrong(scan: AliquotScan, pool: Tube | None, tube: Tube | None, plan: _Plan) -> AliquotResult | None:
    """Why this scan stops the technician: what is wrong, and where the tube belongs; None if it is right."""

    def stop(code: str, sentence: str, **details: str) -> AliquotResult:
        named = {"pool": scan.pool, "tube": scan.tube, **details}
        left = pool.open_aliquots if pool else 0
        shown = barcodes.clean(scan.pool)[:40], barcodes.clean(scan.tube)[:40]
        return AliquotResult(*shown, AliquotOutcome.REFUSED, code, sentence, left, named)

    if pool is None or pool.kind is not TubeKind.POOL:
        shown = barcodes.clean(scan.pool)[:40] or "(nothing)"
        return stop("NOT_A_POOL", f"Stop: {shown} is no pool of this laboratory. Scan the pool tube first.")
    if tube is None:
        shown = barcodes.clean(scan.tube)[:40] or "(nothing)"
        return stop("NOT_A_TUBE", f"Stop: {shown} is no tube code. Scan the single tube again.")
    own = plan.formed[pool.tube_id]["well"]
    if tube.tube_id not in plan.members.get(pool.tube_id, ()):
        return stop(*_belongs(pool, own, tube, plan), well=own, **_home(tube, plan))
    if scan.well.strip().upper() not in {"", own}:
        there = scan.well.strip().upper()[:4]
        return stop(
            "ALIQUOT_WELL",
            f"Stop: pool {pool.tube_id} is in well {own}, not in {there}. "
            f"Tube {tube.tube_id} goes into {own}.",
            well=own,
            other=there,
        )
    seen = plan.confirmed.get((pool.tube_id, tube.tube_id))
    if seen is not None:
        at = f"{seen['at']:%Y-%m-%d %H:%M:%S} UTC"
        return stop(
            "ALIQUOT_REPEATED",
            f"Stop: tube {tube.tube_id} went into pool {pool.tube_id}, well {own}, {at} by {seen['actor']} "
            "already. If its liquid went in twice, reject the pool: its tubes are then tested singly.",
            well=own,
            at=at,
            who=seen["actor"],
        )
    if pool.state is not TubeState.RECEIVED or not pool.open_aliquots:
        return stop(
            "ALIQUOT_NOT_AWAITED",
            f"Stop: pool {pool.tube_id} is {pool.state.replace('_', ' ')} and waits for no aliquot.",
            well=own,
            state=pool.state,
        )
    return None


def _belongs(pool: Tube, well: str, tube: Tube, plan: _Plan) -> tuple[str, str]:
    """Code and sentence about a tube that is not of this pool: where it belongs instead."""
    start = f"Stop: tube {tube.tube_id} does not belong into pool {pool.tube_id}, well {well}."
    end = f"If its liquid is in already, reject pool {pool.tube_id}: its tubes are then tested singly."
    home = plan.formed.get(tube.pool_id)
    if home is not None:
        return "ALIQUOT_ELSEWHERE", f"{start} It goes into pool {tube.pool_id}, well {home['well']}. {end}"
    where = "is not known here" if tube.state is TubeState.ABSENT else f"is {tube.state.replace('_', ' ')}"
    return "ALIQUOT_NO_POOL", f"{start} It {where} and is in no pool. Put it aside. {end}"


def _home(tube: Tube, plan: _Plan) -> dict[str, str]:
    home = plan.formed.get(tube.pool_id)
    named = {"state": tube.state.value}
    return named if home is None else {**named, "other_pool": tube.pool_id, "other": home["well"]}
