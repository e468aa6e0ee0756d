"""How well Cq calling does on a folder of real runs: the tables of ``lis call --report DIR``.

The folder holds cycler exports anywhere below it, and, where they are to be used, three kinds of
benchmark: ``*_human_rating.csv`` beside the curves they rate, ``dil4reps94.csv.gz`` (94 replicates of
four dilutions, Ruijter et al. 2013) and ``data_vermeulen_methods_results.tsv`` (the eleven published
methods of the same paper). What is absent is left out and said.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import structs

from instruments import early, formats, integrity
from instruments.calling import SIGMOID, call_curves
from instruments.calling_replicates import Table, precision, published, small, wide
from instruments.checking import paired, stacks, verdicts
from instruments.errors import InstrumentError
from instruments.model import canonical_well

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from instruments.integrity import Checked
    from instruments.model import RunFile

_VERDICTS: tuple[integrity.Verdict, ...] = (
    "agrees", "edited", "differs", "cq-on-flat", "curve-without-cq", "unchecked",
)  # fmt: skip
_DOUBTED = ("LOW_AMP_SCORE", "LOW_CQ_CONF")  # flags of an instrument that doubts its own call


def tables(folder: Path) -> Iterator[Table]:
    """Every table that the folder has data for, one by one as they are ready."""
    runs, unread = _runs(folder)
    yield Table(
        "read for this report", ("files with curves", "without", "not readable"), (_census(runs, unread),)
    )
    checked = {name: integrity.check(run) for name, run in runs.items() if run.curves and run.readings}
    yield _reproduced(checked)
    yield _accused(runs, checked)
    yield _own_baseline(runs)
    for path in sorted(folder.rglob("dil4reps94.csv.gz")):
        yield precision(path)
    for path in sorted(folder.rglob("data_vermeulen_methods_results.tsv")):
        yield published(path, [run for name, run in runs.items() if name.startswith("data_vermeulen_std")])
    yield _rated(folder, runs)
    yield _forecast(folder, runs)


# -- reading --------------------------------------------------------------------------------------


def _runs(folder: Path) -> tuple[dict[str, RunFile], int]:
    """Name -> run, curves and results of one CFX run joined; and how many files no reader takes."""
    found: dict[str, RunFile] = {}
    unread = 0
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        try:
            for run in _read(path):
                found[path.name if path.name not in found else f"{path.name} {run.experiment}"] = run
        except InstrumentError:
            unread += 1
    return _joined(found), unread


def _read(path: Path) -> Sequence[RunFile]:
    every = getattr(formats, "read_all", None)
    content = path.read_bytes()
    return every(path.name, content) if every else (formats.read(path.name, content),)


def _joined(found: dict[str, RunFile]) -> dict[str, RunFile]:
    """Bio-Rad writes Cq and curves of a run into files that share the part before ``Quantification``."""
    curves: dict[str, list[RunFile]] = {}
    for name, run in found.items():
        if run.curves and not run.readings:
            curves.setdefault(re.split(r"-\s*Quantification", name)[0], []).append(run)
    joined = {}
    for name, run in found.items():
        parts = curves.get(re.split(r"-\s*Quantification", name)[0], [])
        if run.curves or not run.readings or not parts:
            joined[name] = run
            continue
        named = {reading.well: reading for reading in run.readings}
        own = [curve for part in parts for curve in part.curves if curve.well in named]
        joined[name] = replace(
            run,
            curves=tuple(structs.replace(c, target=named[c.well].target, dye=named[c.well].dye) for c in own),
        )
    return joined


def _census(runs: dict[str, RunFile], unread: int) -> tuple[int, int, int]:
    curved = sum(bool(run.curves) for run in runs.values())
    return curved, len(runs) - curved, unread


# -- tables ---------------------------------------------------------------------------------------


def _reproduced(checked: Mapping[str, Sequence[Checked]]) -> Table:
    rows = []
    for name, found in checked.items():
        claims = [one for one in found if one.verdict != "unchecked" and one.instrument_cq is not None]
        agreeing = [one for one in claims if one.verdict == "agrees" and one.difference is not None]
        exact = [abs(one.difference or 0.0) for one in agreeing if one.exact]
        near = [abs(one.difference or 0.0) for one in agreeing if not one.exact]
        if claims:
            most = (small(max(gaps, default=None)) for gaps in (exact, near))
            rows.append((name, len(claims), len(exact), next(most), len(near), next(most)))
    return Table(
        "the instrument's Cq from the curves of its file (exactly, by its own method, or near it)",
        ("file", "Cq with a curve", "exact", "largest |dCq|", "near", "largest |dCq|"),
        tuple(rows),
    )


def _accused(runs: dict[str, RunFile], checked: Mapping[str, Sequence[Checked]]) -> Table:
    """Files with a finding one by one, all others in one row."""
    rows = []
    clean: Counter[integrity.Verdict] = Counter()
    total: Counter[integrity.Verdict] = Counter()
    for name, found in checked.items():
        count = Counter(one.verdict for one in found)
        total.update(count)
        if set(count) <= {"agrees", "unchecked"}:
            clean.update(count)
            continue
        whole = "yes" if runs[name].complete else "no"
        rows.append((name, whole, *(count[verdict] for verdict in _VERDICTS)))
    for title, count in (("all files without a finding", clean), ("all files", total)):
        rows.append((title, "", *(count[verdict] for verdict in _VERDICTS)))
    return Table(
        "integrity: can the Cq have come from the curve beside it (readings by verdict)",
        ("file", "file is whole", *_VERDICTS),
        tuple(rows),
    )


def _own_baseline(runs: dict[str, RunFile]) -> Table:
    gaps: list[float] = []
    called = extra = negative = doubted = 0
    for run in runs.values():
        if run.method == "crt" or not run.readings or integrity.flags(run):
            continue
        matched = paired(run)
        for stack in stacks(run):
            curves, values = stack.curves, stack.values
            used = [
                (i, matched.get((c.well, c.target, c.dye))) for i, c in enumerate(curves) if c.kind == "rn"
            ]
            given = [(i, r) for i, r in used if r is not None and r.threshold is not None]
            if not given:
                continue
            calls = call_curves(
                values[[i for i, _ in given]], threshold=[r.threshold or 0.0 for _, r in given]
            )
            # Only a sigmoid is called, as the instruments themselves do.
            cq = np.where(calls.verdict == SIGMOID, calls.cq, np.nan)
            for own, (_, reading) in zip(cq, given, strict=True):
                if reading.cq is None:
                    negative += 1
                    extra += not np.isnan(own)
                else:
                    called += 1
                    gaps += [] if np.isnan(own) else [abs(own - reading.cq)]
                    doubted += np.isnan(own) and any(flag.startswith(_DOUBTED) for flag in reading.flags)
    p50, p95, most = np.percentile(gaps, [50, 95, 100]) if gaps else (np.nan,) * 3
    return Table(
        "own baseline with the instrument's threshold (bars: all called, p95 0.08, extra 1 %)",
        (
            "called by instrument",
            "of these here",
            "share",
            "doubted by the instrument too",
            "median |dCq|",
            "p95",
            "largest",
            "negatives",
            "extra calls",
        ),
        (
            (
                called,
                len(gaps),
                small(len(gaps) / called if called else None),
                doubted,
                small(p50),
                small(p95),
                small(most),
                negative,
                extra,
            ),
        ),
    )


def _ratings(folder: Path) -> Iterator[tuple[str, list[tuple[str, bool]]]]:
    """What people made of the curves of a file: (name of the file, [(label, positive)])."""
    for path in sorted(folder.rglob("*_human_rating.csv")):
        with path.open(encoding="utf-8") as lines:
            rows = list(csv.reader(lines))[1:]
        yield path.name.removesuffix("_human_rating.csv"), [(row[0], row[1] == "y") for row in rows]


def _judged(folder: Path, runs: dict[str, RunFile]) -> Iterator[tuple[str, Any, Any, Any]]:
    """Rated curves: (set, curves, positive, sigmoid)."""
    for name, ratings in _ratings(folder):
        for path in folder.rglob(f"{name}.csv.gz"):
            values = wide(path)[1]
            yield (
                name,
                values,
                np.array([mark for _, mark in ratings]),
                call_curves(values).verdict == SIGMOID,
            )
        run = runs.get(f"{name}.rdml")
        if run is not None:
            yield name, *_rated_run(run, ratings)


def _rated_run(run: RunFile, ratings: Sequence[tuple[str, bool]]) -> tuple[Any, Any, Any]:
    """Labels begin with the well and hold the target, spelt with other separators."""
    marks = {(canonical_well(label[:3], 96), _plain(label)): mark for label, mark in ratings}
    found = verdicts(run)
    values, positive, sigmoid = [], [], []
    for stack in stacks(run):
        for curve, row in zip(stack.curves, stack.values, strict=True):
            mark = [m for (w, text), m in marks.items() if w == curve.well and _plain(curve.target) in text]
            if len(mark) == 1:
                values.append(row)
                positive.append(mark[0])
                sigmoid.append(found[curve.well, curve.target, curve.dye] == SIGMOID)
    return np.array(values), np.array(positive), np.array(sigmoid)


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]", "", text).lower()


def _rated(folder: Path, runs: dict[str, RunFile]) -> Table:
    rows = []
    for name, _, positive, sigmoid in _judged(folder, runs):
        right, clean = int((sigmoid & positive).sum()), int((~sigmoid & ~positive).sum())
        rows.append((name, f"{right}/{positive.sum()}", f"{clean}/{(~positive).sum()}"))
    return Table(
        "curve verdict against people (bars: 99.5 %, 98 %)",
        ("set", "sensitivity", "specificity"),
        tuple(rows),
    )


def _forecast(folder: Path, runs: dict[str, RunFile]) -> Table:
    """Positives: called by the instrument, or by people where there is no instrument's Cq."""
    sets = [(values, positive) for _, values, positive, _ in _judged(folder, runs)]
    for run in runs.values():
        matched = paired(run) if run.readings and not integrity.flags(run) else {}
        for stack in stacks(run):
            curves, values = stack.curves, stack.values
            rows = [(i, matched.get(key)) for i, key in enumerate(stack.keys)]
            used = [(i, r.cq is not None) for i, r in rows if r is not None and curves[i].kind == "rn"]
            if used:
                sets.append((values[[i for i, _ in used]], np.array([mark for _, mark in used])))
    shown = []
    for cycle in range(early.FIRST_CYCLE, 41, 3):
        pool = [
            early.outlooks(values, positive, cycle) for values, positive in sets if values.shape[1] >= cycle
        ]
        if pool:
            one = early.score(cycle, pool)
            shown.append(
                (
                    cycle,
                    one.positives,
                    one.negatives,
                    *map(small, (one.recall, one.precision, one.quiet_right)),
                )
            )
    return Table(
        "running plates, planning only",
        ("cycle", "positives", "negatives", "recall", "precision", "quiet and negative"),
        tuple(shown),
    )
