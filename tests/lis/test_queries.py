"""What is asked of the laboratory: every list, count and search over one busy morning, on both databases."""

from __future__ import annotations

from datetime import timedelta

from bench import Bench

from lis import queries
from lis.clock import to_text
from lis.services import pools
from lis.services.receiving import Scan
from lis.tube import TubeState

POSITIVE = {"ORF1ab": 25.0, "N": 25.0}


def test_every_list_of_a_busy_morning(bench: Bench):
    """Counts, worklists, searches and exports agree with what was done, and are empty before anything was."""
    with bench.lab.database.read() as conn:
        assert queries.state_counts(conn) == {}
        assert queries.oldest_unreported(conn) is None
        assert set(queries.queue_depths(conn).values()) == {0}
    sampled = bench.clock.now() - timedelta(hours=6)
    urgent = bench.singles(1, tier="fever", sampled_at=sampled)[0]
    sealed = bench.register(bench.order())[0]
    negative, positive, retest, *members = bench.singles(5)
    mixed = bench.mixed(5)
    strange = bench.code()
    bench.scan(Scan(strange, "H", "1"))
    with bench.lab.database.write("anna") as unit:
        pool = pools.form(unit, bench.lab.rules, members).tube_id
    handled = bench.cycle(
        [negative, positive, retest, mixed], {positive: POSITIVE, retest: {"N": 36.0}, mixed: POSITIVE}
    )
    bench.deliver(b"junk", name="junk.csv")
    with bench.lab.database.read() as conn:
        lists = {name: [tube.tube_id for tube in queries.worklist(conn, name)] for name in queries.WORKLISTS}
        assert lists == {
            "receive": [sealed],
            "plate": [urgent, pool],
            "retest": [retest],
            "recollect": [mixed],
            "review": [positive],
            "release": [positive],
            "hold": [strange],
        }
        assert queries.worklist(conn, "plate", limit=1, after=1)[0].tube_id == pool
        assert sum(queries.state_counts(conn).values()) == 10
        assert queries.state_counts(conn, ["pool"]) == {"received": 1}
        assert queries.count_in_states(conn, TubeState.RECEIVED, TubeState.POOLED) == {
            "received": 2,
            "pooled": 2,
        }
        assert queries.oldest_unreported(conn) == sampled
        assert [tube.tube_id for tube in queries.due_first(conn, 1)] == [urgent]
        assert queries.queue_depths(conn) == {
            "recalls": 5,
            "alarms": 0,
            "amendments": 0,
            "quarantined": 1,
            "waiting": 0,
        }
        found = {
            text: {tube.tube_id for tube in queries.find_tubes(conn, text)}
            for text in (urgent[:12], pool, "H", "x")
        }
        assert found == {urgent: {urgent}, pool: {pool, *members}, "H": {strange}, "x": set()}
        assert len(queries.find_tubes(conn, urgent[:6], limit=3)) == 3
        plate_id = handled.ingested.plate_id
        assert {tube.tube_id for tube in queries.find_tubes(conn, plate_id)} >= {negative, positive}
        assert [row["plate_id"] for row in queries.plates(conn)] == [plate_id]
        assert queries.plates(conn, "void") == []
        [run] = queries.runs_of_plate(conn, plate_id)
        assert queries.run_row(conn, run["run_id"]) == run
        assert queries.run_row(conn, "nobody") is None
        assert len(queries.readings_of_run(conn, run["run_id"])) == 3 * 7
        assert {row["person_id"] for row in queries.recalls_of_tube(conn, mixed)} == set(
            queries.persons_in(conn, mixed)
        )
        assert [row["name"] for row in queries.files(conn, "quarantined")] == ["junk.csv"]
        assert len(queries.files(conn)) == 2
        assert queries.waiting_files(conn) == []
        assert queries.actor_of(conn, urgent, "Received") == "anna"
        assert queries.actor_of(conn, urgent, "Released") == ""
        assert queries.event_counts(conn, "Called", "outcome") == {
            "borderline": 1,
            "negative": 1,
            "positive": 2,
        }


def test_tables_are_exported_in_the_order_they_were_written(bench: Bench):
    """Each export has a header and as many rows as its table, events in their order."""
    bench.cycle(bench.singles(3))
    with bench.lab.database.read() as conn:
        for what, table in (("tubes", "tube"), ("reports", "report"), ("plates", "plate"), ("runs", "run")):
            names, rows = queries.dump(conn, what)
            assert len(list(rows)) == queries.count_of(conn, table)
            assert len(names) == len(set(names)) > 5
        names, rows = queries.dump(conn, "events")
        events = [dict(zip(names, row, strict=True)) for row in rows]
    assert [row["event_id"] for row in events] == list(range(1, len(events) + 1))
    assert to_text(events[0]["at"]) <= to_text(events[-1]["at"])


def test_a_stored_reply_belongs_to_one_account(bench: Bench):
    """A reply kept under a key is found by the same account only."""
    row = {"key": "k", "account": "anna", "request": "r", "status": 201, "reply": "{}"}
    with bench.lab.database.write("anna") as unit:
        queries.insert_rows(unit.conn, "idempotency", [{**row, "at": unit.now}])
        queries.insert_rows(unit.conn, "idempotency", [])
    with bench.lab.database.read() as conn:
        stored = queries.stored_reply(conn, "k", "anna")
        assert stored is not None
        assert stored["status"] == 201
        assert queries.stored_reply(conn, "k", "bela") is None
