"""Commands about rules: interpretation, pool design."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import IO, Any

import click

from lis.cli import data_option, json_option, print_json, print_table
from lis.errors import Invalid


@click.command("interpret")
@click.option("--assay", required=True, help="Id of a loaded assay, or the path of a rule file.")
@click.option("--instrument", default="", help="Cycler model, for cutoffs that depend on it.")
@click.option("--laboratory", default="", help="Laboratory, for its own cutoffs.")
@data_option
@json_option
def interpret_command(assay: str, instrument: str, laboratory: str, data: Path | None, *, as_json: bool) -> None:
    """Interpret Cq values read as CSV on stdin: specimen,<target>,<target>,...; an empty field = undetermined."""
    from retest import interpret

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
    from lis import config, rulebook
    from retest import AssayRules

    path = Path(name)
    if path.suffix == ".toml" or path.exists():
        return AssayRules.from_toml(path.read_text(encoding="utf-8"), path.name)
    texts = dict(rulebook.files("assays", config.load(data).data / "rules"))
    if name not in texts:
        raise Invalid("ASSAY_UNKNOWN", f"No rules for assay {name}. Known: {', '.join(sorted(texts))}.")
    return AssayRules.from_toml(texts[name], name)


def _specimens(stream: IO[str], rules: Any) -> Any:
    from retest import Reading

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


@click.group("pool")
def pool_command() -> None:
    """Pools of single tubes."""


@pool_command.command("design")
@click.option("--prevalence", type=float, required=True, help="Share of positive persons, 0 to 1.")
@click.option("--size", type=int, default=None, help="Pool size; without it the best one is searched.")
@click.option("--sensitivity", type=float, default=1.0, show_default=True)
@click.option("--specificity", type=float, default=1.0, show_default=True)
@click.option("--stages", type=click.IntRange(1, 3), default=2, show_default=True)
@click.option("--array", default=None, help="Rows x columns, such as 8x12.")
@click.option("--max-size", type=int, default=None, help="Largest pool that may be used.")
@click.option("--min-sensitivity", type=float, default=None, help="Sensitivity floor of the whole procedure.")
@json_option
def design_command(*, as_json: bool, array: str | None, **options: Any) -> None:
    """Tests per person, sensitivity and predictive values of a pooling design."""
    from pooling import design

    given = {name: value for name, value in options.items() if value is not None}
    if array:
        rows, _, columns = array.lower().partition("x")
        if not (rows.isdigit() and columns.isdigit()):
            raise Invalid("ARRAY", f"An array is rows x columns, such as 8x12, not {array}.")
        given["array"] = (int(rows), int(columns))
    found = design(given.pop("prevalence"), **given)
    document = {name: getattr(found, name) for name in _DESIGN}
    document["refused"] = [str(reason) for reason in found.refused]
    if as_json:
        print_json(document)
        return
    for name in _DESIGN:
        click.echo(f"{name.replace('_', ' '):20} {document[name]}")
    for reason in document["refused"]:
        click.echo(f"refused: {reason}", err=True)


_DESIGN = ("size", "stages", "tests_per_person", "sensitivity", "specificity", "ppv", "npv", "expected_tests", "saving")

COMMANDS = {"interpret": interpret_command, "pool": pool_command}
