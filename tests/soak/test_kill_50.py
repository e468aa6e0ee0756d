"""Fifty kills on each database, started by hand: ``pytest -m soak -n 0 tests/soak/test_kill_50.py -s``."""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "flows"))

from killing import day, kinds

KILLS = 50

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_long_day_survives_fifty_kills(kind: str, tmp_path: Path, request: pytest.FixtureRequest):
    """After each of fifty kills at random moments the log verifies and nothing acknowledged is missing."""
    url = "" if kind == "sqlite" else request.getfixturevalue("postgresql")()
    seed = random.SystemRandom().randrange(2**32)
    print(f"\n{kind}: seed {seed}")
    world, ending = day(tmp_path / "killed", url, kills=KILLS, seed=seed, batches=8)
    reference = day(tmp_path / "whole", "", kills=0, seed=seed, batches=world.arrived)[1]
    print(
        f"{kind}: {world.killed} kills, {world.verified} verifications, {len(world.acked.heads)} acknowledged acts, "
        f"{len(world.acked.files)} acknowledged files, {len(ending)} tubes ({dict(kinds(ending))}), "
        f"same end as without kills: {ending == reference}"
    )
    assert (world.killed, world.verified) == (KILLS, KILLS + 1)
    assert ending == reference
