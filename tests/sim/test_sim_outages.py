"""Machines out of service at every station, and a closed reception: days that can be worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_forecast import EAGER, NOW, fixed, laboratory, minutes, tubes

from scheduler import Rota, Shift
from sim import ScenarioError, load, simulate
from sim.crew import at_least, crew
from sim.duty import Duty, Level, Machines, Turn, Wear
from sim.forecast import forecast
from sim.now import COMING, WAITING, State, Tide
from sim.scenario import Scenario
from sim.spec import Staff
from sim.stations import Outage
from sim.trials import admit

CLINIC = load("county-hospital")
stretches = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 30)).map(lambda w: (float(w[0]), float(w[0] + w[1]))),
    max_size=6,
)


def with_station(name, **more):
    """The clinic on one day with other facts of one station and the same time for every run of it."""
    lab = CLINIC.laboratory
    stations = tuple(
        replace(one, service=fixed(30.0), **more) if one.name == name else one for one in lab.stations
    )
    return replace(CLINIC, laboratory=replace(lab, stations=stations, control_failure=0.0))


@settings(max_examples=60)
@given(stretches, st.integers(1, 4))
def test_stretches_of_so_many_outages_are_those_of_the_minutes_counted(many, count):
    """A minute lies in a stretch exactly when so many outages or more hold there, whatever their order."""
    found = at_least(many, count)
    for at in np.arange(0.5, 95.0, 1.0):
        assert any(a <= at < b for a, b in found) == (sum(a <= at < b for a, b in many) >= count)


@pytest.mark.parametrize("name", ["extraction", "set-up", "pcr"])
def test_a_station_whose_machines_are_all_out_begins_nothing(name):
    """From 10:00 to 14:00 every machine is out: none of its runs begins then, and every tube is reported after all."""
    station = next(one for one in CLINIC.laboratory.stations if one.name == name)
    away = Outage(600.0, 840.0, station.servers)
    report = simulate(with_station(name, down=0.0, out=(away,)), 1)
    started = report.stations[name].started
    assert not ((started >= 600.0) & (started < 840.0)).any()
    assert (started >= 840.0).any()
    assert not np.isnan(report.turnaround).any()


def test_a_cabinet_out_of_service_leaves_places_to_fewer_people():
    """Of three people at three cabinets two work while one cabinet is out; one person alone never lacks one."""
    lab = CLINIC.laboratory
    rota = Rota((Shift("day", 480, 960, 3), Shift("late", 960, 1440, 1)))
    bench = next(one for one in lab.stations if one.name == "opening")
    made = replace(lab, staff={bench.staff: Staff(bench.staff, rota)})
    on = crew(replace(bench, out=(Outage(540.0, 1200.0),)), made, 1, np.random.default_rng(1))
    there = [sum(any(a <= at < b for a, b in own) for own in on.windows) for at in (500, 600, 950, 1000)]
    assert there == [3, 2, 2, 1]
    worn = crew(replace(bench, down=0.5), made, 40, np.random.default_rng(1))
    days = [
        sum(any(a <= at < b for a, b in own) for own in worn.windows) for at in 1440 * np.arange(40) + 600
    ]
    assert 0.9 < np.mean(days) < 2.1


def test_a_closed_reception_holds_tubes_in_the_simulator():
    """Open from 8:00 to 8:10 and from 9:00 with one desk and a minute a tube: received one after the other, then."""
    lab = CLINIC.laboratory
    rota = Rota((Shift("early", 480, 490, 1), Shift("day", 540, 1440, 1)))
    desk = replace(lab.stations[0], service=fixed(1.0), servers=0, staff="desk")
    lab = replace(lab, staff={**lab.staff, "desk": Staff("desk", rota)}, stations=(desk, *lab.stations[1:]))
    came = [400.0, 401.0, 485.0, 500.0, 501.0, 700.0]
    report = simulate(replace(CLINIC, laboratory=lab), 1, {"arrivals": came})
    assert report.stations["reception"].started[:6].tolist() == [480.0, 481.0, 485.0, 540.0, 541.0, 700.0]


WRONG = {
    "ends before it begins": ("{ start = 10, end = 5 }", "out[1].end"),
    "begins before the first midnight": ("{ start = -10, end = 5 }", "out[1].start"),
    "no machine": ("{ start = 0, end = 5, machines = 0 }", "out[1].machines"),
    "more machines than there are": ("{ start = 0, end = 5, machines = 9 }", "out[1].machines"),
    "a text for a minute": ('{ start = "8:00", end = 5 }', "out[1].start"),
    "no end": ("{ start = 0 }", "out[1].end"),
    "an unknown key": ("{ start = 0, end = 5, machine = 1 }", "out[1].machine"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_senseless_outage_is_refused_with_its_key(name):
    """The scenario is refused by the key that is wrong, with the reason in English, and in Chinese too."""
    text, key = WRONG[name]
    wrong = CLINIC.text.replace('name = "extraction"', f'name = "extraction"\nout = [{text}]')
    with pytest.raises(ScenarioError) as error:
        Scenario.from_toml(wrong)
    assert (error.value.key, bool(error.value.reason)) == (f"station.extraction.{key}", True)
    assert any("\u4e00" <= letter <= "\u9fff" for letter in error.value.zh) or error.value.code == "BAD_TYPE"


def test_an_outage_is_read_from_a_scenario():
    """Minutes and machines of an outage stand in the scenario as they were written."""
    right = CLINIC.text.replace(
        'name = "extraction"', 'name = "extraction"\nout = [{ start = 60, end = 120 }]'
    )
    assert Scenario.from_toml(right).laboratory.stations[2].out == (Outage(60.0, 120.0, 1),)


@settings(max_examples=40)
@given(stretches, stretches, st.integers(0, 100))
def test_the_smaller_of_two_levels_is_the_smaller_at_every_minute(one, other, minute):
    """Whatever the two do, what is left is the smaller one."""
    first, second = (Duty(tuple(Turn(-1e9, (own,)) for own in many)).people() for many in (one, other))
    found = first.least(second)
    assert found.at(float(minute)) == min(first.at(float(minute)), second.at(float(minute)))


def with_extractors(*out, prepare=4, count=2, duty=None):
    """Four plates prepared at once, on two extractors of which some are out; an hour, then ninety minutes."""
    model = laboratory(prepare=prepare, cyclers=9)
    kind = Machines("extractor", count, Wear(tuple(out)))
    steps = (replace(model.steps[0], machines=(kind,), duty=duty), *model.steps[1:])
    return replace(model, steps=steps)


def four_plates(model):
    """Minutes from now to the reports of four full plates."""
    room = len(EAGER.template.sample_wells("column"))
    found = forecast(model, tubes(4 * room), 2)
    return sorted({one - NOW for one in found.done[:, 0].tolist()})


def test_extractors_out_of_service_leave_places_in_proportion():
    """Half of the extractors, half of the plates at once; back after an hour, all of them; none, nothing begins."""
    assert four_plates(with_extractors()) == [150.0]
    assert four_plates(with_extractors((NOW - 60, None))) == [150.0, 210.0]
    assert four_plates(with_extractors((NOW - 60, NOW + 30))) == [150.0, 180.0]
    both = [(NOW - 60, NOW + 45), (NOW - 60, NOW + 50)]
    assert four_plates(with_extractors(*both)) == [195.0, 200.0]


def test_maintenance_that_lies_ahead_is_played_when_it_comes():
    """Everything is out from half an hour on, for an hour: what has begun ends, what waits begins after it."""
    ahead = [(NOW + 30, NOW + 90)] * 2
    assert four_plates(with_extractors(*ahead, prepare=2)) == [150.0, 240.0]
    level = Wear(((NOW + 30, NOW + 90),)).level(2, NOW, 0.0, np.random.default_rng(1))
    assert [level.at(at) for at in (NOW, NOW + 31, NOW + 91)] == [2, 1, 2]


def test_people_and_machines_are_both_needed():
    """One of two people and one of two extractors: as many plates as the scarcer of the two allows."""
    one = Duty((Turn(0.0, ((0.0, 1e5),)), Turn(0.0, ((NOW + 60, 1e5),))))
    assert four_plates(with_extractors(duty=one)) == [150.0, 210.0]
    assert four_plates(with_extractors((0.0, NOW + 120), duty=one, prepare=2)) == [150.0, 210.0, 270.0]


def reception(*windows, **more):
    """A laboratory whose reception is open in these windows."""
    turns = tuple(Turn(-1e9, ((NOW + a, NOW + b),)) for a, b in windows)
    return laboratory(reception=Duty(turns, until=NOW + 7 * 1440.0), **more)


def test_a_closed_reception_holds_tubes_in_the_forecast():
    """Tubes that come while nobody is there are received, and plated, when it opens; others at once."""
    state = tubes(3, where=COMING, came=[NOW + 10, NOW + 70, NOW + 150])
    found = forecast(reception((60.0, 100.0), (200.0, 300.0), prepare=9, cyclers=9), state, 2)
    assert minutes(found) == [60.0 + 150.0, 70.0 + 150.0, 200.0 + 150.0]
    state = tubes(1, where=WAITING)
    assert minutes(forecast(reception((60.0, 100.0)), state, 2)) == [150.0]
    gone = tubes(1, where=COMING, came=NOW - 20)
    assert minutes(forecast(reception((60.0, 100.0), travel=fixed(25.0)), gone, 2)) == [60.0 + 150.0]


def test_tubes_nobody_announced_wait_at_the_door_too():
    """With fifty unannounced tubes an hour a tube that may wait shares a plate with those held until it opens."""
    patient = replace(EAGER, min_fill=94, max_wait_minutes=600.0)
    tide, many = Tide((50.0,) * 24, ((1.0, 0, 48.0),)), {"prepare": 9, "cyclers": 9}
    open_, shut = (
        laboratory(fill=patient, tide=tide, travel=fixed(0.0), **many),
        reception((400.0, 9e3), fill=patient, tide=tide, travel=fixed(0.0), **many),
    )
    state = tubes(1, due=NOW + 3000)
    early, late = (forecast(model, state, 4).done.max() - NOW for model in (open_, shut))
    assert early < 400.0
    assert late == 400.0 + 150.0


def test_newcomers_are_asked_for_at_the_door():
    """Tubes that would be in time at an open reception are late when it opens after their due time."""
    more = State.of(NOW, ("N1", "N2"), due=NOW + 200)
    assert admit(reception((-9e3, 9e3)), tubes(1), more, 3).on_time == 1.0
    assert admit(reception((100.0, 9e3)), tubes(1), more, 3).on_time == 0.0


def test_an_empty_level_never_opens():
    """Where nobody is ever planned the door stays shut."""
    level = Level(np.empty(0), np.empty(0, dtype=np.int64))
    assert level.opens(5.0) == float("inf")
