"""QuantStudio Real-Time PCR Software and ViiA 7 exports: text, and workbooks of the Flex series.

Text: ``* Key = value`` lines, then ``[Section]`` blocks of tab-separated tables. Wells are written
``1`` or ``1.0`` with the position beside them (sometimes padded), numbers with grouped thousands
(``882,830.500``), no Cq as ``Undetermined`` or blank, the barcode ``NA`` when there is none. Custom
columns may stand between the known ones, and trailing blank cells may be missing. Crt runs
(relative threshold) write a threshold of 0.2 that is a placeholder; their ``method`` is "crt". No
sentinel numbers are used.

Complete, for text: the last line has its line end; every results row reaches past the last known
column; a run end key has a value; and the table of results is proved whole by what follows it
(another section or a footer) or by a trustworthy Sample Setup whose every reaction has a row. A cut
at any byte fails one of these. Where neither proof exists, the file is not complete until its wells
are compared with the loaded plate (``assumptions``). Workbooks are proved by their container. In
both, a row whose well number is not its position makes the file incomplete, with the row's line.

Not read: raw, multicomponent and melt sections, replicate statistics, custom columns. They are named in
``unread``.
"""

from __future__ import annotations

from itertools import compress, count, repeat
from typing import TYPE_CHECKING

from instruments.errors import InstrumentError
from instruments.formats.abi import Export, Section, assemble, is_footer
from instruments.formats.source import OPEN_END
from instruments.formats.workbook import export_of, keys_of, results_sheet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from instruments.formats.source import Source
    from instruments.model import RunFile

TEXT_FORMAT = "quantstudio-text"
BOOK_FORMAT = "quantstudio-workbook"
_KNOWN = ("Sample Setup", "Amplification Data", "Results")


def matches_text(source: Source) -> bool:
    """Whether the text opens with ``* Block Type`` and other keys of the legacy export."""
    head = [line for line in source.text.lines[:60] if line.startswith("* ") and " = " in f"{line} "]
    names = {line[2:].split(" = ")[0].strip() for line in head}
    return bool(names & {"Block Type", "Instrument Type"}) and source.text.lines[0].startswith("* ")


def matches_book(source: Source) -> bool:
    """Whether the workbook has the legacy keys."""
    sheet = results_sheet(source)
    keys = keys_of(source.rows(sheet)) if sheet else {}
    return "Block Type" in keys and "Instrument Type" in keys


def read_book(source: Source) -> RunFile:
    """Read a workbook."""
    return assemble(source, export_of(source, BOOK_FORMAT))


def read_text(source: Source) -> RunFile:
    """Read a text export.

    Raises:
        InstrumentError: INCOMPLETE_FILE when the file ends before the results begin.
    """
    lines = source.text.lines
    opened = compress(count(), map(str.startswith, lines, repeat("[")))
    starts = [i for i in opened if lines[i].rstrip().endswith("]")]
    sections = {
        lines[i].strip()[1:-1]: (i, end) for i, end in zip(starts, [*starts[1:], len(lines)], strict=True)
    }
    tables = {name: _section(lines, *sections[name]) for name in _KNOWN if name in sections}
    results = tables.get("Results")
    if results is None:
        raise InstrumentError(
            "INCOMPLETE_FILE",
            "The file ends before its [Results]. Wait until the export has finished, or export the run again "
            "with Results ticked.",
            file=source.name,
        )
    return assemble(
        source,
        Export(
            format=TEXT_FORMAT,
            keys=_keys(lines[: starts[0]]),
            results=results,
            setup=tables.get("Sample Setup"),
            amplification=tables.get("Amplification Data"),
            others=tuple(f"section {name}" for name in sections if name not in _KNOWN),
            proven=False,
            faults=() if source.text.ended else (OPEN_END,),
        ),
    )


def _keys(lines: Sequence[str]) -> dict[str, str]:
    pairs = (line[2:].partition(" =") for line in lines if line.startswith("* "))
    return {key.strip(): value.strip() for key, _, value in pairs}


def _section(lines: Sequence[str], start: int, end: int) -> Section | None:
    """Table of a section, None when the file ends before its column names."""
    if start + 1 >= end:
        return None
    header = tuple(lines[start + 1].split("\t"))
    body = lines[start + 2 : end]
    if body and "Cycle" in header and set(map(str.count, body, repeat("\t"))) == {len(header) - 1}:
        flat = "\t".join(body).split("\t")
        columns = tuple(flat[i :: len(header)] for i in range(len(header)))
        return Section(header, body, start + 3, closed=end < len(lines), columns=columns)
    rows = [line.split("\t") for line in body]
    stop = next((i for i, row in enumerate(rows) if not row[0][:1].isdigit() and is_footer(row)), len(rows))
    return Section(
        header=header,
        rows=rows[:stop],
        first_line=start + 3,
        closed=start + 2 + stop < len(lines),
        footer=tuple(row[0] for row in rows[stop:] if row[0].strip()),
    )
