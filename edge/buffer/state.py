"""What the buffer says of itself."""

import msgspec


class BufferState(msgspec.Struct):
    """Counters since the daemon started. `waiting` readings are in memory only; `unwritable` says why, if so."""

    committed: int = 0
    commits: int = 0
    waiting: int = 0
    overflowed: int = 0
    unwritable: str | None = None
