"""``lis device``: codes on stdout, keys renewed and ended, everything in the device log; a small fleet."""

from __future__ import annotations

import json
import queue
from pathlib import Path

import pytest
from command_line import called

from instruments import wire
from instruments.bridge import new_keypair
from instruments.door import public_of
from lis import config, laboratory, queries
from lis.cli.devices import codes_of_fleet
from lis.demo import fleet
from lis.demo.fleet import FAULTS, Plan, deal
from lis.reception import Reception, bridge_keys
from lis.services import devices
from lis.services.results import Ingested
from lis.web.enrolling import issue

ADDRESS = "tcp://192.168.7.20:5555"


@pytest.fixture
def data(tmp_path: Path) -> str:
    """The name of a folder for a new laboratory."""
    return str(tmp_path / "data")


def rows(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict]:
    """What a listing command says."""
    return json.loads(called(capsys, *arguments, "--json")[1])


def test_adding_a_device_prints_a_code_that_holds_all_its_pc_needs(
    data: str, capsys: pytest.CaptureFixture[str]
):
    """The code alone on stdout: address, the bridge's key, a secret; the list shows until when it is good."""
    status, out, err = called(capsys, "device", "add", "qs5", "--data", data, "--address", ADDRESS)
    assert status == 0
    code = wire.read_code(out)
    assert code.endpoint == ADDRESS
    with laboratory.open_laboratory(config.load(data)) as lab, lab.database.read() as conn:
        assert wire.Code(ADDRESS, code.server_key, b"").key != code.key
        row = queries.enrolment_row(conn, devices.digest_of(public_of(code)))
        assert row["device"] == "qs5"
        assert (row["expires_at"] - row["issued_at"]).total_seconds() == 24 * 3600
    assert "shown once" in err
    assert out.strip() not in err
    (listed,) = rows(capsys, "device", "list", "--data", data)
    assert (listed["name"], listed["public_key"]) == ("qs5", None)
    assert listed["code_until"]


def test_codes_are_renewed_cancelled_and_bounded(data: str, capsys: pytest.CaptureFixture[str]):
    """``rotate`` gives another code, ``cancel`` ends it, a code of more than a month is a usage error."""
    add = ("device", "add", "qs5", "--data", data, "--address", ADDRESS, "--json", "--valid-hours", "1.5")
    first = json.loads(called(capsys, *add)[1])
    assert first["bridge"] == ADDRESS
    assert called(capsys, *add)[2].startswith("error: DEVICE_KNOWN: ")
    second = called(capsys, "device", "rotate", "qs5", "--data", data, "--address", ADDRESS)[1].strip()
    assert wire.read_code(second) != wire.read_code(first["code"])
    assert called(capsys, "device", "cancel", "qs5", "--data", data)[1] == "1 open code of qs5 cancelled\n"
    assert called(capsys, "device", "cancel", "qs5", "--data", data)[1] == "qs5 has no open code\n"
    assert called(capsys, "device", "rotate", "qs5", "--data", data, "--valid-hours", "800")[0] == 2
    acts = [row["act"] for row in rows(capsys, "device", "log", "qs5", "--data", data)]
    assert acts == ["cancelled", "code", "cancelled", "code", "added"]


@pytest.mark.parametrize(("bridge", "status"), [("tcp://0.0.0.0:5555", 1), ("tcp://127.0.0.1:5555", 0)])
def test_an_address_that_cannot_be_called_is_noticed(
    bridge: str, status: int, data: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """Listening everywhere is no address: nothing is added. One of this machine alone is noted."""
    monkeypatch.setenv("LIS_BRIDGE", bridge)
    found, _, err = called(capsys, "device", "add", "qs5", "--data", data)
    assert found == status
    assert "--address" in err
    assert len(rows(capsys, "device", "list", "--data", data)) == 1 - status
    monkeypatch.setenv("LIS_BRIDGE_ADDRESS", ADDRESS)
    assert wire.read_code(called(capsys, "device", "add", "qs6", "--data", data)[1]).endpoint == ADDRESS


def test_a_key_is_given_an_end(data: str, capsys: pytest.CaptureFixture[str]):
    """By day, by moment with or without an offset, or never; two ends, none, or no time are refused."""
    key = new_keypair().public.decode()
    called(capsys, "device", "add", "qs5", "--key", key, "--data", data)
    expire = ("device", "expire", "qs5", "--data", data)
    assert "ends" in called(capsys, *expire, "--days", "30")[1]
    assert "ends 2999-12-31 10:00 UTC" in called(capsys, *expire, "--at", "2999-12-31T18:00+08:00")[1]
    assert "ends 2999-12-31 18:00 UTC" in called(capsys, *expire, "--at", "2999-12-31T18:00")[1]
    assert rows(capsys, "device", "list", "--data", data)[0]["key_until"].startswith("2999-12-31 18:00")
    assert "does not end" in called(capsys, *expire, "--never")[1]
    assert rows(capsys, "device", "list", "--data", data)[0]["key_until"] is None
    assert called(capsys, *expire)[0] == 2
    assert called(capsys, *expire, "--never", "--days", "1")[0] == 2
    assert called(capsys, *expire, "--at", "soon")[2].startswith("error: MOMENT: ")
    assert called(capsys, *expire, "--at", "2001-01-01")[2].startswith("error: EXPIRY_PAST: ")


# -- the fleet ------------------------------------------------------------------------------------


def test_faults_are_dealt_by_the_seed_and_none_is_forgotten():
    """The same seed deals alike; every fault named comes up; a late plate is its cycler's last."""
    plan = Plan(plates=4, faults=FAULTS, seed=7)
    jobs = deal(plan, 5)
    assert jobs == deal(plan, 5) != deal(Plan(plates=4, faults=FAULTS, seed=8), 5)
    dealt = [job.fault for own in jobs for job in own]
    assert set(dealt) == {*FAULTS, ""}
    assert len({job.plate for own in jobs for job in own}) == 20
    for own in jobs:
        tail = [job.fault == "late" for job in own]
        assert tail == sorted(tail)
    assert [job.fault for own in deal(Plan(), 2) for job in own] == ["", ""]


def kept(lab: laboratory.Laboratory) -> list[dict]:
    """What the laboratory has of the fleet."""
    with lab.database.read() as conn:
        return queries.files(conn)


def test_three_cyclers_with_every_fault_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Real agents enrol by code and ship over the real bridge: all is acknowledged, and told apart by the laboratory."""
    settings = config.load(tmp_path / "data")
    read: queue.Queue[Ingested] = queue.Queue()
    with laboratory.open_laboratory(settings) as lab, Reception(lab, "tcp://127.0.0.1:*", read.put) as link:
        with lab.database.write("admin") as unit:
            for name in ("SIM-1", "SIM-2", "SIM-3"):
                devices.add_device(unit, name, "virtual cycler")
        codes = [
            issue(lab, link.endpoint, 1.0, "admin", lambda _, name=name: name)[1]
            for name in ("SIM-1", "SIM-2", "SIM-3")
        ]
        said: list[str] = []
        found = fleet.run(codes, tmp_path / "fleet", Plan(3, FAULTS, seed=3, samples=4), said.append)
        files = kept(lab)
        while "waiting" in {row["state"] for row in files}:
            read.get(timeout=60)
            files = kept(lab)
    assert found["devices"] == ["SIM-1", "SIM-2", "SIM-3"]
    assert found["faults"] == {**dict.fromkeys(FAULTS, 1), "none": 3}
    assert (found["sent"], found["acknowledged"], found["waiting"], found["refused"]) == (11, 11, 0, {})
    assert found["duplicates"] >= 1
    assert len(files) == 10
    assert sorted(row["code"] for row in files) == [
        "INCOMPLETE_FILE",
        "RUN_CONFLICT",
        "UNKNOWN_FORMAT",
        *["UNKNOWN_PLATE"] * 7,
    ]
    assert said[-1].startswith("11 files written, 11 acknowledged")


def test_a_fleet_is_started_by_one_command(data: str, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    """Against a running server: devices are made or renewed, one document says what came of it; codes may be given."""
    with laboratory.open_laboratory(config.load(data)) as lab, Reception(lab, "tcp://127.0.0.1:*") as link:
        simulate = (
            "device",
            "simulate",
            "--cyclers",
            "1",
            "--data",
            data,
            "--bridge",
            link.endpoint,
            "--json",
        )
        status, out, err = called(capsys, *simulate)
        found = json.loads(out)
        assert status == 0
        assert (found["acknowledged"], found["laboratory"]) == (1, {"quarantined UNKNOWN_PLATE": 1})
        assert "1 acknowledged" in err
        (code,) = codes_of_fleet(Path(data), link.endpoint, 1, yes=False)
        (tmp_path / "codes.txt").write_text(code, encoding="utf-8")
        status, out, _ = called(capsys, "device", "simulate", "--codes", str(tmp_path / "codes.txt"))
        assert status == 0
        assert "acknowledged  1" in out
        acts = [row["act"] for row in rows(capsys, "device", "log", "SIM-1", "--data", data)]
        assert acts == ["enrolled", "code", "enrolled", "code", "added"]
        assert called(capsys, *simulate, "--faults", "fire")[0] == 2
        (tmp_path / "codes.txt").write_text("\n", encoding="utf-8")
        assert "NO_CODES" in called(capsys, "device", "simulate", "--codes", str(tmp_path / "codes.txt"))[2]


def test_a_fleet_keeps_out_of_a_laboratory_with_reports(
    data: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """Where reports were issued nothing is simulated unless a person says so."""
    monkeypatch.setattr(queries, "count_of", lambda _conn, _table: 3)
    status, _, err = called(capsys, "device", "simulate", "--cyclers", "1", "--data", data)
    assert status == 1
    assert err.startswith("error: REAL_LABORATORY: 3 reports")
    assert rows(capsys, "device", "list", "--data", data) == []
    assert bridge_keys(Path(data)).public
