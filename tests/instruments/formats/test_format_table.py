"""Tables described by the laboratory, on synthetic files."""

import io
import tomllib

import pytest
import xlsxwriter

import instruments
from instruments.formats.table import TableMapping, read_table

LONG = """
name = "synthetic-slan"
instrument = "SLAN-96P"
contains = ["SLAN-96P"]
header_row = 4
no_cq = ["-"]
[columns]
well = "反应孔"
sample = "样本"
target = "目标"
cq = "Ct"
task = "类型"
[tasks]
"阴性质控" = "negative_control"
[keys]
plate = "板号"
run_ended = "结束时间"
"""
WIDE = """
name = "wide"
delimiter = ";"
decimal = ","
end_mark = "END"
no_cq = ["NoCt"]
zero_is_none = true
[columns]
well = "Pos"
sample = "ID"
[[targets]]
name = "ORF1ab"
dye = "FAM"
cq = "Ct FAM"
call = "Call FAM"
[[targets]]
name = "N"
dye = "VIC"
cq = "Ct VIC"
"""


def mapping(toml):
    """A mapping from TOML text."""
    return TableMapping.from_mapping(tomllib.loads(toml))


def slan():
    """A synthetic workbook in the layout of a SLAN-96P export."""
    out = io.BytesIO()
    rows = [
        ["SLAN-96P"],
        ["板号", "", "P-3"],
        ["结束时间", "2022-12-01 08:00:00 UTC"],
        ["反应孔", "样本", "目标", "Ct", "类型", "曲线"],
        ["A1", "T-1", "N", 25.5, "样本", 1],
        ["A1", "T-1", "ORF1ab", "-", "样本", 1],
        ["H12", "", "N", "", "阴性质控", 1],
    ]
    with xlsxwriter.Workbook(out, {"in_memory": True}) as workbook:
        sheet = workbook.add_worksheet("S")
        for i, row in enumerate(rows):
            sheet.write_row(i, 0, row)
    return out.getvalue()


def test_a_described_workbook_is_read():
    """Columns, keys, tasks and spellings of none follow the description; the rest is named."""
    run = instruments.read("slan.xlsx", slan(), [mapping(WIDE), mapping(LONG)])
    assert (run.format, run.instrument, run.plate, run.complete) == (
        "table:synthetic-slan",
        "SLAN-96P",
        "P-3",
        True,
    )
    assert run.run_ended.isoformat() == "2022-12-01T08:00:00+00:00"
    assert [(r.well, r.target, r.cq, r.task) for r in run.readings] == [
        ("A1", "N", 25.5, "样本"),
        ("A1", "ORF1ab", None, "样本"),
        ("H12", "N", None, "negative_control"),
    ]
    assert run.unread == ("column 曲线",)


def test_without_its_words_a_mapping_does_not_fit():
    """Another cycler's table with the same columns is not taken for this one."""
    other = mapping(LONG.replace('["SLAN-96P"]', '["Gentier"]'))
    assert instruments.read("slan.xlsx", slan(), [other]).format == "slan-96"
    with pytest.raises(instruments.InstrumentError) as caught:
        instruments.read("x.csv", TEXT.encode(), [other])
    assert caught.value.code == "UNKNOWN_FORMAT"
    with pytest.raises(instruments.InstrumentError, match="synthetic-slan"):
        read_table("slan.xlsx", slan(), other)


TEXT = "Pos;ID;Ct FAM;Call FAM;Ct VIC\nA1;T-1;25,5;+;26,75\nA2;T-2;NoCt;-;0\nEND;;;;\n"


def test_a_wide_text_table_is_read():
    """One row per well gives one reading per described target, with decimal commas."""
    run = read_table("x.csv", TEXT.encode(), mapping(WIDE))
    assert run.complete, run.reasons
    assert [(r.key, r.cq, r.call) for r in run.readings] == [
        (("A1", "ORF1ab", "FAM"), 25.5, "+"),
        (("A1", "N", "VIC"), 26.75, ""),
        (("A2", "ORF1ab", "FAM"), None, "-"),
        (("A2", "N", "VIC"), None, ""),
    ]


def test_a_cut_text_table_is_never_complete():
    """At every byte the end mark is missing, or the line that carries it is open."""
    whole = {(r.key, r.cq) for r in read_table("x", TEXT.encode(), mapping(WIDE)).readings}
    for point in range(len(TEXT)):
        try:
            run = read_table("x", TEXT[:point].encode(), mapping(WIDE))
        except instruments.InstrumentError:
            continue
        assert not run.complete
        assert {(r.key, r.cq) for r in run.readings} <= whole


def test_declared_wells_prove_the_end():
    """A text without an end mark is complete when all declared wells are there, and says which are not."""
    toml = WIDE.replace('end_mark = "END"', 'wells = ["A1:A2"]')
    body = TEXT.replace("END;;;;\n", "")
    assert read_table("x", body.encode(), mapping(toml)).complete
    short = read_table("x", body.replace("A2;T-2;NoCt;-;0\n", "").encode(), mapping(toml))
    assert "A2 ORF1ab" in short.reasons[0]
    open_ended = read_table("x", body.encode(), mapping(WIDE.replace('end_mark = "END"', "")))
    assert open_ended.reasons == open_ended.assumptions != ()


def test_a_cell_that_is_no_number_is_never_no_cq():
    """A decimal point where a comma was declared is flagged and the run is not complete."""
    run = read_table("x", TEXT.replace("25,5", "25.5").encode(), mapping(WIDE))
    assert run.readings[0].flags == ("UNREAD_CQ",)
    assert not run.complete


def test_thousands_are_removed_only_when_declared():
    """1.025,5 is a number only where the mapping says that '.' groups thousands."""
    grouped = mapping(WIDE.replace('decimal = ","', 'decimal = ","\nthousands = "."'))
    data = TEXT.replace("25,5", "1.025,5").encode()
    assert read_table("x", data, grouped).readings[0].cq == 1025.5
    assert read_table("x", data, mapping(WIDE)).readings[0].cq is None


def test_double_rows_and_bad_wells_are_said():
    """Two rows for a well are a reason, a well that is not on the block an error with its line."""
    double = read_table("x", TEXT.replace("A2;", "A1;").encode(), mapping(WIDE))
    assert any("two rows" in reason for reason in double.reasons)
    with pytest.raises(instruments.InstrumentError) as caught:
        read_table("x", TEXT.replace("A2;", "K2;").encode(), mapping(WIDE))
    assert (caught.value.code, caught.value.line) == ("BAD_WELL", 3)


def test_a_table_without_rows_or_of_uneven_rows_is_not_complete():
    """Both are reasons."""
    head = TEXT.splitlines(keepends=True)[0]
    assert any("no rows" in r for r in read_table("x", head.encode(), mapping(WIDE)).reasons)
    assert any(
        "as wide" in r for r in read_table("x", TEXT.replace(";26,75", "").encode(), mapping(WIDE)).reasons
    )


@pytest.mark.parametrize(
    "described",
    [
        {"name": "x"},
        {"name": "x", "columns": {"well": "W"}},
        {"name": "x", "columns": {"well": "W", "cq": "C"}},
        {"name": "x", "columns": {"cq": "C", "target": "T"}},
        {"name": "x", "columns": {"well": "W", "cq": "C", "target": "T", "colour": "B"}},
        {"name": "x", "columns": {"well": "W", "cq": "C", "target": "T"}, "fancy": 1},
        {"name": "x", "columns": {"well": "W", "cq": "C", "target": "T"}, "block": 48},
        {"name": "x", "columns": {"well": "W", "cq": "C", "target": "T"}, "decimal": ",", "thousands": ","},
        {"name": "x", "columns": {"well": "W", "cq": "C", "target": "T"}, "wells": ["A1:K1"]},
        {"name": "x", "columns": {"well": "W", "cq": "C", "target": "T"}, "keys": {"weather": "Sun"}},
        {"name": "x", "columns": {"well": "W"}, "targets": [{"name": "N"}]},
        {"name": "x", "columns": "well"},
    ],
)
def test_a_mapping_that_contradicts_itself_is_refused(described):
    """Missing, unknown and contradicting keys are named when the mapping is loaded."""
    with pytest.raises(instruments.InstrumentError, match="Table mapping 'x'") as caught:
        TableMapping.from_mapping(described)
    assert caught.value.code == "BAD_MAPPING"
