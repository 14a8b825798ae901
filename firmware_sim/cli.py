"""`segs-sim`: simulated meters on Modbus and MQTT."""

import asyncio
import json
import re
import resource
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version as release
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from firmware_sim import app as simulator
from firmware_sim.errors import SimulatorError
from firmware_sim.faults.control import tell
from firmware_sim.faults.faults import Faults
from firmware_sim.faults.kinds import KINDS
from firmware_sim.fleet import load
from firmware_sim.journal import Journal
from firmware_sim.modbus.endpoint import Endpoint
from firmware_sim.modbus.framing import RtuFraming, TcpFraming
from firmware_sim.modbus.pty import PtyEndpoint
from firmware_sim.modbus.tcp import TcpEndpoint
from firmware_sim.replay import Recording

new_event_loop: Callable[[], asyncio.AbstractEventLoop]
try:
    from uvloop import new_event_loop
except ImportError:
    from asyncio import new_event_loop

_app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?\Z")
_FILES = 65_536
_TEXTS = ("how", "quantity", "at")
_UNITS_S = {"ms": 0.001, "s": 1.0, None: 1.0, "m": 60.0, "h": 3600.0}


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"segs-sim {release('segs')}")
        raise typer.Exit


@_app.callback()
def _segs_sim(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="show the version and exit")
    ] = False,
) -> None:
    """Simulated electricity meters: a daily load curve, noise, and registers that integrate their own power."""


@_app.command()
def run(
    fleet: Annotated[Path, typer.Argument(help="TOML file that lists endpoints and meters")],
    journal: Annotated[Path | None, typer.Option(help="append every value served to this file, JSON lines")] = None,
    control: Annotated[Path | None, typer.Option(help="take commands of segs-sim fault on this Unix socket")] = None,
    acknowledgements: Annotated[bool, typer.Option(help="a line in the journal for each of the broker's too")] = False,
) -> None:
    """Serve and publish until SIGTERM or SIGINT; prints one line of JSON when everything is up."""
    with _errors():
        _allow_files()
        described = load(fleet)
        meters = sum(1 for _ in described.meters())
        with Journal(journal, acknowledgements=acknowledgements) as writing:
            _until_stopped(
                lambda stop, ready: simulator.run(described, writing, stop=stop, ready=ready, control=control), meters
            )


@_app.command()
def replay(
    recording: Annotated[Path, typer.Argument(help="file that segs-edge record wrote")],
    port: Annotated[int, typer.Option(help="0 takes a free one")] = 0,
    host: Annotated[str, typer.Option()] = "127.0.0.1",
    framing: Annotated[Literal["tcp", "rtu"] | None, typer.Option(help="on the port; as recorded unless told")] = None,
    pty: Annotated[Path | None, typer.Option(help="play on a pseudo-terminal at this path instead")] = None,
    speed: Annotated[float, typer.Option(min=0.01, help="divides the recorded delays")] = 1.0,
) -> None:
    """Answer as a recorded bus did until SIGTERM or SIGINT; prints one line of JSON when it is up."""
    with _errors():
        tape = Recording(recording, speed=speed)
        kind = framing or tape.framing
        endpoint: Endpoint
        if pty is not None:
            endpoint = PtyEndpoint(path=pty, bus=tape.answers("rtu"))
        else:
            framed = RtuFraming if kind == "rtu" else TcpFraming
            faults = Faults(seed=0, name="replay")
            endpoint = TcpEndpoint(host=host, port=port, bus=tape.answers(kind), framing=framed, faults=faults)
        _until_stopped(lambda stop, ready: simulator.serve([endpoint], stop=stop, ready=ready), len(tape.units))


@_app.command()
def fault(
    meter: Annotated[str, typer.Argument(help="name of the meter in the fleet file, or a pattern: 'site-1.*'")],
    kind: Annotated[str, typer.Argument(help="one of segs-sim faults, or none: end all faults of the meter")],
    control: Annotated[Path, typer.Option(help="the socket that segs-sim run --control listens on")],
    lasts: Annotated[str | None, typer.Option("--for", help="10s, 500ms, 2m; for ever unless told")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="KEY=VALUE, a parameter of the kind")] = None,
) -> None:
    """Inject a fault into a meter of a simulator that runs."""
    if kind == "none":
        command: dict[str, object] = {"meter": meter, "clear": True}
    else:
        told: dict[str, object] = {"kind": kind}
        for setting in settings or []:
            key, _, value = setting.partition("=")
            told[key] = value if key in _TEXTS else _number(value)
        if lasts is not None:
            told["for_s"] = _seconds(lasts)
        command = {"meter": meter, "fault": told}
    with _errors():
        tell(control, command)


@_app.command()
def faults() -> None:
    """List the kinds of faults and what they take."""
    for name, kind in KINDS.items():
        parameters = [*(f"{taken}=" for taken in kind.takes), *([f"how={'|'.join(kind.how)}"] if kind.how else [])]
        print(f"{name:18} {kind.scope:9} {kind.says}" + (f" [{' '.join(parameters)}]" if parameters else ""))


def _allow_files() -> None:
    """A fleet may have more connections than the files that a shell allows: take what the system does."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed < min(most, _FILES):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, _FILES), most))


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except SimulatorError as error:
        print(f"segs-sim: {error}", file=sys.stderr)
        raise typer.Exit(1) from error


def _until_stopped(
    serving: Callable[[asyncio.Event, Callable[[simulator.Ports], None]], Awaitable[None]], meters: int
) -> None:
    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)

        def ready(ports: simulator.Ports) -> None:
            print(json.dumps({"event": "ready", "meters": meters, "modbus_ports": ports}), flush=True)

        await serving(stop, ready)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(main())


def _number(value: str) -> Any:
    """A number where it is one, decimal or hexadecimal; else the text."""
    for reading in (int, lambda text: int(text, 16) if text.startswith("0x") else float(text)):
        try:
            return reading(value)
        except ValueError:
            continue
    return value


def _seconds(text: str) -> float:
    found = _DURATION.match(text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no duration; write 10s, 500ms or 2m")
    return float(found[1]) * _UNITS_S[found[2]]


def main() -> None:
    _app()
