"""Applied Biosystems experiment files, ``.eds`` of the first kind (7500, StepOne, ViiA 7, QuantStudio).

A zip of ``apldbio/sds/*``: ``plate_setup.xml`` (reactions by well number from 0), ``analysis_result.txt``
(per reaction a line, then its Rn and ΔRn), ``experiment.xml`` (run state, times, instrument) and the
dyes' signals (``multicomponentdata.xml``, on a 7500 ``multicomponent_data.txt``). A Ct that equals the
number of cycles means Undetermined. Amp Status -1 is NO_AMP, 0 INCONCLUSIVE. Without results the curves
are made of the signals: reporter over passive reference. Times are UTC milliseconds.

Complete: the zip is proved whole (directory, sizes, checksums); the run state is COMPLETE with an end
time; every reaction of the plate setup has a result, each with as many cycles as the others. A file
without experiment.xml or plate setup cannot prove that: its wells must be compared with the loaded
plate. A file copied while the run was going says so and is not complete.

Not read: images, quant files, calibrations, the thermal protocol, automatic thresholds and baselines
(the file does not keep those that were used), melt curves. Genotyping runs are refused by name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from instruments.errors import InstrumentError
from instruments.formats import cells, markup
from instruments.formats.experiment import (
    Experiment,
    Key,
    Planned,
    Result,
    Setup,
    Signals,
    build,
    instant,
    longest_stage,
    refuse_genotyping,
    whole_number,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from xml.etree.ElementTree import Element

    from instruments.formats.source import Source
    from instruments.model import RunFile

FORMAT = "eds"
_ROOT = "apldbio/sds/"
_RESULTS = f"{_ROOT}analysis_result.txt"
_SETUP = f"{_ROOT}plate_setup.xml"
_EXPERIMENT = f"{_ROOT}experiment.xml"
_SIGNALS_XML = f"{_ROOT}multicomponentdata.xml"
_SIGNALS_TEXT = f"{_ROOT}multicomponent_data.txt"
_PROTOCOL = f"{_ROOT}analysis_protocol.xml"
_READ = {_RESULTS, _SETUP, _EXPERIMENT, _SIGNALS_XML, _SIGNALS_TEXT}
_STATUS = {"-1": ("NO_AMP",), "0": ("INCONCLUSIVE",)}
_RECORD = re.compile(r"(?:^|[\t\n])(\d{1,3})\t(\d{1,4})\t([A-Za-z][^\t\n]*)\t[^\t\n]*\t([^\t\n]*)")
_POINT = re.compile(r"Stg:(\d+) Cyc:(\d+)")


def matches(source: Source) -> bool:
    """Whether the archive holds the results, the setup or the experiment of such a file."""
    return bool(_READ & set(source.members))


def read(source: Source) -> RunFile:
    """Read the file.

    Raises:
        InstrumentError: NOT_A_QUANTIFICATION for a genotyping run, DAMAGED_FILE for a broken part.
    """
    setup = _setup(source) if _SETUP in source.members else Setup()
    faults: list[str] = []
    results = _results(source, faults) if _RESULTS in source.members else None
    root = markup.document(source.name, source.member(_EXPERIMENT)) if _EXPERIMENT in source.members else None
    state = markup.said(root, "RunState")
    finished = instant(markup.said(root, "RunEndTime"))
    return build(
        source,
        Experiment(
            format=FORMAT,
            setup=setup,
            results=results,
            signals=_signals(source),
            started=instant(markup.said(root, "RunStartTime")),
            finished=finished,
            ended=None if root is None else state == "COMPLETE" and finished is not None,
            state=state,
            about=_about(source, root),
            faults=tuple(faults),
            unread=_unread(source.members),
        ),
    )


# -- plate setup -----------------------------------------------------------------------------------


def _setup(source: Source) -> Setup:
    root = markup.document(source.name, source.member(_SETUP))
    rows, columns = (whole_number(markup.said(root, name)) or 0 for name in ("Rows", "Columns"))
    samples: dict[int, str] = {}
    tasks: list[tuple[int, Element]] = []
    for feature in markup.children(root, "FeatureMap"):
        kind = markup.said(feature, "Feature", "Id")
        for value in markup.children(feature, "FeatureValue"):
            well = whole_number(markup.said(value, "Index"))
            item = markup.child(value, "FeatureItem")
            if well is None or item is None:
                continue
            if kind == "sample":
                samples[well] = markup.said(item, "Sample", "Name")
            elif kind == "detector-task":
                tasks += [(well, task) for task in _tasks(item)]
    raised = _raised(root)
    planned = dict(_planned(tasks, samples, raised))
    return Setup(
        block=rows * columns if rows * columns in (96, 384) else 0,
        plate=markup.said(root, "BarCode"),
        passive=markup.said(root, "PassiveReferenceDye"),
        planned=planned,
    )


def _tasks(item: Element) -> list[Element]:
    return [
        task
        for listed in markup.children(item, "DetectorTaskList")
        for task in markup.children(listed, "DetectorTask")
    ]


def _planned(
    tasks: Iterable[tuple[int, Element]], samples: Mapping[int, str], raised: Mapping[int, list[str]]
) -> Iterable[tuple[Key, Planned]]:
    for well, task in tasks:
        target = markup.said(task, "Detector", "Name")
        flags = [name.removesuffix(f"-{target}") for name in raised.get(well, ()) if _is_of(name, target)]
        yield (
            (well, target),
            Planned(
                samples.get(well, ""),
                markup.said(task, "Task"),
                markup.said(task, "Detector", "Reporter"),
                tuple(flags),
            ),
        )


def _is_of(flag: str, target: str) -> bool:
    return flag == "OMIT" or flag.endswith(f"-{target}")


def _raised(root: Element) -> dict[int, list[str]]:
    """Flags by well: ``EAF-N1`` is EAF of target N1, OMIT an omitted well."""
    found: dict[int, list[str]] = {}
    for well in markup.children(markup.child(root, "Wells"), "Well"):
        index = whole_number(markup.said(well, "Index"))
        if index is not None:
            names = [(flag.text or "").strip() for flag in markup.children(well, "FlagName")]
            found[index] = names + (["OMIT"] if markup.said(well, "IsOmit") == "true" else [])
    return found


# -- results ---------------------------------------------------------------------------------------


def _results(source: Source, faults: list[str]) -> tuple[Result, ...]:
    text = source.member(_RESULTS).decode("utf-8", errors="replace")
    lines = text.split("\n")
    if lines.pop().strip():
        faults.append("the results end within a line")
    rows = [line.rstrip("\r").split("\t") for line in lines]
    top = next((i for i, row in enumerate(rows) if cells.fold(row[0]) == "well"), len(rows))
    header = [cells.fold(cell) for cell in rows[top]] if top < len(rows) else []
    if "call" in header or "rnx" in header:
        raise refuse_genotyping(source)
    name = next((name for name in ("ct", "cq", "crt") if name in header), "")
    target = next((name for name in ("detector", "target name") if name in header), "")
    if not name or not target:
        raise InstrumentError(
            "MISSING_COLUMN",
            "The results inside the file have no Ct or no Detector column. Export the results instead.",
            file=source.name,
        )
    at = {role: header.index(column) for role, column in (("cq", name), ("target", target))}
    at |= {role: header.index(role) for role in ("sample name", "task", "amp status") if role in header}
    return tuple(_records(rows[top + 1 :], at, len(header), faults))


def _records(
    rows: Iterable[list[str]], at: Mapping[str, int], width: int, faults: list[str]
) -> Iterable[Result]:
    """Each result with the curves that follow it."""
    line: list[str] | None = None
    curves: dict[str, tuple[float, ...]] = {}
    for row in rows:
        label = row[0].strip()
        if whole_number(label) is not None:
            if line is not None:
                yield _result(line, at, curves)
            line, curves = row, {}
            if len(row) < width:
                faults.append(f"the result of well number {label} stops before its last column")
                line = row + [""] * (width - len(row))
        elif label in ("Rn values", "Delta Rn values"):
            curves[label] = _numbers(row[1:], faults)
    if line is not None:
        yield _result(line, at, curves)


def _numbers(written: list[str], faults: list[str]) -> tuple[float, ...]:
    while written and not written[-1].strip():
        written.pop()
    values = [cells.number(cell) for cell in written]
    if None in values:
        faults.append("some fluorescence values are not numbers")
    return tuple(float("nan") if value is None else value for value in values)


def _result(row: list[str], at: Mapping[str, int], curves: Mapping[str, tuple[float, ...]]) -> Result:
    def said(role: str) -> str:
        return row[at[role]].strip() if role in at else ""

    return Result(
        well=int(row[0]),
        target=said("target"),
        sample=said("sample name"),
        task=said("task"),
        raw_cq=said("cq"),
        flags=_STATUS.get(said("amp status"), ()),
        rn=curves.get("Rn values", ()),
        drn=curves.get("Delta Rn values", ()),
    )


# -- signals, keys ---------------------------------------------------------------------------------


def _signals(source: Source) -> Signals:
    if _SIGNALS_XML in source.members:
        return _signals_of_xml(markup.document(source.name, source.member(_SIGNALS_XML)))
    text = source.member(_SIGNALS_TEXT).decode("utf-8", errors="replace").replace("\r\n", "\n")
    found: dict[int, dict[str, dict[int, float]]] = {}
    for well, cycle, dye, value in _RECORD.findall(text):
        if (height := cells.number(value)) is not None:
            found.setdefault(int(well), {}).setdefault(dye, {})[int(cycle)] = height
    return {
        well: {dye: tuple(points[n] for n in sorted(points)) for dye, points in dyes.items()}
        for well, dyes in found.items()
    }


def _signals_of_xml(root: Element) -> Signals:
    """Signals of the stage with the most cycles, which is the amplification."""
    points = [(int(s), int(c)) for s, c in _POINT.findall(markup.said(root, "CollectionPoints"))]
    stage = longest_stage(points) or 0
    kept = [i for i, (s, _) in enumerate(points) if s == stage]
    dyes = {one.get("WellIndex"): markup.said(one, "DyeList") for one in markup.children(root, "DyeData")}
    found: dict[int, dict[str, tuple[float, ...]]] = {}
    for one in markup.children(root, "SignalData"):
        well = whole_number(one.get("WellIndex"))
        names = [name.strip() for name in dyes.get(one.get("WellIndex"), "").strip("[]").split(",")]
        rows = [(row.text or "").strip().strip("[]").split(",") for row in markup.children(one, "CycleData")]
        if well is not None and all(len(row) == len(points) for row in rows):
            heights = [[cells.number(row[i]) for i in kept] for row in rows]
            found[well] = {
                name: tuple(v for v in values if v is not None)
                for name, values in zip(names, heights, strict=False)
                if None not in values
            }
    return found


def _about(source: Source, root: Element | None) -> dict[str, str]:
    info = {
        one.get("key", ""): (one[0].text or "").strip() if len(one) else ""
        for group in markup.children(root, "ExperimentProperty")
        for one in markup.children(group, "PropertyValue")
    }
    manifest = source.member(f"{_ROOT}Manifest.mf").decode("utf-8", errors="replace").splitlines()
    keys = dict(line.split(": ", 1) for line in manifest if ": " in line)
    operator = markup.said(root, "Operator") or info.get("userId", "")
    algorithm = source.member(_PROTOCOL).decode("utf-8", errors="replace")
    named = algorithm.partition("<Name>AlgorithmName</Name>")[2].partition("<StringValue>")[2]
    return {
        "instrument": info.get("instrumentType", "") or markup.said(root, "InstrumentTypeId"),
        "device": info.get("instrumentName", ""),
        "serial": info.get("instrumentSerialNumber", ""),
        "software": info.get("softwareVersion", "") or keys.get("Implementation-Version", "").strip(),
        "operator": "" if operator == "DEFAULT" else operator,
        "experiment": markup.said(root, "Name"),
        "method": "crt" if "crt" in named.partition("<")[0].lower() else "ct",
    }


def _unread(members: Iterable[str]) -> tuple[str, ...]:
    """Members not read; folders (images, quant, calibrations) by name only."""
    names = []
    for member in members:
        rest = member.replace("\\", "/").removeprefix(_ROOT)
        if member not in _READ and rest and not rest.endswith("/") and rest not in ("apldbio", "Manifest.mf"):
            names.append(f"folder {rest.split('/')[0]}" if "/" in rest else f"member {rest}")
    return tuple(dict.fromkeys(names))
