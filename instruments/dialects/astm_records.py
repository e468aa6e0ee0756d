"""Records of ASTM E1394 (CLSI LIS02-A2): a message brings its own delimiters in its header.

Field 1 of a record is its letter, field 2 its number within its level. A field may repeat, a repetition
has components. Escapes: the delimiters as F, S, R and E between two escape characters, ``Xhh`` a byte;
what is not understood stays as written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

_HEADER = re.compile(r"H([^\sA-Za-z0-9])([^\sA-Za-z0-9])([^\sA-Za-z0-9])([^\sA-Za-z0-9])")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """Text without control characters, ends stripped: a database refuses some of them."""
    return _CONTROLS.sub("", text).strip()


@dataclass(frozen=True)
class Delimiters:
    """What separates fields, repetitions and components, and what escapes them."""

    field: str = "|"
    repeat: str = "\\"
    component: str = "^"
    escape: str = "&"

    def unescape(self, text: str) -> str:
        """The text that was meant."""
        if self.escape not in text:
            return text
        mark = re.escape(self.escape)
        meant = {"F": self.field, "S": self.component, "R": self.repeat, "E": self.escape}

        def one(found: re.Match[str]) -> str:
            code = found[1]
            if code in meant:
                return meant[code]
            return chr(int(code[1:], 16)) if code[:1] == "X" else found[0]

        return re.sub(rf"{mark}([FSRE]|X[0-9A-Fa-f]{{2}}){mark}", one, text)


@dataclass(frozen=True)
class Record:
    """One record; fields count from 1, which is the letter."""

    kind: str
    fields: tuple[str, ...]
    delimiters: Delimiters

    def raw(self, number: int) -> str:
        """A field as written; "" when it is not there."""
        return self.fields[number - 1] if 0 < number <= len(self.fields) else ""

    def components(self, number: int, repetition: int = 0) -> tuple[str, ...]:
        """The components of one repetition of a field, escapes undone, ends stripped."""
        repeated = self.raw(number).split(self.delimiters.repeat)
        if repetition >= len(repeated):
            return ("",)
        parts = repeated[repetition].split(self.delimiters.component)
        return tuple(plain(self.delimiters.unescape(part)) for part in parts)

    def text(self, number: int, component: int = 1) -> str:
        """One component of the first repetition of a field."""
        found = self.components(number)
        return found[component - 1] if component <= len(found) else ""

    @property
    def sequence(self) -> int | None:
        """The number within its level, None when there is none."""
        written = self.raw(2).strip()
        return int(written) if written.isascii() and written.isdigit() and len(written) < 7 else None


def delimiters(header: str) -> Delimiters | None:
    """The delimiters that a header brings; None when it is no header, or two of them are one."""
    found = _HEADER.match(header)
    return Delimiters(*found.groups()) if found and len({*found.groups()}) == 4 else None


def records(text: str) -> tuple[Record, ...]:
    """The records of one message; none when it has no header that can be understood."""
    lines = [line for line in re.split(r"[\r\n]+", text) if line.strip("\0 ")]
    known = delimiters(lines[0]) if lines else None
    if known is None:
        return ()
    found = [Record("H", _header(lines[0], known), known)]
    for line in lines[1:]:
        fields = tuple(line.split(known.field))
        found.append(Record(fields[0].strip()[:1].upper(), fields, known))
    return tuple(found)


def _header(line: str, known: Delimiters) -> tuple[str, ...]:
    """Fields of a header: its second one is made of delimiters and is not to be cut."""
    rest = line[5:]
    return ("H", line[2:5], *(rest.split(known.field)[1:] if rest else ()))


def gaps(found: tuple[Record, ...]) -> list[str]:
    """Records that are missing by their numbers: at each level they count on, or begin again at 1."""
    last: dict[str, int] = {}
    wrong = []
    for record in found:
        if record.kind not in ("P", "O", "R") or record.sequence is None:
            continue
        before = last.get(record.kind, 0)
        if record.sequence not in (1, before + 1):
            wrong.append(f"{record.kind} {record.sequence} after {record.kind} {before}")
        last[record.kind] = record.sequence
    return [f"records are missing by their numbers: {', '.join(wrong[:5])}"] if wrong else []


@dataclass(frozen=True)
class Envelope:
    """What the link must know of a message: who numbers it, when it was made, what is in it."""

    control_id: str
    made_at: datetime | None
    kinds: frozenset[str]

    @property
    def is_query(self) -> bool:
        """Whether it asks for orders and brings nothing."""
        return "Q" in self.kinds and not self.kinds & {"P", "O", "R"}

    @property
    def is_empty(self) -> bool:
        """A header and an end, nothing between: a sign of life."""
        return self.kinds <= {"H", "L"}


def envelope(message: bytes) -> Envelope:
    """Read the envelope of a message; never fails."""
    found = records(message.decode("latin-1"))
    if not found:
        return Envelope("", None, frozenset("?"))
    return Envelope(found[0].text(3), moment(found[0].text(14)), frozenset(one.kind for one in found))


def moment(text: str) -> datetime | None:
    """``YYYYMMDD[HHMM[SS]]`` as written, without a zone; None for anything else."""
    digits = text.strip()
    if len(digits) not in (8, 12, 14) or not digits.isascii() or not digits.isdigit():
        return None
    later = [int(digits[at : at + 2]) for at in range(4, len(digits), 2)]
    try:
        return datetime(int(digits[:4]), *later)  # type: ignore[arg-type]  # noqa: DTZ001 - the zone follows
    except ValueError:
        return None


def nothing_for(query: bytes, made_at: datetime) -> bytes:
    """The standard's answer to a query that has none: a terminator with the code I, no information."""
    asked = records(query.decode("latin-1"))
    sender = asked[0].text(5) if asked else ""
    clean = "".join(char for char in sender if char.isalnum() or char in "-_. ")[:40]
    return f"H|\\^&|||nat-lis|||||{clean}||P|LIS2-A2|{made_at:%Y%m%d%H%M%S}\rL|1|I\r".encode(
        "ascii", "replace"
    )
