"""Whatever happens, in whatever order: no reading is lost, and none is two readings at the receiver."""

import random
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest

from contract.codec import MSGPACK, PACKED
from edge.buffer.batches import CutBatch, Lane
from edge.buffer.segments import unpack
from edge.buffer.store import Store
from edge.reading import Reading
from tests.integration.edge.buffer.buffers import (
    START_US,
    Time,
    copied,
    cut_all,
    peek,
    receipt,
    rows_of,
    store_at,
)

_S = 1_000_000
_TRUE_US = START_US - 3_600 * _S
_STEPS = 150


class _Receiver:
    """A ledger by number, and readings by device and time. It will not have the readings `refused`."""

    def __init__(self, refused: set[int]) -> None:
        self._refused = refused
        self._ledger: dict[tuple[str, int], tuple[str, list[tuple[str, int, int]]]] = {}

    def post(self, batch: CutBatch) -> int:
        number = (batch.stream, batch.seq)
        if number in self._ledger:
            return 200 if self._ledger[number][0] == batch.sha256 else 409
        rows = [
            (device, time_us, int(str(values["energy_import_wh"]))) for device, time_us, values, _ in rows_of(batch)
        ]
        if self._refused & {which for _, _, which in rows}:
            return 422
        self._ledger[number] = (batch.sha256, rows)
        return 200

    def received(self, stream: str) -> list[tuple[int, int]]:
        return [(seq, seq) for name, seq in self._ledger if name == stream]

    def lose(self, stream: str, seqs: list[int]) -> None:
        """It was restored from a backup."""
        for seq in seqs:
            self._ledger.pop((stream, seq), None)

    @property
    def stored(self) -> dict[int, set[int]]:
        """Times of each reading."""
        found: dict[int, set[int]] = {}
        for _, rows in self._ledger.values():
            for _, time_us, which in rows:
                found.setdefault(which, set()).add(time_us)
        return found


class _Life:
    """One gateway's life. Its wall clock may be stepped, what is known of the true time may change."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.receiver = _Receiver({which for which in range(600) if self.random.random() < 0.03})
        self.committed = 0
        self._base, self._lives, self._boots = folder, 0, 0
        self.folder = folder / "0"
        self.folder.mkdir()
        self._time = Time()
        self._offset_us = _TRUE_US + self.random.choice([0, 100 * _S, -(10**15)])
        self._true_us: int | None = None
        self.store = self._made()

    def _made(self) -> Store:
        return store_at(
            self.folder,
            clock=self._time.clock,
            boot_id=f"boot {self._boots}",
            truth=lambda: self._true_us,
            live_span_us=self.random.choice([3, 10]) * _S,
        )

    async def steps(self) -> None:
        await self.store.open()
        ways: dict[Callable[[], Awaitable[object]], int] = {
            self.read: 35,
            self.send: 25,
            self.cut: 20,
            self.confirm: 4,
            self.step_clocks: 9,
            self.lose: 2,
            self.die: 2,
            self.restart: 2,
            self.renumber: 1,
        }
        for way in self.random.choices(list(ways), list(ways.values()), k=_STEPS):
            self._time.forward(self.random.choice([0.5, 1, 5]))
            await way()

    async def read(self) -> None:
        many = self.random.choice([1, 1, 3, 8])
        numbers = range(self.committed, self.committed + many)
        readings = [
            Reading("meter", self._offset_us + which * _S, {"energy_import_wh": which}, 0, 1000) for which in numbers
        ]
        self.store.want_live = self.store.want_live or self.random.random() < 0.5
        await self.store.commit(readings, offset_us=self._offset_us)
        self.committed += many

    async def cut(self) -> None:
        self.store.media_type = self.random.choice([PACKED, PACKED, MSGPACK])
        if self.random.random() < 0.5:
            await self.store.cut_live(self.random.choice([1, 5, 100]))
        else:
            await self.store.cut_backlog(self.random.choice([1, 5, 100]), self.random.choice([1, 3]))

    async def send(self) -> None:
        for batch in await self.store.outstanding(self.random.choice(list(Lane)), self.random.choice([1, 4])):
            status = self.receiver.post(batch)
            if self.random.random() > 0.3:
                await self.answered(batch, status)

    async def answered(self, batch: CutBatch, status: int) -> None:
        if batch.stream != self.store.stream:
            return
        if status == 200:
            await self.store.settle(receipt(batch))
        elif status == 409:
            await self.renumber()
        else:
            await self.store.refuse(batch.seq, status=status, reason="no")

    async def confirm(self) -> None:
        received = self.receiver.received(self.store.stream)
        if any(seq >= self.store.next_seq for seq, _ in received):
            await self.renumber()
        else:
            keep_s = self.random.choice([0, 3, 60])
            await self.store.confirm(received, keep_s=keep_s, asked_us=self._time.now_us)

    async def step_clocks(self) -> None:
        self._time.forward(self.random.choice([-3600, -5, 5, 3600]))
        self._offset_us += round(self.random.choice([-10, 0.7, 50]) * _S)
        self._true_us = _TRUE_US + round(self.random.choice([0, 0, 0.6, 3]) * _S)

    async def lose(self) -> None:
        """What the gateway still has."""
        await self.store.commit([])
        rows = peek(self.folder, "SELECT seq FROM batch WHERE confirmed_us IS NULL ORDER BY seq")
        self.receiver.lose(self.store.stream, [int(str(seq)) for (seq,) in rows if self.random.random() < 0.3])

    async def die(self) -> None:
        """The next life begins with what was on the disk."""
        self._lives += 1
        left = copied(self.folder, self._base / str(self._lives))
        await self.store.close()
        await self._begin(left)

    async def restart(self) -> None:
        await self.store.close()
        if self.random.random() < 0.4:
            if self.random.random() < 0.5:
                self._lose_batches()
            with (self.folder / "buffer.sqlite").open("r+b") as file:
                file.write(b"no header at all")
        await self._begin(self.folder)

    def _lose_batches(self) -> None:
        """As if their pages were overwritten: those of readings whose truth was known when they were read."""
        with closing(sqlite3.connect(self.folder / "buffer.sqlite")) as db, db:
            db.execute("PRAGMA secure_delete = ON")
            rows = db.execute(
                "SELECT id FROM batch WHERE NOT EXISTS "
                "(SELECT * FROM segment WHERE boot > 0 AND segment.id BETWEEN first_id AND last_id)"
            ).fetchall()
            db.executemany("DELETE FROM batch WHERE id = ?", [row for row in rows if self.random.random() < 0.5])
            db.execute("DELETE FROM boot WHERE id < 0")

    async def _begin(self, folder: Path) -> None:
        self.folder = folder
        if self.random.random() < 0.4:
            self._boots, self._true_us = self._boots + 1, None
        self.store = self._made()
        await self.store.open()

    async def renumber(self) -> None:
        await self.store.renumber("a test")

    async def drain(self) -> None:
        """All goes well from now on."""
        self._true_us, self._offset_us = _TRUE_US, _TRUE_US
        await self.read()
        await self.store.confirm(
            self.receiver.received(self.store.stream), keep_s=10**6, asked_us=self._time.now_us + 10**12
        )
        for _ in range(300):
            batches = await cut_all(self.store)
            if not batches:
                return
            for batch in batches:
                await self.answered(batch, self.receiver.post(batch))
        raise AssertionError("it does not come to an end")


@pytest.mark.parametrize("seed", range(40))
async def test_nothing_is_lost_or_doubled_in_whatever_order_things_happen(fast_path: Path, seed: int) -> None:
    """E16, E17, E22, E23, E26, E27: restarts, lost receipts, refusals, new numbers, clocks that step, damaged files."""
    life = _Life(fast_path, seed)
    await life.steps()
    await life.drain()
    await life.store.close()
    stored = life.receiver.stored
    bodies = peek(life.folder, "SELECT body FROM refused")
    refused = {int(one.values["energy_import_wh"]) for (body,) in bodies for one in unpack(body)}  # type: ignore[arg-type]
    assert stored.keys() | refused == set(range(life.committed))
    assert [which for which, times_us in stored.items() if len(times_us) > 1] == []
