"""Which tubes share a pool: never a mixed one, never one twice, never one too many."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pooling.form import PoolRules, Waiting, check_members, form_pools, refuse_tube
from pooling.size import PoolDesignError

NOW = datetime(2022, 12, 14, 8, 0, tzinfo=UTC)
RULES = PoolRules(size=5, max_n=10, min_n=3)


def tube(name, due=24.0, waited=5.0, **more):
    """A single voluntary tube, due in `due` hours, received `waited` minutes ago."""
    facts = {
        "kind": "single",
        "due": NOW + timedelta(hours=due),
        "received": NOW - timedelta(minutes=waited),
        "tier": "voluntary",
        "site": "S1",
    }
    return Waiting(tube=name, **(facts | more))


def tubes(count, **more):
    """Several tubes alike."""
    return [tube(f"T{number:02}", **more) for number in range(count)]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"kind": "mixed"}, "NESTED_POOL"),
        ({"kind": "pool"}, "NESTED_POOL"),
        ({"tier": "fever"}, "EXCLUDED_TIER"),
        ({"symptomatic": True}, "SYMPTOMATIC"),
        ({"contact": True}, "CLOSE_CONTACT"),
        ({"volume_ul": 299.0}, "SHORT_VOLUME"),
    ],
)
def test_tubes_that_never_enter_a_pool(more, code):
    """Each reason refuses the tube in both ways a pool is made, with a sentence in two languages."""
    bad = tube("BAD", **more)
    (refusal,) = check_members([tube("A"), bad], RULES)
    assert (code, "BAD") == (refusal.code, refusal.tube)
    assert "BAD" in refusal.sentence
    assert "BAD" in refusal.sentence_zh
    forming = form_pools([*tubes(5), bad], RULES, NOW)
    assert (bad, code) in forming.kept
    assert all("BAD" not in pool.members for pool in forming.pools)


def test_a_good_tube_is_not_refused():
    """Enough or unmeasured volume is no reason to refuse."""
    assert refuse_tube(tube("A", volume_ul=300.0), RULES) is None
    assert check_members(tubes(10), RULES) == ()


def test_pools_refused_as_a_whole():
    """A tube twice, eleven members and a single member are refused, each by its own code."""
    assert [r.code for r in check_members([tube("A"), tube("A"), tube("B")], RULES)] == ["DUPLICATE_TUBE"]
    assert [r.code for r in check_members(tubes(11), RULES)] == ["TOO_MANY_MEMBERS"]
    assert [r.code for r in check_members(tubes(1), RULES)] == ["TOO_FEW_MEMBERS"]


def test_full_pools_go_and_the_rest_waits():
    """Twelve tubes in no hurry: two pools of five now, two tubes wait."""
    forming = form_pools(tubes(12), RULES, NOW)
    assert [len(pool.members) for pool in forming.pools] == [5, 5]
    assert {"full"} == {pool.reason for pool in forming.pools}
    assert [(t.tube, why) for t, why in forming.kept] == [("T10", "waiting"), ("T11", "waiting")]


def test_a_short_pool_closes_when_due_or_waited():
    """Three left-over tubes go as a short pool when due soon or after the longest wait; two go singly."""
    (due,) = form_pools(tubes(3, due=7.9), RULES, NOW).pools
    (waited,) = form_pools(tubes(3, waited=45), RULES, NOW).pools
    assert (due.members, due.reason) == (("T00", "T01", "T02"), "due")
    assert due.due == NOW + timedelta(hours=7.9)
    assert waited.reason == "waited"
    forming = form_pools(tubes(2, due=7.9), RULES, NOW)
    assert forming.pools == ()
    assert {"test singly"} == {why for _, why in forming.kept}


def test_left_overs_are_cut_at_the_cheapest_places():
    """At 10 %, nine left-over tubes of a line of nineteen go as 3 x 3 or 5 + 4, whichever is cheapest."""
    rules = PoolRules(size=10, max_n=10, min_n=3, prevalence=0.1)
    forming = form_pools(tubes(19, due=1.0), rules, NOW)
    assert [len(pool.members) for pool in forming.pools] == [10, 5, 4]
    scarce = PoolRules(size=10, max_n=10, min_n=5, prevalence=0.1)
    forming = form_pools(tubes(9, due=1.0), scarce, NOW)
    assert [len(pool.members) for pool in forming.pools] == [5]
    assert [why for _, why in forming.kept] == ["test singly"] * 4


def test_earliest_due_first_and_households_together():
    """The most urgent tube is in the first pool, and brings the rest of its household with it."""
    line = tubes(8)
    line[7] = tube("T07", due=10.0, household="H1")
    line[2] = tube("T02", due=30.0, household="H1")
    line[5] = tube("T05", due=9.0)
    (pool,) = form_pools(line, RULES, NOW).pools
    assert pool.members == ("T05", "T07", "T02", "T00", "T01")


def test_a_household_is_one_of_its_site():
    """Two sites may use the same number for a household: those persons do not live together."""
    line = [
        tube("T1", due=1.0, household="H1"),
        tube("T2", due=3.0, household="H1", site="S2"),
        tube("T3", due=2.0),
    ]
    (pool,) = form_pools(line, RULES, NOW).pools
    assert pool.members == ("T1", "T3", "T2")


def test_limits_of_time_and_volume_belong_to_what_they_limit():
    """A tube exactly at its lead time goes now, one a second away waits; no reserve at all may be meant."""
    (pool,) = form_pools(tubes(3, due=8.0), RULES, NOW).pools
    assert pool.reason == "due"
    assert form_pools(tubes(3, due=8.001), RULES, NOW).pools == ()
    for reserve in (0.0, 0.5):
        rules = PoolRules(aliquot_ul=100.0, reserve_ul=reserve)
        assert refuse_tube(tube("A", volume_ul=100.0 + reserve), rules) is None


def test_the_same_tube_twice_is_pooled_once():
    """A second appearance is set aside by name, whether the first was pooled or refused."""
    mixed = tube("M", kind="mixed")
    forming = form_pools([*tubes(5), tube("T00"), mixed, mixed], RULES, NOW)
    assert [(kept.tube, why) for kept, why in forming.kept] == [
        ("T00", "DUPLICATE_TUBE"),
        ("M", "NESTED_POOL"),
        ("M", "DUPLICATE_TUBE"),
    ]


waiting_tubes = st.lists(
    st.builds(
        tube,
        st.sampled_from([f"T{number}" for number in range(40)]),
        due=st.floats(-2, 30),
        waited=st.floats(0, 120),
        kind=st.sampled_from(["single", "single", "single", "mixed", "pool"]),
        tier=st.sampled_from(["voluntary", "region", "fever"]),
        household=st.sampled_from(["", "", "H1", "H2"]),
        volume_ul=st.sampled_from([None, 100.0, 600.0]),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(line=waiting_tubes, size=st.integers(3, 10), prevalence=st.sampled_from([None, 0.02, 0.25]))
def test_every_tube_lands_in_one_place(line, size, prevalence):
    """No tube is lost, none is pooled twice, no mixed tube is pooled, no pool is too large or too small."""
    rules = PoolRules(size=size, max_n=10, min_n=3, prevalence=prevalence)
    forming = form_pools(line, rules, NOW)
    pooled = [name for pool in forming.pools for name in pool.members]
    assert len(pooled) == len(set(pooled))
    assert len(pooled) + len(forming.kept) == len(line)
    assert {t.tube for t in line} == set(pooled) | {t.tube for t, _ in forming.kept}
    first = {}
    for waiting in line:
        first.setdefault(waiting.tube, waiting)
    for pool in forming.pools:
        members = [first[name] for name in pool.members]
        assert check_members(members, rules) == ()
        assert rules.min_n <= len(members) <= rules.size
        assert pool.due == min(member.due for member in members)


@settings(deadline=None)
@given(line=waiting_tubes)
def test_forming_does_not_depend_on_the_order_of_scanning(line):
    """The same tubes scanned in another order give the same pools."""
    unique = list({waiting.tube: waiting for waiting in line}.values())
    assert form_pools(unique, RULES, NOW).pools == form_pools(unique[::-1], RULES, NOW).pools


@pytest.mark.parametrize(
    ("make", "code"),
    [
        pytest.param(lambda: tube("A", kind="bottle"), "BAD_KIND", id="bad_kind-1"),
        pytest.param(lambda: tube("A", received=datetime(2022, 12, 14)), "NAIVE_TIME", id="naive_time-2"),  # noqa: DTZ001  that is the point
        pytest.param(lambda: form_pools([], RULES, datetime(2022, 12, 14)), "NAIVE_TIME", id="naive_time-3"),  # noqa: DTZ001
        pytest.param(lambda: PoolRules(size=11, max_n=10), "BAD_RULES", id="bad_rules-4"),
        pytest.param(lambda: PoolRules(min_n=1), "BAD_RULES", id="bad_rules-5"),
        pytest.param(lambda: PoolRules(aliquot_ul=0), "BAD_RULES", id="bad_rules-6"),
        pytest.param(lambda: PoolRules(max_wait=timedelta(minutes=-1)), "BAD_RULES", id="bad_rules-7"),
        pytest.param(lambda: PoolRules(prevalence=1.0), "BAD_PREVALENCE", id="bad_prevalence-8"),
    ],
)
def test_senseless_facts_and_rules_are_refused(make, code):
    """Wrong kinds, times without zone and impossible rules are refused when they are made."""
    with pytest.raises(PoolDesignError) as caught:
        make()
    assert caught.value.code == code
