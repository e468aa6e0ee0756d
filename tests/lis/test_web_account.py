"""Signing in, changing the person at a station, showing who is there, one's own account: over HTTP."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pwdlib.hashers.argon2 import Argon2Hasher
from web_bench import PASSWORD, bench, plate, receive, run_file, upload

from lis import auth, queries
from lis.web import sessions as web_sessions

PIN = "2580"
CHEAP = Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture
def served(database_url, tmp_path: Path, clock, quick_hashes):
    """A laboratory behind a real server, on each database; anna and bo have a badge and a PIN."""
    with bench(database_url, tmp_path, clock) as found:
        give_badges(found, "anna", "bo")
        yield found


@pytest.fixture
def small(tmp_path: Path, sqlite_template: Path, clock, quick_hashes):
    """The same on the embedded database only, for what no database changes."""
    target = tmp_path / "lis.db"
    target.write_bytes(sqlite_template.read_bytes())
    with bench(f"sqlite:///{target}", tmp_path, clock) as found:
        give_badges(found, "anna", "bo")
        yield found


def give_badges(found, *names: str) -> None:
    """The badge of somebody is ``EMPLOYEE-name``; the PINs are cheap to check, for the tests' sake."""
    with found.lab.database.write("root") as unit:
        for name in names:
            auth.bind_badge(unit, name, found.lab.vault.fingerprint(f"badge:EMPLOYEE-{name}"))
            auth.set_pin(unit, name, CHEAP.hash(PIN))


def signed_in(found, name: str):
    """A browser at which somebody signed in with the password: (client, CSRF token)."""
    client = found.client()
    answer = client.post("/api/v1/sign-in", json={"name": name, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    return client, answer.json()["csrf"]


def ask(client, path: str, csrf: str = "", **body):
    """A change; (status, code or empty, document)."""
    answer = client.post(path, json=body, headers={"X-CSRF": csrf})
    return answer.status_code, answer.json().get("code", ""), answer.json()


# -- shared stations ------------------------------------------------------------------------------


def test_badge_and_pin_change_the_person_at_a_station(served, clock):
    """Where somebody gave a password, badge and PIN sign the next one in and the one before out, for one shift."""
    client, _ = signed_in(served, "anna")
    stranger = served.client()
    order = {"badge": "EMPLOYEE-bo", "pin": PIN}
    assert ask(stranger, "/api/v1/switch", **order)[:2] == (403, "STATION")
    before = client.cookies.get("lis")
    status, _, who = ask(client, "/api/v1/switch", **order)
    assert (status, who["name"], who["role"]) == (200, "bo", "reviewer")
    assert client.get("/api/v1/me").json()["name"] == "bo"
    assert served.client(Authorization=f"Bearer {before}").get("/api/v1/me").status_code == 401
    with served.lab.database.read() as conn:
        [ticket] = queries.tickets_of(conn, "bo", clock.now())
        stored = str(queries.accounts(conn)) + str(queries.stations(conn))
    assert (ticket["method"], ticket["address"]) == ("badge", "127.0.0.1")
    assert "EMPLOYEE" not in stored
    assert client.cookies.get("lis-station") not in stored
    clock.advance(timedelta(hours=12, seconds=1))
    assert ask(client, "/api/v1/switch", **order)[:2] == (403, "STATION")


def test_a_wrong_badge_and_a_wrong_pin_sound_alike_and_are_few(served, clock):
    """Badge and PIN are refused in the same words; after five wrong PINs only the password helps, which frees the PIN."""
    client, _ = signed_in(served, "anna")
    wrong = ask(client, "/api/v1/switch", badge="EMPLOYEE-bo", pin="9999")
    unknown = ask(client, "/api/v1/switch", badge="EMPLOYEE-nobody", pin=PIN)
    assert wrong == unknown
    assert wrong[:2] == (401, "BADGE_WRONG")
    for _ in range(5):
        clock.advance(timedelta(minutes=1))
        assert ask(client, "/api/v1/switch", badge="EMPLOYEE-bo", pin="9999")[1] == "BADGE_WRONG"
    clock.advance(timedelta(minutes=30))
    assert ask(client, "/api/v1/switch", badge="EMPLOYEE-bo", pin=PIN)[:2] == (429, "LOCKED_OUT")
    signed_in(served, "bo")
    assert ask(client, "/api/v1/switch", badge="EMPLOYEE-bo", pin=PIN)[0] == 200


def test_a_tube_scanned_into_the_badge_field_is_told_and_counted_as_no_try(small):
    """A tube is not taken for a wrong badge, however often it is scanned."""
    client, _ = signed_in(small, "anna")
    from web_bench import tube_code

    for _ in range(8):
        assert ask(client, "/api/v1/switch", badge=tube_code(1), pin="")[:2] == (422, "BADGE_TUBE")
    assert ask(client, "/api/v1/switch", badge="EMPLOYEE-bo", pin=PIN)[0] == 200


def test_an_enrolled_station_takes_badges_at_any_time_until_it_is_revoked(small, clock):
    """The administrator enrols a browser by the list of stations; weeks later a badge is enough there."""
    client, _ = signed_in(small, "anna")
    root = small.person("root")
    key = auth.digest(client.cookies.get("lis-station"))
    root.ok(f"/api/v1/stations/{key}/enrol", {"name": "Rack room"})
    clock.advance(timedelta(days=20))
    assert ask(client, "/api/v1/switch", badge="EMPLOYEE-bo", pin=PIN)[0] == 200
    root = small.person("root")
    root.ok(f"/api/v1/stations/{key}/revoke")
    assert ask(client, "/api/v1/switch", badge="EMPLOYEE-bo", pin=PIN)[:2] == (403, "STATION")


def test_the_sign_in_page_takes_a_badge_without_a_script(small):
    """At a station the door has a second form; elsewhere there is none, and a refusal is told beside it."""
    client = small.client(Accept="text/html")
    assert 'name="badge"' not in client.get("/sign-in").text
    page = client.post("/sign-in", data={"name": "anna", "password": PASSWORD})
    assert page.status_code == 303
    client.cookies.delete("lis")
    assert 'name="badge"' in client.get("/sign-in").text
    refused = client.post("/sign-in", data={"badge": "EMPLOYEE-bo", "pin": "9999"})
    assert (refused.status_code, "BADGE" in refused.text) == (401, False)
    assert (
        client.post("/sign-in", data={"badge": "EMPLOYEE-bo", "pin": PIN, "next": "/review"}).status_code
        == 303
    )
    assert client.get("/api/v1/me").json()["name"] == "bo"


def test_no_page_of_another_site_signs_anybody_in(small):
    """A browser says where a form comes from; one from elsewhere is refused."""
    for path, sent in (
        ("/sign-in", {"data": {"name": "anna", "password": PASSWORD}}),
        ("/api/v1/sign-in", {"json": {"name": "anna", "password": PASSWORD}}),
    ):
        answer = small.client().post(path, headers={"Sec-Fetch-Site": "cross-site"}, **sent)
        assert (answer.status_code, answer.json()["code"]) == (403, "CSRF")


def test_an_address_waits_after_thirty_wrong_passwords_for_whatever_names(small, clock):
    """Guessing one password for many names ends too; other addresses go on."""

    def attempt(name: str, address: str):
        client = small.client(**{"X-Forwarded-For": address})
        return client.post("/api/v1/sign-in", json={"name": name, "password": "wrong"}).json()["code"]

    assert {attempt(f"guess{n}", "10.9.9.9") for n in range(30)} == {"SIGN_IN_WRONG"}
    assert attempt("guess30", "10.9.9.9") == "WAIT"
    assert attempt("guess30", "10.9.9.8") == "SIGN_IN_WRONG"
    clock.advance(timedelta(minutes=16))
    assert attempt("guess31", "10.9.9.9") == "SIGN_IN_WRONG"


# -- lock and proof -------------------------------------------------------------------------------


def test_a_locked_sign_in_opens_nothing_until_its_person_shows_who_it_is(served, monkeypatch):
    """Lock, then every page and call is refused, a reload leads to the door; PIN or password open it again."""
    monkeypatch.setattr(web_sessions, "CACHE_SECONDS", 0.0)
    client, csrf = signed_in(served, "anna")
    assert ask(client, "/api/v1/lock", csrf)[0] == 200
    assert ask(client, "/api/v1/lock", csrf)[0] == 200
    refused = client.get("/api/v1/me")
    assert (refused.status_code, refused.json()["code"]) == (401, "LOCKED")
    assert (
        client.get("/reception", headers={"Accept": "text/html"}).headers["location"].startswith("/sign-in")
    )
    assert ask(client, "/api/v1/prove", csrf, pin="9999")[:2] == (403, "PROOF_WRONG")
    assert ask(client, "/api/v1/prove", csrf)[:2] == (422, "PROOF_EMPTY")
    assert client.get("/api/v1/me").status_code == 401
    assert ask(client, "/api/v1/prove", csrf, pin=PIN)[0] == 200
    assert client.get("/api/v1/me").json()["name"] == "anna"
    assert ask(client, "/api/v1/lock", csrf)[0] == 200
    assert ask(client, "/api/v1/prove", csrf, password=PASSWORD)[0] == 200
    assert client.get("/api/v1/me").status_code == 200


def test_signing_needs_a_password_or_pin_of_the_last_five_minutes(served, clock):
    """Sign, release and amend answer REAUTH to a browser that stood alone; nothing is recorded; after proof they work once."""
    anna, bo = served.person("anna"), served.person("bo")
    bo.again = None
    [tube] = receive(anna, 1)
    made = plate(anna)
    upload(anna, run_file(served, made, {tube: 24.0}), "run.txt")
    served.person("cai").ok("/api/v1/reviews", {"tube": tube, "verdict": "accept"})
    clock.advance(timedelta(minutes=5, seconds=1))
    verdict = {"tube": tube, "verdict": "accept"}
    for path, body in (
        ("/api/v1/reviews", verdict),
        ("/api/v1/reports/release", {"tubes": [tube]}),
        ("/api/v1/reports/R1/amend", {"result": "negative", "reason": "x"}),
        ("/api/v1/reports/R1/amend/withdraw", {"reason": "x"}),
    ):
        answer = bo.post(path, body, Idempotency_Key="same")
        assert (answer.status_code, answer.json()["code"]) == (403, "REAUTH"), path
    with served.lab.database.read() as conn:
        assert len(queries.signers(conn, [tube])[tube]) == 1
    assert bo.post("/api/v1/prove", {"password": PASSWORD}).status_code == 200
    assert bo.post("/api/v1/reviews", verdict, Idempotency_Key="same").status_code == 200
    program = served.client(Authorization=f"Bearer {bo.token}")
    clock.advance(timedelta(minutes=6))
    assert bo.post("/api/v1/reports/release", {"tubes": [tube]}).json()["code"] == "REAUTH"
    assert program.post("/api/v1/reports/release", json={"tubes": [tube]}).status_code == 200


def test_a_pin_proves_only_at_a_station(small, clock):
    """A sign-in that knows no station takes no PIN as proof, but the password."""
    bo = small.person("bo")
    assert bo.post("/api/v1/prove", {"pin": PIN}).json()["code"] == "STATION"
    assert bo.post("/api/v1/prove", {"password": PASSWORD}).status_code == 200


# -- the own account ------------------------------------------------------------------------------


def test_a_first_password_must_be_changed_and_then_everything_works(served):
    """Whoever got a password from the administrator can do nothing but choose an own one, judged by the rules."""
    root = served.person("root")
    made = root.ok("/api/v1/accounts", {"name": "finn", "full_name": "Finn Berg", "role": "technician"})
    client = served.client()
    first = client.post("/api/v1/sign-in", json=made).json()
    csrf = first["csrf"]
    assert client.get("/api/v1/worklists/plate").json()["code"] == "PASSWORD_CHANGE"
    assert client.get("/review", headers={"Accept": "text/html"}).headers["location"] == "/account"
    assert "/api/v1/account/pin" not in client.get("/account", headers={"Accept": "text/html"}).text
    for new, code in (
        ("short", "PASSWORD"), ("finn-berg-1", "PASSWORD_NAME"), ("north river", "PASSWORD_NAME"),
        ("password123", "PASSWORD_COMMON"), (made["password"], "PASSWORD_SAME"),
    ):  # fmt: skip
        assert ask(client, "/api/v1/account/password", csrf, old=made["password"], new=new)[1] == code
    own = "seven lamps in a row"
    assert ask(client, "/api/v1/account/password", csrf, old="wrong", new=own)[1] == "PROOF_WRONG"
    assert ask(client, "/api/v1/account/strength", csrf, password=own)[2] == {"strength": "strong"}
    assert ask(client, "/api/v1/account/password", csrf, old=made["password"], new=own)[0] == 200
    assert client.get("/api/v1/worklists/plate").status_code == 200
    again = served.client().post("/api/v1/sign-in", json=made)
    assert again.json()["code"] == "SIGN_IN_WRONG"


def test_one_sees_and_ends_the_own_sign_ins_and_sets_the_own_pin(small):
    """The own account lists sign-ins without secrets; others can be ended; a PIN needs the password."""
    client, csrf = signed_in(small, "anna")
    other, _ = signed_in(small, "anna")
    found = client.get("/api/v1/account").json()
    assert [one["here"] for one in found["sign_ins"]].count(True) == 1
    assert (found["badge"], found["pin"], len(found["sign_ins"])) == (True, True, 2)
    assert other.cookies.get("lis") not in client.get("/api/v1/account").text
    assert ask(client, "/api/v1/account/end", csrf)[2] == {"ended": 1}
    assert other.get("/api/v1/me").status_code == 401
    assert client.get("/api/v1/me").status_code == 200
    assert ask(client, "/api/v1/account/pin", csrf, password="wrong", pin="71930")[1] == "PROOF_WRONG"
    assert ask(client, "/api/v1/account/pin", csrf, password=PASSWORD, pin="1234")[1] == "PIN"
    assert ask(client, "/api/v1/account/pin", csrf, password=PASSWORD, pin="71930")[2] == {"pin": True}
    assert ask(client, "/api/v1/prove", csrf, pin="71930")[0] == 200
    with small.lab.database.write("anna") as unit:
        token = auth.open_token(unit, "anna", days=1).secret
    program = small.client(Authorization=f"Bearer {token}")
    assert ask(program, "/api/v1/account/password", old=PASSWORD, new="x" * 9)[1] == "TOKEN"
