"""The agent beside an instrument: it watches a folder and gets every finished file to the bridge.

Three steps, each safe to be killed at any moment: a finished file is copied into the agent's own
SQLite outbox and committed; it is sent, and sent again, until the bridge says that the laboratory
has committed it; then it is marked. The folder of the instrument is only ever read.

Needs Python 3.8, the standard library and pyzmq; on an old PC this file and ``wire.py`` are enough:
``python agent.py enrol CODE --folder FOLDER`` once, then ``python agent.py run``.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import itertools
import json
import logging
import os
import random
import re
import signal
import sqlite3
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import zmq
import zmq.auth
from zmq.utils import z85
from zmq.utils.monitor import recv_monitor_message

if TYPE_CHECKING or __package__:
    from instruments import wire
else:  # this file lies beside wire.py, outside any package
    import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

try:
    import fcntl
except ImportError:  # Windows: there an open that is not shared fails by itself
    fcntl = None  # type: ignore[assignment]

VERSION = "1.1"
LOG = logging.getLogger("instruments.agent")

PENDING = "pending"
ACKED = "acked"
REFUSED = "refused"


@dataclass(frozen=True)
class AgentConfig:
    """How one agent works. Keys are Z85 text as bytes; times ending in ``_s`` are seconds."""

    folder: Path
    outbox: Path
    endpoint: str
    instrument: str
    server_public: bytes
    public_key: bytes
    secret_key: bytes = field(repr=False)
    patterns: tuple[str, ...] = ("*",)
    live: str = "*.reads"
    plate_pattern: str = ""
    run: str = ""
    plate: str = ""
    health: Path | None = None
    settle_s: float = 3.0
    poll_s: float = 2.0
    part_bytes: int = wire.PART_BYTES
    window: int = 8
    answer_s: float = 20.0
    retry_first_s: float = 1.0
    retry_max_s: float = 60.0
    knock_s: float = 2.0
    ping_s: float = 10.0
    keep_days: float = 30.0
    old_keys: tuple[Path, ...] = ()

    @property
    def health_file(self) -> Path:
        """Where the state of the agent is written as JSON after every pass."""
        return self.health or self.outbox.with_suffix(".health.json")


# ---------------------------------------------------------------------------- the folder
class Found(NamedTuple):
    """A finished file, read whole; ``mark`` tells whether it changed since."""

    name: str
    mark: str
    data: bytes
    produced_at: str


class Folder:
    """The watched folder: says which files are finished. Opens files for reading, nothing else."""

    def __init__(self, root: Path, patterns: Sequence[str], settle_s: float, besides: str = "") -> None:
        """Watch the files under ``root`` that match one of the glob patterns, but not ``besides``."""
        self._root = root
        self._patterns = patterns
        self._besides = besides
        self._settle_s = settle_s
        self._quiet: dict[Path, tuple[str, float]] = {}
        self.problems: dict[str, str] = {}

    def finished(self, known: dict[str, str], tick: float) -> Iterator[Found]:
        """Give each file whose size and times stood still for the settling time.

        Args:
            known: name -> mark of the files that need no second look.
            tick: seconds of a clock that never jumps; the PC's date plays no part.

        Raises:
            OSError: when the folder itself cannot be read (a network drive that is away).
        """
        self.problems = {}
        quiet: dict[Path, tuple[str, float]] = {}
        next(self._root.iterdir(), None)  # glob would take a missing folder for an empty one
        found = {path for pattern in self._patterns for path in self._root.glob(pattern)}
        if self._besides:
            found -= set(self._root.glob(self._besides))
        for path in sorted(found):
            name = _clean(path.relative_to(self._root).as_posix())
            try:
                if not path.is_file():
                    continue
                mark = _mark(path.stat())
                if known.get(name) == mark:
                    continue
                quiet[path] = self._since(path, mark, tick)
                if tick - quiet[path][1] >= self._settle_s:
                    yield self._read(path, name, mark)
            except (OSError, wire.WireError) as error:
                self.problems[name] = error.sentence if isinstance(error, wire.WireError) else str(error)
        self._quiet = quiet

    def _since(self, path: Path, mark: str, tick: float) -> tuple[str, float]:
        before = self._quiet.get(path)
        return before if before is not None and before[0] == mark else (mark, tick)

    def _read(self, path: Path, name: str, mark: str) -> Found:
        with path.open("rb") as stream:
            _refuse_locked(stream.fileno(), name)
            size = os.fstat(stream.fileno()).st_size
            if size == 0:
                raise wire.WireError("empty", f"{name} is empty; it is sent as soon as it has content.")
            if size > wire.MAX_FILE_BYTES:
                raise wire.WireError("too-large", f"{name} has {size} bytes, over {wire.MAX_FILE_BYTES}.")
            data = stream.read()
            info = os.fstat(stream.fileno())
        if _mark(info) != mark or len(data) != size:
            raise wire.WireError("changing", f"{name} changed while it was read; it is read again.")
        produced_at = datetime.fromtimestamp(info.st_mtime, timezone.utc)  # noqa: UP017 - Python 3.8
        return Found(name, mark, data, produced_at.isoformat())


class LiveLine(NamedTuple):
    """One cycle of one dye as it stands in a file of live readings; ``end`` is where the next line begins."""

    path: Path
    end: int
    cycle: int
    dye: str
    values: tuple[float, ...]


class LiveFiles:
    """Growing files of live readings, one line a cycle and dye: ``cycle,dye,value,value,...``.

    Positions are kept in memory only. After a start, files of the last hour are read from their
    beginning; the bridge knows what it has. Nothing here is a result: a line that cannot be read is
    named and left out.
    """

    RECENT_S = 3600.0

    def __init__(self, root: Path, pattern: str) -> None:
        """Follow the files under ``root`` that match the glob ``pattern``; "" follows none."""
        self._root = root
        self._pattern = pattern
        self._read: dict[Path, int] = {}
        self.problems: dict[str, str] = {}

    def lines(self, now: float) -> Iterator[LiveLine]:
        """Whole lines not yet taken, file by file; call :meth:`taken` for each that was sent."""
        for path in sorted(self._root.glob(self._pattern)) if self._pattern else ():
            try:
                info = path.stat()
                if path not in self._read:
                    self._read[path] = info.st_size if now - info.st_mtime > self.RECENT_S else 0
                elif info.st_size < self._read[path]:
                    self._read[path] = 0  # written anew under its old name
                if info.st_size > self._read[path]:
                    yield from self._whole(path, self._read[path])
            except OSError as error:
                self.problems[path.name] = str(error)

    def _whole(self, path: Path, start: int) -> Iterator[LiveLine]:
        with path.open("rb") as stream:
            stream.seek(start)
            end = start
            for raw in stream.read(1024 * 1024).splitlines(keepends=True):
                if not raw.endswith(b"\n"):
                    return
                end += len(raw)
                try:
                    cycle, dye, *values = raw.decode("utf-8").strip().split(",")
                    yield LiveLine(path, end, int(cycle), dye, tuple(float(one or "nan") for one in values))
                except ValueError:
                    self.problems[path.name] = f"{path.name}: a line near byte {end} is no reading."
                    self.taken(path, end)

    def taken(self, path: Path, end: int) -> None:
        """What stands before ``end`` was sent."""
        self._read[path] = end


def _clean(name: str) -> str:
    """A name that UTF-8 can carry; bytes no file system should have put there become U+FFFD."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _mark(info: os.stat_result) -> str:
    return f"{info.st_size}/{info.st_mtime_ns}/{info.st_ctime_ns}"


def _refuse_locked(handle: int, name: str) -> None:
    """A writer that takes locks is not finished, however long it pauses."""
    if fcntl is None:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.lockf(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):  # a share without locks tells us nothing
            return
        raise wire.WireError("locked", f"{name} is held by another program; it is tried again.") from None


# ---------------------------------------------------------------------------- the outbox
_SCHEMA = """
CREATE TABLE IF NOT EXISTS file (
    file_id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    run TEXT NOT NULL,
    plate TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    parts INTEGER NOT NULL,
    produced_at TEXT NOT NULL,
    first_seen REAL NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'acked', 'refused')),
    attempts INTEGER NOT NULL DEFAULT 0,
    next_try REAL NOT NULL DEFAULT 0,
    reply TEXT NOT NULL DEFAULT '',
    replied_at REAL,
    UNIQUE (name, sha256)
);
CREATE INDEX IF NOT EXISTS file_state ON file (state, next_try);
CREATE TABLE IF NOT EXISTS part (
    file_id INTEGER NOT NULL REFERENCES file,
    part INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (file_id, part)
);
CREATE TABLE IF NOT EXISTS seen (name TEXT PRIMARY KEY, mark TEXT NOT NULL);
"""
_HEAD = "file_id, run, name, sha256, size, parts, plate, produced_at, version, attempts"


class Waiting(NamedTuple):
    """A spooled file that is not settled yet."""

    file_id: int
    head: wire.FileHead
    version: int
    attempts: int


class Outbox:
    """The agent's own store. A file is in it, committed and synced, before anything is sent."""

    def __init__(self, path: Path | str, instrument: str) -> None:
        """Open or create the outbox and hold it alone.

        Raises:
            sqlite3.OperationalError: another agent holds this outbox.
            sqlite3.DatabaseError: the file is damaged (see :func:`open_outbox`).
        """
        self._instrument = instrument
        self.path = str(path)
        self._db = sqlite3.connect(self.path, isolation_level=None, timeout=2.0)
        try:
            # Half a megabyte of cache: an old PC has better use for its memory.
            settings = ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=FULL", "cache_size=-512")
            for setting in settings:
                self._db.execute(f"PRAGMA {setting}")
            self._db.execute("PRAGMA foreign_keys=ON")
            self._db.execute("PRAGMA wal_autocheckpoint=0")
            with self._transaction():
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    self._db.execute(statement)
                # What was promised for later is due now: the world may have changed meanwhile.
                self._db.execute("UPDATE file SET next_try = 0 WHERE state = 'pending'")
            self._require_sound()
        except BaseException:
            self._db.close()
            raise

    def _require_sound(self) -> None:
        found = self._db.execute("PRAGMA quick_check").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(found)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def marks(self) -> dict[str, str]:
        """Name -> mark of the files that were read and need no second look."""
        return dict(self._db.execute("SELECT name, mark FROM seen"))

    def add(self, found: Found, head: wire.FileHead, part_bytes: int, now: float) -> int:
        """Spool a file unless exactly this content is there under this name.

        Returns:
            The version number of a newly spooled file (1 for the first content under its name),
            0 when nothing new was spooled.
        """
        with self._transaction():
            version = self._spool(found, head, part_bytes, now)
            self._db.execute("INSERT OR REPLACE INTO seen VALUES (?, ?)", (found.name, found.mark))
        return version

    def _spool(self, found: Found, head: wire.FileHead, part_bytes: int, now: float) -> int:
        key = (head.name, head.sha256)
        if self._db.execute("SELECT 1 FROM file WHERE name = ? AND sha256 = ?", key).fetchone():
            return 0
        count = "SELECT count(*) FROM file WHERE name = ?"
        version = int(self._db.execute(count, (head.name,)).fetchone()[0]) + 1
        row = (head.name, version, head.run, head.plate, head.sha256, head.size, head.parts)
        cursor = self._db.execute(
            "INSERT INTO file (name, version, run, plate, sha256, size, parts, produced_at, first_seen,"
            " state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'pending')",
            (*row, head.produced_at, now),
        )
        for number in range(head.parts):
            body = found.data[number * part_bytes : (number + 1) * part_bytes]
            part = (cursor.lastrowid, number + 1, hashlib.sha256(body).hexdigest(), body)
            self._db.execute("INSERT INTO part VALUES (?, ?, ?, ?)", part)
        return version

    def due(self, now: float, limit: int, horizon: float) -> list[Waiting]:
        """The oldest files to send now; a ``next_try`` beyond ``horizon`` is a clock that was set back."""
        rows = self._db.execute(
            f"SELECT {_HEAD} FROM file"  # noqa: S608 - a constant of this file
            " WHERE state = 'pending' AND (next_try <= ? OR next_try > ?)"
            " ORDER BY file_id LIMIT ?",
            (now, horizon, limit),
        )
        return [self._waiting(row) for row in rows]

    def soonest(self) -> list[Waiting]:
        """The one pending file whose next attempt comes first, due or not; empty when nothing is pending."""
        query = f"SELECT {_HEAD} FROM file WHERE state = 'pending' ORDER BY next_try, file_id LIMIT 1"  # noqa: S608 - a constant of this file
        return [self._waiting(row) for row in self._db.execute(query)]

    def _waiting(self, row: Any) -> Waiting:
        return Waiting(row[0], wire.FileHead(self._instrument, *row[1:8]), row[8], row[9])

    def hasten(self) -> None:
        """Make every pending file due now."""
        with self._transaction():
            self._db.execute("UPDATE file SET next_try = 0 WHERE state = 'pending' AND next_try > 0")

    def body(self, file_id: int, part: int) -> bytes | None:
        """One part as it was spooled; None when the disk gave back something else."""
        query = "SELECT body, sha256 FROM part WHERE file_id = ? AND part = ?"
        row = self._db.execute(query, (file_id, part)).fetchone()
        if row is None or hashlib.sha256(row[0]).hexdigest() != row[1]:
            return None
        return bytes(row[0])

    def settle(self, file_id: int, state: str, reply: str, now: float) -> None:
        """Write down the final word on a file."""
        with self._transaction():
            self._db.execute(
                "UPDATE file SET state = ?, reply = ?, replied_at = ?, attempts = attempts + 1"
                " WHERE file_id = ? AND state = 'pending'",
                (state, reply, now, file_id),
            )

    def postpone(self, file_id: int, next_try: float, reply: str) -> None:
        """Count a failed attempt and wait until ``next_try`` (seconds since 1970)."""
        with self._transaction():
            self._db.execute(
                "UPDATE file SET attempts = attempts + 1, next_try = ?, reply = ? WHERE file_id = ?",
                (next_try, reply, file_id),
            )

    def forget(self, file_id: int, name: str) -> None:
        """Drop a damaged copy, so that the folder's own file is read and spooled again."""
        with self._transaction():
            self._db.execute("DELETE FROM part WHERE file_id = ?", (file_id,))
            self._db.execute("DELETE FROM file WHERE file_id = ?", (file_id,))
            self._db.execute("DELETE FROM seen WHERE name = ?", (name,))

    def retry_refused(self) -> int:
        """Make every refused file pending again, after a person removed the reason; how many."""
        with self._transaction():
            query = "UPDATE file SET state = 'pending', next_try = 0 WHERE state = 'refused'"
            return self._db.execute(query).rowcount

    def prune(self, before: float) -> None:
        """Free the bytes of files acknowledged before that time; their rows stay."""
        with self._transaction():
            self._db.execute(
                "DELETE FROM part WHERE file_id IN"
                " (SELECT file_id FROM file WHERE state = 'acked' AND replied_at < ?)",
                (before,),
            )

    def counts(self) -> dict[str, int]:
        """How many files are in each state."""
        states = {PENDING: 0, ACKED: 0, REFUSED: 0}
        states.update(dict(self._db.execute("SELECT state, count(*) FROM file GROUP BY state")))
        return states

    def oldest_pending(self) -> float | None:
        """When the longest waiting file was first seen (seconds since 1970)."""
        value: float | None = self._db.execute(
            "SELECT min(first_seen) FROM file WHERE state = 'pending'",
        ).fetchone()[0]
        return value

    def refusals(self) -> dict[str, str]:
        """Name -> reason of the newest refused files, at most fifty."""
        query = "SELECT name, reply FROM file WHERE state = 'refused' ORDER BY file_id DESC LIMIT 50"
        return dict(self._db.execute(query))

    def checkpoint(self) -> bool:
        """Move the write-ahead log into the database; False when SQLite could not finish it."""
        return bool(self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)

    def close(self) -> None:
        """Let go of the outbox."""
        self._db.close()


def open_outbox(path: Path, instrument: str) -> Outbox:
    """Open the outbox; a damaged one is put aside, kept, and a new one filled from the folder.

    Sending everything again is harmless, since the bridge recognises what it has.

    Raises:
        sqlite3.OperationalError: another agent holds this outbox, or the disk refuses.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return Outbox(path, instrument)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        aside = f"{path}.damaged-{int(time.time())}"
        LOG.exception("the outbox %s is damaged; it is kept as %s and filled anew", path, aside)
        for tail in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{path}{tail}").replace(f"{aside}{tail}")
        return Outbox(path, instrument)


# ---------------------------------------------------------------------------- what to send, what it means
class _Flight(NamedTuple):
    waiting: Waiting
    part: int
    sent_at: float


class Courier:
    """Decides what is sent next and what an answer means; knows an outbox, but no socket and no clock.

    ``now`` is seconds since 1970 and is only compared with the outbox; ``tick`` is a clock that
    never jumps.
    """

    def __init__(self, outbox: Outbox, config: AgentConfig, chance: random.Random) -> None:
        """Begin with nothing in flight."""
        self._outbox = outbox
        self._config = config
        self._chance = chance
        self._flying: dict[bytes, _Flight] = {}
        self._wanted: dict[int, set[int]] = {}
        self._failed_at: float | None = None
        self.last_ack: float | None = None
        self.last_error = ""
        self.answers: Counter[str] = Counter()

    def outgoing(self, now: float, tick: float) -> Iterator[wire.Message]:
        """The messages to send now. Each counts as sent only after :meth:`sent`."""
        room = self._config.window - len(self._flying)
        for waiting in self._due(now):
            for part in self._next_parts(waiting):
                if room <= 0:
                    return
                message_id = wire.message_id_of(waiting.head, part)
                if message_id in self._flying:
                    continue
                body = self._outbox.body(waiting.file_id, part)
                if body is None:
                    self._damaged(waiting)
                    break
                room -= 1
                self._flying[message_id] = _Flight(waiting, part, tick)
                yield wire.part_message(waiting.head, part, body, {"version": waiting.version})

    def _due(self, now: float) -> list[Waiting]:
        """What is due; while nothing is stored any more, every few seconds the next one before its time.

        So the wait after a failure may grow long and yet ends soon after the bridge can store again.
        """
        horizon = now + 2 * self._config.retry_max_s
        due = self._outbox.due(now, 2 * self._config.window, horizon)
        if (
            due
            or self._flying
            or self._failed_at is None
            or abs(now - self._failed_at) < self._config.knock_s
        ):
            return due
        self._failed_at = now
        return self._outbox.soonest()

    def _next_parts(self, waiting: Waiting) -> list[int]:
        """First only part 1: its answer tells which other parts the bridge holds already."""
        return sorted(self._wanted.get(waiting.file_id, {1}))

    def _damaged(self, waiting: Waiting) -> None:
        LOG.error("the spooled copy of %s is damaged; the folder is read again", waiting.head.name)
        self.last_error = f"outbox-damaged: the copy of {waiting.head.name} was damaged on disk"
        self._outbox.forget(waiting.file_id, waiting.head.name)
        self._land(waiting.file_id)

    def unsent(self, message: wire.Message) -> None:
        """The link could not take it: it was never in flight."""
        self._flying.pop(message.message_id, None)

    def _land(self, file_id: int) -> None:
        """Nothing of this file is in flight or known any more."""
        self._wanted.pop(file_id, None)
        self._flying = {key: one for key, one in self._flying.items() if one.waiting.file_id != file_id}

    def lost_link(self) -> None:
        """What was in flight may or may not have arrived: send it again, at once, on the next link."""
        self._flying.clear()
        self._wanted.clear()

    def expire(self, now: float, tick: float, heard_at: float) -> None:
        """Give up waiting for answers that are overdue; while others come in, be more patient."""
        limit = self._config.answer_s
        for flight in list(self._flying.values()):
            silent = tick - max(flight.sent_at, heard_at)
            if silent > limit or tick - flight.sent_at > 6 * limit:
                self._postpone(flight.waiting, "no-answer: the bridge did not answer", now)

    def _postpone(self, waiting: Waiting, reply: str, now: float) -> None:
        if not any(one.waiting.file_id == waiting.file_id for one in self._flying.values()):
            return  # one failed attempt, however many of its parts failed
        delay = self._config.retry_first_s * 2.0 ** min(waiting.attempts, 20)
        delay = min(delay, self._config.retry_max_s) * self._chance.uniform(0.8, 1.2)
        self._outbox.postpone(waiting.file_id, now + delay, reply)
        self._failed_at = now
        self._land(waiting.file_id)

    def received(self, message: wire.Message, now: float) -> None:
        """Take an answer. One that belongs to nothing in flight is late or not ours: no matter."""
        flight = self._flying.get(message.message_id)
        if flight is None:
            return
        try:
            if message.type == wire.ACK:
                self._acked(flight, message, now)
            elif message.type == wire.NACK:
                self._refused(flight.waiting, message, now)
        except sqlite3.Error:
            self._land(flight.waiting.file_id)  # an answer that could not be written down is asked for again
            raise

    def _acked(self, flight: _Flight, message: wire.Message, now: float) -> None:
        file_id = flight.waiting.file_id
        if message.header["complete"]:
            reply = f"{message.header['status']} {message.header['first_stored_at']}".strip()
            self._outbox.settle(file_id, ACKED, reply, now)
            self._land(file_id)
            self.answers[message.header["status"]] += 1
            self.last_ack = now
            LOG.info("%s: %s", flight.waiting.head.name, reply)
            if self._failed_at is not None:  # whatever it was is over: nothing need wait any longer
                self._failed_at = None
                self._outbox.hasten()
            return
        missing = {part for part in message.header["missing"] if part <= flight.waiting.head.parts}
        if not missing or flight.part in missing:  # an answer that leads nowhere must not spin
            self._postpone(flight.waiting, "bad-answer: the bridge did not keep the part", now)
            return
        del self._flying[message.message_id]
        self._wanted[file_id] = missing

    def _refused(self, waiting: Waiting, message: wire.Message, now: float) -> None:
        reply = f"{message.header['code']}: {message.header['sentence']}"
        self.last_error = f"{waiting.head.name}: {reply}"
        self.answers[message.header["code"]] += 1
        if message.header["status"] == wire.RETRYABLE:
            LOG.warning("%s will be sent again: %s", waiting.head.name, reply)
            self._postpone(waiting, reply, now)
            return
        LOG.error("%s was refused for good: %s", waiting.head.name, reply)
        self._outbox.settle(waiting.file_id, REFUSED, reply, now)
        self._land(waiting.file_id)

    @property
    def busy(self) -> bool:
        """Whether answers are awaited."""
        return bool(self._flying)


# ---------------------------------------------------------------------------- the link
class Link:
    """One encrypted connection to the bridge, rebuilt whenever it falls silent."""

    def __init__(self, config: AgentConfig) -> None:
        """Prepare; nothing is connected before :meth:`open`."""
        self._config = config
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None
        self._monitor: zmq.Socket[bytes] | None = None
        self.state = "connecting"

    def open(self) -> None:
        """(Re)build the socket; whatever the old one held is given up to the resend."""
        self._shut()
        config = self._config
        socket = self._socket = self._context.socket(zmq.DEALER)
        socket.curve_serverkey = config.server_public
        socket.curve_publickey = config.public_key
        socket.curve_secretkey = config.secret_key
        socket.routing_id = wire.routing_id(config.public_key)
        for option, value in _LINK_OPTIONS.items():
            socket.setsockopt(option, value)
        socket.sndhwm = 2 * config.window
        self._monitor = socket.get_monitor_socket(_LINK_EVENTS)
        socket.connect(config.endpoint)
        self.state = "connecting"

    def _shut(self) -> None:
        if self._socket is not None:
            self._socket.disable_monitor()
            self._socket.close(linger=0)
        if self._monitor is not None:
            self._monitor.close(linger=0)
        self._socket = self._monitor = None

    def close(self) -> None:
        """Close for good; what is unsent stays in the outbox."""
        self._shut()
        self._context.destroy(linger=0)

    def send(self, message: wire.Message) -> bool:
        """Hand one message to the connection; False when there is none to take it now."""
        if self._socket is None:
            self.open()
        assert self._socket is not None  # noqa: S101 - open() made it
        try:
            self._socket.send_multipart(wire.encode(message), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def receive(self) -> Iterator[wire.Message]:
        """Every message that has arrived; one that breaks the protocol is logged and passed over."""
        while self._socket is not None:
            try:
                yield wire.decode(self._socket.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return
            except wire.WireError as error:
                LOG.warning("the bridge sent something unreadable: %s", error)

    def wait(self, seconds: float) -> None:
        """Sleep until something arrives, or so many seconds."""
        if self._socket is None:
            time.sleep(seconds)
            return
        poller = zmq.Poller()
        poller.register(self._socket, zmq.POLLIN)
        poller.register(self._monitor, zmq.POLLIN)
        poller.poll(int(seconds * 1000))

    def changes(self) -> list[str]:
        """What happened to the connection since the last call: ``connected``, ``lost``, ``refused``."""
        happened = []
        while self._monitor is not None and self._monitor.poll(0):
            word = _LINK_EVENTS_WORDS.get(recv_monitor_message(self._monitor)["event"])
            if word is not None:
                happened.append(word)
                # A refusal is followed by the loss of the connection; the reason stays in view.
                if not (word == "lost" and self.state == "refused"):
                    self.state = word
        return happened


_LINK_OPTIONS: dict[int, int] = {
    zmq.IMMEDIATE: 1,  # without a connection a send fails instead of vanishing into memory
    zmq.LINGER: 0,
    zmq.RCVHWM: 256,
    zmq.RECONNECT_IVL: 100,
    zmq.RECONNECT_IVL_MAX: 500,  # a server that is back hears of every agent at once
    zmq.HANDSHAKE_IVL: 2_000,  # a bridge whose database is away says nothing to a handshake
    zmq.HEARTBEAT_IVL: 2_000,
    zmq.HEARTBEAT_TIMEOUT: 6_000,
    zmq.HEARTBEAT_TTL: 10_000,
    zmq.TCP_MAXRT: 20_000,
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 60,
    zmq.TCP_KEEPALIVE_INTVL: 10,
    zmq.TCP_KEEPALIVE_CNT: 3,
    zmq.MAXMSGSIZE: 1024 * 1024,
}
_LINK_EVENTS_WORDS: dict[int, str] = {
    zmq.EVENT_HANDSHAKE_SUCCEEDED: "connected",
    zmq.EVENT_DISCONNECTED: "lost",
    zmq.EVENT_HANDSHAKE_FAILED_AUTH: "refused",
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "refused",
}
_LINK_EVENTS = sum(int(event) for event in _LINK_EVENTS_WORDS)


# ---------------------------------------------------------------------------- the agent
class Agent:
    """Folder, outbox, courier and link of one instrument."""

    def __init__(self, config: AgentConfig, chance: random.Random | None = None) -> None:
        """Open the outbox and connect.

        Raises:
            sqlite3.OperationalError: another agent holds this outbox, or the disk refuses.
            zmq.ZMQError: the endpoint or a key is not one.
        """
        self.config = config
        self._folder = Folder(config.folder, config.patterns, config.settle_s, config.live)
        self._live = LiveFiles(config.folder, config.live)
        self._outbox = open_outbox(config.outbox, config.instrument)
        self._courier = Courier(self._outbox, config, chance or random.Random())  # noqa: S311 - jitter
        self._link = Link(config)
        self._heard_at = self._pinged_at = time.monotonic()
        self._pruned_at = 0.0
        self._trouble: dict[str, str] = {}
        self.bridge_device = ""
        self.versions = 0
        try:
            self.reconnect()
        except BaseException:
            self.close()
            raise

    def reconnect(self) -> None:
        """Build the link anew; what was in flight is sent again."""
        self._link.open()
        self._courier.lost_link()
        self._heard_at = time.monotonic()

    def step(self) -> dict[str, Any]:
        """One pass: look at the folder, spool what is finished, exchange messages, write the health file.

        Returns:
            The state of the agent as :meth:`status` tells it.
        """
        self.scan()
        self.exchange()
        self._tidy()
        status = self.status()
        _write_health(self.config.health_file, status)
        return status

    def scan(self) -> int:
        """Spool every finished file that is new; how many."""
        new = 0
        known = self._outbox.marks()
        self._trouble = {}
        try:
            for found in self._folder.finished(known, time.monotonic()):
                try:
                    new += self._spool(found)
                except wire.WireError as error:
                    self._trouble[found.name] = error.sentence
                except sqlite3.Error as error:
                    self._trouble["outbox"] = _NO_ROOM.format(self._outbox.path, found.name, error)
                    LOG.error("%s", self._trouble["outbox"])  # noqa: TRY400 - the sentence says it all
                    break
        except OSError as error:
            self._trouble["folder"] = f"{self.config.folder} cannot be read: {error}"
            LOG.warning("%s", self._trouble["folder"])
        return new

    def _spool(self, found: Found) -> bool:
        head = self._head(found)
        wire.part_message(replace(head, parts=1), 1, b"?")  # a name the protocol refuses stays a problem
        version = self._outbox.add(found, head, self.config.part_bytes, time.time())
        if version > 1:
            self.versions += 1
            LOG.warning("%s has new content: version %d is sent beside the old one", found.name, version)
        return version > 0

    def _head(self, found: Found) -> wire.FileHead:
        config = self.config
        sha256 = hashlib.sha256(found.data).hexdigest()
        parts = wire.parts_needed(len(found.data), config.part_bytes)
        run = config.run or Path(found.name).stem.strip() or found.name
        plate = config.plate or plate_in(found.name, config.plate_pattern)
        size = len(found.data)
        return wire.FileHead(
            config.instrument, run, found.name, sha256, size, parts, plate, found.produced_at
        )

    def exchange(self) -> None:
        """Take what arrived, send what is due."""
        for change in self._link.changes():
            self._changed(change)
        tick = time.monotonic()
        for message in self._link.receive():
            self._heard_at = tick
            self._received(message)
        self._courier.expire(time.time(), tick, self._heard_at)
        for message in self._courier.outgoing(time.time(), tick) if self._link.state == "connected" else ():
            if not self._link.send(message):
                self._courier.unsent(message)
                break
        else:
            self._show_live()
        self._keep_alive(tick)

    def _show_live(self) -> None:
        """Send what running plates have measured since; files go first, and nothing waits for this."""
        if self._link.state != "connected":
            return
        for line in itertools.islice(self._live.lines(time.time()), self.config.window * 4):
            plate = self.config.plate or plate_in(line.path.name, self.config.plate_pattern)
            try:
                sent = self.send_reads(line.path.stem, line.cycle, line.dye, line.values, plate)
            except wire.WireError as error:
                self._live.problems[line.path.name] = error.sentence
                sent = True
            if not sent:
                return
            self._live.taken(line.path, line.end)

    def _changed(self, change: str) -> None:
        LOG.info("the link to %s: %s", self.config.endpoint, change)
        if change == "connected":
            self._heard_at = self._pinged_at = time.monotonic()
            self._link.send(wire.hello(VERSION, self.config.instrument, [wire.RUN_FILE, wire.READS]))
        else:
            self._courier.lost_link()

    def _received(self, message: wire.Message) -> None:
        if message.type == wire.WELCOME:
            self.bridge_device = message.header["device"]
            self._drop_old_keys()
        self._courier.received(message, time.time())

    def _drop_old_keys(self) -> None:
        """The bridge has just welcomed the key in use: those before it are worth nothing but to a thief."""
        for path in self.config.old_keys:
            try:
                path.unlink()
            except FileNotFoundError:
                continue
            except OSError as error:
                LOG.warning("the old key %s could not be removed; remove it by hand (%s)", path, error)
            else:
                LOG.info("the key in use is welcome; the old one, %s, was removed", path)

    def _keep_alive(self, tick: float) -> None:
        """Ask for a sign of life when it is quiet; a link that stays deaf is built anew."""
        quiet = tick - self._heard_at
        refused = self._link.state == "refused"  # after a refusal ZeroMQ does not knock again by itself
        if quiet > (1 if refused else 3) * self.config.ping_s:
            LOG.warning("nothing heard for %.0f s; the link is built anew", quiet)
            self.reconnect()
        elif not refused and min(quiet, tick - self._pinged_at) > self.config.ping_s:
            self._pinged_at = tick
            self._link.send(wire.ping())

    def _tidy(self) -> None:
        now = time.time()
        if abs(now - self._pruned_at) > 3600:
            self._outbox.prune(now - self.config.keep_days * 86400)
            self._pruned_at = now
        log = Path(self._outbox.path + "-wal")
        if log.exists() and log.stat().st_size > 4 * 1024 * 1024 and not self._outbox.checkpoint():
            self._trouble["outbox"] = "The outbox could not be checkpointed; check the disk of this PC."

    def send_reads(self, run: str, cycle: int, dye: str, values: Sequence[float], plate: str = "") -> bool:
        """Send live fluorescence once; False when the link could not take it (it is not kept)."""
        return self._link.send(wire.reads(self.config.instrument, run, cycle, dye, values, plate))

    def retry_refused(self) -> int:
        """Send every refused file again, after a person removed the reason; how many."""
        return self._outbox.retry_refused()

    def status(self) -> dict[str, Any]:
        """The state of the agent: counts of files, link, problems that need a person."""
        now = time.time()
        oldest = self._outbox.oldest_pending()
        return {
            "instrument": self.config.instrument,
            "endpoint": self.config.endpoint,
            "agent": VERSION,
            "link": self._link.state,
            **self._outbox.counts(),
            "oldest_pending_s": None if oldest is None else max(0.0, now - oldest),
            "new_versions": self.versions,
            "answers": dict(self._courier.answers),
            "last_ack_at": _iso(self._courier.last_ack),
            "last_error": self._courier.last_error,
            "problems": {**self._folder.problems, **self._live.problems, **self._trouble},
            "refusals": self._outbox.refusals(),
            "written_at": _iso(now),
        }

    def status_line(self) -> str:
        """The state of the agent in one line for a person."""
        status = self.status()
        counts = f"{status[PENDING]} waiting, {status[ACKED]} stored, {status[REFUSED]} refused"
        problems = f", {len(status['problems'])} problems" if status["problems"] else ""
        return f"{status['instrument']}: link {status['link']}, {counts}{problems}"

    def run(self, stop: threading.Event, changed: Callable[[], bool] = lambda: False) -> None:
        """Work until ``stop`` is set or ``changed`` holds. What goes wrong is logged, shown, tried again."""
        while not (stop.is_set() or changed()):
            try:
                self.step()
                self._exchange_until(time.monotonic() + self.config.poll_s, stop)
            except Exception as error:
                LOG.exception("the pass failed; it is tried again")
                self._report_failure(error)
                stop.wait(self.config.poll_s)

    def _exchange_until(self, end: float, stop: threading.Event) -> None:
        while not stop.is_set() and time.monotonic() < end:
            self._link.wait(min(0.2, max(0.0, end - time.monotonic())))
            self.exchange()

    def _report_failure(self, error: Exception) -> None:
        """A full disk must not hide itself: say so in the health file if even that can be written."""
        report = {
            "instrument": self.config.instrument,
            "failed": repr(error),
            "problems": {
                "agent": f"The last pass failed ({error}); it is tried again. Look at the disk of this PC."
            },
            "written_at": _iso(time.time()),
        }
        with contextlib.suppress(OSError):
            _write_health(self.config.health_file, report)

    def ship(self, seconds: float) -> bool:
        """Spool what is finished and work until nothing waits; False when ``seconds`` did not suffice."""
        end = time.monotonic() + seconds
        self.step()
        while not self.idle and time.monotonic() < end:
            self._link.wait(0.05)
            self.exchange()
        return self.idle

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be sent or answered."""
        return not self._courier.busy and self._outbox.counts()[PENDING] == 0

    def close(self) -> None:
        """Let go of link and outbox; what is unsent is sent after the next start."""
        self._link.close()
        self._outbox.close()


_NO_ROOM = (
    "{0} took no copy of {1} ({2}). The file stays where it is and is tried again; "
    "look whether the disk of this PC is full or failing."
)


def plate_in(name: str, pattern: str) -> str:
    """The plate barcode inside a file name: group ``plate``, else the first group, else the match."""
    match = re.search(pattern, name) if pattern else None
    if match is None:
        return ""
    found = match.groupdict().get("plate") or (match.group(1) if match.re.groups else match.group(0))
    return (found or "").strip()


def _iso(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat()  # noqa: UP017 - Python 3.8


def _write_json(path: Path, content: dict[str, Any]) -> None:
    """Replace the file in one move, so that a reader never sees half of it."""
    draft = path.with_name(path.name + ".new")
    draft.write_text(json.dumps(content, ensure_ascii=False, indent=1), encoding="utf-8")
    draft.replace(path)


def _write_health(path: Path, content: dict[str, Any]) -> None:
    """Write the state of the agent. A full disk has no room for a new file: there the old one's is used.

    Raises:
        OSError: neither was possible.
    """
    try:
        _write_json(path, content)
    except OSError:
        with path.open("r+b", buffering=0) as stream:
            stream.write(json.dumps(content, ensure_ascii=False, indent=1).encode("utf-8"))
            stream.truncate()


# ---------------------------------------------------------------------------- enrolment
CONFIG_FILE = Path("nat-agent.json")
_REMEMBERED = ("folder", "pattern", "live", "plate_regex", "run", "plate", "settle", "poll")


class EnrolError(Exception):
    """The laboratory did not enrol this PC; ``sentence`` says what to do."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(f"{code}: {sentence}")
        self.code = code
        self.sentence = sentence


def enrol(code: wire.Code, public_key: str, instrument: str = "", seconds: float = 60.0) -> str:
    """Have the bridge enrol a public key (Z85) with a code, asking again until it answers.

    Returns:
        The name of the device it is enrolled under.

    Raises:
        EnrolError: refused, or no answer within ``seconds``.
    """
    config = replace(
        _KNOCKING,
        endpoint=code.endpoint,
        server_public=z85.encode(code.server_key),
        public_key=zmq.curve_public(z85.encode(code.key)),
        secret_key=z85.encode(code.key),
    )
    link = Link(config)
    try:
        return _knock(link, code, wire.enrol(VERSION, public_key, instrument), seconds)
    finally:
        link.close()


def _knock(link: Link, code: wire.Code, request: wire.Message, seconds: float) -> str:
    """Connect and ask; a lost link is tried again, a refused key is asked about twice."""
    end = time.monotonic() + seconds
    refused = 0
    said = EnrolError("no-answer", _NO_ANSWER.format(code.endpoint, seconds))
    asked_at = 0.0
    link.open()
    while time.monotonic() < end:
        link.wait(0.2)
        if "refused" in link.changes():
            refused += 1
            if refused >= 2:
                raise EnrolError("code-unknown", _UNKNOWN_CODE.format(code.endpoint))
            link.open()
        for message in link.receive():
            if message.type == wire.WELCOME:
                return str(message.header["device"])
            if message.type == wire.NACK:
                said = EnrolError(message.header["code"], message.header["sentence"])
                if message.header["status"] == wire.PERMANENT:
                    raise said
        if link.state == "connected" and time.monotonic() - asked_at > 5.0:
            asked_at = time.monotonic()
            link.send(request)
    raise said


_UNKNOWN_CODE = (
    "The bridge at {0} does not know this code. Was it issued by this laboratory? "
    "Ask its administrator for a new one."
)
_NO_ANSWER = (
    "No bridge with the key in this code answered at {0} within {1:.0f} s. Is the server running, is it "
    "the one that issued the code, does the firewall let this PC reach it? The code is not used up."
)
_KNOCKING = AgentConfig(Path(), Path(), "", "", b"", b"", b"")


def enrol_here(code_words: str, options: argparse.Namespace) -> str:
    """Make the keys of this PC, have them enrolled, write the configuration that ``run`` reads.

    Safe to be repeated with the same code when anything went wrong in between: the same keys are used.

    Raises:
        wire.WireError: the code is mistyped. EnrolError: the laboratory refused.
        OSError: the files cannot be written.
    """
    code = wire.read_code(code_words)
    home = options.config.resolve().parent
    key_file = home / f"nat-agent-{hashlib.sha256(code.key).hexdigest()[:8]}.key_secret"
    if not key_file.exists():
        new_key_file(key_file)
    public = zmq.auth.load_certificate(key_file)[0].decode("ascii")
    device = enrol(code, public, options.instrument or "", options.wait)
    before = _read_json(options.config) if options.config.exists() else {}
    given = {name: getattr(options, name) for name in _REMEMBERED}
    settings = {
        **before,
        **{name: _plain(value) for name, value in given.items() if value is not None},
        "endpoint": code.endpoint,
        "instrument": device,
        "server_key": z85.encode(code.server_key).decode("ascii"),
        "key_file": key_file.name,
        "old_key_files": _outlived(before, key_file.name),
        "outbox": _plain(options.outbox) if options.outbox else before.get("outbox", "agent-outbox.db"),
    }
    _write_json(options.config, settings)
    return device


def _outlived(before: dict[str, Any], key_file: str) -> list[str]:
    """The keys made here for earlier codes; they are removed when the bridge has welcomed the new one."""
    names = {before.get("key_file"), *before.get("old_key_files", ())} - {None, key_file}
    return sorted(name for name in names if _OWN_KEY.match(name))


_OWN_KEY = re.compile(r"nat-agent-[0-9a-f]{8}\.key_secret\Z")


def _plain(value: Any) -> Any:
    return str(value.resolve()) if isinstance(value, Path) else value


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path} is not there; enrol this PC first: agent enrol CODE") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not the configuration of an agent.")  # noqa: TRY004 - of its content
    return content


def read_config(path: Path) -> dict[str, Any]:
    """The settings that ``enrol`` wrote; names are those of the options.

    Raises:
        ValueError: the file is not such a configuration.
    """
    content = _read_json(path)
    for name in ("folder", "key_file", "outbox", "health"):
        if content.get(name):
            content[name] = path.resolve().parent / content[name]
    return content


# ---------------------------------------------------------------------------- command line
def new_key_file(path: Path) -> str:
    """Make a key pair in ``path`` (readable by its owner alone); returns the public key to enrol.

    Raises:
        FileExistsError: the file is there; a key is never overwritten.
    """
    public, secret = (key.decode() for key in zmq.curve_keypair())
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as stream:
        stream.write(f'metadata\ncurve\n    public-key = "{public}"\n    secret-key = "{secret}"\n')
        stream.flush()
        os.fsync(stream.fileno())
    return public


def _key_text(text: str) -> bytes:
    """A public key given as itself or as the name of a certificate file."""
    if re.fullmatch(r"[!-~]{40}", text) and not Path(text).exists():
        return text.encode()
    return bytes(zmq.auth.load_certificate(text)[0])


_DEFAULTS: dict[str, Any] = {
    "outbox": Path("agent-outbox.db"),
    "live": "*.reads",
    "plate_regex": "",
    "run": "",
    "plate": "",
    "settle": 3.0,
    "poll": 2.0,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="agent",
        usage="agent enrol [CODE] [--folder FOLDER] [options] | agent run [options] | agent [options]",
        description="Watch an instrument's folder and send every finished file to the laboratory.",
    )
    add = parser.add_argument
    add("words", nargs="*", metavar="enrol CODE | run", help="enrol this PC once with a code; then run")
    add("--config", type=Path, help=f"what enrol writes and run reads (default: {CONFIG_FILE} here)")
    add("--code-file", type=Path, help="file that holds the code, for enrol")
    add("--wait", type=float, default=60.0, help="seconds to wait for the bridge, for enrol")
    add("--folder", type=Path, help="the folder the instrument exports to (only read)")
    add("--endpoint", help="the bridge, for example tcp://lis.lab:5570")
    add("--instrument", help="the name this instrument is enrolled under")
    add("--server-key", help="the bridge's public key, or the file that holds it")
    add("--key-file", type=Path, help="this agent's own key pair")
    add("--new-key", action="store_true", help="make the key file, print its public key, end")
    add("--outbox", type=Path, help="where files wait until they are stored (default: agent-outbox.db)")
    add("--pattern", action="append", help="glob of files to send (may be given again)")
    add("--live", help="glob of growing files of live readings (default: *.reads)")
    add("--plate-regex", help="finds the plate barcode in a file name")
    add("--run", help="run name, when the file name does not tell it")
    add("--plate", help="plate barcode, when the file name does not tell it")
    add("--settle", type=float, help="seconds a file must stand still (default: 3)")
    add("--poll", type=float, help="seconds between looks at the folder (default: 2)")
    add("--health", type=Path, help="where the state is written as JSON")
    add("--retry-refused", action="store_true", help="first make refused files pending again")
    add("--version", action="version", version=VERSION)
    return parser


def _completed(options: argparse.Namespace) -> argparse.Namespace:
    """Options as given, then as the configuration has them, then as they are by default."""
    configured = read_config(options.config) if options.config else {}
    for name, value in {**_DEFAULTS, **configured}.items():
        if getattr(options, name, None) is None:
            setattr(options, name, value)
    return options


def _config(options: argparse.Namespace) -> AgentConfig:
    public, secret = zmq.auth.load_certificate(options.key_file)
    if secret is None:
        raise ValueError(f"{options.key_file} holds no secret key; give the file made by --new-key.")
    re.compile(options.plate_regex)
    old_keys = getattr(options, "old_key_files", ())
    return AgentConfig(
        folder=options.folder,
        outbox=options.outbox,
        endpoint=options.endpoint,
        instrument=options.instrument,
        server_public=_key_text(options.server_key),
        public_key=public,
        secret_key=secret,
        patterns=tuple(options.pattern or ("*",)),
        live=options.live,
        plate_pattern=options.plate_regex,
        run=options.run,
        plate=options.plate,
        health=options.health,
        settle_s=options.settle,
        poll_s=options.poll,
        old_keys=tuple(options.config.resolve().parent / name for name in old_keys if _OWN_KEY.match(name)),
    )


def main(argv: Iterable[str] | None = None) -> int:
    """Run the agent until it is told to stop; 0 on success, 1 with one line on stderr, 2 for usage."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    parser = _parser()
    options = _parsed(parser, arguments)
    command, *rest = options.words or [""]
    if command not in ("", "enrol", "run") or (rest and command != "enrol"):
        parser.error(f"{' '.join(options.words)} is not known; say enrol CODE, or run")
    try:
        if command == "enrol":
            return _enrol(rest, options)
        return _start(parser, arguments)
    except (EnrolError, wire.WireError) as error:
        return _failed(error.code, error.sentence)
    except (OSError, ValueError, re.error, sqlite3.Error, zmq.ZMQError) as error:
        return _failed("agent-start", str(error))


def _parsed(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> argparse.Namespace:
    options = parser.parse_intermixed_args(_keyed(arguments))
    if options.words and options.config is None:
        options.config = CONFIG_FILE
    return options


def _keyed(arguments: Sequence[str]) -> list[str]:
    """The arguments, with a key that begins with a dash (one in 83 does) tied to the option it belongs to."""
    tied: list[str] = []
    for argument in arguments:
        if tied and tied[-1] == "--server-key" and len(argument) == 40:
            tied[-1] += f"={argument}"
        else:
            tied.append(argument)
    return tied


def _failed(code: str, sentence: str) -> int:
    print(f"error: {code}: {sentence}", file=sys.stderr)  # noqa: T201 - the answer of this command
    return 1


def _enrol(words: Sequence[str], options: argparse.Namespace) -> int:
    text = options.code_file.read_text(encoding="utf-8-sig") if options.code_file else " ".join(words)
    device = enrol_here(text or input("Code: "), options)
    config = options.config
    print(f"This PC is enrolled as {device}; the settings are in {config}.")  # noqa: T201 - the answer
    if not read_config(config).get("folder"):
        print("Now name the folder to watch: agent run --folder FOLDER")  # noqa: T201 - the answer
    else:
        print("Now start the agent: agent run")  # noqa: T201 - the answer
    return 0


def _start(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> int:
    options = _completed(_parsed(parser, arguments))
    if options.new_key:
        if options.key_file is None:
            parser.error("--key-file is needed")
        print(new_key_file(options.key_file))  # noqa: T201 - the answer of this command
        return 0
    for name in ("folder", "endpoint", "instrument", "server_key", "key_file"):
        if getattr(options, name) is None:
            parser.error(f"--{name.replace('_', '-')} is needed")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    stop = threading.Event()
    for name in ("SIGINT", "SIGTERM"):
        signal.signal(getattr(signal, name), lambda _number, _frame: stop.set())
    serve(
        lambda: _config(_completed(_parsed(parser, arguments))),
        options.config,
        stop,
        retry=options.retry_refused,
    )
    return 0


def serve(
    load: Callable[[], AgentConfig], watched: Path | None, stop: threading.Event, *, retry: bool = False
) -> None:
    """Run an agent until ``stop`` is set; when the file ``watched`` changes, one with the new settings.

    So a key that was renewed with ``enrol`` is used without a restart.
    """
    while not stop.is_set():
        before = _mark_of(watched)
        agent = Agent(load())
        try:
            if retry:
                LOG.info("%d refused files are sent again", agent.retry_refused())
            LOG.info("%s", agent.status_line())
            agent.run(stop, lambda before=before: _mark_of(watched) != before)  # type: ignore[misc]
            LOG.info("%s", agent.status_line())
        finally:
            agent.close()
        retry = False


def _mark_of(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return _mark(path.stat())
    except OSError:  # away for a moment: no change
        return ""


if __name__ == "__main__":
    sys.exit(main())
