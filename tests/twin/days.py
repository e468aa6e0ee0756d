"""Simulated days as a laboratory's log would have them: what was known at a minute, and what the past says."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace

import numpy as np

from scheduler import FillRules, Rota, Shift
from scheduler.shifts import pieces
from sim import load, simulate
from sim.calibrate import Passage, Past, Run
from sim.crew import absences, days_out
from sim.duty import Duty, Machines, Turn, Wear
from sim.habits import Attendance
from sim.lab import DRAIN_DAYS
from sim.now import IN_REVIEW, ON_PLATE, WAITING, InWork, State
from sim.scenario import DAY
from sim.service import Service, stream
from sim.spec import Staff
from sim.stations import Bench

RETEST = (40, 6.0)


def a_laboratory(tubes=1200, policy="urgency"):
    """Five stations, two tiers, tubes of one and of ten persons; a forecast knows none of its parameters."""
    base = load("fever-clinic")
    fever, voluntary = base.streams
    streams = (
        replace(fever, tubes=tubes // 6, start=420, end=1200, prevalence_start=0.05, prevalence_end=0.05),
        replace(
            voluntary, tubes=tubes - tubes // 6, mode="mixed", places=10, lab_pool=0, start=420, end=1200
        ),
    )
    stations = (
        Bench("reception", Service("fixed", mean=0.0), unit="tube", servers=50),
        Bench("opening", Service("triangular", low=15, mode=20, high=27), servers=1),
        Bench("extraction", Service("uniform", low=29.1, high=30.9), servers=2),
        Bench("set-up", Service("uniform", low=8, high=20), servers=1),
        Bench("pcr", Service("uniform", low=85, high=95), servers=4, reads=True),
        Bench("review", Service("lognormal", mean=8.04, sd=3.93), servers=1, per_positive=1.0),
    )
    lab = replace(
        base.laboratory,
        days=1,
        fill=FillRules(base.laboratory.fill.template, policy=policy),
        recall=replace(base.laboratory.recall, show_up=0.0),
        stations=stations,
    )
    return replace(base, streams=streams, laboratory=lab)


def with_shifts(tubes=1200, policy="urgency"):
    """The same with people in three shifts a day, rests, absence and machines that break: `fever-clinic` as shipped."""
    made, base = a_laboratory(tubes, policy), load("fever-clinic").laboratory
    return replace(made, laboratory=replace(made.laboratory, stations=base.stations, staff=base.staff))


def closed_at_night(tubes=1200, policy="urgency"):
    """The same with nobody from 22:00 to 8:00, few people, much absence, and reviewers with shifts of their own."""
    made = with_shifts(tubes, policy)
    day, late = Shift("day", 480, 960, 2), Shift("evening", 960, 1320, 1)
    bench = Staff("bench", Rota((day, late), spell=240), absence=0.15)
    reading = Staff("reading", Rota((replace(day, people=1), late), spell=240), absence=0.05)
    stations = [
        replace(one, staff={"opening": "bench"}.get(one.name, one.staff)) for one in made.laboratory.stations
    ]
    stations[-1] = replace(stations[-1], servers=0, staff="reading")
    stations[-2] = replace(stations[-2], down=0.05)
    staff = {"bench": bench, "reading": reading}
    return replace(made, laboratory=replace(made.laboratory, stations=tuple(stations), staff=staff))


ROLES = {"opening": "prepare", "review": "review"}
"""Station of a scenario -> station of a forecast."""


def turns_of(staff, absent, days, now=float("inf")):
    """Shifts of some days: whoever is known at `now` not to come is left out."""
    found = []
    for day in days:
        for shift in staff.rota.shifts:
            on = tuple((day * DAY + a, day * DAY + b) for a, b in pieces(shift, staff.rota))
            for place in range(shift.people):
                if on[0][0] > now or (day, shift.name, place) not in absent:
                    found.append(Turn(on[0][0], on))
    return found


def moved(turns, minutes):
    """The same turns on another calendar."""
    return [Turn(t.begins + minutes, tuple((a + minutes, b + minutes) for a, b in t.windows)) for t in turns]


@dataclass
class Day:
    """One simulated day, tube by tube."""

    scenario: object
    report: object
    number: int
    seed: int = 3

    def crews(self):
        """(station of a forecast, its staff, who does not come) as the simulator drew it."""
        lab = self.scenario.laboratory
        for bench in lab.stations:
            if bench.staff:
                rng = stream(self.seed, self.number, f"duty {bench.name}")
                absent = absences(lab.staff[bench.staff], 1 + DRAIN_DAYS, rng)
                yield ROLES[bench.name], lab.staff[bench.staff], absent

    def duties(self, now):
        """Who is on duty, as a laboratory with a duty plan knows at a minute."""
        return {
            role: Duty(tuple(turns_of(staff, absent, range(-1, 8), now)), until=8.0 * DAY)
            for role, staff, absent in self.crews()
        }

    def out(self, now):
        """Cyclers out of service at a minute: (since, expected back)."""
        return self._out(self.scenario.laboratory.stations[self.scenario.laboratory.reads_at], now)

    def machines(self, now):
        """The machines before the cycler, and what is out of service among them, as a duty plan names them."""
        benches = {bench.name: bench for bench in self.scenario.laboratory.stations}
        own = benches["extraction"]
        return [Machines("extractor", own.servers, Wear(tuple(self._out(own, now)), own.down))]

    def _out(self, bench, now):
        rng = stream(self.seed, self.number, f"duty {bench.name}")
        found = days_out(bench.servers, bench.down, 1 + DRAIN_DAYS, rng) if bench.down else []
        return [(day, day + DAY) for own in found for day in own if day <= now < day + DAY]

    def __post_init__(self):
        report = self.report
        self.done = report.arrived + report.turnaround
        tiers = [self.scenario.laboratory.tiers.tier(tier) for tier, _ in report.groups]
        self.priority = np.array([tier.priority for tier in tiers])[report.group]
        self.hours = np.array([tier.hours for tier in tiers])[report.group]
        self.kind = np.array([int(mode == "mixed") for _, mode in report.groups])[report.group]
        self.said = defaultdict(list)
        for minute, tube, test, _, decision in report.decisions:
            self.said[tube].append((minute, test, decision))

    def past(self):
        """(runs, passages, arrivals) of the day, on the calendar of all days."""
        zero = self.number * DAY
        runs = [Run(zero + p.formed, zero + p.started, zero + p.read, p.valid) for p in self.report.plates]
        passages = []
        for tube, said in self.said.items():
            kind = ("single", "mixed")[self.kind[tube]]
            for minute, test, decision in said:
                first, reporting = test == "first", self.done[tube] - minute
                if decision == "Conclude":
                    how = "review" if reporting > 1 else "report"
                    made = Passage(kind, first, how, reporting=reporting, read=zero + minute)
                elif decision == "Recollect":
                    made = Passage(kind, first, "recollect")
                else:
                    made = Passage(kind, first, "retest", "re-extract", *RETEST)
                passages.append(made)
        persons = self.report.persons
        rows = zip(self.report.arrived, self.priority, self.hours, persons, strict=True)
        return runs, passages, [(zero + float(a), int(p), float(h), int(n)) for a, p, h, n in rows]

    def attended(self):
        """(acts, waits) of people at the bench and in review, on the calendar of all days."""
        zero, plates = self.number * DAY, self.report.plates
        acts = [(zero + plate.formed, "prepare", "somebody") for plate in plates]
        waits = {"prepare": [], "review": []}
        for plate in plates:
            since = float(np.min(self.report.arrived[list(plate.tubes)]))
            waits["prepare"].append((zero + since, zero + plate.formed))
        for tube, said in self.said.items():
            minute, _, decision = said[-1]
            if decision == "Conclude" and self.done[tube] > minute + 1:
                acts.append((zero + self.done[tube], "review", "somebody"))
                waits["review"].append((zero + minute, zero + self.done[tube]))
        return acts, waits

    def half_done(self):
        """The minute at which half of the day's tubes are done."""
        return float(np.median(self.done))

    def state(self, now):
        """What the laboratory knew at a minute: what had come and was not done."""
        open_ = np.flatnonzero((self.report.arrived <= now) & (self.done > now))
        place = {int(tube): n for n, tube in enumerate(open_)}
        where, plate = np.full(open_.size, WAITING), np.full(open_.size, -1)
        came, due = self.report.arrived[open_].copy(), self.report.due[open_].copy()
        priority, again = self.priority[open_].copy(), np.zeros(open_.size, dtype=bool)
        for tube, n in place.items():
            before = [one for one in self.said[tube] if one[0] <= now]
            if before and before[-1][2] == "Conclude":
                where[n], came[n] = IN_REVIEW, before[-1][0]
            elif before:
                again[n], priority[n] = True, max(priority[n], RETEST[0])
                due[n] = min(due[n], before[-1][0] + 60 * RETEST[1])
        works = []
        for log in self.report.plates:
            mine = [place[tube] for tube in log.tubes if tube in place]
            if log.read <= now and not log.valid:
                again[mine], priority[mine] = True, 60
            if log.formed <= now < log.read:
                where[mine], plate[mine] = ON_PLATE, len(works)
                started = log.started <= now
                works.append(InWork(int(started), now - (log.started if started else log.formed)))
        return State.of(
            now,
            tuple(str(tube) for tube in open_),
            tuple(works),
            where=where,
            came=came,
            due=due,
            promised=self.report.due[open_],
            priority=priority,
            persons=self.report.persons[open_],
            kind=self.kind[open_],
            again=again,
            plate=plate,
        )


def days(scenario, numbers, seed=3):
    """Days drawn one by one."""
    return [Day(scenario, simulate(scenario, seed, replication=n, record=True), n, seed) for n in numbers]


def attendance_of(many, *, planned):
    """Who was seen at work on these days; with a plan also who was on duty and who was missing."""
    acts, waits = [], {"prepare": (), "review": ()}
    on, shifts, missed = defaultdict(list), 0, 0
    for day in many:
        own, waited = day.attended()
        acts += own
        waits = {name: (*waits[name], *waited[name]) for name in waits}
        for role, staff, absent in day.crews() if planned else ():
            there, all_ = turns_of(staff, absent, [0]), turns_of(staff, (), [0])
            on[role] += moved(there, day.number * DAY)
            shifts, missed = shifts + len(all_), missed + len(all_) - len(there)
    duties = {role: Duty(tuple(turns)) for role, turns in on.items()}
    return Attendance(tuple(sorted(acts)), waits, duties, shifts, missed)


def past_of(many, cyclers, *, planned=False):
    """What a laboratory has learned on these days."""
    parts = [day.past() for day in many]
    runs, passages, came = ([one for part in parts for one in part[n]] for n in range(3))
    start = many[0].number * DAY
    seen = attendance_of(many, planned=planned)
    return Past(start, start + len(many) * DAY, tuple(runs), tuple(passages), tuple(came), (), cyclers, seen)
