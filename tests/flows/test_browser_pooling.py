"""The pooling bench in a real browser: form by worklist, scan aliquots, be stopped, find the open pool."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from screens import picture
from station_bench import shows
from web_bench import bench, plate, receive, run_file, tube_code, upload

pytestmark = pytest.mark.browser


def test_aliquots_are_scanned_until_the_worklist_is_done(
    browser, tmp_path: Path, sqlite_template: Path, clock
):
    """One press forms the pools; right scans are ticked, a wrong and a repeated one stop until read."""
    target = tmp_path / "lis.db"
    target.write_bytes(sqlite_template.read_bytes())
    with bench(f"sqlite:///{target}", tmp_path, clock) as served:
        anna = served.person("anna")
        codes = receive(anna, *range(1, 11))
        page = _page(browser, served, anna)
        faults: list[str] = []
        page.on("pageerror", lambda fault: faults.append(str(fault)))
        page.goto(f"{served.url}/pooling")
        page.click("#form-all")
        page.wait_for_url("**/pooling/worklists/PW*")
        blocks = {
            block.get_attribute("data-pool"): [
                row.get_attribute("data-tube") for row in block.locator("tr[data-tube]").all()
            ]
            for block in page.locator("table.aliquots").all()
        }
        assert sorted(code for own in blocks.values() for code in own) == codes
        first, second = blocks
        _scan(page, blocks[first][0], "refused")  # the pool tube first
        _acknowledge(page)
        _scan(page, first, "pending")
        _scan(page, blocks[first][0], "received")
        page.keyboard.press("F9")  # scanned, but not pipetted after all
        shows(page, "undone", blocks[first][0])
        assert page.inner_text("#left") == "10"
        _scan(page, blocks[first][0], "received")
        picture(page, "pooling-scan")
        _scan(page, blocks[second][0], "refused")
        assert second in page.inner_text("#result")
        page.fill("#scan", blocks[first][1])
        page.press("#scan", "Enter")  # a hand that scans on is not listened to
        assert "refused" in (page.get_attribute("#result", "class") or "")
        _acknowledge(page)
        _scan(page, blocks[first][0], "refused")
        assert "anna" in page.inner_text("#result")
        _acknowledge(page)
        _scan(page, tube_code(77), "refused")
        _acknowledge(page)
        for pool, own in blocks.items():
            _scan(page, pool, "pending")
            for code in own[1 if pool == first else 0 :]:
                _scan(page, code, "received")
        assert page.inner_text("#left") == "0"
        page.reload()
        assert page.locator("tr.confirmed").count() == 10
        assert faults == []


def test_an_open_pool_is_found_on_the_bench(browser, tmp_path: Path, sqlite_template: Path, clock):
    """After a positive pool the pooling page shows it with its members, and the advice with every choice."""
    target = tmp_path / "lis.db"
    target.write_bytes(sqlite_template.read_bytes())
    with bench(f"sqlite:///{target}", tmp_path, clock) as served:
        anna = served.person("anna")
        codes = receive(anna, *range(1, 5))
        pool = anna.ok("/api/v1/pools", {"members": codes})["barcode"]
        made = plate(anna)
        upload(anna, run_file(served, made, {pool: 24.0}), "open.txt")
        page = _page(browser, served, anna)
        page.goto(f"{served.url}/pooling")
        assert pool in page.inner_text("#open")
        assert all(code in page.inner_text("#open") for code in codes)
        page.wait_for_selector("#advice table")
        assert re.findall(r"\b(?:10|5|1):1", page.inner_text("#advice table"))[:3] == ["10:1", "5:1", "1:1"]


def _page(browser, served, who):
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    context.add_cookies([{"name": "lis", "value": who.token, "url": served.url}])
    return context.new_page()


def _scan(page, code: str, kind: str) -> None:
    page.fill("#scan", code)
    page.press("#scan", "Enter")
    page.wait_for_function(
        "([kind, code]) => document.getElementById('result').className === `result ${kind}` "
        "&& document.querySelector('#result b').textContent.includes(code)",
        arg=[kind, code],
    )


def _acknowledge(page) -> None:
    page.keyboard.press("Escape")
    page.wait_for_selector("#acknowledge", state="hidden")
