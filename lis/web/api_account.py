"""The API of one's own account: sign in and out, lock, show who one is, password, PIN, sign-ins."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import Field
from starlette.responses import Response

from lis import auth, queries
from lis.auth import Identity
from lis.errors import Forbidden, Invalid
from lis.laboratory import Laboratory
from lis.web.commands import Asked, Caller, identify, reply
from lis.web.payloads import Code, Payload, SignInIn
from lis.web.sessions import Opened, Sessions, check_origin

router = APIRouter(prefix="/api/v1", tags=["account"])

Secret = Annotated[str, Field(max_length=500)]
SHORT = 16
"""Characters of a digest by which a person names one of the own sign-ins."""


class BadgeIn(Payload):
    """A scanned badge with its PIN."""

    badge: Code
    pin: Secret


class ProofIn(Payload):
    """The password, or the PIN, of whoever is signed in."""

    password: Secret = ""
    pin: Secret = ""


class PasswordIn(Payload):
    """The password until now, and the one from now on."""

    old: Secret
    new: Secret


class NewPinIn(Payload):
    """The password, and the PIN from now on; no PIN takes it away."""

    password: Secret
    pin: Secret = ""


class CandidateIn(Payload):
    """A password somebody thinks of."""

    password: Secret


class EndIn(Payload):
    """Which of the own sign-ins end; none named = all but this one."""

    sign_in: Code = ""


# -- in and out -----------------------------------------------------------------------------------


@router.post("/sign-in")
def sign_in(order: SignInIn, request: Request) -> Response:
    """A sign-in: the secret for ``Authorization: Bearer``, also set as cookie, and the CSRF token."""
    check_origin(request)
    sessions: Sessions = request.app.state.sessions
    opened = sessions.sign_in(order.name, order.password, sessions.place_of(request))
    sessions.leave(request)
    return _let_in(sessions, opened, token=opened.signed.secret)


@router.post("/switch")
def switch_user(order: BadgeIn, request: Request) -> Response:
    """Change the person at a shared station by badge and PIN; whoever was signed in there is signed out."""
    check_origin(request)
    sessions: Sessions = request.app.state.sessions
    opened = sessions.switch(order.badge, order.pin, sessions.place_of(request))
    sessions.leave(request)
    return _let_in(sessions, opened)


def _let_in(sessions: Sessions, opened: Opened, **more: Any) -> Response:
    answer = reply(more | me_json(opened.signed.identity) | {"csrf": opened.signed.identity.csrf})
    sessions.let_in(answer, opened)
    return answer


@router.post("/sign-out")
async def sign_out(request: Request) -> Response:
    """End this sign-in at once."""
    identity = await identify(request)
    sessions: Sessions = request.app.state.sessions
    secret, _ = sessions.secret_of(request)
    await run_in_threadpool(sessions.sign_out, secret, identity.name)
    answer = reply({"signed_out": True})
    answer.delete_cookie(sessions.cookie, path="/", secure=request.app.state.lab.settings.secure_cookies)
    return answer


@router.post("/lock")
async def lock_screen(request: Request) -> Response:
    """Cover this screen: its sign-in opens nothing until its person shows who it is."""
    identity = await identify(request)
    sessions: Sessions = request.app.state.sessions
    secret, _ = sessions.secret_of(request)
    if not identity.locked:
        await run_in_threadpool(sessions.lock, secret, identity.name)
    return reply({"locked": True})


@router.post("/prove")
def prove(order: ProofIn, asked: Asked, request: Request) -> Response:
    """Show by password or PIN who is there: opens a covered screen, and signing for five minutes."""
    if not (order.password or order.pin):
        raise Invalid("PROOF_EMPTY", "Give your password or your PIN.")
    sessions: Sessions = request.app.state.sessions
    secret, _ = sessions.secret_of(request)
    place = sessions.place_of(request)
    sessions.prove(secret, asked.identity, password=order.password, pin=order.pin, place=place)
    return reply({"proved": True, "minutes": int(auth.FRESH.total_seconds() // 60)})


@router.get("/me")
def who_am_i(asked: Asked) -> Response:
    """Name and role of the caller."""
    return reply(me_json(asked.identity))


def me_json(who: Identity) -> dict[str, Any]:
    """Who somebody is."""
    found = {"name": who.name, "full_name": who.full_name, "role": who.role.value, "purpose": who.purpose}
    return found | ({"site": who.site} if who.site else {})


# -- the own account ------------------------------------------------------------------------------


@router.get("/account")
def own_account(asked: Asked, request: Request) -> Response:
    """The own account: whether it has a badge and a PIN, and its sign-ins."""
    sessions: Sessions = request.app.state.sessions
    return reply(account_document(asked, sessions.secret_of(request)[0]))


def account_document(asked: Caller, secret: str) -> dict[str, Any]:
    """The own account; ``here`` marks the sign-in that asks."""
    now = asked.lab.database.clock.now()
    with asked.lab.database.read() as conn:
        row = queries.account_row(conn, asked.identity.name)
        tickets = queries.tickets_of(conn, asked.identity.name, now)
    own = auth.digest(secret)
    return me_json(asked.identity) | {
        "badge": bool(row and row["badge"]),
        "pin": bool(row and row["pin"]),
        "badge_possible": asked.identity.role not in auth.PASSWORD_ONLY,
        "must_change": asked.identity.must_change,
        "sign_ins": [sign_in_json(one) | {"here": one["digest"] == own} for one in tickets],
    }


def sign_in_json(row: queries.Row) -> dict[str, Any]:
    """One sign-in or token, without anything that opens a door."""
    names = ("purpose", "method", "created_at", "expires_at", "address", "locked_at")
    return {"sign_in": row["digest"][:SHORT]} | {name: row[name] for name in names}


@router.post("/account/strength")
def password_strength(order: CandidateIn, asked: Asked) -> Response:
    """How good a password would be: length, common, name (refused), fair, good, strong."""
    return reply({"strength": auth.strength(order.password, context_of(asked.lab, asked.identity))})


def context_of(lab: Laboratory, who: Identity) -> tuple[str, ...]:
    """Names that no password is made of."""
    return (who.name, who.full_name, lab.settings.laboratory, lab.settings.laboratory_zh, "nat-lis")


@router.post("/account/password")
def change_password(order: PasswordIn, asked: Asked, request: Request) -> Response:
    """Choose another password; all other sign-ins of this account end."""
    sessions, secret = _confirmed(asked, request, order.old)
    if order.new == order.old:
        raise Invalid("PASSWORD_SAME", "This is the password you have. Choose another one.")
    auth.check_password(order.new, context_of(asked.lab, asked.identity))
    hashed = auth.hash_password(order.new)
    with asked.lab.database.write(asked.identity.name) as unit:
        auth.set_password(unit, asked.identity.name, hashed, keep=auth.digest(secret))
    sessions.forget_all()
    return reply({"changed": True})


@router.post("/account/pin")
def change_pin(order: NewPinIn, asked: Asked, request: Request) -> Response:
    """Choose a PIN for shared stations, or take it away."""
    _confirmed(asked, request, order.password)
    if order.pin:
        auth.check_pin(order.pin)
    hashed = auth.hash_password(order.pin) if order.pin else ""
    with asked.lab.database.write(asked.identity.name) as unit:
        auth.set_pin(unit, asked.identity.name, hashed)
    return reply({"pin": bool(order.pin)})


def _confirmed(asked: Caller, request: Request, password: str) -> tuple[Sessions, str]:
    """Refuse unless the password is right; a program's token has none to give."""
    if asked.identity.purpose != "session":
        raise Forbidden("TOKEN", "A program cannot do this. Its person signs in with name and password.")
    sessions: Sessions = request.app.state.sessions
    secret, _ = sessions.secret_of(request)
    sessions.prove(secret, asked.identity, password=password or " ", pin="", place=sessions.place_of(request))
    return sessions, secret


@router.post("/account/end")
def end_sign_ins(order: EndIn, asked: Asked, request: Request) -> Response:
    """End one of the own sign-ins, or all but this one."""
    sessions: Sessions = request.app.state.sessions
    own = auth.digest(sessions.secret_of(request)[0])
    name = asked.identity.name
    with asked.lab.database.write(name) as unit:
        ended = auth.end_sessions(unit, name, keep=own, only=order.sign_in)
    sessions.forget_all()
    return reply({"ended": ended})
