"""The command that proposes a rota."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lis.cli import json_option, print_json, print_table
from lis.cli.planning import _given

if TYPE_CHECKING:
    from sim.rota import Proposal


@click.command("rota")
@click.argument("scenario")
@click.option("--staff", default="", help="Whose rota; the first staff of the scenario if not said.")
@click.option("--replications", type=click.IntRange(1), default=8, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--workers", type=click.IntRange(0), default=0, help="Processes; 0 = one per core.")
@click.option(
    "--workdays",
    type=click.IntRange(1, 7),
    default=5,
    show_default=True,
    help="Days in a row of one person.",
)
@click.option("--toml", "as_toml", is_flag=True, help="Write it as a duty plan, for lis duty set.")
@json_option
def rota_command(  # noqa: PLR0913 - every option is an argument
    scenario: str,
    staff: str,
    replications: int,
    seed: int,
    workers: int,
    workdays: int,
    *,
    as_toml: bool,
    as_json: bool,
) -> None:
    """Propose the smallest staffing of a week with which SCENARIO keeps its target; checked by simulation."""
    from sim import load
    from sim.rota import Search, propose, rota_document

    search = Search(replications, seed, workers, workdays=workdays)
    found = propose(
        load(_given(scenario)), staff, search, say=lambda sentence: click.echo(sentence, err=True)
    )
    if as_json:
        print_json(rota_document(found))
        return
    if as_toml:
        print_plan(found)
        return
    if found.study is None:
        click.echo("No rota keeps up with the work: look for the bottleneck with lis plan.")
        return
    verdict = "keeps" if found.kept else "does NOT keep"
    click.echo(
        f"{found.people} people for {found.staff}: {verdict} {found.target_share:.0%} on time "
        f"({found.on_time:.1%} over {replications} runs)"
    )
    shifts = list(dict.fromkeys(one.shift for one in found.patterns))
    print_table(
        ["on duty", *(f"day {day + 1}" for day in range(7))],
        [[shift, *(found.positions.get((shift, day), 0) for day in range(7))] for shift in shifts],
    )
    click.echo("")
    print_table(
        ["people", "shift", "works on days"],
        [[one.people, one.shift, ", ".join(str(day + 1) for day in one.days)] for one in found.patterns],
    )
    if not found.kept:
        click.echo(
            "Even with hardly any work left over the target is missed: it is not the staff (lis plan)."
        )


def print_plan(found: Proposal) -> None:
    """The rota as a duty plan from next Monday on, for the stations at which this staff works."""
    from datetime import UTC, datetime, timedelta

    from lis.errors import Refused
    from sim.dutyplan import plan_of, plan_toml

    lab = found.scenario.laboratory
    if lab is None or found.study is None:
        raise Refused("NO_ROTA", "No rota keeps up with the work: look for the bottleneck with lis plan.")
    today = datetime.now(UTC).date()
    own = [number for number, bench in enumerate(lab.stations) if bench.staff == found.staff]
    roles = {
        "reception" if not number else "prepare" if number < lab.reads_at else "review": None
        for number in own
    }
    title = f"{found.scenario.name}: {found.people} people for {found.staff}"
    since = today + timedelta(days=-today.weekday() % 7)
    shifts = dict.fromkeys(roles, lab.staff[found.staff].rota)
    click.echo(plan_toml(plan_of(since, title, shifts)), nl=False)


COMMANDS = {"rota": rota_command}
