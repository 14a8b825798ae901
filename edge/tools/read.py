"""segs-edge read: one reading of one meter, now."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated

import typer

from edge.clock import Clock
from edge.drivers.modbus.line import Line
from edge.errors import ConfigError, EdgeError, ModbusFault
from edge.profiles import catalog
from edge.profiles.modbus import sunspec
from edge.profiles.modbus.probe import Read
from edge.profiles.modbus.schema import ModbusProfile
from edge.tools import options, table
from edge.tools.lines import explain
from edge.tools.lines.endpoint import Endpoint, ask, reconnect
from edge.tools.lines.noise import Noise
from edge.tools.lines.sample import Sample, doubts, identity_of, take
from edge.tools.outcome import NOTHING, ToolFault, escaped, fail, note, show_json

_NO_UNIT = (10, 11)


@options.with_endpoint
def command(
    endpoint: Endpoint,
    unit: options.Unit,
    profile: Annotated[str, typer.Option("--profile", help="the meter's model; segs-edge profiles lists them")],
    timeout_s: options.Timeout = 1.0,
    as_json: options.AsJson = False,
    explained: Annotated[
        bool,
        typer.Option("--explain", help="show registers, raw words, types and scales; with --json on standard error"),
    ] = False,
    every_s: Annotated[
        float | None, typer.Option("--every", min=0.1, help="read again every so many seconds, until Ctrl-C")
    ] = None,
) -> None:
    """Read a meter once and show what it measures.

    Without --json a table of quantities with their units, and what the meter says of itself. With --json one flat
    object of quantities on standard output, names and units as everywhere in SEGS: a quantity that the meter did not
    deliver is absent, never 0. With --every the objects are a line each. Notes and errors are on standard error.

    Ends with 0 when something was read, 1 when nothing was, 2 for a wrong command line.

    \b
    Examples:
      segs-edge read --host 192.0.2.10 --unit 1 --profile eastron-sdm630
      segs-edge read --host 192.0.2.10 --unit 1 --profile eastron-sdm630 --json
      segs-edge read --serial /dev/serial/by-id/usb-FTDI_FT232R-if00-port0 --baud-rate 9600 \\
        --unit 12 --profile abb-b23 --explain
    """
    options.known_profile(profile, "modbus")
    options.on_line(endpoint, [unit])
    reader = _Reader(endpoint=endpoint, unit=unit, name=profile, timeout_s=timeout_s)
    try:
        done = asyncio.run(reader.run(every_s=every_s, as_json=as_json, explained=explained))
    except (ToolFault, ConfigError) as fault:
        fail(fault)
    except KeyboardInterrupt:
        # The end of a series is how one is ended; a single reading was not had.
        raise typer.Exit(0 if every_s is not None else NOTHING) from None
    if not done:
        raise typer.Exit(NOTHING)


class _Reader:
    """Reads one unit as often as asked and shows each sample."""

    def __init__(self, *, endpoint: Endpoint, unit: int, name: str, timeout_s: float) -> None:
        self._endpoint, self._unit, self._name, self._timeout_s = endpoint, unit, name, timeout_s
        self._clock, self._noise = Clock(), Noise()
        self._where = f"{endpoint.name} unit {unit}"

    async def run(self, *, every_s: float | None, as_json: bool, explained: bool) -> bool:
        """Whether the last sample held something. Raises ToolFault when there is nothing to read on."""
        silence_ms = 0 if self._name == catalog.SUNSPEC else catalog.modbus(self._name).silence_ms
        async with self._endpoint.line(silence_ms=silence_ms) as line:
            try:
                await reconnect(line)
            except ModbusFault as fault:
                raise self._endpoint.unreached(fault) from fault
            line.tap = self._noise.take
            read = self._reading(line)
            profile = await self._profile(read)
            due_s = self._clock.monotonic_s()
            while True:
                sample = await take(read, profile, self._clock)
                identity = {} if as_json or not sample.values else await identity_of(read, profile)
                self._show(sample, profile, identity, as_json=as_json, explained=explained, several=every_s is not None)
                for doubt in await doubts(read, profile, sample.values):
                    note(f"{self._where}: {doubt}")
                if every_s is None:
                    return bool(sample.values)
                due_s = max(due_s + every_s, self._clock.monotonic_s())
                await asyncio.sleep(due_s - self._clock.monotonic_s())

    def _reading(self, line: Line) -> Read:
        async def read(*, function: int, address: int, count: int) -> bytes:
            return await ask(
                line, unit=self._unit, function=function, address=address, count=count, timeout_s=self._timeout_s
            )

        return read

    async def _profile(self, read: Read) -> ModbusProfile:
        if self._name != catalog.SUNSPEC:
            return catalog.modbus(self._name)
        try:
            return await sunspec.discover(read)
        except ModbusFault as fault:
            raise ToolFault(self._advice(fault)) from fault
        except EdgeError as error:
            raise ToolFault(f"{self._where}: {error}") from error

    def _show(
        self,
        sample: Sample,
        profile: ModbusProfile,
        identity: dict[str, str],
        *,
        as_json: bool,
        explained: bool,
        several: bool,
    ) -> None:
        if explained:
            typer.echo("\n".join(explain.lines(sample, profile)), err=as_json)
        if not sample.values:
            note(self._nothing(sample))
            return
        if as_json:
            show_json(table.ordered(sample.values), one_line=several)
        else:
            when = datetime.fromtimestamp(sample.time_us / 1e6, UTC).isoformat(timespec="milliseconds")
            said = "".join(f", {name.replace('_', ' ')} {value}" for name, value in identity.items())
            model = escaped(f"{profile.maker} {profile.model}")
            typer.echo(f"{self._where}: {model}{said}, {when.replace('+00:00', 'Z')}")
            if not explained:
                typer.echo("\n".join(table.quantities(sample.values)))
        if not explained:
            for name, reason in explain.absent(sample, profile):
                note(f"{self._where}: {name} absent: {reason}")

    def _nothing(self, sample: Sample) -> str:
        faults = [fault for fault in sample.faults if fault is not None]
        if faults:
            return self._advice(faults[0])
        return f"{self._where}: it answers, but holds no value for any row of {self._name}; see --explain"

    def _advice(self, fault: ModbusFault) -> str:
        where = f"{self._where}: {fault.reason}" + (f", {self._noise}" if self._noise else "")
        if fault.exception_code in _NO_UNIT:
            return f"{where}; there is no such unit behind the gateway, or it is off: segs-edge scan finds the units"
        if fault.exception_code is not None:
            return f"{where}; the unit is there but not with these registers: segs-edge scan recognises its model"
        if self._endpoint.serial is not None:
            return (
                f"{where}; check the unit's address, baud rate and parity, and A and B of the line: "
                "segs-edge scan --serial tries several baud rates"
            )
        frames = "Modbus TCP, not RTU" if self._endpoint.framing == "tcp" else "RTU"
        return (
            f"{where}; check the unit's address (segs-edge scan finds the units), that the endpoint speaks {frames} "
            "frames, and that no other master, such as a running segs-edge, holds its only connection"
        )
