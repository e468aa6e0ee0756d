"""Cq calling against instruments and against known curves."""

import csv
import gzip
import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import instruments
from instruments.calling import ATYPICAL, FLAT, SIGMOID, call_curves
from instruments.model import canonical_well, well_name

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "instruments"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real exports is not on this machine")
CYCLES = np.arange(1, 46)


def sigmoid(cq, threshold=0.1, plateau=2.5, efficiency=0.95):
    """A noiseless curve that meets the threshold at ``cq``."""
    rate = np.log1p(efficiency)
    half = cq + np.log(plateau / threshold - 1) / rate
    return plateau / (1 + np.exp(-rate * (CYCLES - half)))


QUANTSTUDIO = ["*v1.5.2.xlsx", "*QS1_Standard*", "*QS5_Standard*", "*QS6_Standard*", "*QS7Pro_Presence*"]


@real
@pytest.mark.parametrize("pattern", QUANTSTUDIO)
def test_the_quantstudio_cq_is_recomputed(pattern):
    """From exported Rn, baseline and threshold the Cq agrees to 1e-6 (1e-5 for the rounded v1.5.2)."""
    (path,) = (DATA / "abi_da_xlsx").glob(pattern)
    run = instruments.read(path.name, path.read_bytes())
    rn = {(c.well, c.target): c.values for c in run.curves if c.kind == "rn"}
    delta = {(c.well, c.target): c.values for c in run.curves if c.kind == "drn"}
    used = [r for r in run.readings if (r.well, r.target) in rn and r.baseline and r.threshold]
    calls = call_curves(
        [rn[r.well, r.target] for r in used],
        method="abi",
        threshold=[r.threshold for r in used],
        baseline=[r.baseline for r in used],
    )
    cq = np.array([np.nan if r.cq is None else r.cq for r in used])
    rounded = "v1.5.2" in path.name
    assert len(used) >= 90
    assert np.array_equal(np.isnan(cq), np.isnan(calls.cq))
    assert np.nanmax(np.abs(calls.cq - cq)) < (1e-5 if rounded else 1e-6)
    assert np.abs(calls.corrected - [delta[r.well, r.target] for r in used]).max() < (
        1e-6 if rounded else 1e-12
    )
    assert set(calls.verdict[~np.isnan(cq)]) == {SIGMOID}
    assert set(calls.verdict[np.isnan(cq)]) <= {FLAT, ATYPICAL}


@real
@pytest.mark.parametrize("pattern", QUANTSTUDIO)
def test_the_automatic_baseline_stays_close_to_the_instruments(pattern):
    """Every curve the instrument calls is called, within 0.4 cycle and in the median within 0.03."""
    (path,) = (DATA / "abi_da_xlsx").glob(pattern)
    run = instruments.read(path.name, path.read_bytes())
    rn = {(c.well, c.target): c.values for c in run.curves if c.kind == "rn"}
    used = [r for r in run.readings if (r.well, r.target) in rn and r.threshold and r.cq is not None]
    calls = call_curves([rn[r.well, r.target] for r in used], threshold=[r.threshold for r in used])
    error = np.abs(calls.cq - [r.cq for r in used])
    assert error.max() < 0.4
    assert np.median(error) < 0.03


def cfx_pairs():
    """Cq files with the curves of their wells."""
    for path in sorted((DATA / "biorad_cfx").glob("sam*Cq-Results.csv")):
        curves = {}
        for other in (DATA / "biorad_cfx").glob(path.name.split("-Quantification")[0] + "*Amplification*"):
            curves |= {c.well: c.values for c in instruments.read(other.name, other.read_bytes()).curves}
        yield instruments.read(path.name, path.read_bytes()), curves


@real
def test_the_cfx_cq_is_recomputed():
    """With the one threshold of a target, every CFX Cq agrees to 1e-9, and none is called or lost."""
    compared = 0
    for run, curves in cfx_pairs():
        for target in {r.target for r in run.readings}:
            used = [r for r in run.readings if r.target == target]
            values = np.array([curves[r.well] for r in used])
            cq = np.array([np.nan if r.cq is None else r.cq for r in used])
            rows = np.flatnonzero(~np.isnan(cq))
            below = np.floor(cq[rows]).astype(int) - 1
            low, high = values[rows, below], values[rows, below + 1]
            limit = np.median(low + (cq[rows] - below - 1) * (high - low))
            called = call_curves(values, method="cfx", threshold=limit).cq
            assert np.array_equal(np.isnan(called), np.isnan(cq))
            assert np.nanmax(np.abs(called - cq)) < 1e-9
            compared += len(rows)
    assert compared == 322


def rated(path):
    """Ratings of the first of three people, in file order."""
    with path.open(encoding="utf-8") as lines:
        return [(row[0], row[1]) for row in list(csv.reader(lines))[1:]]


@real
def test_verdicts_agree_with_people_on_drifting_negatives():
    """RAS002: every curve people call positive is a sigmoid, and only one of 151 negatives looks like one."""
    with zipfile.ZipFile(DATA / "rdml" / "RAS002.rdml") as archive:
        root = ET.fromstring(archive.read(archive.namelist()[0]))  # noqa: S314 - a file of our own choosing
    space = root.tag.partition("}")[0] + "}"
    keys, curves = [], []
    for react in root.iter(f"{space}react"):
        for data in react.iter(f"{space}data"):
            keys.append(
                (well_name(int(react.get("id")) - 1, 96), "Globin" in data.find(f"{space}tar").get("id"))
            )
            curves.append([float(adp.find(f"{space}fluor").text) for adp in data.iter(f"{space}adp")])
    ratings = rated(DATA / "rdml" / "RAS002_human_rating.csv")
    human = {(canonical_well(name[:3], 96), "Globin" in name): rating for name, rating in ratings}
    verdicts = call_curves(curves).verdict
    positive = np.array([human[key] == "y" for key in keys])
    assert (positive.sum(), (~positive).sum()) == (41, 151)
    assert set(verdicts[positive]) == {SIGMOID}
    assert (verdicts[~positive] == SIGMOID).sum() <= 1


@real
def test_verdicts_agree_with_people_on_weak_positives():
    """dil4reps94: 375 curves down to 15 copies, all rated positive, are all sigmoid."""
    with gzip.open(DATA / "cq_benchmark" / "dil4reps94.csv.gz", "rt") as lines:
        table = [row[-375:] for row in csv.reader(lines)][1:]
    assert {rating for _, rating in rated(DATA / "cq_benchmark" / "dil4reps94_human_rating.csv")} == {"y"}
    assert set(call_curves(np.array(table, dtype=float).T).verdict) == {SIGMOID}


@given(st.floats(16, 38), st.floats(0.7, 1.0), st.sampled_from(["abi", "cfx", "threshold"]))
def test_a_clean_curve_is_called_where_it_was_drawn(cq, efficiency, method):
    """With a baseline before the rise every method interpolates well; the automatic one is near."""
    curve = sigmoid(cq, efficiency=efficiency) + (0.0 if method == "cfx" else 0.6)
    known = None if method == "cfx" else (1, 5)
    assert call_curves(curve, method=method, threshold=0.1, baseline=known).cq[0] == pytest.approx(
        cq, abs=0.12
    )
    calls = call_curves(curve, method=method, threshold=0.1)
    assert calls.cq[0] == pytest.approx(cq, abs=0.5)
    assert calls.verdict[0] == SIGMOID
    assert calls.efficiency[0] == pytest.approx(efficiency, abs=0.2)


@given(st.floats(15, 35), st.floats(-5, 5), st.floats(0.1, 1000))
def test_shift_and_scale_do_not_move_a_cq(cq, shift, scale):
    """A constant offset of the curve, or another unit, changes nothing."""
    plain = call_curves(sigmoid(cq) + 0.6, threshold=0.1).cq[0]
    moved = call_curves((sigmoid(cq) + shift) * scale, threshold=0.1 * scale).cq[0]
    assert moved == pytest.approx(plain, abs=1e-6)


def test_a_flat_or_drifting_curve_has_no_cq():
    """Noise is flat, a drifting baseline is no sigmoid, and without amplification there is no threshold."""
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 0.003, (40, 45)) + 0.6
    calls = call_curves(noise)
    assert set(calls.verdict) == {FLAT}
    assert np.isnan(calls.cq).all()
    assert np.isnan(calls.efficiency).all()
    bubble = 0.6 + np.where(CYCLES > 30, 0.5, 0.0) + rng.normal(0, 0.003, 45)
    assert call_curves(bubble).verdict[0] == ATYPICAL


def test_noise_alone_never_crosses_a_threshold():
    """Of 20,000 negative curves with drift none is called: a line through a few noisy points swings far."""
    rng = np.random.default_rng(8)
    drift = rng.normal(0, 0.0004, (20_000, 1)) * CYCLES
    calls = call_curves(0.6 + drift + rng.normal(0, 0.003, (20_000, 45)), threshold=0.1)
    assert np.isnan(calls.cq).all()
    assert set(calls.verdict) == {FLAT}


def test_the_automatic_threshold_lies_low_on_the_plateau():
    """Five percent of the median rise, one threshold for the plate."""
    rng = np.random.default_rng(6)
    curves = np.array([sigmoid(cq) for cq in range(18, 34)]) + 0.6 + rng.normal(0, 0.003, (16, 45))
    calls = call_curves(curves)
    assert np.unique(calls.threshold).size == 1
    assert calls.threshold[0] == pytest.approx(0.125, rel=0.05)
    assert calls.cq == pytest.approx(np.arange(18, 34) + np.log2(1.25) / np.log2(1.95), abs=0.4)


def test_the_result_does_not_depend_on_the_company():
    """A curve is called the same alone and on a full plate, given the same threshold."""
    rng = np.random.default_rng(7)
    curves = np.array([sigmoid(cq) for cq in np.linspace(15, 40, 50)]) + rng.normal(0, 0.003, (50, 45))
    together = call_curves(curves, threshold=0.1)
    for i in (0, 17, 49):
        alone = call_curves(curves[i], threshold=0.1)
        assert alone.cq[0] == pytest.approx(together.cq[i], abs=1e-9, nan_ok=True)
        assert alone.verdict[0] == together.verdict[i]


def test_a_crossing_in_the_last_cycles_is_called():
    """The cubic window slides inside at the end of the run instead of losing a late positive."""
    calls = call_curves(sigmoid(43.6) + 0.6, threshold=0.1, baseline=(3, 35))
    assert calls.cq[0] == pytest.approx(43.6, abs=0.1)


def test_cycle_numbers_need_not_start_at_one():
    """The cycles given are the cycles returned."""
    curve = sigmoid(25) + 0.6
    assert call_curves(curve, CYCLES + 10, threshold=0.1).cq[0] == pytest.approx(
        call_curves(curve, threshold=0.1).cq[0] + 10
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"fluorescence": np.zeros((2, 3))},
        {"fluorescence": np.full((1, 40), np.nan)},
        {"fluorescence": np.zeros((1, 40)), "cycles": np.arange(39)},
        {"fluorescence": np.zeros((1, 5)), "cycles": [1, 2, 4, 5, 6]},
        {"fluorescence": np.zeros((1, 40)), "threshold": 0.0},
        {"fluorescence": np.zeros((1, 40)), "threshold": [1.0, 2.0]},
        {"fluorescence": np.zeros((1, 40)), "baseline": (10, 3)},
        {"fluorescence": np.zeros((1, 40)), "baseline": (3, 41)},
        {"fluorescence": np.zeros((1, 40)), "method": "magic"},
    ],
)
def test_arrays_that_are_no_curves_are_refused(wrong):
    """Shape, gaps, thresholds and baselines are checked with a sentence."""
    with pytest.raises(instruments.InstrumentError) as caught:
        call_curves(**wrong)
    assert caught.value.code == "BAD_CURVES"
