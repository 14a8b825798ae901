"""A message that a worker has in hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A row of outbox_claim(). `others` are payloads of messages that go with it, `members` their numbers.

    `sealed_secret` is a code that is opened for the time of the attempt, and kept nowhere.
    """

    outbox_id: int
    message_key: UUID
    user_id: int
    template: str
    payload: Mapping[str, Any]
    sealed_secret: bytes | None
    attempt: int
    leased_until: datetime
    name: str | None
    email: str | None
    phone: str | None
    language: str | None
    timezone: str | None
    members: Sequence[int]
    others: Sequence[Mapping[str, Any]]

    @property
    def key(self) -> UUID:
        """By which a receiver knows that it got this before. With others it says more than alone: another one."""
        if not self.members:
            return self.message_key
        return uuid5(self.message_key, " ".join(str(member) for member in sorted(self.members)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """What a message says: `short` for displays of telephones, `plain` and `html` for mail."""

    subject: str
    short: str
    plain: str
    html: str
