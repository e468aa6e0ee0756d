"""Simulations of a server: ordered, followed, cancelled, kept, and ended with it."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path

import pytest
from moments import NOON
from web_bench import bench

from lis.clock import FixedClock
from lis.errors import Busy, NotFound, Refused
from lis.web.played import Order, _planned
from lis.web.playing import KEPT, OVER, WAITING, Job, Simulations
from sim import load
from sim.run import scaled

CHAIN = """
name = "desk"
[engine]
items = 300
arrivals = { kind = "poisson", rate = 0.5 }
[[engine.chain]]
name = "desk"
servers = 1
service = { kind = "exponential", mean = 1.0 }
"""
ENDLESS = CHAIN.replace("items = 300", "items = 2000000")
PATH = "/api/v1/simulations"


def over(who, job_id):
    """Ask until a simulation is over; the server answers all the while. A test that hangs ends by time-out."""
    pause = threading.Event()
    while True:
        found = who.get(f"{PATH}/{job_id}").json()
        if found["state"] in OVER:
            return found
        pause.wait(0.05)


@pytest.fixture
def served(database_url, tmp_path: Path, clock):
    """A laboratory behind a real server, on each database."""
    with bench(database_url, tmp_path, clock) as found:
        yield found


@pytest.fixture(scope="module")
def small(tmp_path_factory, sqlite_template: Path):
    """One laboratory on the embedded database for refusals, none of which changes it."""
    folder = tmp_path_factory.mktemp("simulations")
    target = folder / "lis.db"
    target.write_bytes(sqlite_template.read_bytes())
    (folder / "simulations").mkdir()
    error = {"code": "NEVER_ENDS", "key": "", "reason": "Work is left."}
    for name, more in (("both", {"reason_zh": "工作未完成。"}), ("older", {})):
        kept = replace(job(0, "failed"), id=name, error=error | more)
        (folder / "simulations" / f"{name}.json").write_text(json.dumps(kept.shown()), encoding="utf-8")
    with bench(f"sqlite:///{target}", folder, FixedClock(NOON)) as found:
        yield found


def test_a_simulation_is_ordered_followed_and_taken_along(served):
    """A manager orders once, however often it is sent; the document and the page are there at the end."""
    cai = served.person("cai")
    order = {"scenario": CHAIN, "against": [CHAIN.replace("mean = 1.0", "mean = 1.2")], "replications": 3}
    first = cai.post(PATH, order, Idempotency_Key="once")
    again = cai.post(PATH, order, Idempotency_Key="once")
    assert first.status_code == 202
    assert first.json() == again.json()
    job_id = first.json()["id"]
    found = over(cai, job_id)
    assert (found["state"], found["done"], found["of"], found["error"]) == ("done", 6, 6, None)
    assert found["document"]["replications"] == 3
    assert found["document"]["compared"][0]["differences"]["p95"]["mean"] > 0
    page = cai.get(f"{PATH}/{job_id}/html?language=en")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "attachment" in page.headers["content-disposition"]
    assert "Scenarios side by side" in page.text
    listed = cai.get(PATH).json()["simulations"]
    assert [(one["id"], one["document"]) for one in listed] == [(job_id, None)]
    assert cai.http.delete(f"{PATH}/{job_id}", headers={"X-CSRF": cai.csrf}).status_code == 200
    assert cai.get(f"{PATH}/{job_id}").status_code == 404
    assert list((served.lab.settings.data / "simulations").iterdir()) == []


@pytest.mark.parametrize(
    ("order", "code", "key"),
    [
        (
            {"scenario": CHAIN.replace("servers = 1", "servers = -1")},
            "BAD_SCENARIO",
            "engine.chain.desk.servers",
        ),
        ({"scenario": "/etc/passwd"}, "BAD_SCENARIO", "scenario"),
        ({"scenario": "demo-day"}, "BAD_SCENARIO", "station"),
        ({"scenario": "fever-clinic", "against": ["no-such"]}, "BAD_SCENARIO", "scenario"),
        ({"scenario": "zhengzhou-2022-01", "replications": 100}, "SCENARIO_LARGE", None),
        ({"scenario": "fever-clinic", "replications": 0}, "REQUEST_SHAPE", None),
        ({"scenario": "fever-clinic", "speed": 1}, "REQUEST_SHAPE", None),
    ],
)
def test_orders_that_cannot_be_played_are_refused(small, order, code, key):
    """Before anything is queued the key and the reason are told; paths of the server are never opened."""
    answer = small.person("cai").post(PATH, order)
    assert answer.status_code == 422, answer.text
    found = answer.json()
    assert found.get("key") == key
    assert found["code"] == code
    assert "…" not in found["detail_zh"]


def test_a_refused_scenario_is_explained_in_chinese_too(small):
    """What is wrong and where is said in Chinese, with none of the English left in it."""
    answer = small.person("cai").post(PATH, {"scenario": CHAIN.replace("servers = 1", "servers = -1")}).json()
    assert answer["reason"] not in answer["detail_zh"]
    assert answer["reason_zh"] == "现为 -1，须不小于 1。"
    assert answer["reason_zh"] in answer["detail_zh"]
    answer = small.person("cai").post(PATH, {"scenario": "name = 'x'\n[engine\n"}).json()
    assert answer["detail_zh"].startswith(
        "情景无法运行：情景不是有效的 TOML：第 2 行第 8 列，表名后缺少方括号。"
    )


def test_what_fails_while_it_is_played_is_told_in_the_language_of_the_page(small, tmp_path):
    """A worker's refusal is kept in both languages; one kept before there was Chinese is shown as it is."""
    simulations = Simulations(tmp_path, FixedClock(NOON))
    simulations._keep(replace(job(1, "running"), id="one"))
    assert not simulations._heard("one", ("failed", "NEVER_ENDS", "", "Work is left.", "工作未完成。"))
    error = simulations.job("one").error
    assert error == {"code": "NEVER_ENDS", "key": "", "reason": "Work is left.", "reason_zh": "工作未完成。"}
    cai = small.person("cai")
    shown = {name: cai.get(f"/capacity/simulations/{name}").text for name in ("both", "older")}
    assert "工作未完成。" in shown["both"]
    assert "Work is left." not in shown["both"]
    assert "Work is left." in shown["older"]


def test_only_managers_simulate(small):
    """Technicians, reviewers and administrators are refused, whatever they ask."""
    for name in ("anna", "bo", "root"):
        assert small.person(name).post(PATH, {"scenario": "fever-clinic"}).status_code == 403
        assert small.person(name).get(PATH).status_code == 403
    assert small.person("cai").get(f"{PATH}/unknown").json()["code"] == "SIMULATION_UNKNOWN"


def orders(text):
    """An order of one scenario."""
    return Order("simulate", (load_text(text),), 50, 1)


def load_text(text):
    """A scenario from its text."""
    return type(load("fever-clinic")).from_toml(text)


def test_a_running_simulation_is_cancelled_and_a_stopping_server_ends_the_rest(tmp_path):
    """Cancelling ends the process; closing cancels what waits and leaves no process behind."""
    simulations = Simulations(tmp_path, FixedClock(NOON))
    running = simulations.order(orders(ENDLESS), "cai")
    waiting = simulations.order(orders(ENDLESS), "cai")
    pause = threading.Event()
    while simulations.job(running.id).state != "running":
        pause.wait(0.02)
    (process,) = simulations._working.values()
    with pytest.raises(Refused):
        simulations.page(running.id, "zh")
    assert simulations.cancel(running.id).state == "cancelled"
    while running.id in simulations._working:  # whoever started it has waited for its end
        pause.wait(0.02)
    assert not process.is_alive()
    simulations.close()
    assert simulations.job(waiting.id).state == "cancelled"
    assert simulations._working == {}
    assert not any(thread.is_alive() for thread in simulations._threads)
    with pytest.raises(Busy):
        simulations.order(orders(CHAIN), "cai")


def test_a_plan_tells_what_it_tries_and_ends_in_a_document():
    """In the worker a plan sends a sentence for every set it tries, and has no page."""
    ours, theirs = Pipe(duplex=False)
    hospital = scaled(load("county-hospital"), 0.3)
    document, pages = _planned(theirs, Order("plan", (hospital,), 2, 1, target_hours=9.0))
    told = []
    while ours.poll():
        told.append(ours.recv())
    assert document["feasible"]
    assert pages == {}
    assert [message[1] for message in told] == list(range(1, len(told) + 1))
    assert all(message[0] == "progress" and message[4] for message in told)


def job(number, state):
    """A kept simulation."""
    return Job(
        f"2022-{number:03d}",
        "simulate",
        "x",
        1,
        2,
        "cai",
        f"2022-12-01T00:{number // 60:02d}:{number % 60:02d}Z",
        state,
    )


def test_results_outlive_the_server_and_the_oldest_go(tmp_path):
    """What was done is there after a restart; what ran is marked as stopped; at most so many are kept."""
    for number in range(KEPT + 3):
        (tmp_path / f"2022-{number:03d}.json").write_text(json.dumps(job(number, "done").shown()))
    (tmp_path / "zzz.json").write_text(json.dumps(replace(job(99, "running"), id="zzz").shown()))
    (tmp_path / "other.json").write_text("[]")
    simulations = Simulations(tmp_path, FixedClock(NOON))
    assert simulations.job("zzz").error["code"] == "SERVER_STOPPED"
    simulations._trim()
    assert len(simulations.jobs()) == KEPT
    assert not (tmp_path / "2022-000.json").exists()
    assert (tmp_path / "other.json").exists()
    with pytest.raises(NotFound):
        simulations.job("2022-000")


def test_too_many_orders_are_refused(tmp_path):
    """A full line is said to be full; nothing of the refused order stays."""
    simulations = Simulations(tmp_path, FixedClock(NOON), at_once=0)
    for _ in range(WAITING):
        simulations.order(orders(CHAIN), "cai")
    with pytest.raises(Busy) as error:
        simulations.order(orders(CHAIN), "cai")
    assert error.value.code == "SIMULATIONS_BUSY"
    assert len(list(tmp_path.glob("*.json"))) == WAITING
    simulations.close()


def test_a_scenario_is_checked_without_being_played(small):
    """A right order is told back with its tubes; a wrong one is refused with key and line; nothing is queued."""
    cai = small.person("cai")
    text = cai.get("/api/v1/scenarios/fever-clinic").json()["text"]
    good = cai.ok(f"{PATH}/check", {"scenario": text, "kind": "rota"})
    assert good["kind"] == "rota"
    assert good["scenarios"][0]["tubes"] == 5100
    wrong = text.replace("servers = 2", "servers = -2", 1)
    refused = cai.post(f"{PATH}/check", {"scenario": wrong})
    assert refused.status_code == 422
    line = int(refused.json()["line"])
    assert wrong.splitlines()[line - 1].startswith("servers = -2")
    assert {one["id"] for one in cai.get(PATH).json()["simulations"]} == {"both", "older"}  # kept from before


def test_scenarios_are_listed_and_unknown_ones_named(small):
    """The shipped scenarios can be taken by name; a name nobody knows is answered with those there are."""
    cai = small.person("cai")
    names = [one["name"] for one in cai.get("/api/v1/scenarios").json()["scenarios"]]
    assert "jiangmen-2022-12" in names
    answer = cai.get("/api/v1/scenarios/nowhere")
    assert answer.status_code == 404
    assert "fever-clinic" in answer.json()["detail"]
