"""`lis pool design`: what is printed, and how it fails."""

import json

import pytest

import pooling
from lis.cli import main


@pytest.fixture
def run(capsys):
    """Run the command; gives exit status, output and errors."""

    def call(*arguments):
        status = 0
        try:
            main(["pool", "design", *arguments])
        except SystemExit as left:
            status = left.code
        told = capsys.readouterr()
        return status, told.out, told.err

    return call


def test_the_best_design_as_json(run):
    """One document with the keys of the surface, and every refusal as size, code and sentence."""
    status, out, err = run("--prevalence", "0.0001", "--json")
    found = json.loads(out)
    assert (status, err) == (0, "")
    assert set(found) >= {
        "size",
        "stages",
        "tests_per_person",
        "sensitivity",
        "specificity",
        "ppv",
        "npv",
        "expected_tests",
        "saving",
    }
    assert found["size"] == 32
    (refused,) = found["refused"]
    assert (refused["size"], refused["last"], refused["code"]) == (101, 101, "ABOVE_CAP")
    assert refused["sentence"].startswith("Size 101: ")


def test_refusals_are_printed_for_a_person(run):
    """Without --json the reasons go to stderr, in words."""
    status, out, err = run("--prevalence", "0.01", "--size", "8", "--validated", "5")
    assert status == 0
    assert "size                 8" in out
    assert "refused: Size 8: a pool of 8 was not validated" in err
    assert "[NOT_VALIDATED]" in err


def test_stages_and_arrays(run):
    """Values per stage, arrays and master pools reach the mathematics."""
    _, out, _ = run(
        "--prevalence", ".01", "--stages", "3", "--size", "16", "--sensitivity", ".9,.95,.99", "--json"
    )
    assert json.loads(out)["sensitivity"] == pytest.approx(0.9 * 0.95 * 0.99)
    assert json.loads(out)["layout"] == [4, 4, 4, 4]
    _, out, _ = run("--prevalence", ".001", "--array", "8X12", "--master", "--json")
    assert json.loads(out)["tests_per_person"] == pooling.array(0.001, 8, 12, master=True).tests_per_person


def test_a_day_of_tubes(run):
    """94 tubes at 1 %: 4 x 11 + 5 x 10, 18.386 tests expected, and what is enough on 95 % of days."""
    _, out, _ = run("--prevalence", ".01", "--tubes", "94", "--max-size", "20", "--json")
    day = json.loads(out)["day"]
    assert day["pools"] == {"11": 4, "10": 5}
    assert round(day["expected_tests"], 3) == 18.386
    assert day["p50"] <= day["p90"] <= day["p95"] <= day["p99"]
    assert day["p95"] == pooling.day_tests([11] * 4 + [10] * 5, 0.01).quantile(0.95)
    status, out, _ = run("--prevalence", ".4", "--tubes", "7")
    assert status == 0
    assert "day expected tests   7.0" in out
    _, out, _ = run("--prevalence", ".01", "--stages", "3", "--tubes", "20", "--max-size", "16", "--json")
    assert json.loads(out)["day"]["pools"] == {"16": 1, "4": 1}


def test_measured_cqs(run, tmp_path):
    """A file of Cqs sets the sensitivity of each size; what was used is said on stderr."""
    path = tmp_path / "cq.csv"
    path.write_text("cq\n" + "\n".join(str(20 + 0.4 * step) for step in range(50)), encoding="utf-8")
    _, out, err = run(
        "--prevalence", ".01", "--cq-shift", str(path), "--json", "--spread", "0", "--size", "8"
    )
    assert json.loads(out)["sensitivity"] == 0.86
    assert "+/- 0.00 cycles from 8 pools, 50 Cqs, cutoff 40" in err
    _, out, err = run("--prevalence", ".01", "--cq-shift", str(path), "--json")
    assert "+/- 1.51 cycles" in err
    assert json.loads(out)["refused"][0]["code"] == "BELOW_FLOOR"
    path.write_text("single,pool,size\n20,23,8\n30,33.3,8\n25,27,4\n", encoding="utf-8-sig")
    _, _, err = run("--prevalence", ".001", "--cq-shift", str(path), "--array", "4x5", "--master")
    assert "+0.10 +/- 0.14 cycles from 3 pools" in err


def test_the_liquid_in_the_tube(run):
    """A tube of 550 µl is too small for pools below eight."""
    _, out, _ = run("--prevalence", ".01", "--tube-ul", "550", "--json")
    assert json.loads(out)["refused"][0]["code"] == "SHORT_VOLUME"


@pytest.mark.parametrize(
    ("arguments", "status", "word"),
    [
        (("--prevalence", "2"), 1, "error: BAD_PREVALENCE: "),
        (("--prevalence", ".01", "--array", "8"), 1, "error: ARRAY: "),
        (("--prevalence", ".01", "--array", "8x12", "--tubes", "9"), 1, "error: DAY_OF_ARRAYS: "),
        (("--prevalence", ".01", "--sensitivity", "high"), 2, "not a number"),
        (("--prevalence", ".01", "--sensitivity", ".9,.9,.9"), 1, "error: BAD_STAGES: "),
        (("--prevalence", ".01", "--spread", "1"), 2, "--cq-shift"),
        (("--prevalence", ".01", "--cq-shift", "/nowhere/cq.csv"), 2, "does not exist"),
        ((), 2, "--prevalence"),
    ],
)
def test_failures_are_said_without_a_traceback(run, arguments, status, word):
    """A senseless question exits 1 with its code, a wrong call 2; nothing is printed on stdout."""
    code, out, err = run(*arguments)
    assert (code, out) == (status, "")
    assert word in err
    assert "Traceback" not in err


def test_a_file_that_is_no_text(run, tmp_path):
    """A spreadsheet given as CSV is refused with the remedy."""
    path = tmp_path / "cq.xlsx"
    path.write_bytes(b"PK\x03\x04\xff\xfe\x80")
    code, _, err = run("--prevalence", ".01", "--cq-shift", str(path))
    assert code == 1
    assert "error: CQ_FILE: cq.xlsx is not a UTF-8 text. Save it as CSV" in err
