"""Files made to exhaust a machine: endless sheets, circles, quadratic patterns, bombs; synthetic all."""

import random
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import format_corpus as corpus
import format_mutants as mutants
import pytest

import instruments
from instruments.formats import eds_json, read_all
from instruments.formats.cells import number

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "instruments"
EXAMPLES = corpus.synthetic()


def code(data):
    """Code of the error that a file ends in, "" when it is read."""
    try:
        read_all("x", data, corpus.MAPPINGS)
    except instruments.InstrumentError as error:
        return error.code
    return ""


def edited(data, part, *changes):
    """A zip with words of one part replaced."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    for old, new in changes:
        assert old in parts[part]
        parts[part] = parts[part].replace(old, new, 1)
    return corpus.zipped(parts)


def example(form):
    """The synthetic file of a format."""
    return next(one.data for one in EXAMPLES if one.format == form)


def test_every_format_is_damaged():
    """Each format of `lis formats`, and a described text and workbook, has a file that its reader reads."""
    found = {read_all(one.name, one.data, corpus.MAPPINGS)[0].format for one in EXAMPLES}
    assert found == corpus.FORMATS == {one.format for one in EXAMPLES}


@pytest.mark.parametrize("one", EXAMPLES, ids=lambda one: one.name.removeprefix("SYNTHETIC "))
def test_no_damage_breaks_a_reader(one):
    """Ten damaged copies of each end in runs or a sentence; a cut is never complete with less in it."""
    chance = random.Random(one.format)
    for _ in range(10):
        code(mutants.mutant(one.data, chance))
    whole = {(r.key, r.cq) for r in read_all(one.name, one.data, corpus.MAPPINGS)[0].readings}
    for place in chance.sample(range(1, len(one.data)), 10):
        try:
            (run,) = read_all(one.name, one.data[:place], corpus.MAPPINGS)
        except instruments.InstrumentError:
            continue
        assert not run.complete or {(r.key, r.cq) for r in run.readings} == whole


# -- workbooks -------------------------------------------------------------------------------------

SHEET = "xl/worksheets/sheet1.xml"


@pytest.mark.parametrize(
    "cells",
    [
        '<row r="2"><c r="XFD1048576"><v>1</v></c></row>',
        '<row r="2"><c r="XFD2"/><c r="A1048576"/></row>',  # no single cell is far
        '<row r="2"><c r="A1048576"/></row>',  # only rows, which take seconds
        "<row r='9999999'><c><v>1</v></c></row><row r='2'><c r='XFD2'/></row>",
        '<x:row xmlns:x="n"><x:c r = "ZZZ999999"/></x:row>',
    ],
)
def test_a_cell_far_from_the_others_is_refused_before_the_sheet_is_laid_out(cells):
    """Five kilobytes claim half a terabyte, which would end the program: however the place is written."""
    data = edited(corpus.book({"Results": [[1]]}), SHEET, ("</sheetData>", cells + "</sheetData>"))
    assert code(data) == "TOO_LARGE"


def test_a_cell_with_two_places_is_no_cell():
    """A lenient reader would take the second place, at the end of the sheet: such a sheet is refused as damaged."""
    data = edited(corpus.book({"Results": [[1, 2]]}), SHEET, ('<c r="B1"', '<c r="B1"r="XFD1048576"'))
    assert code(data) == "DAMAGED_FILE"


def test_the_range_that_a_sheet_only_declares_is_not_believed():
    """Its cells count, not what it says of itself."""
    assert code(edited(example("ma-6000"), SHEET, ('ref="A1:E97"', 'ref="A1:XFD1048576"'))) == ""


@pytest.mark.parametrize(
    "spelled", [(' r="A1"', ""), ('<row r="1" spans="1:5">', "<row>"), (' r="A1"', " r='A1'")]
)
def test_cells_that_name_their_place_another_way_are_read(spelled):
    """The place may be left out, or stand in other quotation marks: the sheet is read as before."""
    data = example("ma-6000")
    (whole,), (run,) = read_all("x", data), read_all("x", edited(data, SHEET, spelled))
    assert run.readings == whole.readings


@pytest.mark.parametrize("mark", ["<!DOCTYPE a><worksheet", "<worksheet a<"])
def test_a_sheet_of_such_cells_that_is_no_xml_is_refused(mark):
    """What cannot be measured is not laid out."""
    data = edited(example("ma-6000"), SHEET, (' r="A1"', ""), ("<worksheet", mark))
    assert code(data) in {"DAMAGED_FILE", "TOO_LARGE"}


def test_a_workbook_that_hides_where_its_sheets_are_is_measured_whole():
    """Where the list of parts does not lead to a sheet, every part is measured."""
    far = '<row r="2"><c r="XFD1048576"/></row></sheetData>'
    data = edited(corpus.book({"Results": [[1]]}), SHEET, ("</sheetData>", far))
    links = "xl/_rels/workbook.xml.rels"
    assert (
        code(edited(data, links, ("worksheets/sheet1.xml", "worksheets/../worksheets/sheet1.xml")))
        == "TOO_LARGE"
    )
    assert code(edited(data, "xl/workbook.xml", ("<workbook", "<!DOCTYPE a><workbook"))) == "TOO_LARGE"


ROWS = [["Instrument Type", "sds7500"], ["Well", "Target Name", "CT"], ["A1", "N", 20.5]]
WHOLE = corpus.stream(ROWS)
SIZES = (0, 3, 0, 3)  # of the sheet: first and last row, first and last column


def sized(*sizes):
    """The old workbook with another claim of its size."""
    return WHOLE.replace(
        corpus.record(0x0200, ("<IIHHH", *SIZES, 0)), corpus.record(0x0200, ("<IIHHH", *sizes, 0))
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (WHOLE, ""),
        (sized(1024, 3, 0, 3), "TOO_LARGE"),  # one bit: last less first is minus 1021, or billions
        (sized(0, 3, 9, 3), "TOO_LARGE"),
        (sized(0, 2**31, 0, 3), "TOO_LARGE"),
        (WHOLE.replace(b"\x02\x00\x02\x00\0\0", b"\x02\x00\x02\x40\0\0"), "TOO_LARGE"),  # a cell's column
        (WHOLE + corpus.record(0x00BD, ("<HHHIH", 2, 0, 0, 0, 0x8000)), "TOO_LARGE"),  # cells up to a column
        (WHOLE + corpus.record(0x00FC, ("<II", 1, 2**30)), "TOO_LARGE"),  # texts
        (WHOLE + b"\x03\x02\xff\xff" + bytes(4096), "DAMAGED_FILE"),
    ],
)
def test_an_old_workbook_may_not_claim_more_than_it_holds(content, expected):
    """A single damaged number would end the program, since old workbooks have no checksums."""
    assert code(corpus.ole(content)) == expected


def test_chains_of_an_old_workbook_end():
    """A sector that follows itself, or leads out of the file, is found and not followed for ever."""
    assert code(corpus.ole(WHOLE, follow={3: 0})) == "DAMAGED_FILE"
    assert code(corpus.ole(WHOLE, follow={3: 90})) == "DAMAGED_FILE"
    head = bytearray(corpus.ole(WHOLE))
    head[44:48] = b"\xff\xff\xff\x7f"  # sectors of the table, says the header
    assert code(bytes(head)) == "DAMAGED_FILE"
    assert code(corpus.ole(WHOLE, size=100)) == "DAMAGED_FILE"  # so small a stream lies elsewhere


def test_a_part_of_a_zip_has_one_name():
    """A name that differs in its two places, or stands twice, is damage that no checksum shows."""
    data = example("eds")
    at = data.rindex(b"apldbio/sds/experiment.xml")
    assert code(data[:at] + b"x" + data[at + 1 :]) == "DAMAGED_FILE"
    version = data.rindex(b"PK\x01\x02") + 6
    assert (
        code(data[:version] + b"\xff" + data[version + 1 :]) == "DAMAGED_FILE"
    )  # of another zip than there is
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a", "1")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a", "2")
    assert code(out.getvalue()) == "DAMAGED_FILE"


# -- patterns and bombs ----------------------------------------------------------------------------

CP = b"\nInclude\tColor\tPos\tName\tCp\nTrue\t1\tA1\tT\t20\n"
RAW = b"\nSamplePos\tSampleName\tProg#\tSeg#\tCycle#\tTime\tTemp\t465-510\nA1\tT\t2\t1\t1\t0\t60\t1\n"
STAGES = [{"stage": i % 9000, "cycle": i} for i in range(30_000)]


@pytest.mark.parametrize(
    "data",
    [
        b"Excel Analysed Data Export\nQuantitative analysis of " + b"( " * 100_000 + b"\n",
        b"Experiment:" + b" " * 100_000 + CP,
        b"Experiment - " * 10_000 + b" " * 100_000 + RAW,
        corpus.zipped({"apldbio/sds/analysis_protocol.xml": b"<Name>AlgorithmName</Name>" * 40_000, "apldbio/sds/experiment.xml": b"<a/>"}),
        corpus.zipped({"apldbio/sds/multicomponentdata.xml": "<a><CollectionPoints>" + " ".join(f"Stg:{i} Cyc:1" for i in range(30_000)) + "</CollectionPoints></a>"}),
        corpus.zipped({"primary/multicomponent_data.json": {"collectionPoints": STAGES}}),
    ],
    ids=["rotor-gene", "cp", "raw", "protocol", "stages", "json stages"],
)  # fmt: skip
def test_what_took_minutes_for_its_square_is_read_at_once(data):
    """Lines and lists of a hundred thousand of one thing: read in one pass, never complete."""
    try:
        assert not any(run.complete for run in read_all("x", data))
    except instruments.InstrumentError as error:
        assert error.sentence  # noqa: PT017 - either will do


def test_a_table_as_wide_as_it_is_long_is_refused():
    """Rows are filled up to the width of the column names: 20,000 of each would be 400 million cells."""
    head = b"* Block Type = 96\n\n[Results]\nWell\tCT\t" + b"\t".join(b"F%d" % i for i in range(20_000))
    assert code(head + b"\n" + b"1\t20\n" * 20_000) == "TOO_LARGE"
    wide = b"Pos;ID;Ct N;Ct RP" + b";x" * 4000 + b"\n" + b"A1;S;20;20\n" * 2000
    assert code(wide) == "TOO_LARGE"


def test_json_that_unpacks_to_more_than_a_run_is_refused_unread(monkeypatch):
    """A few kilobytes of braces are gigabytes of dictionaries; depth and length have ends too."""
    plan = "setup/plate_setup.json"
    monkeypatch.setattr(eds_json, "_VALUES", 1000)
    assert code(corpus.zipped({plan: '{"a":[' + "{}," * 1000 + "{}]}"})) == "TOO_LARGE"
    monkeypatch.setattr(eds_json, "_VALUES", 10**7)
    assert code(corpus.zipped({plan: "[" * 1_000_000})) == "DAMAGED_FILE"
    monkeypatch.setattr(eds_json, "SIZE_LIMIT", 100)
    assert code(corpus.zipped({plan: '{"a": "' + "x" * 200 + '"}'})) == "TOO_LARGE"


@pytest.mark.parametrize("written", ["1e999", "-1e999", 10**400, float("inf"), float("nan"), "9" * 400])
def test_a_number_beyond_all_numbers_is_none(written):
    """No instrument measured infinity: such a cell is not read, and a Cq of it is never complete."""
    assert number(written) is None


def test_an_infinite_cq_is_no_result():
    """1e999 where a Cq stands is said to be unreadable, not kept as infinity."""
    text = example("quantstudio-text").decode()
    (run,) = read_all("x", example("quantstudio-text"))
    called = next(r.raw_cq for r in run.readings if r.cq)
    (damaged,) = read_all("x", text.replace(f"\t{called}\t", "\t1e999\t").encode())
    assert not damaged.complete
    assert any("1e999" in reason for reason in damaged.reasons)


def test_a_cycle_that_is_no_number_is_said():
    """Curves cannot be put together without their cycles."""
    text = example("quantstudio-text").decode().replace("\n1\t7\tN\t", "\n1\tx\tN\t")
    assert code(text.encode()) == "BAD_CELL"


def test_a_text_that_a_described_table_cannot_split_is_merely_unknown():
    """A cell longer than the csv reader takes does not make the file look like a known export."""
    assert code(b"Pos;ID\n" + b'"' + b"x" * 200_000 + b'"\n') == "UNKNOWN_FORMAT"


ROTOR = 'Excel Analysed Data Export,,\r\n\r\nQuantitative analysis of Cycling A.Green (N),,\r\n{}1,"T, 1",Unknown,20.5,\r\n'


def test_a_rotor_list_with_quoted_names_and_blank_lines_is_read():
    """A blank line is a row without cells once any cell is quoted; an assay without column names is said."""
    (run,) = read_all("x", ROTOR.format("No.,Name,Type,Ct,Ct Comment\r\n\r\n").encode())
    assert [(r.well, r.sample, r.cq) for r in run.readings] == [("1", "T, 1", 20.5)]
    assert code((ROTOR.format("") + "No.,Name,Type,Ct\r\n").encode()) == "MISSING_COLUMN"


def test_an_amplification_table_without_a_whole_row_is_read_as_far_as_it_goes():
    """Rows of another width are a fault with a reason, not an accident of the reader."""
    (run,) = read_all("x", b",Cycle,A1,A2\r\n,1,0.5\r\n")
    assert not run.complete
    assert [len(one.values) for one in run.curves] == [0, 0]


PEAK = """
import sys
from pathlib import Path
from instruments.formats import read_all
assert read_all("x", Path(sys.argv[1]).read_bytes())
print(next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not DATA.is_dir(), reason="the folder of real exports is not on this machine")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from Linux's /proc")
def test_the_largest_real_file_is_read_in_300_mib():
    """In a process of its own, with everything it imports: a 384-well workbook of 2.5 MB, 20 MB unpacked."""
    path = max(DATA.glob("abi_da_xlsx/*.xlsx"), key=lambda one: one.stat().st_size)
    done = subprocess.run([sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 300 * 1024
