"""Where the instruments' bridge meets the laboratory: keep, acknowledge, then read.

The bridge's handler commits a file and returns its receipt; only then is the instrument told. A second
thread reads what was kept, in order; where files wait in line, the next ones are parsed meanwhile on
other processors. What was kept but not read when the server died is read at the next start.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import zmq

from instruments.bridge import (
    Bridge,
    BridgeEvent,
    Limits,
    Reads,
    Receipt,
    Refused,
    Shipment,
)
from instruments.door import Applicant, Door
from instruments.listener import Listeners, Station
from instruments.notices import HEARD
from lis import errors, laboratory, queries
from lis.clock import to_text
from lis.errors import Invalid, LisError, StorageFull
from lis.laboratory import Laboratory
from lis.reception.ahead import Ahead
from lis.reception.commits import GroupCommit
from lis.reception.keys import bridge_keys
from lis.services import devices, inbox, results
from lis.services.inbox import Delivery
from lis.services.results import Ingested

log = logging.getLogger(__name__)

REMEMBER_KEYS = 2.0
"""Seconds for which an enrolment is remembered: after that long at most, a key that was revoked, has
ended or was replaced is deaf, also on a connection that stands."""

RETRY_SECONDS = 2.0

WORKERS = 16
"""Deliveries under way at once, each of another device; they wait for the disk, not for the processor."""

QUIET = frozenset({"started", "stopped"})
"""Events of the bridge that no person need see; all others become alarms."""

SAID_SECONDS = 600.0
"""An alarm in the same words about the same device is not raised again within so many seconds."""

IDLE_SECONDS = 60.0
"""How long the processes that read ahead stay without a file; a new one takes half a second to start."""

OWING = ""
"""In the line of files to be read: no file, but alarms that could not be recorded yet."""

MANY = 1000
"""How many keys, words and alarms are remembered."""


@dataclass(frozen=True, slots=True)
class _Known:
    """An enrolment as it was read last."""

    device: str | None
    until: float


class Reception:
    """The running link between instruments and laboratory. Use as a context manager.

    Args:
        lab: the open laboratory.
        endpoint: where to listen; the laboratory's setting if empty.
        on_done: told about every file that was read or quarantined, from the reading thread.
        on_live: told the plate and the cycle whenever a running plate was read, from a thread of its own.
    """

    def __init__(
        self,
        lab: Laboratory,
        endpoint: str = "",
        on_done: Callable[[Ingested], object] | None = None,
        *,
        on_live: Callable[[str, int], object] | None = None,
    ) -> None:
        self.lab = lab
        self._on_done = on_done or (lambda _: None)
        self._on_live = on_live or (lambda _plate, _cycle: None)
        self._not_live: set[tuple[str, str]] = set()
        self._keys: dict[bytes, _Known] = {}
        self._said: dict[BridgeEvent, float] = {}
        self._owed: dict[tuple[str, str], str] = {}
        self._kept: queue.Queue[str | None] = queue.Queue()
        self._due: set[str] = set()
        self._line: deque[str | None] = deque()
        self._ahead = Ahead(lab)
        self._stop = threading.Event()
        self._reader = threading.Thread(target=self._read_kept, name="reception", daemon=True)
        self.bridge = Bridge(
            endpoint or lab.settings.bridge,
            bridge_keys(lab.settings.data),
            self._enrolled,
            self._keep,
            door=Door(self._code_known, self._enrol),
            on_event=self._audit,
            on_reads=self._show,
            limits=Limits(spool=lab.settings.data / "parts", workers=WORKERS),
        )
        stations = [
            Station(one.dialect, one.host, one.port, one.device, one.peers) for one in lab.settings.listeners
        ]
        self.listeners = Listeners(stations, self._keep_message, self._audit)
        self._commits = GroupCommit(lab)

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return self.bridge.endpoint

    @property
    def public_key(self) -> bytes:
        """What agents must know to trust this bridge."""
        return bridge_keys(self.lab.settings.data).public

    def __enter__(self) -> Self:
        """Listen, and read what the last server left."""
        for file_id in self._waiting():
            self._to_read(file_id)
        self._listen()
        try:
            self.bridge.start()
        except zmq.ZMQError as error:
            self.listeners.stop()
            raise LisError(
                "BRIDGE_TAKEN",
                f"The bridge cannot listen at {self.bridge.endpoint} ({error.strerror}). Stop what listens "
                "there (lis doctor tells), or set LIS_BRIDGE to another address.",
            ) from error
        self._reader.start()
        return self

    def _listen(self) -> None:
        """Open the listeners of instruments that speak other dialects.

        Raises:
            LisError: ``LISTENER_ADDRESS``.
        """
        wanted = self.lab.settings.listeners
        if not wanted:
            return
        with self.lab.database.write("lis.toml") as unit:
            for one in wanted:
                inbox.know_sender(unit, one.device, one.dialect)
        try:
            self.listeners.start()
        except OSError as error:
            places = ", ".join(one.address for one in wanted)
            raise LisError(
                "LISTENER_ADDRESS",
                f"Cannot listen for instruments on {places}: {error.strerror or error}. Give the listener "
                "another address in lis.toml, or end what uses this one.",
            ) from error

    def __exit__(self, *exc: object) -> None:
        """Take nothing more, finish what is being read, stop."""
        self.listeners.stop()
        self.bridge.stop()
        self._stop.set()
        self._kept.put(None)
        self._reader.join(30)
        self._ahead.close()
        self._pay()

    def _waiting(self) -> list[str]:
        with self.lab.database.read() as conn:
            return queries.waiting_files(conn)

    def _enrolled(self, key: bytes) -> str | None:
        """The device of a key; asked at every message, so remembered for a moment."""
        now = time.monotonic()
        known = self._keys.get(key)
        if known is None or known.until < now:
            with self.lab.database.read() as conn:
                device = queries.device_of_key(
                    conn, key.decode("ascii", "replace"), self.lab.database.clock.now()
                )
            if len(self._keys) > MANY:
                self._keys.clear()
            known = self._keys[key] = _Known(device, now + REMEMBER_KEYS)
        return known.device

    def _code_known(self, key: bytes) -> bool:
        """Whether the key is that of a code, open or spent; a spent one is told so in words."""
        with self.lab.database.read() as conn:
            return queries.enrolment_row(conn, devices.digest_of(key.decode("ascii", "replace"))) is not None

    def _enrol(self, applicant: Applicant) -> str:
        """Commit an agent's key; the bridge answers when this returns."""
        request = devices.Request(
            applicant.code_key,
            applicant.public_key,
            applicant.instrument,
            applicant.agent,
            applicant.address,
        )
        try:
            with self.lab.database.write("bridge") as unit:
                device = devices.enrol_by_code(unit, request)
        except errors.Refused as error:
            raise Refused(error.code, error.sentence) from error
        self._keys.clear()  # the new key speaks, and the old one is mute, from now on
        return device

    def _keep(self, shipment: Shipment) -> Receipt:
        """Commit a shipment; the bridge acknowledges when this returns."""
        delivery = Delivery(
            device=shipment.device,
            run=shipment.run,
            name=shipment.name,
            data=shipment.data,
            plate=shipment.plate,
            produced_at=shipment.produced_at.isoformat() if shipment.produced_at else "",
            sha256=shipment.sha256,
        )
        try:
            stored = self._commits.keep(delivery)
        except Invalid as error:
            raise Refused(error.code, error.sentence) from error
        if stored.status == "stored" or self._overlooked(stored.file_id):
            self._to_read(stored.file_id)
        return Receipt(stored.status, stored.first_stored_at)

    def _to_read(self, file_id: str) -> None:
        self._due.add(file_id)
        self._kept.put(file_id)

    def _overlooked(self, file_id: str) -> bool:
        """Whether a file that came before is unread and in nobody's line.

        A database that dies between its commit and its answer leaves such a file: when it came first
        nobody could say that it was stored.
        """
        if file_id in self._due:
            return False
        with self.lab.database.read() as conn:
            status = queries.status_of_file(conn, file_id)
        return status is not None and status["state"] == "waiting"

    def _keep_message(self, shipment: Shipment) -> Receipt:
        """Commit a message of a device without a key, unless the device was revoked."""
        with self.lab.database.read() as conn:
            row = queries.device_row(conn, shipment.device)
        if row is not None and row["revoked_at"]:
            raise Refused(
                "DEVICE_REVOKED",
                f"Device {shipment.device} was revoked; nothing is taken from it. Remove its listener from "
                "lis.toml, or give the device a new name there.",
            )
        return self._keep(shipment)

    def _read_kept(self) -> None:
        """Read kept files one after the other; one that fails for want of the database is tried again."""
        while not self._stop.is_set():
            file_id = self._next()
            if file_id is None:
                return
            if file_id != OWING:
                self._ahead.look(one for one in self._line if one)
                self._read_one(file_id)

    def _next(self) -> str | None:
        """What to do next, in the order of arrival.

        While alarms are owed they are tried again and again besides. When nothing has come for a while,
        the processes that read ahead are let go.
        """
        self._pay()
        with suppress(queue.Empty):
            while True:
                self._line.append(self._kept.get_nowait())
        if self._line:
            return self._line.popleft()
        try:
            idle = IDLE_SECONDS if self._ahead.working else None
            return self._kept.get(timeout=RETRY_SECONDS if self._owed else idle)
        except queue.Empty:
            if not self._owed:
                self._ahead.close()
            return OWING

    def _read_one(self, file_id: str) -> None:
        try:
            done = laboratory.process(self.lab, file_id, "bridge", self._ahead.take(file_id))[0]
        except LisError as error:
            log.warning("file %s waits: %s", file_id[:12], error.sentence)
            self._again(file_id, error)
        except Exception:
            log.exception("file %s could not be read; it is kept and waits for a person", file_id[:12])
            self._set_aside(file_id)
        else:
            self._due.discard(file_id)
            self._on_done(done)

    def _again(self, file_id: str, error: LisError) -> None:
        if isinstance(error, StorageFull):
            self._owe(
                "STORAGE_FULL", "server", f"A run file could not be read into the database. {error.sentence}"
            )
        if not self._stop.wait(RETRY_SECONDS):
            self._kept.put(file_id)

    def _set_aside(self, file_id: str) -> None:
        """Quarantine a file on which our own code failed, so that a person sees it."""
        try:
            with self.lab.database.write("bridge") as unit:
                inbox.set_aside(
                    unit,
                    file_id,
                    "READ_FAILED",
                    "The program failed on this file. It is kept; send it to the makers with the log.",
                )
        except LisError as error:
            log.warning("file %s waits: %s", file_id[:12], error.sentence)
            self._again(file_id, error)
        else:
            self._due.discard(file_id)

    def _show(self, reads: Reads) -> None:
        """Keep live readings and tell the screens; what belongs to no running plate is named once a run."""
        frame = (reads.cycle, reads.dye, reads.values)
        try:
            with self.lab.database.write("bridge") as unit:
                plate = results.keep_reads(unit, reads.device, reads.run, reads.plate, frame)
        except LisError as error:
            if (reads.device, reads.run) not in self._not_live:
                self._not_live.add((reads.device, reads.run))
                log.warning("live readings of run %s are not shown: %s", reads.run, error.sentence)
            return
        if plate:
            self._on_live(plate, reads.cycle)

    def _audit(self, event: BridgeEvent) -> None:
        """Events of the bridge that concern a person become alarms, the same words once in a while."""
        now = time.monotonic()
        if event.kind in {"hello", HEARD} and event.device:
            self._heard(event.device, event.detail)
            return
        if event.kind in QUIET or now < self._said.get(event, 0.0):
            return
        if len(self._said) > MANY:
            self._said.clear()
        self._said[event] = now + SAID_SECONDS
        code, subject = event.kind.upper(), event.device or "unknown device"
        try:
            with self.lab.database.write("bridge") as unit:
                inbox.refuse_delivery(unit, subject, code, event.detail)
        except LisError as error:
            log.warning("an alarm could not be recorded (%s) and waits: %s", event.kind, error.sentence)
            self._owe(code, subject, event.detail)
            self._kept.put(OWING)

    def _heard(self, device: str, agent: str) -> None:
        try:
            with self.lab.database.write("bridge") as unit:
                devices.heard(unit, device, agent)
        except LisError as error:
            log.warning("that %s was heard could not be noted: %s", device, error.sentence)

    def _owe(self, code: str, subject: str, sentence: str) -> None:
        """Remember an alarm until the database takes it: the first of its kind about its subject."""
        if len(self._owed) < MANY:
            since = to_text(self.lab.database.clock.now())
            self._owed.setdefault((code, subject), f"{sentence} (First at {since}; recorded later.)")

    def _pay(self) -> None:
        """Record the alarms that are owed, if the database takes them now."""
        owed = dict(self._owed)
        if not owed:
            return
        try:
            with self.lab.database.write("bridge") as unit:
                for (code, subject), sentence in owed.items():
                    inbox.refuse_delivery(unit, subject, code, sentence)
        except LisError as error:
            log.warning("%d alarms wait to be recorded: %s", len(owed), error.sentence)
            return
        for told in owed:
            self._owed.pop(told, None)
