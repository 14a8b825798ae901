"""Errors as RFC 9457 problem+json, with types that do not change."""

from collections.abc import Mapping, Sequence

import msgspec
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


def problem_response(
    status: int,
    problem: str,
    detail: str,
    *,
    where: str | None = None,
    errors: Sequence[Mapping[str, object]] = (),
    retry_after_s: int | None = None,
) -> Response:
    """`problem` is the type's short name; clients may rely on it, and on `where` when a body is to blame."""
    content: dict[str, object] = {"type": f"urn:segs:problem:{problem}", "status": status, "detail": detail}
    if where is not None:
        content["where"] = where
    if errors:
        content["errors"] = errors
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(msgspec.json.encode(content), status, headers, MEDIA_TYPE)
