"""Laboratories that never stand empty: their beginning is found, left out of every figure, and told."""

import json
from dataclasses import replace

import numpy as np
import pytest
import theory
from click.testing import CliRunner

from lis.cli.planning import COMMANDS
from sim import (
    Scenario,
    ScenarioError,
    document,
    load,
    page,
    plan,
    plan_document,
    replicate,
    simulate,
)
from sim.run import scaled
from sim.search import play
from sim.statistics import settling
from sim.warmup import PILOTS, alike, counted, daily, halved, settled

DAYS = 30
FEW = scaled(load("yangzhou-2021-08"), 0.01)


def rushed(days=DAYS, **more):
    """A small laboratory that goes on; its first two days bring twelve times the usual tubes."""
    streams = tuple(replace(one, tubes_by_day=(12.0, 12.0, 1.0)) for one in FEW.streams)
    lab = replace(FEW.laboratory, days=days, continuing=True, **more)
    return replace(FEW, name="rush", streams=streams, laboratory=lab)


def line(load_, *, days=60, continuing=True):
    """Ten desks in a row, quarter of an hour each, Poisson arrivals, all empty at first (Jackson)."""
    rate = load_ / 15
    desks = "".join(
        f'[[engine.chain]]\nname = "{n}"\nservice = {{ kind = "exponential", mean = 15 }}\n'
        for n in range(10)
    )
    return Scenario.from_toml(
        f'name = "line"\n[engine]\nitems = {round(days * 1440 * rate)}\ncontinuing = {str(continuing).lower()}\n'
        f'arrivals = {{ kind = "poisson", rate = {rate} }}\n{desks}'
    )


@pytest.fixture(scope="module")
def study():
    """Two replications of the laboratory with a rush, shared by the tests."""
    return replicate(rushed(), 2, 1, workers=1, step=240.0)


@pytest.fixture(scope="module")
def runs():
    """The same two runs, whole."""
    return [simulate(rushed(), 1, replication=number) for number in range(2)]


def test_the_exact_mean_is_met_only_without_the_warm_up():
    """A line that starts empty and needs days: the steady mean lies in the interval after the cut, not before."""
    exact = 10 * theory.mmc_sojourn(0.88 / 15, 15, 1) / 60
    whole = replicate(line(0.88, continuing=False), 60, 1, workers=1)
    low, high = whole.ci("tat", "mean")
    assert high < exact
    settled = replicate(line(0.88), 60, 1, workers=1)
    low, high = settled.ci("tat", "mean")
    assert low < exact < high
    found = document(settled)
    assert found["warm_up_days"] > 2
    assert found["warm_up_tubes"] == pytest.approx(found["warm_up_days"] * 1440 * 0.88 / 15, rel=0.05)


def test_every_figure_is_of_the_days_that_count(study, runs):
    """Tubes, turnaround, on-time share, days and stations equal a count by hand over the days kept."""
    found = document(study)
    cut = found["warm_up_days"]
    assert 2 <= cut < DAYS / 2
    assert found["days"][0]["day"] == cut + 1
    assert len(found["days"]) == DAYS - cut
    hours, on_time, good, left_out, used = [], [], [], [], []
    for run in runs:
        day = run.arrived // 1440
        own = (day >= cut) & (day < DAYS)
        hours.append(np.quantile(run.turnaround[own], 0.95) / 60)
        on_time.append(np.mean(run.arrived[own] + run.turnaround[own] <= run.due[own]))
        left_out.append(np.sum(day < cut))
        tops = [np.quantile(run.turnaround[day == one], 0.95) / 60 for one in range(cut, DAYS)]
        good += [top <= study.scenario.laboratory.target_hours for top in tops]
        log, edges = run.stations["pcr"], np.array([cut * 1440.0, DAYS * 1440.0])
        worked = np.clip(log.ended, *edges) - np.clip(log.begun, *edges)
        used.append(worked.sum() / np.diff(log.on(edges))[0])
    assert found["tat_hours"]["p95"] == pytest.approx(np.mean(hours))
    assert found["on_time_share"]["mean"] == pytest.approx(np.mean(on_time))
    assert found["target"]["days_with_p95_in_target"] == pytest.approx(np.mean(good))
    assert found["warm_up_tubes"] == round(np.mean(left_out))
    assert found["stations"]["pcr"]["utilisation"] == pytest.approx(np.mean(used))
    assert sum(run["histogram"].sum() for run in study.runs) == sum(run["tubes"] for run in study.runs)


def test_a_day_that_ends_keeps_every_tube():
    """A scenario that does not go on is counted whole, however it begins."""
    once = replace(rushed(), laboratory=replace(rushed().laboratory, continuing=False, days=3))
    found = replicate(once, 1, 1, workers=1)
    run = simulate(once, 1)
    assert (document(found)["warm_up_days"], document(found)["warm_up_tubes"]) == (None, 0)
    assert found.runs[0]["tubes"] == run.turnaround.size
    assert counted(once, run) is run


def test_too_few_days_are_refused():
    """Fewer than thirty days are refused when the scenario is read, with the key and what to write."""
    with pytest.raises(ScenarioError, match="write 30 or more") as error:
        rushed(days=DAYS - 1)
    assert (error.value.code, error.value.key) == ("BAD_LABORATORY", "laboratory.days")
    with pytest.raises(ScenarioError) as error:
        replicate(line(0.5, days=20), 2, 1, workers=1)
    assert error.value.code == "NOT_SETTLED"


def test_a_laboratory_that_never_settles_is_refused():
    """More comes than can be done: there is no usual day, and the refusal says what to do."""
    with pytest.raises(ScenarioError, match="add machines or people") as error:
        replicate(line(1.2), 2, 1, workers=1)
    assert error.value.code == "NOT_SETTLED"


def test_a_stated_warm_up_of_a_chain_is_not_found_as_well():
    """Items to leave out and a warm-up to be found are two answers to one question."""
    with pytest.raises(ScenarioError, match="one of the two"):
        Scenario.from_toml(
            'name = "x"\n[engine]\nitems = 9\nwarmup = 2\ncontinuing = true\n'
            '[[engine.chain]]\nname = "a"\nservice = 1\n'
        )


def test_settling_is_found_where_it_is():
    """A step is found to a few days, a level series is not cut, growth and few days are no answer."""
    noise = np.random.default_rng(5).normal(size=60)
    assert settling(noise + np.where(np.arange(60) < 12, -9.0, 0.0)) in range(12, 17)
    assert settling(noise) == 0
    assert settling(np.full(40, 3.7)) == 0
    assert settling(np.r_[9.1, 8.2, np.full(40, 3.7)]) == 2
    assert settling(noise + 0.5 * np.arange(60)) is None
    assert settling(noise[:19]) is None


def test_days_without_tubes_are_no_days_of_turnaround():
    """A closed day has no mean; it neither counts as one of no hours nor ends the search for the warm-up."""
    streams = tuple(replace(one, tubes_by_day=(1.0, 0.0, 1.0)) for one in FEW.streams)
    once = replace(FEW, streams=streams, laboratory=replace(FEW.laboratory, days=3))
    assert np.isnan(daily(simulate(once, 1))[:3]).tolist() == [False, True, False]
    level = np.where(np.arange(DAYS + 2) < 6, 14.0, 5.0)
    level[1::7] = np.nan
    assert settled(rushed(), [level] * PILOTS).warm_up_days == 6


def test_scenarios_side_by_side_count_the_same_days(study):
    """All that are compared leave out the longest warm-up of them; one too short for it is refused."""
    once = replace(FEW, name="once")
    other = replace(study.scenario, name="other", warm_up_days=13)
    found = alike([study.scenario, other, once])
    assert [one.warm_up_days for one in found] == [13, 13, None]
    with pytest.raises(ScenarioError, match="more than half"):
        alike([study.scenario, replace(other, warm_up_days=16)])


def test_searches_leave_out_the_first_half(runs):
    """A plan of a laboratory that goes on judges every set by the second half of its days, and says so."""
    (run, *_), half = runs, halved(rushed())
    day = run.arrived // 1440
    own = (day >= DAYS // 2) & (day < DAYS)
    assert play(half, 1, 0, 95.0)["hours"] == pytest.approx(np.quantile(run.turnaround[own], 0.95) / 60)
    assert halved(FEW) is FEW

    def interrupt(sentence):
        raise KeyboardInterrupt(sentence)

    found = plan_document(plan(rushed(), 48.0, replications=2, say=interrupt))
    assert (found["stopped_early"], found["warm_up_days"]) == (True, DAYS // 2)
    assert (found["days"], found["days_counted"]) == (DAYS, [DAYS // 2 + 1, DAYS])


@pytest.mark.parametrize(("language", "said"), [("zh", "为预热期"), ("en", "are the warm-up")])
def test_the_page_says_what_was_left_out(study, language, said):
    """The page of a laboratory that goes on names the days left out; that of one day does not speak of them."""
    cut = document(study)["warm_up_days"]
    text = page([study], language=language)
    assert said in text
    assert f"{cut} 天" in text if language == "zh" else f"first {cut} days" in text
    assert said not in page([replicate(FEW, 1, 1, workers=1)], language=language)


def test_the_command_says_what_was_left_out(tmp_path):
    """`lis simulate` tells the warm-up in its text and in its document."""
    target = tmp_path / "on.toml"
    target.write_text(line(0.7).text, encoding="utf-8")
    order = [str(target), "--replications", "1", "--workers", "1"]
    told = CliRunner().invoke(COMMANDS["simulate"], order, catch_exceptions=False)
    found = json.loads(
        CliRunner().invoke(COMMANDS["simulate"], [*order, "--json"], catch_exceptions=False).stdout
    )
    assert f"warm-up    {found['warm_up_days']} days, {found['warm_up_tubes']} tubes" in told.stdout
