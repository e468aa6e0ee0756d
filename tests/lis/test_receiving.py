"""From the swab to the rack: nobody is lost, nobody is in twice, every refusal says why."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from bench import Bench, person, resident

from lis import barcodes, queries
from lis.config import secret_key
from lis.errors import Conflict, IllegalMove, Invalid, LisError, NotFound, Refused
from lis.events import TubeKind
from lis.services import receiving, reports, storage
from lis.services.receiving import PersonData, Scan, ScanOutcome
from lis.tube import TubeState
from lis.web.words import outcome_zh


def refused(bench: Bench, kind: type[LisError], code: str, act) -> LisError:
    """``act`` on a unit of work is refused with this error, and nothing at all is written."""
    before = [bench.count(table) for table in ("event", "tube", "person")]
    with pytest.raises(kind) as error, bench.lab.database.write("site") as unit:
        act(unit)
    assert error.value.code == code
    assert len(error.value.sentence) > 20
    assert [bench.count(table) for table in ("event", "tube", "person")] == before
    return error.value


def register(bench: Bench, *orders):
    """Registration as an act for :func:`refused`."""
    return lambda unit: receiving.register(unit, bench.lab.vault, bench.lab.rules, orders)


def bind(bench: Bench, code: str, *persons):
    """Binding as an act for :func:`refused`."""
    return lambda unit: receiving.bind(unit, bench.lab.vault, code, persons)


# -- registration --------------------------------------------------------------------------------


def test_the_tube_comes_first_then_its_persons_then_the_seal(bench: Bench):
    """A mixed tube is scanned, its persons are bound one by one, and it is sealed."""
    order = bench.order(kind=TubeKind.MIXED, places=5, persons=[person(1)], sealed=False)
    bench.register(order)
    for number in range(2, 6):
        with bench.lab.database.write("site") as unit:
            tube = receiving.bind(unit, bench.lab.vault, order.barcode, [person(number)])
        assert tube.persons == number
    with bench.lab.database.write("site") as unit:
        tube = receiving.seal(unit, order.barcode)
    assert (tube.state, tube.persons, tube.reason) == (TubeState.SEALED, 5, "")
    with bench.lab.database.read() as conn:
        people = queries.people(conn, queries.persons_in(conn, order.barcode))
        assert {row["name"] for row in people.values()} == {f"张{n}" for n in range(1, 6)}
    assert bench.check().ok


def test_a_full_tube_takes_nobody(bench: Bench):
    """The sixth person of a tube for five is refused."""
    order = bench.order(kind=TubeKind.MIXED, places=5, persons=[person(n) for n in range(5)], sealed=False)
    bench.register(order)
    refused(bench, IllegalMove, "TUBE_FULL", bind(bench, order.barcode, person(9)))
    crowd = bench.order(kind=TubeKind.MIXED, places=5, persons=[person(n) for n in range(6)])
    refused(bench, IllegalMove, "TUBE_FULL", register(bench, crowd))


def test_a_person_is_in_a_tube_once(bench: Bench):
    """The same document twice in one tube is refused, in one act or in two, and blanks do not hide it."""
    twice = bench.order(
        [person(1), PersonData("张1", "passport", " syn 000001 ")], kind=TubeKind.MIXED, places=5, reason="x"
    )
    refused(bench, Refused, "PERSON_TWICE", register(bench, twice))
    order = bench.order([person(1)], kind=TubeKind.MIXED, places=5, sealed=False)
    bench.register(order)
    error = refused(bench, Refused, "PERSON_TWICE", bind(bench, order.barcode, person(2), person(1)))
    assert "SYN000001" not in error.sentence


@pytest.mark.parametrize("far", ["sealed", "received", "plated"])
def test_nobody_joins_a_closed_tube(bench: Bench, far: str):
    """A sealed, received or plated tube takes no more persons and cannot be sealed again."""
    order = bench.order([person(1)], kind=TubeKind.MIXED, places=5, reason="few came")
    bench.register(order)
    if far != "sealed":
        bench.scan(Scan(order.barcode, "R1", "A1"))
    if far == "plated":
        bench.plate([order.barcode])
    refused(bench, Refused, "TUBE_CLOSED", bind(bench, order.barcode, person(2)))
    refused(bench, Refused, "TUBE_CLOSED", lambda unit: receiving.seal(unit, order.barcode))


def test_a_tube_is_used_once(bench: Bench):
    """A tube code that is in use, or twice in one request, is refused whatever has become of the first."""
    order = bench.order()
    bench.register(order)
    refused(bench, Refused, "TUBE_IN_USE", register(bench, bench.order(), bench.order(barcode=order.barcode)))
    bench.scan(Scan(order.barcode))
    refused(bench, Refused, "TUBE_IN_USE", register(bench, bench.order(barcode=order.barcode)))
    fresh = bench.code()
    refused(
        bench, Refused, "TUBE_TWICE", register(bench, bench.order(barcode=fresh), bench.order(barcode=fresh))
    )


@pytest.mark.parametrize(
    ("values", "kind", "code"),
    [
        ({"places": 2}, Invalid, "PLACES"),
        ({"kind": TubeKind.MIXED, "places": 7}, Invalid, "PLACES"),
        ({"kind": TubeKind.MIXED, "places": 1}, Invalid, "PLACES"),
        ({"kind": TubeKind.POOL, "places": 5}, Invalid, "PLACES"),
        ({"tier": "royal"}, NotFound, "TIER_UNKNOWN"),
        ({"barcode": "440700000018"}, Invalid, "BARCODE_CHECK"),
        ({"persons": (PersonData("张三", "resident_id", "440711199001011230"),)}, Invalid, "DOCUMENT_NUMBER"),
        ({"persons": (PersonData("张三", "library card", "A1234"),)}, Invalid, "DOCUMENT_TYPE"),
        ({"persons": (PersonData("张三", "passport", "A-1"),)}, Invalid, "DOCUMENT_NUMBER"),
        ({"persons": (PersonData("  ", "passport", "A12345"),)}, Invalid, "PERSON_NAME"),
        ({"persons": ()}, Refused, "TUBE_EMPTY"),
    ],
)
def test_what_cannot_be_registered_says_why(embedded: Bench, values: dict, kind: type[LisError], code: str):
    """Wrong places, tiers, codes, documents, empty tubes are refused; nothing else is written either."""
    order = embedded.order()

    broken = replace(embedded.order(), **values)
    refused(embedded, kind, code, register(embedded, order, broken))


def test_early_sealing_says_why_and_how_many(bench: Bench):
    """A part-filled tube is sealed with a reason, and its count of persons is in the log."""
    order = bench.order([person(1), person(2)], kind=TubeKind.MIXED, places=10, sealed=False)
    bench.register(order)
    refused(bench, Refused, "SEAL_REASON", lambda unit: receiving.seal(unit, order.barcode, "  "))
    refused(
        bench,
        Refused,
        "SEAL_REASON",
        register(bench, bench.order([person(3)], kind=TubeKind.MIXED, places=5)),
    )
    with bench.lab.database.write("site") as unit:
        tube = receiving.seal(unit, order.barcode, "site closes")
    assert (tube.persons, tube.reason) == (2, "site closes")
    empty = bench.order(kind=TubeKind.MIXED, places=5, sealed=False)

    empty = replace(empty, persons=())
    bench.register(empty)
    refused(bench, Refused, "TUBE_EMPTY", lambda unit: receiving.seal(unit, empty.barcode, "nobody came"))


def test_one_document_has_one_name(bench: Bench):
    """A document under another name is refused, whether it is from yesterday or in the same request."""
    bench.register(bench.order([person(1, "王伟")]))
    error = refused(bench, Conflict, "PERSON_DIFFERS", register(bench, bench.order([person(1, "李娜")])))
    assert "SYN000001" not in error.sentence
    refused(
        bench,
        Conflict,
        "PERSON_DIFFERS",
        register(bench, bench.order([person(2, "王伟")]), bench.order([person(2, "李娜")])),
    )
    bench.register(bench.order([person(1, " 王伟 ")]))


def test_a_document_number_cannot_be_read_in_the_database(embedded: Bench):
    """No byte of the database shows number or phone; the person is found again by keyed hash."""
    number, phone = resident(7), "13912345678"
    embedded.register(embedded.order([PersonData("赵六", "resident_id", number, phone)]))
    folder = embedded.lab.settings.data
    stored = b"".join(path.read_bytes() for path in folder.glob("lis.db*"))
    assert "赵六".encode() in stored
    assert number.encode() not in stored
    assert number[:-1].encode() not in stored
    assert phone.encode() not in stored
    vault = embedded.lab.vault
    with embedded.lab.database.read() as conn:
        row = queries.person_by_fingerprint(conn, vault.fingerprint(f"resident_id:{number}"))
        assert queries.person_by_fingerprint(conn, vault.fingerprint("resident_id:other")) is None
    assert row is not None
    assert vault.open(row["document_sealed"]) == number
    assert vault.open(row["phone_sealed"]) == phone
    assert row["document_masked"] == number[:4] + "*" * 10 + number[-4:]
    assert (folder / "secret.key").stat().st_mode & 0o777 == 0o600


def test_all_tubes_of_a_person_are_found(bench: Bench):
    """A person's tubes of several days are listed, newest first."""
    bench.register(bench.order([person(1)]))
    bench.clock.advance(timedelta(days=1))
    last = bench.register(bench.order([person(1)]))[0]
    with bench.lab.database.read() as conn:
        [person_id] = queries.persons_in(conn, last)
        found = queries.tubes_of_person(conn, person_id)
    assert [tube.tube_id for tube in found][:-1] == [last]


# -- reception -----------------------------------------------------------------------------------


def test_a_rack_of_96_is_received_in_one_call(bench: Bench):
    """Every place of a rack gets its own answer; good tubes are taken in although others are refused."""
    codes = bench.register(*(bench.order() for _ in range(93)))
    strange, wrong = bench.code(), "440700000018"
    merged = codes[0] + codes[1]
    scans = [
        Scan(code, "R7", str(place)) for place, code in enumerate([*codes, strange, wrong, merged], start=1)
    ]
    found = bench.scan(*scans)
    assert [one.position for one in found] == [str(n) for n in range(1, 97)]
    assert [one.outcome for one in found] == ["received"] * 93 + ["held", "refused", "refused"]
    assert [one.code for one in found[93:]] == ["TUBE_UNKNOWN", "BARCODE_CHECK", "BARCODE_MERGED"]
    assert bench.states(codes) == [TubeState.RECEIVED] * 93
    tube = bench.tube(codes[4])
    assert (tube.rack, tube.position, tube.received_at) == ("R7", "5", bench.clock.now())
    assert bench.check().ok


def test_the_same_tube_at_the_same_place_is_a_repeat(bench: Bench):
    """A second scan changes nothing; a third one inside one rack call neither."""
    [code] = bench.register(bench.order())
    first = bench.scan(Scan(code, "R1", "A1"), Scan(f" {code}\r\n", "R1", "A1"))
    assert [one.outcome for one in first] == ["received", "repeat"]
    events = bench.count()
    assert bench.scan(Scan(code, "R1", "A1"))[0].outcome == "repeat"
    assert bench.count() == events


def test_the_same_tube_elsewhere_stops_with_who_when_and_where(bench: Bench):
    """A tube that turns up at another place is refused with who received it, when, and where it lies."""
    [code] = bench.register(bench.order())
    bench.scan(Scan(code, "R1", "A1"), actor="anna")
    bench.clock.advance(timedelta(minutes=5))
    events = bench.count()
    [again] = bench.scan(Scan(code, "R2", "B3"), actor="bela")
    assert (again.outcome, again.code) == ("refused", "RECEIVED_ELSEWHERE")
    for word in ("anna", "2022-12-21 12:00:00", "rack R1 position A1", "supervisor"):
        assert word in again.sentence
    assert bench.count() == events


def test_a_plated_or_pooled_tube_is_stopped_at_reception(bench: Bench):
    """A tube that is being tested, scanned at reception again, is stopped and stays where it is."""
    [code] = bench.singles()
    bench.plate([code])
    place = bench.tube(code)
    [again] = bench.scan(Scan(code, place.rack, place.position))
    assert (again.outcome, again.code) == ("refused", "RECEIVED_ELSEWHERE")
    assert "running" in again.sentence


def test_a_place_holds_one_tube(bench: Bench):
    """Another tube at a taken place is refused, also within one rack call; a free place is not."""
    one, two, three = bench.register(bench.order(), bench.order(), bench.order())
    found = bench.scan(Scan(one, "R1", "A1"), Scan(two, "R1", "A1"))
    assert [(r.outcome, r.code) for r in found] == [("received", "RECEIVED"), ("refused", "PLACE_TAKEN")]
    assert one in found[1].sentence
    assert bench.tube(two).state is TubeState.SEALED
    assert bench.scan(Scan(three, "R1", "A1"))[0].code == "PLACE_TAKEN"
    assert bench.scan(Scan(two, "R1", "A2"))[0].outcome == "received"


def test_an_unknown_tube_goes_to_the_hold_tray_and_is_never_lost(bench: Bench):
    """Unknown codes get increasing tray numbers, repeats keep theirs, later registration works as usual."""
    one, two = bench.code(), bench.code()
    assert [r.outcome for r in bench.scan(Scan(one, "H", "1"))] == ["held"]
    assert [r.outcome for r in bench.scan(Scan(two, "H", "2"), Scan(one, "R1", "A1"))] == ["held", "repeat"]
    assert [bench.tube(code).hold_number for code in (one, two)] == [1, 2]
    assert bench.tube(one).state is TubeState.ON_HOLD_UNKNOWN
    bench.register(bench.order(barcode=one))
    [found] = bench.scan(Scan(one, "R1", "A1"))
    assert found.outcome == "received"
    with bench.lab.database.write("anna") as unit:
        assert receiving.reject(unit, bench.lab.rules, two, "nobody claims it").state is TubeState.REJECTED
    assert bench.scan(Scan(two, "R1", "A2"))[0].code == "NOT_RECEIVABLE"
    assert bench.check().ok


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        ("44070000001", "BARCODE_SHAPE"),
        ("", "BARCODE_SHAPE"),
        ("４４０７０００００１９", "BARCODE_SHAPE"),
        ("L0000000018", "BARCODE_SHAPE"),
        ("440700000018", "BARCODE_CHECK"),
        ("440700000019440700000027", "BARCODE_MERGED"),
        ("4407000000194407", "BARCODE_MERGED"),
    ],
)
def test_a_misread_code_is_refused(embedded: Bench, raw: str, code: str):
    """Short, foreign, merged and mistyped codes are refused at reception and leave nothing behind."""
    [found] = embedded.scan(Scan(raw, "R1", "A1"))
    assert (found.outcome, found.code) == ("refused", code)
    assert embedded.count() == 0


def test_an_unsealed_tube_is_sealed_at_reception_with_the_reason(bench: Bench):
    """A tube that the site forgot to seal is taken in, and the log says who closed it."""
    order = bench.order([person(1)], kind=TubeKind.MIXED, places=5, sealed=False)
    empty = bench.order(sealed=False)

    bench.register(order, replace(empty, persons=()))
    found = bench.scan(Scan(order.barcode, "R1", "A1"), Scan(empty.barcode, "R1", "A2"))
    assert [one.code for one in found] == ["RECEIVED", "TUBE_EMPTY"]
    assert bench.history(order.barcode) == ["Registered", "PersonBound", "Sealed", "Received"]
    assert "at reception" in bench.tube(order.barcode).reason


@pytest.mark.parametrize(
    ("tier", "hours"), [("fever", 6), ("patient", 12), ("yellow", 12), ("voluntary", 24), ("region", 24)]
)
def test_the_tier_sets_the_due_time(embedded: Bench, tier: str, hours: int):
    """The report is due so many hours after sampling, however late the tube arrives."""
    sampled = embedded.clock.now() - timedelta(hours=3)
    [code] = embedded.received(embedded.order(tier=tier, sampled_at=sampled))
    assert embedded.tube(code).due_at == sampled + timedelta(hours=hours)


@pytest.mark.parametrize("technicians", [2, 4])
def test_many_technicians_scan_the_same_200_tubes_at_once(bench: Bench, technicians: int):
    """Each of 200 tubes is received exactly once; every other scan is a clean refusal or a repeat."""
    codes = bench.register(*(bench.order() for _ in range(200)))
    found: list[receiving.ScanResult] = []
    broken: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for start in range(0, 200, 20):
                scans = [Scan(code, name, code) for code in codes[start : start + 20]]
                found.extend(bench.scan(*scans, actor=name))
        except BaseException as error:  # noqa: BLE001 - a thread must not swallow what it met
            broken.append(error)

    threads = [threading.Thread(target=work, args=(f"T{n}",)) for n in range(technicians)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert broken == []
    outcomes = [one.outcome for one in found]
    assert outcomes.count("received") == 200
    assert outcomes.count("refused") == 200 * (technicians - 1)
    assert {one.barcode for one in found if one.outcome == "received"} == set(codes)
    assert all(bench.tube(code).state is TubeState.RECEIVED for code in codes[:5])
    with bench.lab.database.read() as conn:
        assert queries.event_counts(conn, "Received", "tube_id") == dict.fromkeys(sorted(codes), 1)
    assert bench.check().ok


# -- hold, rejection, storage --------------------------------------------------------------------


def test_a_damaged_tube_is_held_cleared_or_rejected(bench: Bench):
    """A held tube is tested once cleared; if it is rejected, each of its persons is called back."""
    clear, lost = bench.singles(1)[0], bench.mixed(5)
    with bench.lab.database.write("anna") as unit:
        receiving.hold(unit, clear, "leaks")
        receiving.hold(unit, lost, "empty")
    with pytest.raises(Refused, match="Clear the hold"):
        bench.plate([clear])
    with bench.lab.database.write("anna") as unit:
        assert receiving.clear_hold(unit, clear, "wiped, volume is enough").state is TubeState.RECEIVED
        tube = receiving.reject(unit, bench.lab.rules, lost, "empty")
    assert (tube.state, tube.open_recalls) == (TubeState.AWAITING_RECOLLECTION, 5)
    with bench.lab.database.read() as conn:
        assert len(queries.open_recalls(conn)) == 5
    for act in (receiving.hold, receiving.clear_hold):
        refused(bench, Invalid, "REASON", lambda unit, act=act: act(unit, clear, " "))
    assert bench.check().ok


def test_tubes_are_kept_as_long_as_they_must(bench: Bench):
    """A reported negative is stored and discarded after its time; a positive is never discarded."""
    negative, positive = bench.singles(2)
    bench.cycle([negative, positive], {positive: {"ORF1ab": 25.0, "N": 25.0}})
    for who in ("rosa", "ruth"):
        with bench.lab.database.write(who) as unit:
            reports.review(unit, bench.lab.rules, positive, "accept")
    with bench.lab.database.write("ruth") as unit:
        reports.release(unit, bench.lab.rules, [positive])
        for code in (negative, positive):
            storage.store(unit, code, "freezer", code)
    refused(bench, Refused, "KEEP_LONGER", lambda unit: storage.discard(unit, negative, "old", keep_hours=72))
    bench.clock.advance(timedelta(hours=73))
    refused(
        bench, Refused, "KEEP_POSITIVE", lambda unit: storage.discard(unit, positive, "old", keep_hours=72)
    )
    with bench.lab.database.write("mia") as unit:
        assert storage.discard(unit, negative, "old", keep_hours=72).state is TubeState.DISCARDED
    assert bench.check().ok


def test_two_tubes_are_never_put_away_in_one_place(bench: Bench):
    """A taken place is refused with the tube that lies there, for storing and for receiving, until it is gone."""
    one, two, waiting = bench.singles(3)
    bench.cycle([one, two])
    with bench.lab.database.write("mia") as unit:
        storage.store(unit, one, " F1 ", " 7")
    error = refused(bench, Refused, "PLACE_TAKEN", lambda unit: storage.store(unit, two, "F1", "7"))
    assert error.details["who"] == one
    assert one in error.sentence
    assert two in error.sentence
    place = bench.tube(waiting)
    refused(bench, Refused, "PLACE_TAKEN", lambda unit: storage.store(unit, two, place.rack, place.position))
    refused(bench, Invalid, "RACK", lambda unit: storage.store(unit, two, " ", "7"))
    [code] = bench.register(bench.order())
    [scan] = bench.scan(Scan(code, "F1", "7"))
    assert (scan.outcome, scan.code, scan.who) == (ScanOutcome.REFUSED, "PLACE_TAKEN", one)
    assert one in outcome_zh(scan)
    with bench.lab.database.write("mia") as unit:
        storage.discard(unit, one, "too little kept", keep_hours=0)
        assert storage.store(unit, two, "F1", "7").state is TubeState.STORED
    assert bench.check().ok


def test_a_box_without_positions_takes_many_tubes(bench: Bench):
    """Where a rack has no positions, tubes lie in it together."""
    codes = bench.singles(2)
    bench.cycle(codes)
    with bench.lab.database.write("mia") as unit:
        for code in codes:
            storage.store(unit, code, "BOX", "")
    assert bench.states(codes) == [TubeState.STORED] * 2


def test_an_unknown_tube_cannot_be_held_or_stored(embedded: Bench):
    """Acts on a tube nobody registered say so."""
    code = barcodes.mint(barcodes.TUBE, 99)
    refused(embedded, NotFound, "TUBE_UNKNOWN", lambda unit: receiving.hold(unit, code, "leaks"))
    refused(embedded, NotFound, "TUBE_UNKNOWN", lambda unit: storage.store(unit, code, "F", "1"))


def test_the_key_is_made_once(tmp_path: Path, embedded: Bench):
    """The key that opens personal data outlives a restart."""
    assert secret_key(embedded.lab.settings.data) == embedded.lab.vault.key
    assert secret_key(tmp_path / "other") != embedded.lab.vault.key
