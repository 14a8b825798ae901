"""How things stand with one broker."""

import msgspec


class BrokerState(msgspec.Struct):
    """What came from one broker since the daemon started, in messages.

    `trouble` is why there is no connection, or what is wrong with it; `refused_topics` are subscriptions that the
    broker does not grant.
    """

    broker: str
    connected: bool = False
    messages: int = 0
    rejected: int = 0
    repeated: int = 0
    retained_without_time: int = 0
    without_readings: int = 0
    sessions_lost: int = 0
    trouble: str | None = None
    refused_topics: list[str] = []
