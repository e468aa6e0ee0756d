"""The agent's folder, outbox and courier, each without a network; the network is in test_link."""

from __future__ import annotations

import fcntl
import json
import os
import random
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import zmq
from disks import fill

from instruments import agent, wire

SOURCE = Path(agent.__file__).parent


@pytest.fixture
def folder(tmp_path):
    """The folder of an instrument."""
    root = tmp_path / "export"
    root.mkdir()
    return root


@pytest.fixture
def config(tmp_path, folder):
    """An agent whose bridge does not exist."""
    public, secret = zmq.curve_keypair()
    return agent.AgentConfig(
        folder=folder,
        outbox=tmp_path / "own" / "outbox.db",
        endpoint="tcp://127.0.0.1:1",  # nobody listens there
        instrument="qs5-1",
        server_public=zmq.curve_keypair()[0],
        public_key=public,
        secret_key=secret,
        settle_s=0.0,
        part_bytes=64,
    )


@pytest.fixture
def start(config):
    """Start agents with changes to the configuration, and close them."""
    started = []

    def begin(**changes):
        started.append(agent.Agent(agent.replace(config, **changes)))
        return started[-1]

    yield begin
    for one in started:
        one.close()


@pytest.fixture
def outbox(tmp_path):
    """An empty outbox."""
    box = agent.Outbox(tmp_path / "box.db", "qs5-1")
    yield box
    box.close()


def spool(outbox, name="run-1.csv", data=b"A1,23.4\n", part_bytes=64):
    """Put one file into the outbox."""
    found = agent.Found(name, f"mark of {data!r}", data, "2026-03-01T04:05:06+00:00")
    message = wire.split_file(
        data,
        instrument="qs5-1",
        run=name[:-4],
        name=name,
        produced_at=found.produced_at,
        part_bytes=part_bytes,
    )[0]
    return outbox.add(found, wire.head_of(message), part_bytes, now=100.0)


def tree(root):
    """Everything a change of the folder could change: names, content, times, modes."""
    return {
        path.relative_to(root): (path.stat().st_mtime_ns, path.stat().st_mode, path.read_bytes())
        for path in root.rglob("*")
        if path.is_file()
    }


# ---------------------------------------------------------------------------- folder
def test_a_file_is_finished_only_when_it_stood_still(folder):
    """A growing file is not given out before its size and time were the same for the settling time."""
    watched = agent.Folder(folder, ["*.csv"], settle_s=3.0)
    path = folder / "run-1.csv"
    path.write_bytes(b"half")
    assert list(watched.finished({}, tick=0.0)) == []
    assert list(watched.finished({}, tick=2.0)) == []
    path.write_bytes(b"half and the other half")
    assert list(watched.finished({}, tick=3.0)) == []
    assert list(watched.finished({}, tick=5.5)) == []
    assert [found.data for found in watched.finished({}, tick=6.0)] == [b"half and the other half"]


def test_a_file_another_program_has_locked_waits(folder):
    """A file under a lock is named as a problem and given out once the lock is gone."""
    path = folder / "run-1.csv"
    path.write_bytes(b"done?")
    watched = agent.Folder(folder, ["*"], settle_s=0.0)
    with path.open("rb") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        assert list(watched.finished({}, tick=1.0)) == []
        assert "held by another program" in watched.problems["run-1.csv"]
    assert [found.name for found in watched.finished({}, tick=2.0)] == ["run-1.csv"]
    assert watched.problems == {}


def test_empty_unreadable_and_oversized_files_are_problems_not_losses(folder, monkeypatch):
    """What cannot be sent is named with its reason and does not hide the files that can."""
    monkeypatch.setattr(wire, "MAX_FILE_BYTES", 10)
    (folder / "empty.csv").touch()
    (folder / "huge.csv").write_bytes(b"x" * 11)
    (folder / "good.csv").write_bytes(b"x" * 10)
    watched = agent.Folder(folder, ["*.csv"], settle_s=0.0)
    assert [found.name for found in watched.finished({}, tick=1.0)] == ["good.csv"]
    assert set(watched.problems) == {"empty.csv", "huge.csv"}


def test_only_matching_files_at_any_depth_are_taken(folder):
    """Patterns choose, subfolders become part of the name, names no UTF-8 can carry are mended."""
    (folder / "2026" / "03").mkdir(parents=True)
    (folder / "2026" / "03" / "检测.csv").write_bytes(b"1")
    (folder / "log.txt").write_bytes(b"2")
    Path(os.fsdecode(bytes(folder) + b"/bad\xff.csv")).write_bytes(b"3")
    watched = agent.Folder(folder, ["**/*.csv"], settle_s=0.0)
    assert [found.name for found in watched.finished({}, tick=1.0)] == ["2026/03/检测.csv", "bad\ufffd.csv"]


def test_a_thousand_files_are_spooled_once_and_never_read_again(start, folder, monkeypatch):
    """1,000 files make 1,000 rows; the next passes, also after a restart, open none of them."""
    for number in range(1000):
        (folder / f"run-{number:04}.csv").write_bytes(b"A1,%d" % number)
    first = start()
    assert first.scan() == 1000
    assert first.scan() == 0
    first.close()
    monkeypatch.setattr(agent.Folder, "_read", lambda *_: pytest.fail("an unchanged file was read again"))
    assert start().scan() == 0


def test_the_folder_of_the_instrument_is_left_as_it_was(start, folder):
    """The agent works in a folder without writing, moving, touching or deleting anything in it."""
    (folder / "sub").mkdir()
    (folder / "sub" / "run-1.eds").write_bytes(random.Random(1).randbytes(5000))
    (folder / "run-2.csv").write_bytes(b"A1,23.4")
    (folder / "run-2.csv").chmod(stat.S_IRUSR)
    before = tree(folder)
    one = start(patterns=("**/*",))
    one.step()
    one.step()
    assert one.status()["pending"] == 2
    assert tree(folder) == before


def test_a_folder_that_is_away_is_reported_and_awaited(start, config, folder):
    """A network drive that vanished shows in the health file; its return is noticed by itself."""
    folder.rmdir()
    one = start()
    assert "cannot be read" in one.step()["problems"]["folder"]
    folder.mkdir()
    (folder / "run-1.csv").write_bytes(b"A1")
    assert one.step()["problems"] == {}
    assert json.loads(config.health_file.read_text())["pending"] == 1


# ---------------------------------------------------------------------------- outbox
def test_the_same_file_twice_is_one_row_and_new_content_is_a_version(outbox):
    """Same name and content: nothing new. New content under an old name: a second row, the first stays."""
    assert spool(outbox) == 1
    assert spool(outbox) == 0
    assert spool(outbox, data=b"A1,99.9\n") == 2
    assert spool(outbox) == 0
    due = outbox.due(now=100.0, limit=9, horizon=1e9)
    assert [(waiting.head.name, waiting.version) for waiting in due] == [("run-1.csv", 1), ("run-1.csv", 2)]
    assert [outbox.body(waiting.file_id, 1) for waiting in due] == [b"A1,23.4\n", b"A1,99.9\n"]


def test_the_outbox_is_synced_fully_and_held_alone(outbox):
    """WAL with synchronous=FULL, and a second agent on the same outbox is refused."""
    assert outbox._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert outbox._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        agent.open_outbox(Path(outbox.path), "qs5-1")


def test_what_was_put_off_is_due_after_a_restart_and_after_a_clock_set_back(tmp_path):
    """A delay never outlives the agent, and a PC clock set back by years does not hold a file."""
    path = tmp_path / "box.db"
    box = agent.Outbox(path, "qs5-1")
    spool(box)
    box.postpone(1, next_try=1000.0, reply="busy")
    assert box.due(now=999.0, limit=9, horizon=1100.0) == []
    assert len(box.due(now=10.0, limit=9, horizon=130.0)) == 1
    box.close()
    box = agent.Outbox(path, "qs5-1")
    assert [waiting.attempts for waiting in box.due(now=999.0, limit=9, horizon=1100.0)] == [1]
    box.close()


def test_acknowledged_bytes_are_freed_late_and_their_rows_stay(outbox):
    """Pruning touches only what was acknowledged before the date; the file is still known."""
    spool(outbox, "old.csv")
    spool(outbox, "new.csv")
    spool(outbox, "open.csv")
    outbox.settle(1, agent.ACKED, "stored", now=1000.0)
    outbox.settle(2, agent.ACKED, "stored", now=2000.0)
    outbox.prune(before=1500.0)
    assert [outbox.body(number, 1) is None for number in (1, 2, 3)] == [True, False, False]
    assert outbox.counts() == {"pending": 1, "acked": 2, "refused": 0}
    assert spool(outbox, "old.csv") == 0
    assert outbox.checkpoint()


def test_a_damaged_outbox_is_kept_aside_and_filled_anew(start, config, folder):
    """A destroyed outbox costs nothing: it is kept for inspection and the folder is spooled again."""
    (folder / "run-1.csv").write_bytes(b"A1,23.4")
    first = start()
    first.scan()
    first.close()
    config.outbox.write_bytes(b"not a database " * 1000)
    again = start()
    assert again.scan() == 1
    assert list(config.outbox.parent.glob("outbox.db.damaged-*"))


def test_a_flipped_bit_in_a_spooled_part_is_never_sent(start, folder):
    """A part that changed on disk is dropped and read from the folder again instead of being sent."""
    (folder / "run-1.csv").write_bytes(b"A1,23.4")
    one = start()
    one.scan()
    one._outbox._db.execute("UPDATE part SET body = ?", (b"A1,13.4",))
    assert list(one._courier.outgoing(now=200.0, tick=0.0)) == []
    assert "outbox-damaged" in one.status()["last_error"]
    assert one.scan() == 1
    assert [message.body for message in one._courier.outgoing(now=2e9, tick=0.0)] == [b"A1,23.4"]


# ---------------------------------------------------------------------------- courier
@pytest.fixture
def courier(outbox, config):
    """A courier with a seeded chance."""
    return agent.Courier(outbox, config, random.Random(3))


def ids(messages):
    """The part numbers of messages."""
    return [message.header["part"] for message in messages]


def test_a_large_file_first_asks_what_is_missing(outbox, courier):
    """Of a file in parts, part 1 goes alone; then exactly the parts the bridge says it lacks."""
    spool(outbox, data=b"x" * 300)
    probe = list(courier.outgoing(now=100.0, tick=0.0))
    assert ids(probe) == [1]
    assert list(courier.outgoing(now=100.0, tick=0.1)) == []
    courier.received(wire.ack(probe[0].message_id, wire.STORED, "", [3, 5]), now=100.0)
    rest = list(courier.outgoing(now=100.0, tick=0.2))
    assert ids(rest) == [3, 5]
    courier.received(wire.ack(rest[1].message_id, wire.STORED, "2026-03-01T00:00:00+00:00"), now=101.0)
    assert outbox.counts()["acked"] == 1
    assert not courier.busy


def test_the_window_bounds_what_is_in_flight(outbox, courier, config):
    """However many files wait, no more messages than the window are unanswered."""
    for number in range(30):
        spool(outbox, f"run-{number}.csv")
    first = list(courier.outgoing(now=100.0, tick=0.0))
    assert len(first) == config.window
    courier.unsent(first[-1])
    assert [message.message_id for message in courier.outgoing(100.0, 0.0)] == [first[-1].message_id]


def test_silence_is_met_with_growing_delays(outbox, courier, config):
    """Each unanswered attempt waits twice as long as the one before, up to the limit, +-20 %."""
    spool(outbox)
    now, delays = 100.0, []
    for attempt in range(9):
        assert len(list(courier.outgoing(now, tick=now))) == 1
        courier.expire(now + 19, tick=now + 19, heard_at=now)
        assert courier.busy
        courier.expire(now + 21, tick=now + 21, heard_at=now)
        due = outbox._db.execute("SELECT next_try FROM file").fetchone()[0]
        delays.append(due - now - 21)
        now = due
        assert outbox.due(now, 9, 1e9)[0].attempts == attempt + 1
    expected = [min(2.0**n, config.retry_max_s) for n in range(9)]
    assert all(0.8 * e <= d <= 1.2 * e for d, e in zip(delays, expected, strict=True))


def test_a_bridge_that_stores_again_is_found_out_soon_however_long_the_waits_have_grown(
    outbox, courier, config
):
    """While all fail one file is tried every two seconds; the first that is stored makes all others due."""
    for number in range(5):
        spool(outbox, f"run-{number}.csv")
    now = 1000.0
    for _ in range(6):  # attempts that fail until each file waits for about a minute
        now += 100.0
        for message in list(courier.outgoing(now, tick=now)):
            courier.received(wire.nack(message.message_id, wire.RETRYABLE, "handler-failed", "Full."), now)
    knocked = []
    for second in range(1, 21):
        for message in courier.outgoing(now + second, tick=now + second):
            knocked.append((second, message.header["run"]))
            courier.received(wire.nack(message.message_id, wire.RETRYABLE, "busy", "Full."), now + second)
    assert [second for second, _ in knocked] == [2, 4, 6, 8, 10, 12, 14, 16, 18, 20]
    assert len({run for _, run in knocked}) == 5
    (probe,) = courier.outgoing(now + 22, tick=now + 22)
    courier.received(wire.ack(probe.message_id, wire.STORED, "2026-03-01T00:00:00+00:00"), now + 22)
    assert len(list(courier.outgoing(now + 22, tick=now + 22))) == 4


def test_an_answer_that_could_not_be_written_down_is_asked_for_again(outbox, courier, monkeypatch):
    """The disk fails just when a file is to be marked as stored: it is sent again at once and marked then."""
    spool(outbox)
    real = outbox.settle

    def fail(*_given):
        monkeypatch.setattr(outbox, "settle", real)
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(outbox, "settle", fail)
    (message,) = courier.outgoing(now=100.0, tick=0.0)
    with pytest.raises(sqlite3.OperationalError):
        courier.received(wire.ack(message.message_id, wire.STORED, "2026-03-01T00:00:00+00:00"), now=100.0)
    (again,) = courier.outgoing(now=100.0, tick=0.0)
    assert again.message_id == message.message_id
    courier.received(wire.ack(again.message_id, wire.DUPLICATE, "2026-03-01T00:00:00+00:00"), now=100.0)
    assert outbox.counts()["acked"] == 1


def test_an_answer_to_nothing_changes_nothing(outbox, courier):
    """A forged or late ACK of an id that is not in flight cannot mark a file as stored."""
    spool(outbox)
    head = outbox.due(100.0, 1, 1e9)[0].head
    courier.received(wire.ack(wire.message_id_of(head, 1), wire.STORED, ""), now=100.0)
    courier.received(wire.ack(b"anything", wire.STORED, ""), now=100.0)
    assert outbox.counts()["pending"] == 1


def test_an_answer_that_leads_nowhere_does_not_spin(outbox, courier):
    """A bridge that says it lacks the part it was just sent is asked again later, not at once."""
    spool(outbox, data=b"x" * 100)
    for missing in ([1, 2], []):
        (probe,) = courier.outgoing(now=1e6 * len(missing) + 1e6, tick=0.0)
        courier.received(wire.ack(probe.message_id, wire.STORED, "", missing), now=1e9)
        assert list(courier.outgoing(now=1e9, tick=1.0)) == []


def test_a_permanent_refusal_ends_and_a_person_can_reopen_it(outbox, courier):
    """NACK permanent stops the resend and keeps the reason; retry_refused sends it again."""
    spool(outbox)
    (message,) = courier.outgoing(100.0, 0.0)
    courier.received(wire.nack(message.message_id, wire.PERMANENT, "wrong-instrument", "Not yours."), 100.0)
    assert outbox.refusals() == {"run-1.csv": "wrong-instrument: Not yours."}
    assert list(courier.outgoing(1e9, 1e9)) == []
    assert outbox.retry_refused() == 1
    assert len(list(courier.outgoing(1e9, 1e9))) == 1


# ---------------------------------------------------------------------------- names, command line
@pytest.mark.parametrize(
    ("pattern", "plate"),
    [("", ""), (r"P\d+", "P0042"), (r"_(P\d+)_", "P0042"), (r"(\d+)_(?P<plate>P\d+)", "P0042"), ("Q", "")],
)
def test_the_plate_is_found_in_the_file_name(pattern, plate):
    """Named group, first group or whole match; no match means no plate, never a guess."""
    assert agent.plate_in("20260301_P0042_results.csv", pattern) == plate


def test_run_and_plate_come_from_the_name_or_the_configuration(start, folder):
    """By default the run is the file's stem; given values win."""
    (folder / "run-9_P0042.csv").write_bytes(b"A1")
    one = start(plate_pattern=r"P\d+")
    one.scan()
    head = one._outbox.due(0.0, 1, 1e12)[0].head
    assert (head.run, head.plate) == ("run-9_P0042", "P0042")
    one.close()
    (folder / "other.csv").write_bytes(b"A2")
    one = start(run="R1", plate="P1")
    one.scan()
    head = one._outbox.due(0.0, 9, 1e12)[-1].head
    assert (head.run, head.plate) == ("R1", "P1")


def test_a_name_the_protocol_refuses_is_a_problem_not_a_crash(start, folder):
    """A line break in a file name is reported; the other files go their way."""
    (folder / "run\n1.csv").write_bytes(b"A1")
    (folder / "run-2.csv").write_bytes(b"A2")
    one = start()
    status = one.step()
    assert status["pending"] == 1
    assert list(status["problems"]) == ["run\n1.csv"]


def test_a_failed_pass_is_shown_and_the_next_one_works(start, config, folder, monkeypatch):
    """When a pass fails (a full disk), the health file says so and the agent goes on afterwards."""
    (folder / "run-1.csv").write_bytes(b"A1")
    one = start(poll_s=0.02)
    stop = threading.Event()
    reports = []
    real_marks = agent.Outbox.marks

    def marks(self):
        if len(reports) < 2:
            raise sqlite3.OperationalError("database or disk is full")
        return real_marks(self)

    def report(self, error):
        real_report(self, error)
        reports.append(json.loads(config.health_file.read_text()))

    def tidy(self):
        stop.set()

    real_report = agent.Agent._report_failure
    monkeypatch.setattr(agent.Outbox, "marks", marks)
    monkeypatch.setattr(agent.Agent, "_report_failure", report)
    monkeypatch.setattr(agent.Agent, "_tidy", tidy)
    one.run(stop)
    assert ["disk is full" in report["failed"] for report in reports] == [True, True]
    assert "disk is full" in reports[0]["problems"]["agent"]
    assert one.status()["pending"] == 1
    assert "1 waiting" in one.status_line()


def test_a_disk_without_room_is_told_in_the_health_file_and_mends_itself(small_disk, start, folder):
    """On a really full disk the file stays in its folder and the health file names it; with room it is spooled."""
    one = start(outbox=small_disk / "outbox.db")
    one.step()
    (folder / "run-1.csv").write_bytes(random.Random(1).randbytes(100_000))
    ballast = fill(small_disk)
    one.step()
    told = json.loads(one.config.health_file.read_text("utf-8"))
    assert "run-1.csv" in told["problems"]["outbox"]
    assert "disk of this PC is full" in told["problems"]["outbox"]
    assert told["pending"] == 0
    ballast.unlink()
    one.step()
    told = json.loads(one.config.health_file.read_text("utf-8"))
    assert (told["pending"], told["problems"]) == (1, {})


def test_the_command_makes_keys_and_refuses_nonsense(tmp_path, capsys, folder):
    """--new-key prints the public key, keeps the secret to the owner, never overwrites; errors: 1 or 2."""
    key = tmp_path / "keys" / "agent.key"
    assert agent.main(["--new-key", "--key-file", str(key)]) == 0
    public = capsys.readouterr().out.strip()
    assert agent._key_text(str(key)) == agent._key_text(public) == public.encode()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert agent.main(["--new-key", "--key-file", str(key)]) == 1
    assert "error: agent-start" in capsys.readouterr().err
    with pytest.raises(SystemExit) as usage:
        agent.main(["--folder", str(folder)])
    assert usage.value.code == 2
    arguments = ["--folder", str(folder), "--endpoint", "nonsense", "--instrument", "i"]
    arguments += ["--server-key", public, "--key-file", str(key), "--outbox", str(tmp_path / "o.db")]
    assert agent.main(arguments) == 1
    assert "error: agent-start" in capsys.readouterr().err


def test_a_key_of_the_bridge_may_begin_with_a_dash(tmp_path, capsys, folder):
    """One key in 83 looks like an option; it is taken as the key that it is."""
    key = tmp_path / "agent.key"
    assert agent.main(["--new-key", "--key-file", str(key)]) == 0
    for begin in ("-t", "--", "-7"):
        arguments = ["--server-key", begin + "0" * 38, "--folder", str(folder)]
        arguments += ["--endpoint", "nonsense", "--instrument", "i", "--key-file", str(key)]
        assert agent.main([*arguments, "--outbox", str(tmp_path / "o.db")]) == 1  # and not 2, for usage
        assert "error: agent-start" in capsys.readouterr().err


def test_two_files_are_enough_for_the_old_pc(tmp_path):
    """agent.py beside wire.py runs with nothing of the package around it."""
    for name in ("agent.py", "wire.py"):
        (tmp_path / name).write_bytes((SOURCE / name).read_bytes())
    answer = subprocess.run(
        [sys.executable, "agent.py", "--version"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert answer.stdout.strip() == agent.VERSION
