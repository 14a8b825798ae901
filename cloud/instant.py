"""Instants as operators write them."""

from datetime import datetime

from cloud.errors import CloudError


class InstantError(CloudError):
    """A text that names no instant, or one that depends on where it is read."""

    def __init__(self, text: str, found: str) -> None:
        super().__init__(f"{text!r} {found}; write 2026-03-01T00:00Z or 2026-03-01T01:00+01:00")


def parse(text: str) -> datetime:
    """ISO 8601 with an offset. Raises InstantError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InstantError(text, "is no time") from None
    if found.tzinfo is None:
        raise InstantError(text, "has no offset")
    return found
