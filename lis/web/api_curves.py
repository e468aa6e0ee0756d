"""The curves of a run that was read, as screens draw them: the Cq of its file, and the Cq called again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from instruments.tracing import Trace
from lis import laboratory, queries
from lis.errors import NotFound
from lis.web.commands import Asked, Caller
from retest import ReadingError
from retest.outcome import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from retest import AssayRules

router = APIRouter(prefix="/api/v1", tags=["plates"])

KEPT: Final = 8
"""Runs whose curves are kept ready; a reviewer goes to and fro between a few."""


class Shelf:
    """The curves of the runs looked at last. Files never change, so nothing here grows old."""

    def __init__(self, most: int = KEPT) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[Trace, ...]] = OrderedDict()

    def of(self, lab: laboratory.Laboratory, file_id: str) -> tuple[Trace, ...]:
        """The curves of a file, read once."""
        with self._lock:
            if file_id in self._kept:
                self._kept.move_to_end(file_id)
                return self._kept[file_id]
        found = laboratory.drawn(lab, file_id)
        with self._lock:
            self._kept[file_id] = found
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return found


@router.get("/runs/{run_id}/curves")
def run_curves(
    request: Request, run_id: str, asked: Asked, target: Annotated[str, Query(max_length=80)] = ""
) -> Response:
    """The curves of one target of a run, the first virus target if none is named; Cq of all targets.

    ``own`` is the Cq called again from the curve, ``cq`` that of the file; ``verdict`` compares them.
    """
    shelf: Shelf = request.app.state.shelf
    return asked.read("look", lambda conn: curves_document(asked, conn, shelf, run_id, target))


def curves_document(
    asked: Caller, conn: Connection, shelf: Shelf, run_id: str, target: str
) -> dict[str, Any]:
    """One target of a run as screens draw it.

    Raises:
        NotFound: ``RUN_UNKNOWN``, ``TARGET_UNKNOWN``.
    """
    row = queries.run_row(conn, run_id)
    if row is None:
        raise NotFound("RUN_UNKNOWN", f"Run {run_id[:16]} is not known here. Open the plate again.")
    plate = queries.plate_row(conn, row["plate_id"]) or {}
    assay = asked.lab.rules.assay(plate["assay"], plate["assay_version"])
    own = {one.name: one.is_control for one in assay.targets}
    readings = {(one["well"], one["target"]): one for one in queries.readings_of_run(conn, run_id)}
    named = _named(shelf.of(asked.lab, row["file_id"]), readings, assay)
    shown = target or next((name for name, control in own.items() if not control), "")
    if shown not in own:
        raise NotFound("TARGET_UNKNOWN", f"Assay {plate['assay']} has no target {shown[:40]}.")
    drawn = {well: one for (well, name), one in named.items() if name == shown}
    return {
        "run_id": run_id,
        "plate": row["plate_id"],
        "size": plate["size"],
        "target": shown,
        "targets": [{"name": name, "control": control} for name, control in own.items()],
        "threshold": next((one.threshold for one in drawn.values() if one.threshold is not None), None),
        "first": min((one.first for one in drawn.values()), default=1),
        "curves": {well: [float(f"{value:.4g}") for value in one.values] for well, one in drawn.items()},
        "called": _called(readings, named),
    }


def _named(
    found: Sequence[Trace], readings: Mapping[tuple[str, str], Mapping[str, Any]], assay: AssayRules
) -> dict[tuple[str, str], Trace]:
    """(Well, target as the assay names it) -> its curve, for the wells that were read."""
    by_dye = {(one["well"], one["dye"]): one["target"] for one in readings.values() if one["dye"]}
    named: dict[tuple[str, str], Trace] = {}
    for one in found:
        try:
            name = canonical(one.target, assay)
        except ReadingError:
            name = by_dye.get((one.well, one.dye), "")
        if (one.well, name) in readings:
            named[one.well, name] = one
    return named


def _called(
    readings: Mapping[tuple[str, str], Mapping[str, Any]], named: Mapping[tuple[str, str], Trace]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Well -> target -> the Cq of the file, the Cq called again and what comparing them says."""
    called: dict[str, dict[str, dict[str, Any]]] = {}
    for (well, target), row in readings.items():
        one = named.get((well, target))
        called.setdefault(well, {})[target] = {
            "cq": row["cq"],
            "own": round(one.cq, 2) if one and one.cq is not None else None,
            "verdict": one.verdict if one else "unchecked",
            "tube": row["tube_id"] or row["control"] or "",
        }
    return called
