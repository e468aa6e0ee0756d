"""The report over a folder: its figures meet the bars, and what is absent is left out."""

import csv
import gzip
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from instruments import export
from instruments.calling_replicates import quality
from instruments.calling_report import tables
from instruments.formats.experiment import curve
from instruments.model import Reading, RunFile, well_name
from instruments.virtual import VirtualRun, VirtualWell, write_cfx, write_quantstudio

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
    exact = {row[0]: float(row[3]) for row in rows if row[1] == row[2]}
    assert sum("Quantification" in name for name in exact) == 4
    assert all(
        gap <= (1e-9 if "Quantification" in name else 1e-6)
        for name, gap in exact.items()
        if "rdml" not in name
    )
    clean, every = report["integrity: can the Cq have come from the curve beside it"].rows
    assert clean[2:] == every[2:]
    assert every[2] >= 800


@real
def test_own_baselines_stay_close_to_the_instruments(report):
    """Every called curve is called, p95 within 0.08 cycle, no extra call."""
    ((called, found, share, doubted, _, p95, _, negatives, extra),) = report[
        "own baseline with the instrument's threshold"
    ].rows
    assert called == found >= 490
    assert (share, doubted) == ("1", 0)
    assert float(p95) <= 0.08
    assert extra <= 0.01 * negatives


@real
def test_precision_stands_beside_the_published_methods(report):
    """Five methods of our own, eleven of the paper."""
    own = {row[0]: row for row in report["SD of Cq, 94 replicates"].rows}
    assert list(own) == ["abi", "threshold", "sdm", "5pl", "linregpcr", "sampling alone"]
    assert {row[6] for name, row in own.items() if name != "sampling alone"} == {"yes"}
    table = report["the eleven published methods and these, medians over the assays"]
    difference = {row[0]: float(row[1]) for row in table.rows}
    assert len(difference) == 16
    assert list(difference.values()) == sorted(difference.values())
    ours = {name: value for name, value in difference.items() if "(here)" in name}
    best = min(value for name, value in difference.items() if name not in ours)
    assert min(ours.values()) <= best  # the best published is LinRegPCR with 1.77
    assert max(ours.values()) <= 1.85  # as PCR-Miner, the third of the eleven
    within = {row[0]: float(row[2]) for row in table.rows}
    assert max(within[name] for name in ours) <= 0.0043  # as MAK2


@real
def test_figures_of_quality_are_those_of_the_paper():
    """From the published amounts of three methods come their published figures, for each of 63 assays."""
    folder = DATA / "cq_benchmark"
    with (folder / "data_vermeulen_methods_results.tsv").open(encoding="utf-8") as lines:
        table = [row for row in csv.reader(lines, delimiter="\t") if row and row[0]]
    assays = table[0][1:]
    found, section = {}, {}
    for name, *cells in table:
        if cells == assays:
            section = found.setdefault(name, {})
        section[name] = cells
    with (folder / "data_vermeulen_methods_quant.tsv").open(encoding="utf-8") as lines:
        rows = list(csv.reader(lines, delimiter=";"))
    for method in ("Standard-Cq", "MAK2", "PCR-Miner"):
        start = next(i for i, row in enumerate(rows) if row[:2] == ["method", method])
        used = rows[start + 1 : start + 16]
        copies = np.log10([float(row[2].removeprefix("STD_")) for row in used])
        for i, assay in enumerate(assays):
            column = rows[0].index(assay)
            made = quality(copies, np.log10([float(row[column]) for row in used]))
            for title, value, slack in (
                ("detectable difference", made.difference, 1e-3),
                ("Reproducibility: MS within", made.within, 2e-2),
                ("Linearity: MS derivation", made.linearity, 2e-2),
                ("slope = bias", made.slope, 1e-4),
            ):
                published = float(found[title][method][i])
                assert value == pytest.approx(published, rel=slack, abs=2e-6), (method, assay, title)


@real
def test_forecasts_gain_recall_and_stay_precise(report):
    """From cycle to cycle more positives are seen; what is seen nearly always stays."""
    rows = report["running plates, planning only"].rows
    recalls = [float(row[3]) for row in rows]
    assert recalls == sorted(recalls)
    assert min(float(row[4]) for row in rows) >= 0.98


def test_amounts_on_a_line_are_of_perfect_quality():
    """No scatter: every fold difference is seen. A missing amount is left out."""
    copies = np.repeat([1.0, 2.0, 3.0, 4.0], 3)
    amounts = 0.9 * copies - 11
    amounts[4] = np.nan
    made = quality(copies, amounts)
    assert (made.difference, made.slope) == (pytest.approx(1), pytest.approx(0.9))
    assert max(made.within, made.linearity) < 1e-20
    scattered = quality(copies, copies + np.tile([-0.1, 0.0, 0.1], 4))
    assert scattered.within == pytest.approx(0.01)
    assert scattered.linearity == pytest.approx(0, abs=1e-20)
    assert scattered.difference == pytest.approx(10 ** (3.93895 * np.sqrt(0.08 / 10)))


# -- a synthetic folder ---------------------------------------------------------------------------

CYCLES = np.arange(1, 46)
AT = datetime(2022, 12, 1, 8, 0, tzinfo=UTC)


def rises(halves, rng):
    """Synthetic curves with their middles at these cycles; 0 for none."""
    x = np.where(halves[:, None] > 0, CYCLES - halves[:, None], -1e3)
    return 0.6 + 2.5 / (1 + np.exp(-0.66 * np.clip(x, -60, 60))) + rng.normal(0, 0.003, x.shape)


def write_wide(path, names, values):
    """A packed csv with one column a curve."""
    with gzip.open(path, "wt", encoding="utf-8") as out:
        rows = csv.writer(out)
        rows.writerow(["", "Cycles", *names])
        rows.writerows([i, i, *column] for i, column in enumerate(values.T.tolist(), 1))


def standards(name, rng):
    """A synthetic run of five standards in triplicate."""
    copies = np.repeat([150_000, 15_000, 1_500, 150, 15], 3)
    values = rises(38 - np.log(copies) / 0.66 + rng.normal(0, 0.05, 15), rng)
    wells = [well_name(i, 96) for i in range(15)]
    return RunFile(
        name, "", "synthetic",
        readings=tuple(
            Reading(well, f"STD_{count}", "standard", name, "SYBR", None, "", "", ())
            for well, count in zip(wells, copies, strict=True)
        ),
        curves=tuple(curve(well, name, "SYBR", "rfu", row) for well, row in zip(wells, values, strict=True)),
    )  # fmt: skip


@pytest.fixture(scope="module", name="synthetic")
def synthetic_fixture(tmp_path_factory):
    """Tables over a folder made here: two cyclers, one Cq typed over, and every kind of benchmark."""
    folder = tmp_path_factory.mktemp("synthetic")
    rng = np.random.default_rng(11)
    wells = [
        VirtualWell(well_name(i, 96), f"T{i}", "unknown", {"N": ("FAM", None if i % 4 == 3 else 20.0 + i)})
        for i in range(16)
    ]
    run = VirtualRun(
        "P-1", "QS-A", "SN-7", "QuantStudio(TM) 7 Flex System", AT, AT + timedelta(minutes=94), 96, wells
    )
    text = write_quantstudio(run)
    (folder / "honest.txt").write_bytes(text)
    head, _, table = text.decode("utf-8").partition("[Results]")
    lines_ = table.splitlines(keepends=True)
    place = next(i for i, line in enumerate(lines_) if "\tT4\t" in line)
    cells = lines_[place].split("\t")
    column = next(i for i, cell in enumerate(cells) if cell[:3] in {"23.", "24."} and "." in cell)
    cells[column] = "31.5"
    lines_[place] = "\t".join(cells)
    (folder / "edited.txt").write_bytes((head + "[Results]" + "".join(lines_)).encode("utf-8"))
    for name, data in write_cfx(replace(run, plate="P-2")).items():
        (folder / name).write_bytes(data)
    write_wide(folder / "rated.csv.gz", "abcd", rises(np.array([22.0, 28.0, 0.0, 0.0]), rng))
    (folder / "rated_human_rating.csv").write_text("curve,rating\na,y\nb,y\nc,n\nd,n\n", encoding="utf-8")
    names = [f"F{n}_{i}" for n in (15, 150, 1500, 15000) for i in range(12)]
    halves = np.repeat([24.0, 27.3, 30.6, 33.9], 12) + rng.normal(0, 0.02, 48)
    write_wide(folder / "dil4reps94.csv.gz", names, rises(halves, rng))
    for name in ("ONE_20080101", "TWO_20080101", "UNKNOWN_20080101"):
        (folder / f"data_vermeulen_std_{name}.rdml").write_bytes(export.rdml(standards(name, rng)))
    lines = []
    for title, numbers in (("detectable difference", "2.0\t2.2"), ("Reproducibility: MS within", "0.005\t0.007"),
                           ("Linearity: MS derivation", "0.003\t0.003"), ("slope = bias", "1.0\t1.1")):  # fmt: skip
        lines += [f"{title}\tONE\tTWO", f"theirs\t{numbers}", "\t\t"]
    (folder / "data_vermeulen_methods_results.tsv").write_text("\n".join(lines), encoding="utf-8")
    return {table.title.partition(" (")[0]: table for table in tables(folder)}


def test_a_cq_typed_over_is_counted_where_it_stands(synthetic):
    """Both cyclers are reproduced exactly; the one false Cq is the only finding, in its own row."""
    rows = {row[0]: row for row in synthetic["the instrument's Cq from the curves of its file"].rows}
    assert rows["honest.txt"][1:3] == (12, 12)
    assert float(rows["honest.txt"][3]) < 1e-4
    assert rows["edited.txt"][1:3] == (12, 11)
    found = synthetic["integrity: can the Cq have come from the curve beside it"]
    assert found.columns[3] == "edited"
    edited, clean, every = found.rows
    assert (edited[0], edited[3], clean[3], every[3]) == ("edited.txt", 1, 0, 1)
    assert every[2] == edited[2] + clean[2]


def test_synthetic_figures_are_what_was_put_in(synthetic):
    """Share and extra calls of the own baseline, people's marks, scatter, and a place among the published."""
    ((called, found, share, _, _, _, _, negatives, extra),) = synthetic[
        "own baseline with the instrument's threshold"
    ].rows
    assert (called, found, share, negatives, extra) == (12, 12, "1", 4, 0)  # the edited file is left out
    assert synthetic["curve verdict against people"].rows == (("rated", "2/2", "2/2"),)
    own = {row[0]: row for row in synthetic["SD of Cq, 94 replicates"].rows}
    assert all(float(own[name][1]) < 0.1 and own[name][5:] == (0, "yes") for name in list(own)[:-1])
    table = synthetic["the eleven published methods and these, medians over the assays"]
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["theirs"] == ("2.1", "0.006", "0.003", "1.05")
    assert set(rows) == {"theirs", *(f"{name} (here)" for name in own if name != "sampling alone")}
    assert all(float(rows[name][0]) < 1.6 for name in rows if name != "theirs")
    assert table.rows[-1][0] == "theirs"  # the coarsest comes last


def test_an_empty_folder_gives_tables_without_figures(tmp_path):
    """Nothing to measure is said, not an error."""
    (tmp_path / "notes.txt").write_text("no run")
    made = list(tables(tmp_path))
    assert made[0].rows == ((0, 0, 1),)
