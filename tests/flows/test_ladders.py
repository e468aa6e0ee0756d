"""Through several runs: what is not clearly negative is tested again until the rules have an answer."""

from __future__ import annotations

from datetime import timedelta

import pytest
from bench import Bench, person

from lis import ledger, queries
from lis.errors import Refused
from lis.services import receiving, reports
from lis.services.receiving import Scan
from lis.tube import TubeState

POSITIVE = {"ORF1ab": 25.0, "N": 25.0}
SINGLE_TARGET = {"N": 36.0}
INVALID = {"IC": None}
GREY_KIT = "kinghawk"


def sign(bench: Bench, code: str, *people: str) -> None:
    """Reviewers accept a result, then it is released."""
    for who in people:
        with bench.lab.database.write(who) as unit:
            reports.review(unit, bench.lab.rules, code, "accept")
    with bench.lab.database.write(people[-1]) as unit:
        reports.release(unit, bench.lab.rules, [code])


def new_specimen(bench: Bench, who) -> str:
    """A recalled person gives a new single tube."""
    bench.clock.advance(timedelta(hours=1))
    return bench.singles(1, persons=[who])[0]


def recalls(bench: Bench) -> list[tuple[str, str]]:
    """Open recalls as (tube, name)."""
    with bench.lab.database.read() as conn:
        return sorted((row["tube_id"], row["name"]) for row in queries.open_recalls(conn))


def test_a_single_target_is_extracted_again_then_collected_again_then_positive(bench: Bench):
    """The same tube twice is never enough: only a second specimen with a single target makes a positive."""
    who = person(1)
    [first] = bench.singles(1, persons=[who])
    bench.cycle([first], {first: SINGLE_TARGET})
    tube = bench.tube(first)
    assert (tube.state, tube.test, tube.reason) == (TubeState.AWAITING_RETEST, "re-extract", "single-target")
    assert (tube.outcome, tube.priority) == ("borderline", 40 + 2)  # two hours on the plate
    bench.cycle([first], {first: SINGLE_TARGET})
    assert bench.tube(first).state is TubeState.AWAITING_RECOLLECTION
    assert recalls(bench) == [(first, "张1")]
    second = new_specimen(bench, who)
    bench.cycle([second], {second: SINGLE_TARGET})
    tube = bench.tube(second)
    assert (tube.state, tube.result, tube.reason) == (
        TubeState.IN_REVIEW,
        "positive",
        "positive-two-specimens",
    )
    assert bench.reports(first) == bench.reports(second) == []
    sign(bench, second, "rosa", "ruth")
    assert [report["result"] for report in bench.reports(second)] == ["positive"]
    assert bench.tube(first).state is TubeState.RESOLVED
    assert recalls(bench) == []
    assert bench.reports(first) == []
    assert bench.check().ok


def test_an_old_case_is_not_counted_twice(bench: Bench):
    """A single target of a case that was closed earlier does not make a new single target positive."""
    who = person(1)
    [first] = bench.singles(1, persons=[who])
    for _ in range(2):
        bench.cycle([first], {first: SINGLE_TARGET})
    second = new_specimen(bench, who)
    bench.cycle([second])
    sign(bench, second, "rosa")
    assert bench.tube(first).state is TubeState.RESOLVED
    bench.clock.advance(timedelta(days=60))
    third = new_specimen(bench, who)
    bench.cycle([third], {third: SINGLE_TARGET})
    tube = bench.tube(third)
    assert (tube.state, tube.test) == (TubeState.AWAITING_RETEST, "re-extract")


def test_a_single_target_that_repeats_negative_still_needs_a_new_specimen(bench: Bench):
    """A negative repeat of a single target is no negative: the person is called back."""
    [code] = bench.singles()
    bench.cycle([code], {code: SINGLE_TARGET})
    bench.cycle([code])
    assert bench.tube(code).state is TubeState.AWAITING_RECOLLECTION
    assert bench.reports(code) == []


def test_invalid_twice_is_a_new_specimen(bench: Bench):
    """A tube without internal control is extracted again once, then collected again, never negative."""
    [code] = bench.singles()
    bench.cycle([code], {code: INVALID})
    assert (bench.tube(code).test, bench.tube(code).outcome) == ("re-extract", "invalid")
    bench.cycle([code], {code: INVALID})
    assert bench.tube(code).state is TubeState.AWAITING_RECOLLECTION
    assert bench.reports(code) == []


def test_the_same_value_twice_counts_twice_and_both_runs_are_kept(bench: Bench):
    """Two runs with equal values are two findings; every reading of both is kept and shown, oldest first."""
    [code] = bench.singles()
    bench.cycle([code], {code: SINGLE_TARGET})
    bench.cycle([code], {code: SINGLE_TARGET})
    with bench.lab.database.read() as conn:
        calls = queries.calls(conn, [code])[code]
        readings = queries.readings_of_tube(conn, code)
    assert [call.outcome for call in calls] == ["borderline", "borderline"]
    assert len({call.run_id for call in calls}) == 2
    assert [reading["cq"] for reading in readings if reading["target"] == "N"] == [36.0, 36.0]
    assert readings[0]["read_at"] < readings[-1]["read_at"]
    assert bench.tube(code).tests == 2


@pytest.mark.parametrize(
    ("kind", "result"), [("drawn", "positive"), ("table", "")], ids=["with-curve", "without-curve"]
)
def test_grey_again_is_decided_by_its_curve(bench: Bench, kind: str, result: str):
    """Grey twice with an obvious S curve is positive; without a judged curve a new specimen is needed."""
    grey = {"ORF1ab": 38.6, "N": 38.6}
    [code] = bench.singles()
    for seed in (1, 2):
        plate = bench.plate([code], assay=GREY_KIT, template="96-two-controls")
        bench.clock.advance(timedelta(hours=2))
        write = bench.drawn if kind == "drawn" else bench.table
        extra = {"seed": seed} if kind == "drawn" else {}
        data = write(plate, {code: grey}, **extra)
        handled = bench.deliver(data, plate=plate, name="run.txt" if kind == "drawn" else "run.csv")
        assert handled.ingested.state == "read", handled.ingested
        assert bench.tube(code).outcome == "borderline"
        if seed == 1:
            assert (bench.tube(code).state, bench.tube(code).test) == (
                TubeState.AWAITING_RETEST,
                "re-amplify",
            )
    with bench.lab.database.read() as conn:
        curves = {call.curve for call in queries.calls(conn, [code])[code]}
    assert curves == ({"sigmoid"} if kind == "drawn" else {""})
    tube = bench.tube(code)
    if result:
        assert (tube.state, tube.result, tube.reason) == (TubeState.IN_REVIEW, result, "positive-grey-twice")
    else:
        assert (tube.state, tube.result) == (TubeState.AWAITING_RECOLLECTION, "")


def test_grey_that_repeats_negative_is_negative_but_a_person_looks(bench: Bench):
    """A grey value that is gone in the repeat is concluded negative and waits for a reviewer."""
    [code] = bench.singles()
    bench.cycle([code], {code: {"ORF1ab": 38.6, "N": 38.6}}, assay=GREY_KIT)
    bench.cycle([code], assay=GREY_KIT)
    tube = bench.tube(code)
    assert (tube.state, tube.result) == (TubeState.IN_REVIEW, "negative")
    assert bench.reports(code) == []
    sign(bench, code, "rosa")
    assert bench.reports(code)[0]["signed_by"] == "rosa"


@pytest.mark.parametrize("signal", [POSITIVE, SINGLE_TARGET], ids=["positive", "single-target"])
def test_a_mixed_tube_that_is_not_negative_holds_everybody_and_reports_nobody(bench: Bench, signal: dict):
    """Each person gets one recall; the tube is closed once everybody was reported."""
    people = [person(n) for n in range(1, 6)]
    mixed = bench.mixed(5, persons=people)
    other = bench.singles(1)[0]
    handled = bench.cycle([mixed, other], {mixed: signal})
    assert dict(handled.ingested.decisions) == {"recollect": 1, "conclude": 1}
    assert bench.tube(mixed).state is TubeState.AWAITING_RECOLLECTION
    assert bench.tube(mixed).open_recalls == 5
    assert recalls(bench) == sorted((mixed, f"张{n}") for n in range(1, 6))
    for verdict in ("accept", "retest"):
        with pytest.raises(Refused), bench.lab.database.write("rosa") as unit:
            reports.review(unit, bench.lab.rules, mixed, verdict, "x")
    with pytest.raises(Refused), bench.lab.database.write("rosa") as unit:
        reports.release(unit, bench.lab.rules, [mixed])
    tubes = [new_specimen(bench, who) for who in people]
    bench.cycle(tubes, {tubes[2]: POSITIVE})
    assert bench.states(tubes) == [TubeState.IN_REVIEW] * 5
    for n, code in enumerate(tubes):
        assert bench.tube(mixed).open_recalls == 5 - n
        assert bench.tube(mixed).state is TubeState.AWAITING_RECOLLECTION
        sign(bench, code, "rosa", *(["ruth"] if n == 2 else []))
    assert bench.tube(mixed).state is TubeState.RESOLVED
    assert bench.reports(mixed) == []
    assert [bench.reports(code)[0]["result"] for code in tubes] == ["negative"] * 2 + ["positive"] + [
        "negative"
    ] * 2
    assert bench.check().ok


def test_two_tubes_of_one_person_never_stand_for_two_persons(bench: Bench):
    """If one recalled person gives two tubes, the others of the mixed tube are still awaited."""
    people = [person(1), person(2)]
    mixed = bench.mixed(5, persons=people, reason="two only")
    bench.cycle([mixed], {mixed: POSITIVE})
    twins = [new_specimen(bench, people[0]), new_specimen(bench, people[0])]
    bench.cycle(twins)
    for code in twins:
        with bench.lab.database.write("rosa") as unit:
            reports.review(unit, bench.lab.rules, code, "accept")
    with bench.lab.database.write("rosa") as unit:
        issued = reports.release(unit, bench.lab.rules)
    assert set(issued.reports) == set(twins)
    assert bench.tube(mixed).state is TubeState.AWAITING_RECOLLECTION
    assert bench.tube(mixed).open_recalls == 1
    assert recalls(bench) == [(mixed, "张2")]
    assert bench.check().ok


def test_an_older_specimen_does_not_answer_a_recall(bench: Bench):
    """A tube that was taken before its person was called back does not close the task, however negative."""
    who = person(1)
    [early] = bench.singles(1, persons=[who])
    mixed = bench.mixed(5, persons=[who], reason="one only")
    bench.clock.advance(timedelta(hours=1))
    bench.cycle([mixed], {mixed: POSITIVE})
    bench.cycle([early])
    assert bench.tube(early).state is TubeState.IN_REVIEW, "a held person's negative does not leave by itself"
    sign(bench, early, "rosa")
    assert recalls(bench) == [(mixed, "张1")]
    late = new_specimen(bench, who)
    bench.cycle([late])
    sign(bench, late, "rosa")
    assert recalls(bench) == []
    assert bench.tube(mixed).state is TubeState.RESOLVED


def test_specimens_that_are_used_up_end_every_recall_and_refer_the_person(bench: Bench):
    """The last specimen ends the older re-collections too; the person is referred until a later report answers."""
    who = person(1)
    mixed = bench.mixed(5, persons=[who], reason="one only")
    bench.cycle([mixed], {mixed: POSITIVE})
    codes = []
    while not codes or bench.tube(codes[-1]).state is TubeState.AWAITING_RECOLLECTION:
        assert len(codes) < 4, "the policy asks for three specimens at most"
        codes.append(new_specimen(bench, who))
        while bench.tube(codes[-1]).state in {TubeState.RECEIVED, TubeState.AWAITING_RETEST}:
            bench.cycle([codes[-1]], {codes[-1]: INVALID})
        assert (mixed, "张1") in recalls(bench)
    assert bench.tube(codes[-1]).result == "invalid"
    sign(bench, codes[-1], "rosa")
    assert [report["result"] for report in bench.reports(codes[-1])] == ["invalid"]
    assert recalls(bench) == []
    assert bench.tube(mixed).state is TubeState.RESOLVED
    assert bench.states(codes[:-1]) == [TubeState.RESOLVED] * (len(codes) - 1)
    assert referred(bench) == [(codes[-1], "张1", "invalid")]
    assert bench.check().ok
    bench.clock.advance(timedelta(days=1))
    late = new_specimen(bench, who)
    bench.cycle([late])
    if bench.tube(late).state is TubeState.IN_REVIEW:
        sign(bench, late, "rosa")
    assert bench.reports(late)[0]["result"] == "negative"
    assert referred(bench) == []


def referred(bench: Bench) -> list[tuple[str, str, str]]:
    """Tube, name and result of everybody on the clinician's list."""
    with bench.lab.database.read() as conn:
        rows = queries.referrals(conn, bench.clock.now())
    return [(row["tube_id"], row["name"], row["result"]) for row in rows]


def test_an_invalid_mixed_tube_is_extracted_once_more(bench: Bench):
    """A mixed tube without internal control is repeated; negative then is one report per person."""
    mixed = bench.mixed(5)
    bench.cycle([mixed], {mixed: INVALID})
    tube = bench.tube(mixed)
    assert (tube.state, tube.test, tube.priority) == (TubeState.AWAITING_RETEST, "re-extract", 60 + 2)
    bench.cycle([mixed])
    sign(bench, mixed, "rosa")
    assert len(bench.reports(mixed)) == 5
    again = bench.mixed(5)
    for _ in range(2):
        bench.cycle([again], {again: INVALID})
    assert bench.tube(again).state is TubeState.AWAITING_RECOLLECTION


def test_a_rejected_tube_is_closed_by_the_new_specimen(bench: Bench):
    """The recall of a tube that leaked is answered by the report of the person's next tube."""
    who = person(1)
    [leaky] = bench.singles(1, persons=[who])
    with bench.lab.database.write("anna") as unit:
        receiving.reject(unit, bench.lab.rules, leaky, "leaked empty")
    fresh = new_specimen(bench, who)
    bench.cycle([fresh])
    sign(bench, fresh, "rosa")
    assert bench.tube(leaky).state is TubeState.RESOLVED
    assert recalls(bench) == []


def test_the_way_of_a_tube_can_be_told(bench: Bench):
    """Every step of a tube with who and when is in its history, in order."""
    [code] = bench.singles()
    bench.cycle([code], {code: SINGLE_TARGET})
    assert bench.history(code) == [
        "Registered",
        "PersonBound",
        "Sealed",
        "Received",
        "Plated",
        "RunStarted",
        "Called",
        "RetestOrdered",
    ]
    with bench.lab.database.read() as conn:
        entries = ledger.history(conn, code)
    assert [entry.actor for entry in entries] == ["site"] * 3 + ["anna"] * 3 + ["cycler-1"] * 2
    assert entries == sorted(entries, key=lambda entry: entry.at)
    assert bench.scan(Scan(code, "R9", "A1"))[0].outcome == "refused"
