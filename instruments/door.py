"""The bridge's door for instruments that are not enrolled yet: who may knock with a code, and how often.

An enrolment code holds a CURVE secret key. The laboratory keeps the public half, in a list of its own
beside that of the devices: no key that neither list knows is ever admitted, and a key of a code can do
one thing only, name the key of the device it was issued for (docs/decisions/0011-enrolment.md).
"""

from __future__ import annotations

import secrets
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import zmq
from zmq.utils import z85

from instruments import wire
from instruments.intake import BridgeEvent, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

ENROLMENTS = "\0enrolments"
"""The desk's queue of requests to enrol; no device can bear this name."""

TRIES_OF_ADDRESS = 20
TRIES = 200
WINDOW_S = 60.0


@dataclass(frozen=True)
class Applicant:
    """An agent that asks to be enrolled; keys are Z85 text.

    Attributes:
        code_key: public key of the code; whoever holds it proved the code in the handshake.
        public_key: key pair's public half, made on the instrument's PC.
        instrument: the device it believes the code is for; may be empty.
        agent: its version.
        address: where it called from.
    """

    code_key: str
    public_key: str
    instrument: str
    agent: str
    address: str


def new_code(endpoint: str, server_public: bytes) -> wire.Code:
    """A fresh code for the bridge with the public key ``server_public`` (Z85) at ``endpoint``."""
    return wire.Code(endpoint, z85.decode(server_public), secrets.token_bytes(wire.SECRET_BYTES))


def public_of(code: wire.Code) -> str:
    """The public key (Z85) that stands for a code; the code cannot be computed from it."""
    return zmq.curve_public(z85.encode(code.key)).decode("ascii")


class Door:
    """Lets the keys of codes in, counts knocks in vain, hands requests to the laboratory.

    Args:
        knows: public key (Z85) -> whether a code with it was ever issued here.
        enrol: commits an applicant and returns its device's name; :class:`Refused` refuses it for good.
        tick: seconds of a clock that never jumps.
    """

    def __init__(
        self,
        knows: Callable[[bytes], bool],
        enrol: Callable[[Applicant], str],
        tick: Callable[[], float] = time.monotonic,
    ) -> None:
        self.knows = knows
        self._enrol = enrol
        self._tick = tick
        self._vain: deque[tuple[float, str, bytes]] = deque()

    def admits(self, key: bytes, address: str) -> bool | None:
        """Whether a key that is no device's is that of a code; None: too many tries, ask later.

        At most 20 unknown keys of one address, and 200 of all, are looked up in a minute. A key that knocks
        again and again (an agent whose key was revoked) is one try and one look a minute.
        """
        now = self._tick()
        while self._vain and now - self._vain[0][0] > WINDOW_S:
            self._vain.popleft()
        if any(other == key for *_, other in self._vain):
            return False
        if len(self._vain) >= TRIES or sum(of == address for _, of, _ in self._vain) >= TRIES_OF_ADDRESS:
            return None
        if self.knows(key):
            return True
        self._vain.append((now, address, key))
        return False

    def take(
        self, key: bytes, address: str, message: wire.Message, report: Callable[[BridgeEvent], None]
    ) -> wire.Message:
        """Answer an ENROL message that came with the key of a code."""
        header = message.header
        applicant = Applicant(
            key.decode("ascii"), header["public_key"], header["instrument"], header["agent"], address
        )
        try:
            device = self._enrol(applicant)
        except Refused as refusal:
            detail = f"a request to enrol from {address or 'an unknown address'}: {refusal.sentence}"
            report(BridgeEvent("code-refused", None, detail, key))
            return wire.nack(message.message_id, wire.PERMANENT, refusal.code, refusal.sentence)
        return wire.welcome(message.message_id, device)
