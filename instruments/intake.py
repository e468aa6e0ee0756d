"""What the bridge does with a run file, without sockets or threads: collect its parts, hand it over, answer.

A file is acknowledged as complete only after the handler returned a receipt, which it does only
after its commit. Parts of a larger file wait in a folder; they are a convenience, never a promise:
every answer lists what is missing, so parts that were lost are asked for again.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol

from instruments import wire
from instruments.disk import sync_folder
from instruments.quiet import Quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from pathlib import Path

LOG = logging.getLogger("instruments.bridge")

MAX_OPEN_FILES = 8
_REMEMBERED = 256


@dataclass(frozen=True)
class Shipment:
    """One whole run file, its SHA-256 proved, from the enrolled device ``device``.

    ``produced_at`` is the time of the file on the instrument's PC, whose clock may be wrong.
    """

    device: str
    instrument: str
    run: str
    plate: str
    name: str
    sha256: str
    size: int
    data: bytes = field(repr=False)
    produced_at: datetime | None
    message_id: str
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reads:
    """Live fluorescence of one cycle and dye: 96 or 384 values in well order, NaN where not read.

    ``plate`` is the barcode as the sender believes it; it may be empty.
    """

    device: str
    run: str
    cycle: int
    dye: str
    values: tuple[float, ...] = field(repr=False)
    plate: str = ""


@dataclass(frozen=True)
class Receipt:
    """The handler's word that the file is committed: ``stored`` now, or ``duplicate`` of an earlier one."""

    status: str
    first_stored_at: datetime


class Refused(Exception):
    """Raised by a handler for a file that sending again cannot mend; a person must look."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(f"{code}: {sentence}")
        self.code = code
        self.sentence = sentence


@dataclass(frozen=True)
class BridgeEvent:
    """Something for the audit trail or an alarm: a stable ``kind``, who, and a sentence."""

    kind: str
    device: str | None
    detail: str
    public_key: bytes = b""


class Parts(Protocol):
    """Where the parts of unfinished files are kept."""

    def open(self, device: str, key: str) -> wire.PartStore:
        """The parts of one file of one device; opening one too many drops that device's oldest."""
        ...

    def drop(self, device: str, key: str) -> None:
        """Forget the parts of one file."""
        ...


class _PartFolder:
    """The parts of one file, one synced file each."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def held(self) -> dict[int, int]:
        if not self._root.is_dir():
            return {}
        return {int(path.name): path.stat().st_size for path in self._root.iterdir() if path.name.isdigit()}

    def put(self, part: int, body: bytes) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        draft = self._root / f"{part}.new"
        with draft.open("wb") as stream:
            stream.write(body)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(self._root / str(part))
        sync_folder(self._root)

    def get(self, part: int) -> bytes:
        return (self._root / str(part)).read_bytes()

    def clear(self) -> None:
        shutil.rmtree(self._root, ignore_errors=True)


class PartFolders:
    """Parts on disk: ``root / device / file / part``; at most ``max_open`` files a device."""

    def __init__(self, root: Path, max_open: int = MAX_OPEN_FILES) -> None:
        """Go on with whatever an earlier bridge left in ``root``."""
        self._root = root
        self._max_open = max_open

    def _folder(self, device: str) -> Path:
        return self._root / sha256(device.encode()).hexdigest()[:32]

    def open(self, device: str, key: str) -> wire.PartStore:
        """The parts of one file; the device's least recently touched file makes room for a new one."""
        home = self._folder(device)
        home.mkdir(parents=True, exist_ok=True)
        others = [path for path in home.iterdir() if path.name != key]
        others.sort(key=lambda path: path.stat().st_mtime)
        for path in others[: max(0, len(others) - self._max_open + 1)]:
            shutil.rmtree(path, ignore_errors=True)
        return _PartFolder(home / key)

    def drop(self, device: str, key: str) -> None:
        """Forget the parts of one file."""
        shutil.rmtree(self._folder(device) / key, ignore_errors=True)


class Intake:
    """Takes RUN_FILE messages of enrolled devices and answers each; one call at a time for one device."""

    def __init__(
        self,
        handler: Callable[[Shipment], Receipt],
        parts: Parts,
        report: Callable[[BridgeEvent], None],
        max_file_bytes: int = wire.MAX_FILE_BYTES,
    ) -> None:
        """``report`` is told what an auditor wants to know."""
        self._handler = handler
        self._parts = parts
        self._report = report
        self._max_file_bytes = max_file_bytes
        self._finished: dict[str, OrderedDict[str, Receipt]] = {}
        self._quiet: Quiet[tuple[str, type[Exception]]] = Quiet()

    def take(self, device: str, message: wire.Message) -> wire.Message:
        """Answer one RUN_FILE message: ACK after the handler's commit, or NACK with the reason."""
        head = wire.head_of(message)
        if head.instrument != device:
            sentence = (
                f"This key is enrolled for {device}, the file says {head.instrument}. Correct the agent."
            )
            self._report(BridgeEvent("wrong-instrument", device, f"{head.name}: {sentence}"))
            return wire.nack(message.message_id, wire.PERMANENT, "wrong-instrument", sentence)
        if head.size > self._max_file_bytes:
            sentence = f"{head.name} has {head.size} bytes, over {self._max_file_bytes}. Import it by hand."
            self._report(BridgeEvent("too-large", device, sentence))
            return wire.nack(message.message_id, wire.PERMANENT, "too-large", sentence)
        try:
            return self._collect(device, head, message)
        except wire.WireError as error:
            self._report(BridgeEvent(error.code, device, error.sentence))
            return wire.nack(message.message_id, wire.RETRYABLE, error.code, error.sentence)
        except Refused as refusal:
            self._parts.drop(device, head.key)
            self._report(BridgeEvent("refused", device, f"{head.name}: {refusal}"))
            return wire.nack(message.message_id, wire.PERMANENT, refusal.code, refusal.sentence)
        except Exception as error:
            # A database that is away for a night is asked every two seconds by every device.
            traced = self._quiet.is_news((device, type(error)), time.monotonic())
            words = "%s from %s could not be stored; it will be sent again: %s"
            LOG.log(logging.ERROR, words, head.name, device, error, exc_info=traced)
            self._report(BridgeEvent("handler-failed", device, f"{head.name}: {error!r}"))
            sentence = f"{head.name} could not be stored; it is kept by the agent and sent again."
            return wire.nack(message.message_id, wire.RETRYABLE, "handler-failed", sentence)

    def _collect(self, device: str, head: wire.FileHead, message: wire.Message) -> wire.Message:
        if head.parts == 1:
            assembly = wire.Assembly(head)
        else:
            known = self._finished.setdefault(device, OrderedDict()).get(head.key)
            if known is not None:
                stored_at = known.first_stored_at.astimezone(UTC).isoformat()
                return wire.ack(message.message_id, wire.DUPLICATE, stored_at)
            assembly = wire.Assembly(head, self._parts.open(device, head.key))
        fresh = assembly.add(message)
        missing = assembly.missing()
        if missing:
            return wire.ack(message.message_id, wire.STORED if fresh else wire.DUPLICATE, "", missing)
        receipt = self._handler(_shipment(device, head, assembly.data(), message.extra))
        answer = wire.ack(
            message.message_id, receipt.status, receipt.first_stored_at.astimezone(UTC).isoformat()
        )
        if head.parts > 1:
            self._remember(device, head.key, receipt)
            self._parts.drop(device, head.key)
        return answer

    def _remember(self, device: str, key: str, receipt: Receipt) -> None:
        """Save a finished large file from travelling again only because its last answer was lost."""
        finished = self._finished[device]
        finished[key] = receipt
        while len(finished) > _REMEMBERED:
            finished.popitem(last=False)


def _shipment(device: str, head: wire.FileHead, data: bytes, extra: Mapping[str, Any]) -> Shipment:
    return Shipment(
        device=device,
        instrument=head.instrument,
        run=head.run,
        plate=head.plate,
        name=head.name,
        sha256=head.sha256,
        size=head.size,
        data=data,
        produced_at=wire.parse_moment(head.produced_at),
        message_id=wire.message_id_of(head, 1).decode(),
        extra=dict(extra),
    )
