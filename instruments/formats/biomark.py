"""Fluidigm BioMark table results (csv): one row per chamber of a chip.

Keys on top, then three stacked rows of column names (``Chamber``/``ID``, ``Sample``/``Name``,
``Ct``/``Value``, ``Quality``, ``Call``, ...). The well is the chamber, ``S48-A01``: sample inlet and assay
inlet. A Ct of 999 is none. A quality below the file's own threshold, or the call Fail, raises FAIL; the
call is kept. The reporter is the dye.

Complete: the last line has its line end, all rows are as wide as the column names, and the chambers are
all those of a chip (48 x 48, 96 x 96, 24 x 192, 12 x 12).

Not read: rConc, the type of the assay, several Ct tables beside each other (more than one reporter).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from instruments.errors import InstrumentError
from instruments.formats import cells
from instruments.formats.listing import run_of, split
from instruments.formats.source import OPEN_END
from instruments.model import Reading, RunFile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from instruments.formats.source import Source

FORMAT = "biomark"
_NONE = 999.0
_CHIPS = {(48, 48), (96, 96), (192, 24), (24, 192), (12, 12)}
_CHAMBER = re.compile(r"S([0-9]{1,3})-A([0-9]{1,3})")


def _top(source: Source) -> int | None:
    """Line of the last of the three rows of column names."""
    for index, line in enumerate(source.text.lines[2:40], 2):
        if line.startswith("ID,") and source.text.lines[index - 1].startswith("Chamber,"):
            return index
    return None


def matches(source: Source) -> bool:
    """Whether the text has the stacked column names of a table of chambers."""
    return _top(source) is not None and source.text.lines[0].startswith("Chip Run")


def read(source: Source) -> RunFile:
    """Read the chambers.

    Raises:
        InstrumentError: MISSING_COLUMN without a Ct, BAD_WELL for a chamber that is none.
    """
    lines = source.text.lines
    top = _top(source) or 0
    outer, inner = (line.split(",") for line in (lines[top - 1], lines[top]))
    names = [f"{cells.fold(a)} {cells.fold(b)}" for a, b in zip(outer, inner, strict=False)]
    if names.count("ct value") != 1:
        raise InstrumentError(
            "MISSING_COLUMN",
            "The table has not exactly one Ct column. Export the table results of one reporter at a time.",
            file=source.name,
        )
    keys = dict(line.split(",", 1) for line in lines[: top - 2] if "," in line)
    limit = cells.number(keys.get("Quality Threshold", ""))
    dye = lines[top - 2].split(",")[names.index("ct value")].strip()
    rows, faults = split(source, top + 1, ",", len(names) - 1)
    rows = [row for row in rows if any(row)]
    if uneven := sum(len(row) != len(names) for row in rows):
        faults.append(f"{uneven} rows are not as wide as the column names")
    if not source.text.ended and OPEN_END not in faults:
        faults.append(OPEN_END)
    at = {name: i for i, name in reversed(list(enumerate(names)))}
    # The assay's name stands under the reporter's: "fam-mgb name".
    assay = [i for i, name in enumerate(names) if name.endswith(" name") and name != "sample name"]
    at |= {"assay": assay[0]} if assay else {}
    readings = [_reading(source, row, at, dye, limit) for row in rows if len(row) == len(names)]
    if not _whole(readings):
        faults.append("the chambers are not all those of a chip: the end of the table is missing")
    return run_of(
        source,
        FORMAT,
        readings,
        faults,
        [],
        instrument="BioMark",
        software=keys.get("Application Version", "").strip(),
        experiment=keys.get("Chip Run Filename", "").strip(),
        unread=tuple(f"column {name}" for name in names if name.endswith("rconc"))
        + tuple(f"key {key}" for key in keys if key not in ("Application Version", "Chip Run Filename")),
    )


def _reading(
    source: Source, row: Sequence[str], at: Mapping[str, int], dye: str, limit: float | None
) -> Reading:
    def said(name: str) -> str:
        return row[at[name]].strip() if name in at else ""

    chamber = said("chamber id")
    if not _CHAMBER.fullmatch(chamber):
        raise InstrumentError("BAD_WELL", f"'{chamber}' is no chamber of a chip.", file=source.name)
    raw = said("ct value")
    value, doubt = (None, "") if cells.number(raw) == _NONE else cells.cq(raw)
    quality = cells.number(said("ct quality"))
    failed = said("ct call") == "Fail" or (quality is not None and limit is not None and quality < limit)
    return Reading(
        well=chamber,
        sample=said("sample name"),
        task=cells.task(said("sample type")),
        target=said("assay"),
        dye=dye,
        cq=value,
        raw_cq=raw,
        call=said("ct call"),
        flags=tuple(flag for flag in (doubt, "FAIL" if failed else "") if flag),
        threshold=cells.number(said("ct threshold")),
    )


def _whole(readings: Sequence[Reading]) -> bool:
    """Whether the chambers are the full rectangle of a known chip."""
    places = {(int(m[1]), int(m[2])) for r in readings if (m := _CHAMBER.fullmatch(r.well))}
    samples, assays = {s for s, _ in places}, {a for _, a in places}
    return (
        len(places) == len(samples) * len(assays)
        and (len(samples), len(assays)) in _CHIPS
        and max(samples) == len(samples)
        and max(assays) == len(assays)
    )
