"""What delivers messages one way."""

from datetime import datetime
from typing import Protocol

from cloud.notify.message import Message, Text
from cloud.notify.outcome import Outcome


class Channel(Protocol):
    """`name` is outbox.channel; no attempt takes longer than `timeout_s`."""

    name: str
    timeout_s: float

    async def deliver(self, message: Message, text: Text, now: datetime) -> Outcome:
        """One attempt. Raises Undeliverable."""
        ...
