"""The second factor: time-based codes (RFC 6238 with SHA-1, 30 s, six digits, as every app has it), recovery codes."""

import hmac
import secrets
from datetime import datetime

import pyotp

from cloud.identity.keys import Keys

STEP_S, WINDOW = 30, 1
"""Seconds that a code holds, and how many steps a clock may be off, either way."""
RECOVERY_CODES = 10
# Crockford's: no letter looks like a digit. 10 of them are 50 bits.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_MISREAD = str.maketrans("OIL", "011", "-\t\n\r ")
_RECOVERY_CHARACTERS = 10


def generate_secret() -> str:
    """160 random bits in Base32, as RFC 4226 recommends; kept sealed."""
    return pyotp.random_base32(32)


def uri(secret: str, *, account: str, issuer: str) -> str:
    """`otpauth://…`, for the picture that an app scans."""
    return pyotp.TOTP(secret, interval=STEP_S).provisioning_uri(name=account, issuer_name=issuer)


def verify(secret: str, code: str, *, now: datetime, after_step: int | None) -> int | None:
    """The step that the code is of; None where it is wrong, or of no later step than `after_step`.

    Keep the step, and give it as `after_step` the next time: a code is good once (RFC 6238, 5.2).
    """
    given = "".join(code.split()).encode("utf-8", "surrogatepass")
    totp = pyotp.TOTP(secret, interval=STEP_S)
    current = int(now.timestamp()) // STEP_S
    found = None
    # All of them are compared, so that time does not tell which one it was.
    for step in range(current - WINDOW, current + WINDOW + 1):
        right = hmac.compare_digest(totp.generate_otp(step).encode(), given)
        if right and (after_step is None or step > after_step):
            found = step
    return found


def generate_recovery_codes() -> list[str]:
    """Codes such as 7KQ4M-0ZT8C, each good once, for whoever lost the device."""
    return [_recovery_code() for _ in range(RECOVERY_CODES)]


def _recovery_code() -> str:
    text = "".join(secrets.choice(_ALPHABET) for _ in range(_RECOVERY_CHARACTERS))
    return f"{text[:5]}-{text[5:]}"


def recovery_digest(keys: Keys, *, user_id: int, code: str) -> bytes:
    """32 bytes, to keep or to compare with. Case, dashes and spaces do not count, and O is 0, I and L are 1."""
    message = f"{user_id}\0{code.upper().translate(_MISREAD)}".encode("utf-8", "surrogatepass")
    return hmac.digest(keys.derived("recovery code"), message, "sha256")
