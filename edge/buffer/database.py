"""One SQLite file in a thread of its own: work is handed over whole, and is a transaction or nothing.

A group of statements is one crossing of threads. With a library that crosses for each statement, a commit of fifty
readings took twice as long as SQLite itself.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

from edge.errors import BufferDamaged, BufferUnwritable

_Result = TypeVar("_Result")

# The disk's trouble, not the file's: it may pass.
_PASSING = {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_NOMEM,
}
_FULL = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_NOMEM}


class Thread:
    """Runs what it is given, one after another, off the event loop."""

    def __init__(self) -> None:
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """The result of `work`. It is not broken off: who is cancelled meanwhile learns its outcome first."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="buffer", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Result] = loop.create_future()

        def done() -> None:
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is the caller's
                _soon(loop, partial(future.set_exception, error))
            else:
                _soon(loop, partial(future.set_result, result))

        self._work.put(done)
        cancelled = False
        while not future.done():
            try:
                await asyncio.shield(future)
            except asyncio.CancelledError:
                cancelled = True
            except BaseException:  # noqa: BLE001 - that of the work: it is raised below
                break
        task = asyncio.current_task()
        if cancelled and task is not None:
            # Again, at the next await: what follows here is the caller's book-keeping. It stays one cancellation, or
            # `asyncio.timeout` takes it for another's.
            task.uncancel()
            task.cancel()
        return future.result()

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            work()

    def end(self) -> None:
        """When all that was given has been done."""
        if self._thread is not None:
            self._work.put(None)
            self._thread.join()
            self._thread = None


def _soon(loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
    # A loop that has ended waits for nothing.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(callback)


def change(db: sqlite3.Connection, work: Callable[[], _Result]) -> _Result:
    """All of `work` or nothing, on disk when it returns. Raises BufferUnwritable, BufferDamaged."""
    try:
        db.execute("BEGIN IMMEDIATE")
        result = work()
        db.execute("COMMIT")
    except sqlite3.DatabaseError as error:
        undo(db)
        raise translated(error) from error
    except BaseException:
        undo(db)
        raise
    return result


def look(work: Callable[[], _Result]) -> _Result:
    """`work`, which only reads. Raises BufferUnwritable, BufferDamaged."""
    try:
        return work()
    except sqlite3.DatabaseError as error:
        raise translated(error) from error


def undo(db: sqlite3.Connection) -> None:
    # A full disk may have ended the transaction already; this is nothing then, where ROLLBACK would be an error.
    try:
        db.rollback()
    except sqlite3.Error:
        # A disk that fails in this too: the connection is closed and opened anew.
        return


def translated(error: sqlite3.DatabaseError) -> Exception:
    """What `error` means for a buffer; itself where it is a mistake of the program."""
    code = primary_code(error)
    if code in _PASSING:
        return BufferUnwritable(str(error), reopen=code not in _FULL)
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return BufferDamaged(str(error))
    return error


def primary_code(error: sqlite3.Error) -> int | None:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
