"""What a scan found, as the tables of a gateway.toml."""

import os
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from edge.config.load import parse
from edge.tools.lines.endpoint import Endpoint
from edge.tools.lines.finder import Found
from edge.tools.outcome import ToolFault, escaped

_HEAD = """\
# Written by segs-edge scan. Name the gateway, and where its readings go; then run segs-edge check-config on this file.
[gateway]
name = "my-gateway"
data_dir = "data"

[uplink]
url = "https://segs.example:8080"
key_file = "gateway.key"
"""


def write(file: Path, endpoint: Endpoint, found: list[Found]) -> str:
    """Make `file`, or add the line to it, in one step; what was done. Raises ToolFault, ConfigError; then nothing is.

    A file that is there already keeps every letter of what it says, and stays valid.
    """
    known = [item for item in found if item.model is not None]
    if not known:
        raise ToolFault(f"{file}: not written; no unit's model is known, and a table needs one")
    text = _present(file)
    taken = _ids(text, file)
    tables = [_table(endpoint.at(speed), items, taken) for speed, items in _by_speed(endpoint, found).items()]
    parts = [text.rstrip("\n") + "\n" if text else _HEAD, *tables]
    whole = "\n".join(parts)
    parse(whole, file.name, file.parent)
    try:
        _replace(file.resolve(), whole)
    except OSError as error:
        raise ToolFault(f"{file}: {error.strerror}; --write-config must be where this user may write") from error
    return f"{file}: {'added' if text else 'written with'} {len(known)} of {len(found)} units; look it over before use"


def _replace(file: Path, text: str) -> None:
    """The file is as it was or has `text`, whatever happens; who may read it stays as it was. Raises OSError."""
    fresh = file.with_name(f"{file.name}.new")
    try:
        with fresh.open("w", encoding="utf-8") as opened:
            if file.exists():
                # Before there is anything in it: a configuration may name what not everybody is to know.
                before = file.stat()
                os.fchown(opened.fileno(), before.st_uid, before.st_gid)
                os.fchmod(opened.fileno(), before.st_mode & 0o7777)
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(fresh, file)
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def _present(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ToolFault(f"{file}: {error}; name a TOML file that this user may read, or a new one") from error


def _ids(text: str, file: Path) -> set[str]:
    """The device ids that `text` has already."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ToolFault(f"{file}: not TOML: {error}; mend it first, or name a new file") from error
    buses = [*data.get("modbus", []), *data.get("mqtt", [])]
    return {str(device.get("id")) for bus in buses for device in bus.get("device", [])}


def _by_speed(endpoint: Endpoint, found: list[Found]) -> dict[int, list[Found]]:
    """A serial line has one speed: units of another stand in a table that says so."""
    speeds: dict[int, list[Found]] = {}
    for item in found:
        speeds.setdefault(item.baud_rate if endpoint.serial is not None else endpoint.baud_rate, []).append(item)
    if len(speeds) > 1:
        counts = ", ".join(f"{len(items)} at {speed}" for speed, items in speeds.items())
        raise ToolFault(f"{endpoint.name}: units at several speeds ({counts}); set all meters of a line to one speed")
    return speeds


def _table(endpoint: Endpoint, found: list[Found], taken: set[str]) -> str:
    lines = ["[[modbus]]", *(f"{key} = {_value(value)}" for key, value in endpoint.table().items())]
    for item in found:
        lines += ["", *(f"  # {escaped(warning)}" for warning in [*item.warnings, *item.hints])]
        rows = ["[[modbus.device]]", *(f"{key} = {_value(value)}" for key, value in _device(item, taken))]
        # Without its model a unit cannot be read; the place is kept for whoever knows it.
        lines += [f"  {'' if item.model else '# '}{row}" for row in rows]
    return "\n".join(lines) + "\n"


def _device(item: Found, taken: set[str]) -> Iterator[tuple[str, Any]]:
    base = name = f"{item.model or 'unit'}-{item.unit}"
    number = 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    taken.add(name)
    yield "id", name
    yield "unit", item.unit
    yield "profile", item.model or "one of segs-edge profiles"
    yield "interval_s", 10.0


def _value(value: object) -> str:
    """TOML for a value; its strings, numbers and booleans are written as in JSON."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(inner)}" for key, inner in value.items()) + " }"
    return msgspec.json.encode(value).decode()
