"""A bench day through the pages: plate, load, the cycler's file, two signatures, release, the report on paper."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from moments import NOON
from pypdf import PdfReader
from screens import picture, screen
from web_bench import bench, receive, run_file

from lis.clock import FixedClock

pytestmark = pytest.mark.browser

SHOWN = "article:not([hidden])"


def test_a_received_tube_becomes_a_signed_report_through_the_pages_alone(
    browser, tmp_path: Path, sqlite_template: Path
):
    """What the virtual cycler drew is read, reviewed by two people and printed: the PDF says tube and result."""
    target = tmp_path / "lis.db"
    target.write_bytes(sqlite_template.read_bytes())
    with bench(f"sqlite:///{target}", tmp_path, FixedClock(NOON)) as served:
        codes = receive(served.person("anna"), *range(1, 6))
        with screen(browser, served, served.person("anna")) as page:
            page.goto(f"{served.url}/plating")
            with page.expect_navigation():
                page.click("#make button.main")
            plate = page.url.rsplit("/", 1)[1]
            page.keyboard.type(plate)
            page.keyboard.press("Enter")
            page.keyboard.type("qs5-1")
            with page.expect_navigation():
                page.keyboard.press("Enter")
            made = served.person("anna").get(f"/api/v1/plates/{plate}").json()
            drawn = run_file(served, made, {codes[1]: 23.0})
            page.goto(f"{served.url}/instruments")
            page.set_input_files(
                "form[data-files] input[type=file]",
                {"name": f"{plate}.txt", "mimeType": "text/plain", "buffer": drawn},
            )
            with page.expect_navigation():
                page.click("form[data-files] button")
            page.goto(f"{served.url}/plates/{plate}")
            page.wait_for_selector(".curves polyline.up")
            assert page.locator("svg.plate a.positive").count() == 1
            picture(page, "plate-read")
        for name in ("bo", "cai"):
            with screen(browser, served, served.person(name)) as page:
                page.goto(f"{served.url}/review?at={codes[1]}")
                page.wait_for_selector(f"{SHOWN} .curves polyline.own")
                with page.expect_navigation():
                    page.keyboard.press("a")
        with screen(browser, served, served.person("cai"), "zh") as page:
            page.goto(f"{served.url}/review?at={codes[1]}")
            page.wait_for_selector(f"{SHOWN} [data-key=a]")
            with page.expect_navigation():
                page.keyboard.press("a")
            page.goto(f"{served.url}/tubes/{codes[1]}")
            with page.expect_navigation():
                page.click("a[href^='/reports/R']")
            address = page.locator("a[href*='pdf']").first.get_attribute("href")
        paper = served.person("cai").get(address)
        text = PdfReader(io.BytesIO(paper.content)).pages[0].extract_text()
        assert codes[1] in text
        assert "阳性" in text
        states = [served.person("cai").get(f"/api/v1/tubes/{code}").json()["state"] for code in codes]
        assert states == ["released"] * 5
