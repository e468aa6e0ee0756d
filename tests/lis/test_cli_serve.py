"""``lis serve``: the program that runs day and night."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bench import Bench
from command_line import called
from test_cli_surface import ROOT

from lis import config, laboratory, queries
from lis.db import Database


def free_port() -> int:
    """A port nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Life:
    """What was seen of a server between two starts.

    Attributes:
        keys: the public key that each start told.
        answers: HTTP status of each health check.
        ends: exit status and stderr of each run.
        forecast: the forecast that was stored while the second ran, if any was.
    """

    data: Path
    keys: list[str] = field(default_factory=list)
    answers: list[int | None] = field(default_factory=list)
    ends: list[tuple[int, str]] = field(default_factory=list)
    forecast: Any = None


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """A server started on a new folder, told to stop, and started again at once, where a tube waits now."""
    seen, port, bridge = Life(tmp_path_factory.mktemp("serve") / "data"), free_port(), free_port()
    settings = {
        "LIS_BRIDGE": f"tcp://127.0.0.1:{bridge}",
        "LIS_DATA": str(seen.data),
        "LIS_FORECAST_MINUTES": "0.01",
    }
    for again in (False, True):
        if again:
            a_tube_waits(seen.data)
        process = subprocess.Popen(
            [sys.executable, "-c", "from lis.cli import main; main()", "serve", "--port", str(port)],
            cwd=ROOT,
            env={**os.environ, **settings},
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                said = process.stderr.readline()
                assert said.startswith(f"bridge on tcp://127.0.0.1:{bridge}, public key "), said
                seen.keys.append(said.split()[-1])
                seen.answers.append(health(port, process))
                seen.forecast = first_forecast(seen.data, process) if again else None
                process.send_signal(signal.SIGTERM)
                rest = process.communicate(timeout=60)[1]
            finally:
                process.kill()
        seen.ends.append((process.returncode, rest))
    return seen


def health(port: int, process: subprocess.Popen[str]) -> int | None:
    """The status of the health check, once the server answers."""
    while process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=20) as found:
                return found.status
        except urllib.error.URLError as error:
            if not isinstance(error.reason, ConnectionRefusedError):
                raise
            time.sleep(0.05)
    return None


def a_tube_waits(data: Path) -> None:
    """Register a sealed tube while the server is down."""
    with laboratory.open_laboratory(config.load(data)) as lab:
        one = Bench(lab, None)
        one.clock = lab.database.clock
        one.register(one.order(barcode=one.code(), sampled_at=datetime.now(UTC)))


def first_forecast(data: Path, process: subprocess.Popen[str]) -> Any:
    """The newest forecast, once there is one."""
    with contextlib.closing(Database(f"sqlite:///{data / 'lis.db'}")) as database:
        while process.poll() is None:
            with database.read() as conn:
                row = queries.forecast_row(conn)
            if row is not None:
                return row
            time.sleep(0.1)
    return None


def test_it_serves_web_and_bridge_until_it_is_told_to_stop(life: Life):
    """It names the bridge's address and key, answers over HTTP, ends on SIGTERM, and can be started again at once."""
    assert life.answers == [200, 200]
    assert {status for status, _ in life.ends} <= {0, -signal.SIGTERM}
    assert "Traceback" not in "".join(rest for _, rest in life.ends)
    assert life.keys[0] == life.keys[1]


def test_the_server_makes_forecasts_by_itself(life: Life, capsys: pytest.CaptureFixture[str]):
    """While the real server runs and a tube waits, a forecast is stored, made by a process of low priority."""
    assert life.forecast is not None, life.ends
    assert (life.forecast["made_by"], life.forecast["backlog"]) == ("forecast", 1)
    status, out, _ = called(capsys, "doctor", "--json", "--data", str(life.data))
    [finding] = [one for one in json.loads(out)["checks"] if one["check"] == "forecasts"]
    assert finding["sentence"].startswith("The last forecast is 0 min old"), status


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_taken_port_is_a_sentence(host: str, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    """Where another program listens nothing is started, and the sentence says how to choose another port."""
    monkeypatch.setenv("LIS_BRIDGE", "tcp://127.0.0.1:*")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as taken:
        try:
            taken.bind((host, 0))
        except OSError as error:
            pytest.skip(f"this machine has no {host}: {error}")
        taken.listen()
        port = str(taken.getsockname()[1])
        status, _, err = called(
            capsys, "serve", "--host", host, "--port", port, "--data", str(tmp_path / "data")
        )
    assert status == 1
    assert f"error: PORT_TAKEN: Cannot listen on {host}:{port}" in err
    assert "--port" in err
