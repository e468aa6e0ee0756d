"""Who is there and what is out of service, as forecasts see it: minutes from a midnight of UTC."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from lis import queries
from sim.duty import AHEAD_DAYS, BEHIND_DAYS, MACHINE_KINDS, Duty, Machines, Wear
from sim.dutyplan import Away, Post, laid_out, without_away
from sim.habits import Attendance, chance_out, seen_by_hour

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from zoneinfo import ZoneInfo

    from sqlalchemy import Connection

    from lis.queries import Fact, Row, Spell

AT_ONCE: Final = 1.0
"""A report within so many minutes of the reading left by the written rules, without a reviewer."""

_STATIONS: Final = {"Received": "reception", "Plated": "prepare"}


def minute_of(moment: datetime, zero: datetime) -> float:
    """Minutes from ``zero``."""
    return (moment - zero) / timedelta(minutes=1)


def on_calendar(zero: datetime, zone: ZoneInfo) -> Callable[[date, float], float]:
    """Of a local day and a minute by its clocks, the minutes from ``zero``."""

    def minute(day: date, at: float) -> float:
        midnight = datetime(day.year, day.month, day.day, tzinfo=zone)
        return minute_of(midnight + timedelta(minutes=at), zero)

    return minute


def posts(
    conn: Connection, zone: ZoneInfo, zero: datetime, days: tuple[date, int], at: datetime | None = None
) -> tuple[list[Post], list[Post]]:
    """Every person's shifts on some days: as planned, and without those who are known to be absent.

    Args:
        conn: the database.
        zone: of the laboratory's clocks.
        zero: minutes count from here.
        days: the first local day, and how many.
        at: only what had been said by then counts; None for all.
    """
    first, count = days
    plans = [plan for _, plan in queries.duty_plans(conn, at)]
    many = [first + timedelta(days=n) for n in range(count)]
    all_ = laid_out(plans, many, on_calendar(zero, zone))
    away = [_away(one, zero) for one in queries.absences(conn, at)]
    return all_, without_away(all_, away)


def _away(one: Spell, zero: datetime) -> Away:
    end = float("inf") if one.until is None else minute_of(one.until, zero)
    return Away(one.role, minute_of(one.since, zero), end, one.people, one.shift)


def duties(conn: Connection, zone: ZoneInfo, zero: datetime, at: datetime) -> dict[str, Duty]:
    """Who is on at each station that the plan speaks of, from two days back to a week ahead."""
    days = BEHIND_DAYS + AHEAD_DAYS + 1
    first = at.astimezone(zone).date() - timedelta(days=BEHIND_DAYS + 1)
    planned, there = posts(conn, zone, zero, (first, days), at)
    until = on_calendar(zero, zone)(first + timedelta(days=days), 0.0)
    return {
        role: Duty(tuple(post.turn for post in there if post.role == role), until=until)
        for role in sorted({post.role for post in planned})
    }


def out_now(conn: Connection, zero: datetime, at: datetime) -> list[tuple[float, float | None]]:
    """Since when cyclers are out of service, or will be, and when each is expected back."""
    return _out_among(queries.outages(conn, at), queries.cyclers_used(conn, at - timedelta(days=7)), zero)


def _out_among(
    outages: Sequence[Spell], names: Collection[str], zero: datetime
) -> list[tuple[float, float | None]]:
    return [
        (minute_of(one.since, zero), None if one.expected is None else minute_of(one.expected, zero))
        for one in outages
        if one.ended is None and one.instrument in names
    ]


def machines(
    conn: Connection, zone: ZoneInfo, zero: datetime, at: datetime, seen: Attendance
) -> list[Machines]:
    """Machines besides cyclers that the plan of the day names, by kind, with what is out among them."""
    outages = queries.outages(conn, at)
    planned = queries.machines(conn, at.astimezone(zone).date(), at)
    found = []
    for kind in MACHINE_KINDS:
        names = [one.name for one in planned if one.kind == kind]
        if names:
            wear = Wear(tuple(_out_among(outages, names, zero)), chance_out(seen, kind))
            found.append(Machines(kind, len(names), wear))
    return found


# -- the past --------------------------------------------------------------------------------------


def attendance(
    conn: Connection, zone: ZoneInfo, facts: Sequence[Fact], span: tuple[datetime, datetime, datetime]
) -> Attendance:
    """What the log says of people and machines.

    Args:
        conn: the database.
        zone: of the laboratory's clocks.
        facts: steps of tubes, in order.
        span: zero of the minutes, begin and end of the time that is looked at.
    """
    zero, since, until = span
    acts, waits = activity(facts, zero)
    days = (until - since) / timedelta(days=1)
    planned, there = posts(conn, zone, zero, (since.astimezone(zone).date(), int(days) + 1), until)
    past = (minute_of(since, zero), minute_of(until, zero))
    begun = sum(past[0] <= post.turn.begins <= past[1] for post in planned)
    came = sum(past[0] <= post.turn.begins <= past[1] for post in there)
    broke = [one for one in queries.outages(conn, until) if one.since >= since and not one.planned]
    kinds = {one.name: one.kind for one in queries.machines(conn, until.astimezone(zone).date(), until)}
    out = [one for one in broke if one.instrument not in kinds]
    # who never said that a machine was out did not see to it that none was: only then the days count
    machine_days = days * len(queries.cyclers_used(conn, until - timedelta(days=7))) if out else 0.0
    broken = Counter(kinds[one.instrument] for one in broke if one.instrument in kinds)
    many = Counter(kinds.values())
    return Attendance(
        acts=tuple(acts),
        waits={station: tuple(stretches) for station, stretches in waits.items()},
        on={
            role: Duty(tuple(post.turn for post in there if post.role == role))
            for role in sorted({post.role for post in planned})
        },
        shifts=float(begun),
        missed=float(begun - came),
        machine_days=machine_days,
        outages=len(out),
        repairs=tuple(minute_of(one.ended, one.since) for one in out if one.ended),
        others={kind: (days * many[kind], count) for kind, count in broken.items()},
    )


def activity(
    facts: Sequence[Fact], zero: datetime
) -> tuple[list[tuple[float, str, str]], dict[str, list[tuple[float, float]]]]:
    """(minute, station, who) of everything people did, and when something waited for them, by station."""
    acts: list[tuple[float, str, str]] = []
    waits: dict[str, list[tuple[float, float]]] = defaultdict(list)
    came: dict[str, float] = {}
    read: dict[str, float] = {}
    for fact in facts:
        at = minute_of(fact.at, zero)
        if fact.kind in _STATIONS:
            acts.append((at, _STATIONS[fact.kind], fact.actor))
        if fact.kind in {"Received", "RetestOrdered"}:
            came[fact.tube_id] = at
        elif fact.kind == "Plated" and fact.tube_id in came:
            waits["prepare"].append((came.pop(fact.tube_id), at))
        elif fact.kind == "Called":
            read[fact.tube_id] = at
        elif fact.kind == "Released" and fact.tube_id in read:
            began = read.pop(fact.tube_id)
            if at - began > AT_ONCE:
                acts.append((at, "review", fact.actor))
                waits["review"].append((began, at))
    return acts, waits


def by_hour(conn: Connection, zone: ZoneInfo, since: datetime, until: datetime) -> list[dict[str, Any]]:
    """People and cyclers seen at work in each hour of the local day, on average over the days of a time."""
    facts = queries.past_facts(conn, since, until)
    zero = datetime.combine(since.astimezone(zone).date(), datetime.min.time(), zone)
    first = min((fact.at for fact in facts), default=until)
    days = max((until - max(first, since)) / timedelta(days=1), 1.0)
    acts, _ = activity(facts, zero)
    acts += [
        (minute, "cycler", name)
        for row in queries.past_plates(conn, since, until)
        for minute, name in _running(row, zero)
    ]
    columns = {name: seen_by_hour(acts, name, days) for name in ("reception", "prepare", "review", "cycler")}
    return [{"hour": hour} | {name: one[hour] for name, one in columns.items()} for hour in range(24)]


def _running(row: Row, zero: datetime) -> list[tuple[float, str]]:
    """One mark for every hour in which a plate was in its cycler."""
    if row["started_at"] is None or row["read_at"] is None:
        return []
    first, last = (minute_of(row[name], zero) for name in ("started_at", "read_at"))
    return [(60.0 * hour, row["instrument"]) for hour in range(int(first // 60), int(last // 60) + 1)]
