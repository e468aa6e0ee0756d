"""Who is there: staff without the absent, machines without their days out of order."""

from collections.abc import Sequence

import numpy as np

from scheduler.shifts import windows, without
from sim.duty import Window
from sim.scenario import DAY
from sim.servers import Rostered
from sim.spec import Laboratory, Staff
from sim.specimens import by_day
from sim.stations import Bench


def crew(bench: Bench, lab: Laboratory, days: int, rng: np.random.Generator) -> Rostered:
    """The servers of a station with their windows; one more server changes nothing for the others.

    Machines that are known to be out of service are those with the highest numbers. Where people work at
    machines, whoever has none does nothing: the positions of the fewest shifts are without one first.

    Args:
        bench: the station.
        lab: its laboratory, for the staff.
        days: days to lay out.
        rng: drawn from server by server.
    """
    known = [(one.start, one.end) for one in bench.out for _ in range(one.machines)]
    if not bench.staff:
        always = [(0.0, float(days * DAY))]
        broken = days_out(bench.servers, bench.down, days, rng)
        short = [at_least(known, bench.servers - place) for place in range(bench.servers)]
        out = [
            sorted([*((day, day + DAY) for day in own), *more])
            for own, more in zip(broken, short, strict=True)
        ]
        return Rostered([without(always, own) for own in out])
    staff = lab.staff[bench.staff]
    there = windows(staff.rota, days, absences(staff, days, rng))
    if bench.down:
        known += [(day, day + DAY) for own in days_out(len(there), bench.down, days, rng) for day in own]
    cut = [without(own, at_least(known, len(there) - place)) for place, own in enumerate(there)]
    return Rostered(cut, staff.rota.ending)


def at_least(stretches: Sequence[Window], count: int) -> list[Window]:
    """When so many of these stretches or more hold at once, ascending."""
    if len(stretches) < count:
        return []
    edges = sorted([(a, 1) for a, _ in stretches] + [(b, -1) for _, b in stretches])
    found, level, began = [], 0, 0.0
    for minute, step in edges:
        if step > 0 and level == count - 1:
            began = minute
        elif step < 0 and level == count and minute > began:
            found.append((began, minute))
        level += step
    return found


def days_out(machines: int, down: float, days: int, rng: np.random.Generator) -> list[list[float]]:
    """For every machine the midnights of the days on which it is out of order, each with this chance."""
    return [(np.flatnonzero(rng.uniform(size=days) < down) * float(DAY)).tolist() for _ in range(machines)]


def absences(staff: Staff, days: int, rng: np.random.Generator) -> set[tuple[int, str, int]]:
    """(day, shift, position) of everybody who does not come."""
    there = [(1 - staff.absence) * by_day(staff.present, max(day, 0), 1.0) for day in range(-1, days)]
    absent = set()
    for position in range(staff.rota.positions):
        drawn = rng.uniform(size=(len(staff.rota.shifts), days + 1))
        for number, shift in enumerate(staff.rota.shifts):
            missing = np.flatnonzero(drawn[number] >= np.array(there))
            absent |= {(int(day) - 1, shift.name, position) for day in missing}
    return absent
