"""Plates of 384 wells from their bytes to issued reports: what each stage costs, and how many a second pass.

The stages are processor time of one process, so that other programs spoil them least; a fixed loop is
timed beside them, since a processor shared with others is slow in itself. Then the same plates go through
a server with CURVE and durable commits, and the processor time of every process involved is counted: the
server, those that parse for it, PostgreSQL. The senders are not: they are other machines.

Run: ``python tests/benchmarks/bench_plates.py [plates] [sqlite|postgresql]``
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
from bench_bridge import DEVICES, Fleet, laboratory_server, prepared, serve
from bench_setting import Line, database_urls, fill, laboratory_on, note, plate_file, show
from sqlalchemy import func, select

from instruments import integrity, read
from instruments.bridge import KeyPair, new_keypair
from lis import config, laboratory, queries, schema
from lis.db import Prepared, among
from lis.services import plates, pools, reports, results
from lis.services.inbox import Delivery
from lis.services.plates import PlateOrder

LIMIT_S = 10.0
"""Plates a second on two processors."""

CORES = 2
LIMIT_MS = 1000 * CORES / LIMIT_S
WARM = 8
"""Plates that go through before anything is counted: processes start, files grow."""

EACH = 40
"""Plates of one round. The best round counts: a processor that others share is now fast, now half as fast."""

STAGES = ("keep", "fetch", "parse", "curves", "decide and log", "release", "commit")


def loop_ms() -> float:
    """Processor time of a fixed piece of Python: how fast this processor is just now."""
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        held: dict[int, tuple[int, str]] = {}
        for number in range(100_000):
            held[number & 1023] = (number, str(number))
        best = min(best, time.process_time() - start)
    return 1000 * best


def stages(url: str, count: int) -> list[Line]:
    """Least processor time of each stage over ``count`` plates."""
    spent: list[list[float]] = []
    with laboratory_on(url) as lab:
        fill(lab, 372 * count)
        for number in range(count):
            with lab.database.write("anna") as unit:
                plate = plates.create(unit, lab.rules, PlateOrder(template="384-quadrants"))
                plates.load(unit, plate, plate, "qs5")
            lab.database.clock.advance(timedelta(hours=2))
            data = plate_file(lab, plate, number, block=384)
            spent.append(_staged(lab, Delivery("qs5", plate, f"{plate}.txt", data, plate)))
    least = [min(column) for column in zip(*spent, strict=True)]
    name, total = _name(url), sum(least)
    lines = [
        note(f"{name}: {stage}", one, "ms", f"{one / total:.0%}")
        for stage, one in zip(STAGES, least, strict=True)
    ]
    return [
        *lines,
        Line(
            f"{name}: processor time a plate in this process",
            total,
            LIMIT_MS,
            "ms",
            f"{total / LIMIT_MS:.2f} of it",
        ),
    ]


def _staged(lab: laboratory.Laboratory, delivery: Delivery) -> list[float]:
    """Milliseconds of processor time of each stage; the same steps as `laboratory.process`."""
    at = [time.process_time()]
    stored = laboratory.keep(lab, delivery)
    at.append(time.process_time())
    with lab.database.read() as conn:
        row = queries.file_row(conn, stored.file_id)
    at.append(time.process_time())
    run = read(row["name"], row["content"], lab.rules.tables, zone=lab.zone)
    at.append(time.process_time())
    run, curves = integrity.judged(run)
    at.append(time.process_time())
    with laboratory._uncollected(), lab.database.write("qs5") as unit:
        done = results.ingest(unit, lab.rules, stored.file_id, results.Parsed(run, curves=curves))
        at.append(time.process_time())
        pools.settle_pools(unit, lab.rules, done.pools, done.undecided)
        reports.release_ready(unit, lab.rules, done.tubes, done.after)
        at.append(time.process_time())
    at.append(time.process_time())
    if done.state != "read":
        raise SystemExit(f"{delivery.plate}: {done.code} {done.sentence}")
    return [1000 * (after - before) for before, after in pairwise(at)]


# -- through the server ----------------------------------------------------------------------------


def stream(url: str, count: int) -> list[Line]:
    """Plates a second from the first byte sent to the last tube decided, and what they cost every process."""
    name = _name(url)
    keys = [new_keypair() for _ in range(DEVICES)]
    with tempfile.TemporaryDirectory(prefix="nat-lis-bench-") as folder:
        made = prepared(url, folder, keys, WARM + count)
        served = serve(laboratory_server, folder, url, reading=True)
        others = _postmaster(url)
        _through(url, folder, served, keys, made, range(WARM))
        rounds = [
            _round(url, folder, served, keys, made, range(first, first + EACH), others)
            for first in range(WARM, WARM + count - EACH + 1, EACH)
        ]
        served.stop()
    costs = ", ".join(f"{rate:.1f} (loop {loop:.0f} ms)" for rate, _, loop in rounds)
    rates = [rate for rate, _, _ in rounds]
    used = [min(part) for part in zip(*(parts for _, parts, _ in rounds), strict=True)]
    return [
        Line(
            f"{name}: plates read, matched, decided, logged, reported",
            max(rates),
            LIMIT_S,
            "/s",
            f"rounds of {EACH}: {costs}",
            at_least=True,
        ),
        Line(
            f"{name}: processor time a plate, all processes",
            sum(used),
            LIMIT_MS,
            "ms",
            " + ".join(f"{one:.0f}" for one in used),
        ),
    ]


def _round(
    url: str,
    folder: str,
    served: Any,
    keys: list[KeyPair],
    made: list[tuple[str, bytes]],
    which: range,
    others: list[int],
) -> tuple[float, list[float], float]:
    """Plates a second of one round, the milliseconds they cost every process, and how fast a processor was."""
    loop = loop_ms()
    before = [_family_s(pid) for pid in (served.process.pid, *others)]
    begun = time.perf_counter()
    _through(url, folder, served, keys, made, which)
    spent = time.perf_counter() - begun
    used = [_family_s(pid) - was for pid, was in zip((served.process.pid, *others), before, strict=True)]
    return EACH / spent, [1000 * one / EACH for one in used], loop


def _through(
    url: str, folder: str, served: Any, keys: list[KeyPair], made: list[tuple[str, bytes]], which: range
) -> None:
    """Send these files, each from the cycler its plate is in, and wait until every plate is read."""
    mine = [[made[number] for number in which if number % DEVICES == device] for device in range(DEVICES)]
    fleet = Fleet(served, keys)
    fleet.run(lambda device, sent: mine[device][sent] if sent < len(mine[device]) else None)
    fleet.close()
    wanted = [made[number][0] for number in which]
    asked = 0
    with laboratory.open_laboratory(config.load(folder, database=url)) as lab:
        while True:
            with lab.database.read() as conn:
                ((unread,),) = _UNREAD.rows(conn, plates=wanted)
                # whoever asks much works on the same two processors
                aside = queries.files(conn, "quarantined", limit=1) if asked % 20 == 0 else []
            if aside:
                raise SystemExit(f"{aside[0]['code']}: {aside[0]['reason']}")
            if not unread:
                return
            asked += 1
            time.sleep(0.05)


_UNREAD = Prepared(
    select(func.count()).where(among(schema.plate.c.plate_id, "plates"), schema.plate.c.state != "read")
)


def _postmaster(url: str) -> list[int]:
    """The server behind a PostgreSQL URL, as the parent of our own backend there."""
    if not url.startswith("postgresql"):
        return []
    with psycopg.connect(url.replace("+psycopg", "", 1)) as conn:
        (backend,) = conn.execute("SELECT pg_backend_pid()").fetchone()
        status = Path(f"/proc/{backend}/stat").read_text(encoding="ascii")
    return [int(status.rpartition(")")[2].split()[1])]


def _family_s(pid: int) -> float:
    """Processor seconds of a process, of its children, and of those that ended (Linux)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
        children = [path.read_text("ascii") for path in Path(f"/proc/{pid}/task").glob("*/children")]
    except (FileNotFoundError, ProcessLookupError):  # ended just now: its parent has what it used
        return 0.0
    own = sum(map(int, stat.rpartition(")")[2].split()[11:15])) / os.sysconf("SC_CLK_TCK")
    return own + sum(_family_s(int(child)) for many in children for child in many.split())


def _name(url: str) -> str:
    return url.split(":", maxsplit=1)[0].split("+", maxsplit=1)[0]


def main() -> None:
    """Measure each database."""
    count = max(int(sys.argv[1]) if len(sys.argv) > 1 else 5 * EACH, EACH)
    wanted = sys.argv[2:] or ["sqlite", "postgresql"]
    print(f"a fixed loop takes {loop_ms():.1f} ms here and now")
    with database_urls(wanted) as urls:
        for url in urls.values():
            show("one plate of 384 wells, stage by stage", stages(url, 8))
    with database_urls(wanted) as urls:
        for url in urls.values():
            show(f"{count} plates of 384 wells through the bridge", stream(url, count))
    print(f"a fixed loop takes {loop_ms():.1f} ms here and now")


if __name__ == "__main__":
    main()
