"""What the laboratory can still take, and when everybody will be told: forecasts from the live state."""

from lis.services.capacity.admitting import MODES, Wish, admission_json, ask, check
from lis.services.capacity.attending import by_hour
from lis.services.capacity.foretelling import (
    FRESH,
    REPLICATIONS,
    SHARES,
    Foretold,
    Order,
    Situation,
    document,
    fit_json,
    foretell,
    fresh,
    keep,
    look,
)
from lis.services.capacity.gathering import learned, past, situation
from lis.services.capacity.lateness import CAUSES, GATES, gate_after, outlook
from lis.services.capacity.scoring import forget, scores

__all__ = [
    "CAUSES",
    "FRESH",
    "GATES",
    "MODES",
    "REPLICATIONS",
    "SHARES",
    "Foretold",
    "Order",
    "Situation",
    "Wish",
    "admission_json",
    "ask",
    "by_hour",
    "check",
    "document",
    "fit_json",
    "foretell",
    "forget",
    "fresh",
    "gate_after",
    "keep",
    "learned",
    "look",
    "outlook",
    "past",
    "scores",
    "situation",
]
