"""A 94-tube plate from file to decided, logged, released results, on a database that holds 10,000 tubes.

Run: ``python tests/benchmarks/bench_plate.py [plates]``
"""

from __future__ import annotations

import statistics
import sys
import time
from datetime import timedelta

from bench_setting import Line, database_urls, durable_commits, fill, laboratory_on, note, plate_file, show

from lis import laboratory
from lis.services import plates
from lis.services.inbox import Delivery
from lis.services.plates import PlateOrder

LIMIT_MS = 150.0
HELD = 10_000


def measure(url: str, count: int, held: int = HELD) -> list[Line]:
    """Medians of keep, process and both, over ``count`` plates of one laboratory."""
    with laboratory_on(url) as lab:
        fill(lab, held)
        kept, done = [], []
        for number in range(count):
            with lab.database.write("anna") as unit:
                plate = plates.create(unit, lab.rules, PlateOrder(template="96-two-controls"))
                plates.load(unit, plate, plate, "qs5")
            lab.database.clock.advance(timedelta(hours=2))
            data = plate_file(lab, plate, number)
            start = time.perf_counter()
            stored = laboratory.keep(lab, Delivery("qs5", plate, f"{plate}.txt", data, plate))
            middle = time.perf_counter()
            ingested, issued, _held = laboratory.process(lab, stored.file_id, "qs5")
            end = time.perf_counter()
            if ingested.state != "read" or not issued.reports:
                raise SystemExit(f"{plate}: {ingested.code} {ingested.sentence}")
            kept.append(1000 * (middle - start))
            done.append(1000 * (end - middle))
        commit_ms = 1000 / durable_commits(lab)
    both = [a + b for a, b in zip(kept, done, strict=True)]
    name = url.split(":", maxsplit=1)[0].split("+", maxsplit=1)[0]
    median = statistics.median(both)
    return [
        Line(
            f"{name}: plate from file to decided results, median",
            median,
            LIMIT_MS,
            "ms",
            f"{median / commit_ms:.0f} durable commits",
        ),
        note(f"{name}: of it keeping the bytes", statistics.median(kept), "ms"),
        note(f"{name}: of it reading, deciding, logging, releasing", statistics.median(done), "ms"),
        note(f"{name}: slowest plate", max(both), "ms"),
        note(f"{name}: one durable commit of this database", commit_ms, "ms"),
    ]


def main() -> None:
    """Measure each database."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    with database_urls() as urls:
        for url in urls.values():
            show(f"a plate of 94 tubes, {HELD:,} tubes in the database, {count} plates", measure(url, count))


if __name__ == "__main__":
    main()
