"""What was answered, for as long as the databases have said nothing else.

Both halves of an answer are remembered: who may read what, until the domain database tells of a change, and what was
read, until readings arrive. A question opens its entry before it asks; what is forgotten meanwhile is no longer there
when the answer comes, and so an answer that is older than a change is never kept.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import msgspec

from cloud.api.http.etag import Tagged

# Entries, and how many meters each has at most: of more, to ask anew costs the least.
MOST, FEW_METERS = 5_000, 20
# Spans that begin, sessions that expire, readings that leave the quarantine: nobody tells of them.
_LIFETIME_S = 10.0
_LONGEST_NUMBER = 10
Say = Callable[[Sequence[tuple[str, msgspec.Raw | None]]], Tagged]
"""What is said of readings by code."""
Key = tuple[int, UUID, UUID, Say, tuple[str, ...]]
"""User, session, token, how it is said, and the codes in their order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readable:
    """What the caller may read: numbers by code; all numbers, and the grants, as the other database takes them."""

    found: Mapping[str, str]
    numbers: bytes | None
    grants: bytes | None


@dataclass(slots=True, eq=False)
class Entry:
    """A question. `readable` and `told` are None until they are known. `turn` changes when readings arrive."""

    key: Key
    until_s: float
    readable: Readable | None = None
    told: Tagged | None = None
    turn: int = 0
    meters: tuple[int, ...] = field(default=())


class Memory:
    """At most MOST entries, none older than 10 s by the monotonic clock. `used` is set while there is any."""

    def __init__(self, *, most: int = MOST, lifetime_s: float = _LIFETIME_S) -> None:
        self._most, self._lifetime_s = most, lifetime_s
        # In the order in which they end.
        self._entries: dict[Key, Entry] = {}
        self._of_user: dict[int, set[Entry]] = {}
        self._of_meter: dict[int, set[Entry]] = {}
        self._new: set[int] = set()
        self.used = asyncio.Event()

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: Key, now_s: float) -> Entry | None:
        """The entry of a question, unless it is too old."""
        entry = self._entries.get(key)
        return entry if entry is not None and now_s < entry.until_s else None

    def open(self, key: Key, now_s: float) -> Entry:
        """The entry of a question that is about to be asked."""
        found = self.find(key, now_s)
        if found is not None:
            return found
        self.drop(key)
        entry = Entry(key, now_s + self._lifetime_s)
        if len(key[-1]) <= FEW_METERS:
            while len(self._entries) >= self._most:
                self.drop(next(iter(self._entries)))
            self._entries[key] = entry
            self._of_user.setdefault(key[0], set()).add(entry)
            self.used.set()
        return entry

    def may_read(self, entry: Entry, readable: Readable) -> None:
        """Keeps what the caller may read, if nothing was told meanwhile. From now on arrivals are looked for."""
        entry.readable = readable
        if self._entries.get(entry.key) is entry and not entry.meters:
            entry.meters = tuple(map(int, readable.found.values()))
            for meter in entry.meters:
                if meter not in self._of_meter:
                    self._of_meter[meter] = set()
                    self._new.add(meter)
                self._of_meter[meter].add(entry)

    def keep(self, entry: Entry, told: Tagged, turn: int) -> None:
        """Keeps an answer that was asked for at `turn`, if nothing has arrived since."""
        if entry.turn == turn:
            entry.told = told

    def looked_for(self) -> list[int]:
        """The meters whose arrivals matter. Of those that come after this, arrived() takes note."""
        self._new.clear()
        return list(self._of_meter)

    def arrived(self, meters: Iterable[int]) -> None:
        """Readings of these may have arrived; and of those that came since looked_for(), which nobody has looked at."""
        for meter in self._new.union(meters):
            for entry in self._of_meter.get(meter, ()):
                entry.told = None
                entry.turn += 1
        self._new.clear()

    def all_arrived(self) -> None:
        """Readings of any meter may have arrived."""
        self.arrived(self._of_meter)

    def forget(self, payload: str) -> None:
        """What the domain database told: a user who may read something else than before; anything else is all."""
        if payload.isascii() and payload.isdecimal() and len(payload) <= _LONGEST_NUMBER:
            for entry in tuple(self._of_user.get(int(payload), ())):
                self.drop(entry.key)
        else:
            for key in tuple(self._entries):
                self.drop(key)

    def purge(self, now_s: float) -> None:
        """Drops what is too old."""
        while self._entries:
            first = next(iter(self._entries.values()))
            if now_s < first.until_s:
                return
            self.drop(first.key)

    def close(self, entry: Entry) -> None:
        """Drops what was opened for a question that is refused, or is never to be remembered."""
        if self._entries.get(entry.key) is entry:
            self.drop(entry.key)

    def drop(self, key: Key) -> None:
        """The entry, if there is one; an answer to it that is under way is not kept."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        _leave(self._of_user, key[0], entry)
        for meter in entry.meters:
            _leave(self._of_meter, meter, entry)
        entry.readable = entry.told = None
        entry.turn += 1
        if not self._entries:
            self.used.clear()


def _leave(index: dict[int, set[Entry]], number: int, entry: Entry) -> None:
    entries = index[number]
    entries.discard(entry)
    if not entries:
        del index[number]
