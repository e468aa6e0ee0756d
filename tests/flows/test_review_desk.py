"""The review desk in a real browser: queue, curves, keys, two people, negatives that leave together."""

from __future__ import annotations

from pathlib import Path

import pytest
from moments import NOON
from screens import picture, screen
from web_bench import bench, plate, receive, run_file, upload

from lis.clock import FixedClock

pytestmark = pytest.mark.browser

SHOWN = "article:not([hidden])"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path):
    """A laboratory that releases nothing by itself, with one plate of twelve tubes read."""
    folder = tmp_path_factory.mktemp("desk")
    target = folder / "lis.db"
    target.write_bytes(sqlite_template.read_bytes())
    with bench(f"sqlite:///{target}", folder, FixedClock(NOON), auto_release=False) as found:
        cai = found.person("cai")
        found.codes = receive(cai, *range(1, 13))
        made = plate(cai)
        truth = dict(zip(found.codes, (22.0, 25.0, 24.0, 23.0), strict=False))
        answer = upload(cai, run_file(found, made, truth, no_ic={found.codes[5]}), "SYNTHETIC.txt")
        assert answer.json()["state"] == "read", answer.text
        found.plate = made["plate_id"]
        yield found


def opened(page, served, code: str = "") -> None:
    """The review page at one case, its curves drawn."""
    page.goto(f"{served.url}/review?at={code}")
    page.wait_for_selector(f"{SHOWN} .curves polyline.own")


def case(page) -> str:
    """The tube in sight."""
    return page.get_attribute(SHOWN, "data-tube")


def test_the_curves_and_the_map_show_the_same_well(browser, served):
    """A well looked at on the map, by key or by pointer, is the curve that stands out, and the other way round."""
    code = served.codes[0]
    with screen(browser, served, served.person("bo"), "zh") as page:
        opened(page, served, code)
        page.wait_for_selector(f"{SHOWN} svg.plate .own")
        picture(page, "review-zh")
        own = page.locator(f"{SHOWN} svg.plate .own")
        assert own.get_attribute("data-well") == "A1"
        cells = page.locator(f"{SHOWN} tr:not(.flags) td[data-own]").all_inner_texts()
        claimed = page.locator(f"{SHOWN} .readings tr:not(.flags) td:nth-child(4)").all_inner_texts()
        assert len(cells) == 3
        assert [abs(float(a) - float(b)) < 0.02 for a, b in zip(cells, claimed, strict=False)] == [True] * 3
        own.focus()
        page.keyboard.press("ArrowDown")
        assert page.locator(f"{SHOWN} .curves .chosen").get_attribute("data-well") == "B1"
        assert served.codes[1] in page.inner_text(f"{SHOWN} [data-said]")
        page.keyboard.press("End")
        assert page.evaluate("document.activeElement.dataset.well") == "B12"
        page.keyboard.press("ArrowDown")  # the edge holds below, too
        for _ in range(9):
            page.keyboard.press("ArrowDown")
        assert page.evaluate("document.activeElement.dataset.well") == "H12"
        page.locator(f"{SHOWN} .curves polyline[data-well=C1]").dispatch_event("pointerover")
        assert page.locator(f"{SHOWN} svg.plate .looked-at").get_attribute("data-well") == "C1"
        linear = page.locator(f"{SHOWN} polyline[data-well=A1]").get_attribute("points")
        page.click(f"{SHOWN} [data-log]")
        assert page.locator(f"{SHOWN} polyline[data-well=A1]").get_attribute("points") != linear
        assert page.get_attribute(f"{SHOWN} [data-log]", "aria-pressed") == "true"
        page.click(f"{SHOWN} .dyes button:nth-child(3)")
        page.wait_for_selector(f"{SHOWN} .dyes button:nth-child(3)[aria-pressed=true]")
        own.focus()
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/tubes/{code}")


def test_two_people_sign_a_positive_with_keys_and_a_held_key_signs_nothing(browser, served):
    """A signs the case in sight and goes on; the signer finds the second signature refused; another gives it."""
    code = served.codes[1]
    with screen(browser, served, served.person("bo")) as page:
        opened(page, served, code)
        picture(page, "review-en")
        page.keyboard.press("j")
        page.keyboard.press("k")
        assert case(page) == code
        sent = []
        page.on("request", lambda asked: sent.append(asked.url) if asked.method == "POST" else None)
        for key in "arcmjk":
            page.evaluate(
                """key => document.activeElement.dispatchEvent(new KeyboardEvent("keydown",
                {key, code: "Key" + key.toUpperCase(), repeat: true, bubbles: true}))""",
                key,
            )
        assert case(page) == code
        assert sent == []
        with page.expect_navigation():
            page.keyboard.press("a")
        assert case(page) != code
        opened(page, served, code)
        assert page.locator(f"{SHOWN} [data-key=a]").count() == 0
        assert "Another person" in page.inner_text(f"{SHOWN} .acts")
    with screen(browser, served, served.person("cai")) as page:
        opened(page, served, code)
        with page.expect_navigation():
            page.keyboard.press("a")
        opened(page, served, code)
        with page.expect_navigation():
            page.keyboard.press("a")  # every signature is there: now it leaves
    assert served.person("bo").get(f"/api/v1/tubes/{code}").json()["state"] == "released"


def test_nothing_is_filled_in_before_and_a_comment_signs_nothing(browser, served):
    """Retest and re-collection begin empty and need a reason; a comment stays with the case, unsigned."""
    code = served.codes[2]
    with screen(browser, served, served.person("bo")) as page:
        opened(page, served, code)
        page.keyboard.press("?")
        assert page.locator("#help").is_visible()
        page.keyboard.press("Escape")
        page.keyboard.press("r")
        form = page.locator(f"{SHOWN} [data-ask=r]")
        assert form.locator("select").input_value() == ""
        assert form.locator("input[name=reason]").input_value() == ""
        page.keyboard.press("Escape")
        assert form.is_hidden()
        page.keyboard.press("m")
        page.keyboard.type("looks like a neighbour, a retest may help")
        with page.expect_navigation():
            page.keyboard.press("Enter")
        assert case(page) == code
        assert "may help" in page.inner_text(f"{SHOWN} .comments")
        assert "0 of 2" in page.inner_text(SHOWN)
        page.keyboard.press("r")
        page.keyboard.press("r")  # typed into the list of tests: it chooses nothing else
        page.select_option(f"{SHOWN} [data-ask=r] select", "re-extract")
        page.fill(f"{SHOWN} [data-ask=r] input[name=reason]", "beside a strong positive")
        picture(page, "review-retest")
        with page.expect_navigation():
            page.keyboard.press("Enter")
    assert served.person("bo").get(f"/api/v1/tubes/{code}").json()["state"] == "awaiting_retest"


def test_negatives_are_counted_and_listed_before_they_leave_together(browser, served):
    """The list has exactly the negatives that no rule holds; one press signs and releases them."""
    with screen(browser, served, served.person("bo"), "zh") as page:
        page.goto(f"{served.url}/review/negatives")
        picture(page, "negatives-zh")
        listed = page.locator("td a[href^='/tubes/']").all_inner_texts()
        assert listed == [served.codes[n] for n in (4, 6, 7, 8, 9, 10, 11)]
        assert "7" in page.inner_text("button.main")
        with page.expect_navigation():
            page.click("button.main:has-text('7')")
        assert page.locator("td a[href^='/tubes/']").count() == 0
    who = served.person("bo")
    found = [who.get(f"/api/v1/tubes/{code}").json() for code in listed]
    assert {(one["state"], len(one["reports"])) for one in found} == {("released", 1)}
    assert {one["reports"][0]["signed_by"] for one in found} == {"bo"}


def test_the_page_of_a_tube_is_its_whole_story_on_one_screen(browser, served):
    """Custody with intervals, tests, map, curves and Cq stand on a bench screen without scrolling the page."""
    code = served.codes[3]
    with screen(browser, served, served.person("anna"), "zh") as page:
        page.goto(f"{served.url}/tubes/{code}")
        page.wait_for_selector(".curves polyline.own")
        page.wait_for_selector(".mapbox svg .own")
        picture(page, "tube-zh")
        events = page.locator(".custody li b").all_inner_texts()
        assert events[:4] == ["启用试管", "绑定人员", "封管", "接收"]
        assert events[-2:] == ["得出结论", "现在"]
        assert "王**" in page.inner_text(".story")
        assert served.plate in page.inner_text("table.tests")
        assert page.evaluate("() => document.documentElement.scrollHeight") <= 780
