"""Hashes of the audit log, computed here from its columns: a server that was tampered with is not asked for them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

START = bytes(32)
"""What the first row of a block and the first link of a lane go on from."""
AUDIT_ID, TRANSACTION_ID, BLOCK, POSITION = 1, 13, 14, 15
"""Where these are among a row's fields."""


class Row(NamedTuple):
    """A row of audit_logs; `fields` are the texts that its hash covers, in order."""

    audit_id: int
    block: int
    position: int
    hash: bytes
    fields: Sequence[str | None]


class Link(NamedTuple):
    """A row of audit_links: the rows of one transaction, and the link of the lane that it follows."""

    lane: int
    link_id: int
    linked_us: int
    block: int
    transaction_id: str
    rows: int
    rows_digest: bytes
    previous_digest: bytes
    hash: bytes


class Personal(NamedTuple):
    """A row of audit_personal: what a row of the log has the digest of."""

    user_id: int
    value: str
    salt: bytes
    digest: str


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a lane; link 0 where it has none yet."""

    lane: int
    link_id: int
    hash: bytes


def packed_hash(previous: bytes, fields: Sequence[str | None]) -> bytes:
    """As audit_hash() of the schema."""
    digest = hashlib.sha256(previous)
    for field in fields:
        if field is None:
            digest.update(b"-,")
        else:
            raw = field.encode()
            digest.update(b"%d:%b," % (len(raw), raw))
    return digest.digest()


def link_hash(link: Link, previous: bytes) -> bytes:
    """What `link` would have for a hash after `previous`."""
    numbers = (link.lane, link.link_id, link.linked_us, link.block, link.transaction_id, link.rows)
    return packed_hash(previous, [*map(str, numbers), link.rows_digest.hex()])


def personal_digest(kept: Personal) -> str:
    """What rows of the log would have of it, hexadecimal."""
    return hashlib.sha256(kept.salt + kept.value.encode()).hexdigest()
