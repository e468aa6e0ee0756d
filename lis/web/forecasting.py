"""Forecasts that the server makes by itself: every so many minutes, in a process of its own, last in line.

The process has the lowest priority and opens the laboratory itself, so that no scan waits for it: neither
for a processor nor for the interpreter. The server only looks whether a forecast is wanted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from datetime import timedelta
from multiprocessing import get_context
from typing import TYPE_CHECKING, Final

from lis import laboratory, queries
from lis.errors import LisError
from lis.services import capacity

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.context import SpawnProcess

    from lis.config import Settings
    from lis.laboratory import Laboratory

log = logging.getLogger(__name__)

ACTOR: Final = "forecast"
NICE: Final = 19
STOP_SECONDS: Final = 10.0


@contextlib.contextmanager
def by_itself(lab: Laboratory) -> Iterator[None]:
    """Make forecasts while the block lasts, as often as the settings say; never where they say 0."""
    if not lab.settings.forecast_minutes:
        yield
        return
    forecaster = Forecaster(lab)
    thread = threading.Thread(target=forecaster.run, name="forecasts", daemon=True)
    thread.start()
    try:
        yield
    finally:
        forecaster.stop()
        thread.join(STOP_SECONDS)


class Forecaster:
    """Looks every so often whether a forecast is wanted, and has it made."""

    def __init__(self, lab: Laboratory) -> None:
        self._lab = lab
        self._every = timedelta(minutes=lab.settings.forecast_minutes)
        self._over = threading.Event()
        self._turn = threading.Lock()
        self._process: SpawnProcess | None = None

    def run(self) -> None:
        """Until it is stopped."""
        while not self._over.wait(self._every.total_seconds()):
            try:
                if wanted(self._lab, self._every):
                    self._play()
            except (OSError, LisError):  # the next one is tried all the same
                log.exception("no forecast was made")

    def stop(self) -> None:
        """End the process that is at work."""
        self._over.set()
        with self._turn:
            if self._process is not None:
                self._process.terminate()

    def _play(self) -> None:
        with self._turn:
            if self._over.is_set():
                return
            self._process = get_context("spawn").Process(
                target=work, args=(self._lab.settings,), name="forecast", daemon=True
            )
            self._process.start()
            process = self._process
        process.join()
        with self._turn:
            self._process = None
        if process.exitcode and not self._over.is_set():
            log.warning("no forecast was made: its process ended with status %s", process.exitcode)


def wanted(lab: Laboratory, every: timedelta) -> bool:
    """Whether somebody waits and no forecast is fresh."""
    with lab.database.read() as conn:
        if not queries.anybody_waits(conn):
            return False
        return capacity.fresh(conn, lab.database.clock.now(), every / 2) is None


def work(settings: Settings) -> None:
    """In the process: make one forecast, and delete those that are old; their scores stay."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the server, which ends this
    if hasattr(os, "nice"):
        os.nice(NICE)
    with laboratory.open_laboratory(settings) as lab:
        laboratory.foretold(lab, capacity.Order(workers=1), ACTOR)
        with lab.database.write(ACTOR) as unit:
            capacity.forget(unit, unit.now - timedelta(days=settings.forecast_days))
