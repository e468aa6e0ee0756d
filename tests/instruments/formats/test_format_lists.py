"""Plain listings: LightCycler, Rotor-Gene, Lighthouse, BioMark, array cards; real files and edges."""

import csv
import gzip
import random
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

import instruments
from instruments.formats import read_all
from instruments.model import well_name

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "instruments"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real exports is not on this machine")
RAW = "roche_lc480/Edward_qPCR_Nrd1_calibration_2019-02-02.txt.gz"
FILES = {
    "roche_lc480/Edward_qPCR_Nrd1_calibration_2019-02-02_Cq.txt.gz": "lightcycler-cp",
    "roche_lc480/Stuart_dAgr_glyS_spoVG_5S_individualWells_Cq.txt.gz": "lightcycler-cp",
    "roche_lc480/htqpcr_LightCycler_sample_CRonly.txt": "lightcycler-cp",
    "rotorgene/irregular_multi_assay.csv": "rotor-gene",
}
# What the truth does not list, counted by hand: rows, called, complete.
COUNTED = {
    "other/htqpcr_fluidigm_BioMark_sample.csv": ("biomark", 2304, 1994, True),
    "other/htqpcr_tlda_headerless_CRonly.txt": ("tlda", 384, 353, True),
    "other/sanger_crawler_lighthouse_channels_BOM.csv": ("lighthouse", 2, 2, False),
}


@cache
def content(name):
    """Bytes of a file of the folder; the packed ones are unpacked, cyclers write them plain."""
    data = (DATA / name).read_bytes()
    return gzip.decompress(data) if name.endswith(".gz") else data


@cache
def truth(name):
    """Row of the truth."""
    with (DATA / "EXPECTED.tsv").open(encoding="utf-8") as lines:
        return next(row for row in csv.DictReader(lines, delimiter="\t") if row["file"] == name)


@real
@pytest.mark.parametrize("name", FILES)
def test_a_real_list_says_what_it_says(name):
    """Rows, wells, called, uncalled and the sum of Cq agree with the truth."""
    run = instruments.read(name, content(name))
    expected = truth(name)
    called = [r.cq for r in run.readings if r.cq is not None]
    assert run.format == FILES[name]
    assert len(run.readings) == int(expected["rows"])
    assert len({r.well for r in run.readings}) == int(expected["wells"] or 24)
    assert (len(called), len(run.readings) - len(called)) == (
        int(expected["called"]),
        int(expected["uncalled"]),
    )
    assert sum(called) == pytest.approx(float(expected["sum_cq"]), abs=1e-3)
    assert {r.target for r in run.readings} == set((expected["targets"] or "").split(","))
    assert run.complete == (run.format == "lightcycler-cp"), run.reasons


@real
@pytest.mark.parametrize("name", COUNTED)
def test_other_real_lists_are_read(name):
    """Every row is a reading, 999 and Undetermined are none."""
    form, rows, called, complete = COUNTED[name]
    run = instruments.read(name, content(name))
    assert (run.format, len(run.readings)) == (form, rows)
    assert sum(r.cq is not None for r in run.readings) == called
    assert run.complete == complete, run.reasons
    assert all(r.cq is None or r.cq < 50 for r in run.readings)


@real
def test_lightcycler_raw_data_are_curves():
    """384 curves of 40 cycles; the melting program is named, not mixed in."""
    run = instruments.read(RAW, content(RAW))
    expected = truth(RAW)
    assert (run.complete, run.readings, run.block) == (True, (), 384)
    assert sum(len(c.values) for c in run.curves) == int(expected["amp_rows"])
    total = float(np.sum([c.values for c in run.curves]))
    assert total == pytest.approx(float(expected["sum_amp_fluor"]), abs=1e-2)
    assert run.unread == ("program 3 segment 1",)
    assert (run.software, run.curves[0].dye) == ("LCS480 1.5.0.39", "483-533")


def outcomes(run):
    """What a laboratory would act on."""
    return {(r.key, r.cq) for r in run.readings}


@real
@pytest.mark.parametrize("name", [*FILES, *COUNTED])
def test_a_cut_list_is_never_complete_with_something_missing(name):
    """Cut at random bytes and at each of the last, it is refused, incomplete, or loses nothing."""
    data = content(name)
    whole = outcomes(instruments.read(name, data))
    few = 4 if len(data) > 100_000 else 15
    points = {*random.Random(3).sample(range(len(data)), few), *range(len(data) - few, len(data))}
    for point in sorted(points):
        try:
            run = instruments.read(name, data[:point])
        except instruments.InstrumentError as error:
            assert error.sentence  # noqa: PT017 - most cuts of a list do not raise
            continue
        assert outcomes(run) <= whole, point
        assert not run.complete or outcomes(run) == whole, point


@real
def test_cut_raw_data_are_never_complete_with_a_well_missing():
    """Cut anywhere, a well lacks rows or is missing, or only the last melting digit is."""
    data = content(RAW)
    for part in (1, 4):
        try:
            run = instruments.read(RAW, data[: len(data) * part // 6])
        except instruments.InstrumentError:
            continue
        assert not run.complete


@real
def test_rotors_of_three_assays_keep_them_apart():
    """The target comes from the title of each assay; the wells must be those that were loaded."""
    run = instruments.read("x", content("rotorgene/irregular_multi_assay.csv"))
    assert {r.dye for r in run.readings} == {"Green"}
    assert run.reasons == run.assumptions
    loaded = [(r.well, r.target) for r in run.readings]
    assert run.confirmed(loaded).complete
    assert not run.confirmed([*loaded, ("1", "28S")]).complete
    placed = instruments.read("x", content("rotorgene/irregular_multi_assay.csv"), zone=ZoneInfo("UTC"))
    assert placed.run_started.isoformat() == "2021-03-16T10:34:20+00:00"


# -- synthetic -------------------------------------------------------------------------------------

CP_HEAD = (
    "Experiment: SYNTHETIC  Selected Filter: FAM (465-510)\r\n"
    "Include\tColor\tPos\tName\tCp\tConcentration\tStandard\tStatus\r\n"
)


def cp(rows):
    """A Cp table."""
    return CP_HEAD + "".join(f"True\t255\t{well}\tT\t{value}\t\t0\t\r\n" for well, value in rows)


def test_a_decimal_comma_is_known_by_its_column():
    """22,78 is 22.78 where no Cp has a point; where both stand, neither is guessed."""
    run = instruments.read("x", cp([("A1", "22,78"), ("A2", "")]).encode())
    assert [r.cq for r in run.readings] == [22.78, None]
    mixed = instruments.read("x", cp([("A1", "22,78"), ("A2", "20.1")]).encode())
    assert mixed.readings[0].flags == ("UNREAD_CQ",)
    assert any("neither a number" in reason for reason in mixed.reasons)


def test_a_part_of_a_block_waits_for_the_loaded_plate():
    """Three wells cannot prove that there were no more; a well that was loaded and is missing is named."""
    rows = [(f"A{i}", 20 + i) for i in (1, 2, 3)]
    run = instruments.read("x", cp(rows).encode())
    assert run.reasons == run.assumptions
    assert run.confirmed([(f"A{i}", "465-510") for i in (1, 2, 3)]).complete
    assert not run.confirmed([(f"A{i}", "465-510") for i in (1, 2, 3, 4)]).complete


def test_left_out_wells_and_status_words_are_flags():
    """Include False is OMIT; what the software says of a Cp is kept."""
    text = cp([("A1", 20)]).replace("True", "False").replace("\t0\t\r\n", "\t0\t> - Late Cp call\r\n")
    assert instruments.read("x", text.encode()).readings[0].flags == ("OMIT", "> - Late Cp call")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (cp([("A1", 20), ("A1", 21)]), "two result rows for A1"),
        (CP_HEAD, "no rows"),
        (cp([("A1", 20)]) + "True\t255\tA2\r\n", "before their Cp"),
        (cp([("A1", 20)]) + "True\t255\tA2\tT\t21", "no line end"),
    ],
)
def test_faults_of_a_cp_table_are_named(text, reason):
    """Doubled, missing and cut rows are reasons."""
    run = instruments.read("x", text.encode())
    assert not run.complete
    assert any(reason in sentence for sentence in run.reasons), run.reasons


def raw(wells, rows=3, end="\r\n"):
    """Raw data of these wells: three cycles in program 2, one melting row in program 3."""
    head = (
        "Raw Data \t\tExperiment - S (Run on LCS480 1.5)\r\n"
        "SamplePos\tSampleName\tProg#\tSeg#\tCycle#\tTime\tTemp\t465-510\t\r\n"
    )
    body = [f"{w}\tT\t2\t2\t{n}\t{n}\t60\t0.{n}" for w in wells for n in range(1, rows + 1)]
    return (head + "\r\n".join([*body, *(f"{w}\tT\t3\t1\t1\t9\t95\t0.1" for w in wells)]) + end).encode()


def test_raw_data_of_a_part_or_with_gaps_are_not_complete():
    """A full block is whole; part of one, a short well, an odd value or an open end is not."""
    full = [well_name(i, 96) for i in range(96)]
    assert instruments.read("x", raw(full)).complete
    assert instruments.read("x", raw(full[:5])).assumptions
    short = raw(full).replace(b"H12\tT\t2\t2\t3\t3\t60\t0.3\r\n", b"")
    assert any("fewer rows" in r for r in instruments.read("x", short).reasons)
    assert any("not numbers" in r for r in instruments.read("x", raw(full).replace(b"0.3", b"0,3")).reasons)
    assert any("line end" in r for r in instruments.read("x", raw(full, end="")).reasons)
    none = instruments.read("x", raw(full).replace(b"465-510", b"Green"))
    assert any("no column of a filter" in r for r in none.reasons)
    assert any("stop before" in r for r in instruments.read("x", raw(full) + b"A1\tT\r\n").reasons)


ROTOR = (
    "Excel Analysed Data Export,,\r\nFile,SYNTHETIC,\r\nDate,5/6/2021,\r\nTime,10:34:20 AM,\r\n,,\r\n"
    "Quantitative analysis of Cycling A.Yellow (N),,\r\n"
    "No.,Name,Type,Ct,Ct Comment\r\n1,T-1,Unknown,25.5,\r\n72,,NTC,,NEG (NTC)\r\n"
)


def test_a_comma_rotor_file_is_read():
    """Tube numbers, controls and comments are kept; an ambiguous date is left unread."""
    run = instruments.read("x", ROTOR.encode(), zone=ZoneInfo("UTC"))
    assert [(r.well, r.task, r.target, r.dye, r.cq, r.flags) for r in run.readings] == [
        ("1", "unknown", "N", "Yellow", 25.5, ()),
        ("72", "ntc", "N", "Yellow", None, ("NEG (NTC)",)),
    ]
    assert run.run_started is None
    assert "key Date" in run.unread
    european = ROTOR.replace(",", ";").replace("25.5", "25,5")
    assert instruments.read("x", european.encode()).readings[0].cq == 25.5


def test_rotor_rows_that_are_cut_or_odd_are_named():
    """A short row is a fault, a word where a tube belongs too, a missing column an error."""
    short = instruments.read("x", (ROTOR + "3,T,Unknown,20\r\n").encode())
    assert any("stops before" in r for r in short.reasons)
    odd = instruments.read("x", (ROTOR + "Page 2,,\r\n").encode())
    assert any("no row of a tube" in r for r in odd.reasons)
    with pytest.raises(instruments.InstrumentError) as caught:
        instruments.read("x", ROTOR.replace("Ct,", "Height,").encode())
    assert caught.value.code == "MISSING_COLUMN"


LIGHTHOUSE = (
    "Root Sample,RNA ID,Result,Date Tested,Lab ID,CH1-Target,CH1-Result,CH1-Cq,CH2-Target,CH2-Result,CH2-Cq\n"
)


def test_a_list_of_two_plates_gives_two_runs():
    """Rows are sorted by the plate in the RNA ID; unused channels are left out."""
    rows = "S1,P1_A01,Void,,L,N,Negative,,,,\nS2,P2_B02,Positive,,L,N,Positive,21.5,RP,Positive,25\n"
    runs = read_all("x", (LIGHTHOUSE + rows).encode())
    assert [(run.plate, len(run.readings)) for run in runs] == [("P1", 1), ("P2", 2)]
    assert [(r.well, r.sample, r.call, r.cq, r.dye) for r in runs[1].readings] == [
        ("B2", "S2", "Positive", 21.5, "CH1"),
        ("B2", "S2", "Positive", 25.0, "CH2"),
    ]
    with pytest.raises(instruments.InstrumentError, match="2 runs"):
        instruments.read("x", (LIGHTHOUSE + rows).encode())


def test_lighthouse_rows_that_are_wrong_are_named():
    """Another width is a fault, an RNA ID without a well an error with its line, no rows a fault."""
    run = instruments.read(
        "x", (LIGHTHOUSE + "S1,P1_A01,Void,,L,N,Negative,20,,,\nS2,P1_A02,V,,L,N,N,1\n").encode()
    )
    assert any("line 3" in reason for reason in run.reasons)
    with pytest.raises(instruments.InstrumentError) as caught:
        instruments.read("x", (LIGHTHOUSE + "S1,P1A01,Void,,L,N,Negative,,,,\n").encode())
    assert (caught.value.code, caught.value.line) == ("BAD_WELL", 2)
    assert any("no rows" in reason for reason in instruments.read("x", LIGHTHOUSE.encode()).reasons)
    with pytest.raises(instruments.InstrumentError) as caught:
        instruments.read("x", (LIGHTHOUSE + 'S1,"P1_A01,Void,,L,N,Negative,,,,\nx,,,,,,,,,,\n').encode())
    assert caught.value.code == "BAD_ROW"


def chip(size=12, ct="20.5", quality="0.9"):
    """A synthetic BioMark table of ``size`` x ``size`` chambers."""
    head = (
        "Chip Run Filename,SYNTHETIC\nQuality Threshold,0.65\n\nExperiment Information,,,,,,FAM,FAM,FAM,FAM\n"
        "Chamber,Sample,Sample,Sample,FAM,FAM,Ct,Ct,Ct,Ct\n"
        "ID,Name,Type,rConc,Name,Type,Value,Quality,Call,Threshold\n"
    )
    inlets = range(1, size + 1)
    rows = [f"S{s:02d}-A{a:02d},T,NTC,1,N{a},Test,{ct},{quality},Pass,0.05\n" for s in inlets for a in inlets]
    return head + "".join(rows)


def test_a_chip_is_whole_or_not():
    """All chambers of a known chip are complete; one less is not; a low quality is a flag."""
    run = instruments.read("x", chip(quality="0.5").encode())
    assert run.complete, run.reasons
    first = run.readings[0]
    assert (first.well, first.task, first.target, first.dye, first.flags) == (
        "S01-A01",
        "ntc",
        "N1",
        "FAM",
        ("FAIL",),
    )
    assert any("chambers" in r for r in instruments.read("x", chip(11).encode()).reasons)
    assert not instruments.read("x", chip().encode()[:-1]).complete
    assert any("as wide" in r for r in instruments.read("x", chip().replace(",Pass", "", 1).encode()).reasons)
    with pytest.raises(instruments.InstrumentError, match="no chamber"):
        instruments.read("x", chip().replace("S01-A01", "A1").encode())
    with pytest.raises(instruments.InstrumentError, match="one Ct column"):
        instruments.read("x", chip().replace("Value,Quality", "Height,Quality").encode())


def card(rows=384):
    """A synthetic array card."""
    lines = [
        f"{i + 1}\tP\t{well_name(i, 384)}\tFlagged\tS\tG{i}\tTarget\t{20 + i / 100}" + "\t" * 8
        for i in range(rows)
    ]
    return "\r".join(lines)


def test_an_array_card_without_names_proves_itself():
    """All 384 rows are complete; fewer wait; a row that breaks the layout is an error with its line."""
    run = instruments.read("x", card().encode())
    assert run.complete, run.reasons
    assert run.readings[0].flags == ("FLAGGED",)
    assert instruments.read("x", card(100).encode()).assumptions
    with pytest.raises(instruments.InstrumentError) as caught:
        instruments.read("x", card().replace("\tB1\t", "\tB2\t").encode())
    assert (caught.value.code, caught.value.line) == ("BAD_ROW", 25)
    with pytest.raises(instruments.InstrumentError) as caught:
        instruments.read("x", card().replace("\tA1\t", "\tA2\t").encode())
    assert caught.value.code == "UNKNOWN_FORMAT"
