"""Mutated ASTM and HL7 messages, a million by default: no exception, no hang, no answer left out.

``NAT_LIS_SOAK_MESSAGES`` sets how many, ``NAT_LIS_SOAK_SEED`` which. Every tenth line is damaged on the wire, where checksums catch most of
it; the others are damaged before they are framed, so that the damage reaches the readers.
"""

from __future__ import annotations

import collections
import os
import random
import time

import pytest
from message_peers import GENEXPERT, ORU, TUBE, astm_plate, hl7_plate, line, mllp

from instruments import InstrumentError, read
from instruments.dialects.talks import Answer, AstmTalk, Hl7Talk, Transmission

COUNT = int(os.environ.get("NAT_LIS_SOAK_MESSAGES", "1000000"))
SEED = int(os.environ.get("NAT_LIS_SOAK_SEED", "20221201"))
LONGEST_S = 1.0
ROWS = [("A1", TUBE, "", "N", 22.5), ("H12", "NTC", "NTC", "N", None)]
ASTM = [astm_plate("P00000018", ROWS), GENEXPERT]
HL7 = [hl7_plate("P00000018", ROWS), ORU]
TOKENS = [
    b"\x02", b"\x03", b"\x04", b"\x05", b"\x06", b"\x15", b"\x17", b"\x0b", b"\x1c", b"\r", b"\n", b"\0", b"|", b"^", b"\\",
    b"&", b"~", b"\xff", b"\x81", "阴性".encode(), "阴性".encode("gb18030"), b"-1", b"0", b"1e309", b"nan", b"9" * 400,
    b"22,5", b"\\X41\\", b"\\XGG\\", b"&XZZ&", b"H|\\^&", b"MSH|^~\\&|", b"L|1|N\r", b"OBX|1|NM|N||\r", b"20221301250061+9999",
    b"|" * 200, b"^" * 200, b"\r" * 50, b"OBR|\r", b"SAC|||||||||||A1\r", b'""',
]  # fmt: skip


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Bytes with one to six faults: flips, cuts, doublings, swaps, words of the trade where none belong."""
    text = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        at, other = rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)
        low, high = sorted((at, other))
        match rng.randrange(7):
            case 0 if text:
                text[at % len(text)] = rng.randrange(256)
            case 1:
                del text[low : min(high, low + rng.randrange(40))]
            case 2:
                text[at:at] = text[low : min(high, low + 80)]
            case 3 | 4:
                text[at:at] = rng.choice(TOKENS)
            case 5:
                end = text.find(b"|", at)
                text[at : end if end > 0 else at] = rng.choice(TOKENS)
            case _:
                del text[at if rng.random() < 0.1 else len(text) :]
    return bytes(text)


class Fed:
    """Both dialects, and what was kept of what they were fed."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.kept: list[Transmission] = []
        self.seen: collections.Counter[str] = collections.Counter()

    def keep(self, made: Transmission) -> Answer:
        """Keep it; now and then the store fails."""
        self.kept.append(made)
        return Answer("later" if self.rng.random() < 0.02 else "stored", "busy")

    def tell(self, kind: str, detail: str) -> None:
        """Count the events."""
        assert detail
        self.seen[f"told {kind}"] += 1

    def feed(self, number: int) -> None:
        """One damaged message through its talk in pieces, and everything that was kept through its reader."""
        rng = self.rng
        wire = rng.random() < 0.1
        if number % 2:
            text = damaged(rng.choice(ASTM), rng)
            data = damaged(line(rng.choice(ASTM)), rng) if wire else line(text + b"\r", rng.choice([60, 240]))
            talk: AstmTalk | Hl7Talk = AstmTalk("GX", self.keep, self.tell)
        else:
            text = damaged(rng.choice(HL7), rng)
            data = damaged(mllp(rng.choice(HL7)), rng) if wire else mllp(text)
            talk = Hl7Talk("HL", self.keep, self.tell)
        cut = rng.randrange(len(data) + 1)
        for now, piece in enumerate((data[:cut], data[cut:])):
            for reply in talk.receive(piece, float(now)):
                self.seen[f"reply {reply[:1]!r}"] += 1
        for reply in talk.tick(100.0):
            self.seen[f"late {reply[:1]!r}"] += 1
        talk.close()
        for made in self.kept:
            self.look(made.name, made.data)
        self.kept.clear()
        if not wire and rng.random() < 0.2:
            self.look("raw", text)

    def look(self, name: str, data: bytes) -> None:
        """Read it: a run, or a sentence that is our own and not the trace of a crash."""
        try:
            run = read(name, data)
        except InstrumentError as error:
            self.seen[error.code] += 1
            if "looks like a known export" in error.sentence:  # what the net under all readers says
                raise AssertionError(data) from error
            return
        self.seen["complete" if run.complete else "incomplete"] += 1
        assert run.complete or run.reasons


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_a_million_damaged_messages_crash_and_hang_nothing():
    """Each message is answered or left as evidence, each transmission is read or refused in a sentence, within a second."""
    fed = Fed(random.Random(SEED))
    started, longest = time.monotonic(), 0.0
    for number in range(COUNT):
        begun = time.thread_time()
        fed.feed(number)
        longest = max(longest, time.thread_time() - begun)
        assert longest < LONGEST_S, number
    spent = time.monotonic() - started
    print(
        f"\n{COUNT} messages in {spent:.0f} s ({COUNT / spent:.0f}/s), slowest {longest * 1000:.1f} ms of CPU"
    )
    for what, often in sorted(fed.seen.items()):
        print(f"{what:35} {often}")
    assert fed.seen["complete"]
    assert fed.seen["incomplete"]
