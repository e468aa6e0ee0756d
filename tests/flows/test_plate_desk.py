"""Plates and labels in a real browser: edit the next plate by keys and scans, load by scan, print labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zxingcpp
from moments import NOON
from screens import picture, screen
from web_bench import bench, receive

from lis.clock import FixedClock
from lis.services import results

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path):
    """A laboratory with ten tubes, a mixed one among them, and a printer that is away."""
    folder = tmp_path_factory.mktemp("plates")
    target = folder / "lis.db"
    target.write_bytes(sqlite_template.read_bytes())
    away = [{"name": "rack-printer", "host": "127.0.0.1", "port": 9}]
    with bench(f"sqlite:///{target}", folder, FixedClock(NOON), printers=away) as found:
        anna = found.person("anna")
        found.codes = receive(anna, *range(1, 9))
        found.codes += receive(anna, 20, kind="mixed", places=5, rack="R2")
        yield found


def content(page) -> dict[str, str]:
    """Well -> what the map says is in it."""
    titles = page.locator("svg.plate [data-well] title").all_text_contents()
    return {well: held for well, held in (title.split(": ", 1) for title in titles) if held != "empty"}


def said(page, text: str) -> None:
    """Wait until the page has said something that the server agreed with."""
    page.wait_for_function(
        "text => document.querySelector('#fill [data-said]').textContent.includes(text)", arg=text
    )


def test_the_next_plate_is_edited_by_keys_alone_and_made_as_shown(browser, served):
    """Moved, swapped, taken out, undone, put in by scan: the plate that is made is the one on screen."""
    with screen(browser, served, served.person("anna")) as page:
        page.goto(f"{served.url}/plating")
        before = content(page)
        first, second = before["A1"].split()[0], before["B1"].split()[0]
        page.focus("svg.plate [tabindex='0']")
        picture(page, "plating-en")
        page.keyboard.press("Space")
        for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
            page.keyboard.press(key)
        page.keyboard.press("Enter")
        said(page, f"✓ {first} moved from A1 to B3")
        page.keyboard.press("Space")
        for key in ("Home", "ArrowRight", "ArrowLeft"):
            page.keyboard.press(key)
        page.keyboard.press("Space")
        said(page, "✓")
        assert content(page)["B1"] == first
        assert content(page)["B3"] == second
        page.keyboard.press("Delete")
        said(page, "✓ " + first)
        assert "B1" not in content(page)
        page.keyboard.press("z")
        said(page, "undone")
        assert content(page)["B1"] == first
        page.keyboard.press("Delete")
        said(page, "out of B1")
        page.keyboard.type(first)  # a scanner, with the focus on the map
        page.keyboard.press("Enter")
        said(page, f"✓ {first} goes into B1")
        page.keyboard.type("440700000019")
        page.keyboard.press("Enter")
        said(page, "✕")
        assert "bad" in page.get_attribute("#fill [data-said]", "class")
        for key in ("Tab",):
            page.keyboard.press(key)
        page.focus("svg.plate [data-well=A12]")
        page.keyboard.press("Space")
        said(page, "kept for a control")
        shown = {well: held.split()[0] for well, held in content(page).items()}
        with page.expect_navigation():
            page.click("#make button.main")
        made = page.url.rsplit("/", 1)[1]
        served.made = made
    found = served.person("anna").get(f"/api/v1/plates/{made}").json()["wells"]
    assert {well["well"]: well["tube"] or well["control"] for well in found} == shown


def test_a_plate_is_loaded_by_two_scans_and_another_plate_stops(browser, served):
    """Plate, then cycler, without a mouse; a wrong plate is said so and nothing starts."""
    receive(served.person("anna"), *range(40, 43), rack="R4")
    plate = served.person("anna").ok("/api/v1/plates", {})["plate_id"]
    with screen(browser, served, served.person("anna"), "zh") as page:
        page.goto(f"{served.url}/plates/{plate}")
        picture(page, "plate-planned-zh")
        page.keyboard.type("P99999999")
        page.keyboard.press("Enter")
        page.wait_for_selector("#load [data-said].bad")
        page.keyboard.type(plate)
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.name") == "instrument"
        page.keyboard.type("qs5-1")
        with page.expect_navigation():
            page.keyboard.press("Enter")
        assert "检测中" in page.inner_text("h1")
    assert served.person("anna").get(f"/api/v1/plates/{plate}").json()["instrument"] == "qs5-1"


@pytest.mark.screens
def test_a_running_plate_looks_flat_until_something_rises(browser, served):
    """Drawn after 3, 10 and 30 cycles: noise stays a tenth of the height at most, one positive well climbs."""
    cai, places = served.person("cai"), range(8)
    wells = [
        {"well": f"A{n + 1}", "tube": code} for n, code in enumerate(receive(cai, *range(60, 68), rack="R9"))
    ]
    controls = [{"well": f"H{n}", "control": kind} for n, kind in ((10, "NTC"), (11, "EC"), (12, "PC"))]
    made = cai.ok("/api/v1/plates", {"wells": wells + controls})["plate_id"]
    cai.ok(f"/api/v1/plates/{made}/load", {"barcode": made, "instrument": "synthetic cycler"})
    rng = np.random.default_rng(7)
    signal = rng.normal(1.0, 0.004, (8, 30)) + np.outer(
        np.arange(8) == 2, 1.5 / (1 + np.exp((25.0 - np.arange(1, 31)) / 1.6))
    )
    done = 0
    for cycles in (3, 10, 30):
        with served.lab.database.write("bridge") as unit:
            for cycle in range(done + 1, cycles + 1):
                values = [float(signal[n, cycle - 1]) if n in places else float("nan") for n in range(96)]
                results.keep_reads(unit, "synthetic cycler", "run-1", made, (cycle, "FAM", tuple(values)))
        done = cycles
        for language in ("zh", "en"):
            with screen(browser, served, cai, language) as page:
                page.goto(f"{served.url}/plates/{made}")
                page.wait_for_selector("#live .curves polyline", state="attached")
                heights = page.eval_on_selector_all(
                    "#live .curves polyline",
                    "many => many.map(one => [one.dataset.well, one.getBBox().height])",
                )
                picture(page, f"plate-live-{cycles}-{language}")
        tall = {well for well, height in heights if height > 30}
        assert tall == ({"A3"} if cycles == 30 else set()), heights


@pytest.mark.screens
def test_a_label_on_screen_is_read_back_by_a_camera_and_printed_one_a_page(browser, served):
    """What Chromium paints is decoded; the print has one page a label of the label's own size; again needs why."""
    one, two = served.codes[:2]
    with screen(browser, served, served.person("anna"), device_scale_factor=3) as page:
        page.add_init_script("window.print = () => { window.printed = (window.printed ?? 0) + 1; }")
        page.goto(f"{served.url}/labels?code={one}%20{two}%20123")
        assert "123" in page.inner_text(".note.bad")
        picture(page, "labels-en")
        shot = page.locator(f"[data-code='{one}'] svg").screenshot()
        found = {found.text for found in zxingcpp.read_barcodes(_pixels(shot))}
        assert found == {one}
        pdf = page.pdf(prefer_css_page_size=True)
        import io

        from pypdf import PdfReader

        sheets = PdfReader(io.BytesIO(pdf)).pages
        assert len(sheets) == 2
        assert [round(float(side) / 72 * 25.4) for side in sheets[0].mediabox[2:]] == [50, 25]
        page.click("#print button")
        page.wait_for_function("() => window.printed === 1")
        page.goto(f"{served.url}/labels?code={one}")
        assert page.locator("#print input[name=reason]").input_value() == ""
        page.select_option("#print select", "rack-printer")
        page.fill("#print input[name=reason]", "smudged")
        with page.expect_navigation():
            page.click("#print button")
        assert "kept" in page.inner_text("#banner")
        picture(page, "labels-away-en")
        page.click("button:has-text('Send again')")
        page.wait_for_selector("#banner.good, #banner.bad")
    jobs = served.person("anna").get("/api/v1/labels/jobs").json()["jobs"]
    (waiting,) = [job for job in jobs if job["state"] == "waiting"]
    assert (waiting["code"], waiting["tries"]) == (one, 2)
    assert "rack-printer" in waiting["trouble"]


def _pixels(shot: bytes):
    """A screenshot as grey values."""
    import io

    import numpy as np
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(shot)).convert("L"))
