"""Rows of the tables `stream` and `batch`; each function runs inside its caller's transaction."""

import sqlite3
import uuid
from typing import Any

from contract.codec import MEDIA_TYPES, PACKED
from edge.buffer.batches import Cut, Lane
from edge.buffer.seal import batch_seal
from edge.buffer.tables import extent

_COLUMNS = (
    "seq",
    "lane",
    "first_id",
    "last_id",
    "true_us",
    "readings",
    "first_us",
    "last_us",
    "sha256",
    # A text that is no text any more is not to keep the buffer from being opened.
    "CAST(media_type AS BLOB)",
    "receipt_us",
    "seal",
)
_STREAM_STEP = 1 << 40
NO_TIME_US = 1
"""One bit makes 0 or 1 of a time that is not there."""
# Confirmed batches that are still known, for who asks what became of a reading.
_HISTORY = 2_000


def begin_stream(db: sqlite3.Connection, now_us: int) -> tuple[int, str]:
    """A new identity: its id and name."""
    name = str(uuid.uuid4())
    cursor = db.execute("INSERT INTO stream (name, began_us) VALUES (?, ?)", (name, now_us))
    assert cursor.lastrowid is not None
    return cursor.lastrowid, name


def newest_stream(db: sqlite3.Connection) -> tuple[int, str, int]:
    """Id and name of the current stream, and the last number that was given in it."""
    stream_id, name = db.execute("SELECT id, name FROM stream ORDER BY id DESC LIMIT 1").fetchone()
    [[last]] = db.execute("SELECT coalesce(max(seq), 0) FROM batch WHERE id > ?", (_row_id(stream_id, 0),))
    return stream_id, name, last


def unconfirmed(db: sqlite3.Connection, stream_id: int) -> list[Cut]:
    """The batches of a stream that are not confirmed. Raises TypeError or ValueError where a row is damaged."""
    sql = f"SELECT {', '.join(_COLUMNS)} FROM batch WHERE id > ? AND confirmed_us IS NULL"
    return [_loaded(db, row) for row in db.execute(sql, (_row_id(stream_id, 0),))]


def insert_cut(db: sqlite3.Connection, stream_id: int, cut: Cut, now_us: int) -> None:
    db.execute(
        "INSERT INTO batch (id, stream, seq, lane, first_id, last_id, true_us, readings, first_us, last_us, "
        "sha256, media_type, cut_us, seal) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            _row_id(stream_id, cut.seq),
            stream_id,
            cut.seq,
            int(cut.lane),
            cut.first_id,
            cut.last_id,
            cut.true_us,
            cut.readings,
            cut.first_us,
            cut.last_us,
            cut.sha256,
            cut.media_type,
            now_us,
            _seal(cut),
        ),
    )


def update_cut(db: sqlite3.Connection, stream_id: int, seq: int, **values: object) -> None:
    """`values` by the names of columns."""
    names = ", ".join(f"{name} = ?" for name in values)
    db.execute(f"UPDATE batch SET {names} WHERE id = ?", (*values.values(), _row_id(stream_id, seq)))


def forget_history(db: sqlite3.Connection, stream_id: int, next_seq: int) -> None:
    """Of what is confirmed, the newest rows stay."""
    oldest = _row_id(stream_id, next_seq) - _HISTORY
    db.execute("DELETE FROM batch WHERE id < ? AND confirmed_us IS NOT NULL", (oldest,))


def _seal(cut: Cut) -> int:
    return batch_seal(
        cut.seq, cut.first_id, cut.last_id, cut.true_us, cut.readings, cut.first_us, cut.last_us, cut.sha256
    )


def _row_id(stream_id: int, seq: int) -> int:
    return stream_id * _STREAM_STEP + seq


def _loaded(db: sqlite3.Connection, row: tuple[Any, ...]) -> Cut:
    """The batch of a row with `_COLUMNS`. What is damaged of it shows when it is made, by its checksum."""
    seq, lane, first_id, last_id, true_us, readings, first_us, last_us, sha256, media_type, receipt_us, sealed = row
    ids = None if first_id is None or last_id is None or last_id < first_id else (first_id, last_id)
    kept, size = (0, 0) if ids is None else extent(db, ids)
    text = media_type.decode("ascii", "replace")
    cut = Cut(
        seq=seq,
        lane=Lane(lane),
        first_id=first_id,
        last_id=last_id,
        true_us=true_us,
        readings=readings,
        first_us=first_us,
        last_us=last_us,
        sha256=sha256,
        media_type=text if text in MEDIA_TYPES else PACKED,
        kept=kept,
        size=size,
        # Where these are not its segments, it is not known any more what the receipt was for.
        receipt_us=receipt_us if kept == readings and receipt_us is not None and receipt_us > NO_TIME_US else None,
    )
    cut.sound = sealed == _seal(cut)
    return cut
