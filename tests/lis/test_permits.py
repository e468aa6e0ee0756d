"""Every address has a permission, and every role is let through or stopped by it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi.routing import iter_route_contexts
from web_bench import ACCOUNTS, PASSWORD, add_accounts

from lis import auth, config
from lis.auth import PERMISSIONS, Role
from lis.db import Database
from lis.laboratory import Laboratory
from lis.privacy import Vault
from lis.rulebook import load
from lis.web.app import create_app
from lis.web.permits import OPEN, PERMITS, WHILE_CHANGING, WHILE_LOCKED

SLOW = {"POST /api/v1/simulations", "POST /api/v1/backup"}
"""Doors behind which an allowed request would really work for seconds: there the table alone is asked."""


@pytest.fixture
def app(tmp_path: Path, sqlite_template: Path, clock):
    """The application of a laboratory with one account a role, asked without a network."""
    target = tmp_path / "lis.db"
    target.write_bytes(sqlite_template.read_bytes())
    settings = config.load(tmp_path, database=f"sqlite:///{target}")
    lab = Laboratory(settings, Database(settings.database, clock), Vault(b"k" * 32), load(settings))
    with lab.database.write("setup") as unit:
        add_accounts(unit)
    made = create_app(lab)
    made.state.news.close()  # streams of news end at once
    made.state.wall.close()
    yield made
    made.state.simulations.close()
    lab.close()


def doors(app) -> list[str]:
    """Every route of the application as ``METHOD address``."""
    found = []
    for one in iter_route_contexts(app.routes):
        methods = set(getattr(one, "methods", None) or ()) - {"HEAD"}
        found += [f"{method} {one.path}" for method in methods]
    return sorted(found)


def test_every_route_is_in_the_table_and_the_table_names_no_other(app):
    """A route without a permission is a fault: declare it in lis/web/permits.py; so is a permission for no route."""
    found = set(doors(app))
    assert found - set(PERMITS) == set(), "declare these routes in lis/web/permits.py"
    assert set(PERMITS) - found == set(), "these routes are gone: take them out of lis/web/permits.py"
    assert set(PERMITS.values()) - {OPEN} <= set(PERMISSIONS)
    assert set(PERMITS) >= WHILE_LOCKED | WHILE_CHANGING
    assert {"GET /", "GET /tubes/{barcode}", "POST /api/v1/reviews"} <= found


def test_every_route_asks_every_role(app):
    """Strangers are sent to the door; each role passes exactly where the table lets it, before a body is read."""
    wrong = []

    async def ask_all() -> None:
        closed = [door for door in doors(app) if PERMITS[door] != OPEN]
        for door in closed:
            answer = await ask(app, door)
            if answer.status != 401:
                wrong.append(("stranger", door, answer.status))
        for name, role in ACCOUNTS.items():
            for door in closed:
                wrong.extend(await of_role(name, Role(role), door))

    async def of_role(name: str, role: Role, door: str):
        may = role in PERMISSIONS[PERMITS[door]]
        page = door.startswith("GET ") and "/api/" not in door
        if may and (door in SLOW or door.endswith("sign-out") or (page and door in shown)):
            return []
        if may:
            shown.add(door)
        if (name, may) not in tokens:
            with app.state.lab.database.write(name) as unit:
                tokens[name, may] = auth.open_session(unit, name, minutes=60).secret
        answer = await ask(app, door, tokens[name, may])
        if door == "POST /api/v1/lock":
            del tokens[name, may]
        stopped = answer.status == 403 and answer.code == "ROLE"
        bad = stopped == may or answer.status in {401, 500}
        return [(name, door, answer.status, answer.body[:80])] if bad else []

    tokens: dict[tuple[str, bool], str] = {}
    shown: set[str] = set()
    asyncio.run(ask_all())
    assert wrong == [], len(wrong)


@dataclass
class Answer:
    """What the application answered; 500 if it broke before it said anything."""

    status: int = 500
    body: bytes = b""

    @property
    def code(self) -> str:
        """The code of a problem document."""
        return json.loads(self.body)["code"]


async def ask(app, door: str, token: str = "") -> Answer:
    """Ask a door with the least that fits its address, and with a body that fits none.

    The application is called as a server calls it (ASGI): a client would cost more than most answers.
    """
    method, path = door.split(" ")
    address = re.sub(r"{[^}]+}", "x1", path.replace("{alarm_id}", "1"))
    body = b'{"nothing":"here"}' if method == "POST" else b""
    headers = [(b"host", b"lis"), (b"accept", b"*/*"), (b"authorization", f"Bearer {token}".encode())]
    headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "method": method,
        "path": address, "raw_path": address.encode(), "query_string": b"", "root_path": "",
        "headers": [one for one in headers if token or one[0] != b"authorization"],
        "client": ("127.0.0.1", 123), "server": ("lis", 80),
    }  # fmt: skip
    given, answer, left = iter([body]), Answer(), asyncio.Event()

    async def receive() -> dict[str, object]:
        for part in given:
            return {"type": "http.request", "body": part}
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
        else:
            answer.body += message.get("body", b"")
            if not message.get("more_body"):
                left.set()

    with contextlib.suppress(Exception):  # a server answers 500 and goes on; so does this
        await app(scope, receive, send)
    return answer


def test_a_covered_screen_and_a_first_password_open_nothing_else(app):
    """While the screen is locked only proof opens it; while the password is another's only changing it works."""

    async def ask_all(secret: str, keep: frozenset[str], code: str) -> None:
        for door in {*doors(app)[::5], *keep}:
            if PERMITS[door] == OPEN or door.endswith("sign-out"):
                continue
            answer = await ask(app, door, secret)
            refused = answer.status in {401, 403} and answer.code == code
            assert refused == (door not in keep), (door, answer.body)

    with app.state.lab.database.write("cai") as unit:
        locked = auth.open_session(unit, "cai", minutes=60).secret
        auth.lock_session(unit, locked)
        auth.set_password(unit, "bo", auth.hash_password(PASSWORD), must_change=True)
        first = auth.open_session(unit, "bo", minutes=60).secret
    asyncio.run(ask_all(locked, WHILE_LOCKED, "LOCKED"))
    asyncio.run(ask_all(first, WHILE_CHANGING, "PASSWORD_CHANGE"))
