"""ABI 7900 array-card results (TLDA) without column names, as SDS lists them: tabs, 16 columns.

Number, plate, well, Passed or Flagged, sample, gene, task, Ct, and eight columns of statistics. The
layout has no names, so a file is taken for it only where it proves itself: the number of every row is
its well's position on the 384-well card, and the words stand where they must. CR alone, CRLF or LF; the
last line may lack its end. ``Undetermined`` is none; ``Flagged`` is the flag FLAGGED.

Complete: all 384 wells, each with a Ct cell that a separator follows.

Not read: the statistics after the Ct (means, ΔCt, RQ), unnamed as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from instruments.errors import InstrumentError
from instruments.formats import cells
from instruments.formats.listing import UNPROVEN, full_block, run_of, split
from instruments.model import Reading, RunFile, well_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from instruments.formats.source import Source

FORMAT = "tlda"
_WIDTH = 16
_CQ = 7
_TASKS = ("Target", "Endogenous Control")


def _fits(row: Sequence[str]) -> bool:
    number = row[0].strip()
    return (
        len(row) == _WIDTH
        and number.isascii()
        and number.isdigit()
        and 1 <= int(number[:6]) <= 384
        and row[2].strip() == well_name(int(number) - 1, 384)
        and row[3].strip() in ("Passed", "Flagged")
        and row[6].strip() in _TASKS
    )


def matches(source: Source) -> bool:
    """Whether the first lines prove the layout."""
    lines = source.text.lines[:5]
    return bool(lines) and all(_fits(line.split("\t")) for line in lines)


def read(source: Source) -> RunFile:
    """Read the card.

    Raises:
        InstrumentError: BAD_ROW for a row that does not follow the layout.
    """
    rows, faults = split(source, 0, "\t", _CQ)
    readings = []
    for line, row in enumerate(rows, 1):
        if not any(cell.strip() for cell in row):
            continue
        if not _fits([*row, *[""] * (_WIDTH - len(row))]):
            raise InstrumentError(
                "BAD_ROW", "The row is no row of an array card. Export it again.", file=source.name, line=line
            )
        readings.append(_reading(row))
    block = full_block(reading.well for reading in readings)
    return run_of(
        source,
        FORMAT,
        readings,
        faults,
        [] if block == 384 else [UNPROVEN],
        instrument="7900HT",
        block=384,
        experiment=rows[0][1].strip() if rows else "",
        unread=("columns 9 to 16",),
    )


def _reading(row: Sequence[str]) -> Reading:
    value, doubt = cells.cq(row[_CQ])
    return Reading(
        well=row[2].strip(),
        sample=row[4].strip(),
        task=row[6].strip(),
        target=row[5].strip(),
        dye="",
        cq=value,
        raw_cq=row[_CQ].strip(),
        call="",
        flags=tuple(flag for flag in (doubt, "FLAGGED" if row[3].strip() == "Flagged" else "") if flag),
    )
