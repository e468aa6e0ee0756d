"""The digital twin: what a laboratory day brings, drawn from a scenario."""

from sim.arrivals import Arrival, arrival_minutes
from sim.html import page
from sim.plan import Plan, plan
from sim.plan_page import plan_document
from sim.refusal import ScenarioError
from sim.report import Report, StationLog
from sim.run import load, replicate, shipped_scenarios, simulate, step_of, warmed
from sim.scenario import Chemistry, Injections, Quantiles, Scenario, Stream
from sim.study import Study, compare, compared, document
from sim.truth import (
    BORDERLINE,
    INVALID,
    PLAIN,
    Day,
    control_cq,
    draw_day,
    person_cq,
    pool_cq,
    reading_rng,
    specimen_cq,
    tube_cq,
)

__all__ = [
    "BORDERLINE",
    "INVALID",
    "PLAIN",
    "Arrival",
    "Chemistry",
    "Day",
    "Injections",
    "Plan",
    "Quantiles",
    "Report",
    "Scenario",
    "ScenarioError",
    "StationLog",
    "Stream",
    "Study",
    "arrival_minutes",
    "compare",
    "compared",
    "control_cq",
    "document",
    "draw_day",
    "load",
    "page",
    "person_cq",
    "plan",
    "plan_document",
    "pool_cq",
    "reading_rng",
    "replicate",
    "shipped_scenarios",
    "simulate",
    "specimen_cq",
    "step_of",
    "tube_cq",
    "warmed",
]
