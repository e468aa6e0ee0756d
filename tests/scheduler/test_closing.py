"""When a plate closes under each policy."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_fill import NOW, RULES, job, jobs

from scheduler import POLICIES, Closing, Expected, FillRules, Plan, ScheduleError, Wait, fill_plate, weight
from scheduler.closing import _until_full

COST = replace(RULES, policy="cost", per_minute=1.0, empty_well_minutes=30.0, late_weight=20.0)


def test_waiting_is_dear_when_few_tubes_come():
    """With 0.1 tubes a minute three waiting tubes close their plate, with one a minute thirty do."""
    slow = replace(COST, per_minute=0.1)
    assert isinstance(fill_plate(jobs(2), slow, NOW), Wait)
    found = fill_plate(jobs(3), slow, NOW)
    assert isinstance(found, Plan)
    assert found.closed_by == "cost"
    assert "empty wells" in found.reasons[0]
    assert isinstance(fill_plate(jobs(29), COST, NOW), Wait)
    assert isinstance(fill_plate(jobs(30), COST, NOW), Plan)


def test_lateness_outweighs_empty_wells():
    """Five tubes that would be late once the plate is full close it; the same with time left do not."""
    assert isinstance(fill_plate(jobs(5, due=3.2), COST, NOW), Plan)
    assert isinstance(fill_plate(jobs(5, due=24), COST, NOW), Wait)


def test_held_persons_weigh_more():
    """A retest of a pool with ten persons behind it weighs as twenty first tests."""
    assert weight(job("a", reason="single-target", persons=10)) == 20
    assert isinstance(fill_plate(jobs(2, reason="single-target", persons=10), COST, NOW), Plan)


def test_no_partial_plate_behind_a_queue_of_machines():
    """While plates wait for a machine a partial one waits too, even when its slack is used up."""
    queued = replace(COST, queued=1)
    assert fill_plate(jobs(92, due=1), queued, NOW) == Wait(NOW + timedelta(minutes=5), "filling")
    assert isinstance(fill_plate(jobs(93), queued, NOW), Plan)


def test_without_a_rate_the_tubes_that_wait_tell_it():
    """Thirty tubes in 30 minutes are one a minute; nothing expected at all closes at once."""
    self_judged = replace(COST, per_minute=None)
    assert isinstance(fill_plate(jobs(30, waited=30), self_judged, NOW), Plan)
    assert isinstance(fill_plate(jobs(29, waited=29), self_judged, NOW), Wait)
    assert isinstance(fill_plate(jobs(1), replace(COST, per_minute=0.0), NOW), Plan)


def test_full_plates_in_order_of_receipt():
    """`fifo-full` takes the longest waiting and closes a partial plate only when a tube is due."""
    rules = replace(RULES, policy="fifo-full")
    old, urgent = jobs(93, "old", waited=100), jobs(10, "urgent", due=0.5, waited=1)
    found = fill_plate([*urgent, *old], rules, NOW)
    assert isinstance(found, Plan)
    assert set(found.tubes) == {one.tube for one in old}
    assert fill_plate(urgent, rules, NOW) == Wait(NOW + timedelta(minutes=30), "filling")
    assert fill_plate(jobs(3, due=-1), rules, NOW).closed_by == "slack"


def test_waves_take_what_came_before_them():
    """At 08:00 with waves at 07:30 and 12:00, tubes of 07:00 go at once, tubes of 07:50 wait until noon."""
    rules = replace(RULES, policy="waves", waves=(450.0, 720.0))
    early, late = jobs(3, "early", waited=60), jobs(200, "late", waited=10)
    found = fill_plate([*late, *early], rules, NOW)
    assert found.closed_by == "wave"
    assert found.tubes == ("early000", "early001", "early002")
    assert fill_plate(late, rules, NOW) == Wait(NOW + timedelta(hours=4), "filling")


def test_waves_over_midnight():
    """Before the first wave of the day the last one of yesterday counts; after the last, tomorrow's first."""
    evening = replace(RULES, policy="waves", waves=(600.0, 1200.0))
    assert isinstance(fill_plate(jobs(1, waited=721), evening, NOW), Plan)
    assert fill_plate(jobs(1, waited=719), evening, NOW) == Wait(NOW + timedelta(hours=2), "filling")
    morning = replace(RULES, policy="waves", waves=(60.0, 120.0))
    assert fill_plate(jobs(1), morning, NOW) == Wait(NOW + timedelta(hours=17), "filling")


@given(st.sampled_from(POLICIES), st.lists(st.tuples(st.floats(-5, 30), st.floats(0, 300)), max_size=120))
def test_every_policy_plates_or_names_a_later_time(policy, facts):
    """Whatever waits, the answer is a plate without doubles or a time in the future, never a stall."""
    rules = replace(RULES, policy=policy, waves=(450.0, 720.0) if policy == "waves" else ())
    line = [job(f"T{n:03}", due=due, waited=waited) for n, (due, waited) in enumerate(facts)]
    found = fill_plate(line, rules, NOW)
    if isinstance(found, Wait):
        assert found.until > NOW
    else:
        assert len(found.tubes) == len(set(found.tubes)) <= 93
        assert len(found.tubes) + len(found.left) == len(line)


@pytest.mark.parametrize(
    "more",
    [
        {"policy": "lifo"},
        {"empty_well_minutes": 0},
        {"late_weight": -1},
        {"policy": "waves"},
        {"waves": (10.0,)},
        {"policy": "waves", "waves": (20.0, 10.0)},
        {"policy": "waves", "waves": (1500.0,)},
        {"min_fill": 0},
    ],
)
def test_senseless_rules_are_refused(more):
    """Each is refused as BAD_RULES, by the closing rules alone and within the fill rules."""
    for make in (lambda: Closing(**more), lambda: FillRules(RULES.template, **more)):
        with pytest.raises(ScheduleError) as error:
            make()
        assert error.value.code == "BAD_RULES"


def test_a_plate_waits_for_retests_that_are_foreseen_soon():
    """Four tubes that would close alone wait for a foreseen plateful; not for a few wells, nor for long."""
    slow = replace(COST, per_minute=0.1)
    room = len(slow.template.sample_wells(slow.order))

    def found(count: int, minutes: float, assay: str = job("a").assay) -> Plan | Wait:
        coming = Expected(assay, count, NOW + timedelta(minutes=minutes))
        return fill_plate(jobs(4), slow, NOW, [coming])

    assert isinstance(found(room, 5), Wait)
    assert isinstance(found(2, 5), Plan)
    assert isinstance(found(room, 1500), Plan)
    assert isinstance(found(room, 5, "another assay"), Plan)


@given(
    st.integers(1, 90),
    st.floats(0, 5),
    st.lists(st.tuples(st.floats(0, 600), st.integers(1, 50)), max_size=4).map(sorted),
)
def test_foreseen_jobs_never_make_the_wait_longer(empty, rate, coming):
    """Filling takes at most as long as without them, and at that minute enough have come but not before."""
    found = _until_full(empty, rate, coming)
    assert found <= _until_full(empty, rate, ())
    if found < float("inf"):
        came = rate * found + sum(count for minute, count in coming if minute <= found)
        assert came >= empty - 1e-6


def test_expected_jobs_are_checked():
    """A count below one and a time without zone are refused."""
    with pytest.raises(ScheduleError, match="at least 1"):
        Expected("a", 0, NOW)
    with pytest.raises(ScheduleError, match="time zone"):
        Expected("a", 1, NOW.replace(tzinfo=None))
