import re
import tomllib
from pathlib import Path

from retest import AssayRules, DischargeRules, Policy
from retest.page import BUILT_IN, rules_page
from retest.words import KIND_OF_BUILT_IN

ROOT = Path(__file__).resolve().parents[2]


def assays():
    """All shipped assays in the order of their names."""
    return [
        AssayRules.from_toml(path.read_text("utf-8"), path.name)
        for path in sorted((ROOT / "retest" / "assays").glob("*.toml"))
    ]


def page_of(policy, release, *rules):
    """A page of these assays."""
    nine = ROOT / "retest" / "policies" / "discharge-cn-9.toml"
    home = ROOT / "retest" / "policies" / "discharge-cn-home.toml"
    ends = [DischargeRules.from_toml(path.read_text("utf-8"), path.name) for path in (nine, home)]
    return rules_page(rules, [policy("china"), policy("cdc")], ends, release)


def test_the_documentation_says_the_shipped_rules(policy, release):
    """docs/rules.md is what the rule files make today: `lis docs rules > docs/rules.md` after a change."""
    names = sorted(path.stem for path in (ROOT / "retest" / "policies").glob("*.toml"))
    ends = [name for name in names if name.startswith("discharge-")]
    others = [name for name in names if name not in ends and name != "release"]
    folder = ROOT / "retest" / "policies"
    page = rules_page(
        assays(),
        [policy(name) for name in others],
        [DischargeRules.from_toml((folder / f"{name}.toml").read_text("utf-8"), name) for name in ends],
        release,
    )
    assert page == (ROOT / "docs" / "rules.md").read_text("utf-8")


def test_every_number_of_an_assay_is_on_the_page(policy, release):
    """Source, notes, cutoffs with signs, rows with conditions, ladders, controls, tubes."""
    found = {rules.id: page_of(policy, release, rules) for rules in assays()}
    for rules in assays():
        page = found[rules.id]
        assert rules.source in page
        assert rules.notes in page
        for row in rules.decision:
            assert f"| `{row.id}` |" in page
        for name in ("kind", "scope"):
            assert all(getattr(control, name) in page for control in rules.controls)
    cdc = found["cdc-2019-ncov-n1n2rp"]
    assert "| N1 | target | FAM | 2019-nCoV_N1" in cdc
    assert "| `single-target` | detected 1 | borderline | single-target | retest |" in cdc
    assert "| `both-detected` | detected all 2 | positive |  | conclude |" in cdc
    assert "Cycles: 45. Wells per target: 1. Missing target: refuse." in cdc
    assert "Tubes: single, pool; at most 4 in a pool" in cdc
    assert "| ORF1ab | target |" in found["kinghawk"]
    assert "| Ct < 38 | 38 <= Ct <= 40 |" in found["kinghawk"]
    assert "Ct <= 43" in found["liferiver-zj"]
    assert "only E" in found["liferiver-zj"]
    assert "any Ct" in found["roche-cobas-sars-cov-2"]
    assert "needs ORF1ab" in found["roche-cobas-sars-cov-2"]
    assert "Cycles: not said." in found["roche-cobas-sars-cov-2"]
    dx = found["salivadirect-cfx96-7500fast-qs5"]
    assert re.search(r"\| N1 \| 7500 fast dx, .* \|  \| Ct < 37 \|", dx)
    duplicate = found["starprotocols-taqpath-one-step-duplicate"]
    assert "| `two-or-more-full` | detected >= 2 |" in duplicate
    assert "| `several-partial` | grey >= 2 |" in duplicate
    assert "Wells per target: 2." in duplicate


def test_counts_limits_and_switches_are_said(policy, release, content):
    """At most, tolerated from, least and most of a control, rows that are off with their reason."""
    content["off"] = {"none": "controls in doubt"}
    content["override"][0]["source"] = "lot 7 | letter"
    content["decision"][2:3] = [
        {"id": "few", "detected": "<=1", "grey": ">=1", "needs": ["B"], "call": "borderline", "kind": "grey"},
        {"id": "grey", "signal": ">=1", "call": "borderline", "kind": "grey"},
    ]
    page = page_of(policy, release, AssayRules.from_mapping(content))
    assert "detected <= 1" in page
    assert "| lot 7 / letter |" in page  # a bar would end the cell
    assert "grey >= 1; needs B" in page
    assert "| `none` (off) | signal 0; control detected | negative |" in page
    assert "\n\n| switched off | reason |\n|---|---|\n| `none` | controls in doubt |\n" in page
    assert "A absent; B absent, tolerated from 40; IC any" in page
    assert "A detected from 20 to 33" in page
    assert "37 <= Ct < 40" in page
    assert "| `no-control` | control not-detected |" in page


def test_every_condition_of_a_row_is_said(policy, release, content):
    """Several targets are listed, and a row without a condition says that it takes the rest."""
    content["decision"][0]["needs"] = ["B", "A"]
    content["decision"][2]["only"] = ["B", "A"]
    del content["decision"][4]["ic"]
    page = page_of(policy, release, AssayRules.from_mapping(content))
    assert "| `both` | detected all 2; needs A, B | positive |  | conclude |" in page
    assert "| `grey` | signal >= 1; only A, B | borderline | grey | retest |" in page
    assert "| `no-control` | all else | invalid |  | re-extract |" in page


def test_evidence_that_orders_nothing_is_off_on_the_page(release):
    """A policy without rules of evidence says so, rule by rule."""
    content = tomllib.loads((ROOT / "retest" / "policies" / "china.toml").read_text("utf-8"))
    del content["evidence"]
    page = rules_page([], [Policy.from_mapping(content)], [], release)
    assert "| evidence | beside strong off, strong cq 18.0, later by off, lot cluster off, " in page


def test_policies_release_and_discharge_are_on_the_page(policy, release):
    """Every ladder, setting, switch and limit, with both languages of the release rules."""
    page = page_of(policy, release)
    assert "## Policy `china`:" in page
    assert "| negative specimens after a positive one | 1 |" in page
    assert "beside strong re-extract, strong cq 18.0" in page
    assert "curve sigmoid: positive" in page
    assert page.count("| grey a second time | by the ladder |") == 1  # the CDC text has no such rule
    assert "| confirmation of a positive | none |" in page
    assert "N and ORF1ab each Ct >= 35 or undetermined." in page
    assert "undetermined, none before day 6." in page
    for rule in release.rules:
        switch = "on" if rule.on else f"**off** {rule.reason}"
        limit = "" if rule.limit is None else f"{rule.limit:g}"
        assert f"| `{rule.id}` | {switch} | {limit} | {rule.en} | {rule.zh} |" in page
    assert "People who sign: positive 2, other 1." in page


def test_every_built_in_rule_is_explained(policy, release):
    """What no file can switch off is on the page too."""
    assert set(BUILT_IN) == set(KIND_OF_BUILT_IN)
    page = page_of(policy, release)
    for rule, kind in KIND_OF_BUILT_IN.items():
        assert f"| `{rule}` | {BUILT_IN[rule]} | {kind} |" in page
    assert page.endswith("\n")
    assert not page.endswith("\n\n")
