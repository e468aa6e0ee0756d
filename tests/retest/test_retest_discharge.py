import copy
import tomllib
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retest import REASONS, Discharge, DischargeRules, DischargeTest, Reading, RulesError, discharge

FOLDER = Path(__file__).resolve().parents[2] / "retest" / "policies"
NINE, EIGHT, HOME = (
    DischargeRules.from_toml(
        (FOLDER / f"discharge-cn-{name}.toml").read_text("utf-8"), f"discharge-cn-{name}.toml"
    )
    for name in ("9", "8", "home")
)
START = datetime(2022, 12, 1, 8, 0, tzinfo=UTC)


def sample(hours, n=None, orf=None, name="", valid=True, day=0, **curves):
    """One test so many hours after the start; Cq of N and ORF1ab."""
    readings = (Reading("N", n, curves.get("n_curve")), Reading("ORF1ab", orf, curves.get("orf_curve")))
    return DischargeTest(name or f"T{hours}", START + timedelta(hours=hours), readings, valid, day)


@pytest.mark.parametrize(
    ("rules", "tests", "reason"),
    [
        (NINE, [sample(0, 35.0, 35.0), sample(24, None, 38.0)], "discharge-met"),
        (NINE, [sample(0, 35.0, 34.99), sample(24, None, 38.0)], "discharge-too-soon"),
        (NINE, [sample(0, 35.0, 36.0), sample(23.99, 36.0, 36.0)], "discharge-too-soon"),
        (NINE, [sample(0, 35.0, 36.0), sample(24, 34.99, 36.0)], "discharge-below"),
        (NINE, [sample(0, 35.0, 36.0), sample(24, 30.0, 36.0), sample(48, 36.0, 36.0)], "discharge-too-soon"),
        (NINE, [sample(0), sample(24), sample(48, 20.0)], "discharge-below"),
        (NINE, [sample(0), sample(12), sample(24)], "discharge-met"),
        (NINE, [sample(0)], "discharge-too-soon"),
        (NINE, [], "discharge-no-test"),
        (NINE, [sample(0, 20.0)], "discharge-below"),
        (NINE, [sample(0, 20.0), sample(12, valid=False)], "discharge-below"),
        (NINE, [sample(0, valid=False), sample(24)], "discharge-too-soon"),
        (NINE, [sample(0), sample(12, 20.0, valid=False), sample(24)], "discharge-met"),
        (NINE, [sample(0, valid=False)], "discharge-no-test"),
        (NINE, [sample(0), sample(24, n_curve="sigmoid")], "discharge-below"),
        (NINE, [sample(0), sample(24, 30.0, n_curve="flat")], "discharge-below"),
        (NINE, [sample(0), sample(24, 36.0, n_curve="sigmoid")], "discharge-met"),
        (EIGHT, [sample(0, 39.99, 40.0), sample(24, 40.0, 40.0)], "discharge-too-soon"),
        (EIGHT, [sample(0, 40.0, 40.0), sample(24, 40.0)], "discharge-met"),
        (HOME, [sample(0, day=5), sample(24, day=6), sample(36, day=7)], "discharge-met"),
        (HOME, [sample(0, day=5), sample(24, day=6)], "discharge-too-soon"),
        (HOME, [sample(0, 20.0, day=5), sample(24, day=6), sample(36, day=7)], "discharge-met"),
        (HOME, [sample(0, 20.0, day=5)], "discharge-no-test"),
    ],
)  # fmt: skip
def test_the_printed_rules_at_their_edges(rules, tests, reason):
    """8th, 9th edition and the notice of 2022-12-07: limits inclusive, a day apart, doubt keeps one in."""
    found = discharge(tests, rules)
    assert found.reason == reason
    assert found.met == (reason == "discharge-met")
    assert reason in REASONS
    assert discharge(tests[::-1], rules) == found


def test_the_next_moment_is_told():
    """After one good test the second one may be taken a day later, to the second."""
    found = discharge([sample(0)], NINE)
    assert found.not_before == START + timedelta(hours=24)
    assert found.specimens == ("T0",)
    assert discharge([sample(0), sample(24)], NINE).not_before is None
    assert discharge([sample(0, 20.0)], NINE).specimens == ()


def test_the_specimens_that_count_are_named():
    """After a low Ct the row begins anew with the next good test."""
    found = discharge([sample(0), sample(24, 20.0), sample(48), sample(72)], NINE)
    assert found.specimens == ("T48", "T72")


def test_a_test_without_a_target_says_nothing_unless_the_other_one_is_low():
    """N alone at 36 neither counts nor breaks; N alone at 30 breaks."""

    def n_alone(cq):
        return DischargeTest("half", START + timedelta(hours=12), (Reading(" n ", cq), Reading("IC", 25.0)))

    assert discharge([sample(0), n_alone(36.0), sample(24)], NINE).specimens == ("T0", "T24")
    assert discharge([sample(0), n_alone(30.0), sample(24)], NINE).specimens == ("T24",)
    assert discharge([n_alone(None)], NINE).reason == "discharge-no-test"


def test_more_tests_than_two_can_be_asked_for():
    """With three tests asked for, two a day apart are too few."""
    content = copy.deepcopy(tomllib.loads((FOLDER / "discharge-cn-9.toml").read_text("utf-8")))
    content["discharge"]["tests"] = 3
    three = DischargeRules.from_mapping(content)
    found = discharge([sample(0), sample(24)], three)
    assert found == Discharge(False, "discharge-too-few", ("T0", "T24"), None)
    assert discharge([sample(0), sample(1), sample(24)], three).met
    content["discharge"]["tests"] = 1
    assert discharge([sample(0)], DischargeRules.from_mapping(content)).met


def test_a_time_without_a_zone_is_refused():
    """A day apart cannot be told from two local times."""
    naive = DischargeTest("T", datetime(2022, 12, 1), (Reading("N", None),))  # noqa: DTZ001 - that is the test
    with pytest.raises(ValueError, match="no time zone"):
        discharge([naive], NINE)


def test_times_in_other_zones_are_the_same_moments():
    """24 h are 24 h, whatever zone a laboratory writes."""
    later = sample(24)
    moved = DischargeTest("T24", later.sampled_at.astimezone(timezone(timedelta(hours=8))), later.readings)
    assert discharge([sample(0), moved], NINE).met


@pytest.mark.parametrize(
    ("spoil", "code", "line"),
    [
        (lambda t: t.replace("least_ct = 35.0", "least_ct = 0"), "number-range", "least_ct = 0"),
        (lambda t: t.replace('["N", "ORF1ab"]', "[]"), "no-target", "targets = []"),
        (lambda t: t.replace("tests = 2", "tests = 0"), "not-whole", "tests = 0"),
        (lambda t: t + "spare = 1\n", "unknown-key", "spare = 1"),
        (lambda t: t.replace("hours_apart = 24.0", ""), "missing-key", "[discharge]"),
        (lambda t: t.replace('version = "1"', 'version = "1"\nwhat = 2'), "unknown-key", "what = 2"),
    ],
)  # fmt: skip
def test_a_faulty_file_is_refused_with_its_line(spoil, code, line):
    """Each fault has a code and the number of its line."""
    text = spoil((FOLDER / "discharge-cn-9.toml").read_text("utf-8"))
    with pytest.raises(RulesError) as caught:
        DischargeRules.from_toml(text, "own.toml")
    assert caught.value.code == code
    number = 1 + text.splitlines().index(line)
    assert caught.value.where.startswith(f"own.toml, line {number}")


def test_the_shipped_rules_say_where_they_come_from():
    """Each file has its name as id, a source, notes and a digest of its own."""
    for rules, name in ((NINE, "9"), (EIGHT, "8"), (HOME, "home")):
        assert rules.id == f"discharge-cn-{name}"
        assert rules.version
        assert rules.source
        assert rules.notes
    assert len({NINE.digest, EIGHT.digest, HOME.digest}) == 3
    assert (NINE.least_ct, EIGHT.least_ct, HOME.from_day) == (35.0, 40.0, 6)


CQ = st.none() | st.floats(20, 45)


@given(st.lists(st.tuples(st.integers(0, 200), CQ, CQ, st.booleans()), max_size=8))
def test_nobody_leaves_on_a_low_value(rows):
    """When isolation ends, two valid tests a day apart are high, and nothing valid since is low."""
    tests = [sample(hour, n, orf, name=f"T{i}", valid=valid) for i, (hour, n, orf, valid) in enumerate(rows)]
    found = discharge(tests, NINE)
    low = [t for t in tests if t.valid and any(r.cq is not None and r.cq < 35 for r in t.readings)]
    if found.met:
        counted = [t for t in tests if t.specimen in found.specimens]
        times = [t.sampled_at for t in counted]
        assert max(times) - min(times) >= timedelta(hours=24)
        assert all(t.valid and t not in low for t in counted)
        assert not [t for t in low if t.sampled_at > min(times)]
    elif found.reason == "discharge-below":
        assert low
