"""``lis device``: instruments, their one-time codes and keys, and virtual cyclers to train with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lis.cli import OPERATOR, data_option, json_option, print_json, print_rows, read_text
from lis.errors import Invalid, LisError, Refused
from lis.web.enrolling import address_of, issue

if TYPE_CHECKING:
    from lis.db import Unit
    from lis.laboratory import Laboratory

LOCAL = frozenset({"127.0.0.1", "localhost", "[::1]"})


def _open(data: Path | None) -> Laboratory:
    from lis import config, laboratory

    return laboratory.open_laboratory(config.load(data))


def _write(data: Path | None, act: Callable[[Unit], Any]) -> Any:
    with _open(data) as lab, lab.database.write(OPERATOR) as unit:
        return act(unit)


def _print_code(name: str, code: str, until: datetime, address: str, *, as_json: bool) -> None:
    if as_json:
        print_json({"device": name, "code": code, "expires_at": until, "bridge": address})
        return
    click.echo(code)
    click.echo(f"One-time code of {name}, valid until {until:%Y-%m-%d %H:%M} UTC; shown once.", err=True)
    click.echo("On the instrument's PC: lis agent enrol CODE --folder FOLDER", err=True)
    if address.removeprefix("tcp://").rpartition(":")[0] in LOCAL:
        click.echo(f"Note: {address} can be called from this machine only (--address).", err=True)


@click.group("device")
def device_command() -> None:
    """Instruments: who may send results."""


hours_option = click.option(
    "--valid-hours",
    type=click.FloatRange(0, 744, min_open=True),
    default=24.0,
    show_default=True,
    help="How long the code can be used.",
)
address_option = click.option(
    "--address", default="", help="The bridge as the instrument's PC reaches it (LIS_BRIDGE_ADDRESS)."
)


@device_command.command("add")
@click.argument("name")
@click.option("--kind", default="cycler", show_default=True)
@click.option(
    "--key", default="", help="Public key that `lis agent --new-key` printed; no code is made then."
)
@click.option("--serial", default="", help="Its serial as its files name it; without it the first one seen.")
@hours_option
@address_option
@data_option
@json_option
def device_add(  # noqa: PLR0913 - one argument an option
    *, name: str, kind: str, key: str, serial: str, valid_hours: float, address: str, data: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Add the device NAME and print the one-time code its PC enrols with; plates are loaded into NAME."""
    from lis.services import devices

    if key:
        _write(data, lambda unit: devices.enrol_device(unit, name, kind, key, serial))
        click.echo(f"device {name} enrolled")
        return

    def add(unit: Unit) -> str:
        devices.add_device(unit, name, kind, serial)
        return name

    with _open(data) as lab:
        bridge = address_of(lab, address)
        _print_code(*issue(lab, bridge, valid_hours, OPERATOR, add), bridge, as_json=as_json)


@device_command.command("rotate")
@click.argument("name")
@hours_option
@address_option
@data_option
@json_option
def device_rotate(name: str, valid_hours: float, address: str, data: Path | None, *, as_json: bool) -> None:
    """Print a new code for NAME. Its key works until the code is used, and is refused from then on."""
    with _open(data) as lab:
        bridge = address_of(lab, address)
        _print_code(*issue(lab, bridge, valid_hours, OPERATOR, lambda _: name), bridge, as_json=as_json)


@device_command.command("cancel")
@click.argument("name")
@data_option
def device_cancel(name: str, data: Path | None) -> None:
    """Make the open code of NAME worthless."""
    from lis.services import devices

    count = _write(data, lambda unit: devices.cancel_codes(unit, name))
    click.echo(f"{count} open code of {name} cancelled" if count else f"{name} has no open code")


@device_command.command("list")
@data_option
@json_option
def device_list(data: Path | None, *, as_json: bool) -> None:
    """List the devices."""
    from lis import queries

    names = [
        *("name", "kind", "serial", "public_key", "key_until", "enrolled_at", "revoked_at"),
        *("last_seen_at", "agent", "code_until"),
    ]
    with _open(data) as lab, lab.database.read() as conn:
        codes = {
            row["device"]: row["expires_at"] for row in queries.open_codes(conn, lab.database.clock.now())
        }
        found = [{**row, "code_until": codes.get(row["name"])} for row in queries.devices(conn)]
    print_rows(names, [{name: row[name] for name in names} for row in found], as_json=as_json)


@device_command.command("log")
@click.argument("name", default="")
@data_option
@json_option
def device_log(name: str, data: Path | None, *, as_json: bool) -> None:
    """Who did what to the device NAME (or to all), newest first."""
    from lis import queries

    names = ["at", "actor", "device", "act", "detail", "public_key"]
    with _open(data) as lab, lab.database.read() as conn:
        rows = [{name: row[name] for name in names} for row in queries.device_acts(conn, name)]
    print_rows(names, rows, as_json=as_json)


@device_command.command("revoke")
@click.argument("name")
@data_option
def device_revoke(name: str, data: Path | None) -> None:
    """Stop taking anything from the device NAME: on a connection that stands, within 5 seconds."""
    from lis.services import devices

    _write(data, lambda unit: devices.revoke_device(unit, name))
    click.echo(f"device {name} revoked")


@device_command.command("expire")
@click.argument("name")
@click.option("--at", default="", help="ISO 8601, with an offset or in UTC: 2026-12-31T18:00.")
@click.option("--days", type=click.FloatRange(0, 3650, min_open=True), default=None)
@click.option("--never", is_flag=True, help="The key does not end by itself.")
@data_option
def device_expire(name: str, at: str, days: float | None, data: Path | None, *, never: bool) -> None:
    """End the key of the device NAME at a moment; from then on it is refused."""
    from lis.services import devices

    if (at != "") + (days is not None) + never != 1:
        raise click.UsageError("Give one of --at, --days and --never.")

    def act(unit: Unit) -> datetime | None:
        until = _moment(at) if at else unit.now + timedelta(days=days) if days is not None else None
        devices.set_expiry(unit, name, until)
        return until

    until = _write(data, act)
    click.echo(
        f"the key of {name} " + (f"ends {until:%Y-%m-%d %H:%M} UTC" if until else "does not end by itself")
    )


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Invalid("MOMENT", f"{text} is no time. Write it like 2026-12-31T18:00+08:00.") from None


@device_command.command("serial")
@click.argument("name")
@click.argument("serial")
@data_option
def device_serial(name: str, serial: str, data: Path | None) -> None:
    """Give the device NAME its SERIAL ("" = that of its next file), after a repair or an exchange."""
    from lis.services import devices

    _write(data, lambda unit: devices.set_serial(unit, name, serial))
    click.echo(f"device {name} has serial {serial or '(that of its next file)'}")


# -- training -------------------------------------------------------------------------------------


@device_command.command("simulate")
@click.option("--cyclers", type=click.IntRange(1, 200), default=3, show_default=True)
@click.option("--plates", type=click.IntRange(1, 1000), default=1, show_default=True, help="Of each cycler.")
@click.option(
    "--faults", default="", help="Commas between: duplicate, cut, rewrite, drop, late, garbage; or all."
)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--bridge", default="", help="The bridge to send to (LIS_BRIDGE_ADDRESS).")
@click.option(
    "--codes", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="One-time codes, one a line, for a server elsewhere; else devices SIM-1.. are made in --data.",
)  # fmt: skip
@click.option("--yes", is_flag=True, help="Also where real reports were issued.")
@data_option
@json_option
def device_simulate(  # noqa: PLR0913 - one argument an option
    *, cyclers: int, plates: int, faults: str, seed: int, bridge: str, codes: Path | None, yes: bool,
    data: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Let virtual cyclers send plates to a running server, with faults, to train and to test.

    Their plates are made up and unknown to the laboratory: the files are kept and wait in quarantine.
    """
    import logging
    import tempfile

    from lis.demo import fleet

    logging.getLogger("instruments").addHandler(logging.NullHandler())  # the line of figures is enough

    began = datetime.now(UTC)
    plan = fleet.Plan(plates, _faults(faults, fleet.FAULTS), seed, stamp=f"{began:%y%m%d%H%M%S%f}")
    words = _codes_in(codes) if codes else codes_of_fleet(data, bridge, cyclers, yes=yes)
    with tempfile.TemporaryDirectory(prefix="lis-fleet-") as home:
        found = fleet.run(
            words, Path(home), plan, lambda line: click.echo(f"\r{line:<78}", nl=False, err=True)
        )
    click.echo(err=True)
    if codes is None:
        found["laboratory"] = _became(data, found["devices"], began)
    if as_json:
        print_json(found)
    else:
        for name, value in found.items():
            click.echo(f"{name:13} {value}")
    if found["waiting"]:
        raise LisError("NOT_ALL_SENT", f"{found['waiting']} files were not acknowledged. Is the server well?")


def _faults(text: str, known: tuple[str, ...]) -> tuple[str, ...]:
    named = known if text == "all" else tuple(filter(None, (word.strip() for word in text.split(","))))
    if set(named) - set(known):
        raise click.BadParameter(f"Known faults are {', '.join(known)}.", param_hint="--faults")
    return named


def _codes_in(path: Path) -> list[str]:
    words = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if not words:
        raise Invalid("NO_CODES", f"{path} holds no code. Write one a line, as lis device add prints them.")
    return words


def codes_of_fleet(data: Path | None, bridge: str, cyclers: int, *, yes: bool) -> list[str]:
    """Codes of the devices SIM-1 .. SIM-n, made where they are missing."""
    from lis import queries

    with _open(data) as lab:
        with lab.database.read() as conn:
            reports = queries.count_of(conn, "report")
        if reports and not yes:
            raise Refused(
                "REAL_LABORATORY",
                f"{reports} reports were issued here; made-up files would stand beside real ones for ever. "
                "Train in a folder of its own (--data), or say --yes.",
            )
        address = address_of(lab, bridge)
        return [issue(lab, address, 1.0, OPERATOR, _simulated(f"SIM-{at + 1}"))[1] for at in range(cyclers)]


def _simulated(name: str) -> Callable[[Unit], str]:
    def add(unit: Unit) -> str:
        from lis import queries
        from lis.services import devices

        if queries.device_row(unit.conn, name) is None:
            devices.add_device(unit, name, "virtual cycler")
        return name

    return add


def _became(data: Path | None, names: list[str], since: datetime) -> dict[str, int]:
    """What the server made of the files, once it has looked at all of them (for at most a minute)."""
    import time

    from lis import queries

    end = time.monotonic() + 60
    with _open(data) as lab:
        while True:
            with lab.database.read() as conn:
                found = queries.states_of_runs(conn, names, since)
            if not any(state == "waiting" for state, _ in found) or time.monotonic() > end:
                return {" ".join(key).strip(): count for key, count in sorted(found.items())}
            time.sleep(0.2)


COMMANDS = {"device": device_command}
