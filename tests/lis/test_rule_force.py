"""Rules put in force by a person, the commands around them, and sheets on paper. Everything is made up."""

import csv
import io
import json
from pathlib import Path

import pytest
from pypdf import PdfReader
from rule_bench import ASSAY, compare, lab, restarted, run, shipped, stricter

from lis import cli, queries
from lis.errors import Conflict, Invalid, Refused
from lis.printing.rulesheet import as_rulesheet
from lis.rulebook import files
from lis.services import rule_force
from retest import AssayRules, RulesError

__all__ = ["lab"]


def activate(lab, text, by="Dr Li", reason="Validation report 7"):
    """Activate and install, as the command does."""
    with lab.database.write(by or "nobody") as unit:
        rules, done = rule_force.activate(unit, lab.rules, text, "new.toml", by=by, reason=reason)
    rule_force.install(lab.settings.data / "rules", rules, text)
    return done


def test_an_activated_file_is_in_force_and_the_old_version_stays_loadable(bench):
    """After the next start the new version reads new runs; the old run keeps its version; all is recorded."""
    (code,) = run(bench, [(37.0, 37.0, 27.0)])
    done = activate(bench.lab, stricter())
    assert (done.assay, done.version, done.replaces, done.by) == (ASSAY, "2", "1", "Dr Li")
    assert (done.reason, done.at) == ("Validation report 7", bench.clock.now().isoformat())
    with restarted(bench) as again:
        rules = again.lab.rules
        assert rules.assay(ASSAY).version == "2"
        assert rules.assay(ASSAY, "1").digest == AssayRules.from_toml(shipped()).digest
        (later,) = run(again, [(37.0, 37.0, 27.0)])
        with again.lab.database.read() as conn:
            said = {tube: calls[0].rule for tube, calls in queries.calls(conn, [code, later]).items()}
            assert rule_force.history(conn) == [done]
            assert rule_force.history(conn, "maccura") == []
        assert said == {code: "both-detected", later: "grey"}
        found = compare(again.lab, rules.assay(ASSAY, "1"), rules.assay(ASSAY))
        assert {change.specimen: change.recorded_version for change in found.changes} == {
            code: "1",
            later: "2",
        }


def test_a_changed_content_under_an_old_version_is_refused(bench):
    """A version is one content: in force now, spoken earlier, or activated earlier."""
    with pytest.raises(Conflict) as caught:
        activate(bench.lab, stricter(version="1"))
    assert caught.value.code == "RULES_EDITED"
    activate(bench.lab, stricter())
    with restarted(bench) as again:
        activate(again.lab, stricter(version="3"))
    with restarted(bench) as again:
        with pytest.raises(Conflict):
            activate(again.lab, stricter(version="2", late="35.0"))
        activate(again.lab, stricter())  # the old content under its old version may come back
    with restarted(bench) as again, again.lab.database.read() as conn:
        assert again.lab.rules.assay(ASSAY).version == "2"
        assert [(one.version, one.replaces) for one in rule_force.history(conn)] == [
            ("2", "1"),
            ("3", "2"),
            ("2", "3"),
        ]


def test_a_new_assay_replaces_nothing(lab):
    """A kit nobody had is activated like any other."""
    text = stricter().replace(f'id = "{ASSAY}"', 'id = "own-kit"')
    assert activate(lab, text).replaces == ""
    assert (lab.settings.data / "rules" / "assays" / "own-kit.toml").read_text("utf-8") == text
    assert not list((lab.settings.data / "rules").rglob("*.part"))


@pytest.mark.parametrize(
    ("change", "error", "code"),
    [
        ({"by": "  "}, Invalid, "PERSON"),
        ({"reason": ""}, Invalid, "REASON"),
        ({"text": shipped()}, Refused, "ALREADY_IN_FORCE"),
        ({"text": stricter().replace("low = 36.0", "low = 36.5")}, RulesError, "band-gap"),
    ],
)
def test_what_is_not_activated(lab, change, error, code):
    """No person, no reason, nothing new, or a bad file: refused, and nothing is recorded or written."""
    given = {"text": stricter(), "by": "Dr Li", "reason": "x"} | change
    with pytest.raises(error) as caught:
        activate(lab, given.pop("text"), **given)
    assert caught.value.code == code
    assert not (lab.settings.data / "rules" / "assays").exists()
    with lab.database.read() as conn:
        assert queries.rule_versions(conn, "assay") + queries.rule_versions(conn, rule_force.ACTIVATION) == []


def test_a_closed_account_answers_for_nothing(lab):
    """The name of a person who has left is refused; an open account and a name without account are taken."""
    with lab.database.write("admin") as unit:
        queries.insert_rows(
            unit.conn,
            "account",
            [
                {
                    "name": name,
                    "full_name": name,
                    "role": "manager",
                    "password": "x",
                    "active": active,
                    "created_at": unit.now,
                }
                for name, active in (("gone", False), ("here", True))
            ],
        )
    with pytest.raises(Refused) as caught:
        activate(lab, stricter(), by="gone")
    assert caught.value.code == "PERSON"
    assert activate(lab, stricter(), by="here").by == "here"


def test_the_record_of_an_activation_cannot_be_changed(lab):
    """Who, when and why stand in an append-only table of the database."""
    activate(lab, stricter())
    with lab.database.read() as conn:
        (row,) = queries.rule_versions(conn, rule_force.ACTIVATION)
    assert json.loads(row["content"])["by"] == "Dr Li"
    with pytest.raises(Exception, match="append-only"), lab.database.write("x") as unit:
        queries.update_row(unit.conn, "rulebook", {"kind": rule_force.ACTIVATION}, content="{}")


# -- commands and paper --------------------------------------------------------------------------


def lis(capsys, *arguments):
    """Run the command line; (exit status, stdout, stderr)."""
    try:
        cli.main([str(argument) for argument in arguments])
        status = 0
    except SystemExit as leave:
        status = leave.code or 0
    said = capsys.readouterr()
    return status, said.out, said.err


def test_the_commands_from_comparison_to_force(embedded, tmp_path, capsys):
    """Diff as JSON and as a table, check, activate, history, list: as a director would use them."""
    folder = embedded.lab.settings.data
    codes = run(embedded, [(37.0, 37.0, 27.0), (None, None, 27.0)])
    path = tmp_path / "new.toml"
    path.write_text(stricter(), encoding="utf-8")
    status, out, _ = lis(capsys, "assays", "diff", ASSAY, path, "--on", "all", "--data", folder, "--json")
    assert status == 0
    document = json.loads(out)
    assert (document["old"], document["new"], document["runs"], document["specimens"]) == (
        "kinghawk@1", "kinghawk@2", 1, 2,
    )  # fmt: skip
    assert [row["specimen"] for row in document["changed"]] == [codes[0]]
    status, out, _ = lis(capsys, "assays", "diff", ASSAY, path, "--on", "2022-12-21", "--data", folder)
    assert codes[0] in out
    assert out.splitlines()[-1] == "1 of 2 readings in 1 runs change, kinghawk@1 to kinghawk@2"
    _, out, _ = lis(capsys, "assays", "diff", ASSAY, ASSAY, "--on", "all", "--data", folder)
    assert out == "0 of 2 readings in 1 runs change, kinghawk@1 to kinghawk@1\n"
    order = ("assays", "activate", path, "--by", "Dr Li", "--reason", "report 7", "--data", folder)
    status, out, _ = lis(capsys, *order)
    assert (status, "kinghawk version 2 is in force" in out) == (0, True)
    status, out, err = lis(capsys, *order, "--json")
    assert (status, out) == (1, "")
    assert err.startswith("error: ALREADY_IN_FORCE: ")
    path.write_text(stricter(version="3"), encoding="utf-8")
    status, out, _ = lis(capsys, *order, "--json")
    assert json.loads(out)["replaces"] == "2"
    _, out, _ = lis(capsys, "assays", "history", "--data", folder, "--json")
    assert [row["version"] for row in json.loads(out)] == ["2", "3"]
    _, out, _ = lis(capsys, "assays", "history", ASSAY, "--data", folder)
    assert "report 7" in out
    _, out, _ = lis(capsys, "assays", "--data", folder, "--json")
    assert {row["id"]: row["version"] for row in json.loads(out)}[ASSAY] == "3"
    _, out, _ = lis(capsys, "assays", "--data", folder)
    assert ASSAY in out


def test_check_says_what_is_off_and_where_a_fault_is(tmp_path, capsys):
    """A good file is confirmed with its switched-off rows; a bad one exits 1 with its line."""
    path = tmp_path / "new.toml"
    path.write_text(stricter() + '\n[off]\ngrey = "lot 7"\n', encoding="utf-8")
    status, out, _ = lis(capsys, "assays", "check", path)
    assert status == 0
    assert "complete and unambiguous" in out
    assert "switched off: grey: lot 7" in out
    _, out, _ = lis(capsys, "assays", "check", path, "--json")
    assert json.loads(out)["off"] == {"grey": "lot 7"}
    path.write_text(stricter().replace("low = 36.0", "low = 36.5"), encoding="utf-8")
    status, _, err = lis(capsys, "assays", "check", path)
    assert status == 1
    assert err.startswith("error: BAND_GAP: new.toml, line ")


def test_the_sheet_as_csv_and_pdf(tmp_path, capsys):
    """On stdout, or in files: CSV that a spreadsheet opens as UTF-8, and a PDF with a place to sign."""
    data = ("--data", tmp_path / "none")
    _, out, _ = lis(capsys, "assays", "sheet", ASSAY, *data)
    rows = list(csv.DictReader(io.StringIO(out)))
    assert rows[0]["tested"] == "ORF1ab < 38"
    one, two = tmp_path / "sheet.csv", tmp_path / "sheet.pdf"
    status, out, _ = lis(capsys, "assays", "sheet", ASSAY, "--csv", one, "--pdf", two, *data)
    assert (status, out) == (0, "")
    assert one.read_bytes().startswith(b"\xef\xbb\xbfassay,version")
    assert list(csv.DictReader(io.StringIO(one.read_text("utf-8-sig")))) == rows
    assert two.read_bytes().startswith(b"%PDF")
    path = tmp_path / "own.toml"
    path.write_text(stricter(), encoding="utf-8")
    _, out, _ = lis(capsys, "assays", "sheet", path, *data)
    assert "ORF1ab < 36" in out
    status, _, err = lis(capsys, "assays", "sheet", "nothing", *data)
    assert status == 1
    assert err.startswith("error: ASSAY_UNKNOWN: ")


def test_the_pdf_says_everything_in_both_languages(clock):
    """Every line of the sheet, the version and digest, what is off, and the place to sign, are on paper."""
    text = stricter() + '\n[off]\ngrey = "批号7可疑"\n'
    rules = AssayRules.from_toml(text)
    made = as_rulesheet(rules, clock.now())
    assert made == as_rulesheet(rules, clock.now())
    pages = [" ".join(page.extract_text().split()) for page in PdfReader(io.BytesIO(made)).pages]
    whole = " ".join(pages)
    for word in (rules.digest, "version 版本 2", "批号7可疑", "ORF1ab < 36", "35.99", "rule-off", "positive 阳性",
                 "negative 阴性", "borderline 待定", "invalid 无效", "Signature 签名", "本人已逐行核对"):  # fmt: skip
        assert word in whole, word
    for number, page in enumerate(pages, 1):
        assert f"Page {number}/{len(pages)} 页" in page
        assert "Boundary sheet 界值核对表" in page


@pytest.mark.parametrize("name", [name for name, _ in files("assays")])
def test_every_shipped_assay_can_be_printed(name, clock):
    """No sheet is too wide or too long for its paper; the last page has the place to sign."""
    rules = AssayRules.from_toml(dict(files("assays"))[name])
    pages = PdfReader(io.BytesIO(as_rulesheet(rules, clock.now()))).pages
    assert "Signature" in pages[-1].extract_text()


def test_the_page_of_rules_is_printed_by_its_command(capsys):
    """`lis docs rules` prints what stands in docs/rules.md."""
    status, out, _ = lis(capsys, "docs", "rules")
    assert status == 0
    assert out == (Path(__file__).resolve().parents[2] / "docs" / "rules.md").read_text("utf-8")
