"""Dilution in cycles, the spread of measured shifts, and the share of positives still found."""

import json
from math import log2, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pooling
from pooling import PoolDesignError, Spread, dilution
from pooling.dilution import MEASURED_SHIFTS

CQS = np.array([18.0, 22.0, 25.0, 28.0, 30.0, 33.0, 35.0, 36.5, 37.5, 39.0])


def test_medium_volumes_of_the_collection_tubes():
    """3 / 5 / 6 / 12 mL for 1 / 5 / 10 / 20 persons: +0, 0.74, 1.00 and 2.00 cycles."""
    shifts = [round(pooling.medium_shift(medium, 3.0), 2) for medium in (3.0, 5.0, 6.0, 12.0)]
    assert shifts == [0.0, 0.74, 1.0, 2.0]


def test_laboratory_pools_dilute_by_log2():
    """1, 5, 10 and 20 members: 0, 2.32, 3.32 and 4.32 cycles."""
    assert [round(pooling.lab_shift(size), 2) for size in (1, 5, 10, 20)] == [0.0, 2.32, 3.32, 4.32]


def test_mixed_tubes_of_ten_behave_like_lab_pools_of_two():
    """6 mL instead of 3 mL is a shift of one cycle, whatever the number of persons."""
    mixed = pooling.detection(CQS, 38.0, {10: pooling.medium_shift(6.0, 3.0)})
    assert mixed[10] == pooling.detection_by_size(CQS, 38.0, (2,))[2] == 8 / 9


def test_published_shares_of_late_cqs():
    """CDC Table 5: a shift of 4.00 (n = 16, cutoff 40) loses exactly the specimens of Cq above 36."""
    early, late = np.full(314, 30.0), np.full(67, 38.0)
    kept = pooling.detection_by_size(np.concatenate([early, late]), 40.0, (16,))[16]
    assert round(100 * (1 - kept), 1) == 17.6
    edge = pooling.detection_by_size(np.array([36.0, 36.01]), 40.0, (16,))
    assert edge == {16: 0.5}


def test_published_shifts_make_the_default_spread():
    """Eight published shifts spread 1.51 cycles round log2(n); each one carries its source."""
    away = [shift - log2(size) for size, shift, _ in MEASURED_SHIFTS]
    assert sqrt(sum(one * one for one in away) / 8) == pytest.approx(pooling.OBSERVED.sd)
    assert (round(pooling.OBSERVED.sd, 2), pooling.OBSERVED.bias, pooling.OBSERVED.pairs) == (1.51, 0.0, 8)
    assert all(source for _, _, source in MEASURED_SHIFTS)
    shifts = [round(shift, 2) for _, shift, _ in MEASURED_SHIFTS]
    assert shifts == [1.3, 4.77, 1.37, 0.64, 2.38, 1.9, 2.8, 2.5]


def test_spread_turns_the_cutoff_into_a_chance():
    """A specimen exactly one shift below the cutoff is found half the time; one sd away 84 or 16 %."""
    spread = Spread(0.0, 1.5, 0)
    for cq, share in ((36.0, 0.5), (34.5, 0.8413), (37.5, 0.1587)):
        found = pooling.detection(np.array([cq]), 40.0, {16: 4.0}, spread)
        assert found[16] == pytest.approx(share, abs=1e-4)
    late = pooling.detection(np.array([36.0]), 40.0, {16: 4.0}, Spread(1.5, 1.5, 0))
    assert late[16] == pytest.approx(0.1587, abs=1e-4)


def test_a_hard_cutoff_knows_the_bias():
    """Without spread a bias shifts every pool by itself; specimens above the cutoff are no positives."""
    cqs = np.array([35.9, 36.0, 36.1, 41.0, np.nan])
    assert pooling.detection(cqs, 40.0, {16: 4.0}) == {16: 2 / 3}
    assert pooling.detection(cqs, 40.0, {16: 4.0}, Spread(0.1, 0.0, 3)) == {16: 1 / 3}


@given(
    cqs=st.lists(st.floats(10, 39.9), min_size=1, max_size=30),
    sd=st.floats(0.1, 3),
    first=st.integers(2, 40),
    more=st.integers(1, 20),
)
def test_a_larger_pool_never_finds_more(cqs, sd, first, more):
    """With any Cqs and any spread the share found falls with the size, and never exceeds one."""
    found = pooling.detection_by_size(np.array(cqs), 50.0, (first, first + more), Spread(0.0, sd, 0))
    assert 0 < found[first + more] <= found[first] <= 1


def test_detection_by_size_is_detection_at_log2_of_the_size():
    """The spread of real pools counts for every size, as it does for a given shift."""
    cqs, spread = np.array([34.0, 36.0, 37.0]), Spread(0.2, 1.5, 9)
    assert pooling.detection_by_size(cqs, 38.0, (4, 8), spread) == pooling.detection(
        cqs, 38.0, {4: 2.0, 8: 3.0}, spread
    )


def test_a_size_that_finds_nothing_is_said():
    """A pool that would lose every positive is an error, not a sensitivity of zero."""
    with pytest.raises(PoolDesignError) as caught:
        pooling.detection_by_size(np.array([37.5]), 38.0, (8,))
    assert caught.value.code == "ALL_LOST"
    assert "8" in str(caught.value)


def test_the_fit_of_complete_pairs_is_mean_and_sd():
    """With every pool read the fit is the sample mean and the maximum-likelihood sd."""
    values = [-0.5, 0.1, 0.7, 1.3]
    fit = pooling.fit_spread(values)
    assert (fit.bias, fit.sd, fit.pairs) == (
        pytest.approx(np.mean(values)),
        pytest.approx(np.std(values)),
        4,
    )
    assert pooling.fit_spread([0.4, 0.4, 0.4]).sd == pytest.approx(0, abs=1e-5)


def test_lost_pools_are_not_left_out():
    """2,000 shifts of mean .5 and sd 1.2, cut off at 1: the fit finds both again; dropping finds neither."""
    shifts = np.random.default_rng(7).normal(0.5, 1.2, 2000)
    seen = list(shifts[shifts <= 1.0])
    fit = pooling.fit_spread(seen, [1.0] * (2000 - len(seen)))
    assert fit.bias == pytest.approx(0.5, abs=0.08)
    assert fit.sd == pytest.approx(1.2, abs=0.08)
    assert fit.pairs == 2000
    naive = pooling.fit_spread(seen)
    assert naive.bias < 0
    assert naive.sd < 0.95


def test_a_lost_pool_far_away_keeps_the_fit_finite():
    """A pool that should have been read long before the cutoff pulls bias and spread up, finitely."""
    fit = pooling.fit_spread([0.0, 0.0, 0.01], [15.0])
    assert 2 < fit.bias < 8
    assert 4 < fit.sd < 12


def test_mostly_lost_pools_still_end():
    """Three pools read and sixty lost: the fit stops after its rounds, far beyond the cutoff, and finite."""
    fit = pooling.fit_spread([0.0, 0.1, 0.2], [0.2] * 60)
    assert 0.2 < fit.bias < 10
    assert 0 < fit.sd < 10
    assert fit.pairs == 63


def test_a_plain_list_of_cqs():
    """One Cq per line, with or without header, BOM, blank lines and undetermined ones."""
    for text in ("30.5\n\n22\n", "Cq\n30.5\n22\n", "\ufeffcq\r\n30.5\r\n22\r\n"):
        found = pooling.read_cqs(text, 40.0)
        assert list(found.cqs) == [30.5, 22.0]
        assert found.spread is None


def test_pairs_give_cqs_and_spread():
    """Pairs become deviations from log2(size); lost and late pools count as later than the cutoff."""
    text = "Single, Pool ,size\n20,23,8\n30,33.5,8\n25,27,4\n39,,4\n36,39.5,8\n45,44,2\n,30,2\n"
    found = pooling.read_cqs(text, 39.0)
    assert found.spread == pooling.fit_spread([0.0, 0.5, 0.0], [-2.0, 0.0])
    assert list(found.cqs[:6]) == [20, 30, 25, 39, 36, 45]
    assert np.isnan(found.cqs[6])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "one Cq per line"),
        ("\n \n", "one Cq per line"),
        ("30\nabc\n", "Line 2"),
        ("30\n31,32\n", "Line 2"),
        ("30\n150\n", "Line 2"),
        ("30\n0\n", "Line 2"),
        ("single,pool\n30,31\n", "Line 1"),
        ("20,23,8\n", "single,pool,size"),
        ("single,pool,size\n20,23\n", "Line 2"),
        ("single,pool,size\n20,23,1\n", "Line 2"),
        ("single,pool,size\n20,23,2.5\n", "Line 2"),
        ("single,pool,size\n20,23,\n", "Line 2"),
        ("\n\nsingle,pool,size\n20,x,4\n", "Line 4"),
    ],
)
def test_bad_files_name_the_line(text, words):
    """A file that cannot be read says where and what to write."""
    with pytest.raises(PoolDesignError) as caught:
        pooling.read_cqs(text, 40.0)
    assert caught.value.code == "CQ_FILE"
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        pytest.param(lambda: pooling.lab_shift(0), "BAD_SIZE", id="empty-pool"),
        pytest.param(lambda: pooling.medium_shift(0.0, 3.0), "BAD_VOLUME", id="no-medium"),
        pytest.param(lambda: pooling.medium_shift(3.0, -1.0), "BAD_VOLUME", id="no-single-medium"),
        pytest.param(lambda: Spread(0.0, -0.1, 1), "BAD_SPREAD", id="negative-spread"),
        pytest.param(lambda: Spread(0.0, float("nan"), 1), "BAD_SPREAD", id="nan-spread"),
        pytest.param(lambda: pooling.fit_spread([0.1, 0.2], [1.0]), "FEW_PAIRS", id="two-pairs"),
        pytest.param(lambda: pooling.detection(np.array([41.0]), 40.0, {2: 1.0}), "NO_POSITIVES", id="none"),
    ],
)
def test_impossible_dilutions_are_refused(call, code):
    """No liquid, no members, no positives: each has its code."""
    with pytest.raises(PoolDesignError) as caught:
        call()
    assert caught.value.code == code


def test_the_floor_ends_the_search_with_measured_cqs():
    """With late Cqs the floor refuses large pools that a constant sensitivity would allow."""
    detection = pooling.detection_by_size(CQS, 40.0, range(2, 33), pooling.OBSERVED)
    free = pooling.design(0.005, detection=detection, min_sensitivity=0.0)
    held = pooling.design(0.005, detection=detection)
    assert held.size < free.size
    assert held.sensitivity >= 0.85
    assert "BELOW_FLOOR" in {one.code for one in held.refused}


def test_reference_assay_validated_for_four(shared_data):
    """The CDC assay of the reference is validated for pools of four: larger ones are refused by that."""
    assays = json.loads((shared_data / "assays-reference.json").read_text(encoding="utf-8"))["assays"]
    (cdc,) = [assay for assay in assays if assay["id"] == "cdc-2019-ncov-n1n2rp"]
    found = pooling.design(0.01, validated=cdc["pooling"]["max_n"])
    assert found.size == 4
    assert [(one.size, one.last, one.code) for one in found.refused] == [(5, 32, "NOT_VALIDATED")]


def test_small_volumes_and_extreme_cqs_are_numbers_too():
    """Half a millilitre, a Cq below one, a pool read exactly at the cutoff, a mark before the first Cq."""
    assert pooling.medium_shift(0.5, 0.25) == 1.0
    with pytest.raises(PoolDesignError):
        pooling.medium_shift(3.0, 0.0)
    assert list(pooling.read_cqs("\ufeff30.5\n0.5\n", 40.0).cqs) == [30.5, 0.5]
    with pytest.raises(PoolDesignError):
        pooling.read_cqs("30\n100\n", 40.0)
    at_cutoff = pooling.read_cqs("single,pool,size\n20,22,4\n30,32.5,4\n36,38,4\n", 38.0)
    assert at_cutoff.spread == pooling.fit_spread([0.0, 0.5, 0.0])


@pytest.mark.parametrize(
    ("bound", "mean", "sd"), [(0.5, 0.0, 1.0), (-2.0, 0.3, 0.7), (4.0, 1.0, 1.5), (9.0, 0.0, 1.0)]
)
def test_what_is_known_only_as_later_than_has_the_moments_of_the_normal_tail(bound, mean, sd):
    """Mean and mean square of a lost pool's shift, against the same integrals summed up."""
    shifts = np.linspace(bound, bound + 14 * sd, 400_001)
    weight = np.exp(-(((shifts - mean) / sd) ** 2) / 2)
    expected = [float((shifts**power * weight).sum() / weight.sum()) for power in (1, 2)]
    assert dilution._beyond(bound, mean, sd) == pytest.approx(expected, rel=5e-4)
