"""From a pool to every one of its persons: each tube is answered for, and no positive pool is forgotten."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from bench import Bench, open_bench

from lis import events as e
from lis import ledger, queries, rulebook
from lis.clock import FixedClock
from lis.errors import LisError
from lis.laboratory.papers import report_view
from lis.printing import as_json
from lis.services import pools, receiving, reports, storage
from lis.tube import TubeState
from pooling import UNEXPLAINED

DETECTED = {"ORF1ab": 25.0, "N": 25.0}


def form(bench: Bench, codes: list[str], **more: object) -> str:
    """A pool of these tubes."""
    with bench.lab.database.write("anna") as unit:
        made = pools.form_many(unit, bench.lab.rules, [pools.PoolOrder(tuple(codes))], **more)
    return made.pools[0].tube_id


def act(bench: Bench, what, code: str, *values: object):
    """Do one thing to one tube."""
    with bench.lab.database.write("anna") as unit:
        return what(unit, bench.lab.rules, code, *values)


def facts(bench: Bench, code: str, *kinds: type) -> list[object]:
    """The events of these kinds of a tube."""
    with bench.lab.database.read() as conn:
        return [entry.fact for entry in ledger.history(conn, code) if isinstance(entry.fact, kinds)]


def alarms(bench: Bench) -> list[tuple[str, str]]:
    """Open alarms: code and subject."""
    with bench.lab.database.read() as conn:
        return [(row["code"], row["subject"]) for row in queries.open_alarms(conn)]


def unexplained(bench: Bench) -> list[str]:
    """Pools that the bench lists as unexplained."""
    with bench.lab.database.read() as conn:
        since = bench.clock.now() - timedelta(days=30)
        return [tube.tube_id for tube in queries.pools_ended(conn, UNEXPLAINED, since)]


def own_rules(folder: Path, *changes: tuple[str, str], kind: str = "pools", name: str = "standard") -> None:
    """The laboratory's own rule file: the shipped one with other values."""
    text = dict(rulebook.files(kind))[name]
    for before, after in changes:
        assert before in text
        text = text.replace(before, after, 1)
    target = folder / "rules" / kind / f"{name}.toml"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8")


# -- unexplained positives -------------------------------------------------------------------------


def positive_pool(bench: Bench, count: int = 4) -> tuple[str, list[str]]:
    """A pool that read positive; its members wait for their single tests."""
    codes = bench.singles(count)
    pool = form(bench, codes)
    bench.cycle([pool], {pool: DETECTED})
    assert {bench.tube(code).reason for code in codes} == {"pool-positive"}
    return pool, codes


def test_a_positive_pool_of_negative_tubes_is_run_again_and_its_negatives_wait(bench: Bench):
    """All members read negative: nobody is reported until the second aliquot is read, which is queued at once."""
    pool, codes = positive_pool(bench)
    handled = bench.cycle(codes)
    assert handled.issued.reports == {}
    assert handled.held == ()
    tube = bench.tube(pool)
    assert (tube.state, tube.test, tube.reason) == (TubeState.AWAITING_RETEST, "re-extract", "RERUN_SECOND")
    for code in codes:
        assert bench.tube(code).state is TubeState.RESULTED
        [held] = facts(bench, code, e.HeldForPool)
        assert held == e.HeldForPool(pool, "HELD_FOR_RERUN")
    assert bench.check().ok


def test_a_negative_second_aliquot_frees_the_members_and_keeps_the_pool_in_sight(bench: Bench):
    """Members and second aliquot negative: negatives are concluded, the pool stays an unexplained positive."""
    pool, codes = positive_pool(bench)
    bench.cycle(codes)
    bench.cycle([pool])
    tube = bench.tube(pool)
    assert (tube.state, tube.reason) == (TubeState.RESOLVED, "SECOND_NEGATIVE")
    assert {bench.tube(code).result for code in codes} == {"negative"}
    assert all(facts(bench, code, e.Concluded)[-1].reason == "SECOND_NEGATIVE" for code in codes)
    assert alarms(bench) == [("POOL_UNEXPLAINED", pool)]
    assert unexplained(bench) == [pool]
    bench.clock.advance(timedelta(days=20))
    with bench.lab.database.write("anna") as unit:
        storage.store(unit, pool, "freezer", "1")
        with pytest.raises(LisError) as error:
            storage.discard(unit, pool, "old", keep_hours=72)
    assert error.value.code == "KEEP_UNEXPLAINED"
    assert unexplained(bench) == [pool]
    assert bench.check().ok


@pytest.mark.parametrize("second", [DETECTED, {"IC": None}], ids=["positive", "invalid"])
def test_a_second_aliquot_that_clears_nothing_sends_the_members_to_one_more_test(bench: Bench, second: dict):
    """The second aliquot is not negative either: every member is tested once more before it is believed."""
    pool, codes = positive_pool(bench)
    bench.cycle(codes)
    bench.cycle([pool], {pool: second})
    assert bench.tube(pool).state is TubeState.RESULTED
    for code in codes:
        tube = bench.tube(code)
        assert (tube.state, tube.test, tube.reason) == (TubeState.AWAITING_RETEST, "singly", "TEST_AGAIN")
    handled = bench.cycle(codes)
    assert handled.issued.reports == {}  # twice tested: a person looks at them
    assert {bench.tube(code).result for code in codes} == {"negative"}
    assert (bench.tube(pool).state, bench.tube(pool).reason) == (TubeState.RESOLVED, "SECOND_NOT_NEGATIVE")
    assert alarms(bench) == [("POOL_UNEXPLAINED", pool)]
    assert bench.check().ok


def test_a_member_that_turns_positive_at_last_explains_the_pool(bench: Bench):
    """The swapped or weak tube is found by its second single test: the pool is explained, nobody is missed."""
    pool, codes = positive_pool(bench)
    bench.cycle(codes)
    bench.cycle([pool], {pool: DETECTED})
    bench.cycle(codes, {codes[2]: DETECTED})
    assert bench.tube(codes[2]).result == "positive"
    assert (bench.tube(pool).state, bench.tube(pool).reason) == (TubeState.RESOLVED, "EXPLAINED")
    assert unexplained(bench) == []
    others = [code for code in codes if code != codes[2]]
    assert {bench.tube(code).result for code in others} == {"negative"}
    assert bench.check().ok


def test_members_read_before_the_last_one_are_not_held(bench: Bench):
    """While a member is still open its neighbours' own negative tests are concluded as they come."""
    pool, codes = positive_pool(bench)
    bench.cycle(codes[:3])
    assert {bench.tube(code).result for code in codes[:3]} == {"negative"}
    assert bench.tube(pool).state is TubeState.RESULTED
    bench.cycle(codes[3:], {codes[3]: DETECTED})
    assert (bench.tube(pool).state, bench.tube(pool).reason) == (TubeState.RESOLVED, "EXPLAINED")


def test_a_laboratory_may_report_the_negatives_at_once(tmp_path: Path, database_url: str, clock: FixedClock):
    """hold_for_rerun = false: the second aliquot is still run, and the pool is still kept in sight."""
    own_rules(
        tmp_path, ("hold_for_rerun = true", "hold_for_rerun = false"), ('version = "1"', 'version = "2"')
    )
    bench = open_bench(tmp_path, database_url, clock)
    pool, codes = positive_pool(bench)
    bench.cycle(codes)
    assert {bench.tube(code).result for code in codes} == {"negative"}
    assert bench.tube(pool).reason == "RERUN_SECOND"
    bench.cycle([pool])
    assert unexplained(bench) == [pool]
    bench.lab.close()


def test_a_rejected_second_aliquot_leaves_nobody_waiting(bench: Bench):
    """The second aliquot is dropped: the held members are tested once more, and the log verifies."""
    pool, codes = positive_pool(bench)
    bench.cycle(codes)
    with bench.lab.database.write("anna") as unit:
        receiving.hold(unit, pool, "dropped")
        receiving.reject(unit, bench.lab.rules, pool, "dropped")
    assert set(bench.states(codes)) == {TubeState.AWAITING_RETEST}
    bench.cycle(codes)
    assert {bench.tube(code).result for code in codes} == {"negative"}
    assert bench.check().ok


def test_an_invalid_pool_is_cleared_by_its_members(bench: Bench):
    """A pool without internal control says nothing: when all members are negative it is done, not unexplained."""
    codes = bench.singles(3)
    pool = form(bench, codes)
    bench.cycle([pool], {pool: {"IC": None}})
    bench.cycle(codes)
    assert {bench.tube(code).result for code in codes} == {"negative"}
    assert (bench.tube(pool).state, bench.tube(pool).reason) == (TubeState.RESOLVED, "INVALID_RESOLVED")
    assert unexplained(bench) == []


# -- lost, withdrawn, too little -------------------------------------------------------------------


def test_a_lost_member_of_a_negative_pool_is_answered_for(bench: Bench):
    """Its aliquot was in the pool: a negative pool is its negative."""
    codes = bench.singles(3)
    pool = form(bench, codes)
    act(bench, pools.lose, codes[0], "not in its rack")
    bench.cycle([pool])
    assert bench.states(codes) == [TubeState.RELEASED] * 3


def test_a_lost_member_of_a_positive_pool_is_called_back(bench: Bench):
    """It cannot be tested singly: its person is called back at once, and the pool stays unexplained."""
    codes = bench.singles(3)
    pool = form(bench, codes)
    act(bench, pools.lose, codes[0], "not in its rack")
    bench.cycle([pool], {pool: DETECTED})
    tube = bench.tube(codes[0])
    assert (tube.state, tube.reason, tube.open_recalls) == (TubeState.AWAITING_RECOLLECTION, "MISSING", 1)
    handled = bench.cycle(codes[1:])
    assert {bench.tube(code).result for code in codes[1:]} == {"negative"}
    assert handled.ingested.state == "read"
    assert (bench.tube(pool).state, bench.tube(pool).reason) == (TubeState.RESOLVED, "UNTESTED_MEMBER")
    assert unexplained(bench) == [pool]
    assert bench.check().ok


def test_a_member_found_again_is_tested(bench: Bench):
    """Lost and found before the pool is read: an ordinary member."""
    codes = bench.singles(3)
    pool = form(bench, codes)
    act(bench, pools.lose, codes[0], "not in its rack")
    act(bench, pools.find, codes[0], "in the next rack")
    with pytest.raises(LisError) as error:
        act(bench, pools.find, codes[1], "here")
    assert error.value.code == "NOT_LOST"
    bench.cycle([pool], {pool: DETECTED})
    assert set(bench.states(codes)) == {TubeState.AWAITING_RETEST}


def test_a_tube_lost_while_it_waits_for_its_own_test_calls_its_person_back(bench: Bench):
    """Lost after the positive pool: the person is called back, and the last tube of a pool closes it."""
    pool, codes = positive_pool(bench, 3)
    bench.cycle(codes[:2])
    act(bench, pools.lose, codes[2], "nowhere")
    assert bench.tube(codes[2]).state is TubeState.AWAITING_RECOLLECTION
    assert bench.tube(pool).reason == "UNTESTED_MEMBER"
    assert bench.check().ok


def test_a_withdrawn_person_is_never_reported(bench: Bench):
    """Whatever the pool reads, nothing is tested or reported of who withdrew; the true n stays."""
    for signal in ({}, DETECTED):
        codes = bench.singles(3)
        pool = form(bench, codes)
        act(bench, pools.withdraw, codes[0], "asked for it")
        bench.cycle([pool], {pool: signal})
        assert bench.tube(codes[0]).state is TubeState.RESOLVED
        assert bench.reports(codes[0]) == []
        assert facts(bench, codes[0], e.RetestOrdered, e.Concluded, e.RecollectionOrdered) == []
        assert bench.tube(pool).persons == 3
    bench.cycle(codes[1:])
    assert bench.tube(pool).reason == "UNTESTED_MEMBER"  # the one who withdrew may have been it
    assert bench.check().ok


def test_a_withdrawn_tube_is_not_pooled_nor_plated(bench: Bench):
    """Withdrawn before pooling: the tube is out of every worklist and refused by every station."""
    codes = bench.singles(3)
    act(bench, pools.withdraw, codes[0], "asked for it")
    with bench.lab.database.write("anna") as unit:
        found = pools.propose(unit, bench.lab.rules)
        assert codes[0] not in [one.tube for one in found.kept]
        with pytest.raises(LisError):
            pools.form(unit, bench.lab.rules, codes)
    with pytest.raises(LisError):
        bench.plate([codes[0]])
    with pytest.raises(LisError) as error:
        act(bench, pools.withdraw, bench.mixed(), "asked for it")
    assert error.value.code == "WRONG_KIND"


def test_too_little_for_a_single_test_is_a_new_swab_of_that_person(bench: Bench):
    """A member with too little left is called back when its pool is positive; the others are tested."""
    codes = bench.singles(3)
    pool = form(bench, codes)
    act(bench, pools.measure, codes[1], 150)
    bench.cycle([pool], {pool: DETECTED})
    tube = bench.tube(codes[1])
    assert (tube.state, tube.reason) == (TubeState.AWAITING_RECOLLECTION, "LOW_VOLUME")
    assert set(bench.states([codes[0], codes[2]])) == {TubeState.AWAITING_RETEST}
    act(bench, pools.measure, codes[2], 199)
    assert bench.tube(codes[2]).reason == "LOW_VOLUME"
    act(bench, pools.measure, codes[0], 200)
    assert bench.tube(codes[0]).state is TubeState.AWAITING_RETEST


def test_a_measured_tube_with_too_little_is_not_pooled(bench: Bench):
    """Aliquot and single test must both fit: 299 microlitres do not, 300 do."""
    codes = bench.singles(3)
    act(bench, pools.measure, codes[0], 299)
    with bench.lab.database.write("anna") as unit:
        kept = {one.tube: one for one in pools.propose(unit, bench.lab.rules).kept}
        assert kept[codes[0]].reason == "SHORT_VOLUME"
        assert kept[codes[0]].singly
        assert "299" in kept[codes[0]].sentence
    with pytest.raises(LisError) as error:
        form(bench, codes)
    assert error.value.code == "SHORT_VOLUME"
    act(bench, pools.measure, codes[0], 300)
    form(bench, codes)
    for wrong in (-1, 100_001):
        with pytest.raises(LisError) as error:
            act(bench, pools.measure, codes[0], wrong)
        assert error.value.code == "VOLUME"


# -- rule files ------------------------------------------------------------------------------------


def test_sizes_volumes_and_exclusions_come_from_the_laboratorys_file(
    tmp_path: Path, database_url: str, clock: FixedClock
):
    """Another file pools otherwise: size, cap, tiers, volumes and scans follow it."""
    own_rules(
        tmp_path,
        ('version = "1"', 'version = "2"'),
        ("size = 5", "size = 3"),
        ("max_n = 10", "max_n = 4"),
        ('tiers = ["fever", "patient", "yellow"]', 'tiers = ["region"]'),
        ('symptomatic = ["emergency", "outpatient", "inpatient"]', 'symptomatic = ["fever"]'),
        ('contact = ["close-contact"]', 'contact = ["yellow"]'),
        ("confirm = false", "confirm = true"),
    )
    bench = open_bench(tmp_path, database_url, clock)
    codes = bench.singles(7)
    apart = {bench.singles(1, tier=tier)[0]: tier for tier in ("region", "fever", "yellow")}
    with bench.lab.database.write("anna") as unit:
        found = pools.propose(unit, bench.lab.rules)
    assert [len(one.members) for one in found.pools] == [3, 3]
    reasons = {apart[one.tube]: one.reason for one in found.kept if one.tube in apart}
    assert reasons == {"region": "EXCLUDED_TIER", "fever": "SYMPTOMATIC", "yellow": "CLOSE_CONTACT"}
    with pytest.raises(LisError) as error:
        form(bench, codes[:5])
    assert error.value.code == "TOO_MANY_MEMBERS"
    pool = form(bench, codes[:4])
    assert bench.tube(pool).open_aliquots == 4
    bench.lab.close()


@pytest.mark.parametrize(
    ("jurisdiction", "assay", "most"),
    [("china", "daan-2019-ncov", 10), ("cdc", "daan-2019-ncov", 4), ("china-second-kit", "", 10)],
)
def test_a_pool_is_no_larger_than_bench_kit_and_jurisdiction_allow(
    make_bench, jurisdiction: str, assay: str, most: int
):
    """The smallest of the three limits counts, and what allowed the pool stands in its log."""
    bench = make_bench(jurisdiction=jurisdiction)
    codes = bench.singles(most + 1)
    with pytest.raises(LisError) as error:
        form(bench, codes, assay=assay)
    assert error.value.code == "TOO_MANY_MEMBERS"
    pool = form(bench, codes[:most], assay=assay)
    [formed] = facts(bench, pool, e.PoolFormed)
    assert (formed.pool_rules, formed.pool_rules_version) == ("standard", "1")
    assert formed.pool_policy == jurisdiction.removesuffix("-second-kit")
    assert formed.assay == "daan-2019-ncov"
    with bench.lab.database.read() as conn:
        for kind, name in (("pool-rules", "standard"), ("pool-policy", formed.pool_policy)):
            [row] = [row for row in queries.rule_versions(conn, kind) if row["name"] == name]
            assert row["version"] == "1"
            assert len(row["digest"]) == 64


def test_a_kit_that_is_not_validated_for_pools_is_tested_singly(make_bench):
    """Where kit or jurisdiction know no laboratory pools, none is proposed nor formed, and every tube says why."""
    bench = make_bench(assay="cdc-2019-ncov-n1n2rp")
    text = dict(rulebook.files("assays"))["taqpath-covid19-combo"]
    assert "[pooling]" not in text
    codes = bench.singles(6)
    with bench.lab.database.write("anna") as unit:
        found = pools.propose(unit, bench.lab.rules, "taqpath-covid19-combo")
        assert found.pools == ()
        assert found.refused.code == "POOLING_NOT_VALIDATED"
        assert {one.tube: one.reason for one in found.kept} == dict.fromkeys(codes, "POOLING_NOT_VALIDATED")
    with pytest.raises(LisError) as error:
        form(bench, codes[:3], assay="taqpath-covid19-combo")
    assert error.value.code == "POOLING_NOT_VALIDATED"


def test_a_jurisdiction_without_laboratory_pools_forms_none(
    tmp_path: Path, database_url: str, clock: FixedClock
):
    """A policy without the mode refuses it."""
    text = dict(rulebook.files("pool-policies"))["china"]
    start = text.index("[mode.pool]")
    own_rules(
        tmp_path,
        (text[start : text.index("[mode.dual]")], ""),
        ('version = "1"', 'version = "2"'),
        kind="pool-policies",
        name="china",
    )
    bench = open_bench(tmp_path, database_url, clock)
    with pytest.raises(LisError) as error:
        form(bench, bench.singles(3))
    assert error.value.code == "POOLING_NOT_ALLOWED"
    bench.lab.close()


@pytest.mark.parametrize(
    ("jurisdiction", "places", "code"),
    [("cdc", 5, "MIXING_NOT_ALLOWED"), ("fda-swab", 20, "MIXED_TOO_MANY"), ("fda-swab", 10, "")],
)
def test_persons_share_a_tube_only_where_the_jurisdiction_knows_it(
    make_bench, jurisdiction: str, places: int, code: str
):
    """A tube mixed at collection is refused, unregistered, where no rule says what becomes of its persons."""
    bench = make_bench(jurisdiction=jurisdiction)
    order = bench.mixed_order(places)
    if not code:
        assert bench.register(order) == [order.barcode]
        return
    with pytest.raises(LisError) as error:
        bench.register(order)
    assert (error.value.code, error.value.details["policy"]) == (code, jurisdiction)
    assert bench.tube(order.barcode).state is TubeState.ABSENT


def test_a_report_keeps_the_statement_of_the_policy_that_held_when_it_was_issued(
    tmp_path: Path, database_url: str, clock: FixedClock
):
    """What the jurisdiction wants said of pooled tests is on their reports as it was then, and on no others."""
    bench = open_bench(tmp_path, database_url, clock)
    mixed, single = bench.mixed(5), bench.singles(1)[0]
    bench.cycle([mixed, single])
    reports = {code: bench.reports(code)[0]["report_id"] for code in (mixed, single)}
    wanted = bench.lab.rules.pool_policy
    bench.lab.close()
    own_rules(
        tmp_path,
        ('en = "Tested in a mixed sample', 'en = "Other words'),
        ('version = "1"', 'version = "2"'),
        kind="pool-policies",
        name="china",
    )
    bench = open_bench(tmp_path, database_url, clock)
    assert bench.lab.rules.pool_policy.statement.startswith("Other words")
    said = {code: as_json(report_view(bench.lab, number))["statements"] for code, number in reports.items()}
    assert said[mixed][0] == {"zh": wanted.statement_zh, "en": wanted.statement}
    assert all(one["en"] != wanted.statement for one in said[single])
    bench.lab.close()


@pytest.mark.parametrize(("kind", "name"), [("pools", "standard"), ("pool-policies", "china")])
def test_pool_rules_that_spoke_are_not_edited_in_place(
    tmp_path: Path, database_url: str, clock: FixedClock, kind: str, name: str
):
    """The same version with another content stops the start; a new version does not."""
    bench = open_bench(tmp_path, database_url, clock)
    form(bench, bench.singles(3))
    bench.lab.close()
    own_rules(tmp_path, ("max_n = 10", "max_n = 9"), kind=kind, name=name)
    with pytest.raises(LisError) as error:
        open_bench(tmp_path, database_url, clock)
    assert error.value.code == "RULES_EDITED"
    own_rules(tmp_path, ("max_n = 10", "max_n = 9"), ('version = "1"', 'version = "2"'), kind=kind, name=name)
    open_bench(tmp_path, database_url, clock).lab.close()


@pytest.mark.parametrize(
    ("jurisdiction", "report"), [("china", "nothing"), ("cdc", "nothing"), ("fda-swab", "nothing")]
)
def test_what_is_said_of_a_positive_pool_is_the_jurisdictions(make_bench, jurisdiction: str, report: str):
    """Until the single tests are read nobody is told more than the policy file says."""
    bench = make_bench(jurisdiction=jurisdiction)
    said = pools.interim(bench.lab.rules)
    assert said is not None
    assert (said["report"], said["policy"]) == (report, jurisdiction)
    assert said["sentence"]
    assert said["sentence_zh"]


def test_a_jurisdiction_that_must_be_told_raises_an_alarm(
    tmp_path: Path, database_url: str, clock: FixedClock
):
    """Where the file says notify, a pool that is not clearly negative asks for the health authority, once."""
    text = dict(rulebook.files("pool-policies"))["china"]
    before = text[text.index("[mode.pool]") : text.index("[mode.dual]")]
    after = before.replace("notify = false", "notify = true").replace('"nothing"', '"under-review"')
    own_rules(
        tmp_path, (before, after), ('version = "1"', 'version = "2"'), kind="pool-policies", name="china"
    )
    bench = open_bench(tmp_path, database_url, clock)
    pool, codes = positive_pool(bench)
    assert alarms(bench) == [("POOL_NOTIFY", pool)]
    bench.cycle(codes[:2])
    assert alarms(bench) == [("POOL_NOTIFY", pool)]
    assert pools.interim(bench.lab.rules)["report"] == "under-review"
    bench.lab.close()


# -- by due time and by site -----------------------------------------------------------------------


def test_pools_are_proposed_by_due_time_and_by_site(bench: Bench):
    """The most urgent pool comes first; tubes of one site that are due in one hour stand together."""
    early = bench.clock.now() - timedelta(hours=6)
    north = bench.singles(5, site="North gate")
    south = bench.singles(5, site="South gate")
    mixed_in = bench.singles(2, site="North gate", sampled_at=early)
    others = bench.singles(3, site="Harbour", sampled_at=early)
    with bench.lab.database.write("anna") as unit:
        found = pools.propose(unit, bench.lab.rules)
    sets = [set(one.members) for one in found.pools]
    assert sets[0] == {*mixed_in, *others}
    assert found.pools[0].sites == ("Harbour", "North gate")
    assert {frozenset(north), frozenset(south)} == {frozenset(one) for one in sets[1:]}
    assert [one.due for one in found.pools] == sorted(one.due for one in found.pools)
    assert {one.reason for one in found.pools} == {"full"}


def test_a_mixed_tube_is_never_in_a_pool_by_type(bench: Bench):
    """The type of a pool's members refuses a mixed tube, before the bench and the log refuse it too."""
    from pooling import Individual, LabPool, MixedTube, PoolDesignError

    mixed = bench.mixed()
    with pytest.raises(PoolDesignError) as typed:
        LabPool("L1", (Individual("T1"), MixedTube(mixed, ("p1", "p2"))))
    with pytest.raises(LisError) as said:
        form(bench, [*bench.singles(2), mixed])
    assert typed.value.code == said.value.code == "NESTED_POOL"


def test_a_second_signature_is_still_needed_after_a_cleared_pool(bench: Bench):
    """Negatives that waited for their pool are reviewed by a person, because they were tested again."""
    pool, codes = positive_pool(bench)
    bench.cycle(codes)
    bench.cycle([pool])
    waiting = [code for code in codes if bench.tube(code).state is TubeState.IN_REVIEW]
    assert waiting == codes
    with bench.lab.database.write("rosa") as unit:
        reports.review(unit, bench.lab.rules, codes[0], "accept")
        issued = reports.release(unit, bench.lab.rules, [codes[0]])
    assert len(issued.reports[codes[0]]) == 1


def test_two_swabs_of_a_person_are_safe_as_they_are_registered_today(
    tmp_path: Path, database_url: str, clock: FixedClock
):
    """Shared tube as mixed, own tubes as singles of a tier tested singly: never pooled, nobody cleared by it."""
    own_rules(
        tmp_path,
        ('tiers = ["fever", "patient", "yellow"]', 'tiers = ["fever", "patient", "yellow", "region"]'),
        ('version = "1"', 'version = "2"'),
    )
    bench = open_bench(tmp_path, database_url, clock)
    people = [bench.new_person() for _ in range(5)]
    shared = bench.mixed(5, persons=people)
    own = [bench.singles(1, persons=[one], tier="region")[0] for one in people]
    with bench.lab.database.write("anna") as unit:
        found = pools.propose(unit, bench.lab.rules)
    assert found.pools == ()
    assert {one.reason for one in found.kept if one.tube in own} == {"EXCLUDED_TIER"}
    bench.cycle([shared], {shared: DETECTED})
    assert bench.tube(shared).open_recalls == 5
    bench.cycle(own, {own[0]: DETECTED})
    assert bench.tube(own[0]).result == "positive"
    assert bench.reports(shared) == []
    assert bench.check().ok
    bench.lab.close()


def test_a_member_whose_own_case_ends_without_an_answer_leaves_the_pool_unexplained(bench: Bench):
    """A single target twice asks for a new swab: the pool waits for that case, then stays in sight."""
    pool, codes = positive_pool(bench, 3)
    bench.cycle(codes, {codes[0]: {"N": 38.0}})
    assert {bench.tube(code).result for code in codes[1:]} == {"negative"}
    assert bench.tube(pool).state is TubeState.RESULTED
    bench.cycle([codes[0]], {codes[0]: {"N": 38.0}})
    assert bench.tube(codes[0]).state is TubeState.AWAITING_RECOLLECTION
    assert (bench.tube(pool).state, bench.tube(pool).reason) == (TubeState.RESOLVED, "UNTESTED_MEMBER")
    assert unexplained(bench) == [pool]
    assert bench.check().ok


def test_a_held_member_that_is_lost_or_withdrawn_is_not_believed(bench: Bench):
    """While the second aliquot runs one tube is lost and one person withdraws: one called back, one left alone."""
    pool, codes = positive_pool(bench, 4)
    bench.cycle(codes)
    act(bench, pools.lose, codes[0], "nowhere")
    act(bench, pools.withdraw, codes[1], "asked for it")
    bench.cycle([pool], {pool: DETECTED})
    assert (bench.tube(codes[0]).state, bench.tube(codes[0]).reason) == (
        TubeState.AWAITING_RECOLLECTION,
        "MISSING",
    )
    assert bench.tube(codes[1]).state is TubeState.RESOLVED
    assert bench.reports(codes[1]) == []
    assert {bench.tube(code).reason for code in codes[2:]} == {"TEST_AGAIN"}
    bench.cycle(codes[2:], {codes[3]: DETECTED})
    assert bench.tube(codes[3]).result == "positive"
    assert (bench.tube(pool).state, bench.tube(pool).reason) == (TubeState.RESOLVED, "EXPLAINED")
    assert bench.check().ok
