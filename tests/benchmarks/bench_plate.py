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
from lis.services import plates, results
from lis.services.inbox import Delivery
from lis.services.plates import PlateOrder

LIMIT_MS = 150.0
HELD = 10_000


def measure(url: str, count: int, held: int = HELD) -> list[Line]:
    """Medians over ``count`` plates of one laboratory: every other one stops before its reports."""
    with laboratory_on(url) as lab:
        fill(lab, held)
        kept, decided, reported = [], [], []
        for number in range(2 * count):
            plate, data = _loaded(lab, number)
            delivery = Delivery("qs5", plate, f"{plate}.txt", data, plate)
            start = time.perf_counter()
            stored = laboratory.keep(lab, delivery)
            kept.append(1000 * (time.perf_counter() - start))
            if number % 2:
                ingested, issued, _ = laboratory.process(lab, stored.file_id, "qs5")
                reported.append(1000 * (time.perf_counter() - start))
                good = bool(issued.reports)
            else:
                parsed = laboratory.parse(lab, delivery.name, data)
                with lab.database.write("qs5") as unit:
                    ingested = results.ingest(unit, lab.rules, stored.file_id, parsed)
                decided.append(1000 * (time.perf_counter() - start))
                good = True
            if ingested.state != "read" or not good:
                raise SystemExit(f"{plate}: {ingested.code} {ingested.sentence}")
        commit_ms = 1000 / durable_commits(lab)
    name = url.split(":", maxsplit=1)[0].split("+", maxsplit=1)[0]
    return [
        _line(f"{name}: plate from file to decided, logged results, median", decided, commit_ms),
        _line(f"{name}: the same and its reports issued, median", reported, commit_ms),
        note(f"{name}: of it keeping the bytes", statistics.median(kept), "ms"),
        note(f"{name}: slowest plate with reports", max(reported), "ms"),
        note(f"{name}: one durable commit of this database", commit_ms, "ms"),
    ]


def _loaded(lab: laboratory.Laboratory, number: int) -> tuple[str, bytes]:
    """A plate that ran for two hours, and the file of its cycler."""
    with lab.database.write("anna") as unit:
        plate = plates.create(unit, lab.rules, PlateOrder(template="96-two-controls"))
        plates.load(unit, plate, plate, "qs5")
    lab.database.clock.advance(timedelta(hours=2))
    return plate, plate_file(lab, plate, number)


def _line(what: str, spent: list[float], commit_ms: float) -> Line:
    median = statistics.median(spent)
    return Line(what, median, LIMIT_MS, "ms", f"{median / commit_ms:.0f} durable commits")


def main() -> None:
    """Measure each database."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    with database_urls() as urls:
        for url in urls.values():
            show(f"a plate of 94 tubes, {HELD:,} tubes in the database, {count} plates", measure(url, count))


if __name__ == "__main__":
    main()
