"""Result lists of the UK Lighthouse laboratories (csv): one row per sample, a triple per channel.

Root Sample, RNA ID, Result, Date Tested, Lab ID, then CHn-Target, CHn-Result and CHn-Cq, n = 1 to 4. The
RNA ID is the plate's barcode, ``_`` and the well. A channel without a target was not used. The call of
a channel is its CHn-Result. A list of several plates gives a run for each.

Complete: never from the file alone; the wells of each plate must equal what was loaded. Rows of another
width than the column names are a fault; a last line without its end is taken when its last Cq has as many
decimals as all others.

Not read: the Result of the whole sample, Date Tested (not the time of a run), Lab ID.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from instruments.errors import InstrumentError
from instruments.formats import cells
from instruments.formats.listing import UNPROVEN, header_line, run_of, split, unread_columns
from instruments.formats.source import OPEN_END
from instruments.model import Reading, RunFile, canonical_well

if TYPE_CHECKING:
    from collections.abc import Sequence

    from instruments.formats.source import Source

FORMAT = "lighthouse"
_WANTED = {"root sample", "rna id", "result", "ch1-target", "ch1-cq"}
_PLACE = re.compile(r"(.+)_([A-P][0-9]{1,2})")


def matches(source: Source) -> bool:
    """Whether the first line names the columns of such a list."""
    return header_line(source, _WANTED, ",", 1) is not None


def read(source: Source) -> tuple[RunFile, ...]:
    """Read the plates of a list.

    Raises:
        InstrumentError: BAD_WELL for an RNA ID that names no well.
    """
    header = [cells.fold(name.strip('"')) for name in source.text.lines[0].split(",")]
    channels = [n for n in range(1, 9) if f"ch{n}-target" in header and f"ch{n}-cq" in header]
    rows, faults = split(source, 1, ",", len(header) - 2)
    columns = [header.index(f"ch{n}-cq") for n in channels]
    if source.text.tail and rows and OPEN_END not in faults and not _ends_whole(rows, columns):
        rows.pop()
        faults.append(OPEN_END)
    plates: dict[str, list[Reading]] = {}
    for line, row in enumerate(rows, 2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            faults.append(f"line {line} is not as wide as the column names")
            continue
        place = _PLACE.fullmatch(row[header.index("rna id")].strip())
        if place is None:
            raise InstrumentError(
                "BAD_WELL",
                f"'{row[header.index('rna id')]}' is no plate barcode with a well behind '_'. "
                "Check the RNA ID column.",
                file=source.name,
                line=line,
            )
        plates.setdefault(place[1], []).extend(_readings(row, header, channels, place[2]))
    known = {
        "root sample",
        "rna id",
        *(f"ch{n}-{part}" for n in channels for part in ("target", "result", "cq")),
    }
    unread = unread_columns(source.text.lines[0].split(","), known)
    return tuple(
        run_of(source, FORMAT, readings, faults, [UNPROVEN], plate=plate, experiment=plate, unread=unread)
        for plate, readings in (plates or {"": []}).items()
    )


def _ends_whole(rows: Sequence[Sequence[str]], columns: Sequence[int]) -> bool:
    """Whether the last cell of a list without a last line end is whole though it is a Cq.

    The lists write a fixed number of decimals, so a cell with as many as all the others lost none.
    """
    written = [row[i].strip() for row in rows for i in columns if len(row) > i]
    decimals = {len(cell.partition(".")[2]) for cell in written if cell}
    return len(written) > 1 and len(decimals) == 1 and 0 not in decimals and bool(written[-1])


def _readings(row: Sequence[str], header: Sequence[str], channels: Sequence[int], well: str) -> list[Reading]:
    def said(name: str) -> str:
        return row[header.index(name)].strip() if name in header else ""

    found = []
    for n in channels:
        target = said(f"ch{n}-target")
        if not target:
            continue
        value, doubt = cells.cq(said(f"ch{n}-cq"))
        found.append(
            Reading(
                well=canonical_well(well, 0),
                sample=said("root sample"),
                task="",
                target=target,
                dye=f"CH{n}",
                cq=value,
                raw_cq=said(f"ch{n}-cq"),
                call=said(f"ch{n}-result"),
                flags=(doubt,) if doubt else (),
            )
        )
    return found
