"""The SQLite file under the buffer: opened whole, or set aside with what it still gives back taken over."""

import os
import re
import sqlite3
from collections.abc import Callable
from functools import partial
from importlib import resources
from pathlib import Path

import msgspec
import structlog

from edge.buffer.batch_rows import begin_stream
from edge.buffer.database import change, primary_code, translated, undo
from edge.buffer.outbox import Outbox
from edge.buffer.salvage import Salvaged, salvage
from edge.buffer.seal import boot_seal, segment_seal
from edge.buffer.tables import statements
from edge.buffer.upgrade import FORMAT, from_format_1
from edge.buffer.wal import require_whole_log
from edge.errors import BufferDamaged, BufferFormat, BufferUnwritable

_LOG = structlog.get_logger("edge.buffer")
# A commit writes whole pages: with small ones a flash card lives longer.
_PAGE_BYTES = 512
_OF_ANOTHER_TYPE = "SELECT id FROM segment WHERE " + " OR ".join(
    f"typeof({column}) <> 'integer'" for column in ("boot", "level", "readings", "first_us", "last_us")
)
_SEALED: dict[str, tuple[str, Callable[..., int]]] = {
    "boot": ("id, boot_id, offset_us", boot_seal),
    "segment": ("id, boot, offset_us, level, readings, first_us, last_us", segment_seal),
}
_WITH_BODIES = ("segment", "note", "refused", "frame")
# A log that grew while somebody read for long is cut back to this.
_LOG_BYTES = 4 * 2**20
# A damaged file that is set aside, before and after it is read; a copy of one that was taken away.
_UNREAD, _DAMAGED, _RESCUED = ".unread-", ".damaged-", ".rescued-"


def open_file(path: Path, *, mount: Path | None, now_us: int) -> sqlite3.Connection:
    """The buffer at `path`, or a new one. What is damaged is renamed and kept, and what can be read of it taken over.

    Raises BufferUnwritable while the disk allows neither, BufferFormat for another release's file.
    """
    if mount is not None and not os.path.ismount(mount):
        # The folder under it is on another disk, and not the one that was meant.
        raise BufferUnwritable(f"nothing is mounted at {mount}", reopen=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _finish_setting_aside(path)
        try:
            db = _open(path, now_us)
        except BufferDamaged as damage:
            _set_aside(path, now_us)
            _LOG.error("buffer damaged, set aside: a new stream begins", file=str(path), reason=str(damage))
            db = _open(path, now_us)
        try:
            _take_over(db, path, now_us)
        except BaseException:
            closed(db)
            raise
    except OSError as error:
        raise BufferUnwritable(f"{path}: {error.strerror}", reopen=True) from error
    return db


def rescue_name(path: Path, now_us: int) -> Path:
    """Where a copy of the buffer is to be put, whole, for the next opening to take over."""
    return path.with_name(f"{path.name}{_RESCUED}{now_us}")


def _take_over(db: sqlite3.Connection, path: Path, now_us: int) -> None:
    """What is in files that were set aside, and that nobody has taken over yet: the disk may have been full."""
    for state, keep in ((_UNREAD, True), (_RESCUED, False)):
        for part in sorted(path.parent.glob(f"{path.name}{state}*")):
            if part.suffix.endswith(("-wal", "-shm", "-journal")):
                continue
            aside = part.with_name(part.name.replace(_UNREAD, _DAMAGED))
            if str(aside) not in [*named_aside(db), meta(db, "rescued")]:
                try:
                    found = change(db, partial(_taken_over, db, part, aside, keep=keep, now_us=now_us))
                except (BufferUnwritable, OSError) as error:
                    # What comes now goes first; the file is there at the next opening too.
                    _LOG.error("not taken over yet", file=str(part), reason=str(error))
                    continue
                _LOG.warning("taken over", file=str(part), readings=found.readings, known_to_be_lost=found.lost)
            for suffix in ("-wal", "-shm", ""):
                piece = part.with_name(part.name + suffix)
                if piece.exists() and keep:
                    piece.rename(aside.with_name(aside.name + suffix))
                elif piece.exists():
                    piece.unlink()


def _taken_over(db: sqlite3.Connection, part: Path, aside: Path, *, keep: bool, now_us: int) -> Salvaged:
    reason = f"damaged on the disk; what is left is kept at {aside.name}" if keep else "the buffer was taken away"
    found = salvage(part, db, now_us, reason=reason)
    if keep:
        set_meta(db, "set_aside", msgspec.json.encode([*named_aside(db), str(aside)]).decode())
    else:
        set_meta(db, "rescued", str(aside))
    return found


def _open(path: Path, now_us: int) -> sqlite3.Connection:
    # Before SQLite sees the log: it writes over what it does not read.
    if require_whole_log(path, page_bytes=_PAGE_BYTES):
        _LOG.warning("the newest commit was not whole", file=str(path))
    try:
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    except sqlite3.DatabaseError as error:
        raise translated(error) from error
    try:
        _prepare(db, now_us)
    except sqlite3.DatabaseError as error:
        db.close()
        meant = translated(error)
        # A table that is there under its name but with other columns shows as an OperationalError of code 1.
        raise meant if meant is not error else BufferDamaged(str(error)) from error
    except MemoryError as error:
        db.close()
        # What says how long something is was altered.
        raise BufferDamaged("more than the memory holds is to be read at once") from error
    except UnicodeDecodeError as error:
        db.close()
        # SQLite names what it does not understand of the tables' definitions, and that is no text any more.
        raise BufferDamaged(error.object.decode("utf-8", "backslashreplace")) from error
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, now_us: int) -> None:
    db.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    # Some builds overwrite what is deleted: three times the writes, for readings that are in the cloud by then.
    db.execute("PRAGMA secure_delete = OFF")
    db.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
    # Not the quick one: it passes over an index that is not that of its table, and readings have none to look through.
    [check] = db.execute("PRAGMA integrity_check(1)").fetchone()
    if check != "ok":
        # A page that the disk does not give now is not one that is wrong.
        raise BufferUnwritable(str(check), reopen=True) if "error code=" in check else BufferDamaged(str(check))
    found = _format(db)
    schema = resources.files("edge.buffer").joinpath("schema.sql").read_text("utf-8")
    if found != 1:
        _check_definitions(db, schema)
    change(db, lambda: _bring_up(db, found, schema, now_us))
    # What counts the ids of boots may be gone from the definitions, of which no check tells.
    db.execute("BEGIN IMMEDIATE")
    try:
        db.execute("INSERT INTO boot (boot_id, seen_us, seal) VALUES ('tried', 0, 0)")
    finally:
        undo(db)
    try:
        Outbox.load(db)
    except (TypeError, ValueError) as error:
        raise BufferDamaged(f"batches: {error}") from error
    # Columns take any type, and SQLite's check finds nothing in that.
    for [row_id] in db.execute(_OF_ANOTHER_TYPE):
        raise BufferDamaged(f"segment {row_id!r} has a value that is no number")
    for table in _WITH_BODIES:
        for [row_id] in db.execute(f"SELECT id FROM {table} WHERE typeof(body) <> 'blob'"):
            raise BufferDamaged(f"{table} {row_id!r} has a body that is none")
    # A name that is no text any more is an error wherever it is read.
    for _ in db.execute("SELECT client FROM delivered"):
        pass
    for table, (columns, seal_of) in _SEALED.items():
        for sealed, *values in db.execute(f"SELECT seal, {columns} FROM {table}"):
            if sealed != seal_of(*values):
                raise BufferDamaged(f"{table} {values[0]}: what its row tells is not what was written")


def _check_definitions(db: sqlite3.Connection, schema: str) -> None:
    """Raises BufferDamaged where a table is defined otherwise than in `schema`, or is none of it.

    SQLite reads by whatever its definitions say: with the name of a table or column damaged a file is whole for it, and
    its readings are not to be found.
    """
    meant = {_comparable(statement.replace("IF NOT EXISTS ", "")) for statement in statements(schema)}
    query = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
    for name, definition in db.execute(query):
        if _comparable(str(definition)) not in meant:
            raise BufferDamaged(f"{name} is defined otherwise than this release does")


def _comparable(statement: str) -> str:
    """`statement` without comments, and with no more spaces than it needs."""
    bare = re.sub(r"\s+", " ", re.sub(r"--[^\n]*", "", statement)).strip(" ;")
    return re.sub(r" ?([(),]) ?", r"\1", bare)


def _format(db: sqlite3.Connection) -> int | None:
    """Raises BufferFormat for what another release wrote: it may be whole and unsent, and is not touched."""
    if not db.execute("SELECT count(*) FROM sqlite_master WHERE name = 'meta'").fetchone()[0]:
        return None
    row = db.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
    found = row[0] if row else None
    if not isinstance(found, int):
        raise BufferDamaged(f"format {found!r}")
    # Format 2 was of no release.
    if found not in (1, FORMAT):
        raise BufferFormat(found, FORMAT)
    return found


def _bring_up(db: sqlite3.Connection, found: int | None, schema: str, now_us: int) -> None:
    if found == 1:
        from_format_1(db, schema, now_us)
    for statement in statements(schema):
        db.execute(statement)
    db.executemany(
        "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT DO NOTHING",
        [("format", FORMAT), ("created_us", now_us), ("synced_readings", 0)],
    )
    if not db.execute("SELECT 1 FROM stream LIMIT 1").fetchone():
        begin_stream(db, now_us)


def meta(db: sqlite3.Connection, key: str) -> object:
    row = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return row[0] if row else None


def set_meta(db: sqlite3.Connection, key: str, value: str | int) -> None:
    db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))


def named_aside(db: sqlite3.Connection) -> list[str]:
    """Damaged files that were set aside since this file began."""
    found = meta(db, "set_aside")
    return msgspec.json.decode(found, type=list[str]) if isinstance(found, str) and found[:1] == "[" else []


def _set_aside(path: Path, now_us: int) -> None:
    """Rename the file and what belongs to it; nothing is deleted. A log without a file gets an empty one."""
    aside = path.with_name(f"{path.name}{_UNREAD}{now_us}")
    if not path.exists():
        aside.touch()
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    sync_folder(path.parent)


def _finish_setting_aside(path: Path) -> None:
    """A power cut between the names of a file and of its log: opened without it, the file would be an older one."""
    for log in path.parent.glob(f"{path.name}{_UNREAD}*-wal"):
        aside = log.with_name(log.name.removesuffix("-wal"))
        if path.exists() and not aside.exists():
            path.rename(aside)
            sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Names in it are on the disk when this returns."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def closed(db: sqlite3.Connection) -> None:
    """Close `db`, whatever its disk says."""
    try:
        db.close()
    except sqlite3.Error as error:
        _LOG.warning("buffer not closed cleanly", reason=str(error), code=primary_code(error))
