"""The rule laboratory, on runs that were read through the real services. Everything here is made up."""

import csv
import io
import json
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from bench import Bench
from pypdf import PdfReader

from lis import cli, laboratory, queries
from lis.errors import Conflict, Invalid, NotFound, Refused
from lis.printing.rulesheet import as_rulesheet
from lis.rulebook import files
from lis.services import rule_lab
from retest import AssayRules, RulesError

SHANGHAI = ZoneInfo("Asia/Shanghai")
ASSAY = "kinghawk"


def shipped():
    """The shipped file of the assay."""
    return dict(files("assays"))[ASSAY]


def stricter(version="2", late="36.0"):
    """The same kit with an earlier cutoff and a grey band from there on."""
    text = shipped().replace('version = "1"', f'version = "{version}"')
    return text.replace('{ op = "<", ct = 38.0 }', f'{{ op = "<", ct = {late} }}').replace(
        "low = 38.0", f"low = {late}"
    )


@pytest.fixture
def lab(embedded):
    """A laboratory on the embedded database."""
    return embedded.lab


def run(bench, cqs, **controls):
    """Read one run with a tube for each triple of Cq (ORF1ab, N, IC); the tubes' codes."""
    codes = bench.singles(len(cqs))
    given = {**dict(zip(codes, cqs, strict=True)), **controls}
    signals = {name: dict(zip(("ORF1ab", "N", "IC"), triple, strict=True)) for name, triple in given.items()}
    done = bench.cycle(codes, signals, assay=ASSAY)
    assert done.ingested.state == "read", done.ingested
    return codes


@contextmanager
def restarted(bench):
    """The same laboratory after its next start."""
    with laboratory.open_laboratory(bench.lab.settings, bench.clock) as again:
        yield Bench(again, bench.clock, bench.numbers)


def compare(lab, old, new, period="all"):
    """The difference of two versions, and nothing written."""
    with lab.database.read() as conn:
        before = queries.count_of(conn, "event")
        found = rule_lab.diff(conn, lab.rules, old, new, rule_lab.period(period, SHANGHAI))
        assert queries.count_of(conn, "event") == before
    return found


def test_every_changed_outcome_is_listed_and_no_other(bench):
    """Under an earlier cutoff exactly the late positives change; each is shown beside what was recorded."""
    cqs = [(37.0, 37.0, 27.0), (30.0, 30.0, 27.0), (36.0, 30.0, 27.0), (None, None, 27.0), (None, None, None)]
    codes = run(bench, cqs)
    old, new = bench.lab.rules.assay(ASSAY), AssayRules.from_toml(stricter())
    found = compare(bench.lab, old, new)
    assert (found.old, found.new, found.runs, found.specimens) == ("kinghawk@1", "kinghawk@2", 1, 5)
    rows = {change.specimen: change.as_json() for change in found.changes}
    assert set(rows) == {codes[0], codes[2]}
    late = rows[codes[0]]
    assert (late["old_outcome"], late["old_rule"], late["old_next"]) == (
        "positive",
        "both-detected",
        "conclude positive",
    )
    assert (late["new_outcome"], late["new_rule"], late["next"]) == ("borderline", "grey", "re-amplify")
    assert (late["recorded"], late["recorded_rule"], late["recorded_version"]) == (
        "positive",
        "both-detected",
        "1",
    )
    assert late["well"] == "A1"
    with bench.lab.database.read() as conn:
        assert queries.run_row(conn, late["run"]) is not None
    assert rows[codes[2]]["new_rule"] == "grey-and-detected"
    assert compare(bench.lab, old, old).changes == ()


def test_only_the_period_is_replayed(bench):
    """Days are those of the laboratory's zone, first and last included; other days and assays are left out."""
    run(bench, [(37.0, 37.0, 27.0)])  # read at 14:00 UTC, 22:00 on the 21st in Shanghai
    bench.clock.advance(timedelta(hours=3))
    run(bench, [(37.0, 37.0, 27.0)])  # read at 19:00 UTC, 03:00 on the 22nd
    old, new = bench.lab.rules.assay(ASSAY), AssayRules.from_toml(stricter())
    counts = {
        period: len(compare(bench.lab, old, new, period).changes)
        for period in (
            "2022-12-20",
            "2022-12-21",
            "2022-12-22",
            "2022-12-21..2022-12-22",
            "2022-12-01..2022-12-31",
            "all",
        )
    }
    assert list(counts.values()) == [0, 1, 1, 2, 2, 2]
    assert compare(bench.lab, bench.lab.rules.assay("maccura"), new).runs == 0


def test_controls_are_judged_again(bench):
    """Rules that ask for a stronger positive control void the run: every tube of it changes to void."""
    codes = run(bench, [(30.0, 30.0, 27.0), (None, None, 27.0)], PC=(33.0, 33.0, 27.0))
    old = bench.lab.rules.assay(ASSAY)
    text = shipped().replace('version = "1"', 'version = "2"')
    head, _, rest = text.partition('kind = "PC"')
    strict = (
        head
        + 'kind = "PC"'
        + rest.replace('ORF1ab = "detected"', 'ORF1ab = { state = "detected", most = 32.0 }', 1)
    )
    found = compare(bench.lab, old, AssayRules.from_toml(strict))
    assert {
        change.specimen: (change.new.outcome, change.new.next) for change in found.changes
    } == dict.fromkeys(codes, ("void", "repeat"))
    back = compare(bench.lab, AssayRules.from_toml(strict), old)
    assert {change.old.outcome for change in back.changes} == {"void"}


def test_a_void_run_has_nothing_recorded(bench):
    """Where the controls failed, no call was recorded; under rules that tolerate it the tubes are read."""
    run(bench, [(None, None, 27.0)], NTC=(39.9, None, None))
    text = shipped().replace('version = "1"', 'version = "2"')
    kind = text.index('kind = "NTC"')
    tolerant = text[:kind] + text[kind:].replace(
        'ORF1ab = "absent"', 'ORF1ab = { state = "absent", tolerate_from = 39.0 }', 1
    )
    (change,) = compare(bench.lab, bench.lab.rules.assay(ASSAY), AssayRules.from_toml(tolerant)).changes
    assert (change.old.outcome, change.new.outcome, change.recorded) == ("void", "negative", "")


def test_a_changed_ladder_is_a_change(bench):
    """The same call with another next step is listed: the bench would have done something else."""
    run(bench, [(30.0, None, 27.0), (30.0, 30.0, 27.0)])
    text = shipped().replace('version = "1"', 'version = "2"')
    row = next(row for row in AssayRules.from_toml(text).decision if row.kind == "single-target")
    other = text.replace(f'id = "{row.id}"', 'id = "alone"').replace(
        "[ladder.borderline]",
        '[ladder.alone]\nsteps = ["recollect"]\nend = "inconclusive"\n\n[ladder.borderline]',
        1,
    )
    (change,) = compare(bench.lab, bench.lab.rules.assay(ASSAY), AssayRules.from_toml(other)).changes
    assert (change.old.outcome, change.new.outcome) == ("borderline", "borderline")
    assert (change.old.next, change.new.next) == ("re-extract", "recollect")


def test_rules_without_a_name_for_a_target_are_refused(bench):
    """A kit with other targets cannot read the run; the sentence names run and target."""
    run(bench, [(30.0, 30.0, 27.0)])
    with pytest.raises(Invalid) as caught:
        compare(bench.lab, bench.lab.rules.assay(ASSAY), bench.lab.rules.assay("cdc-2019-ncov-n1n2rp"))
    assert caught.value.code == "TARGET_UNKNOWN"
    assert "ORF1ab" in caught.value.sentence or "IC" in caught.value.sentence


@pytest.mark.parametrize("text", ["yesterday", "2022-13-01", "2022-12-02..2022-12-01", "..", ""])
def test_a_period_that_is_none_is_refused(text):
    """A typing error in a date compares nothing, and says how a period is written."""
    with pytest.raises(Invalid) as caught:
        rule_lab.period(text, SHANGHAI)
    assert caught.value.code == "PERIOD"


def test_a_period_is_whole_days_of_the_laboratory():
    """Midnight to midnight in Shanghai."""
    start, end = rule_lab.period("2022-12-01..2022-12-02", SHANGHAI)
    assert start == datetime(2022, 12, 1, tzinfo=SHANGHAI)
    assert end == datetime(2022, 12, 3, tzinfo=SHANGHAI)
    assert rule_lab.period("all", SHANGHAI) == (None, None)


def test_rules_are_found_by_id_version_and_path(lab, tmp_path):
    """A loaded id, a version of it, or a file; anything else is refused with what is known."""
    path = tmp_path / "new.toml"
    path.write_text(stricter(), encoding="utf-8")
    assert rule_lab.find_rules(lab.rules, ASSAY).version == "1"
    assert rule_lab.find_rules(lab.rules, f"{ASSAY}@1").version == "1"
    assert rule_lab.find_rules(lab.rules, str(path)).version == "2"
    for wrong in (f"{ASSAY}@9", "nothing"):
        with pytest.raises(NotFound):
            rule_lab.find_rules(lab.rules, wrong)


# -- activation ----------------------------------------------------------------------------------


def activate(lab, text, by="Dr Li", reason="Validation report 7"):
    """Activate and install, as the command does."""
    with lab.database.write(by or "nobody") as unit:
        rules, done = rule_lab.activate(unit, lab.rules, text, "new.toml", by=by, reason=reason)
    rule_lab.install(lab.settings.data / "rules", rules, text)
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
            assert rule_lab.history(conn) == [done]
            assert rule_lab.history(conn, "maccura") == []
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
        assert [(one.version, one.replaces) for one in rule_lab.history(conn)] == [
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
        assert queries.rule_versions(conn, "assay") + queries.rule_versions(conn, rule_lab.ACTIVATION) == []


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
        (row,) = queries.rule_versions(conn, rule_lab.ACTIVATION)
    assert json.loads(row["content"])["by"] == "Dr Li"
    with pytest.raises(Exception, match="append-only"), lab.database.write("x") as unit:
        queries.update_row(unit.conn, "rulebook", {"kind": rule_lab.ACTIVATION}, content="{}")


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
