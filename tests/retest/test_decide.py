import copy
import tomllib
from itertools import product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retest import (
    REASONS,
    AssayRules,
    Call,
    Case,
    CaseError,
    CaseRules,
    Conclude,
    Evidence,
    Finding,
    Material,
    Policy,
    Recollect,
    Retest,
    TestSingly,
    decide,
)

# A busy machine must not fail a property.
CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
PACKAGE = Path(__file__).resolve().parents[2] / "retest"
RULE_OF = {
    "pos": (Call.positive, "both-detected"),
    "neg": (Call.negative, "none-detected"),
    "inv": (Call.invalid, "no-signal-no-control"),
    "grey": (Call.borderline, "grey"),
    "st": (Call.borderline, "single-target"),
    "inc": (Call.borderline, "inconclusive"),
    "flat": (Call.borderline, "curve-flat"),
}


def load(kind, name):
    """A shipped file, parsed."""
    return tomllib.loads((PACKAGE / kind / f"{name}.toml").read_text("utf-8"))


POLICIES = {
    name: Policy.from_mapping(load("policies", name))
    for name in ("china", "china-second-kit", "cdc", "fda-swab")
}
MACCURA, SANSURE = (AssayRules.from_mapping(load("assays", name)) for name in ("maccura", "sansure"))
JILIN = CaseRules(SANSURE, POLICIES["china-second-kit"], {"maccura": MACCURA, "sansure": SANSURE})
STRONG = Evidence("beside-strong", "B3", 14.2)
LOT = Evidence("lot-cluster", "L1/N", 1e-7)
KINGHAWK = AssayRules.from_mapping(load("assays", "kinghawk"))
LIFERIVER = AssayRules.from_mapping(load("assays", "liferiver-zj"))
CONFIRMING = load("policies", "china")
CONFIRMING["positive"]["confirm"] = "second-kit"
CONFIRMING = Policy.from_mapping(CONFIRMING)


def found(word, specimen="S1", test="", curve=None, material=Material.single, n=0):
    """One finding by its short word."""
    call, rule = RULE_OF[word]
    return Finding(
        specimen, f"R{n}", call, rule, test or ("re-extract" if n else "first"), curve, material=material
    )


def case(*words, material=Material.single, curve=None, **more):
    """A case whose findings are these words, in this order."""
    findings = tuple(found(w, curve=curve, material=material, n=i) for i, w in enumerate(words))
    return Case(material, findings, **more)


def step(decision):
    """A decision as a short word: the kind of retest, the result, or the name."""
    match decision:
        case Conclude(result=result):
            return result
        case Retest(kind=kind):
            return kind
        case Recollect():
            return "recollect"
        case TestSingly():
            return "singly"


@pytest.mark.parametrize("policy_id", sorted(POLICIES))
@pytest.mark.parametrize("word", ["pos", "grey", "st", "inc", "flat"])
def test_a_mixed_tube_that_is_not_negative_calls_everyone_back(policy_id, word):
    """Positive, grey and single target: every person is re-collected, nobody gets a result."""
    rules = CaseRules(KINGHAWK, POLICIES[policy_id])
    for words in ((word,), ("neg", word), (word, "neg"), ("inv", word), (word, "inv")):
        decision = decide(case(*words, material=Material.mixed, persons=10), rules)
        assert isinstance(decision, Recollect)
        assert decision.reason == f"mixed-{rules.kind(found(word))}"


def test_a_negative_mixed_tube_is_negative_for_everyone(china):
    """A clean negative concludes, also after an invalid first extraction."""
    assert decide(case("neg", material=Material.mixed), china) == Conclude("negative", "mixed-negative")
    assert step(decide(case("inv", "neg", material=Material.mixed), china)) == "negative"


def test_an_invalid_mixed_tube_follows_the_policy(china):
    """China: extract once more from the tube if any is left, then re-collect; FDA: re-collect at once."""
    mixed = Material.mixed
    assert step(decide(case("inv", material=mixed, persons=10), china)) == "re-extract"
    assert step(decide(case("inv", material=mixed, residual=False), china)) == "recollect"
    assert step(decide(case("inv", "inv", material=mixed), china)) == "recollect"
    fda = CaseRules(KINGHAWK, POLICIES["fda-swab"])
    assert decide(case("inv", material=mixed), fda).reason == "mixed-invalid"
    assert fda.policy.report_while_waiting == "presumed-positive"


@pytest.mark.parametrize("word", ["pos", "grey", "st", "inc", "flat", "inv"])
def test_a_pool_that_is_not_negative_leads_to_its_tubes(china, word):
    """Every retained tube is tested singly; without them the persons are called back."""
    for words in ((word,), (word, "neg"), ("neg", word)):
        decision = decide(case(*words, material=Material.pool, persons=5), china)
        assert isinstance(decision, TestSingly)
        assert decision.reason.startswith("pool-")
    gone = decide(case(word, material=Material.pool, residual=False), china)
    assert gone == Recollect("pool-no-material", 24.0)


def test_a_negative_pool_is_negative(china):
    """A negative laboratory pool concludes for its tubes."""
    assert decide(case("neg", material=Material.pool), china) == Conclude("negative", "pool-negative")


@pytest.mark.parametrize(
    ("words", "curve", "expected"),
    [
        ("neg", None, "negative"),
        ("pos", None, "positive"),
        ("grey", None, "re-amplify"),
        ("grey grey", "sigmoid", "positive"),
        ("grey grey", "flat", "negative"),
        ("grey grey", "atypical", "negative"),
        ("grey grey", None, "recollect"),
        ("grey neg", None, "negative"),
        ("grey pos", None, "positive"),
        ("grey inv", None, "re-extract"),
        ("grey inv grey", "sigmoid", "positive"),
        ("st", None, "re-extract"),
        ("st st", None, "recollect"),
        ("st neg", None, "recollect"),
        ("st pos", None, "positive"),
        ("st grey", None, "re-amplify"),
        ("st grey neg", None, "recollect"),
        ("inc", None, "re-extract"),
        ("inc neg", None, "negative"),
        ("inc inc", None, "recollect"),
        ("flat", None, "re-amplify"),
        ("flat flat", None, "re-extract"),
        ("flat flat flat", None, "recollect"),
        ("flat neg", None, "negative"),
        ("inv", None, "re-extract"),
        ("inv inv", None, "recollect"),
        ("inv neg", None, "negative"),
        ("inv pos", None, "positive"),
        ("neg st", None, "re-extract"),
        ("pos neg", None, "re-extract"),
        ("pos neg neg", None, "recollect"),
        ("pos neg pos", None, "positive"),
        ("pos grey", None, "re-extract"),
        ("pos inv", None, "re-extract"),
    ],
)
def test_one_persons_tube_in_china(china, words, curve, expected):
    """The Chinese ladder, finding by finding."""
    assert step(decide(case(*words.split(), curve=curve), china)) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("st", "re-amplify"),
        ("st st", "re-extract"),
        ("st st st", "inconclusive"),
        ("st neg", "negative"),
        ("st pos", "positive"),
        ("st inv", "re-extract"),
        ("st inv st", "re-extract"),
        ("inv", "re-extract"),
        ("inv inv", "recollect"),
        ("grey", "re-amplify"),
        ("grey grey", "re-extract"),
        ("grey grey grey", "inconclusive"),
        ("pos neg", "re-extract"),
    ],
)
def test_one_persons_tube_by_the_cdc(cdc, words, expected):
    """The CDC ladder: amplify again, extract again, then report inconclusive; never a guess."""
    assert step(decide(case(*words.split()), cdc)) == expected


def test_a_single_target_twice_from_one_tube_is_never_positive(china):
    """The same tube with the same kit cannot confirm itself, nor can its own earlier findings."""
    same = Case(Material.single, (found("st"),), earlier=(found("st", n=1),))
    assert step(decide(same, china)) == "re-extract"
    assert step(decide(case("st", "st"), china)) == "recollect"


def test_two_specimens_with_a_single_target_are_positive(china, cdc):
    """China: one person, two specimens, each with a single target; not so in the CDC text."""
    again = found("st", specimen="S2", test="recollected")
    two = Case(Material.single, (again,), earlier=(found("st"), found("neg", n=1)))
    assert decide(two, china) == Conclude("positive", "positive-two-specimens")
    assert step(decide(two, cdc)) == "re-amplify"
    together = Case(Material.single, (found("st"), again))
    assert decide(together, china) == Conclude("positive", "positive-two-specimens")


def test_a_mixed_tube_is_no_evidence_about_one_person(china):
    """The single target of the ten-person tube does not make one of the ten positive."""
    mixed = found("st", specimen="T10", material=Material.mixed)
    again = found("st", specimen="S2", test="recollected")
    assert step(decide(Case(Material.single, (again,), earlier=(mixed,)), china)) == "re-extract"


def test_a_negative_after_an_earlier_finding_says_so(china):
    """The reason tells that another specimen of the person was not negative."""
    again = found("neg", specimen="S2", test="recollected")
    decision = decide(Case(Material.single, (again,), earlier=(found("st"),)), china)
    assert decision == Conclude("negative", "negative-earlier-finding")


def test_without_material_a_new_specimen_is_collected(china):
    """No repeat is ordered from an empty tube."""
    for word in ("grey", "st", "inv", "flat"):
        assert decide(case(word, residual=False), china) == Recollect("no-material", 24.0)


def test_kit_rules_for_one_row_win_over_the_jurisdiction():
    """Liferiver's E alone is re-collected at once, its other single targets are extracted again."""
    rules = CaseRules(LIFERIVER, POLICIES["china"])
    e_alone = Finding("S1", "R1", Call.borderline, "single-target-e", "first")
    other = Finding("S1", "R1", Call.borderline, "single-target", "first")
    assert decide(Case(Material.single, (e_alone,)), rules) == Recollect("single-target", 24.0)
    assert step(decide(Case(Material.single, (other,)), rules)) == "re-extract"


def test_positives_are_confirmed_once_where_the_policy_says():
    """With confirmation the first positive waits for a second one; a disagreement is repeated."""
    rules = CaseRules(KINGHAWK, CONFIRMING)
    first = decide(case("pos"), rules)
    assert (first.kind, first.reason) == ("second-kit", "positive-confirm")
    second = found("pos", test="second-kit", n=1)
    assert step(decide(Case(Material.single, (found("pos"), second)), rules)) == "positive"
    assert step(decide(case("pos", "neg"), rules)) == "re-extract"
    assert step(decide(case("pos", residual=False), rules)) == "recollect"
    assert step(decide(case("grey", "grey", "neg", "st", "inv", "pos"), rules)) == "recollect"


def test_the_last_specimen_is_reported_as_it_stands(china):
    """After the allowed specimens the case ends as inconclusive or invalid, never as negative."""
    earlier = (found("inv", specimen="S0"), found("inv", specimen="S9"))
    end = decide(Case(Material.single, (found("inv"), found("inv", n=1)), earlier=earlier), china)
    assert end == Conclude("invalid", "specimens-used-up")
    unseen = (found("grey"), found("grey", n=1))
    assert step(decide(Case(Material.single, unseen, earlier=earlier), china)) == "inconclusive"


def test_the_reason_of_a_repeat_is_that_of_the_newest_finding(china):
    """An invalid repeat of a positive is repeated as invalid, a negative or grey one as contradictory."""
    assert decide(case("pos", "inv"), china).reason == "invalid"
    assert decide(case("pos", "neg"), china).reason == "contradictory"
    assert decide(case("pos", "grey"), china).reason == "contradictory"
    assert decide(case("st", "neg"), china).reason == "repeats-used-up"
    assert decide(case("grey", "inv"), china).reason == "invalid"


def test_equal_findings_count_each(china):
    """Two readings with the same content are two readings."""
    one = found("inv")
    assert step(decide(Case(Material.single, (one,)), china)) == "re-extract"
    assert step(decide(Case(Material.single, (one, one)), china)) == "recollect"


def test_a_grey_repeat_may_be_left_to_the_ladder():
    """A policy can send a second grey reading up the ladder."""
    content = copy.deepcopy(load("policies", "china"))
    content["grey_again"]["unknown"] = "ladder"
    rules = CaseRules(KINGHAWK, Policy.from_mapping(content))
    assert step(decide(case("grey", "grey"), rules)) == "re-extract"


def test_more_negative_repeats_can_be_asked_for():
    """With two negative repeats asked for, one is not enough."""
    content = copy.deepcopy(load("policies", "cdc"))
    content["ladder"]["single-target"]["negatives"] = 2
    rules = CaseRules(KINGHAWK, Policy.from_mapping(content))
    assert step(decide(case("st", "neg"), rules)) == "re-extract"
    assert step(decide(case("st", "neg", "neg"), rules)) == "negative"
    assert step(decide(case("neg", "st", "neg"), rules)) == "re-extract"
    assert step(decide(case("st", "grey", "neg"), rules)) == "re-extract"


def test_a_held_ten_person_tube_outranks_a_routine_repeat():
    """Priority grows with the persons who wait, the tier and a re-collection, in every policy."""
    for policy in POLICIES.values():
        rules = CaseRules(KINGHAWK, policy)
        routine = decide(case("grey"), rules).priority
        ten = decide(case("inv", material=Material.pool, persons=10), rules).priority
        held = Case(Material.single, (found("grey", test="recollected"),))
        assert ten > decide(held, rules).priority > routine
        tier = next(iter(policy.tier))
        assert decide(case("grey", tier=tier), rules).priority == routine + policy.tier[tier]
    china = CaseRules(KINGHAWK, POLICIES["china"])
    assert decide(case("inv", material=Material.mixed, persons=10), china).priority == 40 + 5 * 9
    assert decide(case("grey"), china).hours == 6.0


def test_nothing_is_decided_about_an_unread_tube(china):
    """A case without a finding is an error with a remedy."""
    with pytest.raises(CaseError) as caught:
        decide(Case(Material.single, ()), china)
    assert caught.value.code == "no-finding"
    assert "Test it" in caught.value.sentence


# -- two kits ---------------------------------------------------------------------------------------


def kit_case(*steps, **more):
    """A case of (kit, word, kind of test), in this order."""
    findings = tuple(
        Finding("S1", f"R{i}", *RULE_OF[word], test, kit=kit) for i, (kit, word, test) in enumerate(steps)
    )
    return Case(Material.single, findings, **more)


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ([("maccura", "pos", "first")], "second-kit"),
        ([("maccura", "pos", "first"), ("sansure", "pos", "second-kit")], "positive"),
        ([("maccura", "pos", "first"), ("", "pos", "re-extract")], "positive"),
        ([("", "pos", "first"), ("sansure", "pos", "re-extract")], "second-kit"),
        ([("maccura", "pos", "first"), ("sansure", "neg", "second-kit")], "re-extract"),
        (
            [("maccura", "pos", "first"), ("sansure", "neg", "second-kit"), ("", "pos", "re-extract")],
            "positive",
        ),
        ([("maccura", "st", "first")], "second-kit"),
        ([("maccura", "st", "first"), ("sansure", "pos", "second-kit")], "second-kit"),
        ([("maccura", "st", "first"), ("sansure", "st", "second-kit")], "recollect"),
        ([("maccura", "st", "first"), ("sansure", "neg", "second-kit")], "recollect"),
        ([("maccura", "grey", "first")], "second-kit"),
        ([("maccura", "grey", "first"), ("sansure", "neg", "second-kit")], "negative"),
    ],
)
def test_screened_with_one_kit_and_checked_with_another(steps, expected):
    """Jilin 2022: Maccura screens, Sansure checks; a positive needs both kits."""
    assert step(decide(kit_case(*steps), JILIN)) == expected


def test_a_finding_is_understood_by_the_table_of_its_own_kit():
    """A row that only the first kit has is of the kind that its own file says, not guessed by its name."""
    content = load("assays", "maccura")
    row = next(row for row in content["decision"] if row.get("kind") == "single-target")
    row["id"], content["version"] = "odd-name", "9"
    content["ladder"].pop("single-target", None)
    finding = Finding("S1", "R1", Call.borderline, "odd-name", "first", kit="maccura")
    known = CaseRules(SANSURE, POLICIES["china"], {"maccura": AssayRules.from_mapping(content)})
    assert known.kind(finding) == "single-target"
    assert CaseRules(SANSURE, POLICIES["china"]).kind(finding) == "inconclusive"


def test_contradictory_specimens_need_as_many_negatives_as_the_policy_says():
    """After a positive specimen, two negative ones where the policy asks for two, one elsewhere."""
    before = (found("pos", specimen="S0"), found("neg", specimen="S0", n=1))
    now = found("neg", specimen="S1", test="recollected")
    first = Case(Material.single, (now,), earlier=before)
    assert decide(first, JILIN) == Recollect("contradictory-specimens", 24.0)
    assert decide(first, CaseRules(SANSURE, POLICIES["china"])) == Conclude(
        "negative", "negative-earlier-finding"
    )
    third = found("neg", specimen="S2", test="recollected")
    assert decide(Case(Material.single, (third,), earlier=(*before, now)), JILIN) == Conclude(
        "negative", "negative-earlier-finding"
    )
    grey = found("grey", specimen="S1", test="recollected")
    assert decide(Case(Material.single, (third,), earlier=(*before, grey)), JILIN) == Conclude(
        "inconclusive", "specimens-used-up"
    )
    early = (found("neg", specimen="S9"), *before)  # a negative before the positive proves nothing
    assert decide(Case(Material.single, (now,), earlier=early), JILIN) == Conclude(
        "inconclusive", "specimens-used-up"
    )
    mixed = found("pos", specimen="T10", material=Material.mixed)
    assert decide(Case(Material.single, (now,), earlier=(mixed,)), JILIN).reason == "negative"


# -- evidence from outside ---------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["pos", "grey", "st", "inc", "flat"])
def test_a_signal_beside_a_strong_positive_is_extracted_again(china, word):
    """Before anything is concluded from it, a first signal beside a very strong well is tested again."""
    decision = decide(case(word, evidence=(STRONG,)), china)
    assert (decision.kind, decision.reason) == ("re-extract", "beside-strong")
    assert decision.priority == decide(case("grey"), china).priority
    assert step(decide(case(word, word, curve="sigmoid", evidence=(STRONG,)), china)) != "beside-strong"


def test_evidence_asks_once(china):
    """A signal that came again is no splash; negatives and invalid ones never were."""
    assert decide(case("pos", "pos", evidence=(STRONG,)), china) == Conclude("positive", "positive-on-repeat")
    assert decide(case("inv", "pos", evidence=(STRONG,)), china).reason == "beside-strong"
    assert decide(case("neg", evidence=(STRONG, LOT)), china) == Conclude("negative", "negative")
    assert decide(case("inv", evidence=(STRONG, LOT)), china).reason == "invalid"
    assert decide(case("pos", "neg", evidence=(STRONG,)), china).reason == "contradictory"


def test_a_single_target_of_a_crowded_lot_goes_to_another_kit(china, cdc):
    """Two specimens with a single target are no positive while the lot is in doubt; others are as ever."""
    decision = decide(case("st", evidence=(LOT,)), china)
    assert (decision.kind, decision.reason) == ("second-kit", "lot-cluster")
    assert decide(case("st", evidence=(LOT,)), cdc).kind == "re-extract"
    again = found("st", specimen="S2", test="recollected")
    two = Case(Material.single, (again,), earlier=(found("st"),), evidence=(LOT,))
    assert decide(two, china).reason == "lot-cluster"
    assert decide(case("pos", evidence=(LOT,)), china) == Conclude("positive", "positive")
    assert decide(case("grey", evidence=(LOT,)), china).reason == "grey"
    both = decide(case("st", evidence=(LOT, STRONG)), china)
    assert both.reason == "lot-cluster"


def test_evidence_without_material_asks_for_a_new_specimen(china):
    """An empty tube cannot be tested again, and a tube tested too often is not."""
    assert decide(case("pos", residual=False, evidence=(STRONG,)), china) == Recollect("no-material", 24.0)
    words = ("inv", "inv", "neg", "inv", "neg", "pos")
    assert decide(case(*words, evidence=(STRONG,)), china) == Recollect("repeats-used-up", 24.0)
    assert decide(case(*words[1:], evidence=(STRONG,)), china).reason == "beside-strong"


def test_a_policy_can_switch_evidence_off():
    """Without a table, or with an empty step, the neighbours and the lot change nothing."""
    content = load("policies", "china")
    content["evidence"]["beside_strong"] = ""
    rules = CaseRules(KINGHAWK, Policy.from_mapping(content))
    assert decide(case("pos", evidence=(STRONG,)), rules) == Conclude("positive", "positive")
    assert decide(case("st", evidence=(STRONG, LOT)), rules).reason == "lot-cluster"
    del content["evidence"]
    rules = CaseRules(KINGHAWK, Policy.from_mapping(content))
    assert decide(case("st", evidence=(LOT,)), rules).reason == "single-target"


@pytest.mark.parametrize("material", [Material.mixed, Material.pool])
def test_mixed_tubes_and_pools_are_tested_again_anyway(china, material):
    """What follows a mixed tube or a pool is a test of each person already; evidence adds nothing."""
    plain, doubted = (decide(case("pos", material=material, evidence=e), china) for e in ((), (STRONG,)))
    assert plain == doubted


def test_a_tube_that_waits_gains_priority_up_to_a_cap(china):
    """One point an hour, whole hours, at most a day; a held ten-person tube still comes first."""
    base = decide(case("grey"), china).priority
    for hours, more in ((0.99, 0), (1.0, 1), (5.5, 5), (24.0, 24), (300.0, 24)):
        assert decide(case("grey", waited_hours=hours), china).priority == base + more
    old = decide(case("grey", waited_hours=300.0), china).priority
    assert decide(case("inv", material=Material.mixed, persons=10), china).priority > old
    content = load("policies", "china")
    del content["priority"]["per_hour"], content["priority"]["most_for_age"]
    rules = CaseRules(KINGHAWK, Policy.from_mapping(content))
    assert decide(case("grey", waited_hours=9.0), rules).priority == base


WORDS = st.sampled_from(sorted(RULE_OF))
ANSWERS = st.sampled_from(
    list(
        product(
            sorted(RULE_OF), ("sigmoid", "flat", "atypical", None), ((), (STRONG,), (LOT,), (LOT, STRONG))
        )
    )
)  # as many answers as three specimens of six tests can need
CURVES = st.sampled_from(["sigmoid", "flat", "atypical", None])
RULES = st.sampled_from([CaseRules(KINGHAWK, p) for p in (*POLICIES.values(), CONFIRMING)])


@CALM
@given(st.lists(WORDS, min_size=1, max_size=8), RULES, st.booleans(), st.integers(1, 20))
def test_a_mixed_tube_never_gives_an_individual_positive(words, rules, residual, persons):
    """Whatever happened to it, a mixed tube ends negative only, and only without any signal."""
    decision = decide(case(*words, material=Material.mixed, residual=residual, persons=persons), rules)
    if isinstance(decision, Conclude):
        assert decision.result == "negative"
        assert set(words) <= {"neg", "inv"}
        assert words[-1] == "neg"
    assert not isinstance(decision, TestSingly)


@CALM
@given(st.lists(ANSWERS, min_size=18, max_size=18), RULES, st.booleans())
def test_every_case_ends(answers, rules, residual):
    """Whatever the runs say, a person's case ends within the allowed tests and specimens."""
    supply = iter(answers)
    earlier, own = (), ()
    specimen = 1
    for n in range(18):
        word, curve, evidence = next(supply)
        test = "recollected" if specimen > 1 else "first"
        own += (found(word, specimen=f"S{specimen}", curve=curve, test=test, n=n),)
        decision = decide(
            Case(Material.single, own, residual=residual, earlier=earlier, evidence=evidence), rules
        )
        assert decision.reason in REASONS
        if isinstance(decision, Conclude):
            break
        if isinstance(decision, Recollect):
            earlier, own, specimen = earlier + own, (), specimen + 1
    assert isinstance(decision, Conclude)
    assert rules.policy.max_specimens * rules.policy.max_tests == len(answers)
    if decision.result == "negative":
        assert own[-1].call is Call.negative or decision.reason == "negative-grey-twice"
        assert all(finding.call is not Call.positive for finding in own)
    if decision.result == "positive":
        assert own[-1].call is not Call.negative


@CALM
@given(st.lists(WORDS, min_size=1, max_size=7), RULES, st.sampled_from(list(Material)), st.booleans())
def test_every_reason_has_its_sentences(words, rules, material, residual):
    """No decision is ever made with a code that nobody can read."""
    decision = decide(case(*words, material=material, residual=residual), rules)
    assert decision.reason in REASONS
    if isinstance(decision, Retest | TestSingly):
        assert residual
        assert decision.hours > 0
