"""How often an address may ask for what costs something: counted in the database, which all processes share."""

from dataclasses import dataclass
from datetime import datetime

from cloud.api.database import Databases
from cloud.api.errors import TooMany
from cloud.db.queries import Queries

_QUERIES = Queries("session")


@dataclass(frozen=True, slots=True)
class Limit:
    """`capacity` requests at once, then `per_s` of them in a second."""

    name: str
    capacity: int
    per_s: float


REGISTRATIONS = Limit("register", 30, 0.1)
CODES = Limit("code", 60, 0.5)
"""Codes that are asked for or tried."""
REFRESHES = Limit("refresh", 300, 5)
"""Sessions that go on: a whole office behind one address refreshes a few times an hour each."""
PROOFS = Limit("proof", 30, 0.5)
"""Passwords that are set, each of which is hashed."""


async def take(databases: Databases, limit: Limit, *, address: str | None, request_id: str, now: datetime) -> None:
    """Raises TooMany. A transaction of its own: what is refused afterwards was asked for all the same."""
    bucket = {"bucket": f"{limit.name}:address:{address or '-'}", "capacity": limit.capacity, "per_s": limit.per_s}
    async with databases.outside(request_id) as domain:
        taken = await domain.row(_QUERIES["take"], {**bucket, "now": now})
    assert taken is not None
    if not taken["allowed"]:
        raise TooMany("too many requests from this address", retry_after_s=taken["retry_after_s"])
