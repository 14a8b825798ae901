"""The newest committed deliveries of each MQTT client: what a broker may repeat, and is to be known again."""

import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from edge.reading import Delivery

RECENT_DELIVERIES = 16_384
"""How many of a client are known again at least. More may never wait for an acknowledgement: a broker of MQTT 5 is told
so, one of 3.1.1 has a window of its own, and 65,535 ids at most."""
INSERT_DELIVERED = "INSERT INTO delivered (client, recent) VALUES (?, ?)"
# A commit rewrites the newest chunk alone, and only while it is smaller than a page. A large group is its own chunk.
_CHUNK = 64


class RecentDeliveries:
    """In memory, each client for itself: a busy broker does not make another's forgotten."""

    def __init__(self, deliveries: Iterable[Delivery] = ()) -> None:
        self._by_client: dict[str, OrderedDict[Delivery, None]] = {}
        self.add(deliveries)

    def __contains__(self, delivery: Delivery) -> bool:
        return delivery in self._by_client.get(delivery.client, ())

    def add(self, deliveries: Iterable[Delivery]) -> None:
        for delivery in deliveries:
            recent = self._by_client.setdefault(delivery.client, OrderedDict())
            recent[delivery] = None
            recent.move_to_end(delivery)
            if len(recent) > RECENT_DELIVERIES:
                recent.popitem(last=False)


def keep(db: sqlite3.Connection, deliveries: Sequence[Delivery]) -> None:
    """Add `deliveries` to their clients' chunks, and drop the chunks beyond; inside a transaction."""
    by_client: dict[str, list[bytes]] = {}
    for delivery in deliveries:
        by_client.setdefault(delivery.client, []).append(delivery.packed)
    for client, packed in by_client.items():
        _append(db, client, b"".join(packed))


def _append(db: sqlite3.Connection, client: str, fresh: bytes) -> None:
    size = _CHUNK * Delivery.PACKED_BYTES
    newest = "SELECT id, recent FROM delivered WHERE client = ? ORDER BY id DESC LIMIT 1"
    row = db.execute(newest, (client,)).fetchone()
    if row is not None and len(row[1]) < size:
        room = size - len(row[1])
        db.execute("UPDATE delivered SET recent = ? WHERE id = ?", (row[1] + fresh[:room], row[0]))
        fresh = fresh[room:]
    if fresh:
        db.execute(INSERT_DELIVERED, (client, fresh))
        db.execute(
            "DELETE FROM delivered WHERE client = ?1 AND id < (SELECT max(id) FROM "
            "(SELECT id, sum(length(recent)) OVER (ORDER BY id DESC) AS held FROM delivered WHERE client = ?1) "
            "WHERE held >= ?2)",
            (client, RECENT_DELIVERIES * Delivery.PACKED_BYTES),
        )


def kept(db: sqlite3.Connection) -> list[Delivery]:
    """Those of every client, the oldest first."""
    rows = db.execute("SELECT client, recent FROM delivered ORDER BY id")
    return [delivery for client, recent in rows for delivery in Delivery.unpack(client, recent)]
