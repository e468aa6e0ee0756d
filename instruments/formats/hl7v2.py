r"""Results of HL7 v2 (written for 2.5.1): ORU^R01 and OUL^R22, as a listener stored them or from a file.

A reaction is an OBR with its OBX. The specimen is SPM-2 (placer, else filler), else OBR-3, else OBR-2; role
Q in SPM-11 is a control. The place of the specimen on its plate is, in SAC: carrier SAC-10 and position
SAC-11; or tray SAC-13 and SAC-14; or parent container SAC-4 and container SAC-3; or SAC-3 as
``PLATE^WELL``; or OBX whose identifier is PLATE and WELL. A position is a name such as A1 (or ``A^1``): a
bare number may count along rows or columns and is refused. The target is OBX-3.1, without an end such as
``_Ct``; where OBX-3.2 is a LOINC name (``N gene [Cycle Threshold #] in ...``), what stands before the
bracket. A value is a Cq when the unit OBX-6, the sub-identifier OBX-4, another component of OBX-3 or
that end says Ct, Cq or Cp; otherwise text and codes are a call, and other numbers are kept by name.
The character set is that of MSH-18, else UTF-8, else GB 18030.

Complete: the message came in its envelope (MLLP), which proves its end (a file without one is compared
with the loaded plate); its type is one of the two; OBX count without a gap; every result is final (F);
each target of a well has one Cq or a negative call. A missing, empty or zero Cq beside anything but a
negative call is a fault.

Not read: patients (PID), orders (ORC), notes (NTE), reference ranges, times without a zone where none is
known. A message that names no plate and well is read, and quarantined by the laboratory.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from instruments.dialects import mllp
from instruments.dialects.astm_records import plain
from instruments.errors import InstrumentError
from instruments.formats import cells
from instruments.formats.listing import UNPROVEN
from instruments.formats.source import decode
from instruments.formats.told import (
    NEGATIVE,
    ONE_WELL,
    Said,
    few,
    is_cq,
    not_endless,
    span,
    together,
    well_of,
)
from instruments.model import RunFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from instruments.formats.source import Source

FORMAT = "hl7-v2"
KINDS = ("ORU^R01", "OUL^R22")
"""The messages that bring results."""

_SHAPE = re.compile(rb"MSH([^\sA-Za-z0-9])[^\sA-Za-z0-9]{2,5}\1")
_STARTS = re.compile(r"(?<![^\r])MSH(?=[^\sA-Za-z0-9])")
_CHARSETS = {
    "UNICODE UTF-8": "utf-8",
    "UNICODE": "utf-8",
    "UTF-8": "utf-8",
    "GB 18030-2000": "gb18030",
    "8859/1": "latin-1",
    "ASCII": "utf-8",
}
_SUFFIX = re.compile(r"(.+?)[ _-](?:ct|cq|cp)", re.IGNORECASE)
_ESCAPES = re.compile(r"\\([FSTRE]|X(?:[0-9A-Fa-f]{2})+)\\")
_POSITIVE = frozenset({"260373001", "10828004", "52101004"})
"""SNOMED CT: detected, positive, present."""
_NOT_FINAL = frozenset("ACIOPRSXY")
"""Codes of OBR-25 (HL7 table 0123) that say: not all, or not for good."""


def matches(source: Source) -> bool:
    """Whether it begins with the segment MSH, in its envelope or without."""
    return (
        _SHAPE.match(source.data[:4096].lstrip(b" \t\r\n\v\f")) is not None
    )  # no pattern for blanks: see astm


def read(source: Source) -> tuple[RunFile, ...]:
    """Read the messages; most files hold one."""
    found = few(source, _messages(source.data))
    return tuple(_run(source, data, proof) for data, proof in found)


def _messages(data: bytes) -> Iterator[tuple[bytes, str]]:
    """Each message, and what its envelope says: ``whole``, ``cut``, or nothing where there is none."""
    if mllp.START not in data[:64]:
        yield from ((part, "") for part in _split(data))
        return
    framer = mllp.Framer()
    for piece in (*framer.receive(data), *framer.close()):
        yield piece.data, "whole" if isinstance(piece, mllp.Block) else "cut"


def _split(data: bytes) -> Iterator[bytes]:
    """The messages of a file without envelopes."""
    text = data.decode("latin-1").replace("\r\n", "\r").replace("\n", "\r")
    starts = [found.start() for found in _STARTS.finditer(text)]
    for at, end in zip(starts, [*starts[1:], len(text)], strict=True):
        yield text[at:end].encode("latin-1")


@dataclass
class _Order:
    """One OBR: where and what it is of, and the OBX under it."""

    specimen: str = ""
    task: str = "unknown"
    plate: str = ""
    place: str = ""
    label: str = "the specimen"
    by_spm: bool = False
    results: list[Any] = field(default_factory=list)


@dataclass
class _Walk:
    """What was seen on the way through a message.

    Attributes:
        ahead: the specimen that stands before its orders (OUL^R22); empty in ORU^R01.
        now: the order whose results follow.
        next: number that the next OBX should have.
    """

    by_specimen: bool
    orders: list[_Order] = field(default_factory=list)
    ahead: _Order = field(default_factory=_Order)
    now: _Order | None = None
    next: int = 1
    faults: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)


def _run(source: Source, data: bytes, proof: str) -> RunFile:
    message, head = _parsed(source, data)
    walk = _walked(message, by_specimen=head.kind == "OUL^R22")
    said = [one for order in walk.orders for one in _said(order, walk)]
    told = together(said)
    plates = sorted({order.plate for order in walk.orders if order.plate})
    if len(plates) > 1:
        walk.faults.append(f"it speaks of several plates: {cells.some(plates)}")
    if head.kind not in KINDS:
        walk.faults.append(f"its type is {head.kind or 'not given'}; results come as {' or '.join(KINDS)}")
    if proof == "cut":
        walk.faults.append("it was cut off before the end of its envelope")
    observed = [_text(obx, 14) for order in walk.orders for obx in order.results]
    times = span(
        [*observed, *(_text(obx, 19) for order in walk.orders for obx in order.results)], source.zone
    )
    serials = {_text(obx, 18) for order in walk.orders for obx in order.results} - {""}
    assumptions = () if proof else (UNPROVEN,)
    reasons = (*walk.faults, *told.faults, *assumptions)
    if any(observed) and not times:
        walk.unread.append("OBX-14 time (no zone)")
    return RunFile(
        name=source.name,
        sha256=source.sha256,
        format=FORMAT,
        instrument=" ".join(part for part in (head.part(3, 1), head.part(4, 1)) if part),
        serial=serials.pop() if len(serials) == 1 else "",
        plate=plates[0] if len(plates) == 1 else "",
        experiment=head.control_id,
        run_started=times[0] if times else None,
        run_ended=times[-1] if times else None,
        complete=not reasons,
        reasons=reasons,
        readings=told.readings,
        unread=(*dict.fromkeys(walk.unread), *told.unread),
        assumptions=assumptions,
        method="ct",
    )


def _parsed(source: Source, data: bytes) -> tuple[Any, mllp.Header]:
    """The message as the library hl7 parses it, and its header."""
    import hl7  # other formats need none

    head = mllp.header(data)
    marks = head.field(1) + head.field(2) if head else ""
    if head is None or not 5 <= len(marks) <= 6 or len({*marks}) != len(marks):
        raise _unreadable(source, "its header (MSH) does not say how its fields are separated")
    not_endless(source, data, marks)
    charset = _CHARSETS.get(head.field(18).split("~")[0].strip().upper())
    try:
        text = data.decode(charset) if charset else decode(data)[0]
    except UnicodeDecodeError:
        text = decode(data)[0]
    lines = [line for line in re.split(r"[\r\n]+", text.strip("\0\r\n \t")) if line.strip()]
    try:
        return hl7.parse("\r".join(lines) + "\r"), head
    except (hl7.HL7Exception, AssertionError, ValueError, LookupError, TypeError) as error:
        raise _unreadable(source, f"its segments cannot be told apart ({error})") from error


def _unreadable(source: Source, why: str) -> InstrumentError:
    return InstrumentError(
        "UNREADABLE_FILE",
        f"This is no HL7 message that can be read: {why}. Keep it, and have it sent again.",
        file=source.name,
    )


def _walked(message: Any, *, by_specimen: bool) -> _Walk:
    walk = _Walk(by_specimen)
    for segment in message:
        kind = str(segment[0])
        if kind in _STEPS:
            try:
                _STEPS[kind](segment, walk)
            except InstrumentError as error:
                walk.faults.append(f"{kind} {_text(segment, 1)[:20]}: {error.sentence}")
        elif kind not in ("MSH", "ORC"):
            walk.unread.append(f"segment {kind}"[:40])
    return walk


def _order(segment: Any, walk: _Walk) -> None:
    named = _text(segment, 3) or _text(segment, 2)
    walk.now = replace(walk.ahead, results=[]) if walk.by_specimen else _Order()
    walk.now.specimen = walk.now.specimen or named
    walk.now.label = f"OBR {_text(segment, 1) or len(walk.orders) + 1}"
    walk.next = 1
    walk.orders.append(walk.now)
    if (status := _text(segment, 25).upper()) in _NOT_FINAL:
        walk.faults.append(f"{walk.now.label} is not final ({status})")


def _specimen(segment: Any, walk: _Walk) -> None:
    if walk.by_specimen:
        walk.ahead, walk.now = _Order(), None
    order = walk.now or walk.ahead
    named = _text(segment, 2, 1) or _text(segment, 2, 2)
    if order.by_spm and order.specimen != named:
        walk.faults.append(f"{order.label} has two specimens: {order.specimen} and {named}")
    order.specimen, order.by_spm = named or order.specimen, True
    order.task = "control" if _text(segment, 11).upper() == "Q" else "unknown"


def _container(segment: Any, walk: _Walk) -> None:
    """The place of a specimen, by whichever pair of fields the sender uses."""
    pairs = [(_text(segment, 10), _joined(segment, 11)), (_text(segment, 13), _joined(segment, 14))]
    if _text(segment, 4) and ONE_WELL.fullmatch(_text(segment, 3)):
        pairs.append((_text(segment, 4), _text(segment, 3)))
    elif ONE_WELL.fullmatch(_text(segment, 3, 2)):
        pairs.append((_text(segment, 3), _text(segment, 3, 2)))
    for plate, place in pairs:
        if place:
            _placed(walk, plate, well_of(place))


def _placed(walk: _Walk, plate: str, place: str) -> None:
    order = walk.now or walk.ahead
    for name, old, new in (("plate", order.plate, plate), ("well", order.place, place)):
        if old and new and old != new:
            walk.faults.append(
                f"specimen {order.specimen or '(not named)'} has two places: {name} {old} and {new}"
            )
    order.plate, order.place = order.plate or plate, order.place or place


def _observation(segment: Any, walk: _Walk) -> None:
    name = _text(segment, 3).upper()
    if walk.now is not None:
        number = _text(segment, 1)
        if number.isdigit() and int(number[:9]) not in (1, walk.next):
            walk.faults.append(f"{walk.now.label}: OBX {number[:9]} stands where {walk.next} is next")
        walk.next = int(number[:9]) + 1 if number.isdigit() else walk.next + 1
    if name in ("PLATE", "WELL"):
        value = _joined(segment, 5)
        _placed(walk, value if name == "PLATE" else "", well_of(value) if name == "WELL" else "")
    elif walk.now is None:
        walk.unread.append(f"OBX {name} of the specimen"[:40])
    else:
        walk.now.results.append(segment)


_STEPS: dict[str, Callable[[Any, _Walk], None]] = {
    "OBR": _order,
    "SPM": _specimen,
    "SAC": _container,
    "OBX": _observation,
}


def _said(order: _Order, walk: _Walk) -> Iterator[Said]:
    """The results of an order, with the place that the whole order gave them."""
    for obx in order.results:
        target, marked = _target(obx)
        kind, value = _text(obx, 2).upper(), _value(obx)
        measure: Literal["cq", "call", "other"] = "call"
        if marked or is_cq(_text(obx, 6)) or is_cq(_text(obx, 4)):
            measure = "cq"
        elif kind in ("NM", "SN", "NA", "ED", "RP", "DT", "TM", "TS", "DTM"):
            measure = "other"
        status = _text(obx, 11).upper()
        yield Said(
            where=f"{order.label} OBX {_text(obx, 1)}",
            specimen=order.specimen,
            task=order.task,
            place=order.place,
            target=target,
            measure=measure,
            value=value,
            flags=tuple(flag for flag in _repeated(obx, 8) if flag not in ("", "N")),
            final=status == "F",
            status=status,
        )
    if not order.results:
        walk.unread.append(f"{order.label} without results")


def _target(obx: Any) -> tuple[str, bool]:
    """The target of a result, and whether its name says that the value is a Cq."""
    code, text, *others = [_text(obx, 3, number) for number in range(1, 7)]
    marked = any(is_cq(part) for part in (text, *others))
    if " [" in text:  # a LOINC name: component [property] in system
        gene, _, rest = text.partition(" [")
        return gene, marked or rest.lower().startswith("cycle threshold")
    if found := _SUFFIX.fullmatch(code):
        return found[1], True
    return code or text, marked


def _value(obx: Any) -> str:
    """The value as one word: of a code its text, of a structured number only an exact one."""
    kind = _text(obx, 2).upper()
    if kind in ("CE", "CWE", "CNE", "CF"):
        code, text = _text(obx, 5), _text(obx, 5, 2)
        if code in _POSITIVE:  # whatever its text says
            return f"{text} ({code})".strip()
        return text if text.lower() in NEGATIVE or (code not in NEGATIVE and text) else code
    if kind == "SN":
        parts = [_text(obx, 5, number) for number in range(1, 5)]
        return parts[1] if parts[0] in ("", "=") and not parts[2] else "".join(parts)
    return "; ".join(word for word in _repeated(obx, 5) if word)


def _field(segment: Any, number: int) -> Any:
    return segment[number] if len(segment) > number else ""


def _text(segment: Any, number: int, component: int = 1) -> str:
    """One component of the first repetition of a field; its first subcomponent, escapes undone."""
    found = _field(segment, number)
    for part in (1, component, 1):
        if isinstance(found, str):
            found = found if part == 1 else ""
        else:
            found = found[part - 1] if part <= len(found) else ""
    return _meant(str(found))


def _joined(segment: Any, number: int) -> str:
    """The components of the first repetition of a field, one after the other."""
    return "".join(_text(segment, number, component) for component in (1, 2, 3))


def _repeated(segment: Any, number: int) -> list[str]:
    """The repetitions of a field, each by its first component."""
    found = _field(segment, number)
    if isinstance(found, str):
        return [_meant(found)]
    return [_meant(str(one if isinstance(one, str) else one[0] if len(one) else "")) for one in found]


def _meant(text: str) -> str:
    """Escapes undone, ends stripped; the null of HL7 (two quotation marks) is empty."""
    marks = {"F": "|", "S": "^", "T": "&", "R": "~", "E": "\\"}

    def one(found: re.Match[str]) -> str:
        code = found[1]
        return marks[code] if code in marks else bytes.fromhex(code[1:]).decode("utf-8", "replace")

    meant = plain(_ESCAPES.sub(one, text))
    return "" if meant == '""' else meant
