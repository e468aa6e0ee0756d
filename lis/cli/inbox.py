"""Commands about what instruments sent: list it, look at it, decide about what is in quarantine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lis.cli import OPERATOR, data_option, json_option, print_json, print_table

STATES = ("waiting", "read", "quarantined", "dismissed")
SHOWN = 12


@click.group("files")
def files_command() -> None:
    """Files of instruments: list, show, read again, dismiss."""


@files_command.command("list")
@click.option(
    "--state", type=click.Choice(STATES), multiple=True, help="Only these (may be given again); else all."
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True)
@data_option
@json_option
def files_list(state: tuple[str, ...], limit: int, data: Path | None, *, as_json: bool) -> None:
    """List what was received, newest first, with the reason why a file is set aside."""
    from lis import config, laboratory, queries

    with laboratory.open_laboratory(config.load(data)) as lab, lab.database.read() as conn:
        rows = queries.files(conn, *state, limit=limit)
    names = ["file_id", "received_at", "device", "run", "plate_id", "name", "size", "state", "code", "reason"]
    found = [{name: row[name] for name in names} for row in rows]
    if as_json:
        print_json(found)
        return
    shown = ["file", *names[1:-1]]
    print_table(shown, [[row["file_id"][:SHOWN], *(row[name] for name in names[1:-1])] for row in found])
    for row in found:
        if row["reason"]:
            click.echo(f"{row['file_id'][:SHOWN]}  {row['code']}: {row['reason']}")


@files_command.command("show")
@click.argument("file_id")
@click.option(
    "--save", type=click.Path(dir_okay=False, path_type=Path), help="Write the bytes as received here."
)
@data_option
@json_option
def files_show(file_id: str, save: Path | None, data: Path | None, *, as_json: bool) -> None:
    """Show the file FILE_ID (its first characters are enough); --save writes its bytes, unchanged."""
    from lis import config, laboratory, queries

    with laboratory.open_laboratory(config.load(data)) as lab, lab.database.read() as conn:
        row = queries.file_row(conn, _whole(conn, file_id))
        status = queries.status_of_file(conn, row["file_id"]) if row else None
    if row is None or status is None:
        raise LookupError(file_id)
    content = row.pop("content")
    if save is not None:
        with save.open("xb") as out:
            out.write(content)
        click.echo(f"{len(content)} bytes written to {save}", err=True)
    found: dict[str, Any] = {**row, **{name: value for name, value in status.items() if value}}
    if as_json:
        print_json(found)
    else:
        for name, value in found.items():
            click.echo(f"{name:12} {value}")


@files_command.command("retry")
@click.argument("file_id")
@click.option("--plate", default="", help="Code of the plate it belongs to, if it named none or a wrong one.")
@data_option
@json_option
def files_retry(file_id: str, plate: str, data: Path | None, *, as_json: bool) -> None:
    """Read the quarantined file FILE_ID again; exits 1 if it is set aside again."""
    from lis import config, laboratory
    from lis.errors import Refused
    from lis.services import inbox

    with laboratory.open_laboratory(config.load(data)) as lab:
        with lab.database.write(OPERATOR) as unit:
            whole = _whole(unit.conn, file_id)
            inbox.retry(unit, whole, plate)
        done = laboratory.process(lab, whole, OPERATOR)[0]
    if as_json:
        print_json({"state": done.state, "code": done.code, "reason": done.sentence, "plate": done.plate_id})
    else:
        click.echo(f"{done.state} {done.plate_id}".strip())
    if done.state != "read":
        raise Refused(done.code, done.sentence)


@files_command.command("dismiss")
@click.argument("file_id")
@click.option("--reason", required=True, help="Why it is not needed; kept with it.")
@data_option
def files_dismiss(file_id: str, reason: str, data: Path | None) -> None:
    """Decide that the quarantined file FILE_ID is not needed; its bytes stay."""
    from lis import config, laboratory
    from lis.services import inbox

    with (
        laboratory.open_laboratory(config.load(data)) as lab,
        lab.database.write(OPERATOR) as unit,
    ):
        inbox.dismiss(unit, _whole(unit.conn, file_id), reason)
    click.echo("dismissed; its bytes are kept")


def _whole(conn: Any, begins: str) -> str:
    """The one file whose id begins so.

    Raises:
        NotFound: none does. Invalid: several do.
    """
    from lis import queries
    from lis.errors import Invalid, NotFound

    found = queries.files_beginning(conn, begins)
    if not found:
        raise NotFound("FILE_UNKNOWN", "No such file was received.")
    if len(found) > 1:
        raise Invalid("FILE_AMBIGUOUS", f"Several files begin with {begins}. Give more characters.")
    return found[0]


COMMANDS = {"files": files_command}
