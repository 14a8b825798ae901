"""The file that is open: what is done to it is one transaction, with the receipts that wait, or nothing."""

import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from edge.buffer.database import Thread, change, look
from edge.buffer.file import closed, open_file
from edge.buffer.ledger import Ledger
from edge.buffer.location import Location
from edge.buffer.receipts import Receipts
from edge.clock import Clock
from edge.errors import BufferUnwritable

_LOG = structlog.get_logger("edge.buffer")

_Result = TypeVar("_Result")


class Transactions:
    """Work on the file at `path`, one after another, off the event loop.

    `ledger` is what the file holds, and is read from it again after a transaction that failed; `receipts` are those
    that the next transaction writes down. `newest_us` is the time of the newest reading when the file was opened.
    """

    def __init__(
        self, *, path: Path, mount: Path | None, clock: Clock, boot_id: str, truth: Callable[[], int | None]
    ) -> None:
        self.ledger = Ledger()
        self.receipts = Receipts()
        self.newest_us: int | None = None
        self._path, self._clock, self._boot_id, self._truth = path, clock, boot_id, truth
        self._location = Location(path, mount)
        self._thread = Thread()
        self._db: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Open the file, or begin one. Raises BufferUnwritable while the disk does not allow it, BufferFormat."""
        await self._thread.run(self._open)

    async def close(self) -> None:
        """Write down the receipts that wait, and close. Nothing is done afterwards."""
        try:
            if self._db is not None and self.receipts:
                await self.change(lambda _: None)
        except BufferUnwritable as error:
            _LOG.info("receipts not written down; their batches are sent again", reason=str(error))
        await self._thread.run(self._close)
        self._thread.end()

    async def change(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """`work` and the receipts that wait, all or nothing. Raises BufferUnwritable, BufferDamaged."""
        pending, truth = self.receipts.pending(), self._truth()

        def all_of_it(db: sqlite3.Connection) -> _Result:
            self.ledger.boots.vouch(db, truth)
            self.ledger.deleted(db, pending.write(db, self.ledger.outbox, self._clock.now_us()))
            return work(db)

        result = await self._thread.run(partial(self._changed, all_of_it))
        self.receipts.written(pending)
        return result

    async def look(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """`work`, which only reads. Raises BufferUnwritable, BufferDamaged."""
        return await self._thread.run(lambda: look(lambda: work(self._connection())))

    async def run(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        """`work` outside of any transaction."""
        return await self._thread.run(lambda: work(self._connection()))

    async def check(self) -> None:
        """Raises BufferUnwritable when the file that is open is not the one at `path` any more."""
        await self._thread.run(self._location.check)

    def _open(self) -> None:
        if self._db is not None:
            self._location.rescue(self._db, self._clock.now_us())
        self._close()
        db = open_file(self._path, mount=self._location.mount, now_us=self._clock.now_us())
        try:
            change(db, lambda: self.ledger.boots.begin(db, self._boot_id, self._clock.now_us()))
            look(lambda: self._load(db))
            self._location.opened()
        except BaseException:
            closed(db)
            raise
        self._db = db

    def _load(self, db: sqlite3.Connection) -> None:
        self.receipts.clear()
        self.ledger.read(db)
        [[in_segment]] = db.execute("SELECT max(last_us) FROM segment")
        # Nobody has looked at what is history, and what is damaged may be of a type that is greater than any number.
        [[in_batch]] = db.execute("SELECT max(last_us) FROM batch WHERE typeof(last_us) = 'integer'")
        known = [time_us for time_us in (in_segment, in_batch) if time_us]
        self.newest_us = max(known) if known else None

    def _close(self) -> None:
        if self._db is not None:
            closed(self._db)
        self._db = None

    def _changed(self, work: Callable[[sqlite3.Connection], _Result]) -> _Result:
        db = self._connection()

        def all_of_it() -> _Result:
            result = work(db)
            if self.ledger.outbox.dropped:
                self.ledger.count(db)
            return result

        try:
            return change(db, all_of_it)
        except BaseException:
            # Nothing of it happened: what was noted beside the file is read from it again.
            self._reload(db)
            raise

    def _reload(self, db: sqlite3.Connection) -> None:
        try:
            self.ledger.read(db)
        except sqlite3.Error as error:
            _LOG.warning("the buffer is opened anew", reason=str(error))
            self._close()

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            raise BufferUnwritable("it is not open", reopen=True)
        return self._db
