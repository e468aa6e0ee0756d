"""Refusals of scenarios, duty plans and studies: the same thing is said in English and in Chinese."""

import ast
import pickle
import re
from dataclasses import fields, replace
from pathlib import Path
from string import Formatter

import numpy as np
import pytest
from test_sim_spec import BASE, CHAIN

import lis
import pooling
import scheduler
import sim
from pooling import PoolRules
from retest import AssayRules
from scheduler import FillRules, Rota, Shift
from sim import Scenario, ScenarioError, load, plan, replicate, shipped_scenarios, simulate
from sim.arrivals import SHAPES, Arrival
from sim.chain import ARRIVALS, Chain, Link
from sim.dutyplan import WEEK, plan_from_toml
from sim.faults import _TOML, _faults
from sim.fifo import fifo_rostered
from sim.forecast import forecast
from sim.html import page
from sim.refusal import within
from sim.rota import Search, propose
from sim.scenario import MODES, Chemistry, Injections, Quantiles, Stream
from sim.service import NEEDS, Service
from sim.spec import Laboratory, Recall, Staff
from sim.stations import Bench, Outage
from sim.warmup import alike

PACKAGES = [Path(one.__file__).parent for one in (sim, lis)]
PROGRAMMERS = {"BAD_DRAWS", "DRAWS_SHORT", "BAD_STATE", "BAD_MODEL", "BAD_COURSE"}
"""Refusals of arrays and models that a program hands over; nobody writes those."""

RULES_OF_FILES = {
    *("NAIVE_TIME", "BAD_STEP", "BAD_PERSONS", "BAD_COUNT", "BAD_WELL"),
    *("BAD_TEMPLATE", "BAD_TIER", "BAD_TOML", "BAD_KIND"),
}
"""Refusals of the scheduler and of pooling that no key of a scenario can cause."""

PARTS = (Arrival, Bench, Chain, Chemistry, FillRules, Injections, Laboratory, Link, Outage, PoolRules)
PARTS += (Quantiles, Recall, Rota, Service, Shift, Staff, Stream)
KEYS = {field.name for part in PARTS for field in fields(part)}
KINDS = {
    *SHAPES,
    *NEEDS,
    *MODES,
    *ARRIVALS,
    *WEEK,
    "direct",
    "events",
    "tube",
    "plate",
    "column",
    "row",
    "separate",
}
NAMES = {
    "TOML",
    "UTF",
    "Ct",
    "NTC",
    "PC",
    "Dask",
    "staff",
    "station",
    "laboratory",
    "stream",
    "shift",
    "file",
    "at",
}
NAMES |= {
    "minute",
    "out",
    "true",
    "false",
    "pcr",
    *["lis", "device", "add", "pip", "install", "nat", "cluster", "workers"],
}
CHOICES = re.compile("(?:可用|可用的键|之一|现有)：[^。；]*")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
WORD = re.compile("[A-Za-z]{2,}")


def english(chinese: str, text: str = "") -> set[str]:
    """Words of a Chinese sentence that are no key, no kind, nothing to choose from and nothing that was written."""
    known = {word for one in (*KEYS, *KINDS, *NAMES, text) for word in WORD.findall(one)}
    return set(WORD.findall(CHOICES.sub("", chinese))) - known


def calls(folder: Path, names: set[str]) -> list[tuple[str, ast.Call]]:
    """Where functions of these names are called, and how."""
    found = []
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text("utf-8")
        if not any(f"{name}(" in text for name in names):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names:
                found.append((f"{path.parent.name}/{path.name}:{node.lineno}", node))
    return found


def test_both_languages_have_the_same_blanks():
    """Every sentence says the same values in both languages, and the Chinese one has no English words."""
    blanks = {
        name: [{part[1] for part in Formatter().parse(one) if part[1] is not None} for one in pair]
        for name, pair in _faults().items()
    }
    assert len(blanks) > 100
    assert [name for name, (first, second) in blanks.items() if first != second] == []
    words = {name: english(re.sub(r"\{\w+(!r)?\}", "", zh)) for name, (_, zh) in _faults().items()}
    assert {name: found for name, found in words.items() if found} == {}


def test_every_sentence_is_used_with_its_blanks():
    """No call names a sentence that is not there or leaves a blank open, and no sentence stands unused."""
    used = set()
    for place, call in [one for folder in PACKAGES for one in calls(folder, {"phrase"})]:
        name = call.args[0]
        if isinstance(name, ast.JoinedStr):  # the types of values: `want-int` and so on
            used |= {one for one in _faults() if re.fullmatch(r"want-[a-z]+", one)}
            continue
        assert isinstance(name, ast.Constant), place
        wanted = {part[1] for part in Formatter().parse(_faults()[name.value][0]) if part[1] is not None}
        assert {word.arg for word in call.keywords} == wanted, place
        used.add(name.value)
    assert set(_faults()) - used == set()


def test_no_refusal_of_what_people_write_is_english_alone():
    """A refusal without Chinese is one of a program's arrays, or of rule files nobody writes in a scenario."""
    silent = {
        place: call.args[0].value
        for folder in PACKAGES
        for place, call in calls(folder, {"ScenarioError"})
        if len(call.args) < 4
    }
    assert set(silent.values()) == PROGRAMMERS, silent
    packages = [Path(one.__file__).parent for one in (scheduler, pooling)]
    rules = [one for folder in packages for one in calls(folder, {"ScheduleError", "PoolDesignError"})]
    spoken = [place for place, call in rules if len(call.args) == 3]
    mute = {
        place: call.args[0].value
        for place, call in rules
        if len(call.args) < 3 and place.startswith(("scheduler/", "pooling/form."))
    }
    assert len(spoken) == 17, spoken
    assert set(mute.values()) <= RULES_OF_FILES, mute


def of(text: str, *changes: tuple[str, str]) -> str:
    """A text with what is to be changed in it changed."""
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return text


LAB = "[laboratory]\n"
TUBES = "tubes = 60"
READS = "reads = true"
CREW = 'name = "crew"'
QUANTILES = "[[0.0, 15.0], [1.0, 35.0]]"
CHANGED = [
    *((QUANTILES, new) for new in ("3", "[[0.0, 15.0], [1.0, 5.0]]", "[[0.1, 15.0], [1.0, 35.0]]")),
    ('name = "v"', 'name = "v"\nceiling = 3'),
    *(("places = 10", new) for new in ("places = 7", "places = 1")),
    ("start = 500", "start = -5"),
    ("end = 900", "end = 90"),
    ('mode = "mixed"', 'mode = "x"'),
    (TUBES, "tubes = -60"),
    *((TUBES, f"{TUBES}\n{new}") for new in ("fill = 3", "delay = -3", "arrival = { shape = 'x' }")),
    *((TUBES, f"{TUBES}\narrival = {{ {new} }}") for new in ("shape = 'past'", "shape = 'curve'")),
    *((TUBES, f"{TUBES}\narrival = {{ {new} }}") for new in ("spread = -1", "weights = [-1]")),
    (TUBES, f"{TUBES}\narrival = {{ shape = 'past', minutes = [1500] }}"),
    ('mode = "mixed"\nplaces = 10', 'mode = "single"\nplaces = 1\nlab_pool = 1'),
    *((LAB, LAB + new) for new in ("continuing = true\n", "invalid = 1\n", "pool_every = 0\n")),
    *((LAB, LAB + new) for new in ("volume_spread = 2\n", 'policy = "release"\n')),
    *(("min_fill = 5", new) for new in ("order = 'z'", "steps = 'z'", "policy = 'z'", "waves = [3.0]")),
    ("min_fill = 5", "late_weight = -1"),
    ("[laboratory.fill]", "[laboratory.pool]\nmax_wait = -1\n[laboratory.fill]"),
    ("show_up = 0.9", "desks = 0"),
    ("people = 2", "people = -2"),
    ("start = 480", "start = 1480"),
    ('name = "late"', 'name = "day"'),
    *((CREW, f"{CREW}\n{new}") for new in ("spell = -1", "present = [2.0]")),
    *(
        ("service = 90", f"service = {{ kind = {new} }}")
        for new in (
            "'lognormal', mean = 0, sd = 1",
            "'triangular', low = 3, mode = 1, high = 3",
            "'erlang', mean = 3, phases = 0",
            "'observed', values = []",
            "'fixed', mean = -1",
        )
    ),
    *((READS, f"{READS}\nout = [{{ {new} }}]") for new in ("start = -1, end = 3", "start = 1, end = 0")),
    (READS, f"{READS}\nout = [{{ start = 1, end = 3, machines = 9 }}]"),
    *((READS, f"{READS}\n{new}") for new in ("unit = 'x'", "repair = -1")),
    ('unit = "tube"', 'unit = "plate"'),
    *(("[laboratory.fill]", f"{new}\n[laboratory.fill]") for new in ("[chemistry]\nnoise = -1",)),
    *(("[viral]", f"[chemistry]\n{new}\n[viral]") for new in ("control_ceiling = 1", "mixing = { 1 = 2.0 }")),
    *(("[viral]", f"[chemistry]\n{new}\n[viral]") for new in ("mixing = { a = 2.0 }", "control_targets = 3")),
    *(("[viral]", f"[injections]\n{new}\n[viral]") for new in ("borderline = -1", "invalid = 1")),
    *(("[viral]", f"[injections]\n{new}\n[viral]") for new in ("grey = [3.0]", "failure = 'X'")),
    ("[viral]", "[injections]\nfailed_control_plates = 100\n[viral]"),
    ('name = "s"\n', 'name = "s"\nname = "t"\n'),
    ("places = 10", "places 10"),
    ("places = 10", "places = ten"),
    ("[viral]", "[viral"),
    ("[viral]", "viral]"),
]
OF_A_CHAIN = [
    ("items = 10", "items = 0"),
    ("items = 10", "items = 10\nsolve = 'x'"),
    ("items = 10", "items = 10\ncontinuing = true\nwarmup = 2"),
    ("servers = 1", "batch = [1]"),
    ("servers = 1", "shift = [{ start = 1, end = 2, people = 1, breaks = [1] }]"),
]
DUTY = """from = 2026-01-01
[[shift]]
role = "prepare"
name = "day"
start = "08:00"
end = "16:00"
people = 2
"""
OF_A_PLAN = [
    ('"prepare"', '"z"'),
    ('"day"', '""'),
    ("people = 2", "people = -2"),
    ("people = 2", "people = 2\nspell = -1"),
    ('"08:00"', "8"),
    ("2026-01-01", '"a"'),
    ("people = 2", 'people = 2\ndays = ["x"]'),
    ("people = 2", "people = 2\nbreaks = [1]"),
    ("people = 2\n", 'people = 2\n[[machine]]\nname = "a"\nkind = "x"\n'),
    ("people = 2\n", 'people = 2\n[[machine]]\nname = "a"\nkind = "cabinet"\n' * 2),
    (
        "people = 2\n",
        'people = 2\n[[exception]]\ndate = 2026-01-02\nrole = "prepare"\nshift = "x"\npeople = 1\n',
    ),
    (DUTY, DUTY + DUTY.partition("\n")[2]),
    (DUTY, "from = 2026-01-01\nshift = []\n"),
    ("people = 2", "people"),
]


@pytest.mark.parametrize(
    ("read", "text", "changes"),
    [
        (Scenario.from_toml, BASE, CHANGED),
        (Scenario.from_toml, CHAIN, OF_A_CHAIN),
        (plan_from_toml, DUTY, OF_A_PLAN),
    ],
    ids=["laboratory", "chain", "duty"],
)
def test_what_is_written_wrong_is_told_in_both_languages(read, text, changes):
    """Each fault has a Chinese sentence without English, and the numbers of the English one stand in it."""
    read(text)
    for old, new in changes:
        wrong = of(text, (old, new))
        with pytest.raises(ScenarioError) as error:
            read(wrong)
        found = error.value
        assert re.search(r"[\u4e00-\u9fff]", found.zh), found
        assert found.zh.endswith(("。", "？"))
        assert english(found.zh, wrong) == set(), found.zh
        assert set(NUMBER.findall(found.reason)) <= set(NUMBER.findall(found.zh)), found


def test_the_line_of_a_file_that_is_no_toml_is_told():
    """The Chinese names line, column and kind of fault for whatever the reader finds; the English is its own."""
    found = {}
    for text in (
        "a",
        "a = 1\nb =",
        "a = 1\na = 2\n",
        "[a]\n[a]\n",
        'a = "x',
        "a = [1",
        "a = { b = 1",
        "a = 01",
    ):
        with pytest.raises(ScenarioError) as error:
            Scenario.from_toml(text)
        found[text] = error.value.zh
    assert found["[a]\n[a]\n"] == "情景不是有效的 TOML：第 2 行第 3 列，此键或表写了两次。"
    assert found["a = [1"] == "情景不是有效的 TOML：文件末尾，方括号没有闭合。"
    assert found["a = 01"].startswith("情景不是有效的 TOML：第 1 行第 6 列，值后有多余内容")
    assert {zh.rpartition("，")[2] for zh in found.values()} <= {f"{one}。" for one in _TOML.values()} | {
        "或值的写法不对。",
        "文字须加引号。",
    }


def endless(text: str) -> Scenario:
    """A scenario whose work nobody ever ends."""
    return Scenario.from_toml(of(text, ("people = 2", "people = 0"), ("people = 1", "people = 0")))


ASKED = {
    "study": lambda small, _: replicate(small, 0, 1),
    "forecast": lambda small, _: forecast(None, None, replications=0),
    "page": lambda small, _: page([]),
    "target": lambda small, _: plan(small, 0.0),
    "rota": lambda small, _: Search(workdays=9),
    "staff of a rota": lambda small, _: propose(small, "crow"),
    "rota without staff": lambda _, chain: propose(chain),
    "plan without stations": lambda _, chain: plan(chain),
    "day without stations": lambda small, _: simulate("demo-day", 1),
    "no such scenario": lambda small, _: load("no-such"),
    "no such file": lambda small, _: load("no-such.toml"),
    "nobody works": lambda small, _: simulate(endless(BASE), 1),
    "nobody on duty": lambda small, _: fifo_rostered(np.zeros(1), np.ones(1), [[]]),
    "unknown draws": lambda _, chain: simulate(chain, 1, {"b": [1.0]}),
    "days that differ": lambda small, _: alike([lasting(small, 20)]),
}


def lasting(scenario: Scenario, days: int) -> Scenario:
    """A laboratory of thirty days that goes on, and is said to have settled after so many."""
    lab = replace(scenario.laboratory, days=30, continuing=True)
    return replace(scenario, laboratory=lab, warm_up_days=days)


@pytest.mark.parametrize("asked", ASKED)
def test_what_cannot_be_played_is_told_in_both_languages(asked):
    """What is asked of a study, a plan or a rota, and what only playing shows, has Chinese words as well."""
    small, chain = Scenario.from_toml(BASE), Scenario.from_toml(CHAIN)
    with pytest.raises(ScenarioError) as error:
        ASKED[asked](small, chain)
    found = error.value
    assert len(found.reason) > 10
    assert re.search(r"[\u4e00-\u9fff]", found.zh), found
    assert (
        english(found.zh, BASE + CHAIN + "demo-day no-such.toml crow " + " ".join(shipped_scenarios()))
        == set()
    )


def test_a_refusal_comes_back_whole_from_another_process():
    """Code, key and the sentences of both languages survive the way from a worker."""
    with pytest.raises(ScenarioError) as error:
        Scenario.from_toml(of(BASE, ("servers = 2", "servers = -2")))
    back = pickle.loads(pickle.dumps(error.value))  # noqa: S301 - what this test has written itself
    assert (back.code, back.key, back.reason, back.zh) == (
        "BAD_STATION",
        "station.pcr.servers",
        "this is -2; write 1 or more, or name `staff` instead.",
        "现为 -2，须不小于 1，或改写 `staff`。",
    )


def test_a_broken_rule_file_is_named_in_both_languages():
    """A rule file that comes with the program and is wrong is told by its name, place and code."""
    with pytest.raises(ScenarioError) as error, within("laboratory.assay"):
        AssayRules.from_toml("id = 3", "own")
    found = error.value
    assert found.key == "laboratory.assay"
    assert found.zh.startswith("规则文件 own, line 1")
    assert f"（{found.code}）" in found.zh
