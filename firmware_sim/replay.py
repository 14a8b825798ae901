"""A recorded bus, played back: every request gets the reply that it got then."""

from collections import defaultdict
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from firmware_sim.errors import RecordingError
from firmware_sim.modbus.answer import ILLEGAL_DATA_ADDRESS, Answer, exception

_TODO = "name a recording of segs-edge record"


class _Head(msgspec.Struct):
    segs_recording: int
    framing: Literal["tcp", "rtu"]


class _Line(msgspec.Struct):
    t_us: int
    unit: Annotated[int, msgspec.Meta(ge=0, le=255)]
    request: str
    reply: str | None
    took_us: Annotated[int, msgspec.Meta(ge=0)]
    raw: str = ""


class _Exchange(msgspec.Struct):
    reply: bytes | None
    raw: bytes
    took_us: int


class Recording:
    """What a bus answered. The n-th time that a unit is asked something it answers as it did the n-th time, and after
    the last recorded time as the first time again.

    `speed` divides the delays. A request that was not recorded gets exception 2 from a unit that was; a recorded
    time-out is one again. `framing` is that of the recorded line, in which alone bytes that were no reply make sense.
    """

    def __init__(self, path: Path, *, speed: float = 1.0) -> None:
        """Raises RecordingError: which line, what was found there, what to do."""
        self._speed = speed
        self._exchanges: dict[tuple[int, bytes], list[_Exchange]] = defaultdict(list)
        self._asked: dict[tuple[int, bytes], int] = defaultdict(int)
        self.framing, lines = _read(path)
        for number, line in sorted(lines, key=lambda numbered: numbered[1].t_us):
            try:
                key = line.unit, bytes.fromhex(line.request)
                reply = None if line.reply is None else bytes.fromhex(line.reply)
                self._exchanges[key].append(_Exchange(reply, bytes.fromhex(line.raw), line.took_us))
            except ValueError as error:
                raise RecordingError(where=f"{path}:{number}", found=str(error), todo="write bytes as hex") from error
        self.exchanges = len(lines)
        self.units = {unit for unit, _ in self._exchanges}

    def answers(self, framing: Literal["tcp", "rtu"]) -> "_Answers":
        """The bus for an endpoint of `framing`."""
        return _Answers(self, with_raw=framing == self.framing)

    def next(self, unit: int, pdu: bytes) -> _Exchange | None:
        exchanges = self._exchanges.get((unit, pdu))
        if not exchanges:
            return None
        asked = self._asked[unit, pdu]
        self._asked[unit, pdu] = asked + 1
        return exchanges[asked % len(exchanges)]

    def delay_s(self, exchange: _Exchange) -> float:
        return exchange.took_us / 1e6 / self._speed


class _Answers:
    def __init__(self, recording: Recording, *, with_raw: bool) -> None:
        self._recording, self._with_raw = recording, with_raw

    def answer(self, unit: int, pdu: bytes) -> Answer | None:
        if unit not in self._recording.units:
            return None
        exchange = self._recording.next(unit, pdu)
        if exchange is None:
            return Answer(exception(pdu[0], ILLEGAL_DATA_ADDRESS))
        if exchange.reply is None:
            raw = exchange.raw if self._with_raw and exchange.raw else None
            return Answer(None, raw=raw, delay_s=self._recording.delay_s(exchange) if raw else 0.0)
        return Answer(exchange.reply, delay_s=self._recording.delay_s(exchange))

    def broadcast(self, pdu: bytes) -> None:
        """Nobody answered it then either."""


def _read(path: Path) -> tuple[Literal["tcp", "rtu"], list[tuple[int, _Line]]]:
    """The framing, and the exchanges with their line numbers."""
    try:
        whole = path.read_bytes()
    except OSError as error:
        raise RecordingError(where=str(path), found=error.strerror or str(error), todo=_TODO) from error
    text = whole.splitlines()
    try:
        head = msgspec.json.decode(text[0] if text else b"", type=_Head)
    except msgspec.DecodeError as error:
        raise RecordingError(where=f"{path}:1", found=str(error), todo=_TODO) from error
    if head.segs_recording != 1:
        found = f"version {head.segs_recording} of the format"
        raise RecordingError(where=f"{path}:1", found=found, todo="play it with the simulator of its time")
    decoder, lines = msgspec.json.Decoder(_Line), []
    for number, line in enumerate(text[1:], 2):
        try:
            lines.append((number, decoder.decode(line)))
        except msgspec.DecodeError as error:
            if number == len(text) and not whole.endswith(b"\n"):
                # Torn when the recording was interrupted.
                break
            raise RecordingError(where=f"{path}:{number}", found=str(error), todo="remove the line") from error
    return head.framing, lines
