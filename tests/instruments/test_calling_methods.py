"""Methods without a threshold, the window of linearity, and the shapes that are no amplification."""

import csv
import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import instruments.formats
from instruments.calling import ATYPICAL, FLAT, SIGMOID, call_curves
from instruments.calling_baseline import _most_scatter, lines, scatter, subtract_baseline
from instruments.errors import InstrumentError

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "instruments"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real exports is not on this machine")
CYCLES = np.arange(1, 46)
BACKGROUND, NOISE = 0.6, 0.003


def logistic(half, plateau=2.5, efficiency=0.95):
    """A noiseless logistic with its middle at ``half``."""
    return plateau / (1 + np.exp(-np.log1p(efficiency) * (CYCLES - half)))


def noisy(curve, seed=1):
    """The curve on a background, with noise."""
    return BACKGROUND + curve + np.random.default_rng(seed).normal(0, NOISE, len(CYCLES))


@given(st.floats(18, 36), st.floats(0.75, 1.0))
def test_the_second_derivative_maximum_of_a_logistic_is_found(half, efficiency):
    """Of a pure logistic it lies ln(2 + sqrt 3) / rate before the middle; found to half a cycle."""
    curve = logistic(half, efficiency=efficiency) + BACKGROUND
    truth = half - np.log(2 + np.sqrt(3)) / np.log1p(efficiency)
    assert call_curves(curve, method="sdm").cq[0] == pytest.approx(truth, abs=0.5)
    assert call_curves(curve, method="5pl", baseline=(1, 4)).cq[0] == pytest.approx(truth, abs=0.5)


@pytest.mark.parametrize("method", ["sdm", "5pl", "linregpcr"])
def test_neither_scale_nor_offset_moves_a_cq(method):
    """Raw counts and normalised units give one Cq."""
    curves = np.array([noisy(logistic(half)) for half in (20, 25, 30)])
    plain = call_curves(curves, method=method)
    moved = call_curves(curves * 3000 + 500, method=method)
    assert moved.cq == pytest.approx(plain.cq, abs=1e-4)


@pytest.mark.parametrize("method", ["sdm", "5pl", "linregpcr"])
def test_a_curve_without_amplification_has_no_cq_by_any_method(method):
    """Methods that find a maximum on any curve still call nothing on noise."""
    calls = call_curves(np.array([noisy(np.zeros(45), seed) for seed in range(30)]), method=method)
    assert np.isnan(calls.cq).all()
    assert set(calls.verdict) == {FLAT}


def test_the_window_of_linearity_finds_the_efficiency():
    """Exponential growth of 0.9 a cycle on a wrong baseline comes out near it; Cq moves with the curve."""
    halves = np.array([20.0, 24.0, 28.0, 32.0])
    curves = np.array([logistic(half, plateau=4.0, efficiency=0.9) for half in halves]) + BACKGROUND
    calls = call_curves(curves + np.random.default_rng(2).normal(0, 0.0005, curves.shape), method="linregpcr")
    assert calls.efficiency == pytest.approx(0.87, abs=0.06)
    assert np.diff(calls.cq) == pytest.approx(np.diff(halves), abs=0.2)


def test_linregpcr_stands_at_the_threshold_whatever_the_height_of_a_curve():
    """Cq is near the crossing of the threshold; a curve of half the height keeps its own."""
    curves = np.array([noisy(logistic(half)) for half in (20.3, 24.8, 29.1, 31.6)])
    plain = call_curves(curves, method="linregpcr", threshold=0.1)
    assert plain.cq == pytest.approx(call_curves(curves, threshold=0.1).cq, abs=0.3)
    curves[2] = BACKGROUND + 0.5 * (curves[2] - BACKGROUND)
    low = call_curves(curves, method="linregpcr", threshold=0.1)
    assert low.cq[2] - low.cq[1] == pytest.approx(plain.cq[2] - plain.cq[1], abs=1e-9)


def test_a_target_without_a_clear_amplification_has_no_linregpcr_cq():
    """Nothing tells its efficiency; another target on the plate does not lend it one."""
    creeping = BACKGROUND + straight(8, 0.02)
    curves = np.array([noisy(logistic(24)), noisy(logistic(27)), creeping, creeping])
    calls = call_curves(curves, method="linregpcr", threshold=0.1, targets=["N", "N", "RP", "RP"])
    assert np.isnan(calls.cq).tolist() == [False, False, True, True]


@real
def test_linregpcr_agrees_with_the_program_that_defines_it():
    """RDML-Tools on the same 96 curves: TD0 to its last digit, efficiencies alike in the median."""
    (run,) = instruments.formats.read_all("x", (DATA / "rdml" / "eva_green_a.rdml").read_bytes())
    with (DATA / "rdml" / "eva_green_a_linregpcr_results.tsv").open(encoding="utf-8") as lines_:
        rows = {(r["well"], r["target"]): r for r in csv.DictReader(lines_, delimiter="\t")}
    used = [c for c in run.curves if rows[c.well, c.target]["amplification"] == "True"]
    theirs = [rows[c.well, c.target] for c in used]
    values = np.array([c.values for c in used])
    place = call_curves(values, method="sdm").cq - [float(row["TD0"]) for row in theirs]
    assert len(used) == 96
    assert np.abs(place).max() < 0.006
    calls = call_curves(values, method="linregpcr", targets=[c.target for c in used])
    gain = 1 + calls.efficiency - [float(row["indiv PCR eff"]) for row in theirs]
    assert abs(np.nanmedian(gain)) < 0.06


def test_each_target_has_its_own_threshold():
    """A weak dye on the plate does not lower the threshold of a strong one."""
    curves = np.array([noisy(logistic(25, plateau)) for plateau in (4.0, 4.0, 1.0, 1.0)])
    calls = call_curves(curves, method="threshold", targets=["N", "N", "RP", "RP"])
    assert calls.threshold[[0, 2]] == pytest.approx([0.2, 0.05], rel=0.05)
    assert call_curves(curves[:2]).threshold[0] == pytest.approx(calls.threshold[0])
    with pytest.raises(InstrumentError):
        call_curves(curves, targets=["N"])


def stepped(at, height):
    """Nothing, then at once all of it."""
    return np.where(at < CYCLES, height, 0.0)


def straight(start, slope):
    """A line from ``start`` on."""
    return slope * np.maximum(CYCLES - start, 0)


SHAPES = {
    "spike": [stepped(20, 1.0), stepped(30, 0.4)],
    "hook": [logistic(20) * np.where(CYCLES > 28, 1 - 0.04 * (CYCLES - 28), 1.0)],
    "creep": [straight(12, 0.05), straight(8, 0.02), 0.9 * (1 - np.exp(-np.maximum(CYCLES - 9, 0) / 18))],
    "ramp": [straight(22, 0.05), straight(26, 0.08), straight(30, 0.2)],
    "weak": [logistic(30, plateau=0.05), logistic(25, plateau=0.048)],
}


@pytest.mark.parametrize(
    ("reason", "curve"), [(name, curve) for name, many in SHAPES.items() for curve in many]
)
def test_a_rise_that_is_no_amplification_is_atypical(reason, curve):
    """A bubble, a hook, a creep, a straight ramp, a rise too small for its background: never a sigmoid."""
    noise = np.random.default_rng(4).normal(0, 0.001, (20, 45))
    calls = call_curves(BACKGROUND + curve + noise)
    assert SIGMOID not in calls.verdict
    assert reason in calls.reason
    assert set(calls.verdict[calls.reason == reason]) == {ATYPICAL}


def test_a_spike_of_one_cycle_is_no_amplification():
    """It is noise of the baseline, whatever its height."""
    assert call_curves(noisy(np.where(CYCLES == 25, 2.0, 0.0))).verdict[0] == FLAT


def test_a_line_over_the_whole_run_is_flat():
    """Drift that the baseline takes off leaves nothing to call, rising or falling."""
    curves = [noisy(slope * CYCLES) for slope in (-0.02, 0.01, 0.05)]
    calls = call_curves(np.array(curves), threshold=0.1)
    assert set(calls.verdict) == {FLAT}
    assert np.isnan(calls.cq).all()


def test_no_clear_positive_is_taken_for_a_disturbance():
    """Of 4,000 amplifications (Cq 12 to 38, efficiency 0.75 to 1, drift) 99.5 % are sigmoid."""
    rng = np.random.default_rng(3)
    curves = []
    for _ in range(4000):
        curve = logistic(rng.uniform(16, 41), rng.uniform(0.5, 4.0), rng.uniform(0.75, 1.0))
        curves.append(BACKGROUND + curve + rng.normal(0, 0.0008) * CYCLES + rng.normal(0, NOISE, 45))
    calls = call_curves(np.array(curves))
    assert (calls.verdict == SIGMOID).mean() >= 0.995


@given(st.integers(2, 20), st.integers(24, 44))
def test_lines_are_least_squares(start, end):
    """Level, slope and residual of a window are those of numpy's own fit, however high the offset."""
    values = noisy(0.01 * CYCLES)[None, :] + 1e5
    window = np.array([[start, end]])
    x = np.arange(start, end + 1)
    slope, level = np.polyfit(x, values[0, x] - 1e5, 1)
    fitted = lines(values, window)
    assert fitted.slope[0] == pytest.approx(slope, abs=1e-9)
    assert fitted.level[0] - 1e5 == pytest.approx(level, abs=1e-7)
    spread = np.sqrt(((values[0, x] - 1e5 - level - slope * x) ** 2).sum() / (len(x) - 2))
    assert fitted.noise[0] == pytest.approx(spread, rel=1e-4)
    assert subtract_baseline(values, window)[0, x].sum() == pytest.approx(0, abs=1e-7)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(2, 14)), min_size=1, max_size=6))
def test_every_curve_has_its_own_window(windows):
    """Curves with different windows get the lines that they get alone."""
    values = np.array([noisy(0.01 * CYCLES, seed) for seed in range(len(windows))])
    window = np.array([[start, start + length] for start, length in windows])
    together = lines(values, window)
    for i, (start, end) in enumerate(window):
        slope, level = np.polyfit(np.arange(start, end + 1), values[i, start : end + 1], 1)
        assert together.slope[i] == pytest.approx(slope, abs=1e-9)
        assert together.level[i] == pytest.approx(level, abs=1e-7)


def test_neither_order_nor_number_of_curves_matters():
    """More curves than are worked on at once, in two orders: every one is called as before."""
    rng = np.random.default_rng(9)
    curves = np.array([noisy(logistic(rng.uniform(18, 60)), seed) for seed in range(1100)])
    plain, turned = call_curves(curves, threshold=0.1), call_curves(curves[::-1], threshold=0.1)
    assert turned.cq[::-1] == pytest.approx(plain.cq, abs=1e-12, nan_ok=True)
    assert turned.reason[::-1].tolist() == plain.reason.tolist()
    assert len(set(plain.verdict)) > 1


def test_a_run_of_hundreds_of_cycles_is_called():
    """Readings by the minute: the numbers of the cycles exceed a byte, the shape is still seen."""
    cycles = np.arange(1, 401)
    curve = BACKGROUND + 2.5 / (1 + np.exp(-0.66 * (cycles - 330.0)))
    calls = call_curves(curve + np.random.default_rng(3).normal(0, NOISE, 400), threshold=0.1)
    assert calls.verdict[0] == SIGMOID
    assert calls.cq[0] == pytest.approx(330 + np.log(0.1 / 2.4) / 0.66, abs=0.2)


@given(st.integers(0, 10_000), st.sampled_from([0.003, 0.3, 3.0]))
def test_the_quick_bound_on_scatter_holds(seed, wild):
    """What stands for the scatter where it is clear cannot be less than the scatter itself."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, wild, (5, rng.integers(4, 50))).cumsum(axis=1) + rng.normal(0, 1, (5, 1))
    assert (_most_scatter(values) >= scatter(values)).all()


def test_a_run_of_a_few_cycles_is_called_without_complaint():
    """A run that has just begun has no signal yet, and no error either."""
    for width in range(4, 12):
        for method in ("abi", "cfx", "threshold", "sdm", "5pl", "linregpcr"):
            calls = call_curves(noisy(np.zeros(45))[:width], method=method)
            assert np.isnan(calls.cq[0]) or method == "cfx"


@real
@pytest.mark.parametrize(
    ("method", "most", "least"),
    [(method, 0.13, 1.2) for method in ("abi", "threshold", "sdm", "5pl", "linregpcr")],
)
def test_replicates_scatter_no_more_than_the_best_published(method, most, least):
    """94 replicates: SD at 15,000 copies at most 0.13, at 15 copies 20 % above what sampling makes."""
    with gzip.open(DATA / "cq_benchmark" / "dil4reps94.csv.gz", "rt") as lines_:
        table = list(csv.reader(lines_))
    names = np.array([name.partition("_")[0] for name in table[0][-375:]])
    cq = call_curves(np.array([row[-375:] for row in table[1:]], dtype=float).T, method=method).cq
    assert not np.isnan(cq).any()
    # The labels of the file count dilution, not copies: F15 is the strongest.
    assert np.std(cq[names == "F15"], ddof=1) <= most
    assert np.std(cq[names == "F15000"], ddof=1) <= least / (np.log(2) * np.sqrt(15))
