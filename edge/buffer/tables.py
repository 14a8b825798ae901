"""Statements that several parts of the buffer share; each runs inside its caller's transaction."""

import sqlite3
from collections.abc import Collection, Iterable, Sequence

import msgspec

from contract.notes import Note, NoteKind, told
from edge.buffer.rows import Loss, Rejected
from edge.buffer.seal import segment_seal
from edge.buffer.segments import pack, span
from edge.reading import Reading

INSERT_REFUSED = "INSERT INTO refused (device, time_us, body, status, reason, refused_us) VALUES (?, ?, ?, ?, ?, ?)"
INSERT_LOSS = "INSERT INTO loss (kind, reason, readings, first_us, last_us, recorded_us) VALUES (?, ?, ?, ?, ?, ?)"
ID_STEP = 1 << 16
"""For each reading the next id is so much greater: a hole in the ids tells how many readings are not there any more."""
MOST_NOTES = 50_000
"""Of 200 devices that are silent once an hour, those of ten days."""
_DAY_US = 86_400_000_000
_NOTE = msgspec.msgpack.Encoder()
_NOTES = msgspec.msgpack.Decoder(Note)


def insert_segment(
    db: sqlite3.Connection, row_id: int, readings: Sequence[Reading], *, boot: int, offset_us: int, level: int = 0
) -> int:
    """Returns the bytes of its body."""
    body = pack(readings)
    insert_packed(db, (row_id, boot, offset_us, level, len(readings), *span(readings)), body)
    return len(body)


def insert_packed(db: sqlite3.Connection, row: tuple[int, int, int, int, int, int, int], body: bytes) -> None:
    """A segment with `body`. `row` is id, boot, offset, level, number of readings, and their first and last time."""
    sql = (
        "INSERT INTO segment (id, boot, offset_us, level, readings, first_us, last_us, seal, body) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    )
    db.execute(sql, (*row, segment_seal(*row), body))


def move_segments(db: sqlite3.Connection, ids: tuple[int, int], *, from_boot: int, to_boot: int) -> None:
    """Those in the inclusive range `ids` that are of one boot become another's."""
    sql = "SELECT id, offset_us, level, readings, first_us, last_us FROM segment WHERE id BETWEEN ? AND ? AND boot = ?"
    rows = db.execute(sql, (*ids, from_boot)).fetchall()
    db.executemany(
        "UPDATE segment SET boot = ?, seal = ? WHERE id = ?",
        [(to_boot, segment_seal(row_id, to_boot, *rest), row_id) for row_id, *rest in rows],
    )


def extent(db: sqlite3.Connection, ids: tuple[int, int]) -> tuple[int, int]:
    """Readings of the segments in the inclusive range `ids`, and bytes of their bodies."""
    sql = "SELECT coalesce(sum(readings), 0), coalesce(sum(length(body)), 0) FROM segment WHERE id BETWEEN ? AND ?"
    readings, size = db.execute(sql, ids).fetchone()
    return readings, size


def next_segment_id(db: sqlite3.Connection) -> int:
    """The id for what is committed next: behind all that are there, and that were, as far as a batch still tells."""
    newest = db.execute("SELECT id, readings FROM segment ORDER BY id DESC LIMIT 1").fetchone()
    cut = db.execute("SELECT last_id, first_id, readings FROM batch ORDER BY last_id DESC LIMIT 1").fetchone()
    ends = [ID_STEP]
    if newest is not None:
        ends.append(newest[0] + newest[1] * ID_STEP)
    if cut is not None and isinstance(cut[0], int):
        ends.append(cut[0] + ID_STEP)
        if isinstance(cut[1], int) and isinstance(cut[2], int):
            ends.append(cut[1] + cut[2] * ID_STEP)
    return -(-max(ends) // ID_STEP) * ID_STEP


def insert_notes(db: sqlite3.Connection, notes: Iterable[Note]) -> None:
    """Beyond MOST_NOTES the oldest that wait go, and are counted: a receiver that takes none must not cost readings
    their room."""
    if rows := [(_NOTE.encode(note),) for note in notes]:
        db.executemany("INSERT INTO note (body) VALUES (?)", rows)
        oldest = "DELETE FROM note WHERE seq IS NULL AND id <= (SELECT max(id) FROM note) - ?"
        count_lost_notes(db, db.execute(oldest, (MOST_NOTES,)).rowcount)


def count_lost_notes(db: sqlite3.Connection, notes: int) -> None:
    """`notes` will not be told any more."""
    if notes:
        _add_to_meta(db, "lost_notes", notes)


def notes_of(db: sqlite3.Connection, stream: int, seq: int) -> list[Note]:
    """Those that went into a batch and can be read, in their order."""
    rows = db.execute("SELECT body FROM note WHERE stream = ? AND seq = ? ORDER BY id", (stream, seq))
    return [note for (body,) in rows if (note := decoded_note(body)) is not None]


def decoded_note(body: bytes) -> Note | None:
    """None when it is no longer what was written."""
    try:
        return _NOTES.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def told_in(
    db: sqlite3.Connection, rows: Iterable[tuple[int, bytes]], kinds: Collection[str]
) -> list[tuple[int, Note | None]]:
    """The notes in `rows` of ids and bodies, in kinds that a receiver takes; None for what cannot be read any more.

    What is told in older terms is so from now on: the bytes of its batch are made of it again.
    """
    found = []
    for row_id, body in rows:
        note = decoded_note(body)
        if note is not None and (older := told(note, kinds)) is not note:
            note = older
            db.execute("UPDATE note SET body = ? WHERE id = ?", (_NOTE.encode(note), row_id))
        found.append((row_id, note))
    return found


def insert_loss(db: sqlite3.Connection, loss: Loss, now_us: int) -> None:
    """Record `loss`, for people and, as a note, for the cloud. More of it within a day widens the people's row."""
    insert_notes(db, [loss.note])
    cursor = db.execute(
        "UPDATE loss SET readings = readings + ?, first_us = min(first_us, ?), last_us = max(last_us, ?) "
        "WHERE id = (SELECT max(id) FROM loss WHERE kind = ? AND reason = ?) AND recorded_us > ?",
        (loss.readings, loss.first_us, loss.last_us, loss.kind, loss.reason, now_us - _DAY_US),
    )
    if not cursor.rowcount:
        db.execute(
            INSERT_LOSS,
            (loss.kind, loss.reason, loss.readings, loss.first_us, loss.last_us, now_us),
        )


def note_corrected(db: sqlite3.Connection, readings: int, span: tuple[int, int]) -> None:
    """Count readings whose times were set right, and tell the cloud of them."""
    insert_notes(db, [Note(NoteKind.CORRECTED, *span, readings, detail="the gateway's clock was wrong")])
    _add_to_meta(db, "corrected_readings", readings)


def _add_to_meta(db: sqlite3.Connection, key: str, count: int) -> None:
    sql = "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = value + ?2"
    db.execute(sql, (key, count))


def insert_rejected(db: sqlite3.Connection, rejected: Sequence[Rejected], *, rows: int, held_bytes: int) -> None:
    """Keep the newest, at most `rows` of them and `held_bytes` bytes."""
    db.executemany(
        "INSERT INTO rejected (topic, payload, reason, received_us) VALUES (?, ?, ?, ?)",
        [(row.topic, row.payload, row.reason, row.received_us) for row in rejected[-rows:]],
    )
    db.execute("DELETE FROM rejected WHERE id <= (SELECT max(id) FROM rejected) - ?", (rows,))
    db.execute(
        "DELETE FROM rejected WHERE id IN (SELECT id FROM "
        "(SELECT id, sum(length(payload) + length(topic)) OVER (ORDER BY id DESC) AS held FROM rejected) "
        "WHERE held > ?)",
        (held_bytes,),
    )


def insert_frames(db: sqlite3.Connection, frames: Sequence[tuple[str, int, bytes]], *, held_bytes: int) -> None:
    """Keep the newest frames (device, time in microseconds, body), `held_bytes` at most."""
    db.executemany("INSERT INTO frame (device, time_us, body) VALUES (?, ?, ?)", frames)
    db.execute(
        "DELETE FROM frame WHERE id <= (SELECT max(id) FROM "
        "(SELECT id, sum(length(body)) OVER (ORDER BY id DESC) AS held FROM frame) WHERE held > ?)",
        (held_bytes,),
    )


def statements(script: str) -> list[str]:
    """The statements of `script`; `executescript` would end the transaction."""
    found, text = [], ""
    for line in script.splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            found.append(text)
            text = ""
    return found
