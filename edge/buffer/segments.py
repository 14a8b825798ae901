"""Bodies of segments and batches: readings to bytes and back, and what is left of them when space runs out."""

from collections.abc import Iterable, Sequence

import msgspec
import zstandard

from contract.batch import Batch, DeviceBlock
from contract.codec import MSGPACK, checksum, compress, encode
from contract.quantities import BY_NAME, Kind
from edge.errors import EdgeError
from edge.reading import Reading

ENCODING = "zstd"
QUARTER_HOUR_US = 900_000_000

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[Reading])


class DamagedSegment(EdgeError):
    """A body that is no longer what was written: a worn flash card gives back other bytes."""


def pack(readings: Sequence[Reading]) -> bytes:
    """`readings` as the body of a segment. The names of quantities repeat, and cost next to nothing after zstd."""
    return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(_ENCODER.encode(readings))


def unpack(body: bytes) -> list[Reading]:
    """The readings in `body`. Raises DamagedSegment."""
    try:
        return _DECODER.decode(zstandard.ZstdDecompressor().decompress(body))
    except (zstandard.ZstdError, msgspec.DecodeError, UnicodeDecodeError, MemoryError) as error:
        raise DamagedSegment(str(error)) from error


def span(readings: Iterable[Reading]) -> tuple[int, int]:
    """First and last time of `readings`, which are not empty, in microseconds."""
    times = [reading.time_us for reading in readings]
    return min(times), max(times)


class CutBatch(msgspec.Struct, frozen=True):
    """A batch ready to be sent: `body` is the encoded batch of checksum `sha256` under `encoding`."""

    seq: int
    readings: int
    first_us: int
    last_us: int
    sha256: str
    media_type: str
    encoding: str
    body: bytes


def cut(readings: Sequence[Reading], *, stream: str, seq: int) -> CutBatch:
    """The batch `seq` of `stream` with `readings`, columnar per device, in the order in which they were read."""
    by_device: dict[str, list[Reading]] = {}
    for reading in readings:
        by_device.setdefault(reading.device, []).append(reading)
    blocks = [_block(device, rows) for device, rows in by_device.items()]
    body = encode(Batch(version=1, stream=stream, seq=seq, devices=blocks), MSGPACK)
    first_us, last_us = span(readings)
    return CutBatch(seq, len(readings), first_us, last_us, checksum(body), MSGPACK, ENCODING, compress(body, ENCODING))


def _block(device: str, rows: Sequence[Reading]) -> DeviceBlock:
    names = dict.fromkeys(name for row in rows for name in row.values)
    flags = [row.flags for row in rows]
    return DeviceBlock(
        device=device,
        time_us=[row.time_us for row in rows],
        values={name: [row.values.get(name) for row in rows] for name in names},
        flags=flags if any(flags) else None,
        interval_ms=rows[-1].interval_ms,
    )


def thin(readings: Iterable[Reading]) -> list[Reading]:
    """The energy registers of `readings` at the end of each quarter of an hour, per device; the rest is given up.

    Kept is the last read in each quarter, at the time when it was read: a register read late still tells the energy
    up to it, and nothing is interpolated here.
    """
    kept: dict[tuple[str, int], Reading] = {}
    for reading in readings:
        registers = {name: value for name, value in reading.values.items() if BY_NAME[name].kind is Kind.CUMULATIVE}
        key = (reading.device, reading.time_us // QUARTER_HOUR_US)
        if registers and (key not in kept or kept[key].time_us <= reading.time_us):
            kept[key] = msgspec.structs.replace(reading, values=registers)
    return sorted(kept.values(), key=lambda reading: (reading.time_us, reading.device))
