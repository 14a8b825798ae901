"""Secrets that the environment names a file of: passwords of servers, and what messages are signed with."""

import os
import stat
from pathlib import Path

from cloud.settings import SettingsError

_LARGEST = 4096


def read(file: Path, variable: str) -> str:
    """The first line. Raises SettingsError, which names the variable, also where others may read the file."""
    try:
        with file.open("rb") as opened:
            found = os.fstat(opened.fileno())
            content = opened.read(_LARGEST).decode().partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{variable}: {file}: {error}; name a file that this service may read") from None
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise SettingsError(f"{variable}: {file} is open to others: chmod 0600 {file}")
    if not content:
        raise SettingsError(f"{variable}: {file} has no secret in its first line")
    return content
