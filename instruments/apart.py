"""Files read in a process of their own, so that another processor reads while this one writes.

The process is this module, run as a program: it is sent files on its standard input, answers on its
standard output, and ends when its input does, which it also does when the process that started it was
killed. It has no database, no key and no network. What it answers is what :func:`read_and_judge` answers
here, without the curves; where it cannot answer, the file is read here.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
import os
import pickle
import signal
import subprocess
import sys
import threading
from dataclasses import fields, replace
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, Final

from msgspec.structs import astuple

from instruments import integrity
from instruments.errors import InstrumentError
from instruments.formats import read
from instruments.model import Reading, RunFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from instruments.checking import Key
    from instruments.formats.table import TableMapping

Judged = tuple[RunFile, dict["Key", str]]
"""A run with its integrity flags, and the verdicts on its curves."""

KEEP_MEMORY: Final = {
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**30),
}
"""glibc keeps what a file took for the next one, instead of asking the system for every array anew: a
twentieth of the time. Other systems do not know these names."""

SEARCH_EVERY: Final = 64
"""Files after which Python looks for cycles of objects; a file leaves none, its refusal may leave some."""

_PACKED: Final = ("readings", "curves", "thresholds")
"""Fields of a run that travel in another shape."""


class Died(Exception):
    """The process ended before it answered."""


def read_and_judge(
    name: str, data: bytes, mappings: Sequence[TableMapping] = (), *, zone: tzinfo | None = None
) -> Judged:
    """Read a file and look at its curves.

    Raises:
        InstrumentError: as :func:`instruments.read`.
    """
    return integrity.judged(read(name, data, mappings, zone=zone))


class Apart:
    """A process that reads files for threads of this one, in the order in which they ask. :meth:`close` it.

    While it reads one file the next may be on its way already: it never waits for this process to
    look at what it answered.

    Args:
        mappings: the laboratory's own table descriptions.
        zone: the laboratory's time zone.
    """

    def __init__(self, mappings: Sequence[TableMapping], zone: tzinfo | None) -> None:
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)  # noqa: PTH109 - as Python spells it
        self._process = subprocess.Popen(
            [sys.executable, "-m", "instruments.apart"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **KEEP_MEMORY, "PYTHONPATH": paths},
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),  # Windows would open one
        )
        self._first: tuple[Any, ...] | None = (tuple(mappings), zone)
        self._asking = threading.Lock()
        self._turn = threading.Condition()
        self._asked = self._answered = 0
        self.dead = False

    @property
    def pid(self) -> int:
        """Number of the process."""
        return self._process.pid

    def read_and_judge(self, name: str, data: bytes) -> Judged | None:
        """What :func:`read_and_judge` answers, but for the curves; None where that fails other than it says.

        Raises:
            InstrumentError: as :func:`read_and_judge`.
            Died: there is no answer.
        """
        try:
            answer = self._answer(self._ask(name, data))
        except (OSError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise Died(str(error)) from error
        if answer is None:
            raise Died("no answer")
        return _unpacked(*answer)

    def _ask(self, name: str, data: bytes) -> int:
        """Send a file; its place in the row."""
        given: Any = self._process.stdin
        with self._asking:
            if self._first is not None:
                _send(given, self._first)
                self._first = None
            _send(given, (name, data))
            self._asked += 1
            return self._asked

    def _answer(self, place: int) -> tuple[Any, ...] | None:
        """The answer of that place: answers come in the order of the questions. None if none comes."""
        taken: Any = self._process.stdout
        with self._turn:
            self._turn.wait_for(lambda: self.dead or self._answered == place - 1)
        if self.dead:
            return None
        answer = None
        try:
            answer = _receive(taken)
        finally:
            with self._turn:
                self.dead = answer is None
                self._answered = place
                self._turn.notify_all()
        return answer

    def close(self) -> None:
        """End the process, also in the middle of a file; who waits for an answer is told that none comes."""
        self._process.kill()
        with self._turn:
            self.dead = True
            self._turn.notify_all()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # what was not sent any more
                stream.close()  # type: ignore[union-attr]  # both were asked for
        self._process.wait()


# -- what travels ----------------------------------------------------------------------------------


def _send(stream: IO[bytes], what: object) -> None:
    content = pickle.dumps(what, pickle.HIGHEST_PROTOCOL)
    stream.write(len(content).to_bytes(8, "big"))
    stream.write(content)
    stream.flush()


def _receive(stream: IO[bytes]) -> tuple[Any, ...] | None:
    """The next thing sent, None at the end of the stream."""
    size = stream.read(8)
    if len(size) < 8:
        return None
    content = stream.read(int.from_bytes(size, "big"))
    found: tuple[Any, ...] = pickle.loads(content)  # noqa: S301 - our own process wrote it
    return found


def _packed(run: RunFile, curves: dict[Key, str]) -> tuple[Any, ...]:
    """A run as plain values, which travel in a tenth of the time of its objects."""
    about = {one.name: getattr(run, one.name) for one in fields(RunFile) if one.name not in _PACKED}
    readings = [astuple(one) for one in run.readings]
    return "read", about, readings, dict(run.thresholds), curves


def _unpacked(kind: str, *values: Any) -> Judged | None:
    if kind == "refused":
        code, sentence, file, line = values
        raise InstrumentError(code, sentence, file=file, line=line)
    if kind == "failed":
        return None
    about, readings, thresholds, curves = values
    run = RunFile(**about, readings=tuple(Reading(*one) for one in readings))
    return replace(run, thresholds=MappingProxyType(thresholds)), curves


# -- the process -----------------------------------------------------------------------------------


def answered(
    name: str, data: bytes, mappings: Sequence[TableMapping], zone: tzinfo | None
) -> tuple[Any, ...]:
    """What the process answers about a file."""
    try:
        return _packed(*read_and_judge(name, data, mappings, zone=zone))
    except InstrumentError as error:
        return "refused", error.code, error.sentence, error.file, error.line
    except Exception as error:  # noqa: BLE001 - whatever it is, it is raised again where there is a log
        return "failed", repr(error)


def main() -> None:
    """Answer files until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which ends this process
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # whatever a library prints is no answer
    first = _receive(asked)
    if first is None:
        return
    gc.disable()
    for number in itertools.count(1):
        file = _receive(asked)
        if file is None:
            return
        _send(answers, answered(*file, *first))
        if not number % SEARCH_EVERY:
            gc.collect()


if __name__ == "__main__":
    main()
