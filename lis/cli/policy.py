"""The command that interprets; `assays` is in `rules`, pools are in `pool`."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lis.cli import data_option, json_option, print_json, print_table, read_text
from lis.cli.pool import pool_command
from lis.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@click.command("interpret")
@click.option("--assay", required=True, help="Id of a loaded assay, or the path of a rule file.")
@click.option("--instrument", default="", help="Cycler model, for cutoffs that depend on it.")
@click.option("--laboratory", default="", help="Laboratory, for its own cutoffs.")
@data_option
@json_option
def interpret_command(
    assay: str, instrument: str, laboratory: str, data: Path | None, *, as_json: bool
) -> None:
    """Interpret Cq values, CSV on stdin: specimen,<target>,<target>,...; an empty field = undetermined."""
    from retest import interpret

    rules = _assay(assay, data)
    found = []
    for specimen, readings in _specimens(_lines()):
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
        return AssayRules.from_toml(read_text(path), path.name)
    texts = dict(rulebook.files("assays", config.load(data).data / "rules"))
    if name not in texts:
        raise Invalid("ASSAY_UNKNOWN", f"No rules for assay {name}. Known: {', '.join(sorted(texts))}.")
    return AssayRules.from_toml(texts[name], name)


def _lines() -> Iterable[str]:
    """The lines on stdin, in UTF-8 whatever the terminal speaks; a byte order mark of Excel is no text."""
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig").splitlines(keepends=True)
    except UnicodeDecodeError as error:
        raise Invalid(
            "CSV_ENCODING",
            f"Byte {error.start + 1} is not UTF-8. Save the table as CSV UTF-8; nothing was interpreted.",
        ) from None


def _specimens(lines: Iterable[str]) -> Iterator[tuple[str, list[Any]]]:
    table = csv.reader(lines, strict=True)
    try:
        yield from _rows(table)
    except csv.Error as error:
        raise Invalid(
            "CSV_ROW",
            f"The table cannot be read as CSV after line {table.line_num}: {error}. Check the quotes.",
        ) from None


def _rows(table: Any) -> Iterator[tuple[str, list[Any]]]:
    header = [cell.strip() for cell in next(table, [])]
    if len(header) < 2 or header[0].lower() not in {"specimen", "sample"}:
        raise Invalid(
            "CSV_HEADER", "The first line must be specimen,<target>,<target>,...; nothing was interpreted."
        )
    for row in table:
        if not any(cell.strip() for cell in row):
            continue
        line = table.line_num
        if len(row) != len(header):
            raise Invalid("CSV_ROW", f"Line {line} has {len(row)} fields, the header has {len(header)}.")
        cells = zip(header[1:], row[1:], strict=True)
        yield row[0].strip(), [_reading(target, cell, line) for target, cell in cells]


def _reading(target: str, cell: str, line: int) -> Any:
    from retest import Reading, ReadingError

    try:
        return Reading(target, _number(cell, line))
    except ReadingError as error:
        raise Invalid("CSV_NUMBER", f"Line {line}, {target}: {error.sentence}") from None


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


COMMANDS = {"interpret": interpret_command, "pool": pool_command}
