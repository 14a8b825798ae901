"""A gateway's folder: its configuration, and a buffer that tests fill as the daemon does."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from contract.receipt import Quarantined, Receipt
from edge.buffer.batches import CutBatch, Lane
from edge.buffer.limits import Limits
from edge.buffer.store import Store
from edge.clock import Clock
from edge.config.load import load
from edge.config.models import Config
from edge.reading import Reading
from edge.status.status import BUFFER_FILE

NOON_US = 1_795_780_800_000_000
"""2026-11-27T12:00:00Z"""
OFFSET_US = NOON_US - 100_000_000
"""The machine started 100 s before noon."""

_CONFIG = """
[gateway]
name = "attic"
data_dir = "data"
[uplink]
url = "http://127.0.0.1:9"
key_file = "gateway.key"
{more}
[[modbus]]
host = "192.0.2.10"
  [[modbus.device]]
  id = "main"
  unit = 1
  profile = "eastron-sdm630"
  interval_s = 1.0
[[mqtt]]
host = "192.0.2.20"
client_id = "attic"
  [[mqtt.device]]
  id = "plug"
  profile = "tasmota"
  topic = "tele/plug/SENSOR"
  interval_s = 10
"""


class Folder:
    """`config_file` in `path`, and the buffer in its data folder."""

    def __init__(self, path: Path, more: str = "") -> None:
        self.config_file = path / "gateway.toml"
        self.config_file.write_text(_CONFIG.format(more=more))
        self.config: Config = load(self.config_file)
        self.config.data_dir.mkdir(exist_ok=True)
        self.buffer = self.config.data_dir / BUFFER_FILE

    @asynccontextmanager
    async def store(self, *, true_us: int | None = OFFSET_US, max_bytes: int = 2**30) -> AsyncIterator[Store]:
        store = Store(
            path=self.buffer,
            clock=Clock(now_us=lambda: NOON_US + 10_000_000),
            limits=Limits(max_bytes=max_bytes, frames_bytes=2**20),
            boot_id="boot-1",
            truth=lambda: true_us,
        )
        await store.open()
        try:
            yield store
        finally:
            await store.close()

    def change(self, sql: str, *values: object) -> None:
        """From outside, as nobody should."""
        db = sqlite3.connect(self.buffer)
        with db:
            db.execute(sql, values)
        db.close()


def reading(number: int, device: str = "main", **changes: object) -> Reading:
    """One a second from noon on."""
    values: dict[str, int | float] = {"power_w": 100.5 + number, "energy_import_wh": number}
    return msgspec.structs.replace(Reading(device, NOON_US + number * 1_000_000, values, 0, 1000), **changes)


def readings(first: int, last: int, device: str = "main") -> list[Reading]:
    return [reading(number, device) for number in range(first, last)]


async def commit(store: Store, some: Sequence[Reading], *, offset_us: int = OFFSET_US, **more: Any) -> None:
    """By a clock that is right, unless told otherwise."""
    await store.commit(some, offset_us=offset_us, **more)


async def deliver(store: Store, *, quarantined: Sequence[Quarantined] = ()) -> list[CutBatch]:
    """Receipts for every batch that waits."""
    batches = [batch for lane in Lane for batch in await store.outstanding(lane, 100)]
    for batch in batches:
        kept = batch.readings - sum(entry.readings for entry in quarantined)
        receipt = Receipt(1, batch.stream, batch.seq, batch.sha256, batch.readings, kept, 0, list(quarantined))
        assert await store.settle(receipt)
    return batches
