"""How well Cq calling does on a folder of real runs: the tables of ``lis call --report DIR``.

The folder holds cycler exports anywhere below it, and, where they are to be used, three kinds of
benchmark: ``*_human_rating.csv`` beside the curves they rate, ``dil4reps94.csv.gz`` (94 replicates of
four dilutions, Ruijter et al. 2013) and ``data_vermeulen_methods_results.tsv`` (the eleven published
methods of the same paper). What is absent is left out and said.
"""

from __future__ import annotations

import csv
import gzip
import re
from collections import Counter
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from instruments import early, formats, integrity
from instruments.calling import METHODS, SIGMOID, Method, call_curves
from instruments.checking import paired, stacks, verdicts
from instruments.errors import InstrumentError
from instruments.model import canonical_well

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from instruments.model import RunFile

_COPIES = (15_000, 1_500, 150, 15)
_PUBLISHED = ("detectable difference", "Reproducibility: MS within", "slope = bias")


@dataclass(frozen=True, slots=True)
class Table:
    """One table: a title that says what is measured against what, column names, rows."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


def tables(folder: Path) -> Iterator[Table]:
    """Every table that the folder has data for, one by one as they are ready."""
    runs, unread = _runs(folder)
    yield Table(
        "read for this report", ("files with curves", "without", "not readable"), (_census(runs, unread),)
    )
    yield _reproduced(runs)
    yield _own_baseline(runs)
    for path in sorted(folder.rglob("dil4reps94.csv.gz")):
        yield _precision(path)
    for path in sorted(folder.rglob("data_vermeulen_methods_results.tsv")):
        yield _published(path, [run for name, run in runs.items() if name.startswith("data_vermeulen_std")])
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
            curves=tuple(replace(c, target=named[c.well].target, dye=named[c.well].dye) for c in own),
        )
    return joined


def _census(runs: dict[str, RunFile], unread: int) -> tuple[int, int, int]:
    curved = sum(bool(run.curves) for run in runs.values())
    return curved, len(runs) - curved, unread


# -- tables ---------------------------------------------------------------------------------------


def _reproduced(runs: dict[str, RunFile]) -> Table:
    rows = []
    for name, run in runs.items():
        checked = integrity.check(run) if run.curves and run.readings else ()
        compared = [one for one in checked if one.verdict != "unchecked"]
        if not any(one.instrument_cq is not None for one in compared):
            continue
        exact = [abs(one.difference) for one in compared if one.exact and one.difference is not None]
        agreeing = [abs(o.difference) for o in compared if o.verdict == "agrees" and o.difference is not None]
        count = Counter(one.verdict for one in compared)
        found = ", ".join(f"{n} {verdict}" for verdict, n in count.items() if verdict != "agrees")
        rows.append((name, len(agreeing), len(exact), _small(max(agreeing, default=None)), found))
    return Table(
        "the instrument's Cq from the curves of its file (integrity)",
        ("file", "agreeing Cq", "reproduced exactly", "largest |dCq| agreeing", "findings"),
        tuple(rows),
    )


def _own_baseline(runs: dict[str, RunFile]) -> Table:
    gaps: list[float] = []
    called = extra = negative = 0
    for run in runs.values():
        if run.method == "crt" or not run.readings or integrity.flags(run):
            continue
        matched = paired(run)
        for curves, values, _ in stacks(run):
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
    p50, p95, most = np.percentile(gaps, [50, 95, 100]) if gaps else (np.nan,) * 3
    return Table(
        "own baseline with the instrument's threshold (bars: all called, p95 0.08, extra 1 %)",
        (
            "called by instrument",
            "of these here",
            "median |dCq|",
            "p95",
            "largest",
            "negatives",
            "extra calls",
        ),
        ((called, len(gaps), _small(p50), _small(p95), _small(most), negative, extra),),
    )


def _wide(path: Path) -> tuple[list[str], Any]:
    """Names and curves of a csv with one column a curve."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        table = list(csv.reader(lines))
    first = next(i for i, name in enumerate(table[0]) if name.lower() in {"cycle", "cycles"}) + 1
    return table[0][first:], np.array([row[first:] for row in table[1:]], dtype=np.float64).T


def _precision(path: Path) -> Table:
    names, values = _wide(path)
    # The labels count the dilution, not the copies: F15 is the strongest of the four.
    group = np.array([name.partition("_")[0] for name in names])
    labels = list(dict.fromkeys(group))
    rows: list[tuple[Any, ...]] = []
    for method in METHODS:
        if method != "cfx":  # raw curves have no baseline taken off
            cq = call_curves(values, method=method).cq
            spread = [_small(np.nanstd(cq[group == label], ddof=1)) for label in labels]
            rows.append((method, *spread, int(np.isnan(cq).sum())))
    rows.append(("sampling alone", *(_small(1 / (np.log(2) * np.sqrt(n))) for n in _COPIES), ""))
    return Table(
        "SD of Cq, 94 replicates (bars: 0.13 at 15,000 copies, sampling + 20 % at 15)",
        ("method", *(f"{n:,} copies" for n in _COPIES), "not called"),
        tuple(rows),
    )


def _published(path: Path, runs: Sequence[RunFile]) -> Table:
    with path.open(encoding="utf-8") as lines:
        table = [row for row in csv.reader(lines, delimiter="\t") if row and row[0].strip()]
    medians: dict[str, dict[str, float]] = {}
    section = ""
    for name, *cells in table:
        numbers = [float(cell) for cell in cells if re.fullmatch(r"-?\d+(\.\d+)?([eE]-?\d+)?", cell)]
        if not numbers:
            section = name
        elif section in _PUBLISHED:
            medians.setdefault(name, {})[section] = median(numbers)
    for method in METHODS if runs else ():
        if method != "cfx":
            medians[f"{method} (here)"] = {_PUBLISHED[1]: median(_within(run, method) for run in runs)}
    rows = [(name, *(_small(found.get(key)) for key in _PUBLISHED)) for name, found in medians.items()]
    title = "the eleven published methods and these, medians over the assays (Ruijter 2013)"
    return Table(title, ("method", *_PUBLISHED), tuple(rows))


def _within(run: RunFile, method: Method) -> float:
    """Mean square within replicates of log10 copies, read off the run's own standard curve.

    From the paper's own standard Cq this gives its published figure for each assay.
    """
    sample = {reading.well: reading.sample for reading in run.readings}
    copies = np.array([float(sample[curve.well].partition("_")[2]) for curve in run.curves])
    cq = call_curves(np.array([curve.values for curve in run.curves]), method=method).cq
    seen = ~np.isnan(cq)
    slope, top = np.polyfit(np.log10(copies[seen]), cq[seen], 1)
    logs = (cq - top) / slope
    groups = [logs[seen & (copies == level)] for level in np.unique(copies)]
    return float(np.mean([np.var(group, ddof=1) for group in groups if len(group) > 1]))


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
            values = _wide(path)[1]
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
    for curves, stacked, _ in stacks(run):
        for curve, row in zip(curves, stacked, strict=True):
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
        for curves, values, _ in stacks(run):
            rows = [(i, matched.get((c.well, c.target, c.dye))) for i, c in enumerate(curves)]
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
                    *map(_small, (one.recall, one.precision, one.quiet_right)),
                )
            )
    return Table(
        "running plates, planning only",
        ("cycle", "positives", "negatives", "recall", "precision", "quiet and negative"),
        tuple(shown),
    )


def _small(value: float | None) -> str:
    return "" if value is None or np.isnan(value) else f"{value:.3g}"
