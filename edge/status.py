"""What the gateway says of itself: written by the daemon, completed from the buffer, readable while it is stopped."""

import asyncio
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from edge import VERSION
from edge.buffer.lock import held
from edge.buffer.queue import BufferState
from edge.buffer.rows import SELECT_BACKLOG, Backlog, Loss
from edge.clock import Clock
from edge.config.models import Config
from edge.drivers.mqtt.state import BrokerState
from edge.drivers.sink import DeviceState
from edge.uplink import UplinkState

STATUS_FILE = "status.json"
BUFFER_FILE = "buffer.sqlite"
LOCK_FILE = "buffer.lock"
SET_ASIDE_FILE = "set-aside.json"


class Running(msgspec.Struct):
    """What only the daemon knows: counters since `started_us`, as they were at `written_us`."""

    pid: int
    version: str
    started_us: int
    written_us: int
    devices: Sequence[DeviceState]
    brokers: Sequence[BrokerState]
    buffer: BufferState
    uplink: UplinkState
    stuck: list[str] = []

    def trouble(self) -> tuple[object, ...]:
        """What is wrong now, to be compared with what was wrong before."""
        silent = tuple(device.device for device in self.devices if _in_trouble(device))
        away = tuple(
            (broker.broker, broker.connected) for broker in self.brokers if broker.trouble or not broker.connected
        )
        return self.uplink.trouble is None, self.buffer.unwritable is None, silent, away

    def write(self, data_dir: Path) -> None:
        """Replace the status file in one step: who reads sees the old one or the new one. Raises OSError."""
        fresh = data_dir / f"{STATUS_FILE}.new"
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2))
        os.replace(fresh, data_dir / STATUS_FILE)


class Stored(msgspec.Struct):
    """What the buffer file says, whether a daemon runs or not."""

    stream: str
    backlog: Backlog
    synced_readings: int
    last_receipt_us: int | None
    last_receipt_seq: int | None
    next_seq: int
    rejected: int
    refused_batches: int
    refused_readings: int
    losses: list[Loss]
    set_aside: str | None


class Status(msgspec.Struct):
    """`loss_window_s` is how much polling a power cut can cost; ages are measured at `now_us`."""

    name: str
    version: str
    running: bool
    now_us: int
    loss_window_s: float
    backlog_oldest_age_s: float | None
    stored: Stored | None
    daemon: Running | None


def read(config: Config, *, clock: Clock) -> Status:
    """The status of the gateway that `config` describes. Raises DataDirUnusable when it may not be looked at."""
    data_dir, now_us = config.data_dir, clock.now_us()
    running = held(data_dir / LOCK_FILE)
    stored = stored_in(data_dir / BUFFER_FILE)
    oldest_us = stored.backlog.oldest_us if stored else None
    return Status(
        name=config.gateway.name,
        version=VERSION,
        running=running,
        now_us=now_us,
        loss_window_s=config.buffer.commit_interval_s,
        backlog_oldest_age_s=None if oldest_us is None else round((now_us - oldest_us) / 1e6, 3),
        stored=stored,
        daemon=_running(data_dir / STATUS_FILE),
    )


def _running(path: Path) -> Running | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Running)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def stored_in(path: Path) -> Stored | None:
    """What is in the buffer at `path`, read without touching it; None when there is none that can be read."""
    if not path.exists():
        return None
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)) as db:
            return _stored(db)
    except sqlite3.Error:
        return None


def _stored(db: sqlite3.Connection) -> Stored:
    meta = dict(db.execute("SELECT key, value FROM meta"))
    backlog = db.execute(SELECT_BACKLOG).fetchone()
    refused = db.execute("SELECT count(*), coalesce(sum(readings), 0) FROM refused").fetchone()
    receipt = msgspec.json.decode(meta["last_receipt"]) if "last_receipt" in meta else None
    return Stored(
        stream=meta["stream"],
        backlog=Backlog(*backlog),
        synced_readings=meta["synced_readings"],
        last_receipt_us=meta.get("last_receipt_us"),
        last_receipt_seq=receipt["seq"] if receipt else None,
        next_seq=meta["next_seq"],
        rejected=db.execute("SELECT count(*) FROM rejected").fetchone()[0],
        refused_batches=refused[0],
        refused_readings=refused[1],
        losses=[Loss(*row) for row in db.execute("SELECT reason, readings, first_us, last_us FROM loss ORDER BY id")],
        set_aside=meta.get("set_aside"),
    )


def lines(status: Status) -> list[str]:
    """`status` for people."""
    out = [f"{status.name}: {'running' if status.running else 'stopped'}, segs-edge {status.version}"]
    if (stored := status.stored) is None:
        return [*out, "buffer: none yet, or it cannot be read"]
    age = "" if status.backlog_oldest_age_s is None else f", oldest {status.backlog_oldest_age_s:.0f} s old"
    out.append(f"loss window: {status.loss_window_s:g} s")
    out.append(f"backlog: {stored.backlog.readings} readings, {stored.backlog.bytes} bytes{age}")
    out.append(
        f"synced: {stored.synced_readings} readings, last receipt: {_ago(status.now_us, stored.last_receipt_us)}"
    )
    out.append(f"stream {stored.stream}, next batch {stored.next_seq}")
    out.append(f"rejected messages: {stored.rejected}")
    out.append(f"refused batches: {stored.refused_batches} with {stored.refused_readings} readings")
    out += [f"given up: {loss.readings} readings, {loss.reason}" for loss in stored.losses]
    if stored.set_aside:
        out.append(f"a damaged buffer is kept at {stored.set_aside}")
    if status.daemon is not None:
        if status.running and status.daemon.uplink.trouble:
            out.append(f"uplink: {status.daemon.uplink.trouble}")
        if status.running and status.daemon.buffer.unwritable:
            out.append(f"buffer: {status.daemon.buffer.unwritable}; {status.daemon.buffer.waiting} readings in memory")
        if status.running:
            out += [_broker_line(broker) for broker in status.daemon.brokers]
        out += [_device_line(device, status.now_us) for device in status.daemon.devices]
    return out


def _device_line(device: DeviceState, now_us: int) -> str:
    last = _ago(now_us, device.last_reading_us)
    trouble = f", last error: {device.last_error}" if _in_trouble(device) else ""
    aside = f", set aside: {', '.join(device.set_aside)}" if device.set_aside else ""
    overruns = f", {device.overruns} polls left out" if device.overruns else ""
    return f"{device.device}: {device.readings} readings, last {last}, {device.errors} errors{overruns}{aside}{trouble}"


def _in_trouble(device: DeviceState) -> bool:
    """Whether the last that is known of the device is an error, and not a reading."""
    return device.last_error_us is not None and device.last_error_us > (device.last_reading_us or 0)


def _broker_line(broker: BrokerState) -> str:
    trouble = f", {broker.trouble}" if broker.trouble else ""
    rejected = f", {broker.rejected} rejected" if broker.rejected else ""
    # Some of a device's messages are about other things; all of them, and its profile is another's.
    silent = f", {broker.without_readings} without a reading" if broker.without_readings else ""
    connected = "connected" if broker.connected else "not connected"
    return f"broker {broker.broker}: {connected}, {broker.messages} messages{rejected}{silent}{trouble}"


def _ago(now_us: int, then_us: int | None) -> str:
    return "never" if then_us is None else f"{(now_us - then_us) / 1e6:.0f} s ago"


async def write_soon(running: Running, data_dir: Path) -> None:
    """`running.write` off the event loop: on a bad SD card even a small file can take seconds."""
    await asyncio.to_thread(running.write, data_dir)
