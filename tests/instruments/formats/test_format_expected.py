"""Real exports against the truth read from them beforehand, whole and cut."""

import csv
import random
from pathlib import Path

import pytest

import instruments

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "instruments"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real exports is not on this machine")

FORMATS = {
    "abi_da_xlsx/*.xlsx": "design-analysis",
    "abi_legacy/*.txt": "quantstudio-text",
    "abi_legacy/*.xlsx": "quantstudio-workbook",
    "biorad_cfx/*Cq*.csv": "cfx-cq",
    "covid/aihg*.xls": "quantstudio-workbook",
    "covid/i3l*.xls": "sds7500",
}
FILES = [(path, form) for pattern, form in FORMATS.items() for path in sorted(DATA.glob(pattern))]
# Their tables end in four rows of remarks, which the truth counts as rows and wells.
WITH_REMARKS = {
    "appbio_quantstudio_design_and_analysis_example15_v1.5.2.xlsx",
    "appbio_quantstudio_example08.xlsx",
}
# Shortened by hand, edited, or a partial plate in a format without an end mark.
NOT_PROVABLE = {
    "appbio_quantstudio_example05.txt",
    "aihg_COVID_test_HANDEDITED_qs7flex.xls",
    "htqpcr_CFX384_Cq_results.csv",
    "sam_2024-03-25_10-33-37_Connect-Quantification-Cq-Results.csv",
    "sam_2025-06-03_16-25-01_Connect-VIPERIN-Quantification-Cq-Results.csv",
}


def expected():
    """Rows of the truth by file."""
    with (DATA / "EXPECTED.tsv").open(encoding="utf-8") as lines:
        return {row["file"]: row for row in csv.DictReader(lines, delimiter="\t")}


def read(path):
    """Read one file."""
    return instruments.read(path.name, path.read_bytes())


@pytest.mark.parametrize(("path", "form"), FILES, ids=[path.name for path, _ in FILES])
def test_a_real_export_says_what_it_says(path, form):
    """Rows, wells, targets, called and uncalled and the sum of Cq agree with the truth."""
    truth = expected()[str(path.relative_to(DATA))]
    run = read(path)
    called = [r.cq for r in run.readings if r.cq is not None]
    remarks = 4 if path.name in WITH_REMARKS else 0
    assert run.format == form
    assert len(run.readings) == int(truth["rows"]) - remarks
    assert len({r.well for r in run.readings}) == int(truth["wells"]) - remarks
    assert {r.target for r in run.readings} - {""} == {t for t in truth["targets"].split(",") if t}
    assert (len(called), len(run.readings) - len(called)) == (
        int(truth["called"]),
        int(truth["uncalled"]) - remarks,
    )
    assert sum(called) == pytest.approx(float(truth["sum_cq"]), abs=1e-3)
    assert run.complete == (path.name not in NOT_PROVABLE), run.reasons


def outcomes(run):
    """What a laboratory would act on."""
    return {(r.key, r.cq) for r in run.readings}


CUT = [path for path, form in FILES if form in ("quantstudio-text", "cfx-cq")]


@pytest.mark.parametrize("path", CUT, ids=[path.name for path in CUT])
def test_a_cut_text_is_never_complete_with_something_missing(path):
    """At 300 random bytes and at every line end, a cut file is refused, incomplete, or loses nothing."""
    data = path.read_bytes()
    whole = outcomes(instruments.read(path.name, data))
    ends = [i + 1 for i, byte in enumerate(data) if byte == 10][-25:]
    points = sorted({*random.Random(1).sample(range(len(data)), 300), *ends})
    for point in points:
        try:
            run = instruments.read(path.name, data[:point])
        except instruments.InstrumentError:
            continue
        assert outcomes(run) <= whole, point
        assert not run.complete or outcomes(run) == whole, point


BOOKS = [path for path, _ in FILES if path.suffix in (".xls", ".xlsx") and path.stat().st_size < 700_000]


@pytest.mark.parametrize("path", BOOKS, ids=[path.name for path in BOOKS])
def test_a_cut_workbook_is_refused(path):
    """A workbook cut anywhere is refused by its container, before a spreadsheet reader sees it."""
    data = path.read_bytes()
    for point in random.Random(2).sample(range(600, len(data)), 40):
        with pytest.raises(instruments.InstrumentError) as caught:
            instruments.read(path.name, data[:point])
        assert caught.value.code in {"INCOMPLETE_FILE", "DAMAGED_FILE"}


def test_a_flipped_bit_in_a_workbook_is_found():
    """Checksums of the archive are checked, so a damaged copy is not read."""
    path = (
        DATA / "abi_da_xlsx" / "appbio_quantstudio_designandanalysis_QS7Pro_Primary_Analysis_example18.xlsx"
    )
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    with pytest.raises(instruments.InstrumentError) as caught:
        instruments.read(path.name, bytes(data))
    assert caught.value.code in {"DAMAGED_FILE", "INCOMPLETE_FILE"}


OTHERS = ["cq_benchmark/*[vz]", "rdml/*[vs]", "roche_lc480/*.gz", "covid/*.csv", "*.md"]
FOREIGN = [path for pattern in OTHERS for path in sorted(DATA.glob(pattern))]


@pytest.mark.parametrize("path", FOREIGN, ids=[path.name for path in FOREIGN])
def test_another_instruments_file_is_refused_not_misread(path):
    """A format without a reader is named unknown, with what to do."""
    with pytest.raises(instruments.InstrumentError) as caught:
        read(path)
    assert caught.value.code == "UNKNOWN_FORMAT"
    assert ("Unpack it" if path.suffix == ".gz" else "table mapping") in str(caught.value)


def test_the_encrypted_file_of_a_cfx_is_refused_by_name():
    """The sentence says which program to open and what to export."""
    path = next((DATA / "biorad_cfx").glob("*.pcrd"))
    with pytest.raises(instruments.InstrumentError, match="CFX Maestro") as caught:
        read(path)
    assert (caught.value.code, caught.value.file) == ("ENCRYPTED_FILE", path.name)


def test_extensions_do_not_matter():
    """A workbook under any name is read by what it is."""
    for pattern, form in (("abi_legacy/*.xlsx", "quantstudio-workbook"), ("covid/i3l*.xls", "sds7500")):
        path = next(DATA.glob(pattern))
        for name in ("a.xls", "a.xlsx", "a.csv", "a"):
            assert instruments.read(name, path.read_bytes()).format == form


def test_flags_of_the_7500_belong_to_the_well():
    """87 wells with RNase P detected carry NOAMP; the scope says the flag is the well's."""
    run = read(DATA / "covid" / "i3l_abi7500_covid_E_RdRp_RNaseP.xls")
    flagged = [r for r in run.readings if r.target == "RNAse P" and r.cq is not None and "NOAMP" in r.flags]
    assert run.flags_scope == "well"
    assert len({r.well for r in flagged}) == 87
    assert {r.well for r in run.readings if r.sample == "NTC"} >= {"H4", "H5", "H10", "H12"}


def test_controls_without_a_sample_name_stay():
    """NTC wells with a blank sample and no Cq are readings like any other."""
    run = read(next((DATA / "biorad_cfx").glob("*VIPERIN*Cq*.csv")))
    ntc = {r.well: r.cq for r in run.readings if r.task == "ntc"}
    assert ntc == {"G4": None, "G5": None, "G6": None}


def test_crt_runs_say_so_and_hand_out_no_placeholder_threshold():
    """A Crt is never comparable with a Ct, and its printed threshold of 0.2 means nothing."""
    run = read(DATA / "abi_legacy" / "appbio_quantstudio_example08.xlsx")
    assert run.method == "crt"
    assert dict(run.thresholds) == {}
    assert all(r.threshold is None and r.baseline is None for r in run.readings)


def test_calls_and_quality_issues_are_joined_from_the_call_sheet():
    """Diomni's one positive is there with the doubts the software had."""
    run = read(next((DATA / "abi_da_xlsx").glob("*Diomni*")))
    (positive,) = [r for r in run.readings if r.call == "POSITIVE"]
    assert (positive.well, positive.target, positive.cq) == ("A1", "T4", 39.54)
    assert {"LOW_AMP_SCORE_POSITIVE", "LOW_CQ_CONF_POSITIVE"} <= set(positive.flags)
    assert (run.plate, run.serial, run.operator, run.software) == (
        "BARCODE1",
        "000000000001",
        "TestUser",
        "Diomni 4.3.0",
    )
