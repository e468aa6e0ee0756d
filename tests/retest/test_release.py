import copy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from retest import (
    Call,
    Material,
    ReleaseFacts,
    ReleaseRules,
    RulesError,
    auto_verify,
    signatures_needed,
)
from retest.release import RULE_IDS

# A busy machine must not fail a property.
CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
GOOD = ReleaseFacts(
    call=Call.negative,
    result="negative",
    material=Material.single,
    findings=1,
    run_ended=True,
    run_valid=True,
    batch_valid=True,
    controls_present=True,
    file_complete=True,
    assay_validated=True,
    curves=("flat", "flat"),
    ic_cq=27.0,
    specimen_age_hours=12.0,
)
LOCKED = (
    "negative-only",
    "run-ended",
    "run-valid",
    "batch-valid",
    "controls-present",
    "file-complete",
    "control-chart",
    "instrument-flags",
)


@pytest.fixture
def content(release_content):
    """The release file, to be changed."""
    return copy.deepcopy(release_content)


def switched(content, **switches):
    """The release rules with some switches turned; `_` stands for `-`."""
    for rule in content["rule"]:
        rule["on"] = switches.get(rule["id"].replace("-", "_"), rule["on"])
    return ReleaseRules.from_mapping(content)


def test_a_plain_negative_leaves_without_a_person(release):
    """Nothing holds back a clean negative."""
    assert auto_verify(GOOD, release) == ()


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        ("negative-only", {}, {"result": "positive"}),
        ("negative-only", {}, {"call": Call.borderline}),
        ("negative-only", {}, {"call": Call.invalid}),
        ("run-ended", {}, {"run_ended": False}),
        ("run-valid", {}, {"run_valid": False}),
        ("batch-valid", {}, {"batch_valid": False}),
        ("controls-present", {}, {"controls_present": False}),
        ("file-complete", {}, {"file_complete": False}),
        ("assay-validated", {}, {"assay_validated": False}),
        ("control-chart", {"quality": ""}, {"quality": "PC N: 1-3s"}),
        ("instrument-flags", {"flags": ()}, {"flags": ("HIGHSD",)}),
        ("curve", {"curves": ("flat", None)}, {"curves": ("flat", "sigmoid")}),
        ("curve", {"curves": ()}, {"curves": ("atypical",)}),
        ("person-held", {}, {"person_held": True}),
        ("retest", {}, {"is_retest": True}),
        ("findings", {"findings": 1}, {"findings": 2}),
        ("findings", {}, {"findings": 0}),
        ("ic-late", {"ic_cq": 34.0}, {"ic_cq": 34.01}),
        ("ic-late", {"ic_cq": None, "ic_required": False}, {"ic_cq": None}),
        ("neighbour-strong", {"neighbour_min_cq": 18.01}, {"neighbour_min_cq": 18.0}),
        ("specimen-age", {"specimen_age_hours": 72.0}, {"specimen_age_hours": 72.01}),
        ("specimen-age", {"specimen_age_hours": 0.0}, {"specimen_age_hours": -0.1}),
        ("specimen-age", {}, {"specimen_age_hours": None}),
    ],
    ids=map(str, range(22)),
)
def test_each_rule_at_its_edge(release, rule, good, bad):
    """Just good passes, just bad is held back by exactly this rule, in both languages."""
    assert auto_verify(structs.replace(GOOD, **good), release) == ()
    held = auto_verify(structs.replace(GOOD, **bad), release)
    assert [blocked.rule for blocked in held] == [rule]
    assert held[0].sentence_en.endswith(".")
    assert held[0].sentence_zh.endswith("。")


def test_rules_that_are_off_are_listed_and_can_be_switched_on(release, content):
    """Off is visible; on, the rule works."""
    assert [rule.id for rule in release.off] == ["curve-judged", "mixed"]
    strict = switched(content, curve_judged=True, mixed=True)
    assert strict.off == ()
    unjudged = structs.replace(GOOD, curves=("flat", None), material=Material.mixed)
    assert auto_verify(unjudged, release) == ()
    assert [blocked.rule for blocked in auto_verify(unjudged, strict)] == ["curve-judged", "mixed"]
    assert [b.rule for b in auto_verify(structs.replace(GOOD, curves=()), strict)] == ["curve-judged"]


def test_a_positive_is_not_doubted_because_its_targets_rise(release):
    """Rising curves are the result of a positive: it waits for a person because of its result alone."""
    rising = structs.replace(GOOD, call=Call.positive, result="positive", curves=("sigmoid", "sigmoid"))
    assert [blocked.rule for blocked in auto_verify(rising, release)] == ["negative-only"]


@pytest.mark.parametrize("rule", sorted(set(RULE_IDS) - set(LOCKED)))
def test_a_rule_switched_off_holds_nothing_back(content, rule):
    """A switch that is off is off, and is listed as off."""
    rules = switched(content, **{rule.replace("-", "_"): False})
    assert rule in [r.id for r in rules.off]
    worst = structs.replace(
        GOOD, assay_validated=False, flags=("X",), curves=("sigmoid", None), person_held=True, is_retest=True,
        material=Material.mixed, findings=3, ic_cq=None, neighbour_min_cq=10.0, specimen_age_hours=None,
    )  # fmt: skip
    assert rule not in [blocked.rule for blocked in auto_verify(worst, rules)]


@pytest.mark.parametrize("rule", LOCKED)
def test_rules_of_the_run_cannot_be_switched_off(content, rule):
    """No file can make the system release a positive, a result without a valid, ended run, or a doubted one."""
    with pytest.raises(RulesError) as caught:
        switched(content, **{rule.replace("-", "_"): False})
    assert caught.value.code == "rule-locked"
    assert rule in caught.value.where
    assert "cannot be switched off. Set it to true." in caught.value.sentence


def test_a_rule_left_out_or_listed_twice_is_refused(content):
    """Silence about a rule is not a switch."""
    dropped = content["rule"].pop()
    with pytest.raises(RulesError) as caught:
        ReleaseRules.from_mapping(content)
    assert caught.value.code == "rule-listing"
    content["rule"] += [dropped, dropped]
    with pytest.raises(RulesError, match="listed 2 times"):
        ReleaseRules.from_mapping(content)


def test_unknown_rules_and_keys_are_refused(content):
    """A misspelt rule or key is named."""
    content["rule"][0]["limit"] = 3
    with pytest.raises(RulesError, match="limit"):
        ReleaseRules.from_mapping(content)
    content["rule"][0]["id"] = "negative"
    with pytest.raises(RulesError, match="negative-only"):
        ReleaseRules.from_mapping(content)


def test_a_positive_needs_two_people(release):
    """Two signatures on a positive, one on anything else."""
    for material in Material:
        assert signatures_needed("positive", material, release) == 2
        for result in ("negative", "inconclusive", "invalid"):
            assert signatures_needed(result, material, release) == 1
    assert signatures_needed("positive", "single", release) == 2


def test_more_signatures_can_be_asked_for_never_fewer(content):
    """A more exact row wins; a positive with one signature and a misspelt result are refused."""
    content["signatures"]["mixed-recollect"] = 2
    content["signatures"]["single-positive"] = 3
    rules = ReleaseRules.from_mapping(content)
    assert signatures_needed("recollect", Material.mixed, rules) == 2
    assert signatures_needed("recollect", Material.single, rules) == 1
    assert signatures_needed("positive", Material.single, rules) == 3
    for key, code in (("pool-positive", "not-whole"), ("positve", "unknown-key")):
        wrong = copy.deepcopy(content)
        wrong["signatures"][key] = 1
        with pytest.raises(RulesError) as caught:
            ReleaseRules.from_mapping(wrong)
        assert caught.value.code == code


def test_release_file_loads_from_text():
    """The text and the mapping of a release file are read by the same rules."""
    with pytest.raises(RulesError) as caught:
        ReleaseRules.from_toml("[[rule]", "release.toml")
    assert caught.value.code == "toml"


@CALM
@given(
    st.sampled_from(list(Call)),
    st.sampled_from(["positive", "negative", "inconclusive", "invalid"]),
    st.sampled_from(list(Material)),
)
def test_only_a_negative_is_ever_released_automatically(release, call, result, material):
    """Whatever else is good, nothing but a negative call reported as negative leaves by itself."""
    held = auto_verify(structs.replace(GOOD, call=call, result=result, material=material), release)
    assert (held == ()) == (call is Call.negative and result == "negative")


def test_a_rule_that_is_off_says_why(release):
    """Each shipped rule that is off carries its reason, and only those do."""
    assert release.off
    for rule in release.rules:
        assert bool(rule.reason) == (not rule.on), rule.id
