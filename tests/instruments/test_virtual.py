"""The virtual cycler: what it draws, and that its files say the same again."""

from datetime import UTC, datetime, timedelta
from string import ascii_letters, digits

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import instruments
from instruments.calling import call_curves
from instruments.model import well_name
from instruments.virtual import (
    SYNTHETIC,
    Chemistry,
    VirtualRun,
    VirtualWell,
    cut,
    draw,
    junk,
    write_cfx,
    write_quantstudio,
)

AT = datetime(2022, 12, 1, 8, 0, tzinfo=UTC)
NAME = st.text(ascii_letters + digits + "-./() 样本µ,\"'", max_size=12).map(str.strip)
CQ = st.none() | st.floats(8, 44)


def run_of(wells, block=96, **more):
    """A run of these wells."""
    return VirtualRun(
        "P-0001",
        "QS-A",
        "SN-7",
        "QuantStudio(TM) 7 Flex System",
        AT,
        AT + timedelta(minutes=94),
        block,
        wells,
        **more,
    )


@st.composite
def runs(draw_from):
    """Runs on 96 or 384 wells with up to three targets per well and any names an export can hold."""
    block = draw_from(st.sampled_from([96, 384]))
    places = draw_from(st.lists(st.integers(0, block - 1), min_size=1, max_size=10, unique=True))
    panel = [("ORF1ab", "FAM"), ("N", "VIC"), ("RNase P", "CY5")][: draw_from(st.integers(1, 3))]
    tasks = st.sampled_from(["unknown", "ntc", "positive_control", "negative_control", "standard"])
    wells = [
        VirtualWell(
            well_name(i, block),
            draw_from(NAME),
            draw_from(tasks),
            {target: (dye, draw_from(CQ)) for target, dye in panel},
        )
        for i in places
    ]
    return run_of(wells, block, seed=draw_from(st.integers(0, 2**32 - 1)))


def expected(drawn):
    """Key, sample and task of every reaction."""
    return [(r.well, r.target, r.dye, r.sample, r.task) for r in drawn.reactions]


def found(run):
    """The same of a file that was read."""
    return [(r.well, r.target, r.dye, r.sample, r.task) for r in run.readings]


@settings(deadline=None, max_examples=60)
@given(runs())
def test_a_quantstudio_file_reads_back_exactly(run):
    """Header, reactions, Cq to six decimals and curves come back as they were written."""
    drawn, data = draw(run), write_quantstudio(run)
    back = instruments.read("x", data)
    assert back.complete, back.reasons
    assert (back.plate, back.serial, back.device, back.instrument) == (
        run.plate,
        run.serial,
        run.instrument,
        run.model,
    )
    assert (back.block, back.run_started, back.run_ended) == (run.block, run.started, run.ended)
    assert found(back) == expected(drawn)
    cq = [np.nan if r.cq is None else r.cq for r in back.readings]
    assert cq == pytest.approx(drawn.cq, abs=5.1e-7, nan_ok=True)
    rn = [c for c in back.curves if c.kind == "rn"]
    assert np.array_equal([c.values for c in rn], drawn.rn)
    assert [(c.well, c.target, c.dye) for c in rn] == [(r.well, r.target, r.dye) for r in drawn.reactions]
    assert b"* Experiment Comment = " + SYNTHETIC.encode() in data


@settings(deadline=None, max_examples=40)
@given(runs())
def test_cfx_files_read_back_exactly(run):
    """Reactions, Cq to the last digit and curves come back; only the end stays to be confirmed."""
    drawn, files = draw(run), write_cfx(run)
    cq_name = next(name for name in files if "Cq-Results" in name)
    back = instruments.read(cq_name, files[cq_name])
    loaded = [(r.well, r.target) for r in drawn.reactions]
    assert back.confirmed(loaded).complete, back.reasons
    assert (back.plate, back.serial, back.run_ended) == (run.plate, run.serial, run.ended)
    assert sorted(found(back)) == sorted(expected(drawn))
    rfu = drawn.delta * 2000.0
    called = call_curves(rfu, method="cfx", threshold=200.0).cq
    assert [r.raw_cq for r in back.readings] == ["NaN" if np.isnan(v) else repr(v) for v in called.tolist()]
    curves = {}
    for name, data in files.items():
        if name != cq_name:
            one = instruments.read(name, data)
            assert one.complete
            curves |= {(c.well, c.dye): c.values for c in one.curves}
        assert name.startswith("SYNTHETIC_")
        assert SYNTHETIC.encode() in data
    assert np.array_equal([curves[r.well, r.dye] for r in drawn.reactions], rfu)


def test_the_cq_of_a_file_can_be_recomputed_from_its_curves():
    """The instrument's Cq is called from the curve, not copied from the truth."""
    wells = [VirtualWell(well_name(i, 96), f"T{i}", "unknown", {"N": ("FAM", 15 + i / 4)}) for i in range(80)]
    back = instruments.read("x", write_quantstudio(run_of(wells)))
    rn = [c.values for c in back.curves if c.kind == "rn"]
    calls = call_curves(
        rn, threshold=[r.threshold for r in back.readings], baseline=[r.baseline for r in back.readings]
    )
    assert calls.cq == pytest.approx([r.cq for r in back.readings], abs=1e-6)
    truth = np.array([15 + i / 4 for i in range(80)])
    assert np.abs(calls.cq - truth).max() > 0.001


def test_drawn_cq_follow_the_truth_with_the_scatter_of_a_bench():
    """Bias and scatter stay small, nothing negative is called, and late templates drop out."""
    wells = [VirtualWell(well_name(i, 384), "", "unknown", {"N": ("FAM", 18 + i / 20)}) for i in range(300)]
    wells += [VirtualWell(well_name(i, 384), "", "ntc", {"N": ("FAM", None)}) for i in range(300, 384)]
    drawn = draw(run_of(wells, 384), np.random.default_rng(4))
    error = drawn.cq[:300] - (18 + np.arange(300) / 20)
    assert abs(error.mean()) < 0.2
    assert error.std() < 0.2
    assert np.isnan(drawn.cq[300:]).all()
    late = draw(run_of([VirtualWell("A1", "", "unknown", {"N": ("FAM", 49.0)})]))
    assert np.isnan(late.cq).all()


def test_one_seed_draws_one_run():
    """The same seed gives the same bytes, another seed another curve, and a generator can be handed in."""
    wells = [VirtualWell("A1", "S", "unknown", {"N": ("FAM", 25.0)})]
    assert write_quantstudio(run_of(wells, seed=1)) == write_quantstudio(run_of(wells, seed=1))
    assert write_quantstudio(run_of(wells, seed=1)) != write_quantstudio(run_of(wells, seed=2))
    given_generator = write_quantstudio(run_of(wells, seed=2), np.random.default_rng(1))
    assert given_generator == write_quantstudio(run_of(wells, seed=1))


@pytest.mark.parametrize(
    ("run", "code"),
    [
        (run_of([]), "BAD_RUN"),
        (run_of([VirtualWell("A1", "", "ntc", {"N": ("FAM", None)})] * 2), "BAD_RUN"),
        (run_of([VirtualWell("I1", "", "ntc", {"N": ("FAM", None)})]), "BAD_WELL"),
        (run_of([VirtualWell("A1", "a\tb", "ntc", {"N": ("FAM", None)})]), "BAD_RUN"),
        (
            run_of([VirtualWell("A1", "a", "ntc", {"N": ("FAM", 20.0)})], chemistry=Chemistry(plateau=0.05)),
            "BAD_RUN",
        ),
    ],
)
def test_a_run_that_cannot_be_is_refused(run, code):
    """Empty plates, double or impossible wells, unwritable names and absurd chemistry are errors."""
    with pytest.raises(instruments.InstrumentError) as caught:
        write_quantstudio(run)
    assert caught.value.code == code


def test_a_cfx_cannot_read_two_targets_of_one_dye():
    """One column per well and dye: the second target would overwrite the first."""
    wells = [VirtualWell("A1", "", "unknown", {"N": ("FAM", 20.0), "E": ("FAM", 22.0)})]
    with pytest.raises(instruments.InstrumentError, match="two targets of one dye"):
        write_cfx(run_of(wells))


def test_faults_on_demand_are_faults():
    """A cut file is not complete or refused, junk is refused, and both with a sentence."""
    data = write_quantstudio(run_of([VirtualWell("A1", "S", "unknown", {"N": ("FAM", 25.0)})]))
    assert cut(data, 1.0) == data
    with pytest.raises(instruments.InstrumentError) as caught:
        instruments.read("x", cut(data, 0.5))
    assert caught.value.code == "INCOMPLETE_FILE"
    with pytest.raises(instruments.InstrumentError) as caught:
        instruments.read("x", junk(5000, np.random.default_rng(0)))
    assert caught.value.code == "UNKNOWN_FORMAT"
