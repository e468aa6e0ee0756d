"""The web application of one laboratory: API, pages, documents, health."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from lis import db
from lis.errors import LisError, NotSignedIn
from lis.laboratory import Laboratory
from lis.web import (
    api,
    api_account,
    api_accounts,
    api_admin,
    api_administration,
    api_capacity,
    api_curves,
    api_duty,
    api_labels,
    api_plates,
    api_pools,
    api_quality,
    api_registers,
    api_rules,
    api_sheets,
    api_simulations,
    api_stations,
    exporting,
    live,
    metrics,
    pages,
    pages_admin,
    pages_bench,
    pages_capacity,
    pages_lists,
    pages_pools,
    pages_quality,
    pages_review,
    pages_stations,
    pages_tube,
    problems,
    wall,
)
from lis.web.border import Border
from lis.web.catalogues import LANGUAGES
from lis.web.playing import Simulations
from lis.web.sessions import Sessions
from lis.web.views import PACKED_FROM
from lis.web.words import wordings

HERE = Path(__file__).parent

TITLE = "nat-lis"
SUMMARY = "Laboratory information system for nucleic-acid testing, tube by tube. Times are UTC."

ROUTERS: Final = (
    api.router,
    api_stations.router,
    api_pools.router,
    api_plates.router,
    api_account.router,
    api_accounts.router,
    api_admin.router,
    api_administration.router,
    api_rules.router,
    live.router,
    api_curves.router,
    api_sheets.router,
    api_labels.router,
    api_labels.pages,
    api_quality.router,
    api_capacity.router,
    api_duty.router,
    api_simulations.router,
    api_simulations.scenarios,
    api_admin.open_router,
    pages.router,
    pages_bench.router,
    pages_capacity.router,
    pages_pools.router,
    pages_review.router,
    pages_tube.router,
    pages_quality.router,
    pages_stations.router,
    pages_admin.router,
    pages_lists.router,
    pages_lists.api,
    api_registers.router,
    exporting.router,
    wall.router,
)
"""Everything that is asked for, in the order in which addresses are looked up: the most frequent first."""


def create_app(
    lab: Laboratory, news: live.News | None = None, bridge: Callable[[], Mapping[str, int]] | None = None
) -> FastAPI:
    """The application for an open laboratory; the caller closes the laboratory.

    ``news`` is what whoever else works in this process tells the screens through; ``bridge`` tells what the
    instruments' bridge has counted.
    """
    app = FastAPI(
        title=TITLE,
        summary=SUMMARY,
        version="1",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
    )
    app.state.lab = lab
    app.state.news = news or live.News()
    app.state.sessions = Sessions(lab)
    app.state.wall = wall.Wall(lab)
    app.state.metrics = metrics.create(lab, bridge)
    app.state.simulations = Simulations(
        lab.settings.data / "simulations", lab.database.clock, lab.settings.simulations_at_once
    )
    app.state.shelf = api_curves.Shelf()
    app.state.revision = db.newest_revision()
    for language in LANGUAGES:
        wordings(language)  # a catalogue that cannot be read stops the start, not a page in the night
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/static", GZipMiddleware(StaticFiles(directory=HERE / "static"), PACKED_FROM), name="static")
    app.mount("/docs-static", StaticFiles(directory=_docs_assets()), name="docs-static")
    for kind in (LisError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _refused)
    app.add_middleware(Border, metrics=app.state.metrics)
    return app


def _docs_assets() -> Path:
    """Swagger UI as it comes with an installed package: the documentation asks no other host."""
    import fastapi_offline

    return Path(fastapi_offline.__file__).parent / "static"


def _refused(request: Request, error: Exception) -> Response:
    """A problem document for programs, a page in their language for people."""
    found = problems.as_error(error)
    request.app.state.metrics.errors.labels(found.code).inc()
    if not problems.wants_page(request):
        return problems.respond(found)
    if isinstance(found, NotSignedIn):
        target = request.url.path if request.method == "GET" else "/"
        return RedirectResponse(f"/sign-in?next={target}", 303)
    if found.code == "PASSWORD_CHANGE":
        return RedirectResponse("/account", 303)
    return pages.error_page(request, found)
