"""RDML of every writer in the folder of real files, and synthetic documents for the edges."""

import csv
import io
import zipfile
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

import instruments
from instruments.formats import read_all

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "instruments"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real exports is not on this machine")
FILES = sorted(str(path.relative_to(DATA)) for path in DATA.glob("*/*.rdml"))
# Undetermined is written as 40.0 of 40 cycles; the truth counts the three such cells as numbers.
SENTINELS = {"rdml/stepone_std.rdml": (3, 120.0)}
COMPLETE = {"BioRad_qPCR_melt", "eva_green_a", "stepone_std", "shifted_baseline"}


@cache
def runs_of(name):
    """All runs of a file of the folder."""
    return read_all(name, (DATA / name).read_bytes())


@real
@pytest.mark.parametrize("name", FILES)
def test_a_real_rdml_file_says_what_it_says(name):
    """Rows, wells, called, sum of Cq, points and the sum of fluorescence agree with the truth."""
    with (DATA / "EXPECTED.tsv").open(encoding="utf-8") as lines:
        truth = next(row for row in csv.DictReader(lines, delimiter="\t") if row["file"] == name)
    runs = runs_of(name)
    readings = [reading for run in runs for reading in run.readings]
    called = [r.cq for r in readings if r.cq is not None]
    curves = [curve for run in runs for curve in run.curves]
    count, total = SENTINELS.get(name, (0, 0.0))
    assert len(readings) == int(truth["rows"])
    assert (len(called) + count, len(readings) - len(called) - count) == (
        int(truth["called"]),
        int(truth["uncalled"]),
    )
    assert sum(called) + total == pytest.approx(float(truth["sum_cq"]), abs=1e-3)
    assert sum(len(curve.values) for curve in curves) == int(truth["adp"])
    total = float(np.sum([np.sum(curve.values) for curve in curves])) if curves else 0.0
    assert total == pytest.approx(float(truth["sum_adp_fluor"]), rel=1e-6)
    assert {run.complete for run in runs} == {Path(name).stem in COMPLETE}


@real
def test_the_fluors_of_a_biorad_plate_are_one_run():
    """Bio-Rad writes a run per fluor; joined they are one plate with two dyes in each of 30 wells."""
    run = instruments.read("x", (DATA / "rdml/BioRad_qPCR_melt.rdml").read_bytes())
    assert {r.dye for r in run.readings} == {"FAM", "Cy5"}
    assert len({r.well for r in run.readings}) == 30
    assert len(run.readings) == 60
    assert any(r.task == "ntc" for r in run.readings)
    assert "melt curves" in run.unread


@real
def test_a_file_of_several_runs_asks_which_is_meant():
    """One plate has one run: ``read`` refuses with the names and takes one of them."""
    data = (DATA / "rdml/volume_machine.rdml").read_bytes()
    names = [run.experiment for run in read_all("x", data)]
    assert len(set(names)) == 3
    with pytest.raises(instruments.InstrumentError, match="3 runs") as caught:
        instruments.read("x", data)
    assert caught.value.code == "SEVERAL_RUNS"
    assert names[0] in str(caught.value)
    assert instruments.read("x", data, run=names[1]).experiment == names[1]
    with pytest.raises(instruments.InstrumentError, match="3 runs"):
        instruments.read("x", data, run="another")


@real
def test_wells_of_numbers_and_names():
    """Reaction 31 of 384 is B7; StepOne writes the well's name."""
    assert runs_of("rdml/eva_green_a.rdml")[0].readings[0].well == "B7"
    assert runs_of("rdml/stepone_std.rdml")[0].readings[0].well == "A1"


@real
def test_gaps_stay_gaps():
    """A react without points has no curve, one with a single point has one of that point."""
    (run,) = runs_of("rdml/matrix_gaps.rdml")
    lengths = sorted(len(curve.values) for curve in run.curves)
    assert (len(run.curves), lengths[0]) == (71, 1)
    assert any("lack cycles" in reason for reason in run.reasons)
    assert all(list(c.cycles) == sorted(set(c.cycles)) for c in run.curves)


@real
@pytest.mark.parametrize("name", ["rdml/BioRad_qPCR_melt.rdml", "rdml/stepone_std.rdml"])
def test_a_cut_rdml_file_is_refused(name):
    """At every 200th, packed, the archive does not open; unpacked, the XML does not end."""
    data = (DATA / name).read_bytes()
    with zipfile.ZipFile(DATA / name) as archive:
        plain = archive.read(archive.namelist()[0])
    assert read_all("x", plain)[0].readings == read_all("x", data)[0].readings
    for whole, step in ((data, 200), (plain, 20)):
        for part in range(1, step):
            with pytest.raises(instruments.InstrumentError):
                read_all("x", whole[: len(whole) * part // step])


# -- synthetic -------------------------------------------------------------------------------------

ADP = "".join(f"<adp><cyc>{n}</cyc><fluor>{n * 1.5}</fluor></adp>" for n in range(1, 6))
REACT = '<react id="{}"><sample id="{}"/><data><tar id="{}"/>{}{}</data></react>'


def rdml(reacts, *, head="", run="", version="1.4", name="rdml_data.xml"):
    """A synthetic RDML file of one run."""
    xml = f"""<?xml version="1.0" encoding="UTF-8"?>
    <rdml xmlns="http://www.rdml.org" version="{version}"><dye id="FAM"/>
    <sample id="T"><type>unkn</type></sample>
    <sample id="C"><type>ntc</type><type targetId="RP">pos</type></sample>
    <target id="N"><type>toi</type><dyeId id="FAM"/></target>{head}
    <experiment id="SYNTHETIC"><run id="r"><pcrFormat><rows>8</rows><columns>12</columns></pcrFormat>{run}
    {reacts}</run></experiment></rdml>"""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, xml)
    return out.getvalue()


def cq(value):
    """A Cq element."""
    return f"<cq>{value}</cq>"


@pytest.mark.parametrize(
    ("written", "points", "expected"),
    [
        ("4.2", ADP, (4.2, ())),
        ("5.0", ADP, (None, ())),
        ("40.0", ADP, (None, ())),
        ("-1.0", ADP, (None, ())),
        ("NaN", ADP, (None, ())),
        ("40.0", "", (None, ())),
        ("50.0", "", (None, ())),
        ("100.0", "", (None, ())),
        ("39.0", "", (39.0, ())),
        ("4,2", ADP, (None, ("UNREAD_CQ",))),
        ("0.5", ADP, (0.5, ("CQ_OUT_OF_RANGE",))),
    ],
)
def test_spellings_of_no_cq(written, points, expected):
    """A whole number that no cycle lies beyond is the writer's word for none; the raw cell stays."""
    reacts = REACT.format(1, "T", "N", cq(3.5), ADP) + REACT.format(2, "T", "N", cq(written), points)
    reading = instruments.read("x", rdml(reacts)).readings[1]
    assert (reading.cq, reading.flags) == expected
    assert reading.raw_cq == written


def test_types_may_differ_by_target():
    """A sample can be the NTC of one target and a positive control of another (RDML 1.4)."""
    reacts = REACT.format(1, "C", "N", cq(3), ADP) + REACT.format(1, "C", "RP", cq(3.5), ADP)
    run = instruments.read("x", rdml(reacts, name="whatever.xml"))
    assert [(r.target, r.task, r.dye) for r in run.readings] == [
        ("N", "ntc", "FAM"),
        ("RP", "positive_control", ""),
    ]
    assert run.complete


@pytest.mark.parametrize(
    ("reacts", "reason"),
    [
        (REACT.format(1, "T", "N", "", ADP), "not analysed"),
        (REACT.format(1, "T", "N", cq(2), ADP) * 2, "two results for A1"),
        (REACT.format(1, "T", "N", cq("x"), ADP), "neither a number"),
        (
            REACT.format(1, "T", "N", cq(2), ADP)
            + REACT.format(2, "T", "N", cq(2), ADP.replace("<cyc>3", "<cyc>x")),
            "lack cycles: A2",
        ),
    ],
)
def test_what_a_run_lacks_is_named(reacts, reason):
    """No Cq at all, doubled reactions, unreadable Cq and missing cycles are reasons."""
    run = instruments.read("x", rdml(reacts))
    assert not run.complete
    assert any(reason in sentence for sentence in run.reasons), run.reasons


def test_an_excluded_reaction_is_omitted():
    """``excl`` holds the operator's reason for leaving a reaction out."""
    run = instruments.read("x", rdml(REACT.format(1, "T", "N", "<excl>bubble</excl>" + cq(2), ADP)))
    assert run.readings[0].flags == ("OMIT",)


def test_rotors_have_numbers_and_plates_have_ends():
    """On a format that is no plate the number stays; a number beyond the plate is an error."""
    run = instruments.read("x", rdml(REACT.format(70, "T", "N", cq(2), ADP)))
    assert run.readings[0].well == "F10"
    with pytest.raises(instruments.InstrumentError) as caught:
        instruments.read("x", rdml(REACT.format(97, "T", "N", cq(2), ADP)))
    assert caught.value.code == "BAD_WELL"
    ring = "<pcrFormat><rows>1</rows><columns>72</columns></pcrFormat>"
    xml = zipfile.ZipFile(io.BytesIO(rdml(REACT.format(70, "T", "N", cq(2), ADP)))).read("rdml_data.xml")
    plain = xml.replace(b"<pcrFormat><rows>8</rows><columns>12</columns></pcrFormat>", ring.encode())
    assert instruments.read("x", plain).readings[0].well == "70"


def test_a_date_without_a_zone_needs_the_laboratorys():
    """An offset places the time; without one it is named unread, or read in the laboratory's zone."""
    reacts = REACT.format(1, "T", "N", cq(2), ADP)
    dated = "<runDate>2022-12-01T08:00:00{}</runDate>"
    sure = instruments.read("x", rdml(reacts, run=dated.format("+08:00")))
    assert sure.run_started == datetime(2022, 12, 1, 0, 0, tzinfo=UTC)
    vague = rdml(reacts, run=dated.format(""))
    assert instruments.read("x", vague).run_started is None
    assert "key runDate" in instruments.read("x", vague).unread
    placed = instruments.read("x", vague, zone=ZoneInfo("Asia/Shanghai"))
    assert placed.run_started == datetime(2022, 12, 1, 0, 0, tzinfo=UTC)


def test_a_document_type_or_no_run_is_refused():
    """Entities are never expanded; a file without reactions says so."""
    bomb = b'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "aa">]><rdml version="1.1">&a;</rdml>'
    with pytest.raises(instruments.InstrumentError, match="document type"):
        instruments.read("x", bomb)
    with pytest.raises(instruments.InstrumentError, match="no run"):
        instruments.read("x", rdml(""))


def test_two_runs_of_one_name_cannot_be_told_apart():
    """The sentence asks for files of their own."""
    reacts = REACT.format(1, "T", "N", cq(2), ADP)
    twin = "</run><run id='r'><pcrFormat><rows>8</rows><columns>12</columns></pcrFormat>"
    data = rdml(reacts + twin + reacts)
    with pytest.raises(instruments.InstrumentError, match="2 runs named"):
        instruments.read("x", data, run="SYNTHETIC / r")
