"""The link of ASTM E1381 (CLSI LIS01-A2), both directions, without a socket or a clock.

Bytes and moments go in (:meth:`Link.receive`, :meth:`Link.tick`), actions come out. A message that is whole
(``H`` to ``L``) comes out as :class:`Arrived` *before* the frame that completed it is acknowledged: whoever
stored it says so with :meth:`Link.settle`, and only then the ACK is among the actions. Until that, what the
sender sends next waits.

Timings, sizes and numbers are those of the standard: a frame within 30 s, an answer within 15 s, six
refusals of one frame, 10 s after a refused ENQ, 20 s after two ENQs met (the instrument goes first). Frames
of more than the 240 characters of the standard are taken up to :data:`MAX_FRAME`; a missing CR LF
behind the checksum, or LF behind a record's CR, is tolerated.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from enum import Enum

from instruments.dialects.astm_frames import (
    ACK,
    ENQ,
    EOT,
    ETX,
    LINES,
    NAK,
    STX,
    Action,
    Arrived,
    Broken,
    Reply,
    Trouble,
    checksum,
    frames,
)

MAX_FRAME = 64_000
MAX_MESSAGE = 8 * 2**20
FRAME_SECONDS, REPLY_SECONDS, BUSY_SECONDS, CONTENTION_SECONDS = 30.0, 15.0, 10.0, 20.0
LATE_SECONDS = 1.0
"""An answer so shortly before the sender's patience ends may cross with what it sends next."""
TRIES = 6
MOST_WAITING = 16
"""Messages of ours that may wait for a free line."""
_START = re.compile(rb"[\x02\x04\x05]")
_MARK = re.compile(rb"[\x02\x03\x04\x05\x17]")


class State(Enum):
    """Where the link stands."""

    NEUTRAL = "neutral"
    RECEIVING = "receiving"
    ASKING = "asking"  # our ENQ is out
    SENDING = "sending"  # a frame of ours is out


@dataclass
class _Held:
    """A good frame whose acknowledgement waits until its messages are stored."""

    number: int
    content: bytes
    records: list[bytes]
    open: bytes
    todo: deque[bytes]
    since: float
    broken: list[bytes] = field(default_factory=list)


class Link:
    """One connection with an instrument.

    Attributes:
        deadline: moment (as given by the caller, in seconds) at which :meth:`tick` is due; None: never.
        state: where the link stands.
    """

    def __init__(self, max_frame: int = MAX_FRAME, max_message: int = MAX_MESSAGE) -> None:
        self.state = State.NEUTRAL
        self.deadline: float | None = None
        self._max_frame = max_frame
        self._max_message = max_message
        self._buffer = bytearray()
        self._scanned = 1
        self._held: _Held | None = None
        self._outgoing: deque[list[bytes]] = deque()
        self._sent = 0
        self._tries = 0
        self._rounds = 0
        self._begin()

    def _begin(self) -> None:
        """Forget the transfer: nothing received, frame 1 comes next."""
        self._records: list[bytes] = []
        self._open = b""
        self._size = 0
        self._last: tuple[int, bytes] | None = None
        self._refused = 0
        self._overfull = False

    # ------------------------------------------------------------------ what the owner calls
    def receive(self, data: bytes, now: float) -> list[Action]:
        """Take bytes that arrived at ``now``."""
        self._buffer += data
        return self._work(now)

    def settle(self, now: float, *, stored: bool) -> list[Action]:
        """Answer for the last :class:`Arrived`: committed, or not (the sender is asked to send again).

        A sender waits 15 s for an answer and then begins anew. An ACK that comes later would be taken for
        the answer to what was sent meanwhile, so nothing is said: the message comes again, and is known.

        Raises:
            RuntimeError: no message waits for an answer.
        """
        held = self._held
        if held is None:
            raise RuntimeError("No message waits to be settled.")
        if stored:
            held.todo.popleft()
            if held.todo:
                return [Arrived(held.todo[0])]
        self._held = None
        said = self._accept(held, now) if stored else self._refuse("it could not be stored", now)
        if now - held.since >= REPLY_SECONDS - LATE_SECONDS:
            said = [action for action in said if not isinstance(action, Reply)]
        return [*said, *self._work(now)]

    def tick(self, now: float) -> list[Action]:
        """Let time act: give up a silent sender, repeat an ENQ that was refused."""
        if self.deadline is None or now < self.deadline or self._held is not None:
            return []
        if self.state is State.RECEIVING:
            return [*self._leave("nothing came for 30 s", now, self._piece()), *self._work(now)]
        if self.state is State.NEUTRAL:
            return self._ask(now)
        return [Reply(EOT), *self._postpone(now, BUSY_SECONDS, "no answer within 15 s")]

    def close(self) -> list[Action]:
        """The connection is gone."""
        found = self._remains("the connection was lost", self._piece())
        self._begin()
        self.state, self.deadline = State.NEUTRAL, None
        return found

    def send(self, message: bytes, now: float) -> list[Action]:
        """Send a message as soon as the line is free."""
        if len(self._outgoing) < MOST_WAITING:
            self._outgoing.append(frames(message))
        return self._ask(now) if self.state is State.NEUTRAL and self.deadline is None else []

    # ------------------------------------------------------------------ taking bytes apart
    def _work(self, now: float) -> list[Action]:
        actions: list[Action] = []
        while self._buffer and self._held is None:
            step = self._received if self.state is State.RECEIVING else self._replied
            found = self._called(now) if self.state is State.NEUTRAL else step(now)
            if found is None:
                break
            actions += found
        return actions

    def _called(self, now: float) -> list[Action] | None:
        """In neutral state only ENQ means anything."""
        at = self._buffer.find(ENQ)
        if at < 0:
            self._buffer.clear()
            return None
        del self._buffer[: at + 1]
        return self._open_transfer(now)

    def _open_transfer(self, now: float) -> list[Action]:
        self._begin()
        self.state = State.RECEIVING
        self._scanned = 1
        self.deadline = now + FRAME_SECONDS
        return [Reply(ACK)]

    def _received(self, now: float) -> list[Action] | None:
        """The next frame, EOT or ENQ; None when more bytes are needed."""
        found = _START.search(self._buffer)
        if found is None:
            self._buffer.clear()
            return None
        kind = found.group()  # now: the match looks into the buffer, which changes
        del self._buffer[: found.start()]
        if kind == EOT:
            del self._buffer[:1]
            return self._leave("the sender ended before the last record (L)", now)
        if kind == ENQ:
            del self._buffer[:1]
            return [*self._remains("the sender began anew"), *self._open_transfer(now)]
        return self._frame(now)

    def _frame(self, now: float) -> list[Action] | None:
        mark = _MARK.search(self._buffer, self._scanned)
        if mark is None:
            self._scanned = len(self._buffer)
            if len(self._buffer) <= self._max_frame + 2:
                return None
            self._buffer.clear()
            self._scanned = 1
            return self._refuse("it is longer than a frame may be", now)
        at, kind = mark.start(), mark.group()
        if kind == STX:  # the frame before it lost its end
            del self._buffer[:at]
            self._scanned = 1
            return []
        if kind in (ENQ, EOT):
            tail = bytes(self._buffer[:at])
            del self._buffer[: at + 1]
            self._scanned = 1
            reason = "the sender gave up in the middle of a frame"
            if kind == EOT:
                return self._leave(reason, now, tail)
            return [*self._remains(reason, tail), *self._open_transfer(now)]
        if len(self._buffer) < at + 3:
            self._scanned = at
            return None
        whole = bytes(self._buffer[: at + 3])
        del self._buffer[: at + 3]
        self._scanned = 1
        return self._judge(whole[1:at], kind, whole[at + 1 :], now)

    def _judge(self, inner: bytes, end: bytes, given: bytes, now: float) -> list[Action]:
        if checksum(inner + end) != given.upper():
            return self._refuse("its checksum is wrong", now)
        number = inner[0] - 48 if inner else -1
        if not 0 <= number <= 7:
            return self._refuse("it has no frame number", now)
        if len(inner) - 1 > self._max_frame:
            return self._refuse("it is longer than a frame may be", now)
        expected = 1 if self._last is None else (self._last[0] + 1) % 8
        content = inner + end
        if number != expected:
            if self._last is not None and self._last == (number, content):
                return self._acknowledge(now)  # our ACK was lost; the frame is stored once
            return self._refuse(f"it has number {number} where {expected} is next", now)
        return self._take(number, content, now)

    def _take(self, number: int, content: bytes, now: float) -> list[Action]:
        if self._overfull or self._size + len(content) > self._max_message:
            kind = [] if self._overfull else [Trouble("too-large", f"over {self._max_message} bytes")]
            self._overfull = True
            return [*kind, *self._refuse("the message is too large", now)]
        held = self._cut(number, content, now)
        if not held.todo:
            return self._accept(held, now)
        self._held = held
        self.deadline = None
        return [Arrived(held.todo[0])]

    def _cut(self, number: int, content: bytes, now: float) -> _Held:
        """Cut the records of a frame, and the messages that end in it."""
        *whole, rest = LINES.split(self._open + content[1:-1])
        if content[-1:] == ETX and rest:  # a record whose CR was left out
            whole, rest = [*whole, rest], b""
        fresh = [record for record in whole if record]
        # A frame that ends a message may yet be refused: what came before it must then stand as it was.
        before = [*self._records] if any(map(_ends, fresh)) else self._records
        held = _Held(number, content, before, rest, deque(), now)
        for record in fresh:
            if record[:1] == b"H" and held.records:
                held.broken.append(_joined(held.records))
                held.records = []
            held.records.append(record)
            if _ends(record):
                whole_message = held.records[0][:1] == b"H"
                (held.todo if whole_message else held.broken).append(_joined(held.records))
                held.records = []
        return held

    # ------------------------------------------------------------------ answers
    def _accept(self, held: _Held, now: float) -> list[Action]:
        self._last = (held.number, held.content)
        self._records, self._open = held.records, held.open
        self._size = self._size + len(held.content) if self._records or self._open else 0
        self._refused = 0
        reason = "another header (H) came before the last record (L), or records came without a header"
        return [*(Broken(text, reason) for text in held.broken), *self._acknowledge(now)]

    def _acknowledge(self, now: float) -> list[Action]:
        self.deadline = now + FRAME_SECONDS
        return [Reply(ACK)]

    def _refuse(self, why: str, now: float) -> list[Action]:
        self.deadline = now + FRAME_SECONDS
        self._refused += 1
        told = [Trouble("frame-refused", f"a frame was refused {TRIES} times, the last time because {why}")]
        return [Reply(NAK), *(told if self._refused == TRIES else [])]

    def _leave(self, reason: str, now: float, tail: bytes = b"") -> list[Action]:
        """The transfer is over."""
        found = self._remains(reason, tail)
        self._begin()
        self.state, self.deadline = State.NEUTRAL, None
        return [*found, *self._ask(now)]

    def _piece(self) -> bytes:
        """The frame that has begun and will not end."""
        piece = bytes(self._buffer) if self.state is State.RECEIVING else b""
        self._buffer.clear()
        self._scanned = 1
        return piece if piece[:1] == STX else b""

    def _remains(self, reason: str, tail: bytes = b"") -> list[Action]:
        """Evidence of a message that did not end."""
        text = _joined(self._records) + self._open + tail
        return [Broken(text, reason)] if text else []

    # ------------------------------------------------------------------ our own messages
    def _ask(self, now: float) -> list[Action]:
        if not self._outgoing:
            self.deadline = None
            return []
        self.state, self.deadline = State.ASKING, now + REPLY_SECONDS
        return [Reply(ENQ)]

    def _replied(self, now: float) -> list[Action]:
        """One byte of an answer to our ENQ or frame."""
        byte = bytes(self._buffer[:1])
        del self._buffer[:1]
        if self.state is State.ASKING:
            return self._asked(byte, now)
        if byte in (ACK, EOT):  # EOT asks us to stop soon; a short message may end first
            return self._next(now)
        if byte in b"\r\n":
            return []
        self._tries += 1
        if self._tries >= TRIES:
            self._outgoing.popleft()
            self.state, self.deadline = State.NEUTRAL, None
            return [Reply(EOT), Trouble("answer-refused", f"our frame was refused {TRIES} times")]
        self.deadline = now + REPLY_SECONDS
        return [Reply(self._outgoing[0][self._sent])]

    def _asked(self, byte: bytes, now: float) -> list[Action]:
        if byte == ACK:
            self.state, self._sent, self._tries = State.SENDING, -1, 0
            return self._next(now)
        if byte == ENQ:  # both asked: the instrument goes first, and asks again
            self.state, self.deadline = State.NEUTRAL, now + CONTENTION_SECONDS
            return []
        if byte == NAK:
            return self._postpone(now, BUSY_SECONDS, "the instrument is busy")
        return []

    def _next(self, now: float) -> list[Action]:
        self._sent += 1
        self._tries = 0
        if self._sent < len(self._outgoing[0]):
            self.deadline = now + REPLY_SECONDS
            return [Reply(self._outgoing[0][self._sent])]
        self._outgoing.popleft()
        self._rounds = 0
        self.state, self.deadline = State.NEUTRAL, None
        if self._outgoing:
            self.deadline = now  # another message follows at the next tick, after the instrument's turn
        return [Reply(EOT)]

    def _postpone(self, now: float, seconds: float, why: str) -> list[Action]:
        self._rounds += 1
        self.state, self.deadline = State.NEUTRAL, now + seconds
        if self._rounds < TRIES:
            return []
        self._outgoing.popleft()
        self._rounds = 0
        self.deadline = None if not self._outgoing else self.deadline
        return [Trouble("answer-refused", f"our message was given up: {why}")]


def _ends(record: bytes) -> bool:
    """Whether it is the last record of a message."""
    return record[:1] == b"L" and not record[1:2].isalnum()


def _joined(records: list[bytes]) -> bytes:
    return b"".join(record + b"\r" for record in records)


def messages(wire: bytes) -> list[Arrived | Broken]:
    """The messages in bytes that were recorded on the line, frames, ENQ and EOT included."""
    link = Link()
    found: list[Arrived | Broken] = []
    actions = link.receive(ENQ + wire.lstrip(ENQ), 0.0)
    while actions:
        more: list[Action] = []
        for action in actions:
            if isinstance(action, (Arrived, Broken)):
                found.append(action)
            if isinstance(action, Arrived):
                more += link.settle(0.0, stored=True)
        actions = more
    return found + [action for action in link.close() if isinstance(action, Broken)]
