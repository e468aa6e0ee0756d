"""kill -9 of the server at random moments of a streamed day, on both databases."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from killing import World, day, kinds

KILLS, BATCHES = 3, 2


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory: pytest.TempPathFactory):
    """How each tube ends on a day without kills, by number of batches; worked out once a number."""
    known = {}

    def ending(batches: int):
        if batches not in known:
            folder = tmp_path_factory.mktemp("reference") / "day"
            known[batches] = day(folder, "", kills=0, seed=0, batches=batches)[1]
        return known[batches]

    return ending


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_day_survives_kills_of_its_server(
    kind: str, tmp_path: Path, unkilled, request: pytest.FixtureRequest
):
    """Whatever moment the server dies at: nothing acknowledged is lost, nothing is doubled, every tube ends alike."""
    url = "" if kind == "sqlite" else request.getfixturevalue("postgresql")()
    world, ending = day(tmp_path / "day", url, kills=KILLS, seed=20221221, batches=BATCHES)
    assert world.killed == KILLS
    assert world.verified == KILLS + 1
    assert len(world.acked.files) >= BATCHES
    assert ending == unkilled(world.arrived)


def test_a_server_that_dies_by_itself_is_a_failure_in_its_own_words(tmp_path: Path):
    """Only a kill excuses a dead server: another end stops the day, with its exit and what it said."""
    (tmp_path / "day").mkdir()
    world = World(tmp_path / "day", "", kills=1, seed=1)
    try:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", int(world.endpoint.rpartition(":")[2])))
            taken.listen()
            with pytest.raises(
                AssertionError, match=r"died by itself \(exit 1\)(.|\n)*ddress already in use"
            ):
                world.act("look", codes=[])
    finally:
        world.close()


def test_the_day_has_something_of_everything(unkilled):
    """The day that is killed holds reports, recalls and resolved pools: agreement on it means something."""
    ending = unkilled(BATCHES)
    assert {"released", "awaiting_recollection", "resolved"} <= set(kinds(ending))
    events = {name for one in ending.values() for name in one[1]}
    assert {"Voided", "RetestOrdered", "JoinedPool", "PersonRecalled", "Released", "Called"} <= events
    results = {one[0][2] for one in ending.values()}
    assert {"positive", "negative"} <= results
