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

from dataclasses import dataclass
from typing import TYPE_CHECKING

from instruments.errors import InstrumentError
from instruments.formats.abi import assemble
from instruments.formats.abi_sections import Export, Section, is_footer
from instruments.formats.grid import grid_of
from instruments.formats.source import OPEN_END
from instruments.formats.workbook import export_of, keys_of, results_sheet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from instruments.formats.source import Source
    from instruments.model import RunFile

TEXT_FORMAT = "quantstudio-text"
BOOK_FORMAT = "quantstudio-workbook"
_KNOWN = ("Sample Setup", "Amplification Data", "Results")


def matches_text(source: Source) -> bool:
    """Whether the text opens with ``* Block Type`` and other keys of the legacy export."""
    head = [line for line in source.text.first(60) if line.startswith("* ") and " = " in f"{line} "]
    names = {line[2:].split(" = ")[0].strip() for line in head}
    return bool(names & {"Block Type", "Instrument Type"}) and source.text.content.startswith("* ")


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
    head, parts = _parts(source.text.whole, source.text.newline)
    tables = {name: _section(parts[name]) for name in _KNOWN if name in parts}
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
            keys=_keys(head),
            results=results,
            setup=tables.get("Sample Setup"),
            amplification=tables.get("Amplification Data"),
            others=tuple(f"section {name}" for name in parts if name not in _KNOWN),
            proven=False,
            faults=() if source.text.ended else (OPEN_END,),
        ),
    )


def _keys(lines: Sequence[str]) -> dict[str, str]:
    pairs = (line[2:].partition(" =") for line in lines if line.startswith("* "))
    return {key.strip(): value.strip() for key, _, value in pairs}


@dataclass(frozen=True)
class _Part:
    """A section as it stands in the file.

    Attributes:
        line: number of its title, from 1; ``text``: the lines below the title, with their ends.
        closed: whether another section follows.
    """

    line: int
    text: str
    newline: str
    closed: bool


def _parts(text: str, newline: str) -> tuple[list[str], dict[str, _Part]]:
    """The lines before the first section, and the sections by name; the last of one name counts."""
    titles = list(_titles(text, newline))
    if not titles:
        return text.split(newline)[:-1], {}
    parts, line, before = {}, 1, 0
    for (start, name, body), following in zip(titles, [*titles[1:], None], strict=True):
        line, before = line + text.count(newline, before, start), start
        end = following[0] if following else len(text)
        parts[name] = _Part(line, text[body:end], newline, closed=following is not None)
    return text[: titles[0][0]].split(newline)[:-1], parts


def _titles(text: str, newline: str) -> Iterator[tuple[int, str, int]]:
    """Lines in brackets: where each starts, the name between them, where the line after it starts."""
    start = text.find("[")  # brackets are rarer by far than line ends, and found at once
    while start >= 0:
        after = start + 1
        if text.endswith(newline, 0, start) or not start:
            after = text.index(newline, start) + len(newline)
            title = text[start:after].rstrip()
            if title.endswith("]"):
                yield start, title[1:-1], after
        start = text.find("[", after)


def _section(part: _Part) -> Section | None:
    """Table of a section, None when the file ends before its column names."""
    named, found, body = part.text.partition(part.newline)
    if not found:
        return None
    header = tuple(named.split("\t"))
    grid = grid_of(body, part.newline, len(header)) if "Cycle" in header else None
    if grid is not None:
        return Section(header, (), part.line + 2, closed=part.closed, grid=grid)
    rows = [line.split("\t") for line in body.split(part.newline)[:-1]]
    even = "Cycle" in header and all(len(row) == len(header) for row in rows)
    ends = (i for i, row in enumerate(rows) if not even and not row[0][:1].isdigit() and is_footer(row))
    stop = next(ends, len(rows))
    return Section(
        header=header,
        rows=rows[:stop],
        first_line=part.line + 2,
        closed=part.closed or stop < len(rows),
        footer=tuple(row[0] for row in rows[stop:] if row[0].strip()),
    )
