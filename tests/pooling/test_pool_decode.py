"""What a pool's reading means for each of its members."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pooling
from pooling import (
    Action,
    DecodeRules,
    DualSwab,
    Finding,
    Individual,
    LabPool,
    Member,
    MixedTube,
    PoolDesignError,
    PoolReading,
    Retained,
    Status,
    decode,
)
from pooling.words import MEMBER_WORDS, OVERLAP_WORDS, POOL_WORDS

NEG, POS, GREY, BAD = Finding.NEGATIVE, Finding.POSITIVE, Finding.BORDERLINE, Finding.INVALID
NAMES = ("T1", "T2", "T3")
POOL = LabPool("L1", tuple(Individual(name) for name in NAMES))
DUAL = DualSwab("S1", tuple(Retained(name) for name in NAMES))
MIXED = MixedTube("M1", ("P1", "P2", "P3"))


def read(finding, *members, pool=POOL, rules=None, shared=(), **more):
    """Decode a pool whose members have these single findings (or are these members)."""
    known = [
        one if isinstance(one, Member) else Member(name, one, tests=one is not None)
        for name, one in zip(NAMES, members, strict=True)
    ]
    return decode(pool, PoolReading(finding, **more), known, rules or DecodeRules(), shared)


def actions(decoded):
    """The actions, in the order of the pool."""
    return [one.action for one in decoded.decisions]


def reasons(decoded):
    """The reasons, in the order of the pool."""
    return [one.reason for one in decoded.decisions]


def test_a_negative_pool_clears_its_members():
    """Each member is negative by its pool, and the words say that it was pooled."""
    found = read(NEG, None, None, None)
    assert (found.status, found.reason) == (Status.CLEARED, "POOL_NEGATIVE")
    assert actions(found) == [Action.REPORT_NEGATIVE] * 3
    assert "pooled" in found.decisions[0].sentence
    assert [one.who for one in found.decisions] == list(NAMES)


@pytest.mark.parametrize("finding", [POS, GREY, BAD])
@pytest.mark.parametrize("pool", [POOL, DUAL])
def test_a_pool_not_clearly_negative_reports_nobody(finding, pool):
    """Positive, grey or invalid: every member is tested from the own tube, in both modes that retain one."""
    found = read(finding, None, None, None, pool=pool)
    assert (found.status, found.reason) == (Status.OPEN, "REFLEX_OPEN")
    assert actions(found) == [Action.TEST_SINGLY] * 3


def test_nothing_follows_from_a_pool_that_is_not_read():
    """Members wait; a withdrawn one is left in peace."""
    found = read(None, None, Member("T2", withdrawn=True), None, shared=["T3"])
    assert (found.status, found.reason) == (Status.OPEN, "POOL_NOT_READ")
    assert actions(found) == [Action.WAIT, Action.NOTHING, Action.WAIT]
    assert reasons(found) == ["POOL_NOT_READ", "WITHDRAWN", "SHARED_TUBE"]


def test_a_positive_member_explains_the_pool():
    """Once a member is positive the pool is explained; members still open keep it open."""
    found = read(POS, NEG, POS, NEG)
    assert (found.status, found.reason) == (Status.EXPLAINED, "EXPLAINED")
    assert actions(found) == [Action.REPORT_NEGATIVE, Action.REPORT_POSITIVE, Action.REPORT_NEGATIVE]
    assert read(POS, None, POS, NEG).reason == "EXPLAINED_OPEN"
    assert read(POS, GREY, POS, NEG).status is Status.OPEN
    assert actions(read(POS, GREY, BAD, NEG))[:2] == [Action.FOLLOW_CASE] * 2
    assert read(POS, BAD, NEG, NEG).reason == "REFLEX_OPEN"
    assert read(POS, Member("T1", missing=True), POS, NEG).status is Status.EXPLAINED


def test_positive_pool_with_all_members_negative():
    """First the second aliquot is re-run, and the negatives wait for it; the pool is never just closed."""
    found = read(POS, NEG, NEG, NEG)
    assert (found.status, found.reason) == (Status.RERUN, "RERUN_SECOND")
    assert actions(found) == [Action.WAIT] * 3
    assert reasons(found) == ["HELD_FOR_RERUN"] * 3
    sources = read(GREY, NEG, NEG, NEG, rules=DecodeRules(hold_for_rerun=False))
    assert sources.status is Status.RERUN
    assert actions(sources) == [Action.REPORT_NEGATIVE] * 3


def test_second_aliquot_negative():
    """Members and second aliquot negative: reported negative, the pool stays an unexplained positive."""
    found = read(POS, NEG, NEG, NEG, second=NEG)
    assert (found.status, found.reason) == (Status.UNEXPLAINED, "SECOND_NEGATIVE")
    assert actions(found) == [Action.REPORT_NEGATIVE] * 3


@pytest.mark.parametrize("more", [{"second": POS}, {"second": GREY}, {"second": BAD}, {"second_left": False}])
def test_second_aliquot_not_negative_or_gone(more):
    """The pool was twice not negative, or cannot be checked: each member is tested once more."""
    found = read(POS, NEG, Member("T2", NEG, tests=2), Member("T3", NEG, tests=1, volume_ul=50.0), **more)
    assert (found.status, found.reason) == (Status.UNEXPLAINED, "SECOND_NOT_NEGATIVE")
    assert actions(found) == [Action.TEST_SINGLY, Action.REPORT_NEGATIVE, Action.RECOLLECT]
    assert reasons(found) == ["TEST_AGAIN", "SINGLE_NEGATIVE", "LOW_VOLUME"]


def test_an_invalid_pool_needs_no_explanation():
    """An invalid pool whose members are all negative is resolved; no second aliquot is asked for."""
    found = read(BAD, NEG, NEG, NEG)
    assert (found.status, found.reason) == (Status.CLEARED, "INVALID_RESOLVED")
    assert actions(found) == [Action.REPORT_NEGATIVE] * 3


def test_members_that_cannot_be_tested():
    """A lost tube and one with too little are re-collected; the pool stays unexplained because of them."""
    lost, empty = Member("T1", missing=True), Member("T2", volume_ul=199.9)
    found = read(POS, lost, empty, NEG)
    assert actions(found) == [Action.RECOLLECT, Action.RECOLLECT, Action.REPORT_NEGATIVE]
    assert reasons(found)[:2] == ["MISSING", "LOW_VOLUME"]
    assert (found.status, found.reason) == (Status.UNEXPLAINED, "UNTESTED_MEMBER")
    enough = replace(empty, volume_ul=200.0)
    assert actions(read(POS, None, enough, NEG))[1] is Action.TEST_SINGLY
    assert reasons(read(POS, replace(lost, volume_ul=0.0), None, NEG))[0] == "MISSING"
    for one in (lost, replace(empty, tube="T1")):
        assert read(POS, one, NEG, NEG).reason == "UNTESTED_MEMBER"


def test_a_negative_pool_needs_neither_tube_nor_volume():
    """The aliquot was in the pool: a lost or empty tube of a negative pool is reported negative."""
    found = read(NEG, Member("T1", missing=True), Member("T2", volume_ul=0.0), None)
    assert actions(found) == [Action.REPORT_NEGATIVE] * 3


def test_a_withdrawn_member_is_neither_tested_nor_reported():
    """Withdrawal ends reporting in every state, whatever was found, and leaves the pool unexplained."""
    for finding in (NEG, POS, GREY, BAD, None):
        found = read(finding, Member("T1", POS, tests=1, withdrawn=True), NEG, NEG)
        assert actions(found)[0] is Action.NOTHING
    assert read(POS, Member("T1", withdrawn=True), NEG, NEG).reason == "UNTESTED_MEMBER"


def test_who_withdrew_after_a_test_was_tested():
    """An own test read before the withdrawal speaks about the pool, and nothing is reported of the person."""
    gone = Member("T1", Finding.NEGATIVE, tests=1, withdrawn=True)
    found = read(POS, gone, NEG, NEG)
    assert (found.status, found.reason) == (Status.RERUN, "RERUN_SECOND")
    assert [one.action for one in found.decisions] == [Action.NOTHING, Action.WAIT, Action.WAIT]
    positive = read(POS, replace(gone, finding=Finding.POSITIVE), NEG, NEG)
    assert (positive.status, positive.decisions[0].action) == (Status.EXPLAINED, Action.NOTHING)


def test_no_pool_clears_over_a_single_test():
    """A member that was tested singly keeps its own result, also when its pool is negative."""
    found = read(NEG, POS, GREY, NEG)
    assert actions(found) == [Action.REPORT_POSITIVE, Action.FOLLOW_CASE, Action.REPORT_NEGATIVE]
    assert reasons(found)[2] == "SINGLE_NEGATIVE"


def test_two_pools_that_share_a_tube():
    """The shared tube is named with its pools, and no pool clears it; its neighbours are not affected."""
    other = LabPool("L2", (Individual("T3"), Individual("T4")))
    (overlap,) = pooling.overlaps([POOL, other, POOL])
    assert (overlap.tube, overlap.pools) == ("T3", ("L1", "L2"))
    assert "L1, L2" in overlap.sentence
    assert "L1, L2" in overlap.sentence_zh
    found = read(NEG, None, None, None, shared=[overlap.tube])
    assert actions(found) == [Action.REPORT_NEGATIVE, Action.REPORT_NEGATIVE, Action.TEST_SINGLY]
    assert reasons(found)[2] == "SHARED_TUBE"
    lost = read(NEG, None, None, Member("T3", missing=True), shared=["T3"])
    assert (actions(lost)[2], reasons(lost)[2]) == (Action.RECOLLECT, "MISSING")
    empty = read(NEG, None, None, Member("T3", volume_ul=199.0), shared=["T3"])
    assert (actions(empty)[2], reasons(empty)[2]) == (Action.RECOLLECT, "LOW_VOLUME")
    assert pooling.overlaps([POOL]) == ()


def test_tubes_mixed_at_collection():
    """Negative for all; positive, grey or invalid: everybody is held and re-collected, nobody is reported."""
    cleared = decode(MIXED, PoolReading(NEG))
    assert (cleared.status, actions(cleared)) == (Status.CLEARED, [Action.REPORT_NEGATIVE] * 3)
    assert [one.who for one in cleared.decisions] == ["P1", "P2", "P3"]
    assert (cleared.tube, cleared.sentence) == ("M1", "Tube M1 is negative.")
    for finding in (POS, GREY, BAD):
        back = decode(MIXED, PoolReading(finding))
        assert (back.status, back.reason) == (Status.RECOLLECT, "MIXED_RECOLLECT")
        assert actions(back) == [Action.RECOLLECT] * 3
    waiting = decode(MIXED, PoolReading(None))
    assert (waiting.status, actions(waiting)) == (Status.OPEN, [Action.WAIT] * 3)


def test_an_invalid_mixed_tube_may_be_extracted_once_more():
    """Where the case policy says re-extract: once; then its second reading decides, and only for invalid."""
    rules = DecodeRules(mixed_invalid=Action.RE_EXTRACT)
    first = decode(MIXED, PoolReading(BAD), rules=rules)
    assert (first.status, actions(first)) == (Status.OPEN, [Action.RE_EXTRACT] * 3)
    second = decode(MIXED, PoolReading(BAD, second=NEG), rules=rules)
    assert (second.status, actions(second)) == (Status.CLEARED, [Action.REPORT_NEGATIVE] * 3)
    for again in (POS, GREY, BAD):
        assert decode(MIXED, PoolReading(BAD, second=again), rules=rules).status is Status.RECOLLECT
    for reading in (PoolReading(POS, second=NEG), PoolReading(GREY, second=NEG)):
        assert decode(MIXED, reading, rules=rules).status is Status.RECOLLECT
    assert decode(MIXED, PoolReading(BAD, second=NEG)).status is Status.RECOLLECT


members = st.builds(
    lambda finding, tests, missing, withdrawn, volume: Member(
        "", finding, max(tests, finding is not None), missing, withdrawn, volume
    ),
    st.sampled_from([None, None, NEG, NEG, *Finding]),
    st.integers(0, 2),
    st.sampled_from([False, False, False, True]),
    st.sampled_from([False, False, False, True]),
    st.sampled_from([None, 50.0, 500.0]),
)
readings = st.builds(
    PoolReading, st.sampled_from([None, *Finding]), st.sampled_from([None, *Finding]), st.booleans()
)


@given(
    reading=readings,
    facts=st.lists(members, min_size=3, max_size=3),
    hold=st.booleans(),
    shared=st.sets(st.sampled_from(NAMES)),
    order=st.permutations(range(3)),
)
def test_decoding_is_safe_whatever_the_facts(reading, facts, hold, shared, order):
    """Nobody is positive without an own positive, nor negative by a pool that is not; order is irrelevant."""
    known = [replace(one, tube=name) for name, one in zip(NAMES, facts, strict=True)]
    rules = DecodeRules(hold_for_rerun=hold)
    found = decode(POOL, reading, known, rules, shared)
    assert decode(POOL, reading, [known[place] for place in order], rules, shared) == found
    assert [one.who for one in found.decisions] == list(NAMES)
    for one, member in zip(found.decisions, known, strict=True):
        assert (one.action is Action.REPORT_POSITIVE) <= (member.finding is POS)
        if one.action is Action.REPORT_NEGATIVE:
            assert member.finding is NEG or (reading.finding is NEG and member.tube not in shared)
        assert (one.action is Action.NOTHING) == member.withdrawn
        if one.action is Action.TEST_SINGLY:
            assert not member.missing
            assert member.volume_ul != 50.0
        assert one.who in one.sentence
        assert one.who in one.sentence_zh


@given(reading=readings, rules=st.sampled_from([DecodeRules(), DecodeRules(mixed_invalid=Action.RE_EXTRACT)]))
def test_a_mixed_tube_never_yields_an_individual_result(reading, rules):
    """All persons of a mixed tube share one decision; nobody is tested singly or reported positive."""
    found = decode(MIXED, reading, rules=rules)
    assert len(set(actions(found))) == 1
    assert not set(actions(found)) & {Action.TEST_SINGLY, Action.REPORT_POSITIVE, Action.FOLLOW_CASE}
    if reading.finding in {POS, GREY}:
        assert set(actions(found)) == {Action.RECOLLECT}


def test_every_reason_is_said_in_two_languages():
    """No code without an English and a Chinese sentence that names the tube."""
    for table in (MEMBER_WORDS, POOL_WORDS, OVERLAP_WORDS):
        for english, chinese in table.values():
            assert "{tube}" in english
            assert "{tube}" in chinese
            assert english.endswith(".")
            assert chinese.endswith("。")


@pytest.mark.parametrize(
    ("call", "code", "word"),
    [
        pytest.param(lambda: decode(POOL, PoolReading(POS), []), "MEMBERS_DIFFER", "T1, T2, T3", id="none"),
        pytest.param(
            lambda: decode(POOL, PoolReading(POS), [Member("T1"), Member("T2")]),
            "MEMBERS_DIFFER",
            "T3",
            id="left-out",
        ),
        pytest.param(
            lambda: decode(POOL, PoolReading(POS), [Member(name) for name in (*NAMES, "T9")]),
            "MEMBERS_DIFFER",
            "T9",
            id="unknown",
        ),
        pytest.param(
            lambda: decode(POOL, PoolReading(NEG), [Member(name) for name in (*NAMES, "T2")]),
            "MEMBERS_DIFFER",
            "T2",
            id="twice",
        ),
        pytest.param(
            lambda: decode(MIXED, PoolReading(POS), [Member("T1")]), "NO_INDIVIDUAL_RESULT", "M1", id="mixed"
        ),
        pytest.param(lambda: read(POS, Member("T1", NEG), NEG, NEG), "BAD_MEMBER", "T1", id="uncounted"),
        pytest.param(lambda: DecodeRules(mixed_invalid=Action.WAIT), "BAD_RULES", "wait", id="bad-rules"),
    ],
)
def test_facts_that_do_not_fit_are_refused(call, code, word):
    """A member left out, unknown or twice is never guessed: a lost tube is marked missing."""
    with pytest.raises(PoolDesignError) as caught:
        call()
    assert caught.value.code == code
    assert word in str(caught.value)


def test_every_decision_names_its_member():
    """Whatever one member and the pool read, each decision and the pool are named, in both sentences."""
    seen = set()
    for pool, second, finding, missing, withdrawn, volume, other, shared in product(
        [None, *Finding],
        [None, NEG, POS],
        [None, *Finding],
        *[[False, True]] * 2,
        [None, 50.0],
        [NEG, None],
        ["", "T1"],
    ):
        one = Member("T1", finding, int(finding is not None), missing, withdrawn, volume)
        found = read(pool, one, other, other, second=second, shared=[shared])
        assert [decision.who for decision in found.decisions] == list(NAMES)
        assert all(decision.who in decision.sentence for decision in found.decisions)
        assert all(decision.who in decision.sentence_zh for decision in found.decisions)
        assert (found.tube, "L1" in found.sentence, "L1" in found.sentence_zh) == ("L1", True, True)
        seen.update(reasons(found))
    assert seen == set(MEMBER_WORDS) - {"MIXED_RECOLLECT", "MIXED_RE_EXTRACT"}
    (overlap,) = pooling.overlaps([POOL, LabPool("L2", (Individual("T3"), Individual("T4")))])
    assert "T3" in overlap.sentence
    assert "T3" in overlap.sentence_zh
