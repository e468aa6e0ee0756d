"""``lis serve``: the program that runs day and night."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from command_line import called
from test_cli_surface import ROOT


def free_port() -> int:
    """A port nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_it_serves_web_and_bridge_until_it_is_told_to_stop(tmp_path: Path):
    """It names the bridge's address and key, answers over HTTP, ends on SIGTERM, and can be started again at once."""
    port, bridge = free_port(), free_port()
    settings = {"LIS_BRIDGE": f"tcp://127.0.0.1:{bridge}", "LIS_DATA": str(tmp_path / "data")}
    keys = []
    for _ in range(2):
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
                keys.append(said.split()[-1])
                answer = None
                while answer is None and process.poll() is None:
                    try:
                        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=20) as found:
                            answer = found.status
                    except urllib.error.URLError as error:
                        if not isinstance(error.reason, ConnectionRefusedError):
                            raise
                        time.sleep(0.05)
                assert answer == 200
                process.send_signal(signal.SIGTERM)
                rest = process.communicate(timeout=60)[1]
            finally:
                process.kill()
        assert process.returncode in {0, -signal.SIGTERM}
        assert "Traceback" not in rest
    assert keys[0] == keys[1]


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
