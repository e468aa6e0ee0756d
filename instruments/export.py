"""Any run as RDML 1.4, as tidy tables (csv), or as parquet where pyarrow is installed.

RDML: element order and names of the schema 1.4 (rdml.org), one experiment with one run. What RDML
demands and the instrument's file did not say begins with "not stated" (sample, target, dye). No Cq is
written as -1.0, as other writers do, so that it cannot be taken for a run that was not analysed; a Cq
that could not be read makes its reaction excluded. Rn is written where a file has Rn and ΔRn.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from importlib import import_module
from typing import TYPE_CHECKING, Literal
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from instruments.errors import InstrumentError
from instruments.formats.cells import UNREAD_CQ
from instruments.formats.rdml import NOT_STATED
from instruments.model import BLOCKS, well_index

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from instruments.model import Curve, Reading, RunFile

_TYPES = {
    "unknown": "unkn", "ntc": "ntc", "nac": "nac", "nrt": "nrt", "standard": "std",
    "positive_control": "pos", "negative_control": "ntp",
}  # fmt: skip
Version = Literal["1.3", "1.4"]
_Key = tuple[str, str]
_Found = dict[_Key, tuple["Reading | None", "Curve | None"]]
_RANK = {"rn": 0, "rfu": 1, "drn": 2}
_CHAMBER = re.compile(r"S([0-9]+)-A([0-9]+)")
# Characters that no XML 1.0 document may hold.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_STAMP = (1980, 1, 1, 0, 0, 0)  # the same run gives the same bytes
READING_COLUMNS = (
    "run", "file", "sha256", "format", "instrument", "serial", "plate", "run_started", "run_ended",
    "complete", "well", "sample", "task", "target", "dye", "cq", "raw_cq", "call", "flags", "threshold",
    "baseline_start", "baseline_end",
)  # fmt: skip
_KINDS = {
    "cq": "float64", "threshold": "float64", "fluorescence": "float64", "complete": "bool_",
    "baseline_start": "int64", "baseline_end": "int64", "cycle": "int64",
}  # fmt: skip
CURVE_COLUMNS = ("well", "target", "dye", "kind", "cycle", "fluorescence")


def rdml(run: RunFile, version: Version = "1.4") -> bytes:
    """The run as a packed RDML file; what is written of 1.4 is valid 1.3 too, for older programs.

    rdmlpython 1.7.2, the newest released, opens no 1.4 ("Unknown or unsupported RDML file version").

    Raises:
        InstrumentError: BAD_RUN for a run with neither readings nor curves.
    """
    if not run.readings and not run.curves:
        raise InstrumentError("BAD_RUN", "The run has neither results nor curves to export.", file=run.name)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        member = zipfile.ZipInfo("rdml_data.xml", _STAMP)
        member.compress_type = zipfile.ZIP_DEFLATED
        archive.writestr(member, "".join(_document(run, version)))
    return out.getvalue()


def _carried(value: str) -> str:
    """What XML can carry of a name; two names may become one."""
    return _FORBIDDEN.sub("\ufffd", value)


def _text(value: str) -> str:
    return escape(_carried(value))


def _id(value: str) -> str:
    return quoteattr(_carried(value))


def _document(run: RunFile, version: str) -> Iterator[str]:
    reactions = _reactions(run)
    samples = _samples(run.readings)
    targets = _targets(key for found in reactions.values() for key in found)
    yield f'<?xml version="1.0" encoding="UTF-8"?>\n<rdml xmlns="http://www.rdml.org" version="{version}">\n'
    if run.run_started is not None:
        yield f"<dateMade>{run.run_started:%Y-%m-%dT%H:%M:%SZ}</dateMade>\n"
    for dye in dict.fromkeys(dye for _, dye in targets.values()):
        yield f"<dye id={_id(dye)}/>\n"
    yield from _sample_list(run, samples, targets)
    if any(all(one is None for one, _ in found.values()) for found in reactions.values()):
        yield f'<sample id="{NOT_STATED} sample"><type>unkn</type></sample>\n'
    for target, dye in targets.values():
        yield f"<target id={_id(target)}><type>toi</type><dyeId id={_id(dye)}/></target>\n"
    yield f"<experiment id={_id(run.experiment or run.plate or run.name)}>\n"
    yield f"<run id={_id(run.plate or run.name)}>\n"
    yield from _run_head(run, reactions)
    shape = _shape(run, reactions)
    for well, found in sorted(reactions.items(), key=lambda item: _number(item[0], shape)):
        yield from _react(_number(well, shape), found, samples, targets)
    yield "</run>\n</experiment>\n</rdml>\n"


def _reactions(run: RunFile) -> dict[str, _Found]:
    """Well -> (target, dye) -> its reading and its curve."""
    found: dict[str, _Found] = {}
    for reading in run.readings:
        found.setdefault(reading.well, {})[reading.target, reading.dye] = (reading, None)
    for curve in sorted(run.curves, key=lambda one: _RANK[one.kind]):
        here = found.setdefault(curve.well, {})
        said, other = here.get((curve.target, curve.dye), (None, None))
        here[curve.target, curve.dye] = (said, other or curve)
    return found


def _targets(keys: Iterable[_Key]) -> dict[_Key, tuple[str, str]]:
    """(target, dye) -> id and dye; a target read in two dyes gets an id for each."""
    found: dict[_Key, tuple[str, str]] = {}
    taken: set[str] = set()
    dyes: dict[str, str] = {}
    for target, dye in keys:
        if (target, dye) in found:
            continue
        stated = dyes.get(dye) or _carried(dye) or f"{NOT_STATED} dye"
        while dye not in dyes and stated in dyes.values():
            stated += "'"
        dyes[dye] = stated
        name = _carried(target) or f"{NOT_STATED} target of {stated}"
        while name in taken:
            name += f" ({stated})"
        taken.add(name)
        found[target, dye] = (name, stated)
    return found


def _samples(readings: Sequence[Reading]) -> dict[_Key, str]:
    """(sample, task) -> id. A name keeps its id where each of its targets has one task (1.4 can say so)."""
    tasks: dict[_Key, set[str]] = {}
    for one in readings:
        tasks.setdefault((one.sample, one.target), set()).add(one.task)
    torn = {sample for (sample, _), found in tasks.items() if len(found) > 1}
    found: dict[_Key, str] = {}
    taken: dict[str, str] = {}
    for one in readings:
        key = (one.sample, one.task)
        if key in found:
            continue
        apart = one.sample in torn or not one.sample
        name = _carried(one.sample) or f"{NOT_STATED} sample, {_carried(one.task) or 'no task'}"
        if one.sample in torn and name in taken:
            name += f" ({_carried(one.task) or 'no task'})"
        while taken.get(name, one.sample) != one.sample or (apart and name in taken):
            name += "'"
        taken[name] = one.sample
        found[key] = name
    return found


def _sample_list(
    run: RunFile, samples: Mapping[_Key, str], targets: Mapping[_Key, tuple[str, str]]
) -> Iterator[str]:
    """Samples with their type; a target of a sample that has another task than its first names its own."""
    types: dict[str, dict[str, str]] = {}
    for one in run.readings:
        kinds = types.setdefault(samples[one.sample, one.task], {})
        kind = _TYPES.get(one.task, "unkn")
        if kinds.setdefault("", kind) != kind:
            kinds[targets[one.target, one.dye][0]] = kind
    for name, kinds in types.items():
        listed = [
            f"<type targetId={_id(target)}>{kind}</type>" if target else f"<type>{kind}</type>"
            for target, kind in kinds.items()
        ]
        yield f"<sample id={_id(name)}>{''.join(listed)}</sample>\n"


def _shape(run: RunFile, reactions: Mapping[str, _Found]) -> tuple[int, int]:
    """Rows and columns: of the block, of a chip, or of a rotor (one row)."""
    if all(well.isdigit() for well in reactions):
        return 1, max(72, *(int(well) for well in reactions), 72)
    chambers = [_CHAMBER.fullmatch(well) for well in reactions]
    if all(chambers):
        places = [(int(m[1]), int(m[2])) for m in chambers if m]
        return max(row for row, _ in places), max(column for _, column in places)
    beyond = any(well[0] > "H" or int(well[1:]) > 12 for well in reactions if well[1:].isdigit())
    return BLOCKS[run.block or (384 if beyond else 96)]


def _number(well: str, shape: tuple[int, int]) -> int:
    """React id: the position from 1, row by row."""
    if well.isdigit():
        return int(well)
    if place := _CHAMBER.fullmatch(well):
        return (int(place[1]) - 1) * shape[1] + int(place[2])
    return well_index(well, shape[0] * shape[1]) + 1


def _run_head(run: RunFile, reactions: Mapping[str, _Found]) -> Iterator[str]:
    rows, columns = _shape(run, reactions)
    instrument = " ".join(part for part in (run.instrument, run.serial and f"SN {run.serial}") if part)
    if instrument:
        yield f"<instrument>{_text(instrument)}</instrument>\n"
    if run.software:
        software = f"<name>{_text(run.software)}</name><version>{_text(run.format)}</version>"
        yield f"<dataCollectionSoftware>{software}</dataCollectionSoftware>\n"
    shape = f"<rows>{rows}</rows><columns>{columns}</columns>"
    yield f"<pcrFormat>{shape}<rowLabel>ABC</rowLabel><columnLabel>123</columnLabel></pcrFormat>\n"
    if run.run_started is not None:
        yield f"<runDate>{run.run_started:%Y-%m-%dT%H:%M:%SZ}</runDate>\n"


def _react(
    number: int,
    found: _Found,
    samples: Mapping[_Key, str],
    targets: Mapping[_Key, tuple[str, str]],
) -> Iterator[str]:
    """One react a sample: wells hold one, and targets of one well that say otherwise follow in a second."""
    groups: dict[str, list[tuple[str, Reading | None, Curve | None]]] = {}
    stated = [samples[one.sample, one.task] for one, _ in found.values() if one]
    for key, (reading, curve) in found.items():
        # A curve without a result belongs to what else is said of its well.
        unsaid = stated[0] if stated else f"{NOT_STATED} sample"
        name = samples[reading.sample, reading.task] if reading else unsaid
        groups.setdefault(name, []).append((targets[key][0], reading, curve))
    for name, listed in groups.items():
        yield f'<react id="{number}"><sample id={_id(name)}/>\n'
        for target, reading, curve in listed:
            yield from _data(target, reading, curve)
        yield "</react>\n"


def _data(target: str, reading: Reading | None, curve: Curve | None) -> Iterator[str]:
    yield f"<data><tar id={_id(target)}/>"
    if reading is not None:
        unreadable = UNREAD_CQ in reading.flags
        if not unreadable:
            yield f"<cq>{-1.0 if reading.cq is None else reading.cq!r}</cq>"
        if unreadable or "OMIT" in reading.flags:
            why = f"Cq not readable: {reading.raw_cq}" if unreadable else "omitted by the operator"
            yield f"<excl>{_text(why)}</excl>"
        if reading.flags:
            yield f"<note>{_text(', '.join(reading.flags))}</note>"
    if curve is not None:
        for cycle, value in zip(curve.cycles.tolist(), curve.values.tolist(), strict=True):
            if np.isfinite(value):
                yield f"<adp><cyc>{cycle}</cyc><fluor>{value!r}</fluor></adp>"
    yield "</data>\n"


# -- tidy tables -----------------------------------------------------------------------------------


def reading_rows(run: RunFile) -> Iterator[tuple[object, ...]]:
    """A row per reading, in the order of ``READING_COLUMNS``."""
    moments = [None if at is None else f"{at:%Y-%m-%dT%H:%M:%SZ}" for at in (run.run_started, run.run_ended)]
    named = (run.experiment, run.name, run.sha256, run.format, run.instrument, run.serial, run.plate)
    shared = (*named, *moments, run.complete)
    for r in run.readings:
        first, last = r.baseline or (None, None)
        said = (r.well, r.sample, r.task, r.target, r.dye, r.cq, r.raw_cq, r.call, "|".join(r.flags))
        yield (*shared, *said, r.threshold, first, last)


def curve_rows(run: RunFile) -> Iterator[tuple[object, ...]]:
    """A row per reading of fluorescence, in the order of ``CURVE_COLUMNS``."""
    for c in run.curves:
        for cycle, value in zip(c.cycles.tolist(), c.values.tolist(), strict=True):
            yield (c.well, c.target, c.dye, c.kind, cycle, value)


def tidy_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Rows as csv: UTF-8, a point as decimal sign, empty for nothing."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue().encode("utf-8", errors="replace")


def _parquet(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Rows as parquet.

    Raises:
        InstrumentError: NO_PARQUET where pyarrow is not installed.
    """
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError as exc:
        raise InstrumentError(
            "NO_PARQUET",
            "Parquet needs pyarrow, which is not installed here. "
            "Install it (pip install pyarrow) or export .csv, which holds the same.",
        ) from exc
    turned = list(zip(*rows, strict=True)) or [() for _ in columns]
    # Named, so that a column without any value has the type it has in every other file.
    kinds = {name: getattr(arrow, _KINDS.get(name, "string"))() for name in columns}
    table = arrow.table(
        {name: arrow.array(values, kinds[name]) for name, values in zip(columns, turned, strict=True)}
    )
    out = io.BytesIO()
    parquet.write_table(table, out)
    return out.getvalue()


def files(runs: Sequence[RunFile], name: str, version: Version = "1.4") -> dict[str, bytes]:
    """File name -> content of an export; the extension of ``name`` says which.

    ``x.rdml`` takes one run and is written in this ``version``. ``x.csv`` and ``x.parquet`` take any
    number; curves, if any, go to ``x.curves.csv`` or ``x.curves.parquet``.

    Raises:
        InstrumentError: BAD_EXPORT for another extension or several runs as RDML, NO_PARQUET, BAD_RUN.
    """
    stem, _, kind = name.rpartition(".")
    if kind == "rdml" and len(runs) == 1:
        return {name: rdml(runs[0], version)}
    if kind not in ("csv", "parquet"):
        raise InstrumentError(
            "BAD_EXPORT",
            "Name the export .rdml, .csv or .parquet; an .rdml takes one run, name it with --run.",
            file=name,
        )
    write = tidy_csv if kind == "csv" else _parquet
    found = {name: write(READING_COLUMNS, [row for run in runs for row in reading_rows(run)])}
    if any(run.curves for run in runs):
        rows = [(run.experiment, *row) for run in runs for row in curve_rows(run)]
        found[f"{stem}.curves.{kind}"] = write(("run", *CURVE_COLUMNS), rows)
    return found
