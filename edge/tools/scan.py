"""segs-edge scan: which units are on a line, which models they are, and a configuration to begin with."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from edge.clock import Clock
from edge.errors import ConfigError, ModbusFault
from edge.tools import options, table
from edge.tools.fragment import write
from edge.tools.lines.endpoint import Endpoint
from edge.tools.lines.finder import Finder, Found
from edge.tools.lines.noise import Noise
from edge.tools.outcome import USAGE, ToolFault, fail, note, show_json

_SPEEDS = "9600,19200,38400,2400,4800"


@options.with_endpoint
def command(
    endpoint: Endpoint,
    units: Annotated[str, typer.Option("--units", help="which addresses to try, as 1-10 or 1,17,30-40")] = "1-247",
    baud_rates: Annotated[
        str | None,
        typer.Option("--baud-rates", help=f"of a serial line, one after the other [{_SPEEDS}]", show_default=False),
    ] = None,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=0.01, max=30, help="seconds that a unit has to answer")
    ] = 0.5,
    config_file: Annotated[
        Path | None,
        typer.Option(
            "--write-config", help="write what was found to this gateway.toml, or add it there", show_default=False
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Find the units on a line and recognise their models. Reads only; nothing is ever written to a meter.

    Each address is asked for one register; where nobody answers within the time-out the next one is asked. A unit that
    answers, even with an exception, is recognised by registers that tell its model, then as a SunSpec device, then by
    physics: which known map, and which order of words, gives voltages near 120 or 230 V and 50 or 60 Hz. What is only
    inferred says so, and names other maps that would fit as well.

    With --json one array on standard output: `unit`, `model` (a profile's name, null where unknown), `maker`, `how`
    (probe, sunspec, physics, null), `identity`, `voltages`, `frequency_hz`, `hints`, `warnings`, and on a serial line
    `baud_rate`. Progress is on standard error.

    A line has one master: stop segs-edge for as long as you scan a serial line, or an endpoint of one connection.

    Ends with 0 when a unit was found, 1 when none was, 2 for a wrong command line.

    \b
    Examples:
      segs-edge scan --host 192.0.2.10 --units 1-10
      segs-edge scan --host 192.0.2.10 --units 1-10 --write-config gateway.toml
      segs-edge scan --serial /dev/serial/by-id/usb-FTDI_FT232R-if00-port0 --baud-rates 9600,19200 --json
    """
    if endpoint.serial is None and baud_rates is not None:
        fail("--baud-rates are of a --serial line", USAGE)
    wanted = options.units(units)
    options.on_line(endpoint, wanted)
    speeds = _speeds(baud_rates or _SPEEDS) if endpoint.serial is not None else [endpoint.baud_rate]
    found: list[Found] = []
    noise = Noise()
    broken: ToolFault | str | None = None
    try:
        asyncio.run(_scan(endpoint, wanted, speeds, timeout_s, found, noise))
    except ConfigError as error:
        fail(error)
    except ToolFault as fault:
        broken = fault
    except KeyboardInterrupt:
        broken = "stopped"
    found.sort(key=lambda item: item.unit)
    _mark_copies(found)
    if found or broken is None:
        _show(found, serial=endpoint.serial is not None, as_json=as_json)
    if broken is not None:
        fail(f"{broken}; what is shown is what was found before" if found else broken)
    if not found:
        said = f"; {noise}" if noise else ""
        fail(f"{endpoint.name}: no unit of {units} answers{said}; {endpoint.silent()}, or try other --units")
    if config_file is not None:
        try:
            note(write(config_file, endpoint, found))
        except (ToolFault, ConfigError) as fault:
            fail(fault)


async def _scan(
    endpoint: Endpoint, units: list[int], speeds: list[int], timeout_s: float, found: list[Found], noise: Noise
) -> None:
    """Add to `found` who answers, to `noise` what else comes.

    Raises ToolFault when the endpoint cannot be reached, or no longer.
    """
    for speed in speeds:
        left = [unit for unit in units if all(unit != item.unit for item in found)]
        at = f"{endpoint.name} at {speed} baud" if endpoint.serial is not None else endpoint.name
        async with endpoint.at(speed).line() as line:
            line.tap = noise.take
            finder = Finder(line=line, timeout_s=timeout_s, clock=Clock())
            for number, unit in enumerate(left, 1):
                _progress(f"{at}: unit {unit}, {number} of {len(left)}, {len(found)} found")
                try:
                    item = await finder.look(unit)
                except ModbusFault as fault:
                    _progress("")
                    raise endpoint.unreached(fault) from fault
                if item is not None:
                    item.baud_rate = speed
                    found.append(item)
                    _progress("")
                    note(f"{at}: unit {unit}: {item.model or 'unknown model'}")
    _progress("")


def _mark_copies(found: list[Found]) -> None:
    """Say where several addresses are the same meter: an endpoint may answer whatever address it is asked by."""
    seen: dict[str, int] = {}
    for item in found:
        # Of meters apart, voltages to the last digit are never the same.
        serial = item.identity.get("serial_number", "").strip("0")
        mark = serial or " ".join(map(str, item.voltages.values()))
        if mark and mark in seen:
            what = "serial number" if serial else "voltages"
            item.warnings.append(f"same {what} as unit {seen[mark]}: the endpoint may answer for any address")
        elif mark:
            seen[mark] = item.unit


def _progress(text: str) -> None:
    """One line that is written over, on a terminal only: in a file it would be noise."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def _show(found: list[Found], *, serial: bool, as_json: bool) -> None:
    if as_json:
        show_json([item.document(serial=serial) for item in found])
        return
    rows = [
        (
            str(item.unit),
            *((f"{item.baud_rate} baud",) if serial else ()),
            item.model or "unknown",
            item.how or "",
            ", ".join(f"{value:g} V" for value in item.voltages.values()),
            "" if item.frequency_hz is None else f"{item.frequency_hz:g} Hz",
            ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in item.identity.items()),
        )
        for item in found
    ]
    if rows:
        head = ("unit", *(("speed",) if serial else ()), "model", "by", "voltages", "frequency", "identity")
        typer.echo("\n".join(table.lines([head, *rows], right=frozenset({0}))))
    for item in found:
        for text in [*item.hints, *item.warnings]:
            note(f"unit {item.unit}: {text}")


def _speeds(text: str) -> list[int]:
    try:
        speeds = [int(part) for part in text.split(",")]
    except ValueError:
        fail(f"--baud-rates {text}: write 9600,19200", USAGE)
    if any(not 300 <= speed <= 1_000_000 for speed in speeds):
        fail(f"--baud-rates {text}: each is 300 to 1000000", USAGE)
    return speeds
