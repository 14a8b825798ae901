"""A gateway's key: 256 random bits, shown once; only its SHA-256 is stored, which is enough for that many bits."""

import hashlib
import secrets
from dataclasses import dataclass

PREFIX = "segs_"


@dataclass(frozen=True, slots=True)
class Key:
    """`text` is what the gateway sends; `digest` is what the databases hold."""

    text: str

    @classmethod
    def generate(cls) -> "Key":
        return cls(PREFIX + secrets.token_urlsafe(32))

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.text.encode()).digest()
