"""Rotor-Gene Q csv (QIAGEN "Excel Analysed Data Export"), several assays under each other.

Keys on top, then per assay a line ``Quantitative analysis of Cycling A.Green (28S)``, the column names
(No., Color, Name, Type, Ct, Ct Comment, ...) and a row per tube. UTF-8 with a byte order mark, ``;``,
``,`` or tabs. The well is the tube's number on the rotor, the target stands in the brackets, the channel
is the dye. A blank Ct is none; the Ct Comment (``NEG (NTC)``) is a flag. A decimal comma is known by a
Ct column that has commas and no points. The start is read where the day (over 12) tells the order of a
date and the laboratory's zone is given.

Complete: never from the file alone, since nothing shows whether assays or tubes were cut off its end:
the tubes of each assay must equal what was loaded. Rows that stop before their Ct Comment are a fault.

Not read: concentrations, replicate statistics, colours, melts, raw channels.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from instruments.errors import InstrumentError
from instruments.formats import cells
from instruments.formats.listing import decimal_of, run_of, split, unread_columns
from instruments.model import Reading, RunFile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from instruments.formats.source import Source

FORMAT = "rotor-gene"
_TITLE = re.compile(r"Quantitative analysis of (?:Cycling )?(?:[A-Z]\.)?")
_COLUMNS = ("No.", "Name", "Type", "Ct", "Ct Comment")
_UNPROVEN = "nothing shows whether assays or tubes are missing at its end: each must equal what was loaded"


def _separator(source: Source) -> str:
    line = next((line for line in source.text.lines if line.startswith("No.")), "")
    return max(";,\t", key=line.count)


def matches(source: Source) -> bool:
    """Whether the text opens as QIAGEN's export and holds a quantitative analysis."""
    lines = source.text.lines
    return (
        bool(lines)
        and lines[0].strip('";,\t ').startswith("Excel Analysed Data Export")
        and any(line.lstrip('"').startswith("Quantitative analysis of") for line in lines)
    )


def read(source: Source) -> RunFile:
    """Read all assays.

    Raises:
        InstrumentError: MISSING_COLUMN when an assay lacks No., Name, Type or Ct.
    """
    separator = _separator(source)
    rows, faults = split(source, 0, separator, 5)
    keys = {row[0].strip(): row[1].strip() for row in rows[:8] if len(row) > 1 and row[0].strip()}
    readings: list[Reading] = []
    unread: tuple[str, ...] = ()
    title, header = ("", ""), [""]
    for line, row in enumerate(rows, 1):
        first = row[0].strip()
        if found := _title(first):
            title = found
        elif first == "No.":
            header = [cells.fold(name) for name in row]
            unread = unread_columns(row, _COLUMNS)
            _check(source, header, line)
            decimal = decimal_of(_column(rows, line, header.index("ct")))
        elif first.isascii() and first.isdigit() and title[0]:
            _check(source, header, line)
            if len(row) <= max(header.index("ct") + 1, header.index("name"), header.index("type")):
                faults.append(f"line {line} stops before its Ct Comment")
                continue
            readings.append(_reading(row, header, title, decimal))
        elif first and title[0]:
            faults.append(f"line {line} is no row of a tube: '{first[:40]}'")
    started = _started(keys, source)
    return run_of(
        source,
        FORMAT,
        readings,
        faults,
        [_UNPROVEN],
        instrument="Rotor-Gene Q",
        experiment=keys.get("File", ""),
        run_started=started,
        unread=(*unread, *(() if started or "Date" not in keys else ("key Date", "key Time"))),
    )


def _check(source: Source, header: Sequence[str], line: int) -> None:
    missing = [name for name in ("name", "type", "ct") if name not in header]
    if missing:
        raise InstrumentError(
            "MISSING_COLUMN",
            f"The assay has no column {', '.join(missing)}. Export the analysed data again with it.",
            file=source.name,
            line=line,
        )


def _title(line: str) -> tuple[str, str] | None:
    """Target and channel of an assay: ``Quantitative analysis of Cycling A.Green (28S)``."""
    begun = _TITLE.match(line)
    channel, bracket, target = line[begun.end() if begun else 0 :].partition("(")
    if not begun or not bracket or not target.endswith(")"):
        return None
    return target[:-1], channel.rstrip()


def _column(rows: Sequence[Sequence[str]], start: int, at: int) -> list[str]:
    """Cells of a column from row ``start`` down to the end of its assay."""
    found: list[str] = []
    for line in range(start, len(rows)):
        if not rows[line][0].strip().isdigit():
            break
        found += rows[line][at : at + 1]
    return found


def _reading(row: Sequence[str], header: Sequence[str], title: tuple[str, str], decimal: str) -> Reading:
    def said(name: str) -> str:
        return row[header.index(name)].strip() if name in header and header.index(name) < len(row) else ""

    value, doubt = cells.cq(said("ct"), decimal=decimal)
    return Reading(
        well=str(int(row[0][:9])),
        sample=said("name"),
        task=cells.task(said("type")),
        target=title[0],
        dye=title[1],
        cq=value,
        raw_cq=said("ct"),
        call="",
        flags=tuple(flag for flag in (doubt, said("ct comment")) if flag),
    )


def _started(keys: dict[str, str], source: Source) -> datetime | None:
    """Start of the run, None when day and month may be swapped."""
    date = keys.get("Date", "").split("/")
    if len(date) != 3 or not date[1].isdigit() or int(date[1]) <= 12:
        return None
    return cells.instant(f"{keys['Date']} {keys.get('Time', '')}", source.zone)
