"""What was said on a line, for those who record or explain it."""

import msgspec


class Exchange(msgspec.Struct):
    """One request and what came of it. `request` and `reply` are PDUs; `raw` is what arrived and made no reply."""

    unit: int
    request: bytes
    reply: bytes | None
    raw: bytes
    sent_us: int
    took_us: int
    fault: str | None
