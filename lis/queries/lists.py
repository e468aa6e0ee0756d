"""Worklists that can be sifted, page by page; search by code, place and person; tries to call people back."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import Connection, and_, func, or_, select

from lis.clock import to_text
from lis.db import Prepared, among
from lis.events import TubeKind
from lis.ledger import as_tube
from lis.queries.common import PAGE, Row, all_rows, parts
from lis.queries.tubes import UNREPORTED, WORKLISTS
from lis.schema import event, forecast_tube, person, plate, recall, report, run, tube, tube_person
from lis.tube import Tube, TubeState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.sql import ColumnElement, Select

MOST_COUNTED: Final = 10_000
"""Tubes of a list that are counted when each of them must be looked at."""

LAST: Final = "\uffff"
"""Sorts behind every code."""

_TUBE = tuple(tube.c[name] for name in Tube._fields)


@dataclass(frozen=True, slots=True)
class Sieve:
    """Which tubes of a list are wanted; what is empty sifts nothing.

    Attributes:
        site: exactly this collection site.
        before: sampled before this moment.
        text: begins the tube's code, or is its rack, plate or pool.
    """

    tier: str = ""
    state: str = ""
    kind: str = ""
    site: str = ""
    before: datetime | None = None
    text: str = ""

    def conditions(self) -> list[ColumnElement[bool]]:
        """As the database checks it."""
        plain = {"tier": self.tier, "state": self.state, "kind": self.kind, "site": self.site}
        found = [tube.c[name] == value for name, value in plain.items() if value]
        if self.before is not None:
            found.append(tube.c.sampled_at < self.before)
        if self.text:
            begins = and_(tube.c.tube_id >= self.text, tube.c.tube_id < self.text + LAST)
            places = (tube.c[name] == self.text for name in ("rack", "plate_id", "pool_id"))
            found.append(or_(begins, *places))
        return found


class Place(NamedTuple):
    """Where a page of a worklist ended: the order of its last tube."""

    priority: int
    due: str
    tube_id: str

    @classmethod
    def of(cls, one: Tube) -> Place:
        """The place of a tube."""
        return cls(one.priority, to_text(one.due_at) if one.due_at else "", one.tube_id)


def sifted(
    conn: Connection, name: str, sieve: Sieve, limit: int = PAGE, after: Place | None = None
) -> list[Tube]:
    """A page of a worklist, most urgent first: priority, then time left, then code.

    ``after`` is where the page before ended, so that no page repeats or skips a tube that stayed where it
    was, whatever others do meanwhile.

    Raises:
        KeyError: if there is no such worklist.
    """
    due = _due(name)
    found = _wanted(select(*_TUBE), name, sieve)
    if after is not None:
        later = or_(due > after.due, and_(due == after.due, tube.c.tube_id > after.tube_id))
        behind = or_(tube.c.priority < after.priority, and_(tube.c.priority == after.priority, later))
        found = found.where(tube.c.priority <= after.priority, behind)
    ordered = found.order_by(tube.c.priority.desc(), due, tube.c.tube_id).limit(limit)
    return [as_tube(row) for row in conn.execute(ordered)]


class Counted(NamedTuple):
    """How many there are; ``more`` than ``number``, nobody counted how many, if it says so."""

    number: int
    more: bool = False


def sifted_count(conn: Connection, name: str, sieve: Sieve, most: int = MOST_COUNTED) -> Counted:
    """How many tubes of a worklist are wanted; with a text, no more than ``most`` are counted.

    Everything but the text is answered from one index, the text from the tubes themselves.
    """
    if not sieve.text:
        return Counted(int(conn.execute(_wanted(select(func.count()), name, sieve)).scalar_one()))
    some = _wanted(select(tube.c.tube_id), name, sieve).limit(most + 1).subquery()
    number = int(conn.execute(select(func.count()).select_from(some)).scalar_one())
    return Counted(min(number, most), number > most)


def _due(name: str) -> Any:
    """Only a tube nobody registered has no due time; only the list with those pays for saying so."""
    return func.coalesce(tube.c.due_at, "") if name == "hold" else tube.c.due_at


def _wanted(found: Select[Any], name: str, sieve: Sieve) -> Select[Any]:
    found = found.where(tube.c.state.in_(WORKLISTS[name]), *sieve.conditions())
    return found.where(tube.c.kind != TubeKind.UNKNOWN.value) if name == "plate" else found


def sites_in(conn: Connection, name: str, limit: int = PAGE) -> list[str]:
    """The collection sites of the tubes of a worklist, by name."""
    found = select(tube.c.site).where(tube.c.state.in_(WORKLISTS[name])).distinct()
    return sorted(site for site in conn.execute(found.limit(limit)).scalars() if site)


# -- about to be late -----------------------------------------------------------------------------


class Danger(NamedTuple):
    """A tube that is late or likely to be: ``risk`` and ``p50`` as foreseen, None if it was not foreseen."""

    tube: Tube
    risk: float | None
    p50: datetime | None


class DangerPlace(NamedTuple):
    """Where a page of tubes that are late, or likely to be, ended.

    Attributes:
        as_of: the moment of the first page: what is late stays among the late ones on all that follow.
        late: whether the last tube was late then.
        risk: of the last tube.
        moment: its promise if it was late, else when its report is foreseen.
    """

    as_of: str
    late: bool
    risk: float
    moment: str
    tube_id: str

    @classmethod
    def of(cls, one: Danger, now: datetime) -> DangerPlace:
        """The place of a tube in a list as of ``now``."""
        promised = one.tube.promised_at
        if promised is not None and promised < now:
            return cls(to_text(now), True, 1.0, to_text(promised), one.tube.tube_id)
        return cls(
            to_text(now), False, one.risk or 0.0, to_text(one.p50) if one.p50 else "", one.tube.tube_id
        )


def endangered(
    conn: Connection,
    forecast_id: int | None,
    now: datetime,
    least: float,
    sieve: Sieve,
    limit: int | None,
    after: DangerPlace | None = None,
) -> list[Danger]:
    """Tubes past their promise as of ``now``, then those of at least this foreseen risk, worst first.

    At most ``limit`` of them, all of them if it is None; behind ``after``, where the page before ended.
    """
    found: list[Danger] = []
    if after is None or after.late:
        found += _late(conn, forecast_id, now, sieve, limit, after)
    rest = None if limit is None else limit - len(found)
    if forecast_id is None or rest == 0:
        return found
    foreseen = (
        select(*_TUBE, forecast_tube.c.risk, forecast_tube.c.p50)
        .join(forecast_tube, forecast_tube.c.tube_id == tube.c.tube_id)
        .where(forecast_tube.c.forecast_id == forecast_id, forecast_tube.c.risk >= least)
        .where(*_awaited(sieve), _in_time(now))
        .order_by(forecast_tube.c.risk.desc(), forecast_tube.c.p50, tube.c.tube_id)
    )
    if after is not None and not after.late:
        risk, p50 = forecast_tube.c.risk, forecast_tube.c.p50
        later = or_(p50 > after.moment, and_(p50 == after.moment, tube.c.tube_id > after.tube_id))
        foreseen = foreseen.where(or_(risk < after.risk, and_(risk == after.risk, later)))
    return found + [_as_danger(row) for row in conn.execute(foreseen.limit(rest))]


def _late(
    conn: Connection,
    forecast_id: int | None,
    now: datetime,
    sieve: Sieve,
    limit: int | None,
    after: DangerPlace | None,
) -> list[Danger]:
    """Tubes past their promise, the longest first, with what was foreseen of them."""
    foreseen = and_(forecast_tube.c.tube_id == tube.c.tube_id, forecast_tube.c.forecast_id == forecast_id)
    late = (
        select(*_TUBE, forecast_tube.c.risk, forecast_tube.c.p50)
        .outerjoin(forecast_tube, foreseen)
        .where(*_awaited(sieve), tube.c.promised_at < now)
        .order_by(tube.c.promised_at, tube.c.tube_id)
    )
    if after is not None:
        promised = tube.c.promised_at
        same = and_(promised == after.moment, tube.c.tube_id > after.tube_id)
        late = late.where(or_(promised > after.moment, same))
    return [_as_danger(row) for row in conn.execute(late.limit(limit))]


def _as_danger(row: Any) -> Danger:
    return Danger(as_tube(row[: len(_TUBE)]), row.risk, row.p50)


def endangered_count(
    conn: Connection, forecast_id: int | None, now: datetime, least: float, sieve: Sieve
) -> int:
    """How many tubes :func:`endangered` would list without a limit.

    The late ones are counted in one index; of the others only those are looked up that the forecast fears.
    """
    late = select(func.count()).where(*_awaited(sieve), tube.c.promised_at < now)
    found = int(conn.execute(late).scalar_one())
    if forecast_id is None:
        return found
    feared = (
        select(func.count())
        .select_from(forecast_tube.join(tube, forecast_tube.c.tube_id == tube.c.tube_id))
        .where(forecast_tube.c.forecast_id == forecast_id, forecast_tube.c.risk >= least)
        .where(*_awaited(sieve), _in_time(now))
    )
    return found + int(conn.execute(feared).scalar_one())


def _awaited(sieve: Sieve) -> tuple[ColumnElement[bool], ...]:
    """Somebody waits for the tube's result; a pool is awaited through its members."""
    return tube.c.state.in_(UNREPORTED), tube.c.kind != TubeKind.POOL.value, *sieve.conditions()


def _in_time(now: datetime) -> ColumnElement[bool]:
    return or_(tube.c.promised_at.is_(None), tube.c.promised_at >= now)


# -- runs that failed their controls --------------------------------------------------------------


def failed_runs(conn: Connection, since: datetime, limit: int = PAGE) -> list[Row]:
    """Runs whose controls failed, in whole or in a batch, or that a control chart rejects; newest first."""
    found = (
        select(
            run.c.run_id, run.c.plate_id, run.c.read_at, run.c.valid, run.c.failed_batches, run.c.verdict,
            run.c.quality, run.c.lot, run.c.device, plate.c.instrument, plate.c.assay,
        )
        .join(plate, plate.c.plate_id == run.c.plate_id)
        .where(run.c.read_at >= since)
        .where(or_(run.c.valid.is_(False), run.c.failed_batches != "", run.c.quality != ""))
        .order_by(run.c.read_at.desc(), run.c.run_id)
    )  # fmt: skip
    return all_rows(conn, found.limit(limit))


# -- call-backs -----------------------------------------------------------------------------------


_TRIES: Final = Prepared(
    select(event.c.tube_id, event.c.person_id, event.c.at, event.c.actor, event.c.outcome, event.c.reason)
    .where(among(event.c.tube_id, "codes"), event.c.kind == "ContactTried")
    .order_by(event.c.event_id)
)


def contact_tries(conn: Connection, tube_ids: Iterable[str]) -> dict[tuple[str, str], list[Row]]:
    """(tube, person) -> every try to reach this person, oldest first."""
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for part in parts(tube_ids):
        for row in _TRIES.records(conn, codes=part):
            found[row["tube_id"], row["person_id"]].append(row)
    return found


def recall_is_open(conn: Connection, tube_id: str, person_id: str) -> bool:
    """Whether this person of this tube is still awaited."""
    found = select(recall.c.tube_id).where(
        recall.c.tube_id == tube_id, recall.c.person_id == person_id, recall.c.closed_at.is_(None)
    )
    return conn.execute(found).first() is not None


# -- search ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hits:
    """What a search found besides tubes: plates and reports whose number begins so, racks of this name."""

    plates: tuple[Row, ...]
    reports: tuple[Row, ...]
    racks: tuple[tuple[str, int], ...]


def hits(conn: Connection, text: str, limit: int) -> Hits:
    """Plates, reports and racks for a search text."""
    plates = select(plate).where(plate.c.plate_id >= text, plate.c.plate_id < text + LAST)
    begins = (report.c.report_id >= text, report.c.report_id < text + LAST)
    names = ("report_id", "tube_id", "result", "issued_at", "amends", "version")
    reports = select(*(report.c[name] for name in names)).where(*begins)
    racks = (
        select(tube.c.rack, func.count())
        .where(tube.c.rack >= text, tube.c.rack < text + LAST, tube.c.rack != "")
        .group_by(tube.c.rack)
        .order_by(tube.c.rack)
    )
    return Hits(
        tuple(all_rows(conn, plates.order_by(plate.c.plate_id).limit(limit))),
        tuple(all_rows(conn, reports.order_by(report.c.report_id).limit(limit))),
        tuple((name, count) for name, count in conn.execute(racks.limit(limit))),
    )


def persons_named(conn: Connection, name: str, limit: int = PAGE) -> list[Row]:
    """Persons who bear exactly this name, the last registered first."""
    found = select(person).where(person.c.name == name)
    return all_rows(conn, found.order_by(person.c.created_at.desc(), person.c.person_id).limit(limit))


def tubes_of_persons(conn: Connection, person_ids: Iterable[str]) -> dict[str, list[Tube]]:
    """Person -> their tubes, newest first."""
    found: dict[str, list[Tube]] = defaultdict(list)
    for part in parts(person_ids):
        rows = (
            select(*_TUBE, tube_person.c.person_id.label("of_person"))
            .join(tube_person, tube_person.c.tube_id == tube.c.tube_id)
            .where(among(tube_person.c.person_id, part))
            .order_by(tube.c.sampled_at.desc(), tube.c.tube_id)
        )
        for row in conn.execute(rows):
            found[row.of_person].append(as_tube(row[: len(_TUBE)]))
    return found


def in_rack(conn: Connection, rack: str, limit: int) -> list[Tube]:
    """The tubes whose last place is this rack, by position."""
    found = select(*_TUBE).where(tube.c.rack == rack).order_by(tube.c.position, tube.c.tube_id)
    return [as_tube(row) for row in conn.execute(found.limit(limit))]


def pick(conn: Connection, limit: int, sieve: Sieve) -> list[Tube]:
    """The most urgent tubes to fetch for a retest, as many as go onto the next plates."""
    found = _wanted(select(*_TUBE), "retest", sieve).where(tube.c.state == TubeState.AWAITING_RETEST)
    ordered = found.order_by(tube.c.priority.desc(), tube.c.due_at, tube.c.tube_id)
    return [as_tube(row) for row in conn.execute(ordered.limit(limit))]
