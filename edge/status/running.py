"""What only the daemon knows of itself: kept in a file in its data folder for who asks when it is gone."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from contract.report import BacklogReport, BufferReport, ClockReport, GivenUp
from edge.buffer.state import BufferState
from edge.drivers.mqtt.state import BrokerState
from edge.drivers.sink import DeviceState
from edge.timekeeping import APART_US
from edge.uplink.state import UplinkState

_FILE = "status.json"
_SILENT_INTERVALS = 3


class Running(msgspec.Struct):
    """Counters since `started_us`, as they were at `written_us`.

    `backlog` is its running total, None before the buffer is open. `time_known` says whether anybody vouches for the
    time; until then nothing is sent. `lost_notes` are notes that nobody will be told. `written_bytes` is what the
    process has written so far.
    """

    pid: int
    version: str
    started_us: int
    written_us: int
    devices: Sequence[DeviceState]
    brokers: Sequence[BrokerState]
    buffer: BufferState
    uplink: UplinkState
    stuck: list[str] = []
    backlog: BacklogReport | None = None
    disk: BufferReport = msgspec.field(default_factory=BufferReport)
    clock: ClockReport = msgspec.field(default_factory=ClockReport)
    time_known: bool = True
    given_up: GivenUp = msgspec.field(default_factory=GivenUp)
    lost_notes: int = 0
    written_bytes: int | None = None

    def trouble(self) -> tuple[object, ...]:
        """What is wrong now, to be compared with what was wrong before."""
        silent = tuple(device.device for device in self.devices if in_trouble(device))
        away = tuple(
            (broker.broker, broker.connected) for broker in self.brokers if broker.trouble or not broker.connected
        )
        return self.uplink.trouble is None, self.buffer.unwritable is None, self.time_known, silent, away

    def own_troubles(self) -> list[str]:
        """What is wrong now with the gateway itself, a line each."""
        lines = [f"loop {loop}: does not move" for loop in self.stuck]
        if self.buffer.unwritable:
            lines.append(f"buffer: {self.buffer.unwritable}; {self.buffer.waiting} readings in memory")
        if self.uplink.trouble:
            lines.append(f"uplink: {self.uplink.trouble}")
        if not self.time_known:
            lines.append("clock: nobody vouches for the time yet; readings are kept, and sent once it is known")
        elif (ahead_s := self.clock.offset_s) is not None and abs(ahead_s) * 1e6 > APART_US:
            lines.append(f"clock: {ahead(ahead_s)}")
        return lines

    def troubles(self) -> list[str]:
        """The same, and what is wrong with those that it reads from."""
        away = [broker for broker in self.brokers if broker.trouble or not broker.connected]
        lines = [f"broker {broker.broker}: {broker.trouble or 'not connected'}" for broker in away]
        lines += [f"{device.device}: {said}" for device in self.devices if (said := self._missing(device))]
        return self.own_troubles() + lines

    @property
    def silent_meters(self) -> int:
        """Meters whose newest reading is more than three intervals old."""
        return sum(1 for device in self.devices if self._silent_us(device) > 0)

    def _missing(self, device: DeviceState) -> str | None:
        if in_trouble(device):
            return device.last_error
        return None if self._silent_us(device) <= 0 else "no message for more than three intervals"

    def _silent_us(self, device: DeviceState) -> int:
        """How much longer than three intervals it said nothing."""
        since_us = max(self.started_us, device.last_reading_us or 0)
        return self.written_us - since_us - _SILENT_INTERVALS * device.interval_ms * 1000

    def write(self, data_dir: Path) -> None:
        """Replace the status file in one step: who reads sees the old one or the new one. Raises OSError."""
        fresh = data_dir / f"{_FILE}.new"
        fresh.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2))
        os.replace(fresh, data_dir / _FILE)


def running_in(data_dir: Path) -> Running | None:
    """What the daemon last wrote, be it gone by now; None where it never did, or another release's did."""
    try:
        return msgspec.json.decode((data_dir / _FILE).read_bytes(), type=Running)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def in_trouble(device: DeviceState) -> bool:
    """Whether the last that is known of the device is an error, and not a reading."""
    return device.last_error_us is not None and device.last_error_us > (device.last_reading_us or 0)


def ahead(seconds: float) -> str:
    """Which clock is ahead, in words; `seconds` is by how much the gateway's is."""
    exact = f"{abs(seconds):.3f}".rstrip("0").rstrip(".")
    return f"{exact} s {'ahead of' if seconds >= 0 else 'behind'} the receiver's"


async def write_soon(running: Running, data_dir: Path) -> None:
    """`running.write` off the event loop: on a bad SD card even a small file can take seconds."""
    await asyncio.to_thread(running.write, data_dir)
