"""One-time codes that are sent to an address."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

import msgspec
import structlog
from pydantic import BaseModel, Field, SecretStr

from cloud.api.database import Transaction
from cloud.api.http.envelope import Body
from cloud.api.http.fields import Email
from cloud.api.parts import Parts
from cloud.db.queries import Queries
from cloud.identity import otp

_QUERIES = Queries("session")
_LOG = structlog.get_logger("segs.api")
SENT = "If this address waits for a code, one is on its way."
REFUSED = "the code is wrong or too old, or there were too many attempts; have a new one sent, or wait an hour"

Otp = Annotated[SecretStr, Field(min_length=6, max_length=20, description="The code of six digits from the message.")]


class Recipient(Body):
    """An address."""

    email: Email


class Sent(BaseModel):
    """Whether an account waits for a code is not told."""

    message: Annotated[str, Field(description="What to do next.")]
    otp: Annotated[str | None, Field(description="The code itself, in development only.")] = None


def sent(parts: Parts, code: str) -> Sent:
    """The same for every address."""
    return Sent(message=SENT, otp=code if parts.identity.development else None)


async def subject(domain: Transaction, email: str, purpose: str) -> int | None:
    """Whose code it is; None where nobody of this address gets one."""
    found: int | None = await domain.value(_QUERIES["otp_subject"], {"email": email, "purpose": purpose})
    return found


async def issue(
    domain: Transaction,
    parts: Parts,
    *,
    user_id: int,
    purpose: str,
    code: str,
    now: datetime,
    address: str | None,
    details: Mapping[str, object] | None = None,
) -> None:
    """Have the code sent, unless too many were."""
    keys = parts.keys.current()
    issued = await domain.value(
        _QUERIES["otp_issue"],
        {
            "user_id": user_id,
            "purpose": purpose,
            "code_hash": digest(parts, user_id, purpose, code),
            "sealed_secret": keys.seal(code.encode(), f"code of user {user_id}"),
            "lifetime_s": parts.identity.otp_s,
            "now": now,
            "address": address,
            "details": None if details is None else msgspec.json.encode(details).decode(),
        },
    )
    if not issued:
        _LOG.warning("no more codes for now", user_id=user_id, purpose=purpose)


def digest(parts: Parts, user_id: int | None, purpose: str, code: str) -> bytes:
    """What a code is compared by. Of an address that has no account the same is asked, and nothing is right."""
    return otp.digest(parts.keys.current(), user_id=user_id or 0, purpose=purpose, code=code)
