"""What the buffer file says, looked at from outside: whether a daemon runs or not, and without holding it up."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec

from contract.notes import NoteKind
from contract.report import BacklogReport, GivenUp
from edge.buffer.rows import Backlog, Loss
from edge.errors import EdgeError

FORMAT = 2
MOST_SPANS = 32
_PATIENCE_S = 5.0
_QUARTER_HOUR_US = 900_000_000
_LANES = ("live", "backlog")
# Segments that can be counted while somebody waits: their rows lie strewn over the file.
_COUNTED_BYTES = 64 * 2**20
_SHOWN_REFUSED = 20


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
    """Readings that were given up, by what took them, and those whose time was corrected."""

    given_up: GivenUp = msgspec.field(default_factory=GivenUp)
    corrected: int = 0


class Stored(msgspec.Struct):
    """`losses` are totals of what was given up, by reason and day; `refused` the newest readings set aside, `set_aside`
    the newest damaged file that was kept, `set_aside_files` all of them.

    `backlog_spans` are the times of the backlog, neighbours as one where there are many.
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
    except sqlite3.Error as error:
        code = (error.sqlite_errorcode or 0) & 0xFF
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
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
        "SELECT receipt_us, seq FROM batch WHERE receipt_us IS NOT NULL "
        "ORDER BY receipt_us DESC, stream DESC, seq DESC LIMIT 1"
    ).fetchone()
    aside = files_set_aside(path)
    used_bytes = _used_bytes(db)
    if known is None or used_bytes <= _COUNTED_BYTES:
        backlog, spans = _counted(db)
    else:
        backlog, spans = Backlog(known.readings, known.bytes, _oldest_us(db)), list(known.spans)
    refused = db.execute(
        "SELECT device, time_us, status, reason, refused_us FROM refused ORDER BY id DESC LIMIT ?", (_SHOWN_REFUSED,)
    )
    losses = db.execute("SELECT reason, readings, first_us, last_us, kind FROM loss ORDER BY id")
    return Stored(
        stream=stream,
        backlog=backlog,
        backlog_spans=spans,
        synced_readings=int(str(meta.get("synced_readings", 0)))
        + _one(db, "SELECT coalesce(sum(readings), 0) FROM batch WHERE receipt IS NOT NULL AND confirmed_us IS NULL"),
        last_receipt_us=newest[0] if newest else None,
        last_receipt_seq=newest[1] if newest else None,
        next_seq=_one(db, "SELECT coalesce(max(seq), 0) + 1 FROM batch WHERE stream = ?", stream_id),
        lanes={name: _lane(db, number) for number, name in enumerate(_LANES)},
        rejected=_one(db, "SELECT count(*) FROM rejected"),
        refused_readings=_one(db, "SELECT count(*) FROM refused"),
        refused=[RefusedReading(*row) for row in refused],
        losses=[Loss(row[0], row[1], row[2], row[3], NoteKind(row[4])) for row in losses],
        given_up=totals.given_up,
        corrected=totals.corrected,
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


def _lane(db: sqlite3.Connection, number: int) -> LaneStored:
    row = db.execute(
        "SELECT count(*) FILTER (WHERE receipt IS NULL), coalesce(sum(readings) FILTER (WHERE receipt IS NULL), 0), "
        "max(last_us) FILTER (WHERE receipt IS NOT NULL AND readings > 0) FROM batch WHERE lane = ?",
        (number,),
    ).fetchone()
    return LaneStored(*row)


def _totals(db: sqlite3.Connection) -> Totals:
    by_kind = dict(db.execute("SELECT kind, sum(readings) FROM loss GROUP BY kind"))
    given_up = GivenUp(**{name: by_kind.get(name, 0) for name in GivenUp.__struct_fields__})
    return Totals(given_up, int(str(_meta(db).get("corrected_readings", 0))))


def undelivered(db: sqlite3.Connection) -> Iterator[tuple[int, int]]:
    """Inclusive ranges of the ids that segments without a receipt can have, ascending."""
    first = 0
    for begin, end in db.execute(
        "SELECT first_id, last_id FROM batch WHERE receipt IS NOT NULL AND confirmed_us IS NULL "
        "AND first_id IS NOT NULL ORDER BY first_id"
    ):
        if begin > first:
            yield first, begin - 1
        first = max(first, end + 1)
    yield first, 2**63 - 1


def _counted(db: sqlite3.Connection) -> tuple[Backlog, list[tuple[int, int]]]:
    """The backlog, by a look at each segment's row; of its body only the length, which stands in the row."""
    readings = size = 0
    spans: list[tuple[int, int]] = []
    for ids in undelivered(db):
        rows = db.execute(
            "SELECT sum(readings), sum(length(body)), min(first_us), max(last_us) FROM segment "
            "WHERE id BETWEEN ? AND ? GROUP BY first_us / ?",
            (*ids, _QUARTER_HOUR_US),
        )
        for count, length, first_us, last_us in rows:
            readings, size = readings + count, size + length
            spans.append((first_us, last_us))
    oldest_us = min((first_us for first_us, _ in spans), default=None)
    return Backlog(readings, size, oldest_us), merged(spans)


def _oldest_us(db: sqlite3.Connection) -> int | None:
    """Ids ascend with the commits."""
    for ids in undelivered(db):
        sql = "SELECT first_us FROM segment WHERE id BETWEEN ? AND ? ORDER BY id LIMIT 1"
        if row := db.execute(sql, ids).fetchone():
            return int(row[0])
    return None


def merged(spans: Sequence[tuple[int, int]], *, most: int = MOST_SPANS) -> list[tuple[int, int]]:
    """`spans` ascending and disjoint, at most `most`: those with the least between them become one.

    What lies within a quarter of an hour of each other is one.
    """
    found: list[tuple[int, int]] = []
    for first_us, last_us in sorted(spans):
        if found and first_us - found[-1][1] <= _QUARTER_HOUR_US:
            found[-1] = (found[-1][0], max(found[-1][1], last_us))
        else:
            found.append((first_us, last_us))
    while len(found) > most:
        place = min(range(len(found) - 1), key=lambda place: found[place + 1][0] - found[place][1])
        found[place : place + 2] = [(found[place][0], found[place + 1][1])]
    return found
