"""``lis interpret``, ``lis assays``, ``lis pool design``, ``lis call``: documents, and bad input by line."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from command_line import called
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retest import AssayRules

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "retest" / "assays"


def interpret(capsys, monkeypatch, text: str | bytes, assay: str = "daan-2019-ncov", *more: str):
    """``lis interpret`` with this on stdin."""
    raw = text if isinstance(text, bytes) else text.encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8"))
    return called(capsys, "interpret", "--assay", assay, *more)


def test_interpretation_has_the_promised_shape(capsys, monkeypatch):
    """One object a specimen, in order, with exactly the promised keys and words."""
    text = "specimen,ORF1ab,N,IC\nA,25.1,26.2,28\nB,,,28\nC,,,\nD,30,,28\n"
    status, out, err = interpret(capsys, monkeypatch, text, "daan-2019-ncov", "--json")
    assert (status, err) == (0, "")
    rows = json.loads(out)
    assert [row["specimen"] for row in rows] == ["A", "B", "C", "D"]
    assert [row["outcome"] for row in rows] == ["positive", "negative", "invalid", "borderline"]
    for row in rows:
        assert set(row) == {"specimen", "outcome", "next", "rule", "assay_version"}
        assert row["next"] in {"conclude", "retest", "re-extract", "recollect", "test-singly"}


def test_interpretation_for_people_is_a_table(capsys, monkeypatch):
    """Without ``--json`` the same comes as a plain table."""
    status, out, _ = interpret(capsys, monkeypatch, "sample,ORF1ab,N,IC\nA,25.1,26.2,28\n")
    assert status == 0
    assert out.splitlines()[0].split() == ["specimen", "outcome", "next", "rule", "assay_version"]
    assert out.splitlines()[1].split()[:2] == ["A", "positive"]


def test_a_spreadsheets_byte_order_mark_is_no_obstacle(capsys, monkeypatch):
    """Excel's "CSV UTF-8" begins with a byte order mark; the header is understood all the same."""
    text = "\ufeffspecimen,ORF1ab,N,IC\r\nA,25.1,26.2,28\r\n"
    status, out, _ = interpret(capsys, monkeypatch, text, "daan-2019-ncov", "--json")
    assert (status, json.loads(out)[0]["outcome"]) == (0, "positive")


@pytest.mark.parametrize(
    ("text", "code", "names"),
    [
        ("", "CSV_HEADER", "specimen"),
        ("tube,ORF1ab\n", "CSV_HEADER", "specimen"),
        ("specimen,ORF1ab,N,IC\nA,25,26\n", "CSV_ROW", "Line 2"),
        ("specimen,ORF1ab,N,IC\n\nA,25,26,27\nB,25,x,27\n", "CSV_NUMBER", "Line 4"),
        ("specimen,ORF1ab,N,IC\nA,nan,26,27\n", "CSV_NUMBER", "Line 2"),
        ("specimen,ORF1ab,N,IC\nA,-3,26,27\n", "CSV_NUMBER", "Line 2"),
        ("specimen,ORF1ab,N,IC\nA,0,26,27\n", "CSV_NUMBER", "Line 2"),
        ("specimen,ORF1ab,Q,IC\nA,25,26,27\n", "UNKNOWN_TARGET", "Q"),
        ('specimen,ORF1ab,N,IC\n"A,25\n', "CSV_ROW", "line 2"),
        (b"specimen,ORF1ab,N,IC\n\xff\xfe,1,2,3\n", "CSV_ENCODING", "UTF-8"),
    ],
)
def test_bad_input_is_named_by_line(text: str | bytes, code: str, names: str, capsys, monkeypatch):
    """A malformed table is refused as a whole, with the line and what is wrong; nothing is interpreted."""
    status, out, err = interpret(capsys, monkeypatch, text, "daan-2019-ncov", "--json")
    assert (status, out) == (1, "")
    assert err.startswith(f"error: {code}: "), err
    assert names in err


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.binary(max_size=60))
def test_any_bytes_on_stdin_end_in_words(raw: bytes, capsys, monkeypatch):
    """Random bytes are interpreted or refused with a code; never a traceback."""
    status, _, err = interpret(capsys, monkeypatch, raw, "daan-2019-ncov", "--json")
    assert status in {0, 1}
    assert "Traceback" not in err
    assert "UNEXPECTED" not in err


def test_an_assay_can_be_a_file(capsys, monkeypatch):
    """``--assay`` takes the path of a rule file as well as an id."""
    path = str(SHIPPED / "daan-2019-ncov.toml")
    status, out, _ = interpret(capsys, monkeypatch, "specimen,ORF1ab,N,IC\nA,25,26,27\n", path, "--json")
    assert (status, json.loads(out)[0]["outcome"]) == (0, "positive")


# -- assays -------------------------------------------------------------------------------------------


def test_every_shipped_assay_is_listed_with_version_and_hash(capsys, tmp_path: Path):
    """``lis assays --json`` names each shipped rule file with the digest that calls are stamped with."""
    status, out, _ = called(capsys, "assays", "--json", "--data", str(tmp_path))
    found = {row["id"]: row for row in json.loads(out)}
    assert status == 0
    assert set(found) == {path.stem for path in SHIPPED.glob("*.toml")}
    for path in SHIPPED.glob("*.toml"):
        rules = AssayRules.from_toml(path.read_text(encoding="utf-8"), path.stem)
        assert found[rules.id]["hash"] == rules.digest
        assert found[rules.id]["version"] == rules.version


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_assay_passes_its_own_check(path: Path, capsys):
    """``lis assays check`` accepts what is shipped and says so."""
    status, out, err = called(capsys, "assays", "check", str(path), "--json")
    assert (status, err) == (0, "")
    assert json.loads(out)["ok"] is True


GOOD = (SHIPPED / "daan-2019-ncov.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "line_of", "key"),
    [
        ('version = "1"', "version = ", "version = ", ""),
        ('role = "internal_control"', 'role = "bystander"', 'role = "bystander"', "role"),
        ('name = "N"\n', 'name = "N"\ncolour = "blue"\n', "colour", "colour"),
        ('call = "positive"', 'call = "maybe"', 'call = "maybe"', "call"),
        ('op = "<=", ct = 40.0', 'op = "about", ct = 40.0', 'op = "about"', "op"),
    ],
)
def test_a_bad_rule_file_is_named_by_line_and_key(
    old: str, new: str, line_of: str, key: str, tmp_path: Path, capsys
):
    """The check names the file, the line and the key, and exits with 1."""
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    path = tmp_path / "broken.toml"
    path.write_text(text, encoding="utf-8")
    status, out, err = called(capsys, "assays", "check", str(path))
    line = next(number for number, content in enumerate(text.splitlines(), start=1) if line_of in content)
    assert (status, out) == (1, "")
    assert err.startswith("error: ")
    assert "broken.toml" in err
    assert f"line {line}" in err
    assert key in err


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"\x00" * 50, "id = 'x'".encode("utf-16")])
def test_a_file_that_is_no_rule_file_is_refused(content: bytes, tmp_path: Path, capsys):
    """An empty file, binary junk, another encoding: a sentence with the name of the file."""
    path = tmp_path / "junk.toml"
    path.write_bytes(content)
    status, out, err = called(capsys, "assays", "check", str(path))
    assert (status, out) == (1, "")
    assert err.startswith("error: ")
    assert "UNEXPECTED" not in err
    assert "junk.toml" in err


# -- pools and curves --------------------------------------------------------------------------------


def test_a_pool_design_has_the_promised_keys(capsys):
    """``lis pool design --json`` prints what programs rely on; the best size at 1 % is in the textbook range."""
    status, out, _ = called(capsys, "pool", "design", "--prevalence", "0.01", "--json")
    found = json.loads(out)
    keys = {
        "size",
        "stages",
        "tests_per_person",
        "sensitivity",
        "specificity",
        "ppv",
        "npv",
        "expected_tests",
        "saving",
    }
    assert status == 0
    assert keys <= set(found)
    assert 8 <= found["size"] <= 12
    assert found["tests_per_person"] == pytest.approx(1 / found["size"] + 1 - 0.99 ** found["size"], abs=1e-6)


@pytest.mark.parametrize(
    "arguments",
    [("--prevalence", "0"), ("--prevalence", "nan"), ("--prevalence", "2"), ("--prevalence", "0.1", "--size", "0"),
     ("--prevalence", "0.1", "--array", "8by12"), ("--prevalence", "0.1", "--sensitivity", "7")],
)  # fmt: skip
def test_an_impossible_pool_is_refused_in_words(arguments: tuple[str, ...], capsys):
    """A prevalence outside 0 to 1, a pool of nobody, a misspelt array: status 1 and a sentence."""
    status, out, err = called(capsys, "pool", "design", *arguments, "--json")
    assert (status, out) == (1, "")
    assert err.startswith("error: ")


def test_curves_without_any_amplification_print_valid_json(tmp_path: Path, capsys):
    """A plate on which nothing amplifies has no threshold: null, never the word Infinity."""
    from datetime import UTC, datetime

    from instruments.virtual import VirtualRun, VirtualWell, write_quantstudio

    at = datetime(2022, 12, 21, 8, 0, tzinfo=UTC)
    wells = [VirtualWell(f"A{n}", f"S{n}", "unknown", {"N": ("FAM", None)}) for n in range(1, 5)]
    path = tmp_path / "flat.txt"
    path.write_bytes(
        write_quantstudio(VirtualRun("P00000018", "qs5", "S", "QuantStudio 5", at, at, 96, wells))
    )
    status, out, err = called(capsys, "call", str(path), "--method", "cfx", "--json")

    def refuse(word: str) -> None:
        raise AssertionError(word)

    assert (status, err) == (0, "")
    assert json.loads(out, parse_constant=refuse)["wells"][0]["cq"] is None
