"""One-time codes of six digits. A million are quickly tried: what is kept of one says nothing without the pepper."""

import hmac
import secrets

from cloud.identity.keys import Keys

DIGITS = 6


def generate() -> str:
    """Every code is as likely as any other, 000000 too."""
    return f"{secrets.randbelow(10**DIGITS):0{DIGITS}}"


def digest(keys: Keys, *, user_id: int, purpose: str, code: str) -> bytes:
    """32 bytes, to keep or to compare with: HMAC-SHA256. The same code of another user or purpose has others.

    People write codes with spaces; these do not count.
    """
    message = f"{user_id}\0{purpose}\0{''.join(code.split())}".encode("utf-8", "surrogatepass")
    return hmac.digest(keys.derived("one-time code"), message, "sha256")
