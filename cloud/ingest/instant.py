"""Instants between the contract's microseconds and Python's datetime, exactly."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def microseconds(when: datetime) -> int:
    """Microseconds since 1970, exact."""
    return (when - _EPOCH) // _MICROSECOND


_OLDEST_US = microseconds(datetime(1, 1, 1, tzinfo=UTC))
_NEWEST_US = microseconds(datetime(9999, 12, 31, tzinfo=UTC))


def moment(time_us: int) -> datetime:
    """The instant, clamped to the years 1 to 9999 that Python can hold."""
    return _EPOCH + timedelta(microseconds=max(_OLDEST_US, min(time_us, _NEWEST_US)))
