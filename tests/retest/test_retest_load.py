import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retest.load import PUBLISHED, Rates, expected_load

P = [0.01, 0.05, 0.10, 0.20, 0.30, 0.50]
ONE = 1e-9


def test_the_printed_table_of_single_tubes():
    """Extra wells per 1,000 single tubes at 1 to 50 %, as printed."""
    assert np.round(expected_load(P).extra_wells_per_1000).tolist() == [26, 68, 120, 225, 329, 538]


def test_the_printed_table_of_ten_in_one():
    """Persons called back and tubes per person in 10-in-1, as printed; 100 % is printed without a digit."""
    found = expected_load(P, 10)
    assert np.round(100 * found.recollected_per_person, 1).tolist()[:5] == [9.8, 40.4, 65.3, 89.4, 97.3]
    assert round(100 * found.recollected_per_person[5]) == 100
    assert np.round(found.tubes_per_person, 3).tolist() == [0.198, 0.504, 0.753, 0.994, 1.073, 1.101]


def test_the_printed_case_of_the_seed_laboratory():
    """20 %: 2,000 tubes of ten send back 1,786, 17,900 new ones; 4,000 singles: 800 flagged, 900 wells."""
    ten, single = expected_load(0.2, 10), expected_load(0.2)
    assert round(2000 * float(ten.sent_back)) == 1786
    assert round(20000 * float(ten.recollected_per_person), -2) == 17900
    assert round(4000 * float(single.flagged), -2) == 800
    assert round(4 * float(single.extra_wells_per_1000), -2) == 900


def test_the_formula_of_single_tubes_by_hand():
    """Every term of the sum, at numbers that a pencil can follow."""
    rates = Rates(0.1, 0.2, 0.05, 0.5, 0.2, 3.0, 2.0)
    grey, positive = 0.9 * 0.1 + 0.1 * 0.2, 0.1 * 0.8
    wells = (1 + 0.05 + 0.95 * (grey * 3 + positive * 2)) / 0.8
    found = expected_load(0.1, 1, rates)
    assert found.wells_per_person == pytest.approx(wells)
    assert found.extra_wells_per_1000 == pytest.approx(1000 * (wells - 1))
    assert found.flagged == pytest.approx(0.95 * (grey + positive) + 0.05)
    assert (found.sent_back, found.recollected_per_person) == (0, 0)
    assert found.back_prevalence == pytest.approx(0.1)
    assert found.tubes_per_person == pytest.approx(1)


@pytest.mark.parametrize("n", [2, 3])
def test_the_formula_of_a_tube_of_several_by_hand(n):
    """Invalid once, invalid again, sent back, collected once more: each term, and the wells that follow."""
    rates = Rates(0.1, 0.2, 0.05, 0.4, 0.2, 3.0, 2.0)
    flagged = 1 - 0.9**n * 0.9
    back = 0.95 * flagged + 0.05 * (0.4 + 0.6 * flagged)
    again = back * (1 + 0.05 * 0.4)
    found = expected_load(0.1, n, rates)
    single = expected_load(0.1 / back, 1, rates).wells_per_person
    wells = 1.05 / n / 0.8 + again * single
    assert found.sent_back == pytest.approx(back)
    assert found.recollected_per_person == pytest.approx(again)
    assert found.tubes_per_person == pytest.approx(1 / n + again)
    assert found.back_prevalence == pytest.approx(0.1 / back)
    assert found.wells_per_person == pytest.approx(wells)
    assert found.extra_wells_per_1000 == pytest.approx(1000 * (n * wells - 1))
    assert found.flagged == pytest.approx(0.95 * flagged + 0.05)


def test_a_perfect_laboratory_needs_the_dorfman_number():
    """Without grey, invalid, failures and confirmations a pool costs 1/n + 1 - (1 - p)^n."""
    perfect = Rates(0, 0, 0, 0, 0, 0, 0)
    found = expected_load(P, 10, perfect)
    assert found.wells_per_person == pytest.approx(0.1 + 1 - (1 - np.array(P)) ** 10)
    assert expected_load(0.0, 10, perfect).wells_per_person == pytest.approx(0.1)
    assert expected_load(0.0, 10, perfect).back_prevalence == 0
    assert expected_load(P, 1, perfect).extra_wells_per_1000 == pytest.approx(np.zeros(6))


def test_arrays_are_broadcast():
    """Prevalences down, sizes across: one table in one call, equal to one by one."""
    table = expected_load(np.array(P)[:, None], [1, 5, 10, 20])
    assert table.wells_per_person.shape == (6, 4)
    for i, p in enumerate(P):
        for j, n in enumerate((1, 5, 10, 20)):
            alone = expected_load(p, n)
            for name in ("wells_per_person", "sent_back", "flagged", "tubes_per_person", "back_prevalence"):
                assert getattr(table, name)[i, j] == pytest.approx(float(getattr(alone, name)))


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 30))
def test_more_infections_never_make_less_work(p, q, n):
    """A higher prevalence never sends fewer tubes back and never asks for fewer tubes."""
    low, high = expected_load(min(p, q), n), expected_load(max(p, q), n)
    assert low.sent_back <= high.sent_back + ONE
    assert low.tubes_per_person <= high.tubes_per_person + ONE
    assert low.flagged <= high.flagged + ONE
    assert 0 <= low.sent_back <= 1 + ONE


@pytest.mark.parametrize(
    "kind", ["grey_negative", "grey_positive", "invalid", "invalid_again", "plate_failed"]
)
@pytest.mark.parametrize("value", [-0.01, 1.0, float("nan")])
def test_a_share_outside_its_range_is_refused(kind, value):
    """Rates are shares; percent and NaN are errors that name the rate."""
    with pytest.raises(ValueError, match=rf"^{kind} is a share from 0 to below 1, not {value!r}\.$"):
        Rates(**{kind: value})


@pytest.mark.parametrize("kind", ["grey_repeats", "confirmations"])
def test_a_negative_number_of_wells_is_refused(kind):
    """Nobody takes a well back."""
    with pytest.raises(ValueError, match=rf"^{kind} is a number of wells from 0 on, not -1\.$"):
        Rates(**{kind: -1})
    assert getattr(Rates(**{kind: 0}), kind) == 0


@pytest.mark.parametrize(("p", "n"), [(-0.1, 1), (1.1, 1), (float("nan"), 1)])
def test_an_impossible_prevalence_is_refused(p, n):
    """A prevalence is a share."""
    with pytest.raises(ValueError, match=r"^a prevalence is a share from 0 to 1\.$"):
        expected_load(p, n)


@pytest.mark.parametrize("n", [0, -1, 2.5])
def test_an_impossible_size_is_refused(n):
    """A tube holds whole persons."""
    with pytest.raises(ValueError, match=r"^a tube holds a whole number of persons, at least 1\.$"):
        expected_load(0.1, n)


def test_a_simulated_laboratory_meets_the_closed_form():
    """100,000 tubes of ten at 5 %, thrown one by one, come out within four standard errors."""
    rng = np.random.default_rng(20221221)
    n, tubes, rates = 10, 100_000, PUBLISHED
    infected = rng.random((tubes, n)) < 0.05
    shows = infected.any(axis=1) | (rng.random(tubes) < rates.grey_negative)
    invalid = rng.random(tubes) < rates.invalid
    twice = invalid & (rng.random(tubes) < rates.invalid_again)
    back = shows | twice
    expected = expected_load(0.05, n)
    error = np.sqrt(float(expected.sent_back) * (1 - float(expected.sent_back)) / tubes)
    assert abs(back.mean() - float(expected.sent_back)) < 4 * error
    assert infected[back].mean() == pytest.approx(float(expected.back_prevalence), rel=0.02)
