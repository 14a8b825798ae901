"""Codes of an app as a second factor, and recovery codes."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from cloud.api.access import SELF
from cloud.api.caller import Address, CallerIs, DatabasesAre, PartsAre
from cloud.api.http.envelope import Body, Done, Success, problems
from cloud.api.http.errors import SecondFactorRefused
from cloud.api.http.limits import PASSWORDS, take_account
from cloud.api.people.proof import PROVEN, Proof, Totp, place, prove
from cloud.db.queries import Queries
from cloud.identity import totp

router = APIRouter(prefix="/api/v1/auth/totp", tags=["auth"])
_QUERIES = Queries("session")


class State(BaseModel):
    """Whether there is a second factor."""

    enabled: Annotated[bool, Field(description="Whether logins ask for a code.")]
    confirmed_at: Annotated[datetime | None, Field(description="Since when; null where they do not.")]
    recovery_codes_left: Annotated[int, Field(description="How many recovery codes were not used yet.")]
    required: Annotated[bool, Field(description="Whether the caller's role asks for it.")]


class Enrolment(BaseModel):
    """What an app needs, shown once."""

    secret: Annotated[
        str, Field(description="160 bits in Base32, to type in.", examples=["JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"])
    ]
    uri: Annotated[
        str,
        Field(
            description="otpauth://…, to show as a picture that the app scans.", examples=["otpauth://totp/segs:ada"]
        ),
    ]
    digits: Annotated[int, Field(description="How many digits a code has.")] = 6
    period_s: Annotated[int, Field(description="How long a code holds, s.")] = totp.STEP_S


class Confirmation(Body):
    """A code of the app."""

    code: Totp


class RecoveryCodes(BaseModel):
    """Shown once; kept are hashes."""

    recovery_codes: Annotated[
        list[str], Field(description="Codes that stand in for the app, each once.", examples=[["K3PX-PJBS-WY3D"]])
    ]


@router.get("", openapi_extra=SELF, responses=problems(401))
async def state(caller: CallerIs, databases: DatabasesAre) -> Success[State]:
    """Whether the caller has a second factor."""
    async with databases.domain(caller, limited=True) as domain:
        found = await domain.row(_QUERIES["factor_state"])
    assert found is not None
    shown = State(enabled=found["confirmed_at"] is not None, **found)
    return Success(message="The second factor.", data=shown)


@router.post("/enrol", openapi_extra=SELF, responses=problems(401, 409, 422, 429, *PROVEN))
async def enrol(
    body: Proof, caller: CallerIs, databases: DatabasesAre, parts: PartsAre, address: Address
) -> Success[Enrolment]:
    """Begin with a secret for the app. Nothing asks for codes before confirm."""
    await prove(databases, parts, caller, body, address)
    secret, user_id = totp.generate_secret(), caller.access.user_id
    sealed = parts.keys.current().seal(secret.encode(), place(user_id))
    async with databases.domain(caller, limited=True) as domain:
        await domain.value(_QUERIES["factor_enrol"], {"sealed_secret": sealed, "now": caller.now})
        person = await domain.row(_QUERIES["caller_secrets"])
    assert person is not None
    uri = totp.uri(secret, account=person["email"], issuer=parts.identity.issuer)
    return Success(
        message="Give the secret to the app, and a code of it to confirm.", data=Enrolment(secret=secret, uri=uri)
    )


@router.post("/confirm", openapi_extra=SELF, responses=problems(401, SecondFactorRefused, 409, 422, 429))
async def confirm(
    body: Confirmation, caller: CallerIs, databases: DatabasesAre, parts: PartsAre
) -> Success[RecoveryCodes]:
    """Show that the app has the secret. From now on logins ask for a code; other sessions end."""
    user_id, keys = caller.access.user_id, parts.keys.current()
    await take_account(databases, PASSWORDS, user_id=user_id, request_id=caller.request_id, now=caller.now)
    codes = totp.generate_recovery_codes()
    async with databases.domain(caller, limited=True) as domain:
        secrets = await domain.row(_QUERIES["caller_secrets"])
        assert secrets is not None
        sealed, step = secrets["sealed_secret"], None
        if sealed is not None and not secrets["confirmed"]:
            secret = keys.unseal(sealed, place(user_id)).decode()
            step = totp.verify(secret, body.code.get_secret_value(), now=caller.now, after_step=None)
            if step is None:
                raise SecondFactorRefused("this code is wrong or too old", where="body.code")
        confirmed = {
            "sealed_secret": sealed,
            "step": step,
            "code_hashes": [totp.recovery_digest(keys, user_id=user_id, code=code) for code in codes],
            "family_id": caller.family_id,
            "now": caller.now,
        }
        await domain.value(_QUERIES["factor_confirm"], confirmed)
    told = "The second factor is on. Keep the recovery codes: they are not shown again."
    return Success(message=told, data=RecoveryCodes(recovery_codes=codes))


@router.post("/recovery-codes", openapi_extra=SELF, responses=problems(401, 409, 422, 429, *PROVEN))
async def renew_recovery_codes(
    body: Proof, caller: CallerIs, databases: DatabasesAre, parts: PartsAre, address: Address
) -> Success[RecoveryCodes]:
    """Other recovery codes; those before are good no longer."""
    await prove(databases, parts, caller, body, address)
    keys, codes = parts.keys.current(), totp.generate_recovery_codes()
    hashes = [totp.recovery_digest(keys, user_id=caller.access.user_id, code=code) for code in codes]
    async with databases.domain(caller) as domain:
        await domain.value(_QUERIES["recovery_renew"], {"code_hashes": hashes})
    return Success(message="Keep them: they are not shown again.", data=RecoveryCodes(recovery_codes=codes))


@router.post("/disable", openapi_extra=SELF, responses=problems(401, 409, 422, 429, *PROVEN))
async def disable(
    body: Proof, caller: CallerIs, databases: DatabasesAre, parts: PartsAre, address: Address
) -> Success[Done]:
    """Log in by the password alone from now on. Refused where the role asks for a second factor."""
    await prove(databases, parts, caller, body, address)
    async with databases.domain(caller) as domain:
        await domain.value(_QUERIES["factor_disable"], {"now": caller.now})
    told = "The second factor is off."
    return Success(message=told, data=Done(message=told))
