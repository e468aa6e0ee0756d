"""Worklists that are sifted and paged: every tube once, none skipped, counts that agree with the rows."""

from __future__ import annotations

from datetime import timedelta

import pytest
from bench import Bench
from hypothesis import given, settings
from hypothesis import strategies as st
from moments import NOON
from sqlalchemy import select

from lis import laboratory, queries, schema
from lis.auth import Identity, Role
from lis.clock import to_text
from lis.errors import Invalid
from lis.queries import Place, Sieve
from lis.services.capacity import Order
from lis.services.receiving import Scan
from lis.tube import TubeState
from lis.web import listing
from lis.web.commands import Caller
from lis.web.linelists import LISTINGS
from lis.web.listing import Filters
from lis.web.pages_lists import _counts, _rows
from lis.web.views import environment

POSITIVE = {"ORF1ab": 25.0, "N": 25.0}


def pages(bench: Bench, name: str, sieve: Sieve, size: int) -> list[list[str]]:
    """The codes of every page of a list."""
    found, after = [], None
    with bench.lab.database.read() as conn:
        while rows := queries.sifted(conn, name, sieve, size, after):
            found.append([row.tube_id for row in rows])
            after = Place.of(rows[-1])
    return found


def test_pages_hold_every_tube_once_in_the_order_of_the_list(bench: Bench):
    """However long a page is, the pages together are the worklist, also where tubes share priority and due time."""
    for number in range(3):
        bench.singles(3, tier=("fever", "voluntary", "region")[number], site=f"S{number % 2}")
    with bench.lab.database.read() as conn:
        whole = [tube.tube_id for tube in queries.worklist(conn, "plate")]
    for size in (1, 2, 4, 100):
        assert [code for page in pages(bench, "plate", Sieve(), size) for code in page] == whole


def test_a_tube_that_leaves_makes_no_other_one_skip(bench: Bench):
    """Between two pages tubes are plated by others; nothing that still waits is left out of the next page."""
    codes = bench.singles(6)
    with bench.lab.database.read() as conn:
        first = queries.sifted(conn, "plate", Sieve(), 3)
    bench.plate([first[0].tube_id, first[1].tube_id])
    with bench.lab.database.read() as conn:
        rest = queries.sifted(conn, "plate", Sieve(), 9, Place.of(first[-1]))
    assert sorted([*(tube.tube_id for tube in first), *(tube.tube_id for tube in rest)]) == sorted(codes)


def test_the_hold_tray_lists_tubes_without_a_due_time_page_by_page(bench: Bench):
    """A tube nobody registered has no due time; both databases page past it alike."""
    strange = [bench.code() for _ in range(3)]
    bench.scan(*(Scan(code, "H", str(n)) for n, code in enumerate(strange)))
    assert sorted(code for page in pages(bench, "hold", Sieve(), 2) for code in page) == sorted(strange)
    with bench.lab.database.read() as conn:
        assert queries.sifted_count(conn, "hold", Sieve(state="on_hold_damaged")) == (0, False)


def test_every_filter_keeps_what_it_names(bench: Bench):
    """Tier, kind, site, age and text each sift alone and together, and the count is that of the rows."""
    now = bench.clock.now()
    old = bench.singles(2, tier="fever", site="North", sampled_at=now - timedelta(hours=5))
    young = bench.singles(1, site="South")
    mixed = bench.mixed(5)
    expected = {
        Sieve(tier="fever"): old,
        Sieve(kind="mixed"): [mixed],
        Sieve(site="South"): young,
        Sieve(before=now - timedelta(hours=4)): old,
        Sieve(text=young[0]): young,
        Sieve(text=bench.tube(old[1]).rack): old[1:],
        Sieve(tier="fever", site="South"): [],
        Sieve(): [*old, *young, mixed],
    }
    with bench.lab.database.read() as conn:
        for sieve, wanted in expected.items():
            rows = [tube.tube_id for tube in queries.sifted(conn, "plate", sieve)]
            assert sorted(rows) == sorted(wanted), sieve
            assert queries.sifted_count(conn, "plate", sieve) == (len(wanted), False)
        assert set(queries.sites_in(conn, "plate")) >= {"North", "South"}


def test_a_count_that_ended_early_says_so(bench: Bench):
    """Where each tube must be looked at, counting ends after a while and says so; at the limit itself it is exact."""
    codes = bench.singles(3)
    with bench.lab.database.read() as conn:
        found = [queries.sifted_count(conn, "plate", Sieve(text=codes[0][:9]), most) for most in (2, 3)]
        assert queries.sifted_count(conn, "plate", Sieve(), 2) == (3, False)
    assert found == [(2, True), (3, False)]
    for language, said in (("zh", "超过 2"), ("en", "more than 2")):
        template = environment().from_string("{{ counted(found) }}")
        assert template.render(language=language, found=found[0]) == said


@given(st.integers(-5, 60), st.sampled_from(["", to_text(NOON)]), st.sampled_from(["", "T1", "T~1"]))
@settings(max_examples=40)
def test_a_place_in_a_list_survives_its_address(priority: int, due: str, code: str):
    """Where a page ended is told in the address and read back as it was."""
    from lis.web.pages_lists import _address, _place

    place = Place(priority, due, code)
    assert _place(_address(place)) == place


def test_late_tubes_come_first_then_those_the_forecast_fears(bench: Bench):
    """Without a forecast only what is late is listed; with one also what is likely to be, the riskiest first."""
    now = bench.clock.now()
    late, soon, calm = (
        bench.singles(1, tier="fever", sampled_at=now - timedelta(hours=hours))[0] for hours in (7, 5.9, 0)
    )
    with bench.lab.database.read() as conn:
        assert [one.tube.tube_id for one in queries.endangered(conn, None, now, 0.2, Sieve(), 9)] == [late]
    number = laboratory.foretold(bench.lab, Order(replications=3), "rosa")
    with bench.lab.database.read() as conn:
        found = queries.endangered(conn, number, now, 0.2, Sieve(), 9)
        none = queries.endangered(conn, number, now, 0.2, Sieve(site="nowhere"), 9)
    assert [one.tube.tube_id for one in found][:2] == [late, soon]
    assert found[0].risk == 1.0
    assert none == []
    assert calm not in [one.tube.tube_id for one in found if (one.risk or 0) < 0.2]


def test_every_tube_about_to_be_late_is_counted_however_many(bench: Bench):
    """1,200 late tubes, one of them foreseen too, and one that is feared are 1,202 on tile, list and export alike."""
    now = bench.clock.now()
    late, soon, calm = (
        bench.singles(1, tier="fever", sampled_at=now - timedelta(hours=hours))[0] for hours in (7, 5.9, 0)
    )
    number = laboratory.foretold(bench.lab, Order(replications=3), "rosa")
    caller = Caller(bench.lab, Identity("rosa", "Rosa", Role.MANAGER))
    with bench.lab.database.write("rosa") as unit:
        (row,) = unit.conn.execute(select(schema.tube).where(schema.tube.c.tube_id == late)).mappings()
        many = [{**row, "tube_id": f"MANY{n:08d}"} for n in range(1200)]
        unit.conn.execute(schema.tube.insert(), many)
    with bench.lab.database.read() as conn:
        risk = {one["tube_id"]: one["risk"] for one in queries.forecast_tubes(conn, number)}
        least = {
            wanted: queries.endangered_count(conn, number, now, wanted, Sieve()) for wanted in (0.0, 1.1)
        }
        whole = listing.endangered(caller, conn, Filters(), None)
        page = _rows(caller, conn, "late", Filters(), 8)
        sifted = _rows(caller, conn, "late", Filters(q="MANY0000000"), 8)
        assert _counts(caller, conn)["late"] == len(whole) == 1201 + (risk[soon] >= 0.2) + (risk[calm] >= 0.2)
    assert least == {0.0: 1203, 1.1: 1201}
    assert (len(page["rows"]), page["total"]) == (8, (len(whole), False))
    assert sifted["total"] == (10, False)


@pytest.mark.parametrize("size", [1, 7, 50])
def test_every_page_of_what_is_late_follows_the_one_before(bench: Bench, size: int):
    """Page by page all late and feared tubes come, each once, whatever becomes late or leaves meanwhile."""
    now = bench.clock.now()
    late, soon = (
        bench.singles(1, tier="fever", sampled_at=now - timedelta(hours=hours))[0] for hours in (7, 5.9)
    )
    number = laboratory.foretold(bench.lab, Order(replications=3), "rosa")
    caller = Caller(bench.lab, Identity("rosa", "Rosa", Role.MANAGER))
    with bench.lab.database.write("rosa") as unit:
        (row,) = unit.conn.execute(select(schema.tube).where(schema.tube.c.tube_id == late)).mappings()
        tubes = [{**row, "tube_id": f"LATE{n:08d}"} for n in range(20)]
        tubes += [
            {**row, "tube_id": f"SOON{n:08d}", "promised_at": now + timedelta(hours=1)} for n in range(20)
        ]
        unit.conn.execute(schema.tube.insert(), tubes)
        (foreseen,) = unit.conn.execute(
            select(schema.forecast_tube).where(schema.forecast_tube.c.tube_id == soon)
        ).mappings()
        risks = [{**foreseen, "tube_id": f"SOON{n:08d}", "risk": 0.2 + n % 4 / 10} for n in range(20)]
        unit.conn.execute(schema.forecast_tube.insert(), risks)
    with bench.lab.database.read() as conn:
        whole = [one.tube.tube_id for one in listing.endangered(caller, conn, Filters())]
    assert len(set(whole)) == len(whole) >= 41
    assert [code[:4] for code in whole].count("SOON") == 20
    seen, after = [], ""
    while True:
        with bench.lab.database.read() as conn:
            shown = _rows(caller, conn, "late", Filters(), size, after)
        seen += [one.tube.tube_id for one in shown["rows"]]
        assert len(shown["rows"]) == size or not shown["next"]
        bench.clock.advance(timedelta(minutes=10))  # what was feared becomes late, and stays where it was
        if not (after := shown["next"]):
            break
    assert seen == whole
    assert number


@pytest.mark.parametrize(
    "after", ["x", "1~2~3", "~~~~", "2022-12-21~1~x~~", "2022-12-21T08:00:00.000000Z~1~x~~\0"]
)
def test_a_damaged_address_of_the_late_list_is_told(bench: Bench, after: str):
    """Who changes the address of a page is told to open the list anew."""
    caller = Caller(bench.lab, Identity("rosa", "Rosa", Role.MANAGER))
    with bench.lab.database.read() as conn, pytest.raises(Invalid) as error:
        _rows(caller, conn, "late", Filters(), 8, after)
    assert error.value.code == "LIST_PLACE"


def test_a_line_list_is_whole_however_long(bench: Bench):
    """1,100 alarms leave as 1,100 rows: a file that ends early without a word would lose some of them."""
    with bench.lab.database.write("rosa") as unit:
        told = {"at": unit.now, "code": "TEST", "sentence": "a test"}
        queries.insert_rows(unit.conn, "alarm", [{**told, "subject": f"x{n}"} for n in range(1100)])
    caller = Caller(bench.lab, Identity("rosa", "Rosa", Role.MANAGER))
    with bench.lab.database.read() as conn:
        rows = [row["subject"] for row in LISTINGS["alarms"].rows(caller, conn, Filters(), "en")]
    assert sorted(rows) == sorted(f"x{n}" for n in range(1100))


def test_the_pick_list_is_the_most_urgent_in_order_of_the_walk(bench: Bench):
    """Urgency decides which tubes are fetched, the walk in which order."""
    codes = bench.register(*(bench.order() for _ in range(4)))
    bench.scan(
        *(
            Scan(code, rack, place)
            for code, (rack, place) in zip(
                codes, (("R10", "A1"), ("R2", "B1"), ("R2", "B3"), ("R2", "A2")), strict=True
            )
        )
    )
    bench.cycle(codes, {code: {"N": 36.0} for code in codes})
    assert {bench.tube(code).state for code in codes} == {TubeState.AWAITING_RETEST}
    with bench.lab.database.read() as conn:
        urgent = queries.pick(conn, 3, Sieve())
        assert len(urgent) == 3
        assert {one.tube_id for one in urgent} <= set(codes)


def test_runs_that_failed_their_controls_are_listed_until_they_are_old(bench: Bench):
    """A run that failed is listed with its plate; one that passed is not."""
    bench.cycle(bench.singles(), {"PC": {"N": None, "ORF1ab": None}})
    failed = bench.clock.now()
    bench.cycle(bench.singles())
    with bench.lab.database.read() as conn:
        [row] = queries.failed_runs(conn, failed - timedelta(days=1))
        assert not row["valid"]
        assert queries.failed_runs(conn, failed + timedelta(seconds=1)) == []


def test_a_search_finds_plates_reports_racks_and_persons(bench: Bench):
    """Each by its beginning, persons only by their whole name, and their tubes with them."""
    [code] = bench.singles(1)
    bench.cycle([code])
    [report] = bench.reports(code)
    tube = bench.tube(code)
    with bench.lab.database.read() as conn:
        plate = queries.plates(conn)[0]["plate_id"]
        assert [row["plate_id"] for row in queries.hits(conn, plate[:3], 5).plates] == [plate]
        assert [row["report_id"] for row in queries.hits(conn, report["report_id"][:4], 5).reports] == [
            report["report_id"]
        ]
        assert queries.hits(conn, tube.rack, 5).racks == ((tube.rack, 1),)
        [who] = queries.persons_in(conn, code)
        name = queries.person_names(conn, [who])[who]
        assert [row["person_id"] for row in queries.persons_named(conn, name)] == [who]
        assert queries.persons_named(conn, name[:1]) == []
        assert [one.tube_id for one in queries.tubes_of_persons(conn, [who])[who]] == [code]
