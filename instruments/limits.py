"""How much may wait at a bridge and run at once, and how much one key may send."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from instruments import wire


@dataclass(frozen=True)
class Limits:
    """Bounds of a bridge.

    Attributes:
        spool: folder for the parts of large files, kept over a restart; None: a temporary one.
        workers: handler calls that may run at once.
        queue: parts of one device that may wait (and at most 16 MiB of them).
        reads: live readings that may wait for a slow receiver.
        file_bytes: largest file taken.
        burst: points one key may spend at once: a message costs one, and one more for every 64 KiB.
        a_second: points it gets back a second; the largest file costs about 1,200.
        patience: points of what was passed over after which a key is cut off.
        penalty_s: seconds for which it is refused then; twice as long each time, 15 minutes at most.
    """

    spool: Path | None = None
    workers: int = 4
    queue: int = 32
    reads: int = 256
    file_bytes: int = wire.MAX_FILE_BYTES
    burst: float = 4_000.0
    a_second: float = 400.0
    patience: float = 600.0
    penalty_s: float = 10.0
