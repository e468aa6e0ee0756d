"""Every address has a permission, and every role is let through or stopped by it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
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
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://lis") as client:
            for door in doors(app):
                if PERMITS[door] != OPEN:
                    answer = await ask(client, door, {})
                    if answer.status_code != 401:
                        wrong.append(("stranger", door, answer.status_code))
            for name, role in ACCOUNTS.items():
                for door in doors(app):
                    if PERMITS[door] != OPEN:
                        wrong.extend(await of_role(client, name, Role(role), door))

    async def of_role(client, name: str, role: Role, door: str):
        may = role in PERMISSIONS[PERMITS[door]]
        page = door.startswith("GET ") and "/api/" not in door
        if may and (door in SLOW or door.endswith("sign-out") or (page and door in shown)):
            return []
        if may:
            shown.add(door)
        if (name, may) not in tokens:
            with app.state.lab.database.write(name) as unit:
                tokens[name, may] = auth.open_session(unit, name, minutes=60).secret
        answer = await ask(client, door, {"Authorization": f"Bearer {tokens[name, may]}"})
        if door == "POST /api/v1/lock":
            del tokens[name, may]
        stopped = answer.status_code == 403 and answer.json()["code"] == "ROLE"
        bad = stopped == may or answer.status_code in {401, 500}
        return [(name, door, answer.status_code, answer.text[:80])] if bad else []

    tokens: dict[tuple[str, bool], str] = {}
    shown: set[str] = set()
    asyncio.run(ask_all())
    assert wrong == [], len(wrong)


async def ask(client: httpx.AsyncClient, door: str, headers: dict[str, str]) -> httpx.Response:
    """Ask a door with the least that fits its address, and with a body that fits none."""
    method, path = door.split(" ")
    address = path.replace("{alarm_id}", "1")
    while "{" in address:
        address = address[: address.index("{")] + "x1" + address[address.index("}") + 1 :]
    body = {"json": {"nothing": "here"}} if method == "POST" else {}
    return await client.request(method, address, headers=headers, **body)


def test_a_covered_screen_and_a_first_password_open_nothing_else(app):
    """While the screen is locked only proof opens it; while the password is another's only changing it works."""

    async def ask_all(secret: str, keep: frozenset[str], code: str) -> None:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://lis") as client:
            for door in {*doors(app)[::5], *keep}:
                if PERMITS[door] == OPEN or door.endswith("sign-out"):
                    continue
                answer = await ask(client, door, {"Authorization": f"Bearer {secret}"})
                refused = answer.status_code in {401, 403} and answer.json()["code"] == code
                assert refused == (door not in keep), (door, answer.text)

    with app.state.lab.database.write("cai") as unit:
        locked = auth.open_session(unit, "cai", minutes=60).secret
        auth.lock_session(unit, locked)
        auth.set_password(unit, "bo", auth.hash_password(PASSWORD), must_change=True)
        first = auth.open_session(unit, "bo", minutes=60).secret
    asyncio.run(ask_all(locked, WHILE_LOCKED, "LOCKED"))
    asyncio.run(ask_all(first, WHILE_CHANGING, "PASSWORD_CHANGE"))
