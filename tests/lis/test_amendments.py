"""Corrections: nobody turns an issued result around alone, and nothing issued ever changes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from bench import Bench

from lis import events as e
from lis import ledger, queries
from lis.errors import Conflict, LisError
from lis.services import admin, amendments, pools, reports, storage
from lis.services.amendments import Amendment

POSITIVE = {"ORF1ab": 25.0, "N": 25.0}


def amend(
    bench: Bench, who: str, report_id: str, result: str, reason: str = "tubes swapped"
) -> Amendment | LisError:
    """What a person's request to correct a report came to, or the refusal."""
    try:
        with bench.lab.database.write(who) as unit:
            return amendments.amend(unit, bench.lab.rules, report_id, result, reason)
    except LisError as error:
        return error


def refused(done: Amendment | LisError) -> str:
    """The code of a refusal; empty if something was done."""
    return done.code if isinstance(done, LisError) else ""


def withdraw(bench: Bench, who: str, report_id: str, reason: str = "looked again") -> str:
    """The code a withdrawal is refused with; empty if it is done."""
    try:
        with bench.lab.database.write(who) as unit:
            amendments.withdraw(unit, report_id, reason)
    except LisError as error:
        return error.code
    return ""


def proposals(bench: Bench) -> list[tuple[str, str, str, str]]:
    """(report, what it says, what it should say, who asked) of every open proposal."""
    with bench.lab.database.read() as conn:
        rows = queries.open_amendments(conn)
    return [(row["amends"], row["says"], row["result"], row["signers"]) for row in rows]


def negative(bench: Bench) -> tuple[str, str]:
    """A tube reported negative by the rules, and the number of its report."""
    [code] = bench.singles()
    bench.cycle([code])
    [report] = bench.reports(code)
    return code, report["report_id"]


def test_nobody_turns_a_report_positive_alone(bench: Bench):
    """One person only proposes: the report stands and the proposal is listed; a second person completes it."""
    code, number = negative(bench)
    done = amend(bench, "rosa", number, "positive")
    assert isinstance(done, Amendment)
    assert (done.status, done.report_id, done.signers, done.needed) == ("proposed", "", ("rosa",), 2)
    assert [report["report_id"] for report in bench.reports(code)] == [number]
    assert bench.tube(code).result == "negative"
    assert proposals(bench) == [(number, "negative", "positive", "rosa")]
    assert refused(amend(bench, "rosa", number, "positive")) == "SAME_PERSON"
    assert len(bench.reports(code)) == 1
    done = amend(bench, "ruth", number, "positive", "")
    assert isinstance(done, Amendment)
    assert done.status == "amended"
    old, new = bench.reports(code)
    assert (new["report_id"], new["amends"], new["result"]) == (done.report_id, number, "positive")
    assert (new["signed_by"], new["reason"]) == ("rosa, ruth", "tubes swapped")
    assert old["result"] == "negative"
    assert bench.tube(code).result == "positive"
    assert proposals(bench) == []
    assert bench.history(code)[-2:] == ["AmendmentProposed", "Amended"]
    assert bench.check().ok


def test_nobody_takes_a_positive_back_alone(bench: Bench):
    """From positive to anything needs two people as well: the old result counts as the new one does."""
    [code] = bench.singles()
    bench.cycle([code], {code: POSITIVE})
    for who in ("rosa", "ruth"):
        with bench.lab.database.write(who) as unit:
            reports.review(unit, bench.lab.rules, code, "accept")
    with bench.lab.database.write("mia") as unit:
        [number] = reports.release(unit, bench.lab.rules, [code]).reports[code]
    for result in ("negative", "inconclusive"):
        done = amend(bench, "rosa", number, result)
        assert isinstance(done, Amendment)
        assert done.status == "proposed"
        assert bench.tube(code).result == "positive"
        assert withdraw(bench, "rosa", number) == ""
    assert refused(amend(bench, "rosa", number, "positive")) == "NOTHING_CHANGED"
    assert amend(bench, "ruth", number, "negative").status == "proposed"
    assert amend(bench, "rosa", number, "negative").status == "amended"
    assert bench.reports(code)[1]["signed_by"] == "ruth, rosa"


def test_another_result_is_refused_while_a_proposal_is_open(bench: Bench):
    """A different correction names the open one, who asked for it and what to do; after a withdrawal it goes."""
    code, number = negative(bench)
    amend(bench, "rosa", number, "positive")
    error = amend(bench, "ruth", number, "inconclusive")
    assert refused(error) == "AMENDMENT_OPEN"
    for word in ("rosa", number, "positive", "tubes swapped", "withdraw"):
        assert word in error.sentence
    assert withdraw(bench, "ruth", number, " ") == "REASON"
    assert withdraw(bench, "ruth", number) == ""
    assert withdraw(bench, "ruth", number) == "AMENDMENT_CLOSED"
    assert proposals(bench) == []
    done = amend(bench, "ruth", number, "inconclusive")
    assert (done.status, done.needed) == ("amended", 1)
    assert bench.reports(code)[1]["signed_by"] == "ruth"
    assert bench.check().ok


def test_a_withdrawn_proposal_gives_nobody_a_head_start(bench: Bench):
    """After a withdrawal the same correction needs two people anew, also from who withdrew it."""
    code, number = negative(bench)
    amend(bench, "rosa", number, "positive")
    withdraw(bench, "ruth", number)
    assert amend(bench, "ruth", number, "positive").status == "proposed"
    assert refused(amend(bench, "ruth", number, "positive")) == "SAME_PERSON"
    assert amend(bench, "rosa", number, "positive", "seen on the gel").status == "amended"
    new = bench.reports(code)[1]
    assert (new["signed_by"], new["reason"]) == ("ruth, rosa", "tubes swapped; seen on the gel")
    assert bench.check().ok


def test_a_laboratory_that_asks_for_three_gets_three(bench: Bench):
    """Every person up to the last only proposes; three different people are needed where the rules say three."""
    code, number = negative(bench)
    release = bench.lab.rules.release
    release.signatures["positive"] = 3
    try:
        assert amend(bench, "rosa", number, "positive").status == "proposed"
        assert amend(bench, "ruth", number, "positive").status == "proposed"
        assert refused(amend(bench, "rosa", number, "positive")) == "SAME_PERSON"
        assert proposals(bench) == [(number, "negative", "positive", "rosa, ruth")]
        assert amend(bench, "mia", number, "positive").status == "amended"
    finally:
        release.signatures["positive"] = 2
    assert bench.reports(code)[1]["signed_by"] == "rosa, ruth, mia"
    assert bench.check().ok


def test_an_amendment_keeps_the_original_the_reason_and_the_signer(bench: Bench):
    """A corrected report is a new one that names the old; the old stays as it was and is corrected once."""
    code, number = negative(bench)
    [first] = bench.reports(code)
    assert refused(amend(bench, "rosa", number, "negative")) == "NOTHING_CHANGED"
    assert refused(amend(bench, "rosa", number, "maybe")) == "RESULT"
    assert refused(amend(bench, "rosa", number, "positive", " ")) == "REASON"
    assert refused(amend(bench, "rosa", "R000000-0000000", "positive")) == "REPORT_UNKNOWN"
    second = amend(bench, "rosa", number, "inconclusive").report_id
    old, new = bench.reports(code)
    assert old == first
    assert (new["report_id"], new["amends"], new["version"]) == (second, number, 2)
    assert (new["result"], new["reason"], new["signed_by"]) == ("inconclusive", "tubes swapped", "rosa")
    assert refused(amend(bench, "rosa", number, "positive")) == "REPORT_SUPERSEDED"
    third = amend(bench, "rosa", second, "negative", "not swapped after all").report_id
    assert bench.tube(code).result == "negative"
    assert [report["report_id"] for report in bench.reports(code)] == [number, second, third]
    assert bench.check().ok


def test_a_shared_tube_makes_nobody_positive_by_correction(bench: Bench):
    """Neither a mixed tube nor a pool yields a positive person, whoever asks for it."""
    mixed = bench.mixed(5)
    members = bench.singles(2)
    with bench.lab.database.write("anna") as unit:
        pool = pools.form(unit, bench.lab.rules, members).tube_id
    bench.cycle([mixed, pool])
    assert (
        refused(amend(bench, "rosa", bench.reports(mixed)[0]["report_id"], "positive"))
        == "MIXED_NOT_NEGATIVE"
    )
    number = bench.reports(members[0])[0]["report_id"]
    assert refused(amend(bench, "rosa", number, "positive")) == "POOLED_NOT_POSITIVE"
    assert proposals(bench) == []


def test_a_tube_is_not_destroyed_while_a_correction_of_its_report_is_open(bench: Bench):
    """The specimen that may settle the doubt is kept until the proposal is agreed to or withdrawn."""
    code, number = negative(bench)
    amend(bench, "rosa", number, "positive")
    with bench.lab.database.write("anna") as unit:
        storage.store(unit, code, "freezer", "1")
    bench.clock.advance(timedelta(days=30))

    def discard() -> None:
        with bench.lab.database.write("rosa") as unit:
            storage.discard(unit, code, "retention over", keep_hours=72)

    with pytest.raises(LisError) as error:
        discard()
    assert error.value.code == "AMENDMENT_OPEN_TUBE"
    assert withdraw(bench, "rosa", number) == ""
    bench.clock.advance(timedelta(days=30))
    discard()
    assert refused(amend(bench, "rosa", number, "positive")) == "ILLEGAL_MOVE"
    assert bench.check().ok


def test_proposals_are_rebuilt_from_the_log_alone(bench: Bench):
    """Open, withdrawn and completed proposals come back as they were; a touched one makes the check fail."""
    for _ in range(3):
        negative(bench)
    with bench.lab.database.read() as conn:
        numbers = sorted(row["report_id"] for row in queries.latest_reports(conn))
    for number in numbers:
        amend(bench, "rosa", number, "positive")
    withdraw(bench, "rosa", numbers[1])
    amend(bench, "ruth", numbers[2], "positive")
    before = proposals(bench)
    assert [one[0] for one in before] == numbers[:1]
    with bench.lab.database.write("root") as unit:
        ledger.rebuild(unit)
    assert proposals(bench) == before
    assert bench.check().ok
    with bench.lab.database.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE amendment SET signers = 'mia' WHERE closed_at IS NULL")
    assert "amendment" in bench.check().problem


def test_a_correction_with_another_signature_than_the_log_is_found(bench: Bench):
    """A corrected report that names a second person who never asked for it makes the check fail."""
    code, number = negative(bench)
    with bench.lab.database.write("rosa") as unit:
        old = queries.report_row(unit.conn, number)
        amendments._issue(unit, old, "positive", "alone", ("rosa", "ruth"))
    found: admin.Check = bench.check()
    assert not found.ok
    assert found.tube == code


def test_the_log_takes_no_withdrawal_of_what_nobody_proposed(bench: Bench):
    """Whoever writes past the service is refused, and a second withdrawal is none: nothing is recorded."""
    code, number = negative(bench)
    before = bench.count()
    with pytest.raises(Conflict) as error, bench.lab.database.write("rogue") as unit:
        ledger.append(unit, [(code, e.AmendmentWithdrawn(number, "never mind"))])
    assert error.value.code == "AMENDMENT_CLOSED"
    assert bench.count() == before
    amend(bench, "rosa", number, "positive")
    withdraw(bench, "rosa", number)
    with pytest.raises(Conflict), bench.lab.database.write("rogue") as unit:
        ledger.append(unit, [(code, e.AmendmentWithdrawn(number, "again"))])
    assert bench.count() == before + 2
    assert bench.check().ok
