"""Reports: nobody's result leaves before its evidence and its signatures, and nothing issued ever changes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from bench import Bench, person

from lis import auth, ledger, printing, queries
from lis import events as e
from lis.errors import LisError
from lis.laboratory import papers
from lis.services import amendments, pools, reports
from lis.tube import TubeState

POSITIVE = {"ORF1ab": 25.0, "N": 25.0}


def attempt(bench: Bench, who: str, act, *values: str) -> str:
    """What a person's act is refused with; empty if it is done."""
    try:
        with bench.lab.database.write(who) as unit:
            act(unit, bench.lab.rules, *values)
    except LisError as error:
        return error.code
    return ""


def sign(bench: Bench, who: str, code: str, verdict: str = "accept", reason: str = "") -> str:
    """A review; see :func:`attempt`."""
    return attempt(bench, who, reports.review, code, verdict, reason)


def release(bench: Bench, who: str, *codes: str) -> str:
    """A release of named tubes; see :func:`attempt`."""
    return attempt(bench, who, lambda unit, rules: reports.release(unit, rules, codes))


def held_rules(handled) -> dict[str, set[str]]:
    """Tube -> the rules that keep it."""
    return {one.tube: {blocked.rule for blocked in one.blocked} for one in handled.held}


def test_clean_negatives_leave_by_the_written_rules(bench: Bench):
    """A negative that meets every rule is signed by the rules and reported with the run."""
    codes = bench.singles(2)
    handled = bench.cycle(codes)
    assert handled.held == ()
    for code in codes:
        [report] = bench.reports(code)
        assert (report["result"], report["mode"], report["signed_by"]) == ("negative", "single", reports.AUTO)
        assert report["assay"] == "daan-2019-ncov"
        assert report["issued_at"] == bench.clock.now()


def test_with_automatic_release_off_everything_waits_for_a_person(make_bench):
    """The switch stops every automatic release; one signature and a release then suffice for a negative."""
    bench = make_bench(auto_release=False)
    [code] = bench.singles()
    handled = bench.cycle([code])
    assert handled.issued.reports == {}
    assert held_rules(handled) == {code: set()}
    assert release(bench, "rosa", code) == "SIGNATURES"
    assert sign(bench, "rosa", code) == ""
    assert release(bench, "rosa", code) == ""
    assert bench.reports(code)[0]["signed_by"] == "rosa"


@pytest.mark.parametrize(
    ("signal", "rule"),
    [
        ({"IC": 34.6}, "ic-late"),
        ({"B1": {"ORF1ab": 15.0, "N": 15.0}}, "neighbour-strong"),
    ],
)
def test_a_doubtful_negative_waits_for_a_person(bench: Bench, signal: dict, rule: str):
    """A late internal control or a very strong neighbour keeps a negative until somebody looked."""
    one, two = bench.singles(2)
    given = signal if "B1" in signal else {one: signal}
    handled = bench.cycle([one, two], given)
    assert rule in held_rules(handled)[one]
    assert bench.tube(one).state is TubeState.IN_REVIEW
    assert bench.reports(one) == []


def test_an_old_specimen_and_a_repeat_wait_for_a_person(bench: Bench):
    """Specimens past their age, and tubes read before, are not released by the rules."""
    [old] = bench.singles(1, sampled_at=bench.clock.now() - timedelta(hours=80))
    assert "specimen-age" in held_rules(bench.cycle([old]))[old]
    [again] = bench.singles()
    bench.cycle([again], {again: {"IC": None}})
    assert {"retest", "findings"} <= held_rules(bench.cycle([again]))[again]


def test_nothing_leaves_before_its_run_has_ended(bench: Bench):
    """A file whose run ends in the future is read, but neither rules nor reviewers can let its results go."""
    [code] = bench.singles()
    plate = bench.plate([code])
    later = bench.clock.now() + timedelta(hours=1)
    handled = bench.deliver(bench.table(plate, ended=f"{later:%Y-%m-%dT%H:%M:%SZ}"), plate=plate)
    assert handled.ingested.state == "read"
    assert "run-ended" in held_rules(handled)[code]
    assert sign(bench, "rosa", code) == "NOT_RELEASABLE"
    bench.clock.advance(timedelta(hours=2))
    assert sign(bench, "rosa", code) == ""
    assert release(bench, "rosa", code) == ""


def test_a_positive_needs_two_different_people(bench: Bench):
    """One reviewer is not enough, the same one twice is refused, a second one is needed before release."""
    [code] = bench.singles()
    bench.cycle([code], {code: POSITIVE})
    assert release(bench, "rosa", code) == "SIGNATURES"
    assert sign(bench, "rosa", code) == ""
    assert sign(bench, "rosa", code) == "SAME_PERSON"
    assert release(bench, "rosa", code) == "SIGNATURES"
    with bench.lab.database.write("rosa") as unit:
        assert reports.release(unit, bench.lab.rules).reports == {}
    assert sign(bench, "ruth", code) == ""
    assert release(bench, "mia", code) == ""
    [report] = bench.reports(code)
    assert (report["result"], report["signed_by"]) == ("positive", "rosa, ruth")
    assert sign(bench, "mia", code) == "NOT_IN_REVIEW"
    assert release(bench, "mia", code) == "NOT_IN_REVIEW"
    assert bench.check().ok


def test_a_retest_takes_every_signature_back(bench: Bench):
    """A reviewer's retest needs a reason and starts the signatures anew, also for who signed before."""
    [code] = bench.singles()
    bench.cycle([code], {code: POSITIVE})
    assert sign(bench, "rosa", code) == ""
    assert sign(bench, "ruth", code, "retest") == "REASON"
    assert sign(bench, "ruth", code, "shrug", "?") == "VERDICT"
    assert sign(bench, "ruth", code, "re-extract", "curve looks odd") == ""
    tube = bench.tube(code)
    assert (tube.state, tube.test, tube.signatures, tube.result) == (
        TubeState.AWAITING_RETEST,
        "re-extract",
        0,
        "",
    )
    bench.cycle([code], {code: POSITIVE})
    assert bench.tube(code).signatures == 0
    assert release(bench, "rosa", code) == "SIGNATURES"
    assert sign(bench, "rosa", code) == sign(bench, "ruth", code) == release(bench, "mia", code) == ""
    assert bench.reports(code)[0]["signed_by"] == "rosa, ruth"


def test_a_reviewer_can_call_the_person_back(bench: Bench):
    """Instead of a result a reviewer may want a new specimen; the tube then reports nothing."""
    [code] = bench.singles()
    bench.cycle([code], {code: POSITIVE})
    assert sign(bench, "rosa", code, "recollect", "tube was swapped") == ""
    assert bench.tube(code).state is TubeState.AWAITING_RECOLLECTION
    assert release(bench, "rosa", code) == "NOT_IN_REVIEW"


def test_a_mixed_negative_is_one_report_per_person(bench: Bench):
    """Each person of a negative mixed tube gets a report of their own that says mixed and how many."""
    mixed = bench.mixed(10)
    bench.cycle([mixed])
    found = bench.reports(mixed)
    assert len({report["person_id"] for report in found}) == len(found) == 10
    assert {(r["result"], r["mode"], r["places"]) for r in found} == {("negative", "mixed", 10)}


def test_every_report_can_be_printed_and_verified(bench: Bench):
    """Single, mixed, pooled, positive and amended reports all become a document in both languages."""
    positive, negative, *members = bench.singles(4)
    mixed = bench.mixed(5)
    with bench.lab.database.write("anna") as unit:
        pool = pools.form(unit, bench.lab.rules, members).tube_id
    bench.cycle([positive, negative, mixed, pool], {positive: POSITIVE})
    for who in ("rosa", "ruth"):
        sign(bench, who, positive)
    release(bench, "rosa", positive)
    with bench.lab.database.write("rosa") as unit:
        wrong = bench.reports(negative)[0]["report_id"]
        amended = amendments.amend(unit, bench.lab.rules, wrong, "inconclusive", "typing error").report_id
    numbers = [bench.reports(code)[0]["report_id"] for code in (positive, mixed, members[0])]
    views = [papers.report_view(bench.lab, number) for number in (*numbers, amended)]
    assert [view.mode for view in views] == ["single", "mixed", "pool", "single"]
    assert dict(views[0].targets)["N"] == 25.0
    assert [view.targets for view in views[1:3]] == [(), ()]
    assert (views[3].original_result, views[3].reason) == ("negative", "typing error")
    for view in views:
        assert view.seal[:16] in view.verify_url
        assert printing.as_pdf(view, "both").startswith(b"%PDF")
        assert printing.as_json(view)["report_id"] == view.report_id
    with pytest.raises(LisError, match="REPORT_UNKNOWN"):
        papers.report_view(bench.lab, "R1")


def test_why_a_tube_is_held_can_be_asked(bench: Bench):
    """For a tube in review every rule that keeps it is named with a sentence in both languages."""
    [code] = bench.singles()
    bench.cycle([code], {code: POSITIVE})
    with bench.lab.database.write("rosa") as unit:
        found = reports.why_held(unit, bench.lab.rules, bench.tube(code))
    assert [blocked.rule for blocked in found] == ["negative-only"]
    assert found[0].sentence_zh


def test_a_mixed_tube_that_slipped_into_review_is_never_reported(bench: Bench):
    """Even if a rule file concluded a mixed tube positive, no individual report is written."""
    run_id = bench.cycle(bench.singles()).ingested.run_id
    mixed = bench.mixed(5)
    plate = bench.plate([mixed])
    with bench.lab.database.write("rogue") as unit:
        called = e.Called(run_id, plate, "A1", "positive", "x", "daan-2019-ncov", "1", "first", "")
        ledger.append(unit, [(mixed, called), (mixed, e.Concluded("positive", "rogue rule"))])
        ledger.append(unit, [(mixed, e.Reviewed("accept", "")), (mixed, e.Reviewed("accept", ""))])
    assert release(bench, "rosa", mixed) == "MIXED_NOT_NEGATIVE"
    assert bench.reports(mixed) == []


def test_a_signature_does_not_replace_a_run(bench: Bench):
    """A result whose run cannot be shown is not released, whoever signed it."""
    [code] = bench.singles()
    with bench.lab.database.write("rogue") as unit:
        ledger.append(unit, [("L1", e.PoolFormed(1, "voluntary", unit.now)), (code, e.JoinedPool("L1", 1))])
        ledger.append(unit, [(code, e.Concluded("negative", "rogue")), (code, e.Reviewed("accept", ""))])
    assert release(bench, "rosa", code) == "NOT_RELEASABLE"
    assert sign(bench, "ruth", code) == "NOT_RELEASABLE"
    assert bench.reports(code) == []


def test_turnaround_is_measured_to_the_first_report(bench: Bench):
    """Hours from sampling, or from receipt, to the first report; whether it was in time; never negative."""
    sampled = bench.clock.now() - timedelta(hours=5)
    late, early = (
        bench.singles(1, tier="fever", sampled_at=sampled)[0],
        bench.singles(1, persons=[person(9)])[0],
    )
    bench.cycle([late, early])
    with bench.lab.database.read() as conn:
        found = {one.tube_id: one for one in queries.turnarounds(conn)}
        receipt = {one.tube_id: one.hours for one in queries.turnarounds(conn, "receipt")}
        assert queries.reported_tubes(conn) == 2
        assert len(queries.latest_reports(conn)) == 2
    assert (found[late].hours, found[late].on_time, found[late].tier) == (7.0, False, "fever")
    assert (found[early].hours, found[early].on_time) == (2.0, True)
    assert receipt == {late: 2.0, early: 2.0}


def test_the_promise_outlives_every_retest(bench: Bench):
    """A retest has its own earlier deadline; whether the report was on time is measured by what was promised."""
    [code] = bench.singles(1, tier="region")
    promised = bench.tube(code).promised_at
    assert promised == bench.tube(code).due_at
    bench.cycle([code], {code: {"IC": None}})
    tube = bench.tube(code)
    assert tube.state is TubeState.AWAITING_RETEST
    assert tube.due_at == bench.clock.now() + timedelta(hours=6) < promised
    assert tube.promised_at == promised
    bench.clock.advance(timedelta(hours=7))
    bench.cycle([code])
    assert sign(bench, "rosa", code) == release(bench, "rosa", code) == ""
    assert bench.clock.now() > bench.tube(code).due_at
    with bench.lab.database.read() as conn:
        [found] = queries.turnarounds(conn)
    assert found.on_time
    assert bench.reports(code)[0]["due_at"] == promised
    assert bench.check().ok


def test_a_promise_that_was_broken_stays_broken(bench: Bench):
    """A report after what was promised at receipt is late, however soon after its retest it came."""
    [code] = bench.singles(1, tier="fever")
    promised = bench.tube(code).promised_at
    bench.clock.advance(promised - bench.clock.now())
    bench.cycle([code], {code: {"IC": None}})
    bench.cycle([code])
    assert sign(bench, "rosa", code) == release(bench, "rosa", code) == ""
    with bench.lab.database.read() as conn:
        [found] = queries.turnarounds(conn)
    assert not found.on_time
    assert bench.tube(code).promised_at == promised


def test_only_registration_receipt_and_pooling_make_a_promise(bench: Bench):
    """The promise is made at the swab, confirmed at receipt, and a pool promises what its first member needs."""
    order = bench.order(tier="fever", sampled_at=bench.clock.now() - timedelta(hours=1))
    [code] = bench.register(order)
    assert bench.tube(code).promised_at == bench.tube(code).due_at
    [received] = bench.singles(1, tier="voluntary")
    [sooner] = bench.singles(1, tier="voluntary", sampled_at=bench.clock.now() - timedelta(hours=2))
    with bench.lab.database.write("anna") as unit:
        pool = pools.form(unit, bench.lab.rules, [received, sooner])
    assert pool.promised_at == bench.tube(sooner).promised_at
    assert bench.tube(received).promised_at > pool.promised_at


def test_a_report_bears_the_names_its_signers_had(bench: Bench):
    """The report names people as they were called when they signed, whatever becomes of their accounts."""
    with bench.lab.database.write("root") as unit:
        auth.create_account(unit, "rosa", "林 Rosa, MD", "reviewer", "a bench of tubes")
        auth.create_account(unit, "ruth", "王芳", "reviewer", "a bench of tubes")
    [code] = bench.singles()
    bench.cycle([code], {code: POSITIVE})
    assert sign(bench, "rosa", code) == sign(bench, "ruth", code) == release(bench, "rosa", code) == ""
    with bench.lab.database.write("root") as unit:
        queries.update_row(unit.conn, "account", {"name": "rosa"}, full_name="somebody else")
    [report] = bench.reports(code)
    view = papers.report_view(bench.lab, report["report_id"])
    assert view.signed_by == ("rosa", "ruth")
    assert view.signed_names == ("林 Rosa, MD", "王芳")
    document = printing.as_json(view)
    assert (document["signed_by"], document["signed_names"]) == (["rosa", "ruth"], ["林 Rosa, MD", "王芳"])
    with bench.lab.database.write("rosa") as unit:
        amendments.amend(unit, bench.lab.rules, report["report_id"], "negative", "swapped")
    with bench.lab.database.write("ruth") as unit:
        later = amendments.amend(unit, bench.lab.rules, report["report_id"], "negative").report_id
    assert papers.report_view(bench.lab, later).signed_names == ("somebody else", "王芳")
    assert bench.check().ok
