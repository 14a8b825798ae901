"""What is in the buffer: every method is one transaction, or one look."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import structlog

from contract.receipt import Receipt
from edge.buffer.deliveries import keep, kept, take_over
from edge.buffer.file import BufferFile
from edge.buffer.room import give_up
from edge.buffer.rows import INSERT_SEGMENT, SELECT_BACKLOG, Backlog, Loss, Rejected, segment_row
from edge.buffer.segments import CutBatch, DamagedSegment, cut, unpack
from edge.clock import Clock
from edge.reading import Delivery, Reading

_LOG = structlog.get_logger("edge.buffer")
REJECTED_ROWS, PAYLOAD_BYTES = 1_000, 16_384
"""How many messages that could not be read are kept, the newest, and how much of each."""
# Garbage is not to push readings out: its share of the room.
_REJECTED_SHARE = 0.1
_MOST_STEPS = 20
_DAY_US = 86_400_000_000
_BATCH_COLUMNS = "seq, readings, first_us, last_us, sha256, media_type, encoding, body"


class Store:
    """What the buffer keeps, gives out and gives up. Use `open`; there is only one process at a file, by the caller."""

    def __init__(self, *, file: BufferFile, clock: Clock, max_bytes: int) -> None:
        self.stream = file.stream
        self._file, self._db, self._clock, self._max_bytes = file, file.db, clock, max_bytes

    @classmethod
    async def open(cls, path: Path, *, clock: Clock, max_bytes: int) -> "Store":
        """Open the buffer at `path`, or begin one. Raises BufferUnwritable while the disk does not allow it."""
        file = await BufferFile.open(path, clock=clock)
        try:
            async with file.transaction():
                await take_over(file.db)
        except BaseException:
            await file.close()
            raise
        return cls(file=file, clock=clock, max_bytes=max_bytes)

    async def close(self) -> None:
        await self._file.close()

    async def commit(
        self,
        readings: Sequence[Reading],
        *,
        rejected: Sequence[Rejected] = (),
        deliveries: Sequence[Delivery] = (),
        losses: Sequence[Loss] = (),
    ) -> None:
        """Keep all of it, in one transaction. Raises BufferUnwritable; then nothing of it is kept."""
        async with self._file.transaction():
            if readings:
                await self._db.execute(INSERT_SEGMENT, segment_row(readings))
            if rejected:
                await self._insert_rejected(rejected)
            if deliveries:
                await keep(self._db, deliveries)
            for loss in losses:
                await self._insert_loss(loss)

    async def _insert_rejected(self, rejected: Sequence[Rejected]) -> None:
        """Keep the newest, as many and as many bytes as there is room for."""
        await self._db.executemany(
            "INSERT INTO rejected (topic, payload, reason, received_us) VALUES (?, ?, ?, ?)",
            [
                (row.topic, row.payload[:PAYLOAD_BYTES], row.reason, row.received_us)
                for row in rejected[-REJECTED_ROWS:]
            ],
        )
        await self._db.execute("DELETE FROM rejected WHERE id <= (SELECT max(id) FROM rejected) - ?", (REJECTED_ROWS,))
        await self._db.execute(
            "DELETE FROM rejected WHERE id IN (SELECT id FROM "
            "(SELECT id, sum(length(payload) + length(topic)) OVER (ORDER BY id DESC) AS held FROM rejected) "
            "WHERE held > ?)",
            (round(self._max_bytes * _REJECTED_SHARE),),
        )

    async def _insert_loss(self, loss: Loss) -> None:
        """Record `loss`; more of the same kind within a day widens the row that is there."""
        now_us = self._clock.now_us()
        cursor = await self._db.execute(
            "UPDATE loss SET readings = readings + ?, first_us = min(first_us, ?), last_us = max(last_us, ?) "
            "WHERE id = (SELECT max(id) FROM loss WHERE reason = ?) AND recorded_us > ?",
            (loss.readings, loss.first_us, loss.last_us, loss.reason, now_us - _DAY_US),
        )
        await cursor.close()
        if cursor.rowcount:
            return
        await self._db.execute(
            "INSERT INTO loss (reason, readings, first_us, last_us, recorded_us) VALUES (?, ?, ?, ?, ?)",
            (*msgspec.structs.astuple(loss), now_us),
        )

    async def deliveries(self) -> list[Delivery]:
        """The newest committed deliveries of every client."""
        return await kept(self._db)

    async def next_batch(self, max_readings: int) -> CutBatch | None:
        """The oldest batch without a receipt; if there is none, one cut from the oldest segments; None without any.

        Cutting writes the batch and deletes its segments in one transaction. Segments stay whole, so a batch has more
        than `max_readings` only where a single segment has. One that is damaged is given up alone, and recorded.
        """
        async with self._db.execute(f"SELECT {_BATCH_COLUMNS} FROM batch ORDER BY seq LIMIT 1") as cursor:
            row = await cursor.fetchone()
        if row is not None:
            return CutBatch(*row)
        ids: list[int] = []
        readings: list[Reading] = []
        async with self._file.transaction():
            sql = "SELECT id, body, readings, first_us, last_us FROM segment ORDER BY id"
            damaged: list[Loss] = []
            async with self._db.execute(sql) as cursor:
                async for row_id, body, *covered in cursor:
                    if ids and len(readings) + covered[0] > max_readings:
                        break
                    ids.append(row_id)
                    try:
                        readings += unpack(body)
                    except DamagedSegment as error:
                        damaged.append(Loss.of_damage(*covered))
                        _LOG.error("segment damaged, given up", readings=covered[0], reason=str(error))
            for loss in damaged:
                await self._insert_loss(loss)
            await self._db.executemany("DELETE FROM segment WHERE id = ?", [(row_id,) for row_id in ids])
            if not readings:
                return None
            batch = cut(readings, stream=self.stream, seq=int(str(await self._file.meta("next_seq"))))
            await self._db.execute(
                f"INSERT INTO batch ({_BATCH_COLUMNS}, cut_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*msgspec.structs.astuple(batch), self._clock.now_us()),
            )
            await self._file.set_meta("next_seq", batch.seq + 1)
        return batch

    async def settle(self, receipt: Receipt) -> bool:
        """Delete the batch that `receipt` is for; False, and nothing deleted, when it matches none."""
        async with self._file.transaction():
            cursor = await self._db.execute(
                "DELETE FROM batch WHERE seq = ? AND sha256 = ? AND ? = ? RETURNING readings",
                (receipt.seq, receipt.sha256, receipt.stream, self.stream),
            )
            row = await cursor.fetchone()
            await cursor.close()
            if row is None:
                return False
            await self._db.execute("UPDATE meta SET value = value + ? WHERE key = 'synced_readings'", (row[0],))
            await self._file.set_meta("last_receipt", msgspec.json.encode(receipt).decode())
            await self._file.set_meta("last_receipt_us", self._clock.now_us())
        return True

    async def refuse(self, seq: int, *, status: int, reason: str) -> None:
        """Set batch `seq` aside with the receiver's words, so that the next one can go."""
        async with self._file.transaction():
            await self._db.execute(
                f"INSERT INTO refused ({_BATCH_COLUMNS}, status, reason, refused_us) "
                f"SELECT {_BATCH_COLUMNS}, ?, ?, ? FROM batch WHERE seq = ?",
                (status, reason, self._clock.now_us(), seq),
            )
            await self._db.execute("DELETE FROM batch WHERE seq = ?", (seq,))

    async def used_bytes(self) -> int:
        """Bytes of the file's pages that hold something."""
        page = await self._file.number("PRAGMA page_size")
        return page * (await self._file.number("PRAGMA page_count") - await self._file.number("PRAGMA freelist_count"))

    async def make_room(self) -> list[Loss]:
        """Give up some of the oldest until the bound holds, or for as long as a commit may wait; none when it holds.

        First the oldest segments keep only the energy registers of each quarter of an hour; once all are reduced,
        the oldest go. Both are recorded with count and time span. Batches that were refused go first beyond their
        share. The newest readings are never given up.
        """
        losses: list[Loss] = []
        while len(losses) < _MOST_STEPS and await self.used_bytes() > self._max_bytes:
            async with self._file.transaction():
                loss = await give_up(self._db, self._max_bytes)
                if loss is None:
                    break
                await self._insert_loss(loss)
            losses.append(loss)
        return losses

    async def backlog(self) -> Backlog:
        return Backlog(*await self._file.row(SELECT_BACKLOG))
