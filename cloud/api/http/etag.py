"""ETags (RFC 9110, 8.8 and 13): of an answer that is polled and is still the same, 304 is sent and no body; of what is
changed it is said which one was read, so that nobody overwrites what they have not seen."""

import hashlib
from collections.abc import Mapping
from typing import Annotated, ClassVar

import msgspec
from fastapi import Depends, Header
from pydantic import BaseModel
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from cloud.api.http.envelope import problems
from cloud.api.http.errors import Problem


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
IfMatch = Annotated[
    str | None,
    Header(max_length=200, description="ETag of what is changed, as its GET has it; * for whatever it is now."),
]


class Unconditional(Problem):
    """A change that does not say what it changes."""

    status: ClassVar[int] = 428
    problem: ClassVar[str] = "precondition-required"


class Changed(Problem):
    """What was read is not what is there now."""

    status: ClassVar[int] = 412
    problem: ClassVar[str] = "precondition-failed"


def polled(*statuses: int) -> dict[int | str, dict[str, object]]:
    """The errors of an endpoint, and 304."""
    headers = {"ETag": {"description": "Of the answer that the client has.", "schema": {"type": "string"}}}
    unchanged: dict[str, object] = {"description": "Nothing has changed since If-None-Match.", "headers": headers}
    return {304: unchanged, **problems(*statuses)}


def answer(given: str | None, message: str, data: object, meta: Mapping[str, object] | None = None) -> Response:
    """The envelope around `data`, dataclasses and what JSON knows; times must have an offset."""
    return enveloped(message, data, meta).answer(given)


def enveloped(message: str, data: object, meta: Mapping[str, object] | None = None) -> "Tagged":
    """The same, for whoever may ask."""
    return Tagged(msgspec.json.encode({"success": True, "message": message, "data": data, "meta": meta}))


def tagged(given: str | None, body: bytes) -> Response:
    """`body`, JSON, or 304 where `given` names it."""
    return Tagged(body).answer(given)


class Tagged:
    """JSON, ready to be sent any number of times: an answer itself, to a request without If-None-Match."""

    __slots__ = ("_body", "_headers", "_tag")

    def __init__(self, body: bytes) -> None:
        self._body, self._tag = body, _tag(body)
        self._headers = tuple(self.answer(None).raw_headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """All of it, as answer(None) would send it."""
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})
        await send({"type": "http.response.body", "body": self._body})

    def answer(self, given: str | None) -> Response:
        """All of it, or 304."""
        headers = {"ETag": self._tag, "Cache-Control": "private, no-cache", "Vary": "Authorization"}
        if given is not None and _names(given, self._tag):
            return Response(status_code=304, headers=headers)
        return Response(self._body, headers=headers, media_type="application/json")


def _names(given: str, tag: str) -> bool:
    """RFC 9110, 13.1.2: the comparison is the weak one."""
    return given.strip() == "*" or any(part.strip().removeprefix("W/") == tag for part in given.split(","))


def tag(seen: BaseModel) -> str:
    """The strong ETag of what can be changed, whatever envelope it is sent in."""
    return _tag(seen.model_dump_json().encode())


def polled_one(given: str | None, answer: BaseModel, seen: BaseModel) -> Response:
    """`answer` with the ETag of `seen`, which is in it, or 304 where `given` names that."""
    headers = {"ETag": tag(seen), "Cache-Control": "private, no-cache", "Vary": "Authorization"}
    if given is not None and _names(given, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(answer.model_dump_json(by_alias=True), headers=headers, media_type="application/json")


def require_match(given: str | None, seen: BaseModel) -> None:
    """Raises Unconditional without If-Match, Changed where it names another representation."""
    if given is None:
        raise Unconditional("say what you change: send the ETag of its GET as If-Match", where="header.if-match")
    if given.strip() != "*" and tag(seen) not in [one.strip() for one in given.split(",")]:
        raise Changed("it was changed since you read it; read it again", where="header.if-match")


def _tag(body: bytes) -> str:
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
