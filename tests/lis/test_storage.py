"""The store, the acts taken back and whole racks: on both databases, every answer a sentence, the log unbroken."""

from __future__ import annotations

from datetime import timedelta

import pytest
from bench import Bench
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lis import barcodes, ledger, queries
from lis.errors import Conflict, Invalid, LisError, NotFound, Refused
from lis.events import TubeKind
from lis.services import plating, pools, racks, receiving, storage, undoing
from lis.services.racks import Cell, CellState
from lis.services.receiving import Scan
from lis.services.storage import Act
from lis.tube import TubeState
from lis.web.words import error_zh


def handle(
    bench: Bench, act: Act, *scans: Scan, actor: str = "anna", reason: str = ""
) -> list[storage.Handled]:
    """Scans at the store; every answer has words in both languages."""
    with bench.lab.database.write(actor) as unit:
        found = storage.handle(unit, act, scans, reason=reason, keep_hours=72)
    for one in found:
        assert len(one.sentence) > 15
        assert "…" not in error_zh(one.code, one.details), one.code
    return found


def outcomes(found: list[storage.Handled]) -> list[tuple[str, str]]:
    """What became of scans, and why."""
    return [(one.outcome.value, one.code) for one in found]


def undo(bench: Bench, code: str, kind: str, *, actor: str = "anna", anybody: bool = False) -> str:
    """Take an act back; the event that says so."""
    with bench.lab.database.write(actor) as unit:
        return undoing.undo(unit, bench.lab.rules, code, kind, anybody=anybody).by


def refused(act, code: str) -> None:
    """The act is refused with this code."""
    with pytest.raises(LisError) as error:
        act()
    assert error.value.code == code
    assert error_zh(code, error.value.details)


def test_a_tube_at_work_is_put_away_and_taken_out_without_changing_its_state(bench: Bench):
    """A received tube lies in the store and is still to be plated; its place is taken until it is fetched."""
    first, second = bench.singles(2)
    assert outcomes(handle(bench, Act.STORE, Scan(first, "F1", "A1"))) == [("stored", "STORED")]
    assert bench.tube(first).state is TubeState.RECEIVED
    assert bench.tube(first).stored_at == bench.clock.now()
    taken = handle(bench, Act.STORE, Scan(second, "F1", "A1"), Scan(first, "F1", "A1"))
    assert outcomes(taken) == [("refused", "PLACE_TAKEN"), ("repeat", "ALREADY_STORED")]
    assert taken[0].details["who"] == first
    assert outcomes(handle(bench, Act.STORE, Scan(first, "F2", "B1"), Scan(second, "F1", "A1"))) == [
        ("stored", "STORED"), ("stored", "STORED"),
    ]  # fmt: skip
    with bench.lab.database.read() as conn:
        assert [(one.rack, one.position) for one in queries.in_store(conn)] == [("F1", "A1"), ("F2", "B1")]
    found = handle(bench, Act.FETCH, Scan(first), Scan(first), Scan(bench.singles()[0]))
    assert outcomes(found) == [
        ("fetched", "FETCHED"),
        ("repeat", "ALREADY_FETCHED"),
        ("refused", "NOT_STORED"),
    ]
    assert (bench.tube(first).rack, bench.tube(first).stored_at) == ("", None)
    assert bench.tube(first).state is TubeState.RECEIVED
    assert bench.check().ok


def test_every_scan_at_the_store_has_its_own_answer(bench: Bench):
    """Unknown, malformed, too early, without a rack, without a reason: each is told apart; the good one is recorded."""
    (good,) = bench.singles()
    sealed = bench.register(bench.order())[0]
    found = handle(bench, Act.STORE, Scan(bench.code(), "F", "1"), Scan("7", "F", "2"),
                   Scan(sealed, "F", "3"), Scan(good), Scan(good, "F", "4"))  # fmt: skip
    assert outcomes(found) == [
        ("refused", "TUBE_UNKNOWN"), ("refused", "BARCODE_SHAPE"), ("refused", "ILLEGAL_MOVE"),
        ("refused", "RACK"), ("stored", "STORED"),
    ]  # fmt: skip
    refused(lambda: handle(bench, Act.DISCARD, Scan(good)), "REASON")
    assert outcomes(handle(bench, Act.DISCARD, Scan(good), reason="x")) == [("refused", "ILLEGAL_MOVE")]


def test_handling_does_not_start_retention_anew(bench: Bench):
    """72 hours count from the last finding, not from the day the tube was moved; then it is destroyed, once."""
    code = bench.code()
    bench.scan(Scan(code, "R1", "A1"))
    with bench.lab.database.write("bo") as unit:
        receiving.reject(unit, bench.lab.rules, code, "nobody knows it")
    handle(bench, Act.STORE, Scan(code, "F", "1"))
    early = handle(bench, Act.DISCARD, Scan(code), actor="bo", reason="old")
    assert outcomes(early) == [("refused", "KEEP_LONGER")]
    bench.clock.moment += timedelta(hours=71)
    handle(bench, Act.FETCH, Scan(code))
    handle(bench, Act.STORE, Scan(code, "F", "2"))
    bench.clock.moment += timedelta(hours=2)
    twice = handle(bench, Act.DISCARD, Scan(code), Scan(code), actor="bo", reason="old")
    assert outcomes(twice) == [("discarded", "DISCARDED"), ("repeat", "ALREADY_DISCARDED")]
    assert (bench.tube(code).rack, bench.tube(code).stored_at) == ("", None)
    assert bench.check().ok


@pytest.mark.parametrize("place", ["B1", ""])
def test_what_was_taken_out_by_mistake_goes_back_to_its_place(bench: Bench, place: str):
    """Fetching is undone by a new event that puts the tube where it lay, unless another tube lies there."""
    first, second = bench.singles(2)
    handle(bench, Act.STORE, Scan(first, "F", place))
    handle(bench, Act.FETCH, Scan(first))
    assert undo(bench, first, "Fetched") == "Stored"
    assert (bench.tube(first).rack, bench.tube(first).position) == ("F", place)
    handle(bench, Act.FETCH, Scan(first))
    handle(bench, Act.STORE, Scan(second, "F", place))
    if place:
        refused(lambda: undo(bench, first, "Fetched"), "PLACE_TAKEN")
    assert undo(bench, second, "Stored") == "Fetched"
    assert bench.check().ok


def test_only_the_last_act_is_taken_back_and_only_by_who_did_it(bench: Bench):
    """A receipt is undone by its scanner or a reviewer, while nothing followed; then the tube is received anew."""
    code = bench.register(bench.order())[0]
    before = bench.tube(code)
    bench.scan(Scan(code, "R1", "A1"))
    refused(lambda: undo(bench, code, "Received", actor="zoe"), "UNDO_OTHER")
    refused(lambda: undo(bench, code, "Stored"), "UNDO_FOLLOWED")
    assert undo(bench, code, "Received", actor="bo", anybody=True) == "ReceiptWithdrawn"
    after = bench.tube(code)
    assert after._replace(seq=before.seq, updated_at=before.updated_at) == before
    refused(lambda: undo(bench, code, "ReceiptWithdrawn", actor="bo"), "UNDO_NOT")
    other = bench.register(bench.order())[0]
    assert [one.outcome for one in bench.scan(Scan(other, "R1", "A1"), Scan(code, "R1", "A2"))] == [
        "received"
    ] * 2
    refused(lambda: undo(bench, bench.code(), "Received"), "TUBE_UNKNOWN")
    assert bench.history(code)[-3:] == ["Received", "ReceiptWithdrawn", "Received"]
    assert bench.check().ok


def test_a_person_taken_out_again_leaves_no_trace_in_the_tube(bench: Bench):
    """The last person is unbound, another takes the place; the tables equal the log, also when rebuilt from it."""
    order = bench.mixed_order(sealed=False)
    bench.register(order, actor="anna")
    wrong = order.persons[-1]
    assert undo(bench, order.barcode, "PersonBound") == "PersonUnbound"
    with bench.lab.database.write("anna") as unit:
        receiving.bind(unit, bench.lab.vault, order.barcode, [bench.new_person()])
    with bench.lab.database.read() as conn:
        names = {
            row["name"] for row in queries.people(conn, queries.persons_in(conn, order.barcode)).values()
        }
    assert len(names) == 5
    assert wrong.name not in names
    assert bench.check().ok
    with bench.lab.database.write("root") as unit:
        assert ledger.rebuild(unit).corrected == 0
    with bench.lab.database.write("anna") as unit:
        receiving.seal(unit, order.barcode)
    refused(lambda: undo(bench, order.barcode, "PersonBound"), "UNDO_FOLLOWED")
    refused(lambda: undo(bench, order.barcode, "Sealed"), "UNDO_NOT")


def test_a_tube_begun_as_the_wrong_kind_is_begun_anew_while_it_is_empty(bench: Bench):
    """An empty tube may be registered again as another kind; the same kind, or one that holds somebody, may not."""
    code = bench.code()
    single = bench.order(barcode=code, persons=[bench.new_person()], sealed=False)
    empty = receiving.TubeData(code)
    bench.register(empty)
    refused(lambda: bench.register(empty), "TUBE_IN_USE")
    bench.register(receiving.TubeData(code, TubeKind.MIXED, 10))
    assert bench.tube(code).capacity == 10
    bench.register(single)
    assert (bench.tube(code).capacity, bench.tube(code).persons) == (1, 1)
    refused(lambda: bench.register(receiving.TubeData(code, TubeKind.MIXED, 5)), "TUBE_IN_USE")
    assert bench.check().ok


def test_an_aliquot_taken_back_is_awaited_again(bench: Bench):
    """The confirmation of an aliquot is undone by a new event; the worklist shows it open, and it is confirmed anew."""
    codes = bench.singles(4)
    with bench.lab.database.write("anna") as unit:
        made = pools.form_many(unit, bench.lab.rules, [pools.PoolOrder(tuple(codes))], confirm=True)
    pool = made.pools[0].tube_id

    def confirm(code: str) -> pools.AliquotResult:
        with bench.lab.database.write("anna") as unit:
            return pools.confirm(unit, [pools.AliquotScan(pool, code)])[0]

    assert confirm(codes[0]).left == 3
    assert undo(bench, pool, "AliquotConfirmed") == "AliquotWithdrawn"
    assert bench.tube(pool).open_aliquots == 4
    assert [confirm(code).outcome.value for code in codes] == ["confirmed"] * 4
    assert confirm(codes[0]).code in {"ALIQUOT_REPEATED", "ALIQUOT_NOT_AWAITED"}
    assert bench.check().ok


def test_wells_are_confirmed_one_by_one_and_a_plate_half_done_is_not_loaded(bench: Bench):
    """Right, repeated, wrong well, other plate, no plate, no code: each its own answer; all or none before loading."""
    codes = bench.singles(3)
    plate_id = bench.plate(codes[:2], load=False)
    other = bench.plate(codes[2:], load=False)
    wells = {code: bench.tube(code).well for code in codes}

    def confirm(*scans: plating.WellScan) -> list[tuple[str, str]]:
        with bench.lab.database.write("anna") as unit:
            found = plating.confirm(unit, plate_id, scans)
        assert all("…" not in error_zh(one.code, one.details) for one in found)
        return [(one.outcome.value, one.code) for one in found]

    def loadable() -> None:
        with bench.lab.database.read() as conn:
            plating.check_confirmed(conn, plate_id)

    loadable()
    first = plating.WellScan(codes[0])
    assert confirm(first, first) == [("confirmed", "WELL_CONFIRMED"), ("repeat", "WELL_REPEATED")]
    with pytest.raises(Conflict, match=wells[codes[1]]):
        loadable()
    wrong = plating.WellScan(codes[1], wells[codes[0]])
    assert confirm(wrong, plating.WellScan(codes[1])) == [("refused", "WELL_OTHER")]
    assert confirm(plating.WellScan(codes[2])) == [("refused", "WELL_NOT_HERE")]
    assert confirm(plating.WellScan(bench.code())) == [("refused", "WELL_NO_PLATE")]
    assert confirm(plating.WellScan("77")) == [("refused", "NOT_A_TUBE")]
    assert confirm(plating.WellScan(codes[1], wells[codes[1]])) == [("confirmed", "WELLS_COMPLETE")]
    loadable()
    assert undo(bench, codes[1], "WellConfirmed") == "WellWithdrawn"
    refused(loadable, "WELLS_OPEN")
    assert confirm(plating.WellScan(codes[1])) == [("confirmed", "WELLS_COMPLETE")]
    with bench.lab.database.write("anna") as unit:
        refused(lambda: plating.confirm(unit, "P99999999", [first]), "PLATE_UNKNOWN")
        refused(lambda: plating.confirm(unit, plate_id, []), "WELL_SCAN_EMPTY")
    bench.check()
    assert bench.tube(codes[2]).plate_id == other
    assert bench.check().ok


# -- what a rack scanner wrote -------------------------------------------------------------------


TUBES = [barcodes.mint(barcodes.TUBE, n) for n in range(1, 97)]


def codes_of(rack: racks.Rack) -> dict[str, str]:
    """The positions that hold a code."""
    return {cell.position: cell.code for cell in rack.cells if cell.code}


@pytest.mark.parametrize(
    "text",
    [
        "A1,{0}\nB12,{1}\nC3,NOREAD\nD4,\n",
        "Position;Barcode\r\nA01;{0}\r\nB12;{1}\r\nC03;No Read\r\nD04;No Tube\r\n",
        '\ufeff"A1"\t"{0}"\n"B12"\t"{1}"\n"C3"\t"?"\n',
        "RackID,Tube Position,Tube ID\nR7,A1,{0}\nR7,B12,{1}\nR7,C3,Error\n",
    ],
)
def test_files_of_rack_scanners_are_read_alike(text: str):
    """Separators, quotes, headings, leading zeros and the words for nothing read mean the same."""
    found = racks.read(text.format(*TUBES), 96)
    assert codes_of(found) == {"A1": TUBES[0], "B12": TUBES[1], "C3": "?"}
    assert len(found.cells) == 96
    assert found.name in {"", "R7"}


@given(st.data())
@hypothesis_settings(max_examples=30)
def test_no_tube_of_a_rack_is_left_out_or_moved(data: st.DataObject):
    """Whatever positions hold tubes, in whatever order they are written, each is read at its own position."""
    size = data.draw(st.sampled_from(sorted(racks.SHAPES)))
    places = data.draw(st.lists(st.sampled_from(racks.positions(size)), min_size=1, unique=True))
    wanted = dict(zip(places, TUBES, strict=False))
    sign = data.draw(st.sampled_from(",;\t"))
    text = "\n".join(f"{place}{sign}{code}" for place, code in wanted.items())
    assert codes_of(racks.read(text, size)) == wanted


def test_codes_alone_fill_the_rack_in_order():
    """A list of codes without positions is read row by row, gaps kept."""
    found = racks.read("\n".join([TUBES[0], "-", TUBES[1]]), 24)
    assert codes_of(found) == {"A1": TUBES[0], "A3": TUBES[1]}


@pytest.mark.parametrize(
    ("text", "size", "code"),
    [
        ("", 96, "RACK_FILE"),
        ("A1,-\n", 96, "RACK_FILE"),
        ("A1,{0}\nE1,{1}", 24, "RACK_POSITION"),
        ("A1,{0}\nA01,{1}", 96, "RACK_POSITION_TWICE"),
        ("A1,{0}\n{1}\n", 96, "RACK_LINE"),
        ("\n".join(["{0}"] * 25), 24, "RACK_TOO_MANY"),
        ("A1,{0}", 97, "RACK_SIZE"),
    ],
)
def test_a_file_that_would_leave_tubes_out_is_refused_whole(text: str, size: int, code: str):
    """A position outside the rack, twice, or a line without one refuses the file instead of passing it over."""
    with pytest.raises(Invalid) as error:
        racks.read(text.format(*TUBES), size)
    assert error.value.code == code


def test_every_position_says_what_it_is():
    """Empty, unread, read twice and to be asked about are told apart; answers of stations become states."""
    cells = [Cell("A1", TUBES[0]), Cell("A2", TUBES[1]), Cell("A3", TUBES[1]), Cell("A4", "?"), Cell("A5")]
    twice = racks.doubles(cells)
    states = [racks.plain_state(cell, twice) for cell in cells]
    assert twice == {TUBES[1]: ("A2", "A3")}
    assert states == [None, CellState.DOUBLE, CellState.DOUBLE, CellState.UNREADABLE, CellState.EMPTY]
    answers = [("received", "RECEIVED"), ("stored", "STORED"), ("repeat", "ALREADY_RECEIVED"), ("held", "TUBE_UNKNOWN"),
               ("repeat", "ALREADY_HELD"), ("refused", "BARCODE_CHECK"), ("refused", "PLACE_TAKEN")]  # fmt: skip
    assert [racks.state_of(*one).value for one in answers] == [
        "good", "good", "repeat", "unknown", "unknown", "unreadable", "wrong",
    ]  # fmt: skip


def test_looking_at_a_rack_records_nothing(bench: Bench):
    """What receiving or storing a rack would answer is told without an event, and without a number of the hold tray."""
    code = bench.register(bench.order())[0]
    lying = bench.singles()[0]
    before = bench.count()
    with bench.lab.database.write("anna") as unit:
        found = receiving.foresee(
            unit, bench.lab.rules, [Scan(code, "R1", "A1"), Scan(bench.code(), "R1", "A2")]
        )
        stored = storage.foresee(unit, [Scan(lying, "F", "A1"), Scan(code, "F", "A2")])
    assert [one.outcome for one in found] == ["received", "held"]
    assert [one.outcome for one in stored] == ["stored", "refused"]
    assert bench.count() == before
    assert bench.scan(Scan(bench.code(), "R1", "A2"))[0].tube.hold_number == 1


def test_nothing_is_undone_that_was_never_done(bench: Bench):
    """A tube nobody knows cannot be taken back."""
    with pytest.raises(NotFound), bench.lab.database.write("anna") as unit:
        undoing.undo(unit, bench.lab.rules, bench.code(), "Received", anybody=True)
    code = bench.register(bench.order(), actor="anna")[0]
    with pytest.raises(Refused), bench.lab.database.write("anna") as unit:
        undoing.undo(unit, bench.lab.rules, code, "Sealed", anybody=True)
