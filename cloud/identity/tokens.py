"""Tokens: signed ones, which say who asks, and opaque ones, of which only a hash is kept."""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import jwt

from cloud.identity.errors import ExpiredToken, InvalidToken
from cloud.identity.keys import KeyFolder, Keys

ALGORITHM, AUDIENCE = "EdDSA", "segs-api"
REFRESH_RETRY_S = 30
"""How long a client that lost the answer may rotate the same refresh token again, seconds."""
# RFC 9068. Whatever else may once be signed with these keys is no access token.
_TYPE = "at+jwt"
_REQUIRED = ["iss", "aud", "exp", "iat", "jti", "sid", "sub"]
_LONGEST = 2048
_REMEMBERED = 10_000
_LARGEST_USER_ID = 2**31 - 1
_OPAQUE_BYTES = 32


@dataclass(frozen=True, slots=True)
class Access:
    """What an access token says. `role` is what it was when it was issued; the database says what it is."""

    user_id: int
    session_id: UUID
    token_id: UUID
    role: str
    issued_at: datetime
    expires_at: datetime


class AccessTokens:
    """Issues and verifies access tokens: JWT, signed with Ed25519 and nothing else."""

    def __init__(
        self, *, keys: KeyFolder, issuer: str, lifetime_s: int, leeway: timedelta = timedelta(seconds=5)
    ) -> None:
        """`leeway` is how far the clocks of two hosts may be apart."""
        self._keys = keys
        self._issuer = issuer
        self._lifetime = timedelta(seconds=lifetime_s)
        self._leeway = leeway
        self._verified: dict[bytes, Access] = {}
        self._verified_by: Keys | None = None

    def issue(self, *, user_id: int, session_id: UUID, role: str, now: datetime) -> tuple[str, Access]:
        """The token, and what it says. Raises KeysError."""
        keys = self._keys.current()
        issued_at = now.astimezone(UTC).replace(microsecond=0)
        access = Access(user_id, session_id, uuid4(), role, issued_at, issued_at + self._lifetime)
        claims = {
            "iss": self._issuer,
            "aud": AUDIENCE,
            "sub": str(user_id),
            "sid": str(session_id),
            "jti": str(access.token_id),
            "iat": int(issued_at.timestamp()),
            "exp": int(access.expires_at.timestamp()),
            "role": role,
        }
        kid = keys.signer(now)
        return jwt.encode(claims, keys.signing[kid], ALGORITHM, headers={"kid": kid, "typ": _TYPE}), access

    def verify(self, text: str, *, now: datetime) -> Access:
        """What a token of ours says that holds at `now`. Raises ExpiredToken, InvalidToken or KeysError.

        A signature that was found good is not computed again while the keys are the same; times are always compared.
        """
        if len(text) > _LONGEST or not text.isascii():
            raise InvalidToken("no token")
        keys, name = self._keys.current(), digest(text)
        if keys is not self._verified_by:
            self._verified_by, self._verified = keys, {}
        access = self._verified.get(name)
        if access is None:
            access = self._decode(text, keys)
            if len(self._verified) >= _REMEMBERED:
                del self._verified[next(iter(self._verified))]
            self._verified[name] = access
        if access.issued_at > now + self._leeway:
            raise InvalidToken("from the future")
        if access.expires_at <= now - self._leeway:
            raise ExpiredToken
        return access

    def _decode(self, text: str, keys: Keys) -> Access:
        """What a token of ours says, whenever that holds."""
        try:
            header = jwt.get_unverified_header(text)
            if header.get("alg") != ALGORITHM or header.get("typ") != _TYPE:
                raise InvalidToken("not signed as ours are")
            key = keys.signing.get(str(header.get("kid")))
            if key is None:
                raise InvalidToken("signed with a key that is not ours")
            claims = jwt.decode(
                text,
                key.public_key(),
                algorithms=[ALGORITHM],
                issuer=self._issuer,
                audience=AUDIENCE,
                # Times are compared below, with the time of whoever asks.
                options={
                    "require": _REQUIRED,
                    "strict_aud": True,
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
            return _access(claims)
        except jwt.PyJWTError as error:
            # Only the kind: a message may quote the token.
            raise InvalidToken(type(error).__name__) from None
        except (ValueError, OverflowError):
            raise InvalidToken("claims that are not ours") from None


def _access(claims: dict[str, Any]) -> Access:
    """Raises ValueError or OverflowError."""
    subject, role, issued, expires = claims["sub"], claims.get("role"), claims["iat"], claims["exp"]
    if not (subject.isdecimal() and subject.isascii() and 0 < int(subject) <= _LARGEST_USER_ID):
        raise ValueError("sub")
    if type(issued) is not int or type(expires) is not int or expires <= issued:
        raise ValueError("iat, exp")
    if not isinstance(role, str) or not isinstance(claims["sid"], str):
        raise ValueError("role, sid")
    return Access(
        user_id=int(subject),
        session_id=UUID(claims["sid"]),
        token_id=UUID(claims["jti"]),
        role=role,
        issued_at=datetime.fromtimestamp(issued, UTC),
        expires_at=datetime.fromtimestamp(expires, UTC),
    )


def generate() -> str:
    """An opaque token: a refresh token, or proof that somebody may set a password."""
    return secrets.token_urlsafe(_OPAQUE_BYTES)


def digest(token: str) -> bytes:
    """What is kept of an opaque token, or looked for: SHA-256, which is enough for 256 random bits."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def successor(keys: Keys, token: str) -> str:
    """The refresh token that follows `token`: always the same, so that a client that lost it can ask again.

    Who has the token but not the pepper cannot tell it.
    """
    mac = hmac.digest(keys.derived("refresh token"), token.encode("utf-8", "surrogatepass"), "sha256")
    return urlsafe_b64encode(mac).rstrip(b"=").decode()
