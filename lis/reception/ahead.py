"""Files parsed before their turn on other processors, while the one writer settles those before them.

Only the parsing moves: it touches no laboratory. What is parsed here and what is parsed there is the
same; a process that dies costs time, and never a file.
"""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Final

from instruments.apart import Apart, Died
from instruments.errors import InstrumentError
from lis import queries
from lis.errors import LisError
from lis.services.results import Parsed

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lis.laboratory import Laboratory

log = logging.getLogger(__name__)

BACKLOG: Final = 4
"""Files in line from which on processes are started: two plates are read sooner than one has started."""

MOST_PROCESSES: Final = 3
"""One writer settles a plate about as fast as one process parses it; more than a few only wait."""

AT_ONCE: Final = 2
"""Files a process has at once: it reads one, and the next is there when it ends."""

LIVES: Final = 2
"""Processes that one file may cost before it is parsed here."""


def processes() -> int:
    """How many processes may parse beside the writer: those that are left of this machine's processors."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores - 1, MOST_PROCESSES)


class Ahead:
    """The files that are being parsed before their turn: one more than the processes hold.

    Nothing is started before files wait in line. For one thread; :meth:`close` it.

    Args:
        lab: the open laboratory.
        count: processes; as many as the machine has to spare when not given.
    """

    def __init__(self, lab: Laboratory, count: int | None = None) -> None:
        self._lab = lab
        self._count = processes() if count is None else count
        self._threads: ThreadPoolExecutor | None = None
        self._hands = threading.Lock()
        self._busy: dict[Apart, int] = {}
        self._parsing: dict[str, Future[Parsed | None]] = {}

    @property
    def working(self) -> bool:
        """Whether processes were started that were not let go yet."""
        return self._threads is not None

    def look(self, line: Iterable[str]) -> None:
        """Have the first files of the line parsed, if it is long enough."""
        most = self._count * AT_ONCE + 1
        waiting = list(islice(line, max(BACKLOG, most)))
        if not self._count or (self._threads is None and len(waiting) < BACKLOG):
            return
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._count * AT_ONCE, "parsing")
        for file_id in waiting:
            if len(self._parsing) >= most:
                return
            if file_id not in self._parsing:
                self._parsing[file_id] = self._threads.submit(self._parse, file_id)

    def take(self, file_id: str) -> Parsed | None:
        """The file as it was parsed before its turn; None if it was not, or could not be."""
        future = self._parsing.pop(file_id, None)
        if future is None:
            return None
        try:
            return future.result()
        except (LisError, OSError, CancelledError):
            log.warning("file %s could not be read ahead; it is read now", file_id[:12], exc_info=True)
            return None

    def close(self) -> None:
        """End every process, also in the middle of a file."""
        threads, self._threads = self._threads, None
        if threads is None:
            return
        for future in self._parsing.values():
            future.cancel()
        self._parsing.clear()
        self._end_all()
        threads.shutdown(wait=True)
        self._end_all()  # one may have been started meanwhile
        self._busy.clear()

    def _end_all(self) -> None:
        with self._hands:
            running = list(self._busy)
        for one in running:
            one.close()

    def _parse(self, file_id: str) -> Parsed | None:
        with self._lab.database.read() as conn:
            row = queries.file_row(conn, file_id)
        for _ in range(LIVES):
            if row is None or self._threads is None:  # nobody waits for it any more
                break
            one = self._taken()
            try:
                judged = one.read_and_judge(row["name"], row["content"])
            except Died as death:
                log.warning("a process died while it read file %s: %s", file_id[:12], death)
                self._given_up(one)
            except InstrumentError as error:
                self._given_back(one)
                return Parsed.failed(error)
            else:
                self._given_back(one)
                return Parsed(judged[0], curves=judged[1]) if judged else None
        return None

    def _taken(self) -> Apart:
        """A new process while there are too few, else the one that has least to do."""
        with self._hands:
            if len(self._busy) < self._count:
                one = Apart(self._lab.rules.tables, self._lab.zone)
                self._busy[one] = 0
            else:
                one = min(self._busy, key=lambda each: self._busy[each])
            self._busy[one] += 1
            return one

    def _given_back(self, one: Apart) -> None:
        with self._hands:
            if one in self._busy:
                self._busy[one] -= 1

    def _given_up(self, one: Apart) -> None:
        with self._hands:
            self._busy.pop(one, None)
        one.close()
