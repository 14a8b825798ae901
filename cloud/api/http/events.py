"""Server-sent events (WHATWG HTML, 9.2): how they are written, and where a client that comes back goes on."""

import asyncio
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error
from typing import Annotated

from fastapi import Depends, Header

from cloud.api.http.errors import Malformed

MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
HEARTBEAT_S = 15.0
"""So often something comes, a comment at least."""
ANEW = "begin without an id"
NO_CURSOR = f"this is no id of an event of this service, or of a database that was replaced; {ANEW}"
RETRY = b"retry: 2000\n"
"""First of all: after how many ms a client comes back."""
_CURSOR = re.compile(r"[-0-9@:,/]{1,6000}")


async def _last_event_id(
    given: Annotated[
        str | None,
        Header(
            alias="Last-Event-ID",
            max_length=8000,
            description="Id of the last event that the client has.",
            examples=["NzQxMjM0NTY3ODkwMTIzNDU2N0AxMDA6MTAwOg"],
        ),
    ] = None,
) -> str | None:
    return given


LastEventId = Annotated[str | None, Depends(_last_event_id)]


def event(name: str, data: bytes, cursor: str | None = None) -> bytes:
    """An event; with `cursor`, who has it may go on there."""
    head = f"event: {name}\n" + ("" if cursor is None else f"id: {_id(cursor)}\n")
    return head.encode() + b"data: " + data + b"\n\n"


def comment(text: str, cursor: str) -> bytes:
    """What no client shows, and who has it may go on at `cursor`."""
    return f": {text}\nid: {_id(cursor)}\n\n".encode()


def cursor_of(given: str) -> str:
    """The cursor that an event's id stands for. Raises Malformed."""
    try:
        text = urlsafe_b64decode(given.encode() + b"=" * (-len(given) % 4)).decode("ascii")
    except (Error, ValueError):
        text = ""
    if not _CURSOR.fullmatch(text):
        raise Malformed(NO_CURSOR, where="header.Last-Event-ID")
    return text


async def stopped(stopping: asyncio.Event, pause_s: float) -> None:
    """Until then, or for the pause between two looks."""
    try:
        async with asyncio.timeout(pause_s):
            await stopping.wait()
    except TimeoutError:
        pass


def _id(cursor: str) -> str:
    return urlsafe_b64encode(cursor.encode()).rstrip(b"=").decode()
