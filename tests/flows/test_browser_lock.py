"""A shared station in a real browser: it locks itself, the next person comes in by badge, signing asks who is there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from screens import picture, screen
from web_bench import PASSWORD, SITE, bench, people, plate, receive, run_file, tube_code, upload

from lis import auth, queries
from lis.clock import SystemClock

pytestmark = pytest.mark.browser
PIN = "2580"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path):
    """A laboratory behind a real server; anna and bo have badges."""
    folder = tmp_path_factory.mktemp("lock")
    target = folder / "lis.db"
    target.write_bytes(sqlite_template.read_bytes())
    with bench(f"sqlite:///{target}", folder, SystemClock(), backups=str(folder / "copies")) as found:
        hashed = auth.hash_password(PIN)
        with found.lab.database.write("root") as unit:
            for name in ("anna", "bo"):
                auth.bind_badge(unit, name, found.lab.vault.fingerprint(f"badge:EMPLOYEE-{name}"))
                auth.set_pin(unit, name, hashed)
        yield found


def sign_in(page, served, name: str, target: str) -> None:
    """Sign in with name and password, as people do at the beginning of a shift."""
    page.context.clear_cookies(name="lis")
    page.goto(f"{served.url}/sign-in?next={target}")
    page.fill("input[name=name]", name)
    page.fill("input[name=password]", PASSWORD)
    page.click("button.main")
    page.wait_for_url(f"{served.url}{target}")


def actors(served, *codes: str) -> dict[str, str]:
    """Who received each tube."""
    from lis import ledger

    found = {}
    with served.lab.database.read() as conn:
        for code in codes:
            for entry in ledger.history(conn, code):
                if type(entry.fact).__name__ == "Received":
                    found[code] = entry.actor
    return found


def kept(page) -> dict[str, int]:
    """Scans in the browser's store, by account."""
    names = page.evaluate(
        "Object.keys(localStorage).filter((n) => n.startsWith('lis.scan.')).map((n) => localStorage.getItem(n))"
    )
    found: dict[str, int] = {}
    for text in names:
        whose = json.loads(text)["account"]
        found[whose] = found.get(whose, 0) + 1
    return found


def sent(page) -> None:
    """Wait until nothing is kept any more; the page may not evaluate text, so it is asked from outside."""
    for _ in range(200):
        if not kept(page):
            return
        page.wait_for_timeout(100)
    assert kept(page) == {}


def test_a_station_locks_and_the_next_person_goes_on_without_losing_a_scan(browser, served):
    """Scans made while the server is away stay with their person through lock and switch, and are sent as that person's."""
    root = served.person("cai")
    codes = [tube_code(n) for n in range(1, 5)]
    orders = [{"barcode": c, "persons": people(1, f"L{n}"), "sealed": True} for n, c in enumerate(codes)]
    root.ok("/api/v1/tubes", orders)
    with screen(browser, served, root) as page:
        sign_in(page, served, "anna", "/reception")
        page.clock.install()
        page.fill("#rack", "R1")
        page.fill("#scan", codes[0])
        page.press("#scan", "Enter")
        page.wait_for_selector("#count-received:text-is('1')")
        page.route("**/api/v1/receipts", lambda route: route.abort())
        for code in codes[1:3]:
            page.fill("#scan", code)
            page.press("#scan", "Enter")
        assert kept(page) == {"anna": 2}
        page.clock.run_for(11 * 60_000)
        page.wait_for_selector("dialog.cover.lock")
        picture(page, "lock-en")
        assert served.client(Authorization=f"Bearer {token(page)}").get("/api/v1/me").status_code == 200
        page.fill("dialog [name=badge]", codes[3])
        page.press("dialog [name=badge]", "Enter")
        page.fill("dialog [name=pin]", "1")
        page.press("dialog [name=pin]", "Enter")
        page.clock.run_for(9_000)
        page.wait_for_selector("dialog .said:has-text('not a badge')")
        page.unroute("**/api/v1/receipts")
        page.clock.run_for(9_000)
        sent(page)
        page.clock.run_for(3_000)
        page.fill("dialog [name=badge]", "EMPLOYEE-bo")
        page.press("dialog [name=badge]", "Enter")
        page.fill("dialog [name=pin]", PIN)
        with page.expect_navigation():
            page.press("dialog [name=pin]", "Enter")
            page.clock.run_for(1_000)
        assert page.get_attribute("meta[name=account]", "content") == "bo"
        page.fill("#scan", codes[3])
        page.press("#scan", "Enter")
        sent(page)
    assert actors(served, *codes) == {**dict.fromkeys(codes[:3], "anna"), codes[3]: "bo"}


def token(page) -> str:
    """The secret in the cookie of the page."""
    return next(one["value"] for one in page.context.cookies() if one["name"] == "lis")


def test_scans_of_the_one_who_left_wait_for_that_person(browser, served):
    """When the server never took them, the next person's page says whose scans are kept; their owner sends them."""
    root = served.person("cai")
    code = tube_code(20)
    root.ok("/api/v1/tubes", {"barcode": code, "persons": people(1, "LW"), "sealed": True})
    with screen(browser, served, root, "zh") as page:
        sign_in(page, served, "anna", "/reception")
        page.route("**/api/v1/receipts", lambda route: route.abort())
        page.fill("#scan", code)
        page.press("#scan", "Enter")
        page.click("[data-lock-now]")
        page.wait_for_selector("dialog.cover.lock")
        picture(page, "lock-zh")
        page.on("dialog", lambda asked: asked.accept())
        page.fill("dialog [name=badge]", "EMPLOYEE-bo")
        page.fill("dialog [name=pin]", PIN)
        with page.expect_navigation():
            page.press("dialog [name=pin]", "Enter")
        page.wait_for_selector("main .note:has-text('anna')")
        assert kept(page) == {"anna": 1}
        picture(page, "others-zh")
        page.goto(f"{served.url}/review")
        page.wait_for_selector("#others:has-text('anna')")
        page.goto(f"{served.url}/reception")
        page.unroute("**/api/v1/receipts")
        page.click("[data-lock-now]")
        page.fill("dialog [name=badge]", "EMPLOYEE-anna")
        page.fill("dialog [name=pin]", PIN)
        with page.expect_navigation():
            page.press("dialog [name=pin]", "Enter")
        sent(page)
    assert actors(served, code) == {code: "anna"}


def test_the_same_person_unlocks_without_losing_what_was_typed(browser, served):
    """A locked page stays as it was under the cover; a reload leads to the door; the PIN opens it again."""
    with screen(browser, served, served.person("cai")) as page:
        sign_in(page, served, "anna", "/reception")
        page.fill("#rack", "R77")
        page.click("[data-lock-now]")
        page.wait_for_selector("dialog.cover.lock")
        page.keyboard.press("Escape")
        assert page.is_visible("dialog.cover.lock")
        page.fill("dialog [name=secret]", PIN)
        page.press("dialog [name=secret]", "Enter")
        page.wait_for_selector("dialog.cover", state="detached")
        assert page.input_value("#rack") == "R77"
        assert page.get_attribute("meta[name=account]", "content") == "anna"


def test_signing_asks_who_is_there_and_then_does_it_once(browser, served):
    """A reviewer who stood alone for six minutes is asked for PIN or password; the same act is then done, once."""
    cai = served.person("cai")
    [tube] = receive(cai, 31)
    made = plate(cai)
    upload(cai, run_file(served, made, {tube: 24.0}), "run.txt")
    with screen(browser, served, cai) as page:
        sign_in(page, served, "bo", "/review")
        with served.lab.database.write("bo") as unit:
            long_ago = unit.now.replace(year=unit.now.year - 1)
            digest = auth.digest(token(page))
            queries.update_row(unit.conn, "ticket", {"digest": digest}, proved_at=long_ago)
        page.wait_for_timeout(2_100)  # the server remembers a sign-in for two seconds
        page.click(f'article[data-tube="{tube}"] [data-key="a"]')
        page.wait_for_selector("dialog.cover.prove")
        picture(page, "prove-en")
        page.fill("dialog [name=secret]", "9999")
        page.press("dialog [name=secret]", "Enter")
        page.wait_for_selector("dialog .said:has-text('wrong')")
        page.fill("dialog [name=secret]", PIN)
        page.press("dialog [name=secret]", "Enter")
        page.wait_for_selector("dialog.cover", state="detached")
        page.wait_for_selector("#banner.good")
    with served.lab.database.read() as conn:
        assert queries.signers(conn, [tube]) == {tube: ("bo",)}


PAGES = (
    *("", "/users", "/users/anna", "/devices", "/assays", "/sites", "/settings", "/backup", "/disclosures"),
    "/acts",
)


@pytest.mark.screens
@pytest.mark.parametrize("language", ["zh", "en"])
def test_the_administrator_works_on_screen(browser, served, language):
    """An account is opened with a password shown once, a device with a code shown once; every screen opens."""
    root = served.person("root")
    with screen(browser, served, root, language) as page:
        for path in PAGES:
            role = root if path not in {"/assays", "/disclosures"} else served.person("cai")
            page.context.add_cookies([{"name": "lis", "value": role.token, "url": served.url}])
            answer = page.goto(f"{served.url}/admin{path}")
            assert answer.status == 200, path
            wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
            assert wide <= 0, (path, wide)
            picture(page, f"admin{path.replace('/', '-')}-{language}")
        page.context.add_cookies([{"name": "lis", "value": root.token, "url": served.url}])
        page.goto(f"{served.url}/admin/users")
        name = f"finn-{language}"
        form = page.locator('form[data-api="/api/v1/accounts"]')
        form.locator("[name=name]").fill(name)
        form.locator("[name=full_name]").fill("Finn Berg")
        form.locator("[name=role]").select_option("collection")
        form.locator("[name=site]").select_option(SITE)
        form.locator("button").click()
        page.wait_for_selector(".once output")
        first = page.text_content(".once output")
        picture(page, f"admin-once-{language}")
        page.goto(f"{served.url}/admin/devices")
        form = page.locator('form[data-api="/api/v1/devices"]')
        form.locator("[name=name]").fill(f"QS5 {language}")
        form.locator("button").click()
        page.wait_for_selector(".once output")
        picture(page, f"admin-code-{language}")
    assert served.client().post("/api/v1/sign-in", json={"name": name, "password": first}).status_code == 200


@pytest.mark.screens
def test_a_first_password_is_changed_on_screen_and_judged_while_it_is_typed(browser, served):
    """Words beside the field say how good a password is; it can be shown; afterwards the start page opens."""
    made = served.person("root").ok(
        "/api/v1/accounts", {"name": "gina", "full_name": "Gina", "role": "technician"}
    )
    with screen(browser, served, served.person("cai")) as page:
        page.context.clear_cookies(name="lis")
        page.goto(f"{served.url}/sign-in")
        page.fill("input[name=name]", "gina")
        page.fill("input[name=password]", made["password"])
        page.click("button.main")
        page.wait_for_url(f"{served.url}/account")
        page.fill("[name=old]", made["password"])
        page.fill("[name=new]", "password123")
        page.wait_for_selector("#strength.bad")
        page.fill("[name=new]", "seven lamps in a row")
        page.wait_for_selector("#strength.good")
        page.locator("[name=new] + button").click()
        assert page.get_attribute("[name=new]", "type") == "text"
        picture(page, "account-first-en")
        page.click("form[data-api$=password] button.main")
        page.wait_for_url(f"{served.url}/")
        page.goto(f"{served.url}/account")
        picture(page, "account-en")
