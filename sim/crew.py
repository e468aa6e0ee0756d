"""Who is there: staff without the absent, machines without their days out of order."""

import numpy as np

from scheduler.shifts import windows, without
from sim.scenario import DAY
from sim.servers import Rostered
from sim.spec import Bench, Laboratory, Staff
from sim.specimens import by_day


def crew(bench: Bench, lab: Laboratory, days: int, rng: np.random.Generator) -> Rostered:
    """The servers of a station with their windows; one more server changes nothing for the others.

    Args:
        bench: the station.
        lab: its laboratory, for the staff.
        days: days to lay out.
        rng: drawn from server by server.
    """
    if not bench.staff:
        always = [(0.0, float(days * DAY))]
        out = days_out(bench, days, rng)
        return Rostered([without(always, [(day, day + DAY) for day in own]) for own in out])
    staff = lab.staff[bench.staff]
    return Rostered(windows(staff.rota, days, absences(staff, days, rng)), staff.rota.ending)


def days_out(bench: Bench, days: int, rng: np.random.Generator) -> list[list[float]]:
    """For every machine the midnights of the days on which it is out of order."""
    return [
        (np.flatnonzero(rng.uniform(size=days) < bench.down) * float(DAY)).tolist()
        for _ in range(bench.servers)
    ]


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
