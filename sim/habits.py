"""What the log says of people and machines: in which hours they work, how often they are missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sim.duty import A_DAY_OUT, DAY, MACHINE_KINDS, Duty, Level, Window, of_hours
from sim.now import Floats
from sim.service import Service

HOURS = 24
LEAST_DAYS = 3
"""On fewer days with work waiting an hour says nothing of whether anybody works then."""

SELDOM = 0.2
"""An hour in which work was touched on a smaller share of the days on which it waited is an hour off."""

ABSENCE = 0.1
"""Chance that somebody does not come: the UK planning model (staff, a whole shift)."""

BREAKDOWN = 0.02
"""Chance that a cycler goes out of service on a day: the UK planning model (reader, a whole day)."""

WEIGHT = 30
"""Shifts, or machine days, for which the reference stands beside what was seen."""

LEAST_REPAIRS = 5
PARTS = 4
"""Parts of a day, of six hours each, that may have minutes of review of their own."""


@dataclass(frozen=True, slots=True)
class Attendance:
    """Who was there, and what was out, between two minutes.

    Attributes:
        acts: (minute, station, who) of everything that people did at `reception`, `prepare` or `review`.
        waits: station -> stretches in which something waited there for a person.
        on: station -> who was on duty, where a plan said it.
        shifts, missed: shifts of single persons that a plan had, and those to which nobody came.
        machine_days, outages: days of single cyclers, and how often one went out of service.
        repairs: minutes until each was back.
        others: kind of machine -> days of single ones, and how often one went out of service.
    """

    acts: tuple[tuple[float, str, str], ...] = ()
    waits: Mapping[str, tuple[Window, ...]] = field(default_factory=dict)
    on: Mapping[str, Duty] = field(default_factory=dict)
    shifts: float = 0.0
    missed: float = 0.0
    machine_days: float = 0.0
    outages: int = 0
    repairs: tuple[float, ...] = ()
    others: Mapping[str, tuple[float, int]] = field(default_factory=dict)


def working_hours(seen: Attendance, station: str, start: float, end: float) -> tuple[bool, ...]:
    """24 hours of the day: False where work waited through the hour and nobody ever touched any.

    Empty when there is no such hour. Of an hour in which nothing waited nobody knows: it counts as on.
    """
    acted = {
        int(minute // 60) for minute, where, _ in seen.acts if where == station and start <= minute < end
    }
    waited = set()
    for begin, finish in seen.waits.get(station, ()):
        waited |= set(range(int(np.ceil(max(begin, start) / 60)), int(min(finish, end) // 60)))
    found = []
    for hour in range(HOURS):
        busy = sum(one % HOURS == hour for one in acted)
        idle = sum(one % HOURS == hour for one in waited - acted)
        off = idle >= LEAST_DAYS and busy < SELDOM * (busy + idle)
        found.append(not off)
    return tuple(found) if any(found) and not all(found) else ()


def people_at(seen: Attendance, station: str, start: float, end: float) -> Level | None:
    """How many were on duty in the past, by the plan or by the hours learned; None for always."""
    if station in seen.on:
        return seen.on[station].people()
    hours = working_hours(seen, station, start, end)
    if not hours:
        return None
    first = np.floor(start / DAY) - 1
    return of_hours(hours, first, int(end // DAY - first) + 2).people()


def plates_each(level: Level | None, formed: Floats, ends: Floats) -> float:
    """The most plates in preparation at once for one person on duty; 0 when nobody knows who was."""
    if level is None or not formed.size:
        return 0.0
    found = 0.0
    for at in formed.tolist():
        people = level.at(at)
        if people:
            found = max(found, int(((formed <= at) & (ends > at)).sum()) / people)
    return found


def absence(seen: Attendance) -> tuple[float, bool]:
    """(chance that somebody does not come, whether the laboratory's own past speaks in it)."""
    known = seen.shifts >= WEIGHT
    share = (seen.missed + WEIGHT * ABSENCE) / (seen.shifts + WEIGHT) if known else ABSENCE
    return min(share, 0.9), known


def breakdowns(seen: Attendance) -> tuple[float, bool]:
    """(chance that a cycler goes out of service on a day, whether the laboratory's own past speaks in it)."""
    known = seen.machine_days >= WEIGHT
    if not known:
        return BREAKDOWN, False
    return (seen.outages + WEIGHT * BREAKDOWN) / (seen.machine_days + WEIGHT), True


def chance_out(seen: Attendance, kind: str) -> float:
    """Chance that a machine of a kind goes out of service on a day, drawn to the reference as for cyclers."""
    usual = MACHINE_KINDS[kind][1]
    days, outages = seen.others.get(kind, (0.0, 0))
    return (outages + WEIGHT * usual) / (days + WEIGHT) if days >= WEIGHT else usual


def repair(seen: Attendance) -> Service:
    """Minutes until a machine is back."""
    if len(seen.repairs) < LEAST_REPAIRS:
        return A_DAY_OUT
    return Service("smoothed", values=seen.repairs)


def parts_of_day(read: Floats, minutes: Floats) -> list[Floats]:
    """Minutes of review by the part of the day in which a tube was read; in none where that is not known."""
    part = np.nan_to_num(read % DAY * PARTS / DAY, nan=-1).astype(int)
    return [minutes[part == number] for number in range(PARTS)]


def seen_by_hour(acts: Sequence[tuple[float, str, str]], station: str, days: float) -> list[float]:
    """People seen at work at a station in each hour of the day, on average over all days."""
    who: dict[int, set[str]] = {}
    for minute, where, name in acts:
        if where == station:
            who.setdefault(int(minute // 60), set()).add(name)
    counts = [0.0] * HOURS
    for hour, names in who.items():
        counts[hour % HOURS] += len(names)
    return [round(count / max(days, 1.0), 3) for count in counts]
