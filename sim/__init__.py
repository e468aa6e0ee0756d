"""The digital twin: what a laboratory day brings, drawn from a scenario."""

from sim.arrivals import Arrival, ScenarioError, arrival_minutes
from sim.scenario import Chemistry, Injections, Quantiles, Scenario, Stream
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
    "Quantiles",
    "Scenario",
    "ScenarioError",
    "Stream",
    "arrival_minutes",
    "control_cq",
    "draw_day",
    "person_cq",
    "pool_cq",
    "reading_rng",
    "specimen_cq",
    "tube_cq",
]
