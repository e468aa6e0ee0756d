"""From a file to decided tubes, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from lis import events as e
from lis import ledger, queries
from lis.barcodes import PLATE
from lis.db import under_way
from lis.matching import (
    OTHER_SERIAL,
    Measured,
    Mismatch,
    Sender,
    match,
    same_instrument,
    serial_in,
)
from lis.services.results.charting import chart
from lis.services.results.deciding import facts_of, is_left, open_pools, pool_of, tally, void
from lis.services.results.judging import judge, read_wells
from lis.services.results.keeping import Taken, run_id_of, save_run, verdict_text
from lis.services.results.shapes import Ingested, Parsed, Plate, loaded
from lis.services.results.splashing import examined
from lis.tube import NEXT_STEP, TubeState
from retest import ReadingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from instruments import RunFile
    from lis.db import Unit
    from lis.matching import LoadedWell
    from lis.queries import Row
    from lis.rulebook import Rulebook
    from lis.services.results.shapes import Judged
    from lis.tube import Tube
    from retest import PlateVerdict


def ingest(unit: Unit, rules: Rulebook, file_id: str, parsed: Parsed) -> Ingested:
    """Take a received file over into the laboratory, or quarantine it with the reason.

    Asking again about a file that was read answers what was done then.
    """
    # gather
    row, status = queries.file_to_read(unit.conn, file_id)
    if status is None or row is None:
        raise LookupError(file_id)
    if status["state"] != "waiting":
        return Ingested(
            file_id, status["state"], status["code"], status["reason"], status["plate_id"], status["run_id"]
        )
    # decide
    try:
        found = _read(unit, rules, parsed, {**row, "plate_id": status["plate_id"] or row["plate_id"]})
    except Mismatch as error:
        return _quarantine(unit, file_id, error)
    except ReadingError as error:  # a value no cycler can mean, such as a Cq of 0
        code = error.code.upper().replace("-", "_")
        return _quarantine(unit, file_id, Mismatch(code, f"{parsed_name(parsed)}: {error}"))
    # apply
    return _take(unit, rules, found, {**row, "file_id": file_id})


@dataclass(frozen=True, slots=True)
class _Found:
    """A file that fits its plate: what it says, what its controls and the rules make of it, what is told."""

    run: RunFile
    plate: Plate
    measured: Mapping[str, tuple[Measured, ...]]
    verdict: PlateVerdict
    judged: Sequence[Judged]
    voided: Sequence[tuple[Tube, LoadedWell]]
    doubt: str
    crowded: str


def _read(unit: Unit, rules: Rulebook, parsed: Parsed, file: Row) -> _Found:
    """Match a file with its plate and read it.

    Raises:
        Mismatch: the file and the plate contradict each other.
        ReadingError: a value that no cycler can mean.
    """
    run = _usable(parsed)
    plate = _plate_for(unit, rules, run, file["plate_id"] or _plate_in(file["name"]))
    doubt = _other_cycler(unit, run, plate, file["device"])
    measured = match(run, plate.plate_id, plate.wells, plate.assay, parsed.curves)
    if doubt:  # a person's file: taken over, and held by the release rules until somebody looked
        measured = {well: _flagged(many, OTHER_SERIAL) for well, many in measured.items()}
    measured, crowded = examined(plate, measured, run.block)
    verdict = judge(rules, plate, run, measured)
    judged, voided = read_wells(unit, rules, plate, run.instrument, measured, verdict)
    return _Found(run, plate, measured, verdict, judged, voided, doubt, crowded)


def _take(unit: Unit, rules: Rulebook, found: _Found, file: Row) -> Ingested:
    """Keep the run, move its tubes, close its file."""
    plate, verdict, judged = found.plate, found.verdict, found.judged
    run_id = run_id_of(file["file_id"], plate.plate_id, found.measured)
    pools = open_pools(unit, plate)
    undecided = {one.tube.tube_id: one.decision for one in judged if is_left(one, pools)}
    facts = [fact for one in judged for fact in facts_of(unit, rules, plate, run_id, one, undecided)]
    # First what every tube was called, then what becomes of them: rows of one kind are written at once.
    facts.sort(key=lambda fact: not isinstance(fact[1], e.Called))
    facts += [(tube.tube_id, void(rules, plate, run_id, well, verdict, tube)) for tube, well in found.voided]
    charted = chart(unit, plate, file["device"], found.measured, valid=verdict.run_valid)
    taken = Taken(run_id, file["file_id"], file["device"], found.run, verdict, charted)
    save_run(unit, plate, taken, found.measured, judged)
    after = ledger.append(unit, facts, plate.tubes)
    with under_way(unit.conn):
        queries.set_row(
            unit.conn,
            "file_status",
            {"file_id": file["file_id"]},
            state="read",
            code="",
            reason="",
            plate_id=plate.plate_id,
            run_id=run_id,
            decided_at=unit.now,
            decided_by=unit.actor,
        )
        _tell(unit, plate, taken, found.doubt, found.crowded)
    return Ingested(
        file["file_id"],
        "read",
        plate_id=plate.plate_id,
        run_id=run_id,
        tubes=tuple(sorted(plate.tubes)),
        decisions=tally(judged, found.voided),
        pools=frozenset(code for one in judged if (code := pool_of(one.tube, pools))),
        undecided=undecided,
        after=after,
    )


def _tell(unit: Unit, plate: Plate, taken: Taken, doubt: str, crowded: str) -> None:
    """Raise the alarms of a run: failed controls, rejecting charts, another cycler, crowded positives."""
    verdict, rejected = taken.verdict, taken.charted.rejected
    if not verdict.run_valid or verdict.failed_batches:
        _alarm(unit, "CONTROL_FAILED", plate.plate_id, verdict_text(verdict) or "a control failed")
    if rejected:
        sentence = (
            f"Control charts reject this run ({rejected}). Its results wait for a person: look at the "
            "charts, and for the cause, before anything of it is released."
        )
        _alarm(unit, "QUALITY_REJECTED", plate.plate_id, sentence)
    if doubt:
        _alarm(unit, OTHER_SERIAL, plate.plate_id, doubt)
    if crowded:
        _alarm(unit, "POSITIVES_CROWDED", plate.plate_id, crowded)


def parsed_name(parsed: Parsed) -> str:
    """Name of the file, for sentences."""
    return parsed.run.name if parsed.run else "the file"


# -- is the file usable, and for which plate -----------------------------------------------------


def _usable(parsed: Parsed) -> RunFile:
    if parsed.run is None:
        raise Mismatch(parsed.code, parsed.sentence)
    run = parsed.run
    if not run.complete and set(run.reasons) - set(run.assumptions):
        raise Mismatch(
            "INCOMPLETE_FILE",
            f"{run.name} is not whole: {'; '.join(run.reasons)}. Export it again from the cycler.",
        )
    if not run.readings:
        raise Mismatch("NO_RESULTS", f"{run.name} holds no results. Export the results table of the run.")
    unplaced = sorted({reading.sample or "(no specimen)" for reading in run.readings if not reading.well})
    if unplaced:
        raise Mismatch(
            "NO_WELL",
            f"{run.name} has results for {', '.join(unplaced[:5])} and names no well of a plate for them. "
            "Results are matched by plate and well: set the instrument to send both, or compare and decide "
            "by hand.",
        )
    return run


def _other_cycler(unit: Unit, run: RunFile, plate: Plate, sender: str) -> str:
    """The doubt whether the file is from the cycler of the loading; a first serial is remembered.

    Raises:
        Mismatch: ``OTHER_INSTRUMENT``.
    """
    known = [Sender(*one) for one in queries.cyclers(unit.conn)]
    doubt = same_instrument(run, plate.plate_id, plate.instrument, sender, known)
    new = not any(one.serial for one in known if one.name == sender)
    if new and plate.instrument and (serial := serial_in(run.serial)):
        queries.update_row(unit.conn, "device", {"name": sender, "serial": ""}, serial=serial)
    return doubt


def _flagged(many: tuple[Measured, ...], flag: str) -> tuple[Measured, ...]:
    return tuple(replace(one, flags=(*one.flags, flag)) for one in many)


def _plate_in(name: str) -> str:
    found = PLATE.regex.search(name)
    return found.group() if found else ""


def _plate_for(unit: Unit, rules: Rulebook, run: RunFile, named: str) -> Plate:
    plate_id = named or run.plate
    row, loads, tubes = queries.plate_to_read(unit.conn, plate_id)
    if row is None:
        raise Mismatch(
            "UNKNOWN_PLATE",
            f"{run.name} is for plate {plate_id or '(not named)'}, which is not known here. "
            "Name the right plate, or dismiss the file.",
        )
    if row["state"] not in {"planned", "running"}:
        raise Mismatch(
            "PLATE_DONE",
            f"Plate {plate_id} is {row['state']} already; a second result for it is not taken over by "
            "itself. Compare both files and decide.",
        )
    wells = tuple(map(loaded, loads))
    for tube in tubes.values():
        if tube.plate_id != plate_id or tube.state not in {TubeState.PLATED, TubeState.RUNNING}:
            raise Mismatch(
                "TUBE_MOVED_ON",
                f"Tube {tube.tube_id} of plate {plate_id} is {tube.state.replace('_', ' ')}; a result for "
                f"it is not possible now. {NEXT_STEP[tube.state]}",
            )
    assay = rules.assay(row["assay"], row["assay_version"])
    return Plate(plate_id, assay, wells, tubes, row["instrument"], row["lot"])


def _quarantine(unit: Unit, file_id: str, error: Mismatch) -> Ingested:
    queries.update_row(
        unit.conn,
        "file_status",
        {"file_id": file_id},
        state="quarantined",
        code=error.code,
        reason=error.sentence,
        decided_at=unit.now,
        decided_by=unit.actor,
    )
    return Ingested(file_id, "quarantined", error.code, error.sentence)


def _alarm(unit: Unit, code: str, subject: str, sentence: str) -> None:
    queries.insert_rows(
        unit.conn, "alarm", [{"at": unit.now, "code": code, "subject": subject, "sentence": sentence}]
    )
