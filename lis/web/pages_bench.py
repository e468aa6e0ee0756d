"""Pages of the steps at the bench that are not scan stations: plating, cyclers, review."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse, Response

from lis import ledger, queries
from lis.services import lots, reports
from lis.services.plates import PlateOrder
from lis.tube import Tube, TubeState
from lis.web.api_plates import plate_document, plate_proposal
from lis.web.pages import ROWS, Seen
from lis.web.views import draw_plate, language_of, page

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

REVIEW_ROWS = 12

After = Annotated[int, Query(ge=0, le=1_000_000)]


@router.get("/plating")
def plating(request: Request, caller: Seen, template: str = "", assay: str = "") -> Response:
    """The next plate as the scheduler would fill it, and the plates under way."""
    with caller.lab.database.read() as conn:
        proposal = plate_proposal(caller, conn, PlateOrder(template=template, assay=assay))
        under_way = queries.plates(conn, "planned", "loaded", "running", limit=ROWS)
        done = queries.plates(conn, "read", "failed", "void", limit=10)
        register = [one for one in lots.register_of(conn, caller.lab.database.clock.now()) if one.opened_at]
    drawing = draw_plate(proposal["size"], proposal["wells"], {}, language_of(request))
    rules = caller.lab.rules
    return page(
        request, "plating.html", caller.identity, proposal=proposal, drawing=drawing, under_way=under_way,
        done=done, templates=sorted(rules.templates), assays=sorted(rules.assays), template=template,
        assay=assay,
        default_assay=rules.default_assay, lots=register,
    )  # fmt: skip


@router.get("/plates/{plate_id}")
def plate_page(request: Request, caller: Seen, plate_id: str) -> Response:
    """One plate: map, loading by scan, runs."""
    with caller.lab.database.read() as conn:
        plate = plate_document(conn, plate_id)
        codes = [well["tube"] for well in plate["wells"] if well["tube"]]
        outcomes = _outcomes(queries.calls(conn, codes), {run["run_id"] for run in plate["runs"]})
        cyclers = sorted({name for name, _ in queries.cyclers(conn)})
    drawing = draw_plate(plate["size"], plate["wells"], outcomes, language_of(request))
    tubes = sum(1 for well in plate["wells"] if well["tube"])
    return page(
        request, "plate.html", caller.identity, plate=plate, drawing=drawing, tubes=tubes, cyclers=cyclers,
        may_correct=caller.identity.may("quarantine"),
    )  # fmt: skip


def _outcomes(calls: dict[str, list[queries.CallRow]], runs: set[str]) -> dict[str, str]:
    """Tube -> its last call in one of these runs."""
    return {tube: call.outcome for tube, many in calls.items() for call in many if call.run_id in runs}


@router.get("/instruments")
def instruments(request: Request, caller: Seen) -> Response:
    """Files that came in, quarantined ones first, upload, devices."""
    with caller.lab.database.read() as conn:
        quarantined = queries.files(conn, "quarantined", limit=ROWS)
        latest = queries.files(conn, "waiting", "read", "dismissed", limit=ROWS)
        devices = queries.devices(conn)
    return page(
        request, "instruments.html", caller.identity, quarantined=quarantined, latest=latest, devices=devices,
        may=caller.identity.may("quarantine"),
    )  # fmt: skip


@router.get("/review")
def review(request: Request, caller: Seen, after: After = 0) -> Response:
    """Results that wait for a signature, with everything a reviewer needs."""
    with caller.lab.database.read() as conn:
        tubes = queries.worklist(conn, "review", limit=REVIEW_ROWS, after=after)
        held = reports.why_each_held(caller.looking(conn), caller.lab.rules, tubes)
        pools = queries.pools_of(conn, [tube.tube_id for tube in tubes])
        cases = [_case(conn, caller, tube, held[tube.tube_id], pools) for tube in tubes]
        total = queries.count_in_states(conn, TubeState.IN_REVIEW)
        proposed = queries.open_amendments(conn)
    return page(
        request, "review.html", caller.identity, cases=cases, after=after, rows=REVIEW_ROWS,
        total=sum(total.values()), may=caller.identity.may("review"), proposed=proposed,
        may_amend=caller.identity.may("amend"),
    )  # fmt: skip


def _case(conn: Any, caller: Any, tube: Tube, held: Any, pools: dict[str, str]) -> dict[str, Any]:
    """One result with its readings, rule, version and what holds it."""
    tested = pools[tube.tube_id] if tube.tests == 0 and tube.tube_id in pools else tube.tube_id
    calls = [entry for entry in ledger.history(conn, tested) if type(entry.fact).__name__ == "Called"]
    return {
        "tube": tube,
        "tested": tested,
        "held": held,
        "call": calls[-1].fact if calls else None,
        "readings": queries.readings_of_tube(conn, tested)[-8:],
        "missing": reports.missing_signatures(tube, caller.lab.rules),
        "signed": queries.signers(conn, [tube.tube_id]).get(tube.tube_id, ()),
    }
