"""A Cq that cannot have come from its curve is found; one that did is left alone."""

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs
from python_calamine import CalamineWorkbook

import instruments
from instruments import integrity
from instruments.calling import call_curves
from instruments.checking import call_run, verdicts
from instruments.model import Curve, Reading, RunFile, canonical_well, well_name

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "instruments"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real exports is not on this machine")
CYCLES = np.arange(1, 46)


def reading(well, cq, target="N", threshold=0.1):
    """What a file claims of a well."""
    return Reading(well, "", "unknown", target, "", cq, "" if cq is None else str(cq), "", (), threshold)


def plate(halves, threshold=0.1, seed=1):
    """A synthetic run whose Cq really come from its curves; 0 stands for a negative."""
    rng = np.random.default_rng(seed)
    curves = np.array(
        [2.0 / (1 + np.exp(-0.65 * (CYCLES - half))) if half else 0 * CYCLES for half in halves]
    )
    values = curves + 0.6 + rng.normal(0, 0.003, curves.shape)
    calls = call_curves(values, threshold=0.1)
    wells = [well_name(i, 96) for i in range(len(halves))]
    cqs = [None if np.isnan(cq) else float(cq) for cq in calls.cq]
    return RunFile(
        "run.txt",
        "",
        "synthetic",
        readings=tuple(reading(well, cq, threshold=threshold) for well, cq in zip(wells, cqs, strict=True)),
        curves=tuple(
            Curve(well, "N", "", kind, CYCLES, row)
            for kind, rows in (("rn", values), ("drn", calls.corrected))
            for well, row in zip(wells, rows, strict=True)
        ),
    )


def edited(run, well, cq):
    """The run with one Cq overwritten."""
    return replace(
        run, readings=tuple(structs.replace(r, cq=cq) if r.well == well else r for r in run.readings)
    )


HALVES = (22.0, 25.0, 28.5, 31.0, 0, 33.0, 0, 27.0)


@pytest.mark.parametrize("threshold", [0.1, None])
def test_an_honest_run_agrees_everywhere(threshold):
    """With the threshold in the file or without it, every Cq follows from its curve, exactly."""
    checked = integrity.check(plate(HALVES, threshold))
    assert {one.verdict for one in checked} == {"agrees"}
    assert all(one.exact for one in checked)
    assert integrity.flags(plate(HALVES, threshold)) == {}


@pytest.mark.parametrize("threshold", [0.1, None])
@pytest.mark.parametrize(
    ("well", "cq", "verdict", "flag"),
    [
        ("A2", 24.0, "edited", "INTEGRITY_EDITED"),
        ("A2", 36.4, "edited", "INTEGRITY_EDITED"),
        ("A3", None, "curve-without-cq", "INTEGRITY_CURVE_WITHOUT_CQ"),
        ("A5", 35.1, "cq-on-flat", "INTEGRITY_CQ_ON_FLAT"),
    ],
)
def test_one_touched_cell_is_found_and_no_other(threshold, well, cq, verdict, flag):
    """A Cq moved, taken away, or put on a flat curve is named; the seven other wells stay clean."""
    run = edited(plate(HALVES, threshold), well, cq)
    found = {one.key[0]: one.verdict for one in integrity.check(run) if one.verdict != "agrees"}
    assert found == {well: verdict}
    ((key, raised),) = integrity.flags(run).items()
    assert key[0] == well
    assert raised.startswith(flag)


@pytest.mark.parametrize("threshold", [0.1, None])
@pytest.mark.parametrize(("well", "cq"), [("A1", 22.0), ("A5", 35.1), ("", None)])
def test_ending_the_search_early_changes_no_answer(monkeypatch, threshold, well, cq):
    """The first way that reproduces every claim gives what trying every way gives, edited wells or none."""
    run = edited(plate(HALVES, threshold), well, cq)
    early, attempts = integrity.check(run), integrity._attempts
    monkeypatch.setattr(integrity, "_attempts", lambda group, whole: attempts(group, whole=True))
    assert early == integrity.check(run)


def test_the_difference_is_in_the_flag():
    """Whoever reviews the well sees by how many cycles the file departs from the curve."""
    run = plate(HALVES)
    cq = run.readings[1].cq
    assert list(integrity.flags(edited(run, "A2", cq + 1.3)).values()) == ["INTEGRITY_EDITED +1.3"]
    assert list(integrity.flags(edited(run, "A2", cq - 0.5)).values()) == ["INTEGRITY_EDITED -0.5"]


def test_a_swap_of_two_wells_is_found():
    """Two rows exchanged by hand contradict both curves."""
    run = plate(HALVES)
    first, second = run.readings[0].cq, run.readings[3].cq
    swapped = edited(edited(run, "A1", second), "A4", first)
    assert {key[0] for key in integrity.flags(swapped)} == {"A1", "A4"}


def test_an_instrument_that_cannot_be_reproduced_is_compared_coarsely():
    """Unknown baselines shift every Cq a little: that is no finding; three cycles are one."""
    run = plate(HALVES)
    rng = np.random.default_rng(5)
    moved = tuple(
        r if r.cq is None else structs.replace(r, cq=r.cq + rng.normal(0.1, 0.05)) for r in run.readings
    )
    vague = replace(run, readings=moved, curves=tuple(c for c in run.curves if c.kind == "rn"))
    assert integrity.flags(vague) == {}
    assert [one.verdict for one in integrity.check(edited(vague, "A2", 30.0))].count("differs") == 1


def test_what_has_no_curve_is_unchecked():
    """No curve, a well the operator left out, or Crt: nothing is claimed either way."""
    run = plate(HALVES)
    assert {c.verdict for c in integrity.check(replace(run, curves=()))} == {"unchecked"}
    assert {c.verdict for c in integrity.check(replace(run, method="crt"))} == {"unchecked"}
    left_out = replace(
        run, readings=(structs.replace(run.readings[0], cq=3.0, flags=("OMIT",)), *run.readings[1:])
    )
    assert integrity.flags(left_out) == {}


def test_verdicts_stand_under_the_names_of_the_readings_too():
    """A file that calls a target differently beside its curves does not lose the verdict."""
    run = plate(HALVES)
    renamed = replace(
        run, readings=tuple(structs.replace(r, target="ORF1ab", dye="FAM") for r in run.readings)
    )
    assert verdicts(renamed)["A1", "ORF1ab", "FAM"] == verdicts(renamed)["A1", "N", ""] == "sigmoid"
    assert len([w for w in call_run(renamed)["wells"] if w["instrument_cq"]]) == 6


def by_number(path):
    """The hand-edited run joined on the well number: its well names were overwritten as well."""
    run = instruments.read(path.name, path.read_bytes())
    rows = CalamineWorkbook.from_path(path).get_sheet_by_name("Results").to_python()
    head = next(i for i, row in enumerate(rows) if "Well Position" in row)
    wells = {
        canonical_well(row[1], 384): well_name(int(row[0]) - 1, 384) for row in rows[head + 1 :] if row[1]
    }
    return replace(run, readings=tuple(structs.replace(r, well=wells[r.well]) for r in run.readings))


@real
def test_the_hand_edited_run_gives_its_edits_away():
    """All 23 Cq typed over are flagged, none of the 67 others; so are 6 Cq that were taken away."""
    run = by_number(DATA / "covid" / "aihg_COVID_test_HANDEDITED_qs7flex.xls")
    checked = integrity.check(run)
    called = [one for one in checked if one.instrument_cq is not None]
    flagged = [one for one in called if one.flag]
    assert (len(called), len(flagged)) == (90, 23)
    assert {one.verdict for one in flagged} <= {"edited", "cq-on-flat"}
    assert all(abs(one.difference) < 1e-3 for one in called if not one.flag)
    assert sum(one.verdict == "curve-without-cq" for one in checked) == 6


@real
@pytest.mark.parametrize(
    "path", sorted((DATA / "abi_da_xlsx").glob("*.xlsx")), ids=lambda path: path.stem[-20:]
)
def test_no_honest_quantstudio_run_is_accused(path):
    """Every well of an unedited export passes."""
    run = instruments.read(path.name, path.read_bytes())
    assert integrity.flags(run) == {}


@real
def test_no_honest_cfx_run_is_accused():
    """The Cq of CFX exports agree with the curves of the amplification files beside them, exactly."""
    exact = 0
    for path in sorted((DATA / "biorad_cfx").glob("sam*Cq-Results.csv")):
        run = instruments.read(path.name, path.read_bytes())
        curves = []
        for other in (DATA / "biorad_cfx").glob(path.name.split("-Quantification")[0] + "*Amplification*"):
            curves += instruments.read(other.name, other.read_bytes()).curves
        target = {r.well: r for r in run.readings}
        paired = tuple(
            structs.replace(c, target=target[c.well].target, dye=target[c.well].dye) for c in curves
        )
        checked = integrity.check(replace(run, curves=paired))
        assert [one for one in checked if one.flag] == []
        exact += sum(one.exact and one.cq is not None for one in checked)
    assert exact >= 322


def experiment(path):
    """Wells and curves of a version 1 .eds, which holds one text table of three lines a well."""
    with zipfile.ZipFile(path) as archive:
        text = archive.read("apldbio/sds/analysis_result.txt").decode()
    readings, curves, cells = [], [], ["0"] * 5
    for line in text.splitlines()[2:]:
        row = line.split("\t")
        if row[0] in {"Rn values", "Delta Rn values"}:
            values = np.array([float(cell) for cell in row[1:] if cell])
            kind = "rn" if row[0] == "Rn values" else "drn"
            curves.append(Curve(cells[0], cells[2], "", kind, np.arange(1, len(values) + 1), values))
        elif len(row) > 4 and row[0].isdigit():
            cells = [well_name(int(row[0]), 96), *row[1:]]
            cq = float(cells[4]) if cells[4] else None
            # The number of cycles stands for "none" in these files.
            readings.append(reading(cells[0], None if cq in {40.0, 45.0} else cq, cells[2], None))
    return RunFile(path.name, "", "eds", readings=tuple(readings), curves=tuple(curves))


@real
@pytest.mark.parametrize("name", ["mock_cdc_3.eds", "mock_failing_plate.eds"])
def test_a_cq_on_a_flat_curve_is_found_in_the_made_up_plates(name):
    """Every Ct that stands on a flat curve is flagged as such."""
    run = experiment(DATA / "covid" / name)
    flat = {key for key, verdict in verdicts(run).items() if verdict == "flat"}
    claimed = {r.key for r in run.readings if r.cq is not None and r.key in flat}
    flagged = {one.key for one in integrity.check(run) if one.verdict == "cq-on-flat"}
    tallest = {(c.well, c.target, c.dye): c.values[5:].max() for c in run.curves if c.kind == "drn"}
    assert len(flagged) >= 5
    assert flagged == claimed == {r.key for r in run.readings if r.cq is not None and tallest[r.key] < 0.05}


@real
def test_the_real_experiment_file_beside_them_is_not_accused():
    """The TaqMan run with 7 Ct passes."""
    run = experiment(DATA / "covid" / "DEMO_COVID2020_THERMO.eds")
    assert sum(r.cq is not None for r in run.readings) == 7
    assert integrity.flags(run) == {}
