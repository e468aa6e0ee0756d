"""Bad scenarios are refused with a code and a reason; good ones are read whole."""

from importlib.resources import files

import pytest
from click.testing import CliRunner

from lis.cli.planning import COMMANDS
from pooling import PoolDesignError
from retest import RulesError
from scheduler import ScheduleError
from sim import Scenario, ScenarioError, load, shipped_scenarios, simulate

BASE = """
name = "small"
[viral]
name = "v"
quantiles = [[0.0, 15.0], [1.0, 35.0]]
[laboratory]
assay = "daan-2019-ncov"
[laboratory.fill]
min_fill = 5
[laboratory.recall]
show_up = 0.9
[[staff]]
name = "crew"
shift = [
    { name = "day", start = 480, end = 960, people = 2 },
    { name = "late", start = 960, end = 1400, people = 1 },
]
[[station]]
name = "reception"
unit = "tube"
servers = 1
service = 0.2
[[station]]
name = "opening"
staff = "crew"
service = { kind = "uniform", low = 10, high = 20 }
[[station]]
name = "pcr"
servers = 2
reads = true
service = 90
[[stream]]
name = "s"
mode = "mixed"
places = 10
tier = "voluntary"
site = "x"
start = 500
end = 900
tubes = 60
prevalence_start = 0.01
prevalence_end = 0.01
"""
CHAIN = """
name = "chain"
[engine]
items = 10
arrivals = { kind = "poisson", rate = 1.0 }
[[engine.chain]]
name = "a"
servers = 1
service = { kind = "exponential", mean = 1.0 }
"""

WRONG = {
    "unknown staff": (BASE, 'staff = "crew"', 'staff = "crow"', "UNKNOWN_STAFF"),
    "shift overlap": (BASE, "start = 960, end = 1400", "start = 900, end = 1400", "SHIFT_OVERLAP"),
    "pool of a mixed tube": (BASE, 'tier = "voluntary"', 'tier = "voluntary"\nlab_pool = 5', "BAD_STREAM"),
    "unknown tier": (BASE, 'tier = "voluntary"', 'tier = "vip"', "UNKNOWN_TIER"),
    "unknown assay": (BASE, "daan-2019-ncov", "no-such", "UNKNOWN_RULES"),
    "unknown policy": (BASE, "[laboratory]\n", '[laboratory]\npolicy = "mars"\n', "UNKNOWN_RULES"),
    "unknown template": (BASE, "[laboratory]\n", '[laboratory]\ntemplate = "97"\n', "UNKNOWN_RULES"),
    "no reading station": (BASE, "reads = true", "reads = false", "BAD_LABORATORY"),
    "one name twice": (BASE, 'name = "pcr"', 'name = "opening"', "BAD_LABORATORY"),
    "tube station last": (BASE, "reads = true", 'reads = true\nunit = "tube"', "BAD_LABORATORY"),
    "tubes after the cycler": (
        BASE + '[[station]]\nname = "late"\nunit = "tube"\nservers = 1\nservice = 1\n',
        "",
        "",
        "BAD_STATION",
    ),
    "servers and staff": (BASE, 'staff = "crew"', 'staff = "crew"\nservers = 2', "BAD_STATION"),
    "neither servers nor staff": (BASE, "servers = 2", "", "BAD_STATION"),
    "negative down": (BASE, "reads = true", "reads = true\ndown = -0.1", "BAD_STATION"),
    "plates not a pair": (BASE, "reads = true", "reads = true\nplates = 4", "BAD_STATION"),
    "plates backwards": (BASE, "reads = true", "reads = true\nplates = [4, 1]", "BAD_STATION"),
    "unknown key": (BASE, "reads = true", "reads = true\nspeed = 3", "BAD_KEYS"),
    "service of a text": (BASE, "service = 90", 'service = "fast"', "BAD_SERVICE"),
    "unknown service": (BASE, 'kind = "uniform"', 'kind = "gauss"', "BAD_SERVICE"),
    "service key missing": (BASE, "low = 10, ", "", "BAD_KEYS"),
    "service backwards": (BASE, "low = 10, high = 20", "low = 20, high = 10", "BAD_SERVICE"),
    "negative service": (BASE, "service = 90", "service = -1", "BAD_SERVICE"),
    "absence above one": (BASE, 'name = "crew"', 'name = "crew"\nabsence = 1.5', "BAD_STAFF"),
    "show-up above one": (BASE, "show_up = 0.9", "show_up = 1.9", "BAD_RECALL"),
    "no days": (BASE, "[laboratory]\n", "[laboratory]\ndays = 0\n", "BAD_LABORATORY"),
    "factor below zero": (BASE, "tubes = 60", "tubes = 60\ntubes_by_day = [-1.0]", "BAD_STREAM"),
    "prevalence above one": (BASE, "tubes = 60", "tubes = 60\nprevalence_by_day = [1.1]", "BAD_STREAM"),
    "bad fill": (BASE, "min_fill = 5", "min_fill = 0", "BAD_RULES"),
    "bad pool": (BASE, "[laboratory.fill]", "[laboratory.pool]\nsize = 1\n[laboratory.fill]", "BAD_RULES"),
    "shift without end": (BASE, ", end = 960", "", "BAD_KEYS"),
    "unknown station": (CHAIN, "servers = 1", "servers = 1\nthen = { b = 0.1 }", "UNKNOWN_STATION"),
    "shares above one": (CHAIN, "servers = 1", "servers = 1\nthen = { a = 0.6, out = 0.6 }", "BAD_STATION"),
    "negative rate": (CHAIN, "rate = 1.0", "rate = -1.0", "NEGATIVE_RATE"),
    "unknown arrivals": (CHAIN, '"poisson"', '"sometimes"', "BAD_ARRIVAL"),
    "no servers": (CHAIN, "servers = 1", "servers = 0", "BAD_STATION"),
    "batch backwards": (CHAIN, "servers = 1", "servers = 1\nbatch = [5, 2]", "BAD_STATION"),
    "station called out": (CHAIN, 'name = "a"', 'name = "out"', "BAD_CHAIN"),
    "warm-up of everything": (CHAIN, "items = 10", "items = 10\nwarmup = 10", "BAD_CHAIN"),
    "unknown engine key": (CHAIN, "items = 10", "items = 10\nspeed = 1", "BAD_KEYS"),
    "unknown chain key": (CHAIN, "servers = 1", "servers = 1\nspeed = 1", "BAD_KEYS"),
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_scenarios_are_refused(case):
    """Each fault is named by its code, with a sentence, before anything is simulated for long."""
    text, old, new, code = WRONG[case]
    assert old in text
    with pytest.raises((ScenarioError, ScheduleError, RulesError, PoolDesignError)) as error:
        simulate(Scenario.from_toml(text.replace(old, new, 1)), 1)
    assert error.value.code == code
    assert len(str(error.value)) > 10


def test_the_small_laboratory_runs():
    """The text all faults are planted in is itself good, also with every optional table."""
    assert simulate(Scenario.from_toml(BASE), 1).counts["scheduled"] == 60
    more = BASE.replace(
        "[laboratory.fill]",
        "[laboratory.pool]\nsize = 4\nmin_n = 2\nmax_wait = 30\nlead = 400\n"
        'excluded_tiers = ["fever"]\n[laboratory.fill]',
    ).replace("show_up = 0.9", 'show_up = 0.9\ndelay = { kind = "observed", values = [60.0, 90.0] }')
    lab = Scenario.from_toml(more.replace("reads = true", "reads = true\nplates = [1, 2]")).laboratory
    assert lab.pool.size == 4
    assert lab.stations[2].plates == (1, 2)


@pytest.mark.parametrize(
    "draws",
    [
        7,
        {"arrivals": [1.0, float("nan")]},
        {"arrivals": [-1.0]},
        {"b": [1.0]},
        {"a": [-1.0] * 10},
        {"a": [1.0]},
        {"service": {"a": [1.0]}},
    ],
    ids=str,
)
def test_bad_draws_are_refused(draws):
    """Draws that are no mapping, not finite, negative, too few, or for an unknown station."""
    with pytest.raises(ScenarioError) as error:
        simulate(Scenario.from_toml(CHAIN), 1, draws)
    assert error.value.code in {"BAD_DRAWS", "UNKNOWN_STATION", "DRAWS_SHORT"}


def test_draws_of_a_chain_in_both_spellings():
    """Given numbers under `service` or beside `arrivals` give the times they must: 1, 2 and 3 minutes."""
    scenario = Scenario.from_toml(CHAIN)
    for draws in (
        {"arrivals": [0, 0, 0], "service": {"a": [1, 1, 1]}},
        {"arrivals": [0, 0, 0], "a": [1, 1, 1]},
    ):
        assert simulate(scenario, 1, draws).turnaround.tolist() == [1.0, 2.0, 3.0]
    late_first = simulate(scenario, 1, {"arrivals": [10.0, 0.0], "a": [4.0, 5.0]})
    assert late_first.turnaround.tolist() == [5.0, 4.0]


def test_arrivals_of_a_chain():
    """Evenly spaced, at once and given arrivals are what they say."""
    for kind, times in (
        ('"every", minutes = 2.0', [0, 2, 4]),
        ('"given", times = [1.0, 3.0, 3.5]', [1, 3, 3.5]),
    ):
        text = CHAIN.replace("items = 10", "items = 3").replace('"poisson", rate = 1.0', kind)
        assert simulate(Scenario.from_toml(text), 1).arrived.tolist() == times


def test_the_command_simulates_a_chain(tmp_path):
    """`lis simulate FILE --json` prints one document; without --json a table for people."""
    path = tmp_path / "chain.toml"
    path.write_text(CHAIN)
    runner = CliRunner()
    found = runner.invoke(
        COMMANDS["simulate"], [str(path), "--replications", "2", "--workers", "1", "--json"]
    )
    assert found.exit_code == 0
    assert '"scenario": "chain"' in found.stdout
    small = tmp_path / "small.toml"
    small.write_text(BASE)
    table = runner.invoke(COMMANDS["simulate"], [str(small), "--replications", "1", "--workers", "1"])
    assert table.exit_code == 0
    assert "voluntary mixed" in table.stdout


def test_the_command_plans(tmp_path):
    """`lis plan` prints the levels and the proof, as a document and as a table, and says what cannot be."""
    path = tmp_path / "small.toml"
    path.write_text(BASE)
    runner = CliRunner()
    options = ["--target-hours", "9", "--replications", "2"]
    document = runner.invoke(COMMANDS["plan"], [str(path), *options, "--json"])
    assert document.exit_code == 0
    assert '"feasible": true' in document.stdout
    table = runner.invoke(COMMANDS["plan"], [str(path), *options])
    assert "limited by" in table.stdout
    path.write_text(BASE.replace("reads = true", "reads = true\nmost = 2"))
    impossible = runner.invoke(COMMANDS["plan"], [str(path), "--target-hours", "1", "--replications", "2"])
    assert "cannot be met" in impossible.stdout


def test_every_shipped_scenario_is_whole():
    """All shipped files load; the demonstration day has no laboratory, the four studies have one."""
    names = shipped_scenarios()
    assert {"demo-day", "fever-clinic", "jiangmen-2022-12", "yangzhou-2021-08", "zhengzhou-2022-01"} <= set(
        names
    )
    for name in names:
        assert load(name).name == name
        assert files("sim").joinpath(f"scenarios/{name}.toml").is_file()
