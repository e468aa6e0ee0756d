"""``lis backup``, ``restore``, ``verify-log``, ``rebuild``, ``export``, ``user``, ``device``, ``config``, ``docs``."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from command_line import called

from instruments.bridge import new_keypair
from lis import auth, barcodes, config, laboratory, queries
from lis.services import receiving
from lis.services.receiving import PersonData, Scan, TubeData
from lis.tube import diagram

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "a long enough secret"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A laboratory with three received tubes."""
    folder = tmp_path / "data"
    with laboratory.open_laboratory(config.load(folder)) as lab:
        people = [PersonData(f"Person {n}", "passport", f"E{n:08d}", "13800000000") for n in range(3)]
        orders = [
            TubeData(barcodes.mint(barcodes.TUBE, 44_000_000_000 + n), persons=(who,), sealed=True)
            for n, who in enumerate(people)
        ]
        with lab.database.write("site") as unit:
            receiving.register(unit, lab.vault, lab.rules, orders)
        with lab.database.write("anna") as unit:
            receiving.receive(
                unit, lab.rules, [Scan(order.barcode, "R1", str(n)) for n, order in enumerate(orders)]
            )
    return folder


def test_the_log_is_verified(data: Path, capsys: pytest.CaptureFixture[str]):
    """``verify-log --json`` counts events and tubes and says ok."""
    status, out, err = called(capsys, "verify-log", "--data", str(data), "--json")
    assert (status, err) == (0, "")
    assert json.loads(out) == {"events": 12, "tubes": 3, "ok": True}


def test_a_changed_row_is_named(data: Path, capsys: pytest.CaptureFixture[str]):
    """Damage exits with 1, still prints one document, and names the first bad row on both streams."""
    with sqlite3.connect(data / "lis.db") as raw:
        raw.execute("DROP TRIGGER event_no_update")
        raw.execute(
            "UPDATE event SET rack = 'R9' WHERE kind = 'Received' AND tube_id = (SELECT min(tube_id) FROM tube)"
        )
        number = raw.execute("SELECT event_id FROM event WHERE rack = 'R9'").fetchone()[0]
    raw.close()
    status, out, err = called(capsys, "verify-log", "--data", str(data), "--json")
    found = json.loads(out)
    assert (status, found["ok"], found["first_bad_row"]) == (1, False, number)
    assert err.startswith("error: LOG_DAMAGED: ")
    assert str(number) in err


def test_a_spoilt_tube_table_is_rebuilt_from_the_log(data: Path, capsys: pytest.CaptureFixture[str]):
    """A tube that was moved behind the log's back stands where the log says after ``rebuild``."""
    with sqlite3.connect(data / "lis.db") as raw:
        raw.execute("UPDATE tube SET state = 'released'")
    raw.close()
    assert called(capsys, "verify-log", "--data", str(data))[0] == 1
    status, out, _ = called(capsys, "rebuild", "--data", str(data), "--json")
    assert (status, json.loads(out)) == (0, {"tubes": 3, "corrected": 3})
    assert called(capsys, "verify-log", "--data", str(data))[0] == 0


def test_a_backup_comes_back_whole(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Backup, restore elsewhere: the log verifies, personal data open with the restored key, keys stay private."""
    copy, back = tmp_path / "copy", tmp_path / "back"
    status, out, _ = called(capsys, "backup", str(copy), "--data", str(data), "--json")
    assert status == 0
    assert json.loads(out)["bytes"] == (copy / "lis.db").stat().st_size
    status, out, _ = called(capsys, "restore", str(copy), "--data", str(back), "--json")
    assert (status, json.loads(out)["ok"]) == (0, True)
    assert stat.S_IMODE((back / "secret.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((copy / "secret.key").stat().st_mode) == 0o600
    with laboratory.open_laboratory(config.load(back)) as lab, lab.database.read() as conn:
        code = barcodes.mint(barcodes.TUBE, 44_000_000_000)
        person = queries.people(conn, queries.persons_in(conn, code)).popitem()[1]
        assert lab.vault.open(person["document_sealed"]) == "E00000000"


def test_a_backup_never_overwrites(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A target or data folder that holds anything is refused, and what it held is untouched."""
    full = tmp_path / "full"
    full.mkdir()
    (full / "letter.txt").write_text("mine", encoding="utf-8")
    status, _, err = called(capsys, "backup", str(full), "--data", str(data))
    assert (status, err.split(": ")[1]) == (1, "TARGET_NOT_EMPTY")
    copy = tmp_path / "copy"
    called(capsys, "backup", str(copy), "--data", str(data))
    status, _, err = called(capsys, "restore", str(copy), "--data", str(full))
    assert (status, err.split(": ")[1]) == (1, "DATA_NOT_EMPTY")
    assert [path.name for path in full.iterdir()] == ["letter.txt"]


def test_a_spoilt_backup_does_not_pass(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A backup whose log was changed restores with a loud refusal, status 1."""
    copy = tmp_path / "copy"
    called(capsys, "backup", str(copy), "--data", str(data))
    with sqlite3.connect(copy / "lis.db") as raw:
        raw.execute("DROP TRIGGER event_no_delete")
        raw.execute("DELETE FROM event WHERE event_id = 2")
    raw.close()
    status, out, err = called(capsys, "restore", str(copy), "--data", str(tmp_path / "back"), "--json")
    assert (status, json.loads(out)["ok"]) == (1, False)
    assert err.startswith("error: LOG_DAMAGED: ")


@pytest.mark.parametrize("what", ["tubes", "events", "reports", "plates", "runs"])
def test_every_table_is_exported_as_csv(what: str, data: Path, capsys: pytest.CaptureFixture[str]):
    """``export`` writes a header and one line a row; a document number is never in it."""
    status, out, err = called(capsys, "export", what, "--data", str(data))
    rows = list(csv.reader(io.StringIO(out)))
    assert (status, err) == (0, "")
    assert len(rows) == {"tubes": 3, "events": 12}.get(what, 0) + 1
    assert all(len(row) == len(rows[0]) for row in rows)
    assert "E00000001" not in out


def test_accounts_are_added_listed_and_given_tokens(
    data: Path, capsys: pytest.CaptureFixture[str], monkeypatch
):
    """An account can be added once; its token opens the laboratory; no password and no token is stored."""
    monkeypatch.setenv("LIS_PASSWORD", PASSWORD)
    arguments = (
        "user",
        "add",
        "anna",
        "--role",
        "technician",
        "--full-name",
        "Anna Lind",
        "--data",
        str(data),
    )
    assert called(capsys, *arguments)[0] == 0
    status, _, err = called(capsys, *arguments)
    assert (status, err.split(": ")[1]) == (1, "ACCOUNT_TAKEN")
    status, out, _ = called(capsys, "user", "list", "--data", str(data), "--json")
    row = json.loads(out)[0]
    assert (row["name"], row["full_name"], row["role"], row["active"]) == (
        "anna",
        "Anna Lind",
        "technician",
        True,
    )
    assert "password" not in row
    token = called(capsys, "user", "token", "anna", "--data", str(data))[1].strip()
    with laboratory.open_laboratory(config.load(data)) as lab, lab.database.read() as conn:
        assert auth.identify(conn, token, datetime.now(UTC)).name == "anna"
    stored = (data / "lis.db").read_bytes()
    assert token.encode() not in stored
    assert PASSWORD.encode() not in stored


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("user", "add", "bob", "--role", "king", "--password", PASSWORD), "ROLE"),
        (("user", "add", "bob", "--role", "reviewer", "--password", "short"), "PASSWORD"),
        (("user", "add", "a b", "--role", "reviewer", "--password", PASSWORD), "ACCOUNT_NAME"),
        (("device", "add", "qs5", "--key", "too-short"), "DEVICE_KEY"),
        (("device", "add", " ", "--key", "x" * 40), "DEVICE_NAME"),
    ],
)
def test_a_bad_account_or_device_is_refused(
    arguments: tuple[str, ...], code: str, data: Path, capsys: pytest.CaptureFixture[str]
):
    """A made-up role, a short password, a malformed name or key: status 1 and the reason."""
    status, out, err = called(capsys, *arguments, "--data", str(data))
    assert (status, out) == (1, "")
    assert err.startswith(f"error: {code}: ")


def test_devices_are_enrolled_listed_and_revoked(data: Path, capsys: pytest.CaptureFixture[str]):
    """A key is enrolled once, shows in the list, and its revocation is kept."""
    key = new_keypair().public.decode()
    add = ("device", "add", "qs5", "--key", key, "--data", str(data))
    assert called(capsys, *add)[0] == 0
    assert called(capsys, *add)[2].startswith("error: DEVICE_KNOWN: ")
    listed = ("device", "list", "--data", str(data), "--json")
    row = json.loads(called(capsys, *listed)[1])[0]
    assert (row["name"], row["public_key"], row["revoked_at"]) == ("qs5", key, None)
    assert called(capsys, "device", "revoke", "qs5", "--data", str(data))[0] == 0
    assert json.loads(called(capsys, *listed)[1])[0]["revoked_at"]
    with laboratory.open_laboratory(config.load(data)) as lab, lab.database.read() as conn:
        assert queries.device_of_key(conn, key, datetime.now(UTC)) is None


def test_the_settings_never_show_a_password(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch):
    """``config show`` prints every setting; the password in a database URL is masked."""
    monkeypatch.setenv("LIS_DATABASE", "postgresql+psycopg://lis:hunter22@db/lis")
    status, out, _ = called(capsys, "config", "show", "--data", str(tmp_path), "--json")
    found = json.loads(out)
    assert (status, found["data"]) == (0, str(tmp_path))
    assert "hunter22" not in out
    assert "***" in found["database"]
    assert "hunter22" not in called(capsys, "config", "show", "--data", str(tmp_path))[1]


@pytest.mark.parametrize(
    "content",
    [
        'port = "eighty"\n',
        "unknown_setting = 1\n",
        "port = 8080\nport = 1\n",
        "\x00",
        "timezone = 'Mars/Olympus'\n",
    ],
)
def test_wrong_settings_are_named(content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """A wrong ``lis.toml`` stops every command with a sentence, not with a traceback."""
    (tmp_path / "lis.toml").write_text(content, encoding="utf-8")
    status, out, err = called(capsys, "verify-log", "--data", str(tmp_path))
    assert (status, out) == (1, "")
    assert err.startswith("error: ")
    assert "UNEXPECTED" not in err


def test_a_wrong_key_file_is_named(data: Path, capsys: pytest.CaptureFixture[str]):
    """A key file that was replaced by something else stops the start with its name."""
    (data / "secret.key").write_text("not a key", encoding="utf-8")
    status, _, err = called(capsys, "verify-log", "--data", str(data))
    assert (status, err.split(": ")[1]) == (1, "BAD_KEY")
    assert "secret.key" in err


@pytest.mark.parametrize("content", [b"", b"this is no database at all " * 200])
def test_a_database_file_that_is_none_is_a_sentence(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """A damaged ``lis.db`` is refused in words; an empty one is a new laboratory."""
    (tmp_path / "lis.db").write_bytes(content)
    status, _, err = called(capsys, "verify-log", "--data", str(tmp_path))
    assert status == (1 if content else 0)
    if content:
        assert err.startswith("error: ")
        assert "UNEXPECTED" not in err


def test_the_state_diagram_is_the_tables(capsys: pytest.CaptureFixture[str]):
    """``docs states`` prints the diagram of the transition table."""
    assert called(capsys, "docs", "states")[1].strip() == diagram()
