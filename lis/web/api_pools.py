"""The API of the pooling bench: proposals, pools, pipetting, decoding, what befalls a pooled tube."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query
from sqlalchemy import Connection
from starlette.responses import Response

from lis import ledger, queries
from lis.db import Unit
from lis.errors import Invalid
from lis.events import TubeKind
from lis.laboratory import advice_json
from lis.laboratory.papers import pool_sheet_pdf
from lis.services import pools
from lis.tube import TubeState
from lis.web.commands import Asked, Caller
from lis.web.payloads import ReasonIn, listed, tube_json
from lis.web.payloads_pools import Aliquots, PoolIn, PoolsIn, VolumeIn, aliquot_json
from pooling import UNEXPLAINED

router = APIRouter(prefix="/api/v1", tags=["pools"])

UNCLEARED = (
    TubeState.RESULTED,
    TubeState.RECEIVED,
    TubeState.AWAITING_RETEST,
    TubeState.PLATED,
    TubeState.RUNNING,
    TubeState.ON_HOLD_DAMAGED,
)
"""States of a pool that is not done with."""


# -- what to pool --------------------------------------------------------------------------------


@router.get("/pools/proposal")
def propose_pools(asked: Asked, assay: Annotated[str, Query(max_length=80)] = "") -> Response:
    """Which tubes the policy would pool together now, and why each other tube stays out."""
    return asked.read("pool", lambda conn: pool_proposal(asked, conn, assay))


@router.post("/pools/proposals")
def propose_again(asked: Asked, assay: Annotated[str, Query(max_length=80)] = "") -> Response:
    """The same as ``GET /pools/proposal``; nothing is written."""
    return propose_pools(asked, assay)


def pool_proposal(asked: Caller, conn: Connection, assay: str = "") -> dict[str, Any]:
    """Pools to pipette now, and what waits."""
    found = pools.propose(asked.looking(conn), asked.lab.rules, assay)
    rules = asked.lab.rules
    return {
        "pools": [
            {
                "members": list(one.members),
                "reason": one.reason,
                "due": one.due,
                "sites": list(one.sites),
            }
            for one in found.pools
        ],
        "kept": [
            {
                "tube": one.tube,
                "reason": one.reason,
                "singly": one.singly,
                "sentence": one.sentence,
                "sentence_zh": one.sentence_zh,
            }
            for one in found.kept
        ],
        "size": found.size,
        "max_n": found.max_n,
        "refused": found.refused.code if found.refused else "",
        "rules": {"id": rules.pool.id, "version": rules.pool.version},
        "policy": {"id": rules.pool_policy.id, "version": rules.pool_policy.version},
    }


@router.get("/pools/advice")
def advise_pools(asked: Asked, by: Annotated[str, Query(max_length=20)] = "tier") -> Response:
    """Rolling positivity per stream (``by``: tier, site or site-tier), and what each mode would cost."""
    return asked.read("look", lambda conn: advice_json(asked.lab, conn, by))


# -- forming -------------------------------------------------------------------------------------


@router.post("/pools", status_code=201)
def form_pools(order: PoolIn | PoolsIn, asked: Asked) -> Response:
    """Form one pool, or several on one pipetting worklist; all of them or none."""

    def act(unit: Unit) -> dict[str, Any]:
        many = order.pools if isinstance(order, PoolsIn) else (order,)
        orders = [pools.PoolOrder(one.members, one.barcode) for one in many]
        made = pools.form_many(unit, asked.lab.rules, orders, assay=order.assay, confirm=order.confirm)
        members = queries.pool_members(unit.conn, [tube.tube_id for tube in made.pools])
        shown = [
            tube_json(tube) | {"members": members[tube.tube_id], "worklist": made.worklist}
            for tube in made.pools
        ]
        return {"worklist": made.worklist, "pools": shown} if isinstance(order, PoolsIn) else shown[0]

    return asked.write("pool", act, 201)


# -- pipetting -----------------------------------------------------------------------------------

CSV = "text/csv; charset=utf-8"


@router.get("/pools/worklist")
def get_pool_worklist(
    asked: Asked,
    worklist: Annotated[str, Query(max_length=20)] = "",
    format: str = "json",  # noqa: A002 - the name of the query parameter is fixed
    language: str = "both",
) -> Response:
    """The pipetting worklist of a pool plate: JSON, CSV for a liquid handler, or PDF to tick off by hand."""
    asked.identity.must("pool")
    if format not in {"json", "csv", "pdf"}:
        raise Invalid("WORKLIST_FORMAT", "A pipetting worklist comes as json, csv or pdf.")
    number = worklist.strip().upper()
    if format == "json":
        return asked.read("pool", lambda conn: sheet_json(pools.sheet(conn, asked.lab.rules, number)))
    with asked.lab.database.read() as conn:
        made = pools.sheet(conn, asked.lab.rules, number)
    if format == "csv":
        return _file(pools.as_csv(made).encode(), CSV, f"attachment; filename={number}.csv")
    return _file(
        pool_sheet_pdf(asked.lab, made, language), "application/pdf", f"inline; filename={number}.pdf"
    )


def _file(body: bytes, kind: str, shown: str) -> Response:
    return Response(body, 200, {"Content-Disposition": shown, "Cache-Control": "no-store"}, kind)


def sheet_json(made: pools.Sheet) -> dict[str, Any]:
    """A worklist, aliquot by aliquot."""
    return {
        "worklist": made.worklist,
        "made_at": made.made_at,
        "made_by": made.made_by,
        "to_confirm": made.to_confirm,
        "open": made.open,
        "steps": [
            {
                "step": one.transfer.step,
                "pool": one.transfer.pool,
                "well": one.transfer.destination_well,
                "tube": one.transfer.source_tube,
                "source_rack": one.transfer.source_rack,
                "source_well": one.transfer.source_well,
                "volume_ul": one.transfer.volume_ul,
                "rack": one.rack,
                "position": one.position,
                "confirmed_at": one.confirmed_at,
                "confirmed_by": one.confirmed_by,
            }
            for one in made.steps
        ],
    }


@router.post("/pools/confirmations")
def confirm_aliquots(scans: Aliquots, asked: Asked) -> Response:
    """Confirm by scan that aliquots go where the worklist says; the first wrong or repeated tube stops."""
    data = [scan.data() for scan in listed(scans)]

    def act(unit: Unit) -> dict[str, Any]:
        results = pools.confirm(unit, data)
        done = sum(one.outcome is pools.AliquotOutcome.CONFIRMED for one in results)
        return {
            "scans": [aliquot_json(one) for one in results],
            "counts": {"confirmed": done, "refused": len(results) - done},
            "not_looked_at": len(data) - len(results),
        }

    return asked.write("pool", act)


# -- decoding ------------------------------------------------------------------------------------


@router.get("/pools")
def list_pools(asked: Asked, days: Annotated[int, Query(ge=1, le=366)] = 30) -> Response:
    """Pools that are not cleared up, each with its members and what is due; unexplained ones of late."""
    return asked.read("pool", lambda conn: pools_document(asked, conn, days))


def pools_document(asked: Caller, conn: Connection, days: int = 30) -> dict[str, Any]:
    """Open pools as they would be decided now, and unexplained positives of the last days."""
    since = asked.lab.database.clock.now() - timedelta(days=days)
    under_way = [tube.tube_id for tube in queries.pools_in(conn, UNCLEARED, read=True)]
    ended = [tube.tube_id for tube in queries.pools_ended(conn, UNEXPLAINED, since)]
    said = pools.interim(asked.lab.rules)
    cases = {case.pool.tube_id: case for case in pools.gather(conn, asked.lab.rules, [*under_way, *ended])}
    return {
        "open": [case_json(cases[code], said) for code in under_way],
        "waiting": [tube_json(tube) for tube in queries.pools_in(conn, UNCLEARED, read=False)],
        "unexplained": [case_json(cases[code], None) for code in ended],
    }


@router.get("/pools/{barcode}")
def get_pool(barcode: str, asked: Asked) -> Response:
    """One pool: members, reading, where it stands and why, what is said of its persons meanwhile."""
    return asked.read("look", lambda conn: pool_document(asked, conn, barcode))


def pool_document(asked: Caller, conn: Connection, barcode: str) -> dict[str, Any]:
    """One pool as it would be decided now.

    Raises:
        Invalid: ``NOT_A_POOL``.
    """
    tube = ledger.known(conn, barcode)
    if tube.kind is not TubeKind.POOL:
        raise Invalid("NOT_A_POOL", f"Tube {tube.tube_id} is no pool.", tube=tube.tube_id)
    [case] = pools.gather(conn, asked.lab.rules, [tube.tube_id])
    return case_json(case, pools.interim(asked.lab.rules))


def case_json(case: pools.Case, said: dict[str, Any] | None) -> dict[str, Any]:
    """A pool with its decision; ``interim`` while its persons wait for their own results."""
    ended = case.pool.state in {TubeState.RESOLVED, TubeState.STORED, TubeState.DISCARDED}
    negative = case.reading.finding is None or case.reading.finding == "negative"
    decisions = {one.who: one for one in case.decoded.decisions}
    return {
        "pool": tube_json(case.pool),
        "finding": case.reading.finding or "",
        "second": case.reading.second or "",
        "status": case.decoded.status.value,
        "reason": case.decoded.reason,
        "sentence": case.decoded.sentence,
        "sentence_zh": case.decoded.sentence_zh,
        "interim": None if ended or negative else said,
        "members": [
            {
                "tube": tube.tube_id,
                "state": tube.state.value,
                "outcome": tube.outcome if tube.tests else "",
                "result": tube.result,
                "volume_ul": case.marks[tube.tube_id].volume_ul,
                "lost": case.marks[tube.tube_id].lost,
                "withdrawn": case.marks[tube.tube_id].withdrawn,
                "action": decisions[tube.tube_id].action.value,
                "reason": decisions[tube.tube_id].reason,
                "sentence": decisions[tube.tube_id].sentence,
                "sentence_zh": decisions[tube.tube_id].sentence_zh,
            }
            for tube in case.members
        ],
    }


# -- what befalls a tube -------------------------------------------------------------------------


@router.post("/tubes/{barcode}/lost")
def lose_tube(barcode: str, order: ReasonIn, asked: Asked) -> Response:
    """A tube cannot be found: a member of a pool stays one; who waits for an own test is called back."""
    rules = asked.lab.rules
    return asked.write("hold", lambda unit: tube_json(pools.lose(unit, rules, barcode, order.reason)))


@router.post("/tubes/{barcode}/found")
def find_tube(barcode: str, order: ReasonIn, asked: Asked) -> Response:
    """A lost member of a pool was found again."""
    rules = asked.lab.rules
    return asked.write("hold", lambda unit: tube_json(pools.find(unit, rules, barcode, order.reason)))


@router.post("/tubes/{barcode}/withdraw")
def withdraw_tube(barcode: str, order: ReasonIn, asked: Asked) -> Response:
    """The person withdrew: nothing more of this single tube is tested or reported."""
    rules = asked.lab.rules
    return asked.write("hold", lambda unit: tube_json(pools.withdraw(unit, rules, barcode, order.reason)))


@router.post("/tubes/{barcode}/volume")
def measure_tube(barcode: str, order: VolumeIn, asked: Asked) -> Response:
    """The liquid left in a single tube; too little for its own test calls its person back."""
    rules = asked.lab.rules
    return asked.write("hold", lambda unit: tube_json(pools.measure(unit, rules, barcode, order.volume_ul)))
