"""What the receiver says that it has: receipts, and its answers to the question which batches it still has."""

import sqlite3
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from contract.receipt import Receipt
from edge.buffer.batch_rows import forget_history
from edge.buffer.batches import Cut, Lane
from edge.buffer.outbox import Outbox

_NONE: Mapping[int, int] = MappingProxyType({})


class Confirmation(NamedTuple):
    """The numbers that the receiver had when it was asked at `asked_us`, as inclusive ranges.

    What has a receipt from before `before_us`, and is among them, may go.
    """

    received: list[tuple[int, int]]
    asked_us: int
    before_us: int


class Receipts:
    """Receipts and a confirmation that came and are not written down yet: the next transaction does."""

    def __init__(self) -> None:
        self.confirmation: Confirmation | None = None
        self._noted: dict[int, tuple[int, Receipt]] = {}

    def __bool__(self) -> bool:
        return bool(self._noted)

    def clear(self) -> None:
        """Of another stream, or another file."""
        self.confirmation = None
        self._noted.clear()

    @property
    def seqs(self) -> set[int]:
        return set(self._noted)

    def got(self, cut: Cut) -> bool:
        """Whether there is a receipt for `cut`, written down or not."""
        return cut.delivered or cut.seq in self._noted

    def note(self, receipt: Receipt, cut: Cut | None, *, stream: str, now_us: int) -> bool:
        """Note `receipt`; False when it is not that of `cut`, the batch of its number, or that has one."""
        if cut is None or receipt.stream != stream or receipt.sha256 != cut.sha256.hex() or self.got(cut):
            return False
        self._noted[receipt.seq] = (now_us, receipt)
        return True

    def lost(self, outbox: Outbox, confirmation: Confirmation, now_us: int) -> list[Cut]:
        """What the receiver has lost by `confirmation`."""
        return _lost(outbox, confirmation, now_us, {seq: receipt_us for seq, (receipt_us, _) in self._noted.items()})

    def pending(self) -> "Pending":
        """What there is to be written down now."""
        return Pending(dict(self._noted), self.confirmation)

    def written(self, pending: "Pending") -> None:
        """`pending` is on disk."""
        if self.confirmation is pending.confirmation:
            self.confirmation = None
        for seq, noted in pending.noted.items():
            if self._noted.get(seq) is noted:
                del self._noted[seq]


class Pending(NamedTuple):
    """Receipts by sequence number, with when they came, and a confirmation, for one transaction."""

    noted: Mapping[int, tuple[int, Receipt]]
    confirmation: Confirmation | None

    def write(self, db: sqlite3.Connection, outbox: Outbox, now_us: int) -> list[Cut]:
        """Write it down; the batches that are confirmed and deleted with that."""
        for seq, (receipt_us, receipt) in self.noted.items():
            cut = outbox.cuts.get(seq)
            # It may have become another's number, or another batch, since the receipt came.
            if cut is not None and (receipt.stream, receipt.sha256) == (outbox.stream, cut.sha256.hex()):
                # What says nothing but that all of it is stored is not worth its bytes.
                plain = receipt.stored == cut.readings and not receipt.quarantined
                cut.receipt_us, cut.body = receipt_us, None
                text = None if plain else msgspec.json.encode(receipt).decode()
                outbox.update(db, seq, receipt_us=receipt_us, receipt=text)
        return [] if self.confirmation is None else _confirm(db, outbox, self.confirmation, now_us)


def release(db: sqlite3.Connection, outbox: Outbox, *, readings: int, now_us: int) -> list[Cut]:
    """Delete some of the oldest that have a receipt, confirmed or not: there is no room for them any longer."""
    released: list[Cut] = []
    for _, cut in sorted(outbox.cuts.items()):
        if cut.delivered:
            released.append(cut)
            readings -= cut.readings
        if readings <= 0:
            break
    _forget(db, outbox, released, now_us)
    return released


def _lost(outbox: Outbox, confirmation: Confirmation, now_us: int, noted: Mapping[int, int] = _NONE) -> list[Cut]:
    """Batches whose receipt came before the question, and that the receiver did not have when it was asked.

    A receipt of the future is from before the clock went back. `noted` says when those came that are not written
    down yet, by number.
    """
    found = []
    for cut in outbox.cuts.values():
        receipt_us = noted.get(cut.seq, cut.receipt_us)
        if receipt_us is None or confirmation.asked_us < receipt_us <= now_us:
            continue
        if not any(first <= cut.seq <= last for first, last in confirmation.received):
            found.append(cut)
    return found


def _confirm(db: sqlite3.Connection, outbox: Outbox, confirmation: Confirmation, now_us: int) -> list[Cut]:
    """What the receiver still has is deleted, and returned, where its receipt is old enough.

    What it has lost is outstanding again, as backlog: what is newest does not wait for it.
    """
    for cut in _lost(outbox, confirmation, now_us):
        cut.receipt_us, cut.lane = None, Lane.BACKLOG
        outbox.update(db, cut.seq, receipt_us=None, receipt=None, lane=int(Lane.BACKLOG))
    confirmed = []
    for cut in outbox.cuts.values():
        if cut.receipt_us is None:
            continue
        if cut.receipt_us > now_us:
            # Or it were kept until that time comes.
            cut.receipt_us = now_us
            outbox.update(db, cut.seq, receipt_us=now_us)
        if cut.receipt_us <= min(confirmation.asked_us, confirmation.before_us):
            confirmed.append(cut)
    _forget(db, outbox, confirmed, now_us)
    return confirmed


def _forget(db: sqlite3.Connection, outbox: Outbox, cuts: Iterable[Cut], now_us: int) -> None:
    """What was in `cuts` is deleted; of some batches the rows stay, as history."""
    for cut in cuts:
        if cut.segments is not None:
            db.execute("DELETE FROM segment WHERE id BETWEEN ? AND ?", cut.segments)
        db.execute("DELETE FROM note WHERE stream = ? AND seq = ?", (outbox.stream_id, cut.seq))
        outbox.update(db, cut.seq, confirmed_us=now_us)
        del outbox.cuts[cut.seq]
    forget_history(db, outbox.stream_id, outbox.next_seq)
