"""Who asks: the access token of a request, and the request's own name."""

import ipaddress
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, cast

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.types import Scope

from cloud.api.database import Caller, Databases
from cloud.api.http.errors import Unauthenticated
from cloud.api.parts import Parts
from cloud.identity.errors import ExpiredToken, InvalidToken

_BEARER = HTTPBearer(auto_error=False, description="An access token, from login or refresh-token.")


def parts(request: Request) -> Parts:
    """What the application was built of."""
    return cast(Parts, request.app.state.parts)


def databases(request: Request) -> Databases:
    """Both databases."""
    return parts(request).databases


def request_id(request: Request) -> str:
    """The name of this request: the client's own where it gave a sensible one."""
    return cast(str, request.state.request_id)


def now() -> datetime:
    """The time that this request is answered for."""
    return datetime.now(UTC)


def address(request: Request) -> str | None:
    """Whom limits count for: the address that the connection comes from, or that a proxy which is trusted names.

    An IPv4 address is one, also where the socket speaks IPv6; what is no address, as an odd proxy may say, is None.
    """
    try:
        found = ipaddress.ip_address(request.client.host.partition("%")[0] if request.client else "")
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


def user_agent(request: Request) -> str | None:
    """The program that asks, as it names itself."""
    return request.headers.get("user-agent")


async def caller(request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]) -> Caller:
    """As identified()."""
    if given is None:
        raise Unauthenticated("send an access token as Authorization: Bearer TOKEN")
    return identified(parts(request), request.scope, given.credentials)


def identified(parts: Parts, scope: Scope, token: str) -> Caller:
    """Who sent the request with `token`. Raises Unauthenticated, and TooMany. Whether the session still stands, the
    database says when a transaction begins."""
    at = now()
    try:
        access = parts.tokens.verify(token, now=at)
    except ExpiredToken:
        raise Unauthenticated("the access token is too old; refresh it") from None
    except InvalidToken:
        raise Unauthenticated("this is no access token of ours") from None
    scope["state"]["user_id"] = access.user_id
    parts.requests.of_account(access.user_id)
    return Caller(access=access, request_id=scope["state"]["request_id"], now=at)


# FastAPI gives a function that does not wait to a thread, which takes longer than any of these.
async def _parts(request: Request) -> Parts:
    return parts(request)


async def _databases(request: Request) -> Databases:
    return databases(request)


async def _request_id(request: Request) -> str:
    return request_id(request)


async def _now() -> datetime:
    return now()


async def _address(request: Request) -> str | None:
    return address(request)


async def _user_agent(request: Request) -> str | None:
    return user_agent(request)


async def _known(request: Request) -> Callable[[int], None]:
    def known(user_id: int) -> None:
        request.state.user_id = user_id

    return known


CallerIs = Annotated[Caller, Depends(caller)]
DatabasesAre = Annotated[Databases, Depends(_databases)]
PartsAre = Annotated[Parts, Depends(_parts)]
RequestId = Annotated[str, Depends(_request_id)]
Now = Annotated[datetime, Depends(_now)]
Address = Annotated[str | None, Depends(_address)]
UserAgent = Annotated[str | None, Depends(_user_agent)]
Known = Annotated[Callable[[int], None], Depends(_known)]
"""Says, to the log, whose request it is that came without an access token."""
