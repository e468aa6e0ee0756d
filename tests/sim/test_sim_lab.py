"""A laboratory in the simulator: no tube lost, policies asked, same seed same report."""

from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest

from retest import Call, Conclude, Material
from retest.load import Rates, expected_load
from scheduler import Rota, Shift
from sim import ScenarioError, load, shipped_scenarios, simulate
from sim.run import scaled
from sim.service import Service, Times
from sim.spec import Staff
from sim.specimens import Reader
from sim.stations import Bench
from sim.statistics import interval
from sim.verdicts import Verdicts

FEVER = load("fever-clinic")
YANGZHOU = load("yangzhou-2021-08")
JIANGMEN = load("jiangmen-2022-12")


def changed(scenario, **more):
    """The scenario with other facts of its laboratory."""
    return replace(scenario, laboratory=replace(scenario.laboratory, **more))


def machines(scenario, name, **more):
    """The scenario with other facts of one station."""
    stations = tuple(replace(b, **more) if b.name == name else b for b in scenario.laboratory.stations)
    return changed(scenario, stations=stations)


SMALL = scaled(changed(YANGZHOU, control_failure=0.0, volume_spread=0.0), 0.1)


def test_the_same_seed_gives_the_same_report():
    """Every turnaround and every count is the same again; another seed or replication gives another."""
    fever = scaled(changed(FEVER, days=1), 0.3)
    one, again = simulate(fever, 3), simulate(fever, 3)
    assert np.array_equal(one.turnaround, again.turnaround)
    assert one.counts == again.counts
    assert not np.array_equal(one.turnaround, simulate(fever, 4).turnaround)
    assert not np.array_equal(one.arrived, simulate(fever, 3, replication=1).arrived)


@pytest.mark.parametrize("name", ["fever-clinic", "yangzhou-2021-08", "jiangmen-2022-12"])
def test_no_tube_is_lost(name):
    """Every tube is reported or called back, once; every called-back person comes or is counted missing."""
    report = simulate(name, 5)
    assert not np.isnan(report.turnaround).any()
    assert (report.turnaround > 0).all()
    assert np.array_equal(report.arrived, np.sort(report.arrived))
    counts = report.counts
    assert report.turnaround.size == counts["scheduled"] + counts.get("recollections", 0)
    called = report.persons[~report.reported].sum()
    assert called == counts.get("recollections", 0) + counts.get("no_shows", 0)
    assert report.stations["pcr"].started.size == counts["plates"] + counts.get("lost_runs", 0)
    room = 93 if name != "yangzhou-2021-08" else 94
    assert counts["tests"] == counts["plates"] * room - counts["wells_empty"]


def test_a_wider_laboratory_changes_no_chance():
    """With another cycler tubes arrive, are infected and are read as before; only waiting changes."""
    more = machines(JIANGMEN, "pcr", servers=20)
    a, b = (simulate(scaled(s, 0.3), 2, record=True) for s in (JIANGMEN, more))
    first = [{(d[1], d[2], d[3]) for d in r.decisions if d[2] == "first"} for r in (a, b)]
    scheduled = a.counts["scheduled"]
    assert {d for d in first[0] if 0 <= d[0] < scheduled} == {d for d in first[1] if 0 <= d[0] < scheduled}
    assert sorted(a.stations["reception"].started) == sorted(b.stations["reception"].started)
    for name in ("opening", "extraction", "pcr"):
        work = [r.stations[name].ended - r.stations[name].begun for r in (a, b)]
        count = min(one.size for one in work)
        assert count > 50
        assert np.allclose(work[0][:count], work[1][:count])


def test_more_machines_at_the_bottleneck_never_hurt():
    """Under the same luck, turnaround falls with every cycler added while cyclers are short."""
    hours = [
        simulate(machines(YANGZHOU, "pcr", servers=n, down=0.0, failure=0.0), 1).hours.mean()
        for n in (5, 7, 9, 12)
    ]
    assert hours == sorted(hours, reverse=True)


def test_first_tests_follow_the_infection():
    """Without dropout and noise every infected tube is called back and nobody else."""
    clear = replace(SMALL.chemistry, noise=0.0, extraction_noise=0.0)
    viral = replace(SMALL.viral, ceiling=30.0)
    streams = tuple(replace(s, prevalence_start=0.01, prevalence_end=0.01) for s in SMALL.streams)
    scenario = replace(SMALL, chemistry=clear, viral=viral, streams=streams)
    scenario = changed(scenario, invalid=0.0)
    report = simulate(scenario, 1, record=True)
    called = (~report.reported).sum()
    decided = [d for d in report.decisions if d[4] == "Recollect"]
    assert called == len(decided) > 50
    infected_share = 1 - 0.99**9.73
    assert called / report.counts["scheduled"] == pytest.approx(infected_share, rel=0.2)


def test_retest_load_equals_its_closed_form():
    """Invalid first extractions of mixed tubes are extracted again once: tests = tubes x (1 + invalid)."""
    streams = tuple(replace(s, prevalence_start=0.0, prevalence_end=0.0, tubes=20_000) for s in SMALL.streams)
    scenario = changed(replace(SMALL, streams=streams), invalid=0.05)
    scenario = machines(scenario, "pcr", failure=0.0)
    report = simulate(scenario, 7)
    retests = report.counts["retests"]["mixed-invalid-repeat"]
    every = sum(report.counts["retests"].values()) + report.counts.get("recollections", 0)
    assert report.counts["tests"] == 20_000 + every
    assert retests == pytest.approx(1000, abs=4 * np.sqrt(20_000 * 0.05 * 0.95))


def only_clear(mode, places, tubes, prevalence, **more):
    """A day of one stream whose infected persons all have plenty of virus, in a laboratory that is large enough."""
    source = replace(
        SMALL.streams[0], mode=mode, places=places, fill=1.0, tubes=tubes, prevalence_by_day=(prevalence,)
    )
    chemistry = replace(SMALL.chemistry, mixing=dict.fromkeys(SMALL.chemistry.mixing, 0.0))
    base = replace(SMALL, streams=(source,), viral=replace(SMALL.viral, ceiling=25.0), chemistry=chemistry)
    stations = tuple(replace(b, failure=0.0, down=0.0) for b in base.laboratory.stations)
    recall = replace(base.laboratory.recall, show_up=1.0)
    return changed(base, stations=stations, recall=recall, **more)


@pytest.mark.parametrize(
    ("places", "tubes", "prevalence", "invalid", "failed"),
    [(1, 8_000, 0.0, 0.05, 0.0), (1, 20_000, 0.0, 0.02, 0.005), (10, 150, 0.5, 0.02, 0.0)],
)
def test_retest_load_equals_the_closed_forms(places, tubes, prevalence, invalid, failed):
    """Wells a person by `retest.expected_load` lie in the 99 % interval, whose half-width is at most 1 %."""
    scenario = only_clear(
        "single" if places == 1 else "mixed",
        places,
        tubes,
        prevalence,
        invalid=invalid,
        control_failure=failed,
    )
    rates = Rates(0.0, 0.0, invalid, 0.0, failed, grey_repeats=0.0, confirmations=0.0)
    exact = float(expected_load(prevalence, places, rates).wells_per_person)
    runs = [simulate(scenario, 5, replication=n).counts for n in range(6)]
    _, low, high = interval([counts["tests"] / counts["first_persons"] for counts in runs], 0.99)
    assert low <= exact <= high
    assert (high - low) / 2 <= 0.01 * exact


def test_pools_save_tests_and_lose_nobody():
    """Pools of five at 0.5 % take about 1/5 + (1 - 0.995^5) tests a tube, and every tube is reported."""
    streams = tuple(s for s in FEVER.streams if s.lab_pool)
    scenario = changed(replace(FEVER, streams=streams), control_failure=0.0, invalid=0.0)
    report = simulate(scenario, 1)
    counts = report.counts
    singly = sum(n for reason, n in counts["retests"].items() if reason.startswith("pool-"))
    assert singly / counts["scheduled"] == pytest.approx(1 - 0.995**5, rel=0.35)
    assert counts["pools"] / counts["scheduled"] == pytest.approx(0.2, rel=0.05)
    assert report.reported[report.group == 0].all()


def test_pools_without_automatic_release_wait_for_the_reviewer():
    """With a reviewer for everything the members of negative pools are reported after the review."""
    scenario = scaled(changed(FEVER, auto_release=False, days=1), 0.3)
    slow, fast = simulate(scenario, 1), simulate(changed(scenario, auto_release=True), 1)
    assert slow.reported.all() == fast.reported.all()
    assert slow.turnaround.mean() > fast.turnaround.mean()


def test_a_failed_control_sends_the_whole_plate_back():
    """With every third plate contaminated its tubes are tested again and every tube is still reported."""
    report = simulate(changed(SMALL, control_failure=0.3), 1)
    good = simulate(SMALL, 1)
    assert report.counts["failed_plates"] > 0
    assert report.counts["retests"]["run-failed"] >= 94
    assert report.turnaround.mean() > good.turnaround.mean()
    assert report.counts["tests"] > good.counts["tests"]


def test_lost_runs_repeat_and_stop_the_machine():
    """Runs that break off cost their plates again and the cycler its repair."""
    broken = simulate(machines(SMALL, "pcr", failure=0.25, repair=300.0), 1)
    assert broken.counts["lost_runs"] > 0
    assert broken.turnaround.mean() > simulate(machines(SMALL, "pcr", failure=0.0), 1).turnaround.mean()
    assert broken.turnaround.size == broken.counts["scheduled"] + broken.counts.get("recollections", 0)


def test_absent_staff_makes_reports_late():
    """With the staff at 40 % tubes wait longer than with all of it."""
    staff = {name: replace(one, present=(0.4,)) for name, one in JIANGMEN.laboratory.staff.items()}
    few = scaled(changed(JIANGMEN, staff=staff), 0.5)
    assert simulate(few, 1).turnaround.mean() > simulate(scaled(JIANGMEN, 0.5), 1).turnaround.mean()


def test_staff_that_never_comes_is_an_error_not_a_hang():
    """Nobody at the cabinets: the simulation says where the work is left."""
    staff = {name: replace(one, present=(0.0,)) for name, one in SMALL.laboratory.staff.items()}
    with pytest.raises(ScenarioError, match="opening") as error:
        simulate(changed(SMALL, staff=staff), 1)
    assert error.value.code == "NEVER_ENDS"


def test_reception_with_shifts():
    """A reception that opens at 08:00 starts no tube before."""
    staff = {**SMALL.laboratory.staff, "desk": Staff("desk", Rota((Shift("day", 480, 1440, 2),)))}
    stations = (
        Bench("reception", Service("fixed", mean=0.3), "tube", staff="desk"),
        *SMALL.laboratory.stations[1:],
    )
    report = simulate(changed(SMALL, staff=staff, stations=stations), 1)
    assert report.stations["reception"].started.min() >= 480


def test_four_plates_in_one_run():
    """A 384-well cycler takes up to four plates and starts with fewer when the first has waited."""
    report = simulate(machines(SMALL, "pcr", plates=(4, 4), patience=400.0, servers=2, failure=0.0), 1)
    log = report.stations["pcr"]
    sizes = np.unique(log.started, return_counts=True)[1]
    assert sizes.max() == 4
    assert (log.started - log.entered).max() >= 100 or sizes.min() == 4


def test_given_draws_replace_chance():
    """Given arrivals and cycler times are used as they are, in order of start; too few are refused."""
    arrivals = np.arange(188) * 0.5 + 500
    draws = {"arrivals": arrivals, "service": {"pcr": [100.0] * 40, "opening": [10.0] * 40}}
    report = simulate(machines(SMALL, "pcr", failure=0.0), 1, draws)
    assert np.array_equal(report.arrived[:188], arrivals)
    with pytest.raises(ScenarioError) as error:
        simulate(SMALL, 1, {"arrivals": arrivals, "pcr": [100.0]})
    assert error.value.code == "DRAWS_SHORT"


def test_the_policies_are_asked_not_copied():
    """What the simulator thinks of a reading is what `retest.interpret` and `retest.decide` say of it."""
    verdicts = Verdicts(JIANGMEN.laboratory.rules)
    names = [target.name for target in JIANGMEN.laboratory.assay.targets]
    rng = np.random.default_rng(1)
    readings = rng.uniform(15, 44, (len(names), 4000))
    readings[rng.uniform(size=readings.shape) < 0.4] = np.nan
    readings[:, :40] = 40.0  # on an edge of a band
    codes = verdicts.classify(readings)
    for tube in range(0, 4000, 7):
        assert codes[tube] == verdicts.ask(readings[:, tube])
    negative = next(n for n, outcome in enumerate(verdicts.outcomes) if outcome.call is Call.negative)
    assert verdicts.decide(Material.single, ((1, negative, "first"),), 1, "") == Conclude(
        "negative", "negative"
    )


def test_one_tube_is_read_and_classified_as_many_are():
    """A retest read alone has the Cq values and the outcome it would have in a row of arrays."""
    reader = Reader.of(JIANGMEN.laboratory, JIANGMEN.chemistry)
    alone, together = (Verdicts(JIANGMEN.laboratory.rules) for _ in range(2))
    rng = np.random.default_rng(2)
    viral = np.where(rng.uniform(size=300) < 0.3, np.nan, rng.uniform(14, 44, 300))
    shift = np.where(rng.uniform(size=300) < 0.1, np.nan, rng.normal(0, 0.2, 300))
    for tube, (cq, moved) in enumerate(zip(viral, shift, strict=True)):
        one, many = (np.random.default_rng(tube) for _ in range(2))
        found = reader.read_one(float(cq), 28.0, float(moved), one)
        row = reader.read(np.array([cq]), np.array([28.0]), np.array([moved]), many)
        assert np.array_equal(found, row[:, 0], equal_nan=True)
        assert one.uniform() == many.uniform()
        assert alone.classify_one(found) == together.classify(np.repeat(row, 20, axis=1))[0]
    assert alone.outcomes == together.outcomes


def test_controls_are_judged_by_the_policy():
    """Good controls pass; a signal in the negative control voids the run."""
    for name in shipped_scenarios():
        lab = load(name).laboratory
        if lab is not None:
            verdicts = Verdicts(lab.rules)
            assert verdicts.plate(lab.fill.template, contaminated=False).run_valid
            assert not verdicts.plate(lab.fill.template, contaminated=True).run_valid


def test_times_are_drawn_the_same_in_any_portion():
    """Service times taken one by one equal those taken at once."""
    for kind in (
        Service("exponential", mean=2.0),
        Service("erlang", mean=2.0, phases=3),
        Service("lognormal", mean=2.0, sd=1.0),
        Service("observed", values=(1.0, 2.0, 5.0)),
        Service("triangular", low=1.0, mode=2.0, high=4.0),
        Service("uniform", low=1.0, high=4.0),
        Service("fixed", mean=1.0),
    ):
        one, many = (Times("x", kind, np.random.default_rng(5)) for _ in range(2))
        singly = [one.take() for _ in range(700)]
        assert singly == [many.take(), *many.many(699).tolist()]
        assert np.mean(singly) == pytest.approx(kind.average, rel=0.15)


def test_every_shipped_scenario_names_its_sources():
    """Each laboratory scenario says what is stated, what is derived, and marks what is assumed."""
    for name in shipped_scenarios():
        if load(name).laboratory is not None:
            text = files("sim").joinpath(f"scenarios/{name}.toml").read_text("utf-8")
            assert "# stated:" in text
            assert "# assumed" in text


def test_waves_end_and_lose_nothing():
    """With fixed waves the run ends, every plate holds a tube, and every tube is reported."""
    fill = replace(FEVER.laboratory.fill, policy="waves", waves=(480.0, 660.0, 840.0, 1020.0, 1200.0, 1380.0))
    streams = tuple(replace(s, lab_pool=0, tubes=round(0.3 * s.tubes)) for s in FEVER.streams)
    scenario = changed(replace(FEVER, streams=streams), fill=fill, days=2)
    for replication in (0, 4):
        report = simulate(scenario, 1, replication=replication, record=True)
        assert min(len(log.tubes) for log in report.plates) > 0
        assert not np.isnan(report.turnaround).any()
