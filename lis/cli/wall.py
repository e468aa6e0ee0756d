"""``lis wall``: addresses that open the turnaround wall on a monitor without signing in."""

from __future__ import annotations

from pathlib import Path

import click

from lis.cli import OPERATOR, data_option, json_option, print_json


@click.command("wall")
@click.option("--by", default="", metavar="ACCOUNT", help="Manager or administrator who answers for it.")
@click.option("--name", default="", help="Which monitor it is, for the record.")
@click.option("--end", is_flag=True, help="End the addresses of all monitors instead.")
@data_option
@json_option
def wall_command(by: str, name: str, data: Path | None, *, end: bool, as_json: bool) -> None:
    """Print an address that opens the turnaround wall on a monitor. It is shown once and never stored.

    The monitor's browser opens it once; it reads only, shows nothing about persons, and holds for a year.
    """
    from lis import config, laboratory
    from lis.web import wall

    if not end and not by:
        raise click.UsageError("Name the manager or administrator who answers for the monitor: --by ACCOUNT.")
    with laboratory.open_laboratory(config.load(data)) as lab, lab.database.write(OPERATOR) as unit:
        if end:
            done: dict[str, object] = {"ended": wall.end_all(unit)}
        else:
            done = wall.monitor(unit, lab, name, by)
    if as_json:
        print_json(done)
    elif end:
        click.echo(f"{done['ended']} addresses ended")
    else:
        click.echo(done["address"])


COMMANDS = {"wall": wall_command}
