"""The wall, the lists and the quality screens in a real browser, on a served laboratory."""

from __future__ import annotations

from datetime import timedelta

import pytest
from moments import NOON
from screens import picture, screen
from web_bench import bench, people, plate, receive, run_file, tube_code, upload

from lis.clock import FixedClock

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
        receive(cai, *range(30, 40), rack="R2")
        receive(cai, 50, kind="mixed", places=5, rack="R3")
        yield found


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
