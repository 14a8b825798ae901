"""A buffer of format 1, as 0.1.0 wrote it, becomes one of today's: what it had not delivered is kept."""

import sqlite3
from collections.abc import Iterator

import msgspec
import zstandard

from contract.batch import BatchError
from contract.codec import TooLarge, decode, decompress
from contract.notes import NoteKind
from edge.buffer.rows import Loss
from edge.buffer.tables import ID_STEP, insert_loss, insert_segment, statements
from edge.reading import Reading

FORMAT = 3
_READINGS = msgspec.msgpack.Decoder(list[Reading])
_LONGEST_BATCH = 256 * 2**20
_UNREADABLE = (zstandard.ZstdError, msgspec.DecodeError, BatchError, TooLarge, UnicodeDecodeError)


def from_format_1(db: sqlite3.Connection, schema: str, now_us: int) -> None:
    """Inside the caller's transaction. Batches that were cut, or refused, are cut again, under a new stream.

    Those that had arrived without their receipt arrive once more then, and are known by their readings.
    """
    for table in ("segment", "batch", "refused", "loss"):
        db.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    for statement in statements(schema):
        db.execute(statement)
    row_id = ID_STEP
    for readings, covered in _kept(db):
        if readings:
            insert_segment(db, row_id, readings, boot=0, offset_us=0)
            row_id += ID_STEP * len(readings)
        else:
            insert_loss(db, Loss("damaged on the disk", *covered, NoteKind.DAMAGED), now_us)
    db.execute(
        "INSERT INTO loss (kind, reason, readings, first_us, last_us, recorded_us) "
        "SELECT 'thinned', reason, readings, first_us, last_us, recorded_us FROM old_loss"
    )
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'delivery'").fetchone():
        db.execute("INSERT INTO delivered (client, recent) SELECT client, recent FROM delivery")
        db.execute("DROP TABLE delivery")
    for table in ("segment", "batch", "refused", "loss"):
        db.execute(f"DROP TABLE old_{table}")
    db.execute("UPDATE meta SET value = ? WHERE key = 'format'", (FORMAT,))
    db.execute("DELETE FROM meta WHERE key IN ('stream', 'next_seq', 'set_aside', 'last_receipt', 'last_receipt_us')")


def _kept(db: sqlite3.Connection) -> Iterator[tuple[list[Reading], tuple[int, int, int]]]:
    """Readings of each batch and segment, oldest first; none where they cannot be read, and what they covered."""
    for table in ("old_refused", "old_batch"):
        rows = db.execute(f"SELECT media_type, encoding, body, readings, first_us, last_us FROM {table} ORDER BY seq")
        for media_type, encoding, body, *covered in rows:
            try:
                batch = decode(decompress(body, encoding, _LONGEST_BATCH), media_type)
            except _UNREADABLE:
                yield [], (covered[0], covered[1], covered[2])
                continue
            yield (
                [
                    Reading(
                        block.device,
                        time_us,
                        {name: value for name, column in block.values.items() if (value := column[row]) is not None},
                        block.flags[row] if block.flags else 0,
                        block.interval_ms,
                    )
                    for block in batch.devices
                    for row, time_us in enumerate(block.time_us)
                ],
                (covered[0], covered[1], covered[2]),
            )
    for body, *covered in db.execute("SELECT body, readings, first_us, last_us FROM old_segment ORDER BY id"):
        try:
            yield _READINGS.decode(zstandard.ZstdDecompressor().decompress(body)), (covered[0], covered[1], covered[2])
        except _UNREADABLE:
            yield [], (covered[0], covered[1], covered[2])
