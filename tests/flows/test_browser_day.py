"""A technician's morning in a real browser: sign in, register, scan through an outage, look at lists."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from web_bench import NO_TLS, PASSWORD, add_accounts, people, tube_code

from lis import queries
from lis.db import Database
from lis.ledger import verify

pytestmark = pytest.mark.browser

SERVER = """
import sys
from lis import config
from lis.laboratory import open_laboratory
from lis.web.serving import serve
settings = config.load(sys.argv[1], language="zh", laboratory="North River Laboratory", laboratory_zh="北河实验室")
with open_laboratory(settings) as lab:
    serve(lab, "127.0.0.1", int(sys.argv[2]))
"""


class Server:
    """The server in a process of its own, so that it can be frozen, killed and started again."""

    def __init__(self, data: Path) -> None:
        self.data = data
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start and wait until it answers."""
        with (self.data / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SERVER, str(self.data), str(self.port)], stdout=log, stderr=log
            )
        for _ in range(300):
            try:
                if httpx.get(f"{self.url}/healthz", trust_env=False, verify=NO_TLS).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.1)
        pytest.fail((self.data / "server.log").read_text())

    def send(self, number: int) -> None:
        """Send a signal to this server's process."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        """Kill it, frozen or not."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


@pytest.fixture(scope="module")
def server(browser, tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path):
    """A running server with accounts; every test uses tubes of its own."""
    folder = tmp_path_factory.mktemp("browser")
    shutil.copy(sqlite_template, folder / "lis.db")
    database = Database(f"sqlite:///{folder / 'lis.db'}")
    with database.write("setup") as unit:
        add_accounts(unit)
    database.close()
    found = Server(folder)
    found.start()
    yield found
    found.stop()


@pytest.fixture
def page(browser, server: Server):
    """A signed-in page of a technician; every request to another host and every script error is kept."""
    context = browser.new_context(viewport={"width": 1366, "height": 768})
    tab = context.new_page()
    tab.foreign, tab.faults = [], []
    tab.on(
        "request", lambda r: None if r.url.startswith((server.url, "data:")) else tab.foreign.append(r.url)
    )
    tab.on("pageerror", lambda error: tab.faults.append(str(error)))
    tab.goto(f"{server.url}/reception")
    tab.fill("input[name=name]", "anna")
    tab.fill("input[name=password]", PASSWORD)
    tab.click("button.main")
    tab.wait_for_url(f"{server.url}/reception")
    yield tab
    assert tab.foreign == []
    assert tab.faults == []
    context.close()


def prepare(server: Server, numbers: range) -> list[str]:
    """Sealed tubes on their way to the laboratory."""
    client = httpx.Client(base_url=server.url, trust_env=False, verify=NO_TLS)
    token = client.post("/api/v1/sign-in", json={"name": "bo", "password": PASSWORD}).json()["token"]
    codes = [tube_code(n) for n in numbers]
    orders = [
        {"barcode": c, "persons": [p], "sealed": True}
        for c, p in zip(codes, people(len(codes), f"B{numbers.start}"), strict=True)
    ]
    client.cookies.clear()
    answer = client.post("/api/v1/tubes", json=orders, headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 201, answer.text
    client.close()
    return codes


def scan(page, code: str) -> None:
    """Type a code as a wedge scanner does: fast, without looking, Enter at the end."""
    page.keyboard.type(code, delay=0)
    page.keyboard.press("Enter")


def settled(page, count: int) -> None:
    """Wait until nothing is pending and ``count`` scans have a fate."""
    page.wait_for_function(
        """count => document.getElementById("count-pending").textContent === "0" &&
        ["received", "repeat", "held", "refused"].reduce(
          (sum, name) => sum + Number(document.getElementById("count-" + name).textContent), 0) >= count""",
        arg=count,
        timeout=30_000,
    )


def receipts(server: Server, codes: list[str]) -> dict[str, str]:
    """Tube -> position of those of ``codes`` that were received; each of them once, says the log."""
    database = Database(f"sqlite:///{server.data / 'lis.db'}")
    with database.read() as conn:
        assert verify(conn).ok
        found = {tube.tube_id: tube.position for tube in queries.worklist(conn, "plate", limit=500)}
        assert sum(queries.event_counts(conn, "Received", "rack").values()) == len(found)
    database.close()
    return {code: found[code] for code in codes if code in found}


def test_no_scan_is_lost_or_merged_while_the_server_is_frozen_or_away(server, page):
    """Scans typed while the server is frozen, and while it is dead, are each received once, in their place."""
    codes = prepare(server, range(1, 25))
    page.fill("#rack", "R1")
    page.fill("#position", "A1")
    page.check("#step")
    page.focus("#scan")
    for code in codes[:8]:
        scan(page, code)
    server.send(signal.SIGSTOP)
    for code in codes[8:16]:
        scan(page, code)
    assert int(page.inner_text("#count-pending")) >= 8
    page.wait_for_timeout(1500)
    server.send(signal.SIGCONT)
    settled(page, 16)
    server.stop()
    for code in codes[16:20]:
        scan(page, code)
    page.wait_for_function('document.getElementById("link").className.includes("bad")')
    page.evaluate("window.onbeforeunload = null")
    assert page.evaluate("Object.keys(localStorage).filter(n => n.startsWith('lis.scan.')).length") == 4
    server.start()
    for code in codes[20:]:
        scan(page, code)
    settled(page, 24)
    assert page.inner_text("#count-received") == "24"
    places = [f"{row}{column}" for row in "AB" for column in range(1, 13)]
    assert receipts(server, codes) == dict(zip(codes, places, strict=True))


def test_a_scan_survives_a_reload_and_a_bad_one_does_not_block_the_rest(server, page):
    """Scans kept through an outage are sent after a reload; a merged code fails alone."""
    codes = prepare(server, range(101, 105))
    server.send(signal.SIGSTOP)
    scan(page, codes[0])
    scan(page, codes[1] + codes[2])
    scan(page, codes[3])
    page.on("dialog", lambda dialog: dialog.accept())
    server.send(signal.SIGCONT)
    page.reload()
    settled(page, 0)
    assert set(receipts(server, codes)) == {codes[0], codes[3]}


def test_an_unknown_tube_stops_the_eye_and_a_code_typed_through_an_input_method_is_read(server, page):
    """An unknown tube shows its hold number; keys under an active input method give the code, not its text."""
    (code,) = prepare(server, range(201, 202))
    scan(page, tube_code(299))
    settled(page, 1)
    result = page.locator("#result")
    assert "held" in result.get_attribute("class")
    assert "1 号" in result.inner_text()
    page.click("#acknowledge")
    page.evaluate(
        """code => {
          const field = document.getElementById("scan");
          for (const digit of code) field.dispatchEvent(new KeyboardEvent("keydown",
            {key: "Process", code: "Digit" + digit, keyCode: 229, bubbles: true, cancelable: true}));
          field.value = "特00";
          field.dispatchEvent(new KeyboardEvent("keydown", {key: "Enter", code: "Enter", bubbles: true, cancelable: true}));
        }""",
        code,
    )
    settled(page, 2)
    assert set(receipts(server, [code])) == {code}


def test_a_tube_is_registered_by_hand_and_seen_in_both_languages(server, page):
    """Registering, binding, sealing by keyboard; the lists show it in Chinese and in English."""
    page.goto(f"{server.url}/collection")
    page.fill("input[name=barcode]", tube_code(301))
    page.check("input[value='mixed:5']")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"tube="))
    for number, one in enumerate(people(2), 1):
        page.select_option("select[name=document_type]", "passport")
        page.fill("input[name=name]", one["name"])
        page.fill("input[name=document_number]", one["document_number"])
        page.keyboard.press("Enter")
        page.wait_for_selector(f"table tbody tr:nth-child({number})")
    page.select_option("select[name=document_type]", "passport")
    page.fill("input[name=name]", people(1)[0]["name"])
    page.fill("input[name=document_number]", people(1)[0]["document_number"])
    page.keyboard.press("Enter")
    page.wait_for_selector("#banner.bad")
    assert "一人一位" in page.inner_text("#banner")
    page.fill("input[name=reason]", "排队结束")
    page.keyboard.press("Enter")
    page.wait_for_url(f"{server.url}/collection")
    page.goto(f"{server.url}/worklists/receive")
    assert "待接收" in page.inner_text("h1")
    assert tube_code(301) in page.inner_text("table")
    page.click("form.language button")
    page.wait_for_selector("html[lang=en]")
    assert "To receive" in page.inner_text("h1")
    page.click(f"a[href='/tubes/{tube_code(301)}']")
    assert "sealed" in page.inner_text("h1")
