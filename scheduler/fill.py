"""What goes onto the next plate, or how long to wait for more."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from scheduler.closing import FOREVER, Closing, Line, judge
from scheduler.jobs import Expected, Job, ScheduleError, Stage, check_aware
from scheduler.plates import PlateTemplate, well_place


@dataclass(frozen=True, slots=True)
class FillRules:
    """How plates are filled and when a partial plate closes.

    Attributes:
        template: the plate.
        min_fill: tubes a plate must hold before waiting alone closes it.
        max_wait_minutes: longest wait of a tube before a plate of `min_fill` closes.
        order: `column` (A1, B1, ...) or `row` (A1, A2, ...).
        minutes_to_report: from closing a plate to its reports; subtracted from every due time.
        steps: `mixed` puts RNA to be re-amplified into the wells behind the extracted tubes; `separate` never
            puts both on one plate.
        policy: when a partial plate closes, one of `scheduler.closing.POLICIES`.
        waves: minutes of the day (of the zone of `now`) for the policy `waves`.
        empty_well_minutes: an empty well is worth this many tube-minutes of waiting (policy `cost`).
        late_weight: a minute of lateness weighs as much as so many minutes of waiting (policy `cost`).
        per_minute: tubes expected a minute (policy `cost`); None: judged by those that wait.
        queued: plates that wait for a machine already (policy `cost`).
    """

    template: PlateTemplate
    min_fill: int = 24
    max_wait_minutes: float = 60.0
    order: str = "column"
    minutes_to_report: float = 180.0
    steps: str = "mixed"
    policy: str = "cost"
    waves: tuple[float, ...] = ()
    empty_well_minutes: float = 30.0
    late_weight: float = 20.0
    per_minute: float | None = None
    queued: int = 0

    def __post_init__(self) -> None:
        if self.order not in ("column", "row"):
            raise ScheduleError(
                "BAD_RULES",
                f"Fill order is column or row, not {self.order!r}.",
                f"加样顺序现为 {self.order!r}，须为 column（按列）或 row（按行）。",
            )
        if self.steps not in ("mixed", "separate"):
            raise ScheduleError(
                "BAD_RULES",
                f"Steps are mixed or separate, not {self.steps!r}.",
                f"steps 现为 {self.steps!r}，须为 mixed 或 separate。",
            )
        _ = self.closing

    @property
    def closing(self) -> Closing:
        """The part that says when a plate closes; checked when it is made."""
        return Closing(
            policy=self.policy,
            min_fill=self.min_fill,
            max_wait_minutes=self.max_wait_minutes,
            minutes_to_report=self.minutes_to_report,
            empty_well_minutes=self.empty_well_minutes,
            late_weight=self.late_weight,
            waves=self.waves,
        )


@dataclass(frozen=True, slots=True)
class WellPlan:
    """One well: a tube or a control.

    `batch` is the extraction batch whose EC speaks for the well; None for RNA extracted on an earlier plate.
    """

    well: str
    tube: str | None
    control: str | None
    batch: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """The next plate.

    Attributes:
        template: id of the template.
        assay: the one assay of the plate; `kit` its kit, empty for the usual one.
        wells: used wells in fill order of the plate, controls among them.
        left: jobs not on this plate, most urgent first.
        reasons: sentences why the plate closes now.
        closed_by: `full`, `slack`, `waited`, `cost` or `wave`.
    """

    template: str
    assay: str
    kit: str
    wells: tuple[WellPlan, ...]
    left: tuple[Job, ...]
    reasons: tuple[str, ...]
    closed_by: str

    @property
    def tubes(self) -> tuple[str, ...]:
        """Tubes on the plate, in fill order."""
        return tuple(well.tube for well in self.wells if well.tube is not None)


@dataclass(frozen=True, slots=True)
class Wait:
    """No plate yet: ask again at `until`, or when another tube arrives.

    `reason` is `no jobs` or `filling`.
    """

    until: datetime
    reason: str


def urgency(job: Job) -> tuple[int, datetime, datetime, tuple[str, ...], int]:
    """Sort key: higher priority, then earlier due, then longer waiting; every other field breaks ties."""
    names = (job.tube, job.assay, job.kit, job.step, job.reason, job.tier)
    return (-job.priority, job.due, job.received, names, job.persons)


def weight(job: Job) -> int:
    """What a minute of waiting of this job weighs: the persons behind it, twice when they are held."""
    return job.persons * (1 if job.reason == "first" else 2)


def fill_plate(
    jobs: Iterable[Job], rules: FillRules, now: datetime, expected: Sequence[Expected] = ()
) -> Plan | Wait:
    """Choose the jobs of the next plate, or say until when to wait.

    A plate holds one assay and one kit: those of the most urgent job whose plate may close. A full plate
    closes at once; when a partial one closes, the policy of the rules says (`scheduler.closing`). A tube
    comes onto a plate once; its further jobs stay in `left`. The same jobs give the same plate in
    whatever order they come.

    Args:
        jobs: what waits.
        rules: how plates are filled.
        now: the moment.
        expected: jobs foreseen from running plates; the policy `cost` weighs waiting for them.
    """
    check_aware("now", now)
    line = sorted(jobs, key=_received_first if rules.policy == "fifo-full" else urgency)
    if not line:
        return Wait(now + timedelta(minutes=rules.max_wait_minutes), "no jobs")
    closing = rules.closing
    soonest = FOREVER
    for candidates in _plates(line, rules, now):
        code, minutes = judge(_line(candidates, rules, now, expected), closing)
        if code:
            return _plan(line, candidates, (code, _sentence(code, candidates, rules)), rules)
        soonest = min(soonest, minutes)
    return Wait(now + timedelta(minutes=soonest), "filling")


def _received_first(job: Job) -> tuple[datetime, tuple[int, datetime, datetime, tuple[str, ...], int]]:
    return (job.received, urgency(job))


def _plates(line: Sequence[Job], rules: FillRules, now: datetime) -> list[list[Job]]:
    """For each assay and kit (and step, when separate) the jobs one plate could take, most urgent first."""
    groups: dict[tuple[str, str, str], dict[str, Job]] = {}
    for job in _came_in_time(line, rules, now):
        step = job.step if rules.steps == "separate" else ""
        groups.setdefault((job.assay, job.kit, step), {}).setdefault(job.tube, job)
    room = len(rules.template.sample_wells(rules.order))
    return [list(group.values())[:room] for group in groups.values()]


def _came_in_time(line: Sequence[Job], rules: FillRules, now: datetime) -> Sequence[Job]:
    """Under waves what came before the last one; all of it when that is nothing."""
    if rules.policy != "waves":
        return line
    minute = _minute(now)
    last = max((wave for wave in rules.waves if wave <= minute), default=rules.waves[-1] - 1440)
    return [job for job in line if _minutes(now - job.received) >= minute - last] or line


def _minute(now: datetime) -> float:
    return now.hour * 60 + now.minute + (now.second + now.microsecond / 1e6) / 60


def _minutes(span: timedelta) -> float:
    return span / timedelta(minutes=1)


def _line(candidates: Sequence[Job], rules: FillRules, now: datetime, expected: Sequence[Expected]) -> Line:
    own = [one for one in expected if one.assay == candidates[0].assay]
    coming = sorted((max(_minutes(one.at - now), 0.0), one.count) for one in own)
    return Line(
        count=len(candidates),
        room=len(rules.template.sample_wells(rules.order)),
        due=_minutes(min(job.due for job in candidates) - now),
        waited=_minutes(now - min(job.received for job in candidates)),
        minute=_minute(now),
        per_minute=rules.per_minute,
        each=lambda: [(_minutes(job.due - now), weight(job)) for job in candidates],
        queued=rules.queued,
        coming=tuple(coming),
    )


def _sentence(code: str, candidates: Sequence[Job], rules: FillRules) -> str:
    """Why the plate closes, for the technician."""
    count = f"{len(candidates)} of {len(rules.template.sample_wells(rules.order))} wells"
    if code == "slack":
        pressing = min(candidates, key=lambda job: (job.due, job.tube))
        return f"Tube {pressing.tube} is due at {pressing.due.isoformat()} and cannot wait: {count}."
    if code == "waited":
        oldest = min(candidates, key=lambda job: (job.received, job.tube))
        return f"Tube {oldest.tube} has waited {rules.max_wait_minutes:g} minutes: {count}."
    return {
        "full": f"The plate is full: {count}.",
        "cost": f"Waiting for more tubes would cost more than the empty wells: {count}.",
        "wave": f"The wave is closed: {count}.",
    }[code]


def _plan(line: Sequence[Job], chosen: Sequence[Job], closing: tuple[str, str], rules: FillRules) -> Plan:
    # RNA from an earlier plate goes behind the tubes, so that extraction batches stay without gaps.
    ordered = sorted(chosen, key=lambda job: job.step == Stage.RE_AMPLIFY)
    template = rules.template
    free = template.sample_wells(rules.order)
    filled = [_sample(job, well, template) for job, well in zip(ordered, free, strict=False)]
    wells = [*filled, *_controls(filled, template)]
    return Plan(
        template=template.id,
        assay=chosen[0].assay,
        kit=chosen[0].kit,
        wells=tuple(sorted(wells, key=lambda plan: _order(plan.well, rules))),
        left=_left(line, chosen),
        reasons=(closing[1],),
        closed_by=closing[0],
    )


def _left(line: Sequence[Job], chosen: Sequence[Job]) -> tuple[Job, ...]:
    """What is not on the plate; a job given twice is on it once and left once."""
    placed = list(chosen)
    left = []
    for job in line:
        if placed and job == placed[0]:
            placed.pop(0)
        else:
            left.append(job)
    return tuple(left)


def _sample(job: Job, well: str, template: PlateTemplate) -> WellPlan:
    extracted = job.step == Stage.EXTRACT
    return WellPlan(well, job.tube, None, template.batch(well) if extracted else None)


def _controls(filled: Sequence[WellPlan], template: PlateTemplate) -> list[WellPlan]:
    """Controls of every batch in use; an EC only where something is extracted beside it."""
    used = {1} | {template.batch(plan.well) for plan in filled}
    extracted = {plan.batch for plan in filled}
    return [
        WellPlan(well, None, kind, batch)
        for kind, well in template.controls
        if (batch := template.batch(well)) in (extracted if kind == "EC" else used)
    ]


def _order(well: str, rules: FillRules) -> tuple[int, int]:
    row, column = well_place(well, rules.template.size)
    return (column, row) if rules.order == "column" else (row, column)
