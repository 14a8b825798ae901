"""What a configuration may say and its operator will regret."""

import os
import re
import shutil
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from edge.config.files import secret_files
from edge.config.models import Config

_NUMBERED = re.compile(r"/dev/tty(USB|ACM)\d+")
_BY_ID = Path("/dev/serial/by-id")
# Anybody who is neither the owner nor of the group.
_OTHERS = 0o007


def warnings(config: Config, *, by_id: Path = _BY_ID) -> Iterator[str]:
    """One line each, with its trail; `by_id` has the links to serial ports that keep theirs."""
    url = urlsplit(config.uplink.url)
    if url.scheme == "http" and not _is_here(url.hostname or ""):
        yield f"uplink.url: {config.uplink.url}: the gateway's key goes over the network as it is; use https"
    mount = config.buffer.mount
    if mount is not None and not os.path.ismount(mount):
        yield f"buffer.mount: {mount}: nothing is mounted there; readings wait in memory until the disk is"
    elif (free := _free_bytes(config.data_dir)) is not None and free < config.buffer.min_free_bytes:
        yield (
            f"buffer.min_free_bytes: {config.buffer.min_free_bytes}: the disk of {config.data_dir} has {free} bytes "
            "free, so readings would be reduced at once; make room, or set it lower"
        )
    for number, bus in enumerate(config.modbus):
        if bus.serial is not None and _NUMBERED.fullmatch(bus.serial):
            # Neither has to be there: a port may be unplugged, and a link outlive what it led to.
            port = os.path.realpath(bus.serial)
            stable = next((str(link) for link in sorted(by_id.glob("*")) if os.path.realpath(link) == port), None)
            todo = f"use {stable}" if stable else f"use its link in {by_id}, once it is plugged in"
            yield f"modbus[{number}].serial: {bus.serial}: such numbers are swapped at a restart; {todo}"
    for number, broker in enumerate(config.mqtt):
        if broker.password_file is not None and broker.tls is None and not _is_here(broker.host):
            yield f"mqtt[{number}].password_file: the password goes over the network as it is; add tls"
    for trail, path in secret_files(config):
        yield from _mode(trail, path)


def _mode(trail: str, path: str) -> Iterator[str]:
    try:
        mode = os.stat(path).st_mode & 0o777
    except OSError:
        return
    if mode & _OTHERS:
        yield f"{trail}: {path}: every user of this machine may read or change it (mode {mode:o}); chmod o= {path}"


def _free_bytes(folder: Path) -> int | None:
    """What the gateway may still write on the disk where `folder` is or will be."""
    there = next((path for path in (folder, *folder.parents) if path.exists()), None)
    try:
        return None if there is None else shutil.disk_usage(there).free
    except OSError:
        return None


def _is_here(host: str) -> bool:
    """Whether `host` is this machine by its very name."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"
