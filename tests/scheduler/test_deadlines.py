"""Due times: by tier, by clock, and with clocks that are wrong."""

from datetime import UTC, datetime, timedelta
from importlib.resources import files

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler import ScheduleError, TierRules, at_risk, clock_start, due_at, slack, turnaround

SAMPLED = datetime(2022, 12, 14, 8, 0, tzinfo=UTC)
SHIPPED = files("scheduler").joinpath("tiers.toml").read_text("utf-8")
RULES = TierRules.from_toml(SHIPPED)
BY_RECEIPT = TierRules.from_toml(SHIPPED.replace('clock = "sampling"', 'clock = "receipt"'))

moments = st.datetimes(datetime(2022, 1, 1), datetime(2023, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
tiers = st.sampled_from(["fever", "patient", "yellow", "voluntary", "region"])


@pytest.mark.parametrize(
    ("tier", "hours"), [("fever", 6), ("patient", 12), ("yellow", 12), ("voluntary", 24), ("region", 24)]
)
def test_shipped_tiers(tier, hours):
    """6 hours for fever clinics, 12 for patients and yellow codes, 24 for all others, in two languages."""
    assert due_at(tier, SAMPLED, None, RULES) == SAMPLED + timedelta(hours=hours)
    entry = RULES.tier(tier)
    assert entry.name_en
    assert entry.name_zh
    assert str(hours) in entry.sentence_en
    assert str(hours) in entry.sentence_zh


def test_a_receipt_clock_is_provisional_before_receipt():
    """Under a receipt clock the due time moves back from sampling to receipt when the tube arrives."""
    received = SAMPLED + timedelta(hours=3)
    assert due_at("fever", SAMPLED, None, BY_RECEIPT) == SAMPLED + timedelta(hours=6)
    assert due_at("fever", SAMPLED, received, BY_RECEIPT) == received + timedelta(hours=6)
    assert due_at("fever", SAMPLED, received, RULES) == SAMPLED + timedelta(hours=6)


@settings(deadline=None)
@given(tier=tiers, sampled=moments, received=moments, by_receipt=st.booleans(), minutes=st.integers(0, 3000))
def test_a_wrong_clock_never_makes_a_tube_less_urgent(tier, sampled, received, by_receipt, minutes):
    """Whatever the clocks say, the start is not after receipt: no later report has a negative turnaround."""
    rules = BY_RECEIPT if by_receipt else RULES
    start = clock_start(tier, sampled, received, rules)
    assert start <= received
    assert start in (sampled, received)
    reported = received + timedelta(minutes=minutes)
    assert turnaround(start, reported) == reported - start >= timedelta(0)


def test_turnaround_is_never_negative():
    """A report stamped before its start, by a clock set back in between, took no time."""
    assert turnaround(SAMPLED, SAMPLED - timedelta(hours=1)) == timedelta(0)


def test_slack_and_risk():
    """Slack is what is left after the work that remains; risk begins below the margin."""
    due, work = SAMPLED + timedelta(hours=6), timedelta(hours=4)
    assert slack(SAMPLED, due, work) == timedelta(hours=2)
    assert slack(due, due, work) == -work
    assert not at_risk(SAMPLED, due, work)
    assert at_risk(SAMPLED, due, work, timedelta(hours=3))
    assert at_risk(SAMPLED + timedelta(hours=2, seconds=1), due, work)


TIER = """
[[tier]]
id = "a"
hours = 6
clock = "sampling"
priority = 1
name_en = "A"
name_zh = "甲"
sentence_en = "Six."
sentence_zh = "六。"
"""


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("version = ", "BAD_TOML"),
        ('version = "1"', "BAD_TIER"),
        (TIER, "BAD_TIER"),
        ('version = "1"\ncolour = "red"' + TIER, "BAD_TIER"),
        ('version = "1"' + TIER + TIER, "BAD_TIER"),
        ('version = "1"' + TIER.replace("hours = 6", "hours = 0"), "BAD_TIER"),
        ('version = "1"' + TIER.replace('"sampling"', '"noon"'), "BAD_TIER"),
        ('version = "1"' + TIER.replace("hours = 6\n", ""), "BAD_TIER"),
        ('version = "1"' + TIER + "extra = 1\n", "BAD_TIER"),
    ],
    ids=["toml", "none", "version", "unknown", "twice", "hours", "clock", "missing", "extra"],
)
def test_senseless_rules_are_refused(text, code):
    """A rule file with a gap, a doublet or an unknown key is refused when it is loaded."""
    with pytest.raises(ScheduleError) as caught:
        TierRules.from_toml(text)
    assert caught.value.code == code


def test_an_unknown_tier_is_named_with_the_known_ones():
    """The sentence tells which tiers there are."""
    with pytest.raises(ScheduleError, match="fever, patient, yellow") as caught:
        due_at("vip", SAMPLED, None, RULES)
    assert caught.value.code == "UNKNOWN_TIER"
    with pytest.raises(ScheduleError) as caught:
        due_at("fever", SAMPLED.replace(tzinfo=None), None, RULES)
    assert caught.value.code == "NAIVE_TIME"
