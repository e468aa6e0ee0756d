"""QuantStudio Design & Analysis workbooks, v1.5 to v2.7, and Diomni 4.

v2: keys from ``File Name`` on, table at row 25 to 29 (the row differs between sheets of one file),
``Cq``, "UNDETERMINED". v1: the legacy keys, table near row 46, ``CT``, rows of a footer after a blank
row that are not wells. The sheet is ``Results`` or, in Diomni, ``Primary_result``. Calls and quality
issues are joined from ``Target Call`` by well and target. Some exports have no Sample or Target
column: those fields stay empty and the dye tells readings apart. No sentinel numbers are used.

Complete: the zip is proved whole (directory, sizes, checksums), so every row written is here; the
run must have ended; where a Sample Setup sheet exists, every reaction in it must have a result; no
row of any sheet gives a well number that is not its position.

Not read: raw and multicomponent sheets, melt curves, standard curves, well and sample calls (only target
calls are joined), replicate statistics. They are named in ``unread``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from instruments.formats.abi import assemble
from instruments.formats.workbook import export_of, keys_of, results_sheet

if TYPE_CHECKING:
    from instruments.formats.source import Source
    from instruments.model import RunFile

FORMAT = "design-analysis"
# Keys that only this family writes: v2 and Diomni the first two, v1.5 the others.
_MARKS = (
    "Software Name and Version",
    "Software name",
    "Pre-read Stage/Step",
    "Stage/ Cycle where Ct Analysis is performed",
)


def matches(source: Source) -> bool:
    """Whether the workbook has the header of Design & Analysis or Diomni."""
    sheet = results_sheet(source)
    if sheet is None:
        return False
    keys = keys_of(source.rows(sheet))
    return "Instrument Type" in keys and any(mark in keys for mark in _MARKS)


def read(source: Source) -> RunFile:
    """Read the export."""
    return assemble(source, export_of(source, FORMAT))
