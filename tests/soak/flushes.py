"""What the soaks of flushes share: who dies at which call, and whether a file came through."""

from __future__ import annotations

import hashlib

from streaming import Part, Sheet, Stream

SYNCS = ("fdatasync", "fsync")


def killing(call: str, number: int) -> tuple[str, str, str, str]:
    """What strace is told: the call at whose entry a traced process dies; each process counts for itself."""
    return "-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}"


def died(part: Part) -> bool:
    """Whether it was killed."""
    return part.process is not None and part.process.poll() is not None


def arrived(stream: Stream, sheet: Sheet) -> bool:
    """Whether a sheet is acknowledged, kept byte for byte, and read."""
    if not stream.told(sheet):
        return False
    assert stream.kept().get(sheet.name) == hashlib.sha256(sheet.data).hexdigest()
    read = stream.rows(f"SELECT 1 FROM run WHERE plate_id = '{sheet.code}'")
    return bool(read)


def flawless(stream: Stream, used: int) -> None:
    """The end of the series: what was not used is sent too, and the figures are all 0."""
    for sheet in stream.sheets[used:]:
        stream.write(sheet)
    stream.until(lambda: all(arrived(stream, sheet) for sheet in stream.sheets), "all plates read")
    assert stream.verdict() == dict.fromkeys(stream.verdict(), 0)
