"""A first mapping for an unknown table, and the page that the readers write about themselves."""

import io
import json
import tomllib
from pathlib import Path

import pytest
import xlsxwriter

import instruments
from instruments.formats import READERS, guide
from instruments.formats.propose import propose
from instruments.formats.table import TableMapping, read_table
from lis.cli import main

CHINESE = [
    ["Gentier 96E 检测报告"],
    ["孔位", "样本编号", "靶标", "通道", "Ct值", "结果", "类型"],
    ["A1", "T-1", "N", "FAM", 25.5, "阳性", "样本"],
    ["A2", "T-2", "N", "FAM", "NoCt", "阴性", "样本"],
    ["H12", "", "N", "FAM", "", "阴性", "NTC"],
]


def book(rows):
    """A synthetic workbook."""
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True}) as workbook:
        sheet = workbook.add_worksheet("数据")
        for i, row in enumerate(rows):
            sheet.write_row(i, 0, row)
    return out.getvalue()


def test_a_chinese_workbook_gets_a_mapping_that_reads_it():
    """The proposal, as printed, already reads the file it was made from."""
    data = book(CHINESE)
    text = propose("报告 Gentier.xlsx", data)
    run = read_table("x", data, TableMapping.from_toml(text, "gentier.toml"))
    assert run.complete, run.reasons
    assert [(r.well, r.sample, r.target, r.dye, r.cq, r.call, r.task) for r in run.readings] == [
        ("A1", "T-1", "N", "FAM", 25.5, "阳性", "样本"),
        ("A2", "T-2", "N", "FAM", None, "阴性", "样本"),
        ("H12", "", "N", "FAM", None, "阴性", "ntc"),
    ]
    assert '"样本" = "?"' in text


WIDE = "Run;7\nWell;Sample;ORF1ab Ct;N Ct;N Ct Mean\nA1;T-1;25,5;UNK;26\nP24;T-2;30,1;31,7;31\n"


def test_a_wide_text_gets_a_target_for_each_column():
    """Several Cq columns, a decimal comma, 384 wells; a word that may mean anything stays a question."""
    text = propose("wide.csv", WIDE.encode())
    described = tomllib.loads(text)
    assert [(t["name"], t["cq"]) for t in described["targets"]] == [("ORF1ab", "ORF1ab Ct"), ("N", "N Ct")]
    assert (described["decimal"], described["block"], described["delimiter"]) == (",", 384, ";")
    assert described["no_cq"] == []
    assert '# add "UNK" to no_cq' in text
    run = read_table("x", WIDE.encode(), TableMapping.from_toml(text, "x"))
    assert run.readings[1].flags == ("UNREAD_CQ",)


@pytest.mark.parametrize(
    ("text", "hint"),
    [("Well,Sample\nA1,T\n", '# cq = "?"'), ("Well,Ct\nA1,20\n", '# target = "?"')],
)
def test_what_is_missing_is_asked_for(text, hint):
    """A table without a Cq or without targets gets a line to fill in, and is no mapping before that."""
    proposed = propose("x.csv", text.encode())
    assert hint in proposed
    with pytest.raises(instruments.InstrumentError, match="Table mapping"):
        TableMapping.from_toml(proposed, "x.toml")


@pytest.mark.parametrize("data", [b"hello\nworld\n", b"a,b\n1,2\n", b"\x00\x01"])
def test_a_file_that_is_no_table_gets_no_mapping(data):
    """The sentence says what is needed."""
    with pytest.raises(instruments.InstrumentError, match="columns") as caught:
        propose("x", data)
    assert caught.value.code == "UNKNOWN_FORMAT"


def test_a_mapping_that_is_no_toml_is_named():
    """File and place of the mistake are in the sentence; a file without a name takes the file's."""
    with pytest.raises(instruments.InstrumentError, match=r"bad\.toml.*TOML") as caught:
        TableMapping.from_toml("name = ", "bad.toml")
    assert caught.value.code == "BAD_MAPPING"
    text = 'delimiter = ","\n[columns]\nwell = "W"\ntarget = "T"\ncq = "C"\n'
    assert TableMapping.from_toml(text, "mine.toml").name == "mine"


# -- the guide and the commands --------------------------------------------------------------------

PAGE = Path(__file__).resolve().parents[3] / "docs" / "formats.md"


def test_the_page_is_what_the_readers_say():
    """docs/formats.md is the output of ``lis docs formats``."""
    assert PAGE.read_text(encoding="utf-8") == guide.page() + "\n"


def test_every_reader_says_what_it_reads_what_proves_it_and_what_it_leaves():
    """No format is without its proof of completeness and its limits."""
    found = list(guide.entries())
    assert [entry.format for entry in found] == [reader.format for reader in READERS]
    assert len({entry.format for entry in found}) == len(found)
    for entry in found:
        assert entry.title, entry
        assert entry.read, entry.format
        assert entry.complete.startswith("Complete"), entry.format
        assert entry.not_read.startswith("Not read"), entry.format


def run(capsys, *argv):
    """Output and exit status of a command."""
    with pytest.raises(SystemExit) if "fails" in argv else _nothing():
        main([word for word in argv if word != "fails"])
    return capsys.readouterr()


class _nothing:  # noqa: N801 - reads like contextlib.nullcontext
    def __enter__(self):
        return None

    def __exit__(self, *_):
        return False


def test_the_commands_list_propose_and_print(capsys, tmp_path):
    """``lis formats``, ``lis formats new`` and ``lis docs formats`` print what the functions return."""
    listed = json.loads(run(capsys, "formats", "--json").out)
    assert [row["format"] for row in listed] == [reader.format for reader in READERS]
    assert "rotor-gene" in run(capsys, "formats").out
    file = tmp_path / "wide.csv"
    file.write_text(WIDE)
    assert run(capsys, "formats", "new", str(file)).out == propose("wide.csv", WIDE.encode())
    assert run(capsys, "docs", "formats").out == guide.page() + "\n"
    file.write_text("nothing")
    assert "UNKNOWN_FORMAT" in run(capsys, "formats", "new", str(file), "fails").err
