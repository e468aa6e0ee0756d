"""A process that reads files: it answers what is read here, and its death costs nobody a file."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from instruments import InstrumentError, apart
from instruments.apart import Apart, Died, answered, read_and_judge
from instruments.formats.table import TableMapping
from instruments.virtual import VirtualRun, VirtualWell, write_quantstudio

AT = datetime(2022, 12, 1, 8, 0, tzinfo=UTC)
ROOT = Path(__file__).resolve().parents[2]
RUN = VirtualRun(
    "P-1",
    "QS",
    "1",
    "QuantStudio 5",
    AT,
    AT,
    96,
    [
        VirtualWell("A1", "T-1", "unknown", {"N": ("FAM", 25.0), "RP": ("VIC", 26.0)}),
        VirtualWell("H12", "", "ntc", {"N": ("FAM", None), "RP": ("VIC", None)}),
    ],
)
DATA = write_quantstudio(RUN)
OWN = TableMapping.from_toml(
    'delimiter = ","\nblock = 96\ndecimal = "."\nend_mark = "END"\n'
    '[columns]\nwell = "w"\ntarget = "t"\ncq = "c"\n[keys]\nrun_started = "at"',
    "own.toml",
)
TABLE = b"at,12/01/2022 08:00:00 AM\nw,t,c\nA1,N,25.5\nEND,,\n"
ZONE = ZoneInfo("Asia/Shanghai")


@pytest.fixture(scope="module")
def reader():
    """One process for the tests that do not harm it."""
    one = Apart((OWN,), ZONE)
    yield one
    one.close()


def test_it_answers_what_is_read_here(reader):
    """Readings, flags, times, thresholds and verdicts are the same, one file after the other; curves stay there."""
    for name, data in (("run.txt", DATA), ("own.csv", TABLE), ("cut.txt", DATA[:-40])):
        run, verdicts = read_and_judge(name, data, (OWN,), zone=ZONE)
        assert reader.read_and_judge(name, data) == (replace(run, curves=()), verdicts)
    assert reader.read_and_judge("run.txt", DATA)[1]["A1", "N", "FAM"] == "sigmoid"


def test_a_refused_file_is_refused_in_the_same_words(reader):
    """What no reader can use raises the same error there as here, with code, sentence, file and line."""
    torn = DATA.replace(b"\tH12\t", b"\tZ99\t")
    for name, data in (("junk.bin", b"junk"), ("empty.txt", b""), ("run.txt", torn)):
        with pytest.raises(InstrumentError) as here:
            read_and_judge(name, data, (OWN,), zone=ZONE)
        with pytest.raises(InstrumentError) as there:
            reader.read_and_judge(name, data)
        assert vars(there.value) == vars(here.value)


def test_a_fault_of_our_own_is_left_to_the_caller(monkeypatch):
    """Where the program itself fails there is no answer but that, so that it fails again where there is a log."""
    monkeypatch.setattr(apart.integrity, "judged", lambda _: 1 / 0)
    answer = answered("run.txt", DATA, (), None)
    assert answer[0] == "failed"
    assert apart._unpacked(*answer) is None


def test_a_killed_process_is_noticed_and_can_be_closed():
    """Whoever asks a process that was killed is told that it died, and closing it twice does no harm."""
    one = Apart((), None)
    assert one.read_and_judge("run.txt", DATA) is not None
    os.kill(one.pid, 9)
    with pytest.raises(Died):
        one.read_and_judge("run.txt", DATA)
    one.close()
    one.close()
    with pytest.raises(Died):
        one.read_and_judge("run.txt", DATA)


def test_two_who_ask_at_once_get_their_own_answers(reader):
    """However threads come in between, each has the readings of the file that it sent."""
    plates = [f"P-{number}" for number in range(24)]
    files = [DATA.replace(b"P-1", plate.encode()) for plate in plates]
    assert len(set(files)) == len(files)
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda data: reader.read_and_judge("run.txt", data), files))
    assert [run for run, _ in answers] == [
        replace(read_and_judge("run.txt", data, (OWN,), zone=ZONE)[0], curves=()) for data in files
    ]


def test_who_waits_behind_a_file_in_a_process_that_dies_is_told():
    """Two files are with a process that is killed: both who wait are told, nobody waits for ever."""
    one = Apart((), None)
    os.kill(one.pid, signal.SIGSTOP)
    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(one.read_and_judge, "run.txt", DATA) for _ in range(2)]
        os.kill(one.pid, signal.SIGKILL)
        for asked in waiting:
            with pytest.raises(Died):
                asked.result(timeout=60)
    one.close()


def test_it_ends_when_nobody_can_ask_any_more():
    """Its input ends when the process that started it is gone, killed or not: then it ends by itself."""
    program = [sys.executable, "-m", "instruments.apart"]
    done = subprocess.run(program, input=b"", capture_output=True, cwd=ROOT, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
