"""The wall, the lists and the quality screens in a real browser, on a served laboratory."""

from __future__ import annotations

from datetime import timedelta

import pytest
from moments import NOON
from python_calamine import CalamineWorkbook
from screens import picture, screen
from web_bench import Bench, bench, people, plate, receive, run_file, tube_code, upload

from lis import queries
from lis.clock import FixedClock
from lis.services import quality

pytestmark = pytest.mark.browser

WALLS = ({"width": 1366, "height": 768}, {"width": 1920, "height": 1080})


@pytest.fixture(scope="module")
def served(browser, tmp_path_factory: pytest.TempPathFactory, sqlite_template):
    """A served laboratory in the middle of its morning."""
    folder = tmp_path_factory.mktemp("wall")
    target = folder / "lis.db"
    target.write_bytes(sqlite_template.read_bytes())
    with bench(f"sqlite:///{target}", folder, FixedClock(NOON), idle_minutes=480) as found:
        cai, clock = found.person("cai"), found.lab.database.clock
        singles = receive(cai, *range(1, 25))
        for number, tier, hours in ((100, "fever", 4.6), (101, "patient", 13), (102, "yellow", 3)):
            order = {
                "barcode": tube_code(number),
                "tier": tier,
                "persons": people(1, f"T{number}"),
                "sealed": True,
            }
            cai.ok(
                "/api/v1/tubes", order | {"sampled_at": (clock.now() - timedelta(hours=hours)).isoformat()}
            )
        clock.advance(timedelta(minutes=35))
        made = plate(cai)
        clock.advance(timedelta(hours=2))
        truth = dict.fromkeys(singles[:3], 24.0)
        upload(cai, run_file(found, made, truth, only={singles[5]: "N"} | {singles[6]: "N"}), "SYNTHETIC.txt")
        others = receive(cai, *range(30, 40), rack="R2")
        mixed = receive(cai, 50, kind="mixed", places=5, rack="R3")[0]
        judged(found)
        more = plate(cai)
        clock.advance(timedelta(hours=2))
        upload(
            cai,
            run_file(
                found, more, dict.fromkeys([mixed, *others[:2]], 27.0), only=dict.fromkeys(others[:2], "N")
            ),
            "SYNTHETIC-2.txt",
        )
        clock.advance(timedelta(minutes=5))
        receive(cai, *range(130, 140), rack="R5")
        cai.ok("/api/v1/lots", {"kind": "kit", "number": "DA-2211", "expires": "2022-12-28"})
        cai.ok("/api/v1/lots", {"kind": "extraction", "number": "EX-77", "expires": "2023-05-31"})
        cai.ok("/api/v1/lots/open", {"kind": "kit", "number": "DA-2211"})
        yield found


def judged(found: Bench) -> None:
    """The manager said what the positive control should measure; the next run will be far from it."""
    with found.lab.database.write("cai") as unit:
        rows = queries.quality_points(unit.conn, unit.now - timedelta(days=1))
        for row in [row for row in rows if row["level"] == "PC" and row["value"] is not None]:
            series = queries.Series(*(row[name] for name in queries.Series._fields))
            quality.set_target(unit, series, row["value"] - 1.0, 0.2, "validation of the kit")


def numbers(page) -> dict[str, str]:
    """State -> number as the river shows it."""
    return dict(
        page.eval_on_selector_all(
            "#river .reach", "many => many.map(one => [one.dataset.state, one.dataset.count])"
        )
    )


def test_a_monitor_shows_moved_tubes_without_reload(browser, served):
    """Opened with its key and no sign-in, the wall moves by itself when tubes are received, and nothing is cut off."""
    cai = served.person("cai")
    path = cai.ok("/api/v1/wall/monitors", {"name": "entrance"})["path"]
    opened = browser.new_context(viewport=WALLS[1])
    page = opened.new_page()
    page.goto(f"{served.url}{path}&language=zh")
    assert page.url == f"{served.url}/wall?language=zh"
    before = int(numbers(page)["received"])
    receive(cai, *range(60, 64), rack="R9")
    page.wait_for_function(
        "n => document.querySelector('[data-state=received]').dataset.count === String(n)", arg=before + 4
    )
    for number, size in enumerate(WALLS):
        page.set_viewport_size(size)
        for language in ("zh", "en"):
            page.goto(f"{served.url}/wall?language={language}")
            page.wait_for_selector(".clock")
            cut = page.evaluate(
                """() => [...document.querySelectorAll('.clock, .figure, .reach, #below article, main, body')]
                .filter(one => one.scrollWidth > one.clientWidth + 1 || one.scrollHeight > one.clientHeight + 1)
                .map(one => one.className + one.id + ' ' + one.textContent)"""
            )
            picture(page, f"wall-{language}-{number}")
            assert cut == [], (size, language)
    assert page.goto(f"{served.url}/review").url.endswith("/sign-in?next=/review")
    opened.close()
    with screen(browser, served, cai, "en") as signed:
        signed.goto(f"{served.url}/wall")
        signed.click("#open")
        signed.wait_for_function("() => document.getElementById('address').value.includes('/wall?key=')")
        signed.click("#end")
        signed.wait_for_function("() => document.getElementById('address').value.startsWith('2 ')")


def test_the_pick_list_is_ticked_by_scan_and_a_strange_tube_stops_it(browser, served):
    """A tube of the list is ticked and stays ticked after a reload; one that is not on it is told apart."""
    with screen(browser, served, served.person("anna"), "zh") as page:
        page.goto(f"{served.url}/picklist")
        rows = page.locator("tr[data-code]")
        codes = [rows.nth(n).get_attribute("data-code") for n in range(rows.count())]
        assert len(codes) == 2
        page.keyboard.type(codes[1] + "\n")
        page.wait_for_selector("tr.ticked")
        page.keyboard.type(tube_code(999) + "\n")
        page.wait_for_selector("#heard.bad")
        picture(page, "picklist-zh")
        page.reload()
        assert page.locator("tr.ticked").get_attribute("data-code") == codes[1]
        assert page.inner_text("#picked") == "1 / 2"


@pytest.mark.screens
def test_a_file_is_downloaded_and_holds_the_rows_of_the_page(browser, served):
    """The link on the page downloads a sheet whose tubes are those of the table beside it."""
    with screen(browser, served, served.person("cai"), "en") as page:
        page.goto(f"{served.url}/worklists/plate?q=R5")
        shown = page.eval_on_selector_all(
            "td:nth-child(2) a.code", "many => many.map(one => one.textContent)"
        )
        with page.expect_download() as waiting:
            page.click(".exports a >> text=xlsx")
        book = CalamineWorkbook.from_path(waiting.value.path())
        rows = book.get_sheet_by_index(0).to_python()
        assert [row[0] for row in rows[1:]] == shown
        assert len(shown) == 10
        page.click("text=Clear")
        page.wait_for_selector(".pager")
        picture(page, "worklist-plate-en")


@pytest.mark.screens
def test_a_rejected_point_is_answered_and_closed_by_another(browser, served):
    """From the chart to the note, its effect and the second signature; then from the failed run to its action."""
    bo, cai = served.person("bo"), served.person("cai")
    with screen(browser, served, cai, "zh") as page:
        page.goto(f"{served.url}/quality")
        assert page.locator(".instrument.bad").count() == 1
        assert "1-3s" in page.locator(".dot.bad .rule").first.text_content()
        page.locator(".chart.bad summary").first.click()
        picture(page, "quality-zh")
        page.locator(".chart.bad details a.button").first.click()
        page.fill("textarea", "阳性对照融化，换新管")
        page.click("form[data-api$='/actions'] button")
        page.wait_for_selector("article.action")
        page.fill("form[data-api$='/effect'] input", "恢复在控")
        page.click("form[data-api$='/effect'] button")
        page.wait_for_selector("text=须由未参与的另一人关闭")
    with screen(browser, served, bo, "en") as page:
        page.goto(f"{served.url}/actions")
        page.fill("form[data-api$='/close'] input", "looked at the curves")
        page.click("form[data-api$='/close'] button")
        page.wait_for_selector("article.action.closed")
        picture(page, "actions-en")
        page.goto(f"{served.url}/worklists/qc")
        assert page.locator("a.pill.good").count() == 1
        picture(page, "qc-en")


@pytest.mark.screens
def test_every_list_fits_its_screen(browser, served):
    """On the screen of an old bench computer no page scrolls sideways and no card is wider than its frame."""
    paths = (
        "",
        "worklists/late",
        "worklists/recollect",
        "worklists/retest",
        "lots",
        "search?q=R",
        "plating",
        "quality",
        "alarms",
    )
    for language, who in (("en", "bo"), ("zh", "cai")):  # English words are the wider ones
        with screen(browser, served, served.person(who), language) as page:
            for path in paths:
                page.goto(f"{served.url}/{path}")
                picture(page, f"{path.replace('/', '-').replace('?', '-') or 'home'}-{language}")
                wide = page.evaluate(
                    """() => [document.documentElement, ...document.querySelectorAll('.card')]
                    .filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.innerText.slice(0, 60))"""
                )
                assert wide == [], (path, language)
