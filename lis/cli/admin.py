"""Commands for the administrator: the log, copies of the data, accounts, settings."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import click

from lis.cli import OPERATOR, data_option, json_option, print_json, print_rows, print_table
from lis.errors import Damaged, Invalid, Refused


def _open(data: Path | None) -> Any:
    from lis import config, laboratory

    return laboratory.open_laboratory(config.load(data))


@click.command("verify-log")
@data_option
@json_option
def verify_command(data: Path | None, *, as_json: bool) -> None:
    """Fold the log, compare it with every table that follows from it; on damage name the first bad row."""
    from lis.services import admin

    with _open(data) as lab, lab.database.read() as conn:
        check = admin.verify_log(conn)
    if as_json:
        print_json(check.as_json())
    elif check.ok:
        click.echo(f"{check.events} events of {check.tubes} tubes verified")
    if not check.ok:
        raise Damaged("LOG_DAMAGED", check.problem)


@click.command("rebuild")
@data_option
@json_option
def rebuild_command(data: Path | None, *, as_json: bool) -> None:
    """Make the tube table say what the log says (the log itself is never changed)."""
    from lis import ledger

    with _open(data) as lab, lab.database.write(OPERATOR) as unit:
        done = ledger.rebuild(unit)
    if as_json:
        print_json(done._asdict())
    else:
        click.echo(f"{done.tubes} tubes rebuilt, {done.corrected} rows put right")


@click.command("export")
@click.argument("what", type=click.Choice(["tubes", "events", "reports", "plates", "runs"]))
@data_option
def export_command(what: str, data: Path | None) -> None:
    """Write WHAT as CSV to stdout. Personal data stay masked; the export is written down."""
    from lis import queries

    with _open(data) as lab:
        with lab.database.read() as conn:
            table = {
                "tubes": "tube",
                "events": "event",
                "reports": "report",
                "plates": "plate",
                "runs": "run",
            }
            count = queries.count_of(conn, table[what])
        with lab.database.write(OPERATOR) as unit:
            told = {"at": unit.now, "actor": unit.actor, "act": "export", "what": what, "form": "csv"}
            queries.add_export(unit.conn, told | {"filters": "", "row_count": count, "persons": False})
        with lab.database.read() as conn:
            names, rows = queries.dump(conn, what)
            out = csv.writer(sys.stdout, lineterminator="\n")
            out.writerow(names)
            out.writerows(rows)


@click.command("backup")
@click.argument("target", type=click.Path(path_type=Path))
@data_option
@json_option
def backup_command(target: Path, data: Path | None, *, as_json: bool) -> None:
    """Write a consistent copy of the embedded database and the keys to the folder TARGET.

    A PostgreSQL laboratory is backed up with pg_basebackup or pg_dump; this command says so.
    """
    from lis.services import backups

    with _open(data) as lab:
        size = backups.make(lab.database, lab.settings, target)
    if as_json:
        print_json({"target": str(target), "bytes": size})
    else:
        click.echo(
            f"{size:,} bytes in {target}. The key in it opens personal data: keep it as safe as the data."
        )


@click.command("restore")
@click.argument("source", type=click.Path(exists=True, file_okay=False, path_type=Path))
@data_option
@json_option
def restore_command(source: Path, data: Path | None, *, as_json: bool) -> None:
    """Put the backup in SOURCE into an empty data folder and verify its log."""
    from lis import config
    from lis.services import admin, backups

    folder = config.load(data).data
    if folder.exists() and any(folder.iterdir()):
        raise Refused(
            "DATA_NOT_EMPTY", f"{folder} is not empty. Restore into a new folder; nothing was changed."
        )
    if not (source / "lis.db").is_file():
        raise Invalid("NOT_A_BACKUP", f"{source} holds no lis.db. Name the folder that lis backup wrote.")
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        backups.copy_private(path, folder / path.name)
    with _open(folder) as lab, lab.database.read() as conn:
        check = admin.verify_log(conn)
    if as_json:
        print_json(check.as_json())
    else:
        verdict = "verified" if check.ok else "DO NOT verify"
        click.echo(f"restored; {check.events} events of {check.tubes} tubes {verdict}")
    if not check.ok:
        raise Damaged("LOG_DAMAGED", check.problem)


# -- accounts ------------------------------------------------------------------------------------


@click.group("user")
def user_command() -> None:
    """Accounts and access tokens."""


@user_command.command("add")
@click.argument("name")
@click.option(
    "--role",
    required=True,
    help="technician, reviewer, manager, quality, administrator, collection or instrument.",
)
@click.option("--site", default="", help="The collection site, for the role collection.")
@click.option("--full-name", default="", help="As printed on reports.")
@click.option("--password", default=None, envvar="LIS_PASSWORD", help="Asked for if not given.")
@data_option
def user_add(
    *, name: str, role: str, site: str, full_name: str, password: str | None, data: Path | None
) -> None:
    """Add the account NAME."""
    from lis import auth

    secret = password or click.prompt("Password", hide_input=True, confirmation_prompt=True)
    with _open(data) as lab, lab.database.write(OPERATOR) as unit:
        auth.create_account(
            unit, name, full_name, role, secret, site=site, laboratory=lab.settings.laboratory
        )
    click.echo(f"account {name} ({role}) added")


@user_command.command("list")
@data_option
@json_option
def user_list(data: Path | None, *, as_json: bool) -> None:
    """List the accounts."""
    from lis import queries

    names = ["name", "full_name", "role", "active"]
    with _open(data) as lab, lab.database.read() as conn:
        rows = [{name: row[name] for name in names} for row in queries.accounts(conn)]
    print_rows(names, rows, as_json=as_json)


@user_command.command("token")
@click.argument("name")
@click.option("--days", type=click.IntRange(1, 3650), default=365, show_default=True)
@data_option
def user_token(name: str, days: int, data: Path | None) -> None:
    """Print an access token for the account NAME; it is shown once and never stored."""
    from lis import auth

    with _open(data) as lab, lab.database.write(OPERATOR) as unit:
        ticket = auth.open_token(unit, name, days=days)
    click.echo(ticket.secret)


# -- settings and generated pages ----------------------------------------------------------------


@click.group("config")
def config_command() -> None:
    """Settings."""


@config_command.command("show")
@data_option
@json_option
def config_show(data: Path | None, *, as_json: bool) -> None:
    """Show the settings in force; the password of a database URL is masked."""
    from lis import config, laboratory

    settings = config.load(data).model_dump(mode="json")
    if settings["database"]:
        settings["database"] = laboratory.masked_url(settings["database"])
    if as_json:
        print_json(settings)
    else:
        print_table(
            ["setting", "value", "environment"], [[k, v, f"LIS_{k.upper()}"] for k, v in settings.items()]
        )


@click.group("docs")
def docs_command() -> None:
    """Generated pages of the documentation."""


@docs_command.command("states")
def docs_states() -> None:
    """The tube's state diagram (Mermaid), generated from the transition table."""
    from lis.tube import diagram

    click.echo(diagram())


@docs_command.command("rules")
def docs_rules() -> None:
    """The page of all shipped rules (Markdown), generated from the rule files."""
    from lis.cli.rules import shipped_page

    click.echo(shipped_page(), nl=False)


@docs_command.command("formats")
def docs_formats() -> None:
    """The files of cyclers that are read, generated from their readers (docs/formats.md)."""
    from instruments.formats.guide import page

    click.echo(page())


COMMANDS = {
    "verify-log": verify_command,
    "rebuild": rebuild_command,
    "export": export_command,
    "backup": backup_command,
    "restore": restore_command,
    "user": user_command,
    "config": config_command,
    "docs": docs_command,
}
