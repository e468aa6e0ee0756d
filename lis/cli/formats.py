"""Commands about file formats: which are read, and a first mapping for one that is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lis.cli import json_option, print_json, print_table


@click.group("formats", invoke_without_command=True)
@json_option
@click.pass_context
def formats_command(context: click.Context, *, as_json: bool) -> None:
    """List the formats that are read; `new` proposes a mapping for another table."""
    if context.invoked_subcommand is not None:
        return
    from instruments.formats.guide import entries

    rows: list[dict[str, Any]] = [
        {"format": entry.format, "kinds": list(entry.kinds), "proved": entry.proved, "reads": entry.title}
        for entry in entries()
    ]
    if as_json:
        print_json(rows)
        return
    names = ["format", "kinds", "proved on real files", "reads"]
    print_table(
        names,
        [[r["format"], "/".join(r["kinds"]), "yes" if r["proved"] else "no", r["reads"]] for r in rows],
    )


@formats_command.command("new")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def new_command(file: Path) -> None:
    """Print a table mapping (TOML) proposed from the column names of FILE, to be checked and saved."""
    from instruments.formats.propose import propose

    click.echo(propose(file.name, file.read_bytes()), nl=False)


COMMANDS = {"formats": formats_command}
