"""Bad scenarios are refused with a code and a reason; good ones are read whole."""

from importlib.resources import files

import pytest
from click.testing import CliRunner

from lis.cli.planning import COMMANDS
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

OF_A_LABORATORY = {
    "unknown staff": ('staff = "crew"', 'staff = "crow"', "UNKNOWN_STAFF", "station.opening.staff"),
    "shift overlap": (
        "start = 960, end = 1400",
        "start = 900, end = 1400",
        "SHIFT_OVERLAP",
        "staff.crew.shift",
    ),
    "pool of a mixed tube": (
        'tier = "voluntary"',
        'tier = "voluntary"\nlab_pool = 5',
        "BAD_STREAM",
        "stream.s.lab_pool",
    ),
    "unknown tier": ('tier = "voluntary"', 'tier = "vip"', "UNKNOWN_TIER", "stream.s.tier"),
    "unknown assay": ("daan-2019-ncov", "no-such", "UNKNOWN_RULES", "laboratory.assay"),
    "unknown policy": (
        "[laboratory]\n",
        '[laboratory]\npolicy = "mars"\n',
        "UNKNOWN_RULES",
        "laboratory.policy",
    ),
    "unknown template": (
        "[laboratory]\n",
        '[laboratory]\ntemplate = "97"\n',
        "UNKNOWN_RULES",
        "laboratory.template",
    ),
    "no reading station": ("reads = true", "reads = false", "BAD_LABORATORY", "station"),
    "one name twice": ('name = "pcr"', 'name = "opening"', "BAD_LABORATORY", "station.opening.name"),
    "tube station last": ("reads = true", 'reads = true\nunit = "tube"', "BAD_STATION", "station.pcr.unit"),
    "tubes after the cycler": (
        "[[stream]]",
        '[[station]]\nname = "late"\nunit = "tube"\nservers = 1\nservice = 1\n[[stream]]',
        "BAD_STATION",
        "station.late.unit",
    ),
    "servers and staff": (
        'staff = "crew"',
        'staff = "crew"\nservers = 2',
        "BAD_STATION",
        "station.opening.servers",
    ),
    "neither servers nor staff": ("servers = 2", "", "BAD_STATION", "station.pcr.servers"),
    "negative down": ("reads = true", "reads = true\ndown = -0.1", "BAD_STATION", "station.pcr.down"),
    "plates not a pair": ("reads = true", "reads = true\nplates = 4", "BAD_TYPE", "station.pcr.plates"),
    "plates backwards": (
        "reads = true",
        "reads = true\nplates = [4, 1]",
        "BAD_STATION",
        "station.pcr.plates",
    ),
    "unknown key": ("reads = true", "reads = true\nspeed = 3", "BAD_KEYS", "station.pcr.speed"),
    "service of a text": ("service = 90", 'service = "fast"', "BAD_SERVICE", "station.pcr.service"),
    "unknown service": ('kind = "uniform"', 'kind = "gauss"', "BAD_SERVICE", "station.opening.service.kind"),
    "service key missing": ("low = 10, ", "", "BAD_KEYS", "station.opening.service.low"),
    "service backwards": (
        "low = 10, high = 20",
        "low = 20, high = 10",
        "BAD_SERVICE",
        "station.opening.service.high",
    ),
    "negative service": ("service = 90", "service = -1", "BAD_SERVICE", "station.pcr.service"),
    "absence above one": ('name = "crew"', 'name = "crew"\nabsence = 1.5', "BAD_STAFF", "staff.crew.absence"),
    "show-up above one": ("show_up = 0.9", "show_up = 1.9", "BAD_RECALL", "laboratory.recall.show_up"),
    "no days": ("[laboratory]\n", "[laboratory]\ndays = 0\n", "BAD_LABORATORY", "laboratory.days"),
    "factor below zero": (
        "tubes = 60",
        "tubes = 60\ntubes_by_day = [-1.0]",
        "BAD_STREAM",
        "stream.s.tubes_by_day",
    ),
    "prevalence above one": (
        "tubes = 60",
        "tubes = 60\nprevalence_by_day = [1.1]",
        "BAD_STREAM",
        "stream.s.prevalence_by_day",
    ),
    "bad fill": ("min_fill = 5", "min_fill = 0", "BAD_RULES", "laboratory.fill.min_fill"),
    "bad pool": (
        "[laboratory.fill]",
        "[laboratory.pool]\nsize = 1\n[laboratory.fill]",
        "BAD_RULES",
        "laboratory.pool.size",
    ),
    "shift without end": (", end = 960", "", "BAD_KEYS", "staff.crew.shift.day.end"),
    "a text for a number": ("servers = 2", 'servers = "two"', "BAD_TYPE", "station.pcr.servers"),
    "a number for a text": ('site = "x"', "site = 7", "BAD_TYPE", "stream.s.site"),
    "a broken number of machines": ("servers = 2", "servers = 2.5", "BAD_TYPE", "station.pcr.servers"),
    "true for a number": ("tubes = 60", "tubes = true", "BAD_TYPE", "stream.s.tubes"),
    "a number that is none": (
        "fill = 5",
        "fill = 5\nmax_wait_minutes = nan",
        "BAD_TYPE",
        "laboratory.fill.max_wait_minutes",
    ),
    "a list for a table": ("[laboratory.recall]", "[[laboratory.recall]]", "BAD_TYPE", "laboratory.recall"),
    "negative servers": ("servers = 2", "servers = -2", "BAD_STATION", "station.pcr.servers"),
    "negative minutes of waiting": (
        "reads = true",
        "reads = true\npatience = -5",
        "BAD_STATION",
        "station.pcr.patience",
    ),
    "tubes without a tier": ('tier = "voluntary"\n', "", "BAD_KEYS", "stream.s.tier"),
    "re-collected without a tier": (
        "show_up = 0.9",
        'show_up = 0.9\ntier = "vip"',
        "UNKNOWN_TIER",
        "laboratory.recall.tier",
    ),
    "a target of no hours": (
        "[laboratory]\n",
        "[laboratory]\ntarget_hours = 0\n",
        "BAD_LABORATORY",
        "laboratory.target_hours",
    ),
    "a target above all": (
        "[laboratory]\n",
        "[laboratory]\ntarget_share = 1.5\n",
        "BAD_LABORATORY",
        "laboratory.target_share",
    ),
    "one station only as table": ("[[stream]]", "[stream]", "BAD_TYPE", "stream"),
    "a break outside its shift": (
        "end = 960, people = 2",
        "end = 960, people = 2, breaks = [[400, 500]]",
        "BAD_SHIFT",
        "staff.crew.shift.day.breaks",
    ),
    "a shift of a text": ("people = 2", 'people = "two"', "BAD_TYPE", "staff.crew.shift.day.people"),
    "unknown ending": ('name = "crew"', 'name = "crew"\nending = "stop"', "BAD_ROTA", "staff.crew.ending"),
    "a station without a name": ('name = "pcr"\n', "", "BAD_KEYS", "station[3].name"),
    "past arrivals of no file": (
        "tubes = 60",
        'tubes = 60\narrival = { shape = "past", file = "gone.csv" }',
        "NO_FILE",
        "stream.s.arrival.file",
    ),
    "waves without minutes": (
        "tubes = 60",
        'tubes = 60\narrival = { shape = "waves", weights = [1] }',
        "BAD_ARRIVAL",
        "stream.s.arrival.minutes",
    ),
    "no room for the machines": ("servers = 2", "servers = 2\nmost = 1", "BAD_STATION", "station.pcr.most"),
    "negative cost": ('name = "crew"', 'name = "crew"\ncost = -1', "BAD_STAFF", "staff.crew.cost"),
    "a misspelt key": ("servers = 2", "server = 2", "BAD_KEYS", "station.pcr.server"),
}
OF_A_CHAIN = {
    "unknown station": (
        "servers = 1",
        "servers = 1\nthen = { b = 0.1 }",
        "UNKNOWN_STATION",
        "engine.chain.a.then.b",
    ),
    "shares above one": (
        "servers = 1",
        "servers = 1\nthen = { a = 0.6, out = 0.6 }",
        "BAD_STATION",
        "engine.chain.a.then",
    ),
    "negative rate": ("rate = 1.0", "rate = -1.0", "NEGATIVE_RATE", "engine.arrivals.rate"),
    "unknown arrivals": ('"poisson"', '"sometimes"', "BAD_ARRIVAL", "engine.arrivals"),
    "no servers": ("servers = 1", "servers = 0", "BAD_STATION", "engine.chain.a.servers"),
    "batch backwards": ("servers = 1", "servers = 1\nbatch = [5, 2]", "BAD_STATION", "engine.chain.a.batch"),
    "station called out": ('name = "a"', 'name = "out"', "BAD_CHAIN", "engine.chain"),
    "warm-up of everything": ("items = 10", "items = 10\nwarmup = 10", "BAD_CHAIN", "engine.warmup"),
    "unknown engine key": ("items = 10", "items = 10\nspeed = 1", "BAD_KEYS", "engine.speed"),
    "unknown chain key": ("servers = 1", "servers = 1\nspeed = 1", "BAD_KEYS", "engine.chain.a.speed"),
    "a text for items": ("items = 10", 'items = "ten"', "BAD_TYPE", "engine.items"),
    "negative rate of a shift": ("rate = 1.0", 'rate = "fast"', "BAD_TYPE", "engine.arrivals.rate"),
}
WRONG = {name: (BASE, *facts) for name, facts in OF_A_LABORATORY.items()} | {
    name: (CHAIN, *facts) for name, facts in OF_A_CHAIN.items()
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_scenarios_are_refused(case):
    """Each fault is named by its code, by the path of its key and by what to write, before anything runs."""
    text, old, new, code, key = WRONG[case]
    assert old in text
    with pytest.raises(ScenarioError) as error:
        Scenario.from_toml(text.replace(old, new, 1))
    assert (error.value.code, error.value.key) == (code, key)
    assert str(error.value).startswith(f"{key}: ")
    assert len(error.value.reason) > 10
    assert len(error.value.zh) > 5
    assert error.value.zh.endswith(("。", "？"))


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
    options = ["--target-hours", "9", "--replications", "2", "--workers", "1"]
    document = runner.invoke(COMMANDS["plan"], [str(path), *options, "--json"])
    assert document.exit_code == 0
    assert '"feasible": true' in document.stdout
    table = runner.invoke(COMMANDS["plan"], [str(path), *options])
    assert "limited by" in table.stdout
    path.write_text(BASE.replace("reads = true", "reads = true\nmost = 2"))
    impossible = runner.invoke(COMMANDS["plan"], [str(path), "--target-hours", "1", *options[2:]])
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
