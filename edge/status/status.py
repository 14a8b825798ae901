"""What the gateway says of itself: by its daemon, and by its buffer file, readable while it is stopped."""

import os
import shutil
from pathlib import Path

import msgspec

from edge import VERSION
from edge.buffer.lock import held
from edge.clock import Clock
from edge.config.models import Config
from edge.status.running import Running, running_in
from edge.status.socket import ask
from edge.status.stored import Stored, Unreadable, stored_in

BUFFER_FILE = "buffer.sqlite"
LOCK_FILE = "buffer.lock"
SET_ASIDE_FILE = "set-aside.json"


class Status(msgspec.Struct):
    """`health` is ok, troubled or stopped. `loss_window_s` is how much polling a power cut can cost; ages are measured
    at `now_us`. `unreadable` says why nothing is `stored` although there is, or should be, a buffer."""

    name: str
    version: str
    health: str
    troubles: list[str]
    running: bool
    now_us: int
    loss_window_s: float
    backlog_oldest_age_s: float | None
    free_disk_bytes: int | None
    card_endurance_bytes: int | None
    unreadable: str | None
    stored: Stored | None
    daemon: Running | None


def read(config: Config, *, clock: Clock) -> Status:
    """The status of the gateway that `config` describes. Raises DataDirUnusable when it may not be looked at."""
    data_dir, now_us = config.data_dir, clock.now_us()
    running = held(data_dir / LOCK_FILE)
    daemon = (ask(data_dir) if running else None) or running_in(data_dir)
    # What a daemon said long before it was killed is not known any more.
    known = daemon.backlog if running and daemon else None
    stored, unreadable = None, _missing_mount(config)
    try:
        stored = None if unreadable else stored_in(data_dir / BUFFER_FILE, known=known)
    except Unreadable as error:
        unreadable = str(error)
    troubles = [f"buffer: {unreadable}"] if unreadable else []
    troubles += daemon.troubles() if running and daemon else []
    oldest_us = stored.backlog.oldest_us if stored else None
    return Status(
        name=config.gateway.name,
        version=VERSION,
        health="stopped" if not running else "troubled" if troubles else "ok",
        troubles=troubles,
        running=running,
        now_us=now_us,
        loss_window_s=config.buffer.commit_interval_s,
        backlog_oldest_age_s=None if oldest_us is None else round((now_us - oldest_us) / 1e6, 3),
        free_disk_bytes=free_bytes(data_dir),
        card_endurance_bytes=config.buffer.card_endurance_bytes,
        unreadable=unreadable,
        stored=stored,
        daemon=daemon,
    )


def free_bytes(folder: Path) -> int | None:
    """What is free for this user on the disk of `folder`; None where that is not there."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def _missing_mount(config: Config) -> str | None:
    mount = config.buffer.mount
    return None if mount is None or os.path.ismount(mount) else f"nothing is mounted at {mount}"
