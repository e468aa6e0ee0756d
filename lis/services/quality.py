"""Control charts and failure rates: what is shown of them, and who says what a control should measure."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import isfinite
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Final

from instruments.rates import Dimension, Rate, compared
from instruments.westgard import REJECT
from lis import queries
from lis.errors import Invalid, NotFound, Refused
from lis.queries import Expected, Series

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection

    from lis.db import Unit
    from lis.queries import Row, RunTally
    from lis.rulebook import Rulebook
    from retest import AssayRules

ENOUGH: Final = 20
"""Accepted runs that a mean and an SD need (CLSI C24; Westgard)."""

DAYS: Final = 60
"""How far back charts and rates look: a reagent lot is used up within weeks."""


@dataclass(frozen=True, slots=True)
class Point:
    """One control of one run; ``broken`` are the rules it broke when it was read."""

    run_id: str
    plate_id: str
    at: datetime
    value: float | None
    valid: bool
    broken: tuple[str, ...]

    @property
    def rejects(self) -> bool:
        """Whether results of its run are held."""
        return any(rule in REJECT for rule in self.broken)


@dataclass(frozen=True, slots=True)
class ControlChart:
    """A Levey-Jennings chart.

    Attributes:
        expected: what the control should measure; None: nobody said so yet, and nothing is judged.
        points: oldest first.
        accepted: how many of them could make a mean and an SD.
    """

    series: Series
    expected: Expected | None
    points: tuple[Point, ...]
    accepted: int


def charts(conn: Connection, now: datetime, days: float = DAYS) -> tuple[ControlChart, ...]:
    """The charts of all controls that were measured in the last days; a rejected one comes first."""
    targets = queries.quality_targets(conn)
    found: dict[Series, list[Point]] = defaultdict(list)
    for row in queries.quality_points(conn, now - timedelta(days=days)):
        found[_series(row)].append(_point(row))
    made = [
        ControlChart(series, targets.get(series), tuple(points), len(accepted(points)))
        for series, points in found.items()
    ]
    return tuple(sorted(made, key=lambda one: (not one.points[-1].rejects, one.series)))


def _series(row: Mapping[str, str]) -> Series:
    return Series(*(row[name] for name in Series._fields))


def _point(row: Row) -> Point:
    broken = tuple(rule for rule in row["broken"].split(",") if rule)
    return Point(row["run_id"], row.get("plate_id", ""), row["at"], row["value"], row["valid"], broken)


def accepted(points: Iterable[Point]) -> list[float]:
    """The values of valid runs that no chart rejected."""
    return [one.value for one in points if one.value is not None and one.valid and not one.rejects]


def set_target(
    unit: Unit, series: Series, mean: float | None = None, sd: float | None = None, reason: str = ""
) -> Expected:
    """Say what a control should measure from now on: given values, or those of its accepted runs.

    Raises:
        NotFound: ``QUALITY_SERIES``: this cycler never measured this control, with any lot.
        Invalid: ``QUALITY_VALUES``: only one of mean and SD, or no numbers.
        Refused: ``QUALITY_FEW``: fewer than 20 accepted runs; ``QUALITY_FLAT``: they do not differ.
    """
    measured = queries.points_of(unit.conn, series)
    if not measured:
        raise NotFound(
            "QUALITY_SERIES", f"No run has measured {_named(series)}. Check cycler, assay, level and target."
        )
    if (mean is None) != (sd is None):
        raise Invalid("QUALITY_VALUES", "Give the mean and the SD together, or neither of them.")
    runs = 0
    if mean is None or sd is None:
        mean, sd, runs = _measured(
            series, accepted(_point(row) for row in measured if row["lot"] == series.lot)
        )
    elif not (isfinite(mean) and isfinite(sd) and mean > 0 and sd > 0):
        raise Invalid("QUALITY_VALUES", "Mean and SD are cycles above zero. Check the numbers.")
    elif not reason.strip():
        raise Invalid("REASON", "Say where these values come from; the reason is kept.")
    old = queries.quality_targets(unit.conn).get(series)
    version = old.version + 1 if old else 1
    made = Expected(mean, sd, version, runs, reason.strip(), unit.now, unit.actor)
    row = {"mean": mean, "sd": sd, "version": version, "runs": runs, "reason": made.reason}
    queries.insert_rows(
        unit.conn, "quality_target", [{**series._asdict(), **row, "set_at": unit.now, "set_by": unit.actor}]
    )
    return made


def _measured(series: Series, values: Sequence[float]) -> tuple[float, float, int]:
    if len(values) < ENOUGH:
        raise Refused(
            "QUALITY_FEW",
            f"{_named(series)} has {len(values)} accepted runs; a mean and an SD need {ENOUGH}. "
            "Wait for more runs, or give both values with the reason.",
            runs=str(len(values)),
        )
    if not (spread := stdev(values)):
        raise Refused(
            "QUALITY_FLAT",
            f"All {len(values)} runs of {_named(series)} measured the same; that is no cycler. "
            "Look at the files.",
        )
    return fmean(values), spread, len(values)


def _named(series: Series) -> str:
    lot = f" lot {series.lot}" if series.lot else ""
    return f"{series.level} {series.target} of {series.assay}{lot} on {series.instrument}"


# -- rates ----------------------------------------------------------------------------------------


def failure_rates(
    conn: Connection, rules: Rulebook, now: datetime, days: float = DAYS
) -> dict[str, tuple[Rate, ...]]:
    """Inconclusive and invalid specimens by lot and by cycler; single signals by target of each assay."""
    tallies = queries.run_tallies(conn, now - timedelta(days=days))
    return {
        "lot": _compared("lot", ((one.lot, one) for one in tallies if one.lot)),
        "instrument": _compared("instrument", ((one.instrument, one) for one in tallies)),
        "target": tuple(rate for assay in rules.assays.values() for rate in _by_target(assay, tallies)),
    }


def _compared(dimension: Dimension, named: Iterable[tuple[str, RunTally]]) -> tuple[Rate, ...]:
    tested: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for name, one in named:
        tested[name] += one.tested
        failed[name] += one.inconclusive + one.invalid
    return compared(dimension, tested, failed)


def _by_target(assay: AssayRules, tallies: Iterable[RunTally]) -> tuple[Rate, ...]:
    """How often each target of an assay came alone, against its other targets."""
    own = [one for one in tallies if one.assay == assay.id]
    tested = sum(one.tested for one in own)
    names = [target.name for target in assay.targets if not target.is_control]
    alone = Counter({name: sum(one.alone.get(name, 0) for one in own) for name in names})
    made = compared("target", Counter(dict.fromkeys(alone, tested)), alone) if tested else ()
    return tuple(replace(rate, name=f"{assay.id} {rate.name}") for rate in made)
