"""Which reading is meant: a device, and an instant."""

import re
from datetime import UTC, datetime
from typing import NamedTuple

from edge.tools.outcome import ToolFault

_NUMBER = re.compile(r"-?\d{1,18}\Z")
_1970 = datetime(1970, 1, 1, tzinfo=UTC)


class Question(NamedTuple):
    """`time_us` is microseconds since 1970."""

    device: str
    time_us: int


def parse(text: str) -> Question:
    """`device@2026-11-27T10:00:00.123Z`, or the time as microseconds since 1970. Raises ToolFault."""
    device, at, moment = text.partition("@")
    if not device or not at:
        raise ToolFault(f"{text!r}: no reading; write its device and its time, as in main@2026-11-27T10:00:00.123Z")
    if _NUMBER.match(moment):
        return Question(device, int(moment))
    try:
        found = datetime.fromisoformat(moment)
    except ValueError:
        raise ToolFault(f"{moment!r}: no ISO 8601 time and no microseconds; write 2026-11-27T10:00:00.123Z") from None
    since = (found if found.tzinfo is not None else found.replace(tzinfo=UTC)) - _1970
    return Question(device, (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)
