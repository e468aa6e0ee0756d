"""kill -9 of every part at random moments, and at every sync of the disk, while twenty plates stream.

Started by hand: ``pytest -m soak -n 0 -s tests/soak/test_crash_soak.py``. ``SOAK_KILLS`` (200) shortens it,
``SOAK_SEED`` repeats it.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from streaming import PLATES, Part, Postgres, Sheet, Stream, postgres

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]
KILLS = int(os.environ.get("SOAK_KILLS", "200"))
SEED = int(os.environ.get("SOAK_SEED", "0")) or random.SystemRandom().randrange(2**32)
BOUND_S, FACTOR = 5.0, 12.0
"""Restart to first acknowledgement: what is demanded of a quiet machine, and what a loaded one is granted."""

MARGIN_S = 0.9
"""Kills come within this time after a cycler's file: spooled, sent, committed, acknowledged, read."""


class Killing:
    """The moments of one database: who was killed how often, and how long each took to acknowledge again."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.killed: dict[str, int] = {}
        self.times: dict[str, list[float]] = {}
        self.totals: dict[str, int] = {}

    @property
    def kills(self) -> int:
        """How often anybody was killed."""
        return sum(self.killed.values())

    def round(self, stream: Stream) -> None:
        """Write the files of all plates; after each of them somebody is killed."""
        sheets = list(stream.sheets)
        stream.start()
        while sheets:
            self._blow(stream, sheets)
            lost = stream.lost()
            assert not lost, f"acknowledged and lost: {lost}"
        stream.settle()
        for name, count in stream.verdict().items():
            self.totals[name] = self.totals.get(name, 0) + count

    def _blow(self, stream: Stream, sheets: list[Sheet]) -> None:
        sheet = sheets.pop()
        names = ["agent", "server", *(["database"] if stream.postgres else [])]
        name = self.chance.choice(names)
        stream.write(sheet)
        time.sleep(self.chance.uniform(0.0, MARGIN_S))  # the random moment
        self._kill(stream, sheet, name)
        if self.chance.random() < 0.15:  # and once more while it starts
            time.sleep(self.chance.uniform(0.0, 1.5))
            self._kill(stream, sheet, name)
        begin = time.monotonic()
        before = stream.acked()
        if sheet.name in before and sheets:  # nothing is due any more: the next plate is
            sheet = sheets.pop()
            stream.write(sheet)
        if sheet.name not in before:
            stream.until(lambda: stream.told(sheet), f"an ack after the {name} was killed")
            self.times.setdefault(name, []).append(time.monotonic() - begin)

    def _kill(self, stream: Stream, sheet: Sheet, name: str) -> None:
        self.killed[name] = self.killed.get(name, 0) + 1
        if name == "database":
            assert stream.postgres is not None
            stream.postgres.part.kill()
            stream.postgres.start()
            return
        part: Part = stream.server if name == "server" else stream.agents[sheet.agent]
        part.kill()
        part.start()

    def report(self, kind: str) -> None:
        """Print the figures."""
        print(f"\n{kind}: {self.kills} kills {self.killed}; {self.totals}")
        for name, times in sorted(self.times.items()):
            ordered = sorted(times)
            print(
                f"{kind}: restart of the {name} to its first ack: n={len(ordered)} median {ordered[len(ordered) // 2]:.2f} s, "
                f"p95 {ordered[round(0.95 * (len(ordered) - 1))]:.2f} s, worst {ordered[-1]:.2f} s, "
                f"over {BOUND_S:.0f} s: {sum(one > BOUND_S for one in ordered)}"
            )


def run(kind: str, folder: Path, database: Postgres | None) -> Killing:
    """Rounds of twenty plates until there were enough kills."""
    killing = Killing(SEED)
    print(f"\n{kind}: seed {SEED}")
    number = 0
    while killing.kills < KILLS:
        home = folder / f"round-{number}"
        url = ""
        if database is not None:
            url = database.url
            fresh(database)
        stream = Stream(home, home / "data", url, home, number, database)
        try:
            killing.round(stream)
        finally:
            stream.close()
        number += 1
        print(f"{kind}: round {number}, {PLATES} plates, {killing.kills} kills, {killing.totals}", flush=True)
    return killing


def fresh(database: Postgres) -> None:
    """Take away everything of the round before."""
    import psycopg

    with psycopg.connect(database.uri, autocommit=True) as conn:
        conn.execute("DROP SCHEMA public CASCADE")
        conn.execute("CREATE SCHEMA public")


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_two_hundred_kills_lose_double_and_swap_nothing(kind: str, tmp_path: Path):
    """Agent, server and database killed at random moments: acknowledged lost 0, duplicates 0, wrong wells 0."""
    if kind == "sqlite":
        killing = run(kind, tmp_path, None)
    else:
        with postgres() as database:
            killing = run(kind, tmp_path, database)
    killing.report(kind)
    assert killing.kills >= KILLS
    assert not any(killing.totals.values()), killing.totals
    worst = max(one for times in killing.times.values() for one in times)
    assert worst < BOUND_S * FACTOR
