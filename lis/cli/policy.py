"""Commands about rules: interpretation and assays; pools are in `pool`."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import IO, Any

import click

from lis.cli import data_option, json_option, print_json, print_table
from lis.cli.pool import pool_command
from lis.errors import Invalid


@click.command("interpret")
@click.option("--assay", required=True, help="Id of a loaded assay, or the path of a rule file.")
@click.option("--instrument", default="", help="Cycler model, for cutoffs that depend on it.")
@click.option("--laboratory", default="", help="Laboratory, for its own cutoffs.")
@data_option
@json_option
def interpret_command(assay: str, instrument: str, laboratory: str, data: Path | None, *, as_json: bool) -> None:
    """Interpret Cq values read as CSV on stdin: specimen,<target>,<target>,...; an empty field = undetermined."""
    from retest import interpret  # noqa: PLC0415

    rules = _assay(assay, data)
    found = []
    for specimen, readings in _specimens(sys.stdin, rules):
        outcome = interpret(readings, rules, instrument=instrument, laboratory=laboratory)
        found.append(
            {
                "specimen": specimen,
                "outcome": outcome.call.value,
                "next": outcome.next.value,
                "rule": outcome.rule,
                "assay_version": outcome.version,
            }
        )
    if as_json:
        print_json(found)
    else:
        names = ["specimen", "outcome", "next", "rule", "assay_version"]
        print_table(names, [[row[name] for name in names] for row in found])


def _assay(name: str, data: Path | None) -> Any:
    from lis import config, rulebook  # noqa: PLC0415
    from retest import AssayRules  # noqa: PLC0415

    path = Path(name)
    if path.suffix == ".toml" or path.exists():
        return AssayRules.from_toml(path.read_text(encoding="utf-8"), path.name)
    texts = dict(rulebook.files("assays", config.load(data).data / "rules"))
    if name not in texts:
        raise Invalid("ASSAY_UNKNOWN", f"No rules for assay {name}. Known: {', '.join(sorted(texts))}.")
    return AssayRules.from_toml(texts[name], name)


def _specimens(stream: IO[str], rules: Any) -> Any:
    from retest import Reading  # noqa: PLC0415

    table = csv.reader(stream)
    header = [cell.strip() for cell in next(table, [])]
    if len(header) < 2 or header[0].lower() not in {"specimen", "sample"}:
        raise Invalid("CSV_HEADER", "The first line must be specimen,<target>,<target>,...; nothing was interpreted.")
    for number, row in enumerate(table, start=2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            raise Invalid("CSV_ROW", f"Line {number} has {len(row)} fields, the header has {len(header)}.")
        cells = zip(header[1:], row[1:], strict=True)
        yield row[0].strip(), [Reading(target, _number(cell, number)) for target, cell in cells]


def _number(cell: str, line: int) -> float | None:
    text = cell.strip()
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise Invalid(
            "CSV_NUMBER", f"Line {line}: {text!r} is not a Cq. Leave the field empty for undetermined."
        ) from None


@click.group("assays", invoke_without_command=True)
@data_option
@json_option
@click.pass_context
def assays_command(ctx: click.Context, data: Path | None, *, as_json: bool) -> None:
    """List the loaded assay rules with version and hash."""
    if ctx.invoked_subcommand:
        return
    from lis import config, rulebook  # noqa: PLC0415
    from retest import AssayRules  # noqa: PLC0415

    found = [
        AssayRules.from_toml(text, name) for name, text in rulebook.files("assays", config.load(data).data / "rules")
    ]
    if as_json:
        print_json([_assay_json(rules) for rules in found])
    else:
        print_table(["id", "version", "hash", "name"], [[r.id, r.version, r.digest[:12], r.name] for r in found])


def _assay_json(rules: Any) -> dict[str, Any]:
    return {
        "id": rules.id,
        "name": rules.name,
        "version": rules.version,
        "hash": rules.digest,
        "targets": [target.name for target in rules.targets],
        "source": rules.source,
        "notes": rules.notes,
    }


@assays_command.command("check")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def check_command(file: Path, *, as_json: bool) -> None:
    """Validate a rule FILE: bands without gap or overlap, a complete and unambiguous decision table."""
    from retest import AssayRules  # noqa: PLC0415

    rules = AssayRules.from_toml(file.read_text(encoding="utf-8"), file.name)
    if as_json:
        print_json(_assay_json(rules) | {"ok": True})
    else:
        click.echo(f"{file.name}: {rules.id} version {rules.version} is complete and unambiguous ({rules.digest[:12]})")


COMMANDS = {"interpret": interpret_command, "assays": assays_command, "pool": pool_command}
