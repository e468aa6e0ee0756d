"""The pages of the pooling bench: what to pool, what is open, and the pipetting worklist with its scans."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse, Response

from lis import ledger, queries
from lis.laboratory import advice_json
from lis.services import pools
from lis.tube import Tube, TubeState
from lis.web.api_pools import pool_proposal, pools_document, sheet_json
from lis.web.pages import ROWS, Seen
from lis.web.views import page

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

POOLS_SHOWN = 40
OPEN_SHOWN = 30
WAITING = "waiting"
"""Why a tube is kept that only waits for more of its kind."""


@router.get("/pooling")
def pooling(request: Request, caller: Seen, by: Annotated[str, Query(max_length=20)] = "tier") -> Response:
    """Which tubes to pipette together now, and pools that are not cleared up; the advice comes after."""
    with caller.lab.database.read() as conn:
        proposal = pool_proposal(caller, conn)
        document = pools_document(caller, conn)
        worklists = _worklists(conn, document["waiting"])
        pooled = queries.count_in_states(conn, TubeState.POOLED)
        short = _short(conn, proposal)
    shown = proposal["pools"][:POOLS_SHOWN]
    return page(
        request, "pooling.html", caller.identity, proposal=proposal, pools=shown,
        more=len(proposal["pools"]) - len(shown), kept=proposal["kept"][:ROWS],
        kept_count=len(proposal["kept"]), pooled=sum(pooled.values()), worklists=worklists,
        short=short, open=document["open"][:OPEN_SHOWN], unexplained=document["unexplained"][:OPEN_SHOWN],
        by=by if by in pools.STREAMS else "tier",
    )  # fmt: skip


@router.get("/pooling/advice")
def advice(request: Request, caller: Seen, by: Annotated[str, Query(max_length=20)] = "tier") -> Response:
    """How many persons a tube should hold: a panel of the pooling page, which does not wait for it."""
    with caller.lab.database.read() as conn:
        found = advice_json(caller.lab, conn, by if by in pools.STREAMS else "tier")
    return page(request, "pool_advice.html", caller.identity, advice=found)


def _short(conn: Any, proposal: dict[str, Any]) -> list[dict[str, Any]]:
    """Pools that would still fill, one a tier: to be closed early when no more tubes will come."""
    waiting = [one["tube"] for one in proposal["kept"] if one["reason"] == WAITING]
    tubes = ledger.tubes(conn, waiting)
    found: dict[str, list[Tube]] = {}
    for code in waiting:
        found.setdefault(tubes[code].tier, []).append(tubes[code])
    return [
        {"members": [one.tube_id for one in own], "due": own[0].due_at}
        for tier in sorted(found)
        if len(own := found[tier][: proposal["max_n"]]) > 1
    ]


def _worklists(conn: Any, waiting: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Worklists with aliquots still to be confirmed, oldest first."""
    formed = queries.formed_of(conn, [pool["barcode"] for pool in waiting if pool["open_aliquots"]])
    found: dict[str, dict[str, Any]] = {}
    for pool in waiting:
        if pool["barcode"] in formed:
            number = formed[pool["barcode"]]["worklist"]
            row = found.setdefault(number, {"worklist": number, "pools": 0, "open": 0})
            row["pools"] += 1
            row["open"] += pool["open_aliquots"]
    return [found[number] for number in sorted(found)]


@router.get("/pooling/worklists/{number}")
def worklist(request: Request, caller: Seen, number: str) -> Response:
    """One pipetting worklist: where each aliquot goes, confirmed by scan."""
    with caller.lab.database.read() as conn:
        made = sheet_json(pools.sheet(conn, caller.lab.rules, number.strip().upper()))
    blocks: dict[str, dict[str, Any]] = {}
    for step in made["steps"]:
        block = blocks.setdefault(step["pool"], {"pool": step["pool"], "well": step["well"], "steps": []})
        block["steps"].append(step)
    return page(request, "pool_worklist.html", caller.identity, made=made, blocks=list(blocks.values()))


@router.get("/pooling/worklists")
def find_worklist(
    request: Request, caller: Seen, number: Annotated[str, Query(max_length=20)] = ""
) -> Response:
    """The worklist whose number was scanned from the sheet."""
    return worklist(request, caller, number)
