"""The search for the best pool, its floor, its cap and its refusals."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pooling
from pooling.design import design
from pooling.size import Accuracy, PoolDesignError, two_stage


def test_keys_of_the_surface():
    """`pooling.design` gives every figure the command line prints, under the names it prints."""
    found = pooling.design(0.01, size=10, sensitivity=0.99, specificity=0.99)
    assert (found.size, found.stages) == (10, 2)
    assert found.tests_per_person == pytest.approx(0.20371, abs=5e-6)
    assert found.expected_tests == pytest.approx(2.0371, abs=5e-5)
    assert found.saving == pytest.approx(0.79629, abs=1e-5)
    assert (round(found.ppv, 4), round(found.npv, 4)) == (0.9127, 0.9998)
    assert (found.sensitivity, found.array, found.refused) == (pytest.approx(0.9801), None, ())


@pytest.mark.parametrize(("prevalence", "size"), [(0.001, 32), (0.01, 11), (0.05, 5), (0.1, 4), (0.3, 3)])
def test_best_size_with_a_perfect_assay(prevalence, size):
    """The best two-stage size is the tabulated one."""
    assert size == design(prevalence).size


def test_nothing_helps_above_the_last_break_even():
    """At 31 % every pool is refused for saving nothing and every tube is tested singly."""
    found = design(0.31)
    assert (found.size, found.stages, found.tests_per_person, found.saving) == (1, 1, 1.0, 0.0)
    assert {"NO_SAVING"} == {refused.code for refused in found.refused}
    assert (found.refused[0].size, found.refused[-1].last) == (2, 32)


def test_the_cap_is_held_and_named():
    """At 0.01 % the cap of 32 wins over the optimum of 101, and the answer says so."""
    found = design(0.0001)
    assert found.size == 32
    (refused,) = found.refused
    assert (refused.size, refused.code) == (101, "ABOVE_CAP")
    assert "32" in refused.sentence
    assert design(0.0001, max_size=128).size == 101


def test_missed_pools_are_no_saving():
    """At p = .3 and Se .9 pools of 160 look cheaper than pools of 3 only because they miss the infected."""
    weak = Accuracy(0.9, 0.99)
    assert two_stage(0.3, 160, weak).tests_per_person < two_stage(0.3, 3, weak).tests_per_person
    for floor in (None, 0.0):
        found = design(0.3, sensitivity=0.9, specificity=0.999, max_size=160, min_sensitivity=floor)
        assert found.size == 3
        assert found.tests_per_person == pytest.approx(
            two_stage(0.3, 3, Accuracy(0.9, 0.999)).tests_per_person
        )
        refused = {entry.code: entry for entry in found.refused}
        assert (refused["MISSED_POOLS"].size, refused["MISSED_POOLS"].last) == (4, 160)


def test_the_floor_refuses_sizes():
    """With dilution the floor stops the pool growing, and the refused sizes are listed as one range."""
    detection = {2: 0.995, 5: 0.883, 10: 0.817, 20: 0.736}
    free = design(0.005, detection=detection, min_sensitivity=0.0)
    held = design(0.005, detection=detection, min_sensitivity=0.85)
    assert free.size > held.size
    assert held.sensitivity >= 0.85
    (below,) = [refused for refused in held.refused if refused.code == "BELOW_FLOOR"]
    assert (held.size + 1, 20) == (below.size, below.last)
    assert "85.00%" in below.sentence


def test_the_default_floor_is_85_percent_of_single_sensitivity():
    """Se .8 in pools keeps only 80 % of single sensitivity: without a floor of its own that is refused."""
    assert design(0.01, sensitivity=0.8).size == 1
    assert design(0.01, sensitivity=0.9).size > 1
    assert design(0.01, sensitivity=0.9, min_sensitivity=0.81).size > 1


@pytest.mark.parametrize(
    ("prevalence", "layout", "cost", "stages"),
    [
        (0.01, (4, 4, 4, 4), 0.1390, 3),
        (0.05, (3, 3, 3), 0.3770, 3),
        (0.1, (3, 3, 3), 0.5863, 3),
        (0.15, (1, 1, 1), 0.7192, 2),
    ],
)
def test_three_stages(prevalence, layout, cost, stages):
    """16 -> 4 x 4 at 1 %, 9 -> 3 x 3 at 5 % and 10 %, and two stages from 15 % on, said honestly."""
    found = design(prevalence, stages=3, max_size=16)
    assert (layout, stages, cost) == (found.layout, found.stages, round(found.tests_per_person, 4))


def test_an_array_is_answered_with_its_objections():
    """An 8 x 12 array is computed as asked; its rows of 12 are above a cap of 10."""
    found = design(0.01, array=(8, 12), max_size=10)
    assert (
        found.size,
        found.stages,
        found.array,
        round(found.tests_per_person, 5),
    ) == (96, 2, (8, 12), 0.22537)
    assert [refused.code for refused in found.refused] == ["ABOVE_CAP"]
    assert design(0.01, array=(8, 12)).refused == ()


def test_a_size_asked_for_is_computed_and_criticised():
    """Pools of 40 are computed when asked for; cap, floor and missing saving are all named."""
    found = design(0.3, size=40, sensitivity=0.9, max_size=20, min_sensitivity=0.95)
    assert found.size == 40
    assert [refused.code for refused in found.refused] == ["ABOVE_CAP", "BELOW_FLOOR", "MISSED_POOLS"]
    assert [refused.code for refused in design(0.4, size=5).refused] == ["NO_SAVING"]
    missed = design(0.3, array=(12, 12), sensitivity=0.6, min_sensitivity=0.0).refused
    assert [refused.code for refused in missed] == ["MISSED_POOLS"]


def test_one_stage_is_single_testing():
    """One stage, or a pool of one, is one test per person with the accuracy of one test."""
    for found in (design(0.1, stages=1, sensitivity=0.9), design(0.1, size=1, sensitivity=0.9)):
        assert (found.size, found.stages, found.tests_per_person, found.sensitivity) == (1, 1, 1.0, 0.9)
        assert found.refused == ()


@settings(deadline=None)
@given(
    prevalence=st.floats(0.0005, 0.6),
    se=st.floats(0.6, 1.0),
    sp=st.floats(0.9, 1.0),
    cap=st.integers(1, 40),
    floor=st.floats(0.0, 1.0),
)
def test_the_answer_keeps_floor_and_cap_and_never_costs_more(prevalence, se, sp, cap, floor):
    """Within the cap, at or above the floor (or single), never dearer than single tests."""
    found = design(prevalence, sensitivity=se, specificity=sp, max_size=cap, min_sensitivity=floor)
    assert found.size <= cap
    assert found.size == 1 or found.sensitivity >= floor - 1e-9
    assert found.tests_per_person <= 1
    assert 0 <= found.ppv <= 1
    assert 0 <= found.npv <= 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"prevalence": 0.0}, "BAD_PREVALENCE"),
        ({"prevalence": 0.1, "stages": 4}, "BAD_STAGES"),
        ({"prevalence": 0.1, "max_size": 0}, "BAD_CAP"),
        ({"prevalence": 0.1, "max_size": 1001}, "BAD_CAP"),
        ({"prevalence": 0.1, "min_sensitivity": 1.1}, "BAD_FLOOR"),
        ({"prevalence": 0.1, "size": 0}, "BAD_SIZE"),
        ({"prevalence": 0.1, "size": 1001}, "BAD_SIZE"),
        ({"prevalence": 0.1, "size": 5, "stages": 1}, "BAD_SIZE"),
        ({"prevalence": 0.1, "size": 5, "array": (2, 2)}, "SIZE_AND_ARRAY"),
    ],
)
def test_senseless_questions_are_refused(arguments, code):
    """A senseless question gets a code and a sentence."""
    with pytest.raises(PoolDesignError) as caught:
        design(**arguments)
    assert caught.value.code == code
