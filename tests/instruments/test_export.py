"""Runs written as RDML 1.4 and as tidy tables."""

import csv
import io
import json
import os
import subprocess
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
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


def test_names_that_xml_cannot_tell_apart_stay_apart():
    """Samples, targets and dyes that differ only in characters XML refuses keep their own entries and tasks."""
    bells = [
        reading("A1", sample="\x07", task="unknown", target="\x07", dye="\x07"),
        reading("A2", sample="\x08", task="ntc", target="\x08", dye="\x08"),
    ]
    content = export.rdml(RunFile("x", "0", "t", block=96, readings=tuple(bells)))
    for kind in ("sample", "target", "dye"):
        ids = [one.get("id") for one in tree(content).iter(f"{SPACE}{kind}") if len(one) or kind == "dye"]
        assert len(ids) == len(set(ids)) == 2, kind
    (back,) = read_all("x", content)
    assert [(r.well, r.task) for r in back.readings] == [("A1", "unknown"), ("A2", "ntc")]


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
    """The sentence says what to install or to export instead; a column of nothing keeps its type."""
    run = RunFile("x", "0", "t", readings=(reading(), reading("A2", cq=None, raw_cq="")))
    try:
        import pyarrow.parquet
    except ImportError:
        with pytest.raises(instruments.InstrumentError, match="pip install pyarrow") as caught:
            export.files([run], "out.parquet")
        assert caught.value.code == "NO_PARQUET"
        return
    table = pyarrow.parquet.read_table(io.BytesIO(export.files([run], "out.parquet")["out.parquet"]))
    assert table.column("cq").to_pylist() == [20.0, None]
    assert str(table.schema.field("threshold").type) == "double"


def plate():
    """A synthetic run of two targets with controls, an undetermined well and curves."""
    readings, curves = [], []
    for i, (sample, task) in enumerate((("T 1", "unknown"), ("T<2>", "unknown"), ("NTC", "ntc"))):
        for target, dye, cq in (("ORF1ab", "FAM", None if task == "ntc" else 21.25 + i), ("RP", "VIC", 27.5)):
            well = well_name(i, 96)
            readings.append(
                reading(well, sample=sample, task=task, target=target, dye=dye, cq=cq, raw_cq=str(cq))
            )
            curves.append(curve(well, target, dye, "rn", (np.arange(40.0) / 7 + i).tolist()))
    return RunFile("plate.txt", "0", "t", block=96, readings=tuple(readings), curves=tuple(curves))


def test_a_curve_without_a_result_stays_with_its_well():
    """Its sample is that of the well, so that no reaction number comes twice, as the schema demands."""
    run = plate()
    root = tree(export.rdml(replace(run, readings=run.readings[::2])))
    ids = [one.get("id") for one in root.iter(f"{SPACE}react")]
    assert ids == ["1", "2", "3"]
    assert "not stated sample" not in {one.get("id") for one in root.iter(f"{SPACE}sample")}
    bare = tree(export.rdml(replace(run, readings=())))
    assert {one.get("id") for one in bare.iter(f"{SPACE}sample")} == {"not stated sample"}


def test_only_the_version_differs_between_13_and_14():
    """Nothing is written that 1.3 does not know."""
    old, new = tree(export.rdml(plate(), "1.3")), tree(export.rdml(plate()))
    assert (old.get("version"), new.get("version")) == ("1.3", "1.4")
    new.set("version", "1.3")
    assert ET.tostring(old) == ET.tostring(new)


@real
def test_elements_of_14_stand_as_in_the_files_of_its_authors():
    """Of files of RDML-Tools, parents have the children written here, in an order that agrees."""
    theirs: dict[str, set[tuple[str, ...]]] = {}
    for name in ("eva_green_a", "volume_machine", "matrix_gaps"):
        root = tree((DATA / "rdml" / f"{name}.rdml").read_bytes())
        assert root.get("version") == "1.4"
        for element in root.iter():
            theirs.setdefault(element.tag, set()).add(tuple(dict.fromkeys(child.tag for child in element)))
    begun = datetime(2024, 1, 2, 3, 4, tzinfo=UTC)
    made = tree(export.rdml(replace(plate(), instrument="QS", software="Software", run_started=begun)))
    for tag, tags in {(one.tag, tuple(dict.fromkeys(child.tag for child in one))) for one in made.iter()}:
        assert set(tags) <= {child for children in theirs[tag] for child in children}, tag
        for children in theirs[tag]:
            assert [one for one in tags if one in children] == [one for one in children if one in tags], tag


READ_BY_RDMLPYTHON = """
import json, sys
import rdmlpython
try:
    document = rdmlpython.Rdml(sys.argv[1])
    run = document.experiments()[0].runs()[0]
    print(json.dumps({"valid": bool(document.isvalid()), "reacts": run.getreactjson()["reacts"]}))
except rdmlpython.RdmlError as error:
    print(json.dumps({"refused": str(error)}))
"""


@pytest.mark.parametrize("version", ["1.3", "1.4"])
def test_rdmlpython_opens_the_export(tmp_path, version):
    """It is valid by the schema that rdmlpython carries, with every Cq and every point; 1.4 may be refused.

    The released 1.7.2 knows no 1.4; a release that opens it has to find the same as in 1.3.
    """
    python = os.environ.get("RDMLPYTHON")
    if not python:
        pytest.skip("RDMLPYTHON does not name the interpreter of an environment with rdmlpython")
    run = plate()
    path = tmp_path / "run.rdml"
    path.write_bytes(export.rdml(run, version))
    done = subprocess.run(
        [python, "-c", READ_BY_RDMLPYTHON, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    answer = json.loads(done.stdout)
    if version == "1.4" and answer.get("refused") == "Unknown or unsupported RDML file version.":
        pytest.skip("this rdmlpython opens no RDML 1.4 at all")
    assert answer["valid"]
    found = [(int(react["id"]), data) for react in answer["reacts"] for data in react["datas"]]
    assert [(i, data["tar"], float(data["cq"])) for i, data in found] == [
        (int(r.well[1:]), r.target, -1.0 if r.cq is None else r.cq) for r in run.readings
    ]
    for (_, data), drawn in zip(found, run.curves, strict=True):
        points = [[float(point[0]), float(point[1])] for point in data["adps"]]
        assert points == [list(pair) for pair in zip(drawn.cycles, drawn.values, strict=True)]


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
    assert tree(target.read_bytes()).get("version") == "1.4"
    command(
        capsys, monkeypatch, tmp_path, file, "--run", document["runs"][0], "--export", target, "--rdml", "1.3"
    )
    assert tree(target.read_bytes()).get("version") == "1.3"
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
