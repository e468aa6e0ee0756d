"""``lis read --json`` over every real export, through the command line itself."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from exports import FOLDER, HERE, expected, readable, refused, relative

from lis.cli import main

pytestmark = pytest.mark.skipif(
    not HERE, reason="the folder of real exports (../shared/data) is not beside this checkout"
)

# One text export was shortened by hand, one workbook edited, three csv of partial plates prove no end.
NOT_PROVABLE = {
    "abi_legacy/appbio_quantstudio_example05.txt",
    "covid/aihg_COVID_test_HANDEDITED_qs7flex.xls",
    "biorad_cfx/htqpcr_CFX384_Cq_results.csv",
    "biorad_cfx/sam_2024-03-25_10-33-37_Connect-Quantification-Cq-Results.csv",
    "biorad_cfx/sam_2025-06-03_16-25-01_Connect-VIPERIN-Quantification-Cq-Results.csv",
}
ONE_OF_EACH = (
    "covid/i3l_abi7500_covid_E_RdRp_RNaseP.xls",
    "abi_da_xlsx/appbio_quantstudio_designandanalysis_QS7Pro_Presence_and_Absence_example10.xlsx",
    "abi_legacy/appbio_quantstudio_example02.txt",
    "biorad_cfx/sam_2024-12-10_16-01-52_CFX96-cGAS-01-Quantification-Cq-Results.csv",
)


def lis_read(name: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict, str]:
    """Exit status, document and stderr of ``lis read NAME --json`` in this process."""
    capsys.readouterr()
    try:
        main(["read", str(FOLDER / name), "--json"])
        status = 0
    except SystemExit as leave:
        status = int(leave.code or 0)
    out, err = capsys.readouterr()
    return status, json.loads(out), err


def agrees(name: str, document: dict) -> None:
    """The document says what the truth beside the exports says.

    Rows of the truth without a target are remarks under the table, which are no wells.
    """
    truth = expected()[name]
    remarks = int(truth["rows"]) - int(truth["rows_with_target"])
    wells = document["wells"]
    called = [well["cq"] for well in wells if well["cq"] is not None]
    assert len(wells) == int(truth["rows_with_target"])
    assert len({well["well"] for well in wells}) == int(truth["wells"]) - remarks
    assert {well["target"] for well in wells} - {""} == set(filter(None, truth["targets"].split(",")))
    assert (len(called), len(wells) - len(called)) == (int(truth["called"]), int(truth["uncalled"]) - remarks)
    assert math.fsum(called) == pytest.approx(float(truth["sum_cq"]), abs=1e-3)
    assert (min(called), max(called)) == pytest.approx(
        (float(truth["min_cq"]), float(truth["max_cq"])), abs=1e-3
    )


@pytest.mark.parametrize("name", readable())
def test_every_known_export_is_read_as_it_is(name: str, capsys: pytest.CaptureFixture[str]):
    """Rows, wells, targets, called and uncalled, sum, least and greatest Cq agree with the truth."""
    status, document, err = lis_read(name, capsys)
    agrees(name, document)
    assert document["complete"] is (name not in NOT_PROVABLE)
    assert status == (1 if name in NOT_PROVABLE else 0)
    assert err.startswith("error: INCOMPLETE_FILE: ") is (name in NOT_PROVABLE)


@pytest.mark.parametrize("name", refused())
def test_every_other_layout_is_refused_by_name(name: str, capsys: pytest.CaptureFixture[str]):
    """A layout nobody described gives exit 1, one sentence with the file's name, and still one document."""
    status, document, err = lis_read(name, capsys)
    assert (status, document["complete"], document["wells"]) == (1, False, [])
    assert err.startswith("error: UNKNOWN_FORMAT: ")
    assert Path(name).name in err
    assert Path(name).name in document["reasons"][0]


@pytest.mark.parametrize("name", [n for n in relative() if "Amplification" in n])
def test_an_amplification_table_holds_curves_and_no_results(name: str, capsys: pytest.CaptureFixture[str]):
    """The csv of curves beside a CFX result is read as curves only: it can never pass for results."""
    status, document, _ = lis_read(name, capsys)
    assert (status, document["wells"]) == (0, [])
    assert document["curves"] > 0


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_the_program_itself_prints_the_same_document(name: str, capsys: pytest.CaptureFixture[str]):
    """``python -m lis`` in a process of its own prints the same JSON as the command in this one."""
    script = "import sys; from lis.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", script, "read", str(FOLDER / name), "--json"],
        capture_output=True,
        check=False,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert done.returncode == 0
    assert json.loads(done.stdout) == lis_read(name, capsys)[1]


def test_there_is_something_to_test():
    """The folder holds the exports these tests speak of; an empty folder must not pass for success."""
    assert len(readable()) >= 18
    assert len(refused()) >= 5
