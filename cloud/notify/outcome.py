"""What became of an attempt to deliver a message."""

import re
from dataclasses import dataclass
from enum import StrEnum

_LONGEST = 300
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")


class Result(StrEnum):
    """DEFERRED is tried again; DEAD never, unless a person says so."""

    DELIVERED = "delivered"
    DEFERRED = "deferred"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Outcome:
    """`reply` is what the server said, or what kept us from asking it; `after_s` how long the server wants to be left
    alone, seconds."""

    result: Result
    reply: str
    after_s: float = 0.0

    def told(self, secret: str) -> str:
        """The reply for the log: a line of ASCII, at most 300 characters, without `secret`, which a server may echo."""
        text = self.reply.replace(secret, "…") if secret else self.reply
        return _UNPRINTABLE.sub(" ", text).strip()[:_LONGEST] or "nothing"


class Undeliverable(Exception):
    """This message can't be sent, now or later. The text says why, and has nothing of what the message says."""
