"""The report over a folder: its figures meet the bars, and what is absent is left out."""

from pathlib import Path

import pytest

from instruments.calling_report import tables

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "instruments"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real exports is not on this machine")


@pytest.fixture(scope="module", name="report")
def report_fixture(tmp_path_factory):
    """Tables over the small sets of the data folder; the large workbooks have tests of their own."""
    folder = tmp_path_factory.mktemp("runs")
    for pattern in (
        "cq_benchmark/dil4*",
        "cq_benchmark/*results.tsv",
        "cq_benchmark/*verm*.rdml",
        "biorad_cfx/*",
        "rdml/RAS*",
        "rdml/step*",
        "*/*QS7Pro_Pres*",
        "*/*QS6*",
    ):
        for path in DATA.glob(pattern):
            (folder / path.name).symlink_to(path)
    return {table.title.partition(" (")[0]: table for table in tables(folder)}


@real
def test_people_and_verdicts_agree(report):
    """Sensitivity 99.5 %, specificity 98 %, over all rated sets."""
    rows = report["curve verdict against people"].rows
    assert [row[0] for row in rows] == ["RAS002", "dil4reps94", "stepone_std"]
    right, positive, clean, negative = (
        sum(int(row[i].split("/")[j]) for row in rows) for i, j in ((1, 0), (1, 1), (2, 0), (2, 1))
    )
    assert (positive, negative) == (437, 154)
    assert right / positive >= 0.995
    assert clean / negative >= 0.98


@real
def test_instruments_are_reproduced_without_a_finding(report):
    """CFX Cq to 1e-9, QuantStudio Ct to 1e-6, and no honest well accused."""
    rows = report["the instrument's Cq from the curves of its file"].rows
    exact = {row[0]: float(row[3]) for row in rows if row[2] and row[1] == row[2]}
    assert sum("Quantification" in name for name in exact) == 4
    assert all(
        gap <= (1e-9 if "Quantification" in name else 1e-6)
        for name, gap in exact.items()
        if "rdml" not in name
    )
    assert {row[4] for row in rows} == {""}


@real
def test_own_baselines_stay_close_to_the_instruments(report):
    """Every called curve is called, p95 within 0.08 cycle, no extra call."""
    ((called, found, _, p95, _, negatives, extra),) = report[
        "own baseline with the instrument's threshold"
    ].rows
    assert called == found >= 490
    assert float(p95) <= 0.08
    assert extra <= 0.01 * negatives


@real
def test_precision_stands_beside_the_published_methods(report):
    """Five methods of our own, eleven of the paper."""
    own = {row[0]: row for row in report["SD of Cq, 94 replicates"].rows}
    assert list(own) == ["abi", "threshold", "sdm", "5pl", "linregpcr", "sampling alone"]
    assert float(own["abi"][1]) <= 0.13
    table = report["the eleven published methods and these, medians over the assays"]
    within = {row[0]: float(row[2]) for row in table.rows}
    assert len(within) == 16
    ours = [value for name, value in within.items() if "(here)" in name]
    assert max(ours) <= 0.0043  # as MAK2; the best published is 0.0035


@real
def test_forecasts_gain_recall_and_stay_precise(report):
    """From cycle to cycle more positives are seen; what is seen nearly always stays."""
    rows = report["running plates, planning only"].rows
    recalls = [float(row[3]) for row in rows]
    assert recalls == sorted(recalls)
    assert min(float(row[4]) for row in rows) >= 0.98


def test_an_empty_folder_gives_tables_without_figures(tmp_path):
    """Nothing to measure is said, not an error."""
    (tmp_path / "notes.txt").write_text("no run")
    made = list(tables(tmp_path))
    assert made[0].rows == ((0, 0, 1),)
