"""What gateway and receiver agree on before anything is sent: what has arrived, in which form, under which numbers."""

import asyncio
import random

import structlog

from contract.codec import MSGPACK, PACKED
from contract.notes import FIRST_KINDS
from contract.receipt import StreamState
from edge.buffer.store import Store
from edge.clock import Clock
from edge.uplink.answer import NotSent
from edge.uplink.pace import pause_s
from edge.uplink.receiver import ReceiverClient
from edge.uplink.state import UplinkState

_LOG = structlog.get_logger("edge.uplink")
_AGAIN_S = 60.0
_BETWEEN_RENUMBERINGS_S = 60.0
# What is sent, the best first.
_VERSION_OF = {PACKED: 2, MSGPACK: 1}
# As if so many questions had failed: the next one is some seconds off.
_BUSY = 5


class Agreement:
    """Asks the receiver what it has of the stream, each minute and whenever the agreement was `lost`.

    It sets `agreed` while batches may be sent. `keep_s` is how long a batch stays here after its receipt.
    """

    def __init__(
        self,
        *,
        store: Store,
        receiver: ReceiverClient,
        state: UplinkState,
        clock: Clock,
        jitter: random.Random,
        keep_s: float,
        agreed: asyncio.Event,
    ) -> None:
        self.agreed = agreed
        self._store, self._receiver, self._state = store, receiver, state
        self._clock, self._jitter, self._keep_s = clock, jitter, keep_s
        self._media_types: frozenset[str] = frozenset()
        self._received: list[tuple[int, int]] = []
        self._due_s = float("-inf")
        self._route_seen = False
        self._renumbering = asyncio.Lock()
        self._renumbered_s = float("-inf")

    def lost(self) -> None:
        """Something went wrong on the way, or the receiver is another: ask before anything else is sent."""
        self.agreed.clear()

    def arrived(self, seq: int) -> bool:
        """Whether the receiver had batch `seq` when it was asked last."""
        return any(first <= seq <= last for first, last in self._received)

    def takes(self, media_type: str) -> bool:
        return media_type in self._media_types

    async def keep(self) -> None:
        """Ask if it is time to. Raises NotSent, and BufferUnwritable."""
        if self.agreed.is_set() and self._clock.monotonic_s() < self._due_s:
            return
        stream = self._store.stream
        asked_us = self._clock.now_us()
        try:
            found = await self._ask(stream)
        except NotSent as error:
            if not (self.agreed.is_set() and error.busy):
                raise
            self._due_s = self._clock.monotonic_s() + pause_s(error, _BUSY, self._jitter)
            return  # What was agreed still holds; batches have their own answers.
        if stream != self._store.stream:
            return  # Numbered anew meanwhile: what was asked for is of the past.
        self._take_form(found)
        self._received = list(found.received)
        if any(last >= self._store.next_seq for _, last in found.received):
            # This file is an older copy of itself, or another gateway has one: its numbers mean something else.
            await self.renumber(stream, f"the receiver has numbers beyond {self._store.next_seq - 1}, never given here")
        else:
            await self._confirm(asked_us)
        self._due_s = self._clock.monotonic_s() + _AGAIN_S * self._jitter.uniform(0.8, 1.0)
        self.agreed.set()

    async def renumber(self, stream: str, reason: str) -> None:
        """Begin a new stream in place of `stream`, once. Raises NotSent when the last one is too young for it."""
        async with self._renumbering:
            if stream != self._store.stream:
                return
            wait_s = self._renumbered_s + _BETWEEN_RENUMBERINGS_S - self._clock.monotonic_s()
            if wait_s > 0:
                raise NotSent(f"{reason}; numbered anew less than a minute ago", retry_after_s=wait_s)
            await self._store.renumber(reason)
            self._renumbered_s = self._clock.monotonic_s()
            self._state.renumbered += 1

    async def _ask(self, stream: str) -> StreamState:
        first = self._store.lowest_unconfirmed()
        try:
            found = await self._receiver.ask(stream, self._store.next_seq if first is None else first)
        except NotSent as error:
            # Only from a receiver that never knew the question is this no answer of a proxy before it.
            if not error.missing or self._route_seen:
                raise
            # Its receipts are its last word, and it takes version 1.
            return StreamState(stream, [(1, self._store.next_seq - 1)])
        self._route_seen = True
        return found

    def _take_form(self, found: StreamState) -> None:
        self._media_types = frozenset(found.media_types or (MSGPACK,))
        media_type = next(filter(self.takes, _VERSION_OF), None)
        if media_type is None:
            raise NotSent(f"the receiver takes only {', '.join(sorted(self._media_types))}", slow=True)
        self._store.media_type, self._state.version = media_type, _VERSION_OF[media_type]
        self._store.note_kinds = frozenset(found.note_kinds) or FIRST_KINDS

    async def _confirm(self, asked_us: int) -> None:
        resent = await self._store.confirm(self._received, keep_s=self._keep_s, asked_us=asked_us)
        if resent:
            self._state.resent += resent
            _LOG.warning("the receiver has lost batches, they are sent again", batches=resent)
