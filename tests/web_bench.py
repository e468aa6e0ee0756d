"""A laboratory behind a real server on the loopback, and what people and cyclers do to it over HTTP."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from instruments.virtual import VirtualRun, VirtualWell, write_quantstudio
from lis import auth, barcodes, config, queries
from lis.auth import passwords
from lis.clock import Clock
from lis.db import Database
from lis.laboratory import Laboratory
from lis.privacy import Vault
from lis.rulebook import load
from lis.services import sites
from lis.web import sessions
from lis.web.live import News
from lis.web.serving import serving

PASSWORD = "a bench of tubes"
ACCOUNTS = {
    "anna": "technician",
    "bo": "reviewer",
    "cai": "manager",
    "root": "administrator",
    "dee": "quality",
    "eva": "collection",
    "qs5-1": "instrument",
}
SITE = "N01"
"""The collection site at which eva works."""
_HASH: list[str] = []
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Trusts nobody: the loopback speaks plain HTTP, and reading the world's certificates costs a client 50 ms."""


@pytest.fixture(name="quick_hashes")
def quick_hashes_fixture(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Real argon2id with the lowest cost, for tests that check many passwords."""
    cheap = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))
    monkeypatch.setattr(passwords, "_hasher", lambda: cheap)
    sessions._nobody.cache_clear()
    yield
    sessions._nobody.cache_clear()


def tube_code(number: int) -> str:
    """The code of tube ``number``."""
    return barcodes.mint(barcodes.TUBE, number)


def people(count: int, series: str = "E") -> list[dict[str, str]]:
    """Synthetic persons; a passport needs no check digit."""
    return [
        {
            "name": f"王小{'一二三四五六七八九十'[n % 10]}",
            "document_type": "passport",
            "document_number": f"{series}{n:07d}",
            "phone": f"1380000{n:04d}",
        }
        for n in range(count)
    ]


@dataclass
class Person:
    """Somebody signed in over HTTP, with a cookie as a browser has one."""

    http: httpx.Client
    csrf: str
    token: str
    name: str
    again: Callable[[], auth.SignIn] | None = None

    def get(self, path: str, **options: Any) -> httpx.Response:
        """Look at something."""
        return self.http.get(path, **options)

    def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """Change something; asked who is there, the person shows it and repeats the same once, as screens do."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {} if body is None else body
        answer = self.http.post(path, json=sent, headers={"X-CSRF": self.csrf} | named)
        if answer.status_code == 403 and answer.json()["code"] == "REAUTH" and self.again:
            self.sign_in(self.again())
            answer = self.http.post(path, json=sent, headers={"X-CSRF": self.csrf} | named)
        return answer

    def sign_in(self, signed: auth.SignIn) -> None:
        """Go on with another sign-in."""
        self.http.cookies.set("lis", signed.secret)
        self.csrf, self.token = signed.identity.csrf, signed.secret

    def ok(self, path: str, body: Any = None) -> Any:
        """Change something that must succeed; the answer."""
        answer = self.post(path, body)
        assert answer.status_code < 300, answer.text
        return answer.json()


@dataclass
class Bench:
    """A served laboratory."""

    lab: Laboratory
    url: str
    opened: list[httpx.Client] = field(default_factory=list)

    def client(self, **headers: str) -> httpx.Client:
        """A browser or program that is not signed in."""
        client = httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False, verify=NO_TLS)
        self.opened.append(client)
        return client

    def person(self, name: str) -> Person:
        """``name`` with a fresh sign-in; the slow check of the password is left to the tests about it."""
        found = Person(self.client(), "", "", name, lambda: self.signed_in(name))
        found.sign_in(self.signed_in(name))
        return found

    def signed_in(self, name: str) -> auth.SignIn:
        """A fresh sign-in of ``name``."""
        with self.lab.database.write(name) as unit:
            return auth.open_session(unit, name, minutes=self.lab.settings.session_minutes)


@contextlib.contextmanager
def bench(
    database_url: str, folder: Path, clock: Clock, news: News | None = None, **settings: Any
) -> Iterator[Bench]:
    """A laboratory on an open, migrated database, served on a free port; ``news`` is what its screens hear."""
    chosen = config.load(
        folder,
        database=database_url,
        laboratory="North River Laboratory",
        laboratory_zh="北河实验室",
        **settings,
    )
    database = Database(database_url, clock)
    lab = Laboratory(chosen, database, Vault(config.secret_key(folder)), load(chosen))
    with database.write("setup") as unit:
        add_accounts(unit)
    try:
        with serving(lab, "127.0.0.1", 0, news) as url:
            found = Bench(lab, url)
            try:
                yield found
            finally:
                for client in found.opened:
                    client.close()
    finally:
        lab.close()


def add_accounts(unit: Any) -> None:
    """One account of every role; the hash is real argon2id with the lowest cost, for the tests' sake."""
    if not _HASH:
        cheap = Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)
        _HASH.append(cheap.hash(PASSWORD))
    rows = [
        {
            "name": name,
            "full_name": name.title(),
            "role": role,
            "password": _HASH[0],
            "active": True,
            "created_at": unit.now,
            "site": SITE if role == "collection" else "",
        }
        for name, role in ACCOUNTS.items()
    ]
    sites.add_site(unit, sites.Site(SITE, "北门采样点", "North gate site", "138 0000 0000"))
    queries.insert_rows(unit.conn, "account", rows)


# -- what people do ------------------------------------------------------------------------------


def receive(who: Person, *numbers: int, rack: str = "R1", kind: str = "single", places: int = 1) -> list[str]:
    """Register, seal and receive tubes; their codes."""
    codes = [tube_code(number) for number in numbers]
    orders = [
        {
            "barcode": code,
            "kind": kind,
            "places": places,
            "site": "North gate",
            "persons": people(places, f"{'ABCDEFGHJK'[number % 10]}{number}"[:12]),
            "sealed": True,
        }
        for number, code in zip(numbers, codes, strict=True)
    ]
    who.ok("/api/v1/tubes", orders)
    scans = [{"barcode": code, "rack": rack, "position": f"A{n}"} for n, code in enumerate(codes, 1)]
    assert who.ok("/api/v1/receipts", scans)["counts"] == {"received": len(codes)}
    return codes


def plate(who: Person, instrument: str = "qs5-1", **lots: str) -> dict[str, Any]:
    """Make the next plate, with these lots on it, and load it."""
    made = who.ok("/api/v1/plates", lots)
    code = made["plate_id"]
    loaded: dict[str, Any] = who.ok(
        f"/api/v1/plates/{code}/load", {"barcode": code, "instrument": instrument}
    )
    return loaded


def run_file(bench: Bench, made: Mapping[str, Any], truth: Mapping[str, float | None], **odd: Any) -> bytes:
    """A synthetic QuantStudio export of a plate, as :func:`run_of` describes it."""
    return write_quantstudio(run_of(bench, made, truth, **odd), np.random.default_rng(7))


def run_of(
    bench: Bench, made: Mapping[str, Any], truth: Mapping[str, float | None], **odd: Any
) -> VirtualRun:
    """A run of a plate in the virtual cycler.

    Args:
        bench: whose clock and rules hold.
        made: the plate as the API describes it.
        truth: tube -> true Cq of its viral targets; missing = no virus.
        odd: ``broken_control=True`` leaves the positive control without signal; ``only`` maps a tube
            to the one target it shows; ``no_ic`` is a set of tubes without internal control.
    """
    assay = bench.lab.rules.assay(made["assay"], made["assay_version"])
    dyes = {
        target.name: target.dye or ("FAM", "VIC", "ROX", "CY5")[i] for i, target in enumerate(assay.targets)
    }
    wells = []
    for well in made["wells"]:
        cqs: dict[str, tuple[str, float | None]] = {}
        for target in assay.targets:
            cqs[target.name] = (dyes[target.name], _true_cq(well, target, truth, odd))
        tasks = {"NTC": "ntc", "PC": "positive_control", "EC": "negative_control"}
        sample = well["tube"] or well["control"]
        wells.append(VirtualWell(well["well"], sample, tasks.get(well["control"] or "", "unknown"), cqs))
    now = bench.lab.database.clock.now()
    return VirtualRun(
        plate=made["plate_id"],
        instrument="qs5-1",
        serial="272510001",
        model="QuantStudio 5",
        started=(now - timedelta(hours=2)).replace(microsecond=0),
        ended=(now - timedelta(minutes=30)).replace(microsecond=0),
        block=made["size"],
        wells=wells,
        cycles=assay.cycles or 45,
        seed=7,
    )


def _true_cq(
    well: Mapping[str, Any], target: Any, truth: Mapping[str, float | None], odd: Mapping[str, Any]
) -> float | None:
    tube, control = well["tube"], well["control"]
    if control == "PC":
        return None if odd.get("broken_control") and not target.is_control else 27.0
    if target.is_control:
        return None if control == "NTC" or tube in odd.get("no_ic", ()) else 26.0
    only = odd.get("only", {}).get(tube)
    return truth.get(tube or "") if only in {None, target.name} else None


def upload(who: Person, data: bytes, name: str, **fields: str) -> httpx.Response:
    """Hand a file over as a form does."""
    return who.http.post(
        "/api/v1/runs", files={"file": (name, data)}, data=fields, headers={"X-CSRF": who.csrf}
    )
