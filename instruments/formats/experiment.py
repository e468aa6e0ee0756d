"""What experiment files (.eds, both kinds) say, brought to one form and built into a run.

An experiment file plans reactions (plate setup), holds results with Rn and ΔRn, and keeps the dyes'
raw signals (multicomponent data). Wells are numbers from 0, row by row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from instruments.errors import InstrumentError
from instruments.formats import cells
from instruments.formats.abi_results import thresholds_of
from instruments.model import Curve, CurveKind, Reading, RunFile, well_name

if TYPE_CHECKING:
    from instruments.formats.source import Source

Key = tuple[int, str]
NO_RESULTS = (
    "the file holds no results, only the dyes' signals: open it in the instrument software, analyse and "
    "save it, or export the results"
)
NO_BLOCK = (
    "the file does not say how large the block is (96 wells are taken): its wells must equal the loaded plate"
)
NO_STATE = "nothing in the file says that the run had ended: its wells must equal the loaded plate"


@dataclass(frozen=True)
class Planned:
    """One reaction of the plate setup."""

    sample: str = ""
    task: str = ""
    dye: str = ""
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setup:
    """The plate setup. ``block`` is 96, 384, or 0 when it does not say."""

    block: int = 0
    plate: str = ""
    passive: str = ""
    planned: Mapping[Key, Planned] = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """One result as written. ``rn`` and ``drn`` are empty where the file has none."""

    well: int
    target: str
    sample: str
    task: str
    raw_cq: str
    flags: tuple[str, ...] = ()
    rn: tuple[float, ...] = ()
    drn: tuple[float, ...] = ()
    threshold: float | None = None
    baseline: tuple[int, int] | None = None


Signals = Mapping[int, Mapping[str, tuple[float, ...]]]
"""Well -> dye -> signal per cycle of the amplification stage."""


@dataclass(frozen=True)
class Experiment:
    """An experiment file taken apart.

    Attributes:
        results: None when the file has none.
        ended: whether the file says that the run was completed; None when it says nothing of it.
        about: instrument, serial, software, operator, experiment, device, method.
    """

    format: str
    setup: Setup
    results: tuple[Result, ...] | None
    signals: Signals = field(default_factory=dict)
    started: datetime | None = None
    finished: datetime | None = None
    ended: bool | None = None
    state: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()


def instant(milliseconds: Any) -> datetime | None:
    """Milliseconds since 1970 as UTC; None for zero, nothing, or a time no cycler can have run at."""
    value = cells.number(milliseconds if milliseconds is not None else "")
    if value is None or not 1e11 < value < 1e13:
        return None
    return datetime.fromtimestamp(value / 1000, UTC)


def is_none(raw: str, cycles: int) -> bool:
    """Whether a Cq cell holds the number that stands for "none": the number of cycles of its curve.

    The software writes 40.0 where its exports say Undetermined. Without a curve nothing is a sentinel.
    """
    value = cells.number(raw)
    return value is not None and cycles > 0 and value >= cycles and value.is_integer()


def build(source: Source, experiment: Experiment) -> RunFile:
    """The run of an experiment file.

    Raises:
        InstrumentError: BAD_WELL for a well the block does not have.
    """
    setup = experiment.setup
    block = setup.block or _block(experiment)
    results = experiment.results or ()
    readings = tuple(_reading(result, setup, block) for result in results)
    faults = [*experiment.faults, *_shortfalls(experiment, readings, block)]
    assumptions = []
    if not setup.block and experiment.results is not None:
        assumptions.append(NO_BLOCK)
    if experiment.ended is None:
        assumptions.append(NO_STATE)
    reasons = (*faults, *assumptions)
    return RunFile(
        name=source.name,
        sha256=source.sha256,
        format=experiment.format,
        **experiment.about,
        plate=setup.plate,
        run_started=experiment.started,
        run_ended=experiment.finished if experiment.ended else None,
        block=setup.block,
        complete=not reasons,
        reasons=reasons,
        readings=readings,
        curves=_curves(experiment, block),
        unread=experiment.unread,
        thresholds=thresholds_of(readings),
        assumptions=tuple(assumptions),
    )


def _block(experiment: Experiment) -> int:
    wells = [result.well for result in experiment.results or ()]
    return 384 if max([*wells, *experiment.signals, 0]) >= 96 else 96


def _reading(result: Result, setup: Setup, block: int) -> Reading:
    plan = setup.planned.get((result.well, result.target), Planned())
    cycles = len(result.rn)
    none = is_none(result.raw_cq, cycles)
    value, doubt = (None, "") if none else cells.cq(result.raw_cq)
    if value is not None and cycles and value > cycles:
        doubt = cells.OUT_OF_RANGE
    return Reading(
        well=well_name(result.well, block),
        sample=result.sample or plan.sample,
        task=cells.task(plan.task or result.task),
        target=result.target,
        dye=plan.dye,
        cq=value,
        raw_cq=result.raw_cq,
        call="",
        flags=tuple(dict.fromkeys((*result.flags, *plan.flags, *([doubt] if doubt else [])))),
        threshold=result.threshold,
        baseline=result.baseline,
    )


def _shortfalls(experiment: Experiment, readings: Sequence[Reading], block: int) -> list[str]:
    """Everything that shows a result missing, doubled or cut."""
    faults = []
    if experiment.ended is False:
        faults.append(
            f"the run had not ended when the file was copied (state {experiment.state or 'unknown'})"
        )
    if experiment.results is None:
        return [*faults, NO_RESULTS]
    have = [(result.well, result.target) for result in experiment.results]
    if lost := sorted(set(experiment.setup.planned) - set(have)):
        shown = cells.some(f"{well_name(well, block)} {target}" for well, target in lost)
        faults.append(f"the plate setup declares {len(lost)} reactions that have no result: {shown}")
    twice = [well_name(well, block) for (well, _), count in Counter(have).items() if count > 1]
    if twice:
        faults.append(f"two results for {cells.some(twice)}")
    unread = [r.well for r in readings if cells.UNREAD_CQ in r.flags]
    if unread:
        faults.append(f"the Cq of {cells.some(unread)} is neither a number nor a known spelling of none")
    lengths = {len(result.rn) for result in experiment.results}
    if len(lengths) > 1 or any(len(r.rn) != len(r.drn) for r in experiment.results if r.drn):
        faults.append("some reactions have more cycles than others: the curves are cut")
    if not experiment.results:
        faults.append("the file holds no reactions")
    return faults


def _curves(experiment: Experiment, block: int) -> tuple[Curve, ...]:
    """Curves of the results; where there are none, those made of the signals."""
    plan = experiment.setup.planned
    found: list[Curve] = []
    for result in experiment.results or ():
        dye = plan.get((result.well, result.target), Planned()).dye
        kinds: tuple[tuple[CurveKind, tuple[float, ...]], ...] = (("rn", result.rn), ("drn", result.drn))
        for kind, values in kinds:
            if values:
                found.append(curve(well_name(result.well, block), result.target, dye, kind, values))
    return tuple(found) or _from_signals(experiment, block)


def _from_signals(experiment: Experiment, block: int) -> tuple[Curve, ...]:
    """Rn of planned reactions: the reporter's signal over the passive reference's, raw without one.

    That Rn is this ratio was checked against a file that holds both (QuantStudio 5, D&A 1.5).
    """
    found = []
    for (well, target), plan in experiment.setup.planned.items():
        dyes = experiment.signals.get(well, {})
        reporter, passive = dyes.get(plan.dye), dyes.get(experiment.setup.passive)
        if not reporter:
            continue
        kind: CurveKind = "rfu"
        values = np.array(reporter)
        if passive and len(passive) == len(reporter) and all(passive):
            kind, values = "rn", values / np.array(passive)
        found.append(curve(well_name(well, block), target, plan.dye, kind, values))
    return tuple(found)


def curve(
    well: str,
    target: str,
    dye: str,
    kind: CurveKind,
    values: Sequence[float] | np.ndarray[Any, np.dtype[np.float64]],
    cycles: Sequence[int] | None = None,
) -> Curve:
    """A curve with read-only arrays; cycles count from 1 when none are given."""
    counted = np.arange(1, len(values) + 1, dtype=np.int64) if cycles is None else np.array(cycles, np.int64)
    heights = np.array(values, dtype=np.float64)
    counted.flags.writeable = heights.flags.writeable = False
    return Curve(well, target, dye, kind, counted, heights)


_Count = TypeVar("_Count", int, "int | None")


def longest_stage(points: Iterable[tuple[_Count, _Count]]) -> _Count | None:
    """The stage with the most cycles, of (stage, cycle) of every reading; None without readings."""
    cycles: dict[_Count, set[_Count]] = {}
    for stage, cycle in points:
        cycles.setdefault(stage, set()).add(cycle)
    return max(cycles, key=lambda one: len(cycles[one]), default=None)


def whole_number(text: Any) -> int | None:
    """A count from 0, None for anything else."""
    written = str(text).strip()
    return int(written) if written.isascii() and written.isdigit() and len(written) < 6 else None


def refuse_genotyping(source: Source) -> InstrumentError:
    """The sentence for a genotyping (SNP) run, wherever it is met."""
    return InstrumentError(
        "NOT_A_QUANTIFICATION",
        "This is a genotyping (SNP) run: it holds allele calls and no Cq. A result needs a run of the type "
        "presence/absence or standard curve; export that one with its results.",
        file=source.name,
    )
