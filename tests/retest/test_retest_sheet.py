import copy
import csv
import io
from pathlib import Path

import pytest

from retest import AssayRules, Call, interpret
from retest.sheet import CALL_ZH, NEXT_ZH, PARTS, STEP, as_csv, boundary_sheet, cells, header
from retest.words import KIND_OF_BUILT_IN, Next

PACKAGE = Path(__file__).resolve().parents[2] / "retest"
ALL = {
    path.stem: AssayRules.from_toml(path.read_text("utf-8"), path.name)
    for path in sorted((PACKAGE / "assays").glob("*.toml"))
}


def said(rules, *, part="cutoff", **wanted):
    """(tested, side, readings of the targets, call) of the lines of a part that match."""
    return [
        (line.tested, line.side, tuple(reading.cq for reading in line.readings), line.outcome.call.value)
        for line in boundary_sheet(rules)
        if line.part == part and all(getattr(line, key) == value for key, value in wanted.items())
    ]


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_rule_of_every_shipped_assay_is_on_its_sheet(name):
    """Each decision row answers a line of its own name, and each built-in rule that can speak does."""
    rules = ALL[name]
    lines = boundary_sheet(rules)
    rows = {line.tested for line in lines if line.part == "decision"}
    assert rows == {row.id for row in rules.decision}
    assert all(line.tested == line.outcome.rule for line in lines if line.part != "cutoff")
    assert all((line.side in ("below", "at", "above")) == (line.part == "cutoff") for line in lines)
    assert {line.side for line in lines if line.part != "cutoff"} == {""}
    built_in = {line.tested for line in lines if line.part == "built-in"}
    assert {"missing-target", "curve-flat", "curve-without-cq"} <= built_in <= set(KIND_OF_BUILT_IN)
    assert ("curve-atypical" in built_in) == any(
        t.curve == "sigmoid" for t in rules.targets if not t.is_control
    )
    assert ("replicates-discordant" in built_in) == (not all(rules.greys.values()))


@pytest.mark.parametrize("name", sorted(ALL))
def test_the_answers_are_those_of_the_rules(name):
    """Reading a line again at its place gives the answer that is printed; no line is printed twice."""
    rules = ALL[name]
    lines = boundary_sheet(rules)
    for line in lines:
        again = interpret(line.readings, rules, instrument=line.instrument, laboratory=line.laboratory)
        assert again == line.outcome
    keys = [(line.part, line.tested, line.side, line.instrument, line.readings) for line in lines]
    assert len(set(keys)) == len(keys)


def test_below_at_and_above_the_cutoff_of_the_cdc_panel():
    """N1 at 39.99, 40.00 and 40.01 beside nothing, and beside a detected N2."""
    assert said(ALL["cdc-2019-ncov-n1n2rp"], tested="N1 < 40") == [
        ("N1 < 40", "below", (39.99, None, 25.0), "borderline"),
        ("N1 < 40", "at", (40.0, None, 25.0), "negative"),
        ("N1 < 40", "above", (40.01, None, 25.0), "negative"),
        ("N1 < 40", "below", (39.99, 25.0, 25.0), "positive"),
        ("N1 < 40", "at", (40.0, 25.0, 25.0), "borderline"),
        ("N1 < 40", "above", (40.01, 25.0, 25.0), "borderline"),
    ]


def test_inclusive_cutoffs_and_grey_ends_are_tested_too():
    """A band that ends with <= answers at its edge; the end of the grey band has its own lines."""
    kinghawk = ALL["kinghawk"]
    edges = {line.tested for line in boundary_sheet(kinghawk) if line.part == "cutoff"}
    assert edges == {"ORF1ab < 38", "ORF1ab grey <= 40", "N < 38", "N grey <= 40", "IC <= 35"}
    calls = [row[3] for row in said(kinghawk, tested="N grey <= 40")]
    assert calls == ["borderline", "borderline", "negative", "borderline", "borderline", "borderline"]
    assert [row[3] for row in said(kinghawk, tested="IC <= 35")] == [
        "negative", "negative", "invalid", "positive", "positive", "positive",
    ]  # fmt: skip
    assert round(38.0 - STEP, 2) == 37.99


def test_the_cutoffs_of_other_instruments_are_tested_there():
    """SalivaDirect N1 at 37 on the 7500 Fast Dx; its control has no other cutoff there and no other lines."""
    rules = ALL["salivadirect-cfx96-7500fast-qs5"]
    there = said(rules, instrument="7500 fast dx")
    assert {row[0] for row in there} == {"N1 < 37"}
    assert [row[3] for row in there] == ["positive", "negative", "negative"]


def test_another_cutoff_of_the_second_target_is_tested_too(synthetic):
    """B has its own cutoff on Cycler X and A has none: there the sheet tests B, and only B."""
    there = said(synthetic, instrument="cycler x")
    assert {row[0] for row in there} == {"B < 30"}
    assert [(row[1], row[3]) for row in there] == [
        ("below", "borderline"), ("at", "negative"), ("above", "negative"),
        ("below", "positive"), ("at", "borderline"), ("above", "borderline"),
    ]  # fmt: skip


def test_a_place_is_instrument_and_laboratory(content):
    """A cutoff of one instrument in one laboratory is printed with both; plain cells stand without quotes."""
    content["override"][0]["laboratories"] = ["Lab L"]
    rules = AssayRules.from_mapping(content)
    places = {cells(rules, 1, line)[4] for line in boundary_sheet(rules)}
    assert places == {"", "cycler x / lab l"}
    first, second, *_ = as_csv(rules).splitlines()
    assert first.startswith("assay,version,sha256,line,part,tested,side,place,A,B,IC,call,")
    assert second.startswith(f"synthetic,7,{rules.digest},1,cutoff,A < 37,below,,36.99,—,25.00,")


def test_a_kit_whose_control_comes_first_has_the_same_lines(content):
    """The order of the targets in the file changes the columns, never which rules are shown."""
    content["override"].clear()

    def shown():
        lines = boundary_sheet(AssayRules.from_mapping(content))
        return {
            (line.tested, line.side, frozenset((r.target, r.cq, r.curve) for r in line.readings))
            for line in lines
        }

    before = shown()
    content["target"].insert(0, content["target"].pop())
    assert shown() == before
    edges = {"A < 37", "A grey < 40", "B <= 38", "IC <= 35"}
    assert edges == {tested for tested, side, _ in before if side}
    grey = [readings for tested, side, readings in before if tested == "grey"]
    assert all(("A", 38.5, None) in readings for readings in grey)


def test_grey_that_only_one_place_knows_is_shown_there(content):
    """A grey band of one laboratory is reached by readings of that laboratory, and named with it."""
    content["target"][0].pop("grey")
    content["target"][0].pop("negative")
    content["override"].append(
        {
            "target": "A", "laboratories": ["Lab L"], "source": "made for the tests",
            "detected": {"op": "<", "ct": 37.0},
            "grey": {"low": 37.0, "low_inclusive": True, "high": 39.0, "high_inclusive": False},
        }
    )  # fmt: skip
    lines = boundary_sheet(AssayRules.from_mapping(content))
    grey = [line for line in lines if line.part == "decision" and line.tested == "grey"]
    assert grey
    assert {line.laboratory for line in grey} == {"lab l"}
    assert all(line.outcome.rule == "grey" for line in grey)
    assert "38.00" in cells(AssayRules.from_mapping(content), 1, grey[0])
    assert "lab l" in cells(AssayRules.from_mapping(content), 1, grey[0])


def test_what_no_place_can_show_is_left_out(content):
    """Grey A only in laboratory L and grey B only in laboratory M: both at once can be read nowhere."""
    content["target"][0].pop("grey")
    content["target"][0].pop("negative")
    content["override"] = [
        {
            "target": target, "laboratories": [laboratory], "source": "made for the tests",
            "detected": {"op": "<", "ct": 37.0},
            "grey": {"low": 37.0, "low_inclusive": True, "high": 39.0, "high_inclusive": False},
        }
        for target, laboratory in (("A", "L"), ("B", "M"))
    ]  # fmt: skip
    rules = AssayRules.from_mapping(content)
    shown = [dict(line.outcome.targets) for line in boundary_sheet(rules) if line.part == "decision"]
    assert [one for one in shown if one["A"] == "grey"]
    assert not [one for one in shown if one["A"] == one["B"] == "grey"]
    assert len(shown) == len(rules.table) - 2


def test_a_grey_state_made_by_replicates_is_shown_by_one_well(assay):
    """Where two wells make a target, partly detected is one well with a Cq and one without."""
    lines = boundary_sheet(assay("starprotocols-taqpath-one-step-duplicate"))
    partial = next(line for line in lines if line.tested == "single-target-partial")
    assert sorted((r.cq is None) for r in partial.readings if r.target == "S") in (
        [False, True],
        [True, True],
    )
    assert len(partial.readings) == 8


def test_a_low_cutoff_still_has_a_clean_value(content):
    """Where a kit stops at cycle 12, the clean reading lies well inside, not below 0."""
    content["target"][1]["detected"]["ct"] = 12.0
    content["override"].clear()
    lines = boundary_sheet(AssayRules.from_mapping(content))
    values = {r.cq for line in lines for r in line.readings if r.target == "B" and r.cq is not None}
    assert min(values) == 6.0
    content["target"][1]["detected"]["ct"] = 35.5
    lines = boundary_sheet(AssayRules.from_mapping(content))
    assert {r.cq for line in lines for r in line.readings if r.target == "B"} == {
        None,
        25.0,
        35.49,
        35.5,
        35.51,
    }
    content["target"][1]["detected"]["ct"] = 34.567
    lines = boundary_sheet(AssayRules.from_mapping(content))
    assert 24.57 in {r.cq for line in lines for r in line.readings if r.target == "B"}
    content["target"][1]["detected"]["ct"] = 30.0
    lines = boundary_sheet(AssayRules.from_mapping(content))
    assert {r.cq for line in lines for r in line.readings if r.target == "B"} == {
        None,
        20.0,
        29.99,
        30.0,
        30.01,
    }


def test_a_rule_that_is_off_is_on_the_sheet_with_its_answer(content):
    """The director sees that the row no longer speaks: borderline, rule-off."""
    content["off"] = {"none": "the control of lot 7 is in doubt"}
    lines = [line for line in boundary_sheet(AssayRules.from_mapping(content)) if line.tested == "none"]
    assert lines
    assert {(line.outcome.call, line.outcome.rule) for line in lines} == {(Call.borderline, "rule-off")}


def test_the_csv_holds_every_line_with_the_version():
    """One row a line, with assay, version and digest; both languages; quotes and commas survive."""
    for name in ("kinghawk", "bgi"):
        rules = ALL[name]
        rows = list(csv.DictReader(io.StringIO(as_csv(rules))))
        lines = boundary_sheet(rules)
        assert [row["line"] for row in rows] == [str(i) for i in range(1, len(lines) + 1)]
        for row, line in zip(rows, lines, strict=True):
            assert (row["assay"], row["version"], row["sha256"]) == (rules.id, rules.version, rules.digest)
            assert (row["call"], row["结果"]) == (line.outcome.call.value, CALL_ZH[line.outcome.call])
            assert (row["next"], row["下一步"]) == (line.outcome.next.value, NEXT_ZH[line.outcome.next])
            assert (row["part"], row["tested"], row["side"], row["rule"]) == (
                line.part, line.tested, line.side, line.outcome.rule,
            )  # fmt: skip


def test_cells_show_wells_curves_and_nothing():
    """A Cq with two digits, a dash for undetermined, the curve behind it, a slash between wells."""
    rules = ALL["cdc-2019-ncov-n1n2rp"]
    assert header(rules) == (
        "line", "part", "tested", "side", "place", "N1", "N2", "RP", "call", "结果", "rule", "next", "下一步",
    )  # fmt: skip
    named = {
        line.tested: dict(zip(header(rules), cells(rules, 7, line), strict=True))
        for line in boundary_sheet(rules)
    }
    assert named["curve-flat"]["N2"] == "25.00 flat"
    assert named["curve-without-cq"]["N2"] == "— sigmoid"
    assert named["replicates-discordant"]["N2"] == "25.00 / —"
    assert named["missing-target"]["RP"] == ""
    assert named["none-detected"]["N1"] == "—"
    assert named["none-detected"]["line"] == "7"


def test_texts_with_commas_and_quotes_are_quoted(content):
    """A target with a comma in its name stays one column."""
    content["name"] = "odd"
    spoilt = copy.deepcopy(content)
    spoilt["target"][0]["name"] = 'A, "first"'
    for control in spoilt["control"]:
        control["expect"]['A, "first"'] = control["expect"].pop("A")
    rows = list(csv.reader(io.StringIO(as_csv(AssayRules.from_mapping(spoilt)))))
    assert rows[0][8] == 'A, "first"'
    assert len({len(row) for row in rows}) == 1


def test_every_word_has_its_translation():
    """Calls, steps and parts are all said in Chinese."""
    assert set(CALL_ZH) == set(Call)
    assert set(NEXT_ZH) == set(Next)
    assert set(PARTS) == {line.part for rules in ALL.values() for line in boundary_sheet(rules)}
