"""The next plate: every job in one well or left, no tube twice, no control overwritten."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler import FillRules, Job, Plan, ScheduleError, Wait, fill_plate, templates_from_toml, urgency

NOW = datetime(2022, 12, 14, 8, 0, tzinfo=UTC)
TEMPLATES = templates_from_toml(files("scheduler").joinpath("plates.toml").read_text("utf-8"))
RULES = FillRules(
    TEMPLATES["96-standard"], policy="urgency", min_fill=24, max_wait_minutes=60, minutes_to_report=180
)


def job(tube, due=24.0, waited=5.0, assay="cov", **more):
    """A job due in `due` hours that has waited `waited` minutes."""
    due_time, received = NOW + timedelta(hours=due), NOW - timedelta(minutes=waited)
    return Job(tube, assay, due_time, received, **more)


def jobs(count, name="T", **more):
    """Several jobs alike."""
    return [job(f"{name}{number:03}", **more) for number in range(count)]


def test_a_full_plate_closes_at_once():
    """93 tubes fill the plate down its columns, the rest is left, the three controls keep their wells."""
    plan = fill_plate(jobs(100), RULES, NOW)
    assert isinstance(plan, Plan)
    assert (plan.closed_by, plan.template, plan.assay, len(plan.tubes), len(plan.left)) == (
        "full",
        "96-standard",
        "cov",
        93,
        7,
    )
    assert [(well.well, well.tube) for well in plan.wells[:2]] == [("A1", "T000"), ("B1", "T001")]
    assert {well.well: well.control for well in plan.wells if well.control} == {
        "A12": "NTC",
        "D12": "EC",
        "H12": "PC",
    }


def test_a_partial_plate_waits_until_its_time():
    """Thirty tubes wait until the oldest has waited an hour; ten, below the minimum, as long as they can."""
    assert fill_plate(jobs(30), RULES, NOW) == Wait(NOW + timedelta(minutes=55), "filling")
    assert fill_plate(jobs(10), RULES, NOW) == Wait(NOW + timedelta(hours=21), "filling")
    assert fill_plate([], RULES, NOW) == Wait(NOW + timedelta(minutes=60), "no jobs")


def test_a_partial_plate_closes_when_waiting_or_slack_is_used_up():
    """The oldest tube's wait closes a plate of 24 and not one of 23; slack closes even a plate of one."""
    waited = fill_plate(jobs(24, waited=60), RULES, NOW)
    assert isinstance(waited, Plan)
    assert waited.closed_by == "waited"
    assert isinstance(fill_plate(jobs(23, waited=60), RULES, NOW), Wait)
    urgent = fill_plate([job("F1", due=3.0)], RULES, NOW)
    assert isinstance(urgent, Plan)
    assert (urgent.closed_by, urgent.tubes) == ("slack", ("F1",))
    assert "F1" in urgent.reasons[0]


def test_asking_again_at_the_time_given_yields_a_plate():
    """`Wait.until` is a promise: at that moment the plate closes."""
    for line in (jobs(30), jobs(10)):
        wait = fill_plate(line, RULES, NOW)
        assert isinstance(fill_plate(line, RULES, wait.until), Plan)


def test_the_most_urgent_goes_first():
    """Priority before due time before waiting time."""
    line = [*jobs(95), job("LATE", due=30), job("SOON", due=10), job("FEVER", due=29, priority=30)]
    plan = fill_plate(line, RULES, NOW)
    assert plan.tubes[:2] == ("FEVER", "SOON")
    assert "LATE" in {left.tube for left in plan.left}


def test_one_assay_and_one_kit_per_plate():
    """The most urgent job's assay wins the plate; another assay or kit never shares it."""
    line = [*jobs(30, due=3), *jobs(30, "F", due=2, assay="flu"), *jobs(5, "K", due=3, kit="second")]
    plan = fill_plate(line, RULES, NOW)
    assert (plan.assay, plan.kit) == ("flu", "")
    assert {tube[0] for tube in plan.tubes} == {"F"}
    kit = fill_plate([job("K1", due=1, kit="second"), *jobs(3, due=2)], RULES, NOW)
    assert (kit.kit, kit.tubes) == ("second", ("K1",))


def test_a_waiting_assay_does_not_hold_up_a_full_plate_of_another():
    """One urgent job that still has slack waits while 93 others fill their own plate."""
    plan = fill_plate([job("FLU", due=6, assay="flu"), *jobs(93)], RULES, NOW)
    assert (plan.assay, plan.closed_by) == ("cov", "full")
    assert [left.tube for left in plan.left] == ["FLU"]


def test_rna_goes_behind_the_tubes_and_outside_the_extraction_batch():
    """Re-amplified RNA takes the last wells and no EC of this plate speaks for it."""
    line = [job("RNA", due=1, step="re-amplify"), *jobs(3, due=2)]
    plan = fill_plate(line, RULES, NOW)
    assert plan.tubes == ("T000", "T001", "T002", "RNA")
    batches = {well.tube: well.batch for well in plan.wells if well.tube}
    assert batches == {"T000": 1, "T001": 1, "T002": 1, "RNA": None}


def test_steps_can_be_kept_apart():
    """Under `separate`, RNA gets a plate of its own, and that plate needs no EC."""
    rules = FillRules(TEMPLATES["96-standard"], steps="separate")
    plan = fill_plate([job("RNA", due=1, step="re-amplify"), *jobs(3, due=2)], rules, NOW)
    assert plan.tubes == ("RNA",)
    assert [well.control for well in plan.wells if well.control] == ["NTC", "PC"]
    assert len(plan.left) == 3


def test_a_384_plate_fills_one_extraction_batch_after_the_other():
    """100 tubes use two quadrants, each with its own controls; the other two quadrants stay empty."""
    rules = FillRules(TEMPLATES["384-quadrants"])
    plan = fill_plate(jobs(100, due=1), rules, NOW)
    assert Counter(well.batch for well in plan.wells if well.tube) == {1: 93, 2: 7}
    assert {well.batch for well in plan.wells if well.control == "EC"} == {1, 2}
    assert len([well for well in plan.wells if well.control]) == 6


def test_a_tube_given_twice_stays_once():
    """A second job of a tube on the plate, equal or not, is left for later."""
    twice = job("T000", due=1)
    plan = fill_plate([twice, twice, job("T000", due=2, step="re-amplify")], RULES, NOW)
    assert plan.tubes == ("T000",)
    assert len(plan.left) == 2


some_jobs = st.lists(
    st.builds(
        job,
        st.integers(0, 150).map(lambda number: f"T{number}"),
        due=st.floats(-1, 30),
        waited=st.floats(0, 200),
        assay=st.sampled_from(["cov", "cov", "cov", "flu"]),
        priority=st.sampled_from([0, 0, 20]),
        step=st.sampled_from(["extract", "extract", "re-amplify"]),
        kit=st.sampled_from(["", "", "second"]),
    ),
    max_size=40,
)
crowds = st.builds(lambda line, crowd: [*line, *jobs(crowd)], some_jobs, st.integers(0, 400))
some_rules = st.builds(
    FillRules,
    st.sampled_from(sorted(TEMPLATES.values(), key=lambda template: template.id)),
    min_fill=st.integers(1, 96),
    max_wait_minutes=st.floats(0, 120),
    order=st.sampled_from(["column", "row"]),
    minutes_to_report=st.floats(0, 600),
    steps=st.sampled_from(["mixed", "separate"]),
)


@settings(deadline=None, max_examples=60)
@given(line=crowds, rules=some_rules)
def test_no_job_is_lost_no_tube_twice_no_control_overwritten(line, rules):
    """The laws of a plate, for any jobs and any rules; and the order of asking does not matter."""
    answer = fill_plate(line, rules, NOW)
    assert fill_plate(line[::-1], rules, NOW) == answer
    if isinstance(answer, Wait):
        assert answer.until > NOW or not line
        return
    assert len(answer.tubes) == len(set(answer.tubes)) > 0
    wells = [well.well for well in answer.wells]
    assert len(wells) == len(set(wells))
    for well in answer.wells:
        assert (well.tube is None) != (well.control is None)
        assert rules.template.control_at.get(well.well) == well.control
    kinds = [well.control for well in answer.wells]
    assert "NTC" in kinds
    assert "PC" in kinds
    left = Counter(answer.left)
    placed = Counter(line) - left
    assert left + placed == Counter(line)
    assert sorted(placed.elements(), key=urgency) == sorted(
        (j for j in placed.elements() if (j.assay, j.kit) == (answer.assay, answer.kit)), key=urgency
    )
    assert sorted(answer.tubes) == sorted(j.tube for j in placed.elements())
    if rules.steps == "separate":
        assert len({j.step for j in placed.elements()}) == 1


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"order": "spiral"}, "BAD_RULES"),
        ({"steps": "both"}, "BAD_RULES"),
        ({"min_fill": 0}, "BAD_RULES"),
        ({"max_wait_minutes": -1}, "BAD_RULES"),
    ],
    ids=["order", "steps", "fill", "wait"],
)
def test_senseless_rules_are_refused(change, code):
    """Impossible fill rules are refused when they are made."""
    with pytest.raises(ScheduleError) as caught:
        FillRules(TEMPLATES["96-standard"], **change)
    assert caught.value.code == code
