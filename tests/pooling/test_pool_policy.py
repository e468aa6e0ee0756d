"""Pool policies of three jurisdictions, and bad files refused by key."""

import re
import tomllib
from importlib import resources

import pytest

import pooling
from pooling import Mode, PoolDesignError, PoolPolicyError, Resolution

FOLDER = resources.files("pooling") / "policies"
TEXTS = {
    path.name.removesuffix(".toml"): path.read_text(encoding="utf-8")
    for path in sorted(FOLDER.iterdir(), key=str)
}
GOOD = """
id = "here"
name = "Here"
version = "1"
source = "a test"
notes = "synthetic"

[limits]
max_prevalence = 0.2

[statement]
en = "Pooled."
zh = "混检。"

[mode.mixed]
max_n = 10
notify = true
isolate = true
with_confirmed = false
en = "Wait."
zh = "请等待。"

[mode.mixed.medium_ml]
10 = 6

[mode.pool]
report = "nothing"
max_n = 5
notify = false
isolate = false
with_confirmed = false
en = "Wait."
zh = "请等待。"
"""


@pytest.fixture(scope="module")
def policies():
    """The shipped policies, read."""
    return {name: pooling.policy_from_toml(text, f"{name}.toml") for name, text in TEXTS.items()}


def test_three_jurisdictions_are_shipped(policies):
    """China, CDC and FDA swab, each with its source, what it leaves open, and its own name as id."""
    assert set(policies) == {"china", "cdc", "fda-swab"}
    for name, policy in policies.items():
        assert policy.id == name
        assert policy.version == "1"
        assert min(len(policy.source), len(policy.notes), len(policy.name)) > 20


@pytest.mark.parametrize(
    ("name", "mode", "report", "notify", "isolate"),
    [
        ("china", Mode.MIXED, None, True, True),
        ("china", Mode.POOL, "nothing", False, False),
        ("china", Mode.DUAL, "under-review", True, True),
        ("cdc", Mode.POOL, "nothing", False, False),
        ("cdc", Mode.DUAL, "nothing", False, False),
        ("fda-swab", Mode.MIXED, None, False, True),
        ("fda-swab", Mode.POOL, "nothing", False, False),
        ("fda-swab", Mode.DUAL, "presumed-positive", False, True),
    ],
)
def test_what_follows_a_non_negative_tube(policies, name, mode, report, notify, isolate):
    """Report, notification and isolation per mode and jurisdiction; nobody is put with the confirmed."""
    duties = policies[name].duties(mode)
    assert (duties.report, duties.notify, duties.isolate) == (report, notify, isolate)
    assert duties.with_confirmed is False
    assert duties.resolve is pooling.resolution(mode)
    assert duties.sentence
    assert re.search("[\u4e00-\u9fff]", duties.sentence_zh)


def test_mixed_tubes_are_re_collected_by_type_not_by_file(policies):
    """No file can turn the re-collection of a mixed tube into single tests: there is no such key."""
    assert policies["china"].duties(Mode.MIXED).resolve is Resolution.RECOLLECT
    assert "resolve" not in GOOD
    with pytest.raises(PoolPolicyError) as caught:
        pooling.policy_from_toml(GOOD.replace("max_n = 10", 'max_n = 10\nresolve = "test-singly"'), "x.toml")
    assert caught.value.code == "unknown-key"


def test_mixed_tubes_have_no_rule_at_cdc(policies):
    """The CDC instructions know no tube mixed at collection: asking is refused, not answered by analogy."""
    with pytest.raises(PoolDesignError) as caught:
        policies["cdc"].duties(Mode.MIXED)
    assert caught.value.code == "MODE_NOT_ALLOWED"
    assert "cdc" in str(caught.value)
    assert "pool, dual" in str(caught.value)


def test_limits_of_the_sources(policies):
    """CDC: 20 % and .85; FDA: 25 %, .85, 12 months of records; the Chinese texts name no such limit."""
    limits = {
        name: (policy.max_prevalence, policy.compare_share, policy.records_months)
        for name, policy in policies.items()
    }
    assert limits == {
        "cdc": (0.20, 0.85, None),
        "fda-swab": (0.25, 0.85, 12),
        "china": (None, None, None),
    }
    assert policies["cdc"].duties(Mode.POOL).max_n == 4
    assert {mode: duties.max_n for mode, duties in policies["china"].modes.items()} == {
        Mode.MIXED: 20,
        Mode.POOL: 10,
        Mode.DUAL: 10,
    }
    assert policies["china"].duties(Mode.MIXED).medium_ml == {1: 3.0, 5: 5.0, 10: 6.0, 20: 12.0}
    assert policies["cdc"].duties(Mode.POOL).medium_ml == {}


def test_reports_say_that_they_are_pooled(policies):
    """Each jurisdiction has its statement for the report, in both languages; FDA's is that of condition H."""
    for policy in policies.values():
        assert policy.statement
        assert re.search("[\u4e00-\u9fff]", policy.statement_zh)
    assert policies["fda-swab"].statement.startswith(
        "Individual specimens with low viral loads may not be detected"
    )
    assert policies["fda-swab"].statement.endswith("when tested with pooled testing.")


def test_the_case_policies_are_not_repeated():
    """What the case policy of the same name holds for mixed tubes is not in the pool policy."""
    for text in TEXTS.values():
        content = tomllib.loads(text)
        assert "report" not in content["mode"].get("mixed", {})
        assert "invalid" not in content["mode"].get("mixed", {})


def test_a_good_file_is_read_completely():
    """Every key of the format arrives in its place."""
    policy = pooling.policy_from_toml(GOOD, "here.toml")
    assert (policy.id, policy.name, policy.version, policy.source, policy.notes) == (
        "here",
        "Here",
        "1",
        "a test",
        "synthetic",
    )
    assert (policy.statement, policy.statement_zh) == ("Pooled.", "混检。")
    assert (policy.max_prevalence, policy.compare_share, policy.records_months) == (0.2, None, None)
    assert policy.duties(Mode.MIXED).medium_ml == {10: 6.0}
    assert policy.duties(Mode.POOL).max_n == 5
    assert pooling.policy_from_toml(GOOD.replace("max_prevalence = 0.2", ""), "x").max_prevalence is None
    assert pooling.policy_from_toml(GOOD.replace("max_n = 5", "max_n = 2"), "x").duties(Mode.POOL).max_n == 2
    months = GOOD.replace("max_prevalence = 0.2", "records_months = 1")
    assert pooling.policy_from_toml(months, "x").records_months == 1


@pytest.mark.parametrize(
    ("old", "new", "code", "where", "remedy"),
    [
        ('id = "here"', "id = ", "toml", "bad.toml", "Correct that line"),
        ('id = "here"', "", "missing-key", "bad.toml.id", "add a text"),
        ('id = "here"', "id = 7", "wrong-kind", "bad.toml.id", "7 is not a text; write a text"),
        ('name = "Here"', 'name = " "', "empty", "bad.toml.name", "write a text"),
        ('zh = "混检。"', "", "missing-key", "bad.toml.statement.zh", "add a text"),
        (
            'zh = "混检。"',
            'zh = "混检。"\nfr = "x"',
            "unknown-key",
            "bad.toml.statement.fr",
            "remove or correct",
        ),
        ("[limits]", "limit = 3\n[limits]", "unknown-key", "bad.toml.limit", "read: id, name"),
        (
            "max_prevalence = 0.2",
            "max_prevalence = 20",
            "out-of-range",
            "bad.toml.limits.max_prevalence",
            "0.2",
        ),
        (
            "max_prevalence = 0.2",
            "max_prevalence = 0",
            "out-of-range",
            "bad.toml.limits.max_prevalence",
            "0.2",
        ),
        ("max_prevalence = 0.2", "compare_share = 1", "out-of-range", "bad.toml.limits.compare_share", "0.2"),
        (
            "max_prevalence = 0.2",
            "records_months = 0",
            "out-of-range",
            "bad.toml.limits.records_months",
            "1 or more",
        ),
        (
            "max_prevalence = 0.2",
            "maximum = 1",
            "unknown-key",
            "bad.toml.limits.maximum",
            "remove or correct",
        ),
        ("max_n = 5", "max_n = true", "wrong-kind", "bad.toml.mode.pool.max_n", "a whole number"),
        ("max_n = 5", "max_n = 1", "out-of-range", "bad.toml.mode.pool.max_n", "2 or more"),
        ("notify = true", "notify = 1", "wrong-kind", "bad.toml.mode.mixed.notify", "true or false"),
        (
            'report = "nothing"',
            'report = "silence"',
            "not-allowed",
            "bad.toml.mode.pool.report",
            "presumed-positive",
        ),
        ('report = "nothing"', "", "missing-key", "bad.toml.mode.pool.report", "add a text"),
        (
            "[mode.mixed]",
            '[mode.mixed]\nreport = "nothing"',
            "said-elsewhere",
            "bad.toml.mode.mixed.report",
            "report_while_waiting of the case policy; remove",
        ),
        ("10 = 6", "ten = 6", "out-of-range", "bad.toml.mode.mixed.medium_ml.ten", "10 = 6.0"),
        ("10 = 6", "0 = 6", "out-of-range", "bad.toml.mode.mixed.medium_ml.0", "10 = 6.0"),
        ("10 = 6", "10 = 0", "out-of-range", "bad.toml.mode.mixed.medium_ml.10", "10 = 6.0"),
        ("[mode.pool]", "[mode.swab]", "unknown-key", "bad.toml.mode.swab", "read: mixed"),
        ("[statement]", "[[statement]]", "wrong-kind", "bad.toml.statement", "a table"),
    ],
)
def test_bad_files_are_refused_by_key_with_a_remedy(old, new, code, where, remedy):
    """The error names the file and the key, and says what to write there."""
    assert GOOD.count(old) >= 1
    with pytest.raises(PoolPolicyError) as caught:
        pooling.policy_from_toml(GOOD.replace(old, new, 1), "bad.toml")
    assert (caught.value.code, caught.value.where) == (code, where)
    assert remedy in str(caught.value)
    assert str(caught.value).startswith(f"{where}: ")


def test_a_file_without_modes_is_refused():
    """A policy that decides nothing is no policy."""
    text = GOOD[: GOOD.index("[mode.mixed]")] + "[mode]\n"
    with pytest.raises(PoolPolicyError) as caught:
        pooling.policy_from_toml(text, "bad.toml")
    assert (caught.value.code, caught.value.where) == ("no-mode", "bad.toml.mode")
