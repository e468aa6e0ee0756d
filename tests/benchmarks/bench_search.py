"""Worklists, search and the wall with a million tubes stored: p95 of each question, and whether an index answers it.

Run: ``python tests/benchmarks/bench_search.py [tubes] [database ...]``
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from bench_setting import (
    DATABASES,
    MORNING,
    Line,
    database_urls,
    laboratory_on,
    median_ms,
    note,
    percentile,
    rss_mb,
    show,
)
from sqlalchemy import Connection, event

from lis import barcodes, ledger, queries, schema
from lis.db import insert_many
from lis.events import TubeKind
from lis.laboratory import Laboratory
from lis.queries import Place, Sieve
from lis.services import wall as walls
from lis.tube import Tube, TubeState

LIMIT_MS = 50.0
ASKED = 60
SHARES = (
    (TubeState.STORED, 0.66),
    (TubeState.RELEASED, 0.22),
    (TubeState.RESOLVED, 0.02),
    (TubeState.SEALED, 0.04),
    (TubeState.RECEIVED, 0.04),
    (TubeState.IN_REVIEW, 0.005),
    (TubeState.AWAITING_RETEST, 0.005),
    (TubeState.AWAITING_RECOLLECTION, 0.005),
    (TubeState.RUNNING, 0.004),
    (TubeState.ON_HOLD_UNKNOWN, 0.001),
)


def code(number: int) -> str:
    """Barcode of tube ``number``."""
    return barcodes.mint(barcodes.TUBE, 44_070_000_000 + number)


def load(lab: Laboratory, tubes: int) -> None:
    """Write the tube table directly: what is asked here is the reading of it."""
    chance = random.Random(1)
    states = chance.choices([state for state, _ in SHARES], [share for _, share in SHARES], k=tubes)
    plates: set[str] = set()
    for start in range(0, tubes, 20_000):
        rows = []
        for n in range(start, min(start + 20_000, tubes)):
            sampled = MORNING - timedelta(seconds=20 * (tubes - n) % 2_000_000)
            due = sampled + timedelta(hours=24)
            rows.append(
                Tube(
                    code(n), TubeKind.SINGLE, states[n], 9, 1, 1, "voluntary", f"Site {n % 40}",
                    sampled_at=sampled, received_at=sampled, due_at=due, promised_at=due, updated_at=sampled,
                    rack=f"R{n // 96}", position=str(n % 96), plate_id=f"P{n // 94:08d}", well="A1",
                    assay="daan-2019-ncov", priority=n % 7,
                )._asdict()
            )  # fmt: skip
        with lab.database.write("bench") as unit:
            insert_many(unit.conn, schema.tube, rows)
            insert_many(
                unit.conn, schema.plate, [_plate(name) for name in {row["plate_id"] for row in rows} - plates]
            )
            insert_many(unit.conn, schema.plate_well, [_well(row, n) for n, row in enumerate(rows, start)])
        plates |= {row["plate_id"] for row in rows}
    with lab.database.write("bench") as unit:
        unit.conn.exec_driver_sql("ANALYZE")


def _plate(name: str) -> dict[str, Any]:
    row = {"plate_id": name, "size": 96, "template": "96", "assay": "daan-2019-ncov", "assay_version": "1"}
    return row | {"state": "read", "created_at": MORNING, "created_by": "bench"}


def _well(row: dict[str, Any], number: int) -> dict[str, Any]:
    place = number % 94
    well = f"{'ABCDEFGH'[place % 8]}{place // 8 + 1}"
    return {
        "plate_id": row["plate_id"],
        "well": well,
        "tube_id": row["tube_id"],
        "control": None,
        "batch": "",
    }


def questions(tubes: int) -> dict[str, Callable[[Connection, random.Random], Any]]:
    """What people at the bench ask."""

    def some(chance: random.Random) -> int:
        return chance.randrange(tubes)

    asked: dict[str, Callable[[Connection, random.Random], Any]] = {
        f"worklist {name}": lambda conn, _, name=name: queries.worklist(conn, name, limit=200)
        for name in queries.WORKLISTS
    }
    asked |= {
        "wall: what waits": lambda conn, _: queries.open_tallies(conn, MORNING, MORNING + timedelta(hours=2)),
        "wall: 2,000 events of the log": _news,
        "wall: where the day begins": lambda conn, _: queries.event_before(
            conn, MORNING - timedelta(hours=24)
        ),
        "wall: ways of 200 reported tubes": lambda conn, chance: queries.ways(conn, _reported(chance)),
        "list plate, sifted by tier": lambda conn, _: queries.sifted(conn, "plate", Sieve("voluntary"), 50),
        "list plate, page 200": _deep,
        "list plate, count with a text": lambda conn, _: queries.sifted_count(
            conn, "plate", Sieve(text="44")
        ),
        "list plate, sifted count": lambda conn, _: queries.sifted_count(conn, "plate", Sieve(site="Site 3")),
        "pick list": lambda conn, _: queries.pick(conn, 94, Sieve()),
        "search in groups": lambda conn, chance: queries.hits(conn, code(some(chance))[:7], 8),
    }
    return asked | {
        "worklist plate, page 10": lambda conn, _: queries.worklist(conn, "plate", limit=200, after=2000),
        "tube by its code": lambda conn, chance: ledger.known(conn, code(some(chance))),
        "search by a whole code": lambda conn, chance: queries.find_tubes(conn, code(some(chance)), 50),
        "search by nine digits": lambda conn, chance: queries.find_tubes(conn, code(some(chance))[:9], 50),
        "search by four digits": lambda conn, chance: queries.find_tubes(conn, code(some(chance))[:4], 50),
        "search by a plate": lambda conn, chance: queries.find_tubes(conn, f"P{some(chance) // 94:08d}", 50),
        "search by a rack": lambda conn, chance: queries.find_tubes(conn, f"R{some(chance) // 96}", 50),
        "search for what is not there": lambda conn, _: queries.find_tubes(conn, "999999", 50),
        "due first": lambda conn, _: queries.due_first(conn, 50),
        "rack of 96 looked up": lambda conn, chance: queries.occupied(conn, {f"R{some(chance) // 96}"}),
        "tubes of a plate read": lambda conn, chance: _plateful(conn, some(chance), tubes),
    }


def _plateful(conn: Connection, first: int, tubes: int) -> Any:
    return ledger.tubes(conn, [code((first + n) % tubes) for n in range(94)])


REPORTED = 50_000
"""Tubes that were reported within the last day; six events each are written."""

STEPS = ("Registered", "Received", "Plated", "RunStarted", "Concluded", "Released")


def load_log(lab: Laboratory) -> None:
    """Write the events of a day directly; hashes and checks cost nothing when they are read."""
    rows, number = [], 0
    for n in range(REPORTED):
        for seq, kind in enumerate(STEPS, 1):
            number += 1
            at = MORNING - timedelta(hours=30) + timedelta(seconds=number * 108_000 / (REPORTED * len(STEPS)))
            rows.append(
                {
                    "event_id": number, "tube_id": code(n), "seq": seq, "kind": kind, "at": at, "actor": "bench",
                    "result": "negative" if kind == "Released" else None,
                    "count": 1 if kind == "Released" else None, "hash": "",
                }
            )  # fmt: skip
    with lab.database.write("bench") as unit:
        insert_many(unit.conn, schema.event, rows)
        head = {"id": 1, "event_id": number, "hash": "", "at": MORNING}
        insert_many(unit.conn, schema.chain, [head])


def _news(conn: Connection, chance: random.Random) -> Any:
    after = chance.randrange(REPORTED * len(STEPS) - 2000)
    return queries.happened(conn, after, after + 2000)


def _reported(chance: random.Random) -> list[str]:
    first = chance.randrange(REPORTED - 200)
    return [code(n) for n in range(first, first + 200)]


def _deep(conn: Connection, _: random.Random) -> Any:
    """The page behind the tubes of the middle priority: nearly half of the list is passed over."""
    return queries.sifted(conn, "plate", Sieve(), 50, Place(3, "9999", ""))


def plan_of(lab: Laboratory, ask: Callable[[Connection, random.Random], Any]) -> str:
    """Whether the database reads the whole tube table to answer.

    Prepared statements pass SQLAlchemy by, so a question that asks nothing else says so.
    """
    statements: list[tuple[str, Any]] = []

    def remember(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    event.listen(lab.database.engine, "before_cursor_execute", remember)
    try:
        with lab.database.read() as conn:
            ask(conn, random.Random(2))
    finally:
        event.remove(lab.database.engine, "before_cursor_execute", remember)
    explain = "EXPLAIN QUERY PLAN " if lab.database.dialect == "sqlite" else "EXPLAIN "
    with lab.database.read() as conn:
        plans = [
            str(conn.exec_driver_sql(explain + statement, parameters).fetchall())
            for statement, parameters in statements
            if statement.lstrip().upper().startswith("SELECT")
        ]
    if not plans:
        return "plan not looked at"
    scanned = any(
        "SCAN tube'" in plan or 'SCAN tube"' in plan or "Seq Scan on tube" in plan for plan in plans
    )
    return "reads the whole table" if scanned else "by index"


def measure(url: str, tubes: int) -> list[Line]:
    """p95 of every question."""
    lines = []
    with laboratory_on(url) as lab:
        load(lab, tubes)
        load_log(lab)
        chance = random.Random(3)
        for what, ask in questions(tubes).items():
            spent = []
            for _ in range(ASKED):
                start = time.perf_counter()
                with lab.database.read() as conn:
                    ask(conn, chance)
                spent.append(1000 * (time.perf_counter() - start))
            plan = plan_of(lab, ask)
            lines.append(
                Line(
                    f"{what}, p95",
                    percentile(spent, 0.95),
                    LIMIT_MS,
                    "ms",
                    f"p50 {percentile(spent, 0.5):.1f} ms, {plan}",
                )
            )
        lines += _picture(lab)
        lines.append(note("memory of this process", rss_mb(), "MB"))
    return lines


def _picture(lab: Laboratory) -> list[Line]:
    """The whole picture of the wall, with a day of reports behind it."""
    day, silent = walls.Day(), timedelta(minutes=lab.settings.silent_minutes)

    def draw() -> None:
        with lab.database.read() as conn:
            walls.message(conn, lab.rules, day, MORNING, MORNING - timedelta(hours=8), silent)

    with lab.database.read() as conn:
        while not day.read_on(conn, MORNING):
            pass
    before = time.process_time()
    elapsed = median_ms(draw, 10)
    return [
        note("wall: whole picture, p50", elapsed, "ms"),
        note("wall: processor time of this process for it", 100 * (time.process_time() - before), "ms"),
    ]


def main() -> None:
    """Measure each database."""
    tubes = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with database_urls(sys.argv[2:] or DATABASES) as urls:
        for name, url in urls.items():
            show(f"worklists and search with {tubes:,} tubes, {name}", measure(url, tubes))


if __name__ == "__main__":
    main()
