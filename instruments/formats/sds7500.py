"""Applied Biosystems 7500 / 7500 Fast (sds7500) workbooks, ``.xls`` or the same saved as ``.xlsx``.

Header keys on top (``Instrument Type`` = sds7500), results from row 8, Cq in a column ``Cт`` whose
т is Cyrillic (U+0442), "Undetermined" for none. HIGHSD, NOAMP and EXPFAIL belong to the **well** and
are repeated on each of its targets: a well with RNase P at 26 carries NOAMP=Y when another target
did not amplify (``flags_scope`` "well").

Complete: the container is proved whole (every sector or checksum), so every row written is here;
a header that has a run end key must have a run end.

Not read: replicate statistics, comments and other columns, which are named in ``unread``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from instruments.formats import cells
from instruments.formats.abi import assemble
from instruments.formats.workbook import export_of, keys_of, results_sheet

if TYPE_CHECKING:
    from instruments.formats.source import Source
    from instruments.model import RunFile

FORMAT = "sds7500"


def matches(source: Source) -> bool:
    """Whether the workbook says it comes from a 7500."""
    sheet = results_sheet(source)
    return sheet is not None and cells.fold(
        keys_of(source.rows(sheet)).get("Instrument Type", "")
    ).startswith("sds75")


def read(source: Source) -> RunFile:
    """Read the export."""
    return assemble(source, export_of(source, FORMAT, flags_scope="well"))
