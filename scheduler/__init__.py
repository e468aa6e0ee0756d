"""Pure scheduling policy: what is due when, and what goes onto the next plate."""

from scheduler.deadlines import Tier, TierRules, at_risk, clock_start, due_at, slack, turnaround
from scheduler.fill import FillRules, Plan, Wait, WellPlan, fill_plate, urgency
from scheduler.jobs import Job, ScheduleError, Stage
from scheduler.plates import PlateTemplate, templates_from_toml

__all__ = [
    "FillRules",
    "Job",
    "Plan",
    "PlateTemplate",
    "ScheduleError",
    "Stage",
    "Tier",
    "TierRules",
    "Wait",
    "WellPlan",
    "at_risk",
    "clock_start",
    "due_at",
    "fill_plate",
    "slack",
    "templates_from_toml",
    "turnaround",
    "urgency",
]
