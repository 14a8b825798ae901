"""`segs-sim`: simulated meters on Modbus TCP and MQTT."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from firmware_sim import app as simulator
from firmware_sim.errors import SimulatorError
from firmware_sim.fleet import Fleet, load
from firmware_sim.journal import Journal

_app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@_app.callback()
def _segs_sim() -> None:
    """Simulated electricity meters: a daily load curve, noise, and registers that integrate their own power."""


@_app.command()
def run(
    fleet: Annotated[Path, typer.Argument(help="TOML file that lists endpoints and meters")],
    journal: Annotated[Path | None, typer.Option(help="append every value served to this file, JSON lines")] = None,
) -> None:
    """Serve and publish until SIGTERM or SIGINT; prints one line of JSON when everything is up."""
    try:
        described = load(fleet)
        with Journal(journal) as writing:
            asyncio.run(_run(described, writing))
    except SimulatorError as error:
        print(f"segs-sim: {error}", file=sys.stderr)
        raise typer.Exit(1) from error


async def _run(fleet: Fleet, journal: Journal) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    def ready(ports: list[int]) -> None:
        meters = sum(1 for _ in fleet.meters())
        print(json.dumps({"event": "ready", "meters": meters, "modbus_ports": ports}), flush=True)

    await simulator.run(fleet, journal, stop=stop, ready=ready)


def main() -> None:
    _app()
