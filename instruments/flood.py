"""What one key may send, and what becomes of a key that sends far more.

Three steps. What is within the allowance is looked at. What is beyond it is passed over unread; nothing is
lost by that, an agent sends again what was not acknowledged. Whoever sends on for all that is cut off: its
connection is shut down and its key is refused at the door for a while, so that it costs the others nothing.
"""

from __future__ import annotations

import os
import socket
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import zmq

if TYPE_CHECKING:
    from collections.abc import Callable

BYTES_A_POINT = 64 * 1024
"""A message costs one point, and one more for every so many bytes."""

UNREADABLE_POINTS = 100.0
"""What a message costs besides that an honest device never sends: no message, or under a false address."""

BUSY_POINTS = 25.0
"""What a part costs besides that found its device's queue full, or itself in it; the shipped agent waits for
answers and never comes to that. The parts of the largest file, all sent at once, stay within the burst."""

PING_POINTS = 4.0
"""What a PING costs besides; the shipped agent sends one in ten seconds."""

KEYS = 1024

LONGEST_PENALTY_S = 900.0
FORGIVEN_S = 3600.0


@dataclass(slots=True)
class _Account:
    left: float
    over: float
    since: float


class Allowance:
    """What each key may send: so much at once, so much a second after that.

    A cycler sends a file an hour. Whoever sends more than any cycler could is broken or hostile, and costs
    the others time with every message that is looked at.

    Args:
        burst: points a key may spend at once.
        a_second: points it gets back a second.
        patience: points of what was passed over after which the key is flooding; they are forgiven at the
            same rate. An agent waits for answers, so it comes to a few hundred at the very worst.
        keys: how many are remembered; the one silent for longest is forgotten first, which favours it.
    """

    def __init__(self, burst: float, a_second: float, patience: float, keys: int = KEYS) -> None:
        self._burst = burst
        self._a_second = a_second
        self._patience = patience
        self._keys = keys
        self._accounts: OrderedDict[bytes, _Account] = OrderedDict()

    def takes(self, key: bytes, cost: float, now: float) -> bool:
        """Whether this may be looked at; ``now`` in seconds of a clock that never jumps."""
        account = self._account(key, now)
        if account.left >= cost:
            account.left -= cost
            return True
        account.over += cost
        return False

    def charge(self, key: bytes, points: float, now: float) -> None:
        """Something that was looked at turned out to be dearer than it seemed."""
        account = self._account(key, now)
        account.left = max(0.0, account.left - points)

    def floods(self, key: bytes) -> bool:
        """Whether so much of this key was passed over that nothing honest explains it."""
        account = self._accounts.get(key)
        return account is not None and account.over > self._patience

    def _account(self, key: bytes, now: float) -> _Account:
        account = self._accounts.setdefault(key, _Account(self._burst, 0.0, now))
        back = (now - account.since) * self._a_second
        account.left = min(self._burst, account.left + back)
        account.over = max(0.0, account.over - back)
        account.since = now
        self._accounts.move_to_end(key)
        if len(self._accounts) > self._keys:
            self._accounts.popitem(last=False)
        return account


@dataclass(frozen=True, slots=True)
class _Penalty:
    seconds: float
    until: float


class Penalties:
    """The keys that are refused for a while: twice as long each time, 15 minutes at most.

    An hour after its last penalty a key begins anew.

    Args:
        first: seconds of a first penalty.
        keys: how many are remembered; the one that was cut off longest ago is forgotten first.
    """

    def __init__(self, first: float = 10.0, keys: int = KEYS) -> None:
        self._first = first
        self._keys = keys
        self._imposed: OrderedDict[bytes, _Penalty] = OrderedDict()

    def bars(self, key: bytes, now: float) -> bool:
        """Whether a key is refused at this moment (seconds of a clock that never jumps)."""
        penalty = self._imposed.get(key)
        return penalty is not None and now < penalty.until

    def impose(self, key: bytes, now: float) -> float:
        """Refuse a key from now on; for how many seconds."""
        before = self._imposed.get(key)
        seconds = self._first
        if before is not None and now < before.until + FORGIVEN_S:
            seconds = min(2 * before.seconds, LONGEST_PENALTY_S)
        self._imposed[key] = _Penalty(seconds, now + seconds)
        self._imposed.move_to_end(key)
        if len(self._imposed) > self._keys:
            self._imposed.popitem(last=False)
        return seconds


def cost_of(frames: list[zmq.Frame]) -> float:
    """The points of one message."""
    return 1 + sum(map(len, frames)) / BYTES_A_POINT


def hang_up(frame: zmq.Frame, port: int, peer: str, dup: Callable[[int], int] = os.dup) -> bool:
    """Shut down the connection a message came through; False where that cannot be done (Windows).

    ZeroMQ tells the descriptor, but the connection may be gone and its number used by another one since.
    So only a connection at our own port, with the same address at its other end, is touched; were it still
    the wrong one, its agent connects anew and sends again what was not acknowledged.
    """
    if os.name != "posix":
        return False
    try:
        with socket.socket(fileno=dup(int(frame.get(zmq.SRCFD)))) as connection:
            ours = connection.type == socket.SOCK_STREAM and connection.getsockname()[1] == port
            if not ours or connection.getpeername()[0] != peer:
                return False
            connection.shutdown(socket.SHUT_RDWR)
    except (OSError, zmq.ZMQError):  # it is gone already
        return False
    return True
