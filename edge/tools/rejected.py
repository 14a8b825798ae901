"""segs-edge rejected: the messages that no decoder could read, kept by the buffer."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from edge.config.load import load
from edge.errors import ConfigError
from edge.status.status import BUFFER_FILE
from edge.tools import options
from edge.tools.outcome import USAGE, ToolFault, escaped, fail, show_json

_SHOWN_BYTES = 300


class Message(msgspec.Struct, frozen=True):
    """`payload` is text where it is UTF-8, else hexadecimal, and `encoding` says which."""

    id: int
    time: str
    topic: str
    reason: str
    encoding: str
    payload: str


def command(
    config_file: Annotated[Path, typer.Option("--config", help="the gateway's TOML file")],
    limit: Annotated[int, typer.Option("--limit", min=1, help="how many, the newest")] = 20,
    topic: Annotated[str | None, typer.Option("--topic", help="only those of this topic", show_default=False)] = None,
    as_json: options.AsJson = False,
) -> None:
    """Show MQTT messages that could not be decoded: when they came, by which topic, why, and what was in them.

    The gateway keeps the newest thousand of them; nothing is changed by looking, and it may run meanwhile. What a
    payload has that a terminal would obey is shown escaped. Put a payload through segs-edge decode to try another
    profile.

    \b
    Examples:
      segs-edge rejected --config gateway.toml
      segs-edge rejected --config gateway.toml --topic tele/plug/SENSOR --limit 1 --json | jq -r '.[0].payload'
    """
    try:
        config = load(config_file)
    except ConfigError as error:
        fail(error, USAGE)
    try:
        found = messages(config.data_dir / BUFFER_FILE, limit=limit, topic=topic)
    except ToolFault as fault:
        fail(fault)
    if as_json:
        show_json(found)
    elif not found:
        typer.echo("no rejected messages")
    else:
        typer.echo("\n".join(line for message in found for line in _lines(message)))


def messages(path: Path, *, limit: int, topic: str | None = None) -> list[Message]:
    """The newest `limit` of the buffer at `path`, oldest first, read without touching it. Raises ToolFault."""
    if not path.exists():
        raise ToolFault(f"{path}: no buffer yet; start the gateway once, or name the configuration that it runs with")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as db:
            rows = db.execute(
                "SELECT id, topic, payload, reason, received_us FROM rejected"
                " WHERE ?1 IS NULL OR topic = ?1 ORDER BY id DESC LIMIT ?2",
                (topic, limit),
            ).fetchall()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise ToolFault(f"{path}: {error}; is this the gateway's buffer, and may this user read it?") from error
    return [_message(*row) for row in reversed(rows)]


def _message(number: int, topic: str, payload: bytes, reason: str, received_us: int) -> Message:
    when = datetime.fromtimestamp(received_us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    data = bytes(payload)
    try:
        text, encoding = data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        text, encoding = data.hex(), "hex"
    return Message(number, when, topic, reason, encoding, text)


def _lines(message: Message) -> Iterator[str]:
    yield f"{message.time}  {escaped(message.topic)}"
    yield f"  {escaped(message.reason)}"
    shown = message.payload[:_SHOWN_BYTES]
    rest = len(message.payload) - len(shown)
    mark = "hex " if message.encoding == "hex" else ""
    yield f"  {mark}{escaped(shown) or '(empty)'}{f' … {rest} more' if rest else ''}"
