"""One-time codes for the PCs of instruments: made here, stored as a digest, shown once."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from lis.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from lis.db import Unit
    from lis.laboratory import Laboratory

EVERYWHERE = frozenset({"0.0.0.0", "*", "[::]"})  # noqa: S104 - recognised, not listened at


def address_of(lab: Laboratory, given: str) -> str:
    """The bridge as an instrument's PC reaches it.

    Raises:
        Invalid: ``BRIDGE_ADDRESS``: the bridge listens everywhere, and nobody said where to find it.
    """
    address = given or lab.settings.bridge_address or lab.settings.bridge
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    if host in EVERYWHERE or not port.isdecimal():
        raise Invalid(
            "BRIDGE_ADDRESS",
            f"{address} is no address that another PC can call. Give --address tcp://HOST:PORT with this "
            "server's name or number, or set bridge_address in lis.toml.",
            address=address,
        )
    return address


def issue(
    lab: Laboratory, address: str, hours: float, actor: str, act: Callable[[Unit], str]
) -> tuple[str, str, datetime]:
    """A code for the device that ``act`` names: (device, code, end). It stands nowhere but in the answer."""
    from instruments import wire
    from instruments.door import new_code, public_of
    from lis.reception import bridge_keys
    from lis.services import devices

    code = new_code(address, bridge_keys(lab.settings.data).public)
    text = wire.code_text(code)
    with lab.database.write(actor) as unit:
        name = act(unit)
        until = devices.issue_code(unit, name, public_of(code), timedelta(hours=hours))
    return name, text, until
