"""Instrument files, Cq calling, and the bridge that streams them.

``instruments.read(name, data)`` turns the bytes of a cycler's export into a :class:`RunFile`;
``instruments.call_curves(fluorescence)`` calls Cq from raw curves. Both load on first use: the agent
beside a cycler imports this package on a PC that has neither numpy nor a spreadsheet reader.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from instruments.errors import InstrumentError

if TYPE_CHECKING:
    from instruments.calling import CurveCalls, call_curves
    from instruments.formats import read, sniff
    from instruments.formats.table import TableMapping
    from instruments.model import Curve, Reading, RunFile

_HOMES = {
    "Curve": "instruments.model",
    "CurveCalls": "instruments.calling",
    "Reading": "instruments.model",
    "RunFile": "instruments.model",
    "TableMapping": "instruments.formats.table",
    "call_curves": "instruments.calling",
    "read": "instruments.formats",
    "sniff": "instruments.formats",
}

__all__ = [
    "Curve",
    "CurveCalls",
    "InstrumentError",
    "Reading",
    "RunFile",
    "TableMapping",
    "call_curves",
    "read",
    "sniff",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its home on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'instruments' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
