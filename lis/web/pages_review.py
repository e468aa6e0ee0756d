"""The pages of the reviewer: what waits for a signature, and negatives that may leave together."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from sqlalchemy import Connection
from starlette.responses import HTMLResponse, Response

from lis import events as e
from lis import ledger, queries
from lis.errors import NotFound
from lis.services import reports
from lis.tube import Tube, TubeState
from lis.web.commands import Caller
from lis.web.maps import draw_plate
from lis.web.pages import Seen
from lis.web.payloads import MOST_TUBES, masked_name, well_json
from lis.web.views import language_of, page

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

REVIEW_ROWS = 12
RUNS_SHOWN = 3
HISTORY_SHOWN = 8

After = Annotated[int, Query(ge=0, le=1_000_000)]


@router.get("/review")
def review(
    request: Request, caller: Seen, after: After = 0, at: Annotated[str, Query(max_length=40)] = ""
) -> Response:
    """Results that wait for a signature, the one with least time left first; ``at`` opens that one."""
    with caller.lab.database.read() as conn:
        tubes = queries.worklist(conn, "review", limit=REVIEW_ROWS, after=after)
        held = reports.why_each_held(caller.looking(conn), caller.lab.rules, tubes)
        cases = _cases(conn, caller, tubes, held)
        total = queries.count_in_states(conn, TubeState.IN_REVIEW)
        proposed = queries.open_amendments(conn)
        negatives = queries.count_results(conn, TubeState.IN_REVIEW, "negative")
    codes = [tube.tube_id for tube in tubes]
    return page(
        request, "review.html", caller.identity, cases=cases, after=after, rows=REVIEW_ROWS,
        total=sum(total.values()), may=caller.identity.may("review"), proposed=proposed,
        may_amend=caller.identity.may("amend"), at=at if at in codes else (codes or [""])[0],
        negatives=negatives,
    )  # fmt: skip


def _cases(conn: Connection, caller: Caller, tubes: list[Tube], held: dict[str, Any]) -> list[dict[str, Any]]:
    """Each result with its readings, rule, version, what holds it and its persons' other specimens."""
    codes = [tube.tube_id for tube in tubes]
    pools = queries.pools_of(conn, codes)
    people = queries.people_of(conn, codes)
    ids = {who for many in people.values() for who in many}
    rows, past = queries.people(conn, ids), queries.specimens_of(conn, ids)
    signers = queries.signers(conn, codes)
    cases = []
    for tube in tubes:
        own = [
            {
                "name": masked_name(rows[who]["name"]),
                "tubes": [one for one in past[who] if one.tube_id != tube.tube_id][:HISTORY_SHOWN],
            }
            for who in people.get(tube.tube_id, ())
        ]
        signed = signers.get(tube.tube_id, ())
        cases.append(
            _case(conn, tube, pools)
            | {
                "held": held[tube.tube_id],
                "missing": reports.missing_signatures(tube, caller.lab.rules),
                "signed": signed,
                "mine": caller.identity.name in signed,
                "people": own,
                "seen_before": any(one["tubes"] for one in own),
            }
        )
    return cases


def _case(conn: Connection, tube: Tube, pools: dict[str, str]) -> dict[str, Any]:
    """What the cyclers and the rules said of one tube, or of the pool that speaks for it."""
    tested = pools[tube.tube_id] if tube.tests == 0 and tube.tube_id in pools else tube.tube_id
    history = ledger.history(conn, tube.tube_id)
    told = history if tested == tube.tube_id else ledger.history(conn, tested)
    calls = [entry.fact for entry in told if isinstance(entry.fact, e.Called)]
    runs = runs_of(queries.readings_of_tube(conn, tested))[-RUNS_SHOWN:]
    return {
        "tube": tube,
        "tested": tested,
        "call": calls[-1] if calls else None,
        "runs": runs,
        "run": next((run for run in reversed(runs) if run["valid"]), runs[-1] if runs else None),
        "comments": [entry for entry in history if isinstance(entry.fact, e.Commented)],
    }


def runs_of(readings: list[queries.Row]) -> list[dict[str, Any]]:
    """Readings of one tube grouped by run, oldest run first."""
    runs: dict[str, dict[str, Any]] = {}
    for row in readings:
        run = runs.setdefault(
            row["run_id"],
            {
                "run_id": row["run_id"],
                "plate": row["plate_id"],
                "at": row["read_at"],
                "valid": row["valid"],
                "wells": [],
                "readings": [],
            },
        )
        if row["well"] not in run["wells"]:
            run["wells"].append(row["well"])
        flags = [flag for flag in row["flags"].split(",") if flag]
        run["readings"].append({**row, "flags": flags})
    return list(runs.values())


@router.get("/review/negatives")
def negatives(request: Request, caller: Seen) -> Response:
    """Negatives that no rule holds: counted and listed before they leave together."""
    with caller.lab.database.read() as conn:
        tubes = reports.routine_negatives(caller.looking(conn), caller.lab.rules, MOST_TUBES)
        waiting = queries.count_results(conn, TubeState.IN_REVIEW, "negative")
    return page(
        request, "negatives.html", caller.identity, tubes=tubes, held=waiting - len(tubes),
        may=caller.identity.may("release"),
    )  # fmt: skip


# -- the map of a plate as a part of another page ------------------------------------------------


@router.get("/plates/{plate_id}/map")
def plate_map(
    request: Request, caller: Seen, plate_id: str, wells: Annotated[str, Query(max_length=200)] = ""
) -> Response:
    """The map of a plate alone, with some wells marked: other pages fetch it when it is looked at."""
    with caller.lab.database.read() as conn:
        row = queries.plate_row(conn, plate_id)
        if row is None:
            raise NotFound("PLATE_UNKNOWN", f"Plate {plate_id[:40]} is not known here. Check the code.")
        drawing = draw_plate(
            row["size"], *plate_content(conn, plate_id), language_of(request), wells.split(",")
        )
    return page(request, "plate_map.html", caller.identity, drawing=drawing, links=True)


def plate_content(conn: Connection, plate_id: str) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The wells of a plate with the kinds of their tubes, and tube -> its call in a run of this plate."""
    wells = [well_json(well) for well in queries.wells(conn, plate_id)]
    codes = [well["tube"] for well in wells if well["tube"]]
    tubes = ledger.tubes(conn, codes)
    for well in wells:
        if well["tube"]:
            well["kind"] = tubes[well["tube"]].kind.value
    runs = {run["run_id"] for run in queries.runs_of_plate(conn, plate_id)}
    calls = queries.calls(conn, codes) if runs else {}
    outcomes = {tube: call.outcome for tube, many in calls.items() for call in many if call.run_id in runs}
    return wells, outcomes
