"""``lis doctor``: a healthy laboratory passes, and each thing broken on purpose is found and named."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from bench import Bench
from command_line import called

from instruments.bridge import new_keypair
from lis import config, db, queries
from lis.cli import checks_data, checks_machine
from lis.cli.checks_machine import FAIL, OK, WARN
from lis.cli.doctor import examine
from lis.reception import Reception, bridge_keys
from lis.services import devices, inbox
from lis.services.inbox import Delivery
from lis.web.serving import serving

DAY = timedelta(days=1)
KEY = "k" * 40


def found(bench: Bench, later: timedelta = timedelta(0), **changes: object) -> dict[str, tuple[str, str]]:
    """Check -> (status, sentence), as seen ``later`` than now; every sentence is one."""
    settings = bench.lab.settings.model_copy(update={"port": 0, "bridge": "tcp://127.0.0.1:*", **changes})
    seen = list(examine(settings, bench.clock.now() + later))
    assert all(len(one.sentence) > 10 for one in seen)
    return {one.check: (one.status, one.sentence) for one in seen}


@pytest.fixture
def well(bench: Bench) -> Bench:
    """A laboratory in order: keys, a device that greeted, a file on time, a backup."""
    data = bench.lab.settings.data
    config.secret_key(data)
    bridge_keys(data)
    with bench.lab.database.write("admin") as unit:
        devices.enrol_device(unit, "qs5", "cycler", KEY)
        devices.heard(unit, "qs5", "1.1")
    keep(bench, "P1.txt", bench.clock.now() - timedelta(seconds=30))
    with bench.lab.database.write("admin") as unit:
        inbox.set_aside(unit, file_id(bench), "UNKNOWN_PLATE", "No such plate.")
        inbox.dismiss(unit, file_id(bench), "synthetic")
        for row in queries.open_alarms(unit.conn):
            inbox.clear_alarm(unit, row["alarm_id"])
    note = {"at": bench.clock.now().isoformat(), "target": "elsewhere", "bytes": 1}
    (data / "last-backup.json").write_text(json.dumps(note), encoding="utf-8")
    return bench


def keep(bench: Bench, name: str, produced) -> None:
    """A file arrives."""
    with bench.lab.database.write("qs5") as unit:
        inbox.accept(unit, Delivery("qs5", name, name, name.encode(), produced_at=produced.isoformat()))


def file_id(bench: Bench) -> str:
    """The last file that arrived."""
    with bench.lab.database.read() as conn:
        return str(queries.files(conn)[0]["file_id"])


def test_a_laboratory_in_order_passes(well: Bench):
    """Nothing fails and nothing warns, but for what a test's PostgreSQL does without on purpose."""
    seen = found(well)
    troubles = {check: status for check, (status, _) in seen.items() if status != OK}
    if well.lab.database.dialect == "sqlite":
        assert troubles == {}
        assert {"sqlite", "durability", "integrity", "schema", "clock", "clock of qs5", "device qs5"} < set(
            seen
        )
    else:  # the cluster of the tests runs without fsync, and that is what the doctor is for
        assert troubles == {"durability": FAIL, "backup": WARN}
        assert "fsync, full_page_writes must be on" in seen["durability"][1]
        assert seen["checksums"][0] == OK


def test_looking_changes_nothing(embedded: Bench, tmp_path: Path):
    """No key is made, no schema, no file; a folder that is not there is not made either."""
    data = embedded.lab.settings.data
    for path in data.glob("*.key"):
        path.unlink()
    before = sorted(path.name for path in data.iterdir())
    seen = found(embedded)
    assert sorted(path.name for path in data.iterdir()) == before
    assert (seen["secret.key"][0], seen["bridge.key"][0], seen["backup"][0]) == (FAIL, FAIL, WARN)
    nowhere = tmp_path / "nowhere"
    assert found(embedded, data=nowhere)["folder"][0] == FAIL
    assert not nowhere.exists()
    nowhere.mkdir()
    assert found(embedded, data=nowhere, database="")["database"][0] == FAIL
    assert list(nowhere.iterdir()) == []


# -- the database ---------------------------------------------------------------------------------


def damage_pages(path: Path) -> None:
    """Overwrite the middle of a database file."""
    with path.open("r+b") as stream:
        stream.seek(path.stat().st_size // 2)
        stream.write(b"\xaa" * 20_000)


def raw(path: Path, *statements: str) -> None:
    """Statements by another program."""
    conn = sqlite3.connect(path)
    for statement in statements:
        conn.execute(statement)
    conn.commit()
    conn.close()


@pytest.mark.parametrize(
    ("harm", "check", "words"),
    [
        (damage_pages, ("integrity", "database"), ("quick_check", "cannot be read")),
        (lambda path: raw(path, "PRAGMA journal_mode=DELETE"), ("journal",), ("not in WAL mode",)),
        (lambda path: raw(path, "UPDATE alembic_version SET version_num='0000'"), ("schema",), ("at 0000",)),
        (lambda path: raw(path, "DROP TABLE alembic_version"), ("schema",), ("at nothing",)),
        (
            lambda path: raw(path, "INSERT INTO file_status VALUES ('f','read','','','','',NULL,'')"),
            ("integrity",),
            ("refer to nothing",),
        ),
        (lambda path: path.write_bytes(b"no database at all" * 100), ("database",), ("cannot be read",)),
        (lambda path: path.write_bytes(b""), ("schema",), ("at nothing",)),
        (lambda path: path.unlink(), ("database",), ("does not exist",)),
    ],
    ids=["pages", "journal", "old schema", "no schema", "orphan", "no database", "empty", "missing"],
)
def test_a_broken_database_is_named(
    harm, check, words, sqlite_template: Path, tmp_path: Path, embedded: Bench
):
    """Damaged pages, a changed journal, another schema, orphans, no database: found, and the doctor ends in order."""
    path = tmp_path / "lis.db"
    shutil.copy(sqlite_template, path)
    harm(path)
    seen = found(embedded, data=tmp_path)
    status, sentence = next(seen[name] for name in check if name in seen and seen[name][0] != OK)
    assert status == FAIL
    assert any(word in sentence for word in words)


def test_an_sqlite_that_can_corrupt_is_named(embedded: Bench, monkeypatch: pytest.MonkeyPatch):
    """A library inside the range of the WAL-reset bug fails with its version."""
    for version, status in (((3, 40, 1), FAIL), ((3, 51, 2), FAIL), ((3, 51, 3), OK)):
        old = SimpleNamespace(sqlite_version_info=version, sqlite_version=".".join(map(str, version)))
        monkeypatch.setattr(db, "sqlite_module", lambda old=old: old)
        (first, *_) = checks_data._sqlite_file(embedded.lab.settings.data / "lis.db")
        assert first.status == status
        assert old.sqlite_version in first.sentence


@pytest.mark.parametrize("name", ["fsync", "full_page_writes", "synchronous_commit", "data_checksums"])
def test_each_lossy_setting_of_postgresql_is_named(name: str):
    """One setting off is enough; without checksums it is a warning, without fsync a failure."""
    good = dict.fromkeys(checks_data.POSTGRESQL, "on")
    assert {one.status for one in checks_data.postgresql(good)} == {OK}
    assert {one.status for one in checks_data.postgresql({**good, "synchronous_commit": "remote_apply"})} == {
        OK
    }
    (bad,) = [one for one in checks_data.postgresql({**good, name: "off"}) if one.status != OK]
    assert bad.status == (WARN if name == "data_checksums" else FAIL)
    assert name.rsplit("_", maxsplit=1)[-1] in bad.sentence


# -- clocks, devices, files -----------------------------------------------------------------------


def test_a_clock_that_went_back_and_clocks_of_pcs_are_found(well: Bench):
    """The server's clock behind its own log fails; a PC's clock ahead or behind warns with the span."""
    assert found(well, -timedelta(hours=3))["clock"] == (
        FAIL,
        "This server's clock is 3 h behind the last thing it wrote down. Set it.",
    )
    keep(well, "P2.txt", well.clock.now() + timedelta(minutes=45))
    status, sentence = found(well)["clock of qs5"]
    assert (status, "45 min after its arrival" in sentence) == (WARN, True)
    with well.lab.database.write("cfx") as unit:
        late = (well.clock.now() - timedelta(hours=5)).isoformat()
        inbox.accept(unit, Delivery("cfx", "P3", "P3.csv", b"P3", produced_at=late))
    assert "5 h or more" in found(well)["clock of cfx"][1]


def test_devices_that_cannot_send_are_found(well: Bench):
    """Key about to end, key ended, code waiting, code ended, never connected, old agent; a revoked one is silent."""
    now = well.clock.now()
    with well.lab.database.write("admin") as unit:
        for name, agent in (("old", "0.9"), ("ends", "1.1"), ("ended", "1.1"), ("gone", "1.1")):
            devices.enrol_device(unit, name, "cycler", new_keypair().public.decode())
            devices.heard(unit, name, agent)
        devices.set_expiry(unit, "ends", now + 10 * DAY)
        devices.set_expiry(unit, "ended", now + DAY)
        devices.revoke_device(unit, "gone")
        devices.enrol_device(unit, "new", "cycler", new_keypair().public.decode())
        for name, valid in (("coded", 3 * DAY), ("late", DAY)):
            devices.add_device(unit, name, "cycler")
            devices.issue_code(unit, name, f"{name:c<40}", valid)
    seen = found(well, 2 * DAY)
    told = {name.removeprefix("device "): one for name, one in seen.items() if name.startswith("device ")}
    assert {name: status for name, (status, _) in told.items()} == {
        "qs5": OK, "old": WARN, "ends": WARN, "ended": FAIL, "new": WARN, "coded": WARN, "late": WARN,
    }  # fmt: skip
    assert "lis device rotate ended" in told["ended"][1]
    assert "0.9" in told["old"][1]
    assert "its code ends" in told["coded"][1]
    assert "its code has ended" in told["late"][1]


def test_what_waits_is_found(well: Bench):
    """A file nobody reads fails after ten minutes; quarantine, alarms and an old backup warn."""
    keep(well, "P2.txt", well.clock.now())
    assert found(well)["files"][0] == OK
    assert found(well, timedelta(minutes=11))["files"][0] == FAIL
    with well.lab.database.write("bridge") as unit:
        inbox.set_aside(unit, file_id(well), "READ_FAILED", "The program failed.")
    seen = found(well, timedelta(minutes=11))
    assert (seen["files"][0], seen["alarms"][0]) == (WARN, WARN)
    assert "READ_FAILED" in seen["alarms"][1]
    assert found(well, 3 * DAY)["backup"][0] == WARN


def test_a_laboratory_without_instruments_is_told_how_to_add_one(embedded: Bench):
    """No device: the command that makes a code."""
    status, sentence = found(embedded)["devices"]
    assert (status, "lis device add" in sentence) == (WARN, True)


# -- the machine ----------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="modes of files are of POSIX")
def test_keys_that_others_can_read_or_that_are_none_fail(embedded: Bench):
    """Mode 0644, a truncated key, a pair that does not belong together: each fails and says what to do."""
    data = embedded.lab.settings.data
    config.secret_key(data)
    pair = bridge_keys(data)
    (data / "secret.key").chmod(0o644)
    status, sentence = found(embedded)["secret.key"]
    assert (status, "chmod 600" in sentence) == (FAIL, True)
    (data / "secret.key").chmod(0o600)
    (data / "secret.key").write_text("abcd", encoding="ascii")
    for text in (f"{new_keypair().public.decode()}\n{pair.secret.decode()}", "half", ""):
        (data / "bridge.key").write_text(text, encoding="ascii")
        seen = found(embedded)
        assert (seen["secret.key"][0], seen["bridge.key"][0]) == (FAIL, FAIL)


def test_a_full_disk_fails_and_a_filling_one_warns(embedded: Bench, monkeypatch: pytest.MonkeyPatch):
    """The free bytes decide at the limits."""
    for free, status in (
        (2**40, OK),
        (checks_machine.LITTLE - 1, WARN),
        (checks_machine.TOO_LITTLE - 1, FAIL),
    ):
        monkeypatch.setattr(
            checks_machine.shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free)
        )
        assert found(embedded)["disk"][0] == status


@pytest.fixture
def stranger() -> Iterator[int]:
    """The port of another program, which hangs up on everybody."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            while True:
                try:
                    listener.accept()[0].close()
                except OSError:
                    return

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_sockets_are_told_apart(embedded: Bench, stranger: int):
    """Ours, free, taken by another program, held but mute: web and bridge each say which."""
    with serving(embedded.lab, "127.0.0.1", 0) as url, Reception(embedded.lab, "tcp://127.0.0.1:*") as link:
        seen = found(embedded, port=int(url.rsplit(":", 1)[1]), bridge=link.endpoint)
        assert (seen["web"][0], seen["bridge"][0]) == (OK, OK)
        free = link.endpoint
    seen = found(embedded, port=stranger, bridge=f"tcp://127.0.0.1:{stranger}")
    assert (seen["web"][0], seen["bridge"][0]) == (FAIL, FAIL)
    assert "Another program" in seen["web"][1]
    assert "Another program" in seen["bridge"][1]
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))  # held, but nobody listens
        seen = found(embedded, port=mute.getsockname()[1], bridge=free)
    assert seen["bridge"][0] == WARN
    assert seen["web"][0] == FAIL
    assert "cannot be listened at" in seen["web"][1]


def test_the_command_says_so_in_its_status(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch):
    """Healthy: one document and 0. Broken: the same document, 1, and the names of what failed. A backup is noted."""
    monkeypatch.setenv("LIS_PORT", "0")
    monkeypatch.setenv("LIS_BRIDGE", "tcp://127.0.0.1:*")
    data = tmp_path / "data"
    called(capsys, "device", "add", "qs5", "--data", str(data), "--address", "tcp://127.0.0.1:5555")
    called(capsys, "backup", str(tmp_path / "copy"), "--data", str(data))
    status, out, err = called(capsys, "doctor", "--data", str(data), "--json")
    document = json.loads(out)
    assert (status, err, document["ok"]) == (0, "", True)
    assert {row["check"]: row["status"] for row in document["checks"]}["backup"] == OK
    (data / "bridge.key").unlink()
    status, out, err = called(capsys, "doctor", "--data", str(data))
    assert status == 1
    assert err.startswith("error: NOT_WELL: 1 of ")
    assert "bridge.key" in err
    assert "fail" in out
