"""Stored forecasts against what happened then."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lis import queries
from lis.services.capacity.attending import minute_of
from lis.services.capacity.foretelling import SHARES
from lis.services.capacity.gathering import midnight
from sim.score import Score, score, together

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from lis.db import Unit
    from lis.queries import Row

AT_ONCE: Final = 50
"""Forecasts deleted in one transaction: nobody at the bench waits long for it."""


def scores(conn: Connection, since: datetime | None = None) -> dict[str, Any]:
    """Every forecast of a moment from ``since`` on, with what became of it, and all together.

    Of forecasts that were deleted since, the score that was kept then.
    """
    kept = [(row, _kept(row)) for row in queries.kept_scores(conn, since)]
    rows = queries.forecasts(conn, since)
    found = kept + [(row, _score(row, queries.outcomes_of(conn, row["forecast_id"]))) for row in rows]
    overall = together([one for _, one in found if one.reported])
    return {
        "forecasts": [
            {"forecast_id": row["forecast_id"], "at": row["at"], **_json(one)} for row, one in found
        ],
        "overall": None if overall is None else _json(overall),
        "targets": {"mape": 0.074, "cover95": [0.9, 0.98]},
    }


def forget(unit: Unit, before: datetime) -> int:
    """Delete forecasts that were made before a moment; what became of each is kept. Returns how many."""
    old = [row for row in queries.forecasts(unit.conn) if row["made_at"] < before][:AT_ONCE]
    rows = [
        {name: row[name] for name in ("forecast_id", "at", "made_at")}
        | _json(_score(row, queries.outcomes_of(unit.conn, row["forecast_id"])))
        for row in old
    ]
    if rows:
        queries.insert_rows(unit.conn, "forecast_score", rows)
        queries.delete_forecasts(unit.conn, [row["forecast_id"] for row in rows])
    return len(rows)


def _kept(row: Row) -> Score:
    given: dict[str, Any] = {
        one.name: float("nan") if row[one.name] is None else row[one.name] for one in fields(Score)
    }
    return Score(**given)


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
