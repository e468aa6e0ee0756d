"""Single cells: numbers, Cq, tasks, dates. Nothing is guessed; what is not understood is said."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from math import isfinite
from typing import TYPE_CHECKING

from instruments.remembering import remembered

if TYPE_CHECKING:
    from collections.abc import Iterable

    from instruments.formats.source import Cell

# Spellings of "no Cq" met in real exports, folded to lower case.
NO_CQ = frozenset({"", "undetermined", "n/a", "nan", "na", "-", "no cq", "none"})
# No real-time protocol runs longer; edited files hold Cq of 88, 100 and 363.
MOST_CYCLES = 80.0
UNREAD_CQ = "UNREAD_CQ"
OUT_OF_RANGE = "CQ_OUT_OF_RANGE"

_PLAIN = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_COMMA = re.compile(r"[+-]?[0-9]+(?:,[0-9]+)?(?:[eE][+-]?[0-9]+)?")
# Instrument software prints decimals after grouped thousands (36,431.130); a group without
# decimals (27,943) may be a decimal comma, so it is not a number here.
_GROUPED = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})+\.[0-9]+")

_TASKS = {
    "unknown": "unknown",
    "unkn": "unknown",
    "ntc": "ntc",
    "notemplatecontrol": "ntc",
    "nac": "nac",
    "nrt": "nrt",
    "standard": "standard",
    "std": "standard",
    "positivecontrol": "positive_control",
    "posctrl": "positive_control",
    "pos": "positive_control",
    "negativecontrol": "negative_control",
    "negctrl": "negative_control",
    "neg": "negative_control",
    "ipc": "ipc",
    "blockedipc": "blocked_ipc",
    "empty": "empty",
}


def text(cell: Cell) -> str:
    """Return a cell as the words a person sees: 12345.0 is "12345", True is "true", ends stripped."""
    if isinstance(cell, str):  # by far the most
        return cell.strip()
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 1e15:
        return str(int(cell))
    return str(cell).strip()


def fold(header: Cell) -> str:
    """Fold a column name for comparison: lower case, Cyrillic т as t, runs of blanks as one."""
    return " ".join(str(header).lower().replace("т", "t").split())


def number(cell: Cell, *, decimal: str = ".", grouped: bool = False) -> float | None:
    """Read a number written the one way that is expected, None for anything else.

    Args:
        cell: a spreadsheet number or text.
        decimal: "." or ","; the other one is never accepted in its place.
        grouped: whether ``36,431.130`` is a number too (decimal "." only).
    """
    if isinstance(cell, bool):
        return None
    if isinstance(cell, (int, float)):
        return _finite(cell)
    written = str(cell).strip()
    if decimal == ",":
        return _finite(written.replace(",", ".")) if _COMMA.fullmatch(written) else None
    if _PLAIN.fullmatch(written):
        return _finite(written)
    return _finite(written.replace(",", "")) if grouped and _GROUPED.fullmatch(written) else None


def _finite(written: str | float) -> float | None:
    """The number, None for one beyond all numbers (1e999): no instrument measured that."""
    try:
        value = float(written)
    except OverflowError:  # a whole number of hundreds of digits
        return None
    return value if isfinite(value) else None


def cq(
    cell: Cell, *, decimal: str = ".", none: frozenset[str] = NO_CQ, zero_is_none: bool = False
) -> tuple[float | None, str]:
    """Read a Cq cell: (value or None, flag or "").

    A cell that is neither a number nor a known spelling of "none" gives ``UNREAD_CQ``: it must
    never pass for "not detected". Thousands separators are refused, ``27,943`` is not 27943.
    """
    if text(cell).lower() in none:
        return None, ""
    value = number(cell, decimal=decimal)
    if value is None or value < 0:
        return None, UNREAD_CQ
    if value == 0 and zero_is_none:
        return None, ""
    return value, OUT_OF_RANGE if value > MOST_CYCLES or value < 1 else ""


def task(cell: Cell) -> str:
    """Normalise a task or content: ``Unkn-01`` unknown, ``BlockedIPC`` blocked_ipc; else as written."""
    return _task(text(cell))


@remembered(1024)
def _task(written: str) -> str:
    folded = re.sub(r"-[0-9]+$", "", written.lower())
    return _TASKS.get(re.sub(r"[ _-]", "", folded), written)


# Offsets in hours of the abbreviations that mean one thing only. CST (China, Central America),
# IST, BST, AST and the like are missing on purpose: they are read only with the laboratory's zone.
_OFFSETS: dict[str, float] = {
    "UTC": 0, "GMT": 0, "Z": 0, "WET": 0, "WEST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "MSK": 3,
    "EST": -5, "EDT": -4, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7, "AKST": -9, "AKDT": -8,
    "HST": -10, "VET": -4, "BRT": -3, "ART": -3, "SAST": 2, "PKT": 5, "ICT": 7, "WIB": 7, "HKT": 8, "SGT": 8,
    "MYT": 8, "PHT": 8, "AWST": 8, "JST": 9, "KST": 9, "AEST": 10, "AEDT": 11, "NZST": 12, "NZDT": 13,
}  # fmt: skip
_ISO = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d)(?:\s+([AP]M))?(?:\s*([A-Z]{1,5}(?:[+-]\d\d:?\d\d)?))?"
)
_US = re.compile(r"(\d\d?)/(\d\d?)/(\d{4}) (\d\d?):(\d\d):(\d\d)(?:\s+([AP]M))?(?:\s*([A-Z]{1,5}))?")
_OFFSET = re.compile(r"(?:UTC|GMT)([+-])(\d\d):?(\d\d)")


def instant(cell: Cell, zone: tzinfo | None = None) -> datetime | None:
    """Read a date and time of an export as UTC, None when it is absent or its zone is not certain.

    Knows ``2021-01-02 08:56:35 AM VET``, the 24-hour clock with a superfluous PM
    (``2016-03-28 19:07:10 PM PDT``), and the month-first dates of CFX Maestro headers. A time
    without a zone, or with an ambiguous one (CST), needs the laboratory's ``zone``.
    """
    written = text(cell)
    if found := _ISO.fullmatch(written):
        year, month, day = int(found[1]), int(found[2]), int(found[3])
    elif found := _US.fullmatch(written):
        year, month, day = int(found[3]), int(found[1]), int(found[2])
    else:
        return None
    hour = int(found[4])
    if found[7] == "PM" and hour < 12:
        hour += 12
    elif found[7] == "AM" and hour == 12:
        hour = 0
    try:
        local = datetime(year, month, day, hour, int(found[5]), int(found[6]))  # noqa: DTZ001 - zone follows
    except ValueError:
        return None
    offset = _zone(found[8] or "", local, zone)
    return None if offset is None else local.replace(tzinfo=offset).astimezone(UTC)


def _zone(abbreviation: str, local: datetime, zone: tzinfo | None) -> tzinfo | None:
    if zone is not None and abbreviation in ("", local.replace(tzinfo=zone).tzname()):
        return zone
    if found := _OFFSET.fullmatch(abbreviation):
        shift = timedelta(hours=int(found[2]), minutes=int(found[3]))
        return timezone(shift if found[1] == "+" else -shift)
    hours = _OFFSETS.get(abbreviation)
    return None if hours is None else timezone(timedelta(hours=hours))


def some(names: Iterable[str], most: int = 5) -> str:
    """List names for a sentence, at most ``most`` of them."""
    listed = list(names)
    return ", ".join(listed[:most]) + (" ..." if len(listed) > most else "")
