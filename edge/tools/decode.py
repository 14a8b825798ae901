"""segs-edge decode: bytes that somebody has to readings, without a meter, a broker or a network."""

import asyncio
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from inspect import cleandoc
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from edge.clock import Clock
from edge.errors import ConfigError, ModbusFault
from edge.profiles import catalog
from edge.profiles.modbus import sunspec
from edge.profiles.modbus.schema import ModbusProfile
from edge.profiles.payload.clock import BEHIND_US
from edge.tools import options, table
from edge.tools.lines import explain, registers
from edge.tools.lines.image import Image
from edge.tools.lines.sample import doubts
from edge.tools.messages.payloads import Item, Payloads
from edge.tools.outcome import NOTHING, USAGE, ToolFault, escaped, fail, note, show_json

# Before 2010 no meter published JSON: such a clock was never set, and runs from an epoch of its own.
_NEVER_SET_US = 1_262_304_000_000_000


def command(
    profile: Annotated[str, typer.Option("--profile", help="the meter's model or payload dialect; segs-edge profiles")],
    topic: Annotated[
        str | None, typer.Option("--topic", help="the MQTT topic that the payload came by", show_default=False)
    ] = None,
    registers_file: Annotated[
        Path | None,
        typer.Option("--registers", help="decode the registers in this file instead of a payload; - is standard input"),
    ] = None,
    timezone: Annotated[str, typer.Option("--timezone", help="of a device's clock that names none")] = "UTC",
    received: Annotated[
        str | None,
        typer.Option(
            "--received",
            help="when it came, ISO 8601; its clock then counts as it would for the gateway",
            show_default=False,
        ),
    ] = None,
    fields_file: Annotated[
        Path | None,
        typer.Option(
            "--fields", help="TOML with what the device's table in gateway.toml says of its payload", show_default=False
        ),
    ] = None,
    lines: Annotated[
        bool, typer.Option("--lines", help="a message a line, 'topic payload', as mosquitto_sub -v prints them")
    ] = False,
    as_json: options.AsJson = False,
    explained: Annotated[
        bool, typer.Option("--explain", help="show where each value comes from; with --json on standard error")
    ] = False,
) -> None:
    """Decode an MQTT payload from standard input, or registers from a file, to readings.

    With --json one array of readings on standard output. Each has `device` (the part of the topic that names it, else
    the whole topic; for registers the unit or the file), `channel` where the device has several meters, `time` (ISO
    8601, UTC), `time_source` (`device` where its own clock could be believed, else `gateway`), `values` by canonical
    name, and `quality`, an ESPI code: 14 raw, or 10 failed checks where something of the reading could not be used or
    lies outside of what a meter can measure. What could not be used is named on standard error.

    The payload may be years old: a device's clock counts unless it says a time before 2010, as one that was never set
    does, or more than a minute ahead of now. With --received it counts as for the gateway, at most seven days behind
    and a minute ahead of that. A clock that names no zone is in --timezone.

    Ends with 0 when there was nothing wrong with the message, even if it said nothing of a meter; 1 when it could not
    be decoded, and it is not in the array then; 2 for a wrong command line.

    \b
    Examples:
      mosquitto_sub -C 1 -t tele/plug/SENSOR | segs-edge decode --profile tasmota --topic tele/plug/SENSOR --json
      mosquitto_sub -v -t 'shellies/#' -W 60 | segs-edge decode --profile shelly-gen1 --lines
      segs-edge decode --profile eastron-sdm630 --registers dump.txt --explain

    """
    options.known_profile(profile, "modbus" if registers_file else "mqtt")
    if registers_file is not None and (topic is not None or lines or fields_file):
        fail("--registers goes without --topic, --lines and --fields; those are of MQTT payloads", USAGE)
    if registers_file is None and lines == (topic is not None):
        fail("name the topic of the payload by --topic, or give --lines with a topic in each, or --registers", USAGE)
    now_us = Clock().now_us() if received is None else _received_us(received)
    behind_us = BEHIND_US if received is not None else now_us - _NEVER_SET_US
    try:
        if registers_file is not None:
            items, failed = list(_registers(profile, registers_file, now_us, explained=explained, aside=as_json)), False
        else:
            payloads = Payloads(profile=profile, zone=_zone(timezone), fields_file=fields_file, behind_us=behind_us)
            items, failed = _messages(payloads, sys.stdin.buffer.read(), topic, now_us)
    except (ToolFault, ConfigError) as fault:
        if as_json:
            show_json([])
        fail(fault)
    for item in items:
        for doubt in item.doubts:
            note(doubt)
        for line in item.explained if explained else ():
            typer.echo(escaped(line), err=as_json)
    readings = [item for item in items if item.values]
    if as_json:
        show_json([item.reading() for item in readings])
    elif not (explained and registers_file):
        for item in readings:
            typer.echo("\n".join([item.title(), *table.quantities(item.values)]))
    if failed:
        raise typer.Exit(NOTHING)


command.__doc__ = f"{cleandoc(command.__doc__ or '')}\n\n{registers.FORMATS}"


def _messages(payloads: Payloads, text: bytes, topic: str | None, now_us: int) -> tuple[list[Item], bool]:
    """What the messages in `text` say, all of it one payload where `topic` is given, and whether one said nothing."""
    items: list[Item] = []
    failed = False
    for where, of_topic, payload in _split(text) if topic is None else [("standard input", topic, text)]:
        try:
            items += payloads.items(where, of_topic, payload, now_us=now_us)
        except ToolFault as fault:
            note(fault)
            failed = True
    return _numbered(items), failed


def _split(text: bytes) -> Iterator[tuple[str, str, bytes]]:
    """Where each message stands, its topic, and its payload."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            head, _, payload = line.partition(b" ")
            yield f"standard input:{number}", head.decode("utf-8", "replace"), payload


def _registers(name: str, file: Path, now_us: int, *, explained: bool, aside: bool) -> Iterator[Item]:
    """A reading of each unit in `file`. Raises ToolFault when there is none in it."""
    try:
        text = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise ToolFault(f"{file}: {error.strerror}; name a readable file") from error
    where = "standard input" if str(file) == "-" else file.name
    images = registers.parse(text, where)
    read = 0
    for image in images:
        of_unit = where if image.unit is None else f"{where}, unit {image.unit}"
        device = file.stem if image.unit is None else f"unit-{image.unit}"
        profile = _profile(name, image, of_unit)
        sample = image.sample(profile)
        read += bool(sample.values)
        if explained:
            title = escaped(f"{device}: {profile.maker} {profile.model}")
            typer.echo("\n".join([title, *explain.lines(sample, profile)]), err=aside)
        said = asyncio.run(doubts(image.read, profile, sample.values))
        said += [f"{quantity} fits no column; check the word order" for quantity in sample.impossible]
        if not sample.values:
            said.append(f"no value for any row of {name} in {len(image.words)} registers")
        yield Item(
            device=device,
            channel=None,
            time_us=now_us if image.time_us is None else image.time_us,
            from_device=False,
            values=sample.values,
            flawed=bool(sample.impossible),
            doubts=[f"{of_unit}: {doubt}" for doubt in said],
        )
    if not read:
        registers_there = sum(len(image.words) for image in images)
        raise ToolFault(
            f"{where}: no value for any row of {name} in {registers_there} registers; "
            "addresses are as on the wire, from 0: is it another profile, or counted from 1?"
        )


def _profile(name: str, image: Image, where: str) -> ModbusProfile:
    if name != catalog.SUNSPEC:
        return catalog.modbus(name)
    try:
        return asyncio.run(sunspec.discover(image.read))
    except ModbusFault as fault:
        raise ToolFault(f"{where}: {fault.reason}; a SunSpec map is found by its first registers") from fault


def _numbered(items: list[Item]) -> list[Item]:
    """`items`, the first meter of a device with several by its number: where each comes alone, only the end tells."""
    several = {item.device for item in items if item.channel is not None}
    for item in items:
        if item.device in several and item.channel is None:
            item.channel = 1
    return items


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        fail(f"--timezone {name}: no time zone of that name; use one like Europe/Berlin, or UTC", USAGE)


def _received_us(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        fail(f"--received {text}: no ISO 8601 time; write 2026-01-31T12:00:00Z", USAGE)
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
