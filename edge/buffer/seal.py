"""Numbers that rows have of their other values: of an altered one SQLite's check says nothing, and a time is a time.

Bodies have checksums of their own.
"""

import zlib

import msgspec

_ENCODER = msgspec.msgpack.Encoder()


def _seal(*values: object) -> int:
    """Of `values` as SQLite gives them back: 32 bits, so that damage is as good as never taken for what was written."""
    return zlib.crc32(_ENCODER.encode(values))


def segment_seal(row_id: int, boot: int, offset_us: int, level: int, readings: int, first_us: int, last_us: int) -> int:
    return _seal("segment", row_id, boot, offset_us, level, readings, first_us, last_us)


def boot_seal(row_id: int, boot_id: str, offset_us: int | None) -> int:
    return _seal("boot", row_id, boot_id, offset_us)


def batch_seal(
    seq: int,
    first_id: int | None,
    last_id: int | None,
    true_us: int | None,
    readings: int,
    first_us: int,
    last_us: int,
    sha256: bytes,
) -> int:
    return _seal("batch", seq, first_id, last_id, true_us, readings, first_us, last_us, sha256)
