"""The duty plan over HTTP and at the command line, in one laboratory."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from command_line import called
from duty_plans import EXTRACTOR, WEEK
from web_bench import bench, receive

from lis.cli.rota import print_plan
from sim import load
from sim.rota import Proposal
from sim.run import Study

PLAN = WEEK + EXTRACTOR


@pytest.fixture
def served(tmp_path: Path, sqlite_template: Path, clock):
    """A laboratory behind a real server."""
    (tmp_path / "lis.db").write_bytes(sqlite_template.read_bytes())
    with bench(f"sqlite:///{tmp_path / 'lis.db'}", tmp_path, clock) as found:
        yield found


def test_duty_over_http(served, clock):
    """A manager sets the plan, a technician says who is missing and what is broken; the same key does it once."""
    anna, mia = served.person("anna"), served.person("cai")
    refused = anna.post("/api/v1/duty/plan", {"text": PLAN})
    assert (refused.status_code, refused.json()["code"]) == (403, "ROLE")
    wrong = mia.post("/api/v1/duty/plan", {"text": PLAN.replace("people = 2", "people = -2")})
    assert (wrong.status_code, wrong.json()["code"], wrong.json()["key"]) == (
        422,
        "DUTY_PLAN",
        "shift.day.people",
    )
    assert (wrong.json()["reason"], wrong.json()["reason_zh"]) == (
        "this is -2; write 0 to 500.",
        "现为 -2，人数须为 0 到 500。",
    )
    key = {"Idempotency-Key": "plan-1"}
    first = mia.post("/api/v1/duty/plan", {"text": PLAN}, **key)
    again = mia.post("/api/v1/duty/plan", {"text": PLAN}, **key)
    assert (first.status_code, first.json()) == (201, again.json())
    until = (clock.now() + timedelta(hours=3)).isoformat()
    body = {"role": "prepare", "people": 1, "until": until, "reason": "flu"}
    number = anna.post("/api/v1/duty/absences", body).json()["absence"]
    device = anna.post("/api/v1/duty/outages", {"instrument": "nobody"})
    assert (device.status_code, device.json()["code"]) == (404, "INSTRUMENT_UNKNOWN")
    start, end = (clock.now() + timedelta(hours=hours) for hours in (2, 4))
    ahead = {"instrument": "KF-1", "since": start.isoformat()}
    assert anna.post("/api/v1/duty/outages", ahead).json()["code"] == "DUTY_END"
    ahead |= {"expected": end.isoformat(), "reason": "yearly check"}
    assert anna.post("/api/v1/duty/outages", ahead).status_code == 201
    [one] = anna.get("/api/v1/duty").json()["out_of_service"]
    assert (one["instrument"], one["planned"]) == ("KF-1", True)
    assert anna.post("/api/v1/duty/outages/back", {"instrument": "KF-1"}).status_code == 200
    receive(anna, 1)
    found = anna.get("/api/v1/duty").json()
    assert found["plan"]["title"] == "Week"
    assert found["planned_today"] == [
        {"role": "prepare", "shift": "day", "start": "08:00", "end": "24:00", "people": 2}
    ]
    [one] = found["absences"]
    assert (one["absence"], one["people"], one["reason"], one["said_by"]) == (number, 1, "flu", "anna")
    assert found["plan"]["machines"] == [{"name": "KF-1", "kind": "extractor"}]
    assert len(found["acts"]) == 4
    assert [row["hour"] for row in found["learned"]] == list(range(24))
    assert sum(row["reception"] for row in found["learned"]) > 0
    assert anna.post(f"/api/v1/duty/absences/{number}/back").status_code == 200
    assert anna.get("/api/v1/duty").json()["absences"] == []
    over = anna.post(f"/api/v1/duty/absences/{number}/back")
    assert (over.status_code, over.json()["code"]) == (409, "ABSENCE_OVER")


def test_duty_at_the_command_line(tmp_path: Path, sqlite_template: Path, capsys):
    """A plan file is checked, set, listed; absences and outages are written down with sentences for people."""
    (tmp_path / "lis.db").write_bytes(sqlite_template.read_bytes())
    data = ("--data", str(tmp_path))
    file = tmp_path / "plan.toml"
    file.write_text(PLAN.replace("08:00", "8 o'clock"), encoding="utf-8")
    status, out, err = called(capsys, "duty", "set", str(file), *data)
    assert (status, out, err.split(":")[1].strip()) == (1, "", "DUTY_PLAN")
    assert "shift.day.start" in err
    file.write_text(PLAN, encoding="utf-8")
    assert "nothing was set" in called(capsys, "duty", "set", "--check", str(file), *data)[1]
    status, out, _ = called(capsys, "duty", "set", str(file), "--json", *data)
    assert (status, json.loads(out)["shifts"]) == (0, 1)
    absent = ("duty", "absent", "prepare", "1", "--until", "2099-01-01T08:00", "--why", "flu")
    status, out, err = called(capsys, *absent, *data)
    assert (status, "DUTY_TIME" in err) == (1, True)
    status, out, _ = called(capsys, *absent, "--since", "2098-12-31T08:00", "--json", *data)
    number = json.loads(out)["absence"]
    listed = called(capsys, "duty", "list", *data)[1]
    assert f"absence {number}: 1 of prepare" in listed
    document = json.loads(called(capsys, "duty", "list", "--json", *data)[1])
    assert (document["plan"]["title"], len(document["absences"]), len(document["learned"])) == ("Week", 1, 24)
    assert called(capsys, "duty", "back", str(number), *data)[0] == 0
    assert called(capsys, "device", "add", "qs5", *data)[0] == 0
    assert called(capsys, "duty", "out-of-service", "qs5", "--why", "lamp", *data)[0] == 0
    later = ("--since", "2098-12-31T08:00", "--expected", "2098-12-31T12:00")
    status, _, err = called(capsys, "duty", "out-of-service", "KF-1", *later, *data)
    assert (status, "DUTY_TIME" in err) == (1, True)
    assert called(capsys, "duty", "out-of-service", "KF-1", *data)[0] == 0
    listed = called(capsys, "duty", "list", *data)[1]
    assert "out of service: qs5" in listed
    assert "out of service: KF-1" in listed
    assert "machines: KF-1 (extractor)" in listed
    assert called(capsys, "duty", "back-in-service", "qs5", *data)[0] == 0
    status, _, err = called(capsys, "duty", "back-in-service", "qs5", *data)
    assert (status, err.startswith("error: NOT_OUT: qs5")) == (1, True)


def test_a_proposed_rota_becomes_a_plan(tmp_path: Path, capsys):
    """What `lis rota --toml` prints of a rota is a duty plan as it stands."""
    capsys.readouterr()
    clinic = load("fever-clinic")
    print_plan(Proposal("laboratory", 6, (), {}, 0.95, clinic, Study(clinic, 1, (), 0.0)))
    file = tmp_path / "plan.toml"
    out = capsys.readouterr().out
    file.write_text(out, encoding="utf-8")
    checked = called(capsys, "duty", "set", "--check", str(file), "--data", str(tmp_path))
    assert (checked[0], "is right" in checked[1]) == (0, True)
    assert 'role = "prepare"' in out
    assert "spell = 240" in out
