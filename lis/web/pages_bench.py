"""Pages of the steps at the bench that are not scan stations: plating, cyclers."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

from lis import queries
from lis.services import lots
from lis.services.plates import PlateOrder
from lis.services.plating import confirmed_wells
from lis.web.api_admin import calls_document
from lis.web.api_plates import plate_document, plate_proposal
from lis.web.maps import draw_plate, drawn_kinds
from lis.web.pages import ROWS, Seen
from lis.web.pages_review import plate_content
from lis.web.views import language_of, page

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


@router.get("/calls")
def calls(request: Request, caller: Seen) -> Response:
    """Persons to call back to the collection site."""
    with caller.lab.database.read() as conn:
        found = calls_document(caller, conn)
    return page(request, "calls.html", caller.identity, calls=found)


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
    order_of = rules.template(proposal["template"]).sample_wells("column")
    return page(
        request, "plating.html", caller.identity, proposal=proposal, drawing=drawing, under_way=under_way,
        shapes=drawn_kinds(proposal["size"]), order=order_of,
        done=done, templates=sorted(rules.templates), assays=sorted(rules.assays), template=template,
        assay=assay,
        default_assay=rules.default_assay, lots=register,
    )  # fmt: skip


@router.get("/plates/{plate_id}")
def plate_page(request: Request, caller: Seen, plate_id: str) -> Response:
    """One plate: map, loading by scan, runs."""
    with caller.lab.database.read() as conn:
        plate = plate_document(conn, plate_id)
        wells, outcomes = plate_content(conn, plate_id)
        cyclers = sorted({name for name, _ in queries.cyclers(conn)})
        filled = [well["tube"] for well in plate["wells"] if well["tube"]]
        seen = confirmed_wells(conn, plate_id, filled)
        digest = queries.rule_digest(conn, "assay", plate["assay"], plate["assay_version"])
    drawing = draw_plate(plate["size"], wells, outcomes, language_of(request))
    return page(
        request, "plate.html", caller.identity, plate=plate, drawing=drawing, tubes=len(filled),
        cyclers=cyclers,
        confirmed=len(seen), confirmers=sorted({row["actor"] for row in seen.values()}), digest=digest or "",
        may_correct=caller.identity.may("quarantine"),
    )  # fmt: skip


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
