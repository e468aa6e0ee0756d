"""What a laboratory's own past says about its times and shares, and how well it says it.

Times are kept as they were (empirical distributions, smoothed: `sim.service.smooth`); work in progress goes
on with what is left of them (`sim.now.left_of`). Every parameter names its source: `events`, or `reference`
where there was too little to learn from; whoever reads the forecast sees which is which.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from scheduler import FillRules
from sim import habits
from sim.courses import as_courses, usual_model
from sim.duty import MACHINE_KINDS, Duty, Machines, Wear
from sim.habits import Attendance
from sim.now import Course, Floats, Model, Step, Tide
from sim.service import Service, stream

LEAST_TIMES = 20
LEAST_TESTS = 30
"""Fewer times or tests than these say too little; the reference stays."""

MOST_TIMES = 1000
"""The newest so many times are kept."""

IDLE = 5.0
"""A plate that found a cycler which had been idle for so many minutes did not wait for one."""

REFERENCE = "fever-clinic"
"""The shipped scenario whose stations and specimens speak where a laboratory has no past."""

DAY = 1440.0


@dataclass(frozen=True, slots=True)
class Run:
    """One plate of the past; minutes, NaN for what has not happened.

    Attributes:
        formed, started, read: when it was made, put into a cycler, and when its file was read.
        valid: whether its controls held.
        cycler: into which it was put.
    """

    formed: float
    started: float
    read: float
    valid: bool = True
    cycler: str = ""


@dataclass(frozen=True, slots=True)
class Passage:
    """One test of one tube of the past, and what followed.

    Attributes:
        kind: `single`, `mixed` or `pool`; `first`: whether it was the tube's first test.
        next: a course as in `sim.now.Course`; `test`, `priority` and `hours` of the retest.
        reporting: minutes from the reading to the report; NaN without one.
        read: minute of the reading; NaN where it is not known.
    """

    kind: str
    first: bool
    next: str
    test: str = ""
    priority: int = 0
    hours: float = 0.0
    reporting: float = float("nan")
    read: float = float("nan")


@dataclass(frozen=True, slots=True)
class Past:
    """What happened between two minutes; minutes count from a midnight.

    Attributes:
        start, end: of the window.
        runs: plates, oldest first; `passages` tests, oldest first.
        came: (minute, priority, hours until due, persons) of every tube that was received.
        travels: minutes from sealing to receipt.
        cyclers: how many machines there are now; 0 when only the runs tell.
        attendance: who was there, and what was out of service.
    """

    start: float
    end: float
    runs: tuple[Run, ...] = ()
    passages: tuple[Passage, ...] = ()
    came: tuple[tuple[float, int, float, int], ...] = ()
    travels: tuple[float, ...] = ()
    cyclers: int = 0
    attendance: Attendance = field(default_factory=Attendance)


@dataclass(frozen=True, slots=True)
class Fit:
    """One parameter and how far it can be trusted.

    Attributes:
        name: of the parameter.
        source: `events` or `reference`.
        n: events it rests on.
        p10, p50, p90: of a time, in minutes; of a share or a count its value three times.
        distance: Kolmogorov-Smirnov distance between the earlier half of the events and the later half,
            which was held back; NaN without two halves.
        limit: the distance that two samples of one distribution exceed in 1 of 100 cases.
    """

    name: str
    source: str
    n: int
    p10: float
    p50: float
    p90: float
    distance: float = float("nan")
    limit: float = float("nan")

    @property
    def fits(self) -> bool | None:
        """Whether the later half looks like the earlier one; None when that cannot be said."""
        return None if np.isnan(self.distance) else bool(self.distance <= self.limit)


@dataclass(frozen=True)
class Calibration:
    """A laboratory learned from its past, with the report on fit.

    Attributes:
        absence: chance that somebody on the plan does not come to a shift.
    """

    model: Model
    fits: tuple[Fit, ...]
    absence: float = habits.ABSENCE

    def attended(
        self,
        duties: Mapping[str, Duty],
        out: Sequence[tuple[float, float | None]] = (),
        machines: Sequence[Machines] = (),
    ) -> "Calibration":
        """The same with who is planned, and with what is out of service.

        Args:
            duties: people at `reception` and at each step.
            out: since and until when cyclers are out.
            machines: the other ones, by kind.
        """
        own = {name: replace(duty, absence=self.absence) for name, duty in duties.items()}
        steps = [
            replace(
                step,
                duty=own.get(step.name, step.duty),
                wear=replace(step.wear, out=tuple(out)) if step.reads else step.wear,
                machines=tuple(one for one in machines if MACHINE_KINDS[one.kind][0] == step.name),
            )
            for step in self.model.steps
        ]
        model = replace(self.model, steps=tuple(steps), reception=own.get("reception"))
        return replace(self, model=model)


def ks_distance(one: ArrayLike, other: ArrayLike) -> float:
    """Largest difference between the distribution functions of two samples."""
    first, second = np.sort(np.asarray(one, float)), np.sort(np.asarray(other, float))
    at = np.concatenate([first, second])
    shares = [np.searchsorted(part, at, side="right") / part.size for part in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max())


def ks_limit(n: int, m: int) -> float:
    """Distance that samples of n and m values of one distribution exceed in 1 of 100 cases (asymptotic)."""
    return 1.628 * float(np.sqrt((n + m) / (n * m)))


def reference(fill: FillRules | None = None) -> Model:
    """The laboratory where nothing is known: stations and specimens of a shipped scenario.

    Args:
        fill: the filling rules of the bench; the scenario's own without it.
    """
    made = usual_model(REFERENCE)
    return made if fill is None else replace(made, fill=fill)


def _measured(minutes: Floats) -> Service:
    return Service("smoothed", values=tuple(minutes.tolist()))


def calibrate(past: Past, base: Model) -> Calibration:
    """Learn what the past tells; keep `base` where it tells too little.

    Args:
        past: what happened.
        base: the reference, with three steps: prepare, cycler, review; and the filling rules of the bench.
    """
    prepare, cycler, review = base.steps
    machines = _machines(past, cycler.servers)
    fits: list[Fit] = []
    runs = [run for run in past.runs if not np.isnan(run.started)]
    unblocked = _not_blocked(runs, machines)
    made = _timed("prepare", unblocked, prepare.service, fits)
    cycling = _timed("cycler", [run.read - run.started for run in runs], cycler.service, fits)
    review = _review(past, review, fits)
    travel = _timed("travel", past.travels, base.travel, fits)
    places = _places(past, made, prepare.servers, fits)
    known = past.cyclers or len({run.cycler for run in runs})
    fits.append(_value("cyclers", machines, known, seen=known > 0))
    away, wear = _unknown(past, fits)
    model = replace(
        base,
        steps=(
            _prepare(past, replace(prepare, service=made, servers=places), fits),
            replace(cycler, service=cycling, servers=machines, wear=wear),
            review,
        ),
        courses={name: _courses(name, past, base.courses[name], fits) for name in base.courses},
        failing=_failing(past, base.failing, fits),
        travel=travel,
        tide=_tide(past, fits),
    )
    return Calibration(model, tuple(fits), away)


def _hours(past: Past, station: str, fits: list[Fit]) -> tuple[bool, ...]:
    """In which hours somebody works at a station, as far as the log tells; a plan goes before it."""
    seen = past.attendance
    hours = habits.working_hours(seen, station, past.start, past.end)
    acts = sum(where == station for _, where, _ in seen.acts)
    fits.append(_value(f"hours {station}", sum(hours) or habits.HOURS, acts, seen=bool(acts)))
    return hours


def _prepare(past: Past, step: Step, fits: list[Fit]) -> Step:
    """Preparation in the hours in which people work, and how many plates one of them attends to."""
    runs = [run for run in past.runs if not np.isnan(run.started)]
    level = habits.people_at(past.attendance, step.name, past.start, past.end)
    formed, started = (np.array([getattr(run, name) for run in runs]) for name in ("formed", "started"))
    planned = step.name in past.attendance.on and len(runs) >= LEAST_TIMES
    each = habits.plates_each(level if planned else None, formed, started)
    return replace(step, hours=_hours(past, step.name, fits), each=each)


def _review(past: Past, step: Step, fits: list[Fit]) -> Step:
    """Minutes with a reviewer there, from reading to report; by parts of the day where they differ."""
    seen, start, end = past.attendance, past.start, past.end
    own = [one for one in past.passages if one.next == "review" and not np.isnan(one.reporting)]
    hours = _hours(past, step.name, fits)
    level = habits.people_at(seen, step.name, start, end)
    minutes = np.array(
        [
            one.reporting
            if level is None or np.isnan(one.read)
            else level.worked(one.read, one.read + one.reporting)
            for one in own
        ]
    )
    service = _timed(step.name, minutes.tolist(), step.service, fits)
    if not own:
        return replace(step, service=service, hours=hours)
    parts = habits.parts_of_day(np.array([one.read for one in own]), minutes)
    differ = [part.size >= LEAST_TIMES and _differs(part, minutes) for part in parts]
    fits += [
        Fit(f"review, part {number} of the day", "events", part.size, *_tenths(part))
        for number, (part, other) in enumerate(zip(parts, differ, strict=True), start=1)
        if other
    ]
    blocks = tuple(
        _measured(part[-MOST_TIMES:]) if other else service for part, other in zip(parts, differ, strict=True)
    )
    return replace(step, service=service, hours=hours, blocks=blocks if any(differ) else ())


def _differs(part: Floats, whole: Floats) -> bool:
    return ks_distance(part, whole) > ks_limit(part.size, whole.size)


def _unknown(past: Past, fits: list[Fit]) -> tuple[float, Wear]:
    """How often people do not come and cyclers break down without anybody having said so before."""
    seen = past.attendance
    away, own = habits.absence(seen)
    fits.append(_value("absence", away, int(seen.shifts), seen=own))
    breaks, own = habits.breakdowns(seen)
    fits.append(_value("breakdowns a day", breaks, int(seen.machine_days), seen=own))
    return away, Wear(chance=breaks, repair=habits.repair(seen))


def _timed(name: str, minutes: Iterable[float], instead: Service, fits: list[Fit]) -> Service:
    """Times as they were, the newest ones; and how alike their earlier and later halves are."""
    seen = np.array([one for one in minutes if not np.isnan(one) and one >= 0][-MOST_TIMES:])
    if seen.size < LEAST_TIMES:
        drawn = instead.draw(500, stream(1, 0, f"fit {name}"))
        fits.append(Fit(name, "reference", int(seen.size), *_tenths(drawn)))
        return instead
    early, late = seen[: seen.size // 2], seen[seen.size // 2 :]
    distance, limit = ks_distance(early, late), ks_limit(early.size, late.size)
    fits.append(Fit(name, "events", int(seen.size), *_tenths(seen), distance, limit))
    return _measured(seen)


def _tenths(values: Floats) -> tuple[float, float, float]:
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9)).tolist()
    return low, middle, high


def _value(name: str, value: float, n: int, *, seen: bool) -> Fit:
    return Fit(name, "events" if seen else "reference", n, value, value, value)


def _machines(past: Past, instead: int) -> int:
    """Cyclers there are, and no fewer than ever ran at once."""
    runs = [run for run in past.runs if not np.isnan(run.started)]
    named = len({run.cycler for run in runs if run.cycler})
    return max(past.cyclers or named, 1) if (past.cyclers or named) else instead


def _not_blocked(runs: Sequence[Run], machines: int) -> list[float]:
    """Minutes of preparation of plates that did not wait for a cycler: one had been idle for a while."""
    found = []
    starts = np.array([run.started for run in runs])
    ends = np.array([run.read if not np.isnan(run.read) else np.inf for run in runs])
    for run in runs:
        at = run.started - IDLE
        if int(((starts <= at) & (ends > at)).sum()) < machines:
            found.append(run.started - run.formed)
    return found


def _places(past: Past, service: Service, instead: int, fits: list[Fit]) -> int:
    """Plates that were ever prepared at once; work beyond the 90 % time is taken for waiting."""
    runs = [run for run in past.runs if not np.isnan(run.formed)]
    if len(runs) < LEAST_TIMES:
        fits.append(_value("places", instead, len(runs), seen=False))
        return instead
    draws = service.draw(500, stream(1, 0, "places"))
    usual = float(np.quantile(draws, 0.9))
    begins = np.array([run.formed for run in runs])
    started = np.array([run.started for run in runs])
    ends = np.fmin(started, begins + usual)
    most = int(max((((begins <= at) & (ends > at)).sum()) for at in begins))
    fits.append(_value("places", most, len(runs), seen=True))
    return max(most, 1)


def _courses(name: str, past: Past, instead: tuple[Course, ...], fits: list[Fit]) -> tuple[Course, ...]:
    """How often each course was taken after such tests."""
    kind, test = name.split()
    own = [one for one in past.passages if one.kind == kind and one.first == (test == "first")]
    seen = len(own) >= LEAST_TESTS
    found = instead
    if seen:
        hours = _usual_hours(own)
        keys = ((one.next, one.test, one.priority) for one in own)
        found = as_courses(Counter((*key, hours[key]) for key in keys))
    again = sum(course.share for course in found if course.next in ("retest", "recollect"))
    fits.append(_value(f"again after {name}", again, len(own), seen=seen))
    return found


def _usual_hours(passages: Sequence[Passage]) -> dict[tuple[str, str, int], float]:
    """Hours that each course usually gave the next test."""
    given: dict[tuple[str, str, int], list[float]] = {}
    for one in passages:
        given.setdefault((one.next, one.test, one.priority), []).append(one.hours)
    return {key: float(np.median(hours)) for key, hours in given.items()}


def _failing(past: Past, instead: float, fits: list[Fit]) -> float:
    """Share of runs whose controls failed, drawn a little to the reference."""
    read = [run for run in past.runs if not np.isnan(run.read)]
    seen = len(read) >= LEAST_TIMES
    # few plates fail, so a month without one does not mean that none will: the reference weighs 20 plates
    bad = sum(not run.valid for run in read)
    found = (bad + 20 * instead) / (len(read) + 20) if seen else instead
    fits.append(_value("failing plates", found, len(read), seen=seen))
    return found


def _tide(past: Past, fits: list[Fit]) -> Tide:
    """Tubes received in each hour of the day; without a whole day of them none is foreseen."""
    days = (past.end - past.start) / DAY
    if days < 1 or len(past.came) < LEAST_TESTS:
        fits.append(_value("arrivals a day", 0.0, len(past.came), seen=False))
        return Tide()
    minutes = np.array([one[0] for one in past.came])
    hours = np.arange(int(past.start // 60), int(np.ceil(past.end / 60))) % 24
    counts = np.bincount((minutes % DAY // 60).astype(int), minlength=24) / np.bincount(hours, minlength=24)
    tiers = Counter((one[1], one[2]) for one in past.came)
    shares = tuple((count / len(past.came), priority, hours) for (priority, hours), count in tiers.items())
    persons = float(np.mean([one[3] for one in past.came]))
    middle = minutes.size // 2
    early, late = (np.sort(part % DAY) for part in (minutes[:middle], minutes[middle:]))
    limit = ks_limit(early.size, late.size)
    total = float(counts.sum())
    distance = ks_distance(early, late)
    fits.append(Fit("arrivals a day", "events", len(past.came), total, total, total, distance, limit))
    return Tide(tuple(counts.tolist()), shares, persons)
