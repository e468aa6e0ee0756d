"""What a result rests on: the run of its last call, its own wells, their neighbours, its persons."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from lis import queries
from retest import Call, Material, ReleaseFacts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lis.db import Unit
    from lis.queries import ReadingRow
    from lis.rulebook import Rulebook
    from lis.tube import Tube
    from retest import AssayRules

NEIGHBOURS: Final = tuple((r, c) for r in (-1, 0, 1) for c in (-1, 0, 1) if (r, c) != (0, 0))

INTEGRITY: Final = "INTEGRITY_"
"""How flags begin that say: this Cq did not come from this curve."""

NOTHING_AMPLIFIED: Final = frozenset({"NOAMP", "NO_AMP", "NO AMP", "EXPFAIL"})
"""Flags that only say what a negative target is: it did not amplify."""


class Evidence(Struct, frozen=True):
    """What a result rests on: the facts for the release rules, and the run of its last call."""

    facts: ReleaseFacts
    assay: str
    version: str
    pool: str
    places: int


def evidence_of(unit: Unit, rules: Rulebook, tubes: Sequence[Tube]) -> dict[str, Evidence]:
    """Facts of each tube; a pool member rests on the run of its pool."""
    conn = unit.conn
    pools = queries.pools_of(conn, [tube.tube_id for tube in tubes])
    tested = {tube.tube_id: _tested(tube, pools) for tube in tubes}
    calls = queries.calls(conn, tested.values())
    people = queries.people_of(conn, [tube.tube_id for tube in tubes])
    held = queries.recalls_of(conn, [person for many in people.values() for person in many])
    sizes = queries.pool_sizes(conn, {code for own, code in tested.items() if own != code})
    runs: dict[str, _Run] = {}
    found = {}
    for tube in tubes:
        code = tested[tube.tube_id]
        past = calls.get(code, [])
        run = _run(unit, rules, runs, past[-1].run_id) if past else None
        places = tube.persons if code == tube.tube_id else sizes.get(code, 0)
        own_held = any(
            other != tube.tube_id for p in people.get(tube.tube_id, ()) for other in held.get(p, ())
        )
        facts = _facts(tube, code, past, run, places=places, held=own_held) if run else _nothing(tube, code)
        found[tube.tube_id] = Evidence(
            facts=facts,
            assay=past[-1].assay if past else "",
            version=run.row["assay_version"] if run else "",
            pool=code if code != tube.tube_id else "",
            places=places,
        )
    return found


def _tested(tube: Tube, pools: Mapping[str, str]) -> str:
    return pools[tube.tube_id] if tube.tests == 0 and tube.tube_id in pools else tube.tube_id


# -- a run ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Run:
    """A run with its readings by tube, and what all its results share.

    Attributes:
        controls: targets that are internal controls.
        failed: extraction batches that are not valid.
        signals: place of a specimen's well -> the smallest Cq of its virus targets.
        contradicted: integrity flags of the plate's controls.
    """

    row: Mapping[str, Any]
    assay: AssayRules
    controls: frozenset[str]
    failed: frozenset[str]
    by_tube: Mapping[str, list[ReadingRow]]
    batch: Mapping[str, str]
    signals: Mapping[tuple[int, int], float]
    contradicted: tuple[str, ...]
    started: datetime
    ended: bool
    valid: bool


def _run(unit: Unit, rules: Rulebook, runs: dict[str, _Run], run_id: str) -> _Run:
    if run_id not in runs:
        runs[run_id] = _read_run(unit, rules, run_id)
    return runs[run_id]


def _read_run(unit: Unit, rules: Rulebook, run_id: str) -> _Run:
    row = queries.run_with_plate(unit.conn, run_id)
    assay = rules.assay(row["assay"], row["assay_version"])
    controls = frozenset(target.name for target in assay.targets if target.is_control)
    by_tube: dict[str, list[ReadingRow]] = {}
    signals: dict[tuple[int, int], float] = {}
    for reading in queries.rows_of_run(unit.conn, run_id):
        by_tube.setdefault(reading.tube_id or "", []).append(reading)
        if reading.tube_id and reading.cq is not None and reading.target not in controls:
            place = _place(reading.well)
            signals[place] = min(reading.cq, signals.get(place, reading.cq))
    wells = queries.wells(unit.conn, row["plate_id"])
    return _Run(
        row=row,
        assay=assay,
        controls=controls,
        failed=frozenset(row["failed_batches"].split(",")) - {""},
        by_tube=by_tube,
        batch={well["tube_id"]: well["batch"] for well in wells if well["tube_id"]},
        signals=signals,
        contradicted=_contradicting(by_tube.get("", ())),
        started=row["started_at"] or row["read_at"],
        ended=_has_ended(row, unit.now),
        valid=bool(row["valid"]),
    )


def _place(well: str) -> tuple[int, int]:
    return ord(well[0]) - ord("A"), int(well[1:])


def _has_ended(row: Mapping[str, Any], now: datetime) -> bool:
    """The instrument's end of run, or, where its file has none, the fact that a whole file was written."""
    return row["ended_at"] is None or row["ended_at"] <= now + timedelta(minutes=5)


# -- one result ----------------------------------------------------------------------------------


def _material(tube: Tube, code: str) -> Material:
    return Material.pool if code != tube.tube_id else Material(tube.kind.value)


def _nothing(tube: Tube, code: str) -> ReleaseFacts:
    """The facts of a tube that no run has read."""
    return ReleaseFacts(
        call=Call.invalid,
        result=tube.result,
        material=_material(tube, code),
        findings=0,
        run_ended=False,
        run_valid=False,
        batch_valid=False,
        controls_present=False,
        file_complete=False,
        assay_validated=False,
    )


def _facts(
    tube: Tube, code: str, past: Sequence[queries.CallRow], run: _Run, *, places: int, held: bool
) -> ReleaseFacts:
    material = _material(tube, code)
    own = run.by_tube.get(code, [])
    viral = [r for r in own if r.target not in run.controls]
    inner = [r for r in own if r.target in run.controls]
    seen = [r.cq for r in inner if r.cq is not None]
    return ReleaseFacts(
        call=Call(past[-1].outcome),
        result=tube.result,
        material=material,
        findings=len(past),
        run_ended=run.ended,
        run_valid=run.valid,
        batch_valid=run.batch.get(code, "") not in run.failed,
        controls_present=run.valid or "missing" not in run.row["verdict"],
        file_complete=True,  # an incomplete file never becomes a run
        assay_validated=run.assay.pooling.fits(material, places),
        quality=run.row["quality"],
        # those of the internal control and of the plate's controls too, which carry the result
        flags=(*(flag for r in viral for flag in _doubts(r)), *run.contradicted, *_contradicting(inner)),
        curves=tuple(r.curve or None for r in viral),
        ic_cq=max(seen) if seen and len(seen) == len(inner) else None,
        ic_required=bool(run.controls),
        neighbour_min_cq=_neighbours(run, own),
        person_held=held,
        is_retest=tube.test != "first",
        specimen_age_hours=_age(tube, run.started),
    )


@lru_cache(maxsize=1024)
def _flags(written: str) -> tuple[str, ...]:
    """The flags of a reading; a plate says the same few again and again."""
    return tuple(flag for flag in written.split(",") if flag)


def _doubts(reading: ReadingRow) -> list[str]:
    """Instrument flags of a viral target that cast doubt on it."""
    shown = reading.cq is not None
    return [flag for flag in _flags(reading.flags) if shown or flag.upper() not in NOTHING_AMPLIFIED]


def _contradicting(readings: Iterable[ReadingRow]) -> tuple[str, ...]:
    return tuple(flag for row in readings for flag in _flags(row.flags) if flag.startswith(INTEGRITY))


def _neighbours(run: _Run, own: Sequence[ReadingRow]) -> float | None:
    """The smallest Cq of a virus target in the wells around these."""
    if not run.signals:
        return None
    wells = {_place(r.well) for r in own}
    around = {(r + dr, c + dc) for r, c in wells for dr, dc in NEIGHBOURS} - wells
    return min((run.signals[place] for place in around if place in run.signals), default=None)


def _age(tube: Tube, started: datetime) -> float | None:
    if tube.sampled_at is None:
        return None
    return max((started - tube.sampled_at).total_seconds() / 3600, 0.0)
