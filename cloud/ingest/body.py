"""The body of a request: read within its limits, decoded where it keeps nobody waiting."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import ParamSpec, TypeVar

from cloud.ingest import packed
from cloud.ingest.errors import BodyTooLarge, Malformed, Unavailable
from cloud.ingest.portion import Contents, contents
from contract.batch import BatchError
from contract.codec import JSON, MSGPACK, PACKED, Bounds, TooLarge, TooMany, checksum, decode, decompress

_Result = TypeVar("_Result")
_Given = ParamSpec("_Given")
# What takes longer than a millisecond or two is done beside the event loop, so that other batches go on meanwhile.
_MANY_BYTES = 2**20
_MANY_PACKED_BYTES = 2**18
_MANY_UNPACKED_BYTES = {PACKED: 2**14, MSGPACK: 2**19, JSON: 2**19}
_MANY_COLUMNS = 2000
# A number of one byte becomes one of eight in an array. One of MessagePack's nine, or of JSON's four, becomes an object
# of 24 and its place in a list before that.
_GROWTH = {PACKED: 9, MSGPACK: 6, JSON: 12}


async def read(body: AsyncIterator[bytes], declared_bytes: int | None, *, limit_bytes: int, timeout_s: float) -> bytes:
    """All of `body`. Raises BodyTooLarge, and Unavailable when it is not there in time."""
    if declared_bytes is not None and declared_bytes > limit_bytes:
        raise BodyTooLarge(f"body of {declared_bytes} bytes; the limit is {limit_bytes}")
    raw = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in body:
                raw += chunk
                if len(raw) > limit_bytes:
                    raise BodyTooLarge(f"body of more than {limit_bytes} bytes")
    except TimeoutError:
        raise Unavailable("the body did not arrive in time", retry_after_s=5) from None
    return bytes(raw)


async def plain(raw: bytes, encoding: str, *, limit_bytes: int) -> bytes:
    """`raw` without its content encoding. Raises BodyTooLarge and Malformed."""
    try:
        return await _aside(len(raw) > _MANY_BYTES, decompress, raw, encoding, limit_bytes)
    except TooLarge as error:
        raise BodyTooLarge(str(error)) from error
    except BatchError as error:
        raise Malformed(str(error), where=error.where) from error


def grown(plain_bytes: int, media_type: str) -> int:
    """What a body of `plain_bytes` takes in memory until it is committed, at most."""
    return plain_bytes * _GROWTH[media_type]


async def decoded(body: bytes, media_type: str, bounds: Bounds) -> tuple[Contents, str]:
    """What is in `body`, and its checksum. Raises BodyTooLarge and Malformed."""
    try:
        sha256 = await _aside(len(body) > _MANY_BYTES, checksum, body)
        if media_type == PACKED:
            found = await _aside(len(body) > _MANY_PACKED_BYTES, packed.read, body, bounds)
            if found is not None:
                return found, sha256
        batch = await _aside(len(body) > _MANY_UNPACKED_BYTES[media_type], decode, body, media_type, bounds)
        return await _aside(batch.columns > _MANY_COLUMNS, contents, batch), sha256
    except TooMany as error:
        raise BodyTooLarge(str(error)) from error
    except BatchError as error:
        raise Malformed(str(error), where=error.where) from error


async def _aside(aside: bool, work: Callable[_Given, _Result], *args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
    if aside:
        return await asyncio.to_thread(work, *args, **kwargs)
    return work(*args, **kwargs)
