"""What every request passes: sign-in, roles, CSRF, repeats under one key, limits, headers, faults."""

from __future__ import annotations

import json
import re
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from web_bench import PASSWORD, bench, people, receive, tube_code

from lis import auth, queries
from lis.db import Database
from lis.errors import StorageFull
from lis.ledger import verify
from lis.services import receiving


@pytest.fixture
def served(database_url, tmp_path: Path, clock):
    """A laboratory behind a real server, on each database."""
    with bench(database_url, tmp_path, clock) as found:
        yield found


@pytest.fixture
def small(tmp_path: Path, sqlite_template: Path, clock):
    """The same on the embedded database only, for what no database changes."""
    target = tmp_path / "lis.db"
    target.write_bytes(sqlite_template.read_bytes())
    with bench(f"sqlite:///{target}", tmp_path, clock) as found:
        yield found


# -- repeats under one key -----------------------------------------------------------------------


def test_the_same_request_under_one_key_is_done_once(served):
    """A repeat answers the stored reply, byte for byte, and says that it is a repeat."""
    anna = served.person("anna")
    order = {"barcode": tube_code(1), "persons": people(1), "sealed": True}
    first = anna.post("/api/v1/tubes", order, Idempotency_Key="k1")
    again = anna.post("/api/v1/tubes", order, Idempotency_Key="k1")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    assert "idempotent-replay" not in first.headers
    assert again.headers["idempotent-replay"] == "true"
    with served.lab.database.read() as conn:
        assert queries.count_of(conn, "event") == 3


def test_one_key_for_two_requests_is_a_conflict(served):
    """A key that was used for another body or another address is refused and nothing is done."""
    anna, bo = served.person("anna"), served.person("bo")
    anna.post("/api/v1/tubes", {"barcode": tube_code(1)}, Idempotency_Key="k1")
    for path, body in (
        ("/api/v1/tubes", {"barcode": tube_code(2)}),
        ("/api/v1/receipts", {"barcode": tube_code(1)}),
    ):
        answer = anna.post(path, body, Idempotency_Key="k1")
        assert (answer.status_code, answer.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")
    assert anna.get(f"/api/v1/tubes/{tube_code(2)}").status_code == 404
    assert bo.post("/api/v1/tubes", {"barcode": tube_code(2)}, Idempotency_Key="k1").status_code == 201
    too_long = anna.post("/api/v1/tubes", {"barcode": tube_code(3)}, Idempotency_Key="k" * 121)
    assert too_long.json()["code"] == "IDEMPOTENCY_KEY"


def test_many_at_once_under_one_key_have_one_effect(served):
    """Twelve simultaneous sends of one scan under one key record one receipt and answer alike."""
    anna = served.person("anna")
    anna.ok("/api/v1/tubes", {"barcode": tube_code(1), "persons": people(1), "sealed": True})
    bodies: list[bytes] = []

    def send() -> None:
        bodies.append(
            anna.post("/api/v1/receipts", {"barcode": tube_code(1)}, Idempotency_Key="scan").content
        )

    threads = [threading.Thread(target=send) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(bodies) == 12
    assert len(set(bodies)) == 1
    assert b'"outcome":"received"' in bodies[0]


def test_a_failure_at_commit_keeps_neither_effect_nor_key(served, monkeypatch):
    """When the transaction fails at its end, the reply is an error and the repeat does the work."""
    anna = served.person("anna")
    order = {"barcode": tube_code(1), "persons": people(1)}
    insert = queries.insert_rows

    def full(conn, table, rows):
        insert(conn, table, rows)
        if table == "idempotency":
            raise StorageFull("STORAGE_FULL", "The disk is full. Nothing was written.")

    with monkeypatch.context() as patch:
        patch.setattr(queries, "insert_rows", full)
        failed = anna.post("/api/v1/tubes", order, Idempotency_Key="k1")
    assert (failed.status_code, failed.json()["code"]) == (507, "STORAGE_FULL")
    assert failed.headers["retry-after"] == "1"
    with served.lab.database.read() as conn:
        assert (queries.count_of(conn, "event"), queries.count_of(conn, "tube")) == (0, 0)
        assert queries.stored_reply(conn, "k1", "anna") is None
    again = anna.post("/api/v1/tubes", order, Idempotency_Key="k1")
    assert again.status_code == 201
    assert "idempotent-replay" not in again.headers


def test_a_refusal_is_not_stored(served):
    """After the cause of a refusal is gone the same request under the same key succeeds."""
    anna = served.person("anna")
    seal = f"/api/v1/tubes/{tube_code(1)}/seal"
    anna.ok("/api/v1/tubes", {"barcode": tube_code(1)})
    assert anna.post(seal, {}, Idempotency_Key="s").json()["code"] == "TUBE_EMPTY"
    anna.ok(f"/api/v1/tubes/{tube_code(1)}/persons", people(1)[0])
    assert anna.post(seal, {}, Idempotency_Key="s").json()["state"] == "sealed"


def test_an_upload_is_repeated_under_its_key(served):
    """The content of the file is part of what a key stands for."""
    anna = served.person("anna")

    def send(data: bytes):
        return anna.http.post(
            "/api/v1/runs",
            files={"file": ("r.txt", data)},
            headers={"X-CSRF": anna.csrf, "Idempotency-Key": "u"},
        )

    first, again, other = send(b"one"), send(b"one"), send(b"two")
    assert again.headers["idempotent-replay"] == "true"
    assert first.content == again.content
    assert other.json()["code"] == "IDEMPOTENCY_CONFLICT"
    with served.lab.database.read() as conn:
        assert queries.count_of(conn, "file") == 1


# -- who asks ------------------------------------------------------------------------------------


def test_sign_in_and_out_over_the_api(served):
    """A sign-in gives a token and a strict cookie; after signing out both are worth nothing."""
    client = served.client()
    assert client.get("/api/v1/me").status_code == 401
    answer = client.post("/api/v1/sign-in", json={"name": "anna", "password": PASSWORD})
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    found = answer.json()
    assert client.get("/api/v1/me").json() == {
        "name": "anna", "full_name": "Anna", "role": "technician", "purpose": "session",
    }  # fmt: skip
    program = served.client(Authorization=f"Bearer {found['token']}")
    assert program.post("/api/v1/tubes", json={"barcode": tube_code(1)}).status_code == 201
    assert client.post("/api/v1/sign-out").json()["code"] == "CSRF"
    assert client.post("/api/v1/sign-out", headers={"X-CSRF": found["csrf"]}).status_code == 200
    for who in (client, program):
        refused = who.get("/api/v1/me")
        assert (refused.status_code, refused.json()["code"]) == (401, "SIGN_IN")
        assert refused.headers["www-authenticate"] == "Bearer"


def test_the_cookie_is_bound_to_this_host_when_served_over_https(tmp_path, sqlite_template, clock):
    """With secure cookies the cookie carries the __Host- prefix and Secure."""
    target = tmp_path / "lis.db"
    target.write_bytes(sqlite_template.read_bytes())
    with bench(f"sqlite:///{target}", tmp_path, clock, secure_cookies=True) as found:
        answer = found.client().post("/api/v1/sign-in", json={"name": "anna", "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-lis=")
    assert "Secure" in cookie
    assert "Path=/;" in cookie


def test_a_change_with_a_cookie_needs_its_csrf_token(small):
    """A cookie alone changes nothing: no token, a wrong token, another person's token are refused."""
    anna, bo = small.person("anna"), small.person("bo")
    for token in ("", "wrong", bo.csrf, "令牌".encode()):
        answer = anna.http.post("/api/v1/tubes", json={"barcode": tube_code(1)}, headers={"X-CSRF": token})
        assert (answer.status_code, answer.json()["code"]) == (403, "CSRF")
    assert anna.post("/api/v1/tubes", {"barcode": tube_code(1)}).status_code == 201


def test_wrong_passwords_make_a_name_wait_longer_each_time(small, clock):
    """From the fifth wrong password on a name waits, twice as long each time; others do not."""
    client = small.client()

    def attempt(name: str, password: str):
        return client.post("/api/v1/sign-in", json={"name": name, "password": password})

    for _ in range(5):
        assert attempt("anna", "wrong").json()["code"] == "SIGN_IN_WRONG"
    waiting = attempt("anna", PASSWORD)
    assert (waiting.status_code, waiting.json()["code"], waiting.headers["retry-after"]) == (429, "WAIT", "1")
    clock.advance(timedelta(seconds=1))
    assert attempt("anna", "wrong").status_code == 401
    assert attempt("anna", PASSWORD).headers["retry-after"] == "2"
    assert attempt("nobody", PASSWORD).json() == attempt("nobody", PASSWORD).json()
    assert attempt("bo", PASSWORD).status_code == 200
    clock.advance(timedelta(seconds=2))
    assert attempt("anna", PASSWORD).status_code == 200
    assert attempt("anna", "wrong").status_code == 401


def test_an_unknown_name_costs_the_same_hash_as_a_wrong_password(small, monkeypatch):
    """The slow hash is checked also for a name that does not exist, so that time tells nothing."""
    checked = []
    original = auth.verify

    def counted(row_password: str, password: str) -> bool:
        checked.append(row_password[:10])
        return original(row_password, password)

    monkeypatch.setattr(auth, "verify", counted)
    for name in ("anna", "nobody"):
        small.client().post("/api/v1/sign-in", json={"name": name, "password": "wrong"})
    assert checked == ["$argon2id$", "$argon2id$"]


def test_a_sign_in_ends_when_idle_and_at_latest_after_its_time(small, clock):
    """An hour without a request ends a sign-in; eight hours end it in any case."""
    anna, bo = small.person("anna"), small.person("bo")
    assert anna.get("/api/v1/me").status_code == 200
    clock.advance(timedelta(minutes=61))
    assert anna.get("/api/v1/me").status_code == 401
    for _ in range(7):
        assert bo.get("/api/v1/me").status_code == 200
        clock.advance(timedelta(minutes=59))
    clock.advance(timedelta(minutes=59))
    assert bo.get("/api/v1/me").status_code == 401


def test_a_closed_account_is_out_within_two_seconds(small, monkeypatch):
    """A revoked sign-in is refused as soon as the short memory of look-ups has passed."""
    from lis.web import sessions

    anna = small.person("anna")
    assert anna.get("/api/v1/me").status_code == 200
    with small.lab.database.write("root") as unit:
        queries.update_row(unit.conn, "account", {"name": "anna"}, active=False)
    assert sessions.CACHE_SECONDS <= 2.0
    monkeypatch.setattr(sessions, "CACHE_SECONDS", 0.0)
    assert anna.get("/api/v1/me").status_code == 401


ROUTES = [
    ("GET", "/api/v1/worklists/plate", {"anna", "bo", "cai", "root"}),
    ("POST", "/api/v1/tubes", {"anna", "bo", "cai"}),
    ("POST", "/api/v1/receipts", {"anna", "bo", "cai"}),
    ("POST", "/api/v1/pools", {"anna", "bo", "cai"}),
    ("POST", "/api/v1/plates", {"anna", "bo", "cai"}),
    ("POST", "/api/v1/reviews", {"bo", "cai"}),
    ("POST", "/api/v1/reports/release", {"bo", "cai"}),
    ("POST", "/api/v1/reports/R1/amend", {"bo", "cai"}),
    ("POST", "/api/v1/reports/R1/amend/withdraw", {"bo", "cai"}),
    ("POST", "/api/v1/files/f/dismiss", {"bo", "cai"}),
    ("POST", "/api/v1/persons/search", {"bo", "cai"}),
    ("POST", "/api/v1/tubes/1/discard", {"bo", "cai"}),
]
BODIES = {
    "/api/v1/tubes": {"barcode": "1"},
    "/api/v1/receipts": [{"barcode": "1"}],
    "/api/v1/pools": {"members": ["1"]},
    "/api/v1/plates": {},
    "/api/v1/reviews": {"tube": "1", "verdict": "accept"},
    "/api/v1/reports/release": {"tubes": ["1"]},
    "/api/v1/reports/R1/amend": {"result": "negative", "reason": "x"},
    "/api/v1/persons/search": {"document_number": "11"},
}


def test_every_role_may_do_its_work_and_no_more(small):
    """Each route lets exactly its roles pass; an unsigned request passes none."""
    who = {name: small.person(name) for name in ("anna", "bo", "cai", "root", "qs5-1")}
    stranger = small.client()
    for method, path, allowed in ROUTES:
        body = BODIES.get(path, {"reason": "x"})
        assert stranger.request(method, path, json=body).status_code == 401, path
        for name, person in who.items():
            answer = person.get(path) if method == "GET" else person.post(path, body)
            refused = answer.status_code == 403
            assert refused == (name not in allowed), (name, path, answer.text)


# -- faults, limits, headers ---------------------------------------------------------------------


def test_a_fault_of_the_program_shows_nothing_of_its_inside(small, monkeypatch, caplog):
    """An unexpected exception answers INTERNAL, writes the traceback to the log and nothing to the database."""
    anna = small.person("anna")

    def broken(*args, **options):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(receiving, "register", broken)
    answer = anna.post("/api/v1/tubes", {"barcode": tube_code(1)})
    assert (answer.status_code, answer.json()["code"]) == (500, "INTERNAL")
    assert "secret" not in answer.text
    assert any(record.exc_info and "secret detail" in str(record.exc_info[1]) for record in caplog.records)
    assert 'lis_errors_total{code="INTERNAL"} 1.0' in anna.get("/metrics").text


def test_a_locked_database_says_busy_and_writes_nothing(tmp_path, sqlite_template, clock):
    """While another program holds the database a scan is answered 503, and succeeds afterwards."""
    target = tmp_path / "lis.db"
    target.write_bytes(sqlite_template.read_bytes())
    with bench(f"sqlite:///{target}", tmp_path, clock) as found:
        anna = found.person("anna")
        anna.get("/api/v1/me")
        object.__setattr__(found.lab, "database", Database(f"sqlite:///{target}", clock, busy_seconds=0.1))
        other = Database(f"sqlite:///{target}", clock)
        order = {"barcode": tube_code(1)}
        with other.write("other"):
            answer = anna.post("/api/v1/tubes", order, Idempotency_Key="k")
            assert (answer.status_code, answer.json()["code"]) == (503, "DATABASE_BUSY")
            assert answer.headers["retry-after"] == "1"
        other.close()
        assert anna.post("/api/v1/tubes", order, Idempotency_Key="k").status_code == 201


def test_every_answer_carries_its_protection(small):
    """Pages, API, files and errors all forbid framing, sniffing and anything from other hosts."""
    anna = small.person("anna")
    for path in ("/", "/api/v1/me", "/static/lis.css", "/nothing", "/api/v1/nothing", "/healthz", "/sign-in"):
        headers = anna.get(path).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["x-frame-options"] == "DENY"
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy


def test_an_unknown_address_and_a_wrong_method_are_problems_too(small):
    """What the framework refuses by itself looks like every other refusal."""
    anna = small.person("anna")
    for answer, status in ((anna.get("/api/v1/nothing"), 404), (anna.post("/api/v1/worklists/plate"), 405)):
        assert answer.headers["content-type"].startswith("application/problem+json")
        found = answer.json()
        assert (found["status"], set(found) >= {"type", "title", "detail", "code"}) == (status, True)


def test_health_says_whether_the_server_can_work(served):
    """Ready needs the database at its newest schema and space on the disk."""
    client = served.client()
    found = client.get("/healthz")
    assert found.status_code == 200
    checks = found.json()["checks"]
    assert checks["database"]["schema"] == checks["database"]["newest"]
    assert checks["disk"]["free_bytes"] > 0
    with served.lab.database.engine.connect() as conn, conn.begin():
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = 'older'")
    behind = client.get("/healthz")
    assert (behind.status_code, behind.json()["ready"]) == (503, False)


def test_metrics_tell_the_queues_and_no_barcodes(served):
    """Prometheus reads tubes by state and the queues; a barcode is never a label."""
    anna = served.person("anna")
    codes = receive(anna, 1, 2, 3)
    anna.ok("/api/v1/tubes", {"barcode": tube_code(9), "persons": people(1), "sealed": True})
    anna.get(f"/api/v1/tubes/{codes[0]}")
    served.lab.database.clock.advance(timedelta(minutes=5))
    text = served.client().get("/metrics").text
    assert 'lis_tubes{state="received"} 3.0' in text
    assert 'lis_tubes{state="sealed"} 1.0' in text
    assert "lis_oldest_unreported_age_seconds 300.0" in text
    for name in (
        "lis_retest_queue",
        "lis_recalls_open",
        "lis_files_quarantined",
        "lis_amendments_open",
        "lis_alarms_open",
    ):
        assert f"{name} 0.0" in text
    assert 'route="/api/v1/tubes/{barcode}"' in text
    assert codes[0] not in text


def test_the_api_describes_itself_without_any_other_host(small):
    """OpenAPI names the routes of the surfaces; neither it nor its page points anywhere else."""
    client = small.client()
    found = client.get("/api/v1/openapi.json")
    paths = found.json()["paths"]
    for path in (
        "/tubes", "/tubes/{barcode}", "/tubes/{barcode}/persons", "/tubes/{barcode}/seal", "/receipts", "/pools",
        "/plates", "/runs", "/worklists/{name}", "/reviews", "/reports/release", "/reports/{report_id}",
    ):  # fmt: skip
        assert f"/api/v1{path}" in paths
    page = client.get("/api/v1/docs").text
    for text in (json.dumps(found.json()), page):
        assert not re.findall(r"(?:https?:)?//[\w.-]+\.\w", text)
    for asset in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert client.get(asset).status_code == 200, asset


def test_the_log_verifies_after_everything(served):
    """What was done over HTTP folds to the state that the server shows."""
    anna = served.person("anna")
    receive(anna, *range(1, 8))
    anna.post("/api/v1/tubes", {"barcode": tube_code(1)})
    anna.ok("/api/v1/pools", {"members": [tube_code(n) for n in range(1, 6)]})
    with served.lab.database.read() as conn:
        assert verify(conn).ok
