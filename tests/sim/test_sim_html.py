"""The page for managers: whole in itself, in two languages, with the numbers of the study and nothing else."""

import csv
import io
import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest
from click.testing import CliRunner

from lis.cli.planning import COMMANDS
from sim import ScenarioError, load, page, replicate, simulate
from sim.html import plotly
from sim.page_words import WORDS
from sim.run import scaled
from sim.servers import spent
from sim.svg import ticks

CLINIC = scaled(replace(load("fever-clinic"), note="<b>a & b</b>"), 0.15)
FULL = replace(
    CLINIC,
    name="full plates",
    laboratory=replace(CLINIC.laboratory, fill=replace(CLINIC.laboratory.fill, policy="fifo-full")),
)


@pytest.fixture(scope="module")
def studies():
    """Two scenarios on the same luck, shared by the tests."""
    return [replicate(one, 3, 1, workers=1, step=60.0) for one in (CLINIC, FULL)]


@pytest.fixture(scope="module")
def english(studies):
    """The page of both in English."""
    return page(studies, language="en", made_at="2022-12-01 08:00")


class Balance(HTMLParser):
    """Every element that is opened is closed; every address is gathered."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.scripts = [], [], Counter()

    def handle_starttag(self, tag, attrs):
        """An element begins."""
        self.addresses += [value for name, value in attrs if name in ("href", "src", "xlink:href")]
        if tag == "script":
            self.scripts[dict(attrs).get("type", "")] += 1
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """An empty element."""

    def handle_endtag(self, tag):
        """An element ends."""
        assert self.open.pop() == tag


def test_the_page_asks_nobody(english):
    """It is well formed, its only address is the table inside it, its only programs are plotly and our few lines."""
    found = Balance()
    found.feed(english)
    assert found.open == []
    assert [address.split(",")[0] for address in found.addresses] == ["data:text/csv;charset=utf-8"]
    assert found.scripts == {"": 2, "application/json": english.count("<figure")}
    own = english.replace(plotly(), "")
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org/2000/svg)", own)


def test_every_drawing_has_a_live_chart_of_the_same_numbers(studies, english):
    """What plotly is given sums and ends as the drawing does: shares of all tubes, curves that reach one."""
    figures = [
        json.loads(one) for one in re.findall(r"<script type='application/json'>(.*?)</script>", english)
    ]
    assert len(figures) == english.count("<figure class=") > 20
    curves = [trace for trace in figures[0]["data"] if "name" in trace]
    assert [trace["name"] for trace in curves] == ["fever-clinic", "full plates"]
    assert all(trace["y"][-1] == pytest.approx(1.0, abs=1e-3) for trace in curves)
    assert sum(figures[1]["data"][0]["y"]) == pytest.approx(1.0, abs=1e-3)
    assert len(figures[1]["layout"]["shapes"]) == len(figures[1]["layout"]["annotations"]) > 0


def test_text_of_a_scenario_stays_text(english):
    """A note or a name with markup is shown, not obeyed."""
    assert "&lt;b&gt;a &amp; b&lt;/b&gt;" in english
    assert "<b>a" not in english


def test_the_page_says_what_the_study_says(studies, english):
    """P95 with its interval, seed, replications and the paired difference stand as the study has them."""
    low, high = studies[0].ci("tat", "p95")
    assert f"{studies[0].mean('tat', 'p95'):.2f}</td><td>{low:.2f} … {high:.2f}" in english
    assert "seed 1" in english
    assert "2022-12-01 08:00" in english
    gap = studies[1].mean("late") - studies[0].mean("late")
    assert f"{gap:+,.1f} (" in english


def test_the_table_can_be_taken_along(studies, english):
    """The CSV holds one row a replication of every scenario, with the marks that spreadsheets ask for."""
    data = unquote(re.search(r'href="data:text/csv;charset=utf-8,([^"]*)"', english)[1])
    rows = list(csv.DictReader(io.StringIO(data.lstrip("\ufeff"))))
    assert data.startswith("\ufeff")
    assert [(row["scenario"], row["replication"]) for row in rows] == [
        (name, str(n)) for name in ("fever-clinic", "full plates") for n in (1, 2, 3)
    ]
    p95 = [run["tat"]["p95"] for study in studies for run in study.runs]
    assert [float(row["p95"]) for row in rows] == pytest.approx(p95, rel=1e-5)


def test_assumptions_are_marked(english):
    """Every line of the file that says `assumed` carries the mark of an assumption."""
    lines = [line for line in english.split("\n") if re.search("#.*\\bassumed\\b", line)]
    assert len(lines) >= 2 * 20
    assert all("<mark class='assumed'>" in line for line in lines)


def test_the_page_speaks_chinese(studies):
    """Chinese is the usual language; every text there is has both languages."""
    found = page(studies[:1])
    assert 'lang="zh-CN"' in found
    assert "周转时间分布" in found
    assert "发热门诊 单采" in found
    for chinese, english in WORDS.values():
        assert re.search("[\u4e00-\u9fff]", chinese)
        assert not re.search("[\u4e00-\u9fff]", english)


def test_one_run_has_no_intervals_and_no_bands_over_time():
    """A single replication without steps still makes a page, which claims no interval."""
    found = page([replicate(CLINIC, 1, 1, workers=1)] * 2, language="en")
    assert "With one replication a difference has no interval." in found
    assert "Queues and use over time" not in found


def test_pages_of_nothing_or_of_several_seeds_are_refused(studies):
    """What cannot be compared is not put side by side."""
    for wrong in ([], [studies[0], replace(studies[1], seed=2)]):
        with pytest.raises(ScenarioError) as error:
            page(wrong)
        assert error.value.code == "BAD_STUDY"


def test_over_time_nothing_is_lost():
    """Queues begin and end empty; work over all stretches is the work of the station."""
    report = simulate(CLINIC, 1)
    trace = report.trace(30.0)
    assert trace["hour_tubes"].sum() == report.turnaround.size
    assert trace["hour_late"].sum() == report.late.sum()
    for name, log in report.stations.items():
        queue = trace["stations"][name]["queue"]
        assert queue.min() >= 0
        assert queue[-1] == 0
        edges = np.arange(0.0, report.end + 30.0, 30.0)
        assert spent(edges, log.begun, log.ended)[-1] == pytest.approx((log.ended - log.begun).sum())


def test_ticks_are_round():
    """Ticks of an axis lie inside it, evenly, on round values."""
    assert ticks(0, 1, 4) == pytest.approx([0, 0.25, 0.5, 0.75, 1.0])
    assert ticks(0, 13) == pytest.approx([0, 5, 10])


def test_the_command_writes_the_page_and_compares(tmp_path):
    """`lis simulate A B --html FILE` writes the page; --json holds the first study and the compared ones."""
    first, second = tmp_path / "a.toml", tmp_path / "b.toml"
    text = CLINIC.text.replace("tubes = 200", "tubes = 30").replace("tubes = 1500", "tubes = 60")
    first.write_text(text)
    second.write_text(text.replace('policy = "cost"', 'policy = "urgency"'))
    out = tmp_path / "out.html"
    found = CliRunner().invoke(
        COMMANDS["simulate"],
        [str(first), str(second), "--replications", "2", "--workers", "1", "--html", str(out), "--json"],
    )
    assert found.exit_code == 0, found.output
    assert '"compared"' in found.stdout
    assert out.read_text(encoding="utf-8").count("<svg") > 20
    plain = CliRunner().invoke(
        COMMANDS["simulate"], [str(first), str(second), "--replications", "2", "--workers", "1"]
    )
    assert "on the same luck" in plain.stdout
