"""The scan stations: collection, reception, plates well by well, the store, whole racks.

A station's page is a shell: the scripts of the page do the work and keep it while the server is away, so a
page that shows no person and no result may be opened again from what the browser kept of it (``sw.js``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import FileResponse, HTMLResponse, Response

from lis import queries
from lis.errors import Refused
from lis.ledger import known
from lis.services import plating, racks, sites
from lis.services.receiving import PLACES
from lis.tube import Tube, TubeState
from lis.web.api_plates import plate_document
from lis.web.maps import draw_plate
from lis.web.pages import ROWS, Seen
from lis.web.payloads import person_json
from lis.web.views import language_of, page

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

SHELL: Final = "X-Station-Shell"
"""Header of pages that the browser may keep: they show no person and no result."""
ACTS: Final = ("receive", "store")


def _shell(answer: Response) -> Response:
    answer.headers[SHELL] = "1"
    return answer


@router.get("/sw.js")
def worker() -> Response:
    """The script that opens a station while the server is away; it must lie above all pages."""
    path = Path(__file__).parent / "static" / "sw.js"
    return FileResponse(path, media_type="text/javascript", headers={"Cache-Control": "no-cache"})


@router.get("/collection")
def collection(request: Request, caller: Seen, tube: Annotated[str, Query(max_length=40)] = "") -> Response:
    """Scan the tube, then bind its persons, then seal it."""
    found: Tube | None = None
    people: list[dict[str, Any]] = []
    if tube:
        with caller.lab.database.read() as conn:
            sites.must_be_own(conn, caller.identity, [tube])
            found = known(conn, tube)
            ids = queries.persons_in(conn, found.tube_id)
            rows = queries.people(conn, ids)
            people = [person_json(rows[one], full=found.state is TubeState.REGISTERED) for one in ids]
    with caller.lab.database.read() as conn:
        offered = queries.sites(conn, active=True)
    tiers = caller.lab.rules.tiers.tiers
    answer = page(
        request, "collection.html", caller.identity, tube=found, people=people, tiers=tiers, places=PLACES,
        sites=offered,
    )  # fmt: skip
    return answer if found else _shell(answer)


@router.get("/reception")
def reception(request: Request, caller: Seen) -> Response:
    """Receive tubes by scan."""
    with caller.lab.database.read() as conn:
        counts = queries.count_in_states(conn, TubeState.SEALED, TubeState.RECEIVED)
    return _shell(page(request, "reception.html", caller.identity, counts=counts))


@router.get("/plates/{plate_id}/wells")
def wells(request: Request, caller: Seen, plate_id: str) -> Response:
    """Confirm by scan which tube goes into which well."""
    with caller.lab.database.read() as conn:
        plate = plate_document(conn, plate_id)
        if plate["state"] != "planned":
            raise Refused(
                "PLATE_STATE",
                f"Plate {plate_id} is {plate['state']}; no tube can be pipetted into it any more.",
            )
        filled = [well for well in plate["wells"] if well["tube"]]
        seen = plating.confirmed_wells(conn, plate_id, [well["tube"] for well in filled])
    filled.sort(key=lambda well: (int(well["well"][1:]), well["well"][0]))
    steps = [
        {"well": one["well"], "tube": one["tube"], "confirmed": (one["tube"], one["well"]) in seen}
        for one in filled
    ]
    drawing = draw_plate(plate["size"], plate["wells"], {}, language_of(request))
    return page(request, "plate_wells.html", caller.identity, plate=plate, wells=steps, drawing=drawing)


@router.get("/storage")
def storage(request: Request, caller: Seen) -> Response:
    """Put tubes away, take them out for their retest, destroy those whose time has come."""
    with caller.lab.database.read() as conn:
        wanted = queries.in_store(conn, TubeState.AWAITING_RETEST, limit=ROWS)
    hours = caller.lab.settings.retention_negative_hours
    return _shell(page(request, "storage.html", caller.identity, wanted=wanted, hours=hours))


@router.get("/rack")
def rack(request: Request, caller: Seen, act: Annotated[str, Query(max_length=10)] = "receive") -> Response:
    """A whole rack at once: read, looked at position by position, then recorded in one act."""
    chosen = act if act in ACTS else ACTS[0]
    return page(request, "rack.html", caller.identity, act=chosen, sizes=sorted(racks.SHAPES, reverse=True))
