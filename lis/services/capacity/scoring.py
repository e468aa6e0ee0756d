"""Stored forecasts against what happened then."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from lis import queries
from lis.services.capacity.attending import minute_of
from lis.services.capacity.foretelling import SHARES
from lis.services.capacity.gathering import midnight
from sim.score import Score, score, together

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from lis.queries import Row


def scores(conn: Connection, since: datetime | None = None) -> dict[str, Any]:
    """Every stored forecast of a moment from ``since`` on, with what became of it, and all together."""
    rows = queries.forecasts(conn, since)
    found = [(row, _score(row, queries.outcomes_of(conn, row["forecast_id"]))) for row in rows]
    overall = together([one for _, one in found if one.reported])
    return {
        "forecasts": [
            {"forecast_id": row["forecast_id"], "at": row["at"], **_json(one)} for row, one in found
        ],
        "overall": None if overall is None else _json(overall),
        "targets": {"mape": 0.074, "cover95": [0.9, 0.98]},
    }


def _score(row: Row, tubes: list[Row]) -> Score:
    zero = midnight(row["at"])
    minutes = {name: [minute_of(one[name], zero) for one in tubes] for name in SHARES}
    foreseen = np.array([minutes[name] for name in SHARES]).reshape(len(SHARES), len(tubes))
    at = minute_of(row["at"], zero)
    began = [minute_of(one["received_at"], zero) if one["received_at"] else at for one in tubes]
    happened = [minute_of(one["reported_at"], zero) if one["reported_at"] else np.nan for one in tubes]
    ends = minute_of(row["half_p50"], zero), minute_of(row["cleared_p50"], zero)
    return score(at, foreseen, np.array(began, float), np.array(happened, float), ends)


def _json(one: Score) -> dict[str, Any]:
    """Numbers, and null where nothing can be said yet."""
    return {
        name: value if isinstance(value, int) else None if np.isnan(value) else round(value, 4)
        for name, value in asdict(one).items()
    }
