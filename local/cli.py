"""`segs`: everything on one machine."""

import json
import sys
from datetime import UTC, datetime
from importlib.metadata import version as release
from typing import Annotated

import typer

from cloud.log import configure
from cloud.schema.errors import SchemaError
from local import demo as demonstration
from local.databases import Databases
from local.display import Display
from local.proof.errors import ProofError
from local.seeding.errors import SeedingError
from local.seeding.folder import LONGEST_DAYS, days_with_a_month
from local.seeding.plan import METERS_OF_REGION
from local.servers import ServerError, segs_home
from local.service import ServiceError
from local.stack import Stack

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="Everything on one machine."
)
Modbus = Annotated[int, typer.Option(min=1, help="Simulated Modbus meters.")]
Mqtt = Annotated[int, typer.Option(min=1, help="Simulated MQTT meters.")]
History = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=LONGEST_DAYS,
        help="Days of made-up history, once for a data folder; 0 for none. Without: a whole month, and those since.",
    ),
]


def _days(wanted: int | None) -> int:
    return days_with_a_month(datetime.now(UTC)) if wanted is None else wanted


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"segs {release('segs')}")
        raise typer.Exit


@app.callback()
def _segs(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """Everything on one machine."""


@app.command()
def demo(
    seconds: Annotated[float, typer.Option(min=0, help="How long; 0 for until Ctrl-C.")] = 0,
    modbus: Modbus = 16,
    mqtt: Mqtt = 8,
    history: History = None,
) -> None:
    """Show the whole way from simulated meters to hypertables, live, and prove at the end that nothing was lost."""
    proven = demonstration.run(
        home=segs_home(), seconds=seconds, modbus=modbus, mqtt=mqtt, history=_days(history), display=Display()
    )
    if not proven:
        raise typer.Exit(1)


@app.command()
def start(modbus: Modbus = 16, mqtt: Mqtt = 8, history: History = None) -> None:
    """Start databases, broker, receiver, worker, API, simulated meters and a gateway, in the background."""
    demonstration.start(home=segs_home(), modbus=modbus, mqtt=mqtt, history=_days(history), display=Display())


@app.command()
def seed(
    days: Annotated[
        int | None,
        typer.Option(
            min=1, max=LONGEST_DAYS, help="Days of history. Without: a whole month that can be billed, and those since."
        ),
    ] = None,
    meters: Annotated[
        int, typer.Option(min=2, max=METERS_OF_REGION, help="Meters of each region; with few of them it is soon done.")
    ] = METERS_OF_REGION,
) -> None:
    """Make up regions, people, meters and their history, once for a data folder, and prove that intervals are right.

    `segs demo` and `segs start` do so too.
    """
    demonstration.seed(home=segs_home(), days=_days(days), of_region=meters, display=Display())


@app.command()
def stop() -> None:
    """Stop whatever runs in the data folder, in the order that loses nothing."""
    Stack(home=segs_home()).stop()


@app.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> None:
    """What runs; exit 1 unless all of it does."""
    running = Stack(home=segs_home()).running()
    if as_json:
        typer.echo(json.dumps(running))
    else:
        for name, pid in running.items():
            typer.echo(f"{name:10} {'stopped' if pid is None else f'running, pid {pid}'}")
    if None in running.values():
        raise typer.Exit(1)


@app.command()
def api() -> None:
    """Print the address of the API that `segs start` or `segs demo` has started."""
    typer.echo(Stack(home=segs_home()).api_url)


@app.command()
def dsn(as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False) -> None:
    """Print the local databases' DSNs, for their owner; starts them, and applies their schemas, if need be."""
    databases = Databases(home=segs_home())
    databases.start()
    found = {name: databases.dsn(name) for name in ("domain", "telemetry")}
    typer.echo(json.dumps(found) if as_json else "\n".join(f"{name} {text}" for name, text in found.items()))


def main() -> None:
    """Entry point. What a person can mend ends in one line and exit status 1, not in a traceback."""
    configure()
    try:
        app()
    except (ServerError, SchemaError, ServiceError, ProofError, SeedingError) as error:
        print(f"segs: {error}", file=sys.stderr)
        raise SystemExit(1) from None
