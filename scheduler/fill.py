"""What goes onto the next plate, or how long to wait for more."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from scheduler.jobs import Job, ScheduleError, Stage, check_aware
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
    """

    template: PlateTemplate
    min_fill: int = 24
    max_wait_minutes: float = 60.0
    order: str = "column"
    minutes_to_report: float = 180.0
    steps: str = "mixed"

    def __post_init__(self) -> None:
        if self.order not in ("column", "row"):
            raise ScheduleError("BAD_RULES", f"Fill order is column or row, not {self.order!r}.")
        if self.steps not in ("mixed", "separate"):
            raise ScheduleError("BAD_RULES", f"Steps are mixed or separate, not {self.steps!r}.")
        if self.min_fill < 1 or self.max_wait_minutes < 0 or self.minutes_to_report < 0:
            raise ScheduleError(
                "BAD_RULES", "Minimum fill starts at 1; waiting and working times are not negative."
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
        closed_by: `full`, `slack` or `waited`.
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


def fill_plate(jobs: Iterable[Job], rules: FillRules, now: datetime) -> Plan | Wait:
    """Choose the jobs of the next plate, or say until when to wait.

    A plate holds one assay and one kit: those of the most urgent job whose plate may close. A full plate
    closes at once. A partial one closes when the slack of its most pressing job is used up, whatever its
    fill, or when a job has waited `max_wait_minutes` and `min_fill` is reached. A tube comes onto a plate
    once; its further jobs stay in `left`. The same jobs give the same plate in whatever order they come.
    """
    check_aware("now", now)
    line = sorted(jobs, key=urgency)
    if not line:
        return Wait(now + timedelta(minutes=rules.max_wait_minutes), "no jobs")
    untils = []
    for candidates in _plates(line, rules):
        closing = _closing(candidates, rules, now)
        if closing is not None:
            return _plan(line, candidates, closing, rules)
        untils.append(_next_closing(candidates, rules))
    return Wait(min(untils), "filling")


def _plates(line: Sequence[Job], rules: FillRules) -> list[list[Job]]:
    """For each assay and kit (and step, when separate) the jobs one plate could take, most urgent first."""
    groups: dict[tuple[str, str, str], dict[str, Job]] = {}
    for job in line:
        step = job.step if rules.steps == "separate" else ""
        groups.setdefault((job.assay, job.kit, step), {}).setdefault(job.tube, job)
    room = len(rules.template.sample_wells(rules.order))
    return [list(group.values())[:room] for group in groups.values()]


def _last_start(candidates: Sequence[Job], rules: FillRules) -> datetime:
    """When the plate must close for its earliest report to be in time."""
    return min(job.due for job in candidates) - timedelta(minutes=rules.minutes_to_report)


def _longest_wait(candidates: Sequence[Job], rules: FillRules) -> datetime:
    """When the oldest job has waited as long as the rules allow."""
    return min(job.received for job in candidates) + timedelta(minutes=rules.max_wait_minutes)


def _closing(candidates: Sequence[Job], rules: FillRules, now: datetime) -> tuple[str, str] | None:
    """Why a plate of these jobs closes now (code, sentence), or None."""
    room = len(rules.template.sample_wells(rules.order))
    count = f"{len(candidates)} of {room} wells"
    if len(candidates) == room:
        return "full", f"The plate is full: {count}."
    if now >= _last_start(candidates, rules):
        pressing = min(candidates, key=lambda job: (job.due, job.tube))
        return "slack", f"Tube {pressing.tube} is due at {pressing.due.isoformat()} and cannot wait: {count}."
    if len(candidates) >= rules.min_fill and now >= _longest_wait(candidates, rules):
        oldest = min(candidates, key=lambda job: (job.received, job.tube))
        return "waited", f"Tube {oldest.tube} has waited {rules.max_wait_minutes:g} minutes: {count}."
    return None


def _next_closing(candidates: Sequence[Job], rules: FillRules) -> datetime:
    last = _last_start(candidates, rules)
    if len(candidates) < rules.min_fill:
        return last
    return min(last, _longest_wait(candidates, rules))


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
