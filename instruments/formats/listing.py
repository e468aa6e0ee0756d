"""Plain listings, one line per result: lines to cells, and cells to a run."""

from __future__ import annotations

import csv
from collections import Counter
from typing import TYPE_CHECKING, Any

from instruments.errors import InstrumentError
from instruments.formats import cells
from instruments.formats.source import OPEN_END
from instruments.model import BLOCKS, Reading, RunFile, well_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from instruments.formats.source import Source

UNPROVEN = "the list has no end mark: its wells must equal the loaded plate"


def header_line(source: Source, wanted: set[str], separator: str, most: int = 40) -> int | None:
    """Index of the first line that names all wanted columns (folded)."""
    for index, line in enumerate(source.text.lines[:most]):
        if wanted <= {cells.fold(cell.strip('"')) for cell in line.split(separator)}:
            return index
    return None


def split(source: Source, start: int, separator: str, through: int) -> tuple[list[list[str]], list[str]]:
    """Rows from line ``start`` on, and what is wrong with their end.

    A last line without a line end is taken when a separator follows its cell number ``through``: that
    cell and those before it are whole then. Otherwise it is left out, which is a fault.

    Raises:
        InstrumentError: BAD_ROW for quotation marks that do not match.
    """
    lines = list(source.text.lines[start:])
    faults: list[str] = []
    if tail := source.text.tail:
        if tail.count(separator) > through and '"' not in tail:
            lines.append(tail)
        else:
            faults.append(OPEN_END)
    if not any('"' in line for line in lines):
        return [line.split(separator) for line in lines], faults
    try:
        return [row or [""] for row in csv.reader(lines, delimiter=separator, strict=True)], faults
    except csv.Error as exc:
        raise InstrumentError(
            "BAD_ROW",
            "The quotation marks do not match: the file is cut off or was edited. Export it again.",
            file=source.name,
        ) from exc


def decimal_of(column: Iterable[str]) -> str:
    """Decimal sign of a column of Cq: a comma when it has commas and no points, else a point.

    No Cq reaches 1,000, so a comma in such a column can only be a decimal comma.
    """
    joined = "".join(column)
    return "," if "," in joined and "." not in joined else "."


def full_block(wells: Iterable[str]) -> int:
    """96 or 384 when the wells are exactly those of a block, else 0."""
    have = set(wells)
    size = len(have)
    if size not in BLOCKS or not size:
        return 0
    return size if have == {well_name(i, size) for i in range(size)} else 0


def faults_of(readings: Sequence[Reading]) -> list[str]:
    """Doubled and unreadable results, and a list without any."""
    faults = [] if readings else ["the list has no rows"]
    twice = [key for key, count in Counter(r.key for r in readings).items() if count > 1]
    if twice:
        shown = cells.some(f"{well} {target or dye}".strip() for well, target, dye in twice)
        faults.append(f"two result rows for {shown}")
    unread = [f"{r.well} '{r.raw_cq}'" for r in readings if cells.UNREAD_CQ in r.flags]
    if unread:
        faults.append(f"the Cq of {cells.some(unread)} is neither a number nor a known spelling of none")
    return faults


def run_of(
    source: Source,
    form: str,
    readings: Sequence[Reading],
    faults: Sequence[str],
    assumptions: Sequence[str],
    **about: Any,
) -> RunFile:
    """The run of a list. ``assumptions`` all put results at stake, so they are reasons too."""
    reasons = (*faults, *faults_of(readings), *assumptions)
    return RunFile(
        name=source.name,
        sha256=source.sha256,
        format=form,
        complete=not reasons,
        reasons=reasons,
        readings=tuple(readings),
        assumptions=tuple(assumptions),
        **{"method": "ct", **about},
    )


def unread_columns(header: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Columns whose names no reader asked for."""
    folded = {cells.fold(name) for name in known}
    return tuple(
        f"column {name.strip()}" for name in header if name.strip() and cells.fold(name) not in folded
    )
