"""Every read used by the bench, the worklists and the reports. Nothing here writes tube state.

The few small writes that are not tube state (people, plates, files, counters) stand at the end, so
that the schema has one door.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, and_, func, insert, literal, or_, select, update
from sqlalchemy.sql import Select

from lis.ledger import as_tube
from lis.schema import (
    account,
    alarm,
    counter,
    device,
    event,
    file,
    file_status,
    idempotency,
    person,
    plate,
    plate_well,
    pool_member,
    reading,
    recall,
    report,
    rulebook,
    run,
    ticket,
    tube,
    tube_person,
)
from lis.tube import Tube, TubeState

CHUNK: Final = 500
PAGE: Final = 200
"""Rows a worklist shows at once."""

IN_RACK: Final = (
    TubeState.RECEIVED,
    TubeState.POOLED,
    TubeState.PLATED,
    TubeState.RUNNING,
    TubeState.RESULTED,
    TubeState.AWAITING_RETEST,
)
"""States in which a tube still needs its place in the rack."""

UNREPORTED: Final = (
    TubeState.SEALED,
    TubeState.RECEIVED,
    TubeState.POOLED,
    TubeState.PLATED,
    TubeState.RUNNING,
    TubeState.RESULTED,
    TubeState.AWAITING_RETEST,
    TubeState.IN_REVIEW,
)
"""States in which somebody waits for the report of this very tube."""

WORKLISTS: Final[Mapping[str, tuple[TubeState, ...]]] = {
    "receive": (TubeState.SEALED,),
    "plate": (TubeState.RECEIVED,),
    "retest": (TubeState.AWAITING_RETEST,),
    "recollect": (TubeState.AWAITING_RECOLLECTION,),
    "review": (TubeState.IN_REVIEW,),
    "release": (TubeState.IN_REVIEW,),
    "hold": (TubeState.ON_HOLD_UNKNOWN, TubeState.ON_HOLD_DAMAGED),
}
"""Worklist -> the states it shows; ``quarantine`` lists files instead."""

_TUBE = tuple(tube.c[name] for name in Tube._fields)


def _parts(values: Iterable[str]) -> Iterable[list[str]]:
    wanted = sorted(set(values))
    for start in range(0, len(wanted), CHUNK):
        yield wanted[start : start + CHUNK]


# -- tubes and persons ---------------------------------------------------------------------------


def persons_in(conn: Connection, tube_id: str) -> list[str]:
    """Ids of the persons in a tube, by place."""
    found = select(tube_person.c.person_id).where(tube_person.c.tube_id == tube_id).order_by(tube_person.c.place)
    return list(conn.execute(found).scalars())


def people_of(conn: Connection, tube_ids: Iterable[str]) -> dict[str, list[str]]:
    """Ids of the persons in each tube, by place."""
    people: dict[str, list[str]] = defaultdict(list)
    for part in _parts(tube_ids):
        found = (
            select(tube_person.c.tube_id, tube_person.c.person_id)
            .where(tube_person.c.tube_id.in_(part))
            .order_by(tube_person.c.tube_id, tube_person.c.place)
        )
        for tube_id, person_id in conn.execute(found):
            people[tube_id].append(person_id)
    return people


def people(conn: Connection, person_ids: Iterable[str]) -> dict[str, RowMapping]:
    """Person rows by id."""
    found: dict[str, RowMapping] = {}
    for part in _parts(person_ids):
        for row in conn.execute(select(person).where(person.c.person_id.in_(part))).mappings():
            found[row["person_id"]] = row
    return found


def person_names(conn: Connection, person_ids: Iterable[str]) -> dict[str, str]:
    """Names of those persons who are known already."""
    found: dict[str, str] = {}
    for part in _parts(person_ids):
        rows = conn.execute(select(person.c.person_id, person.c.name).where(person.c.person_id.in_(part)))
        found.update((row.person_id, row.name) for row in rows)
    return found


def tubes_of_person(conn: Connection, person_id: str) -> list[Tube]:
    """All tubes a person is in, newest first."""
    found = (
        select(*_TUBE)
        .join(tube_person, tube_person.c.tube_id == tube.c.tube_id)
        .where(tube_person.c.person_id == person_id)
        .order_by(tube.c.sampled_at.desc(), tube.c.tube_id)
    )
    return [as_tube(row) for row in conn.execute(found)]


def person_by_fingerprint(conn: Connection, fingerprint: str) -> RowMapping | None:
    """The person with this keyed document hash."""
    return conn.execute(select(person).where(person.c.document_hash == fingerprint)).mappings().one_or_none()


def occupied(conn: Connection, racks: Collection[str]) -> dict[tuple[str, str], str]:
    """(rack, position) -> tube, for the places of ``racks`` that still hold one."""
    places: dict[tuple[str, str], str] = {}
    for part in _parts(racks):
        found = select(tube.c.rack, tube.c.position, tube.c.tube_id).where(
            tube.c.rack.in_(part), tube.c.state.in_(IN_RACK), tube.c.position != ""
        )
        for row in conn.execute(found):
            places[row.rack, row.position] = row.tube_id
    return places


def actor_of(conn: Connection, tube_id: str, kind: str) -> str:
    """Who last recorded an event of ``kind`` on a tube; empty if nobody."""
    found = (
        select(event.c.actor)
        .where(event.c.tube_id == tube_id, event.c.kind == kind)
        .order_by(event.c.seq.desc())
        .limit(1)
    )
    return conn.execute(found).scalar_one_or_none() or ""


def actors_since(conn: Connection, tube_id: str, kind: str, since: str) -> list[str]:
    """Who recorded events of ``kind`` on a tube after its last event of kind ``since``."""
    last = select(func.coalesce(func.max(event.c.seq), literal(0))).where(
        event.c.tube_id == tube_id, event.c.kind == since
    )
    found = select(event.c.actor).where(
        event.c.tube_id == tube_id, event.c.kind == kind, event.c.seq > last.scalar_subquery()
    )
    return list(conn.execute(found.order_by(event.c.seq)).scalars())


def find_tubes(conn: Connection, text: str, limit: int = PAGE) -> list[Tube]:
    """Tubes whose code starts with ``text``, or that are on the plate or in the rack of that name."""
    upper = text + "\uffff"
    found = select(*_TUBE).where(
        or_(
            and_(tube.c.tube_id >= text, tube.c.tube_id < upper),
            tube.c.plate_id == text,
            tube.c.rack == text,
            tube.c.pool_id == text,
        )
    )
    return [as_tube(row) for row in conn.execute(found.order_by(tube.c.tube_id).limit(limit))]


def worklist(conn: Connection, name: str, *, limit: int = PAGE, after: int = 0) -> list[Tube]:
    """The tubes of a worklist, most urgent first: priority, then time left.

    Raises:
        KeyError: if there is no such worklist.
    """
    states = WORKLISTS[name]
    found: Select[Any] = select(*_TUBE).where(tube.c.state.in_(states))
    if name == "plate":
        found = found.where(tube.c.kind != "unknown")
    ordered = found.order_by(tube.c.priority.desc(), tube.c.due_at, tube.c.tube_id)
    return [as_tube(row) for row in conn.execute(ordered.limit(limit).offset(after))]


def state_counts(conn: Connection, kinds: Collection[str] = ()) -> dict[str, int]:
    """How many tubes (of ``kinds``, if given) stand in each state."""
    found = select(tube.c.state, func.count()).group_by(tube.c.state).order_by(tube.c.state)
    if kinds:
        found = found.where(tube.c.kind.in_(kinds))
    return {state: count for state, count in conn.execute(found)}


def count_in_states(conn: Connection, *states: TubeState) -> dict[str, int]:
    """How many tubes stand in each of these states; reads only their part of the index."""
    found = select(tube.c.state, func.count()).where(tube.c.state.in_(states)).group_by(tube.c.state)
    return {state: count for state, count in conn.execute(found)}


def oldest_unreported(conn: Connection) -> datetime | None:
    """When the tube that has waited longest for its report was sampled; None if none waits."""
    first = [
        conn.execute(select(func.min(tube.c.sampled_at)).where(tube.c.state == state)).scalar_one_or_none()
        for state in UNREPORTED
    ]
    return min((moment for moment in first if moment is not None), default=None)


def queue_depths(conn: Connection) -> dict[str, int]:
    """What waits for a person besides tubes: open recalls and alarms, quarantined and waiting files."""
    recalls = select(func.count()).select_from(recall).where(recall.c.closed_at.is_(None))
    alarms = select(func.count()).select_from(alarm).where(alarm.c.cleared_at.is_(None))
    states = select(file_status.c.state, func.count()).where(file_status.c.state.in_(("waiting", "quarantined")))
    counted = {state: count for state, count in conn.execute(states.group_by(file_status.c.state))}
    return {
        "recalls": conn.execute(recalls).scalar_one(),
        "alarms": conn.execute(alarms).scalar_one(),
        "quarantined": counted.get("quarantined", 0),
        "waiting": counted.get("waiting", 0),
    }


def due_first(conn: Connection, limit: int) -> list[Tube]:
    """The tubes in the laboratory whose reports are due first."""
    found: list[Tube] = []
    for state in UNREPORTED:
        waiting = select(*_TUBE).where(tube.c.state == state, tube.c.due_at.is_not(None))
        found += [as_tube(row) for row in conn.execute(waiting.order_by(tube.c.due_at).limit(limit))]
    return sorted(found, key=lambda one: (str(one.due_at), one.tube_id))[:limit]


def latest_reports(conn: Connection, limit: int = PAGE, after: int = 0) -> list[RowMapping]:
    """The reports issued last, newest first."""
    found = select(report).order_by(report.c.issued_at.desc(), report.c.report_id.desc())
    return list(conn.execute(found.limit(limit).offset(after)).mappings())


def tubes_in_state(conn: Connection, *states: TubeState) -> list[Tube]:
    """All tubes in these states, most urgent first."""
    found = select(*_TUBE).where(tube.c.state.in_(states))
    return [as_tube(row) for row in conn.execute(found.order_by(tube.c.priority.desc(), tube.c.due_at, tube.c.tube_id))]


# -- pools and plates ----------------------------------------------------------------------------


def pool_members(conn: Connection, pool_ids: Iterable[str]) -> dict[str, list[str]]:
    """Members of each pool, by place."""
    members: dict[str, list[str]] = defaultdict(list)
    for part in _parts(pool_ids):
        found = (
            select(pool_member.c.pool_id, pool_member.c.tube_id)
            .where(pool_member.c.pool_id.in_(part))
            .order_by(pool_member.c.pool_id, pool_member.c.place)
        )
        for pool_id, tube_id in conn.execute(found):
            members[pool_id].append(tube_id)
    return members


def households(conn: Connection, tube_ids: Iterable[str]) -> dict[str, str]:
    """Site of each tube, the only cluster known at reception."""
    sites: dict[str, str] = {}
    for part in _parts(tube_ids):
        sites.update(
            (row.tube_id, row.site)
            for row in conn.execute(select(tube.c.tube_id, tube.c.site).where(tube.c.tube_id.in_(part)))
        )
    return sites


def plate_row(conn: Connection, plate_id: str) -> RowMapping | None:
    """A plate, or None."""
    return conn.execute(select(plate).where(plate.c.plate_id == plate_id)).mappings().one_or_none()


def plates(conn: Connection, *states: str, limit: int = PAGE) -> list[RowMapping]:
    """Plates in these states, newest first."""
    found = select(plate)
    if states:
        found = found.where(plate.c.state.in_(states))
    return list(conn.execute(found.order_by(plate.c.created_at.desc(), plate.c.plate_id).limit(limit)).mappings())


def wells(conn: Connection, plate_id: str) -> list[RowMapping]:
    """The wells of a plate that hold something, in no particular order."""
    return list(conn.execute(select(plate_well).where(plate_well.c.plate_id == plate_id)).mappings())


def runs_of_plate(conn: Connection, plate_id: str) -> list[RowMapping]:
    """Runs that were read for a plate, oldest first."""
    found = select(run).where(run.c.plate_id == plate_id).order_by(run.c.read_at, run.c.run_id)
    return list(conn.execute(found).mappings())


def run_row(conn: Connection, run_id: str) -> RowMapping | None:
    """A run, or None."""
    return conn.execute(select(run).where(run.c.run_id == run_id)).mappings().one_or_none()


def readings_of_run(conn: Connection, run_id: str) -> list[RowMapping]:
    """Everything the cycler said in a run."""
    found = select(reading).where(reading.c.run_id == run_id).order_by(reading.c.well, reading.c.target)
    return list(conn.execute(found).mappings())


def readings_of_tube(conn: Connection, tube_id: str) -> list[RowMapping]:
    """Everything cyclers ever said about a tube, oldest run first."""
    found = (
        select(reading, run.c.read_at, run.c.plate_id, run.c.valid)
        .join(run, run.c.run_id == reading.c.run_id)
        .where(reading.c.tube_id == tube_id)
        .order_by(run.c.read_at, reading.c.well, reading.c.target)
    )
    return list(conn.execute(found).mappings())


@dataclass(frozen=True, slots=True)
class CallRow:
    """One valid call of one tube, as the log has it."""

    tube_id: str
    run_id: str
    outcome: str
    rule: str
    test: str
    assay: str
    curve: str
    at: datetime


def calls(conn: Connection, tube_ids: Iterable[str]) -> dict[str, list[CallRow]]:
    """All valid calls of each tube, oldest first. Nothing is de-duplicated by value."""
    found: dict[str, list[CallRow]] = defaultdict(list)
    for part in _parts(tube_ids):
        rows = conn.execute(
            select(
                event.c.tube_id,
                event.c.run_id,
                event.c.outcome,
                event.c.rule,
                event.c.test,
                event.c.assay,
                event.c.curve,
                event.c.at,
            )
            .where(event.c.tube_id.in_(part), event.c.kind == "Called")
            .order_by(event.c.tube_id, event.c.seq)
        )
        for row in rows:
            found[row.tube_id].append(CallRow(*row))
    return found


def other_singles(conn: Connection, tube_ids: Iterable[str]) -> dict[str, list[str]]:
    """Single tube -> the other single tubes of the same person."""
    mine, theirs = tube_person.alias("mine"), tube_person.alias("theirs")
    other: dict[str, list[str]] = defaultdict(list)
    for part in _parts(tube_ids):
        found = (
            select(mine.c.tube_id, theirs.c.tube_id.label("other"))
            .join(theirs, and_(theirs.c.person_id == mine.c.person_id, theirs.c.tube_id != mine.c.tube_id))
            .join(tube, and_(tube.c.tube_id == theirs.c.tube_id, tube.c.kind == "single"))
            .where(mine.c.tube_id.in_(part))
            .order_by(mine.c.tube_id, theirs.c.tube_id)
        )
        for row in conn.execute(found):
            other[row.tube_id].append(row.other)
    return other


# -- recalls, files, reports, alarms -------------------------------------------------------------


def recalls_of_tube(conn: Connection, tube_id: str) -> list[RowMapping]:
    """Who of a tube is or was called back, by person."""
    found = select(recall).where(recall.c.tube_id == tube_id).order_by(recall.c.person_id)
    return list(conn.execute(found).mappings())


def open_recalls(conn: Connection, limit: int = PAGE) -> list[RowMapping]:
    """Persons to be called back, most urgent first."""
    found = (
        select(recall, person.c.name, person.c.phone_masked, person.c.document_masked)
        .join(person, person.c.person_id == recall.c.person_id)
        .where(recall.c.closed_at.is_(None))
        .order_by(recall.c.due_at, recall.c.tube_id)
        .limit(limit)
    )
    return list(conn.execute(found).mappings())


def recalls_of(conn: Connection, person_ids: Iterable[str]) -> dict[str, list[str]]:
    """Person -> tubes for which a new specimen of this person is still awaited."""
    held: dict[str, list[str]] = defaultdict(list)
    for part in _parts(person_ids):
        found = select(recall.c.person_id, recall.c.tube_id).where(
            recall.c.person_id.in_(part), recall.c.closed_at.is_(None)
        )
        for row in conn.execute(found.order_by(recall.c.tube_id)):
            held[row.person_id].append(row.tube_id)
    return held


def open_recall_counts(conn: Connection, tube_ids: Iterable[str]) -> dict[str, int]:
    """Tube -> persons whose new specimen is still awaited."""
    counts: dict[str, int] = {}
    for part in _parts(tube_ids):
        found = (
            select(recall.c.tube_id, func.count())
            .where(recall.c.tube_id.in_(part), recall.c.closed_at.is_(None))
            .group_by(recall.c.tube_id)
        )
        counts.update((tube_id, count) for tube_id, count in conn.execute(found))
    return counts


def file_row(conn: Connection, file_id: str) -> RowMapping | None:
    """A received file with its content, or None."""
    return conn.execute(select(file).where(file.c.file_id == file_id)).mappings().one_or_none()


def status_of_file(conn: Connection, file_id: str) -> RowMapping | None:
    """What became of a file, or None."""
    return conn.execute(select(file_status).where(file_status.c.file_id == file_id)).mappings().one_or_none()


def files(conn: Connection, *states: str, limit: int = PAGE) -> list[RowMapping]:
    """Received files (without content) in these states, newest first."""
    columns = [column for column in file.c if column.name != "content"]
    found = select(*columns, file_status.c.state, file_status.c.code, file_status.c.reason, file_status.c.run_id).join(
        file_status, file_status.c.file_id == file.c.file_id
    )
    if states:
        found = found.where(file_status.c.state.in_(states))
    return list(conn.execute(found.order_by(file.c.received_at.desc(), file.c.file_id).limit(limit)).mappings())


def waiting_files(conn: Connection) -> list[str]:
    """Files received but not yet read (after a crash), oldest first."""
    found = (
        select(file.c.file_id)
        .join(file_status, file_status.c.file_id == file.c.file_id)
        .where(file_status.c.state == "waiting")
        .order_by(file.c.received_at, file.c.file_id)
    )
    return list(conn.execute(found).scalars())


def same_run(conn: Connection, device_name: str, run_name: str) -> list[RowMapping]:
    """Files of one run of one device, without content."""
    found = select(file.c.file_id, file.c.sha256, file.c.received_at).where(
        file.c.device == device_name, file.c.run == run_name
    )
    return list(conn.execute(found.order_by(file.c.received_at)).mappings())


def report_row(conn: Connection, report_id: str) -> RowMapping | None:
    """A report, or None."""
    return conn.execute(select(report).where(report.c.report_id == report_id)).mappings().one_or_none()


def reports_of_tube(conn: Connection, tube_id: str) -> list[RowMapping]:
    """All reports issued for a tube, oldest first."""
    found = select(report).where(report.c.tube_id == tube_id).order_by(report.c.issued_at, report.c.report_id)
    return list(conn.execute(found).mappings())


def amended_by(conn: Connection, report_id: str) -> str:
    """The report that corrects this one; empty if none does."""
    return conn.execute(select(report.c.report_id).where(report.c.amends == report_id)).scalar_one_or_none() or ""


def run_with_plate(conn: Connection, run_id: str) -> RowMapping:
    """A run together with the assay of its plate."""
    found = select(run, plate.c.assay, plate.c.assay_version).join(plate, plate.c.plate_id == run.c.plate_id)
    return conn.execute(found.where(run.c.run_id == run_id)).mappings().one()


def pools_of(conn: Connection, tube_ids: Iterable[str]) -> dict[str, str]:
    """Single tube -> the last pool it was a member of."""
    pools: dict[str, str] = {}
    for part in _parts(tube_ids):
        found = (
            select(event.c.tube_id, event.c.pool_id)
            .where(event.c.tube_id.in_(part), event.c.kind == "JoinedPool")
            .order_by(event.c.tube_id, event.c.seq)
        )
        pools.update((row.tube_id, row.pool_id) for row in conn.execute(found))
    return pools


def pool_size(conn: Connection, pool_id: str) -> int:
    """How many aliquots went into a pool: the true n."""
    return conn.execute(
        select(func.count()).select_from(pool_member).where(pool_member.c.pool_id == pool_id)
    ).scalar_one()


def signers(conn: Connection, tube_ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Who signed the present result of each tube, in order."""
    found: dict[str, tuple[str, ...]] = {}
    for part in _parts(tube_ids):
        rows = conn.execute(
            select(event.c.tube_id, event.c.kind, event.c.actor)
            .where(event.c.tube_id.in_(part), event.c.kind.in_(("Concluded", "Reviewed")))
            .order_by(event.c.tube_id, event.c.seq)
        )
        for row in rows:
            before = found.get(row.tube_id, ())
            found[row.tube_id] = () if row.kind == "Concluded" else (*before, row.actor)
    return found


def open_alarms(conn: Connection, limit: int = PAGE) -> list[RowMapping]:
    """Alarms nobody has cleared, newest first."""
    found = select(alarm).where(alarm.c.cleared_at.is_(None)).order_by(alarm.c.at.desc(), alarm.c.alarm_id.desc())
    return list(conn.execute(found.limit(limit)).mappings())


@dataclass(frozen=True, slots=True)
class Turnaround:
    """One reported tube: hours from the start of its clock to its first report, and whether in time."""

    tube_id: str
    tier: str
    hours: float
    on_time: bool


def turnarounds(conn: Connection, start: str = "sampling") -> list[Turnaround]:
    """Turnaround of every tube with a report; ``start`` is ``sampling`` or ``receipt``. Never negative."""
    first = (
        select(report.c.tube_id, func.min(report.c.issued_at).label("issued")).group_by(report.c.tube_id).subquery()
    )
    began = tube.c.received_at if start == "receipt" else tube.c.sampled_at
    rows = conn.execute(
        select(tube.c.tube_id, tube.c.tier, began.label("began"), tube.c.due_at, first.c.issued).join(
            first, first.c.tube_id == tube.c.tube_id
        )
    )
    found = []
    for row in rows:
        issued = datetime.fromisoformat(row.issued) if isinstance(row.issued, str) else row.issued
        hours = max((issued - row.began).total_seconds() / 3600, 0.0) if row.began else 0.0
        found.append(Turnaround(row.tube_id, row.tier, hours, row.due_at is None or issued <= row.due_at))
    return found


def dump(conn: Connection, what: str) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """Column names and rows of an exportable table, in the order they were written."""
    table, order = {
        "tubes": (tube, tube.c.tube_id),
        "events": (event, event.c.event_id),
        "reports": (report, report.c.report_id),
        "plates": (plate, plate.c.created_at),
        "runs": (run, run.c.read_at),
    }[what]
    found = conn.execution_options(yield_per=1000).execute(select(table).order_by(order))
    return list(found.keys()), (tuple(row) for row in found)


def reported_tubes(conn: Connection) -> int:
    """How many tubes have a report."""
    return conn.execute(select(func.count(report.c.tube_id.distinct()))).scalar_one()


def event_counts(conn: Connection, kind: str, by: str) -> dict[str, int]:
    """How many events of ``kind`` there are for each value of the column ``by``."""
    column = event.c[by]
    found = select(column, func.count()).where(event.c.kind == kind).group_by(column).order_by(column)
    return {str(value): count for value, count in conn.execute(found)}


def count_of(conn: Connection, table: str) -> int:
    """Number of rows of a table."""
    return conn.execute(select(func.count()).select_from(_TABLES[table])).scalar_one()


_TABLES = {
    "pool_member": pool_member,
    "event": event,
    "tube": tube,
    "person": person,
    "plate": plate,
    "plate_well": plate_well,
    "run": run,
    "reading": reading,
    "report": report,
    "recall": recall,
    "file": file,
    "alarm": alarm,
}


# -- accounts, devices, idempotency --------------------------------------------------------------


def account_row(conn: Connection, name: str) -> RowMapping | None:
    """An account, or None."""
    return conn.execute(select(account).where(account.c.name == name)).mappings().one_or_none()


def accounts(conn: Connection) -> list[RowMapping]:
    """All accounts by name."""
    return list(conn.execute(select(account).order_by(account.c.name)).mappings())


def ticket_row(conn: Connection, digest: str) -> RowMapping | None:
    """A sign-in or token with its account, or None."""
    found = select(ticket, account.c.role, account.c.full_name, account.c.active).join(
        account, account.c.name == ticket.c.account
    )
    return conn.execute(found.where(ticket.c.digest == digest)).mappings().one_or_none()


def devices(conn: Connection) -> list[RowMapping]:
    """All enrolled devices by name."""
    return list(conn.execute(select(device).order_by(device.c.name)).mappings())


def device_of_key(conn: Connection, public_key: str) -> str | None:
    """The device enrolled under a public key, unless it was revoked."""
    found = select(device.c.name).where(device.c.public_key == public_key, device.c.revoked_at.is_(None))
    return conn.execute(found).scalar_one_or_none()


def stored_reply(conn: Connection, key: str, name: str) -> RowMapping | None:
    """The reply stored under an idempotency key."""
    found = select(idempotency).where(idempotency.c.key == key, idempotency.c.account == name)
    return conn.execute(found).mappings().one_or_none()


# -- small writes that are not tube state --------------------------------------------------------


def insert_people(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add persons."""
    if rows:
        conn.execute(insert(person), list(rows))


def next_number(conn: Connection, name: str) -> int:
    """The next serial number of a series; the writer's turn makes it unique."""
    changed = conn.execute(update(counter).where(counter.c.name == name).values(value=counter.c.value + 1)).rowcount
    if not changed:
        conn.execute(insert(counter).values(name=name, value=1))
    return conn.execute(select(counter.c.value).where(counter.c.name == name)).scalar_one()


def insert_rows(conn: Connection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows to a table that is not tube state."""
    if rows:
        conn.execute(insert(_WRITABLE[table]), list(rows))


def update_row(conn: Connection, table: str, key: Mapping[str, Any], **values: Any) -> int:
    """Change the rows of a table (not tube state, not evidence) that match ``key``; how many did."""
    target = _WRITABLE[table]
    statement = update(target).where(*(target.c[name] == value for name, value in key.items()))
    return conn.execute(statement.values(**values)).rowcount


def delete_rows(conn: Connection, table: str, key: Mapping[str, Any]) -> int:
    """Remove rows of a table of credentials; how many."""
    target = {"ticket": ticket}[table]
    return conn.execute(target.delete().where(*(target.c[name] == value for name, value in key.items()))).rowcount


_WRITABLE = {
    "account": account,
    "alarm": alarm,
    "device": device,
    "file": file,
    "file_status": file_status,
    "idempotency": idempotency,
    "plate": plate,
    "plate_well": plate_well,
    "reading": reading,
    "report": report,
    "rulebook": rulebook,
    "run": run,
    "ticket": ticket,
}


def rule_text(conn: Connection, kind: str, name: str, version: str) -> str | None:
    """The text of a rule file as it was when it spoke, or None."""
    found = select(rulebook.c.content).where(
        rulebook.c.kind == kind, rulebook.c.name == name, rulebook.c.version == version
    )
    return conn.execute(found).scalar_one_or_none()


def rule_versions(conn: Connection, kind: str) -> list[RowMapping]:
    """Every rule file of a kind that ever spoke."""
    return list(conn.execute(select(rulebook).where(rulebook.c.kind == kind)).mappings())


def all_file_ids(conn: Connection) -> list[str]:
    """Every file ever received."""
    return list(conn.execute(select(file.c.file_id).order_by(file.c.received_at, file.c.file_id)).scalars())


# -- the rule laboratory -------------------------------------------------------------------------


def runs_between(
    conn: Connection, assay: str, start: datetime | None, end: datetime | None
) -> list[RowMapping]:
    """Runs of an assay that were read from ``start`` on and before ``end``, oldest first; None = no limit."""
    found = select(run, plate.c.assay_version).join(plate, plate.c.plate_id == run.c.plate_id)
    found = found.where(plate.c.assay == assay)
    if start is not None:
        found = found.where(run.c.read_at >= start)
    if end is not None:
        found = found.where(run.c.read_at < end)
    return list(conn.execute(found.order_by(run.c.read_at, run.c.run_id)).mappings())
