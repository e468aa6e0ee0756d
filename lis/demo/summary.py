"""What a played day came to, counted from the database alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from sqlalchemy import Connection

from lis import queries

FINISHED = {"released", "resolved", "stored", "discarded", "rejected"}


def summary(conn: Connection) -> dict[str, Any]:
    """The document of ``lis demo --once --json``.

    ``tubes`` (without pools) = ``reported`` + ``recalled`` (mixed or rejected tubes whose persons gave new
    specimens) + ``waiting``; ``states`` counts every tube, ``pools`` the pool tubes among them.
    """
    states = queries.state_counts(conn, kinds=("single", "mixed", "unknown"))
    total = sum(states.values())
    waiting = sum(count for state, count in states.items() if state not in FINISHED)
    reported = queries.reported_tubes(conn)
    hours = np.array([one.hours for one in queries.turnarounds(conn)])
    on_time = [one.on_time for one in queries.turnarounds(conn)]
    retests: Counter[str] = Counter()
    for kind in ("RetestOrdered", "Voided"):
        retests.update(queries.event_counts(conn, kind, "reason"))
    return {
        "tubes": total,
        "persons": queries.count_of(conn, "person"),
        "pooled_tubes": queries.count_of(conn, "pool_member"),
        "pools": sum(queries.state_counts(conn, kinds=("pool",)).values()),
        "plates": queries.count_of(conn, "plate"),
        "wells": queries.count_of(conn, "plate_well"),
        "runs": queries.count_of(conn, "run"),
        "retests": dict(sorted(retests.items())),
        "recollections": queries.count_of(conn, "recall"),
        "reports": queries.count_of(conn, "report"),
        "reported": reported,
        "recalled": total - reported - waiting,
        "waiting": waiting,
        "states": states,
        "quarantined": _quarantined(conn),
        "on_time_share": round(float(np.mean(on_time)), 4) if on_time else None,
        "tat_hours": _quantiles(hours),
        "events": queries.count_of(conn, "event"),
    }


def _quarantined(conn: Connection) -> dict[str, int]:
    """Files nobody could use by themselves, by reason."""
    counts = Counter(row["code"] for row in queries.files(conn, "quarantined", limit=100_000))
    return dict(sorted(counts.items()))


def _quantiles(hours: Any) -> dict[str, float | None]:
    if not len(hours):
        return {"p50": None, "p95": None, "max": None}
    p50, p95 = np.quantile(hours, [0.5, 0.95])
    return {"p50": round(float(p50), 2), "p95": round(float(p95), 2), "max": round(float(hours.max()), 2)}
