"""What the buffer file says, looked at from outside: whether a daemon runs or not, and without holding it up."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from contract.notes import NoteKind
from contract.report import BacklogReport, GivenUp
from edge.buffer.batches import Lane
from edge.buffer.database import primary_code
from edge.buffer.gaps import gaps, merged, times
from edge.buffer.rows import Backlog, Loss
from edge.buffer.tables import extent
from edge.buffer.upgrade import FORMAT
from edge.errors import EdgeError

_PATIENCE_S = 5.0
# Segments that can be counted while somebody waits: their rows lie strewn over the file.
_COUNTED_BYTES = 64 * 2**20
_SHOWN_REFUSED = 20
_KINDS = frozenset(NoteKind)


class Unreadable(EdgeError):
    """There is a buffer file, and it cannot be read; the message says why and what becomes of it."""


class LaneStored(msgspec.Struct):
    """Batches of a lane without a receipt, the readings in them, and the time of its newest reading with one."""

    batches: int = 0
    readings: int = 0
    newest_delivered_us: int | None = None


class RefusedReading(msgspec.Struct):
    """A single reading that the receiver will not have, with its words."""

    device: str
    time_us: int
    status: int
    reason: str
    refused_us: int


class Totals(msgspec.Struct, frozen=True):
    """Readings that were given up, by what took them, and those whose time was corrected; notes that were given up."""

    given_up: GivenUp = msgspec.field(default_factory=GivenUp)
    corrected: int = 0
    lost_notes: int = 0


class Stored(msgspec.Struct):
    """`losses` are totals of what was given up, by reason and day; `refused` the newest readings set aside, `set_aside`
    the newest damaged file that was kept, `set_aside_files` all of them.

    `backlog_spans` are the times of the backlog, at most 32, those that lie next to each other as one.
    """

    stream: str
    backlog: Backlog
    backlog_spans: list[tuple[int, int]]
    synced_readings: int
    last_receipt_us: int | None
    last_receipt_seq: int | None
    next_seq: int
    lanes: dict[str, LaneStored]
    rejected: int
    refused_readings: int
    refused: list[RefusedReading]
    losses: list[Loss]
    given_up: GivenUp
    corrected: int
    lost_notes: int
    set_aside: str | None
    set_aside_files: list[str]
    used_bytes: int


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection | None]:
    """The buffer at `path` for reading; None where there is none yet. Raises Unreadable."""
    if not path.exists() or not path.stat().st_size:
        yield None
        return
    try:
        with closing(_connection(path)) as db:
            db.execute("BEGIN")
            yield db if _known(db) else None
    except UnicodeDecodeError as error:
        # In SQLite's words about a table's definition: it is no text any more.
        raise Unreadable(f"{path}: damaged: {error.reason}; the gateway sets it aside and goes on") from error
    except sqlite3.Error as error:
        # Without a code it is the driver's: a text that is none any more.
        if primary_code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, None):
            raise Unreadable(f"{path}: damaged: {error}; the gateway sets it aside and goes on") from error
        raise Unreadable(f"{path}: {error}; is this the gateway's buffer, and may this user read it?") from error


def _connection(path: Path) -> sqlite3.Connection:
    """Without a write-ahead log nobody is at the file: it then needs no shared memory, nor a place for it."""
    idle = "" if path.with_name(f"{path.name}-wal").exists() else "&immutable=1"
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro{idle}", uri=True, timeout=_PATIENCE_S, isolation_level=None
    )


def _known(db: sqlite3.Connection) -> bool:
    if not db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'meta'").fetchone()[0]:
        return False
    found = _meta(db).get("format")
    if found != FORMAT:
        raise Unreadable(f"the buffer has format {found}, this release reads {FORMAT}; the gateway takes it over")
    return True


def stored_in(path: Path, *, known: BacklogReport | None = None) -> Stored | None:
    """What is in the buffer at `path`; None where there is none yet. Raises Unreadable.

    Of a large file the backlog is not counted where `known` says it: that is the daemon's running total.
    """
    with opened(path) as db:
        return None if db is None else _stored(db, path, known)


def totals_in(path: Path) -> Totals:
    """What became of readings by the buffer at `path`. Raises Unreadable."""
    with opened(path) as db:
        return Totals() if db is None else _totals(db)


def files_set_aside(path: Path) -> list[str]:
    """Damaged buffers beside the one at `path`, the oldest first."""
    found = path.parent.glob(f"{path.name}.damaged-*")
    return sorted(str(file) for file in found if not file.name.endswith(("-wal", "-shm")))


def _stored(db: sqlite3.Connection, path: Path, known: BacklogReport | None) -> Stored:
    meta, totals = _meta(db), _totals(db)
    stream_id, stream = db.execute("SELECT id, name FROM stream ORDER BY id DESC LIMIT 1").fetchone()
    newest = db.execute(
        "SELECT receipt_us, seq FROM batch WHERE receipt_us IS NOT NULL ORDER BY receipt_us DESC, id DESC LIMIT 1"
    ).fetchone()
    aside = files_set_aside(path)
    used_bytes = _used_bytes(db)
    spans = _spans(db)
    oldest_us = spans[0][0] if spans else None
    if known is None or used_bytes <= _COUNTED_BYTES:
        backlog = Backlog(*_counted(db), oldest_us)
    else:
        backlog = Backlog(known.readings, known.bytes, oldest_us)
    refused = db.execute(
        "SELECT device, time_us, status, reason, refused_us FROM refused ORDER BY id DESC LIMIT ?", (_SHOWN_REFUSED,)
    )
    losses = db.execute("SELECT reason, readings, first_us, last_us, kind FROM loss ORDER BY id")
    return Stored(
        stream=stream,
        backlog=backlog,
        backlog_spans=spans,
        synced_readings=int(str(meta.get("synced_readings", 0)))
        + _one(
            db, "SELECT coalesce(sum(readings), 0) FROM batch WHERE receipt_us IS NOT NULL AND confirmed_us IS NULL"
        ),
        last_receipt_us=newest[0] if newest else None,
        last_receipt_seq=newest[1] if newest else None,
        next_seq=_one(db, "SELECT coalesce(max(seq), 0) + 1 FROM batch WHERE stream = ?", stream_id),
        lanes={lane.name.lower(): _lane(db, lane) for lane in Lane},
        rejected=_one(db, "SELECT count(*) FROM rejected"),
        refused_readings=_one(db, "SELECT count(*) FROM refused"),
        refused=[RefusedReading(*row) for row in refused],
        # A row whose kind is none of ours is damaged: its other columns say nothing either.
        losses=[Loss(row[0], row[1], row[2], row[3], NoteKind(row[4])) for row in losses if row[4] in _KINDS],
        given_up=totals.given_up,
        corrected=totals.corrected,
        lost_notes=totals.lost_notes,
        set_aside=aside[-1] if aside else None,
        set_aside_files=aside,
        used_bytes=used_bytes,
    )


def _meta(db: sqlite3.Connection) -> dict[str, object]:
    return dict(db.execute("SELECT key, value FROM meta"))


def _one(db: sqlite3.Connection, sql: str, *values: object) -> int:
    return int(db.execute(sql, values).fetchone()[0])


def _used_bytes(db: sqlite3.Connection) -> int:
    pages = _one(db, "PRAGMA page_count") - _one(db, "PRAGMA freelist_count")
    return _one(db, "PRAGMA page_size") * pages


def _lane(db: sqlite3.Connection, lane: Lane) -> LaneStored:
    row = db.execute(
        "SELECT count(*) FILTER (WHERE receipt_us IS NULL), "
        "coalesce(sum(readings) FILTER (WHERE receipt_us IS NULL), 0), "
        "max(last_us) FILTER (WHERE receipt_us IS NOT NULL AND readings > 0) FROM batch WHERE lane = ?",
        (int(lane),),
    ).fetchone()
    return LaneStored(*row)


def _totals(db: sqlite3.Connection) -> Totals:
    by_kind = dict(db.execute("SELECT kind, sum(readings) FROM loss GROUP BY kind"))
    given_up = GivenUp(**{name: by_kind.get(name, 0) for name in GivenUp.__struct_fields__})
    meta = _meta(db)
    return Totals(given_up, *(int(str(meta.get(key, 0))) for key in ("corrected_readings", "lost_notes")))


def _receipts(db: sqlite3.Connection, *, given: bool) -> list[tuple[int, int, int, int]]:
    """First and last id and time of the batches that are here with a receipt, or without one, by their segments."""
    return db.execute(
        "SELECT first_id, last_id, first_us, last_us FROM batch WHERE confirmed_us IS NULL AND first_id IS NOT NULL "
        f"AND receipt_us IS {'NOT ' if given else ''}NULL ORDER BY first_id"
    ).fetchall()


def _counted(db: sqlite3.Connection) -> tuple[int, int]:
    """Readings and bytes without a receipt, by a look at each segment's row; the length of its body stands there."""
    readings = size = 0
    for ids in gaps([(first, last) for first, last, *_ in _receipts(db, given=True)]):
        count, length = extent(db, ids)
        readings, size = readings + count, size + length
    return readings, size


def _spans(db: sqlite3.Connection) -> list[tuple[int, int]]:
    """The times without a receipt: of batches, and of each run of segments that are in none."""
    waiting, delivered = _receipts(db, given=False), _receipts(db, given=True)
    spans = [(first_us, last_us) for _, _, first_us, last_us in waiting]
    return merged(spans + times(db, gaps(sorted((first, last) for first, last, *_ in waiting + delivered))))
