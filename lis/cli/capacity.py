"""Commands about the live laboratory: when everybody will be told, and whether more may come in."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lis import config, laboratory
from lis.cli import data_option, json_option, print_json, print_table
from lis.clock import to_text
from lis.errors import Invalid

if TYPE_CHECKING:
    from lis.laboratory import Laboratory

SHOWN = 20
"""Tubes that a person is shown; programs get all."""


def moment_of(lab: Laboratory, text: str) -> datetime:
    """A time as written: ISO 8601, of the laboratory's zone unless it names one.

    Raises:
        Invalid: ``TIME``.
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid("TIME", f"{text!r} is no time; write it like 2026-03-01T14:30.") from None
    return found if found.tzinfo else found.replace(tzinfo=lab.zone)


def plain(value: Any) -> Any:
    """The same with moments as text."""
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return to_text(value) if isinstance(value, datetime) else value


@click.command("forecast")
@click.option("--at", default="", help="Forecast from this earlier moment, from what was known then.")
@click.option("--score", "scoring", is_flag=True, help="Compare stored forecasts with what happened.")
@click.option("--fit", "fitting", is_flag=True, help="What the laboratory's past says, and how well.")
@click.option(
    "--replications",
    type=click.IntRange(1, 10_000),
    default=200,
    show_default=True,
    help="Runs with other luck.",
)
@data_option
@json_option
def forecast_command(
    at: str, replications: int, data: Path | None, *, scoring: bool, fitting: bool, as_json: bool
) -> None:
    """Say when every waiting tube will be reported, which are at risk, and what would help."""
    from lis.services import capacity

    if scoring and fitting:
        raise click.UsageError("Ask for --score or for --fit, not for both.")
    with laboratory.open_laboratory(config.load(data)) as lab:
        moment = moment_of(lab, at) if at else None
        if scoring:
            with lab.database.read() as conn:
                found = capacity.scores(conn, moment)
        elif fitting:
            with lab.database.read() as conn:
                known = moment or lab.database.clock.now()
                learned = capacity.learned(conn, lab.rules, known, lab.zone)
            found = {"parameters": [capacity.fit_json(fit) for fit in learned.fits]}
        else:
            order = capacity.Order(at=moment, replications=replications)
            number = laboratory.foretold(lab, order, "forecast")
            with lab.database.read() as conn:
                found = capacity.document(conn, number)
    if as_json:
        print_json(plain(found))
    elif scoring:
        _print_scores(found)
    elif fitting:
        _print_fit(found)
    else:
        _print_forecast(found, lab)


def _clock(lab: Laboratory, moment: datetime | None) -> str:
    return f"{moment.astimezone(lab.zone):%m-%d %H:%M}" if moment else ""


def _print_forecast(found: dict[str, Any], lab: Laboratory) -> None:
    click.echo(
        f"{found['backlog']} tubes wait for their report; {found['expected_breaches']:.1f} are expected late."
    )
    if not found["backlog"]:
        return
    half, all_ = found["half_done"], found["clearance"]
    click.echo(f"half of them done {_clock(lab, half['p50'])} ({_between(half, lab)})")
    click.echo(f"all of them done  {_clock(lab, all_['p50'])} ({_between(all_, lab)})")
    rows = [
        [
            one["tube"],
            _clock(lab, one["due"]),
            _clock(lab, one["p50"]),
            _clock(lab, one["p90"]),
            f"{one['risk']:.0%}",
        ]
        for one in found["tubes"][:SHOWN]
    ]
    click.echo("")
    print_table(["tube", "due", "P50", "P90", "risk"], rows)
    for one in found["advice"]:
        click.echo(f"- {one['sentence']}")
    if found["by_reference"]:
        click.echo(f"not learned from this laboratory yet: {', '.join(found['by_reference'])}")


def _between(band: dict[str, Any], lab: Laboratory) -> str:
    return f"80 %: {_clock(lab, band['p10'])} to {_clock(lab, band['p90'])}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _print_scores(found: dict[str, Any]) -> None:
    rows = [
        [
            *(one["forecast_id"], f"{one['at']:%m-%d %H:%M} UTC", f"{one['reported']}/{one['tubes']}"),
            *(_share(one[name]) for name in ("mape", "mape_left", "cover80", "cover95", "half_error")),
        ]
        for one in found["forecasts"]
    ]
    head = ["forecast", "at", "reported", "MAPE", "of time left", "in 80 %", "in 95 %", "half done off by"]
    print_table(head, rows)
    overall = found["overall"]
    if overall:
        click.echo(
            f"together: MAPE {_share(overall['mape'])}, {_share(overall['cover80'])} in the 80 % band, "
            f"{_share(overall['cover95'])} in the 95 % band"
        )


def _print_fit(found: dict[str, Any]) -> None:
    rows = [
        [
            *(one["name"], one["source"], one["n"]),
            *(f"{one[name]:.4g}" for name in ("p10", "p50", "p90")),
            "" if one["ks_distance"] is None else f"{one['ks_distance']:.3f} of {one['ks_limit']:.3f}",
        ]
        for one in found["parameters"]
    ]
    print_table(["parameter", "source", "n", "P10", "P50", "P90", "KS distance"], rows)


@click.command("admit")
@click.option("--tubes", type=int, required=True, help="How many more.")
@click.option("--mode", type=click.Choice(["pooled", "single"]), required=True, help="How they are tested.")
@click.option("--by", required=True, help="When they must be reported: ISO 8601.")
@click.option("--tier", default="voluntary", show_default=True, help="Their service tier.")
@data_option
@json_option
def admit_command(tubes: int, mode: str, by: str, tier: str, data: Path | None, *, as_json: bool) -> None:
    """Say whether the laboratory can take more tubes by a time, and whom they would make late."""
    from lis.services.capacity import Wish

    with laboratory.open_laboratory(config.load(data)) as lab:
        found = laboratory.admission(lab, Wish(tubes, mode, moment_of(lab, by), tier))
    if as_json:
        print_json(plain(found))
        return
    click.echo(
        f"{found['answer']}: {found['on_time_share']:.0%} of them in time, "
        f"{found['breaches_caused']:.1f} waiting tubes more would be late."
    )
    rows = [
        [
            one["tube"],
            one["tier"],
            _clock(lab, one["due"]),
            f"{one['risk_before']:.0%}",
            f"{one['risk_after']:.0%}",
        ]
        for one in found["would_be_late"][:SHOWN]
    ]
    if rows:
        print_table(["tube", "tier", "due", "risk now", "risk then"], rows)


COMMANDS = {"forecast": forecast_command, "admit": admit_command}
