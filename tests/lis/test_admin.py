"""Whoever changes a report, a reading, a plate map or a file behind the log is found; devices and keys."""

from __future__ import annotations

from datetime import timedelta

import pytest
from bench import Bench

from lis import auth, ledger, queries, schema
from lis.errors import LisError
from lis.services import admin, amendments, devices, disclosure

POSITIVE = {"ORF1ab": 25.0, "N": 25.0}
KEY = "k" * 40


@pytest.fixture
def day(bench: Bench) -> Bench:
    """A laboratory with reports, an amendment, a void run and a quarantined file."""
    one, two = bench.singles(2)
    mixed = bench.mixed(5)
    bench.cycle([one, two, mixed])
    with bench.lab.database.write("rosa") as unit:
        number = bench.reports(one)[0]["report_id"]
        amendments.amend(unit, bench.lab.rules, number, "inconclusive", "swapped")
    late = bench.singles(2)
    bench.cycle(late, {"NTC": POSITIVE})
    bench.deliver(b"junk")
    assert bench.check() == admin.Check(bench.count(), bench.count("tube"), ok=True)
    assert bench.check().as_json() == {"events": bench.count(), "tubes": 5, "ok": True}
    return bench


OLDEST = "(SELECT min(report_id) FROM report)"
LAST_TUBE = "(SELECT max(tube_id) FROM tube)"
COPY = (
    "INSERT INTO report SELECT 'R1', version, amends, tube_id, person_id, result, mode, places, tests, assay, "
    "assay_version, pool_policy, pool_policy_version, sampled_at, received_at, issued_at, due_at, signed_by, signed_names, reason, seal FROM report "
)
ADD = "INSERT INTO plate_well SELECT plate_id, 'H5', {0}, NULL, batch, test, '' FROM plate_well WHERE well = 'C1'"
ATTACKS = {
    "report result": f"UPDATE report SET result = 'positive' WHERE report_id = {OLDEST}",
    "report person": f"UPDATE report SET person_id = 'x' WHERE report_id = {OLDEST}",
    "report reason": "UPDATE report SET reason = 'none' WHERE amends <> ''",
    "report deleted": f"DELETE FROM report WHERE report_id = {OLDEST}",
    "amendment deleted": "DELETE FROM report WHERE amends <> ''",
    "report copied": f"{COPY} WHERE report_id = {OLDEST}",
    "Cq of a control": "UPDATE reading SET cq = 20.0 WHERE control = 'NTC' AND target = 'N'",
    "curve": "UPDATE reading SET curve = 'flat' WHERE control = 'PC' AND target = 'N'",
    "reading deleted": "DELETE FROM reading WHERE control = 'PC' AND target = 'N'",
    "run deleted": "DELETE FROM reading; DELETE FROM run",
    "reading of another tube": f"UPDATE reading SET tube_id = {LAST_TUBE} WHERE well = 'A1'",
    "control swapped": "UPDATE reading SET control = 'PC' WHERE control = 'NTC'",
    "well of another tube": "UPDATE plate_well SET tube_id = 'X' WHERE well = 'B1'",
    "well moved": "UPDATE plate_well SET well = 'H5' WHERE well = 'B1'",
    "well added": ADD.format("'X'"),
    "file": "UPDATE file SET content = CAST(sha256 AS {blob})",
}


def tampered(bench: Bench, statements: str) -> admin.Check:
    """What the check says after somebody without respect for triggers ran these statements; they are undone."""
    sqlite = bench.lab.database.dialect == "sqlite"
    with bench.lab.database.engine.connect() as conn:
        transaction = conn.begin()
        if sqlite:
            conn.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
            triggers = conn.exec_driver_sql(
                "SELECT name FROM sqlite_master WHERE type = 'trigger'"
            ).fetchall()
            for (trigger,) in triggers:
                conn.exec_driver_sql(f"DROP TRIGGER {trigger}")
        else:
            conn.exec_driver_sql("SET LOCAL session_replication_role = replica")
        for statement in statements.replace("{blob}", "BLOB" if sqlite else "BYTEA").split("; "):
            assert conn.exec_driver_sql(statement).rowcount, statement
        found = admin.verify_log(conn)
        transaction.rollback()
    return found


def test_evidence_changed_behind_the_log_is_found(day: Bench):
    """A changed, deleted, added or swapped report, reading, well or file makes the check fail and name it."""
    for name, statements in ATTACKS.items():
        found = tampered(day, statements)
        assert not found.ok, name
        assert len(found.problem) > 20
        assert found.as_json()["problem"] == found.problem
    assert day.check().ok


# Table -> its number, a column to forge, and how its first four rows are called.
CHAINS = {
    "device_act": (
        "act_id",
        "public_key",
        ("act {} on devices", "acts on devices"),
        ("added of qs5", "code of qs5", "enrolled of qs5", "revoked of qs5"),
    ),
    "admin_act": (
        "act_id",
        "detail",
        ("act {} of administration", "acts of administration"),
        ("added of N01", "changed of N01", "added of anna", "active of anna"),
    ),
    "disclosure": (
        "disclosure_id",
        "person_id",
        ("disclosure {}", "disclosures"),
        ("unmask by anna", "contact by bo", "search by cai", "report by dee"),
    ),
}


def attacks(table: str) -> dict[str, str]:
    """What somebody without respect for triggers may do to a chain -> what the check says."""
    key, forged, (one, every), said = CHAINS[table]
    change = f"UPDATE {table} SET "
    columns = [column.name for column in schema.metadata.tables[table].c if column.name != key]
    swap = [f"{change}{key} = {new} WHERE {key} = {old}" for new, old in ((9, 1), (1, 2), (2, 9))]

    def changed(number: int, of: int = 0) -> str:
        return f"{one.format(number)} ({said[(of or number) - 1]}) was changed"

    return {
        f"{change}actor = 'nobody' WHERE {key} = 2": changed(2).replace("by bo", "by nobody"),
        f"{change}{forged} = '{'z' * 40}' WHERE {key} = 3": changed(3),
        f"{change}at = '2022-12-21T00:00:00.000000Z' WHERE {key} = 1": changed(1),
        f"{change}hash = '{'0' * 64}' WHERE {key} = 4": changed(4),
        "; ".join(swap): changed(1, of=2),
        f"DELETE FROM {table} WHERE {key} = 1": f"{one.format(1)} is missing",
        f"DELETE FROM {table} WHERE {key} = 3": f"{one.format(3)} is missing",
        f"DELETE FROM {table} WHERE {key} = 4": f"the {every} end at 3",
        f"DELETE FROM {table}": f"the {every} end at 0",
        f"UPDATE act_chain SET hash = 'ffff' WHERE name = '{table}'": f"the {every} end at 4",
        f"DELETE FROM act_chain WHERE name = '{table}'": f"the {every} end at 4",
        f"INSERT INTO {table} ({key}, {', '.join(columns)}) SELECT 5, {', '.join(columns)} FROM {table} "
        f"WHERE {key} = 4": changed(5, of=4),
    }


def test_acts_changed_deleted_swapped_or_added_are_found(bench: Bench):
    """Who enrolled, changed and saw what cannot be rewritten: the first row of a chain that does not fit is named."""
    code = "c" * 40
    with bench.lab.database.write("admin") as unit:
        devices.add_device(unit, "qs5", "cycler")
        devices.issue_code(unit, "qs5", code, timedelta(hours=1))
        for area, subject, act in (
            *(("site", "N01", "added"), ("site", "N01", "changed")),
            *(("account", "anna", "added"), ("account", "anna", "active")),
        ):
            auth.note(unit, area, subject, act, "as they asked")
    with bench.lab.database.write("bridge") as unit:
        devices.enrol_by_code(unit, devices.Request(code, KEY, "qs5"))
        devices.revoke_device(unit, "qs5")
    seen = {"anna": "unmask", "bo": "contact", "cai": "search", "dee": "report"}
    for actor, act in seen.items():
        with bench.lab.database.write(actor) as unit:
            disclosure.disclose(unit, act, "440700000019", "asked for", ["p1"])
    assert bench.check().ok
    enrolled = f"UPDATE device SET public_key = '{'z' * 40}'"
    everything = {enrolled: "device qs5 has a key that no act enrolled"}
    for statements, words in [*everything.items(), *(one for t in CHAINS for one in attacks(t).items())]:
        found = tampered(bench, statements)
        assert not found.ok, statements
        assert words in found.problem, statements
    assert bench.check().ok


def test_every_person_of_a_disclosure_is_a_row_of_its_chain(bench: Bench):
    """Several persons seen in one act are numbered one after the other; a search that found nobody is a row too."""
    with bench.lab.database.write("cai") as unit:
        disclosure.disclose(unit, "search", "name", "", ["p1", "p2"])
        disclosure.disclose(unit, "search", "name", "", [])
    with bench.lab.database.read() as conn:
        rows = list(ledger.read_acts(conn, "disclosure"))
    assert [(row["disclosure_id"], row["person_id"]) for row in rows] == [(1, "p1"), (2, "p2"), (3, "")]
    assert bench.check().ok


def test_a_damaged_log_is_reported_before_its_evidence(day: Bench):
    """A log that does not verify is named with its row, whatever else is wrong."""
    raw = day.lab.database.engine.raw_connection()
    raw.cursor().execute("UPDATE tube SET state = 'stored' WHERE tube_id = (SELECT min(tube_id) FROM tube)")
    raw.commit()
    raw.close()
    found = day.check()
    assert not found.ok
    assert found.tube
    assert "stored" in found.problem


def refused(bench: Bench, code: str, act, *values: str) -> None:
    """The act on a device is refused."""
    with pytest.raises(LisError) as error, bench.lab.database.write("admin") as unit:
        act(unit, *values)
    assert error.value.code == code


def test_devices_are_enrolled_once_and_revoked_at_once(bench: Bench):
    """Names and keys are unique and well formed; a revoked key belongs to nobody."""
    with bench.lab.database.write("admin") as unit:
        devices.enrol_device(unit, "qs5-1", "quantstudio", KEY)
    refused(bench, "DEVICE_KNOWN", devices.enrol_device, "qs5-1", "quantstudio", "j" * 40)
    refused(bench, "DEVICE_KNOWN", devices.enrol_device, "qs5-2", "quantstudio", KEY)
    refused(bench, "DEVICE_NAME", devices.enrol_device, " ", "quantstudio", "j" * 40)
    refused(bench, "DEVICE_KEY", devices.enrol_device, "qs5-2", "quantstudio", "short")
    refused(bench, "DEVICE_UNKNOWN", devices.revoke_device, "qs5-9")
    with bench.lab.database.read() as conn:
        assert queries.device_of_key(conn, KEY, bench.clock.now()) == "qs5-1"
    with bench.lab.database.write("admin") as unit:
        devices.revoke_device(unit, "qs5-1")
    with bench.lab.database.read() as conn:
        assert queries.device_of_key(conn, KEY, bench.clock.now()) is None
        assert [row["name"] for row in queries.devices(conn)] == ["qs5-1"]
