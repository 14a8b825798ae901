"""Answers that are polled: with an ETag, and 304 without a body while it is still the same."""

import hashlib
from collections.abc import Mapping
from typing import Annotated

import msgspec
from fastapi import Depends, Header
from starlette.responses import Response

from cloud.api.envelope import problems


async def _if_none_match(
    given: Annotated[
        str | None,
        Header(
            alias="If-None-Match",
            max_length=1000,
            description="ETag of the answer that the client has; 304 if it is still right.",
        ),
    ] = None,
) -> str | None:
    return given


IfNoneMatch = Annotated[str | None, Depends(_if_none_match)]


def polled(*statuses: int) -> dict[int | str, dict[str, object]]:
    """The errors of an endpoint, and 304."""
    headers = {"ETag": {"description": "Of the answer that the client has.", "schema": {"type": "string"}}}
    unchanged: dict[str, object] = {"description": "Nothing has changed since If-None-Match.", "headers": headers}
    return {304: unchanged, **problems(*statuses)}


def answer(given: str | None, message: str, data: object, meta: Mapping[str, object] | None = None) -> Response:
    """The envelope around `data`, dataclasses and what JSON knows; times must have an offset."""
    body: dict[str, object] = {"success": True, "message": message, "data": data, "meta": meta}
    return tagged(given, msgspec.json.encode(body))


def tagged(given: str | None, body: bytes) -> Response:
    """`body`, JSON, or 304 where `given` names it."""
    tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Authorization"}
    if given is not None and _names(given, tag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


def _names(given: str, tag: str) -> bool:
    """RFC 9110, 13.1.2: the comparison is the weak one."""
    return given.strip() == "*" or any(part.strip().removeprefix("W/") == tag for part in given.split(","))
