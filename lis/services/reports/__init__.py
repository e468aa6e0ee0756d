"""Review, signatures, release.

Nothing leaves before its run ended, its controls held and everybody who must sign has signed.
"""

from lis.services.reports.batching import release_negatives, routine_negatives
from lis.services.reports.releasing import (
    ANSWERS,
    AUTO,
    MUST_HOLD,
    Held,
    Issued,
    missing_signatures,
    release,
    release_ready,
    review,
    why_each_held,
    why_held,
)

__all__ = [
    "ANSWERS",
    "AUTO",
    "MUST_HOLD",
    "Held",
    "Issued",
    "missing_signatures",
    "release",
    "release_negatives",
    "release_ready",
    "review",
    "routine_negatives",
    "why_each_held",
    "why_held",
]
