"""Pages around the bench: sign in, reports, alarms, errors.

They only look; every change goes through the API.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qs, urlsplit

from fastapi import APIRouter, Depends, Query, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response

from lis import laboratory, queries
from lis.auth import Identity
from lis.errors import LisError
from lis.laboratory import papers
from lis.services import reports as reporting
from lis.web.api import masked_view
from lis.web.api_admin import verified
from lis.web.catalogues import LANGUAGES
from lis.web.commands import Caller, identify
from lis.web.payloads import report_json
from lis.web.permits import PERMITS
from lis.web.sessions import Sessions, check_csrf, check_origin
from lis.web.views import LANGUAGE_COOKIE, environment, error_values, language_of, page
from lis.web.words import error_zh

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

ROWS = 50
"""Rows of a list on one screen; the next ones are one click away."""


async def seen(request: Request) -> Caller:
    """The signed-in person who asks for a page; instruments have none."""
    identity: Identity = await identify(request)
    if f"GET {request.scope['route'].path}" not in PERMITS:
        identity.must("look")
    return Caller(request.app.state.lab, identity)


Seen = Annotated[Caller, Depends(seen)]


# -- sign in, sign out, language -----------------------------------------------------------------


@router.get("/sign-in")
def sign_in_page(request: Request, next: str = "/") -> Response:  # noqa: A002 - name of the parameter
    """Where a person signs in."""
    return _door(request, next)


def _door(request: Request, target: str, status: int = 200, **shown: str) -> Response:
    """The page at which people sign in, with a badge too where that is enough."""
    sessions: Sessions = request.app.state.sessions
    values = {"failed": "", "name": "", "badge_failed": ""} | shown
    badges = sessions.takes_badges(request)
    return page(request, "sign_in.html", status=status, next=_inside(target), badges=badges, **values)


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """Check name and password; the cookie is the answer. Works without a script."""
    fields = await _form(request)
    name, target = fields.get("name", "").strip(), _inside(fields.get("next", "/"))
    badge = fields.get("badge", "")
    sessions: Sessions = request.app.state.sessions
    check_origin(request)
    place = sessions.place_of(request)
    try:
        if badge:
            opened = await run_in_threadpool(sessions.switch, badge, fields.get("pin", ""), place)
        else:
            opened = await run_in_threadpool(sessions.sign_in, name, fields.get("password", ""), place)
    except LisError as error:
        if error.status not in {401, 403, 422, 429}:
            raise
        request.app.state.metrics.errors.labels(error.code).inc()
        text = error_values(error, language_of(request), error_zh(error.code, error.details))["sentence"]
        shown = {"badge_failed": text} if badge else {"failed": text, "name": name}
        answer = _door(request, target, error.status, **shown)
        if "seconds" in error.details:
            answer.headers["Retry-After"] = error.details["seconds"]
        return answer
    await run_in_threadpool(sessions.leave, request)
    answer = RedirectResponse(target, 303)
    sessions.let_in(answer, opened)
    return answer


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """End the sign-in of this browser."""
    sessions: Sessions = request.app.state.sessions
    secret, _ = sessions.secret_of(request)
    identity = await run_in_threadpool(sessions.identify, secret)
    check_csrf(identity, (await _form(request)).get("csrf", ""))
    await run_in_threadpool(sessions.sign_out, secret, identity.name)
    answer = RedirectResponse("/sign-in", 303)
    answer.delete_cookie(sessions.cookie, path="/", secure=request.app.state.lab.settings.secure_cookies)
    return answer


@router.post("/language")
async def choose_language(request: Request) -> Response:
    """Remember the language of this browser."""
    fields = await _form(request)
    chosen = fields.get("language", "")
    answer = RedirectResponse(_inside(fields.get("next", "/")), 303)
    if chosen in LANGUAGES:
        secure = request.app.state.lab.settings.secure_cookies
        answer.set_cookie(
            LANGUAGE_COOKIE, chosen, max_age=31_536_000, samesite="strict", secure=secure, httponly=True
        )
    return answer


async def _form(request: Request) -> dict[str, str]:
    """The fields of a small urlencoded form."""
    body = (await request.body()).decode("utf-8", "replace")
    return {name: values[-1] for name, values in parse_qs(body, keep_blank_values=True).items()}


def _inside(target: str) -> str:
    """``target`` if it is an address of this server, else the start page: no open redirect."""
    parts = urlsplit(target)
    safe = (
        not parts.scheme
        and not parts.netloc
        and target.startswith("/")
        and not target.startswith(("//", "/\\"))
    )
    return target if safe and target.isprintable() else "/"


# -- reports and alarms --------------------------------------------------------------------------


@router.get("/reports")
def reports_page(request: Request, caller: Seen, after: Annotated[int, Query(ge=0)] = 0) -> Response:
    """Signed results that may leave, and the reports issued last."""
    with caller.lab.database.read() as conn:
        waiting = queries.worklist(conn, "release", limit=queries.PAGE)
        latest = [report_json(row) for row in queries.latest_reports(conn, ROWS, after)]
    ready = [tube for tube in waiting if not reporting.missing_signatures(tube, caller.lab.rules)]
    return page(
        request, "reports.html", caller.identity, ready=ready, latest=latest, after=after, rows=ROWS,
        may=caller.identity.may("release"),
    )  # fmt: skip


@router.get("/reports/{report_id}")
def report_page(request: Request, caller: Seen, report_id: str) -> Response:
    """One report as it was issued, with its corrections."""
    view = papers.report_view(caller.lab, report_id)
    with caller.lab.database.read() as conn:
        later = queries.amended_by(conn, report_id)
        proposed = queries.open_amendment(conn, report_id)
    may = caller.identity.may("amend") and not later
    view = masked_view(view)
    return page(request, "report.html", caller.identity, report=view, later=later, may=may, proposed=proposed)


@router.get("/alarms")
def alarms_page(request: Request, caller: Seen) -> Response:
    """Alarms nobody has cleared."""
    with caller.lab.database.read() as conn:
        alarms = laboratory.alarms(caller.lab, conn)
    return page(request, "alarms.html", caller.identity, alarms=alarms)


@router.get("/verify/{report_id}")
def verify_page(
    request: Request, report_id: str, seal: Annotated[str, Query(max_length=64)] = ""
) -> Response:
    """For whoever holds a printed report: is it genuine. Nothing about the person."""
    return page(request, "verify.html", found=verified(request.app.state.lab, report_id, seal))


@router.get("/api/v1/docs")
def docs() -> Response:
    """The API, browsable, from files on this server."""
    return HTMLResponse(environment().get_template("docs.html").render())


def error_page(request: Request, error: LisError) -> Response:
    """A refusal in the language of the person."""
    language = language_of(request)
    values = error_values(error, language, error_zh(error.code, error.details))
    known: Identity | None = getattr(request.state, "identity", None)
    return page(request, "error.html", known, status=error.status, **values)
