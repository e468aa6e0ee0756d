"""The rule laboratory: what would another version of the rules have said of past wells?

A comparison reads and writes nothing. Putting rules in force is `lis.services.rule_force`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import assert_never
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import Connection

from lis import ledger, queries
from lis.errors import Invalid
from lis.events import TubeKind
from lis.queries import Row
from lis.rulebook import Rulebook
from lis.tube import Tube
from retest import (
    AssayRules,
    CaseRules,
    Conclude,
    ControlReading,
    Decision,
    PlateVerdict,
    Reading,
    ReadingError,
    Recollect,
    Retest,
    TestSingly,
    judge_plate,
)
from retest.batch import CALLS, decide_many, interpret_many
from retest.outcome import canonical
from retest.words import CURVES

MATERIALS = (TubeKind.SINGLE, TubeKind.MIXED, TubeKind.POOL)  # in the order of retest.Material
VOID = "void"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one version of the rules says of one tube in one run.

    Attributes:
        outcome: positive, negative, borderline, invalid, or void where the controls failed.
        rule: id of the rule; "" for void.
        next: what the bench does after a first reading like this.
    """

    outcome: str
    rule: str
    next: str


@dataclass(frozen=True, slots=True)
class Change:
    """A tube of a past run of which the two versions say different things.

    Attributes:
        recorded: outcome that was recorded then, "" if the well was void.
        recorded_rule: the rule of it.
        recorded_version: the version of the rules that it was made with.
    """

    specimen: str
    run: str
    well: str
    old: Answer
    new: Answer
    recorded: str
    recorded_rule: str
    recorded_version: str

    def as_json(self) -> dict[str, str]:
        """Flat, for a document or a table."""
        return {
            "specimen": self.specimen,
            "run": self.run,
            "well": self.well,
            "old_outcome": self.old.outcome,
            "old_rule": self.old.rule,
            "old_next": self.old.next,
            "new_outcome": self.new.outcome,
            "new_rule": self.new.rule,
            "next": self.new.next,
            "recorded": self.recorded,
            "recorded_rule": self.recorded_rule,
            "recorded_version": self.recorded_version,
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """Everything in which two versions differ over a period."""

    old: str
    new: str
    runs: int
    specimens: int
    changes: tuple[Change, ...]


# -- finding rules and periods -------------------------------------------------------------------


def find_rules(rules: Rulebook, name: str) -> AssayRules:
    """The rules meant by an id, ``id@version``, or the path of a rule file.

    Raises:
        NotFound: no such rules are loaded. RulesError: the file is no good.
    """
    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        return AssayRules.from_toml(path.read_text(encoding="utf-8"), path.name)
    assay, _, version = name.partition("@")
    return rules.assay(assay, version)


def period(text: str, zone: ZoneInfo) -> tuple[datetime | None, datetime | None]:
    """First moment and the moment after the last of ``2022-12-01..2022-12-31``, one day, or ``all``.

    Raises:
        Invalid: ``PERIOD``.
    """
    if text == "all":
        return None, None
    first, dots, last = text.partition("..")
    try:
        start, end = date.fromisoformat(first), date.fromisoformat(last if dots else first)
    except ValueError as error:
        raise Invalid(
            "PERIOD", f"{text!r} is no period. Write 2022-12-01..2022-12-31, one day, or all."
        ) from error
    if end < start:
        raise Invalid("PERIOD", f"The period {text} ends before it begins. Exchange the two days.")
    midnight = [datetime.combine(day, time(), zone) for day in (start, end + timedelta(days=1))]
    return midnight[0], midnight[1]


# -- comparing -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Run:
    """A past run as it lies in the database."""

    row: Row
    tubes: tuple[Tube, ...]
    wells: Mapping[str, str]  # tube -> its first well
    batches: Mapping[str, str]  # tube -> extraction batch
    readings: Mapping[str, tuple[Reading, ...]]  # tube -> what was measured
    controls: tuple[ControlReading, ...]


def diff(
    conn: Connection,
    rules: Rulebook,
    old: AssayRules,
    new: AssayRules,
    between: tuple[datetime | None, datetime | None],
) -> Difference:
    """Replay every run of the old assay in a period under both rules. Nothing is written.

    Raises:
        Invalid: ``TARGET_UNKNOWN``: the new rules have no name for a target that was measured.
    """
    found: list[tuple[Row, str, str, Answer, Answer]] = []
    runs = specimens = 0
    for row in queries.runs_between(conn, old.id, *between):
        run = _gather(conn, row)
        runs, specimens = runs + 1, specimens + len(run.tubes)
        try:
            before, after = _answers(run, rules, old), _answers(run, rules, new)
        except ReadingError as error:
            raise Invalid(
                "TARGET_UNKNOWN", f"Run {row['run_id']} cannot be read by these rules: {error}"
            ) from error
        found += [
            (row, tube.tube_id, run.wells[tube.tube_id], one, other)
            for tube, one, other in zip(run.tubes, before, after, strict=True)
            if one != other
        ]
    return Difference(_named(old), _named(new), runs, specimens, tuple(_recorded(conn, found)))


def _recorded(conn: Connection, found: Sequence[tuple[Row, str, str, Answer, Answer]]) -> Iterator[Change]:
    """The changes beside what was recorded at the time."""
    calls = queries.calls(conn, {tube for _, tube, _, _, _ in found})
    said = {
        (call.tube_id, call.run_id): (call.outcome, call.rule) for many in calls.values() for call in many
    }
    for row, tube, well, old, new in found:
        outcome, rule = said.get((tube, row["run_id"]), ("", ""))
        yield Change(tube, row["run_id"], well, old, new, outcome, rule, row["assay_version"])


def _named(rules: AssayRules) -> str:
    return f"{rules.id}@{rules.version}"


def _gather(conn: Connection, row: Row) -> _Run:
    """Readings by tube and by control; wells that the operator took out count as not measured."""
    by_well: dict[str, list[Reading]] = defaultdict(list)
    for one in queries.readings_of_run(conn, row["run_id"]):
        if "OMIT" not in one["flags"].split(","):
            by_well[one["well"]].append(Reading(one["target"], one["cq"], one["curve"] or None))
    wells, batches = dict[str, str](), dict[str, str]()
    readings: dict[str, list[Reading]] = defaultdict(list)
    controls: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for well in sorted(queries.wells(conn, row["plate_id"]), key=lambda well: well["well"]):
        if well["tube_id"]:
            wells.setdefault(well["tube_id"], well["well"])
            batches.setdefault(well["tube_id"], well["batch"])
            readings[well["tube_id"]] += by_well[well["well"]]
        else:  # wells with one target each are one control together
            apart = "" if well["targets"] else well["well"]
            controls[well["control"], well["batch"], apart].append(well["well"])
    tubes = ledger.tubes(conn, wells)
    return _Run(
        row=row,
        tubes=tuple(tubes[code] for code in sorted(wells)),
        wells=wells,
        batches=batches,
        readings={code: tuple(found) for code, found in readings.items()},
        controls=tuple(
            ControlReading(
                kind, ", ".join(where), batch, tuple(one for well in where for one in by_well[well])
            )
            for (kind, batch, _), where in controls.items()
        ),
    )


def _answers(run: _Run, rules: Rulebook, assay: AssayRules) -> list[Answer]:
    """What one version says of every tube of a run, in their order."""
    if not run.tubes:
        return []
    place = {"instrument": run.row["instrument"], "laboratory": rules.laboratory}
    verdict = judge_plate(run.controls, assay, batches={*run.batches.values()} - {""}, **place)
    cqs, curves, there = _arrays([run.readings[tube.tube_id] for tube in run.tubes], assay)
    batch = interpret_many(cqs, assay, curves=curves, measured=there, **place)
    tiers = sorted({tube.tier for tube in run.tubes})
    which, decisions = decide_many(
        batch,
        CaseRules(assay, rules.policy),
        materials=[MATERIALS.index(tube.kind) for tube in run.tubes],
        persons=[max(tube.persons, 1) for tube in run.tubes],
        tiers=tiers,
        tier_codes=[tiers.index(tube.tier) for tube in run.tubes],
    )
    return [
        Answer(CALLS[call].value, batch.rule_ids[rule], _next(decisions[at]))
        if _valid(verdict, run, tube)
        else _VOID
        for tube, call, rule, at in zip(run.tubes, batch.calls, batch.rules, which, strict=True)
    ]


_VOID = Answer(VOID, "", "repeat")


def _valid(verdict: PlateVerdict, run: _Run, tube: Tube) -> bool:
    return verdict.batch_valid(run.batches[tube.tube_id])


def _next(decision: Decision) -> str:
    match decision:
        case Conclude(result=result):
            return f"conclude {result}"
        case Retest(kind=kind):
            return kind
        case Recollect():
            return "recollect"
        case TestSingly():
            return "test-singly"
        case _:
            assert_never(decision)


def _arrays(
    specimens: Sequence[Sequence[Reading]], assay: AssayRules
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cq, curve codes and presence: specimens x targets x wells."""
    at = {target.name: i for i, target in enumerate(assay.targets)}
    placed = list(_placed(specimens, assay, at))
    wells = max((well for _, _, well, _ in placed), default=0) + 1
    shape = (len(specimens), len(at), wells)
    cqs, curves, there = np.full(shape, np.nan), np.zeros(shape, np.int16), np.zeros(shape, np.bool_)
    for row, target, well, reading in placed:
        there[row, target, well] = True
        curves[row, target, well] = 1 + CURVES.index(reading.curve) if reading.curve else 0
        if reading.cq is not None:
            cqs[row, target, well] = reading.cq
    return cqs, curves, there


def _placed(
    specimens: Sequence[Sequence[Reading]], assay: AssayRules, at: Mapping[str, int]
) -> Iterator[tuple[int, int, int, Reading]]:
    for row, readings in enumerate(specimens):
        seen: dict[int, int] = defaultdict(int)
        for reading in readings:
            target = at[canonical(reading.target, assay)]
            yield row, target, seen[target], reading
            seen[target] += 1
