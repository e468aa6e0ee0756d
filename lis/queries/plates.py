"""Pools, plates, runs, readings, and the rules that spoke."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import Connection, and_, bindparam, func, select

from lis.db import Prepared, among, insert_many, insert_tuples, under_way
from lis.ledger.rows import TUBE_COLUMNS, as_stored_tube
from lis.queries.common import PAGE, Row, all_rows, counted, one_row, parts
from lis.schema import event, plate, plate_well, pool_member, reading, rulebook, run, tube
from lis.tube import Tube

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime


_MEMBERS: Final = Prepared(
    select(pool_member.c.pool_id, pool_member.c.tube_id)
    .where(among(pool_member.c.pool_id, "pools"))
    .order_by(pool_member.c.pool_id, pool_member.c.place)
)


def pool_members(conn: Connection, pool_ids: Iterable[str]) -> dict[str, list[str]]:
    """Members of each pool, by place."""
    members: dict[str, list[str]] = defaultdict(list)
    for part in parts(pool_ids):
        for pool_id, tube_id in _MEMBERS.rows(conn, pools=part):
            members[pool_id].append(tube_id)
    return members


_PLATE: Final = Prepared(select(plate).where(plate.c.plate_id == bindparam("which")))


def plate_row(conn: Connection, plate_id: str) -> Row | None:
    """A plate, or None."""
    return _PLATE.record(conn, which=plate_id)


def plates(conn: Connection, *states: str, limit: int = PAGE) -> list[Row]:
    """Plates in these states, newest first."""
    found = select(plate)
    if states:
        found = found.where(plate.c.state.in_(states))
    return all_rows(conn, found.order_by(plate.c.created_at.desc(), plate.c.plate_id).limit(limit))


def plates_under_way(conn: Connection, since: datetime) -> tuple[int, int]:
    """Plates made since then that no cycler has taken yet, and cyclers that have taken one since then."""
    waiting = select(func.count()).where(plate.c.state == "planned", plate.c.created_at >= since)
    used = select(func.count(plate.c.instrument.distinct())).where(
        plate.c.instrument != "", plate.c.started_at >= since
    )
    return int(conn.execute(waiting).scalar_one()), int(conn.execute(used).scalar_one())


_TUBES_ON: Final = Prepared(
    select(*TUBE_COLUMNS).where(
        tube.c.tube_id.in_(select(plate_well.c.tube_id).where(plate_well.c.plate_id == bindparam("which")))
    )
)


def plate_to_read(conn: Connection, plate_id: str) -> tuple[Row | None, list[Row], dict[str, Tube]]:
    """A plate, its wells that hold something, and their tubes by code in order; unknown ones are absent."""
    with under_way(conn):
        own, loads, tubes = (one.ask(conn, which=plate_id) for one in (_PLATE, _WELLS, _TUBES_ON))
    wells = loads.records()
    found = {row[0]: as_stored_tube(row) for row in tubes.rows()}
    codes = sorted({well["tube_id"] for well in wells if well["tube_id"]})
    return own.record(), wells, {code: found.get(code) or Tube(code) for code in codes}


_WELLS: Final = Prepared(select(plate_well).where(plate_well.c.plate_id == bindparam("which")))


def wells(conn: Connection, plate_id: str) -> list[Row]:
    """The wells of a plate that hold something, in no particular order."""
    return _WELLS.records(conn, which=plate_id)


def extracted_in(conn: Connection, tube_ids: Iterable[str], before: datetime) -> dict[str, tuple[str, str]]:
    """Tube -> (plate, well) in which its specimen was extracted last before a moment."""
    lies: dict[str, tuple[str, str]] = {}
    for part in parts(tube_ids):
        found = (
            select(plate_well.c.tube_id, plate_well.c.plate_id, plate_well.c.well)
            .join(plate, plate.c.plate_id == plate_well.c.plate_id)
            .where(
                among(plate_well.c.tube_id, part),
                plate_well.c.batch != "",
                plate.c.state != "void",
                plate.c.created_at < before,
            )
            .order_by(plate.c.created_at)
        )
        lies.update((row.tube_id, (row.plate_id, row.well)) for row in conn.execute(found))
    return lies


def runs_of_plate(conn: Connection, plate_id: str) -> list[Row]:
    """Runs that were read for a plate, oldest first."""
    found = select(run).where(run.c.plate_id == plate_id).order_by(run.c.read_at, run.c.run_id)
    return all_rows(conn, found)


def run_row(conn: Connection, run_id: str) -> Row | None:
    """A run, or None."""
    return one_row(conn, select(run).where(run.c.run_id == run_id))


class ReadingRow(NamedTuple):
    """A row of the table of readings."""

    run_id: str
    well: str
    target: str
    dye: str
    tube_id: str | None
    control: str | None
    sample: str
    cq: float | None
    raw_cq: str
    curve: str
    call: str
    flags: str


def loaded_by(conn: Connection, plate_id: str) -> str:
    """Who confirmed that a plate is in its cycler; empty if nobody did."""
    found = (
        select(event.c.actor)
        .join(plate_well, plate_well.c.tube_id == event.c.tube_id)
        .where(plate_well.c.plate_id == plate_id, event.c.plate_id == plate_id, event.c.kind == "RunStarted")
        .order_by(event.c.event_id)
        .limit(1)
    )
    return conn.execute(found).scalar_one_or_none() or ""


def insert_readings(conn: Connection, rows: Sequence[ReadingRow]) -> None:
    """Keep what was read in a run."""
    insert_tuples(conn, reading, ReadingRow._fields, rows, plain=True)


_READINGS: Final = Prepared(
    select(reading).where(reading.c.run_id == bindparam("which")).order_by(reading.c.well, reading.c.target)
)


def readings_of_run(conn: Connection, run_id: str) -> list[Row]:
    """Everything the cycler said in a run."""
    return _READINGS.records(conn, which=run_id)


def rows_of_run(conn: Connection, run_id: str) -> list[ReadingRow]:
    """The same as plain rows, in a third of the time."""
    return list(map(ReadingRow._make, _ROWS.rows(conn, which=run_id)))


_ROWS: Final = Prepared(
    select(*(reading.c[name] for name in ReadingRow._fields))
    .where(reading.c.run_id == bindparam("which"))
    .order_by(reading.c.well, reading.c.target)
)


def readings_of_tube(conn: Connection, tube_id: str) -> list[Row]:
    """Everything cyclers ever said about a tube, oldest run first."""
    found = (
        select(reading, run.c.read_at, run.c.plate_id, run.c.valid)
        .select_from(plate_well)
        .join(run, run.c.plate_id == plate_well.c.plate_id)
        .join(reading, and_(reading.c.run_id == run.c.run_id, reading.c.well == plate_well.c.well))
        .where(plate_well.c.tube_id == tube_id, reading.c.tube_id == tube_id)
        .order_by(run.c.read_at, reading.c.well, reading.c.target)
    )
    return all_rows(conn, found)


_RUN_WITH_PLATE: Final = Prepared(
    select(run, plate.c.assay, plate.c.assay_version)
    .join(plate, plate.c.plate_id == run.c.plate_id)
    .where(run.c.run_id == bindparam("which"))
)


def run_with_plate(conn: Connection, run_id: str) -> Row:
    """A run together with the assay of its plate.

    Raises:
        LookupError: no such run.
    """
    found = _RUN_WITH_PLATE.record(conn, which=run_id)
    if found is None:
        raise LookupError(run_id)
    return found


_POOLS: Final = Prepared(
    select(event.c.tube_id, event.c.pool_id)
    .where(among(event.c.tube_id, "codes"), event.c.kind == "JoinedPool")
    .order_by(event.c.tube_id, event.c.seq)
)


def pools_of(conn: Connection, tube_ids: Iterable[str]) -> dict[str, str]:
    """Single tube -> the last pool it was a member of."""
    pools: dict[str, str] = {}
    for part in parts(tube_ids):
        pools.update(_POOLS.rows(conn, codes=part))
    return pools


def pool_sizes(conn: Connection, pool_ids: Iterable[str]) -> dict[str, int]:
    """Pool -> how many aliquots went into it: the true n."""
    sizes: dict[str, int] = {}
    for part in parts(pool_ids):
        found = select(pool_member.c.pool_id, func.count()).where(among(pool_member.c.pool_id, part))
        sizes.update((row[0], row[1]) for row in conn.execute(found.group_by(pool_member.c.pool_id)))
    return sizes


def rule_text(conn: Connection, kind: str, name: str, version: str) -> str | None:
    """The text of a rule file as it was when it spoke, or None."""
    found = select(rulebook.c.content).where(
        rulebook.c.kind == kind, rulebook.c.name == name, rulebook.c.version == version
    )
    return conn.execute(found).scalar_one_or_none()


def rule_digest(conn: Connection, kind: str, name: str, version: str) -> str | None:
    """The digest of a rule file as it was when it spoke, or None."""
    found = select(rulebook.c.digest).where(
        rulebook.c.kind == kind, rulebook.c.name == name, rulebook.c.version == version
    )
    return conn.execute(found).scalar_one_or_none()


RuleText = tuple[str, str, str, str, str]
"""Kind, id, version, digest and text of a rule file."""


def keep_rules(conn: Connection, speaking: Iterable[RuleText], now: datetime) -> None:
    """Keep rule files as they speak now, so that these versions stay known whatever happens to the files."""
    rows = [
        {
            "kind": kind,
            "name": name,
            "version": version,
            "digest": digest,
            "content": text,
            "loaded_at": now,
        }
        for kind, name, version, digest, text in speaking
        if rule_digest(conn, kind, name, version) is None
    ]
    insert_many(conn, rulebook, rows)


def rule_versions(conn: Connection, kind: str) -> list[Row]:
    """Every rule file of a kind that ever spoke."""
    return all_rows(conn, select(rulebook).where(rulebook.c.kind == kind))


@dataclass(frozen=True, slots=True)
class LotTally:
    """What the runs of one reagent lot gave: specimens tested, and target -> how often it came alone."""

    lot: str
    tested: int
    alone: Mapping[str, int]


_LOTS: Final = Prepared(
    select(run.c.lot, run.c.tested, run.c.alone)
    .join(plate, plate.c.plate_id == run.c.plate_id)
    .where(run.c.read_at >= bindparam("since"), run.c.lot != "", plate.c.assay == bindparam("of_assay"))
)


def lot_tallies(conn: Connection, assay: str, since: datetime) -> list[LotTally]:
    """What every run of an assay whose lot is known gave since a moment."""
    return [
        LotTally(
            lot,
            tested,
            counted(alone),
        )
        for lot, tested, alone in _LOTS.rows(conn, of_assay=assay, since=since)
    ]


def runs_between(conn: Connection, assay: str, start: datetime | None, end: datetime | None) -> list[Row]:
    """Runs of an assay that were read from ``start`` on and before ``end``, oldest first; None = no limit."""
    found = select(run, plate.c.assay_version).join(plate, plate.c.plate_id == run.c.plate_id)
    found = found.where(plate.c.assay == assay)
    if start is not None:
        found = found.where(run.c.read_at >= start)
    if end is not None:
        found = found.where(run.c.read_at < end)
    return all_rows(conn, found.order_by(run.c.read_at, run.c.run_id))
