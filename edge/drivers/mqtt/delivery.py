"""What of a connection waits for its commit, and what may be acknowledged: in the order in which it came."""

from collections import deque

import msgspec

from edge.reading import Delivery


class Entry(msgspec.Struct, eq=False):
    """A message that the broker waits for. `settled` is None while it waits, False if it never will be committed."""

    delivery: Delivery
    settled: bool | None = None
    repetition: "Entry | None" = None


class Deliveries:
    """The messages of one client that wait. A new connection begins with none, and is told of the old ones' fate.

    MQTT wants acknowledgements in the order of the messages (4.6.0-2 in both versions).
    """

    def __init__(self) -> None:
        self._order: deque[Entry] = deque()
        self._waiting: dict[Delivery, Entry] = {}

    def connected(self) -> None:
        """What the connection before brought may not be acknowledged on this one: its ids mean something else here."""
        self._order = deque()

    def add(self, delivery: Delivery) -> Entry:
        entry = Entry(delivery)
        self._order.append(entry)
        self._waiting[delivery] = entry
        return entry

    def repeated(self, delivery: Delivery) -> bool:
        """Whether `delivery` says again what already waits; it is settled with it then."""
        known = self._waiting.get(delivery)
        if known is None:
            return False
        while known.repetition is not None:
            known = known.repetition
        known.repetition = Entry(delivery)
        self._order.append(known.repetition)
        return True

    def settle(self, entry: Entry, *, committed: bool) -> None:
        if self._waiting.get(entry.delivery) is entry:
            del self._waiting[entry.delivery]
        settled: Entry | None = entry
        while settled is not None:
            settled.settled = committed
            settled = settled.repetition

    def due(self) -> list[int]:
        """Ids to acknowledge now. What never will be committed stays with the broker, and holds up nobody."""
        order, ids = self._order, []
        while order and order[0].settled is not None:
            entry = order.popleft()
            if entry.settled:
                ids.append(entry.delivery.message_id)
        return ids
