"""Media types: what an endpoint does not speak is said, with what it does."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from fastapi import FastAPI, Request

from cloud.api.http.errors import NotAcceptable, UnsupportedMedia

_JSON = "application/json"


async def negotiate(request: Request) -> None:
    """Raises UnsupportedMedia for a body in another format, NotAcceptable where the client takes no format of ours.

    It waits for nothing; a function that says so is not given to a thread.
    """
    operation = _operation(request)
    if operation is None:
        return
    given = request.headers.get("content-type")
    # No Content-Type is taken for JSON's, as long as it is JSON.
    if given is not None and "requestBody" in operation and not _among(given, operation["requestBody"]["content"]):
        taken = ", ".join(operation["requestBody"]["content"])
        raise UnsupportedMedia(f"this endpoint takes {taken}", where="header.content-type")
    accepted = request.headers.get("accept")
    if accepted is not None and accepted != "*/*":
        offered = _offered(operation)
        if offered and not any(_accepts(accepted, media_type) for media_type in offered):
            raise NotAcceptable(f"this endpoint answers in {', '.join(offered)}", where="header.accept")


def _operation(request: Request) -> Mapping[str, Any] | None:
    path = getattr(request.scope.get("route"), "path_format", "")
    operations = cast(FastAPI, request.app).openapi()["paths"].get(path, {})
    return cast(Mapping[str, Any] | None, operations.get(request.method.lower()))


def _offered(operation: Mapping[str, Any]) -> list[str]:
    return [
        media_type
        for status, response in operation["responses"].items()
        if status.startswith("2")
        for media_type in response.get("content", {})
    ]


def _among(content_type: str, taken: Iterable[str]) -> bool:
    given = content_type.partition(";")[0].strip().lower()
    return given in taken or (_JSON in taken and given.startswith("application/") and given.endswith("+json"))


def _accepts(accept: str, media_type: str) -> bool:
    """RFC 9110, 12.5.1; the most specific range decides, and q=0 refuses."""
    kind = media_type.partition("/")[0]
    weights = {}
    for part in accept.split(","):
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        q = next((one[2:] for one in parameters if one.startswith("q=")), "1")
        weights[name] = re.fullmatch(r"0(\.0*)?", q) is None
    return next((weights[name] for name in (media_type, f"{kind}/*", "*/*") if name in weights), False)
