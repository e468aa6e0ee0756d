"""Pure scheduling policy: what is due when, and what goes onto the next plate."""

from scheduler.closing import POLICIES, Closing, Line, judge
from scheduler.deadlines import Tier, TierRules, at_risk, clock_start, due_at, slack, turnaround
from scheduler.fill import FillRules, Plan, Wait, WellPlan, fill_plate, urgency, weight
from scheduler.jobs import Expected, Job, ScheduleError, Stage
from scheduler.plates import PlateTemplate, templates_from_toml
from scheduler.shifts import Rota, Shift, windows, without

__all__ = [
    "POLICIES",
    "Closing",
    "Expected",
    "FillRules",
    "Job",
    "Line",
    "Plan",
    "PlateTemplate",
    "Rota",
    "ScheduleError",
    "Shift",
    "Stage",
    "Tier",
    "TierRules",
    "Wait",
    "WellPlan",
    "at_risk",
    "clock_start",
    "due_at",
    "fill_plate",
    "judge",
    "slack",
    "templates_from_toml",
    "turnaround",
    "urgency",
    "weight",
    "windows",
    "without",
]
