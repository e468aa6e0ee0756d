"""Experiment files (.eds) of both kinds: real ones against their truth, synthetic ones for the rest."""

import csv
import io
import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import instruments
from instruments.formats import markup

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "instruments"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real exports is not on this machine")


def read(path):
    """Read a file of the folder."""
    return instruments.read(path, (DATA / path).read_bytes())


FILES = [
    "abi_eds/qslib_quantstudio5_v1_test.eds",
    "covid/DEMO_COVID2020_THERMO.eds",
    "covid/mock_cdc_3.eds",
    "covid/mock_failing_plate.eds",
]


@real
@pytest.mark.parametrize("name", FILES)
def test_a_real_experiment_file_says_what_it_says(name):
    """Rows, wells, targets, called and uncalled, the sum of Cq and the cycles agree with the truth."""
    with (DATA / "EXPECTED.tsv").open(encoding="utf-8") as lines:
        truth = next(row for row in csv.DictReader(lines, delimiter="\t") if row["file"] == name)
    run = read(name)
    called = [r.cq for r in run.readings if r.cq is not None]
    assert run.format == "eds"
    assert len(run.readings) == int(truth["rows"])
    assert len({r.well for r in run.readings}) == int(truth["wells"])
    assert {r.target for r in run.readings} == set(truth["targets"].split(","))
    assert (len(called), len(run.readings) - len(called)) == (int(truth["called"]), int(truth["uncalled"]))
    assert sum(called) == pytest.approx(float(truth["sum_cq"]), abs=1e-3)
    assert {len(curve.values) for curve in run.curves} == {int(truth["cycles"])}
    assert run.curve_count == len(run.readings)


@real
def test_a_quantstudio_5_run_is_complete_with_all_it_says_of_itself():
    """Run state, times, instrument, plate setup and the software's own flags are read."""
    run = read(FILES[0])
    assert (run.complete, run.block, run.serial, run.method) == (True, 96, "1", "ct")
    assert run.instrument == "QuantStudio 5 - 96-Well 0.2-mL Block"
    assert run.run_ended == datetime(2020, 2, 20, 17, 12, 58, 621000, tzinfo=UTC)
    first = run.readings[0]
    assert (first.well, first.sample, first.task, first.dye, first.raw_cq) == (
        "A1",
        "Sample 1",
        "unknown",
        "FAM",
        "4.0",
    )
    assert set(first.flags) == {"NO_AMP", "EAF", "TAF", "CC"}


@real
def test_rn_is_the_reporter_over_the_passive_reference():
    """Rn made of the dyes' signals is the software's own Rn, which the same file holds."""
    name = FILES[0]
    out = io.BytesIO()
    with (
        zipfile.ZipFile(DATA / name) as whole,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as fewer,
    ):
        for member in whole.namelist():
            if not member.endswith("analysis_result.txt"):
                fewer.writestr(member, whole.read(member))
    made = instruments.read("x.eds", out.getvalue())
    assert (made.readings, made.complete) == ((), False)
    assert "holds no results" in made.reasons[0]
    theirs = {c.well: c.values for c in read(name).curves if c.kind == "rn"}
    assert len(made.curves) == 96
    for curve in made.curves:
        assert curve.kind == "rn"
        np.testing.assert_allclose(curve.values, theirs[curve.well], rtol=1e-6)


@real
def test_a_7500_file_without_results_gives_curves_and_says_so():
    """24 planned wells of 40 cycles are read from the signals; nothing passes for a result."""
    run = read("abi_eds/abi7500_standard_curve_example.eds")
    assert (run.readings, run.complete, run.block, run.operator) == ((), False, 96, "Example User")
    assert len(run.reasons) == 1
    assert "export the results" in run.reasons[0]
    assert {(len(c.values), c.kind, c.target) for c in run.curves} == {(40, "rn", "RNase P TAMRA")}
    assert len(run.curves) == 24
    # FAM over ROX of the first well and cycle, as the file writes them.
    assert run.curves[0].values[0] == pytest.approx(842270.7 / 363171.06, rel=1e-12)


@real
def test_wells_without_a_plate_setup_are_confirmed_by_the_loaded_plate():
    """A file with nothing but results is not complete until its wells are those that were loaded."""
    run = read(FILES[1])
    assert not run.complete
    assert run.reasons == run.assumptions
    loaded = [(r.well, r.target) for r in run.readings]
    assert run.confirmed(loaded).complete
    assert not run.confirmed([*loaded, ("H12", "N")]).complete


# -- synthetic -------------------------------------------------------------------------------------

SETUP = """<?xml version="1.0"?><Plate><BarCode>P-1</BarCode><Rows>8</Rows><Columns>12</Columns>
<FeatureMap><Feature><Id>sample</Id></Feature>{samples}</FeatureMap>
<FeatureMap><Feature><Id>detector-task</Id></Feature>{tasks}</FeatureMap>
<Wells><Well><Index>1</Index><IsOmit>true</IsOmit><FlagName>NOAMP-N</FlagName></Well></Wells>
<PassiveReferenceDye>ROX</PassiveReferenceDye></Plate>"""
TASK = (
    "<FeatureValue><Index>{}</Index><FeatureItem><DetectorTaskList><DetectorTask><Task>{}</Task>"
    "<Detector><Name>N</Name><Reporter>FAM</Reporter></Detector></DetectorTask></DetectorTaskList>"
    "</FeatureItem></FeatureValue>"
)
SAMPLE = (
    "<FeatureValue><Index>{}</Index><FeatureItem><Sample><Name>{}</Name></Sample></FeatureItem>"
    "</FeatureValue>"
)
STATE = (
    "<Experiment><Name>SYNTHETIC</Name><RunState>{}</RunState><RunStartTime>1600000000000</RunStartTime>"
    "<RunEndTime>{}</RunEndTime></Experiment>"
)
RESULT = "{well}\t\tN\tTarget\t{ct}\t1\nRn values\t1\t2\t3\nDelta Rn values\t0\t1E-1\t2\n"
HEADER = "Session Name\t\nWell\tSample Name\tDetector\tTask\tCt\tAmp Status\n"


def eds(**changes):
    """A synthetic experiment file of the first kind: wells A1 (unknown) and A2 (NTC), target N."""
    parts = {
        "plate_setup.xml": SETUP.format(
            samples=SAMPLE.format(0, "T-1"), tasks=TASK.format(0, "UNKNOWN") + TASK.format(1, "NTC")
        ),
        "experiment.xml": STATE.format("COMPLETE", 1600003600000),
        "analysis_result.txt": HEADER + RESULT.format(well=0, ct=2.5) + RESULT.format(well=1, ct="3.0"),
        **changes,
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            if content is not None:
                archive.writestr(f"apldbio/sds/{name}", content)
    return out.getvalue()


def test_sentinels_samples_tasks_and_flags_of_a_synthetic_file():
    """Ct 3.0 of 3 cycles is none; the setup gives sample, task and dye, and marks the omitted well."""
    run = instruments.read("x", eds())
    assert run.complete, run.reasons
    assert (run.plate, run.experiment) == ("P-1", "SYNTHETIC")
    assert [(r.well, r.sample, r.task, r.dye, r.cq, r.flags) for r in run.readings] == [
        ("A1", "T-1", "unknown", "FAM", 2.5, ()),
        ("A2", "", "ntc", "FAM", None, ("NOAMP", "OMIT")),
    ]
    assert list(run.curves[1].values) == [0, 0.1, 2]


@pytest.mark.parametrize("state", [("RUNNING", 0), ("COMPLETE", 0), ("STOPPED", 1600003600000)])
def test_a_run_still_going_is_read_and_not_complete(state):
    """A file copied mid-run shows its curves and says that the run had not ended."""
    run = instruments.read("x", eds(**{"experiment.xml": STATE.format(*state)}))
    assert (len(run.readings), run.complete, run.run_ended) == (2, False, None)
    assert "had not ended" in run.reasons[0]
    assert run.assumptions == ()


@pytest.mark.parametrize(
    ("results", "reason"),
    [
        (HEADER + RESULT.format(well=0, ct=2.5), "A2 N"),
        (HEADER + RESULT.format(well=0, ct=2.5) * 2 + RESULT.format(well=1, ct=3), "two results for A1"),
        (HEADER + RESULT.format(well=0, ct="25,5") + RESULT.format(well=1, ct=3), "Cq of A1"),
        (HEADER + RESULT.format(well=0, ct=2) + RESULT.format(well=1, ct=3).replace("\t3\n", "\n"), "cycles"),
        (HEADER + RESULT.format(well=0, ct=2) + RESULT.format(well=1, ct=3).replace("1E-1", "?"), "numbers"),
        (HEADER + RESULT.format(well=0, ct=2) + RESULT.format(well=1, ct=3)[:-4], "within a line"),
        (
            HEADER + RESULT.format(well=0, ct=2) + RESULT.format(well=1, ct=3).replace("3\t1\n", "3\n"),
            "stops",
        ),
        (HEADER, "no reactions"),
    ],
)
def test_results_that_lack_something_are_named(results, reason):
    """A missing, doubled, unreadable or cut result is a reason."""
    run = instruments.read("x", eds(**{"analysis_result.txt": results}))
    assert not run.complete
    assert any(reason in sentence for sentence in run.reasons), run.reasons


def test_a_genotyping_run_is_refused_by_name():
    """Allele calls are no Cq; the sentence says which run to export."""
    snp = "Well\tSample Name\tMarker Name\tTask\tRnX\tRnY\tCall\n0\tS\tM\tUnknown\t1\t2\t1\n"
    with pytest.raises(instruments.InstrumentError, match="SNP") as caught:
        instruments.read("x", eds(**{"analysis_result.txt": snp}))
    assert caught.value.code == "NOT_A_QUANTIFICATION"


def test_results_without_a_ct_column_and_wells_off_the_block_are_refused():
    """Both are errors with the file's name."""
    with pytest.raises(instruments.InstrumentError, match="no Ct") as caught:
        instruments.read("x", eds(**{"analysis_result.txt": HEADER.replace("Ct", "Height")}))
    assert caught.value.code == "MISSING_COLUMN"
    with pytest.raises(instruments.InstrumentError) as caught:
        instruments.read("x", eds(**{"analysis_result.txt": HEADER + RESULT.format(well=96, ct=2)}))
    assert (caught.value.code, caught.value.file) == ("BAD_WELL", "x")


@pytest.mark.parametrize(
    ("xml", "code"),
    [
        ("<Plate><Rows>8</Rows>", "DAMAGED_FILE"),
        ("", "DAMAGED_FILE"),
        ("\xff\xfe<Plate", "DAMAGED_FILE"),
        ('<!DOCTYPE p [<!ENTITY a "b">]><Plate>&a;</Plate>', "UNREADABLE_FILE"),
    ],
)
def test_xml_that_is_broken_or_dangerous_is_refused(xml, code):
    """Cut XML, foreign encodings, entities and bombs never become a plate setup."""
    with pytest.raises(instruments.InstrumentError) as caught:
        instruments.read("x", eds(**{"plate_setup.xml": xml.encode("latin-1")}))
    assert caught.value.code == code


def test_xml_larger_than_a_run_is_refused_unread(monkeypatch):
    """The size and the number of elements have limits."""
    monkeypatch.setattr(markup, "SIZE_LIMIT", 1000)
    with pytest.raises(instruments.InstrumentError, match="no run does") as caught:
        instruments.read("x", eds(**{"plate_setup.xml": "<Plate>" + " " * 2000 + "</Plate>"}))
    assert caught.value.code == "TOO_LARGE"
    monkeypatch.setattr(markup, "_ELEMENTS", 3)
    with pytest.raises(instruments.InstrumentError, match="more parts") as caught:
        instruments.read("x", eds(**{"plate_setup.xml": "<Plate><a/><b/><c/></Plate>"}))
    assert caught.value.code == "TOO_LARGE"


def json_eds(*, status="COMPLETED", primary="COMPLETED", kind="BLOCK_96W_02ML", **changes):
    """A synthetic experiment file of the second kind: A1 N called, B1 N not, NaN written bare."""
    reaction = {
        "targetName": "N",
        "sampleName": "T-1",
        "task": "UNKNOWN",
        "amplificationResult": {
            "cq": 2.5,
            "ampStatus": "AMP",
            "flags": ["LOWROX"],
            "rn": [1, 2, 3],
            "deltaRn": [0, 1, 2],
            "ctThreshold": 0.1,
            "ctBaselineStart": 3,
            "ctBaselineEnd": 8,
        },
    }
    empty = json.loads(json.dumps(reaction))
    empty |= {"sampleName": "", "task": "NTC"}
    empty["amplificationResult"] |= {"cq": float("nan"), "ampStatus": "NO_AMP", "flags": []}
    plan = {
        "blockType": kind,
        "barcode": "P-2",
        "passiveReference": "ROX",
        "targets": [{"name": "N", "reporter": "FAM"}],
        "wells": [
            {"index": i, "sampleName": s, "targetAssignments": [{"targetName": "N", "task": t}]}
            for i, s, t in ((0, "T-1", "UNKNOWN"), (12, "", "NTC"))
        ],
    }
    dyes = [{"dyeName": d, "fluorescences": f} for d, f in (("FAM", [9, 2, 4, 6]), ("ROX", [1, 2, 2, 2]))]
    parts = {
        "summary.json": {
            "name": "SYNTHETIC",
            "instrumentType": "QS7PRO",
            "runStatus": status,
            "analysis": {"primary": {"status": primary}},
        },
        "run/run_summary.json": {"instrumentSerialNumber": "S9", "startTime": 1.6e12, "endTime": 1.61e12},
        "setup/plate_setup.json": plan,
        "primary/analysis_result.json": {
            "wellResults": [
                {"wellIndex": 0, "reactionResults": [reaction]},
                {"wellIndex": 12, "reactionResults": [empty]},
            ]
        },
        "primary/multicomponent_data.json": {
            "collectionPoints": [{"stage": 1, "cycle": 1}, *({"stage": 2, "cycle": c} for c in (1, 2, 3))],
            "wellData": [{"wellIndex": 0, "dyeData": dyes}],
        },
        **changes,
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            if content is not None:
                archive.writestr(name, content if isinstance(content, str) else json.dumps(content))
    return out.getvalue()


def test_a_synthetic_json_experiment_is_read():
    """Cq, bare NaN, thresholds, baselines, flags, curves, times and names of the second kind of .eds."""
    run = instruments.read("x", json_eds())
    assert run.complete, run.reasons
    assert (run.format, run.block, run.plate, run.serial) == ("eds-json", 96, "P-2", "S9")
    assert [(r.well, r.task, r.dye, r.cq, r.flags, r.threshold, r.baseline) for r in run.readings] == [
        ("A1", "unknown", "FAM", 2.5, ("LOWROX",), 0.1, (3, 8)),
        ("B1", "ntc", "FAM", None, ("NO_AMP",), 0.1, (3, 8)),
    ]
    assert dict(run.thresholds) == {"N": 0.1}
    assert run.curve_count == 2


def test_a_json_experiment_without_results_gives_curves_of_the_longest_stage():
    """Signals of the amplification stage become Rn; the single reading of another stage is left out."""
    run = instruments.read("x", json_eds(**{"primary/analysis_result.json": None}))
    assert (run.readings, run.complete) == ((), False)
    (curve,) = run.curves
    assert (curve.well, curve.kind, list(curve.values)) == ("A1", "rn", [1, 2, 3])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"status": "RUNNING"}, "had not ended"),
        ({"status": ""}, "nothing in the file says"),
        ({"primary": "FAILED"}, "not finished"),
        ({"kind": "?"}, "how large the block is"),
        ({"primary/analysis_result.json": {"wellResults": []}}, "A1 N"),
        (
            {
                "primary/analysis_result.json": {
                    "wellResults": [{"wellIndex": 0, "reactionResults": [{"targetName": "N"}]}]
                }
            },
            "neither a number",
        ),
    ],
)
def test_a_json_experiment_that_lacks_something_says_so(options, reason):
    """Run status, analysis, block, missing reactions; a reaction without a Cq entry is not "not detected"."""
    run = instruments.read("x", json_eds(**options))
    assert not run.complete
    assert any(reason in sentence for sentence in run.reasons), run.reasons


def test_a_json_part_that_is_no_json_or_a_genotyping_run_is_refused():
    """Both have their sentence."""
    with pytest.raises(instruments.InstrumentError, match="readable JSON") as caught:
        instruments.read("x", json_eds(**{"setup/plate_setup.json": '{"a": '}))
    assert caught.value.code == "DAMAGED_FILE"
    with pytest.raises(instruments.InstrumentError) as caught:
        instruments.read("x", json_eds(**{"setup/plate_setup.json": {"experimentType": "GENOTYPING"}}))
    assert caught.value.code == "NOT_A_QUANTIFICATION"


def test_a_json_experiment_of_nonsense_values_never_breaks():
    """Numbers where texts belong and lists where numbers belong become reasons, not tracebacks."""
    odd = {"wellResults": [{"wellIndex": -1}, {"wellIndex": 0, "reactionResults": [[], {"targetName": [1]}]}]}
    run = instruments.read("x", json_eds(**{"primary/analysis_result.json": odd, "summary.json": []}))
    assert not run.complete


@real
@pytest.mark.parametrize("name", FILES[1:])
def test_a_cut_experiment_file_is_refused(name):
    """At every 200th of the file, the archive does not open."""
    data = (DATA / name).read_bytes()
    for part in range(1, 200):
        with pytest.raises(instruments.InstrumentError) as caught:
            instruments.read(name, data[: len(data) * part // 200])
        assert caught.value.code in {"INCOMPLETE_FILE", "DAMAGED_FILE", "EMPTY_FILE", "UNKNOWN_FORMAT"}
