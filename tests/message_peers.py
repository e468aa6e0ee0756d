"""Senders of ASTM and HL7 messages, written to the published specifications and to nothing of ours.

All messages are made up. Frames are built here from the standard's text (E1381: STX, frame number, text,
ETX or ETB, two hexadecimal digits, CR, LF), so that a mistake of ours is not made twice.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Sequence
from itertools import cycle
from typing import Self

TUBE = "440700000019"


def sum_of(inner: bytes) -> bytes:
    """Checksum of a frame: all bytes behind STX up to and including ETX or ETB, modulo 256, in hex."""
    total = 0
    for byte in inner:
        total = (total + byte) % 256
    return f"{total:02X}".encode()


def frames_of(message: bytes, size: int = 240, first: int = 1) -> list[bytes]:
    """A frame for each record, or as many as it needs."""
    made = []
    numbers = cycle([1, 2, 3, 4, 5, 6, 7, 0])
    for _ in range(first - 1):
        next(numbers)
    for record in message.split(b"\r")[:-1]:
        text = record + b"\r"
        while text:
            piece, text = text[:size], text[size:]
            inner = str(next(numbers)).encode() + piece + (b"\x17" if text else b"\x03")
            made.append(b"\x02" + inner + sum_of(inner) + b"\r\n")
    return made


def line(message: bytes, size: int = 240) -> bytes:
    """Everything a sender sends for one message, if it is never refused."""
    return b"\x05" + b"".join(frames_of(message, size)) + b"\x04"


Row = tuple[str, str, str, str, "float | None"]
"""Well, specimen, control, target, Cq."""


def astm_plate(plate: str, rows: Sequence[Row], control_id: str = "MSG-1", *, end: bool = True) -> bytes:
    """A plate as a message: an order for each well, a result for each target."""
    records = [f"H|\\^&|{control_id}||CYCLER^1.0|||||LIS||P|LIS2-A2|20221201101500", "P|1"]
    last, order, result = "", 0, 0
    for well, specimen, control, target, cq in rows:
        if well != last:
            order, result, last = order + 1, 0, well
            action = "Q" if control else "N"
            records.append(f"O|{order}|{specimen}|{plate}^{well}|^^^COV|R||||||{action}")
        result += 1
        value = "Undetermined" if cq is None else f"{cq}"
        records.append(f"R|{result}|^^^{target}^Ct|{value}|Ct||||F||anna|20221201080000|20221201100000|SN-7")
    return "".join(f"{one}\r" for one in [*records, *(["L|1|N"] if end else [])]).encode()


def hl7_plate(plate: str, rows: Sequence[Row], control_id: str = "MSG-1") -> bytes:
    """A plate as OUL^R22: a specimen with its place for each well, an observation for each target."""
    segments = [f"MSH|^~\\&|CYCLER|LAB|LIS|LAB|20221201101500+0800||OUL^R22^OUL_R22|{control_id}|P|2.5.1"]
    last, number, result = "", 0, 0
    for well, specimen, control, target, cq in rows:
        if well != last:
            number, result, last = number + 1, 0, well
            segments += [
                f"SPM|{number}|{specimen}||NSP|||||||{'Q' if control else 'P'}",
                f"SAC|||{specimen}|||||||{plate}|{well[0]}^{well[1:]}",
                "OBR|1|||COV^SARS-CoV-2^L",
            ]
        result += 1
        value = "Undetermined" if cq is None else f"{cq}"
        segments.append(
            f"OBX|{result}|ST|{target}^{target} gene^L||{value}|Ct|||||F|||20221201100000+0800||||SN-8"
        )
    return "".join(f"{one}\r" for one in segments).encode()


GENEXPERT = "".join(
    f"{record}\r"
    for record in (
        "H|@^\\|ODM-0001||ICU^GeneXpert^6.1|||||LIS||P|1394-97|20221201101500",
        "P|1",
        f"O|1|{TUBE}||^^^COV|R||||||||||ORH||||||||||F",
        "R|1|^COV^^COV1^Xpert COV^1^^|POSITIVE^|||||F||anna|20221201080000|20221201090000|PC^SN-1^M-2^C-3^L-4^20231201",
        "R|2|^COV^^COV1^^^E^|POS^|||||F",
        "R|3|^COV^^COV1^^^E^Ct|^22.4|||||F",
        "R|4|^COV^^COV1^^^E^EndPt|^312|||||F",
        "R|5|^COV^^COV1^^^N2^|NEG^|||||F",
        "R|6|^COV^^COV1^^^N2^Ct|^0|||||F",
        "C|1|I|Error^5011^Signal loss|N",
        "L|1|N",
    )
).encode()
"""One specimen without a plate, in the delimiters of Cepheid's interface."""

ORU = (
    b"MSH|^~\\&|CYCLER|LAB|LIS|LAB|20221201101500+0800||ORU^R01^ORU_R01|ORU-1|P|2.5.1\r"
    b"PID|1||SYN1^^^LAB||Made^Up\r"
    b"OBR|1||440700000019|94500-6^SARS-CoV-2 RNA^LN|||20221201100000+0800|||||||||||||||20221201101500+0800|||F\r"
    b"OBX|1|CWE|94316-7^SARS-CoV-2 N gene [Presence] in Respiratory specimen^LN||260373001^Detected^SCT|||A|||F|||20221201100000+0800\r"
    b"OBX|2|NM|94312-6^SARS-CoV-2 N gene [Cycle Threshold #] in Respiratory specimen^LN||21.7||||||F|||20221201100000+0800\r"
    b"SPM|1|440700000019||NSP^Nasopharyngeal^L\r"
)
"""One specimen without a plate, coded with LOINC and SNOMED CT."""


class Instrument:
    """The sending end of a line that knows its specification: it waits for each answer, and repeats."""

    def __init__(self, port: int, seconds: float = 30.0) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ahead = b""  # of the next block

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.socket.close()

    def say(self, data: bytes, pieces: Iterable[int] = ()) -> None:
        """Send bytes, cut after the given numbers of bytes."""
        for size in pieces:
            self.socket.sendall(data[:size])
            data = data[size:]
        if data:
            self.socket.sendall(data)

    def hear(self, size: int = 1) -> bytes:
        """The next bytes of the other side; fewer when it hung up."""
        got = b""
        while len(got) < size:
            more = self.socket.recv(size - len(got))
            if not more:
                break
            got += more
        return got

    def asked(self, data: bytes, pieces: Iterable[int] = ()) -> bytes:
        """Send, and the one byte that answers."""
        self.say(data, pieces)
        return self.hear()

    def sends(self, message: bytes, size: int = 240) -> list[bytes]:
        """A whole message, frame by frame; every answer."""
        answers = [self.asked(b"\x05")]
        answers += [self.asked(frame) for frame in frames_of(message, size)]
        self.say(b"\x04")
        return answers

    def block(self) -> bytes:
        """The next MLLP block, without its envelope."""
        got, self.ahead = self.ahead, b""
        while b"\x1c\r" not in got:
            more = self.socket.recv(4096)
            assert more, got
            got += more
        block, self.ahead = got.split(b"\x1c\r", 1)
        assert block[:1] == b"\x0b"
        return block[1:]


def mllp(message: bytes) -> bytes:
    """A message in its envelope, as the implementation guide of MLLP writes it."""
    return b"\x0b" + message + b"\x1c\x0d"


def cut(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    """The bytes in pieces of these sizes, and the rest."""
    for size in sizes:
        yield data[:size]
        data = data[size:]
    yield data
