"""The server's end of the link to the instruments: one ROUTER socket, one loop, a few workers.

Who a device is, is told by its CURVE key alone: the key is checked when a device connects and again
at every message, so that a revoked key is deaf and mute at once. The loop never waits for the
handler; files of one device are handled in order, devices do not wait for each other.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import tempfile
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Self

import zmq

from instruments import wire
from instruments.admission import Admission, later
from instruments.desk import Desk, Job, Outlet
from instruments.door import ENROLMENTS, Door
from instruments.flood import (
    BUSY_POINTS,
    PING_POINTS,
    UNREADABLE_POINTS,
    Allowance,
    Penalties,
    cost_of,
    hang_up,
)
from instruments.intake import BridgeEvent, Intake, PartFolders, Reads, Receipt, Refused, Shipment
from instruments.limits import Limits
from instruments.notices import HEARD, Notices
from instruments.sockets import KeyPair, listen, new_keypair, receive, send

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Bridge",
    "BridgeEvent",
    "KeyPair",
    "Limits",
    "Reads",
    "Receipt",
    "Refused",
    "Shipment",
    "new_keypair",
]

LOG = logging.getLogger("instruments.bridge")

_TURN_S = 0.002
"""For so long at most messages are taken before the answers to earlier ones go out."""

SERVER = "server"
"""Who an event is about that concerns no device."""

_UNREADABLE = (
    "the list of devices cannot be read: nothing is taken from any instrument until the database answers"
)
_FLOODING = "more came at once than any cycler sends; what is too much is passed over unread"
_CUT_OFF = (
    "it sent on from {} after all it may send; its connection was shut down and its key is refused for "
    "{:.0f} s. Stop the program there, or revoke the device"
)


class Bridge:
    """Receives run files and live readings from enrolled devices.

    Args:
        endpoint: where to listen, for example ``tcp://0.0.0.0:5570`` (``*`` as port: any free one).
        keys: the bridge's own key pair.
        enrolled: public key (Z85) -> the device's name, or None. Asked at every message from the
            loop, so it must be quick and may be called while the handler runs.
        handler: commits a shipment and returns its receipt; :class:`Refused` refuses it for good, any
            other exception has it sent again. Called from worker threads, never twice at a time for
            one device; it must recognise what it has by (instrument, run, sha256).
        door: lets agents enrol with a code; None: every key that is not enrolled is refused.
        on_event: told what belongs in the audit trail or wakes somebody, in a thread of its own.
        on_reads: live readings, in a thread of its own; the oldest are dropped when it lags.
        limits: how much may wait and run at once.
    """

    def __init__(  # noqa: PLR0913 - what the laboratory does with each kind of news
        self,
        endpoint: str,
        keys: KeyPair,
        enrolled: Callable[[bytes], str | None],
        handler: Callable[[Shipment], Receipt],
        *,
        door: Door | None = None,
        on_event: Callable[[BridgeEvent], None] | None = None,
        on_reads: Callable[[Reads], None] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._keys = keys
        self._enrolled = enrolled
        self._handler = handler
        self._door = door
        self._on_event = on_event or (lambda _event: None)
        self._on_reads = on_reads or (lambda _reads: None)
        self._limits = limits or Limits()
        self._notices = Notices(self._tell)
        self._penalties = Penalties(self._limits.penalty_s)
        self._admission = Admission(enrolled, door, self._notices, self._penalties)
        self._stop = threading.Event()
        self._replies: deque[tuple[bytes, wire.Message]] = deque()
        self._resources = contextlib.ExitStack()
        self._allowance = Allowance(self._limits.burst, self._limits.a_second, self._limits.patience)
        self._loop: threading.Thread | None = None

    # ------------------------------------------------------------------ life
    def start(self) -> Self:
        """Listen and work; ``endpoint`` then names the real address.

        Raises:
            RuntimeError: it runs already.
            zmq.ZMQError: the address cannot be bound.
        """
        if self._loop is not None:
            raise RuntimeError("This bridge is running.")
        with contextlib.ExitStack() as opened:
            self._open(opened)
            self._resources = opened.pop_all()
        self._loop = threading.Thread(target=self._run, name="bridge", daemon=True)
        for thread in (*self._crew, self._loop):
            thread.start()
        self._notices.event("started", None, f"listening on {self.endpoint}")
        return self

    def _open(self, opened: contextlib.ExitStack) -> None:
        self._stop.clear()
        self._replies.clear()
        spool = self._limits.spool or Path(
            opened.enter_context(tempfile.TemporaryDirectory(prefix="nat-lis-parts-"))
        )
        self._zap, self._router = listen(opened, self.endpoint, self._keys)
        self.endpoint = self._router.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
        self._port = int(self.endpoint.rpartition(":")[2])
        self._bell, self._waker = (opened.enter_context(end) for end in socket.socketpair())
        self._bell.setblocking(False)
        self._waker.setblocking(False)
        self._events = Outlet("bridge-events", self._on_event, 10_000)
        self._reads = Outlet("bridge-reads", self._on_reads, self._limits.reads)
        self._desk = Desk(self._limits.queue)
        self._intake = Intake(
            self._handler, PartFolders(spool), self._notices.report, self._limits.file_bytes
        )
        self._crew = [
            threading.Thread(target=self._work, name=f"bridge-worker-{number}", daemon=True)
            for number in range(self._limits.workers)
        ]

    def stop(self, seconds: float = 5.0) -> None:
        """Let running handler calls end (at most ``seconds``), send their answers, close.

        Shipments that still wait are not acknowledged: their agents keep them and send them again.
        """
        if self._loop is None:
            return
        self._desk.close()
        end = time.monotonic() + seconds
        for thread in self._crew:
            thread.join(max(0.0, end - time.monotonic()))
        self._stop.set()
        self._wake()
        self._loop.join()
        self._loop = None
        self._resources.close()
        self._notices.event("stopped", None, f"no longer listening on {self.endpoint}")
        self._events.close(seconds)
        self._reads.close(seconds)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.stop()

    # ------------------------------------------------------------------ figures and events
    def snapshot(self) -> dict[str, int]:
        """Counters since the start, by name; a name that never happened is absent."""
        figures = self._notices.figures()
        figures["reads_dropped"] = self._reads.dropped
        figures["events_dropped"] = self._events.dropped
        return figures

    def _tell(self, event: BridgeEvent) -> None:
        self._events.put(event)

    # ------------------------------------------------------------------ the loop, only user of the sockets
    def _run(self) -> None:
        poller = zmq.Poller()
        for source in (self._zap, self._router, self._bell):
            poller.register(source, zmq.POLLIN)
        while not self._stop.is_set():
            try:
                ready = dict(poller.poll())
                if self._zap in ready:
                    self._admit()
                if self._router in ready:
                    self._receive()
                self._answer_all()
            except Exception:
                self._notices.count("loop_errors")
                LOG.exception("the bridge went over an error in its loop")
        self._answer_all()

    def _admit(self) -> None:
        request = self._zap.recv_multipart()
        try:
            reply = self._admission.answer(request)
        except Exception:
            reply = later(request)
            self._notices.count("loop_errors")
            LOG.exception("a device could not be admitted")
        self._zap.send_multipart(reply)

    def _receive(self) -> None:
        """Take what has arrived, but not so much at once that answers wait."""
        end = time.monotonic() + _TURN_S
        while time.monotonic() < end:
            try:
                frames = receive(self._router)
            except zmq.Again:
                return
            self._notices.count("messages")
            try:
                self._message(frames)
            except Exception:
                self._notices.count("loop_errors")
                LOG.exception("a message was passed over; its sender will send it again")

    def _message(self, frames: list[zmq.Frame]) -> None:
        routing_id, sender = frames[0].bytes, frames[-1]
        key, now = str(sender.get("User-Id")).encode(), time.monotonic()
        if self._penalties.bars(key, now):
            self._hang_up(sender)  # what was under way when it was cut off, or another connection of it
            return
        if not self._allowance.takes(key, cost_of(frames), now):
            self._pass_over(key, sender, now)
            return
        if not (routing_id[:1] == b"\0" or routing_id == wire.routing_id(key)):
            # Not answered: the answer would travel to the device this address belongs to.
            self._allowance.charge(key, UNREADABLE_POINTS, now)
            self._notices.once("stolen-address", None, "a device used the address of another", key)
            return
        pieces = [frame.bytes for frame in frames[1:]]
        try:
            message = wire.decode(pieces)
        except wire.WireError as error:
            self._allowance.charge(key, UNREADABLE_POINTS, now)
            self._bad_frames(routing_id, key, error)
            return
        if message.type == wire.ENROL:
            self._queue_enrolment(Job(routing_id, ENROLMENTS, message, key, _peer(sender)))
            return
        device = self._device_now(routing_id, key, message.message_id)
        if device is not None:
            self._dispatch(Job(routing_id, device, message), key)

    def _pass_over(self, key: bytes, sender: zmq.Frame, now: float) -> None:
        """Leave a message unread; a key of which this is said too often is cut off."""
        self._notices.once("flooding", self._name_of(key), _FLOODING, key)
        if self._allowance.floods(key):
            seconds = self._penalties.impose(key, now)
            detail = _CUT_OFF.format(_peer(sender) or "an unknown address", seconds)
            self._notices.count("cut-off")
            self._notices.event("cut-off", self._name_of(key), detail, key)
            self._hang_up(sender)

    def _hang_up(self, sender: zmq.Frame) -> None:
        self._notices.count("hung_up" if hang_up(sender, self._port, _peer(sender)) else "passed_over")

    def _name_of(self, key: bytes) -> str | None:
        try:
            return self._enrolled(key)
        except Exception:
            LOG.exception("the enrolment could not be read")
            return None

    def _queue_enrolment(self, job: Job) -> None:
        """A request to enrol counts only with the key of a code; the laboratory decides in a worker."""
        if self._door is None or self._enrolled(job.key) is not None or not self._door.knows(job.key):
            sentence = "Enrolment is asked for with a code; ask the administrator for one."
            self._send(job.routing_id, wire.nack(job.message.message_id, wire.PERMANENT, "no-code", sentence))
        elif self._desk.put(job) == "full":
            sentence = "Too many instruments are being enrolled; try again in a moment."
            self._send(job.routing_id, wire.nack(job.message.message_id, wire.RETRYABLE, "busy", sentence))

    def _bad_frames(self, routing_id: bytes, key: bytes, error: wire.WireError) -> None:
        device = self._device_now(routing_id, key, error.message_id)
        if device is None:
            return
        self._notices.once(error.code, device, error.sentence, key)
        # A newer protocol is not the file's fault: it may come again when this side was updated.
        status = wire.PERMANENT if error.supported is None else wire.RETRYABLE
        self._send(
            routing_id, wire.nack(error.message_id, status, error.code, error.sentence, error.supported)
        )

    def _device_now(self, routing_id: bytes, key: bytes, message_id: bytes) -> str | None:
        """The device behind the key at this moment; otherwise the sender is told to keep its files."""
        try:
            device = self._enrolled(key)
        except Exception:
            self._notices.count("enrolment_errors")
            if self._notices.once("enrolment-unreadable", SERVER, _UNREADABLE, b""):
                LOG.exception("the enrolment could not be read")
            sentence = "The bridge cannot read its list of devices now; keep the file and send it again."
            self._send(routing_id, wire.nack(message_id, wire.RETRYABLE, "enrolment-unreadable", sentence))
            return None
        if device is None:
            self._notices.once("key-revoked", None, "a key that is no longer enrolled sent a message", key)
            sentence = "This device is not enrolled any more. Ask the laboratory's administrator."
            self._send(routing_id, wire.nack(message_id, wire.RETRYABLE, "not-enrolled", sentence))
        return device

    def _dispatch(self, job: Job, key: bytes) -> None:
        message = job.message
        self._notices.once(HEARD, job.device, "", key)
        match message.type:
            case wire.RUN_FILE:
                self._queue_file(job, key)
            case wire.PING:
                self._allowance.charge(key, PING_POINTS, time.monotonic())
                self._send(job.routing_id, wire.pong(message.message_id))
            case wire.HELLO:
                agent = str(message.header["agent"])
                self._notices.once("hello", job.device, agent, key, agent.encode())
                self._send(job.routing_id, wire.welcome(message.message_id, job.device))
            case wire.READS:
                self._show_reads(job)
            case _:
                sentence = f"{message.type} is sent by the bridge, never to it."
                self._send(
                    job.routing_id, wire.nack(message.message_id, wire.PERMANENT, "wrong-way", sentence)
                )

    def _queue_file(self, job: Job, key: bytes) -> None:
        outcome = self._desk.put(job)
        self._notices.count(f"parts_{outcome}")
        if outcome != "taken":
            self._allowance.charge(key, BUSY_POINTS, time.monotonic())
        if outcome == "full":
            sentence = "Too many parts of this device wait already; send this one again later."
            self._send(job.routing_id, wire.nack(job.message.message_id, wire.RETRYABLE, "busy", sentence))

    def _show_reads(self, job: Job) -> None:
        header = job.message.header
        if header["instrument"] != job.device:
            self._notices.event(
                "wrong-instrument", job.device, f"live readings claim to be of {header['instrument']}"
            )
            return
        self._notices.count("reads")
        values = wire.values_of(job.message)
        self._reads.put(
            Reads(job.device, header["run"], header["cycle"], header["dye"], values, header["plate"])
        )

    def _answer_all(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._bell.recv(4096)
        while self._replies:
            routing_id, message = self._replies.popleft()
            self._send(routing_id, message)

    def _send(self, routing_id: bytes, message: wire.Message) -> None:
        """Answer if the device is still there; a lost answer is asked for by the resend."""
        self._notices.count(f"sent_{message.type.lower()}_{message.header.get('status', '')}".rstrip("_"))
        try:
            send(self._router, [routing_id, *wire.encode(message)])
        except zmq.ZMQError as error:
            self._notices.count("answers_lost")
            LOG.info("an answer found nobody: %s", error)

    # ------------------------------------------------------------------ the workers
    def _work(self) -> None:
        while (job := self._desk.take()) is not None:
            try:
                self._replies.append((job.routing_id, self._take(job)))
            except Exception:
                self._notices.count("loop_errors")
                LOG.exception("a part was passed over; its sender will send it again")
            self._desk.done(job)
            self._wake()

    def _take(self, job: Job) -> wire.Message:
        if job.device == ENROLMENTS and self._door is not None:
            return self._door.take(job.key, job.address, job.message, self._code_refused)
        return self._intake.take(job.device, job.message)

    def _code_refused(self, event: BridgeEvent) -> None:
        self._notices.once(event.kind, event.device, event.detail, event.public_key)

    def _wake(self) -> None:
        with contextlib.suppress(OSError):  # full: the loop is about to wake; closed: it has ended
            self._waker.send(b"!")


def _peer(frame: zmq.Frame) -> str:
    """The address a message came from, as far as ZeroMQ knows it."""
    try:
        return str(frame.get("Peer-Address"))
    except zmq.ZMQError:
        return ""
