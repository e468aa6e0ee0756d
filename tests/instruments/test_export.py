"""Runs written as RDML 1.4 and as tidy tables."""

import csv
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import instruments
from instruments import export
from instruments.formats import read_all
from instruments.formats.experiment import curve
from instruments.model import Reading, RunFile, well_name
from lis.cli import main

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "instruments"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real exports is not on this machine")
SPACE = "{http://www.rdml.org}"
# Order of the elements in the schema of RDML 1.4, as far as they are written.
ORDER = {
    "rdml": ["dateMade", "dye", "sample", "target", "experiment"],
    "run": ["instrument", "dataCollectionSoftware", "pcrFormat", "runDate", "react"],
    "pcrFormat": ["rows", "columns", "rowLabel", "columnLabel"],
    "react": ["sample", "data"],
    "data": ["tar", "cq", "excl", "note", "adp"],
    "adp": ["cyc", "fluor"],
}


def in_order(element):
    """Whether an element and all below it have their children in the order of the schema."""
    tag = element.tag.removeprefix(SPACE)
    names = [child.tag.removeprefix(SPACE) for child in element]
    if tag in ORDER:
        assert names == sorted(names, key=ORDER[tag].index), (tag, names[:5])
    return all(in_order(child) for child in element)


def tree(data):
    """Root of a packed RDML file."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == ["rdml_data.xml"]
        return ET.fromstring(archive.read("rdml_data.xml"))  # noqa: S314 - our own file


FILES = [
    "abi_legacy/appbio_quantstudio_example02.txt",
    "abi_da_xlsx/appbio_quantstudio_designandanalysis_QS1_Standard_Curve_example01.xlsx",
    "biorad_cfx/sam_2025-06-03_16-25-01_Connect-VIPERIN-Quantification-Cq-Results.csv",
    "biorad_cfx/sam_2025-06-03_16-25-01_Connect-VIPERIN-Quantification-Amplification-Results_SYBR.csv",
    "covid/i3l_abi7500_covid_E_RdRp_RNaseP.xls",
    "covid/DEMO_COVID2020_THERMO.eds",
    "rdml/BioRad_qPCR_melt.rdml",
    "roche_lc480/htqpcr_LightCycler_sample_CRonly.txt",
    "rotorgene/irregular_multi_assay.csv",
]


@real
@pytest.mark.parametrize("name", FILES)
def test_a_real_run_survives_the_way_to_rdml_and_back(name):
    """Wells, samples, targets, dyes and Cq are the same, the curves equal to the last digit."""
    run = instruments.read(name, (DATA / name).read_bytes())
    data = export.rdml(run)
    root = tree(data)
    assert root.get("version") == "1.4"
    assert in_order(root)
    assert tree(export.rdml(run, "1.3")).get("version") == "1.3"
    back = instruments.read("x.rdml", data)
    if run.readings:
        assert {(r.key, r.sample, r.cq) for r in back.readings if r.raw_cq} == {
            (r.key, r.sample, r.cq) for r in run.readings
        }
    best = {}
    for one in sorted(run.curves, key=lambda c: export._RANK[c.kind], reverse=True):
        best[one.well, one.target, one.dye] = one
    assert len(back.curves) == len(best)
    for one in back.curves:
        np.testing.assert_array_equal(one.values, best[one.well, one.target, one.dye].values)


NAMES = st.text(st.characters(codec="utf-8"), max_size=8).map(str.strip)
TASKS = st.sampled_from(["unknown", "ntc", "positive_control", "negative_control", "standard"])


@st.composite
def runs(draw):
    """A run of a few wells with any names."""
    readings = []
    for index in draw(st.lists(st.integers(0, 95), min_size=1, max_size=5, unique=True)):
        value = draw(st.none() | st.floats(1, 45).filter(lambda v: not v.is_integer()))
        name = draw(NAMES)
        readings.append(
            Reading(well_name(index, 96), name, draw(TASKS), draw(NAMES), draw(NAMES), value, "x", "", ())
        )
    curves = [curve(readings[0].well, readings[0].target, readings[0].dye, "rfu", [1.5, -2.0, 3e5] * 20)]
    return RunFile("x", "0", "t", block=96, readings=tuple(readings), curves=tuple(curves))


@settings(max_examples=40)
@given(runs())
def test_any_names_survive_as_far_as_xml_can_carry_them(run):
    """Names with markup, blanks or no characters at all neither break the file nor mix reactions."""
    root = tree(export.rdml(run))
    assert in_order(root)
    (back,) = read_all("x", export.rdml(run))
    assert [(r.well, r.cq) for r in sorted(back.readings, key=lambda r: r.well)] == [
        (r.well, r.cq) for r in sorted(run.readings, key=lambda r: r.well)
    ]
    assert {r.task for r in back.readings} == {r.task for r in run.readings}
    ids = [one.get("id") for one in root.iter(f"{SPACE}sample") if len(one)]
    assert len(ids) == len(set(ids))


def reading(well="A1", **values):
    """A reading with defaults."""
    fields = {"sample": "T", "task": "unknown", "target": "N", "dye": "FAM", "cq": 20.0, "raw_cq": "20"}
    return Reading(**({"well": well, "call": "", "flags": ()} | fields | values))


def test_an_unreadable_or_omitted_cq_is_excluded_not_negative():
    """No Cq is -1; what could not be read has no cq element and says why; left-out wells are excluded."""
    run = RunFile(
        "x",
        "0",
        "t",
        readings=(
            reading("A1", cq=None, raw_cq=""),
            reading("A2", cq=None, raw_cq="2O.1", flags=("UNREAD_CQ",)),
            reading("A3", flags=("OMIT",)),
        ),
    )
    data = {
        react.get("id"): react.find(f"{SPACE}data") for react in tree(export.rdml(run)).iter(f"{SPACE}react")
    }
    assert data["1"].findtext(f"{SPACE}cq") == "-1.0"
    assert data["2"].find(f"{SPACE}cq") is None
    assert "2O.1" in data["2"].findtext(f"{SPACE}excl")
    assert data["3"].findtext(f"{SPACE}excl") == "omitted by the operator"


def test_one_name_with_two_tasks_or_dyes_gets_two_ids():
    """Types belong to samples and dyes to targets in RDML, so such names are told apart."""
    pair = (reading("A1"), reading("A2", task="ntc"), reading("A3", dye="HEX"))
    shared = (reading("A1"), reading("A1", target="IC", task="ipc"), reading("A2", target="RP", task="ntc"))
    root = tree(export.rdml(RunFile("x", "0", "t", readings=pair)))
    assert len(root.findall(f"{SPACE}sample")) == 2
    assert [one.get("id") for one in root.findall(f"{SPACE}target")] == ["N", "N (HEX)"]
    (sample,) = tree(export.rdml(RunFile("x", "0", "t", readings=shared))).findall(f"{SPACE}sample")
    assert [(one.get("targetId"), one.text) for one in sample] == [(None, "unkn"), ("RP", "ntc")]


def test_rotors_chips_and_384_blocks_have_their_own_format():
    """Numbers are tubes of a rotor, chambers rows and columns of a chip, P24 a 384-well block."""
    for wells, shape, ids in (
        (["1", "72"], ("1", "72"), ["1", "72"]),
        (["S01-A02", "S12-A12"], ("12", "12"), ["2", "144"]),
        (["A1", "P24"], ("16", "24"), ["1", "384"]),
        (["A1", "H12"], ("8", "12"), ["1", "96"]),
    ):
        root = tree(export.rdml(RunFile("x", "0", "t", readings=tuple(reading(w) for w in wells))))
        found = next(root.iter(f"{SPACE}pcrFormat"))
        assert (found[0].text, found[1].text) == shape
        assert [one.get("id") for one in root.iter(f"{SPACE}react")] == ids


def test_an_empty_run_and_an_unknown_extension_are_refused():
    """There is nothing to write, or no way to write it; several runs do not fit one RDML here."""
    empty = RunFile("x", "0", "t")
    with pytest.raises(instruments.InstrumentError) as caught:
        export.rdml(empty)
    assert caught.value.code == "BAD_RUN"
    for runs_, name in (([empty], "x.doc"), ([empty, empty], "x.rdml")):
        with pytest.raises(instruments.InstrumentError) as caught:
            export.files(runs_, name)
        assert caught.value.code == "BAD_EXPORT"


def test_tidy_tables_have_a_row_per_reading_and_per_point():
    """Readings and curves go to a table each; nothing is written as an empty cell."""
    run = RunFile(
        "x", "0", "t", readings=(reading(cq=None, flags=("A", "B"), baseline=(3, 9)),),
        curves=(curve("A1", "N", "FAM", "rn", [1.0, 2.0]),), experiment="E",
    )  # fmt: skip
    found = export.files([run], "out.csv")
    (row,) = csv.DictReader(io.StringIO(found["out.csv"].decode()))
    assert (row["run"], row["well"], row["cq"], row["flags"], row["baseline_end"]) == (
        "E",
        "A1",
        "",
        "A|B",
        "9",
    )
    points = list(csv.DictReader(io.StringIO(found["out.curves.csv"].decode())))
    assert [(p["cycle"], p["fluorescence"]) for p in points] == [("1", "1.0"), ("2", "2.0")]
    assert list(export.files([replace(run, curves=())], "out.csv")) == ["out.csv"]


def test_parquet_is_written_where_pyarrow_is_and_refused_by_name_where_it_is_not():
    """The sentence says what to install or to export instead."""
    run = RunFile("x", "0", "t", readings=(reading(),))
    try:
        import pyarrow.parquet
    except ImportError:
        with pytest.raises(instruments.InstrumentError, match="pyarrow") as caught:
            export.files([run], "out.parquet")
        assert caught.value.code == "NO_PARQUET"
        return
    table = pyarrow.parquet.read_table(io.BytesIO(export.files([run], "out.parquet")["out.parquet"]))
    assert table.column("cq").to_pylist() == [20.0]


def command(capsys, monkeypatch, tmp_path, *argv):
    """Output and status of ``lis read`` with an empty data folder."""
    monkeypatch.setenv("LIS_DATA", str(tmp_path / "data"))
    try:
        main(["read", *map(str, argv)])
    except SystemExit as leave:
        return capsys.readouterr(), leave.code
    return capsys.readouterr(), 0


@real
def test_lis_read_prints_all_runs_and_writes_the_one_that_is_named(capsys, monkeypatch, tmp_path):
    """Every well of a file of three runs is printed with its run; --run and --export take one of them."""
    file = DATA / "rdml" / "volume_machine.rdml"
    said, status = command(capsys, monkeypatch, tmp_path, file, "--json")
    document = json.loads(said.out)
    assert (len(document["wells"]), len(document["runs"]), status) == (172, 3, 1)
    assert {well["run"] for well in document["wells"]} == set(document["runs"])
    target = tmp_path / "one.rdml"
    said, _ = command(
        capsys, monkeypatch, tmp_path, file, "--run", document["runs"][0], "--export", target, "--json"
    )
    assert len(json.loads(said.out)["wells"]) == len(read_all("x", target.read_bytes())[0].readings)
    said, status = command(capsys, monkeypatch, tmp_path, file, "--export", target)
    assert (status, "BAD_EXPORT" in said.err) == (1, True)


@real
def test_lis_read_puts_the_files_of_a_run_together(capsys, monkeypatch, tmp_path):
    """Cq results and amplification of a CFX become one run, which the csv export keeps."""
    files = sorted((DATA / "biorad_cfx").glob("*cGAS*.csv"))
    out = tmp_path / "run.csv"
    said, status = command(capsys, monkeypatch, tmp_path, *files, "--export", out, "--json")
    document = json.loads(said.out)
    assert (status, len(document["wells"]), document["curves"]) == (0, 96, 96)
    assert len(out.read_text().splitlines()) == 97
    assert len((tmp_path / "run.curves.csv").read_text().splitlines()) == 96 * 40 + 1
