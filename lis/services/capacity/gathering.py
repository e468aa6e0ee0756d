"""The laboratory as the forecast sees it: what the log says of now, and of the past."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np

from lis import queries
from lis.events import TubeKind
from lis.services.capacity.attending import AT_ONCE, attendance, duties, machines, minute_of, out_now
from lis.tube import Tube, TubeState
from sim.calibrate import Calibration, Passage, Past, Run, calibrate, reference
from sim.now import COMING, IN_REVIEW, KINDS, ON_PLATE, POOLED, WAITING, InWork, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from zoneinfo import ZoneInfo

    from sqlalchemy import Connection

    from lis.queries import Fact, Row
    from lis.rulebook import Rulebook
    from sim.duty import Duty

LEARN_DAYS: Final = 14
"""Days of the past that speak for the days to come."""

SHUT: Final = 1.0
"""Minutes for which reception may have been closed on a tube's way without its counting as held there."""

_WHERE: Final = {
    TubeState.SEALED: COMING,
    TubeState.RECEIVED: WAITING,
    TubeState.AWAITING_RETEST: WAITING,
    TubeState.POOLED: POOLED,
    TubeState.PLATED: ON_PLATE,
    TubeState.RUNNING: ON_PLATE,
    TubeState.RESULTED: IN_REVIEW,
    TubeState.IN_REVIEW: IN_REVIEW,
}


def midnight(at: datetime) -> datetime:
    """The midnight (UTC) before a moment: minutes of a forecast count from there."""
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


# -- now ------------------------------------------------------------------------------------------


def situation(
    conn: Connection, rules: Rulebook, at: datetime, ends: Mapping[str, datetime], *, rewound: bool = False
) -> State:
    """Every tube somebody waits for, and every plate under way, at ``at``.

    Args:
        conn: the database.
        rules: for tiers and the usual assay.
        at: the moment.
        ends: plate -> when it is likely to be read, as far as its live curves tell.
        rewound: ``at`` is past, and the log is read back to it.
    """
    # gather
    tubes = queries.unreported(conn, at if rewound else None)
    plates = queries.open_plates(conn, at)
    # decide
    zero = midnight(at)
    number = {row["plate_id"]: place for place, row in enumerate(plates)}
    known = {one.tube_id: place for place, one in enumerate(tubes)}
    lanes: dict[str, int] = defaultdict(lambda: len(lanes))
    for assay in [rules.default_assay, *(tube.assay for tube in tubes if tube.assay)]:
        _ = lanes[assay]
    where = np.array([_place(tube, number, known) for tube in tubes], dtype=np.int64)
    due = np.array([minute_of(tube.due_at or at + timedelta(days=1), zero) for tube in tubes])
    promised = [tube.promised_at or tube.due_at or at + timedelta(days=1) for tube in tubes]
    return State(
        now=minute_of(at, zero),
        names=tuple(tube.tube_id for tube in tubes),
        where=where,
        came=np.array([minute_of(_since(tube, at), zero) for tube in tubes], dtype=np.float64),
        due=due.astype(np.float64),
        promised=np.array([minute_of(moment, zero) for moment in promised], dtype=np.float64),
        priority=np.array([_priority(tube, rules) for tube in tubes], dtype=np.int64),
        persons=np.array([max(tube.persons, 1) for tube in tubes], dtype=np.int64),
        kind=np.array([_kind(tube.kind) for tube in tubes], dtype=np.int64),
        again=np.array([_again(tube) for tube in tubes], dtype=np.bool_),
        lane=np.array([lanes[tube.assay or rules.default_assay] for tube in tubes], dtype=np.int64),
        plate=np.array([number.get(tube.plate_id, -1) for tube in tubes], dtype=np.int64),
        pool=np.array([known.get(tube.pool_id, -1) for tube in tubes], dtype=np.int64),
        plates=tuple(_in_work(row, at, ends) for row in plates),
    )


def _place(tube: Tube, plates: Mapping[str, int], known: Mapping[str, int]) -> int:
    """Where a tube stands; what nothing more is to be read of waits for people."""
    where = _WHERE[tube.state]
    if where == ON_PLATE and tube.plate_id not in plates:
        return IN_REVIEW
    if where == POOLED and tube.pool_id not in known:
        return IN_REVIEW
    return where


def _since(tube: Tube, at: datetime) -> datetime:
    """Since when it stands there: in the line, as the scheduler counts, since its receipt."""
    if _WHERE[tube.state] == WAITING:
        return tube.received_at or tube.updated_at or at
    return tube.updated_at or at


def _priority(tube: Tube, rules: Rulebook) -> int:
    return max(tube.priority, rules.tiers.tier(tube.tier).priority if tube.tier else 0)


def _kind(kind: TubeKind) -> int:
    return KINDS.index(kind.value) if kind.value in KINDS else 0


def _again(tube: Tube) -> bool:
    return tube.state is TubeState.AWAITING_RETEST or tube.test != "first"


def _in_work(row: Row, at: datetime, ends: Mapping[str, datetime]) -> InWork:
    """A plate in preparation, or in a cycler; its live curves know best when that will end."""
    started = row["started_at"]
    if started is None:
        return InWork(0, minute_of(at, row["created_at"]))
    end = ends.get(row["plate_id"])
    return InWork(1, minute_of(at, started), left=None if end is None else minute_of(end, at))


# -- the past --------------------------------------------------------------------------------------


def learned(conn: Connection, rules: Rulebook, at: datetime, zone: ZoneInfo) -> Calibration:
    """What the laboratory's own past says of its times and shares; the reference where it says too little.

    Who is planned from now on, and which machines are out of service, is put into the model.
    """
    base = reference(rules.fill(rules.template(), impatient=False))
    seen = past(conn, rules, at, zone)
    zero = midnight(at)
    return calibrate(seen, base).attended(
        duties(conn, zone, zero, at),
        out_now(conn, zero, at),
        machines(conn, zone, zero, at, seen.attendance),
    )


def past(conn: Connection, rules: Rulebook, at: datetime, zone: ZoneInfo) -> Past:
    """What happened in the last days before ``at``, as minutes."""
    since = at - timedelta(days=LEARN_DAYS)
    plates = queries.past_plates(conn, since, at)
    facts = queries.past_facts(conn, since, at)
    zero = midnight(since)
    first = min([fact.at for fact in facts] + [row["created_at"] for row in plates], default=at)
    seen = attendance(conn, zone, facts, (zero, max(first, since), at))
    return Past(
        start=minute_of(first, zero),
        end=minute_of(at, zero),
        runs=tuple(_run(row, zero) for row in plates),
        passages=tuple(passages(facts, zero)),
        came=tuple(_came(fact, rules, zero) for fact in facts if fact.kind == "Received"),
        travels=tuple(travels(facts, zero, seen.on.get("reception"))),
        cyclers=len(queries.cyclers_used(conn, at - timedelta(days=7))),
        attendance=seen,
    )


def _run(row: Row, zero: datetime) -> Run:
    started, read = (_minute(row[name], zero) for name in ("started_at", "read_at"))
    return Run(minute_of(row["created_at"], zero), started, read, row["valid"], row["instrument"])


def _minute(moment: datetime | None, zero: datetime) -> float:
    return float("nan") if moment is None else minute_of(moment, zero)


def _came(fact: Fact, rules: Rulebook, zero: datetime) -> tuple[float, int, float, int]:
    tier = rules.tiers.tier(fact.tier)
    return minute_of(fact.at, zero), tier.priority, tier.hours, max(fact.persons, 1)


def travels(facts: Iterable[Fact], zero: datetime, reception: Duty | None = None) -> list[float]:
    """Minutes from sealing to receipt, in order of receipt.

    Where people are planned at reception, only of tubes during whose way somebody was there: of others
    nobody knows how long they stood at its door.
    """
    sealed: dict[str, datetime] = {}
    found = []
    open_ = None if reception is None else reception.people()
    for fact in facts:
        if fact.kind == "Sealed":
            sealed[fact.tube_id] = fact.at
        elif fact.kind == "Received" and fact.tube_id in sealed:
            begin, end = minute_of(sealed[fact.tube_id], zero), minute_of(fact.at, zero)
            if open_ is None or open_.worked(begin, end) >= end - begin - SHUT:
                found.append(end - begin)
    return found


def passages(facts: Sequence[Fact], zero: datetime) -> list[Passage]:
    """Every reading whose consequence is known, in order of reading."""
    by_tube: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        by_tube[fact.tube_id].append(fact)
    singly = {fact.at: fact for fact in facts if fact.kind == "RetestOrdered" and fact.test == "singly"}
    found = []
    for own in by_tube.values():
        for place, fact in enumerate(own):
            if fact.kind == "Called":
                made = _pool(fact, singly) if fact.tube_kind == "pool" else _followed(fact, own[place + 1 :])
                if made is not None:
                    found.append((fact.at, replace(made, read=minute_of(fact.at, zero))))
    return [made for _, made in sorted(found, key=lambda pair: pair[0])]


def _followed(called: Fact, later: Sequence[Fact]) -> Passage | None:
    """What came of one reading of a tube of persons; None while nobody knows."""
    first = called.test in ("", "first")
    for fact in later:
        if fact.kind == "Called":
            return None
        if fact.kind == "RetestOrdered":
            hours = max(minute_of(fact.due_at, fact.at) / 60, 0.0) if fact.due_at else 0.0
            return Passage(called.tube_kind, first, "retest", fact.test, fact.priority, round(hours))
        if fact.kind == "RecollectionOrdered":
            return Passage(called.tube_kind, first, "recollect")
        if fact.kind == "Released":
            minutes = minute_of(fact.at, called.at)
            how = "report" if minutes <= AT_ONCE else "review"
            return Passage(called.tube_kind, first, how, reporting=minutes)
    return None


def _pool(called: Fact, singly: Mapping[datetime, Fact]) -> Passage:
    """What came of one reading of a pool: its members left, or are tested singly."""
    first = called.test in ("", "first")
    if called.outcome == "negative":
        return Passage("pool", first, "report")
    order = singly.get(called.at)
    hours = max(minute_of(order.due_at, order.at) / 60, 0.0) if order and order.due_at else 0.0
    return Passage("pool", first, "retest", "singly", order.priority if order else 0, round(hours))
