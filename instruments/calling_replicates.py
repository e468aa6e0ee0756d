"""Ways of calling judged by replicates: the sets of Ruijter et al. 2013 (Methods 59:32-46).

94 replicates of four dilutions show how far a Cq scatters by itself; 63 assays of five standards in
triplicate, with the published figures of eleven methods, show where a way of calling stands among them.
"""

from __future__ import annotations

import csv
import gzip
import re
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from instruments.calling import METHODS, Method, call_curves

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from instruments.model import RunFile

    Floats = NDArray[np.float64]

_COPIES = (15_000, 1_500, 150, 15)
_MOST, _SAMPLING = 0.13, 1.2  # bars: SD at 15,000 copies; share of the sampling SD at 15 copies
_FIGURES = ("detectable difference", "Reproducibility: MS within", "Linearity: MS derivation", "slope = bias")
# The published table does not say how it comes from the residual SD to a detectable difference; this
# factor on log10 amounts gives each of its 693 entries.
_RESOLUTION = 3.93895
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE]-?\d+)?")


@dataclass(frozen=True, slots=True)
class Table:
    """One table: a title that says what is measured against what, column names, rows."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True, slots=True)
class Quality:
    """How well amounts follow a dilution series, as the published table measures it.

    Attributes:
        difference: the smallest fold difference that can be detected.
        within: mean square within replicates of log10 amounts.
        linearity: mean square of the means of replicates around the line.
        slope: of log10 amounts on log10 copies; 1 where nothing is biased.
    """

    difference: float
    within: float
    linearity: float
    slope: float


def small(value: float | None) -> str:
    """Three digits, nothing for no number."""
    return "" if value is None or np.isnan(value) else f"{value:.3g}"


def wide(path: Path) -> tuple[list[str], Floats]:
    """Names and curves of a packed csv with one column a curve."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        table = list(csv.reader(lines))
    first = next(i for i, name in enumerate(table[0]) if name.lower() in {"cycle", "cycles"}) + 1
    return table[0][first:], np.array([row[first:] for row in table[1:]], dtype=np.float64).T


def precision(path: Path) -> Table:
    """SD of Cq in each dilution of ``dil4reps94.csv.gz``, by method."""
    names, values = wide(path)
    # The labels count the dilution, not the copies: F15 is the strongest of the four.
    group = np.array([name.partition("_")[0] for name in names])
    labels = list(dict.fromkeys(group))
    sampling = [1.0 / (np.log(2.0) * np.sqrt(n)) for n in _COPIES]
    rows: list[tuple[Any, ...]] = []
    for method in METHODS:
        if method == "cfx":  # raw curves have no baseline taken off
            continue
        cq = call_curves(values, method=method).cq
        spread = [float(np.nanstd(cq[group == label], ddof=1)) for label in labels]
        kept = spread[0] <= _MOST and spread[-1] <= _SAMPLING * sampling[-1]
        rows.append((method, *map(small, spread), int(np.isnan(cq).sum()), "yes" if kept else "no"))
    rows.append(("sampling alone", *map(small, sampling), "", ""))
    return Table(
        "SD of Cq, 94 replicates (bars: 0.13 at 15,000 copies, sampling + 20 % at 15)",
        ("method", *(f"{n:,} copies" for n in _COPIES), "not called", "keeps the bars"),
        tuple(rows),
    )


def quality(copies: Floats, amounts: Floats) -> Quality:
    """Figures of one assay from log10 copies and log10 amounts, one of each per reaction; NaN is left out.

    From the published amounts of a method this gives its published figures.
    """
    seen = ~np.isnan(amounts)
    x, y = copies[seen], amounts[seen]
    slope, height = np.polyfit(x, y, 1)
    groups = [(level, y[x == level]) for level in np.unique(x)]
    inside = sum(((group - group.mean()) ** 2).sum() for _, group in groups)
    around = sum(len(group) * (group.mean() - height - slope * level) ** 2 for level, group in groups)
    return Quality(
        difference=float(10.0 ** (_RESOLUTION * np.sqrt((inside + around) / (len(y) - 2)))),
        within=float(inside / (len(y) - len(groups))),
        linearity=float(around / (len(groups) - 2)),
        slope=float(slope),
    )


def published(path: Path, runs: Sequence[RunFile]) -> Table:
    """The medians of ``data_vermeulen_methods_results.tsv``, and of these methods on the same assays."""
    assays, figures = _published(path)
    same = [run for run in runs if run.curves and _assay(run) in assays]
    for method in METHODS if same else ():
        if method == "cfx":
            continue
        found = [quality(*_amounts(run, method)) for run in same]
        figures[f"{method} (here)"] = (
            median(one.difference for one in found),
            median(one.within for one in found),
            median(one.linearity for one in found),
            median(one.slope for one in found),
        )
    rows = sorted(figures.items(), key=lambda item: item[1][0])
    return Table(
        "the eleven published methods and these, medians over the assays (Ruijter 2013; the finest first)",
        ("method", "detectable difference", "MS within", "MS linearity", "slope"),
        tuple((name, *map(small, found)) for name, found in rows),
    )


def _published(path: Path) -> tuple[set[str], dict[str, tuple[float, ...]]]:
    """Names of the assays, and method -> median of each figure."""
    with path.open(encoding="utf-8") as lines:
        table = [row for row in csv.reader(lines, delimiter="\t") if row and row[0].strip()]
    medians: dict[str, dict[str, float]] = {}
    assays: set[str] = set()
    section = ""
    for name, *cells in table:
        numbers = [float(cell) for cell in cells if _NUMBER.fullmatch(cell)]
        if not numbers:
            section = name
            assays.update(filter(None, cells))
        elif section in _FIGURES:
            medians.setdefault(name, {})[section] = median(numbers)
    return assays, {
        name: tuple(found.get(key, float("nan")) for key in _FIGURES) for name, found in medians.items()
    }


def _assay(run: RunFile) -> str:
    """Targets carry the date of their run: AHCY_20080229."""
    return re.sub(r"_[0-9]{8}.*", "", run.curves[0].target)


def _amounts(run: RunFile, method: Method) -> tuple[Floats, Floats]:
    """log10 copies and log10 amounts of a run of standards.

    As in the paper, amounts come from the run's own standard curve, but from the efficiency of the
    target where the method finds one.
    """
    sample = {reading.well: reading.sample for reading in run.readings}
    copies = np.log10([float(sample[curve.well].partition("_")[2]) for curve in run.curves])
    calls = call_curves(np.array([curve.values for curve in run.curves]), method=method)
    if method == "linregpcr":
        gain = np.nanmedian(np.log10(1.0 + calls.efficiency[calls.reason == ""]))
        return copies, -calls.cq * gain
    seen = ~np.isnan(calls.cq)
    slope, top = np.polyfit(copies[seen], calls.cq[seen], 1)
    return copies, (calls.cq - top) / slope
