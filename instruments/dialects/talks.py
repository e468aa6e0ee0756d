"""One connection in one dialect: bytes in, bytes out, and in between what must be kept.

A talk knows neither sockets nor threads. What it must keep it hands to ``keep`` and waits for the answer:
the sender is told that a message is taken only after ``keep`` said so.
"""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, Protocol

from instruments.dialects import astm_frames, astm_link, astm_records, mllp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Dialect = Literal["astm", "hl7"]
DIALECTS: tuple[Dialect, ...] = ("astm", "hl7")
RESULTS = ("ORU^R01", "OUL^R22")


@dataclass(frozen=True)
class Transmission:
    """Something to be kept: a message, or what is left of one.

    Attributes:
        run: identity of the message at its sender: its control id, else its content.
        name: name of a file for it.
        data: ASTM: the records, each ended by CR, without frames (their numbers change when a message is
            sent again); HL7: the message in its envelope.
        fault: why it is not a whole message; "" for one that is.
        made_at: when the sender says it was made, as written, without a zone.
    """

    run: str
    name: str
    data: bytes
    fault: str = ""
    made_at: datetime | None = None


@dataclass(frozen=True)
class Answer:
    """What became of a transmission: ``stored``, ``duplicate``, ``later`` (try again) or ``never``."""

    status: Literal["stored", "duplicate", "later", "never"]
    sentence: str = ""

    @property
    def committed(self) -> bool:
        """Whether it is safe."""
        return self.status in ("stored", "duplicate")


class Talk(Protocol):
    """One connection."""

    @property
    def deadline(self) -> float | None:
        """Moment at which :meth:`tick` is due."""
        ...

    def receive(self, data: bytes, now: float) -> Iterator[bytes]:
        """Take bytes; what is to be sent, piece by piece."""
        ...

    def tick(self, now: float) -> Iterator[bytes]:
        """Let time act."""
        ...

    def close(self) -> None:
        """The connection is gone; what was unfinished is kept as evidence."""
        ...


def named(device: str, run: str, at: datetime, dialect: Dialect, fault: str = "") -> str:
    """Name of a file: time, device and run, of which only what a file name can hold."""
    clean = [re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:60] for text in (device, run)]
    ending = "-incomplete" if fault else ""
    return f"{at:%Y%m%dT%H%M%S}-{'-'.join(part for part in clean if part)}{ending}.{dialect}"


def _transmission(
    device: str,
    dialect: Dialect,
    control_id: str,
    made_at: datetime | None,
    data: bytes,
    fault: str = "",
) -> Transmission:
    digest = hashlib.sha256(data).hexdigest()
    control_id = astm_records.plain(control_id.encode("latin-1", "replace").decode("utf-8", "replace"))
    run = control_id[:200] or f"sha256:{digest[:16]}"
    if fault:  # the whole message, when it comes, is no conflict with its own beginning
        run = f"{run} incomplete {digest[:16]}"
    at = made_at or datetime.now(UTC)
    return Transmission(
        run, named(device, control_id[:200] or digest[:12], at, dialect, fault), data, fault, made_at
    )


class AstmTalk:
    """An instrument that speaks ASTM E1381 and E1394; ``clock`` tells how long keeping took, in seconds."""

    def __init__(
        self,
        device: str,
        keep: Callable[[Transmission], Answer],
        report: Callable[[str, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._device = device
        self._keep = keep
        self._report = report
        self._clock = clock
        self._link = astm_link.Link()

    @property
    def deadline(self) -> float | None:
        """Moment at which :meth:`tick` is due."""
        return self._link.deadline

    def receive(self, data: bytes, now: float) -> Iterator[bytes]:
        """Take bytes; what is to be sent."""
        yield from self._act(self._link.receive(data, now), now)

    def tick(self, now: float) -> Iterator[bytes]:
        """Let time act."""
        yield from self._act(self._link.tick(now), now)

    def close(self) -> None:
        """Keep what was unfinished."""
        for _ in self._act(self._link.close(), 0.0):
            pass

    def _act(self, actions: list[astm_frames.Action], now: float) -> Iterator[bytes]:
        waiting = list(actions)
        while waiting:
            action = waiting.pop(0)
            match action:
                case astm_frames.Reply(data):
                    yield data
                case astm_frames.Arrived(text):
                    envelope = astm_records.envelope(text)
                    begun = self._clock()
                    stored = self._taken(text, envelope)
                    now += self._clock() - begun
                    waiting += self._link.settle(now, stored=stored)
                    if envelope.is_query:
                        waiting += self._link.send(astm_records.nothing_for(text, datetime.now(UTC)), now)
                case astm_frames.Broken(text, reason):
                    found = astm_records.envelope(text)
                    self._keep(
                        _transmission(self._device, "astm", found.control_id, found.made_at, text, reason)
                    )
                case astm_frames.Trouble(kind, detail):
                    self._report(kind, detail)

    def _taken(self, text: bytes, envelope: astm_records.Envelope) -> bool:
        """Whether a message may be acknowledged: it is committed, or there is nothing in it to keep."""
        if envelope.is_query or envelope.is_empty:
            return True
        made = _transmission(self._device, "astm", envelope.control_id, envelope.made_at, text)
        return self._keep(made).committed


class Hl7Talk:
    """An instrument that sends HL7 v2 over MLLP."""

    deadline = None

    def __init__(
        self, device: str, keep: Callable[[Transmission], Answer], report: Callable[[str, str], None]
    ) -> None:
        self._device = device
        self._keep = keep
        self._report = report
        self._framer = mllp.Framer()

    def receive(self, data: bytes, now: float) -> Iterator[bytes]:
        """Take bytes; the acknowledgements of the messages in them."""
        del now
        for piece in self._framer.receive(data):
            yield from self._answer(piece)

    def tick(self, now: float) -> Iterator[bytes]:
        """Nothing is timed."""
        del now
        yield from ()

    def close(self) -> None:
        """Keep what was unfinished."""
        for piece in self._framer.close():
            for _ in self._answer(piece):
                pass

    def _answer(self, piece: mllp.Piece) -> Iterator[bytes]:
        head = mllp.header(piece.data)
        if isinstance(piece, mllp.Cut):
            if piece.data.strip():
                self._keep(self._made(head, mllp.START + piece.data, "it lost its end"))
            return
        verdict = self._judged(piece, head)
        now = datetime.now(UTC)
        for message in mllp.acknowledgements(head, verdict, now, f"{now:%y%m%d%H%M%S%f}"):
            yield mllp.wrap(message)

    def _judged(self, piece: mllp.Block | mllp.TooLong, head: mllp.Header | None) -> mllp.Verdict:
        if isinstance(piece, mllp.TooLong):
            sentence = f"The message has {piece.size} bytes, over {mllp.MAX_BLOCK}. Send the results alone."
            self._report("too-large", sentence)
            return mllp.Verdict("R", sentence)
        if head is not None and head.kind not in RESULTS:
            sentence = (
                f"Messages of type {head.kind or '(none)'} are not taken here; send {' or '.join(RESULTS)}."
            )
            self._report("message-unsupported", sentence)
            return mllp.Verdict("R", sentence, "unsupported")
        fault = "" if head is not None else "it has no header (MSH)"
        answer = self._keep(self._made(head, mllp.wrap(piece.data), fault))
        if not answer.committed:
            return mllp.Verdict("E" if answer.status == "later" else "R", answer.sentence)
        if fault:  # kept for a person; sending it again would change nothing
            return mllp.Verdict("R", "The message has no header (MSH). It is kept for a person.", "required")
        return mllp.Verdict("A")

    def _made(self, head: mllp.Header | None, data: bytes, fault: str) -> Transmission:
        control, made_at = (head.control_id, head.made_at) if head else ("", None)
        return _transmission(self._device, "hl7", control, made_at, data, fault)
