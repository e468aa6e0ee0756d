"""The clocks of instruments' PCs may be wrong by hours or decades: the laboratory's times are its own."""

from __future__ import annotations

import hashlib
from datetime import UTC, timedelta

from bench import Bench

from instruments import wire
from instruments.bridge import Shipment
from lis import laboratory, ledger, queries
from lis.reception import Reception

HOURS = timedelta(hours=3)
CLOCKS = {
    "1970": "1970-01-01T00:00:00+00:00",
    "two hours behind": "2022-12-21T13:00:00+00:00",
    "right": "2022-12-21T15:00:00+00:00",
    "two hours ahead": "2022-12-21T17:00:00+00:00",
    "the first 02:30 of a night with two": "2022-10-30T02:30:00+02:00",
    "the second 02:30 of a night with two": "2022-10-30T02:30:00+01:00",
    "a 02:30 that never was": "2022-03-27T02:30:00+01:00",
    "9999": "9999-12-31T23:59:59-12:00",
    "no time at all": "",
}
"""What the PC says when our clock says 15:00 UTC on 21 December 2022; its cycler writes the same into its file."""


def run_of(bench: Bench, device: str, plate: str, said: str) -> Shipment:
    """A finished run as the PC with that clock sends it."""
    moment = wire.parse_moment(said)
    heads = (
        {}
        if moment is None or moment.year == 9999
        else {
            "started": f"{moment - timedelta(hours=2 if moment.year > 1970 else 0):%Y-%m-%dT%H:%M:%SZ}",
            "ended": f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        }
    )
    data = bench.table(plate, **heads)
    sha256 = hashlib.sha256(data).hexdigest()
    return Shipment(device, device, plate, plate, f"{plate}.csv", sha256, len(data), data, moment, "m1")


def test_times_of_the_laboratory_are_its_own_whatever_the_clock_of_a_pc_says(bench: Bench):
    """Receipt, reading, events and turnaround follow the server's clock alone; no duration is negative, none is another's."""
    link = Reception(bench.lab, "tcp://127.0.0.1:*")
    tubes = {name: bench.singles(1)[0] for name in CLOCKS}
    received = bench.clock.now()
    made = {name: bench.plate([code]) for name, code in tubes.items()}
    bench.clock.advance(HOURS)
    arrived = bench.clock.now()
    for place, (name, said) in enumerate(CLOCKS.items()):
        kept = link._keep(run_of(bench, f"pc-{place}", made[name], said))
        assert (kept.status, kept.first_stored_at) == ("stored", arrived), name
    with bench.lab.database.read() as conn:
        waiting = queries.waiting_files(conn)
    done = {
        one.plate_id: one
        for one in (laboratory.process(bench.lab, file_id, "bridge")[0] for file_id in waiting)
    }
    assert {one.state for one in done.values()} == {"read"}
    with bench.lab.database.read() as conn:
        files = queries.files(conn)
        runs = conn.exec_driver_sql("SELECT plate_id, read_at FROM run").fetchall()
        took = {one.tube_id: one.hours for one in queries.turnarounds(conn, "receipt")}
        told = {code: ledger.history(conn, code) for code in tubes.values()}
    assert {row["received_at"] for row in files} == {arrived}
    assert len(runs) == len(CLOCKS)
    for name, code in tubes.items():
        moments = [entry.at for entry in told[code]]
        assert moments == sorted(moments), name
        assert {received, arrived} == set(moments), name
    released = {name for name, code in tubes.items() if bench.states([code]) == ["released"]}
    assert released == set(CLOCKS) - {"two hours ahead"}
    assert bench.states([tubes["two hours ahead"]]) == [
        "in_review"
    ]  # a run that has not ended yet: a person looks
    assert {code: took.get(code) for name, code in tubes.items() if name in released} == {
        code: 3.0 for name, code in tubes.items() if name in released
    }


def test_a_server_whose_clock_is_set_back_reports_no_negative_time(bench: Bench):
    """Two hours back between receipt and result: events stay in order, the turnaround is not below nothing."""
    code = bench.singles(1)[0]
    plate = bench.plate([code])
    before = bench.clock.now()
    bench.clock.advance(timedelta(hours=-2))
    done = bench.deliver(bench.table(plate), plate=plate)
    assert done.ingested.state == "read"
    with bench.lab.database.read() as conn:
        moments = [entry.at for entry in ledger.history(conn, code)]
        took = [one.hours for start in ("receipt", "sampling") for one in queries.turnarounds(conn, start)]
    assert moments == sorted(moments)
    assert min(moments) >= before
    assert took == [0.0, 0.0]
