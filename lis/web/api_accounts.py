"""The API of the administrator about people: accounts, badges, stations, and what was changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import Field
from starlette.responses import Response

from lis import auth, queries
from lis.auth import AccountData, stations
from lis.db import Unit
from lis.errors import Refused
from lis.web.api_account import SHORT, Secret, sign_in_json
from lis.web.commands import Asked, Caller, reply
from lis.web.payloads import Code, Payload, Words
from lis.web.sessions import Sessions

router = APIRouter(prefix="/api/v1", tags=["administration"])


class AccountIn(Payload):
    """An account to open; its first password is made here and shown once."""

    name: Code
    full_name: Words = ""
    role: Code
    site: Code = ""


class ChangeIn(Payload):
    """Another name, role or site."""

    full_name: Words = ""
    role: Code
    site: Code = ""


class BadgeIn(Payload):
    """A scanned badge; none takes it away."""

    badge: Code = ""


class PinIn(Payload):
    """A PIN to begin with; none takes it away."""

    pin: Secret = ""


class EndIn(Payload):
    """Which sign-in ends; none named = all, access tokens too."""

    sign_in: Annotated[str, Field(max_length=64)] = ""


class StationIn(Payload):
    """Where a station stands."""

    name: Words


# -- accounts -------------------------------------------------------------------------------------


@router.get("/accounts")
def list_accounts(asked: Asked) -> Response:
    """All accounts, without anything that opens a door."""
    return asked.read("accounts", lambda conn: {"accounts": accounts_document(asked, conn)})


def accounts_document(asked: Caller, conn: Any) -> list[dict[str, Any]]:
    """All accounts: role, whether they have a badge and a PIN, open sign-ins, until when they must wait."""
    now = asked.lab.database.clock.now()
    standing = queries.tickets_standing(conn, now)
    waiting = queries.attempts_waiting(conn, "name", now) | queries.attempts_waiting(conn, "pin", now)
    return [account_json(row, standing, waiting) for row in queries.accounts(conn)]


def account_json(row: Any, standing: dict[str, int], waiting: dict[str, Any]) -> dict[str, Any]:
    """One account as an administrator sees it."""
    names = ("name", "full_name", "role", "site", "active", "must_change", "created_at")
    return {name: row[name] for name in names} | {
        "badge": bool(row["badge"]),
        "pin": bool(row["pin"]),
        "sign_ins": standing.get(row["name"], 0),
        "waits_until": waiting.get(row["name"]),
    }


def account_page(asked: Caller, name: str) -> dict[str, Any]:
    """One account with its sign-ins and what was done to it.

    Raises:
        NotFound: ``ACCOUNT_UNKNOWN``.
    """
    now = asked.lab.database.clock.now()
    with asked.lab.database.read() as conn:
        auth.known_account(asked.looking(conn), name)
        found = next(one for one in accounts_document(asked, conn) if one["name"] == name)
        tickets = [sign_in_json(row) for row in queries.tickets_of(conn, name, now)]
        return found | {"open": tickets, "acts": queries.admin_acts(conn, "account", name, 50)}


@router.post("/accounts", status_code=201)
def add_account(order: AccountIn, asked: Asked) -> Response:
    """Open an account; the answer holds its first password, which its person must change at once."""
    asked.must("accounts")
    first = auth.temporary()
    hashed = auth.hash_password(first)
    data = AccountData(order.name.strip(), order.full_name, order.role, order.site)
    with asked.lab.database.write(asked.identity.name) as unit:
        auth.open_account(unit, data, hashed, must_change=True)
    return reply({"name": data.name, "password": first}, 201)


@router.post("/accounts/{name}")
def change_account(name: str, order: ChangeIn, asked: Asked, request: Request) -> Response:
    """Give an account another full name, role or site; the own role is changed by somebody else."""
    if name == asked.identity.name and order.role != asked.identity.role:
        raise Refused("OWN_ROLE", "Nobody changes the own role. Ask another administrator.")
    data = AccountData(name, order.full_name, order.role, order.site)
    return _change(asked, request, name, lambda unit: auth.change_account(unit, data))


@router.post("/accounts/{name}/reset")
def reset_password(name: str, asked: Asked, request: Request) -> Response:
    """A new password for somebody who forgot it: shown once here, to be changed at the next sign-in."""
    asked.must("accounts")
    if name == asked.identity.name:
        raise Refused("OWN_PASSWORD", "Change your own password on the page of your account.")
    first = auth.temporary()
    hashed = auth.hash_password(first)
    _change(asked, request, name, lambda unit: auth.set_password(unit, name, hashed, must_change=True))
    return reply({"name": name, "password": first})


@router.post("/accounts/{name}/disable")
def disable_account(name: str, asked: Asked, request: Request) -> Response:
    """Close an account: its sign-ins end, its acts stay."""
    if name == asked.identity.name:
        raise Refused("OWN_ACCOUNT", "Nobody closes the own account. Ask another administrator.")
    return _change(asked, request, name, lambda unit: auth.set_active(unit, name, active=False))


@router.post("/accounts/{name}/enable")
def enable_account(name: str, asked: Asked, request: Request) -> Response:
    """Open a closed account again."""
    return _change(asked, request, name, lambda unit: auth.set_active(unit, name, active=True))


@router.post("/accounts/{name}/unlock")
def unlock_account(name: str, asked: Asked, request: Request) -> Response:
    """Let somebody try again who gave too many wrong passwords or PINs."""
    return _change(asked, request, name, lambda unit: auth.unlock(unit, name))


@router.post("/accounts/{name}/badge")
def bind_badge(name: str, order: BadgeIn, asked: Asked, request: Request) -> Response:
    """Bind the badge that was scanned, or take it away."""
    sessions: Sessions = request.app.state.sessions
    hashed = sessions.badge_hash(auth.check_badge(order.badge)) if order.badge else None
    return _change(asked, request, name, lambda unit: auth.bind_badge(unit, name, hashed))


@router.post("/accounts/{name}/pin")
def set_pin(name: str, order: PinIn, asked: Asked, request: Request) -> Response:
    """Give somebody a PIN to begin with, or take it away."""
    asked.must("accounts")
    if order.pin:
        auth.check_pin(order.pin)
    hashed = auth.hash_password(order.pin) if order.pin else ""
    return _change(asked, request, name, lambda unit: auth.set_pin(unit, name, hashed))


@router.post("/accounts/{name}/end")
def end_sign_ins(name: str, order: EndIn, asked: Asked, request: Request) -> Response:
    """End one sign-in of an account, or all, access tokens too."""

    def act(unit: Unit) -> None:
        auth.known_account(unit, name)
        auth.end_sessions(unit, name, only=order.sign_in, tokens=True)

    return _change(asked, request, name, act)


def _change(asked: Caller, request: Request, name: str, act: Callable[[Unit], None]) -> Response:
    """Do an act; every screen feels it with its next request."""

    def done(unit: Unit) -> dict[str, str]:
        act(unit)
        return {"name": name}

    answer = asked.write("accounts", done)
    sessions: Sessions = request.app.state.sessions
    sessions.forget_all()
    return answer


# -- stations and acts ----------------------------------------------------------------------------


def station_json(row: Any, own: str) -> dict[str, Any]:
    """A browser at which people sign in; ``here`` marks the one that asks."""
    names = ("name", "created_at", "opened_at", "opened_by", "enrolled_at", "enrolled_by", "revoked_at")
    return {"key": row["digest"], "here": row["digest"] == own} | {name: row[name] for name in names}


def station_here(request: Request) -> str:
    """The digest of the station cookie of a request, empty if it has none."""
    sessions: Sessions = request.app.state.sessions
    secret = sessions.place_of(request).station
    return auth.digest(secret) if secret else ""


@router.post("/stations/{key}/enrol")
def enrol_station(key: str, order: StationIn, asked: Asked) -> Response:
    """Take badges at a browser for good."""

    def act(unit: Unit) -> dict[str, str]:
        stations.enrol(unit, key, order.name)
        return {"station": key[:SHORT]}

    return asked.write("accounts", act)


@router.post("/stations/{key}/revoke")
def revoke_station(key: str, asked: Asked) -> Response:
    """Take no badge at a browser any more."""

    def act(unit: Unit) -> dict[str, str]:
        stations.revoke(unit, key)
        return {"station": key[:SHORT]}

    return asked.write("accounts", act)


@router.get("/acts")
def list_acts(
    asked: Asked,
    area: Annotated[str, Query(max_length=16)] = "",
    subject: Annotated[str, Query(max_length=80)] = "",
) -> Response:
    """What administrators changed, newest first."""
    return asked.read("administration", lambda conn: {"acts": queries.admin_acts(conn, area, subject)})
