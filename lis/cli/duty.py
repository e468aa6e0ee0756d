"""Commands about who is on duty, who is absent, and which machines are out of service."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lis.cli import OPERATOR, data_option, json_option, print_json, print_table, read_text

if TYPE_CHECKING:
    from lis.laboratory import Laboratory

LEARN_DAYS = 14


@click.group("duty")
def duty_command() -> None:
    """Shifts, absences, machines out of service: what forecasts know of people and machines."""


@duty_command.command("list")
@data_option
@json_option
def duty_list(data: Path | None, *, as_json: bool) -> None:
    """Show the plan in force, who is absent, what is out of service, and who was seen at work by hour."""
    from datetime import timedelta

    from lis import config, laboratory
    from lis.cli.capacity import plain
    from lis.services import capacity, duty

    with laboratory.open_laboratory(config.load(data)) as lab, lab.database.read() as conn:
        now = lab.database.clock.now()
        found = duty.document(conn, now, lab.zone)
        seen = capacity.by_hour(conn, lab.zone, now - timedelta(days=LEARN_DAYS), now)
        found["learned"] = seen
    if as_json:
        print_json(plain(found))
        return
    if found["plan"] is None:
        click.echo("No plan is in force: forecasts go by the hours in which people were seen at work.")
    else:
        plan = found["plan"]
        click.echo(f"plan {plan['title'] or plan['act']}, from {plan['from']}; today {found['today']}:")
        names = ["role", "shift", "start", "end", "people"]
        print_table(names, [[row[name] for name in names] for row in found["planned_today"]])
        if plan["machines"]:
            click.echo("machines: " + ", ".join(f"{one['name']} ({one['kind']})" for one in plan["machines"]))
    _print_spells(found, lab)
    click.echo(f"\nseen at work, a day on average of the last {LEARN_DAYS}:")
    names = ["hour", "reception", "prepare", "review", "cycler"]
    print_table(names, [[row[name] for name in names] for row in seen if any(list(row.values())[1:])])


def _print_spells(found: dict[str, Any], lab: Laboratory) -> None:
    def local(moment: datetime | None) -> str:
        return f"{moment.astimezone(lab.zone):%m-%d %H:%M}" if moment else "nobody knows"

    for one in found["absences"]:
        shift = f" ({one['shift']})" if one["shift"] else ""
        click.echo(
            f"absence {one['absence']}: {one['people']} of {one['role']}{shift}, {local(one['since'])} to "
            f"{local(one['until'])}. {one['reason']}"
        )
    for one in found["out_of_service"]:
        click.echo(
            f"{'maintenance' if one['planned'] else 'out of service'}: {one['instrument']} "
            f"{'from' if one['planned'] else 'since'} {local(one['since'])}, expected back: "
            f"{local(one['expected_back'])}. {one['reason']}"
        )


@duty_command.command("set")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--check", is_flag=True, help="Only say whether the plan is right; set nothing.")
@data_option
@json_option
def duty_set(file: Path, data: Path | None, *, check: bool, as_json: bool) -> None:
    """Put the duty plan of FILE (TOML; - for stdin) in force from its first day on.

    `lis rota SCENARIO --toml` writes such a file; docs/twin.md describes it.
    """
    from lis import config, laboratory
    from lis.services import duty

    text = sys.stdin.read() if str(file) == "-" else read_text(file)
    plan = duty.read_plan(text)
    number = 0
    if not check:
        with laboratory.open_laboratory(config.load(data)) as lab, lab.database.write(OPERATOR) as unit:
            number = duty.set_plan(unit, plan)
    people = sum(shift.people * len(shift.days) for shift in plan.shifts)
    if as_json:
        print_json({"act": number, "from": plan.since.isoformat(), "shifts": len(plan.shifts)})
        return
    said = "is right; nothing was set" if check else f"is in force from {plan.since} on (act {number})"
    click.echo(f"The plan of {len(plan.shifts)} shifts, {people} duties a week, {said}.")


def _moment(lab: Laboratory, text: str) -> datetime | None:
    from lis.cli.capacity import moment_of

    return moment_of(lab, text) if text else None


@duty_command.command("absent")
@click.argument("role")
@click.argument("people", type=int)
@click.option("--since", default="", help="From when: ISO 8601; now if not said.")
@click.option("--until", required=True, help="Until when: ISO 8601.")
@click.option("--shift", default="", help="Of this shift alone.")
@click.option("--why", default="", help="Reason.")
@data_option
@json_option
def duty_absent(  # noqa: PLR0913 - every option is an argument
    *,
    role: str,
    people: int,
    since: str,
    until: str,
    shift: str,
    why: str,
    data: Path | None,
    as_json: bool,
) -> None:
    """PEOPLE of ROLE (reception, prepare or review) are not there until a time."""
    from lis import config, laboratory
    from lis.services import duty

    with laboratory.open_laboratory(config.load(data)) as lab:
        begin, end = _moment(lab, since), _moment(lab, until)
        with lab.database.write(OPERATOR) as unit:
            between = (begin or unit.now, end or unit.now)
            number = duty.absent(unit, role, people, between, why, shift)
    if as_json:
        print_json({"absence": number})
    else:
        click.echo(f"Absence {number} is written down. When they are back: lis duty back {number}")


@duty_command.command("back")
@click.argument("absence", type=int)
@data_option
def duty_back(absence: int, data: Path | None) -> None:
    """The people of ABSENCE (its number) are back, earlier than was said."""
    from lis import config, laboratory
    from lis.services import duty

    with laboratory.open_laboratory(config.load(data)) as lab, lab.database.write(OPERATOR) as unit:
        duty.back(unit, absence)
    click.echo(f"Absence {absence} has ended.")


@duty_command.command("out-of-service")
@click.argument("instrument")
@click.option(
    "--since", default="", help="Since when: ISO 8601; now if not said. A time ahead is maintenance."
)
@click.option("--expected", default="", help="When it should be back: ISO 8601; nobody knows if not said.")
@click.option("--why", default="", help="Reason.")
@data_option
@json_option
def duty_out(
    instrument: str, *, since: str, expected: str, why: str, data: Path | None, as_json: bool
) -> None:
    """INSTRUMENT (a cycler, or a machine that the duty plan names) is out of service."""
    from lis import config, laboratory
    from lis.services import duty

    with laboratory.open_laboratory(config.load(data)) as lab:
        begin, end = _moment(lab, since), _moment(lab, expected)
        with lab.database.write(OPERATOR) as unit:
            number = duty.out_of_service(unit, instrument, begin, end, why)
    if as_json:
        print_json({"act": number, "instrument": instrument})
    else:
        click.echo(f"{instrument} is out of service. When it is back: lis duty back-in-service {instrument}")


@duty_command.command("back-in-service")
@click.argument("instrument")
@data_option
def duty_in(instrument: str, data: Path | None) -> None:
    """INSTRUMENT is back in service; of one that is not out yet, its maintenance is called off."""
    from lis import config, laboratory
    from lis.services import duty

    with laboratory.open_laboratory(config.load(data)) as lab, lab.database.write(OPERATOR) as unit:
        duty.back_in_service(unit, instrument)
    click.echo(f"{instrument} is back in service.")


COMMANDS = {"duty": duty_command}
