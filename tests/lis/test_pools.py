"""Lab pools: aliquots of retained single tubes, never of anything else, and nobody is lost with a pool."""

from __future__ import annotations

from datetime import timedelta

import pytest
from bench import Bench, person

from lis import barcodes, queries
from lis import events as e
from lis.errors import IllegalMove, LisError, Refused
from lis.services import plates, pools, receiving
from lis.tube import Tube, TubeState, evolve

DETECTED = {"ORF1ab": 25.0, "N": 25.0}


def form(bench: Bench, codes: list[str], barcode: str = "") -> str:
    """A pool of these tubes."""
    with bench.lab.database.write("anna") as unit:
        return pools.form(unit, bench.lab.rules, codes, barcode).tube_id


def refused(bench: Bench, code: str, members: list[str], barcode: str = "") -> LisError:
    """The pool is refused with this code, and nothing is written."""
    events = bench.count()
    with pytest.raises(LisError) as error:
        form(bench, members, barcode)
    assert error.value.code == code
    assert bench.count() == events
    return error.value


def test_the_true_number_of_members_is_stored(bench: Bench):
    """A pool of seven is a pool of seven, in the order of pipetting, due with its most urgent member."""
    late, early = bench.singles(6), bench.clock.now() - timedelta(hours=2)
    soon = bench.singles(1, tier="region", sampled_at=early)
    pool = form(bench, [*late, *soon])
    tube = bench.tube(pool)
    assert (tube.state, tube.capacity, tube.persons, tube.tier) == (TubeState.RECEIVED, 7, 7, "region")
    assert tube.due_at == bench.tube(soon[0]).due_at
    with bench.lab.database.read() as conn:
        assert queries.pool_members(conn, [pool]) == {pool: [*late, *soon]}
        assert queries.pool_sizes(conn, [pool]) == {pool: 7}
    assert set(bench.states([*late, *soon])) == {TubeState.POOLED}
    assert bench.check().ok


def test_a_pool_has_no_more_members_than_were_validated(bench: Bench):
    """Eleven tubes, one tube alone, none, and the same tube twice make no pool."""
    codes = bench.singles(11)
    refused(bench, "TOO_MANY_MEMBERS", codes)
    refused(bench, "TOO_FEW_MEMBERS", codes[:1])
    refused(bench, "POOL_EMPTY", [])
    refused(bench, "DUPLICATE_TUBE", [codes[0], codes[1], codes[0]])
    form(bench, codes[:10])


def test_only_received_single_tubes_enter_a_pool(bench: Bench):
    """Mixed tubes, pools, members of pools, unreceived, held and plated tubes are refused."""
    one, two, three, four = bench.singles(4)
    error = refused(bench, "NESTED_POOL", [one, bench.mixed()])
    assert "must never be pooled again" in error.sentence
    pool = form(bench, [one, two])
    refused(bench, "NESTED_POOL", [three, pool])
    assert pool in refused(bench, "IN_TWO_POOLS", [three, one]).sentence
    sealed = bench.register(bench.order())[0]
    refused(bench, "NOT_POOLABLE", [three, sealed])
    refused(bench, "NOT_POOLABLE", [three, bench.code()])
    with bench.lab.database.write("anna") as unit:
        receiving.hold(unit, four, "leaks")
    refused(bench, "NOT_POOLABLE", [three, four])
    bench.plate([three])
    refused(bench, "NOT_POOLABLE", [*bench.singles(1), three])


def test_fever_patients_are_tested_singly(bench: Bench):
    """A tube of a tier that must be tested singly is refused by the policy, and is not proposed."""
    normal, fever = bench.singles(2), bench.singles(1, tier="fever")
    refused(bench, "EXCLUDED_TIER", [*normal, *fever])
    with bench.lab.database.write("anna") as unit:
        kept = pools.propose(unit, bench.lab.rules).kept
    assert (fever[0], "EXCLUDED_TIER", True) in [(one.tube, one.reason, one.singly) for one in kept]


def test_a_pool_code_is_used_once(bench: Bench):
    """A pool tube brings its own code or gets the next number; a code in use is refused."""
    codes = bench.singles(6)
    own = barcodes.mint(barcodes.POOL, 777)
    assert form(bench, codes[:2], own) == own
    refused(bench, "POOL_IN_USE", codes[2:4], own)
    refused(bench, "BARCODE_SHAPE", codes[2:4], "POOL-1")
    assert form(bench, codes[2:4]) != form(bench, codes[4:6])


def test_the_policy_proposes_pools(bench: Bench):
    """Full pools are proposed at once from what waits; mixed tubes never are."""
    codes = bench.singles(12)
    mixed = bench.mixed()
    with bench.lab.database.write("anna") as unit:
        found = pools.propose(unit, bench.lab.rules)
    proposed = [code for one in found.pools for code in one.members]
    assert mixed not in proposed
    assert sorted(proposed + [one.tube for one in found.kept]) == sorted([*codes, mixed])
    assert found.pools
    form(bench, list(found.pools[0].members))


def test_a_negative_pool_answers_for_its_members(bench: Bench):
    """Every member gets a report that says pooled and the true n; the pool itself has none."""
    codes = bench.singles(5)
    pool = form(bench, codes)
    handled = bench.cycle([pool])
    assert bench.tube(pool).state is TubeState.RESOLVED
    assert bench.states(codes) == [TubeState.RELEASED] * 5
    for code in codes:
        [report] = bench.reports(code)
        assert (report["result"], report["mode"], report["places"]) == ("negative", "pool", 5)
        assert report["seal"]
    assert bench.reports(pool) == []
    assert sum(map(len, handled.issued.reports.values())) == 5
    assert bench.check().ok


@pytest.mark.parametrize(
    ("signal", "name"),
    [(DETECTED, "positive"), ({"N": 38.0}, "single-target"), ({"IC": None}, "invalid")],
)
def test_any_other_pool_sends_every_retained_tube_to_single_testing(bench: Bench, signal: dict, name: str):
    """A positive, borderline or invalid pool queues all its tubes singly and urgent; none is reported."""
    codes = bench.singles(4)
    pool = form(bench, codes)
    handled = bench.cycle([pool], {pool: signal})
    assert handled.issued.reports == {}
    assert bench.tube(pool).state is TubeState.RESULTED
    for code in codes:
        tube = bench.tube(code)
        assert (tube.state, tube.test, tube.reason) == (TubeState.AWAITING_RETEST, "singly", f"pool-{name}")
        assert tube.priority >= 50
        assert tube.due_at is not None
        assert tube.due_at <= bench.clock.now() + timedelta(hours=24)
    again = bench.cycle(codes, {codes[0]: DETECTED})
    assert bench.states(codes)[0] is TubeState.IN_REVIEW
    assert {bench.tube(code).result for code in codes[1:]} == {"negative"}
    assert again.issued.reports == {}
    assert (bench.tube(pool).state, bench.tube(pool).reason) == (TubeState.RESOLVED, "EXPLAINED")
    assert bench.check().ok


def test_a_rejected_pool_sets_its_members_free(bench: Bench):
    """A pool tube that is dropped on the floor takes nobody with it: its tubes are tested singly."""
    codes = bench.singles(3)
    pool = form(bench, codes)
    with bench.lab.database.write("anna") as unit:
        receiving.hold(unit, pool, "dropped")
        receiving.reject(unit, bench.lab.rules, pool, "dropped")
    assert bench.tube(pool).state is TubeState.REJECTED
    for code in codes:
        tube = bench.tube(code)
        assert (tube.state, tube.test) == (TubeState.AWAITING_RETEST, "singly")
        assert "dropped" in tube.reason
    bench.cycle(codes)
    assert {bench.tube(code).result for code in codes} == {"negative"}
    assert bench.check().ok


def test_a_voided_plate_keeps_the_pool_together(bench: Bench):
    """A pool whose plate is given up waits again as a pool; its members stay in it."""
    codes = bench.singles(3)
    pool = form(bench, codes)
    plate = bench.plate([pool])
    with bench.lab.database.write("anna") as unit:
        plates.void(unit, plate, "power cut")
    assert bench.tube(pool).state is TubeState.AWAITING_RETEST
    assert bench.states(codes) == [TubeState.POOLED] * 3
    bench.cycle([pool])
    assert bench.states(codes) == [TubeState.RELEASED] * 3


def test_a_tube_that_was_tested_is_never_pooled_again(bench: Bench):
    """A tube sent to single testing, held and cleared meanwhile, stays out of every pool."""
    codes = bench.singles(2)
    bench.cycle([form(bench, codes)], {"A1": DETECTED})
    suspect = codes[0]
    with bench.lab.database.write("anna") as unit:
        receiving.hold(unit, suspect, "label torn")
        receiving.clear_hold(unit, suspect, "label read")
        proposals = pools.propose(unit, bench.lab.rules).pools
    assert suspect not in [code for one in proposals for code in one.members]
    fresh = bench.singles(2)
    refused(bench, "TESTED_ALREADY", [*fresh, suspect])
    bench.cycle([suspect], {suspect: {"N": 39.0}})
    with bench.lab.database.write("anna") as unit:
        receiving.hold(unit, suspect, "leaks")
        receiving.clear_hold(unit, suspect, "wiped")
    refused(bench, "TESTED_ALREADY", [*fresh, suspect])


def test_the_law_itself_keeps_tested_tubes_out_of_pools(embedded: Bench):
    """Even the ledger refuses an aliquot of a tube whose single test is due."""
    for changed in ({"tests": 1}, {"test": "singly"}):
        tube = Tube("T1", e.TubeKind.SINGLE, TubeState.RECEIVED)._replace(**changed)
        with pytest.raises(IllegalMove) as error:
            evolve(tube, e.JoinedPool("L1", 1), embedded.clock.now())
        assert error.value.code == "TESTED_ALREADY"


def test_a_recalled_person_is_tested_singly(bench: Bench):
    """The new single tube of somebody who is held is refused by pools and not proposed for one."""
    people = [person(n) for n in range(1, 6)]
    mixed = bench.mixed(5, persons=people)
    bench.cycle([mixed], {mixed: DETECTED})
    back = bench.singles(1, persons=[people[0]])[0]
    fresh = bench.singles(9)
    refused(bench, "PERSON_HELD", [*fresh, back])
    with bench.lab.database.write("anna") as unit:
        found = pools.propose(unit, bench.lab.rules)
    assert back not in [code for one in found.pools for code in one.members]
    assert (back, "PERSON_HELD") in [(one.tube, one.reason) for one in found.kept]


def test_refusals_are_refusals(bench: Bench):
    """Whatever a pool is refused for, the answer is a refusal and not a crash."""
    with pytest.raises(Refused):
        form(bench, [*bench.singles(1), bench.mixed()])
