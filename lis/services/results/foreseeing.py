"""What a running plate looks like so far, and what the rules would do if it stayed so: planning only.

Live readings are kept beside the evidence, never among it. What is made of them has no reading, no call
and no event; nothing that releases or decides ever sees it. It tells the bench and the scheduler up to an
hour early how many tubes are likely to come back.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np

from instruments import early
from instruments.calling import call_curves
from instruments.errors import InstrumentError
from instruments.model import well_name
from lis import ledger, queries
from lis.errors import Refused
from lis.events import TubeKind
from lis.matching import Measured
from lis.services.results.judging import read_wells
from lis.services.results.shapes import Plate, loaded
from retest import Conclude, PlateVerdict, ReadingError, Recollect, TestSingly
from scheduler import Expected

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from lis.db import Unit
    from lis.matching import LoadedWell
    from lis.queries import Row
    from lis.rulebook import Rulebook
    from lis.services.results.shapes import Judged
    from retest import AssayRules
    from retest.bands import Bands
    from retest.expected import ControlRule
    from retest.rules import Target

    Floats = NDArray[np.float64]

KEEP_DAYS: Final = 7
"""Live readings are forgotten after this: the run file is the record."""

_CHANNELS: Final = ({"fam", "sybr", "sybrgreen"}, {"vic", "hex", "joe"}, {"rox", "texasred", "texred"})
"""Dyes that one channel reads; cyclers and kits call a channel by any of them."""


def keep_reads(unit: Unit, device: str, run: str, plate: str, frame: tuple[int, str, Sequence[float]]) -> str:
    """Keep one cycle of one dye of a running plate; returns the plate, empty if it was known already.

    The plate is the one that stands in this cycler now. What the sender calls it decides only where two
    are loaded into one cycler.

    Args:
        unit: the open transaction.
        device: enrolled name of the cycler.
        run: its name for the run.
        plate: the sender's idea of the plate; may be empty.
        frame: cycle, dye, fluorescence of every well in plate order.

    Raises:
        Refused: ``NO_PLATE_RUNNING``: no plate was loaded into this cycler, or not the named one.
    """
    # gather
    cycle, dye, values = frame
    running = queries.running_in(unit.conn, device)
    # decide
    here = [one for one in running if one == plate] if plate or len(running) > 1 else running
    if not here:
        raise Refused(
            "NO_PLATE_RUNNING",
            f"{device} sends live readings{f' of plate {plate}' if plate else ''}, but no such plate was "
            "loaded into it. Scan the plate at the cycler.",
            device=device,
        )
    # apply
    row = {
        "device": device,
        "run": run,
        "dye": dye,
        "cycle": cycle,
        "plate_id": here[0],
        "wells": len(values),
        "fluorescence": np.asarray(values, dtype="<f8").tobytes(),
        "received_at": unit.now,
    }
    if not queries.keep_live(unit.conn, row):
        return ""
    if cycle <= 1:
        queries.forget_live(unit.conn, unit.now - timedelta(days=KEEP_DAYS))
    return here[0]


@dataclass(frozen=True, eq=False)
class LiveCurves:
    """What has been measured of a running plate.

    Attributes:
        cycle: cycles of which every dye is there.
        curves: dye -> wells x cycles, wells in plate order; NaN where a value did not come.
        minutes_per_cycle: pace of the run, None before the second cycle.
        seen_at: when the last reading came.
    """

    plate_id: str
    device: str
    run: str
    size: int
    cycle: int
    curves: Mapping[str, Floats]
    minutes_per_cycle: float | None
    seen_at: datetime


def live_curves(unit: Unit, plate_id: str) -> LiveCurves | None:
    """The live readings of a plate, or None when none have come."""
    frames = queries.live_frames(unit.conn, plate_id)
    if not frames:
        return None
    size = int(frames[0]["wells"])
    by_dye: dict[str, list[Row]] = defaultdict(list)
    for frame in frames:
        if frame["wells"] == size and frame["cycle"] >= 1:
            by_dye[frame["dye"]].append(frame)
    if not by_dye:
        return None
    cycle = min(rows[-1]["cycle"] for rows in by_dye.values())
    first, last = frames[0], max(frames, key=lambda row: row["received_at"])
    times = sorted({row["cycle"]: row["received_at"] for row in by_dye[first["dye"]]}.items())
    pace = None
    if len(times) > 1 and times[-1][1] > times[0][1]:
        pace = (times[-1][1] - times[0][1]) / timedelta(minutes=1) / (times[-1][0] - times[0][0])
    curves = {dye: _stacked(rows, size, cycle) for dye, rows in by_dye.items()}
    return LiveCurves(plate_id, first["device"], first["run"], size, cycle, curves, pace, last["received_at"])


def _stacked(rows: Sequence[Row], size: int, cycle: int) -> Floats:
    stack = np.full((size, cycle), np.nan)
    for row in rows:
        if row["cycle"] <= cycle:
            stack[:, row["cycle"] - 1] = np.frombuffer(row["fluorescence"], dtype="<f8")
    return stack


@dataclass(frozen=True, slots=True)
class Foresight:
    """What is likely to become of a running plate; planning only.

    Attributes:
        targets: dye as the cycler names it -> target, and whether it is the internal control.
        cycle: cycles seen; ``cycles`` of the whole run, as far as the assay says.
        ends_at: when the run is likely to end.
        outlook: well -> target -> ``rising``, ``quiet`` or ``open``; empty before cycle 25, and for targets
            whose dye is not known.
        nexts: what the rules would do with the tubes all of whose virus targets are rising or quiet:
            ``conclude``, ``retest``, ``test-singly`` or ``recollect`` -> tubes.
        open: tubes of which nothing can be said yet.
        failing: wells of controls in which something rises that must not.
        expected: wells that these tubes would need on later plates.
        tubes: tube -> what the rules would do, as in ``nexts``; those of a failing batch are retested.
    """

    plate_id: str
    assay: str
    targets: Mapping[str, tuple[str, bool]]
    cycle: int
    cycles: int
    ends_at: datetime
    outlook: Mapping[str, Mapping[str, str]]
    nexts: Mapping[str, int]
    open: int
    failing: tuple[str, ...]
    expected: tuple[Expected, ...]
    tubes: Mapping[str, str]


DEFAULT_CYCLES: Final = 45
DEFAULT_PACE: Final = 1.9
"""Minutes a cycle takes where no two have come: 45 cycles in about 85 minutes."""


def foresee(unit: Unit, rules: Rulebook, plate_id: str, live: LiveCurves | None = None) -> Foresight | None:
    """Ask the rules what they would do if every curve stayed as it looks now; None without live readings.

    The internal control is taken to rise in time, and the controls to hold: a plan, not a result.
    """
    # gather
    live = live or live_curves(unit, plate_id)
    row = queries.plate_row(unit.conn, plate_id)
    if live is None or row is None:
        return None
    assay = rules.assay(row["assay"], row["assay_version"])
    wells = tuple(loaded(well) for well in queries.wells(unit.conn, plate_id))
    tubes = ledger.tubes(unit.conn, {well.tube for well in wells if well.tube})
    plate = Plate(plate_id, assay, wells, tubes, row["instrument"], row["lot"])
    dyes = _dyes(unit, assay)
    # decide
    seen = _outlook(live, plate, dyes)
    cycles = max(assay.cycles or DEFAULT_CYCLES, live.cycle)
    left = (cycles - live.cycle) * (live.minutes_per_cycle or DEFAULT_PACE)
    ends_at = live.seen_at + timedelta(minutes=left)
    judged, unclear = _judged(unit, rules, plate, live.cycle, seen)
    words = {well: {target: one.word for target, one in many.items()} for well, many in seen.items()}
    failing = _failing(plate, seen)
    again = {well.tube for well in wells if well.tube and _voided(well, failing)}
    kept = [one for one in judged if one.tube.tube_id not in again]
    nexts = Counter(_next_word(one) for one in kept)
    members = queries.pool_sizes(unit.conn, [one.tube.tube_id for one in kept if _is_reflex(one)])
    wanted = nexts["retest"] + sum(members.values()) + len(again)
    expected = (Expected(assay.id, wanted, ends_at),) if wanted else ()
    return Foresight(
        plate_id=plate_id,
        assay=assay.id,
        targets=_named(live, assay, dyes),
        cycle=live.cycle,
        cycles=cycles,
        ends_at=ends_at,
        outlook=words,
        nexts=dict(nexts),
        open=unclear,
        failing=tuple(sorted(well.well for well, _ in failing)),
        expected=expected,
        tubes={one.tube.tube_id: _next_word(one) for one in kept} | dict.fromkeys(again, "retest"),
    )


def _failing(plate: Plate, seen: Mapping[str, Mapping[str, _Seen]]) -> list[tuple[LoadedWell, ControlRule]]:
    """Controls in which a virus target rises that must not: the plate, or their batch, is likely to fail."""
    virus = {target.name for target in plate.assay.targets if not target.is_control}
    found = []
    for well in plate.wells:
        rule = next((one for one in plate.assay.controls if well.control in (one.kind, *one.aliases)), None)
        rising = {name for name, one in seen.get(well.well, {}).items() if one.word == early.RISING}
        if rule and any(rule.expect[name].state == "absent" for name in rising & virus):
            found.append((well, rule))
    return found


def _voided(well: LoadedWell, failing: Sequence[tuple[LoadedWell, ControlRule]]) -> bool:
    return any(rule.scope == "run" or one.batch == well.batch for one, rule in failing)


def _named(live: LiveCurves, assay: AssayRules, dyes: Mapping[str, str]) -> dict[str, tuple[str, bool]]:
    """Dye as the cycler names it -> its target, and whether that is the internal control."""
    inner = {target.name for target in assay.targets if target.is_control}
    read = {dye: dyes[channel(dye)] for dye in live.curves if channel(dye) in dyes}
    return {dye: (target, target in inner) for dye, target in read.items()}


def _dyes(unit: Unit, assay: AssayRules) -> dict[str, str]:
    """Channel -> target: from the assay, else as its last run named them; a shared channel says nothing."""
    named = [(target.name, target.dye) for target in assay.targets if target.dye]
    pairs = named or queries.dyes_seen(unit.conn, assay.id)
    found: dict[str, str] = {}
    shared: set[str] = set()
    for target, dye in pairs:
        key = channel(dye)
        if found.setdefault(key, target) != target:
            shared.add(key)
    return {key: target for key, target in found.items() if key not in shared}


def channel(dye: str) -> str:
    """One name for all dyes that a channel reads."""
    plain = "".join(sign for sign in dye.casefold() if sign.isalnum())
    return next((min(group) for group in _CHANNELS if plain in group), plain)


@dataclass(frozen=True, slots=True)
class _Seen:
    word: str
    cq: float | None


def _outlook(live: LiveCurves, plate: Plate, dyes: Mapping[str, str]) -> dict[str, dict[str, _Seen]]:
    """Well -> target -> what is seen of it."""
    found: dict[str, dict[str, _Seen]] = defaultdict(dict)
    if live.cycle < early.FIRST_CYCLE:
        return {}
    at = {well_name(place, live.size): place for place in range(live.size)}
    for dye, stack in live.curves.items():
        target = dyes.get(channel(dye))
        asked = [one.well for one in plate.wells if target and (not one.targets or target in one.targets)]
        whole = [one for one in asked if one in at and np.isfinite(stack[at[one]]).all()]
        if target is None or not whole:
            continue
        values = stack[[at[one] for one in whole]]
        try:
            words, cq = early.forecast(values).outlook, call_curves(values).cq
        except InstrumentError:  # a curve that no method takes says nothing
            continue
        for well, word, value in zip(whole, words.tolist(), cq.tolist(), strict=True):
            found[well][target] = _Seen(word, value if word == early.RISING and value == value else None)  # noqa: PLR0124 - False for NaN
    return dict(found)


def _judged(
    unit: Unit, rules: Rulebook, plate: Plate, cycle: int, seen: Mapping[str, Mapping[str, _Seen]]
) -> tuple[list[Judged], int]:
    """The tubes of which something can be said, judged by the rules; and how many others there are."""
    by_tube: dict[str, list[LoadedWell]] = defaultdict(list)
    for well in plate.wells:
        if well.tube:
            by_tube[well.tube].append(well)
    clear: dict[str, tuple[Measured, ...]] = {}
    kept = []
    for own in by_tube.values():
        measured = {well.well: _measured(well, plate.assay, cycle, seen.get(well.well, {})) for well in own}
        if all(many is not None for many in measured.values()):
            clear |= {well: many for well, many in measured.items() if many is not None}
            kept += own
    model = queries.model_of(unit.conn, plate.instrument)
    holding = PlateVerdict(run_valid=True, failures=(), failed_batches=frozenset())
    part = Plate(plate.plate_id, plate.assay, tuple(kept), plate.tubes, plate.instrument, plate.lot)
    if not kept:
        return [], len(by_tube)
    try:
        judged, _ = read_wells(unit, rules, part, model, clear, holding)
    except ReadingError:
        return [], len(by_tube)
    return judged, len(by_tube) - len(judged)


def _measured(
    well: LoadedWell, assay: AssayRules, cycle: int, seen: Mapping[str, _Seen]
) -> tuple[Measured, ...] | None:
    """What the well would read if it stayed so; None while a virus target is open or not seen at all."""
    made = []
    for target in assay.targets:
        if well.targets and target.name not in well.targets:
            continue
        one = seen.get(target.name)
        if target.is_control:
            cq: float | None = one.cq if one and one.cq is not None else _in_time(target.bands, cycle)
        elif one is None or one.word == early.OPEN or (one.word == early.RISING and one.cq is None):
            return None
        else:
            cq = one.cq
        made.append(_reading(well.well, target, cq))
    return tuple(made)


def _reading(well: str, target: Target, cq: float | None) -> Measured:
    curve = "flat" if cq is None else "sigmoid"
    return Measured(well, target.name, target.dye, cq, "", curve, "", (), "")


def _in_time(bands: Bands, cycle: int) -> float:
    """A Cq at which an internal control that has not risen yet would still do."""
    late = bands.detected
    return float(cycle) if late.holds(cycle) else (late.low + late.high) / 2


def _next_word(one: Judged) -> str:
    match one.decision:
        case Conclude():
            return "conclude"
        case Recollect():
            return "recollect"
        case TestSingly():
            return "test-singly"
        case _:
            return "retest"


def _is_reflex(one: Judged) -> bool:
    return isinstance(one.decision, TestSingly) and one.tube.kind is TubeKind.POOL
