"""Negatives that leave together, comments, a person's history, and the curves behind a result."""

from __future__ import annotations

import pytest
from bench import Bench, person

from lis import events as e
from lis import ledger, queries
from lis.errors import Invalid, NotFound, Refused
from lis.services import reports
from lis.tube import TubeState
from lis.web.api_curves import Shelf, curves_document


@pytest.fixture(name="held")
def held_bench(make_bench):
    """A laboratory that releases nothing by itself, with four tubes read: three negative, one positive."""
    bench: Bench = make_bench(auto_release=False)
    codes = bench.singles(4)
    bench.cycle(codes, {codes[0]: {"ORF1ab": 24.0, "N": 24.5}})
    return bench, codes


def test_the_negatives_named_are_signed_and_released_together(held):
    """Each gets its signature and its report; asking again for one of them is refused and changes nothing."""
    bench, (positive, *negatives) = held
    with bench.lab.database.write("bo") as unit:
        routine = reports.routine_negatives(unit, bench.lab.rules, 100)
        assert [tube.tube_id for tube in routine] == negatives
        issued = reports.release_negatives(unit, bench.lab.rules, negatives)
    assert {code: len(found) for code, found in issued.reports.items()} == dict.fromkeys(negatives, 1)
    assert {report["signed_by"] for code in negatives for report in bench.reports(code)} == {"bo"}
    assert bench.tube(positive).state is TubeState.IN_REVIEW
    before = bench.count()
    with pytest.raises(Refused) as refused, bench.lab.database.write("bo") as unit:
        reports.release_negatives(unit, bench.lab.rules, negatives[:1])
    assert refused.value.code == "NOT_IN_REVIEW"
    assert bench.count() == before
    assert bench.check().ok


def test_one_tube_that_may_not_leave_keeps_all_of_them(held):
    """A positive among the named tubes refuses the whole batch, and so does naming none."""
    bench, (positive, *negatives) = held
    before = bench.count()
    with pytest.raises(Refused) as refused, bench.lab.database.write("bo") as unit:
        reports.release_negatives(unit, bench.lab.rules, [*negatives, positive])
    assert refused.value.code == "NOT_ROUTINE"
    assert refused.value.details["tube"] == positive
    with pytest.raises(Invalid) as none, bench.lab.database.write("bo") as unit:
        reports.release_negatives(unit, bench.lab.rules, [])
    assert none.value.code == "NONE_NAMED"
    assert bench.count() == before


def test_a_comment_is_kept_with_its_author_and_signs_nothing(held):
    """A comment is an event of the tube; without words it is refused; signatures stay as they were."""
    bench, (positive, *_) = held
    with bench.lab.database.write("bo") as unit:
        reports.review(unit, bench.lab.rules, positive, "comment", " look at B1 ")
    with pytest.raises(Invalid), bench.lab.database.write("bo") as unit:
        reports.review(unit, bench.lab.rules, positive, "comment", " ")
    with bench.lab.database.read() as conn:
        last = ledger.history(conn, positive)[-1]
    assert (last.actor, last.fact) == ("bo", e.Commented("look at B1"))
    assert bench.tube(positive).signatures == 0
    assert bench.check().ok


def test_the_history_of_a_person_names_all_their_tubes_and_nobody_elses(embedded: Bench):
    """A person's specimens come newest first, of every kind of tube, and only theirs."""
    me, other = person(900001), person(900002)
    first, mixed, theirs = embedded.received(
        embedded.order([me]),
        embedded.mixed_order(5, persons=(me, other), reason="queue ended"),
        embedded.order([other]),
    )
    with embedded.lab.database.read() as conn:
        who = queries.persons_in(conn, first)[0]
        found = queries.specimens_of(conn, [who])
    assert {one.tube_id for one in found[who]} == {first, mixed}
    assert theirs not in {one.tube_id for one in found[who]}
    assert {one.kind for one in found[who]} == {"single", "mixed"}


class Asking:
    """Whose laboratory is asked."""

    def __init__(self, bench: Bench) -> None:
        self.lab = bench.lab


def test_the_curves_of_a_run_carry_both_cq_under_the_names_of_the_assay(embedded: Bench):
    """Every well that was read has its curve, the Cq of the file and the Cq called again; strangers have none."""
    codes = embedded.singles(2)
    plate = embedded.plate(codes)
    done = embedded.deliver(
        embedded.drawn(plate, {codes[0]: {"ORF1ab": 24.0, "N": 25.0}}), plate=plate, name="run.txt"
    )
    assert done.ingested.state == "read", done.ingested.sentence
    shelf, asking = Shelf(1), Asking(embedded)
    with embedded.lab.database.read() as conn:
        found = curves_document(asking, conn, shelf, done.ingested.run_id, "")
        again = curves_document(asking, conn, shelf, done.ingested.run_id, "N")
        with pytest.raises(NotFound):
            curves_document(asking, conn, shelf, done.ingested.run_id, "E")
        with pytest.raises(NotFound):
            curves_document(asking, conn, shelf, "0" * 64, "")
        wells = {well["tube_id"]: well["well"] for well in queries.wells(conn, plate)}
    assert (found["target"], again["target"]) == ("ORF1ab", "N")
    assert {one["name"] for one in found["targets"]} == {"ORF1ab", "N", "IC"}
    strong, none = found["called"][wells[codes[0]]], found["called"][wells[codes[1]]]
    assert abs(strong["ORF1ab"]["own"] - strong["ORF1ab"]["cq"]) < 0.02
    assert strong["N"]["verdict"] == "agrees"
    assert (none["ORF1ab"]["cq"], none["ORF1ab"]["own"]) == (None, None)
    curve = found["curves"][wells[codes[0]]]
    assert max(curve) > found["threshold"] > max(found["curves"][wells[codes[1]]])


def test_a_run_without_curves_is_shown_without_curves(embedded: Bench):
    """A table of Cq values draws nothing and still lists what the file says."""
    done = embedded.cycle(embedded.singles(1))
    with embedded.lab.database.read() as conn:
        found = curves_document(Asking(embedded), conn, Shelf(), done.ingested.run_id, "")
    assert found["curves"] == {}
    assert found["called"]["A1"]["IC"]["cq"] == 27.0
    assert found["called"]["A1"]["IC"]["verdict"] == "unchecked"
