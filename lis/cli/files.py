"""Commands about instrument files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from lis.cli import data_option, json_option, print_json, print_table


@click.command("read")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("more", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--run", default="", help="Which run of a file that holds several.")
@click.option(
    "--export", type=click.Path(dir_okay=False, path_type=Path), help="Write .rdml, .csv or .parquet."
)
@click.option(
    "--rdml",
    "version",
    type=click.Choice(["1.3", "1.4"]),
    default="1.4",
    show_default=True,
    help="RDML version of an .rdml export; 1.3 for programs that do not open 1.4.",
)
@data_option
@json_option
def read_command(
    file: Path,
    more: tuple[Path, ...],
    run: str,
    export: Path | None,
    version: Any,
    data: Path | None,
    *,
    as_json: bool,
) -> None:
    """Read a cycler's FILE and print what it says; with MORE files of the same run, put together.

    An unknown or incomplete file exits with 1; with --json it still prints what could be read, with
    "complete": false and the reasons. A file of several runs prints them all, each well with its run.
    """
    from instruments import InstrumentError
    from lis import config, rulebook

    tables = tuple(rulebook.own_tables(config.load(data).data / "rules"))
    try:
        runs = _runs([file, *more], tables, run)
    except InstrumentError as error:
        if as_json:
            print_json(_nothing_read(file.name, error))
        raise
    if export is not None:
        _export(runs, export, version)
    document = runs[0].as_json() if len(runs) == 1 else _several(runs)
    if as_json:
        print_json(document)
    else:
        _print_run(document)
    if not document["complete"]:
        raise InstrumentError("INCOMPLETE_FILE", "; ".join(document["reasons"]), file=file.name)


def _runs(paths: list[Path], tables: Any, run: str) -> tuple[Any, ...]:
    """The runs of a file, or the one run of several files."""
    from instruments.formats import read, read_all, sets

    if len(paths) > 1:
        return (sets.combine([read(path.name, path.read_bytes(), tables) for path in paths]),)
    name, content = paths[0].name, paths[0].read_bytes()
    return (read(name, content, tables, run=run),) if run else read_all(name, content, tables)


def _export(runs: tuple[Any, ...], target: Path, version: Any) -> None:
    from instruments import export

    for name, content in export.files(runs, target.name, version).items():
        (target.parent / name).write_bytes(content)
        click.echo(f"{target.parent / name}: {len(content):,} bytes", err=True)


def _several(runs: tuple[Any, ...]) -> dict[str, Any]:
    """One document of several runs: the first one's keys, all wells with their run, all reasons."""
    documents: list[dict[str, Any]] = [run.as_json() for run in runs]
    return documents[0] | {
        "experiment": "",
        "runs": [document["experiment"] for document in documents],
        "complete": all(document["complete"] for document in documents),
        "reasons": list(dict.fromkeys(reason for document in documents for reason in document["reasons"])),
        "wells": [{**well, "run": d["experiment"]} for d in documents for well in d["wells"]],
        "curves": sum(document["curves"] for document in documents),
        "unread": list(dict.fromkeys(name for document in documents for name in document["unread"])),
    }


def _nothing_read(name: str, error: Any) -> dict[str, Any]:
    return {
        "name": name,
        "format": "",
        "instrument": "",
        "serial": "",
        "run_started": None,
        "run_ended": None,
        "complete": False,
        "reasons": [str(error)],
        "code": error.code,
        "wells": [],
        "curves": 0,
        "unread": [],
    }


def _print_run(document: dict[str, Any]) -> None:
    click.echo(
        f"{document['name']}: {document['format']}, {document['instrument']} {document['serial']}".rstrip()
    )
    click.echo(
        f"run {document['run_started'] or '?'} to {document['run_ended'] or '?'}, {document['curves']} curves"
    )
    names = ["well", "sample", "task", "target", "dye", "cq", "call", "flags"]
    rows = [[", ".join(w["flags"]) if n == "flags" else w[n] for n in names] for w in document["wells"]]
    print_table(names, rows)
    if document["unread"]:
        click.echo(f"kept but not understood: {', '.join(document['unread'])}", err=True)


@click.command("call")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--method",
    type=click.Choice(["abi", "cfx", "threshold", "sdm", "5pl", "linregpcr"]),
    default=None,
    help="How Cq is called; without it as the instrument does.",
)
@click.option(
    "--report",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Measure calling on every run and benchmark in a folder instead.",
)
@json_option
def call_command(file: Path | None, method: Any, report: Path | None, *, as_json: bool) -> None:
    """Call Cq from the raw curves of FILE and put it beside the instrument's own.

    With --report DIR: how exactly the Cq of instruments are reproduced, how replicates scatter, how
    verdicts compare with people, what a running plate foretells.
    """
    if (file is None) == (report is None):
        raise click.UsageError("Give a FILE, or a folder with --report.")
    if report is not None:
        _print_report(report, as_json=as_json)
    elif file is not None:
        _print_calls(file, method, as_json=as_json)


def _print_report(folder: Path, *, as_json: bool) -> None:
    from instruments.calling_report import tables

    made = []
    for table in tables(folder):
        if as_json:
            made.append({"title": table.title, "columns": table.columns, "rows": table.rows})
        else:
            click.echo(f"\n{table.title}")
            print_table(list(table.columns), [list(row) for row in table.rows])
    if as_json:
        print_json({"tables": made})


def _print_calls(file: Path, method: Any, *, as_json: bool) -> None:
    from instruments import InstrumentError, read
    from instruments.checking import call_run

    run = read(file.name, file.read_bytes())
    if not run.curves:
        raise InstrumentError(
            "NO_CURVES", "The file holds no amplification curves. Export them too.", file=file.name
        )
    document = call_run(run, method)
    if as_json:
        print_json(document)
        return
    names = ["well", "target", "cq", "instrument_cq", "curve", "shape", "efficiency", "flags"]
    click.echo(f"method {document['method']}, threshold {document['threshold']}")
    print_table(names, [[_short(well[name]) for name in names] for well in document["wells"]])


def _short(value: Any) -> Any:
    if isinstance(value, list):
        return ", ".join(value)
    return f"{value:.3f}" if isinstance(value, float) else value


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--plate", required=True, help="Code of the plate the file belongs to.")
@click.option("--device", default="usb", show_default=True, help="Name under which the file is kept.")
@data_option
@json_option
def import_command(file: Path, plate: str, device: str, data: Path | None, *, as_json: bool) -> None:
    """Take FILE over for a plate, exactly as the bridge would; exits 1 if it was quarantined."""
    from lis import config, laboratory
    from lis.services.inbox import Delivery

    content = file.read_bytes()
    with laboratory.open_laboratory(config.load(data)) as lab:
        parsed = laboratory.parse(lab, file.name, content)
        run = laboratory.run_key(file.name, content, parsed)
        handled = laboratory.handle(lab, Delivery(device, run, file.name, content, plate), parsed)
        document = laboratory.handled_json(lab, handled)
    if as_json:
        print_json(document)
    else:
        _print_import(document)
    if document["state"] != "read":
        click.echo(f"error: {document['code']}: {document['reason']}", err=True)
        sys.exit(1)


def _print_import(document: dict[str, Any]) -> None:
    click.echo(
        f"{document['state']} ({document['status']}) plate {document['plate']} run {document['run_id']}"
    )
    names = ["tube", "outcome", "rule", "state", "test", "reason", "result"]
    print_table(names, [[tube[name] for name in names] for tube in document["tubes"]])


COMMANDS = {"read": read_command, "call": call_command, "import": import_command}
