"""Who is on, when: every minute of a rota is accounted for."""

from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler import Rota, ScheduleError, Shift, windows, without
from scheduler.shifts import minutes_on, on_duty

DAY = Shift("day", 480, 960, 3, breaks=((240, 285),))
NIGHT = Shift("night", 1320, 1800, 1)


def test_a_position_is_on_in_its_shift_and_off_in_the_break():
    """Three positions by day with a break, one of them over midnight too."""
    found = windows(Rota((DAY, NIGHT)), 2)
    assert found[1] == ((480, 720), (765, 960), (1920, 2160), (2205, 2400))
    assert found[0][0] == (0.0, 360)  # the night that began the day before
    assert found[0][3] == (1320, 1800)
    assert [on_duty(found, minute) for minute in (100, 500, 730, 1000)] == [1, 3, 0, 0]


def test_spells_in_protective_clothing_end_with_a_rest():
    """An eight-hour shift in spells of four hours with half an hour of rest."""
    found = windows(Rota((Shift("day", 0, 480, 1),), spell=240, rest=30), 1)
    assert found == (((0, 240), (270, 480)),)


def test_touching_shifts_are_one_stretch_for_the_position():
    """At a shift change the position goes on; the second position ends with the larger shift."""
    rota = Rota((Shift("early", 360, 840, 2), Shift("late", 840, 1320, 1)))
    assert windows(rota, 1) == (((360, 1320),), ((360, 840),))
    assert rota.positions == 2


def test_an_absence_takes_one_position_out_of_one_shift():
    """The absent position is off on that day only."""
    found = windows(Rota((Shift("day", 480, 960, 2),)), 2, {(0, "day", 1)})
    assert found == (((480, 960), (1920, 2400)), ((1920, 2400),))


def test_shifts_on_days_of_the_week():
    """A shift of days 0 and 6 is laid out on those days alone."""
    found = windows(Rota((Shift("weekend", 0, 60, 1, days=(0, 6)),)), 8)
    assert found == (((0, 60), (8640, 8700), (10080, 10140)),)


def test_down_time_is_cut_out_of_windows():
    """Down time at the edges, in the middle, across two windows and outside all of them."""
    own = ((0.0, 100.0), (200.0, 300.0))
    assert without(own, ((0, 10), (40, 50), (90, 210), (400, 500))) == ((10, 40), (50, 90), (210, 300))
    assert without(own, ((0, 300),)) == ()
    assert minutes_on(own, 50, 250) == 100


@given(
    st.lists(st.tuples(st.integers(0, 900), st.integers(1, 500), st.integers(0, 4)), min_size=1, max_size=3),
    st.sampled_from([0, 60, 240]),
)
def test_windows_hold_exactly_the_staffed_minutes(given_shifts, spell):
    """Without absence the minutes of all windows are people x minutes of the shifts, less the rests."""
    shifts = [
        Shift(f"s{n}", start, min(start + length, 1440), people)
        for n, (start, length, people) in enumerate(given_shifts)
    ]
    apart = all(a.end <= b.start or b.end <= a.start for a, b in combinations(shifts, 2))
    if not apart:
        with pytest.raises(ScheduleError, match="overlap"):
            Rota(tuple(shifts))
        return
    rota = Rota(tuple(shifts), spell=spell, rest=30)
    found = windows(rota, 3)
    assert all(a < b for own in found for a, b in own)
    assert all(b <= c for own in found for (_, b), (c, _) in pairwise(own))
    for minute in range(0, 3 * 1440, 97):
        on = sum(s.people for s in shifts if s.start <= minute % 1440 < s.end)
        resting = spell and any(
            s.start <= minute % 1440 < s.end and (minute % 1440 - s.start) % (spell + 30) >= spell
            for s in shifts
        )
        assert on_duty(found, minute) == (0 if resting else on)


WRONG = {
    "starts tomorrow": (lambda: Shift("x", 1500, 1600, 1), "BAD_SHIFT"),
    "ends at once": (lambda: Shift("x", 100, 100, 1), "BAD_SHIFT"),
    "negative people": (lambda: Shift("x", 100, 200, -1), "BAD_SHIFT"),
    "eighth day": (lambda: Shift("x", 100, 200, 1, days=(7,)), "BAD_SHIFT"),
    "break backwards": (lambda: Shift("x", 100, 200, 1, breaks=((50, 40),)), "BAD_SHIFT"),
    "unknown ending": (lambda: Rota((DAY,), ending="stop"), "BAD_ROTA"),
    "no shift": (lambda: Rota(()), "BAD_ROTA"),
    "one name twice": (lambda: Rota((DAY, DAY)), "BAD_ROTA"),
    "overlap": (lambda: Rota((DAY, Shift("other", 900, 1000, 1))), "SHIFT_OVERLAP"),
    "overlap over midnight": (lambda: Rota((NIGHT, Shift("early", 300, 400, 1))), "SHIFT_OVERLAP"),
}


@pytest.mark.parametrize("case", WRONG)
def test_senseless_rotas_are_refused(case):
    """Each fault has its code, an overlap over midnight among them."""
    make, code = WRONG[case]
    with pytest.raises(ScheduleError) as error:
        make()
    assert error.value.code == code
