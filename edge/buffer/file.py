"""The SQLite file under the buffer: opened whole or set aside, changed by transactions alone."""

import asyncio
import sqlite3
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path

import aiosqlite
import structlog

from edge.clock import Clock
from edge.errors import BufferFormat, BufferUnwritable, EdgeError

_LOG = structlog.get_logger("edge.buffer")
_FORMAT = 1
# The disk's trouble, not the file's: it may pass.
_PASSING = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_NOMEM,
}


class Damaged(EdgeError):
    """The file is no usable buffer."""


class BufferFile:
    """An open buffer file of `stream`. Statements go through `db`, inside `transaction` where they change something."""

    def __init__(self, *, db: aiosqlite.Connection, clock: Clock) -> None:
        self.db, self.stream = db, ""
        self._clock = clock
        # One connection, so one transaction at a time.
        self._lock = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path, *, clock: Clock) -> "BufferFile":
        """Open the buffer, or begin one. A file that is damaged is renamed and kept, and a new stream begins.

        Raises BufferUnwritable while the disk allows neither, BufferFormat for another release's file.
        """
        try:
            return await cls._open(path, clock=clock)
        except Damaged as damage:
            aside = _set_aside(path, clock.now_us())
            _LOG.error("buffer damaged, set aside; a new stream begins", file=str(aside), reason=str(damage))
        file = await cls._open(path, clock=clock)
        async with file.transaction():
            await file.set_meta("set_aside", str(aside))
        return file

    @classmethod
    async def _open(cls, path: Path, *, clock: Clock) -> "BufferFile":
        try:
            db = await aiosqlite.connect(path, isolation_level=None)
        except sqlite3.Error as error:
            raise BufferUnwritable(f"{path}: {error}") from error
        try:
            file = cls(db=db, clock=clock)
            await file._prepare()
        except BaseException:
            await db.close()
            raise
        return file

    async def _prepare(self) -> None:
        try:
            # A commit writes whole pages: with small ones a flash card lives longer (a third less is written).
            await self.db.execute("PRAGMA page_size = 1024")
            await self.db.execute("PRAGMA journal_mode = WAL")
            await self.db.execute("PRAGMA synchronous = FULL")
            check = await self.row("PRAGMA quick_check(1)")
            if check[0] != "ok":
                raise Damaged(str(check[0]))
            await self._refuse_unknown_format()
            await self.db.executescript(resources.files("edge.buffer").joinpath("schema.sql").read_text("utf-8"))
            async with self.transaction():
                await self.db.executemany(
                    "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT DO NOTHING",
                    [
                        ("format", _FORMAT),
                        ("stream", str(uuid.uuid4())),
                        ("created_us", self._clock.now_us()),
                        ("next_seq", 1),
                        ("synced_readings", 0),
                    ],
                )
            self.stream = str(await self.meta("stream"))
        except sqlite3.DatabaseError as error:
            # A table that is there under its name but with other columns shows as an OperationalError of code 1.
            if _primary_code(error) in _PASSING:
                raise BufferUnwritable(str(error)) from error
            raise Damaged(str(error)) from error

    async def _refuse_unknown_format(self) -> None:
        """What another release wrote may be whole and unsent: nothing to set aside, and nothing to touch."""
        if await self.number("SELECT count(*) FROM sqlite_master WHERE name = 'meta'"):
            found = await self.meta("format")
            if not isinstance(found, int):
                raise Damaged(f"format {found!r}")
            if found != _FORMAT:
                raise BufferFormat(found, _FORMAT)

    async def close(self) -> None:
        async with self._lock:
            await self.db.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """All or nothing, on disk when left. Raises BufferUnwritable."""
        async with self._lock:
            try:
                await self.db.execute("BEGIN IMMEDIATE")
                yield
                await self.db.execute("COMMIT")
            except sqlite3.Error as error:
                await self._undo()
                if _primary_code(error) in _PASSING:
                    raise BufferUnwritable(str(error)) from error
                raise
            except BaseException:
                await self._undo()
                raise

    async def _undo(self) -> None:
        # A full disk may have ended the transaction already; this is nothing then, where ROLLBACK would be an error.
        await asyncio.shield(self.db.rollback())

    async def row(self, sql: str, *values: object) -> sqlite3.Row | tuple[object, ...]:
        async with self.db.execute(sql, values) as cursor:
            row = await cursor.fetchone()
        if row is None:
            raise LookupError(f"no row from {sql}")
        return row

    async def meta(self, key: str) -> object:
        async with self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)) as cursor:
            row = await cursor.fetchone()
        return row[0] if row else None

    async def set_meta(self, key: str, value: str | int) -> None:
        await self.db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", (key, value))

    async def number(self, sql: str, *values: object) -> int:
        return int(str((await self.row(sql, *values))[0]))


def _primary_code(error: sqlite3.Error) -> int | None:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _set_aside(path: Path, now_us: int) -> Path:
    """Rename the file and what belongs to it; nothing is deleted."""
    aside = path.with_name(f"{path.name}.damaged-{now_us}")
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    return aside
