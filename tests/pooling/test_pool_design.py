"""The search for the best pool, its floor, its cap and its refusals."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pooling
from pooling.design import design
from pooling.size import Accuracy, PoolDesignError, two_stage
from pooling.volume import Volume


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


def test_accuracy_may_differ_by_stage():
    """Se .9 in pools and .99 singly: the procedure finds their product; single tests keep the last."""
    found = design(0.01, size=10, sensitivity=[0.9, 0.99], specificity=(0.98, 0.995))
    whole = two_stage(0.01, 10, (Accuracy(0.9, 0.98), Accuracy(0.99, 0.995)))
    assert found.sensitivity == pytest.approx(0.9 * 0.99)
    assert (found.tests_per_person, found.specificity) == (whole.tests_per_person, whole.specificity)
    assert design(0.4, sensitivity=(0.9, 0.99)).sensitivity == 0.99
    three = design(0.01, stages=3, sensitivity=(0.97, 0.98, 0.99), specificity=0.99, max_size=16)
    assert three.sensitivity == pytest.approx(0.97 * 0.98 * 0.99)
    mixed = design(0.01, size=6, sensitivity=0.9, specificity=(0.95, 0.99))
    assert mixed.specificity == two_stage(0.01, 6, (Accuracy(0.9, 0.95), Accuracy(0.9, 0.99))).specificity


def test_the_validated_size_of_the_assay_is_kept():
    """An assay validated for pools of 5 refuses 6 and more by name, also when a size is asked for."""
    found = design(0.01, validated=5)
    assert found.size == 5
    assert [(one.size, one.last, one.code) for one in found.refused] == [(6, 32, "NOT_VALIDATED")]
    assert "validated up to 5" in found.refused[0].sentence
    assert [one.code for one in design(0.01, size=6, validated=5).refused] == ["NOT_VALIDATED"]
    assert design(0.01, size=5, validated=5).refused == ()


def test_sub_pools_keep_the_floor_too():
    """Where the cheapest sub-pools would fall below the floor, the cheapest that keep it are taken."""
    detection = {2: 0.99, 3: 0.97, 4: 0.9, 16: 0.88}
    free = design(0.01, stages=3, size=16, detection=detection, min_sensitivity=0.0)
    held = design(0.01, stages=3, size=16, detection=detection, min_sensitivity=0.85)
    assert free.layout == (4, 4, 4, 4)
    assert (max(held.layout), sum(held.layout), held.refused) == (3, 16, ())
    assert held.sensitivity >= 0.85
    assert held.tests_per_person > free.tests_per_person
    edge = design(0.01, stages=3, size=16, detection=detection, min_sensitivity=0.88 * 0.97)
    assert (max(edge.layout), edge.refused) == (3, ())
    singly = design(0.01, stages=3, size=16, detection=detection, min_sensitivity=0.88)
    assert (singly.layout, singly.refused) == ((1,) * 16, ())
    hopeless = design(0.01, stages=3, size=16, detection=detection, min_sensitivity=0.9)
    assert hopeless.layout == (4, 4, 4, 4)
    assert [one.code for one in hopeless.refused] == ["BELOW_FLOOR"]


def test_a_master_pool_counts_as_a_pool():
    """A master pool of 96 meets the cap; the array is answered with three stages and its objection."""
    found = design(0.001, array=(8, 12), master=True)
    assert (found.size, found.stages, found.master, found.array) == (96, 3, True, (8, 12))
    assert found.tests_per_person == pooling.array(0.001, 8, 12, master=True).tests_per_person
    assert [one.code for one in found.refused] == ["ABOVE_CAP"]
    assert design(0.001, array=(8, 12), master=True, max_size=96).refused == ()
    staged = design(0.001, array=(2, 3), master=True, sensitivity=(0.9, 0.95, 0.99))
    assert staged.sensitivity < 0.9 * 0.99
    assert design(0.01, array=(2, 3), max_size=2).refused[0].code == "ABOVE_CAP"
    assert design(0.01, array=(3, 2), max_size=2).refused[0].code == "ABOVE_CAP"


def test_the_liquid_in_the_tube_refuses_sizes():
    """500 µl: two single tests of 200 and 50 dead leave 50 µl for the pool: 400 / n fits from 8 on."""
    volume = Volume(500.0, pool_ul=200.0, single_ul=200.0, dead_ul=50.0)
    found = design(0.01, volume=volume)
    assert [(one.size, one.last, one.code) for one in found.refused] == [(2, 7, "SHORT_VOLUME")]
    assert found.size == 11
    assert "650 µl" in found.refused[0].sentence
    assert "500" in found.refused[0].sentence


def test_aliquots_too_small_to_pipette_are_refused():
    """An aliquot below the smallest volume pipetted reliably refuses the size, not rounds it up."""
    volume = Volume(2000.0, pool_ul=100.0, pool_repeats=0, smallest_ul=10.0)
    found = design(0.001, volume=volume)
    assert found.size == 10
    assert [(one.size, one.last, one.code) for one in found.refused] == [(11, 32, "SMALL_ALIQUOT")]
    assert "9.1 µl" in found.refused[0].sentence


def test_sub_pools_and_lines_need_liquid_too():
    """Three stages and arrays take more than one aliquot from a tube, and the sum is what counts."""
    volume = Volume(1000.0, pool_ul=200.0, single_ul=200.0, dead_ul=0.0)
    assert volume.aliquot_ul(4) == 100.0
    assert volume.needed_ul((16, 4)) == 25.0 + 100.0 + 400.0
    assert volume.objection((16, 4)) is None
    tight = Volume(524.0, dead_ul=0.0)
    assert tight.objection((16,)) is None
    code, why = tight.objection((16, 4))
    assert code == "SHORT_VOLUME"
    assert "525 µl" in why
    assert Volume(525.0, dead_ul=0.0).objection((16, 4)) is None
    three = design(0.01, stages=3, size=16, volume=tight)
    assert (three.layout, [one.code for one in three.refused]) == ((4, 4, 4, 4), ["SHORT_VOLUME"])
    two = design(0.01, size=16, volume=tight)
    assert two.refused == ()
    lines = design(0.01, array=(8, 12), volume=Volume(480.0, dead_ul=0.0))
    assert [one.code for one in lines.refused] == ["SHORT_VOLUME"]
    assert "483 µl" in lines.refused[0].sentence


def test_missed_pools_are_found_with_dilution_too():
    """Losses by dilution look like savings as well; where nothing is missed nothing is refused for it."""
    codes = {one.code for one in design(0.25, size=32, detection={32: 0.4}, min_sensitivity=0.0).refused}
    assert codes == {"MISSED_POOLS"}
    three = design(0.25, size=32, stages=3, detection={2: 0.9, 32: 0.3}, min_sensitivity=0.0)
    assert {one.code for one in three.refused} == {"MISSED_POOLS"}


def test_the_search_ends_at_the_largest_size_measured():
    """Detection known up to 6 ends the search there, and says so for the size that would be cheapest."""
    found = design(0.001, detection={6: 0.99})
    assert found.size == 6
    assert [(one.size, one.code) for one in found.refused] == [(32, "ABOVE_CAP")]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"prevalence": 0.1, "sensitivity": [0.9, 0.9, 0.9]}, "BAD_STAGES"),
        ({"prevalence": 0.1, "specificity": [0.9]}, "BAD_STAGES"),
        ({"prevalence": 0.1, "master": True}, "MASTER_ALONE"),
        ({"prevalence": 0.1, "validated": 0}, "BAD_CAP"),
        ({"prevalence": 0.1, "array": (1, 3)}, "BAD_SIZE"),
        ({"prevalence": 0.1, "min_sensitivity": -0.1}, "BAD_FLOOR"),
        ({"prevalence": 1.0}, "BAD_PREVALENCE"),
        ({"prevalence": 0.1, "sensitivity": 0.0}, "BAD_ACCURACY"),
    ],
)
def test_senseless_honest_questions_are_refused(arguments, code):
    """Wrong numbers of stages and impossible limits get a code."""
    with pytest.raises(PoolDesignError) as caught:
        design(**arguments)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "change",
    [
        {"tube_ul": 0.0},
        {"pool_ul": 0.0},
        {"single_ul": -1.0},
        {"smallest_ul": 0.0},
        {"dead_ul": -0.1},
        {"pool_repeats": -1},
        {"single_repeats": -1},
    ],
)
def test_impossible_volumes_are_refused(change):
    """A volume of nothing and fewer than no repeats are refused when they are made."""
    with pytest.raises(PoolDesignError) as caught:
        Volume(**({"tube_ul": 1000.0} | change))
    assert caught.value.code == "BAD_VOLUME"


def test_volumes_may_be_just_at_their_limits():
    """No dead volume, no repeats and an exact fit are allowed."""
    exact = Volume(300.0, pool_ul=200.0, single_ul=200.0, pool_repeats=0, single_repeats=0, dead_ul=0.0)
    assert exact.needed_ul((2,)) == 300.0
    assert exact.objection((2,)) is None
    assert exact.objection((20,)) is None
    assert exact.objection((21,)) is not None


def test_small_volumes_are_volumes():
    """Less than a microlitre is a volume; nothing is not."""
    assert Volume(0.9, pool_ul=0.2, single_ul=0.1, dead_ul=0.0, smallest_ul=0.01).objection((2,)) is None


def test_dilution_counts_also_where_stages_differ():
    """Sensitivity given per stage does not make the measured loss by dilution disappear."""
    found = design(0.01, size=10, sensitivity=(0.9, 0.95), detection={10: 0.8})
    assert found.sensitivity == pytest.approx(0.9 * 0.8 * 0.95)


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_a_specimen_on_its_own_has_the_accuracy_of_the_last_stage(stages):
    """Asked for a size of one, the answer is that of the single test, however many stages there are."""
    given = (0.7, 0.8, 0.9)[:stages]
    found = design(0.05, size=1, stages=stages, sensitivity=given, specificity=given)
    assert (found.sensitivity, found.specificity, found.stages) == (given[-1], given[-1], 1)


def test_limits_of_the_question_are_allowed():
    """The largest cap and size and the smallest validation are questions with an answer; one more is not."""
    assert design(1e-5, max_size=1000).size == 317
    assert design(0.01, size=1000, max_size=1000).size == 1000
    nobody = design(0.1, validated=1)
    assert nobody.size == 1
    assert "NOT_VALIDATED" in {one.code for one in nobody.refused}
    with pytest.raises(PoolDesignError, match="A pool of 2 is not possible with 1 stage"):
        design(0.1, size=2, stages=1)


def test_sub_pools_of_two_are_sub_pools():
    """A tube that also enters a pool of two needs its aliquot for it, and the design has three stages."""
    detection = {2: 0.99, 3: 0.5, 8: 0.9}
    found = design(0.01, size=8, stages=3, detection=detection, volume=Volume(750.0))
    assert (found.layout, found.stages, found.refused) == ((2, 2, 2, 2), 3, ())
    short = design(0.01, size=8, stages=3, detection=detection, volume=Volume(749.0))
    assert [one.code for one in short.refused] == ["SHORT_VOLUME"]


SURE = Accuracy(1.0, 0.9)


@pytest.mark.parametrize(
    ("asked", "honest"),
    [
        ({"prevalence": 0.1, "size": 32, "sensitivity": 0.8}, lambda: two_stage(0.1, 32, SURE)),
        (
            {"prevalence": 0.25, "size": 20, "stages": 3, "sensitivity": 0.7},
            lambda: pooling.three_stage(0.25, (16, 4), SURE),
        ),
        (
            {"prevalence": 0.25, "array": (8, 8), "max_size": 64, "sensitivity": 0.6},
            lambda: pooling.array(0.25, 8, 8, SURE),
        ),
    ],
    ids=["two stages", "three stages", "array"],
)
def test_the_honest_cost_keeps_the_false_positives(asked, honest):
    """If no positive pool was missed, the pools that read positive by mistake would still be there."""
    found = design(**asked, specificity=0.9, min_sensitivity=0)
    (refused,) = found.refused
    sure = honest().tests_per_person
    assert (refused.code, sure > 1 > found.tests_per_person) == ("MISSED_POOLS", True)
    assert f"if none was missed: {sure:.4f} tests" in refused.sentence


def test_as_many_tests_as_singly_is_no_saving():
    """A coin in place of the assay opens every second pool of two: one test per person, nothing saved."""
    found = design(0.1, size=2, sensitivity=0.5, specificity=0.5, min_sensitivity=0)
    assert (found.tests_per_person, [one.code for one in found.refused]) == (1.0, ["NO_SAVING"])


def test_nothing_is_called_cheapest_that_is_not():
    """Where no pool saves, and where only single tests were asked for, no size above the cap is praised."""
    assert [one.code for one in design(0.4, max_size=2).refused] == ["NO_SAVING"]
    assert design(0.0001, stages=1).refused == ()
    assert [(one.size, one.code) for one in design(0.3, max_size=2).refused] == [
        (2, "NO_SAVING"),
        (3, "ABOVE_CAP"),
    ]
