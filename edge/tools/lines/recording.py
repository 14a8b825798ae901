"""A recording of one line: JSON lines, a head and then every exchange as it stood on the wire."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Annotated, BinaryIO, TypeAlias, TypeVar

import msgspec

from edge.tools.outcome import ToolFault

VERSION = 1
_Line = TypeVar("_Line")
Hex: TypeAlias = Annotated[str, msgspec.Meta(pattern="^([0-9a-fA-F]{2})*$")]


class Head(msgspec.Struct):
    """The first line. `endpoint` is "host:port" or the path of the serial line."""

    segs_recording: int
    endpoint: str
    framing: str
    started_us: int


class Entry(msgspec.Struct, omit_defaults=True):
    """One exchange. `request` and `reply` are PDUs in hexadecimal; `raw` is what came and made no reply."""

    t_us: int
    unit: Annotated[int, msgspec.Meta(ge=0, le=255)]
    request: Hex
    reply: Hex | None
    took_us: Annotated[int, msgspec.Meta(ge=0)]
    raw: Hex = ""


class Writer:
    """Appends entries to an open binary file, a line each, whole lines only."""

    def __init__(self, file: BinaryIO, *, head: Head) -> None:
        self._file, self._encode = file, msgspec.json.Encoder().encode
        self.entries = 0
        self._line(head)

    def add(self, entry: Entry) -> None:
        self._line(entry)
        self.entries += 1

    def _line(self, item: Head | Entry) -> None:
        self._file.write(self._encode(item) + b"\n")


def is_recording(text: bytes) -> bool:
    return b'"segs_recording"' in text.partition(b"\n")[0]


def read(text: bytes, name: str) -> tuple[Head, list[Entry]]:
    """The recording in `text`. Raises ToolFault naming `name` and the line that is none.

    A last line that was cut off, as after a power cut, is left out.
    """
    first, *rest = text.split(b"\n")
    head = _line(msgspec.json.Decoder(Head).decode, first, f"{name}:1")
    if head.segs_recording != VERSION:
        raise ToolFault(f"{name}:1: recording version {head.segs_recording}; this release reads version {VERSION}")
    decode = msgspec.json.Decoder(Entry).decode
    torn = rest.pop() if rest else b""
    entries = [_line(decode, line, f"{name}:{number}") for number, line in enumerate(rest, 2) if line.strip()]
    if torn.strip():
        with contextlib.suppress(msgspec.DecodeError):
            entries.append(decode(torn))
    return head, entries


def _line(decode: Callable[[bytes], _Line], line: bytes, where: str) -> _Line:
    try:
        return decode(line)
    except msgspec.DecodeError as error:
        raise ToolFault(f"{where}: {error}; make recordings with segs-edge record") from error


def registers(entries: list[Entry]) -> Iterator[tuple[int, int, int, list[int]]]:
    """Unit, function, address and words of every register read that was answered, oldest first."""
    for entry in entries:
        request, reply = bytes.fromhex(entry.request), bytes.fromhex(entry.reply or "")
        if len(request) != 5 or request[0] not in (3, 4) or not reply or reply[0] != request[0]:
            continue
        address, count = int.from_bytes(request[1:3], "big"), int.from_bytes(request[3:5], "big")
        data = reply[2:]
        if count and len(data) == 2 * count == reply[1]:
            words = [int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)]
            yield entry.unit, request[0], address, words
