"""A bench day through the pages alone: swab, reception, pool, plate, cycler, two signatures, release, paper."""

from __future__ import annotations

import contextlib
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from moments import NOON
from pypdf import PdfReader
from screens import picture, screen
from station_bench import scan, settled, shows, until
from web_bench import SITE, Bench, bench, run_of, tube_code

from instruments.agent import Agent, AgentConfig
from instruments.bridge import new_keypair
from instruments.virtual import VirtualRun, live_lines, write_quantstudio
from lis.clock import FixedClock
from lis.reception import Reception
from lis.services import devices
from lis.web.live import News

pytestmark = pytest.mark.browser

SHOWN = "article:not([hidden])"
FEVER, MIXED = tube_code(3), tube_code(5)
POOLED = [tube_code(1), tube_code(2)]
CYCLES = 12
"""So many are on the screen before the cycler has ended."""


@contextlib.contextmanager
def cycler(served: Bench, folder: Path, news: News) -> Iterator[Path]:
    """The virtual cycler's folder, watched by an agent that speaks to the bridge with an enrolled key."""
    pair = new_keypair()
    with served.lab.database.write("root") as unit:
        devices.enrol_device(unit, "qs5-1", "cycler", pair.public.decode())
    exports = folder / "exports"
    exports.mkdir()
    stop = threading.Event()

    def watch(settings: AgentConfig) -> None:
        agent = Agent(settings)  # its outbox belongs to the thread that opened it
        agent.run(stop)
        agent.close()

    with Reception(served.lab, "tcp://127.0.0.1:*", news.of_file, on_live=news.of_reads) as link:
        settings = AgentConfig(
            folder=exports,
            outbox=folder / "outbox.db",
            endpoint=link.endpoint,
            instrument="qs5-1",
            server_public=link.public_key,
            public_key=pair.public,
            secret_key=pair.secret,
            patterns=("*.txt",),
            plate_pattern="P[0-9]{8}",
            settle_s=0.0,
            poll_s=0.05,
        )
        thread = threading.Thread(target=watch, args=(settings,))
        thread.start()
        try:
            yield exports
        finally:
            stop.set()
            thread.join(30)


def measure(exports: Path, run: VirtualRun) -> None:
    """The cycler writes what it reads, cycle by cycle."""
    with (exports / f"{run.plate}.reads").open("w", encoding="utf-8", newline="\n") as grows:
        for _, lines in zip(range(CYCLES), live_lines(run, np.random.default_rng(7)), strict=False):
            grows.writelines(lines)


def export(exports: Path, run: VirtualRun) -> None:
    """The run has ended: its file appears in one move."""
    draft = exports / f".{run.plate}.part"
    draft.write_bytes(write_quantstudio(run, np.random.default_rng(7)))
    draft.replace(exports / f"{run.plate}.txt")


# -- the steps of the day, each by somebody at a screen ---------------------------------------------


def collect(page: Any, url: str) -> None:
    """The site: a tube for each of three persons, one of them with fever; a mixed tube for two, sealed early."""
    page.goto(f"{url}/collection")
    assert page.input_value("#site") == SITE
    for number, code in enumerate([*POOLED, FEVER]):
        if code == FEVER:
            page.select_option("#tier", "fever")
        scan(page, code)
        person(page, "甲乙丙"[number], f"E100000{number}", f"{code}")
        scan(page, code)
        shows(page, "received", code)
    page.select_option("#tier", "voluntary")
    page.locator("#preset input[value='mixed:5']").press("Space")
    scan(page, MIXED)
    for number in (8, 9):
        person(page, "戊己"[number - 8], f"E100000{number}", MIXED)
    scan(page, MIXED)
    page.keyboard.insert_text("队伍结束")
    page.keyboard.press("Enter")
    settled(page, 3 * 3 + 4)
    picture(page, "collection-done")


def person(page: Any, name: str, number: str, code: str) -> None:
    """A person typed into the tube that is open."""
    until(page, f"document.getElementById('tube-code').textContent === '{code}'")
    page.keyboard.press("F2")
    page.keyboard.insert_text(f"王{name}")
    page.keyboard.press("Enter")
    page.keyboard.type(number)
    page.keyboard.press("Enter")


def take_in(page: Any, url: str) -> None:
    """Reception: every tube at its place in the rack."""
    page.goto(f"{url}/reception")
    page.fill("#rack", "R1")
    page.fill("#position", "A1")
    page.check("#step")
    scan(page, *POOLED, FEVER, MIXED)
    settled(page, 4)
    picture(page, "reception-done")


def pool_up(page: Any, url: str) -> str:
    """The pooling bench: the pool as it stands, every aliquot confirmed; its code."""
    page.goto(f"{url}/pooling")
    picture(page, "pooling-proposed")
    page.click("form.short button")  # nobody else comes today
    page.wait_for_url("**/pooling/worklists/PW*")
    listed = page.eval_on_selector_all("tr[data-tube]", "rows => rows.map((row) => row.dataset.tube)")
    assert sorted(listed) == POOLED  # neither who has fever nor what was mixed before
    code = str(page.get_attribute("table.aliquots", "data-pool"))
    scan(page, code, *listed)
    until(page, "document.getElementById('left').textContent === '0'")
    return code


def plate_up(page: Any, url: str) -> str:
    """Plating: the plate as proposed, its lots named, every well confirmed by scan, loaded; its code."""
    page.goto(f"{url}/plating")
    page.fill("#make [name=lot]", "K2212")
    with page.expect_navigation():
        page.click("#make button.main")
    plate = str(page.url).rsplit("/", 1)[1]
    with page.expect_navigation():
        page.click("a[href$='/wells']")
    steps = json.loads(page.text_content("#wells"))
    scan(page, *(step["tube"] for step in steps))
    until(page, "document.getElementById('left').textContent === '0'")
    page.goto(f"{url}/plates/{plate}")
    page.keyboard.type(plate)
    page.keyboard.press("Enter")
    page.keyboard.type("qs5-1")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    return plate


def sign(page: Any, url: str, code: str) -> None:
    """Review: accept what the evidence says."""
    page.goto(f"{url}/review?at={code}")
    page.wait_for_selector(f"{SHOWN} [data-key=a]")
    with page.expect_navigation():
        page.keyboard.press("a")


def test_swabs_become_signed_reports_through_the_pages_alone(browser, tmp_path: Path, sqlite_template: Path):
    """Everything a bench does in a day is done on its screens, and the paper says tube, person and result."""
    target = tmp_path / "lis.db"
    target.write_bytes(sqlite_template.read_bytes())
    news = News()
    with (
        bench(f"sqlite:///{target}", tmp_path, FixedClock(NOON), news) as served,
        cycler(served, tmp_path, news) as exports,
    ):
        with screen(browser, served, served.person("eva"), "zh") as page:
            collect(page, served.url)
        with screen(browser, served, served.person("anna")) as page:
            take_in(page, served.url)
            pool = pool_up(page, served.url)
            plate = plate_up(page, served.url)
            made = page.request.get(f"{served.url}/api/v1/plates/{plate}").json()
            assert {well["tube"] for well in made["wells"] if well["tube"]} == {pool, FEVER, MIXED}
            run = run_of(served, made, {FEVER: 23.0})
            measure(exports, run)
            page.wait_for_selector("#live .curves polyline")
            picture(page, "plate-live")
            export(exports, run)
            page.wait_for_selector("svg.plate a.positive")  # the page hears of the file by itself
            page.wait_for_selector(".curves polyline.up")
            for shown in ("K2212", "3 wells confirmed by scan, anna"):
                assert shown in page.inner_text("main")
            picture(page, "plate-read")
        with screen(browser, served, served.person("bo")) as page:
            sign(page, served.url, FEVER)
        with screen(browser, served, served.person("cai"), "zh") as page:
            sign(page, served.url, FEVER)
            sign(page, served.url, FEVER)
            page.goto(f"{served.url}/tubes/{FEVER}")
            with page.expect_navigation():
                page.click("a[href^='/reports/R']")
            address = page.locator("a[href*='pdf']").first.get_attribute("href")
            paper = page.request.get(f"{served.url}{address}").body()
            text = PdfReader(io.BytesIO(paper)).pages[0].extract_text()
            assert all(word in text for word in (FEVER, "阳性", "王丙"))
            codes = [*POOLED, FEVER, MIXED, pool]
            states = [page.request.get(f"{served.url}/api/v1/tubes/{code}").json()["state"] for code in codes]
            assert states == ["released"] * 4 + ["resolved"]
