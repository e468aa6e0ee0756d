"""The database: durable, one writer at a time, and a clear sentence when it cannot."""

from __future__ import annotations

import contextlib
import logging
import random
import resource
import sqlite3
import sys
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from alembic import command
from bench import Bench
from duty_plans import WINTER
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from moments import NOON
from sqlalchemy import bindparam, delete, event, inspect, select, text

import lis.migrations
from lis import auth, db, laboratory, ledger, queries, schema
from lis.clock import FixedClock
from lis.db import Database, migrate
from lis.db.engines import sqlite_module
from lis.errors import Busy, Conflict, LisError, StorageFull
from lis.events import HeldUnknown
from lis.services import actions, capacity, devices, disclosure, duty, inbox, labels, lots, quality, receiving
from lis.services.capacity import Order
from lis.services.inbox import Delivery
from lis.services.labels import LabelOrder

WORD = "nothing was written"
HELD = HeldUnknown(1, "", "")


def write_alarm(database: Database, subject: str = "x") -> None:
    """A small write."""
    with database.write("anna") as unit:
        write_alarm_in(unit, subject)


def write_alarm_in(unit, subject: str) -> None:
    """A small write in a transaction."""
    row = {"at": unit.now, "code": "TEST", "subject": subject, "sentence": "a test"}
    queries.insert_rows(unit.conn, "alarm", [row])


def write_twice(unit) -> None:
    """A write, and then an error."""
    row = {"at": unit.now, "code": "X", "subject": "x", "sentence": "x"}
    queries.insert_rows(unit.conn, "alarm", [row])
    raise ZeroDivisionError


def alarms(database: Database) -> list[str]:
    """Subjects of the open alarms, oldest first."""
    with database.read() as conn:
        return [row["subject"] for row in queries.open_alarms(conn)][::-1]


def test_the_embedded_database_is_as_durable_as_it_can_be(embedded: Bench):
    """Every connection runs in WAL mode with full synchronisation and enforced foreign keys."""
    with embedded.lab.database.read() as one, embedded.lab.database.read() as two:
        for conn in (one, two):
            found = {
                name: conn.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                for name in ("journal_mode", "synchronous", "foreign_keys", "wal_autocheckpoint", "mmap_size")
            }
            assert found == {
                "journal_mode": "wal",
                "synchronous": 2,
                "foreign_keys": 1,
                "wal_autocheckpoint": 0,
                "mmap_size": 0,
            }
    assert db.sqlite_module().sqlite_version_info >= (3, 51, 3)


def test_an_old_sqlite_is_named_with_the_range_that_is_affected(monkeypatch: pytest.MonkeyPatch):
    """Without the wheel, a library inside the range of the WAL bug is used with a warning that says so."""
    monkeypatch.setitem(sys.modules, "pysqlite3", None)
    module = db.sqlite_module.__wrapped__  # as asked for the first time
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 40, 1))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.40.1")
    with pytest.warns(UserWarning, match=r"SQLite 3\.40\.1 is between 3\.7\.0 and 3\.51\.2"):
        assert module() is sqlite3
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 3))
    assert module() is sqlite3


def test_memory_is_no_database():
    """A database without a file is refused: memory forgets."""
    with pytest.raises(LisError, match="memory forgets"):
        Database("sqlite://")


def test_a_locked_database_says_busy_and_writes_nothing(database_url: str, clock: FixedClock):
    """A writer that waits too long for its turn is told to send again; a reader is not disturbed."""
    first, second = Database(database_url, clock), Database(database_url, clock, busy_seconds=0.3)
    write_alarm(first, "before")
    if first.dialect != "sqlite":  # the head of the log is what writers take turns at
        with first.write("anna") as unit:
            ledger.append(unit, [("T1", HELD)])
    with first.write("anna") as unit:
        row = {"at": unit.now, "code": "TEST", "subject": "first", "sentence": "a test"}
        queries.insert_rows(unit.conn, "alarm", [row])
        with pytest.raises(Busy) as error:
            write_alarm(second, "second")
        assert WORD in error.value.sentence.lower()
        assert alarms(second) == ["before"]
    write_alarm(second, "second")
    assert alarms(first) == ["before", "first", "second"]
    first.close()
    second.close()


def test_a_full_disk_says_so_and_the_laboratory_recovers(embedded: Bench):
    """No space left refuses the whole act; once there is space again the same act succeeds."""
    bench, database = embedded, embedded.lab.database
    orders = [bench.order() for _ in range(200)]
    pages = []
    with database.read() as conn:
        pages.append(conn.exec_driver_sql("PRAGMA page_count").scalar_one())
    database._writing.dispose()

    def limit(size: int):
        def settings(dbapi, record) -> None:
            dbapi.cursor().execute(f"PRAGMA max_page_count = {size}")

        return settings

    tight = limit(pages[0] + 2)
    event.listen(database._writing, "connect", tight)
    with pytest.raises(StorageFull) as error:
        bench.register(*orders)
    assert WORD in error.value.sentence.lower()
    assert "disk" in error.value.sentence
    assert bench.count() == bench.count("person") == 0
    event.remove(database._writing, "connect", tight)
    database._writing.dispose()
    bench.register(*orders)
    assert bench.check().ok


def test_a_reader_sees_one_moment(database: Database):
    """What is committed while somebody reads does not change what they read: the check of the log depends on it."""
    write_alarm(database, "before")
    with database.read() as conn:
        seen = len(queries.open_alarms(conn))
        writer = threading.Thread(target=write_alarm, args=(database, "meanwhile"))
        writer.start()
        writer.join()
        assert len(queries.open_alarms(conn)) == seen == 1
    assert alarms(database) == ["before", "meanwhile"]


def test_writers_take_turns(database: Database):
    """Serial numbers drawn by four writers at once have no gap and no twin."""
    drawn: list[int] = []

    def draw() -> None:
        for _ in range(10):
            with database.write("anna") as unit:
                drawn.append(queries.next_number(unit.conn, "plate"))

    with database.write("anna") as unit:
        ledger.append(unit, [("T1", HELD)])
    threads = [threading.Thread(target=draw) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(drawn) == list(range(1, 41))


def test_a_file_is_kept_while_a_plate_is_decided(database_url: str, clock: FixedClock):
    """Receiving waits for the writer of the log only where the database has room for one writer."""
    first = Database(database_url, clock)
    second, third = (Database(database_url, clock, busy_seconds=0.3) for _ in range(2))
    with first.write("anna") as unit:
        ledger.append(unit, [("T1", HELD)])
    delivery = Delivery("qs5", "run-1", "run.csv", b"SYNTHETIC")

    def keep(database: Database) -> str:
        with database.receive("qs5") as receiving_unit:
            return inbox.accept(receiving_unit, delivery).status

    with first.write("anna") as unit:
        ledger.append(unit, [("T2", HELD)])
        if second.dialect == "sqlite":
            with pytest.raises(Busy):
                keep(second)
        else:
            assert keep(second) == "stored"
            with second.read() as conn:
                assert [row["run"] for row in queries.files(conn)] == ["run-1"]
    with second.receive("qs5") as receiving_unit:
        assert inbox.accept(receiving_unit, delivery).status in {"stored", "duplicate"}
        with pytest.raises(Busy):  # two contents of one run at the same moment would both be the first
            keep(third)
    with first.read() as conn:
        assert ledger.verify(conn).ok
    for database in (first, second, third):
        database.close()


def test_who_only_receives_cannot_write_the_log(database: Database):
    """A transaction without a turn at the log is refused there, on every database, and leaves nothing."""
    with pytest.raises(RuntimeError, match="no turn at the log"), database.receive("qs5") as unit:
        ledger.append(unit, [("T1", HELD)])
    with database.write("anna") as unit:
        assert ledger.append(unit, [("T1", HELD)])["T1"].seq == 1


@pytest.mark.parametrize("same", [True, False], ids=["one content", "two contents"])
def test_a_run_sent_twice_at_once_is_kept_once_or_told_apart(
    database_url: str, clock: FixedClock, same: bool
):
    """Two servers that receive one run at the same moment: the second is a duplicate or a conflict."""
    databases = [Database(database_url, clock) for _ in range(2)]
    begun, told = threading.Barrier(2), []

    def keep(number: int) -> None:
        data = b"SYNTHETIC" if same else b"SYNTHETIC %d" % number
        begun.wait(10)
        with databases[number].receive("qs5") as unit:
            stored = inbox.accept(unit, Delivery("qs5", "run-1", "run.csv", data))
        told.append((stored.status, stored.conflict))

    threads = [threading.Thread(target=keep, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    second = ("duplicate", False) if same else ("stored", True)
    assert sorted(told) == sorted([("stored", False), second])
    for database in databases:
        database.close()


@pytest.mark.parametrize("count", [db.FEW + 1, 3_000, 30_000])
def test_every_row_of_many_arrives_as_it_is(database: Database, count: int):
    """However many rows are sent together, each is there once, with its quotes, tabs and empty fields."""
    odd = ("tab\there", "line\nend", "back\\slash", "\\N", '"quoted"', "", "混采 10:1")
    rows = [
        {
            "code": "TEST",
            "subject": f"{n:05d}",
            "sentence": odd[n % len(odd)],
            "cleared_at": None if n % 2 else NOON,
        }
        for n in range(count)
    ]
    with database.write("anna") as unit:
        db.insert_many(unit.conn, schema.alarm, [row | {"at": unit.now} for row in rows])
        names = ("subject", "sentence", "cleared_at")
        columns = [schema.alarm.c[name] for name in names]
        found = unit.conn.execute(select(*columns).order_by(schema.alarm.c.subject)).all()
    assert [tuple(row) for row in found] == [tuple(row[name] for name in names) for row in rows]


def test_statements_under_way_are_done_in_their_order(database: Database):
    """What was sent without waiting is done when the block ends, one after the other; more rows than few too."""
    rows = [{"code": "TEST", "subject": f"{n:02d}", "sentence": "a test"} for n in range(3 * db.FEW + 1)]
    with database.write("anna") as unit:
        with db.under_way(unit.conn):
            queries.insert_rows(unit.conn, "alarm", [row | {"at": unit.now} for row in rows])
            queries.set_row(unit.conn, "alarm", {"subject": "07"}, sentence="first")
            asked = _TOLD.ask(unit.conn, which="07")
            queries.set_row(unit.conn, "alarm", {"subject": "07"}, sentence="then")
        assert asked.rows() == [("first",)]
        assert _TOLD.rows(unit.conn, which="07") == [("then",)]
    assert alarms(database) == [row["subject"] for row in rows]


_TOLD = db.Prepared(select(schema.alarm.c.sentence).where(schema.alarm.c.subject == bindparam("which")))


def test_an_error_under_way_undoes_the_act_and_is_told(database: Database):
    """The second of three statements is refused: nothing of the act is kept, and the next act succeeds."""
    device = {"name": "d", "kind": "k", "public_key": "k" * 40, "enrolled_by": "x"}

    def twice() -> None:
        with database.write("anna") as unit, db.under_way(unit.conn):
            write_alarm_in(unit, "lost")
            for _ in range(2):
                queries.insert_rows(unit.conn, "device", [{**device, "enrolled_at": unit.now}])
            write_alarm_in(unit, "lost too")

    with pytest.raises(Conflict) as error:
        twice()
    assert error.value.code == "ALREADY_RECORDED"
    write_alarm(database)
    assert alarms(database) == ["x"]


def test_nobody_is_told_how_many_rows_before_the_database_has_said_so(database: Database):
    """Inside of a block a count is known on the embedded database and refused on the other, never wrong."""
    write_alarm(database)
    with database.write("anna") as unit:
        if database.dialect == "sqlite":
            with db.under_way(unit.conn):
                assert queries.update_row(unit.conn, "alarm", {"subject": "x"}, sentence="y") == 1
            return
        with db.under_way(unit.conn), pytest.raises(RuntimeError, match="when the block has ended"):
            queries.update_row(unit.conn, "alarm", {"subject": "x"}, sentence="y")


def test_an_error_undoes_the_whole_act(database: Database):
    """What was written before an error in the same act is gone."""
    with pytest.raises(ZeroDivisionError), database.write("anna") as unit:
        write_twice(unit)
    assert alarms(database) == []


def test_the_same_identity_twice_is_a_conflict(database: Database):
    """A row that exists is refused in words, not with a traceback."""
    row = {"name": "d", "kind": "k", "public_key": "k" * 40, "enrolled_by": "x"}
    with database.write("admin") as unit:
        queries.insert_rows(unit.conn, "device", [{**row, "enrolled_at": unit.now}])
    with pytest.raises(Conflict) as error, database.write("admin") as unit:
        queries.insert_rows(unit.conn, "device", [{**row, "enrolled_at": unit.now}])
    assert error.value.code == "ALREADY_RECORDED"


def test_an_error_of_the_database_is_told_in_words(database: Database):
    """What cannot be classified is still a sentence, and nothing was written."""
    with pytest.raises(LisError) as error, database.read() as conn:
        conn.execute(text("SELECT * FROM nowhere"))
    assert error.value.code == "DATABASE_ERROR"
    assert WORD in error.value.sentence.lower()


@pytest.mark.parametrize("state", ["53100", "58030"])
def test_postgresql_tells_by_its_codes_that_its_disk_refuses(cluster, state: str):
    """A full disk and a failed sync are one trouble for people, whatever words they come in."""
    database = Database(cluster.url("postgres"))
    refusal = f"DO $$ BEGIN RAISE EXCEPTION 'could not fdatasync file' USING ERRCODE = '{state}'; END $$"
    with pytest.raises(StorageFull), database.read() as conn:
        conn.exec_driver_sql(refusal)
    database.close()


def test_a_commit_whose_answer_never_came_is_called_unknown(cluster, clock: FixedClock):
    """PostgreSQL ends the session while it commits: nobody says that nothing was written; a new session works."""
    name = cluster.lend()
    database = Database(cluster.url(name), clock)

    def cut(conn) -> None:
        (pid,) = conn.exec_driver_sql("SELECT pg_backend_pid()").one()
        cluster.master.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))

    event.listen(database._writing, "commit", cut)
    with pytest.raises(Busy) as error:
        write_alarm(database)
    event.remove(database._writing, "commit", cut)
    assert error.value.code == "OUTCOME_UNKNOWN"
    assert WORD not in error.value.sentence.lower()
    write_alarm(database)
    assert alarms(database) == ["x"]
    database.close()
    cluster.give_back(name)


@pytest.mark.parametrize("way", ["write", "receive"])
def test_a_restarted_server_costs_no_act(
    cluster, clock: FixedClock, way: str, caplog: pytest.LogCaptureFixture
):
    """Sessions that PostgreSQL ended between two acts are opened anew by the next act, which succeeds."""
    name = cluster.lend()
    database = Database(cluster.url(name), clock)
    for subject in ("before", "after", "after the next"):
        with getattr(database, way)("anna") as unit:
            write_alarm_in(unit, subject)
            (pid,) = unit.conn.exec_driver_sql("SELECT pg_backend_pid()").one()
        cluster.master.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
    assert alarms(database) == ["before", "after", "after the next"]
    assert caplog.messages == []
    database.close()
    cluster.give_back(name)


def test_a_session_that_ends_during_an_act_is_told_and_the_next_act_succeeds(cluster, clock: FixedClock):
    """What was begun is not repeated by itself: whoever asked is told that nothing was written."""
    name = cluster.lend()
    database = Database(cluster.url(name), clock)

    def interrupted() -> None:
        with database.write("anna") as unit:
            (pid,) = unit.conn.exec_driver_sql("SELECT pg_backend_pid()").one()
            cluster.master.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
            write_alarm_in(unit, "lost")

    with pytest.raises(Busy) as error:
        interrupted()
    assert WORD in error.value.sentence.lower()
    write_alarm(database)
    assert alarms(database) == ["x"]
    database.close()
    cluster.give_back(name)


@contextlib.contextmanager
def failing_at_commit(database: Database):
    """Every statement succeeds and every COMMIT of an alarm fails as a disk makes it fail."""
    if database.dialect == "sqlite":  # pages wait in memory for COMMIT, which may write none of them here
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, before[1]))
        yield
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        return
    refuse = "RAISE EXCEPTION 'could not fdatasync file' USING ERRCODE = '58030'"
    on_alarm = "AFTER INSERT ON alarm DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION no_sync()"
    with database.engine.begin() as conn:
        conn.exec_driver_sql(
            f"CREATE FUNCTION no_sync() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {refuse}; END$$"
        )
        conn.exec_driver_sql(f"CREATE CONSTRAINT TRIGGER no_sync {on_alarm}")
    yield
    with database.engine.begin() as conn:
        conn.exec_driver_sql("DROP TRIGGER no_sync ON alarm")
        conn.exec_driver_sql("DROP FUNCTION no_sync")


def test_a_commit_that_the_disk_failed_is_called_unknown(database: Database):
    """Whether it was kept is not known then, and nobody says otherwise; the disk's trouble stands until a write succeeds."""
    write_alarm(database, "before")
    with failing_at_commit(database), pytest.raises(StorageFull) as error:
        write_alarm(database, "lost")
    assert error.value.code == "COMMIT_FAILED"
    assert "not known" in error.value.sentence
    assert WORD not in error.value.sentence.lower()
    assert database.trouble is not None
    assert database.trouble.code == "STORAGE_FULL"
    assert WORD not in database.trouble.sentence.lower()
    write_alarm(database, "after")
    assert database.trouble is None
    assert alarms(database)[-1] == "after"


def test_a_statement_that_the_disk_failed_wrote_nothing(database: Database):
    """A failure before COMMIT undoes the act, and the sentence says so."""
    with pytest.raises(StorageFull) as error, database.write("anna"):
        raise database.dbapi.OperationalError("disk I/O error")
    assert error.value.code == "STORAGE_FULL"
    assert WORD in error.value.sentence.lower()


def test_evidence_is_append_only(bench: Bench):
    """Events, files, readings, reports, rules, control values, exports, lots, notes and acts on devices refuse UPDATE and DELETE, whoever asks by SQL."""
    bench.cycle(bench.singles())
    with bench.lab.database.write("rosa") as unit:
        row = unit.conn.execute(select(schema.quality_point)).mappings().first()
        series = queries.Series(*(row[name] for name in queries.Series._fields))
        quality.set_target(unit, series, 25.0, 0.2, "validation")
        devices.add_device(unit, "qs5", "cycler")
        order = LabelOrder(("P00000018",))
        labels.order_labels(unit, bench.lab.settings, order, {"plate": "plate"})
        auth.note(unit, "site", "N01", "added")
        disclosure.disclose(unit, "search", "document", "")
    bench.singles()
    laboratory.foretold(bench.lab, Order(replications=2), "rosa")
    bench.clock.advance(timedelta(minutes=1))
    number = laboratory.foretold(bench.lab, Order(replications=2), "rosa")
    with bench.lab.database.write("rosa") as unit:
        capacity.forget(unit, unit.now)
        duty.set_plan(unit, duty.read_plan(WINTER))
        said = {"code": "close-now", "step": "", "fewer_late": 1.0, "low": 0.0, "high": 2.0, "sooner": 5.0}
        queries.insert_rows(unit.conn, "forecast_advice", [{"forecast_id": number, "place": 9, **said}])
        lots.receive(unit, "kit", "L1", "", unit.now + timedelta(days=9))
        actions.open_action(unit, "lot", "L1", "box damp")
        told = {"at": unit.now, "actor": "rosa", "act": "export", "what": "plate", "form": "csv"}
        queries.add_export(unit.conn, told | {"filters": "", "row_count": 1, "persons": False})
    for table in schema.EVIDENCE:
        column = next(iter(schema.metadata.tables[table].c)).name
        with bench.lab.database.read() as conn:
            assert conn.execute(text(f"SELECT count(*) FROM {table}")).scalar_one(), table
        for statement in (f"UPDATE {table} SET {column} = {column}", f"DELETE FROM {table}"):
            with pytest.raises(LisError, match="append-only"), bench.lab.database.write("eve") as unit:
                unit.conn.execute(text(statement))


def test_a_clock_that_jumps_back_is_noted_and_changes_no_order(
    database: Database, clock: FixedClock, caplog: pytest.LogCaptureFixture
):
    """The moment of an act is never before the last event; a jump is logged, a second of drift is not."""
    with database.write("anna") as unit:
        ledger.append(unit, [("T1", HELD)])
        noon = unit.now
    for step, noted in ((timedelta(milliseconds=-500), False), (timedelta(hours=-1), True)):
        clock.advance(step)
        caplog.clear()
        with caplog.at_level(logging.WARNING), database.write("anna") as unit:
            assert unit.now == noon
        assert bool(caplog.records) is noted
    clock.advance(timedelta(hours=2))
    with database.write("anna") as unit:
        assert unit.now == clock.now()


def test_a_copy_is_whole_while_the_laboratory_works(embedded: Bench, tmp_path: Path):
    """A copy made in the middle of the day opens, verifies, and holds what was committed before it."""
    codes = embedded.singles(5)
    embedded.lab.database.copy_to(tmp_path / "copy.db")
    embedded.singles(2)
    copy = Database(f"sqlite:///{tmp_path / 'copy.db'}", embedded.clock)
    with copy.read() as conn:
        assert ledger.verify(conn).ok
        assert queries.count_of(conn, "tube") == len(codes)
    copy.close()


def test_the_wal_is_moved_into_the_database(embedded: Bench, monkeypatch: pytest.MonkeyPatch):
    """Our own checkpoints run between commits, and closing leaves one file that holds everything."""
    monkeypatch.setattr(db.units, "PAGES_BETWEEN_CHECKPOINTS", 1)
    monkeypatch.setattr(db.units, "COMMITS_BETWEEN_LOOKS", 2)
    code = embedded.singles()[0]
    busy, _, moved = embedded.lab.database.checkpoint("TRUNCATE")
    assert (busy, moved) == (0, 0)
    embedded.lab.close()
    wal = embedded.lab.settings.data / "lis.db-wal"
    assert not wal.exists() or wal.stat().st_size == 0
    assert embedded.tube(code).state == "received"


@pytest.mark.parametrize("looks", [True, False], ids=["this SQLite", "an older SQLite"])
def test_large_files_do_not_make_the_wal_long(embedded: Bench, monkeypatch: pytest.MonkeyPatch, looks: bool):
    """Pages wait for a checkpoint by their number, not by that of the commits that wrote them."""
    monkeypatch.setattr(db.units, "PAGES_BETWEEN_CHECKPOINTS", 500)  # 2 MB
    monkeypatch.setattr(db.units, "COMMITS_BETWEEN_LOOKS", 4)
    monkeypatch.setattr(db.units, "COMMITS_UNSEEN", 20)
    if not looks:
        monkeypatch.setattr(db.units, "LOOKING_SINCE", (99,))
    chance = random.Random(1)
    for number in range(40):
        delivery = Delivery("qs5", f"run-{number}", "run.csv", chance.randbytes(400_000))
        assert laboratory.keep(embedded.lab, delivery).status == "stored"
    wal = embedded.lab.settings.data / "lis.db-wal"
    most = 2.0 + 4 * 0.4 if looks else 20 * 0.4
    assert most / 2 < wal.stat().st_size / 1e6 < 1.2 * most


def test_what_another_writes_does_not_end_the_trouble_of_a_disk(cluster, clock: FixedClock):
    """A file that is being kept beside an act that writes nothing proves nothing about this act's commit."""
    name = cluster.lend()
    database = Database(cluster.url(name), clock)
    with database.write("anna") as unit:
        ledger.append(unit, [("T1", HELD)])
    database._refused()
    with database.write("anna"), pytest.raises(ZeroDivisionError), database.receive("qs5") as beside:
        write_twice(beside)
    assert database.trouble is not None
    write_alarm(database)
    assert database.trouble is None
    database.close()
    cluster.give_back(name)


def test_a_checkpoint_that_fails_takes_nothing_back(
    embedded: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """What was committed is acknowledged though the disk refuses the checkpoint after it; the next commit tries again."""
    monkeypatch.setattr(db.units, "PAGES_BETWEEN_CHECKPOINTS", 1)
    monkeypatch.setattr(db.units, "COMMITS_BETWEEN_LOOKS", 2)
    database = embedded.lab.database
    real, tried = database.checkpoint, []

    def fail(mode: str) -> tuple[int, int, int]:
        if mode == "NOOP":
            return real(mode)
        tried.append(mode)
        if len(tried) < 3:
            raise db.sqlite_module().OperationalError("disk I/O error")
        return real(mode)

    monkeypatch.setattr(database, "checkpoint", fail)
    codes = embedded.singles(1)
    assert tried == ["PASSIVE"]
    assert database.trouble is not None
    assert "the next commit tries again" in caplog.text
    codes += embedded.singles(1)
    assert tried == ["PASSIVE"] * 3
    assert database.trouble is None
    assert embedded.states(codes) == ["received", "received"]


def test_a_disk_that_refuses_is_told_until_something_was_really_written(embedded: Bench):
    """The trouble of a full disk stands from the first refusal until a write succeeds; a commit of nothing proves nothing."""
    database = embedded.lab.database
    assert database.trouble is None
    since = embedded.clock.now()
    for _ in range(2):
        with pytest.raises(StorageFull), database.write("anna"):
            raise db.sqlite_module().OperationalError("database or disk is full")
        embedded.clock.advance(timedelta(minutes=1))
    assert database.trouble is not None
    assert (database.trouble.code, database.trouble.since) == ("STORAGE_FULL", since)
    with database.write("anna"):
        pass
    assert database.trouble is not None
    embedded.singles(1)
    assert database.trouble is None


# -- the schema ----------------------------------------------------------------------------------


def alembic(database: Database, act: str, *arguments: str) -> None:
    """Run an Alembic command on an open database."""
    with database.engine.connect() as conn, conn.begin():
        config = db.migrating.config()
        config.attributes["connection"] = conn
        getattr(command, act)(config, *arguments)


def test_the_migrations_make_the_tables_that_the_code_knows(database: Database):
    """``alembic check`` finds no difference between the migrated database and the code, on both databases."""
    alembic(database, "check")


def test_a_generated_migration_depends_on_no_code_of_today(database: Database, tmp_path: Path):
    """A missing moment is written into a new migration as what is stored, text of 27 letters, and nothing else is."""
    with database.engine.begin() as conn:
        conn.exec_driver_sql("ALTER TABLE plate DROP COLUMN started_at")
    with database.engine.connect() as conn, conn.begin():
        config = db.migrating.config()
        config.attributes["connection"] = conn
        config.set_main_option("path_separator", "newline")
        ours = Path(lis.migrations.__file__).parent / "versions"
        config.set_main_option("version_locations", f"{ours}\n{tmp_path}")
        made = command.revision(config, "the moment back", autogenerate=True, version_path=str(tmp_path))
    written = Path(made.path).read_text(encoding="utf-8")
    assert "batch_op.add_column(sa.Column('started_at', sa.String(length=27), nullable=True))" in written
    assert "Moment" not in written
    assert written.count("add_column") == 1
    assert "create_table" not in written


READING = (
    "INSERT INTO reading (run_id, well, target, dye, sample, raw_cq, curve, call, flags) "
    "VALUES ('nowhere', 'A1', 'N', 'FAM', '', '', '', '', '')"
)


def test_a_reading_of_no_run_is_refused(database: Database):
    """No reading is kept whose run is not there, on either database."""
    with pytest.raises(LisError), database.write("eve") as unit:
        unit.conn.execute(text(READING))
    with database.read() as conn:
        assert conn.execute(text("SELECT count(*) FROM reading")).scalar_one() == 0


def test_a_run_that_has_readings_stays(bench: Bench):
    """A run cannot be taken away from under its readings, on either database."""
    bench.cycle(bench.singles())
    with pytest.raises(LisError), bench.lab.database.write("eve") as unit:
        unit.conn.execute(text("DELETE FROM run"))
    with bench.lab.database.read() as conn:
        assert conn.execute(text("SELECT count(*) FROM run")).scalar_one() == 1


def test_the_schema_can_be_taken_down_and_built_again(database: Database):
    """Downgrade to nothing and upgrade again leave a working, guarded, empty laboratory."""
    alembic(database, "downgrade", "base")
    assert set(inspect(database.engine).get_table_names()) <= {"alembic_version"}
    migrate(database)
    alembic(database, "check")
    write_alarm(database)
    with database.write("anna") as unit:
        ledger.append(unit, [("T1", HELD)])
    with pytest.raises(LisError, match="append-only"), database.write("eve") as unit:
        unit.conn.execute(text("DELETE FROM event"))


def test_migrating_twice_changes_nothing(database: Database):
    """Opening a laboratory again leaves its data alone."""
    write_alarm(database, "kept")
    migrate(database)
    assert alarms(database) == ["kept"]


def test_a_persons_row_needs_its_tube(bench: Bench):
    """A place in a tube that does not exist cannot be committed."""
    bench.register(bench.order())
    with pytest.raises(LisError), bench.lab.database.write("eve") as unit:
        unit.conn.execute(text("INSERT INTO tube_person (tube_id, place, person_id) VALUES ('T', 1, 'p')"))
    assert receiving.PLACES


def test_an_empty_field_is_bound_without_a_search():
    """The SQLite wheel has its own way for None (else it searches one for microseconds), and None stays NULL."""
    sqlite = sqlite_module()
    if sqlite is not sqlite3:
        assert (type(None), sqlite.PrepareProtocol) in sqlite.adapters
    with contextlib.closing(sqlite.connect(":memory:")) as conn:
        assert conn.execute("SELECT typeof(?), ? IS NULL", (None, None)).fetchone() == ("null", 1)


def test_writers_of_the_embedded_database_share_a_connection(embedded: Bench):
    """One act after the other is written on the same connection, which knows the pages it wrote."""
    seen = set()
    for _ in range(3):
        with embedded.lab.database.write("anna") as unit:
            seen.add(id(unit.conn.connection.driver_connection))
        with embedded.lab.database.read() as conn:
            assert id(conn.connection.driver_connection) not in seen
    assert len(seen) == 1


_CODES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)


@given(st.lists(_CODES, max_size=5))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_list_of_texts_arrives_as_it_is(database: Database, texts: list[str]):
    """Whatever stands in the codes that are asked for - quotes, commas, braces, backslashes - none becomes another."""
    with database.write("anna") as unit:
        unit.conn.execute(delete(schema.alarm))
        for one in [*texts, "other"]:
            queries.insert_rows(
                unit.conn, "alarm", [{"at": unit.now, "code": one, "subject": "", "sentence": ""}]
            )
        found = _ASKED.rows(unit.conn, texts=sorted(set(texts)))
    assert {one for (one,) in found} == set(texts)


_ASKED = db.Prepared(select(schema.alarm.c.code).where(db.among(schema.alarm.c.code, "texts")))
