"""The command line ``lis``. Modules of commands are loaded when one of theirs is called.

Data commands take ``--json``: one document on stdout, nothing else there. Exit status 0 is success, 2 a
usage error, 1 everything else, with ``error: CODE: sentence`` on stderr. No traceback reaches a user.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import click

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "demo": ("lis.cli.running", "Play a laboratory day on this machine: server, bridge, cyclers."),
    "serve": ("lis.cli.running", "Run the server: web, API, instrument bridge."),
    "agent": ("lis.cli.running", "Ship the files of a folder to the bridge (beside a cycler)."),
    "read": ("lis.cli.files", "Read a cycler's file and print what it says."),
    "call": ("lis.cli.files", "Call Cq from the raw curves of a file."),
    "formats": ("lis.cli.formats", "List the file formats that are read; propose a mapping for another."),
    "import": ("lis.cli.files", "Take a file over for a plate, as the bridge would."),
    "files": ("lis.cli.inbox", "What instruments sent: list, show, read again, dismiss."),
    "interpret": ("lis.cli.policy", "Interpret Cq values (CSV on stdin) by an assay's rules."),
    "assays": ("lis.cli.rules", "The assay rules: list, check, compare on past wells, put in force."),
    "pool": ("lis.cli.policy", "Design pools; advise on persons per tube from the rolling positivity."),
    "simulate": ("lis.cli.planning", "Simulate a laboratory: turnaround, queues, on-time share."),
    "plan": ("lis.cli.planning", "Find the smallest laboratory that keeps a target."),
    "forecast": ("lis.cli.capacity", "When waiting tubes will be reported, and what would help."),
    "admit": ("lis.cli.capacity", "Whether more tubes may come in, and whom they would make late."),
    "duty": ("lis.cli.duty", "Who is on, who is absent, which instruments are out of service."),
    "rota": ("lis.cli.rota", "Propose the smallest staffing of a week, checked by simulation."),
    "verify-log": ("lis.cli.admin", "Check that the log and all that follows from it are untouched."),
    "rebuild": ("lis.cli.admin", "Rebuild the tube table from the log."),
    "export": ("lis.cli.admin", "Write tubes, events or reports as CSV."),
    "backup": ("lis.cli.admin", "Write a consistent copy of the database and keys."),
    "restore": ("lis.cli.admin", "Put a backup back into an empty data folder."),
    "user": ("lis.cli.admin", "Accounts and access tokens."),
    "device": ("lis.cli.devices", "Instruments: enrol by code, rotate, revoke; simulate some."),
    "wall": ("lis.cli.wall", "An address that shows the turnaround wall on a monitor."),
    "doctor": ("lis.cli.doctor", "Check sockets, keys, clocks, disk, database and agents."),
    "config": ("lis.cli.admin", "Show the settings in force."),
    "docs": ("lis.cli.admin", "Print generated pages of the documentation."),
}
"""Command -> (module, help). The help stands here so that ``lis --help`` loads nothing else."""


OPERATOR: Final = "administrator@console"
"""Who acts when the command line writes."""

OURS: Final = frozenset({"lis", "instruments", "pooling", "retest", "scheduler", "sim"})
"""Packages whose errors carry a code and a sentence for people."""


class _Lazy(click.Group):
    """A group whose commands live in modules that are imported when needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a command."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = import_module(COMMANDS[cmd_name][0])
        command: click.Command = module.COMMANDS[cmd_name]
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="nat-lis", prog_name="lis")
def lis() -> None:
    """nat-lis: the laboratory information system for nucleic-acid testing."""


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit with its status."""
    try:
        lis.main(args=argv, prog_name="lis", standalone_mode=False)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.UsageError as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        click.echo("stopped", err=True)
        sys.exit(130)
    except click.ClickException as error:
        _fail("USAGE", error.format_message())
    except OSError as error:
        _fail("FILE", f"{error.strerror or error}: {error.filename or ''}".strip(": "))
    except Exception as error:  # noqa: BLE001 - whatever it is, a user reads a sentence
        _fail(*_in_words(error))


def _in_words(error: Exception) -> tuple[str, str]:
    """Code and sentence of an error; one that nobody foresaw is named as what it is.

    ``LIS_TRACEBACK`` in the environment shows where it happened, for the makers.
    """
    ours = type(error).__module__.partition(".")[0] in OURS
    code, sentence = getattr(error, "code", ""), getattr(error, "sentence", "") or str(error)
    if not (ours and isinstance(code, str) and code and sentence):
        if os.environ.get("LIS_TRACEBACK"):
            raise error
        said = " ".join(str(error).split())
        return (
            "UNEXPECTED",
            f"{type(error).__name__}: {said} - a fault of the program; send its makers this line.",
        )
    placed = getattr(error, "file", "") or getattr(error, "where", "")
    return code.upper().replace("-", "_"), str(error) if placed else sentence


def read_text(path: Path) -> str:
    """A text file that a person wrote.

    Raises:
        Invalid: ``NOT_UTF8``: it is no text in UTF-8.
    """
    from lis.errors import Invalid

    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise Invalid(
            "NOT_UTF8", f"{path.name} is no text in UTF-8. Save it as UTF-8 and try again."
        ) from None


def _fail(code: str, sentence: str) -> None:
    click.echo(f"error: {code}: {sentence}", err=True)
    sys.exit(1)


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    import json

    click.echo(json.dumps(document, ensure_ascii=False, indent=1, default=str))


def print_table(header: list[str], rows: list[list[Any]]) -> None:
    """A plain table on stdout, for people."""
    text = [[("" if cell is None else str(cell)) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in text) for i in range(len(header))]
    for row in text:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def print_rows(names: list[str], rows: list[dict[str, Any]], *, as_json: bool) -> None:
    """Rows as one JSON document or as a table."""
    if as_json:
        print_json(rows)
    else:
        print_table(names, [[row[name] for name in names] for row in rows])


data_option = click.option(
    "--data", type=click.Path(path_type=Path), default=None, help="Data folder (LIS_DATA)."
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
