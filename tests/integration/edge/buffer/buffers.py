"""A buffer on a real file, and what is in it."""

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, closing
from pathlib import Path

from contract.batch import Batch
from contract.codec import decode, decompress
from contract.receipt import Receipt
from edge.buffer.batches import CutBatch, Lane
from edge.buffer.limits import Limits
from edge.buffer.queue import BufferQueue
from edge.buffer.segments import unpack
from edge.buffer.store import Store
from edge.clock import Clock
from edge.reading import Reading

START_US = 1_795_000_000_000_000
# One commit, one segment, one id.
ID_STEP = 65_536


class Time:
    """Clocks that stand until they are told to go on."""

    def __init__(self, now_us: int = START_US) -> None:
        self.now_us = now_us

    @property
    def clock(self) -> Clock:
        return Clock(now_us=lambda: self.now_us, monotonic_s=lambda: self.now_us / 1e6)

    def forward(self, seconds: float) -> None:
        self.now_us += round(seconds * 1e6)


def reading(number: int, device: str = "meter") -> Reading:
    """Every second one; the register tells which it is."""
    return Reading(device, START_US + number * 1_000_000, {"energy_import_wh": number}, 0, 1000)


def store_at(folder: Path, *, max_bytes: int = 2**30, min_free_bytes: int = 0, **options: object) -> Store:
    limits = Limits(max_bytes=max_bytes, min_free_bytes=min_free_bytes)
    defaults: dict[str, object] = {"clock": Clock(), "limits": limits}
    return Store(path=folder / "buffer.sqlite", **(defaults | options))


@asynccontextmanager
async def opened(folder: Path, **options: object) -> AsyncIterator[Store]:
    store = store_at(folder, **options)
    try:
        await store.open()
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def queued(
    store: Store, *, commit_interval_s: float = 0.05, memory_readings: int = 1000, commit_readings: int = 500
) -> AsyncIterator[BufferQueue]:
    stop = asyncio.Event()
    queue = BufferQueue(
        store=store,
        clock=Clock(),
        commit_interval_s=commit_interval_s,
        commit_readings=commit_readings,
        memory_readings=memory_readings,
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(queue.run(stop))
        await queue.opened.wait()
        yield queue
        stop.set()


def receipt(batch: CutBatch, **changes: object) -> Receipt:
    values = {"seq": batch.seq, "sha256": batch.sha256, "stream": batch.stream} | changes
    return Receipt(version=1, readings=batch.readings, stored=batch.readings, duplicates=0, quarantined=[], **values)


def content(batch: CutBatch) -> Batch:
    return decode(decompress(batch.body, batch.encoding, 2**26), batch.media_type)


def rows_of(batch: CutBatch) -> list[tuple[str, int, dict[str, object], int]]:
    """Device, time, values and flags of each reading, as the receiver has them."""
    return [
        (
            block.device,
            time_us,
            {name: column[row] for name, column in block.values.items() if column[row] is not None},
            block.flags[row] if block.flags else 0,
        )
        for block in content(batch).devices
        for row, time_us in enumerate(block.time_us)
    ]


def registers(batches: CutBatch | Iterable[CutBatch]) -> list[int]:
    """The numbers of the readings in it."""
    many = [batches] if isinstance(batches, CutBatch) else batches
    return [int(str(values["energy_import_wh"])) for batch in many for _, _, values, _ in rows_of(batch)]


async def waiting(store: Store, lane: Lane | None = None) -> list[CutBatch]:
    """Batches without a receipt, of both lanes unless one is named."""
    lanes = (Lane.LIVE, Lane.BACKLOG) if lane is None else (lane,)
    return sorted(
        [batch for each in lanes for batch in await store.outstanding(each, limit=10_000)], key=lambda batch: batch.seq
    )


async def cut_all(store: Store, max_readings: int = 5_000) -> list[CutBatch]:
    """Everything that can be cut is, what is newest first; all that has no receipt."""
    await store.cut_live(max_readings)
    while await store.cut_backlog(max_readings, 100):
        pass
    return await waiting(store)


async def settle_all(store: Store) -> list[CutBatch]:
    """Receipts for everything that has none; what was delivered."""
    delivered = []
    while batches := await cut_all(store):
        for batch in batches:
            assert await store.settle(receipt(batch))
        delivered += batches
    return delivered


def peek(folder: Path, sql: str, *parameters: object) -> list[tuple[object, ...]]:
    """Another connection's view: only what is committed."""
    with closing(sqlite3.connect(folder / "buffer.sqlite")) as db:
        return db.execute(sql, parameters).fetchall()


def alter(folder: Path, sql: str, *parameters: object) -> None:
    """What somebody else, or a bad card, does to the file."""
    with closing(sqlite3.connect(folder / "buffer.sqlite")) as db, db:
        assert db.execute(sql, parameters).rowcount != 0


def kept(folder: Path) -> list[Reading]:
    """Readings of all segments, in the order of their ids."""
    return [one for (body,) in peek(folder, "SELECT body FROM segment ORDER BY id") for one in unpack(body)]  # type: ignore[arg-type]


def losses(folder: Path) -> list[tuple[object, ...]]:
    return peek(folder, "SELECT kind, readings, first_us, last_us FROM loss ORDER BY id")


def copied(folder: Path, target: Path) -> Path:
    """The file and its log as a kill would leave them."""
    target.mkdir()
    for part in sorted(folder.glob("buffer.sqlite*")):
        if part.suffix != ".sqlite-shm":
            shutil.copy(part, target / part.name)
    return target


def files(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern))
