"""Passwords that are forgotten, and such that are changed."""

from fastapi import APIRouter

from cloud.api.access import PUBLIC, SELF
from cloud.api.caller import Address, CallerIs, DatabasesAre, Now, PartsAre, RequestId
from cloud.api.http.envelope import Body, Done, Success, problems
from cloud.api.http.errors import Busy, CodeRefused, PasswordRefused, WeakPasswordRefused
from cloud.api.http.fields import Email
from cloud.api.http.limits import CODES, PROOFS, client, take
from cloud.api.http.pace import even
from cloud.api.people import codes
from cloud.api.people.codes import Otp, Recipient, Sent
from cloud.api.people.proof import Password, prove_password
from cloud.db.queries import Queries
from cloud.identity import otp
from cloud.identity.passwords import require_strong

router = APIRouter(prefix="/api/v1/auth", tags=["auth"])
_QUERIES = Queries("session")
_RESET = "reset_password"


class Reset(Body):
    """A code, and the password that it sets."""

    email: Email
    otp: Otp
    password: Password


class PasswordChange(Body):
    """The password as it is, and as it is to be."""

    old_password: Password
    new_password: Password


@router.post("/forgot-password", openapi_extra=PUBLIC, responses=problems(422, 429), response_model_exclude_none=True)
@even
async def forgot_password(
    body: Recipient, databases: DatabasesAre, parts: PartsAre, name: RequestId, now: Now, address: Address
) -> Success[Sent]:
    """Have a code sent that sets another password by reset-password, within 10 minutes and from the same network.
    Whether the address has an account is not told."""
    await take(databases, CODES, address=address, request_id=name, now=now)
    async with databases.outside(name) as domain:
        code = otp.generate()
        user_id = await codes.subject(domain, body.email, _RESET)
        if user_id is not None:
            await codes.issue(domain, parts, user_id=user_id, purpose=_RESET, code=code, now=now, address=address)
    return Success(message=codes.SENT, data=codes.sent(parts, code))


@router.post(
    "/reset-password", openapi_extra=PUBLIC, responses=problems(CodeRefused, 422, WeakPasswordRefused, 429, Busy)
)
@even
async def reset_password(
    body: Reset, databases: DatabasesAre, parts: PartsAre, name: RequestId, now: Now, address: Address
) -> Success[Done]:
    """Set another password, by the code of forgot-password. All sessions end. A second factor stays."""
    await take(databases, PROOFS, address=address, request_id=name, now=now)
    password = body.password.get_secret_value()
    require_strong(password, email=body.email, name="")
    # Hashed whether the code is right or not: the time that it takes tells nothing.
    hashed = await parts.passwords.hash(password, whose=client(address))
    async with databases.outside(name) as domain:
        user_id = await codes.subject(domain, body.email, _RESET)
        given = {
            "user_id": user_id or 0,
            "code_hash": codes.digest(parts, user_id, _RESET, body.otp.get_secret_value()),
            "password_hash": hashed,
            "address": address,
            "now": now,
        }
        reset = await domain.row(_QUERIES["password_reset"], given)
        assert reset is not None
        if reset["outcome"] == "right":
            # Refused, it takes the whole transaction back: the code is good for another password.
            require_strong(password, email=reset["email"], name=reset["name"])
    if reset["outcome"] != "right":
        raise CodeRefused(codes.REFUSED, where="body.otp")
    told = "The password is set. Log in with it."
    return Success(message=told, data=Done(message=told))


@router.post(
    "/change-password",
    openapi_extra=SELF,
    responses=problems(401, PasswordRefused, 422, WeakPasswordRefused, 429, Busy),
)
async def change_password(
    body: PasswordChange, caller: CallerIs, databases: DatabasesAre, parts: PartsAre, address: Address
) -> Success[Done]:
    """Set another password, by the one before. All other sessions end."""
    secrets = await prove_password(databases, parts, caller, body.old_password, address)
    password = body.new_password.get_secret_value()
    require_strong(password, email=secrets["email"], name=secrets["name"])
    hashed = await parts.passwords.hash(password, whose=client(address))
    changed = {
        "old_hash": secrets["password_hash"],
        "new_hash": hashed,
        "family_id": caller.family_id,
        "now": caller.now,
    }
    async with databases.domain(caller, limited=True) as domain:
        done = await domain.value(_QUERIES["password_change"], changed)
    if not done:
        raise PasswordRefused("the password was changed meanwhile", where="body.old_password")
    told = "The password is changed. Other sessions are over."
    return Success(message=told, data=Done(message=told))
