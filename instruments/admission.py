"""Who is let in: ZeroMQ's questions about keys (RFC 27), answered from the lists and penalties."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from zmq.utils.z85 import encode as z85

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from instruments.door import Door
    from instruments.flood import Penalties
    from instruments.notices import Notices

LOG = logging.getLogger("instruments.bridge")

ZAP_ENDPOINT: Final = "inproc://zeromq.zap.01"
ZAP_DOMAIN: Final = b"nat-lis"

_LET_IN: Final = (b"200", b"OK")
_REFUSED: Final = (b"400", b"not enrolled")


class Admission:
    """Decides about every key that knocks.

    Args:
        device_of: public key (Z85) -> the enrolled device's name, or None.
        door: knows the keys of enrolment codes; None: there are none.
        notices: counts, and tells what an auditor wants to know.
        penalties: the keys that are refused for a while.
    """

    def __init__(
        self,
        device_of: Callable[[bytes], str | None],
        door: Door | None,
        notices: Notices,
        penalties: Penalties,
    ) -> None:
        self._device_of = device_of
        self._door = door
        self._notices = notices
        self._penalties = penalties

    def answer(self, frames: Sequence[bytes]) -> list[bytes]:
        """The reply to one request.

        RFC 27: after 300, a temporary failure, a device tries again by itself; after 400 it would not.
        """
        user = b""
        try:
            _version, _request, domain, address, _identity, mechanism, raw = frames
            key = z85(raw)
            known = (domain, mechanism) == (ZAP_DOMAIN, b"CURVE")
            verdict = self._judge(key, address.decode()) if known else _REFUSED
            if verdict == _LET_IN:
                user = key
                self._notices.count("admitted")
        except Exception:
            verdict = (b"300", b"the enrolment could not be read")
            self._notices.count("loop_errors")
            LOG.exception("a device could not be admitted")
        return [b"1.0", frames[1], *verdict, user, b""]

    def _judge(self, key: bytes, address: str) -> tuple[bytes, bytes]:
        """Whether a key may connect: a device's, or that of a code; others may have to ask again later."""
        if self._penalties.bars(key, time.monotonic()):
            self._notices.count("barred")
            return b"300", b"cut off for flooding; later"
        if self._device_of(key) is not None:
            return _LET_IN
        admitted = self._door.admits(key, address) if self._door else False
        if admitted:
            return _LET_IN
        if admitted is None:
            detail = f"too many unknown keys knocked within a minute, the last from {address}"
            self._notices.once("too-many-keys", None, detail, b"")
            return b"300", b"too many unknown keys; later"
        self._notices.once("key-refused", None, f"a key that is not enrolled knocked from {address}", key)
        return _REFUSED
