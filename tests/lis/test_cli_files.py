"""``lis read``, ``lis call`` and ``lis import`` for people: the terminal says what the document says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from bench import Bench
from command_line import called


@pytest.fixture
def run(embedded: Bench) -> tuple[str, list[str], Path]:
    """A loaded plate, its tubes, and the finished run of the virtual cycler with curves; one tube is positive."""
    codes = embedded.singles(2)
    plate = embedded.plate(codes)
    path = embedded.lab.settings.data / "run.txt"
    path.write_bytes(embedded.drawn(plate, {codes[0]: {"ORF1ab": 24.0, "N": 24.5}}))
    return plate, codes, path


def rows_of(out: str) -> list[list[str]]:
    """The rows of a printed table, cell by cell."""
    return [re.split(r"\s{2,}", line.strip()) for line in out.splitlines()]


def test_a_run_is_printed_well_by_well(run: tuple[str, list[str], Path], capsys):
    """Every well of the document stands in the table with its sample, target and Cq; what was not read is named."""
    path = str(run[2])
    document = json.loads(called(capsys, "read", path, "--json")[1])
    status, out, err = called(capsys, "read", path)
    assert status == 0
    assert out.startswith(f"run.txt: {document['format']}, ")
    assert f"{document['curves']} curves" in out
    printed = rows_of(out)
    for well in document["wells"]:
        assert any(
            {well["well"], well["sample"], well["target"]} <= set(row)
            and (well["cq"] is None or str(well["cq"]) in row)
            for row in printed
        ), well
    assert document["unread"]
    assert f"kept but not understood: {', '.join(document['unread'])}" in err


def test_called_cq_are_printed_beside_the_instruments(run: tuple[str, list[str], Path], capsys):
    """The table of ``lis call`` gives each well's Cq to three digits, its curve and the instrument's own Cq."""
    path = str(run[2])
    document = json.loads(called(capsys, "call", path, "--json")[1])
    status, out, _ = called(capsys, "call", path)
    assert status == 0
    assert out.startswith(f"method {document['method']}, threshold ")
    printed = rows_of(out)
    amplified = [well for well in document["wells"] if well["cq"] is not None]
    assert len(amplified) > 4
    for well in amplified:
        assert any(
            [well["well"], well["target"], f"{well['cq']:.3f}"] == row[:3] and well["curve"] in row
            for row in printed
        ), well


def test_a_folder_of_runs_is_measured(run: tuple[str, list[str], Path], capsys):
    """The report prints the tables of its document, and the virtual cycler's Cq are reproduced."""
    folder = run[2].parent / "runs"
    folder.mkdir()
    run[2].rename(folder / "run.txt")
    document = json.loads(called(capsys, "call", "--report", str(folder), "--json")[1])
    status, out, _ = called(capsys, "call", "--report", str(folder))
    assert status == 0
    titles = [table["title"] for table in document["tables"]]
    assert titles
    assert [line for line in out.splitlines() if line in titles] == titles
    cells = {cell for row in rows_of(out) for cell in row}
    assert all(str(row[0]) in cells for table in document["tables"] for row in table["rows"])


def test_call_wants_a_file_or_a_folder_and_curves(run: tuple[str, list[str], Path], capsys):
    """Neither or both is a wrong use; a file of results alone is told to be exported with its curves."""
    path, folder = str(run[2]), str(run[2].parent)
    for wrong in (["call"], ["call", path, "--report", folder]):
        status, _, err = called(capsys, *wrong)
        assert (status, "Give a FILE, or a folder with --report" in err) == (2, True)
    text = run[2].read_text("utf-8")
    head, _, rest = text.partition("[Amplification Data]")
    run[2].write_text(head + "[Results]" + rest.partition("[Results]")[2], encoding="utf-8")
    status, _, err = called(capsys, "call", path)
    assert status == 1
    assert err.startswith("error: NO_CURVES: run.txt: ")


def test_an_import_says_what_became_of_every_tube(run: tuple[str, list[str], Path], embedded: Bench, capsys):
    """Each tube of the plate is printed with its outcome; the same file again is a duplicate and changes nothing."""
    plate, codes, path = run
    data = str(embedded.lab.settings.data)
    status, out, err = called(capsys, "import", str(path), "--plate", plate, "--data", data)
    assert (status, err) == (0, "")
    assert out.startswith(f"read (stored) plate {plate} run ")
    outcome = {row[0]: row[1] for row in rows_of(out) if row[0] in codes}
    assert outcome == {codes[0]: "positive", codes[1]: "negative"}
    assert [embedded.tube(code).outcome for code in codes] == ["positive", "negative"]
    events = embedded.count()
    assert called(capsys, "import", str(path), "--plate", plate, "--data", data)[1].startswith(
        "read (duplicate)"
    )
    assert embedded.count() == events


def test_an_import_that_is_quarantined_exits_1_with_the_reason(
    run: tuple[str, list[str], Path], embedded: Bench, capsys
):
    """A file sent for another plate reaches no tube, and the reason goes to stderr."""
    _, codes, path = run
    other = embedded.plate(embedded.singles(1))
    data = str(embedded.lab.settings.data)
    status, out, err = called(capsys, "import", str(path), "--plate", other, "--data", data)
    assert (status, out.startswith("quarantined (stored) ")) == (1, True)
    assert err.startswith("error: OTHER_PLATE: ")
    assert set(embedded.states(codes)) == {"running"}
