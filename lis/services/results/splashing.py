"""Wells whose signal may have come from another well: each is flagged where its reading is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from instruments.contamination import Signal, Suspicion, suspicions
from instruments.model import BLOCKS, well_index

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lis.matching import LoadedWell, Measured
    from lis.services.results.shapes import Plate

FLAGS: Final = {
    "beside": "BESIDE_STRONG",
    "source-plate": "SOURCE_PLATE_STRONG",
    "extraction-order": "EXTRACTED_AFTER_STRONG",
    "cluster": "CROWDED",
}
"""Reason of a suspicion -> flag of the reading; the well it may have come from follows after a colon."""


AMPLIFIED_ONLY: Final = frozenset({"NTC", "PC"})


def examined(
    plate: Plate, measured: Mapping[str, tuple[Measured, ...]], block: int
) -> tuple[dict[str, tuple[Measured, ...]], str]:
    """The readings with every suspicion as a flag, and what is to be told of crowds (empty: nothing).

    Args:
        plate: whose wells these are.
        measured: well -> its readings.
        block: 96 or 384; 0 where the file does not say.
    """
    found = suspected(plate, measured, block or _smallest(plate.wells))
    return (marked(measured, found), sentence(found)) if found else (dict(measured), "")


def _smallest(wells: Iterable[LoadedWell]) -> int:
    """The smallest block that has all these wells."""
    rows, columns = BLOCKS[96]
    outside = (ord(one.well[0]) - ord("A") >= rows or int(one.well[1:]) > columns for one in wells)
    return 384 if any(outside) else 96


def suspected(
    plate: Plate, measured: Mapping[str, tuple[Measured, ...]], block: int
) -> tuple[Suspicion, ...]:
    """What of this plate may be a splash or is too crowded for chance. Controls judge themselves."""
    controls = {target.name for target in plate.assay.targets if target.is_control}
    orders = _extracted(plate.wells)
    signals = [
        Signal(
            well.well,
            order=orders.get(well.well),
            cq={
                one.target: one.cq
                for one in measured[well.well]
                if one.cq is not None and not one.omitted and one.target not in controls
            },
        )
        for well in plate.wells
        if well.tube
    ]
    return suspicions(signals, block, stamped=_stamped(plate.wells, block))


def _extracted(wells: Iterable[LoadedWell]) -> dict[str, int]:
    """Well -> its place in the order of extraction: batch after batch, down the columns as plates fill.

    Extraction controls take a place like any specimen; NTC, PC and RNA of an earlier plate are not extracted.
    Batches stand a place apart, for nothing is carried from the last well of one into the next.
    """
    line = sorted(
        (one.batch, int(one.well[1:]), one.well[0], one.well)
        for one in wells
        if one.batch and one.control not in AMPLIFIED_ONLY
    )
    batches = {batch: place for place, batch in enumerate(dict.fromkeys(batch for batch, *_ in line))}
    return {well: place + batches[batch] for place, (batch, _, _, well) in enumerate(line)}


def _stamped(wells: Iterable[LoadedWell], block: int) -> bool:
    """Whether four 96-well plates were stamped into one of 384: each batch then has every second well."""
    if block != 384:
        return False
    parities: dict[str, set[tuple[int, int]]] = {}
    for well in wells:
        if well.tube and well.batch:
            row, column = divmod(well_index(well.well, block), BLOCKS[384][1])
            parities.setdefault(well.batch, set()).add((row % 2, column % 2))
    return len(parities) > 1 and all(len(many) == 1 for many in parities.values())


def marked(
    measured: Mapping[str, tuple[Measured, ...]], found: Iterable[Suspicion]
) -> dict[str, tuple[Measured, ...]]:
    """The readings, those of suspected wells with the reason as a flag."""
    flags: dict[str, list[str]] = {}
    for one in found:
        for well in one.wells:
            flags.setdefault(well, []).append(f"{FLAGS[one.reason]}{':' if one.source else ''}{one.source}")
    return {
        well: tuple(
            replace(reading, flags=(*reading.flags, *flags[well]))
            if well in flags and reading.cq is not None
            else reading
            for reading in many
        )
        for well, many in measured.items()
    }


def sentence(found: Iterable[Suspicion]) -> str:
    """The crowds of a plate in one sentence for the alarm; empty where there are none."""
    crowds = [", ".join(one.wells) for one in found if one.reason == "cluster"]
    if not crowds:
        return ""
    return (
        f"More positives touch each other than chance explains ({'; '.join(crowds)}). Look for a splash, "
        "a leaking seal or a family that was plated together before these results are signed."
    )
