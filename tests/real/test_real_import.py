"""``lis import`` of every real export onto a plate whose map is the file's own: what is stored is what it says."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from exports import (
    CONTROL_TASKS,
    FOLDER,
    HERE,
    Bench,
    Plan,
    expected,
    readable,
    relative,
    run_of,
    template_of,
)

from instruments import RunFile
from lis import queries
from lis.cli import main
from lis.services import admin

pytestmark = pytest.mark.skipif(
    not HERE, reason="the folder of real exports (../shared/data) is not beside this checkout"
)

EDITED = "covid/aihg_COVID_test_HANDEDITED_qs7flex.xls"
OF_ANOTHER_PLATE = "abi_da_xlsx/appbio_quantstudio_designandanalysis_Diomni_v4.3_Presence_Absence.xlsx"
"""It carries the barcode BARCODE1, which no plate of this laboratory can have."""


@pytest.fixture
def bench(tmp_path: Path):
    """A fresh laboratory on the embedded database."""
    made = Bench(tmp_path / "data")
    yield made
    made.close()


def targets_of(run: RunFile) -> dict[str, list[str]]:
    """Target of the assay -> the names under which the file has it.

    Where wells test different genes, as research plates do, the genes that change from well to well are one
    target under many names: every well then tests all targets of its assay.
    """
    by_well: dict[str, set[str]] = {}
    for reading in run.readings:
        by_well.setdefault(reading.well, set()).add(reading.target or "whatever")
    everywhere = set.intersection(*by_well.values())
    changing = sorted({name for names in by_well.values() for name in names} - everywhere)
    return {name: [] for name in sorted(everywhere)} | ({changing[0]: changing[1:]} if changing else {})


def assay_of(run: RunFile) -> str:
    """A rule file with the targets of a file: any signal is positive, every control is as it comes."""
    names = targets_of(run)
    lines = ['id = "on-the-fly"', 'name = "as the file says"', 'version = "1"', 'source = "made by a test"']
    for name, others in names.items():
        dyes = {reading.dye for reading in run.readings if (reading.target or "whatever") == name}
        lines += [
            "[[target]]",
            f"name = {json.dumps(name)}",
            'role = "target"',
            f"aliases = {json.dumps(others)}",
        ]
        lines += [f'dye = "{dyes.pop()}"'] if len(dyes) == 1 else []
        lines += ['detected = { op = "<", ct = 99.0 }']
    lines += ["[[decision]]", 'id = "signal"', 'signal = ">=1"', 'call = "positive"']
    lines += ["[[decision]]", 'id = "none"', "signal = 0", 'call = "negative"']
    for kind in ("grey", "single-target", "borderline", "invalid"):
        end = "invalid" if kind == "invalid" else "inconclusive"
        lines += [f"[ladder.{kind}]", 'steps = ["re-extract"]', f'end = "{end}"', "negatives = 1"]
    for kind in ("NTC", "PC"):
        lines += ["[[control]]", f'kind = "{kind}"', 'scope = "run"', "min = 0", "[control.expect]"]
        lines += [f'{json.dumps(name)} = "any"' for name in names]
    return "\n".join(lines) + "\n"


def plan_of(run: RunFile) -> tuple[Plan, dict[str, list[str]]]:
    """The plate map of a file: wells with a control task are controls, all others hold a tube each.

    Where the file names no controls two of its wells stand for them, since no plate is without.
    """
    tasks: dict[str, set[str]] = {}
    for reading in run.readings:
        tasks.setdefault(reading.well, set()).add(reading.task)
    controls = [well for well, said in tasks.items() if said & CONTROL_TASKS]
    size = 384 if any(well[0] > "H" or int(well[1:]) > 12 for well in tasks) else 96
    ordered = [*controls, *(well for well in tasks if well not in controls)]
    first = [well for well in ordered if size == 96 or _in_first_batch(well)]
    content = {well: number for number, well in enumerate(tasks)} | dict.fromkeys(controls, "NTC")
    content |= {first[0]: "PC", first[1]: "NTC"}
    plan = Plan(tuple((well, what, ()) for well, what in content.items()), size)
    return plan, {"PC": [first[0]], "NTC": [first[1]]}


def _in_first_batch(well: str) -> bool:
    return (ord(well[0]) - ord("A")) % 2 == 0 and int(well[1:]) % 2 == 1


def prepare(bench: Bench, name: str) -> str:
    """A plate put together after the file, running in the cycler; its code."""
    run = run_of(name)
    plan, controls = plan_of(run)
    bench.rule("assays", "on-the-fly", assay_of(run))
    bench.rule("plates", "as-loaded", template_of("as-loaded", plan.size, controls))
    plate, _ = bench.plate(plan, "on-the-fly", "as-loaded")
    return plate


def lis_import(
    bench: Bench, path: Path, plate: str, capsys: pytest.CaptureFixture[str]
) -> tuple[int, dict, str]:
    """Exit status, document and stderr of ``lis import PATH --plate PLATE --json``."""
    bench.close()
    capsys.readouterr()
    try:
        main(["import", str(path), "--plate", plate, "--data", str(bench.folder), "--json"])
        status = 0
    except SystemExit as leave:
        status = int(leave.code or 0)
    out, err = capsys.readouterr()
    return status, json.loads(out), err


@pytest.mark.parametrize("name", [n for n in readable() if n not in {EDITED, OF_ANOTHER_PLATE}])
def test_what_is_stored_is_what_the_file_says(name: str, bench: Bench, capsys: pytest.CaptureFixture[str]):
    """Stored readings agree with the truth: count, called, sum, least and greatest Cq; the log verifies."""
    plate = prepare(bench, name)
    status, document, err = lis_import(bench, FOLDER / name, plate, capsys)
    assert (status, document["state"], err) == (0, "read", "")
    lab = bench.open()
    with lab.database.read() as conn:
        stored = queries.readings_of_run(conn, document["run_id"])
        assert admin.verify_log(conn).ok
    truth = expected()[name]
    called = [row["cq"] for row in stored if row["cq"] is not None]
    assert len(stored) == int(truth["rows_with_target"])
    assert len(called) == int(truth["called"])
    assert math.fsum(called) == pytest.approx(float(truth["sum_cq"]), abs=1e-3)
    assert (min(called), max(called)) == pytest.approx(
        (float(truth["min_cq"]), float(truth["max_cq"])), abs=1e-3
    )
    names = {other: one for one, others in targets_of(run_of(name)).items() for other in (one, *others)}
    said = set(filter(None, truth["targets"].split(","))) or {"whatever"}
    assert {row["target"] for row in stored} == {names[target] for target in said}
    tubes = {row["tube_id"] for row in stored if row["tube_id"]}
    assert {one["tube"] for one in document["tubes"]} == tubes


def test_a_file_that_names_another_plate_is_quarantined(bench: Bench, capsys: pytest.CaptureFixture[str]):
    """A barcode in the file outweighs the name a person typed: nothing of it reaches a tube."""
    plate = prepare(bench, OF_ANOTHER_PLATE)
    status, document, err = lis_import(bench, FOLDER / OF_ANOTHER_PLATE, plate, capsys)
    assert (status, document["state"], document["code"]) == (1, "quarantined", "OTHER_PLATE")
    assert "BARCODE1" in err
    lab = bench.open()
    with lab.database.read() as conn:
        assert queries.count_of(conn, "reading") == 0
        assert admin.verify_log(conn).ok


def test_a_real_export_missing_a_loaded_well_is_quarantined(bench: Bench, capsys: pytest.CaptureFixture[str]):
    """A csv without an end mark is whole only if every loaded well is in it; one well more and it is not."""
    name = next(n for n in readable() if "VIPERIN" in n)
    run = run_of(name)
    plan, controls = plan_of(run)
    present = {well for well, _, _ in plan.wells}
    empty = next(
        f"{row}{col}" for row in "HGFEDCBA" for col in range(12, 0, -1) if f"{row}{col}" not in present
    )
    bench.rule("assays", "on-the-fly", assay_of(run))
    bench.rule("plates", "as-loaded", template_of("as-loaded", plan.size, controls))
    more = Plan((*plan.wells, (empty, 9999, ())), plan.size)
    plate, _ = bench.plate(more, "on-the-fly", "as-loaded")
    status, document, err = lis_import(bench, FOLDER / name, plate, capsys)
    assert (status, document["state"], document["code"]) == (1, "quarantined", "WELL_MISSING")
    assert empty in err


@pytest.mark.parametrize("name", [n for n in relative() if "Amplification" in n][:1])
def test_curves_alone_are_no_results(name: str, bench: Bench, capsys: pytest.CaptureFixture[str]):
    """The amplification csv sent instead of the results is kept, quarantined and says what to export."""
    plate = prepare(bench, next(n for n in readable() if "GAPDH" in n))
    status, document, err = lis_import(bench, FOLDER / name, plate, capsys)
    assert (status, document["state"], document["code"]) == (1, "quarantined", "NO_RESULTS")
    assert "Export the results table" in err
    lab = bench.open()
    with lab.database.read() as conn:
        assert queries.count_of(conn, "file") == 1


def test_the_same_export_twice_is_taken_once(bench: Bench, capsys: pytest.CaptureFixture[str]):
    """A second import of the same bytes answers what was done then and stores nothing anew."""
    name = "abi_legacy/appbio_quantstudio_example01.txt"
    plate = prepare(bench, name)
    first = lis_import(bench, FOLDER / name, plate, capsys)[1]
    status, second, _ = lis_import(bench, FOLDER / name, plate, capsys)
    assert (status, second["status"], second["run_id"]) == (0, "duplicate", first["run_id"])
    lab = bench.open()
    with lab.database.read() as conn:
        assert (queries.count_of(conn, "run"), queries.count_of(conn, "file")) == (1, 1)
