"""Lists as files: csv that Excel opens as it is, and xlsx; what was taken out is written down first."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import IO, Any, Final
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from lis import queries
from lis.errors import NotFound
from lis.web.commands import Asked, Caller
from lis.web.linelists import LISTINGS, Cells, heading
from lis.web.listing import Filtered, Filters
from lis.web.views import language_of

router = APIRouter(prefix="/exports", tags=["exports"])

BOM: Final = "\ufeff"
"""Without it Excel takes UTF-8 for the code page of its country."""

SPOOL: Final = 4 * 1024 * 1024
"""Bytes of a file that are kept in memory; a longer one waits on the disk while it is sent."""

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""A text that begins so would be worked out by a spreadsheet."""

MEDIA: Final = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
CHUNK: Final = 64 * 1024
SHEET: Final = 31
"""Characters that the name of a sheet may have."""


@router.get("/{name}.{form}")
def export_list(name: str, form: str, wanted: Filtered, asked: Asked, request: Request) -> Response:
    """A list as csv or xlsx: the rows on the screen and all that follow, with the same filters.

    Columns that tell who somebody is are left out for those who may not see persons. Who took which list,
    with which filters and how many rows, is committed before the first byte leaves.
    """
    listing = LISTINGS.get(name)
    if listing is None or form not in MEDIA:
        raise NotFound("EXPORT_UNKNOWN", f"There is no list {name[:40]}.{form[:8]} to take out.")
    asked.identity.must(listing.may)
    language, persons = language_of(request), asked.identity.may("person")
    names = listing.shown(persons=persons)
    made: IO[bytes] = tempfile.SpooledTemporaryFile(SPOOL)  # noqa: SIM115 - closed when it has been sent
    try:
        with asked.lab.database.read() as conn:
            rows = listing.rows(asked, conn, wanted, language)
            heads = [heading(one, language, asked.lab.settings.timezone) for one in names]
            count = WRITERS[form](made, heads, _cells(rows, names, asked.lab.zone))
        told = persons and any(one.person for one in listing.columns)
        _write_down(asked, name, form, wanted, count, persons=told)
    except BaseException:
        made.close()
        raise
    at = asked.lab.database.clock.now().astimezone(asked.lab.zone)
    headers = {
        "Content-Disposition": f'attachment; filename="{name}-{at:%Y%m%d-%H%M%S}.{form}"',
        "Cache-Control": "no-store",
    }
    return StreamingResponse(_sent(made), media_type=MEDIA[form], headers=headers)


def _write_down(asked: Caller, name: str, form: str, wanted: Filters, count: int, *, persons: bool) -> None:
    with asked.lab.database.write(asked.identity.name) as unit:
        row = {"at": unit.now, "actor": unit.actor, "act": "export", "what": name, "form": form}
        told = {"filters": wanted.query(), "row_count": count, "persons": persons}
        queries.add_export(unit.conn, row | told)


def _cells(rows: Iterable[Cells], names: Sequence[str], zone: ZoneInfo) -> Iterator[list[Any]]:
    """The values of each row in order; moments in the laboratory's own time."""
    for row in rows:
        yield [_local(row[name], zone) for name in names]


def _local(value: Any, zone: ZoneInfo) -> Any:
    return (
        value.astimezone(zone).replace(tzinfo=None, microsecond=0) if isinstance(value, datetime) else value
    )


def _sent(made: IO[bytes]) -> Iterator[bytes]:
    with made:
        made.seek(0)
        while piece := made.read(CHUNK):
            yield piece


def write_csv(made: IO[bytes], heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Write rows as csv in UTF-8 with a byte order mark; how many there were."""
    text = io.TextIOWrapper(made, encoding="utf-8", newline="", write_through=True)
    text.write(BOM)
    out = csv.writer(text)
    out.writerow(heads)
    count = 0
    for row in rows:
        out.writerow([plain(value) for value in row])
        count += 1
    text.detach()
    return count


def plain(value: Any) -> Any:
    """A value as csv holds it; a text that a spreadsheet would work out is made text by an apostrophe."""
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return "" if value is None else value


def write_xlsx(made: IO[bytes], heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Write rows as a workbook of one sheet, row by row; how many there were. Texts are never formulas."""
    import xlsxwriter

    book = xlsxwriter.Workbook(made, {"constant_memory": True, "default_date_format": "yyyy-mm-dd hh:mm:ss"})
    sheet = book.add_worksheet("list"[:SHEET])
    bold = book.add_format({"bold": True})
    moment = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
    sheet.freeze_panes(1, 0)
    sheet.set_column(0, max(len(heads) - 1, 0), 18)
    for place, head in enumerate(heads):
        sheet.write_string(0, place, head, bold)
    count = 0
    for count, row in enumerate(rows, 1):
        for place, value in enumerate(row):
            if isinstance(value, datetime):
                sheet.write_datetime(count, place, value, moment)
            elif isinstance(value, bool | str):
                sheet.write_string(count, place, str(value))
            elif value is not None:
                sheet.write_number(count, place, value)
    book.close()
    return count


WRITERS: Final[dict[str, Callable[[IO[bytes], Sequence[str], Iterable[Sequence[Any]]], int]]] = {
    "csv": write_csv,
    "xlsx": write_xlsx,
}
