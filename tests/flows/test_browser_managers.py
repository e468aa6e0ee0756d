"""What managers do in a browser: ask whether more may come, write a scenario, follow it, read what came of it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest
from moments import NOON
from screens import picture, screen
from web_bench import bench, receive

from lis.clock import FixedClock
from lis.web.playing import Job
from sim import load, page, replicate
from sim.run import scaled

pytestmark = pytest.mark.browser

SMALL = (
    load("fever-clinic")
    .text.replace("tubes = 200", "tubes = 4")
    .replace("tubes = 1500", "tubes = 20")
    .replace("days = 3", "days = 1")
)


MONTHS = Job(
    id="old", kind="plan", scenario="two months", seed=1, replications=2, by="cai",
    ordered_at="2022-12-01T00:00:00+00:00", state="done",
    document={
        "feasible": False, "percentile": 95.0, "target_hours": 24.0, "pareto": [], "sensitivity": {},
        "days": 60, "warm_up_days": 30, "days_counted": [31, 60],
    },
)  # fmt: skip
"""A plan of a laboratory that goes on, as an earlier day kept it; made for these tests."""


@pytest.fixture(scope="module")
def served(tmp_path_factory, sqlite_template: Path):
    """A laboratory with twelve tubes that wait, and nobody's simulations yet."""
    folder = tmp_path_factory.mktemp("managers")
    target = folder / "lis.db"
    target.write_bytes(sqlite_template.read_bytes())
    (folder / "simulations").mkdir()
    (folder / "simulations" / "old.json").write_text(json.dumps(asdict(MONTHS)), encoding="utf-8")
    with bench(f"sqlite:///{target}", folder, FixedClock(NOON)) as found:
        receive(found.person("anna"), *range(1, 13))
        yield found


@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_forecast_and_the_admission_are_answered_on_the_page(browser, served, language):
    """A press makes a forecast of the twelve tubes; a question for 40 more is answered in words, not in codes."""
    with screen(browser, served, served.person("cai"), language) as tab:
        tab.goto(f"{served.url}/capacity")
        tab.click("#forecast-now")
        tab.wait_for_selector(".figures")
        assert tab.inner_text(".figures b >> nth=0") == "12"
        tab.fill("[name=tubes]", "40")
        tab.click("#admit button")
        tab.wait_for_selector("#admitted:not([hidden])")
        assert re.match("[✓●▲] .*40", tab.inner_text(".verdict"))
        picture(tab, f"capacity-{language}")


@pytest.mark.screens
def test_a_scenario_is_checked_while_it_is_written_and_played(browser, served):
    """A fault is told with its line before anything runs; the mended text is played, and its page is live."""
    with screen(browser, served, served.person("cai")) as tab:
        tab.goto(f"{served.url}/capacity/new?scenario=fever-clinic")
        tab.wait_for_selector(".checked.good")
        tab.fill("textarea", SMALL.replace("tubes = 4", "tubes = -4"))
        tab.wait_for_selector(".checked.bad")
        line = SMALL.splitlines().index(next(one for one in SMALL.splitlines() if "tubes = 4" in one)) + 1
        assert f"Line {line}:" in tab.inner_text("#verdict")
        assert tab.is_disabled("#play")
        picture(tab, "scenario-en")
        tab.fill("textarea", SMALL)
        tab.wait_for_selector(".checked.good")
        tab.click("#another")
        tab.fill("[name=replications]", "2")
        tab.wait_for_selector(".checked.good")
        tab.click("#play")
        tab.wait_for_selector(".study .js-plotly-plot", timeout=60_000)
        assert "Scenarios side by side" in tab.inner_text(".study")
        assert tab.eval_on_selector(".study .main-svg", "one => getComputedStyle(one).position") == "absolute"
        moved = tab.eval_on_selector_all(
            ".study .chart > svg text",
            """many => many.filter(one => getComputedStyle(one).textAnchor !== one.getAttribute('text-anchor')
                && one.hasAttribute('text-anchor')).map(one => one.textContent)""",
        )
        assert moved == []  # no rule of another page pulls the words of a drawing aside
        picture(tab, "simulation-en")
        with tab.expect_download() as saved:
            tab.click("text=Save as a page")
        assert "fever-clinic" in Path(saved.value.path()).read_text(encoding="utf-8")


@pytest.mark.screens
def test_a_simulation_is_cancelled_from_its_page(browser, served):
    """Progress is shown while it runs; a press ends it, and the text can be changed and played again."""
    with screen(browser, served, served.person("cai"), "zh") as tab:
        cai = served.person("cai")
        order = {"scenario": "jiangmen-2022-12", "replications": 50}
        job = cai.ok("/api/v1/simulations", order)["id"]
        tab.goto(f"{served.url}/capacity/simulations/{job}")
        tab.wait_for_selector("#playing")
        tab.click("#cancel")
        tab.wait_for_selector("text=已取消")
        tab.click("text=修改后再运行")
        tab.wait_for_selector("textarea")
        assert "jiangmen-2022-12" in tab.input_value("textarea")


@pytest.mark.screens
def test_a_rota_and_a_plan_are_shown_as_tables(browser, served):
    """The week of a rota and the choices of a plan stand on the page of their order, in Chinese."""
    cai = served.person("cai")
    orders = {kind: {"kind": kind, "scenario": SMALL, "replications": 2} for kind in ("rota", "plan")}
    jobs = {kind: cai.ok("/api/v1/simulations", order)["id"] for kind, order in orders.items()}
    with screen(browser, served, cai, "zh") as tab:
        for kind, heading in (("rota", "每个人怎样上班"), ("plan", "备选方案")):
            tab.goto(f"{served.url}/capacity/simulations/{jobs[kind]}")
            tab.wait_for_selector(f"text={heading}", timeout=120_000)
            picture(tab, f"{kind}-zh")
        assert "全部 1 天到达的试管都计入" in tab.inner_text("#counted")
        tab.goto(f"{served.url}/capacity/simulations/old")
        assert "前 30 天为预热期" in tab.inner_text("#counted")
        picture(tab, "plan-warm-up")
    with screen(browser, served, cai, "en") as tab:
        tab.goto(f"{served.url}/capacity/simulations/old")
        assert "days 31 to 60 count" in tab.inner_text("#counted")


def test_the_saved_page_is_live_and_asks_nobody(browser, tmp_path: Path):
    """Opened from a disk without network its drawings become charts; every bar and line keeps its numbers."""
    study = replicate(scaled(load("fever-clinic"), 0.1), 2, 1, workers=1, step=60.0)
    target = tmp_path / "page.html"
    target.write_text(page([study], language="en"), encoding="utf-8")
    context = browser.new_context(offline=True)
    tab = context.new_page()
    asked, faults = [], []
    tab.on("request", lambda one: asked.append(one.url))
    tab.on("pageerror", lambda fault: faults.append(str(fault)))
    tab.goto(target.as_uri())
    tab.wait_for_selector(".js-plotly-plot")
    drawn = tab.evaluate("JSON.stringify(document.querySelector('.js-plotly-plot').data)")
    bars = [height for trace in json.loads(drawn) for height in trace["y"]]
    assert sum(bars) == pytest.approx(1.0, abs=1e-3)
    assert asked == [target.as_uri()]
    assert faults == []
    context.close()


def test_an_absence_and_a_machine_out_of_service_are_recorded_and_ended(browser, served):
    """Two presses and the forecast knows that one is sick, or that an extractor is checked; another ends it."""
    plan = 'from = 2022-12-01\n[[shift]]\nrole = "prepare"\nname = "day"\nstart = "08:00"\nend = "16:00"\npeople = 2\n'
    plan += '[[machine]]\nname = "KF-1"\nkind = "extractor"\n'
    served.person("cai").ok("/api/v1/duty/plan", {"text": plan})
    with screen(browser, served, served.person("cai"), "zh") as tab:
        tab.goto(f"{served.url}/capacity")
        tab.click("text=登记缺勤")
        tab.fill("#duty [name=reason] >> nth=0", "家中有事")
        tab.click("#duty details[open] button")
        tab.wait_for_selector("text=家中有事")
        assert served.person("cai").get("/api/v1/duty").json()["absences"][0]["people"] == 1
        tab.click("text=已返岗")
        tab.wait_for_selector("text=家中有事", state="detached")
        assert served.person("cai").get("/api/v1/duty").json()["absences"] == []
        tab.click("text=登记设备停用或维护")
        form = "#duty details[open]"
        tab.select_option(f"{form} [name=instrument]", "KF-1")
        tab.select_option(f"{form} [name=since]", index=2)
        tab.select_option(f"{form} [name=expected]", index=1)
        tab.click(f"{form} button")
        tab.wait_for_selector("text=时间不对")
        tab.select_option(f"{form} [name=expected]", index=3)
        picture(tab, "machine-out")
        tab.click(f"{form} button")
        tab.wait_for_selector("text=计划维护")
        picture(tab, "maintenance")
        tab.click("text=取消维护")
        tab.wait_for_selector("text=取消维护", state="detached")
        assert served.person("cai").get("/api/v1/duty").json()["out_of_service"] == []
