"""Who is logged in proves it once more, before what protects the account is changed or given up."""

from datetime import datetime
from typing import Annotated

from pydantic import Field, SecretStr

from cloud.api.database import Caller, Databases, Row
from cloud.api.http.envelope import Body
from cloud.api.http.errors import Busy, PasswordRefused, Problem, SecondFactorRefused, SecondFactorRequired, TooMany
from cloud.api.http.limits import PASSWORDS, client, take_account
from cloud.api.parts import Parts
from cloud.db.queries import Queries
from cloud.identity import totp
from cloud.identity.keys import Keys

_QUERIES = Queries("session")

Password = Annotated[
    SecretStr, Field(min_length=1, max_length=1024, description="10 to 256 characters, not a common one.")
]
Totp = Annotated[
    SecretStr,
    Field(
        min_length=6,
        max_length=20,
        description="A code of six digits of the app, or a recovery code; each once.",
        examples=["123456"],
    ),
]
PROVEN: tuple[type[Problem], ...] = (PasswordRefused, SecondFactorRequired, SecondFactorRefused, Busy)
"""What every endpoint refuses that wants a Proof, besides TooMany."""


class Proof(Body):
    """The password, and a code where there is a second factor."""

    password: Annotated[SecretStr, Field(min_length=1, max_length=1024, description="The caller's password.")]
    totp: Totp | None = None


def place(user_id: int) -> str:
    """Where the secret of a user's codes is sealed for."""
    return f"totp of user {user_id}"


async def prove_password(
    databases: Databases, parts: Parts, caller: Caller, password: SecretStr, address: str | None
) -> Row:
    """The caller's secrets, for who knows the password. Raises PasswordRefused and TooMany."""
    async with databases.domain(caller, limited=True) as domain:
        secrets = await domain.row(_QUERIES["caller_secrets"])
    assert secrets is not None
    user_id = caller.access.user_id
    await take_account(databases, PASSWORDS, user_id=user_id, request_id=caller.request_id, now=caller.now)
    verdict = await parts.passwords.verify(password.get_secret_value(), secrets["password_hash"], whose=client(address))
    if not verdict.right:
        raise PasswordRefused("this is not your password", where="body.password")
    async with databases.domain(caller, limited=True) as domain:
        await domain.value(_QUERIES["password_proven"])
    return secrets


async def prove(databases: Databases, parts: Parts, caller: Caller, given: Proof, address: str | None) -> None:
    """By the password, and by the second factor where there is one. Raises PasswordRefused, SecondFactorRequired,
    SecondFactorRefused and TooMany."""
    secrets = await prove_password(databases, parts, caller, given.password, address)
    if not secrets["confirmed"]:
        return
    used = code_of(parts.keys.current(), caller.access.user_id, secrets["sealed_secret"], given.totp, caller.now)
    # A transaction of its own: a wrong code counts, whatever comes of it.
    async with databases.domain(caller, limited=True) as domain:
        outcome = await domain.row(_QUERIES["factor_use"], {**used, "address": address, "now": caller.now})
    assert outcome is not None
    require_factor(outcome["outcome"], outcome["retry_after_s"])


def code_of(
    keys: Keys, user_id: int, sealed_secret: bytes | None, code: SecretStr | None, now: datetime
) -> dict[str, object]:
    """What a code may be: `step` is its step where it is a right one of the app, `recovery_hash` what it is as a
    recovery code. Whether it was used before, the database knows."""
    if code is None or sealed_secret is None:
        return {"step": None, "recovery_hash": None}
    text = code.get_secret_value()
    secret = keys.unseal(sealed_secret, place(user_id)).decode()
    step = totp.verify(secret, text, now=now, after_step=None)
    return {"step": step, "recovery_hash": totp.recovery_digest(keys, user_id=user_id, code=text)}


def require_factor(outcome: str, retry_after_s: int) -> None:
    """Raises what the database says of a code: SecondFactorRequired, SecondFactorRefused or TooMany."""
    if outcome == "missing":
        raise SecondFactorRequired("a code of your app, or a recovery code, is wanted as well", where="body.totp")
    if outcome == "limited":
        raise TooMany("too many codes for this account", retry_after_s=retry_after_s)
    if outcome == "wrong":
        raise SecondFactorRefused("this code is wrong, too old, or was used before", where="body.totp")
