"""Instruments that bring no key: TCP listeners for ASTM and HL7, each for one device at known addresses.

Nothing here proves who is at the other end, so every listener belongs to one device and takes
connections from the addresses that are written down for it, from nowhere else. A message is kept by
the same handler as the bridge's files, which commits before it returns; only then is the sender answered.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import socket
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Self

from instruments.desk import Outlet
from instruments.dialects.talks import Answer, AstmTalk, Dialect, Hl7Talk, Talk, Transmission
from instruments.intake import BridgeEvent, Receipt, Refused, Shipment
from instruments.quiet import Quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LOG = logging.getLogger("instruments.listener")

CONNECTIONS = 8
"""Connections of one device at a time; a further one ends the oldest, which a cut cable may have left."""

_REST_LOST = (
    "{0}, and what had come could not be kept: {1}. Look whether the instrument sends its last results "
    "again; if not, order that at the instrument."
)
_TALKS: dict[Dialect, type[AstmTalk | Hl7Talk]] = {"astm": AstmTalk, "hl7": Hl7Talk}


@dataclass(frozen=True)
class Station:
    """Where a device is listened for.

    Attributes:
        port: 0 takes any free one.
        peers: addresses or networks the device may call from.
    """

    dialect: Dialect
    host: str
    port: int
    device: str
    peers: tuple[str, ...] = ("127.0.0.1",)

    def admits(self, address: str) -> bool:
        """Whether a connection from this address is the device's."""
        caller = ipaddress.ip_address(address.partition("%")[0])
        mapped = getattr(caller, "ipv4_mapped", None)
        return any((mapped or caller) in ipaddress.ip_network(peer, strict=False) for peer in self.peers)


class Listeners:
    """Listens at some stations, a thread for each and for each connection. Use as a context manager.

    Args:
        stations: where to listen, and for whom.
        handler: commits a shipment and returns its receipt; :class:`Refused` refuses it for good, any other
            exception has it sent again. Never called twice at a time for one station.
        on_event: told what belongs in the audit trail or wakes somebody, in a thread of its own.
    """

    def __init__(
        self,
        stations: Sequence[Station],
        handler: Callable[[Shipment], Receipt],
        on_event: Callable[[BridgeEvent], None] | None = None,
    ) -> None:
        self._stations = stations
        self._handler = handler
        self._on_event = on_event or (lambda _event: None)
        self._desks: list[_Desk] = []
        self._events: Outlet[BridgeEvent] | None = None

    def start(self) -> Self:
        """Listen everywhere, or nowhere.

        Raises:
            OSError: an address cannot be bound.
        """
        events = Outlet("listener-events", self._on_event, 10_000)
        with contextlib.ExitStack() as opened:
            opened.callback(events.close, 1.0)
            desks = []
            for station in self._stations:
                desks.append(_Desk(station, self._handler, events.put))
                opened.callback(desks[-1].stop, 1.0)
            opened.pop_all()
        self._desks, self._events = desks, events
        for desk in desks:
            desk.start()
        return self

    def stop(self, seconds: float = 5.0) -> None:
        """Take no more, let running commits end and be answered, close."""
        for desk in self._desks:
            desk.stop(seconds)
        self._desks = []
        if self._events is not None:
            self._events.close(seconds)
            self._events = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_error: object) -> None:
        self.stop()

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The real addresses, in the order of the stations."""
        return tuple(desk.endpoint for desk in self._desks)


class _Desk:
    """One station: its socket and its connections."""

    def __init__(
        self, station: Station, handler: Callable[[Shipment], Receipt], report: Callable[[BridgeEvent], None]
    ) -> None:
        self.station = station
        self._handler = handler
        self._report = report
        self._turn = threading.Lock()
        self._guard = threading.Lock()
        self._open: dict[socket.socket, threading.Thread] = {}
        self._quiet: Quiet[tuple[str, str]] = Quiet()
        self._stopping = False
        family = socket.AF_INET6 if ":" in station.host else socket.AF_INET
        self._socket = socket.create_server((station.host, station.port), family=family, backlog=16)
        host, port = self._socket.getsockname()[:2]
        self.endpoint = f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
        self._thread = threading.Thread(target=self._listen, name=f"listener-{station.device}", daemon=True)

    # ------------------------------------------------------------------ life
    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float) -> None:
        with self._guard:
            self._stopping = True
            running = dict(self._open)
        with contextlib.suppress(OSError):  # wakes accept(); a socket that never listened says so
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in running:
            _hang_up(connection)
        end = time.monotonic() + seconds
        for thread in (self._thread, *running.values()):
            if thread.is_alive():
                thread.join(max(0.0, end - time.monotonic()))

    def _listen(self) -> None:
        while True:
            try:
                connection, address = self._socket.accept()
            except OSError:
                if self._stopping:
                    return
                LOG.exception("%s: a connection could not be taken", self.endpoint)
                time.sleep(0.2)  # no descriptors left: they come back, spinning would not help
                continue
            try:
                self._admit(connection, str(address[0]))
            except Exception:
                LOG.exception("%s: a connection was dropped", self.endpoint)
                connection.close()

    def _admit(self, connection: socket.socket, address: str) -> None:
        if not self.station.admits(address):
            connection.close()
            self.tell(
                "source-refused", f"{address} called at {self.endpoint} and is not a known address", address
            )
            return
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        thread = threading.Thread(
            target=self._serve, args=(connection,), name=f"{self.station.dialect}-{address}", daemon=True
        )
        with self._guard:
            if self._stopping:
                connection.close()
                return
            oldest = next(iter(self._open)) if len(self._open) >= CONNECTIONS else None
            self._open[connection] = thread
        if oldest is not None:
            _hang_up(oldest)
        thread.start()

    # ------------------------------------------------------------------ one connection
    def _serve(self, connection: socket.socket) -> None:
        talk: Talk = _TALKS[self.station.dialect](self.station.device, self.keep, self.tell)
        try:
            _converse(connection, talk)
        except OSError as error:
            LOG.info("%s: %s", self.endpoint, error)
        except Exception:
            LOG.exception("%s: the conversation failed; the sender will send again", self.endpoint)
        finally:
            try:
                talk.close()
            except Exception as error:
                LOG.exception("%s: the rest of a conversation could not be kept", self.endpoint)
                self.tell("rest-lost", _REST_LOST.format(f"it broke off at {self.endpoint}", repr(error)))
            connection.close()
            with self._guard:
                self._open.pop(connection, None)

    # ------------------------------------------------------------------ keeping
    def keep(self, made: Transmission) -> Answer:
        """Hand a transmission to the handler and say what became of it."""
        with self._turn:
            answer = self._kept(made)
        if made.fault and answer.committed:
            detail = f"{made.name}: {made.fault}. What came is kept, and yields no result."
            self.tell("transmission-incomplete", detail)
        elif made.fault:
            self.tell("rest-lost", _REST_LOST.format(f"{made.name}: {made.fault}", answer.sentence))
        return answer

    def _kept(self, made: Transmission) -> Answer:
        try:
            receipt = self._handler(self._shipment(made))
        except Refused as refusal:
            self.tell("refused", f"{made.name}: {refusal}", made.run)
            return Answer("never", refusal.sentence)
        except Exception as error:
            LOG.exception("%s could not be stored; it will be sent again", made.name)
            self.tell("handler-failed", f"{made.name}: {error!r}", made.run)
            return Answer("later", "The message could not be stored now. Send it again.")
        return Answer("duplicate" if receipt.status == "duplicate" else "stored")

    def _shipment(self, made: Transmission) -> Shipment:
        digest = sha256(made.data).hexdigest()
        return Shipment(
            device=self.station.device,
            instrument=self.station.device,
            run=made.run,
            plate="",
            name=made.name,
            sha256=digest,
            size=len(made.data),
            data=made.data,
            produced_at=None,  # the message's time has no zone; the reader knows the laboratory's
            message_id=digest,
            extra={"dialect": self.station.dialect, "received_at": datetime.now(UTC).isoformat()},
        )

    def tell(self, kind: str, detail: str, about: str = "") -> None:
        """Report an event, the same about the same at most once a minute."""
        if not self._quiet.is_news((kind, about), time.monotonic()):
            return
        LOG.warning("%s %s: %s", kind, self.station.device, detail)
        self._report(BridgeEvent(kind, self.station.device, detail))


def _converse(connection: socket.socket, talk: Talk) -> None:
    """Carry bytes until the other side, or this one, hangs up."""
    while True:
        due = talk.deadline
        connection.settimeout(None if due is None else max(0.001, due - time.monotonic()))
        try:
            data = connection.recv(65536)
        except TimeoutError:
            replies = talk.tick(time.monotonic())
        else:
            if not data:
                return
            replies = talk.receive(data, time.monotonic())
        connection.settimeout(15.0)  # who does not read our answer is gone
        for reply in replies:
            connection.sendall(reply)


def _hang_up(connection: socket.socket) -> None:
    """End a connection so that the thread that reads it notices."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RD)
