"""The laboratory played on from where it stands: exact where it is certain, honest where it is not."""

from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler import FillRules, templates_from_toml
from sim.calibrate import Passage, Past, Run, calibrate, ks_distance, ks_limit, reference
from sim.forecast import forecast
from sim.now import (
    COMING,
    IN_REVIEW,
    KINDS,
    ON_PLATE,
    POOL,
    POOLED,
    WAITING,
    Course,
    InWork,
    Model,
    Seen,
    State,
    Step,
    Tide,
    left_of,
)
from sim.refusal import ScenarioError
from sim.score import score, together
from sim.service import Service
from sim.trials import admit, advise

TEMPLATE = templates_from_toml(files("scheduler").joinpath("plates.toml").read_text("utf-8"))["96-standard"]
ROOM = len(TEMPLATE.sample_wells("column"))
EAGER = FillRules(TEMPLATE, policy="urgency", min_fill=1, max_wait_minutes=0)
NOW = 600.0
SURE = (Course("report", 1.0),)


def fixed(minutes):
    """A time that never varies."""
    return Service("fixed", mean=minutes)


def courses(**named):
    """Every test ends in a report, but for those named `single_first` and the like."""
    found = {f"{kind} {test}": SURE for kind in KINDS for test in ("first", "again")}
    return found | {name.replace("_", " "): many for name, many in named.items()}


def laboratory(prepare=2, cyclers=1, fill=EAGER, review=20.0, **named):
    """An hour of preparation, ninety minutes of cycling, a review that keeps nobody waiting."""
    steps = (
        Step("prepare", fixed(60.0), prepare),
        Step("cycler", fixed(90.0), cyclers, reads=True),
        Step("review", fixed(review)),
    )
    more = {name: named.pop(name) for name in list(named) if name in Model.__dataclass_fields__}
    return Model(steps, courses(**named), fill, **more)


def tubes(count, plates=(), **given):
    """Single tubes that wait since now."""
    return State.of(NOW, tuple(f"T{n}" for n in range(count)), tuple(plates), **given)


def minutes(found):
    """Minutes from now to the report of each tube, when nothing is uncertain."""
    assert (found.done[:, 0] == found.done[:, -1]).all()
    return (found.done[:, 0] - NOW).tolist()


def test_plates_pass_their_stations_one_after_the_other():
    """Two prepare at once, one cycler: three plates are read after 150, 240 and 330 minutes, the urgent tubes first."""
    state = tubes(3 * ROOM, due=NOW + 2000 - np.arange(3 * ROOM))
    found = minutes(forecast(laboratory(), state, 3))
    assert found == [330.0] * ROOM + [240.0] * ROOM + [150.0] * ROOM


def test_work_in_hand_goes_on_with_what_is_left_of_it():
    """Plates in preparation, waiting for the cycler and in it end when their own time ends, or when somebody knows better."""
    plates = [InWork(1, 60.0), InWork(1, 5.0, waiting=True), InWork(0, 20.0), InWork(0, 59.0)]
    state = tubes(4, plates, where=ON_PLATE, plate=np.arange(4))
    assert minutes(forecast(laboratory(), state, 2)) == [30.0, 120.0, 300.0, 210.0]
    known = replace(state, plates=(InWork(1, 60.0, left=7.0), *plates[1:]))
    assert minutes(forecast(laboratory(), known, 2))[:2] == [7.0, 97.0]


def test_what_has_lasted_longer_than_anything_goes_on_a_little():
    """Remaining times are those beyond the elapsed ones; beyond all of them a tenth of the mean is left."""
    seen = Seen(np.arange(1.0, 101.0))
    chance = np.random.default_rng(1).random(5000)
    left = left_of(seen, np.full(5000, 90.0), chance)
    assert set(left) == set(range(1, 11))
    assert set(left_of(seen, np.zeros(5000), chance)) == set(seen.values)
    for known in (seen, replace(seen, measured=True)):
        late = left_of(known, np.full(5000, 150.0), chance)
        assert late.min() >= 0
        assert late.mean() == pytest.approx(5.05, rel=0.1)


def test_measured_times_leave_room_between_and_beyond_them():
    """Work that 10 measured times outlast ends before, between and beyond them, each of the 11 gaps as often."""
    seen = Seen(np.arange(1.0, 101.0), measured=True)
    left = left_of(seen, np.full(50_000, 90.5), np.random.default_rng(1).random(50_000))
    gaps = np.bincount(np.minimum(left + 0.5, 10.0).astype(int), minlength=11)
    assert left.min() >= 0
    assert gaps / left.size == pytest.approx([1 / 11] * 11, rel=0.1)


@given(
    st.sampled_from(["uniform", "lognormal", "exponential"]),
    st.integers(min_value=2, max_value=60),
    st.integers(min_value=0, max_value=2**32 - 1),
)
@settings(max_examples=25)
def test_a_band_of_smoothed_times_holds_the_next_one_as_often_as_it_says(kind, size, seed):
    """Whatever they are drawn from, and however few they are: measured times foretell between which of them the next one falls."""
    rng = np.random.default_rng(seed)
    drawn = Service(kind, mean=20.0, sd=8.0, low=5.0, high=30.0)
    rounds = np.sort(drawn.draw(4000 * size, rng).reshape(4000, size), axis=1)
    following = drawn.draw(4000, rng)
    foretold = [Service("smoothed", values=tuple(one)).draw(1, rng)[0] for one in rounds[:2000].tolist()]
    for place in (0, size // 2, size - 1):
        share = (place + 1) / (size + 1)
        spread = 5 * np.sqrt(share * (1 - share))
        assert abs((following < rounds[:, place]).mean() - share) < spread / np.sqrt(4000)
        assert abs((foretold < rounds[:2000, place]).mean() - share) < spread / np.sqrt(2000)


def test_the_closing_rules_of_the_bench_hold():
    """A patient bench waits an hour for a partial plate of its least fill; fewer wait for their slack."""
    patient = replace(EAGER, min_fill=10, max_wait_minutes=60.0)
    assert minutes(forecast(laboratory(fill=patient), tubes(10), 1)) == [210.0] * 10
    due = NOW + 600
    assert minutes(forecast(laboratory(fill=patient), tubes(9, due=due), 1)) == [420.0 + 150.0] * 9


def test_a_tube_on_its_way_is_plated_when_it_comes():
    """A known arrival counts at its minute; one that was sealed a while ago comes when its time of travel is over."""
    state = tubes(2, where=COMING, came=[NOW + 30, NOW - 20])
    found = forecast(laboratory(travel=fixed(25.0)), state, 2)
    assert minutes(found) == [30.0 + 60.0 + 180.0 - 25.0, 5.0 + 150.0]


def test_pools_report_their_members_or_have_them_tested_singly():
    """Members of a negative pool leave when it is read; else each waits for a plate of its own."""
    state = tubes(4, kind=[POOL, 0, 0, 0], where=[WAITING, POOLED, POOLED, POOLED], pool=[-1, 0, 0, 0])
    found = forecast(laboratory(), state, 2)
    assert np.isnan(found.done[0]).all()
    assert (found.done[1:] - NOW == 150.0).all()
    assert found.backlog == 3
    opened = laboratory(pool_first=(Course("retest", 1.0, "singly", 70, 6.0),))
    assert (forecast(opened, state, 2).done[1:] - NOW == 300.0).all()


def test_reviews_and_retests_take_their_time():
    """A reviewed tube leaves after the review, a retested one after another round, one in review when that ends."""
    reviewed = laboratory(single_first=(Course("review", 1.0),))
    state = tubes(2, where=[WAITING, IN_REVIEW], came=[NOW, NOW - 15])
    assert minutes(forecast(reviewed, state, 2)) == [170.0, 5.0]
    again = laboratory(single_first=(Course("retest", 1.0, "re-extract", 40, 6.0),))
    assert minutes(forecast(again, tubes(1), 2)) == [300.0]


def test_two_assays_never_share_a_plate():
    """Tubes of two assays, few as they are, take two plates and so two turns of the cycler."""
    assert minutes(forecast(laboratory(), tubes(4, lane=[0, 0, 1, 1]), 1)) == [150.0, 150.0, 240.0, 240.0]


def uncertain(**named):
    """A laboratory with retests, reviews, failing plates, and tubes nobody announced."""
    first = (
        Course("report", 0.9),
        Course("review", 0.04),
        Course("retest", 0.05, "re-extract", 40),
        Course("recollect", 0.01),
    )
    made = laboratory(single_first=first, mixed_first=first, failing=0.05, tide=Tide((30.0,) * 24), **named)
    cycling = replace(made.steps[1], service=Service("uniform", low=80, high=100))
    return replace(made, steps=(made.steps[0], cycling, made.steps[2]))


places = st.lists(
    st.tuples(
        st.sampled_from((WAITING, COMING, IN_REVIEW, ON_PLATE)),
        st.integers(0, 1),
        st.integers(-300, 900),
        st.booleans(),
    ),
    max_size=60,
)


@settings(max_examples=15)
@given(places, st.sampled_from(("urgency", "cost", "fifo-full")), st.integers(0, 5))
def test_every_tube_is_reported_once_and_never_before_now(rows, policy, seed):
    """Whatever stands where, under every policy: each owed tube has a time from now on, quantiles rise, seeds repeat."""
    where, kind, due, again = (np.array([row[n] for row in rows]) for n in range(4))
    given_ = (
        {"where": where, "kind": kind, "due": NOW + due, "again": again & (where != COMING)} if rows else {}
    )
    state = tubes(
        len(rows),
        [InWork(1, 30.0), InWork(0, 10.0)],
        plate=np.where(where == ON_PLATE, due % 2, -1) if rows else -1,
        **given_,
    )
    model = uncertain(fill=replace(EAGER, policy=policy))
    found = forecast(model, state, 4, seed)
    assert found.done.shape == (len(rows), 4)
    assert not np.isnan(found.done).any()
    assert (found.done >= NOW).all()
    assert (np.diff(found.quantiles(0.1, 0.5, 0.9), axis=0) >= 0).all()
    assert found.expected_breaches == pytest.approx(found.risk.sum())
    assert (found.cleared >= found.half).all()
    assert (forecast(model, state, 4, seed).done == found.done).all()


def test_more_cyclers_never_hurt_and_advice_is_ranked():
    """Under the same chance a cycler more makes fewer tubes late; the most helpful advice stands first."""
    state = tubes(4 * ROOM, due=NOW + np.linspace(200, 600, 4 * ROOM))
    model = uncertain()
    base = forecast(model, state, 8)
    advice = advise(model, base, replace(EAGER, policy="fifo-full"))
    assert advice[0].code == "server"
    assert advice[0].step == "cycler"
    assert advice[0].low > 0
    assert [one.fewer_late for one in advice] == sorted((one.fewer_late for one in advice), reverse=True)
    more = forecast(model.with_servers(1, 1), state, 8)
    assert advice[0].fewer_late == pytest.approx((base.late - more.late).mean())


def test_two_processes_play_what_one_plays():
    """The replications are the same ones, whoever plays them."""
    state = tubes(30)
    one, two = (forecast(uncertain(), state, 4, workers=workers) for workers in (1, 2))
    assert (one.done == two.done).all()
    assert (one.late == two.late).all()
    impatient = replace(EAGER, policy="fifo-full")
    assert advise(uncertain(), one, impatient, workers=2) == advise(uncertain(), one, impatient)


def test_newcomers_make_others_late_only_when_they_go_first():
    """Urgent newcomers push waiting tubes past their due time; patient ones do not."""
    state = tubes(ROOM, due=NOW + 200)
    urgent = State.of(NOW, tuple(f"N{n}" for n in range(ROOM)), due=NOW + 180, priority=30)
    found = admit(laboratory(prepare=1), state, urgent, 3)
    assert (found.on_time, found.breaches) == (1.0, ROOM)
    assert found.mine.tolist() == list(range(ROOM, 2 * ROOM))
    patient = replace(
        urgent, due=urgent.due + 900, promised=urgent.promised + 900, priority=urgent.priority * 0
    )
    assert admit(laboratory(prepare=1), state, patient, 3).breaches == 0


def test_a_model_or_a_state_that_does_not_add_up_is_refused():
    """Shares that miss one, no cycler, plates that always fail, arrays of other lengths: refused in words."""
    with pytest.raises(ScenarioError, match="add up"):
        laboratory(single_first=(Course("report", 0.5),))
    with pytest.raises(ScenarioError, match="course is one of"):
        Course("vanish", 1.0)
    with pytest.raises(ScenarioError, match="failing"):
        laboratory(failing=1.0)
    with pytest.raises(ScenarioError, match="one step reads"):
        Model((Step("prepare", fixed(1.0)),), courses(), EAGER)
    with pytest.raises(ScenarioError, match="start at 1"):
        forecast(laboratory(), tubes(1), 0)
    for odd in ({"due": [1.0, 2.0]}, {"where": ON_PLATE}, {"where": POOLED}):
        with pytest.raises(ScenarioError, match="State"):
            tubes(3, **odd)


def test_without_a_past_the_reference_speaks_and_says_so():
    """Nothing known: every parameter is marked; enough known: the cycler's times are those that were seen."""
    base = reference(EAGER)
    fits = calibrate(Past(0.0, 0.0), base).fits
    assert {fit.source for fit in fits} == {"reference"}
    assert all(fit.fits is None for fit in fits)
    runs = tuple(
        Run(n * 200.0, n * 200.0 + 50 + n % 3, n * 200.0 + 150 + n % 3, n % 25 > 0, f"C{n % 2}")
        for n in range(50)
    )
    seen = [Passage("single", True, "review", reporting=float(n % 7)) for n in range(40)]
    learned = calibrate(Past(0.0, 10_000.0, runs, tuple(seen)), base)
    named = {fit.name: fit for fit in learned.fits}
    assert (named["cycler"].source, named["cycler"].n, named["cycler"].p50, named["cycler"].fits) == (
        "events",
        50,
        100.0,
        True,
    )
    assert learned.model.steps[1].servers == 2
    assert learned.model.courses["single first"] == (Course("review", 1.0, "", 0, 0.0),)
    assert 0.01 < learned.model.failing < 0.04


def test_halves_that_differ_do_not_fit():
    """The distance of two samples is the largest gap between their shares; a shifted half is beyond its limit."""
    assert ks_distance([1, 2, 3, 4], [3, 4, 5, 6]) == 0.5
    assert ks_limit(50, 50) == pytest.approx(0.3256)
    runs = tuple(Run(n * 200.0, n * 200.0 + 50, n * 200.0 + (140 if n < 30 else 160)) for n in range(60))
    fit = next(fit for fit in calibrate(Past(0.0, 1.0, runs), reference(EAGER)).fits if fit.name == "cycler")
    assert (fit.distance, fit.fits) == (1.0, False)


def test_a_score_is_what_the_words_say():
    """Errors relative to turnaround and to the time left, coverage of both bands, half and whole backlog."""
    foreseen = np.array([[100, 110, 120, 130, 140]] * 4, dtype=float).T
    happened = np.array([120.0, 132.0, 150.0, np.nan])
    found = score(90.0, foreseen, np.array([0.0, 0.0, 0.0, 0.0]), happened, (130.0, 150.0))
    assert (found.tubes, found.reported) == (4, 3)
    assert found.mape == pytest.approx((0 + 12 / 132 + 30 / 150) / 3)
    assert found.mape_left == pytest.approx((0 + 12 / 42 + 30 / 60) / 3)
    assert (found.cover80, found.cover95, found.bias) == pytest.approx((1 / 3, 2 / 3, 14.0))
    assert found.half_error == pytest.approx(2 / 42)
    assert np.isnan(found.cleared_error)
    both = together([found, replace(found, reported=1, cover95=1.0)])
    assert both.cover95 == pytest.approx((2 + 1) / 4)
    assert together([]) is None
