"""A disk that is really full: a small file system of its own, filled to the last page."""

from __future__ import annotations

import hashlib
import random
import shutil
from pathlib import Path

import pytest
from bench import Bench, open_bench

from lis import laboratory, queries
from lis.clock import FixedClock
from lis.errors import StorageFull
from lis.services.inbox import Delivery

RESERVE = 2 * 2**20


def store(bench: Bench, number: int) -> str:
    """Have a run file kept as the bridge does before it acknowledges; its hash."""
    data = random.Random(number).randbytes(6000)  # what cannot be packed
    kept = laboratory.keep(bench.lab, Delivery("cycler-1", f"run-{number}", f"{number}.csv", data))
    assert kept.status == "stored"
    return hashlib.sha256(data).hexdigest()


def until_full(bench: Bench) -> tuple[list[str], list[str], StorageFull]:
    """Register tubes and keep files until there is no space: what was acknowledged, and the refusal."""
    codes: list[str] = []
    hashes: list[str] = []
    for number in range(5000):
        try:
            codes += bench.register(bench.order())
            hashes.append(store(bench, number))
        except StorageFull as full:
            return codes, hashes, full
    raise AssertionError("the disk never filled")


def missing(bench: Bench, codes: list[str], hashes: list[str]) -> set[str]:
    """What was acknowledged and is not in the database."""
    with bench.lab.database.read() as conn:
        kept = {row["sha256"] for row in queries.files(conn, limit=100_000)}
    return {code for code, state in zip(codes, bench.states(codes), strict=True) if state != "sealed"} | (
        set(hashes) - kept
    )


def test_a_full_disk_loses_nothing_that_was_acknowledged_and_work_goes_on_after(
    small_disk: Path, sqlite_template: Path, clock: FixedClock
):
    """The act without space is refused whole and by name; the rest is there, also after a restart; then it succeeds."""
    disk, folder = small_disk, small_disk / "data"
    folder.mkdir()
    shutil.copy(sqlite_template, folder / "lis.db")
    (disk / "reserve").write_bytes(bytes(RESERVE))
    bench = open_bench(folder, "", clock)
    codes, hashes, full = until_full(bench)
    assert shutil.disk_usage(disk).free < 64 * 1024
    assert full.code == "STORAGE_FULL"
    assert full.sentence.startswith("The disk of the server is full or failing. Nothing was written;")
    assert len(codes) > 10
    refused = [bench.order() for _ in range(30)]
    events = bench.count()
    with pytest.raises(StorageFull):  # and it stays refused, whole: no event of thirty tubes is written
        bench.register(*refused)
    assert bench.count() == events
    assert missing(bench, codes, hashes) == set()
    bench.lab.close()  # the server stops on the full disk

    (disk / "reserve").unlink()
    bench = open_bench(folder, "", clock)
    assert missing(bench, codes, hashes) == set()
    assert bench.register(*refused) == [order.barcode for order in refused]
    store(bench, 9999)
    assert bench.check().ok
    bench.lab.close()


def test_a_full_disk_stops_no_reader_and_needs_no_restart(
    small_disk: Path, sqlite_template: Path, clock: FixedClock
):
    """While the disk is full the laboratory can be asked; freed of ballast, the same open laboratory writes again."""
    disk, folder = small_disk, small_disk / "data"
    folder.mkdir()
    shutil.copy(sqlite_template, folder / "lis.db")
    (disk / "reserve").write_bytes(bytes(RESERVE))
    bench = open_bench(folder, "", clock)
    codes, hashes, _ = until_full(bench)
    assert bench.check().ok
    (disk / "reserve").unlink()
    late = bench.received(bench.order())
    assert bench.states(late) == ["received"]
    assert missing(bench, codes, hashes) == set()
    assert bench.check().ok
    bench.lab.close()
