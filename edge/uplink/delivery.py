"""One batch, sent once, and what follows from the answer."""

from collections.abc import Callable

import msgspec
import structlog

from contract.receipt import Receipt
from edge.buffer.batches import CutBatch, Lane
from edge.buffer.store import Store
from edge.clock import Clock
from edge.repeats import Repeats
from edge.uplink.agreement import Agreement
from edge.uplink.answer import NotSent, Refused
from edge.uplink.receiver import ReceiverClient
from edge.uplink.state import LaneState, UplinkState

_LOG = structlog.get_logger("edge.uplink")
_REQUEST_TIMEOUT, _SEQUENCE_REUSED, _UNSUPPORTED_MEDIA = 408, 409, 415
# Who fails so often on a way that is open has something in it that does not go through.
_OFTEN = 3


class _Failures(msgspec.Struct):
    """Of one batch: how often it took too long, and broke the receiver. `accepted` others had gone before the first."""

    accepted: int
    slow: int = 0
    broken: int = 0


class Delivery:
    """What both lanes do with a batch. `changed` is called when a lane's trouble begins or ends."""

    def __init__(
        self,
        *,
        store: Store,
        receiver: ReceiverClient,
        agreement: Agreement,
        state: UplinkState,
        clock: Clock,
        long_s: float,
        changed: Callable[[], None],
    ) -> None:
        self._store, self._receiver, self._agreement, self._state = store, receiver, agreement, state
        self._clock, self._long_s, self._changed = clock, long_s, changed
        self._repeats = Repeats(clock=clock)
        self._emptied: set[tuple[str, int]] = set()
        self._failures: dict[tuple[str, int], _Failures] = {}

    async def send(self, batch: CutBatch) -> Receipt | Refused | None:
        """Send `batch` once; None where it was not sent after all. Raises NotSent, and BufferUnwritable.

        A refusal that is returned was dealt with: the batch is split, or all are numbered anew.
        """
        if batch.stream != self._store.stream:
            return None
        if not self._agreement.takes(batch.media_type):
            await self._agreement.renumber(batch.stream, f"the receiver takes no {batch.media_type} any more")
            return None
        if self._never_goes(batch):
            _LOG.warning("batch does not get through, sent in halves", seq=batch.seq, readings=batch.readings)
            await self._split(batch, status=_REQUEST_TIMEOUT, reason="does not get through")
            return None
        began_s = self._clock.monotonic_s()
        self._state.attempts += 1
        try:
            receipt = await self._receiver.post(batch)
        except Refused as refused:
            await self._refused(batch, refused)
            return refused
        except NotSent as error:
            before = self._failures.setdefault((batch.stream, batch.seq), _Failures(self._state.batches))
            before.slow += self._clock.monotonic_s() - began_s > self._long_s
            before.broken += error.broken
            raise
        settled = await self._store.settle(receipt)
        if not settled and batch.stream == self._store.stream:
            raise NotSent(f"the receipt is for batch {receipt.seq} of {receipt.stream}, {receipt.sha256}", slow=True)
        self._count(batch, receipt)
        return receipt

    async def _refused(self, batch: CutBatch, refused: Refused) -> None:
        if refused.status == _SEQUENCE_REUSED:
            await self._agreement.renumber(batch.stream, str(refused))
            return
        if refused.status == _UNSUPPORTED_MEDIA:
            self._agreement.lost()
            raise NotSent(str(refused), status=refused.status)
        if batch.stream != self._store.stream:
            return
        if (batch.stream, batch.seq) in self._emptied:
            raise NotSent(f"{refused}; batch {batch.seq} has no readings any more", slow=True, status=refused.status)
        _LOG.error(
            "batch refused", seq=batch.seq, readings=batch.readings, status=refused.status, reason=refused.reason
        )
        alone = await self._split(batch, status=refused.status, reason=refused.reason)
        self._state.refused += 1
        self._state.refused_readings += alone

    async def _split(self, batch: CutBatch, *, status: int, reason: str) -> int:
        """Send the readings of `batch` in halves; its number goes empty. How many were set aside, alone."""
        alone = await self._store.refuse(batch.seq, status=status, reason=reason)
        self._emptied.add((batch.stream, batch.seq))
        self._failures.pop((batch.stream, batch.seq), None)
        return alone

    def breaks(self, batch: CutBatch) -> bool:
        """Whether the receiver has failed at `batch` again and again."""
        before = self._failures.get((batch.stream, batch.seq))
        return before is not None and before.broken >= _OFTEN

    def _never_goes(self, batch: CutBatch) -> bool:
        """Whether `batch` fails while the way is open: it takes too long, or breaks the receiver where others do not.

        What has arrived is not split: only its receipt is missing.
        """
        before = self._failures.get((batch.stream, batch.seq))
        if before is None or batch.readings < 2 or self._agreement.arrived(batch.seq):
            return False
        return before.slow >= _OFTEN or (before.broken >= _OFTEN and self._state.batches > before.accepted)

    def failed(self, lane: Lane, reason: str) -> None:
        """Remember and tell why the batches of `lane` cannot be sent."""
        self._state.failures += 1
        state = self._lane(lane)
        state.failures += 1
        began, state.trouble = state.trouble is None, reason
        if (count := self._repeats.due(lane.name)) is not None:
            _LOG.warning("batches cannot be sent", lane=lane.name.lower(), reason=reason, failures_not_logged=count)
        self._tell(began)

    def succeeded(self, lane: Lane) -> None:
        """The batches of `lane` are accepted."""
        state = self._lane(lane)
        ended, state.trouble = state.trouble is not None, None
        if self._repeats.over(lane.name):
            _LOG.info("batches are accepted again", lane=lane.name.lower())
        self._tell(ended)

    def _tell(self, changed: bool) -> None:
        self._state.trouble = self._state.live.trouble or self._state.backlog.trouble
        if changed:
            self._changed()

    def _lane(self, lane: Lane) -> LaneState:
        return self._state.live if lane is Lane.LIVE else self._state.backlog

    def _count(self, batch: CutBatch, receipt: Receipt) -> None:
        for state in (self._state, self._lane(batch.lane)):
            state.batches += 1
            state.readings += batch.readings
        self._state.last_receipt_us = self._clock.now_us()
        self._emptied.discard((batch.stream, batch.seq))
        self._failures.pop((batch.stream, batch.seq), None)
        for entry in receipt.quarantined:
            self._state.quarantined += entry.readings
            subject = f"{entry.device} {entry.reason}"
            if (count := self._repeats.due(subject)) is not None:
                _LOG.warning(
                    "readings quarantined by the receiver",
                    device=entry.device,
                    reason=entry.reason,
                    readings=entry.readings,
                    receipts_not_logged=count,
                )
