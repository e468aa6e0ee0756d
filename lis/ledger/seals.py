"""Seals: digests that make a changed report, a changed reading or a swapped value visible.

The log is linked by hashes; what stands beside it (reports, readings) is bound to it by these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from lis.clock import to_text
from lis.ledger.rows import as_json


def report_seal(row: Mapping[str, Any]) -> str:
    """SHA-256 over everything a report says, so that a changed row is found."""
    said = {
        name: to_text(value) if isinstance(value, datetime) else value
        for name, value in row.items()
        if name != "seal"
    }
    return hashlib.sha256(as_json(said)).hexdigest()


def seal_of(seals: Sequence[str]) -> str:
    """One seal over the reports of one tube, in their order."""
    return hashlib.sha256("".join(seals).encode()).hexdigest()


def run_seal(file_id: str, plate_id: str, values: Iterable[tuple[str, str, str, float | None, str]]) -> str:
    """The id of a run: derived from its file, its plate and every (well, target, dye, Cq, curve) read.

    A changed reading no longer fits its run, and the run is named in the log.
    """
    ordered = sorted(values, key=lambda value: value[:3])
    return hashlib.sha256(as_json([file_id, plate_id, ordered])).hexdigest()[:32]
