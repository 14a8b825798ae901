"""Registration, proof of an address, and the first password."""

from typing import Annotated, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field, SecretStr

from cloud.api.access import PUBLIC
from cloud.api.caller import Address, DatabasesAre, Now, PartsAre, RequestId
from cloud.api.http.envelope import Body, Done, Success, problems
from cloud.api.http.errors import (
    Busy,
    CodeRefused,
    WeakPasswordRefused,
)
from cloud.api.http.fields import Email, Name, Phone, Region
from cloud.api.http.idempotency import ONCE, OnceIs
from cloud.api.http.limits import CODES, PROOFS, REGISTRATIONS, client, take
from cloud.api.http.pace import even
from cloud.api.people import codes
from cloud.api.people.codes import Otp, Recipient, Sent
from cloud.api.people.proof import Password
from cloud.db.queries import Queries
from cloud.identity import otp, tokens
from cloud.identity.passwords import require_strong

router = APIRouter(prefix="/api/v1/auth", tags=["auth"])
_QUERIES = Queries("session")
_VERIFY = "verify_email"


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


@router.post(
    "/register",
    openapi_extra=PUBLIC,
    status_code=201,
    responses=problems(404, 409, 422, 429, *ONCE),
    response_model_exclude_none=True,
)
@even
async def register(
    body: Registration,
    databases: DatabasesAre,
    parts: PartsAre,
    name: RequestId,
    now: Now,
    address: Address,
    once: OnceIs,
) -> Success[Registering]:
    """Register. A code is sent to the address; who knows it may set a password. An address that has an account is
    answered alike, and its owner is told. Whoever registers an address that nobody has proven yet gets a code of their
    own, and voids nobody else's: the code that is given to verify-email decides whose details count."""
    await take(databases, REGISTRATIONS, address=address, request_id=name, now=now)
    async with databases.outside(name) as domain:

        async def make() -> Success[Registering]:
            made = await domain.row(_QUERIES["register"], {**body.model_dump(), "now": now})
            assert made is not None
            code = otp.generate()
            if made["user_id"] is not None:
                details = body.model_dump(include={"name", "phone", "region"})
                await codes.issue(
                    domain,
                    parts,
                    user_id=made["user_id"],
                    purpose=_VERIFY,
                    code=code,
                    now=now,
                    address=address,
                    details=details,
                )
            user = Registered(user_id=made["shown_id"], email=body.email, name=body.name, email_verified=False)
            told = "A code is on its way to the address. Give it to verify-email within 10 minutes."
            shown = Registering(user=user, message=told, otp=code if parts.identity.development else None)
            return Success(message="Registered.", data=shown)

        return await once.answer(domain, Success[Registering], make)


@router.post("/resend-otp", openapi_extra=PUBLIC, responses=problems(422, 429), response_model_exclude_none=True)
@even
async def resend_otp(
    body: Recipient, databases: DatabasesAre, parts: PartsAre, name: RequestId, now: Now, address: Address
) -> Success[Sent]:
    """Another code; the one that was asked for from here before is void. At most 5 an hour, and wrong guesses go on
    counting."""
    await take(databases, CODES, address=address, request_id=name, now=now)
    async with databases.outside(name) as domain:
        code = otp.generate()
        user_id = await codes.subject(domain, body.email, _VERIFY)
        if user_id is not None:
            await codes.issue(domain, parts, user_id=user_id, purpose=_VERIFY, code=code, now=now, address=address)
    return Success(message=codes.SENT, data=codes.sent(parts, code))


@router.post("/verify-email", openapi_extra=PUBLIC, responses=problems(CodeRefused, 422, 429))
@even
async def verify_email(
    body: Verification, databases: DatabasesAre, parts: PartsAre, name: RequestId, now: Now, address: Address
) -> Success[Verified]:
    """Prove the address by the code that was sent to it."""
    await take(databases, CODES, address=address, request_id=name, now=now)
    token = tokens.generate()
    async with databases.outside(name) as domain:
        user_id = await codes.subject(domain, body.email, _VERIFY)
        given = codes.digest(parts, user_id, _VERIFY, body.otp.get_secret_value())
        outcome = await domain.value(
            _QUERIES["verify_email"],
            {
                "user_id": user_id or 0,
                "code_hash": given,
                "token_hash": tokens.digest(token),
                "lifetime_s": parts.identity.set_password_s,
                "now": now,
                "address": address,
            },
        )
    if outcome != "right":
        raise CodeRefused(codes.REFUSED, where="body.otp")
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
    hashed = await parts.passwords.hash(password, whose=client(address))
    async with databases.outside(name) as domain:
        await domain.value(_QUERIES["password_set"], {**proof, "password_hash": hashed, "address": address})
    told = "The password is set. Log in with it."
    return Success(message=told, data=Done(message=told))
