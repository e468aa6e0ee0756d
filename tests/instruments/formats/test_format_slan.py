"""SLAN-96 and MA-6000 workbooks, synthetic: no real one was at hand; and files refused by name."""

import io
import zipfile

import pytest
import xlsxwriter

import instruments
from instruments.formats.refused import ENTRIES

SLAN_HEAD = ["反应孔位", "样本编号", "目标名称", "通道", "类型", "Ct值", "Ct", "曲线"]
SLAN_ROWS = [
    ["A1", "T-1", "ORF1ab", "FAM", "待测样本", "", 25.5, 1],
    ["A1", "T-1", "N", "VIC", "待测样本", "", "-", 1],
    ["H12", "", "ORF1ab", "FAM", "阴性质控", "", "", 1],
    ["H12", "", "N", "VIC", "阴性质控", "", "NoCt", 1],
]


def book(rows, sheet="Results sheet", second=None):
    """A workbook of these rows."""
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True}) as workbook:
        for name, table in ((sheet, rows), (second, [["x"]])):
            if name:
                page = workbook.add_worksheet(name)
                for i, row in enumerate(table):
                    page.write_row(i, 0, row)
    return out.getvalue()


def slan(rows=SLAN_ROWS, head=SLAN_HEAD, model="型号 SLAN-96P"):
    """A synthetic SLAN workbook: the model in the first cells, names in row 14, a remark below."""
    return book([["SYNTHETIC", model], *[[]] * 12, head, *rows, [], ["备注", "x"]], second="曲线数据")


def test_a_slan_workbook_is_read():
    """Wells, samples, targets, dyes, Chinese controls and Cq; other columns and sheets are named."""
    run = instruments.read("x.csv", slan([*SLAN_ROWS[:3], [*SLAN_ROWS[3][:6], "-", 1]]))
    assert run.complete, run.reasons
    assert (run.format, run.instrument, run.block) == ("slan-96", "SLAN-96P", 96)
    assert [(r.well, r.sample, r.task, r.target, r.dye, r.cq) for r in run.readings] == [
        ("A1", "T-1", "unknown", "ORF1ab", "FAM", 25.5),
        ("A1", "T-1", "unknown", "N", "VIC", None),
        ("H12", "", "negative_control", "ORF1ab", "FAM", None),
        ("H12", "", "negative_control", "N", "VIC", None),
    ]
    assert {"column 曲线", "sheet 曲线数据"} <= set(run.unread)


def test_a_word_that_is_no_cq_is_said():
    """NoCt is not among the words the layout is known to use: the run is not complete."""
    run = instruments.read("x", slan())
    assert run.readings[3].flags == ("UNREAD_CQ",)
    assert not run.complete


@pytest.mark.parametrize(
    ("rows", "reason"),
    [(SLAN_ROWS[:3], "lack a target"), (SLAN_ROWS[:2] * 2, "two result rows"), ([], "no rows")],
)
def test_a_slan_table_that_lacks_rows_says_so(rows, reason):
    """A well without one of the targets, a doubled row, an empty table."""
    assert any(reason in sentence for sentence in instruments.read("x", slan(rows)).reasons)


def test_a_slan_workbook_without_its_columns_or_wells_is_refused():
    """The sentence names the columns; a well off the block names the line."""
    with pytest.raises(instruments.InstrumentError, match="反应孔") as caught:
        instruments.read("x", slan(head=["Pos", "Name"]))
    assert caught.value.code == "MISSING_COLUMN"
    with pytest.raises(instruments.InstrumentError) as caught:
        instruments.read("x", slan([["K1", *SLAN_ROWS[0][1:]]]))
    assert (caught.value.code, caught.value.line) == ("BAD_WELL", 15)


def test_an_ma_6000_workbook_is_read():
    """Well, Item, Reporter and Ct in the first row of the sheet Data&Graph."""
    rows = [["Well", "Item", "Reporter", "Ct"], ["A1", "N", "FAM", 22.25], ["A2", "N", "FAM", "-"]]
    run = instruments.read("x", book(rows, sheet="Data&Graph"))
    assert run.complete, run.reasons
    assert (run.format, run.instrument) == ("ma-6000", "MA-6000")
    assert [(r.well, r.target, r.dye, r.cq) for r in run.readings] == [
        ("A1", "N", "FAM", 22.25),
        ("A2", "N", "FAM", None),
    ]


GENOTYPING = [
    "* Block Type = 96\n* Experiment Type = Genotyping\n\n[Results]\nWell\tSample Name\tCall\n1\tA\tHom\n",
    "* Block Type = 96\n\n[Results]\nWell\tSNP Assay Name\tAllele1 Delta Rn\tAllele2 Delta Rn\n1\tA\t1\t2\n",
]


@pytest.mark.parametrize("text", GENOTYPING)
def test_genotyping_texts_are_refused_by_name(text):
    """Allele calls are no Cq, and the sentence says which run to export."""
    with pytest.raises(instruments.InstrumentError, match="SNP") as caught:
        instruments.read("x", text.encode())
    assert caught.value.code == "NOT_A_QUANTIFICATION"


@pytest.mark.parametrize(
    "rows",
    [
        [["Experiment Type", "Genotyping"], [], ["Well", "Sample Name", "Call"], [1, "A", "Hom"]],
        [["Block Type", "96"], [], ["Well", "Sample Name", "RnX", "RnY"], [1, "A", 1, 2]],
    ],
)
def test_genotyping_workbooks_are_refused_by_name(rows):
    """The same for workbooks, by the type of the experiment or by the columns."""
    with pytest.raises(instruments.InstrumentError, match="SNP"):
        instruments.read("x", book(rows, sheet="Results"))


def test_end_point_and_packed_files_are_refused_by_name():
    """An allelic-discrimination csv, a gzip and a zip of exports each get their sentence."""
    with pytest.raises(instruments.InstrumentError, match="end-point"):
        instruments.read("x", b",Well,Sample,Call,RFU1,RFU2\r\n,A01,T,Allele,100,200\r\n")
    with pytest.raises(instruments.InstrumentError, match="Unpack"):
        instruments.read("x", b"\x1f\x8b\x08\x00junk")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.csv", "x")
    with pytest.raises(instruments.InstrumentError, match="one by one") as caught:
        instruments.read("x", out.getvalue())
    assert caught.value.code == "UNKNOWN_FORMAT"


def test_what_is_refused_is_listed_for_the_guide():
    """Every entry says what, why and what to export instead."""
    assert all(len(entry) == 3 and all(entry) for entry in ENTRIES)
