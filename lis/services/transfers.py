"""What goes where on a plate, one line a transfer: for a liquid handler, or for a hand with a list."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Final

from lis import ledger, queries
from lis.errors import NotFound
from scheduler.jobs import Stage
from scheduler.plates import SHAPES, well_place

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from lis.queries import Row
    from lis.tube import Tube


@dataclass(frozen=True, slots=True)
class Transfer:
    """One line of the list, in the order in which plates are filled.

    Attributes:
        source_kind: ``single``, ``mixed``, ``pool``, ``control``, or ``eluate``: RNA that lies in a well of
            an earlier plate.
        source: code of the tube, or kind of the control.
        source_rack, source_position: where it stands; plate and well for an eluate.
        destination_index: number of the well down the columns, A1 = 1, as liquid handlers count.
        volume_ul: microlitres.
        batch: extraction batch; empty for an eluate.
    """

    step: int
    source_kind: str
    source: str
    source_rack: str
    source_position: str
    destination_plate: str
    destination_well: str
    destination_index: int
    volume_ul: float
    batch: str
    test: str


COLUMNS: Final = tuple(field.name for field in fields(Transfer))


def transfers(conn: Connection, plate_id: str, *, sample_ul: float, eluate_ul: float) -> list[Transfer]:
    """Every transfer of a plate.

    Args:
        conn: where to look.
        plate_id: the plate.
        sample_ul: microlitres of specimen or control for extraction.
        eluate_ul: microlitres of RNA that is amplified again.

    Raises:
        NotFound: ``PLATE_UNKNOWN``.
    """
    plate = queries.plate_row(conn, plate_id)
    if plate is None:
        raise NotFound(
            "PLATE_UNKNOWN", f"Plate {plate_id[:40]} is not known here. Check the code.", plate=plate_id
        )
    rows_of, size = SHAPES[plate["size"]][0], plate["size"]
    wells = sorted(queries.wells(conn, plate_id), key=lambda row: well_place(row["well"], size)[::-1])
    tubes = ledger.tubes(conn, {row["tube_id"] for row in wells if row["tube_id"]})
    again = [row["tube_id"] for row in wells if row["test"] == Stage.RE_AMPLIFY and row["tube_id"]]
    lies = queries.extracted_in(conn, again, plate["created_at"])
    found = []
    for step, row in enumerate(wells, 1):
        line, column = well_place(row["well"], size)
        kind, source, rack, position = _source(row, tubes, lies)
        found.append(
            Transfer(
                step,
                kind,
                source,
                rack,
                position,
                plate_id,
                row["well"],
                column * rows_of + line + 1,
                eluate_ul if kind == "eluate" else sample_ul,
                row["batch"],
                row["test"],
            )
        )
    return found


def _source(row: Row, tubes: dict[str, Tube], lies: dict[str, tuple[str, str]]) -> tuple[str, str, str, str]:
    """Kind, code, rack and position of what goes into a well."""
    if row["control"]:
        return "control", row["control"], "", ""
    code = row["tube_id"]
    if code in lies and not row["batch"]:
        return "eluate", code, *lies[code]
    tube = tubes[code]
    return tube.kind.value, code, tube.rack, tube.position


def as_csv(lines: Sequence[Transfer]) -> str:
    """The list as a file: header, one line a transfer, CRLF, comma, full stop."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for line in lines:
        values = asdict(line) | {"volume_ul": f"{line.volume_ul:g}"}
        writer.writerow([values[name] for name in COLUMNS])
    return text.getvalue()
