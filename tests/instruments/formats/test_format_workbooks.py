"""Workbooks and their containers, on synthetic files."""

import io
import struct
import zipfile

import pytest
import xlsxwriter

import instruments
from instruments.formats import container

HEADER = [
    "Well",
    "Well Position",
    "Omit",
    "Sample",
    "Target",
    "Task",
    "Reporter",
    "Amp Status",
    "Cq",
    "Threshold",
]
ROWS = [
    [1, "A1", "FALSE", "T-1", "N ", "UNKNOWN", "FAM", "AMP", 25.5, 0.1],
    [1, "A1", "FALSE", "T-1", "RP", "UNKNOWN", "VIC", "NO_AMP", "UNDETERMINED", 0.2],
    [96, "H12", "TRUE", "", "N", "NTC", "FAM", "INCONCLUSIVE", "", 0.1],
]
DA_KEYS = [
    ["File Name", "synthetic.eds"],
    ["Barcode", "P-9"],
    ["Instrument Type", "QuantStudio 5 System"],
    ["Block Type", "96-Well 0.2-mL Block"],
    ["Run End Data/Time", "2022-12-01 08:00:00 AM UTC"],
    ["Software Name and Version", "Design & Analysis Software v2.7.0"],
    [],
]


def book(sheets):
    """A workbook of these sheets."""
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True}) as workbook:
        for name, rows in sheets.items():
            sheet = workbook.add_worksheet(name)
            for i, row in enumerate(rows):
                sheet.write_row(i, 0, row)
    return out.getvalue()


DATA = book({"Results": [*DA_KEYS, HEADER, *ROWS], "Raw Data": [["x"]]})


def test_a_design_and_analysis_workbook_is_read():
    """Keys, targets without their trailing blank, tasks, status flags and unread sheets."""
    run = instruments.read("x.csv", DATA)
    assert (run.format, run.plate, run.block, run.complete) == ("design-analysis", "P-9", 96, True)
    assert [(r.well, r.target, r.task, r.cq, r.flags) for r in run.readings] == [
        ("A1", "N", "unknown", 25.5, ()),
        ("A1", "RP", "unknown", None, ("NO_AMP",)),
        ("H12", "N", "ntc", None, ("OMIT", "INCONCLUSIVE")),
    ]
    assert dict(run.thresholds) == {"N": 0.1, "RP": 0.2}
    assert "sheet Raw Data" in run.unread


@pytest.mark.parametrize(
    ("block", "number", "agrees"),
    [
        ("96-Well 0.2-mL Block", 96, True),
        ("96-Well 0.2-mL Block", 192, False),  # where 384 wells have it
        ("384-Well Block", 96, False),
        ("384-Well Block", 180, True),
        ("not told", 96, True),
        ("not told", 180, True),
        ("not told", 95, False),
    ],
)
def test_well_numbers_are_held_to_positions_by_the_size_of_the_block(block: str, number: int, agrees: bool):
    """H12 is number 96 of 96 and 180 of 384; where the size is not told either is taken, and nothing else."""
    keys = [["Block Type", block] if row[:1] == ["Block Type"] else row for row in DA_KEYS]
    rows = [*ROWS[:2], [number, *ROWS[2][1:]]]
    run = instruments.read("x", book({"Results": [*keys, HEADER, *rows]}))
    assert [one.well for one in run.readings] == ["A1", "A1", "H12"]
    named = f"line {len(keys) + 4}: well number {number} is not position H12"
    assert (run.complete, any(named in reason for reason in run.reasons)) == (agrees, not agrees)


@pytest.mark.parametrize(
    ("sheet", "rows"),
    [
        ("Target Call", [["Well", "Well Position", "Target", "Call"], [2, "A1", "N", "POSITIVE"]]),
        ("Amplification Data", [["Well", "Well Position", "Cycle", "Target", "Rn"], [2, "A1", 1, "N", 0.5]]),
        ("Sample Setup", [["Well", "Well Position", "Target", "Sample"], [2, "A1", "N", "T-1"]]),
    ],
)
def test_a_row_that_names_two_wells_is_named_on_every_sheet(sheet: str, rows: list):
    """Calls and curves are joined by well: with a row whose number contradicts its position no file is whole."""
    run = instruments.read("x", book({"Results": [*DA_KEYS, HEADER, *ROWS], sheet: rows}))
    assert not run.complete
    assert any(
        f"{sheet} names two wells" in one and "line 2: well number 2 is not position A1" in one
        for one in run.reasons
    )


def test_a_7500_workbook_saved_as_xlsx_is_a_7500():
    """The header says what it is, whatever the container."""
    keys = [
        ["Block Type", "96alum"],
        ["Instrument Type", "sds7500"],
        ["Experiment Run End Time", "2021-01-02 08:56:35 AM VET"],
    ]
    header = ["Well", "Sample Name", "Target Name", "Task", "Reporter", "Cт", "HIGHSD", "NOAMP"]
    rows = [
        ["A1", "S", "E", "UNKNOWN", "VIC", "Undetermined", "N", "Y"],
        ["A1", "S", "RP", "UNKNOWN", "CY5", 26.5, "N", "Y"],
    ]
    run = instruments.read("a.xls", book({"Results": [*keys, [], header, *rows]}))
    assert (run.format, run.flags_scope, run.complete) == ("sds7500", "well", True)
    assert [(r.cq, r.flags) for r in run.readings] == [(None, ("NOAMP",)), (26.5, ("NOAMP",))]


def test_remarks_under_the_table_are_no_wells():
    """Comparative Ct exports end in remarks, with or without a blank row between."""
    remarks = [["Analysis Type", "Singleplex"], ["Reference Sample", "1"]]
    for gap in ([], [[]]):
        run = instruments.read("x", book({"Results": [*DA_KEYS, HEADER, *ROWS, *gap, *remarks]}))
        assert len(run.readings) == 3
        assert {"footer Analysis Type", "footer Reference Sample"} <= set(run.unread)


def test_curves_of_a_workbook_carry_the_dye_of_their_results():
    """The amplification sheet names no dye and may list empty wells; both kinds of curve count once."""
    header = ["Well", "Well Position", "Cycle Number", "Target", "Rn", "dRn"]
    rows = [[1, "A1", n, target, 0.5 + n, 0.1 * n] for target in ("N", "RP") for n in range(1, 6)]
    rows += [[2, "A2", 1, "", "", ""]]
    sheets = {"Results": [*DA_KEYS, HEADER, *ROWS], "Amplification Data": [*DA_KEYS, [], header, *rows]}
    run = instruments.read("x", book(sheets))
    assert {(c.well, c.target, c.dye, c.kind) for c in run.curves} == {
        ("A1", target, dye, kind) for target, dye in (("N", "FAM"), ("RP", "VIC")) for kind in ("rn", "drn")
    }
    assert run.curve_count == 2
    with pytest.raises(ValueError, match="read-only"):
        run.curves[0].values[0] = 1.0
    odd = {"Results": sheets["Results"], "Amplification Data": [*DA_KEYS, ["Well", "Rn", "dRn"], [1, 2, 3]]}
    assert instruments.read("x", book(odd)).curves == ()


def test_a_run_without_an_end_is_not_complete_in_a_workbook():
    """A blank run end means exported mid-run."""
    keys = [[*row[:1], ""] if row and row[0].startswith("Run End") else row for row in DA_KEYS]
    assert not instruments.read("x", book({"Results": [*keys, HEADER, *ROWS]})).complete


def test_an_unknown_workbook_is_refused():
    """A workbook of something else is not misread."""
    with pytest.raises(instruments.InstrumentError) as caught:
        instruments.read("x.xlsx", book({"Results": [["Well", "Plant", "Height"], ["A1", "Oak", 3]]}))
    assert caught.value.code == "UNKNOWN_FORMAT"


def test_results_without_a_cq_column_are_refused():
    """The sentence names the column."""
    header = [name if name != "Cq" else "Height" for name in HEADER]
    with pytest.raises(instruments.InstrumentError, match="CT or Cq") as caught:
        instruments.read("x", book({"Results": [*DA_KEYS, header, *ROWS]}))
    assert caught.value.code == "MISSING_COLUMN"


def test_a_workbook_cut_at_any_byte_is_refused():
    """No cut of an archive opens."""
    for point in range(1, len(DATA)):
        with pytest.raises(instruments.InstrumentError) as caught:
            instruments.read("x", DATA[:point])
        assert caught.value.code in {"INCOMPLETE_FILE", "DAMAGED_FILE", "UNKNOWN_FORMAT"}


def test_a_bomb_is_refused_by_what_it_declares_and_by_what_it_holds(monkeypatch):
    """A member that declares too much, or unpacks to more than it declares, is never opened."""
    monkeypatch.setattr(container, "UNPACKED_LIMIT", 10_000)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b"0" * 20_000)
    with pytest.raises(instruments.InstrumentError) as caught:
        instruments.read("bomb.xlsx", out.getvalue())
    assert caught.value.code == "TOO_LARGE"
    liar = bytearray(out.getvalue())
    directory = liar.rfind(b"PK\x01\x02")
    struct.pack_into("<I", liar, directory + 24, 100)
    with pytest.raises(instruments.InstrumentError) as caught:
        instruments.read("bomb.xlsx", bytes(liar))
    assert caught.value.code == "DAMAGED_FILE"


def test_an_archive_whose_directory_lies_is_damaged():
    """A member that is not where the directory says, or is packed in a way no exporter uses, is not read."""
    moved = bytearray(DATA)
    second = moved.find(b"PK\x03\x04", 4)
    moved[second : second + 4] = b"none"
    odd = io.BytesIO()
    with zipfile.ZipFile(odd, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("xl/workbook.xml", b"0" * 500)
    for data in (bytes(moved), odd.getvalue()):
        with pytest.raises(instruments.InstrumentError) as caught:
            instruments.read("x.xlsx", data)
        assert caught.value.code == "DAMAGED_FILE"
        assert "does not match its checksum" in caught.value.sentence


def ole(*, power: int = 9, sectors: int = 3, table: tuple[int, ...] = (), further: bool = False) -> bytes:
    """An OLE file of so many sectors with one allocation table, in the header or in a chain behind it.

    ``table`` is the allocation table, filled up as free ([MS-CFB] 2.2 to 2.5).
    """
    size = 1 << power
    head = bytearray(size)
    head[:8] = container.OLE_MAGIC
    struct.pack_into("<H", head, 30, power)
    struct.pack_into("<II", head, 68, *((1, 2) if further else (0xFFFFFFFE, 0)))
    struct.pack_into("<109I", head, 76, *([0xFFFFFFFF] * 109 if further else [0, *[0xFFFFFFFF] * 108]))
    words = size // 4
    allocation = struct.pack(f"<{words}I", *table, *[0xFFFFFFFF] * (words - len(table)))
    chain = struct.pack(f"<{words}I", 0, *[0xFFFFFFFF] * (words - 2), 0xFFFFFFFE)
    return (bytes(head) + allocation + chain + bytes(size * 8))[: size * (1 + sectors)]


@pytest.mark.parametrize("power", [9, 12])
@pytest.mark.parametrize("further", [False, True], ids=["table in the header", "table behind it"])
def test_a_compound_file_holds_every_sector_its_table_speaks_of(power: int, further: bool):
    """Whole is whole and one sector less is cut, for both sizes of sector, wherever the allocation table stands."""
    used = (0xFFFFFFFD, 0xFFFFFFFC, 3, 0xFFFFFFFE)
    container.check_ole("x.xls", ole(power=power, sectors=4, table=used, further=further))
    for sectors in range(4):
        with pytest.raises(instruments.InstrumentError) as caught:
            container.check_ole("x.xls", ole(power=power, sectors=sectors, table=used, further=further))
        assert caught.value.code == "INCOMPLETE_FILE"


def test_a_compound_file_of_another_sector_size_is_no_workbook():
    """Sectors are 512 or 4,096 bytes; a header that says otherwise is not followed."""
    with pytest.raises(instruments.InstrumentError) as caught:
        container.check_ole("x.xls", ole(power=10, table=(0xFFFFFFFD, 0xFFFFFFFE)))
    assert caught.value.code == "INCOMPLETE_FILE"


def test_a_workbook_with_keys_but_without_a_table_names_what_is_missing():
    """The header alone, or a table whose first columns are not wells, is a missing results table."""
    for rows in ([["Plate map follows"]], [["Sample", "Cq"], ["T-1", 25.0]]):
        with pytest.raises(instruments.InstrumentError) as caught:
            instruments.read("x.xlsx", book({"Results": [*DA_KEYS, *rows]}))
        assert caught.value.code == "MISSING_SHEET"
        assert "Export it again with Results ticked" in caught.value.sentence


def test_an_encrypted_archive_is_refused_by_name():
    """The flag of the archive is enough, whatever the extension."""
    data = bytearray(DATA)
    data[data.rfind(b"PK\x01\x02") + 8] |= 1
    for name, hint in (("run.pcrd", "CFX Maestro"), ("run.zip", "without a password")):
        with pytest.raises(instruments.InstrumentError, match=hint) as caught:
            instruments.read(name, bytes(data))
        assert caught.value.code == "ENCRYPTED_FILE"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "EMPTY_FILE"),
        (b" \r\n\t", "EMPTY_FILE"),
        (b"\0" * 4096, "EMPTY_FILE"),
        (b"hello\n", "UNKNOWN_FORMAT"),
        (b"\x00\xffgarbage" * 99, "UNKNOWN_FORMAT"),
        (b"PK\x03\x04broken", "INCOMPLETE_FILE"),
        (container.OLE_MAGIC + b"\0" * 40, "INCOMPLETE_FILE"),
        (container.OLE_MAGIC + b"\1" * 4096, "INCOMPLETE_FILE"),
        (b"\xff\xfe\x00", "UNKNOWN_FORMAT"),
    ],
)
def test_what_is_no_export_gets_a_sentence(data, code):
    """Empty files, junk and broken containers raise an error with file and next step, never a traceback."""
    with pytest.raises(instruments.InstrumentError) as caught:
        instruments.read("odd", data)
    assert caught.value.code == code
    assert str(caught.value).startswith("odd: ")


def test_a_huge_file_is_refused_unread():
    """200 MB are refused by their length."""
    with pytest.raises(instruments.InstrumentError, match="200 MiB") as caught:
        instruments.read("huge", bytes([1]) * (200 * 2**20))
    assert caught.value.code == "TOO_LARGE"


def test_whatever_breaks_in_a_reader_becomes_a_sentence(monkeypatch):
    """A fault nobody thought of still reaches the technician as an InstrumentError."""
    from instruments.formats import workbook

    monkeypatch.setattr(workbook, "header_row", lambda rows: 1 // 0)
    with pytest.raises(instruments.InstrumentError, match="ZeroDivisionError") as caught:
        instruments.read("x", DATA)
    assert caught.value.code == "UNREADABLE_FILE"


def test_sniff_names_the_reader():
    """The reader is found without reading the results."""
    assert instruments.sniff("x", DATA).format == "design-analysis"
