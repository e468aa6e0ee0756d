"""RDML 1.0 to 1.4, from every writer: a zip with one XML document (any name), or the bare document.

Read are Cq, amplification curves, samples with their types (per target where 1.4 says so), targets and
dyes, software and date of each run. React ids are numbers from 1 (row by row in the format of the run)
or, in StepOne files, well names. No Cq is an absent element, -1, or a whole number that no cycle of the
curve lies beyond (40.0 of 40 cycles; 40, 50 and 100 where there is no curve). Bio-Rad writes a run per
fluor of one plate: those are joined. A file can hold several runs: ``read`` asks which one is meant,
``read_all`` returns them all.

Complete: the zip is proved whole (directory, sizes, checksums) and the XML is well-formed to its last
element, so everything written is here; no reaction stands there twice, no curve lacks a cycle that the
others of its run have, and at least one reaction of the run has a Cq (a file of raw curves without any
is a run not yet analysed, not a run without positives).

Not read: melt curves (named in ``unread``), digital PCR partitions, thermal profiles, sequences,
standard curves, results of LinRegPCR. Documents with a DTD are refused.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING

from instruments.errors import InstrumentError
from instruments.formats import cells, markup
from instruments.formats.experiment import curve
from instruments.model import BLOCKS, Curve, Reading, RunFile, canonical_well

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from xml.etree.ElementTree import Element

    from instruments.formats.source import Source

FORMAT = "rdml"
NOT_STATED = "not stated"  # how our export begins names that the instrument's file did not have
_WANTED = ("experiment", "run", "react", "dye", "sample", "target")
_NO_CQ = frozenset({"-1", "-1.0"})
_SENTINELS = frozenset({40.0, 50.0, 100.0})
_MOST = 1000  # no protocol has as many cycles
_UNCALLED = (
    "no reaction of the run has a Cq: it was not analysed, or the writer keeps raw curves only. Export the "
    "results with Cq, or call them from the curves"
)


@dataclass(frozen=True)
class _Data:
    """What one react says of one target."""

    react: str
    sample: str
    target: str
    raw_cq: str
    omitted: bool
    cycles: tuple[int, ...]
    values: tuple[float, ...]


@dataclass
class _Run:
    """One run element, filled while the document is read."""

    experiment: str
    id: str
    instrument: str = ""
    software: str = ""
    date: str = ""
    shape: tuple[int, int] = (0, 0)
    data: list[_Data] = field(default_factory=list)
    melt: bool = False


@dataclass
class _Document:
    """The whole document; samples and targets may stand before or after the runs that use them."""

    tasks: dict[tuple[str, str], str] = field(default_factory=dict)
    dyes: dict[str, str] = field(default_factory=dict)
    names_of_dyes: set[str] = field(default_factory=set)
    runs: list[_Run] = field(default_factory=list)
    named: int = 0
    pending: list[_Data] = field(default_factory=list)
    melt: bool = False


def _xml(source: Source) -> bytes:
    """The RDML document of a file, b"" when it holds none."""
    if source.kind == "text":
        data = source.data
    else:
        names = [name for name in source.members if name.lower().endswith(".xml")]
        best = "rdml_data.xml" if "rdml_data.xml" in names else names[0] if len(names) == 1 else ""
        data = source.member(best) if best else b""
    return data if b"<rdml" in data[:4096].replace(b"\0", b"") else b""


def matches(source: Source) -> bool:
    """Whether the file is RDML or a zip with one RDML document."""
    return bool(_xml(source))


def read(source: Source) -> tuple[RunFile, ...]:
    """Read all runs of the file.

    Raises:
        InstrumentError: DAMAGED_FILE for XML that does not reach its end, UNREADABLE_FILE without runs.
    """
    document = _document(source.name, _xml(source))
    runs = _joined(document)
    if not runs:
        raise InstrumentError(
            "UNREADABLE_FILE", "The RDML file holds no run with reactions. Export the run.", file=source.name
        )
    single = len(runs) == 1
    return tuple(_run(source, document, run, single=single) for run in runs)


# -- the document ----------------------------------------------------------------------------------


def _document(name: str, data: bytes) -> _Document:
    """Read the document; parts are taken as they end, reactions before their run, runs before theirs."""
    found = _Document()
    for element in markup.walk(name, data, _WANTED):
        _take(found, markup.tag(element), element)
    return found


def _take(found: _Document, tag: str, element: Element) -> None:
    """Take what an element says; reactions are forgotten by the XML reader at once."""
    name = element.get("id", "")
    if tag == "react":
        found.melt = _take_react(found.pending, element) or found.melt
        element.clear()
    elif tag == "run":
        found.runs.append(_Run("", name, data=found.pending, melt=found.melt))
        _take_run(found.runs[-1], element)
        found.pending, found.melt = [], False
        element.clear()
    elif tag == "experiment":
        for run in found.runs[found.named :]:
            run.experiment = name
        found.named = len(found.runs)
    elif tag == "dye":
        found.names_of_dyes.add(name)
    elif tag == "sample" and len(element):
        for kind in markup.children(element, "type"):
            found.tasks[name, kind.get("targetId", "")] = (kind.text or "").strip()
    elif tag == "target" and len(element):
        dye = markup.child(element, "dyeId")
        found.dyes[name] = "" if dye is None else dye.get("id", "") or (dye.text or "").strip()


def _take_run(run: _Run, element: Element) -> None:
    run.instrument = markup.said(element, "instrument")
    name = markup.said(element, "dataCollectionSoftware", "name")
    run.software = f"{name} {markup.said(element, 'dataCollectionSoftware', 'version')}".strip()
    run.date = markup.said(element, "runDate")
    rows, columns = (markup.said(element, "pcrFormat", side) for side in ("rows", "columns"))
    if rows.isascii() and columns.isascii() and rows.isdigit() and columns.isdigit():
        run.shape = (int(rows[:6]), int(columns[:6]))


def _take_react(taken: list[_Data], react: Element) -> bool:
    """Take the targets of a reaction; whether it has a melt curve."""
    melt = False
    space = react.tag.removesuffix("react")  # all of a document is in one namespace: the fast path
    sample = react.find(f"{space}sample")
    for data in react.findall(f"{space}data"):
        target = data.find(f"{space}tar")
        melt = melt or data.find(f"{space}mdp") is not None
        cycles, values = _points(data.findall(f"{space}adp"), space)
        taken.append(
            _Data(
                react=react.get("id", ""),
                sample="" if sample is None else sample.get("id", ""),
                target="" if target is None else target.get("id", ""),
                raw_cq=(data.findtext(f"{space}cq") or "").strip(),
                omitted=bool((data.findtext(f"{space}excl") or "").strip()),
                cycles=cycles,
                values=values,
            )
        )
    return melt


def _points(points: list[Element], space: str) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Cycles in their order with their fluorescence; a point that is no pair of numbers is left out."""
    written = [(point.findtext(f"{space}cyc"), point.findtext(f"{space}fluor")) for point in points]
    try:
        numbers = [(int(float(c or "")), float(v or "")) for c, v in written]
    except (ValueError, OverflowError):
        pairs = [(cells.number(c or ""), cells.number(v or "")) for c, v in written]
        numbers = [(int(c), v) for c, v in pairs if c is not None and v is not None and c < _MOST]
    whole = sorted((c, v) for c, v in numbers if 0 < c < _MOST and isfinite(v))
    return tuple(c for c, _ in whole), tuple(v for _, v in whole)


def _joined(document: _Document) -> list[_Run]:
    """Join the runs that are the fluors of one plate: ``Amp Step 3_FAM`` and ``Amp Step 3_Cy5``."""
    dyes = document.names_of_dyes
    kept: dict[tuple[str, str, str], _Run] = {}
    taken: dict[tuple[str, str, str], set[tuple[str, str]]] = {}
    for run in document.runs:
        if not run.data:
            continue
        stem, _, last = run.id.rpartition("_")
        plain = stem if stem and last in dyes else run.id
        key = (run.experiment, plain, run.instrument)
        reactions = {(d.react, d.target) for d in run.data}
        first = kept.get(key)
        if first is None or taken[key] & reactions:
            key = (*key[:2], key[2] if first is None else f"{key[2]} {len(kept)}")
            kept[key], taken[key] = replace(run, id=plain), reactions
        else:
            first.data += run.data
            first.melt = first.melt or run.melt
            taken[key] |= reactions
    return list(kept.values())


# -- runs ------------------------------------------------------------------------------------------


def _run(source: Source, document: _Document, run: _Run, *, single: bool) -> RunFile:
    block = next((size for size, shape in BLOCKS.items() if size and shape == run.shape), 0)
    wells = {data.react: _well(data.react, run.shape) for data in run.data}
    # A writer has one word for none: where -1 stands, 40.0 is a Cq.
    sentinels = not any(data.raw_cq in _NO_CQ for data in run.data)
    readings = tuple(_reading(data, wells[data.react], document, sentinels=sentinels) for data in run.data)
    started = _instant(run.date, source)
    faults = _faults(run, readings)
    names = [run.experiment, run.id]
    return RunFile(
        name=source.name,
        sha256=source.sha256,
        format=FORMAT,
        instrument=run.instrument,
        software=run.software,
        experiment=(run.experiment or run.id) if single else " / ".join(name for name in names if name),
        run_started=started,
        block=block,
        complete=not faults,
        reasons=tuple(faults),
        readings=readings,
        curves=tuple(_curves(run.data, wells, document.dyes)),
        unread=tuple(
            name
            for name, met in (("melt curves", run.melt), ("key runDate", bool(run.date) and started is None))
            if met
        ),
    )


def _well(react: str, shape: tuple[int, int]) -> str:
    """Name of a reaction's well; on rotors and chips, which have no rows and columns, its number.

    Raises:
        InstrumentError: BAD_WELL for a number beyond the plate.
    """
    rows, columns = shape
    if not (react.isascii() and react.isdigit()):
        return canonical_well(react, 0)
    if not (1 < rows <= 16 and columns <= 24):
        return str(int(react))
    index = int(react) - 1
    if not 0 <= index < rows * columns:
        raise InstrumentError(
            "BAD_WELL", f"Reaction {react} is beyond the {rows} x {columns} wells of the plate."
        )
    return f"{chr(65 + index // columns)}{index % columns + 1}"


def _reading(data: _Data, well: str, document: _Document, *, sentinels: bool) -> Reading:
    value, doubt = (None, "") if _is_none(data, sentinels=sentinels) else cells.cq(data.raw_cq)
    flags = ["OMIT"] if data.omitted else []
    flags += [doubt] if doubt else []
    task = document.tasks.get((data.sample, data.target)) or document.tasks.get((data.sample, ""), "")
    return Reading(
        well=well,
        sample=_stated(data.sample),
        task="negative_control" if task == "ntp" else cells.task(task),
        target=_stated(data.target),
        dye=_stated(document.dyes.get(data.target, "")),
        cq=value,
        raw_cq=data.raw_cq,
        call="",
        flags=tuple(flags),
    )


def _stated(name: str) -> str:
    """A name, "" where our own export had to invent one, since RDML demands names."""
    return "" if name.startswith(NOT_STATED) else name


def _is_none(data: _Data, *, sentinels: bool) -> bool:
    if data.raw_cq in _NO_CQ or not sentinels:
        return data.raw_cq in _NO_CQ
    value = cells.number(data.raw_cq)
    if value is None or not value.is_integer():
        return False
    return value >= data.cycles[-1] if data.cycles else value in _SENTINELS


def _faults(run: _Run, readings: tuple[Reading, ...]) -> list[str]:
    faults = []
    twice = [well for (well, _, _), count in Counter(r.key for r in readings).items() if count > 1]
    if twice:
        faults.append(f"two results for {cells.some(twice)}")
    unread = [r.well for r in readings if cells.UNREAD_CQ in r.flags]
    if unread:
        faults.append(f"the Cq of {cells.some(unread)} is neither a number nor a known spelling of none")
    if not any(data.raw_cq for data in run.data):
        faults.append(_UNCALLED)
    usual = sorted({cycle for data in run.data for cycle in data.cycles})
    short = [r.well for r, data in zip(readings, run.data, strict=True) if list(data.cycles) != usual]
    if short:
        faults.append(f"the curves of {len(short)} reactions lack cycles: {cells.some(short)}")
    return faults


def _curves(data: Iterable[_Data], wells: Mapping[str, str], dyes: Mapping[str, str]) -> Iterable[Curve]:
    for one in data:
        if one.cycles:
            dye = _stated(dyes.get(one.target, ""))
            yield curve(wells[one.react], _stated(one.target), dye, "rfu", one.values, one.cycles)


def _instant(written: str, source: Source) -> datetime | None:
    """A date of RDML as UTC; without an offset only the laboratory's zone can place it."""
    try:
        at = datetime.fromisoformat(written)
    except ValueError:
        return None
    if at.tzinfo is None:
        return None if source.zone is None else at.replace(tzinfo=source.zone).astimezone(UTC)
    return at.astimezone(UTC)
