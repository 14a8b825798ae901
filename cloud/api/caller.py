"""Who asks: the access token of a request, and the request's own name."""

from datetime import UTC, datetime
from typing import Annotated, cast

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from cloud.api.database import Caller, Databases
from cloud.api.errors import Unauthenticated
from cloud.api.parts import Parts
from cloud.identity.errors import ExpiredToken, InvalidToken

_BEARER = HTTPBearer(auto_error=False, description="An access token, from login or refresh-token.")

# All of them are coroutines: anything else FastAPI runs in a thread, which costs more than the rest of a short answer.


async def parts(request: Request) -> Parts:
    """What the application was built of."""
    return _parts(request)


async def databases(request: Request) -> Databases:
    """Both databases."""
    return _parts(request).databases


async def request_id(request: Request) -> str:
    """The name of this request: the client's own where it gave a sensible one."""
    return _name(request)


async def now() -> datetime:
    """The time that this request is answered for."""
    return datetime.now(UTC)


async def address(request: Request) -> str | None:
    """Whom limits count for: the address that the connection comes from."""
    return request.client.host if request.client else None


async def user_agent(request: Request) -> str | None:
    """The program that asks, as it names itself."""
    return request.headers.get("user-agent")


async def caller(request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]) -> Caller:
    """Raises Unauthenticated. Whether the session still stands, the database says when a transaction begins."""
    if given is None:
        raise Unauthenticated("send an access token as Authorization: Bearer TOKEN")
    at = datetime.now(UTC)
    try:
        access = _parts(request).tokens.verify(given.credentials, now=at)
    except ExpiredToken:
        raise Unauthenticated("the access token is too old; refresh it") from None
    except InvalidToken:
        raise Unauthenticated("this is no access token of ours") from None
    return Caller(access=access, request_id=_name(request), now=at)


def _parts(request: Request) -> Parts:
    return cast(Parts, request.app.state.parts)


def _name(request: Request) -> str:
    return cast(str, request.state.request_id)


CallerIs = Annotated[Caller, Depends(caller)]
DatabasesAre = Annotated[Databases, Depends(databases)]
PartsAre = Annotated[Parts, Depends(parts)]
RequestId = Annotated[str, Depends(request_id)]
Now = Annotated[datetime, Depends(now)]
Address = Annotated[str | None, Depends(address)]
UserAgent = Annotated[str | None, Depends(user_agent)]
