"""Which new specimen answers for a person who was called back: one that came after, by our own clock."""

from __future__ import annotations

from datetime import timedelta

import pytest
from bench import Bench, person

from lis import queries
from lis.services import reports
from lis.services.receiving import PersonData, Scan
from lis.tube import TubeState

POSITIVE = {"ORF1ab": 25.0, "N": 25.0}
WHO = person(1)


def called_back(bench: Bench, who: PersonData = WHO) -> str:
    """A mixed tube whose only person is called back now."""
    mixed = bench.mixed(5, persons=[who], reason="one only")
    bench.cycle([mixed], {mixed: POSITIVE})
    assert bench.tube(mixed).state is TubeState.AWAITING_RECOLLECTION
    return mixed


def reported(bench: Bench, code: str) -> None:
    """Read a tube as negative, sign it and report it."""
    bench.cycle([code])
    with bench.lab.database.write("rosa") as unit:
        reports.review(unit, bench.lab.rules, code, "accept")
        reports.release(unit, bench.lab.rules, [code])


def awaited(bench: Bench) -> int:
    """Persons who are still called back."""
    with bench.lab.database.read() as conn:
        return len(queries.open_recalls(conn))


@pytest.mark.parametrize(
    ("behind", "answers"), [(0, True), (29, True), (30, True), (31, False), (600, False)]
)
def test_a_late_clock_of_a_site_does_not_hold_a_person_for_ever(bench: Bench, behind: int, answers: bool):
    """A specimen registered after the recall answers if its site's clock was behind by the tolerance at most."""
    mixed = called_back(bench)
    sampled = bench.clock.now() - timedelta(minutes=behind)
    bench.clock.advance(timedelta(minutes=5))
    [code] = bench.singles(1, persons=[WHO], sampled_at=sampled)
    reported(bench, code)
    assert awaited(bench) == (0 if answers else 1)
    assert bench.tube(mixed).state is (TubeState.RESOLVED if answers else TubeState.AWAITING_RECOLLECTION)
    assert bench.check().ok


def test_a_specimen_registered_before_the_recall_never_answers_it(bench: Bench):
    """However late its site's clock says it was taken: what was registered before is the old specimen."""
    [early] = bench.singles(1, persons=[WHO], sampled_at=bench.clock.now() + timedelta(hours=12))
    mixed = bench.mixed(5, persons=[WHO], reason="one only")
    bench.clock.advance(timedelta(minutes=1))
    bench.cycle([mixed], {mixed: POSITIVE})
    reported(bench, early)
    assert awaited(bench) == 1
    assert bench.tube(mixed).state is TubeState.AWAITING_RECOLLECTION


def test_a_tube_that_lay_in_the_hold_tray_before_the_recall_never_answers_it(bench: Bench):
    """A tube scanned before its registration is as old as the scan."""
    order = bench.order([WHO])
    assert bench.scan(Scan(order.barcode))[0].outcome == "held"
    bench.clock.advance(timedelta(minutes=1))
    called_back(bench)
    bench.clock.advance(timedelta(hours=1))
    bench.register(order)
    bench.scan(Scan(order.barcode, "R9", "A1"))
    reported(bench, order.barcode)
    assert awaited(bench) == 1


def test_a_laboratory_says_how_far_a_clock_may_be_behind(make_bench):
    """The tolerance is a setting: at none, a minute before the recall is too early, its very moment is not."""
    bench = make_bench(recall_clock_minutes=0)
    called_back(bench)
    opened = bench.clock.now()
    for behind, left in ((1, 1), (0, 0)):
        [code] = bench.singles(1, persons=[WHO], sampled_at=opened - timedelta(minutes=behind))
        reported(bench, code)
        assert awaited(bench) == left


def test_a_tube_is_as_old_as_the_laboratory_has_known_it(bench: Bench):
    """When a tube was first heard of is the laboratory's own time, whatever its site wrote."""
    before = bench.clock.now()
    [code] = bench.singles(1, persons=[WHO], sampled_at=before - timedelta(days=1))
    with bench.lab.database.read() as conn:
        assert queries.first_heard(conn, [code]) == {code: before}
