r"""Messages of ASTM E1394 (CLSI LIS02-A2), as a listener stored them or as they were recorded on the line.

H with its own delimiters, P, O, R, C, M, L. The place of a result is the instrument's specimen ID of its
order: O-4 ``PLATE^WELL`` (``P00000018^B3``); the specimen is O-3, a control has Q in O-12. The target is the
seventh component of R-3 (analyte), else the fourth. A value is a Cq when a component of R-3 behind the
fourth, or the unit R-5, says Ct, Cq or Cp, and a call otherwise; a quantitative value is the second component
of R-4 where the first is empty. The other parts of a Cepheid GeneXpert message (EndPt, Delta Ct, the
result of the whole test beside its analytes) are kept by name. Text is UTF-8, else GB 18030.

Complete: the last record L is there with the code N or F, R, O and P records count without a gap, every
result is final (F), and each target of a well has one Cq or a negative call. A missing, empty or zero
Cq beside anything but a negative call is a fault, as is anything that came in an unfinished frame.

Not read: patients (P), queries (Q), manufacturer's records (M), reference ranges, times without a zone
where none is known. A message that names no plate and well is read, and quarantined by the laboratory.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from instruments.dialects import astm_link
from instruments.dialects.astm_frames import ENQ, STX, Broken
from instruments.dialects.astm_records import Record, delimiters, gaps, records
from instruments.errors import InstrumentError
from instruments.formats import cells
from instruments.formats.source import decode
from instruments.formats.told import Said, few, is_cq, not_endless, span, together, well_of
from instruments.model import RunFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Literal

    from instruments.formats.source import Source

FORMAT = "astm-e1394"
HEAD = 4096
"""Bytes in which a message must have begun. What stands before it is cut off, never searched by a pattern:
a file of nothing but blanks would hold up the whole server for minutes."""
BLANKS = b" \t\r\n\v\f"
_SHAPE = re.compile(rb"(?:\x02[0-7])?H([^\sA-Za-z0-9])[^\sA-Za-z0-9]{3}(?:\1|[\r\n])")
_ENDINGS = {
    "T": "the sender broke it off",
    "R": "the receiver asked to break off",
    "E": "the instrument had an unknown error",
    "Q": "the query before it was wrong",
    "I": "it answers a query that found nothing",
}
_UNFINISHED = "a frame of it came without its end"


def matches(source: Source) -> bool:
    """Whether it begins with a header record, in its first frame or without frames."""
    return _SHAPE.match(source.data[:HEAD].lstrip(b"\x05" + BLANKS)) is not None


def read(source: Source) -> tuple[RunFile, ...]:
    """Read the messages; most files hold one."""
    found = few(source, _messages(source.data))
    return tuple(_run(source, data, faults) for data, faults in found)


def _messages(data: bytes) -> Iterator[tuple[bytes, list[str]]]:
    """Each message without frames, and what the link says against it."""
    if data.lstrip()[:1] in (ENQ, STX):
        for one in astm_link.messages(data.lstrip()):
            yield one.text, [one.reason] if isinstance(one, Broken) else []
        return
    text, mark, _piece = data.partition(STX)
    faults = [_UNFINISHED] if mark else []
    if not mark and text[-1:] not in (b"\r", b"\n"):
        faults = ["its last record has no end"]
    starts = [found.start() for found in re.finditer(rb"(?<![^\r\n])H[^\sA-Za-z0-9]{4}", text)] or [0]
    for at, end in zip(starts, [*starts[1:], len(text)], strict=True):
        yield text[at:end], faults if end == len(text) else []


def _run(source: Source, data: bytes, faults: list[str]) -> RunFile:
    text = decode(data)[0]
    known = delimiters(text.lstrip("\r\n"))
    if known is not None:
        not_endless(source, data, known.field + known.repeat + known.component)
    found = records(text)
    if not found:
        raise InstrumentError(
            "UNREADABLE_FILE",
            "The header of this ASTM message is not one. Keep it, and ask for it to be sent again.",
            file=source.name,
        )
    said, wrong, unread = _walk(found)
    told = together(said)
    results = [one for one in found if one.kind == "R"]
    started, ended = (span([one.text(number) for one in results], source.zone) for number in (12, 13))
    plates, doubts = _plates(found)
    reasons = (*faults, *_ending(found), *gaps(found), *wrong, *doubts, *told.faults)
    head = found[0]
    return RunFile(
        name=source.name,
        sha256=source.sha256,
        format=FORMAT,
        instrument=" ".join(part for part in head.components(5) if part),
        serial=_serial(results),
        software=head.text(5, 3),
        operator=results[0].text(11) if results else "",
        plate=plates,
        experiment=head.text(3),
        run_started=started[0] if started else None,
        run_ended=ended[-1] if ended else None,
        complete=not reasons,
        reasons=reasons,
        readings=told.readings,
        unread=(*unread, *told.unread, *_unread(found, started, ended)),
        method="ct",
    )


def _ending(found: Sequence[Record]) -> list[str]:
    last = found[-1]
    if last.kind != "L":
        return ["its last record (L) is missing: the message is cut off"]
    code = last.text(3).upper()
    return [] if code in ("", "N", "F") else [f"it ended with code {code}: {_ENDINGS.get(code, 'not known')}"]


def _walk(found: Sequence[Record]) -> tuple[list[Said], list[str], list[str]]:
    """The results of a message in the light of their orders."""
    order: Record | None = None
    said: list[Said] = []
    wrong: list[str] = []
    unread: list[str] = []
    analytes = _with_analytes(found)
    for record in found:
        if record.kind == "O":
            order = record
        elif record.kind == "P":
            order = None
        elif record.kind == "C":
            unread.append(f"comment {' '.join(record.components(4))}"[:120])
        elif record.kind == "R":
            try:
                one = _said(record, order, overall=id(order) in analytes)
            except InstrumentError as error:
                wrong.append(f"R {record.raw(2)}: {error.sentence}")
                continue
            if order is None:
                wrong.append(f"{one.where} belongs to no order (O)")
            said.append(one)
    return said, wrong, unread


def _with_analytes(found: Sequence[Record]) -> set[int]:
    """Orders of which some results name an analyte: their other results are of the test as a whole."""
    order: Record | None = None
    named = set()
    for record in found:
        if record.kind == "O":
            order = record
        elif record.kind == "R" and record.text(3, 7):
            named.add(id(order))
    return named


def _said(record: Record, order: Record | None, *, overall: bool) -> Said:
    test = record.components(3)
    measure: Literal["cq", "call", "other"] = "call"
    if any(is_cq(part) for part in test[4:]) or is_cq(record.text(5)):
        measure = "cq"
    elif any(test[7:]) or (overall and not record.text(3, 7)):
        measure = "other"
    words = [part for part in record.components(4) if part]
    status = record.text(9).upper()
    return Said(
        where=f"R {record.raw(2)}",
        specimen=order.text(3) if order else "",
        task="control" if order and "Q" in order.components(12) else "unknown",
        place=well_of("".join(order.components(4)[1:3])) if order else "",
        target=record.text(3, 7) or record.text(3, 4) or record.text(3, 1),
        measure=measure,
        value=words[0] if words else "",
        flags=tuple(flag for flag in record.components(7) if flag not in ("", "N")),
        final=status in ("", "F"),
        status=status,
    )


def _plates(found: Sequence[Record]) -> tuple[str, list[str]]:
    names = {one.text(4, 1) for one in found if one.kind == "O" and one.text(4, 2)}
    if len(names) > 1:
        return "", [f"it speaks of several plates: {cells.some(sorted(names))}"]
    return next(iter(names), ""), []


def _serial(results: Sequence[Record]) -> str:
    """R-14: the instrument, or (Cepheid) system, instrument, module, cartridge, lot, expiry."""
    names = {one.text(14, 2 if len(one.components(14)) >= 4 else 1) for one in results} - {""}
    return names.pop() if len(names) == 1 else ""


def _unread(found: Sequence[Record], started: Sequence[object], ended: Sequence[object]) -> list[str]:
    kinds = dict.fromkeys(one.kind for one in found if one.kind not in ("H", "L", "O", "R", "C"))
    untimed = [
        f"{name} (no zone)"
        for name, number, read_ in (("R-12 start", 12, started), ("R-13 end", 13, ended))
        if not read_ and any(one.kind == "R" and one.text(number) for one in found)
    ]
    return [f"record {kind}" for kind in kinds] + untimed
