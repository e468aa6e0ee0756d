"""Damaged files: bits flipped, pieces cut out, nonsense; every reader, no traceback, no false result."""

import io
import random
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import instruments
from instruments.formats import READERS, read_all
from instruments.formats.propose import propose

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "instruments"
real = pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real exports is not on this machine")
# Archives and workbooks whose container has checksums: a flipped bit may not change a Cq.
CHECKED = [
    "covid/DEMO_COVID2020_THERMO.eds",
    "rdml/stepone_std.rdml",
    "abi_da_xlsx/appbio_quantstudio_designandanalysis_QS7Pro_Primary_Analysis_example18.xlsx",
]
PLAIN = [
    "abi_legacy/appbio_quantstudio_example05.txt",
    "rotorgene/irregular_multi_assay.csv",
    "other/sanger_crawler_lighthouse_channels_BOM.csv",
    "roche_lc480/htqpcr_LightCycler_sample_CRonly.txt",
]


def outcomes(runs):
    """What a laboratory would act on."""
    return {(run.experiment, r.key, r.cq) for run in runs for r in run.readings}


def attempt(data):
    """Read a damaged file: its runs, or None for a sentence."""
    try:
        return read_all("damaged", data)
    except instruments.InstrumentError as error:
        return None if error.sentence and error.code else pytest.fail("an error without words")


@real
@pytest.mark.parametrize("name", CHECKED)
def test_a_flipped_bit_in_a_container_never_changes_a_result(name):
    """100 single bits anywhere: refused, not complete, or the same results."""
    data = (DATA / name).read_bytes()
    whole = outcomes(read_all(name, data))
    chance = random.Random(4)
    for _ in range(100):
        flipped = bytearray(data)
        flipped[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        runs = attempt(bytes(flipped))
        assert runs is None or outcomes(runs) == whole or not all(run.complete for run in runs)


@real
@pytest.mark.parametrize("name", PLAIN)
def test_flipped_bits_in_a_text_never_break_a_reader(name):
    """100 damaged copies of a text end in a run or a sentence; a text has no checksum to tell more."""
    data = (DATA / name).read_bytes()
    chance = random.Random(5)
    for _ in range(100 if len(data) < 10_000 else 25):
        flipped = bytearray(data)
        for _ in range(chance.randrange(1, 4)):
            flipped[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        attempt(bytes(flipped))


SEEDS = [
    b"Session Name\t\r\nWell\tSample Name\tDetector\tTask\tCt\n0\tS\tN\tTarget\t1.0\nRn values\t1\n",
    b"* Block Type = 96\n\n[Sample Setup]\nWell\tTarget Name\n1\tN\n\n[Results]\nWell\tCT\tTask\n1\t20\tN\n",
    b",Well,Fluor,Target,Content,Sample,Cq\r\n,A01,FAM,N,Unkn-01,T,20.0\r\n",
    b",Cycle,A1\r\n,1,0.5\r\n,2,1\r\n",
    b"Experiment: X  Selected Filter: FAM (465-510)\nInclude\tColor\tPos\tName\tCp\nTrue\t1\tA1\tT\t20\n",
    b"x\nSamplePos\tSampleName\tProg#\tSeg#\tCycle#\tTime\tTemp\t465-510\nA1\tT\t2\t1\t1\t0\t60\t1\n",
    b"Excel Analysed Data Export\nQuantitative analysis of X (N)\nNo.,Name,Type,Ct,Ct Comment\n1,T,NTC,20,\n",
    b"Root Sample,RNA ID,Result,CH1-Target,CH1-Result,CH1-Cq\nS,P_A1,x,N,Positive,20.00\n",
    b"Chip Run Filename,x\n\nE,E,FAM\nChamber,Sample,Ct\nID,Name,Value\nS01-A01,T,20\n",
    b"1\tP\tA1\tPassed\tS\tG\tTarget\t20\t\t\t\t\t\t\t\t\n",
    (
        b'<rdml><experiment><run><react id="1"><data><cq>20</cq><adp><cyc>1</cyc><fluor>1</fluor></adp>'
        b"</data></react></run></experiment></rdml>"
    ),
    b"H|\\^&|1\rO|1|T|P^A1|^^^N\rR|1|^^^N^Ct|20|Ct||||F\rL|1|N\r",
    b"\x0bMSH|^~\\&|A|B|C|D|20221201||OUL^R22|1|P|2.5.1\rSPM|1|T\rSAC|||A1|P\rOBR|1|||X\rOBX|1|NM|N_Ct||20||||||F\r\x1c\r",
]


@st.composite
def mutants(draw):
    """A small file of some format with pieces replaced, repeated, cut out or swapped."""
    data = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        start, end = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        piece = draw(
            st.binary(max_size=6)
            | st.sampled_from(
                [b"\t", b"\n", b",", b'"', b"<", b"\xff", b"-1", b"1e999", b"nan", b"\xd9\xa1", b""]
            )
            | st.just(data[start:end] * 3)
        )
        data = data[:start] + piece + data[end:]
    return data


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(mutants())
def test_no_mutant_of_any_format_breaks_a_reader(data):
    """Whatever the bytes, reading and proposing end in a run, a mapping or a sentence."""
    runs = attempt(data)
    for run in runs or ():
        assert run.complete == (not run.reasons)
        assert run.as_json()["complete"] == run.complete
    try:
        assert propose("x", data)
    except instruments.InstrumentError as error:
        assert error.sentence  # noqa: PT017 - most mutants are no table


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(mutants(), st.sampled_from(["analysis_result.txt", "plate_setup.xml", "experiment.xml"]))
def test_no_mutant_inside_an_experiment_file_breaks_its_reader(data, member):
    """The same within an archive whose checksums hold."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(f"apldbio/sds/{member}", data)
    attempt(out.getvalue())


def test_every_text_format_has_a_seed():
    """The mutants above begin from a readable file of each text format."""
    found = {runs[0].format for data in SEEDS[1:] if (runs := attempt(data))}
    text = {reader.format for reader in READERS if "text" in reader.kinds}
    assert found == text


@pytest.mark.parametrize(
    "data",
    [
        b"<rdml>" + b"<a>" * 500_000,
        b"<rdml>" + b"<a/>" * 200_000,
        b",Well,Fluor,Content,Cq\n" + b",A01,FAM,,1\n" * 5_000,
        b"* Block Type = 96\n\n[Results]\nWell\tCT\n" + b"1\t20\n" * 5_000,
        b"Excel Analysed Data Export\n" + b"Quantitative analysis of X (N)\nNo.,Name,Type,Ct\n" * 3_000,
        b"H|\\^&|1\r" * 20_000,
        b"H|\\^&|1\r" + b"R|1|" + b"^" * 1_000_000 + b"\rO|1\r" * 20_000 + b"L|1\r",
        b"MSH|^~\\&|A\r" * 20_000,
        b"\x0bMSH|^~\\&|A|B|C|D||OUL^R22|1\r" + b"OBX|" * 400_000 + b"\x1c\r",
    ],
)
def test_a_large_hostile_file_ends_in_a_sentence_or_reasons(data):
    """Deep, wide and endlessly doubled files neither hang nor pass."""
    runs = attempt(data)
    assert runs is None or not any(run.complete for run in runs)
