"""Forecasts that the server makes by itself, and what is kept of old ones."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bench import Bench
from command_line import called
from test_cli_surface import ROOT

from lis import config, laboratory, queries
from lis.db import Database
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


def test_the_server_makes_forecasts_by_itself(tmp_path: Path, sqlite_template: Path, capsys):
    """While the real server runs and a tube waits, a forecast is stored, made by a process of low priority."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "lis.db").write_bytes(sqlite_template.read_bytes())
    with laboratory.open_laboratory(config.load(data)) as lab:
        one = Bench(lab, None)
        one.clock = lab.database.clock
        code = one.code()
        one.register(one.order(barcode=code, sampled_at=datetime.now(UTC)))
    settings = {"LIS_BRIDGE": "tcp://127.0.0.1:*", "LIS_FORECAST_MINUTES": "0.01", "LIS_DATA": str(data)}
    process = subprocess.Popen(
        [sys.executable, "-c", "from lis.cli import main; main()", "serve", "--port", "0"],
        cwd=ROOT,
        env={**os.environ, **settings},
        stderr=subprocess.PIPE,
        text=True,
    )
    database, row = Database(f"sqlite:///{data / 'lis.db'}"), None
    looking = threading.Event()
    with process:
        try:
            while row is None and process.poll() is None:
                looking.wait(0.2)
                with database.read() as conn:
                    row = queries.forecast_row(conn)
            process.send_signal(signal.SIGTERM)
            said = process.communicate(timeout=60)[1]
        finally:
            process.kill()
            database.close()
    assert row is not None, said
    assert (row["made_by"], row["backlog"], "Traceback" in said) == ("forecast", 1, False)
    status, out, _ = called(capsys, "doctor", "--json", "--data", str(data))
    [finding] = [one for one in json.loads(out)["checks"] if one["check"] == "forecasts"]
    assert finding["sentence"].startswith("The last forecast is 0 min old"), status
