"""Registration, proof of an address, passwords, sessions."""

from datetime import datetime
from typing import Annotated, Literal

import structlog
from fastapi import APIRouter
from pydantic import BaseModel, Field, SecretStr

from cloud.api.access import PUBLIC, SELF
from cloud.api.caller import Address, CallerIs, DatabasesAre, Now, PartsAre, RequestId, UserAgent
from cloud.api.database import Transaction
from cloud.api.envelope import Body, Done, Success, problems
from cloud.api.errors import (
    Busy,
    CodeRefused,
    CredentialsRefused,
    TooMany,
    Unauthenticated,
    WeakPasswordRefused,
)
from cloud.api.fields import Email, Name, Phone, Region
from cloud.api.limits import CODES, PROOFS, REFRESHES, REGISTRATIONS, take
from cloud.api.parts import Parts
from cloud.db.queries import Queries
from cloud.identity import otp, tokens
from cloud.identity.passwords import require_strong

router = APIRouter(prefix="/api/v1/auth", tags=["auth"])
_QUERIES = Queries("session")
_LOG = structlog.get_logger("segs.api")
_VERIFY = "verify_email"
_RETRY_S = 30
_SENT = "If this address waits for a code, one is on its way."

Otp = Annotated[SecretStr, Field(min_length=6, max_length=20, description="The code of six digits from the message.")]
Password = Annotated[
    SecretStr, Field(min_length=1, max_length=1024, description="10 to 256 characters, not a common one.")
]


class Registration(Body):
    """Who registers."""

    email: Email
    name: Name
    phone: Phone | None = None
    region: Region | None = None


class Registered(BaseModel):
    """The new account."""

    user_id: Annotated[int, Field(description="Number of the account.")]
    email: Annotated[str, Field(description="Its address.")]
    name: Annotated[str, Field(description="The name.")]
    email_verified: Annotated[bool, Field(description="Whether the address is proven: not yet.")]


class Registering(BaseModel):
    """What comes next."""

    user: Annotated[Registered, Field(description="The account.")]
    message: Annotated[str, Field(description="What to do next.")]
    otp: Annotated[str | None, Field(description="The code itself, in development only.")] = None


class Recipient(Body):
    """An address."""

    email: Email


class Sent(BaseModel):
    """Whether an account waits for a code is not told."""

    message: Annotated[str, Field(description="What to do next.")]
    otp: Annotated[str | None, Field(description="The code itself, in development only.")] = None


class Verification(Body):
    """Proof of an address."""

    email: Email
    otp: Otp


class Verified(BaseModel):
    """What the proof is good for."""

    email: Annotated[str, Field(description="The address.")]
    email_verified: Annotated[Literal[True], Field(description="It is proven.")] = True
    set_password_token: Annotated[str, Field(description="Lets set-password set the password, once.")]
    expires_in: Annotated[int, Field(description="How long it is good, s.")]


class NewPassword(Body):
    """A password, and the proof that it may be set."""

    token: Annotated[SecretStr, Field(min_length=1, max_length=200, description="set_password_token of verify-email.")]
    password: Password


class Credentials(Body):
    """Who logs in."""

    email: Email
    password: Password


class Person(BaseModel):
    """Who is logged in."""

    user_id: Annotated[int, Field(description="Number of the account.")]
    email: Annotated[str, Field(description="Its address.")]
    name: Annotated[str, Field(description="The name.")]
    role: Annotated[Literal["USER", "OPERATOR", "ADMIN"], Field(description="What the account may do.")]


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
    "/register",
    openapi_extra=PUBLIC,
    status_code=201,
    responses=problems(404, 422, 429),
    response_model_exclude_none=True,
)
async def register(
    body: Registration, databases: DatabasesAre, parts: PartsAre, name: RequestId, now: Now, address: Address
) -> Success[Registering]:
    """Register. A code is sent to the address; who knows it may set a password. An address that has an account is
    answered alike, and its owner is told."""
    await take(databases, REGISTRATIONS, address=address, request_id=name, now=now)
    async with databases.outside(name) as domain:
        made = await domain.row(_QUERIES["register"], {**body.model_dump(), "now": now})
        assert made is not None
        code = otp.generate()
        if made["user_id"] is not None:
            await _issue(domain, parts, made["user_id"], code, now)
    user = Registered(user_id=made["shown_id"], email=body.email, name=body.name, email_verified=False)
    told = "A code is on its way to the address. Give it to verify-email within 10 minutes."
    shown = Registering(user=user, message=told, otp=code if parts.identity.development else None)
    return Success(message="Registered.", data=shown)


@router.post("/resend-otp", openapi_extra=PUBLIC, responses=problems(422, 429), response_model_exclude_none=True)
async def resend_otp(
    body: Recipient, databases: DatabasesAre, parts: PartsAre, name: RequestId, now: Now, address: Address
) -> Success[Sent]:
    """Another code; the one before is void. At most 5 an hour, and wrong guesses go on counting."""
    await take(databases, CODES, address=address, request_id=name, now=now)
    async with databases.outside(name) as domain:
        code = otp.generate()
        user_id = await domain.value(_QUERIES["otp_subject"], {"email": body.email})
        if user_id is not None:
            await _issue(domain, parts, user_id, code, now)
    return Success(message=_SENT, data=Sent(message=_SENT, otp=code if parts.identity.development else None))


async def _issue(domain: Transaction, parts: Parts, user_id: int, code: str, now: datetime) -> None:
    keys = parts.keys.current()
    issued = await domain.value(
        _QUERIES["otp_issue"],
        {
            "user_id": user_id,
            "purpose": _VERIFY,
            "code_hash": otp.digest(keys, user_id=user_id, purpose=_VERIFY, code=code),
            "sealed_secret": keys.seal(code.encode(), f"code of user {user_id}"),
            "lifetime_s": parts.identity.otp_s,
            "now": now,
        },
    )
    if not issued:
        _LOG.warning("no more codes for now", user_id=user_id)


@router.post("/verify-email", openapi_extra=PUBLIC, responses=problems(CodeRefused, 422, 429))
async def verify_email(
    body: Verification, databases: DatabasesAre, parts: PartsAre, name: RequestId, now: Now, address: Address
) -> Success[Verified]:
    """Prove the address by the code that was sent to it."""
    await take(databases, CODES, address=address, request_id=name, now=now)
    token = tokens.generate()
    async with databases.outside(name) as domain:
        # Of an address that has no account the same is asked, and nothing is right.
        user_id = await domain.value(_QUERIES["otp_subject"], {"email": body.email}) or 0
        given = otp.digest(parts.keys.current(), user_id=user_id, purpose=_VERIFY, code=body.otp.get_secret_value())
        outcome = await domain.value(
            _QUERIES["verify_email"],
            {
                "user_id": user_id,
                "code_hash": given,
                "token_hash": tokens.digest(token),
                "lifetime_s": parts.identity.set_password_s,
                "now": now,
            },
        )
    if outcome != "right":
        raise CodeRefused(
            "the code is wrong or too old, or there were too many attempts; have a new one sent, or wait an hour",
            where="body.otp",
        )
    data = Verified(email=body.email, set_password_token=token, expires_in=parts.identity.set_password_s)
    return Success(message="The address is proven. Set a password.", data=data)


@router.post("/set-password", openapi_extra=PUBLIC, responses=problems(403, 422, WeakPasswordRefused, 429, Busy))
async def set_password(
    body: NewPassword, databases: DatabasesAre, parts: PartsAre, name: RequestId, now: Now, address: Address
) -> Success[Done]:
    """Set the password, by the proof that verify-email gave. All sessions end."""
    await take(databases, PROOFS, address=address, request_id=name, now=now)
    proof = {"token_hash": tokens.digest(body.token.get_secret_value()), "now": now}
    async with databases.outside(name) as domain:
        whose = await domain.row(_QUERIES["proof"], proof)
    assert whose is not None
    password = body.password.get_secret_value()
    require_strong(password, email=whose["email"], name=whose["name"])
    # Nobody waits for a row while a password is hashed.
    hashed = await parts.passwords.hash(password)
    async with databases.outside(name) as domain:
        await domain.value(_QUERIES["password_set"], {**proof, "password_hash": hashed})
    told = "The password is set. Log in with it."
    return Success(message=told, data=Done(message=told))


@router.post("/login", openapi_extra=PUBLIC, responses=problems(CredentialsRefused, 422, 429, Busy))
async def login(
    body: Credentials,
    databases: DatabasesAre,
    parts: PartsAre,
    name: RequestId,
    now: Now,
    address: Address,
    agent: UserAgent,
) -> Success[LoggedIn]:
    """Log in. Attempts are counted by address and by account."""
    async with databases.outside(name) as domain:
        found = await domain.row(_QUERIES["login_begin"], {"email": body.email, "address": address, "now": now})
    assert found is not None
    if found["retry_after_s"]:
        raise TooMany("too many attempts to log in", retry_after_s=found["retry_after_s"])
    verdict = await parts.passwords.verify(body.password.get_secret_value(), found["password_hash"])
    token, session = tokens.generate(), None
    if verdict.right:
        opened = {
            "user_id": found["user_id"],
            "password_hash": found["password_hash"],
            "token_hash": tokens.digest(token),
            "user_agent": agent,
            "address": address,
            "lifetime_s": parts.identity.refresh_token_s,
            "now": now,
        }
        async with databases.outside(name) as domain:
            session = await domain.row(_QUERIES["login_succeed"], opened)
    if session is None or session["family_id"] is None:
        raise CredentialsRefused("address and password do not fit together")
    access, said = parts.tokens.issue(
        user_id=found["user_id"], session_id=session["family_id"], role=session["role"], now=now
    )
    person = Person(user_id=found["user_id"], email=session["email"], name=session["name"], role=session["role"])
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
        "retry_s": _RETRY_S,
        "now": now,
    }
    async with databases.outside(name) as domain:
        session = await domain.row(_QUERIES["rotate"], asked)
    assert session is not None
    if session["outcome"] == "reused":
        _LOG.warning("a refresh token came again", user_id=session["user_id"], session=str(session["family_id"]))
    if session["outcome"] != "rotated":
        raise Unauthenticated("this session is over; log in again")
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
    async with databases.domain(caller) as domain:
        await domain.value(_QUERIES["logout"], ended)
    return Success(message="Logged out.", data=Done(message="This session is over."))


@router.post("/logout-all", openapi_extra=SELF, responses=problems(401))
async def logout_all(caller: CallerIs, databases: DatabasesAre) -> Success[Done]:
    """End all sessions of the account, this one too."""
    async with databases.domain(caller) as domain:
        await domain.value(_QUERIES["logout_all"], {"now": caller.now})
    return Success(message="Logged out everywhere.", data=Done(message="All sessions are over."))
