"""Control charts as they are kept: what controls measured, and what they should."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import Connection, and_, bindparam, func, select

from lis.db import Prepared
from lis.queries.common import Row, all_rows, counted
from lis.schema import plate, quality_point, quality_target, run

if TYPE_CHECKING:
    from collections.abc import Mapping


class Series(NamedTuple):
    """What one chart is about: one control of one cycler, assay, reagent lot and target.

    Attributes:
        level: PC, EC, NTC ..., or IC: the internal control of the specimens.
    """

    instrument: str
    assay: str
    lot: str
    level: str
    target: str


@dataclass(frozen=True, slots=True)
class Expected:
    """What a control should measure, in cycles, and who said so; ``runs`` is 0 where it was given by hand."""

    mean: float
    sd: float
    version: int
    runs: int
    reason: str
    set_at: datetime
    set_by: str


_TARGETS: Final = Prepared(select(quality_target).order_by(quality_target.c.version))
_TARGETS_OF: Final = Prepared(
    select(quality_target)
    .where(
        quality_target.c.instrument == bindparam("of_instrument"),
        quality_target.c.assay == bindparam("of_assay"),
        quality_target.c.lot == bindparam("of_lot"),
    )
    .order_by(quality_target.c.version)
)


def quality_targets(conn: Connection) -> dict[Series, Expected]:
    """What every control should measure now."""
    return _newest(_TARGETS.records(conn))


def targets_of(conn: Connection, instrument: str, assay: str, lot: str) -> dict[Series, Expected]:
    """What the controls of one cycler, assay and lot should measure now."""
    return _newest(_TARGETS_OF.records(conn, of_instrument=instrument, of_assay=assay, of_lot=lot))


def _newest(rows: list[Row]) -> dict[Series, Expected]:
    found = {}
    for row in rows:
        series = Series(row["instrument"], row["assay"], row["lot"], row["level"], row["target"])
        found[series] = Expected(
            row["mean"],
            row["sd"],
            row["version"],
            row["runs"],
            row["reason"],
            row["set_at"],
            row["set_by"],
        )
    return found


_VALUES: Final = Prepared(
    select(quality_point.c.value)
    .where(
        quality_point.c.instrument == bindparam("of_instrument"),
        quality_point.c.assay == bindparam("of_assay"),
        quality_point.c.lot == bindparam("of_lot"),
        quality_point.c.level == bindparam("of_level"),
        quality_point.c.target == bindparam("of_target"),
        quality_point.c.at > bindparam("after"),
        quality_point.c.value.is_not(None),
    )
    .order_by(quality_point.c.at.desc(), quality_point.c.run_id.desc())
    .limit(bindparam("most"))
)


def values_since(conn: Connection, series: Series, since: datetime, most: int) -> list[float]:
    """The last ``most`` values of a series after a moment, oldest first."""
    rows = _VALUES.rows(
        conn,
        of_instrument=series.instrument,
        of_assay=series.assay,
        of_lot=series.lot,
        of_level=series.level,
        of_target=series.target,
        after=since,
        most=most,
    )
    return [row[0] for row in reversed(rows)]


def quality_points(conn: Connection, since: datetime) -> list[Row]:
    """Every control of the runs since a moment with the plate it was on, oldest first."""
    found = (
        select(quality_point, run.c.plate_id)
        .join(run, run.c.run_id == quality_point.c.run_id)
        .where(quality_point.c.at >= since)
        .order_by(quality_point.c.at, quality_point.c.run_id)
    )
    return all_rows(conn, found)


def points_of(conn: Connection, series: Series) -> list[Row]:
    """Everything one control ever measured with any lot, oldest first."""
    named = {name: value for name, value in series._asdict().items() if name != "lot"}
    where = and_(*(quality_point.c[name] == value for name, value in named.items()))
    return all_rows(conn, select(quality_point).where(where).order_by(quality_point.c.at))


@dataclass(frozen=True, slots=True)
class RunTally:
    """What the specimens of one run came to: ``alone`` is target -> how often it came alone."""

    instrument: str
    assay: str
    lot: str
    tested: int
    inconclusive: int
    invalid: int
    alone: Mapping[str, int]


def run_tallies(conn: Connection, since: datetime) -> list[RunTally]:
    """What the runs since a moment came to."""
    instrument = func.coalesce(func.nullif(plate.c.instrument, ""), run.c.device)
    found = (
        select(
            instrument, plate.c.assay, run.c.lot, run.c.tested, run.c.inconclusive, run.c.invalid, run.c.alone
        )
        .join(plate, plate.c.plate_id == run.c.plate_id)
        .where(run.c.read_at >= since, run.c.tested > 0)
    )
    return [RunTally(*row[:6], counted(row[6])) for row in conn.execute(found)]
