"""Bytes of a batch: packed, JSON or MessagePack; identity, gzip or zstd. The same names as in HTTP's headers."""

import gzip
import hashlib
import zlib
from collections.abc import Callable
from typing import Annotated, Literal

import msgspec
import zstandard

from contract.batch import Batch, BatchError
from contract.notes import Note
from contract.packed import MOST_DEVICES, Group, pack, unpack
from contract.terms import Seq

JSON = "application/json"
MSGPACK = "application/msgpack"
PACKED = "application/vnd.segs.packed"
MEDIA_TYPES = (PACKED, MSGPACK, JSON)
ENCODINGS = ("zstd", "gzip", "identity")
# Groups are sets of quantities. A reader's memory for one is fifty times its smallest form.
MOST_GROUPS = 100_000


class _Packed(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """A batch of version 2 in its packed form."""

    version: Literal[2]
    stream: str
    seq: Seq
    notes: list[Note]
    groups: Annotated[list[Group], msgspec.Meta(max_length=MOST_GROUPS)]


class _DeviceOutline(msgspec.Struct):
    """`DeviceBlock`, its columns passed over."""

    time_us: msgspec.Raw
    values: msgspec.Raw


class _Outline(msgspec.Struct):
    """`Batch`, as far as it says how large it is."""

    devices: Annotated[list[_DeviceOutline], msgspec.Meta(max_length=MOST_DEVICES)]


_packed_encoder, _packed_decoder = msgspec.msgpack.Encoder(), msgspec.msgpack.Decoder(_Packed)


def encode_packed(stream: str, seq: int, notes: list[Note], groups: list[Group]) -> bytes:
    """The packed form of a batch whose readings are packed already."""
    return _packed_encoder.encode(_Packed(2, stream, seq, notes, groups))


def _encode_packed(batch: Batch) -> bytes:
    return encode_packed(batch.stream, batch.seq, batch.notes, pack(batch.devices))


def _decode_packed(body: bytes, bounds: "Bounds | None" = None) -> Batch:
    found = _packed_decoder.decode(body)
    if bounds is not None:
        # What a few bytes stand for takes many once it is unpacked.
        bounds.check(sum(group.readings for group in found.groups), sum(group.device_columns for group in found.groups))
    return Batch(version=2, stream=found.stream, seq=found.seq, devices=unpack(found.groups, "$[4]"), notes=found.notes)


_ENCODERS: dict[str, Callable[[Batch], bytes]] = {
    JSON: msgspec.json.Encoder().encode,
    MSGPACK: msgspec.msgpack.Encoder().encode,
    PACKED: _encode_packed,
}
_DECODERS: dict[str, Callable[[bytes], Batch]] = {
    JSON: msgspec.json.Decoder(Batch).decode,
    MSGPACK: msgspec.msgpack.Decoder(Batch).decode,
}
_OUTLINES: dict[str, Callable[[bytes], _Outline]] = {
    JSON: msgspec.json.Decoder(_Outline).decode,
    MSGPACK: msgspec.msgpack.Decoder(_Outline).decode,
}
# A column takes thirty times its smallest form: larger bodies are measured before they are decoded.
_MEASURED_BYTES = 2**18
# A zstd block of 4 bytes may expand to 128 KiB: input is fed in slices this small, so that no more than 16 MiB can
# come out between two looks at the limit.
_ZSTD_SLICE = 512


class TooLarge(ValueError):
    """A body that grows past `limit_bytes` when decompressed; nothing beyond the limit was held in memory."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"decompressed body exceeds {limit_bytes} bytes; send smaller batches")
        self.limit_bytes = limit_bytes


class TooMany(ValueError):
    """A batch of more than its reader takes."""


class Bounds(msgspec.Struct, frozen=True):
    """What a reader takes: so many readings, so many columns of devices."""

    readings: int
    columns: int

    def check(self, readings: int, columns: int) -> None:
        """Raises TooMany."""
        if readings > self.readings:
            raise TooMany(f"{readings} readings; the limit is {self.readings}")
        if columns > self.columns:
            raise TooMany(f"{columns} columns of devices; the limit is {self.columns}")


def checksum(body: bytes) -> str:
    """SHA-256 of an encoded, uncompressed batch, in hexadecimal."""
    return hashlib.sha256(body).hexdigest()


def encode(batch: Batch, media_type: str = MSGPACK) -> bytes:
    """`batch` as bytes of `media_type`, the packed form always as version 2.

    JSON has no NaN: encode such values as null or use another.
    """
    return _ENCODERS[media_type](batch)


def decode(body: bytes, media_type: str, bounds: Bounds | None = None) -> Batch:
    """The batch in `body`, checked against the contract, and unpacked if it is within `bounds`.

    Raises BatchError, which says where and what was found, and TooMany.
    """
    try:
        if media_type == PACKED:
            return _decode_packed(body, bounds)
        if bounds is not None and len(body) > _MEASURED_BYTES:
            _measure(body, media_type, bounds)
        batch = _DECODERS[media_type](body)
        if bounds is not None:
            bounds.check(batch.readings, batch.columns)
        return batch
    except (BatchError, TooMany):
        raise
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, BatchError):
            raise error.__cause__ from None
        found, _, _ = str(error).partition(" - at `")
        # A key of a map is `key` in `$.path`.
        where = "$" + str(error).rpartition("`$")[2].rstrip("`") if "`$" in str(error) else "$"
        raise BatchError(where, found, "send a batch of version 1 or 2") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BatchError("$", str(error), f"send well-formed {media_type}") from error


def _measure(body: bytes, media_type: str, bounds: Bounds) -> None:
    """Raises TooMany where the outline of `body` says more than `bounds`, and msgspec's errors."""
    devices = _OUTLINES[media_type](body).devices
    count = _listed if media_type == JSON else _announced
    bounds.check(
        sum(count(device.time_us, b",", 1) for device in devices),
        sum(1 + count(device.values, b"[", 0) for device in devices),
    )


def _listed(raw: msgspec.Raw, mark: bytes, more: int) -> int:
    """How many items a JSON array or object has by its marks, and `more` where there are any."""
    text = bytes(raw)
    return text.count(mark) + more if len(text) > 2 else 0


def _announced(raw: msgspec.Raw, mark: bytes, more: int) -> int:
    """How many items a MessagePack array or map says that it has; 0 where it is neither."""
    head = bytes(memoryview(raw)[:5])
    if 0x80 <= head[0] <= 0x9F:
        return head[0] & 0x0F
    size = {0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}.get(head[0], 0)
    return int.from_bytes(head[1 : 1 + size], "big")


def compress(body: bytes, encoding: str) -> bytes:
    """`body` under a content encoding of `ENCODINGS`."""
    if encoding == "zstd":
        return zstandard.ZstdCompressor(level=3).compress(body)
    if encoding == "gzip":
        return gzip.compress(body, compresslevel=6, mtime=0)
    return body


def decompress(body: bytes, encoding: str, limit_bytes: int) -> bytes:
    """`body` without its content encoding.

    Raises TooLarge as soon as the output passes `limit_bytes`, BatchError when the stream is corrupt, cut short or
    followed by anything.
    """
    try:
        if encoding == "zstd":
            return _bounded_zstd(body, limit_bytes)
        if encoding == "gzip":
            return _bounded_gzip(body, limit_bytes)
    except (zlib.error, zstandard.ZstdError) as error:
        raise BatchError("body", str(error), f"send a complete {encoding} stream") from error
    if len(body) > limit_bytes:
        raise TooLarge(limit_bytes)
    return body


def _bounded_zstd(body: bytes, limit_bytes: int) -> bytes:
    stream = zstandard.ZstdDecompressor(max_window_size=2**27).decompressobj()
    out = bytearray()
    for start in range(0, len(body), _ZSTD_SLICE):
        out += stream.decompress(body[start : start + _ZSTD_SLICE])
        if len(out) > limit_bytes:
            raise TooLarge(limit_bytes)
        if stream.eof:
            _nothing_after(len(stream.unused_data) + max(0, len(body) - start - _ZSTD_SLICE))
            return bytes(out)
    raise BatchError("body", "the zstd stream is cut short", "send it whole")


def _bounded_gzip(body: bytes, limit_bytes: int) -> bytes:
    stream = zlib.decompressobj(wbits=31)
    out = stream.decompress(body, limit_bytes + 1)
    if len(out) > limit_bytes:
        raise TooLarge(limit_bytes)
    if not stream.eof:
        raise BatchError("body", "the gzip stream is cut short", "send it whole")
    _nothing_after(len(stream.unused_data))
    return out


def _nothing_after(rest: int) -> None:
    if rest > 0:
        raise BatchError("body", f"{rest} bytes follow the compressed stream", "send one frame")
