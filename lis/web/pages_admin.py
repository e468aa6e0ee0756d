"""The screens of administration: accounts, devices, assays, sites, settings, copies, disclosures."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import HTMLResponse, Response

from lis import auth, queries
from lis.auth import Role, stations
from lis.web.api_account import account_document
from lis.web.api_accounts import account_page, accounts_document, station_here, station_json
from lis.web.api_administration import backup_document, devices_document, settings_document
from lis.web.api_rules import assays_document, comparison
from lis.web.pages import ROWS, Seen
from lis.web.sessions import Sessions
from lis.web.views import page

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

TABS = (
    ("users", "accounts"),
    ("devices", "devices"),
    ("assays", "administration"),
    ("sites", "sites"),
    ("settings", "administration"),
    ("backup", "administration"),
    ("disclosures", "disclosures"),
    ("acts", "administration"),
)
"""The screens of administration in their order, and the action each asks for."""


def _page(request: Request, caller: Seen, name: str, **values: Any) -> Response:
    """A screen of administration with the tabs that its reader may open."""
    tabs = [tab for tab, action in TABS if caller.identity.may(action)]
    return page(request, f"admin_{name}.html", caller.identity, tabs=tabs, tab=name, **values)


@router.get("/account")
def own_account(request: Request, caller: Seen) -> Response:
    """The own account: password, PIN, sign-ins."""
    sessions: Sessions = request.app.state.sessions
    found = account_document(caller, sessions.secret_of(request)[0])
    return page(request, "account.html", caller.identity, account=found)


@router.get("/admin")
def administration(request: Request, caller: Seen) -> Response:
    """What needs an administrator now."""
    now = caller.lab.database.clock.now()
    with caller.lab.database.read() as conn:
        found = {
            "users": [row for row in queries.accounts(conn) if row["active"]],
            "devices": [row for row in queries.devices(conn) if row["revoked_at"] is None],
            "sites": queries.sites(conn, active=True),
            "waiting": queries.attempts_waiting(conn, "name", now),
            "drafts": [row for row in queries.drafts(conn) if row["closed_at"] is None],
            "disclosures": queries.disclosure_count(conn),
            "acts": queries.admin_acts(conn, limit=8),
        }
    backup = backup_document(caller)
    return _page(request, caller, "home", found=found, backup=backup, assays=len(caller.lab.rules.assays))


@router.get("/admin/users")
def users(request: Request, caller: Seen) -> Response:
    """All accounts, and the stations at which badges are taken."""
    own = station_here(request)
    now = caller.lab.database.clock.now()
    shift = caller.lab.settings.shift_hours
    with caller.lab.database.read() as conn:
        found = accounts_document(caller, conn)
        places = [
            station_json(row, own)
            for row in queries.stations(conn, ROWS)
            if row["revoked_at"] is None
            and (row["enrolled_at"] or stations.allows(row, now, timedelta(hours=shift)))
        ]
        sites = queries.sites(conn, active=True)
    return _page(
        request, caller, "users", users=found, stations=places, sites=sites, roles=list(Role), shift=shift
    )


@router.get("/admin/users/{name}")
def user(request: Request, caller: Seen, name: str) -> Response:
    """One account: role, password, badge, PIN, sign-ins, history."""
    found = account_page(caller, name)
    with caller.lab.database.read() as conn:
        sites = queries.sites(conn, active=True)
    badge_possible = found["role"] not in auth.PASSWORD_ONLY
    return _page(
        request, caller, "user", user=found, sites=sites, roles=list(Role), badge_possible=badge_possible
    )


@router.get("/admin/devices")
def devices(request: Request, caller: Seen, name: Annotated[str, Query(max_length=80)] = "") -> Response:
    """Devices with their keys, and what was done to one of them or to all."""
    with caller.lab.database.read() as conn:
        found = devices_document(caller, conn)
        history = queries.device_acts(conn, name, 30)
    settings = caller.lab.settings
    bridge = settings.bridge_address or settings.bridge
    return _page(request, caller, "devices", devices=found, history=history, device=name, bridge=bridge)


@router.get("/admin/assays")
def assays(
    request: Request,
    caller: Seen,
    old: Annotated[str, Query(max_length=200)] = "",
    new: Annotated[str, Query(max_length=200)] = "",
    period: Annotated[str, Query(max_length=40)] = "all",
) -> Response:
    """Loaded rules, a comparison if one was asked for, and proposals that wait for a second person."""
    may = caller.identity.may("rules")
    with caller.lab.database.read() as conn:
        found = assays_document(caller, conn)
        drafts = queries.drafts(conn, 20)
    compared = comparison(caller, old, new, "", period) if may and old and new else None
    return _page(
        request, caller, "assays", assays=found, drafts=drafts, compared=compared, may=may, old=old, new=new,
        period=period,
    )  # fmt: skip


@router.get("/admin/sites")
def sites(request: Request, caller: Seen) -> Response:
    """Collection sites."""
    with caller.lab.database.read() as conn:
        found = queries.sites(conn)
    return _page(request, caller, "sites", sites=found)


@router.get("/admin/settings")
def settings(request: Request, caller: Seen) -> Response:
    """Every setting with its source and meaning; changed in a file, not here."""
    return _page(
        request,
        caller,
        "settings",
        settings=settings_document(caller),
        file=caller.lab.settings.data / "lis.toml",
    )


@router.get("/admin/backup")
def backup(request: Request, caller: Seen) -> Response:
    """When the last copy of the data was made, and whether it can be read."""
    return _page(request, caller, "backup", backup=backup_document(caller))


@router.get("/admin/disclosures")
def disclosures(
    request: Request,
    caller: Seen,
    actor: Annotated[str, Query(max_length=80)] = "",
    after: Annotated[int, Query(ge=0)] = 0,
) -> Response:
    """Who saw personal data in clear, or took data out."""
    with caller.lab.database.read() as conn:
        found = queries.disclosures(conn, actor=actor, limit=ROWS, after=after)
        total = queries.disclosure_count(conn, actor)
        names = queries.full_names(conn, {row["actor"] for row in found})
    return _page(
        request,
        caller,
        "disclosures",
        found=found,
        total=total,
        after=after,
        rows=ROWS,
        actor=actor,
        names=names,
    )


@router.get("/admin/acts")
def acts(request: Request, caller: Seen, area: Annotated[str, Query(max_length=16)] = "") -> Response:
    """What administrators changed."""
    with caller.lab.database.read() as conn:
        found = queries.admin_acts(conn, area)
    return _page(request, caller, "acts", acts=found, area=area)
