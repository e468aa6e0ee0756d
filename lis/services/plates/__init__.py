"""Plates: what goes into which well, loading confirmed by scan, voiding before a run."""

from lis.services.plates.drafting import PlateOrder, check, create, propose
from lis.services.plates.loading import correct_loading, load, void
from lis.services.plates.waiting import JOBS_CONSIDERED, candidate, jobs, jobs_of
from lis.services.plates.wells import WellOrder

__all__ = [
    "JOBS_CONSIDERED",
    "PlateOrder",
    "WellOrder",
    "candidate",
    "check",
    "correct_loading",
    "create",
    "jobs",
    "jobs_of",
    "load",
    "propose",
    "void",
]
