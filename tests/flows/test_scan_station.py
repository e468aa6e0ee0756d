"""Reception in a real browser: whatever the server, the input method and the scanner do, every scan counts once."""

from __future__ import annotations

from pathlib import Path

import pytest
from screens import picture, screen
from station_bench import Server, prepare, scan, settled, shows, station_server, until
from web_bench import tube_code

pytestmark = pytest.mark.browser

KEYS = """async cases => {
  const { reader, clean } = await import("/static/keys.js");
  return cases.map(([keys]) => {
    const keyed = reader();
    let code = null;
    for (const one of keys) code = keyed.press({ key: "Unidentified", code: "", keyCode: 0, ...one }).code ?? code;
    return code;
  });
}"""


@pytest.fixture(scope="module")
def server(browser, tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path):
    """A running server with accounts; every test uses tubes of its own."""
    with station_server(tmp_path_factory.mktemp("station"), sqlite_template) as found:
        yield found


@pytest.fixture
def page(browser, server: Server):
    """The reception of a technician, in Chinese."""
    with screen(browser, server, server.person("anna"), "zh") as found:
        found.on("dialog", lambda dialog: dialog.accept())
        found.goto(f"{server.url}/reception")
        yield found


def typed(text: str, **more: object) -> list[dict[str, object]]:
    """Key presses of a scanner that types ``text``."""
    return [
        {"key": one, "code": f"Digit{one}" if one.isdigit() else f"Key{one.upper()}", **more} for one in text
    ]


END = {"key": "Enter", "code": "Enter"}


def test_scans_are_read_from_keys_whatever_stands_between(page):
    """Control characters, AIM prefixes, input methods, the number pad and CapsLock never change a code."""
    code = "440700000019"
    ime = {"key": "Process", "keyCode": 229}
    cases = [
        ("plain", [*typed(code), END]),
        ("an input method", [*({**one, **ime} for one in typed(code)), {**END, **ime}]),
        ("a key that names itself not", [*({**one, "key": "Unidentified"} for one in typed(code)), END]),
        ("the number pad without NumLock", [*({"key": "Home", "code": f"Numpad{one}"} for one in code), END]),
        ("GS and CR as control keys", [
            {"key": "]", "code": "BracketRight", "ctrlKey": True}, *typed(code),
            {"key": "m", "code": "KeyM", "ctrlKey": True},
        ]),
        ("FNC1 and LF as characters", [{"key": "\x1d", "code": ""}, *typed(code), {"key": "j", "code": "KeyJ", "ctrlKey": True}]),
        ("an AIM prefix", [{"key": "]", "code": "BracketRight"}, *typed("C1"), *typed(code), END]),
        ("Tab at the end", [*typed(code), {"key": "Tab", "code": "Tab"}]),
        ("a wrong key taken back", [*typed("9"), {"key": "Backspace", "code": "Backspace"}, *typed(code), END]),
    ]  # fmt: skip
    found = page.evaluate(KEYS, [[keys] for _, keys in cases])
    assert dict(zip([name for name, _ in cases], found, strict=True)) == dict.fromkeys(dict(cases), code)
    shifted = [{"key": "l", "code": "KeyL"}, *typed("0000000018"), END]
    hyphen = [*typed("R1"), {"key": "Process", "code": "Minus", "keyCode": 229}, *typed("2"), END]
    assert page.evaluate(KEYS, [[shifted], [hyphen]]) == ["L0000000018", "R1-2"]


def test_what_is_no_code_is_refused_at_once(page):
    """Two codes run together, a wrong check digit and what an input method made are told apart before they are sent."""
    judged = page.evaluate(
        """async codes => {
          const { judge } = await import("/static/keys.js");
          const patterns = JSON.parse(document.getElementById("patterns").textContent);
          return codes.map((code) => judge(code, patterns).kind ?? judge(code, patterns).wrong);
        }""",
        [tube_code(1), "L0000000018", "P00000018", "44070019900101001X", tube_code(1) + tube_code(2),
         "440700000018", "特001", "R7"],
    )  # fmt: skip
    assert judged[:3] == ["tube", "pool", "plate"]
    assert judged[3] in {"person", "shape", "merged"}
    assert judged[4:] == ["merged", "check", "shape", "shape"]


def test_no_scan_is_lost_or_merged_while_the_server_is_frozen_or_away(server, page):
    """Frozen for 1.6 s during 5 scans, for 4 s during 12, killed with a full queue: each tube once, in its place."""
    codes = prepare(server, range(1, 48))
    page.fill("#rack", "R1")
    page.fill("#position", "A1")
    page.check("#step")
    scan(page, *codes[:20])
    settled(page, 20)
    for first, last, seconds in ((20, 25, 1.6), (25, 37, 4.0)):
        server.freeze()
        scan(page, *codes[first:last])
        until(page, f"document.getElementById('count-pending').textContent === '{last - first}'")
        page.wait_for_timeout(seconds * 1000)
        server.thaw()
        settled(page, last)
    server.freeze()
    scan(page, *codes[37:42])
    server.stop()
    until(page, 'document.getElementById("link").className.includes("bad")')
    assert page.evaluate("Object.keys(localStorage).filter(n => n.startsWith('lis.scan.')).length") == 5
    picture(page, "reception-away")
    server.start()
    scan(page, *codes[42:])
    settled(page, 47)
    assert page.inner_text("#count-received") == "47"
    places = [f"{row}{column}" for row in "ABCD" for column in range(1, 13)]
    assert server.received_once(codes) == dict(zip(codes, places, strict=False))


def test_a_closed_tab_and_a_station_without_a_server_open_again_and_lose_nothing(server, page):
    """The page opens from the browser while the server is dead, and sends what two tabs scanned, each scan once."""
    codes = prepare(server, range(101, 107))
    page.evaluate("navigator.serviceWorker.ready")
    page.reload()  # the worker keeps the shell at the first visit it sees
    until(page, "navigator.serviceWorker.controller !== null")
    server.stop()
    scan(page, codes[0], codes[1] + codes[2], codes[3])
    settled_refused = "document.getElementById('count-refused').textContent === '1'"
    until(page, settled_refused)
    other = page.context.new_page()
    page.close()
    other.goto(f"{server.url}/reception")
    assert other.inner_text("#count-pending") == "2"
    assert other.locator("#recent li.pending").count() == 2
    scan(other, codes[4])
    until(other, "document.getElementById('count-pending').textContent === '3'")
    server.start()
    settled(other, 4)
    assert set(server.received_once(codes)) == {codes[0], codes[3], codes[4]}
    kept = other.evaluate(
        """async () => {
          const names = [];
          for (const one of await caches.keys()) for (const asked of await (await caches.open(one)).keys()) names.push(new URL(asked.url).pathname);
          return names;
        }"""
    )
    assert "/reception" in kept
    assert all(
        name.startswith("/static/") or name in {"/reception", "/collection", "/storage"} for name in kept
    )


def test_two_tabs_of_one_station_send_each_scan_once(server, page):
    """Two tabs with a queue each take turns; the server is asked once a scan, and both see what became of theirs."""
    codes = prepare(server, range(201, 211))
    other = page.context.new_page()
    other.goto(f"{server.url}/reception")
    keys: list[str] = []
    for one in (page, other):
        one.on(
            "request",
            lambda asked: (
                keys.append(asked.headers["idempotency-key"]) if asked.url.endswith("/receipts") else None
            ),
        )
    server.freeze()
    page.bring_to_front()
    scan(page, *codes[:5])
    other.bring_to_front()
    scan(other, *codes[5:])
    server.thaw()
    settled(other, 10)
    settled(page, 10)
    assert len(keys) == len(set(keys)) == 10
    assert set(server.received_once(codes)) == set(codes)
    assert page.locator("#recent li.received").count() == other.locator("#recent li.received").count() == 5
    other.evaluate(
        """async () => {
          const { takingTurns } = await import("/static/turn.js");
          for (const locks of [navigator.locks, null]) {
            const steps = [];
            const work = (name) => async () => { steps.push(name); await new Promise((go) => setTimeout(go, 5)); steps.push(name); };
            const [one, two] = ["one", "two"].map((tab) => takingTurns("x", tab, locks));
            await Promise.all([one(work("one")), two(work("two"))]);
            await one(work("one")); // the turn is with the other now, who keeps it until asked
            if (steps.length !== 6 || steps.some((name, i) => i % 2 && steps[i - 1] !== name)) throw new Error(steps.join());
            let begun = false;
            const again = one(async () => { begun = true; });
            if (!begun) throw new Error("who keeps the turn must not wait for it");
            await again;
          }
        }"""
    )


def test_an_input_method_does_not_touch_a_scan(server, page):
    """With a composition under way, as Chromium gets it from an input method, the code is still that of the keys."""
    (code,) = prepare(server, range(301, 302))
    devtools = page.context.new_cdp_session(page)
    for number, digit in enumerate(code):
        key = {"key": "Process", "code": f"Digit{digit}", "windowsVirtualKeyCode": 229}
        devtools.send("Input.dispatchKeyEvent", {"type": "rawKeyDown", **key})
        devtools.send(
            "Input.imeSetComposition",
            {"text": "特" * (number % 3 + 1), "selectionStart": 1, "selectionEnd": 1},
        )
        devtools.send("Input.dispatchKeyEvent", {"type": "keyUp", **key})
    devtools.send(
        "Input.dispatchKeyEvent",
        {"type": "rawKeyDown", "key": "Process", "code": "Enter", "windowsVirtualKeyCode": 229},
    )
    settled(page, 1)
    assert set(server.received_once([code])) == {code}
    assert page.input_value("#scan") in {
        "",
        "特",
        "特特",
        "特特特",
    }  # what is left of the composition is no code
    page.keyboard.insert_text("特殊")
    page.keyboard.press("Enter")
    shows(page, "refused", "输入法")


def test_repeat_wrong_and_unknown_differ_to_eye_and_ear(server, browser, page):
    """Same place: harmless; another station: stopped with who and when; unknown: its hold number; all three sound apart."""
    first, second = prepare(server, range(401, 403))
    page.evaluate(
        "() => { window.heard = []; document.addEventListener('lis:signal', (e) => heard.push(e.detail.kind)); }"
    )
    page.fill("#rack", "R4")
    page.keyboard.press("Enter")
    scan(page, first)
    shows(page, "received", first)
    picture(page, "reception-received-zh")
    scan(page, first)
    shows(page, "repeat", first)
    with screen(browser, server, server.person("bo"), "en") as other:
        other.goto(f"{server.url}/reception")
        scan(other, first)
        shows(other, "refused", "anna")
        assert "received at" in other.inner_text("#result")
        scan(other, second)  # another code is never ignored, also while the screen is stopped
        settled(other, 2)
        shows(other, "refused", first)
        assert other.inner_text("#count-received") == "1"
        picture(other, "reception-stopped-en")
        other.keyboard.press("Escape")
        shows(other, "idle")
    scan(page, tube_code(499))
    shows(page, "held", "号")
    picture(page, "reception-held-zh")
    page.keyboard.press("Escape")
    assert page.evaluate("heard") == ["good", "repeat", "wrong"]
    sounds = page.evaluate("import('/static/signals.js').then((m) => m.SOUNDS)")
    pitches = [sounds[name]["beeps"][0][0] for name in ("good", "repeat", "wrong")]
    assert len(set(pitches)) == 3
    assert [len(sounds[name]["beeps"]) for name in ("good", "repeat", "wrong")] == [1, 2, 3]
    page.keyboard.press("F6")
    page.reload()
    assert page.get_attribute("#mute", "aria-pressed") == "true"
    page.keyboard.press("F6")


def test_a_scan_stands_in_its_order_and_hands_see_what_they_type(server, page):
    """A wrong code right after a good one that waits for its answer stands above it; typing by hand shows in the box."""
    (code,) = prepare(server, range(451, 452))
    server.freeze()
    scan(page, code, "440700000018")
    until(page, "document.querySelectorAll('#recent li').length === 2")
    until(page, "document.getElementById('count-pending').textContent === '1'")
    looks = "[...document.querySelectorAll('#recent li')].map((one) => one.className).join()"
    assert page.evaluate(looks) == "refused,pending"
    server.thaw()
    settled(page, 2)
    assert page.evaluate(looks) == "refused,received"
    page.keyboard.press("Escape")
    page.keyboard.type("44070")
    until(page, "document.getElementById('scan').value === '44070'")


def test_a_full_store_is_told_loudly(server, page):
    """A scan that the browser cannot keep is refused on the spot, not sent and forgotten; the next one works again."""
    (code,) = prepare(server, range(501, 502))
    page.evaluate(
        """() => {
          let size = 2 ** 22, n = 0;
          while (size >= 1) { try { localStorage.setItem("filler" + n, "x".repeat(size)); n += 1; } catch { size = Math.floor(size / 2); } }
        }"""
    )
    scan(page, code)
    shows(page, "refused", "存储已满")
    assert server.received_once([code]) == {}
    page.evaluate(
        "Object.keys(localStorage).filter((n) => n.startsWith('filler')).forEach((n) => localStorage.removeItem(n))"
    )
    page.keyboard.press("Escape")
    scan(page, code)
    shows(page, "received", code)


def test_the_last_act_is_taken_back_by_a_new_event(server, browser, page):
    """F9 takes back the last receipt, then the one before; a stranger may not; the history keeps everything."""
    codes = prepare(server, range(601, 604))
    scan(page, *codes)
    settled(page, 3)
    page.keyboard.press("F9")
    shows(page, "undone", codes[2])
    page.keyboard.press("F9")
    shows(page, "undone", codes[1])
    assert page.inner_text("#count-received") == "1"
    assert [tube.state for tube in server.tubes(codes)] == ["received", "sealed", "sealed"]
    assert server.history(codes[2])[-2:] == ["Received", "ReceiptWithdrawn"]
    scan(page, codes[2])
    shows(page, "received", codes[2])
    server.person("bo").ok(f"/api/v1/tubes/{codes[2]}/hold", {"reason": "leaks"})
    page.keyboard.press("F9")
    shows(page, "refused", codes[2])
    assert "bo" in page.inner_text("#result")
    answer = server.person("anna").post(f"/api/v1/tubes/{codes[2]}/undo", {"kind": "Received"})
    assert answer.json()["code"] == "UNDO_FOLLOWED"


def test_a_locked_screen_takes_no_scan_and_each_scan_stays_with_its_account(server, page):
    """Input pauses while the screen is locked; what one account scanned is not sent in the name of the next."""
    codes = prepare(server, range(701, 704))
    server.freeze()
    scan(page, codes[0])
    page.evaluate("document.dispatchEvent(new CustomEvent('lis:lock'))")
    scan(page, codes[1])
    page.evaluate(
        "document.dispatchEvent(new CustomEvent('lis:user', { detail: { account: 'bo', csrf: 'x' } }))"
    )
    assert page.inner_text("#count-pending") == "0"
    assert "anna" in page.inner_text("#elsewhere")
    page.evaluate(
        "csrf => document.dispatchEvent(new CustomEvent('lis:user', { detail: { account: 'anna', csrf } }))",
        server.person("anna").csrf,
    )
    server.thaw()
    settled(page, 1)
    assert set(server.received_once(codes)) == {codes[0]}


def test_the_search_box_opens_a_tube_from_any_page(server, page):
    """A scan into the search box, also under an input method and with control characters, opens the tube's page."""
    (code,) = prepare(server, range(801, 802))
    page.goto(f"{server.url}/worklists/receive")
    page.keyboard.press("/")
    page.keyboard.press("Control+]")
    scan(page, code)
    page.wait_for_url(f"{server.url}/tubes/{code}")
    page.focus(".search input")
    page.evaluate(
        """code => {
          const field = document.querySelector(".search input");
          const press = (key) => field.dispatchEvent(new KeyboardEvent("keydown", { key: "Process", keyCode: 229, bubbles: true, cancelable: true, ...key }));
          for (const digit of code) press({ code: "Digit" + digit });
          field.value = "特00";
          press({ code: "Enter" });
        }""",
        code,
    )
    page.wait_for_url(f"{server.url}/tubes/{code}")
