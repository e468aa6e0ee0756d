"""Who is there and what is out of order: levels, capacities, plans on the calendar, hours learned."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.calibrate import Passage, Past, Run, calibrate, reference
from sim.duty import Capacity, Duty, Level, Turn, Wear, of_hours
from sim.dutyplan import (
    Away,
    DutyPlan,
    PlannedShift,
    Special,
    laid_out,
    plan_from_toml,
    plan_toml,
    without_away,
)
from sim.forecast import forecast
from sim.habits import Attendance, working_hours
from sim.now import IN_REVIEW, WAITING, InWork, State
from sim.service import Service

MONDAY = dt.date(2026, 11, 23)
windows = st.lists(
    st.tuples(st.integers(0, 2000), st.integers(1, 600)).map(lambda w: (float(w[0]), float(w[0] + w[1]))),
    max_size=6,
)


def level_of(many):
    """People in these windows."""
    return Duty(tuple(Turn(-1e9, (window,)) for window in many)).people()


@settings(max_examples=40)
@given(windows, st.integers(-10, 3000), st.integers(0, 500))
def test_a_level_counts_and_passes_time_as_its_windows_do(many, minute, work):
    """The number at a minute, and when so many minutes with somebody there have passed, follow from the windows."""
    level = level_of(many)
    assert level.at(float(minute)) == sum(a <= minute < b for a, b in many)
    end = level.after(float(minute), float(work))
    on = [m for m in range(minute, 3600) if any(a <= m < b for a, b in many)]
    if len(on) < work:
        assert end == float("inf")
    else:
        assert level.worked(float(minute), min(end, 4000.0)) == pytest.approx(work)
        assert work == 0 or end == on[work - 1] + 1


def test_capacity_starts_no_more_than_are_there_and_finishes_what_it_began():
    """Two of three places at two people; work begun before a rest goes on through it and counts after it."""
    level = level_of([(0.0, 60.0), (0.0, 60.0), (90.0, 200.0)]).scaled(1.0, 3)
    servers = Capacity(level, 3)
    assert [servers.take(50.0, 100.0) for _ in range(3)] == [(0, 150.0), (0, 150.0), None]
    assert servers.take(70.0, 5.0) is None
    assert servers.next_on(70.0) == float("inf")
    servers.give(0)
    servers.give(0)
    assert servers.next_on(70.0) == 90.0
    assert servers.take(95.0, 5.0) == (0, 100.0)
    assert servers.take(95.0, 5.0) is None


def test_whoever_has_begun_is_there_and_others_may_not_come():
    """Absence is drawn for shifts that lie ahead alone, as often as it is said."""
    duty = Duty((Turn(0.0, ((0.0, 100.0),)), Turn(100.0, ((100.0, 200.0),))), absence=0.3)
    drawn = [duty.people(50.0, np.random.default_rng(seed)) for seed in range(400)]
    assert all(level.at(60.0) == 1 for level in drawn)
    assert np.mean([level.at(150.0) for level in drawn]) == pytest.approx(0.7, abs=0.08)
    assert replace(duty, more=1).people().at(60.0) == 2


def test_machines_are_out_until_they_are_expected_back():
    """Of three one is out until a known time, one for as long as repairs take; never fewer than none are left."""
    wear = Wear(((0.0, 300.0), (90.0, None)), repair=Service("fixed", mean=400.0))
    level = wear.level(3, 100.0, 0.0, np.random.default_rng(1))
    assert [level.at(minute) for minute in (100.0, 299.0, 301.0, 489.0, 491.0)] == [1, 1, 2, 2, 3]
    worn = Wear(chance=5.0, repair=Service("fixed", mean=1e5))
    level = worn.level(2, 0.0, 14400.0, np.random.default_rng(1))
    assert level.at(14000.0) == 0


def plan():
    """A plan with a night shift, a break and one exception."""
    day = PlannedShift("prepare", "day", 480, 960, 3, tuple(range(5)), ((240, 270),))
    night = PlannedShift("prepare", "night", 1320, 1800, 1, spell=240, rest=30)
    return DutyPlan(
        MONDAY, (day, night), (Special(MONDAY + dt.timedelta(days=1), "prepare", "day", 1),), 'a "b"'
    )


def minute(day, at):
    """Minutes from Monday."""
    return (day - MONDAY).days * 1440.0 + at


def test_a_plan_lies_on_the_calendar_as_written():
    """Exceptions, days of the week, breaks, rests and nights that end on the next day; a later plan takes over."""
    days = [MONDAY + dt.timedelta(days=n) for n in range(-1, 7)]
    posts = laid_out([plan()], days, minute)
    level = Duty(tuple(post.turn for post in posts)).people()
    at = {0: 0, 500: 3, 730: 0, 800: 3, 1330: 1, 1570: 0, 1600: 1, 1799: 1, 1440 + 500: 1, 5 * 1440 + 500: 0}
    assert {m: level.at(float(m)) for m in at} == at
    assert plan_from_toml(plan_toml(plan())) == plan()
    later = replace(plan(), since=MONDAY + dt.timedelta(days=2), shifts=plan().shifts[:1], exceptions=())
    both = Duty(tuple(post.turn for post in laid_out([plan(), later], days, minute))).people()
    assert (both.at(1440.0 + 1330), both.at(2 * 1440.0 + 1330)) == (1, 0)


def test_people_who_are_away_are_missing_for_that_time_alone():
    """Two of three are away until noon, one more of the night shift by name; the others stay."""
    posts = laid_out([plan()], [MONDAY], minute)
    away = [
        Away("prepare", 0.0, 600.0, 2, "day"),
        Away("prepare", 0.0, 5000.0, 1, "night"),
        Away("review", 0, 9e9, 9),
    ]
    level = Duty(tuple(post.turn for post in without_away(posts, away))).people()
    assert [level.at(minute) for minute in (500.0, 599.0, 601.0, 1400.0)] == [1, 1, 3, 0]


def nights_off(days=6):
    """A past in which nobody reads between 20:00 and 8:00, though work waits."""
    reading = [(1440.0 * day + 60 * hour, "review", "rosa") for day in range(days) for hour in range(8, 20)]
    waits = {"review": tuple((1440.0 * day + 1190, 1440.0 * day + 1930) for day in range(days))}
    return Attendance(tuple(reading), waits)


def test_hours_without_work_are_learned_where_work_waited():
    """Hours in which work waited and nobody came are off; an hour in which nothing waited counts as on."""
    hours = working_hours(nights_off(), "review", 0.0, 6 * 1440.0)
    assert hours == tuple(8 <= hour < 20 for hour in range(24))
    assert working_hours(nights_off(2), "review", 0.0, 2 * 1440.0) == ()
    assert working_hours(replace(nights_off(), waits={}), "review", 0.0, 6 * 1440.0) == ()
    level = of_hours(hours, 0.0, 3).people()
    assert (level.at(479.0), level.at(481.0), level.at(1201.0), level.at(3 * 1440.0)) == (0, 1, 0, 1)


def test_minutes_of_review_do_not_count_the_night():
    """A tube read at 19:50 and reported at 8:20 took half an hour of review; read at night it waits for the morning."""
    rows = [Passage("single", True, "review", reporting=750.0, read=1440.0 * day + 1190) for day in range(6)]
    rows *= 10
    past = Past(0.0, 6 * 1440.0, passages=tuple(rows), attendance=nights_off())
    found = calibrate(past, reference())
    review = next(fit for fit in found.fits if fit.name == "review")
    assert (review.source, review.p50) == ("events", 30.0)
    state = State.of(1300.0, ("T1",), where=IN_REVIEW, came=1300.0)
    told = forecast(found.model, state, 5)
    assert told.done.tolist() == [[1440.0 + 510] * 5]


def test_a_planned_night_is_waited_through_and_a_new_day_used():
    """With two people from 8 to 16 each plate of a full line begins at 8:00 at the earliest, and no later than needed."""
    base = reference()
    steps = tuple(replace(step, service=Service("fixed", mean=60.0)) for step in base.steps)
    runs = tuple(Run(480.0 + n, 540.0 + n, 600.0 + n) for n in range(30))
    known = replace(calibrate(Past(0.0, 1440.0, runs), base), absence=0.0)
    model = replace(known.model, steps=(replace(steps[0], servers=4), replace(steps[1], servers=4), steps[2]))
    turns = tuple(Turn(480.0, ((480.0, 960.0),)) for _ in range(2))
    courses = {name: (replace(many[0], next="report", share=1.0),) for name, many in model.courses.items()}
    model = replace(model, courses=courses, failing=0.0)
    attended = replace(known, model=model).attended({"prepare": Duty(turns)})
    names = tuple(f"T{n}" for n in range(94 * 2))
    told = forecast(attended.model, State.of(300.0, names, where=WAITING), 4)
    assert set(told.done.ravel().tolist()) == {600.0}
    assert told.half.tolist() == [600.0] * 4


def test_a_cycler_out_of_service_makes_plates_wait():
    """Two plates and two cyclers, of which one is out for ever: the second run begins when the first has ended."""
    base = reference()
    prepare, cycler, review = (replace(step, service=Service("fixed", mean=60.0)) for step in base.steps)
    courses = {name: (replace(many[0], next="report", share=1.0),) for name, many in base.courses.items()}
    out = Wear(((0.0, 9e5),))
    steps = (prepare, replace(cycler, servers=2, wear=out), review)
    model = replace(base, steps=steps, courses=courses, failing=0.0)
    plates = (InWork(0, 30.0), InWork(0, 30.0))
    state = State.of(0.0, ("T1", "T2"), plates, where=2, plate=np.array([0, 1]))
    told = forecast(model, state, 3)
    assert np.sort(told.done, axis=0)[:, 0].tolist() == [90.0, 150.0]


def test_live_curves_decide_what_is_played():
    """A tube that its curves send to a retest is never reported by its first run, one that concludes always is."""
    base = reference()
    state = State.of(0.0, ("T1", "T2"), (InWork(1, 10.0, left=50.0),), where=2, plate=0)
    told = forecast(base, replace(state, told={0: "retest", 1: "conclude"}), 60)
    assert told.done[0].min() > 50.0 + 60.0
    fair = forecast(base, state, 60)
    assert np.mean(told.done[1] <= 51.0) >= np.mean(fair.done[1] <= 51.0)
    assert np.mean(fair.done[0] <= 51.0) > 0.8


def test_levels_of_no_windows_never_end_work():
    """Where nobody is ever on nothing begins and no work ends."""
    level = Level(np.empty(0), np.empty(0, dtype=np.int64))
    assert (level.at(0.0), level.after(0.0, 1.0), level.above(0, 0.0)) == (0, float("inf"), float("inf"))
