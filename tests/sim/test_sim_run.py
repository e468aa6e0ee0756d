"""Replications: the same numbers anywhere, intervals that cover, nothing lost when a worker dies."""

import math
import os
import pickle
import signal
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sim import Scenario, ScenarioError, compare, document, load, replicate, simulate
from sim import run as running
from sim.run import scaled
from sim.statistics import batch_interval, enough, interval, mser5, t_quantile, t_share

SMALL = scaled(load("yangzhou-2021-08"), 0.03)
CHAIN = """
name = "desk"
[engine]
items = 300
warmup = 20
arrivals = { kind = "poisson", rate = 0.5 }
[[engine.chain]]
name = "desk"
servers = 1
service = { kind = "exponential", mean = 1.0 }
"""


def test_the_document_has_the_keys_other_programs_read():
    """`lis simulate --json` keeps its shape: names, intervals, stations."""
    found = document(replicate(SMALL, 3, 1, workers=1))
    assert {"scenario", "seed", "replications", "wall_s", "tubes", "reports"} <= set(found)
    assert set(found["on_time_share"]) == {"mean", "ci95"}
    assert {"mean", "p50", "p90", "p95", "p99", "max", "ci95_p95"} <= set(found["tat_hours"])
    keys = {"utilisation", "wait_h_mean", "wait_h_p95", "queue_max", "queue_mean", "served"}
    assert all(keys <= set(station) for station in found["stations"].values())
    assert {"retest_share", "recollections", "tests_per_person"} <= set(found)
    tat = found["tat_hours"]
    assert tat["p50"] <= tat["p90"] <= tat["p95"] <= tat["p99"] <= tat["max"]
    assert tat["ci95_p95"][0] <= tat["p95"] <= tat["ci95_p95"][1]
    assert 0 <= found["on_time_share"]["ci95"][0] <= found["on_time_share"]["ci95"][1] <= 1
    assert found["target"]["hours"] == 24.0


def test_one_replication_claims_no_interval():
    """A single run is printed without interval instead of with an invented one; a chain has no target."""
    found = document(replicate(Scenario.from_toml(CHAIN), 1, 1))
    assert found["on_time_share"]["ci95"] is None
    assert found["tat_hours"]["ci95_p95"] is None
    assert found["tubes"] == 280
    assert "target" not in found


def test_workers_give_the_same_numbers():
    """Two processes, or none beside this one: every replication is the same to the last digit."""
    serial = replicate(SMALL, 4, 9, workers=1)
    told = []
    pooled = replicate(SMALL, 4, 9, workers=2, progress=lambda *facts: told.append(facts[:2]))
    for one, other in zip(serial.runs, pooled.runs, strict=True):
        assert one["tat"] == other["tat"]
        assert np.array_equal(one["histogram"], other["histogram"])
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def _die_once(flag, scenario, seed, numbers, step):
    """A worker that is killed on its first chunk."""
    if not Path(flag).exists():
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return running._one(scenario, seed, numbers, step)


class _Deadly(running.ProcessPoolExecutor):
    """A pool whose first task kills its worker."""

    flag = ""

    def submit(self, task, *arguments):
        """Send the deadly task instead."""
        return super().submit(_die_once, self.flag, *arguments)


def test_a_refusal_comes_back_whole_from_a_worker():
    """A refusal survives the way between processes with its code, key and reason."""
    refusal = ScenarioError("NEVER_ENDS", "Work is left at opening.", "station.opening")
    back = pickle.loads(pickle.dumps(refusal))  # noqa: S301
    assert (back.code, back.key, str(back)) == ("NEVER_ENDS", "station.opening", str(refusal))


def test_a_dead_worker_costs_a_retry(tmp_path, monkeypatch):
    """A worker killed in the middle does not lose a replication."""
    monkeypatch.setattr(_Deadly, "flag", str(tmp_path / "died"))
    monkeypatch.setattr(running, "ProcessPoolExecutor", _Deadly)
    study = replicate(SMALL, 4, 9, workers=2)
    assert (tmp_path / "died").exists()
    assert [run["tat"] for run in study.runs] == [
        run["tat"] for run in replicate(SMALL, 4, 9, workers=1).runs
    ]


def test_workers_that_always_die_are_an_error(monkeypatch):
    """After three pools the run is given up with a sentence, not repeated for ever."""

    class Broken:
        """A pool in which nothing works."""

        def __init__(self, *arguments, **more):
            self.made = (arguments, more)

        def submit(self, *arguments):
            """A future that broke."""
            future = running.Future()
            future.set_exception(BrokenProcessPool())
            return future

        def shutdown(self, **more):
            """Nothing to end."""

    monkeypatch.setattr(running, "ProcessPoolExecutor", Broken)
    with pytest.raises(ScenarioError) as error:
        replicate(SMALL, 4, 9, workers=2)
    assert error.value.code == "WORKERS_DIE"


def test_an_interrupt_returns_what_is_done():
    """Ctrl-C after two replications: those two are reported, and marked as stopped early."""

    def interrupt(done, of, seconds):
        del of, seconds
        if done == 2:
            raise KeyboardInterrupt

    study = replicate(SMALL, 10, 1, workers=1, progress=interrupt)
    assert (len(study.runs), study.stopped) == (2, True)
    assert document(study)["stopped_early"]


def test_an_interrupt_before_anything_is_done_is_passed_on(monkeypatch):
    """Without a single finished run there is nothing to report."""

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(running, "_one", interrupted)
    with pytest.raises(KeyboardInterrupt):
        replicate(SMALL, 2, 1, workers=1)


def test_replications_stop_at_the_stated_half_width():
    """A wide half-width is reached with five runs, an impossible one never."""
    assert len(replicate(SMALL, 12, 1, workers=1, half_width=50.0).runs) == 5
    assert len(replicate(SMALL, 6, 1, workers=1, half_width=1e-9).runs) == 6


def test_paired_differences_cancel_the_luck_they_share():
    """Under common random numbers the difference of two scenarios is surer than their values."""
    few, more = (replicate(scaled(SMALL, 1.0), 6, seed, workers=1) for seed in (1, 1))
    assert compare(few, more, "tat", "p95") == (0.0, 0.0, 0.0)
    with pytest.raises(ScenarioError):
        compare(few, replicate(SMALL, 2, 2, workers=1), "tat", "p95")


def test_a_machine_more_is_told_from_luck():
    """The paired difference of two laboratories varies less than half as much as unpaired ones would."""
    base = scaled(load("yangzhou-2021-08"), 0.2)
    lab = base.laboratory
    one_more = [tuple(replace(b, servers=n) if b.reads else b for b in lab.stations) for n in (3, 4)]
    a, b = (
        replicate(replace(base, laboratory=replace(lab, stations=stations)), 8, 1, workers=1)
        for stations in one_more
    )
    mean, low, high = compare(a, b, "tat", "mean")
    assert low < high < 0
    one, other = np.array(a.values("tat", "mean")), np.array(b.values("tat", "mean"))
    assert mean == pytest.approx(other.mean() - one.mean())
    assert np.var(other - one) < 0.5 * (np.var(one) + np.var(other))


def test_days_that_meet_the_target_are_counted():
    """The share of days whose own P95 is in time, as counted here from every tube of every run."""
    base = scaled(load("fever-clinic"), 0.1)
    scenario = replace(base, laboratory=replace(base.laboratory, days=3, target_hours=3.0))
    study = replicate(scenario, 3, 1, workers=1)
    good = []
    for number in range(3):
        report = simulate(scenario, 1, replication=number)
        for day in range(int(report.arrived[-1] // 1440) + 1):
            own = report.turnaround[report.arrived // 1440 == day]
            good.append(not own.size or np.quantile(own, 0.95) <= 3.0 * 60)
    assert 0 < np.mean(good) < 1
    assert document(study)["target"]["days_with_p95_in_target"] == pytest.approx(np.mean(good))


@pytest.mark.parametrize("facts", [{"replications": 0}, {"workers": -1}, {"half_width": -1.0}])
def test_senseless_studies_are_refused(facts):
    """Counts and widths below their least are refused."""
    more = {"replications": 1, **facts}
    with pytest.raises(ScenarioError) as error:
        replicate(SMALL, more.pop("replications"), 1, **more)
    assert error.value.code == "BAD_STUDY"


def test_scenarios_by_path_and_by_name(tmp_path):
    """A path, a shipped name and a scenario itself are taken; anything else names the shipped ones."""
    path = tmp_path / "own.toml"
    path.write_text(CHAIN)
    assert np.array_equal(simulate(path, 1).turnaround, simulate(str(path), 1).turnaround)
    assert load(load(path)).name == "desk"
    for wrong in ("no-such", "no-such.toml"):
        with pytest.raises(ScenarioError) as error:
            load(wrong)
        assert error.value.code == "UNKNOWN_SCENARIO"


def test_past_arrivals_come_from_a_file_beside_the_scenario(tmp_path):
    """Arrivals drawn from past days keep to the minutes of those days; bad files are refused by line."""
    text = """
name = "past"
[viral]
name = "v"
quantiles = [[0.0, 15.0], [1.0, 35.0]]
[[stream]]
name = "s"
mode = "single"
places = 1
tier = "fever"
site = "x"
start = 0
end = 1440
tubes = 300
prevalence_start = 0.0
prevalence_end = 0.0
arrival = { shape = "past", file = "past.csv" }
"""
    (tmp_path / "past.toml").write_text(text)
    (tmp_path / "past.csv").write_text("at\n2022-12-14T08:30:00\n2022-12-15T21:15:30\n")
    arrival = load(tmp_path / "past.toml").streams[0].arrival
    assert arrival.minutes == (510.0, 1275.5)
    (tmp_path / "past.csv").write_text("minute\n600\n")
    assert load(tmp_path / "past.toml").streams[0].arrival.minutes == (600.0,)
    for wrong in ("other\n1\n", "minute\nnoon\n", "minute\n1500\n"):
        (tmp_path / "past.csv").write_text(wrong)
        with pytest.raises(ScenarioError) as error:
            load(tmp_path / "past.toml")
        assert error.value.code == "BAD_ARRIVAL"
    (tmp_path / "past.csv").unlink()
    with pytest.raises(ScenarioError) as error:
        load(tmp_path / "past.toml")
    assert error.value.code == "NO_FILE"
    with pytest.raises(ScenarioError) as error:
        simulate(Scenario.from_toml(text.replace('file = "past.csv"', "minutes = [5.0]")), 1)
    assert error.value.code == "NO_LABORATORY"


def test_student_t_equals_its_tables():
    """Quantiles of Student's t to six digits, and the distribution function at its own quantile."""
    for share, df, value in (
        (0.975, 1, 12.706205),
        (0.975, 9, 2.262157),
        (0.995, 29, 2.756386),
        (0.95, 120, 1.657651),
    ):
        assert t_quantile(share, df) == pytest.approx(value, abs=1e-6)
        assert t_share(value, df) == pytest.approx(share, abs=1e-6)
        assert t_share(-value, df) == pytest.approx(1 - share, abs=1e-6)
    assert t_share(0.0, 5) == pytest.approx(0.5)


def test_intervals_cover_as_often_as_they_say():
    """Of 2,000 intervals over ten normal values about 95 % hold the mean."""
    rng = np.random.default_rng(3)
    held = sum(low <= 0 <= high for _, low, high in (interval(rng.normal(size=10)) for _ in range(2000)))
    assert held / 2000 == pytest.approx(0.95, abs=0.015)
    assert interval([1.0]) == (1.0, -math.inf, math.inf)
    assert math.isnan(interval([])[0])
    mean, low, high = batch_interval(rng.normal(size=30_000))
    assert low <= mean <= high
    assert not enough([1.0, 1.0], 1.0)
    assert enough([1.0, 1.1, 0.9, 1.0, 1.0], 0.2)


def test_mser5_cuts_the_warm_up():
    """A series that starts high is cut where it settles; a level one hardly at all; a short one not."""
    rng = np.random.default_rng(4)
    start = np.concatenate([np.full(300, 20.0), np.zeros(3000)]) + rng.normal(size=3300)
    assert 300 <= mser5(start) <= 400
    assert mser5(rng.normal(size=3000)) < 1500
    assert mser5(np.ones(10)) == 0
