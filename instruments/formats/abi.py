"""What the exports of Applied Biosystems software share: a header of keys, sections, a results table.

7500, ViiA 7, QuantStudio (legacy text and workbooks) and Design & Analysis write the same things
under slightly different names. The readers bring a file to an :class:`Export`; :func:`assemble`
turns it into a :class:`~instruments.model.RunFile`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from instruments.errors import InstrumentError
from instruments.formats import cells
from instruments.formats.abi_results import method_of, readings_of, thresholds_of
from instruments.formats.abi_sections import COLUMNS, Export, block_of, key_text
from instruments.formats.curves import curves_of
from instruments.formats.places import contradictions
from instruments.model import Curve, Reading, RunFile, canonical_well

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from instruments.formats.source import Cell, Source

_RUN_END = (
    "Experiment Run End Time",
    "Experiment Run Stop Time",
    "Run End Data/Time",  # sic: Design & Analysis 2.7 and Diomni
    "Run End Date/Time",
)
_RUN_START = ("Experiment Run Start Time", "Run Start Date/Time", "Run Start Data/Time")
_KEYS = {
    "instrument": ("Instrument Type",),
    "device": ("Instrument Name",),
    "serial": ("Instrument Serial Number",),
    "operator": ("Operator", "User Name", "Experiment User Name"),
    "plate": ("Barcode", "Experiment Barcode"),
    "experiment": ("Experiment Name", "Experiment File Name", "File Name"),
}
_OTHER_KEYS = {
    "Block Type",
    "Quantification Cycle Method",
    "Software Name and Version",
    "Software name",
    "Software version",
}
_UNPROVEN = (
    "nothing in the file proves that the results table was not cut after a whole line "
    "(no complete Sample Setup): its wells must equal the loaded plate"
)


def assemble(source: Source, export: Export) -> RunFile:
    """Build the run of an export.

    Raises:
        InstrumentError: MISSING_COLUMN without well and Cq columns, BAD_WELL for an impossible well.
    """
    block = block_of(export.keys)
    faults = [
        *export.faults,
        *(said for what, table in export.tables for said in contradictions(table, block, what)),
    ]
    readings = readings_of(source, export, block, faults)
    assumptions = _doubts(export, readings, block, faults)
    started = cells.instant(key_text(export.keys, _RUN_START), source.zone)
    ended = cells.instant(key_text(export.keys, _RUN_END), source.zone)
    if any(key in export.keys for key in _RUN_END) and not key_text(export.keys, _RUN_END):
        faults.append("the header has no run end time: the run was exported before it ended, or was stopped")
    curves = _curves(source, export, block, readings)
    reasons = (*faults, *assumptions)
    return RunFile(
        name=source.name,
        sha256=source.sha256,
        format=export.format,
        **{role: key_text(export.keys, names) for role, names in _KEYS.items()},
        software=_software(export.keys),
        run_started=started,
        run_ended=ended,
        block=block,
        complete=not reasons,
        reasons=reasons,
        readings=readings,
        curves=curves,
        unread=_unread(export, {"run_started": started, "run_ended": ended}),
        thresholds=thresholds_of(readings),
        assumptions=assumptions,
        method=method_of(export),
        flags_scope=export.flags_scope,
    )


def _software(keys: Mapping[str, Cell]) -> str:
    joined = f"{key_text(keys, ['Software name'])} {key_text(keys, ['Software version'])}"
    return key_text(keys, ["Software Name and Version"]) or joined.strip()


def _doubts(export: Export, readings: Sequence[Reading], block: int, faults: list[str]) -> tuple[str, ...]:
    """Compare Sample Setup with the results; add to ``faults``, return what stays unproven.

    The setup comes first in the file. If it names every reaction, a results table cut at any line
    end lacks one of them. It can be trusted to be whole when it lists no empty wells, or all wells
    of the block, and names every well that has a result.
    """
    declared = _declared(export, block)
    whole, pairs = False, set[tuple[str, str]]()
    if declared is not None:
        listed, pairs = declared
        stray = {r.well for r in readings} - listed
        whole = not stray and (
            len({w for w, _ in pairs}) == len(listed) or (block > 0 and len(listed) == block)
        )
    missing = sorted(pairs - {(r.well, r.target) for r in readings})
    if missing:
        shown = cells.some(f"{well} {target}" for well, target in missing)
        faults.append(f"Sample Setup declares {len(missing)} reactions that have no result row: {shown}")
    if export.proven or export.results.closed or whole:
        return ()
    return (_UNPROVEN,)


def _declared(export: Export, block: int) -> tuple[set[str], set[tuple[str, str]]] | None:
    """Wells listed in Sample Setup, and the (well, target) among them that are in use."""
    table = export.setup
    if table is None:
        return None
    well, target = table.find(COLUMNS["well"]), table.find(COLUMNS["target"])
    if well is None or target is None:
        return None
    listed, pairs = set(), set()
    for row in table.rows:
        if len(row) <= well:
            continue
        place = canonical_well(cells.text(row[well]), block)
        listed.add(place)
        if len(row) > target and cells.text(row[target]):
            pairs.add((place, cells.text(row[target])))
    return listed, pairs


def _curves(source: Source, export: Export, block: int, readings: Iterable[Reading]) -> tuple[Curve, ...]:
    if export.amplification is None:
        return ()
    dyes = {(r.well, r.target): r.dye for r in readings}
    try:
        return curves_of(export.amplification, block, dyes)
    except InstrumentError as exc:
        raise exc.at(source.name) from exc


def _unread(export: Export, times: Mapping[str, datetime | None]) -> tuple[str, ...]:
    known_keys = {name for names in _KEYS.values() for name in names} | _OTHER_KEYS
    known_columns = {name for names in COLUMNS.values() for name in names} | {"well"}
    flags = {name for _, name, _ in export.results.flags}
    columns = [
        f"column {name.strip()}"
        for name in export.results.header
        if name.strip() and cells.fold(name) not in known_columns and name.strip() not in flags
    ]
    read_times = [(_RUN_START, times["run_started"]), (_RUN_END, times["run_ended"])]
    known_keys |= {key for names, at in read_times if at is not None for key in names}
    keys = [f"key {key.strip()}" for key in export.keys if key not in known_keys]
    return (*columns, *keys, *(f"footer {name}" for name in export.results.footer), *export.others)
