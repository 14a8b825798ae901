"""The files that a configuration names: certificates, keys and passwords, read as they are when a driver is made."""

import ssl
from collections.abc import Iterator
from pathlib import Path

from edge.config.models import Config
from edge.config.section import TlsConfig
from edge.errors import ConfigError
from edge.tls import context

# Of a systemd service: they are there for it alone, and only while it runs.
_CREDENTIALS = "/run/credentials/"


def tls_context(tls: TlsConfig, trail: str) -> ssl.SSLContext:
    """Raises ConfigError, under the `trail` of `tls`, when one of its files cannot be used."""
    return context(**tls.files, trail=trail)


def password(path: str, trail: str) -> str:
    """What is in the file but for one line end, as blanks may be part of a password. Raises ConfigError."""
    try:
        return Path(path).read_bytes().decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise ConfigError([f"{trail}: {path}: {error.strerror}; name a readable file"]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([f"{trail}: {path}: not UTF-8; save the file as UTF-8"]) from error


def secret_files(config: Config) -> Iterator[tuple[str, str]]:
    """Trail and path of what nobody else should read."""
    yield "uplink.key_file", config.uplink.key_file
    for trail, tls in _tls(config):
        if tls.key_file is not None:
            yield f"{trail}.key_file", tls.key_file
    yield from _passwords(config)


def unusable(config: Config) -> Iterator[str]:
    """What a daemon with this configuration would refuse to start with, one line each.

    Left out: `uplink.key_file`, without which a gateway meters and buffers; and what only the daemon may read.
    """
    for trail, tls in _tls(config):
        if not any(_out_of_reach(path) for path in tls.files.values() if path is not None):
            try:
                tls_context(tls, trail)
            except ConfigError as error:
                yield from error.problems
    for trail, path in _passwords(config):
        if not _out_of_reach(path):
            try:
                password(path, trail)
            except ConfigError as error:
                yield from error.problems


def _tls(config: Config) -> Iterator[tuple[str, TlsConfig]]:
    for kind, tables in (("modbus", config.modbus), ("mqtt", config.mqtt)):
        for number, table in enumerate(tables):
            if table.tls is not None:
                yield f"{kind}[{number}].tls", table.tls


def _passwords(config: Config) -> Iterator[tuple[str, str]]:
    for number, broker in enumerate(config.mqtt):
        if broker.password_file is not None:
            yield f"mqtt[{number}].password_file", broker.password_file


def _out_of_reach(path: str) -> bool:
    if path.startswith(_CREDENTIALS):
        return True
    try:
        Path(path).open("rb").close()
    except PermissionError:
        return True
    except OSError:
        pass
    return False
