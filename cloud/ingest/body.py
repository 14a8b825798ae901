"""The body of a request: read within its limits, decoded where it keeps nobody waiting."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import ParamSpec, TypeVar

from cloud.ingest.errors import BodyTooLarge, Malformed, Unavailable
from contract.batch import Batch, BatchError
from contract.codec import PACKED, Bounds, TooLarge, TooMany, checksum, decode, decompress

_Result = TypeVar("_Result")
_Given = ParamSpec("_Given")
# What takes longer than a millisecond or two is done beside the event loop, so that other batches go on meanwhile.
_MANY_BYTES = 2**20
_MANY_PACKED_BYTES = 2**14


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


async def decoded(body: bytes, media_type: str, bounds: Bounds) -> tuple[Batch, str]:
    """The batch in `body` and its checksum. Raises BodyTooLarge and Malformed."""
    many = len(body) > (_MANY_PACKED_BYTES if media_type == PACKED else _MANY_BYTES)
    try:
        return await _aside(many, _decoded, body, media_type, bounds)
    except TooMany as error:
        raise BodyTooLarge(str(error)) from error
    except BatchError as error:
        raise Malformed(str(error), where=error.where) from error


def _decoded(body: bytes, media_type: str, bounds: Bounds) -> tuple[Batch, str]:
    return decode(body, media_type, bounds), checksum(body)


async def _aside(aside: bool, work: Callable[_Given, _Result], *args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
    if aside:
        return await asyncio.to_thread(work, *args, **kwargs)
    return work(*args, **kwargs)
