"""What the laboratory can still take, and when everybody will be told: forecasts from the live state."""

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

__all__ = [
    "FRESH",
    "REPLICATIONS",
    "SHARES",
    "Foretold",
    "Order",
    "Situation",
    "document",
    "fit_json",
    "foretell",
    "fresh",
    "keep",
    "learned",
    "look",
    "past",
    "situation",
]
