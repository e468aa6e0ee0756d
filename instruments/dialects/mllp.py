"""The envelope of HL7 v2 on a line (MLLP, release 1) and its acknowledgements, without a socket.

A block is ``<VT> message <FS><CR>``. What stands between blocks is ignored; a block that loses its end is
evidence, never a message. An acknowledgement is made from the header alone, so that a message which no
reader understands can be answered too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

from instruments.dialects import astm_records

START, END, CR = b"\x0b", b"\x1c", b"\r"
MAX_BLOCK = 8 * 2**20


@dataclass(frozen=True)
class Block:
    """One whole message, without its envelope."""

    data: bytes


@dataclass(frozen=True)
class Cut:
    """What came of a message that lost its end."""

    data: bytes


@dataclass(frozen=True)
class TooLong:
    """A message over the limit; its beginning, for the header in it."""

    data: bytes
    size: int


Piece: TypeAlias = Block | Cut | TooLong


class Framer:
    """Cuts a stream of bytes into blocks, however it was fragmented."""

    def __init__(self, limit: int = MAX_BLOCK) -> None:
        self._limit = limit
        self._inside = False
        self._buffer = bytearray()
        self._skipped = 0

    def receive(self, data: bytes) -> list[Piece]:
        """Take bytes; the blocks that they complete."""
        found: list[Piece] = []
        rest = data
        while rest:
            if not self._inside:
                at = rest.find(START)
                if at < 0:
                    break
                self._inside, rest = True, rest[at + 1 :]
                continue
            stops = [at for at in (rest.find(START), rest.find(END)) if at >= 0]
            stop = min(stops, default=len(rest))
            self._add(rest[:stop])
            if stops:
                found.append(self._finish(whole=rest[stop : stop + 1] == END))
                # another START inside a block begins the next one
                rest = rest[stop + 1 :] if rest[stop : stop + 1] == END else rest[stop:]
            else:
                rest = b""
        return found

    def _add(self, piece: bytes) -> None:
        room = self._limit - len(self._buffer)
        self._buffer += piece[:room]
        self._skipped += max(0, len(piece) - room)

    def _finish(self, *, whole: bool) -> Piece:
        data, over = bytes(self._buffer), self._skipped
        self._inside, self._skipped = False, 0
        self._buffer.clear()
        if over:
            return TooLong(data[:4096], len(data) + over)
        return Block(data) if whole else Cut(data)

    def close(self) -> list[Piece]:
        """The connection is gone: what is left of a block."""
        return [self._finish(whole=False)] if self._inside else []


def wrap(message: bytes) -> bytes:
    """A message in its envelope."""
    return START + message + END + CR


@dataclass(frozen=True)
class Header:
    """The segment MSH as written, split at its own separators; fields as the standard numbers them."""

    fields: tuple[str, ...]
    component: str

    def field(self, number: int) -> str:
        """A field; 1 is the separator itself."""
        return self.fields[number - 1] if number <= len(self.fields) else ""

    def part(self, number: int, component: int) -> str:
        """One component of a field."""
        parts = self.field(number).split(self.component)
        return parts[component - 1].strip() if component <= len(parts) else ""

    @property
    def kind(self) -> str:
        """Type and event, ``ORU^R01``."""
        return f"{self.part(9, 1)}^{self.part(9, 2)}".rstrip("^")

    @property
    def control_id(self) -> str:
        """What the sender numbers the message with."""
        return self.field(10).strip()

    @property
    def made_at(self) -> datetime | None:
        """When the message was made, as written, without a zone."""
        return astm_records.moment(self.part(7, 1).split("+")[0].split("-")[0].split(".")[0])


def header(message: bytes) -> Header | None:
    """The header of a message; None when it has none that can be understood."""
    text = message.lstrip(b"\r\n \t").decode("latin-1")
    if not text.startswith("MSH") or len(text) < 8:
        return None
    line = text.replace("\n", "\r").split("\r", 1)[0]
    separator, component = line[3:4], line[4:5]
    if separator == component or any(not one.strip() or one.isalnum() for one in (separator, component)):
        return None
    fields = line.split(separator)
    return Header((separator, *fields[1:]), component)


ERRORS = {
    "unsupported": "200^Unsupported message type^HL70357",
    "required": "101^Required field missing^HL70357",
    "internal": "207^Application internal error^HL70357",
}
"""Codes of HL7 table 0357 by our own word."""


@dataclass(frozen=True)
class Verdict:
    """What the sender is told: ``A`` taken and committed, ``E`` not now, ``R`` never as it is."""

    letter: str
    sentence: str = ""
    error: str = "internal"


def acknowledgements(received: Header | None, verdict: Verdict, now: datetime, number: str) -> list[bytes]:
    """What a message wants to be answered, without envelope: one answer in original mode, 0 to 2 in enhanced.

    Args:
        received: header of the message; None when it had none.
        verdict: what became of it.
        now: time of the acknowledgement.
        number: our own control id for it.
    """
    accept, application = (received.field(15), received.field(16)) if received else ("", "")
    if not accept and not application:
        return [_acknowledgement(received, f"A{verdict.letter}", verdict, now, number)]
    found = []
    if _wanted(accept, verdict):
        found.append(_acknowledgement(received, f"C{verdict.letter}", verdict, now, number))
    if _wanted(application, verdict):
        found.append(_acknowledgement(received, f"A{verdict.letter}", verdict, now, f"{number}a"))
    return found


def _wanted(condition: str, verdict: Verdict) -> bool:
    """HL7 table 0155: always, never, on success, on error."""
    return {"AL": True, "SU": verdict.letter == "A", "ER": verdict.letter != "A"}.get(
        condition.strip(), False
    )


def _acknowledgement(
    received: Header | None, code: str, verdict: Verdict, now: datetime, number: str
) -> bytes:
    event = received.part(9, 2) if received else ""
    kind = f"ACK^{event}^ACK" if len(event) == 3 and event.isalnum() else "ACK"
    names = [_carried(received, which) for which in (5, 6, 3, 4)]
    processing = received.part(11, 1) if received else ""
    mode = processing if processing in ("P", "D", "T") else "P"
    when = f"{now.astimezone(UTC):%Y%m%d%H%M%S}+0000"
    control = _carried(received, 10) if received else ""
    segments = [
        f"MSH|^~\\&|{'|'.join(names)}|{when}||{kind}|{number}|{mode}|2.5.1||||||UNICODE UTF-8",
        f"MSA|{code}|{control}" + (f"|{_escaped(verdict.sentence[:80])}" if verdict.sentence else ""),
    ]
    if verdict.letter != "A":
        segments.append(f"ERR|||{ERRORS[verdict.error]}|E||||{_escaped(verdict.sentence[:250])}")
    return ("\r".join(segments) + "\r").encode()


def _carried(received: Header | None, number: int) -> str:
    """A field of the received header, fit for our separators; text as it came, as far as UTF-8 goes."""
    if received is None:
        return ""
    text = received.field(number).encode("latin-1").decode("utf-8", "replace").strip()
    if received.fields[0] == "|" and received.component == "^" and number != 10:
        return text.replace("\x1c", "").replace("\x0b", "")
    return _escaped(text)


def _escaped(text: str) -> str:
    """Plain text for a field: separators escaped, control characters as blanks."""
    marks = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}
    return "".join(marks.get(char, char if char.isprintable() else " ") for char in text)
