"""Forecasts and admission over HTTP, on the tube's page and at the command line, in one laboratory."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from web_bench import bench, plate, receive, run_file, upload

from lis import cli
from lis.web import words

BY = "2022-12-22T12:00:00Z"


@pytest.fixture
def served(tmp_path: Path, sqlite_template: Path, clock):
    """A laboratory behind a real server."""
    (tmp_path / "lis.db").write_bytes(sqlite_template.read_bytes())
    with bench(f"sqlite:///{tmp_path / 'lis.db'}", tmp_path, clock) as found:
        yield found


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of the program in this process."""
    capsys.readouterr()
    try:
        cli.main(list(arguments))
        status = 0
    except SystemExit as leave:
        status = int(leave.code or 0)
    return status, *capsys.readouterr()


def test_a_tube_from_its_forecast_to_its_score(served, clock, capsys, tmp_path: Path):
    """Who asks for a tube is told when, where it stands, and why it is late; later the forecast is scored."""
    anna = served.person("anna")
    codes = receive(anna, *range(1, 9))
    before = anna.get(f"/api/v1/tubes/{codes[0]}").json()["forecast"]
    assert (before["p50"], before["gate"], before["late"], before["cause"]) == (None, "plating", False, "")
    found = anna.get("/api/v1/forecast").json()
    assert (found["backlog"], {row["tube"] for row in found["tubes"]}) == (8, set(codes))
    assert anna.get("/api/v1/forecast").json()["forecast_id"] == found["forecast_id"]
    one = anna.get(f"/api/v1/tubes/{codes[0]}").json()["forecast"]
    row = next(row for row in found["tubes"] if row["tube"] == codes[0])
    assert (one["p50"], one["p90"], one["risk"]) == (
        row["p50"],
        row["p90"],
        pytest.approx(row["risk"], abs=1e-4),
    )
    clock.advance(timedelta(minutes=40))
    made = plate(anna)
    clock.advance(timedelta(hours=30))
    anna = served.person("anna")
    late = anna.get(f"/api/v1/tubes/{codes[0]}").json()["forecast"]
    assert (late["late"], late["gate"], late["cause"]) == (True, "cycler", "slow-cycler")
    page = anna.get(f"/tubes/{codes[0]}", headers={"accept-language": "en"}).text
    assert (
        words.label("cause", "slow-cycler", "zh") in page or words.label("cause", "slow-cycler", "en") in page
    )
    upload(anna, run_file(served, made, {}), f"{made['plate_id']}.txt")
    assert anna.get(f"/api/v1/tubes/{codes[0]}").json()["forecast"] is None
    score = anna.get("/api/v1/forecast/score").json()
    assert (score["overall"]["tubes"], score["overall"]["reported"], score["overall"]["cover95"]) == (
        8,
        8,
        0.0,
    )
    status, out, err = command(capsys, "forecast", "--score", "--json", "--data", str(tmp_path))
    assert (status, err, json.loads(out)["overall"]) == (0, "", score["overall"])
    for extra in (["--score"], ["--fit"], []):
        status, out, err = command(capsys, "forecast", "--data", str(tmp_path), "--replications", "5", *extra)
        assert (status, err) == (0, "")
        assert out.strip()
    status, out, err = command(capsys, "forecast", "--at", "noon", "--data", str(tmp_path))
    assert (status, out) == (1, "")
    assert err.startswith("error: TIME: 'noon'")


def test_more_tubes_are_admitted_or_not(served, clock, capsys, tmp_path: Path):
    """A few tubes may come; too many by too early may not; a senseless question is refused in words."""
    anna = served.person("anna")
    receive(anna, *range(1, 5))
    fine = anna.get("/api/v1/admission", params={"tubes": 20, "mode": "single", "by": BY}).json()
    assert (fine["answer"], fine["on_time_share"], fine["breaches_caused"]) == ("yes", 1.0, 0.0)
    soon = (clock.now() + timedelta(hours=1)).isoformat()
    params = {"tubes": 50, "mode": "pooled", "by": soon, "tier": "fever"}
    none = anna.get("/api/v1/admission", params=params).json()
    assert (none["answer"], none["on_time_share"], none["backlog"]) == ("no", 0.0, 4)
    for odd, code in (
        ({"mode": "mixed"}, "ADMIT_MODE"),
        ({"by": clock.now().isoformat()}, "ADMIT_TIME"),
        ({"tier": "nobody"}, "TIER_UNKNOWN"),
    ):
        refused = anna.get("/api/v1/admission", params=params | odd)
        assert (refused.status_code >= 400, refused.json()["code"]) == (True, code)
    real = clock.now() + timedelta(days=20_000)
    arguments = ["admit", "--tubes", "5", "--mode", "single", "--by", f"{real:%Y-%m-%dT%H:%M}"]
    status, out, err = command(capsys, *arguments, "--json", "--data", str(tmp_path))
    assert (status, err, json.loads(out)["answer"]) == (0, "", "yes")
    assert command(capsys, *arguments, "--data", str(tmp_path))[1].startswith("yes: 100%")
