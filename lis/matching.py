"""Does this file belong to this plate, all of it and nothing else?

A result may only reach a tube if the file names the plate, every loaded well is in it with every
target, no other well is, and no sample name contradicts the plate map. Any doubt quarantines the
whole file: a swapped plate looks right in most of its wells.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec import Struct

from lis.barcodes import POOL, TUBE
from lis.errors import LisError
from retest import AssayRules, ReadingError
from retest.outcome import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from instruments.model import Reading as FileReading
    from instruments.model import RunFile

CONTROL_TASKS = frozenset(
    {"ntc", "nac", "nrt", "positive_control", "negative_control", "standard", "control"}
)
SHOWN = 5


class Mismatch(LisError):
    """The file and the plate contradict each other; the file is quarantined as a whole."""

    status = 422


class LoadedWell(Struct, frozen=True):
    """What the plate map says of one well.

    Attributes:
        targets: targets tested in this well; empty = all targets of the assay.
    """

    well: str
    tube: str
    control: str
    batch: str
    test: str
    targets: tuple[str, ...] = ()


class Measured(Struct, frozen=True):
    """One target of one loaded well, under the assay's own name for it.

    Attributes:
        omitted: the operator took the well out; it counts as not measured.
    """

    well: str
    target: str
    dye: str
    cq: float | None
    raw_cq: str
    curve: str
    call: str
    flags: tuple[str, ...]
    sample: str
    omitted: bool = False


def match(
    run: RunFile,
    plate_id: str,
    loaded: Sequence[LoadedWell],
    assay: AssayRules,
    curves: Mapping[tuple[str, str, str], str],
) -> dict[str, tuple[Measured, ...]]:
    """Well -> what was measured there, for exactly the loaded wells.

    Args:
        run: what the file says.
        plate_id: the plate it is meant for.
        loaded: the plate map.
        assay: whose targets are expected.
        curves: (well, target, dye) as the file names them -> curve verdict.

    Raises:
        Mismatch: ``OTHER_PLATE``, ``WELL_NOT_LOADED``, ``WELL_MISSING``, ``SAMPLE_MISMATCH``,
            ``CONTROL_MISMATCH``, ``TARGET_UNKNOWN``, ``TARGET_MISSING``, ``TARGET_TWICE`` or
            ``FILE_INCOMPLETE``.
    """
    if run.plate and run.plate != plate_id:
        raise Mismatch(
            "OTHER_PLATE",
            f"The file says it is plate {run.plate}, but it was sent for plate {plate_id}. "
            "Check which plate was in the cycler.",
        )
    plan = {well.well: well for well in loaded}
    used: dict[str, list[FileReading]] = defaultdict(list)
    for reading in run.readings:
        if reading.well in plan or _is_used(reading):
            used[reading.well].append(reading)
    _same_wells(plate_id, set(used), set(plan))
    measured: dict[str, tuple[Measured, ...]] = {}
    names: dict[tuple[str, str], str] = {}
    for well, readings in used.items():
        _same_content(plan[well], readings)
        measured[well] = _targets(plan[well], readings, assay, (names, curves))
    _complete(run, plan, measured)
    return measured


OTHER_SERIAL = "OTHER_SERIAL"
"""Flag on every reading of a file that a person handed over although its serial contradicts the loading."""


@dataclass(frozen=True, slots=True)
class Sender:
    """A cycler that the laboratory knows; ``serial`` is empty until it is known."""

    name: str
    serial: str = ""


def same_instrument(run: RunFile, plate_id: str, loaded: str, sender: str, known: Sequence[Sender]) -> str:
    """Whether the file comes from the cycler that the plate was loaded into.

    Args:
        run: what the file says, its serial among it.
        plate_id: the plate it is meant for.
        loaded: the cycler named when the plate was loaded; empty if it was not.
        sender: who delivered the file: a known cycler, or a person, who names none.
        known: the laboratory's cyclers.

    Returns:
        Empty, or a sentence: a person delivered it, and its serial is not that of ``loaded``.

    Raises:
        Mismatch: ``OTHER_INSTRUMENT``: a known cycler delivered it that is not the loaded one, or its
            own serial is another one's.
    """
    if not loaded:
        return ""
    sent = next((one for one in known if _same(one.name, sender)), None)
    if sent is not None and not _same(sent.name, loaded):
        raise Mismatch("OTHER_INSTRUMENT", _elsewhere(plate_id, loaded, f"the file comes from {sent.name}"))
    contradiction = _other_serial(run.serial, loaded, known)
    if contradiction and sent is not None:
        raise Mismatch("OTHER_INSTRUMENT", _elsewhere(plate_id, loaded, contradiction))
    return contradiction and _elsewhere(plate_id, loaded, contradiction)


def serial_in(text: str) -> str:
    """The serial of a cycler as its file writes it; empty for a blank, or for words such as ``N/A``."""
    return text.strip() if any(char in "123456789" for char in text) else ""


def _other_serial(serial: str, loaded: str, known: Sequence[Sender]) -> str:
    """How the serial of a file contradicts the cycler of the loading; empty if it does not."""
    if not serial_in(serial):
        return ""
    mine = next((one.serial for one in known if _same(one.name, loaded)), "")
    if mine:
        return "" if _same(mine, serial) else f"the file says serial {serial}, and {loaded} has serial {mine}"
    owner = next((one.name for one in known if _same(one.serial, serial)), "")
    return f"the file says serial {serial}, which is that of {owner}" if owner else ""


def _elsewhere(plate_id: str, loaded: str, found: str) -> str:
    return (
        f"Plate {plate_id} was loaded into {loaded}, but {found}. Look which plate was in which cycler: if "
        "the wrong cycler was named, correct the loading with the reason and read this file again; "
        "if another plate was run, name that plate."
    )


def _same(one: str, other: str) -> bool:
    return one.strip().casefold() == other.strip().casefold()


def _is_used(reading: FileReading) -> bool:
    return reading.cq is not None or bool(reading.sample) or reading.task in CONTROL_TASKS


def _same_wells(plate_id: str, used: set[str], loaded: set[str]) -> None:
    extra, missing = used - loaded, loaded - used
    if extra:
        raise Mismatch(
            "WELL_NOT_LOADED",
            f"The file has results for wells that were not loaded on plate {plate_id}: {_some(extra)}. "
            "Check whether it is another plate; nothing was taken over.",
        )
    if missing:
        raise Mismatch(
            "WELL_MISSING",
            f"The file has no result for loaded wells of plate {plate_id}: {_some(missing)}. "
            "Export the whole plate again; nothing was taken over.",
        )


def _same_content(plan: LoadedWell, readings: Sequence[FileReading]) -> None:
    for reading in readings:
        if reading.sample != plan.tube and (
            TUBE.regex.fullmatch(reading.sample) or POOL.regex.fullmatch(reading.sample)
        ):
            raise Mismatch(
                "SAMPLE_MISMATCH",
                f"Well {plan.well} holds {plan.tube or 'control ' + plan.control}, but the file calls it "
                f"{reading.sample}. A plate or a row may be swapped; nothing was taken over.",
            )
        if plan.tube and reading.task in CONTROL_TASKS:
            raise Mismatch(
                "CONTROL_MISMATCH",
                f"Well {plan.well} holds tube {plan.tube}, but the file calls it a control ({reading.task}). "
                "Check the plate set-up in the cycler; nothing was taken over.",
            )


def _targets(
    plan: LoadedWell,
    readings: Sequence[FileReading],
    assay: AssayRules,
    file: tuple[dict[tuple[str, str], str], Mapping[tuple[str, str, str], str]],
) -> tuple[Measured, ...]:
    """What a well says; ``file``: the names of targets that were understood so far, and the curves."""
    names, curves = file
    found: dict[str, Measured] = {}
    for reading in readings:
        written = reading.target, reading.dye
        name = names.get(written) or names.setdefault(written, _target_name(reading, assay))
        if name in found:
            raise Mismatch("TARGET_TWICE", f"Well {plan.well} has target {name} twice in the file.")
        found[name] = Measured(
            plan.well,
            name,
            reading.dye,
            reading.cq,
            reading.raw_cq,
            curves.get((reading.well, *written), ""),
            reading.call,
            reading.flags,
            reading.sample,
            "OMIT" in reading.flags,
        )
    wanted = plan.targets or tuple(target.name for target in assay.targets)
    missing = [name for name in wanted if name not in found]
    if missing:
        raise Mismatch(
            "TARGET_MISSING",
            f"Well {plan.well} has no row for {', '.join(missing)} of assay {assay.id}. "
            "Export all targets; nothing was taken over.",
        )
    return tuple(found[name] for name in wanted)


def _target_name(reading: FileReading, assay: AssayRules) -> str:
    if not reading.target and reading.dye:
        by_dye = [target.name for target in assay.targets if target.dye and target.dye == reading.dye]
        if len(by_dye) == 1:
            return by_dye[0]
    try:
        return canonical(reading.target, assay)
    except ReadingError as error:
        raise Mismatch(
            "TARGET_UNKNOWN",
            f"Well {reading.well}: target {reading.target or reading.dye or '(none)'} is not of assay "
            f"{assay.id}. Check the assay of the plate, or add the name as an alias to the rule file.",
        ) from error


def _complete(
    run: RunFile, plan: Mapping[str, LoadedWell], measured: Mapping[str, tuple[Measured, ...]]
) -> None:
    if run.complete:  # by itself; and what is asked for below is what it holds
        return
    reactions = {
        (reading.well, reading.target or reading.dye) for reading in run.readings if reading.well in plan
    }
    settled = run.confirmed(sorted(reactions)) if measured else run
    if not settled.complete:
        raise Mismatch(
            "FILE_INCOMPLETE", f"The file is not whole: {'; '.join(settled.reasons)}. Export it again."
        )


def _some(wells: set[str]) -> str:
    ordered = sorted(wells, key=lambda well: (well[:1], int(well[1:] or 0)))
    return ", ".join(ordered[:SHOWN]) + (f" and {len(ordered) - SHOWN} more" if len(ordered) > SHOWN else "")
