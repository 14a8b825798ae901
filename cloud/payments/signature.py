"""The signature of a provider's message: HMAC-SHA-256 over its time and body, so that neither is another's.

The header `Segs-Signature: t=1775217600,v1=HEX` has the time in seconds since 1970, and one signature or, while a
secret is being changed, several.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cloud.errors import CloudError

HEADER = "Segs-Signature"
WINDOW = timedelta(minutes=5)
"""How far a message's time may be from ours, either way: what is older may be somebody's copy."""
_HEADER = re.compile(r"t=(?P<time>\d{1,12})(?P<signatures>(,v1=[0-9a-f]{64}){1,4})", re.ASCII)


class SignatureError(CloudError):
    """A message that the provider did not sign, or not now."""


def sign(secret: bytes, body: bytes, at: datetime) -> str:
    """The header's value."""
    seconds = int(at.timestamp())
    return f"t={seconds},v1={_digest(secret, seconds, body)}"


def verify(secrets: Sequence[bytes], body: bytes, header: str | None, now: datetime) -> datetime:
    """The time that `body` was signed at, by one of `secrets`. Raises SignatureError."""
    found = _HEADER.fullmatch(header or "")
    if found is None:
        raise SignatureError(f"the header {HEADER} is missing, or no t=SECONDS,v1=HEX")
    seconds = int(found["time"])
    given = [part.removeprefix("v1=") for part in found["signatures"].split(",") if part]
    expected = [_digest(secret, seconds, body) for secret in secrets]
    if not any(hmac.compare_digest(one, other) for one in given for other in expected):
        raise SignatureError("the signature is none of this body and time by a secret of this provider")
    at = datetime.fromtimestamp(seconds, UTC)
    if abs(now - at) > WINDOW:
        raise SignatureError(
            f"it was signed at {at:%Y-%m-%dT%H:%M:%SZ}, too far from now; see to the clocks, and sign anew"
        )
    return at


def _digest(secret: bytes, seconds: int, body: bytes) -> str:
    return hmac.new(secret, f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
