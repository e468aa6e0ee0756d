"""A server in a process of its own, so that it can be frozen, killed and started again, and scans into its pages."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from web_bench import NO_TLS, Person, add_accounts, people, tube_code

from lis import auth, ledger, queries
from lis.db import Database
from lis.tube import Tube

SERVER = """
import sys
from lis import config
from lis.laboratory import open_laboratory
from lis.web.serving import serve
settings = config.load(sys.argv[1], language="zh", laboratory="North River Laboratory", laboratory_zh="北河实验室")
with open_laboratory(settings) as lab:
    serve(lab, "127.0.0.1", int(sys.argv[2]))
"""
COUNTED = ("received", "repeat", "held", "refused")


class Server:
    """The server in a process of its own."""

    def __init__(self, data: Path) -> None:
        self.data = data
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None
        self.signed: dict[str, Person] = {}

    def start(self) -> None:
        """Start and wait until it answers."""
        with (self.data / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVER, str(self.data), str(self.port)], stdout=log, stderr=log
            )
        for _ in range(600):
            try:
                if httpx.get(f"{self.url}/healthz", trust_env=False, verify=NO_TLS).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        pytest.fail((self.data / "server.log").read_text())

    def send(self, number: int) -> None:
        """Send a signal to this server's process."""
        assert self.process is not None
        self.process.send_signal(number)

    def freeze(self) -> None:
        """Let it stand still: it takes connections and answers nothing."""
        self.send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.send(signal.SIGCONT)

    def stop(self) -> None:
        """Kill it, frozen or not."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)

    @contextmanager
    def database(self) -> Iterator[Database]:
        """Its database, beside it."""
        found = Database(f"sqlite:///{self.data / 'lis.db'}")
        yield found
        found.close()

    def person(self, name: str) -> Person:
        """``name`` with a sign-in, the same one each time; the slow check of the password is left out."""
        if name not in self.signed:
            client = httpx.Client(base_url=self.url, timeout=30, trust_env=False, verify=NO_TLS)
            with self.database() as database, database.write(name) as unit:
                made = auth.open_session(unit, name, minutes=600)
            client.cookies.set("lis", made.secret)
            self.signed[name] = Person(client, made.identity.csrf, made.secret, name)
        return self.signed[name]

    # -- looking -----------------------------------------------------------------------------------

    def tubes(self, codes: Sequence[str]) -> list[Tube]:
        """Tubes as they stand, in the order asked; the whole log verifies."""
        with self.database() as database, database.read() as conn:
            assert ledger.verify(conn).ok
            found = ledger.tubes(conn, codes)
        return [found[code] for code in codes]

    def history(self, code: str) -> list[str]:
        """Kinds of the events of a tube, in order."""
        with self.database() as database, database.read() as conn:
            return [type(entry.fact).__name__ for entry in ledger.history(conn, code)]

    def received_once(self, codes: Sequence[str]) -> dict[str, str]:
        """Tube -> position of those of ``codes`` that were received; each of them exactly once."""
        places = {}
        for tube in self.tubes(codes):
            times = self.history(tube.tube_id).count("Received")
            assert times <= 1, tube
            if times:
                places[tube.tube_id] = tube.position
        return places

    def known(self) -> set[str]:
        """Every tube the laboratory has heard of."""
        with self.database() as database, database.read() as conn:
            return {tube.tube_id for tube in queries.find_tubes(conn, "", limit=10_000)}


@contextmanager
def station_server(folder: Path, template: Path) -> Iterator[Server]:
    """A running server with accounts."""
    shutil.copy(template, folder / "lis.db")
    found = Server(folder)
    with found.database() as database, database.write("setup") as unit:
        add_accounts(unit)
    found.start()
    try:
        yield found
    finally:
        for one in found.signed.values():
            one.http.close()
        found.stop()


def prepare(server: Server, numbers: range) -> list[str]:
    """Sealed tubes on their way to the laboratory."""
    codes = [tube_code(n) for n in numbers]
    orders = [
        {"barcode": c, "persons": [p], "sealed": True}
        for c, p in zip(codes, people(len(codes), f"B{numbers.start}"), strict=True)
    ]
    server.person("bo").ok("/api/v1/tubes", orders)
    return codes


def scan(page: Any, *codes: str) -> None:
    """Type codes as a wedge scanner does: fast, without looking, Enter at the end of each."""
    for code in codes:
        page.keyboard.type(code, delay=0)
        page.keyboard.press("Enter")


def settled(page: Any, count: int) -> None:
    """Wait until nothing is pending, also not yet shown as such, and ``count`` scans have a fate."""
    page.wait_for_function(
        """([count, names]) => document.getElementById("count-pending").textContent === "0" &&
        !Object.keys(localStorage).some((name) => name.startsWith("lis.scan.")) &&
        names.reduce((sum, name) => sum + Number(document.getElementById("count-" + name)?.textContent ?? 0), 0) >= count""",
        arg=[count, COUNTED],
        timeout=30_000,
    )


def shows(page: Any, look: str, text: str = "") -> None:
    """Wait until the large answer is of this look and names ``text``."""
    page.wait_for_function(
        """([look, text]) => document.getElementById("result").className === `result ${look}` &&
        document.getElementById("result").textContent.includes(text)""",
        arg=[look, text],
        timeout=15_000,
    )


def until(page: Any, true: str) -> None:
    """Wait until this expression is true on the page; as a function, because the page forbids eval."""
    page.wait_for_function(f"() => ({true})", timeout=15_000)
