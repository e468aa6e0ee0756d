"""Workbooks of Applied Biosystems software taken apart: header keys, tables, footers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from instruments.errors import InstrumentError
from instruments.formats import cells
from instruments.formats.abi_sections import Export, Section, is_footer

if TYPE_CHECKING:
    from instruments.formats.source import Cell, Rows, Source
    from instruments.model import FlagScope

RESULT_SHEETS = ("Results", "Primary_result", "Result")
_HEADER_SEARCH = 120  # header rows seen: 8 to 46


def keys_of(rows: Rows) -> dict[str, Cell]:
    """Header keys in the first column with their values in the second, down to the table."""
    top = header_row(rows)
    found: dict[str, Cell] = {}
    for row in rows[: _HEADER_SEARCH if top is None else top]:
        if row and isinstance(row[0], str) and row[0].strip():
            found.setdefault(row[0].strip(), row[1] if len(row) > 1 else "")
    return found


def header_row(rows: Rows) -> int | None:
    """Index of the row that names the columns of a table by well."""
    for index, row in enumerate(rows[:_HEADER_SEARCH]):
        folded = [cells.fold(cell) for cell in row[:2]]
        if folded and folded[0] in ("well", "well position") and sum(cell != "" for cell in row) >= 3:
            return index
    return None


def section_of(rows: Rows) -> Section | None:
    """Return the table of a sheet; it ends at the first blank row or remark, the rest is a footer."""
    top = header_row(rows)
    if top is None:
        return None
    body = rows[top + 1 :]
    end = next((i for i, row in enumerate(body) if is_footer(row)), len(body))
    footer = tuple(cells.text(row[0]) for row in body[end:] if cells.text(row[0]))
    header = tuple(str(cell) for cell in rows[top])
    return Section(header, body[:end], first_line=top + 2, closed=True, footer=footer)


def results_sheet(source: Source) -> str | None:
    """Name of the sheet with the results, None for another workbook."""
    return next((name for name in RESULT_SHEETS if name in source.sheet_names), None)


def export_of(source: Source, form: str, *, flags_scope: FlagScope = "target") -> Export:
    """Take a workbook apart.

    Raises:
        InstrumentError: MISSING_SHEET without results.
    """
    name = results_sheet(source)
    results = section_of(source.rows(name)) if name else None
    if name is None or results is None:
        raise InstrumentError(
            "MISSING_SHEET",
            "The workbook has no sheet 'Results' with a table of wells. Export it again with Results ticked.",
            file=source.name,
        )
    known = {name, "Sample Setup", "Amplification Data", "Target Call"}
    tables = {
        sheet: section_of(source.rows(sheet)) for sheet in known - {name} if sheet in source.sheet_names
    }
    return Export(
        format=form,
        keys=keys_of(source.rows(name)),
        results=results,
        setup=tables.get("Sample Setup"),
        amplification=tables.get("Amplification Data"),
        calls=tables.get("Target Call"),
        others=tuple(f"sheet {sheet}" for sheet in source.sheet_names if sheet not in known),
        flags_scope=flags_scope,
    )
