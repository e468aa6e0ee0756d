"""The truth of a day: reproducible, exact in its injections, consistent between repeats."""

from dataclasses import fields, replace
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sim import (
    BORDERLINE,
    INVALID,
    PLAIN,
    Scenario,
    control_cq,
    draw_day,
    person_cq,
    pool_cq,
    reading_rng,
    specimen_cq,
    tube_cq,
)

DEMO = Scenario.from_toml(files("sim").joinpath("scenarios/demo-day.toml").read_text("utf-8"))
TARGETS = ("ORF1ab", "N", "IC")
DAY = draw_day(DEMO, np.random.default_rng(7))


def fresh(number=0):
    """A generator of its own for one reading."""
    return np.random.default_rng([99, number])


def infected_tube(day, below=32.0):
    """A plain single tube with a clear infection."""
    return next(
        t
        for t in range(day.tubes)
        if day.event[t] == PLAIN and day.places[t] == 1 and (specimen_cq(day, t) or 99) < below
    )


def clean_tubes(day, count):
    """Plain single tubes without infection."""
    clean = (t for t in range(day.tubes) if day.places[t] == 1 and specimen_cq(day, t) is None)
    return [next(t for t in clean if day.event[t] == PLAIN) for _ in range(count)]


def test_the_same_seed_draws_the_same_day():
    """Every array of the day is the same for the same seed, and another seed gives another day."""
    again, other = (draw_day(DEMO, np.random.default_rng(seed)) for seed in (7, 8))
    for name in (field.name for field in fields(DAY) if field.name != "scenario"):
        assert np.array_equal(
            getattr(DAY, name), getattr(again, name), equal_nan=getattr(DAY, name) is DAY.cq
        )
    assert not np.array_equal(DAY.arrival, other.arrival)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32))
def test_the_day_holds_exactly_what_the_scenario_says(seed):
    """Streams, injections and failing plates are exact; persons fit their tubes; nobody is in two."""
    day = draw_day(DEMO, np.random.default_rng(seed))
    assert day.tubes == DEMO.tubes
    assert np.all(np.diff(day.arrival) >= 0)
    assert list(np.bincount(day.stream)) == [stream.tubes for stream in DEMO.streams]
    assert np.all((day.persons >= 1) & (day.persons <= day.places))
    assert [person for tube in range(day.tubes) for person in day.people(tube)] == list(range(day.cq.size))
    assert np.array_equal(np.isnan(day.cq), ~day.infected)
    assert list(np.bincount(day.event)) == [277, 2, 1]
    for tube in np.flatnonzero(day.event):
        source = day.source(int(tube))
        assert (source.mode, source.lab_pool) == ("single", 0)
    assert len(day.failed_plates) == 1
    assert day.failed_plates[0] < DEMO.tubes // 96


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32))
@example(seed=938)  # an internal control just below its ceiling, and three standard deviations of noise
def test_only_injected_tubes_read_grey_or_invalid(seed):
    """Among singly tested tubes the first readings show exactly two borderline and one invalid, no more."""
    day = draw_day(DEMO, np.random.default_rng(seed))
    grey, invalid, split = [], [], []
    for tube in range(day.tubes):
        if day.source(tube).mode == "mixed":
            continue
        reading = tube_cq(day, tube, TARGETS, reading_rng(seed, tube, 0))
        viral = [reading[target] for target in TARGETS[:2]]
        late = [cq is not None and cq > 37 for cq in viral]
        if all(late):
            grey.append(tube)
        if any(late) != all(late) or (viral[0] is None) != (viral[1] is None):
            split.append(tube)
        if reading["IC"] is None or reading["IC"] > 35:
            invalid.append(tube)
    assert grey == list(np.flatnonzero(day.event == BORDERLINE))
    assert invalid == list(np.flatnonzero(day.event == INVALID))
    assert split == []


def test_positivity_rises_through_the_afternoon():
    """The last hour of the afternoon holds nearly 20 % infected, the first hour 1 to 4 %."""
    many = replace(DEMO, streams=(replace(DEMO.streams[-1], tubes=60_000),))
    day = draw_day(many, np.random.default_rng(1))
    early, late = day.arrival < 780, day.arrival > 1080
    assert np.mean(day.infected[early]) == pytest.approx(0.024, abs=0.006)
    assert np.mean(day.infected[late]) == pytest.approx(0.186, abs=0.01)


def test_repeats_of_a_specimen_agree():
    """The same RNA read again differs by noise only; a new extraction adds a little more."""
    tube = infected_tube(DAY)
    readings = [tube_cq(DAY, tube, TARGETS, fresh(n), test="re-amplify")["N"] for n in range(200)]
    again = [tube_cq(DAY, tube, TARGETS, fresh(n), test="re-extract")["N"] for n in range(200)]
    centre = specimen_cq(DAY, tube) + DAY.extraction[tube] - 0.4
    assert np.mean(readings) == pytest.approx(centre, abs=0.1)
    assert np.std(readings) == pytest.approx(0.25, abs=0.06)
    assert np.std(again) > np.std(readings)


def test_readings_do_not_depend_on_the_order_of_asking():
    """A reading's own generator gives the same Cq before and after other readings."""
    tube = infected_tube(DAY)
    first = tube_cq(DAY, tube, TARGETS, reading_rng(7, tube, 0))
    tube_cq(DAY, 0, TARGETS, reading_rng(7, 0, 0))
    assert tube_cq(DAY, tube, TARGETS, reading_rng(7, tube, 0)) == first
    assert tube_cq(DAY, tube, TARGETS, reading_rng(7, tube, 1)) != first


def test_a_borderline_tube_reads_grey_first_and_then_as_it_falls():
    """The first reading is grey for both targets; repeats amplify sometimes and sometimes not."""
    for tube in np.flatnonzero(DAY.event == BORDERLINE):
        first = tube_cq(DAY, int(tube), TARGETS, fresh())
        assert all(38.2 <= first[target] <= 39.6 for target in ("ORF1ab", "N"))
        assert first["IC"] < 35
        repeats = [tube_cq(DAY, int(tube), TARGETS, fresh(n), test="re-amplify")["N"] for n in range(100)]
        assert 10 < sum(cq is None for cq in repeats) < 60


def test_a_failed_extraction_stays_failed_until_it_is_repeated():
    """An invalid tube gives nothing from its RNA, however often; a new extraction reads its control."""
    (tube,) = np.flatnonzero(DAY.event == INVALID)
    for test in ("first", "re-amplify"):
        assert tube_cq(DAY, int(tube), TARGETS, fresh(), test=test) == dict.fromkeys(TARGETS)
    assert tube_cq(DAY, int(tube), TARGETS, fresh(), test="re-extract")["IC"] is not None


def test_a_clean_tube_reads_its_control_only():
    """No virus, no Cq; the internal control amplifies."""
    (tube,) = clean_tubes(DAY, 1)
    reading = tube_cq(DAY, tube, TARGETS, fresh())
    assert (reading["ORF1ab"], reading["N"]) == (None, None)
    assert 18 < reading["IC"] < 35


def test_a_mixed_tube_adds_loads_and_its_volume():
    """Two infected of Cq 30 in a 10:1 tube: twice the load is one cycle earlier, 6 ml one cycle later."""
    tube = int(np.flatnonzero(DAY.places == 10)[0])
    people = DAY.people(tube)
    cq = np.full_like(DAY.cq, np.nan)
    cq[people.start] = 30.0
    assert specimen_cq(replace(DAY, cq=cq), tube) == pytest.approx(31.0)
    cq[people.start + 1] = 30.0
    assert specimen_cq(replace(DAY, cq=cq), tube) == pytest.approx(30.0)
    cq[:] = np.nan
    assert specimen_cq(replace(DAY, cq=cq), tube) is None


def test_a_lab_pool_is_diluted_by_log2_n():
    """One infected among five comes 2.32 cycles later, one among ten 3.32; a clean pool stays clean."""
    tube = infected_tube(DAY, below=28.0)
    for size in (5, 10):
        members = [tube, *clean_tubes(DAY, size - 1)]
        read = [pool_cq(DAY, members, TARGETS, fresh(n))["ORF1ab"] for n in range(300)]
        assert np.mean(read) == pytest.approx(specimen_cq(DAY, tube) + np.log2(size), abs=0.1)
    clean = pool_cq(DAY, clean_tubes(DAY, 5), TARGETS, fresh())
    assert (clean["ORF1ab"], clean["N"]) == (None, None)
    assert clean["IC"] is not None


def test_persons_are_read_singly_after_a_mixed_tube():
    """Of the persons of a mixed tube, exactly the infected ones read positive in their new single tubes."""
    sick = next(t for t in range(DAY.tubes) if DAY.places[t] == 10 and specimen_cq(DAY, t) is not None)
    for person in DAY.people(sick):
        reading = person_cq(DAY, person, TARGETS, fresh(person))
        assert (reading["ORF1ab"] is not None) == DAY.infected[person]
        assert reading["IC"] is not None


def test_a_late_cq_beyond_the_cycles_is_no_cq():
    """What would amplify after the cycler stopped is not read."""
    short = replace(DAY, scenario=replace(DEMO, chemistry=replace(DEMO.chemistry, cycles=10.0)))
    assert tube_cq(short, infected_tube(DAY), TARGETS, fresh()) == dict.fromkeys(TARGETS)


def test_controls_hold_except_on_the_failing_plates():
    """NTC silent, PC loud, EC with its internal control only; on a failing plate the NTC shows virus."""
    failing = DAY.failed_plates[0]
    sound = failing + 1
    assert control_cq(DAY, "NTC", sound, TARGETS, fresh()) == dict.fromkeys(TARGETS)
    contaminated = control_cq(DAY, "NTC", failing, TARGETS, fresh())
    assert contaminated["N"] < 38
    assert contaminated["IC"] is None
    positive = control_cq(DAY, "PC", failing, TARGETS, fresh())
    assert positive["ORF1ab"] == pytest.approx(26, abs=1.5)
    extraction = control_cq(DAY, "EC", failing, TARGETS, fresh())
    assert (extraction["ORF1ab"], extraction["IC"] is None) == (None, False)
    weak = replace(DAY, scenario=replace(DEMO, injections=replace(DEMO.injections, failure="PC")))
    assert control_cq(weak, "PC", failing, TARGETS, fresh()) == dict.fromkeys(TARGETS)
    assert control_cq(weak, "NTC", failing, TARGETS, fresh()) == dict.fromkeys(TARGETS)


@pytest.mark.parametrize(
    "call",
    [
        lambda: tube_cq(DAY, 0, TARGETS, fresh(), test="third"),
        lambda: pool_cq(DAY, [], TARGETS, fresh()),
        lambda: pool_cq(DAY, [1, 1], TARGETS, fresh()),
        lambda: pool_cq(DAY, [int(np.flatnonzero(DAY.places == 10)[0])], TARGETS, fresh()),
        lambda: control_cq(DAY, "XC", 0, TARGETS, fresh()),
    ],
    ids=["test", "empty", "twice", "mixed", "control"],
)
def test_impossible_readings_are_refused(call):
    """No reading is made up for what cannot be on a plate; above all never for a pool of mixed tubes."""
    with pytest.raises(ValueError, match=r"\.$"):
        call()


def test_a_large_day_is_drawn_as_exactly():
    """30,000 ten-person tubes keep persons and tubes aligned, and their positivity is that of ten persons."""
    stream = replace(DEMO.streams[0], tubes=30_000, fill=1.0, prevalence_start=0.01, prevalence_end=0.01)
    quiet = replace(DEMO.injections, borderline=0, invalid=0)
    day = draw_day(replace(DEMO, streams=(stream,), injections=quiet), np.random.default_rng(5))
    assert day.cq.size == 300_000
    positive = np.logical_or.reduceat(day.infected, day.first_person)
    assert np.mean(positive) == pytest.approx(1 - 0.99**10, abs=0.006)
