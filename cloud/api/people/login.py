"""Login and its tokens."""

from typing import Annotated, Literal

import structlog
from fastapi import APIRouter
from pydantic import BaseModel, Field, SecretStr

from cloud.api.access import PUBLIC, SELF
from cloud.api.caller import Address, CallerIs, DatabasesAre, Known, Now, PartsAre, RequestId, UserAgent
from cloud.api.http.envelope import Body, Done, Success, problems
from cloud.api.http.errors import (
    Busy,
    CredentialsRefused,
    SecondFactorRefused,
    SecondFactorRequired,
    TooMany,
    Unauthenticated,
)
from cloud.api.http.fields import Email
from cloud.api.http.limits import LOGINS, REFRESHES, client, say, take
from cloud.api.http.pace import REFUSED_S
from cloud.api.people.proof import Password, Totp, code_of, require_factor
from cloud.db.queries import Queries
from cloud.identity import tokens
from cloud.identity.errors import TooBusy

router = APIRouter(prefix="/api/v1/auth", tags=["auth"])
_QUERIES = Queries("session")
_LOG = structlog.get_logger("segs.api")
_REFUSED = "address and password do not fit together"


class Credentials(Body):
    """Who logs in."""

    email: Email
    password: Password
    totp: Totp | None = None


class Person(BaseModel):
    """Who is logged in."""

    user_id: Annotated[int, Field(description="Number of the account.")]
    email: Annotated[str, Field(description="Its address.")]
    name: Annotated[str, Field(description="The name.")]
    role: Annotated[Literal["USER", "OPERATOR", "ADMIN"], Field(description="What the account may do.")]
    second_factor: Annotated[
        Literal["on", "off", "missing"],
        Field(description="missing: the role asks for one, and nothing else is answered until it is set up."),
    ]


class Tokens(BaseModel):
    """Tokens of a session."""

    access_token: Annotated[str, Field(description="For the header Authorization: Bearer.")]
    refresh_token: Annotated[str, Field(description="For refresh-token, once.")]
    expires_in: Annotated[int, Field(description="How long the access token is good, s.")]
    token_type: Annotated[Literal["Bearer"], Field(description="How the access token is sent.")] = "Bearer"


class LoggedIn(Tokens):
    """Tokens, and whose they are."""

    user: Annotated[Person, Field(description="Who is logged in.")]


class Refresh(Body):
    """A refresh token."""

    refresh_token: Annotated[SecretStr, Field(min_length=1, max_length=200, description="The last one of the session.")]


@router.post(
    "/login",
    openapi_extra=PUBLIC,
    responses=problems(CredentialsRefused, SecondFactorRequired, SecondFactorRefused, 422, 429, Busy),
)
async def login(
    body: Credentials,
    databases: DatabasesAre,
    parts: PartsAre,
    name: RequestId,
    now: Now,
    address: Address,
    agent: UserAgent,
    known: Known,
) -> Success[LoggedIn]:
    """Log in. Attempts are counted by address and by account; where somebody has logged in before, apart from those of
    strangers, who can lock out none but themselves. Where there is a second factor, `totp` is wanted: first log in
    without it, and the answer says so."""
    try:
        async with parts.logins.of(client(address)), databases.outside(name) as domain:
            found = await domain.row(_QUERIES["login_begin"], {"email": body.email, "address": address, "now": now})
    except TooBusy:
        await parts.pace.hold(REFUSED_S)
        raise TooMany("too many attempts at once to log in", retry_after_s=1) from None
    assert found is not None
    say(LOGINS, found["remaining"])
    if found["retry_after_s"]:
        await parts.pace.hold(REFUSED_S)
        raise TooMany("too many attempts to log in", retry_after_s=found["retry_after_s"])
    password = body.password.get_secret_value()
    verdict = await parts.passwords.verify(password, found["password_hash"], whose=client(address))
    if not verdict.right:
        raise CredentialsRefused(_REFUSED)
    token = tokens.generate()
    opened = {
        **code_of(parts.keys.current(), found["user_id"], found["sealed_secret"], body.totp, now),
        "user_id": found["user_id"],
        "password_hash": found["password_hash"],
        "token_hash": tokens.digest(token),
        "user_agent": agent,
        "address": address,
        "lifetime_s": parts.identity.refresh_token_s,
        "now": now,
        # Hashed with other parameters than are asked for today; now the password is at hand.
        "new_hash": await parts.passwords.hash(password, whose=client(address)) if verdict.outdated else None,
    }
    async with databases.outside(name) as domain:
        session = await domain.row(_QUERIES["login_succeed"], opened)
    assert session is not None
    require_factor(session["outcome"].removeprefix("second_factor_"), session["retry_after_s"])
    if session["outcome"] != "opened":
        raise CredentialsRefused(_REFUSED)
    known(found["user_id"])
    access, said = parts.tokens.issue(
        user_id=found["user_id"], session_id=session["family_id"], role=session["role"], now=now
    )
    person = Person.model_validate({**session, "user_id": found["user_id"]})
    lifetime_s = round((said.expires_at - said.issued_at).total_seconds())
    given = LoggedIn(access_token=access, refresh_token=token, expires_in=lifetime_s, user=person)
    return Success(message="Logged in.", data=given)


@router.post("/refresh-token", openapi_extra=PUBLIC, responses=problems(401, 422, 429))
async def refresh_token(
    body: Refresh,
    databases: DatabasesAre,
    parts: PartsAre,
    name: RequestId,
    now: Now,
    address: Address,
    agent: UserAgent,
    known: Known,
) -> Success[Tokens]:
    """Exchange a refresh token for new tokens. Who lost the answer may ask again within 30 s and gets the same one; a
    token that comes again after that ends the session."""
    await take(databases, REFRESHES, address=address, request_id=name, now=now)
    old = body.refresh_token.get_secret_value()
    new = tokens.successor(parts.keys.current(), old)
    asked = {
        "token_hash": tokens.digest(old),
        "next_hash": tokens.digest(new),
        "user_agent": agent,
        "address": address,
        "lifetime_s": parts.identity.refresh_token_s,
        "retry_s": tokens.REFRESH_RETRY_S,
        "now": now,
    }
    async with databases.outside(name) as domain:
        session = await domain.row(_QUERIES["rotate"], asked)
    assert session is not None
    if session["outcome"] == "reused":
        _LOG.warning("a refresh token came again", user_id=session["user_id"], session=str(session["family_id"]))
    if session["outcome"] != "rotated":
        raise Unauthenticated("this session is over; log in again")
    known(session["user_id"])
    access, said = parts.tokens.issue(
        user_id=session["user_id"], session_id=session["family_id"], role=session["role"], now=now
    )
    lifetime_s = round((said.expires_at - said.issued_at).total_seconds())
    return Success(message="Refreshed.", data=Tokens(access_token=access, refresh_token=new, expires_in=lifetime_s))


@router.post("/logout", openapi_extra=SELF, responses=problems(401))
async def logout(caller: CallerIs, databases: DatabasesAre) -> Success[Done]:
    """End this session; its tokens are refused from now on."""
    ended = {
        "family_id": caller.family_id,
        "jti": caller.access.token_id,
        "token_expires_at": caller.access.expires_at,
        "now": caller.now,
    }
    async with databases.domain(caller, limited=True) as domain:
        await domain.value(_QUERIES["logout"], ended)
    return Success(message="Logged out.", data=Done(message="This session is over."))


@router.post("/logout-all", openapi_extra=SELF, responses=problems(401))
async def logout_all(caller: CallerIs, databases: DatabasesAre) -> Success[Done]:
    """End all sessions of the account, this one too."""
    async with databases.domain(caller, limited=True) as domain:
        await domain.value(_QUERIES["logout_all"], {"now": caller.now})
    return Success(message="Logged out everywhere.", data=Done(message="All sessions are over."))
