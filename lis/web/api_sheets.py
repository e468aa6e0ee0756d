"""A plate as files: its map, its work sheet, its transfers for a liquid handler."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from lis import queries
from lis.errors import NotFound
from lis.laboratory import papers
from lis.services import transfers
from lis.web.commands import Asked
from lis.web.maps import draw_plate
from lis.web.pages_review import plate_content
from lis.web.views import language_of, written

router = APIRouter(prefix="/api/v1", tags=["plates"])


def _file(body: bytes | str, kind: str, name: str, *, shown: bool = False) -> Response:
    how = "inline" if shown else "attachment"
    headers = {"Content-Disposition": f'{how}; filename="{name}"', "Cache-Control": "no-store"}
    return Response(body, 200, headers, kind)


@router.get("/plates/{plate_id}/map.svg")
def plate_svg(request: Request, plate_id: str, asked: Asked) -> Response:
    """The map of a plate as one SVG that stands alone, in the language of who asks."""
    asked.identity.must("look")
    with asked.lab.database.read() as conn:
        row = queries.plate_row(conn, plate_id)
        if row is None:
            raise NotFound("PLATE_UNKNOWN", f"Plate {plate_id[:40]} is not known here. Check the code.")
        drawing = draw_plate(row["size"], *plate_content(conn, plate_id), language_of(request))
    drawn = written(request, "plate_map.html", asked.identity, drawing=drawing, links=False)
    return _file(drawn, "image/svg+xml", f"{plate_id}.svg")


@router.get("/plates/{plate_id}/sheet.pdf")
def plate_sheet(plate_id: str, asked: Asked, language: Annotated[str, Query()] = "both") -> Response:
    """The work sheet of a plate to take to the bench: ``language`` is zh, en or both."""
    asked.identity.must("look")
    return _file(
        papers.plate_sheet_pdf(asked.lab, plate_id, language),
        "application/pdf",
        f"{plate_id}.pdf",
        shown=True,
    )


@router.get("/plates/{plate_id}/transfers.csv")
def plate_transfers(plate_id: str, asked: Asked) -> Response:
    """Source, destination and volume of every well. The columns are generic, not of one maker."""
    asked.identity.must("look")
    settings = asked.lab.settings
    with asked.lab.database.read() as conn:
        lines = transfers.transfers(
            conn, plate_id, sample_ul=settings.plate_sample_ul, eluate_ul=settings.plate_eluate_ul
        )
    return _file(transfers.as_csv(lines), "text/csv; charset=utf-8", f"{plate_id}-transfers.csv")
