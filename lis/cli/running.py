"""Commands that run: the demonstration, the server, the agent."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click

from lis.cli import data_option, json_option, print_json


@click.command("demo")
@click.option(
    "--data", type=click.Path(path_type=Path), default=None, help="New folder to keep; else a temporary one."
)
@click.option(
    "--files",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Feed the exports found here.",
)
@click.option("--once", is_flag=True, help="Play one day to its end without a browser, print the summary.")
@click.option("--seed", type=int, default=20221221, show_default=True, help="Of the drawn day.")
@click.option("--speed", type=float, default=120.0, show_default=True, help="Played minutes per real minute.")
@click.option(
    "--port", type=int, default=8080, show_default=True, help="Of the web server; 0 = any free one."
)
@json_option
def demo_command(
    *, data: Path | None, files: Path | None, once: bool, seed: int, speed: float, port: int, as_json: bool
) -> None:
    """Play a laboratory day on this machine: server, bridge, agents and virtual cyclers, all synthetic."""
    from lis.demo import Options, run_forever, run_once

    with tempfile.TemporaryDirectory(prefix="lis-demo-") as temporary:
        folder = data or Path(temporary) / "data"
        options = Options(folder, files, seed, 0.0 if once else 60.0 / max(speed, 1e-6), port)
        if not once:
            try:
                run_forever(options, _say)
            except KeyboardInterrupt:
                click.echo("stopped; the log is whole", err=True)
            return
        found = run_once(options, _say)
    if as_json:
        print_json(found)
    else:
        for name, value in found.items():
            click.echo(f"{name:15} {value}")


def _say(sentence: str) -> None:
    click.echo(sentence, err=True)


@click.command("serve")
@data_option
@click.option("--host", default=None, help="Address to listen on (LIS_HOST).")
@click.option("--port", type=int, default=None, help="Port to listen on (LIS_PORT).")
def serve_command(data: Path | None, host: str | None, port: int | None) -> None:
    """Run the server: web, API and instrument bridge, until it is stopped."""
    from lis import config, laboratory
    from lis.reception import Reception

    given: dict[str, Any] = {
        name: value for name, value in (("host", host), ("port", port)) if value is not None
    }
    screens: list[Any] = []  # nobody looks before they are there
    with (
        laboratory.open_laboratory(config.load(data, **given)) as lab,
        Reception(
            lab,
            on_done=lambda done: [one.of_file(done) for one in screens],
            on_live=lambda plate, cycle: [one.of_reads(plate, cycle) for one in screens],
        ) as reception,
    ):
        click.echo(f"bridge on {reception.endpoint}, public key {reception.public_key.decode()}", err=True)
        for one, endpoint in zip(lab.settings.listeners, reception.listeners.endpoints, strict=True):
            click.echo(f"{one.dialect} of {one.device} on {endpoint}, from {', '.join(one.peers)}", err=True)
        # Half of a start is for the screens: instruments are served meanwhile.
        from lis.web.forecasting import by_itself
        from lis.web.live import News
        from lis.web.serving import serve

        news = News()
        screens.append(news)
        with by_itself(lab):
            serve(lab, lab.settings.host, lab.settings.port, news, reception.bridge.snapshot)


@click.command("agent", context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def agent_command(ctx: click.Context, arguments: tuple[str, ...]) -> None:
    """Ship the finished files of a folder to the bridge; `lis agent --help` lists its options."""
    from instruments.agent import main

    try:
        status = main(arguments)
    except SystemExit as leave:
        status = leave.code if isinstance(leave.code, int) else 1
    ctx.exit(status)


COMMANDS = {"demo": demo_command, "serve": serve_command, "agent": agent_command}
