"""Labels: shown, ordered, sent to printers, sent again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse, Response

from lis import barcodes, queries
from lis.errors import LisError
from lis.printing.labels import Kind, Stock, as_svg
from lis.services import labels
from lis.services.labels import LabelOrder
from lis.web.commands import Asked, Caller, reply
from lis.web.pages import Seen
from lis.web.payloads import LabelsIn
from lis.web.views import language_of, page
from lis.web.words import label

if TYPE_CHECKING:
    from lis.config import Settings
    from lis.db import Unit

router = APIRouter(prefix="/api/v1", tags=["labels"])
pages = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

JOBS_SHOWN: Final = 12
USUAL: Final = {"tube": Stock(50, 25), "pool": Stock(50, 25), "plate": Stock(70, 20)}
"""Labels that many laboratories have on the roll, where the settings name no others."""


def stock_of(settings: Settings, kind: Kind) -> Stock:
    """The label on which a browser prints this kind of code."""
    for one in settings.labels:
        if one.kind == kind:
            return Stock(one.width_mm, one.height_mm, one.symbol)
    return USUAL[kind]


def _words(request: Request) -> dict[str, str]:
    """What labels call things, in the language of who prints."""
    language = language_of(request)
    found = {kind: label("kind", kind, language) for kind in ("single", "mixed", "pool")}
    return found | {"plate": label("plate", "title", language)}


@router.get("/labels/jobs")
def list_jobs(asked: Asked, limit: Annotated[int, Query(ge=1, le=200)] = 50) -> Response:
    """Print jobs; those that wait for their printer come first."""
    return asked.read(
        "look", lambda conn: {"jobs": [job_json(row) for row in queries.print_jobs(conn, limit)]}
    )


@router.get("/labels/{code}.svg")
def label_svg(request: Request, code: str, asked: Asked) -> Response:
    """One label at its real size."""
    asked.identity.must("look")
    with asked.lab.database.read() as conn:
        found = labels.label_of(conn, code, _words(request))
    drawn = as_svg(found, stock_of(asked.lab.settings, found.kind))
    return Response(drawn, 200, {"Cache-Control": "no-store"}, "image/svg+xml")


@router.post("/labels", status_code=201)
def print_labels(request: Request, order: LabelsIn, asked: Asked) -> Response:
    """Print labels. Every job is kept first; one whose printer is away waits, and can be sent again."""
    wanted = LabelOrder(order.codes, order.printer, order.copies, order.reason)
    settings, words = asked.lab.settings, _words(request)

    def act(unit: Unit) -> dict[str, Any]:
        return {"jobs": labels.order_labels(unit, settings, wanted, words)}

    kept = asked.write("register", act, 201)
    numbers: list[int] = json.loads(bytes(kept.body))["jobs"]
    return reply({"jobs": _sent(asked, numbers)}, 201)


@router.post("/labels/jobs/{job_id}/send")
def send_again(job_id: int, asked: Asked) -> Response:
    """Send a job that its printer has not taken yet; one that was printed is refused."""
    asked.identity.must("register")
    with asked.lab.database.read() as conn:
        labels.waiting_job(conn, job_id)
    (done,) = _sent(asked, [job_id], again=True)
    return reply(done)


def _sent(asked: Caller, numbers: list[int], *, again: bool = False) -> list[dict[str, Any]]:
    """Send the jobs that wait (those never tried, unless ``again``), and how all of them stand.

    A printer that is away is asked once: its other jobs wait with the same trouble.
    """
    with asked.lab.database.read() as conn:
        rows = queries.print_job_rows(conn, numbers)
    away: dict[str, str] = {}
    for row in rows:
        if row["state"] == "waiting" and (again or not row["tries"]):
            trouble = away.get(row["printer"]) or _send(asked, row)
            if trouble:
                away[row["printer"]] = trouble
            with asked.lab.database.write(asked.identity.name) as unit:
                labels.told(unit, row["job_id"], trouble)
    with asked.lab.database.read() as conn:
        return [job_json(row) for row in queries.print_job_rows(conn, numbers)]


def _send(asked: Caller, row: Mapping[str, Any]) -> str:
    try:
        printer = labels.printer_named(asked.lab.settings, row["printer"])
    except LisError as error:  # it was taken out of the settings since
        return error.sentence
    return labels.send(printer, row["content"])


def job_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """One print job; ``content`` is left out."""
    return {name: value for name, value in row.items() if name != "content"}


# -- pages ---------------------------------------------------------------------------------------


@pages.get("/labels")
def labels_page(
    request: Request, caller: Seen, code: Annotated[str, Query(max_length=8000)] = ""
) -> Response:
    """Labels as they will be printed, and what became of earlier jobs."""
    asked = dict.fromkeys(code.replace(",", " ").split())
    words = _words(request)
    shown, wrong = [], []
    with caller.lab.database.read() as conn:
        for one in list(asked)[: labels.MOST_LABELS]:
            try:
                found = labels.label_of(conn, one, words)
            except LisError as error:
                wrong.append((barcodes.clean(one)[:40], error))
                continue
            shown.append((found, as_svg(found, stock_of(caller.lab.settings, found.kind))))
        before = queries.labels_printed(conn, [found.code for found, _ in shown])
        jobs = queries.print_jobs(conn, JOBS_SHOWN)
    return page(
        request, "labels.html", caller.identity, shown=shown, wrong=wrong, before=before, jobs=jobs,
        printers=[one.name for one in caller.lab.settings.printers], code="\n".join(asked),
        may=caller.identity.may("register"),
    )  # fmt: skip


@pages.get("/labels/{kind}.css")
def label_css(caller: Seen, kind: Kind) -> Response:
    """The size of one kind of label, for the printer of the browser: one label a page."""
    stock = stock_of(caller.lab.settings, kind)
    text = (
        f"@page {{ size: {stock.width_mm:g}mm {stock.height_mm:g}mm; margin: 0; }}\n"
        f"@media print {{ .label svg {{ width: {stock.width_mm:g}mm; height: {stock.height_mm:g}mm; }} }}\n"
    )
    return Response(text, 200, {"Cache-Control": "no-store"}, "text/css")
