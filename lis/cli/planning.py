"""Commands about capacity: what would happen, and what would be enough."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import click

from lis.cli import json_option, print_json, print_table

BAR = 30


@click.command("simulate")
@click.argument("scenarios", nargs=-1, required=True, metavar="SCENARIO [SCENARIO2 ...]")
@click.option(
    "--replications", type=click.IntRange(1), default=20, show_default=True, help="Runs with other luck."
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="The same seed gives the same numbers.",
)
@click.option("--workers", type=click.IntRange(0), default=0, help="Processes; 0 = one per core.")
@click.option(
    "--cluster", default="", help="Address of a Dask scheduler to play on, such as tcp://10.0.0.5:8786."
)
@click.option(
    "--half-width",
    type=click.FloatRange(0),
    default=0.0,
    help="Stop when the 95 % interval of P95 is this narrow (hours).",
)
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="Also write one page with charts that opens without network.",
)
@click.option(
    "--language", type=click.Choice(["zh", "en"]), default="zh", show_default=True, help="Of that page."
)
@click.option(
    "--toml",
    is_flag=True,
    help="Print the file of SCENARIO and play nothing: the start of a scenario of your own.",
)
@json_option
def simulate_command(  # noqa: PLR0913 - one argument an option
    scenarios: tuple[str, ...],
    replications: int,
    seed: int,
    workers: int,
    half_width: float,
    html: Path | None,
    language: Literal["zh", "en"],
    *,
    cluster: str,
    toml: bool,
    as_json: bool,
) -> None:
    """Simulate SCENARIO (a TOML file or the name of a shipped one) and say how sure the answer is.

    Several scenarios are played on the same luck and compared with the first.
    """
    from sim import compared, document, load, page, replicate, step_of, warmed

    plans = [load(_given(one)) for one in scenarios]
    if toml:
        click.echo("\n".join(plan.text for plan in plans), nl=False)
        return
    studies = []
    for plan in warmed(plans, seed, workers=workers, cluster=cluster):
        studies.append(
            replicate(
                plan,
                replications,
                seed,
                workers=workers,
                cluster=cluster,
                half_width=half_width,
                step=step_of(plan) if html else 0.0,
                progress=_progress,
            )
        )
        click.echo("", err=True)
        if studies[-1].stopped:
            click.echo(f"stopped after {len(studies[-1].runs)} of {replications} replications", err=True)
            break
    if html is not None:
        made_at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
        html.write_text(page(studies, language=language, made_at=made_at), encoding="utf-8")
        click.echo(f"wrote {html}", err=True)
    found = [document(study) for study in studies]
    if as_json:
        print_json(found[0] | ({"compared": compared(studies)} if len(studies) > 1 else {}))
        return
    for one in found:
        _print_study(one)
        click.echo("")
    if len(studies) > 1:
        _print_compared(compared(studies))


def _print_compared(found: list[dict[str, Any]]) -> None:
    rows = [
        [one["scenario"], name, f"{gap['mean']:+.4g}", _interval(gap["ci95"], 1, "")]
        for one in found
        for name, gap in one["differences"].items()
    ]
    click.echo("against the first scenario, on the same luck:")
    print_table(["scenario", "measure", "difference", ""], rows)


def _given(scenario: str) -> str | Path:
    return Path(scenario) if scenario.endswith(".toml") else scenario


def _progress(done: int, of: int, seconds: float) -> None:
    """A bar with the time left, on stderr."""
    left = seconds / done * (of - done)
    filled = BAR * done // of
    click.echo(
        f"\r[{'#' * filled}{'.' * (BAR - filled)}] {done}/{of}, {left:.0f} s left ", err=True, nl=False
    )


def _print_study(found: dict[str, Any]) -> None:
    tat, share = found["tat_hours"], found["on_time_share"]
    click.echo(
        f"{found['scenario']}: {found['tubes']} tubes, {found['replications']} runs, seed {found['seed']}"
    )
    click.echo(f"on time    {share['mean']:.2%} {_interval(share['ci95'], 100, ' %')}")
    if found["warm_up_days"] is not None:
        click.echo(
            f"warm-up    {found['warm_up_days']} days, {found['warm_up_tubes']} tubes, are left out; "
            "retests, call-backs, tests and plates are of all days"
        )
    click.echo(
        f"turnaround P50 {tat['p50']:.2f} h, P95 {tat['p95']:.2f} h {_interval(tat['ci95_p95'], 1, ' h')}, "
        f"P99 {tat['p99']:.2f} h, longest {tat['max']:.2f} h"
    )
    click.echo(
        f"retested {found['retest_share']:.2%}, called back {found['recollections']:.0f}, "
        f"{found['tests_per_person']:.3f} tests a person, {found['plates']:.0f} plates"
    )
    rows = [
        [
            name,
            f"{one['utilisation']:.0%}",
            f"{one['wait_h_mean']:.2f}",
            f"{one['wait_h_p95']:.2f}",
            f"{one['queue_mean']:.1f}",
            one["queue_max"],
            f"{one['served']:.0f} {one['unit']}s",
        ]
        for name, one in found["stations"].items()
    ]
    print_table(["station", "used", "wait h", "wait P95", "queue", "longest", "served"], rows)
    groups = [
        [name, f"{one['tubes']:.0f}", f"{one['on_time_share']:.2%}", f"{one['p50']:.2f}", f"{one['p95']:.2f}"]
        for name, one in found["groups"].items()
    ]
    if groups:
        click.echo("")
        print_table(["tier and mode", "tubes", "on time", "P50 h", "P95 h"], groups)


def _interval(pair: list[float] | None, factor: float, unit: str) -> str:
    if pair is None:
        return "(one run: no interval)"
    return f"(95 % interval {pair[0] * factor:.2f} to {pair[1] * factor:.2f}{unit})"


@click.command("plan")
@click.argument("scenario")
@click.option("--target-hours", type=float, default=24.0, show_default=True, help="Turnaround to keep.")
@click.option("--percentile", type=float, default=95.0, show_default=True, help="Of tubes, 0 to 100.")
@click.option("--replications", type=click.IntRange(2), default=10, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--workers", type=click.IntRange(0), default=0, help="Processes; 0 = one per core.")
@click.option(
    "--ways", is_flag=True, help="Also choose when partial plates close and how large laboratory pools are."
)
@json_option
def plan_command(  # noqa: PLR0913 - one argument an option
    scenario: str,
    target_hours: float,
    percentile: float,
    replications: int,
    seed: int,
    workers: int,
    *,
    ways: bool,
    as_json: bool,
) -> None:
    """Find the smallest machines and shifts with which SCENARIO keeps the target; prove it by simulation.

    Every set tried is told on stderr. Ctrl-C ends the search and prints what is known by then.
    """
    import os

    from sim import load, plan, plan_document

    found = plan_document(
        plan(
            load(_given(scenario)),
            target_hours,
            percentile,
            replications=replications,
            seed=seed,
            say=lambda sentence: click.echo(sentence, err=True),
            workers=workers or os.cpu_count() or 1,
            try_ways=ways,
        )
    )
    if as_json:
        print_json(found)
    else:
        _print_plan(found)


def _print_plan(found: dict[str, Any]) -> None:
    target = f"P{found['percentile']:g} within {found['target_hours']:g} h"
    if found["stopped_early"]:
        click.echo("stopped: below is what was known by then", err=True)
    if not found["feasible"]:
        why = "was not met yet" if found["stopped_early"] else "cannot be met with the room there is"
        click.echo(f"{found['scenario']}: {target} {why}; see the best tried below.")
    else:
        _print_proof(found, target)
    first, last = found["days_counted"]
    left_out = (
        f"days {first} to {last} count, those before are the warm-up" if first > 1 else f"all {last} count"
    )
    click.echo(f"Days of arrivals: {found['days']}; {left_out}.")
    _print_ways(found["ways"])
    click.echo("")
    rows = [
        [
            f"{one['cost_per_day']:.0f}",
            one["machines"],
            one["people"],
            _hours(one["percentile_hours"]["mean"]),
            f"{one['on_time_share']:.1%}",
            "yes" if one["meets"] else "no",
            one["replications"],
            one["limited_by"],
            " ".join(f"{name} {level}" for name, level in one["levels"].items()),
        ]
        for one in found["pareto"]
    ]
    header = [
        "cost a day",
        "machines",
        "people",
        "hours",
        "on time",
        "meets",
        "runs",
        "longest wait",
        "levels",
    ]
    print_table(header, rows)


def _print_proof(found: dict[str, Any], target: str) -> None:
    chosen, proof = found["plan"], found["proof"]
    click.echo(f"{found['scenario']}: {target} needs this, for {chosen['cost_per_day']:.0f} a day.")
    if proof is None:
        click.echo("Not proven: the search was stopped.")
    else:
        hours = proof["percentile_hours"]
        click.echo(
            f"Proof {_hours(hours['mean'])} h {_interval(hours['ci95'], 1, ' h')}, {proof['replications']} "
            f"runs, {proof['share_of_runs_in_target']:.0%} of them in target, {proof['on_time_share']:.1%} "
            "on time."
        )
        sure = found["probability_of_correct_selection"]
        but = (
            f" Too close to tell: one less of {', '.join(found['undecided'])}." if found["undecided"] else ""
        )
        click.echo(
            f"It meets the target and what is said of smaller sets is true: at least {sure:.1%} sure.{but}"
        )
        if not found["proven"]:
            click.echo("NOT PROVEN: the interval reaches beyond the target. Give more --replications.")
    rows = [
        [
            name,
            found["now"][name],
            level,
            found["least_by_work"].get(name, ""),
            found["limits"][name]["limited_by"],
        ]
        for name, level in chosen["levels"].items()
    ]
    print_table(["lever", "now", "needed", "least by work", "limited by"], rows)
    for name, one in found["sensitivity"].items():
        more = one["hours_more"]
        change = f", {more['mean']:+.2f} h {_interval(more['ci95'], 1, ' h')}" if more else ""
        mean = _hours(one["percentile_hours"]["mean"])
        click.echo(f"{name}: {mean} h{change}, {one['on_time_share']:.1%} on time")


def _print_ways(ways: list[dict[str, Any]]) -> None:
    if not ways:
        return
    click.echo("")
    rows = [
        [
            one["closing"],
            one["pool"] or "none",
            _hours(one["percentile_hours"]["mean"]),
            f"{one['on_time_share']:.1%}",
            f"{one['tests_per_person']:.3f}",
        ]
        for one in ways
    ]
    print_table(["plates close by", "pool size", "hours", "on time", "tests a person"], rows)


def _hours(hours: float | None) -> str:
    return "never" if hours is None else f"{hours:.2f}"


COMMANDS = {"simulate": simulate_command, "plan": plan_command}
