"""The ledger: one writer, one transaction, and a log that tells on whoever touches it."""

from __future__ import annotations

import gc
import random
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from operator import itemgetter

import pytest
from bench import Bench
from moments import NOON
from sqlalchemy import inspect, text
from test_tube import EXAMPLES

from lis import events as e
from lis import ledger, queries
from lis.clock import from_text, to_text
from lis.db import Database, insert_many
from lis.errors import Conflict, IllegalMove, LisError, NotFound
from lis.events import COLUMNS, FIELDS, KINDS, NUMBERS, TIMES, TubeKind
from lis.ledger import folding
from lis.schema import event as event_table
from lis.services import pools
from lis.tube import READS, Tube, TubeState

TUBE = "440700000019"


def registered(at, kind=TubeKind.SINGLE, capacity=1):
    """A registration at ``at``."""
    return e.Registered(kind, capacity, "voluntary", "gate 1", at, at + timedelta(hours=24))


def write_day(database: Database, tubes: int = 12) -> list[str]:
    """A few tubes with a few events each, in several transactions; people exist first."""
    codes = [f"T{n}" for n in range(tubes)]
    with database.write("site") as unit:
        for code in codes:
            add_person(unit, f"person-{code}")
        ledger.append(unit, [(code, registered(unit.now)) for code in codes])
    with database.write("site") as unit:
        ledger.append(unit, [(code, e.PersonBound(f"person-{code}", 1)) for code in codes])
        ledger.append(unit, [(code, e.Sealed(1, "")) for code in codes])
    for code in codes:
        with database.write("anna") as unit:
            ledger.append(unit, [(code, e.Received("R1", code, unit.now))])
    with database.write("anna") as unit:
        facts = [(code, e.Plated("P1", f"A{n + 1}", "kit", "first")) for n, code in enumerate(codes)]
        ledger.append(unit, facts)
    return codes


def add_person(unit, person_id: str) -> None:
    """A person row that events may point at."""
    values = {
        "person_id": person_id,
        "name": person_id,
        "document_type": "other",
        "document_sealed": b"x",
        "document_masked": "**",
        "document_hash": person_id,
        "phone_sealed": b"",
        "phone_masked": "",
        "created_at": unit.now,
    }
    queries.insert_people(unit.conn, [values])


def verdict(database: Database) -> ledger.Verdict:
    """What verification says."""
    with database.read() as conn:
        return ledger.verify(conn)


def tamper(database: Database, *statements: str) -> None:
    """Change rows as somebody with the database file and no respect for triggers would."""
    raw = database.engine.raw_connection()
    cursor = raw.cursor()
    if database.dialect == "sqlite":
        cursor.execute("PRAGMA foreign_keys = OFF")
        for (name,) in cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            cursor.execute(f"DROP TRIGGER {name}")
    else:
        cursor.execute("SET session_replication_role = replica")
    for statement in statements:
        cursor.execute(statement)
    raw.commit()
    raw.invalidate()


def test_every_field_of_every_event_has_a_typed_column():
    """The log has no free-form payload: event fields and columns are the same set, with one type each."""
    stored = set(event_table.c.keys())
    assert set(COLUMNS) <= stored
    assert {name for fields in FIELDS.values() for name in fields} == set(COLUMNS)
    assert set(COLUMNS) >= TIMES | NUMBERS
    assert stored - set(COLUMNS) == {"event_id", "tube_id", "seq", "kind", "at", "actor", "hash"}


SIZES = [1, 3, 7, 8, 9, 20, 60]
"""Facts written at once: on both sides of where a database is given them in another way."""


@pytest.mark.parametrize("at_once", SIZES)
def test_a_log_is_the_same_however_many_facts_are_written_at_once(
    database: Database, embedded: Bench, at_once: int
):
    """One by one or all together: the same hashes, the same tubes, on every database."""
    facts: list[tuple[str, e.Event]] = []
    for number in range(12):
        code = f"T{number:02d}"
        facts += [
            (code, registered(NOON)),
            (code, e.PersonBound(f"person-{number}", 1)),
            (code, e.Sealed(1, "")),
        ]
    facts += [(f"T{number:02d}", e.Received("R1", f"A{number + 1}", NOON)) for number in range(12)]
    facts += [(f"T{number:02d}", e.Plated("P1", f"A{number + 1}", "kit", "first")) for number in range(11)]
    ends = []
    for each, size in ((database, at_once), (embedded.lab.database, len(facts))):
        with each.write("anna") as unit:
            for number in range(12):
                add_person(unit, f"person-{number}")
        for start in range(0, len(facts), size):
            with each.write("anna") as unit:
                ledger.append(replace(unit, now=NOON), facts[start : start + size])
        with each.write("nobody") as unit:
            ends.append((unit.head, ledger.tubes(unit.conn, [code for code, _ in facts])))
        assert verdict(each).ok
    assert ends[0] == ends[1]


def test_an_event_and_the_state_it_leads_to_are_one_act(database: Database):
    """What is appended can be read back as history and as state, and the log verifies."""
    codes = write_day(database)
    with database.read() as conn:
        history = ledger.history(conn, codes[0])
        tube = ledger.tubes(conn, [codes[0]])[codes[0]]
    assert [type(entry.fact).__name__ for entry in history] == [
        "Registered",
        "PersonBound",
        "Sealed",
        "Received",
        "Plated",
    ]
    assert [entry.seq for entry in history] == [1, 2, 3, 4, 5]
    assert [entry.actor for entry in history] == ["site", "site", "site", "anna", "anna"]
    assert (tube.state, tube.well, tube.persons) == (TubeState.PLATED, "A1", 1)
    assert verdict(database) == ledger.Verdict(events=60, tubes=12, ok=True)


def test_an_illegal_event_leaves_no_trace(database: Database):
    """If one of many events is impossible, none is written."""
    write_day(database, 3)
    before = verdict(database)
    with pytest.raises(IllegalMove), database.write("anna") as unit:
        ledger.append(unit, [("new", registered(unit.now)), ("T1", e.Sealed(1, ""))])
    assert verdict(database) == before


def test_nothing_to_append_writes_nothing(database: Database):
    """An empty list of events is no event."""
    with database.write("anna") as unit:
        assert ledger.append(unit, []) == {}
    assert verdict(database).events == 0


@pytest.mark.parametrize("verb", ["UPDATE event SET actor = 'eve'", "DELETE FROM event"])
def test_the_log_refuses_update_and_delete(database: Database, verb: str):
    """Triggers refuse to change or delete events, whoever asks through SQL."""
    write_day(database, 2)
    with pytest.raises(LisError, match="append-only"), database.write("eve") as unit:
        unit.conn.execute(text(verb))
    assert verdict(database).ok


def test_any_changed_deleted_or_swapped_row_is_found_and_named(database: Database):
    """A hundred random single-row attacks on the log are all found, at their row or the next."""
    chance = random.Random(20221221)
    write_day(database)
    assert verdict(database).ok
    total = 60
    for attack in range(100):
        victim = chance.randrange(1, total + 1)
        other = victim % total + 1
        with database.engine.connect() as conn:
            transaction = conn.begin()
            if database.dialect == "sqlite":
                for (name,) in conn.exec_driver_sql(
                    "SELECT name FROM sqlite_master WHERE type = 'trigger'"
                ).fetchall():
                    conn.exec_driver_sql(f"DROP TRIGGER {name}")
            else:
                conn.exec_driver_sql("SET LOCAL session_replication_role = replica")
            match attack % 5:
                case 0:
                    conn.exec_driver_sql(f"UPDATE event SET actor = 'eve' WHERE event_id = {victim}")
                case 1:
                    conn.exec_driver_sql(f"DELETE FROM event WHERE event_id = {victim}")
                case 2:
                    conn.exec_driver_sql(
                        f"UPDATE event SET at = '2022-12-21T11:59:59.000000Z' WHERE event_id = {victim}"
                    )
                case 3:
                    for old, new in ((victim, -1), (other, victim), (-1, other)):
                        conn.exec_driver_sql(f"UPDATE event SET event_id = {new} WHERE event_id = {old}")
                case _:
                    conn.exec_driver_sql(
                        f"UPDATE event SET rack = 'R9', well = 'H12' WHERE event_id = {victim}"
                    )
            found = ledger.verify(conn)
            transaction.rollback()
        assert not found.ok, (attack, victim)
        assert found.event_id in {min(victim, other), victim, victim + 1, total + 1}, (attack, victim, found)
    assert verdict(database).ok


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("UPDATE tube SET state = 'released' WHERE tube_id = 'T3'", "T3"),
        ("UPDATE tube SET well = 'H12' WHERE tube_id = 'T4'", "well"),
        ("DELETE FROM tube WHERE tube_id = 'T5'", "T5"),
        ("UPDATE tube SET tube_id = 'T99' WHERE tube_id = 'T11'", "T"),
        ("UPDATE tube_person SET person_id = 'person-T1' WHERE tube_id = 'T2'", "T2"),
        ("DELETE FROM tube_person WHERE tube_id = 'T2'", "T2"),
        ("UPDATE chain SET event_id = 59", "head"),
        ("UPDATE chain SET hash = 'ffff'", "head"),
    ],
)
def test_a_changed_state_row_is_found(database: Database, statement: str, word: str):
    """Editing a tube, who is in it, or the head of the log behind the ledger's back is found and named."""
    write_day(database)
    tamper(database, statement)
    found = verdict(database)
    assert not found.ok
    assert word in found.problem


def test_a_pool_member_swapped_behind_the_ledger_is_found(database: Database):
    """The members of a pool are held to the log too."""
    write_day(database, 4)
    with database.write("anna") as unit:
        for code in ("S1", "S2"):
            add_person(unit, code)
            ledger.append(
                unit,
                [
                    (code, registered(unit.now)),
                    (code, e.PersonBound(code, 1)),
                    (code, e.Sealed(1, "")),
                    (code, e.Received("R2", code, unit.now)),
                ],
            )
        ledger.append(unit, [("L1", e.PoolFormed(2, "voluntary", unit.now))])
        ledger.append(unit, [("S1", e.JoinedPool("L1", 1)), ("S2", e.JoinedPool("L1", 2))])
    assert verdict(database).ok
    tamper(database, "UPDATE pool_member SET tube_id = 'T1' WHERE tube_id = 'S2'")
    assert "S2" in verdict(database).problem


def test_the_tube_table_can_be_rebuilt_from_the_log_alone(database: Database):
    """Deleting and rebuilding the state gives the state that was there."""
    codes = write_day(database)
    with database.read() as conn:
        before = ledger.tubes(conn, codes)
    tamper(database, "DELETE FROM tube_person", "DELETE FROM tube")
    with database.write("repair") as unit:
        assert ledger.rebuild(unit) == (12, 24)
    with database.read() as conn:
        assert ledger.tubes(conn, codes) == ledger.fold(conn) == before
    assert verdict(database).ok


def test_a_rebuild_corrects_what_is_wrong_and_touches_nothing_else(database: Database):
    """A wrong row, a lost row and a row from nowhere are put right and counted; a second rebuild finds nothing."""
    codes = write_day(database)
    with database.read() as conn:
        before = ledger.tubes(conn, codes)
    tamper(
        database,
        "UPDATE tube SET state = 'released', due_at = NULL WHERE tube_id = 'T3'",
        "DELETE FROM tube WHERE tube_id = 'T4'",
        "UPDATE tube SET tube_id = 'T99' WHERE tube_id = 'T5'",
        "UPDATE tube_person SET person_id = 'person-T1' WHERE tube_id = 'T2'",
    )
    with database.write("repair") as unit:
        assert ledger.rebuild(unit) == (12, 5)
    with database.read() as conn:
        assert ledger.tubes(conn, codes) == before
    assert verdict(database).ok
    with database.write("repair") as unit:
        assert ledger.rebuild(unit) == (12, 0)


def test_a_rebuild_leaves_the_schema_as_it_was(database: Database):
    """Indexes and references that give way to a great many rows are there again afterwards."""
    before = described(database)
    write_day(database)
    tamper(database, "DELETE FROM tube_person", "DELETE FROM tube")
    with database.write("repair") as unit:
        ledger.rebuild(unit)
    assert described(database) == before


def described(database: Database) -> dict[str, object]:
    """Indexes and references of the tables that follow from the log."""
    seen = inspect(database.engine)
    return {
        table: (
            sorted(seen.get_indexes(table), key=itemgetter("name")),
            seen.get_foreign_keys(table),
        )
        for table in ("tube", "tube_person", "pool_member", "recall", "amendment")
    }


def test_the_packed_log_says_of_every_event_what_the_whole_log_says(database: Database):
    """A fold reads of each event what its move needs; no field takes the value of another one."""
    at = from_text("2022-12-21T00:00:00.000000Z")
    rows = [
        ledger.as_row(number, Tube(f"T{number}", seq=1), example, at, "anna") | {"hash": str(number)}
        for number, example in enumerate(EXAMPLES, start=1)
    ]
    with database.write("anna") as unit:
        for row in rows:
            insert_many(unit.conn, event_table, [row])
    with database.read() as conn:
        packed = list(folding._packed(conn))
    for row, raw in zip(rows, packed, strict=True):
        assert list(raw) == [row.get(name) for name in folding.FOLDED[row["kind"]]]
        _, read, _ = folding._READERS[row["kind"]]
        fact = read(raw)
        for name in READS.get(KINDS[row["kind"]], ()):
            value = getattr(fact, name)
            assert row[name] == (to_text(value) if isinstance(value, datetime) else value)


def test_folding_leaves_the_collector_of_the_process_as_it_was(database: Database):
    """A program that switched garbage collection off, or on, finds it so after the log was read."""
    write_day(database, 1)
    for switch, state in ((gc.disable, False), (gc.enable, True)):
        switch()
        interval = sys.getswitchinterval()
        with database.read() as conn:
            ledger.fold(conn)
        assert gc.isenabled() is state
        assert sys.getswitchinterval() == interval


def test_recalls_are_opened_and_closed_by_events(database: Database):
    """A recalled person has an open task until the new specimen is reported."""
    codes = write_day(database, 1)
    with database.write("rules") as unit:
        ledger.append(unit, [(codes[0], e.Called("r", "P1", "A1", "positive", "x", "kit", "1", "first", ""))])
        ledger.append(unit, ledger.recalls(codes[0], ["person-T0"], "why", unit.now))
    with database.read() as conn:
        assert queries.recalls_of(conn, ["person-T0"]) == {"person-T0": ["T0"]}
    with database.write("rules") as unit:
        ledger.append(unit, [(codes[0], e.PersonRecollected("person-T0", "T9", "negative"))])
    with database.read() as conn:
        assert queries.recalls_of(conn, ["person-T0"]) == {}
    assert verdict(database).ok


def test_an_unknown_tube_is_named_with_what_to_do(database: Database):
    """Asking for a tube nobody registered says so."""
    with database.read() as conn, pytest.raises(NotFound, match="hold tray"):
        ledger.known(conn, TUBE)


def test_a_clock_that_goes_back_never_turns_the_log_round(database: Database, clock):
    """Events keep their order when the server's clock jumps back an hour; time stands still meanwhile."""
    write_day(database, 1)
    clock.advance(timedelta(hours=-1))
    with database.write("anna") as unit:
        ledger.append(unit, [("X1", registered(unit.now))])
    with database.read() as conn:
        times = [row[4] for row in ledger.rows(conn)]
    assert times == sorted(times)
    assert verdict(database).ok


def test_every_kind_of_event_survives_the_log(database: Database):
    """Writing and reading back any event gives an equal event."""
    for number, example in enumerate(EXAMPLES):
        moved = Tube(f"T{number}", seq=1)
        row = ledger.as_row(1, moved, example, from_text("2022-12-21T00:00:00.000000Z"), "anna")
        raw = [*(row.get(name) for name in ledger.SHAPE), "hash"]
        assert ledger.fact_of(raw) == example
    assert len(EXAMPLES) == len(KINDS)


# -- what only somebody who knows the hashes could do ---------------------------------------------


def forge(database: Database, fact, tube_id: str = "T0", **changed) -> None:
    """Append a row that fits the hashes but not what came before, as an attacker with the source would."""
    with database.engine.begin() as conn:
        number, digest = conn.execute(text("SELECT event_id, hash FROM chain")).one()
        moved = Tube(tube_id, seq=changed.pop("seq", 6))
        row = (
            ledger.as_row(number + 1, moved, fact, from_text("2022-12-21T12:00:00.000000Z"), "eve") | changed
        )
        row["hash"] = ledger.link(digest, row)
        names = ", ".join(row)
        marks = ", ".join(f":{name}" for name in row)
        conn.execute(text(f"INSERT INTO event ({names}) VALUES ({marks})"), row)
        conn.execute(text("UPDATE chain SET event_id = event_id + 1, hash = :hash"), {"hash": row["hash"]})


@pytest.mark.parametrize(
    ("fact", "changed", "word"),
    [
        (e.Received("R1", "A1", NOON), {}, "cannot follow what came before"),
        (e.RunStarted("P1", "qs5"), {"kind": "Teleported"}, "cannot follow what came before"),
        (e.RunStarted("P1", "qs5"), {"seq": 9}, "is event 9 of tube T0, but it is number 6"),
        (e.PersonRecollected("nobody", "T9", "negative"), {}, "cannot follow what came before"),
    ],
)
def test_a_forged_row_with_good_hashes_is_found(database: Database, fact, changed: dict, word: str):
    """A row whose hash fits is still refused if its tube could not move so, or if it is out of order."""
    write_day(database, 1)
    forge(database, fact, **changed)
    found = verdict(database)
    assert not found.ok
    assert found.event_id == 6
    assert word in found.problem


def test_a_tube_that_somebody_else_moved_is_refused(database: Database):
    """Events that rest on a tube as it was a moment ago are refused and nothing is written."""
    [code] = write_day(database, 1)
    with database.read() as conn:
        stale = ledger.tubes(conn, [code])
    with database.write("anna") as unit:
        ledger.append(unit, [(code, e.RunStarted("P1", "qs5"))])
    before = verdict(database)
    with pytest.raises(LisError) as error, database.write("bela") as unit:
        ledger.append(unit, [(code, e.RunStarted("P1", "qs5"))], stale)
    assert error.value.code == "TUBE_MOVED"
    ahead = {code: stale[code]._replace(seq=40)}
    with pytest.raises(LisError) as error, database.write("bela") as unit:
        ledger.append(unit, [(code, e.RunStarted("P1", "qs5"))], ahead)
    assert error.value.code == "TUBE_MOVED"
    assert verdict(database) == before


@pytest.mark.parametrize("stale", [0, 3, 7])
def test_one_stale_tube_among_many_refuses_them_all(database: Database, stale: int):
    """Tubes that move alike move in one statement; one that moved meanwhile leaves all where they were."""
    codes = write_day(database, 8)
    with database.read() as conn:
        known = ledger.tubes(conn, codes)
    with database.write("anna") as unit:
        ledger.append(unit, [(codes[stale], e.RunStarted("P1", "qs5"))])
    before = verdict(database)
    with pytest.raises(Conflict) as error, database.write("bela") as unit:
        ledger.append(unit, [(code, e.RunStarted("P1", "qs5")) for code in codes], known)
    assert error.value.code == "TUBE_MOVED"
    assert verdict(database) == before
    rest = [code for code in codes if code != codes[stale]]
    with database.write("bela") as unit:
        after = ledger.append(unit, [(code, e.RunStarted("P1", "qs5")) for code in rest], known)
    assert {after[code].state for code in rest} == {TubeState.RUNNING}
    assert verdict(database).ok


def test_a_recall_is_closed_once(database: Database):
    """A second answer for the same person is refused, so that it never counts for somebody else."""
    [code] = write_day(database, 1)
    with database.write("rules") as unit:
        ledger.append(unit, [(code, e.Called("r", "P1", "A1", "positive", "x", "kit", "1", "first", ""))])
        ledger.append(unit, ledger.recalls(code, ["person-T0"], "why", unit.now))
        ledger.append(unit, [(code, e.PersonRecollected("person-T0", "T9", "negative"))])
    for person in ("person-T0", "nobody"):
        with pytest.raises(Conflict) as error, database.write("rules") as unit:
            ledger.append(unit, [(code, e.PersonRecollected(person, "T9", "negative"))])
        assert error.value.code == "RECALL_CLOSED"


def test_the_log_is_read_in_pieces_of_any_size(database: Database):
    """A log longer than one piece comes out whole and in order."""
    write_day(database, 3)
    with database.read() as conn:
        whole = list(ledger.rows(conn))
        assert [row[0] for row in whole] == list(range(1, 16))
        for size in (1, 4, 15, 16):
            assert list(ledger.rows(conn, size=size)) == whole


def test_a_rebuilt_laboratory_remembers_pools_and_recalls(bench: Bench):
    """Everything beside the log is rebuilt from it: persons, pools, open and closed recalls."""
    codes = bench.singles(2)
    with bench.lab.database.write("anna") as unit:
        pools.form(unit, bench.lab.rules, codes)
    mixed = bench.mixed(5)
    bench.cycle([mixed], {mixed: {"N": 30.0}})
    with bench.lab.database.write("repair") as unit:
        assert ledger.rebuild(unit) == (4, 0)
    assert bench.check().ok


def test_a_fact_that_touches_no_table_leaves_none_behind():
    """Only events about persons, pools and recalls lead to rows beside the tube."""
    links = ledger.folding.Links()
    links.add("T1", e.HoldCleared("fine"), "", "")
    assert (links.persons, links.members, links.recalls) == ({}, {}, {})
