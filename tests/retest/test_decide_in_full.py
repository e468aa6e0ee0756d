"""Decisions in full: result or step, reason, priority and hours, with numbers that tell every term apart."""

import tomllib
from pathlib import Path

import pytest

from retest import (
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

PACKAGE = Path(__file__).resolve().parents[2] / "retest"
KIT = AssayRules.from_toml((PACKAGE / "assays" / "kinghawk.toml").read_text("utf-8"), "kinghawk")
CHINA = tomllib.loads((PACKAGE / "policies" / "china.toml").read_text("utf-8"))
HOURS = {"retest": 1.0, "confirm": 2.0, "singly": 3.0, "recollect": 4.0}
PRIORITY = {
    "retest": 1000, "confirm": 2000, "singly": 4000, "per_person": 10, "recollected": 100_000,
    "per_hour": 1, "most_for_age": 5, "tier": {"fever": 300},
}  # fmt: skip
PLAIN = CaseRules(KIT, Policy.from_mapping(CHINA | {"hours": HOURS, "priority": PRIORITY}))
CONFIRMING = CaseRules(
    KIT,
    Policy.from_mapping(
        CHINA | {"hours": HOURS, "priority": PRIORITY, "positive": {"confirm": "re-extract"}}
    ),
)
RULE_OF = {
    "pos": (Call.positive, "both-detected"),
    "neg": (Call.negative, "none-detected"),
    "inv": (Call.invalid, "no-signal-no-control"),
    "grey": (Call.borderline, "grey"),
    "st": (Call.borderline, "single-target"),
    "inc": (Call.borderline, "inconclusive"),
    "flat": (Call.borderline, "curve-flat"),
}
STRONG = (Evidence("beside-strong", "B3", 14.2),)
LOT = (Evidence("lot-cluster", "L1/N", 1e-7),)


def case(words, material=Material.single, specimens=1, *, curve=None, held=False, **more):
    """A case of these words; ``specimens`` counts the ones the person has given, this one included."""
    findings = tuple(
        Finding("S", f"R{i}", *RULE_OF[word], "recollected" if held else "first", curve, "", material)
        for i, word in enumerate(words.split())
    )
    earlier = tuple(Finding(f"E{i}", "R", *RULE_OF["inv"], "first") for i in range(specimens - 1))
    return Case(material, findings, earlier=earlier, **more)


AGAIN = 1000  # the priority of a plain repeat


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        # the ladder, step by step; the reason is the kind of the newest finding
        (case("grey"), Retest("re-amplify", "grey", AGAIN, 1.0)),
        (case("st"), Retest("re-extract", "single-target", AGAIN, 1.0)),
        (case("inc"), Retest("re-extract", "inconclusive", AGAIN, 1.0)),
        (case("flat"), Retest("re-amplify", "curve", AGAIN, 1.0)),
        (case("flat flat"), Retest("re-extract", "curve", AGAIN, 1.0)),
        (case("flat flat flat"), Recollect("repeats-used-up", 4.0)),
        (case("inv"), Retest("re-extract", "invalid", AGAIN, 1.0)),
        (case("inv inv"), Recollect("repeats-used-up", 4.0)),
        (case("pos neg"), Retest("re-extract", "contradictory", AGAIN, 1.0)),
        (case("pos neg neg"), Recollect("repeats-used-up", 4.0)),
        (case("neg pos neg"), Retest("re-extract", "contradictory", AGAIN, 1.0)),
        (case("grey grey"), Recollect("grey-curve-unknown", 4.0)),
        (case("grey grey", curve="sigmoid"), Conclude("positive", "positive-grey-twice")),
        (case("grey grey", curve="flat"), Conclude("negative", "negative-grey-twice")),
        (case("pos"), Conclude("positive", "positive")),
        (case("neg pos"), Conclude("positive", "positive-on-repeat")),
        (case("neg"), Conclude("negative", "negative")),
        (case("inv neg"), Conclude("negative", "negative-on-repeat")),
        # six tests of one specimen are enough, whatever the last one says
        (case("neg neg neg neg grey"), Retest("re-amplify", "grey", AGAIN, 1.0)),
        (case("neg neg neg neg neg grey"), Recollect("repeats-used-up", 4.0)),
        (case("neg neg neg neg neg st"), Recollect("repeats-used-up", 4.0)),
        (case("neg neg neg neg neg inv"), Recollect("repeats-used-up", 4.0)),
        (case("pos neg neg neg neg neg neg"), Recollect("repeats-used-up", 4.0)),
        (case("neg neg neg neg neg pos"), Conclude("positive", "positive-on-repeat")),
        # an empty tube
        (case("grey", residual=False), Recollect("no-material", 4.0)),
        (case("pos neg", residual=False), Recollect("no-material", 4.0)),
        (case("inv inv", residual=False), Recollect("repeats-used-up", 4.0)),
        # the last specimen of a person is reported as its ladder ends, never as negative
        (case("grey", specimens=2, residual=False), Recollect("no-material", 4.0)),
        (case("grey", specimens=3, residual=False), Conclude("inconclusive", "specimens-used-up")),
        (case("inv", specimens=3, residual=False), Conclude("invalid", "specimens-used-up")),
        (case("inv inv", specimens=3), Conclude("invalid", "specimens-used-up")),
        (case("st st", specimens=3), Conclude("inconclusive", "specimens-used-up")),
        (case("grey grey", specimens=3), Conclude("inconclusive", "specimens-used-up")),
        (case("neg neg neg neg neg grey", specimens=3), Conclude("inconclusive", "specimens-used-up")),
        (case("neg neg neg neg neg inv", specimens=3), Conclude("invalid", "specimens-used-up")),
        (case("grey", specimens=4), Retest("re-amplify", "grey", AGAIN, 1.0)),
        # evidence from outside: one test more, as urgent as a repeat
        (case("pos", evidence=STRONG), Retest("re-extract", "beside-strong", AGAIN, 1.0)),
        (case("inv neg pos", evidence=STRONG), Retest("re-extract", "beside-strong", AGAIN, 1.0)),
        (case("st", evidence=LOT), Retest("second-kit", "lot-cluster", AGAIN, 1.0)),
        (case("pos", evidence=LOT + STRONG), Retest("re-extract", "beside-strong", AGAIN, 1.0)),
        (case("pos", evidence=STRONG, residual=False), Recollect("no-material", 4.0)),
        (case("pos", specimens=3, evidence=STRONG, residual=False), Conclude("inconclusive", "specimens-used-up")),
        (case("neg neg neg neg neg pos", evidence=STRONG), Recollect("repeats-used-up", 4.0)),
        (case("neg neg neg neg neg pos", specimens=3, evidence=STRONG), Conclude("inconclusive", "specimens-used-up")),
        # tubes of several persons
        (case("pos", Material.mixed), Recollect("mixed-positive", 4.0)),
        (case("pos grey", Material.mixed), Recollect("mixed-positive", 4.0)),
        (case("st inc", Material.mixed), Recollect("mixed-single-target", 4.0)),
        (case("flat inc", Material.mixed), Recollect("mixed-inconclusive", 4.0)),
        (case("grey flat", Material.mixed), Recollect("mixed-curve", 4.0)),
        (case("neg", Material.mixed), Conclude("negative", "mixed-negative")),
        (case("inv", Material.mixed), Retest("re-extract", "mixed-invalid-repeat", AGAIN, 1.0)),
        (case("neg inv", Material.mixed), Retest("re-extract", "mixed-invalid-repeat", AGAIN, 1.0)),
        (case("inv", Material.mixed, residual=False), Recollect("mixed-invalid", 4.0)),
        (case("inv inv", Material.mixed), Recollect("mixed-invalid", 4.0)),
        (case("pos", Material.pool), TestSingly("pool-positive", 4000, 3.0)),
        (case("inv neg", Material.pool), TestSingly("pool-invalid", 4000, 3.0)),
        (case("inv grey", Material.pool), TestSingly("pool-grey", 4000, 3.0)),
        (case("neg", Material.pool), Conclude("negative", "pool-negative")),
        (case("pos", Material.pool, residual=False), Recollect("pool-no-material", 4.0)),
        # what makes a test more urgent, each term by itself and all together
        (case("pos", Material.pool, persons=5), TestSingly("pool-positive", 4040, 3.0)),
        (case("grey", persons=0), Retest("re-amplify", "grey", 1000, 1.0)),
        (case("grey", tier="fever"), Retest("re-amplify", "grey", 1300, 1.0)),
        (case("grey", tier="no such tier"), Retest("re-amplify", "grey", 1000, 1.0)),
        (case("grey", held=True), Retest("re-amplify", "grey", 101_000, 1.0)),
        (case("grey", waited_hours=3.9), Retest("re-amplify", "grey", 1003, 1.0)),
        (case("grey", waited_hours=50.0), Retest("re-amplify", "grey", 1005, 1.0)),
        (
            case("inv", Material.mixed, persons=3, tier="fever", held=True, waited_hours=2.0),
            Retest("re-extract", "mixed-invalid-repeat", 101_322, 1.0),
        ),
    ],
)  # fmt: skip
def test_the_next_step_in_full(one, expected):
    """The step, its reason, how urgent it is and by when it is due are those of policy and ladder."""
    assert decide(one, PLAIN) == expected


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (case("pos"), Retest("re-extract", "positive-confirm", 2000, 2.0)),
        (case("pos", tier="fever", persons=2), Retest("re-extract", "positive-confirm", 2310, 2.0)),
        (case("inv pos"), Retest("re-extract", "positive-confirm", 2000, 2.0)),
        (case("pos pos"), Conclude("positive", "positive-on-repeat")),
        (case("pos", residual=False), Recollect("no-material", 4.0)),
        (case("neg neg neg neg pos"), Retest("re-extract", "positive-confirm", 2000, 2.0)),
        (case("neg neg neg neg neg pos"), Recollect("repeats-used-up", 4.0)),
        (case("pos", specimens=3, residual=False), Conclude("inconclusive", "specimens-used-up")),
        (case("neg neg neg neg neg pos", specimens=3), Conclude("inconclusive", "specimens-used-up")),
        (case("pos", Material.mixed), Recollect("mixed-positive", 4.0)),
    ],
)
def test_a_positive_that_must_be_confirmed_in_full(one, expected):
    """A first positive is checked before it is reported, sooner than a repeat; never concluded without."""
    assert decide(one, CONFIRMING) == expected


def test_a_ladder_that_ends_is_reported_as_it_ends(cdc):
    """The CDC ladder ends in a report, not in a new specimen, also on the person's last one."""
    for words in ("st st st", "grey grey grey", "inc inc inc", "flat flat flat"):
        for specimens in (1, 3):
            assert decide(case(words, specimens=specimens), cdc) == Conclude("inconclusive", "repeats-ended")


def test_the_tube_read_last_is_the_one_on_trial():
    """Findings of a person's other tube are history: they neither climb this ladder nor use up its tests."""

    def two(first, second):
        own = tuple(
            Finding(specimen, f"R{i}", *RULE_OF[word], "first")
            for specimen, words in (("S1", first), ("S2", second))
            for i, word in enumerate(words.split())
        )
        return decide(Case(Material.single, own), PLAIN)

    assert two("inv inv", "inv") == Retest("re-extract", "invalid", AGAIN, 1.0)
    assert two("grey", "grey") == Retest("re-amplify", "grey", AGAIN, 1.0)
    assert two("grey", "neg") == Conclude("negative", "negative-earlier-finding")
    assert two("pos", "neg") == Conclude("negative", "negative-earlier-finding")
    assert two("inv", "neg") == Conclude("negative", "negative")
    assert two("st", "st") == Conclude("positive", "positive-two-specimens")
    assert two("neg neg neg neg neg", "grey") == Retest("re-amplify", "grey", AGAIN, 1.0)


def test_an_unread_tube_is_refused_with_the_remedy():
    """Nothing is decided about a tube that was not read, and the technician is told what to do."""
    with pytest.raises(CaseError) as caught:
        decide(Case(Material.single, ()), PLAIN)
    assert caught.value.code == "no-finding"
    assert caught.value.sentence == "This tube has no reading yet. Test it before anything is decided."
    assert str(caught.value) == caught.value.sentence


def test_the_kits_own_ladder_for_one_row_governs_to_the_end():
    """Liferiver's E alone asks for a new specimen; a negative repeat of the same tube does not undo that."""
    rules = CaseRules(
        AssayRules.from_toml((PACKAGE / "assays" / "liferiver-zj.toml").read_text("utf-8"), "liferiver"),
        PLAIN.policy,
    )

    def after(*findings):
        own = tuple(Finding("S", f"R{i}", call, rule, "first") for i, (call, rule) in enumerate(findings))
        return decide(Case(Material.single, own), rules)

    e_alone, other, negative = (Call.borderline, "single-target-e"), RULE_OF["st"], RULE_OF["neg"]
    assert after(e_alone) == Recollect("single-target", 4.0)
    assert after(other) == Retest("re-extract", "single-target", AGAIN, 1.0)
    assert after(other, negative) == Recollect("repeats-used-up", 4.0)
    assert after(e_alone, negative) == Conclude("inconclusive", "repeats-ended")
    assert after(negative, e_alone, negative) == Conclude("inconclusive", "repeats-ended")


def test_a_second_grey_reading_is_judged_by_its_own_curve_and_row():
    """The newest curve decides; where the policy leaves it to the ladder, it is the newest row's ladder."""
    words = {"sigmoid": "positive", "flat": "negative", "atypical": "ladder", "unknown": "ladder"}
    content = tomllib.loads((PACKAGE / "assays" / "kinghawk.toml").read_text("utf-8"))
    row = next(row for row in content["decision"] if row["id"] == "grey")
    content["decision"].insert(content["decision"].index(row), row | {"id": "grey-n", "only": ["N"]})
    steps = {"steps": ["re-amplify", "second-kit"], "end": "invalid", "negatives": 1}
    content["ladder"]["grey-n"] = steps
    policy = Policy.from_mapping(CHINA | {"hours": HOURS, "priority": PRIORITY, "grey_again": words})
    rules = CaseRules(AssayRules.from_mapping(content), policy)

    def twice(first, second, middle=()):
        own = [
            Finding("S", "R", Call.borderline, *first),
            *middle,
            Finding("S", "R", Call.borderline, *second),
        ]
        return decide(Case(Material.single, tuple(own)), rules)

    flat, sigmoid = ("grey", "first", "flat"), ("grey", "re-amplify", "sigmoid")
    assert twice(flat, sigmoid) == Conclude("positive", "positive-grey-twice")
    assert twice(sigmoid, flat) == Conclude("negative", "negative-grey-twice")
    plain, own = ("grey", "first"), ("grey-n", "first", "atypical")
    assert twice(plain, own) == Retest("second-kit", "grey", AGAIN, 1.0)
    assert twice(own, plain) == Retest("re-extract", "grey", AGAIN, 1.0)
    invalid = Finding("S", "R", *RULE_OF["inv"], "first")
    assert twice(plain, own, [invalid]) == Retest("second-kit", "grey", AGAIN, 1.0)
    assert twice(flat, sigmoid, [invalid]) == Conclude("positive", "positive-grey-twice")


def test_an_invalid_test_leaves_nothing_open_behind_a_negative():
    """Only a signal must be outweighed by negatives; a repeat that failed and then worked is done."""
    strict = CHINA["ladder"] | {"invalid": CHINA["ladder"]["invalid"] | {"negatives": 0}}
    rules = CaseRules(KIT, Policy.from_mapping(CHINA | {"ladder": strict}))
    assert decide(case("inv neg"), rules) == Conclude("negative", "negative-on-repeat")
    assert decide(case("inv inv neg"), rules) == Conclude("negative", "negative-on-repeat")


def own_ladders():
    """A kit with a ladder of its own for one grey row, and for the row that is invalid."""
    content = tomllib.loads((PACKAGE / "assays" / "kinghawk.toml").read_text("utf-8"))
    row = next(row for row in content["decision"] if row["id"] == "grey")
    content["decision"].insert(content["decision"].index(row), row | {"id": "grey-n", "only": ["N"]})
    content["ladder"]["grey-n"] = {"steps": ["re-amplify", "second-kit"], "end": "invalid", "negatives": 2}
    content["ladder"]["no-signal-no-control"] = {
        "steps": ["second-kit"],
        "end": "inconclusive",
        "negatives": 1,
    }
    return CaseRules(AssayRules.from_mapping(content), PLAIN.policy)


def test_a_row_with_a_ladder_of_its_own_follows_it():
    """How often a row must be negative, what is tried and how it ends stands in the kit's ladder for it."""
    grey_n, invalid, negative = (Call.borderline, "grey-n"), RULE_OF["inv"], RULE_OF["neg"]

    def after(*findings):
        own = tuple(Finding("S", f"R{i}", *one, "first") for i, one in enumerate(findings))
        return decide(Case(Material.single, own), own_ladders())

    assert after(grey_n) == Retest("re-amplify", "grey", AGAIN, 1.0)
    assert after(grey_n, negative) == Retest("second-kit", "grey", AGAIN, 1.0)
    assert after(grey_n, negative, negative) == Conclude("negative", "negative-on-repeat")
    assert after(RULE_OF["grey"], negative) == Conclude("negative", "negative-on-repeat")
    assert after(invalid) == Retest("second-kit", "invalid", AGAIN, 1.0)
    assert after(invalid, invalid) == Conclude("inconclusive", "repeats-ended")


def test_every_negative_specimen_after_the_positive_one_counts():
    """Where two negative specimens are asked for, the one right after the positive is the first of them."""
    specimens = CHINA["specimens"] | {"negatives_after_positive": 2, "max_specimens": 9}
    rules = CaseRules(KIT, Policy.from_mapping(CHINA | {"specimens": specimens}))

    def last_of(words):
        tubes = [Finding(f"S{i}", "R", *RULE_OF[word], "first") for i, word in enumerate(words.split())]
        return decide(Case(Material.single, (tubes[-1],), earlier=tuple(tubes[:-1])), rules)

    again = Recollect("contradictory-specimens", 24.0)
    assert last_of("pos neg") == again
    assert last_of("neg pos neg") == again
    assert last_of("pos neg pos neg") == again
    assert last_of("pos neg neg") == Conclude("negative", "negative-earlier-finding")
    assert last_of("pos pos neg neg") == Conclude("negative", "negative-earlier-finding")
    assert last_of("pos inv neg neg") == Conclude("negative", "negative-earlier-finding")
    assert last_of("pos inv neg") == again
