"""The bridge's two sockets: one for the instruments, one for ZeroMQ's questions about their keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import zmq

from instruments.admission import ZAP_DOMAIN, ZAP_ENDPOINT

if TYPE_CHECKING:
    from contextlib import ExitStack

_ROUTER_OPTIONS = {
    zmq.ROUTER_MANDATORY: 1,  # an answer nobody can receive is an error, not a silence
    zmq.ROUTER_HANDOVER: 1,  # the newest connection of a device is the living one
    zmq.SNDHWM: 256,
    zmq.RCVHWM: 16,  # twice what an agent sends without an answer; more only waits, decrypted, in memory
    zmq.MAXMSGSIZE: 8 * 1024 * 1024,
    zmq.HANDSHAKE_IVL: 5_000,
    zmq.HEARTBEAT_IVL: 2_000,
    zmq.HEARTBEAT_TIMEOUT: 6_000,
    zmq.HEARTBEAT_TTL: 10_000,
    zmq.BACKLOG: 100,
    zmq.TCP_KEEPALIVE: 1,
    zmq.TCP_KEEPALIVE_IDLE: 60,
    zmq.TCP_KEEPALIVE_INTVL: 10,
    zmq.TCP_KEEPALIVE_CNT: 3,
    zmq.CURVE_SERVER: 1,
    zmq.ZAP_ENFORCE_DOMAIN: 1,  # without this a dead authenticator would let everybody in
}

_IO_THREADS = 8
"""Connections are shared out among so many threads: who floods holds up those of its own thread alone."""


_NOBLOCK, _MORE = int(zmq.NOBLOCK), int(zmq.SNDMORE)
"""As plain numbers: as flags pyzmq makes new ones of them at every frame, a tenth of a message's time."""


class KeyPair(NamedTuple):
    """A CURVE key pair, both keys as Z85 text in bytes (40 each)."""

    public: bytes
    secret: bytes


def new_keypair() -> KeyPair:
    """Make a fresh CURVE key pair."""
    return KeyPair(*zmq.curve_keypair())


def listen(opened: ExitStack, endpoint: str, keys: KeyPair) -> tuple[zmq.Socket[bytes], zmq.Socket[bytes]]:
    """Open the socket that answers questions about keys, and the ROUTER, bound to ``endpoint``.

    ``opened`` closes both, and the context that they share.

    Raises:
        zmq.ZMQError: the address cannot be bound.
    """
    context = zmq.Context(_IO_THREADS)
    opened.callback(context.term)
    zap = opened.enter_context(context.socket(zmq.REP))
    zap.linger = 0
    zap.bind(ZAP_ENDPOINT)
    router = opened.enter_context(context.socket(zmq.ROUTER))
    router.linger = 1_000
    for option, value in _ROUTER_OPTIONS.items():
        router.setsockopt(option, value)
    router.curve_publickey = keys.public
    router.curve_secretkey = keys.secret
    router.zap_domain = ZAP_DOMAIN
    router.bind(endpoint)
    return zap, router


def receive(router: zmq.Socket[bytes]) -> list[zmq.Frame]:
    """The frames of the next message.

    Raises:
        zmq.Again: none has come.
    """
    frames = [router.recv(_NOBLOCK, copy=False)]
    while frames[-1].more:
        frames.append(router.recv(_NOBLOCK, copy=False))
    return frames


def send(router: zmq.Socket[bytes], frames: list[bytes]) -> None:
    """Send one message, without waiting.

    Raises:
        zmq.ZMQError: nobody is there, or takes no more.
    """
    for frame in frames[:-1]:
        router.send(frame, _NOBLOCK | _MORE)
    router.send(frames[-1], _NOBLOCK)
