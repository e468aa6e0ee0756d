"""Frames of ASTM E1381 (CLSI LIS01-A2), and what comes out of a link that takes them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

ENQ, STX, ETX, EOT, ACK, NAK, ETB = b"\x05", b"\x02", b"\x03", b"\x04", b"\x06", b"\x15", b"\x17"
FRAME_TEXT = 240
"""Characters of text in the frames that we send."""
LINES = re.compile(rb"[\r\n]+")
"""What ends a record: CR, and whatever senders make of it."""


@dataclass(frozen=True)
class Reply:
    """Bytes for the other side."""

    data: bytes


@dataclass(frozen=True)
class Arrived:
    """A whole message, every record ended by CR; store it and call :meth:`Link.settle`."""

    text: bytes


@dataclass(frozen=True)
class Broken:
    """What was received of a message that will not be whole, and why. A piece of a frame follows its STX."""

    text: bytes
    reason: str


@dataclass(frozen=True)
class Trouble:
    """Something a person may want to know, for example a frame refused six times."""

    kind: str
    detail: str


Action: TypeAlias = Reply | Arrived | Broken | Trouble


def checksum(frame: bytes) -> bytes:
    """Two hexadecimal digits: the sum of the bytes from the frame number to ETX or ETB, modulo 256."""
    return b"%02X" % (sum(frame) & 0xFF)


def frame(number: int, text: bytes, *, last: bool) -> bytes:
    """One frame as it goes over the line."""
    inner = b"%d" % (number % 8) + text + (ETX if last else ETB)
    return STX + inner + checksum(inner) + b"\r\n"


def frames(message: bytes, size: int = FRAME_TEXT) -> list[bytes]:
    """The frames of a message: each record begins a frame, and takes as many as it needs."""
    pieces: list[tuple[bytes, bool]] = []
    for record in filter(None, LINES.split(message)):
        text = record + b"\r"
        starts = range(0, len(text), size)
        pieces += [(text[at : at + size], at + size >= len(text)) for at in starts]
    return [frame(number, text, last=last) for number, (text, last) in enumerate(pieces, 1)]
