"""segs-edge record: capture what is said on a line, to look at it elsewhere and to play it back."""

import asyncio
import re
import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from edge import log
from edge.buffer.lock import held
from edge.buses import BusFactory
from edge.clock import Clock, signalled
from edge.config.load import load
from edge.config.modbus import ModbusConfig
from edge.config.models import Config, LogConfig
from edge.drivers.modbus.bus import ModbusBus
from edge.drivers.modbus.device import ModbusDevice
from edge.drivers.modbus.exchange import Exchange
from edge.errors import ConfigError, EdgeError
from edge.frames import Frame
from edge.heartbeat import Heartbeats
from edge.profiles import catalog
from edge.profiles.modbus import sunspec
from edge.reading import Delivery, Reading
from edge.status.status import LOCK_FILE
from edge.tools import options
from edge.tools.lines import recording
from edge.tools.lines.endpoint import Endpoint
from edge.tools.outcome import NOTHING, USAGE, ToolFault, fail, note

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@options.with_endpoint
def command(
    endpoint: Endpoint | None,
    out: Annotated[Path, typer.Option("--out", help="the recording; with --config a folder, one recording a line")],
    units: Annotated[str | None, typer.Option("--units", help="which, as 1-3,17", show_default=False)] = None,
    profile: Annotated[
        str | None,
        typer.Option("--profile", help="their model: what is asked of them", show_default=False),
    ] = None,
    config_file: Annotated[
        Path | None,
        typer.Option("--config", help="record the Modbus lines of this configuration instead", show_default=False),
    ] = None,
    seconds: Annotated[float, typer.Option("--for", min=0.1, max=86_400, help="how many seconds")] = 60.0,
    every_s: Annotated[float, typer.Option("--every", min=0.1, help="poll each unit every so many seconds")] = 1.0,
    timeout_s: options.Timeout = 1.0,
) -> None:
    """Poll meters as the gateway does and write down every exchange as it stood on the wire.

    Works on one line with units and their profile, or on all Modbus lines of a configuration while its daemon is
    stopped. Ends by itself or with Ctrl-C; what was recorded is kept. segs-sim replay plays a recording back,
    segs-edge decode --registers reads values from it.

    A recording is JSON lines: a head with endpoint, framing and start, then for each exchange its time and length in
    microseconds, the unit, and request and reply as hexadecimal PDUs; null where there was no reply, `raw` where bytes
    came that made none.

    \b
    Examples:
      segs-edge record --host 192.0.2.10 --units 1-3 --profile eastron-sdm630 --for 60 --out attic.jsonl
      segs-edge record --config gateway.toml --for 600 --out recordings/
    """
    log.configure(LogConfig(format="console", level="warning"))
    if config_file is not None:
        if any(given is not None for given in (endpoint, units, profile)):
            fail("--config names lines and units; leave out --host, --serial, --units and --profile", USAGE)
        makers = _of_config(config_file)
    else:
        if endpoint is None or units is None or profile is None:
            fail("name what to record: --host or --serial with --units and --profile, or --config gateway.toml", USAGE)
        options.known_profile(profile, "modbus")
        wanted = options.units(units)
        options.on_line(endpoint, wanted)
        found = None if profile == catalog.SUNSPEC else catalog.modbus(profile)
        devices = [
            ModbusDevice(
                id=f"unit-{unit}",
                unit=unit,
                profile=found,
                discover=None if found else sunspec.discover,
                interval_s=every_s,
                timeout_s=timeout_s,
            )
            for unit in wanted
        ]

        def make() -> ModbusBus:
            line = endpoint.line(silence_ms=found.silence_ms if found else 0)
            return ModbusBus(line=line, devices=devices, sink=_Nowhere(), clock=Clock())

        makers = [(endpoint.wire, make)]
    try:
        answered = asyncio.run(_record(makers, out, folder=config_file is not None, seconds=seconds))
    except EdgeError as fault:
        fail(fault)
    if not answered:
        raise typer.Exit(NOTHING)


def _of_config(file: Path) -> list[tuple[str, Callable[[], ModbusBus]]]:
    try:
        config = load(file)
        if held(config.data_dir / LOCK_FILE):
            fail(f"{file}: its daemon is running and holds the lines; stop segs-edge for as long as you record")
        if not config.modbus:
            fail(f"{file}: no [[modbus]] line in it; only Modbus is recorded", USAGE)
        return _makers(config)
    except ConfigError as error:
        fail(error, USAGE)
    except EdgeError as error:
        fail(error)


def _makers(config: Config) -> list[tuple[str, Callable[[], ModbusBus]]]:
    clock = Clock()
    factory = BusFactory(sink=_Nowhere(), clock=clock, beats=Heartbeats(clock=clock), wait_commit=False)
    return [(_wire(bus), partial(factory.modbus, bus, f"modbus[{n}]")) for n, bus in enumerate(config.modbus)]


def _wire(bus: ModbusConfig) -> str:
    """How frames look on the line of `bus`."""
    return "rtu" if bus.serial is not None else bus.framing


async def _record(
    makers: Sequence[tuple[str, Callable[[], ModbusBus]]], out: Path, *, folder: bool, seconds: float
) -> bool:
    """Whether anything was answered. Raises ToolFault when a file cannot be made."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def halt() -> None:
        stop.set()
        for number in _SIGNALS:
            # Asked a second time it ends at once, without waiting for a reply that is due.
            loop.remove_signal_handler(number)

    for number in _SIGNALS:
        loop.add_signal_handler(number, halt)
    tracks: list[_Track] = []
    with ExitStack() as files:
        buses = []
        for framing, make in makers:
            bus = make()
            file = out / f"{re.sub('[^A-Za-z0-9.-]+', '-', bus.line.endpoint).strip('-')}.jsonl" if folder else out
            track = _Track(file=file, endpoint=bus.line.endpoint, framing=framing, stop=stop)
            files.enter_context(track)
            bus.line.tap = track.take
            tracks.append(track)
            buses.append(bus)
        async with asyncio.TaskGroup() as group:
            for bus in buses:
                group.create_task(bus.run(stop), name=f"record {bus.line.endpoint}")
            await signalled(stop, seconds)
            stop.set()
    for track in tracks:
        note(track)
    if broken := [track.broken for track in tracks if track.broken]:
        raise ToolFault("; ".join(broken))
    return any(track.answered for track in tracks)


class _Track:
    """The recording of one line: each exchange goes to the file at once, so that a power cut costs the last at most."""

    def __init__(self, *, file: Path, endpoint: str, framing: str, stop: asyncio.Event) -> None:
        self.answered, self.broken = 0, ""
        self._path, self._stop = file, stop
        self._head = recording.Head(recording.VERSION, endpoint, framing, Clock().now_us())

    def __enter__(self) -> "_Track":
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("xb", buffering=0)
        except FileExistsError as error:
            raise ToolFault(f"{self._path}: is there already; name another --out") from error
        except OSError as error:
            raise ToolFault(f"{self._path}: {error.strerror}; --out must be where this user may write") from error
        self._writer = recording.Writer(self._file, head=self._head)
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def take(self, exchange: Exchange) -> None:
        """Write it down; where that is no longer possible, the recording ends and `broken` says why."""
        if self.broken:
            return
        entry = recording.Entry(
            t_us=exchange.sent_us,
            unit=exchange.unit,
            request=exchange.request.hex(),
            reply=None if exchange.reply is None else exchange.reply.hex(),
            took_us=exchange.took_us,
            raw=exchange.raw.hex(),
        )
        try:
            self._writer.add(entry)
        except OSError as error:
            self.broken = f"{self._path}: {error.strerror}; the recording ends with what was written before"
            self._stop.set()
            return
        self.answered += exchange.reply is not None

    def __str__(self) -> str:
        entries = self._writer.entries
        none = "" if self.answered else "; nothing answered: check the line and the units with segs-edge scan"
        return f"{self._path}: {entries} exchanges with {self._head.endpoint}, {self.answered} answered{none}"


class _Nowhere:
    """A sink for readings that nobody keeps: what is recorded are the exchanges."""

    def put(
        self,
        readings: Sequence[Reading],
        *,
        offset_us: int,
        deliveries: Sequence[Delivery] = (),
        frames: Sequence[Frame] = (),
    ) -> asyncio.Future[None]:
        return _done()

    def reject(
        self, topic: str, payload: bytes, reason: str, *, delivery: Delivery | None = None
    ) -> asyncio.Future[None]:
        return _done()

    def committed(self, delivery: Delivery) -> bool:
        return False

    def hurry(self) -> None:
        """Nothing waits."""


def _done() -> asyncio.Future[None]:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.set_result(None)
    return future
