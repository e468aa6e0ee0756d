"""Whatever a link does to messages, the laboratory ends as if each had come once: doubled, shuffled, replayed, forged."""

from __future__ import annotations

import queue
import random
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from bench import Bench, open_bench
from moments import NOON

from instruments import wire
from instruments.intake import Intake, PartFolders
from lis import queries
from lis.clock import FixedClock
from lis.reception import Reception
from lis.services.results import Ingested

BY_ORDER = {"event_id", "hash", "seal", "report_id", "amends", "person_id"}
"""What is numbered or sealed in the order it came, or drawn from the laboratory's own key; all else must be equal."""


class Ward:
    """A laboratory with three loaded plates, and the bridge's intake in front of it."""

    def __init__(self, folder: Path, template: Path) -> None:
        folder.mkdir()
        shutil.copy(template, folder / "lis.db")
        self.bench: Bench = open_bench(folder, "", FixedClock(NOON))
        self.read: queue.Queue[Ingested] = queue.Queue()
        self.link = Reception(self.bench.lab, "tcp://127.0.0.1:*", self.read.put)
        self.intake = Intake(self.link._keep, PartFolders(folder / "parts"), lambda _event: None)
        self.codes = [self.bench.singles(3) for _ in range(3)]
        self.plates = [self.bench.plate(codes) for codes in self.codes]
        self.bench.clock.advance(timedelta(hours=2))
        self.link._reader.start()

    def messages(self) -> list[wire.Message]:
        """The finished runs of the plates, in parts; the second plate has a positive and a grey tube."""
        made = []
        for plate, codes in zip(self.plates, self.codes, strict=True):
            virus = [target.name for target in self.bench.assay_of(plate).targets if not target.is_control]
            signals = {}
            if plate == self.plates[1]:
                signals = {codes[0]: dict.fromkeys(virus, 25.0), codes[1]: {virus[0]: 25.0}}
            data = self.bench.drawn(plate, signals)
            made += wire.split_file(
                data,
                instrument="synthetic cycler",
                run=plate,
                name=f"{plate}.txt",
                plate=plate,
                part_bytes=9000,
            )
        return made

    def take(self, messages: list[wire.Message]) -> list[wire.Message]:
        """What the bridge answers to each."""
        return [self.intake.take("synthetic cycler", message) for message in messages]

    def wait(self, files: int) -> list[Ingested]:
        """What became of so many files."""
        return [self.read.get(timeout=60) for _ in range(files)]

    def ending(self) -> dict[str, list[list[object]]]:
        """Every row of the tables that hold tubes, their story, runs, readings, plates and reports."""
        found: dict[str, list[list[object]]] = {}
        with self.bench.lab.database.read() as conn:
            for table in ("tube", "event", "plate", "plate_well", "run", "reading", "report"):
                rows = conn.exec_driver_sql(f"SELECT * FROM {table}").mappings().all()
                found[table] = sorted(
                    [[name, row[name]] for name in row if name not in BY_ORDER] for row in map(dict, rows)
                )
        return found

    def close(self) -> None:
        """End the reader, close the database."""
        self.link._stop.set()
        self.link._kept.put(None)
        self.link._reader.join(30)
        self.bench.lab.close()


@pytest.fixture
def wards(tmp_path: Path, sqlite_template: Path) -> Iterator[tuple[Ward, Ward]]:
    """Two laboratories that know the same tubes and plates."""
    made = Ward(tmp_path / "clean", sqlite_template), Ward(tmp_path / "bad", sqlite_template)
    yield made
    for one in made:
        one.close()


def test_doubled_shuffled_and_replayed_messages_leave_no_trace(wards: tuple[Ward, Ward]):
    """Every part five times in any order, and all of it again a day later: the end is that of the clean run."""
    clean, bad = wards
    messages = clean.messages()
    assert len(messages) > 6
    clean.take(messages)
    assert {one.state for one in clean.wait(3)} == {"read"}
    again = bad.messages()
    assert [wire.encode(one) for one in again] == [wire.encode(one) for one in messages]
    many = again * 5
    random.Random(3).shuffle(many)
    answers = bad.take(many)
    assert {one.type for one in answers} == {wire.ACK}
    assert {one.state for one in bad.wait(3)} == {"read"}
    assert bad.ending() == clean.ending()
    bad.bench.clock.advance(timedelta(hours=24))
    bad.intake = Intake(
        bad.link._keep, PartFolders(bad.bench.lab.settings.data / "other"), lambda _event: None
    )
    stale = bad.take(again)  # by a bridge that was restarted and remembers nothing
    whole = [one.header for one in stale if one.header["complete"]]
    assert [one["status"] for one in whole] == ["duplicate"] * 3
    assert bad.read.empty()
    assert bad.ending() == clean.ending()
    assert bad.bench.check().ok


def test_the_same_run_with_another_body_is_set_aside_with_an_alarm(wards: tuple[Ward, Ward]):
    """A second content under a known run changes no tube: it is kept, quarantined, and somebody is told."""
    _, bad = wards
    bad.take(bad.messages())
    bad.wait(3)
    before = bad.ending()
    plate = bad.plates[1]
    forged = bad.bench.drawn(plate, seed=9)
    (answer,) = bad.take(
        wire.split_file(forged, instrument="synthetic cycler", run=plate, name=f"{plate}.txt", plate=plate)
    )
    assert (answer.header["status"], answer.header["complete"]) == ("stored", True)
    (done,) = bad.wait(1)
    assert (done.state, done.code) == ("quarantined", "RUN_CONFLICT")
    assert bad.ending() == before
    with bad.bench.lab.database.read() as conn:
        assert "RUN_CONFLICT" in {row["code"] for row in queries.open_alarms(conn)}


def test_one_message_id_with_another_body_never_passes_for_the_first(wards: tuple[Ward, Ward]):
    """A part that carries the id of another but other bytes is refused or asked for again, never stored as that file."""
    _, bad = wards
    first, second, *rest = bad.messages()
    forged = wire.Message(
        second.type, second.message_id, second.header, bytes(len(second.body)), second.extra
    )
    answers = bad.take([first, forged, *rest])
    complete = [one for one in answers if one.type == wire.ACK and one.header["complete"]]
    assert len(complete) == 2  # the two other plates
    healed = bad.take([first, second, *rest])
    assert any(one.header.get("complete") and one.header["status"] == "stored" for one in healed)
    assert {one.state for one in bad.wait(3)} == {"read"}
