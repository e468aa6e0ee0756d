"""What is kept of a run: its row, its readings, the state of its plate."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lis import ledger, queries
from lis.db import under_way
from retest import Call

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from instruments import RunFile
    from lis.db import Unit
    from lis.matching import LoadedWell, Measured
    from lis.services.results.charting import Charted
    from lis.services.results.shapes import Judged, Plate
    from retest import PlateVerdict


def run_id_of(file_id: str, plate_id: str, measured: Mapping[str, tuple[Measured, ...]]) -> str:
    """The id of the run: the seal over everything that was read."""
    values = [(m.well, m.target, m.dye, m.cq, m.curve) for many in measured.values() for m in many]
    return ledger.run_seal(file_id, plate_id, values)


@dataclass(frozen=True, slots=True)
class Taken:
    """A file that was taken over: which run it is, and what its controls and their charts say."""

    run_id: str
    file_id: str
    device: str
    run: RunFile
    verdict: PlateVerdict
    charted: Charted


def save_run(
    unit: Unit,
    plate: Plate,
    done: Taken,
    measured: Mapping[str, tuple[Measured, ...]],
    judged: Sequence[Judged],
) -> None:
    """Keep a run with its readings, and with what lots are compared by; close its plate."""
    alone = Counter(one.alone for one in judged if one.alone)
    calls = Counter(one.outcome.call for one in judged)
    text = verdict_text(done.verdict)
    row = {
        "run_id": done.run_id,
        "plate_id": plate.plate_id,
        "file_id": done.file_id,
        "device": done.device,
        "format": done.run.format,
        "instrument": done.run.instrument,
        "serial": done.run.serial,
        "started_at": done.run.run_started,
        "ended_at": done.run.run_ended,
        "read_at": unit.now,
        "valid": done.verdict.run_valid,
        "failed_batches": ",".join(sorted(done.verdict.failed_batches)),
        "verdict": text,
        "lot": plate.lot,
        "tested": len(judged),
        "alone": ",".join(f"{target}:{count}" for target, count in sorted(alone.items())),
        "inconclusive": calls[Call.borderline],
        "invalid": calls[Call.invalid],
        "quality": done.charted.rejected,
    }
    points = [one | {"run_id": done.run_id} for one in done.charted.rows]
    state = "read" if done.verdict.run_valid else "failed"
    with under_way(unit.conn):
        queries.insert_rows(unit.conn, "run", [row])
        queries.insert_rows(unit.conn, "quality_point", points)
        queries.set_row(
            unit.conn, "plate", {"plate_id": plate.plate_id}, state=state, reason=text, closed_at=unit.now
        )
    plan = {well.well: well for well in plate.wells}
    queries.insert_readings(
        unit.conn, [_reading(done.run_id, plan[one.well], one) for many in measured.values() for one in many]
    )


def _reading(run_id: str, plan: LoadedWell, one: Measured) -> queries.ReadingRow:
    return queries.ReadingRow(
        run_id,
        one.well,
        one.target,
        one.dye,
        plan.tube or None,
        plan.control or None,
        one.sample,
        one.cq,
        one.raw_cq,
        one.curve,
        one.call,
        ",".join(one.flags),
    )


def verdict_text(verdict: PlateVerdict) -> str:
    """Which controls failed, and how."""
    return "; ".join(
        f"{failure.kind} {failure.well} {failure.target}: {failure.en}".replace("  ", " ")
        for failure in verdict.failures
    )
