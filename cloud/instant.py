"""Instants: microseconds since 1970 as the contract has them, datetimes, and texts as operators write and read them."""

from datetime import UTC, datetime, timedelta

from cloud.errors import InputError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class InstantError(InputError):
    """A text that names no instant, or one that depends on where it is read."""

    def __init__(self, text: str, found: str) -> None:
        super().__init__(f"{text!r} {found}; write 2026-11-27T10:00Z or 2026-11-27T11:00+01:00")


def parse(text: str) -> datetime:
    """ISO 8601 with an offset. Raises InstantError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InstantError(text, "is no time") from None
    if found.tzinfo is None:
        raise InstantError(text, "has no offset")
    try:
        return found.astimezone(UTC)
    except OverflowError:
        raise InstantError(text, "is no time") from None


def written(when: datetime) -> str:
    """The instant in ISO 8601 and UTC, 2026-11-27T10:00:00Z; with a fraction where it has one."""
    return when.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def microseconds(when: datetime) -> int:
    """Microseconds since 1970, exact."""
    return (when - _EPOCH) // _MICROSECOND


_OLDEST_US = microseconds(datetime(1, 1, 1, tzinfo=UTC))
_NEWEST_US = microseconds(datetime(9999, 12, 31, tzinfo=UTC))


def moment(time_us: int) -> datetime:
    """The instant, clamped to the years 1 to 9999 that Python can hold."""
    return _EPOCH + timedelta(microseconds=max(_OLDEST_US, min(time_us, _NEWEST_US)))
