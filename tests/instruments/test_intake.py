"""What the bridge answers to the parts of a file, without sockets."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from instruments import wire
from instruments.intake import Intake, PartFolders, Receipt, Refused

NOW = datetime(2026, 3, 1, 4, 5, 6, tzinfo=UTC)


class Store:
    """A handler with a memory: stores each (instrument, run, sha256) once; can be told to fail."""

    def __init__(self):
        self.files = {}
        self.calls = 0
        self.trouble = None

    def __call__(self, shipment):
        """Store once, or fail as told."""
        self.calls += 1
        if self.trouble is not None:
            raise self.trouble
        key = (shipment.instrument, shipment.run, shipment.sha256)
        known = key in self.files
        self.files.setdefault(key, shipment)
        return Receipt("duplicate" if known else "stored", NOW)


@pytest.fixture
def store():
    """A fresh store."""
    return Store()


@pytest.fixture
def events():
    """What was reported."""
    return []


@pytest.fixture
def intake(tmp_path, store, events):
    """An intake with parts on disk and a limit of 1,000 bytes."""
    return Intake(store, PartFolders(tmp_path / "parts"), events.append, max_file_bytes=1000)


def parts(data=b"x" * 100, name="run-1.csv", instrument="qs5-1", part_bytes=30):
    """A synthetic file in parts."""
    return wire.split_file(
        data, instrument=instrument, run=name[:-4], name=name, plate="P1",
        produced_at="2026-03-01T12:00:00+08:00", part_bytes=part_bytes,
    )  # fmt: skip


def test_only_the_handlers_receipt_completes_a_file(intake, store):
    """Parts are answered with what is missing; the last one with the handler's receipt."""
    first, second, third, fourth = parts(b"0123456789" * 10)
    for message, missing in ((third, [1, 2, 4]), (first, [2, 4]), (fourth, [2])):
        answer = intake.take("qs5-1", message)
        assert (answer.header["complete"], answer.header["missing"]) == (False, missing)
        assert store.calls == 0
    answer = intake.take("qs5-1", second)
    assert (answer.type, answer.header["status"], answer.header["complete"]) == ("ACK", "stored", True)
    assert answer.header["first_stored_at"] == NOW.isoformat()
    (shipment,) = store.files.values()
    assert shipment.data == b"0123456789" * 10
    assert (shipment.device, shipment.plate, shipment.size) == ("qs5-1", "P1", 100)
    assert shipment.produced_at == datetime(2026, 3, 1, 4, 0, tzinfo=UTC)


def test_a_finished_file_asked_again_is_a_duplicate(intake, store):
    """After a lost answer: a small file is recognised by the handler, a large one does not travel twice."""
    (small,) = parts(b"small", "small.csv")
    answers = [intake.take("qs5-1", small).header["status"] for _ in range(2)]
    assert answers == ["stored", "duplicate"]
    large = parts()
    for message in large:
        intake.take("qs5-1", message)
    answer = intake.take("qs5-1", large[0])
    assert (answer.header["status"], answer.header["complete"]) == ("duplicate", True)
    assert len(store.files) == 2


def test_parts_survive_a_restart_and_nothing_is_left_behind(tmp_path, intake, store):
    """A new intake goes on with the parts on disk; after the end the folder is empty."""
    messages = parts()
    for message in messages[:3]:
        intake.take("qs5-1", message)
    later = Intake(store, PartFolders(tmp_path / "parts"), print)
    assert later.take("qs5-1", messages[0]).header == {
        "status": "duplicate", "first_stored_at": "", "complete": False, "missing": [4],
    }  # fmt: skip
    assert later.take("qs5-1", messages[3]).header["complete"]
    assert [path for path in (tmp_path / "parts").rglob("*") if path.is_file()] == []


def test_lost_parts_are_asked_for_again(tmp_path, intake, store):
    """Parts that vanished from the spool are listed as missing, so the agent sends them once more."""
    messages = parts()
    for message in messages[:3]:
        intake.take("qs5-1", message)
    for path in (tmp_path / "parts").rglob("2"):
        path.unlink()
    assert intake.take("qs5-1", messages[3]).header["missing"] == [2]
    assert intake.take("qs5-1", messages[1]).header["complete"]
    assert len(store.files) == 1


def test_a_damaged_part_on_disk_is_found_and_the_file_sent_again(tmp_path, intake, store):
    """A changed byte in the spool never reaches the handler; all parts are asked for again."""
    messages = parts()
    for message in messages[:3]:
        intake.take("qs5-1", message)
    next((tmp_path / "parts").rglob("2")).write_bytes(b"y" * 30)
    answer = intake.take("qs5-1", messages[3])
    assert (answer.type, answer.header["status"]) == ("NACK", "retryable")
    assert answer.header["code"] == "digest-mismatch"
    assert store.calls == 0
    assert intake.take("qs5-1", messages[0]).header["missing"] == [2, 3, 4]


def test_a_failing_handler_is_asked_again_with_the_parts_it_has(intake, store, events):
    """An exception is a retryable NACK; when it is over, part 1 alone brings the whole file through."""
    store.trouble = OSError("disk full")
    messages = parts()
    answers = [intake.take("qs5-1", message) for message in messages]
    assert (answers[-1].header["status"], answers[-1].header["code"]) == ("retryable", "handler-failed")
    assert [event.kind for event in events] == ["handler-failed"]
    store.trouble = None
    assert intake.take("qs5-1", messages[0]).header["complete"]


def test_a_night_without_a_database_does_not_fill_the_log(intake, store, caplog):
    """Every attempt has its line; where in the program it failed is told once a minute and device."""
    store.trouble = OSError("the database is away")
    for _ in range(50):
        intake.take("qs5-1", parts(part_bytes=100)[0])
    assert caplog.text.count("will be sent again") == 50
    assert caplog.text.count("Traceback") == 1


def test_a_refusal_is_final_and_forgets_the_parts(tmp_path, intake, store, events):
    """Refused becomes a permanent NACK with its code and sentence, is audited, and frees the disk."""
    store.trouble = Refused("unreadable", "No format knows this file.")
    answer = [intake.take("qs5-1", message) for message in parts()][-1]
    assert (answer.header["status"], answer.header["code"]) == ("permanent", "unreadable")
    assert answer.header["sentence"] == "No format knows this file."
    assert [event.kind for event in events] == ["refused"]
    assert [path for path in (tmp_path / "parts").rglob("*") if path.is_file()] == []


def test_a_stolen_instrument_name_is_refused_and_audited(intake, store, events):
    """A valid key with another instrument's name gets nothing in, and the auditor hears of it."""
    answer = intake.take("lc480-2", parts()[0])
    assert (answer.header["status"], answer.header["code"]) == ("permanent", "wrong-instrument")
    assert [(event.kind, event.device) for event in events] == [("wrong-instrument", "lc480-2")]
    assert store.calls == 0


def test_a_file_beyond_the_limit_is_refused(intake, events):
    """The size limit of the bridge is a permanent refusal before any part is kept."""
    answer = intake.take("qs5-1", parts(b"x" * 1001, part_bytes=500)[0])
    assert (answer.header["status"], answer.header["code"]) == ("permanent", "too-large")


def test_a_device_cannot_fill_the_disk_with_beginnings(tmp_path, intake):
    """Of the files a device leaves unfinished only the newest eight are kept, another device's untouched."""
    intake.take("lc480-2", parts(instrument="lc480-2")[0])
    for number in range(20):
        intake.take("qs5-1", parts(b"%03d" % number * 30, f"run-{number}.csv")[0])
    assert len(list((tmp_path / "parts").glob("*/*/1"))) == 8 + 1
