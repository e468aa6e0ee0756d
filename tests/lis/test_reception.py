"""Where files arrive: kept before they are acknowledged, read afterwards, tried again, never dropped."""

from __future__ import annotations

import contextlib
import hashlib
import queue
import random
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from bench import Bench, open_bench
from disks import fill
from web_bench import NO_TLS

from instruments.bridge import BridgeEvent, Refused, Shipment, new_keypair
from lis import laboratory, queries
from lis.clock import FixedClock
from lis.errors import LisError, StorageFull
from lis.reception import Reception, commits
from lis.reception import link as reception
from lis.services import devices, inbox
from lis.services.inbox import Delivery
from lis.services.results import Ingested
from lis.web.serving import serving


def shipment(plate: str, data: bytes, sha256: str = "") -> Shipment:
    """A whole file as the bridge hands it over."""
    proved = sha256 or hashlib.sha256(data).hexdigest()
    return Shipment(
        "cycler-1", "synthetic cycler", "run-1", plate, "run.csv", proved, len(data), data, None, "m1"
    )


@pytest.fixture
def read() -> queue.Queue[Ingested]:
    """What was read, in order."""
    return queue.Queue()


@pytest.fixture
def link(
    embedded: Bench, read: queue.Queue[Ingested], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Reception]:
    """A running reception that tries again at once."""
    monkeypatch.setattr(reception, "RETRY_SECONDS", 0.01)
    with Reception(embedded.lab, "tcp://127.0.0.1:*", read.put) as made:
        yield made


@pytest.fixture
def run(embedded: Bench) -> Shipment:
    """A finished run of a loaded plate."""
    plate = embedded.plate(embedded.singles(2))
    return shipment(plate, embedded.table(plate))


@contextlib.contextmanager
def busy(bench: Bench, caught: pytest.LogCaptureFixture, words: str) -> Iterator[None]:
    """The database in another's hands until the reception has complained of it."""
    complained = threading.Event()

    def look(record) -> bool:
        if words in record.getMessage():
            complained.set()
        return True

    caught.handler.addFilter(look)
    with bench.lab.database.write("another"):
        bench.lab.database._busy_seconds = 0.02  # now: whoever wrote just before had the time that it needs
        yield
        assert complained.wait(60), words
    bench.lab.database._busy_seconds = 15.0


def state_of(bench: Bench, sha256: str) -> tuple[str, str, bytes | None]:
    """State, code and content of a kept file."""
    with bench.lab.database.read() as conn:
        (row,) = [row for row in queries.files(conn) if row["sha256"] == sha256]
        return row["state"], row["code"], queries.file_row(conn, row["file_id"])["content"]


def test_a_file_is_kept_before_it_is_acknowledged_and_read_after(
    link: Reception, embedded: Bench, run: Shipment, read: queue.Queue[Ingested]
):
    """When the receipt is given the bytes are in the database; the result follows; a twin is read no second time."""
    receipt = link._keep(run)
    assert receipt.status == "stored"
    assert state_of(embedded, run.sha256)[2] == run.data
    assert read.get(timeout=60).state == "read"
    assert link._keep(run).status == "duplicate"
    assert link._kept.empty()


def test_a_file_that_is_not_what_it_says_is_refused_and_not_kept(
    link: Reception, embedded: Bench, run: Shipment
):
    """Bytes that are not those of the announced SHA-256 get no receipt but a code and a sentence."""
    with pytest.raises(Refused) as caught:
        link._keep(shipment(run.plate, run.data, "0" * 64))
    assert caught.value.code == "FILE_DAMAGED"
    assert caught.value.sentence.endswith(".")
    assert embedded.count("file") == 0


def test_a_file_waits_for_the_database_and_is_read_then(
    link: Reception,
    embedded: Bench,
    run: Shipment,
    read: queue.Queue[Ingested],
    caplog: pytest.LogCaptureFixture,
):
    """While another holds the database the file is tried again and again; freed, it is read once."""
    with embedded.lab.database.write("bridge") as unit:
        kept = inbox.accept(unit, Delivery(run.device, run.run, run.name, run.data, run.plate))
    with busy(embedded, caplog, "waits: The database is busy"):
        link._kept.put(kept.file_id)
    assert read.get(timeout=60).state == "read"
    assert read.empty()
    assert state_of(embedded, run.sha256)[0] == "read"


def test_a_file_whose_commit_was_never_confirmed_is_read_when_it_comes_again(
    link: Reception, embedded: Bench, run: Shipment, read: queue.Queue[Ingested]
):
    """A database that dies between commit and answer has the file, nobody knows: the resend is a duplicate, and read."""
    with embedded.lab.database.write("bridge") as unit:  # what the lost answer was about
        inbox.accept(unit, Delivery(run.device, run.run, run.name, run.data, run.plate))
    assert link._keep(run).status == "duplicate"
    assert read.get(timeout=60).state == "read"
    assert link._keep(run).status == "duplicate"
    assert link._kept.empty()


def test_a_file_on_which_the_program_fails_waits_for_a_person(
    link: Reception,
    embedded: Bench,
    run: Shipment,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    """A fault of our own loses no byte: the file is quarantined, even if the database must be waited for, with an alarm."""
    aside = threading.Event()
    done = reception.inbox.set_aside

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    def note(*given: object) -> None:
        done(*given)
        aside.set()

    monkeypatch.setattr(laboratory, "process", fail)
    monkeypatch.setattr(reception.inbox, "set_aside", note)
    link._keep(run)
    assert aside.wait(60)
    with busy(embedded, caplog, "waits: The database is busy"):
        link._kept.put(state_of_id(embedded))
    assert state_of(embedded, run.sha256) == ("quarantined", "READ_FAILED", run.data)
    with embedded.lab.database.read() as conn:
        assert "READ_FAILED" in {row["code"] for row in queries.open_alarms(conn)}


def state_of_id(bench: Bench) -> str:
    """The id of the only file."""
    with bench.lab.database.read() as conn:
        return str(queries.files(conn)[0]["file_id"])


def test_what_was_kept_by_a_server_that_died_is_read_by_the_next(
    embedded: Bench, run: Shipment, read: queue.Queue[Ingested]
):
    """A file that stands kept but unread at the start is read without being sent again."""
    with embedded.lab.database.write("bridge") as unit:
        inbox.accept(unit, Delivery(run.device, run.run, run.name, run.data, run.plate))
    with Reception(embedded.lab, "tcp://127.0.0.1:*", read.put):
        assert read.get(timeout=60).state == "read"


def test_events_of_the_bridge_become_alarms(
    link: Reception, embedded: Bench, caplog: pytest.LogCaptureFixture
):
    """What concerns a person is an open alarm; starting and stopping is not; an alarm that cannot be written is logged."""
    link._audit(BridgeEvent("stopped", None, "stopped"))
    link._audit(BridgeEvent("no_key", None, "An unknown key knocked."))
    with embedded.lab.database.read() as conn:
        alarms = [(row["code"], row["subject"], row["sentence"]) for row in queries.open_alarms(conn)]
    assert alarms == [("NO_KEY", "unknown device", "An unknown key knocked.")]
    embedded.lab.database._busy_seconds = 0.02
    with embedded.lab.database.write("another"):
        link._audit(BridgeEvent("no_key", "qs5", "Again."))
    assert "an alarm could not be recorded (no_key)" in caplog.text


def test_a_file_of_one_byte_again_and_again_holds_nobody_up(embedded: Bench):
    """Blanks, enquiries or zeros by the hundred thousand are refused by every reader, and not after minutes of search."""
    for number in range(33):
        assert laboratory.parse(embedded.lab, "run.txt", bytes([number]) * 100_000).run is None


def test_the_same_alarm_is_raised_once_and_another_word_is_another_alarm(link: Reception, embedded: Bench):
    """A file that is sent again every few seconds does not bury the list of alarms; a new reason stands there at once."""
    for detail in ("run.csv: full", "run.csv: full", "run.csv: damaged", "run.csv: full"):
        link._audit(BridgeEvent("handler-failed", "qs5", detail))
    with embedded.lab.database.read() as conn:
        told = sorted(row["sentence"] for row in queries.open_alarms(conn))
    assert told == ["run.csv: damaged", "run.csv: full"]


def test_the_alarm_of_a_full_disk_is_told_at_once_and_recorded_when_there_is_room(
    small_disk: Path, sqlite_template: Path, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
):
    """On a really full disk health, metrics and the list of alarms say so; with room again the alarm is recorded unasked."""
    monkeypatch.setattr(reception, "RETRY_SECONDS", 0.02)
    folder = small_disk / "data"
    folder.mkdir()
    shutil.copy(sqlite_template, folder / "lis.db")
    bench = open_bench(folder, "", clock)
    with (
        bench.lab,
        Reception(bench.lab, "tcp://127.0.0.1:*") as link,
        serving(bench.lab, "127.0.0.1", 0) as address,
        httpx.Client(base_url=address, trust_env=False, verify=NO_TLS) as web,
    ):
        (small_disk / "ballast").write_bytes(bytes(2**20))
        with pytest.raises(StorageFull):
            deque(link._keep(shipment("", random.randbytes(100_000))) for _ in range(100))
        ballast = fill(small_disk)
        number = 0
        while not link._owed:  # the log has room for a few alarms from the write that failed
            number += 1
            link._audit(BridgeEvent("handler-failed", f"qs{number}", "run.csv: full"))
        checks = web.get("/healthz")
        assert (checks.status_code, checks.json()["checks"]["writes"]["code"]) == (503, "STORAGE_FULL")
        assert "lis_writes_refused 1.0" in web.get("/metrics").text
        with bench.lab.database.read() as conn:
            told = laboratory.alarms(bench.lab, conn)[0]
        assert (told["alarm_id"], told["code"]) == (0, "STORAGE_FULL")
        ballast.unlink()
        end = time.monotonic() + 60
        while bench.lab.database.trouble is not None:
            assert time.monotonic() < end
            time.sleep(0.01)
        with bench.lab.database.read() as conn:
            (alarm,) = (one for one in laboratory.alarms(bench.lab, conn) if one["subject"] == f"qs{number}")
        assert alarm["code"] == "HANDLER-FAILED"
        assert alarm["sentence"].startswith("run.csv: full (First at ")
        assert web.get("/healthz").json()["checks"]["writes"] == {"ok": True}


def test_a_revoked_key_is_deaf_soon_and_strangers_fill_no_memory(
    link: Reception, embedded: Bench, monkeypatch: pytest.MonkeyPatch
):
    """An enrolment is asked anew when it is too old; a thousand strangers are forgotten together."""
    key = new_keypair().public
    with embedded.lab.database.write("administrator") as unit:
        devices.enrol_device(unit, "qs5", "cycler", key.decode())
    assert link._enrolled(key) == "qs5"
    with embedded.lab.database.write("administrator") as unit:
        devices.revoke_device(unit, "qs5")
    monkeypatch.setattr(reception, "REMEMBER_KEYS", -1.0)
    link._keys.clear()
    assert link._enrolled(key) is None
    for number in range(1010):
        assert link._enrolled(b"stranger %d" % number) is None
    assert len(link._keys) <= 1001


def test_deliveries_that_wait_together_are_committed_together(link: Reception, embedded: Bench):
    """What comes while the database is busy is one commit; a damaged one among them is refused alone."""
    database = embedded.lab.database
    outcomes: queue.Queue[tuple[int, object]] = queue.Queue()

    def keep(number: int) -> None:
        data = b"SYNTHETIC, number %d" % number
        wrong = "0" * 64 if number == 3 else ""
        try:
            delivery = Delivery(f"cycler-{number}", "run-1", "run.csv", data, "P1", sha256=wrong)
            outcomes.put((number, link._commits.keep(delivery).status))
        except LisError as error:
            outcomes.put((number, error.code))

    threads = [threading.Thread(target=keep, args=(number,)) for number in range(8)]
    with database.write("another"):
        for thread in threads:
            thread.start()
        while len(link._commits._waiting) < 7:  # the first leads and waits for the database itself
            threads[0].join(0.005)
        before = database._commits
    for thread in threads:
        thread.join(60)
    told = dict(outcomes.get() for _ in threads)
    assert told == {number: "FILE_DAMAGED" if number == 3 else "stored" for number in range(8)}
    assert database._commits - before <= 3  # the one that kept them waiting, the leader's, all the others'
    with database.read() as conn:
        assert {row["device"] for row in queries.files(conn)} == {f"cycler-{n}" for n in range(8) if n != 3}


def test_a_group_that_the_database_refuses_is_kept_one_by_one(
    link: Reception, embedded: Bench, monkeypatch: pytest.MonkeyPatch
):
    """A delivery that the database itself refuses is told so, and takes no other with it."""
    accept, poison = inbox.accept, Delivery("cycler-x", "run-1", "x.csv", b"poison", "P1")

    def refuse(unit, delivery):
        if delivery.device == "cycler-x":
            raise StorageFull("DISK_FULL", "No space is left.")
        return accept(unit, delivery)

    monkeypatch.setattr(commits.inbox, "accept", refuse)
    good = Delivery("cycler-1", "run-1", "run.csv", b"good", "P1")
    tickets = [commits._Ticket(poison), commits._Ticket(good)]
    link._commits._commit(tickets)
    assert tickets[0].error is not None
    assert tickets[1].stored is not None
    with pytest.raises(StorageFull):
        link._commits.keep(poison)
