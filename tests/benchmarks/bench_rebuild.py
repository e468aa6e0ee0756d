"""The tube table rebuilt from the log alone, and the log verified: 100,000 tubes from registration to report.

Run: ``python tests/benchmarks/bench_rebuild.py [tubes] [database ...]``
"""

from __future__ import annotations

import sys
import time
from datetime import timedelta

from bench_setting import (
    DATABASES,
    MORNING,
    Line,
    database_urls,
    laboratory_on,
    note,
    person,
    rss_mb,
    show,
    tube,
)
from sqlalchemy import delete

from lis import events as e
from lis import ledger, queries, schema
from lis.events import TubeKind
from lis.laboratory import Laboratory

LIMIT_S = 10.0
BATCH = 1000


LIVES = (4, 10)
"""Events of a tube that was received, and of one that was reported."""


def life(code: str, who: str, number: int) -> list[ledger.Recorded]:
    """What happens to a negative single tube: ten events."""
    due = MORNING + timedelta(hours=24)
    return [
        (code, e.Registered(TubeKind.SINGLE, 1, "voluntary", "Site 1", MORNING, due)),
        (code, e.PersonBound(who, 1)),
        (code, e.Sealed(1, "")),
        (code, e.Received(f"R{number // 96}", str(number % 96), due)),
        (code, e.Plated(f"P{number // 94:08d}", "A1", "daan-2019-ncov", "first")),
        (code, e.RunStarted(f"P{number // 94:08d}", "qs5")),
        (
            code,
            e.Called(
                "run",
                f"P{number // 94:08d}",
                "A1",
                "negative",
                "none-detected",
                "daan-2019-ncov",
                "1",
                "first",
                "flat",
            ),
        ),
        (code, e.Concluded("negative", "negative")),
        (code, e.Reviewed("accept", "")),
        (code, e.Released("negative", 1, "0" * 64)),
    ]


def write(lab: Laboratory, tubes: int, events: int = 10) -> None:
    """Put the lives of ``tubes`` tubes into the log through the ledger."""
    row = {
        "document_type": "passport",
        "document_sealed": b"x",
        "document_masked": "x",
        "phone_sealed": b"x",
        "phone_masked": "x",
    }
    for start in range(0, tubes, BATCH):
        numbers = range(start, min(start + BATCH, tubes))
        with lab.database.write("bench") as unit:
            people = [
                row
                | {
                    "person_id": f"p{n}",
                    "name": person(n).name,
                    "document_hash": f"h{n}",
                    "created_at": unit.now,
                }
                for n in numbers
            ]
            queries.insert_people(unit.conn, people)
            ledger.append(
                unit, [fact for n in numbers for fact in life(tube(n).barcode, f"p{n}", n)[:events]]
            )


def rebuilt(lab: Laboratory, expected: ledger.Rebuilt) -> tuple[float, float]:
    """Seconds of wall and of processor that a rebuild takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    with lab.database.write("bench") as unit:
        found = ledger.rebuild(unit)
    if found != expected:
        raise SystemExit(f"rebuilt {found}, not {expected}")
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(url: str, tubes: int, events: int) -> list[Line]:
    """Seconds of wall and of processor for rebuild and verification."""
    with laboratory_on(url) as lab:
        write(lab, tubes, events)
        intact, _ = rebuilt(lab, ledger.Rebuilt(tubes, 0))
        with lab.database.write("bench") as unit:
            unit.conn.execute(delete(schema.tube))
            unit.conn.execute(delete(schema.tube_person))
        wall, cpu = rebuilt(lab, ledger.Rebuilt(tubes, 2 * tubes))
        verified, verified_cpu = time.perf_counter(), time.process_time()
        with lab.database.read() as conn:
            verdict = ledger.verify(conn)
        verified, verified_cpu = time.perf_counter() - verified, time.process_time() - verified_cpu
        if not verdict.ok:
            raise SystemExit(verdict.problem)
    limit = LIMIT_S * tubes / 100_000
    each = f"{1e6 * cpu / verdict.events:.1f} us of processor an event"
    return [
        Line(f"{tubes:,} lost tubes rebuilt ({verdict.events:,} events)", wall, limit, "s", each),
        Line("of it processor time", cpu, limit, "s"),
        Line("the same, nothing was wrong", intact, limit, "s"),
        note("verification of the same log", verified, "s"),
        note("of it processor time", verified_cpu, "s"),
        note("memory of this process", rss_mb(), "MB"),
    ]


def main() -> None:
    """Measure each database."""
    tubes = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    for events in LIVES:
        with database_urls(sys.argv[2:] or DATABASES) as urls:
            for name, url in urls.items():
                show(f"the log read back, {name}, {events} events a tube", measure(url, tubes, events))


if __name__ == "__main__":
    main()
