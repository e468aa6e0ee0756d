"""Commands about assay rules: what is loaded, is a file good, what would it change, put it in force."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lis.cli import data_option, json_option, print_json, print_table, read_text

if TYPE_CHECKING:
    from lis.laboratory import Laboratory


def _open(data: Path | None) -> Laboratory:
    from lis import config, laboratory

    return laboratory.open_laboratory(config.load(data))


@click.group("assays", invoke_without_command=True)
@data_option
@json_option
@click.pass_context
def assays_command(ctx: click.Context, data: Path | None, *, as_json: bool) -> None:
    """List the loaded assay rules with version and hash."""
    if ctx.invoked_subcommand:
        return
    found = _loaded(data)
    if as_json:
        print_json([_assay_json(rules) for rules in found])
    else:
        print_table(
            ["id", "version", "hash", "name"], [[r.id, r.version, r.digest[:12], r.name] for r in found]
        )


def _loaded(data: Path | None) -> list[Any]:
    """The assays in force, without opening the database."""
    from lis import config, rulebook
    from retest import AssayRules

    texts = rulebook.files("assays", config.load(data).data / "rules")
    return [AssayRules.from_toml(text, f"{name}.toml") for name, text in texts]


def _assay_json(rules: Any) -> dict[str, Any]:
    return {
        "id": rules.id,
        "name": rules.name,
        "version": rules.version,
        "hash": rules.digest,
        "targets": [target.name for target in rules.targets],
        "off": dict(rules.off),
        "source": rules.source,
        "notes": rules.notes,
    }


@assays_command.command("check")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
def check_command(file: Path, *, as_json: bool) -> None:
    """Validate a rule FILE: bands without gap or overlap, a complete and unambiguous decision table."""
    from retest import AssayRules

    rules = AssayRules.from_toml(read_text(file), file.name)
    if as_json:
        print_json(_assay_json(rules) | {"ok": True})
    else:
        said = f"{rules.id} version {rules.version} is complete and unambiguous"
        click.echo(f"{file.name}: {said} ({rules.digest[:12]})")
        for rule, reason in rules.off.items():
            click.echo(f"switched off: {rule}: {reason}")


_CHANGE = ("specimen", "run", "well", "old_outcome", "old_rule", "new_outcome", "new_rule", "next")


@assays_command.command("diff")
@click.argument("old")
@click.argument("new")
@click.option(
    "--on", "period", required=True, help="2022-12-01..2022-12-31 (days, both included), one day, or all."
)
@data_option
@json_option
def diff_command(old: str, new: str, period: str, data: Path | None, *, as_json: bool) -> None:
    """Replay past wells under the rules NEW and list every outcome that differs from OLD. Changes nothing.

    OLD and NEW are a loaded id, id@version, or the path of a rule file. A tube counts as read for the
    first time in each of its runs.
    """
    from lis.services import rule_lab

    with _open(data) as lab, lab.database.read() as conn:
        before, after = rule_lab.find_rules(lab.rules, old), rule_lab.find_rules(lab.rules, new)
        found = rule_lab.diff(conn, lab.rules, before, after, rule_lab.period(period, lab.zone))
    rows = [change.as_json() for change in found.changes]
    if as_json:
        head = {
            "old": found.old,
            "new": found.new,
            "period": period,
            "runs": found.runs,
            "specimens": found.specimens,
        }
        print_json(head | {"changed": rows})
        return
    if rows:
        print_table(list(_CHANGE), [[row[name] for name in _CHANGE] for row in rows])
    click.echo(
        f"{len(rows)} of {found.specimens} readings in {found.runs} runs change, {found.old} to {found.new}"
    )


@assays_command.command("activate")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--by", required=True, help="The person who answers for these rules.")
@click.option("--reason", required=True, help="Why they go in force.")
@data_option
@json_option
def activate_command(file: Path, by: str, reason: str, data: Path | None, *, as_json: bool) -> None:
    """Put the rule FILE in force: keep it with person, time and reason, copy it to the laboratory's rules.

    A new content needs a new version. Past results keep the version they were made with. A running
    server takes the rules at its next start.
    """
    from lis.services import rule_force

    text = read_text(file)
    with _open(data) as lab:
        with lab.database.write(by) as unit:
            rules, done = rule_force.activate(unit, lab.rules, text, file.name, by=by, reason=reason)
        path = rule_force.install(lab.settings.data / "rules", rules, text)
    if as_json:
        print_json(asdict(done) | {"file": str(path)})
    else:
        click.echo(f"{rules.id} version {rules.version} is in force from the next start on ({path})")


@assays_command.command("history")
@click.argument("name", default="")
@data_option
@json_option
def history_command(name: str, data: Path | None, *, as_json: bool) -> None:
    """Who put which rules in force, when and why; of the assay NAME, or of all."""
    from lis.services import rule_force

    with _open(data) as lab, lab.database.read() as conn:
        found = [asdict(one) for one in rule_force.history(conn, name)]
    if as_json:
        print_json(found)
    else:
        names = ["assay", "version", "replaces", "by", "at", "reason"]
        print_table(names, [[row[key] for key in names] for row in found])


@assays_command.command("sheet")
@click.argument("name")
@click.option("--csv", "csv_file", type=click.Path(dir_okay=False, path_type=Path), help="Write it as CSV.")
@click.option(
    "--pdf", "pdf_file", type=click.Path(dir_okay=False, path_type=Path), help="Write it for signature."
)
@data_option
def sheet_command(name: str, csv_file: Path | None, pdf_file: Path | None, data: Path | None) -> None:
    """What the rules NAME answer below, at and above every cutoff, row by row; as CSV on stdout, or in files.

    NAME is a loaded id or the path of a rule file.
    """
    from lis.clock import SystemClock
    from retest.sheet import as_csv

    rules = _rules(name, data)
    if csv_file is not None:
        csv_file.write_text(
            "\ufeff" + as_csv(rules), encoding="utf-8", newline=""
        )  # the mark tells Excel it is UTF-8
    if pdf_file is not None:
        from lis.printing.rulesheet import as_rulesheet

        pdf_file.write_bytes(as_rulesheet(rules, SystemClock().now()))
    if csv_file is None and pdf_file is None:
        click.echo(as_csv(rules), nl=False)


def _rules(name: str, data: Path | None) -> Any:
    from lis.errors import NotFound
    from retest import AssayRules

    path = Path(name)
    if path.suffix == ".toml" or path.is_file():
        return AssayRules.from_toml(read_text(path), path.name)
    found = {rules.id: rules for rules in _loaded(data)}
    if name not in found:
        raise NotFound("ASSAY_UNKNOWN", f"No rules for assay {name}. Known: {', '.join(sorted(found))}.")
    return found[name]


def shipped_page() -> str:
    """The page of the documentation that says all shipped rules."""
    from lis.rulebook import files
    from retest import AssayRules, DischargeRules, Policy, ReleaseRules
    from retest.page import rules_page

    policies = dict(files("policies"))
    release = ReleaseRules.from_toml(policies.pop("release"), "release.toml")
    ends = {name: policies.pop(name) for name in sorted(policies) if name.startswith("discharge-")}
    return rules_page(
        [AssayRules.from_toml(text, f"{name}.toml") for name, text in files("assays")],
        [Policy.from_toml(text, f"{name}.toml") for name, text in policies.items()],
        [DischargeRules.from_toml(text, f"{name}.toml") for name, text in ends.items()],
        release,
    )


COMMANDS = {"assays": assays_command}
