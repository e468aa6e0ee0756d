"""The way a technician walks to fetch tubes: rack after rack, each in serpentine."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_PARTS: Final = re.compile(r"(\d+)")
_WELL: Final = re.compile(r"([A-Za-z])0*(\d{1,3})")


class Stop(NamedTuple):
    """One tube to fetch, and where it stands."""

    tube: str
    rack: str
    position: str


def walk(stops: Iterable[Stop]) -> list[Stop]:
    """The stops in the order in which they are walked past.

    Racks in natural order (R2 before R10). In a rack the rows from A on, every second one from the right,
    as the hand moves: A1 A2 A3, B3 B2 B1. Numbered positions in order of their numbers; a place that says
    nothing comes last in its rack, and a tube without a rack last of all, because it must be looked for.
    """
    return sorted(stops, key=_key)


def _key(stop: Stop) -> tuple[bool, tuple[tuple[int, int, str], ...], tuple[int, int, int, str], str]:
    return not stop.rack, _natural(stop.rack), _position(stop.position), stop.tube


def _natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """Digits compare as numbers, everything else as text."""
    pieces = (piece for piece in _PARTS.split(text) if piece)
    return tuple((0, int(one), "") if one.isdecimal() else (1, 0, one.casefold()) for one in pieces)


def _position(text: str) -> tuple[int, int, int, str]:
    """Kind of position, row, column in the direction of the hand, text."""
    text = text.strip()
    if found := _WELL.fullmatch(text):
        row, column = ord(found[1].upper()) - ord("A"), int(found[2])
        return 0, row, column if row % 2 == 0 else -column, text
    if text.isdecimal():
        return 1, int(text), 0, text
    return (2, 0, 0, text.casefold()) if text else (3, 0, 0, "")
