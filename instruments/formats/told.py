"""What ASTM and HL7 messages say about one target of one well, brought together as readings.

A message speaks of a target in several records: a call in one, a Cq in another. Nothing is taken for
"not detected" unless the message says so: a Cq that is missing, empty or zero beside anything but a
negative call makes the message a doubtful one.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from itertools import islice
from typing import TYPE_CHECKING, Literal, TypeVar

from instruments.dialects.astm_records import moment
from instruments.errors import InstrumentError
from instruments.formats import cells
from instruments.model import Reading, canonical_well

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import tzinfo

    from instruments.formats.source import Source

NEGATIVE = frozenset(
    {
        "negative", "neg", "not detected", "notdetected", "undetected", "target not detected", "absent",
        "absence", "阴性", "未检出", "260415000", "260385009", "2667000",
    }
)  # fmt: skip
"""Words, and SNOMED CT codes, of a negative call, folded to lower case."""

CQ_WORDS = frozenset(
    {"ct", "cq", "cp", "ct value", "cq value", "{ct}", "{cq}", "{ct_value}", "cycle threshold"}
)
"""What marks a value as a Cq: a component of the test's name, a unit, a sub-identifier."""

ONE_WELL = re.compile(r"[A-Pa-p]0?[0-9]{1,2}")
MOST_MESSAGES = 1000
MOST_PARTS = 100_000
"""A plate of 384 wells and four targets has some 42,000 fields and components."""

_M = TypeVar("_M")
_OFFSET = re.compile(r"(.*?)(?:\.[0-9]+)?([+-][0-9]{4})?")


@dataclass(frozen=True)
class Said:
    """One result record.

    Attributes:
        where: the record, for sentences: ``R 3``.
        place: well in its canonical spelling, "" when the message names none.
        measure: whether ``value`` is a Cq, a call, or something else that is kept by name only.
        final: whether the sender calls it final; ``status`` is its word for it.
    """

    where: str
    specimen: str
    task: str
    place: str
    target: str
    measure: Literal["cq", "call", "other"]
    value: str
    flags: tuple[str, ...] = ()
    final: bool = True
    status: str = ""


@dataclass(frozen=True)
class Told:
    """The readings of a message, what speaks against them, and what was not understood."""

    readings: tuple[Reading, ...]
    faults: tuple[str, ...]
    unread: tuple[str, ...]


def few(source: Source, found: Iterable[_M]) -> list[_M]:
    """The messages of a file, if a person could tell them apart.

    Raises:
        InstrumentError: SEVERAL_RUNS for more than :data:`MOST_MESSAGES`.
    """
    some = list(islice(found, MOST_MESSAGES + 1))
    if len(some) > MOST_MESSAGES:
        raise InstrumentError(
            "SEVERAL_RUNS",
            f"The file holds more than {MOST_MESSAGES} messages. Send each message by itself.",
            file=source.name,
        )
    return some


def not_endless(source: Source, data: bytes, marks: str) -> None:
    """Refuse a message that would keep the reader busy for longer than any real one.

    Raises:
        InstrumentError: TOO_LARGE for more than :data:`MOST_PARTS` separators.
    """
    if sum(data.count(mark.encode("latin-1", "replace")) for mark in marks) > MOST_PARTS:
        raise InstrumentError(
            "TOO_LARGE",
            f"The message has more than {MOST_PARTS:,} fields and components; no plate has as many. Send "
            "each plate by itself.",
            file=source.name,
        )


def is_cq(word: str) -> bool:
    """Whether a word marks a value as a Cq."""
    return " ".join(word.lower().split()) in CQ_WORDS


def well_of(text: str) -> str:
    """Canonical name of a well; "" when there is none.

    Raises:
        InstrumentError: BAD_WELL for a place that names no row and column: a bare number, or a pair of
            numbers, may count along rows or along columns.
    """
    written = text.strip().replace("^", "")
    if not written:
        return ""
    if not ONE_WELL.fullmatch(written):
        raise InstrumentError(
            "BAD_WELL",
            f"'{text.strip()}' does not say which row and which column is meant. Let the instrument send "
            "wells by name, such as A1.",
        )
    return canonical_well(written, 0)


def together(said: Sequence[Said]) -> Told:
    """One reading for each target of each well (of each specimen, where wells are not named)."""
    groups: dict[tuple[str, str, str], list[Said]] = defaultdict(list)
    for one in said:
        if one.measure != "other":
            groups[one.place, "" if one.place else one.specimen, one.target].append(one)
    readings: list[Reading] = []
    faults = [
        f"{one.where} is not final ({one.status or 'it has no status'})" for one in said if not one.final
    ]
    for group in groups.values():
        reading, doubts = _reading(group)
        readings.append(reading)
        faults += doubts
    unread = tuple(f"{one.where} {one.target}: {one.value}"[:120] for one in said if one.measure == "other")
    return Told(tuple(readings), tuple(faults), unread)


def _reading(group: Sequence[Said]) -> tuple[Reading, list[str]]:
    first = group[0]
    name = f"{first.place or first.specimen} {first.target}".strip()
    cqs = [one for one in group if one.measure == "cq"]
    calls = list(dict.fromkeys(one.value for one in group if one.measure == "call"))
    doubts = []
    for kind, found in (("Cq", cqs), ("calls", calls), ("specimens", {one.specimen for one in group})):
        if len(found) > 1:
            doubts.append(f"{name} has {len(found)} {kind}")
    call = calls[0] if calls else ""
    raw = cqs[0].value.strip() if cqs else ""
    value, flag = _cq(raw, call)
    if flag == cells.UNREAD_CQ:
        said = f"called '{call}'" if call else "not called"
        doubts.append(f"{name} is {said} and its Cq is {repr(raw) if raw else 'missing'}")
    flags = dict.fromkeys(flag for one in group for flag in one.flags)
    return (
        Reading(
            well=first.place,
            sample=first.specimen,
            task=first.task,
            target=first.target,
            dye="",
            cq=value,
            raw_cq=raw,
            call=call,
            flags=(*flags, *((flag,) if flag else ())),
        ),
        doubts,
    )


def _cq(raw: str, call: str) -> tuple[float | None, str]:
    """The Cq, and a flag if it cannot be trusted to say what it seems to say."""
    negative = call.strip().lower() in NEGATIVE
    if not raw:
        return None, "" if negative else cells.UNREAD_CQ
    value, flag = cells.cq(raw)
    if value is None and not flag:  # a word such as "Undetermined": no amplification
        return None, "" if negative or not call else cells.UNREAD_CQ
    if value == 0:
        return None, "" if negative else cells.UNREAD_CQ
    return value, flag


def instant(text: str, zone: tzinfo | None) -> datetime | None:
    """``YYYYMMDDHHMMSS[.f][+ZZZZ]`` as UTC; None when absent, or without a zone where none is known."""
    found = _OFFSET.fullmatch(text.strip())
    local = moment(found[1]) if found else None
    if found is None or local is None:
        return None
    if found[2]:
        shift = timedelta(hours=int(found[2][:3]), minutes=int(found[2][0] + found[2][3:]))
        zone = timezone(shift) if abs(shift) < timedelta(days=1) else None
    try:
        return None if zone is None else local.replace(tzinfo=zone).astimezone(UTC)
    except OverflowError:
        return None


def span(texts: Sequence[str], zone: tzinfo | None) -> list[datetime]:
    """The moments among these words, in order."""
    return sorted(at for text in texts if (at := instant(text, zone)) is not None)
