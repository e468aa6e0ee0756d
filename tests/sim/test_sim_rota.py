"""A rota that is as small as it can be, and that the simulation agrees with."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lis.cli import main
from scheduler import Rota, Shift
from sim import ScenarioError, load
from sim.rota import AMPLE, WEEK, Pattern, Search, Slot, _each, _fewest, _slots, propose, rota_document
from sim.spec import Staff

TWO = Rota((Shift("day", 480, 960, 2), Shift("late", 960, 1440, 1)))
STAFF = Staff("bench", TWO)


def week(works, each=400.0):
    """Slots of a week of two shifts a day."""
    return [
        Slot(place // 2, ("day", "late")[place % 2], float(work), each) for place, work in enumerate(works)
    ]


def left_over(slots, patterns):
    """The most minutes of work ever left over at the end of a slot, in a fluid queue."""
    people = {}
    for one in patterns:
        for day in one.days:
            people[one.shift, day] = people.get((one.shift, day), 0) + one.people
    backlog = most = 0.0
    for slot in slots:
        backlog = max(backlog + slot.work - people.get((slot.shift, slot.day % WEEK), 0) * slot.each, 0.0)
        most = max(most, backlog)
    return most


@settings(max_examples=25)
@given(st.lists(st.integers(0, 4000), min_size=14, max_size=14), st.sampled_from([0.5, 4.0]))
def test_no_more_is_left_over_than_the_budget(works, budget):
    """Whatever work comes, people who work five days of a week keep the backlog within the budget."""
    slots = week(works)
    patterns = _fewest(STAFF, slots, budget, Search())
    assert left_over(slots, patterns) <= 60 * budget + 1e-6
    assert all(len(one.days) == 5 for one in patterns)


def test_fewer_people_do_not_exist():
    """For a small week no combination of fewer people, tried one by one, keeps within the budget."""
    slots = week([900, 300, 0, 700, 800, 0, 0, 0, 500, 0, 1200, 100, 0, 0])
    patterns = _fewest(STAFF, slots, 1.0, Search())
    count = sum(one.people for one in patterns)
    kinds = [
        Pattern(shift, tuple(sorted((start + step) % WEEK for step in range(5))), 1)
        for shift in ("day", "late")
        for start in range(WEEK)
    ]
    for fewer in range(1, min(count, 4)):
        for chosen in itertools.combinations_with_replacement(kinds, fewer):
            assert left_over(slots, chosen) > 60
    assert left_over(slots, patterns) <= 60 + 1e-6


def test_when_even_the_most_people_fail_there_is_no_rota():
    """Work that nobody could do in time gives no rota instead of a wrong one."""
    assert _fewest(STAFF, week([100_000] * 14), 1.0, Search(most=20)) == ()
    assert len(_fewest(STAFF, week([0] * 14), 1.0, Search())) == 1


def test_a_position_is_good_for_its_time_without_breaks_spells_and_absence():
    """Eight hours with a break of 40 minutes, spells of 4 h and 10 % absent are what is left of them."""
    rota = Rota((Shift("day", 480, 960, 3, ((240, 280),)),))
    assert _each(Staff("bench", rota), rota.shifts[0], 0) == pytest.approx(440 * 0.9)
    assert _each(Staff("bench", rota, absence=0.1), rota.shifts[0], 0) == pytest.approx(440 * 0.9 * 0.9)
    sick = Staff("bench", rota, present=(1.0, 0.5))
    assert _each(sick, rota.shifts[0], 1) == pytest.approx(220 * 0.9)


def test_the_work_of_a_short_scenario_fills_a_week():
    """A scenario of fewer than seven days goes on as it went; all the work that came is in its slots."""
    scenario = load("fever-clinic")
    own = next(iter(scenario.laboratory.staff.values()))
    slots = _slots(scenario, scenario.laboratory, own, 1)
    days = scenario.laboratory.days
    assert {slot.day % WEEK for slot in slots} == set(range(WEEK))
    first = [slot.work for slot in slots if slot.day < days]
    again = [slot.work for slot in slots if days <= slot.day < 2 * days]
    assert first == again
    assert sum(first) > 0
    assert AMPLE > 1


def test_a_proposal_keeps_its_promise_in_simulation():
    """The rota of a shipped scenario is proved by its replications, and a smaller budget never needs fewer people."""
    told = []
    found = propose(load("fever-clinic"), search=Search(replications=1, workers=1), say=told.append)
    assert found.kept
    assert found.on_time >= found.target_share
    assert found.people == sum(one.people for one in found.patterns)
    people = [count for _, count, _ in found.tried]
    assert people == sorted(people, reverse=True)
    document = rota_document(found)
    assert json.loads(json.dumps(document)) == document
    assert sum(one["people"] for one in document["positions"]) == 5 * found.people
    assert len(told) == len(found.tried)


@pytest.mark.parametrize(
    ("scenario", "staff", "code"),
    [("fever-clinic", "nobody", "UNKNOWN_STAFF"), ("zhengzhou-2022-01", "", "NO_STAFF")],
)
def test_a_rota_of_nobody_is_refused(scenario, staff, code):
    """Staff that is not there is named with those that are; a scenario without staff needs no rota."""
    with pytest.raises(ScenarioError) as caught:
        propose(load(scenario), staff)
    assert caught.value.code == code
    with pytest.raises(ScenarioError):
        Search(workdays=8)


def test_the_command_prints_people_and_days(capsys):
    """``lis rota`` says who works when, and whether the promise is kept."""
    main(["rota", "fever-clinic", "--replications", "1", "--workers", "1", "--workdays", "7"])
    out = capsys.readouterr().out
    assert "keeps 95%" in out
    assert "works on days" in out
    assert int(out.split()[0]) > 0
