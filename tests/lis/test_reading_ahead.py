"""Files that wait in line are parsed by other processes meanwhile; nothing else about them changes."""

from __future__ import annotations

import os
import queue
import shutil
import time
from collections import deque
from pathlib import Path
from typing import Any

import pytest
from bench import Bench, open_bench
from moments import NOON

from instruments.apart import Apart
from lis import laboratory, queries
from lis.clock import FixedClock
from lis.ledger.rows import head_of
from lis.reception import Reception, ahead, link
from lis.reception.ahead import AT_ONCE, BACKLOG, LIVES, Ahead, processes
from lis.services.inbox import Delivery
from lis.services.results import Ingested

FILES = BACKLOG + 2


@pytest.fixture(scope="module")
def crowded(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of a laboratory in which more files wait than two, one of them nobody can read."""
    folder = tmp_path_factory.mktemp("crowded")
    shutil.copy(sqlite_template, folder / "lis.db")
    bench = open_bench(folder, "", _clock())
    with bench.lab:
        for number in range(FILES):
            plate = bench.plate(bench.singles(2))
            data = b"junk" if number == 2 else bench.drawn(plate)
            laboratory.keep(bench.lab, Delivery("qs5", plate, f"{plate}.txt", data, plate))
    return folder


def _clock() -> FixedClock:
    return FixedClock(NOON)


@pytest.fixture
def bench(crowded: Path, tmp_path: Path):
    """A laboratory of its own with the same waiting files."""
    shutil.copytree(crowded, tmp_path / "data")
    made = open_bench(tmp_path / "data", "", _clock())
    with made.lab:
        yield made


def read_all(bench: Bench, one: Ahead) -> tuple[list[str], list[bool]]:
    """Read every waiting file as the reading thread does; their states, and whether each came parsed."""
    with bench.lab.database.read() as conn:
        line = deque(queries.waiting_files(conn))
    states, parsed = [], []
    while line:
        file_id = line.popleft()
        one.look(line)
        found = one.take(file_id)
        parsed.append(found is not None)
        states.append(laboratory.process(bench.lab, file_id, "bridge", found)[0].state)
    return states, parsed


def head(bench: Bench) -> tuple[int, str]:
    """Number and hash of the last event."""
    with bench.lab.database.read() as conn:
        return head_of(conn)


def test_the_log_is_the_same_to_the_last_hash_wherever_files_are_parsed(
    bench: Bench, crowded: Path, tmp_path: Path
):
    """With a process beside the writer or without one, every file ends the same and every event is the same."""
    shutil.copytree(crowded, tmp_path / "alone")
    alone = open_bench(tmp_path / "alone", "", _clock())
    with alone.lab:
        here = Ahead(alone.lab, 0)
        expected = read_all(alone, here)
        assert not here.working
        assert not any(expected[1])
        there = Ahead(bench.lab, 1)
        states, parsed = read_all(bench, there)
        assert there.working
        there.close()
        assert not there.working
        assert states == expected[0]
        assert sorted(states) == ["quarantined", *["read"] * (FILES - 1)]
        assert parsed == [False, *[True] * (FILES - 1)]
        assert head(bench) == head(alone)
    assert bench.check().ok


def test_a_process_that_dies_costs_no_file(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """Files whose process is killed are given to another one, and are read here when that dies too."""
    killed: list[int] = []

    def short_lived(*given: Any) -> Apart:
        made = Apart(*given)
        if len(killed) <= LIVES:
            os.kill(made.pid, 9)
            killed.append(made.pid)
        return made

    monkeypatch.setattr(ahead, "Apart", short_lived)
    one = Ahead(bench.lab, 1)
    states, parsed = read_all(bench, one)
    assert states.count("read") == FILES - 1
    lost = len(killed) * AT_ONCE // LIVES
    assert FILES - 1 - lost <= parsed.count(True) < FILES - 1  # the first had nobody before it
    assert caplog.text.count("a process died while it read file") >= LIVES + 1
    one.close()


def test_few_files_start_nothing(bench: Bench):
    """A line that is shorter than a start takes is read here."""
    one = Ahead(bench.lab, 1)
    with bench.lab.database.read() as conn:
        line = queries.waiting_files(conn)
    one.look(line[: BACKLOG - 1])
    assert not one.working
    assert one.take(line[0]) is None


def test_no_more_files_are_held_than_the_processes_have_and_one(bench: Bench):
    """However long the line, only the next files are in memory; closing ends every process and forgets the files."""
    one = Ahead(bench.lab, 1)
    with bench.lab.database.read() as conn:
        line = queries.waiting_files(conn)
    one.look(line)
    assert set(one._parsing) == set(line[: AT_ONCE + 1])
    assert one.take(line[0]) is not None
    (process,) = one._busy
    one.close()
    assert process._process.returncode is not None
    assert one.take(line[1]) is None
    one.close()


def test_a_file_that_is_gone_is_not_guessed(bench: Bench):
    """A number in the line under which there is no file is answered with nothing, and the reading says so."""
    one = Ahead(bench.lab, 1)
    ghosts = [f"{number:064d}" for number in range(BACKLOG)]
    one.look(ghosts)
    assert one.take(ghosts[0]) is None
    one.close()


def test_where_no_process_can_be_started_files_are_read_here(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """A machine that refuses another process reads its files as before, and says so in the log."""
    monkeypatch.setattr("sys.executable", "/nonexistent/python")
    one = Ahead(bench.lab, 1)
    states, parsed = read_all(bench, one)
    assert not any(parsed)
    assert states.count("read") == FILES - 1
    assert "could not be read ahead" in caplog.text
    one.close()


def test_one_processor_is_left_to_the_writer(monkeypatch: pytest.MonkeyPatch):
    """A machine with one processor starts none; a large one a few."""
    for cores, expected in ((1, 0), (2, 1), (4, 3), (64, 3)):
        monkeypatch.setattr(ahead.os, "sched_getaffinity", lambda _, n=cores: set(range(n)), raising=False)
        assert processes() == expected


def test_the_reception_reads_a_long_line_and_lets_its_processes_go(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    """What a server finds waiting at its start is read in order, ahead where it can be; then the processes go."""
    monkeypatch.setattr(link, "IDLE_SECONDS", 0.01)
    monkeypatch.setattr(ahead, "processes", lambda: 1)
    done: queue.Queue[Ingested] = queue.Queue()
    with bench.lab.database.read() as conn:
        line = queries.waiting_files(conn)
    with Reception(bench.lab, "tcp://127.0.0.1:*", done.put) as made:
        assert [done.get(timeout=60).file_id for _ in line] == line
        end = time.monotonic() + 60
        while made._ahead.working:
            assert time.monotonic() < end
            time.sleep(0.01)
    assert bench.check().ok
