"""Forecasts that the server makes by itself, and what is kept of old ones."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from bench import Bench

from lis import laboratory, queries
from lis.errors import LisError
from lis.services import capacity
from lis.services.capacity import Order
from lis.web.forecasting import by_itself, wanted

FEW = Order(replications=3)


def test_old_forecasts_go_and_their_scores_stay(bench: Bench):
    """After the days a forecast is deleted; what became of it is told as before, and cannot be changed."""
    codes = bench.singles(3)
    old = laboratory.foretold(bench.lab, FEW, "anna")
    bench.clock.advance(timedelta(hours=3))
    bench.cycle(codes)
    with bench.lab.database.read() as conn:
        before = capacity.scores(conn)
    bench.clock.advance(timedelta(days=31))
    bench.singles(1)
    new = laboratory.foretold(bench.lab, FEW, "anna")
    with bench.lab.database.write("forecast") as unit:
        assert capacity.forget(unit, unit.now - timedelta(days=30)) == 1
    with bench.lab.database.read() as conn:
        assert [row["forecast_id"] for row in queries.forecasts(conn)] == [new]
        assert queries.forecast_tubes(conn, old) == []
        after = capacity.scores(conn)
    assert after["forecasts"][0] == before["forecasts"][0]
    assert after["forecasts"][0]["reported"] == 3
    assert after["overall"] == before["overall"]
    with pytest.raises(LisError, match="append-only"), bench.lab.database.write("eve") as unit:
        unit.conn.exec_driver_sql("UPDATE forecast_score SET mape = 0")
    with pytest.raises(LisError, match="append-only"), bench.lab.database.write("eve") as unit:
        unit.conn.exec_driver_sql("UPDATE forecast_tube SET risk = 0")


def test_a_forecast_is_wanted_while_somebody_waits_and_none_is_fresh(bench: Bench):
    """An empty laboratory wants none; a fresh one is enough until half of the interval has passed."""
    every = timedelta(minutes=10)
    assert not wanted(bench.lab, every)
    bench.singles(1)
    assert wanted(bench.lab, every)
    laboratory.foretold(bench.lab, FEW, "anna")
    bench.clock.advance(timedelta(minutes=4))
    assert not wanted(bench.lab, every)
    bench.clock.advance(timedelta(minutes=2))
    assert wanted(bench.lab, every)


def test_a_laboratory_that_wants_none_has_no_forecaster(make_bench):
    """With forecast_minutes = 0 no thread looks."""
    bench = make_bench(forecast_minutes=0.0)
    with by_itself(bench.lab):
        assert not [one for one in threading.enumerate() if one.name == "forecasts"]
