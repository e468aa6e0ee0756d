"""Administration over HTTP: accounts, devices, sites, rules, copies of the data, and who saw whom."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from web_bench import PASSWORD, SITE, bench, people, plate, receive, run_file, tube_code, upload

from lis import config, queries
from lis.ledger import verify


@pytest.fixture
def served(database_url, tmp_path: Path, clock, quick_hashes):
    """A laboratory behind a real server, on each database."""
    with bench(database_url, tmp_path, clock) as found:
        yield found


@pytest.fixture
def small(tmp_path: Path, sqlite_template: Path, clock, quick_hashes):
    """The same on the embedded database only, for what no database changes."""
    target = tmp_path / "lis.db"
    target.write_bytes(sqlite_template.read_bytes())
    with bench(f"sqlite:///{target}", tmp_path, clock, backups=str(tmp_path / "copies")) as found:
        yield found


def code_of(answer) -> str:
    """The code of a refusal."""
    return str(answer.json()["code"])


# -- accounts -------------------------------------------------------------------------------------


def test_an_administrator_keeps_the_accounts(served):
    """Add, change, bind, reset, close, open, end: each works, is refused where it must be, and is written down."""
    root = served.person("root")
    made = root.ok("/api/v1/accounts", {"name": "finn", "full_name": "Finn Berg", "role": "technician"})
    assert code_of(root.post("/api/v1/accounts", {"name": "finn", "role": "technician"})) == "ACCOUNT_TAKEN"
    root.ok("/api/v1/accounts/finn", {"full_name": "Finn Berg", "role": "collection", "site": SITE})
    root.ok("/api/v1/accounts/finn/badge", {"badge": "EMPLOYEE-77"})
    assert code_of(root.post("/api/v1/accounts/anna/badge", {"badge": "EMPLOYEE-77"})) == "BADGE_TAKEN"
    assert code_of(root.post("/api/v1/accounts/anna/badge", {"badge": tube_code(1)})) == "BADGE"
    root.ok("/api/v1/accounts/finn/pin", {"pin": "71930"})
    again = root.ok("/api/v1/accounts/finn/reset")
    assert again["password"] != made["password"]
    for path, code in (
        ("root/disable", "OWN_ACCOUNT"), ("root/reset", "OWN_PASSWORD"), ("nobody/disable", "ACCOUNT_UNKNOWN"),
        ("nobody/reset", "ACCOUNT_UNKNOWN"), ("nobody/end", "ACCOUNT_UNKNOWN"),
    ):  # fmt: skip
        assert code_of(root.post(f"/api/v1/accounts/{path}")) == code, path
    assert code_of(root.post("/api/v1/accounts/root", {"role": "manager"})) == "OWN_ROLE"
    bo = served.person("bo")
    assert bo.get("/api/v1/me").status_code == 200
    root.ok("/api/v1/accounts/bo/disable")
    assert bo.get("/api/v1/me").status_code == 401
    root.ok("/api/v1/accounts/bo/enable")
    anna = served.person("anna")
    root.ok("/api/v1/accounts/anna/end")
    assert anna.get("/api/v1/me").status_code == 401
    found = {one["name"]: one for one in root.get("/api/v1/accounts").json()["accounts"]}
    assert (found["finn"]["role"], found["finn"]["badge"], found["finn"]["pin"]) == ("collection", True, True)
    assert (found["finn"]["must_change"], found["bo"]["active"]) == (True, True)
    text = root.get("/api/v1/acts?area=account&subject=finn").text
    acts = [one["act"] for one in root.get("/api/v1/acts?area=account&subject=finn").json()["acts"]]
    assert acts == ["reset", "pin", "badge", "site", "role", "added"]
    for secret in (made["password"], again["password"], "EMPLOYEE-77", "71930"):
        assert secret not in text


def test_whoever_tried_too_often_is_seen_and_let_in_again(served):
    """A locked name stands in the list of accounts; unlocking it lets the right password in at once."""
    client = served.client()
    for _ in range(5):
        client.post("/api/v1/sign-in", json={"name": "anna", "password": "wrong"})
    assert code_of(client.post("/api/v1/sign-in", json={"name": "anna", "password": PASSWORD})) == "WAIT"
    root = served.person("root")
    waits = {one["name"]: one["waits_until"] for one in root.get("/api/v1/accounts").json()["accounts"]}
    assert waits["anna"]
    assert waits["bo"] is None
    root.ok("/api/v1/accounts/anna/unlock")
    assert client.post("/api/v1/sign-in", json={"name": "anna", "password": PASSWORD}).status_code == 200


# -- collection sites and persons -----------------------------------------------------------------


def test_a_collection_site_registers_and_sees_its_own_tubes_only(served):
    """Tubes carry the site of the account; those of others are unknown to it; no page of results opens."""
    eva, anna = served.person("eva"), served.person("anna")
    own = eva.ok("/api/v1/tubes", {"barcode": tube_code(1)})
    assert own["site"] == SITE
    assert code_of(eva.post("/api/v1/tubes", {"barcode": tube_code(2), "site": "S02"})) == "SITE_OTHER"
    anna.ok("/api/v1/tubes", {"barcode": tube_code(3), "site": "S02"})
    for path in (f"/api/v1/tubes/{tube_code(3)}/persons", f"/api/v1/tubes/{tube_code(9)}/persons"):
        assert code_of(eva.post(path, people(1)[0])) == "TUBE_UNKNOWN"
    assert code_of(eva.post(f"/api/v1/tubes/{tube_code(3)}/seal")) == "TUBE_UNKNOWN"
    page = {"Accept": "text/html"}
    assert eva.get(f"/collection?tube={tube_code(3)}", headers=page).status_code == 404
    eva.ok(f"/api/v1/tubes/{tube_code(1)}/persons", people(1, "EV")[0])
    assert "王小一" in eva.get(f"/collection?tube={tube_code(1)}", headers=page).text
    found = eva.get(f"/api/v1/tubes/{tube_code(1)}/persons").json()
    assert (found["open"], found["places"], [one["name"] for one in found["people"]]) == (True, 1, ["王**"])
    eva.ok(f"/api/v1/tubes/{tube_code(1)}/seal")
    assert "王小一" not in eva.get(f"/collection?tube={tube_code(1)}", headers=page).text
    assert [one["code"] for one in eva.get("/api/v1/sites").json()["sites"]] == [SITE]
    for path in (f"/api/v1/tubes/{tube_code(1)}", "/api/v1/worklists/review", "/api/v1/alarms"):
        assert code_of(eva.get(path)) == "ROLE"
    assert eva.get("/", headers=page).headers["location"] == "/collection"


def test_a_collection_site_takes_back_its_own_acts_until_the_laboratory_has_the_tube(served):
    """Its seal, person and registration; no act of others, of other sites or of the laboratory, and no state is told."""
    eva, anna = served.person("eva"), served.person("anna")
    for number in (1, 2, 3):
        code, person = tube_code(number), people(1, f"U{number}")
        who = eva if number == 1 else anna
        who.ok("/api/v1/tubes", {"barcode": code, "site": SITE if number < 3 else "S02", "persons": person})

    def back(number: int, kind: str):
        return eva.post(f"/api/v1/tubes/{tube_code(number)}/undo", {"kind": kind})

    eva.ok(f"/api/v1/tubes/{tube_code(1)}/seal")
    assert [back(1, kind).json()["by"] for kind in ("Sealed", "PersonBound", "Registered")] == [
        *("SealWithdrawn", "PersonUnbound", "RegistrationWithdrawn")
    ]
    assert code_of(back(1, "Registered")) == "TUBE_UNKNOWN"
    assert code_of(back(2, "PersonBound")) == "UNDO_OTHER"
    assert code_of(back(3, "PersonBound")) == "TUBE_UNKNOWN"
    assert code_of(eva.get(f"/api/v1/tubes/{tube_code(3)}/persons")) == "TUBE_UNKNOWN"
    eva.ok(f"/api/v1/tubes/{tube_code(2)}/seal")
    anna.ok("/api/v1/receipts", {"barcode": tube_code(2)})
    refused = [back(2, kind) for kind in ("Sealed", "Received")]
    assert [code_of(one) for one in refused] == ["UNDO_SITE"] * 2
    assert not any("received" in one.text.lower() for one in refused)
    assert eva.get(f"/api/v1/tubes/{tube_code(2)}/persons").json()["open"] is False


def test_a_collection_site_calls_its_own_persons_back_and_learns_no_result(served):
    """The call list has the site's own persons without a reason; the phone is shown for them alone, and written down."""
    eva, anna, cai = served.person("eva"), served.person("anna"), served.person("cai")
    for number, site in ((1, SITE), (2, "S02")):
        order = {
            "barcode": tube_code(number),
            "site": site,
            "persons": people(1, f"C{number}"),
            "sealed": True,
        }
        anna.ok("/api/v1/tubes", order)
        anna.ok("/api/v1/receipts", {"barcode": tube_code(number)})
        anna.ok(f"/api/v1/tubes/{tube_code(number)}/reject", {"reason": "leaked"})
    everyone = cai.get("/api/v1/calls").json()["calls"]
    assert {one["tube"] for one in everyone} == {tube_code(1), tube_code(2)}
    assert everyone[0]["reason"]
    [own] = eva.get("/api/v1/calls").json()["calls"]
    assert (own["tube"], own["name"], "reason" in own) == (tube_code(1), "王**", False)
    other = next(one["person_id"] for one in everyone if one["tube"] == tube_code(2))
    assert eva.ok(f"/api/v1/persons/{own['person_id']}/contact")["phone"] == "13800000000"
    assert code_of(eva.post(f"/api/v1/persons/{other}/contact")) == "PERSON_UNKNOWN"
    assert cai.ok(f"/api/v1/persons/{other}/contact")["name"] == "王小一"
    told = [(one["actor"], one["act"]) for one in cai.get("/api/v1/disclosures").json()["disclosures"]]
    assert told == [("cai", "contact"), ("eva", "contact")]
    page = eva.get("/calls", headers={"Accept": "text/html"}).text
    assert "leaked" not in page
    assert tube_code(1) in page


def test_every_unmasking_and_export_is_an_event_with_who_when_what_and_why(served, clock):
    """Names are masked for all; unmask needs a reason; search, report and phone are written down before they are shown."""
    anna, bo, cai, dee = (served.person(name) for name in ("anna", "bo", "cai", "dee"))
    [tube] = receive(anna, 1)
    made = plate(anna)
    upload(anna, run_file(served, made, {}), "run.txt")
    report = anna.get(f"/api/v1/tubes/{tube}").json()["reports"][0]["report_id"]
    shown = bo.get(f"/api/v1/tubes/{tube}").json()["people"][0]
    assert (shown["name"], set(shown["document"][:-4])) == ("王**", {"*"})
    assert code_of(anna.post(f"/api/v1/tubes/{tube}/unmask", {"reason": " "})) == "DISCLOSURE_REASON"
    assert anna.get(f"/api/v1/reports/{report}").json()["person_name"] == "王**"
    assert code_of(anna.get(f"/api/v1/reports/{report}?format=pdf")) == "ROLE"
    assert cai.get("/api/v1/disclosures").json() == {"disclosures": []}
    clear = anna.ok(f"/api/v1/tubes/{tube}/unmask", {"reason": "label torn"})["people"][0]
    assert (clear["name"], clear["phone"]) == ("王小一", "13800000000")
    clock.advance(timedelta(minutes=1))
    assert bo.get(f"/api/v1/reports/{report}").json()["person_name"] == "王小一"
    assert bo.get(f"/api/v1/reports/{report}?format=pdf").content[:4] == b"%PDF"
    bo.ok("/api/v1/persons/search", {"document_type": "passport", "document_number": clear["document"]})
    nobody = {"document_type": "passport", "document_number": "X0000000", "reason": "asked by phone"}
    assert code_of(bo.post("/api/v1/persons/search", nobody)) == "PERSON_UNKNOWN"
    rows = dee.get("/api/v1/disclosures").json()["disclosures"]
    told = [(row["actor"], row["act"], row["subject"], row["reason"]) for row in reversed(rows)]
    assert told == [
        ("anna", "unmask", tube, "label torn"),
        ("bo", "report", report, "json"),
        ("bo", "report", report, "pdf"),
        ("bo", "search", "document", ""),
        ("bo", "search", "document", "asked by phone"),
    ]
    assert [row["person_id"] for row in reversed(rows)] == [*[clear["person_id"]] * 4, ""]
    assert rows[-1]["at"] < rows[-2]["at"]
    assert len(dee.get("/api/v1/disclosures?actor=anna").json()["disclosures"]) == 1
    assert len(dee.get(f"/api/v1/disclosures?person={clear['person_id']}").json()["disclosures"]) == 4
    assert code_of(anna.get("/api/v1/disclosures")) == "ROLE"
    with served.lab.database.read() as conn:
        assert verify(conn).ok


# -- devices, sites, settings, copies -------------------------------------------------------------


def test_devices_are_added_rotated_and_revoked_on_screen(served):
    """A code is in the answer and nowhere else; the history names the administrator; a listening-everywhere bridge is refused."""
    root = served.person("root")
    made = root.post("/api/v1/devices", {"name": "QS/5 two", "address": "tcp://lis.local:5555"})
    assert (made.status_code, made.json()["device"], made.json()["bridge"]) == (
        201,
        "QS/5 two",
        "tcp://lis.local:5555",
    )
    assert code_of(root.post("/api/v1/devices", {"name": "QS/5 two"})) == "DEVICE_KNOWN"
    assert (
        code_of(root.post("/api/v1/devices", {"name": "x", "address": "tcp://0.0.0.0:5555"}))
        == "BRIDGE_ADDRESS"
    )
    [one] = root.get("/api/v1/devices").json()["devices"]
    assert one["code_until"] == made.json()["expires_at"]
    assert made.json()["code"] not in root.get("/api/v1/devices").text
    newer = root.ok("/api/v1/devices/rotate", {"name": "QS/5 two", "hours": 1})
    assert newer["code"] != made.json()["code"]
    assert root.ok("/api/v1/devices/cancel", {"name": "QS/5 two"}) == {"cancelled": 1}
    assert code_of(root.post("/api/v1/devices/expire", {"name": "QS/5 two", "days": 3})) == "DEVICE_NO_KEY"
    root.ok("/api/v1/devices/revoke", {"name": "QS/5 two"})
    assert code_of(root.post("/api/v1/devices/revoke", {"name": "other"})) == "DEVICE_UNKNOWN"
    with served.lab.database.read() as conn:
        acts = queries.device_acts(conn, "QS/5 two")
    assert [row["act"] for row in reversed(acts)] == [
        "added",
        "code",
        "cancelled",
        "code",
        "cancelled",
        "revoked",
    ]
    assert {row["actor"] for row in acts} == {"root"}


def test_settings_tell_their_source_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Default, file, environment and command are told apart."""
    (tmp_path / "lis.toml").write_text('laboratory = "North"\nport = 9090\n', encoding="utf-8")
    monkeypatch.setenv("LIS_IDLE_MINUTES", "15")
    found = config.sources(config.load(tmp_path, language="en"))
    assert (found["laboratory"], found["port"], found["idle_minutes"]) == ("file", "file", "environment")
    assert (found["language"], found["host"], found["data"]) == ("command", "default", "command")


def test_settings_are_shown_with_their_sources(small):
    """Every setting is on the list with its environment name and meaning."""
    rows = small.person("cai").get("/api/v1/settings").json()["settings"]
    assert {row["name"] for row in rows} == set(config.Settings.model_fields)
    assert all(row["meaning"] and row["environment"].startswith("LIS_") for row in rows)


def test_a_copy_is_made_and_verified_on_screen_and_a_damaged_one_is_told(small, clock):
    """The administrator makes a copy while work goes on; verifying folds its log; damage is named and written down."""
    root, cai = small.person("root"), small.person("cai")
    receive(small.person("anna"), 1, 2)
    assert cai.get("/api/v1/backup").json()["last"] is None
    made = root.ok("/api/v1/backup")
    assert code_of(cai.post("/api/v1/backup")) == "ROLE"
    found = cai.get("/api/v1/backup").json()
    assert (found["last"]["bytes"], found["copies"][0]["name"]) == (made["bytes"], made["name"])
    assert found["copies"][0]["check"] is None
    assert root.ok("/api/v1/backup/verify", {"name": made["name"]})["ok"]
    assert code_of(root.post("/api/v1/backup/verify", {"name": "../../x"})) == "COPY_UNKNOWN"
    clock.advance(timedelta(seconds=1))
    other = root.ok("/api/v1/backup")["name"]
    file = Path(found["folder"]) / other / "lis.db"
    file.write_bytes(b"this is no database at all " * 300)
    assert root.ok("/api/v1/backup/verify", {"name": other})["ok"] is False
    checks = {one["name"]: one["check"]["act"] for one in cai.get("/api/v1/backup").json()["copies"]}
    assert checks == {made["name"]: "verified", other: "damaged"}


def test_rules_need_two_people_and_a_look(served):
    """One proposes, another types what was looked at and activates; the file lies where the next start loads it."""
    cai, dee = served.person("cai"), served.person("dee")
    name = served.lab.rules.default_assay
    rules = served.lab.rules.assays[name]
    text = served.lab.rules.texts[name].replace(f'version = "{rules.version}"', 'version = "9.9"')
    assert 'version = "9.9"' in text
    receive(cai, 1)
    made = plate(cai)
    upload(cai, run_file(served, made, {}), "run.txt")
    assert code_of(cai.post("/api/v1/assays/drafts", {"text": "nonsense =", "reason": "x"})) == "RULES_FILE"
    assert code_of(cai.post("/api/v1/assays/drafts", {"text": text, "reason": " "})) == "REASON"
    drafted = cai.ok("/api/v1/assays/drafts", {"text": text, "reason": "validation 7"})
    assert code_of(dee.post("/api/v1/assays/drafts", {"text": text, "reason": "x"})) == "DRAFT_KNOWN"
    found = cai.ok("/api/v1/assays/compare", {"old": name, "new": drafted["digest"]})
    assert (found["changes"], found["runs"], found["new"]) == (0, 1, f"{name}@9.9")
    assert {"sign": "+", "text": 'version = "9.9"'} in found["lines"]
    activate = f"/api/v1/assays/drafts/{drafted['digest']}/activate"
    assert code_of(cai.post(activate, {"version": f"{name}@9.9"})) == "SECOND_PERSON"
    assert code_of(dee.post(activate, {"version": f"{name}@9.8"})) == "RULES_OTHER"
    done = dee.ok(activate, {"version": f"{name}@9.9"})
    assert (done["by"], done["replaces"], done["restart"]) == ("dee", rules.version, True)
    assert code_of(dee.post(activate, {"version": f"{name}@9.9"})) == "DRAFT_UNKNOWN"
    kept = served.lab.settings.data / "rules" / "assays" / f"{name}.toml"
    assert kept.read_text(encoding="utf-8").strip() == text.strip()
    listed = {one["id"]: one for one in dee.get("/api/v1/assays").json()["assays"]}
    assert listed[name]["version"] == rules.version
    assert (
        code_of(served.person("root").post("/api/v1/assays/drafts", {"text": text, "reason": "x"})) == "ROLE"
    )
    other = text.replace('"9.9"', '"9.10"')
    digest = dee.ok("/api/v1/assays/drafts", {"text": other, "reason": "y"})["digest"]
    dee.ok(f"/api/v1/assays/drafts/{digest}/withdraw")
    assert dee.ok("/api/v1/assays/drafts", {"text": other, "reason": "y again"})["digest"] == digest
    with served.lab.database.read() as conn:
        acts = [row["act"] for row in reversed(queries.admin_acts(conn, "rules"))]
    assert acts == ["proposed", "activated", "proposed", "withdrawn", "proposed"]
