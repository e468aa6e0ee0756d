"""Collection, plating, the store and whole racks in a real browser, from the keyboard alone."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from bench import resident
from moments import NOON
from screens import picture, screen
from station_bench import scan, settled, shows, until
from web_bench import bench, people, plate, receive, run_file, tube_code, upload

from lis import ledger
from lis.clock import FixedClock

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def clock() -> FixedClock:
    """A clock that stands until a test moves it."""
    return FixedClock(NOON)


@pytest.fixture(scope="module")
def served(browser, tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path, clock: FixedClock):
    """A laboratory behind a real server; every test uses tubes of its own."""
    folder = tmp_path_factory.mktemp("stations")
    (folder / "lis.db").write_bytes(sqlite_template.read_bytes())
    with bench(f"sqlite:///{folder / 'lis.db'}", folder, clock) as found:
        yield found


def history(served, code: str) -> list[str]:
    """Kinds of the events of a tube, in order; the whole log verifies."""
    with served.lab.database.read() as conn:
        assert ledger.verify(conn).ok
        return [type(entry.fact).__name__ for entry in ledger.history(conn, code)]


def tube(served, code: str):
    """A tube as it stands."""
    with served.lab.database.read() as conn:
        return ledger.tubes(conn, [code])[code]


def type_person(page, name: str, number: str) -> None:
    """Fill the form of a person from the keyboard and bind."""
    page.keyboard.press("F2")
    page.keyboard.insert_text(name)
    page.keyboard.press("Enter")
    page.keyboard.type(number)
    page.keyboard.press("Enter")


def choose(page, value: str) -> None:
    """Choose the kind of tube as the arrow keys do."""
    page.locator(f"#preset input[value='{value}']").press("Space")


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_mixed_tube_is_filled_and_sealed_without_a_mouse(served, browser, language):
    """Tube first, persons by card and by hand, nobody twice, sealed early with a reason; person, seal and start taken back."""
    first, other = tube_code(11 + (language == "en")), tube_code(13 + (language == "en"))
    base, who = (40, "anna") if language == "zh" else (50, "eva")  # at the laboratory's door, at a site
    with screen(browser, served, served.person(who), language) as page:
        page.goto(f"{served.url}/collection")
        scan(page, resident(base))  # a person before a tube
        shows(page, "refused")
        picture(page, f"collection-first-{language}")
        page.keyboard.press("Escape")
        choose(page, "mixed:5")
        scan(page, first)
        until(page, "document.getElementById('tube-count').textContent === '0/5'")
        assert "mixed" in page.get_attribute("#tube-kind", "class")
        scan(page, resident(base))
        page.keyboard.insert_text("王小一")
        page.keyboard.press("Enter")
        until(page, "document.getElementById('tube-count').textContent === '1/5'")
        type_person(page, "李二", f"E{base}000002")
        settled(page, 4)
        type_person(page, "李二", f"E{base}000002")  # the same person again
        shows(page, "refused")
        assert page.inner_text("#tube-count") == "2/5"
        picture(page, f"collection-twice-{language}")
        page.keyboard.press("Escape")
        type_person(page, "赵三", f"E{base}000003")
        settled(page, 6)
        page.keyboard.press("F9")
        shows(page, "undone")
        assert page.inner_text("#tube-count") == "2/5"
        picture(page, f"collection-open-{language}")
        page.keyboard.press("Escape")
        scan(page, other)  # another tube is never ignored
        shows(page, "refused", first)
        page.keyboard.press("Escape")
        late = []
        page.route("**/persons", lambda route: late.append(route))  # noqa: PLW0108 - Playwright wants a function
        type_person(page, "周四", f"E{base}000004")
        scan(page, first)  # the same tube again seals it; it is not full, and a reason is asked for
        until(page, "document.activeElement.id === 'seal-reason'")
        late[0].continue_()  # the answer about the last person comes now, and the question stays
        page.unroute("**/persons")
        until(page, "document.querySelectorAll('#places i.on').length === 3")
        page.keyboard.insert_text("排队结束")
        page.keyboard.press("Enter")
        shows(page, "received", first)
        until(page, "document.getElementById('open-tube').hidden")
        settled(page, 6)
        found = tube(served, first)
        assert (found.state, found.persons, found.capacity) == ("sealed", 3, 5)
        assert history(served, first) == [
            "Registered", "PersonBound", "PersonBound", "PersonBound", "PersonUnbound", "PersonBound", "Sealed",
        ]  # fmt: skip
        page.keyboard.press("F9")  # closed too early: it is open again, with those who are in it
        shows(page, "undone", first)
        until(page, "document.querySelectorAll('#people tbody tr').length === 3")
        assert page.inner_text("#tube-count") == "3/5"
        scan(page, first)
        page.keyboard.insert_text("排队结束")
        page.keyboard.press("Enter")
        shows(page, "received", first)
        scan(page, other)  # begun by mistake
        shows(page, "received", other)
        page.keyboard.press("F9")
        shows(page, "undone", other)
        assert page.is_hidden("#open-tube")
        assert history(served, first)[-2:] == ["SealWithdrawn", "Sealed"]
        assert history(served, other) == ["Registered", "RegistrationWithdrawn"]
        assert (
            page.evaluate(
                "Object.keys(localStorage).filter((n) => (localStorage[n] + n).includes('王小')).length"
            )
            == 0
        )


def test_a_green_tube_begun_as_the_wrong_kind_is_begun_anew(served, browser):
    """An empty tube scanned again under another kind is that kind; a tube begun elsewhere is taken up where it stands."""
    code, begun = tube_code(21), tube_code(22)
    bo = served.person("bo")
    bo.ok("/api/v1/tubes", {"barcode": begun, "kind": "mixed", "places": 10, "persons": people(3, "U")})
    with screen(browser, served, served.person("anna"), "en") as page:
        page.goto(f"{served.url}/collection")
        choose(page, "mixed:10")
        scan(page, code)
        settled(page, 1)
        choose(page, "single:1")
        scan(page, code)
        settled(page, 2)
        assert page.inner_text("#tube-count") == "0/1"
        type_person(page, "王小一", "U9000001")
        settled(page, 3)
        page.keyboard.press("F8")
        settled(page, 4)
        assert (tube(served, code).state, tube(served, code).capacity) == ("sealed", 1)
        scan(page, begun)
        until(page, "document.getElementById('tube-count').textContent === '3/10'")
        assert page.locator("#people tbody tr").count() == 3
        assert "mixed" in page.get_attribute("#tube-kind", "class")


def test_each_well_is_confirmed_by_scan_and_a_wrong_tube_stops(served, browser):
    """A scan says the well; a tube of no plate stops, and so does one out of order; a plate half confirmed is not loaded."""
    anna = served.person("anna")
    codes = receive(anna, *range(101, 105), rack="RP")
    made = anna.ok("/api/v1/plates", {})
    name = made["plate_id"]
    where = {well["tube"]: well["well"] for well in made["wells"] if well["tube"]}
    codes.sort(key=lambda code: (int(where[code][1:]), where[code][0]))
    (stranger,) = receive(anna, 109, rack="RQ")
    with screen(browser, served, anna, "zh") as page:
        page.goto(f"{served.url}/plates/{name}/wells")
        assert page.inner_text("#next") == where[codes[0]]
        scan(page, codes[0])
        shows(page, "received", where[codes[0]])
        scan(page, stranger)
        shows(page, "refused", stranger)
        scan(page, codes[1])  # a hand that scans on is not listened to
        shows(page, "refused", codes[1])
        assert page.inner_text("#left") == "3"
        page.keyboard.press("Escape")
        scan(page, codes[0])
        shows(page, "repeat", "anna")
        page.locator("#order").press("Space")
        scan(page, codes[3])
        shows(page, "refused", codes[1])
        picture(page, "plating-out-of-order-zh")
        page.keyboard.press("Escape")
        scan(page, codes[1], codes[2])
        until(page, "document.getElementById('left').textContent === '1'")
        page.keyboard.press("F9")
        shows(page, "undone", codes[2])
        picture(page, "plating-zh")
        answer = anna.post(f"/api/v1/plates/{name}/load", {"barcode": name, "instrument": "qs5-1"})
        assert answer.json()["code"] == "WELLS_OPEN"
        scan(page, codes[2], codes[3])
        until(page, "document.getElementById('left').textContent === '0'")
        page.reload()
        assert page.inner_text("#left") == "0"
    anna.ok(f"/api/v1/plates/{name}/load", {"barcode": name, "instrument": "qs5-1"})
    assert history(served, codes[2])[-5:] == [
        "Plated",
        "WellConfirmed",
        "WellWithdrawn",
        "WellConfirmed",
        "RunStarted",
    ]


def test_tubes_are_put_away_taken_out_and_destroyed_only_when_they_may(served, browser, clock):
    """Rack and position by scan, the retest taken out from the list, positives locked, negatives kept for 72 hours."""
    anna, bo = served.person("anna"), served.person("bo")
    negative, positive, again = receive(anna, 201, 202, 203, rack="RS")
    made = plate(anna)
    upload(anna, run_file(served, made, {positive: 24.0}, no_ic={again}), "store.txt")
    for who in (bo, served.person("cai")):
        who.post("/api/v1/reviews", {"tube": positive, "verdict": "accept"})
    bo.post("/api/v1/reports/release", {})
    assert tube(served, negative).state == "released"
    assert tube(served, positive).state == "released"
    assert tube(served, again).state == "awaiting_retest"
    with screen(browser, served, anna, "en") as page:
        page.goto(f"{served.url}/storage")
        scan(page, negative)
        shows(page, "refused", "rack")
        page.keyboard.press("Escape")
        page.fill("#position", "A1")
        page.fill("#rack", "F1")
        page.keyboard.press("Enter")
        page.locator("#step").press("Space")
        scan(page, negative, positive, again)
        until(page, "document.getElementById('count-received').textContent === '3'")
        assert [(tube(served, c).rack, tube(served, c).position) for c in (negative, positive, again)] == [
            ("F1", "A1"), ("F1", "A2"), ("F1", "A3"),
        ]  # fmt: skip
        assert tube(served, again).state == "awaiting_retest"
        page.reload()
        assert again in page.inner_text("#wanted")
        picture(page, "storage-en")
        page.keyboard.press("F3")
        scan(page, again)
        shows(page, "received", again)
        page.keyboard.press("F9")
        shows(page, "undone")
        assert tube(served, again).position == "A3"
        scan(page, again, again)
        shows(page, "repeat", "anna")
        assert history(served, again)[-4:] == ["Stored", "Fetched", "Stored", "Fetched"]
        assert page.get_attribute("[data-act=discard]", "disabled") is not None
    with screen(browser, served, bo, "zh") as page:
        page.goto(f"{served.url}/storage")
        page.keyboard.press("F4")
        scan(page, negative)
        shows(page, "refused", "销毁原因")
        page.keyboard.press("Escape")
        page.fill("#reason", "保存期满")
        scan(page, negative)
        shows(page, "refused", "保存期限")
        page.keyboard.press("Escape")
        clock.moment = NOON + timedelta(hours=73)
        bo = served.person("bo")
        page.context.add_cookies([{"name": "lis", "value": bo.token, "url": served.url}])
        page.goto(f"{served.url}/storage")
        page.keyboard.press("F4")
        page.fill("#reason", "保存期满")
        scan(page, positive)
        shows(page, "refused", "阳性")
        picture(page, "storage-positive-zh")
        page.keyboard.press("Escape")
        scan(page, negative)
        shows(page, "received", negative)
    assert history(served, negative)[-1] == "Discarded"
    assert (tube(served, negative).rack, tube(served, positive).state) == ("", "stored")


def test_a_whole_rack_is_looked_at_and_recorded_in_one_act(served, browser):
    """A pasted rack shows every kind of position; a rescan replaces one; cancel records nothing; confirm takes all good ones."""
    anna = served.person("anna")
    codes = [tube_code(n) for n in range(301, 311)]
    anna.ok(
        "/api/v1/tubes",
        [{"barcode": c, "persons": [p], "sealed": True} for c, p in zip(codes, people(10, "V"), strict=True)],
    )
    anna.ok(
        "/api/v1/receipts",
        [
            {"barcode": codes[8], "rack": "R9", "position": "A9"},
            {"barcode": codes[9], "rack": "R8", "position": "B1"},
        ],
    )
    read = {f"A{n + 1}": codes[n] for n in range(6)} | {
        "A9": codes[8],
        "A10": codes[9],
        "A11": "NOREAD",
        "B1": codes[5],
        "B2": tube_code(399),
    }
    text = "\n".join(["Position;Barcode", *(f"{place};{code}" for place, code in read.items()), "H12;"])
    with screen(browser, served, anna, "zh") as page:
        page.on("dialog", lambda dialog: dialog.accept())
        page.goto(f"{served.url}/rack")
        scan(page, "R9")
        paste = "text => { const data = new DataTransfer(); data.setData('text', text); document.getElementById('scan').dispatchEvent(new ClipboardEvent('paste', { clipboardData: data, bubbles: true, cancelable: true })); }"
        count = "name => Number(document.querySelector(`[data-count='${name}']`).textContent)"
        page.evaluate(paste, text)
        page.wait_for_selector("#said.bad")
        picture(page, "rack-checked-zh")
        found = {
            name: page.evaluate(count, name)
            for name in ("good", "repeat", "wrong", "unreadable", "double", "unknown")
        }
        assert found == {"good": 5, "repeat": 1, "wrong": 1, "unreadable": 1, "double": 2, "unknown": 1}
        page.keyboard.press("Escape")
        assert page.evaluate(count, "good") == 0
        assert tube(served, codes[0]).state == "sealed"
        page.evaluate(paste, text)
        page.wait_for_selector("#said.bad")
        page.keyboard.press("F2")
        assert page.inner_text("#here") == "A6"  # read at B1 too
        page.keyboard.press("F7")
        until(
            page,
            "document.querySelector(\"[data-count='double']\").textContent === '0' && !document.getElementById('confirm').disabled",
        )
        page.keyboard.press("F2")
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowUp")
        assert page.inner_text("#here") == "A10"
        scan(page, codes[6])
        until(page, "document.querySelector(\"[data-count='good']\").textContent === '7'")
        page.keyboard.press("F8")
        page.wait_for_selector("#said.good")
        picture(page, "rack-recorded-zh")
    placed = {
        c: (tube(served, c).rack, tube(served, c).position)
        for c in codes
        if tube(served, c).state == "received"
    }
    expected = {codes[n]: ("R9", f"A{n + 1}") for n in range(5)} | {
        codes[5]: ("R9", "B1"),
        codes[6]: ("R9", "A10"),
    }
    assert placed == expected | {codes[8]: ("R9", "A9"), codes[9]: ("R8", "B1")}
    assert tube(served, tube_code(399)).state == "absent"
    with screen(browser, served, anna, "en") as page:
        page.goto(f"{served.url}/rack?act=receive")
        page.on("dialog", lambda dialog: dialog.accept())
        scan(page, "R10", codes[7])
        until(
            page,
            "document.querySelector(\"[data-count='good']\").textContent === '1' && !document.getElementById('confirm').disabled",
        )
        picture(page, "rack-typed-en")
        page.keyboard.press("F8")
        page.wait_for_selector("#said.good")
    assert (tube(served, codes[7]).rack, tube(served, codes[7]).position) == ("R10", "A1")
