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
from edge.drivers.modbus.device import Read
from edge.errors import ConfigError, ModbusFault
from edge.profiles import catalog
from edge.tools import explain, options, registers, table
from edge.tools.outcome import NOTHING, USAGE, ToolFault, fail, note, show_json
from edge.tools.payloads import Item, Payloads
from edge.tools.sample import Sample
from edge.tools.sample import doubts as sample_doubts


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
        typer.Option("--received", help="when it came, ISO 8601, instead of now", show_default=False),
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

    A device's clock counts while it is at most seven days behind and a minute ahead of the gateway's, which is now, or
    for an older payload what --received says.

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
    now_us = _received_us(received)
    try:
        if registers_file is not None:
            items, failed = list(_registers(profile, registers_file, now_us, explained=explained, aside=as_json)), False
        else:
            payloads = Payloads(profile=profile, zone=_zone(timezone), fields_file=fields_file)
            items, failed = _messages(payloads, sys.stdin.buffer.read(), topic, now_us)
    except (ToolFault, ConfigError) as fault:
        if as_json:
            show_json([])
        fail(fault)
    for item in items:
        for doubt in item.doubts:
            note(doubt)
        for line in item.explained if explained else ():
            typer.echo(line, err=as_json)
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
    return items, failed


def _split(text: bytes) -> Iterator[tuple[str, str, bytes]]:
    """Where each message stands, its topic, and its payload."""
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            head, _, payload = line.partition(b" ")
            yield f"standard input:{number}", head.decode("utf-8", "replace"), payload


def _registers(name: str, file: Path, now_us: int, *, explained: bool, aside: bool) -> Iterator[Item]:
    if name == "sunspec":
        raise ToolFault("--profile sunspec: a SunSpec map is found on the device itself; use segs-edge read")
    profile = catalog.modbus(name)
    try:
        text = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise ToolFault(f"{file}: {error.strerror}; name a readable file") from error
    for image in registers.parse(text, file.name if str(file) != "-" else "standard input"):
        sample = _sample_of(image, name)
        if image.time_us is None:
            sample.time_us = now_us
        device = file.stem if image.unit is None else f"unit-{image.unit}"
        if explained:
            typer.echo(
                "\n".join([f"{device}: {profile.maker} {profile.model}", *explain.lines(sample, profile)]),
                err=aside,
            )
        if not sample.values:
            raise ToolFault(
                f"{file.name}: no value for any row of {name} in {len(image.words)} registers; "
                "addresses are as on the wire, from 0: is it another profile, or counted from 1?"
            )
        doubts = [
            f"{file.name}: {doubt}" for doubt in asyncio.run(sample_doubts(_reading(image), profile, sample.values))
        ]
        doubts += [f"{file.name}: {quantity} fits no column; check the word order" for quantity in sample.impossible]
        yield Item(
            device=device,
            channel=None,
            time_us=sample.time_us,
            from_device=False,
            values=sample.values,
            flawed=bool(sample.impossible),
            doubts=doubts,
        )


def _sample_of(image: registers.Image, name: str) -> Sample:
    """The image as replies: each block whole where it can be, else the rows of it that are there."""
    profile = catalog.modbus(name)
    missing = frozenset(
        row.key
        for block in profile.blocks()
        for row in block.registers
        if any(image.word(row.function, address) is None for address in range(row.address, row.end))
    )
    blocks = profile.blocks(missing)
    replies: list[bytes | None] = []
    for block in blocks:
        # What lies between two rows and is not in the file is read along and means nothing.
        words = [image.word(block.function, block.address + offset) or 0 for offset in range(block.count)]
        replies.append(_packed(words, block.function))
    sample = Sample(
        time_us=image.time_us or 0,
        blocks=blocks,
        replies=replies,
        faults=[None] * len(blocks),
        unread="not in the file",
    )
    sample.decode(profile)
    return sample


def _reading(image: registers.Image) -> Read:
    async def read(*, function: int, address: int, count: int) -> bytes:
        words = [image.word(function, address + offset) for offset in range(count)]
        there = [word for word in words if word is not None]
        if len(there) < count:
            raise ModbusFault("not in the file", line_lost=False, exception_code=2)
        return _packed(there, function)

    return read


def _packed(words: list[int], function: int) -> bytes:
    if function > 2:
        return b"".join(word.to_bytes(2, "big") for word in words)
    bits = sum((word & 1) << offset for offset, word in enumerate(words))
    return bits.to_bytes(-(-len(words) // 8), "little")


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        fail(f"--timezone {name}: no time zone of that name; use one like Europe/Berlin, or UTC", USAGE)


def _received_us(text: str | None) -> int:
    if text is None:
        return Clock().now_us()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        fail(f"--received {text}: no ISO 8601 time; write 2026-01-31T12:00:00Z", USAGE)
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    since = aware - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
