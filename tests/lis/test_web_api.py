"""The API over a real server: every answer, refusal and repeat that a program may rely on."""

from __future__ import annotations

import threading
from datetime import timedelta
from pathlib import Path

import pytest
from moments import NOON
from web_bench import PASSWORD, bench, people, plate, receive, run_file, tube_code, upload

from lis import auth, queries
from lis.clock import FixedClock
from lis.ledger import verify


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


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path):
    """One laboratory for many refusals, none of which changes it."""
    folder = tmp_path_factory.mktemp("unchanged")
    target = folder / "lis.db"
    target.write_bytes(sqlite_template.read_bytes())
    with bench(f"sqlite:///{target}", folder, FixedClock(NOON)) as found:
        yield found


def problem(answer, status: int, code: str) -> dict:
    """The problem document of a refusal, checked for its shape."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    found = answer.json()
    assert (found["status"], found["code"]) == (status, code)
    assert found["detail"].endswith((".", "!"))
    assert any("\u4e00" <= letter <= "\u9fff" for letter in found["detail_zh"])
    assert "…" not in found["detail_zh"], f"{code} lacks details: {found['detail_zh']}"
    return found


# -- tubes ---------------------------------------------------------------------------------------


def test_a_tube_is_registered_bound_sealed_and_received(served):
    """The way from the swab to the rack over HTTP ends with a received tube and its full history."""
    anna = served.person("anna")
    code = tube_code(1)
    assert anna.post("/api/v1/tubes", {"barcode": code, "kind": "mixed", "places": 5}).status_code == 201
    for person in people(2):
        assert anna.post(f"/api/v1/tubes/{code}/persons", person).status_code == 201
    problem(anna.post(f"/api/v1/tubes/{code}/seal"), 409, "SEAL_REASON")
    assert anna.ok(f"/api/v1/tubes/{code}/seal", {"reason": "end of the queue"})["state"] == "sealed"
    got = anna.ok("/api/v1/receipts", {"barcode": f" {code}\r\n", "rack": "R1", "position": "A1"})
    assert got["counts"] == {"received": 1}
    tube = anna.get(f"/api/v1/tubes/{code}").json()
    kinds = [entry["kind"] for entry in tube["history"]]
    assert kinds == ["Registered", "PersonBound", "PersonBound", "Sealed", "Received"]
    assert (tube["state"], tube["rack"], tube["position"]) == ("received", "R1", "A1")
    assert (tube["forecast"]["gate"], tube["forecast"]["p50"]) == ("plating", None)
    assert [person["name"] for person in tube["people"]] == ["王**", "王**"]
    assert "1380000" not in anna.get(f"/api/v1/tubes/{code}").text


def test_ten_persons_come_with_one_sealed_tube(served):
    """One request registers a sealed mixed tube with its ten persons."""
    anna = served.person("anna")
    order = {"barcode": tube_code(1), "kind": "mixed", "places": 10, "persons": people(10), "sealed": True}
    made = anna.ok("/api/v1/tubes", order)
    assert (made["state"], made["persons"]) == ("sealed", 10)


@pytest.mark.parametrize(
    ("order", "status", "code"),
    [
        ({"barcode": tube_code(1) * 2}, 422, "BARCODE_MERGED"),
        ({"barcode": tube_code(1)[:-1] + "0"}, 422, "BARCODE_CHECK"),
        ({"barcode": "hello"}, 422, "BARCODE_SHAPE"),
        ({"barcode": tube_code(1), "kind": "mixed", "places": 7}, 422, "PLACES"),
        ({"barcode": tube_code(1), "tier": "tomorrow"}, 404, "TIER_UNKNOWN"),
        (
            {"barcode": tube_code(1), "persons": people(1) * 2, "kind": "mixed", "places": 5},
            409,
            "PERSON_TWICE",
        ),
        ({"barcode": tube_code(1), "persons": people(2)}, 409, "TUBE_FULL"),
        ({"barcode": tube_code(1), "sealed": True}, 409, "TUBE_EMPTY"),
        (
            {"barcode": tube_code(1), "persons": [people(1)[0] | {"document_type": "resident_id"}]},
            422,
            "DOCUMENT_NUMBER",
        ),
        ({"barcode": tube_code(1), "persons": [people(1)[0] | {"name": " "}]}, 422, "PERSON_NAME"),
        ({"barcode": tube_code(1), "colour": "red"}, 422, "REQUEST_SHAPE"),
        ({"barcode": tube_code(1), "places": "many"}, 422, "REQUEST_SHAPE"),
        ({"barcode": tube_code(1), "sampled_at": "2022-12-21T08:00:00"}, 422, "REQUEST_SHAPE"),
        ({}, 422, "REQUEST_SHAPE"),
    ],
)
def test_a_wrong_registration_is_refused_with_its_reason(unchanged, order, status, code):
    """Each wrong registration names what is wrong, and leaves nothing behind."""
    anna = unchanged.person("anna")
    problem(anna.post("/api/v1/tubes", order), status, code)
    assert anna.get(f"/api/v1/tubes/{tube_code(1)}").status_code == 404


def test_a_validation_error_names_the_field_in_plain_words(small):
    """A wrong field deep in a list is named by its path."""
    anna = small.person("anna")
    order = {"barcode": tube_code(1), "persons": [{"name": "王"}]}
    found = problem(anna.post("/api/v1/tubes", [order]), 422, "REQUEST_SHAPE")
    assert "1.persons.1.document_number: is missing" in found["detail"]
    broken = anna.http.post("/api/v1/tubes", content=b"{", headers={"X-CSRF": anna.csrf})
    problem(broken, 422, "REQUEST_SHAPE")


def test_a_tube_in_use_cannot_be_registered_again(served):
    """A second registration of a code is refused, whoever asks."""
    anna = served.person("anna")
    anna.ok("/api/v1/tubes", {"barcode": tube_code(1)})
    problem(anna.post("/api/v1/tubes", {"barcode": tube_code(1)}), 409, "TUBE_IN_USE")
    problem(anna.post("/api/v1/tubes", [{"barcode": tube_code(2)}] * 2), 409, "TUBE_TWICE")
    assert anna.get(f"/api/v1/tubes/{tube_code(2)}").status_code == 404


def test_one_document_cannot_carry_two_names(served):
    """A document that is registered under another name stops the registration."""
    anna = served.person("anna")
    anna.ok("/api/v1/tubes", {"barcode": tube_code(1), "persons": people(1)})
    other = people(1)[0] | {"name": "李四"}
    problem(anna.post("/api/v1/tubes", {"barcode": tube_code(2), "persons": [other]}), 409, "PERSON_DIFFERS")


# -- reception -----------------------------------------------------------------------------------


def test_every_scan_of_a_rack_gets_its_own_answer(served):
    """A rack with good, repeated, unknown, merged and misplaced scans answers each of them."""
    anna = served.person("anna")
    first, second = receive(anna, 1, 2)
    answer = anna.ok(
        "/api/v1/receipts",
        [
            {"barcode": first, "rack": "R1", "position": "A1"},
            {"barcode": second, "rack": "R9", "position": "C3"},
            {"barcode": tube_code(77), "rack": "R9", "position": "C4"},
            {"barcode": first + second},
            {"barcode": ""},
        ],
    )
    said = [(scan["outcome"], scan["code"]) for scan in answer["scans"]]
    assert said == [
        ("repeat", "ALREADY_RECEIVED"),
        ("refused", "RECEIVED_ELSEWHERE"),
        ("held", "TUBE_UNKNOWN"),
        ("refused", "BARCODE_MERGED"),
        ("refused", "BARCODE_SHAPE"),
    ]
    for sentence in (answer["scans"][1]["sentence"], answer["scans"][1]["sentence_zh"]):
        for part in ("anna", "2022-12-21 12:00:00 UTC", "R1"):
            assert part in sentence
    assert answer["scans"][2]["hold_number"] == 1
    assert "1 号" in answer["scans"][2]["sentence_zh"]
    assert [tube["barcode"] for tube in anna.get("/api/v1/worklists/hold").json()["tubes"]] == [tube_code(77)]


def test_worklists_are_sifted_as_their_pages_are(served):
    """Site, tier, kind, state, age and text let through what fits all of them, as the page does; the API says so."""
    anna = served.person("anna")
    old = {"sampled_at": "2022-12-21T08:00:00Z"}
    odd = [{"tier": "fever"}, {"site": "S02"}, {"kind": "mixed", "places": 5, "reason": "few"}, old, {}]
    codes = [tube_code(n) for n in range(1, 6)]
    for n, code in enumerate(codes):
        about = {"site": "S01", "persons": people(1, f"W{n}"), "sealed": True} | odd[n]
        anna.ok("/api/v1/tubes", {"barcode": code} | about)
        anna.ok("/api/v1/receipts", {"barcode": code, "rack": f"R{n}", "position": "A1"})

    def listed(name: str, query: str) -> list[str]:
        return sorted(one["barcode"] for one in anna.get(f"/api/v1/worklists/{name}?{query}").json()["tubes"])

    for query, wanted in {
        "": codes,
        "tier=fever": codes[:1],
        "site=S02": codes[1:2],
        "kind=mixed": codes[2:3],
        "kind=single&site=S01&tier=voluntary": codes[3:],
        "age=3": codes[3:4],
        "q=R4": codes[4:],
        f"q={codes[1][:-2]}": [code for code in codes if code.startswith(codes[1][:-2])],
        "state=sealed": [],
    }.items():
        assert listed("plate", query) == wanted, query
    shown = anna.get("/worklists/plate?kind=single&site=S01", headers={"Accept": "text/html"}).text
    assert [code for code in codes if f"/tubes/{code}" in shown] == listed("plate", "kind=single&site=S01")
    anna.ok(f"/api/v1/tubes/{codes[0]}/reject", {"reason": "leaked"})
    anna.ok(f"/api/v1/tubes/{codes[1]}/reject", {"reason": "leaked"})
    for query, wanted in {"": codes[:2], "site=S02": codes[1:2], "site=S09": []}.items():
        called = anna.get(f"/api/v1/worklists/recollect?{query}").json()
        assert sorted(one["tube"] for one in called["recalls"]) == wanted
    problem(anna.get("/api/v1/worklists/quarantine?tier=fever"), 422, "LIST_FILTER")
    problem(anna.get("/api/v1/worklists/plate?age=old"), 422, "REQUEST_SHAPE")
    described = anna.get("/api/v1/openapi.json").json()["paths"]["/api/v1/worklists/{name}"]["get"][
        "parameters"
    ]
    about = {one["name"]: one.get("description", "") for one in described}
    assert all(about[name] for name in ("tier", "state", "kind", "site", "age", "q"))


def test_two_technicians_scanning_the_same_200_tubes_make_200_receipts(served):
    """Two stations send the same tubes at once: each tube is received exactly once, nothing else happens."""
    anna, bo = served.person("anna"), served.person("bo")
    codes = [tube_code(number) for number in range(1, 201)]
    anna.ok(
        "/api/v1/tubes",
        [
            {"barcode": code, "persons": [one], "sealed": True}
            for code, one in zip(codes, people(200), strict=True)
        ],
    )
    outcomes: dict[str, list[str]] = {"anna": [], "bo": []}

    def station(who, rack: str) -> None:
        for start in range(0, 200, 8):
            scans = [
                {"barcode": code, "rack": rack, "position": code[-4:]} for code in codes[start : start + 8]
            ]
            outcomes[who.name] += [scan["outcome"] for scan in who.ok("/api/v1/receipts", scans)["scans"]]

    threads = [threading.Thread(target=station, args=(who, rack)) for who, rack in ((anna, "R1"), (bo, "R2"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    both = outcomes["anna"] + outcomes["bo"]
    assert (both.count("received"), both.count("refused"), len(both)) == (200, 200, 400)
    with served.lab.database.read() as conn:
        assert sum(queries.event_counts(conn, "Received", "rack").values()) == 200
        assert verify(conn).ok


# -- pools and plates ----------------------------------------------------------------------------


def test_a_tube_is_in_one_open_pool_and_a_mixed_tube_in_none(served):
    """Pools over HTTP refuse a mixed tube, a pool, a tube twice and a tube of another pool."""
    anna = served.person("anna")
    singles = receive(anna, *range(1, 7))
    (mixed,) = receive(anna, 20, kind="mixed", places=5, rack="R2")
    pool = anna.ok("/api/v1/pools", {"members": singles[:5]})
    assert (pool["kind"], pool["persons"], pool["members"]) == ("pool", 5, singles[:5])
    problem(anna.post("/api/v1/pools", {"members": [singles[0], singles[5]]}), 409, "IN_TWO_POOLS")
    problem(anna.post("/api/v1/pools", {"members": [mixed, singles[5]]}), 409, "NESTED_POOL")
    problem(anna.post("/api/v1/pools", {"members": [pool["barcode"], singles[5]]}), 409, "NESTED_POOL")
    problem(anna.post("/api/v1/pools", {"members": []}), 422, "POOL_EMPTY")
    assert anna.get(f"/api/v1/tubes/{singles[5]}").json()["state"] == "received"


def test_a_plate_is_made_loaded_by_scan_and_given_up(served):
    """A plate is proposed, made, refused under a wrong scan, loaded once and voided with a reason."""
    anna = served.person("anna")
    codes = receive(anna, *range(1, 5))
    proposal = anna.get("/api/v1/plates/proposal").json()
    assert {well["tube"] for well in proposal["wells"] if well["tube"]} == set(codes)
    made = anna.ok("/api/v1/plates", {"barcode": "P00000018"})
    assert made["plate_id"] == "P00000018"
    problem(anna.post("/api/v1/plates", {}), 409, "NOTHING_TO_PLATE")
    receive(anna, 9, rack="R2")
    problem(anna.post("/api/v1/plates", {"barcode": "P00000018"}), 409, "PLATE_EXISTS")
    load = "/api/v1/plates/P00000018/load"
    problem(anna.post(load, {"barcode": "P00000026", "instrument": "qs5-1"}), 409, "OTHER_PLATE")
    problem(anna.post(load, {"barcode": "P00000018", "instrument": " "}), 422, "INSTRUMENT")
    assert anna.ok(load, {"barcode": "P00000018", "instrument": "qs5-1"})["state"] == "running"
    problem(anna.post(load, {"barcode": "P00000018", "instrument": "qs5-1"}), 409, "PLATE_STATE")
    problem(anna.post("/api/v1/plates/P00000018/void", {"reason": ""}), 422, "REASON")
    assert anna.ok("/api/v1/plates/P00000018/void", {"reason": "dropped"})["requeued"] == 4
    assert len(anna.get("/api/v1/worklists/retest").json()["tubes"]) == 4
    problem(anna.get("/api/v1/plates/P00000026"), 404, "PLATE_UNKNOWN")


def test_a_plate_by_hand_keeps_its_control_wells(small):
    """By hand a tube cannot stand in a control well, in a taken well or twice on a plate."""
    anna = small.person("anna")
    first, second = receive(anna, 1, 2)
    kept = small.lab.rules.template("").controls[0][1]
    for wells, code in [
        ([{"well": kept, "tube": first}], "CONTROL_WELL"),
        ([{"well": "A1", "tube": first}, {"well": "A1", "tube": second}], "WELL_TAKEN"),
        ([{"well": "A1", "tube": first}, {"well": "B1", "tube": first}], "TUBE_TWICE"),
        ([{"well": "Z99", "tube": first}], "WELL_UNKNOWN"),
        ([{"well": "A1"}], "WELL_CONTENT"),
    ]:
        answer = anna.post("/api/v1/plates", {"wells": wells})
        problem(answer, 422 if code in {"WELL_UNKNOWN", "WELL_CONTENT"} else 409, code)
    assert anna.get("/api/v1/plates").json()["plates"] == []


# -- files ---------------------------------------------------------------------------------------


def test_a_run_is_uploaded_read_and_its_negatives_released(served):
    """An upload answers what became of it; the same file again changes nothing."""
    anna = served.person("anna")
    codes = receive(anna, *range(1, 9))
    made = plate(anna)
    data = run_file(served, made, {codes[2]: 22.0})
    found = upload(anna, data, f"{made['plate_id']}.txt").json()
    assert (found["state"], found["plate"], found["status"]) == ("read", made["plate_id"], "stored")
    released = set(found["reports"])
    assert codes[2] not in released
    assert codes[0] in released or codes[0] in found["held"]
    again = upload(anna, data, f"{made['plate_id']}.txt").json()
    assert (again["status"], again["state"], again["reports"]) == ("duplicate", "read", {})
    states = {tube["barcode"]: tube["state"] for tube in anna.get("/api/v1/worklists/review").json()["tubes"]}
    assert states[codes[2]] == "in_review"


def test_a_file_that_fits_no_plate_waits_in_quarantine(served):
    """Junk, a cut file, a foreign plate and missing wells are kept with a reason; retry and dismiss work."""
    anna, bo = served.person("anna"), served.person("bo")
    receive(anna, *range(1, 5))
    made = plate(anna)
    whole = run_file(served, made, {})
    short = run_file(served, {**made, "wells": made["wells"][:-1]}, {})
    cases = {
        "junk.bin": (b"\x00\x01\x02" * 50, {}),
        "empty.txt": (b"", {}),
        "cut.txt": (whole[: len(whole) // 2], {"run": "cut"}),
        "other.txt": (whole.replace(made["plate_id"].encode(), b"P00000091"), {"run": "other"}),
        "short.txt": (short, {"run": "short"}),
    }
    codes = {}
    for name, (data, fields) in cases.items():
        answer = upload(anna, data, name, **fields)
        assert answer.status_code == 200, answer.text
        codes[name] = (answer.json()["state"], answer.json()["code"])
    assert {state for state, _ in codes.values()} == {"quarantined"}
    assert codes["other.txt"][1] == "UNKNOWN_PLATE"
    assert codes["short.txt"][1] == "WELL_MISSING"
    files = {row["name"]: row for row in anna.get("/api/v1/worklists/quarantine").json()["files"]}
    assert set(files) == set(cases)
    problem(anna.post(f"/api/v1/files/{files['junk.bin']['file_id']}/retry"), 403, "ROLE")
    again = bo.ok(f"/api/v1/files/{files['other.txt']['file_id']}/retry", {})
    assert again["state"] == "quarantined"
    dismiss = f"/api/v1/files/{files['junk.bin']['file_id']}/dismiss"
    problem(bo.post(dismiss, {"reason": " "}), 422, "REASON")
    bo.ok(dismiss, {"reason": "a photograph"})
    problem(bo.post(dismiss, {"reason": "a photograph"}), 409, "FILE_STATE")
    assert upload(anna, whole, "whole.txt", run="whole").json()["state"] == "read"


def test_the_same_run_with_another_content_is_a_conflict_with_an_alarm(served):
    """A second content of one run is kept aside, raises an alarm, and moves no tube."""
    anna = served.person("anna")
    codes = receive(anna, *range(1, 5))
    made = plate(anna)
    upload(anna, run_file(served, made, {}), "a.txt", run="17", device="qs5-1")
    second = upload(anna, run_file(served, made, {codes[0]: 20.0}), "a.txt", run="17", device="qs5-1").json()
    assert (second["conflict"], second["code"]) == (True, "RUN_CONFLICT")
    alarms = anna.get("/api/v1/alarms").json()["alarms"]
    assert [alarm["code"] for alarm in alarms] == ["RUN_CONFLICT"]
    anna.ok(f"/api/v1/alarms/{alarms[0]['alarm_id']}/clear")
    assert anna.get("/api/v1/alarms").json()["alarms"] == []
    assert anna.get(f"/api/v1/tubes/{codes[0]}").json()["outcome"] == "negative"


def test_an_instrument_token_speaks_for_itself_only(served):
    """A token of an instrument uploads under its own name and may do nothing else."""
    anna = served.person("anna")
    receive(anna, *range(1, 5))
    made = plate(anna)
    with served.lab.database.write("root") as unit:
        token = auth.open_token(unit, "qs5-1", days=1).secret
    program = served.client(Authorization=f"Bearer {token}")
    data = run_file(served, made, {})
    sent = program.post("/api/v1/runs", files={"file": ("r.txt", data)}, data={"device": "another"})
    assert sent.json()["state"] == "read"
    assert anna.get("/api/v1/files").json()["files"][0]["device"] == "qs5-1"
    problem(program.get("/api/v1/worklists/plate"), 403, "ROLE")
    problem(program.post("/api/v1/tubes", json={"barcode": tube_code(9)}), 403, "ROLE")


def test_a_file_of_200_megabytes_is_refused_before_it_fills_the_memory(small):
    """More bytes than a run file may have are refused by their announced length, and nothing is kept."""
    anna = small.person("anna")

    def endless():
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="run.txt"\r\n\r\n'
        for _ in range(70):
            yield b"x" * 1_000_000

    headers = {"X-CSRF": anna.csrf, "Content-Type": "multipart/form-data; boundary=b"}
    answer = anna.http.post("/api/v1/runs", content=endless(), headers=headers)
    assert answer.status_code == 413
    answer = anna.post("/api/v1/tubes", {"barcode": "x" * 5_000_000})
    assert answer.status_code == 413
    assert anna.get("/api/v1/files").json()["files"] == []


# -- review and reports --------------------------------------------------------------------------


def test_a_positive_needs_two_people_and_its_correction_keeps_the_original(served):
    """Two different people sign a positive; the report exists as JSON and PDF; an amendment keeps it."""
    anna, bo, cai = served.person("anna"), served.person("bo"), served.person("cai")
    codes = receive(anna, *range(1, 9))
    made = plate(anna)
    upload(anna, run_file(served, made, {codes[2]: 22.0}), "r.txt")
    sign = {"tube": codes[2], "verdict": "accept"}
    problem(anna.post("/api/v1/reviews", sign), 403, "ROLE")
    problem(bo.post("/api/v1/reviews", sign | {"verdict": "maybe"}), 422, "VERDICT")
    assert bo.ok("/api/v1/reviews", sign)["tubes"][0]["signatures_missing"] == 1
    problem(bo.post("/api/v1/reviews", sign), 403, "SAME_PERSON")
    problem(cai.post("/api/v1/reports/release", {"tubes": [codes[2]]}), 409, "SIGNATURES")
    assert cai.get("/api/v1/worklists/release").json()["tubes"] == []
    assert cai.ok("/api/v1/reviews", sign)["tubes"][0]["signatures_missing"] == 0
    assert [tube["barcode"] for tube in cai.get("/api/v1/worklists/release").json()["tubes"]] == [codes[2]]
    (number,) = cai.ok("/api/v1/reports/release", {"tubes": [codes[2]]})["tubes"][codes[2]]
    report = cai.get(f"/api/v1/reports/{number}").json()
    assert codes[2] in str(report)
    for options in (
        {"params": {"format": "pdf", "language": "zh"}},
        {"headers": {"Accept": "application/pdf"}},
    ):
        pdf = cai.get(f"/api/v1/reports/{number}", **options)
        assert pdf.content.startswith(b"%PDF-")
        assert pdf.headers["content-type"] == "application/pdf"
    problem(cai.get(f"/api/v1/reports/{number}?format=pdf&language=fr"), 422, "LANGUAGE")
    problem(cai.get(f"/api/v1/reports/{number}?format=doc"), 422, "FORMAT")
    problem(cai.get("/api/v1/reports/R000000-0000000"), 404, "REPORT_UNKNOWN")
    problem(bo.post("/api/v1/reviews", sign), 409, "NOT_IN_REVIEW")
    amend = f"/api/v1/reports/{number}/amend"
    problem(anna.post(amend, {"result": "negative", "reason": "x"}), 403, "ROLE")
    problem(bo.post(amend, {"result": "positive", "reason": "typed wrong"}), 409, "NOTHING_CHANGED")
    asked = {"result": "inconclusive", "reason": "sample swapped"}
    answer = bo.post(amend, asked)
    assert answer.status_code == 202
    assert answer.json() == {
        "status": "proposed",
        "report_id": None,
        "amends": number,
        "result": "inconclusive",
        "in_force": number,
        "signatures": 1,
        "signatures_needed": 2,
    }
    problem(bo.post(amend, asked), 403, "SAME_PERSON")
    problem(cai.post(amend, {"result": "negative", "reason": "x"}), 409, "AMENDMENT_OPEN")
    (open_one,) = anna.get("/api/v1/amendments").json()["amendments"]
    assert (open_one["report_id"], open_one["result"], open_one["signers"]) == (
        number,
        "inconclusive",
        ["bo"],
    )
    problem(anna.post(f"{amend}/withdraw", {"reason": "x"}), 403, "ROLE")
    assert cai.ok(f"{amend}/withdraw", {"reason": "looked again"})["status"] == "withdrawn"
    problem(cai.post(f"{amend}/withdraw", {"reason": "x"}), 409, "AMENDMENT_CLOSED")
    assert cai.ok(amend, asked)["status"] == "proposed"
    done = bo.post(amend, {"result": "inconclusive"}, Idempotency_Key="agree-1")
    assert (done.status_code, done.json()["status"]) == (201, "amended")
    assert bo.post(amend, {"result": "inconclusive"}, Idempotency_Key="agree-1").json() == done.json()
    later = done.json()["report_id"]
    assert done.json()["in_force"] == later
    assert anna.get("/api/v1/amendments").json() == {"amendments": []}
    problem(bo.post(amend, {"result": "negative", "reason": "x"}), 409, "REPORT_SUPERSEDED")
    assert bo.get(f"/api/v1/reports/{number}").json()["result"] == report["result"]
    seal = served.lab.database
    with seal.read() as conn:
        sealed = queries.report_row(conn, number)["seal"][:16]
    stranger = served.client()
    found = stranger.get(f"/api/v1/verify/{number}?seal={sealed}")
    assert found.json()["genuine"] is True
    assert found.json()["corrected"] is True
    for word in ("王", "13800", "document", codes[2]):
        assert word not in found.text
    assert stranger.get(f"/api/v1/verify/{number}?seal={'0' * 16}").json()["genuine"] is False
    assert stranger.get(f"/api/v1/verify/{number}?seal=").json()["genuine"] is False
    assert later in bo.get(f"/api/v1/tubes/{codes[2]}").text


def test_a_reviewer_sends_a_tube_back_with_a_reason(served):
    """A retest or a new swab instead of a signature needs a reason and fills the right worklist."""
    anna, bo = served.person("anna"), served.person("bo")
    codes = receive(anna, *range(1, 9))
    made = plate(anna)
    upload(anna, run_file(served, made, {codes[1]: 22.0, codes[6]: 25.0}), "r.txt")
    problem(bo.post("/api/v1/reviews", {"tube": codes[1], "verdict": "retest"}), 422, "REASON")
    bo.ok("/api/v1/reviews", {"tube": codes[1], "verdict": "second-kit", "reason": "check"})
    bo.ok("/api/v1/reviews", {"tube": codes[6], "verdict": "recollect", "reason": "leaked"})
    (again,) = bo.get("/api/v1/worklists/retest").json()["tubes"]
    assert (again["barcode"], again["test"], again["rack"]) == (codes[1], "second-kit", "R1")
    recollect = bo.get("/api/v1/worklists/recollect").json()
    assert [tube["barcode"] for tube in recollect["tubes"]] == [codes[6]]
    (call,) = recollect["recalls"]
    assert "*" in call["phone"]
    contact = bo.ok(f"/api/v1/persons/{call['person_id']}/contact")
    assert contact["phone"].startswith("1380000")
    problem(anna.post(f"/api/v1/persons/{call['person_id']}/contact"), 403, "ROLE")
    assert 'lis_person_lookups_total{how="contact"} 1.0' in bo.get("/metrics").text


# -- hold tray, storage, search ------------------------------------------------------------------


def test_the_hold_tray_is_emptied_by_registering_clearing_or_rejecting(served):
    """Unknown tubes are registered or rejected, damaged ones cleared or rejected, each with a reason."""
    anna = served.person("anna")
    good, bad = receive(anna, 1, 2)
    problem(anna.post(f"/api/v1/tubes/{good}/hold", {"reason": ""}), 422, "REASON")
    for code in (good, bad):
        anna.ok(f"/api/v1/tubes/{code}/hold", {"reason": "leaking"})
    assert anna.ok(f"/api/v1/tubes/{good}/clear", {"reason": "only wet outside"})["state"] == "received"
    assert anna.ok(f"/api/v1/tubes/{bad}/reject", {"reason": "empty"})["state"] == "awaiting_recollection"
    anna.ok("/api/v1/receipts", {"barcode": tube_code(50)})
    assert anna.ok("/api/v1/tubes", {"barcode": tube_code(50), "persons": people(1)})["state"] == "registered"
    problem(anna.post(f"/api/v1/tubes/{tube_code(51)}/hold", {"reason": "x"}), 404, "TUBE_UNKNOWN")


def test_negatives_are_kept_for_their_time_and_positives_for_ever(served):
    """A discard before the retention time, or of a positive, is refused."""
    anna, bo, cai = served.person("anna"), served.person("bo"), served.person("cai")
    codes = receive(anna, *range(1, 4))
    made = plate(anna)
    upload(anna, run_file(served, made, {codes[1]: 20.0}), "r.txt")
    for code in codes:
        if anna.get(f"/api/v1/tubes/{code}").json()["state"] == "in_review":
            for who in (bo, cai):
                who.post("/api/v1/reviews", {"tube": code, "verdict": "accept"})
    cai.ok("/api/v1/reports/release", {})
    for code, position in zip(codes[:2], ("B2", "B3"), strict=True):
        anna.ok(f"/api/v1/tubes/{code}/store", {"rack": "F1", "position": position})
    taken = problem(
        anna.post(f"/api/v1/tubes/{codes[2]}/store", {"rack": "F1", "position": "B3"}), 409, "PLACE_TAKEN"
    )
    assert codes[1] in taken["detail_zh"]
    problem(anna.post(f"/api/v1/tubes/{codes[0]}/discard", {"reason": "old"}), 403, "ROLE")
    assert bo.post(f"/api/v1/tubes/{codes[0]}/discard", {"reason": "old"}).json()["code"] == "KEEP_LONGER"
    served.lab.database.clock.advance(timedelta(hours=73))
    bo, anna = served.person("bo"), served.person("anna")
    assert bo.ok(f"/api/v1/tubes/{codes[0]}/discard", {"reason": "old"})["state"] == "discarded"
    problem(bo.post(f"/api/v1/tubes/{codes[1]}/discard", {"reason": "old"}), 409, "KEEP_POSITIVE")


def test_tubes_are_found_by_code_plate_and_rack(served):
    """The first digits, a plate and a rack find their tubes, on each database."""
    anna = served.person("anna")
    codes = receive(anna, 1, 2, rack="R7")
    receive(anna, 300, rack="R8")
    assert [t["barcode"] for t in anna.get("/api/v1/tubes?q=0000000000").json()["tubes"]] == codes
    assert [t["barcode"] for t in anna.get("/api/v1/tubes?q=R7").json()["tubes"]] == codes
    made = plate(anna)
    assert len(anna.get(f"/api/v1/tubes?q={made['plate_id']}").json()["tubes"]) == 3
    assert anna.get("/api/v1/tubes?q=R99").json()["tubes"] == []


def test_a_person_is_found_by_document_and_the_look_is_counted(served):
    """Only reviewers and managers find a person by document; each look is counted."""
    anna, bo = served.person("anna"), served.person("bo")
    receive(anna, 1)
    tube = anna.get(f"/api/v1/tubes/{tube_code(1)}").json()
    number = f"{'ABCDEFGHJK'[1]}1{0:07d}"
    ask = {"document_type": "passport", "document_number": number}
    problem(anna.post("/api/v1/persons/search", ask), 403, "ROLE")
    found = bo.ok("/api/v1/persons/search", ask)
    assert [one["barcode"] for one in found["tubes"]] == [tube["barcode"]]
    assert number not in bo.post("/api/v1/persons/search", ask).text
    problem(bo.post("/api/v1/persons/search", ask | {"document_number": "NOBODY1"}), 404, "PERSON_UNKNOWN")


def test_worklists_come_in_pages(served):
    """A worklist is read page by page without a gap or a repeat."""
    anna = served.person("anna")
    codes = receive(anna, *range(1, 12))
    seen, after = [], 0
    while after is not None:
        page = anna.get(f"/api/v1/worklists/plate?limit=4&after={after}").json()
        seen += [tube["barcode"] for tube in page["tubes"]]
        after = page["next"]
    assert sorted(seen) == codes
    problem(anna.get("/api/v1/worklists/everything"), 404, "WORKLIST_UNKNOWN")


def test_password_is_never_answered(small):
    """No answer of a sign-in holds the password or its hash."""
    answer = small.client().post("/api/v1/sign-in", json={"name": "anna", "password": PASSWORD})
    assert PASSWORD not in answer.text
    assert "argon2" not in answer.text


def test_control_charts_are_read_by_all_and_set_by_reviewers(served):
    """Everybody sees what the controls measured; who says what they should measure is kept by name."""
    anna, bo = served.person("anna"), served.person("bo")
    receive(anna, *range(1, 4))
    upload(anna, run_file(served, plate(anna), {}), "run.txt")
    found = anna.get("/api/v1/quality").json()
    chart = next(one for one in found["charts"] if (one["level"], one["target"]) == ("PC", "N"))
    assert (len(chart["points"]), chart["expected"], found["enough"]) == (1, None, 20)
    named = {name: chart[name] for name in ("instrument", "assay", "lot", "level", "target")}
    target = "/api/v1/quality/targets"
    problem(anna.post(target, named), 403, "ROLE")
    problem(bo.post(target, named), 409, "QUALITY_FEW")
    problem(bo.post(target, named | {"mean": 25.0}), 422, "QUALITY_VALUES")
    problem(bo.post(target, named | {"target": "M"}), 404, "QUALITY_SERIES")
    made = bo.ok(target, named | {"mean": 25.0, "sd": 0.3, "reason": "kit validation"})
    assert (made["set_by"], made["version"], made["mean"]) == ("bo", 1, 25.0)
    again = next(one for one in anna.get("/api/v1/quality?days=1").json()["charts"] if one["expected"])
    assert again["expected"]["reason"] == "kit validation"
    assert {name: again[name] for name in named} == named
    assert [rate["tested"] for rate in found["rates"]["instrument"]] == [3]
