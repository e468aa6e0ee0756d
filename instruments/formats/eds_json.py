"""Applied Biosystems experiment files, ``.eds`` of the second kind (Design & Analysis 2, QuantStudio Pro).

A zip of JSON: ``summary.json`` (instrument, run status), ``run/run_summary.json`` (times, serial),
``setup/plate_setup.json`` (reactions by well number from 0), ``primary/analysis_result.json`` (Cq, Rn,
ΔRn, threshold, baseline and flags per reaction) and ``primary/multicomponent_data.json`` (the dyes'
signals). No Cq is a bare ``NaN`` (not JSON by the book, but what the software writes), null, or -1.
Without results the curves are made of the signals: reporter over passive reference.

Complete: the zip is proved whole (directory, sizes, checksums); the run status is COMPLETED and so is
the primary analysis where it is named; every reaction of the plate setup has a result, each with as many
cycles as the others.

Not read: the run method, quant files, filter data, melt curves, standard curves and relative
quantification. Genotyping runs are refused by name. No real file was at hand when this reader was
written: its tests use a synthetic one in the layout that open readers of the format describe
(cgevans/qslib, tests of EDS 2.0).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from instruments.errors import InstrumentError
from instruments.formats import cells
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
)
from instruments.formats.markup import SIZE_LIMIT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from instruments.formats.source import Source
    from instruments.model import RunFile

FORMAT = "eds-json"
_SUMMARY = "summary.json"
_RUN = "run/run_summary.json"
_SETUP = "setup/plate_setup.json"
_RESULTS = "primary/analysis_result.json"
_SIGNALS = "primary/multicomponent_data.json"
_READ = (_SUMMARY, _RUN, _SETUP, _RESULTS, _SIGNALS, "Manifest.mf")
_MARKS = {_SETUP, _RESULTS, _SIGNALS}
_DONE = ("COMPLETED", "COMPLETE")
_VALUES = 3_000_000  # 384 wells of six dyes, 60 cycles, as Rn, ΔRn and six signals: 1.1 million


def matches(source: Source) -> bool:
    """Whether the archive has the JSON parts of such a file."""
    return bool(_MARKS & set(source.members))


def read(source: Source) -> RunFile:
    """Read the file.

    Raises:
        InstrumentError: NOT_A_QUANTIFICATION for a genotyping run, DAMAGED_FILE for a part that is no JSON.
    """
    summary, run = _part(source, _SUMMARY), _part(source, _RUN)
    plan = _part(source, _SETUP)
    analysis = _part(source, _RESULTS)
    if "genotyp" in _text(plan, "experimentType").lower() or analysis.get("genotypeResults"):
        raise refuse_genotyping(source)
    state = _text(summary, "runStatus")
    primary = _text(_dict(_dict(summary, "analysis"), "primary"), "status")
    faults = [f"the analysis was not finished (state {primary})"] if primary not in ("", *_DONE) else []
    setup = _setup(plan, summary)
    results = tuple(_results(analysis)) if _RESULTS in source.members else None
    return build(
        source,
        Experiment(
            format=FORMAT,
            setup=setup,
            results=results,
            signals=_signals(_part(source, _SIGNALS)),
            started=instant(run.get("startTime")),
            finished=instant(run.get("endTime")),
            ended=state in _DONE if state else None,
            state=state,
            about=_about(source, summary, run),
            faults=tuple(faults),
            unread=_unread(source.members),
        ),
    )


def _part(source: Source, name: str) -> dict[str, Any]:
    """A JSON part; {} when the file lacks it. Python's reader takes the bare NaN of these files."""
    if name not in source.members:
        return {}
    data = source.member(name)
    if len(data) > SIZE_LIMIT or sum(map(data.count, (b"{", b"[", b","))) > _VALUES:
        raise InstrumentError(
            "TOO_LARGE",
            f"The part '{name}' holds more than any run does. It is not opened.",
            file=source.name,
        )
    try:
        found = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as exc:
        raise InstrumentError(
            "DAMAGED_FILE",
            f"The part '{name}' is not readable JSON: the file was changed. Export it again.",
            file=source.name,
        ) from exc
    return found if isinstance(found, dict) else {}


def _text(part: dict[str, Any], key: str) -> str:
    value = part.get(key)
    return "" if value is None or isinstance(value, (dict, list)) else str(value).strip()


def _dict(part: dict[str, Any], key: str) -> dict[str, Any]:
    value = part.get(key)
    return value if isinstance(value, dict) else {}


def _list(part: dict[str, Any], key: str) -> list[dict[str, Any]]:
    value = part.get(key)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _numbers(part: dict[str, Any], key: str) -> tuple[float, ...]:
    value = part.get(key)
    listed = value if isinstance(value, list) else []
    numbers = [cells.number("" if one is None else one) for one in listed]
    return tuple(float("nan") if one is None else one for one in numbers)


def _index(part: dict[str, Any], key: str) -> int | None:
    value = part.get(key)
    return value if type(value) is int and 0 <= value < 10_000 else None


def _setup(plan: dict[str, Any], summary: dict[str, Any]) -> Setup:
    kind = _text(plan, "blockType") or _text(summary, "blockType")
    dyes = {_text(target, "name"): _text(target, "reporter") for target in _list(plan, "targets")}
    planned: dict[Key, Planned] = {}
    for well in _list(plan, "wells"):
        index = _index(well, "index")
        if index is None:
            continue
        flags = ("OMIT",) if well.get("omitted") is True else ()
        for task in _list(well, "targetAssignments"):
            target = _text(task, "targetName")
            planned[index, target] = Planned(
                _text(well, "sampleName"), _text(task, "task"), dyes.get(target, ""), flags
            )
    return Setup(
        block=next((size for size in (384, 96) if str(size) in kind), 0),
        plate=_text(plan, "barcode") or _text(plan, "plateBarcode"),
        passive=_text(plan, "passiveReference"),
        planned=planned,
    )


def _results(analysis: dict[str, Any]) -> Iterable[Result]:
    for well in _list(analysis, "wellResults"):
        index = _index(well, "wellIndex")
        if index is None:
            continue
        for reaction in _list(well, "reactionResults"):
            found = _dict(reaction, "amplificationResult")
            raw = _text(found, "cq") if "cq" in found else "(missing)"  # missing is not "not detected"
            status = _text(found, "ampStatus").upper().replace(" ", "_")
            flags = [status] if status not in ("", "AMP") else []
            listed = found.get("flags")
            flags += [str(one) for one in listed] if isinstance(listed, list) else []
            flags += ["OMIT"] if reaction.get("omitted") is True else []
            yield Result(
                well=index,
                target=_text(reaction, "targetName"),
                sample=_text(reaction, "sampleName"),
                task=_text(reaction, "task"),
                raw_cq="" if cells.number(raw) == -1 else raw,
                flags=tuple(flags),
                rn=_numbers(found, "rn"),
                drn=_numbers(found, "deltaRn"),
                threshold=cells.number(_text(found, "ctThreshold")),
                baseline=_baseline(found),
            )


def _baseline(found: dict[str, Any]) -> tuple[int, int] | None:
    first = cells.number(_text(found, "ctBaselineStart"))
    last = cells.number(_text(found, "ctBaselineEnd"))
    return None if first is None or last is None or first <= 1 else (int(first), int(last))


def _signals(part: dict[str, Any]) -> Signals:
    """Signals of the stage with the most cycles, which is the amplification."""
    points = [(_index(one, "stage"), _index(one, "cycle")) for one in _list(part, "collectionPoints")]
    stage = longest_stage(points)
    kept = [i for i, (s, _) in enumerate(points) if s == stage]
    found: dict[int, dict[str, tuple[float, ...]]] = {}
    for well in _list(part, "wellData"):
        index = _index(well, "wellIndex")
        for dye in _list(well, "dyeData"):
            values = _numbers(dye, "fluorescences")
            if index is not None and len(values) == len(points):
                found.setdefault(index, {})[_text(dye, "dyeName")] = tuple(values[i] for i in kept)
    return found


def _about(source: Source, summary: dict[str, Any], run: dict[str, Any]) -> dict[str, str]:
    manifest = source.member("Manifest.mf").decode("utf-8", errors="replace").splitlines()
    keys = dict(line.split(": ", 1) for line in manifest if ": " in line)
    names = (keys.get("Implementation-Title", ""), keys.get("Implementation-Version", ""))
    return {
        "instrument": _text(summary, "instrumentType"),
        "device": _text(run, "instrumentName"),
        "serial": _text(run, "instrumentSerialNumber"),
        "software": " ".join(name.strip() for name in names if name.strip()),
        "operator": _text(run, "operator"),
        "experiment": _text(summary, "name"),
        "method": "ct",
    }


def _unread(members: Iterable[str]) -> tuple[str, ...]:
    names = [
        f"folder {member.rpartition('/')[0]}" if member.count("/") > 1 else f"member {member}"
        for member in members
        if member not in _READ and not member.endswith("/")
    ]
    return tuple(dict.fromkeys(names))
