"""What comes over a line and is no reply: the sign of another protocol, other framing or another speed."""

from edge.drivers.modbus.exchange import Exchange

_SHOWN_BYTES = 12


class Noise:
    """Hears the exchanges of a line, as its tap; true once something came that was no reply."""

    def __init__(self) -> None:
        self._first, self._replies = b"", 0

    def take(self, exchange: Exchange) -> None:
        self._replies += exchange.reply is not None
        self._first = self._first or exchange.raw

    def __bool__(self) -> bool:
        return bool(self._first) and not self._replies

    def __str__(self) -> str:
        shown = self._first[:_SHOWN_BYTES]
        text = f" ({shown.decode('ascii')!r})" if shown.isascii() and shown.decode("ascii").isprintable() else ""
        return f"what comes is no Modbus reply: {shown.hex(' ')}{text}"
