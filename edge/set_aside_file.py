"""The file in the data folder that says which registers of which meter are set aside."""

import asyncio
import contextlib
import os
from collections.abc import Collection
from pathlib import Path

import msgspec
import structlog

_LOG = structlog.get_logger("edge.set_aside")


class _Entry(msgspec.Struct):
    profile: str
    registers: list[str]


class SetAsideFile:
    """Read once, replaced in one step at each change. A file that cannot be read or written costs what it remembers:
    the meter is asked again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = asyncio.Lock()
        self._entries = _read(path)

    def of(self, device: str, profile: str) -> frozenset[str]:
        entry = self._entries.get(device)
        return frozenset(entry.registers) if entry and entry.profile == profile else frozenset()

    async def keep(self, device: str, profile: str, keys: Collection[str]) -> None:
        self._entries.pop(device, None)
        if keys:
            self._entries[device] = _Entry(profile, sorted(keys))
        async with self._lock:
            content = msgspec.json.format(msgspec.json.encode(dict(sorted(self._entries.items()))), indent=2)
            try:
                # Off the event loop: on a bad SD card even a small file can take seconds.
                await asyncio.to_thread(_replace, self._path, content)
            except OSError as error:
                _LOG.warning("registers set aside not remembered", file=str(self._path), reason=error.strerror)


def _read(path: Path) -> dict[str, _Entry]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, _Entry])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        _LOG.warning("registers set aside are forgotten", file=str(path), reason=str(error))
        return {}


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_name(f"{path.name}.new")
    try:
        with fresh.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except OSError:
        # Half a file is no use, and on a full disk in the way.
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise
