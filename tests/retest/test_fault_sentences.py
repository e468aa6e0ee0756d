"""Every refusal of a rule file, word for word: code, place, what is wrong and what to do next."""

import copy
import tomllib
from pathlib import Path

import pytest

from retest import AssayRules, DischargeRules, EvidenceRules, Policy, ReleaseRules, RulesError
from retest.expected import Expectation
from retest.release import RULE_IDS

POLICIES = Path(__file__).resolve().parents[2] / "retest" / "policies"
GONE = object()  # the key, or the row, is taken out


# fmt: off
# (key, what stands there, code, place, sentence); `+` adds a row to a list
ASSAY = [
    ("cutof", 3, "unknown-key", "cutof", "the key 'cutof' is not known here. Remove or correct it."),
    ("target.0.dyes", "FAM", "unknown-key", "target[A].dyes", "the key 'dyes' is not known here. Did you mean 'dye'? Remove or correct it."),
    ("target.1.detected", GONE, "missing-key", "target[B].detected", "the key 'detected' is missing. Add it."),
    ("target.1.gray", {}, "unknown-key", "target[B].gray", "the key 'gray' is not known here. Did you mean 'grey'? Remove or correct it."),
    ("target.0.grey.needs_curve", True, "unknown-key", "target[A].grey.needs_curve", "the key 'needs_curve' is not known here. Remove or correct it."),
    ("source", GONE, "missing-key", "source", "the key 'source' is missing. Add it."),
    ("version", 1, "not-a-text", "version", "1 is not a text. Write words in quotes."),
    ("name", "  ", "not-a-text", "name", "'  ' is not a text. Write words in quotes."),
    ("replicates", 0, "not-whole", "replicates", "0 is not a whole number of at least 1."),
    ("cycles", 40.5, "not-whole", "cycles", "40.5 is not a whole number of at least 1."),
    ("missing", "ignore", "not-allowed", "missing", "'ignore' is not known here. Use one of: 'refuse', 'read-rest'."),
    ("target", 3, "not-a-list", "target", "write each one as [[target]]."),
    ("target", [], "no-target", "target", "an assay needs at least one target. Add a [[target]]."),
    ("target", [3], "not-a-table", "target[1]", "a table of keys is needed here. See the format page."),
    ("target.0.detected.ct", "37", "not-a-number", "target[A].detected.ct", "'37' is not a number. Write it without quotes."),
    ("target.0.detected.ct", 0, "number-range", "target[A].detected.ct", "0 must be finite and above 0."),
    ("target.0.grey.low_inclusive", 1, "not-a-flag", "target[A].grey.low_inclusive", "1 must be true or false, without quotes."),
    ("target.0.aliases", "x", "not-a-list", "target[A].aliases", "'x' must be a list of texts."),
    ("target.0.aliases", [""], "not-a-list", "target[A].aliases", "[''] must be a list of texts."),
    ("target.0.aliases", ["b "], "target-twice", "target", "the spelling 'B' is used twice. A name must lead to one target."),
    ("target.2.grey", {}, "ic-grey", "target[IC].grey", "an internal control worked or not; it has no grey band. Remove it."),
    ("target.0.role", "tarjet", "not-allowed", "target[A].role", "'tarjet' is not known here. Use one of: 'target', 'internal_control'."),
    ("target.0.detected.op", "!", "not-allowed", "target[A].detected.op", "'!' is not known here. Use one of: '<', '<=', 'any'."),
    ("target.0.grey.high", 30.0, "band-empty", "target[A].grey.high", "the grey band ends at 30 before it begins at 37."),
    ("target.0.grey.low", 37.5, "band-gap", "target[A]", "target A: Ct from 37 to 37.5 is in no band (between detected and grey). Say which band it belongs to; the safe choice is the one nearer to positive."),
    ("target.0.grey.low", 36.0, "band-overlap", "target[A]", "target A: Ct from 36 to 37 is in two bands (detected and grey). Make one end exclusive."),
    ("target.0.grey.low_inclusive", False, "band-gap", "target[A]", "target A: Ct exactly 37 is in no band (between detected and grey). Say which band it belongs to; the safe choice is the one nearer to positive."),
    ("target.0.grey.high_inclusive", True, "band-overlap", "target[A]", "target A: Ct exactly 40 is in two bands (grey and not-detected). Make one end exclusive."),
    ("target.0.negative.op", "=", "not-allowed", "target[A].negative.op", "'=' is not known here. Use one of: '>', '>='."),
    ("override.+", {"target": "B", "instruments": ["Other", "cycler x "], "detected": {"op": "any"}, "source": "x"}, "override-twice", "override[2]", "target B has two overrides for the same place. Keep one."),
    ("override.0.instruments", [], "override-nowhere", "override[1]", "this override names no instrument and no laboratory. Name one, or change the target itself."),
    ("override.0.target", "C", "not-allowed", "override[1].target", "'C' is not known here. Use one of: 'A', 'B', 'IC'."),
    ("override.0.negative", {"op": ">", "ct": 30.0}, "band-gap", "override[1]", "target B: Ct exactly 30 is in no band (between detected and not-detected). Say which band it belongs to; the safe choice is the one nearer to positive."),
    ("decision.3", GONE, "table-gap", "decision", "no row says what A not-detected, B not-detected, internal control detected means. Add a row for it."),
    ("decision.+", {"id": "never", "signal": 0, "call": "invalid"}, "table-unreachable", "decision[never]", "no combination of readings ever meets this row first. Move it up or remove it."),
    ("decision.1.id", "both", "id-twice", "decision[both]", "this id is used twice. Rename one row."),
    ("decision.0.id", "missing-target", "id-reserved", "decision[1].id", "'missing-target' is a built-in rule id. Choose another."),
    ("decision.4.call", "negative", "table-unsafe", "decision[no-control]", "this row calls A not-detected, B not-detected, internal control not-detected negative. A negative needs every target not detected and a good control."),
    ("decision.0.detected", 3, "bad-count", "decision[1].detected", '3 is no count of 2 targets. Use a number, "all", ">=1" or "<=1".'),
    ("decision.0.needs", ["C"], "unknown-target", "decision[1].needs", "'C' is no target of this assay: A, B."),
    ("decision.0.only", ["A", "C"], "unknown-target", "decision[1].only", "'C' is no target of this assay: A, B."),
    ("decision.0.ic", "none", "not-allowed", "decision[1].ic", "'none' is not known here. Use one of: 'any', 'detected', 'not-detected'."),
    ("decision.0.call", "maybe", "not-allowed", "decision[1].call", "'maybe' is not known here. Use one of: 'positive', 'negative', 'borderline', 'invalid'."),
    ("decision.1.kind", "odd", "not-allowed", "decision[2].kind", "'odd' is not known here. Use one of: 'single-target', 'inconclusive', 'curve', 'grey'."),
    ("ladder.nothing", {}, "ladder-unknown", "ladder.nothing", "no decision row and no kind is called 'nothing'. Use one of: borderline, both, curve, curve-atypical, curve-flat, curve-without-cq, grey, inconclusive, invalid, missing-target, no-control, none, replicates-discordant, rule-off, single-target."),
    ("ladder.invalid", GONE, "missing-key", "ladder.invalid", "the key 'invalid' is missing. Add it."),
    ("ladder.invalid.steps", ["pray"], "unknown-step", "ladder.invalid.steps", "'pray' is no step. Use: re-amplify, re-extract, second-kit, recollect."),
    ("ladder.invalid.steps", [], "bad-steps", "ladder.invalid.steps", "at least one step is needed, and nothing can follow 'recollect': that is a new specimen."),
    ("ladder.invalid.end", "negative", "not-allowed", "ladder.invalid.end", "'negative' is not known here. Use one of: 'inconclusive', 'invalid'."),
    ("ladder.invalid.negatives", -1, "not-whole", "ladder.invalid.negatives", "-1 is not a whole number of at least 0."),
    ("control.1.aliases", ["nc"], "control-twice", "control", "'nc' names two controls. Rename one."),
    ("control.1.expect.A.least", 40, "band-empty", "control[2].expect.A.least", "'least' 40 is above 'most' 33. Exchange them."),
    ("control.1.expect.A", {"state": "absent", "least": 3.0}, "unknown-key", "control[2].expect.A.least", "the key 'least' is not known here. Remove or correct it."),
    ("control.1.expect.A", {"state": "any", "most": 3.0}, "unknown-key", "control[2].expect.A.most", "the key 'most' is not known here. Remove or correct it."),
    ("control.1.expect.A", "seen", "not-allowed", "control[2].expect.A", "'seen' is not known here. Use one of: 'absent', 'detected', 'any'."),
    ("control.1.expect.A.state", "seen", "not-allowed", "control[2].expect.A.state", "'seen' is not known here. Use one of: 'absent', 'detected', 'any'."),
    ("control.1.scope", "pun", "not-allowed", "control[2].scope", "'pun' is not known here. Use one of: 'run', 'extraction'."),
    ("control.1.min", -1, "not-whole", "control[2].min", "-1 is not a whole number of at least 0."),
    ("control.0.per", "run", "unknown-key", "control[1].per", "the key 'per' is not known here. Remove or correct it."),
    ("control.0.expect.C", "absent", "unknown-key", "control[1].expect.C", "the key 'C' is not known here. Did you mean 'IC'? Remove or correct it."),
    ("pooling.modes", ["swab"], "not-allowed", "pooling.modes", "'swab' is no mode. Use single, mixed, pool."),
    ("pooling.max_n", 0, "not-whole", "pooling.max_n", "0 is not a whole number of at least 1."),
    ("pooling.max_mixed", 0, "not-whole", "pooling.max_mixed", "0 is not a whole number of at least 1."),
    ("off", {"bothh": "x"}, "off-unknown", "off.bothh", "no decision row is called 'bothh'. Use one of: both, single-target, grey, none, no-control."),
    ("off", {"rule-off": "x"}, "rule-locked", "off.rule-off", "'rule-off' is built in and cannot be switched off."),
    ("off", {"both": ""}, "not-a-text", "off.both", "'' is not a text. Write words in quotes."),
    ("pooling", 3, "not-a-table", "pooling", "a table of keys is needed here. See the format page."),
    ("control", 3, "not-a-list", "control", "write each one as [[control]]."),
    ("notes", 3, "not-a-text", "notes", "3 is not a text. Write words in quotes."),
    ("target.0.dye", 3, "not-a-text", "target[A].dye", "3 is not a text. Write words in quotes."),
    ("target.0.curve", "S", "not-allowed", "target[A].curve", "'S' is not known here. Use one of: 'any', 'sigmoid'."),
    ("override.0.laboratories", "x", "not-a-list", "override[1].laboratories", "'x' must be a list of texts."),
]
POLICY = [
    ("mixed.invalid", "conclude", "not-allowed", "mixed.invalid", "'conclude' is not known here. Use one of: 're-extract', 'recollect'."),
    ("mixed.report_while_waiting", "wait", "not-allowed", "mixed.report_while_waiting", "'wait' is not known here. Use one of: 'under-review', 'presumed-positive'."),
    ("positive.confirm", "pray", "not-allowed", "positive.confirm", "'pray' is not known here. Use one of: 'second-kit', 're-extract', 're-amplify', ''."),
    ("positive.second_kits", "sansure", "not-a-list", "positive.second_kits", "'sansure' must be a list of texts."),
    ("specimens.max_specimens", 0, "not-whole", "specimens.max_specimens", "0 is not a whole number of at least 1."),
    ("specimens.max_tests", 1, "not-whole", "specimens.max_tests", "1 is not a whole number of at least 2."),
    ("specimens.two_single_targets_positive", "yes", "not-a-flag", "specimens.two_single_targets_positive", "'yes' must be true or false, without quotes."),
    ("specimens.negatives_after_positive", 0, "not-whole", "specimens.negatives_after_positive", "0 is not a whole number of at least 1."),
    ("grey_again.unknown", "negative", "not-allowed", "grey_again.unknown", "'negative' is not known here. Use one of: 'recollect', 'ladder'."),
    ("grey_again.flat", "maybe", "not-allowed", "grey_again.flat", "'maybe' is not known here. Use one of: 'positive', 'negative', 'recollect', 'ladder'."),
    ("ladder.curve", GONE, "missing-key", "ladder.curve", "the key 'curve' is missing. Add it."),
    ("ladder.other", {}, "unknown-key", "ladder.other", "the key 'other' is not known here. Remove or correct it."),
    ("priority.per_person", 1.5, "not-whole", "priority.per_person", "1.5 is not a whole number of at least 0."),
    ("priority.most_for_age", -1, "not-whole", "priority.most_for_age", "-1 is not a whole number of at least 0."),
    ("priority.tier.fever", -1, "not-whole", "priority.tier.fever", "-1 is not a whole number of at least 0."),
    ("hours.recollect", 0, "number-range", "hours.recollect", "0 must be finite and above 0."),
    ("evidence.beside_strong", "pray", "not-allowed", "evidence.beside_strong", "'pray' is not known here. Use one of: 're-amplify', 're-extract', 'second-kit', ''."),
    ("evidence.lot_cluster", "recollect", "not-allowed", "evidence.lot_cluster", "'recollect' is not known here. Use one of: 're-amplify', 're-extract', 'second-kit', ''."),
    ("evidence.strong_cq", 0, "number-range", "evidence.strong_cq", "0 must be finite and above 0."),
    ("evidence.later_by", 0, "number-range", "evidence.later_by", "0 must be finite and above 0."),
    ("evidence.lot_rate", 1.0, "number-range", "evidence.lot_rate", "1.0 must be below 1: it is a share, not percent."),
    ("evidence.lot_alpha", 1, "number-range", "evidence.lot_alpha", "1.0 must be below 1: it is a share, not percent."),
    ("evidence.lot_least", 0, "not-whole", "evidence.lot_least", "0 is not a whole number of at least 1."),
    ("evidence.strong", 1, "unknown-key", "evidence.strong", "the key 'strong' is not known here. Did you mean 'strong_cq'? Remove or correct it."),
]
RELEASE = [
    ("rule.-1", GONE, "rule-listing", "rule", "the rule 'specimen-age' is listed 0 times. List it once, on or off."),
    ("rule.+", {"id": "negative-only", "on": True, "en": "x", "zh": "x"}, "rule-listing", "rule", "the rule 'negative-only' is listed 2 times. List it once, on or off."),
    ("rule.0.on", False, "rule-locked", "rule[negative-only].on", "the rule 'negative-only' protects every report and cannot be switched off. Set it to true."),
    ("rule.0.on", "yes", "not-a-flag", "rule[negative-only].on", "'yes' must be true or false, without quotes."),
    ("rule.0.id", "negative", "not-allowed", "rule[1].id", f"'negative' is not known here. Use one of: {', '.join(map(repr, RULE_IDS))}."),
    ("rule.0.limit", 3, "unknown-key", "rule[negative-only].limit", "the key 'limit' is not known here. Remove or correct it."),
    ("signatures.pool-positive", 1, "not-whole", "signatures.pool-positive", "1 is not a whole number of at least 2."),
    ("signatures.positve", 1, "unknown-key", "signatures.positve", "'positve' is no result. Write <result> or <material>-<result>."),
    ("signatures.positive", 1, "not-whole", "signatures.positive", "1 is not a whole number of at least 2."),
    ("signatures.other", 0, "not-whole", "signatures.other", "0 is not a whole number of at least 1."),
    ("rule.0.en", "", "not-a-text", "rule[negative-only].en", "'' is not a text. Write words in quotes."),
    ("rule.0.zh", GONE, "missing-key", "rule[negative-only].zh", "the key 'zh' is missing. Add it."),
    ("rule.0.reason", 3, "not-a-text", "rule[negative-only].reason", "3 is not a text. Write words in quotes."),
]
ISOLATION = [
    ("discharge.targets", [], "no-target", "discharge.targets", "name at least one target."),
    ("discharge.least_ct", -1, "number-range", "discharge.least_ct", "-1 must be finite and above 0."),
    ("discharge.tests", 0, "not-whole", "discharge.tests", "0 is not a whole number of at least 1."),
    ("discharge.hours_apart", GONE, "missing-key", "discharge.hours_apart", "the key 'hours_apart' is missing. Add it."),
    ("discharge.from_day", -1, "not-whole", "discharge.from_day", "-1 is not a whole number of at least 0."),
    ("discharge.spare", 1, "unknown-key", "discharge.spare", "the key 'spare' is not known here. Remove or correct it."),
    ("what", 2, "unknown-key", "what", "the key 'what' is not known here. Remove or correct it."),
    ("source", " ", "not-a-text", "source", "' ' is not a text. Write words in quotes."),
    ("notes", 3, "not-a-text", "notes", "3 is not a text. Write words in quotes."),
]
# fmt: on


def spoilt(content, key, value):
    """A copy of a parsed file in which one key is something else."""
    content = copy.deepcopy(content)
    *path, last = key.split(".")
    place = content
    for part in path:
        place = place[int(part)] if isinstance(place, list) else place[part]
    if last == "+":
        place.append(value)
    elif value is GONE:
        place.pop(int(last)) if isinstance(place, list) else place.pop(last, None)
    else:
        place[last] = value
    return content


def refusal(rules, content, *name):
    """What the refusal of a file says: code, place, sentence."""
    with pytest.raises(RulesError) as caught:
        rules.from_mapping(content, *name)
    assert str(caught.value) == f"{caught.value.where}: {caught.value.sentence}"
    return caught.value.code, caught.value.where, caught.value.sentence


def shipped(name):
    """A shipped policy file, parsed."""
    return tomllib.loads((POLICIES / f"{name}.toml").read_text("utf-8"))


@pytest.mark.parametrize(("key", "value", "code", "place", "sentence"), ASSAY)
def test_a_fault_of_an_assay_is_told_in_full(content, key, value, code, place, sentence):
    """Who wrote the file reads its place and the remedy, the whole sentence."""
    assert refusal(AssayRules, spoilt(content, key, value), "kit[2]") == (code, f"kit[2].{place}", sentence)


@pytest.mark.parametrize(
    ("rules", "file", "faults"),
    [
        (Policy, "china", POLICY),
        (ReleaseRules, "release", RELEASE),
        (DischargeRules, "discharge-cn-home", ISOLATION),
    ],
)
def test_a_fault_of_a_policy_is_told_in_full(rules, file, faults):
    """Policy, release rules and the rules of isolation name place and remedy as an assay does."""
    good = shipped(file)
    for key, value, code, place, sentence in faults:
        assert refusal(rules, spoilt(good, key, value), "own[2]") == (code, f"own[2].{place}", sentence), key


def test_a_file_without_a_name_is_called_by_its_id(content):
    """A fault is placed by the file name, else by the id, else by what the file is."""
    for rules, good, kind in (
        (AssayRules, content, "assay"),
        (Policy, shipped("china"), "policy"),
        (DischargeRules, shipped("discharge-cn-9"), "discharge"),
    ):
        wrong = spoilt(good, "version", 1)
        assert refusal(rules, wrong, "own.toml")[1] == "own.toml.version"
        assert refusal(rules, wrong)[1] == f"{good['id']}.version"
        assert refusal(rules, spoilt(good, "id", GONE))[1] == f"{kind}.id"
    assert refusal(ReleaseRules, spoilt(shipped("release"), "version", 1))[1] == "release.version"


@pytest.mark.parametrize(
    ("rules", "name"),
    [(Policy, "cdc"), (ReleaseRules, "release"), (DischargeRules, "discharge-cn-8")],
)
def test_a_file_read_as_text_is_read_as_its_content(rules, name):
    """Text and parsed content give equal rules; a fault in the text is told with file, line and key."""
    text = (POLICIES / f"{name}.toml").read_text("utf-8")
    assert rules.from_toml(text, "own.toml") == rules.from_mapping(tomllib.loads(text))
    line = 1 + next(i for i, written in enumerate(text.splitlines()) if written.startswith("version"))
    wrong = text.replace('version = "', 'version = 1 # "', 1)
    for called, place in ((("own.toml",), "own.toml"), ((), name)):
        with pytest.raises(RulesError) as caught:
            rules.from_toml(wrong, *called)
        assert (caught.value.code, caught.value.where) == ("not-a-text", f"{place}, line {line}, version")
        assert caught.value.sentence == "1 is not a text. Write words in quotes."
    for called, place in ((("own.toml",), "own.toml"), ((), "rules")):
        with pytest.raises(RulesError) as caught:
            rules.from_toml("[[rule]", *called)
        assert (caught.value.code, caught.value.where) == ("toml", place)
        assert caught.value.sentence.startswith("this is not valid TOML: ")
        assert caught.value.sentence.endswith(". Correct that line and load the file again.")


def test_a_fault_of_a_row_is_at_the_line_of_the_row(synthetic_text):
    """A row that is never met is found by its id, and a key is named as it is written."""
    text = synthetic_text + '\n[[decision]]\nid = "never"\nsignal = 0\ncall = "invalid"\n'
    for wrong, code, key, at in (
        (text, "table-unreachable", "decision[never]", 'id = "never"'),
        (synthetic_text.replace("[pooling]", "[pooling]\nXX = 1"), "unknown-key", "pooling.XX", "XX = 1"),
        ("XX = 1\n" + synthetic_text, "unknown-key", "XX", "XX = 1"),
    ):
        with pytest.raises(RulesError) as caught:
            AssayRules.from_toml(wrong, "kit.toml")
        line = 1 + wrong.partition(at)[0].count("\n")
        assert (caught.value.code, caught.value.where) == (code, f"kit.toml, line {line}, {key}")


def test_what_a_control_must_show_is_what_is_written(content):
    """A word is the plain state; a limit that is not written does not limit; both limits may be one Cq."""
    one_cq = {"state": "detected", "least": 30.0, "most": 30.0}
    content["control"][1]["expect"] = {
        "A": {"state": "detected", "most": 33.0},
        "B": one_cq,
        "IC": {"state": "any"},
    }
    content["control"][0]["expect"]["A"] = {"state": "absent"}
    ntc, pc, ec = AssayRules.from_mapping(content).controls
    inf = float("inf")
    assert pc.expect == {
        "A": Expectation("detected", 0.0, 33.0, inf),
        "B": Expectation("detected", 30.0, 30.0, inf),
        "IC": Expectation("any", 0.0, inf, inf),
    }
    assert ntc.expect == {
        "A": Expectation("absent", 0.0, inf, inf),
        "B": Expectation("absent", 0.0, inf, 40.0),
        "IC": Expectation("any", 0.0, inf, inf),
    }
    assert ec.expect["IC"] == Expectation("detected", 0.0, inf, inf)
    assert [(one.kind, one.aliases, one.scope, one.min) for one in (ntc, ec)] == [
        ("NTC", ("NC",), "run", 1), ("EC", ("HSC",), "extraction", 1),
    ]  # fmt: skip


def test_what_a_file_need_not_say_has_a_harmless_meaning(content):
    """Notes, aliases and switches may be left out; nothing is invented in their place."""
    for rules, good in ((Policy, shipped("china")), (DischargeRules, shipped("discharge-cn-9"))):
        assert rules.from_mapping(spoilt(good, "notes", GONE)).notes == ""
    assert (
        DischargeRules.from_mapping(spoilt(shipped("discharge-cn-home"), "discharge.from_day", GONE)).from_day
        == 0
    )
    plain = AssayRules.from_mapping(content)
    assert (plain.notes, plain.cycles, plain.replicates, plain.missing) == ("", None, 1, "refuse")
    assert (plain.targets[1].dye, plain.targets[1].aliases, plain.targets[1].curve) == ("", (), "any")
    assert plain.targets[1].bands.grey is None
    assert {key: ladder.negatives for key, ladder in plain.ladder.items()} == {"borderline": 1, "invalid": 1}
    assert (plain.pooling.max_mixed, plain.off, plain.decision[0].ic) == (plain.pooling.max_n, {}, "any")
    bare = shipped("china")
    for key in (
        "positive.confirm",
        "specimens.negatives_after_positive",
        "priority.per_hour",
        "priority.most_for_age",
    ):
        bare = spoilt(bare, key, GONE)
    for key in ("evidence.beside_strong", "evidence.lot_cluster", "evidence.later_by"):
        bare = spoilt(bare, key, GONE)
    policy = Policy.from_mapping(bare)
    assert (policy.confirm, policy.negatives_after_positive) == ("", 1)
    assert (policy.priority["per_hour"], policy.priority["most_for_age"]) == (0, 0)
    assert (policy.evidence.beside_strong, policy.evidence.lot_cluster, policy.evidence.later_by) == (
        "",
        "",
        0.0,
    )
    assert Policy.from_mapping(spoilt(bare, "evidence", GONE)).evidence == EvidenceRules()
    release = shipped("release")
    for row in release["rule"]:
        row.pop("reason", None)
    assert {rule.reason for rule in ReleaseRules.from_mapping(release).rules} == {""}
