"""``lis doctor``: is everything as a laboratory needs it. Looks only; changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lis.cli import data_option, json_option, print_json, print_table
from lis.errors import LisError

if TYPE_CHECKING:
    from lis.cli.checks_machine import Finding
    from lis.config import Settings


def examine(settings: Settings, now: datetime) -> Iterator[Finding]:
    """Every check, one finding or more each."""
    from lis.cli import checks_data, checks_machine

    found = list(checks_machine.folder(settings))
    yield from found
    yield from checks_machine.sockets(settings)
    if not settings.data.is_dir():
        return
    yield from checks_machine.disk(settings)
    yield from checks_machine.keys(settings)
    yield from checks_data.database(settings, now)
    yield from checks_machine.backup(settings, now)


@click.command("doctor")
@data_option
@json_option
def doctor_command(data: Path | None, *, as_json: bool) -> None:
    """Check sockets, keys, clocks, disk, database, devices, alarms; say what to do. Status 1 if one fails."""
    from lis import config
    from lis.cli.checks_machine import FAIL

    findings = list(examine(config.load(data), datetime.now(UTC)))
    failed = [one.check for one in findings if one.status == FAIL]
    if as_json:
        rows = [{"check": one.check, "status": one.status, "sentence": one.sentence} for one in findings]
        print_json({"ok": not failed, "checks": rows})
    else:
        print_table(
            ["status", "check", "what to do"], [[one.status, one.check, one.sentence] for one in findings]
        )
    if failed:
        raise LisError("NOT_WELL", f"{len(failed)} of {len(findings)} checks failed: {', '.join(failed)}.")


COMMANDS = {"doctor": doctor_command}
