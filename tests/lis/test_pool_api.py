"""The pooling bench over HTTP: the whole way of some pools on both databases."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from web_bench import Bench, Person, bench, plate, receive, run_file, upload


@pytest.fixture
def served(database_url, tmp_path: Path, clock):
    """A laboratory behind a real server, on each database."""
    with bench(database_url, tmp_path, clock) as found:
        yield found


def read(served: Bench, who: Person, truth: dict[str, float | None]) -> dict:
    """Plate all that waits, run it and hand the file over."""
    made = plate(who)
    answer = upload(who, run_file(served, made, truth), f"{made['plate_id']}.txt")
    assert answer.json()["state"] == "read", answer.text
    return answer.json()


def test_a_worklist_from_the_proposal_to_the_report(served: Bench):
    """Propose, form on one worklist, fetch CSV and PDF, confirm by scan, plate, report."""
    anna = served.person("anna")
    codes = receive(anna, *range(1, 11))
    assert anna.ok("/api/v1/pools/proposals") == anna.get("/api/v1/pools/proposal").json()
    proposal = anna.get("/api/v1/pools/proposal").json()
    assert [len(one["members"]) for one in proposal["pools"]] == [5, 5]
    assert {code for one in proposal["pools"] for code in one["members"]} == set(codes)
    assert proposal["pools"][0]["sites"] == ["North gate"]
    assert (proposal["size"], proposal["max_n"], proposal["refused"]) == (5, 10, "")
    assert proposal["policy"] == {"id": "china", "version": "1"}
    orders = [{"members": one["members"]} for one in proposal["pools"]]
    made = anna.ok("/api/v1/pools", {"pools": orders, "confirm": True})
    assert {pool["worklist"] for pool in made["pools"]} == {made["worklist"]}
    assert [pool["open_aliquots"] for pool in made["pools"]] == [5, 5]
    address = f"/api/v1/pools/worklist?worklist={made['worklist']}"
    listed = anna.get(address).json()
    assert (listed["to_confirm"], listed["open"]) == (10, 10)
    table = anna.get(f"{address}&format=csv")
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert f"{made['worklist']}.csv" in table.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(table.text)))
    assert [row["source_tube"] for row in rows] == [step["tube"] for step in listed["steps"]]
    assert {row["stands_in_rack"] for row in rows} == {"R1"}
    paper = anna.get(f"{address}&format=pdf&language=zh")
    assert paper.content.startswith(b"%PDF")
    for step in listed["steps"]:
        one = anna.ok("/api/v1/pools/confirmations", {"pool": step["pool"], "tube": step["tube"]})
        assert one["counts"] == {"confirmed": 1, "refused": 0}
    assert anna.get(address).json()["open"] == 0
    read(served, anna, {})
    for code in codes:
        [report] = anna.get(f"/api/v1/tubes/{code}").json()["reports"]
        assert (report["result"], report["mode"]) == ("negative", "pool")


def test_a_wrong_scan_is_an_answer_in_both_languages_and_changes_nothing(served: Bench):
    """The scan of the neighbour's tube stops with where it belongs, in English and in Chinese."""
    anna = served.person("anna")
    codes = receive(anna, *range(1, 7))
    made = anna.ok(
        "/api/v1/pools", {"pools": [{"members": codes[:3]}, {"members": codes[3:]}], "confirm": True}
    )
    first, second = (pool["barcode"] for pool in made["pools"])
    scans = [{"pool": first, "tube": code} for code in (codes[0], codes[4], codes[1])]
    answer = anna.ok("/api/v1/pools/confirmations", scans)
    assert answer["counts"] == {"confirmed": 1, "refused": 1}
    assert answer["not_looked_at"] == 1
    good, wrong = answer["scans"]
    assert (good["code"], good["left"]) == ("ALIQUOT_CONFIRMED", 2)
    assert "…" not in good["sentence_zh"]
    assert wrong["code"] == "ALIQUOT_ELSEWHERE"
    for text in (wrong["sentence"], wrong["sentence_zh"]):
        assert second in text
        assert "B1" in text
        assert "…" not in text
    repeated = anna.ok("/api/v1/pools/confirmations", scans[0])["scans"][0]
    assert "anna" in repeated["sentence_zh"]
    assert anna.get(f"/api/v1/tubes/{first}").json()["open_aliquots"] == 2
    controls = [{"well": "A12", "control": "NTC"}, {"well": "H12", "control": "PC"}]
    refused = anna.post("/api/v1/plates", {"wells": [{"well": "A1", "tube": first}, *controls]})
    assert (refused.status_code, refused.json()["code"]) == (409, "ALIQUOTS_OPEN")
    assert first in refused.json()["detail_zh"]


def test_a_positive_pool_is_followed_until_it_is_cleared_up(served: Bench):
    """Members all negative: the pool's second aliquot is queued; then it is listed as unexplained, and kept."""
    anna, bo, cai = (served.person(name) for name in ("anna", "bo", "cai"))
    codes = receive(anna, *range(1, 6))
    pool = anna.ok("/api/v1/pools", {"members": codes})["barcode"]
    anna.ok(f"/api/v1/tubes/{codes[4]}/volume", {"volume_ul": 90})
    read(served, anna, {pool: 24.0})
    document = anna.get(f"/api/v1/pools/{pool}").json()
    assert (document["finding"], document["status"], document["reason"]) == (
        "positive",
        "open",
        "REFLEX_OPEN",
    )
    assert document["interim"]["report"] == "nothing"
    actions = {one["tube"]: (one["action"], one["reason"]) for one in document["members"]}
    assert actions[codes[0]] == ("test-singly", "REFLEX")
    assert actions[codes[4]][0] == "recollect"
    assert anna.get(f"/api/v1/tubes/{codes[4]}").json()["reason"] == "LOW_VOLUME"
    assert anna.get(f"/api/v1/tubes/{codes[0]}").json()["interim"] == document["interim"]
    anna.ok(f"/api/v1/tubes/{codes[3]}/withdraw", {"reason": "asked for it"})
    anna.ok(f"/api/v1/tubes/{codes[2]}/lost", {"reason": "not in the rack"})
    assert anna.get(f"/api/v1/tubes/{codes[2]}").json()["reason"] == "MISSING"
    recalls = anna.get("/api/v1/worklists/recollect").json()["recalls"]
    assert {row["tube"] for row in recalls} == {codes[2], codes[4]}
    assert [one["pool"]["barcode"] for one in anna.get("/api/v1/pools").json()["open"]] == [pool]
    read(served, anna, {})
    found = anna.get("/api/v1/pools").json()
    assert found["open"] == []
    [kept] = found["unexplained"]
    assert (kept["pool"]["barcode"], kept["reason"]) == (pool, "UNTESTED_MEMBER")
    assert kept["interim"] is None
    assert {one["tube"]: one["withdrawn"] for one in kept["members"]}[codes[3]]
    for who in (bo, cai):
        who.ok("/api/v1/reviews", {"tube": codes[0], "verdict": "accept"})
    assert cai.ok("/api/v1/reports/release", {"tubes": [codes[0]]})["tubes"][codes[0]]
    assert anna.get(f"/api/v1/tubes/{codes[3]}").json()["reports"] == []
    assert anna.get(f"/api/v1/tubes/{codes[0]}").json()["interim"] is None


def test_a_mixed_tubes_persons_are_spoken_of_as_their_jurisdiction_says(served: Bench):
    """Positive at collection mixing: under review until the new swab, isolated, authority told; no result."""
    anna = served.person("anna")
    [mixed] = receive(anna, 7, kind="mixed", places=5)
    assert anna.get(f"/api/v1/tubes/{mixed}").json()["interim"] is None
    read(served, anna, {mixed: 24.0})
    said = anna.get(f"/api/v1/tubes/{mixed}").json()["interim"]
    assert (said["report"], said["notify"], said["isolate"]) == ("under-review", True, True)
    assert said["with_confirmed"] is False


def test_what_is_asked_wrongly_is_refused_with_words(served: Bench):
    """Wrong names, formats and states are problems with a code and a Chinese sentence, and write nothing."""
    anna = served.person("anna")
    [code] = receive(anna, 1)
    cases = [
        (anna.get("/api/v1/pools/worklist?worklist=PW9"), 404, "POOL_WORKLIST_UNKNOWN"),
        (anna.get("/api/v1/pools/worklist?worklist=PW9&format=xml"), 422, "WORKLIST_FORMAT"),
        (anna.get("/api/v1/pools/advice?by=colour"), 422, "STREAM"),
        (anna.get(f"/api/v1/pools/{code}"), 422, "NOT_A_POOL"),
        (anna.post(f"/api/v1/tubes/{code}/found", {"reason": "x"}), 409, "NOT_LOST"),
        (anna.post(f"/api/v1/tubes/{code}/lost", {"reason": "x"}), 409, "ILLEGAL_MOVE"),
        (anna.post(f"/api/v1/tubes/{code}/withdraw", {"reason": " "}), 422, "REASON"),
        (anna.post(f"/api/v1/tubes/{code}/volume", {"volume_ul": -5}), 422, "VOLUME"),
        (anna.post("/api/v1/pools", {"pools": []}), 409, "POOLS_COUNT"),
        (anna.post("/api/v1/pools", {"members": [code], "colour": 1}), 422, "REQUEST_SHAPE"),
        (served.person("root").post("/api/v1/pools", {"members": [code]}), 403, "ROLE"),
    ]
    for answer, status, name in cases:
        assert (answer.status_code, answer.json()["code"]) == (status, name), answer.text
        assert answer.json()["detail_zh"]


def test_rejecting_the_last_open_member_clears_its_pool_up(served: Bench):
    """A member that leaks after its pool was positive: its person is called back, the pool is decided."""
    anna = served.person("anna")
    codes = receive(anna, 1, 2)
    pool = anna.ok("/api/v1/pools", {"members": codes})["barcode"]
    read(served, anna, {pool: 24.0})
    anna.ok(f"/api/v1/tubes/{codes[1]}/hold", {"reason": "leaks"})
    read(served, anna, {})
    assert anna.get(f"/api/v1/pools/{pool}").json()["status"] == "open"
    anna.ok(f"/api/v1/tubes/{codes[1]}/reject", {"reason": "empty"})
    assert anna.get(f"/api/v1/pools/{pool}").json()["reason"] == "UNTESTED_MEMBER"
    assert anna.get(f"/api/v1/tubes/{pool}").json()["state"] == "resolved"


def test_the_advice_is_served_with_every_choice(served: Bench):
    """The API answers per stream with positivity, interval and the cost of 10:1, 5:1 and single tubes."""
    anna = served.person("anna")
    codes = receive(anna, *range(1, 5))
    read(served, anna, {codes[0]: 24.0})
    document = anna.get("/api/v1/pools/advice?by=site-tier").json()
    [one] = document["streams"]
    assert (one["site"], one["tier"], one["reason"]) == ("North gate", "voluntary", "too-few")
    assert (one["positivity"]["tested"], one["positivity"]["positive"]) == (4, 1)
    assert [choice["mode"] for choice in one["choices"]] == [10, 5, 1]
    keys = {"tests_per_person", "tubes_per_person", "hours", "missed_per_100k", "sentence", "sentence_zh"}
    assert all(keys <= set(choice) for choice in one["choices"])
